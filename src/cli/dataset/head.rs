//! `bayes dataset head`.

use anyhow::Result;

use super::super::progress::Display;
use super::super::tables::FileFlags;
use super::super::{Common, print};
use crate::data::table::{Cells, Row, distinct_names};
use crate::data::{self, DataConfig, Head};
use crate::experiment::Progress;

/// Characters of a line.
const WIDTH: usize = 80;

/// Prints the first rows, each on a line, or as one JSON object a line.
pub fn head(
    name: &str,
    (rows, shuffle): (usize, Option<u64>),
    files: &FileFlags,
    common: &Common,
) -> Result<()> {
    let mut config = DataConfig { dataset: name.to_owned(), ..DataConfig::default() };
    files.overrides().apply(&mut config).map_err(anyhow::Error::msg)?;
    let Head { columns, rows, written, splits } =
        data::head(name, rows, shuffle, &config.reading())?;
    if !written.is_empty() {
        Display::new(common.quiet).show(&Progress::Note(format!("format: {written}")));
    }
    if let Some((split, others)) = splits {
        Display::new(common.quiet).show(&Progress::Note(format!(
            "these rows are of the split `{split}`; not shown: `{}`",
            others.join("`, `")
        )));
    }
    let mut text = String::new();
    let names = distinct_names(&[], columns.iter());
    for row in &rows {
        if common.json {
            let object = Cells { names: &names, values: &row.values };
            text.push_str(&format!("{}\n", serde_json::to_string(&object)?));
        } else {
            text.push_str(&format!("{}\n", line(&columns, row)));
        }
    }
    print(&text)
}

/// The values by their columns, short ones first, cut to the width of a terminal.
fn line(columns: &[String], row: &Row) -> String {
    let value = |(column, value): (&String, &data::table::Value)| {
        let text = value.written();
        (column.clone(), text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let mut pairs: Vec<(String, String)> = columns.iter().zip(&row.values).map(value).collect();
    pairs.sort_by_key(|(_, text)| text.chars().count() > WIDTH / 4);
    let pairs: Vec<String> =
        pairs.into_iter().map(|(column, text)| format!("{column}: {text}")).collect();
    let whole = format!("{:>7}  {}", row.line, pairs.join("  "));
    if whole.chars().count() <= WIDTH {
        return whole;
    }
    whole.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::Value;

    #[test]
    fn a_line_shows_short_values_whole_and_fits_the_terminal() {
        let columns = ["text", "label"].map(str::to_owned);
        let long = "a slow film that never ends ".repeat(9);
        let row = Row { line: 12, values: vec![Value::Text(long), Value::Integer(1)] };
        let line = line(&columns, &row);
        assert!(line.starts_with("     12  label: 1  text: a slow film"), "{line}");
        assert!(line.ends_with('…') && line.chars().count() == WIDTH, "{line}");
    }
}
