//! `bayes eval` as a user runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod columns;
#[path = "../home/mod.rs"]
mod home;
mod outside;
mod shift;

use home::{Home, TINY, text, tickets};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A tiny model of the generated reviews.
fn train(home: &Home, name: &str, seed: &str) -> String {
    let (name_key, seed_key) = (format!("name={name}"), format!("train.seed={seed}"));
    let mut arguments = vec!["train", "reviews", "--quiet"];
    arguments.extend(TINY);
    arguments.extend(["--set", "data.train_limit=400", "--set", &name_key, "--set", &seed_key]);
    home.done(&arguments);
    format!("checkpoints/{name}/model")
}

/// Without what belongs to the model and its training rows and not to its answers.
fn without_splits(mut object: Value) -> Value {
    for key in ["splits", "baseline", "kept"] {
        object.as_object_mut().unwrap().insert(key.to_owned(), Value::Null);
    }
    object
}

#[test]
fn every_number_can_be_computed_again_from_the_predictions_file() {
    let home = Home::new();
    let (a, b) = (train(&home, "a", "1"), train(&home, "b", "2"));
    for file in ["one.jsonl", "one.parquet", "one.csv"] {
        let first = home.done(&[
            "eval",
            "--json",
            "--model",
            &a,
            "--limit",
            "300",
            "--ood",
            "other-topics",
            "--predictions",
            file,
        ]);
        let again = home.done(&["eval", "--json", "--predictions", file]);
        let first = without_splits(json(&first));
        assert_eq!(first, json(&again), "{file}");
        for key in ["auroc", "aupr", "fpr95", "aurc"] {
            assert!(first[key]["low"].is_number(), "{key}");
        }
        let ood = &first["ood"]["other-topics"];
        assert_eq!((&ood["rows"], &ood["score"]), (&300.into(), &"novelty".into()));
        assert!(ood["by_score"]["entropy"]["fpr95"]["value"].is_number());
        assert!(first["calibration"]["smooth_ece"]["floor"].is_number());
    }
    let written = std::fs::read_to_string(home.path("one.jsonl")).unwrap();
    assert_eq!(written.lines().count(), 600);
    assert!(!json(written.lines().next().unwrap()).as_object().unwrap().contains_key("text"));

    let arguments = ["eval", "--json", "--model", &a, &b, "--limit", "300"];
    let both = home.done(&[&arguments[..], &["--predictions", "both.parquet"]].concat());
    let again = json(&home.done(&["eval", "--json", "--predictions", "both.parquet"]));
    let mut both = json(&both);
    for model in both["models"].as_array_mut().unwrap() {
        *model = without_splits(model.clone());
    }
    assert_eq!(both, again);
    let difference = &both["differences"][0]["difference"]["nll"];
    let values = both["models"].as_array().unwrap();
    let nll = |model: &Value| model["nll"]["value"].as_f64().unwrap();
    let expected = nll(&values[1]) - nll(&values[0]);
    assert!((difference["value"].as_f64().unwrap() - expected).abs() < 1e-12);
    assert!(difference["low"].as_f64() <= difference["high"].as_f64());

    let table = home.done(&["eval", "--predictions", "both.parquet"]);
    assert!(table.contains("B − A") && table.lines().all(|line| line.chars().count() <= 80));
    let table = home.done(&["eval", "--predictions", "one.csv"]);
    assert!(table.contains("other-topics, 300 texts"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");

    // Of a class without calibration rows nothing is promised but that it is in every set.
    let none: String = written
        .lines()
        .map(|line| {
            let mut row = json(line);
            row["bound_rows"] = 0.into();
            format!("{row}\n")
        })
        .collect();
    home.write("none.jsonl", none);
    let table = home.done(&["eval", "--predictions", "none.jsonl", "--report", "none"]);
    let read = |name: &str| std::fs::read_to_string(home.path("none").join(name)).unwrap();
    for shown in [&table, &read("report.md"), &read("report.html")] {
        assert!(
            shown.contains("a class has no calibration rows, so it is in every set"),
            "{shown}"
        );
        assert!(
            !shown.contains("100.0 % – 100.0 %") && !shown.contains("1.0000 – 1.0000"),
            "{shown}"
        );
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let band = serde_json::json!({ "rows": 0, "low": null, "high": null });
    assert_eq!(json(&read("report.json"))["set_band"], band);
}

#[test]
fn a_report_is_three_files_without_a_text_of_the_data() {
    let home = Home::new();
    let model = train(&home, "a", "1");
    let table = home.done(&[
        "eval",
        "--model",
        &model,
        "--limit",
        "100",
        "--ood",
        "other-topics",
        "--report",
        "out/eval",
    ]);
    assert!(table.contains("splits") && table.contains("conformal"), "{table}");
    assert!(table.contains("classes, lowest F1 first") && table.contains("by class (`"), "{table}");
    let files = home.files();
    let files: Vec<&String> = files.iter().filter(|name| name.starts_with("out/")).collect();
    assert_eq!(files, ["out/eval/report.html", "out/eval/report.json", "out/eval/report.md"]);
    let read = |name: &str| std::fs::read_to_string(home.path("out/eval").join(name)).unwrap();
    let report = json(&read("report.json"));
    let hash = report["splits"]["evaluated"]["sha256"].as_str().unwrap();
    assert_eq!((hash.len(), &report["splits"]["evaluated"]["rows"]), (64, &100.into()));
    let (markdown, html) = (read("report.md"), read("report.html"));
    assert!(markdown.contains("| accuracy |") && markdown.contains(&hash[..16]));
    assert_eq!(html.matches("<svg").count(), 3);
    assert!(html.contains("<h2>Confusions</h2>") && markdown.contains("| negative |"));
    let classes = report["by_class"].as_array().unwrap();
    let names: Vec<&str> = classes.iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert_eq!(names, ["negative", "positive"]);
    let rows: u64 = classes.iter().map(|one| one["rows"].as_u64().unwrap()).sum();
    let wrong: u64 = report["confusions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["rows"].as_u64().unwrap())
        .sum();
    let accuracy = report["accuracy"]["value"].as_f64().unwrap();
    assert_eq!(rows, 100);
    assert!((1.0 - wrong as f64 / 100.0 - accuracy).abs() < 1e-12);
    assert!(html.contains("prefers-color-scheme: dark") && html.contains("width=device-width"));
    for outside in ["http:", "https:", "<script", "src=", "NaN"] {
        assert!(!html.contains(outside), "{outside}");
    }
    // A word that is in most of the generated reviews and in no report.
    assert!(!html.contains(" film ") && !markdown.contains(" film "));
}

#[test]
fn a_condition_decides_the_exit_code() {
    let home = Home::new();
    let model = train(&home, "a", "1");
    home.done(&["eval", "--model", &model, "--limit", "50", "--predictions", "p.jsonl"]);
    let gate = |conditions: &[&str]| {
        let mut arguments = vec!["eval", "--json", "--predictions", "p.jsonl", "--fail-if"];
        arguments.extend(conditions);
        let output = home.run(&arguments);
        (output.status.code(), text(&output.stderr), output.stdout.is_empty())
    };
    let (code, message, _) = gate(&["accuracy<0.01", "ece>=1"]);
    assert_eq!((code, message.as_str()), (Some(0), ""));
    let (code, message, silent) = gate(&["accuracy<0.01", "nll > 1e-9"]);
    assert_eq!((code, silent), (Some(1), false), "the result is printed all the same");
    assert!(message.contains("`nll` is 0.") && message.contains("`nll > 1e-9`"), "{message}");
    let (code, message, _) = gate(&["accuracyy<0.5"]);
    assert_eq!(code, Some(2));
    assert!(message.contains("did you mean `accuracy`?"), "{message}");
    let (code, message, silent) = gate(&["ece"]);
    assert_eq!((code, silent), (Some(2), true), "before any work");
    assert!(message.contains("`ece` is not a valid condition"), "{message}");
}

#[test]
fn what_cannot_be_evaluated_is_refused() {
    let home = Home::new();
    let message = home.refused(&["eval", "--predictions", "p.jsonl"]);
    assert!(message.contains("predictions file `p.jsonl` not found"), "{message}");
    home.write("p.csv", "text,label\na,b\n");
    let message = home.refused(&["eval", "--predictions", "p.csv"]);
    assert!(message.contains("no column `p.CLASS`"), "{message}");
    let message = home.refused(&["eval", "--predictions", "p.csv", "--limit", "5"]);
    assert!(message.contains("--limit") && message.contains("--model"), "{message}");
    let message = home.refused(&["eval", "--predictions", "p.csv", "--coverage", "0.95"]);
    assert!(message.contains("--coverage applies to rows"), "{message}");
    let header = "model,dataset,split,seed,temperature,alpha,bound_rows,row,ood,label,predicted,p.a,\
                  p.b,logit.a,logit.b,total,aleatoric,epistemic,set,novelty,novelty_p,truncated,seen\n";
    home.write("p.csv", header);
    let message = home.refused(&["eval", "--predictions", "p.csv"]);
    assert!(message.contains("`p.csv` contains no predictions"), "{message}");
    home.write("p.csv", "p.a,p.b\n0.5,0.5\n");
    let message = home.refused(&["eval", "--predictions", "p.csv"]);
    assert!(message.contains("no column `model`"), "{message}");
}

/// Requests to so many departments, told apart by one word; every seventh went to the next one.
fn departments(classes: usize, rows: usize) -> String {
    let mut csv = "subject,department\n".to_owned();
    for row in 0..rows {
        let thing = row % classes;
        let department = if row % 7 == 0 { (thing + 1) % classes } else { thing };
        csv.push_str(&format!(
            "\"please look at my thing{thing}, case {row}\",the department of things {department}\n"
        ));
    }
    csv
}

#[test]
fn many_classes_are_in_the_files_and_the_worst_of_them_on_the_screen() {
    let home = Home::new();
    let data = home.write("requests.csv", departments(15, 900));
    let mut arguments = vec!["train", data.to_str().unwrap(), "--quiet"];
    arguments.extend(TINY);
    let summary = home.done(&arguments);
    assert!(summary.lines().count() <= 24, "{summary}");
    assert!(summary.lines().all(|line| line.chars().count() <= 80), "{summary}");
    let table = home.done(&["eval", "--report", "out"]);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    assert!(table.contains("classes with the lowest F1") && table.contains("most often confused"));
    assert!(table.contains("all 15 classes and"), "{table}");
    let report = json(&std::fs::read_to_string(home.path("out/report.json")).unwrap());
    assert_eq!(report["by_class"].as_array().unwrap().len(), 15);
    let confusions = report["confusions"].as_array().unwrap();
    assert!((1..=20).contains(&confusions.len()), "{confusions:?}");
    assert!(confusions.is_sorted_by(|a, b| a["rows"].as_u64() >= b["rows"].as_u64()));
    let markdown = std::fs::read_to_string(home.path("out/report.md")).unwrap();
    for class in 0..15 {
        assert!(markdown.contains(&format!("| the department of things {class} |")), "{class}");
    }

    // A class that has no row and is never predicted has no F1.
    let mut few = "subject,department\n".to_owned();
    for row in 0..20 {
        few += &format!("my thing{0} {row},the department of things {0}\n", row % 2);
    }
    let few = home.write("few.csv", few);
    let arguments = ["eval", "--dataset", few.to_str().unwrap(), "--report", "few"];
    let table = home.done(&arguments);
    let report = json(&std::fs::read_to_string(home.path("few/report.json")).unwrap());
    let classes = report["by_class"].as_array().unwrap();
    let scores: Vec<f64> = classes.iter().filter_map(|class| class["f1"].as_f64()).collect();
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    assert!((report["f1"]["value"].as_f64().unwrap() - mean).abs() < 1e-12, "{report}");
    assert!(scores.len() < 15, "{report}");
    let said = format!("over {} of 15 classes", scores.len());
    let markdown = std::fs::read_to_string(home.path("few/report.md")).unwrap();
    assert!(table.contains(&said) && markdown.contains(&said), "{table}");
}

/// What a training looked at says nothing of what a later evaluation does.
#[test]
fn the_limit_of_a_training_is_not_that_of_an_evaluation() {
    let home = Home::new();
    let limits = ["--set", "data.test_limit=10", "--set", "data.validation_limit=6", "--json"];
    let report = json(&home.train_tiny(&limits));
    assert_eq!(
        (&report["test"]["rows"], &report["parts"]["test"]["rows"]),
        (&10.into(), &10.into())
    );
    assert_eq!(report["parts"]["validation"]["rows"], 6);
    let rows = |more: &[&str]| {
        let arguments = [&["eval", "--json"], more].concat();
        json(&home.done(&arguments))["rows"].clone()
    };
    assert_eq!(rows(&[]), 24);
    assert_eq!(rows(&["--split", "validation"]), 24);
    assert_eq!(rows(&["--limit", "5"]), 5);
}

/// A file of requests, and a model trained on it.
#[test]
fn a_linear_classifier_on_the_training_rows_is_set_beside_the_model() {
    let home = Home::new();
    home.train_tiny(&[]);
    let model = "checkpoints/tickets/model";
    let shown = home.done(&["eval", "--model", model]);
    assert!(shown.contains("compared with a linear baseline"), "{shown}");
    // One word tells the departments apart: both are right always, and so the model is no better.
    assert!(shown.contains("warning: a linear baseline"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let evaluated = |more: &[&str]| {
        json(&home.done(&[&["eval", "--json", "--model", model][..], more].concat()))
    };
    let first = evaluated(&[]);
    let beside = &first["baseline"];
    assert_eq!(beside["accuracy"]["value"], 1.0);
    assert_eq!((&beside["rows"], &beside["better"]), (&168.into(), &Value::Bool(false)));
    for metric in ["accuracy", "nll", "ece"] {
        let value = |object: &Value| object[metric]["value"].as_f64().unwrap();
        let expected = value(&first) - value(beside);
        assert!((value(&beside["difference"]) - expected).abs() < 1e-12, "{metric}");
    }
    assert_eq!(evaluated(&[]), first, "the same bits again");
    assert_eq!(evaluated(&["--threads", "1"])["baseline"], *beside);
    assert_eq!(evaluated(&["--no-baseline"])["baseline"], Value::Null);
    // Rows of its own training say nothing.
    assert_eq!(evaluated(&["--split", "train"])["baseline"], Value::Null);
    let gate = ["eval", "--model", model, "--fail-if", "baseline.difference.accuracy>-1"];
    assert_eq!(home.run(&gate).status.code(), Some(1));
    home.done(&["eval", "--model", model, "--report", "out"]);
    let page = std::fs::read_to_string(home.path("out/report.md")).unwrap();
    assert!(
        page.contains("Compared with a linear baseline") && page.contains("Warning: "),
        "{page}"
    );

    // Other rows with the same labels, in another order.
    let other = "the router is down,technical\nmy invoice please,billing\n";
    home.write("other.csv", format!("subject,department\n{}", other.repeat(10)));
    let on_other = evaluated(&["--dataset", "other.csv", "--split", "test"]);
    assert_eq!(on_other["baseline"]["rows"], 168);

    // The file is changed, then gone.
    let tickets = home.path("tickets.csv");
    let text = std::fs::read_to_string(&tickets).unwrap();
    std::fs::write(&tickets, text.replace("case 1", "case 2")).unwrap();
    let said = || {
        let output = home.run(&["eval", "--model", model, "--dataset", "other.csv"]);
        assert!(output.status.success());
        text_of(&output.stdout, &output.stderr)
    };
    let (shown, note) = said();
    assert!(!shown.contains("linear baseline") && note.contains("has changed since"), "{note}");
    std::fs::remove_file(&tickets).unwrap();
    let (shown, note) = said();
    assert!(!shown.contains("linear baseline") && note.contains("no longer here"), "{note}");
    assert_eq!(note.lines().filter(|line| line.contains("skipping the baseline")).count(), 1);
}

fn text_of(stdout: &[u8], stderr: &[u8]) -> (String, String) {
    (text(stdout), text(stderr))
}

#[test]
fn several_models_are_set_beside_the_same_classifier() {
    let home = Home::new();
    let (a, b) = (train(&home, "a", "1"), train(&home, "b", "2"));
    let both = ["eval", "--model", &a, &b, "--limit", "200"];
    let shown = home.done(&both);
    assert_eq!(shown.matches("linear baseline, on the training rows of A").count(), 1);
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    let object = json(&home.done(&[&both[..], &["--json"]].concat()));
    let beside = |place: usize| object["models"][place]["baseline"].clone();
    assert_eq!(beside(0)["nll"], beside(1)["nll"]);
    assert_ne!(beside(0)["difference"], beside(1)["difference"]);
    assert_eq!(beside(0)["rows"], 400);
}

/// The same rows under another name, another part of them, and a file that has grown.
#[test]
fn rows_that_a_model_was_made_with_are_counted_or_said_to_be_unknown() {
    let home = Home::new();
    home.train_tiny(&[]);
    let model = "checkpoints/tickets/model";
    let tickets = home.path("tickets.csv");
    let text = std::fs::read_to_string(&tickets).unwrap();
    home.write("copy.csv", &text);
    let evaluated = |more: &[&str]| {
        let first = ["eval", "--json", "--no-baseline", "--model", model];
        json(&home.done(&[&first[..], more].concat()))
    };
    let seen = |report: &Value| report["splits"]["seen"].clone();
    assert_eq!(seen(&evaluated(&[])), 0);
    let again = evaluated(&["--split", "train"]);
    assert_eq!(seen(&again), again["splits"]["evaluated"]["rows"]);
    for other in ["copy.csv", "./tickets.csv", "tickets.csv"] {
        let all = evaluated(&["--dataset", other]);
        let test = all["splits"]["parts"]["test"]["rows"].as_u64().unwrap();
        assert_eq!(all["splits"]["evaluated"]["rows"], 240);
        assert_eq!(seen(&all), 240 - test, "{other}");
        assert_eq!(all["without_seen"]["seen"], 240 - test);
    }
    std::fs::write(&tickets, format!("{text}\"a new invoice\",billing\n")).unwrap();
    let output = home.run(&["eval", "--no-baseline", "--model", model]);
    let (shown, note) = text_of(&output.stdout, &output.stderr);
    assert!(output.status.success() && note.contains("tickets.csv` has changed"), "{note}");
    assert!(shown.contains("it is unknown which were seen before"), "{shown}");
    assert_eq!(seen(&evaluated(&[])), Value::Null);
}

#[test]
fn flags_about_tables_are_refused_where_answers_are_read() {
    let home = Home::new();
    home.write("answers.csv", "row,label,p.a,p.b\n0,a,0.9,0.1\n1,b,0.2,0.8\n");
    for flag in [
        &["--label-map", "a=b"][..],
        &["--label-column", "label"],
        &["--delimiter", ";"],
        &["--encoding", "utf-8"],
        &["--quoting", "none"],
        &["--header", "yes"],
        &["--text-column", "text"],
        &["--text-pair-column", "text"],
    ] {
        let message = home.refused(&[&["eval", "--predictions", "answers.csv"], flag].concat());
        assert!(
            message.contains(flag[0]) && message.contains("already holds predictions"),
            "{message}"
        );
    }
}

/// The rows are those of the training; what they are called is not.
#[test]
fn a_flag_about_labels_does_not_change_which_rows_a_model_was_made_with() {
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "train.baseline=false"]);
    let swapped = ["--label-map", "billing=technical,technical=billing"];
    let output = home
        .run(&[&["eval", "--no-baseline", "--json", "--split", "train"], &swapped[..]].concat());
    let (shown, said) = text_of(&output.stdout, &output.stderr);
    assert!(output.status.success() && !said.contains("has changed"), "{said}");
    let splits = &json(&shown)["splits"];
    assert_eq!(splits["seen"], splits["evaluated"]["rows"], "{splits}");
    let seen = splits["seen"].as_u64().unwrap();
    assert!(seen > 100, "{splits}");
}

#[test]
fn a_coverage_of_sets_that_a_model_does_not_make_is_refused() {
    let home = Home::new();
    home.train_tiny(&["--set", "calibration.conformal_alpha=[]"]);
    let model = "checkpoints/tickets/model";
    let asked = ["eval", "--no-baseline", "--coverage", "0.9", "--model", model];
    let message = home.refused(&asked);
    assert!(message.contains("`--coverage` has no effect") && message.contains(model), "{message}");
    // Beside another model that makes them it is said.
    home.train_tiny(&["--set", "name=other"]);
    let output = home.run(&[&asked[..], &["checkpoints/other/model"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("warning: `--coverage` has no effect"));
}

/// The size of the prediction set decides, but not that of a set that somebody asks for.
#[test]
fn another_coverage_does_not_move_what_is_accepted() {
    let home = Home::new();
    home.train_tiny(&["--set", "calibration.max_set_size=1"]);
    let decisions = |more: &[&str]| {
        let asked = ["eval", "--no-baseline", "--json", "--model", "checkpoints/tickets/model"];
        let output = home.run(&[&asked[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stderr).contains("no decisions are reported");
        (json(&text(&output.stdout))["kept"]["decisions"].clone(), said)
    };
    let (own, said) = decisions(&[]);
    assert!(!own.is_null() && !said);
    assert_eq!(decisions(&["--coverage", "0.6"]), (Value::Null, true));
}
