//! The contract as OpenAPI 3.1: what all endpoints say of themselves.

use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::app::of_named_model;
use super::endpoints;
use super::keys::KeySource;
use super::problem;
use super::served::IN_PATH;
use super::settings::Settings;

/// The same operation on a model that the path names.
fn of_model(mut operation: Value) -> Value {
    let id = format!("{}_of_model", operation["operationId"].as_str().unwrap_or_default());
    operation["operationId"] = id.into();
    let summary = operation["summary"].as_str().unwrap_or_default();
    operation["summary"] = format!("{summary}, by the model of this name").into();
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        let schema = json!({ "type": "string", "examples": ["tickets"] });
        let named = json!({ "name": IN_PATH, "in": "path", "required": true, "schema": schema });
        parameters.push(named);
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        let problem = responses.get("400").cloned();
        let unknown = problem.map(|mut problem| {
            problem["description"] = "Not Found".into();
            problem
        });
        responses.extend(unknown.map(|problem| ("404".to_owned(), problem)));
    }
    operation
}

pub fn document(settings: &Settings) -> Value {
    let keys = !matches!(settings.api_keys, KeySource::None);
    let name = problem::Body::name().into_owned();
    let mut schemas = Map::from_iter([(name, json!(problem::Body::schema()))]);
    let mut paths = Map::new();
    for endpoint in endpoints::all(settings) {
        let (verb, operation) = endpoint.describe(keys);
        if endpoint.of_model {
            let path = paths.entry(of_named_model(endpoint.path)).or_insert_with(|| json!({}));
            path[verb] = of_model(operation.clone());
        }
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[verb] = operation;
        schemas.extend(endpoint.schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Bayesian Transformer API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            "description": "A text classifier that knows when it is unsure. Each prediction has a \
                            calibrated probability, its uncertainty and the sources of that \
                            uncertainty, a prediction set that contains the correct label with a \
                            guaranteed probability, and a decision whether to defer to a person. \
                            Errors are RFC 9457 problems.",
        },
        "servers": [{ "url": "/" }],
        "tags": [
            { "name": "predict", "description": "Classify texts" },
            { "name": "jobs", "description": "Classify many texts asynchronously" },
            { "name": "protocols", "description": "The same predictions for clients of other servers" },
            { "name": "operations", "description": "State and metrics" },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
            },
        },
    })
}
