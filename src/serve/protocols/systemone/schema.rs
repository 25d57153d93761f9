//! Requests and answers as the document has them.

use serde_json::{Value, json};

use super::super::super::request::{Fields, RequestLimits, text_schema};
use super::read::{MOST_QUESTIONS, read_fields};

pub fn schema(limits: &RequestLimits) -> Value {
    let question = json!({ "type": "choice", "criteria": { "billing": null, "technical": null } });
    let example = json!({
        "model": "tickets", "state": "The invoice is wrong again.",
        "questions": { "department": question },
    });
    Fields::schema(|fields| drop(read_fields(fields, limits)), &example)
}

pub fn state_schema(chars: usize) -> Value {
    let text = text_schema(chars);
    json!({ "oneOf": [text, { "type": "object", "minProperties": 1, "maxProperties": 2 }] })
}

pub fn questions_schema() -> Value {
    let content = json!({ "type": ["string", "object", "array", "null"] });
    let outcomes = json!({ "true": content, "false": content });
    let of = |kind: &str, criteria: Value, required: &[&str]| {
        json!({
            "type": "object", "additionalProperties": false, "required": required,
            "properties": {
                "type": { "const": kind }, "instructions": content, "criteria": criteria,
            },
        })
    };
    let choice = json!({ "type": "object", "minProperties": 1, "additionalProperties": content });
    let noul = json!({
        "type": ["object", "null"], "additionalProperties": false, "properties": outcomes,
    });
    let each = [of("choice", choice, &["type", "criteria"]), of("noul", noul, &["type"])];
    json!({
        "type": "object", "minProperties": 1, "maxProperties": MOST_QUESTIONS,
        "additionalProperties": { "oneOf": each },
    })
}

pub fn response_schema() -> Value {
    let share = json!({ "type": "number", "minimum": 0, "maximum": 1 });
    let shares = json!({ "type": "object", "additionalProperties": share });
    let text = json!({ "type": "string" });
    let answer = |fields: Value, required: &[&str]| json!({ "type": "object", "required": required, "properties": fields });
    let choice = json!({
        "type": { "const": "choice" }, "choice": text, "confidence": share, "probabilities": shares,
    });
    let noul = json!({ "type": { "const": "noul" }, "noul": share, "label": text });
    let each = [
        answer(choice, &["type", "choice", "confidence", "probabilities"]),
        answer(noul, &["type", "noul", "label"]),
    ];
    let tokens = json!({ "type": "integer", "minimum": 0 });
    json!({
        "type": "object", "required": ["model", "answers", "usage"],
        "description": "Fields of `/predict` beside these have the same names and meaning.",
        "properties": {
            "model": text,
            "answers": { "type": "object", "additionalProperties": { "oneOf": each } },
            "usage": {
                "type": "object", "required": ["input_tokens", "output_tokens"],
                "properties": { "input_tokens": tokens, "output_tokens": tokens },
            },
            "label": text, "confidence": share, "probabilities": shares,
        },
    })
}
