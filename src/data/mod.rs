//! Data sets, splits, tokens and packed batches.

mod blank;
mod cache;
mod classes;
mod clean;
mod clip;
mod config;
mod dataset;
mod error;
mod example;
mod fetch;
mod folder;
mod given;
mod head;
mod joined;
mod known;
mod labels;
mod left_out;
mod locate;
mod mixed;
mod one_text;
mod order;
mod out_of_scope;
mod overrides;
mod places;
mod prepare;
mod preprocessing;
mod quiet;
mod read;
mod remark;
mod renaming;
pub mod reviews;
mod set;
pub mod split;
mod split_column;
pub mod stream;
mod stream_sample;
mod streamed;
mod summary;
pub mod table;
mod take;
mod texts;
mod tokenizer;
mod typical;
mod unlabelled;
mod untold;
mod vocabulary;
mod way_out;

use std::path::PathBuf;

pub use blank::is_blank;
pub use cache::{CacheError, Origin, Tokens, encode_clean, prepare as prepare_tokens};
pub use clean::clean;
pub use clip::longest as longest_text;
pub use config::{CrossFit, DataConfig};
use dataset::how_read;
pub use dataset::{Dataset, Place};
pub use error::DataError;
pub use example::Example;
pub use fetch::{Fetched, fetch};
pub use head::{Head, head};
pub use known::{
    Form, Known, Role, Score, Suite, Terms, Written, all as all_known, find as find_known,
};
pub use locate::{Located, is_here, locate, obtain, refuse_both};
pub use order::epoch_batches;
pub use out_of_scope::Tested;
pub use overrides::Overrides;
pub use places::two_readings;
pub use prepare::{Part, Parts, sample};
pub use preprocessing::Preprocessing;
pub use quiet::guarded;
pub use remark::Remark;
pub(crate) use remark::{sentence, some};
pub use renaming::{renaming, shell_word};
pub use set::TokenSet;
pub use streamed::{StreamSource, StreamedRows, TokenStream};
pub use summary::{
    Lengths, NONE_IS_NEW, PartSummary, repeated_calibration, repeated_evidence,
    repeated_validation, untrained,
};
pub use texts::Texts;
pub use tokenizer::{Encoded, FolderTokenizer, TextTokenizer, TokenizerError, Truncation};
pub use typical::typical_length;
pub use unlabelled::unlabelled;
pub use untold::Untold;
pub use vocabulary::{VocabularyError, build as build_vocabulary};

/// The folder of the token caches: `BAYES_CACHE_DIR`, else `bayes` in the user's cache folder.
pub fn cache_folder() -> PathBuf {
    let home = || {
        let cache = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
        let in_home = || std::env::home_dir().map(|home| home.join(".cache"));
        let cache = cache.map(PathBuf::from).or_else(in_home);
        cache.unwrap_or_else(std::env::temp_dir).join("bayes")
    };
    let own = std::env::var_os("BAYES_CACHE_DIR").filter(|dir| !dir.is_empty());
    own.map_or_else(home, PathBuf::from).join("tokens")
}
