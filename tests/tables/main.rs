//! Tables as strangers write them: what is read, what is said, and what is refused with the key.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod benchmarks;
mod classes;
mod folders;
#[expect(dead_code, reason = "only a part is needed here")]
#[path = "../home/mod.rs"]
mod home;
mod label_maps;
mod told;

use home::{Home, TINY, text, tickets};
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
        assert!(message.contains("UTF-8") && message.contains(encoding), "{message}");
        assert!(message.contains("`data.encoding`"), "{message}");
        for flag in [["--encoding", encoding], ["--set", &format!("data.encoding={encoding}")]] {
            let (plan, _) = plan(&home, name, &flag).unwrap();
            assert_eq!(plan["labels"], serde_json::json!(["größer", "kleiner"]));
        }
    }
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
        assert!(message.contains("classifies pairs"), "{command}: {message}");
    }
    let outside = ["eval", "--model", "checkpoints/p/model", "--ood", "other-topics"];
    assert!(home.refused(&outside).contains("classifies pairs"));
    let single = home.write("s.csv", "question,other\nis it late,x\n");
    let message = home.refused(&["predict", "--input", single.to_str().unwrap()]);
    assert!(message.contains("`passage`") && message.contains("--text-pair-column"), "{message}");
}

#[test]
fn a_model_of_single_texts_refuses_pairs_and_says_how_one_of_them_is_taken() {
    let home = Home::new();
    home.train_tiny(&[]);
    let pair = |i: usize| {
        let label = ["billing", "technical"][i % 2];
        format!("is ticket {i} late,the parcel {i} was quick,{label}\n")
    };
    let rows: String = (0..80).map(pair).collect();
    let table = |name: &str, names: &str| {
        home.write(name, format!("{names},department\n{rows}")).to_str().unwrap().to_owned()
    };
    let known = table("known.csv", "premise,hypothesis");
    let usual = table("usual.csv", "subject,reply");
    for (file, columns) in [
        (&known, &[][..]),
        (&known, &["--text-pair-column", "hypothesis"]),
        (&usual, &["--text-pair-column", "reply"]),
    ] {
        for command in [
            &["predict", "--input", file][..],
            &["eval", "--dataset", file],
            &["fit", "--model", "checkpoints/tickets/model", "--dataset", file],
        ] {
            let message = home.refused(&[command, columns].concat());
            assert!(message.contains("classifies single texts"), "{command:?}: {message}");
            assert!(message.contains("--text-column"), "{command:?}: {message}");
        }
    }
    let message = home.refused(&["eval", "--ood", &known]);
    assert!(message.contains("classifies single texts"), "{message}");
    // One of both is a text like any other, and a column of texts among others is no pair.
    for (file, column) in [
        (&known, &["--text-column", "hypothesis"][..]),
        (&usual, &[]),
        (&usual, &["--text-column", "reply"]),
    ] {
        home.done(&[&["predict", "--input", file], column].concat());
        home.done(&[&["eval", "--dataset", file, "--no-baseline"], column].concat());
    }
    // The text that the model was made from, with a second one beside it.
    let single = home.write("single.csv", tickets(240).replace("subject,", "text,"));
    let model = "checkpoints/single/model";
    home.done(&[&["train", single.to_str().unwrap()], &TINY[..]].concat());
    let beside = table("beside.csv", "text,text_pair");
    for command in [
        &["predict", "--model", model, "--input", &beside][..],
        &["eval", "--model", model, "--dataset", &beside],
        &["fit", "--model", model, "--dataset", &beside],
        &["eval", "--model", model, "--ood", &beside],
    ] {
        let message = home.refused(command);
        assert!(message.contains("`text` and `text_pair` form a pair"), "{message}");
    }
    home.done(&["predict", "--model", model, "--input", &beside, "--text-column", "text"]);
    // The generated reviews have no columns, and are single texts all the same.
    home.done(&[&["train", "reviews", "--set", "data.train_limit=200"], &TINY[..]].concat());
    let model = ["predict", "--model", "checkpoints/reviews/model", "--input", &known];
    assert!(home.refused(&model).contains("classifies single texts"));
}

#[test]
fn training_goes_on_without_a_cache_and_says_how_to_have_one() {
    let home = Home::new();
    home.write("file", "");
    let data = home.write("tickets.csv", tickets(240));
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

#[test]
fn a_dry_run_counts_the_rows_of_no_class() {
    let home = Home::new();
    let oos = "what is the weather,oos\n".repeat(7);
    home.write("c.csv", "text,label\n".to_owned() + &rows(80, ",", ["x", "y"]) + &oos);
    let (found, _) = plan(&home, "c.csv", &["--set", "data.ood_label=oos"]).unwrap();
    assert_eq!((count(&found), &found["out_of_scope"]["train"]), (80, &7.into()));
    let path = home.path("c.csv");
    let arguments = ["train", path.to_str().unwrap(), "--dry-run", "--set", "data.ood_label=oos"];
    let shown = home.done(&arguments);
    assert!(shown.contains("no class    train 7 (they train nothing)"), "{shown}");
}
