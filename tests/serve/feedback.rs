//! Labels that come after the predictions.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::server::{Answer, Server, copy_folder, eventually, model};

fn label(server: &Server, id: &str, label: &str) -> Answer {
    server.post("/feedback", &json!({ "prediction_id": id, "label": label }))
}

/// The id of a new prediction.
fn id(server: &Server, text: &str) -> String {
    server.predict(text).json()["prediction_id"].as_str().unwrap().to_owned()
}

/// The kind of the only fault, and what is said.
fn fault(answer: &Answer) -> (String, String) {
    assert_eq!((answer.status, &*answer.problem()), (422, "validation"), "{}", answer.text());
    let faults = answer.json()["errors"].as_array().unwrap().clone();
    assert_eq!(faults.len(), 1, "{faults:?}");
    let text = |name: &str| faults[0][name].as_str().unwrap().to_owned();
    (text("type"), text("msg"))
}

/// `bayes` in a folder; its stdout.
fn bayes(home: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayes"));
    command.args(arguments).current_dir(home).env("BAYES_CACHE_DIR", home.join("cache"));
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

/// As of a disk that does not take it: whoever looks after the server learns of it, and of its end.
#[test]
fn a_server_that_refuses_labels_says_so() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start_in(model(), home.path(), &["--rate-limit", "off"], &[]);
    let state = || {
        let health = server.get("/health").json();
        let checks = server.get("/readyz?verbose");
        assert_eq!(checks.status, 200, "{}", checks.text());
        (health["status"].as_str().unwrap().to_owned(), checks.text())
    };
    let first = id(&server, "my invoice");
    assert_eq!(label(&server, &first, "billing").status, 202);
    let (status, checks) = state();
    assert!(status == "healthy" && checks.contains("feedback: ok"), "{status}: {checks}");
    let path = home.path().join("runs/feedback/labels.log");
    let before = std::fs::read(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let second = id(&server, "my router");
    for _ in 0..2 {
        let refused = label(&server, &second, "technical");
        assert_eq!((refused.status, &*refused.problem()), (503, "feedback-unwritable"));
        let (status, checks) = state();
        assert!(status == "degraded", "{status}: {checks}");
        assert!(checks.contains("feedback: the feedback folder cannot be written"), "{checks}");
    }
    std::fs::write(&path, before).unwrap();
    assert_eq!(label(&server, &second, "technical").status, 202);
    assert_eq!(state().0, "healthy");
}

#[test]
fn a_label_counts_once_and_what_is_no_label_is_refused() {
    let server = Server::start(&[]);
    let first = id(&server, "please look at my invoice");
    assert_eq!(server.metric("bayes_feedback_total{correct=\"true\"}"), 0.0);
    let taken = label(&server, &first, "billing");
    assert_eq!(taken.status, 202, "{}", taken.text());
    let expected =
        json!({ "prediction_id": first, "label": "billing", "correct": true, "counted": true });
    assert_eq!(taken.json(), expected);
    let again = label(&server, &first, "billing");
    assert_eq!((again.status, &again.json()["counted"]), (202, &json!(false)));
    let other = label(&server, &first, "technical");
    assert_eq!((other.status, &*other.problem()), (409, "feedback-conflict"));
    assert_eq!(server.metric("bayes_feedback_total{correct=\"true\"}"), 1.0);
    // A cached answer is another prediction.
    let second = id(&server, "please look at my invoice");
    assert_ne!(first, second);
    assert_eq!(label(&server, &second, "technical").json()["correct"], json!(false));
    assert_eq!(server.metric("bayes_feedback_total{correct=\"false\"}"), 1.0);
    // Those of a batch and of a job have names too.
    let batch = server.post("/batch_predict", &json!({ "texts": ["a", "b"], "top_k": 1 })).json();
    let of_batch = batch["predictions"][1]["prediction_id"].as_str().unwrap().to_owned();
    assert_eq!(label(&server, &of_batch, "billing").status, 202);

    let third = id(&server, "my router");
    let (kind, told) = fault(&label(&server, &third, "sales"));
    assert_eq!(kind, "label_unknown");
    assert!(told.contains("`billing`") && told.contains("`technical`"), "{told}");
    let tampered = third.replacen(&third[20..21], if &third[20..21] == "A" { "B" } else { "A" }, 1);
    let stranger = id(&Server::start(&[]), "my router");
    let long = format!("p_{}", "A".repeat(100_000));
    for wrong in [&*tampered, &stranger, "p_", "p_01997b3e6c0f7c3e9f7d2a4b5c6d7e8f", "x", &long] {
        let refused = label(&server, wrong, "billing");
        assert_eq!((refused.status, &*refused.problem()), (404, "not-found"), "{wrong}");
        assert!(refused.text().contains("--feedback-key-file"), "{}", refused.text());
    }
    for body in [
        json!({}),
        json!({ "prediction_id": third }),
        json!({ "prediction_id": third, "label": 1 }),
        json!({ "prediction_id": third, "label": null }),
        json!({ "prediction_id": third, "label": "billing", "lable": "x" }),
        json!({ "prediction_id": third, "label": "billing", "text": "another router" }),
        json!({ "prediction_id": third, "label": "billing", "text": "my router", "text_pair": "x" }),
        json!({ "prediction_id": third, "label": "billing", "text_pair": "x" }),
        json!([third, "billing"]),
    ] {
        let refused = server.post("/feedback", &body);
        assert_eq!((refused.status, &*refused.problem()), (422, "validation"), "{body}");
    }
    assert_eq!(server.get("/feedback").status, 405);
    assert_eq!(label(&server, &third, "technical").status, 202, "it was not used up");
}

#[test]
fn replicas_with_one_key_take_each_others_labels_and_old_ids_expire() {
    let home = tempfile::tempdir().unwrap();
    let keys = home.path().join("keys");
    std::fs::write(&keys, "a key that both of them have\n").unwrap();
    let flags = ["--feedback-key-file", keys.to_str().unwrap()];
    let (one, other) = (Server::start(&flags), Server::start(&flags));
    assert_eq!(label(&other, &id(&one, "my router"), "technical").status, 202);
    // A new first key: what the old one signed is still known.
    let old = id(&one, "my router");
    std::fs::write(&keys, "another key for what comes now\na key that both of them have\n")
        .unwrap();
    one.signal("HUP");
    eventually("the keys are read again", || {
        one.metric("bayes_reloads_total{what=\"feedback key\",outcome=\"taken\"}") == 1.0
    });
    assert_eq!(label(&one, &old, "technical").status, 202);
    let new = id(&one, "my router");
    assert_eq!(label(&one, &new, "technical").status, 202);
    assert_eq!(label(&other, &new, "technical").problem(), "not-found");

    let brief = Server::start(&["--feedback-ttl", "1"]);
    let old = id(&brief, "my router");
    std::thread::sleep(Duration::from_millis(1100));
    let (kind, told) = fault(&label(&brief, &old, "technical"));
    assert_eq!((&*kind, told.contains("for 1s after")), ("prediction_id_expired", true), "{told}");
}

#[test]
fn labels_survive_a_kill_and_a_damaged_file_is_not_served_from() {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--rate-limit", "off", "--feedback-texts"];
    let environment = [("BAYES_FEEDBACK_KEY", "0123456789abcdef")];
    let mut ids: Vec<String> = Vec::new();
    for round in 0..3 {
        let server = Server::start_in(model(), home.path(), &flags, &environment);
        for known in &ids {
            assert_eq!(label(&server, known, "technical").json()["counted"], json!(false));
        }
        let one = id(&server, &format!("my router {round}"));
        assert_eq!(label(&server, &one, "technical").json()["counted"], json!(true));
        ids.push(one);
        // Its drop kills it.
    }
    bayes(home.path(), &["feedback", "export", "--output", "rows.csv"]);
    let rows = std::fs::read_to_string(home.path().join("rows.csv")).unwrap();
    assert_eq!(rows.lines().count(), 4, "{rows}");
    assert!(
        rows.starts_with("text,label,predicted,confidence,labelled_at\nmy router 0,technical,")
    );

    // A server that is stopped as it writes a label leaves the beginning of a line.
    let log = home.path().join("runs/feedback/labels.log");
    let mut bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, [&bytes[..], b"0123 {\"id"].concat()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayes"));
    command.args(["feedback", "export", "--output", "rows.csv"]).current_dir(home.path());
    let told = String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned();
    assert!(told.contains("the last 9 bytes of `runs/feedback/labels.log`"), "{told}");
    assert_eq!(std::fs::read_to_string(home.path().join("rows.csv")).unwrap(), rows);

    bytes[40] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let mut command = super::server::command(model(), home.path(), &["--port", "0"]);
    let refused = command.output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("line 1 of the feedback file `runs/feedback/labels.log`"), "{told}");
}

/// The whole loop: labels come in, the figures are those of `bayes eval`, the rows are exported and calibrate the model
/// anew, and the server takes it into service.
#[test]
fn the_rolling_figures_are_those_of_eval_and_the_rows_calibrate_the_model_anew() {
    let home = tempfile::tempdir().unwrap();
    let served = home.path().join("served");
    copy_folder(model(), &served);
    let flags = ["--rate-limit", "off", "--feedback-texts"];
    let server = Server::start_in(&served, home.path(), &flags, &[]);
    // Of every five texts one has the other label.
    let row = |row: usize, phrase: &str| {
        let kind = row % 2;
        let truth = if (row / 2).is_multiple_of(5) { 1 - kind } else { kind };
        let thing = ["invoice", "router"][kind];
        (format!("please {phrase} my {thing}, call {row}"), ["billing", "technical"][truth])
    };
    let absent = |server: &Server, name: &str| !server.get("/metrics").text().contains(name);
    let feed = |server: &Server, rows: std::ops::Range<usize>, phrase: &str, file: &str| {
        let mut csv = "subject,department\n".to_owned();
        for place in rows {
            let (text, truth) = row(place, phrase);
            writeln!(csv, "\"{text}\",{truth}").unwrap();
            assert_eq!(label(server, &id(server, &text), truth).status, 202);
            if place == 48 {
                assert!(absent(server, "bayes_calibration_ece_ratio"), "of 49 labels");
            }
        }
        std::fs::write(home.path().join(file), csv).unwrap();
    };
    let agree = |server: &Server, file: &str| {
        let model = served.to_str().unwrap();
        let json = bayes(home.path(), &["eval", "--json", "--model", model, "--dataset", file]);
        let found: Value = serde_json::from_str(&json).unwrap();
        let number = |value: &Value| value.as_f64().unwrap();
        for (series, of) in [
            ("bayes_accuracy_ratio", &found["accuracy"]["value"]),
            ("bayes_calibration_ece_ratio", &found["ece"]["value"]),
            ("bayes_brier_score", &found["brier"]["value"]),
            ("bayes_conformal_coverage_ratio{target=\"0.9\"}", &found["sets"]["coverage"]["value"]),
        ] {
            let ours = server.metric(series);
            assert!((ours - number(of)).abs() < 1e-6, "{series}: {ours} and {of}");
        }
        let floor = server.metric("bayes_calibration_ece_floor_ratio");
        let sd = number(&found["ece"]["floor_sd"]);
        assert!((floor - number(&found["ece"]["floor"])).abs() < sd, "{floor}");
        number(&found["sets"]["coverage"]["value"])
    };
    feed(&server, 0..300, "look at", "first.csv");
    let before = agree(&server, "first.csv");
    let band = ["low", "high"].map(|end| {
        server.metric(&format!("bayes_conformal_coverage_{end}_ratio{{target=\"0.9\"}}"))
    });
    assert!(before < band[0] && band[0] < 0.9 && band[1] > 0.9, "{before} of {band:?}");
    assert_eq!(server.metric("bayes_feedback_window_labels"), 300.0);

    for file in ["rows.parquet", "rows.csv", "rows.jsonl"] {
        let told = bayes(home.path(), &["feedback", "export", "--output", file]);
        assert_eq!(told, format!("{file}: 300 rows\n"));
    }
    let model = served.to_str().unwrap();
    let report: Vec<Value> = ["rows.parquet", "rows.csv", "rows.jsonl"]
        .map(|file| {
            let arguments = ["recalibrate", "--json", "--model", model, "--dataset", file];
            let output = ["--output", "again"];
            serde_json::from_str(&bayes(home.path(), &[&arguments[..], &output].concat())).unwrap()
        })
        .into();
    assert_eq!(
        (&report[0]["after"], &report[1]["after"]),
        (&report[1]["after"], &report[2]["after"])
    );
    assert_eq!(report[0]["rows"], 300);
    // It takes the place of the model in service.
    std::fs::rename(&served, home.path().join("old")).unwrap();
    std::fs::rename(home.path().join("again"), &served).unwrap();
    server.signal("HUP");
    eventually("the new calibration is in service", || {
        server.metric("bayes_reloads_total{what=\"model\",outcome=\"taken\"}") == 1.0
    });
    assert!(absent(&server, "bayes_brier_score"), "no label is of this calibration");
    feed(&server, 300..600, "repair", "second.csv");
    let after = agree(&server, "second.csv");
    assert!(before < 0.85 && after > 0.85, "{before} and {after}");
    // After a restart they are there again.
    drop(server);
    let server = Server::start_in(&served, home.path(), &flags, &[]);
    assert_eq!(agree(&server, "second.csv"), after);
}

/// Texts like those of training, and then others: `/drift`, the metrics and the log say so, once, until a model is
/// loaded.
#[test]
fn a_change_of_the_traffic_is_told_once_and_the_tests_begin_anew_with_a_model() {
    let home = tempfile::tempdir().unwrap();
    let served = home.path().join("served");
    copy_folder(model(), &served);
    let flags = ["--rate-limit", "off", "--drift-run-length", "1000000"];
    let server = Server::start_in(&served, home.path(), &flags, &[]);
    let drift = || server.get("/drift").json();
    let send = |count: usize, text: &dyn Fn(usize) -> String| {
        for from in (0..count).step_by(30) {
            let texts: Vec<String> = (from..from + 30).map(text).collect();
            assert_eq!(server.post("/batch_predict", &json!({ "texts": texts })).status, 200);
        }
    };
    let usual = |row: usize| {
        format!("please look at my {}, case {}", ["invoice", "router"][row % 2], (7 * row) % 240)
    };
    send(150, &usual);
    let before = drift();
    assert_eq!((&before["alarm"], &before["reference_rows"]), (&json!(false), &json!(24)));
    let names: Vec<_> =
        before["features"].as_array().unwrap().iter().map(|one| one["feature"].clone()).collect();
    // The posterior of this model is left out, so that it has no epistemic part.
    assert_eq!(names, ["confidence", "tokens", "label", "ood"]);
    assert_eq!(before["threshold"], json!(5e6), "four tests of predictions, and one of labels");
    assert!(before["features"][0]["psi"].is_null(), "of 150 predictions");
    assert_eq!(server.metric("bayes_drift_alarm{test=\"tokens\"}"), 0.0);
    assert!(!server.get("/metrics").text().contains("bayes_drift_psi"), "absent is not 0");
    send(600, &|row| {
        format!("the goal keeper of the home team was late again in match {row} of the season")
    });
    let after = drift();
    assert_eq!(after["alarm"], json!(true), "{after}");
    let tokens = &after["features"][1];
    assert!(tokens["alarmed_by"].as_u64().unwrap() <= 150 + 300, "{tokens}");
    assert!(tokens["alarmed_at"].is_string() && tokens["psi"].as_f64().unwrap() > 0.25, "{tokens}");
    assert_eq!(server.metric("bayes_drift_alarm{test=\"tokens\"}"), 1.0);
    assert!(server.metric("bayes_drift_psi{feature=\"tokens\"}") > 0.25);
    assert_eq!(server.log().matches("the lengths of texts no longer look").count(), 1);
    let taken = "bayes_reloads_total{what=\"model\",outcome=\"taken\"}";
    server.signal("HUP");
    eventually("the same model is read again", || server.metric(taken) == 1.0);
    assert_eq!(drift()["alarm"], json!(true), "what its tests found holds");

    // A folder of an earlier version has no reference but for novelty and sets, and the server says so.
    let manifest = served.join("bayes/manifest.json");
    let mut old: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    assert!(old["records"].as_object_mut().unwrap().shift_remove("bayes/drift.json").is_some());
    std::fs::write(&manifest, old.to_string()).unwrap();
    std::fs::remove_file(served.join("bayes/drift.json")).unwrap();
    server.signal("HUP");
    eventually("the old folder is in service", || drift()["reference_rows"].is_null());
    // The model is in service a moment before its tests.
    eventually("the tests begin anew", || drift()["alarm"] == json!(false));
    assert_eq!(drift()["features"].as_array().unwrap().len(), 1);
    assert!(server.log().contains("has no reference for drift"), "{}", server.log());
}
