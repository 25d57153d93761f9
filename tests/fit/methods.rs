//! What each method makes of a network, and what it leaves as it was.

use super::*;

#[test]
fn a_classifier_gets_a_posterior_and_keeps_its_encoder() {
    let (home, _) = trained();
    let methods = "laplace,map,mc_dropout";
    let report = json(&home.done(&["fit", "--model", MODEL, "--method", methods, "--json"]));
    let names: Vec<&str> =
        report["scores"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["before", "laplace", "map", "mc_dropout"]);
    assert!(report["encoded"].as_u64().unwrap() > 300);
    // `map` is what was there before, with a temperature fitted on the same rows.
    let nll = |place: usize| report["scores"][place]["test"]["nll"]["value"].as_f64().unwrap();
    assert!((nll(0) - nll(2)).abs() < 1e-9);
    let evidence = &report["scores"][1]["fitted"]["evidence"];
    assert_eq!(evidence["converged"], true, "{evidence}");

    let fitted = "checkpoints/requests-laplace/model";
    assert_eq!(report["model"], fitted);
    let (before, after) = (
        tensors(&home, &format!("{MODEL}/model.safetensors")),
        tensors(&home, &format!("{fitted}/model.safetensors")),
    );
    let moved: Vec<&str> = before
        .iter()
        .filter(|(name, bytes)| after[*name] != **bytes)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(moved, ["classifier.bias", "classifier.weight"]);
    assert_eq!(before.len(), after.len());
    let posterior = tensors(&home, &format!("{fitted}/bayes/posterior.safetensors"));
    let names: Vec<&str> = posterior.keys().map(String::as_str).collect();
    assert_eq!(names, ["draws", "full.root", "prior_precision", "scale", "temperature"]);

    let object = json(&home.done(&["predict", "--model", fitted, "--json", "the invoice"]));
    let details = &object["uncertainty_details"];
    assert_eq!(details["method"], "laplace");
    let part = |name: &str| details[name].as_f64();
    match (part("aleatoric"), part("epistemic")) {
        (Some(aleatoric), Some(epistemic)) => {
            assert!((aleatoric + epistemic - part("total").unwrap()).abs() < 1e-12, "{details}");
        }
        // The variance is left out: nothing is claimed of its part.
        parts => assert_eq!(parts, (None, None), "{details}"),
    }
    // The evaluation of the folder is the row of the table.
    let metrics = json(&home.done(&["eval", "--model", fitted, "--json"]));
    assert!((metrics["nll"]["value"].as_f64().unwrap() - nll(1)).abs() < 1e-9);
}

/// Whoever divides the logits by themselves gets a temperature that was fitted to them: the other belongs with the
/// variance, and is smaller.
#[test]
fn a_variance_that_is_used_leaves_a_temperature_for_the_logits_alone() {
    let (home, _) = trained();
    let fit = |output: &str, more: &[&str]| -> (Value, String) {
        home.done(&[&["fit", "--model", MODEL, "--output", output][..], more].concat());
        let text = |name: &str| std::fs::read_to_string(home.path(output).join(name)).unwrap();
        (json(&text("bayes/manifest.json")), text("README.md"))
    };
    let (manifest, readme) = fit("alone", &["--keep-head", "--set", "calibration.scale=gain"]);
    assert!(manifest["point_temperature"].is_null(), "{manifest}");
    assert!(readme.contains("Divide the logits by the temperature in"), "{readme}");
    let alone = manifest["temperature"].as_f64().unwrap();
    let (manifest, readme) = fit("scaled", &["--keep-head", "--set", "calibration.scale=20"]);
    let (point, with) = (&manifest["point_temperature"], &manifest["temperature"]);
    assert!((point.as_f64().unwrap() - alone).abs() < 1e-9, "{point} {alone}");
    assert!(with.as_f64().unwrap() < alone, "{with} {alone}");
    assert!(readme.contains(&format!("Divide the logits by {alone:.6}, ")), "{readme}");
    let card = home.done(&["publish", "--model", "scaled", "--card-only"]);
    assert!(card.contains(&format!("logits / {alone:.6}")), "{card}");
    assert!(card.contains("the temperature was fitted on"), "{card}");
    assert!(readme.contains("holds the posterior mean") && readme.contains("The covariance is"));
    // What a model does not have is not spoken of.
    let (_, readme) = fit("plain", &["--method", "map", "--set", "calibration.temperature=false"]);
    assert!(
        readme.contains("holds the trained weights. Its logits are used as they are"),
        "{readme}"
    );
    assert!(!readme.contains("covariance"), "{readme}");
    let card = home.done(&["publish", "--model", "plain", "--card-only"]);
    assert!(card.contains("No temperature was fitted"), "{card}");
    assert!(
        !card.contains("temperature was fitted on") && !card.contains("temperature scaling, w")
    );
}

#[test]
fn features_are_encoded_once_and_give_the_same_bytes_on_any_number_of_threads() {
    let (home, _) = trained();
    let fit = |threads: &str, output: &str| {
        let arguments =
            ["fit", "--model", MODEL, "--output", output, "--threads", threads, "--json"];
        json(&home.done(&arguments))
    };
    let first = fit("1", "one");
    assert!(first["encoded"].as_u64().unwrap() > 0);
    let again = fit("2", "two");
    assert_eq!(again["encoded"], 0);
    for file in ["model.safetensors", "bayes/posterior.safetensors"] {
        let bytes = |folder: &str| std::fs::read(home.path(folder).join(file)).unwrap();
        assert!(bytes("one") == bytes("two"), "{file}");
    }
    let features = std::fs::read_dir(home.path("cache/features")).unwrap();
    assert_eq!(features.count(), 4, "training, temperature, conformal and test part");
}

#[test]
fn a_head_that_is_kept_is_the_file_that_was_there() {
    let (home, data) = trained();
    let arguments = ["fit", "--model", MODEL, "--keep-head", "--limit", "60", "--json"];
    let report = json(&home.done(&arguments));
    assert_eq!(report["rows"]["train"], 60);
    let file = |folder: &str| std::fs::read(home.path(folder).join("model.safetensors")).unwrap();
    assert!(file(MODEL) == file("checkpoints/requests-laplace/model"));

    // A folder without our files, as transformers would have written it.
    std::fs::remove_dir_all(home.path(MODEL).join("bayes")).unwrap();
    let message = home.refused(&["fit", "--model", MODEL]);
    assert!(message.contains("give a data set with `--dataset`"), "{message}");
    let table = home.done(&[
        "fit",
        "--model",
        MODEL,
        "--dataset",
        data.to_str().unwrap(),
        "--output",
        "foreign",
    ]);
    assert!(table.contains("before") && table.contains("laplace"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    home.done(&["predict", "--model", "foreign", "my parcel"]);
}

#[test]
fn passes_with_dropout_answer_alike_alone_and_in_company_and_are_counted() {
    let (home, _) = trained();
    let start = ["fit", "--model", MODEL, "--output", "passes"];
    let refused = |more: &[&str], part: &str| {
        let message = home.refused(&[&start, more].concat());
        assert!(message.contains(part), "{message}");
    };
    refused(&["--set", "posterior.num_samples=8"], "add `mc_dropout` to `--method`");
    refused(&["--method", "swag"], "`bayes fit` does not fine-tune");
    refused(&["--method", "ivon"], "`bayes fit` does not fine-tune");
    refused(&["--method", "ensemble"], "trains several networks, and `bayes fit` trains none");
    refused(&["--method", "distil"], "trains a network on what a teacher says");
    let sampled = ["--method", "mc_dropout", "--set", "posterior.num_samples=8", "--set"];
    refused(
        &[&sampled[..], &["posterior.stochastic_layers=9"]].concat(),
        "the encoder has 1 layer",
    );
    refused(&[&sampled[..], &["train.seed=1"]].concat(), "takes only keys of [posterior]");
    refused(&["--set", "calibration.vector=true"], "needs 50 temperature rows of each class");
    // Without a temperature the spread of the passes is taken as it is, and not only where so few rows
    // show that it helps.
    let uncalibrated = ["posterior.stochastic_layers=1", "--set", "calibration.temperature=false"];
    home.done(&[&start, &sampled[..], &uncalibrated].concat());
    let posterior = tensors(&home, "passes/bayes/posterior.safetensors");
    let names: Vec<&str> = posterior.keys().map(String::as_str).collect();
    assert_eq!(names, ["passes.layers", "passes.samples", "scale", "temperature"]);

    let object = |text: &str| home.done(&["predict", "--model", "passes", "--json", text]);
    let alone = json(&object("my invoice"));
    let details = &alone["uncertainty_details"];
    assert_eq!(
        (&details["method"], &details["num_samples"]),
        (&json("\"mc_dropout\""), &json("8"))
    );
    assert!(details["epistemic"].as_f64().unwrap() > 0.0, "{details}");
    let input = home.write("two.csv", "text\na router\nmy invoice\n");
    let both =
        home.done(&["predict", "--model", "passes", "--json", "--input", input.to_str().unwrap()]);
    let second = json(both.lines().nth(1).unwrap());
    assert_eq!(second["probabilities"], alone["probabilities"]);
    assert_eq!(second["uncertainty_details"], alone["uncertainty_details"]);
}

#[test]
fn adapters_of_the_top_layers_are_fitted_to_a_network_that_stays() {
    let (home, _) = trained();
    let own =
        ["posterior.num_samples=3", "posterior.adapter_rank=2", "posterior.stochastic_layers=9"];
    let start = ["fit", "--model", MODEL, "--output", "adapted", "--method", "lora_laplace"];
    let [samples, rank, deep] = own.map(|key| ["--set", key]);
    let message = home.refused(&[&start[..], &deep].concat());
    assert!(message.contains("the encoder has 1 layer"), "{message}");
    let said = home.done(&[&start[..], &samples, &rank].concat());
    assert!(said.contains("lora_laplace"), "{said}");
    let weights = |model: &str| std::fs::read(home.path(model).join("model.safetensors")).unwrap();
    assert!(weights("adapted") == weights(MODEL), "the network is the mean");
    let posterior = tensors(&home, "adapted/bayes/posterior.safetensors");
    for name in ["top.samples", "top.layers", "top.drawn.classifier.weight"] {
        assert!(posterior.contains_key(name), "{name}: {:?}", posterior.keys());
    }
    let alone = json(&home.done(&["predict", "--model", "adapted", "--json", "my invoice"]));
    let details = &alone["uncertainty_details"];
    assert_eq!(details["method"], json("\"lora_laplace\""));
    assert!(details["epistemic"].as_f64().unwrap() >= 0.0, "{details}");
    let input = home.write("top.csv", "text\na router\nmy invoice\n");
    let input = input.to_str().unwrap();
    let both = home.done(&["predict", "--model", "adapted", "--json", "--input", input]);
    let second = json(both.lines().nth(1).unwrap());
    assert_eq!(second["probabilities"], alone["probabilities"]);
    // Another method is fitted to it as to any network.
    let again = ["fit", "--model", "adapted", "--output", "plain", "--method", "map"];
    home.done(&again);
    assert!(weights("plain") == weights(MODEL));
}

#[test]
fn what_fits_no_last_layer_says_nothing_of_one() {
    let home = Home::new();
    let data = home.write("requests.csv", requests(400));
    let mut arguments = vec!["train", data.to_str().unwrap(), "--set", "posterior.method=map"];
    arguments.extend(TINY);
    home.done(&arguments);
    for method in ["map", "mc_dropout", "map,mc_dropout"] {
        let message = home.refused(&["fit", "--model", MODEL, "--method", method, "--keep-head"]);
        assert!(message.contains("`--keep-head`") && message.contains("`m"), "{message}");
    }
    home.done(&["fit", "--model", MODEL, "--method", "map,laplace", "--keep-head"]);
    let two: String = requests(400)
        .lines()
        .filter(|line| !line.ends_with("shipping"))
        .map(|line| format!("{line}\n"))
        .collect();
    let two = home.write("two.csv", two);
    let said = |method: &str| {
        let arguments =
            ["fit", "--model", MODEL, "--dataset", two.to_str().unwrap(), "--method", method];
        let output = home.run(&arguments);
        assert!(output.status.success());
        home::text(&output.stderr).contains("the last layer is fitted without")
    };
    assert!(!said("map") && said("laplace"));
}

#[test]
fn a_layer_of_its_own_predicts_and_the_last_layer_is_a_stand_in() {
    let (home, _) = trained();
    let start = ["fit", "--model", MODEL, "--json"];
    let keys = [
        "posterior.sngp_features=64",
        "posterior.vbll_rank=2",
        // The variance is taken as it is, and not only where so few rows show that it helps.
        "calibration.temperature=false",
    ];
    let keys: Vec<&str> = keys.iter().flat_map(|&key| ["--set", key]).collect();
    let fit = |more: &[&str]| json(&home.done(&[&start, &keys[..], more].concat()));
    let report = fit(&["--method", "sngp,vbll", "--output", "process"]);
    for score in report["scores"].as_array().unwrap() {
        let accuracy = score["test"]["accuracy"]["value"].as_f64().unwrap();
        assert!(accuracy > 0.8, "every tenth label is wrong: {score}");
    }
    let read = |file: &str| std::fs::read_to_string(home.path("process").join(file)).unwrap();
    let manifest = json(&read("bayes/manifest.json"));
    assert_eq!(
        (&manifest["method"], &manifest["transformers"]),
        (&json("\"sngp\""), &json("\"stand-in\""))
    );
    assert!(read("README.md").contains("The last layer holds a stand-in"));
    let posterior = tensors(&home, "process/bayes/posterior.safetensors");
    assert!(posterior.contains_key("fourier.frequencies") && posterior.contains_key("common.root"));
    let object = json(&home.done(&["predict", "--model", "process", "--json", "my invoice"]));
    assert!(object["uncertainty_details"]["epistemic"].as_f64().unwrap() > 0.0, "{object}");
    // A fit of a model whose layer it was leaves none behind.
    let again = ["fit", "--model", "process", "--method", "map", "--output", "plain", "--json"];
    home.done(&again);
    let posterior = tensors(&home, "plain/bayes/posterior.safetensors");
    assert!(posterior.keys().all(|name| !name.starts_with("fourier")), "{:?}", posterior.keys());
    let manifest = std::fs::read_to_string(home.path("plain/bayes/manifest.json")).unwrap();
    assert_eq!(json(&manifest)["transformers"], "posterior mean");

    let message = home.refused(&["fit", "--model", MODEL, "--method", "sngp", "--keep-head"]);
    assert!(message.contains("`sngp` predicts with a layer of its own"), "{message}");
    home.done(&[&start[..], &["--method", "vbll", "--keep-head", "--output", "kept"]].concat());
    let file = |folder: &str| std::fs::read(home.path(folder).join("model.safetensors")).unwrap();
    assert!(file(MODEL) == file("kept"));
}
