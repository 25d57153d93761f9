//! Labels of the user's own, by a classifier of natural language inference.

use std::path::PathBuf;

use bayes::compute::Backend;
use bayes::predict::Predictor;
use serde_json::{Value, json};

use crate::home::Home;

/// Agreement with transformers in f32.
const TOLERANCE: f64 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The classifier, and what transformers makes of texts.
fn nli(home: &Home) -> (String, Value) {
    let folder = home.path("nli");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["nli/config.json", "nli/model.safetensors", "encoders/bert/tokenizer.json"] {
        let from = fixture(name);
        std::fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
    }
    let expected = std::fs::read(fixture("nli/expected.json")).unwrap();
    (folder.display().to_string(), serde_json::from_slice(&expected).unwrap())
}

fn lines(output: &str) -> Vec<Value> {
    output.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn probabilities_are_those_of_the_pipeline_of_transformers() {
    let home = Home::new();
    let (model, expected) = nli(&home);
    let labels: Vec<&str> =
        expected["labels"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    let texts = expected["texts"].as_array().unwrap();
    let rows: String =
        texts.iter().map(|text| json!({ "text": text }).to_string() + "\n").collect();
    let input = home.write("in.jsonl", &rows).display().to_string();
    for (template, expected) in expected["expected"].as_object().unwrap() {
        let labels = labels.join(",");
        let arguments = ["predict", "--model", &model, "--labels", &labels, "--json"];
        let usual = template == "This text is about {}.";
        let template = ["--template", template];
        let template = if usual { &[][..] } else { &template[..] };
        let output = home.done(&[&arguments[..], &["--input", &input], template].concat());
        let found = lines(&output);
        assert_eq!(found.len(), texts.len());
        for (found, expected) in found.iter().zip(expected.as_array().unwrap()) {
            for (label, expected) in labels.split(',').zip(expected.as_array().unwrap()) {
                let probability = found["probabilities"][label].as_f64().unwrap();
                let difference = (probability - expected.as_f64().unwrap()).abs();
                assert!(difference < TOLERANCE, "{template:?} {label}: {difference}");
            }
        }
    }
}

#[test]
fn labelled_rows_calibrate_labels_of_the_users_own() {
    let home = Home::new();
    let (model, _) = nli(&home);
    let mut rows = "text,label\n".to_owned();
    for number in 0..120 {
        let label = ["billing", "outage"][number % 2];
        rows += &format!(
            "row {number} about {label} and the {},{label}\n",
            ["light", "text"][number % 3 % 2]
        );
    }
    let data = home.write("rows.csv", &rows).display().to_string();
    let labels = ["--zero-shot-labels", "billing,outage"];
    let fit = ["fit", "--model", &model, "--dataset", &data, "--output", "own"];
    home.done(&[&fit[..], &labels].concat());
    // As it stands, the folder is one of those labels.
    let found = lines(&home.done(&["predict", "--model", "own", "--json", "the light"]));
    assert!(found[0]["prediction_set"]["labels"].is_array(), "{found:?}");
    let own = found[0]["probabilities"].as_object().unwrap();
    assert_eq!(own.keys().collect::<Vec<_>>(), ["billing", "outage"]);
    // Its temperature changes how sure it is, and not what it says.
    let plain = ["predict", "--model", &model, "--labels", "billing,outage", "--json", "the light"];
    let plain = lines(&home.done(&plain));
    assert_eq!(plain[0]["label"], found[0]["label"]);
    assert_ne!(plain[0]["confidence"], found[0]["confidence"]);
    let report = home.done(&["eval", "--model", "own", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["rows"], 24);
    assert!(home.done(&["info", "--model", "own"]).contains("calibrated on "));
    let own = Predictor::load(&home.path("own"), &Backend::Cpu).unwrap();
    assert_eq!(own.forward_passes(), 2, "one for each label");
    let eval =
        ["eval", "--model", &model, "--labels", "billing,outage", "--dataset", &data, "--json"];
    let report: Value = serde_json::from_str(&home.done(&eval)).unwrap();
    assert_eq!(report["rows"], 120);
    // The weights stay those of the classifier that it was made from.
    let bytes = |folder: &str| std::fs::read(home.path(folder).join("model.safetensors")).unwrap();
    assert_eq!(bytes("own"), bytes("nli"));
    let short = ["--runs", "1", "--seconds", "0.1", "--rounds", "1", "--batch-sizes", "2"];
    let suites = ["bench", "--model", "own", "--suite", "throughput,train,long-range"];
    let bench = home.run(&[&suites[..], &short].concat());
    let told = String::from_utf8(bench.stderr).unwrap();
    assert!(bench.status.success(), "{told}");
    assert!(
        told.contains("`train` is skipped") && told.contains("`long-range` is skipped"),
        "{told}"
    );
    let again = home.refused(&["predict", "--model", "own", "--labels", "a,b", "text"]);
    assert!(again.contains("labels of its own (billing, outage)"), "{again}");
    let method = [&fit[..], &labels, &["--method", "laplace"]].concat();
    assert!(home.refused(&method).contains("only `map`"));
}

/// What the weights have seen is what the classifier was trained on, and nothing else.
#[test]
fn a_classifier_of_ours_is_still_known_under_labels_of_the_users_own() {
    let home = Home::new();
    let mut pairs = "premise,hypothesis,label\n".to_owned();
    for row in 0..240 {
        let topic = row % 2;
        let asked = (row / 2) % 2;
        let [text, about] = [topic, asked].map(|place| ["billing", "outage"][place]);
        let label = ["neutral", "entailment"][usize::from(topic == asked)];
        pairs += &format!("a {text} row {row},This text is about {about}.,{label}\n");
    }
    home.write("pairs.csv", pairs);
    let mut train = vec!["train", "pairs.csv", "--quiet", "--set", "name=ours"];
    train.extend(crate::home::TINY);
    train.extend(["--text-column", "premise", "--text-pair-column", "hypothesis"]);
    home.done(&train);
    let topic = |row: usize| ["billing", "outage"][row % 2];
    let rows = (0..120).map(|row| format!("a {0} call {row},{0}\n", topic(row)));
    home.write("rows.csv", "text,label\n".to_owned() + &rows.collect::<String>());
    let model = "checkpoints/ours/model";
    let labels = ["--zero-shot-labels", "billing,outage"];
    let fit = [&["fit", "--model", model, "--output", "own"][..], &labels].concat();
    let fitted = home.run(&[&fit[..], &["--dataset", "rows.csv"]].concat());
    let told = crate::home::text(&fitted.stderr);
    assert!(fitted.status.success() && !told.contains("unknown"), "{told}");
    let file = std::fs::read(home.path("own/bayes/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&file).unwrap();
    let lineage = manifest["lineage"].as_array().unwrap();
    assert_eq!((lineage.len(), &manifest["lineage_known"]), (1, &json!(true)), "{manifest}");
    assert_eq!(lineage[0]["data"]["dataset"], "pairs.csv");
    assert_eq!(manifest["fitted"], "calibration");
    let card = home.done(&["publish", "--model", "own", "--card-only"]);
    assert!(!card.contains("were not available"), "{card}");
    assert!(card.contains("one trained on `pairs.csv`"), "{card}");
    // Without a fit, too.
    let eval = ["eval", "--model", model, "--labels", "billing,outage", "--dataset", "rows.csv"];
    let told = crate::home::text(&home.run(&eval).stderr);
    assert!(!told.contains("does not record") && !told.contains("it is unknown"), "{told}");
    assert!(told.contains("no rows trained the labels that you name"), "{told}");
    // That they have no rows yet says nothing of the classifier's.
    let refused = home.refused(&fit);
    assert!(refused.contains("give labelled rows with `--dataset`"), "{refused}");
    // What is gone is told as gone.
    std::fs::remove_file(home.path("pairs.csv")).unwrap();
    let told = crate::home::text(&home.run(&eval).stderr);
    assert!(told.contains("the training data `pairs.csv` are no longer here"), "{told}");
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let home = Home::new();
    let (model, _) = nli(&home);
    let refused =
        |more: &[&str]| home.refused(&[&["predict", "--model", &model][..], more].concat());
    assert!(refused(&["--labels", "one", "text"]).contains("give 2 to 1000 labels"));
    let many: Vec<String> = (0..1001).map(|number| format!("label {number}")).collect();
    assert!(refused(&["--labels", &many.join(","), "text"]).contains("here are 1001"));
    assert!(refused(&["--labels", "a,,b", "text"]).contains("a label is empty"));
    // Its tokenizer makes all letters small.
    assert!(refused(&["--labels", "light,Light", "text"]).contains("are the same to"));
    let template = "{} ".to_owned() + &"a".repeat(1000);
    assert!(refused(&["--labels", "a,b", "--template", &template, "text"]).contains("1003 char"));
    assert!(refused(&["--labels", "a,b", "--template", "none", "text"]).contains("no `{}`"));
    assert!(refused(&["--labels", "a,a", "text"]).contains("called `a`"));
    let long = format!("a,{}", "word ".repeat(40));
    assert!(refused(&["--labels", &long, "text"]).contains("leaves no room"));
    home.train_tiny(&[]);
    let other = home.refused(&["predict", "--labels", "a,b", "text"]);
    assert!(other.contains("natural language inference"), "{other}");
}
