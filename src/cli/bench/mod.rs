//! `bayes bench`.

mod table;
mod texts;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::table::table;
use self::texts::{Asked, Texts};
use super::precision::PrecisionFlag;
use super::progress::Display;
use super::tables::TableFlags;
use super::words::whole;
use super::{Common, Outcome, RUNS, model_folder, note, print, print_json, replace, report};
use crate::artifact;
use crate::bench::{
    self, Baseline, Document, Order, Progress, Reference, Results, SUITES, Settings, Subject, Suite,
};
use crate::compute::Noise;
use crate::data::{Example, Remark};
use crate::evaluate::{EvalRows, Gate, Report, score};
use crate::experiment::{self, ReferenceJob, create_run_folder};
use crate::metrics::Interval;
use crate::numbers::grouped;
use crate::posterior::Posterior;
use crate::predict::{Predictor, Text};
use crate::store::write_atomically;

/// Seconds for the accuracy in a shortened run.
const CALIBRATION_SECONDS: f64 = 20.0;

/// Rows from which that time is estimated.
const CALIBRATION_PROBE: usize = 16;

/// Flags of `bayes bench`.
#[derive(Debug, Args)]
pub struct Options {
    /// Model folder or Hub id [default: that of BAYES_MODEL, else the newest under
    /// checkpoints]
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    #[command(flatten)]
    precision: PrecisionFlag,
    /// Suites to run: latency, throughput, memory, size, train, calibration, posterior, long-range
    /// [default: all except long-range]
    #[arg(long, value_name = "SUITES", value_delimiter = ',')]
    suite: Vec<String>,
    /// File, folder, built-in data set name or Hub id [default: the data the model was trained on]
    #[arg(long, value_name = "DATA")]
    dataset: Option<String>,
    /// Use a random sample of this many rows, with the same class proportions and a fixed seed; 0 =
    /// all
    #[arg(long, value_parser = whole::<usize>(0..=u64::MAX), default_value_t = 1000)]
    limit: usize,
    /// Maximum number of tokens per text [default: the model's limit]
    #[arg(long, value_name = "TOKENS", value_parser = whole::<usize>(0..=u64::MAX))]
    max_length: Option<usize>,
    /// Batch sizes for the throughput suite [default: 1,8,16,32]
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = at_least_one)]
    batch_sizes: Vec<usize>,
    /// How to group texts into these batches [default: natural]
    #[arg(long, value_enum)]
    order: Option<BatchOrder>,
    /// Number of warm-up calls, which are not counted [default: 10]
    #[arg(long, value_parser = whole::<usize>(0..=u64::MAX))]
    warmup: Option<usize>,
    /// Number of texts timed individually in each round [default: 100]
    #[arg(long, value_parser = at_least_one)]
    runs: Option<usize>,
    /// Time only the text whose length is closest to this number of tokens
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    latency_tokens: Option<usize>,
    /// Total time to spend on each batch size, over all rounds, in seconds [default: 30]
    #[arg(long, value_parser = above_zero)]
    seconds: Option<f64>,
    /// Number of rounds; every round runs all measurements [default: 5]
    #[arg(long, value_parser = at_least_one)]
    rounds: Option<usize>,
    /// Rows per training step [default: 16]
    #[arg(long, value_parser = at_least_one)]
    train_batch_size: Option<usize>,
    /// Training steps per round [default: 5]
    #[arg(long, value_parser = at_least_one)]
    train_steps: Option<usize>,
    /// Sample the exact posterior of the last layer, and report how far each method is from it
    /// (suite posterior; --limit bounds its training rows too)
    #[arg(long, value_enum, value_name = "SAMPLER")]
    reference: Option<Sampler>,
    /// Draws of each of the four chains [default: 500]
    #[arg(long, value_name = "DRAWS", value_parser = at_least_one, requires = "reference")]
    reference_draws: Option<usize>,
    /// Make every training row exactly this many tokens long
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    train_length: Option<usize>,
    /// Recompute the activations of every Nth layer during training steps (activation
    /// checkpointing); 0 = off [default: 0]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(0..=u64::MAX))]
    activation_checkpointing: Option<usize>,
    /// Save the results, including the samples of each round, to this file
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with results saved earlier
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Exit with status 1 if a figure meets this condition: 'latency.p99_latency>20', or with x for a share of the
    /// baseline's, 'throughput.batch_32.throughput<0.95x', which all of its interval must meet
    #[arg(long, value_name = "CONDITION", num_args = 1..)]
    fail_if: Vec<String>,
    /// Folder to write the report to [default: a new folder under runs]
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Save the measured rows, as tokens with their logits, for use in other tools
    #[arg(long, value_name = "FILE.safetensors")]
    dump: Option<PathBuf>,
    #[command(flatten)]
    tables: TableFlags,
}

/// How texts come into batches.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum BatchOrder {
    /// In the order of the rows
    Natural,
    /// Texts of similar length together
    Sorted,
    /// Measure natural, then sorted
    Both,
}

/// What samples the exact posterior.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sampler {
    /// The No-U-Turn sampler
    Nuts,
}

/// Chains of the reference.
const CHAINS: usize = 4;
/// Draws of each that are kept.
const DRAWS: usize = 500;

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
    fn suites(&self) -> Result<Vec<Suite>> {
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
    fn idle(&self, suites: &[Suite]) -> Vec<String> {
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

    fn settings(&self) -> Settings {
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

pub fn run(options: &Options, common: &Common) -> Result<Outcome> {
    let (suites, settings) = (options.suites()?, options.settings());
    let gates: Vec<Gate> =
        options.fail_if.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let baseline = options.baseline.as_deref().map(Baseline::read).transpose()?;
    if baseline.is_none() {
        gates.iter().try_for_each(Gate::check_absolute)?;
    }
    let report = |name| options.output.as_ref().map(|folder: &PathBuf| folder.join(name));
    replace::check_distinct(&[
        ("--save", options.save.clone()),
        ("--dump", options.dump.clone()),
        ("--output", report("report.json")),
        ("--output", report("report.md")),
    ])?;
    if let Some(path) = &options.save {
        replace::check("--save", path, "a saved benchmark", |path| Baseline::read(path).is_ok())?;
    }
    if let Some(path) = &options.dump {
        replace::check("--dump", path, "a file of measured rows", bench::is_dump)?;
    }
    if let Some(folder) = &options.output {
        let ours = |path: &Path| match path.extension() {
            Some(extension) if extension == "json" => Baseline::read(path).is_ok(),
            _ => std::fs::read_to_string(path).is_ok_and(|text| text.starts_with(bench::TITLE)),
        };
        for name in ["report.json", "report.md"] {
            replace::check("--output", &folder.join(name), "a report of `bayes bench`", ours)?;
        }
    }
    let backend = common.backend()?;
    let folder = model_folder(options.model.as_deref())?;
    let mut artifact = artifact::load(&folder, &backend)?;
    if let Some(wanted) = options.train_length {
        let room = artifact.encoder.longest_sequence();
        ensure!(
            wanted <= room,
            "--train-length is {wanted}, but the encoder accepts at most {room} tokens"
        );
    }
    if let Some(wanted) = options.max_length {
        let room = artifact.encoder.longest_sequence();
        ensure!(
            wanted <= room,
            "--max-length is {wanted}, but the encoder accepts at most {room} tokens"
        );
        artifact.manifest.preprocessing.max_length = wanted;
    }
    let precision = options.precision.on(&backend)?;
    let predictor = Predictor::of(&folder, artifact, precision)?;
    let artifact = predictor.artifact();
    let noise = Noise::new(artifact.manifest.seed);

    let mut display = Display::new(common.quiet);
    for idle in options.idle(&suites) {
        display.show(&experiment::Progress::Warning(idle));
    }
    let mut show = |remark: Remark| display.show(&experiment::Progress::from(&remark));
    if settings.limits.is_some() {
        show(Remark::Note(format!(
            "a short run, to finish within three minutes: {} s per batch size, and limits on the \
             rest; for the full run, use --seconds 30",
            settings.seconds
        )));
    }
    let named = options.dataset.as_deref();
    let overrides = options.tables.overrides();
    let asked = Asked {
        named,
        overrides: &overrides,
        limit: options.limit,
        train_length: options.train_length,
    };
    let texts = Texts::open(&predictor, &asked, &mut show)?;
    for said in texts.truncated(suites.contains(&Suite::Train)) {
        show(Remark::Note(said));
    }
    if let Some(size) = options.batch_sizes.iter().find(|size| **size > texts.rows.len()) {
        let rows = texts.rows.len();
        bail!(
            "--batch-sizes has {size}, but there are only {rows} texts; use at most {rows}, or \
             provide more texts with --limit or --dataset"
        );
    }
    let subject =
        Subject { predictor: &predictor, rows: &texts.rows, train: &texts.train, noise: &noise };
    if let Some(path) = &options.dump {
        write_atomically(path, &bench::dump(&subject, suites.contains(&Suite::Train))?)?;
    }
    let results = bench::measure(&subject, &suites, &settings, &mut |progress| {
        display.show(&match progress {
            Progress::Note(text) => experiment::Progress::Note(text),
            Progress::Rounds(done, total) => {
                experiment::Progress::Work { what: "measuring", done, total }
            }
        });
    })?;
    let wanted = suites.contains(&Suite::Calibration) && texts.comparable;
    let scored = wanted
        .then(|| calibration(&predictor, &texts, &noise, settings.limits.is_some(), &mut display))
        .transpose()?;
    let reference = match options.reference {
        Some(Sampler::Nuts) if suites.contains(&Suite::Posterior) => {
            let job = ReferenceJob {
                model: &folder,
                dataset: named,
                overrides: &overrides,
                limit: options.limit,
                chains: CHAINS,
                draws: options.reference_draws.unwrap_or(DRAWS),
            };
            let mut show = |progress: experiment::Progress<'_>| display.show(&progress);
            Some(experiment::compare_with_exact(&job, &backend, &mut show)?)
        }
        _ => None,
    };
    display.finish();

    let machine = bench::machine();
    let mut document = Document {
        model: &artifact.manifest.name,
        folder: folder.display().to_string(),
        date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        dataset: &texts.dataset.name,
        generated: texts.dataset.generated,
        rows: texts.rows.len(),
        tokens: texts.rows.lengths().iter().map(|&length| u64::from(length)).sum(),
        max_length: artifact.manifest.preprocessing.max_length,
        suites: &suites,
        settings: &settings,
        encoder: &artifact.encoder,
        method: json!(artifact.manifest.fit.method),
        precision: predictor.precision(),
        machine: &machine,
        results: &results,
        calibration: scored.as_ref().map(serde_json::to_value).transpose()?,
        reference: reference.as_ref(),
        warnings: warnings(&results, &suites, &artifact.posterior),
        comparisons: Vec::new(),
    };
    document.warnings.extend(reference.iter().flat_map(Reference::warnings));
    document.warnings.extend(scored.as_ref().and_then(|_| texts.seen(&artifact.manifest)));
    if let Some(baseline) = &baseline {
        let differences = baseline.differences(&document.to_json());
        document.warnings.extend(differences);
        document.comparisons = baseline.compare(&results);
        if document.comparisons.is_empty() {
            document.warnings.push(
                "the saved benchmark has none of the figures of this run, so nothing is compared; \
                 measure the same suites (--suite)"
                    .to_owned(),
            );
        }
    }
    for warning in &document.warnings {
        display.show(&experiment::Progress::Warning(warning.clone()));
    }
    let json = document.to_json();
    let bytes = serde_json::to_vec_pretty(&json)?;
    let home = match &options.output {
        Some(folder) => folder.clone(),
        None => create_run_folder(RUNS.as_ref(), &format!("bench-{}", document.model))?,
    };
    write_atomically(&home.join("report.json"), &bytes)?;
    write_atomically(&home.join("report.md"), document.to_markdown().as_bytes())?;
    if let Some(path) = &options.save {
        write_atomically(path, &bytes)?;
    }
    if common.json {
        print_json(&json)?;
    } else {
        let accuracy = scored.map_or(String::new(), |scored| {
            let rows = grouped(scored.summary.rows as u64);
            format!("\n  accuracy on {rows} rows\n{}", report::table(&scored, None))
        });
        let place = home.join("report.md");
        print(&format!("{}{accuracy}\nReport  {}\n", table(&document), place.display()))?;
    }
    decide(&gates, &json, &document.comparisons)
}

/// Whether a condition is met.
fn decide(gates: &[Gate], report: &Value, comparisons: &[bench::Comparison]) -> Result<Outcome> {
    let enough = |one: &bench::Comparison| one.verdict != bench::Verdict::TooFewRounds;
    let ratio = |one: &'_ bench::Comparison| enough(one).then_some(one.ratio);
    let ratios: Vec<(&str, Option<Interval>)> =
        comparisons.iter().map(|one| (one.key.as_str(), ratio(one))).collect();
    let mut outcome = Outcome::Done;
    for gate in gates {
        let met = match gate.is_relative() {
            true => gate.met_by_ratio(&ratios),
            false => gate.met(report),
        };
        if let Some(why) = met? {
            note(&format!("failed: {why}"))?;
            outcome = Outcome::No;
        }
    }
    Ok(outcome)
}

/// What a reader of the figures should know.
fn warnings(results: &Results, suites: &[Suite], posterior: &Posterior) -> Vec<String> {
    let mut warnings = results.warnings();
    let reason = posterior.own_doubt().reason();
    if let Some(reason) = reason.filter(|_| suites.contains(&Suite::Posterior)) {
        warnings.push(format!(
            "`posterior` measures only a softmax: this model uses its mean logits because {reason}"
        ));
    }
    warnings
}

/// The report of `bayes eval` on the rows; in a short run on as many as there is time for.
fn calibration(
    predictor: &Predictor,
    texts: &Texts,
    noise: &Noise,
    short: bool,
    display: &mut Display,
) -> Result<Report> {
    let mut inside: Vec<&Example> = texts.test.iter().collect();
    if short {
        let probe = &inside[..inside.len().min(CALIBRATION_PROBE)];
        let probe: Vec<Text<'_>> =
            probe.iter().map(|one| (one.text.as_str(), one.pair.as_deref())).collect();
        let began = Instant::now();
        predictor.predict(&probe, &mut |_| ())?;
        let seconds = began.elapsed().as_secs_f64() / probe.len() as f64;
        inside.truncate(((CALIBRATION_SECONDS / seconds) as usize).max(probe.len()));
    }
    let dataset = &texts.dataset;
    let rows =
        EvalRows { dataset, split: "", inside: &inside, places: &[], outside: &[], seen: &[] };
    let (report, _) = score(predictor, &rows, noise, &mut |done, total| {
        display.show(&experiment::Progress::Work { what: "evaluating", done, total });
    })?;
    Ok(report)
}
