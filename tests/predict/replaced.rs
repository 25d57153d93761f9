//! What a result may take the place of: an earlier one, and no other file.

use super::environment::foreign;
use super::home::{Home, text};

#[test]
fn predictions_replace_predictions_and_no_other_file() {
    let home = Home::new();
    foreign(&home, "m");
    home.write("in.csv", "text,id\na film,1\nanother film,2\n");
    home.write("faults.csv", "text,id\n,1\na film,2\n");
    home.write("none.csv", "text,id\n");
    for ending in ["csv", "tsv", "jsonl", "parquet"] {
        let output = format!("out.{ending}");
        let predict = |input: &str| {
            home.done(&["predict", "--model", "m", "--input", input, "--output", &output]);
            std::fs::read(home.path(&output)).unwrap()
        };
        // Empty, as `mktemp` makes it.
        home.write(&output, "");
        for input in ["in.csv", "faults.csv", "none.csv", "in.csv"] {
            let first = predict(input);
            assert_eq!(first, predict(input), "{ending}: {input}");
        }
    }
    for (name, content) in [
        ("rows.csv", "text,label\na film,positive\n"),
        ("rows.jsonl", "{\"text\": \"a film\", \"label\": \"positive\"}\n"),
        ("rows.parquet", "notes of somebody"),
        ("rows.tsv", "decision\tconfidence\nyes\thigh\n"),
    ] {
        home.write(name, content);
        let told =
            home.refused(&["predict", "--model", "m", "--input", "in.csv", "--output", name]);
        assert!(
            told.contains(&format!("`{name}` exists and is not a file of predictions")),
            "{told}"
        );
        assert_eq!(std::fs::read_to_string(home.path(name)).unwrap(), content);
    }
}

#[test]
fn a_report_replaces_a_report_and_no_other_file() {
    let home = Home::new();
    foreign(&home, "m");
    let rows: String =
        (0..9).map(|row| format!("film {row},{}\n", ["negative", "positive"][row % 2])).collect();
    home.write("d/test.csv", format!("text,label\n{rows}"));
    let eval = ["eval", "--model", "m", "--dataset", "d", "--no-baseline", "--report"];
    for _ in 0..2 {
        home.done(&[&eval[..], &["out"]].concat());
    }
    foreign(&home, "n");
    let several =
        ["eval", "--model", "m", "n", "--dataset", "d", "--no-baseline", "--report", "out"];
    home.done(&several);
    home.done(&[&eval[..], &["out"]].concat());
    for (name, content) in [
        ("report.md", "# Quarterly report\n"),
        ("report.json", "{\"quarter\": 3}"),
        ("report.html", "<title>Quarterly report</title>"),
    ] {
        let folder = format!("mine-{name}");
        home.write(&format!("{folder}/{name}"), content);
        let told = home.refused(&[&eval[..], &[&folder]].concat());
        assert!(told.contains("exists and is not a report of `bayes`"), "{told}");
        let train = home.run(&["train", "--report", &folder]);
        assert_eq!(train.status.code(), Some(2));
        let told = text(&train.stderr);
        assert!(told.contains("exists and is not a report of `bayes`"), "{told}");
        assert_eq!(std::fs::read_to_string(home.path(&folder).join(name)).unwrap(), content);
        assert_eq!(std::fs::read_dir(home.path(&folder)).unwrap().count(), 1);
    }
}
