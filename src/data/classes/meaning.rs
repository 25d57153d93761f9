//! The name that every written label stands for, step by step.

use std::collections::{BTreeMap, BTreeSet};

use super::{Occurrence, Occurring, Place};
use crate::data::labels::{Parts, likeness, parts, plain, tidy, whole_number};
use crate::data::places::two_readings;
use crate::data::remark::{Remark, some};
use crate::data::{DataConfig, DataError};
use crate::numbers::grouped;

/// An object without a value; and, beside lists, a set without elements, as Python writes it.
const NOTHING: [&str; 3] = ["{}", "()", "set()"];

/// The elements of what stands between braces.
fn array(label: &str) -> Option<Parts> {
    let inside = label.strip_prefix('{')?.strip_suffix('}')?;
    parts(&format!("[{inside}]"))
}

/// The name that every written label stands for.
pub(super) struct Meaning<'a> {
    occurring: &'a Occurring,
    pub(super) of: BTreeMap<&'a str, String>,
}

impl<'a> Meaning<'a> {
    pub(super) fn new(occurring: &'a Occurring) -> Self {
        let of = occurring.keys().map(|written| (written.as_str(), written.clone())).collect();
        Self { occurring, of }
    }

    /// Lists of one label are that label; a row with several has no class.
    pub(super) fn lists(&mut self, remarks: &mut Vec<Remark>) -> Result<(), DataError> {
        let mut unpacked = 0;
        let written: Vec<&str> = self.of.values().map(|name| name.trim()).collect();
        let lists = written.iter().any(|name| parts(name).is_some());
        // One name in braces may be a name; where all are, they are arrays as PostgreSQL writes them.
        let arrays = written.iter().all(|name| array(name).is_some());
        for (written, name) in &mut self.of {
            let Place { path, line, column } = self.occurring[*written].first.clone();
            let label = shortened(written);
            let own = name.trim();
            let found = parts(own).or_else(|| array(own).filter(|_| arrays));
            let empty = if lists { &NOTHING[..] } else { &NOTHING[..1] };
            let nothing = empty.contains(&own).then(|| Parts::Labels(Vec::new()));
            let mut items = match found.or(nothing) {
                None => continue,
                Some(Parts::Nested) => {
                    return Err(DataError::NestedLabel { path, line, column, label });
                }
                Some(Parts::Labels(items)) => items,
            };
            if items.len() != 1 {
                let count = items.len();
                return Err(DataError::SeveralLabels { path, line, column, label, count });
            }
            *name = items.remove(0);
            if tidy(name).is_empty() {
                return Err(DataError::EmptyCell { path: path.into(), line, column });
            }
            unpacked += 1;
        }
        if unpacked > 0 {
            remarks.push(Remark::Note(
                "labels are written as one-element lists; that element is used".to_owned(),
            ));
        }
        Ok(())
    }

    pub(super) fn tidy(&mut self) {
        self.of.values_mut().for_each(|name| *name = tidy(name));
    }

    /// `1.0` is `1` where all labels are numbers, or where there is a `1`, or somebody renames it.
    pub(super) fn numbers(&mut self, config: &DataConfig) {
        let all = self.of.values().all(|name| name.parse::<f64>().is_ok());
        let others: BTreeSet<String> = self.of.values().cloned().collect();
        for name in self.of.values_mut() {
            if let Some(whole) = whole_number(name)
                && (all || others.contains(whole) || config.renaming(whole).is_some())
            {
                *name = whole.to_owned();
            }
        }
    }

    /// Integers are places in the list of names, unless the names are those integers. Where they could be either, it is
    /// said.
    pub(super) fn indices(
        &mut self,
        names: &[String],
        config: &DataConfig,
        remarks: &mut Vec<Remark>,
    ) -> Result<(), DataError> {
        let is_name = |name: &str| names.iter().any(|known| known == name);
        let index = |name: &str| whole_number(name).unwrap_or(name).parse::<i64>().ok();
        if self.of.values().all(|name| is_name(name)) {
            let mut labels: Vec<&str> = self.of.values().map(String::as_str).collect();
            labels.sort_by_key(|label| index(label));
            labels.dedup();
            let is_said = labels.iter().all(|label| config.renaming(label).is_some());
            if let Some(readings) = two_readings(&labels, names).filter(|_| !is_said) {
                remarks.push(Remark::Warning(format!(
                    "the labels could be places in the list of class names as well as names: {readings} \
                     (`data.label_map`)"
                )));
            }
            return Ok(());
        }
        let indices: Vec<i64> = self.of.values().filter_map(|name| index(name)).collect();
        let from_one =
            indices.iter().min() == Some(&1) && indices.iter().max() == Some(&(names.len() as i64));
        let mut strange = Vec::new();
        for (written, name) in &mut self.of {
            let Some(index) = index(name) else {
                if !is_name(name) {
                    strange.push(name.clone());
                }
                continue;
            };
            match usize::try_from(index).ok().and_then(|index| names.get(index)) {
                Some(found) => found.clone_into(name),
                None => {
                    let Place { path, line, column } = self.occurring[*written].first.clone();
                    let label = (*written).to_owned();
                    return Err(DataError::BeyondNames {
                        path,
                        line,
                        column,
                        label,
                        names: names.len(),
                        from_one,
                    });
                }
            }
        }
        if !strange.is_empty() {
            let shown = some(strange.iter().map(String::as_str));
            remarks.push(Remark::Warning(format!(
                "the list of class names has {} names, but {shown} is not in it, so the labels \
                 that occur are the classes; correct the list, or rename labels with \
                 `data.label_map`",
                names.len()
            )));
        }
        Ok(())
    }

    /// `True` and `true` are one, where both occur.
    pub(super) fn truth_values(&mut self) {
        let lower: BTreeSet<String> = self.of.values().map(|name| name.to_lowercase()).collect();
        if !lower.iter().all(|name| name == "true" || name == "false") {
            return;
        }
        for truth in lower {
            let counts = self.all_counts();
            let forms = counts.iter().filter(|(name, _)| name.to_lowercase() == truth);
            let usual = forms.max_by_key(|(_, rows)| **rows).map(|(name, _)| name.clone());
            let of = self.of.values_mut().filter(|name| name.to_lowercase() == truth);
            of.for_each(|name| *name = usual.clone().unwrap_or_default());
        }
    }

    pub(super) fn mapped(&mut self, config: &DataConfig, remarks: &mut Vec<Remark>) {
        let mut used = BTreeSet::new();
        for (written, name) in &mut self.of {
            // Who names a writing means it.
            let maps = [&config.label_map, &config.usual_label_map];
            let own = maps.into_iter().find_map(|map| map.get_key_value(*written));
            let entry = own.or_else(|| config.renaming(name)).or_else(|| config.renaming(written));
            if let Some((from, to)) = entry {
                let same =
                    |(other, of): &(&String, &String)| *of == to && plain(other) == plain(from);
                used.extend(config.label_map.iter().filter(same).map(|(from, _)| from));
                to.clone_into(name);
            }
        }
        let unused: Vec<&str> = config
            .label_map
            .keys()
            .filter(|from| !used.contains(from))
            .map(String::as_str)
            .collect();
        if !unused.is_empty() {
            remarks.push(Remark::Warning(format!(
                "`data.label_map` renames {}, but no row has that label; the labels are {}",
                some(unused),
                some(self.names().iter().map(String::as_str))
            )));
        }
    }

    /// A label that a model does not have, and that looks like one of its own, is that one.
    pub(super) fn of_model(&mut self, labels: &[String]) {
        for name in self.of.values_mut().filter(|name| !labels.contains(name)) {
            let like = labels.iter().filter(|label| likeness(label) == likeness(name));
            if let [label] = like.collect::<Vec<_>>()[..] {
                label.clone_into(name);
            }
        }
    }

    /// Says which spellings were made one.
    pub(super) fn said(&self, remarks: &mut Vec<Remark>) {
        let mut spellings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (written, name) in &self.of {
            spellings.entry(name).or_default().push(written);
        }
        for (name, written) in spellings {
            let wrote = |one: &&str| tidy(one) == name || whole_number(one) == Some(name);
            let renamed = written.iter().any(|one| likeness(one) == likeness(name) && !wrote(one));
            let untouched = written.iter().any(|one| one == &name);
            // Rows that are written so have another name, such as where two are exchanged.
            let taken = self.of.get(name).is_some_and(|other| other != name);
            if (written.len() > 1 && untouched) || renamed || taken {
                let others = written.into_iter().filter(|one| *one != name).map(visible);
                let others: Vec<String> = others.collect();
                let shown = some(others.iter().map(String::as_str));
                remarks.push(Remark::Note(format!("{shown} is read as the label `{name}`")));
            }
        }
    }

    fn names(&self) -> BTreeSet<String> {
        self.of.values().cloned().collect()
    }

    /// Rows of every name in a split.
    pub(super) fn counts(&self, split: &str) -> BTreeMap<String, u64> {
        self.count(|occurrence| occurrence.rows.get(split).copied().unwrap_or(0))
    }

    fn all_counts(&self) -> BTreeMap<String, u64> {
        self.count(|occurrence| occurrence.rows.values().sum())
    }

    fn count(&self, rows: impl Fn(&Occurrence) -> u64) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (written, name) in &self.of {
            *counts.entry(name.clone()).or_default() += rows(&self.occurring[*written]);
        }
        counts
    }

    /// The label that means out of scope.
    pub(super) fn out_of_scope(
        &self,
        config: &DataConfig,
        names: &[String],
        dataset: &str,
    ) -> Result<String, DataError> {
        let asked = &config.ood_label;
        let index = asked.parse::<usize>().ok().and_then(|index| names.get(index));
        let all = self.names();
        let written = |(written, _): &(&&str, &String)| tidy(written) == tidy(asked);
        let own = self.of.iter().find(written).map(|(_, name)| name.clone());
        // A name of the list has been renamed with the rows that have it.
        let listed = index.unwrap_or(asked);
        let renamed = config.renaming(listed).map(|(_, to)| tidy(to)).filter(|to| all.contains(to));
        let meant = own.or(renamed).unwrap_or_else(|| listed.clone());
        if !asked.is_empty() && !all.contains(&meant) && !names.contains(&meant) {
            return Err(DataError::NoOodLabel { name: meant, dataset: dataset.to_owned() });
        }
        Ok(meant)
    }

    /// The classes in their order: that of `names` where all labels have one, else integers by value, else
    /// texts by code point. A label without a training row, and that no model has (`known`), is taken for the
    /// class that it looks like, or is out of scope.
    pub(super) fn classes(
        &mut self,
        names: &[String],
        outside: &str,
        known: &[String],
        remarks: &mut Vec<Remark>,
    ) -> Vec<String> {
        let all = self.names();
        let trained = self.counts("train");
        let has_train = trained.values().any(|&rows| rows > 0);
        let without = |name: &&String| {
            has_train && !known.contains(name) && trained.get(*name).copied().unwrap_or(0) == 0
        };
        if !names.is_empty() && all.iter().all(|name| names.contains(name)) {
            let untrained: Vec<&str> = names
                .iter()
                .filter(without)
                .filter(|name| *name != outside)
                .map(String::as_str)
                .collect();
            if !untrained.is_empty() {
                remarks.push(Remark::Warning(format!(
                    "no training row has the label {}, so the model cannot learn it",
                    some(untrained)
                )));
            }
            return names.iter().filter(|name| *name != outside).cloned().collect();
        }
        let (lost, mut classes): (Vec<String>, Vec<String>) =
            all.iter().filter(|name| *name != outside).cloned().partition(|name| without(&name));
        let mut nowhere = Vec::new();
        for name in lost {
            let like: Vec<&String> =
                classes.iter().filter(|class| likeness(class) == likeness(&name)).collect();
            match like[..] {
                [class] => {
                    remarks.push(Remark::Note(format!(
                        "the label `{name}`, which no training row has, is read as `{class}`"
                    )));
                    let of = self.of.values_mut().filter(|own| **own == name);
                    of.for_each(|own| class.clone_into(own));
                }
                _ => nowhere.push(name),
            }
        }
        if !nowhere.is_empty() {
            let rows = |name: &String| self.all_counts().get(name).copied().unwrap_or(0);
            remarks.push(Remark::Warning(format!(
                "no training row has the label {}, so the model cannot learn it, and {} as out of \
                 scope; add training rows for it, or rename it with \
                 `data.label_map`",
                some(nowhere.iter().map(String::as_str)),
                match nowhere.iter().map(rows).sum::<u64>() {
                    1 => "this row counts".to_owned(),
                    rows => format!("these {} rows count", grouped(rows)),
                },
            )));
        }
        if classes.iter().all(|label| label.parse::<i64>().is_ok()) {
            classes.sort_by_key(|label| label.parse::<i64>().unwrap_or(0));
        }
        classes
    }
}

/// As much as a message shows.
fn shortened(label: &str) -> String {
    const SHOWN: usize = 60;
    match label.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &label[..end]),
        None => label.to_owned(),
    }
}

/// With what nobody sees.
fn visible(label: &str) -> String {
    label.chars().flat_map(char::escape_debug).collect()
}
