//! `bayes predict` as a user runs it, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod environment;
#[path = "../home/mod.rs"]
mod home;
mod input;
mod library;
mod precision;
mod replaced;
mod select;
mod zero_shot;

use std::io::Write;
use std::process::{Command, Stdio};

use home::{Home, text};
use serde_json::Value;

#[test]
fn predict_reads_lines_csv_jsonl_and_parquet() {
    let home = Home::new();
    home.train_tiny(&[]);
    let mut child = home
        .command(&["predict", "--json", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"my router is broken\n\nthe invoice\n").unwrap();
    let lines = text(&child.wait_with_output().unwrap().stdout);
    let labels: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["label"].clone())
        .collect();
    assert_eq!(labels, ["technical", "billing"]);

    let input = home
        .write("in.csv", "note\nplease look at my router\n\"please look at my invoice, thanks\"\n");
    let input = input.to_str().unwrap();
    let table = home.done(&["predict", "--input", input, "--text-column", "note"]);
    let mut rows = table.lines();
    assert_eq!(
        rows.next().unwrap(),
        "text,label,confidence,uncertainty,epistemic,decision,prediction_set,ood_p,error"
    );
    assert!(rows.next().unwrap().starts_with("please look at my router,technical,"));
    assert!(rows.next().unwrap().starts_with("\"please look at my invoice, thanks\",billing,"));

    for name in ["out.jsonl", "out.parquet", "again.csv"] {
        let output = home.path(name);
        let output = output.to_str().unwrap();
        home.done(&["predict", "--input", input, "--output", output, "--text-column", "note"]);
        let again = home.done(&["predict", "--input", output, "--text-column", "text"]);
        let first = |table: &str| -> Vec<String> {
            let cut = |line: &str| {
                line.rsplit_once(",billing,").map_or(line, |(text, _)| text).to_owned()
            };
            table.lines().skip(1).map(|line| cut(line)[..20].to_owned()).collect()
        };
        assert_eq!(first(&again), first(&table), "{name} carries the texts unchanged");
    }
}

/// The model reads `subject` and calls `department`; the other columns are somebody else's.
#[test]
fn the_columns_of_the_model_are_taken_and_the_others_passed_through() {
    let home = Home::new();
    home.train_tiny(&[]);
    let rows = "ticket,comment,subject,label,confidence\n\
                T-1,a long remark about nothing at all,my router is broken,x,0.5\n\
                T-2,another remark about nothing at all,the invoice,y,0.6\n";
    let input = home.write("in.csv", rows);
    let input = input.to_str().unwrap();
    for more in [&[][..], &["--sort-by", "uncertainty"]] {
        let table = home.done(&[&["predict", "--input", input], more].concat());
        let mut lines = table.lines();
        let header = lines.next().unwrap();
        assert!(header.starts_with("text,label,confidence,"), "{header}");
        assert!(header.ends_with(",error,ticket,comment,input_label,input_confidence"), "{header}");
        for line in lines {
            let router = line.starts_with("my router is broken,technical,");
            let (id, gold) = if router { ("T-1", ",x,0.5") } else { ("T-2", ",y,0.6") };
            assert!(line.contains(id) && line.ends_with(gold), "{line}");
        }
    }
    let objects = home.done(&["predict", "--input", input, "--json"]);
    let first: Value = serde_json::from_str(objects.lines().next().unwrap()).unwrap();
    assert_eq!(first["text"], "my router is broken");
    assert_eq!(first["input"]["ticket"], "T-1");
    let other = ["predict", "--input", input, "--text-column", "comment"];
    assert!(home.done(&other).contains("a long remark about nothing at all,"));
    let wrong = ["predict", "--input", input, "--text-column", "coment"];
    assert!(home.refused(&wrong).contains("did you mean `comment`"));
}

#[test]
fn a_row_that_cannot_be_answered_loses_no_other() {
    let home = Home::new();
    home.train_tiny(&[]);
    let csv = "id,subject\n1,my router\n2,\n3,the invoice\n4,too,many\n5,a \x01 router\n6,\x02\n";
    let input = home.write("in.csv", csv);
    let input = input.to_str().unwrap();
    let output = home.run(&["predict", "--input", input, "--output", "out.csv"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for what in ["in.csv` line 3: the text is empty", "line 5 has 3 fields", "3 of 6 rows"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let table = std::fs::read_to_string(home.path("out.csv")).unwrap();
    assert_eq!(table.lines().count(), 7, "{table}");
    let line = |id: &str| table.lines().find(|line| line.ends_with(&format!(",{id}"))).unwrap();
    assert!(line("1").contains(",technical,") && line("2").contains(",the text is empty,"));
    let sorted = home.done(&["predict", "--input", input, "--sort-by", "confidence"]);
    assert!(sorted.lines().last().unwrap().contains("empty"), "{sorted}");
    let fail = ["predict", "--input", input, "--on-error", "fail", "--output", "out2.csv"];
    let refused = home.refused(&fail);
    assert!(refused.contains("line 3: the text is empty"), "{refused}");
    assert!(!home.files().contains(&"out2.csv".to_owned()));

    let json =
        "{\"subject\":\"my router\"}\n{broken\n{\"subject\":null}\n{\"subject\":\"the invoice\"}\n";
    let input = home.write("in.jsonl", json);
    let objects = home.done(&["predict", "--input", input.to_str().unwrap(), "--json"]);
    let objects: Vec<Value> =
        objects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<bool> = objects.iter().map(|object| object["error"].is_string()).collect();
    assert_eq!(errors, [false, true, true, false]);
    assert_eq!(objects[1]["line"], 2);
    let input = home.write("none.csv", "subject,id\n,1\n,2\n");
    let message =
        home.refused(&["predict", "--input", input.to_str().unwrap(), "--output", "o.csv"]);
    assert!(message.contains("none of 2 rows") && !home.path("o.csv").exists(), "{message}");
    assert!(home.refused(&["predict", " "]).contains("the text is empty"));
}

/// A tokenizer takes a hundred times the memory of its text.
#[test]
fn a_text_of_megabytes_is_answered_and_said() {
    let home = Home::new();
    home.train_tiny(&[]);
    let input =
        home.write("in.csv", format!("subject\n{}\nthe invoice\n", "my router ".repeat(200_000)));
    let output = home.run(&["predict", "--input", input.to_str().unwrap(), "--json"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("262,144 bytes"), "{said}");
    let objects = text(&output.stdout);
    let first: Value = serde_json::from_str(objects.lines().next().unwrap()).unwrap();
    assert_eq!(
        (first["truncated"].as_bool(), first["label"].as_str()),
        (Some(true), Some("technical"))
    );
}

#[test]
fn what_would_move_a_terminal_is_not_printed() {
    let home = Home::new();
    let rows = |row: usize| {
        format!("film {row} \x1b]0;title\x07\x1b[2J,{}\n", ["a\x1b[31m", "b"][row % 2])
    };
    let rows: String = (0..60).map(rows).collect();
    let data = home.write("rows\x1b[1m.csv", format!("text,label\n{rows}"));
    let data = data.to_str().unwrap();
    for arguments in [
        &["dataset", "head", data][..],
        &["dataset", "info", data],
        &["train", data, "--dry-run"],
        &["train", "no\x1b[2Jwhere.csv"],
    ] {
        let output = home.run(arguments);
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(!said.contains('\x1b') && !said.is_empty(), "{said:?}");
    }
}

#[test]
fn texts_are_sorted_by_what_a_person_should_look_at_and_decided_on() {
    let home = Home::new();
    let settings = [
        "posterior.method=map",
        "calibration.temperature=false",
        "calibration.target_risk=0",
        "calibration.min_confidence=0.97",
        "calibration.max_set_size=1",
        "calibration.ood_p=0.05",
        "calibration.conformal_method=lac",
    ];
    home.train_tiny(&settings.map(|setting| ["--set", setting]).concat());
    let texts = "note\nplease look at my router\nsunny hills\nplease look at my invoice\n";
    let input = home.write("in.csv", texts);
    let input = input.to_str().unwrap();
    let predict = |more: &[&str]| {
        let arguments = ["predict", "--input", input, "--text-column", "note", "--json"];
        let lines = home.done(&[&arguments, more].concat());
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let plain = predict(&[]);
    for object in &plain {
        let strange = object["text"] == "sunny hills";
        let set = &object["prediction_set"];
        assert_eq!(set["labels"].as_array().unwrap().len(), usize::from(!strange), "{object}");
        assert_eq!(set["calibration_size"], 24);
        assert_eq!(object["ood"]["is_ood"], strange);
        assert_eq!(object["decision"], if strange { "abstain" } else { "accept" });
        let reasons: &[&str] = if strange { &["confidence", "ood", "set_size"] } else { &[] };
        assert_eq!(object["abstain_reasons"], serde_json::json!(reasons));
    }
    for (by, path) in [("confidence", "/confidence"), ("ood-p", "/ood/p_value")] {
        let sorted = predict(&["--sort-by", by]);
        let keys = sorted.iter().map(|object| object.pointer(path).unwrap().as_f64().unwrap());
        assert!(keys.clone().is_sorted(), "{by}");
        let scores = sorted.iter().map(|object| object["ood"]["score"].as_f64().unwrap());
        let pairs: Vec<(f64, f64)> = keys.zip(scores).map(|(p, score)| (p, -score)).collect();
        assert!(by != "ood-p" || pairs.is_sorted(), "ties are told apart by the score");
        assert_eq!(sorted.len(), plain.len());
        assert_eq!(sorted[0]["text"], "sunny hills", "{by}");
    }
    let message = home.refused(&["predict", "--sort-by", "epistemic", "a text"]);
    assert!(message.contains("no epistemic uncertainty because it has no posterior"), "{message}");
}

/// A posterior that is left out gives no second kind of uncertainty, not one of rounding noise.
#[test]
fn without_a_spread_nothing_is_sorted_by_it_or_written_of_it() {
    let home = Home::new();
    home.train_tiny(&[]);
    let message = home.refused(&["predict", "--sort-by", "epistemic", "a text"]);
    assert!(message.contains("because using the variance of its posterior"), "{message}");
    assert!(message.contains("use `--sort-by uncertainty`, or `--sort-by ood-p`"), "{message}");
    let input = home.write("in.csv", "note\nplease look at my router\n");
    let input = input.to_str().unwrap();
    let row = home.done(&["predict", "--input", input, "--text-column", "note"]);
    let cells: Vec<&str> = row.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(cells[4], "", "{row}");
    home.done(&["predict", "--sort-by", "uncertainty", "a text"]);

    let evaluation = home.done(&["eval", "--ood", "other-topics", "--report", "out"]);
    for part in ["epistemic", "aleatoric", "mutual_information"] {
        assert!(!evaluation.contains(part), "{part}: {evaluation}");
        let page = std::fs::read_to_string(home.path("out/report.html")).unwrap();
        assert!(!page.contains(part), "{part}");
    }
    // Where the spread is used it is all there.
    let used = Home::new();
    used.train_tiny(&["--set", "calibration.temperature=false"]);
    used.done(&["predict", "--sort-by", "epistemic", "a text"]);
    assert!(used.done(&["eval"]).contains("aleatoric  epistemic"));
}

#[test]
fn a_damaged_or_changed_model_is_refused() {
    let home = Home::new();
    home.train_tiny(&[]);
    let model = home.path("checkpoints/tickets/model");
    let weights = std::fs::read(model.join("model.safetensors")).unwrap();
    let predict = |home: &Home| home.refused(&["predict", "a text"]);

    let mut changed = weights.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(model.join("model.safetensors"), &changed).unwrap();
    assert!(predict(&home).contains("SHA-256"));
    std::fs::remove_file(model.join("bayes/manifest.json")).unwrap();
    assert!(
        home.refused(&["predict", "--model", "checkpoints/tickets/model", "a text"])
            .contains("manifest.json")
    );
    std::fs::remove_dir_all(model.join("bayes")).unwrap();
    let folder = ["predict", "--model", "checkpoints/tickets/model", "a text"];
    std::fs::write(model.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    let message = home.refused(&folder);
    assert!(message.contains("is damaged or incomplete"), "{message}");
    std::fs::write(model.join("model.safetensors"), b"garbage").unwrap();
    assert!(home.refused(&folder).contains("is damaged or incomplete"));

    std::fs::write(model.join("model.safetensors"), &weights).unwrap();
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    for (key, value, expected) in [
        ("hidden_size", "4611686018427387904", "`hidden_size` is 4611686018427387904"),
        ("num_hidden_layers", "1000000000", "`num_hidden_layers`"),
        ("num_attention_heads", "3", "not a multiple"),
        ("vocab_size", "7", "has shape"),
        ("layer_norm_eps", "1.0", "keeps a layer norm from dividing by zero"),
        ("initializer_range", "0.0", "as their standard deviation"),
        ("model_type", "\"gpt2\"", "`gpt2`"),
    ] {
        let mut json: Value = serde_json::from_str(&config).unwrap();
        json[key] = serde_json::from_str(value).unwrap();
        std::fs::write(model.join("config.json"), json.to_string()).unwrap();
        let message = home.refused(&folder);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_write_that_fails_leaves_nothing_half_written() {
    let home = Home::new();
    home.train_tiny(&[]);
    let before = home.files();
    let input = home.write("in.csv", format!("text\n{}", "\"a router, again\"\n".repeat(3000)));
    let script = format!(
        "trap '' XFSZ; ulimit -f 8; exec {} predict --input {} --output out.csv",
        env!("CARGO_BIN_EXE_bayes"),
        input.display()
    );
    let output =
        Command::new("sh").args(["-c", &script]).current_dir(home.path("")).output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("out.csv"), "{message}");
    let mut after = home.files();
    after.retain(|file| file != "in.csv");
    assert_eq!(after, before);
}

#[test]
fn the_name_of_a_file_as_a_text_is_pointed_out() {
    let home = Home::new();
    home.train_tiny(&[]);
    home.write("rows.csv", "subject\nmy router\n");
    let said = |texts: &[&str]| {
        let start = ["predict", "--model", "checkpoints/tickets/model"];
        let output = home.run(&[&start[..], texts].concat());
        assert!(output.status.success());
        text(&output.stderr)
    };
    assert!(said(&["my router", "rows.csv"]).contains("`--input rows.csv`"));
    assert!(!said(&["my router", "other.csv"]).contains("is a file"));
}

#[test]
fn labels_in_another_order_than_those_of_the_weights_are_refused() {
    let home = Home::new();
    home.train_tiny(&[]);
    let path = home.path("checkpoints/tickets/model/bayes/manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["labels"].as_array_mut().unwrap().reverse();
    manifest.as_object_mut().unwrap().shift_remove("sha256");
    std::fs::write(&path, manifest.to_string()).unwrap();
    let message = home.refused(&["predict", "a text"]);
    assert!(message.contains("`labels` differ from those of `id2label`"), "{message}");
}
