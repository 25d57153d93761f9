//! The contract as OpenAPI 3.1. Answers are described by their types; requests by the limits of this
//! server, which no type can know.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::endpoints::{health, info, jobs, predict};
use super::keys::KeySource;
use super::problem;
use super::request::RequestLimits;
use super::settings::Settings;
use crate::predict::PredictionObject;

/// The whole document.
pub fn document(settings: &Settings) -> Value {
    let limits = &settings.request;
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bayesian Transformer API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "A text classifier that knows when it does not know: every answer has a \
                calibrated probability, its uncertainty and where that comes from, a set of labels \
                that holds the right one with a promised probability, and a decision whether to \
                leave it to a person. Errors are RFC 9457 problems.",
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "predict", "description": "Texts to labels" },
            { "name": "jobs", "description": "Many texts, later" },
            { "name": "operations", "description": "State and metrics" },
        ],
        "paths": paths(settings),
        "components": {
            "schemas": schemas(limits),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
            },
        },
    })
}

/// A character that is neither white space nor a control character.
const NOT_BLANK: &str = r"[^\s\u0000-\u001f\u007f-\u009f]";

/// A schema by its name.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn schemas(limits: &RequestLimits) -> Value {
    let mut all: Vec<(String, RefOr<Schema>)> = Vec::new();
    fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((T::name().into_owned(), <T as PartialSchema>::schema()));
        T::schemas(all);
    }
    add::<PredictionObject>(&mut all);
    add::<predict::Batch>(&mut all);
    add::<jobs::Accepted>(&mut all);
    add::<jobs::TaskStatus>(&mut all);
    add::<health::Health>(&mut all);
    add::<info::Info>(&mut all);
    add::<problem::Body>(&mut all);
    let described = all.into_iter().map(|(name, schema)| (name, json!(schema)));
    let mut schemas: Map<String, Value> = described.collect();
    let text = json!({
        "type": "string", "minLength": 1, "maxLength": limits.chars, "pattern": NOT_BLANK,
        "description": "What to classify.",
    });
    let texts =
        |most: usize| json!({ "type": "array", "items": text, "minItems": 1, "maxItems": most });
    let pair = json!({
        "type": ["string", "null"], "minLength": 1, "maxLength": limits.chars, "pattern": NOT_BLANK,
        "description": "The second text of a pair, for a model that was trained on pairs.",
    });
    let pairs = |most: usize| {
        json!({
            "type": ["array", "null"], "items": text, "minItems": 1, "maxItems": most,
            "description": "The second text of each pair, as many as `texts`.",
        })
    };
    let example = "A dull first act, but the ending was moving.";
    let mut request = |name: &str, own: Value, required: Value, example: Value| {
        let Value::Object(mut properties) = own else { return };
        if let Value::Object(options) = options(limits) {
            properties.extend(options);
        }
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": required,
            "properties": properties, "examples": [example],
        });
        schemas.insert(name.to_owned(), schema);
    };
    request(
        "PredictRequest",
        json!({ "text": text, "text_pair": pair }),
        json!(["text"]),
        json!({ "text": example, "coverage": 0.9 }),
    );
    request(
        "BatchRequest",
        json!({ "texts": texts(limits.batch), "text_pairs": pairs(limits.batch) }),
        json!(["texts"]),
        json!({ "texts": [example, "The acting was superb."] }),
    );
    let ttl = json!({
        "type": ["integer", "null"], "minimum": 1, "maximum": limits.ttl,
        "description": "How long the job is kept, in seconds.",
    });
    request(
        "JobRequest",
        json!({
            "text": text, "text_pair": pair, "texts": texts(limits.job),
            "text_pairs": pairs(limits.job), "ttl_seconds": ttl,
        }),
        json!([]),
        json!({ "texts": [example], "ttl_seconds": 3600 }),
    );
    if let Some(Value::Object(job)) = schemas.get_mut("JobRequest") {
        job.insert(
            "oneOf".to_owned(),
            json!([{ "required": ["text"] }, { "required": ["texts"] }]),
        );
    }
    Value::Object(schemas)
}

/// The options of each text.
fn options(limits: &RequestLimits) -> Value {
    let share = |description: &str| {
        json!({
            "type": ["number", "null"], "minimum": 0, "maximum": 1, "description": description,
        })
    };
    let flag = |default: bool, description: &str| json!({ "type": "boolean", "default": default, "description": description });
    json!({
        "return_uncertainty": flag(true, "Whether uncertainty and its sources are sent. Without them a model of several passes makes one, \
             unless a limit or the novelty needs the others."),
        "num_samples": {
            "type": ["integer", "null"], "minimum": 1, "maximum": limits.samples, "default": null,
            "description": "Passes, for posteriors that are sampled; a model of one pass refuses it.",
        },
        "seed": {
            "type": "integer", "minimum": 0, "maximum": u64::MAX, "default": 0,
            "description": "The same seed, text and model give the same answer.",
        },
        "coverage": {
            "type": ["number", "null"], "minimum": 0.5, "maximum": 0.999, "default": 0.9,
            "description": "The share of texts whose prediction set holds the right label; `null` \
                for no set.",
        },
        "abstain": {
            "type": ["object", "null"], "additionalProperties": false, "default": null,
            "description": "Thresholds; what is `null` is the server's.",
            "properties": {
                "min_confidence": share("The least confidence."),
                "max_epistemic": {
                    "type": ["number", "null"], "minimum": 0,
                    "description": "The largest epistemic uncertainty, in nats; refused where the \
                        model does not know it (`epistemic` in `/info` is not `known`).",
                },
                "ood_p": share(
                    "A novelty p-value up to this one is too strange; refused where the model has none.",
                ),
            },
        },
        "truncate": flag(true, "Whether a text with too many tokens is cut; else it is refused."),
        "top_k": {
            "type": ["integer", "null"], "minimum": 1, "maximum": u32::MAX, "default": null,
            "description": "Only so many probabilities, the largest first.",
        },
        "return_text": flag(true, "Whether the text is sent back."),
        "return_samples": flag(false, "Whether probabilities under 64 draws are sent, with the uncertainty."),
    })
}

/// One operation: what it takes, gives, and may refuse.
struct Operation<'a> {
    tag: &'a str,
    id: &'a str,
    summary: &'a str,
    request: Option<&'a str>,
    response: (u16, Value),
    problems: &'a [u16],
    headers: &'a [(&'a str, Value)],
}

const GUARDED: [u16; 12] = [400, 401, 403, 408, 413, 415, 421, 422, 429, 500, 503, 504];

fn paths(settings: &Settings) -> Value {
    let json_of = |name: &str| content("application/json", &reference(name));
    let text = || content("text/plain", &json!({ "type": "string" }));
    let timeout = json!({ "type": "integer", "minimum": 1, "maximum": 60_000 });
    let timeout = [("X-Request-Timeout-Ms", timeout)];
    let key = [(
        "Idempotency-Key",
        json!({
            "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$",
        }),
    )];
    let post = |id, summary, request, response: Value| Operation {
        tag: "predict",
        id,
        summary,
        request: Some(request),
        response: (200, response),
        problems: &GUARDED,
        headers: &timeout,
    };
    let get = |id, summary, response: Value, problems| Operation {
        tag: "operations",
        id,
        summary,
        request: None,
        response: (200, response),
        problems,
        headers: &[],
    };
    let task = json!({
        "name": "task_id", "in": "path", "required": true,
        "schema": { "type": "string", "examples": ["t_01997b3e6c0f7c3e9f7d2a4b5c6d7e8f"] },
    });
    let locked = !matches!(settings.api_keys, KeySource::None);
    let item = |method: &str, operation: Operation<'_>, open: bool| json!({ method: operation.describe(locked && !open) });
    let predict = "One text to its label, with uncertainty";
    let with_task = |method: &str, operation: Operation<'_>| {
        let mut described = operation.describe(locked);
        described["parameters"] = json!([task]);
        json!({ method: described })
    };
    let jobs = |operation: Operation<'static>| Operation { tag: "jobs", ..operation };
    let (lost, found) = (&[400, 401, 403, 404, 421, 429, 500, 503], || json_of("TaskStatus"));
    let mut paths = json!({
        "/predict": item("post", post("predict", predict, "PredictRequest", json_of("Prediction")), false),
        "/predict_cached": item("post", post("predict_cached",
            "The same: answers are kept by default", "PredictRequest", json_of("Prediction")), false),
        "/batch_predict": item("post", post("batch_predict",
            "Several texts at once", "BatchRequest", json_of("Batch")), false),
        "/async_predict": item("post", Operation {
            tag: "jobs", response: (202, json_of("Accepted")), headers: &key,
            problems: &[400, 401, 403, 408, 409, 413, 415, 421, 422, 429, 500, 503, 507],
            ..post("async_predict", "A job that survives a crash", "JobRequest", json!({}))
        }, false),
        "/task_status/{task_id}": with_task("get",
            jobs(get("task_status", "How far a job is", found(), lost))),
        "/task/{task_id}": with_task("delete",
            jobs(get("cancel_task", "Cancels a job; one that has ended stays", found(), lost))),
        "/info": item("get", get("info", "The model, its calibration and the limits",
            json_of("Info"), &[400, 401, 403, 421, 429, 500, 503]), false),
        "/health": item("get", Operation {
            problems: &[400, 403, 421],
            ..health("health", "State of all parts", json_of("Health"))
        }, true),
        "/livez": item("get", get("livez", "The process answers", text(), &[]), true),
        "/readyz": item("get", health("readyz", "Whether to send requests", text()), true),
        "/health/live": item("get", get("live", "Another name for /livez", text(), &[]), true),
        "/health/ready": item("get", health("ready", "Another name for /readyz", text()), true),
    });
    if settings.metrics_address.is_none() {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let metrics = content(kind, &json!({ "type": "string" }));
        paths["/metrics"] =
            item("get", get("metrics", "Prometheus metrics", metrics, &[400, 403, 421, 503]), true);
    }
    paths
}

/// A probe, whose refusal is of the same kind as its answer.
fn health<'a>(id: &'a str, summary: &'a str, response: Value) -> Operation<'a> {
    Operation {
        tag: "operations",
        id,
        summary,
        request: None,
        response: (200, response),
        problems: &[],
        headers: &[("unready", Value::Null)],
    }
}

fn content(kind: &str, schema: &Value) -> Value {
    json!({ kind: { "schema": schema } })
}

impl Operation<'_> {
    fn describe(&self, locked: bool) -> Value {
        let (status, answer) = &self.response;
        let mut responses = Map::new();
        responses.insert(status.to_string(), json!({ "description": "Done", "content": answer }));
        let unready = self.headers.iter().any(|(name, _)| *name == "unready");
        if unready {
            let response = json!({ "description": "Not ready", "content": answer });
            responses.insert("503".to_owned(), response);
        }
        let problem = content("application/problem+json", &reference("Problem"));
        for code in self.problems.iter().copied().collect::<BTreeSet<_>>() {
            if code != 401 || locked {
                let response = json!({ "description": reason(code), "content": problem });
                responses.insert(code.to_string(), response);
            }
        }
        let headers = self.headers.iter().filter(|(_, schema)| !schema.is_null());
        let parameter = |(name, schema): &(&str, Value)| json!({ "name": name, "in": "header", "required": false, "schema": schema });
        let mut described = json!({
            "tags": [self.tag],
            "operationId": self.id,
            "summary": self.summary,
            "parameters": headers.map(parameter).collect::<Vec<_>>(),
            "responses": responses,
        });
        if let Some(request) = self.request {
            let body = content("application/json", &reference(request));
            described["requestBody"] = json!({ "required": true, "content": body });
        }
        if locked {
            described["security"] = json!([{ "bearer": [] }, { "key": [] }]);
        }
        described
    }
}

fn reason(code: u16) -> &'static str {
    let status = axum::http::StatusCode::from_u16(code).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Refused")
}
