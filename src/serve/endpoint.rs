//! An endpoint: its route, who may ask it, and its part of the OpenAPI document.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::routing::MethodRouter;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::app::App;

/// Who may ask an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Who has a key, as often as the model may be asked.
    Model,
    /// Who has a key.
    Key,
    /// Anybody, within the limit of reads.
    Anybody,
    /// Anybody, as often as they like.
    Uncounted,
}

/// Problems of every request for the model.
const OF_MODEL: &[u16] = &[400, 401, 403, 408, 413, 415, 421, 422, 429, 500, 503, 504];

/// An endpoint.
pub struct Endpoint {
    /// Who may ask it.
    pub access: Access,
    pub path: &'static str,
    pub route: MethodRouter<Arc<App>>,
    /// Whether it is about a model, which a longer path may name.
    pub of_model: bool,
    /// Schemas by name, of what it reads and gives.
    pub schemas: Map<String, Value>,
    verb: &'static str,
    tag: &'static str,
    id: &'static str,
    summary: &'static str,
    /// The kind of the body, and its schema.
    request: Option<(&'static str, &'static str)>,
    response: (u16, Value),
    problems: &'static [u16],
    /// The kind and the schema of a problem.
    failure: (&'static str, &'static str),
    parameters: Vec<Value>,
    may_be_unready: bool,
}

impl Endpoint {
    /// `POST`, for the model.
    pub fn post(path: &'static str, route: MethodRouter<Arc<App>>, summary: &'static str) -> Self {
        let own = Self::get(path, route, summary).tag("predict").refuses(OF_MODEL);
        Self { access: Access::Model, verb: "post", ..own }
    }

    /// `GET`, for anybody, of the server's operation. It is named as its path is.
    pub fn get(path: &'static str, route: MethodRouter<Arc<App>>, summary: &'static str) -> Self {
        Self {
            access: Access::Anybody,
            path,
            route,
            of_model: false,
            schemas: Map::new(),
            verb: "get",
            tag: "operations",
            id: path.split('/').nth(1).unwrap_or(path),
            summary,
            request: None,
            response: (200, content("text/plain", &json!({ "type": "string" }))),
            problems: &[],
            failure: ("application/problem+json", "Problem"),
            parameters: Vec::new(),
            may_be_unready: false,
        }
    }

    /// `DELETE`, for who has a key.
    pub fn delete(
        path: &'static str,
        route: MethodRouter<Arc<App>>,
        summary: &'static str,
    ) -> Self {
        Self { verb: "delete", access: Access::Key, ..Self::get(path, route, summary) }
    }

    /// Another name in the document.
    pub fn named(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    /// Under this heading of the document.
    pub fn tag(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// About a model: the same path behind `/models/NAME` is about the one of that name.
    pub fn of_model(self) -> Self {
        Self { of_model: true, ..self }
    }

    /// Reads a JSON body of this schema.
    pub fn reads(self, name: &'static str, schema: Value) -> Self {
        self.reads_as("application/json", name, schema)
    }

    /// Reads a body of this kind, whose lines have this schema.
    pub fn reads_as(mut self, kind: &'static str, name: &'static str, schema: Value) -> Self {
        self.schemas.insert(name.to_owned(), schema);
        Self { request: Some((kind, name)), ..self }
    }

    /// Gives JSON with this status.
    pub fn gives<T: ToSchema>(mut self, status: u16) -> Self {
        let mut all: Vec<(String, RefOr<Schema>)> =
            vec![(T::name().into_owned(), <T as PartialSchema>::schema())];
        T::schemas(&mut all);
        self.schemas.extend(all.into_iter().map(|(name, schema)| (name, json!(schema))));
        let response = (status, content("application/json", &reference(&T::name())));
        Self { response, ..self }
    }

    /// Gives JSON of this schema.
    pub fn gives_json(mut self, name: &'static str, schema: Value) -> Self {
        self.schemas.insert(name.to_owned(), schema);
        Self { response: (200, content("application/json", &reference(name))), ..self }
    }

    /// Tells its problems in another form.
    pub fn fails_with(mut self, kind: &'static str, name: &'static str, schema: Value) -> Self {
        self.schemas.insert(name.to_owned(), schema);
        Self { failure: (kind, name), ..self }
    }

    /// Gives text of this kind.
    pub fn gives_text(self, kind: &str) -> Self {
        Self { response: (200, content(kind, &json!({ "type": "string" }))), ..self }
    }

    /// May answer with one of these problems.
    pub fn refuses(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }

    /// Answers with 503 in the same form until it is ready.
    pub fn may_be_unready(self) -> Self {
        Self { may_be_unready: true, ..self }
    }

    /// Reads a header, where it is there.
    pub fn header(self, name: &str, schema: &Value) -> Self {
        self.parameter(json!({ "name": name, "in": "header", "required": false, "schema": schema }))
    }

    /// Has a part of its path that varies.
    pub fn path_part(self, name: &str, example: &str) -> Self {
        let schema = json!({ "type": "string", "examples": [example] });
        self.parameter(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// The verb and the operation, as the document has them; `keys` says whether the server asks for any.
    pub fn describe(&self, keys: bool) -> (&'static str, Value) {
        let locked = keys && matches!(self.access, Access::Model | Access::Key);
        let (status, answer) = &self.response;
        let mut responses = Map::new();
        responses.insert(status.to_string(), json!({ "description": "Done", "content": answer }));
        if self.may_be_unready {
            let response = json!({ "description": "Not ready", "content": answer });
            responses.insert("503".to_owned(), response);
        }
        let (kind, schema) = self.failure;
        let problem = content(kind, &reference(schema));
        for code in self.problems.iter().copied().collect::<BTreeSet<_>>() {
            if code != 401 || locked {
                let response = json!({ "description": reason(code), "content": problem });
                responses.insert(code.to_string(), response);
            }
        }
        let mut described = json!({
            "tags": [self.tag],
            "operationId": self.id,
            "summary": self.summary,
            "parameters": self.parameters,
            "responses": responses,
        });
        if let Some((kind, request)) = self.request {
            let body = content(kind, &reference(request));
            described["requestBody"] = json!({ "required": true, "content": body });
        }
        if locked {
            described["security"] = json!([{ "bearer": [] }, { "key": [] }]);
        }
        (self.verb, described)
    }
}

/// A schema by its name.
fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn content(kind: &str, schema: &Value) -> Value {
    json!({ kind: { "schema": schema } })
}

fn reason(code: u16) -> &'static str {
    let status = axum::http::StatusCode::from_u16(code).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Refused")
}
