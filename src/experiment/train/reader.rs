//! Features of the parts of a run.

use std::path::PathBuf;

use super::candidate::Shop;
use super::cuts::{CutRows, cut};
use super::feature_cache::{self, FeatureCache};
use super::features::Reads;
use super::{ExperimentError, Features, Progress};
use crate::data::{Part, TokenSet};
use crate::model::{Networks, Parameters};
use crate::posterior::Posterior;

/// Features of parts, from the cache where there is one.
pub(super) struct Reader<'a> {
    networks: Networks,
    cache: Option<FeatureCache>,
    shop: &'a Shop<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(shop: &'a Shop<'a>, networks: Networks) -> Self {
        Self { networks, cache: None, shop }
    }

    /// For the encoder as it was before training, whose features are kept from run to run.
    pub(super) fn cached(shop: &'a Shop<'a>, networks: Networks) -> Result<Self, ExperimentError> {
        let (preprocessing, pooling) =
            (&shop.base.manifest.preprocessing, shop.base.encoder.pooling);
        let of_folder = |folder: &PathBuf| FeatureCache::new(folder, preprocessing, pooling);
        let cache = shop.prepared.start.folder.as_ref().map(of_folder).transpose()?;
        Ok(Self { networks, cache, shop })
    }

    /// With the samples of the top layers that a posterior has, around these weights.
    pub(super) fn drawn(
        &self,
        posterior: &Posterior,
        mean: &Parameters,
    ) -> Result<Self, ExperimentError> {
        let networks = posterior.drawn(self.networks.clone(), mean)?;
        Ok(Self { networks, cache: self.cache.clone(), shop: self.shop })
    }

    pub(super) fn features(
        &self,
        part: &Part,
        rows: &TokenSet,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Features, ExperimentError> {
        let reads = self.shop.reads();
        let Some(cache) = self.cache.as_ref().filter(|_| reads.passes.is_none()) else {
            return self.encode(rows, reads, "encoding", show);
        };
        let path = cache.path(&part.hash(&self.shop.prepared.dataset), reads.states);
        let width = self.shop.base.encoder.hidden_size;
        if let Some(features) = feature_cache::read(&path, rows.labels().to_vec(), width) {
            return Ok(features);
        }
        let features = self.encode(rows, reads, "encoding", show)?;
        feature_cache::keep(&path, &features, width, show);
        Ok(features)
    }

    /// Copies of these places of a part, where lengths are looked at.
    pub(super) fn cuts(
        &self,
        part: &Part,
        rows: &TokenSet,
        places: &[usize],
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<CutRows, ExperimentError> {
        if !self.shop.settings.calibration.cuts() {
            return Ok(CutRows::default());
        }
        let (copies, of) = cut(rows, places);
        let encode = |show: &mut dyn FnMut(Progress<'_>)| {
            self.encode(&copies, Reads::default(), "calibrating", show)
        };
        let Some(cache) = &self.cache else {
            return Ok(CutRows { features: encode(show)?, rows: of });
        };
        let texts = format!("{} cut {of:?}", part.hash(&self.shop.prepared.dataset));
        let path = cache.path(&texts, Reads::default().states);
        let width = self.shop.base.encoder.hidden_size;
        let features = match feature_cache::read(&path, copies.labels().to_vec(), width) {
            Some(features) => features,
            None => {
                let features = encode(show)?;
                feature_cache::keep(&path, &features, width, show);
                features
            }
        };
        Ok(CutRows { features, rows: of })
    }

    pub(super) fn encode(
        &self,
        rows: &TokenSet,
        reads: Reads,
        what: &'static str,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Features, ExperimentError> {
        Features::encode(&self.networks, rows, reads, what, show)
    }
}
