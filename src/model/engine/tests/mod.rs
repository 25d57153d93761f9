//! The engine against the plain classifier: values and gradients.

mod bf16;
mod kinds;
mod twin;

use candle_core::Var;

use self::kinds::kinds;
use super::*;
use crate::compute::ops::{Activation, cross_entropy};
use crate::compute::{Backend, Noise, Sequence};
use crate::model::{Classifier, DropoutPasses, Pooling, Sizes, specifications};

fn config(width: usize, heads: usize, pooling: Pooling, activation: Activation) -> EncoderConfig {
    let sizes = Sizes {
        num_hidden_layers: 2,
        hidden_size: width,
        num_attention_heads: heads,
        intermediate_size: 2 * width + 3,
    };
    let mut config = EncoderConfig::from_scratch(sizes, 50, 300).unwrap();
    config.labels = ["a", "b", "c"].map(str::to_owned).to_vec();
    config.pooling = pooling;
    config.hidden_act = activation;
    config
}

fn batch(lengths: &[usize]) -> Packed {
    Packed::new(lengths.iter().enumerate().map(|(row, &length)| Sequence {
        ids: (0..length).map(|token| ((7 * token + 3 * row) % 50) as u32).collect(),
        type_ids: (0..length).map(|token| u32::from(token > 2)).collect(),
        row: row as u64 + 1000,
    }))
}

fn assert_close(found: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0.0f32, |size, value| size.max(value.abs()));
    for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= tolerance * (1e-3 + size), "{what} [{place}]: {found} for {expected}");
    }
}

/// Loss gradients by the plain graph and by the engine.
fn gradients(
    config: &EncoderConfig,
    lengths: &[usize],
    checkpointing: usize,
) -> (GradientMap, GradientMap) {
    let (mut plain, fast) = gradients_above(config, lengths, checkpointing, 0);
    plain.retain(|name, _| !name.starts_with("pooler.") && !name.starts_with("classifier."));
    assert!(plain.keys().eq(fast.keys()), "every encoder parameter has a gradient");
    (plain, fast)
}

/// The same with so many frozen layers, and with the head's in the first map.
fn gradients_above(
    config: &EncoderConfig,
    lengths: &[usize],
    checkpointing: usize,
    frozen: usize,
) -> (GradientMap, GradientMap) {
    let drawn = kinds::parameters(config, 1);
    let (variables, parameters) = drawn.variables(&specifications(config)).unwrap();
    let (batch, source) = (batch(lengths), source());
    let classifier = Classifier::new(config, &parameters);
    let logits = classifier.logits(&batch, Some(&source)).unwrap();
    let found = loss(&logits, lengths.len()).backward().unwrap();
    let mut plain = GradientMap::new();
    for (name, variable) in &variables {
        let gradient = found.get(variable.as_tensor()).unwrap().flatten_all().unwrap();
        plain.insert(name.clone(), gradient.to_vec1().unwrap());
    }
    (plain, gradients_at(Precision::F32, config, lengths, checkpointing, frozen))
}

/// Those of the engine at a precision.
fn gradients_at(
    precision: Precision,
    config: &EncoderConfig,
    lengths: &[usize],
    checkpointing: usize,
    frozen: usize,
) -> GradientMap {
    let (_, parameters) = kinds::parameters(config, 1).variables(&specifications(config)).unwrap();
    let (batch, source) = (batch(lengths), source());
    let classifier = Classifier::new(config, &parameters);
    let engine = Engine::above(config, &parameters, 0, precision).unwrap().unwrap();
    let mut tape = Tape::default();
    let mut fast = GradientMap::new();
    // Twice over the same tape, whose buffers are used again: the second pass must not see the first.
    for _ in 0..2 {
        fast.clear();
        let pass = TrainingPass { batch: &batch, source: Some(&source), checkpointing, frozen };
        let pooled = engine.pooled_with_tape(&pass, &mut tape).unwrap();
        let pooled = Var::from_tensor(&pooled).unwrap();
        let read_bd = classifier.head_feature(pooled.as_tensor(), &batch, Some(&source)).unwrap();
        let logits = classifier.feature_logits(&read_bd).unwrap();
        let found = loss(&logits, lengths.len()).backward().unwrap();
        let of_pooled = found.get(pooled.as_tensor()).unwrap();
        engine.backward(&parameters, &pass, &mut tape, of_pooled, &mut fast).unwrap();
    }
    fast
}

fn source() -> DropoutSource {
    DropoutSource { noise: Noise::new(9), step: 4 }
}

/// Of so many texts, whose labels are all there are in turn.
fn loss(logits: &Tensor, texts: usize) -> Tensor {
    let labels: Vec<u32> = (0..texts).map(|row| row as u32 % 3).collect();
    cross_entropy(logits, &labels, &vec![1.0; texts], 0.0, 2.0).unwrap()
}

#[test]
fn frozen_layers_get_no_gradients_and_the_others_the_same() {
    let config = config(24, 3, Pooling::Mean, Activation::Gelu);
    let (_, all) = gradients_above(&config, &[4, 40], 0, 0);
    let (_, above) = gradients_above(&config, &[4, 40], 0, 1);
    assert!(above.keys().all(|name| name.starts_with("layer.0001.")) && above.len() == 10);
    assert!(above.iter().all(|(name, gradient)| *gradient == all[name]));
    assert!(gradients_above(&config, &[4], 0, 2).1.is_empty());
}

#[test]
fn gradients_equal_those_of_the_plain_graph() {
    for (width, heads, pooling, activation, lengths) in [
        (24, 3, Pooling::Auto, Activation::Gelu, &[1, 5, 40][..]),
        (36, 2, Pooling::Mean, Activation::GeluNew, &[33, 2]),
        (128, 2, Pooling::Cls, Activation::Relu, &[130, 7, 100]),
        (24, 2, Pooling::Cls, Activation::Silu, &[13, 7]),
    ] {
        let config = config(width, heads, pooling, activation);
        let (plain, fast) = gradients(&config, lengths, 0);
        for (name, plain) in &plain {
            assert_close(&fast[name], plain, 2e-4, name);
        }
    }
}

#[test]
fn gradients_of_every_kind_equal_those_of_the_plain_graph() {
    for (kind, config) in kinds() {
        let (plain, fast) = gradients(&config, &[1, 5, 40], 0);
        assert_eq!(plain.contains_key("embeddings.type"), config.segments().is_some());
        for (name, plain) in &plain {
            assert_close(&fast[name], plain, 2e-4, &format!("{kind}: {name}"));
        }
        for every in [1, 2] {
            assert_eq!(gradients(&config, &[1, 5, 40], every).1, fast, "{kind}");
        }
        // Frozen up to where layers with other weights begin.
        let depth = config.num_hidden_layers;
        for frozen in 1..=depth {
            if !config.divides_at(frozen) {
                continue;
            }
            let first = config.weights_of(frozen);
            for checkpointing in [0, 1] {
                let above = gradients_above(&config, &[1, 5, 40], checkpointing, frozen).1;
                let of_layers = above.keys().any(|name| name.starts_with("layer."));
                assert_eq!(of_layers, frozen < depth, "{kind}");
                assert!(above.keys().all(|name| crate::model::is_above(name, first)), "{kind}");
                assert!(above.iter().all(|(name, own)| *own == fast[name]), "{kind}");
            }
        }
    }
}

/// More tokens than pass through the feed-forward block together.
#[test]
fn checkpointing_of_long_batches_changes_no_bit_of_any_kind() {
    for (kind, config) in kinds().into_iter().filter(|(_, config)| config.design.block.gated) {
        let lengths = [280, 270, 260];
        let (plain, straight) = gradients(&config, &lengths, 0);
        assert_eq!(gradients(&config, &lengths, 1).1, straight, "{kind}");
        let name = "layer.0000.feed_forward.inner.weight";
        assert_close(&straight[name], &plain[name], 2e-4, kind);
    }
}

#[test]
fn checkpointing_changes_no_bit_of_the_gradients() {
    let config = config(24, 3, Pooling::Auto, Activation::Gelu);
    let (_, straight) = gradients(&config, &[4, 40], 0);
    for every in [1, 2] {
        assert_eq!(gradients(&config, &[4, 40], every).1, straight);
    }
    // More tokens than pass through the feed-forward block together.
    let lengths = [280, 270, 260];
    let (plain, straight) = gradients(&config, &lengths, 0);
    assert!(lengths.iter().sum::<usize>() > pass::STRETCH);
    assert_eq!(gradients(&config, &lengths, 1).1, straight);
    assert_close(
        &straight["layer.0000.feed_forward.inner.weight"],
        &plain["layer.0000.feed_forward.inner.weight"],
        2e-4,
        "stretches",
    );
}

#[test]
fn values_equal_those_of_the_plain_classifier() {
    let mut all = kinds();
    for (width, heads) in [(24, 3), (64, 1), (20, 5)] {
        for pooling in [Pooling::Auto, Pooling::Mean] {
            all.push(("bert", config(width, heads, pooling, Activation::Gelu)));
        }
    }
    for (kind, config) in all {
        let (width, layers) = (config.hidden_size, config.num_hidden_layers);
        let drawn = kinds::parameters(&config, 2);
        let batch = batch(&[1, 17, 90, 250]);
        let plain = Classifier::new(&config, &drawn);
        let packed = Classifier::packed(&config, &drawn).unwrap();
        let hidden = flat(&packed.hidden(&batch).unwrap());
        assert_close(&hidden, &flat(&plain.hidden(&batch).unwrap()), 2e-5, kind);
        let features = flat(&packed.features(&batch).unwrap());
        assert_close(&features, &flat(&plain.features(&batch).unwrap()), 2e-5, kind);
        let trunk = packed.trunk(&batch, layers + 3).unwrap();
        assert_eq!(flat(&trunk.feature_bd), features);
        assert_eq!(trunk.input_be.len(), 4 * layers * width, "no more than there are");
        let expected = plain.trunk(&batch, layers + 3).unwrap().input_be;
        assert_close(&trunk.input_be, &expected, 2e-5, kind);
        let last = packed.trunk(&batch, 1).unwrap().input_be;
        let lines = trunk.input_be.chunks_exact(layers * width);
        let last_of_all = lines.flat_map(|line| &line[(layers - 1) * width..]);
        assert_eq!(last, last_of_all.copied().collect::<Vec<_>>());
        // From what enters the last layer on.
        let first = layers - 1;
        let below = packed.trunk_above(&batch, 0, Some(first)).unwrap().below_pd.unwrap();
        let top = Classifier::packed_above(&config, &drawn, &drawn, first, Precision::F32).unwrap();
        let found = flat(&top.logits_from(&below, first, &batch).unwrap());
        assert_eq!(found, flat(&packed.feature_logits(&trunk.feature_bd).unwrap()), "{kind}");
        let below = plain.trunk_above(&batch, 0, Some(first)).unwrap().below_pd.unwrap();
        let expected = flat(&plain.logits_from(&below, first, &batch).unwrap());
        assert_close(&found, &expected, 2e-5, kind);
    }
}

/// Near f32, and the same bits alone, in any batch and on any number of threads.
#[test]
fn a_text_has_one_answer_at_each_precision() {
    let tolerance = |precision| if precision == Precision::Int8 { 0.2 } else { 0.05 };
    for precision in Precision::available().filter(|&one| one != Precision::F32) {
        for (kind, config) in kinds() {
            let drawn = kinds::parameters(&config, 2);
            let packed = Classifier::packed_at(precision, &config, &drawn).unwrap();
            let lengths = [1, 17, 90, 250];
            let found = flat(&packed.features(&batch(&lengths)).unwrap());
            let exact = Classifier::packed(&config, &drawn).unwrap();
            let exact = flat(&exact.features(&batch(&lengths)).unwrap());
            assert_ne!(found, exact, "{kind}");
            assert_close(&found, &exact, tolerance(precision), kind);
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            let alone = one.install(|| flat(&packed.features(&batch(&lengths)).unwrap()));
            assert_eq!(found, alone, "{kind}");
            // The first text of a batch, of one that is long enough for other tiles.
            let many = flat(&packed.features(&batch(&[1, 300, 299])).unwrap());
            let width = config.hidden_size;
            assert_eq!(found[..width], many[..width], "{kind}");
        }
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn sampled_passes_are_those_of_training_and_of_the_plain_classifier() {
    let mean = config(24, 3, Pooling::Mean, Activation::Gelu);
    for (kind, config) in kinds().into_iter().chain([("mean", mean)]) {
        let drawn = kinds::parameters(&config, 3);
        let plain = Classifier::new(&config, &drawn);
        let packed = Classifier::packed(&config, &drawn).unwrap();
        let batch = batch(&[1, 17, 40]);
        let sampling = |layers| DropoutPasses { samples: 3, layers, noise: Noise::new(8) };
        let whole = packed.sampled(&batch, &sampling(0)).unwrap();
        assert_eq!(whole.dims(), [3, 3, 24]);
        // As many layers as there are is all of them; one keeps the lower ones as they are.
        let all = sampling(config.num_hidden_layers);
        assert_eq!(flat(&whole), flat(&packed.sampled(&batch, &all).unwrap()));
        let top = packed.sampled(&batch, &sampling(1)).unwrap();
        // The only layer is all of them too.
        assert_eq!(flat(&whole) == flat(&top), config.num_hidden_layers == 1, "{kind}");
        for (layers, found) in [(0, &whole), (1, &top)] {
            let expected = plain.sampled(&batch, &sampling(layers)).unwrap();
            assert_close(&flat(found), &flat(&expected), 2e-5, kind);
        }
        // The second pass of the whole is a training pass with the same noise.
        let source = DropoutSource { noise: Noise::new(8), step: 1 };
        let expected = plain.logits(&batch.by_text(), Some(&source)).unwrap();
        let second = whole.narrow(1, 1, 1).unwrap().squeeze(1).unwrap().contiguous().unwrap();
        let (weight, bias) = packed.last_layer();
        let found = crate::compute::ops::row_linear(&second, weight, bias).unwrap();
        assert_close(&flat(&found), &flat(&expected), 2e-5, kind);
    }
}

#[test]
fn a_text_has_the_same_passes_alone_and_in_any_batch() {
    let config = config(24, 3, Pooling::Auto, Activation::Gelu);
    let fresh = Parameters::fresh(&config, &Noise::new(4), &Backend::Cpu).unwrap();
    let packed = Classifier::packed(&config, &fresh).unwrap();
    let sampling = DropoutPasses { samples: 4, layers: 1, noise: Noise::new(0) };
    let text = |row| Sequence { ids: vec![1, 5, 9, 2], type_ids: vec![], row };
    let other = Sequence { ids: vec![1, 7, 2], type_ids: vec![], row: 5 };
    let alone = packed.sampled(&Packed::new([text(0)]), &sampling).unwrap();
    let both = packed.sampled(&Packed::new([other, text(1)]), &sampling).unwrap();
    let second = both.narrow(0, 1, 1).unwrap();
    assert_eq!(flat(&alone), flat(&second));
    let samples: Vec<Vec<f32>> = flat(&alone).chunks(24).map(<[f32]>::to_vec).collect();
    assert!(samples.windows(2).all(|pair| pair[0] != pair[1]), "every pass has its own noise");
}
