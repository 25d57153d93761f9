//! Texts of no class: which are taken for them, and how they are read.

use super::*;

#[test]
fn texts_without_labels_can_be_out_of_scope() {
    let home = Home::new();
    home.train_tiny(&[]);
    home.write("recipes.csv", "text\nstir the soup for ten minutes\nlet the dough rest\n");
    let report = json(&home.done(&["eval", "--json", "--ood", "recipes.csv", "other-topics"]));
    assert_eq!(report["ood"]["recipes"]["rows"], 2);
    assert_eq!(report["ood"]["other-topics"]["rows"], 1000);
    let message = home.refused(&["eval", "--ood", "nothing-there"]);
    assert!(message.contains("`nothing-there`"), "{message}");
    let message = home.refused(&["eval", "--ood", "recipes.csv", "recipes.csv"]);
    assert!(message.contains("called `recipes`"), "{message}");
    let model = "checkpoints/tickets/model";
    let message = home.refused(&["eval", "--model", model, "--predictions", "p.txt"]);
    assert!(message.contains("`.txt`"), "{message}");
    let message = home.refused(&["eval", "--model", model, model]);
    assert!(message.contains("given twice"), "{message}");
}

/// `--ood` is for texts that no class is right for.
#[test]
fn texts_of_the_models_own_classes_or_rows_are_not_out_of_scope() {
    let home = Home::new();
    home.train_tiny(&[]);
    let run = |home: &Home, name: &str, content: &str, more: &[&str]| {
        let path = home.write(name, content);
        let start = ["eval", "--no-baseline", "--limit", "9", "--ood", path.to_str().unwrap()];
        let output = home.run(&[&start[..], more].concat());
        (output.status.code(), text(&output.stderr))
    };
    let own = "subject,department\nwhere is it,billing\nwho was it,technical\n";
    let (code, said) = run(&home, "own.csv", own, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("2 of 2 rows of `own`") && said.contains("`bayes eval --dataset`"),
        "{said}"
    );
    let some = format!("{own}stir the soup,cooking\n");
    let (code, said) = run(&home, "some.csv", &some, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("2 of 3 rows of `some`") && said.contains("`billing`, `technical`"),
        "{said}"
    );
    let (_, said) = run(&home, "none.csv", "subject,department\nstir it,cooking\n", &[]);
    assert!(!said.contains("have a label"), "{said}");
    // A folder is a data set.
    home.write("folder/test.csv", own);
    let message = home.refused(&["eval", "--no-baseline", "--ood", "folder"]);
    assert!(message.contains("2 of 2 rows of `folder`"), "{message}");
    // The test rows, whatever labels the training rows have.
    let row = |label: &str, i: usize| format!("stir the soup {i},{label}\n");
    let rows = |labels: [&str; 2]| -> String {
        (0..40).map(|i| row(labels[i % 2], i)).fold("subject,department\n".into(), |a, b| a + &b)
    };
    home.write("other/train.csv", rows(["food", "cook"]));
    home.write("texts/train.csv", "text\nlet it boil\n");
    home.write("texts/test.csv", "text\nlet it rest\nlet it cool\nlet it be\n");
    let ood = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood", "texts"];
    let output = home.run(&ood);
    assert_eq!(json(&text(&output.stdout))["ood"]["texts"]["rows"], 3, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("--ood texts: the 3 rows are those of the split `test`"));
    home.write("other/test.csv", "subject,department\nlet it rest,bird\nlet it cool,food\n");
    let ood = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood", "other"];
    let output = home.run(&ood);
    assert_eq!(json(&text(&output.stdout))["ood"]["other"]["rows"], 2);
    let said = text(&output.stderr);
    assert!(said.contains("--ood other: the 2 rows are those of the split `test`"), "{said}");

    // Texts that the model was trained on, or is asked about, whatever stands beside them.
    let rows =
        "subject\n\"please look at my invoice, case 0\"\n\"please look at my router, case 1\"\n";
    let (code, said) = run(&home, "rows.csv", rows, &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("2 of 2 texts of `rows`"), "{said}");
    let (code, said) = run(&home, "mixed.csv", &format!("{rows}stir the soup\n"), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 3 texts of `mixed`"), "{said}");

    // Numbers name nothing: another table's 0 and 1 are said only.
    let home = Home::new();
    let numbers =
        home.write("n.csv", tickets(240).replace(",billing", ",0").replace(",technical", ",1"));
    home.done(&[&["train", numbers.to_str().unwrap()], &TINY[..]].concat());
    let (code, said) =
        run(&home, "m.csv", "subject,department\nstir the soup,0\nlet it rest,1\n", &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("2 of 2 rows of `m`"), "{said}");
}

/// Both would stand under `out_of_scope` in the report.
#[test]
fn a_set_of_texts_of_no_class_does_not_take_the_name_of_the_data_sets_own() {
    let home = Home::new();
    let own: String = (0..60).map(|row| format!("tell me a joke {row},none\n")).collect();
    let data = home.write("tickets.csv", tickets(240) + &own);
    let mut arguments = vec!["train", data.to_str().unwrap(), "--quiet"];
    arguments.extend(TINY);
    arguments.extend(["--set", "data.ood_label=none", "--set", "train.baseline=false"]);
    home.done(&arguments);
    let other: String = (0..9).map(|row| format!("the weather of day {row}\n")).collect();
    for name in ["out_of_scope.csv", "weather.csv"] {
        home.write(name, format!("text\n{other}"));
    }
    let eval = ["eval", "--no-baseline", "--json", "--ood"];
    let message = home.refused(&[&eval[..], &["out_of_scope.csv"]].concat());
    assert!(message.contains("`out_of_scope`") && message.contains("rename"), "{message}");
    let report = json(&home.done(&[&eval[..], &["weather.csv"]].concat()));
    assert_eq!(report["ood"]["weather"]["rows"], 9);
    assert!(report["ood"]["out_of_scope"]["rows"].as_u64().unwrap() > 0, "{}", report["ood"]);
    // Without texts of its own the name is free.
    home.train_tiny(&["--quiet", "--set", "name=plain", "--set", "train.baseline=false"]);
    let plain = ["out_of_scope.csv", "--model", "checkpoints/plain/model"];
    let report = json(&home.done(&[&eval[..], &plain].concat()));
    assert_eq!(report["ood"]["out_of_scope"]["rows"], 9);
}

/// Texts of no class are read as the rows of any data set.
#[test]
fn a_set_of_texts_of_no_class_follows_the_rules_of_data() {
    let home = Home::new();
    home.train_tiny(&[]);
    let run = |name: &str, content: &[u8], more: &[&str]| {
        home.write(name, content);
        let start = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood", name];
        let output = home.run(&[&start[..], more].concat());
        let said = text(&output.stderr);
        let stem = name.split('.').next().unwrap();
        let found = serde_json::from_slice::<Value>(&output.stdout).ok();
        (output.status.code(), said, found.map(|report| report["ood"][stem].clone()))
    };
    // A label is a class of the model's in any spelling.
    for label in ["BILLING", "bílling", " billing ", "['billing']", "bill\u{200b}ing"] {
        let rows = format!("subject,department\nstir the soup,{label}\nlet it rest,{label}\n");
        let (code, said, _) = run("spelt.csv", rows.as_bytes(), &[]);
        assert_eq!(code, Some(2), "{label}: {said}");
        assert!(said.contains("2 of 2 rows of `spelt`") && said.contains("`billing`"), "{said}");
    }
    // Rows that are none, or that nobody accepted.
    let twice = "subject,department\nstir it,food\nsubject,department\nlet it be,food\n";
    let (_, said, found) = run("twice.csv", twice.as_bytes(), &[]);
    assert_eq!(found.unwrap()["rows"], 2, "{said}");
    assert!(said.contains("--ood twice.csv: `twice.csv` line 3 repeats"), "{said}");
    let answers = ["accept", "reject", "accept", "ignore"];
    let judged: String = (0..4)
        .map(|i| format!("{{\"text\": \"stir it {i}\", \"answer\": \"{}\"}}\n", answers[i]))
        .collect();
    let (_, said, found) = run("judged.jsonl", judged.as_bytes(), &[]);
    assert_eq!(found.unwrap()["rows"], 2, "{said}");
    assert!(said.contains("1 `ignore`, 1 `reject`"), "{said}");
    // Which column was taken, and how many texts were cut.
    let long =
        format!("body,shelf\n{},7\nstir it slowly and let it rest,3\n", "stir it ".repeat(90));
    let (_, said, found) = run("long.csv", long.as_bytes(), &[]);
    let found = found.unwrap();
    assert_eq!((&found["rows"], &found["truncated"]), (&2.into(), &1.into()), "{said}");
    assert!(said.contains("--ood long.csv: columns: text = `body`"), "{said}");
    // Labels of any kind are no reason to refuse the texts.
    let (_, said, found) = run("shelf.csv", b"text,label\nstir it,0.25\nlet it rest,\n", &[]);
    assert_eq!(found.unwrap()["rows"], 2, "{said}");
    let (code, said, _) = run("empty.csv", b"text,label\nstir it,a\n,a\n", &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`empty.csv` line 3: column `text` is empty"), "{said}");
}

#[test]
fn what_is_said_of_a_set_of_texts_names_the_flag_that_reaches_it() {
    let home = Home::new();
    home.train_tiny(&[]);
    let run = |more: &[&str]| {
        let start = ["eval", "--json", "--no-baseline", "--limit", "9", "--ood"];
        home.run(&[&start[..], more].concat())
    };
    home.write("latin.csv", b"subject,shelf\nstir the cr\xe8me,3\nlet it rest,4\n");
    let said = text(&run(&["latin.csv"]).stderr);
    assert!(said.contains("`--ood-set data.encoding`") && !said.contains("`--encoding`"), "{said}");
    let encoding = ["latin.csv", "--ood-set", "data.encoding=windows-1252"];
    let output = run(&encoding);
    let report = json(&text(&output.stdout));
    assert_eq!(report["ood"]["latin"]["rows"], 2, "{}", text(&output.stderr));
    // A flag about the rows that are evaluated does not concern these texts.
    let said = text(&run(&["latin.csv", "--encoding", "windows-1252"]).stderr);
    assert!(said.contains("--ood latin.csv: "), "{said}");
    home.write("two.csv", "first,second\nstir the soup for long,let it rest for long\n");
    let said = text(&run(&["two.csv", "--ood-set", "data.text_column=second"]).stderr);
    assert!(said.contains("--ood two.csv: columns: text = `second`"), "{said}");
    let output = home.run(&["eval", "--ood", "two.csv", "--ood-set", "data.text_colum=second"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`data.text_colum` is not one of the keys `data.text_column`"), "{said}");
    // Generated texts are read from no table; beside a file the key is meant for that.
    let generated = ["other-topics", "--ood-set", "data.text_column=second"];
    let output = run(&generated);
    let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("`other-topics` is built in") && said.contains("--ood-set data.text_column"),
        "{said}"
    );
    let both = ["two.csv", "other-topics", "--ood-set", "data.text_column=second"];
    assert_eq!(run(&both).status.code(), Some(0));
    let output = home.run(&["eval", "--ood-set", "data.text_column=second"]);
    assert!(text(&output.stderr).contains("--ood <DATA>"), "{}", text(&output.stderr));
}
