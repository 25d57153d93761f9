//! What the operations of a device know of a batch: uploaded once, and used by every layer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use candle_core::{Device, Result, Tensor};

use super::attention::Attention;
use super::elementwise::dropout;
use super::rotary::rotate;
use super::{Lines, Softmax};
use crate::compute::kernels::noise::Factors;
use crate::compute::kernels::rotary::Rotation;
use crate::compute::{Packed, RelativeRows};

/// What sequences are padded to is a multiple of this: of the tiles in which a GPU multiplies.
const TILE: usize = 8;

/// A batch on a device.
#[derive(Debug)]
pub struct Batch {
    device: Device,
    /// (low half of the row, high half, place in its sequence) of each token.
    places_p3: Tensor,
    /// The same of each sequence, with the place 0.
    sequences_b3: Tensor,
    grid: Grid,
    /// The sequence of each token.
    of_sequence: Arc<Lines>,
    /// One over the length of each sequence.
    inverse_b1: Tensor,
    /// The first token of each.
    first: Arc<Lines>,
    longest: usize,
    /// Cosines and sines by θ, as bits.
    rotations: Mutex<BTreeMap<u64, Tensor>>,
    /// Which row of a table each pair of a query and a key reads, `[s · t]`, by group.
    pairs: Mutex<Vec<Arc<Lines>>>,
}

/// Sequences padded to others of like length.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub groups: Vec<Group>,
    /// The place of each token among all cells of all groups.
    pub cell_of_p: Tensor,
}

/// Sequences of like length.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// How many.
    pub count: usize,
    /// What they are padded to, `s`.
    pub longest: usize,
    /// The token of each cell, `[b · s]`; `u32::MAX`, which gives zeros, where there is none.
    pub line_of: Tensor,
    /// (length, low half of the row, high half) of each.
    pub sequences_b3: Tensor,
}

/// The two halves of a row's number, and a third one.
fn halves(row: u64, third: u32) -> [u32; 3] {
    [row as u32, (row >> 32) as u32, third]
}

/// Places as operations take them, `[m, 3]`.
pub fn places(places: impl ExactSizeIterator<Item = (u64, u32)>, on: &Device) -> Result<Tensor> {
    let count = places.len();
    let all: Vec<u32> = places.flat_map(|(row, token)| halves(row, token)).collect();
    Tensor::from_vec(all, (count, 3), on)
}

impl Grid {
    /// The shortest of a group has more than half of the tokens of the longest.
    fn new(batch: &Packed, device: &Device) -> Result<Self> {
        let sequences: Vec<(usize, usize)> = batch.sequences().collect();
        let length = |index: usize| sequences[index].1 - sequences[index].0;
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(length(index)));
        let mut cell_of = vec![0; batch.tokens()];
        let (mut groups, mut cells, mut rest) = (Vec::new(), 0, order.as_slice());
        while let Some(&first) = rest.first() {
            let count = rest.partition_point(|&index| 2 * length(index) > length(first));
            let (members, others) = rest.split_at(count);
            let longest = length(first).next_multiple_of(TILE);
            let mut line_of = vec![u32::MAX; count * longest];
            let mut known = Vec::with_capacity(3 * count);
            for (place, &index) in members.iter().enumerate() {
                let [low, high, _] = halves(batch.rows()[index], 0);
                known.extend([length(index) as u32, low, high]);
                for token in 0..length(index) {
                    let (line, cell) = (sequences[index].0 + token, place * longest + token);
                    line_of[cell] = line as u32;
                    cell_of[line] = (cells + cell) as u32;
                }
            }
            let line_of = Tensor::new(line_of, device)?;
            let sequences_b3 = Tensor::from_vec(known, (count, 3), device)?;
            groups.push(Group { count, longest, line_of, sequences_b3 });
            cells += count * longest;
            rest = others;
        }
        Ok(Self { groups, cell_of_p: Tensor::new(cell_of, device)? })
    }
}

impl Batch {
    pub fn new(batch: &Packed, device: &Device) -> Result<Self> {
        let lengths = || batch.sequences().map(|(start, end)| end - start);
        let of_sequence: Vec<u32> = lengths()
            .enumerate()
            .flat_map(|(index, length)| std::iter::repeat_n(index as u32, length))
            .collect();
        let starts: Vec<u32> = batch.sequences().map(|(start, _)| start as u32).collect();
        let inverse: Vec<f32> = lengths().map(|length| 1.0 / length as f32).collect();
        Ok(Self {
            places_p3: places(batch.places().into_iter(), device)?,
            sequences_b3: places(batch.rows().iter().map(|&row| (row, 0)), device)?,
            grid: Grid::new(batch, device)?,
            of_sequence: Arc::new(Lines::new(&of_sequence, batch.len(), device)?),
            inverse_b1: Tensor::from_vec(inverse, (batch.len(), 1), device)?,
            first: Arc::new(Lines::new(&starts, batch.tokens(), device)?),
            longest: lengths().max().unwrap_or(0),
            rotations: Mutex::default(),
            pairs: Mutex::default(),
            device: device.clone(),
        })
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Dropout of `[p, w]`.
    pub fn drop_tokens(&self, x_pd: &Tensor, factors: Factors) -> Result<Tensor> {
        dropout(x_pd, &self.places_p3, factors)
    }

    /// Dropout of `[b, w]`.
    pub fn drop_sequences(&self, x_bd: &Tensor, factors: Factors) -> Result<Tensor> {
        dropout(x_bd, &self.sequences_b3, factors)
    }

    /// The first token of each sequence: `[b, d]`.
    pub fn first_token(&self, x_pd: &Tensor) -> Result<Tensor> {
        self.first.gather(x_pd)
    }

    /// The mean over the tokens of each sequence: `[b, d]`.
    pub fn mean_token(&self, x_pd: &Tensor) -> Result<Tensor> {
        self.of_sequence.sum(x_pd)?.broadcast_mul(&self.inverse_b1)
    }

    /// Rows of a table `[v, d]` by token, or by another number of each token: `[p, d]`.
    pub fn embed(&self, table_vd: &Tensor, ids_p: &[u32]) -> Result<Tensor> {
        Arc::new(Lines::new(ids_p, table_vd.dim(0)?, &self.device)?).gather(table_vd)
    }

    /// Queries and keys of `[p, 3d]` turned by the places of their tokens.
    pub fn rotate(&self, qkv_pe: &Tensor, heads: usize, theta: f64) -> Result<Tensor> {
        let width = qkv_pe.dim(1)? / 3 / heads;
        let mut rotations = self.rotations.lock().expect("nothing panics while it holds them");
        let cos_sin = match rotations.get(&theta.to_bits()) {
            Some(known) => known.clone(),
            None => {
                let mut rotation = Rotation::new(theta, width);
                rotation.reach(self.longest);
                let values: Vec<f32> = (0..self.longest as u32)
                    .flat_map(|place| <[&[f32]; 2]>::from(rotation.at(place)).concat())
                    .collect();
                let made = Tensor::from_vec(values, (self.longest, width), &self.device)?;
                rotations.insert(theta.to_bits(), made.clone());
                made
            }
        };
        rotate(qkv_pe, &cos_sin, &self.places_p3, heads)
    }

    /// Attention of `[p, 3d]`: `[p, d]`. `bias` is a table `[r, h]` and the row that a distance reads.
    pub fn attention(
        &self,
        qkv_pe: &Tensor,
        heads: usize,
        softmax: Softmax,
        bias: Option<(&Tensor, &RelativeRows)>,
    ) -> Result<Tensor> {
        let pairs = match bias {
            Some((table_rh, rows)) => self.pairs(table_rh.dim(0)?, rows)?,
            None => Vec::new(),
        };
        let attention = Attention { grid: self.grid.clone(), heads, softmax, pairs };
        attention.apply(qkv_pe, bias.map(|(table_rh, _)| table_rh))
    }

    /// Those of each group, which are the same in all layers.
    fn pairs(&self, table: usize, rows: &RelativeRows) -> Result<Vec<Arc<Lines>>> {
        let mut pairs = self.pairs.lock().expect("nothing panics while it holds them");
        if pairs.is_empty() {
            for group in &self.grid.groups {
                // Beyond a sequence the row does not matter, if it is one.
                let most = rows.reach() - 1;
                let row = |s: usize, t: usize| rows.row(s.min(most), t.min(most));
                let all: Vec<u32> = (0..group.longest)
                    .flat_map(|s| (0..group.longest).map(move |t| row(s, t)))
                    .collect();
                pairs.push(Arc::new(Lines::new(&all, table, &self.device)?));
            }
        }
        Ok(pairs.clone())
    }
}
