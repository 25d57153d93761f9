//! `bayes predict` as a user runs it, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod home;

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
        "text,label,confidence,uncertainty,epistemic,decision,prediction_set,ood_p"
    );
    assert!(rows.next().unwrap().starts_with("please look at my router,technical,"));
    assert!(rows.next().unwrap().starts_with("\"please look at my invoice, thanks\",billing,"));

    let mut previous = input.to_owned();
    for name in ["out.jsonl", "out.parquet", "again.csv"] {
        let output = home.path(name);
        let output = output.to_str().unwrap();
        let column = if name == "out.jsonl" { "note" } else { "text" };
        home.done(&["predict", "--input", &previous, "--output", output, "--text-column", column]);
        previous = output.to_owned();
    }
    let again = std::fs::read_to_string(home.path("again.csv")).unwrap();
    assert_eq!(again, table, "JSONL and Parquet carry the texts unchanged");
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
        assert!(keys.is_sorted(), "{by}");
        assert_eq!(sorted.len(), plain.len());
        assert_eq!(sorted[0]["text"], "sunny hills", "{by}");
    }
    let message = home.refused(&["predict", "--sort-by", "epistemic", "a text"]);
    assert!(message.contains("no epistemic uncertainty, since it has no posterior"), "{message}");
}

/// A posterior that is left out gives no second kind of uncertainty, not one of rounding noise.
#[test]
fn without_a_spread_nothing_is_sorted_by_it_or_written_of_it() {
    let home = Home::new();
    home.train_tiny(&[]);
    let message = home.refused(&["predict", "--sort-by", "epistemic", "a text"]);
    assert!(message.contains("since its posterior is left out"), "{message}");
    assert!(message.contains("sort by uncertainty instead, or by ood-p"), "{message}");
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
    assert!(predict(&home).contains("sha256"));
    std::fs::remove_file(model.join("bayes/manifest.json")).unwrap();
    let folder = ["predict", "--model", "checkpoints/tickets/model", "a text"];
    std::fs::write(model.join("model.safetensors"), &weights[..weights.len() / 2]).unwrap();
    let message = home.refused(&folder);
    assert!(message.contains("not a whole safetensors file"), "{message}");
    std::fs::write(model.join("model.safetensors"), b"garbage").unwrap();
    assert!(home.refused(&folder).contains("not a whole safetensors file"));

    std::fs::write(model.join("model.safetensors"), &weights).unwrap();
    let config = std::fs::read_to_string(model.join("config.json")).unwrap();
    for (key, value, expected) in [
        ("hidden_size", "4611686018427387904", "`hidden_size` is 4611686018427387904"),
        ("num_hidden_layers", "1000000000", "`num_hidden_layers`"),
        ("num_attention_heads", "3", "not a multiple"),
        ("vocab_size", "7", "has shape"),
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
