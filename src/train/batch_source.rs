//! Where the rows of a step come from: memory, or a stream.

use serde::{Deserialize, Serialize};

use super::run::Job;
use super::{Plan, TrainError};
use crate::compute::Noise;
use crate::data::stream::Place;
use crate::data::{StreamedRows, TokenSet, TokenStream, epoch_batches};

/// Batches of a stream that are cut together, at least: as many as are sorted by length together.
const CHUNK: u64 = 50;

/// Which piece of the stream is being trained on, and where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamPosition {
    /// The pieces before it.
    pub chunk: u64,
    /// Its first row.
    pub place: Place,
}

/// The rows of a run, and the batches that are next.
pub(super) enum BatchSource<'a> {
    /// All rows, with their lengths and the batches of an epoch.
    Memory { rows: &'a TokenSet, lengths: Vec<u32>, epoch: Option<(u64, Vec<Vec<u32>>)> },
    /// A piece of a stream at a time.
    Stream { source: &'a StreamedRows, position: StreamPosition, chunk: Option<Box<Chunk>> },
}

/// A piece of the stream.
pub(super) struct Chunk {
    rows: TokenSet,
    batches: Vec<Vec<u32>>,
    /// What comes after it.
    rest: TokenStream,
}

impl<'a> BatchSource<'a> {
    /// The rows of a job; a stream goes on from `position`.
    pub(super) fn new(job: &Job<'a>, position: Option<StreamPosition>) -> Self {
        match job.stream {
            None => Self::Memory { rows: job.train, lengths: job.train.lengths(), epoch: None },
            Some(source) => {
                Self::Stream { source, position: position.unwrap_or_default(), chunk: None }
            }
        }
    }

    /// The rows that batches point into.
    pub(super) fn rows(&self) -> Option<&TokenSet> {
        match self {
            Self::Memory { rows, .. } => Some(rows),
            Self::Stream { chunk, .. } => chunk.as_ref().map(|chunk| &chunk.rows),
        }
    }

    /// Where the stream stands, if it is one.
    pub(super) fn position(&self) -> Option<StreamPosition> {
        match self {
            Self::Memory { .. } => None,
            Self::Stream { position, .. } => Some(*position),
        }
    }

    /// The forward passes of the optimizer step after `finished` ones.
    pub(super) fn micro_batches(
        &mut self,
        plan: &Plan,
        noise: &Noise,
        batch_size: usize,
        finished: u64,
    ) -> Result<Vec<Vec<u32>>, TrainError> {
        let (batches, first) = match self {
            Self::Memory { lengths, epoch, .. } => {
                let (number, first) = plan.position(finished);
                if epoch.as_ref().is_none_or(|(own, _)| *own != number) {
                    *epoch = Some((number, epoch_batches(lengths, batch_size, noise, number)));
                }
                (epoch.as_ref().map_or(&[][..], |(_, batches)| batches), first)
            }
            Self::Stream { source, position, chunk } => {
                let steps = CHUNK.div_ceil(plan.accumulation as u64);
                let rows = steps as usize * plan.accumulation * batch_size;
                let wanted = finished / steps;
                while chunk.is_none() || position.chunk < wanted {
                    let mut rest = match chunk.take() {
                        Some(before) => {
                            position.chunk += 1;
                            position.place = before.rest.place();
                            before.rest
                        }
                        None => source.begin(position.place),
                    };
                    let rows = rest.next(rows).map_err(Box::new)?;
                    let batches = epoch_batches(&rows.lengths(), batch_size, noise, position.chunk);
                    *chunk = Some(Box::new(Chunk { rows, batches, rest }));
                }
                let batches = chunk.as_ref().map_or(&[][..], |chunk| &chunk.batches);
                (batches, (finished % steps) as usize * plan.accumulation)
            }
        };
        Ok(batches[first..].iter().take(plan.accumulation).cloned().collect())
    }
}
