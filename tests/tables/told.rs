//! What is said while data are read: by every command, and of what files of one data set contradict in.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::home::{Home, TINY, text, tickets};
use super::{count, plan, rows};

/// A table that was joined from two, in which a person wrote the names anew.
fn joined(header: &str, again: &str, rows: &str) -> String {
    let half = rows.lines().count() / 2;
    let mut lines: Vec<&str> = rows.lines().collect();
    lines.insert(half, again);
    format!("{header}\n{}\n", lines.join("\n"))
}

#[test]
fn every_command_tells_how_data_are_read() {
    let home = Home::new();
    home.train_tiny(&[]);
    let all = tickets(240);
    let (header, own) = all.split_once('\n').unwrap();
    let path = home.write("told.csv", joined(header, "\u{feff}Subject , DEPARTMENT", own));
    let told = path.to_str().unwrap();
    let model = ["--model", "checkpoints/tickets/model"];
    let weather = "the weather is fine,2\n".repeat(60);
    let other = home.write("other.csv", joined("subject,note", "Subject , NOTE", &weather));
    let (other, tiny) = (other.to_str().unwrap(), &TINY[..]);
    for (command, more, line) in [
        (&["train", told][..], tiny, 122),
        (&["train", told, "--dry-run"], tiny, 122),
        (&["eval", "--no-baseline", "--dataset", told], &model, 122),
        (&["eval", "--no-baseline", "--ood", other], &model, 32),
        (&["fit", "--dataset", told], &model, 122),
        (&["bench", "--suite", "size", "--limit", "20", "--dataset", told], &model, 122),
        (&["dataset", "info", told], &[], 122),
        (&["dataset", "prepare", told], tiny, 122),
        (&["predict", "--input", told, "--output", "answers.csv"], &model, 122),
    ] {
        let arguments = [command, more].concat();
        let output = home.run(&arguments);
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(output.status.success(), "{arguments:?}: {said}");
        assert!(said.contains("columns") && said.contains("text = `subject`"), "{said}");
        assert!(said.contains(&format!("line {line} repeats the")), "{arguments:?}: {said}");
        assert!(said.contains("delimiter `,`"), "{arguments:?}: {said}");
    }
}

#[test]
fn names_that_are_repeated_in_another_spelling_are_no_row() {
    let home = Home::new();
    let table = rows(80, ",", ["x", "y"]);
    for (header, again) in [
        ("text,label", "text , label"),
        ("text,label", "Text,label "),
        ("text , label", "text,label"),
        ("text,label", "\u{feff} TEXT,LABEL"),
        ("text,label", "\u{feff}\"text\",\"label\""),
        ("text,label", "'text','label'"),
        ("my text,label", "my_text,Label"),
        ("phrase,outcome", "phrase,outcome"),
        ("phrase,outcome", "Phrase, Outcome"),
    ] {
        for content in [joined(header, again, &table), format!("{header}\n{again}\n{table}")] {
            home.write("t.csv", content);
            let (found, said) = plan(&home, "t.csv", &[]).unwrap();
            assert_eq!(found["labels"], serde_json::json!(["x", "y"]), "{again}: {said}");
            assert_eq!(count(&found), 80, "{again}: {said}");
            assert!(said.contains("repeats the header"), "{again}: {said}");
        }
    }
    // The rows of another table: in another order they would be read in the wrong columns.
    home.write("t.csv", joined("text,label", "label,text", &table));
    let said = plan(&home, "t.csv", &[]).unwrap_err();
    assert!(said.contains("line 42 has the column names in another order"), "{said}");
}

#[test]
fn a_header_in_the_middle_with_other_names_makes_no_class() {
    let home = Home::new();
    let table = rows(80, ",", ["x", "y"]);
    let wide = |rows: &str| rows.lines().map(|row| format!("{row},mail\n")).collect::<String>();
    for (header, again, wider) in [
        ("text,label", "sentence,label", false),
        ("ticket,department", "text,department", false),
        ("ticket,department", "ticket,area", false),
        ("ticket,department", "phrase,Department ", false),
        ("ticket,department", "message,intent", false),
        ("Ticket,Department", "ticket,Area", false),
        ("text,label,channel", "text,tag,channel", true),
        ("ticket,department,channel", "text,department,source", true),
    ] {
        let table = if wider { wide(&table) } else { table.clone() };
        home.write("t.csv", joined(header, again, &table));
        let columns: Vec<&str> = header.split(',').collect();
        let more = ["--text-column", columns[0], "--label-column", columns[1]];
        let more = if wider && columns[0] != "text" { &more[..] } else { &[] };
        let (found, said) = plan(&home, "t.csv", more).unwrap();
        assert_eq!(found["labels"], serde_json::json!(["x", "y"]), "{again}: {said}");
        assert_eq!(count(&found), 80, "{again}: {said}");
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains("line 42 looks like a header with other names"), "{again}: {said}");
    }
    // Of two that are unlike the first one, nobody can say.
    let third: String = table.lines().skip(54).map(|row| format!("{row}\n")).collect();
    let two = joined("ticket,department", "phrase,dept", &table) + "phrase,dept\n" + &third;
    home.write("t.csv", two);
    let (_, said) = plan(&home, "t.csv", &[]).unwrap();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("all 2 training rows of `dept` have the same text, `phrase`"), "{said}");
    // Columns that are not read may change.
    home.write("t.csv", joined("text,label,channel", "text,label,source", &wide(&table)));
    let (found, said) = plan(&home, "t.csv", &[]).unwrap();
    assert_eq!((count(&found), said.contains("line 42 repeats the header")), (80, true), "{said}");
    // In other places they would be read as something else.
    for (header, again) in [
        ("text,label,channel", "text,kanal,label"),
        ("text,label,channel", "channel,text,label"),
        ("text,label,channel", "id,text,label"),
    ] {
        home.write("t.csv", joined(header, again, &wide(&table)));
        let said = plan(&home, "t.csv", &[]).unwrap_err();
        assert!(said.contains("line 42 has the column names in another order"), "{said}");
    }
    for (header, again) in
        [("ticket,department", "intent,message"), ("a_b,department", "department,phrase")]
    {
        home.write("t.csv", joined(header, again, &table));
        let said = plan(&home, "t.csv", &[]).unwrap_err();
        assert!(said.contains("line 42 has the column names in another order"), "{said}");
    }
    for again in ["text,label,channel", "id,text,label"] {
        let half = rows(40, ",", ["x", "y"]);
        home.write("t.csv", format!("text,label\n{half}{again}\n{}", wide(&half)));
        let said = plan(&home, "t.csv", &[]).unwrap_err();
        assert!(said.contains("line 42 has 3 fields") && said.contains("names of other"), "{said}");
    }
    // A file without a header keeps its first row, and a row that looks like a header is one where its label is
    // that of others.
    home.write("t.csv", format!("please call me back,x\n{table}text,x\n"));
    assert_eq!(count(&plan(&home, "t.csv", &[]).unwrap().0), 82);
    for spam in [
        ("text,spam", "spam", "ham"),
        ("Text,Y", "y", "n"),
        ("message,text_label", "text", "label"),
    ] {
        let (header, one, other) = spam;
        let short: String =
            (0..80).map(|i| format!("ticket {i},{}\n", [one, other][i % 2])).collect();
        home.write("t.csv", format!("{header}\n{short}message,{one}\n"));
        let more = ["--label-column", header.split_once(',').unwrap().1];
        let (found, said) = plan(&home, "t.csv", &more).unwrap();
        assert_eq!(count(&found), 81, "{header}: {said}");
    }
    home.write("t.csv", format!("text,label\n{table}label,x\ntitle,y\n"));
    assert_eq!(count(&plan(&home, "t.csv", &[]).unwrap().0), 82);
}

#[test]
fn a_list_of_texts_whose_columns_change_places_is_not_predicted() {
    let home = Home::new();
    home.train_tiny(&[]);
    let predict = |content: &str| {
        let path = home.write("in.csv", content);
        let output = home.run(&["predict", "--input", path.to_str().unwrap()]);
        (output.status.code(), text(&output.stderr))
    };
    let (code, said) = predict("text,id\na router,1\nid,text\n2,an invoice\n");
    assert!(code == Some(2) && said.contains("line 3 has the column names in another"), "{said}");
    let (code, said) = predict("text,id\na router,1\nsentence,id\nan invoice,2\n");
    assert!(code == Some(0) && said.contains("line 3 looks like a header"), "{said}");
}

#[test]
fn texts_of_no_class_in_any_split_are_in_the_figures() {
    let home = Home::new();
    let known = |n, by: &str| rows(n, ",", ["x", "y"]).replace("ticket", by);
    let strange: String = (0..12).map(|i| format!("sunny hills {i},oos\n")).collect();
    let strange = strange.as_str();
    for (train, test, rows, of_others) in [(strange, "", 12, true), ("", strange, 12, false)] {
        let header = "text,label\n";
        home.write("set/train.csv", format!("{header}{}{train}", known(120, "ticket")));
        home.write("set/test.csv", format!("{header}{}{test}", known(20, "note")));
        let set = home.path("set");
        let more = ["--resume", "never", "--json", "--set", "data.ood_label=oos"];
        let output = home.run(&[&["train", set.to_str().unwrap()], &more[..], &TINY].concat());
        let said = text(&output.stderr);
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let figures = found.to_string();
        assert!(figures.contains("out_of_scope"), "{said} {figures}");
        assert_eq!(said.contains("the test split has no out-of-scope rows"), of_others, "{said}");
        let model = ["--model", "checkpoints/set/model", "--no-baseline", "--json"];
        let report: serde_json::Value =
            serde_json::from_str(&home.done(&[&["eval"][..], &model].concat())).unwrap();
        assert_eq!(report["ood"]["out_of_scope"]["rows"], rows, "{report}");
    }
}

#[test]
fn a_test_split_that_counts_its_classes_from_one_is_refused() {
    let home = Home::new();
    home.write("set/train.csv", "text,label\n".to_owned() + &rows(80, ",", ["0", "1"]));
    home.write("set/test.csv", "text,label\n".to_owned() + &rows(20, ",", ["1", "2"]));
    let message = plan(&home, "set", &[]).unwrap_err();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(message.contains("split `test` are `1`, `2`, but those of the training"), "{message}");
    assert!(plan(&home, "set", &["--label-map", "2=2"]).is_ok());
    home.write("set/test.csv", rows(20, ",", ["0", "1"]));
    let (_, said) = plan(&home, "set", &[]).unwrap();
    assert!(said.contains("has no line with the column names"), "{said}");
}

#[test]
fn words_in_one_file_and_numbers_in_another_are_not_made_classes_of_their_own() {
    let home = Home::new();
    let write = |name: &str, labels: [&str; 2]| {
        let rows = rows(80, ",", labels).replace("ticket", &name.replace('.', " "));
        home.write(name, "text,label\n".to_owned() + &rows);
    };
    for (first, second) in [
        ("train-00000-of-00002.csv", "train-00001-of-00002.csv"),
        ("train.csv", "test.csv"),
        ("train.csv", "validation.csv"),
    ] {
        for (one, other) in [(["pos", "neg"], ["1", "0"]), (["1.0", "0.0"], ["pos", "neg"])] {
            write(&format!("set/{first}"), one);
            write(&format!("set/{second}"), other);
            let message = plan(&home, "set", &[]).unwrap_err();
            assert!(
                message.contains(first) && message.contains("--label-map 0=neg,1=pos"),
                "{message}"
            );
            let (found, _) = plan(&home, "set", &["--label-map", "0=neg,1=pos"]).unwrap();
            assert_eq!(found["labels"], serde_json::json!(["neg", "pos"]));
            assert_eq!(count(&found), 160, "{found}");
        }
        std::fs::remove_dir_all(home.path("set")).unwrap();
    }
    let (first, second) = ("set/train-00000-of-00002.parquet", "set/train-00001-of-00002.parquet");
    home.write("set/x", "");
    parquet(&home.path(first), &[]);
    parquet(&home.path(second), &["neg", "pos"]);
    let (found, _) = plan(&home, "set", &[]).unwrap();
    assert_eq!(found["labels"], serde_json::json!(["neg", "pos"]), "the numbers are indices");
}

/// 80 rows with labels 0 and 1, and names for them as Python's `datasets` writes them.
fn parquet(path: &Path, names: &[&str]) {
    let schema = "message schema { required binary text (UTF8); required int64 label; }";
    let features = serde_json::json!({"info": {"features": {
        "label": {"names": names, "_type": "ClassLabel"}}}});
    let entry = KeyValue::new("huggingface".to_owned(), features.to_string());
    let entry = (!names.is_empty()).then(|| vec![entry]);
    let properties = WriterProperties::builder().set_key_value_metadata(entry).build();
    let file = File::create(path).unwrap();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let mut group = file.next_row_group().unwrap();
    let own = path.file_stem().unwrap().to_string_lossy().into_owned();
    let text = |i: usize| format!("{own} {i} was {}", ["good", "bad"][i % 2]);
    let texts: Vec<ByteArray> = (0..80).map(|i| ByteArray::from(text(i).into_bytes())).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    let labels: Vec<i64> = (0..80).map(|i| i % 2).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
}

#[test]
fn names_beside_a_table_may_not_contradict_those_in_it() {
    let home = Home::new();
    home.write("set/x", "");
    parquet(&home.path("set/train.parquet"), &["neg", "pos"]);
    let streamed = ["--set", "data.streaming=true", "--set", "train.max_steps=9"];
    for more in [&[][..], &streamed] {
        for names in [r#"["pos", "neg"]"#, r#"["neg", "neutral", "pos"]"#, r#"["pos"]"#] {
            home.write("set/labels.json", names);
            let message = plan(&home, "set", more).unwrap_err();
            assert!(
                message.contains("train.parquet` calls its classes `neg`, `pos`")
                    && message.contains("remove `"),
                "{message}"
            );
        }
        home.write("set/labels.json", r#"["bad", "good"]"#);
        let (found, said) = plan(&home, "set", more).unwrap();
        assert_eq!(found["labels"], serde_json::json!(["bad", "good"]));
        assert!(said.contains("they are renamed to `bad`, `good`"), "{said}");
    }
    home.write("set/labels.json", "[]");
    let message = plan(&home, "set", &[]).unwrap_err();
    assert!(message.contains("labels.json` is an empty list"), "{message}");
}

#[test]
fn a_table_without_labels_is_not_said_to_have_one() {
    let home = Home::new();
    for label in ["?", "unknown", "N/A", "-1", "-100", "Unlabelled", "TODO"] {
        home.write("t.csv", "text,label\n".to_owned() + &rows(40, ",", [label, label]));
        let message = plan(&home, "t.csv", &[]).unwrap_err();
        assert!(message.contains("no row of") && message.contains(label), "{message}");
    }
    home.write("t.csv", "text,label\n".to_owned() + &rows(40, ",", ["sports", "sports"]));
    assert!(plan(&home, "t.csv", &[]).unwrap_err().contains("has only one label, `sports`"));
    home.train_tiny(&[]);
    let path = home.path("t.csv");
    let columns = ["--text-column", "text", "--label-column", "label"];
    let arguments = [&["eval", "--dataset", path.to_str().unwrap()][..], &columns].concat();
    let message = home.refused(&arguments);
    assert!(message.contains("`sports`") && !message.contains("only one label"), "{message}");
}

#[test]
fn names_in_another_order_are_refused_and_a_test_without_a_class_is_said() {
    let home = Home::new();
    let line =
        |i: usize| format!("ticket {i} was {}", if i.is_multiple_of(2) { "good" } else { "bad" });
    let label = |i: usize| ["x", "y"][i % 2];
    let first: String = (0..60).map(|i| format!("{},{},mail\n", line(i), label(i))).collect();
    let second: String = (60..120).map(|i| format!("{},phone,{}\n", line(i), label(i))).collect();
    for again in ["text,channel,label", "Label , CHANNEL, text"] {
        home.write("t.csv", format!("text,label,channel\n{first}{again}\n{second}"));
        let said = plan(&home, "t.csv", &[]).unwrap_err();
        assert!(said.contains("line 62 has the column names in another order"), "{said}");
    }
    let folder = home.path("parts");
    std::fs::create_dir(&folder).unwrap();
    home.write("parts/train.csv", "text,label\n".to_owned() + &rows(120, ",", ["x", "y"]));
    home.write("parts/test.csv", "text,label\n".to_owned() + &rows(20, ",", ["oos", "oos"]));
    let (_, said) = plan(&home, "parts", &["--set", "data.ood_label=oos"]).unwrap();
    assert!(said.contains("all 20 rows of the split `test` are out of scope"), "{said}");
}

#[test]
fn a_run_of_nul_is_refused_in_every_table() {
    use std::io::Write;
    let home = Home::new();
    let mut bytes = ("text,label\n".to_owned() + &rows(80, ",", ["a", "b"])).into_bytes();
    bytes[200..500].fill(0);
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&bytes).unwrap();
    home.write("hole.csv", &bytes);
    home.write("hole.csv.gz", packer.finish().unwrap());
    home.write("hole.tsv", String::from_utf8(bytes).unwrap().replace(',', "\t"));
    for name in ["hole.csv", "hole.csv.gz", "hole.tsv"] {
        let message = plan(&home, name, &[]).unwrap_err();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            message.contains("line ") && message.contains("300 NUL bytes in a row"),
            "{message}"
        );
    }
}
