//! `bayes feedback export` from Redis.

use std::path::Path;
use std::process::{Command, Output};

use super::*;

fn export(home: &Path, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bayes"));
    command.args(["feedback", "export"]).args(flags).current_dir(home).output().unwrap()
}

/// What is written, a row a line.
fn rows(home: &Path, flags: &[&str]) -> String {
    let output = export(home, &[&["--output", "rows.csv"], flags].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{flags:?}: {told}");
    std::fs::read_to_string(home.join("rows.csv")).unwrap()
}

fn failed(home: &Path, flags: &[&str]) -> String {
    let output = export(home, &[&["--output", "none.csv"], flags].concat());
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn an_export_from_redis_is_that_of_all_folders() {
    with_each(|program| {
        let (store, keys) = (Store::start(program, &[]), keys());
        let home = tempfile::tempdir().unwrap();
        let (home, url) = (home.path(), store.url());
        assert!(failed(home, &["--redis-url", &url]).contains("has no labels"));
        let keeps = ["--feedback-texts"];
        let members = [(); 2].map(|()| replica(&store, &keys, &keeps));
        let all = fill([&members[0], &members[1]], 0..40);
        // Of each of these the text comes with the label; to one of them it is sent again.
        let with_text: Vec<String> = ids(&members[1], 40..60);
        for (row, id) in (40..60).zip(&with_text) {
            let body = json!({ "prediction_id": id, "label": truth(row), "text": text(row) });
            for member in [&members[row % 2], &members[0]] {
                assert_eq!(member.server.post("/feedback", &body).status, 202);
            }
        }
        refused(&members[1], &all[0], other(truth(0)));
        let folders = [folder(&members[0]), folder(&members[1])];
        let folders = folders.each_ref().map(|folder| folder.to_str().unwrap());
        let both = ["--feedback-path", folders[0], "--feedback-path", folders[1]];
        eventually("all texts are on disk", || rows(home, &both).lines().count() == 61);
        let expected = rows(home, &both);
        // Texts of predictions stay where they were made; labels are there from all.
        let shared = ["--redis-url", &url];
        assert_eq!(rows(home, &[&shared[..], &both].concat()), expected);
        let alone = rows(home, &shared);
        assert_eq!(alone.lines().count(), 21, "those that came with their text");
        assert!(alone.lines().all(|line| expected.contains(line)));
        let file = home.join("address");
        std::fs::write(&file, &url).unwrap();
        let file = ["--redis-url-file", file.to_str().unwrap()];
        let prefix = ["--redis-prefix", "bayes:tickets"];
        assert_eq!(rows(home, &[&file[..], &prefix].concat()), alone);
        // They are there when the servers and their disks are not.
        drop(members);
        assert_eq!(rows(home, &shared), alone);
    });
}

#[test]
fn an_export_says_what_it_cannot_read() {
    with_each(|program| {
        let (mut store, keys) = (Store::start(program, &[]), keys());
        let home = tempfile::tempdir().unwrap();
        let (home, url) = (home.path(), store.url());
        for prefix in ["bayes:one", "bayes:two"] {
            let member = replica(&store, &keys, &["--redis-prefix", prefix]);
            let id = &ids(&member, 0..1)[0];
            let body = json!({ "prediction_id": id, "label": "billing", "text": text(0) });
            assert_eq!(member.server.post("/feedback", &body).status, 202);
        }
        let several = failed(home, &["--redis-url", &url]);
        assert!(several.contains("bayes:one, bayes:two"), "{several}");
        assert_eq!(
            rows(home, &["--redis-url", &url, "--redis-prefix", "bayes:two"]).lines().count(),
            2
        );
        let both = failed(home, &["--redis-url", &url, "--redis-url-file", "x"]);
        assert!(both.contains("both set"), "{both}");
        store.kill();
        let gone = failed(home, &["--redis-url", &url.replace("redis://", "redis://:secret@")]);
        assert!(gone.contains("cannot read labels from Redis"), "{gone}");
        assert!(!gone.contains("secret"), "{gone}");
    });
}
