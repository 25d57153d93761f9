//! All measurements of a model, round by round.

use std::time::Instant;

use super::process::forget_peak;
use super::task::{Kind, Task, Work};
use super::{BenchError, Order, Progress, Results, Settings, Suite};
use crate::artifact::Artifact;
use crate::calibrate::calibrated_nll;
use crate::compute::{self, Memory, Noise, Packed, Precision, Purpose, Sequence};
use crate::data::TokenSet;
use crate::model::{Specification, specifications};
use crate::predict::Predictor;
use crate::train::{Job, Stepper, TrainConfig};

/// Why a suite is skipped.
const OF_PAIRS: &str =
    "is skipped: labels of your own are read from pairs with each text, not from one text";

/// Lengths of the suite `long-range`.
const LENGTHS: [usize; 4] = [64, 128, 256, 512];

/// A training step does about as much as three predictions of its batch.
const STEP_IN_PREDICTIONS: f64 = 3.0;

/// What is measured with what.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub predictor: &'a Predictor,
    /// Texts for the predictions.
    pub rows: &'a TokenSet,
    /// Texts for the training steps.
    pub train: &'a TokenSet,
    /// Orders the sorted batches.
    pub noise: &'a Noise,
}

/// Measures the suites; [`Suite::Calibration`] is not a measurement of time and has no part in it.
pub fn measure(
    subject: &Subject<'_>,
    suites: &[Suite],
    settings: &Settings,
    show: &mut dyn FnMut(Progress),
) -> Result<Results, BenchError> {
    if subject.rows.is_empty() || subject.train.is_empty() {
        return Err(BenchError::NoRows);
    }
    let artifact = subject.predictor.artifact();
    let mut results = Results::default();
    let mut tasks = Vec::new();
    let fits = Fits::probe(subject, settings)?;
    for (key, kind, batches) in predictions(subject, suites, settings, show) {
        if batches.first().is_some_and(|batch| fits.batch(tokens(batch), &key, show)) {
            if kind == Kind::Latency && settings.latency_tokens.is_some() {
                results.count("latency.tokens".to_owned(), tokens(&batches[0]) as u64);
            }
            tasks.push(Task::new(key, kind, Work::Predict(batches)));
        }
    }
    // Before the training, whose moments and gradients would be counted with it.
    if suites.contains(&Suite::Memory) {
        memory(subject, &fits, settings, &mut results)?;
    }
    long_range_memory(subject, &tasks, settings, &mut results)?;
    let config = TrainConfig {
        per_device_train_batch_size: settings.train_batch_size,
        activation_checkpointing: settings.activation_checkpointing,
        bf16: subject.predictor.precision() == Precision::Bf16,
        ..TrainConfig::default()
    };
    let job = Job {
        encoder: &artifact.encoder,
        config: &config,
        train: subject.train,
        stream: None,
        validation: subject.train,
        objective: None,
        calibrated_nll,
    };
    let of_pairs = artifact.manifest.zero_shot.is_some();
    if suites.contains(&Suite::Train) && of_pairs {
        show(Progress::Note(format!("`train` {OF_PAIRS}")));
    } else if suites.contains(&Suite::Train) {
        let batches = train_batches(subject.train, settings);
        if batches.is_empty() {
            show(too_few("train", settings.train_batch_size, subject.train.len()));
        } else if fits.step(batches[0].1, show) {
            if subject.predictor.precision() == Precision::Int8 {
                show(Progress::Note(
                    "`train` is measured in f32, as there is none in int8".to_owned(),
                ));
            }
            let stepper = Box::new(Stepper::new(&job, &artifact.parameters)?);
            let work = Work::Train(stepper, batches);
            tasks.push(Task::new("train".to_owned(), Kind::Train, work));
        }
    }
    for task in &mut tasks {
        task.plan(settings, subject.predictor)?;
    }
    for round in 0..settings.rounds {
        show(Progress::Rounds(round, settings.rounds));
        for task in &mut tasks {
            task.round(subject.predictor, &mut results)?;
        }
    }
    show(Progress::Rounds(settings.rounds, settings.rounds));
    if suites.contains(&Suite::Size) {
        size(subject.predictor, &mut results);
    }
    Ok(results)
}

/// Why there is no batch of this size: whole ones alone are measured.
fn too_few(key: &str, size: usize, rows: usize) -> Progress {
    Progress::Note(format!(
        "`{key}` is skipped: a batch has {size} texts, but there are only {rows}"
    ))
}

/// Leaves out what a shortened run has no time for.
struct Fits {
    seconds_per_token: f64,
    settings: Settings,
}

impl Fits {
    /// Times the second of two calls with the first rows.
    fn probe(subject: &Subject<'_>, settings: &Settings) -> Result<Self, BenchError> {
        let rows = 0..subject.rows.len().min(4);
        let batch = Packed::new(rows.map(|row| subject.rows.sequence(row)));
        subject.predictor.predict_batch(&batch)?;
        let began = Instant::now();
        subject.predictor.predict_batch(&batch)?;
        let seconds_per_token = began.elapsed().as_secs_f64() / batch.tokens() as f64;
        Ok(Self { seconds_per_token, settings: settings.clone() })
    }

    fn batch(&self, tokens: usize, key: &str, show: &mut dyn FnMut(Progress)) -> bool {
        let most = self.settings.limits.map(|limits| limits.batch);
        self.within(tokens as f64 * self.seconds_per_token, most, key, show)
    }

    fn step(&self, tokens: usize, show: &mut dyn FnMut(Progress)) -> bool {
        let most = self.settings.limits.map(|limits| limits.step);
        let seconds = STEP_IN_PREDICTIONS * tokens as f64 * self.seconds_per_token;
        self.within(seconds, most, "train", show)
    }

    fn within(
        &self,
        seconds: f64,
        most: Option<f64>,
        key: &str,
        show: &mut dyn FnMut(Progress),
    ) -> bool {
        let fits = most.is_none_or(|most| seconds <= most);
        if !fits {
            show(Progress::Note(format!(
                "`{key}` is skipped: one batch takes about {seconds:.0} s; name its suite with \
                 --suite"
            )));
        }
        fits
    }
}

/// The batches of all measurements of predictions.
fn predictions(
    subject: &Subject<'_>,
    suites: &[Suite],
    settings: &Settings,
    show: &mut dyn FnMut(Progress),
) -> Vec<(String, Kind, Vec<Vec<Sequence>>)> {
    let rows = subject.rows;
    let all: Vec<Sequence> = (0..rows.len()).map(|row| rows.sequence(row)).collect();
    let mut found = Vec::new();
    let singles = [
        (Suite::Latency, "latency", Kind::Latency),
        (Suite::Posterior, "posterior", Kind::Posterior),
    ];
    for (_, key, kind) in singles.into_iter().filter(|(suite, ..)| suites.contains(suite)) {
        let nearest = |tokens: usize| all.iter().min_by_key(|one| one.ids.len().abs_diff(tokens));
        let single = match settings.latency_tokens.and_then(nearest) {
            Some(one) => {
                if settings.latency_tokens != Some(one.ids.len()) {
                    show(Progress::Note(format!(
                        "`{key}`: no text has the tokens of --latency-tokens; the nearest has {}, and is \
                         timed",
                        one.ids.len()
                    )));
                }
                vec![vec![one.clone()]]
            }
            None => all.iter().take(settings.runs).map(|one| vec![one.clone()]).collect(),
        };
        found.push((key.to_owned(), kind, single));
    }
    if suites.contains(&Suite::Throughput) {
        for &size in &settings.batch_sizes {
            if size > all.len() {
                show(too_few(&format!("throughput.batch_{size}"), size, all.len()));
                continue;
            }
            if settings.order != Order::Sorted {
                let batches = all.chunks_exact(size).map(<[Sequence]>::to_vec).collect();
                found.push((format!("throughput.batch_{size}"), Kind::Throughput, batches));
            }
            if settings.order != Order::Natural {
                let batches = sorted(&all, size, subject.noise);
                found.push((format!("throughput.sorted_{size}"), Kind::Throughput, batches));
            }
        }
    }
    let of_pairs = subject.predictor.artifact().manifest.zero_shot.is_some();
    if suites.contains(&Suite::LongRange) && of_pairs {
        show(Progress::Note(format!("`long-range` {OF_PAIRS}")));
    } else if suites.contains(&Suite::LongRange) {
        let longest = subject.predictor.artifact().encoder.longest_sequence();
        for length in LENGTHS {
            if length > longest {
                show(Progress::Note(format!("the encoder accepts {longest} tokens, not {length}")));
                continue;
            }
            let ids: Vec<u32> =
                all.iter().flat_map(|one| &one.ids).copied().cycle().take(length).collect();
            let text = Sequence { ids, type_ids: Vec::new(), row: 0 };
            let key = format!("long_range.max_length_{length}");
            found.push((key, Kind::LongRange, vec![vec![text]]));
        }
    }
    found
}

/// Batches of texts of like length. The batches themselves are shuffled: a round that does not
/// reach the last one should not have seen the short texts only.
fn sorted(all: &[Sequence], size: usize, noise: &Noise) -> Vec<Vec<Sequence>> {
    let mut all = all.to_vec();
    all.sort_by_key(|one| one.ids.len());
    let mut batches: Vec<Vec<Sequence>> =
        all.chunks_exact(size).map(<[Sequence]>::to_vec).collect();
    noise.stream(Purpose::Shuffle, u64::MAX, 1).shuffle(&mut batches);
    batches
}

/// The rows of each training step, with their tokens.
fn train_batches(rows: &TokenSet, settings: &Settings) -> Vec<(Vec<u32>, usize)> {
    let lengths = rows.lengths();
    let all: Vec<u32> = (0..rows.len() as u32).collect();
    let batches = all.chunks_exact(settings.train_batch_size).take(settings.train_steps);
    let tokens = |rows: &[u32]| rows.iter().map(|&row| lengths[row as usize] as usize).sum();
    batches.map(|rows| (rows.to_vec(), tokens(rows))).collect()
}

/// Memory while a batch of the largest size is predicted, whichever suites are measured beside it.
fn memory(
    subject: &Subject<'_>,
    fits: &Fits,
    settings: &Settings,
    results: &mut Results,
) -> Result<(), BenchError> {
    let sequence = |row| subject.rows.sequence(row);
    let first = |size: usize| -> Vec<Sequence> {
        (0..size.min(subject.rows.len())).map(sequence).collect()
    };
    let batches = settings.batch_sizes.iter().map(|&size| first(size));
    let fitting = batches.filter(|batch| fits.batch(tokens(batch), "memory", &mut |_| ()));
    let batch = fitting.max_by_key(Vec::len).unwrap_or_else(|| first(1));
    for _ in 0..settings.rounds {
        let memory = memory_of(subject.predictor, &batch)?;
        let allocated = memory.map(|memory| memory.resident_mb);
        results.add("memory.memory_allocated_mb".to_owned(), allocated);
        results.add("memory.memory_reserved_mb".to_owned(), memory.map(|memory| memory.peak_mb));
    }
    results.count("memory.batch_size".to_owned(), batch.len() as u64);
    Ok(())
}

/// The peak while a text of each length is predicted.
fn long_range_memory(
    subject: &Subject<'_>,
    tasks: &[Task<'_>],
    settings: &Settings,
    results: &mut Results,
) -> Result<(), BenchError> {
    for task in tasks.iter().filter(|task| task.kind == Kind::LongRange) {
        let Work::Predict(batches) = &task.work else { continue };
        for _ in 0..settings.rounds {
            let peak = memory_of(subject.predictor, &batches[0])?.map(|memory| memory.peak_mb);
            results.add(format!("{}.mean_memory_mb", task.key), peak);
        }
    }
    Ok(())
}

fn tokens(batch: &[Sequence]) -> usize {
    batch.iter().map(|one| one.ids.len()).sum()
}

fn memory_of(predictor: &Predictor, batch: &[Sequence]) -> Result<Option<Memory>, BenchError> {
    forget_peak();
    predictor.predict_batch(&Packed::new(batch.iter().cloned()))?;
    Ok(compute::memory())
}

fn size(predictor: &Predictor, results: &mut Results) {
    let artifact = predictor.artifact();
    let networks = artifact.networks().unwrap_or(1);
    let total = networks * artifact.parameters.count();
    let used = specifications(&artifact.encoder).into_iter().filter(|one| one.used);
    let trainable: usize =
        networks * used.map(|one| one.shape.iter().product::<usize>()).sum::<usize>();
    results.count("model_size.total_parameters".to_owned(), total as u64);
    results.count("model_size.trainable_parameters".to_owned(), trainable as u64);
    // As files are counted, here and by other commands; memory is in MiB.
    let megabytes = (networks * bytes(artifact)) as f64 / 1e6;
    results.add("model_size.model_size_mb".to_owned(), megabytes);
}

/// Bytes of the weights of one network, as its folder stores them.
fn bytes(artifact: &Artifact) -> usize {
    let of = |one: Specification| {
        let numbers: usize = one.shape.iter().product();
        match artifact.manifest.precision {
            Precision::Bf16 if one.is_rounded() => 2 * numbers,
            // With a step of f32 for each output.
            Precision::Int8 if one.is_rounded() => numbers + 4 * one.shape[0],
            _ => 4 * numbers,
        }
    };
    specifications(&artifact.encoder).into_iter().map(of).sum()
}
