//! The section `[calibration]`.

use serde::{Deserialize, Serialize};

use super::conformal::ConformalMethod;
use super::novelty::NoveltyMethod;
use super::{Corrections, RiskLevels, ScaleRule};
use crate::compute::Precision;

/// How probabilities are calibrated, and what they decide.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CalibrationConfig {
    /// Whether to fit a temperature on held-out rows.
    pub temperature: bool,
    /// Whether each class gets its own factor and offset before the temperature; needs 50 rows per
    /// class.
    pub vector: bool,
    /// How much of the posterior's variance is used: `"gain"`, only if it improves the held-out NLL by more than
    /// a standard error; `"largest"`, the most that these rows bear; or a number that multiplies it.
    pub scale: ScaleRule,
    /// How prediction sets are built.
    pub conformal_method: ConformalMethod,
    /// Miscoverage rates: shares of texts whose prediction set may miss the label. The first is
    /// used for a plain prediction; an empty list means no sets.
    pub conformal_alpha: Vec<f64>,
    /// The novelty score.
    pub novelty: NoveltyMethod,
    /// Whether a text is compared with texts of like length: a distance is standardised by the number of
    /// tokens, and p-values are counted within groups of lengths where the rows allow.
    pub novelty_by_length: bool,
    /// Whether a distance looks at what the encoder made of a text before it was fine-tuned, too: it is kept in the
    /// model folder, and an answer takes one more pass.
    pub novelty_reference: bool,
    /// A text with a novelty p-value at or below this is flagged as out of distribution: the false
    /// alarm rate.
    pub ood_p: f64,
    /// Abstain so that at most this share of the accepted predictions is wrong; of several, the
    /// strictest that the held-out rows prove. 0 = no such limit.
    pub target_risk: RiskLevels,
    /// Abstain below this confidence.
    pub min_confidence: f64,
    /// Abstain above this epistemic uncertainty, in nats; 0 = no such limit.
    pub max_epistemic: f64,
    /// Abstain if the prediction set has more labels than this, or none; 0 = no such limit.
    pub max_set_size: usize,
    /// Precisions at which all of this is fitted and checked too, `"bf16"` and `"int8"`: the model folder then
    /// answers at the fastest one that keeps its promises. They need a CPU with the instructions.
    pub precisions: Vec<Precision>,
}

impl Default for CalibrationConfig {
    fn default() -> Self {
        Self {
            temperature: true,
            vector: false,
            scale: ScaleRule::default(),
            conformal_method: ConformalMethod::default(),
            conformal_alpha: vec![0.10, 0.05],
            novelty: NoveltyMethod::default(),
            novelty_by_length: false,
            novelty_reference: false,
            ood_p: 0.01,
            target_risk: RiskLevels::new([0.02]),
            min_confidence: 0.0,
            max_epistemic: 0.0,
            max_set_size: 0,
            precisions: Vec::new(),
        }
    }
}

impl CalibrationConfig {
    /// What is fitted besides the posterior; nothing without `temperature`.
    pub fn corrections(&self) -> Corrections {
        Corrections { vector: self.vector, scale: self.scale }
    }

    /// Refuses precisions where models do not compute at them.
    pub fn check_cpu(&self, is_cpu: bool) -> Result<(), String> {
        match self.precisions.is_empty() || is_cpu {
            true => Ok(()),
            false => {
                Err("`calibration.precisions` is for the CPU; leave it out, or use `--device cpu`"
                    .to_owned())
            }
        }
    }

    /// Whether copies of held-out rows, cut short, are looked at.
    pub fn cuts(&self) -> bool {
        self.novelty_by_length && self.novelty.is_distance()
    }

    /// The first value that cannot be, as a message that begins with its key.
    pub fn check(&self) -> Result<(), String> {
        if let Some(alpha) =
            self.conformal_alpha.iter().find(|alpha| !(0.001..=0.5).contains(*alpha))
        {
            return Err(format!(
                "`calibration.conformal_alpha` contains {alpha}; use a miscoverage rate from 0.001 \
                 to 0.5, for example 0.1 for prediction sets that contain the correct label in 90 \
                 % of cases"
            ));
        }
        for (key, value, end) in [
            ("ood_p", self.ood_p, 1.0),
            ("min_confidence", self.min_confidence, 1.0),
            ("max_epistemic", self.max_epistemic, f64::MAX),
        ] {
            if !(0.0..=end).contains(&value) {
                let range = if end == 1.0 { "0 to 1" } else { "0 or more" };
                return Err(format!("`calibration.{key}` is {value}; the valid range is {range}"));
            }
        }
        if self.novelty_reference && !self.novelty.is_distance() {
            return Err("`calibration.novelty_reference` is for a distance, but `calibration.novelty` looks \
                 at the prediction alone; choose a distance, such as `relative_mahalanobis`, or remove \
                 the key"
                .to_owned());
        }
        self.target_risk.check("calibration.target_risk")?;
        if self.vector && !self.temperature {
            return Err(
                "`calibration.vector` needs `calibration.temperature`; switch both on".to_owned()
            );
        }
        self.scale.check("calibration.scale")?;
        if !self.scale.is_default() && !self.temperature {
            return Err(
                "`calibration.scale` needs `calibration.temperature`, which is fitted with it; \
                        switch the temperature on"
                    .to_owned(),
            );
        }
        for (place, precision) in self.precisions.iter().enumerate() {
            let key = "calibration.precisions";
            if precision.is_f32() {
                return Err(format!(
                    "`{key}` has f32, at which everything is fitted; name bf16, int8 or both"
                ));
            }
            if self.precisions[..place].contains(precision) {
                return Err(format!("`{key}` has {precision} twice"));
            }
            precision.check().map_err(|why| format!("`{key}` has {precision}: {why}"))?;
        }
        if self.max_set_size > 0 && self.conformal_alpha.is_empty() {
            return Err("`calibration.max_set_size` needs prediction sets; give \
                        `calibration.conformal_alpha` a value"
                .to_owned());
        }
        Ok(())
    }
}
