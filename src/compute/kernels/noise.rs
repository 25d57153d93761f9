//! Dropout factors by vectors of counters.

use super::simd::{LANES, vectorised};
use crate::compute::noise::{MULTIPLIER_0, MULTIPLIER_1, ROUND_KEYS};

/// Values that one vector of counters gives: 16 counters of four words of two halves.
pub const CHUNK: usize = 8 * LANES;

/// The drop decision of one dropout place: what is zeroed, and what the rest is multiplied with.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    /// The words of the key.
    pub key: [u32; 2],
    /// Halves below it are dropped.
    pub threshold: u32,
    /// 1 / (1 - rate).
    pub kept: f32,
}

impl Factors {
    /// The factor of a 16-bit half.
    #[inline(always)]
    pub fn of(self, half: u32) -> f32 {
        if half < self.threshold { 0.0 } else { self.kept }
    }
}

/// Philox4x32-10 on 16 counters at a time; see `compute::noise` for the plain form.
#[inline(always)]
fn philox(mut counter: [[u32; LANES]; 4], key: [u32; 2]) -> [[u32; LANES]; 4] {
    for weyl in ROUND_KEYS {
        let key = [key[0].wrapping_add(weyl[0]), key[1].wrapping_add(weyl[1])];
        let mut next = [[0; LANES]; 4];
        for lane in 0..LANES {
            let first = u64::from(MULTIPLIER_0) * u64::from(counter[0][lane]);
            let second = u64::from(MULTIPLIER_1) * u64::from(counter[2][lane]);
            next[0][lane] = (second >> 32) as u32 ^ counter[1][lane] ^ key[0];
            next[1][lane] = second as u32;
            next[2][lane] = (first >> 32) as u32 ^ counter[3][lane] ^ key[1];
            next[3][lane] = first as u32;
        }
        counter = next;
    }
    counter
}

vectorised! {
    /// The factors of one line: value `f` belongs to chunk `f / 128`, counter `f % 16` of it, and
    /// half `f / 16 % 8` of that counter's four words.
    pub fn fill_line<'a>(line: &'a mut [f32], factors: Factors, row: u64, token: u32) {
        for (chunk, line) in line.chunks_mut(CHUNK).enumerate() {
            let row = [[row as u32; LANES], [(row >> 32) as u32; LANES]];
            let mut counter = [row[0], row[1], [token; LANES], [0; LANES]];
            for (lane, group) in counter[3].iter_mut().enumerate() {
                *group = (chunk * LANES + lane) as u32;
            }
            let words = philox(counter, factors.key);
            for (part, line) in line.chunks_mut(LANES).enumerate() {
                for (value, word) in line.iter_mut().zip(words[part / 2]) {
                    *value = factors.of(word >> (16 * (part % 2)) & 0xffff);
                }
            }
        }
    }
}

/// The factors of a block of attention weights, `[keys, 2 × 16 queries]`: column `q` is what
/// [`fill_line`] gives for token `first + q`, from value `start` on, a multiple of [`CHUNK`].
#[inline(always)]
pub fn fill_columns(
    block: &mut [[f32; 2 * LANES]],
    factors: Factors,
    (row, first): (u64, u32),
    start: usize,
) {
    for (chunk, block) in (start / CHUNK..).zip(block.chunks_mut(CHUNK)) {
        for lane in 0..LANES.min(block.len()) {
            let group = (chunk * LANES + lane) as u32;
            for half in 0..2 {
                let mut counter =
                    [[row as u32; LANES], [(row >> 32) as u32; LANES], [0; LANES], [group; LANES]];
                for (query, token) in counter[2].iter_mut().enumerate() {
                    *token = first + (half * LANES + query) as u32;
                }
                let words = philox(counter, factors.key);
                for (part, line) in block[lane..].iter_mut().step_by(LANES).enumerate() {
                    let line = &mut line[half * LANES..(half + 1) * LANES];
                    for (value, word) in line.iter_mut().zip(words[part / 2]) {
                        *value = factors.of(word >> (16 * (part % 2)) & 0xffff);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::philox as plain;

    const FACTORS: Factors = Factors { key: [7, 0xdead_beef], threshold: 6554, kept: 1.25 };

    /// The documented place of each half, from the plain generator.
    #[test]
    fn vectors_of_counters_give_the_words_of_the_plain_generator() {
        let (row, token) = (0x1_2345_6789, 41);
        for width in [1, 15, 128, 300] {
            let mut line = vec![9.0; width];
            fill_line(&mut line, FACTORS, row, token);
            for (place, &value) in line.iter().enumerate() {
                let group = (place / CHUNK * LANES + place % LANES) as u32;
                let words = plain([row as u32, (row >> 32) as u32, token, group], FACTORS.key);
                let part = place / LANES % 8;
                let half = words[part / 2] >> (16 * (part % 2)) & 0xffff;
                assert_eq!(value, FACTORS.of(half), "{place} of {width}");
            }
        }
    }

    #[test]
    fn columns_of_a_block_are_lines() {
        for start in [0, 128] {
            let mut block = vec![[0.0; 2 * LANES]; 201];
            fill_columns(&mut block, FACTORS, (3, 50), start);
            for query in [0, 1, 15, 16, 31] {
                let mut line = vec![0.0; start + 201];
                fill_line(&mut line, FACTORS, 3, 50 + query as u32);
                let column: Vec<f32> = block.iter().map(|keys| keys[query]).collect();
                assert_eq!(column, line[start..]);
            }
        }
    }
}
