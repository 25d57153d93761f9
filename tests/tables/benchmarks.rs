//! The tasks of GLUE and SuperGLUE, in the columns that their files have.

use serde_json::{Value, json};

use crate::home::{Home, TINY};

/// One row of each class of a task, in its columns, with the text and the second text that are to come of it.
fn task(name: &str, row: usize) -> (Value, usize) {
    let (one, other) = (format!("text {row} of rain"), format!("text {row} of sun"));
    let pair = |first: &str, second: &str, classes: usize| {
        (json!({ first: one, second: other, "idx": row, "label": row % classes }), classes)
    };
    match name {
        "cola" | "sst2" => (json!({ "sentence": one, "idx": row, "label": row % 2 }), 2),
        "mrpc" | "rte" | "wnli" | "super_glue/axb" => pair("sentence1", "sentence2", 2),
        "qqp" => pair("question1", "question2", 2),
        "qnli" => pair("question", "sentence", 2),
        "super_glue/boolq" => pair("question", "passage", 2),
        "super_glue/cb" | "mnli" | "mnli_mismatched" | "ax" => pair("premise", "hypothesis", 3),
        "super_glue/rte" | "super_glue/axg" => pair("premise", "hypothesis", 2),
        "super_glue/copa" => {
            let question = ["cause", "effect"][row / 2 % 2];
            let row = json!({
                "premise": one, "choice1": other, "choice2": format!("text {row} of snow"),
                "question": question, "idx": row, "label": row % 2,
            });
            (row, 2)
        }
        "super_glue/multirc" => {
            let idx = json!({ "paragraph": row / 4, "question": row / 2, "answer": row });
            let row = json!({
                "paragraph": format!("It rained {}.", row / 4), "question": format!("What {}?", row / 2),
                "answer": other, "idx": idx, "label": row % 2,
            });
            (row, 2)
        }
        "super_glue/wic" => {
            let start = one.len() - 4;
            let row = json!({
                "word": "rain", "sentence1": one, "sentence2": format!("rain {row}"), "start1": start,
                "start2": 0, "end1": one.len(), "end2": 4, "idx": row, "label": row % 2,
            });
            (row, 2)
        }
        other => panic!("{other}"),
    }
}

fn lines(name: &str, rows: std::ops::Range<usize>, hidden: bool) -> String {
    let row = |row| {
        let (mut row, _) = task(name, row);
        if hidden {
            row["label"] = json!(-1);
        }
        format!("{row}\n")
    };
    rows.map(row).collect()
}

fn info(home: &Home, name: &str) -> Value {
    let mut command = home.command(&["dataset", "info", name, "--json"]);
    let output = command.env("BAYES_DATA_DIR", home.path("data")).output().unwrap();
    assert!(output.status.success(), "{name}: {}", crate::text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Rows of a split.
fn rows(info: &Value, split: &str) -> Option<u64> {
    let splits = info["splits"].as_array().unwrap();
    splits.iter().find(|one| one["split"] == split)?["rows"].as_u64()
}

#[test]
fn every_task_is_read_in_the_columns_of_its_files() {
    let home = Home::new();
    let all: Value = serde_json::from_str(&home.done(&["dataset", "list", "--json"])).unwrap();
    let names: Vec<&str> =
        all.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    let tasks = names.iter().filter(|name| {
        let hub = all.as_array().unwrap().iter().find(|one| one["name"] == **name);
        hub.unwrap()["hub_id"].as_str().unwrap().ends_with("glue")
    });
    let tasks: Vec<&str> = tasks.copied().collect();
    assert_eq!(tasks.len(), 18, "{tasks:?}");
    for name in tasks {
        let folder = format!("data/{name}");
        let only_tested = ["mnli_mismatched", "ax", "super_glue/axb", "super_glue/axg"];
        if !only_tested.contains(&name) {
            home.write(&format!("{folder}/train.jsonl"), lines(name, 0..60, false));
        }
        let labelled_test = ["super_glue/axb", "super_glue/axg"].contains(&name);
        home.write(&format!("{folder}/test.jsonl"), lines(name, 100..112, !labelled_test));
        let published = if name == "mnli" { "validation_matched" } else { "validation" };
        if !labelled_test && name != "ax" {
            home.write(&format!("{folder}/{published}.jsonl"), lines(name, 60..84, false));
        }
        if name == "ax" {
            // All that it has is hidden.
            let mut command = home.command(&["train", name, "--dry-run", "--init", "none"]);
            let output = command.env("BAYES_DATA_DIR", home.path("data")).output().unwrap();
            assert!(!output.status.success());
            let said = crate::text(&output.stderr);
            assert!(said.contains("all `-1`") && said.contains("no training rows"), "{said}");
            assert!(!said.contains("training split are used instead"), "{said}");
            continue;
        }
        let (_, classes) = task(name, 0);
        let info = info(&home, name);
        assert_eq!(info["labels"].as_array().unwrap().len(), classes, "{name}: {info}");
        // A choice is two rows.
        let each = if name == "super_glue/copa" { 2 } else { 1 };
        let train = (!only_tested.contains(&name)).then_some(60 * each);
        assert_eq!(rows(&info, "train"), train, "{name}: {info}");
        let test = if labelled_test { 12 } else { 24 * each };
        assert_eq!(rows(&info, "test"), Some(test), "{name}: {info}");
        assert_eq!(rows(&info, "validation"), None, "{name}");
        let said = info["remarks"].to_string();
        assert_eq!(
            said.contains(&format!("the rows of `{published}` are the test split")),
            !labelled_test,
            "{name}: {said}"
        );
    }
    assert_eq!(info(&home, "glue/mrpc")["name"], "mrpc");
    // The files of SuperGLUE itself have truth values.
    let rows: String = (0..60)
        .map(|row| {
            let (mut row, _) = task("super_glue/boolq", row);
            row["label"] = json!(row["label"] == 1);
            format!("{row}\n")
        })
        .collect();
    home.write("data/super_glue/boolq/train.jsonl", rows);
    assert_eq!(info(&home, "super_glue/boolq")["labels"], json!(["false", "true"]));
    let message = home.refused(&["dataset", "info", "glue/stsb"]);
    assert!(message.contains("regression"), "{message}");
    let message = home.refused(&["dataset", "info", "glue/mrcp"]);
    assert!(message.contains("did you mean `mrpc`"), "{message}");
    // What is not here is asked for in the columns that it has.
    let message = Home::new().refused(&["dataset", "info", "mrpc"]);
    assert!(message.contains("columns `sentence1`, `sentence2`, `label`"), "{message}");
}

#[test]
fn a_model_of_a_task_is_scored_as_its_suite_does() {
    let home = Home::new();
    for name in ["mrpc", "super_glue/copa", "super_glue/multirc", "super_glue/wic"] {
        home.write(&format!("data/{name}/train.jsonl"), lines(name, 0..400, false));
        home.write(&format!("data/{name}/validation.jsonl"), lines(name, 400..440, false));
        home.write(&format!("data/{name}/test.jsonl"), lines(name, 440..446, true));
        let output = format!("{}", home.path("out").display());
        let run = |arguments: &[&str]| {
            let mut command = home.command(arguments);
            let output = command.env("BAYES_DATA_DIR", home.path("data")).output().unwrap();
            assert!(output.status.success(), "{name}: {}", crate::text(&output.stderr));
            crate::text(&output.stdout)
        };
        run(&[&["train", name, "--set", "name=task"], &TINY[..]].concat());
        let model = "checkpoints/task/model";
        let predictions = format!("{output}.csv");
        let asked = ["eval", "--model", model, "--dataset", name];
        let report: Value =
            serde_json::from_str(&run(
                &[&asked[..], &["--json", "--predictions", &predictions]].concat()
            ))
            .unwrap();
        let found = &report["benchmark"];
        assert_eq!(found["task"], name, "{report}");
        let keys: Vec<&String> = found["scores"].as_object().unwrap().keys().collect();
        let expected: &[&str] = match name {
            "mrpc" => &["accuracy", "f1"],
            "super_glue/copa" => &["choice_accuracy"],
            "super_glue/multirc" => &["exact_match", "f1"],
            _ => &["accuracy"],
        };
        assert_eq!(keys, expected, "{name}");
        // Whoever reads the answers from their file finds the same.
        let again: Value =
            serde_json::from_str(&run(&["eval", "--predictions", &predictions, "--json"])).unwrap();
        assert_eq!(again["benchmark"], *found, "{name}");
        let said = run(&asked);
        assert!(said.contains("GLUE counts of"), "{said}");
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
        // What the server takes of the rows whose labels it alone knows.
        let written = run(&["eval", "--model", model, "--submission", "server"]);
        let file = match name {
            "mrpc" => "server/MRPC.tsv",
            "super_glue/copa" => "server/COPA.jsonl",
            "super_glue/multirc" => "server/MultiRC.jsonl",
            _ => "server/WiC.jsonl",
        };
        assert_eq!(written.trim(), file);
        check(name, &std::fs::read_to_string(home.path(file)).unwrap());
        // Again, but not over what is no such file.
        run(&["eval", "--model", model, "--submission", "server"]);
        home.write(file, "notes of mine");
        let mut again = home.command(&["eval", "--model", model, "--submission", "server"]);
        let output = again.env("BAYES_DATA_DIR", home.path("data")).output().unwrap();
        let said = crate::text(&output.stderr);
        assert!(!output.status.success() && said.contains("is not a file of answers"), "{said}");
        std::fs::remove_dir_all(home.path("checkpoints")).unwrap();
    }
    let message = home.refused(&["eval", "--model", "none", "--submission", "x", "--limit", "3"]);
    assert!(message.contains("--limit"), "{message}");
}

/// A command with the data here: what it prints and says, and whether it succeeds.
fn ran(home: &Home, arguments: &[&str]) -> (bool, String, String) {
    let output = home.command(arguments).env("BAYES_DATA_DIR", home.path("data")).output().unwrap();
    (output.status.success(), crate::text(&output.stdout), crate::text(&output.stderr))
}

#[test]
fn a_question_counts_only_with_all_of_its_answers() {
    let home = Home::new();
    let name = "super_glue/multirc";
    home.write(&format!("data/{name}/train.jsonl"), lines(name, 0..200, false));
    home.write(&format!("data/{name}/validation.jsonl"), lines(name, 400..440, false));
    let (done, _, said) = ran(&home, &[&["train", name, "--set", "name=task"], &TINY[..]].concat());
    assert!(done, "{said}");
    let limited = ["eval", "--limit", "21", "--json", "--predictions", "some.jsonl"];
    let (done, report, said) =
        ran(&home, &[&limited[..], &["--model", "checkpoints/task/model"]].concat());
    assert!(done, "{said}");
    let rows = std::fs::read_to_string(home.path("some.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row_of = |row: &Value| row["row"].as_u64().unwrap();
    let asked: Vec<u64> = rows.iter().map(row_of).collect();
    let (mut whole, mut right) = (0, 0);
    for row in &rows {
        // Two answers to a question stand side by side.
        let partner = rows.iter().find(|other| row_of(other) == (row_of(row) ^ 1));
        assert_eq!(row["question"].is_null(), partner.is_none(), "{row}");
        let Some(partner) = partner.filter(|_| row_of(row).is_multiple_of(2)) else { continue };
        whole += 1;
        right += i32::from([row, partner].iter().all(|one| one["label"] == one["predicted"]));
    }
    assert!(whole > 0 && 2 * whole < asked.len() as i32, "{asked:?}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let found = report["benchmark"]["scores"]["exact_match"]["value"].as_f64().unwrap();
    assert_eq!(found, f64::from(right) / f64::from(whole), "{report}");
}

/// A model with other names for the classes of a task answers it as soon as somebody says which is which.
#[test]
fn renamed_classes_are_scored_and_submitted() {
    let home = Home::new();
    home.write("data/mrpc/train.jsonl", lines("mrpc", 0..60, false));
    home.write("data/mrpc/validation.jsonl", lines("mrpc", 60..80, false));
    home.write("data/mrpc/test.jsonl", lines("mrpc", 80..86, true));
    let own: String = (0..200)
        .map(|row| format!("text {row} of rain,text {row} of sun,{}\n", ["z_no", "a_yes"][row % 2]))
        .collect();
    home.write("own.csv", format!("sentence1,sentence2,label\n{own}"));
    let train =
        ["train", "own.csv", "--text-column", "sentence1", "--text-pair-column", "sentence2"];
    let (done, _, said) = ran(&home, &[&train[..], &["--set", "name=own"], &TINY[..]].concat());
    assert!(done, "{said}");
    let map = "equivalent=a_yes,not_equivalent=z_no";
    let of_mrpc = |more: &[&str]| {
        let asked = ["--model", "checkpoints/own/model", "--dataset", "mrpc", "--label-map"];
        ran(&home, &[&["eval"], &asked[..], more].concat())
    };
    let (done, report, said) = of_mrpc(&[map, "--json"]);
    assert!(done, "{said}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["benchmark"]["task"], "mrpc", "{report}");
    assert_eq!(report["benchmark"]["scores"]["accuracy"], report["accuracy"], "{report}");
    let (done, written, said) = of_mrpc(&[map, "--submission", "server"]);
    assert!(done, "{said}");
    check("mrpc", &std::fs::read_to_string(home.path(written.trim())).unwrap());
    let (done, _, said) = of_mrpc(&["a=b", "--submission", "server"]);
    assert!(!done && said.contains("renames `a`, which is no class of `mrpc`"), "{said}");
}

/// All tasks of a suite that are here are trained, and scored in one table, whose average is that of the server.
#[test]
fn a_suite_is_trained_and_evaluated_as_a_whole() {
    let home = Home::new();
    for name in ["cola", "mrpc", "mnli"] {
        home.write(&format!("data/{name}/train.jsonl"), lines(name, 0..150, false));
        let published = if name == "mnli" { "validation_matched" } else { "validation" };
        home.write(&format!("data/{name}/{published}.jsonl"), lines(name, 400..440, false));
    }
    // As the Hub has it, beside the other one.
    home.write("data/mnli/validation_mismatched.jsonl", lines("mnli", 500..530, false));
    let suite = [&["train", "--suite", "glue", "--json"], &TINY[..]].concat();
    let (done, printed, said) = ran(&home, &suite);
    assert!(done, "{said}");
    assert!(said.contains("`qqp` is left out: "), "{said}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    let tasks = report["tasks"].as_array().unwrap();
    let names: Vec<&str> = tasks.iter().map(|one| one["task"].as_str().unwrap()).collect();
    assert_eq!(names, ["cola", "mrpc", "mnli", "mnli_mismatched"]);
    assert_eq!(tasks[3]["model"], "checkpoints/glue-mnli/model");
    assert_eq!((&tasks[2]["rows"], &tasks[3]["rows"]), (&json!(40), &json!(30)));
    let score = |place: usize| tasks[place]["score"].as_f64().unwrap();
    let average = (score(0) + score(1) + (score(2) + score(3)) / 2.0) / 3.0;
    assert!((report["average"].as_f64().unwrap() - average).abs() < 1e-12, "{report}");
    assert_eq!(report["missing"], json!(["sst2", "qqp", "qnli", "rte", "wnli", "stsb"]));
    assert_eq!(report["untested"], json!([]));
    // A folder of its own is the same.
    let own = home.path("data/mnli_mismatched");
    std::fs::create_dir(&own).unwrap();
    std::fs::rename(
        home.path("data/mnli/validation_mismatched.jsonl"),
        own.join("validation.jsonl"),
    )
    .unwrap();
    let (_, moved, said) = ran(&home, &["eval", "--dataset", "glue", "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&moved).unwrap(), report, "{said}");
    // What is done is not done again, and `eval` finds the same models.
    let (_, again, said) = ran(&home, &suite);
    assert!(again == printed && said.matches("already finished").count() == 3, "{said}");
    let (done, found, said) = ran(&home, &["eval", "--dataset", "glue", "--json"]);
    assert!(done, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), report);
    let some =
        ["eval", "--dataset", "glue", "--model", "checkpoints/glue-cola/model", "--report", "page"];
    let (done, table, said) = ran(&home, &some);
    assert!(done && table.contains("of 1 of the 9 tasks of GLUE"), "{table}{said}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let page = std::fs::read_to_string(home.path("page/report.html")).unwrap();
    assert!(page.contains("matthews correlation") && page.contains("cola"));
    // Again over the same files, with a condition.
    let (done, _, said) = ran(&home, &[&some[..], &["--fail-if", "average<2"]].concat());
    assert!(!done && said.contains("failed: `average` is "), "{said}");
    let (_, configs, _) = ran(&home, &["train", "--suite", "glue", "--print-config"]);
    assert!(
        configs.contains("name = \"glue-cola\"") && configs.contains("name = \"glue-rte\""),
        "{configs}"
    );
    let (done, plans, said) = ran(&home, &[&suite[..], &["--dry-run"]].concat());
    assert!(done, "{said}");
    let plans: Value = serde_json::from_str(&plans).unwrap();
    assert_eq!((plans[0]["dataset"].as_str(), plans.as_array().unwrap().len()), (Some("cola"), 3));
    // Nobody is told that these are figures of the test rows whose labels are hidden.
    let (done, card, said) =
        ran(&home, &["publish", "--model", "checkpoints/glue-mnli/model", "--card-only"]);
    assert!(done && card.contains("split: validation_matched"), "{card}{said}");
    assert!(!card.contains("split: test") && !card.contains("split `test`"), "{card}");
    // The model of the environment is one of those that are asked for; what cannot be read is passed over.
    home.write("checkpoints/old/model/bayes/manifest.json", "{");
    let mut of_environment = home.command(&["eval", "--dataset", "glue", "--json"]);
    of_environment.env("BAYES_DATA_DIR", home.path("data"));
    let found = of_environment.env("BAYES_MODEL", "checkpoints/glue-mrpc/model").output().unwrap();
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found["tasks"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["tasks"][0], report["tasks"][1]);
    let (done, found, said) = ran(&home, &["eval", "--dataset", "glue", "--json"]);
    assert!(done && said.contains("old/model` is passed over"), "{said}");
    assert_eq!(serde_json::from_str::<Value>(&found).unwrap(), report);
    // A folder of the suite's name with no data in it is no data set.
    std::fs::create_dir(home.path("glue")).unwrap();
    assert!(ran(&home, &some).0);
    // One task that fails keeps neither the others from being trained nor the command from failing.
    home.write("data/cola/train.jsonl", "{\"sentence\": \"a\", \"label\": 0}\n");
    let (done, table, said) =
        ran(&home, &[&suite[..], &["--set", "name=again", "--resume", "never"]].concat());
    assert!(!done && said.contains("`cola` failed: "), "{said}");
    let table: Value = serde_json::from_str(&table).unwrap();
    assert_eq!(table["tasks"][0]["model"], "checkpoints/again-mrpc/model", "{table}");
    for (arguments, says) in [
        (&["eval", "--dataset", "super_glue"][..], "no model of a task of SuperGLUE"),
        (&["eval", "--dataset", "glue", "--split", "train"], "--split is about one data set"),
        (
            &["eval", "--dataset", "super_glue", "--model", "checkpoints/glue-cola/model"],
            "for no task",
        ),
        (&["train", "--suite", "glue", "--text-column", "x"], "is about one data set"),
        (&["train", "--suite", "glue", "--set", "data.dataset=cola"], "set the same key"),
        (&["train", "--suite", "glues"], "expected glue or super_glue"),
        (&["train", "cola", "--suite", "glue"], "--suite"),
        (&["train", "--suite", "super_glue"], "no task of SuperGLUE is on this machine"),
        (
            &["train", "--suite", "glue", "--set", "publish.push=end", "--set", "publish.repo=a/b"],
            "publish them one by one",
        ),
        (&["eval", "--dataset", "glue", "--fail-if", "average<0.9x"], "--baseline"),
    ] {
        let (done, _, said) = ran(&home, arguments);
        assert!(!done && said.contains(says), "{arguments:?}: {said}");
    }
}

/// The answers to six rows in the form of their server.
fn check(name: &str, file: &str) {
    if name == "mrpc" {
        let mut lines = file.lines();
        assert_eq!(lines.next(), Some("index\tprediction"));
        let rows: Vec<(&str, &str)> = lines.map(|line| line.split_once('\t').unwrap()).collect();
        assert_eq!(rows.iter().map(|(index, _)| *index).collect::<String>(), "012345");
        assert!(rows.iter().all(|(_, answer)| ["0", "1"].contains(answer)), "{rows:?}");
        return;
    }
    let rows: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    if name == "super_glue/multirc" {
        // Rows 440 to 445: paragraphs 110 and 111, questions 220 to 222.
        let numbers: Vec<String> = rows.iter().map(|row| row["idx"].to_string()).collect();
        assert_eq!(numbers, ["110", "111"]);
        let questions = &rows[0]["passage"]["questions"];
        assert_eq!((&questions[0]["idx"], &questions[1]["idx"]), (&json!(220), &json!(221)));
        let answer = &questions[1]["answers"][1];
        assert_eq!(answer["idx"], 443);
        assert!(answer["label"] == 0 || answer["label"] == 1, "{answer}");
        return;
    }
    let places: Vec<u64> = rows.iter().map(|row| row["idx"].as_u64().unwrap()).collect();
    assert_eq!(places, [0, 1, 2, 3, 4, 5]);
    let known = match name {
        "super_glue/copa" => [json!(0), json!(1)],
        _ => [json!("false"), json!("true")],
    };
    assert!(rows.iter().all(|row| known.contains(&row["label"])), "{rows:?}");
}
