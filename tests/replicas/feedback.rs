//! Labels that all replicas share.

mod export;
mod faults;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Member;
use super::server::{Answer, eventually, model};
use super::store::{Store, with_each};

const STREAM: &str = "bayes:tickets:feedback";
const KNOWN: &str = "bayes:tickets:feedback:known";

/// How many predictions have a label; the set has a mark beside them.
fn known(store: &Store) -> usize {
    store.ask(&["ZLEXCOUNT", KNOWN, "[0", "+"])
}

/// A key that all replicas have.
fn keys() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a key that all replicas have\n").unwrap();
    file
}

/// A replica with that key.
fn replica(store: &Store, keys: &tempfile::NamedTempFile, more: &[&str]) -> Member {
    replica_of(model(), store, keys, more)
}

fn replica_of(
    model: &Path,
    store: &Store,
    keys: &tempfile::NamedTempFile,
    more: &[&str],
) -> Member {
    let keys = ["--feedback-key-file", keys.path().to_str().unwrap()];
    Member::of(model, store, &[&keys[..], more].concat())
}

fn text(row: usize) -> String {
    format!("please look at my {}, case {row}", ["invoice", "router"][row % 2])
}

/// What is told of it: of every fifth the wrong one.
fn truth(row: usize) -> &'static str {
    let kind = if row.is_multiple_of(5) { 1 - row % 2 } else { row % 2 };
    ["billing", "technical"][kind]
}

fn other(label: &str) -> &'static str {
    if label == "billing" { "technical" } else { "billing" }
}

/// Ids of predictions for the texts of these rows.
fn ids(member: &Member, rows: std::ops::Range<usize>) -> Vec<String> {
    let texts: Vec<String> = rows.map(text).collect();
    let all = texts.chunks(30).flat_map(|texts| {
        let answer = member.server.post("/batch_predict", &json!({ "texts": texts }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["predictions"].as_array().unwrap().clone()
    });
    all.map(|one| one["prediction_id"].as_str().unwrap().to_owned()).collect()
}

fn tell(member: &Member, id: &str, label: &str) -> Answer {
    member.server.post("/feedback", &json!({ "prediction_id": id, "label": label }))
}

/// A label is accepted; whether it counts.
fn taken(member: &Member, id: &str, label: &str) -> bool {
    let answer = tell(member, id, label);
    assert_eq!(answer.status, 202, "{}\n{}", answer.text(), member.server.log());
    answer.json()["counted"].as_bool().unwrap()
}

/// Another label is refused.
fn refused(member: &Member, id: &str, label: &str) {
    let answer = tell(member, id, label);
    assert_eq!((answer.status, &*answer.problem()), (409, "feedback-conflict"));
}

/// Labels for new predictions of these rows, told to either of two in turn.
fn fill(members: [&Member; 2], rows: std::ops::Range<usize>) -> Vec<String> {
    let all = ids(members[0], rows.clone());
    for (row, id) in rows.zip(&all) {
        assert!(taken(members[row / 2 % 2], id, truth(row)));
    }
    all
}

/// Series of the newest labels, as they are written.
fn figures(member: &Member) -> Vec<String> {
    let names =
        ["bayes_feedback_window", "bayes_accuracy", "bayes_calib", "bayes_brier", "bayes_conf"];
    let text = member.server.get("/metrics").text();
    let ours = |line: &&str| {
        names.iter().any(|name| line.starts_with(name)) && !line.contains("bayes_confidence")
    };
    text.lines().filter(ours).map(str::to_owned).collect()
}

fn window(member: &Member) -> f64 {
    member.server.metric("bayes_feedback_window_labels")
}

/// All have the same figures in the end, over so many labels.
fn agree(members: &[&Member], labels: usize) -> Vec<String> {
    for member in members {
        eventually("it has heard of all labels", || window(member) == labels as f64);
    }
    eventually("all have the same figures", || {
        members.iter().all(|member| figures(member) == figures(members[0]))
    });
    assert_eq!(window(members[0]), labels as f64);
    let found = figures(members[0]);
    assert!(found.len() >= 8, "{found:?}");
    found
}

fn total(member: &Member) -> f64 {
    member.server.metric("bayes_feedback_total")
}

fn conflicts(member: &Member) -> f64 {
    member.server.metric("bayes_feedback_conflicts_total")
}

fn state(member: &Member) -> String {
    member.health()["checks"]["feedback"].as_str().unwrap().to_owned()
}

fn folder(member: &Member) -> PathBuf {
    member.home.path().join("runs/feedback")
}

#[test]
fn one_prediction_has_one_label_at_all_replicas_and_figures_are_over_all_of_them() {
    with_each(|program| {
        let (store, keys) = (Store::start(program, &[]), keys());
        let [mut one, two] = [(); 2].map(|()| replica(&store, &keys, &[]));
        let all = fill([&one, &two], 0..80);
        let before = agree(&[&one, &two], 80);
        for (row, id) in all.iter().enumerate().take(12) {
            for member in [&one, &two] {
                assert!(!taken(member, id, truth(row)), "it counts once");
                refused(member, id, other(truth(row)));
            }
        }
        assert_eq!(agree(&[&one, &two], 80), before);
        assert_eq!((total(&one), total(&two)), (40.0, 40.0), "of what each took");
        let drift = |member: &Member| member.server.get("/drift").json();
        assert_eq!(drift(&one)["feedback"], drift(&two)["feedback"]);
        let share = &drift(&one)["feedback"]["accuracy"];
        assert!(share.as_f64().is_some_and(|share| share > 0.7 && share < 0.9), "{share}");
        let tested = |member: &Member| drift(member)["labels"]["tested"].as_u64();
        for member in [&one, &two] {
            assert_eq!(tested(member), Some(80), "each label is tested once at each");
        }
        // What was sent to another since is there for one that starts again, or for the first time.
        let more = fill([&two, &two], 80..100);
        one.killed();
        let three = replica(&store, &keys, &[]);
        let after = agree(&[&one, &two, &three], 100);
        assert_ne!(before, after);
        assert_eq!((total(&one), total(&three), conflicts(&one)), (0.0, 0.0, 0.0));
        assert_eq!(tested(&three), Some(0), "its tests began when it did");
        assert!(!taken(&three, &more[3], truth(83)));
        refused(&one, &more[3], other(truth(83)));
        assert_eq!(store.ask::<usize>(&["XLEN", STREAM]), 100);
        assert_eq!(known(&store), 100);
        for member in [&one, &two, &three] {
            assert_eq!(state(member), "ok");
        }
    });
}

#[test]
fn of_labels_that_come_at_once_one_is_accepted() {
    with_each(|program| {
        let (store, keys) = (Store::start(program, &[]), keys());
        let members = [(); 2].map(|()| replica(&store, &keys, &[]));
        let all = ids(&members[0], 0..60);
        let told: Vec<Vec<u16>> = std::thread::scope(|scope| {
            let send = |member, label| {
                let all = &all;
                move || all.iter().map(|id| tell(member, id, label).status).collect()
            };
            let both = [
                scope.spawn(send(&members[0], "billing")),
                scope.spawn(send(&members[1], "technical")),
            ];
            both.map(|one| one.join().unwrap()).into()
        });
        // Both may be accepted where the store was too slow for a moment to be asked.
        let once = (0..60).filter(|&row| told[0][row] != told[1][row]).count();
        assert!(once > 30, "{told:?}");
        for id in &all {
            let stands = |member: &Member| {
                ["billing", "technical"].map(|label| tell(member, id, label).status)
            };
            eventually("both say the same", || stands(&members[0]) == stands(&members[1]));
        }
        agree(&[&members[0], &members[1]], 60);
        let accepted = total(&members[0]) + total(&members[1]);
        let given_up = conflicts(&members[0]) + conflicts(&members[1]);
        assert_eq!(accepted - given_up, 60.0);
    });
}

/// So many labels are in Redis as a folder has room for.
#[test]
fn the_stream_is_bounded_and_whoever_starts_later_has_the_newest() {
    with_each(|program| {
        let (store, keys) = (Store::start(program, &[]), keys());
        let bounded = ["--max-feedback-bytes", "1048576", "--feedback-window", "60"];
        let one = replica(&store, &keys, &bounded);
        fill([&one, &one], 0..1200);
        let length = || store.ask::<usize>(&["XLEN", STREAM]);
        eventually("all were given", || known(&store) == 1200);
        assert!((1024..1180).contains(&length()), "{}", length());
        let two = replica(&store, &keys, &bounded);
        agree(&[&one, &two], 60);
    });
}

#[test]
fn models_of_one_server_have_labels_of_their_own() {
    with_each(|program| {
        let (store, keys) = (Store::start(program, &[]), keys());
        let named = |name: &str| format!("{name}={}", model().display());
        let (first, second) = (PathBuf::from(named("first")), named("second"));
        let flags = ["--model", &*second];
        let members = [(); 2].map(|()| replica_of(&first, &store, &keys, &flags));
        for (row, name) in (0..120).map(|row| (row, ["first", "second"][row % 2])) {
            let body = json!({ "text": text(row), "model": name });
            let answer = members[0].server.post("/predict", &body).json();
            let id = answer["prediction_id"].as_str().unwrap();
            let label = if name == "first" { "billing" } else { truth(row) };
            assert!(taken(&members[row / 2 % 2], id, label));
        }
        let of = |member: &Member, model: &str, series: &str| {
            member.server.metric(&format!("{series}{{model=\"{model}\"}}"))
        };
        for member in &members {
            eventually("it has heard of all labels", || {
                ["first", "second"].map(|name| of(member, name, "bayes_feedback_window_labels"))
                    == [60.0; 2]
            });
            let shares = ["first", "second"].map(|name| of(member, name, "bayes_accuracy_ratio"));
            assert_eq!(shares, [1.0, 0.8]);
        }
        let entries: Vec<(String, Vec<String>)> =
            store.ask(&["XRANGE", "bayes:first+second:feedback", "-", "+"]);
        let names = entries
            .iter()
            .map(|(_, fields)| serde_json::from_str::<Value>(&fields[1]).unwrap()["model"].clone());
        assert_eq!(names.filter(|name| name == "second").count(), 60);
    });
}
