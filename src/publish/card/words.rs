//! What the card says in sentences: the terms, what the model is, what it is for, and its limits.

use super::Card;
use super::numbers::{code, four, percent};
use crate::data::Terms;
use crate::metrics::wilson;
use crate::numbers::{counted, grouped};
use crate::posterior::OwnDoubt;

/// Class names up to this number are listed.
const FEW: usize = 12;

impl Card<'_> {
    /// What a reader has to know before anything else: terms, and whether the texts are real.
    pub(super) fn notice(&self) -> String {
        let data = code(&self.source.dataset_name());
        let stated = match self.source.known() {
            Some(known) => format!(" (as far as known: {})", known.terms),
            None => String::new(),
        };
        let own = match self.config.license.as_str() {
            "" => String::new(),
            license => format!(
                " Their own part, the weights, the authors of the model offer under {}.",
                code(license)
            ),
        };
        let mut lines = Vec::new();
        if self.source.checkpoint {
            lines.push(
                "**A checkpoint of a training that was not over.** It has no posterior, and nothing was \
                 calibrated or tested."
                    .to_owned(),
            );
        }
        match self.source.terms(&self.config.data_license) {
            Terms::Unknown => lines.push(format!(
                "**The terms of the data are unknown.** This model was trained on {data}{stated}, \
                 and whether it may be used, and for what, depends on the terms of these data.{own}"
            )),
            Terms::NonCommercial => lines.push(format!(
                "**The data are not for commercial use.** This model was trained on \
                 {data}{stated}; take it that the same holds for the model.{own}"
            )),
            Terms::Open if self.config.license.is_empty() => lines.push(
                "**No licence was chosen.** Ask the authors before you use these weights for more \
                 than looking at them."
                    .to_owned(),
            ),
            Terms::Open => {}
        }
        if !self.config.data_license.is_empty() && self.source.known().is_none() {
            lines.push(format!(
                "Terms of the data {data}, as the authors of the model state them: {}.",
                self.config.data_license.trim_end_matches('.')
            ));
        }
        if self.source.evaluation.as_ref().is_some_and(|one| one.generated) {
            lines.push(
                "**Trained on generated texts.** Its figures say how well `bayes` works, and \
                 nothing about real texts."
                    .to_owned(),
            );
        }
        let quoted: Vec<String> = lines.iter().map(|line| format!("> {line}\n")).collect();
        quoted.join(">\n")
    }

    /// What it is.
    pub(super) fn description(&self) -> String {
        let artifact = &self.source.artifact;
        let encoder = &artifact.encoder;
        let family = encoder.architecture.name;
        let begin = match &artifact.manifest.base_model {
            Some(base) if self.kept_head() => {
                format!(", which is {} as it was under a new last layer", code(base))
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
        let rows = if self.crossed() {
            "by rows each of which was judged by a last layer that had not seen it"
        } else {
            "on rows it was not trained on"
        };
        let made = if self.fitted_afterwards() {
            "whose posterior and calibration were fitted"
        } else {
            "trained"
        };
        let end = if self.source.checkpoint {
            String::new()
        } else {
            let own = match artifact.uncertainty.own_doubt() {
                OwnDoubt::Known => ", and says how much of its doubt is its own",
                OwnDoubt::LeftOut | OwnDoubt::Absent => "",
            };
            format!(" Besides a label it gives probabilities that were calibrated {rows}{own}.")
        };
        format!(
            "{own}{authors}A text classifier with {}, {made} on {}{about} with `bayes` {}: a {family} \
             encoder of {}, {} wide{begin}, with {} parameters. It reads up to {} tokens.{end}\n",
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
                "Texts like those of {}, sorted into these classes, where somebody acts on the \
                 probabilities: takes the answer, leaves it to a person, or asks again.",
                code(&self.source.dataset_name())
            ),
            own => own.to_owned(),
        };
        format!(
            "{own}\n\nNot for other kinds of text or other languages than it was tested on, and not for \
             decisions about people that no person looks at. A text that belongs to none of the \
             classes gets one all the same: look at the p-value of its novelty, and at the \
             prediction set.\n"
        )
    }

    /// Limits and biases, as far as the data show them.
    pub(super) fn limitations(&self) -> String {
        let mut points = Vec::new();
        points
            .extend(Some(self.config.limitations.trim().to_owned()).filter(|own| !own.is_empty()));
        points.push(match self.languages().as_slice() {
            [] => "The languages of the texts are not stated and were not looked at.".to_owned(),
            all => format!("Language of the texts: {}. Others were not tested.", all.join(", ")),
        });
        points.extend(self.balance());
        points.extend(self.lengths());
        points.extend(self.repeats());
        if let Some(evaluation) = &self.source.evaluation {
            let rows = evaluation.summary.rows;
            // Where every answer is right, a bootstrap interval has no width, and this one has.
            let hits = (evaluation.summary.accuracy.value * rows as f64).round() as u64;
            let (low, high) = wilson(hits, rows as u64);
            points.push(format!(
                "Tested on {}: they say that the accuracy lies between {:.1} % and {:.1} % (95 % Wilson \
                 interval), for texts of the same source only. Probabilities, prediction sets and \
                 p-values keep their promise only while texts are like those; measure again on your \
                 own.",
                counted(rows, "row"),
                100.0 * low,
                100.0 * high
            ));
        } else {
            points.push(
                "There is no report on test rows: nothing is known of its quality.".to_owned(),
            );
        }
        points.push(
            "Whether errors fall on some groups of people, topics or styles more than on others was \
             not measured. Biases of the texts, of whoever gave the labels, and of the encoder are \
             in the model."
                .to_owned(),
        );
        points.into_iter().map(|point| format!("- {point}\n")).collect()
    }

    /// How many rows each class had.
    fn balance(&self) -> Option<String> {
        let train = self.source.evaluation.as_ref()?.parts.get("train")?;
        let labels = &self.source.artifact.manifest.labels;
        let (least, most) = (train.by_class.iter().min()?, train.by_class.iter().max()?);
        let skew = if *most > least.saturating_mul(2) {
            " Rare classes are predicted less well, and their probabilities are known less well."
        } else {
            ""
        };
        if labels.len() > FEW {
            let rows = if least == most {
                format!("{} training rows each", grouped(*most))
            } else {
                format!("from {} to {} training rows", grouped(*least), grouped(*most))
            };
            return Some(format!("Balance: {} classes with {rows}.{skew}", labels.len()));
        }
        let counts: Vec<String> = labels
            .iter()
            .zip(&train.by_class)
            .map(|(label, rows)| {
                format!("{} {} ({})", code(label), grouped(*rows), percent(*rows, train.rows))
            })
            .collect();
        Some(format!(
            "Balance of {}: {}. The probabilities take such shares for granted.{skew}",
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
            format!("None was longer than the {} that it reads.", counted(most, "token"))
        } else {
            format!(
                "{} ({}) were longer than the {} that it reads and were cut: {kept}.",
                counted(lengths.truncated, "text"),
                percent(lengths.truncated, train.rows),
                counted(most, "token")
            )
        };
        let tested = match evaluation.truncated {
            Some(cut) if cut > 0 => format!(" So were {} of the test.", counted(cut, "text")),
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

    /// Texts that occur more than once.
    fn repeats(&self) -> Option<String> {
        let evaluation = self.source.evaluation.as_ref()?;
        let (train, test) = (evaluation.parts.get("train")?, evaluation.parts.get("test")?);
        let seen = self.source.artifact.manifest.seen_in_test;
        let without = match &evaluation.without_seen {
            Some(without) => {
                format!(" Without those the accuracy is {}.", four(without.accuracy))
            }
            None => String::new(),
        };
        Some(format!(
            "Repeated texts: {} of {} training rows and {} of {} test rows repeat the text of another \
             row; {} also occur in a part that the model was made with.{without}",
            grouped(train.repeated),
            grouped(train.rows),
            grouped(test.repeated),
            grouped(test.rows),
            counted(seen, "test row"),
        ))
    }
}
