//! Samples of rows: `--limit`, `train_limit` and the like.

use std::collections::BTreeMap;

use super::content::RowKey;
use crate::compute::{Noise, Purpose};

/// A seeded, class-balanced sample of `n` rows (all when there are not more), ascending.
///
/// Classes have equal numbers as far as they go; what one lacks the others fill. A smaller sample
/// of the same seed is contained in a larger one.
pub fn balanced(rows: &[RowKey], n: usize, noise: &Noise) -> Vec<usize> {
    // Rounds: the first of every class, then the second …
    take(rows, n, noise, |place, _| place as f64)
}

/// A seeded sample of `n` rows (all when there are not more), ascending, in which the classes have the
/// shares that they have among all rows, to the nearest row.
///
/// A smaller sample of the same seed is contained in a larger one. Where all classes have equally many
/// rows, it is the [`balanced`] one.
pub fn proportional(rows: &[RowKey], n: usize, noise: &Noise) -> Vec<usize> {
    take(rows, n, noise, |place, class| (place as f64 + 0.5) / class as f64)
}

/// The first `n` rows by the turn that each has from its place in its class, which is shuffled, and the
/// size of that class. Among classes whose turn comes at once the seed decides, not their numbers.
fn take(
    rows: &[RowKey],
    n: usize,
    noise: &Noise,
    turn: impl Fn(usize, usize) -> f64,
) -> Vec<usize> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        classes.entry(row.label).or_default().push(index);
    }
    for (&label, class) in &mut classes {
        noise.stream(Purpose::Sample, u64::from(label), 1).shuffle(class);
    }
    let mut order: Vec<u32> = classes.keys().copied().collect();
    noise.stream(Purpose::Sample, 0, 0).shuffle(&mut order);
    let mut turns: Vec<(f64, usize)> = Vec::with_capacity(rows.len());
    for label in &order {
        let class = &classes[label];
        let own = class.iter().enumerate();
        turns.extend(own.map(|(place, &row)| (turn(place, class.len()), row)));
    }
    turns.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut sample: Vec<usize> = turns.into_iter().take(n).map(|(_, row)| row).collect();
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
    fn a_balanced_sample_is_so_as_far_as_the_classes_go() {
        let rows = rows(&[100, 5, 100]);
        let sample = |n| balanced(&rows, n, &Noise::new(7));
        assert_eq!(per_class(&rows, &sample(45), 3), [20, 5, 20]);
        let mut seven = per_class(&rows, &sample(7), 3);
        seven.sort_unstable();
        assert_eq!(seven, [2, 2, 3]);
        assert_eq!(sample(1000), (0..205).collect::<Vec<_>>());
        assert!(sample(0).is_empty() && sample(30).is_sorted());
        assert!(sample(30).iter().all(|row| sample(60).contains(row)));
        assert_ne!(sample(30), balanced(&rows, 30, &Noise::new(8)));
    }

    #[test]
    fn a_proportional_sample_keeps_the_shares_of_the_classes() {
        let skewed = rows(&[900, 90, 10]);
        let sample = |n| proportional(&skewed, n, &Noise::new(7));
        assert_eq!(per_class(&skewed, &sample(100), 3), [90, 9, 1]);
        assert_eq!(per_class(&skewed, &sample(20), 3), [18, 2, 0]);
        assert_eq!(sample(5000), (0..1000).collect::<Vec<_>>());
        assert!(sample(0).is_empty() && sample(30).is_sorted());
        assert!(sample(30).iter().all(|row| sample(60).contains(row)));
        assert_ne!(sample(30), proportional(&skewed, 30, &Noise::new(8)));
        let equal = rows(&[50, 50, 50]);
        for n in [1, 7, 45, 149] {
            let noise = Noise::new(7);
            assert_eq!(proportional(&equal, n, &noise), balanced(&equal, n, &noise), "{n}");
        }
    }
}
