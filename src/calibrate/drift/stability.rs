//! The population stability index of the newest numbers against a reference.
//!
//! Bins hold about equal shares of the reference. To each count is added a half, so that an empty bin is no infinite
//! change. Without any change PSI is about (B − 1)(1/n + 1/m) for n rows of the reference and m new ones: its floor.

use std::collections::VecDeque;

use super::grid::cell;
use super::reference::Histogram;

/// The newest numbers that are looked at.
const WINDOW: usize = 1000;
/// Fewer say nothing.
pub const FEWEST: usize = 200;

/// Counts of the newest numbers by bin.
#[derive(Clone, Debug)]
pub struct Stability {
    /// The least place of each bin but the first.
    edges: Vec<u16>,
    reference: Vec<u32>,
    counts: Vec<u32>,
    newest: VecDeque<u8>,
}

impl Stability {
    /// In at most so many bins, 255 or fewer.
    pub fn new(reference: &Histogram, bins: usize) -> Self {
        let rows = reference.rows();
        let (mut edges, mut own, mut before) = (Vec::new(), vec![0], 0);
        for (value, count) in reference.iter() {
            // The next bin begins where the shares before it are nearest to whole.
            let wanted = (edges.len() + 1) as u64 * rows;
            let [here, next] = [before, before + u64::from(count)].map(|rows| rows * bins as u64);
            if before > 0
                && edges.len() + 1 < bins
                && here.abs_diff(wanted) <= next.abs_diff(wanted)
            {
                edges.push(cell(value));
                own.push(0);
            }
            before += u64::from(count);
            if let Some(last) = own.last_mut() {
                *last += count;
            }
        }
        let counts = vec![0; own.len()];
        Self { edges, reference: own, counts, newest: VecDeque::with_capacity(WINDOW) }
    }

    pub fn add(&mut self, value: f64) {
        let cell = cell(value);
        let bin = self.edges.partition_point(|edge| *edge <= cell);
        if self.newest.len() == WINDOW
            && let Some(oldest) = self.newest.pop_front()
        {
            self.counts[usize::from(oldest)] -= 1;
        }
        self.newest.push_back(bin as u8);
        self.counts[bin] += 1;
    }

    /// Numbers that it is of.
    pub fn window(&self) -> usize {
        self.newest.len()
    }

    /// The index; `None` of too few numbers.
    pub fn index(&self) -> Option<f64> {
        let share = |counts: &[u32], bin: usize| {
            let all: u32 = counts.iter().sum();
            (f64::from(counts[bin]) + 0.5) / (f64::from(all) + 0.5 * counts.len() as f64)
        };
        let of_bin = |bin| {
            let (p, q) = (share(&self.reference, bin), share(&self.counts, bin));
            (q - p) * (q / p).ln()
        };
        (self.newest.len() >= FEWEST).then(|| (0..self.counts.len()).map(of_bin).sum())
    }

    /// What it would be by chance alone.
    pub fn floor(&self) -> f64 {
        let rows: u32 = self.reference.iter().sum();
        let each = 1.0 / f64::from(rows.max(1)) + 1.0 / self.newest.len().max(1) as f64;
        (self.counts.len() - 1) as f64 * each
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::{Noise, Purpose};

    #[test]
    fn bins_hold_equal_shares_and_a_change_is_measured() {
        let reference = Histogram::of((0..100).map(f64::from));
        let mut ten = Stability::new(&reference, 10);
        assert_eq!(ten.reference, [10; 10]);
        for row in 0..FEWEST {
            assert_eq!(ten.index(), None);
            ten.add((row % 100) as f64);
        }
        assert!(ten.index().unwrap() < 1e-6);
        // All in the first of two bins: (200.5/201 − 1/2) ln(…) and so on by hand.
        let mut two = Stability::new(&reference, 2);
        (0..FEWEST).for_each(|_| two.add(3.0));
        let (q, rest) = (200.5 / 201.0, 0.5 / 201.0f64);
        let expected = (q - 0.5) * f64::ln(2.0 * q) + (rest - 0.5) * (2.0 * rest).ln();
        assert!((two.index().unwrap() - expected).abs() < 1e-12);
        // Ties are not divided, and the window forgets.
        let tied = Stability::new(&Histogram::of([0.0, 1.0, 1.0, 1.0, 1.0, 2.0].into_iter()), 3);
        assert_eq!(tied.reference, [1, 4, 1]);
        (0..WINDOW).for_each(|row| two.add((row % 100) as f64));
        assert!(two.index().unwrap() < 1e-6 && two.window() == WINDOW);
        assert_eq!(Stability::new(&Histogram::of([5.0; 9].into_iter()), 10).floor(), 0.0);
    }

    /// Its mean over 200 windows of unchanged traffic is the floor, within a tenth.
    #[test]
    fn the_floor_is_what_chance_does() {
        let mut stream = Noise::new(5).stream(Purpose::Drift, 0, 0);
        let (mut sum, mut floor) = (0.0, 0.0);
        for _ in 0..200 {
            let reference = Histogram::of((0..500).map(|_| stream.normal()));
            let mut stability = Stability::new(&reference, 10);
            (0..WINDOW).for_each(|_| stability.add(stream.normal()));
            sum += stability.index().unwrap();
            floor += stability.floor();
        }
        assert!((sum / floor - 1.0).abs() < 0.1, "{sum} and {floor}");
    }
}
