//! What a user does: fetch, train and predict with names of the Hub.

use std::path::Path;

use serde_json::Value;

use crate::home::{text, tickets};
use crate::hub_double::{Content, Double, TOKEN};
use crate::site::{Site, parquet, refused};

/// Puts a model folder into a repository.
fn push_folder(double: &Double, id: &str, folder: &Path) {
    let mut files = Vec::new();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "bayes/manifest.json"] {
        files.push((name, Content::from(std::fs::read(folder.join(name)).unwrap())));
    }
    for name in ["bayes/posterior.safetensors", "bayes/calibration.safetensors"] {
        files.push((name, std::fs::read(folder.join(name)).unwrap().into()));
    }
    files.push(("pytorch_model.bin", "a pickle".into()));
    files.push(("onnx/model.onnx", "for others".into()));
    double.model(id, &files);
}

#[test]
fn a_data_set_is_fetched_once_and_is_there_without_a_network() {
    let site = Site::new();
    let files = [("tickets/train.csv", tickets(40).as_str().into()), ("README.md", "# t".into())];
    let commit = site.double.dataset("team/tickets", &files);
    let arguments = ["dataset", "fetch", "team/tickets", "--json"];
    let first: Value = serde_json::from_str(&site.done(&arguments)).unwrap();
    assert_eq!((&first["commit"], &first["files"]), (&commit.as_str().into(), &2.into()));
    assert_eq!(first["fetched_bytes"], first["bytes"]);
    let folder = first["folder"].as_str().unwrap();
    assert!(folder.ends_with(&format!("snapshots/{commit}/tickets")), "{folder}");

    site.double.forget_requests();
    let again: Value = serde_json::from_str(&site.done(&arguments)).unwrap();
    assert_eq!(again["fetched_bytes"], 0);
    assert!(site.double.requests("/resolve/").is_empty());

    // `Home` is offline.
    let info = site.home.done(&["dataset", "info", "team/tickets"]);
    assert!(info.contains("train") && info.contains("billing"), "{info}");
    assert!(site.home.done(&["dataset", "info", folder]).contains("billing"));
}

#[test]
fn a_known_name_is_fetched_from_the_folder_that_the_table_names() {
    let site = Site::new();
    let made = tempfile::tempdir().unwrap();
    let rows = |rows| parquet(made.path(), rows);
    site.double.dataset(
        "stanfordnlp/imdb",
        &[
            ("plain_text/train-00000-of-00002.parquet", rows(40)),
            ("plain_text/train-00001-of-00002.parquet", rows(42)),
            ("plain_text/test-00000-of-00001.parquet", rows(20)),
            ("plain_text/unsupervised-00000-of-00001.parquet", rows(60)),
            ("other/train.parquet", rows(10)),
        ],
    );
    let info: Value =
        serde_json::from_str(&site.done(&["dataset", "info", "imdb", "--json"])).unwrap();
    assert_eq!(info["splits"][1]["rows"], 82);
    assert_eq!(info["labels"], serde_json::json!(["negative", "positive"]));
    let fetched = site.double.requests("GET /datasets/stanfordnlp/imdb/resolve/").len();
    assert_eq!(fetched, 3, "neither the unlabelled reviews nor another folder");

    // A part that went missing is fetched again, although the branch is known.
    let lost = site.cache().into_iter().find(|file| file.contains("train-00001-of")).unwrap();
    std::fs::remove_file(site.home.path("hub/hub").join(lost)).unwrap();
    let message = site.home.refused(&["dataset", "info", "imdb"]);
    assert!(
        message.contains("HF_HUB_OFFLINE") && message.contains("stanfordnlp/imdb"),
        "{message}"
    );
    let info: Value =
        serde_json::from_str(&site.done(&["dataset", "info", "imdb", "--json"])).unwrap();
    assert_eq!(info["splits"][1]["rows"], 82);
}

#[test]
fn what_the_hub_made_is_taken_where_a_data_set_has_no_parquet() {
    let site = Site::new();
    let made = tempfile::tempdir().unwrap();
    let id = "team/scripted";
    site.double.dataset(id, &[("train.csv", tickets(20).as_str().into()), ("load.py", "x".into())]);
    let message = site.done(&["dataset", "fetch", id]);
    assert!(message.contains("main"), "there is nothing made yet: {message}");
    let files = [
        ("default/train/0000.parquet", parquet(made.path(), 30)),
        ("default/train/0001.parquet", parquet(made.path(), 32)),
        ("default/test/0000.parquet", parquet(made.path(), 10)),
    ];
    let commit = site.double.put(true, "team/other", "refs/convert/parquet", &files);
    site.double.put(true, "team/other", "main", &[("data.zip", "x".into())]);
    let info: Value =
        serde_json::from_str(&site.done(&["dataset", "info", "team/other", "--json"])).unwrap();
    assert_eq!(info["splits"][1]["rows"], 62);
    let reference = site.home.path("hub/hub/datasets--team--other/refs/refs/convert/parquet");
    assert_eq!(std::fs::read_to_string(reference).unwrap(), commit);
    assert!(site.home.done(&["dataset", "info", "team/other"]).contains("62"));
}

#[test]
fn a_repository_without_tables_or_with_several_sets_of_them_is_refused() {
    let site = Site::new();
    site.double.dataset("team/none", &[("notes.txt", "x".into())]);
    let message = site.refused(&["dataset", "fetch", "team/none"]);
    assert!(message.contains("no `train` or `test` file"), "{message}");
    let csv = || Content::from(tickets(20).as_str());
    site.double.dataset("team/two", &[("a/train.csv", csv()), ("b/train.csv", csv())]);
    let message = site.refused(&["dataset", "fetch", "team/two"]);
    assert!(message.contains("`a`, `b`") && message.contains("--folder"), "{message}");
    assert!(site.cache().is_empty(), "{:?}", site.cache());
    site.done(&["dataset", "fetch", "team/two", "--folder", "b"]);
    for name in ["reviews", "a/b/c", "./team/two"] {
        let message = site.refused(&["dataset", "fetch", name]);
        assert!(message.contains("neither a built-in Hub data set"), "{message}");
    }
}

#[test]
fn a_revision_is_fetched_beside_main() {
    let site = Site::new();
    let csv = |rows| [("train.csv", Content::from(tickets(rows).as_str()))];
    let old = site.double.dataset("team/tickets", &csv(20));
    site.double.dataset("team/tickets", &csv(30));
    site.double.put(true, "team/tickets", "a branch/b", &csv(40));
    site.done(&["dataset", "fetch", "team/tickets"]);
    for (revision, rows) in [(old.as_str(), "20"), ("a branch/b", "40")] {
        let fetch = ["dataset", "fetch", "team/tickets", "--revision", revision, "--json"];
        let fetched: Value = serde_json::from_str(&site.done(&fetch)).unwrap();
        let info = site.home.done(&["dataset", "info", fetched["folder"].as_str().unwrap()]);
        assert!(info.contains(rows), "{info}");
    }
    assert!(site.home.done(&["dataset", "info", "team/tickets"]).contains("30"));
    let message = site.refused(&["dataset", "fetch", "team/tickets", "--revision", "v9"]);
    assert!(message.contains("`team/tickets` at `v9` is not on the Hub"), "{message}");
}

#[test]
fn the_imdb_experiment_fetches_its_data_and_its_encoder() {
    let site = Site::new();
    site.home.train_tiny(&[]);
    let model = site.home.path("checkpoints/tickets/model");
    push_folder(&site.double, "sentence-transformers/all-MiniLM-L6-v2", &model);
    push_folder(&site.double, "team/model", &model);
    let made = tempfile::tempdir().unwrap();
    site.double.dataset(
        "stanfordnlp/imdb",
        &[
            ("plain_text/train-00000-of-00001.parquet", parquet(made.path(), 240)),
            ("plain_text/test-00000-of-00001.parquet", parquet(made.path(), 60)),
        ],
    );
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/imdb.toml");
    let config = config.to_str().unwrap();
    let short = ["--set", "data.max_length=32", "--set", "train.max_steps=4"];
    let mut arguments = vec!["train", "--config", config];
    arguments.extend(short);
    let message = refused(&site.home.run(&arguments));
    assert!(message.contains("HF_HUB_OFFLINE") && message.contains("BAYES_DATA_DIR"), "{message}");
    let report = site.done(&arguments);
    assert!(report.contains("checkpoints/imdb-minilm/model"), "{report}");
    // Weights that are pickles are not even fetched.
    let cache = site.cache();
    assert!(
        !cache.iter().any(|file| file.ends_with(".bin") || file.ends_with(".onnx")),
        "{cache:?}"
    );
    assert!(cache.iter().any(|file| file.ends_with("/bayes/manifest.json")), "{cache:?}");

    let line = site.done(&["predict", "--model", "team/model", "--json", "the invoice is wrong"]);
    let answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["label"], "billing");
    let offline = ["predict", "--model", "team/model", "--json", "the invoice is wrong"];
    assert_eq!(site.home.done(&offline), line, "from the cache");
    // transformers fetches what it reads: the posterior that is only on the Hub is not missed.
    let posterior = site.home.path("hub/hub/models--team--model/snapshots");
    let posterior = std::fs::read_dir(posterior).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(posterior.join("bayes")).unwrap();
    assert_ne!(site.home.done(&offline), line, "offline nobody knows of it");
    assert_eq!(site.done(&offline), line, "during the download");

    // That a model has none is asked once.
    let folder = site.home.path("checkpoints/imdb-minilm/model");
    let plain = ["config.json", "model.safetensors", "tokenizer.json"]
        .map(|name| (name, Content::from(std::fs::read(folder.join(name)).unwrap())));
    site.double.model("team/plain", &plain);
    let predict = ["predict", "--model", "team/plain", "--json", "the invoice is wrong"];
    let answers = [site.done(&predict), site.done(&predict)];
    site.double.forget_requests();
    assert_eq!([site.done(&predict), site.done(&predict)], answers);
    assert!(site.double.requests("/").is_empty());

    let message = site.refused(&["dataset", "info", "team/none"]);
    assert!(message.contains("file or folder `team/none` not found"), "{message}");
    let message = site.home.refused(&["predict", "--model", "team/none", "text"]);
    assert!(message.contains("`team/none`") && message.contains("HF_HUB_OFFLINE"), "{message}");
}

/// Puts a form of the tiny classifier into a repository, with a tokenizer of the same size and more files.
fn push_form(double: &Double, id: &str, forms: &[&str], config: bool) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut paths = Vec::new();
    for form in forms {
        let entries = std::fs::read_dir(fixtures.join("forms").join(form)).unwrap();
        paths.extend(entries.map(|entry| entry.unwrap().path()));
    }
    if config {
        paths.push(fixtures.join("forms/config.json"));
        paths.push(fixtures.join("encoders/bert/tokenizer.json"));
    }
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let files: Vec<(String, Vec<u8>)> =
        paths.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect();
    let mut files: Vec<(&str, Content)> =
        files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone().into())).collect();
    for other in ["onnx/model.onnx", "tf_model.h5", "model.fp16.safetensors", "training_args.bin"] {
        files.push((other, "for others".into()));
    }
    double.model(id, &files);
}

#[test]
fn of_the_forms_of_weights_the_first_is_fetched_with_all_its_files() {
    let site = Site::new();
    let predict = |id: &str| {
        let output = site.run(&["predict", "--model", id, "--json", "a film"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let answer: Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        (answer["logits"].clone(), text(&output.stderr))
    };
    let fetched = |id: &str| {
        let folder = format!("models--{}/snapshots/", id.replace('/', "--"));
        let names = site.cache().into_iter().filter(|file| file.contains(&folder));
        let name = |file: String| file.rsplit('/').next().unwrap().to_owned();
        names
            .map(name)
            .filter(|name| name.ends_with(".bin") || name.contains("safetensors"))
            .collect::<Vec<_>>()
    };
    push_form(&site.double, "team/all", &["zip", "sharded", "plain"], true);
    let (plain, told) = predict("team/all");
    assert_eq!(fetched("team/all"), ["model.safetensors"]);
    assert!(!told.contains("pickle"), "{told}");
    push_form(&site.double, "team/sharded", &["zip", "sharded"], true);
    assert_eq!(predict("team/sharded").0, plain);
    let names = fetched("team/sharded");
    assert!(names.len() == 3 && !names.iter().any(|name| name.ends_with(".bin")), "{names:?}");
    for (id, form, count) in [("team/zip", "zip", 1), ("team/parts", "sharded_bin", 3)] {
        push_form(&site.double, id, &[form], true);
        let (logits, told) = predict(id);
        assert_eq!(logits, plain);
        assert!(told.contains("pickle"), "{told}");
        let found = site.cache().into_iter().filter(|file| file.contains(&id.replace('/', "--")));
        let weights =
            found.filter(|file| file.contains("/snapshots/") && file.contains("pytorch_model"));
        assert_eq!(weights.count(), count);
        assert_eq!(
            site.home.run(&["predict", "--model", id, "a film"]).status.code(),
            Some(0),
            "offline"
        );
    }
    // A part that went missing is fetched again.
    let part = site
        .cache()
        .into_iter()
        .find(|file| file.contains("team--sharded/snap") && file.contains("00002-of"));
    std::fs::remove_file(site.home.path("hub/hub").join(part.unwrap())).unwrap();
    assert_eq!(predict("team/sharded").0, plain);
}

#[test]
fn an_adapter_brings_its_base() {
    let site = Site::new();
    push_form(&site.double, "team/base", &["plain"], true);
    push_form(&site.double, "team/adapter", &["adapter"], false);
    let message = site.refused(&["predict", "--model", "team/adapter", "a film"]);
    assert!(message.contains("base_model_name_or_path"), "{message}");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms/adapter");
    let read = |name: &str| std::fs::read(fixture.join(name)).unwrap();
    let mut config: Value = serde_json::from_slice(&read("adapter_config.json")).unwrap();
    config["base_model_name_or_path"] = "team/base".into();
    let files = [
        ("adapter_config.json", Content::from(config.to_string().into_bytes())),
        ("adapter_model.safetensors", read("adapter_model.safetensors").into()),
    ];
    site.double.model("team/mended", &files);
    let predict = ["predict", "--model", "team/mended", "--json", "a film"];
    let answer: Value = serde_json::from_str(&site.done(&predict)).unwrap();
    let base: Value =
        serde_json::from_str(&site.done(&["predict", "--model", "team/base", "--json", "a film"]))
            .unwrap();
    assert_ne!(answer["logits"], base["logits"]);
    assert_eq!(site.home.run(&predict).status.code(), Some(0), "offline");
}

#[test]
fn a_repository_without_weights_is_refused_before_anything_is_fetched() {
    let site = Site::new();
    let files = [("config.json", "{}"), ("tokenizer.json", "{}"), ("tf_model.h5", "x")];
    let files = files.map(|(name, text)| (name, Content::from(text)));
    site.double.model("team/other", &files);
    let message = site.refused(&["predict", "--model", "team/other", "text"]);
    assert!(
        message.contains("`model.safetensors`") && message.contains("pytorch_model.bin"),
        "{message}"
    );
    assert!(site.cache().is_empty() && site.double.requests("/resolve/").is_empty());
}

#[test]
fn the_token_is_found_where_python_keeps_it_and_is_never_shown() {
    let site = Site::new();
    site.double.dataset("team/secret", &[("train.csv", tickets(20).as_str().into())]);
    site.double.change(true, "team/secret", |repository| repository.private = true);
    let message = site.refused(&["dataset", "fetch", "team/secret"]);
    assert!(message.contains("hf auth login") && message.contains("HF_TOKEN"), "{message}");
    let fetch = ["dataset", "fetch", "team/secret", "-vv"];
    let named = site.home.write("elsewhere", format!("{TOKEN}\n"));
    let outputs = [
        site.command(&fetch).env("HF_TOKEN", TOKEN).output().unwrap(),
        site.command(&fetch).env("HF_TOKEN_PATH", &named).output().unwrap(),
        {
            site.home.write("hub/token", TOKEN);
            site.command(&fetch).output().unwrap()
        },
    ];
    for output in outputs {
        let all = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() && all.contains("GET"), "{all}");
        assert!(!all.contains(TOKEN), "{all}");
    }
    let output = site.command(&fetch).env("HF_TOKEN", "hf_not good").output().unwrap();
    let message = refused(&output);
    assert!(message.contains("`HF_TOKEN`") && !message.contains("not good"), "{message}");
}

#[test]
fn an_endpoint_without_tls_is_for_this_machine_only() {
    let site = Site::new();
    let fetch = |endpoint: &str| {
        let mut command = site.command(&["dataset", "fetch", "imdb"]);
        command.env("HF_ENDPOINT", endpoint).output().unwrap()
    };
    for endpoint in ["http://hub.invalid", "http://127.0.0.1.hub.invalid:80/"] {
        let message = refused(&fetch(endpoint));
        assert!(message.contains("BAYES_ALLOW_PLAIN_HTTP_ENDPOINT"), "{message}");
    }
    let message = refused(&fetch("https://name:password@hub.invalid"));
    assert!(message.contains("HF_ENDPOINT") && !message.contains("password"), "{message}");
    let message = refused(&fetch("https://hub.invalid"));
    assert!(message.contains("cannot reach the Hub"), "{message}");
}
