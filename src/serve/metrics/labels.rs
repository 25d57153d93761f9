//! The labels of series, from bounded sets only.

use super::Labels;
use crate::calibrate::Reason;

/// Labels of a model and one more.
pub(super) fn of(model: &str, label: &'static str, value: &str) -> Labels<2> {
    [("model", model.to_owned()), (label, value.to_owned())]
}

pub(super) fn decided(model: &str, label: &str, decision: &str) -> Labels<3> {
    [("model", model.to_owned()), ("label", label.to_owned()), ("decision", decision.to_owned())]
}

pub(super) fn cache_labels(model: &str, tier: &str, result: &str) -> Labels<3> {
    [("model", model.to_owned()), ("tier", tier.to_owned()), ("result", result.to_owned())]
}

/// What belongs to no model alone has an empty name.
pub(super) fn reload(model: &str, what: &str, outcome: &str) -> Labels<3> {
    [("model", model.to_owned()), ("what", what.to_owned()), ("outcome", outcome.to_owned())]
}

pub(super) fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Epistemic => "epistemic",
        Reason::Confidence => "confidence",
        Reason::Ood => "ood",
        Reason::SetSize => "set_size",
    }
}
