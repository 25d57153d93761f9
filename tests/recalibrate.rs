//! `bayes recalibrate`: what is fitted after training, on new rows.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod home;

use std::fmt::Write;

use home::{Home, text};
use serde_json::Value;

/// Requests as in training, of which so many in a hundred have the other label: the model is too sure of them.
fn mislabelled(rows: usize, percent: usize) -> String {
    let mut csv = "subject,department\n".to_owned();
    for row in 0..rows {
        let kind = row % 2;
        let flipped = (row / 2 * 37) % 100 < percent;
        let department = ["billing", "technical"][if flipped { 1 - kind } else { kind }];
        let thing = ["invoice", "router"][kind];
        let markup = ["", "<br /><br />", "\u{200b}  ", "&amp;"][row % 4];
        writeln!(csv, "\"please look at my {markup}{thing}, call {row}\",{department}").unwrap();
    }
    csv
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn new_rows_restore_what_sets_and_confidence_promise() {
    let home = Home::new();
    home.train_tiny(&[]);
    home.write("new.csv", mislabelled(400, 20));
    home.write("later.csv", mislabelled(300, 20).replace("call", "mail"));
    let model = "checkpoints/tickets/model";
    let weights =
        |folder: &str| std::fs::read(home.path(folder).join("model.safetensors")).unwrap();
    let eval = |folder: &str| {
        json(&home.done(&["eval", "--json", "--model", folder, "--dataset", "later.csv"]))
    };
    let before = eval(model);
    let report = json(&home.done(&["recalibrate", "--dataset", "new.csv", "--json"]));
    let after = eval("checkpoints/tickets-recalibrated/model");
    let number = |value: &Value| value.as_f64().unwrap();
    // On rows that it has not seen, and as the report says.
    let nll = |one: &Value| number(&one["nll"]["value"]);
    assert!(nll(&before) > 1.0 && nll(&after) < 0.55, "{} {}", nll(&before), nll(&after));
    let coverage = |one: &Value| number(&one["sets"]["coverage"]["value"]);
    assert!(coverage(&before) < 0.85 && coverage(&after) > 0.85, "{}", coverage(&after));
    // Before, on the same rows: as they are read in service, without what cleaning takes away.
    let same = json(&home.done(&["eval", "--json", "--model", model, "--dataset", "new.csv"]));
    assert!((number(&report["before"]["nll"]) - nll(&same)).abs() < 1e-9, "{report}");
    assert!((number(&report["after"]["nll"]) - nll(&after)).abs() < 0.05, "{report}");
    assert!((number(&report["after"]["coverage"]) - 0.9).abs() < 0.05, "{report}");
    assert_eq!(report["rows"], 400);
    assert_eq!(before["accuracy"]["value"], after["accuracy"]["value"]);
    assert_eq!(weights(model), weights("checkpoints/tickets-recalibrated/model"), "they stay");
    // The same rows give the same folder, and it may take the place of the one that is served.
    let in_place = ["--model", "checkpoints/tickets-recalibrated/model"];
    let output = ["--output", "checkpoints/tickets-recalibrated/model"];
    let again =
        [&["recalibrate", "--dataset", "new.csv", "--json"][..], &in_place, &output].concat();
    let again = json(&home.done(&again));
    assert_eq!(again["after"], report["after"]);
    assert_eq!(eval("checkpoints/tickets-recalibrated/model"), after);
    // On the rows that it was calibrated by, figures say less.
    let recalibrated = "checkpoints/tickets-recalibrated/model";
    let output = home.run(&["eval", "--model", recalibrated, "--dataset", "new.csv"]);
    assert!(text(&output.stderr).contains("may be too good"), "{}", text(&output.stderr));
    if let Some(precision) =
        bayes::compute::Precision::available().last().filter(|one| !one.is_f32())
    {
        let quantize = ["quantize", "--model", recalibrated, "--precision", &precision.to_string()];
        assert!(home.refused(&quantize).contains("would undo"));
    }
    // Words for people.
    let told = home.done(&["recalibrate", "--dataset", "new.csv", "--model", model]);
    assert!(told.contains("before     after") && told.contains("coverage (90 % wanted)"), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
}

#[test]
fn rows_that_say_nothing_of_new_texts_are_left_out_or_refused() {
    let home = Home::new();
    home.train_tiny(&[]);
    let recalibrate = |data: &str| home.run(&["recalibrate", "--dataset", data, "--output", "out"]);
    // Those that trained the model say that it is always right.
    home.write("mixed.csv", home::tickets(240) + &mislabelled(100, 20)[subject().len()..]);
    let output = recalibrate("mixed.csv");
    let told = text(&output.stderr);
    assert!(output.status.success() && told.contains("are left out"), "{told}");
    home.write("few.csv", mislabelled(4, 0));
    let refused =
        |data: &str| home.refused(&["recalibrate", "--dataset", data, "--output", "other"]);
    assert!(refused("few.csv").contains("too few"), "{}", refused("few.csv"));
    home.write("other.csv", "subject,department\nplease pay,finance\nplease look,sales\n");
    assert!(refused("other.csv").contains("finance"));
    let own = home.refused(&[
        "recalibrate",
        "--dataset",
        "mixed.csv",
        "--output",
        "checkpoints/tickets/model",
    ]);
    assert!(own.contains("belongs to the training run"), "{own}");
    assert!(!home.files().iter().any(|file| file.starts_with("other/")));
}

fn subject() -> &'static str {
    "subject,department\n"
}
