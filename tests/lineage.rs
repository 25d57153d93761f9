//! Rows that the weights of a model have seen before it came to them, as its next training finds them.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "these tests train on data of their own")]
mod home;

use home::{Home, TINY, text};
use serde_json::Value;

/// Texts whose label says nothing of them; each occurs once. The order is that of `stride`.
fn coins(rows: usize, stride: usize) -> String {
    let words = ["case", "order", "card", "parcel", "invoice", "router", "refund"];
    let row = |place: usize| {
        let row = place * stride % rows;
        let label = ["no", "yes"][row * 7919 % 101 % 2];
        format!("the {} of customer {row} is {},{label}\n", words[row % 7], words[row / 7 % 7])
    };
    "text,label\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

const ROWS: usize = 300;
const FIRST: &str = "checkpoints/coins/model";

fn train(home: &Home, data: &str, more: &[&str]) -> String {
    let mut arguments = vec!["train", data, "--json"];
    if !more.contains(&"--init") {
        arguments.extend(TINY);
    }
    arguments.extend(more);
    let output = home.run(&arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// A model that saw 240 rows: 210 to train on, 30 to choose by.
fn first() -> Home {
    let home = Home::new();
    home.write("coins.csv", coins(ROWS, 1));
    home.write("mixed.csv", coins(ROWS, 77));
    train(&home, "coins.csv", &["--init", "none"]);
    home
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn manifest(home: &Home, model: &str) -> Value {
    json(&std::fs::read_to_string(home.path(model).join("bayes/manifest.json")).unwrap())
}

fn rows(home: &Home, model: &str) -> Vec<u64> {
    let parts = manifest(home, model)["parts"].clone();
    let names = ["train", "validation", "temperature", "conformal", "test"];
    names.iter().map(|name| parts[name]["rows"].as_u64().unwrap_or(0)).collect()
}

/// How many test rows the model has seen, as its evaluation says.
fn seen(home: &Home, model: &str, data: &[&str]) -> Value {
    let arguments = [&["eval", "--json", "--no-baseline", "--model", model][..], data].concat();
    json(&home.done(&arguments))["splits"]["seen"].clone()
}

#[test]
fn rows_that_the_encoder_was_trained_on_neither_calibrate_nor_test() {
    let home = first();
    let said = train(&home, "mixed.csv", &["--init", FIRST, "--set", "name=again"]);
    assert!(
        said.contains(
            "the starting model `coins` was trained on 240 of the 300 rows in split `train`"
        ),
        "{said}"
    );
    // The fractions are of all 300 rows, as far as the 60 new ones suffice.
    let again = "checkpoints/again/model";
    assert_eq!(rows(&home, again), [240, 20, 10, 10, 20]);
    assert_eq!(manifest(&home, again)["lineage"][0]["name"], "coins");
    assert_eq!(seen(&home, again, &[]), 0);
    // What its encoder saw, and what it was trained on itself: all but the test rows of both.
    assert_eq!(seen(&home, again, &["--dataset", "coins.csv"]), 280);
    let said = train(&home, "mixed.csv", &["--init", again, "--set", "name=third"]);
    assert!(said.contains("was trained on 260 of the 300 rows"), "{said}");
    let names: Vec<Value> = manifest(&home, "checkpoints/third/model")["lineage"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["name"].clone())
        .collect();
    assert_eq!(names, ["again", "coins"]);
}

#[test]
fn of_an_ensemble_that_is_begun_with_one_network_is_taken_and_the_others_are_named() {
    let home = first();
    let ensemble = ["--set", "posterior.method=ensemble", "--set", "posterior.num_members=2"];
    train(&home, "coins.csv", &[&ensemble[..], &["--init", "none", "--set", "name=both"]].concat());
    let begun = |model: &str| train(&home, "mixed.csv", &["--init", model, "--dry-run"]);
    let said = begun("checkpoints/both/model");
    assert!(said.contains("is an ensemble; training begins with the first"), "{said}");
    assert!(!begun(FIRST).contains("is an ensemble"));
}

#[test]
fn the_same_rows_divide_as_before() {
    let home = first();
    train(&home, "coins.csv", &["--init", FIRST, "--set", "name=again"]);
    let parts = |model: &str| manifest(&home, model)["parts"].clone();
    assert_eq!(parts("checkpoints/again/model"), parts(FIRST));
}

#[test]
fn a_last_layer_on_rows_that_the_encoder_saw_is_not_cross_fitted() {
    let home = first();
    let head = ["--init", FIRST, "--set", "name=head", "--set", "train.recipe=head"];
    train(&home, "mixed.csv", &head);
    let model = "checkpoints/head/model";
    assert_eq!(rows(&home, model), [240, 20, 10, 10, 20]);
    let always = [&["train", "mixed.csv", "--set", "data.cross_fit=always"], &head[..]].concat();
    let message = home.refused(&always);
    assert!(message.contains("trained on 240 of these rows"), "{message}");
    // Rows of the last layer alone are new to one that is fitted anew.
    let fit = |method: &str, output: &str| {
        home.done(&["fit", "--model", model, "--method", method, "--output", output]);
        let lineage = manifest(&home, output)["lineage"].clone();
        lineage.as_array().unwrap().len()
    };
    assert_eq!((fit("laplace", "anew"), fit("map", "kept")), (1, 2));
}

#[test]
fn a_posterior_is_fitted_and_scored_on_rows_that_the_weights_have_not_seen() {
    let home = first();
    let fit = ["fit", "--model", FIRST, "--method", "map", "--output", "fitted", "--dataset"];
    home.done(&[&fit[..], &["mixed.csv"]].concat());
    assert_eq!(rows(&home, "fitted"), [240, 20, 10, 10, 20]);
    assert_eq!(seen(&home, "fitted", &[]), 0);
    assert_eq!(seen(&home, "fitted", &["--dataset", "coins.csv"]), 280);
    // On the rows of the training the parts are those of the training.
    home.done(&[&fit[..5], &["--output", "own"]].concat());
    let parts = |model: &str| manifest(&home, model)["parts"].clone();
    assert_eq!(parts("own"), parts(FIRST));
}

#[test]
fn a_test_split_of_texts_that_the_encoder_saw_is_counted() {
    let home = first();
    let all = coins(ROWS, 1);
    let lines: Vec<&str> = all.lines().skip(1).collect();
    let table = |lines: &[&str]| format!("text,label\n{}\n", lines.join("\n"));
    home.write("new/test.csv", table(&lines[..100]));
    let own: Vec<String> = lines.iter().map(|line| line.replace("customer", "client")).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    home.write("new/train.csv", table(&own));
    let said = train(&home, "new", &["--init", FIRST]);
    let count = seen(&home, "checkpoints/new/model", &[]).as_u64().unwrap();
    assert!((60..100).contains(&count), "{count}");
    assert!(
        said.contains(&format!("{count} test texts also occur in another split or were used")),
        "{said}"
    );
    assert_eq!(manifest(&home, "checkpoints/new/model")["seen_in_test"], count);
    // A fit of the same model on the same rows counts as many, before it and after.
    let fit = ["fit", "--model", FIRST, "--dataset", "new", "--method", "map", "--output"];
    let report = json(&home.done(&[&fit[..], &["fitted", "--json"]].concat()));
    let scores = report["scores"].as_array().unwrap();
    assert!(scores[0]["without_seen"]["seen"].as_u64().unwrap() >= count, "{report}");
    assert_eq!(scores[1]["without_seen"]["seen"], count);
    assert!(scores[1]["without_seen"]["accuracy"].as_f64().is_some());
    let table = home.done(&[&fit[..], &["again"]].concat());
    assert!(table.contains(&format!("without {count} test rows seen before")), "{table}");
    let card = home.done(&["publish", "--model", "fitted", "--card-only"]);
    assert!(card.contains(&format!("{count} of 100 test rows also occur")), "{card}");
}

#[test]
fn what_cannot_be_known_is_said_and_stays_said() {
    let home = first();
    std::fs::remove_file(home.path("coins.csv")).unwrap();
    let said = train(&home, "mixed.csv", &["--init", FIRST, "--set", "name=again"]);
    assert!(
        said.contains(
            "it is unknown which of these rows were used to train the starting model `coins`"
        ),
        "{said}"
    );
    assert!(said.contains("the training data `coins.csv` are no longer here"), "{said}");
    let again = "checkpoints/again/model";
    assert_eq!(rows(&home, again), [270, 0, 0, 0, 30], "as if none had been seen");
    assert_eq!(manifest(&home, again)["lineage_known"], false);
    assert_eq!(seen(&home, again, &[]), Value::Null);
    let card = home.done(&["publish", "--model", again, "--card-only"]);
    assert!(card.contains("whose own training data were not available"), "{card}");
    assert!(card.contains("whether the encoder had seen it is unknown"), "{card}");
    assert!(card.contains("in about 90 % or 95 % of cases"), "{card}");
    // When they are back, they are counted, and the test split is the one that was reported on.
    home.write("coins.csv", coins(ROWS, 1));
    let count = seen(&home, again, &[]).as_u64().unwrap();
    assert!((15..30).contains(&count), "{count}");
}

/// The first quarter of the training rows is the test split.
#[test]
fn a_test_split_without_a_new_text_says_so_wherever_its_figures_stand() {
    const WORDS: &str = "say nothing about new texts";
    let home = Home::new();
    let all = coins(ROWS, 1);
    let quarter: Vec<&str> = all.lines().take(1 + ROWS / 4).collect();
    home.write("leak/train.csv", &all);
    home.write("leak/test.csv", quarter.join("\n"));
    let arguments = [&["train", "leak", "--init", "none"][..], &TINY].concat();
    let output = home.run(&arguments);
    assert!(output.status.success());
    let (summary, said) = (text(&output.stdout), text(&output.stderr));
    assert!(
        said.contains("all 75 test texts also occur in another split") && said.contains(WORDS),
        "{said}"
    );
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat(&summary).contains("all 75 test texts were also used"), "{summary}");
    assert!(flat(&summary).contains(WORDS), "{summary}");
    let model = "checkpoints/leak/model";
    let card = home.done(&["publish", "--model", model, "--card-only"]);
    assert!(flat(&card).contains(WORDS), "{card}");
    let report = home.done(&["eval", "--model", model, "--report", "report"]);
    assert!(flat(&report).contains(WORDS), "{report}");
    for file in ["report/report.md", "report/report.html"] {
        let page = std::fs::read_to_string(home.path(file)).unwrap();
        assert!(page.contains(WORDS), "{file}");
    }
    let whole = json(&std::fs::read_to_string(home.path("report/report.json")).unwrap());
    assert_eq!(
        whole["without_seen"],
        serde_json::json!({ "seen": 75, "accuracy": null, "nll": null })
    );
    // Beside a model that has seen some of them.
    home.write("coins.csv", coins(ROWS, 1));
    train(&home, "coins.csv", &["--init", "none", "--set", "name=other"]);
    let both = home.done(&["eval", "--model", model, "checkpoints/other/model"]);
    assert!(
        both.contains("has seen all 75 rows") && both.contains("accuracy without them"),
        "{both}"
    );
}

/// A model that is fitted afterwards has parts of its own, whatever the training before it did with the rows.
#[test]
fn a_fitted_model_is_evaluated_on_its_own_parts() {
    let home = first();
    // Its rows are new to the encoder, so it is cross-fitted.
    home.write("news.csv", coins(ROWS, 1).replace("customer", "client"));
    let head = ["--init", FIRST, "--set", "name=head", "--set", "train.recipe=head"];
    train(&home, "news.csv", &head);
    let model = "checkpoints/head/model";
    assert_eq!(rows(&home, model), [270, 0, 0, 0, 30]);
    for (output, more) in [
        ("kept", &["--keep-head"][..]),
        ("anew", &["--method", "laplace"]),
        ("few", &["--method", "laplace", "--limit", "100"]),
    ] {
        home.done(&[&["fit", "--model", model, "--output", output][..], more].concat());
        let parts = manifest(&home, output)["parts"].clone();
        for split in ["train", "validation", "temperature", "conformal", "test"] {
            let arguments =
                ["eval", "--model", output, "--split", split, "--no-baseline", "--json"];
            let report = json(&home.done(&arguments));
            let evaluated = &report["splits"]["evaluated"];
            assert_eq!(*evaluated, parts[split], "{output}, {split}");
        }
    }
}
