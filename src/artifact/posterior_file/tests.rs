//! What is written is read again, and what no fit writes is refused by its name.

mod top_layers;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, TensorView};

use super::*;
use crate::compute::{Backend, Noise, Purpose};
use crate::model::HiddenStates;
use crate::posterior::{
    Basis, Classwise, Common, Covariance, Deviation, Difference, Dropout, Fixed, FourierLayer,
    FourierMap, Full, Kronecker, Learned, Link, LowRank, MOST_MEMBERS, MOST_SAMPLES, Passes, Root,
    Scaling, Spread, TopLayers, VectorScaling,
};

fn floats(count: usize, seed: u64) -> Vec<f32> {
    let mut stream = Noise::new(seed).stream(Purpose::Init, 0, 0);
    (0..count).map(|_| stream.normal() as f32).collect()
}

fn read(
    bytes: Vec<u8>,
    weight_cd: &Tensor,
    choice: LinkChoice,
) -> Result<Posterior, ArtifactError> {
    let last = [("classifier.weight", weight_cd.clone()), ("classifier.bias", bias_of(weight_cd))];
    let last = last.map(|(name, tensor)| (name.to_owned(), tensor));
    let parameters = Parameters::from_map(last.into(), &Backend::Cpu);
    let file = File { path: "posterior.safetensors".into(), bytes };
    read_posterior(&file, &parameters, Task::SingleLabel, choice)
}

fn bias_of(weight_cd: &Tensor) -> Tensor {
    Tensor::zeros(weight_cd.dim(0).unwrap(), candle_core::DType::F32, &Device::Cpu).unwrap()
}

fn posterior(weight_cd: &Tensor, spread: Spread, choice: LinkChoice) -> Posterior {
    Posterior::new(Task::SingleLabel, weight_cd.clone(), bias_of(weight_cd), spread, choice)
}

/// All but the mean, which is in no file of ours.
fn written_part(one: Posterior) -> (Spread, Link, Scaling) {
    (one.spread, one.link, one.scaling)
}

#[test]
fn a_number_that_no_fit_gives_is_refused_by_name() {
    let weight_cd = Tensor::zeros((2, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
    let message = |change: &dyn Fn(&mut Scaling)| {
        let vector = VectorScaling { weight_c: vec![1.0; 2], bias_c: vec![0.0; 2] };
        let mut scaling = Scaling { vector: Some(Arc::new(vector)), ..Scaling::default() };
        change(&mut scaling);
        let point = Spread::LastLayer(Covariance::Zero);
        let written = Posterior { scaling, ..posterior(&weight_cd, point, LinkChoice::Qmc) };
        read(posterior_file(&written, None), &weight_cd, LinkChoice::Qmc)
            .map_err(|error| error.to_string())
    };
    assert!(message(&|_| ()).is_ok());
    let vector = |weight, bias| {
        move |one: &mut Scaling| {
            let (weight_c, bias_c) = (vec![weight; 2], vec![bias; 2]);
            one.vector = Some(Arc::new(VectorScaling { weight_c, bias_c }));
        }
    };
    for (name, change) in [
        ("`scale`", &(|one: &mut Scaling| one.scale = 1e308) as &dyn Fn(&mut Scaling)),
        ("`scale`", &|one: &mut Scaling| one.scale = -1.0),
        ("`temperature`", &|one: &mut Scaling| one.temperature = 1e-308),
        ("`temperature`", &|one: &mut Scaling| one.temperature = 1e308),
        ("`temperature`", &|one: &mut Scaling| one.temperature = 0.0),
        ("`vector.weight`", &vector(1e300, 0.0)),
        ("`vector.bias`", &vector(1.0, -1e300)),
    ] {
        let error = message(change).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
}

fn every_covariance(classes: usize, weight_cd: &Tensor) -> Vec<Covariance> {
    let d = weight_cd.dim(1).unwrap();
    let root = |size: usize| Root { values: floats(size * size, 1), size };
    let kronecker = Kronecker {
        feature_rows: floats((d + 1) * (d + 1), 2),
        variance_ji: floats((classes - 1) * (d + 1), 3).iter().map(|x| x * x).collect(),
        basis: Arc::new(Basis::new(floats(classes * (classes - 1), 4), classes - 1)),
    };
    let dropout = Dropout::new(0.1, weight_cd).unwrap();
    let low_rank = LowRank {
        variance_ki: floats(classes * (d + 1), 5).iter().map(|x| x * x).collect(),
        direction_rki: floats(3 * classes * (d + 1), 6),
        classes,
    };
    let mut all = vec![Covariance::Zero, Covariance::Dropout(dropout)];
    all.push(Covariance::LowRank(low_rank));
    for rank in [0, 2] {
        all.push(Covariance::Classwise(Classwise {
            variance_ki: floats(classes * (d + 1), 7).iter().map(|x| x * x).collect(),
            direction_kri: floats(rank * classes * (d + 1), 8),
            classes,
        }));
    }
    all.push(Covariance::Common(Common { root: root(d + 1), classes }));
    let log_variance_ki = floats(classes * (d + 1), 10);
    all.push(Covariance::Learned(Learned { log_variance_ki, classes }));
    if classes == 2 {
        all.push(Covariance::Difference(Difference(root(d + 1))));
    } else {
        all.push(Covariance::Full(Full { root: root((classes - 1) * (d + 1)), classes }));
        all.push(Covariance::Kronecker(kronecker));
    }
    all
}

#[test]
fn what_is_written_is_read_again() {
    for classes in [2, 4] {
        let weight = floats(classes * 5, 9);
        let weight_cd = Tensor::from_vec(weight, (classes, 5), &Device::Cpu).unwrap();
        for covariance in every_covariance(classes, &weight_cd) {
            let weight_c = vec![0.7; classes];
            let vector = VectorScaling { weight_c, bias_c: vec![0.25; classes] };
            let vector = (classes == 4).then(|| Arc::new(vector));
            let scaling = Scaling { temperature: 1.3, scale: 0.4, vector };
            let spread = Spread::LastLayer(covariance);
            let written = Posterior { scaling, ..posterior(&weight_cd, spread, LinkChoice::Mf2) };
            let bytes = posterior_file(&written, Some(0.25));
            assert_eq!(bytes, posterior_file(&written, Some(0.25)), "the same bytes");
            let found = read(bytes, &weight_cd, LinkChoice::Mf2).unwrap();
            assert_eq!(written_part(found), written_part(written));
        }
        for passes in [Passes::Dropout { samples: 10, layers: 2 }, Passes::Members(5)] {
            let written = posterior(&weight_cd, Spread::Passes(passes), LinkChoice::Qmc);
            let found = read(posterior_file(&written, None), &weight_cd, LinkChoice::Qmc).unwrap();
            assert_eq!(written_part(found), written_part(written));
        }
    }
}

/// The layer on random features, whose covariance is as wide as they are many.
fn with_fourier(classes: usize, width: usize, features: usize) -> (Tensor, Posterior) {
    let tensor = |shape: (usize, usize), seed| {
        Tensor::from_vec(floats(shape.0 * shape.1, seed), shape, &Device::Cpu).unwrap()
    };
    let weight_cd = tensor((classes, width), 1);
    let mean_cr = tensor((classes, features), 2);
    let map = FourierMap::new(&Noise::new(3), features, width, 2.5);
    let layer = FourierLayer { map, mean_c: bias_of(&mean_cr), mean_cr };
    let size = features + 1;
    let root = Root { values: floats(size * size, 4), size };
    let spread = Spread::LastLayer(Covariance::Common(Common { root, classes }));
    let posterior = posterior(&weight_cd, spread, LinkChoice::Qmc);
    (weight_cd, Posterior { fourier: Some(Arc::new(layer)), ..posterior })
}

#[test]
fn a_layer_on_random_features_predicts_the_same_when_it_is_read() {
    for classes in [2, 4] {
        let (weight_cd, written) = with_fourier(classes, 5, 12);
        let bytes = posterior_file(&written, None);
        let found = read(bytes.clone(), &weight_cd, LinkChoice::Qmc).unwrap();
        assert_eq!(posterior_file(&found, None), bytes);
        let feature_nd = floats(5 * 3, 6);
        assert_eq!(found.logits(&feature_nd).unwrap(), written.logits(&feature_nd).unwrap());
        let mean = found.mean_logits(&feature_nd).unwrap();
        let around = found.around(&mean, &feature_nd).unwrap();
        assert_eq!(around, written.logits(&feature_nd).unwrap(), "in two steps");
        let at_mean = found.at_mean().logits(&feature_nd).unwrap();
        assert!(at_mean.iter().zip(&around).all(|(a, b)| a.mean() == b.mean()));
        assert_eq!((found.width(), found.weights()), (5, 13 * classes));
        assert_eq!(found.last_layer_is(), "stand-in");
    }
}

#[test]
fn a_layer_on_random_features_of_another_shape_is_refused_by_name() {
    let (_, written) = with_fourier(4, 5, 12);
    let message = |classes, width| {
        let weight_cd = Tensor::zeros((classes, width), candle_core::DType::F32, &Device::Cpu);
        let found = read(posterior_file(&written, None), &weight_cd.unwrap(), LinkChoice::Qmc);
        found.unwrap_err().to_string()
    };
    assert!(message(4, 6).contains("`fourier.frequencies` is not f32 [n, 6]"), "{}", message(4, 6));
    assert!(message(3, 5).contains("`fourier.weight` is not f32 [3, 12]"), "{}", message(3, 5));
}

/// A layer on two hidden states and φ; on random features of them where there are some.
fn with_states(classes: usize, width: usize, features: Option<usize>) -> (Tensor, Posterior) {
    let wide = 3 * width;
    let tensor = |shape: (usize, usize), seed| {
        Tensor::from_vec(floats(shape.0 * shape.1, seed), shape, &Device::Cpu).unwrap()
    };
    let (weight_cd, weight_ce) = (tensor((classes, width), 1), tensor((classes, wide), 2));
    let size = features.unwrap_or(wide) + 1;
    let root = Root { values: floats(size * size, 4), size };
    let spread = Spread::LastLayer(Covariance::Common(Common { root, classes }));
    let mut own = posterior(&weight_ce, spread, LinkChoice::Qmc);
    if let Some(features) = features {
        let mean_cr = tensor((classes, features), 2);
        let map = FourierMap::new(&Noise::new(3), features, wide, 2.5);
        let layer = FourierLayer { map, mean_c: bias_of(&mean_cr), mean_cr };
        own = Posterior { fourier: Some(Arc::new(layer)), ..own };
    }
    let states = HiddenStates::new([1, 4]).unwrap();
    let last = [weight_cd.clone(), bias_of(&weight_cd)];
    (weight_cd, own.wide(states, last))
}

#[test]
fn a_layer_on_hidden_states_predicts_the_same_when_it_is_read() {
    for (classes, features) in [(2, None), (4, None), (4, Some(12))] {
        let (weight_cd, written) = with_states(classes, 5, features);
        let bytes = posterior_file(&written, None);
        let found = read(bytes.clone(), &weight_cd, LinkChoice::Qmc).unwrap();
        assert_eq!(posterior_file(&found, None), bytes);
        let feature_ne = floats(15 * 3, 6);
        assert_eq!(found.logits(&feature_ne).unwrap(), written.logits(&feature_ne).unwrap());
        assert_eq!((found.width(), found.states().words().as_str()), (5, "1 and 4"));
        assert_eq!(found.weights(), (features.unwrap_or(15) + 1) * classes);
        assert_eq!(found.last_layer_is(), "stand-in");
        let at_mean = found.at_mean().logits(&feature_ne).unwrap();
        assert!(
            at_mean
                .iter()
                .zip(found.logits(&feature_ne).unwrap())
                .all(|(a, b)| a.mean() == b.mean())
        );
    }
}

/// What is done to a file.
type Change<'a> = &'a dyn Fn(&mut Tensors);

#[test]
fn hidden_states_that_no_fit_writes_are_refused_by_name() {
    let (weight_cd, written) = with_states(3, 5, None);
    let message = |change: &dyn Fn(&mut Tensors)| {
        let mut tensors = Tensors::default();
        written.put(&mut tensors);
        change(&mut tensors);
        let found = read(tensors.to_bytes(), &weight_cd, LinkChoice::Qmc);
        found.map(|_| ()).map_err(|error| error.to_string())
    };
    assert!(message(&|_| ()).is_ok());
    let states =
        |numbers: &'static [f64]| move |one: &mut Tensors| one.put_f64("wide.states", numbers);
    for (numbers, words) in [
        (&[][..], "`wide.states` is empty"),
        (&[1.0, 1.0], "is there twice"),
        (&[1.0, 64.0], "`wide.states` holds 64"),
        (&[1.0, -1.0], "`wide.states` holds -1"),
        (&[1.0, f64::NAN], "`wide.states` holds NaN"),
        (&[1.5, 2.0], "`wide.states` holds 1.5"),
        (&[1.0, 2.0, 3.0], "`wide.weight` is not f32 [3, 20]"),
    ] {
        let message = message(&states(numbers)).unwrap_err();
        assert!(message.contains(words), "{words}: {message}");
    }
    let wrong: [(Change<'_>, &str); 3] = [
        (
            &|one| one.put_f32("wide.weight", &[2, 15], &[0.0; 30]),
            "`wide.weight` is not f32 [3, 15]",
        ),
        (&|one| one.put_f32("wide.bias", &[1, 2], &[0.0; 2]), "`wide.bias` is not f32 [1, 3]"),
        (&|one| one.put_f64("passes.samples", &[2.0]), "`passes.layers` is missing"),
    ];
    for (change, words) in wrong {
        let message = message(change).unwrap_err();
        assert!(message.contains(words), "{words}: {message}");
    }
    let passes = |one: &mut Tensors| {
        one.put_f64("passes.samples", &[2.0]);
        one.put_f64("passes.layers", &[0.0]);
    };
    assert!(message(&passes).unwrap_err().contains("`wide.states` exclude each other"));
    // A layer that reads hidden states, and none on them.
    let (_, plain) = with_states(3, 5, Some(12));
    let mut tensors = Tensors::default();
    plain.at_mean().put(&mut tensors);
    tensors.put_f32("wide.weight", &[3, 15], &[0.0; 45]);
    tensors.put_f32("wide.bias", &[1, 3], &[0.0; 3]);
    let both = read(tensors.to_bytes(), &weight_cd, LinkChoice::Qmc).unwrap_err().to_string();
    assert!(both.contains("exclude each other"), "{both}");
    let mut tensors = Tensors::default();
    tensors.put_f64("temperature", &[1.0]);
    tensors.put_f64("scale", &[1.0]);
    tensors.put_f64("wide.states", &[0.0]);
    let none = read(tensors.to_bytes(), &weight_cd, LinkChoice::Qmc).unwrap_err().to_string();
    assert!(none.contains("`wide.weight` is missing"), "{none}");
}

#[test]
fn a_covariance_of_another_shape_is_refused_by_name() {
    let root = Root { values: floats(9, 1), size: 3 };
    let spread = Spread::LastLayer(Covariance::Difference(Difference(root)));
    let weight_cd = Tensor::zeros((2, 7), candle_core::DType::F32, &Device::Cpu).unwrap();
    let written = posterior(&weight_cd, spread, LinkChoice::Qmc);
    let bytes = posterior_file(&written, None);
    let message = read(bytes, &weight_cd, LinkChoice::Qmc).unwrap_err().to_string();
    assert!(message.contains("`difference.root` is not f32 [8, 8]"), "{message}");
}

/// Name, type, shape and bytes of a tensor.
type Entry<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

/// A file with these tensors beside a temperature.
fn made(tensors: &[Entry<'_>]) -> Vec<u8> {
    let one = ("temperature", Dtype::F64, vec![1], 1.0_f64.to_le_bytes().to_vec());
    let all = tensors.iter().chain([&one]);
    let views = all.map(|(name, kind, shape, bytes)| {
        (*name, TensorView::new(*kind, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

fn doubles<'a>(name: &'a str, values: &[f64]) -> Entry<'a> {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    (name, Dtype::F64, vec![values.len()], bytes)
}

fn singles<'a>(name: &'a str, shape: &[usize], value: f32) -> Entry<'a> {
    let bytes = value.to_le_bytes().repeat(shape.iter().product());
    (name, Dtype::F32, shape.to_vec(), bytes)
}

#[test]
fn every_number_is_checked_before_it_is_used() {
    let weight_cd = Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let vector = |weight: [f64; 2], bias: [f64; 2]| {
        vec![doubles("vector.weight", &weight), doubles("vector.bias", &bias)]
    };
    let passes = |samples: f64, layers: f64| {
        vec![doubles("passes.samples", &[samples]), doubles("passes.layers", &[layers])]
    };
    let members = |count: f64| vec![doubles("members", &[count])];
    let root = |shape: &[usize], value| singles("difference.root", shape, value);
    for fine in [
        vec![],
        vector([2.0; 2], [0.1, 0.2]),
        passes(10.0, 0.0),
        members(2.0),
        vec![root(&[4, 4], 1.0)],
        vec![doubles("dropout.rate", &[0.0])],
    ] {
        read(made(&fine), &weight_cd, LinkChoice::Qmc).unwrap();
    }
    for (tensors, words) in [
        (vector([1.0, 2.0], [0.0; 2]), "two factors for two classes"),
        (vector([f64::NAN; 2], [0.0; 2]), "`vector.weight` is not f64 [2] of finite numbers"),
        (vector([1.0; 2], [0.0, f64::INFINITY]), "`vector.bias` is not f64 [2] of finite"),
        (vec![doubles("scale", &[1.0, 1.0])], "`scale` is not f64 [1]"),
        (vec![doubles("dropout.rate", &[1.0])], "`dropout.rate` is not between"),
        (vec![doubles("dropout.rate", &[-0.1])], "`dropout.rate` is not between"),
        (passes(0.0, 0.0), "`passes.samples` is 0"),
        (passes(2.5, 0.0), "`passes.samples` is not 0 to"),
        (passes(-1.0, 0.0), "`passes.samples` is not 0 to"),
        (passes(MOST_SAMPLES as f64 + 1.0, 0.0), "`passes.samples` is not 0 to"),
        (passes(10.0, 1e6), "`passes.layers` is not 0 to"),
        ([passes(10.0, 0.0), vec![root(&[4, 4], 1.0)]].concat(), "exclude each other"),
        ([passes(10.0, 0.0), members(3.0)].concat(), "exclude each other"),
        ([members(3.0), vec![root(&[4, 4], 1.0)]].concat(), "exclude each other"),
        (members(1.0), "`members` is 1, and an ensemble has 2 at least"),
        (members(1e9), "`members` is not 0 to"),
        (members(MOST_MEMBERS as f64 + 1.0), "`members` is not 0 to"),
        (members(f64::NAN), "`members` is not 0 to"),
        (vec![root(&[4, 3], 1.0)], "`difference.root` is not f32 [4, 4]"),
        (vec![root(&[3, 4], 1.0)], "`difference.root` is not f32 [4, 4]"),
        (vec![root(&[16], 1.0)], "`difference.root` is not f32 [4, 4]"),
        (
            vec![singles("low_rank.variances", &[2, 4], -1.0)],
            "`low_rank.variances` holds a variance below 0",
        ),
        (
            vec![
                singles("low_rank.variances", &[2, 4], 1.0),
                singles("low_rank.directions", &[3, 4], 1.0),
            ],
            "the rows of `low_rank.directions` do not fit 2 classes",
        ),
        (
            vec![singles("classwise.variances", &[2, 4], -1.0)],
            "`classwise.variances` holds a variance below 0",
        ),
        (
            vec![
                singles("classwise.variances", &[2, 4], 1.0),
                singles("classwise.directions", &[3, 4], 1.0),
            ],
            "the rows of `classwise.directions` do not fit 2 classes",
        ),
        (vec![singles("common.root", &[4, 5], 1.0)], "`common.root` is not f32 [4, 4]"),
        (
            vec![singles("learned.log_variances", &[4, 5], 1.0)],
            "`learned.log_variances` is not f32 [2, 4]",
        ),
        (vec![root(&[4, 4], f32::NAN)], "`difference.root` holds a value that is not finite"),
    ] {
        let message = read(made(&tensors), &weight_cd, LinkChoice::Qmc).unwrap_err().to_string();
        assert!(message.contains(words), "{words}: {message}");
    }
}
