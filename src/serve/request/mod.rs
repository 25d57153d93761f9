//! What a client may ask: strict, with every fault named by its place, as FastAPI's users know it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::problem::{Fault, Problem};

mod feedback;
mod fields;

pub use feedback::{feedback, feedback_schema};
pub use fields::{Fields, text_schema};

/// Thresholds of one request; what is `null` or absent is the server's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Abstain {
    pub min_confidence: Option<f64>,
    /// The largest epistemic uncertainty, in nats.
    pub max_epistemic: Option<f64>,
    /// A novelty p-value up to this one is too strange.
    pub ood_p: Option<f64>,
}

/// What is asked of each text.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The model, by its name; the server's first one if `None`.
    pub model: Option<String>,
    /// Uncertainty and its sources.
    pub return_uncertainty: bool,
    /// Passes, for posteriors that are sampled.
    pub num_samples: Option<usize>,
    /// Seed of these passes.
    pub seed: u64,
    /// Coverage of the prediction set; `None` for no set.
    pub coverage: Option<f64>,
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
            model: None,
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
    pub chars: usize,
    /// Texts of `/batch_predict`.
    pub batch: usize,
    /// Texts of a job.
    pub job: usize,
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
    pub texts: Texts,
    /// What is asked of each.
    pub options: Options,
    /// How long the job is kept.
    pub ttl_seconds: Option<u64>,
}

/// An example for the document.
const EXAMPLE: &str = "A dull first act, but the ending was moving.";

/// Reads the body of `/predict`.
pub fn predict(body: Value, limits: &RequestLimits) -> Result<(Sent, Options), Problem> {
    let mut fields = Fields::new(body)?;
    let asked = read_predict(&mut fields, limits);
    fields.finish()?;
    Ok(asked)
}

fn read_predict(fields: &mut Fields, limits: &RequestLimits) -> (Sent, Options) {
    (one(fields, limits), options(fields, limits))
}

/// What [`predict`] reads.
pub fn predict_schema(limits: &RequestLimits) -> Value {
    let example = json!({ "text": EXAMPLE, "coverage": 0.9 });
    Fields::schema(|fields| drop(read_predict(fields, limits)), &example)
}

/// Reads the body of `/batch_predict`.
pub fn batch(body: Value, limits: &RequestLimits) -> Result<(Vec<Sent>, Options), Problem> {
    let mut fields = Fields::new(body)?;
    let asked = read_batch(&mut fields, limits);
    fields.finish()?;
    Ok(asked)
}

fn read_batch(fields: &mut Fields, limits: &RequestLimits) -> (Vec<Sent>, Options) {
    (many(fields, limits.batch, limits), options(fields, limits))
}

/// What [`batch`] reads.
pub fn batch_schema(limits: &RequestLimits) -> Value {
    let example = json!({ "texts": [EXAMPLE, "The acting was superb."] });
    Fields::schema(|fields| drop(read_batch(fields, limits)), &example)
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
    let (ttl_seconds, options) = (ttl(&mut fields, limits), options(&mut fields, limits));
    fields.finish()?;
    Ok(Job { texts, options, ttl_seconds })
}

/// What [`job`] reads.
pub fn job_schema(limits: &RequestLimits) -> Value {
    let read = |fields: &mut Fields| {
        one(fields, limits);
        many(fields, limits.job, limits);
        ttl(fields, limits);
        options(fields, limits);
    };
    let mut schema = Fields::schema(read, &json!({ "texts": [EXAMPLE], "ttl_seconds": 3600 }));
    schema["required"] = json!([]);
    schema["oneOf"] = json!([{ "required": ["text"] }, { "required": ["texts"] }]);
    schema
}

fn ttl(fields: &mut Fields, limits: &RequestLimits) -> Option<u64> {
    fields.integer("ttl_seconds", 1..=limits.ttl, None, "How long to keep the job, in seconds.")
}

/// `text` with its `text_pair`; what is missing is a fault, which is told at the end.
fn one(fields: &mut Fields, limits: &RequestLimits) -> Sent {
    let text = fields.text("text", limits.chars, "The text to classify.").unwrap_or_default();
    let about = "The second text of a pair, for a model that was trained on pairs.";
    let pair = fields.optional_text("text_pair", limits.chars, about);
    Sent { text: text.into(), pair: pair.map(Into::into) }
}

/// `texts` with their `text_pairs`.
fn many(fields: &mut Fields, most: usize, limits: &RequestLimits) -> Vec<Sent> {
    let before = fields.faults();
    let texts = fields.texts("texts", most, limits.chars, "The texts to classify.");
    let about = "The second text of each pair, as many as `texts`.";
    let Some(pairs) = fields.optional_texts("text_pairs", most, limits.chars, about) else {
        return texts.into_iter().map(|text| Sent { text: text.into(), pair: None }).collect();
    };
    if fields.faults() == before && pairs.len() != texts.len() {
        let msg = format!(
            "must have the same number of texts as `texts` ({}), got {}",
            texts.len(),
            pairs.len()
        );
        fields.fault(&["text_pairs".into()], msg, "length_mismatch");
    }
    let pairs = texts.into_iter().zip(pairs);
    pairs.map(|(text, pair)| Sent { text: text.into(), pair: Some(pair.into()) }).collect()
}

fn options(fields: &mut Fields, limits: &RequestLimits) -> Options {
    let usual = Options::default();
    let read = Options {
        model: model(fields),
        return_uncertainty: fields.flag(
            "return_uncertainty",
            usual.return_uncertainty,
            "Whether to return the uncertainty and its sources. Without them, a model that uses \
             multiple forward passes with dropout makes only one, unless an abstain limit or the \
             novelty score needs the others.",
        ),
        num_samples: num_samples(fields, limits),
        seed: seed(fields),
        coverage: coverage(fields),
        abstain: limits_of(fields),
        truncate: truncate(fields),
        top_k: top_k(fields),
        return_text: fields.flag("return_text", usual.return_text, "Whether to return the text."),
        return_samples: fields.flag(
            "return_samples",
            usual.return_samples,
            "Whether to return the probabilities under 64 posterior samples, along with the \
             uncertainty.",
        ),
    };
    if read.return_samples && !read.return_uncertainty {
        let msg = "the samples are returned with the uncertainty; leave `return_uncertainty` true";
        fields.fault(&["return_samples".into()], msg, "contradiction");
    }
    read
}

/// The name of a model of the server.
fn model(fields: &mut Fields) -> Option<String> {
    let about =
        "The model, by its name, where the server has several; the first one if it is `null`.";
    let schema = || json!({ "type": ["string", "null"] });
    match fields.value("model", false, about, schema)? {
        Value::String(name) => Some(name),
        Value::Null => None,
        _ => {
            fields.fault(&["model".into()], "must be a string", "string_type");
            None
        }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

pub fn num_samples(fields: &mut Fields, limits: &RequestLimits) -> Option<usize> {
    let about = "Number of forward passes for sampled posteriors; a model of one pass, or an \
                 ensemble, refuses it.";
    fields.integer("num_samples", 1..=limits.samples as u64, None, about).map(size)
}

pub fn seed(fields: &mut Fields) -> u64 {
    let usual = Options::default().seed;
    let about = "The same seed, text and model give the same prediction.";
    fields.integer("seed", 0..=u64::MAX, Some(usual), about).unwrap_or(usual)
}

pub fn coverage(fields: &mut Fields) -> Option<f64> {
    let about = "Target coverage: the share of texts whose prediction set contains the correct \
                 label; `null` for no set.";
    fields.number("coverage", 0.5..=0.999, Options::default().coverage, about)
}

pub fn truncate(fields: &mut Fields) -> bool {
    let about =
        "Whether to truncate a text with too many tokens; otherwise the request is refused.";
    fields.flag("truncate", Options::default().truncate, about)
}

pub fn top_k(fields: &mut Fields) -> Option<usize> {
    let about = "Return only this many probabilities, largest first.";
    fields.integer("top_k", 1..=u64::from(u32::MAX), None, about).map(size)
}

/// Thresholds of a request.
pub fn limits_of(fields: &mut Fields) -> Abstain {
    fields.within("abstain", "Abstain thresholds; `null` uses the server's value.", abstain)
}

fn abstain(fields: &mut Fields) -> Abstain {
    Abstain {
        min_confidence: fields.number(
            "min_confidence",
            0.0..=1.0,
            None,
            "Abstain below this confidence.",
        ),
        max_epistemic: fields.number(
            "max_epistemic",
            0.0..=f64::MAX,
            None,
            "Abstain above this epistemic uncertainty, in nats; refused if the model does not \
             report it (`epistemic` in `/info` is not `known`).",
        ),
        ood_p: fields.number(
            "ood_p",
            0.0..=1.0,
            None,
            "Abstain if the novelty p-value is at or below this value; refused if the model has no \
             novelty p-value.",
        ),
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
        model,
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
        "model": model,
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
