//! The commands as a user runs them: stdout, stderr and exit code.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod home;

use std::path::Path;
use std::process::{Command, Stdio};

use home::{Home, TINY, text, tickets};
use serde_json::Value;

#[test]
fn a_csv_file_becomes_a_model_that_predicts() {
    let home = Home::new();
    let summary = home.train_tiny(&["--report", "out/report"]);
    for part in [
        "2 classes, trained on 168 rows, tested on 24",
        "accuracy",
        "(ECE)",
        "contain the correct label for 90 %",
        // Both calibration parts, 24 rows: they prove no risk of 20 %.
        "none: the 24 held-out rows cannot prove",
        "Next    bayes predict --model checkpoints/tickets/model \"Your own text here\"\n",
    ] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    // One screen, and the name of this machine's folder is not on it.
    assert!(summary.lines().all(|line| line.chars().count() <= 80), "{summary}");
    assert!(summary.lines().count() <= 24, "{summary}");
    assert!(!summary.contains(home.path("").to_str().unwrap()), "{summary}");
    let run = home.files().into_iter().find(|file| file.ends_with("report.txt")).unwrap();
    let run = Path::new(&run).parent().unwrap();
    assert_eq!(
        std::fs::read_to_string(home.path("").join(run).join("report.txt")).unwrap(),
        summary
    );
    for (name, part) in [
        ("report.json", "\"by_class\""),
        ("report.md", "| ECE, 15 bins |"),
        ("report.html", "<h2>Classes</h2>"),
    ] {
        let text = std::fs::read_to_string(home.path("").join(run).join(name)).unwrap();
        assert!(text.contains(part), "{name}");
        let copy = std::fs::read_to_string(home.path("out/report").join(name)).unwrap();
        assert_eq!(copy, text, "{name}");
        // Texts of the data are in none of them, nor paths where people read.
        assert!(!text.contains("please look at my"), "{name}");
        assert!(name == "report.json" || !text.contains(home.path("").to_str().unwrap()), "{name}");
    }
    let ours = ["bayes/manifest.json", "bayes/posterior.safetensors"];
    let files = ["config.json", "model.safetensors", "tokenizer.json"];
    for file in files.into_iter().chain(ours).chain(["bayes/calibration.safetensors"]) {
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
    assert_eq!(object["prediction_set"]["calibration_size"], 24);
    assert_eq!(object["prediction_set"]["coverage"], 0.9);
    assert!(object["ood"]["p_value"].as_f64().unwrap() >= 1.0 / 25.0);
    assert!(object["decision"].is_null() && object["abstain_reasons"].is_null());
    // The weights of the run, before anything was calibrated, say what they are.
    for (folder, warned) in [("best_model", true), ("model", false)] {
        let folder = format!("checkpoints/tickets/{folder}");
        let predicted = home.run(&["predict", "--model", &folder, "the invoice is wrong"]);
        assert!(predicted.status.success());
        let said = text(&predicted.stderr);
        assert_eq!(said.contains("before anything was calibrated"), warned, "{folder}: {said}");
        assert_eq!(said.contains("is `checkpoints/tickets/model`"), warned, "{folder}: {said}");
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
        let model = home.path("checkpoints/tickets/model");
        (
            std::fs::read(model.join("model.safetensors")).unwrap(),
            std::fs::read(model.join("bayes/calibration.safetensors")).unwrap(),
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
fn a_misspelt_key_an_unknown_name_and_a_planned_key_are_refused() {
    let home = Home::new();
    let message = home.refused(&["train", "--set", "train.lerning_rate=1e-4"]);
    assert!(message.contains("did you mean `train.learning_rate`?"), "{message}");
    let message = home.refused(&["train", "imbd"]);
    assert!(message.contains("`imbd`") && message.contains("did you mean `imdb`?"), "{message}");
    let message = home.refused(&["train", "--set", "data.streaming=true"]);
    assert!(message.contains("cannot be streamed"), "{message}");
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
        ("text,label\none,a\ntwo,a\n", "rows.csv", "you need at least two"),
    ] {
        let path = home.write("rows.csv", content);
        let message = home.refused(&["train", path.to_str().unwrap()]);
        assert!(message.contains(place) && message.contains(what), "{message}");
    }
    assert_eq!(home.files(), ["rows.csv"]);
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

#[test]
fn a_dry_run_writes_nothing_and_the_config_can_be_printed() {
    let home = Home::new();
    let plan = home.done(&["train", "--dry-run"]);
    assert!(plan.contains("steps") && plan.contains("reviews"), "{plan}");
    let config = home.done(&["train", "--print-config", "--set", "train.seed=7"]);
    assert!(config.contains("seed = 7") && config.contains("[calibration]"), "{config}");
    assert!(home.done(&["completions", "bash"]).contains("complete"));
    let page = home.done(&["completions", "--man"]);
    assert!(page.starts_with(".ie") && page.contains(".TH bayes 1") && page.contains("train"));
    let page = home.done(&["completions", "--man=train"]);
    assert!(page.contains(".TH bayes-train 1") && page.contains("\\-\\-init"), "{page}");
    assert!(home.refused(&["completions", "--man=trian"]).contains("available commands: train"));
    assert!(home.files().is_empty());
    let list: Value = serde_json::from_str(&home.done(&["dataset", "list", "--json"])).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 22, "four, and the tasks of two suites");
    let info: Value =
        serde_json::from_str(&home.done(&["info", "--json", "--threads", "2"])).unwrap();
    assert_eq!(info["threads"], 2);
    let info: Value =
        serde_json::from_str(&home.done(&["dataset", "info", "reviews", "--json"])).unwrap();
    assert_eq!(info["generated"], true);
}

#[test]
fn what_is_given_and_has_no_effect_is_said_or_refused() {
    let home = Home::new();
    let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/encoders/bert");
    home.write("tickets.csv", tickets(240));
    let config = "name = \"x\"\n[data]\ndataset = \"tickets.csv\"\nmax_length = 16\n[model]\n\
                  hidden_size = 16\nnum_hidden_layers = 1\nnum_attention_heads = 2\n";
    home.write("sizes.toml", config);
    let warned = |more: &[&str]| {
        let output = home.run(&[&["train", "--dry-run"][..], more].concat());
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        said
    };
    let said = warned(&["--config", "sizes.toml", "--init", encoder]);
    for key in ["hidden_size", "num_hidden_layers", "num_attention_heads"] {
        assert!(said.contains(&format!("`model.{key}`")), "{said}");
    }
    assert!(said.contains("have no effect because an encoder is given"), "{said}");
    assert!(!warned(&["--config", "sizes.toml"]).contains("no effect"));
    home.write(
        "init.toml",
        format!("name = \"x\"\n[data]\ndataset = \"tickets.csv\"\n[model]\ninit = {encoder:?}\n"),
    );
    let said = warned(&["--config", "init.toml", "--set", "model.hidden_size=16"]);
    assert!(said.contains("`model.init` has no effect because sizes of a new encoder"), "{said}");
    assert!(!warned(&["--config", "init.toml", "--init", "none"]).contains("no effect"));
    for (arguments, said) in [
        (&["dataset", "list", "--device", "cpu"][..], "--device has no effect"),
        (&["completions", "bash", "--json"], "--json has no effect"),
    ] {
        let output = home.run(arguments);
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    }
    let output = home.run(&["train", "--print-config", "--dry-run", "--json"]);
    let said = text(&output.stderr);
    assert!(said.contains("--dry-run, --json have no effect: `--print-config` only"), "{said}");
    let said = warned(&["--config", "sizes.toml", "--report", "out", "--resume", "never"]);
    assert!(said.contains("--report, --resume have no effect: `--dry-run` only"), "{said}");
}

#[test]
fn steps_that_overrule_the_epochs_are_said_on_the_screen_and_not_in_the_log() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let mut arguments = vec!["train", data.to_str().unwrap()];
    arguments.extend(TINY);
    let said = |more: &[&str]| {
        let output = home.run(&[&arguments[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let note = "`train.num_train_epochs` = 2 has no effect";
    let steps = ["--set", "train.max_steps=5"];
    assert!(said(&[&steps[..], &["--dry-run"]].concat()).contains(note));
    assert!(!said(&["--dry-run"]).contains(note));
    let run = said(&steps);
    assert_eq!(run.matches(note).count(), 1, "{run}");
    let log = home.files().into_iter().find(|name| name.ends_with("metrics.jsonl")).unwrap();
    let log = std::fs::read_to_string(home.path(&log)).unwrap();
    assert!(log.lines().count() > 0 && !log.contains("epochs"), "{log}");
}

/// The best weights so far are put there long after the beginning.
#[test]
fn a_best_model_folder_that_is_not_ours_ends_a_run_before_it_begins() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    home.write("checkpoints/tickets/best_model/notes.txt", "mine");
    let message = home.refused(&[&["train", data.to_str().unwrap()], &TINY[..]].concat());
    assert!(message.contains("best_model") && message.contains("`notes.txt`"), "{message}");
    assert!(!home.path("checkpoints/tickets/run.json").exists(), "no run stands under the name");
    assert!(home.path("checkpoints/tickets/best_model/notes.txt").is_file());
}

/// SIGTERM in the middle of the training: weights are whole and can be used.
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
    let said = text(&output.stdout);
    assert!(said.contains("checkpoints/tickets/checkpoint_epoch_"), "{said}");
    assert!(!home.path("checkpoints/tickets/model").exists());
    for folder in ["best_model", "latest"] {
        let folder = format!("checkpoints/tickets/{folder}");
        home.done(&["predict", "--model", &folder, "an invoice"]);
    }
}
