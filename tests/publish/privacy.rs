//! What leaves the machine, and what does not.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::home::text;
use super::hub_double::{Fault, TOKEN};
use super::site::Site;

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

fn host_name() -> String {
    let output = Command::new("uname").arg("-n").output().unwrap();
    text(&output.stdout).trim().to_owned()
}

#[test]
fn nothing_that_is_published_names_this_machine_or_its_owner() {
    let site = Site::new();
    let everything = ["--repo", "tester/tickets", "--include-examples", "--json"];
    site.json(&everything);
    let head = site.head("tester/tickets", "main");
    let home = site.home.path("");
    let home = home.to_str().unwrap().trim_end_matches('/');
    let (real, host) = (std::env::var("HOME").unwrap_or_default(), host_name());
    let mut secrets = vec![home, TOKEN];
    // Where a name is as short as a word, its absence cannot be asked for.
    secrets.extend([real.as_str(), host.as_str()].into_iter().filter(|name| name.len() > 8));
    for (path, file) in &head.files {
        let bytes = file.content.all();
        for secret in &secrets {
            assert!(!contains(&bytes, secret), "{path} holds {secret}");
            assert!(!path.contains(secret), "{path}");
        }
    }
    // The texts of the data are in the tokenizer's words only.
    for (path, file) in &head.files {
        assert!(!contains(&file.content.all(), "please look at my"), "{path}");
    }
    let config = text(&head.files["bayes/config.toml"].content.all());
    assert!(config.contains("dataset = \"tickets.csv\""), "{config}");
    let manifest = text(&head.files["bayes/manifest.json"].content.all());
    assert!(manifest.contains("\"dataset\": \"tickets.csv\""), "{manifest}");
    let events = head.files.iter().find(|(path, _)| path.contains("tfevents")).unwrap();
    let bytes = events.1.content.all();
    assert!(contains(&bytes, "Loss/train") && !contains(&bytes, "_hparams_"));
    assert!(!contains(&bytes, "config") && !contains(&bytes, "Weights/"));
}

#[test]
fn the_data_of_earlier_models_are_named_without_their_path() {
    let site = Site::new();
    let data = site.home.path("tickets.csv");
    let first = site.home.path("checkpoints/tickets/model");
    let (data, first) = (data.to_str().unwrap(), first.to_str().unwrap());
    let run = site.home.path("child");
    std::fs::create_dir_all(&run).unwrap();
    let arguments = ["train", data, "--init", first, "--set", "name=child", "--quiet"];
    let mut command = site.bayes(&arguments);
    let output = command.current_dir(&run).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let model = run.join("checkpoints/child/model");
    let own = std::fs::read_to_string(model.join("bayes/manifest.json")).unwrap();
    let home = site.home.path("");
    assert!(own.contains("\"lineage\"") && own.contains(home.to_str().unwrap()), "{own}");
    site.done(&["--repo", "tester/child", "--model", model.to_str().unwrap()]);
    for (path, file) in &site.head("tester/child", "main").files {
        assert!(!contains(&file.content.all(), home.to_str().unwrap()), "{path}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_token_is_in_no_output_and_in_no_list_of_processes() {
    let site = Site::new();
    site.double.fault("/preupload/", 1, Fault::Stall(0, Duration::from_millis(1500)));
    let mut command = site.command(&["--repo", "tester/tickets", "-vv"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while site.double.requests("/preupload/").is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let line = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert!(contains(&line, "publish") && !contains(&line, TOKEN));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("/preupload/"), "the log is on");
    assert!(!contains(&output.stdout, TOKEN) && !contains(&output.stderr, TOKEN));
    let lost: Vec<_> = site.double.requests("").into_iter().filter(|one| one.cdn).collect();
    assert!(!lost.is_empty() && lost.iter().all(|one| one.authorization.is_empty()));
}

#[test]
fn a_card_with_a_private_path_or_the_token_is_not_sent() {
    let site = Site::new();
    let path = format!("publish.description=see {}", site.home.path("notes.txt").display());
    for (setting, what) in [
        (path.as_str(), "the path of your home folder"),
        (&*format!("publish.description=my {TOKEN}"), "your token"),
    ] {
        let message = site.refused(&["--repo", "tester/tickets", "--set", setting]);
        assert!(message.contains("`README.md`") && message.contains(what), "{message}");
        assert!(!message.contains(TOKEN), "{message}");
    }
    assert!(site.double.requests("").is_empty());
}
