//! Who decided where the model did not, in the form of the wire.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What another server said of a text that the model abstained from. What the model itself said is unchanged.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Forwarded {
    /// Whose decision it is: `remote`, and `label` here is it; or `local`, and the abstention stands.
    #[schema(examples("remote"))]
    pub decided_by: &'static str,
    /// The other server's label, one of this model's; absent if it gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its probability; absent if it gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: Option<f64>,
    /// The other server's probability by label; absent if it gave none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, f64>>)]
    pub probabilities: Option<Map<String, Value>>,
    /// The other server's host name.
    pub server: String,
    /// Whether its answer was kept from before: the text did not leave again.
    pub cached: bool,
    /// Time that this took, in milliseconds.
    pub took_ms: f64,
    /// Why the abstention stands: `abstained` (the other server abstained as well), `timeout`, `unreachable`,
    /// `refused`, `invalid`, `budget`, `busy`, `resting` or `already_forwarded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<&'static str>,
}
