//! `bayes publish` and pushing while training, as a user runs them, against a double of the Hub.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod card;
mod faults;
#[path = "../home/mod.rs"]
mod home;
#[path = "../hub_double/mod.rs"]
mod hub_double;
mod privacy;
mod site;
mod terms;
mod training;

use serde_json::Value;

use site::{Site, names};

/// What every publication of the tiny model has, apart from the run's name.
const FILES: [&str; 13] = [
    "README.md",
    "bayes/calibration.safetensors",
    "bayes/config.toml",
    "bayes/drift.json",
    "bayes/evaluation.json",
    "bayes/manifest.json",
    "bayes/posterior.safetensors",
    "bayes/reliability.png",
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

#[test]
fn a_dry_run_lists_all_files_with_their_sizes_and_asks_nobody() {
    let site = Site::new();
    let plan: Value = site.json(&["--dry-run", "--repo", "tester/tickets", "--json"]);
    let listed = names(&plan);
    let (run, own): (Vec<&String>, Vec<&String>) =
        listed.iter().partition(|name| name.starts_with("runs/"));
    assert_eq!(own, FILES.iter().collect::<Vec<_>>());
    assert_eq!(run.len(), 2, "{run:?}");
    assert!(run[0].contains("_tickets/events.out.tfevents.") && run[0].ends_with(".bayes.0.0"));
    assert!(run[1].ends_with("/metrics.jsonl"), "{run:?}");
    assert!(plan["files"].as_array().unwrap().iter().all(|file| file["size"].as_u64() > Some(0)));
    let text = site.done(&["--dry-run"]);
    assert!(text.contains("15 files") && text.contains("nothing was uploaded"), "{text}");
    let reports = site.json(&["--dry-run", "--include-examples", "--json"]);
    let reports: Vec<String> =
        names(&reports).into_iter().filter(|name| name.contains("report")).collect();
    assert_eq!(reports.len(), 3, "{reports:?}");
    let card = site.json(&["--dry-run", "--card-only", "--json"]);
    assert_eq!(names(&card), ["README.md", "bayes/reliability.png"]);
    assert!(site.double.requests("").is_empty());
}

#[test]
fn a_model_goes_in_one_commit_and_what_is_there_is_not_sent_again() {
    let site = Site::new();
    let publish = ["--repo", "tester/tickets", "--private", "--json"];
    let first = site.json(&publish);
    assert_eq!((first["created"].as_bool(), names(&first).len()), (Some(true), 15));
    assert_eq!(site.commits("tester/tickets"), 2, "the one that made it, and ours");
    let head = site.head("tester/tickets", "main");
    assert_eq!(first["commit"], head.oid.as_str());
    assert!(head.title.starts_with("Publish with bayes"), "{}", head.title);
    assert_eq!(head.files.len(), 16, "with .gitattributes");
    let model = site.home.path("checkpoints/tickets/model/model.safetensors");
    assert_eq!(head.files["model.safetensors"].content.all(), std::fs::read(model).unwrap());
    assert!(site.double.state().repositories[&(false, "tester/tickets".to_owned())].private);

    site.double.forget_requests();
    let second = site.json(&publish);
    assert_eq!(second["commit"], first["commit"]);
    assert!(second["files"].as_array().unwrap().iter().all(|file| file["status"] == "unchanged"));
    assert!(site.double.requests("/commit/").is_empty() && site.double.requests("PUT").is_empty());

    let text = site.done(&[
        "--repo",
        "tester/tickets",
        "--set",
        "publish.description=Sorts tickets.",
        "--message",
        "Say what it is",
    ]);
    // The words are in the config too, which is a file of the model.
    assert!(text.contains("1 file in one commit") && text.contains("14 unchanged"), "{text}");
    assert!(site.double.requests("PUT").is_empty());
    let head = site.head("tester/tickets", "main");
    assert_eq!(head.title, "Say what it is");
    let card = String::from_utf8(head.files["README.md"].content.all()).unwrap();
    assert!(card.contains("Sorts tickets."), "{card}");
}

#[test]
fn a_tag_is_made_once_and_never_moved() {
    let site = Site::new();
    let publish = ["--repo", "tester/tickets", "--tag", "v1.0.0", "--json"];
    let first = site.json(&publish);
    let tags = |site: &Site| site.repository("tester/tickets", |one| one.tags.clone());
    let commit =
        site.repository("tester/tickets", |one| one.commits[one.tags["v1.0.0"].0].oid.clone());
    assert_eq!(first["commit"], commit.as_str());
    // The same again is the same.
    assert_eq!(site.json(&publish)["commit"], commit.as_str());
    site.double.forget_requests();
    let mut other = publish.to_vec();
    other.extend(["--set", "publish.description=Other words."]);
    let message = site.refused(&other);
    assert!(message.contains("`v1.0.0`") && message.contains("never moved"), "{message}");
    assert!(message.contains(&commit), "{message}");
    for sent in ["PUT", "/commit/", "/preupload/", "/batch"] {
        assert!(site.double.requests(sent).is_empty(), "{sent}");
    }
    assert_eq!(tags(&site).len(), 1);
    other[3] = "v1.0.1";
    site.json(&other);
    assert_eq!(tags(&site).len(), 2);
}

#[test]
fn a_branch_is_made_and_the_others_stay() {
    let site = Site::new();
    let first = site.json(&["--repo", "tester/tickets", "--json"]);
    let draft = site.json(&[
        "--repo",
        "tester/tickets",
        "--branch",
        "drafts/one",
        "--set",
        "publish.description=A draft.",
        "--json",
    ]);
    assert_ne!(draft["commit"], first["commit"]);
    assert_eq!(first["commit"], site.head("tester/tickets", "main").oid.as_str());
    let head = site.head("tester/tickets", "drafts/one");
    assert_eq!(draft["commit"], head.oid.as_str());
    assert_eq!(head.files.len(), 16);
    let refused = site.refused(&["--repo", "tester/tickets", "--branch", "x y"]);
    assert!(refused.contains("not a valid branch"), "{refused}");
}

#[test]
fn who_may_not_publish_is_told_why() {
    let site = Site::new();
    let message = site.refused(&["--repo", "somebody/tickets"]);
    assert!(message.contains("`somebody/tickets`") && message.contains("rights"), "{message}");
    let message = site.refused(&[]);
    assert!(message.contains("--repo OWNER/NAME"), "{message}");
    let message = site.refused(&["--repo", "tickets"]);
    assert!(message.contains("use OWNER/NAME"), "{message}");
    let mut command = site.command(&["--repo", "tester/tickets"]);
    let output = command.env_remove("HF_TOKEN").output().unwrap();
    let message = home::text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(message.contains("hf auth login") && message.contains("HF_TOKEN"), "{message}");
    for (twice, words) in [
        (&["--set", "publish.repo=a/b"][..], "`--repo` and `--set publish.repo` set the same key"),
        (
            &["--private", "--set", "publish.private=false"],
            "`--private` and `--set publish.private`",
        ),
    ] {
        let message = site.refused(&[&["--repo", "tester/tickets"][..], twice].concat());
        assert!(message.contains(words), "{message}");
    }
    let message = site.refused(&["--repo", "tester/tickets", "--set", "train.seed=1"]);
    assert!(message.contains("only keys of [publish]"), "{message}");
}
