//! Whether a model at another precision keeps its promises: temperature, sets, novelty and limits are fitted anew at
//! that precision, and the held-out rows are answered at both.

use super::calibration::{Calibrated, FitSettings, HeldOut, SeenRows, keys};
use super::cuts::{CutRows, cut};
use super::features::Reads;
use super::{ExperimentError, Features, Progress};
use crate::artifact::{Artifact, Certificate, Change, CoverageChange, FittedAt};
use crate::calibrate::conformal::{self, Conformal};
use crate::calibrate::novelty::Evidence;
use crate::calibrate::{Calibration, Judgement, folds};
use crate::compute::{Noise, Precision, Purpose};
use crate::data::{TokenSet, encode_clean, reviews};
use crate::evaluate::EvaluateError;
use crate::metrics::{
    self, FLOOR_RESAMPLES, HEADLINE, RESAMPLES, Scored, auroc, auroc_difference, mean_difference,
};
use crate::model::Networks;
use crate::predict::Pairs;

/// Generated texts on other topics.
const OUTSIDE: u32 = 300;
/// What 99 % of a normal distribution lie above, in deviations below its mean.
const NINETY_NINE: f64 = 2.326_347_874_040_841;

/// The rows of a model whose calibration has rows of its own.
pub(super) struct ApartRows<'a> {
    pub(super) train: &'a TokenSet,
    pub(super) temperature: &'a TokenSet,
    pub(super) conformal: &'a TokenSet,
    /// Rows that chose among weights.
    pub(super) validation: usize,
}

impl ApartRows<'_> {
    fn held_out(
        &self,
        networks: &Networks,
        reads: Reads,
        cuts: bool,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<HeldOut, ExperimentError> {
        let mut encode =
            |rows: &TokenSet, reads| Features::encode(networks, rows, reads, "certifying", show);
        let (temperature, conformal) =
            (encode(self.temperature, reads)?, encode(self.conformal, reads)?);
        let mut copies = CutRows::default();
        if cuts {
            let (set, rows) =
                cut(self.temperature, &(0..self.temperature.len()).collect::<Vec<_>>());
            copies = CutRows { features: encode(&set, Reads::default())?, rows };
        }
        let others = self.train.len() + self.validation;
        Ok(HeldOut::new(temperature, conformal, copies, others))
    }

    /// The rows as the model, which is calibrated, sees them.
    pub(super) fn seen(
        &self,
        model: &Artifact,
        settings: &FitSettings<'_>,
        noise: &Noise,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<SeenRows, ExperimentError> {
        let networks = model.networks_at(model.manifest.precision)?;
        let held_out = self.held_out(&networks, Reads::of(&model.posterior), false, show)?;
        settings.seen(&model.posterior, &held_out, noise)
    }

    /// The model with all that is fitted to the posterior at a precision.
    pub(super) fn calibrated(
        &self,
        model: &Artifact,
        precision: Precision,
        settings: &FitSettings<'_>,
        noise: &Noise,
        show: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Calibrated, ExperimentError> {
        let model = model.clone().at(precision)?;
        let networks = model.networks_at(precision)?;
        let reads = Reads::of(&model.posterior);
        let mut train = Features::default();
        if settings.calibration.novelty.is_distance() {
            train = Features::encode(&networks, self.train, reads.once(), "certifying", show)?;
        }
        let held_out = self.held_out(&networks, reads, settings.calibration.cuts(), show)?;
        let fitted = (model.posterior.clone(), model.manifest.fit.clone());
        settings.fit(model, &train, &held_out, fitted, noise, &mut |_| {})
    }
}

/// One side of the comparison.
struct Side<'a> {
    model: &'a Artifact,
    seen: &'a SeenRows,
    /// The novelty of the rows, and of texts on other topics; nothing where either has none.
    novelty: Option<[Vec<f64>; 2]>,
}

impl<'a> Side<'a> {
    fn new(
        (model, precision, seen): (&'a Artifact, Precision, &'a SeenRows),
        outside: &TokenSet,
    ) -> Result<Self, ExperimentError> {
        let mut novelty = None;
        if model.calibration.novelty.is_some() && !outside.is_empty() {
            let networks = model.networks_at(precision)?;
            let reads = Reads::of(&model.posterior);
            let features = Features::encode(&networks, outside, reads, "certifying", &mut |_| {})?;
            let logits = model.posterior.logits(features.read())?;
            let predictive = logits.iter().map(|one| model.posterior.predictive(one)).collect();
            let outside = SeenRows { features, logits, predictive };
            novelty = scores(model, seen).zip(scores(model, &outside)).map(|(a, b)| [a, b]);
        }
        Ok(Self { model, seen, novelty })
    }

    fn probabilities(&self) -> Vec<f64> {
        self.seen.predictive.iter().flat_map(|one| one.probability_c.iter().copied()).collect()
    }

    /// Whether each row is accepted; nothing for a model that decides nothing.
    fn accepted(&self) -> Option<Vec<bool>> {
        let judged = judge(self.model, self.seen);
        judged.into_iter().map(|one| one.reasons.map(|all| all.is_empty())).collect()
    }
}

/// 1 for each row whose set holds its label, at thresholds from the other folds.
pub(super) fn covered(model: &Artifact, rows: &SeenRows, noise: &Noise) -> Option<Vec<f64>> {
    let (conformal, alpha) = model.calibration.own_sets()?;
    let SeenRows { features, predictive, .. } = rows;
    let classes = predictive.first()?.probability_c.len();
    let mut covered = vec![f64::NAN; predictive.len()];
    for fold in folds(&keys(features), noise)? {
        let of = |row: &usize| predictive[*row].probability_c.iter().copied();
        let rows = conformal::HeldOut {
            probability_nc: &fold.train.iter().flat_map(of).collect::<Vec<_>>(),
            labels: &fold.train.iter().map(|&row| features.labels[row]).collect::<Vec<_>>(),
            uniforms: &fold.train.iter().map(|&row| features.uniforms[row]).collect::<Vec<_>>(),
            classes,
        };
        let fitted = Conformal::fit(conformal.method(), &rows, alpha, noise);
        let bounds = fitted.bounds(alpha);
        for row in fold.judged {
            let p = &predictive[row].probability_c;
            let set = fitted.set(&bounds, p, features.uniforms[row]);
            let holds = set.contains(&(features.labels[row] as usize));
            covered[row] = f64::from(u8::from(holds));
        }
    }
    covered.retain(|one| !one.is_nan());
    (!covered.is_empty()).then_some(covered)
}

/// What a model says of each row besides the probabilities.
pub(super) fn judge(model: &Artifact, rows: &SeenRows) -> Vec<Judgement> {
    let usual = model.calibration.usual();
    let uniforms = rows.features.uniforms.iter();
    let judged = each(rows).into_iter().zip(uniforms);
    judged
        .map(|(one, &uniform)| model.calibration.judge(&one.evidence(model), uniform, &usual))
        .collect()
}

/// The novelty of each row, where the model has a score for all of them.
fn scores(model: &Artifact, rows: &SeenRows) -> Option<Vec<f64>> {
    let novelty = model.calibration.novelty.as_ref()?;
    each(rows).iter().map(|one| novelty.score.of(&one.evidence(model))).collect()
}

/// What is known of a row.
struct Row<'a> {
    rows: &'a SeenRows,
    row: usize,
    logit_c: Vec<f64>,
}

fn each(rows: &SeenRows) -> Vec<Row<'_>> {
    let logits = rows.logits.iter().map(|one| one.mean().into_owned()).enumerate();
    logits.map(|(row, logit_c)| Row { rows, row, logit_c }).collect()
}

impl Row<'_> {
    fn evidence(&self, model: &Artifact) -> Evidence<'_> {
        let Features { novelty_ne, tokens, .. } = &self.rows.features;
        let width = novelty_ne.len() / tokens.len().max(1);
        Evidence {
            task: model.manifest.task,
            novelty_e: &novelty_ne[self.row * width..(self.row + 1) * width],
            tokens: tokens[self.row],
            logit_c: &self.logit_c,
            temperature: model.posterior.scaling.temperature,
            predictive: &self.rows.predictive[self.row],
        }
    }
}

/// Generated texts on other topics, as a model reads them; none for a model of pairs.
fn outside(model: &Artifact) -> Result<TokenSet, ExperimentError> {
    let noise = Noise::new(reviews::SEED);
    let pairs = Pairs::of(model) == Pairs::Always;
    let texts: Vec<String> = (0..OUTSIDE).map(|row| reviews::out_of_domain(&noise, row)).collect();
    let texts: Vec<(&str, Option<&str>)> =
        texts.iter().filter(|_| !pairs).map(|text| (text.as_str(), None)).collect();
    let how = &model.manifest.preprocessing;
    let encoded = encode_clean(&model.tokenizer, &texts, how.max_length, how.truncation);
    let encoded = encoded.map_err(crate::data::DataError::from)?;
    let labels = vec![0; encoded.len()];
    Ok(TokenSet::in_memory((0..).zip(encoded).collect(), labels))
}

/// The model with a certificate for a precision. `seen` is what it makes of the held-out rows, and `own` the same model
/// fitted at the precision, with the same rows.
pub(super) fn certify(
    mut model: Artifact,
    seen: &SeenRows,
    (precision, own): (Precision, Calibrated),
    show: &mut dyn FnMut(Progress<'_>),
) -> Result<Artifact, ExperimentError> {
    let noise = Noise::new(model.manifest.seed);
    let texts = outside(&model)?;
    let before = Side::new((&model, model.manifest.precision, seen), &texts)?;
    let after = Side::new((&own.artifact, precision, &own.seen), &texts)?;
    let certificate = compare(&before, &after, &noise)?;
    show(Progress::Note(format!("{precision}: {}", certificate.words())));
    let Artifact { posterior, calibration, drift, .. } = own.artifact;
    model.fitted_at.insert(precision, FittedAt { posterior, calibration, drift });
    model.manifest.certificates.insert(precision, certificate);
    Ok(model)
}

fn compare(
    before: &Side<'_>,
    after: &Side<'_>,
    noise: &Noise,
) -> Result<Certificate, ExperimentError> {
    let labels = &before.seen.features.labels;
    let classes = before.model.manifest.labels.len();
    let [one_nc, other_nc] = [before, after].map(Side::probabilities);
    let one = Scored::new(&one_nc, classes, labels).map_err(EvaluateError::from)?;
    let other = Scored::new(&other_nc, classes, labels).map_err(EvaluateError::from)?;
    let mut stream = noise.stream(Purpose::Bootstrap, 0, 0);
    let uniform = &mut || stream.uniform();
    let summaries = [&one, &other].map(|all| metrics::summarise(all, 1, FLOOR_RESAMPLES, uniform));
    let found = metrics::differences(&one, &other, RESAMPLES, uniform);
    let difference = |key: &str| {
        let place = HEADLINE.iter().position(|metric| metric.key == key);
        place.and_then(|place| found[place]).unwrap_or(metrics::interval(f64::NAN, Vec::new()))
    };
    let change = |key: &str, of: &dyn Fn(&metrics::Summary) -> f64| Change {
        f32: of(&summaries[0]),
        own: of(&summaries[1]),
        difference: difference(key),
    };
    let accuracy = change("accuracy", &|all| all.accuracy.value);
    let nll = change("nll", &|all| all.nll.value);
    let ece = change("ece", &|all| all.ece.value);
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let coverage = covered(before.model, before.seen, noise)
        .zip(covered(after.model, after.seen, noise))
        .map(|(one, other)| {
            let alpha = before.model.calibration.alphas[0];
            let rows = one.len() as f64;
            // The rows that are judged, and four fifths of them behind each threshold.
            let deviation = (alpha * (1.0 - alpha) * (1.0 / rows + 1.0 / (0.8 * rows))).sqrt();
            CoverageChange {
                change: Change {
                    f32: mean(&one),
                    own: mean(&other),
                    difference: mean_difference(&one, &other, RESAMPLES, uniform),
                },
                target: 1.0 - alpha,
                least: (1.0 - alpha - NINETY_NINE * deviation).max(0.0),
            }
        });
    let novelty_auroc = match (&before.novelty, &after.novelty) {
        (Some(one), Some(other)) => {
            let [one, other] = [one, other].map(|both| [&both[0][..], &both[1][..]]);
            let value = |both: [&[f64]; 2]| auroc(both[0], both[1]).map_err(EvaluateError::from);
            let difference = auroc_difference(one, other, RESAMPLES, uniform);
            let difference = difference.map_err(EvaluateError::from)?;
            Some(Change { f32: value(one)?, own: value(other)?, difference })
        }
        _ => None,
    };
    let label = |side: &Side<'_>| -> Vec<usize> {
        side.seen.predictive.iter().map(|one| metrics::argmax(&one.probability_c)).collect()
    };
    let changed_decisions =
        before.accepted().zip(after.accepted()).map(|(one, other)| changed(&one, &other));
    Ok(Certificate {
        rows: labels.len(),
        accuracy,
        nll,
        ece,
        ece_floor: summaries[1].ece.floor,
        coverage,
        novelty_auroc,
        changed_labels: changed(&label(before), &label(after)),
        changed_decisions,
        lost: lost(&before.model.calibration, &after.model.calibration),
        fit: after.model.manifest.fit.clone(),
    })
}

/// What one calibration has and another has not.
fn lost(before: &Calibration, after: &Calibration) -> Vec<String> {
    let has =
        |one: &Calibration| [one.conformal.is_some(), one.novelty.is_some(), one.limits.is_some()];
    let names = ["prediction sets", "novelty", "limits for accepted answers"];
    let pairs = has(before).into_iter().zip(has(after)).zip(names);
    pairs.filter(|((one, other), _)| *one && !other).map(|(_, name)| name.to_owned()).collect()
}

/// The share of places with another value.
fn changed<T: PartialEq>(one: &[T], other: &[T]) -> f64 {
    let changed = one.iter().zip(other).filter(|(one, other)| one != other).count();
    changed as f64 / one.len().max(1) as f64
}
