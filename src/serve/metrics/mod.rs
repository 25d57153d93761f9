//! What is counted and timed, as Prometheus and OpenMetrics want it: base units, labels from bounded
//! sets only, and names that dashboards rely on.

mod classic;
mod known;
mod labels;
mod process;
mod record;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub use self::classic::{KIND as CLASSIC, classic};
use self::known::Known;
pub use self::known::Sample;
use self::labels::{cache_labels, of, reason_name, reload};
use super::forward::OUTCOMES;
use crate::calibrate::Reason;

/// Durations of HTTP requests, in seconds: the buckets of OpenTelemetry's conventions.
const HTTP_BUCKETS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Probabilities; finer where a classifier lives.
const SHARES: [f64; 13] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0];

type Labels<const N: usize> = [(&'static str, String); N];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;
type Number = Gauge<f64, AtomicU64>;

/// A step of a prediction.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    Tokenize,
    /// Waiting for the engine.
    Queue,
    /// The model, for the whole batch.
    Inference,
    Postprocess,
}

/// Labels of one request's duration.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HttpLabels {
    /// The method, or `_OTHER`.
    pub http_request_method: &'static str,
    /// The route's template, or `unmatched`.
    pub http_route: String,
    pub http_response_status_code: u16,
}

/// All metrics of the server.
pub struct Metrics {
    registry: Registry,
    /// Requests by method, route and status.
    pub http: Family<HttpLabels, Histogram, fn() -> Histogram>,
    /// Requests that are being answered.
    pub active: Gauge,
    /// Panics while a batch was computed.
    pub engine_panics: Counter,
    /// Starts of the engine thread after the first.
    pub engine_restarts: Counter,
    pub batch_items: Histogram,
    pub batch_tokens: Histogram,
    /// Requests that waited for an answer to the same question.
    pub cache_coalesced: Counter,
    /// Seconds that jobs waited before they began.
    pub job_wait: Histogram,
    predictions: Family<Labels<3>, Counter>,
    duration: Histograms<1>,
    errors: Family<Labels<2>, Counter>,
    cancelled: Family<Labels<1>, Counter>,
    rejected: Family<Labels<1>, Counter>,
    stages: Histograms<1>,
    passes: Histograms<1>,
    cache_requests: Family<Labels<3>, Counter>,
    jobs_finished: Family<Labels<1>, Counter>,
    confidence: Histograms<1>,
    uncertainty: Histograms<2>,
    set_size: Histograms<1>,
    ood_p_value: Histograms<1>,
    abstentions: Family<Labels<2>, Counter>,
    truncated: Family<Labels<1>, Counter>,
    ood: Family<Labels<1>, Counter>,
    model: Family<Labels<3>, Gauge>,
    encoder_texts: Family<Labels<1>, Counter>,
    queue: Family<Labels<1>, Gauge>,
    oldest_age: Number,
    busy: Number,
    cache_entries: Family<Labels<1>, Gauge>,
    jobs: Family<Labels<1>, Gauge>,
    redis_up: Family<Labels<1>, Gauge>,
    jobs_bytes: Gauge,
    inflight_bytes: Gauge,
    reloads: Family<Labels<3>, Counter>,
    feedback: Family<Labels<2>, Counter>,
    forwarded: Family<Labels<1>, Counter>,
    exchanges: Histogram,
    feedback_bytes: Gauge,
    /// Texts that were not kept for their label.
    pub texts_dropped: Counter,
    /// Labels of this server that gave way to an earlier one of another replica.
    pub feedback_conflicts: Counter,
    known: Known,
    /// The labels of each model in service.
    in_service: Mutex<HashMap<String, Labels<3>>>,
}

/// What is looked up when the metrics are asked for.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Entries that wait: interactive, of jobs.
    pub queue: [usize; 2],
    /// Age of the oldest of them.
    pub oldest_age: Duration,
    /// The share of the last minute that the engine was at work.
    pub busy: f64,
    /// Answers that are kept, of each model.
    pub cache_entries: Vec<(Arc<str>, u64)>,
    /// Where Redis is and whether it is well, if there is one.
    pub redis: Option<(String, bool)>,
    pub jobs: Vec<(&'static str, usize)>,
    /// Bytes that are kept of them.
    pub jobs_bytes: u64,
    /// Bytes of bodies and answers.
    pub inflight_bytes: usize,
    /// Bytes of labels and texts that are kept.
    pub feedback_bytes: u64,
    /// What is known now, and may not be so always.
    pub known: Vec<Sample>,
}

impl Metrics {
    pub fn new() -> Self {
        let seconds = || Histogram::new(HTTP_BUCKETS);
        let shares = || Histogram::new(SHARES);
        let short = || Histogram::new(exponential_buckets(1e-4, 2.5, 13));
        let metrics = Self {
            registry: Registry::default(),
            http: Family::new_with_constructor(seconds),
            active: Gauge::default(),
            engine_panics: Counter::default(),
            engine_restarts: Counter::default(),
            batch_items: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            batch_tokens: Histogram::new(exponential_buckets(8.0, 2.0, 13)),
            cache_coalesced: Counter::default(),
            job_wait: Histogram::new(exponential_buckets(0.01, 4.0, 10)),
            predictions: Family::default(),
            duration: Family::new_with_constructor(seconds),
            errors: Family::default(),
            cancelled: Family::default(),
            rejected: Family::default(),
            stages: Family::new_with_constructor(short),
            passes: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1.0, 2.0, 9))
            }),
            cache_requests: Family::default(),
            jobs_finished: Family::default(),
            confidence: Family::new_with_constructor(shares),
            uncertainty: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(1e-3, 2.0, 13))
            }),
            set_size: Family::new_with_constructor(|| {
                Histogram::new([0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0])
            }),
            ood_p_value: Family::new_with_constructor(shares),
            abstentions: Family::default(),
            truncated: Family::default(),
            ood: Family::default(),
            model: Family::default(),
            encoder_texts: Family::default(),
            queue: Family::default(),
            oldest_age: Number::default(),
            busy: Number::default(),
            cache_entries: Family::default(),
            jobs: Family::default(),
            redis_up: Family::default(),
            jobs_bytes: Gauge::default(),
            inflight_bytes: Gauge::default(),
            reloads: Family::default(),
            feedback: Family::default(),
            forwarded: Family::default(),
            exchanges: Histogram::new(HTTP_BUCKETS),
            feedback_bytes: Gauge::default(),
            texts_dropped: Counter::default(),
            feedback_conflicts: Counter::default(),
            known: Known::default(),
            in_service: Mutex::default(),
        };
        metrics.registered()
    }

    fn registered(mut self) -> Self {
        let mut to = std::mem::take(&mut self.registry);
        let help = "Duration of HTTP requests";
        to.register("http_server_request_duration_seconds", help, self.http.clone());
        let help = "Requests in progress";
        to.register("http_server_active_requests", help, self.active.clone());
        to.register("predictions", "Predictions", self.predictions.clone());
        let help = "Time from request to prediction";
        to.register("prediction_duration_seconds", help, self.duration.clone());
        let help = "Predictions that failed";
        to.register("prediction_errors", help, self.errors.clone());
        let build = Family::<Labels<1>, Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
        let ours = to.sub_registry_with_prefix("bayes");
        ours.register("build_info", "The version of this server", build);
        ours.register("model_info", "The model in service", self.model.clone());
        let help = "Texts whose client disconnected before the response";
        ours.register("requests_cancelled", help, self.cancelled.clone());
        ours.register("rejected", "Requests that were refused", self.rejected.clone());
        ours.register("stage_duration_seconds", "Time by stage", self.stages.clone());
        ours.register("batch_items", "Texts per batch", self.batch_items.clone());
        ours.register("batch_tokens", "Tokens per batch", self.batch_tokens.clone());
        ours.register("passes_per_prediction", "Forward passes per text", self.passes.clone());
        ours.register("queue_items", "Texts in the queue", self.queue.clone());
        let help = "Age of the oldest text in the queue";
        ours.register("queue_oldest_age_seconds", help, self.oldest_age.clone());
        let help = "Fraction of the last minute in which the engine was busy";
        ours.register("engine_busy_ratio", help, self.busy.clone());
        let help = "Panics during the computation of a batch";
        ours.register("engine_panics", help, self.engine_panics.clone());
        let help = "Restarts of the engine thread";
        ours.register("engine_restarts", help, self.engine_restarts.clone());
        let help = "Cache lookups";
        ours.register("cache_requests", help, self.cache_requests.clone());
        ours.register("cache_entries", "Cached responses", self.cache_entries.clone());
        let help = "Requests that waited for the response to an identical request";
        ours.register("cache_coalesced", help, self.cache_coalesced.clone());
        let help = "Texts for a server of several models, by whether an encoder read them";
        ours.register("encoder_texts", help, self.encoder_texts.clone());
        let help = "Whether Redis can be used: 0 if it is gone, slow, full or evicts jobs";
        ours.register("redis_up", help, self.redis_up.clone());
        ours.register("jobs", "Jobs by status", self.jobs.clone());
        let help = "Bytes of stored jobs and their results";
        ours.register("jobs_bytes", help, self.jobs_bytes.clone());
        let help = "Bytes of request bodies and responses in flight";
        ours.register("inflight_bytes", help, self.inflight_bytes.clone());
        let help = "Reloads of models and keys, by outcome";
        ours.register("reloads", help, self.reloads.clone());
        ours.register("jobs_finished", "Finished jobs", self.jobs_finished.clone());
        ours.register("job_wait_seconds", "Time before a job started", self.job_wait.clone());
        ours.register("confidence", "Confidence of predictions", self.confidence.clone());
        let help = "Uncertainty of predictions in nats";
        ours.register("uncertainty_nats", help, self.uncertainty.clone());
        ours.register("prediction_set_size", "Labels per prediction set", self.set_size.clone());
        ours.register("ood_p_value", "Novelty of texts", self.ood_p_value.clone());
        ours.register("abstentions", "Abstentions by reason", self.abstentions.clone());
        let help = "Texts with more tokens than the model accepts";
        ours.register("truncated", help, self.truncated.clone());
        let help = "Texts unlike the training data";
        ours.register("ood", help, self.ood.clone());
        let help = "Labels for predictions, by whether the prediction was right";
        ours.register("feedback", help, self.feedback.clone());
        let help = "Bytes of stored labels and texts";
        ours.register("feedback_bytes", help, self.feedback_bytes.clone());
        let help = "Texts that were not stored for their label";
        ours.register("feedback_texts_dropped", help, self.texts_dropped.clone());
        let help = "Texts that the model abstained from and may forward, by outcome";
        ours.register("forwarded", help, self.forwarded.clone());
        let help = "Duration of exchanges with the server that texts are forwarded to";
        ours.register("forward_duration_seconds", help, self.exchanges.clone());
        let help = "Labels of this server that gave way to an earlier one of another replica";
        ours.register("feedback_conflicts", help, self.feedback_conflicts.clone());
        to.register_collector(Box::new(process::Process));
        to.register_collector(Box::new(self.known.clone()));
        self.registry = to;
        self.begin();
        self
    }

    /// Counters of what has not happened yet: an alert on a rate cannot see one that appears with its first event.
    fn begin(&self) {
        for (family, label, values) in [
            (
                &self.rejected,
                "reason",
                &["rate-limited", "overloaded", "draining", "not-ready"][..],
            ),
            (&self.cancelled, "stage", &["tokenize", "queue", "inference"]),
            (&self.jobs_finished, "status", &["completed", "failed", "cancelled"]),
            (&self.encoder_texts, "result", &["read", "shared"]),
            (&self.forwarded, "outcome", &OUTCOMES),
        ] {
            for value in values {
                drop(family.get_or_create(&[(label, (*value).to_owned())]));
            }
        }
        for what in ["key list", "feedback key", "forward key"] {
            self.begin_reloads("", what);
        }
    }

    fn begin_reloads(&self, model: &str, what: &'static str) {
        for outcome in ["taken", "refused"] {
            drop(self.reloads.get_or_create(&reload(model, what, outcome)));
        }
    }

    /// The same of a model.
    fn begin_model(&self, model: &str) {
        for reason in [Reason::Epistemic, Reason::Confidence, Reason::Ood, Reason::SetSize] {
            drop(self.abstentions.get_or_create(&of(model, "reason", reason_name(reason))));
        }
        for kind in ["internal", "model-output-invalid", "deadline-exceeded"] {
            drop(self.errors.get_or_create(&of(model, "type", kind)));
        }
        for (tier, results) in [
            ("memory", &["hit", "miss", "bypass", "coalesced"][..]),
            ("redis", &["hit", "miss", "bypass"]),
        ] {
            for result in results {
                drop(self.cache_requests.get_or_create(&cache_labels(model, tier, result)));
            }
        }
        for correct in ["true", "false"] {
            drop(self.feedback.get_or_create(&of(model, "correct", correct)));
        }
        let own = [("model", model.to_owned())];
        drop((self.truncated.get_or_create(&own), self.ood.get_or_create(&own)));
        for histogram in
            [&self.duration, &self.confidence, &self.set_size, &self.ood_p_value, &self.passes]
        {
            drop(histogram.get_or_create(&own));
        }
        self.begin_reloads(model, "model");
    }

    pub fn render(&self, now: &Snapshot) -> String {
        for (class, waiting) in ["interactive", "job"].into_iter().zip(now.queue) {
            self.queue.get_or_create(&[("class", class.to_owned())]).set(waiting as i64);
        }
        self.oldest_age.set(now.oldest_age.as_secs_f64());
        self.busy.set(now.busy);
        for (model, entries) in &now.cache_entries {
            let own = [("model", model.to_string())];
            self.cache_entries.get_or_create(&own).set(*entries as i64);
        }
        if let Some((server, up)) = &now.redis {
            self.redis_up.get_or_create(&[("server", server.clone())]).set((*up).into());
        }
        self.jobs_bytes.set(now.jobs_bytes as i64);
        self.inflight_bytes.set(now.inflight_bytes as i64);
        self.feedback_bytes.set(now.feedback_bytes as i64);
        self.known.set(&now.known);
        for (status, count) in &now.jobs {
            self.jobs.get_or_create(&[("status", (*status).to_owned())]).set(*count as i64);
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
