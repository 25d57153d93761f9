//! What can be wrong with a tokenizer.

use std::path::PathBuf;

/// Why a tokenizer could not be loaded, or a text not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The file could not be read.
    #[error("cannot read the tokenizer `{path}`")]
    Read {
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no tokenizer.
    #[error("`{path}` is not a `tokenizer.json` that this version can read")]
    Parse {
        path: PathBuf,
        /// What the `tokenizers` crate said.
        #[source]
        source: tokenizers::Error,
    },
    /// The file is larger than any tokenizer.
    #[error("`{path}` has {size} bytes, more than any tokenizer needs")]
    TooLarge { path: PathBuf, size: u64 },
    /// The file brings a regular expression of its own.
    #[error(
        "`{path}` contains the regular expression `{expression}`, but only known ones are run, \
         because a text could make it run forever"
    )]
    Expression { path: PathBuf, expression: String },
    /// The file has a part of a kind that no encoder of ours uses.
    #[error(
        "`{path}` contains the component `{component}`, which no tokenizer of an encoder has; it \
         is not run"
    )]
    Component { path: PathBuf, component: String },
    /// A number or a text of the file is out of bounds.
    #[error("`{path}` is not used: {message}")]
    Bounds {
        path: PathBuf,
        /// What is out of bounds.
        message: String,
    },
    /// A file beside it says what cannot be.
    #[error("`{path}`: {message}")]
    Config {
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// No file that a tokenizer can be made of.
    #[error(
        "`{folder}` has no `tokenizer.json`, and nothing to build it from: `vocab.txt`, `vocab.json` \
         with `merges.txt`, `sentencepiece.bpe.model`, `spiece.model` or `spm.model`; load and save \
         the tokenizer with transformers, which writes it"
    )]
    NoFiles { folder: PathBuf },
    /// The part that adds special tokens is broken.
    #[error("the tokenizer's post-processor is unusable: {reason}")]
    PostProcessor {
        /// What is wrong with it.
        reason: String,
    },
    /// The template has no place for a second text.
    #[error("this tokenizer has no template for text pairs")]
    NoPairs,
    /// A sentence made of a label leaves no room.
    #[error(
        "the longest label makes a sentence of {longest} tokens, which with {special} special tokens leaves no room \
         for text in {max_length} tokens; shorten the label or the template"
    )]
    LongHypothesis { longest: usize, special: usize, max_length: usize },
    /// The special tokens leave no room.
    #[error(
        "`max_length` {max_length} leaves no room for text with the {special} special tokens; it \
         must be at least {least}"
    )]
    TooShort {
        max_length: usize,
        /// Special tokens of the template.
        special: usize,
        /// The smallest length that works.
        least: usize,
    },
    /// The `tokenizers` crate failed on a text.
    #[error("cannot tokenise text {index}")]
    Encode {
        /// Its place in the call.
        index: usize,
        /// What the crate said.
        #[source]
        source: tokenizers::Error,
    },
    /// The tokenizer cannot be written as JSON.
    #[error("cannot write the tokenizer as JSON")]
    Write(#[source] tokenizers::Error),
}
