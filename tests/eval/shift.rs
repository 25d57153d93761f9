//! Damaged copies of the rows, and promises that they break.

use super::*;

#[test]
fn damaged_copies_stand_beside_the_rows_as_they_are() {
    let home = Home::new();
    let model = train(&home, "a", "1");
    let eval = ["eval", "--no-baseline", "--model", &model, "--limit", "200"];
    let shift = ["--shift", "typos=0.1,truncate=3,drop=0.2+typos=0.1", "--ood", "other-topics"];
    let arguments = [&eval[..], &shift].concat();
    let report = json(&home.done(&[&arguments[..], &["--json"]].concat()));
    let all = report["shift"].as_array().unwrap();
    let labels: Vec<&str> = all.iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["undamaged", "typos=0.1", "truncate=3", "drop=0.2+typos=0.1"]);
    for key in ["accuracy", "nll", "ece"] {
        assert_eq!(all[0][key]["value"], report[key]["value"], "{key}");
    }
    assert_eq!(all[0]["decisions"], report["kept"]["decisions"]);
    assert_eq!((&all[0]["changed"], &all[0]["nll_difference"]), (&0.into(), &Value::Null));
    let value = |one: &Value, key: &str| one[key]["value"].as_f64().unwrap();
    for one in &all[1..] {
        assert_eq!(one["rows"], 200);
        assert!(one["changed"].as_u64().unwrap() > 190, "{one}");
        let expected = value(one, "nll") - value(&all[0], "nll");
        assert!((value(one, "nll_difference") - expected).abs() < 1e-12);
        let difference = &one["nll_difference"];
        assert!(difference["low"].as_f64() <= difference["high"].as_f64());
        for key in ["coverage", "mean_set_size", "flagged", "exchangeability"] {
            assert!(!one[key].is_null(), "{key}: {one}");
        }
        assert!(one["error_auroc"]["confidence"].is_number());
    }
    // Three words of a review leave less to go by.
    assert!(value(&all[2], "accuracy") < value(&all[0], "accuracy"), "{report}");

    // The same again, with another number of threads, and without the other damages.
    let again = json(&home.done(&[&arguments[..], &["--json", "--threads", "1"]].concat()));
    assert_eq!(again["shift"], report["shift"]);
    let one = json(&home.done(&[&eval[..], &["--shift", "truncate=3", "--json"]].concat()));
    assert_eq!(one["shift"][1], report["shift"][2]);
    // Without any, all else is as it was.
    let plain = json(&home.done(&[&eval[..], &["--json"]].concat()));
    assert_eq!((&plain["shift"], &plain["nll"]), (&serde_json::json!([]), &report["nll"]));

    let table = home.done(&[&arguments[..], &["--report", "out"]].concat());
    assert!(table.contains("200 rows and damaged copies of them (seed 1)"), "{table}");
    assert!(table.contains("B  typos=0.1") && table.contains("more than undamaged"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    let read = |name: &str| std::fs::read_to_string(home.path("out").join(name)).unwrap();
    assert_eq!(json(&read("report.json"))["shift"], report["shift"]);
    for page in [read("report.md"), read("report.html")] {
        assert!(page.contains("Shift") && page.contains("drop=0.2+typos=0.1"), "{page}");
        assert!(!page.contains("NaN") && !page.contains(" film "));
    }

    let gate = |condition: &str| {
        let arguments = [&arguments[..], &["--json", "--fail-if", condition]].concat();
        home.run(&arguments).status.code()
    };
    assert_eq!(gate("shift.typos=0.1.accuracy<1.1"), Some(1));
    assert_eq!(gate("shift.truncate=3.nll_difference>=99"), Some(0));
    for (damage, expected) in [
        ("typo=0.1", "did you mean `typos`?"),
        ("typos", "is not a damage"),
        ("truncate=0", "a number of words"),
        ("drop=2", "a share above 0"),
    ] {
        let output = home.run(&[&eval[..], &["--shift", damage]].concat());
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(expected), "{said}");
    }
    let message = home.refused(&[&eval[..], &["--shift", "drop=0.1,drop=0.1"]].concat());
    assert!(message.contains("`--shift` has `drop=0.1` twice"), "{message}");
    home.done(&[&eval[..], &["--predictions", "p.jsonl"]].concat());
    let message = home.refused(&["eval", "--predictions", "p.jsonl", "--shift", "drop=0.1"]);
    assert!(message.contains("--shift applies to rows"), "{message}");
}

/// Labels of other rows that are wrong half of the time, and rows like those of the training.
#[test]
fn a_broken_promise_of_the_sets_is_said_with_its_numbers_and_a_kept_one_is_not() {
    let home = Home::new();
    let data = home.write("tickets.csv", tickets(2400));
    let quiet = ["--quiet", "--set", "train.baseline=false", "--set", "train.num_train_epochs=1"];
    home.done(&[&["train", data.to_str().unwrap()], &TINY[..], &quiet[..]].concat());
    let eval = ["eval", "--no-baseline"];
    let kept = home.done(&eval);
    assert!(!kept.contains("warning"), "{kept}");
    assert!(kept.contains("decisions: ") && kept.contains("novelty: "), "{kept}");
    let found = json(&home.done(&[&eval[..], &["--json"]].concat()));
    let exchange = &found["kept"]["exchangeability"];
    assert_eq!((&exchange["verdict"], &exchange["exact"]), (&"exchangeable".into(), &true.into()));
    assert_eq!(exchange["calibration_rows"], 120);

    let mut other = "subject,department\n".to_owned();
    for row in 0..200 {
        let (thing, department) = [
            ("invoice", "billing"),
            ("router", "technical"),
            ("invoice", "technical"),
            ("router", "billing"),
        ][row % 4];
        other += &format!("\"please look at my {thing}, case {}\",{department}\n", row + 9000);
    }
    home.write("other.csv", other);
    let other = [&eval[..], &["--dataset", "other.csv"]].concat();
    let shown = home.done(&[&other[..], &["--report", "out"]].concat());
    assert!(shown.contains("warning: the sets promised 90.0 % and contain the"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    for name in ["report.md", "report.html"] {
        let page = std::fs::read_to_string(home.path("out").join(name)).unwrap();
        assert!(page.contains("Warning: the sets promised 90.0 %"), "{page}");
    }
    let found = json(&home.done(&[&other[..], &["--json"]].concat()));
    assert_eq!(found["kept"]["exchangeability"]["verdict"], "broken");
    let gate = [&other[..], &["--fail-if", "kept.exchangeability.log10_e_value>2.3"]].concat();
    assert_eq!(home.run(&gate).status.code(), Some(1));
    // Rows that calibrated it say nothing.
    let own = json(&home.done(&[&eval[..], &["--json", "--split", "conformal"]].concat()));
    assert_eq!(own["kept"]["exchangeability"], Value::Null);
}
