//! The file, written and read.

use super::novelty::BESIDE_ENTROPY;
use super::*;
use crate::calibrate::novelty::{
    Distance, DistanceFit, Form, KNOTS, LengthCurve, LengthGroups, Novelty, NoveltyScore,
    ReferenceRows, Space, Standard,
};
use crate::compute::Noise;
use crate::model::Sizes;

/// One layer, so that novelty may look at its input and at the feature.
fn encoder(classes: usize, width: usize) -> EncoderConfig {
    let sizes = Sizes {
        num_hidden_layers: 1,
        hidden_size: width,
        num_attention_heads: 1,
        intermediate_size: 1,
    };
    let mut encoder = EncoderConfig::from_scratch(sizes, 10, 10).unwrap();
    encoder.labels = vec![String::new(); classes];
    encoder
}

/// Distances have groups of lengths.
fn reference(score: &NoveltyScore) -> LengthGroups {
    match score {
        NoveltyScore::Distance(_) => {
            LengthGroups::new(&[2.0, -1.0, 0.5, 4.0], &[9, 70, 9, 71], vec![64])
        }
        _ => LengthGroups::one(vec![2.0, -1.0]),
    }
}

fn calibrations() -> Vec<Calibration> {
    let value = |i: usize| ((i * i * 7 + 3 * i) % 23) as f32 + 0.1 * (i % 5) as f32;
    let feature_nd: Vec<f32> = (0..120).map(value).collect();
    let labels: Vec<u32> = (0..30).map(|row| row % 2).collect();
    let train = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
    let distance = |form, reference| {
        let fit = DistanceFit { form, widths: &[2, 2], reference, noise: &Noise::new(1) };
        let mut distance = fit.run(&train, &feature_nd[..60]).unwrap();
        let knots = |first: f64| std::array::from_fn(|knot| first + knot as f64);
        let curve = LengthCurve { mean: knots(-3.0), deviation: knots(0.5) };
        distance.lengths = Some(Box::new(curve));
        NoveltyScore::Distance(distance)
    };
    let plain = [
        NoveltyScore::Energy,
        NoveltyScore::MaxSoftmax,
        NoveltyScore::Entropy,
        NoveltyScore::MutualInformation,
    ];
    let distances = [false, true]
        .into_iter()
        .flat_map(|reference| Form::ALL.into_iter().map(move |(form, _)| (form, reference)));
    let distances = distances.map(|(form, reference)| distance(form, reference));
    let combined = [false, true].map(|reference| {
        let NoveltyScore::Distance(mut distance) = distance(BESIDE_ENTROPY, reference) else {
            unreachable!("it is one")
        };
        distance.entropy = Some(Standard { centre: 0.25, scale: 0.125 });
        NoveltyScore::Distance(distance)
    });
    let scores: Vec<NoveltyScore> = distances.chain(combined).chain(plain).collect();
    let raps = Score::Raps { penalty: 0.01, free_ranks: 2.0 };
    let kinds = [(Score::Lac, true), (Score::Lac, false), (Score::Aps, false), (raps, false)];
    let limits = Limits { ood_p: Some(0.01), max_set_size: Some(2), ..Limits::default() };
    let all = scores.into_iter().zip(kinds.into_iter().cycle());
    let whole = all.map(|(novelty, (score, by_class))| Calibration {
        conformal: Some(Conformal {
            score,
            by_class,
            scores_by_class: vec![vec![0.1, 0.1, 0.7], vec![]],
        }),
        alphas: vec![0.1, 0.05],
        novelty: Some(Novelty { reference: reference(&novelty), score: novelty, alarm: 0.01 }),
        limits: Some(limits),
        risk: Some(0.05),
    });
    whole.chain([Calibration::default()]).collect()
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    for calibration in calibrations() {
        let bytes = calibration.to_bytes();
        assert_eq!(Calibration::from_bytes(&bytes, &encoder(2, 2)).as_ref(), Ok(&calibration));
        assert_eq!(bytes, calibration.to_bytes(), "the same bytes each time");
    }
}

#[test]
fn a_damaged_file_is_refused_with_the_tensor_that_is_wrong() {
    let whole = calibrations().swap_remove(0);
    let message = |change: &dyn Fn(&mut Calibration), classes, width| {
        let mut changed = whole.clone();
        change(&mut changed);
        Calibration::from_bytes(&changed.to_bytes(), &encoder(classes, width)).unwrap_err()
    };
    assert!(message(&|_| (), 3, 2).contains("3 classes"));
    assert!(message(&|_| (), 2, 3).contains("hidden states have width 3"));
    assert!(message(&|one| one.alphas[0] = 2.0, 2, 2).contains("`conformal.alpha`"));
    assert!(message(&|one| one.risk = Some(5.0), 2, 2).contains("`limits.risk`"));
    // Of the encoder before fine-tuning, and of no feature.
    let lonely = |one: &mut Calibration| {
        if let Some(Novelty { score: NoveltyScore::Distance(distance), .. }) = &mut one.novelty {
            distance.layers.truncate(1);
            distance.reference = true;
        }
    };
    assert!(message(&lonely, 2, 2).contains("1 novelty layers, of 2 to"));
    let unsorted = |one: &mut Calibration| {
        if let Some(conformal) = &mut one.conformal {
            conformal.scores_by_class[0].reverse();
        }
    };
    assert!(message(&unsorted, 2, 2).contains("`conformal.mondrian.scores`"));
    let first = |one: &mut Calibration, change: &dyn Fn(&mut Distance)| {
        if let Some(Novelty { score: NoveltyScore::Distance(distance), .. }) = &mut one.novelty {
            change(distance);
        }
    };
    let missing = |distance: &mut Distance| {
        if let Space::Mahalanobis(space) = &mut distance.layers[1].space {
            space.within.pop();
        }
    };
    assert!(message(&|one| first(one, &missing), 2, 2).contains("`novelty.layer.1.within`"));
    for (mean, deviation) in [(f64::NAN, 1.0), (1e99, 1.0), (0.0, 0.0), (0.0, -1.0)] {
        let bent = |distance: &mut Distance| {
            let curve = LengthCurve { mean: [mean; KNOTS], deviation: [deviation; KNOTS] };
            distance.lengths = Some(Box::new(curve));
        };
        assert!(message(&|one| first(one, &bent), 2, 2).contains("`novelty.length`"));
    }
    let limits = |one: Limits| {
        message(&|calibration: &mut Calibration| calibration.limits = Some(one), 2, 2)
    };
    let limit = |value: f64| Limits { min_confidence: Some(value), ..Limits::default() };
    assert!(limits(limit(f64::INFINITY)).contains("`limits`"));
    assert!(limits(limit(-1.0)).contains("`limits`"));
    let sets = Limits { max_set_size: Some(usize::MAX), ..Limits::default() };
    assert!(limits(sets).contains("`limits`"));
    let alarm = |value: f64| message(&|one| one.novelty.as_mut().unwrap().alarm = value, 2, 2);
    assert!(alarm(f64::NAN).contains("`novelty.alarm`") && alarm(2.0).contains("`novelty.alarm`"));
    for (centre, scale) in [(0.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (1e308, 1.0)] {
        let standard = |distance: &mut Distance| {
            distance.layers[1].standard = Standard { centre, scale };
        };
        assert!(message(&|one| first(one, &standard), 2, 2).contains("`novelty.layer.1.standard`"));
        let entropy = |distance: &mut Distance| {
            distance.entropy = Some(Standard { centre, scale });
        };
        assert!(message(&|one| first(one, &entropy), 2, 2).contains("`novelty.entropy`"));
    }
    let raps = |penalty: f64, free_ranks: f64| {
        let raps = |one: &mut Calibration| {
            one.conformal.as_mut().unwrap().by_class = false;
            one.conformal.as_mut().unwrap().score = Score::Raps { penalty, free_ranks };
        };
        message(&raps, 2, 2)
    };
    assert!(raps(f64::NAN, 1.0).contains("`conformal.raps`"));
    assert!(raps(0.1, 1e9).contains("`conformal.raps`"));
    let bytes = whole.to_bytes();
    assert!(Calibration::from_bytes(&bytes[..bytes.len() - 1], &encoder(2, 2)).is_err());
}

/// Tensors of a file that was written by hand.
fn refusal(change: impl FnOnce(&mut Tensors), form: &str) -> String {
    let index = Form::ALL.iter().position(|(_, name)| *name == form).unwrap();
    let Some(novelty) = calibrations().swap_remove(index).novelty else { panic!("{form}") };
    let mut tensors = Tensors::default();
    novelty::put(&mut tensors, &novelty);
    change(&mut tensors);
    Calibration::from_bytes(&tensors.to_bytes(), &encoder(2, 2)).unwrap_err()
}

#[test]
fn groups_neighbours_and_densities_that_do_not_fit_are_refused() {
    let rows = |counts: &[i64]| {
        refusal(|tensors| tensors.put_i64("novelty.groups.rows", counts), "mahalanobis")
    };
    for counts in [&[2, 1][..], &[3, 2], &[-1, 5], &[i64::MAX, 1], &[4], &[1, 1, 2]] {
        assert!(rows(counts).contains("`novelty.groups.rows`"), "{}", rows(counts));
    }
    let tokens = |bounds: &[i64]| {
        refusal(|tensors| tensors.put_i64("novelty.groups.tokens", bounds), "mahalanobis")
    };
    for bounds in [&[][..], &[-1], &[1 << 40], &[64, 65]] {
        assert!(tokens(bounds).contains("`novelty.groups.tokens`"), "{}", tokens(bounds));
    }
    let name = "novelty.mahalanobis.reference";
    let message = refusal(|tensors| tensors.put_f64(name, &[2.0, 0.5, -1.0, 4.0]), "mahalanobis");
    assert!(message.contains("finite and ascending"), "{message}");

    let name = "novelty.layer.0.rows";
    let halves = |rows: usize, value: f32| -> Vec<u8> {
        std::iter::repeat_n(half::f16::from_f32(value).to_le_bytes(), 2 * rows).flatten().collect()
    };
    for (rows, value) in [(0, 0.5), (2001, 0.5), (3, 1.5), (3, f32::NAN), (3, f32::INFINITY)] {
        let put = |tensors: &mut Tensors| {
            tensors.put(name, Dtype::F16, &[rows, 2], halves(rows, value));
        };
        assert!(refusal(put, "knn").contains("normalised features"), "{rows}, {value}");
    }
    for k in [0.0, 11.0, 1.5, f64::NAN] {
        let put = |tensors: &mut Tensors| tensors.put_f64("novelty.layer.0.neighbour", &[k]);
        assert!(refusal(put, "knn").contains("`novelty.layer.0.neighbour`"), "{k}");
    }
    let single = |tensors: &mut Tensors| tensors.put_f32(name, &[1, 2], &[0.1, 0.2]);
    assert!(refusal(single, "knn").contains("not F16"));

    let put = |part: &'static str, shape: [usize; 2], value: f32| {
        move |tensors: &mut Tensors| {
            let name = format!("novelty.layer.0.{part}");
            tensors.put_f32(&name, &shape, &vec![value; shape[0] * shape[1]]);
        }
    };
    assert!(refusal(put("means", [0, 2], 0.0), "ddu").contains("`novelty.layer.0.means`"));
    assert!(refusal(put("means", [3, 2], 0.0), "ddu").contains("`novelty.layer.0.roots`"));
    assert!(refusal(put("roots", [2, 3], f32::NAN), "ddu").contains("`novelty.layer.0.roots`"));
    assert!(refusal(put("roots", [2, 4], 1.0), "ddu").contains("`novelty.layer.0.roots`"));
    let constants = |values: &'static [f64]| {
        move |tensors: &mut Tensors| tensors.put_f64("novelty.layer.0.constants", values)
    };
    for values in [&[0.0][..], &[0.0, f64::NAN], &[0.0, 1e300]] {
        assert!(refusal(constants(values), "ddu").contains("`novelty.layer.0.constants`"));
    }
}
