//! `bayes bench` as a user runs it, on a model that is as small as can be.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod home;

use home::{Home, text};
use safetensors::SafeTensors;
use serde_json::Value;

/// Little of everything.
const QUICK: [&str; 15] = [
    "bench",
    "--quiet",
    "--runs",
    "4",
    "--seconds",
    "0.1",
    "--rounds",
    "3",
    "--batch-sizes",
    "1,8",
    "--train-steps",
    "2",
    "--output",
    "report",
    "--json",
];

/// A working folder with a trained model.
fn trained() -> Home {
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "data.max_length=128"]);
    home
}

fn quick(home: &Home, more: &[&str]) -> Value {
    serde_json::from_str(&home.done(&[&QUICK, more].concat())).unwrap()
}

fn read(home: &Home, name: &str) -> String {
    std::fs::read_to_string(home.path(name)).unwrap()
}

/// The value under a dotted key.
fn at<'a>(object: &'a Value, key: &str) -> &'a Value {
    object.pointer(&format!("/{}", key.replace('.', "/"))).unwrap_or(&Value::Null)
}

#[test]
fn rows_that_trained_the_model_are_no_measure_of_its_calibration() {
    let home = trained();
    home.write("copy.csv", home::tickets(240));
    let warnings = |more: &[&str]| {
        let found = quick(&home, &[&["--suite", "calibration"], more].concat());
        found["warnings"].to_string()
    };
    let told = warnings(&["--dataset", "copy.csv"]);
    assert!(told.contains("of the 240 test rows trained or calibrated the model"), "{told}");
    // Its own test rows did not.
    assert!(!warnings(&[]).contains("trained or calibrated"));
    // Once the data are other ones, or gone, nobody knows, under whatever name the rows come.
    home.write("tickets.csv", home::tickets(200));
    for named in [&[][..], &["--dataset", "copy.csv"]] {
        let told = warnings(named);
        assert!(told.contains("it is unknown which of these rows"), "{named:?}: {told}");
    }
    std::fs::remove_file(home.path("tickets.csv")).unwrap();
    let told = warnings(&["--dataset", "copy.csv"]);
    assert!(told.contains("are no longer here"), "{told}");
}

#[test]
fn every_suite_has_its_keys_and_the_report_its_headings() {
    let home = trained();
    let suites = "latency,throughput,memory,size,train,calibration,long-range,posterior";
    let weights = home.path("checkpoints/tickets/model/model.safetensors");
    let before = std::fs::read(&weights).unwrap();
    let found = quick(&home, &["--suite", suites, "--order", "both", "--save", "saved.json"]);
    for key in [
        "latency.mean_latency",
        "latency.std_latency",
        "latency.p50_latency",
        "latency.p95_latency",
        "latency.p99_latency",
        "posterior.p50_latency",
        "posterior.share_of_prediction",
        "throughput.batch_1.throughput",
        "throughput.batch_8.throughput",
        "throughput.batch_8.samples_processed",
        "throughput.batch_8.tokens_per_second",
        "throughput.sorted_8.throughput",
        "model_size.total_parameters",
        "model_size.trainable_parameters",
        "model_size.model_size_mb",
        "train.tokens_per_second",
        "train.seconds_per_step",
        "calibration.accuracy.value",
    ] {
        assert!(at(&found, key).as_f64().is_some_and(|value| value > 0.0), "{key}: {found:#}");
    }
    for key in ["calibration.nll.value", "calibration.ece.floor"] {
        assert!(at(&found, key).is_number(), "{key}: {found:#}");
    }
    #[cfg(target_os = "linux")]
    for key in [
        "memory.memory_allocated_mb",
        "memory.memory_reserved_mb",
        "long_range.max_length_64.mean_memory_mb",
        "train.peak_mb",
    ] {
        assert!(at(&found, key).as_f64().is_some_and(|value| value > 1.0), "{key}: {found:#}");
    }
    // The encoder has 128 positions.
    let lengths: Vec<&String> = found["long_range"].as_object().unwrap().keys().collect();
    assert_eq!(lengths, ["max_length_64", "max_length_128"]);
    assert!(at(&found, "long_range.max_length_128.mean_latency_ms").as_f64().unwrap() > 0.0);
    assert_eq!(at(&found, "throughput.batch_8.samples_processed").as_u64().unwrap() % 3, 0);
    assert_eq!(found["samples"]["latency.mean_latency"].as_array().unwrap().len(), 3);
    assert_eq!(read(&home, "saved.json"), read(&home, "report/report.json"));
    assert!(std::fs::read(&weights).unwrap() == before, "training steps must not touch the model");

    let report = read(&home, "report/report.md");
    let mut rest = report.as_str();
    for heading in [
        "## Model Architecture",
        "## Accuracy Metrics",
        "## Latency (ms)",
        "## Throughput (samples/sec)",
        "## Memory",
        "## Long Range Performance",
        "## Machine",
    ] {
        let place = rest.find(heading).unwrap_or_else(|| panic!("{heading}: {report}"));
        rest = &rest[place..];
    }
    assert!(report.contains("| threads |") && report.contains("| date | 2"), "{report}");
}

#[test]
fn a_baseline_gives_ratios_and_what_was_different() {
    let home = trained();
    quick(&home, &["--suite", "latency,throughput", "--save", "saved.json"]);
    let mut saved: Value = serde_json::from_str(&read(&home, "saved.json")).unwrap();
    for (key, factor) in [("latency.mean_latency", 100.0), ("throughput.batch_8.throughput", 100.0)]
    {
        for value in saved["samples"][key].as_array_mut().unwrap() {
            *value = Value::from(value.as_f64().unwrap() * factor);
        }
    }
    saved["settings"]["runs"] = Value::from(5);
    saved["model"] = Value::from("another");
    saved["dataset"] = Value::from("other.csv");
    saved["machine"]["cores"] = Value::from(999);
    std::fs::write(home.path("other.json"), saved.to_string()).unwrap();

    let arguments = [&QUICK[..14], &["--suite", "latency,throughput", "--baseline", "other.json"]];
    let output = home.run(&arguments.concat());
    let (table, messages) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{messages}");
    assert!(
        messages.contains("the baseline has settings.runs 5, but this run has 4"),
        "{messages}"
    );
    for what in ["model \"another\"", "dataset \"other.csv\"", "machine.cores 999"] {
        assert!(messages.contains(&format!("the baseline has {what}, but")), "{messages}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let compared = table.split("new over old").nth(1).unwrap();
    let line = |key: &str| compared.lines().find(|line| line.contains(key)).unwrap();
    assert!(line("latency.mean_latency").ends_with("better"), "{table}");
    assert!(line("throughput.batch_8.throughput").ends_with("worse"), "{table}");
    let report = read(&home, "report/report.md");
    assert!(report.contains("## Baseline") && !report.contains("## Memory"), "{report}");

    // The same as conditions: the saved run had a hundred times the throughput, and a hundred times the latency.
    let asked = [&arguments.concat()[..], &["--fail-if"]].concat();
    for (condition, code) in [
        ("throughput.batch_8.throughput<0.95x", 1),
        ("throughput.batch_8.throughput>0.95x", 0),
        ("latency.mean_latency<0.5x", 1),
        ("latency.mean_latency>0.5x", 0),
        ("latency.mean_latency>0", 1),
        ("latency.mean_latenci>1x", 2),
    ] {
        let output = home.run(&[&asked[..], &[condition]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{condition}: {said}");
        assert_eq!(said.contains("meets the --fail-if condition"), code == 1, "{said}");
    }
    let output = home.run(&["bench", "--fail-if", "latency.mean_latency>1.1x"]);
    assert!(text(&output.stderr).contains("give one with --baseline"), "{}", text(&output.stderr));

    std::fs::write(home.path("other.json"), "{}").unwrap();
    let output = home.run(&["bench", "--baseline", "other.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--save FILE"), "{}", text(&output.stderr));
}

#[test]
fn the_dump_holds_the_measured_rows_and_their_logits() {
    let home = trained();
    quick(&home, &["--suite", "train", "--limit", "9", "--dump", "rows.safetensors"]);
    let bytes = std::fs::read(home.path("rows.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!((shape("labels"), shape("offsets")), (vec![9], vec![10]));
    assert_eq!((shape("logits"), shape("train_labels")), (vec![9, 2], vec![9]));
    let numbers = |name: &str| -> Vec<i64> {
        let data = file.tensor(name).unwrap().data().to_vec();
        data.chunks_exact(8).map(|eight| i64::from_le_bytes(eight.try_into().unwrap())).collect()
    };
    for prefix in ["", "train_"] {
        let offsets = numbers(&format!("{prefix}offsets"));
        assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
        assert_eq!(shape(&format!("{prefix}ids")), [*offsets.last().unwrap() as usize]);
    }
    // The words are told apart, so logits and labels in the same order agree.
    let logits = file.tensor("logits").unwrap().data().to_vec();
    let logits: Vec<f32> =
        logits.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let predicted: Vec<i64> = logits.chunks_exact(2).map(|c| i64::from(c[1] > c[0])).collect();
    assert_eq!(predicted, numbers("labels"));
}

#[test]
fn a_run_without_arguments_says_that_it_is_short_and_falls_back_on_generated_texts() {
    let home = trained();
    std::fs::remove_file(home.path("tickets.csv")).unwrap();
    let output = home.run(&["bench", "--batch-sizes", "8", "--limit", "20"]);
    let messages = text(&output.stderr);
    assert!(output.status.success(), "{messages}");
    assert!(messages.contains("a short run"), "{messages}");
    assert!(messages.contains("generated") && messages.contains("accuracy is not measured"));
    let table = text(&output.stdout);
    assert!(table.contains("throughput.batch_8.throughput"), "{table}");
    let place = table.lines().find_map(|line| line.strip_prefix("Report  ")).unwrap();
    assert!(place.starts_with("runs/") && place.contains("_bench-tickets/"), "{place}");
    let report = read(&home, place);
    assert!(report.contains("## Latency (ms)") && !report.contains("## Accuracy"), "{report}");
}

#[test]
fn an_unknown_suite_a_planned_one_and_a_missing_model_are_refused() {
    let home = Home::new();
    for (arguments, hint) in [
        (&["bench", "--suite", "latancy"][..], "did you mean `latency`?"),
        (&["bench", "--rounds", "0"], "at least 1"),
        (&["bench"], "bayes train"),
    ] {
        let message = home.refused(arguments);
        assert!(message.contains(hint), "{arguments:?}: {message}");
    }
    assert!(home.files().is_empty());
}

#[test]
fn the_lengths_of_texts_and_what_a_layer_keeps_can_be_chosen() {
    let home = trained();
    let train = ["--suite", "train", "--train-length", "128"];
    let megabytes = |more: &[&str]| -> f64 {
        let result = quick(&home, &[&train, more].concat());
        at(&result, "train.activation_mb").as_f64().unwrap()
    };
    assert!(megabytes(&[]) > megabytes(&["--train-batch-size", "8"]));
    let message = home.refused(&["bench", "--train-length", "129"]);
    assert!(message.contains("at most 128 tokens"), "{message}");
    quick(
        &home,
        &["--suite", "latency,train", "--latency-tokens", "5", "--activation-checkpointing", "1"],
    );
    let saved: Value = serde_json::from_str(&read(&home, "report/report.json")).unwrap();
    assert_eq!(at(&saved, "settings.latency_tokens"), 5);
    assert_eq!(at(&saved, "settings.activation_checkpointing"), 1);
}

/// Rows are not called batches that they never were.
#[test]
fn a_batch_that_the_rows_do_not_fill_is_refused_or_left_out_and_figures_have_units() {
    let home = trained();
    let ten = ["--limit", "10", "--threads", "1"];
    let message = home.refused(&[&["bench", "--batch-sizes", "1,9999"], &ten[..]].concat());
    assert!(message.contains("9999") && message.contains("there are only 10 texts"), "{message}");
    let little = ["--runs", "4", "--seconds", "0.1", "--rounds", "1"];
    let suites = ["bench", "--suite", "throughput,latency,train"];
    let output = home.run(&[&suites, &ten[..], &little].concat());
    let (table, messages) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{messages}");
    for left in ["`throughput.batch_16`", "`throughput.batch_32`", "`train`"] {
        assert!(messages.contains(&format!("{left} is skipped: a batch has")), "{messages}");
    }
    assert!(table.contains("10 texts of") && table.contains(", 1 thread, 1 round\n"), "{table}");
    for line in ["latency.mean_latency, ms ", "throughput.batch_8.throughput, texts/s "] {
        assert!(table.contains(line), "{table}");
    }
    assert!(!table.contains("batch_16") && !table.contains("  train."), "{table}");
    // The two texts that no batch of eight has room for are in none.
    let whole = table.lines().find(|line| line.contains("batch_8.samples_processed")).unwrap();
    let processed: String = whole.chars().rev().take_while(|c| *c != ' ').collect();
    let processed: String = processed.chars().rev().filter(char::is_ascii_digit).collect();
    assert_eq!(processed.parse::<usize>().unwrap() % 8, 0, "{whole}");
}

#[test]
fn the_tokens_of_the_text_that_is_timed_are_said_and_so_are_flags_without_effect() {
    let home = trained();
    let little = ["bench", "--runs", "2", "--rounds", "1", "--warmup", "1", "--json"];
    let bench = |more: &[&str]| {
        let output = home.run(&[&little, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (serde_json::from_slice::<Value>(&output.stdout).unwrap(), text(&output.stderr))
    };
    let latency = ["--suite", "latency"];
    let (found, said) = bench(&[&latency[..], &["--latency-tokens", "9999"]].concat());
    let tokens = at(&found, "latency.tokens").as_u64().unwrap();
    assert!((3..100).contains(&tokens), "{tokens}");
    assert!(said.contains(&format!("the nearest has {tokens}")), "{said}");
    let exact = tokens.to_string();
    let (found, said) = bench(&[&latency[..], &["--latency-tokens", &exact]].concat());
    assert_eq!(at(&found, "latency.tokens").as_u64(), Some(tokens));
    assert!(!said.contains("the nearest has"), "{said}");
    let (found, said) =
        bench(&[&latency[..], &["--train-steps", "3", "--order", "sorted"]].concat());
    assert!(at(&found, "latency.tokens").is_null(), "texts of many lengths");
    for flag in ["--train-steps has no effect: it is for `train`", "--order has no effect"] {
        assert!(said.contains(flag), "{said}");
    }
    let (_, said) = bench(&["--suite", "throughput", "--order", "both", "--seconds", "0.1"]);
    assert!(said.contains("--runs has no effect"), "{said}");
    assert_eq!(said.matches("has no effect").count(), 1, "{said}");
}

#[test]
fn texts_that_are_cut_are_counted_and_flags_about_tables_reach_them() {
    let home = trained();
    let long = "please look at my invoice ".repeat(9);
    let rows: String = (0..30).map(|row| format!("{long} caf\u{e9} {row};billing\n")).collect();
    let latin: Vec<u8> = format!("subject;department\n{rows}").chars().map(|c| c as u8).collect();
    home.write("long.csv", latin);
    let run = |more: &[&str]| {
        let start = ["bench", "--runs", "2", "--warmup", "0", "--rounds", "1"];
        home.run(&[&start[..], &["--dataset", "long.csv", "--output", "report"], more].concat())
    };
    let latency = |more: &[&str]| run(&[&["--suite", "latency"][..], more].concat());
    let said = text(&latency(&[]).stderr);
    assert!(said.contains("(`--encoding`)"), "{said}");
    let output = latency(&["--encoding", "windows-1252", "--max-length", "16"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("30 of 30 texts were truncated to 16 tokens"), "{said}");
    // A label of another name can be told to be one of the model's.
    let renamed = format!("subject,department\n{long},bills\nmy router,technical\n");
    home.write("long.csv", renamed);
    let said = text(&latency(&[]).stderr);
    assert!(said.contains("--label-map bills=NAME"), "{said}");
    let output = latency(&["--label-map", "bills=billing"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&run(&["--suite", "size", "--label-map", "bills=billing"]).stderr);
    assert!(said.contains("--runs has no effect") && said.contains("--warmup"), "{said}");
}
