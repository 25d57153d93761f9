//! What a run shows in TensorBoard.
//!
//! A write that fails is reported once and ends the recording; the training goes on.

mod graph;
mod message;
mod picture;
mod scalars;

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use protobuf::Message;
use tensorboard_proto::event::Event as Record;
use tensorboard_proto::summary::Summary_Value;
use tensorboard_rs::record_writer::RecordWriter;

use super::inspect::Inspection;
use super::{Event, TrainConfig, Validation};
use crate::compute::memory;
use crate::metrics::Bin;
use crate::model::EncoderConfig;
use message::{Parameter, scalar};

pub use scalars::scalars;

/// The scalars that hyperparameters are judged by.
const JUDGES: [&str; 2] = ["final_loss", "final_accuracy"];

/// The records of one run.
pub struct EventWriter {
    writer: RecordWriter<BufWriter<File>>,
    /// The same file, to be put on the disk.
    file: File,
    failure: Option<io::Error>,
    broken: bool,
    /// Whether an earlier process has described the run.
    described: bool,
}

impl EventWriter {
    /// Begins a file of its own in the run folder, after so many steps: readers forget what earlier
    /// files have of later ones.
    pub fn create(run: &Path, step: u64) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let described = std::fs::read_dir(run)?.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().contains("tfevents"))
        });
        let name = format!(
            "events.out.tfevents.{:010}.bayes.{}.{number}",
            seconds() as u64,
            std::process::id()
        );
        let file = OpenOptions::new().append(true).create_new(true).open(run.join(name))?;
        let mut writer = Self {
            writer: RecordWriter::new(BufWriter::new(file.try_clone()?)),
            file,
            failure: None,
            broken: false,
            described,
        };
        writer.record(&message::version(seconds()));
        writer.record(&message::session_start(seconds(), step + 1));
        writer.flush();
        Ok(writer)
    }

    /// The config as text, the graph of the model and the hyperparameters, once a run.
    pub fn describe(&mut self, text: &str, encoder: &EncoderConfig, config: &TrainConfig) {
        if self.described {
            return;
        }
        let now = seconds();
        let markdown: String = text.lines().map(|line| format!("    {line}\n")).collect();
        let parameters = hyperparameters(encoder, config);
        self.values(0, vec![message::text("config", &markdown)]);
        self.record(&message::graph(now, graph::graph(encoder)));
        self.values(0, vec![message::experiment(now, &parameters, &JUDGES)]);
        self.values(0, vec![message::session_info(now, &parameters)]);
        self.flush();
    }

    /// Takes an event of the loop in.
    pub fn hear(&mut self, event: &Event<'_>) {
        match event {
            Event::Step {
                step, epoch, logged: Some(logged), learning_rate, gradient_norm, ..
            } => {
                let values = [
                    ("Loss/train", logged.loss),
                    ("Learning_Rate", *learning_rate),
                    ("Epoch", *epoch),
                    ("Gradient_Norm/global", *gradient_norm),
                    ("Throughput/tokens_per_second", logged.tokens_per_second),
                ];
                self.scalars(*step, &values);
                if let Some(memory) = memory() {
                    self.scalars(*step, &[("Memory/peak_mb", memory.peak_mb)]);
                }
            }
            Event::Evaluated { step, scores, averaged: false, .. } => {
                let Validation { scores, calibrated_nll } = scores;
                let values = [
                    ("Validation/loss", scores.nll),
                    ("Validation/accuracy", scores.accuracy),
                    ("Validation/f1", scores.f1),
                    ("Validation/nll", scores.nll),
                    ("Validation/calibrated_nll", *calibrated_nll),
                    ("Validation/ece", scores.ece),
                ];
                self.scalars(*step, &values);
            }
            Event::Inspected(inspection) => self.inspection(inspection),
            Event::Save(_) => self.sync(),
            Event::Started { .. } | Event::Step { .. } | Event::Warning(_) => {}
            Event::Evaluating { .. } | Event::Evaluated { .. } => {}
        }
    }

    /// The end of the run, with the reliability diagram of the test rows.
    pub fn finish(&mut self, step: u64, loss: f64, accuracy: f64, bins: &[Bin]) {
        self.scalars(step, &[(JUDGES[0], loss), (JUDGES[1], accuracy)]);
        let picture = picture::reliability(bins);
        self.picture("Calibration/reliability_diagram", step, &picture);
        self.values(step, vec![message::session_end(seconds())]);
        self.sync();
    }

    /// The first failure, once.
    pub fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    fn inspection(&mut self, inspection: &Inspection<'_>) {
        let step = inspection.step;
        let mut all = Vec::new();
        let seen = inspection.tensors(|name, weights, gradient| {
            let square: f64 = gradient.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
            let values = |of: &[f32], kind: &str| {
                message::histogram(&format!("{kind}/{name}"), of.iter().map(|&x| f64::from(x)))
            };
            all.push(values(weights, "Weights"));
            all.push(values(gradient, "Gradients"));
            all.push(scalar(&format!("Gradient_Norm/{name}"), square.sqrt()));
        });
        self.values(step, all);
        if let Err(error) = seen {
            self.fail(io::Error::other(error));
        }
        let confidence = inspection.confidence.iter().copied();
        self.values(step, vec![message::histogram("Predictions/Confidence", confidence)]);
        for (index, layer) in inspection.layers.iter().enumerate() {
            let values = [
                (format!("Attention_Entropy/Layer_{index}"), layer.entropy),
                (format!("Hidden_Mean/Layer_{index}"), layer.mean),
                (format!("Hidden_Std/Layer_{index}"), layer.deviation),
            ];
            let values = values.iter().map(|(tag, value)| (tag.as_str(), *value));
            self.scalars(step, &values.collect::<Vec<_>>());
            let picture = picture::heat_map(&layer.attention_st, layer.length);
            self.picture(&format!("Attention/Layer_{index}"), step, &picture);
        }
        self.flush();
    }

    fn picture(&mut self, tag: &str, step: u64, picture: &picture::Picture) {
        match picture.png() {
            Ok(png) => {
                let value = message::image(tag, picture.width, picture.height, 3, png);
                self.values(step, vec![value]);
            }
            Err(error) => self.fail(io::Error::other(error)),
        }
    }

    fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) {
        self.values(step, scalars.iter().map(|(tag, value)| scalar(tag, *value)).collect());
        self.flush();
    }

    fn values(&mut self, step: u64, values: Vec<Summary_Value>) {
        self.record(&message::summary(seconds(), step, values));
    }

    fn record(&mut self, record: &Record) {
        if self.broken {
            return;
        }
        let bytes = record.write_to_bytes().map_err(io::Error::other);
        if let Err(error) = bytes.and_then(|bytes| self.writer.write(&bytes)) {
            self.fail(error);
        }
    }

    fn flush(&mut self) {
        if !self.broken
            && let Err(error) = self.writer.flush()
        {
            self.fail(error);
        }
    }

    /// Puts everything on the disk.
    fn sync(&mut self) {
        self.flush();
        if !self.broken
            && let Err(error) = self.file.sync_all()
        {
            self.fail(error);
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.broken = true;
        self.failure = Some(error);
    }
}

/// The reliability diagram as PNG.
///
/// # Errors
/// The picture cannot be packed.
pub fn reliability_png(bins: &[Bin]) -> io::Result<Vec<u8>> {
    picture::reliability(bins).png().map_err(io::Error::other)
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |passed| passed.as_secs_f64())
}

fn hyperparameters(
    encoder: &EncoderConfig,
    config: &TrainConfig,
) -> Vec<(&'static str, Parameter)> {
    let scheduler = serde_json::to_value(config.lr_scheduler_type).unwrap_or_default();
    let numbers = [
        ("lr", config.learning_rate),
        ("head_lr", config.head_learning_rate),
        ("batch_size", config.per_device_train_batch_size as f64),
        ("gradient_accumulation_steps", config.gradient_accumulation_steps as f64),
        ("num_epochs", config.num_train_epochs),
        ("warmup_steps", config.warmup_steps),
        ("weight_decay", config.weight_decay),
        ("label_smoothing", config.label_smoothing_factor),
        ("seed", config.seed as f64),
        ("num_layers", encoder.num_hidden_layers as f64),
        ("hidden_size", encoder.hidden_size as f64),
        ("num_heads", encoder.num_attention_heads as f64),
    ];
    let numbers = numbers.map(|(name, value)| (name, Parameter::Number(value)));
    let scheduler = Parameter::Text(scheduler.as_str().unwrap_or_default().to_owned());
    numbers.into_iter().chain([("lr_scheduler", scheduler)]).collect()
}
