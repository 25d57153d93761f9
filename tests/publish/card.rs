//! The model card.

use serde_json::Value;

use super::home::{Home, text};
use super::site::{Site, dress};

fn evaluation(site: &Site) -> Value {
    let path = site.home.path("checkpoints/tickets/model/bayes/evaluation.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The model in a home of its own, to be changed.
pub fn copied(site: &Site) -> Home {
    let home = Home::new();
    let files = site.home.files();
    for name in files.iter().filter(|name| name.starts_with("checkpoints/tickets/model/")) {
        home.write(name, std::fs::read(site.home.path(name)).unwrap());
    }
    home
}

#[test]
fn the_figures_are_those_of_the_evaluation_file() {
    let site = Site::new();
    let card = site.done(&["--card-only"]);
    let evaluation = evaluation(&site);
    for key in ["accuracy", "f1", "mcc", "nll", "brier", "ece", "mean_confidence"] {
        let metric = &evaluation[key];
        let number = |of: &str| format!("{:.4}", metric[of].as_f64().unwrap());
        let row = format!("| {} | {} – {} |", number("value"), number("low"), number("high"));
        assert!(card.contains(&row), "{key}: {row}\n{card}");
    }
    let floor = evaluation["ece"]["floor"].as_f64().unwrap();
    assert!(card.contains(&format!("noise floor {floor:.4}")), "{card}");
    // The posterior of this model is left out: nothing is said of what it would have said.
    assert!(evaluation["uncertainty"]["all"]["epistemic"].is_null());
    assert!(card.contains("because using the variance of its posterior"), "{card}");
    assert!(card.contains("| predictions | rows | total |\n"), "{card}");
    let train = &evaluation["parts"]["train"];
    assert_eq!(train["rows"], 168);
    assert!(card.contains("`billing` 84 (50.0 %), `technical` 84 (50.0 %)"), "{card}");
    assert!(card.contains("Tested on 24 rows, which put the accuracy between"), "{card}");
    assert!(!card.contains("100.0 % and 100.0 %"), "no sample is that sure: {card}");
    let longest = train["tokens"]["longest"].as_u64().unwrap();
    assert!(card.contains(&format!("the longest {longest}.")), "{card}");
    for key in ["learning_rate = 0.005", "[calibration]", "max_length = 32", "hidden_size = 16"] {
        assert!(card.contains(key), "{key}");
    }
    assert!(card.contains("](bayes/reliability.png)"), "{card}");
    assert!(!card.contains("{{") && !card.contains("NaN") && !card.contains("\n\n\n"), "{card}");
    // Read twice, written twice.
    assert_eq!(card, site.done(&["--card-only"]));
    assert!(site.double.requests("").is_empty());
}

#[test]
fn a_model_that_uses_its_posterior_has_both_parts_of_its_uncertainty_in_the_card() {
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "calibration.temperature=false"]);
    let card = home.done(&["publish", "--card-only"]);
    let path = home.path("checkpoints/tickets/model/bayes/evaluation.json");
    let evaluation: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let epistemic = evaluation["uncertainty"]["all"]["epistemic"].as_f64().unwrap();
    assert!(card.contains("| total | aleatoric | epistemic |"), "{card}");
    assert!(card.contains(&format!("| {epistemic:.4} |")), "{card}");
}

#[test]
fn a_card_of_other_figures_is_not_written() {
    let site = Site::new();
    let home = copied(&site);
    let path = "checkpoints/tickets/model/bayes/evaluation.json";
    let mut damaged = evaluation(&site);
    damaged["accuracy"]["value"] = 1.5.into();
    home.write(path, damaged.to_string());
    let message = home.refused(&["publish", "--card-only"]);
    assert!(message.contains("is not the report on this model"), "{message}");
    std::fs::remove_file(home.path(path)).unwrap();
    // The manifest has the headline of the same report.
    let card = home.done(&["publish", "--card-only"]);
    let accuracy = evaluation(&site)["accuracy"]["value"].as_f64().unwrap();
    assert!(card.contains(&format!("| accuracy | {accuracy:.4} |")), "{card}");
    assert!(!card.contains("| predictions | rows |"), "{card}");
}

const CARD: [&str; 4] = ["publish", "--model", "checkpoints/tickets/model", "--card-only"];

/// Figures, and what no prediction depends on.
#[test]
fn what_was_changed_by_hand_is_not_shown_as_if_it_had_been_measured() {
    let site = Site::new();
    let folder = "checkpoints/tickets/model/bayes";
    let manifest = format!("{folder}/manifest.json");
    let read = |home: &Home, path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(home.path(path)).unwrap()).unwrap()
    };
    // White space is no change.
    let home = copied(&site);
    let mut value = read(&home, &manifest);
    home.write(&manifest, value.to_string());
    let output = home.run(&CARD);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    std::fs::remove_file(home.path(&format!("{folder}/evaluation.json"))).unwrap();
    value["test"]["accuracy"]["value"] = 0.1234.into();
    home.write(&manifest, value.to_string());
    let said = text(&home.run(&["predict", "an invoice"]).stderr);
    assert!(said.contains("manifest.json` has changed since this model was saved"), "{said}");
    let message = home.refused(&CARD);
    assert!(message.contains("manifest.json` has changed since it was saved"), "{message}");
    assert!(message.contains("delete its key"), "{message}");
    // Who means it says so, and so does the command.
    value.as_object_mut().unwrap().shift_remove("sha256");
    home.write(&manifest, value.to_string());
    home.done(&["predict", "an invoice"]);
    let output = home.run(&CARD);
    assert!(text(&output.stdout).contains("| accuracy | 0.1234 |"));
    let said = text(&output.stderr);
    assert!(said.contains("the figures of the card cannot be verified"), "{said}");
    assert!(said.contains("evaluation.json` is missing"), "{said}");

    // Figures that only the report has.
    let home = copied(&site);
    let mut report = evaluation(&site);
    report["uncertainty"]["all"]["total"] = 0.001.into();
    home.write(&format!("{folder}/evaluation.json"), report.to_string());
    assert!(home.refused(&CARD).contains("is not the report on this model"));
    let home = copied(&site);
    let config = std::fs::read_to_string(home.path(&format!("{folder}/config.toml"))).unwrap();
    home.write(&format!("{folder}/config.toml"), config.replace("0.005", "0.5"));
    let output = home.run(&CARD);
    let said = text(&output.stderr);
    assert!(said.contains("config.toml` has changed since the model was saved"), "{said}");
}

/// The files that were sent, in a home of their own.
fn sent(site: &Site, repo: &str) -> Home {
    let home = Home::new();
    for (name, file) in site.head(repo, "main").files {
        home.write(&format!("checkpoints/tickets/model/{name}"), file.content.all());
    }
    home
}

#[test]
fn what_is_published_vouches_for_itself_as_far_as_what_was_there() {
    let site = Site::new();
    site.done(&["--repo", "tester/tickets"]);
    let home = sent(&site, "tester/tickets");
    let output = home.run(&CARD);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    // One that nothing vouches for does not get a hash on its way.
    let home = copied(&site);
    let path = "checkpoints/tickets/model/bayes/manifest.json";
    let mut value: Value =
        serde_json::from_slice(&std::fs::read(home.path(path)).unwrap()).unwrap();
    value.as_object_mut().unwrap().shift_remove("sha256");
    home.write(path, value.to_string());
    let mut command = home.command(&["publish", "--repo", "tester/other"]);
    command = dress(command, &home, &site.double);
    assert!(command.status().unwrap().success());
    let home = sent(&site, "tester/other");
    let said = text(&home.run(&CARD).stderr);
    assert!(said.contains("the figures of the card cannot be verified"), "{said}");
}

/// A model that sentence-transformers reads by files of its own.
#[test]
fn files_for_other_tools_are_those_of_the_weights_or_it_is_said() {
    let site = Site::new();
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "model.pooling=mean"]);
    let model = home.path("checkpoints/tickets/model");
    let said = || {
        let output = home.run(&["predict", "--model", "checkpoints/tickets/model", "an invoice"]);
        assert!(output.status.success());
        let said = text(&output.stderr);
        // What the posterior adds is no matter of these files.
        let others = said.lines().filter(|line| !line.starts_with("no epistemic uncertainty"));
        others.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(), "");
    let names = [
        "tokenizer_config.json",
        "special_tokens_map.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/model.safetensors",
    ];
    for name in names {
        let path = model.join(name);
        let whole = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let message = said();
        assert!(message.contains(&format!("`{name}` (is missing)")), "{name}: {message}");
        let mut changed = whole.clone();
        let place = changed.len() - 3;
        if name.ends_with(".json") {
            let edits = [("true", "1"), ("0", "7"), ("32", "31"), ("[UNK]", "[X]")];
            let edited =
                edits.iter().fold(text(&whole), |all, (from, to)| all.replacen(from, to, 1));
            changed = edited.into_bytes();
        } else {
            changed[place] ^= 1;
        }
        assert_ne!(changed, whole, "{name}");
        std::fs::write(&path, &changed).unwrap();
        let message = said();
        // The map of special tokens says what they are: then the other file is wrong.
        let name = name.replace("special_tokens_map", "tokenizer_config");
        assert!(message.contains(&format!("`{name}` (has changed)")), "{name}: {message}");
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(said(), "");
    // What is sent is made from the weights.
    let expected: Vec<_> = names.map(|name| std::fs::read(model.join(name)).unwrap()).to_vec();
    std::fs::remove_file(model.join("2_Dense/model.safetensors")).unwrap();
    let pooling = std::fs::read_to_string(model.join("1_Pooling/config.json")).unwrap();
    std::fs::write(model.join("1_Pooling/config.json"), pooling.replace("true", "1")).unwrap();
    let mut command = home.command(&["publish", "--repo", "tester/mean"]);
    command = dress(command, &home, &site.double);
    let output = command.output().unwrap();
    assert!(output.status.success() && text(&output.stderr).contains("2_Dense"));
    let head = site.head("tester/mean", "main");
    let found: Vec<_> = names.map(|name| head.files[name].content.all()).to_vec();
    assert!(found == expected);
    // A head of transformers has no such files.
    let other = copied(&site);
    other.write("checkpoints/tickets/model/modules.json", "[]");
    let message = text(&other.run(&["predict", "an invoice"]).stderr);
    assert!(message.contains("`modules.json` (does not belong to it)"), "{message}");
    let plan = text(&other.run(&["publish", "--dry-run"]).stdout);
    assert!(!plan.contains("modules.json"), "{plan}");
}

#[test]
fn words_of_ones_own_are_taken_and_survive_yaml() {
    let site = Site::new();
    let card = site.done(&[
        "--card-only",
        "--set",
        "publish.widget=[\"Is: this \\\"it\\\"? # no\"]",
        "--set",
        "publish.language=[\"no\"]",
        "--set",
        "publish.authors=[\"A. Person\"]",
        "--set",
        "publish.limitations=Knows two departments.",
        "--set",
        "publish.tags=[\"support\"]",
    ]);
    assert!(card.contains("widget:\n- text: \"Is: this \\\"it\\\"? # no\"\n"), "{card}");
    assert!(card.contains("language:\n- \"no\"\n") && card.contains("- support\n"), "{card}");
    assert!(
        card.contains("By A. Person.") && card.contains("- Knows two departments.\n"),
        "{card}"
    );
    let message = site.refused(&["--card-only", "--set", "publish.licence=mit"]);
    assert!(message.contains("did you mean `publish.license`?"), "{message}");
}

#[test]
fn a_template_is_filled_and_keeps_terms_and_front_matter() {
    let site = Site::new();
    let template =
        site.home.write("card.md", "# {{ title }}\n\nAccuracy {{accuracy}} on {{rows}}.\n");
    let template = template.to_str().unwrap();
    let card = site.done(&["--card-only", "--card", template]);
    let accuracy = evaluation(&site)["accuracy"]["value"].as_f64().unwrap();
    assert!(card.starts_with("---\nlicense: other\n"), "{card}");
    assert!(card.contains("> **The terms of the data are unknown.**"), "{card}");
    assert!(card.contains(&format!("# tickets\n\nAccuracy {accuracy:.4} on ")), "{card}");
    let wrong = site.home.write("wrong.md", "{{acuracy}}");
    let message = site.refused(&["--card-only", "--card", wrong.to_str().unwrap()]);
    assert!(message.contains("`{{acuracy}}`"), "{message}");
    assert!(message.contains("did you mean `{{accuracy}}`?"), "{message}");
}

/// The snippet for `bayes` as it stands in the card, in a shell, on a machine that has nothing yet.
#[cfg(unix)]
#[test]
fn the_snippet_of_the_card_runs() {
    let site = Site::new();
    site.json(&["--repo", "tester/tickets", "--json"]);
    let card = text(&site.head("tester/tickets", "main").files["README.md"].content.all());
    let (_, rest) = card.split_once("```sh\n").unwrap();
    let (snippet, _) = rest.split_once("```").unwrap();
    assert_eq!(snippet, "bayes predict --model tester/tickets \"Your own text here\"\n");
    let elsewhere = Home::new();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_bayes")).parent().unwrap();
    let search = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let output = std::process::Command::new("sh")
        .args(["-c", snippet])
        .current_dir(elsewhere.path(""))
        .env("PATH", search)
        .env("HF_HOME", elsewhere.path("hub"))
        .env("HF_ENDPOINT", site.double.endpoint())
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("billing") || said.contains("technical"), "{said}");
}

#[test]
fn only_the_card_is_pushed_when_only_that_is_wanted() {
    let site = Site::new();
    site.json(&["--repo", "tester/tickets", "--card-only", "--json"]);
    let head = site.head("tester/tickets", "main");
    let names: Vec<&str> = head.files.keys().map(String::as_str).collect();
    assert_eq!(names, [".gitattributes", "README.md", "bayes/reliability.png"]);
}

/// Words about a spread that is not used would promise what no answer has.
#[test]
fn the_card_says_of_the_posterior_what_the_model_does_with_it() {
    let left_out = Site::new().done(&["--card-only"]);
    let home = Home::new();
    home.train_tiny(&["--quiet", "--set", "calibration.temperature=false"]);
    let used = home.done(&["publish", "--card-only"]);
    for words in [
        "says how much of the uncertainty comes from the model itself",
        "the two parts of the uncertainty",
        "Probabilities of two classes follow from it exactly",
    ] {
        assert!(used.contains(words), "{words}: {used}");
        assert!(!left_out.contains(words), "{words}: {left_out}");
    }
    assert!(left_out.contains("Probabilities are those of its mean alone"), "{left_out}");
    let printed =
        "It prints the label, its probability and the uncertainty. `--json` adds the pred";
    assert!(left_out.contains(printed), "{left_out}");
    // All of these classes share a threshold, and cross-fitted scores promise less than new ones.
    let sets = "in about 90 % or 95 % of cases; at 95 %, 2 of 2 classes share a threshold";
    assert!(left_out.contains(sets), "{left_out}");
}

/// In a shell, as it stands in the card.
#[cfg(unix)]
#[test]
fn the_snippets_of_a_model_of_pairs_have_pairs() {
    let home = Home::new();
    let mut csv = "question,reply,fits\n".to_owned();
    for row in 0..240 {
        let (ask, say) = (["invoice", "router"][row % 2], ["bill", "network"][row / 2 % 2]);
        let fits = if row % 2 == row / 2 % 2 { "yes" } else { "no" };
        csv.push_str(&format!("where is the {ask} {row},it's \"\"the\"\" {say},{fits}\n"));
    }
    let data = home.write("pairs.csv", csv);
    let mut arguments = vec!["train", data.to_str().unwrap(), "--quiet"];
    arguments.extend(super::home::TINY);
    let columns =
        ["data.text_column=question", "data.text_pair_column=reply", "data.label_column=fits"];
    arguments.extend(columns.iter().flat_map(|setting| ["--set", *setting]));
    home.done(&arguments);
    let card = home.done(&["publish", "--card-only"]);
    let (_, rest) = card.split_once("```sh\n").unwrap();
    let (snippet, _) = rest.split_once("```").unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_bayes")).parent().unwrap();
    let snippet = snippet
        .replace("bayes predict", &format!("{}/bayes predict", binary.display()))
        .replace("OWNER/NAME", "checkpoints/pairs/model");
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &snippet]).current_dir(home.path("")).output().unwrap();
    let (said, wrong) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{snippet}{wrong}");
    assert!(said.contains("yes") || said.contains("no"), "{said}");
    assert!(
        card.contains("tokenizer(\"Your own text here\", \"The text that goes with it\","),
        "{card}"
    );
}
