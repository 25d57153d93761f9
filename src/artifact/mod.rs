//! The model folder: loadable by transformers as it is, with our part under `bayes/`.

mod certificate;
mod files;
mod foreign;
mod load;
mod made;
mod manifest;
mod members;
mod modules;
mod others;
mod posterior_file;
mod precisions;
mod save;
mod sentence;
mod tokenizer_files;
mod unread;
mod zero_shot;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use certificate::{
    Certificate, Change, CoverageChange, FittedAt, LEAST_ROWS, MOST_NLL, Verdict,
};
pub use load::{load, manifest_of};
pub use made::Fitted;
pub use manifest::{Ancestor, Manifest, PartRecord, Recalibration, SCHEMA, UNLABELLED};
pub use members::REFERENCE;
pub use save::{
    CONFIG, DRIFT, EVALUATION, INTEGERS, Records, add_records, check_target, recorded_config, save,
    save_with_config, save_with_weights, write,
};
pub use sentence::SENTENCE_FILES;
pub use tokenizer_files::SpecialTokens;
pub use unread::other_networks;
pub use zero_shot::{ZeroShot, ZeroShotLabels};

use crate::calibrate::Calibration;
use crate::calibrate::drift::DriftReference;
use crate::calibrate::novelty::Novelty;
use crate::compute::Precision;
pub use crate::data::Preprocessing;
use crate::data::TextTokenizer;
use crate::method::FitRecord;
use crate::model::{EncoderConfig, Parameters};
use crate::posterior::Posterior;

/// Files that change a prediction: their hashes stand in the manifest. [`Artifact::hashed_files`] has those of an
/// ensemble too.
pub const HASHED: [&str; 5] = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "bayes/posterior.safetensors",
    "bayes/calibration.safetensors",
];

/// What a model folder holds.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The encoder's config, with the labels.
    pub encoder: EncoderConfig,
    pub parameters: Parameters,
    /// The other networks of an ensemble.
    pub members: Vec<Parameters>,
    /// The encoder before it was fine-tuned, where novelty reads it.
    pub reference: Option<Parameters>,
    /// The tokenizer, without truncation and padding.
    pub tokenizer: TextTokenizer,
    /// The names of its special tokens.
    pub special_tokens: SpecialTokens,
    /// What predicts; its mean on φ is the last layer of the parameters, but for labels that a user named.
    pub posterior: Posterior,
    /// Prediction sets, novelty and limits; nothing where none was fitted.
    pub calibration: Calibration,
    /// What was fitted at other precisions than that of the parameters.
    pub fitted_at: BTreeMap<Precision, FittedAt>,
    /// What was predicted for the calibration rows; absent from folders of earlier versions.
    pub drift: Option<DriftReference>,
    /// Everything else that is known of the model.
    pub manifest: Manifest,
}

impl Artifact {
    /// The model with another posterior, whose mean on φ becomes its last layer, and with another calibration.
    pub fn with_fit(
        self,
        (posterior, fit): (Posterior, FitRecord),
        calibration: Calibration,
    ) -> candle_core::Result<Self> {
        let (parameters, transformers) = match &self.manifest.zero_shot {
            // The last layer is that of the pairs, which no fit moves.
            Some(_) => (self.parameters, self.manifest.transformers),
            None => (
                self.parameters.with_last_layer(&posterior.mean_cd, &posterior.mean_c)?,
                posterior.last_layer_is().to_owned(),
            ),
        };
        let certificates = BTreeMap::new();
        let recalibrated = None;
        let manifest = Manifest { fit, transformers, certificates, recalibrated, ..self.manifest };
        let fitted_at = BTreeMap::new();
        let reads = calibration.novelty.as_ref().is_some_and(Novelty::reads_reference);
        let reference = self.reference.filter(|_| reads);
        let drift = None;
        Ok(Self {
            parameters,
            reference,
            posterior,
            calibration,
            fitted_at,
            drift,
            manifest,
            ..self
        })
    }
}

/// What can be wrong with a model folder.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// There is no such folder.
    #[error("model folder `{0}` not found")]
    NoFolder(PathBuf),
    /// A file of the folder is missing.
    #[error("`{0}` not found; restore the file, or train or download the model again")]
    NotThere(PathBuf),
    #[error("cannot read `{path}`")]
    Read { path: PathBuf, source: std::io::Error },
    /// A file is a link out of the folder.
    #[error("`{path}` leads outside its folder, to `{real}`; put the file itself there")]
    Outside { path: PathBuf, real: PathBuf },
    /// A folder or a device stands where a file should.
    #[error("`{path}` is not a file")]
    NoFile { path: PathBuf },
    /// A file is larger than that of any model.
    #[error("`{path}` has {bytes} bytes, but at most {most} are read")]
    TooLarge { path: PathBuf, bytes: u64, most: u64 },
    /// A file is not what was saved.
    #[error(
        "`{path}` has changed since this model was saved (its SHA-256 differs from the manifest); \
         restore the file, or save the model again"
    )]
    Changed { path: PathBuf },
    /// A folder that would be replaced with what is in it.
    #[error(
        "writing a model replaces the whole of `{folder}`, but it contains `{name}`, which is not \
         part of a `bayes` model; choose a different folder, or move its contents elsewhere"
    )]
    Occupied {
        folder: PathBuf,
        /// What is in it.
        name: String,
    },
    /// The manifest is damaged.
    #[error("`{path}` is damaged; restore the file, or train or download the model again")]
    Manifest {
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The manifest lists a file that is none of a model's.
    #[error("`{path}` lists `{name}`, which is not a model file")]
    ForeignFile { path: PathBuf, name: String },
    /// The folder was written by a newer version.
    #[error("`{path}` has schema {found}, but this version of bayes reads schemas up to {SCHEMA}")]
    Schema { path: PathBuf, found: u32 },
    /// The posterior or the calibration is damaged.
    #[error("`{path}` is damaged: {message}")]
    Posterior {
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// The folder holds an encoder without a classification head.
    #[error(
        "`{folder}` is an encoder without a classification head (`{missing}` is missing); to train \
         a classifier on your data, run `bayes train DATA --set model.init={folder}`"
    )]
    NoHead {
        folder: PathBuf,
        /// The first tensor that is missing.
        missing: String,
    },
    /// The folder holds the last layer of a classifier, and not all that comes before it.
    #[error(
        "`{folder}` has only a part of the classification head of `{architecture}`: `{missing}` is missing \
         from `model.safetensors`; save the whole classifier again with the tool that trained it, or train a \
         new one on your data with `bayes train DATA --set model.init={folder}`"
    )]
    HalfHead {
        folder: PathBuf,
        /// The class of transformers.
        architecture: String,
        /// The first tensor that is missing.
        missing: String,
    },
    /// Tokens that the encoder has no embedding for.
    #[error(
        "`{folder}`: the tokenizer has {tokens} tokens, but the encoder has embeddings for \
         {embeddings}; the two do not belong together"
    )]
    Vocabulary {
        folder: PathBuf,
        /// Highest token id + 1.
        tokens: usize,
        /// Rows of the word embedding.
        embeddings: usize,
    },
    /// Segments that the encoder has no embedding for.
    #[error(
        "`{folder}`: the tokenizer gives a text the segment {}, but the encoder has embeddings for \
         {rows} (`type_vocab_size`); the two do not belong together",
        segments - 1
    )]
    Segments {
        folder: PathBuf,
        /// Highest segment of a single text + 1.
        segments: usize,
        /// Rows of the segment embedding.
        rows: usize,
    },
    /// The head has other outputs than the config has labels.
    #[error(
        "`{folder}`: the last layer has {found} outputs, but `config.json` {}; give one name for each output \
         under `id2label`",
        match labels {
            0 => "names no labels, which in transformers means two".to_owned(),
            labels => format!("names {labels} labels"),
        }
    )]
    OtherHead {
        folder: PathBuf,
        found: usize,
        /// How many `config.json` names; 0 where it is silent.
        labels: usize,
    },
    /// What we put beside a model is there, but not what says what it is.
    #[error(
        "`{ours}` has no `manifest.json`, so its other files cannot be interpreted; restore \
         `{path}`, or delete `{ours}` to use the classifier without posterior and calibration"
    )]
    NoManifest { path: PathBuf, ours: PathBuf },
    /// The manifest says something that cannot be.
    #[error("`{path}` cannot be used: {message}")]
    Nonsense { path: PathBuf, message: String },
    /// Labels of the user's own that the model cannot have.
    #[error("{0}")]
    ZeroShot(String),
    /// Texts that are longer than the encoder's positions.
    #[error(
        "`{folder}`: texts may have {max_length} tokens, but the encoder has {positions} \
         positions; the two do not belong together"
    )]
    TooLong {
        folder: PathBuf,
        /// Most tokens of a text.
        max_length: usize,
        positions: usize,
    },
    /// The encoder cannot be read.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// The tokenizer cannot be read.
    #[error(transparent)]
    Tokenizer(#[from] crate::data::TokenizerError),
    /// The folder cannot be written.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}
