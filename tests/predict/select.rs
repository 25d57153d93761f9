//! `--select`: what to label next.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value;

use super::home::{Home, tickets};

fn rows(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A command with lines on its standard input.
fn piped(home: &Home, arguments: &[&str], lines: &str) -> Output {
    let mut command = home.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn so_many_different_texts_are_chosen_that_have_no_label_yet() {
    let home = Home::new();
    home.train_tiny(&["--set", "calibration.scale=1"]);
    let mut pool = tickets(120);
    // A text again, one in other letters, and one that cannot be classified.
    let lines: Vec<&str> = pool.lines().collect();
    let more = format!("{}\n{}\n,billing\n", lines[1], lines[2].to_uppercase());
    let labelled = format!("{}\n", lines[..40].join("\n"));
    pool.push_str(&more);
    let pool = home.write("pool.csv", pool);
    let labelled = home.write("labelled.csv", labelled);
    let (pool, labelled) = (pool.to_str().unwrap(), labelled.to_str().unwrap());
    for strategy in ["epistemic", "bald", "badge", "coverage"] {
        let flags =
            ["predict", "--input", pool, "--json", "--select", "12", "--strategy", strategy];
        let ran = home.run(&flags);
        let said = super::text(&ran.stderr);
        assert!(said.contains("chosen: 12 of 1"), "{said}");
        assert!(said.contains("that repeat another text or have a label were left out"), "{said}");
        assert!(said.contains("rows could not be classified or chosen"), "{said}");
        let chosen = rows(&super::text(&ran.stdout));
        let texts: BTreeSet<String> = chosen.iter().map(|row| row["text"].to_string()).collect();
        assert_eq!((chosen.len(), texts.len()), (12, 12), "{strategy}");
        // The same again, and with what stands beside a text.
        assert_eq!(rows(&home.done(&flags)), chosen);
        assert!(chosen.iter().all(|row| row["label"].is_string() && row.get("error").is_none()));

        let beside = home.done(&[&flags[..], &["--labelled", labelled]].concat());
        let known = std::fs::read_to_string(labelled).unwrap();
        for row in rows(&beside) {
            let text = row["text"].as_str().unwrap();
            assert!(!known.contains(text), "{strategy}: {text}");
        }
        let other = home.done(&[&flags[..], &["--seed", "7"]].concat());
        assert_eq!(rows(&other) == chosen, strategy == "epistemic", "{strategy}");
    }
    let flags = ["predict", "--input", pool, "--select", "9999", "--output", "all.csv"];
    let ran = home.run(&flags);
    assert!(super::text(&ran.stderr).contains("fewer texts ("));
    let most = std::fs::read_to_string(home.path("all.csv")).unwrap().lines().count() - 1;
    assert!((13..=120).contains(&most), "{most}");

    let message = home.refused(&[
        "predict",
        "--input",
        pool,
        "--select",
        "3",
        "--labelled",
        labelled,
        "--output",
        labelled,
    ]);
    assert!(message.contains("also the file of `--labelled`"), "{message}");
    for alone in ["--strategy=badge", "--seed=3", "--labelled=x.csv"] {
        let message = home.refused(&["predict", "--input", pool, alone]);
        assert!(message.contains("--select"), "{alone}: {message}");
    }
    home.refused(&["predict", "--input", pool, "--select", "3", "--sort-by", "confidence"]);
}

/// One table that is half labelled is the pool and the labelled rows; one without labels is doubted.
#[test]
fn the_table_of_labelled_texts_is_read_by_itself_and_told() {
    let home = Home::new();
    home.train_tiny(&[]);
    let half = "note,label\nmy bill is wrong,billing\nrouter broken,\nquote demo, \n";
    let half = home.write("half.csv", half);
    let half = half.to_str().unwrap();
    let labelled = ["--labelled", half, "--text-column", "note", "--label-column", "label"];
    fn asked<'a>(more: &[&'a str], labelled: &[&'a str]) -> Vec<&'a str> {
        [&["predict"], more, labelled].concat()
    }
    let chosen = rows(&home.done(&asked(&["--input", half, "--json", "--select", "2"], &labelled)));
    let texts: BTreeSet<&str> = chosen.iter().map(|row| row["text"].as_str().unwrap()).collect();
    assert_eq!(texts, BTreeSet::from(["quote demo", "router broken"]));
    // Flags of tables are about the labelled one where the pool is none.
    let ran =
        piped(&home, &asked(&["--select", "1"], &labelled), "My bill is wrong\nrouter broken\n");
    let chosen = super::text(&ran.stdout);
    assert!(chosen.contains("router broken") && !chosen.contains("bill"), "{chosen}");
    // How the input is written says nothing of the other table, which is told how it is read.
    let tabs = home.write("tabs.tsv", "id\tnote\n1\tmy bill is wrong\n2\trouter broken\n");
    let tabs = ["--input", tabs.to_str().unwrap(), "--delimiter", "tab", "--select", "2"];
    let ran = home.run(&asked(&tabs, &labelled));
    let (chosen, said) = (super::text(&ran.stdout), super::text(&ran.stderr));
    assert!(chosen.contains("router broken") && !chosen.contains("bill"), "{chosen}{said}");
    assert!(said.contains("labelled: columns: text = `note`"), "{said}");
    // A table without labels is doubted, and its rows that cannot be read are named.
    let other = home.write("other.csv", "note\nmy bill is wrong\n\"\"\n");
    let other = ["--labelled", other.to_str().unwrap(), "--text-column", "note", "--select", "2"];
    let ran = home.run(&[&["predict", "--input", half], &other[..]].concat());
    let said = super::text(&ran.stderr);
    assert!(said.contains("so all of its texts count as labelled"), "{said}");
    assert!(said.contains("other.csv` line 3: the text is empty"), "{said}");
    // So are those of the pool, wherever it is from.
    let flags = ["predict", "--format", "csv", "--text-column", "note", "--select", "1"];
    let said = super::text(&piped(&home, &flags, "id,note\n1,my bill\n2,\n3,quote demo\n").stderr);
    assert!(said.contains("line 3: the text is empty"), "{said}");
}

#[test]
fn a_model_without_epistemic_uncertainty_chooses_by_something_else() {
    let home = Home::new();
    home.train_tiny(&[]);
    let message =
        home.refused(&["predict", "--select", "1", "--strategy", "bald", "a text", "another"]);
    assert!(message.contains("reports no epistemic uncertainty because"), "{message}");
    assert!(message.contains("--strategy badge"), "{message}");
    home.done(&["predict", "--select", "1", "a text", "another"]);
}
