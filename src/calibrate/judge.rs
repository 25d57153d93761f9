//! What a calibrated model says of a text besides the probabilities.

use super::conformal::{Bounds, Conformal, Score, uniform};
use super::novelty::Evidence;
use super::{Answer, Calibration, Limits, Reason};

/// What is asked of a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The coverage of the set, as bounds; `None` for no set.
    pub bounds: Option<Bounds>,
    /// What an answer must meet; `None` to decide nothing.
    pub limits: Option<Limits>,
    /// The coverage of the set whose size decides: that of the model, whatever set is to be shown.
    pub deciding: Option<Bounds>,
}

/// The answer. What the model cannot know is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// The labels that are not ruled out.
    pub set: Option<PredictionSet>,
    /// How strange the text is.
    pub ood: Option<Ood>,
    /// Why the answer is left to a person; accepted where there is no reason.
    pub reasons: Option<Vec<Reason>>,
}

/// A prediction set.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictionSet {
    /// Its classes, the most probable first.
    pub classes: Vec<usize>,
    /// The share of texts whose set holds the label, at least.
    pub coverage: f64,
    /// Rows behind that promise.
    pub calibration_size: usize,
}

/// How strange a text is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ood {
    /// The score of the configured method.
    pub score: f64,
    /// The share of texts of known classes that are at least as strange.
    pub p_value: f64,
    /// Whether that is at most `calibration.ood_p`.
    pub is_ood: bool,
}

impl Calibration {
    /// What the sets of a plain prediction are made with, and the share of misses they were promised for.
    pub fn own_sets(&self) -> Option<(&Conformal, f64)> {
        self.conformal.as_ref().zip(self.alphas.first().copied())
    }

    /// The share of the sets of a plain prediction that were promised to hold the label.
    pub fn own_coverage(&self) -> Option<f64> {
        self.own_sets().map(|(_, alpha)| 1.0 - alpha)
    }

    /// What is asked where nobody asks for anything else.
    pub fn usual(&self) -> Asked {
        let bounds = self.own_sets().map(|(conformal, alpha)| conformal.bounds(alpha));
        Asked { deciding: bounds.clone(), bounds, limits: self.limits }
    }

    /// The U of a text, for [`Calibration::judge`]; only some scores look at it.
    pub fn uniform(&self, ids: &[u32], type_ids: &[u32]) -> f64 {
        match &self.conformal {
            Some(conformal) if conformal.score != Score::Lac => uniform(ids, type_ids),
            _ => 0.0,
        }
    }

    pub fn judge(&self, evidence: &Evidence<'_>, uniform: f64, asked: &Asked) -> Judgement {
        let probability_c = &evidence.predictive.probability_c;
        let size = |bounds: Option<&Bounds>| {
            let (conformal, bounds) = self.conformal.as_ref().zip(bounds)?;
            Some(conformal.set(bounds, probability_c, uniform).len())
        };
        let set = self.conformal.as_ref().zip(asked.bounds.as_ref()).map(|(conformal, bounds)| {
            PredictionSet {
                classes: conformal.set(bounds, probability_c, uniform),
                coverage: 1.0 - bounds.alpha,
                calibration_size: conformal.rows(),
            }
        });
        let ood = self.novelty.as_ref().and_then(|novelty| {
            let score = novelty.score.of(evidence)?;
            let p_value = novelty.p_value(score, evidence.tokens);
            Some(Ood { score, p_value, is_ood: p_value <= novelty.alarm })
        });
        let answer = Answer {
            confidence: evidence.task.confidence(probability_c),
            epistemic: evidence.predictive.epistemic,
            ood_p: ood.map(|ood| ood.p_value),
            set_size: match asked.limits.and_then(|limits| limits.max_set_size) {
                Some(_) if asked.deciding != asked.bounds => size(asked.deciding.as_ref()),
                _ => set.as_ref().map(|set| set.classes.len()),
            },
        };
        let reasons = asked.limits.map(|limits| limits.reasons(&answer));
        Judgement { set, ood, reasons }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::conformal::Conformal;
    use crate::calibrate::novelty::{LengthGroups, Novelty, NoveltyScore};
    use crate::posterior::Predictive;
    use crate::task::Task;

    #[test]
    fn a_text_has_a_set_a_p_value_and_a_decision_and_an_uncalibrated_model_knows_nothing() {
        let predictive = Predictive {
            probability_c: vec![0.3, 0.7],
            total: 0.6,
            aleatoric: None,
            epistemic: None,
        };
        let evidence = Evidence {
            task: Task::SingleLabel,
            novelty_e: &[],
            tokens: 5,
            logit_c: &[0.0, 1.0],
            temperature: 1.0,
            predictive: &predictive,
        };
        let nothing = Calibration::default();
        assert_eq!(nothing.judge(&evidence, 0.5, &nothing.usual()), Judgement::default());

        let scores = vec![0.1, 0.2, 0.3, 0.35];
        let calibration = Calibration {
            conformal: Some(Conformal {
                score: Score::Lac,
                by_class: false,
                scores_by_class: vec![scores.clone(), vec![]],
            }),
            alphas: vec![0.2],
            novelty: Some(Novelty {
                score: NoveltyScore::Entropy,
                reference: LengthGroups::one(vec![0.5; 9]),
                alarm: 0.1,
            }),
            limits: Some(Limits { min_confidence: Some(0.9), ..Limits::default() }),
            risk: None,
        };
        let judged = calibration.judge(&evidence, 0.5, &calibration.usual());
        let set = judged.set.unwrap();
        assert_eq!((set.classes, set.calibration_size), (vec![1], 4));
        assert!((set.coverage - 0.8).abs() < 1e-12);
        assert_eq!(judged.ood, Some(Ood { score: 0.6, p_value: 0.1, is_ood: true }));
        assert_eq!(judged.reasons, Some(vec![Reason::Confidence]));
        let asked = Asked { bounds: None, limits: Some(Limits::default()), deciding: None };
        let judged = calibration.judge(&evidence, 0.5, &asked);
        assert_eq!((judged.set, judged.reasons), (None, Some(vec![])));
        // The set that is shown is another than the one whose size decides, or there is none.
        let narrow = Limits { max_set_size: Some(0), ..Limits::default() };
        for bounds in [None, calibration.conformal.as_ref().map(|one| one.bounds(0.6))] {
            let asked = Asked { bounds, limits: Some(narrow), ..calibration.usual() };
            let judged = calibration.judge(&evidence, 0.5, &asked);
            assert_eq!(judged.reasons, Some(vec![Reason::SetSize]), "{asked:?}");
        }
    }
}
