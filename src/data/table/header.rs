//! Whether the first line of a delimited file names its columns.

use std::collections::HashSet;

use super::column_names::is_known_name;
use super::column_search::has_words;
use super::later_header::{has_both_names, seem_joined};
use super::reading::Reading;
use crate::data::blank::draws_nothing;

/// Where the names of the columns of a table come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// The format has them.
    OfTheFormat,
    /// The first line: one of them is well known, or somebody gave it or said so.
    FirstLine,
    /// The first line, by what it looks like beside the rows.
    Guessed,
    /// The same, although one of its cells is longer than names are.
    Doubted,
    /// There are none, and the first line is a row.
    Numbered,
}

impl Names {
    /// What a person should look at, and how it is said otherwise.
    pub fn doubt(self) -> Option<&'static str> {
        match self {
            // What is doubted is warned of.
            Self::OfTheFormat | Self::FirstLine | Self::Doubted => None,
            Self::Guessed => {
                Some("the first line is read as the column names (`--header no` if it is a row)")
            }
            Self::Numbered => Some(
                "the first line is read as a row, not as column names (`--header yes` if it \
                 contains the names)",
            ),
        }
    }
}

/// What names of columns are at most as long as, in characters and words.
const LONGEST_NAME: usize = 40;
const MOST_WORDS: usize = 4;

/// Whether the first record is a header: `names` are those that a person or a model gave. A file that
/// gives no hint has one, since most have.
pub(super) fn is_header(first: &[String], rows: &[Vec<String>], names: &[String]) -> bool {
    let named = |cell: &String| names.contains(cell) || is_known_name(cell);
    if has_both_names(first, rows) {
        return true;
    }
    // Files that were put together may have names once more in the middle.
    let again = seem_joined(first, rows);
    let rows: Vec<&Vec<String>> =
        rows.iter().zip(again).filter(|(_, again)| !again).map(|(row, _)| row).collect();
    let column =
        |index: usize| rows.iter().filter_map(move |row| row.get(index)).map(|cell| cell.trim());
    let filled = |index: usize| column(index).filter(|cell| !cell.is_empty());
    if rows.is_empty() {
        return first.iter().any(named);
    }
    // The names of a list of texts cannot be told from a text, and a row too many harms less than one lost.
    if let [only] = first {
        return named(only) || is_identifier(only);
    }
    let (mut row, mut header) = (0, 0);
    for (index, cell) in first.iter().enumerate() {
        let value = cell.trim();
        if value.is_empty() {
            continue;
        }
        let repeats = column(index).filter(|other| *other == value).count();
        if named(cell) && repeats == 0 {
            return true;
        }
        let numbers = filled(index).all(is_number) && filled(index).next().is_some();
        let long = is_long(value);
        // A name is no value of its column, and no number.
        row += usize::from(repeats > 0 || long) + usize::from(is_number(value) && numbers);
        header += usize::from(!is_number(value) && numbers);
        header += usize::from(repeats == 0 && repeat_themselves(filled(index)));
        header += usize::from(is_identifier(value) && !filled(index).any(is_identifier));
    }
    row <= header
}

/// Whether cells are names of columns once more: in any case, and with white space, quotes or what nobody sees
/// around them. Of a list of texts, a text may well be what its column is called, so that is to be exact.
pub(in crate::data) fn repeats<A: AsRef<str>, B: AsRef<str>>(cells: &[A], names: &[B]) -> bool {
    let (cells, names) = (cells.iter().map(AsRef::as_ref), names.iter().map(AsRef::as_ref));
    match names.len() {
        1 => cells.eq(names),
        // Most rows are told by their first cell.
        _ => cells.clone().count() == names.clone().count() && cells.zip(names).all(alike),
    }
}

fn alike((cell, name): (&str, &str)) -> bool {
    const AROUND: usize = 40;
    cell.len() <= 2 * name.len() + AROUND && spelling(cell) == spelling(name)
}

/// A name as it is compared.
pub(in crate::data) fn spelling(name: &str) -> String {
    let visible: String = name.chars().filter(|&character| !draws_nothing(character)).collect();
    let inner = visible.trim_matches(|c: char| c.is_whitespace() || "\"'`".contains(c));
    let words: Vec<&str> = inner.split(|c: char| c.is_whitespace() || "-_".contains(c)).collect();
    words.join("_").to_lowercase()
}

/// Whether a person or a model gave this name, or it is well known.
pub(super) fn is_named(cell: &String, reading: &Reading) -> bool {
    reading.names.contains(cell) || is_known_name(cell)
}

pub(super) fn is_long(value: &str) -> bool {
    // No letter has more than four bytes, and most texts are told by that.
    value.len() > 4 * LONGEST_NAME
        || value.chars().count() > LONGEST_NAME
        || words(value) > MOST_WORDS
}

/// Whether a column could be called so: it is short, and no number.
pub(super) fn is_name_like(cell: &str) -> bool {
    let cell = cell.trim();
    !cell.is_empty() && !is_long(cell) && !is_number(cell)
}

/// A name such as `review_text`, which nobody writes in a text.
fn is_identifier(cell: &str) -> bool {
    let inner = cell.trim().trim_matches('_');
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    inner.contains('_') && inner.chars().all(is_part) && inner.starts_with(char::is_alphabetic)
}

/// The place of the row that has the names, where the first line is a title or a comment: all its cells
/// are well-known names or such as somebody gave.
pub(super) fn names_later(
    first: &[String],
    rows: &[Vec<String>],
    names: &[String],
) -> Option<usize> {
    const LINES: usize = 20;
    let named = |cell: &&String| names.contains(cell) || is_known_name(cell);
    if first.iter().any(|cell| named(&cell)) {
        return None;
    }
    let has_names = |row: &Vec<String>| {
        let filled = || row.iter().filter(|cell| !cell.trim().is_empty());
        filled().count() > 1 && filled().all(|cell| named(&cell))
    };
    rows.iter().take(LINES).position(has_names)
}

/// Whether values are few, as those of a label are.
pub(super) fn repeat_themselves<'a>(values: impl Iterator<Item = &'a str>) -> bool {
    let values: Vec<&str> = values.collect();
    let distinct: HashSet<&&str> = values.iter().collect();
    values.len() >= 5 * distinct.len() && !values.is_empty()
}

/// A number, or digits without a word, such as a moment of time.
pub(super) fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
        || (text.contains(|letter: char| letter.is_ascii_digit()) && !has_words(text))
}

/// Whether a cell of the first record, which is no known name, is one of few values that its column has again and again:
/// it may be that of a row, whatever stands beside it.
pub(super) fn has_a_value(first: &[String], rows: &[Vec<String>], reading: &Reading) -> bool {
    let mut cells = first.iter().enumerate().filter(|(_, cell)| !is_named(cell, reading));
    cells.any(|(index, cell)| {
        let column = || rows.iter().filter_map(|row| row.get(index)).map(|other| other.trim());
        column().any(|other| other == cell.trim()) && repeat_themselves(column())
    })
}

pub(super) fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str, names: &[&str]) -> bool {
        let mut rows =
            text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        let first = rows.next().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        is_header(&first, &rows.collect::<Vec<_>>(), &names)
    }

    #[test]
    fn a_row_is_no_header() {
        for rows in [
            "great staff lovely room",
            "a good film,pos\na bad film,neg\na fine film,pos",
            "1,a good film\n0,a bad film\n1,a fine one",
            "a letter of many more words than a name has,billing\nanother one,sales\nhelp,service",
            "where is my parcel\nthe router is broken\nplease call me",
            "parcel\nrouter\nphone",
            "invoice\nthe router is broken\nplease call me",
            "42\nthe router is broken",
            "a_b c\nthe router",
            "17,spam,win a prize\n18,ham,see you\n19,spam,call now",
            "2024-01-01 12:00:00,help me\n2024-01-02 13:00:00,the router\n2024-01-03 14:00:00,a bill",
        ] {
            assert!(!header(rows, &[]), "{rows}");
        }
    }

    #[test]
    fn a_header_is_one() {
        for rows in [
            "text,label\na,b\nc,d",
            "Review,Sentiment\nfine,pos\nbad,neg",
            "v1,v2\nham,see you later\nspam,win a prize",
            "kommentar,note\nganz gut,2\nschlecht,5",
            "Your opinion,mark\nI like it,1\nI do not,0",
            "message\nplease look at my router\nthe invoice",
            "customer_note\nplease look at my router\nthe invoice",
            ",text,label\n0,a,x\n1,b,y",
            "text,label",
        ] {
            assert!(header(rows, &[]), "{rows}");
        }
        let asked = "What do you think of the service of our shop,Where\n";
        let answers: String =
            (0..20).map(|i| format!("quite good {i},{}\n", ["here", "there"][i % 2])).collect();
        assert!(header(&(asked.to_owned() + &answers), &[]));
        assert!(!header(
            &("I think that it is the best of all shops,here\n".to_owned() + &answers),
            &[]
        ));
        assert!(header("where is it\nwhere is my parcel\nplease call me", &["where is it"]));
    }

    #[test]
    fn a_known_name_beside_a_value_of_its_column_is_a_guess() {
        let doubtful = |first: &str| {
            let first: Vec<String> = first.split(',').map(str::to_owned).collect();
            let row = |i: usize| vec![format!("film {i}"), ["good", "bad"][i % 2].to_owned()];
            let rows: Vec<Vec<String>> = (0..20).map(row).collect();
            assert!(is_header(&first, &rows, &[]), "{first:?}");
            has_a_value(&first, &rows, &Reading::default())
        };
        assert!(doubtful("Review,good") && doubtful("text, bad"));
        assert!(!doubtful("Review,label") && !doubtful("text,outcome") && !doubtful("text,film 3"));
    }

    #[test]
    fn names_are_repeated_in_any_spelling() {
        let names = ["review_text", "label"];
        for cells in [
            ["review_text", "label"],
            [" Review text", "LABEL\t"],
            ["\u{feff}review-text", "\u{200b}label"],
            ["\u{feff}\"review_text\"", "'Label'"],
            ["REVIEW\u{a0}TEXT", "label\r"],
        ] {
            assert!(repeats(&cells, &names), "{cells:?}");
        }
        for cells in [["review_text", "labels"], ["label", "review_text"], ["", "label"]] {
            assert!(!repeats(&cells, &names), "{cells:?}");
        }
        assert!(repeats(&["message"], &["message"]) && !repeats(&["Message"], &["message"]));
        assert!(!repeats(&["message", ""], &["message"]));
        // Names that nobody knows are no row for being there twice, and a row is no header for it.
        let rows = |first: &str| {
            let row = |i: usize| format!("film {i},{}\n", ["good", "bad"][i % 2]);
            let rows: String = (0..20).map(row).collect();
            format!("{first}\n{rows}{first}\n{rows}")
        };
        assert!(header(&rows("phrase,outcome"), &[]));
        assert!(!header(&rows("a long film,good"), &[]));
        // Nor for names that are there with one changed.
        let joined = |first: &str, again: &str| {
            let row = |i: usize| format!("film no. {i} was long,{}\n", ["good", "bad"][i % 2]);
            let rows: String = (0..20).map(row).collect();
            format!("{first}\n{rows}{again}\n{rows}")
        };
        for (first, again) in [
            ("ticket,department", "text,department"),
            ("ticket,department", "phrase,department"),
            ("ticket,department", "ticket,area"),
            ("text,label", "text,area"),
            ("text,label", "phrase,label"),
            ("text,label", "label,text"),
        ] {
            assert!(header(&joined(first, again), &[]), "{first} / {again}");
        }
        // A class may be called as its column is.
        let rows: String =
            (0..20).map(|i| format!("you won {i} times,{}\n", ["spam", "ham"][i % 2])).collect();
        assert!(header(&format!("sms_body,spam\n{rows}"), &[]));
        assert!(!header(&format!("you won again,spam\n{rows}"), &[]));
        assert!(header("text,label,channel\na,b,c\ntext,label,kanal\nd,b,e", &[]));
        assert!(!header(&joined("film no. 90 was long,good", "fine,good"), &[]));
    }

    #[test]
    fn names_behind_a_title_are_found_and_texts_are_none() {
        let later = |text: &str| {
            let mut rows =
                text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
            let first = rows.next().unwrap();
            names_later(&first, &rows.collect::<Vec<_>>(), &["mark".to_owned()])
        };
        assert_eq!(later("Tickets of 2024,\ntext,label\na,b"), Some(0));
        assert_eq!(later("Tickets,\n,\nmark,Text\na,b"), Some(1));
        for names in ["text,label\ntext,label\na,b", "v1,v2\nham,text\nspam,title", "a,b\n,text"] {
            assert_eq!(later(names), None, "{names}");
        }
    }
}
