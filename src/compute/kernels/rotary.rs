//! Rotary positions: queries and keys are turned by angles that grow with their place, so that their
//! product sees only the distance.
//!
//! Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021), section 3.2.2.
//! As in transformers the halves of a head are turned against each other, not its neighbours, and
//! angles are made in f32: from exact ones they are off by 4e-4 at place 8191, and a model that was
//! trained on long texts has seen these.

use rayon::prelude::*;

use super::simd::vectorised;

/// Lines a task.
const LINES: usize = 32;

/// Cosines and sines by place, for one θ.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// ω of each pair of a head.
    frequencies: Vec<f32>,
    /// `[places, 2 · pairs]`: the cosines of a place, then its sines.
    table: Vec<f32>,
}

/// The lines that are turned, and where.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// Values from the beginning of one line to that of the next.
    pub stride: usize,
    /// How many of them are turned: all heads, side by side.
    pub width: usize,
    /// (row, place) of each line, as for dropout; the row does not matter.
    pub places: &'a [(u64, u32)],
}

impl Rotation {
    /// For heads of an even width: ω_j = θ^(−2j / width).
    pub fn new(theta: f64, head_width: usize) -> Self {
        let theta = f64::from(theta as f32);
        let frequency = |pair: usize| {
            let exponent = (2 * pair) as f32 / head_width as f32;
            // Rounded once, as f32 powers of good libraries are.
            1.0 / theta.powf(f64::from(exponent)) as f32
        };
        Self { frequencies: (0..head_width / 2).map(frequency).collect(), table: Vec::new() }
    }

    /// Makes the table long enough for sequences of so many tokens.
    pub fn reach(&mut self, places: usize) {
        let known = self.table.len() / (2 * self.frequencies.len());
        self.table.reserve_exact(2 * places.saturating_sub(known) * self.frequencies.len());
        for place in known..places {
            let angles =
                self.frequencies.iter().map(|frequency| f64::from(place as f32 * frequency));
            self.table.extend(angles.clone().map(|angle| angle.cos() as f32));
            self.table.extend(angles.map(|angle| angle.sin() as f32));
        }
    }

    /// Cosines and sines of a place that was [reached](Self::reach).
    pub fn at(&self, place: u32) -> (&[f32], &[f32]) {
        let pairs = self.frequencies.len();
        self.table[2 * pairs * place as usize..][..2 * pairs].split_at(pairs)
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.table.capacity() * size_of::<f32>()
    }

    /// Turns the heads in place; every place was [reached](Self::reach).
    pub fn turn(&self, x: &mut [f32], lines: Lines<'_>) {
        self.each_line(x, lines, |line, (cos, sin)| turn_line(line, cos, sin));
    }

    /// Turns gradients of turned heads back.
    pub fn turn_back(&self, x: &mut [f32], lines: Lines<'_>) {
        self.each_line(x, lines, |line, (cos, sin)| turn_line_back(line, cos, sin));
    }

    fn each_line(
        &self,
        x: &mut [f32],
        lines: Lines<'_>,
        turn: impl Fn(&mut [f32], (&[f32], &[f32])) + Sync,
    ) {
        let Lines { stride, width, places } = lines;
        assert_eq!(x.len(), places.len() * stride, "one place for each line");
        let blocks = x.par_chunks_mut(LINES * stride).zip(places.par_chunks(LINES));
        blocks.for_each(|(x, places)| {
            for (line, &(_, place)) in x.chunks_exact_mut(stride).zip(places) {
                turn(&mut line[..width], self.at(place));
            }
        });
    }
}

vectorised! {
    fn turn_line<'a>(line: &'a mut [f32], cos: &'a [f32], sin: &'a [f32]) {
        for head in line.chunks_exact_mut(2 * cos.len()) {
            let (first, second) = head.split_at_mut(cos.len());
            turn_pairs(first, second, cos, sin);
        }
    }
}

vectorised! {
    fn turn_line_back<'a>(line: &'a mut [f32], cos: &'a [f32], sin: &'a [f32]) {
        for head in line.chunks_exact_mut(2 * cos.len()) {
            let (first, second) = head.split_at_mut(cos.len());
            turn_pairs(second, first, cos, sin);
        }
    }
}

/// (x, y) ← (x cos − y sin, y cos + x sin).
#[inline(always)]
fn turn_pairs(x: &mut [f32], y: &mut [f32], cos: &[f32], sin: &[f32]) {
    for (((x, y), cos), sin) in x.iter_mut().zip(y).zip(cos).zip(sin) {
        (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
    }
}
