//! The keys of PEFT's `LoraConfig`: a key that is none of them may change what an adapter computes.

use serde_json::{Map, Value};

use super::config::is_on;

/// In PEFT 0.21, and those of earlier versions that changed only how it was trained.
const KNOWN: [&str; 45] = [
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "kasa_config",
    "layer_replication",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_bias",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "merge_weights",
    "modules_to_save",
    "monteclora_config",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "rank_pattern",
    "revision",
    "runtime_config",
    "target_modules",
    "target_parameters",
    "task_type",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "use_rslora",
    "velora_config",
    "_name_or_path",
    "transformers_version",
];

/// What a person should know of keys that turn something on which is not known here.
pub(super) fn remark(source: &Map<String, Value>) -> Option<String> {
    let unknown =
        source.iter().filter(|(key, value)| !KNOWN.contains(&key.as_str()) && is_on(value));
    let names: Vec<String> =
        unknown.map(|(key, _)| format!("`{}`", key.chars().take(60).collect::<String>())).collect();
    let (first, more) = names.split_at(names.len().min(3));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    (!names.is_empty()).then(|| {
        format!(
            "`adapter_config.json` has what no LoRA is known to have: {}{more}; it is left out, as PEFT leaves out \
             what it does not know, and answers are wrong if the adapter was trained with it",
            first.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_turn_something_on_are_told() {
        let of = |text: &str| remark(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"r": 4, "use_dora": true, "fan_in_fan_out": true}"#), None);
        assert_eq!(of(r#"{"use_new": false, "new_config": null, "others": [], "more": {}}"#), None);
        let told = of(r#"{"use_new": true, "b": 1, "c": "x", "d": [1]}"#).unwrap();
        assert!(told.contains("`use_new`, `b`, `c` and 1 more"), "{told}");
    }
}
