//! Rows of two kinds ordered by a score: the counts that every rank metric is a function of.
//!
//! Equal scores form one group, and a metric sees only how many rows of each kind a group has. So
//! no metric depends on the order of the rows, and a bootstrap resample, which draws rows several
//! times, is the same computation on other counts.

use super::MetricsError;

/// Rows of equal score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub negatives: u64,
    pub positives: u64,
}

impl Group {
    pub fn rows(self) -> u64 {
        self.negatives + self.positives
    }
}

/// Negatives and positives in groups of equal score, the highest score first. Higher means
/// "positive": out of distribution, or wrong. Neither side may be assumed to have rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    pub(super) groups: Vec<Group>,
    pub(super) negatives: u64,
    pub(super) positives: u64,
}

impl Ranking {
    /// Orders two lists of scores.
    ///
    /// # Errors
    /// A score is NaN. Infinite scores are allowed.
    pub fn new(negatives: &[f64], positives: &[f64]) -> Result<Self, MetricsError> {
        Ok(Order::of_sides(negatives, positives)?.ranking(&mut |_| 1))
    }

    fn of(groups: Vec<Group>) -> Self {
        let negatives = groups.iter().map(|group| group.negatives).sum();
        let positives = groups.iter().map(|group| group.positives).sum();
        Self { groups, negatives, positives }
    }

    /// The other question: the lowest score first, and what was negative is positive.
    pub fn reversed(&self) -> Self {
        let swap = |group: &Group| Group { negatives: group.positives, positives: group.negatives };
        Self::of(self.groups.iter().rev().map(swap).collect())
    }

    /// Whether both sides have rows: else no metric of detection is defined.
    pub(super) fn two_sided(&self) -> bool {
        self.negatives > 0 && self.positives > 0
    }

    /// Rows of both sides.
    pub(super) fn rows(&self) -> u64 {
        self.negatives + self.positives
    }
}

/// Rows sorted once, so that the ranking of every resample takes one pass.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// Row, whether it is positive, and whether its score is lower than that of the row before.
    rows: Vec<(u32, bool, bool)>,
}

impl Order {
    /// Row `i` has `scores[i]` and is positive if `positive(i)`.
    ///
    /// # Panics
    /// A score is NaN.
    pub fn new(scores: &[f64], positive: impl Fn(usize) -> bool) -> Self {
        assert!(scores.iter().all(|score| !score.is_nan()), "scores were checked");
        let mut rows: Vec<u32> = (0..scores.len() as u32).collect();
        let score = |row: u32| scores[row as usize];
        // Stable, so that the result is a function of the input; −0 and 0 are neighbours, and `!=`
        // makes them a tie.
        rows.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        let opens = |place: usize| place > 0 && score(rows[place]) != score(rows[place - 1]);
        let mark = |(place, &row)| (row, positive(row as usize), opens(place));
        Self { rows: rows.iter().enumerate().map(mark).collect() }
    }

    /// Negatives are rows 0 to n − 1, positives those after them.
    pub fn of_sides(negatives: &[f64], positives: &[f64]) -> Result<Self, MetricsError> {
        for (side, scores) in [("negative", negatives), ("positive", positives)] {
            if let Some(index) = scores.iter().position(|score| score.is_nan()) {
                return Err(MetricsError::Score { side, index });
            }
        }
        Ok(Self::new(&[negatives, positives].concat(), |row| row >= negatives.len()))
    }

    /// The ranking in which row `i` stands `times(i)` times.
    pub fn ranking(&self, times: &mut dyn FnMut(usize) -> u32) -> Ranking {
        let mut groups = Vec::with_capacity(self.rows.len());
        let mut group = Group::default();
        for &(row, positive, opens) in &self.rows {
            if opens && group.rows() > 0 {
                groups.push(std::mem::take(&mut group));
            }
            let times = u64::from(times(row as usize));
            if positive {
                group.positives += times;
            } else {
                group.negatives += times;
            }
        }
        if group.rows() > 0 {
            groups.push(group);
        }
        Ranking::of(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_one_group_and_the_highest_comes_first() {
        let ranking = Ranking::new(&[1.0, -0.0, 2.0, f64::NEG_INFINITY], &[0.0, 2.0, 2.0]).unwrap();
        let group = |negatives, positives| Group { negatives, positives };
        assert_eq!(ranking.groups, [group(1, 2), group(1, 0), group(1, 1), group(1, 0)]);
        assert_eq!((ranking.negatives, ranking.positives), (4, 3));
        let reversed = ranking.reversed();
        assert_eq!(reversed.groups, [group(0, 1), group(1, 1), group(0, 1), group(2, 1)]);
        assert_eq!(reversed.reversed(), ranking);
    }

    #[test]
    fn a_row_that_was_drawn_twice_is_a_tie_with_itself_and_one_that_was_not_is_absent() {
        let scores = [0.3, 0.9, 0.5, 0.5];
        let order = Order::new(&scores, |row| row == 2);
        let drawn = order.ranking(&mut |row| [2, 0, 1, 3][row]);
        let repeated = Ranking::new(&[0.3, 0.3, 0.5, 0.5, 0.5], &[0.5]).unwrap();
        assert_eq!(drawn, repeated);
    }

    #[test]
    fn a_nan_is_refused_with_its_place() {
        let refused = Ranking::new(&[1.0], &[0.0, f64::NAN]).unwrap_err();
        assert_eq!(refused.to_string(), "positive 1: the score is not a number");
    }
}
