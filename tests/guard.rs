//! The gradient guard and the loop, on a tiny model.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

use std::collections::BTreeMap;

use bayes::compute::ops::{add_layer_norm, cross_entropy};
use bayes::compute::{Backend, Noise, Packed, Sequence};
use bayes::model::{Classifier, DropoutSource, EncoderConfig, Parameters, Sizes, specifications};
use bayes::train::{Gradients, Guard, TrainError};
use candle_core::{Device, Tensor, Var};

fn tiny() -> (EncoderConfig, Parameters) {
    let sizes = Sizes {
        num_hidden_layers: 2,
        hidden_size: 16,
        num_attention_heads: 2,
        intermediate_size: 32,
    };
    let mut config = EncoderConfig::from_scratch(sizes, 20, 16).unwrap();
    config.labels = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let parameters = Parameters::fresh(&config, &Noise::new(1), &Backend::Cpu).unwrap();
    (config, parameters)
}

fn batch() -> Packed {
    Packed::new([
        Sequence { ids: vec![2, 5, 6, 3], type_ids: vec![0, 0, 1, 1], row: 0 },
        Sequence { ids: vec![2, 9, 3], type_ids: vec![], row: 1 },
    ])
}

#[test]
fn every_trained_parameter_has_a_gradient() {
    let (config, parameters) = tiny();
    let (variables, shared) = parameters.variables(&specifications(&config)).unwrap();
    let source = DropoutSource { noise: Noise::new(3), step: 0 };
    let logits = Classifier::new(&config, &shared).logits(&batch(), Some(&source)).unwrap();
    let loss = cross_entropy(&logits, &[2, 0], &[1.0, 1.0], 0.0, 2.0).unwrap();
    let mut gradients = Gradients::default();
    gradients.add(&variables, &loss.backward().unwrap()).unwrap();
    assert_eq!(variables.len(), specifications(&config).len());
    assert_eq!(gradients.not_finite(), None);
    let mut guard = Guard::new(&specifications(&config));
    for step in 1..20 {
        assert!(guard.watch(step, &specifications(&config), &gradients).unwrap().is_empty());
    }
    let silent = guard.watch(20, &specifications(&config), &gradients).unwrap();
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn a_parameter_whose_gradient_stays_zero_is_named() {
    let (config, parameters) = tiny();
    let (variables, shared) = parameters.variables(&specifications(&config)).unwrap();
    // The gradient of a weighted sum of the features leaves the last layer out; the loss still
    // touches it, times zero.
    let classifier = Classifier::new(&config, &shared);
    let features = classifier.features(&batch()).unwrap();
    let logits = classifier.logits(&batch(), None).unwrap();
    let loss = (features.sqr().unwrap().sum_all().unwrap()
        + (&logits * logits.zeros_like().unwrap()).unwrap().sum_all().unwrap())
    .unwrap();
    let mut gradients = Gradients::default();
    gradients.add(&variables, &loss.backward().unwrap()).unwrap();
    let mut guard = Guard::new(&specifications(&config));
    let silent = guard.watch(20, &specifications(&config), &gradients).unwrap();
    assert_eq!(silent, ["classifier.bias", "classifier.weight"]);
}

/// Candle's fused layer norm in the place of ours: the loss would still fall, for the head learns.
#[test]
#[expect(clippy::disallowed_methods, reason = "the trap itself is what is tested")]
fn an_operation_without_backward_pass_makes_the_guard_fire() {
    let weight =
        Var::from_tensor(&Tensor::new(&[[0.3f32, -0.2], [0.1, 0.4]], &Device::Cpu).unwrap());
    let gamma_beta = Tensor::new(&[[1f32, 1.0], [0.0, 0.0]], &Device::Cpu).unwrap();
    let x = Tensor::new(&[[1f32, 2.0], [3.0, -1.0]], &Device::Cpu).unwrap();
    let weight = weight.unwrap();
    let variables = BTreeMap::from([("encoder.weight".to_owned(), weight.clone())]);
    let loss = |normed: Tensor| normed.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    let hidden = x.matmul(weight.as_tensor()).unwrap();

    let ours = add_layer_norm(&hidden, None, &gamma_beta, 1e-5).unwrap();
    Gradients::default().add(&variables, &loss(ours)).unwrap();

    let (gamma, beta) = (gamma_beta.get(0).unwrap(), gamma_beta.get(1).unwrap());
    let theirs = candle_nn::ops::layer_norm(&hidden, &gamma, &beta, 1e-5).unwrap();
    let error = Gradients::default().add(&variables, &loss(theirs)).unwrap_err();
    assert!(matches!(&error, TrainError::NoGradient { name } if name == "encoder.weight"));
    assert!(error.to_string().contains("`encoder.weight` has no gradient"), "{error}");
}
