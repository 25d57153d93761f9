//! What is measured, and for how long.

use serde::Serialize;

use super::BenchError;
use crate::suggest::nearest;

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suite {
    /// One text a call.
    Latency,
    /// Batches of several sizes.
    Throughput,
    Memory,
    Size,
    Train,
    /// The metrics of `bayes eval`.
    Calibration,
    /// One text a call at several lengths.
    LongRange,
    /// Of one text a call, the time from the feature to the probabilities.
    Posterior,
}

/// All suites by name.
pub const SUITES: [(&str, Suite); 8] = [
    ("latency", Suite::Latency),
    ("throughput", Suite::Throughput),
    ("memory", Suite::Memory),
    ("size", Suite::Size),
    ("train", Suite::Train),
    ("calibration", Suite::Calibration),
    ("long-range", Suite::LongRange),
    ("posterior", Suite::Posterior),
];

impl Suite {
    /// The suite of this name.
    pub fn named(name: &str) -> Result<Self, BenchError> {
        let found = SUITES.iter().find(|(known, _)| *known == name);
        found.map(|&(_, suite)| suite).ok_or_else(|| {
            let names = SUITES.map(|(known, _)| known);
            let best = nearest(name, names);
            BenchError::Suite {
                name: name.to_owned(),
                suggestion: best.map_or(String::new(), |best| format!(" did you mean `{best}`?")),
                known: names.join("`, `"),
            }
        })
    }
}

/// The order in which texts are put into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As the rows come.
    Natural,
    /// Texts of like length share a batch.
    Sorted,
    /// One after the other.
    Both,
}

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Texts a batch, for the throughput.
    pub batch_sizes: Vec<usize>,
    /// How texts come into these batches.
    pub order: Order,
    /// Calls before the first that counts; fewer where a round takes less time than they do.
    pub warmup: usize,
    /// Texts that are timed one by one, in each round.
    pub runs: usize,
    /// Times the one text whose length is nearest instead of one after another.
    pub latency_tokens: Option<usize>,
    /// Seconds for each batch size, over all rounds.
    pub seconds: f64,
    pub rounds: usize,
    /// Rows a training step.
    pub train_batch_size: usize,
    /// Every n-th layer computes its activations again; 0 is off.
    pub activation_checkpointing: usize,
    /// Training steps in each round.
    pub train_steps: usize,
    /// Limits on the time of what is counted in calls; none unless the run is shortened.
    pub limits: Option<Limits>,
}

/// What keeps a shortened run short.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Seconds for the latency, over all rounds.
    pub latency: f64,
    /// Seconds for the training, over all rounds.
    pub train: f64,
    /// A batch that is expected to take more seconds is left out.
    pub batch: f64,
    /// A training step that is expected to take more seconds is left out.
    pub step: f64,
}

impl Settings {
    /// What a run without arguments measures, in less than three minutes.
    pub fn short() -> Self {
        let limits = Limits { latency: 10.0, train: 25.0, batch: 4.0, step: 8.0 };
        Self { seconds: 6.0, limits: Some(limits), ..Self::default() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            batch_sizes: vec![1, 8, 16, 32],
            order: Order::Natural,
            warmup: 10,
            runs: 100,
            latency_tokens: None,
            seconds: 30.0,
            rounds: 5,
            train_batch_size: 16,
            activation_checkpointing: 0,
            train_steps: 5,
            limits: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_is_refused_with_a_suggestion() {
        assert_eq!(Suite::named("long-range").unwrap(), Suite::LongRange);
        let message = Suite::named("latancy").unwrap_err().to_string();
        assert!(message.contains("did you mean `latency`?"), "{message}");
        let message = Suite::named("xyz").unwrap_err().to_string();
        assert!(!message.contains("did you mean") && message.contains("`throughput`"), "{message}");
    }
}
