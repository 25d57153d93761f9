//! How a delimited text is written, found out from its first rows: delimiter and quotes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::reading::{Quoting, Reading};
use super::scan::{Dialect, Record, records};
use super::spaces;

/// What separates fields, besides what the name of the format says.
const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// A delimiter is taken for another than the format's own where it fits this much better.
const CLEARLY: f64 = 0.02;
/// And where so many rows agree: prose has commas too.
const MOSTLY: f64 = 0.9;

/// What was found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sniffed {
    pub dialect: Dialect,
    /// Bytes of a first line such as `sep=;`, which is no row.
    pub skipped: usize,
    /// Whether white space stands before quotes that open a field.
    pub spaced: bool,
}

/// Finds the dialect. `own` is the delimiter that the format's name promises, `whole` says that the text
/// ends where the file does.
pub(super) fn sniff(
    text: &[u8],
    own: u8,
    whole: bool,
    reading: &Reading,
) -> Result<Sniffed, String> {
    let (said, skipped) = spreadsheet_line(text);
    let text = &text[skipped..];
    let asked = reading.delimiter_byte()?.or(said);
    let delimiters: Vec<u8> = match asked {
        Some(delimiter) => vec![delimiter],
        None => std::iter::once(own).chain(DELIMITERS.into_iter().filter(|&d| d != own)).collect(),
    };
    let mut best: Option<Fit> = None;
    for delimiter in delimiters {
        if best.as_ref().is_some_and(|best: &Fit| best.share() + CLEARLY >= 1.0) {
            break;
        }
        let fit = Fit::best(text, delimiter, whole, reading.quoting);
        let fit = Fit::spaced(text, &fit, whole, reading.quoting).unwrap_or(fit);
        let better = best.as_ref().is_none_or(|best| fit.beats(best));
        if better {
            best = Some(fit);
        }
    }
    let usual = Dialect { delimiter: own, quoting: Quoting::Double };
    let (dialect, spaced) = best.map_or((usual, false), |fit| (fit.dialect, fit.spaced));
    Ok(Sniffed { dialect, skipped, spaced })
}

/// A line `sep=;`, by which a spreadsheet is told the delimiter: that, and its length.
fn spreadsheet_line(text: &[u8]) -> (Option<u8>, usize) {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(text.len());
    let line = text[..end].strip_prefix(b"\"").unwrap_or(&text[..end]);
    let line = line.strip_suffix(b"\"").unwrap_or(line);
    match line {
        [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] => {
            let breaks = text[end..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
            (Some(*delimiter), end + breaks.count())
        }
        _ => (None, 0),
    }
}

/// How well a dialect fits.
struct Fit {
    dialect: Dialect,
    /// Fields of the first record.
    fields: usize,
    /// Records whose fields are as many, and whose quotes are in order.
    good: usize,
    records: usize,
    /// Records with fewer fields than the first.
    short: usize,
    /// Whether white space before quotes was passed over.
    spaced: bool,
}

impl Fit {
    /// The quoting that fits best with this delimiter.
    fn best(text: &[u8], delimiter: u8, whole: bool, asked: Quoting) -> Self {
        let fit = |quoting| {
            let dialect = Dialect { delimiter, quoting };
            let records = records(text, dialect, whole);
            (Self::of(dialect, &records), records)
        };
        if asked != Quoting::Auto {
            return fit(asked).0;
        }
        let (double, rows) = fit(Quoting::Double);
        let swallowed = rows.iter().any(|record| record.lines > 1);
        if double.bad() == 0 && !swallowed || !text.contains(&b'"') {
            return double;
        }
        let (backslash, _) = fit(Quoting::Backslash);
        let (none, plain) = fit(Quoting::None);
        let best = if backslash.bad() < double.bad() { backslash } else { double };
        // Where most fields that begin with a quote also end with one, quotes mean something, and a row
        // that breaks the rule is a broken row.
        let quoted: usize = plain.iter().map(|record| record.quoted).sum();
        let wrapped: usize = plain.iter().map(|record| record.wrapped).sum();
        if 2 * wrapped > quoted && 2 * best.bad() <= best.records {
            return best;
        }
        let certain = best.bad() == 0 && !are_rows(text, delimiter, &rows, &plain);
        if none.bad() < best.bad() || (none.bad() == 0 && !certain) { none } else { best }
    }

    /// The fit of the text without white space before quotes, where that is no worse and the quotes mean
    /// something.
    fn spaced(text: &[u8], plain: &Self, whole: bool, asked: Quoting) -> Option<Self> {
        let quoting = if asked == Quoting::Auto { Quoting::Double } else { asked };
        let dialect = Dialect { quoting, ..plain.dialect };
        let text = spaces::without(text, dialect)?;
        let fit = Self::best(&text, dialect.delimiter, whole, asked);
        let records = records(&text, fit.dialect, whole);
        let quoted: usize = records.iter().map(|record| record.quoted).sum();
        let wrapped: usize = records.iter().map(|record| record.wrapped).sum();
        let means = fit.dialect.quoting != Quoting::None && 2 * wrapped > quoted;
        (means && fit.bad() <= plain.bad()).then_some(Self { spaced: true, ..fit })
    }

    fn of(dialect: Dialect, records: &[Record]) -> Self {
        let fields = records.first().map_or(0, |record| record.fields);
        let good = |record: &&Record| record.fields == fields && !record.broken && !record.open;
        let short = records.iter().filter(|record| record.fields < fields).count();
        let (good, records) = (records.iter().filter(good).count(), records.len());
        Self { dialect, fields, good, records, short, spaced: false }
    }

    fn bad(&self) -> usize {
        self.records - self.good
    }

    /// The share of records that fit; nothing for one that finds a single column.
    fn share(&self) -> f64 {
        if self.fields < 2 { 0.0 } else { self.good as f64 / self.records.max(1) as f64 }
    }

    /// Whether it is better than one that was asked for earlier.
    fn beats(&self, earlier: &Self) -> bool {
        let mostly = self.share() > MOSTLY && self.share() > earlier.share() + CLEARLY;
        mostly || (earlier.fields < 2 && self.divides_every_line())
    }

    /// Whether a delimiter that prose hardly has stands in every line as often as in the first or more
    /// often: a few rows have it in their texts too.
    fn divides_every_line(&self) -> bool {
        let rare = self.dialect.delimiter != b',' && self.fields > 1 && self.records > 2;
        rare && self.short == 0 && 2 * self.good > self.records
    }
}

/// Whether the lines inside quoted fields look like rows of the table: some column with few values has
/// the same values there as everywhere else.
fn are_rows(text: &[u8], delimiter: u8, rows: &[Record], plain: &[Record]) -> bool {
    let Some(width) = plain.first().map(|record| record.fields) else { return false };
    if plain.iter().any(|record| record.fields != width) {
        return false;
    }
    let inside: BTreeSet<u64> = rows
        .iter()
        .filter(|record| record.lines > 1)
        .flat_map(|record| record.line..record.line + record.lines)
        .collect();
    // Of each column the values outside, counted, and those inside.
    type Values<'a> = (HashMap<&'a [u8], usize>, BTreeSet<&'a [u8]>);
    let mut columns: Vec<Values<'_>> = vec![Default::default(); width];
    for (line, content) in lines(text) {
        for (column, value) in content.split(|&byte| byte == delimiter).enumerate().take(width) {
            let value = value.trim_ascii();
            if inside.contains(&line) {
                columns[column].1.insert(value);
            } else {
                *columns[column].0.entry(value).or_default() += 1;
            }
        }
    }
    let few = |values: &HashMap<&[u8], usize>| {
        let all: usize = values.values().sum();
        values.len() <= (all / 5).max(2)
    };
    let labels = columns.iter().filter(|(outside, _)| few(outside)).collect::<Vec<_>>();
    match labels.is_empty() {
        true => delimiter == b'\t',
        false => labels
            .iter()
            .any(|(outside, within)| within.iter().all(|value| outside.contains_key(value))),
    }
}

/// Lines that are not empty with their numbers from 1.
fn lines(text: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut numbered = BTreeMap::new();
    let (mut start, mut line, mut place) = (0, 1, 0);
    while place <= text.len() {
        if place == text.len() || matches!(text[place], b'\n' | b'\r') {
            if place > start {
                numbered.insert(line, &text[start..place]);
            }
            let double = text[place..].starts_with(b"\r\n");
            place += usize::from(double);
            start = place + 1;
            line += 1;
        }
        place += 1;
    }
    numbered.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, own: u8) -> (char, Quoting) {
        let Sniffed { dialect, .. } =
            sniff(text.as_bytes(), own, true, &Reading::default()).unwrap();
        (char::from(dialect.delimiter), dialect.quoting)
    }

    fn table(header: &str, row: impl Fn(usize) -> String, rows: usize) -> String {
        let rows: String = (0..rows).map(|i| row(i) + "\n").collect();
        format!("{header}\n{rows}")
    }

    #[test]
    fn the_delimiter_is_found_whatever_the_file_is_called() {
        for (own, delimiter) in [(b',', ';'), (b',', '\t'), (b',', '|'), (b'\t', ','), (b'\t', ';')]
        {
            let header = format!("text{delimiter}label");
            let text = table(&header, |i| format!("a, b and c no. {i}{delimiter}good"), 40);
            let text = if delimiter == ',' { text.replace("a, b", "\"a, b\"") } else { text };
            let text = if delimiter == ',' { text.replace("\"a, b\" and", "ab and") } else { text };
            assert_eq!(found(&text, own).0, delimiter, "{own}");
        }
        // Prose with one semicolon in each row is still a table with commas.
        let text = table("text,label", |i| format!("one; two {i},x"), 30);
        assert_eq!(found(&text, b',').0, ',');
        assert_eq!(found("text\none\ntwo, three\n", b',').0, ',');
        // Of a few rows one has the delimiter in its text, or was filled up by a spreadsheet.
        assert_eq!(found("Text;Kind\nfell;a\nGoals; and more;b\nThree;c\n", b',').0, ';');
        assert_eq!(found("Text|Kind\nfell|a\n||\n", b',').0, '|');
        assert_eq!(found("text\nfell; rose\nGoals; and more\n", b',').0, ',');
        let prose =
            |i: usize| format!("so it goes{} and on", if i.is_multiple_of(3) { "" } else { "," });
        assert_eq!(found(&table("it goes, and on", prose, 40), b'\t').0, '\t');
    }

    #[test]
    fn quotes_that_mean_nothing_swallow_no_row() {
        // Ends well for a reader of quotes: from a quote that opens to one that happens to close.
        let row = |i: usize| match i {
            11 => "\"Never again, she said\tbad".to_owned(),
            18 => "a screen of 15\"\tgood".to_owned(),
            _ => format!("letter {i}\t{}", ["good", "bad"][i % 2]),
        };
        assert_eq!(found(&table("text\tlabel", row, 60), b'\t').1, Quoting::None);
        let one = |i: usize| if i == 50 { "\"open\tbad".to_owned() } else { row(i + 20) };
        assert_eq!(found(&table("text\tlabel", one, 60), b'\t').1, Quoting::None);
        let comma = |i: usize| row(i).replace("again, she", "again she").replace('\t', ",");
        assert_eq!(found(&table("text,label", comma, 60), b',').1, Quoting::None);
    }

    #[test]
    fn fields_of_several_lines_stay_whole() {
        let row = |i: usize| match i % 3 {
            0 => format!("\"Dear all, no. {i}\nthank you\",good"),
            1 => format!("\"She said \"\"no. {i}\"\"\",bad"),
            _ => format!("short {i},good"),
        };
        assert_eq!(found(&table("text,label", row, 60), b',').1, Quoting::Double);
        let once = |i: usize| if i == 30 { row(0) } else { format!("short {i},good") };
        assert_eq!(found(&table("text,label", once, 60), b',').1, Quoting::Double);
    }

    #[test]
    fn backslashes_are_escapes_where_they_stand_before_quotes() {
        let row = |i: usize| format!("\"She said \\\"no. {i}\\\", twice\",{}", ["x", "y"][i % 2]);
        assert_eq!(found(&table("text,label", row, 30), b',').1, Quoting::Backslash);
    }

    #[test]
    fn a_broken_row_of_a_quoted_file_does_not_unquote_the_others() {
        let row =
            |i: usize| if i == 7 { "\"a \"b\" c\",x".to_owned() } else { format!("\"no. {i}\",x") };
        assert_eq!(found(&table("\"text\",\"label\"", row, 30), b',').1, Quoting::Double);
    }

    #[test]
    fn white_space_before_quotes_is_seen_where_the_quotes_mean_something() {
        let spaced = |text: &str, own: u8| {
            let found = sniff(text.as_bytes(), own, true, &Reading::default()).unwrap();
            (char::from(found.dialect.delimiter), found.spaced)
        };
        let comma = |i: usize| format!("{}, \"ticket {i}, again\"", ["x", "y"][i % 2]);
        assert_eq!(spaced(&table("label, text", comma, 40), b','), (',', true));
        let label = |i: usize| format!("\"ticket {i}, again\", \"{}\"", ["x", "y"][i % 2]);
        assert_eq!(spaced(&table("\"text\", \"label\"", label, 40), b','), (',', true));
        let bar = |i: usize| format!("{}|  \"ticket {i} | again\"", ["x", "y"][i % 2]);
        assert_eq!(spaced(&table("label|text", bar, 40), b','), ('|', true));
        let plain = |i: usize| format!("{}, the \"ticket\" {i}", ["x", "y"][i % 2]);
        assert_eq!(spaced(&table("label, text", plain, 40), b','), (',', false));
        let prose = |i: usize| format!("{}\tno. {i}, \"again\" and so on", ["x", "y"][i % 2]);
        assert_eq!(spaced(&table("label\ttext", prose, 40), b'\t'), ('\t', false));
        let open = |i: usize| format!("{}, \"ticket\" no. {i}", ["x", "y"][i % 2]);
        assert_eq!(spaced(&table("label, text", open, 40), b','), (',', false));
    }

    #[test]
    fn what_is_said_is_done() {
        let text = "sep=;\r\ntext;label\r\na,b;1\r\n";
        let sniffed = sniff(text.as_bytes(), b',', true, &Reading::default()).unwrap();
        assert_eq!((sniffed.dialect.delimiter, sniffed.skipped), (b';', 7));
        let reading =
            Reading { delimiter: "|".to_owned(), quoting: Quoting::None, ..Reading::default() };
        let sniffed = sniff(b"a|\"b,c\n", b',', true, &reading).unwrap();
        assert_eq!((sniffed.dialect.delimiter, sniffed.dialect.quoting), (b'|', Quoting::None));
    }
}
