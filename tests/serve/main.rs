//! `bayes serve` as a process of its own, asked over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod access;
mod bounds;
mod cascade;
mod connections;
mod contract;
mod engine;
mod feedback;
mod hostile;
mod http2;
mod jobs;
mod life;
mod model_files;
mod operations;
mod predict_stream;
mod protocols;
mod server;
mod several;
mod soak;
