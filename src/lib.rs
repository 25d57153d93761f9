//! `bayes`: train and run text classifiers that know when they are unsure.
//!
//! A user of the library predicts a table to a table with [`predict::stream`], and evaluates model folders with
//! [`evaluate::models`].
//!
//! A module uses only those that stand to its right (`tests/architecture.rs` holds it to that):
//!
//! ```text
//! cli > experiment > audit > {evaluate, bench, serve, publish} > predict > artifact > method > calibrate
//!     > {posterior, train} > {model, data} > {compute, hub} > {store, task}          metrics, numbers, suggest: leaves
//! ```

pub mod artifact;
pub mod audit;
pub mod bench;
pub mod calibrate;
pub mod cli;
pub mod compute;
pub mod data;
pub mod evaluate;
pub mod experiment;
pub mod hub;
pub mod method;
pub mod metrics;
pub mod model;
pub mod numbers;
pub mod posterior;
pub mod predict;
pub mod publish;
pub mod serve;
pub mod store;
pub mod suggest;
pub mod task;
pub mod train;
