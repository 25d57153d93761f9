//! What `bayes predict` is given and is not what it seems: files under another name, flags without effect,
//! line breaks and marks of files that were joined.

use std::process::Output;

use super::home::{Home, TINY, text, tickets};
use serde_json::Value;

/// `bayes predict` with bytes as its standard input.
fn given(home: &Home, bytes: &[u8], arguments: &[&str]) -> Output {
    home.write("stdin", bytes);
    let mut command = home.command(&[&["predict"], arguments].concat());
    command.stdin(std::fs::File::open(home.path("stdin")).unwrap()).output().unwrap()
}

fn texts(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let objects = text(&output.stdout);
    let object = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    objects.lines().map(|line| object(line)["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_file_that_is_something_else_is_refused_with_what_it_is() {
    let home = Home::new();
    home.train_tiny(&[]);
    let rows = "{\"subject\": \"my router\"}\n{\"subject\": \"the invoice\"}\n";
    let indented = "[\n  {\n    \"subject\": \"my router\"\n  }\n]\n";
    for (content, says) in [
        (rows, "--format jsonl"),
        (&rows.replace('\n', "\r\n"), "`.jsonl`"),
        (&format!("\u{feff}{rows}"), "`.jsonl`"),
        ("[{\"subject\": \"my router\"}]", "JSON array"),
        (indented, "--format jsonl"),
        ("<!DOCTYPE html>\n<html><body>not found</body></html>\n", "HTML page"),
        ("\n<html lang=\"en\">\n<p>my router, again</p>\n", "HTML page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
    ] {
        for name in ["in.csv", "in.tsv"] {
            let input = home.write(name, content);
            let message = home.refused(&["predict", "--input", input.to_str().unwrap()]);
            assert!(message.contains(name) && message.contains(says), "{message}");
            let message = home.refused(&["train", input.to_str().unwrap(), "--dry-run"]);
            assert!(message.contains(says), "{message}");
        }
        for format in [&["--format", "csv"][..], &["--format", "tsv"], &[]] {
            let output = given(&home, content.as_bytes(), format);
            let message = text(&output.stderr);
            assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{message}");
            assert!(message.contains("stdin") && message.contains(says), "{message}");
        }
    }
    let objects = given(&home, rows.as_bytes(), &["--format", "jsonl", "--json"]);
    assert_eq!(texts(&objects), ["my router", "the invoice"]);
    // A cell or a text may be JSON.
    let cells = "{\"a\": 1}\tmy router\n{\"b\": 2}\tthe invoice\n";
    let columns = ["--format", "tsv", "--text-column", "column_2", "--header", "no", "--json"];
    assert_eq!(texts(&given(&home, cells.as_bytes(), &columns)), ["my router", "the invoice"]);
    let lines = "{name}, my router\n[1] the invoice\n";
    assert_eq!(texts(&given(&home, lines.as_bytes(), &["--json"])).len(), 2);
}

#[test]
fn a_first_line_that_is_taken_for_names_by_its_looks_is_said() {
    let home = Home::new();
    home.train_tiny(&[]);
    let said = |content: &str, more: &[&str]| {
        let input = home.write("in.csv", content);
        let columns = [&["predict", "--input", input.to_str().unwrap()], more].concat();
        let output = home.run(&columns);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let guess = "the first line is read as the column names (`--header no` if it is a row)";
    let rows = "my router is broken,12\nthe invoice is wrong,7\n";
    assert!(said(&format!("remark,number\n{rows}"), &[]).contains(guess));
    assert!(said("customer_note\nmy router\nthe invoice\n", &[]).contains(guess));
    let stdin = given(&home, format!("remark,number\n{rows}").as_bytes(), &["--format", "csv"]);
    assert!(text(&stdin.stderr).contains(guess), "{}", text(&stdin.stderr));
    for (content, more) in [
        (format!("subject,number\n{rows}"), &[][..]),
        (format!("Text,number\n{rows}"), &[]),
        (format!("remark,number\n{rows}"), &["--header", "yes"]),
        (format!("remark,number\n{rows}"), &["--text-column", "remark"]),
        (rows.to_owned(), &["--header", "no", "--text-column", "column_1"]),
    ] {
        assert!(!said(&content, more).contains(guess), "{content} {more:?}");
    }
    let train = home.write("t.csv", tickets(240).replace("subject,department", "v1,v2"));
    let plan = home.done(&["train", train.to_str().unwrap(), "--dry-run"]);
    let words = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(guess) && plan.lines().all(|l| l.chars().count() <= 80), "{plan}");
}

/// Refused before a model is looked for.
#[test]
fn flags_without_effect_are_refused_with_what_to_do() {
    let home = Home::new();
    for name in ["in.csv", "in.jsonl", "in.parquet"] {
        home.write(name, "");
    }
    let tables = [
        ("--delimiter", ";"),
        ("--header", "no"),
        ("--quoting", "none"),
        ("--text-column", "note"),
        ("--text-pair-column", "note"),
        ("--label-column", "note"),
    ];
    for (flag, value) in tables {
        let message = home.refused(&["predict", flag, value]);
        assert!(message.contains(flag) && message.contains("`--format csv`"), "{message}");
        let message = home.refused(&["predict", "a text", flag, value]);
        assert!(message.contains(flag) && message.contains("command line"), "{message}");
    }
    for (flag, value) in &tables[..3] {
        for input in
            [&["--input", "in.jsonl"][..], &["--input", "in.parquet"], &["--format", "jsonl"]]
        {
            let message = home.refused(&[&["predict", flag, value], input].concat());
            assert!(
                message.contains(flag) && message.contains("applies to CSV and TSV"),
                "{message}"
            );
        }
        let message = home.refused(&["train", "in.parquet", flag, value, "--dry-run"]);
        assert!(message.contains(flag) && message.contains("is Parquet"), "{message}");
    }
    for (arguments, says) in [
        (&["--input", "in.parquet", "--encoding", "latin1"][..], "applies to text files"),
        (&["--encoding", "latin1", "a text"], "command line"),
        (&["--format", "csv", "a text"], "command line"),
        (&["--format", "csv", "--input", "in.csv"], "remove `--format`"),
        (&["--format", "lines", "--input", "in.csv"], "remove `--format`"),
        (&["--label-map", "a=b", "--input", "in.csv"], "reads no labels"),
        (&["--label-map", "a=b"], "reads no labels"),
        (&["--json", "--output", "a.csv", "a text"], "standard output"),
        (&["--json", "--output", "a.jsonl", "--input", "in.csv"], "standard output"),
        (&["--delimiter", "ab", "--input", "in.csv"], "one character"),
    ] {
        let message = home.refused(&[&["predict"], arguments].concat());
        assert!(message.contains(says), "{message}");
        assert!(!message.contains("you gave no model"), "{message}");
    }
    assert!(!home.done(&["predict", "--help"]).contains("--label-map"));
    for output in ["a.csv.gz", "a.jsonl.zst", "a.parquet.GZ", "a.csv.zip", "a.gz"] {
        let message = home.refused(&["predict", "--output", output, "a text"]);
        let plain = output.rsplit_once('.').unwrap().0;
        let plain = if plain == "a" { "a.csv" } else { plain };
        assert!(message.contains(&format!("name it `{plain}`")), "{message}");
    }
    assert!(
        home.refused(&["predict", "--label-column", "l", "--input", "in.csv"]).contains("no model")
    );
}

#[test]
fn every_line_break_ends_a_line_and_marks_of_joined_files_are_no_text() {
    let home = Home::new();
    home.train_tiny(&[]);
    for lines in [
        "my router\rthe invoice\r",
        "my router\r\nthe invoice",
        "my router\rthe invoice\n",
        "\u{feff}my router\n\u{feff}the invoice\n",
        "\u{feff}my router\r\u{feff}\r\u{feff}the invoice\r",
    ] {
        let output = given(&home, lines.as_bytes(), &["--json"]);
        assert_eq!(texts(&output), ["my router", "the invoice"], "{lines:?}");
    }
    let inside = given(&home, "my\u{feff} router\n".as_bytes(), &["--json"]);
    assert_eq!(texts(&inside), ["my\u{feff} router"]);

    let one = "\u{feff}subject,id\r\nmy router,1\r\n";
    let other = "\u{feff}\"subject\",id\r\n\"the invoice, again\",2\r\n";
    let input = home.write("joined.csv", [one, other, "subject,id\n"].concat());
    let output = home.run(&["predict", "--json", "--input", input.to_str().unwrap()]);
    assert_eq!(texts(&output), ["my router", "the invoice, again"]);
    let said = text(&output.stderr);
    for line in ["line 3 repeats the column names", "line 5 repeats the column names"] {
        assert!(said.contains(line) && said.contains("joined.csv"), "{said}");
    }
    // A line that has only some of the names is a row.
    let input = home.write("other.csv", "subject,number\nmy router,1\nsubject,id\n");
    let some = ["predict", "--json", "--header", "yes", "--input", input.to_str().unwrap()];
    assert_eq!(texts(&home.run(&some)), ["my router", "subject"]);
    let objects = "{\"subject\":\"subject\"}\n\u{feff}{\"subject\":\"my router\"}\n";
    let output = given(&home, objects.as_bytes(), &["--format", "jsonl", "--json"]);
    assert_eq!(texts(&output), ["subject", "my router"]);
}

#[test]
fn sets_of_labels_with_a_bar_are_lists() {
    let home = Home::new();
    let sets = |labels: [&str; 2]| -> Vec<String> {
        let bar = labels[0].contains('|');
        let rows = tickets(240).replace("billing", labels[0]).replace("technical", labels[1]);
        let data = home.write("bars.csv", rows);
        let settings = ["--set", "calibration.conformal_alpha=[0.01]", "--resume", "never"];
        home.done(&[&["train", data.to_str().unwrap()], &TINY[..], &settings].concat());
        let input = home.write("in.csv", "subject\nplease look at my router\nsunny hills\n");
        home.done(&["predict", "--input", input.to_str().unwrap(), "--output", "out.jsonl"]);
        home.done(&["predict", "--input", input.to_str().unwrap(), "--output", "out.parquet"]);
        let table = home.path("out.parquet");
        let again = ["predict", "--json", "--text-column", "text", "--input"];
        let objects = home.done(&[&again[..], &[table.to_str().unwrap()]].concat());
        let object = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        let full = std::fs::read_to_string(home.path("out.jsonl")).unwrap();
        let flat =
            objects.lines().map(object).map(|object| object["input"]["prediction_set"].clone());
        let flat = flat.map(|set| set.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>();
        for (full, flat) in full.lines().map(object).zip(&flat) {
            let labels = &full["prediction_set"]["labels"];
            let names = labels.as_array().unwrap().iter().map(|label| label.as_str().unwrap());
            let joined = names.collect::<Vec<_>>().join("|");
            assert_eq!(*flat, if bar { labels.to_string() } else { joined });
        }
        flat
    };
    assert!(sets(["a|b", "other"]).iter().all(|set| set.starts_with('[') && set.ends_with(']')));
    assert!(sets(["billing", "technical"]).iter().all(|set| !set.starts_with('[')));
}

#[test]
fn a_table_of_one_line_is_a_text_and_a_text_that_is_cut_is_said() {
    let home = Home::new();
    home.train_tiny(&[]);
    let input = home.write("one.csv", "please look at my router\n");
    let arguments = ["predict", "--input", input.to_str().unwrap()];
    let output = home.run(&arguments);
    assert_eq!(text(&output.stdout).lines().count(), 2, "{}", text(&output.stdout));
    let output = home.run(&["predict", &"my router ".repeat(200)]);
    let said = text(&output.stderr);
    assert!(said.contains("1 of 1 texts were truncated to 32 tokens"), "{said}");
}

#[test]
fn other_columns_come_out_digit_by_digit() {
    let home = Home::new();
    home.train_tiny(&[]);
    let row = "{\"subject\":\"my router\",\"id\":12345678901234567890123,\"price\":1.10,\"huge\":1e400,\
               \"next\":9007199254740993,\"flag\":true,\"none\":null,\"parts\":{\"x\": 1.10, \"y\":[1e3]},\
               \"when\":\"2024-01-01T00:00:00Z\"}";
    let input = home.write("in.jsonl", row);
    let input = input.to_str().unwrap();
    let objects = home.done(&["predict", "--input", input, "--json"]);
    let rest = row.replace("\"subject\":\"my router\",", "");
    assert!(objects.contains(&format!("\"input\":{rest}")), "{objects}");
    let expected = "12345678901234567890123,1.10,1e400,9007199254740993,true,,\
                    \"{\"\"x\"\": 1.10, \"\"y\"\":[1e3]}\",2024-01-01T00:00:00Z";
    assert!(home.done(&["predict", "--input", input]).contains(expected));
    // By way of Parquet, and in another order.
    home.done(&["predict", "--input", input, "--output", "a.parquet", "--sort-by", "confidence"]);
    let again = home.path("a.parquet");
    let again = ["predict", "--text-column", "text", "--input", again.to_str().unwrap()];
    assert!(home.done(&again).contains(expected), "{}", home.done(&again));

    let input = home.write("in.csv", "subject,id,x,x,flag\nmy router,0012,1.10,2e400,True\n");
    let input = input.to_str().unwrap();
    assert!(home.done(&["predict", "--input", input]).contains(",0012,1.10,2e400,True"));
    let objects = home.done(&["predict", "--input", input, "--json"]);
    let both = "\"x\":\"1.10\",\"input_x\":\"2e400\"";
    assert!(objects.contains(both), "two columns of one name: {objects}");
}

#[test]
fn a_list_of_texts_loses_none_of_them() {
    let home = Home::new();
    home.train_tiny(&[]);
    for texts in ["my router\nthe invoice\n", "router\ninvoice\n", "router\nmy invoice, please\n"] {
        let input = home.write("in.csv", texts.replace(", ", " "));
        let output = home.run(&["predict", "--input", input.to_str().unwrap()]);
        assert_eq!(text(&output.stdout).lines().count(), 3, "{}", text(&output.stdout));
        assert!(text(&output.stderr).contains("the first line is read as a row"), "{texts}");
        let named = ["predict", "--input", input.to_str().unwrap(), "--header", "yes"];
        assert_eq!(home.done(&named).lines().count(), 2);
    }
    // Commas of prose make no table.
    let prose = "Where is it, please?\nthe router, again, and again\nplease call me\n";
    let input = home.write("in.csv", prose);
    let input = input.to_str().unwrap();
    let message = home.refused(&["predict", "--input", input]);
    assert!(message.contains("line 2") && message.contains("--delimiter"), "{message}");
    let lines = home.done(&["predict", "--input", input, "--delimiter", "|"]);
    assert_eq!(lines.lines().count(), 4, "{lines}");
    assert!(lines.contains("\"the router, again, and again\""), "{lines}");
}

#[test]
fn standard_input_is_read_as_files_are() {
    let home = Home::new();
    home.train_tiny(&[]);
    let run = |bytes: &[u8], more: &[&str]| {
        home.write("lines", bytes);
        let mut command = home.command(&[&["predict", "--json", "--quiet"], more].concat());
        command.stdin(std::fs::File::open(home.path("lines")).unwrap()).output().unwrap()
    };
    let lines = "the größere router\nthe invoice\n";
    for mark in ["\u{feff}", ""] {
        for (little, encoding) in [(true, "utf-16le"), (false, "utf-16be")] {
            let bytes = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
            let bytes: Vec<u8> = format!("{mark}{lines}").encode_utf16().flat_map(bytes).collect();
            let refused = run(&bytes, &[]);
            assert_eq!(refused.status.code(), Some(2));
            let message = text(&refused.stderr);
            assert!(message.contains(encoding) && message.contains("--encoding"), "{message}");
            let found = text(&run(&bytes, &["--encoding", encoding]).stdout);
            assert!(found.contains("\"text\":\"the größere router\""), "{found}");
            assert_eq!(found.lines().count(), 2, "{found}");
        }
    }
    let marked = text(&run("\u{feff}the invoice\r\n".as_bytes(), &[]).stdout);
    assert!(marked.contains("\"text\":\"the invoice\""), "{marked}");
    let half = run(b"the invoice\ncaf\xe9\n", &[]);
    let said = text(&half.stdout);
    assert!(said.contains("`stdin` line 2, byte 4: not UTF-8") && half.status.success(), "{said}");
    assert!(said.contains("`--encoding`") && said.contains("`café`"), "{said}");
    let plain = given(&home, b"caf\xe9\nthe invoice\n", &[]);
    let said = text(&plain.stderr);
    assert!(said.contains("`stdin` line 1") && said.contains("`--encoding`"), "{said}");
    let latin = text(&run(b"caf\xe9\n", &["--encoding", "windows-1252"]).stdout);
    assert!(latin.contains("\"text\":\"café\""), "{latin}");
}

#[test]
fn an_input_without_a_text_is_said() {
    let home = Home::new();
    home.train_tiny(&[]);
    for (bytes, arguments) in [
        (&b""[..], &[][..]),
        (b"\n \n", &["--json"]),
        (b"subject\n", &["--format", "csv"]),
        (b"", &["--sort-by", "confidence"]),
    ] {
        let output = given(&home, bytes, arguments);
        let said = text(&output.stderr);
        assert!(
            output.status.success() && said.contains("standard input contains no text"),
            "{said}"
        );
    }
    let input = home.write("none.csv", "subject,id\n");
    let output = home.run(&["predict", "--input", input.to_str().unwrap()]);
    assert!(
        text(&output.stderr).contains("none.csv` contains no text"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_text_that_nobody_sees_is_no_text() {
    let home = Home::new();
    home.train_tiny(&[]);
    let lines = "\u{200b}\nmy router\n\u{ad}\u{2060}\n\u{2800}\n\u{3164}\n";
    let output = given(&home, lines.as_bytes(), &[]);
    let said = text(&output.stderr);
    assert_eq!(text(&output.stdout).lines().count(), 1, "{said}");
    assert_eq!(said.matches("the text is empty").count(), 4, "{said}");
    assert!(home.refused(&["predict", "\u{200b}\u{fe0f}"]).contains("the text is empty"));
    let data = home.write("d.csv", tickets(80) + "\u{200b},billing\n");
    let message = home.refused(&["train", data.to_str().unwrap(), "--dry-run"]);
    assert!(message.contains("line 82: column `subject` is empty"), "{message}");
    let data = home.write("d.csv", tickets(80) + "my router,\u{200b}\n");
    let message = home.refused(&["train", data.to_str().unwrap(), "--dry-run"]);
    assert!(message.contains("line 82: column `department` is empty"), "{message}");
    home.write("ood.csv", "text\nsunny hills\n\u{2060}\n");
    let message = home.refused(&["eval", "--ood", "ood.csv"]);
    assert!(message.contains("line 3: column `text` is empty"), "{message}");
}

#[test]
fn keys_that_only_late_objects_have_are_said() {
    let home = Home::new();
    home.train_tiny(&[]);
    let row = |i: usize| {
        let (thing, department) = [("invoice", "billing"), ("router", "technical")][i % 2];
        format!("{{\"subject\":\"my {thing}, case {i}\",\"department\":\"{department}\"}}\n")
    };
    let mut rows: String = (0..1000).map(row).collect();
    rows += "{\"subject\":\"the invoice\",\"department\":\"billing\",\"customer\":7}\n";
    let input = home.write("late.jsonl", rows);
    let input = input.to_str().unwrap();
    for arguments in [
        &["predict", "--input", input, "--output", "out.csv"][..],
        &["predict", "--input", input, "--output", "out.jsonl", "--sort-by", "confidence"],
        &["train", input, "--dry-run"],
        &["dataset", "info", input],
    ] {
        let output = home.run(arguments);
        let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("line 1001 has the key `customer`").count(), 1, "{said}");
    }
}
