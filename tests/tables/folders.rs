//! Several files of one data set, and what they are called.

use serde_json::Value;

use super::home::{Home, TINY, text};
use super::{count, plan, rows};

#[test]
fn a_folder_as_competitions_give_it_is_read_and_the_rest_is_named() {
    let home = Home::new();
    home.write("set/train.csv", "text,target\n".to_owned() + &rows(80, ",", ["0", "1"]));
    home.write("set/test.csv", "id,text\n1,a new one\n2,and another\n");
    home.write("set/sample_submission.csv", "id,target\n1,0\n");
    let (found, said) = plan(&home, "set", &[]).unwrap();
    assert_eq!((count(&found), said.contains("sample_submission.csv")), (80, true), "{said}");
    assert!(said.contains("test.csv") && said.contains("no label column"), "{said}");
    home.write("set/test.csv", "text,target\na new one,\nand another,\n");
    let (found, said) = plan(&home, "set", &[]).unwrap();
    assert_eq!((count(&found), said.contains("no labels")), (80, true), "{said}");
    home.write("set/test.csv", "text,target\na new one,1\nand another,\n");
    assert!(plan(&home, "set", &[]).unwrap_err().contains("line 3: column `target` is empty"));
    // Another name for the same thing, in another order.
    home.write("set/test.csv", "label,text\n1,a new one\n0,another one\n");
    assert_eq!(count(&plan(&home, "set", &[]).unwrap().0), 82);
}

#[test]
fn a_head_says_which_split_it_shows() {
    let home = Home::new();
    let said = |name: &str| {
        let output = home.run(&["dataset", "head", name, "-n", "2"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    home.write("set/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]));
    assert!(!said("set").contains("split"));
    home.write("set/test.csv", "text,label\na new one,x\n");
    let both = said("set");
    assert!(both.contains("the split `train`; not shown: `test`"), "{both}");
    assert!(!said("set/test.csv").contains("split"));
}

#[test]
fn a_test_split_of_answers_is_refused_until_its_labels_are_named() {
    let home = Home::new();
    home.write("set/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]));
    let header = "text,label,confidence,uncertainty,decision,prediction_set,error\n";
    home.write("set/test.csv", header.to_owned() + "a new one,x,0.9,0.3,accept,x,\n");
    let message = plan(&home, "set", &[]).unwrap_err();
    assert!(message.contains("`label` contains predictions of `bayes predict`"), "{message}");
    assert_eq!(count(&plan(&home, "set", &["--label-column", "label"]).unwrap().0), 81);
}

#[test]
fn a_split_without_rows_or_labels_does_not_go_without_a_word() {
    let home = Home::new();
    home.write("set/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["0", "1"]));
    home.write("set/test.csv", "text,label\n");
    let (found, said) = plan(&home, "set", &[]).unwrap();
    assert_eq!(count(&found), 80);
    assert!(said.contains("warning") && said.contains("test.csv` contains no rows"), "{said}");
    home.write("set/test.csv", "text,label\na new one,-1\nand another,-1\n");
    let (found, said) = plan(&home, "set", &[]).unwrap();
    assert_eq!(count(&found), 80);
    assert!(said.contains("`test` are all `-1`") && said.contains("skipped"), "{said}");
}

#[test]
fn a_table_that_is_sorted_by_split_is_pointed_out() {
    let home = Home::new();
    let both = rows(1200, ",train,", ["x", "y"]) + &rows(300, ",test,", ["x", "y"]);
    home.write("sorted.csv", "text,split,label\n".to_owned() + &both);
    let (_, said) = plan(&home, "sorted.csv", &[]).unwrap();
    assert!(said.contains("warning") && said.contains("the column `split`"), "{said}");
}

#[test]
fn a_name_that_a_file_or_folder_has_too_is_refused_with_both_spellings() {
    let home = Home::new();
    let table = "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]);
    for (name, what) in [("reviews", "folder"), ("imdb", "folder"), ("stanfordnlp/imdb", "folder")]
    {
        home.write(&format!("{name}/train.csv"), &table);
        let local = format!("./{name}");
        for arguments in [
            &["train", name, "--dry-run"][..],
            &["dataset", "info", name],
            &["dataset", "head", name],
            &["train", "--dry-run", "--set", &format!("data.dataset={name}")],
        ] {
            let message = home.refused(arguments);
            assert!(message.contains(what) && message.contains(&local), "{message}");
            assert!(message.contains("another folder") && !message.contains("``"), "{message}");
            assert_eq!(message.contains("`stanfordnlp/imdb`, or"), name == "imdb", "{message}");
        }
        let info = home.done(&["dataset", "info", &local]);
        assert!(info.contains("2: x, y"), "{info}");
        std::fs::remove_dir_all(home.path(name)).unwrap();
    }
    home.write("reviews", &table);
    let message = home.refused(&["dataset", "info", "reviews"]);
    assert!(message.contains("of a file here") && message.contains("`./reviews`"), "{message}");
    home.write("imdb/train.csv", &table);
    // The list knows the data set of that name, and the folder that is said to hold it is no other.
    assert!(home.done(&["dataset", "list"]).contains("reviews    built in"));
    let mut command = home.command(&["dataset", "info", "imdb"]);
    let output = command.env("BAYES_DATA_DIR", home.path(".")).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    home.write("other-topics", "text\nmy router\n");
    std::fs::remove_file(home.path("reviews")).unwrap();
    home.done(&[&["train", "reviews", "--set", "data.train_limit=200"], &TINY[..]].concat());
    let message = home.refused(&["eval", "--limit", "20", "--ood", "other-topics"]);
    assert!(message.contains("`./other-topics`"), "{message}");
}

#[test]
fn names_of_files_make_names_of_experiments() {
    let home = Home::new();
    let table = "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]);
    let mut names = Vec::new();
    for name in [
        "评论.csv",
        "数据.csv",
        "données été.csv",
        "it's \"odd\" = 5%.csv",
        "\"q\".csv",
        " lead.csv",
        "2024/train.csv",
    ] {
        home.write(name, &table);
        let path = name.strip_suffix("/train.csv").unwrap_or(name);
        let output = home.run(&["train", path, "--dry-run", "--json"]);
        assert!(output.status.success(), "{name}: {}", text(&output.stderr));
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        names.push(plan["name"].as_str().unwrap().to_owned());
    }
    let different: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{names:?}");
    let output = home.command(&["train", ".", "--dry-run"]).current_dir(home.path("2024")).output();
    assert!(output.unwrap().status.success());
}

#[test]
fn what_lies_beside_a_table_or_in_it_is_said() {
    let home = Home::new();
    home.write("numbers/d.csv", "text,label\n".to_owned() + &rows(80, ",", ["0", "1"]));
    home.write("numbers/labels.json", "[\"no\", \"yes\"]");
    let (found, _) = plan(&home, "numbers/d.csv", &[]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["no", "yes"]));
    assert!(found["remarks"].to_string().contains("labels.json"), "{found}");

    home.write("named/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["0", "1"]));
    home.write("named/labels.json", "[\"no\", \"yes\"]");
    let (found, _) = plan(&home, "named", &[]).unwrap();
    assert!(found["remarks"].to_string().contains("labels.json"), "{found}");

    // A list that is none of names belongs to something else.
    home.write("numbers/labels.json", "{\"version\": 3}");
    let (found, _) = plan(&home, "numbers/d.csv", &[]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["0", "1"]));

    let part = |row: usize| ["train", "train", "test"][row % 3];
    let table: String = (0..80)
        .map(|row| format!("ticket {row} was good,{},{}\n", ["x", "y"][row % 2], part(row)))
        .collect();
    home.write("parts.csv", format!("text,label,subset\n{table}"));
    let (found, _) = plan(&home, "parts.csv", &[]).unwrap();
    assert!(found["remarks"].to_string().contains("column `subset`"), "{found}");

    home.write("folder/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]));
    home.write("folder/TestData/a.csv", "text,label\n".to_owned() + &rows(8, ",", ["x", "y"]));
    let (found, _) = plan(&home, "folder", &[]).unwrap();
    assert!(found["remarks"].to_string().contains("TestData/"), "{found}");
}

/// Files of one folder that name their columns differently, and one that has no names.
#[test]
fn files_of_one_data_set_have_the_same_columns_or_it_is_said() {
    let home = Home::new();
    let two = rows(80, ",", ["x", "y"]);
    let folder = |name: &str, files: &[(&str, String)]| {
        for (file, content) in files {
            home.write(&format!("{name}/{file}"), content);
        }
        plan(&home, name, &[])
    };
    let train = ("train.csv", format!("body,label\n{two}"));
    let other = ("test.csv", format!("message,class\n{two}"));
    let (found, said) = folder("renamed", &[train.clone(), other]).unwrap();
    assert_eq!(count(&found), 160);
    assert!(said.contains("test.csv` is read as text = `message`, label = `class`"), "{said}");
    assert!(said.contains("the first file as text = `body`, label = `label`"), "{said}");
    let (_, said) = folder("same", &[train.clone(), ("test.csv", train.1.clone())]).unwrap();
    assert!(!said.contains("is read as"), "{said}");

    let pair = |i: usize| format!("is it {i},it was {i} for long,{}\n", ["x", "y"][i % 2]);
    let pairs: String = (0..80).map(pair).collect();
    let pairs = format!("premise,hypothesis,label\n{pairs}");
    let message = folder("pairs", &[("train.csv", pairs.clone()), ("test.csv", train.1.clone())])
        .unwrap_err();
    assert!(message.contains("either all files must have pairs or none"), "{message}");
    for names in ["premise,hypothesis", "text,text_pair"] {
        let pairs = pairs.replace("premise,hypothesis", names);
        // Also where the text of the first file is one of them.
        for first in ["body", names.split(',').next().unwrap()] {
            let train = ("train.csv", train.1.replace("body", first));
            let message = folder("singles", &[train, ("test.csv", pairs.clone())]).unwrap_err();
            assert!(message.contains("either all files must have pairs or none"), "{message}");
        }
    }

    let shards = [("train-0.csv", train.1.clone()), ("train-1.csv", two)];
    let message = folder("shards", &shards).unwrap_err();
    assert!(message.contains("train-1.csv`") && message.contains("header line"), "{message}");
}

#[test]
fn what_is_said_of_files_is_refused_of_a_data_set_that_is_built_in() {
    let home = Home::new();
    for (key, value) in [
        ("delimiter", ";"),
        ("quoting", "none"),
        ("header", "no"),
        ("encoding", "latin1"),
        ("text_column", "body"),
        ("text_pair_column", "title"),
        ("label_column", "mood"),
        ("ood_label", "none"),
        ("label_map", "{ good = \"bad\" }"),
    ] {
        let said = format!("data.{key}={value}");
        let message = home.refused(&["train", "--dry-run", "--set", &said]);
        assert!(message.contains("is built in") && message.contains(key), "{message}");
    }
    for command in [&["dataset", "head", "reviews"][..], &["dataset", "info", "reviews"]] {
        let message = home.refused(&[command, &["--delimiter", ";"]].concat());
        assert!(message.contains("is built in") && message.contains("delimiter"), "{message}");
    }
}
