//! What the card says of the terms of the data, and the licence that follows.

use serde_json::Value;

use super::card::copied;
use super::home::Home;
use super::site::Site;

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
    manifest.as_object_mut().unwrap().shift_remove("sha256");
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

/// The manifest, changed by somebody who means it.
fn changed(home: &Home, folder: &str, change: impl FnOnce(&mut Value)) {
    let path = format!("{folder}/bayes/manifest.json");
    let mut manifest: Value =
        serde_json::from_slice(&std::fs::read(home.path(&path)).unwrap()).unwrap();
    manifest.as_object_mut().unwrap().shift_remove("sha256");
    change(&mut manifest);
    home.write(&path, manifest.to_string());
}

/// A fit, a training that begins with weights, a student: whatever data came before reached the model through them.
#[test]
fn the_terms_of_all_data_behind_a_model_decide_its_licence() {
    const MODEL: &str = "checkpoints/tickets/model";
    let stated = ["--set", "publish.license=mit", "--set", "publish.data_license=mit"];
    let card = |home: &Home, model: &str| {
        let publish = ["publish", "--model", model, "--card-only"];
        home.done(&[&publish[..], &stated].concat())
    };
    // As `bayes fit` writes it.
    let home = copied(&Site::new());
    changed(&home, MODEL, |manifest| manifest["data"]["dataset"] = "ag_news".into());
    home.write("mine.csv", super::home::tickets(240).replace("case", "call"));
    home.done(&["fit", "--model", MODEL, "--dataset", "mine.csv", "--output", "fitted"]);
    let fitted = card(&home, "fitted");
    let (matter, body) = fitted.split_once("\n---\n").unwrap();
    assert!(matter.contains("license: other\nlicense_name: non-commercial-data"), "{matter}");
    assert!(matter.contains("datasets:\n- fancyzhx/ag_news"), "{matter}");
    let told = "> **The data are not for commercial use.** This model was made from one trained on `ag_news` (as far \
                as known: non-commercial research";
    assert!(body.contains(told), "{body}");
    assert!(body.contains("their own part, the weights, under `mit`"), "{body}");
    assert!(body.contains("> Terms of the data `mine.csv`, as the authors"), "{body}");
    assert!(body.contains("Zhang et al. 2015, `ag_news`"), "{body}");
    let info = home.done(&["info", "--model", "fitted"]);
    let readme = std::fs::read_to_string(home.path("fitted/README.md")).unwrap();
    assert!(info.contains("`ag_news`") && readme.contains("`ag_news`"), "{info}{readme}");

    let ancestor = |dataset: &str, unlabelled: &str| {
        let data = serde_json::json!({ "dataset": dataset, "unlabelled": unlabelled });
        serde_json::json!([{ "name": "x", "data": data, "seed": 0, "parts": {} }])
    };
    let of = |change: &dyn Fn(&mut Value)| {
        let home = copied(&Site::new());
        changed(&home, MODEL, change);
        card(&home, MODEL)
    };
    let anew = |name: &str| {
        let part = serde_json::json!({ "rows": 9, "sha256": "" });
        let data = serde_json::json!({ "dataset": name });
        serde_json::json!({ "data": data, "data_labels": [], "content": part, "rows": 9 })
    };
    let teacher =
        serde_json::json!({ "name": "x", "method": "ensemble", "passes": 3, "sha256": "" });
    for (told, license, changed) in [
        (
            "This model was made from one trained on `imdb`",
            "license: other\nlicense_name: terms-of-the-data-unknown",
            of(&|manifest| manifest["lineage"] = ancestor("imdb", "")),
        ),
        (
            "This model learned from one trained on `ag_news`",
            "license: other\nlicense_name: non-commercial-data",
            of(&|manifest| {
                manifest["teacher"] = teacher.clone();
                manifest["lineage"] = ancestor("ag_news", "");
            }),
        ),
        (
            "This model was made from one that learned from texts of `ag_news`",
            "license: other\nlicense_name: non-commercial-data",
            of(&|manifest| manifest["lineage"] = ancestor("reviews", "ag_news")),
        ),
        (
            "This model learned from texts of `ag_news`",
            "license: other\nlicense_name: non-commercial-data",
            of(&|manifest| manifest["data"]["unlabelled"] = "ag_news".into()),
        ),
        (
            "This model was calibrated anew by rows of `ag_news`",
            "license: other\nlicense_name: non-commercial-data",
            of(&|manifest| manifest["recalibrated"] = anew("ag_news")),
        ),
    ] {
        assert!(changed.contains(told) && changed.contains(license), "{told}: {changed}");
    }
    // Open terms restrict nothing, and whom to cite is said.
    let open = of(&|manifest| manifest["lineage"] = ancestor("clinc/clinc_oos", ""));
    assert!(open.starts_with("---\nlicense: mit\n"), "{open}");
    assert!(open.contains("Larson et al. 2019, `clinc_oos`"), "{open}");
    assert!(!open.contains("not for commercial use") && !open.contains("are unknown.**"), "{open}");
}
