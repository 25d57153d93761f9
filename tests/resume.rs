//! Runs that are killed, stopped, damaged or out of space, as real processes on the generated data.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "these tests train on the generated data")]
mod home;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bayes::compute::Precision;
use bayes::numbers::grouped;
use home::{Home, text};
use serde_json::Value;

/// 160 optimizer steps of three passes, with averaged weights and an evaluation every 20 steps.
const RUN: [&str; 27] = [
    "train",
    "--set",
    "model.hidden_size=16",
    "--set",
    "model.num_hidden_layers=1",
    "--set",
    "model.num_attention_heads=2",
    "--set",
    "model.intermediate_size=32",
    "--set",
    "data.train_limit=960",
    "--set",
    "train.per_device_train_batch_size=4",
    "--set",
    "train.gradient_accumulation_steps=3",
    "--set",
    "train.ema_decay=0.9",
    "--set",
    "train.eval_steps=20",
    "--set",
    "train.logging_steps=1",
    "--set",
    "train.save_total_limit=2",
    "--set",
    "train.early_stopping_patience=100",
    "--set",
    "train.save_steps=3",
];

const NAME: &str = "checkpoints/reviews";

fn run(more: &[&'static str]) -> Vec<&'static str> {
    RUN.iter().chain(more).copied().collect()
}

fn start(home: &Home, arguments: &[&str]) -> Child {
    home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

/// The only run folder.
fn run_folder(home: &Home) -> PathBuf {
    let mut folders = fs::read_dir(home.path("runs")).unwrap().map(|entry| entry.unwrap().path());
    let folder = folders.next().unwrap();
    assert_eq!(folders.next(), None, "the run goes on in its folder");
    folder
}

fn metrics(home: &Home) -> Vec<u8> {
    fs::read(run_folder(home).join("metrics.jsonl")).unwrap()
}

/// What has to be the same: model, optimizer state and log.
fn results(home: &Home) -> [(&'static str, Vec<u8>); 4] {
    let read = |path: &str| fs::read(home.path(NAME).join(path)).unwrap();
    [
        ("model", read("model/model.safetensors")),
        ("best model", read("best_model/model.safetensors")),
        ("optimizer", read("latest/optimizer.safetensors")),
        ("metrics", metrics(home)),
    ]
}

fn assert_same(found: &Home, expected: &Home, what: &str) {
    for ((name, found), (_, expected)) in results(found).into_iter().zip(results(expected)) {
        assert!(found == expected, "{what}: the {name} has other bytes");
    }
}

/// Waits for something that the process does, or fails with what it said.
fn wait(child: &mut Child, what: &str, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        if let Some(status) = child.try_wait().unwrap() {
            let mut said = String::new();
            let stderr = child.stderr.as_mut().unwrap();
            std::io::Read::read_to_string(stderr, &mut said).unwrap();
            panic!("{what}: the process ended before, {status}: {said}");
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{what} did not happen");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Steps that the log has seen.
fn logged(home: &Home) -> usize {
    let Ok(mut runs) = fs::read_dir(home.path("runs")) else { return 0 };
    let Some(Ok(run)) = runs.next() else { return 0 };
    let log = fs::read(run.path().join("metrics.jsonl")).unwrap_or_default();
    log.iter().filter(|&&byte| byte == b'\n').count()
}

fn writes_a_checkpoint(home: &Home) -> bool {
    fs::read_dir(home.path(NAME)).is_ok_and(|mut entries| {
        entries.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(".tmp-"))
    })
}

/// A number below `end` that is another in every run of the test.
fn random(end: u64) -> u64 {
    RandomState::new().hash_one(0) % end
}

/// The newest checkpoint.
fn latest(home: &Home) -> PathBuf {
    home.path(NAME).join(fs::read_link(home.path(NAME).join("latest")).unwrap())
}

/// Stops a run in good order when the log has this many lines; gives what it said.
fn stopped_at(home: &Home, arguments: &[&str], lines: usize) -> Output {
    let mut child = start(home, arguments);
    wait(&mut child, "progress", || logged(home) >= lines);
    signal(&child, "-TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    output
}

#[test]
fn a_run_that_is_killed_five_times_ends_in_the_same_bytes() {
    let (straight, killed) = (Home::new(), Home::new());
    straight.done(&RUN);
    for round in 0..5 {
        let before = logged(&killed);
        let mut child = start(&killed, &RUN);
        if round % 2 == 0 {
            let lines = before + 1 + random(20) as usize;
            wait(&mut child, "progress", || logged(&killed) >= lines);
            // Into the middle of a step, or of one of its passes.
            std::thread::sleep(Duration::from_micros(random(5000)));
        } else {
            wait(&mut child, "progress", || logged(&killed) > before + 1);
            wait(&mut child, "a checkpoint", || writes_a_checkpoint(&killed));
        }
        signal(&child, "-KILL");
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), None, "it was killed: {}", text(&output.stderr));
    }
    let output = killed.run(&RUN);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("going on from"), "{said}");
    assert_same(&killed, &straight, "after five kills");
    assert!(!writes_a_checkpoint(&killed), "unfinished files are cleared away");

    // What is finished is not trained again, unless it is asked for.
    let report = killed.run(&RUN);
    assert!(text(&report.stderr).contains("--resume never"), "{}", text(&report.stderr));
    assert_eq!(text(&report.stdout), text(&output.stdout));
    let message = killed.refused(&run(&["--set", "train.seed=7", "--set", "train.save_steps=9"]));
    assert!(message.contains("`train.seed` was 42 and is now 7"), "{message}");
    assert!(!message.contains("`train.save_steps` was"), "{message}");
    // A checkpoint is a model folder too.
    killed.done(&["predict", "--model", "checkpoints/reviews/latest", "A moving film."]);
    let next = "name = \"next\"\n[data]\nmax_length = 64\ntrain_limit = 32\n[model]\n\
        init = \"checkpoints/reviews/latest\"\n[train]\nmax_steps = 1\n";
    killed.write("next.toml", next);
    killed.done(&["train", "--config", "next.toml", "--resume", "never"]);
}

#[test]
fn a_stopped_run_goes_on_and_damaged_checkpoints_are_passed_over() {
    let (straight, home) = (Home::new(), Home::new());
    straight.done(&RUN);
    let output = stopped_at(&home, &RUN, 50);
    assert!(text(&output.stdout).contains("run the same command again"));
    // Two processes would write into the same folder.
    let mut other = start(&home, &RUN);
    wait(&mut other, "progress", || logged(&home) > 55);
    assert!(home.refused(&RUN).contains("another process is already training `reviews`"));
    signal(&other, "-TERM");
    assert_eq!(other.wait_with_output().unwrap().status.code(), Some(130));

    let newest = latest(&home);
    let named = |path: &Path| path.strip_prefix(home.path("")).unwrap().display().to_string();
    let resume_from = |path: &Path| {
        let path = named(path);
        let mut arguments = RUN.to_vec();
        arguments.extend(["--resume", &path]);
        home.refused(&arguments)
    };
    // Cut short.
    let optimizer = newest.join("optimizer.safetensors");
    let whole = fs::read(&optimizer).unwrap();
    fs::write(&optimizer, &whole[..whole.len() / 2]).unwrap();
    let message = resume_from(&newest);
    let (found, expected) = (grouped(whole.len() / 2), grouped(whole.len()));
    let damaged =
        format!("optimizer.safetensors` is damaged ({found} bytes instead of {expected})");
    assert!(message.contains(&damaged), "{message}");
    // One bit.
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&optimizer, flipped).unwrap();
    let message = resume_from(&newest);
    assert!(message.contains("optimizer.safetensors` has changed since it was saved"), "{message}");
    // Another config's checkpoint, under the name of a later step.
    let faster = Home::new();
    stopped_at(&faster, &run(&["--set", "train.learning_rate=2e-3"]), 1);
    let later = home.path(NAME).join("checkpoint_epoch_9_step_900");
    fs::rename(latest(&faster), &later).unwrap();
    let message = resume_from(&later);
    assert!(message.contains("config.toml` belongs to a different config"), "{message}");
    assert!(message.contains("`train.learning_rate` was 0.002 and is now 0.001"), "{message}");
    // And somebody has taken the log away.
    fs::remove_dir_all(home.path("runs")).unwrap();

    let output = home.run(&RUN);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for warning in ["optimizer.safetensors` has changed", "checkpoint_epoch_9_step_900"] {
        let line = said.lines().find(|line| line.contains(warning)).unwrap();
        assert!(
            line.starts_with("warning: ") && line.ends_with("this checkpoint is skipped"),
            "{said}"
        );
    }
    assert!(said.contains("a new one begins at this step"), "{said}");
    let same = |index: usize| results(&home)[index].1 == results(&straight)[index].1;
    assert!((0..3).all(same), "model and optimizer state");
    let rest = metrics(&home);
    assert!(metrics(&straight).ends_with(&rest), "the new log is the end of the old one");
}

/// The disk fills up while a checkpoint is written: a small disk of its own where the system lets us
/// mount one, else a limit on the size of files.
#[test]
fn a_full_disk_ends_with_a_clear_error_and_earlier_checkpoints_are_whole() {
    let (straight, home) = (Home::new(), Home::new());
    straight.done(&RUN);
    stopped_at(&home, &RUN, 30);
    let before = latest(&home);
    let namespace = ["--user", "--map-root-user", "--mount"];
    let small = "mkdir disk && size=$(du -sk checkpoints | cut -f1) && \
         mount -t tmpfs -o size=$((size + 60))k tmpfs disk && cp -a checkpoints/. disk && \
         mount --bind disk checkpoints || exit 99; \
         \"$0\" \"$@\"; code=$?; cp -a checkpoints after; exit $code";
    let limited = "trap '' XFSZ; (ulimit -f 64; \"$0\" \"$@\"); code=$?; cp -a checkpoints after; \
         exit $code";
    let probe = "mkdir probe && mount -t tmpfs tmpfs probe";
    let command = home.command(&RUN);
    let shell = |script: &str, mounts: bool| {
        let mut shell = if mounts { Command::new("unshare") } else { Command::new("sh") };
        if mounts {
            shell.args(namespace).arg("sh");
        }
        shell.args(["-c", script]).arg(command.get_program()).args(command.get_args());
        shell.current_dir(home.path(""));
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(key, value),
                None => shell.env_remove(key),
            };
        }
        shell.output()
    };
    let mounts = shell(probe, true).is_ok_and(|output| output.status.success());
    let output = shell(if mounts { small } else { limited }, mounts).unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.contains("error: cannot write `"), "{message}");
    let why = if mounts { "No space left on device" } else { "File too large" };
    assert!(message.contains(why), "{message}");

    let after = home.path("after");
    assert!(after.join("reviews").join(before.file_name().unwrap()).is_dir(), "it is still there");
    fs::remove_dir_all(home.path("checkpoints")).unwrap();
    fs::rename(after, home.path("checkpoints")).unwrap();
    let output = home.run(&RUN);
    let said = text(&output.stderr);
    assert!(output.status.success() && !said.contains("skipped"), "{said}");
    assert_same(&home, &straight, "after a full disk");
}

/// The losses of the log, one a line.
fn losses(home: &Home) -> Vec<f64> {
    let log = String::from_utf8(metrics(home)).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line["loss"].as_f64()).collect()
}

/// On other numbers of threads too, and it learns what a run in f32 does.
#[test]
fn a_run_in_bf16_goes_on_to_the_same_bytes_or_is_refused_at_once() {
    let in_bf16 = |more: &[&'static str]| run(&[&["--set", "train.bf16=true"][..], more].concat());
    let stopped = Home::new();
    if let Err(why) = Precision::Bf16.check() {
        // Before the data are looked for.
        let missing = in_bf16(&["--set", "data.dataset=missing.csv"]);
        for more in [&[][..], &["--dry-run"]] {
            let message = stopped.refused(&[&missing, more].concat());
            assert!(message.contains("`train.bf16`") && message.contains(&why), "{message}");
        }
        return;
    }
    let (straight, exact) = (Home::new(), Home::new());
    straight.done(&in_bf16(&["--threads", "1"]));
    stopped_at(&stopped, &in_bf16(&["--threads", "2"]), 20);
    let message = stopped.refused(&RUN);
    assert!(message.contains("`train.bf16` was true and is now false"), "{message}");
    stopped.done(&in_bf16(&["--threads", "3"]));
    assert_same(&stopped, &straight, "in bf16");

    exact.done(&RUN);
    let (found, exact) = (losses(&straight), losses(&exact));
    assert!(found.len() >= 160 && found.len() == exact.len() && found != exact);
    for (step, (found, exact)) in found.iter().zip(&exact).enumerate() {
        assert!((found - exact).abs() < 0.02, "line {step}: {found}, in f32 {exact}");
    }
}
