//! `BAYES_MODEL`: which commands it is for, and that they say so.

use std::path::Path;
use std::process::Output;

use super::home::{Home, text};

/// A classifier as transformers writes it.
pub fn foreign(home: &Home, folder: &str) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
    for entry in std::fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        home.write(&format!("{folder}/{name}"), std::fs::read(&path).unwrap());
    }
}

fn with_variable(home: &Home, value: &str, arguments: &[&str]) -> Output {
    home.command(arguments).env("BAYES_MODEL", value).output().unwrap()
}

#[test]
fn the_model_of_the_environment_is_used_where_none_is_named_and_told() {
    let home = Home::new();
    foreign(&home, "m");
    foreign(&home, "other");
    let rows: String =
        (0..9).map(|row| format!("film {row},{}\n", ["negative", "positive"][row % 2])).collect();
    home.write("d/test.csv", format!("text,label\n{rows}"));
    let eval = ["eval", "--dataset", "d", "--no-baseline", "--json"];
    for arguments in [&["predict", "--json", "a film"][..], &eval] {
        for value in ["m", "topic=m"] {
            let output = with_variable(&home, value, arguments);
            let told = text(&output.stderr);
            assert!(output.status.success(), "{told}");
            assert!(told.contains("model: m (BAYES_MODEL)"), "{told}");
            let named = home.run(&[arguments, &["--model", "m"]].concat());
            assert_eq!(text(&output.stdout), text(&named.stdout), "{arguments:?}");
        }
        let output = with_variable(&home, "m", &[arguments, &["--model", "other"]].concat());
        assert!(!text(&output.stderr).contains("BAYES_MODEL"), "{}", text(&output.stderr));
        // As if it were not there.
        let output = with_variable(&home, "", arguments);
        assert!(text(&output.stderr).contains("you gave no model"), "{}", text(&output.stderr));
        for (value, words) in [
            ("a=m,b=other", "`BAYES_MODEL` names 2 models, `a=m,b=other`"),
            ("./nowhere", "environment variable `BAYES_MODEL` names the model"),
        ] {
            let output = with_variable(&home, value, arguments);
            assert_eq!(output.status.code(), Some(2));
            assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
        }
    }
}

#[test]
fn what_a_server_would_answer_otherwise_is_told() {
    let home = Home::new();
    foreign(&home, "m");
    let told = |arguments: &[&str]| {
        let mut command = home.command(arguments);
        command.env("BAYES_MODEL", "m").env("BAYES_ABSTAIN_OOD_P", "0.5").env("BAYES_LABELS", "");
        text(&command.output().unwrap().stderr)
    };
    let said = told(&["predict", "a film"]);
    assert!(said.contains("only `bayes serve` reads `BAYES_ABSTAIN_OOD_P`, so"), "{said}");
    let said = told(&["predict", "--model", "m", "a film"]);
    assert!(!said.contains("BAYES_ABSTAIN_OOD_P"), "{said}");
}

#[test]
fn what_is_written_elsewhere_is_not_chosen_by_the_environment_without_a_word() {
    let home = Home::new();
    foreign(&home, "m");
    for publish in [&["publish", "--dry-run"][..], &["publish", "--repo", "a/b"]] {
        let output = with_variable(&home, "m", publish);
        assert_eq!(output.status.code(), Some(2));
        let told = text(&output.stderr);
        assert!(told.contains("`BAYES_MODEL` names `m`") && told.contains("--model"), "{told}");
    }
    // Refused, since nothing calibrated it, and named before.
    home.write("rows.csv", "text,label\na film,positive\n");
    let output = with_variable(&home, "m", &["recalibrate", "--dataset", "rows.csv"]);
    assert!(text(&output.stderr).contains("model: m (BAYES_MODEL)"), "{}", text(&output.stderr));
    let output = with_variable(&home, "m", &["fit", "--dataset", "rows.csv"]);
    assert_eq!(output.status.code(), Some(2), "`fit` is told its model");
    assert!(text(&output.stderr).contains("--model <MODEL>"), "{}", text(&output.stderr));
    // It stays about this machine.
    let output = with_variable(&home, "m", &["info"]);
    let told = text(&output.stdout);
    assert!(told.contains("default model m (BAYES_MODEL)") && told.contains("device"), "{told}");
}
