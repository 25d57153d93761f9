//! What the card says in sentences: what the model is, what it is for, and its limits.

use super::Card;
use super::numbers::{code, four, percent};
use crate::data::NONE_IS_NEW;
use crate::metrics::wilson;
use crate::numbers::{counted, grouped};
use crate::posterior::OwnDoubt;
use crate::publish::evaluation::WithoutSeen;
use crate::publish::source::shown_name;

/// Class names up to this number are listed.
const FEW: usize = 12;

impl Card<'_> {
    pub(super) fn description(&self) -> String {
        let artifact = &self.source.artifact;
        let encoder = &artifact.encoder;
        let family = encoder.architecture.name;
        let begin = match &artifact.manifest.base_model {
            Some(base) if self.kept_head() => {
                format!(", which is {}, unchanged, under a new last layer", code(base))
            }
            Some(base) => format!(", fine-tuned from {}", code(base)),
            None => String::new(),
        };
        let about = match self.source.known() {
            Some(known) => format!(" ({})", known.description),
            None => String::new(),
        };
        let authors = match self.config.authors.as_slice() {
            [] => String::new(),
            authors => format!("By {}.\n\n", authors.join(", ")),
        };
        let own = match self.config.description.trim() {
            "" => String::new(),
            description => format!("{description}\n\n"),
        };
        let rows = match self.source.recalibrated_by() {
            Some((data, rows)) => {
                format!("It was calibrated anew by {} of {}.", counted(rows, "row"), code(&data))
            }
            None if self.crossed() && self.origin_unknown() => {
                "Calibration used cross-fitting: a last layer that had not seen the row scored it; whether the \
                 encoder had seen it is unknown."
                    .to_owned()
            }
            None if self.crossed() => {
                "Calibration used cross-fitting: a last layer that had not seen the row scored it."
                    .to_owned()
            }
            None if self.origin_unknown() => {
                "Whether the model was trained on rows that calibrate it is unknown.".to_owned()
            }
            None => "Calibration used rows that the model was not trained on.".to_owned(),
        };
        let made = match artifact.manifest.fitted {
            // A folder of an earlier version does not say what was fitted.
            None if self.fitted_afterwards() => "whose posterior and calibration were fitted on",
            _ => artifact.manifest.made_on(),
        };
        let before = artifact.manifest.made_from(shown_name);
        let before = before.map_or(String::new(), |before| format!(" {before}"));
        let end = if self.source.checkpoint {
            String::new()
        } else {
            let own = match artifact.posterior.own_doubt() {
                OwnDoubt::Known => {
                    " and says how much of the uncertainty comes from the model itself"
                }
                OwnDoubt::LeftOut | OwnDoubt::Absent => "",
            };
            format!(" In addition to a label, it returns calibrated probabilities{own}. {rows}")
        };
        let (encoders, each) = match artifact.networks() {
            Some(count) => (format!("an ensemble of {count} {family} encoders"), " each"),
            None => (format!("a {family} encoder"), ""),
        };
        let weights = match &artifact.manifest.weights {
            Some(origin) => format!(" Its weights began as {origin}; they are safetensors here."),
            None => String::new(),
        };
        format!(
            "{own}{authors}A text classifier with {}, {made} {}{about} with `bayes` {}: {encoders} \
             of {}, {} wide{begin}, with {} parameters{each}. It reads up to {} \
             tokens.{before}{weights}{end}\n",
            self.classes(),
            code(&self.source.dataset_name()),
            artifact.manifest.bayes,
            counted(encoder.num_hidden_layers, "layer"),
            encoder.hidden_size,
            grouped(self.parameters()),
            grouped(artifact.manifest.preprocessing.max_length),
        )
    }

    fn classes(&self) -> String {
        let labels = &self.source.artifact.manifest.labels;
        if labels.len() > FEW {
            return format!("{} classes", labels.len());
        }
        let labels: Vec<String> = labels.iter().map(|label| code(label)).collect();
        format!("the classes {}", labels.join(", "))
    }

    fn parameters(&self) -> usize {
        self.source.artifact.parameters.count()
    }

    /// What it is for, and what not.
    pub(super) fn intended_uses(&self) -> String {
        let own = match self.config.intended_uses.trim() {
            "" => format!(
                "Texts like those of {}, sorted into these classes, where someone acts on the \
                 probabilities: accepts the prediction, passes it to a person, or asks again.",
                code(&self.source.dataset_name())
            ),
            own => own.to_owned(),
        };
        format!(
            "{own}\n\nDo not use it for kinds of text or languages that it was not tested on, or \
             for decisions about people without human review. A text that belongs to none of the \
             classes still gets a label; check its novelty p-value and prediction set.\n"
        )
    }

    /// Limits and biases, as far as the data show them.
    pub(super) fn limitations(&self) -> String {
        let mut points = Vec::new();
        points
            .extend(Some(self.config.limitations.trim().to_owned()).filter(|own| !own.is_empty()));
        points.push(match self.languages().as_slice() {
            [] => "The languages of the texts are not stated and were not checked.".to_owned(),
            all => format!("Language of the texts: {}. Others were not tested.", all.join(", ")),
        });
        points.extend(self.absent());
        points.extend(self.balance());
        points.extend(self.lengths());
        points.extend(self.repeats());
        points.extend(self.lineage());
        if let Some(evaluation) = &self.source.evaluation {
            let rows = evaluation.summary.rows;
            // Where every answer is right, a bootstrap interval has no width, and this one has.
            let hits = (evaluation.summary.accuracy.value * rows as f64).round() as u64;
            let (low, high) = wilson(hits, rows as u64);
            points.push(format!(
                "Tested on {}, which put the accuracy between {:.1} % and {:.1} % (95 % Wilson \
                 interval), for texts from the same source only. Probabilities, prediction sets \
                 and p-values are reliable only for similar texts; re-evaluate on your own data.",
                counted(rows, "row"),
                100.0 * low,
                100.0 * high
            ));
        } else {
            points.push(
                "There is no report on test rows, so nothing is known about its quality."
                    .to_owned(),
            );
        }
        points.push(
            "This evaluation did not measure whether some groups of people, topics or styles have \
             more errors than others. The model inherits biases from the texts, the annotators and \
             the encoder."
                .to_owned(),
        );
        points.into_iter().map(|point| format!("- {point}\n")).collect()
    }

    /// Classes that the last layer has seen no rows of.
    fn absent(&self) -> Option<String> {
        let all = &self.source.artifact.manifest.absent;
        let names: Vec<String> = all.iter().take(FEW).map(|label| code(label)).collect();
        let more = match all.len().saturating_sub(FEW) {
            0 => String::new(),
            more => format!(" and {more} others"),
        };
        (!all.is_empty()).then(|| {
            format!(
                "The last layer was fitted without a training row of {}{more}, so the model will rarely predict {}.",
                names.join(", "),
                if all.len() == 1 { "it" } else { "them" }
            )
        })
    }

    /// How many rows each class had.
    fn balance(&self) -> Option<String> {
        let train = self.source.evaluation.as_ref()?.parts.get("train")?;
        let labels = &self.source.artifact.manifest.labels;
        let (least, most) = (train.by_class.iter().min()?, train.by_class.iter().max()?);
        let skew = if *most > least.saturating_mul(2) {
            " Rare classes are predicted less well, and their probabilities are less certain."
        } else {
            ""
        };
        if labels.len() > FEW {
            let rows = if least == most {
                format!("{} training rows each", grouped(*most))
            } else {
                format!("from {} to {} training rows", grouped(*least), grouped(*most))
            };
            return Some(format!("Class balance: {} classes with {rows}.{skew}", labels.len()));
        }
        let counts: Vec<String> = labels
            .iter()
            .zip(&train.by_class)
            .map(|(label, rows)| {
                format!("{} {} ({})", code(label), grouped(*rows), percent(*rows, train.rows))
            })
            .collect();
        Some(format!(
            "Class balance of {}: {}. The probabilities assume these proportions.{skew}",
            if self.streamed() { "a sample of the training rows" } else { "the training rows" },
            counts.join(", ")
        ))
    }

    /// Whether the figures of the training rows are those of a sample.
    fn streamed(&self) -> bool {
        self.source.artifact.manifest.data.as_ref().is_some_and(|data| data.streaming)
    }

    /// How long the texts were, and what was cut.
    fn lengths(&self) -> Option<String> {
        let evaluation = self.source.evaluation.as_ref()?;
        let train = evaluation.parts.get("train")?;
        let lengths = train.tokens?;
        let most = self.source.artifact.manifest.preprocessing.max_length;
        let kept = match self.source.artifact.manifest.preprocessing.truncation.name() {
            "head" => "their beginning is kept",
            "tail" => "their end is kept",
            _ => "a quarter is kept from their beginning and three quarters from their end",
        };
        let cut = if lengths.truncated == 0 {
            format!("None was longer than the model's limit of {}.", counted(most, "token"))
        } else {
            format!(
                "{} ({}) were longer than the model's limit of {} and were truncated: {kept}.",
                counted(lengths.truncated, "text"),
                percent(lengths.truncated, train.rows),
                counted(most, "token")
            )
        };
        let tested = match evaluation.truncated {
            Some(cut) if cut > 0 => format!(" So were {} of the test split.", counted(cut, "text")),
            _ => String::new(),
        };
        Some(format!(
            "Length of the training texts in tokens: half have at most {}, 95 % at most {}, the \
             longest {}. {cut}{tested}",
            grouped(lengths.median),
            grouped(lengths.p95),
            grouped(lengths.longest)
        ))
    }

    /// The models that this one began with, where their rows are not known, and rows that calibrated it anew, where it
    /// is not known whether it had seen them.
    fn lineage(&self) -> Option<String> {
        let manifest = &self.source.artifact.manifest;
        if let Some((data, _)) = self.source.recalibrated_by()
            && self.origin_unknown()
        {
            return Some(format!(
                "It was calibrated anew by rows of {}, and it is unknown which of them it was trained on. If it was \
                 trained on any, its probabilities are too sure, and prediction sets, p-values and limits do not keep \
                 their promises.",
                code(&data)
            ));
        }
        (!manifest.lineage_known).then(|| {
            "It was made from a model whose own training data were not available. If that model was trained on any of \
             the rows that calibrate or test this one, the figures here are too good."
                .to_owned()
        })
    }

    /// Texts that occur more than once.
    fn repeats(&self) -> Option<String> {
        let evaluation = self.source.evaluation.as_ref()?;
        let seen = self.source.artifact.manifest.seen_in_test;
        let parts = (evaluation.parts.get("train"), evaluation.parts.get("test"));
        let (Some(train), Some(test)) = parts else {
            // A fit counts the rows that were seen, and no others.
            let rows = evaluation.summary.rows;
            let worth = if seen == rows { NONE_IS_NEW } else { "The figures include them" };
            return (seen > 0).then(|| {
                format!(
                    "Repeated texts: {} of {} test rows also occur in a split used to train or \
                     calibrate the model. {worth}.",
                    grouped(seen),
                    grouped(rows)
                )
            });
        };
        let without = match &evaluation.without_seen {
            Some(WithoutSeen { accuracy: Some(accuracy), .. }) => {
                format!(" Without those, the accuracy is {}.", four(*accuracy))
            }
            Some(_) => format!(" {NONE_IS_NEW}."),
            None => String::new(),
        };
        Some(format!(
            "Repeated texts: {} of {} training rows and {} of {} test rows repeat the text of \
             another row; {} also occur in a split used to train or calibrate the model.{without}",
            grouped(train.repeated),
            grouped(train.rows),
            grouped(test.repeated),
            grouped(test.rows),
            counted(seen, "test row"),
        ))
    }
}
