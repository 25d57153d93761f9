//! A column that says which rows are for training and which for testing.

use std::collections::BTreeSet;
use std::path::Path;

use super::Remark;
use super::fetch::split_name;
use super::table::{Columns, Row};
use super::take::cell;

/// Names of columns that say it by yes and no, and how they say it.
const FLAGS: [&str; 6] =
    ["is_valid", "is_val", "is_validation", "is_test", "is_train", "is_training"];
const YES_OR_NO: [&str; 8] = ["true", "false", "yes", "no", "1", "0", "1.0", "0.0"];

/// The search for it, row by row, since files may be sorted by it.
pub(super) struct SplitColumn {
    /// Columns in which every cell so far says it.
    open: Vec<Candidate>,
}

struct Candidate {
    column: usize,
    name: String,
    is_flag: bool,
    said: BTreeSet<&'static str>,
}

impl SplitColumn {
    /// Begins with the columns of a table that were not taken.
    pub(super) fn search(header: &[String], taken: &Columns) -> Self {
        let Columns { text, pair, label, .. } = *taken;
        let taken = [Some(text), pair, label];
        let candidate = |(column, name): (usize, &String)| Candidate {
            column,
            name: name.clone(),
            is_flag: FLAGS.iter().any(|flag| flag.eq_ignore_ascii_case(name.trim())),
            said: BTreeSet::new(),
        };
        let free = header.iter().enumerate().filter(|(column, _)| !taken.contains(&Some(*column)));
        Self { open: free.map(candidate).collect() }
    }

    /// Looks at the next row.
    pub(super) fn see(&mut self, row: &Row) {
        self.open.retain_mut(|candidate| {
            let Some(cell) = cell(row, candidate.column) else { return true };
            let cell = cell.trim();
            let said = match candidate.is_flag {
                true => YES_OR_NO.into_iter().find(|word| word.eq_ignore_ascii_case(cell)),
                false => split_name(cell),
            };
            said.is_some_and(|said| {
                candidate.said.insert(said);
                true
            })
        });
    }

    /// The first column in which all rows say it, and not all the same.
    pub(super) fn found(&self) -> Option<&str> {
        let differs =
            |one: &&Candidate| one.said.len() > 1 && (one.is_flag || one.said.contains("train"));
        self.open.iter().find(differs).map(|one| one.name.as_str())
    }

    /// What to say of it.
    pub(super) fn warning(&self, path: &Path) -> Option<Remark> {
        let column = self.found()?;
        Some(Remark::Warning(format!(
            "`{}`: the column `{column}` seems to say which rows are for training and which for testing, but it is not \
             used; write each kind to a separate file, `train.csv` and `test.csv` in one folder",
            path.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::table::Value;

    fn found(name: &str, cells: &[(usize, &str)]) -> Option<String> {
        let header = ["text", "label", name].map(str::to_owned);
        let columns = Columns { text: 0, pair: None, label: Some(1), verdict: None };
        let mut search = SplitColumn::search(&header, &columns);
        for (rows, cell) in cells {
            let values = ["a text", "x", cell].map(|cell| Value::Text(cell.to_owned())).to_vec();
            (0..*rows).for_each(|_| search.see(&Row { line: 2, values: values.clone() }));
        }
        search.found().map(str::to_owned)
    }

    #[test]
    fn a_column_of_splits_is_found_in_a_sorted_table_too() {
        let is = |name, cells: &[(usize, &str)]| found(name, cells).is_some();
        assert!(is("split", &[(2000, "train"), (1, "test")]));
        assert!(is("part", &[(1, "Test"), (2000, "Training"), (5, "")]));
        assert!(is("is_valid", &[(2000, "False"), (1, "True")]));
        assert!(is("Is_Test", &[(2, "0"), (1, "1")]));
        assert!(!is("split", &[(2000, "train"), (1, "later")]));
        assert!(!is("split", &[(10, "train")]));
        assert!(!is("split", &[(10, "dev"), (10, "test")]));
        assert!(!is("is_valid", &[(10, "False")]));
        assert!(!is("is_valid", &[(10, "False"), (10, "True"), (1, "perhaps")]));
        assert!(!is("urgent", &[(10, "False"), (10, "True")]));
    }
}
