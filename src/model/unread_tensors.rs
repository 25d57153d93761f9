//! Tensors of a file that no parameter asks for: which of them refuse it, and which are told.

use super::ModelError;
use super::weight_files::WeightFiles;

/// Parts of names of LoRA factors (loralib, PEFT) that are not merged into their weights.
const UNMERGED: [&str; 4] = [".lora_A", ".lora_B", ".lora_embedding_", ".lora_magnitude_vector"];

/// Ends of names of quantised weights and their scales: GPTQ and AWQ, bitsandbytes, compressed-tensors.
const QUANTISED: [&str; 7] =
    [".qweight", ".qzeros", ".SCB", ".absmax", ".quant_map", ".weight_packed", ".weight_scale"];

/// Buffers.
const BUFFERS: [&str; 3] = ["position_ids", "token_type_ids", "inv_freq"];

/// Beginnings of the names of heads that encoders are trained with at first.
const PRETRAINING: [&str; 14] = [
    "cls.",
    "lm_head.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
    "discriminator_predictions.",
    "generator_predictions.",
    "generator_lm_head.",
    "predictions.",
    "sop_classifier.",
    "lm_predictions.",
    "mask_predictions.",
    "decoder.",
    "pooler.",
];

/// Refuses files whose weights are not what their names say without a further step.
pub(super) fn check_names(files: &WeightFiles) -> Result<(), ModelError> {
    let mut names: Vec<&str> = files.names().collect();
    names.sort_unstable();
    let path = |name: &str| files.path(name).to_owned();
    let quantised = |name: &&&str| QUANTISED.iter().any(|end| name.ends_with(end));
    if let Some(name) = names.iter().find(quantised) {
        return Err(ModelError::Quantised { path: path(name), name: (*name).to_owned() });
    }
    let unmerged = |name: &&&str| {
        UNMERGED.iter().any(|part| name.contains(part)) && !files.is_of_adapter(name)
    };
    match names.iter().find(unmerged) {
        Some(name) => Err(ModelError::Unmerged { path: path(name), name: (*name).to_owned() }),
        None => Ok(()),
    }
}

/// Those of the unused names that a person should know of, in order.
pub(super) fn told<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let expected = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or_default();
        // A plain encoder carries a pooler that not every classifier uses.
        let pooler = name.contains(".pooler.");
        BUFFERS.contains(&last) || pooler || PRETRAINING.iter().any(|head| name.starts_with(head))
    };
    let mut told: Vec<String> = names.filter(|name| !expected(name)).map(str::to_owned).collect();
    told.sort_unstable();
    told
}
