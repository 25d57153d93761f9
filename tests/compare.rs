//! `bayes compare` as a user runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "only a part is needed here")]
mod home;

use home::{Home, TINY, text, tickets};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Without what differs from run to run: the date, and what was timed.
fn without_times(mut report: Value) -> Value {
    report.as_object_mut().unwrap().remove("date");
    for row in report["table"]["rows"].as_array_mut().unwrap() {
        for part in ["figures", "differences"] {
            let figures = row[part].as_object_mut().unwrap();
            figures.retain(|key, _| !key.ends_with("_seconds") && key != "ms_a_text");
        }
    }
    report
}

fn arguments<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["compare", data];
    all.extend(TINY);
    all.extend(["--quiet", "--json", "--seeds", "2", "--shift", "drop=0.4,truncate=4"]);
    all.extend(["--methods", "map,laplace,mc_dropout,wide=laplace:link=mf2,swag"]);
    all.extend(more);
    all
}

#[test]
fn methods_stand_in_one_table_and_what_is_done_is_not_done_again() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let other = home.write("later.csv", tickets(60));
    let other = other.to_str().unwrap();
    let arguments = arguments(data.to_str().unwrap(), &["--other-data", other]);
    let report = json(&home.done(&arguments));
    assert_eq!(report["seeds"], serde_json::json!([42, 43]));
    let rows = report["table"]["rows"].as_array().unwrap();
    let labels: Vec<&str> = rows.iter().map(|row| row["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["map", "laplace", "mc_dropout", "wide", "swag"]);
    let figure = |row: &Value, key: &str| row["figures"][key]["values"].clone();
    for row in rows {
        for key in ["accuracy", "nll", "ece", "ece_floor", "coverage", "ms_a_text", "bytes"] {
            let values = figure(row, key);
            assert_eq!(values.as_array().map(Vec::len), Some(2), "{key} of {}", row["label"]);
        }
        for damage in ["drop=0.4", "truncate=4"] {
            assert!(!figure(row, &format!("shift.{damage}.nll_more")).is_null(), "{row}");
        }
        assert_eq!(figure(row, &format!("data.{other}.nll")).as_array().map(Vec::len), Some(2));
        let reference = row["label"] == "map";
        assert_eq!(row["differences"].as_object().unwrap().is_empty(), reference);
    }
    // Of two values: mean ± 12.706 · s/√2 = 12.706 · |a − b|/2.
    let nll = &rows[1]["figures"]["nll"];
    let value = |place: usize| nll["values"][place].as_f64().unwrap();
    let half = 12.706_204_736 * (value(0) - value(1)).abs() / 2.0;
    let found = nll["high"].as_f64().unwrap() - nll["mean"].as_f64().unwrap();
    assert!((found - half).abs() < 1e-6 * half.max(1e-9), "{nll}");
    let difference = rows[1]["differences"]["nll"]["values"][0].as_f64().unwrap();
    let expected = value(0) - figure(&rows[0], "nll")[0].as_f64().unwrap();
    assert!((difference - expected).abs() < 1e-15);

    // The point estimate is the model of the run itself, and all models are what `bayes eval` finds.
    for (model, row) in [("", 0), ("-map", 0), ("-laplace", 1), ("-swag", 4)] {
        let model = format!("checkpoints/tickets-seed43{model}/model");
        let eval = ["eval", "--json", "--no-baseline", "--model", &model];
        let evaluated = json(&home.done(&eval));
        for key in ["nll", "ece"] {
            assert_eq!(evaluated[key]["value"], figure(&rows[row], key)[1], "{key} of {model}");
        }
    }

    // Again: nothing is trained or fitted; one cell is missing, and only that one is done.
    let again = json(&home.done(&arguments));
    assert_eq!(again["table"], report["table"]);
    std::fs::remove_file(home.path("checkpoints/tickets-compare/cells/seed42-laplace.json"))
        .unwrap();
    let loud: Vec<&str> = arguments.iter().copied().filter(|flag| *flag != "--quiet").collect();
    let output = home.run(&loud);
    let said = text(&output.stderr);
    assert_eq!(said.matches(": fitting").count(), 1, "{said}");
    assert!(said.contains("seed 42, laplace: fitting") && said.contains("0 of 10 cells left"));
    let without = |report: &Value| without_times(report.clone());
    assert_eq!(without(&json(&text(&output.stdout))), without(&report));

    // A model that is gone, and one that another took the place of, are made again.
    let model = |label: &str| home.path(&format!("checkpoints/tickets-seed42-{label}/model"));
    std::fs::remove_dir_all(model("laplace")).unwrap();
    std::fs::copy(
        model("map").join("bayes/manifest.json"),
        model("wide").join("bayes/manifest.json"),
    )
    .unwrap();
    let output = home.run(&loud);
    let said = text(&output.stderr).replace("\n    ", " ");
    assert_eq!(said.matches(": fitting").count(), 2, "{said}");
    assert!(said.contains("seed 42, laplace: its model is not there any more"), "{said}");
    assert!(said.contains("seed 42, wide: its model is another one"), "{said}");
    assert_eq!(without(&json(&text(&output.stdout))), without(&report));
    home.done(&["info", "--model", model("laplace").to_str().unwrap()]);

    let table =
        std::fs::read_to_string(home.path("checkpoints/tickets-compare/compare.md")).unwrap();
    for shown in ["## Test rows", "## Difference to `map`", "## Shift: `drop=0.4`", "## Cost"] {
        assert!(table.contains(shown), "{table}");
    }
    assert!(table.contains("`wide`: `laplace` with `posterior.link=mf2`"), "{table}");
    let screen: Vec<&str> = arguments.iter().copied().filter(|flag| *flag != "--json").collect();
    let screen = home.done(&screen);
    assert!(screen.contains("drop=0.4: accuracy") && screen.contains("compare.md"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
}

/// Classes that are exchanged, and rows of which all but those of the test part trained the models.
#[test]
fn other_data_have_the_label_map_of_the_data_and_what_was_seen_of_them_is_said() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let other = home.write("later.csv", tickets(120));
    let named = tickets(120).replace("billing", "money").replace("technical", "things");
    let named = home.write("named.csv", named);
    let compare = |name: &str, map: &str, other: &std::path::Path| {
        let name = format!("name={name}");
        let mut all = vec!["compare", data.to_str().unwrap(), "--methods", "map", "--seeds", "1"];
        all.extend(TINY);
        all.extend(["--set", "train.num_train_epochs=12", "--json", "--set", &name]);
        all.extend(["--label-map", map, "--other-data", other.to_str().unwrap()]);
        let output = home.run(&all);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (json(&text(&output.stdout)), text(&output.stderr).replace("\n    ", " "))
    };
    let seen = format!("of the 120 rows of `{}` (`--other-data`) were also used", other.display());
    let swap = "billing=technical,technical=billing";
    let (report, said) = compare("swapped", swap, &other);
    let figures = &report["table"]["rows"][0]["figures"];
    let figure = |key: &str| figures[key]["values"][0].clone();
    let key = |name: &str| format!("data.{}.{name}", other.display());
    let accuracy = |value: &Value| value.as_f64().unwrap();
    assert!(accuracy(&figure("accuracy")) > 0.7, "{figures}");
    assert!(accuracy(&figure(&key("accuracy"))) > 0.7, "{figures}");
    assert!(accuracy(&figure(&key("without_seen.accuracy"))) > 0.5, "{figures}");
    assert!(said.contains(&seen) && !said.contains("was trained with"), "{said}");
    // A cell that is done says it again.
    let (again, said) = compare("swapped", swap, &other);
    assert_eq!(again["table"], report["table"]);
    assert!(said.contains(&seen), "{said}");
    // Data that have the new names are read as they are, without a word on the map.
    let (_, said) = compare("named", "billing=money,technical=things", &named);
    assert!(!said.contains("data.label_map"), "{said}");
    // Texts that no model has seen.
    let fresh = home.write("fresh.csv", tickets(120).replace("please", "kindly"));
    let (_, said) = compare("named", "billing=money,technical=things", &fresh);
    assert!(!said.contains("were also used"), "{said}");
}

/// Each seed has its own ensemble, and its student learns from that one.
#[test]
fn a_student_learns_from_the_ensemble_of_its_seed() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let mut all = vec!["compare", data.to_str().unwrap(), "--quiet", "--json", "--seeds", "2"];
    all.extend(TINY);
    all.extend(["--methods", "two=ensemble:num_members=2,distil"]);
    let report = json(&home.done(&all));
    let rows = report["table"]["rows"].as_array().unwrap();
    let seconds = |row: usize| rows[row]["figures"]["train_seconds"]["values"][0].as_f64().unwrap();
    // The teacher had to be trained, too.
    assert!(seconds(2) > seconds(1) && seconds(1) > seconds(0), "{report}");
    for seed in [42, 43] {
        let model = |label: &str| home.path(&format!("checkpoints/tickets-seed{seed}-{label}"));
        let manifest = |label: &str| {
            let path = model(label).join("model/bayes/manifest.json");
            json(&std::fs::read_to_string(path).unwrap())
        };
        let teacher = &manifest("distil")["teacher"];
        assert_eq!(teacher["name"], format!("tickets-seed{seed}-two"));
        assert_eq!(teacher["passes"], 2);
    }
}

/// Of several ensembles that is the nearest one before it, and every table says which.
#[test]
fn a_student_says_which_of_two_ensembles_taught_it() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let mut all = vec!["compare", data.to_str().unwrap(), "--quiet", "--seeds", "1"];
    all.extend(TINY);
    let methods = "two=ensemble:num_members=2,one=distil,three=ensemble:num_members=3,other=distil";
    all.extend(["--methods", methods]);
    let screen = home.done(&all);
    let folder = home.path("checkpoints/tickets-compare");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (report, page) = (json(&read("compare.json")), read("compare.md"));
    for (place, student, teacher, networks) in [(2, "one", "two", 2), (4, "other", "three", 3)] {
        let row = &report["table"]["rows"][place];
        assert_eq!((&row["label"], &row["teacher"]), (&student.into(), &teacher.into()), "{row}");
        assert!(page.contains(&format!("`{student}` learned from `{teacher}`")), "{page}");
        assert!(screen.contains(&format!("learned from {teacher}")), "{screen}");
        let model = home.path(&format!("checkpoints/tickets-seed42-{student}/model"));
        let manifest = json(&std::fs::read_to_string(model.join("bayes/manifest.json")).unwrap());
        assert_eq!(manifest["teacher"]["passes"], networks);
    }
    assert_eq!(report["table"]["rows"][1].get("teacher"), None);
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_trained() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let compare = |methods: &str, more: &[&str]| {
        let mut all = vec!["compare", data.to_str().unwrap(), "--methods", methods];
        all.extend(TINY);
        all.extend(more);
        let output = home.run(&all);
        assert_eq!(output.status.code(), Some(2), "{methods}");
        assert!(!home.path("checkpoints/tickets-seed42").exists(), "{methods}");
        text(&output.stderr)
    };
    assert!(compare("lapalce", &[]).contains("did you mean `laplace`?"));
    assert!(compare("laplace,laplace", &[]).contains("as `NAME=laplace:KEY=VALUE`"));
    let said = compare("map=laplace", &[]);
    assert!(said.contains("`map` is the name of two methods") && said.contains("`NAME=laplace`"));
    let samples = ["--set", "posterior.num_samples=5"];
    let said = compare("mc_dropout", &samples);
    assert!(said.contains("`--methods mc_dropout:num_samples=VALUE`"), "{said}");
    assert!(!said.contains("laplace"), "{said}");
    let said = compare("swag", &samples);
    assert!(said.contains("a key of `mc_dropout`, which is not compared"), "{said}");
    assert!(compare("laplace:train.seed=7", &[]).contains("for all, use `--set`"));
    assert!(compare("laplace:swag_rank=7", &[]).contains("applies to the method `swag`"));
    let alone = "put `ensemble` before it, or give the folder of such a model";
    assert!(compare("distil", &[]).contains(alone));
    assert!(compare("distil,ensemble", &[]).contains(alone));
    let said = compare("laplace,laplace", &["--set", "posterior.method=vbll"]);
    assert!(said.contains("`posterior.method` = `vbll` has no effect in a comparison"), "{said}");
    let said = compare("swag", &["--set", "train.ema_decay=0.9"]);
    assert!(said.contains("`--methods swag`") && said.contains("ema_decay"), "{said}");
}

/// Stopped in the training of the second seed, gone on with, and the same figures.
#[cfg(unix)]
#[test]
fn a_comparison_that_was_stopped_goes_on() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let more = ["--set", "train.save_steps=5", "--set", "train.logging_steps=1"];
    let whole = Home::new();
    let data = whole.write("tickets.csv", tickets(240));
    let expected = json(&whole.done(&arguments(data.to_str().unwrap(), &more)));

    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let arguments = arguments(data.to_str().unwrap(), &more);
    let mut child =
        home.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    // The run has logged some steps: it is in the loop, which listens to the signal.
    let logged = || {
        let runs = std::fs::read_dir(home.path("runs")).into_iter().flatten().flatten();
        let second = runs.map(|run| run.path()).find(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().ends_with("tickets-seed43"))
        });
        let log = second.and_then(|run| std::fs::read_to_string(run.join("metrics.jsonl")).ok());
        log.map_or(0, |log| log.lines().count())
    };
    while logged() < 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before");
        assert!(began.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_micros(200));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("Interrupted: 5 of 10 cells are done"), "{said}");

    let report = json(&home.done(&arguments));
    let table = |report: &Value| without_times(report.clone())["table"].clone();
    assert_eq!(table(&report), table(&expected));
}
