//! What a client may ask: strict, with every fault named by its place, as FastAPI's users know it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::problem::{Fault, Problem};

mod fields;

use fields::Fields;

/// Thresholds of one request; what is `null` or absent is the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Abstain {
    /// The least confidence.
    pub min_confidence: Option<f64>,
    /// The largest epistemic uncertainty, in nats.
    pub max_epistemic: Option<f64>,
    /// A novelty p-value up to this one is too strange.
    pub ood_p: Option<f64>,
}

/// What is asked of each text.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Uncertainty and its sources.
    pub return_uncertainty: bool,
    /// Passes, for posteriors that are sampled.
    pub num_samples: Option<usize>,
    /// Seed of these passes.
    pub seed: u64,
    /// Coverage of the prediction set; `None` for no set.
    pub coverage: Option<f64>,
    /// Thresholds.
    pub abstain: Abstain,
    /// Whether a text that is too long may be cut.
    pub truncate: bool,
    /// The most labels in `probabilities`.
    pub top_k: Option<usize>,
    /// Whether the text is sent back.
    pub return_text: bool,
    /// Whether probabilities under equally likely logits are sent.
    pub return_samples: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            return_uncertainty: true,
            num_samples: None,
            seed: 0,
            coverage: Some(0.9),
            abstain: Abstain::default(),
            truncate: true,
            top_k: None,
            return_text: true,
            return_samples: false,
        }
    }
}

/// The bounds that a server sets to requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestLimits {
    /// Characters a text.
    pub chars: usize,
    /// Texts of `/batch_predict`.
    pub batch: usize,
    /// Texts of a job.
    pub job: usize,
    /// Passes a text.
    pub samples: usize,
    /// The longest life of a job, in seconds.
    pub ttl: u64,
}

/// A text, or a pair of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// `text`, or one of `texts`.
    pub text: Arc<str>,
    /// `text_pair`, or one of `text_pairs`.
    pub pair: Option<Arc<str>>,
}

impl Sent {
    /// Bytes of all of it.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.pair.as_ref().map_or(0, |pair| pair.len())
    }
}

/// Texts of a job, and how they were sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Texts {
    /// `text`: the result is a prediction.
    One(Sent),
    /// `texts`: the result is a batch.
    Many(Vec<Sent>),
}

impl Texts {
    /// All of them.
    pub fn all(&self) -> &[Sent] {
        match self {
            Self::One(sent) => std::slice::from_ref(sent),
            Self::Many(sent) => sent,
        }
    }
}

/// `POST /async_predict`.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// What to predict.
    pub texts: Texts,
    /// What is asked of each.
    pub options: Options,
    /// How long the job is kept.
    pub ttl_seconds: Option<u64>,
}

/// Reads the body of `/predict`.
pub fn predict(body: Value, limits: &RequestLimits) -> Result<(Sent, Options), Problem> {
    let mut fields = Fields::new(body)?;
    let sent = one(&mut fields, limits);
    let options = options(&mut fields, limits);
    fields.finish()?;
    Ok((sent, options))
}

/// Reads the body of `/batch_predict`.
pub fn batch(body: Value, limits: &RequestLimits) -> Result<(Vec<Sent>, Options), Problem> {
    let mut fields = Fields::new(body)?;
    let texts = many(&mut fields, limits.batch, limits);
    let options = options(&mut fields, limits);
    fields.finish()?;
    Ok((texts, options))
}

/// Reads the body of `/async_predict`.
pub fn job(body: Value, limits: &RequestLimits) -> Result<Job, Problem> {
    let mut fields = Fields::new(body)?;
    let texts = match (fields.has("text"), fields.has("texts")) {
        (true, true) => {
            fields.fault(&["texts".into()], "give `text` or `texts`, not both", "value_error");
            for name in ["text", "texts", "text_pair", "text_pairs"] {
                fields.take(name);
            }
            Texts::Many(Vec::new())
        }
        (false, true) => Texts::Many(many(&mut fields, limits.job, limits)),
        _ => Texts::One(one(&mut fields, limits)),
    };
    let ttl_seconds = fields.integer("ttl_seconds", 1..=limits.ttl, true);
    let options = options(&mut fields, limits);
    fields.finish()?;
    Ok(Job { texts, options, ttl_seconds })
}

/// `text` with its `text_pair`; what is missing is a fault, which is told at the end.
fn one(fields: &mut Fields, limits: &RequestLimits) -> Sent {
    let text = fields.text("text", limits.chars).unwrap_or_default();
    let pair = fields.given("text_pair").then(|| fields.text("text_pair", limits.chars));
    Sent { text: text.into(), pair: pair.flatten().map(Into::into) }
}

/// `texts` with their `text_pairs`.
fn many(fields: &mut Fields, most: usize, limits: &RequestLimits) -> Vec<Sent> {
    let before = fields.faults();
    let texts = fields.texts("texts", most, limits.chars);
    if !fields.given("text_pairs") {
        return texts.into_iter().map(|text| Sent { text: text.into(), pair: None }).collect();
    }
    let pairs = fields.texts("text_pairs", most, limits.chars);
    if fields.faults() == before && pairs.len() != texts.len() {
        let msg =
            format!("must have as many texts as `texts`, {}, got {}", texts.len(), pairs.len());
        fields.fault(&["text_pairs".into()], msg, "length_mismatch");
    }
    let pairs = texts.into_iter().zip(pairs);
    pairs.map(|(text, pair)| Sent { text: text.into(), pair: Some(pair.into()) }).collect()
}

fn options(fields: &mut Fields, limits: &RequestLimits) -> Options {
    let usual = Options::default();
    let samples = fields.integer("num_samples", 1..=limits.samples as u64, true);
    let top_k = fields.integer("top_k", 1..=u64::from(u32::MAX), true);
    let return_uncertainty = fields.flag("return_uncertainty", usual.return_uncertainty);
    let return_samples = fields.flag("return_samples", usual.return_samples);
    if return_samples && !return_uncertainty {
        let msg = "the samples are sent with the uncertainty: leave `return_uncertainty` true";
        fields.fault(&["return_samples".into()], msg, "contradiction");
    }
    Options {
        return_uncertainty,
        num_samples: samples.map(|samples| samples as usize),
        seed: fields.integer("seed", 0..=u64::MAX, false).unwrap_or(usual.seed),
        coverage: if fields.has("coverage") {
            fields.number(&["coverage"], 0.5..=0.999)
        } else {
            usual.coverage
        },
        abstain: fields.within("abstain", |inner| Abstain {
            min_confidence: inner.number(&["abstain", "min_confidence"], 0.0..=1.0),
            max_epistemic: inner.number(&["abstain", "max_epistemic"], 0.0..=f64::MAX),
            ood_p: inner.number(&["abstain", "ood_p"], 0.0..=1.0),
        }),
        truncate: fields.flag("truncate", usual.truncate),
        top_k: top_k.map(|top_k| top_k as usize),
        return_text: fields.flag("return_text", usual.return_text),
        return_samples,
    }
}

/// A fault of the body, at this place in it.
pub fn fault(place: &[Value], msg: impl Into<String>, kind: &'static str) -> Fault {
    let loc = std::iter::once("body".into()).chain(place.iter().cloned()).collect();
    Fault { loc, msg: msg.into(), kind }
}

/// The body of a job as it is kept: what [`job`] reads back.
pub fn kept(job: &Job) -> Value {
    let Options {
        return_uncertainty,
        num_samples,
        seed,
        coverage,
        abstain,
        truncate,
        top_k,
        return_text,
        return_samples,
    } = &job.options;
    let mut map = Map::new();
    match &job.texts {
        Texts::One(Sent { text, pair }) => {
            map.insert("text".to_owned(), (&**text).into());
            if let Some(pair) = pair {
                map.insert("text_pair".to_owned(), (&**pair).into());
            }
        }
        Texts::Many(sent) => {
            let texts: Vec<&str> = sent.iter().map(|sent| &*sent.text).collect();
            let pairs: Vec<&str> = sent.iter().filter_map(|sent| sent.pair.as_deref()).collect();
            map.insert("texts".to_owned(), texts.into());
            if !pairs.is_empty() {
                map.insert("text_pairs".to_owned(), pairs.into());
            }
        }
    }
    let Abstain { min_confidence, max_epistemic, ood_p } = abstain;
    let options = serde_json::json!({
        "return_uncertainty": return_uncertainty,
        "num_samples": num_samples,
        "seed": seed,
        "coverage": coverage,
        "abstain": {
            "min_confidence": min_confidence, "max_epistemic": max_epistemic, "ood_p": ood_p,
        },
        "truncate": truncate,
        "top_k": top_k,
        "return_text": return_text,
        "return_samples": return_samples,
    });
    if let Value::Object(options) = options {
        map.extend(options);
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests;
