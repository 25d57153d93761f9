//! The model as a graph of its blocks, for the page "Graphs".

use protobuf::{Message, RepeatedField};
use tensorboard_proto::graph::GraphDef;
use tensorboard_proto::node_def::NodeDef;
use tensorboard_proto::versions::VersionDef;

use crate::model::{EncoderConfig, Pooling};

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
    let position = node("embeddings/position", "Gather", &[&ids]);
    let kind = segments.map(|types| node("embeddings/type", "Gather", &[&types]));
    let tables: Vec<&str> =
        [&word, &position].into_iter().chain(&kind).map(|name| &**name).collect();
    let sum = node("embeddings/sum", "AddN", &tables);
    let mut state = node("embeddings/norm", "LayerNorm", &[&sum]);
    for index in 0..config.num_hidden_layers {
        let mut own = |name: &str, operation: &str, inputs: &[&str]| {
            node(&format!("layer_{index}/{name}"), operation, inputs)
        };
        let qkv = own("attention/query_key_value", "Linear", &[&state]);
        let mixed = own("attention/softmax", "Attention", &[&qkv]);
        let output = own("attention/output", "Linear", &[&mixed]);
        let sum = own("attention/residual", "Add", &[&output, &state]);
        let normed = own("attention/norm", "LayerNorm", &[&sum]);
        let inner = own("feed_forward/inner", "Linear", &[&normed]);
        let active = own("feed_forward/activation", "Activation", &[&inner]);
        let outer = own("feed_forward/outer", "Linear", &[&active]);
        let sum = own("feed_forward/residual", "Add", &[&outer, &normed]);
        state = own("feed_forward/norm", "LayerNorm", &[&sum]);
    }
    let pooled = match config.pooling {
        Pooling::Mean => node("head/mean", "Mean", &[&state]),
        Pooling::Normalised => {
            let mean = node("head/mean", "Mean", &[&state]);
            node("head/normalise", "Normalise", &[&mean])
        }
        Pooling::Cls => node("head/first", "First", &[&state]),
        Pooling::Auto => {
            let first = node("head/first", "First", &[&state]);
            let dense = node("head/dense", "Linear", &[&first]);
            let activation = config.head_activation().name();
            node(&format!("head/{}", activation.to_lowercase()), activation, &[&dense])
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
