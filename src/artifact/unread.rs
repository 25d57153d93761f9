//! What the files of another tool's classifier ask for besides the model, and what comes of it here: said, where
//! a person could expect something else.

use std::path::Path;

use super::ArtifactError;
use crate::model::{EncoderConfig, unread_changes};
use crate::numbers::counted;

/// Names of tensors that a warning shows.
const SHOWN: usize = 3;

/// Says what the answers do not follow; `unused` are tensors of the weights.
pub(super) fn tell_unread(
    folder: &Path,
    encoder: &EncoderConfig,
    unused: &[String],
) -> Result<(), ArtifactError> {
    // In a folder of ours they are as we read them.
    if encoder.source.contains_key("bayes") {
        return Ok(());
    }
    let changes = unread_changes(folder)?;
    let all = function(encoder).into_iter().chain(other_networks(encoder)).chain(tensors(unused));
    for said in all.chain(changes) {
        tracing::warn!("`{}`: {said}", folder.display());
    }
    Ok(())
}

/// Signs in the config that its network may be another than the one that is read.
pub fn other_networks(encoder: &EncoderConfig) -> Vec<String> {
    own_code(encoder).into_iter().chain(own_class(encoder)).collect()
}

/// A class that is nobody's beside a family that is known. transformers goes by the family too.
fn own_class(encoder: &EncoderConfig) -> Option<String> {
    encoder.class_of_nobody().map(|class| {
        let (class, family) = (class.chars().take(60).collect::<String>(), encoder.architecture.name);
        format!(
            "`architectures` in `config.json` has `{class}`, which is no class of {family} in transformers: the model \
             is read as plain {family}, which its `model_type` says; if its network is another, what is computed here \
             is wrong"
        )
    })
}

/// Code of its own beside a family that is known: transformers takes its own code too, unless it is told to trust.
fn own_code(encoder: &EncoderConfig) -> Option<String> {
    encoder.source.get("auto_map").filter(|map| map.is_object()).map(|_| {
        format!(
            "`auto_map` in `config.json` names code of its own, which is not run: the model is read as plain {}; if its \
             weights are those of another network, what is computed here is wrong",
            encoder.architecture.name
        )
    })
}

/// Weights that no part of the classifier has.
fn tensors(unused: &[String]) -> Option<String> {
    let shown: Vec<String> = unused
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{}`", name.chars().take(100).collect::<String>()))
        .collect();
    let more = match unused.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!unused.is_empty()).then(|| {
        format!(
            "its weights have {} that this classifier does not use: {}{more}; if they are a part of what the model \
             answers by, its answers here are others",
            counted(unused.len(), "tensor"),
            shown.join(", ")
        )
    })
}

/// A function from logits to scores that is not the softmax. transformers' pipeline takes the softmax for single
/// labels, whatever the config says; a CrossEncoder of sentence-transformers would take the function.
fn function(encoder: &EncoderConfig) -> Option<String> {
    const FUNCTIONS: [(&str, &str); 3] = [
        ("function_to_apply", "/function_to_apply"),
        ("sbert_ce_default_activation_function", "/sbert_ce_default_activation_function"),
        ("sentence_transformers.activation_fn", "/sentence_transformers/activation_fn"),
    ];
    let source = serde_json::Value::Object(encoder.source.clone());
    let stated = FUNCTIONS.iter().find_map(|(key, place)| {
        let function = source.pointer(place)?.as_str()?;
        let name = function.rsplit('.').next().unwrap_or_default().to_lowercase();
        // Logits as they are say nothing of probabilities.
        (!["softmax", "default", "identity", "none", ""].contains(&&*name))
            .then(|| (key, function.chars().take(60).collect::<String>()))
    });
    stated.map(|(key, function)| {
        format!(
            "`{key}` in `config.json` is `{function}`, but its {} classes exclude each other \
             (`problem_type`), so probabilities are the softmax of the logits, as in transformers; if several \
             classes may be right for one text, `bayes` cannot use this model",
            encoder.labels.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tensors_that_nothing_uses_are_counted_and_some_are_named() {
        let said = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("extra.{number}")).collect();
            tensors(&names)
        };
        assert_eq!(said(0), None);
        let one = said(1).unwrap();
        assert!(one.contains("1 tensor that") && one.contains("`extra.0`;"), "{one}");
        let five = said(5).unwrap();
        assert!(five.contains("5 tensors") && five.contains("`extra.2` and 2 more"), "{five}");
    }

    #[test]
    fn a_function_other_than_the_softmax_is_said() {
        let said = |key: &str, value: serde_json::Value| {
            let file = json!({"model_type": "bert", "num_labels": 2, key: value});
            let serde_json::Value::Object(file) = file else { unreachable!() };
            function(&EncoderConfig::from_json(file).unwrap())
        };
        let sigmoid = "torch.nn.modules.activation.Sigmoid";
        for (key, value) in [
            ("function_to_apply", json!("sigmoid")),
            ("sbert_ce_default_activation_function", json!(sigmoid)),
            ("sentence_transformers", json!({"activation_fn": sigmoid, "version": "4.1.0"})),
        ] {
            let said = said(key, value).unwrap();
            assert!(said.contains(key) && said.to_lowercase().contains("sigmoid`"), "{said}");
        }
        for (key, value) in [
            ("function_to_apply", json!("softmax")),
            ("function_to_apply", json!(null)),
            ("sbert_ce_default_activation_function", json!("torch.nn.modules.linear.Identity")),
            ("sentence_transformers", json!({"version": "4.1.0"})),
        ] {
            assert_eq!(said(key, value), None, "{key}");
        }
    }
}
