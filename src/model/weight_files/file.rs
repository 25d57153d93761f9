//! One file of weights, of either kind.

use std::path::{Path, PathBuf};

use super::pickle::PickleFile;
use super::safetensors::SafetensorsFile;
use super::{Keep, Take, TensorInfo};
use crate::model::{ModelError, adapter};

/// One file.
#[derive(Debug)]
enum Content {
    Safetensors(SafetensorsFile),
    Pickle(PickleFile),
}

#[derive(Debug)]
pub(super) struct WeightsFile {
    pub path: PathBuf,
    /// Under which its hash stands in a manifest.
    pub label: String,
    /// What comes off the names of its tensors.
    pub prefix: &'static str,
    content: Content,
}

impl WeightsFile {
    pub(super) fn open(path: &Path, label: String) -> Result<Self, ModelError> {
        let content = match path.extension().is_some_and(|extension| extension == "bin") {
            true => Content::Pickle(PickleFile::open(path)?),
            false => Content::Safetensors(SafetensorsFile::open(path)?),
        };
        Ok(Self { path: path.to_owned(), label, prefix: "", content })
    }

    pub(super) fn is_pickle(&self) -> bool {
        matches!(self.content, Content::Pickle(_))
    }

    pub(super) fn length(&self) -> u64 {
        match &self.content {
            Content::Safetensors(file) => file.length(),
            Content::Pickle(file) => file.length(),
        }
    }

    pub(super) fn tensors(&self) -> Box<dyn Iterator<Item = (String, &TensorInfo)> + '_> {
        let renamed = |(name, info): (&str, _)| (self.outside(name), info);
        match &self.content {
            Content::Safetensors(file) => Box::new(file.tensors().map(renamed)),
            Content::Pickle(file) => Box::new(file.tensors().map(renamed)),
        }
    }

    /// What a tensor of the file is called outside of it.
    fn outside(&self, name: &str) -> String {
        let bare = name.strip_prefix(self.prefix).unwrap_or(name);
        match self.prefix.is_empty() {
            true => bare.to_owned(),
            false => adapter::plain(bare),
        }
    }

    pub(super) fn read(&self, keep: &Keep<'_>, take: &mut Take<'_>) -> Result<String, ModelError> {
        let keep = |name: &str| keep(&self.outside(name));
        let take = &mut |name: &str, info: &TensorInfo, bytes: &[u8]| {
            take(&self.outside(name), info, bytes)
        };
        match &self.content {
            Content::Safetensors(file) => file.read(&keep, take),
            Content::Pickle(file) => file.read(&keep, take),
        }
    }
}
