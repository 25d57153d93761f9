//! Which rows a fit takes, and what is wrong with them.

use super::*;

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
    // Whoever reads the card learns it too, also of what is made from the model and keeps its last layer.
    let missing = "without a training row of `shipping`, so the model will rarely predict it";
    let card = |model: &str| home.done(&["publish", "--model", model, "--card-only"]);
    assert!(card("two").contains(missing), "{}", card("two"));
    assert!(!card(MODEL).contains("without a training row"));
    let all = home.write("all.csv", requests(400).replace("case", "call"));
    let all = all.to_str().unwrap();
    home.done(&["fit", "--model", "two", "--dataset", all, "--keep-head", "--output", "kept"]);
    assert!(card("kept").contains(missing), "{}", card("kept"));
    home.done(&["fit", "--model", "two", "--dataset", all, "--output", "anew"]);
    assert!(!card("anew").contains(missing), "{}", card("anew"));
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
