//! Pushing beside training.

use std::collections::BTreeMap;

use super::home::{Home, TINY, text, tickets};
use super::hub_double::{Double, Stored};
use super::site::dress;

fn train(home: &Home, double: &Double, repo: &str, push: &str) -> (bool, String) {
    let data = home.write("tickets.csv", tickets(240));
    let (repo, push) = (format!("publish.repo={repo}"), format!("publish.push={push}"));
    let mut arguments = vec!["train", data.to_str().unwrap()];
    arguments.extend(TINY);
    arguments.extend(["--set", &repo, "--set", &push, "--set", "train.save_steps=10"]);
    let output = dress(home.command(&arguments), home, double).output().unwrap();
    (output.status.success(), text(&output.stderr))
}

fn titles(double: &Double, id: &str) -> Vec<String> {
    let state = double.state();
    let commits = &state.repositories[&(false, id.to_owned())].commits;
    commits.iter().map(|commit| commit.title.clone()).collect()
}

#[test]
fn checkpoints_are_pushed_beside_training_and_the_model_at_the_end() {
    let (home, double) = (Home::new(), Double::start());
    let (done, said) = train(&home, &double, "tester/live", "every_save");
    assert!(done, "{said}");
    let titles = titles(&double, "tester/live");
    assert!(titles[1].starts_with("Training, step "), "{titles:?}");
    assert!(titles.last().unwrap().starts_with("Publish with bayes"), "{titles:?}");
    assert!(said.contains("the model was pushed to"), "{said}");
    let state = double.state();
    let repository = &state.repositories[&(false, "tester/live".to_owned())];
    let card = |files: &BTreeMap<String, Stored>| text(&files["README.md"].content.all());
    let first = &repository.commits[1];
    assert!(card(&first.files).contains("A checkpoint of an unfinished training run"));
    assert!(!first.files.contains_key("optimizer.safetensors"), "states of training stay here");
    let last = repository.at("main").unwrap();
    assert!(
        card(&last.files).contains("## Results")
            && last.files.contains_key("bayes/evaluation.json")
    );
    assert!(!home.files().iter().any(|file| file.contains(".tmp-")), "{:?}", home.files());
}

#[test]
fn a_push_that_fails_does_not_stop_training() {
    let (home, double) = (Home::new(), Double::start());
    let (done, said) = train(&home, &double, "somebody/else", "every_save");
    assert!(done, "{said}");
    assert!(said.contains("warning: the checkpoint of step"), "{said}");
    assert!(said.contains("warning: the model was not pushed"), "{said}");
    assert!(said.contains("bayes publish --model checkpoints/tickets/model"), "{said}");
    assert!(home.path("checkpoints/tickets/model/model.safetensors").is_file());
}

#[test]
fn only_the_end_is_pushed_when_only_that_is_wanted() {
    let (home, double) = (Home::new(), Double::start());
    let (done, said) = train(&home, &double, "team/model", "end");
    assert!(done, "{said}");
    assert_eq!(titles(&double, "team/model").len(), 2);
}
