//! The texts that are measured with, as tokens.

use std::sync::Arc;

use anyhow::{Result, bail};

use crate::artifact::Manifest;
use crate::compute::{Noise, Purpose};
use crate::data::{
    self, DataConfig, Dataset, Example, Overrides, Preprocessing, Remark, TokenSet, sample,
};
use crate::evaluate::models::{Chosen, data_config};
use crate::evaluate::{Origin, labels_of_trained, names_or_places};
use crate::numbers::grouped;
use crate::predict::Predictor;

/// Which texts are wanted.
pub struct Asked<'a> {
    /// The data set; that of the model where there is none.
    pub named: Option<&'a str>,
    /// How its tables are read.
    pub overrides: &'a Overrides,
    /// Most rows of each split; 0 = all.
    pub limit: usize,
    /// Tokens of every training row.
    pub train_length: Option<usize>,
}

/// Rows of a data set, in a shuffled order: files can be sorted by label.
pub struct Texts {
    pub dataset: Dataset,
    /// Rows of the test split.
    pub test: Vec<Example>,
    /// The same as tokens, with the model's labels.
    pub rows: TokenSet,
    /// Rows of the training split as tokens.
    pub train: TokenSet,
    /// Whether the data's classes are the model's.
    pub comparable: bool,
}

impl Texts {
    /// Rows of the data set that was named, of the one that the model was trained on, or, where it
    /// is not on this machine, of the generated reviews.
    pub fn open(
        predictor: &Predictor,
        &Asked { named, overrides, limit, train_length }: &Asked<'_>,
        show: &mut dyn FnMut(Remark),
    ) -> Result<Self> {
        let manifest = &predictor.artifact().manifest;
        let noise = Noise::new(manifest.seed);
        let config = data_config(named, manifest);
        // What nobody asked for by name is not fetched.
        // What is said of tables is said of those.
        let asked = named.is_some() || *overrides != Overrides::default();
        let config = config.filter(|own| asked || data::locate(&own.dataset).is_ok());
        let config = config.map(|mut config| overrides.apply(&mut config).map(|()| config));
        let config = config.transpose().map_err(anyhow::Error::msg)?;
        let opened = config.map(|config| Dataset::open(&config).map(|dataset| (config, dataset)));
        let (config, dataset, fallback) = match opened {
            Some(Ok((config, dataset))) => (config, dataset.told(show), false),
            Some(Err(error)) if asked => return Err(error.into()),
            None if asked => bail!(
                "the model does not record its training data, whose tables the data options are about; give a \
                 data set with --dataset"
            ),
            _ => {
                show(Remark::Note(
                    "the model's own data are not on this machine, so generated texts are used"
                        .to_owned(),
                ));
                let config = DataConfig { dataset: "reviews".to_owned(), ..DataConfig::default() };
                let dataset = Dataset::open(&config)?.told(show);
                (config, dataset, true)
            }
        };
        let pick = |split| -> Result<Vec<Example>> {
            let chosen = Chosen::of(&dataset, &config, split, manifest)?;
            let all = dataset.rows(&chosen.split);
            let labels: Vec<u32> = chosen.rows.iter().map(|&row| all[row].label).collect();
            let mut places = sample(&labels, limit, &noise);
            noise.stream(Purpose::Shuffle, u64::MAX, 0).shuffle(&mut places);
            Ok(places.into_iter().map(|place| all[chosen.rows[place]].clone()).collect())
        };
        let test = pick("test")?;
        if !fallback {
            predictor.pairs().check(test.iter().map(|example| example.pair.is_some()))?;
        }
        let train = pick("train").unwrap_or_else(|_| {
            let name = &dataset.name;
            let said = format!("`{name}` has no `train` rows; training steps use other rows");
            show(Remark::Note(said));
            test.clone()
        });
        if let Some(said) = names_or_places(&dataset, &config, predictor.labels()) {
            show(Remark::Warning(said));
        }
        let classes = predictor.labels().len() as u32;
        let (by_label, comparable) = match labels_of_trained(&dataset.labels, manifest) {
            Ok(by_label) => (by_label, true),
            Err(_) if fallback => {
                let said = "these texts have different classes, so accuracy is not measured";
                show(Remark::Note(said.to_owned()));
                ((0..dataset.labels.len() as u32).map(|label| label % classes).collect(), false)
            }
            Err(error) => return Err(error.into()),
        };
        let max_length = manifest.preprocessing.max_length;
        let rows = tokens(predictor, &test, &by_label, max_length)?;
        let train = match train_length {
            Some(length) => {
                let train: Vec<Example> =
                    train.into_iter().map(|example| lengthened(example, length)).collect();
                tokens(predictor, &train, &by_label, length)?
            }
            None => tokens(predictor, &train, &by_label, max_length)?,
        };
        Ok(Self { rows, train, test, dataset, comparable })
    }

    /// What to say of test rows that the model has seen, or may have, which flatter its calibration.
    pub fn seen(&self, manifest: &Manifest) -> Option<String> {
        let test: Vec<&Example> = self.test.iter().collect();
        let seen = match Origin::of(manifest, None).and_then(|origin| origin.seen(&test)) {
            Ok(seen) => seen.len(),
            Err(why) => return Some(why.of_rows()),
        };
        (seen > 0).then(|| {
            format!(
                "{} of the {} test rows trained or calibrated the model, so the figures of its calibration are too \
                 good; `bayes eval` gives them without those rows",
                grouped(seen as u64),
                grouped(test.len() as u64)
            )
        })
    }

    /// What to say of texts that were cut; of the training rows only where steps are `trained`.
    pub fn truncated(&self, trained: bool) -> Vec<String> {
        let train = trained.then_some(("training texts", &self.train));
        let all = [Some(("texts", &self.rows)), train].into_iter().flatten();
        let cut = all.filter(|(_, rows)| rows.truncated() > 0);
        let said = cut.map(|(what, rows)| {
            let most = rows.lengths().into_iter().max().unwrap_or(0);
            format!(
                "{} of {} {what} were truncated to {most} tokens",
                grouped(rows.truncated() as u64),
                grouped(rows.len() as u64)
            )
        });
        said.collect()
    }
}

/// The text again and again, to more than that many tokens: one has seldom more than 16 bytes.
fn lengthened(mut example: Example, tokens: usize) -> Example {
    let copies = 16 * tokens / (example.text.len() + 1) + 1;
    example.text = vec![example.text; copies].join(" ");
    example
}

/// The tokens live in a file of their own, which disappears with its last reader: a sample of rows
/// is nothing to keep.
fn tokens(
    predictor: &Predictor,
    examples: &[Example],
    by_label: &[u32],
    max_length: usize,
) -> Result<TokenSet> {
    let artifact = predictor.artifact();
    let preprocessing = Preprocessing { max_length, ..artifact.manifest.preprocessing };
    let folder = tempfile::tempdir()?;
    let tokens = data::prepare_tokens(
        folder.path(),
        &artifact.tokenizer,
        examples,
        &preprocessing,
        &mut |_, _| (),
    )?;
    let labels = examples.iter().map(|example| by_label[example.label as usize]).collect();
    Ok(TokenSet::new(Arc::new(tokens), (0..examples.len() as u32).collect(), labels))
}
