//! The numbers that layers multiply.

use bayes::compute::Precision;
use serde_json::Value;

use crate::home::{Home, text};

fn confidence(output: &[u8]) -> (String, f64) {
    let answer: Value = serde_json::from_str(&text(output)).unwrap();
    (answer["label"].to_string(), answer["confidence"].as_f64().unwrap())
}

#[test]
fn a_precision_is_near_f32_and_said_or_refused_with_what_the_cpu_lacks() {
    let home = Home::new();
    home.train_tiny(&[]);
    let ask = |precision: &str| {
        home.run(&["predict", "--json", "--precision", precision, "my router is broken"])
    };
    let (label, exact) = confidence(&ask("f32").stdout);
    for precision in Precision::ALL.into_iter().filter(|&one| one != Precision::F32) {
        let output = ask(&precision.to_string());
        let told = text(&output.stderr);
        if let Err(why) = precision.check() {
            assert_eq!(output.status.code(), Some(2));
            let flag = format!("--precision {precision}");
            assert!(told.contains(&why) && told.contains(&flag), "{told}");
            continue;
        }
        assert!(told.contains("were fitted in f32"), "{told}");
        let (same, found) = confidence(&output.stdout);
        assert_eq!(label, same);
        assert!(exact != found && (exact - found).abs() < 0.02, "{precision}: {exact} {found}");
        // A report says what its figures are of.
        let eval = ["eval", "--no-baseline", "--precision", &precision.to_string()];
        let heading = format!("test, {precision} without a certificate: ");
        assert!(home.done(&eval).contains(&heading), "{heading}");
        let report: Value =
            serde_json::from_str(&home.done(&[&eval[..], &["--json"]].concat())).unwrap();
        assert_eq!(report["precision"], precision.to_string());
        // The environment says it for all commands that predict.
        let mut command = home.command(&["predict", "--json", "my router is broken"]);
        let output = command.env("BAYES_PRECISION", precision.to_string()).output().unwrap();
        assert_eq!(confidence(&output.stdout).1, found);
    }
}

/// The precisions beside f32 that this CPU has instructions for.
fn lower() -> Vec<Precision> {
    Precision::available().filter(|one| !one.is_f32()).collect()
}

fn named(precisions: &[Precision]) -> String {
    let names: Vec<String> = precisions.iter().map(|one| format!("\"{one}\"")).collect();
    format!("calibration.precisions=[{}]", names.join(","))
}

/// A model whose every row trained the last layer, on an encoder that other rows trained.
fn crossed(home: &Home, more: &[&str]) -> String {
    home.train_tiny(&["--set", "name=encoder"]);
    home.write("tickets.csv", crate::home::tickets(240).replace("case", "bug"));
    let train = ["train", "tickets.csv", "--init", "checkpoints/encoder/model"];
    home.done(&[&train[..], &["--set", "train.recipe=head"], more].concat())
}

#[test]
fn training_certifies_a_precision_and_a_quantised_folder_answers_as_the_model_does() {
    let home = Home::new();
    let lower = lower();
    let lower_is_empty = lower.is_empty();
    let trained = crossed(&home, &["--set", &named(&lower)]);
    let words: Vec<&str> = trained.split_whitespace().collect();
    assert_eq!(words.join(" ").contains(" in f32"), !lower.is_empty(), "{trained}");
    let model = "checkpoints/tickets/model";
    let whole =
        |model: &str| std::fs::metadata(home.path(model).join("model.safetensors")).unwrap().len();
    let ask = |more: &[&str]| {
        let asked = ["predict", "--json", "my router is broken"];
        home.run(&[&asked[..], more].concat())
    };
    let (_, exact) = confidence(&ask(&["--model", model, "--precision", "f32"]).stdout);
    let info: Value =
        serde_json::from_str(&home.done(&["info", "--model", model, "--json"])).unwrap();
    for precision in lower {
        let name = precision.to_string();
        let certificate = &info["certificates"][&name];
        assert!(certificate["rows"].as_u64().unwrap() >= 100, "{certificate}");
        assert!(certificate["coverage"]["least"].as_f64().unwrap() < 0.9);
        assert!(certificate["novelty_auroc"]["f32"].as_f64().unwrap() > 0.0);
        assert_eq!(info["verdicts"][&name]["granted"], true, "{info}");

        let output = ask(&["--model", model, "--precision", &name]);
        let (_, found) = confidence(&output.stdout);
        assert!(found != exact && text(&output.stderr).is_empty(), "{}", text(&output.stderr));
        let stored = format!("checkpoints/tickets-{name}/model");
        let told = home.done(&["quantize", "--model", model, "--precision", &name]);
        assert!(told.contains(&stored) && told.contains("granted"), "{told}");
        // The same bits, and without being asked for.
        for more in [&["--model", &stored][..], &["--model", &stored, "--precision", &name]] {
            let output = ask(more);
            assert_eq!(confidence(&output.stdout).1, found, "{name}");
            assert!(text(&output.stderr).is_empty());
        }
        assert!(whole(&stored) < whole(model) * 6 / 10, "{}", whole(&stored));
        let eval = home.done(&["eval", "--no-baseline", "--model", &stored]);
        assert!(eval.contains(&format!("test, {name} with a certificate: ")), "{eval}");
        // In f32 it is told that nothing was fitted to that.
        let output = ask(&["--model", &stored, "--precision", "f32"]);
        assert!(text(&output.stderr).contains(&format!("were fitted in {name}")));

        let again = home.refused(&["quantize", "--model", &stored, "--precision", &name]);
        assert!(again.contains("is stored in"), "{again}");
        let fit = home.refused(&["fit", "--model", &stored]);
        assert!(fit.contains("computes in f32"), "{fit}");
        let readme = std::fs::read_to_string(home.path(&stored).join("README.md")).unwrap();
        let integers = precision == Precision::Int8;
        assert_eq!(readme.contains("only `bayes` loads this folder"), integers);
        // Nothing else takes integers for weights: see `tests/python/check_transformers.py`.
        let config = home.path(&stored).join("config.json");
        let written: Value =
            serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
        assert_eq!(written["quantization_config"]["bayes"] == "int8", integers, "{written}");
        // Calibrated anew its weights stay, and so does what was found of them.
        home.write("new.csv", crate::home::tickets(120).replace("please", "kindly"));
        let anew = format!("anew-{name}");
        let arguments = ["recalibrate", "--model", &stored, "--dataset", "new.csv"];
        home.done(&[&arguments[..], &["--output", &anew]].concat());
        let told = home.done(&["info", "--model", &anew]);
        let shown = format!("Certificate for {name}: granted.");
        assert!(told.contains(&shown), "{told}");
        assert!(told.contains("It was checked before the model was recalibrated"), "{told}");
        let json: Value =
            serde_json::from_str(&home.done(&["info", "--model", &anew, "--json"])).unwrap();
        assert_eq!(json["certificates"][&name], *certificate);
        let verdict = &json["verdicts"][&name];
        assert!(verdict["granted"] == true && verdict["before_recalibration"] == true, "{verdict}");
        let eval = home.done(&["eval", "--no-baseline", "--model", &anew]);
        let heading = format!("test, {name} with a certificate of before its recalibration: ");
        assert!(eval.contains(&heading), "{eval}");
        let config = std::fs::read_to_string(home.path(&anew).join("config.json")).unwrap();
        assert_eq!(config.contains("quantization_config"), integers);
        // What was fitted at the precision is part of what is verified.
        let fitted = home.path(model).join(format!("bayes/{name}/calibration.safetensors"));
        let bytes = std::fs::read(&fitted).unwrap();
        std::fs::write(&fitted, &bytes[1..]).unwrap();
        let damaged = home.refused(&["predict", "--model", model, "x"]);
        assert!(damaged.contains("has changed since this model was saved"), "{damaged}");
        std::fs::write(&fitted, bytes).unwrap();
    }
    // Wherever figures stand beside it, that they are those of f32 is said.
    let answers_otherwise = Precision::available().count() > 1;
    let readme = std::fs::read_to_string(home.path(model).join("README.md")).unwrap();
    let said = readme.contains("test rows, measured in f32: accuracy");
    assert_eq!(said, answers_otherwise, "{readme}");
    let card = home.done(&["publish", "--model", model, "--card-only"]);
    let said = card.contains("split `test`, measured in f32, with 95 %");
    assert_eq!(said, answers_otherwise, "{card}");
    // The fastest that is granted.
    let fastest = Precision::available().last().unwrap().to_string();
    let (_, own) = confidence(&ask(&["--model", model]).stdout);
    let (_, named) = confidence(&ask(&["--model", model, "--precision", &fastest]).stdout);
    assert_eq!(own, named);
    // A new fit has no certificate.
    let fit = home.run(&["fit", "--model", model, "--output", "fitted"]);
    let told = text(&fit.stderr);
    let lost = told.contains("answers in f32 from now on; to fit and check it again, add `--set");
    assert!(fit.status.success() && lost != lower_is_empty, "{told}");
    let info = home.done(&["info", "--model", "fitted"]);
    assert!(info.contains("No precision but this one was checked"), "{info}");
}

#[test]
fn a_saved_model_is_checked_by_the_rows_that_calibrated_it() {
    let home = Home::new();
    crossed(&home, &[]);
    let Some(precision) = lower().pop().map(|one| one.to_string()) else {
        let told = home.refused(&["quantize", "--precision", "int8"]);
        return assert!(told.contains("this CPU has no"), "{told}");
    };
    let crossed = home.refused(&["quantize", "--precision", &precision]);
    let lower: Vec<String> = lower().iter().map(|one| format!("\"{one}\"")).collect();
    let key = format!("'calibration.precisions=[{}]'", lower.join(", "));
    assert!(crossed.contains("cross-fitting") && crossed.contains(&key), "{crossed}");

    let home = Home::new();
    let data = home.write("tickets.csv", crate::home::tickets(1200));
    let mut train = vec!["train", data.to_str().unwrap(), "--set", "data.cross_fit=never"];
    train.extend(crate::home::TINY);
    train.extend(["--set", "data.calibration_fraction=0.15"]);
    home.done(&train);
    let report: Value =
        serde_json::from_str(&home.done(&["quantize", "--precision", &precision, "--json"]))
            .unwrap();
    assert_eq!(report["granted"], true, "{report}");
    let stored = report["model"].as_str().unwrap();
    // A fit can check as well, on the same rows, and comes to the same.
    let key = format!("calibration.precisions=[\"{precision}\"]");
    let fitted = home.done(&[
        "fit",
        "--model",
        "checkpoints/tickets/model",
        "--method",
        "map",
        "--set",
        &key,
        "--output",
        "fitted",
    ]);
    assert!(fitted.contains("These were measured in f32."), "{fitted}");
    let info: Value =
        serde_json::from_str(&home.done(&["info", "--model", "fitted", "--json"])).unwrap();
    let both = [&report["certificate"], &info["certificates"][&precision]];
    let [one, other] = both.map(|one| one["nll"]["own"].as_f64().unwrap());
    assert!((one - other).abs() < 1e-6, "{one}, {other}");
    assert_eq!(both[0]["rows"], both[1]["rows"]);
    assert!(
        home.done(&["eval", "--no-baseline", "--model", stored]).contains("with a certificate")
    );
    // What it was made with is known, its size is that of its file, and answers say what they were computed with.
    assert!(home.path(stored).join("bayes/config.toml").exists());
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let size = parsed(&home.done(&["bench", "--model", stored, "--suite", "size", "--json"]));
    let bytes = std::fs::metadata(home.path(stored).join("model.safetensors")).unwrap().len();
    let shown = size["model_size"]["model_size_mb"].as_f64().unwrap() * 1e6;
    assert!((0.8..=1.0).contains(&(shown / bytes as f64)), "{shown} {bytes}");
    let own = "checkpoints/tickets/model";
    let both = ["eval", "--no-baseline", "--model", own, stored];
    let told = home.done(&both);
    let line = format!("B  {stored}, {precision} with a certificate");
    assert!(told.contains(&line) && told.contains(&format!("A  {own}\n")), "{told}");
    home.done(&["eval", "--no-baseline", "--model", stored, "--predictions", "answers.csv"]);
    let again = parsed(&home.done(&["eval", "--json", "--predictions", "answers.csv"]));
    assert_eq!(again["precision"], precision.as_str(), "{again}");
    let next = ["train", data.to_str().unwrap(), "--init", stored, "--set", "name=next"];
    let told = text(&home.run(&next).stderr).to_owned();
    assert!(told.contains(&format!("is stored in {precision}, and training begins")), "{told}");
    // A manifest that somebody changed is vouched for by nobody.
    let manifest = home.path(own).join("bayes/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"seed\": 42", "\"seed\": 43", 1)).unwrap();
    for command in
        [&["quantize", "--precision", &precision][..], &["recalibrate", "--dataset", "tickets.csv"]]
    {
        let refused = home.refused(&[command, &["--model", own, "--output", "other"]].concat());
        assert!(refused.contains("was changed after it was saved"), "{refused}");
    }
    std::fs::write(&manifest, text).unwrap();
    // Other rows under the same name are no proof.
    home.write("tickets.csv", crate::home::tickets(1100));
    let changed = home.refused(&[
        "quantize",
        "--model",
        "checkpoints/tickets/model",
        "--precision",
        &precision,
        "--output",
        "other",
    ]);
    assert!(changed.contains("have changed since it was trained"), "{changed}");
}
