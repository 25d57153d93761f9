//! Scores against references, and what is usual by length.

use std::sync::Arc;

use nalgebra::DMatrix;
use serde_json::Value;

use super::moments::Covariance;
use super::*;
use crate::calibrate::{Cuts, Fold};
use crate::compute::{Noise, Purpose, Stream};
use crate::posterior::{Draws, Link, LinkChoice, LogitDistribution, Scaling};

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/novelty.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect()
}

fn narrow(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}

fn labels(golden: &Value) -> Vec<u32> {
    numbers(&golden["labels"]).into_iter().map(|y| y as u32).collect()
}

/// `tests/python/golden_novelty.py`: scikit-learn's `LedoitWolf` on residuals and on all rows,
/// distances with its precision matrices, its `NearestNeighbors`, and scipy's densities, in f64. Ours
/// are f32 at the end.
#[test]
fn scores_are_those_of_scikit_learn() {
    let golden = golden();
    let (feature_nd, fresh_nd) = (narrow(&golden["features"]), narrow(&golden["fresh"]));
    let labels = labels(&golden);
    let tolerance = golden["tolerance"].as_f64().unwrap();
    let train = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
    let width = golden["width"].as_u64().unwrap() as usize;
    for (form, name) in Form::ALL {
        let fit = DistanceFit { form, widths: &[width], reference: false, noise: &Noise::new(1) };
        let distance = fit.run(&train, &fresh_nd).unwrap();
        let layer = &distance.layers[0];
        let lines = fresh_nd.chunks_exact(width);
        let expected = numbers(&golden["scores"][name]);
        assert_eq!(expected.len(), lines.len());
        for (feature_d, expected) in lines.clone().zip(expected) {
            let found = distance.sum(feature_d) * layer.standard.scale + layer.standard.centre;
            let gap = (found - expected).abs();
            assert!(gap < tolerance * (1.0 + expected.abs()), "{name}: {found}, {expected}");
        }
        let scores: Vec<f64> = lines.map(|feature_d| distance.sum(feature_d)).collect();
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        assert!(mean.abs() < 1e-9, "standardised");
    }
}

/// Two layers, and an entropy of two standard deviations more than usual.
#[test]
fn an_entropy_counts_as_much_as_all_layers_together() {
    let golden = golden();
    let feature_nd = narrow(&golden["features"]);
    let labels = labels(&golden);
    let width = golden["width"].as_u64().unwrap() as usize;
    let twice: Vec<f32> =
        feature_nd.chunks_exact(width).flat_map(|line| [line, line].concat()).collect();
    let train = ReferenceRows { feature_nd: &twice, labels: &labels };
    let form = NoveltyMethod::Combined.form(2).unwrap();
    let (widths, noise) = ([width, width], Noise::new(1));
    let fit = DistanceFit { form, widths: &widths, reference: false, noise: &noise };
    let mut distance = fit.run(&train, &twice).unwrap();
    let own = distance.score(&twice[..2 * width], 8, 0.5);
    assert_eq!(own, distance.sum(&twice[..2 * width]), "no entropy");
    assert_eq!(NoveltyScore::Distance(distance.clone()).name(), "relative_mahalanobis");
    distance.entropy = Standard::of(&[0.0, 0.2]);
    assert!((distance.score(&twice[..2 * width], 8, 0.3) - own - 2.0 * 2.0).abs() < 1e-12);
    let curve = LengthCurve { mean: [1.0; KNOTS], deviation: [2.0; KNOTS] };
    distance.lengths = Some(Box::new(curve));
    let found = distance.score(&twice[..2 * width], 8, 0.3);
    assert!((found - (own - 1.0) / 2.0 - 2.0).abs() < 1e-12, "{found}");
    assert_eq!(NoveltyScore::Distance(distance).name(), "combined");
    assert_eq!(Standard::of(&[0.3, 0.3]), None);
    for (method, classes, adds) in [
        (NoveltyMethod::Auto, 9, false),
        (NoveltyMethod::Auto, 10, true),
        (NoveltyMethod::Combined, 2, true),
        (NoveltyMethod::RelativeMahalanobis, 150, false),
    ] {
        assert_eq!(method.adds_entropy(classes), adds);
    }
}

#[test]
fn shrinkage_is_that_of_scikit_learn() {
    let golden = golden();
    let width = golden["width"].as_u64().unwrap() as usize;
    let rows = numbers(&golden["centred"]);
    let n = rows.len() / width;
    let x_dn = DMatrix::from_column_slice(width, n, &rows);
    let fourth = x_dn.column_iter().map(|x| x.norm_squared().powi(2)).sum::<f64>();
    let covariance = Covariance {
        empirical: &x_dn * x_dn.transpose() / n as f64,
        fourth_moment: fourth / n as f64,
        rows: n,
    };
    let expected = golden["shrinkage"].as_f64().unwrap();
    assert!((covariance.shrinkage() - expected).abs() < 1e-12, "{}", covariance.shrinkage());
    let whitener = covariance.whitener().unwrap();
    let identity = &whitener * covariance.shrunk() * whitener.transpose();
    assert!((identity - DMatrix::identity(width, width)).abs().max() < 1e-10);
}

/// Two layers: the score is the sum of both standardised scores, or that of the last.
#[test]
fn layers_add_up_and_rows_that_do_not_vary_are_refused() {
    let golden = golden();
    let feature_nd = narrow(&golden["features"]);
    let labels = labels(&golden);
    let width = golden["width"].as_u64().unwrap() as usize;
    let train = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
    let fresh_nd = narrow(&golden["fresh"]);
    let widths = [width / 2, width - width / 2];
    let noise = Noise::new(1);
    let line = &fresh_nd[..width];
    for (form, name) in Form::ALL {
        let both = DistanceFit { form, widths: &widths, reference: false, noise: &noise };
        let both = both.run(&train, &fresh_nd).unwrap();
        let alone = |from: usize, width: usize| {
            let part = |all: &[f32]| -> Vec<f32> {
                let lines = all.chunks_exact(widths[0] + widths[1]);
                lines.flat_map(|line| line[from..from + width].to_vec()).collect()
            };
            let (feature_nd, fresh) = (part(&feature_nd), part(&fresh_nd));
            let train = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
            let one = DistanceFit { form, widths: &[width], reference: false, noise: &noise };
            one.run(&train, &fresh).unwrap().sum(&line[from..from + width])
        };
        let last = alone(widths[0], widths[1]);
        let expected = match form.spaces(2) {
            2 => alone(0, widths[0]) + last,
            _ => last,
        };
        assert!((both.sum(line) - expected).abs() < 1e-12, "{name}");
        // A model that gives only what is looked at.
        let own = &line[if form.spaces(2) == 2 { 0 } else { widths[0] }..];
        assert_eq!(both.sum(own), both.sum(line), "{name}");
        let constant = vec![1.0; feature_nd.len()];
        let train = ReferenceRows { feature_nd: &constant, labels: &labels };
        let fit = DistanceFit { form, widths: &[width], reference: false, noise: &noise };
        assert_eq!(fit.run(&train, &constant), None, "{name}");
    }
}

/// Every row, and a copy of it that is the row itself: both are judged by fits that have not seen it.
#[test]
fn rows_and_their_copies_are_judged_by_the_other_folds() {
    let golden = golden();
    let feature_nd = narrow(&golden["features"]);
    let labels = labels(&golden);
    let width = golden["width"].as_u64().unwrap() as usize;
    let n = labels.len();
    let rows = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
    let fold = |own: usize| {
        let (judged, train) = (0..n).partition(|row| row % 4 == own);
        Fold { train, judged }
    };
    let folds: Vec<Fold> = (0..4).map(fold).collect();
    let all: Vec<usize> = (0..n).collect();
    let cuts = Cuts { novelty_ne: &feature_nd, tokens: &vec![9; n], rows: &all };
    for (form, name) in Form::ALL {
        let fit = DistanceFit { form, widths: &[width], reference: false, noise: &Noise::new(1) };
        let fitted = fit.cross(&rows, &folds, &cuts).unwrap();
        let judged: Vec<usize> = folds.iter().flat_map(|fold| fold.judged.clone()).collect();
        for (&row, &score) in judged.iter().zip(&fitted.scores) {
            assert_eq!(fitted.cut_scores[row], score, "{name}");
        }
        // A fit that has seen the row finds it less strange.
        let seen = feature_nd.chunks_exact(width).map(|line| fitted.distance.sum(line));
        let (seen, unseen) = (seen.sum::<f64>(), fitted.scores.iter().sum::<f64>());
        assert!(seen < unseen - 1.0, "{name}: {seen}, {unseen}");
    }
}

#[test]
fn a_sample_of_neighbours_is_seeded_and_bounded() {
    let mut stream = Noise::new(2).stream(Purpose::Init, 0, 0);
    let feature_nd: Vec<f32> = (0..3 * 2500).map(|_| stream.normal() as f32 / 4.0).collect();
    let labels: Vec<u32> = (0..2500).map(|row| row % 40).collect();
    let of = |seed| Neighbours::fit(&feature_nd, &labels, 3, &Noise::new(seed)).unwrap();
    assert_eq!((of(1).row_nd.len(), of(1).k), (3 * MOST_NEIGHBOURS, 5));
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    let few = Neighbours::fit(&[0.0, 1.0, 0.6, 0.8], &[0, 1], 2, &Noise::new(1)).unwrap();
    assert!((few.score(&[0.6, 0.8])).abs() < 1e-3, "the nearest of two");
    let many = Neighbours { k: MOST_K, ..few };
    assert!((many.score(&[0.0, 1.0]) - 0.4f64.sqrt()).abs() < 1e-3, "the farthest of two");
}

/// Scores with a mean and a deviation that fall with the length.
fn by_length(stream: &mut Stream, rows: usize, longest: f64) -> (Vec<f64>, Vec<u32>) {
    let one = |_| {
        let tokens = (5.0 * (longest / 5.0f64).powf(stream.uniform())).round();
        let deviation = 1.0 + 10.0 / tokens;
        (40.0 / tokens.sqrt() + deviation * stream.normal(), tokens as u32)
    };
    (0..rows).map(one).unzip()
}

#[test]
fn the_usual_score_is_found_at_every_length() {
    let mut stream = Noise::new(4).stream(Purpose::Bootstrap, 0, 0);
    let (scores, tokens) = by_length(&mut stream, 2000, 400.0);
    let curve = LengthCurve::fit(&scores, &tokens);
    let (scores, tokens) = by_length(&mut stream, 20_000, 400.0);
    for (from, to) in [(5, 9), (9, 20), (20, 60), (60, 200), (200, 401)] {
        let own = scores.iter().zip(&tokens).filter(|(_, n)| (from..to).contains(*n));
        let own: Vec<f64> = own.map(|(&s, &n)| curve.standardised(s, n)).collect();
        let n = own.len() as f64;
        let mean = own.iter().sum::<f64>() / n;
        let deviation = (own.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!(mean.abs() < 0.15, "{from}: mean {mean}");
        assert!((0.85..1.15).contains(&deviation), "{from}: deviation {deviation}");
    }
}

#[test]
fn beyond_the_lengths_that_were_seen_the_usual_score_goes_level() {
    let mut stream = Noise::new(6).stream(Purpose::Bootstrap, 0, 0);
    let (scores, tokens) = by_length(&mut stream, 500, 60.0);
    let curve = LengthCurve::fit(&scores, &tokens);
    let at = |tokens| -curve.standardised(0.0, tokens);
    assert!((at(60) - at(120)).abs() < 0.3 && (at(5) - at(3)).abs() < 1.0);
    for tokens in [0, 1, 2, 8192, 8193, u32::MAX] {
        assert!(curve.standardised(1.0, tokens).is_finite(), "{tokens}");
    }
    assert_eq!(curve.standardised(1.0, 8192), curve.standardised(1.0, u32::MAX));
}

#[test]
fn few_rows_and_scores_that_do_not_depend_on_the_length_are_compared_as_they_are() {
    let mut stream = Noise::new(7).stream(Purpose::Bootstrap, 0, 0);
    let level = |curve: &LengthCurve| {
        let of = |knots: &[f64; KNOTS]| knots.iter().all(|knot| *knot == knots[0]);
        of(&curve.mean) && of(&curve.deviation)
    };
    let (scores, tokens) = by_length(&mut stream, 12, 400.0);
    let curve = LengthCurve::fit(&scores, &tokens);
    assert!(level(&curve));
    let mean = scores.iter().sum::<f64>() / 12.0;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / 12.0;
    assert!((curve.mean[0] - mean).abs() < 1e-12);
    assert!((curve.deviation[0] - variance.sqrt()).abs() < 1e-9);
    let scores: Vec<f64> = (0..500).map(|_| stream.normal()).collect();
    let tokens: Vec<u32> = (0..500).map(|_| 5 + stream.below(300)).collect();
    let curve = LengthCurve::fit(&scores, &tokens);
    let most = curve.mean.iter().map(|mean| mean.abs()).fold(0.0, f64::max);
    assert!(most < 0.2, "{most}");
    for (scores, tokens) in [(vec![], vec![]), (vec![2.0], vec![3]), (vec![1.0; 50], vec![7; 50])] {
        let curve = LengthCurve::fit(&scores, &tokens);
        assert!(level(&curve) && curve.standardised(2.5, 9).is_finite(), "{curve:?}");
    }
}

/// A text whose own score is not among those that say what is usual, wherever it is judged.
#[test]
fn a_row_is_standardised_by_the_other_groups() {
    let mut stream = Noise::new(8).stream(Purpose::Bootstrap, 0, 0);
    let (mut scores, tokens) = by_length(&mut stream, 100, 400.0);
    let groups: Vec<Option<usize>> = (0..100).map(|row| Some(row % 5)).collect();
    let of = |scores: &[f64]| {
        let rows =
            LengthRows { scores: scores.to_vec(), tokens: tokens.clone(), groups: groups.clone() };
        LengthCurve::cross_fit(&rows, 80).1
    };
    let before = of(&scores);
    // Row 95 is of group 0, and is not judged itself.
    scores[95] += 30.0;
    let after = of(&scores);
    assert_eq!(before.len(), 80);
    for row in 0..80 {
        assert_eq!(before[row] == after[row], row % 5 == 0, "{row}");
    }
}

/// Reference and texts from one distribution: P(p ≤ k/(n+1)) = k/(n+1). Over 2000 draws of a
/// reference of 99 with one text each, by the Kolmogorov-Smirnov distance at 0.001.
#[test]
fn p_values_are_uniform_for_texts_of_known_classes() {
    let (n, repetitions) = (99, 2000);
    let mut stream = Noise::new(5).stream(Purpose::Bootstrap, 0, 0);
    let mut counts = vec![0; n + 2];
    for _ in 0..repetitions {
        let reference = LengthGroups::one((0..n).map(|_| stream.normal()).collect());
        let novelty = Novelty { score: NoveltyScore::Energy, reference, alarm: 0.01 };
        let p = novelty.p_value(stream.normal(), 7);
        counts[(p * (n + 1) as f64).round() as usize] += 1;
    }
    let (mut sum, mut worst) = (0, 0.0f64);
    for (k, count) in counts.iter().enumerate() {
        sum += count;
        let gap = f64::from(sum) / f64::from(repetitions) - k as f64 / (n + 1) as f64;
        worst = worst.max(gap.abs());
    }
    assert!(worst < 1.95 / f64::from(repetitions).sqrt(), "{worst}");
}

/// The deviation of the score depends on the length in a way that nothing standardises: within each group
/// the alarms are as rare as promised all the same, by a band of four standard errors.
#[test]
fn alarms_are_as_rare_as_promised_within_each_group_of_lengths() {
    let (rows, repetitions, alarm) = (120, 4000, 0.05);
    let mut stream = Noise::new(9).stream(Purpose::Bootstrap, 0, 0);
    let draw = |stream: &mut Stream| {
        let tokens = 5 + stream.below(200);
        (f64::from(tokens) * stream.normal(), tokens)
    };
    let mut alarms = [[0.0f64; 2]; 3];
    for _ in 0..repetitions {
        let (_, others): (Vec<f64>, Vec<u32>) = (0..rows).map(|_| draw(&mut stream)).unzip();
        let bounds = LengthGroups::bounds(&others, rows, 35);
        assert!((1..=2).contains(&bounds.len()), "{bounds:?}");
        let (scores, tokens): (Vec<f64>, Vec<u32>) = (0..rows).map(|_| draw(&mut stream)).unzip();
        let reference = LengthGroups::new(&scores, &tokens, bounds);
        let novelty = Novelty { score: NoveltyScore::Energy, reference, alarm };
        let (score, tokens) = draw(&mut stream);
        let bounds = novelty.reference.between();
        let group = bounds.partition_point(|&bound| bound <= tokens);
        alarms[group][0] += f64::from(u8::from(novelty.p_value(score, tokens) <= alarm));
        alarms[group][1] += 1.0;
    }
    for [alarms, texts] in alarms {
        let error = (alarm * (1.0 - alarm) / texts).sqrt();
        assert!(alarms / texts < alarm + 4.0 * error, "{alarms} of {texts}");
        assert!(alarms / texts > 0.3 * alarm, "{alarms} of {texts}");
    }
}

#[test]
fn bounds_keep_groups_large_enough() {
    let tokens: Vec<u32> = (0..1000).map(|row| 5 + row / 10).collect();
    assert_eq!(LengthGroups::bounds(&tokens, 1000, 200), [25, 45, 65, 85]);
    assert_eq!(LengthGroups::bounds(&tokens, 500, 200), [45]);
    assert_eq!(LengthGroups::bounds(&tokens, 399, 200), [0; 0]);
    assert_eq!(LengthGroups::bounds(&[], 900, 200), [0; 0]);
    // Nearly all texts have one length: no group is left with the few others.
    let tokens: Vec<u32> = (0..1000).map(|row| if row < 950 { 7 } else { 9 }).collect();
    assert_eq!(LengthGroups::bounds(&tokens, 1000, 200), [0; 0]);
    let groups = LengthGroups::new(&[3.0, 1.0, 2.0], &[4, 9, 5], vec![5]);
    assert_eq!((groups.of(4), groups.of(5), groups.fewest()), (&[3.0][..], &[1.0, 2.0][..], 1));
}

#[test]
fn ties_count_as_at_least_as_strange() {
    let reference = LengthGroups::one(vec![3.0, 1.0, 2.0, 2.0]);
    let novelty = Novelty { score: NoveltyScore::Energy, reference, alarm: 0.01 };
    assert_eq!(novelty.p_value(2.0, 1), 4.0 / 5.0);
    assert_eq!(novelty.p_value(2.5, 1), 2.0 / 5.0);
    assert_eq!(novelty.p_value(9.0, 1), 1.0 / 5.0);
    assert_eq!(novelty.p_value(0.0, 1), 1.0);
}

#[test]
fn scores_without_features_follow_their_formulas() {
    let logits = LogitDistribution::Point(vec![1.0, 3.0]);
    let scaling = Scaling { temperature: 2.0, ..Scaling::default() };
    let draws = Arc::new(Draws::from_values(Vec::new(), 0));
    let task = Task::SingleLabel;
    let link = Link { task, choice: LinkChoice::default(), draws };
    let predictive = logits.predictive(&link, &scaling);
    let evidence = Evidence {
        task,
        novelty_e: &[],
        tokens: 4,
        logit_c: &logits.mean(),
        temperature: 2.0,
        predictive: &predictive,
    };
    let expected = -2.0 * (0.5f64.exp() + 1.5f64.exp()).ln();
    let score = |score: NoveltyScore| score.of(&evidence);
    assert!((score(NoveltyScore::Energy).unwrap() - expected).abs() < 1e-12);
    let doubt = 1.0 - 1.0 / (1.0 + (-1.0f64).exp());
    assert!((score(NoveltyScore::MaxSoftmax).unwrap() - doubt).abs() < 1e-12);
    assert_eq!(score(NoveltyScore::Entropy), Some(predictive.total));
    assert_eq!(score(NoveltyScore::MutualInformation), None);
    assert!(energy(&[900.0, -900.0], 0.5).is_finite());
}
