//! Every parameter of a classifier: our name, its shape, and the tensors of transformers that it is
//! made of.

use super::architecture::{AttentionKind, Convolution, Fresh, Projection, Shared, Tensors};
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
    /// Where it has a bias.
    pub bias: Option<String>,
}

impl AffineNames {
    pub(super) fn of(layer: &str, biased: bool) -> Self {
        let bias = biased.then(|| format!("{layer}.bias"));
        Self { weight: format!("{layer}.weight"), bias }
    }
}

/// Our names of the parameters of one layer of the encoder.
#[derive(Clone, Debug)]
pub(super) struct LayerNames {
    /// Query, key and value, stacked.
    pub qkv: AffineNames,
    /// Relative keys and queries, where they have maps of their own.
    pub relative: [Option<AffineNames>; 2],
    /// The output of the attention.
    pub output: AffineNames,
    /// Where there is one.
    pub attention_norm: Option<String>,
    /// The feed-forward block, from the inside out.
    pub inner: AffineNames,
    pub outer: AffineNames,
    pub norm: String,
}

impl LayerNames {
    /// Of the weights of this number.
    pub(super) fn of(config: &EncoderConfig, weights: usize) -> Self {
        let block = &config.design.block;
        // Four digits, so that the order of the names is the order of the layers.
        let name = |part: &str| format!("layer.{weights:04}.{part}");
        let attention = |part: &str| AffineNames::of(&name(part), block.attention_bias);
        let feed_forward = |part: &str| AffineNames::of(&name(part), block.feed_forward_bias);
        Self {
            qkv: attention("attention.qkv"),
            relative: config.design.attention.own_maps().map(|own| {
                own.map(|name| {
                    AffineNames::of(&format!("layer.{weights:04}.attention.{name}"), true)
                })
            }),
            output: attention("attention.output"),
            attention_norm: (weights > 0 || block.first_norm).then(|| name("attention.norm")),
            inner: feed_forward("feed_forward.inner"),
            outer: feed_forward("feed_forward.outer"),
            norm: name("feed_forward.norm"),
        }
    }
}

/// Our names of what stands outside the layers.
pub(super) const WORD: &str = "embeddings.word";
pub(super) const POSITION: &str = "embeddings.position";
pub(super) const SEGMENT: &str = "embeddings.type";
pub(super) const EMBEDDING_NORM: &str = "embeddings.norm";
pub(super) const LAST_NORM: &str = "last.norm";
pub(super) const HEAD_NORM: &str = "pooler.norm";
/// What belongs to distances and is read by all layers stands below them, as the embeddings do.
pub(super) const RELATIVE: &str = "relative.table";
pub(super) const RELATIVE_NORM: &str = "relative.norm";
pub(super) const CONVOLUTION_NORM: &str = "layer.0000.convolution.norm";

/// The convolution behind the first layer.
pub(super) fn convolution_names() -> AffineNames {
    AffineNames::of("layer.0000.convolution", true)
}

/// The map from the width of the embeddings to that of the layers.
pub(super) fn projection_names(projection: Projection) -> AffineNames {
    AffineNames::of("embeddings.projection", projection.bias)
}

/// The dense layer of the head.
pub(super) fn pooler_names(config: &EncoderConfig) -> AffineNames {
    AffineNames::of("pooler", config.design.head.bias)
}

/// What transformers writes before the name of a tensor of the weights of this number.
pub(super) fn layer_prefix(config: &EncoderConfig, weights: usize) -> String {
    let Tensors { prefix, layers, group, .. } = config.architecture.tensors;
    match &config.design.shared {
        Some(Shared { inner, .. }) => {
            format!("{prefix}.{layers}.{}.{group}.{}.", weights / inner, weights % inner)
        }
        None => format!("{prefix}.{layers}.{weights}."),
    }
}

/// What names of tensors begin with: of a layer that the config has, and of one that would stand behind it if
/// there were more.
pub(super) fn borders(config: &EncoderConfig) -> Vec<[String; 2]> {
    let count = config.layer_weights();
    let mut all = vec![[count - 1, count].map(|weights| layer_prefix(config, weights))];
    if let Some(Shared { inner, .. }) = &config.design.shared {
        // In a group, too.
        let Tensors { prefix, layers, group, .. } = config.architecture.tensors;
        all.push([inner - 1, *inner].map(|one| format!("{prefix}.{layers}.0.{group}.{one}.")));
    }
    all
}

/// The number of the weights that a parameter of a layer belongs to.
pub fn weights_number(name: &str) -> Option<usize> {
    name.strip_prefix("layer.")?.split('.').next()?.parse().ok()
}

/// Whether a parameter belongs to the layers whose weights have the numbers from `first` on, or to what comes
/// behind all layers.
pub fn is_above(name: &str, first: usize) -> bool {
    match weights_number(name) {
        Some(index) => index >= first,
        // What all layers share is above only if they all are.
        None if first > 0 && name.starts_with("relative.") => false,
        None => !name.starts_with("embeddings."),
    }
}

/// How a new parameter is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// Normal with the config's `initializer_range`.
    Normal,
    /// Normal with a deviation of its own, cut at so many deviations.
    Cut {
        deviation: f64,
        at: f64,
    },
    Zero,
    /// γ = 1 above β = 0, where there is a β.
    GammaBeta,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
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

impl Specification {
    /// Whether a precision rounds it: the weights of linear maps in the layers, and the word table. All have two
    /// axes.
    pub fn is_rounded(&self) -> bool {
        let of_layer = self.name.starts_with("layer.") && self.name.ends_with(".weight");
        self.name == WORD || (of_layer && self.name != convolution_names().weight)
    }
}

/// All parameters of a classifier, in name order.
pub fn specifications(config: &EncoderConfig) -> Vec<Specification> {
    let mut all = embeddings(config);
    all.extend(relative(config));
    all.extend(convolution(config));
    for weights in 0..config.layer_weights() {
        all.extend(layer(config, weights));
    }
    if config.design.block.pre_norm {
        let Tensors { prefix, last_norm, .. } = config.architecture.tensors;
        all.push(norm(config, LAST_NORM.to_owned(), &format!("{prefix}.{last_norm}"), None));
    }
    all.extend(head(config));
    if let Fresh::Cut(at) = config.design.fresh {
        for one in all.iter_mut().filter(|one| one.fill == Fill::Normal) {
            one.fill = Fill::Cut { deviation: deviation(config, &one.name), at };
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// That of new values where not all have the same, as [`Fresh::Cut`] says.
fn deviation(config: &EncoderConfig, name: &str) -> f64 {
    let added = [".attention.output.weight", ".feed_forward.outer.weight", "pooler.weight"];
    match name {
        "classifier.weight" => 1.0 / (config.hidden_size as f64).sqrt(),
        _ if added.iter().any(|end| name.ends_with(end)) => {
            config.initializer_range / (2.0 * config.num_hidden_layers as f64).sqrt()
        }
        _ => config.initializer_range,
    }
}

fn embeddings(config: &EncoderConfig) -> Vec<Specification> {
    let Tensors { prefix, embeddings, projection, .. } = config.architecture.tensors;
    let [word, position, segment, last] = embeddings.map(|name| format!("{prefix}.{name}"));
    let (width, design) = (config.embedding_width(), &config.design);
    let mut all = vec![table(WORD, &word, [config.vocab_size, width])];
    if design.positions.is_some() {
        all.push(table(POSITION, &position, [config.max_position_embeddings, width]));
    }
    if design.segments {
        all.push(table(SEGMENT, &segment, [config.type_vocab_size, width]));
    }
    let mut normed = width;
    if let Some(own) = design.projection {
        let source = format!("{prefix}.{projection}");
        all.extend(affine(projection_names(own), &[source], config.hidden_size, width));
        normed = if own.before_norm { config.hidden_size } else { width };
    }
    all.push(norm(config, EMBEDDING_NORM.to_owned(), &last, Some(normed)));
    all
}

/// What all layers read of distances.
fn relative(config: &EncoderConfig) -> Vec<Specification> {
    let Tensors { prefix, relative, relative_norm, .. } = config.architecture.tensors;
    let table = |shape| table(RELATIVE, &format!("{prefix}.{relative}"), shape);
    match config.design.attention {
        AttentionKind::Plain | AttentionKind::Rotary(_) => Vec::new(),
        AttentionKind::DistanceBias { buckets } => {
            vec![table([buckets, config.num_attention_heads])]
        }
        AttentionKind::Disentangled(own) if own.keys || own.queries => {
            let mut all = vec![table([own.span.rows(), config.hidden_size])];
            if own.norm {
                let source = format!("{prefix}.{relative_norm}");
                all.push(norm(config, RELATIVE_NORM.to_owned(), &source, None));
            }
            all
        }
        AttentionKind::Disentangled(_) => Vec::new(),
    }
}

/// The convolution behind the first layer.
fn convolution(config: &EncoderConfig) -> Vec<Specification> {
    let Some(Convolution { window, groups, .. }) = config.design.convolution else {
        return Vec::new();
    };
    let Tensors { prefix, convolution: [source, last], .. } = config.architecture.tensors;
    let (width, inputs) = (config.hidden_size, config.hidden_size / groups);
    let source = format!("{prefix}.{source}");
    let mut all = affine(convolution_names(), &[source], width, inputs * window);
    // In the file the window is an axis of its own.
    all[0].parts[0].shape = vec![width, inputs, window];
    let last = format!("{prefix}.{last}");
    all.push(norm(config, CONVOLUTION_NORM.to_owned(), &last, None));
    all
}

/// A table whose rows are looked up.
fn table(name: &str, source: &str, shape: [usize; 2]) -> Specification {
    Specification {
        name: name.to_owned(),
        shape: shape.to_vec(),
        parts: vec![Part { name: format!("{source}.weight"), shape: shape.to_vec() }],
        fill: Fill::Normal,
        decay: true,
        head: false,
        used: true,
    }
}

/// The parameters of one layer, or of several with the same weights.
fn layer(config: &EncoderConfig, weights: usize) -> Vec<Specification> {
    let (tensors, design) = (config.architecture.tensors, &config.design);
    let prefix = layer_prefix(config, weights);
    let source = |name: &str| format!("{prefix}{name}");
    let ours = LayerNames::of(config, weights);
    let (width, wide) = (config.hidden_size, config.intermediate_size);
    let [output, attention_norm] = tensors.attention.map(source);
    let [inner, outer, last_norm] = tensors.feed_forward.map(source);
    let qkv: Vec<String> = tensors.qkv.iter().map(|name| source(name)).collect();
    let mut all = affine(ours.qkv, &qkv, 3 * width / qkv.len(), width);
    let maps = ours.relative.into_iter().zip(tensors.relative_maps);
    for (names, name) in maps.filter_map(|(names, name)| Some((names?, name))) {
        all.extend(affine(names, &[source(name)], width, width));
    }
    all.extend(affine(ours.output, &[output], width, width));
    all.extend(ours.attention_norm.map(|ours| norm(config, ours, &attention_norm, None)));
    let halves = if design.block.gated { 2 } else { 1 };
    all.extend(affine(ours.inner, &[inner], halves * wide, width));
    all.extend(affine(ours.outer, &[outer], width, wide));
    all.push(norm(config, ours.norm, &last_norm, None));
    all
}

fn head(config: &EncoderConfig) -> Vec<Specification> {
    let (head, width) = (config.architecture.head, config.hidden_size);
    let mut all = affine(pooler_names(config), &[head.dense.to_owned()], width, width);
    all.extend(head.norm.map(|source| norm(config, HEAD_NORM.to_owned(), source, None)));
    all.iter_mut().for_each(|one| one.used = config.pooling == Pooling::Auto);
    let (last, classes) = (AffineNames::of("classifier", true), config.labels.len());
    all.extend(affine(last, &[head.last.to_owned()], classes, width));
    all.iter_mut().for_each(|one| one.head = true);
    all
}

/// The parameters of linear layers that read the same input, stacked.
fn affine(
    names: AffineNames,
    sources: &[String],
    outputs: usize,
    inputs: usize,
) -> Vec<Specification> {
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
    let bias = names.bias.map(|name| Specification {
        name,
        shape: vec![stacked],
        parts: parts("bias", &[outputs]),
        fill: Fill::Zero,
        decay: false,
        head: false,
        used: true,
    });
    std::iter::once(weight).chain(bias).collect()
}

/// Of the layers' width, where there is no other.
fn norm(config: &EncoderConfig, name: String, source: &str, width: Option<usize>) -> Specification {
    let width = width.unwrap_or(config.hidden_size);
    let part = |suffix| Part { name: format!("{source}.{suffix}"), shape: vec![width] };
    let bias = config.design.block.norm_bias.then_some("bias");
    let parts: Vec<Part> = std::iter::once("weight").chain(bias).map(part).collect();
    Specification {
        name,
        shape: vec![parts.len(), width],
        parts,
        fill: Fill::GammaBeta,
        decay: false,
        head: false,
        used: true,
    }
}
