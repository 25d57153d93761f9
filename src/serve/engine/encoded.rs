//! One pass of an encoder for all models that have it: a text that several of them are asked passes through it once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::{Answers, Ticket, answered};
use crate::data::{Encoded, guarded};
use crate::model::{Sampling, StillWanted};
use crate::predict::{TrunkHash, TrunkRow};
use crate::serve::model::Loaded;
use crate::serve::problem::Problem;

/// Bytes of what encoders made of texts.
const MOST_BYTES: u64 = 64 << 20;
/// How long it is kept: for a client that asks one model after the other.
const LIFE: Duration = Duration::from_secs(600);

/// What an encoder made of a text, by the encoder, its tokens and their types.
type Rows = Cache<(TrunkHash, Vec<u32>, Vec<u32>), Arc<TrunkRow>>;

/// The same for one batch; `None` for what is yet to be read.
type Found<'a> = HashMap<(&'a [u32], &'a [u32]), Option<Arc<TrunkRow>>>;

/// What encoders made of texts a little while ago.
pub struct EncodedTexts(Option<Rows>);

impl EncodedTexts {
    /// Keeps nothing unless it is told to.
    pub fn new(keeps: bool) -> Self {
        let weight = |(_, ids, types): &(_, Vec<u32>, Vec<u32>), row: &Arc<TrunkRow>| {
            (row.bytes() + 4 * (ids.len() + types.len()) + 256) as u32
        };
        let cache =
            || Cache::builder().max_capacity(MOST_BYTES).time_to_live(LIFE).weigher(weight).build();
        Self(keeps.then(cache))
    }

    /// Answers tickets of models with this encoder, under the same passes, and says which of them it read. Another
    /// batch may come between its passes.
    pub fn read<'a>(
        &self,
        trunk: &TrunkHash,
        sampling: Option<Sampling>,
        tickets: &[&'a Ticket],
        wanted: StillWanted<'_>,
    ) -> Result<(Answers, Vec<&'a Ticket>), Problem> {
        let inputs = tickets.iter().map(|ticket| ticket.model.predictor.trunk_inputs()).max();
        let inputs = inputs.unwrap_or_default();
        // Passes with noise are another's.
        let kept = self.0.as_ref().filter(|_| sampling.is_none());
        let key =
            |encoded: &Encoded| (trunk.clone(), encoded.ids.clone(), encoded.type_ids.clone());
        let mut rows = Found::new();
        let mut missing: Vec<&Ticket> = Vec::new();
        for ticket in tickets {
            let encoded = &ticket.encoded;
            rows.entry((&encoded.ids, &encoded.type_ids)).or_insert_with(|| {
                let known = kept.and_then(|kept| kept.get(&key(encoded)));
                let known = known.filter(|row| row.inputs() >= inputs);
                if known.is_none() {
                    missing.push(ticket);
                }
                known
            });
        }
        if let Some(first) = missing.first() {
            let batch: Vec<&Encoded> = missing.iter().map(|ticket| &ticket.encoded).collect();
            let read = first.model.predictor.read_trunk(&batch, inputs, sampling, wanted);
            let read = read.map_err(|error| failed(&error))?.ok_or(Problem::Cancelled)?;
            for (encoded, row) in batch.into_iter().zip(read) {
                let row = Arc::new(row);
                if let Some(kept) = kept {
                    kept.insert(key(encoded), Arc::clone(&row));
                }
                rows.insert((&encoded.ids, &encoded.type_ids), Some(row));
            }
        }
        let mut answers: Answers = tickets.iter().map(|_| Err(Problem::Internal)).collect();
        for (model, places) in by_model(tickets) {
            let own: Vec<&Ticket> = places.iter().map(|&place| tickets[place]).collect();
            // What is wrong with one is not wrong with the others.
            let told = guarded(|| told(model, &own, &rows, sampling)).unwrap_or_else(|said| {
                tracing::error!(said, "a panic while a model read what its encoder made of texts");
                Err(Problem::Internal)
            });
            match told {
                Ok(told) => places.iter().zip(told).for_each(|(&place, one)| answers[place] = one),
                Err(problem) => {
                    places.iter().for_each(|&place| answers[place] = Err(problem.clone()));
                }
            }
        }
        Ok((answers, missing))
    }
}

fn failed(error: &candle_core::Error) -> Problem {
    tracing::error!("the model failed: {error}");
    Problem::Internal
}

/// What a model makes of its tickets.
fn told<'a>(
    model: &Loaded,
    tickets: &[&'a Ticket],
    rows: &'a Found<'a>,
    sampling: Option<Sampling>,
) -> Result<Answers, Problem> {
    let row = |ticket: &&'a Ticket| {
        let row = rows.get(&(&*ticket.encoded.ids, &*ticket.encoded.type_ids));
        row.and_then(Option::as_deref).ok_or(Problem::Internal)
    };
    let own = tickets.iter().map(row).collect::<Result<Vec<_>, _>>()?;
    let readings = model.predictor.read_rows(&own, sampling).map_err(|error| failed(&error))?;
    Ok(answered(model, readings, tickets.iter().copied()))
}

/// The places of each model's tickets.
fn by_model<'a>(tickets: &[&'a Ticket]) -> Vec<(&'a Loaded, Vec<usize>)> {
    let mut all: Vec<(&Loaded, Vec<usize>)> = Vec::new();
    for (place, ticket) in tickets.iter().enumerate() {
        match all.iter_mut().find(|(model, _)| std::ptr::eq(*model, &*ticket.model)) {
            Some((_, places)) => places.push(place),
            None => all.push((&*ticket.model, vec![place])),
        }
    }
    all
}
