//! All tests of a model in service.

use super::detector::Detector;
use super::ranks::Ranks;
use super::reference::{DriftReference, Histogram};
use super::stability::Stability;
use crate::calibrate::Calibration;
use crate::compute::{Noise, Purpose, Stream};

/// Bins of a stability index; labels have more, so that each has its own where they are not many.
const BINS: usize = 10;
const LABEL_BINS: usize = 50;

/// What of a prediction is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Confidence,
    Epistemic,
    Tokens,
    /// The predicted one.
    Label,
    /// The novelty score.
    Ood,
}

impl Feature {
    pub const ALL: [Self; 5] =
        [Self::Confidence, Self::Epistemic, Self::Tokens, Self::Label, Self::Ood];

    pub fn name(self) -> &'static str {
        match self {
            Self::Confidence => "confidence",
            Self::Epistemic => "epistemic",
            Self::Tokens => "tokens",
            Self::Label => "label",
            Self::Ood => "ood",
        }
    }

    fn reference(
        self,
        own: Option<&DriftReference>,
        calibration: &Calibration,
    ) -> Option<Histogram> {
        match self {
            Self::Confidence => own.map(|own| own.doubt.clone()),
            Self::Epistemic => own.and_then(|own| own.epistemic.clone()),
            Self::Tokens => own.map(|own| own.tokens.clone()),
            Self::Label => own.map(|own| own.label.clone()),
            Self::Ood => calibration
                .novelty
                .as_ref()
                .map(|novelty| Histogram::of(novelty.reference.groups().iter().flatten().copied())),
        }
    }
}

/// What is known of one prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watched {
    pub confidence: f64,
    pub epistemic: Option<f64>,
    pub tokens: usize,
    pub label: usize,
    /// The novelty score.
    pub ood: Option<f64>,
}

impl Watched {
    fn value(&self, feature: Feature) -> Option<f64> {
        let value = match feature {
            Feature::Confidence => Some(1.0 - self.confidence),
            Feature::Epistemic => self.epistemic,
            Feature::Tokens => Some(self.tokens as f64),
            Feature::Label => Some(self.label as f64),
            Feature::Ood => self.ood,
        };
        value.filter(|value| value.is_finite())
    }
}

#[derive(Clone, Debug)]
struct Test {
    feature: Feature,
    ranks: Ranks,
    detector: Detector,
    stability: Stability,
    ties: Stream,
}

/// The tests of predictions.
#[derive(Clone, Debug)]
pub struct Monitor {
    tests: Vec<Test>,
    /// Predictions that were made in another way than the reference.
    skipped: u64,
}

/// How a feature stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureState {
    pub feature: Feature,
    /// PSI; `None` of too few predictions.
    pub psi: Option<f64>,
    pub psi_floor: f64,
    /// Predictions behind it.
    pub window: usize,
    /// R.
    pub statistic: f64,
    pub seen: u64,
    /// The number of the prediction that alarmed.
    pub alarm: Option<u64>,
}

/// How many tests a model has: of each feature that has a reference, and of labels.
fn tests(own: Option<&DriftReference>, calibration: &Calibration) -> usize {
    let features = Feature::ALL.into_iter().filter(|one| one.reference(own, calibration).is_some());
    features.count() + usize::from(calibration.conformal.is_some())
}

/// c of each test, so that all together alarm falsely once in so many requests at most.
fn threshold(own: Option<&DriftReference>, calibration: &Calibration, run_length: f64) -> f64 {
    tests(own, calibration) as f64 * run_length
}

impl Monitor {
    /// With a mean of `run_length` requests, at least, between false alarms of all tests.
    pub fn new(own: Option<&DriftReference>, calibration: &Calibration, run_length: f64) -> Self {
        let threshold = threshold(own, calibration, run_length);
        let noise = Noise::new(0);
        let test = |feature: Feature| {
            let reference = feature.reference(own, calibration)?;
            let bins = match feature {
                Feature::Label => LABEL_BINS,
                _ => BINS,
            };
            Some(Test {
                feature,
                ranks: Ranks::new(&reference),
                detector: Detector::new(threshold),
                stability: Stability::new(&reference, bins),
                ties: noise.stream(Purpose::Drift, feature as u64, 0),
            })
        };
        Self { tests: Feature::ALL.into_iter().filter_map(test).collect(), skipped: 0 }
    }

    /// Takes the next prediction; gives the features that alarm by it. One that lacks a number which the reference
    /// has, since it was made without uncertainty, is left out.
    pub fn see(&mut self, watched: &Watched) -> Vec<Feature> {
        let values: Option<Vec<f64>> =
            self.tests.iter().map(|test| watched.value(test.feature)).collect();
        let Some(values) = values else {
            self.skipped += 1;
            return Vec::new();
        };
        let mut alarms = Vec::new();
        for (test, value) in self.tests.iter_mut().zip(values) {
            test.stability.add(value);
            let p = test.ranks.p_value(value, test.ties.uniform());
            if test.detector.see(p) {
                alarms.push(test.feature);
            }
        }
        alarms
    }

    pub fn states(&self) -> Vec<FeatureState> {
        let state = |Test { feature, detector, stability, .. }: &Test| FeatureState {
            feature: *feature,
            psi: stability.index(),
            psi_floor: stability.floor(),
            window: stability.window(),
            statistic: detector.statistic(),
            seen: detector.seen(),
            alarm: detector.alarm(),
        };
        self.tests.iter().map(state).collect()
    }

    /// Predictions that were left out.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// The test of labels that come later: of the nonconformity scores that prediction sets rest on.
#[derive(Clone, Debug)]
pub struct LabelMonitor {
    ranks: Ranks,
    detector: Detector,
    ties: Stream,
}

impl LabelMonitor {
    /// `None` for a model without prediction sets.
    pub fn new(
        own: Option<&DriftReference>,
        calibration: &Calibration,
        run_length: f64,
    ) -> Option<Self> {
        let conformal = calibration.conformal.as_ref()?;
        let scores = conformal.scores_by_class.iter().flatten().copied();
        Some(Self {
            ranks: Ranks::new(&Histogram::of(scores)),
            detector: Detector::new(threshold(own, calibration, run_length)),
            ties: Noise::new(0).stream(Purpose::Drift, Feature::ALL.len() as u64, 0),
        })
    }

    /// Takes the score of a label; true if it is the one that alarms.
    pub fn see(&mut self, score: f64) -> bool {
        score.is_finite() && self.detector.see(self.ranks.p_value(score, self.ties.uniform()))
    }

    pub fn detector(&self) -> &Detector {
        &self.detector
    }
}
