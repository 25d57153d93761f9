//! The order in which rows are read: a pure function, so that a resumed run has nothing to restore.

use crate::compute::{Noise, Purpose};

/// Batches in one group that is sorted by length (the rule of transformers' `LengthGroupedSampler`).
const GROUP: usize = 50;

/// The batches of one epoch, as indices into `lengths` (tokens of each row): every row exactly once.
///
/// The rows are permuted, groups of 50 batches of that permutation are sorted by length and cut,
/// and the full batches are shuffled, so that a batch is even and their sequence is not. All
/// batches have `batch_size` rows (at least one) but the last, which takes what is left over.
pub fn epoch_batches(
    lengths: &[u32],
    batch_size: usize,
    noise: &Noise,
    epoch: u64,
) -> Vec<Vec<u32>> {
    let batch_size = batch_size.max(1);
    let mut rows: Vec<u32> = (0..row_count(lengths)).collect();
    noise.stream(Purpose::Shuffle, epoch, 0).shuffle(&mut rows);

    let mut batches = Vec::with_capacity(rows.len().div_ceil(batch_size));
    for group in rows.chunks_mut(batch_size.saturating_mul(GROUP)) {
        // Stable: rows of equal length keep the order of the permutation.
        group.sort_by_key(|&row| lengths[row as usize]);
        batches.extend(group.chunks(batch_size).map(<[u32]>::to_vec));
    }
    let full = rows.len() / batch_size;
    noise.stream(Purpose::Shuffle, epoch, 1).shuffle(&mut batches[..full]);
    batches
}

fn row_count(lengths: &[u32]) -> u32 {
    u32::try_from(lengths.len()).expect("a data set has fewer than 2^32 rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths between 5 and 504 with no order in them.
    fn lengths(n: usize) -> Vec<u32> {
        let mut stream = Noise::new(9).stream(Purpose::Generate, 0, 0);
        (0..n).map(|_| 5 + stream.below(500)).collect()
    }

    fn sorted(batches: &[Vec<u32>]) -> Vec<u32> {
        let mut rows = batches.concat();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn every_row_comes_once_and_only_the_last_batch_is_short() {
        for n in [0, 1, 7, 8, 801, 1003] {
            let batches = epoch_batches(&lengths(n), 8, &Noise::new(1), 0);
            assert_eq!(sorted(&batches), (0..n as u32).collect::<Vec<_>>());
            let (last, full) = batches.split_last().map_or((0, &[][..]), |(l, f)| (l.len(), f));
            assert!(full.iter().all(|batch| batch.len() == 8));
            assert_eq!(full.len() * 8 + last, n);
        }
    }

    #[test]
    fn the_order_is_a_function_of_seed_and_epoch() {
        let lengths = lengths(500);
        let order = |seed, epoch| epoch_batches(&lengths, 4, &Noise::new(seed), epoch);
        assert_eq!(order(1, 3), order(1, 3));
        assert_ne!(order(1, 3), order(1, 4));
        assert_ne!(order(1, 3), order(2, 3));
    }

    /// 400 sorted rows a group over a range of 500: batches of 8 span about 10, unsorted about 390.
    #[test]
    fn lengths_in_a_batch_are_close_and_batches_are_not_in_order() {
        let lengths = lengths(4000);
        let batches = epoch_batches(&lengths, 8, &Noise::new(5), 0);
        let length = |row: &u32| f64::from(lengths[*row as usize]);
        let spread: f64 = batches
            .iter()
            .map(|b| length(b.last().expect("not empty")) - length(&b[0]))
            .sum::<f64>()
            / batches.len() as f64;
        assert!(spread < 20.0, "{spread}");
        let rising = batches.windows(2).filter(|w| length(&w[0][0]) <= length(&w[1][0])).count();
        let share = rising as f64 / (batches.len() - 1) as f64;
        assert!((share - 0.5).abs() < 0.1, "{share}");
    }

    #[test]
    fn rows_of_one_class_after_another_are_mixed() {
        let batches = epoch_batches(&[10; 4000], 16, &Noise::new(5), 0);
        let mixed = batches.iter().filter(|batch| {
            let low = batch.iter().filter(|&&row| row < 2000).count();
            (1..batch.len()).contains(&low)
        });
        assert_eq!(mixed.count(), batches.len());
    }
}
