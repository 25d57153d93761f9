//! Several models in one process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::server::home::{Home, tickets};
use super::server::{Server, copy_folder, eventually, model};

/// Three models: two heads on one encoder, of departments and of urgency, and one with an encoder of its own.
fn models() -> &'static [PathBuf; 3] {
    static MODELS: OnceLock<(Home, [PathBuf; 3])> = OnceLock::new();
    let (_, models) = MODELS.get_or_init(|| {
        let home = Home::new();
        home.train_tiny(&[]);
        let trunk = home.path("checkpoints/tickets/model");
        let head = |name: &str, rows: String| {
            let data = home.write(&format!("{name}.csv"), rows);
            let trunk = trunk.to_str().unwrap();
            let mut arguments = vec!["train", data.to_str().unwrap(), "--init", trunk];
            let seed = format!("train.seed={}", name.len());
            for setting in ["train.recipe=head", "data.max_length=32", &seed] {
                arguments.extend(["--set", setting]);
            }
            home.done(&arguments);
            home.path(&format!("checkpoints/{name}/model"))
        };
        let urgent = tickets(240).replace("billing", "calm").replace("technical", "urgent");
        let both = [head("departments", tickets(240)), head("urgency", urgent), trunk.clone()];
        (home, both)
    });
    models
}

fn named(name: &str, folder: &Path) -> String {
    format!("{name}={}", folder.display())
}

/// A server of the three: `departments` is the first.
fn start(flags: &[&str]) -> Server {
    let [departments, urgency, own] = models();
    let first = PathBuf::from(named("departments", departments));
    let (second, third) = (named("urgency", urgency), named("own", own));
    let mut all = vec!["--model", &second, "--model", &third];
    all.extend(flags);
    Server::of(&first, &all)
}

/// What does not depend on when it was asked.
fn plain(mut prediction: Value) -> Value {
    for name in ["prediction_id", "processing_time_ms", "cached", "model"] {
        prediction.as_object_mut().unwrap().remove(name);
    }
    prediction
}

const TEXT: &str = "my router restarts and I was charged twice";

#[test]
fn each_model_answers_as_it_does_alone() {
    let server = start(&["--cache-entries", "0"]);
    for (name, folder) in ["departments", "urgency", "own"].iter().zip(models()) {
        let alone = Server::of(folder, &["--cache-entries", "0"]).predict(TEXT).json();
        let by_body = server.post("/predict", &json!({ "text": TEXT, "model": name })).json();
        assert_eq!(by_body["model"], json!(name));
        assert_eq!(plain(by_body), plain(alone.clone()), "{name}");
        let by_path = server.post(&format!("/models/{name}/predict"), &json!({ "text": TEXT }));
        assert_eq!(plain(by_path.json()), plain(alone), "{name}");
    }
    // Who names none asks the first.
    assert_eq!(server.predict(TEXT).json()["model"], json!("departments"));
    let listed = server.get("/info").json()["models"].clone();
    assert_eq!(listed, json!(["departments", "urgency", "own"]));
    assert_eq!(server.get("/models/urgency/info").json()["labels"], json!(["calm", "urgent"]));
    assert_eq!(server.get("/v1/models").json()["data"].as_array().unwrap().len(), 3);
}

#[test]
fn a_name_that_is_not_served_is_refused_with_those_that_are() {
    let server = start(&[]);
    let refused = server.post("/predict", &json!({ "text": TEXT, "model": "sales" }));
    assert_eq!(refused.status, 422);
    let told = refused.text();
    assert!(told.contains("`departments`, `urgency`, `own`"), "{told}");
    assert_eq!(refused.json()["errors"][0]["type"], json!("unknown_model"));
    let other = server.post("/models/own/predict", &json!({ "text": TEXT, "model": "urgency" }));
    assert_eq!(other.status, 422, "{}", other.text());
    let same = server.post("/models/own/predict", &json!({ "text": TEXT, "model": "own" }));
    assert_eq!(same.status, 200, "{}", same.text());
    assert_eq!(server.post("/models/sales/predict", &json!({ "text": TEXT })).status, 404);
    assert_eq!(server.get("/models/sales/info").status, 404);
    assert_eq!(server.get("/models/own/health").status, 404);
    for wrong in [json!(3), json!(["own"]), json!("")] {
        let refused = server.post("/predict", &json!({ "text": TEXT, "model": wrong }));
        assert_eq!(refused.status, 422, "{wrong}: {}", refused.text());
    }
}

#[test]
fn models_with_one_encoder_read_a_text_once() {
    let server = start(&["--cache-entries", "100"]);
    let asked =
        |result: &str| server.metric(&format!("bayes_encoder_texts_total{{result=\"{result}\"}}"));
    assert_eq!((asked("read"), asked("shared")), (0.0, 0.0));
    server.post("/models/departments/predict", &json!({ "text": TEXT }));
    assert_eq!((asked("read"), asked("shared")), (1.0, 0.0));
    server.post("/models/urgency/predict", &json!({ "text": TEXT }));
    assert_eq!((asked("read"), asked("shared")), (1.0, 1.0));
    // Another encoder reads it itself.
    server.post("/models/own/predict", &json!({ "text": TEXT }));
    assert_eq!((asked("read"), asked("shared")), (2.0, 1.0));
    // Each model has a cache of its own.
    let hits = |name: &str| {
        let labels = format!("{{model=\"{name}\",tier=\"memory\",result=\"hit\"}}");
        server.metric(&format!("bayes_cache_requests_total{labels}"))
    };
    server.post("/models/urgency/predict", &json!({ "text": TEXT }));
    assert_eq!((hits("departments"), hits("urgency"), hits("own")), (0.0, 1.0, 0.0));
    let count = |name: &str| {
        server.metric(&format!("prediction_duration_seconds_count{{model=\"{name}\"}}"))
    };
    assert_eq!((count("departments"), count("urgency"), count("own")), (1.0, 2.0, 1.0));
}

#[test]
fn jobs_and_streams_and_batches_reach_the_model_that_they_name() {
    let server = start(&[]);
    let body = json!({ "texts": [TEXT, "thank you"], "model": "urgency" });
    let batch = server.post("/batch_predict", &body).json();
    assert_eq!(batch["predictions"][1]["model"], json!("urgency"));
    for (path, body) in [
        ("/async_predict", json!({ "text": TEXT, "model": "urgency" })),
        ("/models/urgency/async_predict", json!({ "text": TEXT })),
    ] {
        let accepted = server.post(path, &body);
        assert_eq!(accepted.status, 202, "{}", accepted.text());
        let id = accepted.json()["task_id"].as_str().unwrap().to_owned();
        let status = || server.get(&format!("/task_status/{id}")).json();
        eventually("the job is done", || status()["status"] == json!("completed"));
        assert_eq!(status()["result"]["model"], json!("urgency"));
    }
    let lines = format!(
        "{}\n{}\n{}\n",
        json!({ "text": TEXT }),
        json!({ "text": TEXT, "model": "own" }),
        json!({ "text": TEXT, "model": "sales" })
    );
    let kind = [("Content-Type", "application/x-ndjson")];
    let answer = server.ask("POST", "/predict_stream", &kind, lines.as_bytes()).text();
    let answers: Vec<Value> =
        answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0]["model"], json!("departments"));
    assert_eq!(answers[1]["model"], json!("own"));
    assert_eq!(answers[2]["error"]["status"], json!(422), "{answer}");
}

#[test]
fn protocols_find_the_model_by_its_name() {
    let server = start(&[]);
    let body = json!({ "inputs": [
        { "name": "text", "shape": [1], "datatype": "BYTES", "data": [TEXT] },
    ] });
    let told = server.post("/v2/models/urgency/infer", &body).json();
    assert_eq!(told["model_name"], json!("urgency"));
    assert_eq!(server.post("/v2/models/sales/infer", &body).status, 404);
    let classified = server.post("/classify", &json!({ "input": TEXT, "model": "urgency" })).json();
    assert_eq!(classified["model"], json!("urgency"));
    let label = classified["data"][0]["label"].as_str().unwrap().to_owned();
    assert!(["calm", "urgent"].contains(&&*label), "{label}");
    let question = json!({
        "model": "urgency", "state": TEXT,
        "questions": { "how": { "type": "choice", "criteria": { "calm": "", "urgent": "" } } },
    });
    let decided = server.post("/v1/systemone", &question);
    assert_eq!(decided.status, 200, "{}", decided.text());
    assert_eq!(decided.json()["model"], json!("urgency"));
    let scores = server.post("/models/urgency/invocations", &json!({ "inputs": TEXT })).json();
    assert!(scores.to_string().contains("calm"), "{scores}");
}

#[test]
fn a_label_finds_the_model_that_predicted() {
    let server = start(&[]);
    let ask = |name: &str| {
        let told = server.post("/predict", &json!({ "text": TEXT, "model": name })).json();
        told["prediction_id"].as_str().unwrap().to_owned()
    };
    // Two models have the same labels.
    for (name, label) in [("own", "billing"), ("departments", "billing"), ("urgency", "calm")] {
        let body = json!({ "prediction_id": ask(name), "label": label, "text": TEXT });
        let taken = server.post("/feedback", &body);
        assert_eq!(taken.status, 202, "{}", taken.text());
        let counted = server.metric(&format!("bayes_feedback_total{{model=\"{name}\"}}"));
        assert_eq!(counted, 1.0, "{name}");
    }
    let wrong =
        server.post("/feedback", &json!({ "prediction_id": ask("urgency"), "label": "billing" }));
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("`calm`"), "{}", wrong.text());
}

#[test]
fn a_job_is_done_by_its_model_whatever_is_served_first_after_a_restart() {
    let [departments, urgency, _] = models();
    let home = tempfile::tempdir().unwrap();
    let first = PathBuf::from(named("departments", departments));
    let mut alone = Server::start_in(&first, home.path(), &[], &[]);
    let accepted = alone.post("/async_predict", &json!({ "text": TEXT })).json();
    let id = accepted["task_id"].as_str().unwrap().to_owned();
    // Whether it is done by now or not, it is the same model that does it.
    alone.signal("KILL");
    alone.wait();
    let (other, second) =
        (PathBuf::from(named("urgency", urgency)), named("departments", departments));
    let server = Server::start_in(&other, home.path(), &["--model", &second], &[]);
    let status = || server.get(&format!("/task_status/{id}")).json();
    eventually("the job is done", || status()["status"] == json!("completed"));
    assert_eq!(status()["result"]["model"], json!("departments"), "{}", status());
    drop(server);
    // Nor does a server of another model alone answer it.
    let mut alone = Server::start_in(&first, home.path(), &[], &[]);
    let texts: Vec<&str> = vec![TEXT; 1000];
    let accepted = alone.post("/async_predict", &json!({ "texts": texts })).json();
    let id = accepted["task_id"].as_str().unwrap().to_owned();
    alone.signal("KILL");
    alone.wait();
    let server = Server::start_in(&other, home.path(), &[], &[]);
    let status = || server.get(&format!("/task_status/{id}")).json();
    eventually("the job has ended", || {
        ["completed", "failed"].contains(&status()["status"].as_str().unwrap())
    });
    let text = status().to_string();
    assert!(!text.contains("calm") && !text.contains("urgent"), "{text}");
}

#[test]
fn sighup_takes_each_model_that_is_whole() {
    let [departments, urgency, _] = models();
    let home = tempfile::tempdir().unwrap();
    let copy = |name: &str, from: &Path| {
        let folder = home.path().join(name);
        copy_folder(from, &folder);
        named(name, &folder)
    };
    let (first, second) = (copy("departments", departments), copy("urgency", urgency));
    let server = Server::of(&PathBuf::from(first), &["--model", &second]);
    server.post("/models/urgency/predict", &json!({ "text": "thank you" }));
    let tested = || server.get("/models/urgency/drift").json()["features"][0]["tested"].clone();
    assert_eq!(tested(), json!(1));
    std::fs::remove_file(home.path().join("departments/config.json")).unwrap();
    server.signal("HUP");
    let reloads = |model: &str, outcome: &str| {
        let labels = format!("{{model=\"{model}\",what=\"model\",outcome=\"{outcome}\"}}");
        server.metric(&format!("bayes_reloads_total{labels}"))
    };
    eventually("both were read", || {
        reloads("departments", "refused") == 1.0 && reloads("urgency", "taken") == 1.0
    });
    let log = server.log();
    assert!(log.contains("departments"), "{log}");
    assert_eq!(tested(), json!(1), "the tests of the same model go on");
    // The new one is on the encoder of the other again.
    server.post("/models/departments/predict", &json!({ "text": TEXT }));
    server.post("/models/urgency/predict", &json!({ "text": TEXT }));
    assert_eq!(server.metric("bayes_encoder_texts_total{result=\"shared\"}"), 1.0);
}

#[test]
fn labels_are_exported_by_the_model_that_predicted() {
    let [departments, urgency, _] = models();
    let home = tempfile::tempdir().unwrap();
    let first = PathBuf::from(named("departments", departments));
    let second = named("urgency", urgency);
    let server = Server::start_in(&first, home.path(), &["--model", &second], &[]);
    for (name, label) in [("departments", "billing"), ("urgency", "calm")] {
        let told = server.post("/predict", &json!({ "text": TEXT, "model": name })).json();
        let body = json!({ "prediction_id": told["prediction_id"], "label": label, "text": TEXT });
        assert_eq!(server.post("/feedback", &body).status, 202);
    }
    let export = |flags: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bayes"));
        command.args(["feedback", "export", "--output", "rows.csv"]).args(flags);
        let told = command.current_dir(&home).output().unwrap();
        (told.status.success(), String::from_utf8_lossy(&told.stderr).into_owned())
    };
    let (done, told) = export(&[]);
    assert!(!done && told.contains("`departments`, `urgency`") && told.contains("--of"), "{told}");
    let (done, told) = export(&["--of", "sales"]);
    assert!(!done && told.contains("`departments`, `urgency`"), "{told}");
    let (done, told) = export(&["--of", "urgency"]);
    assert!(done, "{told}");
    let rows = std::fs::read_to_string(home.path().join("rows.csv")).unwrap();
    assert_eq!(rows.lines().count(), 2, "{rows}");
    assert!(rows.contains("calm") && !rows.contains("billing"), "{rows}");
    // An export takes the place of an export alone.
    assert!(export(&["--of", "departments"]).0);
    std::fs::write(home.path().join("rows.csv"), "text,label\nmine,billing\n").unwrap();
    let (done, told) = export(&["--of", "urgency"]);
    assert!(!done && told.contains("rows.csv` exists and is not an export"), "{told}");
}

#[test]
fn what_a_model_abstains_from_is_decided_by_the_model_of_its_name() {
    let other = start(&[]);
    for path in ["predict", "v1/systemone"] {
        let to = format!("http://{}/{path}", other.address);
        let flags = ["--abstain-min-confidence", "1", "--forward-abstained", &to];
        let server = start(&flags);
        // `own` and `departments` have the same labels.
        for name in ["departments", "urgency", "own"] {
            let body = json!({ "text": TEXT, "model": name });
            let told = server.post("/predict", &body).json();
            let own = other.post("/predict", &body).json();
            let forwarded = &told["forwarded"];
            assert_eq!(forwarded["decided_by"], json!("remote"), "{told}");
            assert_eq!(forwarded["probabilities"], own["probabilities"], "{path} {name}");
        }
    }
}

#[test]
fn what_cannot_hold_for_several_models_ends_the_start() {
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (named("a", model()), named("b", model()));
    for (flags, expected) in [
        (
            &["--forward-abstained", "http://127.0.0.1:9/v1/systemone", "--forward-model", "a"][..],
            "--forward-model names one model",
        ),
        (&["--labels", "x,y"], "--labels"),
        (&["--model", &one], "names `a` twice"),
        (&["--model", "a b=c"], "ASCII letters"),
        (
            &["--forward-abstained", "http://127.0.0.1:9/predict", "--forward-timeout", "60"],
            "--request-timeout",
        ),
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bayes"));
        command.args(["serve", "--check", "--model", &one, "--model", &two]).args(flags);
        let told = command.current_dir(&home).output().unwrap();
        let said = String::from_utf8_lossy(&told.stderr).into_owned();
        assert!(!told.status.success() && said.contains(expected), "{flags:?}: {said}");
    }
}

#[test]
fn one_name_for_two_models_ends_the_start() {
    let home = tempfile::tempdir().unwrap();
    let folder = model().to_str().unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bayes"));
    command.args(["serve", "--check", "--model", folder, "--model", folder]).current_dir(&home);
    let told = command.output().unwrap();
    assert!(!told.status.success());
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(told.contains("two models are called `tickets`"), "{told}");
    assert!(told.contains("--model one=FOLDER"), "{told}");
}

#[test]
fn one_folder_under_two_names_and_in_a_variable_is_served() {
    let home = tempfile::tempdir().unwrap();
    let both = format!("{},{}", named("a", model()), named("b", model()));
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bayes"));
    command.args(["serve", "--check"]).env("BAYES_MODEL", both).current_dir(&home);
    let told = command.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    assert_eq!(String::from_utf8_lossy(&told.stdout).lines().count(), 2);
}
