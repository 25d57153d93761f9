//! The encoder that training begins with: what it cannot tell apart, what of it is not used, and another in its place.

use serde_json::Value;

use super::home::{Home, text};
use super::json;

/// Words of a script that the encoder has never seen: each is the same unknown token.
#[test]
fn texts_that_an_encoder_cannot_tell_apart_are_refused_before_anything_is_fitted() {
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "train.baseline=false"]);
    let mut csv = "text,label\n".to_owned();
    for row in 0..200u32 {
        let word: String = (0..4)
            .map(|place| char::from_u32(0x1200 + (row * 7 + place * 31) % 300).unwrap())
            .collect();
        csv.push_str(&format!("{word},{}\n", ["a", "b"][row as usize % 2]));
    }
    let data = home.write("amharic.csv", csv);
    let model = "checkpoints/tickets/model";
    for recipe in ["head", "auto", "full"] {
        let recipe = format!("train.recipe={recipe}");
        let train = ["train", data.to_str().unwrap(), "--init", model, "--set", &recipe];
        let train = [&train[..], &["--resume", "never"]].concat();
        let message = home.refused(&train);
        assert!(
            message.contains("look the same to the encoder") && message.contains("`--init`"),
            "{message}"
        );
        assert!(!message.contains("positive definite"), "{message}");
    }
}

/// As sentence-transformers lists them.
#[test]
fn modules_of_an_encoder_that_are_not_used_are_said() {
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "train.baseline=false"]);
    // A folder of ours has no module but the classifier.
    let config = "checkpoints/tickets/model/config.json";
    let mut foreign = json(&std::fs::read_to_string(home.path(config)).unwrap());
    foreign.as_object_mut().unwrap().remove("bayes").unwrap();
    home.write(config, foreign.to_string());
    let list = |kinds: &[&str]| {
        let one = |(place, kind): (usize, &&str)| {
            let path = if place == 0 { String::new() } else { format!("{place}_{kind}") };
            serde_json::json!({ "idx": place, "name": place.to_string(), "path": path,
                "type": format!("sentence_transformers.models.{kind}") })
        };
        let list: Vec<Value> = kinds.iter().enumerate().map(one).collect();
        home.write("checkpoints/tickets/model/modules.json", Value::from(list).to_string());
        let place = kinds.iter().position(|kind| *kind == "Pooling").unwrap();
        home.write(
            &format!("checkpoints/tickets/model/{place}_Pooling/config.json"),
            r#"{"pooling_mode_mean_tokens": true}"#,
        );
    };
    let data = home.path("tickets.csv");
    let init = "checkpoints/tickets/model";
    let head = ["train", data.to_str().unwrap(), "--set", "name=head", "--init", init];
    let head =
        [&head[..], &["--set", "train.recipe=head", "--set", "train.baseline=false"]].concat();
    let said = |more: &[&str]| {
        let output = home.run(&[&head, more].concat());
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        said.lines()
            .filter(|line| line.contains("which `bayes` does not use; its features"))
            .count()
    };
    list(&["Transformer", "Pooling"]);
    assert_eq!(said(&["--dry-run"]), 0);
    list(&["Transformer", "LSTM", "Pooling", "Dense"]);
    assert_eq!((said(&["--dry-run"]), said(&[])), (1, 1));
    list(&["CLIPModel", "Pooling"]);
    let message = home.refused(&head);
    assert!(message.contains("CLIPModel") && message.contains("modules.json"), "{message}");
}

/// The same name of a folder, and another encoder in it.
#[test]
fn a_finished_run_of_another_encoder_is_not_the_same() {
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "train.baseline=false"]);
    let data = home.path("tickets.csv");
    let model = home.path("checkpoints/tickets/model");
    let encoder = home.path("encoder");
    let copy = || {
        std::fs::create_dir_all(&encoder).unwrap();
        for entry in std::fs::read_dir(&model).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, encoder.join(path.file_name().unwrap())).unwrap();
            }
        }
    };
    copy();
    let head =
        ["train", data.to_str().unwrap(), "--set", "name=head", "--init", "encoder", "--quiet"];
    let head =
        [&head[..], &["--set", "train.recipe=head", "--set", "train.baseline=false"]].concat();
    home.done(&head);
    let again = home.run(&head);
    assert!(again.status.success() && text(&again.stderr).contains("this run is already finished"));
    assert!(!text(&again.stderr).contains("have no effect"));
    let late = ["--set", "train.baseline=true", "--set", "publish.license=mit"];
    let late = text(&home.run(&[&head[..], &late].concat()).stderr);
    assert!(
        late.contains("have no effect: `publish.license` was")
            && late.contains("`train.baseline` was"),
        "{late}"
    );
    home.train_tiny(&["--quiet", "--resume", "never", "--set", "train.seed=7"]);
    copy();
    let message = home.refused(&head);
    assert!(message.contains("the encoder files (`model.init`) have changed"), "{message}");
    home.done(&[&head[..], &["--resume", "never"]].concat());
}
