//! `bayes train` on a user's own file: the built-in recipe.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod encoder;
#[path = "../home/mod.rs"]
mod home;

use std::path::Path;

use home::{Home, TINY, text, tickets};
use safetensors::SafeTensors;
use serde_json::Value;

/// A BERT of 32 dimensions.
fn encoder() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures/encoders/bert").to_str().unwrap().to_owned()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Trains on requests to two departments with the encoder as it is.
fn train(home: &Home, rows: &str, more: &[&str]) -> Value {
    home.write("tickets.csv", rows);
    let encoder = encoder();
    let mut arguments = vec!["train", "tickets.csv", "--json", "--init", &encoder];
    arguments.extend(more);
    json(&home.done(&arguments))
}

const MODEL: &str = "checkpoints/tickets/model";
const HEAD: [&str; 2] = ["--set", "train.recipe=head"];

#[test]
fn without_network_the_encoder_is_asked_for_in_one_sentence_with_both_ways_out() {
    let home = Home::new();
    home.write("tickets.csv", tickets(60));
    let message = home.refused(&["train", "tickets.csv"]);
    for part in ["sentence-transformers/all-MiniLM-L6-v2", "--init DIR", "--init none"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!home.path("checkpoints").exists(), "nothing is trained in its place");
    let output = home.run(&["train", "tickets.csv", "--dry-run", "--json"]);
    assert!(output.status.success() && text(&output.stderr).contains("--init DIR"));
    let plan = json(&text(&output.stdout));
    assert_eq!((&plan["recipe"], &plan["parts"]["train"]), (&"auto".into(), &54.into()));
    assert!(plan["parameters"].is_null(), "{plan}");
}

#[test]
fn a_head_is_fitted_on_every_row_and_the_encoder_stays() {
    let home = Home::new();
    let report = train(&home, &tickets(240), &HEAD);
    assert_eq!(report["recipe"]["kept"], "head");
    assert_eq!((&report["steps"], &report["parts"]["train"]["rows"]), (&0.into(), &216.into()));
    assert!(report["parts"].get("validation").is_none());
    assert_eq!(report["recipe"]["head"]["rows"], 216, "each row is judged once");
    assert_eq!(report["posterior"]["temperature_rows"].as_u64(), None);
    assert_eq!(report["temperature_rows"], 216);
    assert!(report["calibration"]["crossed"].as_str().unwrap().contains("5 folds"));
    assert!(report["test"]["accuracy"]["value"].as_f64().unwrap() > 0.95, "{report}");

    let read = |path: &Path| std::fs::read(path).unwrap();
    let before = read(&Path::new(&encoder()).join("model.safetensors"));
    let after = read(&home.path(MODEL).join("model.safetensors"));
    let (before, after) =
        (SafeTensors::deserialize(&before).unwrap(), SafeTensors::deserialize(&after).unwrap());
    let name = "encoder.layer.1.output.dense.weight";
    let view = |file: &SafeTensors<'_>| {
        let own = file.names().into_iter().find(|own| own.ends_with(name)).unwrap().to_owned();
        file.tensor(&own).unwrap().data().to_vec()
    };
    assert_eq!(view(&before), view(&after));

    let object = json(&home.done(&["predict", "--json", "the invoice is wrong"]));
    assert_eq!(object["label"], "billing");
    // What was reported is what the folder answers.
    let again = json(&home.done(&["eval", "--json"]));
    assert_eq!(again["nll"]["value"], report["test"]["nll"]["value"]);
    let message = home.refused(&["eval", "--split", "validation"]);
    assert!(message.contains("those rows trained the last layer"), "{message}");
}

#[test]
fn the_weights_of_a_head_are_the_same_bytes_on_any_number_of_threads_and_from_the_cache() {
    let home = Home::new();
    let weights = |threads: &str| {
        let more = ["--set", "train.recipe=head", "--threads", threads, "--resume", "never"];
        train(&home, &tickets(240), &more);
        ["model.safetensors", "bayes/posterior.safetensors", "bayes/calibration.safetensors"]
            .map(|file| std::fs::read(home.path(MODEL).join(file)).unwrap())
    };
    let one = weights("1");
    assert!(one == weights("2"), "features from the cache, two threads");
    std::fs::remove_dir_all(home.path("cache")).unwrap();
    assert!(one == weights("2"), "features that were computed anew");
}

#[test]
fn fine_tuning_goes_on_from_the_head_and_what_is_better_on_the_same_rows_is_kept() {
    let home = Home::new();
    let report = train(&home, &tickets(240), &["--set", "train.num_train_epochs=2"]);
    let recipe = &report["recipe"];
    let nll = |name: &str| recipe[name]["nll"].as_f64().unwrap();
    assert_eq!(recipe["full"]["rows"], recipe["head_compared"]["rows"]);
    assert!(recipe["full"]["rows"].as_u64().unwrap() < 60, "those that were held out: {recipe}");
    let better = if nll("full") < nll("head_compared") { "full" } else { "head" };
    assert_eq!(recipe["kept"], better);
    assert!(recipe["expected_seconds"].as_f64().unwrap() > 0.0);

    let again = home.run(&["train", "tickets.csv", "--init", &encoder()]);
    assert_eq!(again.status.code(), Some(2), "other epochs are another run");
    let late = train(&home, &tickets(240), &["--set", "train.max_time=1e-6", "--set", "name=late"]);
    assert_eq!(late["recipe"]["kept"], "head");
    assert!(late["recipe"]["left_out"].as_str().unwrap().contains("train.max_time"));
}

/// A class with one row, one with two, and texts that repeat with other labels.
#[test]
fn classes_with_fewer_rows_than_folds_are_kept() {
    let home = Home::new();
    let mut rows = tickets(200);
    rows.push_str("\"please look at my parcel\",shipping\n");
    rows.push_str("\"my badge is lost\",security\n\"my badge is broken\",security\n");
    for department in ["billing", "technical"] {
        rows.push_str(&format!("\"please look at my order\",{department}\n"));
    }
    let report = train(&home, &rows, &HEAD);
    let kept = home.path(MODEL).join("bayes/manifest.json");
    let manifest: Value = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
    assert_eq!(manifest["labels"].as_array().unwrap().len(), 4);
    let judged = report["recipe"]["head"]["rows"].as_u64().unwrap();
    let trained = report["parts"]["train"]["rows"].as_u64().unwrap();
    assert!(judged < trained && judged + 3 >= trained, "{judged} of {trained}");
    assert!(
        report["calibration"]["crossed"].as_str().unwrap().contains("only ones of their class")
    );
}

/// Where the data have a validation split, it chooses and calibrates, and nothing of it is trained on.
#[test]
fn an_official_validation_split_is_not_trained_on() {
    let home = Home::new();
    set(&home);
    let encoder = encoder();
    let report =
        json(&home.done(&["train", "set", "--json", "--init", &encoder, HEAD[0], HEAD[1]]));
    assert_eq!(report["parts"]["train"]["rows"], 200);
    assert_eq!(report["recipe"]["head"]["rows"], 40, "half of the validation split");
    assert!(report["calibration"]["crossed"].is_null());
}

/// A folder of data that are split.
fn set(home: &Home) {
    for (name, rows) in [("train", 200), ("validation", 80), ("test", 60)] {
        home.write(&format!("set/{name}.csv"), tickets(rows).replace("case", name));
    }
}

/// Stdout and stderr of a command that ends well.
fn said(home: &Home, arguments: &[&str]) -> (String, String) {
    let output = home.run(arguments);
    let messages = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {messages}");
    (text(&output.stdout), messages)
}

#[test]
fn a_validation_split_is_cross_fitted_where_that_is_asked_for() {
    let home = Home::new();
    set(&home);
    let encoder = encoder();
    let always = ["--set", "data.cross_fit=always"];
    let train = ["train", "set", "--json", "--init", &encoder, HEAD[0], HEAD[1]];
    let (report, messages) = said(&home, &[&train[..], &always].concat());
    let report = json(&report);
    assert_eq!(report["parts"]["train"]["rows"], 280);
    assert_eq!(report["recipe"]["head"]["rows"], 280, "each row is judged once");
    assert!(report["calibration"]["crossed"].is_string());
    assert!(
        messages
            .contains("the 80 rows of the validation split are used for training and calibration"),
        "{messages}"
    );
    let again = json(&home.done(&["eval", "--json"]));
    assert_eq!(again["nll"]["value"], report["test"]["nll"]["value"]);
    let message = home.refused(&["eval", "--split", "validation"]);
    assert!(message.contains("those rows trained the last layer"), "{message}");
    // The rows of both splits are those that the model was made with.
    let own = home.path("set/validation.csv");
    let arguments = ["eval", "--json", "--dataset", own.to_str().unwrap()];
    assert_eq!(json(&home.done(&arguments))["splits"]["seen"], 80);
}

#[test]
fn limits_count_the_rows_that_are_cross_fitted() {
    let home = Home::new();
    home.write("tickets.csv", tickets(240));
    let encoder = encoder();
    let limits = ["--set", "data.train_limit=60", "--set", "data.validation_limit=10"];
    let train = ["train", "tickets.csv", "--json", "--init", &encoder, HEAD[0], HEAD[1]];
    let (report, messages) = said(&home, &[&train[..], &limits].concat());
    let report = json(&report);
    assert_eq!(report["parts"]["train"]["rows"], 60);
    assert_eq!(report["recipe"]["head"]["rows"], 60);
    assert_eq!(report["temperature_rows"], 60);
    assert!(
        messages.contains("`data.validation_limit` has no effect because every row"),
        "{messages}"
    );
    assert!(messages.contains("the training rows are a sample (`data.train_limit`)"), "{messages}");
    let again = json(&home.done(&["eval", "--json"]));
    assert_eq!(again["nll"]["value"], report["test"]["nll"]["value"]);
}

/// A config that asks a head for what only fine-tuning and parts of their own can do.
#[test]
fn a_key_without_effect_is_named_and_no_card_or_manifest_claims_it() {
    let home = Home::new();
    home.write("tickets.csv", tickets(240));
    let config = |recipe: &str, more: &str| {
        format!(
            "name = \"own-{recipe}\"\n[data]\ndataset = \"tickets.csv\"\nvalidation_fraction = 0.3\n\
             calibration_fraction = 0.05\nmax_length = 32\n[model]\ninit = {:?}\n[train]\nrecipe = \"{recipe}\"\n\
             learning_rate = 1e-3\nseed = 7\n{more}",
            encoder()
        )
    };
    for (recipe, more) in [("head", ""), ("auto", "max_time = 1e-6\n")] {
        home.write("own.toml", config(recipe, more));
        let (report, messages) = said(&home, &["train", "--config", "own.toml", "--json"]);
        assert_eq!(json(&report)["recipe"]["kept"], "head");
        let warnings: Vec<&str> =
            messages.lines().filter(|line| line.contains("no effect")).collect();
        let [warning] = warnings.as_slice() else { panic!("{recipe}: {messages}") };
        assert!(warning.contains("`train.learning_rate` has no effect"), "{warning}");
        assert!(warning.contains("`data.validation_fraction` has no effect"), "{warning}");
        for silent in ["calibration_fraction", "seed", "recipe`", "max_time"] {
            assert!(!warning.contains(silent), "{silent}: {warning}");
        }
        let model = format!("checkpoints/own-{recipe}/model");
        let card = home.done(&["publish", "--card-only", "--model", &model]);
        assert!(
            card.contains("seed = 7") && card.contains(&format!("recipe = \"{recipe}\"")),
            "{card}"
        );
        for claimed in ["learning_rate", "validation_fraction", "warmup_steps"] {
            assert!(!card.contains(claimed), "{claimed}: {card}");
        }
    }
    let manifest = std::fs::read(home.path("checkpoints/own-head/model/bayes/manifest.json"));
    let manifest: Value = serde_json::from_slice(&manifest.unwrap()).unwrap();
    assert_eq!(manifest["data"]["validation_fraction"], 0.1, "which nobody asked for");
    // What has an effect is not named.
    let full = config("full", "max_steps = 4\n");
    home.write("own.toml", full);
    let (_, messages) = said(&home, &["train", "--config", "own.toml"]);
    assert!(!messages.contains("no effect"), "{messages}");
}

#[test]
fn the_card_says_how_a_head_was_made() {
    let home = Home::new();
    let report = train(&home, &tickets(240), &HEAD);
    let card = home.done(&["publish", "--card-only"]);
    for told in [
        "The encoder was frozen; the last layer was fitted to convergence.",
        "This uses cross-fitting with 5 folds: each of the 216 rows was scored",
        "Calibration used cross-fitting: a last layer that had not seen the row scored it.",
        "The temperature stays at 1, because rows scored by a last layer",
    ] {
        assert!(card.contains(told), "{told}: {card}");
    }
    for wrong in ["optimizer step", "third", "fourth", "not trained on", "fine-tuned"] {
        assert!(!card.contains(wrong), "{wrong}: {card}");
    }
    // These rows are all answered right, so no confidence is too low.
    assert!(report["calibration"]["min_confidence"].is_null(), "{report}");
    assert!(card.contains("Of all predictions, whatever their confidence, at most"), "{card}");
    assert!(!card.contains("above that confidence"), "{card}");
    let (by, evidence) =
        ("chosen on held-out rows", "chosen by maximising the marginal likelihood (evidence)");
    let held_out = report["prior_by_held_out_rows"].as_bool().unwrap();
    assert!(card.contains(if held_out { by } else { evidence }), "{card}");
    let run = std::fs::read_dir(home.path("runs")).unwrap().next().unwrap().unwrap().path();
    let markdown = std::fs::read_to_string(run.join("report.md")).unwrap();
    for told in [
        if held_out { by } else { evidence },
        "fitted on 216 rows each scored by a last layer",
        "based on 216 calibration rows (99 % band from the 108 rows of the smallest class",
        "(for the smallest class threshold: 108 rows)",
    ] {
        assert!(markdown.contains(told), "{told}: {markdown}");
    }
}

/// Where the data have a validation split, the parts are told apart, and those that serve both are named.
#[test]
fn the_card_of_a_head_with_parts_of_its_own_names_them() {
    let home = Home::new();
    set(&home);
    home.done(&["train", "set", "--init", &encoder(), HEAD[0], HEAD[1]]);
    let card = home.done(&["publish", "--card-only"]);
    assert!(card.contains("its prior was selected by NLL on `validation`"), "{card}");
    assert!(
        card.contains("the 40 rows of `temperature` and `conformal` together serve both"),
        "{card}"
    );
}

#[test]
fn what_dataset_prepare_tokenises_training_reads() {
    let home = Home::new();
    home.write("tickets.csv", tickets(240));
    let encoder = encoder();
    let tokens = || -> Vec<String> {
        let files = home.files().into_iter();
        files.filter(|name| name.starts_with("cache/") && name.contains("token")).collect()
    };
    let prepared = home.done(&["dataset", "prepare", "tickets.csv", "--init", &encoder]);
    assert!(prepared.contains("done") && prepared.contains(&encoder), "{prepared}");
    let before = tokens();
    assert!(!before.is_empty(), "{:?}", home.files());
    train(&home, &tickets(240), &HEAD);
    assert_eq!(tokens(), before, "training made its own");
    let message = home.refused(&["dataset", "prepare", "tickets.csv"]);
    assert!(message.contains("all-MiniLM-L6-v2"), "that of `bayes train`: {message}");
}

/// Not after the work: the model would be there, and its report not.
#[test]
fn a_run_without_rows_to_report_on_does_not_begin() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(240));
    let train = ["train", data.to_str().unwrap(), "--set", "data.test_fraction=0"];
    for more in [&[][..], &["--dry-run"]] {
        let message = home.refused(&[&train, &TINY[..], more].concat());
        assert!(
            message.contains("test split") && message.contains("`data.test_fraction`"),
            "{message}"
        );
    }
    assert!(!home.files().iter().any(|file| file.contains("checkpoints/")), "{:?}", home.files());
}

/// Of 120 validation rows, 80 are rows of the training split, in capitals.
#[test]
fn validation_rows_that_are_training_rows_are_said_and_judge_nothing() {
    let home = Home::new();
    let rows = |from: usize, to: usize| -> String {
        let row =
            |i: usize| format!("please look at my {}, case {i}", ["invoice", "router"][i % 2]);
        (from..to)
            .map(|i| format!("\"{}\",{}\n", row(i), ["billing", "technical"][i % 2]))
            .collect()
    };
    let seen = rows(0, 80).replace("please", "PLEASE");
    home.write("d/train.csv", format!("text,label\n{}", rows(0, 300)));
    home.write("d/validation.csv", format!("text,label\n{seen}{}", rows(300, 340)));
    let encoder = encoder();
    let train = |more: &[&str]| -> (Value, String) {
        let base = ["train", "d", "--json", "--init", &encoder, "--resume", "never"];
        let output = home.run(&[&base[..], &HEAD, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        (json(&text(&output.stdout)), text(&output.stderr))
    };
    let (report, said) = train(&[]);
    assert!(said.contains("80 of the 120 rows of the validation split repeat a text of"), "{said}");
    let judged = report["recipe"]["head"]["rows"].as_u64().unwrap();
    let chosen = report["parts"]["validation"]["rows"].as_u64().unwrap();
    assert!(chosen == 60 && judged < 35, "{judged} of {chosen} rows are new");
    assert!(said.contains(&format!("on {judged} held-out rows")), "{said}");
    assert!(report["notes"].to_string().contains("80 of the 120 rows"), "{}", report["notes"]);
    let fitted = ["fit", "--model", "checkpoints/d/model", "--method", "laplace"];
    let output = home.run(&[&fitted[..], &["--output", "fitted"]].concat());
    assert!(text(&output.stderr).contains("80 of the 120 rows"), "{}", text(&output.stderr));
    let card = home.done(&["publish", "--model", "checkpoints/d/model", "--card-only"]);
    assert!(card.contains("80 of the 120 rows of the validation split"), "{card}");

    // Nothing but training rows: the split is none.
    home.write("d/validation.csv", format!("text,label\n{seen}"));
    let (report, said) = train(&["--set", "data.cross_fit=never"]);
    assert!(said.contains("80 of the 80 rows") && said.contains("the split is not used"), "{said}");
    assert_eq!(report["parts"]["validation"]["rows"], 30, "a tenth of 300 training rows");
}

#[test]
fn a_finished_run_is_not_that_of_data_whose_classes_have_other_names() {
    let home = Home::new();
    let row =
        |i: usize| format!("case {i} is about my {},{}\n", ["invoice", "router"][i % 2], i % 2);
    home.write("n.csv", (0..120).map(row).fold("text,label\n".to_owned(), |all, one| all + &one));
    home.write("labels.json", r#"["billing", "technical"]"#);
    let encoder = encoder();
    let arguments = [&["train", "n.csv", "--init", &encoder][..], &HEAD].concat();
    home.done(&arguments);
    let again = home.run(&arguments);
    assert!(text(&again.stderr).contains("this run is already finished"));
    home.write("labels.json", r#"["technical", "billing"]"#);
    let output = home.run(&["eval", "--model", "checkpoints/n/model", "--no-baseline"]);
    assert!(
        text(&output.stderr).contains("the classes of `n.csv` have other names, or another order"),
        "{}",
        text(&output.stderr)
    );
    let message = home.refused(&arguments);
    assert!(message.contains("class 1 was `billing` and is now `technical`"), "{message}");
}
