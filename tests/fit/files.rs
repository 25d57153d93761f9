//! What a fit writes, says and replaces.

use super::*;
use bayes::compute::Backend;

#[test]
fn a_fit_says_what_it_read_and_its_card_what_was_done() {
    let (home, data) = trained();
    // As another tool would have written it.
    let folder = home.path("foreign");
    std::fs::create_dir(&folder).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(home.path(MODEL).join(name), folder.join(name)).unwrap();
    }
    let data = data.to_str().unwrap();
    let fit = ["fit", "--model", "foreign", "--dataset", data, "--output", "fitted"];
    let said = home::text(&home.run(&fit).stderr);
    assert!(said.contains("columns: text = `subject`, label = `department`"), "{said}");
    assert!(said.contains("in split `validation` are not used"), "{said}");
    let said = home::text(&home.run(&["eval", "--model", "fitted", "--dataset", data]).stderr);
    assert!(said.contains("columns: text = `subject`"), "{said}");
    let card = home.done(&["publish", "--model", "fitted", "--card-only"]);
    let card = card.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(card.contains("The last layer and the posterior were fitted on `train`"), "{card}");
    assert!(!card.contains("selected by NLL") && !card.contains(", trained on"), "{card}");
}

/// The folder is replaced whole.
#[test]
fn a_fit_deletes_nothing_that_it_did_not_write() {
    let (home, data) = trained();
    let data = data.to_str().unwrap();
    let fit = |model: &str, output: &str| {
        home.run(&["fit", "--model", model, "--dataset", data, "--output", output])
    };
    home.write("docs/thesis.txt", "years of work");
    assert!(fit(MODEL, "fitted").status.success());
    assert!(fit(MODEL, "fitted").status.success(), "its own result may be replaced");
    home.write("fitted/notes.txt", "mine");
    home.write("bare/config.json", std::fs::read(home.path(MODEL).join("config.json")).unwrap());
    for (model, output, name) in [
        (MODEL, "docs", "`thesis.txt`"),
        (MODEL, "fitted", "`notes.txt`"),
        (MODEL, "bare", "`config.json`"),
    ] {
        let output = fit(model, output);
        let message = home::text(&output.stderr);
        assert!(output.status.code() == Some(2) && message.contains(name), "{message}");
    }
    assert!(home.path("docs/thesis.txt").is_file() && home.path("fitted/notes.txt").is_file());
    std::fs::remove_file(home.path("fitted/notes.txt")).unwrap();
    let message = home::text(&fit("fitted", "fitted").stderr);
    assert!(message.contains("is the model that is being fitted"), "{message}");
    // Nor does training.
    home.write(&format!("{MODEL}/notes.txt"), "mine");
    let again = [&["train", data, "--resume", "never"][..], &TINY].concat();
    assert!(home.refused(&again).contains("`notes.txt`"));
}

#[test]
fn a_fit_does_not_replace_the_model_of_a_run() {
    let (home, _) = trained();
    let before = std::fs::read(home.path(MODEL).join("bayes/manifest.json")).unwrap();
    let message = home.refused(&["fit", "--model", MODEL, "--output", MODEL]);
    assert!(
        message.contains("belongs to the training run") && message.contains("`--output`"),
        "{message}"
    );
    let after = std::fs::read(home.path(MODEL).join("bayes/manifest.json")).unwrap();
    assert!(before == after);
}

/// Hours may lie between the first look at the folder and the model that takes its place.
#[test]
fn what_came_into_the_model_folder_since_the_work_began_is_not_replaced() {
    use bayes::artifact::{self, ArtifactError, Records};

    let (home, _) = trained();
    let folder = home.path(MODEL);
    let artifact = artifact::load(&folder, &Backend::Cpu).unwrap();
    artifact::check_target(&folder).unwrap();
    let note = home.write(&format!("{MODEL}/notes.txt"), "mine");
    let refused = |result: Result<(), ArtifactError>| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains("it contains `notes.txt`"), "{message}");
        assert_eq!(std::fs::read_to_string(&note).unwrap(), "mine");
    };
    refused(artifact::save(&artifact, &folder).map(drop));
    let records = Records { config: "", evaluation: &Value::Null };
    refused(artifact::add_records(&artifact, artifact.manifest.clone(), records, &folder));
    std::fs::remove_file(&note).unwrap();
    artifact::save(&artifact, &folder).unwrap();
}

/// Two classifiers may have one name: that of their folder, or of the file that they were trained by.
#[test]
fn a_fit_does_not_replace_that_of_another_classifier() {
    let (home, data) = trained();
    let data = data.to_str().unwrap();
    let copy = |folder: &str, weight: Option<u8>| {
        for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
        {
            let mut bytes = std::fs::read(home.path(MODEL).join(name)).unwrap();
            if let (Some(bits), "model.safetensors") = (weight, name) {
                // The lowest bits of a number.
                let last = bytes.len() - 4;
                bytes[last] ^= bits;
            }
            home.write(&format!("{folder}/{name}"), bytes);
        }
    };
    copy("a/net", None);
    copy("b/net", Some(1));
    let fit = |model: &str, more: &[&str]| {
        let output = home.run(&[&["fit", "--model", model, "--dataset", data][..], more].concat());
        (output.status.code(), home::text(&output.stderr))
    };
    let fitted = "checkpoints/net-laplace/model";
    let manifest = || std::fs::read(home.path(fitted).join("bayes/manifest.json")).unwrap();
    assert_eq!(fit("a/net", &[]).0, Some(0));
    let before = manifest();
    let (code, said) = fit("b/net", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains(fitted) && said.contains("/a/net`") && said.contains("`--output`"),
        "{said}"
    );
    assert!(manifest() == before);
    assert_eq!(fit("b/net", &["--output", "b/fitted"]).0, Some(0));
    // The same one again, also where it was moved to or trained anew.
    let (code, said) = fit("a/net", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("`{fitted}` has an earlier fit of this model")), "{said}");
    copy("c/net", None);
    assert_eq!(fit("c/net", &[]).0, Some(0));
    copy("c/net", Some(2));
    assert_eq!(fit("c/net", &[]).0, Some(0));
    let (code, said) = fit("a/net", &["--output", "b/fitted"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("`b/fitted` has the model `net`, which will be replaced"), "{said}");
    // One of an earlier version, which wrote no record.
    std::fs::remove_file(home.path("checkpoints/net-laplace/fitted_from.json")).unwrap();
    let (code, said) = fit("c/net", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("nothing says which model it was fitted from"), "{said}");
    // Nor does a run of that name.
    let run = ["train", data, "--set", "name=net-laplace"];
    let message = home.refused(&[&run[..], &TINY].concat());
    assert!(message.contains(fitted) && message.contains("`--resume never`"), "{message}");
}

/// A model, the README in its folder, `bayes info` and the card name the data by what they changed.
#[test]
fn what_each_data_set_did_is_said_wherever_it_is_named() {
    let (home, _) = trained();
    let other = |name: &str, word: &str| home.write(name, requests(400).replace("case", word));
    other("second.csv", "call");
    other("third.csv", "mail");
    let fit = |model: &str, data: &str, output: &str, more: &[&str]| {
        let arguments = ["fit", "--model", model, "--dataset", data, "--output", output];
        home.done(&[&arguments[..], more].concat());
        let readme = std::fs::read_to_string(home.path(output).join("README.md")).unwrap();
        let info = home.done(&["info", "--model", output]);
        let card = home.done(&["publish", "--model", output, "--card-only"]);
        [readme, info, card].map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let says = |texts: &[String], words: &str| {
        for text in texts {
            assert!(text.contains(words), "{words}: {text}");
        }
    };
    let refitted = fit(MODEL, "second.csv", "refitted", &[]);
    says(&refitted, "It was made from an earlier model: one trained on `");
    says(&refitted, "requests.csv`");
    let deed = "whose last layer, posterior and calibration were fitted on `second.csv`";
    says(&[refitted[0].clone(), refitted[2].clone()], deed);
    says(&refitted[1..2], "fitted on second.csv (last layer, posterior and calibration)");
    says(&refitted[2..], "The last layer, posterior and calibration of this model were fitted on");
    let kept = fit("refitted", "third.csv", "kept", &["--keep-head"]);
    says(&kept, &format!("It was made from earlier models: one {deed}; one trained on `"));
    says(&[kept[0].clone(), kept[2].clone()], "whose posterior and calibration were fitted on");
    says(&kept[1..2], "fitted on third.csv (posterior and calibration)");
    let point = fit("refitted", "third.csv", "point", &["--method", "map"]);
    says(&[point[0].clone(), point[2].clone()], "calibrated on `third.csv`");
    says(&point[1..2], "calibrated on third.csv");
    for text in refitted.iter().chain(&kept).chain(&point) {
        assert!(
            !text.contains("trained on `second") && !text.contains("trained on `third"),
            "{text}"
        );
        assert!(
            !text.contains("trained on third") && !text.contains("trained on second"),
            "{text}"
        );
    }
    // A model whose weights another tool trained.
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        home.write(&format!("net/{name}"), std::fs::read(home.path(MODEL).join(name)).unwrap());
    }
    let foreign = fit("net", "third.csv", "foreign", &[]);
    says(&foreign, "It was made from an earlier model: one trained on data that are not recorded.");
    // Nobody knows what it had seen, so nothing is promised that rests on it.
    let card = &foreign[2];
    assert!(card.contains("Whether the model was trained on rows that calibrate it is unknown."));
    assert!(!card.contains("rows that the model was not trained on"), "{card}");
    assert!(!card.contains("rows that were not used for training"), "{card}");
}

/// They are the author's, and a fit is as much the author's as what it was made from.
#[test]
fn the_words_for_the_card_last_through_a_fit() {
    let home = Home::new();
    let data = home.write("requests.csv", requests(400));
    let data = data.to_str().unwrap();
    home.write("other.csv", requests(400).replace("case", "call"));
    let words = ["license=mit", "data_license=ours", "limitations=Knows three departments."];
    let words = words.map(|word| format!("publish.{word}"));
    let mut train = vec!["train", data, "--set", "posterior.method=map"];
    train.extend(TINY);
    train.extend(words.iter().flat_map(|word| ["--set", word]));
    home.done(&train);
    let fit = |model: &str, data: &str| {
        let output = home.run(&["fit", "--model", model, "--dataset", data, "--output", "fitted"]);
        assert!(output.status.success());
        let card = home.done(&["publish", "--model", "fitted", "--card-only"]);
        (card, home::text(&output.stderr))
    };
    let said_of_terms = "as the authors of the model state them: ours";
    for model in [MODEL, "checkpoints/requests/best_model", "checkpoints/requests/latest"] {
        let (card, said) = fit(model, data);
        assert!(card.starts_with("---\nlicense: mit\n"), "{model}: {card}");
        assert!(card.contains("- Knows three departments.") && card.contains(said_of_terms));
        assert!(!said.contains("data_license"), "{said}");
        // What trained the classifier are no settings of the fit.
        assert!(!card.contains("All hyperparameters"), "{card}");
    }
    // What the author says of some data is not said of others.
    let (card, said) = fit(MODEL, "other.csv");
    assert!(card.starts_with("---\nlicense: other\n"), "{card}");
    assert!(card.contains("- Knows three departments.") && !card.contains(said_of_terms), "{card}");
    assert!(said.contains("to state the terms of `other.csv`"), "{said}");
    // Without words there is nothing to keep.
    let (plain, data) = trained();
    let data = data.to_str().unwrap();
    plain.done(&["fit", "--model", MODEL, "--dataset", data, "--output", "fitted"]);
    assert!(!plain.path("fitted/bayes/config.toml").exists());
}
