//! Gradients against finite differences, variances of the logits against laplace-torch, and the factors against
//! what they stand for.

use candle_core::{Device, Tensor};
use serde::Deserialize;

use super::curvature::{Factors, directions};
use super::*;
use crate::compute::{Backend, Packed, Purpose};
use crate::method::PosteriorConfig;
use crate::model::{Classifier, Parameters, Pooling, Sizes};
use crate::posterior::Deviation;
use crate::posterior::algebra::Matrix;
use crate::posterior::softmax;

/// Of laplace-torch, see `tests/python/golden_lora_laplace.py`.
#[derive(Deserialize)]
struct Golden {
    weights: BTreeMap<String, Weight>,
    ids: Vec<Vec<u32>>,
    prior_precision: f64,
    rank: usize,
    logits: Vec<Vec<f64>>,
    covariance: Vec<Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
struct Weight {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// A whole network: of two layers, or that of the golden file.
struct Toy {
    config: EncoderConfig,
    parameters: Parameters,
}

fn config(layers: usize, sizes: [usize; 4]) -> EncoderConfig {
    let [width, wide, vocabulary, positions] = sizes;
    let sizes = Sizes {
        num_hidden_layers: layers,
        hidden_size: width,
        num_attention_heads: 2,
        intermediate_size: wide,
    };
    let mut config = EncoderConfig::from_scratch(sizes, vocabulary, positions).unwrap();
    config.labels = ["a", "b", "c"].map(str::to_owned).to_vec();
    config
}

fn toy(pooling: Pooling) -> Toy {
    let config = EncoderConfig { pooling, initializer_range: 0.4, ..config(2, [8, 12, 20, 16]) };
    let parameters = Parameters::fresh(&config, &Noise::new(3), &Backend::Cpu).unwrap();
    Toy { config, parameters }
}

fn text(ids: &[u32]) -> Sequence {
    Sequence { ids: ids.to_vec(), type_ids: vec![0; ids.len()], row: 0 }
}

impl Toy {
    fn adapters(&self, lowest: usize, rank: usize) -> BTreeMap<String, Adapter> {
        let all = specifications(&self.config);
        let used = |name: &str| all.iter().any(|one| one.used && one.name == name);
        Adapter::all(&self.parameters, used, lowest, rank).unwrap()
    }

    fn logits(&self, parameters: &Parameters, text: &Sequence) -> Vec<f64> {
        let classifier = Classifier::new(&self.config, parameters);
        let logits = classifier.logits(&Packed::new([text.clone()]), None).unwrap();
        logits.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect()
    }

    /// The gradient of each logit of a text over all adapters, `[c, P]`.
    fn jacobian(
        &self,
        adapters: &BTreeMap<String, Adapter>,
        lowest: usize,
        text: &Sequence,
    ) -> Matrix {
        let mut gradients = Gradients::new(&self.config, &self.parameters, lowest).unwrap();
        let lines: Vec<_> = (0..3)
            .map(|class| {
                let direction_c: Vec<f64> = (0..3).map(|c| f64::from(c == class)).collect();
                let found = gradients.of(text, &direction_c).unwrap();
                let of_one = |(name, adapter): (&String, &Adapter)| {
                    adapter.gradient(&found[name]).transpose().iter().copied().collect::<Vec<_>>()
                };
                nalgebra::RowDVector::from_vec(adapters.iter().flat_map(of_one).collect())
            })
            .collect();
        Matrix::from_rows(&lines)
    }
}

/// diag(p) − p pᵀ.
fn curvature(probability_c: &[f64]) -> Matrix {
    let p = nalgebra::DVector::from_column_slice(probability_c);
    Matrix::from_diagonal(&p) - &p * p.transpose()
}

#[test]
fn directions_add_up_to_the_curvature_of_the_softmax() {
    for probability_c in
        [vec![0.3, 0.7], vec![0.2, 0.5, 0.3], vec![0.05, 0.4, 0.25, 0.1, 0.15, 0.05]]
    {
        let (size, draws) = (probability_c.len(), 4000);
        let mut sum = Matrix::zeros(size, size);
        for draw in 0..draws {
            let uniform = (f64::from(draw) + 0.5) / f64::from(draws);
            for u in directions(&probability_c, uniform) {
                let u = nalgebra::DVector::from_vec(u);
                sum += &u * u.transpose() / f64::from(draws);
            }
        }
        let error = (sum - curvature(&probability_c)).amax();
        assert!(error < if size > 4 { 1e-3 } else { 1e-12 }, "{size} classes: {error}");
    }
    assert!(directions(&[0.0, 1.0, 0.0, 0.0, 0.0], 0.5).len() == 1);
}

/// The difference of the logits when V moves, over that of V, for a pooler and for the mean of the tokens.
#[test]
fn gradients_are_those_of_finite_differences() {
    for pooling in [Pooling::Auto, Pooling::Mean] {
        let toy = toy(pooling);
        let adapters = toy.adapters(1, 3);
        let pooled = usize::from(pooling == Pooling::Auto);
        assert_eq!(adapters.len(), 5 + pooled, "{:?}", adapters.keys());
        let text = text(&[2, 7, 1, 7, 11]);
        let jacobian = toy.jacobian(&adapters, 1, &text);
        let mut place = 0;
        for (number, (name, adapter)) in (0..).zip(&adapters) {
            let count = adapter.shape[0] * adapter.shape[1];
            let mut stream = Noise::new(5).stream(Purpose::Weights, number, 0);
            let along: Vec<f64> = (0..count).map(|_| stream.normal()).collect();
            let step = 1e-2;
            let moved = |sign: f64| {
                // V row by row; the file has V of `Up` transposed.
                let v_wr = Matrix::from_row_slice(adapter.shape[0], adapter.shape[1], &along)
                    * (sign * step);
                let (fixed, drawn) = product(adapter, &v_wr);
                let top = TopLayers {
                    samples: 1,
                    layers: 1,
                    all: 2,
                    deviations: [(name.clone(), Deviation::Product { fixed, drawn })].into(),
                };
                toy.logits(&top.sample(0, &toy.parameters).unwrap(), &text)
            };
            let (up, down) = (moved(1.0), moved(-1.0));
            for class in 0..3 {
                let found = (up[class] - down[class]) / (2.0 * step);
                let line = jacobian.row(class);
                let expected: f64 = (0..count).map(|i| line[place + i] * along[i]).sum();
                let error = (found - expected).abs();
                assert!(error < 2e-3 * (1.0 + expected.abs()), "{name}: {found}, {expected}");
            }
            place += count;
        }
    }
}

fn product(adapter: &Adapter, v_wr: &Matrix) -> (crate::posterior::Fixed, Vec<f32>) {
    use super::adapters::Side;
    use crate::posterior::Fixed;
    let rows = |matrix: &Matrix| -> Vec<f32> {
        matrix.transpose().iter().map(|&value| value as f32).collect()
    };
    match &adapter.side {
        Side::Down(a_ri) => (Fixed::Down(rows(a_ri)), rows(v_wr)),
        Side::Up(b_or) => (Fixed::Up(rows(b_or)), rows(&v_wr.transpose())),
        Side::Whole => (Fixed::Neither, rows(v_wr)),
    }
}

/// The covariance of the logits J (H + δ)⁻¹ Jᵀ, with H over all adapters together.
#[test]
fn variances_of_the_logits_are_those_of_laplace_torch() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../../tests/fixtures/lora_laplace.json")).unwrap();
    let config = EncoderConfig { pooling: Pooling::Mean, ..config(1, [4, 6, 12, 8]) };
    let tensor = |(name, weight): (&String, &Weight)| {
        let values = Tensor::from_slice(&weight.values, weight.shape.as_slice(), &Device::Cpu);
        (name.clone(), values.unwrap())
    };
    let parameters =
        Parameters::from_map(golden.weights.iter().map(tensor).collect(), &Backend::Cpu);
    let toy = Toy { config, parameters };
    let adapters = toy.adapters(0, golden.rank);
    let texts: Vec<Sequence> = golden.ids.iter().map(|ids| text(ids)).collect();
    let jacobians: Vec<Matrix> =
        texts.iter().map(|text| toy.jacobian(&adapters, 0, text)).collect();
    let size = jacobians[0].ncols();
    let mut precision = Matrix::identity(size, size) * golden.prior_precision;
    for (text, jacobian) in texts.iter().zip(&jacobians) {
        let p = softmax(&toy.logits(&toy.parameters, text), 1.0);
        for u in directions(&p, 0.5) {
            let along = jacobian.tr_mul(&nalgebra::DVector::from_vec(u));
            precision.ger(1.0, &along, &along, 1.0);
        }
    }
    let inverse = precision.try_inverse().unwrap();
    for (row, expected) in golden.covariance.iter().enumerate() {
        let logits = toy.logits(&toy.parameters, &texts[row]);
        for (found, expected) in logits.iter().zip(&golden.logits[row]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
        let found = &jacobians[row] * &inverse * jacobians[row].transpose();
        for (k, line) in expected.iter().enumerate() {
            for (l, &expected) in line.iter().enumerate() {
                let error = (found[(k, l)] - expected).abs();
                assert!(error < 1e-4 * (1.0 + expected.abs()), "{} {expected}", found[(k, l)]);
            }
        }
    }
}

/// The factors that the fit adds up, against the gradients of rows one by one; the sum of all classes.
#[test]
fn factors_are_sums_over_rows_and_keep_the_trace() {
    let toy = toy(Pooling::Auto);
    let adapters = toy.adapters(1, 2);
    let texts = [&[2, 7, 1][..], &[3, 3, 9, 14], &[5]].map(text);
    let mut gradients = Gradients::new(&toy.config, &toy.parameters, 1).unwrap();
    let weighted = texts.iter().cloned().map(|text| (text, 2.0));
    let found = factors(&mut gradients, &adapters, weighted, &Noise::new(0)).unwrap();
    let mut start = 0;
    for (name, adapter) in &adapters {
        let [wide, narrow] = adapter.shape;
        let (mut of_wide, mut of_narrow) =
            (Matrix::zeros(wide, wide), Matrix::zeros(narrow, narrow));
        for text in &texts {
            let jacobian = toy.jacobian(&adapters, 1, text);
            let p = softmax(&toy.logits(&toy.parameters, text), 1.0);
            for u in directions(&p, 0.5) {
                let along = jacobian.tr_mul(&nalgebra::DVector::from_vec(u));
                let own: Vec<f64> = along.iter().skip(start).take(wide * narrow).copied().collect();
                let own = Matrix::from_row_slice(wide, narrow, &own);
                of_wide += 2.0 * &own * own.transpose();
                of_narrow += 2.0 * own.transpose() * &own;
            }
        }
        let Factors { wide: found_wide, narrow: found_narrow } = &found[name];
        let near = |found: &Matrix, expected: &Matrix| {
            (found - expected).amax() < 1e-3 * (1e-3 + expected.amax())
        };
        assert!(near(found_wide, &of_wide) && near(found_narrow, &of_narrow), "{name}");
        start += wide * narrow;
    }
}

/// Samples have the covariance (G ⊗ R / tr + κ δ)⁻¹, and a gradient of rank one is no approximation.
#[test]
fn samples_have_the_covariance_of_the_factors() {
    let mut stream = Noise::new(8).stream(Purpose::Weights, 0, 0);
    let weight = Matrix::from_fn(3, 4, |_, _| stream.normal());
    let adapter = Adapter::of(&weight, 2);
    assert_eq!(adapter.shape, [3, 2]);
    let (a, b) = ([1.0, -2.0, 0.5], [0.3, 0.8]);
    let outer = Matrix::from_fn(3, 2, |i, j| a[i] * b[j]);
    let factors = Factors { wide: &outer * outer.transpose(), narrow: outer.transpose() * &outer };
    let gaussian = Gaussian::new(&adapter, factors);
    let factor = 2.0;
    let flat = nalgebra::DVector::from_fn(6, |i, _| outer[(i / 2, i % 2)]);
    let prior = factor * gaussian.prior_precision;
    let exact = (&flat * flat.transpose() + Matrix::identity(6, 6) * prior).try_inverse().unwrap();
    let error = (gaussian.covariance(factor) - &exact).amax();
    assert!(error < 1e-9 * exact.amax(), "{error}");
    let draws = 40_000;
    let mut found = Matrix::zeros(6, 6);
    for _ in 0..draws {
        let sample = gaussian.sample(factor, || stream.normal());
        let flat = nalgebra::DVector::from_fn(6, |i, _| sample[(i / 2, i % 2)]);
        found.ger(1.0 / f64::from(draws), &flat, &flat, 1.0);
    }
    assert!((found - &exact).amax() < 0.05 * exact.amax());
}

/// MacKay's fixed point, by its own equation; rows that say nothing leave the prior narrow.
#[test]
fn the_evidence_chooses_the_prior_of_each_weight() {
    let weight = Matrix::from_fn(4, 4, |i, j| if i == j { 2.0 - 0.4 * i as f64 } else { 0.0 });
    let adapter = Adapter::of(&weight, 2);
    assert!((adapter.norm - (4.0 + 1.6 * 1.6)).abs() < 1e-9, "{}", adapter.norm);
    let vector = nalgebra::DVector::from_column_slice;
    let of = |size: f64| {
        let factors = Factors {
            wide: Matrix::from_diagonal(&vector(&[size, 0.5 * size, 0.1 * size, 0.0])),
            narrow: Matrix::from_diagonal(&vector(&[size, 0.6 * size])),
        };
        Gaussian::new(&adapter, factors)
    };
    let much = of(1000.0);
    let gamma = much.effective_parameters;
    assert!((gamma / adapter.norm / much.prior_precision - 1.0).abs() < 2e-3);
    assert!(gamma > 4.0 && gamma < 8.0, "{gamma}");
}

#[test]
fn numbers_that_cannot_be_are_refused_by_their_key() {
    let own = LoraLaplace::default();
    assert!(PosteriorConfig::from(Method::LoraLaplace).check().is_ok());
    for (wrong, key) in [
        (LoraLaplace { num_samples: 1, ..own }, "num_samples"),
        (LoraLaplace { num_samples: 1_000_000, ..own }, "num_samples"),
        (LoraLaplace { adapter_rank: 0, ..own }, "adapter_rank"),
        (LoraLaplace { adapter_rank: 65, ..own }, "adapter_rank"),
    ] {
        let message = wrong.check().unwrap_err();
        assert!(message.starts_with(&format!("`posterior.{key}` is ")), "{message}");
    }
    assert_eq!(rows_of(10, 4), [0, 2, 5, 7]);
    assert_eq!(rows_of(3, 0), [0, 1, 2]);
}
