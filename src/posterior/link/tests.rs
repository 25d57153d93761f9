use candle_core::{DType, Device, Tensor};

use super::super::logits::{Basis, LogitCovariance, LogitDistribution};
use super::super::{Covariance, Passes, Posterior, Spread};
use super::*;

fn link(width: usize) -> Link {
    let draws = Arc::new(Draws::new(&Noise::new(1), width));
    Link { task: Task::SingleLabel, choice: LinkChoice::Qmc, draws }
}

fn scaling(temperature: f64, scale: f64) -> Scaling {
    Scaling { temperature, scale, vector: None }
}

fn normal(count: usize, seed: u64) -> Vec<f64> {
    let mut stream = Noise::new(seed).stream(Purpose::Bootstrap, 0, 0);
    (0..count).map(|_| stream.normal()).collect()
}

fn rooted(mean_c: Vec<f64>, root_cj: Vec<f64>) -> LogitDistribution {
    LogitDistribution::Gaussian { mean_c, covariance: LogitCovariance::Root(root_cj) }
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn a_point_gives_softmax_and_its_entropy() {
    let point = LogitDistribution::Point(vec![2f64.ln(), 0.0]);
    let predictive = point.predictive(&link(0), &Scaling::default());
    assert!(largest_difference(&predictive.probability_c, &[2.0 / 3.0, 1.0 / 3.0]) < 1e-15);
    let entropy = -(2.0 / 3.0 * (2.0f64 / 3.0).ln() + 1.0 / 3.0 * (1.0f64 / 3.0).ln());
    assert!((predictive.total - entropy).abs() < 1e-15);
    assert_eq!((predictive.aleatoric, predictive.epistemic), (None, None));
}

#[test]
fn extreme_logits_stay_finite() {
    let point = LogitDistribution::Point(vec![5000.0, -5000.0]);
    let predictive = point.predictive(&link(0), &scaling(0.5, 1.0));
    assert_eq!((predictive.probability_c, predictive.total), (vec![1.0, 0.0], 0.0));
    let gaussian = rooted(vec![5000.0, -5000.0, 0.0], normal(6, 2));
    let predictive = gaussian.predictive(&link(2), &Scaling::default());
    assert!(predictive.probability_c[0] > 1.0 - 1e-12 && predictive.total >= 0.0);
}

#[test]
fn without_covariance_every_link_is_softmax() {
    let mean_c = vec![0.3, -1.2, 2.0, 0.0];
    let exact = softmax(&mean_c, 1.7);
    for choice in [LinkChoice::Qmc, LinkChoice::Mf0, LinkChoice::Mf0c, LinkChoice::Mf2] {
        let link = Link { choice, ..link(3) };
        for (covariance, scale) in [(0.0, 1.0), (1.0, 0.0)] {
            let gaussian = rooted(mean_c.clone(), vec![covariance; 12]);
            let predictive = gaussian.predictive(&link, &scaling(1.7, scale));
            assert!(largest_difference(&predictive.probability_c, &exact) < 1e-14, "{choice:?}");
            // A spread of zero is known to be zero; of one that is left out nothing is known.
            match scale {
                0.0 => assert_eq!((predictive.aleatoric, predictive.epistemic), (None, None)),
                _ => assert!(predictive.epistemic.unwrap() < 1e-14),
            }
        }
    }
    let two = LogitDistribution::Gaussian {
        mean_c: vec![0.3, -1.2],
        covariance: LogitCovariance::Difference(0.0),
    };
    let p = two.predictive(&link(0), &scaling(1.7, 1.0)).probability_c;
    assert!(largest_difference(&p, &softmax(&[0.3, -1.2], 1.7)) < 1e-14);
}

/// The table of the specification: MacKay's formula on the variance of the difference.
#[test]
fn the_pairwise_mean_field_of_two_classes_is_mackays_formula() {
    for (m, v) in [(2.0, 8.0), (1.0, 8.0), (4.0, 32.0)] {
        let f: f64 = v;
        let logits = Rooted { mean_k: vec![0.5, 0.5 + m], root_kj: vec![0.0, f.sqrt()] };
        let mackay = 1.0 / (1.0 + (-m / (1.0 + std::f64::consts::PI * v / 8.0).sqrt()).exp());
        assert!((mf2(&logits)[1] - mackay).abs() < 1e-14);
    }
}

/// 200,000 draws; the fixed points are a sample too, so both errors count.
#[test]
fn the_fixed_draws_agree_with_many_random_ones() {
    for (classes, width, seed) in [(4, 3, 1), (20, 19, 2)] {
        let mean_c: Vec<f64> = normal(classes, seed).iter().map(|x| 2.0 * x).collect();
        let root_cj: Vec<f64> = normal(classes * width, seed + 10);
        let found = rooted(mean_c.clone(), root_cj.clone());
        let found = found.predictive(&link(width), &Scaling::default());
        let many = 200_000;
        let mut stream = Noise::new(99).stream(Purpose::Bootstrap, seed, 0);
        let (mut first, mut second) = (vec![0.0; classes], vec![0.0; classes]);
        for _ in 0..many {
            let draw: Vec<f64> = (0..width).map(|_| stream.normal()).collect();
            let logit_c: Vec<f64> = (0..classes)
                .map(|c| {
                    let root = &root_cj[c * width..(c + 1) * width];
                    mean_c[c] + root.iter().zip(&draw).map(|(f, x)| f * x).sum::<f64>()
                })
                .collect();
            for ((p, first), second) in
                softmax(&logit_c, 1.0).iter().zip(&mut first).zip(&mut second)
            {
                *first += p;
                *second += p * p;
            }
        }
        for class in 0..classes {
            let mean = first[class] / f64::from(many);
            let variance = second[class] / f64::from(many) - mean * mean;
            // Antithetic pairs do not make the error of a bounded function larger than twice that
            // of as many independent draws.
            let error = (variance / POINTS as f64 * 2.0).sqrt();
            let difference = (found.probability_c[class] - mean).abs();
            assert!(difference < 4.0 * error, "{class}: {difference} {error}");
        }
    }
}

#[test]
fn a_shared_basis_and_a_root_give_the_same() {
    let (classes, width) = (5, 7);
    let basis_cj: Vec<f32> = normal(classes * width, 3).iter().map(|&x| x as f32).collect();
    let variance_j: Vec<f64> = normal(width, 4).iter().map(|x| x * x).collect();
    let root_cj: Vec<f64> = basis_cj
        .chunks_exact(width)
        .flat_map(|line| line.iter().zip(&variance_j).map(|(&q, v)| f64::from(q) * v.sqrt()))
        .collect();
    let mean_c = normal(classes, 5);
    let shared = LogitDistribution::Gaussian {
        mean_c: mean_c.clone(),
        covariance: LogitCovariance::Shared {
            basis: Arc::new(Basis::new(basis_cj, width)),
            variance_j,
        },
    };
    let root = rooted(mean_c, root_cj);
    for choice in [LinkChoice::Qmc, LinkChoice::Mf0, LinkChoice::Mf0c, LinkChoice::Mf2] {
        let link = Link { choice, ..link(width) };
        let a = shared.predictive(&link, &scaling(1.3, 0.6));
        let b = root.predictive(&link, &scaling(1.3, 0.6));
        assert!(largest_difference(&a.probability_c, &b.probability_c) < 2e-6, "{choice:?}");
        assert!((a.epistemic.unwrap() - b.epistemic.unwrap()).abs() < 2e-6);
    }
}

#[test]
fn independent_logits_and_a_diagonal_root_give_the_same() {
    let classes = 5;
    let variance_c: Vec<f64> = normal(classes, 3).iter().map(|x| x * x).collect();
    let deviation_c: Vec<f64> = variance_c.iter().map(|v| v.sqrt()).collect();
    let mean_c = normal(classes, 5);
    let covariance = LogitCovariance::Diagonal(variance_c);
    let own = LogitDistribution::Gaussian { mean_c: mean_c.clone(), covariance };
    let root = rooted(mean_c, diagonal(&deviation_c));
    let vector = VectorScaling { weight_c: normal(classes, 8), bias_c: normal(classes, 9) };
    for vector in [None, Some(Arc::new(vector))] {
        let scaling = Scaling { vector, ..scaling(1.3, 0.6) };
        for choice in [LinkChoice::Qmc, LinkChoice::Mf0, LinkChoice::Mf0c, LinkChoice::Mf2] {
            let link = Link { choice, ..link(classes) };
            let (a, b) = (own.predictive(&link, &scaling), root.predictive(&link, &scaling));
            let difference = largest_difference(&a.probability_c, &b.probability_c);
            assert!(difference < 1e-13, "{choice:?}: {difference}");
            assert!((a.epistemic.unwrap() - b.epistemic.unwrap()).abs() < 1e-13);
        }
    }
}

#[test]
fn a_common_shift_of_all_logits_changes_no_link_but_mf0() {
    let (mean_c, root_cj) = (normal(4, 6), normal(4 * 3, 7));
    // One more direction that moves all logits alike, and a shift of the mean.
    let shifted: Vec<f64> =
        root_cj.chunks_exact(3).flat_map(|line| [line[0], line[1], line[2], 2.5]).collect();
    let plain = rooted(mean_c.clone(), root_cj);
    let shifted = rooted(mean_c.iter().map(|m| m + 3.0).collect(), shifted);
    let wide = Draws::new(&Noise::new(1), 4);
    // The same draws in the three directions that matter.
    let narrow: Vec<f32> =
        wide.values().chunks_exact(4).flat_map(|line| [line[0], line[1], line[2]]).collect();
    let narrow = Draws::from_values(narrow, 3);
    for choice in [LinkChoice::Qmc, LinkChoice::Mf0c, LinkChoice::Mf2] {
        let link = |draws: &Draws| Link { choice, draws: Arc::new(draws.clone()), ..link(0) };
        let a = plain.predictive(&link(&narrow), &Scaling::default());
        let b = shifted.predictive(&link(&wide), &Scaling::default());
        assert!(largest_difference(&a.probability_c, &b.probability_c) < 1e-12, "{choice:?}");
        assert!((a.epistemic.unwrap() - b.epistemic.unwrap()).abs() < 1e-12);
    }
}

#[test]
fn uncertainty_adds_up_and_information_is_not_negative() {
    for seed in 0..200 {
        let classes = 3 + (seed as usize % 5);
        let width = classes - 1;
        let size = 10f64.powf(normal(1, seed)[0]);
        let root = normal(classes * width, seed + 1).iter().map(|x| size * x).collect();
        let samples = LogitDistribution::Samples { logit_mc: normal(7 * classes, seed), classes };
        let two = LogitDistribution::Gaussian {
            mean_c: normal(2, seed),
            covariance: LogitCovariance::Difference(size),
        };
        for one in [rooted(normal(classes, seed + 2), root), samples, two] {
            let found = one.predictive(&link(width), &scaling(0.8, 1.5));
            let (aleatoric, epistemic) = (found.aleatoric.unwrap(), found.epistemic.unwrap());
            assert!(epistemic >= 0.0 && aleatoric >= 0.0, "{found:?}");
            assert!((aleatoric + epistemic - found.total).abs() < 1e-12);
            assert!((found.total - entropy(&found.probability_c)).abs() < 1e-12);
            assert!((found.probability_c.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn samples_are_averaged_and_their_spread_scales() {
    let samples =
        LogitDistribution::Samples { logit_mc: vec![1.0, 0.0, -1.0, 3.0, 0.0, 1.0], classes: 3 };
    assert_eq!(*samples.mean(), [2.0, 0.0, 0.0]);
    let plain = samples.predictive(&link(0), &Scaling::default());
    let each = [softmax(&[1.0, 0.0, -1.0], 1.0), softmax(&[3.0, 0.0, 1.0], 1.0)];
    let mean: Vec<f64> = each[0].iter().zip(&each[1]).map(|(a, b)| 0.5 * (a + b)).collect();
    assert!(largest_difference(&plain.probability_c, &mean) < 1e-14);
    let none = samples.predictive(&link(0), &scaling(2.0, 0.0));
    assert!(largest_difference(&none.probability_c, &softmax(&[2.0, 0.0, 0.0], 2.0)) < 1e-14);
}

#[test]
fn equal_seeds_give_equal_draws_and_others_differ() {
    let draws = |seed| Draws::new(&Noise::new(seed), 5);
    assert_eq!(draws(1), draws(1));
    assert_ne!(draws(1), draws(2));
    assert_eq!(draws(1).values().len(), POINTS / 2 * 5);
}

/// By hand: logits that were moved and stretched before they came.
#[test]
fn vector_scaling_moves_the_mean_and_stretches_the_covariance() {
    let vector = VectorScaling { weight_c: vec![0.5, 2.0, 1.5], bias_c: vec![0.3, -0.2, 0.1] };
    let with = Scaling { vector: Some(Arc::new(vector.clone())), ..scaling(1.3, 0.6) };
    let without = scaling(1.3, 0.6);
    let mean_c = vec![1.0, -0.5, 0.2];
    let moved_c = vector.apply(&mean_c);
    assert_eq!(moved_c, [0.8, -1.2, 0.4]);
    let basis_cj: Vec<f32> = vec![0.5, -0.2, 0.1, 0.4, -0.6, -0.2];
    let stretched: Vec<f64> =
        basis_cj.iter().enumerate().map(|(i, &x)| f64::from(x) * vector.weight_c[i / 2]).collect();
    let link = link(2);

    let point = |logit_c: &[f64]| LogitDistribution::Point(logit_c.to_vec());
    assert_eq!(
        point(&mean_c).predictive(&link, &with).probability_c,
        point(&moved_c).predictive(&link, &without).probability_c
    );
    let plain: Vec<f64> = basis_cj.iter().map(|&x| f64::from(x)).collect();
    let shared = LogitDistribution::Gaussian {
        mean_c: mean_c.clone(),
        covariance: LogitCovariance::Shared {
            basis: Arc::new(Basis::new(basis_cj, 2)),
            variance_j: vec![1.0, 1.0],
        },
    };
    let expected = rooted(moved_c.clone(), stretched).predictive(&link, &without);
    for one in [rooted(mean_c.clone(), plain), shared] {
        let found = one.predictive(&link, &with);
        let both = found.probability_c.iter().zip(&expected.probability_c);
        assert!(both.into_iter().all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        assert!((found.total - expected.total).abs() < 1e-6);
        assert!((found.epistemic.unwrap() - expected.epistemic.unwrap()).abs() < 1e-6);
    }
    let samples =
        |rows: [&[f64]; 2]| LogitDistribution::Samples { logit_mc: rows.concat(), classes: 3 };
    let other_c = [0.0, 0.7, -1.0];
    let found = samples([&mean_c, &other_c]).predictive(&link, &with);
    let expected = samples([&moved_c, &vector.apply(&other_c)]).predictive(&link, &without);
    let both = found.probability_c.iter().zip(&expected.probability_c);
    assert!(both.into_iter().all(|(a, b)| (a - b).abs() < 1e-12));

    // Two classes share a factor, and the variance of their difference grows by its square.
    let vector = VectorScaling { weight_c: vec![2.0, 2.0], bias_c: vec![-0.1, 0.1] };
    let with = Scaling { vector: Some(Arc::new(vector)), ..Scaling::default() };
    let two = |mean_c: &[f64], variance| LogitDistribution::Gaussian {
        mean_c: mean_c.to_vec(),
        covariance: LogitCovariance::Difference(variance),
    };
    let found = two(&[0.0, 1.0], 0.7).predictive(&link, &with).probability_c;
    let expected = two(&[0.0, 2.2], 2.8).predictive(&link, &Scaling::default()).probability_c;
    assert!((found[1] - expected[1]).abs() < 1e-12);
}

/// With s = 0 every kind of distribution is its mean, to the last bit, and nothing pretends to a spread.
#[test]
fn a_variance_that_is_left_out_leaves_nothing_to_say_of_it() {
    let mean_c = vec![0.3, -1.2, 2.0];
    let three = rooted(mean_c.clone(), normal(6, 3));
    let samples = LogitDistribution::Samples {
        logit_mc: [0.5, -1.0, 1.5, 0.1, -1.4, 2.5].to_vec(),
        classes: 3,
    };
    let two = LogitDistribution::Gaussian {
        mean_c: vec![0.3, -1.2],
        covariance: LogitCovariance::Difference(4.0),
    };
    for one in [three, samples, two] {
        let scaling = scaling(1.7, 0.0);
        let mean = LogitDistribution::Point(one.mean().into_owned());
        let (found, expected) =
            (one.predictive(&link(2), &scaling), mean.predictive(&link(2), &scaling));
        assert_eq!(found, expected);
        assert_eq!((found.aleatoric, found.epistemic), (None, None));
        assert_eq!(one.probability(&link(2), &scaling, 1), found.probability_c[1]);
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let spread = Spread::LastLayer(Covariance::Zero);
        let posterior =
            Posterior::new(Task::SingleLabel, zeros(&[2, 1]), zeros(&[2]), spread, LinkChoice::Qmc);
        let posterior = Posterior { scaling, ..posterior };
        assert_eq!(posterior.points(&one, 64), None);
        assert_eq!(posterior.interval(&one, 0, 0.9), None);
    }
}

/// Lakshminarayanan, Pritzel and Blundell (2017): p(y | x) = M⁻¹ Σ p_θm(y | x).
#[test]
fn an_ensemble_is_the_mean_of_its_members_and_its_information_is_not_negative() {
    let (members, classes, texts) = (5, 4, 30);
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let spread = Spread::Passes(Passes::Members(members));
    let (weight, bias) = (zeros(&[classes, 3]), zeros(&[classes]));
    let posterior = Posterior::new(Task::SingleLabel, weight, bias, spread, LinkChoice::Qmc);
    let logit_nmc: Vec<f32> =
        normal(texts * members * classes, 8).iter().map(|x| 3.0 * *x as f32).collect();
    let found = posterior.logits(&logit_nmc).unwrap();
    assert_eq!(found.len(), texts);
    for (one, logit_mc) in found.iter().zip(logit_nmc.chunks_exact(members * classes)) {
        let predictive = posterior.predictive(one);
        let mut mean_c = vec![0.0; classes];
        let mut expected = 0.0;
        for logit_c in logit_mc.chunks_exact(classes) {
            let logit_c: Vec<f64> = logit_c.iter().map(|&x| f64::from(x)).collect();
            let p_c = softmax(&logit_c, 1.0);
            expected += entropy(&p_c) / members as f64;
            mean_c.iter_mut().zip(&p_c).for_each(|(mean, p)| *mean += p / members as f64);
        }
        assert!(largest_difference(&predictive.probability_c, &mean_c) < 1e-12);
        let epistemic = predictive.epistemic.unwrap();
        assert!(epistemic > 0.0 && (epistemic - (entropy(&mean_c) - expected)).abs() < 1e-12);
    }
    // Members of one opinion have nothing to tell from each other.
    let alike: Vec<f32> = logit_nmc[..classes].repeat(members);
    let one = posterior.logits(&alike).unwrap().remove(0);
    let predictive = posterior.predictive(&one);
    let information = predictive.epistemic.unwrap();
    assert!((0.0..1e-12).contains(&information), "{information}");
}
