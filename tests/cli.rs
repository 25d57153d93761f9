//! The commands as a user runs them: stdout, stderr and exit code.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A working folder of its own, with a cache of its own.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bayes"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("BAYES_CACHE_DIR", self.path("cache"))
            .env("HF_HOME", self.path("hub"))
            .env_remove("BAYES_DATA_DIR")
            .env_remove("HF_HUB_CACHE")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The message of a command that could not run.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
        assert!(message.contains("error: "), "{message}");
        assert!(!message.contains("panicked"), "{message}");
        message
    }

    fn train_tiny(&self, more: &[&str]) -> String {
        let data = self.write("tickets.csv", tickets(240));
        let mut arguments = vec!["train", data.to_str().unwrap()];
        arguments.extend(TINY);
        arguments.extend(more);
        self.done(&arguments)
    }

    fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        walk(self.0.path(), self.0.path(), &mut files);
        files.sort();
        files
    }
}

const TINY: [&str; 14] = [
    "--set",
    "model.hidden_size=16",
    "--set",
    "model.num_hidden_layers=1",
    "--set",
    "model.num_attention_heads=2",
    "--set",
    "train.num_train_epochs=2",
    "--set",
    "train.learning_rate=5e-3",
    "--set",
    "data.max_length=32",
    "--set",
    "train.per_device_train_batch_size=8",
];

fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Requests to two departments, told apart by one word.
fn tickets(rows: usize) -> String {
    let mut csv = "subject,department\n".to_owned();
    for row in 0..rows {
        let (thing, department) = [("invoice", "billing"), ("router", "technical")][row % 2];
        csv.push_str(&format!("\"please look at my {thing}, case {row}\",{department}\n"));
    }
    csv
}

#[test]
fn a_csv_file_becomes_a_model_that_predicts() {
    let home = Home::new();
    let report = home.train_tiny(&[]);
    assert!(report.contains("ECE (15 bins)") && report.contains("noise floor"), "{report}");
    assert!(report.contains("Next   bayes predict --model checkpoints/tickets/model"), "{report}");
    assert!(report.lines().all(|line| line.chars().count() <= 80), "{report}");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "bayes/manifest.json"] {
        assert!(home.path("checkpoints/tickets/model").join(file).is_file(), "{file}");
        assert!(home.path("checkpoints/tickets/best_model").join(file).is_file(), "{file}");
    }
    assert!(!home.files().iter().any(|file| file.contains(".tmp-") || file.contains(".old-")));

    let line = home.done(&["predict", "--json", "the invoice is wrong"]);
    let object: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["label"], "billing");
    assert_eq!(object["sentiment"], "billing");
    let sum: f64 =
        object["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9);
    for unknown in ["prediction_set", "ood", "decision"] {
        assert!(object.as_object().unwrap().contains_key(unknown) && object[unknown].is_null());
    }
    let metrics: Value = serde_json::from_str(&home.done(&["eval", "--json"])).unwrap();
    for key in [
        "accuracy",
        "f1",
        "mcc",
        "nll",
        "brier",
        "ece",
        "expected_calibration_error",
        "mean_confidence",
        "mean_uncertainty",
    ] {
        assert!(metrics[key]["value"].is_number() && metrics[key]["low"].is_number(), "{key}");
    }
    assert!(metrics["ece"]["floor"].is_number());
    assert!(metrics["accuracy"]["value"].as_f64().unwrap() > 0.95);
    let limited: Value =
        serde_json::from_str(&home.done(&["eval", "--json", "--limit", "10"])).unwrap();
    assert_eq!(limited["rows"], 10);
}

#[test]
fn the_weights_are_the_same_bytes_on_any_number_of_threads() {
    let weights = |threads: &[&str]| {
        let home = Home::new();
        home.train_tiny(threads);
        let log = home.files().into_iter().find(|file| file.ends_with("metrics.jsonl")).unwrap();
        (
            std::fs::read(home.path("checkpoints/tickets/model/model.safetensors")).unwrap(),
            std::fs::read(home.path(&log)).unwrap(),
        )
    };
    let one = weights(&["--threads", "1"]);
    assert!(one == weights(&["--threads", "2"]), "two threads give other bytes");
    assert!(one == weights(&["--threads", "1"]), "a repeated run gives other bytes");
    assert!(one.0 != weights(&["--set", "train.seed=7"]).0, "another seed gives the same bytes");
}

#[test]
fn averaging_accumulation_smoothing_and_early_stopping_run() {
    let home = Home::new();
    let report = home.train_tiny(&[
        "--set",
        "train.ema_decay=0.9",
        "--set",
        "train.gradient_accumulation_steps=2",
        "--set",
        "train.label_smoothing_factor=0.1",
        "--set",
        "train.class_weights=balanced",
        "--set",
        "train.early_stopping_patience=1",
        "--set",
        "train.early_stopping_threshold=5.0",
        "--set",
        "train.num_train_epochs=6",
        "--json",
    ]);
    let report: Value = serde_json::from_str(&report).unwrap();
    // 168 rows, 11 steps an epoch, an evaluation every 6: the second one is not 5 nats better.
    assert_eq!(report["steps"], 12);
    let log = home.files().into_iter().find(|file| file.ends_with("metrics.jsonl")).unwrap();
    let log = std::fs::read_to_string(home.path(&log)).unwrap();
    assert!(log.contains("\"averaged\":true") && log.contains("stopped early"), "{log}");
}

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
fn a_misspelt_key_an_unknown_name_and_a_planned_key_are_refused() {
    let home = Home::new();
    let message = home.refused(&["train", "--set", "train.lerning_rate=1e-4"]);
    assert!(message.contains("did you mean `train.learning_rate`?"), "{message}");
    let message = home.refused(&["train", "imbd"]);
    assert!(message.contains("`imbd`") && message.contains("did you mean `imdb`?"), "{message}");
    let message = home.refused(&["train", "--set", "train.histogram_steps=2"]);
    assert!(message.contains("not supported by this version"), "{message}");
    let message = home.refused(&["train", "imdb"]);
    assert!(
        message.contains("BAYES_DATA_DIR") && message.contains("stanfordnlp/imdb"),
        "{message}"
    );
    let message = home.refused(&[
        "train",
        "--set",
        "model.init=some-owner/some-encoder",
        "--set",
        "model.hidden_size=8",
    ]);
    assert!(message.contains("`model.init`"), "{message}");
    let message = home.refused(&["eval"]);
    assert!(message.contains("bayes train"), "{message}");
    #[cfg(not(feature = "cuda"))]
    assert!(home.refused(&["train", "--device", "cuda"]).contains("--features cuda"));
    assert!(home.refused(&["info", "--device", "gpu"]).contains("`gpu`"));
    assert!(home.files().is_empty(), "{:?}", home.files());
}

#[test]
fn bad_rows_are_reported_with_file_and_line() {
    let home = Home::new();
    for (content, place, what) in [
        ("text,label\ngood one,a\nbad one\n", "line 3", "2"),
        ("text,label\ngood one,a\n   ,b\n", "line 3", "`text` is empty"),
        ("text,label\ngood one,a\nother,\n", "line 3", "`label` is empty"),
        ("text,label\none,a\ntwo,a\n", "rows.csv", "at least two classes"),
    ] {
        let path = home.write("rows.csv", content);
        let message = home.refused(&["train", path.to_str().unwrap()]);
        assert!(message.contains(place) && message.contains(what), "{message}");
    }
    assert_eq!(home.files(), ["rows.csv"]);
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
fn an_encoder_whose_vocabulary_is_too_small_for_its_tokenizer_is_refused() {
    let home = Home::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        home.write(
            &format!("encoder/{name}"),
            std::fs::read(source.join("bert").join(name)).unwrap(),
        );
    }
    let data = home.write("tickets.csv", tickets(240));
    let data = data.to_str().unwrap();
    let train = ["train", data, "--config", "e.toml"];
    home.write("e.toml", "name = \"e\"\n[data]\nmax_length = 32\n[model]\ninit = \"encoder\"\n[train]\nmax_steps = 2\n");
    home.done(&train);
    let config = std::fs::read_to_string(home.path("encoder/config.json")).unwrap();
    home.write("encoder/config.json", config.replace("\"vocab_size\": 99", "\"vocab_size\": 50"));
    let message = home.refused(&train);
    assert!(message.contains("99 tokens") && message.contains("embeddings for 50"), "{message}");
}

/// The file size limit of the shell makes every write beyond it fail, as a full disk does.
#[cfg(target_os = "linux")]
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
        Command::new("sh").args(["-c", &script]).current_dir(home.0.path()).output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("out.csv"), "{message}");
    let mut after = home.files();
    after.retain(|file| file != "in.csv");
    assert_eq!(after, before);
}

#[test]
fn a_dry_run_writes_nothing_and_the_config_can_be_printed() {
    let home = Home::new();
    let plan = home.done(&["train", "--dry-run"]);
    assert!(plan.contains("steps") && plan.contains("reviews"), "{plan}");
    let config = home.done(&["train", "--print-config", "--set", "train.seed=7"]);
    assert!(config.contains("seed = 7") && config.contains("[calibration]"), "{config}");
    assert!(home.done(&["completions", "bash"]).contains("complete"));
    assert!(home.files().is_empty());
    let list: Value = serde_json::from_str(&home.done(&["dataset", "list", "--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 6);
    let info: Value =
        serde_json::from_str(&home.done(&["info", "--json", "--threads", "2"])).unwrap();
    assert_eq!(info["threads"], 2);
    let info: Value =
        serde_json::from_str(&home.done(&["dataset", "info", "reviews", "--json"])).unwrap();
    assert_eq!(info["generated"], true);
}

/// SIGTERM in the middle of the training: the best weights so far are whole and can be used.
#[cfg(unix)]
#[test]
fn a_stopped_run_leaves_weights_that_can_be_used() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let mut arguments = vec!["train", data.to_str().unwrap()];
    arguments.extend(TINY);
    arguments.extend(["--set", "train.max_steps=100000"]);
    let child =
        home.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let best = home.path("checkpoints/tickets/best_model/bayes/manifest.json");
    for _ in 0..600 {
        if best.is_file() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("checkpoints/tickets/best_model"));
    assert!(!home.path("checkpoints/tickets/model").exists());
    home.done(&["predict", "--model", "checkpoints/tickets/best_model", "an invoice"]);
}
