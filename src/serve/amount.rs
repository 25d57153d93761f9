//! What a request will cost, before anything of it is done: bytes of its answer, and work.

use super::feedback;
use super::model::Loaded;
use super::problem::Problem;
use super::request::{Options, Sent, fault};
use crate::model::Sampling;
use crate::predict::SAMPLES;

/// Bytes of an answer beyond the texts that were sent, to whoever waits for it.
pub const MOST_ANSWER: usize = 4 << 20;
/// The same for a job.
pub const MOST_RESULT: usize = 16 << 20;

/// Bytes of an answer to one text that do not depend on the model.
const PLAIN: usize = 1024;
/// Bytes of what another server decided beside its probabilities.
const FORWARDED: usize = 512;
/// Bytes of a number.
const NUMBER: usize = 22;
/// Tokens that a tokenizer adds to a text or a pair.
const ADDED: usize = 4;

/// Bytes of the answers to these texts.
pub fn answer_bytes(model: &Loaded, texts: &[Sent], options: &Options) -> usize {
    let echoed = texts.iter().map(Sent::bytes).sum::<usize>();
    own_bytes(model, texts.len(), options) + if options.return_text { echoed } else { 0 }
}

/// The same without the texts.
fn own_bytes(model: &Loaded, texts: usize, options: &Options) -> usize {
    let labels = model.predictor.labels();
    let names: usize = labels.iter().map(|label| label.len() + 4).sum();
    let probabilities = probability_bytes(model, options);
    let samples = if options.return_samples { SAMPLES * labels.len() * NUMBER } else { 0 };
    let set = if options.coverage.is_some() { names } else { 0 };
    let id = feedback::length(labels.len());
    texts.saturating_mul(PLAIN + id + probabilities + samples + set)
}

/// Bytes that another server's answers may add to that.
pub fn forwarded_bytes(model: &Loaded, texts: usize, options: &Options) -> usize {
    texts.saturating_mul(FORWARDED + probability_bytes(model, options))
}

fn probability_bytes(model: &Loaded, options: &Options) -> usize {
    let labels = model.predictor.labels();
    let names: usize = labels.iter().map(|label| label.len() + 4).sum();
    let shown = options.top_k.unwrap_or(usize::MAX).min(labels.len());
    shown * (names / labels.len().max(1) + NUMBER)
}

/// Refuses texts whose answers would have more than so many bytes beside them. One text is never too
/// many, unless its samples are.
pub fn check_answer(
    model: &Loaded,
    texts: &[Sent],
    options: &Options,
    most: usize,
) -> Result<(), Problem> {
    let bytes = own_bytes(model, texts.len(), options);
    if bytes <= most || (texts.len() == 1 && !options.return_samples) {
        return Ok(());
    }
    let (count, labels) = (texts.len(), model.predictor.labels().len());
    let (field, way) = match options.return_samples {
        true => ("return_samples", "send fewer texts at once, or remove this"),
        false => ("texts", "send fewer texts at once, or set `top_k`"),
    };
    let msg = format!(
        "the response for {count} texts with {labels} labels would be about {} MB, but at most {} \
         MB are allowed; {way}",
        bytes.div_ceil(1 << 20),
        most >> 20,
    );
    Err(Problem::Validation(vec![fault(&[field.into()], msg, "answer_too_large")]))
}

/// The most that these texts can cost, in tokens of one pass.
pub fn cost(model: &Loaded, texts: &[Sent], sampling: Option<Sampling>) -> u64 {
    let longest = model.predictor.artifact().manifest.preprocessing.max_length;
    // A token has a byte at least.
    let tokens = |sent: &Sent| (sent.bytes() + ADDED).min(longest) as u32;
    texts.iter().map(|sent| model.cost(tokens(sent), sampling)).sum()
}

/// Refuses a job that would cost more than that.
pub fn check_cost(
    model: &Loaded,
    texts: &[Sent],
    sampling: Option<Sampling>,
    most: u64,
) -> Result<(), Problem> {
    let cost = cost(model, texts, sampling);
    if cost <= most {
        return Ok(());
    }
    let way = match sampling {
        Some(Sampling::Dropout(_)) => "send fewer texts, or lower `num_samples`",
        Some(Sampling::Members | Sampling::TopLayers) | None => "send fewer texts",
    };
    let msg = format!(
        "the job costs up to {cost} tokens of one forward pass, but at most {most} are allowed; \
         {way}"
    );
    Err(Problem::Validation(vec![fault(&["texts".into()], msg, "too_costly")]))
}
