//! Models on the same rows: from folders to all that is said of them.
//!
//! ```no_run
//! use bayes::evaluate::models::{Options, evaluate_models};
//! use bayes::compute::Backend;
//!
//! let options = Options { ood: vec!["other-topics".to_owned()], ..Options::default() };
//! let folders = ["checkpoints/reviews/model".into()];
//! for one in evaluate_models(&folders, &Backend::Cpu, &options, &mut |_| {})? {
//!     println!("{}: accuracy {}", one.answers.model, one.report.summary.accuracy.value);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asked;
mod chosen;
mod error;
mod outside;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::asked::Asked;
use self::outside::Outside;
use crate::artifact::Manifest;
use crate::compute::Backend;
use crate::data::{Overrides, Remark};
use crate::evaluate::shift::{Damage, Kept};
use crate::evaluate::{Answers, EvaluateError, Evaluation, Hygiene, Origin, OriginError, Rival};
use crate::predict::{Loading, Predictor, SharedTrunk};

pub use self::chosen::{Chosen, data_config};
pub use self::error::ModelsError;

/// What is asked of models.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The data set; that which the first model was made with where there is none.
    pub dataset: Option<String>,
    /// How its tables are read, where that is not as the model read its own.
    pub overrides: Overrides,
    /// Renamings of labels that are applied where the rows have such labels and nobody renames them.
    pub usual_label_map: BTreeMap<String, String>,
    /// The part or the split; `test` where there is none.
    pub split: Option<String>,
    /// Most rows of each kind, sampled; 0 = all.
    pub limit: usize,
    /// How often a prediction set should contain the correct label; what the model was calibrated for where there is
    /// none.
    pub coverage: Option<f64>,
    /// Data sets of texts that belong to none of the classes.
    pub ood: Vec<String>,
    /// How their tables are read.
    pub ood_overrides: Overrides,
    /// How the rows are damaged, each in an evaluation of its own beside the undamaged rows.
    pub shift: Vec<Damage>,
    /// Whether no linear classifier is fitted to compare the models with.
    pub no_baseline: bool,
    /// What encoders make of texts, where several models have the same one.
    pub trunk: Option<SharedTrunk>,
    /// What the models are loaded as.
    pub loading: Loading,
}

/// What happens while models are evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Remark(Remark),
    /// A countable piece of work; `done == total` ends it.
    Work {
        what: &'static str,
        done: usize,
        total: usize,
    },
}

/// Evaluates the models of some folders, all on the rows of the first one.
///
/// # Errors
/// A model cannot be loaded, the rows cannot be read, or the one cannot be asked about the other.
pub fn evaluate_models(
    folders: &[PathBuf],
    device: &Backend,
    options: &Options,
    show: &mut dyn FnMut(Event),
) -> Result<Vec<Evaluation>, ModelsError> {
    check_damages(&options.shift)?;
    let mut shared: Option<Shared> = None;
    let mut evaluated: Vec<Evaluation> = Vec::new();
    for folder in folders {
        let mut predictor = load(folder, options, device)?;
        if options.coverage.is_some() && predictor.artifact().calibration.conformal.is_none() {
            let folder = folder.display().to_string();
            let none = ModelsError::NoSets { folder };
            match folders {
                [_] => return Err(none),
                _ => warn(Some(none.to_string()), show),
            }
        }
        warn(undecided(&predictor), show);
        if let Some(trunk) = &options.trunk {
            predictor = predictor.sharing(trunk.clone())?;
        }
        let model = folder.display().to_string();
        let shared = match &mut shared {
            Some(shared) => shared,
            none => none.insert(Shared::open(options, &predictor, &model, show)?),
        };
        let manifest = &predictor.artifact().manifest;
        if evaluated.first().is_some_and(|first| first.answers.labels != manifest.labels) {
            check_labels(&shared.outside, manifest, show)?;
        }
        warn(shared.asked.read_unlike(folder, manifest), show);
        warn(shared.asked.names_or_places(manifest), show);
        warn(shared.asked.other_columns(folder, manifest), show);
        if evaluated.iter().any(|one| one.answers.model == model) {
            return Err(ModelsError::Twice { model });
        }
        let first = evaluated.is_empty();
        evaluated.push(shared.evaluate(&predictor, model, first, options, show)?);
    }
    Ok(evaluated)
}

fn check_damages(damages: &[Damage]) -> Result<(), ModelsError> {
    let twice = damages.iter().enumerate().find(|(place, one)| damages[..*place].contains(one));
    match twice {
        Some((_, damage)) => Err(ModelsError::DamageTwice { damage: damage.to_string() }),
        None => Ok(()),
    }
}

fn load(folder: &Path, options: &Options, device: &Backend) -> Result<Predictor, ModelsError> {
    let predictor = Predictor::load_as(folder, device, &options.loading)?;
    Ok(match options.coverage {
        Some(coverage) => predictor.with_coverage(coverage),
        None => predictor,
    })
}

/// Why a model says nothing of its decisions, where it decides by the size of sets that are not asked for.
fn undecided(predictor: &Predictor) -> Option<String> {
    let asked = predictor.usual().bounds.as_ref()?;
    let own = predictor.artifact().calibration.usual();
    let (most, deciding) = own.limits.and_then(|limits| limits.max_set_size).zip(own.deciding)?;
    let (asked, deciding) = (1.0 - asked.alpha, 1.0 - deciding.alpha);
    ((asked - deciding).abs() > 1e-9).then(|| {
        format!(
            "no decisions are reported: `{}` accepts a prediction if its set of coverage {deciding:.3} has at most \
             {most} labels (`calibration.max_set_size`), and the sets here have coverage {asked:.3} (`--coverage`)",
            predictor.artifact().manifest.name
        )
    })
}

/// What the first model decides for all of them.
struct Shared {
    asked: Asked,
    outside: Vec<Outside>,
    /// The classifier that all are compared with.
    rival: Option<Rival>,
}

impl Shared {
    fn open(
        options: &Options,
        predictor: &Predictor,
        folder: &str,
        show: &mut dyn FnMut(Event),
    ) -> Result<Self, ModelsError> {
        let manifest = &predictor.artifact().manifest;
        let outside = open_outside(options, manifest, show)?;
        check_labels(&outside, manifest, show)?;
        let asked = Asked::new(options, manifest, folder, show)?;
        asked.check_names(&outside)?;
        Ok(Self { asked, outside, rival: None })
    }

    fn evaluate(
        &mut self,
        predictor: &Predictor,
        model: String,
        first: bool,
        options: &Options,
        show: &mut dyn FnMut(Event),
    ) -> Result<Evaluation, ModelsError> {
        let Self { asked, outside, rival } = self;
        let manifest = &predictor.artifact().manifest;
        let origin = Origin::of(manifest, Some((&asked.config, &asked.dataset)));
        let seen = origin.as_ref().map_err(OriginError::clone);
        let seen = seen.and_then(|origin| origin.seen(&asked.examples()));
        if let Err(why) = &seen {
            show(Event::Remark(Remark::Warning(why.of_rows())));
        }
        if first && !outside.is_empty() {
            let mut known = asked.keys();
            known.extend(origin.iter().flat_map(Origin::keys));
            for source in outside.iter() {
                warn(source.check_texts(&known)?, show);
            }
        }
        let seen = seen.ok();
        let known = seen.as_deref().unwrap_or_default();
        let answers = asked.ask(predictor, known, outside, show)?;
        let answers = Answers { model, ..answers };
        let hygiene = Hygiene::new(&asked.examples(), seen.as_ref().map(Vec::len), manifest);
        if first && !options.no_baseline {
            *rival = fitted(asked, manifest, &origin, &answers, show)?;
        }
        let baseline = rival.as_ref().map(|rival| rival.beside(&answers)).transpose()?;
        let evaluation = Evaluation::new(answers, Some(hygiene))?;
        let kept = Kept::of(&evaluation.answers, predictor.artifact());
        let shift = match options.shift.is_empty() {
            true => Vec::new(),
            false => {
                asked.ask_shifted(predictor, known, &options.shift, (&evaluation, kept), show)?
            }
        };
        let baseline = baseline.flatten();
        let certificate = predictor.artifact().manifest.verdict(predictor.precision());
        Ok(Evaluation { certificate, baseline, kept: Some(kept), shift, ..evaluation })
    }
}

fn open_outside(
    options: &Options,
    manifest: &Manifest,
    show: &mut dyn FnMut(Event),
) -> Result<Vec<Outside>, ModelsError> {
    let mut outside: Vec<Outside> = Vec::new();
    for name in &options.ood {
        let source = Outside::open(name, options, manifest)?;
        if outside.iter().any(|other| other.name == source.name) {
            return Err(ModelsError::OutsideTwice { name: source.name });
        }
        source.remarks.iter().for_each(|remark| show(Event::Remark(remark.clone())));
        outside.push(source);
    }
    Ok(outside)
}

fn check_labels(
    outside: &[Outside],
    manifest: &Manifest,
    show: &mut dyn FnMut(Event),
) -> Result<(), ModelsError> {
    for source in outside {
        warn(source.check_labels(manifest)?, show);
    }
    Ok(())
}

fn warn(said: Option<String>, show: &mut dyn FnMut(Event)) {
    if let Some(text) = said {
        show(Event::Remark(Remark::Warning(text)));
    }
}

/// The classifier that all models are compared with, or a line that says why there is none.
fn fitted(
    asked: &Asked,
    manifest: &Manifest,
    origin: &Result<Origin<'_>, OriginError>,
    answers: &Answers,
    show: &mut dyn FnMut(Event),
) -> Result<Option<Rival>, EvaluateError> {
    show(Event::Work { what: "baseline", done: 0, total: 1 });
    let rival = rival(asked, manifest, origin, answers)?;
    show(Event::Work { what: "baseline", done: 1, total: 1 });
    if let Err(why) = &rival {
        show(Event::Remark(Remark::Note(format!("skipping the baseline: {why}"))));
    }
    Ok(rival.ok())
}

/// Fits the rows that a model was trained on and answers the rows of `answers`; else says why not.
fn rival(
    asked: &Asked,
    manifest: &Manifest,
    origin: &Result<Origin<'_>, OriginError>,
    answers: &Answers,
) -> Result<Result<Rival, String>, EvaluateError> {
    let origin = match origin {
        Ok(origin) => origin,
        Err(why) => return Ok(Err(why.to_string())),
    };
    if manifest.data.is_none() {
        return Ok(Err("no rows trained the labels that you name".to_owned()));
    }
    if asked.is_of(manifest) && asked.split == "train" {
        return Ok(Err("these are the rows that it would be fitted on".to_owned()));
    }
    match Rival::new(origin.dataset(), &origin.train(), &asked.examples(), answers) {
        Ok(rival) => Ok(Ok(rival)),
        Err(error @ EvaluateError::Label { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}
