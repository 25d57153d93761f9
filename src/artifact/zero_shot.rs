//! A classifier of natural language inference as a classifier of labels that the user names (Yin, Hay and Roth,
//! "Benchmarking zero-shot text classification", 2019): the text is the premise, each label makes a hypothesis,
//! and the logits of entailment are the logits of the labels.

use std::borrow::Cow;
use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Artifact, ArtifactError, Manifest};
use crate::calibrate::Calibration;
use crate::method::{FitRecord, Method};
use crate::model::{EncoderConfig, Entailment, ModelError, Parameters, check_labels};
use crate::posterior::Posterior;

/// Where a label stands in a hypothesis.
const PLACE: &str = "{}";

/// The most characters of a template, and the most labels: each is a pass, and the last layer that reads them has
/// their square.
const LONGEST: usize = 1000;
const MOST: usize = 1000;

/// What the last layer computes for other tools.
const NLI: &str = "entailment classifier";

/// The labels that a user names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZeroShotLabels {
    pub labels: Vec<String>,
    /// [`ZeroShot::TEMPLATE`] where there is none.
    pub template: Option<String>,
}

/// How labels become hypotheses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeroShot {
    /// The hypothesis, with `{}` for the label.
    pub template: String,
}

impl ZeroShot {
    /// The usual template.
    pub const TEMPLATE: &str = "This text is about {}.";

    /// The error says what is wrong with the template.
    fn new(template: &str) -> Result<Self, String> {
        let length = template.chars().count();
        if length > LONGEST {
            return Err(format!("the template has {length} characters; the maximum is {LONGEST}"));
        }
        match template.matches(PLACE).count() {
            1 => Ok(Self { template: template.to_owned() }),
            0 => Err(format!(
                "the template `{template}` has no `{{}}` for the label; write it as in \
                 \"{}\"",
                Self::TEMPLATE
            )),
            count => Err(format!(
                "the template `{template}` has `{{}}` {count} times; the label stands in one place"
            )),
        }
    }

    fn hypotheses(&self, labels: &[String]) -> Vec<String> {
        labels.iter().map(|label| self.template.replace(PLACE, label)).collect()
    }
}

/// The output that says entailment, among the names of a classifier's classes.
fn entailment(labels: &[String]) -> Option<usize> {
    labels.iter().position(|label| label.to_lowercase().starts_with("entail"))
}

/// Refuses a manifest whose labels cannot be asked for.
pub(super) fn check(manifest: &Manifest, encoder: &EncoderConfig) -> Result<(), String> {
    let Some(zero_shot) = &manifest.zero_shot else { return Ok(()) };
    ZeroShot::new(&zero_shot.template)?;
    check_count(&manifest.labels)?;
    match entailment(&encoder.labels) {
        Some(_) => Ok(()),
        None => Err("it has `zero_shot`, but `config.json` has no class `entailment`".to_owned()),
    }
}

fn check_count(labels: &[String]) -> Result<(), String> {
    match labels.len() {
        2..=MOST => Ok(()),
        count => Err(format!(
            "give 2 to {MOST} labels, as in \"billing,refund,outage\"; here are {count}"
        )),
    }
}

/// Two labels whose hypotheses have the same tokens.
fn alike<'a>(labels: &'a [String], ids: &[Vec<u32>]) -> Option<[&'a str; 2]> {
    let mut seen = HashMap::new();
    let mut pairs = labels.iter().zip(ids);
    pairs.find_map(|(label, ids)| seen.insert(ids, label).map(|first| [&**first, &**label]))
}

/// Weight and bias of a last layer that gives what it reads.
fn identity(width: usize) -> candle_core::Result<[Tensor; 2]> {
    let weight = Tensor::eye(width, DType::F32, &Device::Cpu)?;
    Ok([weight, Tensor::zeros(width, DType::F32, &Device::Cpu)?])
}

impl Artifact {
    /// A classifier of these labels, out of one whose classes include entailment. Its posterior and calibration are
    /// those of other classes, and stay behind.
    ///
    /// # Errors
    /// It is no such classifier, or the labels or the template cannot be used.
    pub fn zero_shot(self, asked: &ZeroShotLabels) -> Result<Self, ArtifactError> {
        let refuse = |message: String| Err(ArtifactError::ZeroShot(message));
        let name = &self.manifest.name;
        if self.manifest.zero_shot.is_some() {
            return refuse(format!(
                "`{name}` was fitted to labels of its own ({}); give the classifier of natural language \
                 inference that it was made from",
                self.manifest.labels.join(", ")
            ));
        }
        if entailment(&self.encoder.labels).is_none() {
            return refuse(format!(
                "labels of your own need a classifier of natural language inference, with a class \
                 `entailment`; the classes of `{name}` are {}",
                listed(&self.encoder.labels)
            ));
        }
        if let Some(count) = self.networks() {
            return refuse(format!(
                "`{name}` is an ensemble of {count} networks; give one network"
            ));
        }
        let labels: Vec<String> = asked.labels.iter().map(|one| one.trim().to_owned()).collect();
        if labels.iter().any(String::is_empty) {
            return refuse("a label is empty; look for two commas, or one at the end".to_owned());
        }
        check_count(&labels)
            .and_then(|()| check_labels(&labels))
            .map_err(ArtifactError::ZeroShot)?;
        let template = asked.template.as_deref().unwrap_or(ZeroShot::TEMPLATE);
        let zero_shot = ZeroShot::new(template).map_err(ArtifactError::ZeroShot)?;
        if self.posterior.own_doubt().reason().is_none() || self.manifest.calibration.is_some() {
            tracing::warn!(
                "`{name}`: its posterior and calibration are those of its own classes; with other labels it \
                 answers by the mean of its weights"
            );
        }
        let manifest = Manifest {
            lineage: match &self.manifest.data {
                Some(_) => self.manifest.continued(),
                None => self.manifest.lineage.clone(),
            },
            fit: FitRecord::new(Method::Map),
            calibration: None,
            transformers: NLI.to_owned(),
            labels,
            zero_shot: Some(zero_shot),
            data: None,
            data_labels: None,
            fitted: None,
            absent: Vec::new(),
            parts: Default::default(),
            seen_in_test: 0,
            test: None,
            records: Default::default(),
            certificates: Default::default(),
            recalibrated: None,
            sha256: None,
            ..self.manifest
        };
        let view = last_layer_view(&manifest, &self.encoder, &self.parameters);
        let posterior = Posterior::point(manifest.task, &view.map_err(ModelError::from)?.1);
        let calibration = Calibration::default();
        let fitted_at = Default::default();
        let artifact = Self {
            manifest,
            reference: None,
            drift: None,
            posterior,
            calibration,
            fitted_at,
            ..self
        };
        let artifact = artifact.beside_hypotheses()?;
        let (labels, ids) = (&artifact.manifest.labels, artifact.tokenizer.hypothesis_ids());
        if let Some([one, other]) = alike(labels, ids) {
            return refuse(format!(
                "`{one}` and `{other}` are the same to this model's tokenizer (case, accents, or words that it \
                 does not know); name them otherwise, or choose a model for their language"
            ));
        }
        if let Some(place) = ids.iter().position(Vec::is_empty) {
            return refuse(format!(
                "the model's tokenizer finds nothing in the label `{}`",
                labels[place]
            ));
        }
        Ok(artifact)
    }

    /// With the tokenizer that puts a text beside the hypotheses, where the labels were named by a user.
    pub(super) fn beside_hypotheses(self) -> Result<Self, ArtifactError> {
        let Manifest { labels, zero_shot, preprocessing, .. } = &self.manifest;
        let Some(zero_shot) = zero_shot else { return Ok(self) };
        let (rows, segments) = (self.encoder.segments(), self.tokenizer.pair_segments());
        if let Some((rows, segments)) =
            rows.zip(segments).filter(|(rows, segments)| segments > rows)
        {
            return Err(ArtifactError::ZeroShot(format!(
                "`{}`: labels of your own make pairs of texts, and the tokenizer gives the second one the segment \
                 {}, but the encoder has embeddings for {rows} (`type_vocab_size`); choose another classifier",
                self.manifest.name,
                segments - 1
            )));
        }
        let tokenizer = self.tokenizer.with_hypotheses(&zero_shot.hypotheses(labels))?;
        tokenizer.check_room(preprocessing.max_length)?;
        Ok(Self { tokenizer, ..self })
    }

    /// How the labels of a text are read from its pairs, where the labels were named by a user.
    pub fn entailment(&self) -> Option<Entailment> {
        self.manifest.zero_shot.as_ref()?;
        let class = entailment(&self.encoder.labels)?;
        let longest = self.manifest.preprocessing.max_length;
        Some(Entailment { class, beside: self.tokenizer.beside()?, longest })
    }

    /// The model as those see it who fit and read a last layer: the config has the classes and the width of the
    /// feature φ, and the last layer of the parameters reads that.
    pub fn last_layer_view(
        &self,
    ) -> candle_core::Result<(Cow<'_, EncoderConfig>, Cow<'_, Parameters>)> {
        last_layer_view(&self.manifest, &self.encoder, &self.parameters)
    }
}

/// The same for parts of a model.
pub(super) fn last_layer_view<'a>(
    manifest: &Manifest,
    encoder: &'a EncoderConfig,
    parameters: &'a Parameters,
) -> candle_core::Result<(Cow<'a, EncoderConfig>, Cow<'a, Parameters>)> {
    if manifest.zero_shot.is_none() {
        return Ok((Cow::Borrowed(encoder), Cow::Borrowed(parameters)));
    }
    let labels = manifest.labels.clone();
    let [weight, bias] = identity(labels.len())?;
    let parameters = parameters.with_last_layer(&weight, &bias)?;
    let encoder = EncoderConfig { hidden_size: labels.len(), labels, ..encoder.clone() };
    Ok((Cow::Owned(encoder), Cow::Owned(parameters)))
}

fn listed(labels: &[String]) -> String {
    const SHOWN: usize = 8;
    let more = if labels.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<String> = labels.iter().take(SHOWN).map(|one| format!("`{one}`")).collect();
    shown.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stands_in_one_place_of_the_template() {
        let template = ZeroShot::new("It is {} news.").unwrap();
        assert_eq!(template.hypotheses(&["good".to_owned()]), ["It is good news."]);
        assert!(ZeroShot::new("no place").unwrap_err().contains("no `{}`"));
        assert!(ZeroShot::new("{} or {}").unwrap_err().contains("2 times"));
    }

    #[test]
    fn entailment_is_found_by_its_name() {
        let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let found = |all: &[&str]| entailment(&names(all));
        assert_eq!(found(&["CONTRADICTION", "NEUTRAL", "ENTAILMENT"]), Some(2));
        assert_eq!(found(&["entailment", "not_entailment"]), Some(0));
        assert_eq!(found(&["not_entailment", "entailment"]), Some(1));
        assert_eq!(found(&["LABEL_0", "LABEL_1", "LABEL_2"]), None);
    }
}
