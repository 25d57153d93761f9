//! The encoder against transformers: tiny checkpoints and their outputs, made by
//! `tests/python/golden_encoders.py`.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::path::PathBuf;

use bayes::compute::ops::cross_entropy;
use bayes::compute::{Backend, Noise, Packed, Sequence};
use bayes::data::{TextTokenizer, Truncation};
use bayes::model::{
    self, Classifier, EncoderConfig, Engine, GradientMap, Pooling, Tape, TrainingPass,
    specifications,
};
use candle_core::{DType, Device, Tensor, Var};
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

/// With two classes where the file names none.
fn config(case: &str) -> EncoderConfig {
    let mut config = EncoderConfig::read(&folder(case)).unwrap();
    if config.labels.is_empty() {
        config.labels = vec!["a".to_owned(), "b".to_owned()];
    }
    config
}

fn classifier(case: &str, pooling: Pooling) -> Classifier {
    let config = EncoderConfig { pooling, ..config(case) };
    let loaded = model::load(&folder(case), &config, &Noise::new(0), &Backend::Cpu).unwrap();
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
        "modernbert",
        "modernbert_mean",
        "roberta_prelayernorm",
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
        "modernbert_plain",
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
        model::load(&folder("bert_no_pooler"), &config, &Noise::new(seed), &Backend::Cpu).unwrap()
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
        "modernbert",
        "roberta_prelayernorm",
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
        "mpnet",
        "deberta_c2p",
        "modernbert",
        "modernbert_mean",
        "roberta_prelayernorm",
    ] {
        let config = config(case);
        let load = |folder: &std::path::Path| {
            model::load(folder, &config, &Noise::new(0), &Backend::Cpu).unwrap()
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

/// With `states.safetensors` and `gradients.safetensors` beside the weights.
const DETAILED: [&str; 3] = ["modernbert", "modernbert_mean", "roberta_prelayernorm"];

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn farthest(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// By the engine where it shows them, by the plain graph, and of each sequence alone.
#[test]
fn hidden_states_equal_those_of_transformers() {
    for case in DETAILED {
        let states = folder(case).join("states.safetensors");
        let states = candle_core::safetensors::load(states, &Device::Cpu).unwrap();
        let packed = classifier(case, Pooling::Auto);
        // Of the largest value of a state: what is added up before the last norm is not small.
        let mut worst = 0.0f32;
        let mut far = |found: &Tensor, name: &str| {
            let expected = values(&states[name]);
            let largest = expected.iter().fold(1.0f32, |most, value| most.max(value.abs()));
            worst = worst.max(farthest(&values(found), &expected) / largest);
        };
        for (index, sequence) in sequences(&expected(case)).into_iter().enumerate() {
            let batch = Packed::new([sequence]);
            let found = packed.hidden_states(&batch).unwrap();
            for (number, found) in found.iter().enumerate() {
                far(found, &format!("state.{index}.{number}"));
            }
            let last = format!("state.{index}.{}", found.len() - 1);
            far(&packed.hidden(&batch).unwrap(), &last);
        }
        println!("{case}: states differ by at most {worst:.1e}");
        assert!(worst < TOLERANCE, "{case}: {worst}");
    }
}

/// Of the mean over the sequences of the cross-entropy, by the plain graph and by the engine.
#[test]
fn gradients_equal_those_of_transformers() {
    for case in DETAILED {
        let expected_file = folder(case).join("gradients.safetensors");
        let theirs = candle_core::safetensors::load(expected_file, &Device::Cpu).unwrap();
        let config = config(case);
        let loaded = model::load(&folder(case), &config, &Noise::new(0), &Backend::Cpu).unwrap();
        let all = specifications(&config);
        let (variables, parameters) = loaded.parameters.variables(&all).unwrap();
        let batch = Packed::new(sequences(&expected(case)));
        let classes = config.labels.len() as u32;
        let labels: Vec<u32> = (0..batch.len() as u32).map(|row| row % classes).collect();
        let weights = vec![1.0; batch.len()];
        let loss = |logits: &Tensor| {
            cross_entropy(logits, &labels, &weights, 0.0, batch.len() as f64).unwrap()
        };
        let plain = Classifier::new(&config, &parameters);
        let found = loss(&plain.logits(&batch, None).unwrap()).backward().unwrap();

        let engine = Engine::new(&config, &parameters).unwrap().unwrap();
        let mut tape = Tape::default();
        let pass = TrainingPass { batch: &batch, source: None, checkpointing: 0, frozen: 0 };
        let pooled = engine.pooled_with_tape(&pass, &mut tape).unwrap();
        let pooled = Var::from_tensor(&pooled).unwrap();
        let feature = plain.head_feature(pooled.as_tensor(), &batch, None).unwrap();
        let behind = loss(&plain.feature_logits(&feature).unwrap()).backward().unwrap();
        let of_pooled = behind.get(pooled.as_tensor()).unwrap();
        let mut fast = GradientMap::new();
        engine.backward(&parameters, &pass, &mut tape, of_pooled, &mut fast).unwrap();

        let (mut worst, mut seen) = (0.0f32, 0);
        for one in all {
            let parts = one.parts.iter().flat_map(|part| values(&theirs[&part.name]));
            let expected: Vec<f32> = parts.collect();
            seen += one.parts.len();
            let largest = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            // The bias of a key has none where nothing but the product enters the softmax.
            let scale = largest.max(1e-3);
            let own = values(found.get(variables[&one.name].as_tensor()).unwrap());
            worst = worst.max(farthest(&own, &expected) / scale);
            if let Some(own) = fast.get(&one.name) {
                worst = worst.max(farthest(own, &expected) / scale);
            }
        }
        assert_eq!(seen, theirs.len(), "{case}");
        println!("{case}: gradients differ by at most {worst:.1e} of a tensor's largest");
        assert!(worst < TOLERANCE, "{case}: {worst}");
    }
}

/// A masked language model has the dense layer and the norm of ModernBERT's classifier already.
#[test]
fn the_head_of_a_masked_language_model_is_read_where_it_is_that_of_the_classifier() {
    let home = tempfile::tempdir().unwrap();
    let config = EncoderConfig::read(&folder("modernbert")).unwrap();
    let weights = folder("modernbert").join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(weights, &Device::Cpu).unwrap();
    tensors.retain(|name, _| !name.starts_with("classifier."));
    let bias = Tensor::zeros(config.vocab_size, DType::F32, &Device::Cpu).unwrap();
    tensors.insert("decoder.bias".to_owned(), bias);
    let dense = values(&tensors["head.dense.weight"]);
    candle_core::safetensors::save(&tensors, home.path().join("model.safetensors")).unwrap();
    let loaded = model::load(home.path(), &config, &Noise::new(0), &Backend::Cpu).unwrap();
    assert_eq!(loaded.missing, ["classifier.bias", "classifier.weight"]);
    assert_eq!(values(loaded.parameters.get("pooler.weight")), dense);
}
