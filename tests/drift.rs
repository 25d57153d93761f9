//! Days of traffic, replayed: when the tests of drift alarm, and when not.
//!
//! The predictions are those of a real model for generated reviews that it has not seen. A day draws 20,000 of them
//! with replacement, which is what the tests see of a request; `tests/serve` does the same over HTTP.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "only the training is needed here")]
mod home;

use bayes::calibrate::drift::{Feature, Monitor, Watched};
use bayes::compute::{Backend, Noise, Purpose, Stream};
use bayes::data::reviews::{self, Review};
use bayes::evaluate::shift::Damage;
use bayes::predict::{Predictor, Text};

use home::Home;
use rayon::prelude::*;

/// Requests of a day; the traffic changes, if it does, after half of them.
const DAY: usize = 20_000;
/// Requests after the change within which there must be an alarm.
const SOON: u64 = 300;
/// Days without a change.
const DAYS: u64 = 200;
/// The default of `bayes serve`: the chance of a false alarm in a day is at most 0.02 %, in 200 days 4 %.
const RUN_LENGTH: f64 = 1e8;
/// A split of generated reviews that no model trains on.
const FRESH: u64 = 77;

fn watched(predictor: &Predictor, texts: &[String]) -> Vec<Watched> {
    let texts: Vec<Text<'_>> = texts.iter().map(|text| (&**text, None)).collect();
    let predictions = predictor.predict(&texts, &mut |_| ()).unwrap();
    let one = |prediction: bayes::predict::Prediction| Watched {
        confidence: prediction.confidence,
        epistemic: prediction.predictive.epistemic,
        tokens: prediction.num_tokens,
        label: prediction.label,
        ood: prediction.judgement.ood.map(|ood| ood.score),
    };
    predictions.into_iter().map(one).collect()
}

/// One of these, drawn.
fn drawn(stream: &mut Stream, pool: &[Watched]) -> Watched {
    pool[(stream.uniform() * pool.len() as f64) as usize]
}

fn monitor(predictor: &Predictor) -> Monitor {
    let artifact = predictor.artifact();
    Monitor::new(artifact.drift.as_ref(), &artifact.calibration, RUN_LENGTH)
}

#[test]
fn a_change_is_told_within_300_requests_and_200_quiet_days_have_no_alarm() {
    let home = Home::new();
    home.done(&["train", "--quiet", "--set", "data.train_limit=4000"]);
    let folder = home.path("checkpoints/reviews/model");
    let predictor = Predictor::load(&folder, &Backend::Cpu).unwrap();
    // The variance of this model's logits does not help, so that it reports no epistemic part.
    assert_eq!(monitor(&predictor).states().len(), Feature::ALL.len() - 1);
    let noise = Noise::new(5);
    let fresh: Vec<Review> =
        (0..DAY as u32).map(|row| reviews::review(&noise, FRESH, row)).collect();
    let texts: Vec<String> = fresh.iter().map(|review| review.text.clone()).collect();
    let usual = watched(&predictor, &texts);

    let quiet = |day: u64| {
        let (mut stream, mut monitor) =
            (Noise::new(day).stream(Purpose::Sample, day, 0), monitor(&predictor));
        for _ in 0..DAY {
            monitor.see(&drawn(&mut stream, &usual));
        }
        monitor
    };
    let first = quiet(0);
    for state in first.states() {
        let psi = state.psi.unwrap();
        assert!(psi < 0.1 && psi < 10.0 * state.psi_floor.max(0.002), "{state:?}");
    }
    let alarmed: Vec<(u64, Feature)> = (1..=DAYS)
        .into_par_iter()
        .flat_map_iter(|day| {
            let states = quiet(day).states().into_iter();
            states.filter(|state| state.alarm.is_some()).map(move |state| (day, state.feature))
        })
        .collect();
    assert!(alarmed.is_empty(), "of {DAYS} days: {alarmed:?}");

    let typos: Damage = "typos=0.05".parse().unwrap();
    let mistyped: Vec<String> =
        texts[..2000].iter().map(|text| typos.text(text, &noise).into_owned()).collect();
    let off_topic: Vec<String> = (0..2000).map(|row| reviews::out_of_domain(&noise, row)).collect();
    // Nine of ten reviews are good ones.
    let mostly = fresh.iter().enumerate().filter(|(row, review)| review.label == 1 || row % 9 == 0);
    let mostly: Vec<String> = mostly.take(2000).map(|(_, review)| review.text.clone()).collect();
    for (what, texts) in [("off topic", off_topic), ("typos", mistyped), ("labels", mostly)] {
        let changed = watched(&predictor, &texts);
        for day in 0..10 {
            let (mut stream, mut monitor) =
                (noise.stream(Purpose::Sample, day, 1), monitor(&predictor));
            for _ in 0..DAY / 2 {
                assert!(monitor.see(&drawn(&mut stream, &usual)).is_empty(), "{what}, day {day}");
            }
            let alarm = (1..=SOON).find_map(|request| {
                let features = monitor.see(&drawn(&mut stream, &changed));
                (!features.is_empty()).then_some((request, features))
            });
            let Some((request, features)) = alarm else {
                panic!("{what}, day {day}: {:#?}", monitor.states())
            };
            eprintln!("{what}, day {day}: {features:?} after {request}");
        }
    }
}
