//! Tiny encoders of every kind that a design can describe, and the plain graph against finite differences.

use candle_core::{DType, Device, Tensor, Var};
use serde_json::{Value, json};

use super::super::*;
use crate::compute::{Backend, Noise, Purpose};
use crate::model::{
    Block, Classifier, Design, HeadDesign, Pooling, Projection, Rate, specifications,
};

fn read(mut file: Value) -> EncoderConfig {
    let sizes = json!({
        "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 51, "max_position_embeddings": 300, "initializer_range": 0.2,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    });
    let Value::Object(file) = &mut file else { panic!("an object is given") };
    for (key, value) in sizes.as_object().unwrap() {
        file.entry(key).or_insert_with(|| value.clone());
    }
    let mut config = EncoderConfig::from_json(file.clone()).unwrap();
    config.labels = ["a", "b", "c"].map(str::to_owned).to_vec();
    config
}

/// A BERT with another design.
fn built(design: impl Fn(Design) -> Design) -> EncoderConfig {
    let config = read(json!({ "model_type": "bert" }));
    EncoderConfig { design: design(config.design.clone()), ..config }
}

pub fn kinds() -> Vec<(&'static str, EncoderConfig)> {
    let pre_norm = |block: Block| Block { pre_norm: true, ..block };
    let before_norm = Projection { width: 10, before_norm: true, bias: false };
    let mean = |config| EncoderConfig { pooling: Pooling::Mean, ..config };
    vec![
        ("bert", read(json!({ "model_type": "bert" }))),
        (
            "distilbert",
            read(json!({
                "model_type": "distilbert", "dim": 24, "n_layers": 2, "n_heads": 2,
                "hidden_dim": 40,
            })),
        ),
        // Its texts contain the padding token.
        (
            "roberta",
            read(json!({ "model_type": "roberta", "pad_token_id": 1, "type_vocab_size": 2 })),
        ),
        (
            "electra",
            read(json!({ "model_type": "electra", "embedding_size": 10, "hidden_act": "silu" })),
        ),
        ("albert", read(json!({ "model_type": "albert", "embedding_size": 24 }))),
        (
            "albert in groups",
            mean(read(json!({
                "model_type": "albert", "embedding_size": 10, "num_hidden_layers": 3,
                "num_hidden_groups": 2, "inner_group_num": 2,
            }))),
        ),
        // So do these.
        ("mpnet", read(json!({ "model_type": "mpnet" }))),
        (
            "deberta",
            read(json!({
                "model_type": "deberta-v2", "relative_attention": true, "position_buckets": 8,
                "max_relative_positions": 30, "norm_rel_ebd": "layer_norm", "share_att_key": true,
                "pos_att_type": "p2c|c2p", "position_biased_input": false, "pooler_dropout": 0.2,
            })),
        ),
        (
            "deberta with maps of its own and a convolution",
            read(json!({
                "model_type": "deberta-v2", "relative_attention": true, "max_relative_positions": 6,
                "pos_att_type": ["c2p", "p2c"], "embedding_size": 10, "type_vocab_size": 2,
                "conv_kernel_size": 3, "conv_groups": 2,
            })),
        ),
        (
            "deberta of one layer, c2p alone, and a convolution",
            read(json!({
                "model_type": "deberta-v2", "relative_attention": true, "position_buckets": 8,
                "pos_att_type": "c2p", "num_hidden_layers": 1, "conv_kernel_size": 5,
                "conv_act": "gelu", "norm_rel_ebd": "layer_norm",
            })),
        ),
        (
            "deberta, p2c alone",
            mean(read(json!({
                "model_type": "deberta-v2", "relative_attention": true, "position_buckets": 8,
                "pos_att_type": ["p2c"], "share_att_key": true,
            }))),
        ),
        (
            "deberta without relative attention",
            read(json!({ "model_type": "deberta-v2", "pos_att_type": ["p2c", "c2p"] })),
        ),
        (
            "modernbert",
            read(json!({
                "model_type": "modernbert", "num_hidden_layers": 3, "global_attn_every_n_layers": 2,
                "local_attention": 5, "embedding_dropout": 0.1, "attention_dropout": 0.1,
                "mlp_dropout": 0.2, "classifier_pooling": "mean",
            })),
        ),
        // What is read of a text is within a window too.
        (
            "modernbert, last layer local",
            read(json!({
                "model_type": "modernbert", "layer_types": ["full_attention", "sliding_attention"],
                "local_attention": 8, "attention_dropout": 0.1, "norm_bias": true,
                "attention_bias": true, "mlp_bias": true, "classifier_bias": true,
                "rope_parameters": { "full_attention": { "rope_theta": 300.0 } },
            })),
        ),
        ("norms before", built(|design| Design { block: pre_norm(design.block), ..design })),
        (
            "gated, without biases and positions",
            built(|design| Design {
                positions: None,
                block: Block {
                    first_norm: false,
                    gated: true,
                    attention_bias: false,
                    feed_forward_bias: false,
                    norm_bias: false,
                    attention_output_dropout: Rate::Attention,
                    feed_forward_dropout: Rate::None,
                    inner_dropout: 0.2,
                    ..pre_norm(design.block)
                },
                head: HeadDesign { mean: true, bias: false, ..design.head },
                ..design
            }),
        ),
        (
            "gated, norms behind",
            built(|design| Design {
                segments: false,
                projection: Some(before_norm),
                block: Block { gated: true, norm_bias: false, ..design.block },
                ..design
            }),
        ),
        (
            "norms before, projected",
            mean(built(|design| Design {
                projection: Some(before_norm),
                block: Block { first_norm: false, ..pre_norm(design.block) },
                ..design
            })),
        ),
    ]
}

/// Weights without the zeros and ones of new biases and norms, which would hide an error.
pub fn parameters(config: &EncoderConfig, seed: u64) -> Parameters {
    let fresh = Parameters::fresh(config, &Noise::new(seed), &Backend::Cpu).unwrap();
    let mut stream = Noise::new(seed + 100).stream(Purpose::Init, 0, 0);
    let moved = fresh.iter().map(|(name, tensor)| {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let moved: Vec<f32> =
            values.into_iter().map(|value| value + 0.1 * stream.normal() as f32).collect();
        (name.clone(), Tensor::from_vec(moved, tensor.shape(), &Device::Cpu).unwrap())
    });
    Parameters::from_map(moved.collect(), &Backend::Cpu)
}

/// Central differences in f64, of some elements of every parameter.
#[test]
fn the_plain_graph_has_the_gradients_of_finite_differences() {
    const STEP: f64 = 1e-5;
    for (kind, config) in kinds() {
        let batch = super::batch(&[1, 7, 4]);
        let wide = parameters(&config, 5);
        let wide = wide.iter().map(|(name, tensor)| {
            (name.clone(), Var::from_tensor(&tensor.to_dtype(DType::F64).unwrap()).unwrap())
        });
        let variables: BTreeMap<String, Var> = wide.collect();
        let loss = |of: &dyn Fn(&str, &Tensor) -> Tensor| {
            let own = variables.iter().map(|(name, own)| (name.clone(), of(name, own.as_tensor())));
            let classifier =
                Classifier::new(&config, &Parameters::from_map(own.collect(), &Backend::Cpu));
            let logits = classifier.logits(&batch, None).unwrap();
            let weights = Tensor::new(
                &[[0.3, -1.0, 0.8], [1.1, 0.2, -0.7], [-0.4, 0.9, 0.5f64]],
                &Device::Cpu,
            );
            (logits * weights.unwrap()).unwrap().sum_all().unwrap()
        };
        let gradients = loss(&|_, own| own.clone()).backward().unwrap();
        let mut checked = 0;
        for one in specifications(&config).iter().filter(|one| one.used) {
            let own = variables[&one.name].as_tensor();
            let found =
                gradients.get(own).unwrap_or_else(|| panic!("{kind}: {} has none", one.name));
            let found = found.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let values = own.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let count = values.len();
            for place in [0, count / 3, count / 2, count - 1] {
                let at = |delta: f64| {
                    let mut moved = values.clone();
                    moved[place] += delta;
                    let moved = Tensor::from_vec(moved, own.shape(), &Device::Cpu).unwrap();
                    let of = |name: &str, own: &Tensor| {
                        if name == one.name { moved.clone() } else { own.clone() }
                    };
                    loss(&of).to_scalar::<f64>().unwrap()
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                assert!(
                    (found[place] - expected).abs() <= 1e-6 * (1.0 + expected.abs()),
                    "{kind}, {} [{place}]: {} for {expected}",
                    one.name,
                    found[place],
                );
                checked += usize::from(expected != 0.0);
            }
        }
        assert!(checked > 20, "{kind}: {checked} are not zero");
    }
}
