//! `bayes serve`: answers over HTTP, each with its uncertainty, and nothing lost.
//!
//! ```text
//! door ─▶ endpoints ─▶ tokenising threads ─▶ scheduler ─▶ one engine thread ─▶ answers
//! probes   memory       bytes, deadlines, cancellation,   cost budget
//!          budget
//! ```
//!
//! A text gets the same bits alone, in a batch, from the cache and in a job, since all of them go
//! through `answer`.

mod amount;
mod answer;
mod app;
mod body;
mod budget;
mod client;
mod drift;
mod encoding;
mod endpoint;
mod endpoints;
mod engine;
mod feedback;
mod forward;
mod gate;
mod guard;
mod host;
mod jobs;
mod key_file;
mod keys;
mod life;
mod limit;
mod metrics;
mod model;
mod observe;
mod openapi;
mod problem;
mod protocols;
mod query;
mod reply;
mod request;
mod run;
mod scheduler;
mod served;
mod server;
mod settings;
mod shared;
mod tokenize;
mod wire;

pub use body::BodyLimits;
pub use feedback::record::{Row as FeedbackRow, rows as feedback_rows};
pub use feedback::{FeedbackSettings, LogError, SecretSource, SharedError, labels_in_redis};
pub use forward::{Forward, ForwardError, ForwardSettings, Target, TargetError};
pub use host::given as given_host;
pub use keys::{KeyError, KeySource, Keys};
pub use limit::Rate;
pub use model::LoadError;
pub use request::{Abstain, RequestLimits};
pub use run::{ModelFolder, ServeError, load_all, run};
pub use scheduler::Limits as BatchLimits;
pub use settings::{Role, Settings};
pub use shared::{Address, AddressError, Prefix, in_file as address_in_file};
