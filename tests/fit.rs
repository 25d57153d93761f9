//! `bayes fit` as a user runs it.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "these tests train on data of their own")]
mod home;

use std::collections::BTreeMap;
use std::path::PathBuf;

use home::{Home, TINY};
use safetensors::SafeTensors;
use serde_json::Value;

/// Requests to three departments; every tenth went to the wrong one.
fn requests(rows: usize) -> String {
    let things = ["invoice", "router", "parcel"];
    let mut csv = "subject,department\n".to_owned();
    for row in 0..rows {
        let department = if row % 10 == 0 { row + 1 } else { row } % 3;
        let (thing, department) =
            (things[row % 3], ["billing", "technical", "shipping"][department]);
        csv.push_str(&format!("\"please look at my {thing}, case {row}\",{department}\n"));
    }
    csv
}

/// A model of method `map`, and the data it was trained on.
fn trained() -> (Home, PathBuf) {
    let home = Home::new();
    let data = home.write("requests.csv", requests(400));
    let mut arguments = vec!["train", data.to_str().unwrap(), "--set", "posterior.method=map"];
    arguments.extend(TINY);
    home.done(&arguments);
    (home, data)
}

const MODEL: &str = "checkpoints/requests/model";

fn tensors(home: &Home, file: &str) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(home.path(file)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

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
    assert!(card.contains("The posterior was fitted on `train`"), "{card}");
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

#[test]
fn classes_that_the_rows_of_a_fit_lack_are_said_and_one_class_is_refused() {
    let (home, _) = trained();
    let some = |name: &str, without: &[&str]| {
        let all = requests(400);
        let rows = all.lines().filter(|line| !without.iter().any(|class| line.ends_with(class)));
        let rows: Vec<&str> = rows.collect();
        home.write(name, rows.join("\n")).to_str().unwrap().to_owned()
    };
    let two = some("two.csv", &["shipping"]);
    let output = home.run(&["fit", "--model", MODEL, "--dataset", &two, "--output", "two"]);
    let said = home::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("no training row of `shipping`") && said.contains("--keep-head"),
        "{said}"
    );
    // The data have two classes, and their training rows have one.
    let one = some("one.csv", &["shipping", "technical"]);
    home.write("split/train.csv", std::fs::read(&one).unwrap());
    home.write("split/test.csv", std::fs::read(&two).unwrap());
    let message = home.refused(&["fit", "--model", MODEL, "--dataset", "split", "--output", "one"]);
    assert!(
        message.contains("only one label, `billing`") && message.contains("--keep-head"),
        "{message}"
    );
}

/// Hours may lie between the first look at the folder and the model that takes its place.
#[test]
fn what_came_into_the_model_folder_since_the_work_began_is_not_replaced() {
    use bayes::artifact::{self, ArtifactError, Records};

    let (home, _) = trained();
    let folder = home.path(MODEL);
    let artifact = artifact::load(&folder, &candle_core::Device::Cpu).unwrap();
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

/// A quarter of the unclear requests are urgent, and nothing else is.
fn skewed(rows: usize) -> String {
    let mut csv = "subject,kind\n".to_owned();
    for row in 0..rows {
        let thing = if row % 4 == 0 { "an unclear" } else { "a clear" };
        let kind = if row % 16 == 0 { "urgent" } else { "usual" };
        csv.push_str(&format!("\"this is {thing} matter, case {row}\",{kind}\n"));
    }
    csv
}

/// Balanced weights make an unclear request urgent: 1/4 of them weighs more than 3/4 of usual ones.
#[test]
fn class_weights_last_through_the_fit_of_the_last_layer() {
    let home = Home::new();
    let data = home.write("matters.csv", skewed(640));
    let train = |name: &str, more: &[&str]| {
        let set = format!("name={name}");
        let mut arguments = vec!["train", data.to_str().unwrap(), "--quiet", "--set", &set];
        arguments.extend(TINY);
        arguments.extend(["--set", "train.num_train_epochs=12", "--set", "train.baseline=false"]);
        arguments.extend(more);
        home.done(&arguments);
        format!("checkpoints/{name}/model")
    };
    let urgent = |model: &str| {
        let text = "this is an unclear matter, case 3";
        let answer = json(&home.done(&["predict", "--model", model, "--json", text]));
        answer["label"] == "urgent"
    };
    let card = |model: &str| home.done(&["publish", "--model", model, "--card-only"]);
    let said = "Rows of rare classes counted more where it was fitted";
    let plain = train("plain", &[]);
    assert!(!urgent(&plain) && !card(&plain).contains(said));
    let balanced = ["--set", "train.class_weights=balanced"];
    let laplace = train("balanced", &balanced);
    assert!(urgent(&laplace), "the refit takes the class weights back");
    assert!(card(&laplace).contains(said), "{}", card(&laplace));
    let both = ["--set", "train.class_weights=balanced", "--set", "calibration.vector=true"];
    let message = home.refused(&[&["train", data.to_str().unwrap()], &both[..]].concat());
    assert!(message.contains("`calibration.vector`"), "{message}");
    let map = train("point", &[&balanced[..], &["--set", "posterior.method=map"]].concat());
    assert!(urgent(&map));
    home.done(&[
        "fit",
        "--model",
        &map,
        "--method",
        "laplace",
        "--output",
        "checkpoints/again/model",
    ]);
    assert!(urgent("checkpoints/again/model"), "`bayes fit` forgets the class weights");
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
    assert!(said.contains("`b/fitted` has the model `net`, which is replaced"), "{said}");
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

#[test]
fn rows_of_a_fit_are_divided_as_its_keys_say_and_what_is_refused_names_what_works() {
    let (home, data) = trained();
    let data = data.to_str().unwrap();
    let rows = |more: &[&str]| {
        let start = ["fit", "--json", "--model", MODEL, "--output", "out", "--dataset", data];
        json(&home.done(&[&start[..], more].concat()))["rows"]["temperature"].clone()
    };
    let usual = rows(&[]).as_u64().unwrap();
    let more = rows(&["--set", "data.calibration_fraction=0.2"]).as_u64().unwrap();
    // Rows that the encoder was trained on do not calibrate.
    assert!(more > usual, "{usual} {more}");
    let refused = |more: &[&str]| home.refused(&[&["fit", "--model", MODEL][..], more].concat());
    let message = refused(&["--set", "posterior.method=map"]);
    assert!(message.contains("use `--method map`"), "{message}");
    let message = refused(&["--set", "train.seed=3"]);
    assert!(message.contains("`data.calibration_fraction`"), "{message}");
    // An encoder without dropout.
    let config = home.path(MODEL).join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(config).unwrap()).unwrap();
    for (key, value) in config.as_object_mut().unwrap() {
        if key.contains("dropout") {
            *value = 0.0.into();
        }
    }
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        home.write(&format!("dry/{name}"), std::fs::read(home.path(MODEL).join(name)).unwrap());
    }
    home.write("dry/config.json", config.to_string());
    let dry = ["fit", "--model", "dry", "--dataset", data, "--method", "mc_dropout"];
    let mut command = home.command(&dry);
    let output = command.env("RUST_BACKTRACE", "1").output().unwrap();
    let said = home::text(&output.stderr);
    assert!(said.contains("needs dropout before the last layer"), "{said}");
    assert!(!said.contains("   0: ") && !said.contains("columns:"), "{said}");
}

/// What was read as the model's classes in the fit is read so when its rows are looked up.
#[test]
fn rows_of_a_fit_whose_labels_were_spelt_otherwise_are_known_again() {
    let (home, _) = trained();
    let spelt = home.write("spelt.csv", requests(400).replace(",shipping", ",SHIPPING"));
    let spelt = spelt.to_str().unwrap();
    home.done(&["fit", "--model", MODEL, "--dataset", spelt, "--output", "out"]);
    let other = home.write("other.csv", requests(60));
    let output = home.run(&["eval", "--model", "out", "--dataset", other.to_str().unwrap()]);
    let said = home::text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("it is unknown which"), "{said}");
}
