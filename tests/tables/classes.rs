//! Labels, and what becomes of them.

use serde_json::Value;

use super::home::{Home, TINY, text};
use super::{count, plan, rows};

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
        (
            last("\"y\"", "{\"name\": \"y\"}"),
            ["line 80: the label", "in column `label` is an object"],
        ),
        (last("\"y\"", "[[\"y\"]]"), ["line 80: the label `[[\"y\"]]` in", "`data.label_column`"]),
        (
            last("\"y\"", "[\"y\", \"x\"]"),
            ["line 80: the label", "in column `label` is a list of 2"],
        ),
        (
            last("\"label\"", "\"label\": \"x\", \"label\""),
            ["line 80, character", "`label` occurs twice"],
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
    assert!(said.contains("one-element lists"), "{said}");
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
    for part in ["2 texts have", "two.csv` line 6 (`x`)", "two.csv` line 82 (`y`)"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("no classifier can predict both"), "{said}");
    // Words of Vietnamese that a tone tells apart.
    let tones = "tôi cần ma số 1,x\ntôi cần má số 1,y\n";
    home.write("tones.csv", format!("{table}{tones}"));
    let (_, said) = plan(&home, "tones.csv", &[]).unwrap();
    assert!(said.contains("check whether one label is wrong"), "{said}");
    assert!(!said.contains("no classifier"), "{said}");
    // In another part, and after the labels are renamed.
    home.write("set/train.csv", &table);
    home.write("set/test.csv", "text,label\nticket 4 was good,y\na new one,x\n");
    let (_, said) = plan(&home, "set", &[]).unwrap();
    assert!(said.contains("1 text has") && said.contains("test.csv` line 2 (`y`)"), "{said}");
    let looks = "ticket 4 was good,z\n";
    home.write("map.csv", format!("{table}{looks}"));
    assert!(plan(&home, "map.csv", &[]).unwrap().1.contains("1 text has"));
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

/// As Prodigy writes what a person decided.
#[test]
fn only_rows_that_a_person_accepted_are_taken() {
    let home = Home::new();
    let objects = |label: &dyn Fn(usize) -> String, n: usize| -> String {
        let answers = ["accept", "accept", "reject", "accept", "ignore"];
        let object = |i: usize| {
            let word = ["good", "bad"][i % 2];
            let answer = answers[i % 5];
            let label = label(i);
            format!("{{\"text\":\"ticket {i} was {word}\",{label},\"answer\":\"{answer}\"}}\n")
        };
        (0..n).map(object).collect()
    };
    let label = |i: usize| format!("\"label\":\"{}\"", ["x", "y"][i % 2]);
    let chosen = |i: usize| {
        let (one, options) = (["x", "y"][i % 2], "[{\"id\":\"x\"},{\"id\":\"y\"}]");
        format!("\"options\":{options},\"accept\":[\"{one}\"]")
    };
    for (name, rows) in
        [("label.jsonl", objects(&label, 200)), ("choice.jsonl", objects(&chosen, 200))]
    {
        home.write(name, rows);
        let (found, said) = plan(&home, name, &[]).unwrap();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(
            (count(&found), &found["labels"]),
            (120, &serde_json::json!(["x", "y"])),
            "{name}"
        );
        assert!(said.contains("skipped: 40 `ignore`, 40 `reject`"), "{said}");
    }
    // As somebody may have typed it.
    for (from, to) in
        [("reject", "Reject "), ("accept\"", " ACCEPT\""), ("\"answer\"", "\"Answer\"")]
    {
        home.write("typed.jsonl", objects(&label, 200).replace(from, to));
        assert_eq!(count(&plan(&home, "typed.jsonl", &[]).unwrap().0), 120, "{to}");
    }
    // One label of which it is said whether it is right.
    home.write("binary.jsonl", objects(&|_| "\"label\":\"URGENT\"".to_owned(), 200));
    let message = plan(&home, "binary.jsonl", &[]).unwrap_err();
    assert!(message.contains("80 rows were skipped"), "{message}");
    let (found, _) = plan(&home, "binary.jsonl", &["--label-column", "answer"]).unwrap();
    assert_eq!(count(&found), 200);
    // An answer that the tool does not give, or none, is none of acceptance.
    let rows = objects(&label, 200).replace("\"reject\"", "\"perhaps\"");
    home.write("other.jsonl", rows.replace(",\"answer\":\"ignore\"", ""));
    let (found, said) = plan(&home, "other.jsonl", &[]).unwrap();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(count(&found), 120, "{said}");
    assert!(said.contains("skipped: 40 without an answer, 40 `perhaps`"), "{said}");
    // Answers to questions are no verdicts, though one may be such a word.
    let rows = objects(&label, 200).replace("\"accept\"", "\"forty-two\"");
    home.write("questions.jsonl", rows);
    assert_eq!(count(&plan(&home, "questions.jsonl", &[]).unwrap().0), 200);
    let csv: String =
        (0..80).map(|i| format!("ticket {i},{}\n", ["accept", "reject"][i % 2])).collect();
    home.write("labels.csv", format!("text,answer\n{csv}"));
    assert_eq!(count(&plan(&home, "labels.csv", &[]).unwrap().0), 80);
    home.write(
        "two.csv",
        format!(
            "text,answer,shop\n{}",
            csv.replace("t\n", "t,a\n").replace("0,accept,a", "0,accept,b")
        ),
    );
    assert!(plan(&home, "two.csv", &[]).unwrap_err().contains("`answer`, `shop`"));
}

#[test]
fn words_and_numbers_in_one_file_are_refused_until_somebody_says_what_they_are() {
    let home = Home::new();
    for (name, codes) in [("late.csv", ["0", "1"]), ("truth.csv", ["false", "true"])] {
        let both = rows(80, ",", ["neg", "pos"]) + &rows(80, ",", codes).replace("ticket", "query");
        home.write(name, "text,label\n".to_owned() + &both);
        let message = plan(&home, name, &[]).unwrap_err();
        let map = format!("{}=neg,{}=pos", codes[0], codes[1]);
        assert!(message.contains(&map), "{message}");
        let (found, _) = plan(&home, name, &["--label-map", &map]).unwrap();
        assert_eq!(found["labels"], serde_json::json!(["neg", "pos"]));
        let own = format!("{0}={0}", codes[0]);
        let (found, _) = plan(&home, name, &["--label-map", &own]).unwrap();
        assert_eq!(found["labels"].as_array().unwrap().len(), 4);
    }
}

#[test]
fn names_that_a_file_has_and_that_are_too_few_are_named() {
    let home = Home::new();
    home.write("set/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["0", "2"]));
    home.write("set/labels.json", "[\"no\", \"yes\"]");
    let message = plan(&home, "set", &[]).unwrap_err();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        message.contains("line 3: the label `2` in column `label` is beyond the 2"),
        "{message}"
    );
    assert!(message.contains("`labels.json`, or the `ClassLabel`"), "{message}");
}

/// What pandas makes two classes or a missing text of.
#[test]
fn white_space_in_labels_and_words_for_no_text_are_said() {
    let home = Home::new();
    let table = |label: &dyn Fn(usize) -> &'static str, text: &dyn Fn(usize) -> String| -> String {
        (0..120)
            .map(|i| format!("{},{}\n", text(i), label(i)))
            .fold("text,label\n".to_owned(), |all, row| all + &row)
    };
    let plain = |i: usize| format!("ticket {i}");
    let spaced = |i: usize| ["spam", "ham", "spam ", "ham", "\u{a0}spam", "ham"][i % 6];
    home.write("spaced.csv", table(&spaced, &plain));
    let (found, said) = plan(&home, "spaced.csv", &[]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["ham", "spam"]));
    assert!(said.contains("`spam `, `\\u{a0}spam` is read as the label `spam`"), "{said}");

    let label = |i: usize| ["spam", "ham"][i % 2];
    for word in ["nan", "#N/A", "NULL"] {
        let text = |i: usize| if i % 40 == 7 { word.to_owned() } else { plain(i) };
        home.write("gaps.csv", table(&label, &text));
        let (found, said) = plan(&home, "gaps.csv", &[]).unwrap();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(count(&found), 120);
        assert!(
            said.contains("3 texts are what other programs write for a missing value"),
            "{said}"
        );
        assert!(said.contains("gaps.csv` line 9"), "{said}");
    }
}

/// One of two that say a key would have no effect.
#[test]
fn a_key_that_a_flag_and_a_setting_give_is_refused() {
    let home = Home::new();
    home.write("d.csv", "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]));
    for (more, words) in [
        (&["--text-column", "text", "--set", "data.text_column=label"][..], "`--text-column` and"),
        (
            &["--init", "none", "--set", "model.init=other/encoder"],
            "`--init` and `--set model.init`",
        ),
        (&["--set", "data.dataset=imdb"], "the data set and `--set data.dataset`"),
    ] {
        let message = plan(&home, "d.csv", more).unwrap_err();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_number_for_a_missing_label_is_said_in_every_format() {
    let home = Home::new();
    let label = |i: usize| if i % 10 == 9 { -1 } else { i as i64 % 3 };
    let csv = |suffix: &str| -> String {
        (0..120).fold("text,label\n".to_owned(), |all, i| {
            format!("{all}ticket {i},{}{suffix}\n", label(i))
        })
    };
    let json = |suffix: &str| -> String {
        (0..120).fold(String::new(), |all, i| {
            format!("{all}{{\"text\":\"ticket {i}\",\"label\":{}{suffix}}}\n", label(i))
        })
    };
    home.write("whole.csv", csv(""));
    home.write("float.csv", csv(".0"));
    home.write("whole.jsonl", json(""));
    home.write("float.jsonl", json(".0"));
    for name in ["whole.csv", "float.csv", "whole.jsonl", "float.jsonl"] {
        let (found, said) = plan(&home, name, &[]).unwrap();
        assert_eq!(found["labels"], serde_json::json!(["-1", "0", "1", "2"]), "{name}");
        assert!(said.contains("`-1` is treated as a class; if it means"), "{name}: {said}");
    }
    // A split of them alone has hidden labels, however they are written.
    for hidden in ["-1", "-1.0"] {
        home.write("set/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]));
        home.write("set/test.csv", format!("text,label\nthe first,{hidden}\nthe next,{hidden}\n"));
        let (_, said) = plan(&home, "set", &[]).unwrap();
        assert!(said.contains("the labels of the split `test` are all `-1`"), "{said}");
    }
}

#[test]
fn whole_numbers_that_a_float_cannot_tell_apart_are_several_labels() {
    let home = Home::new();
    let labels =
        ["9007199254740993.0", "9007199254740993", "9007199254740992.0", "9007199254740992"];
    let row = |i: usize| format!("{{\"text\":\"ticket {i}\",\"label\":{}}}\n", labels[i % 4]);
    home.write("ids.jsonl", (0..240).map(row).collect::<String>());
    let (found, _) = plan(&home, "ids.jsonl", &[]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["9007199254740992", "9007199254740993"]));
}
