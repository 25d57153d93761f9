//! Features of the rows of a fit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::calibration::HeldOut;
use super::cuts::{CutRows, cut};
use super::feature_cache::{self, FeatureCache};
use super::features::Reads;
use super::prepare::cached_tokens;
use super::rows::Rows;
use super::{ExperimentError, Features, Progress};
use crate::artifact::{Artifact, REFERENCE};
use crate::data::{Part, TokenSet, Tokens};
use crate::model::{Networks, Parameters};
use crate::posterior::Posterior;

/// Features of parts, from the cache where it has them.
pub(super) struct Encoder<'a> {
    networks: Networks,
    cache: FeatureCache,
    source: &'a Artifact,
    rows: &'a Rows,
    tokens: BTreeMap<String, Arc<Tokens>>,
    /// Rows whose features had to be computed.
    pub(super) encoded: usize,
}

impl<'a> Encoder<'a> {
    /// `folder` is that of the model `source`.
    pub(super) fn new(
        folder: &Path,
        source: &'a Artifact,
        rows: &'a Rows,
        reference: bool,
    ) -> Result<Self, ExperimentError> {
        let (preprocessing, pooling) = (&source.manifest.preprocessing, source.encoder.pooling);
        let networks = Networks::packed(&source.encoder, &source.parameters, &[])?;
        let networks = networks.with_entailment(source.entailment());
        let reference = source.reference.as_ref().filter(|_| reference);
        let mut cache = FeatureCache::new(folder, preprocessing, pooling)?;
        if source.manifest.zero_shot.is_some() {
            cache = cache.with_labels(&source.manifest.beside_files());
        }
        if reference.is_some() {
            cache = cache.with_reference(&source.manifest.files[REFERENCE]);
        }
        Ok(Self {
            networks: networks.with_reference(reference)?,
            cache,
            source,
            rows,
            tokens: BTreeMap::new(),
            encoded: 0,
        })
    }

    /// From here on with the samples of the top layers that a posterior of this encoder has.
    pub(super) fn draw(
        &mut self,
        posterior: &Posterior,
        mean: &Parameters,
    ) -> Result<(), ExperimentError> {
        self.networks = posterior.drawn(self.networks.clone(), mean)?;
        Ok(())
    }

    /// With copies that are cut short if `cuts`.
    pub(super) fn held_out(
        &mut self,
        reads: Reads,
        cuts: bool,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<HeldOut, ExperimentError> {
        let parts = &self.rows.parts;
        Ok(HeldOut::new(
            self.features(&parts.temperature, reads, show)?,
            self.features(&parts.conformal, reads, show)?,
            if cuts { self.cuts(&parts.temperature, show)? } else { CutRows::default() },
            parts.train.rows.len() + parts.validation.rows.len(),
        ))
    }

    /// Several passes are not kept: they are many times as large, and for one setting only.
    pub(super) fn features(
        &mut self,
        part: &Part,
        reads: Reads,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Features, ExperimentError> {
        let texts = part.hash(&self.rows.dataset);
        let labels = self.labels(part);
        if let Some(kept) = self.kept(&texts, reads, labels) {
            return Ok(kept);
        }
        let tokens = self.token_set(part, show)?;
        self.encode(&texts, &tokens, reads, show)
    }

    /// Copies of the rows of a part.
    fn cuts(
        &mut self,
        part: &Part,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<CutRows, ExperimentError> {
        let tokens = self.token_set(part, show)?;
        let (copies, rows) = cut(&tokens, &(0..tokens.len()).collect::<Vec<_>>());
        let texts = format!("{} cut", part.hash(&self.rows.dataset));
        let features = match self.kept(&texts, Reads::default(), copies.labels().to_vec()) {
            Some(features) => features,
            None => self.encode(&texts, &copies, Reads::default(), show)?,
        };
        Ok(CutRows { features, rows })
    }

    /// What the cache has of rows with these labels.
    fn kept(&self, texts: &str, reads: Reads, labels: Vec<u32>) -> Option<Features> {
        let path = self.cache.path(texts, reads.states);
        let width = self.networks.feature_width();
        let kept = reads.passes.is_none().then(|| feature_cache::read(&path, labels, width));
        let reference = self.networks.has_reference();
        kept.flatten().map(|kept| Features { reference, ..kept })
    }

    fn encode(
        &mut self,
        texts: &str,
        tokens: &TokenSet,
        reads: Reads,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Features, ExperimentError> {
        let features = Features::encode(&self.networks, tokens, reads, "encoding", show)?;
        if reads.passes.is_none() {
            let width = self.networks.feature_width();
            let path = self.cache.path(texts, reads.states);
            feature_cache::keep(&path, &features, width, show);
        }
        self.encoded += features.labels.len();
        Ok(features)
    }

    /// The model's labels of a part.
    fn labels(&self, part: &Part) -> Vec<u32> {
        let of_model = |label: u32| self.rows.by_label[label as usize];
        part.examples(&self.rows.dataset).map(|example| of_model(example.label)).collect()
    }

    /// The tokens of the rows of a part.
    pub(super) fn token_set(
        &mut self,
        part: &Part,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<TokenSet, ExperimentError> {
        let rows = part.rows.iter().map(|&row| row as u32).collect();
        Ok(TokenSet::new(self.tokens(&part.split, show)?, rows, self.labels(part)))
    }

    fn tokens(
        &mut self,
        split: &str,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Arc<Tokens>, ExperimentError> {
        if let Some(tokens) = self.tokens.get(split) {
            return Ok(Arc::clone(tokens));
        }
        let preprocessing = &self.source.manifest.preprocessing;
        let (tokenizer, rows) = (&self.source.tokenizer, self.rows.dataset.rows(split));
        let tokens = Arc::new(cached_tokens(tokenizer, rows, preprocessing, show)?);
        if tokens.truncated() > 0 {
            show(Progress::Note(format!(
                "{} of {} texts of the `{split}` split are longer than {} tokens and are truncated",
                tokens.truncated(),
                tokens.rows(),
                preprocessing.max_length
            )));
        }
        self.tokens.insert(split.to_owned(), Arc::clone(&tokens));
        Ok(tokens)
    }
}
