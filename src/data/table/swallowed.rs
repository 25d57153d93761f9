//! Rows inside a quoted field. A quote that stands there by mistake makes a text of all that follows, to the next
//! quote that a reader of RFC 4180 takes for its end; nothing about the result is wrong by the rule.
//!
//! Lines of a real text are no rows. Those that were swallowed have the fields of one, and where all other rows
//! have one of a few values, such as their label, they have one too.

use std::collections::HashSet;

use super::Value;

/// A column of more values than this, or of longer ones, is none of few.
const MOST_VALUES: usize = 1000;
const LONGEST_VALUE: usize = 200;
/// Rows for each value of a column of few.
const ROWS_A_VALUE: usize = 5;

/// The values of the columns so far.
#[derive(Debug, Default)]
pub(super) struct Values {
    /// `None` for a column that has too many; beside them, rows where the value begins with a space.
    columns: Vec<(Option<HashSet<String>>, usize)>,
    rows: usize,
}

/// What looks like rows in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Swallowed {
    /// Lines of the field.
    pub lines: usize,
    /// Whether the field begins and ends like a row, and it could hardly be chance: numbers at the ends of lines
    /// may be anything.
    pub certain: bool,
}

impl Values {
    /// Takes note of a row, but not of its fields of several lines.
    pub(super) fn see(&mut self, row: &[Value]) {
        self.rows += 1;
        let width = row.len().max(self.columns.len());
        self.columns.resize_with(width, || (Some(HashSet::new()), 0));
        for ((known, spaced), value) in self.columns.iter_mut().zip(row) {
            let value = value.written();
            if value.contains(['\n', '\r']) {
                continue;
            }
            *spaced += usize::from(value.starts_with(' '));
            let Some(values) = known else { continue };
            if value.len() > LONGEST_VALUE || values.len() > MOST_VALUES {
                *known = None;
            } else if !values.contains(&*value) {
                values.insert(value.into_owned());
            }
        }
    }

    /// The rows that a field of a row has swallowed, as it seems.
    pub(super) fn swallowed(&self, row: &[Value], delimiter: char) -> Option<Swallowed> {
        let keys = self.keys();
        row.iter().enumerate().find_map(|(column, value)| {
            let Value::Text(text) = value else { return None };
            let lines = text.split(['\n', '\r']).filter(|line| !line.is_empty());
            let lines: Vec<Vec<&str>> = lines.map(|line| line.split(delimiter).collect()).collect();
            if lines.len() < 2 {
                return None;
            }
            let certain = keys.is_empty() || delimiter == '\t';
            let rows = || are_rows(text, column, row.len(), delimiter);
            let all = rows().then_some(Swallowed { lines: lines.len(), certain });
            self.rows_in(&lines, column, row.len(), &keys).or(all)
        })
    }

    /// Columns of few values, or that of the fewest.
    fn keys(&self) -> Vec<usize> {
        let count = |column: usize| self.columns[column].0.as_ref().map(HashSet::len);
        let speaks = |column: &usize| {
            let values = self.columns[*column].0.as_ref();
            values.is_some_and(|values| values.iter().any(|value| !value.trim().is_empty()))
        };
        let all: Vec<usize> = (0..self.columns.len()).filter(speaks).collect();
        let most = (self.rows / ROWS_A_VALUE).max(2);
        let few = all.iter().copied().filter(|&column| count(column) <= Some(most));
        let few: Vec<usize> = few.collect();
        if few.is_empty() {
            let fewest = all.into_iter().min_by_key(|&column| count(column));
            return fewest.into_iter().filter(|&column| count(column) < Some(self.rows)).collect();
        }
        few
    }

    /// Whether most values of a column begin with a space.
    fn is_spaced(&self, column: usize) -> bool {
        self.columns.get(column).is_some_and(|(_, spaced)| 2 * spaced > self.rows)
    }

    /// The lines of a field, if they look like rows, or some do: what stands before the field is known from the
    /// beginnings of its lines but the first, and what stands behind it from the ends of all but the last.
    fn rows_in(
        &self,
        lines: &[Vec<&str>],
        column: usize,
        width: usize,
        keys: &[usize],
    ) -> Option<Swallowed> {
        let (before, behind): (Vec<usize>, Vec<usize>) =
            keys.iter().filter(|&&key| key != column).partition(|&&key| key < column);
        let known = |key: usize, cell: Option<&&str>| {
            let values = self.columns[key].0.as_ref();
            cell.is_some_and(|cell| values.is_some_and(|values| values.contains(*cell)))
        };
        // A label of several lines with another label in it.
        let holds =
            |line: &Vec<&str>| line.len() > 1 && line.iter().any(|cell| known(column, Some(cell)));
        if keys.contains(&column) && lines.iter().any(holds) {
            return Some(Swallowed { lines: lines.len(), certain: false });
        }
        // `no, thanks` is a text, and `no,thanks` is a row of a table that has no spaces there elsewhere.
        let apart = |key: usize, line: &[&str]| {
            let next = line.get(key + 1);
            next.is_some_and(|next| !next.starts_with(' ') || self.is_spaced(key + 1))
        };
        let begins = |line: &Vec<&str>| {
            let is = |&key: &usize| known(key, line.get(key)) && apart(key, line);
            line.len() > column && before.iter().all(is)
        };
        let ends = |line: &Vec<&str>| {
            let is = |&key: &usize| known(key, line.iter().nth_back(width - 1 - key));
            line.len() >= width - column && behind.iter().all(is)
        };
        let ((last, but_last), (first, but_first)) = (lines.split_last()?, lines.split_first()?);
        let some = (behind.is_empty() || but_last.iter().any(ends))
            && (before.is_empty() || but_first.iter().any(begins));
        if !some || before.is_empty() && behind.is_empty() {
            return None;
        }
        let is_row = |line: &&Vec<&str>| line.len() >= width && begins(line) && ends(line);
        let inner = but_first.split_last().map_or(&[][..], |(_, inner)| inner);
        let rows = inner.iter().filter(is_row).count();
        let whole = (behind.is_empty() || ends(first)) && (before.is_empty() || begins(last));
        let seen = rows + usize::from(!behind.is_empty()) + usize::from(!before.is_empty());
        let named = |key: &usize| {
            let values = self.columns[*key].0.iter().flatten();
            let word = |value: &String| value.contains(char::is_alphabetic);
            values.filter(|value| !value.is_empty()).all(word)
        };
        let hardly_chance = seen > 1 || before.iter().chain(&behind).any(named);
        let certain = whole && 2 * rows >= inner.len() && hardly_chance;
        Some(Swallowed { lines: lines.len(), certain })
    }
}

/// Whether all lines have the fields of a row. Few lines may have them by chance, unless it is tabs that part them.
fn are_rows(text: &str, column: usize, width: usize, delimiter: char) -> bool {
    let lines: Vec<usize> = text.lines().map(|line| line.split(delimiter).count()).collect();
    let enough = if delimiter == '\t' { 2 } else { 4 };
    let fields = |at: usize| match at {
        0 => width - column,
        at if at + 1 == lines.len() => column + 1,
        _ => width,
    };
    let mut all = lines.iter().enumerate();
    width > 1 && lines.len() >= enough && all.all(|(at, found)| *found == fields(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(fields: &[&str]) -> Vec<Value> {
        fields.iter().map(|&field| Value::Text(field.to_owned())).collect()
    }

    /// Of a table of texts and labels, with the labels where they are said to be.
    fn values(labels: [&str; 2], label_first: bool) -> Values {
        let mut values = Values::default();
        for i in 0..40 {
            let (film, label) = (format!("film no. {i}"), labels[i % 2]);
            let row = if label_first { [label, &film] } else { [&film, label] };
            values.see(&text(&row));
        }
        values
    }

    #[test]
    fn lines_with_a_label_each_are_rows_wherever_it_stands() {
        let behind =
            |labels, field: &str| values(labels, false).swallowed(&text(&[field, labels[0]]), ',');
        let before =
            |labels, field: &str| values(labels, true).swallowed(&text(&[labels[0], field]), ',');
        let (words, numbers) = (["pos", "neg"], ["0", "1"]);
        for (found, lines, certain) in [
            (behind(words, "great, film\",pos\nfine film"), 2, true),
            (behind(words, "great, film\",pos\r\na, b,neg\r\n\r\nfine"), 3, true),
            (behind(numbers, "great, film\",1\nfine film"), 2, false),
            (behind(numbers, "great, film\",1\nslow,0\nfine film"), 3, true),
            (before(words, "great, film\nneg,fine film"), 2, true),
            (before(words, "great\npos,slow, too\nneg,fine film"), 3, true),
            (before(numbers, "about\n1,5 million"), 2, false),
        ] {
            assert_eq!(found, Some(Swallowed { lines, certain }));
        }
        // A text of several lines that swallows a row, and one that is like it.
        for found in [
            values(words, true).swallowed(&text(&["pos,fine film\nneg", "slow film"]), ','),
            behind(words, "great\nfilm\",pos\nfine film"),
            before(words, "great\nfilm\"\nneg,fine film\nand more"),
            behind(numbers, "a matrix:\n0,1\n1,0"),
            behind(words, "a table:\nx,pos\ny,neg\nand so on"),
        ] {
            assert!(found.is_some_and(|found| !found.certain), "{found:?}");
        }
        for text in [
            "Dear all, thank you,\nbest wishes",
            "a list:\npos\nneg",
            "one, two, pos\nthree",
            "he said,pos and so on\nthree",
            "one line,pos",
        ] {
            assert_eq!(behind(words, text), None, "{text}");
        }
        for text in ["a list:\n0\n1", "Hi Tom,\n\nbye,\nBob", "1,0 million"] {
            assert_eq!(behind(numbers, text), None, "{text}");
        }
        for text in ["Dear all,\nthank you", "great\nneg\nfine", "do you?\nneg, so to say\nx,y"] {
            assert_eq!(before(words, text), None, "{text}");
        }
    }

    #[test]
    fn a_table_without_a_column_of_few_values_says_nothing() {
        let mut values = Values::default();
        for i in 0..40 {
            values.see(&text(&[&format!("film {i}"), &format!("user {i}"), ""]));
        }
        let swallowed = |field: &str| values.swallowed(&text(&[field, "user 7", ""]), ',');
        assert_eq!(swallowed("a,user 3,\nb"), None);
        // Many lines are rows by their number of fields.
        let rows = "a,user 3,\nb,user 4,\nc,user 8,\nd";
        assert_eq!(swallowed(rows), Some(Swallowed { lines: 4, certain: true }));
        assert_eq!(swallowed("a,user 3,\nb,user 4\nc,user 8,\nd"), None);
    }
}
