//! What is wrong with classes, or may be.

use std::collections::{BTreeMap, BTreeSet};

use crate::data::DataError;
use crate::data::labels::{likeness, looks_missing, number, resemblance};
use crate::data::remark::{Remark, quoted, some};

/// Rows that a class should have at least, on average, and from how many classes on that is looked at.
const ROWS_A_CLASS: usize = 10;
const MANY: usize = 5;
/// Numbers with fractions may be marks, such as half stars, up to so many.
const MOST_MARKS: usize = 20;

/// Refuses a column of measures or of names that are given once, and says where classes are many.
pub(super) fn check_numbers(
    classes: &[String],
    counts: &BTreeMap<String, u64>,
    dataset: &str,
    remarks: &mut Vec<Remark>,
) -> Result<(), DataError> {
    let rows: u64 = counts.values().sum();
    let many = classes.len() >= MANY && (classes.len() * ROWS_A_CLASS) as u64 > rows;
    if rows == 0 || !many {
        return Ok(());
    }
    let numbers = classes.iter().all(|class| number(class).is_some());
    let fractions = classes.iter().any(|class| number(class).is_some_and(|n| n.fract() != 0.0));
    let examples = some(classes.iter().map(String::as_str));
    let name = dataset.to_owned();
    let mostly_once = 2 * classes.len() as u64 > rows;
    if numbers && fractions && (mostly_once || classes.len() > MOST_MARKS) {
        return Err(DataError::Continuous { name, classes: classes.len(), rows, examples });
    }
    if classes.len() >= ROWS_A_CLASS && mostly_once {
        return Err(DataError::ManyClasses { name, classes: classes.len(), rows, examples });
    }
    let measure = if numbers { ", which are numbers" } else { "" };
    remarks.push(Remark::Warning(format!(
        "there are {} classes in {rows} rows{measure} ({examples}); if they are not classes, \
         choose another column with `data.label_column`; if some are the same, merge them with \
         `data.label_map`",
        classes.len()
    )));
    Ok(())
}

/// What is only likely.
pub(super) fn say(classes: &[String], counts: &BTreeMap<String, u64>, remarks: &mut Vec<Remark>) {
    let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for class in classes {
        alike.entry(resemblance(class)).or_default().push(class);
    }
    for group in alike.values().filter(|group| group.len() > 1) {
        let rows = |name: &&&str| counts.get(**name).copied().unwrap_or(0);
        let usual = group.iter().max_by_key(rows).expect("a group has members");
        remarks.push(Remark::Warning(format!(
            "the labels {} look alike but are {} classes; if they are the same class, set \
             `data.label_map` to `{{ {} }}`",
            some(group.iter().copied()),
            group.len(),
            all_as(usual, group)
        )));
    }
    for (answer, group) in answers(classes) {
        let rows = |name: &&&str| counts.get(**name).copied().unwrap_or(0);
        let usual = group.iter().max_by_key(rows).expect("a group has members");
        remarks.push(Remark::Warning(format!(
            "the labels {} may all mean {answer} but are {} classes; if they are the same class, \
             set `data.label_map` to `{{ {} }}`",
            some(group.iter().copied()),
            group.len(),
            all_as(usual, &group)
        )));
    }
    // What is said of one class, and of several.
    let add = |remarks: &mut Vec<Remark>, found: Vec<&str>, one: &str, several: &str| {
        let what = if found.len() == 1 { one } else { several };
        if !found.is_empty() {
            remarks.push(Remark::Warning(format!("{} {what}", some(found))));
        }
    };
    add(
        remarks,
        unlabelled(classes),
        "is treated as a class; if it means that there is no label, remove those rows",
        "are treated as classes; if they mean that there is no label, remove those rows",
    );
    let (numbers, joined) = joined(classes).into_iter().partition(|class| number(class).is_some());
    add(
        remarks,
        numbers,
        "looks like several labels for one row, or like a number with a comma, and is treated as \
         one class: `bayes` gives each text one label; rename it with `data.label_map` if that is \
         wrong",
        "look like several labels for one row, or like numbers with a comma, and are treated as \
         one class each: `bayes` gives each text one label; rename them with `data.label_map` if \
         that is wrong",
    );
    add(
        remarks,
        joined,
        "looks like several labels for one row and is treated as one class: `bayes` gives each \
         text one label; rename it with `data.label_map` if that is wrong",
        "look like several labels for one row and are treated as one class each: `bayes` gives \
         each text one label; rename them with `data.label_map` if that is wrong",
    );
    let once = classes.iter().filter(|class| counts.get(*class) == Some(&1)).map(String::as_str);
    add(
        remarks,
        once.collect(),
        "has only one row, so nothing can be measured for it",
        "have only one row each, so nothing can be measured for them",
    );
}

/// What `data.label_map` takes to make a group one class.
fn all_as(usual: &str, group: &[&str]) -> String {
    let others = group.iter().filter(|name| **name != usual);
    let map: Vec<String> =
        others.map(|name| format!("{} = {}", quoted(name), quoted(usual))).collect();
    map.join(", ")
}

/// Classes that look like the mark of a row without a label.
fn unlabelled(classes: &[String]) -> Vec<&str> {
    const WORDS: [&str; 12] = [
        "missing",
        "unassigned",
        "notassigned",
        "tobelabeled",
        "unlabeled",
        "unlabelled",
        "notlabeled",
        "notlabelled",
        "nolabel",
        "unannotated",
        "notannotated",
        "undefined",
    ];
    let marks = missing_numbers(classes);
    let is = |class: &&str| {
        let known = || WORDS.contains(&&*likeness(class));
        looks_missing(class) || known() || marks.contains(class)
    };
    classes.iter().map(String::as_str).filter(is).collect()
}

/// Whether the only label there is says that there is none. Beside others, some of these words are classes.
pub(super) fn is_no_label(only: &str) -> bool {
    const WORDS: [&str; 4] = ["unknown", "pending", "tbd", "todo"];
    let is_mark = || number(only).is_some_and(|value| MARKS.contains(&value));
    !unlabelled(&[only.to_owned()]).is_empty() || WORDS.contains(&&*likeness(only)) || is_mark()
}

/// -1, the index that PyTorch's losses ignore, and the codes of surveys.
const MARKS: [f64; 5] = [-1.0, -99.0, -100.0, -999.0, -9999.0];

/// Numbers that data sets write for a missing label. Next to other numbers below 0, or to their opposites, they are part of a scale; `-1` is one of -1, 0, 1.
fn missing_numbers(classes: &[String]) -> Vec<&str> {
    let value = |class: &&str| number(class);
    let is_mark = |class: &&str| value(class).is_some_and(|value| MARKS.contains(&value));
    let (marks, others): (Vec<&str>, Vec<&str>) =
        classes.iter().map(String::as_str).partition(is_mark);
    let others_are = |test: &dyn Fn(f64) -> bool| others.iter().filter_map(value).any(test);
    if others.len() < 2 || others_are(&|other| other < 0.0 || other.fract() != 0.0) {
        return Vec::new();
    }
    let no_scale = |mark: &&str| {
        let mark = value(mark).expect("a mark is a number");
        !others_are(&|other| other == -mark) || mark == -1.0 && others_are(&|other| other > 1.0)
    };
    marks.into_iter().filter(no_scale).collect()
}

/// Classes that say yes or no in several ways, such as `True` and `1`. Letters may mean something else where
/// there are other classes.
fn answers(classes: &[String]) -> Vec<(&'static str, Vec<&str>)> {
    let answer = |class: &str, letters: bool| match &*likeness(class) {
        "true" | "yes" | "number 1" => Some("yes"),
        "false" | "no" | "number 0" => Some("no"),
        "t" | "y" if letters => Some("yes"),
        "f" | "n" if letters => Some("no"),
        _ => None,
    };
    let letters = classes.iter().all(|class| answer(class, true).is_some());
    let of = |wanted| -> Vec<&str> {
        let own = |class: &&str| answer(class, letters) == Some(wanted);
        classes.iter().map(String::as_str).filter(own).collect()
    };
    let several = |(_, group): &(&str, Vec<&str>)| {
        let meanings: BTreeSet<String> = group.iter().map(|class| likeness(class)).collect();
        meanings.len() > 1
    };
    ["yes", "no"].map(|answer| (answer, of(answer))).into_iter().filter(several).collect()
}

/// Names put together from others, of which each also stands alone or in another.
fn joined(classes: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    let names = || classes.iter().flat_map(|class| class.chars());
    let between = |c: &char| !c.is_alphanumeric() && !c.is_whitespace() && !"-_'.".contains(*c);
    for by in names().filter(between).collect::<BTreeSet<char>>() {
        let parts = |class: &str| -> BTreeSet<String> {
            class.split(by).map(|part| part.trim().to_owned()).collect()
        };
        let mut uses: BTreeMap<String, usize> = BTreeMap::new();
        for part in classes.iter().flat_map(|class| parts(class)) {
            *uses.entry(part).or_default() += 1;
        }
        let several = |class: &&String| {
            let own = parts(class);
            own.len() > 1 && own.iter().all(|part| !part.is_empty() && uses[part] > 1)
        };
        found.extend(classes.iter().filter(several).map(String::as_str));
    }
    found
}
