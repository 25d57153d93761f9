//! `bayes recalibrate`: what is fitted after training, on new rows.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod home;

use std::fmt::Write;

use home::{Home, TINY, text};
use serde_json::Value;

/// Requests as in training, of which so many in a hundred have the other label: the model is too sure of them.
fn mislabelled(rows: usize, percent: usize) -> String {
    let mut csv = "subject,department\n".to_owned();
    for row in 0..rows {
        let kind = row % 2;
        let flipped = (row / 2 * 37) % 100 < percent;
        let department = ["billing", "technical"][if flipped { 1 - kind } else { kind }];
        let thing = ["invoice", "router"][kind];
        let markup = ["", "<br /><br />", "\u{200b}  ", "&amp;"][row % 4];
        writeln!(csv, "\"please look at my {markup}{thing}, call {row}\",{department}").unwrap();
    }
    csv
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn new_rows_restore_what_sets_and_confidence_promise() {
    let home = Home::new();
    home.train_tiny(&[]);
    home.write("new.csv", mislabelled(400, 20));
    home.write("later.csv", mislabelled(300, 20).replace("call", "mail"));
    let model = "checkpoints/tickets/model";
    let weights =
        |folder: &str| std::fs::read(home.path(folder).join("model.safetensors")).unwrap();
    let eval = |folder: &str| {
        json(&home.done(&["eval", "--json", "--model", folder, "--dataset", "later.csv"]))
    };
    let before = eval(model);
    let report = json(&home.done(&["recalibrate", "--dataset", "new.csv", "--json"]));
    let after = eval("checkpoints/tickets-recalibrated/model");
    let number = |value: &Value| value.as_f64().unwrap();
    // On rows that it has not seen, and as the report says.
    let nll = |one: &Value| number(&one["nll"]["value"]);
    assert!(nll(&before) > 1.0 && nll(&after) < 0.55, "{} {}", nll(&before), nll(&after));
    let coverage = |one: &Value| number(&one["sets"]["coverage"]["value"]);
    assert!(coverage(&before) < 0.85 && coverage(&after) > 0.85, "{}", coverage(&after));
    // Before, on the same rows: as they are read in service, without what cleaning takes away.
    let same = json(&home.done(&["eval", "--json", "--model", model, "--dataset", "new.csv"]));
    assert!((number(&report["before"]["nll"]) - nll(&same)).abs() < 1e-9, "{report}");
    assert!((number(&report["after"]["nll"]) - nll(&after)).abs() < 0.05, "{report}");
    assert!((number(&report["after"]["coverage"]) - 0.9).abs() < 0.05, "{report}");
    assert_eq!(report["rows"], 400);
    assert_eq!(before["accuracy"]["value"], after["accuracy"]["value"]);
    assert_eq!(weights(model), weights("checkpoints/tickets-recalibrated/model"), "they stay");
    // The same rows give the same folder, and it may take the place of the one that is served.
    let in_place = ["--model", "checkpoints/tickets-recalibrated/model"];
    let output = ["--output", "checkpoints/tickets-recalibrated/model"];
    let again =
        [&["recalibrate", "--dataset", "new.csv", "--json"][..], &in_place, &output].concat();
    let again = json(&home.done(&again));
    assert_eq!(again["after"], report["after"]);
    assert_eq!(eval("checkpoints/tickets-recalibrated/model"), after);
    let recalibrated = "checkpoints/tickets-recalibrated/model";
    if let Some(precision) =
        bayes::compute::Precision::available().last().filter(|one| !one.is_f32())
    {
        let quantize = ["quantize", "--model", recalibrated, "--precision", &precision.to_string()];
        assert!(home.refused(&quantize).contains("would undo"));
    }
    // Words for people.
    let told = home.done(&["recalibrate", "--dataset", "new.csv", "--model", model]);
    assert!(told.contains("before     after") && told.contains("coverage (90 % wanted)"), "{told}");
    assert!(told.lines().all(|line| line.chars().count() <= 80), "{told}");
}

/// The model says so as of rows that trained it, under whatever name it is given them.
#[test]
fn the_rows_that_calibrated_are_known_again() {
    let home = Home::new();
    home.train_tiny(&[]);
    let rows = mislabelled(400, 20);
    home.write("new.csv", rows.clone());
    home.done(&["recalibrate", "--dataset", "new.csv"]);
    let model = "checkpoints/tickets-recalibrated/model";
    let seen = |data: &str| {
        let report = home.done(&["eval", "--json", "--model", model, "--dataset", data]);
        json(&report)["splits"]["seen"].clone()
    };
    home.write("copy.csv", rows.clone());
    home.write("some.csv", rows.lines().take(121).fold(String::new(), |all, row| all + row + "\n"));
    home.write("later.csv", mislabelled(300, 20).replace("call", "mail"));
    for (data, expected) in [
        ("new.csv", 400),
        ("./new.csv", 400),
        ("copy.csv", 400),
        ("some.csv", 120),
        ("later.csv", 0),
    ] {
        assert_eq!(seen(data), expected, "{data}");
    }
    // Rows that are gone are known no more, and that is said.
    home.write("new.csv", mislabelled(300, 20));
    let output = home.run(&["eval", "--model", model, "--dataset", "copy.csv"]);
    let told = text(&output.stderr);
    assert!(told.contains("it is unknown which of these rows"), "{told}");
    // Nor is it known then which of them calibrated it before.
    let told = |data: &str| {
        let output =
            home.run(&["recalibrate", "--model", model, "--output", "b", "--dataset", data]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr).replace("\n    ", " ")
    };
    let unknown = told("copy.csv");
    assert!(unknown.contains("unknown which of these rows have calibrated"), "{unknown}");
    // Where it is, the figures of before are told to be of rows that were fitted to.
    home.write("new.csv", rows.clone());
    let all = told("copy.csv");
    assert!(all.contains("400 of these 400 rows have calibrated the model before"), "{all}");
    let some = told("some.csv");
    assert!(some.contains("120 of these 120 rows have calibrated the model before"), "{some}");
    let none = told("later.csv");
    assert!(!none.contains("have calibrated the model before"), "{none}");
    home.write("new.csv", mislabelled(300, 20));
    // A later calibration takes the place of the earlier one, so its rows may be used again.
    let again = ["--model", model, "--output", "again", "--dataset", "copy.csv", "--json"];
    let again = home.done(&[&["recalibrate"][..], &again].concat());
    assert_eq!(json(&again)["rows"], 400);
    // The card and `info` name them.
    let card = home.done(&["publish", "--model", model, "--card-only"]);
    assert!(card.contains("calibrated anew by 400 rows of `new.csv`"), "{card}");
    assert!(card.contains("fitted on rows of `new.csv`") && card.contains("[train]"), "{card}");
    assert!(!card.contains("cross-fitt") && !card.contains("fitted afterwards"), "{card}");
    let info = home.done(&["info", "--model", model]);
    assert!(info.contains("recalibrated  new.csv (400 rows)"), "{info}");
    assert!(!info.contains("bayes quantize"), "{info}");
}

/// Rows that are all right do not say how sure the model may be: it is told that they make an unsure one worse, and
/// rows that say it are not blamed.
#[test]
fn a_calibration_that_is_worse_than_the_one_before_is_told() {
    let home = Home::new();
    let plain = |rows, percent| {
        let rows = mislabelled(rows, percent);
        ["<br /><br />", "\u{200b}  ", "&amp;"].iter().fold(rows, |rows, one| rows.replace(one, ""))
    };
    home.write("new.csv", plain(300, 8));
    home.write("right.csv", plain(400, 0));
    home.write("wrong.csv", plain(400, 20));
    // So small a rate that the logits are small, which a temperature below 1 mends.
    let few = ["--set", "train.learning_rate=1e-3", "--set", "posterior.method=map"];
    home.done(&[&["train", "new.csv", "--set", "name=tickets"], &TINY[..], &few].concat());
    let said = |data: &str| {
        let output = home.run(&["recalibrate", "--output", "out", "--dataset", data, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let report = json(&text(&output.stdout));
        let nll = |part: &str| report[part]["nll"].as_f64().unwrap();
        (nll("after") > nll("before"), text(&output.stderr))
    };
    let told = "the new calibration is worse than the one before on these rows";
    let (worse, right) = said("right.csv");
    assert!(worse && right.contains(told), "{right}");
    let (worse, wrong) = said("wrong.csv");
    assert!(!worse && !wrong.contains(told), "{wrong}");
}

#[test]
fn what_makes_new_rows_less_than_they_seem_is_said() {
    let home = Home::new();
    home.train_tiny(&["--label-map", "billing=technical,technical=billing"]);
    let told = |more: &[&str]| {
        let usual = ["recalibrate", "--output", "out", "--dataset"];
        let output = home.run(&[&usual[..], more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr).to_owned()
    };
    home.write("new.csv", mislabelled(400, 20));
    let swapped = told(&["new.csv"]);
    assert!(swapped.contains("which is not applied to `new.csv`"), "{swapped}");
    assert!(swapped.contains("` would be on 50.0 %; check that their labels"), "{swapped}");
    let map = ["new.csv", "--label-map", "billing=technical,technical=billing"];
    let right = told(&map);
    assert!(!right.contains("not applied") && !right.contains("always answering"), "{right}");
    // The same few texts again and again, and texts that are cut.
    let few = mislabelled(40, 20);
    let rows = few.split_once('\n').unwrap().1;
    home.write("repeated.csv", subject().to_owned() + &rows.repeat(10));
    let repeated = told(&[&["repeated.csv"], &map[1..]].concat());
    assert!(repeated.contains("have only 40 different texts"), "{repeated}");
    home.write("long.csv", mislabelled(100, 20).replace("please", &"please ".repeat(200)));
    let cut = told(&[&["long.csv"], &map[1..]].concat());
    assert!(cut.contains("100 of 100 texts are longer than"), "{cut}");
    // Its own keys, and no others.
    let strict =
        ["--set", "calibration.target_risk=0.3", "--set", "calibration.conformal_alpha=[0.2]"];
    let usual = ["recalibrate", "--output", "out", "--json", "--dataset"];
    let report = json(&home.done(&[&usual[..], &map, &strict].concat()));
    assert_eq!(report["target"], 0.8, "{report}");
    // They stay with the model: a later calibration has them too.
    let later = ["recalibrate", "--model", "out", "--output", "later", "--json", "--dataset"];
    let later = json(&home.done(&[&later[..], &map].concat()));
    assert_eq!(later["target"], 0.8, "{later}");
    for key in ["calibration.novelty=none", "posterior.link=probit", "calibration.precisions=[]"] {
        let refused = home.refused(&["recalibrate", "--dataset", "new.csv", "--set", key]);
        assert!(refused.contains("takes keys of [calibration] alone"), "{refused}");
    }
}

#[test]
fn rows_that_say_nothing_of_new_texts_are_left_out_or_refused() {
    let home = Home::new();
    home.train_tiny(&[]);
    let recalibrate = |data: &str| home.run(&["recalibrate", "--dataset", data, "--output", "out"]);
    // Those that trained the model say that it is always right.
    home.write("mixed.csv", home::tickets(240) + &mislabelled(100, 20)[subject().len()..]);
    let output = recalibrate("mixed.csv");
    let told = text(&output.stderr);
    assert!(output.status.success() && told.contains("are left out"), "{told}");
    home.write("few.csv", mislabelled(4, 0));
    let refused =
        |data: &str| home.refused(&["recalibrate", "--dataset", data, "--output", "other"]);
    assert!(refused("few.csv").contains("too few"), "{}", refused("few.csv"));
    home.write("own.csv", home::tickets(240));
    assert!(refused("own.csv").contains("no row that the model was not made or tested with"));
    home.write("other.csv", "subject,department\nplease pay,finance\nplease look,sales\n");
    assert!(refused("other.csv").contains("finance"));
    let own = home.refused(&[
        "recalibrate",
        "--dataset",
        "mixed.csv",
        "--output",
        "checkpoints/tickets/model",
    ]);
    assert!(own.contains("belongs to the training run"), "{own}");
    assert!(!home.files().iter().any(|file| file.starts_with("other/")));
}

/// Of a model whose data are gone nobody knows whether it has seen the rows.
#[test]
fn the_card_promises_nothing_that_rests_on_rows_that_the_model_may_have_seen() {
    let home = Home::new();
    home.train_tiny(&[]);
    home.write("new.csv", mislabelled(400, 20));
    let card = |output: &str| {
        let risk = ["--set", "calibration.target_risk=0.3", "--output", output];
        let told = home
            .run(&[&["recalibrate", "--dataset", "new.csv", "--model", MODEL][..], &risk].concat());
        assert!(told.status.success());
        let card = home.done(&["publish", "--model", output, "--card-only"]);
        (card, text(&told.stderr))
    };
    let (known, _) = card("known");
    assert!(known.contains("which the model was not trained on"), "{known}");
    assert!(known.contains("as the rows of `new.csv` prove"), "{known}");
    std::fs::rename(home.path("tickets.csv"), home.path("away.csv")).unwrap();
    let (unknown, told) = card("unknown");
    assert!(told.contains("it is unknown which of these rows trained the model"), "{told}");
    assert!(!unknown.contains("which the model was not trained on"), "{unknown}");
    assert!(!unknown.contains("prove (with"), "{unknown}");
    let limitation = "by rows of `new.csv`, and it is unknown which of them it was trained on";
    assert!(unknown.contains(limitation) && !known.contains(limitation), "{unknown}");
    assert!(unknown.contains("with 95 % certainty, if it was trained on none"), "{unknown}");
    // It stays so, when the data are back and nothing was asked anew.
    std::fs::rename(home.path("away.csv"), home.path("tickets.csv")).unwrap();
    let card = home.done(&["publish", "--model", "unknown", "--card-only"]);
    assert!(card.contains(limitation), "{card}");
}

/// A calibration that is gone is not said to be of the rows of before, anywhere.
#[test]
fn the_rows_that_calibrated_are_named_and_those_of_before_are_not() {
    let home = Home::new();
    home.train_tiny(&[]);
    home.write("old.csv", mislabelled(300, 10));
    home.write("new.csv", mislabelled(400, 20));
    let few = "It was calibrated anew by 100 rows of `new.csv`.";
    home.done(&["fit", "--model", MODEL, "--dataset", "old.csv", "--output", "fitted"]);
    home.done(&["recalibrate", "--model", "fitted", "--dataset", "new.csv", "--output", "anew"]);
    let readme = std::fs::read_to_string(home.path("anew/README.md")).unwrap();
    let card = home.done(&["publish", "--model", "anew", "--card-only"]);
    let info = home.done(&["info", "--model", "anew"]);
    for (text, rows) in [(&readme, few), (&card, few), (&info, "recalibrated  new.csv (100 rows)")]
    {
        assert!(text.contains("last layer and posterior") && text.contains(rows), "{text}");
        let of_before = |line: &&str| line.contains("old.csv") && line.contains("calibration");
        assert_eq!(text.lines().find(of_before), None, "{text}");
    }
}

/// What was never set, or had no effect, is not among the hyperparameters that were used.
#[test]
fn the_config_stays_but_for_the_keys_that_change() {
    let home = Home::new();
    home.train_tiny(&["--set", "publish.license=mit"]);
    home.write("new.csv", mislabelled(400, 20));
    let config = |folder: &str| -> toml::Table {
        let path = home.path(folder).join("bayes/config.toml");
        std::fs::read_to_string(path).unwrap().parse().unwrap()
    };
    let recalibrate = |more: &[&str]| {
        let usual = ["recalibrate", "--model", MODEL, "--dataset", "new.csv", "--output", "out"];
        let output = home.run(&[&usual[..], more].concat());
        assert!(output.status.success());
        text(&output.stderr)
    };
    recalibrate(&[]);
    let own = config(MODEL);
    assert_eq!(config("out"), own);
    recalibrate(&["--set", "calibration.conformal_alpha=[0.2]"]);
    let mut expected = own.clone();
    let calibration = expected["calibration"].as_table_mut().unwrap();
    calibration.insert("conformal_alpha".to_owned(), vec![0.2].into());
    assert_eq!(config("out"), expected);
    // Nothing vouches for a file that was changed, but for the author's words the author does.
    let path = home.path(MODEL).join("bayes/config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"mit\"", "\"apache-2.0\"")).unwrap();
    let told = recalibrate(&[]);
    assert!(told.contains("only its section [publish] is kept"), "{told}");
    let changed = config("out");
    assert_eq!(changed["publish"]["license"].as_str(), Some("apache-2.0"));
    assert_eq!(changed.keys().collect::<Vec<_>>(), ["publish"]);
    let card = home.done(&["publish", "--model", "out", "--card-only"]);
    assert!(!card.contains("All hyperparameters"), "{card}");
}

const MODEL: &str = "checkpoints/tickets/model";

fn subject() -> &'static str {
    "subject,department\n"
}
