//! From counts to rows of numbers: sublinear TF-IDF, each block of a row of length one.
//!
//! As scikit-learn's `TfidfVectorizer(sublinear_tf=True)`: (1 + ln tf) · (1 + ln((1 + n)/(1 + df))),
//! words and characters side by side. The first feature is a constant, for the offset of a class.

use std::cmp::Reverse;

use rayon::prelude::*;

use super::grams::{BUCKET_BITS, Block, blocks};
use super::sparse::padded;
use crate::compute::{Noise, Purpose};
use crate::data::Example;

/// Most counts of all rows together.
const ENTRIES: usize = 48 << 20;
/// Most counts × classes: what a pass over the rows costs.
const WORK: usize = 480_000_000;
/// Most features × classes.
const WEIGHTS: usize = 16 << 20;
/// Texts that are hashed before it is asked whether it is enough.
const CHUNK: usize = 4096;
/// The mark of a bucket that is no feature.
const NONE: u32 = u32::MAX;

/// The counts of the rows that are read, with their places, ascending: all rows, or as many of a
/// seeded order as there is room for.
pub fn read(examples: &[&Example], classes: usize, noise: &Noise) -> Vec<(usize, Vec<Block>)> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    noise.stream(Purpose::Baseline, 0, 0).shuffle(&mut order);
    let mut room = ENTRIES.min(WORK / classes.max(1));
    let mut read = Vec::with_capacity(examples.len());
    for chunk in order.chunks(CHUNK) {
        let hashed = chunk.par_iter().map(|&place| (place, blocks(examples[place])));
        for (place, blocks) in hashed.collect::<Vec<_>>() {
            let entries: usize = blocks.iter().map(Vec::len).sum();
            let Some(left) = room.checked_sub(entries) else { return sorted(read) };
            room = left;
            read.push((place, blocks));
        }
    }
    sorted(read)
}

fn sorted(mut read: Vec<(usize, Vec<Block>)>) -> Vec<(usize, Vec<Block>)> {
    read.sort_unstable_by_key(|(place, _)| *place);
    read
}

/// Which buckets are features, and what they weigh.
#[derive(Clone)]
pub struct Weighting {
    /// Feature and inverse document frequency, by bucket.
    buckets: Vec<(u32, f32)>,
    /// Features, the constant included.
    pub features: usize,
}

impl Weighting {
    /// Counts in how many rows a bucket occurs. Where all of them would be too many weights, the
    /// rarest are left out.
    pub fn of(rows: &[(usize, Vec<Block>)], classes: usize) -> Self {
        let mut frequency = vec![0u32; 1 << BUCKET_BITS];
        for &(bucket, _) in rows.iter().flat_map(|(_, blocks)| blocks).flatten() {
            frequency[bucket as usize] += 1;
        }
        let occurring = (0..1 << BUCKET_BITS).filter(|&bucket| frequency[bucket as usize] > 0);
        let mut order: Vec<u32> = occurring.collect();
        // The most frequent first, whose weights then lie together.
        order.sort_by_key(|&bucket| Reverse(frequency[bucket as usize]));
        order.truncate(WEIGHTS / padded(classes));
        let mut buckets = vec![(NONE, 0.0); 1 << BUCKET_BITS];
        for (feature, &bucket) in (1..).zip(&order) {
            let frequency = f64::from(frequency[bucket as usize]);
            let share = (1.0 + rows.len() as f64) / (1.0 + frequency);
            buckets[bucket as usize] = (feature, (1.0 + share.ln()) as f32);
        }
        Self { buckets, features: order.len() + 1 }
    }

    /// The row of a text: features that are not zero, number and value.
    pub fn row(&self, blocks: &[Block]) -> Vec<(u32, f32)> {
        let mut row = Vec::with_capacity(1 + blocks.iter().map(Vec::len).sum::<usize>());
        row.push((0, 1.0));
        for block in blocks {
            let begin = row.len();
            for &(bucket, count) in block {
                let (feature, weight) = self.buckets[bucket as usize];
                if feature != NONE {
                    row.push((feature, (1.0 + count.ln()) * weight));
                }
            }
            let squares: f32 = row[begin..].iter().map(|(_, value)| value * value).sum();
            let length = squares.sqrt();
            row[begin..].iter_mut().for_each(|(_, value)| *value /= length);
        }
        row
    }
}
