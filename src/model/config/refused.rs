//! Configs of families that are read, of models that are not.

use serde_json::{Map, Value, json};

/// What to do where a model is not read.
pub(super) const ENCODER: &str =
    "give an encoder, or train one on the same data with `bayes train DATA --init ENCODER`";

/// Where `config.json` says how weights are quantised.
pub(super) const QUANTISED: &str = "quantization_config";

/// What stands there for our own weights of eight bits. transformers (5.24) only warns of a `quant_method` that it does
/// not know, and then takes the integers for weights; without one it fails, and so does sentence-transformers.
pub(super) fn integers() -> Value {
    json!({ "bayes": "int8" })
}

/// Why a model cannot be read at all, whatever is wanted of it.
pub(super) fn refusal(source: &Map<String, Value>) -> Option<String> {
    let there = |key: &str| source.get(key).filter(|value| !value.is_null());
    if let Some(quantised) = there(QUANTISED).filter(|&one| *one != integers()) {
        let method = quantised["quant_method"].as_str().unwrap_or("unknown");
        let method: String = method.chars().take(60).collect();
        return Some(format!(
            "its weights are quantised (`quantization_config`, `{method}`), which is not supported; give the model that \
             it was made from, or load it with transformers, undo it with `model.dequantize()` and save it"
        ));
    }
    for key in ["is_encoder_decoder", "add_cross_attention"] {
        if there(key).and_then(Value::as_bool) == Some(true) {
            return Some(format!(
                "`{key}` is true, so it is an encoder with a decoder or a part of one, and only encoders \
                 are supported; {ENCODER}"
            ));
        }
    }
    let pruned = there("pruned_heads").and_then(Value::as_object);
    if pruned.is_some_and(|layers| !layers.is_empty()) {
        return Some(
            "`pruned_heads` says that heads of its attention were removed, which is not supported; give the model \
             before that"
                .to_owned(),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::compute::Precision;
    use crate::model::EncoderConfig;

    #[test]
    fn models_of_known_families_that_are_no_plain_encoders_are_refused() {
        let read = |key: &str, value: Value| {
            let file = json!({ "model_type": "bert", key: value });
            let Value::Object(file) = file else { unreachable!() };
            EncoderConfig::from_json(file)
        };
        for (key, value, words) in [
            ("quantization_config", json!({"quant_method": "gptq", "bits": 4}), "`gptq`"),
            ("quantization_config", json!({"load_in_8bit": true}), "dequantize"),
            ("quantization_config", json!({"bayes": "int4"}), "dequantize"),
            ("is_encoder_decoder", json!(true), "decoder"),
            ("add_cross_attention", json!(true), "decoder"),
            ("is_decoder", json!(true), "is_decoder"),
            ("pruned_heads", json!({"0": [1]}), "removed"),
        ] {
            let message = read(key, value).unwrap_err();
            assert!(message.contains(words), "{message}");
        }
        for (key, value) in [
            ("quantization_config", json!(null)),
            ("quantization_config", super::integers()),
            ("is_encoder_decoder", json!(false)),
            ("pruned_heads", json!({})),
            ("pruned_heads", json!(null)),
        ] {
            assert!(read(key, value).is_ok(), "{key}");
        }
    }

    /// Nor does a model that was made from such weights say that its own are integers.
    #[test]
    fn weights_of_eight_bits_are_said_to_be_integers_and_no_others_are() {
        let Value::Object(file) = json!({ "model_type": "bert" }) else { unreachable!() };
        let mut config = EncoderConfig::from_json(file).unwrap();
        for precision in [Precision::Int8, Precision::Int8, Precision::Bf16, Precision::F32] {
            let Value::Object(file) = config.to_json(precision) else { unreachable!() };
            let expected = (precision == Precision::Int8).then(super::integers);
            assert_eq!(file.get(super::QUANTISED), expected.as_ref(), "{precision}");
            // Of this transformers says that no method is known, and stops.
            let methods = ["quant_method", "load_in_8bit", "load_in_4bit"];
            assert!(expected.is_none_or(|one| methods.iter().all(|key| one[key].is_null())));
            config = EncoderConfig::from_json(file).unwrap();
        }
    }
}
