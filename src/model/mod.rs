//! The encoder and its head on packed batches, in the layout of transformers.

mod adapter;
mod architecture;
mod classifier;
mod config;
mod engine;
mod entailment;
mod graph;
mod inference;
mod layout;
mod networks;
mod obtain;
mod parameters;
mod places;
mod save;
mod sentence;
mod settings;
mod states;
mod unread_tensors;
mod weight_files;
mod weights;
mod zeros;

pub use adapter::{FILES as ADAPTER_FILES, adapter_base, tokenizer_folder};
pub use architecture::{
    Architecture, AttentionKind, Block, Convolution, Design, Disentangled, Fresh, HeadActivation,
    HeadDesign, Positions, Projection, Rate, Rotary, RotaryLayer, Shared, Span,
};
pub use classifier::{Classifier, DropoutPasses, DropoutSource, StillWanted, Trunk};
pub use config::{EncoderConfig, Norm, Pooling, PositionEmbedding, Sizes, check_labels};
pub use engine::{Engine, GradientMap, Tape, TrainingPass};
pub use entailment::Entailment;
pub use graph::Segments;
pub use inference::{TrunkRows, Wanted, features, last_layer};
pub use layout::{Fill, Part, Specification, is_above, specifications, weights_number};
pub use networks::{Networks, Sampling};
pub use obtain::{here, obtain};
pub use parameters::Parameters;
pub use save::{save, save_at};
pub use sentence::{MODULES, Module, left_out, modules_of, pooling_of, unread_changes};
pub use settings::{FROM_SCRATCH, ModelConfig, PoolingChoice, SIZES};
pub use states::HiddenStates;
pub use weight_files::FORMS as WEIGHT_FORMS;
pub use weights::{Loaded, load, load_file, origin, transformers_view, with_last_layer};

use std::path::{Path, PathBuf};

use crate::hub::HubError;

/// The files that the weights of a folder follow from, by their names there: all that are there. Those of the base
/// of an adapter are in [`adapter_base`].
pub fn weight_files(folder: &Path) -> Vec<PathBuf> {
    weight_files::paths(folder)
}

/// What can be wrong with an encoder.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    /// Neither a folder nor an id.
    #[error(
        "model folder `{name}` not found; give a folder with a model as transformers saves it \
         (config.json, weights and a tokenizer), or a Hub id such as `owner/name`"
    )]
    NoFolder {
        /// What was asked for.
        name: String,
    },
    /// No folder, and the Hub does not give it.
    #[error("model folder `{name}` not found, and it could not be downloaded from the Hub")]
    NotFetched { name: String, source: Box<HubError> },
    /// A repository that is no model of ours.
    #[error(
        "`{id}` on the Hub has no `{file}`; it must be a model in transformers' layout, with weights in \
         safetensors or in `pytorch_model.bin`"
    )]
    NotOnHub { id: String, file: String },
    /// The folder in which a run keeps its model.
    #[error("`{0}` is the folder of a run, not a model; use `{0}/model`")]
    OfRun(PathBuf),
    /// A file is missing from a model folder.
    #[error("`{folder}` has no `{file}`; {hint}")]
    Missing {
        folder: PathBuf,
        /// The file that is not there.
        file: &'static str,
        /// What would be right.
        hint: &'static str,
    },
    /// `config.json` asks for something that cannot be built.
    #[error("`{path}`: {message}")]
    Config {
        /// The file, or the config section.
        path: PathBuf,
        /// What is wrong, and what is supported.
        message: String,
    },
    /// An encoder that is read in a way that is not supported.
    #[error(
        "`{path}` says that this encoder is read by {mode}, but only mean and first token (cls) \
         are supported; choose one with `model.pooling`"
    )]
    Pooling { path: PathBuf, mode: String },
    /// The weights file is damaged.
    #[error(
        "`{path}` is damaged or incomplete: {message}; restore the file or download the model again"
    )]
    Corrupt {
        path: PathBuf,
        /// What the reader said.
        message: String,
    },
    /// A pickle that is no dictionary of tensors, or may be more.
    #[error(
        "`{path}` is not read: {message}; if you trust whoever made it, load it with the tool that wrote it, and \
         save the model with transformers (`save_pretrained`), which writes `model.safetensors`"
    )]
    Pickle { path: PathBuf, message: String },
    /// An adapter that is not merged here.
    #[error(
        "the adapter in `{folder}` cannot be merged while reading: {message}; merge it with PEFT \
         (`model.merge_and_unload()`), save the result with `save_pretrained`, and give `bayes` that folder"
    )]
    Adapter { folder: PathBuf, message: String },
    /// The base of an adapter does not come.
    #[error(
        "the adapter in `{adapter}` is nothing without its base; give the folder or Hub id of that as \
         `base_model_name_or_path` in its `adapter_config.json`"
    )]
    Base { adapter: PathBuf, source: Box<ModelError> },
    /// Factors of LoRA beside the weights that they belong to.
    #[error(
        "`{path}` has `{name}`, a factor of LoRA that is not merged into its weights; merge them with the tool that \
         trained them, and save the whole model"
    )]
    Unmerged { path: PathBuf, name: String },
    /// Weights that are numbers of few bits, with scales elsewhere.
    #[error(
        "`{path}` is quantised (tensor `{name}`), which is not supported; give the model that it was made from, or \
         load it with transformers, undo it with `model.dequantize()` and save it"
    )]
    Quantised { path: PathBuf, name: String },
    /// A tensor is not there.
    #[error("`{path}` has no tensor `{name}`, which its `config.json` requires")]
    NoTensor {
        path: PathBuf,
        /// Name as transformers writes it.
        name: String,
    },
    /// A tensor has other dimensions than the config says.
    #[error(
        "`{path}`: tensor `{name}` has shape {found:?}, but `config.json` requires {expected:?}"
    )]
    Shape {
        path: PathBuf,
        /// Name as transformers writes it.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape by the config.
        expected: Vec<usize>,
    },
    /// A tensor of a type that holds no weights.
    #[error(
        "`{path}`: tensor `{name}` is {found}; only f32, f16, bf16 and f64 are supported, and integers or f8 are \
         quantised weights: give the model before it was quantised"
    )]
    Type {
        path: PathBuf,
        /// Name as transformers writes it.
        name: String,
        found: String,
    },
    /// A weight is not a finite number.
    #[error("`{path}`: tensor `{name}` holds a value that is not finite")]
    NotFinite {
        path: PathBuf,
        /// Name as transformers writes it.
        name: String,
    },
    /// A file that is much larger than its config.
    #[error(
        "`{path}` has {bytes} bytes, but the encoder that `config.json` describes has at most \
         {most}; the two do not belong together"
    )]
    TooLarge { path: PathBuf, bytes: u64, most: u64 },
    /// Weights that do not fit.
    #[error(
        "the weights in `{path}` need {} MB of memory, but this machine has only {} MB left", .needed >> 20, .left >> 20
    )]
    Memory {
        path: PathBuf,
        /// Bytes of the parameters.
        needed: u64,
        /// Bytes that may be taken.
        left: u64,
    },
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
