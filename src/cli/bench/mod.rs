//! `bayes bench`.

mod options;
mod table;
mod texts;

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

pub use self::options::Options;
use self::options::Sampler;
use self::table::table;
use self::texts::{Asked, Texts};
use super::progress::Display;
use super::{Common, Outcome, RUNS, model_folder, note, print, print_json, replace, report};
use crate::artifact;
use crate::bench::{self, Baseline, Document, Progress, Reference, Results, Subject, Suite};
use crate::compute::Noise;
use crate::data::{Example, Remark};
use crate::evaluate::{EvalRows, Gate, Report, score};
use crate::experiment::{self, ReferenceJob, create_run_folder};
use crate::metrics::Interval;
use crate::numbers::grouped;
use crate::posterior::Posterior;
use crate::predict::{Predictor, Text};
use crate::store::write_atomically;

/// Chains of the reference.
const CHAINS: usize = 4;
/// Draws of each that are kept.
const DRAWS: usize = 500;

/// Seconds for the accuracy in a shortened run.
const CALIBRATION_SECONDS: f64 = 20.0;

/// Rows from which that time is estimated.
const CALIBRATION_PROBE: usize = 16;

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
