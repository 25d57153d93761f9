//! What a trained encoder makes of the rows of a part: all that posterior and calibration look at.

use super::{ExperimentError, Progress};
use crate::calibrate::{conformal, novelty};
use crate::data::TokenSet;
use crate::model::Classifier;
use crate::train;

/// The rows of one part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// The feature φ that enters the last linear layer, `[n, d]`.
    pub feature_nd: Vec<f32>,
    /// What novelty looks at, `[n, e]`: see [`novelty::vectors`].
    pub novelty_ne: Vec<f32>,
    /// `[n]`.
    pub labels: Vec<u32>,
    /// The uniform number of each text, `[n]`: see [`conformal::uniform`].
    pub uniforms: Vec<f64>,
}

impl Features {
    /// Encodes the rows of a part.
    pub(super) fn encode(
        classifier: &Classifier,
        rows: &TokenSet,
        what: &'static str,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let total = rows.len();
        let sequence = |row| rows.sequence(row);
        let mut work = |done| show(Progress::Work { what, done, total });
        let lengths = rows.lengths();
        let found = train::features(classifier, &lengths, &sequence, novelty::INPUTS, &mut work)?;
        let uniform = |row: usize| {
            let sequence = rows.sequence(row);
            conformal::uniform(&sequence.ids, &sequence.type_ids)
        };
        Ok(Self {
            novelty_ne: novelty::vectors(&found, total),
            feature_nd: found.feature_nd,
            labels: rows.labels().to_vec(),
            uniforms: (0..total).map(uniform).collect(),
        })
    }

    /// Rows.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Adds the rows of another part.
    pub(super) fn join(&mut self, mut other: Self) {
        self.feature_nd.append(&mut other.feature_nd);
        self.novelty_ne.append(&mut other.novelty_ne);
        self.labels.append(&mut other.labels);
        self.uniforms.append(&mut other.uniforms);
    }
}
