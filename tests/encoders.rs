//! The encoder against transformers: tiny checkpoints and their outputs, made by
//! `tests/python/golden_encoders.py`.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::path::PathBuf;

use bayes::compute::{Noise, Packed, Sequence};
use bayes::data::{TextTokenizer, Truncation};
use bayes::model::{self, Classifier, EncoderConfig, Pooling};
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

/// Agreement with transformers in f32.
const TOLERANCE: f32 = 1e-4;

fn folder(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders").join(case)
}

fn expected(case: &str) -> Value {
    let text = std::fs::read_to_string(folder(case).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> Vec<Vec<T>> {
    serde_json::from_value(value.clone()).unwrap()
}

fn sequences(expected: &Value) -> Vec<Sequence> {
    let ids = numbers::<u32>(&expected["input_ids"]);
    let segments = numbers::<u32>(&expected["token_type_ids"]);
    let pairs = ids.into_iter().zip(segments).enumerate();
    pairs.map(|(row, (ids, type_ids))| Sequence { ids, type_ids, row: row as u64 }).collect()
}

fn classifier(case: &str, pooling: Pooling) -> Classifier {
    let mut config = EncoderConfig::read(&folder(case)).unwrap();
    config.pooling = pooling;
    if config.labels.is_empty() {
        config.labels = vec!["a".to_owned(), "b".to_owned()];
    }
    let loaded = model::load(&folder(case), &config, &Noise::new(0), &Device::Cpu).unwrap();
    Classifier::packed(&config, &loaded.parameters).unwrap()
}

fn assert_close(found: &Tensor, expected: &Value, what: &str) {
    for (row, (found, expected)) in
        found.to_vec2::<f32>().unwrap().iter().zip(numbers::<f32>(expected)).enumerate()
    {
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < TOLERANCE, "{what}, sequence {row}: {a} against {b}");
        }
        assert_eq!(found.len(), expected.len());
    }
}

#[test]
fn logits_equal_those_of_transformers() {
    for case in [
        "bert",
        "bert_f16",
        "bert_bf16",
        "bert_gelu_new",
        "bert_relu",
        "roberta",
        "distilbert",
        "xlm_roberta",
        "camembert",
        "roberta_pads",
        "electra",
        "electra_same_width",
        "albert",
        "albert_groups",
        "deberta",
        "deberta_xlarge",
        "deberta_c2p",
        "deberta_p2c",
        "deberta_absolute",
        "mpnet",
    ] {
        let expected = expected(case);
        let classifier = classifier(case, Pooling::Auto);
        let batch = Packed::new(sequences(&expected));
        let logits = classifier.logits(&batch, None).unwrap();
        assert_eq!(logits.dim(0).unwrap(), 5);
        assert_close(&logits, &expected["logits"], case);
        assert_close(&classifier.features(&batch).unwrap(), &expected["pooled"], case);
    }
}

/// The fixture's `tokenizer.json` cuts and pads to 8 tokens, as real files do to 128: neither
/// applies.
#[test]
fn token_ids_equal_those_of_transformers_without_the_truncation_in_the_file() {
    let tokenizer = TextTokenizer::from_file(&folder("bert").join("tokenizer.json")).unwrap();
    let expected = expected("bert");
    let texts = expected["texts"].as_array().unwrap();
    assert!(texts.iter().any(|one| !one["pair"].is_null()));
    for one in texts {
        let text = (one["text"].as_str().unwrap(), one["pair"].as_str());
        let found = tokenizer.encode(&[text], 40, Truncation::Head).unwrap().remove(0);
        assert_eq!(Value::from(found.ids), one["input_ids"], "{text:?}");
        assert_eq!(Value::from(found.type_ids), one["token_type_ids"], "{text:?}");
    }
}

#[test]
fn encoders_without_a_head_load_with_and_without_prefix_and_pooler() {
    for case in [
        "bert_plain",
        "bert_no_pooler",
        "bert_position_ids",
        "roberta_plain",
        "distilbert_plain",
        "electra_plain",
        "albert_plain",
        "deberta_plain",
        "mpnet_plain",
    ] {
        let expected = expected(case);
        let batch = Packed::new(sequences(&expected));
        let first = classifier(case, Pooling::Cls).features(&batch).unwrap();
        assert_close(&first, &expected["first_hidden"], case);
        let mean = classifier(case, Pooling::Mean).features(&batch).unwrap();
        assert_close(&mean, &expected["mean_hidden"], case);
    }
    for case in ["bert_plain", "bert_position_ids", "albert_plain"] {
        let expected = expected(case);
        let batch = Packed::new(sequences(&expected));
        let pooled = classifier(case, Pooling::Auto).features(&batch).unwrap();
        assert_close(&pooled, &expected["pooled"], case);
    }
}

#[test]
fn a_pooler_that_is_missing_comes_from_the_seed() {
    let mut config = EncoderConfig::read(&folder("bert_no_pooler")).unwrap();
    config.labels = vec!["a".to_owned(), "b".to_owned()];
    let load = |seed| {
        model::load(&folder("bert_no_pooler"), &config, &Noise::new(seed), &Device::Cpu).unwrap()
    };
    let pooler = |seed| load(seed).parameters.get("pooler.weight").to_vec2::<f32>().unwrap();
    assert!(load(1).missing.contains(&"bert.pooler.dense.weight".to_owned()));
    assert_eq!(pooler(1), pooler(1));
    assert_ne!(pooler(1), pooler(2));
}

/// An equal length for all, with a mask on the padded keys: what others compute.
#[test]
fn the_packed_encoder_equals_a_padded_twin() {
    let expected = expected("bert");
    let packed = classifier("bert", Pooling::Auto);
    let sequences = sequences(&expected);
    let hidden = packed.hidden(&Packed::new(sequences.clone())).unwrap();
    let config: candle_transformers::models::bert::Config =
        serde_json::from_str(&std::fs::read_to_string(folder("bert").join("config.json")).unwrap())
            .unwrap();
    let weights =
        candle_core::safetensors::load(folder("bert").join("model.safetensors"), &Device::Cpu);
    let builder = candle_nn::VarBuilder::from_tensors(weights.unwrap(), DType::F32, &Device::Cpu);
    let twin =
        candle_transformers::models::bert::BertModel::load(builder.pp("bert"), &config).unwrap();
    let longest = sequences.iter().map(|one| one.ids.len()).max().unwrap();
    let pad = |values: &[u32]| -> Vec<u32> {
        values.iter().copied().chain(std::iter::repeat(0)).take(longest).collect()
    };
    let grid = |rows: Vec<Vec<u32>>| Tensor::new(rows, &Device::Cpu).unwrap();
    let ids = grid(sequences.iter().map(|one| pad(&one.ids)).collect());
    let segments = grid(sequences.iter().map(|one| pad(&one.type_ids)).collect());
    let mask = grid(sequences.iter().map(|one| pad(&vec![1; one.ids.len()])).collect());
    let padded = twin.forward(&ids, &segments, Some(&mask)).unwrap();
    let hidden = hidden.to_vec2::<f32>().unwrap();
    let mut start = 0;
    for (row, one) in sequences.iter().enumerate() {
        let padded = padded.get(row).unwrap().to_vec2::<f32>().unwrap();
        for (token, expected) in padded.iter().take(one.ids.len()).enumerate() {
            for (a, b) in hidden[start + token].iter().zip(expected) {
                assert!((a - b).abs() < 1e-5, "sequence {row}, token {token}: {a} against {b}");
            }
        }
        start += one.ids.len();
    }
}

#[test]
fn logits_of_a_text_are_the_same_bits_alone_and_in_a_batch() {
    for case in [
        "bert",
        "bert_relu",
        "roberta",
        "distilbert",
        "electra",
        "albert_groups",
        "mpnet",
        "deberta",
        "deberta_xlarge",
    ] {
        let classifier = classifier(case, Pooling::Auto);
        let sequences = sequences(&expected(case));
        let many: Vec<Sequence> = (0..8).flat_map(|_| sequences.clone()).collect();
        let together =
            classifier.logits(&Packed::new(many), None).unwrap().to_vec2::<f32>().unwrap();
        for (row, one) in sequences.iter().enumerate() {
            let alone = classifier.logits(&Packed::new([one.clone()]), None).unwrap();
            assert_eq!(alone.to_vec2::<f32>().unwrap()[0], together[row], "{case}, sequence {row}");
            assert_eq!(together[row], together[row + 35]);
        }
    }
}

#[test]
fn saved_weights_load_to_the_same_values() {
    for case in [
        "bert",
        "roberta",
        "distilbert",
        "xlm_roberta",
        "deberta",
        "deberta_xlarge",
        "electra",
        "albert_groups",
    ] {
        let config = EncoderConfig::read(&folder(case)).unwrap();
        let mut config = config;
        if config.labels.is_empty() {
            config.labels = vec!["a".to_owned(), "b".to_owned()];
        }
        let load = |folder: &std::path::Path| {
            model::load(folder, &config, &Noise::new(0), &Device::Cpu).unwrap()
        };
        let first = load(&folder(case));
        let home = tempfile::tempdir().unwrap();
        let bytes = model::save(&config, &first.parameters).unwrap();
        std::fs::write(home.path().join("model.safetensors"), &bytes).unwrap();
        let second = load(home.path());
        assert!(second.missing.is_empty());
        assert_eq!(model::save(&config, &second.parameters).unwrap(), bytes);
        let names = |path: PathBuf| {
            let tensors = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
            let mut names: Vec<String> = tensors.into_keys().collect();
            names.sort();
            names
        };
        assert_eq!(
            names(home.path().join("model.safetensors")),
            names(folder(case).join("model.safetensors"))
        );
    }
}
