//! `bayes serve`.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use ipnet::IpNet;

use super::feedback::FeedbackFlags;
use super::forward::ForwardFlags;
use super::precision::PrecisionFlag;
use super::redis::RedisFlags;
use super::words::whole;
use super::zero_shot::{Named, labels_of, named};
use super::{Common, Outcome, environment, models, note, print};
use crate::compute;
use crate::numbers::grouped;
use crate::predict::Loading;
use crate::serve::{
    self, Abstain, Address, BatchLimits, BodyLimits, ForwardSettings, KeySource, Keys, ModelFolder,
    Rate, RequestLimits, Role, Settings,
};

/// The longest life of a job, in seconds.
const LONGEST_JOB: u64 = 86_400;

/// The longest time that a client or an end is waited for, in seconds: an hour.
const LONGEST_TIMEOUT: u64 = 3600;

/// The longest time that answers are kept, in seconds: a year.
const MOST_SECONDS: u64 = 31_536_000;

/// How long an answer is kept, in seconds.
const CACHE_TTL: u64 = 3600;

/// Time for the answer of a server that is asked for its health.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Flags of `bayes serve`.
#[derive(Debug, Args)]
pub struct Options {
    /// Model folder or Hub id [default: the newest model under checkpoints]. For several models, repeat it with a
    /// name for each; the first one answers requests that name none
    #[arg(long, value_name = "[NAME=]FOLDER", env = environment::MODEL)]
    model: Vec<PathBuf>,
    /// Address to listen on
    #[arg(long, value_parser = address, default_value = "127.0.0.1", env = "BAYES_HOST")]
    host: IpAddr,
    /// Port to listen on; 0 picks a free port
    #[arg(long, value_parser = whole::<u16>(0..=65_535), default_value_t = 8000, env = "BAYES_PORT")]
    port: u16,
    /// Load the model and warm it up, then exit
    #[arg(long)]
    check: bool,
    /// Check whether a server running on this machine is ready; exit with 0 (ready) or 1 (not
    /// ready)
    #[arg(long, conflicts_with = "check")]
    health: bool,
    /// Serve the metrics on a separate address
    #[arg(long, value_name = "ADDRESS", value_parser = socket, env = "BAYES_METRICS_ADDR")]
    metrics_addr: Option<SocketAddr>,
    /// Maximum number of texts in a batch request
    #[arg(long, value_parser = whole::<usize>(1..=10000), default_value_t = 32, env = "BAYES_MAX_CLIENT_BATCH_SIZE")]
    max_client_batch_size: usize,
    /// Maximum number of characters in a text
    #[arg(long, value_parser = whole::<usize>(1..=10000000), default_value_t = 32_768, env = "BAYES_MAX_CHARS")]
    max_chars: usize,
    /// Maximum number of texts in a job
    #[arg(long, value_parser = whole::<usize>(1..=1000000), default_value_t = 1024, env = "BAYES_MAX_JOB_ITEMS")]
    max_job_items: usize,
    /// Maximum request body size, in bytes
    #[arg(long, value_parser = whole::<usize>(1..=1 << 30), default_value_t = 2_097_152, env = "BAYES_MAX_BODY_BYTES")]
    max_body_bytes: usize,
    /// Maximum total size of request bodies and responses in flight over all connections, in bytes;
    /// above it, requests wait or get a 503
    #[arg(long, value_parser = whole::<usize>(1 << 20..=1 << 40), default_value_t = 134_217_728, env = "BAYES_MAX_INFLIGHT_BYTES")]
    max_inflight_bytes: usize,
    /// Maximum number of simultaneous connections; further connections wait
    #[arg(long, value_parser = whole::<usize>(1..=1 << 20), default_value_t = 1024, env = "BAYES_MAX_CONNECTIONS")]
    max_connections: usize,
    /// Maximum number of texts queued for the model; above it, requests get a 503
    #[arg(long, value_parser = whole::<usize>(1..=1 << 20), default_value_t = 512, env = "BAYES_MAX_QUEUE_ITEMS")]
    max_queue_items: usize,
    /// Maximum number of tokens in a model batch
    #[arg(long, value_name = "TOKENS", value_parser = whole::<u64>(1..=1 << 32), default_value_t = 2048, env = "BAYES_MAX_BATCH_COST")]
    max_batch_cost: u64,
    /// How long a text waits for others to form a batch, in microseconds
    #[arg(long, value_parser = whole::<u64>(0..=60000000), default_value_t = 0, env = "BAYES_BATCH_WAIT_US")]
    batch_wait_us: u64,
    /// Timeout for a complete response, in seconds
    #[arg(long, value_parser = whole::<u64>(1..=LONGEST_TIMEOUT), default_value_t = 30, env = "BAYES_REQUEST_TIMEOUT")]
    request_timeout: u64,
    /// Timeout for the request headers, and for a request or response that makes no progress, in
    /// seconds
    #[arg(long, value_parser = whole::<u64>(1..=LONGEST_TIMEOUT), default_value_t = 10, env = "BAYES_HEADER_TIMEOUT")]
    header_timeout: u64,
    /// Timeout for the request body, in seconds
    #[arg(long, value_parser = whole::<u64>(1..=LONGEST_TIMEOUT), default_value_t = 30, env = "BAYES_BODY_TIMEOUT")]
    body_timeout: u64,
    /// Rate limit per client, such as 100/min, or off
    #[arg(long, value_parser = rate_limit, default_value = "100/min", value_name = "RATE", env = "BAYES_RATE_LIMIT")]
    rate_limit: RateLimit,
    /// Proxy networks whose X-Forwarded-For header is trusted
    #[arg(long, value_name = "CIDR", value_parser = network, value_delimiter = ',', env = "BAYES_TRUSTED_PROXY")]
    trusted_proxy: Vec<IpNet>,
    /// Host names to accept, in addition to the server's address and names without a dot; * accepts
    /// any
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = serve::given_host, env = "BAYES_ALLOWED_HOST")]
    allowed_host: Vec<String>,
    /// File of API keys, one per line; set BAYES_API_KEY to use a single key
    #[arg(long, value_name = "FILE", env = "BAYES_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// Origins allowed to call this server from a browser
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', env = "BAYES_CORS_ALLOW_ORIGIN")]
    cors_allow_origin: Vec<String>,
    /// Maximum number of cached responses; 0 disables the cache
    #[arg(long, value_parser = whole::<u64>(0..=1 << 32), default_value_t = 10_000, env = "BAYES_CACHE_ENTRIES")]
    cache_entries: u64,
    /// How long to cache a response, in seconds
    #[arg(long, value_parser = whole::<u64>(1..=MOST_SECONDS), default_value_t = CACHE_TTL, env = "BAYES_CACHE_TTL")]
    cache_ttl: u64,
    /// Whether to answer requests and do jobs, or only to do the jobs that replicas accept
    #[arg(long, value_enum, default_value_t = RoleFlag::Replica, env = "BAYES_ROLE")]
    role: RoleFlag,
    #[command(flatten)]
    redis: RedisFlags,
    /// File in which jobs are stored
    #[arg(long, value_name = "FILE", default_value = "runs/jobs.redb", env = "BAYES_JOBS_PATH")]
    jobs_path: PathBuf,
    /// Maximum size of the job file, in bytes; above it, new jobs get a 507
    #[arg(long, value_parser = whole::<u64>(1 << 20..=1 << 50), default_value_t = 1 << 30, env = "BAYES_MAX_JOBS_BYTES")]
    max_jobs_bytes: u64,
    /// Maximum cost of a job: number of tokens × number of forward passes
    #[arg(long, value_name = "TOKENS", value_parser = whole::<u64>(1..=u64::MAX), default_value_t = 100_000_000, env = "BAYES_MAX_JOB_COST")]
    max_job_cost: u64,
    /// How long to keep a job, in seconds
    #[arg(long, value_parser = whole::<u64>(1..=LONGEST_JOB), default_value_t = LONGEST_JOB, env = "BAYES_JOB_TTL")]
    job_ttl: u64,
    #[command(flatten)]
    feedback: FeedbackFlags,
    /// Maximum number of forward passes that a request may ask for
    #[arg(long, value_parser = whole::<usize>(1..=100000), default_value_t = 200, env = "BAYES_MAX_SAMPLES")]
    max_samples: usize,
    /// Labels of your own, for a classifier of natural language inference (zero-shot): each text is
    /// asked whether it entails each label. Separate them by commas, and put a label that contains
    /// one in double quotes
    #[arg(
        long,
        alias = "zero-shot-labels",
        value_name = "LABELS",
        value_parser = named,
        env = "BAYES_LABELS"
    )]
    labels: Vec<Named>,
    /// How a label becomes a sentence, with {} in its place [default: "This text is about {}."]
    #[arg(long, value_name = "TEXT", requires = "labels", env = "BAYES_TEMPLATE")]
    template: Option<String>,
    #[command(flatten)]
    precision: PrecisionFlag,
    /// Abstain below this confidence [default: the model's]
    #[arg(long, value_name = "P", value_parser = probability, env = "BAYES_ABSTAIN_MIN_CONFIDENCE")]
    abstain_min_confidence: Option<f64>,
    /// Abstain above this epistemic uncertainty, in nats [default: the model's]
    #[arg(long, value_name = "NATS", value_parser = at_least_zero, env = "BAYES_ABSTAIN_MAX_EPISTEMIC")]
    abstain_max_epistemic: Option<f64>,
    /// Abstain when the novelty p-value is at or below this value [default: the model's]
    #[arg(long, value_name = "P", value_parser = probability, env = "BAYES_ABSTAIN_OOD_P")]
    abstain_ood_p: Option<f64>,
    #[command(flatten)]
    forward: ForwardFlags,
    /// Number of tokeniser threads [default: half of the cores]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(1..=1024), env = "BAYES_TOKENIZER_THREADS")]
    tokenizer_threads: Option<usize>,
    /// How long to keep accepting connections after the stop signal, in seconds
    #[arg(long, value_parser = whole::<u64>(0..=LONGEST_TIMEOUT), default_value_t = 0, env = "BAYES_SHUTDOWN_DELAY")]
    shutdown_delay: u64,
    /// How long to wait, after --shutdown-delay, for running requests to finish, in seconds
    #[arg(long, value_parser = whole::<u64>(0..=LONGEST_TIMEOUT), default_value_t = 30, env = "BAYES_DRAIN_TIMEOUT")]
    drain_timeout: u64,
    /// Log format
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "BAYES_LOG_FORMAT")]
    log_format: LogFormat,
}

/// What the server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleFlag {
    /// Answer requests and do jobs
    Replica,
    /// Only do the jobs that replicas accept; needs --redis-url
    Worker,
}

/// Requests in some time; `None` for any number.
#[derive(Clone, Copy, Debug)]
struct RateLimit(Option<Rate>);

fn rate_limit(text: &str) -> Result<RateLimit, String> {
    match text {
        "off" => Ok(RateLimit(None)),
        rate => rate.parse().map(|rate| RateLimit(Some(rate))),
    }
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| "expected an IP address, such as 127.0.0.1".to_owned())
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:9000".to_owned())
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse().map_err(|_| "expected a network, such as 10.0.0.0/8".to_owned())
}

/// An origin as a browser writes it: scheme, name in small letters, and a port only if it is not the
/// scheme's own.
fn is_origin(text: &str) -> bool {
    let usual = [("http://", ":80"), ("https://", ":443")];
    usual.iter().any(|(scheme, port)| {
        text.strip_prefix(scheme).is_some_and(|authority| {
            let written = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.:[]".contains(&byte)
            };
            !authority.is_empty() && authority.bytes().all(written) && !authority.ends_with(port)
        })
    })
}

/// A number from 0, which may be as large as numbers are.
fn at_least_zero(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("`{text}` is not a number of at least 0"))
}

fn probability(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("`{text}` is not a probability; use a number from 0 to 1"))
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Human-readable lines
    Text,
    /// One JSON object per line
    Json,
}

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    if options.health {
        return health(options);
    }
    let mut settings = options.settings()?;
    if options.cache_entries == 0 && options.cache_ttl != CACHE_TTL {
        note("warning: --cache-ttl has no effect: --cache-entries is 0, so nothing is cached")?;
    }
    let backend = common.backend()?;
    let folders = models::folders(&options.model)?;
    models::check(&folders, !options.labels.is_empty(), settings.forward.as_ref())?;
    settings.loading.precision = options.precision.on(&backend)?;
    let began = Instant::now();
    if options.check {
        Keys::read(&settings.api_keys)?;
        settings.forward.iter().try_for_each(ForwardSettings::check)?;
        let places = ModelFolder::places(folders, &backend, &settings);
        for model in serve::load_all(places)? {
            let loaded = model.current();
            print(&format!(
                "ready in {:.2} s: {} ({}), about {} tokens/s\n",
                began.elapsed().as_secs_f64(),
                model.name(),
                loaded.predictor.version(),
                grouped(loaded.rate as u64),
            ))?;
        }
        return Ok(Outcome::Done);
    }
    let quiet = common.quiet;
    let drained = serve::run(folders, &backend, settings, |address| {
        let seconds = began.elapsed().as_secs_f64();
        if !quiet {
            // A closed stderr is no reason not to serve.
            let _ = note(&format!(
                "ready in {seconds:.2} s on http://{address}  (try it: http://{address}/playground)"
            ));
        }
    })?;
    Ok(if drained { Outcome::Done } else { Outcome::No })
}

/// Asks a server on this machine; needs no other program in a container.
fn health(options: &Options) -> Result<Outcome> {
    let host =
        if options.host.is_unspecified() { IpAddr::from([127, 0, 0, 1]) } else { options.host };
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::new(host, options.port);
        let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
        stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        std::io::read_to_string(stream)
    };
    match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
            print("ready\n")?;
            Ok(Outcome::Done)
        }
        Ok(answer) => {
            let reason = answer.lines().last().unwrap_or_default();
            print(&format!("not ready: {reason}\n"))?;
            Ok(Outcome::No)
        }
        Err(error) => {
            print(&format!("not ready: no server responds on this port: {error}\n"))?;
            Ok(Outcome::No)
        }
    }
}

impl Options {
    /// Whether log lines are objects.
    pub fn logs_json(&self) -> bool {
        self.log_format == LogFormat::Json
    }

    fn settings(&self) -> Result<Settings> {
        let seconds = Duration::from_secs;
        for origin in &self.cors_allow_origin {
            ensure!(
                is_origin(origin),
                "--cors-allow-origin needs exact origins as browsers send them, such as \
                 https://example.org, not `{origin}`"
            );
        }
        // A packed body takes as much before it is unpacked, and a quarter is for small requests.
        ensure!(
            self.max_inflight_bytes / 3 >= self.max_body_bytes,
            "--max-inflight-bytes {} is too small for a request body of --max-body-bytes {}; it \
             must be three times as large",
            self.max_inflight_bytes,
            self.max_body_bytes
        );
        let half = (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1);
        let half = half.min(compute::threads().max(1));
        Ok(Settings {
            address: SocketAddr::new(self.host, self.port),
            metrics_address: self.metrics_addr,
            connections: self.max_connections,
            header_timeout: seconds(self.header_timeout),
            request_timeout: seconds(self.request_timeout),
            body: BodyLimits { bytes: self.max_body_bytes, time: seconds(self.body_timeout) },
            request: RequestLimits {
                chars: self.max_chars,
                batch: self.max_client_batch_size,
                job: self.max_job_items,
                samples: self.max_samples,
                ttl: LONGEST_JOB,
            },
            batch: BatchLimits {
                budget: self.max_batch_cost,
                // A token is the least that a text can cost.
                batch_items: self.max_batch_cost as usize,
                queue_items: self.max_queue_items,
            },
            batch_wait: Duration::from_micros(self.batch_wait_us),
            tokenizer_threads: self.tokenizer_threads.unwrap_or(half),
            rate: self.rate_limit.0,
            trusted_proxies: self.trusted_proxy.clone(),
            api_keys: self.api_keys(),
            allowed_hosts: self.allowed_host.clone(),
            inflight_bytes: self.max_inflight_bytes,
            jobs_bytes: self.max_jobs_bytes,
            job_cost: self.max_job_cost,
            cors_origins: self.cors_allow_origin.clone(),
            cache: (self.cache_entries, seconds(self.cache_ttl)),
            redis: self.redis()?,
            role: match self.role {
                RoleFlag::Replica => Role::Replica,
                RoleFlag::Worker => Role::Worker,
            },
            jobs_path: self.jobs_path.clone(),
            job_ttl: seconds(self.job_ttl),
            feedback: self.feedback.settings(),
            drift_run_length: self.feedback.run_length(),
            abstain: Abstain {
                min_confidence: self.abstain_min_confidence,
                max_epistemic: self.abstain_max_epistemic,
                ood_p: self.abstain_ood_p,
            },
            forward: self
                .forward
                .settings(SocketAddr::new(self.host, self.port), self.request_timeout)?,
            loading: Loading {
                labels: labels_of(&self.labels, self.template.as_deref()),
                ..Loading::default()
            },
            shutdown_delay: seconds(self.shutdown_delay),
            drain_timeout: seconds(self.drain_timeout),
        })
    }

    fn redis(&self) -> Result<Option<Address>> {
        let address = self.redis.address()?;
        ensure!(
            address.is_some() || self.role == RoleFlag::Replica,
            "a worker takes its jobs from Redis; name it with --redis-url"
        );
        Ok(address)
    }

    /// From the file, else from the environment: an argument could be read by everybody.
    fn api_keys(&self) -> KeySource {
        match (&self.api_key_file, std::env::var_os("BAYES_API_KEY")) {
            (Some(path), _) => KeySource::File(path.clone()),
            (None, Some(key)) => KeySource::Environment(key),
            (None, None) => KeySource::None,
        }
    }
}
