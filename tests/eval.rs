//! `bayes eval` as a user runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod home;

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

#[test]
fn texts_without_labels_can_be_out_of_scope() {
    let home = Home::new();
    home.train_tiny(&[]);
    home.write("recipes.csv", "text\nstir the soup for ten minutes\nlet the dough rest\n");
    let report = json(&home.done(&["eval", "--json", "--ood", "recipes.csv", "other-topics"]));
    assert_eq!(report["ood"]["recipes"]["rows"], 2);
    assert_eq!(report["ood"]["other-topics"]["rows"], 1000);
    let message = home.refused(&["eval", "--ood", "nothing-there"]);
    assert!(message.contains("`nothing-there`"), "{message}");
    let message = home.refused(&["eval", "--ood", "recipes.csv", "recipes.csv"]);
    assert!(message.contains("called `recipes`"), "{message}");
    let model = "checkpoints/tickets/model";
    let message = home.refused(&["eval", "--model", model, "--predictions", "p.txt"]);
    assert!(message.contains("`.txt`"), "{message}");
    let message = home.refused(&["eval", "--model", model, model]);
    assert!(message.contains("given twice"), "{message}");
}

/// `--ood` is for texts that no class is right for.
#[test]
fn texts_of_the_models_own_classes_or_rows_are_not_out_of_scope() {
    let home = Home::new();
    home.train_tiny(&[]);
    let run = |home: &Home, name: &str, content: &str, more: &[&str]| {
        let path = home.write(name, content);
        let start = ["eval", "--no-baseline", "--limit", "9", "--ood", path.to_str().unwrap()];
        let output = home.run(&[&start[..], more].concat());
        (output.status.code(), text(&output.stderr))
    };
    let own = "subject,department\nwhere is it,billing\nwho was it,technical\n";
    let (code, said) = run(&home, "own.csv", own, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("2 of 2 rows of `own`") && said.contains("`bayes eval --dataset`"),
        "{said}"
    );
    let some = format!("{own}stir the soup,cooking\n");
    let (code, said) = run(&home, "some.csv", &some, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("2 of 3 rows of `some`") && said.contains("`billing`, `technical`"),
        "{said}"
    );
    let (_, said) = run(&home, "none.csv", "subject,department\nstir it,cooking\n", &[]);
    assert!(!said.contains("have a label"), "{said}");
    // A folder is a data set.
    home.write("folder/test.csv", own);
    let message = home.refused(&["eval", "--no-baseline", "--ood", "folder"]);
    assert!(message.contains("2 of 2 rows of `folder`"), "{message}");
    // The test rows, whatever labels the training rows have.
    let row = |label: &str, i: usize| format!("stir the soup {i},{label}\n");
    let rows = |labels: [&str; 2]| -> String {
        (0..40).map(|i| row(labels[i % 2], i)).fold("subject,department\n".into(), |a, b| a + &b)
    };
    home.write("other/train.csv", rows(["food", "cook"]));
    home.write("texts/train.csv", "text\nlet it boil\n");
    home.write("texts/test.csv", "text\nlet it rest\nlet it cool\nlet it be\n");
    let ood = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood", "texts"];
    let output = home.run(&ood);
    assert_eq!(json(&text(&output.stdout))["ood"]["texts"]["rows"], 3, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("--ood texts: the 3 rows are those of the split `test`"));
    home.write("other/test.csv", "subject,department\nlet it rest,bird\nlet it cool,food\n");
    let ood = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood", "other"];
    let output = home.run(&ood);
    assert_eq!(json(&text(&output.stdout))["ood"]["other"]["rows"], 2);
    let said = text(&output.stderr);
    assert!(said.contains("--ood other: the 2 rows are those of the split `test`"), "{said}");

    // Texts that the model was trained on, or is asked about, whatever stands beside them.
    let rows =
        "subject\n\"please look at my invoice, case 0\"\n\"please look at my router, case 1\"\n";
    let (code, said) = run(&home, "rows.csv", rows, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("2 of 2 texts of `rows`"), "{said}");
    let (code, said) = run(&home, "mixed.csv", &format!("{rows}stir the soup\n"), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 3 texts of `mixed`"), "{said}");

    // Numbers name nothing: another table's 0 and 1 are said only.
    let home = Home::new();
    let numbers =
        home.write("n.csv", tickets(240).replace(",billing", ",0").replace(",technical", ",1"));
    home.done(&[&["train", numbers.to_str().unwrap()], &TINY[..]].concat());
    let (code, said) =
        run(&home, "m.csv", "subject,department\nstir the soup,0\nlet it rest,1\n", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 2 rows of `m`"), "{said}");
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

/// Both would stand under `out_of_scope` in the report.
#[test]
fn a_set_of_texts_of_no_class_does_not_take_the_name_of_the_data_sets_own() {
    let home = Home::new();
    let own: String = (0..60).map(|row| format!("tell me a joke {row},none\n")).collect();
    let data = home.write("tickets.csv", tickets(240) + &own);
    let mut arguments = vec!["train", data.to_str().unwrap(), "--quiet"];
    arguments.extend(TINY);
    arguments.extend(["--set", "data.ood_label=none", "--set", "train.baseline=false"]);
    home.done(&arguments);
    let other: String = (0..9).map(|row| format!("the weather of day {row}\n")).collect();
    for name in ["out_of_scope.csv", "weather.csv"] {
        home.write(name, format!("text\n{other}"));
    }
    let eval = ["eval", "--no-baseline", "--json", "--ood"];
    let message = home.refused(&[&eval[..], &["out_of_scope.csv"]].concat());
    assert!(message.contains("`out_of_scope`") && message.contains("rename"), "{message}");
    let report = json(&home.done(&[&eval[..], &["weather.csv"]].concat()));
    assert_eq!(report["ood"]["weather"]["rows"], 9);
    assert!(report["ood"]["out_of_scope"]["rows"].as_u64().unwrap() > 0, "{}", report["ood"]);
    // Without texts of its own the name is free.
    home.train_tiny(&["--quiet", "--set", "name=plain", "--set", "train.baseline=false"]);
    let plain = ["out_of_scope.csv", "--model", "checkpoints/plain/model"];
    let report = json(&home.done(&[&eval[..], &plain].concat()));
    assert_eq!(report["ood"]["out_of_scope"]["rows"], 9);
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
fn damaged_copies_stand_beside_the_rows_as_they_are() {
    let home = Home::new();
    let model = train(&home, "a", "1");
    let eval = ["eval", "--no-baseline", "--model", &model, "--limit", "200"];
    let shift = ["--shift", "typos=0.1,truncate=3,drop=0.2+typos=0.1", "--ood", "other-topics"];
    let arguments = [&eval[..], &shift].concat();
    let report = json(&home.done(&[&arguments[..], &["--json"]].concat()));
    let all = report["shift"].as_array().unwrap();
    let labels: Vec<&str> = all.iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["undamaged", "typos=0.1", "truncate=3", "drop=0.2+typos=0.1"]);
    for key in ["accuracy", "nll", "ece"] {
        assert_eq!(all[0][key]["value"], report[key]["value"], "{key}");
    }
    assert_eq!(all[0]["decisions"], report["kept"]["decisions"]);
    assert_eq!((&all[0]["changed"], &all[0]["nll_difference"]), (&0.into(), &Value::Null));
    let value = |one: &Value, key: &str| one[key]["value"].as_f64().unwrap();
    for one in &all[1..] {
        assert_eq!(one["rows"], 200);
        assert!(one["changed"].as_u64().unwrap() > 190, "{one}");
        let expected = value(one, "nll") - value(&all[0], "nll");
        assert!((value(one, "nll_difference") - expected).abs() < 1e-12);
        let difference = &one["nll_difference"];
        assert!(difference["low"].as_f64() <= difference["high"].as_f64());
        for key in ["coverage", "mean_set_size", "flagged", "exchangeability"] {
            assert!(!one[key].is_null(), "{key}: {one}");
        }
        assert!(one["error_auroc"]["confidence"].is_number());
    }
    // Three words of a review leave less to go by.
    assert!(value(&all[2], "accuracy") < value(&all[0], "accuracy"), "{report}");

    // The same again, with another number of threads, and without the other damages.
    let again = json(&home.done(&[&arguments[..], &["--json", "--threads", "1"]].concat()));
    assert_eq!(again["shift"], report["shift"]);
    let one = json(&home.done(&[&eval[..], &["--shift", "truncate=3", "--json"]].concat()));
    assert_eq!(one["shift"][1], report["shift"][2]);
    // Without any, all else is as it was.
    let plain = json(&home.done(&[&eval[..], &["--json"]].concat()));
    assert_eq!((&plain["shift"], &plain["nll"]), (&serde_json::json!([]), &report["nll"]));

    let table = home.done(&[&arguments[..], &["--report", "out"]].concat());
    assert!(table.contains("200 rows and damaged copies of them (seed 1)"), "{table}");
    assert!(table.contains("B  typos=0.1") && table.contains("more than undamaged"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let read = |name: &str| std::fs::read_to_string(home.path("out").join(name)).unwrap();
    assert_eq!(json(&read("report.json"))["shift"], report["shift"]);
    for page in [read("report.md"), read("report.html")] {
        assert!(page.contains("Shift") && page.contains("drop=0.2+typos=0.1"), "{page}");
        assert!(!page.contains("NaN") && !page.contains(" film "));
    }

    let gate = |condition: &str| {
        let arguments = [&arguments[..], &["--json", "--fail-if", condition]].concat();
        home.run(&arguments).status.code()
    };
    assert_eq!(gate("shift.typos=0.1.accuracy<1.1"), Some(1));
    assert_eq!(gate("shift.truncate=3.nll_difference>=99"), Some(0));
    for (damage, expected) in [
        ("typo=0.1", "did you mean `typos`?"),
        ("typos", "is not a damage"),
        ("truncate=0", "a number of words"),
        ("drop=2", "a share above 0"),
    ] {
        let output = home.run(&[&eval[..], &["--shift", damage]].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(expected), "{said}");
    }
    let message = home.refused(&[&eval[..], &["--shift", "drop=0.1,drop=0.1"]].concat());
    assert!(message.contains("`--shift` has `drop=0.1` twice"), "{message}");
    home.done(&[&eval[..], &["--predictions", "p.jsonl"]].concat());
    let message = home.refused(&["eval", "--predictions", "p.jsonl", "--shift", "drop=0.1"]);
    assert!(message.contains("--shift applies to rows"), "{message}");
}

/// Labels of other rows that are wrong half of the time, and rows like those of the training.
#[test]
fn a_broken_promise_of_the_sets_is_said_with_its_numbers_and_a_kept_one_is_not() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(2400));
    let quiet = ["--quiet", "--set", "train.baseline=false", "--set", "train.num_train_epochs=1"];
    home.done(&[&["train", data.to_str().unwrap()], &TINY[..], &quiet[..]].concat());
    let eval = ["eval", "--no-baseline"];
    let kept = home.done(&eval);
    assert!(!kept.contains("warning"), "{kept}");
    assert!(kept.contains("decisions: ") && kept.contains("novelty: "), "{kept}");
    let found = json(&home.done(&[&eval[..], &["--json"]].concat()));
    let exchange = &found["kept"]["exchangeability"];
    assert_eq!((&exchange["verdict"], &exchange["exact"]), (&"exchangeable".into(), &true.into()));
    assert_eq!(exchange["calibration_rows"], 120);

    let mut other = "subject,department\n".to_owned();
    for row in 0..200 {
        let (thing, department) = [
            ("invoice", "billing"),
            ("router", "technical"),
            ("invoice", "technical"),
            ("router", "billing"),
        ][row % 4];
        other += &format!("\"please look at my {thing}, case {}\",{department}\n", row + 9000);
    }
    home.write("other.csv", other);
    let other = [&eval[..], &["--dataset", "other.csv"]].concat();
    let shown = home.done(&[&other[..], &["--report", "out"]].concat());
    assert!(shown.contains("warning: the sets promised 90.0 % and contain the"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    for name in ["report.md", "report.html"] {
        let page = std::fs::read_to_string(home.path("out").join(name)).unwrap();
        assert!(page.contains("Warning: the sets promised 90.0 %"), "{page}");
    }
    let found = json(&home.done(&[&other[..], &["--json"]].concat()));
    assert_eq!(found["kept"]["exchangeability"]["verdict"], "broken");
    let gate = [&other[..], &["--fail-if", "kept.exchangeability.log10_e_value>2.3"]].concat();
    assert_eq!(home.run(&gate).status.code(), Some(1));
    // Rows that calibrated it say nothing.
    let own = json(&home.done(&[&eval[..], &["--json", "--split", "conformal"]].concat()));
    assert_eq!(own["kept"]["exchangeability"], Value::Null);
}

/// Texts of no class are read as the rows of any data set.
#[test]
fn a_set_of_texts_of_no_class_follows_the_rules_of_data() {
    let home = Home::new();
    home.train_tiny(&[]);
    let run = |name: &str, content: &[u8], more: &[&str]| {
        home.write(name, content);
        let start = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood", name];
        let output = home.run(&[&start[..], more].concat());
        let said = text(&output.stderr);
        let stem = name.split('.').next().unwrap();
        let found = serde_json::from_slice::<Value>(&output.stdout).ok();
        (output.status.code(), said, found.map(|report| report["ood"][stem].clone()))
    };
    // A label is a class of the model's in any spelling.
    for label in ["BILLING", "bílling", " billing ", "['billing']", "bill\u{200b}ing"] {
        let rows = format!("subject,department\nstir the soup,{label}\nlet it rest,{label}\n");
        let (code, said, _) = run("spelt.csv", rows.as_bytes(), &[]);
        assert_eq!(code, Some(2), "{label}: {said}");
        assert!(said.contains("2 of 2 rows of `spelt`") && said.contains("`billing`"), "{said}");
    }
    // Rows that are none, or that nobody accepted.
    let twice = "subject,department\nstir it,food\nsubject,department\nlet it be,food\n";
    let (_, said, found) = run("twice.csv", twice.as_bytes(), &[]);
    assert_eq!(found.unwrap()["rows"], 2, "{said}");
    assert!(said.contains("--ood twice.csv: `twice.csv` line 3 repeats"), "{said}");
    let answers = ["accept", "reject", "accept", "ignore"];
    let judged: String = (0..4)
        .map(|i| format!("{{\"text\": \"stir it {i}\", \"answer\": \"{}\"}}\n", answers[i]))
        .collect();
    let (_, said, found) = run("judged.jsonl", judged.as_bytes(), &[]);
    assert_eq!(found.unwrap()["rows"], 2, "{said}");
    assert!(said.contains("1 `ignore`, 1 `reject`"), "{said}");
    // Which column was taken, and how many texts were cut.
    let long =
        format!("body,shelf\n{},7\nstir it slowly and let it rest,3\n", "stir it ".repeat(90));
    let (_, said, found) = run("long.csv", long.as_bytes(), &[]);
    let found = found.unwrap();
    assert_eq!((&found["rows"], &found["truncated"]), (&2.into(), &1.into()), "{said}");
    assert!(said.contains("--ood long.csv: columns: text = `body`"), "{said}");
    // Labels of any kind are no reason to refuse the texts.
    let (_, said, found) = run("shelf.csv", b"text,label\nstir it,0.25\nlet it rest,\n", &[]);
    assert_eq!(found.unwrap()["rows"], 2, "{said}");
    let (code, said, _) = run("empty.csv", b"text,label\nstir it,a\n,a\n", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`empty.csv` line 3: column `text` is empty"), "{said}");
}

#[test]
fn what_is_said_of_a_set_of_texts_names_the_flag_that_reaches_it() {
    let home = Home::new();
    home.train_tiny(&[]);
    let run = |more: &[&str]| {
        let start = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood"];
        home.run(&[&start[..], more].concat())
    };
    home.write("latin.csv", b"subject,shelf\nstir the cr\xe8me,3\nlet it rest,4\n");
    let said = text(&run(&["latin.csv"]).stderr);
    assert!(said.contains("`--ood-set data.encoding`") && !said.contains("`--encoding`"), "{said}");
    let encoding = ["latin.csv", "--ood-set", "data.encoding=windows-1252"];
    let output = run(&encoding);
    let report = json(&text(&output.stdout));
    assert_eq!(report["ood"]["latin"]["rows"], 2, "{}", text(&output.stderr));
    // A flag about the rows that are evaluated does not concern these texts.
    let said = text(&run(&["latin.csv", "--encoding", "windows-1252"]).stderr);
    assert!(said.contains("--ood latin.csv: "), "{said}");
    home.write("two.csv", "first,second\nstir the soup for long,let it rest for long\n");
    let said = text(&run(&["two.csv", "--ood-set", "data.text_column=second"]).stderr);
    assert!(said.contains("--ood two.csv: columns: text = `second`"), "{said}");
    let output = home.run(&["eval", "--ood", "two.csv", "--ood-set", "data.text_colum=second"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`data.text_colum` is not one of the keys `data.text_column`"), "{said}");
    let output = home.run(&["eval", "--ood-set", "data.text_column=second"]);
    assert!(text(&output.stderr).contains("--ood <DATA>"), "{}", text(&output.stderr));
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
        json(&home.done(&[&asked[..], more].concat()))["kept"]["decisions"].clone()
    };
    assert!(!decisions(&[]).is_null());
    assert!(decisions(&["--coverage", "0.6"]).is_null());
}
