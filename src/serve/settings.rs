//! What an operator decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::body::BodyLimits;
use super::feedback::FeedbackSettings;
use super::forward::ForwardSettings;
use super::keys::KeySource;
use super::limit::Rate;
use super::request::{Abstain, RequestLimits};
use super::scheduler;
use super::shared::Address;
use crate::predict::Loading;

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It answers requests and does jobs.
    Replica,
    /// It does the jobs that replicas accept.
    Worker,
}

/// All settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: SocketAddr,
    /// Where to give the metrics to; beside everything else if `None`.
    pub metrics_address: Option<SocketAddr>,
    pub connections: usize,
    /// Time for the head of a request.
    pub header_timeout: Duration,
    /// Time for an answer.
    pub request_timeout: Duration,
    /// What a body may be.
    pub body: BodyLimits,
    /// What a request may ask.
    pub request: RequestLimits,
    /// How the engine batches.
    pub batch: scheduler::Limits,
    /// How long the oldest text waits for company.
    pub batch_wait: Duration,
    pub tokenizer_threads: usize,
    /// Requests of one client; `None` for any number.
    pub rate: Option<Rate>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Keys of which a request must have one.
    pub api_keys: KeySource,
    /// Names that are answered to, beside the address and names without a dot.
    pub allowed_hosts: Vec<String>,
    /// Bytes of bodies that are read and of answers that are not read yet, over all connections.
    pub inflight_bytes: usize,
    /// Origins whose pages may call this server.
    pub cors_origins: Vec<String>,
    /// Answers that are kept, and how long.
    pub cache: (u64, Duration),
    /// Where answers, jobs and limits are shared with other replicas; `None` for one that is alone.
    pub redis: Option<Address>,
    /// Whether it answers requests, or does jobs of others alone.
    pub role: Role,
    /// The file of the jobs.
    pub jobs_path: PathBuf,
    /// Bytes of that file.
    pub jobs_bytes: u64,
    /// What a job may cost, in tokens of one pass.
    pub job_cost: u64,
    /// How long a job is kept.
    pub job_ttl: Duration,
    /// Labels of predictions.
    pub feedback: FeedbackSettings,
    /// The mean number of requests between false alarms of drift, at least.
    pub drift_run_length: f64,
    /// Thresholds of a request that names none; the model's where these are `None`.
    pub abstain: Abstain,
    /// Where texts go that the model abstains from; `None` for nowhere.
    pub forward: Option<ForwardSettings>,
    /// What the model is loaded as.
    pub loading: Loading,
    /// Time between the signal to stop and the last new connection.
    pub shutdown_delay: Duration,
    /// Time for requests to end after that.
    pub drain_timeout: Duration,
}
