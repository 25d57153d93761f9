//! Division of rows into splits: pure functions from labels and text hashes to indices.
//!
//! Every division is stratified by label and seeded, and rows with the same text stay on one side,
//! since a text seen in training says nothing about one that was not.

mod alike;
mod content;
mod sample;

use std::collections::{BTreeMap, HashMap};

pub use alike::folded;
pub use content::{RowKey, content_hash, overlap, text_key};
pub(super) use content::{hexadecimal, update_texts};
pub use sample::{balanced, proportional};

use crate::compute::{Noise, Purpose, Stream};

/// Why rows could not be divided.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SplitError {
    /// The shares are no division of a whole.
    #[error(
        "the fractions {shares:?} are invalid: each must be at least 0 and they must add up to 1"
    )]
    Shares {
        /// What was asked for.
        shares: Vec<f64>,
    },
    /// The configured fractions leave nothing to train on, or are not fractions.
    #[error(
        "`validation_fraction` ({validation}), 2 × `calibration_fraction` ({calibration}) and \
         `test_fraction` ({test}) must each be at least 0 and must add up to less than 1"
    )]
    Fractions {
        /// `validation_fraction`.
        validation: f64,
        /// `calibration_fraction`.
        calibration: f64,
        /// `test_fraction`.
        test: f64,
    },
    /// A part that was asked for got no row.
    #[error(
        "the {part} split ({share} of {rows} rows) is empty; {}",
        match repeated {
            Some(texts) => format!(
                "the rows have only {texts} different texts, and all rows of one text stay in one split; add \
                 more different texts"
            ),
            None => format!("raise {remedy} or add more rows"),
        }
    )]
    Empty {
        part: String,
        /// The share asked for.
        share: f64,
        /// Rows that were divided.
        rows: usize,
        /// The key to raise.
        remedy: String,
        /// How many different texts there are, where that is why.
        repeated: Option<usize>,
    },
}

/// The shares that are carved from the training rows where a data set lacks a split of its own
/// (keys `validation_fraction`, `calibration_fraction`, `test_fraction`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fractions {
    pub validation: f64,
    /// Each of two parts: temperature and scale; conformal sets and novelty.
    pub calibration: f64,
    /// For the final report.
    pub test: f64,
}

impl Default for Fractions {
    fn default() -> Self {
        Self { validation: 0.10, calibration: 0.05, test: 0.10 }
    }
}

/// Rows of each part, ascending. Parts that were not carved are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Division {
    /// Rows to train on.
    pub train: Vec<usize>,
    /// Rows that choose the best checkpoint.
    pub selection: Vec<usize>,
    /// Rows for temperature and scale.
    pub temperature: Vec<usize>,
    /// Rows for conformal sets and novelty.
    pub conformal: Vec<usize>,
    /// Rows for the final report.
    pub test: Vec<usize>,
}

impl Division {
    /// With this done to each part.
    pub(super) fn each(self, change: impl Fn(Vec<usize>) -> Vec<usize>) -> Self {
        Self {
            train: change(self.train),
            selection: change(self.selection),
            temperature: change(self.temperature),
            conformal: change(self.conformal),
            test: change(self.test),
        }
    }
}

/// Carves from the training rows the splits that the data set lacks: selection and calibration
/// unless it has a validation split, test unless it has a test split. So many `fixed` rows, which are
/// not among these, are trained on in any case: the fractions are of all, as far as these suffice.
pub fn divide_train(
    rows: &[RowKey],
    fixed: usize,
    fractions: Fractions,
    has_validation: bool,
    has_test: bool,
    noise: &Noise,
) -> Result<Division, SplitError> {
    let Fractions { validation, calibration, test } = fractions;
    let given = [validation, calibration, test];
    if given.iter().any(|f| !(0.0..1.0).contains(f)) || validation + 2.0 * calibration + test >= 1.0
    {
        return Err(SplitError::Fractions { validation, calibration, test });
    }
    let (validation, calibration) =
        if has_validation { (0.0, 0.0) } else { (validation, calibration) };
    let test = if has_test { 0.0 } else { test };
    let held_out = validation + 2.0 * calibration + test;
    let all = (rows.len() + fixed) as f64 / rows.len().max(1) as f64;
    let factor = all.min(1.0 / held_out);
    // Less than a row need not be trained on where others are.
    let few = fixed > 0 && held_out > 0.0 && (1.0 - held_out * factor) * (rows.len() as f64) < 1.0;
    let factor = if few { 1.0 / held_out } else { factor };
    let [validation, calibration, test] = [validation, calibration, test].map(|f| f * factor);
    let train = if few { 0.0 } else { 1.0 - validation - 2.0 * calibration - test };
    let share = |share, part, remedy| Share { share, part, remedy };
    let parts = carve_shares(
        rows,
        &[
            share(train, "train", "the rows, or lower the fractions carved from them,"),
            share(validation, "validation", "`data.validation_fraction`"),
            share(calibration, "temperature", "`data.calibration_fraction`"),
            share(calibration, "conformal", "`data.calibration_fraction`"),
            share(test, "test", "`data.test_fraction`"),
        ],
        noise,
        0,
    )?;
    let [train, selection, temperature, conformal, test] =
        <[Vec<usize>; 5]>::try_from(parts).expect("one part for each share");
    Ok(Division { train, selection, temperature, conformal, test })
}

/// Divides an official validation split: half for selection, a quarter each for temperature and
/// conformal sets. `train` and `test` of the result are empty.
pub fn divide_validation(rows: &[RowKey], noise: &Noise) -> Result<Division, SplitError> {
    let remedy = "the number of validation rows to four";
    let shares = [(0.5, "validation"), (0.25, "temperature"), (0.25, "conformal")];
    let parts =
        carve_shares(rows, &shares.map(|(share, part)| Share { share, part, remedy }), noise, 1)?;
    let [selection, temperature, conformal] =
        <[Vec<usize>; 3]>::try_from(parts).expect("one part for each share");
    Ok(Division { selection, temperature, conformal, ..Division::default() })
}

/// Divides rows into parts of the given shares (which sum to 1; a share of 0 gives an empty part).
///
/// In every class a part has the floor or the ceiling of its share, by largest remainder, with the
/// rounding errors of the classes before counted in: so the parts as a whole keep their shares too
/// when classes are small. Only texts that repeat too often to fit anywhere can change that. Each
/// part is in ascending order. `a` numbers the division, so that two of one seed are independent.
pub fn carve(
    rows: &[RowKey],
    shares: &[f64],
    noise: &Noise,
    a: u64,
) -> Result<Vec<Vec<usize>>, SplitError> {
    let names: Vec<String> = (1..=shares.len()).map(|part| format!("number {part}")).collect();
    let named: Vec<Share> = (shares.iter().zip(&names))
        .map(|(&share, part)| Share { share, part, remedy: "that share" })
        .collect();
    carve_shares(rows, &named, noise, a)
}

/// Where a part has fewer different texts, it may be empty for want of them.
const TEXTS_A_PART: usize = 4;

/// A share with what to say when no row falls to it.
struct Share<'a> {
    share: f64,
    part: &'a str,
    remedy: &'a str,
}

fn carve_shares(
    rows: &[RowKey],
    named: &[Share],
    noise: &Noise,
    a: u64,
) -> Result<Vec<Vec<usize>>, SplitError> {
    let shares: Vec<f64> = named.iter().map(|named| named.share).collect();
    let impossible = |share: &f64| !share.is_finite() || *share < 0.0;
    if shares.iter().any(impossible) || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-9 {
        return Err(SplitError::Shares { shares });
    }
    let mut stream = noise.stream(Purpose::Split, a, 0);
    let mut room = quotas(rows, &shares);
    let mut groups = groups_of_equal_text(rows);
    let few = groups.len() < rows.len() && groups.len() < TEXTS_A_PART * named.len();
    let repeated = few.then_some(groups.len());
    stream.shuffle(&mut groups);
    // Stable: the largest groups first, while there is room for them; then in shuffled order.
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));

    let mut parts = vec![Vec::new(); shares.len()];
    for group in groups {
        let part = choose_part(rows, &group, &room, &shares, &mut stream);
        for &row in &group {
            room.get_mut(&rows[row].label).expect("every label has a quota")[part] -= 1;
        }
        parts[part].extend(group);
    }
    for (part, named) in parts.iter_mut().zip(named) {
        if named.share > 0.0 && part.is_empty() {
            return Err(SplitError::Empty {
                part: named.part.to_string(),
                share: named.share,
                rows: rows.len(),
                remedy: named.remedy.to_string(),
                repeated,
            });
        }
        part.sort_unstable();
    }
    Ok(parts)
}

/// Rows that each part is to have, by class.
fn quotas(rows: &[RowKey], shares: &[f64]) -> BTreeMap<u32, Vec<i64>> {
    let mut counts: BTreeMap<u32, i64> = BTreeMap::new();
    for row in rows {
        *counts.entry(row.label).or_default() += 1;
    }
    let mut carry = vec![0.0; shares.len()];
    counts
        .into_iter()
        .map(|(label, count)| {
            let exact: Vec<f64> = shares.iter().map(|share| share * count as f64).collect();
            // A share such as 1 − 0.1 − 0.1 may miss a whole number by a rounding error.
            let mut quota: Vec<i64> = exact.iter().map(|e| (e + 1e-6).floor() as i64).collect();
            let mut order: Vec<usize> =
                (0..shares.len()).filter(|&p| exact[p] - quota[p] as f64 > 1e-6).collect();
            let owed = |p: usize| exact[p] - quota[p] as f64 + carry[p];
            order.sort_by(|&p, &q| owed(q).total_cmp(&owed(p)).then(p.cmp(&q)));
            let left = usize::try_from(count - quota.iter().sum::<i64>()).unwrap_or(0);
            for &part in order.iter().take(left) {
                quota[part] += 1;
            }
            for (part, carry) in carry.iter_mut().enumerate() {
                *carry += exact[part] - quota[part] as f64;
            }
            (label, quota)
        })
        .collect()
}

/// Row indices by text, in the order of first appearance.
fn groups_of_equal_text(rows: &[RowKey]) -> Vec<Vec<usize>> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let place = *places.entry(row.text).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(index);
    }
    groups
}

/// Draws a part in proportion to the room it has for the group's first class, among those where
/// the whole group fits; where it fits nowhere, the part with most room takes it.
fn choose_part(
    rows: &[RowKey],
    group: &[usize],
    room: &BTreeMap<u32, Vec<i64>>,
    shares: &[f64],
    stream: &mut Stream,
) -> usize {
    let mut needs: BTreeMap<u32, i64> = BTreeMap::new();
    for &row in group {
        *needs.entry(rows[row].label).or_default() += 1;
    }
    let first = &room[&rows[group[0]].label];
    let fits = |part: usize| needs.iter().all(|(label, need)| room[label][part] >= *need);
    let weights: Vec<u32> = (0..shares.len())
        .map(|part| if fits(part) { u32::try_from(first[part]).unwrap_or(u32::MAX) } else { 0 })
        .collect();
    let total = weights.iter().fold(0u32, |sum, &weight| sum.saturating_add(weight));
    if total == 0 {
        let part = (0..shares.len()).filter(|&part| shares[part] > 0.0);
        return part.rev().max_by_key(|&part| first[part]).expect("the shares sum to 1");
    }
    let mut draw = stream.below(total);
    for (part, &weight) in weights.iter().enumerate() {
        if draw < weight {
            return part;
        }
        draw -= weight;
    }
    unreachable!("the draw is below the sum of the weights")
}

#[cfg(test)]
mod tests;
