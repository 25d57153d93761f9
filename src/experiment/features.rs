//! What a trained encoder makes of the rows of a part: all that posterior and calibration look at.

use super::{ExperimentError, Progress};
use crate::calibrate::{conformal, novelty};
use crate::data::TokenSet;
use crate::method::PosteriorConfig;
use crate::model::{self, HiddenStates, Networks, Wanted};
use crate::posterior::{Passes, Posterior};

/// How a posterior reads texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reads {
    /// Several passes, where it has them.
    pub(super) passes: Option<Passes>,
    /// The hidden states that it reads beside the feature φ.
    pub(super) states: HiddenStates,
}

impl Reads {
    /// Of a posterior that is to be made.
    pub(super) fn planned(config: &PosteriorConfig) -> Self {
        Self { passes: config.approach().needs().passes, states: config.feature_layers }
    }

    pub(super) fn of(posterior: &Posterior) -> Self {
        Self { passes: posterior.passes(), states: posterior.states() }
    }

    /// In one pass, as training rows are read.
    pub(super) fn once(self) -> Self {
        Self { passes: None, ..self }
    }
}

/// The rows of one part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    /// The feature φ that enters the last linear layer, `[n, d]`.
    pub feature_nd: Vec<f32>,
    /// The means of hidden states and φ, `[n, e]`, where a last layer reads those too.
    pub wide_ne: Vec<f32>,
    /// φ in each pass, `[n, samples, d]`, where passes were asked for, or the logits of each network,
    /// `[n, m, c]`.
    pub sample_nsd: Vec<f32>,
    /// What novelty looks at, `[n, e]`: see [`novelty::vectors`].
    pub novelty_ne: Vec<f32>,
    /// Whether the last part of that is of the encoder before it was fine-tuned.
    pub reference: bool,
    /// How many tokens the encoder saw, `[n]`.
    pub tokens: Vec<u32>,
    /// `[n]`.
    pub labels: Vec<u32>,
    /// The uniform number of each text, `[n]`: see [`conformal::uniform`].
    pub uniforms: Vec<f64>,
}

/// Refuses training rows that all are the same to the encoder, by their tokens or by their features.
pub(super) fn check_distinct<T: PartialEq>(
    mut rows: impl ExactSizeIterator<Item = T>,
) -> Result<(), ExperimentError> {
    let count = rows.len();
    let first = rows.next();
    match count > 1 && rows.all(|row| Some(row) == first) {
        true => Err(ExperimentError::SameTexts(count)),
        false => Ok(()),
    }
}

impl Features {
    /// The feature of each row.
    pub(super) fn lines(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        let width = self.feature_nd.len() / self.len().max(1);
        self.feature_nd.chunks_exact(width.max(1))
    }

    /// Encodes the rows of a part with the first network, and as often as is asked for.
    pub(super) fn encode(
        networks: &Networks,
        rows: &TokenSet,
        reads: Reads,
        what: &'static str,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, ExperimentError> {
        let total = rows.len();
        let sequence = |row| rows.sequence(row);
        let mut work = |done| show(Progress::Work { what, done, total });
        let lengths = rows.lengths();
        let Reads { passes, states } = reads;
        let layers = networks.first().config().num_hidden_layers;
        let inputs = novelty::INPUTS.max(states.inputs(layers));
        let wanted = Wanted { inputs, sampling: passes.map(Passes::usual) };
        let found = model::features(networks, &lengths, &sequence, &wanted, &mut work)?;
        let uniform = |row: usize| {
            let sequence = rows.sequence(row);
            conformal::uniform(&sequence.ids, &sequence.type_ids)
        };
        Ok(Self {
            novelty_ne: novelty::vectors(&found, novelty::INPUTS, total),
            reference: networks.has_reference(),
            wide_ne: match states.is_empty() {
                true => Vec::new(),
                false => found.with_states(states, layers, total),
            },
            feature_nd: found.feature_nd,
            sample_nsd: found.sample_nsd,
            tokens: lengths,
            labels: rows.labels().to_vec(),
            uniforms: (0..total).map(uniform).collect(),
        })
    }

    /// What a posterior reads: the passes where there are any, else [`Self::fitted`].
    pub(super) fn read(&self) -> &[f32] {
        if self.sample_nsd.is_empty() { self.fitted() } else { &self.sample_nsd }
    }

    /// What a last layer is fitted on: the feature φ, with hidden states where these are read too.
    pub(super) fn fitted(&self) -> &[f32] {
        if self.wide_ne.is_empty() { &self.feature_nd } else { &self.wide_ne }
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Some of the rows, in the order they are named.
    pub(super) fn some(&self, rows: &[usize]) -> Self {
        let lines = |values: &[f32]| -> Vec<f32> {
            let width = values.len() / self.len().max(1);
            let line = |&row: &usize| &values[row * width..(row + 1) * width];
            rows.iter().flat_map(line).copied().collect()
        };
        Self {
            feature_nd: lines(&self.feature_nd),
            wide_ne: lines(&self.wide_ne),
            sample_nsd: lines(&self.sample_nsd),
            novelty_ne: lines(&self.novelty_ne),
            reference: self.reference,
            tokens: rows.iter().map(|&row| self.tokens[row]).collect(),
            labels: rows.iter().map(|&row| self.labels[row]).collect(),
            uniforms: rows.iter().map(|&row| self.uniforms[row]).collect(),
        }
    }

    /// Adds the rows of another part.
    pub(super) fn join(&mut self, mut other: Self) {
        self.feature_nd.append(&mut other.feature_nd);
        self.wide_ne.append(&mut other.wide_ne);
        self.sample_nsd.append(&mut other.sample_nsd);
        self.novelty_ne.append(&mut other.novelty_ne);
        self.tokens.append(&mut other.tokens);
        self.labels.append(&mut other.labels);
        self.uniforms.append(&mut other.uniforms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_all_the_same_are_refused() {
        let refused = |rows: &[&str]| match check_distinct(rows.iter()) {
            Ok(()) => None,
            Err(ExperimentError::SameTexts(count)) => Some(count),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(refused(&["a", "a", "a"]), Some(3));
        for fine in [&["a", "a", "b"][..], &["a"], &[]] {
            assert_eq!(refused(fine), None, "{fine:?}");
        }
        let features = Features {
            feature_nd: vec![1.0, 2.0, 1.0, 2.0],
            labels: vec![0, 1],
            ..Features::default()
        };
        assert!(check_distinct(features.lines()).is_err());
        assert!(check_distinct(Features::default().lines()).is_ok());
    }
}
