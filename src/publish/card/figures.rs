//! The figures of the card. All are read from the evaluation file.

use super::Card;
use super::numbers::{between, code, four, line, share};
use crate::metrics::{HEADLINE, Metric};
use crate::numbers::{counted, grouped};
use crate::posterior::OwnDoubt;

/// Where the reliability diagram lies in the repository.
pub const RELIABILITY: &str = "bayes/reliability.png";

impl Card<'_> {
    /// The metrics with their intervals and noise floors.
    pub(super) fn results(&self) -> String {
        let Some(evaluation) = &self.source.evaluation else {
            return "It was not evaluated.\n".to_owned();
        };
        let summary = &evaluation.summary;
        let is_scaled = self.source.artifact.posterior.is_scaled();
        let plain = evaluation.without_temperature.filter(|_| is_scaled);
        let before = |value: Option<f64>| {
            value.map_or(String::new(), |value| {
                format!("{} without temperature scaling", four(value))
            })
        };
        let note = |metric: &Metric| match metric.key {
            "accuracy" => evaluation.truth.map_or(String::new(), |truth| {
                format!("best possible {}", four(truth.best_accuracy))
            }),
            "nll" => before(plain.map(|one| one.nll)),
            "ece" => {
                let (floor, spread) = (summary.ece.floor, summary.ece.floor_sd);
                let floor = format!("noise floor {} ± {}", four(floor), four(spread));
                match before(plain.map(|one| one.ece)) {
                    before if before.is_empty() => floor,
                    before => format!("{floor}; {before}"),
                }
            }
            _ => String::new(),
        };
        let at = self.source.artifact.manifest.tested_at();
        let at = at.map_or(String::new(), |own| format!(", measured in {own}"));
        let mut text = format!(
            "{} of {}, split {}{at}, with 95 % bootstrap intervals over the rows.\n\n",
            counted(summary.rows, "row"),
            code(&self.source.dataset_name()),
            code(&evaluation.split),
        );
        text.push_str("| metric | value | 95 % interval | |\n|---|---:|---:|---|\n");
        for metric in HEADLINE.iter().filter(|metric| metric.brief) {
            let Some(interval) = metric.read(summary) else { continue };
            let (value, interval) = (four(interval.value), between(&interval));
            text.push_str(&line([&metric.name(), &value, &interval, &note(metric)]));
        }
        text.push_str(
            "\nThe noise floor is the ECE that perfectly calibrated probabilities would show with \
             this many rows. An ECE near its floor is not evidence of miscalibration, and its \
             bootstrap interval is biased upward.\n",
        );
        text.push_str(&self.more_results());
        text
    }

    fn more_results(&self) -> String {
        let mut text = String::new();
        let Some(evaluation) = &self.source.evaluation else { return text };
        if let Some(sets) = &evaluation.sets {
            text.push_str(&format!(
                "\nPrediction sets with {} target coverage contained the correct label in {} of \
                 cases ({} – {}), with {:.2} labels on average.\n",
                share(1.0 - sets.alpha),
                share(sets.coverage.value),
                share(sets.coverage.low),
                share(sets.coverage.high),
                sets.mean_size
            ));
        }
        for (name, ood) in &evaluation.ood {
            text.push_str(&format!(
                "\nOut-of-distribution detection on {} ({}) by {}: AUROC {} ({}).\n",
                counted(ood.rows, "text"),
                code(name),
                ood.score.replace('_', " "),
                four(ood.auroc.value),
                between(&ood.auroc)
            ));
        }
        if let Some(truth) = &evaluation.truth {
            text.push_str(&format!(
                "\nThe true probabilities are known: the confidence is off by {} on average.\n",
                four(truth.mean_error)
            ));
        }
        text
    }

    /// Means of the uncertainty and its two parts.
    pub(super) fn uncertainty(&self) -> String {
        let Some(evaluation) = &self.source.evaluation else {
            return "It was not measured.\n".to_owned();
        };
        let mean = &evaluation.summary.mean_uncertainty;
        let mut text = format!(
            "The average entropy of a prediction is {} nats ({}).\n",
            four(mean.value),
            between(mean)
        );
        if evaluation.uncertainty.is_empty() {
            return text;
        }
        let own_doubt = self.source.artifact.posterior.own_doubt();
        text.push_str(&match own_doubt.reason() {
            Some(reason) => format!(
                "This model does not split it into epistemic (from the model) and aleatoric (from \
                 the text) uncertainty, because {reason}.\n\n| predictions | rows | total |\n\
                 |---|---:|---:|\n"
            ),
            None => "Its aleatoric part would remain with any amount of data; its epistemic part \
                     comes from not knowing the weights.\n\n| predictions | rows | total | \
                     aleatoric | epistemic |\n|---|---:|---:|---:|---:|\n"
                .to_owned(),
        });
        for name in ["all", "right", "wrong"] {
            let Some(one) = evaluation.uncertainty.get(name) else { continue };
            let part = |part: Option<f64>| part.map_or("–".to_owned(), four);
            let (rows, total) = (grouped(one.rows), four(one.total));
            let name = &name.replace("right", "correct");
            text.push_str(&match own_doubt {
                OwnDoubt::Known => {
                    line([name, &rows, &total, &part(one.aleatoric), &part(one.epistemic)])
                }
                OwnDoubt::LeftOut | OwnDoubt::Absent => line([name, &rows, &total]),
            });
        }
        text
    }

    /// The diagram, which lies beside the weights.
    pub(super) fn reliability(&self) -> String {
        if self.source.evaluation.is_none() {
            return "It was not measured.\n".to_owned();
        }
        format!(
            "![Reliability diagram: accuracy as a function of confidence]({RELIABILITY})\n\nBars: \
             accuracy of the predictions in each confidence bin, with 95 % Wilson intervals. On \
             the diagonal, confidence equals accuracy.\n"
        )
    }
}
