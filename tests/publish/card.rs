//! The model card.

use serde_json::Value;

use super::home::{Home, text};
use super::site::Site;

fn evaluation(site: &Site) -> Value {
    let path = site.home.path("checkpoints/tickets/model/bayes/evaluation.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The model in a home of its own, to be changed.
fn copied(site: &Site) -> Home {
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
    assert!(card.contains("this model does not say, since its posterior is left out"), "{card}");
    assert!(card.contains("| answers | rows | total |\n"), "{card}");
    let train = &evaluation["parts"]["train"];
    assert_eq!(train["rows"], 168);
    assert!(card.contains("`billing` 84 (50.0 %), `technical` 84 (50.0 %)"), "{card}");
    assert!(card.contains("Tested on 24 rows: they say that the accuracy lies between"), "{card}");
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
    assert!(!card.contains("| answers | rows |"), "{card}");
}

#[test]
fn terms_that_nobody_knows_stand_in_the_first_lines() {
    let site = Site::new();
    let card = site.done(&["--card-only", "--set", "publish.license=mit"]);
    assert!(
        card.starts_with("---\nlicense: other\nlicense_name: terms-of-the-data-unknown\n"),
        "{card}"
    );
    let (_, body) = card.split_once("\n---\n").unwrap();
    let first: Vec<&str> = body.lines().filter(|line| !line.is_empty()).take(2).collect();
    assert!(first[1].starts_with("> **The terms of the data are unknown.**"), "{first:?}");
    assert!(first[1].contains("under `mit`"), "{first:?}");
    assert!(!card.contains("base_model") && !card.contains("datasets:"), "{card}");
    let stated =
        ["--card-only", "--set", "publish.license=mit", "--set", "publish.data_license=ours"];
    let card = site.done(&stated);
    assert!(card.starts_with("---\nlicense: mit\nlibrary_name: transformers\n"), "{card}");
    assert!(card.contains("> Terms of the data `tickets.csv`, as the authors of the model state"));
    let none = site.done(&["--card-only", "--set", "publish.data_license=ours"]);
    assert!(
        none.contains("license_name: none-chosen") && none.contains("**No licence was chosen.**")
    );
}

#[test]
fn a_known_data_set_brings_its_id_its_terms_and_texts_that_are_not_from_it() {
    let home = copied(&Site::new());
    let path = "checkpoints/tickets/model/bayes/manifest.json";
    let mut manifest: Value =
        serde_json::from_slice(&std::fs::read(home.path(path)).unwrap()).unwrap();
    manifest["data"]["dataset"] = "ag_news".into();
    manifest["base_model"] = "owner/encoder".into();
    home.write(path, manifest.to_string());
    let card = home.done(&["publish", "--card-only", "--set", "publish.license=apache-2.0"]);
    let (matter, body) = card.split_once("\n---\n").unwrap();
    for line in [
        "language:\n- en",
        "license: other\nlicense_name: non-commercial-data",
        "base_model: owner/encoder\nbase_model_relation: finetune",
        "datasets:\n- fancyzhx/ag_news",
        "      type: fancyzhx/ag_news\n      name: ag_news\n      split: test",
        "- text: Striker signs a three-year contract",
    ] {
        assert!(matter.contains(line), "{line}: {matter}");
    }
    assert!(body.contains("> **The data are not for commercial use.**"), "{body}");
    assert!(body.contains("under `apache-2.0`") && body.contains("The data: Zhang et al. 2015"));
    assert!(body.contains("tokenizer(\"Striker signs a three-year contract"), "{body}");
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
