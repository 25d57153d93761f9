//! The body of `/feedback`.

use serde_json::{Value, json};

use super::super::feedback::Told;
use super::super::problem::Problem;
use super::fields::Fields;
use super::{RequestLimits, Sent};

/// Characters of an id and of a label, far more than any has.
const MOST_ID: usize = 1 << 20;
const MOST_LABEL: usize = 1 << 16;

pub fn feedback(body: Value, limits: &RequestLimits) -> Result<Told, Problem> {
    let mut fields = Fields::new(body)?;
    let told = read(&mut fields, limits);
    fields.finish()?;
    Ok(told)
}

fn read(fields: &mut Fields, limits: &RequestLimits) -> Told {
    let about = "The `prediction_id` of a prediction.";
    let prediction_id = fields.text("prediction_id", MOST_ID, about).unwrap_or_default();
    let about = "The true label of its text.";
    let label = fields.text("label", MOST_LABEL, about).unwrap_or_default();
    let about = "The text that was classified, to be kept with its label for `bayes recalibrate`.";
    let text = fields.optional_text("text", limits.chars, about);
    let about = "The second text of a pair, with `text`.";
    let pair = fields.optional_text("text_pair", limits.chars, about);
    if text.is_none() && pair.is_some() {
        fields.fault(&["text".into()], "is required with `text_pair`", "missing");
    }
    let sent = text.map(|text| Sent { text: text.into(), pair: pair.map(Into::into) });
    Told { prediction_id, label, sent }
}

/// What [`feedback`] reads.
pub fn feedback_schema(limits: &RequestLimits) -> Value {
    let example = json!({ "prediction_id": "p_AQGTrF…", "label": "positive" });
    Fields::schema(|fields| drop(read(fields, limits)), &example)
}
