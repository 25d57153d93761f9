//! Features of the rows of a fit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::calibration::HeldOut;
use super::feature_cache::{self, FeatureCache};
use super::prepare::unkept;
use super::rows::Rows;
use super::{ExperimentError, Features, Progress};
use crate::artifact::Artifact;
use crate::data::{self, Part, TokenSet, Tokens};
use crate::model::Networks;
use crate::posterior::Passes;

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
    ) -> Result<Self, ExperimentError> {
        let (preprocessing, pooling) = (&source.manifest.preprocessing, source.encoder.pooling);
        Ok(Self {
            networks: Networks::packed(&source.encoder, &source.parameters, &[])?,
            cache: FeatureCache::new(folder, preprocessing, pooling)?,
            source,
            rows,
            tokens: BTreeMap::new(),
            encoded: 0,
        })
    }

    pub(super) fn held_out(
        &mut self,
        passes: Option<Passes>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<HeldOut, ExperimentError> {
        let parts = &self.rows.parts;
        Ok(HeldOut::new(
            self.features(&parts.temperature, passes, show)?,
            self.features(&parts.conformal, passes, show)?,
            parts.train.rows.len() + parts.validation.rows.len(),
        ))
    }

    /// Several passes are not kept: they are many times as large, and for one setting only.
    pub(super) fn features(
        &mut self,
        part: &Part,
        passes: Option<Passes>,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Features, ExperimentError> {
        let width = self.source.encoder.hidden_size;
        let of_model = |label: u32| self.rows.by_label[label as usize];
        let labels: Vec<u32> =
            part.examples(&self.rows.dataset).map(|example| of_model(example.label)).collect();
        let path = self.cache.path(&part.hash(&self.rows.dataset));
        let kept = feature_cache::read(&path, labels.clone(), width);
        if let Some(features) = kept.filter(|_| passes.is_none()) {
            return Ok(features);
        }
        let rows = part.rows.iter().map(|&row| row as u32).collect();
        let tokens = TokenSet::new(self.tokens(&part.split, show)?, rows, labels);
        let features = Features::encode(&self.networks, &tokens, passes, "encoding", show)?;
        if passes.is_none() {
            feature_cache::keep(&path, &features, width, show);
        }
        self.encoded += features.labels.len();
        Ok(features)
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
        let tokens = data::prepare_tokens(
            &data::cache_folder(),
            &self.source.tokenizer,
            self.rows.dataset.rows(split),
            preprocessing,
            &mut |done, total| show(Progress::Work { what: "tokenising", done, total }),
        );
        let tokens = Arc::new(tokens.map_err(data::DataError::from)?);
        if let Some(why) = tokens.unkept() {
            show(Progress::Warning(unkept(why)));
        }
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
