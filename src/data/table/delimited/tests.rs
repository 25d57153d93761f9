use super::*;

fn open(text: &[u8]) -> Result<DelimitedRows, TableError> {
    let reading = Reading::default();
    DelimitedRows::open(Box::new(Cursor::new(text.to_vec())), b',', "a.csv".into(), &reading)
}

fn rows(text: &[u8]) -> Vec<Row> {
    let mut rows = open(text).unwrap();
    std::iter::from_fn(|| rows.next_row().unwrap()).collect()
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

#[test]
fn a_quoted_field_may_hold_lines_delimiters_and_quotes() {
    let rows = rows(b"text,label\n\"one\ntwo, \"\"three\"\"\",1\nfour,2\n");
    assert_eq!(rows[0].values, [text("one\ntwo, \"three\""), text("1")]);
    assert_eq!((rows[0].line, rows[1].line), (2, 4));
}

#[test]
fn lines_are_counted_with_every_line_ending_and_across_blank_lines() {
    for ending in ["\n", "\r\n", "\r"] {
        let lines = ["", "text,label", "a,1", "", "\"b", "c\",2", "", "d,3"].join(ending);
        let starts: Vec<u64> = rows(lines.as_bytes()).iter().map(|row| row.line).collect();
        assert_eq!(starts, [3, 5, 8], "{ending:?}");
    }
}

#[test]
fn a_row_with_another_number_of_fields_is_refused_by_line() {
    let mut rows = open(b"text,label\r\na,1\r\nb,2,3\r\n").unwrap();
    rows.next_row().unwrap();
    let message = rows.next_row().unwrap_err().to_string();
    assert!(
        message.starts_with("`a.csv` line 3 has 3 fields, but the first line has 2"),
        "{message}"
    );
}

#[test]
fn bytes_that_are_not_utf8_are_refused_by_line_and_column() {
    let mut rows = open(b"text,label\na,1\n\ncaf\xe9,1\n").unwrap();
    rows.next_row().unwrap();
    let message = rows.next_row().unwrap_err().to_string();
    assert!(message.starts_with("`a.csv` line 4, column `text`: not UTF-8"), "{message}");
    assert!(matches!(open(b"caf\xe9,label\n"), Err(TableError::NotUtf8 { line: 1, .. })));
}

#[test]
fn an_empty_file_and_a_foreign_delimiter_are_refused() {
    for nothing in [&b""[..], b"\n\n"] {
        assert!(matches!(open(nothing), Err(TableError::Empty { .. })), "{nothing:?}");
    }
    assert_eq!(rows(b"text;label\na;1\n")[0].values, [text("a"), text("1")]);
    assert!(rows(b"text,label\n").is_empty());
}

#[test]
fn a_file_without_a_header_keeps_its_first_row() {
    let mut rows = open(b"a good film,pos\na bad film,neg\na fine film,pos\n").unwrap();
    assert_eq!(rows.columns(), ["column_1", "column_2"]);
    let first = rows.next_row().unwrap().unwrap();
    assert_eq!((first.line, first.values), (1, vec![text("a good film"), text("pos")]));
    assert_eq!(std::iter::from_fn(|| rows.next_row().unwrap()).count(), 2);
    assert!(rows.described().contains(&"without column names".to_owned()));
}

#[test]
fn a_line_that_tells_a_spreadsheet_the_delimiter_is_no_row_and_is_counted() {
    let mut rows = open(b"sep=;\r\ntext;label\r\na, b;1\r\nc;2\r\n").unwrap();
    assert_eq!(rows.columns(), ["text", "label"]);
    let first = rows.next_row().unwrap().unwrap();
    assert_eq!((first.line, first.values), (3, vec![text("a, b"), text("1")]));
}

#[test]
fn rows_behind_a_bad_one_can_be_read() {
    let mut rows =
        open(b"text,label\n\"a\",1\nb\n\"c\",2\ncaf\xe9,3\n\"d\" e,4\n\"f\",5\n").unwrap();
    let read: Vec<_> = std::iter::from_fn(|| rows.next_row().transpose()).collect();
    let good: Vec<bool> = read.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, true, false, false, true]);
    let lines: Vec<_> =
        read.iter().filter_map(|row| row.as_ref().err()).map(|error| error.line()).collect();
    assert_eq!(lines, [Some(3), Some(5), Some(6)]);
}

/// The quote comes after all that is looked at to find out how the file is written.
#[test]
fn a_late_quote_that_swallows_rows_is_refused_by_its_line() {
    let mut late = "text\tlabel\n".to_owned();
    while late.len() < LOOK as usize {
        late.push_str("a letter of no importance that fills the file\tgood\n");
    }
    let line = late.lines().count() as u64 + 1;
    late.push_str("\"never again\tbad\nfine\tgood\n15\"\tbad\nlast\tgood\n");
    let input = Box::new(Cursor::new(late.into_bytes()));
    let mut rows = DelimitedRows::open(input, b'\t', "a.tsv".into(), &Reading::default()).unwrap();
    let error = loop {
        match rows.next_row() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("rows were swallowed"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.line(), Some(line));
    assert!(error.to_string().contains("`data.quoting` to `none`"), "{error}");
}

#[test]
fn a_record_without_end_is_refused_with_the_limit() {
    let endless = Cursor::new(b"text,label\n\"".to_vec()).chain(io::repeat(b'x'));
    let read = DelimitedRows::open(Box::new(endless), b',', "a.csv".into(), &Reading::default());
    let error = read.map(|mut rows| rows.next_row().err()).unwrap_or_else(Some).unwrap();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("line 2") && source.contains("64 MiB"), "{source}");
}

#[test]
fn a_quoted_field_may_stand_behind_spaces() {
    let mut text: String = "label, text, more\n".to_owned();
    for i in 0..40 {
        text += &format!("x, \"ticket {i}, again\nand \"\"again\"\"\", 1\n");
    }
    let found = open(text.as_bytes()).unwrap();
    assert!(found.described().iter().any(|part| part.contains("spaces before quotes")));
    let rows = rows(text.as_bytes());
    assert_eq!((rows.len(), rows[1].line), (40, 4));
    let Value::Text(field) = &rows[39].values[1] else { panic!("{:?}", rows[39]) };
    assert_eq!(field, "ticket 39, again\nand \"again\"");
    // Other spaces stay, as RFC 4180 has it.
    assert_eq!(rows[0].values[2], Value::Text(" 1".into()));
}

#[test]
fn names_that_are_one_too_few_are_told_from_a_title() {
    let rows = |row: &str| [&b"\"text\",\"label\"\n"[..], &row.repeat(9).into_bytes()].concat();
    for table in ["\"1\",\"good\",\"x\"\n", "\"good\",\"x\",\n"] {
        let message = open(&rows(table)).err().unwrap().to_string();
        assert!(
            message.contains("line 1 has 2 fields and the lines behind it have 3")
                && message.contains("row names")
                && message.contains("end with `,`"),
            "{message}"
        );
    }
    let title = [&b"Report of May\n"[..], &b"good,x\n".repeat(9)].concat();
    let message = open(&title).err().unwrap().to_string();
    assert!(message.contains("remove titles"), "{message}");
}

#[test]
fn delimiters_in_fields_that_are_escaped_or_quoted_in_another_way_are_told_from_row_names() {
    for (row, what) in [
        ("ticket {i}\\, again,x\n", "a backslash does not make the delimiter after it part"),
        ("'ticket {i}, again','x'\n", "`'` is read as an ordinary character"),
    ] {
        let rows = |header: &str| -> Vec<u8> {
            let rows = (0..9).map(|i| row.replace("{i}", &i.to_string()));
            [header.to_owned()].into_iter().chain(rows).collect::<String>().into_bytes()
        };
        let message = open(&rows("text,label\n")).err().unwrap().to_string();
        assert!(message.contains("line 2 has 3 fields") && message.contains(what), "{message}");
        assert!(!message.contains("row names"), "{message}");
        // Some of them only.
        let some = [rows("text,label\nplain,x\nplain,y\nplain,x\n"), b"plain,x\n".repeat(9)];
        let mut table = open(&some.concat()).unwrap();
        let error = std::iter::from_fn(|| table.next_row().transpose()).find_map(Result::err);
        let message = error.unwrap().to_string();
        assert!(message.contains("line 5 has 3 fields") && message.contains(what), "{message}");
    }
}
