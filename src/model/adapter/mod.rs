//! LoRA adapters in the layout of PEFT, merged while the weights are read.
//!
//! Hu et al., "LoRA: Low-rank adaptation of large language models" (ICLR 2022), section 4.1: W + s·B·A, B `[out, r]`,
//! A `[r, in]`, s = α/r; with `use_rslora` s = α/√r (Kalajdzievski, 2023). What the adapter has whole (PEFT's
//! `modules_to_save`, such as the classifier) takes the place of what the base has. Everything else that PEFT can do
//! to a model is refused by its name: merge it there. So are weights that the config does not have, or has otherwise,
//! which PEFT leaves out without a word.

mod config;
mod keys;
mod merge;
mod targets;

use std::path::{Path, PathBuf};

pub(super) use self::config::Adapter;
pub(super) use self::merge::{Delta, Place};
use super::ModelError;
use super::obtain::TOKENIZERS;

/// What makes a folder one of an adapter, and its weights, the first that is there.
pub const FILES: [&str; 3] = [CONFIG, "adapter_model.safetensors", "adapter_model.bin"];
const CONFIG: &str = "adapter_config.json";

/// Before every tensor of an adapter.
pub(super) const PREFIX: &str = "base_model.model.";

/// What a tensor of an adapter is called in its model: PEFT writes `modules_to_save` into the names where a
/// training saved its whole state.
pub(super) fn plain(name: &str) -> String {
    name.replace(".modules_to_save.default.", ".").replace(".modules_to_save.", ".")
}

/// The folder of the base that an adapter is laid over, where it is another one than that of the adapter.
///
/// # Errors
/// The adapter cannot be read, or its base is not on this machine.
pub fn adapter_base(folder: &Path) -> Result<Option<PathBuf>, ModelError> {
    let base = Adapter::of(folder)?.map(|adapter| adapter.base()).transpose()?;
    Ok(base.filter(|base| base != folder))
}

/// The folder that a model's tokenizer is read from: that of the base, for an adapter without one of its own.
///
/// # Errors
/// As [`adapter_base`].
pub fn tokenizer_folder(folder: &Path) -> Result<PathBuf, ModelError> {
    let has = |name: &&str| folder.join(name).is_file();
    let own = TOKENIZERS.iter().any(|files| files.iter().all(has));
    let base = if own { None } else { adapter_base(folder)? };
    Ok(base.unwrap_or_else(|| folder.to_owned()))
}
