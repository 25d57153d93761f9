//! The encoder that training begins with: one that exists, or a new one with its own vocabulary.

use std::path::{Path, PathBuf};

use super::feature_cache::content_of;
use super::{Experiment, ExperimentError};
use crate::artifact::{SpecialTokens, manifest_of, other_networks};
use crate::compute::{Backend, Noise};
use crate::data::{
    DataError, Dataset, Example, Part, Remark, TextTokenizer, VocabularyError, build_vocabulary,
    clean, some, typical_length,
};
use crate::method::Method;
use crate::model::{
    self, EncoderConfig, MODULES, ModelError, Parameters, Pooling, Sizes, left_out, pooling_of,
    tokenizer_folder, unread_changes,
};
use crate::numbers::counted;
use crate::store;
use crate::train::Recipe;

/// The folder of an encoder. One that does not come has two ways out.
fn obtain(init: &str) -> Result<PathBuf, ExperimentError> {
    model::obtain(init).map_err(|error| match error {
        ModelError::NotFetched { name, source } => ExperimentError::NoEncoder { name, source },
        error => error.into(),
    })
}

/// A tokenizer and the config of the encoder that goes with it. No weights have been read.
#[derive(Clone, Debug)]
pub struct InitialEncoder {
    /// The encoder's config, with the data set's labels.
    pub encoder: EncoderConfig,
    pub tokenizer: TextTokenizer,
    /// The names of its special tokens.
    pub special_tokens: SpecialTokens,
    /// Where its weights are; `None` for a new one.
    pub folder: Option<PathBuf>,
    /// Most tokens of a text: `data.max_length`, or what follows from the texts.
    pub max_length: usize,
    /// Modules of the encoder that are not used, as `modules.json` names them.
    pub left_out: Vec<String>,
    /// What its files ask for and nobody does here: code of its own, what sentence-transformers does to every text
    /// before.
    pub unread: Vec<String>,
    /// Whether the folder holds several networks, of which the first is taken.
    pub ensemble: bool,
}

impl InitialEncoder {
    /// Finds the encoder or plans a new one, and checks that it fits the data's settings.
    pub fn find(
        experiment: &Experiment,
        dataset: &Dataset,
        train: &Part,
    ) -> Result<Self, ExperimentError> {
        let mut start = match &experiment.model.init {
            Some(init) => Self::existing(&obtain(init)?)?,
            None => Self::new_encoder(experiment, dataset, train)?,
        };
        model::check_labels(&dataset.labels).map_err(|message| {
            ExperimentError::Encoder(format!("the classes of the data: {message}"))
        })?;
        start.encoder.task = dataset.task;
        start.encoder.labels.clone_from(&dataset.labels);
        start.encoder.pooling = match (experiment.model.pooling.fixed(), &start.folder) {
            (Some(pooling), _) => pooling,
            (None, Some(folder)) => pooling_of(folder)?.unwrap_or(match experiment.train.recipe {
                Recipe::Full => Pooling::Auto,
                // The pooler is new, or of another task: frozen, it says little.
                Recipe::Head | Recipe::Auto => Pooling::Normalised,
            }),
            (None, None) => Pooling::Auto,
        };
        if start.max_length == 0 {
            start.max_length = experiment.data.max_length;
        }
        if start.max_length == 0 {
            let rows: Vec<&Example> = train.examples(dataset).collect();
            let typical = typical_length(&start.tokenizer, &rows).map_err(DataError::from)?;
            start.max_length = typical.min(start.encoder.longest_sequence());
        }
        let of_pairs = train.examples(dataset).any(|example| example.pair.is_some());
        start.check(experiment, of_pairs)?;
        Ok(start)
    }

    /// SHA-256 over the files of the encoder and how it is read; `None` for a new one.
    pub(super) fn content(&self) -> Result<Option<String>, ExperimentError> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let content = format!("{}{:?}\n", content_of(folder)?, self.encoder.pooling);
        Ok(Some(store::sha256(content.as_bytes())))
    }

    fn existing(folder: &Path) -> Result<Self, ExperimentError> {
        let encoder = EncoderConfig::read(folder)?;
        let place = tokenizer_folder(folder)?;
        let tokenizer = TextTokenizer::of_folder(&place).map_err(DataError::from)?;
        let special_tokens = SpecialTokens::of(Some(&place), encoder.architecture, &tokenizer);
        // In a folder of ours they are the classifier.
        let (left_out, unread) = match encoder.source.contains_key("bayes") {
            true => (Vec::new(), Vec::new()),
            false => {
                let networks = other_networks(&encoder);
                (left_out(folder)?, [networks, unread_changes(folder)?].concat())
            }
        };
        let own = manifest_of(folder)?;
        let ensemble = own.is_some_and(|own| own.fit.method == Method::Ensemble);
        let folder = Some(folder.to_owned());
        let max_length = 0;
        Ok(Self {
            encoder,
            tokenizer,
            special_tokens,
            folder,
            max_length,
            left_out,
            unread,
            ensemble,
        })
    }

    /// What a person should know of the way the encoder is read.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let modules = some(self.left_out.iter().map(String::as_str));
        let left_out = (!self.left_out.is_empty()).then(|| {
            Remark::Warning(format!(
                "`{MODULES}` of the encoder also lists {modules}, which `bayes` does not use; its features are the pooled \
                 tokens of the Transformer alone, not the vectors that sentence-transformers computes"
            ))
        });
        let unread = self.unread.iter().cloned().map(Remark::Warning);
        let others = self.ensemble.then(|| {
            Remark::Warning(
                "the starting model (`model.init`) is an ensemble; training begins with the first of its networks, and \
                 the others are not used"
                    .to_owned(),
            )
        });
        let own = self.encoder.source.contains_key("bayes");
        let head = self.encoder.head_of_other_task().filter(|_| !own).map(|class| {
            Remark::Note(format!(
                "the encoder comes from a `{}`; the head of that task is not used, and a new one is trained",
                class.chars().take(60).collect::<String>()
            ))
        });
        left_out.into_iter().chain(unread).chain(others).chain(head).collect()
    }

    fn new_encoder(
        experiment: &Experiment,
        dataset: &Dataset,
        train: &Part,
    ) -> Result<Self, ExperimentError> {
        let model = &experiment.model;
        let sizes = Sizes {
            num_hidden_layers: model.num_hidden_layers.unwrap_or(2),
            hidden_size: model.width(),
            num_attention_heads: model.num_attention_heads.unwrap_or(4),
            intermediate_size: model.feed_forward(),
        };
        let texts: Vec<_> = train
            .examples(dataset)
            .flat_map(|example| std::iter::once(&example.text).chain(&example.pair))
            .map(|text| clean(text))
            .collect();
        let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
        let vocabulary =
            match (build_vocabulary(&texts, model.vocab_size.unwrap_or(8000)), model.vocab_size) {
                // Nobody asked for a size, and some scripts have more characters than the usual one.
                (Err(VocabularyError::TooSmall { needed, .. }), None) => {
                    build_vocabulary(&texts, needed + needed / 4)
                }
                (built, _) => built,
            };
        let vocabulary = vocabulary.map_err(DataError::from)?;
        let tokenizer = TextTokenizer::from_tokenizer(vocabulary).map_err(DataError::from)?;
        let max_length = match experiment.data.max_length {
            0 => {
                let rows: Vec<&Example> = train.examples(dataset).collect();
                typical_length(&tokenizer, &rows).map_err(DataError::from)?
            }
            asked => asked,
        };
        let encoder = EncoderConfig::new_encoder(
            model.norm,
            model.position_embedding_type,
            sizes,
            tokenizer.vocabulary_size(),
            max_length,
        );
        let encoder = encoder
            .map_err(|message| ExperimentError::Encoder(format!("section `[model]`: {message}")))?;
        let special_tokens = SpecialTokens::of(None, encoder.architecture, &tokenizer);
        let left_out = Vec::new();
        Ok(Self {
            encoder,
            tokenizer,
            special_tokens,
            folder: None,
            max_length,
            left_out,
            unread: Vec::new(),
            ensemble: false,
        })
    }

    fn check(&self, experiment: &Experiment, of_pairs: bool) -> Result<(), ExperimentError> {
        let (tokens, embeddings) = (self.tokenizer.vocabulary_size(), self.encoder.vocab_size);
        let from = self.folder.as_deref().unwrap_or(Path::new("")).display();
        if tokens > embeddings {
            return Err(ExperimentError::Encoder(format!(
                "`{from}`: the tokenizer has {tokens} tokens, but the encoder has embeddings for \
                 {embeddings}; the two do not belong together"
            )));
        }
        let segments = self.tokenizer.pair_segments().filter(|_| of_pairs).unwrap_or_default();
        let segments = segments.max(self.tokenizer.segments());
        if let Some(rows) = self.encoder.segments().filter(|&rows| segments > rows) {
            return Err(ExperimentError::Encoder(format!(
                "`{from}`: the tokenizer gives the segment {}, but the encoder has embeddings for {rows} \
                 (`type_vocab_size`); the two do not belong together",
                segments - 1
            )));
        }
        let (frozen, layers) = (experiment.train.frozen_layers, self.encoder.num_hidden_layers);
        if frozen > layers {
            return Err(ExperimentError::Encoder(format!(
                "`train.frozen_layers` is {frozen}, but the encoder has {}",
                counted(layers, "layer")
            )));
        }
        if !self.encoder.divides_at(frozen) {
            let borders = (0..=layers).filter(|&layer| self.encoder.divides_at(layer));
            let borders: Vec<String> = borders.map(|layer| layer.to_string()).collect();
            return Err(ExperimentError::Encoder(format!(
                "`train.frozen_layers` is {frozen}, but layers above that have the same weights as layers below \
                 it; use {}",
                borders.join(" or ")
            )));
        }
        let (wanted, room) = (self.max_length, self.encoder.longest_sequence());
        if wanted > room {
            return Err(ExperimentError::Encoder(format!(
                "`data.max_length` is {wanted}, but the encoder accepts at most {room} tokens; set \
                 it to {room} or less"
            )));
        }
        Ok(())
    }

    /// Reads or makes the weights. The second part names the tensors that the seed filled.
    pub fn parameters(
        &self,
        noise: &Noise,
        device: &Backend,
    ) -> Result<(Parameters, Vec<String>), ExperimentError> {
        match &self.folder {
            Some(folder) => {
                let loaded = model::load(folder, &self.encoder, noise, device)?;
                Ok((loaded.parameters, loaded.missing))
            }
            None => Ok((Parameters::fresh(&self.encoder, noise, device)?, Vec::new())),
        }
    }
}
