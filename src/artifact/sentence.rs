//! A head of our own for plain Python: the files that sentence-transformers reads, so that
//! `SentenceTransformer(folder).encode(texts)` gives the mean logits. `AutoModelForSequenceClassification`
//! would load such a folder too, with another head between, and answer something else.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::ArtifactError;
use crate::model::{EncoderConfig, ModelError, Parameters, Pooling};

/// The files that such a folder has beside those of every model.
pub const SENTENCE_FILES: [&str; 5] = [
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
];

/// [`SENTENCE_FILES`] with their content; none for a head that transformers has.
pub(super) fn sentence_files(
    encoder: &EncoderConfig,
    parameters: &Parameters,
    max_length: usize,
) -> Result<Vec<(&'static str, Vec<u8>)>, ArtifactError> {
    if encoder.pooling == Pooling::Auto {
        return Ok(Vec::new());
    }
    let kind = |name: &str| format!("sentence_transformers.models.{name}");
    let module = |index: usize, path: &str, name: &str| json!({ "idx": index, "name": index.to_string(), "path": path, "type": kind(name) });
    let normalised = encoder.pooling == Pooling::Normalised;
    // The module that makes vectors of length one has no files.
    let parts = [
        Some(("", "Transformer")),
        Some(("1_Pooling", "Pooling")),
        normalised.then_some(("1_Normalize", "Normalize")),
        Some(("2_Dense", "Dense")),
    ];
    let parts = parts.into_iter().flatten().enumerate();
    let modules: Value = parts.map(|(index, (path, name))| module(index, path, name)).collect();
    let mean = encoder.pooling != Pooling::Cls;
    let pooling = json!({
        "word_embedding_dimension": encoder.hidden_size,
        "pooling_mode_cls_token": !mean,
        "pooling_mode_mean_tokens": mean,
        "pooling_mode_max_tokens": false,
        "pooling_mode_mean_sqrt_len_tokens": false,
    });
    let dense = json!({
        "in_features": encoder.hidden_size,
        "out_features": encoder.labels.len(),
        "bias": true,
        "activation_function": "torch.nn.modules.linear.Identity",
    });
    let lengths = json!({ "max_seq_length": max_length, "do_lower_case": false });
    let text = |value: &Value| super::save::pretty(value);
    let contents =
        [text(&modules), text(&lengths), text(&pooling), text(&dense), last(parameters, encoder)?];
    Ok(SENTENCE_FILES.into_iter().zip(contents).collect())
}

/// The last linear layer under the names of `torch.nn.Linear` in such a module. Where vectors have the length
/// one there, ours have the length √d.
pub(super) fn last(
    parameters: &Parameters,
    encoder: &EncoderConfig,
) -> Result<Vec<u8>, ArtifactError> {
    let normalised = encoder.pooling == Pooling::Normalised;
    let length = if normalised { (encoder.hidden_size as f32).sqrt() } else { 1.0 };
    let part = |name: &str, factor: f32| -> Result<(Vec<usize>, Vec<u8>), ModelError> {
        let tensor = parameters.get(name);
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let bytes = values.iter().flat_map(|value| (factor * value).to_le_bytes()).collect();
        Ok((tensor.dims().to_vec(), bytes))
    };
    let (weight, bias) = (part("classifier.weight", length)?, part("classifier.bias", 1.0)?);
    let tensors = [("linear.weight", &weight), ("linear.bias", &bias)];
    let views = tensors.map(|(name, (shape, bytes))| {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
        (name, view.expect("the bytes were made from the shape"))
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata)).expect("names and shapes are valid"))
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;
    use crate::compute::{Backend, Noise};
    use crate::model::Sizes;

    fn encoder(pooling: Pooling) -> EncoderConfig {
        let sizes = Sizes {
            num_hidden_layers: 1,
            hidden_size: 4,
            num_attention_heads: 1,
            intermediate_size: 8,
        };
        let mut encoder = EncoderConfig::from_scratch(sizes, 10, 10).unwrap();
        encoder.labels = ["a", "b", "c"].map(str::to_owned).to_vec();
        encoder.pooling = pooling;
        encoder
    }

    #[test]
    fn a_head_of_our_own_is_written_for_sentence_transformers_and_no_other_is() {
        for pooling in [Pooling::Auto, Pooling::Mean, Pooling::Normalised, Pooling::Cls] {
            let encoder = encoder(pooling);
            let noise = Noise::new(3);
            let parameters = Parameters::fresh(&encoder, &noise, &Backend::Cpu).unwrap();
            let files = sentence_files(&encoder, &parameters, 10).unwrap();
            if pooling == Pooling::Auto {
                assert!(files.is_empty());
                continue;
            }
            let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
            assert_eq!(names, SENTENCE_FILES);
            let json: Value = serde_json::from_slice(&files[2].1).unwrap();
            assert_eq!(json["pooling_mode_mean_tokens"], pooling != Pooling::Cls);
            let modules = String::from_utf8(files[0].1.clone()).unwrap();
            assert_eq!(modules.contains(".Normalize"), pooling == Pooling::Normalised);
            assert_eq!(json["pooling_mode_cls_token"], pooling == Pooling::Cls);
            let dense: Value = serde_json::from_slice(&files[3].1).unwrap();
            assert_eq!((&dense["in_features"], &dense["out_features"]), (&json!(4), &json!(3)));
            let tensors = SafeTensors::deserialize(&files[4].1).unwrap();
            let weight = tensors.tensor("linear.weight").unwrap();
            let own = parameters.get("classifier.weight").flatten_all().unwrap();
            // √4, the width.
            let length = if pooling == Pooling::Normalised { 2.0 } else { 1.0 };
            let own = own.to_vec1::<f32>().unwrap();
            let own: Vec<u8> = own.iter().flat_map(|x| (length * x).to_le_bytes()).collect();
            assert_eq!((weight.shape(), weight.data()), (&[3, 4][..], &own[..]));
        }
    }
}
