//! Class by class: how many of its rows are found, and what they are taken for.

use super::classification::{ClassCount, count};
use super::{Scored, argmax};

/// How one class fares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// Rows of this class.
    pub rows: u64,
    /// Rows that are predicted as it.
    pub predicted: u64,
    /// The share of those that are of it; `None` where it is never predicted.
    pub precision: Option<f64>,
    /// The share of its rows that are predicted as it; `None` where it has no rows.
    pub recall: Option<f64>,
    /// The harmonic mean of both, 2 hits / (rows + predicted); `None` where it has no rows and is never
    /// predicted. (The macro F1 is the mean of the others.)
    pub f1: Option<f64>,
}

/// Rows of one class that are predicted as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// The class that is true.
    pub label: usize,
    /// The class that is predicted.
    pub predicted: usize,
    pub rows: u64,
}

/// Every class, in order.
pub fn by_class(scored: &Scored) -> Vec<ClassScore> {
    let mut counts_c = vec![ClassCount::default(); scored.classes()];
    for (probability_c, label) in scored.iter() {
        count(&mut counts_c, argmax(probability_c), label, 1);
    }
    let share = |hits: u64, of: u64| (of > 0).then(|| hits as f64 / of as f64);
    let score = |ClassCount { hits, predicted, actual }| ClassScore {
        rows: actual,
        predicted,
        precision: share(hits, predicted),
        recall: share(hits, actual),
        f1: share(2 * hits, predicted + actual),
    };
    counts_c.into_iter().map(score).collect()
}

/// The most frequent confusions, at most so many. Of equally frequent ones the larger share of its class
/// comes first, then the lower class.
pub fn confusions(scored: &Scored, most: usize) -> Vec<Confusion> {
    let mut rows_c = vec![0u64; scored.classes()];
    let mut wrong: Vec<(usize, usize)> = Vec::new();
    for (probability_c, label) in scored.iter() {
        rows_c[label] += 1;
        let predicted = argmax(probability_c);
        if predicted != label {
            wrong.push((label, predicted));
        }
    }
    // Few of the pairs of many classes occur.
    wrong.sort_unstable();
    let pairs = wrong.chunk_by(|one, other| one == other);
    let mut confusions: Vec<Confusion> = pairs
        .map(|pair| Confusion { label: pair[0].0, predicted: pair[0].1, rows: pair.len() as u64 })
        .collect();
    let order = |one: &Confusion| (std::cmp::Reverse(one.rows), rows_c[one.label]);
    confusions.sort_by_key(order);
    confusions.truncate(most);
    confusions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{accuracy, macro_f1};

    /// Of four classes the last is neither a label nor predicted, and the third never predicted.
    fn rows() -> (Vec<f64>, Vec<u32>) {
        let predicted = [0, 0, 1, 1, 1, 0, 0, 1];
        let labels = vec![0, 0, 0, 1, 1, 2, 2, 2];
        let line = |&class: &usize| (0..4).map(move |c| if c == class { 0.7 } else { 0.1 });
        (predicted.iter().flat_map(line).collect(), labels)
    }

    #[test]
    fn eight_rows_by_hand() {
        let (probability_nc, labels) = rows();
        let scored = Scored::new(&probability_nc, 4, &labels).unwrap();
        let classes = by_class(&scored);
        let expected = [
            (3, 4, Some(0.5), Some(2.0 / 3.0), Some(4.0 / 7.0)),
            (2, 4, Some(0.5), Some(1.0), Some(4.0 / 6.0)),
            (3, 0, None, Some(0.0), Some(0.0)),
            (0, 0, None, None, None),
        ];
        for (found, (rows, predicted, precision, recall, f1)) in classes.iter().zip(expected) {
            assert_eq!(*found, ClassScore { rows, predicted, precision, recall, f1 });
        }
        let mean = classes.iter().filter_map(|one| one.f1).sum::<f64>() / 3.0;
        assert!((mean - macro_f1(&scored)).abs() < 1e-15);
    }

    #[test]
    fn the_most_frequent_confusions_come_first_and_add_up_to_the_errors() {
        let (probability_nc, labels) = rows();
        let scored = Scored::new(&probability_nc, 4, &labels).unwrap();
        let confusion = |label, predicted, rows| Confusion { label, predicted, rows };
        let all = confusions(&scored, 20);
        assert_eq!(all, [confusion(2, 0, 2), confusion(0, 1, 1), confusion(2, 1, 1)]);
        assert_eq!(confusions(&scored, 1), all[..1]);
        let wrong: u64 = all.iter().map(|one| one.rows).sum();
        assert!((1.0 - wrong as f64 / 8.0 - accuracy(&scored)).abs() < 1e-15);
    }

    #[test]
    fn of_equally_frequent_confusions_the_smaller_class_suffers_more() {
        let predicted = [1, 0, 0, 0, 0];
        let line = |&class: &usize| (0..2).map(move |c| if c == class { 0.9 } else { 0.1 });
        let probability_nc: Vec<f64> = predicted.iter().flat_map(line).collect();
        let scored = Scored::new(&probability_nc, 2, &[0, 0, 0, 0, 1]).unwrap();
        let all = confusions(&scored, 2);
        assert_eq!((all[0].label, all[1].label), (1, 0));
    }
}
