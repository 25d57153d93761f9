//! Repositories and files of the Hugging Face Hub, and the local cache of them, which is shared with
//! Python. It knows repositories and files, not models or data sets.

mod answer;
mod cache;
mod client;
mod error;
mod fetch;
mod listing;
mod piece;
mod progress;
mod refs;
mod repository;
mod settings;
mod transfer;
mod upload;

pub use client::{Call, Client, Payload};
pub use error::HubError;
pub use fetch::{Listing, Snapshot, cached, lacks, note_lack};
pub use listing::{Entry, Info, LargeFile};
pub use piece::{Piece, Version};
pub use progress::{Progress, observe};
pub use refs::{Reference, Refs};
pub use repository::{Kind, Repository, encoded, encoded_path, is_id};
pub use settings::{PLAIN_HTTP, Settings, Token, cache_folder, is_offline};
pub use upload::{Committed, Content, Hashed, Memory, NewFile, Observer, Push};
