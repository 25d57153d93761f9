//! Every parameter of a classifier: our name, its shape, and the tensors of transformers that it is
//! made of.

use super::{Architecture, EncoderConfig, Pooling};

/// A block of lines of a parameter under the name that transformers gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name as transformers writes it in a `…ForSequenceClassification` checkpoint.
    pub name: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
}

/// How a new parameter is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Normal with the config's `initializer_range`.
    Normal,
    /// Zero.
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
    let prefix = match config.architecture {
        Architecture::Bert => "bert",
        Architecture::Roberta => "roberta",
    };
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
        table("type", "token_type_embeddings", config.type_vocab_size),
        table("word", "word_embeddings", config.vocab_size),
        norm("embeddings.norm".to_owned(), &format!("{prefix}.embeddings.LayerNorm"), width),
    ];
    for index in 0..config.num_hidden_layers {
        let source = format!("{prefix}.encoder.layer.{index}");
        // Four digits, so that the order of the names is the order of the layers.
        let ours = format!("layer.{index:04}");
        let attention = format!("{source}.attention");
        let own = ["query", "key", "value"].map(|part| format!("{attention}.self.{part}"));
        let output = [format!("{attention}.output.dense")];
        let inner = [format!("{source}.intermediate.dense")];
        let outer = [format!("{source}.output.dense")];
        let wide = config.intermediate_size;
        all.extend(affine(&format!("{ours}.attention.qkv"), &own, width, width));
        all.extend(affine(&format!("{ours}.attention.output"), &output, width, width));
        all.push(norm(
            format!("{ours}.attention.norm"),
            &format!("{attention}.output.LayerNorm"),
            width,
        ));
        all.extend(affine(&format!("{ours}.feed_forward.inner"), &inner, wide, width));
        all.extend(affine(&format!("{ours}.feed_forward.outer"), &outer, width, wide));
        all.push(norm(
            format!("{ours}.feed_forward.norm"),
            &format!("{source}.output.LayerNorm"),
            width,
        ));
    }
    let (pooler, last) = match config.architecture {
        Architecture::Bert => ("bert.pooler.dense", "classifier"),
        Architecture::Roberta => ("classifier.dense", "classifier.out_proj"),
    };
    let classes = config.labels.len();
    let head = affine("pooler", &[pooler.to_owned()], width, width)
        .map(|specification| Specification {
            head: true,
            used: config.pooling == Pooling::Auto,
            ..specification
        })
        .into_iter()
        .chain(
            affine("classifier", &[last.to_owned()], classes, width)
                .map(|specification| Specification { head: true, ..specification }),
        );
    all.extend(head);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Weight and bias of linear layers that read the same input, stacked.
fn affine(name: &str, sources: &[String], outputs: usize, inputs: usize) -> [Specification; 2] {
    let parts = |suffix: &str, shape: &[usize]| -> Vec<Part> {
        let part = |source| Part { name: format!("{source}.{suffix}"), shape: shape.to_vec() };
        sources.iter().map(part).collect()
    };
    let stacked = outputs * sources.len();
    let weight = Specification {
        name: format!("{name}.weight"),
        shape: vec![stacked, inputs],
        parts: parts("weight", &[outputs, inputs]),
        fill: Fill::Normal,
        decay: true,
        head: false,
        used: true,
    };
    let bias = Specification {
        name: format!("{name}.bias"),
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
