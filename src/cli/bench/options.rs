//! What `bayes bench` is asked.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::bench::{Order, SUITES, Settings, Suite};
use crate::cli::precision::PrecisionFlag;
use crate::cli::tables::TableFlags;
use crate::cli::words::whole;

/// Flags of `bayes bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// Model folder or Hub id [default: that of BAYES_MODEL, else the newest under
    /// checkpoints]
    #[arg(long, value_name = "FOLDER")]
    pub(super) model: Option<PathBuf>,
    #[command(flatten)]
    pub(super) precision: PrecisionFlag,
    /// Suites to run: latency, throughput, memory, size, train, calibration, posterior, long-range
    /// [default: all except long-range]
    #[arg(long, value_name = "SUITES", value_delimiter = ',')]
    pub(super) suite: Vec<String>,
    /// File, folder, built-in data set name or Hub id [default: the data the model was trained on]
    #[arg(long, value_name = "DATA")]
    pub(super) dataset: Option<String>,
    /// Use a random sample of this many rows, with the same class proportions and a fixed seed; 0 =
    /// all
    #[arg(long, value_parser = whole::<usize>(0..=u64::MAX), default_value_t = 1000)]
    pub(super) limit: usize,
    /// Maximum number of tokens per text [default: the model's limit]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<usize>(0..=u64::MAX))]
    pub(super) max_length: Option<usize>,
    /// Batch sizes for the throughput suite [default: 1,8,16,32]
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = at_least_one)]
    pub(super) batch_sizes: Vec<usize>,
    /// How to group texts into these batches [default: natural]
    #[arg(long, value_enum)]
    pub(super) order: Option<BatchOrder>,
    /// Number of warm-up calls, which are not counted [default: 10]
    #[arg(long, value_parser = whole::<usize>(0..=u64::MAX))]
    pub(super) warmup: Option<usize>,
    /// Number of texts timed individually in each round [default: 100]
    #[arg(long, value_parser = at_least_one)]
    pub(super) runs: Option<usize>,
    /// Time only the text whose length is closest to this number of tokens
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub(super) latency_tokens: Option<usize>,
    /// Total time to spend on each batch size, over all rounds, in seconds [default: 30]
    #[arg(long, value_parser = above_zero)]
    pub(super) seconds: Option<f64>,
    /// Number of rounds; every round runs all measurements [default: 5]
    #[arg(long, value_parser = at_least_one)]
    pub(super) rounds: Option<usize>,
    /// Rows per training step [default: 16]
    #[arg(long, value_parser = at_least_one)]
    pub(super) train_batch_size: Option<usize>,
    /// Training steps per round [default: 5]
    #[arg(long, value_parser = at_least_one)]
    pub(super) train_steps: Option<usize>,
    /// Sample the exact posterior of the last layer, and report how far each method is from it
    /// (suite posterior; --limit bounds its training rows too)
    #[arg(long, value_enum, value_name = "SAMPLER")]
    pub(super) reference: Option<Sampler>,
    /// Draws of each of the four chains [default: 500]
    #[arg(long, value_name = "DRAWS", value_parser = at_least_one, requires = "reference")]
    pub(super) reference_draws: Option<usize>,
    /// Make every training row exactly this many tokens long
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub(super) train_length: Option<usize>,
    /// Recompute the activations of every Nth layer during training steps (activation
    /// checkpointing); 0 = off [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(0..=u64::MAX))]
    pub(super) activation_checkpointing: Option<usize>,
    /// Save the results, including the samples of each round, to this file
    #[arg(long, value_name = "FILE")]
    pub(super) save: Option<PathBuf>,
    /// Compare with results saved earlier
    #[arg(long, value_name = "FILE")]
    pub(super) baseline: Option<PathBuf>,
    /// Exit with status 1 if a figure meets this condition: 'latency.p99_latency>20', or with x for a share of the
    /// baseline's, 'throughput.batch_32.throughput<0.95x', which all of its interval must meet
    #[arg(long, value_name = "CONDITION", num_args = 1..)]
    pub(super) fail_if: Vec<String>,
    /// Folder to write the report to [default: a new folder under runs]
    #[arg(long, value_name = "FOLDER")]
    pub(super) output: Option<PathBuf>,
    /// Save the measured rows, as tokens with their logits, for use in other tools
    #[arg(long, value_name = "FILE.safetensors")]
    pub(super) dump: Option<PathBuf>,
    #[command(flatten)]
    pub(super) tables: TableFlags,
}

/// How texts come into batches.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum BatchOrder {
    /// In the order of the rows
    Natural,
    /// Texts of similar length together
    Sorted,
    /// Measure natural, then sorted
    Both,
}

/// What samples the exact posterior.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Sampler {
    /// The No-U-Turn sampler
    Nuts,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse().map_err(|_| "a whole number is required")?;
    if number == 0 { Err("must be at least 1".to_owned()) } else { Ok(number) }
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "a number is required")?;
    let fits = number.is_finite() && number > 0.0;
    if fits { Ok(number) } else { Err("must be greater than 0".to_owned()) }
}

impl Options {
    pub(super) fn suites(&self) -> Result<Vec<Suite>> {
        if self.suite.is_empty() {
            let all = SUITES.into_iter().map(|(_, suite)| suite);
            return Ok(all.filter(|suite| *suite != Suite::LongRange).collect());
        }
        Ok(self.suite.iter().map(|name| Suite::named(name)).collect::<Result<_, _>>()?)
    }

    /// Whether nothing says how much to measure.
    fn is_short(&self) -> bool {
        let counts = [self.warmup, self.runs, self.rounds, self.train_steps];
        self.suite.is_empty() && self.seconds.is_none() && counts.iter().all(Option::is_none)
    }

    /// Flags that were given for suites that are not measured, each with those.
    pub(super) fn idle(&self, suites: &[Suite]) -> Vec<String> {
        const SINGLE: [Suite; 2] = [Suite::Latency, Suite::Posterior];
        const TIMED: [Suite; 5] =
            [Suite::Latency, Suite::Throughput, Suite::Train, Suite::LongRange, Suite::Posterior];
        const ROUNDS: [Suite; 6] = [
            Suite::Latency,
            Suite::Throughput,
            Suite::Memory,
            Suite::Train,
            Suite::LongRange,
            Suite::Posterior,
        ];
        let of_runs = [Suite::Latency, Suite::LongRange, Suite::Posterior];
        let flags: [(&str, bool, &[Suite]); 12] = [
            ("--runs", self.runs.is_some(), &of_runs),
            ("--warmup", self.warmup.is_some(), &TIMED),
            ("--rounds", self.rounds.is_some(), &ROUNDS),
            ("--batch-sizes", !self.batch_sizes.is_empty(), &[Suite::Throughput, Suite::Memory]),
            ("--order", self.order.is_some(), &[Suite::Throughput]),
            ("--seconds", self.seconds.is_some(), &[Suite::Throughput, Suite::LongRange]),
            ("--latency-tokens", self.latency_tokens.is_some(), &SINGLE),
            ("--reference", self.reference.is_some(), &[Suite::Posterior]),
            ("--train-batch-size", self.train_batch_size.is_some(), &[Suite::Train]),
            ("--train-steps", self.train_steps.is_some(), &[Suite::Train]),
            ("--train-length", self.train_length.is_some(), &[Suite::Train]),
            (
                "--activation-checkpointing",
                self.activation_checkpointing.is_some(),
                &[Suite::Train],
            ),
        ];
        let idle = flags
            .into_iter()
            .filter(|(_, given, own)| *given && !own.iter().any(|suite| suites.contains(suite)));
        let named = |suite: &Suite| {
            let (name, _) = SUITES.iter().find(|(_, one)| one == suite).expect("all have a name");
            format!("`{name}`")
        };
        let words = |(flag, _, own): (&str, bool, &[Suite])| {
            let own: Vec<String> = own.iter().map(named).collect();
            let listed = match own.split_last() {
                Some((last, others)) if !others.is_empty() => {
                    format!("{} and {last}", others.join(", "))
                }
                _ => own.concat(),
            };
            format!(
                "{flag} has no effect: it is for {listed}, which {} not measured (--suite)",
                if own.len() == 1 { "is" } else { "are" }
            )
        };
        idle.map(words).collect()
    }

    pub(super) fn settings(&self) -> Settings {
        let base = if self.is_short() { Settings::short() } else { Settings::default() };
        let mut batch_sizes = self.batch_sizes.clone();
        if batch_sizes.is_empty() {
            batch_sizes.clone_from(&base.batch_sizes);
        }
        Settings {
            batch_sizes,
            order: match self.order.unwrap_or(BatchOrder::Natural) {
                BatchOrder::Natural => Order::Natural,
                BatchOrder::Sorted => Order::Sorted,
                BatchOrder::Both => Order::Both,
            },
            warmup: self.warmup.unwrap_or(base.warmup),
            runs: self.runs.unwrap_or(base.runs),
            latency_tokens: self.latency_tokens,
            seconds: self.seconds.unwrap_or(base.seconds),
            rounds: self.rounds.unwrap_or(base.rounds),
            train_batch_size: self.train_batch_size.unwrap_or(base.train_batch_size),
            activation_checkpointing: self
                .activation_checkpointing
                .unwrap_or(base.activation_checkpointing),
            train_steps: self.train_steps.unwrap_or(base.train_steps),
            limits: base.limits,
        }
    }
}
