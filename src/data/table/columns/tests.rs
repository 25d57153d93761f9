//! Columns of tables as strangers name them.

use super::*;
use crate::data::table::Value;

const NOTHING: ColumnNames =
    ColumnNames { text: String::new(), pair: String::new(), label: String::new() };

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|&column| column.to_owned()).collect()
}

/// Forty rows; `{i}` in a cell is the number of the row, `{even}` is 0 or 1 in turn.
fn sample(cells: &[&str]) -> Vec<Row> {
    let cell = |i: usize, cell: &&str| {
        let text = cell.replace("{i}", &i.to_string());
        Value::Text(text.replace("{even}", &(i % 2).to_string()))
    };
    (0..40)
        .map(|i| Row { line: i as u64 + 2, values: cells.iter().map(|c| cell(i, c)).collect() })
        .collect()
}

fn found(columns: &[&str], cells: &[&str], wanted: &ColumnNames) -> Result<String, String> {
    let columns = names(columns);
    detect(&columns, &sample(cells), wanted, true)
        .map(|found| found.describe(&columns))
        .map_err(|error| error.to_string())
}

const LONG: &str = "the {i}th letter that nobody will ever read to its end";

#[test]
fn what_tools_write_beside_a_label_is_none() {
    let cells = ["{i}", LONG, "ann{even}", "label {even}"];
    for name in ["annotator", "label.suggestion", "Predicted class"] {
        let columns = ["id", "text", name, "choice"];
        assert_eq!(found(&columns, &cells, &NOTHING).unwrap(), "text = `text`, label = `choice`");
        let message = found(&columns[..3], &cells[..3], &NOTHING).unwrap_err();
        assert!(message.contains(name) && message.contains("`data.label_column`"), "{message}");
    }
}

#[test]
fn a_known_label_of_one_value_beside_one_of_several_is_asked_about() {
    let columns = ["text", "category", "topic"];
    let message = found(&columns, &[LONG, "Business", "topic {even}"], &NOTHING).unwrap_err();
    assert!(message.contains("`category`") && message.contains("`topic`"), "{message}");
    let sorted = found(&columns[..2], &[LONG, "Business"], &NOTHING).unwrap();
    assert_eq!(sorted, "text = `text`, label = `category`");
}

#[test]
fn a_longer_text_is_taken_in_the_place_of_its_head() {
    let cells = ["number {i}", LONG, "{even}"];
    for text in ["Review Text", "what they wrote", "review-text"] {
        let columns = ["Title", text, "Rating"];
        let expected = format!("text = `{text}`, label = `Rating`");
        assert_eq!(found(&columns, &cells, &NOTHING).unwrap(), expected);
    }
    let columns = ["Title", "filename", "Rating"];
    let cells = ["number {i}", "a-file-with-a-name-that-is-long-enough-{i}.txt", "{even}"];
    let expected = "text = `Title`, label = `Rating`";
    assert_eq!(found(&columns, &cells, &NOTHING).unwrap(), expected);
}

#[test]
fn known_names_are_found_in_any_case() {
    let cells = ["{i}", "{even}", LONG];
    assert_eq!(
        found(&["id", "Sentiment", "REVIEW"], &cells, &NOTHING).unwrap(),
        "text = `REVIEW`, label = `Sentiment`"
    );
}

#[test]
fn an_earlier_known_name_wins_and_numbers_are_no_text() {
    let cells = ["{i}", LONG, "short {i}", "{even}", "kind {even}"];
    assert_eq!(
        found(&["document", "body", "title", "label", "category"], &cells, &NOTHING).unwrap(),
        "text = `body`, label = `label`"
    );
}

#[test]
fn unknown_names_are_found_by_content() {
    let cells = [
        "{i}",
        "0.{i}5",
        "grade {even}",
        LONG,
        "https://example.org/a/very/long/path/to/page/{i}/index.html",
    ];
    assert_eq!(
        found(&["no", "weight", "v1", "v2", "link"], &cells, &NOTHING).unwrap(),
        "text = `v2`, label = `v1`"
    );
}

#[test]
fn two_equal_candidates_are_refused_with_both_names_and_the_key() {
    let texts = found(&["v1", "v2", "label"], &[LONG, LONG, "{even}"], &NOTHING).unwrap_err();
    assert_eq!(
        texts,
        "several columns could be the text; set `data.text_column` to one of `v1`, `v2`"
    );
    let labels = found(&["text", "a", "b"], &[LONG, "{even}", "x{even}"], &NOTHING);
    assert!(labels.unwrap_err().ends_with("set `data.label_column` to one of `a`, `b`"));
    let case = found(&["Text", "text", "label"], &[LONG, LONG, "{even}"], &NOTHING);
    assert!(case.unwrap_err().contains("`Text`, `text`"));
}

#[test]
fn a_named_column_must_be_there_and_a_near_name_is_suggested() {
    let wanted = ColumnNames { label: "sentimnet".into(), ..NOTHING };
    let message = found(&["text", "Sentiment"], &[LONG, "{even}"], &wanted).unwrap_err();
    assert_eq!(
        message,
        "column `sentimnet` (`data.label_column`) not found; did you mean `Sentiment`? available \
         columns: `text`, `Sentiment`"
    );
    let far = ColumnNames { text: "xyz".into(), ..NOTHING };
    assert!(!found(&["text", "label"], &[LONG, "{even}"], &far).unwrap_err().contains("mean"));
}

#[test]
fn one_column_cannot_have_two_roles_or_two_places() {
    let wanted = ColumnNames { text: "a".into(), label: "a".into(), ..NOTHING };
    let message = found(&["a", "b"], &[LONG, LONG], &wanted).unwrap_err();
    assert!(message.ends_with("both `data.text_column` and `data.label_column`"), "{message}");
    let wanted = ColumnNames { text: "a".into(), ..NOTHING };
    assert!(found(&["a", "a"], &[LONG, LONG], &wanted).unwrap_err().contains("called `a`"));
    let known = found(&["text", "label", "label"], &[LONG, "{even}", "{even}"], &NOTHING);
    assert!(known.unwrap_err().contains("several columns are called `label`"));
    let texts = found(&["text", "text", "label"], &[LONG, LONG, "{even}"], &NOTHING);
    assert!(texts.unwrap_err().contains("several columns are called `text`"));
}

#[test]
fn a_pair_is_taken_by_known_names_or_when_named() {
    let cells = [LONG, "so {i} or {i}", "{even}"];
    let known = found(&["premise", "hypothesis", "label"], &cells, &NOTHING).unwrap();
    assert_eq!(known, "text = `premise`, text pair = `hypothesis`, label = `label`");
    let unknown = found(&["text", "reply", "label"], &cells, &NOTHING).unwrap();
    assert_eq!(unknown, "text = `text`, label = `label`");
    let wanted = ColumnNames { pair: "reply".into(), ..NOTHING };
    let named = found(&["text", "reply", "label"], &cells, &wanted).unwrap();
    assert_eq!(named, "text = `text`, text pair = `reply`, label = `label`");
    let wanted = ColumnNames { text: "premise".into(), ..NOTHING };
    let single = found(&["premise", "hypothesis", "label"], &cells, &wanted).unwrap();
    assert_eq!(single, "text = `premise`, label = `label`");
    let wanted = ColumnNames { pair: "hypothesis".into(), ..NOTHING };
    let partner =
        found(&["text", "hypothesis", "premise", "label"], &[LONG, LONG, LONG, "{even}"], &wanted);
    assert_eq!(partner.unwrap(), "text = `premise`, text pair = `hypothesis`, label = `label`");
}

#[test]
fn a_pair_where_single_texts_are_usual_is_refused_unless_a_text_stands_beside_it() {
    let usual = ColumnNames { text: "subject".into(), ..NOTHING };
    let usual = |columns: &[&str], cells: &[&str]| {
        let columns = names(columns);
        detect_usual(&columns, &sample(cells), &NOTHING, &usual, true)
            .map(|found| found.describe(&columns))
            .map_err(|error| error.to_string())
    };
    for pair in [["premise", "hypothesis"], ["question", "passage"], ["text", "text_pair"]] {
        let message = usual(&[pair[0], pair[1], "label"], &[LONG, "it {i} is", "{even}"]);
        let message = message.unwrap_err();
        let named = pair.map(|name| format!("`{name}`"));
        assert!(message.contains(&named.join(" and ")), "{message}");
        assert!(message.contains("`data.text_column`"), "{message}");
    }
    // One of the pair is the usual text.
    for text in ["text", "question", "hypothesis"] {
        let usual = ColumnNames { text: text.into(), ..NOTHING };
        let pair = match text {
            "text" => ["text", "text_pair"],
            "question" => ["question", "passage"],
            _ => ["premise", "hypothesis"],
        };
        let columns = names(&[pair[1], pair[0], "label"]);
        let rows = sample(&["it {i} is", LONG, "{even}"]);
        for required in [true, false] {
            let found = detect_usual(&columns, &rows, &NOTHING, &usual, required);
            let message = found.unwrap_err().to_string();
            let named = pair.map(|name| format!("`{name}`"));
            assert!(message.contains(&named.join(" and ")), "{message}");
        }
        // Who names it wants it alone; numbers are no second text.
        let wanted = ColumnNames { text: text.into(), ..NOTHING };
        let found = detect_usual(&columns, &rows, &wanted, &usual, true).unwrap();
        assert_eq!(found.pair, None);
        let numbers = if text == "hypothesis" { [LONG, "{i}"] } else { ["{i}", LONG] };
        let other = sample(&[numbers[0], numbers[1], "{even}"]);
        let found = detect_usual(&columns, &other, &NOTHING, &usual, true);
        assert!(found.is_ok(), "{found:?}");
    }
    let cells = ["it {i} is", "it {i} was", LONG, "{even}"];
    let found = usual(&["premise", "hypothesis", "text", "label"], &cells).unwrap();
    assert_eq!(found, "text = `text`, label = `label`");
    let found = usual(&["subject", "premise", "hypothesis", "label"], &cells).unwrap();
    assert_eq!(found, "text = `subject`, label = `label`");
}

#[test]
fn a_label_that_is_not_required_is_found_by_name_only() {
    let columns = names(&["text", "source"]);
    let rows = sample(&[LONG, "shop {even}"]);
    let found = |required| detect(&columns, &rows, &NOTHING, required).unwrap().label;
    assert_eq!((found(false), found(true)), (None, Some(1)));
}

#[test]
fn answers_of_a_model_are_labels_only_where_that_is_said() {
    let own = ["text", "label", "confidence", "uncertainty", "decision", "prediction_set"];
    let cells = [LONG, "{even}", "0.9{i}", "0.1{i}", "accept", "{even}", "{even}"];
    let usual = ColumnNames { text: "text".into(), label: "label".into(), ..NOTHING };
    let found = |more: &str, wanted: &ColumnNames, required| {
        let columns = names(&[&own[..], &[more]].concat());
        let rows = sample(&cells);
        let found = detect_usual(&columns, &rows, wanted, &usual, required);
        assert_eq!(found.is_ok(), detect(&columns, &rows, wanted, required).is_ok());
        found.map(|found| found.describe(&columns)).map_err(|error| error.to_string())
    };
    let message = found("input_label", &NOTHING, true).unwrap_err();
    for part in
        ["`label` contains predictions", "`input_label`", "`--label-column`", "`confidence`"]
    {
        assert!(message.contains(part), "{message}");
    }
    let message = found("gold", &NOTHING, true).unwrap_err();
    assert!(message.contains("the others are `text`, `gold`"), "{message}");
    for label in ["label", "input_label"] {
        let wanted = ColumnNames { label: label.into(), ..NOTHING };
        let said = found("input_label", &wanted, true).unwrap();
        assert_eq!(said, format!("text = `text`, label = `{label}`"));
    }
    // To be answered again they need no label.
    assert!(found("input_label", &NOTHING, false).is_ok());
    // A model of another label column finds that one.
    let columns = names(&[&own[..], &["department"]].concat());
    let usual = ColumnNames { label: "department".into(), ..NOTHING };
    let found = detect_usual(&columns, &sample(&cells), &NOTHING, &usual, true).unwrap();
    assert_eq!(found.label, Some(6));
}

#[test]
fn a_label_column_may_be_constant_in_a_sorted_file() {
    let cells = [LONG, "class 0"];
    assert_eq!(found(&["v1", "v2"], &cells, &NOTHING).unwrap(), "text = `v1`, label = `v2`");
}

#[test]
fn a_table_without_text_or_label_is_refused() {
    let message = found(&["a", "b"], &["{i}", "{even}"], &NOTHING).unwrap_err();
    assert_eq!(
        message,
        "cannot tell which column holds the text; set `data.text_column` to one of `a`, `b`"
    );
    let message = found(&["text", "b"], &[LONG, LONG], &NOTHING).unwrap_err();
    assert!(message.starts_with("cannot tell which column holds the label"), "{message}");
    let columns = names(&["only"]);
    assert_eq!(detect(&columns, &[], &NOTHING, false).unwrap().text, 0);
}

#[test]
fn a_usual_column_is_found_in_another_case_where_that_is_certain() {
    let usual = |text: &str, pair: &str, label: &str| ColumnNames {
        text: text.to_owned(),
        pair: pair.to_owned(),
        label: label.to_owned(),
    };
    let found = |columns: &[&str], usual: &ColumnNames| {
        let columns = names(columns);
        let sample = sample(&[LONG; 3][..columns.len()]);
        detect_usual(&columns, &sample, &NOTHING, usual, false)
            .map(|found| found.describe(&columns))
            .map_err(|error| error.to_string())
    };
    let pair = usual("premise", "hypothesis", "label");
    let expected = "text = `premise`, text pair = `Hypothesis`";
    assert_eq!(found(&["Hypothesis", "Premise", "premise"], &pair).unwrap(), expected);
    let expected = "text = `PREMISE`, text pair = `Hypothesis`";
    assert_eq!(found(&["Hypothesis", "PREMISE"], &pair).unwrap(), expected);
    let own = usual("first note", "second note", "mark");
    let expected = "text = `First_Note`, text pair = `Second-note`";
    assert_eq!(found(&["Second-note", "First_Note"], &own).unwrap(), expected);
    // Two that differ in their case alone are not chosen between.
    let message = found(&["Premise", "PREMISE", "hypothesis"], &pair).unwrap_err();
    assert!(message.contains("`Premise`") && message.contains("`PREMISE`"), "{message}");
    let note = usual("note", "", "Note");
    assert_eq!(found(&["note", "text"], &note).unwrap(), "text = `note`");
    assert_eq!(found(&["NOTE", "text"], &note).unwrap(), "text = `text`");
}

/// The names of a table without column names are its numbers, which say nothing of another one.
#[test]
fn columns_of_a_table_without_names_are_those_of_another_where_the_content_agrees() {
    let usual = ColumnNames { text: "column_1".into(), label: "column_2".into(), ..NOTHING };
    let columns = names(&["column_1", "column_2"]);
    let found = |cells: &[&str], wanted: &ColumnNames, required: bool| {
        detect_usual(&columns, &sample(cells), wanted, &usual, required)
            .map(|found| found.text)
            .map_err(|error| error.to_string())
    };
    for required in [true, false] {
        assert_eq!(found(&[LONG, "{even}"], &NOTHING, required), Ok(0));
        let message = found(&["{even}", LONG], &NOTHING, required).unwrap_err();
        for part in ["`column_1`", "`column_2`", "`data.text_column`"] {
            assert!(message.contains(part), "{message}");
        }
    }
    let message = found(&["{i}", LONG], &NOTHING, false).unwrap_err();
    assert!(message.contains("`column_2`"), "{message}");
    for (text, place) in [("column_1", 0), ("column_2", 1)] {
        let wanted = ColumnNames { text: text.into(), ..NOTHING };
        assert_eq!(found(&["{i}", LONG], &wanted, false), Ok(place), "who names it means it");
    }
    // Of a table with names of its own nothing of this is asked.
    let named = names(&["column_1", "text"]);
    let found = detect_usual(&named, &sample(&["{even}", LONG]), &NOTHING, &usual, false).unwrap();
    assert_eq!(found.text, 0);
}

/// Who has a short text and something long beside it that says nothing.
#[test]
fn moments_and_numbers_of_any_form_are_no_text() {
    for cell in [
        "2024-01-{i} 12:00:0{even}",
        "2024-01-{i}T12:00:00Z",
        "Mon Apr {i} 22:00:45 PDT 2009",
        "Sept. {i}, 2024 at 10 pm",
        "+49 30 1234 {i}",
        "52.52, 13.{i}",
        "[0, 4, {i}]",
    ] {
        let cell = cell.replace(" at ", " ");
        let columns = names(&["created_at", "utt", "team"]);
        for required in [true, false] {
            let cells = [cell.as_str(), "help {i} me", "{even}"];
            let found = detect(&columns, &sample(&cells), &NOTHING, required);
            assert_eq!(found.unwrap().text, 1, "{cell}");
        }
        let none = detect(&columns[..1], &sample(&[&cell]), &NOTHING, true);
        assert!(none.is_err(), "{cell}");
    }
    // Pictures are words, and so are other scripts.
    for text in ["😀 {i}", "你好 {i}", "may I go {i}", "привет {i}"] {
        let columns = names(&["created_at", "utt", "team"]);
        let cells = ["2024-01-01 12:00:{i}", text, "{even}"];
        assert_eq!(detect(&columns, &sample(&cells), &NOTHING, true).unwrap().text, 1, "{text}");
    }
}

#[test]
fn a_division_of_the_rows_is_no_label() {
    for name in ["split", "Split", "is_valid", "is train", "fold", "data_split", "partition"] {
        let columns = names(&["text", name]);
        let message = detect(&columns, &sample(&[LONG, "{even}"]), &NOTHING, true).unwrap_err();
        assert!(message.to_string().contains("`data.label_column`"), "{message}");
        let wanted = ColumnNames { label: name.into(), ..NOTHING };
        let found = detect(&columns, &sample(&[LONG, "{even}"]), &wanted, true).unwrap();
        assert_eq!(found.label, Some(1), "who names it means it");
    }
}
