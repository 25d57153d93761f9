//! Data sets of which a repository has more than is read.

use serde_json::Value;

use crate::home::{text, tickets};
use crate::hub_double::Content;
use crate::site::{Site, parquet};

/// What `dataset info` says on stderr, and the rows of each split; first online, then without a network.
fn info(site: &Site, id: &str) -> [(String, Value); 2] {
    let arguments = ["dataset", "info", id, "--json"];
    [site.run(&arguments), site.home.run(&arguments)].map(|output| {
        let said = text(&output.stderr).replace("\n    ", " ");
        assert!(output.status.success(), "{said}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        (said, found["splits"].clone())
    })
}

#[test]
fn files_beside_those_that_are_read_are_named() {
    let site = Site::new();
    let made = tempfile::tempdir().unwrap();
    let rows = |rows| parquet(made.path(), rows);
    let csv = || Content::from(tickets(30).as_str());
    site.double.dataset(
        "team/mixed",
        &[
            ("data/train-00000-of-00001.parquet", rows(40)),
            ("data/unsupervised-00000-of-00001.parquet", rows(20)),
            ("train.csv", csv()),
            ("test.json", "[]".into()),
            ("load.py", "x".into()),
            ("README.md", "# m".into()),
        ],
    );
    let [(said, online), (_, offline)] = info(&site, "team/mixed");
    for name in ["`train.csv`", "`test.json`", "`data/unsupervised-00000-of-00001.parquet`"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    assert!(!said.contains("load.py"), "{said}");
    assert_eq!((&online, online[0]["rows"].as_u64()), (&offline, Some(40)));
    // Python may have fetched the others too: the same rows are read.
    let snapshot = site.cache().into_iter().find(|file| file.ends_with("README.md")).unwrap();
    let snapshot = site.home.path("hub/hub").join(snapshot.trim_end_matches("/README.md"));
    std::fs::write(snapshot.join("train.csv"), tickets(30)).unwrap();
    let [_, (said, offline)] = info(&site, "team/mixed");
    assert!(said.contains("that are not used: `train.csv`"), "{said}");
    assert_eq!(online, offline);
    // Nothing is left of an ordinary one.
    let files = [("train.csv", csv()), ("test.csv", csv()), ("README.md", "# p".into())];
    site.double.dataset("team/plain", &files);
    assert!(info(&site, "team/plain").iter().all(|(said, _)| !said.contains("not used")));
}

#[test]
fn data_that_the_readme_does_not_name_are_warned_of() {
    let site = Site::new();
    let made = tempfile::tempdir().unwrap();
    let rows = |rows| parquet(made.path(), rows);
    let readme = |folder: &str| {
        let split = |split: &str| format!("  - split: {split}\n    path: {folder}/{split}*\n");
        let files = ["train", "test"].map(split).concat();
        let yaml = format!("configs:\n- config_name: default\n  data_files:\n{files}license: mit");
        Content::from(format!("---\n{yaml}\n---\n# t\n").as_str())
    };
    for (id, folder, warned) in [("team/same", "a", false), ("team/other", "b", true)] {
        let files = [
            ("README.md", readme(folder)),
            ("a/train.parquet", rows(40)),
            ("a/test.parquet", rows(20)),
            ("b/x.parquet", rows(30)),
        ];
        site.double.dataset(id, &files);
        for (said, splits) in info(&site, id) {
            assert_eq!(said.contains("`configs` in its `README.md`"), warned, "{said}");
            assert_eq!(splits[1]["rows"], 40);
        }
    }
}

#[test]
fn a_cache_that_is_not_whole_and_one_of_several_folders_say_so() {
    let site = Site::new();
    let made = tempfile::tempdir().unwrap();
    let rows = |rows| parquet(made.path(), rows);
    let lacks = [
        ("data/train-00000-of-00003.parquet", rows(40)),
        ("data/train-00002-of-00003.parquet", rows(42)),
    ];
    site.double.dataset("team/lacks", &lacks);
    let arguments = ["dataset", "info", "team/lacks"];
    let message = site.refused(&arguments);
    assert!(message.contains("only some of the files of the split `train`"), "{message}");
    let message = site.home.refused(&arguments);
    assert!(message.contains("only some of the files of `team/lacks`"), "{message}");
    assert!(message.contains("HF_HUB_OFFLINE"), "{message}");

    let csv = |rows| Content::from(tickets(rows).as_str());
    site.double.dataset("team/two", &[("a/train.csv", csv(20)), ("b/train.csv", csv(40))]);
    let fetch = |folder: &str| {
        let fetch = ["dataset", "fetch", "team/two", "--folder", folder, "--json"];
        let found: Value = serde_json::from_str(&site.done(&fetch)).unwrap();
        found["folder"].as_str().unwrap().to_owned()
    };
    let folders = ["a", "b"].map(fetch);
    let message = site.home.refused(&["dataset", "info", "team/two"]).replace("\n    ", " ");
    for folder in &folders {
        assert!(message.contains(folder.as_str()), "{folder}: {message}");
    }
    assert!(site.home.done(&["dataset", "info", &folders[1]]).contains("40"));
}
