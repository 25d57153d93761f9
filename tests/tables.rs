//! Tables as strangers write them: what is read, what is said, and what is refused with the key.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "only a part is needed here")]
mod home;

use home::{Home, TINY, text};
use serde_json::Value;

/// Rows of two classes, told apart by one word.
fn rows(n: usize, separator: &str, labels: [&str; 2]) -> String {
    let row = |i: usize| {
        let word = ["good", "bad"][i % 2];
        format!("ticket {i} was {word}{separator}{}\n", labels[i % 2])
    };
    (0..n).map(row).collect()
}

fn plan(home: &Home, name: &str, more: &[&str]) -> Result<(Value, String), String> {
    let path = home.path(name);
    let arguments = [&["train", path.to_str().unwrap(), "--dry-run", "--json"], more].concat();
    let output = home.run(&arguments);
    let said = text(&output.stderr);
    match output.status.code() {
        Some(0) => Ok((serde_json::from_slice(&output.stdout).unwrap(), said)),
        Some(2) => Err(said),
        code => panic!("{code:?}: {said}"),
    }
}

fn count(plan: &Value) -> u64 {
    plan["parts"].as_object().unwrap().values().map(|rows| rows.as_u64().unwrap()).sum()
}

#[test]
fn every_way_to_write_a_table_gives_all_its_rows() {
    let home = Home::new();
    let quote = |table: String| table.replace("ticket 12 was good", "\"Never again, ticket 12");
    for (name, content) in [
        ("semicolon.csv", "text;label\n".to_owned() + &rows(80, ";", ["x", "y"])),
        ("told.csv", "sep=|\r\ntext|label\r\n".to_owned() + &rows(80, "|", ["x", "y"])),
        ("tabs.csv", "text\tlabel\n".to_owned() + &rows(80, "\t", ["x", "y"])),
        ("commas.tsv", "text,label\n".to_owned() + &rows(80, ",", ["x", "y"])),
        ("no_header.csv", rows(80, ",", ["x", "y"])),
        ("no_header.tsv", rows(80, "\t", ["0", "1"])),
        ("stray.tsv", quote("text\tlabel\n".to_owned() + &rows(80, "\t", ["x", "y"]))),
        ("joined.csv", {
            let header = "\u{feff}text,label\n";
            let all = rows(80, ",", ["x", "y"]);
            let (first, second) = all.split_at(rows(40, ",", ["x", "y"]).len());
            [header, first, header, second].concat()
        }),
        (
            "twice.csv",
            "text,label\n".to_owned()
                + &rows(40, ",", ["x", "y"])
                + "text,label\n"
                + &rows(80, ",", ["x", "y"])[rows(40, ",", ["x", "y"]).len()..],
        ),
    ] {
        home.write(name, content);
        let (plan, _) = plan(&home, name, &[]).unwrap();
        assert_eq!(
            (count(&plan), plan["labels"].as_array().unwrap().len()),
            (80, 2),
            "{name}: {plan}"
        );
        assert!(!plan["written"].as_str().unwrap().is_empty(), "{name}");
    }
}

#[test]
fn other_encodings_are_found_out_and_read_when_named() {
    let home = Home::new();
    let table = "text,label\n".to_owned() + &rows(80, ",", ["größer", "kleiner"]);
    let utf16: Vec<u8> = ['\u{feff}']
        .into_iter()
        .chain(table.chars())
        .collect::<String>()
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let latin: Vec<u8> = table.chars().map(|c| u32::from(c) as u8).collect();
    for (name, bytes, encoding) in
        [("wide.csv", utf16, "utf-16le"), ("latin.csv", latin, "windows-1252")]
    {
        home.write(name, bytes);
        let message = plan(&home, name, &[]).unwrap_err();
        assert!(message.contains("not UTF-8") && message.contains(encoding), "{message}");
        assert!(message.contains("`data.encoding`"), "{message}");
        for flag in [["--encoding", encoding], ["--set", &format!("data.encoding={encoding}")]] {
            let (plan, _) = plan(&home, name, &flag).unwrap();
            assert_eq!(plan["labels"], serde_json::json!(["größer", "kleiner"]));
        }
    }
}

#[test]
fn a_folder_as_competitions_give_it_is_read_and_the_rest_is_named() {
    let home = Home::new();
    home.write("set/train.csv", "text,target\n".to_owned() + &rows(80, ",", ["0", "1"]));
    home.write("set/test.csv", "id,text\n1,a new one\n2,and another\n");
    home.write("set/sample_submission.csv", "id,target\n1,0\n");
    let (found, said) = plan(&home, "set", &[]).unwrap();
    assert_eq!((count(&found), said.contains("sample_submission.csv")), (80, true), "{said}");
    assert!(said.contains("test.csv") && said.contains("no column of labels"), "{said}");
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
fn labels_that_cannot_be_right_are_said_with_the_key() {
    let home = Home::new();
    let table = |label: &dyn Fn(usize) -> String| -> String {
        (0..120)
            .map(|i| format!("ticket {i},{}\n", label(i)))
            .fold("text,label\n".to_owned(), |a, b| a + &b)
    };
    home.write("scores.csv", table(&|i| format!("{:.2}", i as f64 * 0.37)));
    assert!(plan(&home, "scores.csv", &[]).unwrap_err().contains("`data.label_column`"));
    home.write("lists.csv", table(&|i| ["['a']", "\"['a', 'b']\""][i % 2].to_owned()));
    assert!(plan(&home, "lists.csv", &[]).unwrap_err().contains("lists.csv` line 3"));
    home.write("case.csv", table(&|i| ["Spam", "ham", "spam"][i % 3].to_owned()));
    let (found, said) = plan(&home, "case.csv", &[]).unwrap();
    assert_eq!(
        (found["labels"].as_array().unwrap().len(), said.contains("data.label_map")),
        (3, true)
    );
    let (found, _) = plan(&home, "case.csv", &["--label-map", "Spam=spam"]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["ham", "spam"]));
}

/// Trained on one spelling, asked in others.
#[test]
fn a_model_is_evaluated_on_other_columns_and_names() {
    let home = Home::new();
    let train = "note,remark,label\n".to_owned()
        + &(0..240)
            .map(|i| {
                format!(
                    "the {} one {i},nothing to see in this long remark {i},{}\n",
                    ["good", "bad"][i % 2],
                    ["positive", "negative"][i % 2]
                )
            })
            .collect::<String>();
    let data = home.write("n.csv", train);
    let data = data.to_str().unwrap();
    home.done(&[&["train", data, "--text-column", "note", "--quiet"][..], &TINY].concat());
    let accuracy = |arguments: &[&str]| -> f64 {
        let all = [&["eval", "--json", "--quiet", "--dataset"], arguments].concat();
        let found: Value = serde_json::from_str(&home.done(&all)).unwrap();
        found["accuracy"]["value"].as_f64().unwrap()
    };
    let renamed = |from: [&str; 2], to: [&str; 2]| {
        let text = std::fs::read_to_string(data).unwrap();
        text.replace(from[0], to[0]).replace(from[1], to[1])
    };
    let same = home.write("same.csv", std::fs::read(data).unwrap());
    assert!(accuracy(&[same.to_str().unwrap()]) > 0.95, "the model's own columns");
    let short = home.write("short.csv", renamed(["positive", "negative"], ["POS", "NEG"]));
    let short = short.to_str().unwrap();
    assert!(home.refused(&["eval", "--dataset", short]).contains("`NEG`"));
    assert!(accuracy(&[short, "--label-map", "NEG=negative,POS=positive"]) > 0.95);
    let loud = home.write("loud.csv", renamed(["positive", "negative"], ["Positive", "NEGATIVE"]));
    assert!(accuracy(&[loud.to_str().unwrap()]) > 0.95, "another case");
    let other = home.write("other.csv", renamed(["note,", ",label"], ["satz,", ",klasse"]));
    let flags = [other.to_str().unwrap(), "--text-column", "satz", "--label-column", "klasse"];
    assert!(accuracy(&flags) > 0.95);
    // One class, and few rows of it.
    let one: String = renamed(["", ""], ["", ""])
        .lines()
        .filter(|line| !line.contains("negative"))
        .take(6)
        .map(|line| format!("{line}\n"))
        .collect();
    let one = home.write("one.csv", one);
    assert!(accuracy(&[one.to_str().unwrap()]) > 0.5);
    let fit = home.run(&[
        "fit",
        "--model",
        "checkpoints/n/model",
        "--dataset",
        short,
        "--label-map",
        "NEG=negative,POS=positive",
    ]);
    assert!(fit.status.success(), "{}", text(&fit.stderr));
}

#[test]
fn pairs_are_answered_with_both_texts() {
    let home = Home::new();
    let rows: String = (0..160)
        .map(|i| {
            format!(
                "is ticket {i} late,the parcel {i} was {},{}\n",
                ["late", "quick"][i % 2],
                ["yes", "no"][i % 2]
            )
        })
        .collect();
    let data = home.write("p.csv", format!("question,passage,label\n{rows}"));
    home.done(&[&["train", data.to_str().unwrap(), "--quiet"][..], &TINY].concat());
    let input = home.write("q.csv", "passage,question\nthe parcel was late,is it late\n,is it\n");
    let table = home.done(&["predict", "--input", input.to_str().unwrap()]);
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("text,text_pair,label,"));
    assert!(lines.next().unwrap().starts_with("is it late,the parcel was late,"), "{table}");
    assert!(lines.next().unwrap().contains("the second text is empty"), "{table}");
    let singles: String =
        (0..40).map(|i| format!("is ticket {i} late,{}\n", ["yes", "no"][i % 2])).collect();
    let labelled = home.write("l.csv", format!("question,label\n{singles}"));
    let labelled = ["--model", "checkpoints/p/model", "--dataset", labelled.to_str().unwrap()];
    let pick = ["--text-column", "question", "--text-pair-column", ""];
    for command in ["eval", "fit"] {
        let message = home.refused(&[&[command][..], &labelled].concat());
        assert!(message.contains("pair"), "{command}: {message}");
        let message = home.refused(&[&[command][..], &labelled, &pick].concat());
        assert!(message.contains("reads pairs"), "{command}: {message}");
    }
    let single = home.write("s.csv", "question,other\nis it late,x\n");
    let message = home.refused(&["predict", "--input", single.to_str().unwrap()]);
    assert!(message.contains("`passage`") && message.contains("--text-pair-column"), "{message}");
}

#[test]
fn training_goes_on_without_a_cache_and_says_how_to_have_one() {
    let home = Home::new();
    home.write("file", "");
    let data = home.write("tickets.csv", home::tickets(240));
    let arguments = [&["train", data.to_str().unwrap()][..], &TINY].concat();
    let mut command = home.command(&arguments);
    let output = command.env("BAYES_CACHE_DIR", home.path("file/cache")).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("`BAYES_CACHE_DIR`"), "{said}");
    let weights =
        || std::fs::read(home.path("checkpoints/tickets/model/model.safetensors")).unwrap();
    let without = weights();
    home.done(&[&arguments[..], &["--resume", "never"]].concat());
    assert!(without == weights(), "the cache changes nothing");
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

/// Each is refused, or said, by file, line and column, with the way out.
#[test]
fn a_cell_with_parts_and_a_key_with_two_values_are_refused() {
    let home = Home::new();
    let line = |i: usize| {
        let (word, label) = [("good", "x"), ("bad", "y")][i % 2];
        format!("{{\"text\": \"ticket {i} was {word}\", \"label\": \"{label}\"}}\n")
    };
    let table: String = (0..80).map(line).collect();
    let last = |from: &str, to: &str| {
        let (before, after) = table.rsplit_once(from).unwrap();
        format!("{before}{to}{after}")
    };
    for (content, parts) in [
        (
            last("\"ticket 79 was bad\"", "{\"body\": \"x\"}"),
            ["line 80: column `text`", "an object"],
        ),
        (last("\"ticket 79 was bad\"", "[\"a\", \"b\"]"), ["line 80: column `text`", "a list"]),
        (last("\"y\"", "{\"name\": \"y\"}"), ["line 80: the label", "`data.label_column`"]),
        (last("\"y\"", "[[\"y\"]]"), ["line 80: the label", "`data.label_column`"]),
        (last("\"y\"", "[\"y\", \"x\"]"), ["line 80: the label", "is a list of 2"]),
        (
            last("\"label\"", "\"label\": \"x\", \"label\""),
            ["line 80, character", "`label` stands twice"],
        ),
    ] {
        home.write("d.jsonl", &content);
        let message = plan(&home, "d.jsonl", &[]).unwrap_err();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(message.contains("d.jsonl"), "{message}");
    }
    let lists = table.replace("\"x\"", "[\"x\"]").replace("\"y\"", "[\"y\"]");
    home.write("lists.jsonl", lists);
    let (found, said) = plan(&home, "lists.jsonl", &[]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["x", "y"]));
    assert!(said.contains("lists of one"), "{said}");
}

#[test]
fn a_text_under_two_labels_is_said_with_both_lines() {
    let home = Home::new();
    let table = "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]);
    home.write("same.csv", format!("{table}ticket 4 was good,x\n"));
    let (found, _) = plan(&home, "same.csv", &[]).unwrap();
    assert!(!found["remarks"].to_string().contains("more than one label"), "{found}");
    // Marks of HTML are no part of a text.
    let two = "ticket 4 was good,y\nticket 7<br />was bad,x\nticket 4 was good,y\n";
    home.write("two.csv", format!("{table}{two}"));
    let (_, said) = plan(&home, "two.csv", &[]).unwrap();
    for part in ["2 texts stand", "two.csv` line 6 (`x`)", "two.csv` line 82 (`y`)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // In another part, and after the labels are renamed.
    home.write("set/train.csv", &table);
    home.write("set/test.csv", "text,label\nticket 4 was good,y\na new one,x\n");
    let (_, said) = plan(&home, "set", &[]).unwrap();
    assert!(said.contains("1 text stands") && said.contains("test.csv` line 2 (`y`)"), "{said}");
    let looks = "ticket 4 was good,z\n";
    home.write("map.csv", format!("{table}{looks}"));
    assert!(plan(&home, "map.csv", &[]).unwrap().1.contains("1 text stands"));
    let (_, said) = plan(&home, "map.csv", &["--label-map", "z=x"]).unwrap();
    assert!(!said.contains("more than one label"), "{said}");
}

#[test]
fn labels_that_a_word_processor_changed_look_alike() {
    let home = Home::new();
    for labels in [["it's", "it’s"], ["a-b", "a – b"], ["\u{ff53}pam", "spam"], ["“x”", "'x'"]]
    {
        let table = "text\tlabel\n".to_owned() + &rows(80, "\t", labels);
        home.write("d.tsv", table);
        let (_, said) = plan(&home, "d.tsv", &[]).unwrap();
        assert!(said.contains("look alike") && said.contains("data.label_map"), "{said}");
    }
}

#[test]
fn what_stands_before_the_names_is_refused_with_its_line() {
    let home = Home::new();
    let table = "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]);
    for (before, line) in [
        ("Tickets of 2024\n\n", "line 1 (`Tickets of 2024`)"),
        ("Tickets of 2024,\n", "line 1 (`Tickets of 2024`)"),
        ("# made by hand\n# on a Monday\n", "line 1 (`# made by hand`)"),
        ("\n// a comment\n", "line 2 (`// a comment`)"),
    ] {
        home.write("d.csv", format!("{before}{table}"));
        let message = plan(&home, "d.csv", &[]).unwrap_err();
        assert!(message.contains(line) && message.contains("remove titles"), "{message}");
    }
    home.write("twice.csv", table.replace("text,label", "label,label"));
    let message = plan(&home, "twice.csv", &[]).unwrap_err();
    assert!(message.contains("several columns are called `label`"), "{message}");
    home.write("sheet.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and more");
    assert!(plan(&home, "sheet.csv", &[]).unwrap_err().contains("save the sheet as `.csv`"));
    for name in ["a.xls", "a.xlsx", "a.ods"] {
        home.write(name, "PK");
        assert!(plan(&home, name, &[]).unwrap_err().contains("save the sheet as `.csv`"), "{name}");
    }
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
    assert!(message.contains("either all files have pairs or none"), "{message}");
    let message = folder("singles", &[train.clone(), ("test.csv", pairs)]).unwrap_err();
    assert!(message.contains("either all files have pairs or none"), "{message}");

    let shards = [("train-0.csv", train.1.clone()), ("train-1.csv", two)];
    let message = folder("shards", &shards).unwrap_err();
    assert!(message.contains("train-1.csv`") && message.contains("line of names"), "{message}");
}

#[test]
fn a_table_of_one_column_is_asked_for_its_delimiter() {
    let home = Home::new();
    for separator in ["^", "~", "\u{1}"] {
        let table = format!("text{separator}label\n") + &rows(40, separator, ["x", "y"]);
        home.write("t.csv", table);
        let message = plan(&home, "t.csv", &[]).unwrap_err();
        assert!(message.contains("one column") && message.contains("--delimiter"), "{message}");
        let (found, _) = plan(&home, "t.csv", &["--delimiter", separator]).unwrap();
        assert_eq!(count(&found), 40);
    }
}
