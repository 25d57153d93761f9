//! One pass of an encoder for all models that have it: a text that several of them are asked passes through it once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::{Metrics, Ticket, answered};
use crate::data::Encoded;
use crate::model::{Sampling, StillWanted};
use crate::predict::{Prediction, TrunkHash, TrunkRow};
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

    /// Answers tickets of models with this encoder, under the same passes.
    pub fn read(
        &self,
        trunk: &TrunkHash,
        sampling: Option<Sampling>,
        tickets: &[(Ticket, Duration)],
        wanted: StillWanted<'_>,
        metrics: &Metrics,
    ) -> Result<Vec<Result<Prediction, Problem>>, Problem> {
        let failed = |error| {
            tracing::error!("the model failed: {error}");
            Problem::Internal
        };
        let predictor = |(ticket, _): &(Ticket, Duration)| Arc::clone(&ticket.model);
        let inputs = tickets.iter().map(|one| predictor(one).predictor.trunk_inputs()).max();
        let inputs = inputs.unwrap_or_default();
        // Passes with noise are another's.
        let kept = self.0.as_ref().filter(|_| sampling.is_none());
        let key =
            |encoded: &Encoded| (trunk.clone(), encoded.ids.clone(), encoded.type_ids.clone());
        let mut rows = Found::new();
        let mut missing: Vec<&Encoded> = Vec::new();
        for (ticket, _) in tickets {
            let encoded = &ticket.encoded;
            rows.entry((&encoded.ids, &encoded.type_ids)).or_insert_with(|| {
                let known = kept.and_then(|kept| kept.get(&key(encoded)));
                let known = known.filter(|row| row.inputs() >= inputs);
                if known.is_none() {
                    missing.push(encoded);
                }
                known
            });
        }
        if let Some(first) = tickets.first().filter(|_| !missing.is_empty()) {
            let model = &first.0.model.predictor;
            let read = model.read_trunk(&missing, inputs, sampling, wanted).map_err(failed)?;
            for (encoded, row) in missing.iter().zip(read.ok_or(Problem::Cancelled)?) {
                let row = Arc::new(row);
                if let Some(kept) = kept {
                    kept.insert(key(encoded), Arc::clone(&row));
                }
                rows.insert((&encoded.ids, &encoded.type_ids), Some(row));
            }
        }
        metrics.encoder_read(missing.len(), tickets.len() - missing.len());
        let row = |place: usize| {
            let encoded = &tickets[place].0.encoded;
            let row = rows.get(&(&*encoded.ids, &*encoded.type_ids));
            row.and_then(Option::as_deref).ok_or(Problem::Internal)
        };
        let mut answers: Vec<Result<Prediction, Problem>> =
            tickets.iter().map(|_| Err(Problem::Internal)).collect();
        for (model, places) in by_model(tickets) {
            let own = places.iter().map(|&place| row(place)).collect::<Result<Vec<_>, _>>()?;
            let readings = model.predictor.read_rows(&own, sampling).map_err(failed)?;
            let tickets = places.iter().map(|&place| &tickets[place].0);
            for (place, answer) in places.iter().zip(answered(&model, readings, tickets)) {
                answers[*place] = answer;
            }
        }
        Ok(answers)
    }
}

/// The places of each model's tickets.
fn by_model(tickets: &[(Ticket, Duration)]) -> Vec<(Arc<Loaded>, Vec<usize>)> {
    let mut all: Vec<(Arc<Loaded>, Vec<usize>)> = Vec::new();
    for (place, (ticket, _)) in tickets.iter().enumerate() {
        match all.iter_mut().find(|(model, _)| Arc::ptr_eq(model, &ticket.model)) {
            Some((_, places)) => places.push(place),
            None => all.push((Arc::clone(&ticket.model), vec![place])),
        }
    }
    all
}
