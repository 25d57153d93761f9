//! Families that are not read: of which kind they are, and what to do.

use serde_json::{Map, Value};

/// Decoders whose configs need not say so. What is no longer than a word is a beginning of many names.
const DECODERS: [&str; 26] = [
    "bloom",
    "codegen",
    "cohere",
    "ctrl",
    "deepseek",
    "exaone",
    "falcon",
    "gemma",
    "glm",
    "gpt",
    "granite",
    "internlm",
    "llama",
    "mamba",
    "mistral",
    "mixtral",
    "mpt",
    "olmo",
    "openai-gpt",
    "opt",
    "persimmon",
    "phi",
    "qwen",
    "rwkv",
    "stablelm",
    "xglm",
];

/// Encoders with a decoder behind them.
const ENCODER_DECODERS: [&str; 12] = [
    "bart",
    "blenderbot",
    "encoder-decoder",
    "fsmt",
    "led",
    "longt5",
    "marian",
    "mbart",
    "mt5",
    "pegasus",
    "t5",
    "umt5",
];

/// Keys of decoders: names of the configs of GPT-2 and OPT.
const KEYS: [&str; 3] = ["n_ctx", "n_embd", "word_embed_proj_dim"];

/// Why a config of a family that is not read is refused; `known` says that, and which families are.
pub(in crate::model) fn why_unread(source: &Map<String, Value>, known: String) -> String {
    let model_type = source.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let is = |key: &str| source.get(key).and_then(Value::as_bool).unwrap_or(false);
    let class = source.get("architectures").and_then(|all| all.get(0)?.as_str());
    let class = class.unwrap_or_default();
    let made = |ends: &[&str]| ends.iter().any(|end| class.ends_with(end));
    let begins = |names: &[&str]| names.iter().any(|name| model_type.starts_with(name));
    let short = |text: &str| -> String { text.chars().take(60).collect() };
    let both = ENCODER_DECODERS.contains(&model_type)
        || is("is_encoder_decoder")
        || made(&["ForConditionalGeneration", "ForSeq2SeqLM"]);
    let decoder = begins(&DECODERS)
        || is("is_decoder")
        || made(&["ForCausalLM", "LMHeadModel"])
        || KEYS.iter().any(|key| source.contains_key(*key));
    let custom = source.get("auto_map").and_then(Value::as_object);
    let custom = custom.and_then(|map| map.values().find_map(Value::as_str));
    let why = match (both, custom, decoder) {
        (true, ..) => "it is an encoder with a decoder, and only encoders are read".to_owned(),
        (_, Some(code), _) => format!(
            "its architecture is code of its own (`auto_map`: `{}`), which `bayes` does not run",
            short(code)
        ),
        (_, _, true) => {
            "it is a decoder, which reads a text from left to right, and only encoders are read"
                .to_owned()
        }
        _ => return known,
    };
    format!("{why}: {known}, and train it on the same data with `bayes train DATA --init ENCODER`")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_family_that_is_not_read_is_refused_by_its_kind() {
        let decoder = "it is a decoder";
        let both = "encoder with a decoder";
        for (config, words) in [
            (
                json!({"model_type": "gpt2", "architectures": ["GPT2ForSequenceClassification"]}),
                decoder,
            ),
            (json!({"model_type": "gpt_neox"}), decoder),
            (json!({"model_type": "llama"}), decoder),
            (json!({"model_type": "qwen3_moe"}), decoder),
            (json!({"model_type": "new", "architectures": ["NewForCausalLM"]}), decoder),
            (json!({"model_type": "new", "n_embd": 8}), decoder),
            (json!({"model_type": "new", "is_decoder": true}), decoder),
            (json!({"model_type": "t5", "architectures": ["T5ForSequenceClassification"]}), both),
            (json!({"model_type": "new", "architectures": ["NewForConditionalGeneration"]}), both),
            (json!({"model_type": "new", "is_encoder_decoder": true}), both),
            (
                json!({"model_type": "new", "auto_map": {"AutoModel": "modeling.New"}}),
                "`modeling.New`",
            ),
        ] {
            let Value::Object(config) = config else { unreachable!() };
            let message = why_unread(&config, "not supported".to_owned());
            assert!(message.contains(words) && message.contains("--init"), "{message}");
        }
        // Encoders have heads that share keys and values too.
        for other in
            [json!({"model_type": "new"}), json!({"model_type": "new", "num_key_value_heads": 8})]
        {
            let Value::Object(other) = other else { unreachable!() };
            assert_eq!(why_unread(&other, "not supported".to_owned()), "not supported");
        }
    }
}
