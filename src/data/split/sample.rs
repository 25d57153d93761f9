//! Samples of rows: `--limit` and `train_limit`.

use std::collections::BTreeMap;

use super::content::RowKey;
use crate::compute::{Noise, Purpose};

/// A seeded, class-balanced sample of `n` rows (all when there are not more), ascending.
///
/// Classes have equal numbers as far as they go; what one lacks the others fill. A smaller sample
/// of the same seed is contained in a larger one.
pub fn limit(rows: &[RowKey], n: usize, noise: &Noise) -> Vec<usize> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        classes.entry(row.label).or_default().push(index);
    }
    for (&label, class) in &mut classes {
        noise.stream(Purpose::Sample, u64::from(label), 1).shuffle(class);
    }
    // Rounds: the first of every class, then the second …; the classes of a round that is not
    // completed are those that the seed puts first, not those with the smallest numbers.
    let mut order: Vec<u32> = classes.keys().copied().collect();
    noise.stream(Purpose::Sample, 0, 0).shuffle(&mut order);
    let mut sample = Vec::with_capacity(n.min(rows.len()));
    for round in 0.. {
        let taken = sample.len();
        for label in &order {
            if let Some(&row) = classes[label].get(round)
                && sample.len() < n
            {
                sample.push(row);
            }
        }
        if sample.len() == taken {
            break;
        }
    }
    sample.sort_unstable();
    sample
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::RowKey;

    /// `counts[label]` rows of each label, class after class, every text another.
    pub fn rows(counts: &[usize]) -> Vec<RowKey> {
        let labels = counts.iter().enumerate().flat_map(|(label, &n)| vec![label as u32; n]);
        labels.enumerate().map(|(i, label)| RowKey { label, text: i as u64 }).collect()
    }

    pub fn per_class(rows: &[RowKey], part: &[usize], classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        part.iter().for_each(|&row| counts[rows[row].label as usize] += 1);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{per_class, rows};
    use super::*;

    #[test]
    fn a_limit_is_balanced_as_far_as_the_classes_go() {
        let rows = rows(&[100, 5, 100]);
        let sample = |n| limit(&rows, n, &Noise::new(7));
        assert_eq!(per_class(&rows, &sample(45), 3), [20, 5, 20]);
        let mut seven = per_class(&rows, &sample(7), 3);
        seven.sort_unstable();
        assert_eq!(seven, [2, 2, 3]);
        assert_eq!(sample(1000), (0..205).collect::<Vec<_>>());
        assert!(sample(0).is_empty() && sample(30).is_sorted());
        assert!(sample(30).iter().all(|row| sample(60).contains(row)));
        assert_ne!(sample(30), limit(&rows, 30, &Noise::new(8)));
    }
}
