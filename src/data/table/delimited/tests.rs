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
fn a_run_of_nul_is_refused_by_line_wherever_it_stands() {
    let hole = "\0".repeat(50);
    for (text, at) in [
        (format!("text,label\na,1\nb{hole}ice,2\nc,1\n"), 3),
        (format!("text,label\na,1\n{hole}e,2\n"), 3),
        (format!("text,label\na,1\nb,{hole},2\n"), 3),
        (format!("text,label\na,1\n{hole}\nb,2\n"), 3),
        (format!("text,label\na,1\nb,2\n{hole}"), 4),
        (format!("text,label\na,1\n\"b\n{hole}c\",2\n"), 3),
        (format!("text,label\na,1\n\"b{hole},2\n"), 3),
        ("text,label\na,1\nb\0\0,2\n".to_owned(), 3),
    ] {
        let mut rows = open(text.as_bytes()).unwrap();
        let error = std::iter::from_fn(|| rows.next_row().transpose()).find_map(Result::err);
        let error = error.unwrap_or_else(|| panic!("{text:?}"));
        let Some(TableError::Nul { line, count, .. }) = Some(&error) else { panic!("{error}") };
        assert!(*line == at && matches!(count, 2 | 50) && error.is_of_a_row(), "{text:?}: {error}");
    }
    // In the line of the names nothing else can be read.
    let error = open(format!("te{hole},label\na,1\n").as_bytes()).map(|_| ()).unwrap_err();
    assert!(matches!(error, TableError::Nul { line: 1, .. }), "{error}");
    // One alone is a character, or an empty cell of some data bases.
    assert_eq!(rows(b"text,label\na\0b,1\n\0,\0\n").len(), 2);
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
fn single_quotes_around_every_field_are_refused() {
    for table in [
        "'text','label'\n'a good film','pos'\n'it''s bad','neg'\n",
        "text,label\n'a good film',1\n'a bad film',0\n,1\n",
    ] {
        let message = open(table.as_bytes()).map(drop).unwrap_err().to_string();
        assert!(message.contains("single quotes") && message.contains("`none`"), "{message}");
        let reading = Reading { quoting: Quoting::None, ..Reading::default() };
        let text = Box::new(Cursor::new(table.as_bytes().to_vec()));
        assert!(DelimitedRows::open(text, b',', "a.csv".into(), &reading).is_ok());
    }
    for table in ["text,label\n'a' or 'b',x\n'c','y'\n", "text,label\n1,2\n", "text,label\n"] {
        assert!(open(table.as_bytes()).is_ok(), "{table}");
    }
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

/// One quote too many, and one further on that a reader takes for its end.
#[test]
fn rows_in_quotes_are_refused_by_line_until_somebody_says_how_fields_are_quoted() {
    let open_as = |table: &str, own, quoting| {
        let reading = Reading { quoting, header: Header::Yes, ..Reading::default() };
        let input = Box::new(Cursor::new(table.to_owned().into_bytes()));
        DelimitedRows::open(input, own, "a.csv".into(), &reading).unwrap()
    };
    let row = |i: usize| format!("\"film {i}, so to say\",{}\n", ["pos", "neg"][i % 2]);
    let double: String = (0..30).map(row).collect();
    let escaped = |i: usize| format!("\"film \\\"{i}\\\", again\",{}\n", ["pos", "neg"][i % 2]);
    let escaped: String = (0..30).map(escaped).collect();
    // Beyond the rows that are looked at first, in classes that come late.
    let late: String = (0..3000).map(|i| format!("film {i}, so,class {}\n", i / 100)).collect();
    let late = late.replace("film", "\"film").replace(", so", ", so\"");
    for (rows, broken, line, own) in [
        (&double, "\"great, film\"\",pos\nfine film\",neg\n", 32, b','),
        (&double, "\"great, film\"\",pos\nslow, but fine,neg\nlong,pos\nfine\",neg\n", 32, b','),
        (&double, "\"great film\"\",pos\r\n\"\",neg\r\nlong\",pos\r\n", 32, b','),
        (&double.replace("\",", "\"\t"), "\"great\tfilm\"\"\tpos\nfine\"\tneg\n", 32, b'\t'),
        (&escaped, "\"great, film\\\",pos\nfine film\",neg\n", 32, b','),
        (&late, "\"great, film\"\",class 29\nfine film\",class 28\n", 3002, b','),
    ] {
        let table = format!("text,label\n{rows}{broken}{rows}");
        let table = if own == b'\t' { table.replacen(',', "\t", 1) } else { table };
        let mut found = open_as(&table, own, Quoting::Auto);
        let read: Vec<_> = std::iter::from_fn(|| found.next_row().transpose()).collect();
        let errors: Vec<_> = read.iter().filter_map(|row| row.as_ref().err()).collect();
        assert!(matches!(errors[..], [TableError::Swallowed { .. }]), "{broken}: {errors:?}");
        let message = errors[0].to_string();
        assert!(message.contains(&format!("line {line}: the quoted field")), "{message}");
        assert!(message.contains("`--quoting none`"), "{message}");
        let said = if rows == &escaped { Quoting::Backslash } else { Quoting::Double };
        let mut found = open_as(&table, own, said);
        let believed = std::iter::from_fn(|| found.next_row().unwrap()).count();
        assert_eq!((believed, read.len()), (read.len(), 2 * rows.lines().count() + 1), "{broken}");
    }
}

/// Numbers that are no pattern.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }
}

/// A table as some program writes it: its delimiter, its columns, and the cells of 60 rows.
fn some_table(dice: &mut Dice) -> (&'static str, &'static [&'static str], Vec<Vec<String>>) {
    let delimiter = [",", ",", ";", "\t"][dice.below(4)];
    let labels = [["pos", "neg", "neutral"], ["0", "1", "2"]][dice.below(2)];
    let (order, all, lines) = (dice.below(4), dice.below(3), dice.one_in(2));
    let quoted = |text: &str, always: bool| {
        let needs = text.contains(['"', '\n']) || text.contains(delimiter);
        if always || needs { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
    };
    let columns: &[&str] = [
        &["text", "label"][..],
        &["label", "text"],
        &["id", "text", "label"],
        &["label", "text", "user"],
    ][order];
    let rows = (0..60).map(|row| {
        let mut text = format!("film no. {row} was");
        for _ in 0..=dice.below(5) {
            text += [" good", " bad, so to say", " \"fine\"", "; slow", " long"][dice.below(5)];
        }
        if lines && dice.one_in(4) {
            text += ["\nand, again, too", ",\nand so on\n\nbye", "\n1,5 km, or 2"][dice.below(3)];
        }
        let cells = columns.iter().map(|&column| match column {
            "text" => quoted(&text, all > 0),
            "label" => quoted(labels[dice.below(3)], all > 1),
            other => quoted(&format!("{other}{row}"), all > 1),
        });
        cells.collect()
    });
    let rows = rows.collect();
    (delimiter, columns, rows)
}

/// Puts a quote too many into a text, and one further on that ends it, where no quote stands between.
fn hide_rows(dice: &mut Dice, text: usize, rows: &mut [Vec<String>]) {
    let plain = |row: &Vec<String>| row.iter().all(|cell| !cell.contains('"'));
    for _ in 0..20 {
        let first = dice.below(rows.len());
        let run = rows[first + 1..].iter().take(10).take_while(|row| plain(row)).count();
        if run == 0 {
            continue;
        }
        let opens = &mut rows[first][text];
        opens.insert(if opens.starts_with('"') { opens.len() - 1 } else { 0 }, '"');
        rows[first + 1 + dice.below(run)][text].push('"');
        return;
    }
}

/// Rows that are read, the first error, and what is said of them.
fn outcome(header: &str, rows: &[String]) -> (usize, Option<String>, Option<String>) {
    outcome_of(&[header, "\n", &rows.join("\n"), "\n"].concat())
}

fn outcome_of(table: &str) -> (usize, Option<String>, Option<String>) {
    let mut table = match open(table.as_bytes()) {
        Ok(table) => table,
        Err(error) => return (0, Some(error.to_string()), None),
    };
    let read: Vec<_> = std::iter::from_fn(|| table.next_row().transpose()).collect();
    let error = read.iter().find_map(|row| row.as_ref().err()).map(TableError::to_string);
    (read.len(), error, table.lost().into_iter().next())
}

#[test]
fn a_first_line_that_is_longer_than_names_are_is_warned_of() {
    let rows: String = (0..60)
        .map(|i| format!("ticket number {i},{}\n", ["billing", "technical"][i % 2]))
        .collect();
    for (first, doubted) in [
        ("i was charged twice for the same order again,refund", true),
        ("How satisfied are you with our service in general?,outcome of it", true),
        ("How satisfied are you with our service in general?,label", false),
        ("body of it,team of it", false),
    ] {
        let table = format!("{first}\n{rows}");
        let (read, error, lost) = outcome_of(&table);
        assert_eq!((read, error), (60, None), "{first}");
        let warned = lost.is_some_and(|said| said.contains("it looks like a row"));
        assert_eq!(warned, doubted, "{first}");
    }
}

/// Quotes are put in, doubled or left out, at some places of some rows.
#[test]
fn quotes_that_are_too_many_or_too_few_lose_no_row_without_a_word() {
    const TABLES: u64 = 1500;
    let (mut silent, mut lost) = (Vec::new(), 0);
    for seed in 0..TABLES {
        let dice = &mut Dice(seed);
        let (delimiter, columns, mut cells) = some_table(dice);
        let header = columns.join(delimiter);
        let join = |cells: &[Vec<String>]| -> Vec<String> {
            cells.iter().map(|row| row.join(delimiter)).collect()
        };
        let mut rows = join(&cells);
        // A line that begins or ends like a number may be doubted; nothing is refused.
        let (read, error, _) = outcome(&header, &rows);
        assert_eq!((read, error), (60, None), "{header}\n{}", rows.join("\n"));
        if seed % 2 == 0 {
            let text = columns.iter().position(|column| *column == "text").unwrap();
            hide_rows(dice, text, &mut cells);
            rows = join(&cells);
        }
        for _ in 0..(seed % 2) as usize * (1 + dice.below(3)) {
            let row = dice.below(60);
            let quotes: Vec<usize> = rows[row].match_indices('"').map(|(place, _)| place).collect();
            let ends = rows[row].rfind([',', ';', '\t']).unwrap();
            match (dice.below(4), &quotes[..]) {
                (0, [_, ..]) => rows[row].insert(quotes[dice.below(quotes.len())], '"'),
                (1, [_, ..]) => {
                    rows[row].remove(quotes[dice.below(quotes.len())]);
                }
                (2, _) => rows[row].insert(ends, '"'),
                _ => rows[row].insert(0, '"'),
            }
        }
        let (read, error, doubt) = outcome(&header, &rows);
        lost += usize::from(read < 60);
        if read < 60 && error.is_none() && doubt.is_none() {
            silent.push(format!("{seed}: {read} rows of\n{header}\n{}", rows.join("\n")));
        }
    }
    assert!(lost > 300, "{lost}");
    assert!(silent.is_empty(), "{} of {lost} tables, such as\n{}", silent.len(), silent[0]);
}
