//! What the files of another tool's classifier ask for besides the model, and what comes of it here: said, where
//! a person could expect something else.

use std::path::Path;

use super::ArtifactError;
use crate::model::{EncoderConfig, default_prompt, unread_prompt};

/// Says what the answers do not follow.
pub(super) fn tell_unread(folder: &Path, encoder: &EncoderConfig) -> Result<(), ArtifactError> {
    // In a folder of ours they are as we read them.
    if encoder.source.contains_key("bayes") {
        return Ok(());
    }
    let prompt = default_prompt(folder)?.map(|prompt| unread_prompt(&prompt));
    for said in function(encoder).into_iter().chain(prompt) {
        tracing::warn!("`{}`: {said}", folder.display());
    }
    Ok(())
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
