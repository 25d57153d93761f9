//! The file, written and read.

use super::*;
use crate::calibrate::novelty::ReferenceRows;
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

fn calibrations() -> Vec<Calibration> {
    let value = |i: usize| ((i * i * 7 + 3 * i) % 23) as f32 + 0.1 * (i % 5) as f32;
    let feature_nd: Vec<f32> = (0..120).map(value).collect();
    let labels: Vec<u32> = (0..30).map(|row| row % 2).collect();
    let train = ReferenceRows { feature_nd: &feature_nd, labels: &labels };
    let distance = |relative| Distance::fit(&train, &feature_nd[..60], &[2, 2], relative).unwrap();
    let scores = [
        NoveltyScore::Distance(distance(true)),
        NoveltyScore::Distance(distance(false)),
        NoveltyScore::Energy,
        NoveltyScore::MaxSoftmax,
        NoveltyScore::Entropy,
        NoveltyScore::MutualInformation,
    ];
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
        novelty: Some(Novelty::new(novelty, vec![2.0, -1.0], 0.01)),
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
    let unsorted = |one: &mut Calibration| {
        if let Some(conformal) = &mut one.conformal {
            conformal.scores_by_class[0].reverse();
        }
    };
    assert!(message(&unsorted, 2, 2).contains("`conformal.mondrian.scores`"));
    let missing = |one: &mut Calibration| {
        if let Some(Novelty { score: NoveltyScore::Distance(distance), .. }) = &mut one.novelty {
            distance.layers[1].within.pop();
        }
    };
    assert!(message(&missing, 2, 2).contains("`novelty.layer.1.within`"));
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
        let standard = |one: &mut Calibration| {
            if let Some(Novelty { score: NoveltyScore::Distance(distance), .. }) = &mut one.novelty
            {
                (distance.layers[1].centre, distance.layers[1].scale) = (centre, scale);
            }
        };
        assert!(message(&standard, 2, 2).contains("`novelty.layer.1.standard`"));
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
