//! Conformal p-values of one number after another: see the table of [`super`].

use super::grid::{CELLS, cell};
use super::reference::Histogram;

/// All numbers so far, countable by place: a binary indexed tree (Fenwick, 1994).
#[derive(Clone, Debug)]
pub struct Ranks {
    tree: Vec<u32>,
    count: u64,
}

impl Ranks {
    /// With the numbers of the reference.
    pub fn new(reference: &Histogram) -> Self {
        let mut own = Self { tree: vec![0; CELLS + 1], count: 0 };
        for (value, rows) in reference.iter() {
            own.add(cell(value), rows);
        }
        own
    }

    fn add(&mut self, cell: u16, rows: u32) {
        let mut place = usize::from(cell) + 1;
        while place < self.tree.len() {
            self.tree[place] = self.tree[place].saturating_add(rows);
            place += place & place.wrapping_neg();
        }
        self.count += u64::from(rows);
    }

    /// Numbers before a place.
    fn below(&self, mut place: usize) -> u64 {
        let mut count = 0;
        while place > 0 {
            count += u64::from(self.tree[place]);
            place &= place - 1;
        }
        count
    }

    /// The p-value of a number among all before it and itself: small where it is large. `uniform` is on [0, 1).
    pub fn p_value(&mut self, value: f64, uniform: f64) -> f64 {
        let cell = cell(value);
        self.add(cell, 1);
        let (below, up_to) = (self.below(usize::from(cell)), self.below(usize::from(cell) + 1));
        let (above, equal) = (self.count.saturating_sub(up_to), up_to - below);
        (above as f64 + uniform * equal as f64) / self.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::conformal::exchange;
    use crate::compute::{Noise, Purpose};

    /// Against the p-values of `bayes eval`, on numbers that the grid keeps apart.
    #[test]
    fn p_values_are_those_of_all_numbers_so_far() {
        let mut stream = Noise::new(3).stream(Purpose::Drift, 0, 0);
        let mut number = || (stream.uniform() * 200.0).floor() - 60.0;
        let calibration: Vec<f64> = (0..50).map(|_| number()).collect();
        let tested: Vec<(usize, f64)> = (0..500).map(|_| (0, number())).collect();
        let mut ranks = Ranks::new(&Histogram::of(calibration.iter().copied()));
        let expected = exchange::p_values(&[calibration], &tested, &mut || 0.25);
        for ((_, value), expected) in tested.iter().zip(expected) {
            assert_eq!(ranks.p_value(*value, 0.25), expected);
        }
    }
}
