//! One measurement: its batches, what is done with each of them, and what a round of it says.

use std::hint::black_box;
use std::time::Instant;

use super::process::{self, forget_peak};
use super::statistics::{deviation, mean, quantile};
use super::{BenchError, Results, Settings};
use crate::compute::kernels::gemm;
use crate::compute::{self, Packed, Sequence, allocated_bytes};
use crate::predict::Predictor;
use crate::train::Stepper;

/// Calls of a training task before the first that counts: the moments are made in the first one.
const TRAIN_WARMUP: usize = 2;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Latency,
    Throughput,
    LongRange,
    Posterior,
    Train,
}

/// What a call does with a batch.
pub enum Work<'a> {
    /// The whole way from token ids to a predictive distribution.
    Predict(Vec<Vec<Sequence>>),
    /// An optimizer step on rows with that many tokens.
    Train(Box<Stepper<'a>>, Vec<(Vec<u32>, usize)>),
}

/// One measurement.
pub struct Task<'a> {
    /// Where its figures stand in the report.
    pub key: String,
    pub kind: Kind,
    pub work: Work<'a>,
    /// Calls in a round: from the first batch on, and around.
    pub calls: usize,
}

/// One call.
#[derive(Clone, Copy, Debug)]
struct Call {
    seconds: f64,
    /// Of these, from the feature to the probabilities.
    posterior: f64,
    texts: usize,
    tokens: usize,
}

impl<'a> Task<'a> {
    /// A measurement whose rounds are not planned yet.
    pub fn new(key: String, kind: Kind, work: Work<'a>) -> Self {
        Self { key, kind, work, calls: 1 }
    }

    fn batches(&self) -> usize {
        match &self.work {
            Work::Predict(batches) => batches.len(),
            Work::Train(_, batches) => batches.len(),
        }
    }

    fn call(&mut self, number: usize, predictor: &Predictor) -> Result<Call, BenchError> {
        let place = number % self.batches();
        match &mut self.work {
            Work::Predict(batches) => {
                let sequences = &batches[place];
                let began = Instant::now();
                let batch = Packed::new(sequences.iter().cloned());
                // As `Predictor::predict_batch` does it.
                let posterior = rayon::scope(|_| -> Result<f64, BenchError> {
                    let feature_bd = predictor.features(&batch)?;
                    let mean_bc = predictor.mean_logits(&feature_bd)?;
                    let read = Instant::now();
                    black_box(predictor.around(&mean_bc, &feature_bd)?);
                    Ok(read.elapsed().as_secs_f64())
                })?;
                let seconds = began.elapsed().as_secs_f64();
                let (texts, tokens) = (sequences.len(), batch.tokens());
                Ok(Call { seconds, posterior, texts, tokens })
            }
            Work::Train(stepper, batches) => {
                let (rows, tokens) = &batches[place];
                let began = Instant::now();
                stepper.step(rows)?;
                let seconds = began.elapsed().as_secs_f64();
                Ok(Call { seconds, posterior: 0.0, texts: rows.len(), tokens: *tokens })
            }
        }
    }

    /// Warms up, and from the time that it takes decides on the calls of a round. They are the same
    /// batches in every round: a whole number of times all of them, or the first ones.
    pub fn plan(&mut self, settings: &Settings, predictor: &Predictor) -> Result<(), BenchError> {
        let share = |seconds: f64| seconds / settings.rounds as f64;
        let limit = settings.limits;
        let (most_calls, most_seconds) = match self.kind {
            Kind::Latency | Kind::Posterior => {
                (settings.runs, limit.map(|limits| share(limits.latency)))
            }
            Kind::LongRange => (settings.runs, Some(share(settings.seconds))),
            Kind::Throughput => (usize::MAX, Some(share(settings.seconds))),
            Kind::Train => (settings.train_steps, limit.map(|limits| share(limits.train))),
        };
        let most_seconds = most_seconds.unwrap_or(f64::INFINITY);
        let training = self.kind == Kind::Train;
        let warmup = if training { TRAIN_WARMUP.min(settings.warmup) } else { settings.warmup };
        let mut times = Vec::new();
        // One call is needed to know how long one takes.
        while times.len() < warmup.max(1) && times.iter().sum::<f64>() < most_seconds {
            times.push(self.call(times.len(), predictor)?.seconds);
        }
        let warm = if times.len() > 1 { &times[1..] } else { &times };
        let fitting = (most_seconds / mean(warm)) as usize;
        self.calls = fitting.min(most_calls).max(1);
        if self.kind == Kind::Throughput && self.calls > self.batches() {
            self.calls -= self.calls % self.batches();
        } else if self.kind == Kind::Throughput && limit.is_none() {
            // Part of a pass would favour its lengths.
            self.calls = self.batches();
        }
        Ok(())
    }

    /// Runs one round and adds its figures.
    pub fn round(
        &mut self,
        predictor: &Predictor,
        results: &mut Results,
    ) -> Result<(), BenchError> {
        forget_peak();
        let faults = process::page_faults();
        let (bytes, products) = (allocated_bytes(), gemm::seconds());
        let calls: Vec<Call> =
            (0..self.calls).map(|number| self.call(number, predictor)).collect::<Result<_, _>>()?;
        let faults = faults.and_then(|before| Some(process::page_faults()? - before));
        let bytes = allocated_bytes() - bytes;
        let products = gemm::seconds() - products;
        let memory = compute::memory();
        let seconds: f64 = calls.iter().map(|call| call.seconds).sum();
        let texts: usize = calls.iter().map(|call| call.texts).sum();
        let tokens: usize = calls.iter().map(|call| call.tokens).sum();
        let milliseconds: Vec<f64> = calls.iter().map(|call| 1000.0 * call.seconds).collect();
        let mut add = |name: &str, value: Option<f64>| {
            results.add(format!("{}.{name}", self.key), value);
        };
        match self.kind {
            Kind::Latency => {
                add("mean_latency", Some(mean(&milliseconds)));
                add("std_latency", Some(deviation(&milliseconds)));
                add("p50_latency", quantile(&milliseconds, 0.5));
                add("p95_latency", quantile(&milliseconds, 0.95));
                add("p99_latency", quantile(&milliseconds, 0.99));
            }
            Kind::Posterior => {
                let own: Vec<f64> = calls.iter().map(|call| 1000.0 * call.posterior).collect();
                let (own, whole) = (quantile(&own, 0.5), quantile(&milliseconds, 0.5));
                add("p50_latency", own);
                add("share_of_prediction", own.zip(whole).map(|(own, whole)| own / whole));
            }
            Kind::Throughput => {
                add("throughput", Some(texts as f64 / seconds));
                add("tokens_per_second", Some(tokens as f64 / seconds));
            }
            Kind::LongRange => {
                add("mean_latency_ms", Some(mean(&milliseconds)));
            }
            Kind::Train => {
                let steps = calls.len() as f64;
                add("tokens_per_second", Some(tokens as f64 / seconds));
                add("texts_per_second", Some(texts as f64 / seconds));
                add("seconds_per_step", Some(seconds / steps));
                add("page_faults_per_step", faults.map(|faults| faults as f64 / steps));
                let counted = (bytes > 0).then_some(bytes as f64 / steps / f64::from(1 << 20));
                add("allocated_mb_per_step", counted);
                add("share_beside_products", (products > 0.0).then_some(1.0 - products / seconds));
                if let Work::Train(stepper, _) = &self.work {
                    add("activation_mb", Some(stepper.activation_mb()));
                }
                add("peak_mb", memory.map(|memory| memory.peak_mb));
            }
        }
        let counted = match self.kind {
            Kind::Train => "steps",
            _ => "samples_processed",
        };
        let count = if self.kind == Kind::Train { calls.len() } else { texts };
        results.count(format!("{}.{counted}", self.key), count as u64);
        Ok(())
    }
}
