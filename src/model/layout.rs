//! Every parameter of a classifier: our name, its shape, and the tensors of transformers that it is
//! made of.

use super::architecture::Segments;
use super::{EncoderConfig, Pooling};

/// A block of lines of a parameter under the name that transformers gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name as transformers writes it in a `…ForSequenceClassification` checkpoint.
    pub name: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
}

/// Our names of the parameters of a linear layer.
#[derive(Clone, Debug)]
pub(super) struct AffineNames {
    pub weight: String,
    pub bias: String,
}

impl AffineNames {
    pub(super) fn of(layer: &str) -> Self {
        Self { weight: format!("{layer}.weight"), bias: format!("{layer}.bias") }
    }
}

/// Our names of the parameters of one layer of the encoder.
#[derive(Clone, Debug)]
pub(super) struct LayerNames {
    /// Query, key and value, stacked.
    pub qkv: AffineNames,
    /// The output of the attention.
    pub output: AffineNames,
    pub attention_norm: String,
    /// The feed-forward block, from the inside out.
    pub inner: AffineNames,
    pub outer: AffineNames,
    pub norm: String,
}

impl LayerNames {
    pub(super) fn of(index: usize) -> Self {
        // Four digits, so that the order of the names is the order of the layers.
        let name = |part: &str| format!("layer.{index:04}.{part}");
        Self {
            qkv: AffineNames::of(&name("attention.qkv")),
            output: AffineNames::of(&name("attention.output")),
            attention_norm: name("attention.norm"),
            inner: AffineNames::of(&name("feed_forward.inner")),
            outer: AffineNames::of(&name("feed_forward.outer")),
            norm: name("feed_forward.norm"),
        }
    }
}

/// Whether a parameter belongs to the layers from `first` on, or to what comes behind all layers.
pub fn is_above(name: &str, first: usize) -> bool {
    let number = name.strip_prefix("layer.").and_then(|rest| rest.split('.').next());
    match number.and_then(|number| number.parse::<usize>().ok()) {
        Some(index) => index >= first,
        None => !name.starts_with("embeddings."),
    }
}

/// How a new parameter is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Normal with the config's `initializer_range`.
    Normal,
    Zero,
    /// γ = 1 above β = 0.
    GammaBeta,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specification {
    /// Our name; parameters are worked on in the order of these names.
    pub name: String,
    /// Our shape: the parts, stacked along the first axis.
    pub shape: Vec<usize>,
    /// The tensors of transformers.
    pub parts: Vec<Part>,
    /// How it begins when the checkpoint does not have it.
    pub fill: Fill,
    /// Whether weight decay applies: to weights, not to biases and norms.
    pub decay: bool,
    /// Whether it belongs to the head, so that a checkpoint without it is still an encoder.
    pub head: bool,
    /// Whether the chosen head uses it; one that it does not use is kept but not trained.
    pub used: bool,
}

/// All parameters of a classifier, in name order.
pub fn specifications(config: &EncoderConfig) -> Vec<Specification> {
    let width = config.hidden_size;
    let (tensors, head) = (config.architecture.tensors, config.architecture.head);
    let prefix = tensors.prefix;
    let table = |name: &str, source: &str, rows: usize| Specification {
        name: format!("embeddings.{name}"),
        shape: vec![rows, width],
        parts: vec![Part {
            name: format!("{prefix}.embeddings.{source}.weight"),
            shape: vec![rows, width],
        }],
        fill: Fill::Normal,
        decay: true,
        head: false,
        used: true,
    };
    let mut all = vec![
        table("position", "position_embeddings", config.max_position_embeddings),
        table("word", "word_embeddings", config.vocab_size),
        norm("embeddings.norm".to_owned(), &format!("{prefix}.embeddings.LayerNorm"), width),
    ];
    if config.architecture.segments != Segments::Absent {
        all.push(table("type", "token_type_embeddings", config.type_vocab_size));
    }
    for index in 0..config.num_hidden_layers {
        let source = |name: &str| format!("{prefix}.{}.{index}.{name}", tensors.layers);
        let ours = LayerNames::of(index);
        let wide = config.intermediate_size;
        let [output, attention_norm] = tensors.attention.map(source);
        let [inner, outer, last_norm] = tensors.feed_forward.map(source);
        all.extend(affine(ours.qkv, &tensors.qkv.map(source), width, width));
        all.extend(affine(ours.output, &[output], width, width));
        all.push(norm(ours.attention_norm, &attention_norm, width));
        all.extend(affine(ours.inner, &[inner], wide, width));
        all.extend(affine(ours.outer, &[outer], width, wide));
        all.push(norm(ours.norm, &last_norm, width));
    }
    let classes = config.labels.len();
    let head = affine(AffineNames::of("pooler"), &[head.dense.to_owned()], width, width)
        .map(|specification| Specification {
            head: true,
            used: config.pooling == Pooling::Auto,
            ..specification
        })
        .into_iter()
        .chain(
            affine(AffineNames::of("classifier"), &[head.last.to_owned()], classes, width)
                .map(|specification| Specification { head: true, ..specification }),
        );
    all.extend(head);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Weight and bias of linear layers that read the same input, stacked.
fn affine(
    names: AffineNames,
    sources: &[String],
    outputs: usize,
    inputs: usize,
) -> [Specification; 2] {
    let parts = |suffix: &str, shape: &[usize]| -> Vec<Part> {
        let part = |source| Part { name: format!("{source}.{suffix}"), shape: shape.to_vec() };
        sources.iter().map(part).collect()
    };
    let stacked = outputs * sources.len();
    let weight = Specification {
        name: names.weight,
        shape: vec![stacked, inputs],
        parts: parts("weight", &[outputs, inputs]),
        fill: Fill::Normal,
        decay: true,
        head: false,
        used: true,
    };
    let bias = Specification {
        name: names.bias,
        shape: vec![stacked],
        parts: parts("bias", &[outputs]),
        fill: Fill::Zero,
        decay: false,
        head: false,
        used: true,
    };
    [weight, bias]
}

fn norm(name: String, source: &str, width: usize) -> Specification {
    let part = |suffix| Part { name: format!("{source}.{suffix}"), shape: vec![width] };
    Specification {
        name,
        shape: vec![2, width],
        parts: vec![part("weight"), part("bias")],
        fill: Fill::GammaBeta,
        decay: false,
        head: false,
        used: true,
    }
}
