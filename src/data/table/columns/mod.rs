//! Which columns of a table hold the text, the second text of a pair, and the label.
//!
//! A column that is named must be there. Otherwise well-known names are looked for first, whatever
//! their case, and then the content of a sample. Two columns that could be meant are an error that
//! names both: a guess would train on the wrong column without a word.

use super::Row;
use super::column_names::is_called;
use super::column_search::{LABEL_KEY, PAIR_KEY, Search, TEXT_KEY, refuse_answers};
use super::error::TableError;

/// How many rows [`detect`] looks at, at most.
pub const SAMPLE_ROWS: usize = 1000;

/// The columns that a person named; an empty name is detected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// `data.text_column`.
    pub text: String,
    /// `data.text_pair_column`.
    pub pair: String,
    /// `data.label_column`.
    pub label: String,
}

/// Positions of the columns in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The text, or the first of a pair.
    pub text: usize,
    /// The second text of a pair.
    pub pair: Option<usize>,
    pub label: Option<usize>,
    /// Whether a person accepted, rejected or ignored the row, as Prodigy writes it.
    pub verdict: Option<usize>,
}

impl Columns {
    /// For people: ``text = `review`, label = `sentiment` ``. `columns` are those of the table.
    pub fn describe(&self, columns: &[String]) -> String {
        let roles = [("text", Some(self.text)), ("text pair", self.pair), ("label", self.label)];
        let named = roles
            .iter()
            .filter_map(|(role, column)| Some(format!("{role} = `{}`", columns.get((*column)?)?)));
        named.collect::<Vec<_>>().join(", ")
    }
}

impl Columns {
    /// The names of the columns.
    pub fn names(&self, columns: &[String]) -> ColumnNames {
        let name = |column: Option<usize>| {
            column.and_then(|column| columns.get(column)).cloned().unwrap_or_default()
        };
        ColumnNames { text: name(Some(self.text)), pair: name(self.pair), label: name(self.label) }
    }
}

/// Finds the columns, with those of earlier tables in mind: a column that nobody named is the usual one
/// where the table has it. Where the usual texts are single, a text that is one of a known pair is refused.
///
/// # Errors
/// As [`detect`], and a table of pairs where the usual texts are single.
pub fn detect_usual(
    columns: &[String],
    sample: &[Row],
    wanted: &ColumnNames,
    usual: &ColumnNames,
    label_required: bool,
) -> Result<Columns, TableError> {
    let taken = [&wanted.text, &wanted.pair, &wanted.label];
    let or = |wanted: &String, own: &String| {
        let there = usual_column(columns, own, usual).filter(|there| !taken.contains(there));
        if wanted.is_empty() { there.unwrap_or(wanted).clone() } else { wanted.clone() }
    };
    let both = ColumnNames {
        text: or(&wanted.text, &usual.text),
        pair: or(&wanted.pair, &usual.pair),
        label: or(&wanted.label, &usual.label),
    };
    let single = !usual.text.is_empty() && usual.pair.is_empty() && both.pair.is_empty();
    let found = detect(columns, sample, &both, label_required)?;
    check_numbers(columns, sample, wanted, &found, label_required)?;
    if let (Some(label), true, true) = (found.label, label_required, wanted.label.is_empty()) {
        refuse_answers(columns, label)?;
    }
    if !single || !wanted.text.is_empty() {
        return Ok(found);
    }
    let found = match found.pair {
        Some(_) => {
            let search = Search::new(columns, &sample[..sample.len().min(SAMPLE_ROWS)]);
            let label: Vec<usize> = found.label.into_iter().collect();
            Columns { text: search.text(&label)?, pair: None, ..found }
        }
        None => found,
    };
    match pair_beside(columns, sample, &found)? {
        Some(pair) => {
            let [first, second] = pair.map(|column| columns[column].clone());
            Err(TableError::PairOfColumns { first, second })
        }
        None => Ok(found),
    }
}

/// Refuses columns that were taken for their numbers where the content says otherwise: `column_1` of one table without
/// column names need not be that of another.
///
/// # Errors
/// The content of such a table says that another column is the text, or the label where one is required.
pub fn check_numbers(
    columns: &[String],
    sample: &[Row],
    wanted: &ColumnNames,
    found: &Columns,
    label_required: bool,
) -> Result<(), TableError> {
    if !columns.iter().zip(1..).all(|(column, number)| *column == invented_name(number)) {
        return Ok(());
    }
    let Ok(own) = detect(columns, sample, wanted, label_required) else { return Ok(()) };
    let label = found.label.zip(own.label).filter(|_| label_required);
    let text = Some((found.text, own.text));
    for (role, key, pair) in [("text", TEXT_KEY, text), ("label", LABEL_KEY, label)] {
        if let Some((usual, seems)) = pair.filter(|(usual, seems)| usual != seems) {
            let [usual, seems] = [usual, seems].map(|column| columns[column].clone());
            return Err(TableError::OtherNumber { role, key, usual, seems });
        }
    }
    Ok(())
}

/// What a column is called in a table without column names, counted from 1.
pub(super) fn invented_name(number: usize) -> String {
    format!("column_{number}")
}

/// The only column of a usual name, or else the only one that is called so in another case, unless that is
/// another usual name too.
fn usual_column<'a>(columns: &'a [String], own: &str, usual: &ColumnNames) -> Option<&'a String> {
    let only = |is: &dyn Fn(&String) -> bool| {
        let mut found = columns.iter().filter(|column| is(column));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    };
    if columns.iter().any(|column| column == own) {
        return only(&|column| column == own);
    }
    let names = [&usual.text, &usual.pair, &usual.label];
    let like = |column: &String| !own.is_empty() && is_called(column, own);
    only(&like).filter(|column| names.iter().filter(|name| is_called(column, name)).count() == 1)
}

/// The known pair that a single text is one of: the other one would be dropped without a word.
///
/// # Errors
/// Several columns could be one of it.
pub(in crate::data) fn pair_beside(
    columns: &[String],
    sample: &[Row],
    found: &Columns,
) -> Result<Option<[usize; 2]>, TableError> {
    if found.pair.is_some() {
        return Ok(None);
    }
    let search = Search::new(columns, &sample[..sample.len().min(SAMPLE_ROWS)]);
    let label: Vec<usize> = found.label.into_iter().collect();
    search.pair_of(found.text, &label)
}

/// Finds the columns. `sample` are the first rows of the table.
///
/// A pair is taken where it is named, or where both names of a known pair are there and neither
/// text was named. Where no label is required, it is found by name only, since the content of a
/// table without labels may look like one.
///
/// # Errors
/// A named column that is not there, that repeats or that has two roles; a text or a required label
/// that is not found, or for which several columns could be meant; answers of `bayes predict` where a
/// label is required and none is named.
pub fn detect(
    columns: &[String],
    sample: &[Row],
    wanted: &ColumnNames,
    label_required: bool,
) -> Result<Columns, TableError> {
    let sample = &sample[..sample.len().min(SAMPLE_ROWS)];
    let table = Search::new(columns, sample);
    let named = |name: &str, key| {
        if name.is_empty() { Ok(None) } else { table.named(name, key).map(Some) }
    };
    let text = named(&wanted.text, TEXT_KEY)?;
    let pair = named(&wanted.pair, PAIR_KEY)?;
    let label = named(&wanted.label, LABEL_KEY)?;
    let roles = [(text, TEXT_KEY), (pair, PAIR_KEY), (label, LABEL_KEY)];
    for (index, (column, second)) in roles.iter().enumerate() {
        for (earlier, first) in &roles[..index] {
            if let (Some(one), true) = (column, column == earlier) {
                return Err(TableError::SameColumn { name: columns[*one].clone(), first, second });
            }
        }
    }

    let mut taken: Vec<usize> = [text, pair, label].into_iter().flatten().collect();
    let (text, pair) = match (text, pair) {
        (Some(text), pair) => (text, pair),
        (None, None) => match table.known_pair(&taken)? {
            Some((text, pair)) => (text, Some(pair)),
            None => (table.text(&taken)?, None),
        },
        (None, Some(pair)) => match table.partner(pair, &taken)? {
            Some(text) => (text, Some(pair)),
            None => (table.text(&taken)?, Some(pair)),
        },
    };
    taken.extend([Some(text), pair].into_iter().flatten());
    let verdict = table.verdict(&taken);
    let label = match label {
        Some(label) => Some(label),
        None => match table.known_label(&taken)? {
            Some(label) => Some(label),
            None if verdict.is_some() && table.accepted(&taken)?.is_some() => {
                table.accepted(&taken)?
            }
            None if label_required => Some(table.label(&taken)?),
            None => None,
        },
    };
    if let (Some(label), true, true) = (label, label_required, wanted.label.is_empty()) {
        refuse_answers(columns, label)?;
    }
    // Found by content, the label may be the verdict itself, and beside another one that is not known.
    Ok(Columns { text, pair, label, verdict: verdict.filter(|_| label != verdict) })
}

#[cfg(test)]
mod tests;
