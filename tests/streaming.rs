//! Training from a stream, as a real process: a label-sorted Parquet file, from disk and over HTTP.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "these tests write their own data")]
mod home;
mod ranges;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use bayes::compute::Noise;
use bayes::data::reviews;
use bayes::data::table::{Kind, Value, Writer};
use home::{Home, text};
use ranges::{Server, Validator, write_file};

/// 6,000 generated reviews in 60 row groups, the negative ones first.
fn sorted_reviews(home: &Home) -> String {
    let noise = Noise::new(5);
    let mut rows: Vec<(String, i64)> = (0..6000)
        .map(|row| reviews::review(&noise, 0, row))
        .map(|review| (review.text, i64::from(review.label)))
        .collect();
    rows.sort_by_key(|(_, label)| *label);
    let path = home.path("train.parquet");
    write_file(&path, 6000, 60, |row| rows[row as usize].clone());
    path.to_str().unwrap().to_owned()
}

/// 120 optimizer steps of two passes: two pieces of the stream and a part of the third, over
/// several windows.
const RUN: [&str; 22] = [
    "--set",
    "name=\"streamed\"",
    "--set",
    "data.streaming=true",
    "--set",
    "data.shuffle_window=1000",
    "--set",
    "model.hidden_size=16",
    "--set",
    "model.num_hidden_layers=1",
    "--set",
    "model.num_attention_heads=2",
    "--set",
    "train.gradient_accumulation_steps=2",
    "--set",
    "train.per_device_train_batch_size=16",
    "--set",
    "train.learning_rate=5e-3",
    "--set",
    "train.max_steps=120",
    "--set",
    "train.save_steps=9",
];

fn arguments<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", data], &RUN[..], more].concat()
}

fn model(home: &Home) -> Vec<u8> {
    fs::read(home.path("checkpoints/streamed/model/model.safetensors")).unwrap()
}

#[test]
fn a_stream_trains_as_well_from_disk_over_http_and_after_a_kill() {
    let home = Home::new();
    let data = sorted_reviews(&home);
    let output = home.run(&arguments(&data, &["--json"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("streaming 6,000 rows, shuffled 1,000 at a time"));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let accuracy = report["test"]["accuracy"]["value"].as_f64().unwrap();
    assert!(accuracy > 0.6, "a sorted file is mixed, so it is learnt: {accuracy}");
    let whole = model(&home);

    // Over HTTP, with one line that is cut, by other threads.
    let remote = Home::new();
    let server = Server::start(data.clone().into());
    let address = format!("{}?download=true", server.address);
    remote.done(&arguments(&address, &["--set", "data.num_workers=3"]));
    assert!(server.ranges() > 60);
    assert!(model(&remote) == whole, "the same bytes from disk and over HTTP");

    // Killed twice, at moments that the machine chooses.
    let killed = Home::new();
    let checkpoints = killed.path("checkpoints/streamed");
    for number in 1..3 {
        let mut command = killed.command(&arguments(&data, &[]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let saved = |least: usize| {
            let names = fs::read_dir(&checkpoints).map(|folder| folder.flatten().collect());
            let names: Vec<fs::DirEntry> = names.unwrap_or_default();
            let step = |entry: &fs::DirEntry| -> Option<usize> {
                entry.file_name().to_str()?.rsplit_once("_step_")?.1.parse().ok()
            };
            names.iter().filter_map(step).any(|step| step >= least)
        };
        while !saved(40 * number) {
            assert!(child.try_wait().unwrap().is_none(), "it is killed before it ends");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(
            Command::new("kill").args(["-9", &child.id().to_string()]).status().unwrap().success()
        );
        child.wait().unwrap();
    }
    killed.done(&arguments(&data, &[]));
    assert!(model(&killed) == whole, "the same bytes after two kills");
}

/// A file of the same length in its place: what was read of the one and of the other is not mixed.
#[test]
fn a_file_that_is_replaced_on_the_server_ends_the_run() {
    let home = Home::new();
    let data = sorted_reviews(&home);
    let run = |validator: Validator| {
        let server = Server::with_validator(data.clone().into(), validator);
        let more = ["--resume", "never", "--set", "train.max_steps=6"];
        home.run(&arguments(&server.address, &more))
    };
    let replaced: [Validator; 2] = [
        |number| format!("ETag: \"{}\"\r\n", number / 20),
        |number| format!("Last-Modified: Mon, 0{} Nov 2026 00:00:00 GMT\r\n", 1 + number / 20),
    ];
    for validator in replaced {
        let output = run(validator);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("the file has changed on the server"), "{said}");
    }
    let same: Validator = |number| {
        let weak = if number % 2 == 0 { "" } else { "W/" };
        format!("ETag: {weak}\"a\"\r\nLast-Modified: {number}\r\n")
    };
    let output = run(same);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Rows that no held-out part has, with the same labels, in a file of the same length.
#[test]
fn a_stream_whose_rows_have_changed_is_another_run() {
    let home = Home::new();
    let path = home.path("train.parquet");
    let words = ["bike", "lamp"];
    let write = |changed: Option<u64>| {
        let row = |row: u64| {
            let word = if changed == Some(row) { "oven" } else { words[(row % 2) as usize] };
            (format!("my {word} broke, case {row}"), (row % 2) as i64)
        };
        write_file(&path, 6000, 60, row);
    };
    write(None);
    let data = path.to_str().unwrap();
    let all = ["--set", "train.max_steps=6"];
    home.done(&arguments(data, &all));
    // Written again as it was, it is the same.
    write(None);
    home.done(&arguments(data, &all));
    // One row in six is in the sample that the parts are made of.
    let outside = (1200..1206).find(|&row| {
        write(Some(row));
        let message = home.refused(&arguments(data, &all));
        assert!(message.contains("was trained with different settings or data"), "{message}");
        message.contains("the files of the streamed rows have changed")
    });
    assert!(outside.is_some());
    // A record of an earlier version says nothing of it.
    let record = home.path("checkpoints/streamed/run.json");
    let mut found: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    assert!(found.as_object_mut().unwrap().remove("stream").is_some());
    fs::write(&record, found.to_string()).unwrap();
    home.done(&arguments(data, &all));
}

#[test]
fn what_cannot_be_streamed_is_refused_with_a_sentence() {
    let home = Home::new();
    let table = home.write("tickets.csv", home::tickets(40));
    let table = table.to_str().unwrap();
    let streaming = ["train", table, "--set", "data.streaming=true"];
    assert!(home.refused(&streaming).contains("is not a Parquet file, so it cannot be streamed"));
    let address = ["train", "http://127.0.0.1:1/train.parquet"];
    assert!(home.refused(&address).contains("set data.streaming=true"));
    for (setting, message) in [
        ("data.num_shards=2", "`data.num_shards` applies only to streaming"),
        ("data.num_workers=4", "`data.num_workers` applies only to streaming"),
    ] {
        assert!(home.refused(&["train", "--set", setting]).contains(message));
    }
    let rank = ["train", "--set", "data.streaming=true", "--set", "data.rank=1"];
    assert!(home.refused(&rank).contains("ranks count from 0"));
}

#[test]
fn shards_that_do_not_divide_are_warned_of() {
    let home = Home::new();
    let data = sorted_reviews(&home);
    let shard = |more: &[&str]| {
        let output = home.run(&arguments(&data, more));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let few = ["--set", "train.max_steps=4", "--set", "data.num_shards=7", "--set", "data.rank=3"];
    let uneven = shard(&few);
    assert!(uneven.contains("6000 rows are not divisible by `data.num_shards` = 7"), "{uneven}");
    let first = model(&home);
    let more = [&few[..2], &["--set", "data.num_shards=2", "--resume", "never"]].concat();
    assert!(!shard(&more).contains("are not divisible"));
    assert!(model(&home) != first, "another shard has other rows");
}

/// Rows told apart by one word, class after class, in row groups of 100.
fn sorted_rows(home: &Home, classes: u64) -> String {
    let path = home.path("sorted.parquet");
    let words = ["bike", "lamp", "oven", "book", "door", "boat", "desk", "sofa", "ring", "wall"];
    let row = |row: u64| {
        let label = row * classes / 1500;
        (format!("my {} broke, case {row}", words[label as usize]), label as i64)
    };
    write_file(&path, 1500, 15, row);
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_sample_of_a_sorted_stream_has_every_class_and_a_head_says_that_it_is_all() {
    let home = Home::new();
    let data = sorted_rows(&home, 3);
    let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/encoders/bert");
    let train = |recipe: &str| -> (serde_json::Value, String) {
        let recipe = format!("train.recipe={recipe}");
        let mut arguments = vec!["train", &data, "--json", "--init", encoder, "--resume", "never"];
        for setting in ["data.streaming=true", "data.shuffle_window=200", &recipe] {
            arguments.extend(["--set", setting]);
        }
        if recipe.ends_with("full") {
            arguments.extend(["--set", "train.max_steps=4"]);
        }
        let output = home.run(&arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (serde_json::from_slice(&output.stdout).unwrap(), text(&output.stderr))
    };
    for recipe in ["head", "full"] {
        let (report, said) = train(recipe);
        assert_eq!(report["streamed"], 1500);
        for class in report["test"]["by_class"].as_array().unwrap() {
            let rows = class["rows"].as_u64().unwrap();
            assert!((5..=9).contains(&rows), "{class}: a third of the 20 test rows");
        }
        assert!(!said.contains("no row of"), "{said}");
        let alone = said.contains("only the last layer is fitted, on a sample of the 1,500 rows");
        assert_eq!(alone, recipe == "head", "{said}");
        let notes = report["notes"].to_string();
        let sentence = match recipe {
            "head" => "a sample of a stream of 1,500 rows; the others were not used",
            _ => {
                "a stream of 1,500 rows, all but the rows of a held-out text, so on at most 1,440 rows"
            }
        };
        assert!(notes.contains(sentence), "{notes}");
        let card = home.done(&["publish", "--model", "checkpoints/sorted/model", "--card-only"]);
        assert!(card.contains(sentence), "{card}");
        assert!(!said.contains("the files are sorted"), "{said}");
    }
    // Four groups of 15 have at most six of ten classes.
    sorted_rows(&home, 10);
    assert!(train("head").1.contains("the files are sorted"));
}

#[test]
fn mixed_first_rows_of_a_sorted_file_are_of_all_parts() {
    let home = Home::new();
    let data = sorted_rows(&home, 3);
    let found = home.done(&["dataset", "head", &data, "-n", "30", "--shuffle", "1"]);
    for word in ["bike", "lamp", "oven"] {
        let rows = found.matches(word).count();
        assert!((4..=18).contains(&rows), "{rows} rows of {word}: {found}");
    }
}

/// A table of texts with the label of each row.
fn labelled(home: &Home, name: &str, kind: Kind, rows: u64, label: impl Fn(u64) -> Value) {
    let path = home.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut table = Writer::create(&path, &[("text", Kind::Text), ("label", kind)]).unwrap();
    for row in 0..rows {
        let text = Value::Text(format!("case {row} of {name}"));
        table.write(&[text, label(row)]).unwrap();
    }
    table.finish().unwrap();
}

/// The row is far behind those that a few steps read.
#[test]
fn a_row_without_a_label_is_refused_at_once_with_the_message_of_rows_in_memory() {
    let text = |text: &str| Value::Text(text.to_owned());
    for (kind, class, none) in [
        (Kind::Text, text("a"), Value::Null),
        (Kind::Text, text("a"), text(" ")),
        (Kind::Text, text("a"), text("\u{200b}")),
        (Kind::Float, Value::Float(2.0), Value::Float(f64::NAN)),
    ] {
        let home = Home::new();
        let other = if kind == Kind::Text { text("b") } else { Value::Float(1.0) };
        let label = |row: u64| if row.is_multiple_of(2) { class.clone() } else { other.clone() };
        labelled(&home, "set/train-00000-of-00002.parquet", kind, 300, label);
        let label = |row: u64| if row == 289 { none.clone() } else { label(row) };
        labelled(&home, "set/train-00001-of-00002.parquet", kind, 300, label);
        let data = home.path("set");
        let data = data.to_str().unwrap();
        let memory = home.refused(&["train", data, "--init", "none", "--dry-run"]);
        let place = "train-00001-of-00002.parquet` row 290: column `label` is empty";
        assert!(memory.contains(place), "{memory}");
        assert_eq!(home.refused(&arguments(data, &["--dry-run"])), memory);
        // It is told that a key was set before.
        let streamed = home.refused(&arguments(data, &["--set", "train.max_steps=1"]));
        assert!(streamed.ends_with(&memory), "{streamed}");
    }
}

#[test]
fn a_number_for_a_missing_label_is_said_of_a_stream_too() {
    let home = Home::new();
    let class = |row: u64| if row % 10 == 9 { -1 } else { row as i64 % 3 };
    labelled(&home, "whole.parquet", Kind::Integer, 400, |row| Value::Integer(class(row)));
    labelled(&home, "float.parquet", Kind::Float, 400, |row| Value::Float(class(row) as f64));
    for name in ["whole.parquet", "float.parquet"] {
        let data = home.path(name);
        let streamed = arguments(data.to_str().unwrap(), &["--dry-run"]);
        for arguments in [&streamed[..], &["train", data.to_str().unwrap(), "--dry-run"]] {
            let output = home.run(arguments);
            assert!(output.status.success(), "{}", text(&output.stderr));
            let said = text(&output.stderr);
            assert!(said.contains("`-1` is treated as a class; if it means"), "{name}: {said}");
        }
    }
}

#[test]
fn a_column_of_splits_is_said_of_a_stream_too() {
    let home = Home::new();
    let path = home.path("rows.parquet");
    let columns = [("text", Kind::Text), ("label", Kind::Text), ("split", Kind::Text)];
    let mut table = Writer::create(&path, &columns).unwrap();
    for row in 0..400 {
        let split = if row % 5 == 0 { "test" } else { "train" };
        let cells = [format!("case {row}"), ["a", "b"][row % 2].to_owned(), split.to_owned()];
        table.write(&cells.map(Value::Text)).unwrap();
    }
    table.finish().unwrap();
    let data = path.to_str().unwrap();
    let memory = ["train", data, "--init", "none", "--dry-run"];
    for arguments in [&memory[..], &arguments(data, &["--dry-run"])] {
        let said = text(&home.run(arguments).stderr);
        assert!(said.contains("the column `split` seems to say"), "{said}");
    }
}
