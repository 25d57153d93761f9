//! The model as a graph of its blocks, for the page "Graphs".

use protobuf::{Message, RepeatedField};
use tensorboard_proto::graph::GraphDef;
use tensorboard_proto::node_def::NodeDef;
use tensorboard_proto::versions::VersionDef;

use crate::model::{AttentionKind, Design, EncoderConfig, Pooling};

/// The first GraphDef version whose readers take nodes without attributes as they are.
const PRODUCER: i32 = 22;

/// A serialised `GraphDef`. The slashes in the names are the boxes that can be opened.
pub fn graph(config: &EncoderConfig) -> Vec<u8> {
    let mut nodes = Vec::new();
    let mut node = |name: &str, operation: &str, inputs: &[&str]| {
        let mut node = NodeDef::new();
        node.set_name(name.to_owned());
        node.set_op(operation.to_owned());
        node.set_input(inputs.iter().map(|&input| input.to_owned()).collect());
        nodes.push(node);
        name.to_owned()
    };
    let ids = node("input/ids", "Placeholder", &[]);
    let segments = config.segments().map(|_| node("input/types", "Placeholder", &[]));
    let word = node("embeddings/word", "Gather", &[&ids]);
    let Design { positions, projection, block, attention, convolution, head, .. } = &config.design;
    let position = positions.map(|_| node("embeddings/position", "Gather", &[&ids]));
    let kind = segments.map(|types| node("embeddings/type", "Gather", &[&types]));
    let tables: Vec<&str> =
        [&word].into_iter().chain(&position).chain(&kind).map(|name| &**name).collect();
    let mut state = node("embeddings/sum", "AddN", &tables);
    let before_norm = projection.is_some_and(|projection| projection.before_norm);
    if before_norm {
        state = node("embeddings/projection", "Linear", &[&state]);
    }
    state = node("embeddings/norm", "LayerNorm", &[&state]);
    if projection.is_some() && !before_norm {
        state = node("embeddings/projection", "Linear", &[&state]);
    }
    let relative = match attention {
        AttentionKind::Disentangled(own) if own.keys || own.queries => {
            let table = node("relative/table", "Table", &[]);
            Some(if own.norm { node("relative/norm", "LayerNorm", &[&table]) } else { table })
        }
        AttentionKind::DistanceBias { .. } => Some(node("relative/table", "Table", &[])),
        AttentionKind::Disentangled(_) | AttentionKind::Plain | AttentionKind::Rotary(_) => None,
    };
    let projected = matches!(attention, AttentionKind::Disentangled(_));
    for index in 0..config.num_hidden_layers {
        let first = state.clone();
        let mut own = |name: &str, operation: &str, inputs: &[&str]| {
            node(&format!("layer_{index}/{name}"), operation, inputs)
        };
        let entering = match block.pre_norm && (index > 0 || block.first_norm) {
            true => own("attention/norm", "LayerNorm", &[&state]),
            false => state.clone(),
        };
        let mut qkv = own("attention/query_key_value", "Linear", &[&entering]);
        if attention.rotary().is_some() {
            qkv = own("attention/rotary", "Rotary", &[&qkv]);
        }
        let relative = relative.as_ref().map(|table| match projected {
            true => own("attention/relative", "Linear", &[table]),
            false => table.clone(),
        });
        let reads: Vec<&str> = [&qkv].into_iter().chain(&relative).map(|name| &**name).collect();
        let mixed = own("attention/softmax", "Attention", &reads);
        let output = own("attention/output", "Linear", &[&mixed]);
        state = own("attention/residual", "Add", &[&output, &state]);
        let norm = if block.pre_norm { "feed_forward/norm" } else { "attention/norm" };
        let normed = own(norm, "LayerNorm", &[&state]);
        let inner = own("feed_forward/inner", "Linear", &[&normed]);
        let active = match block.gated {
            true => own("feed_forward/gate", "Gate", &[&inner]),
            false => own("feed_forward/activation", "Activation", &[&inner]),
        };
        let outer = own("feed_forward/outer", "Linear", &[&active]);
        if block.pre_norm {
            state = own("feed_forward/residual", "Add", &[&outer, &state]);
        } else {
            let sum = own("feed_forward/residual", "Add", &[&outer, &normed]);
            state = own("feed_forward/norm", "LayerNorm", &[&sum]);
        }
        if index == 0 && convolution.is_some() {
            let sum = own("convolution/convolution", "Convolution", &[&first]);
            let active = own("convolution/activation", "Activation", &[&sum]);
            let sum = own("convolution/residual", "Add", &[&active, &state]);
            state = own("convolution/norm", "LayerNorm", &[&sum]);
        }
    }
    if block.pre_norm {
        state = node("last_norm", "LayerNorm", &[&state]);
    }
    let pooled = match config.pooling {
        Pooling::Mean => node("head/mean", "Mean", &[&state]),
        Pooling::Normalised => {
            let mean = node("head/mean", "Mean", &[&state]);
            node("head/normalise", "Normalise", &[&mean])
        }
        Pooling::Cls => node("head/first", "First", &[&state]),
        Pooling::Auto => {
            let read = match head.mean {
                true => node("head/mean", "Mean", &[&state]),
                false => node("head/first", "First", &[&state]),
            };
            let dense = node("head/dense", "Linear", &[&read]);
            let activation = head.activation.name();
            let name = format!("head/{}", activation.to_lowercase());
            let active = node(&name, activation, &[&dense]);
            match config.architecture.has_head_norm() {
                true => node("head/norm", "LayerNorm", &[&active]),
                false => active,
            }
        }
    };
    node("head/classifier", "Linear", &[&pooled]);
    let mut versions = VersionDef::new();
    versions.set_producer(PRODUCER);
    let mut graph = GraphDef::new();
    graph.set_versions(versions);
    graph.set_node(RepeatedField::from_vec(nodes));
    graph.write_to_bytes().expect("a message of ours is complete")
}
