//! The training loop on a few texts of its own: what is frozen, what is not finite, what is warned of,
//! and when it ends.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

mod twin;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bayes::calibrate::calibrated_nll;
use bayes::compute::{Backend, Noise};
use bayes::data::{Example, Preprocessing, TextTokenizer, TokenSet, Truncation, prepare_tokens};
use bayes::model::{EncoderConfig, Parameters, Sizes};
use bayes::train::{
    CalibratedNll, Control, Counters, Ended, Event, Job, State, Steps, TrainConfig, TrainError, fit,
};
use candle_core::{Device, Tensor};

/// Occurs in row 5 of the training rows and nowhere else.
const RARE: &str = "music";

struct Bench {
    encoder: EncoderConfig,
    parameters: Parameters,
    train: TokenSet,
    validation: TokenSet,
    /// The id of the rare token.
    rare: u32,
    /// What the weights are chosen by.
    judge: CalibratedNll,
}

impl Bench {
    fn new() -> Self {
        let sizes = Sizes {
            num_hidden_layers: 2,
            hidden_size: 16,
            num_attention_heads: 2,
            intermediate_size: 32,
        };
        Self::of(|vocabulary| EncoderConfig::from_scratch(sizes, vocabulary, 16).unwrap())
    }

    /// Of an encoder for a vocabulary of that size.
    fn of(encoder: impl FnOnce(usize) -> EncoderConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoders/bert");
        let tokenizer = TextTokenizer::from_file(&fixtures.join("tokenizer.json")).unwrap();
        let text = |row: usize| match row {
            5 => format!("the {RARE} is good"),
            row if row.is_multiple_of(2) => "the film was bad and slow".to_owned(),
            _ => "the film was good and warm".to_owned(),
        };
        let example = |row| Example { text: text(row), pair: None, label: row as u32 % 2 };
        let examples: Vec<Example> = (0..40).map(example).collect();
        let tokens = prepare_tokens(
            folder.path(),
            &tokenizer,
            &examples,
            &Preprocessing::new(16, Truncation::Head),
            &mut |_, _| {},
        );
        let tokens = Arc::new(tokens.unwrap());
        let set = |rows: std::ops::Range<u32>| {
            let labels = rows.clone().map(|row| row % 2).collect();
            TokenSet::new(Arc::clone(&tokens), rows.collect(), labels)
        };
        let mut encoder = encoder(tokenizer.vocabulary_size());
        encoder.labels = vec!["bad".to_owned(), "good".to_owned()];
        let parameters = Parameters::fresh(&encoder, &Noise::new(1), &Backend::Cpu).unwrap();
        let rare = set(5..6).sequence(0).ids[2];
        let (train, validation) = (set(0..32), set(32..40));
        Self { encoder, parameters, train, validation, rare, judge: calibrated_nll }
    }

    /// The same with another value of a parameter.
    fn with(&self, name: &str, change: impl FnOnce(&mut Vec<f32>)) -> Parameters {
        let tensor = self.parameters.get(name);
        let mut values = tensor.flatten_all().unwrap().to_vec1().unwrap();
        change(&mut values);
        let changed = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
        let all = self.parameters.iter().map(|(name, tensor)| (name.clone(), tensor.clone()));
        let mut all: BTreeMap<String, Tensor> = all.collect();
        all.insert(name.to_owned(), changed);
        Parameters::from_map(all, &Backend::Cpu)
    }

    /// Runs; gives the result, the counters of every save, and the warnings.
    fn run(
        &self,
        config: &TrainConfig,
        parameters: Parameters,
    ) -> (Result<Ended, TrainError>, Vec<Counters>, Vec<String>) {
        let job = Job {
            encoder: &self.encoder,
            config,
            train: &self.train,
            stream: None,
            validation: &self.validation,
            objective: None,
            calibrated_nll: self.judge,
        };
        let (mut saved, mut warnings) = (Vec::new(), Vec::new());
        let ended = fit(&job, State::new(parameters), None, &mut |event| {
            match event {
                Event::Save(snapshot) => saved.push(snapshot.counters.clone()),
                Event::Warning(text) => warnings.push(text),
                _ => {}
            }
            Ok(Control::Continue)
        });
        (ended, saved, warnings)
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        num_train_epochs: 2.0,
        per_device_train_batch_size: 4,
        learning_rate: 1e-3,
        ..TrainConfig::default()
    }
}

#[test]
fn a_loss_that_is_not_finite_is_named_and_the_state_before_it_is_saved() {
    let bench = Bench::new();
    let place = bench.rare as usize * 16;
    let poisoned = || bench.with("embeddings.word", |values| values[place] = f32::NAN);
    let (ended, saved, _) = bench.run(&config(), poisoned());
    let error = ended.unwrap_err();
    let TrainError::NotFinite { what, step, rows } = &error else { panic!("{error}") };
    assert_eq!(what, "the loss");
    assert!(rows.contains(&5) && rows.len() == 4, "{rows:?}");
    assert!(error.to_string().contains("--set train.skip_nonfinite=true"), "{error}");
    assert_eq!(saved.last().map_or(0, |counters| counters.step), step - 1);

    // The step is left out in each of the two epochs.
    let skipping = TrainConfig { skip_nonfinite: true, ..config() };
    let (ended, saved, warnings) = bench.run(&skipping, poisoned());
    assert!(matches!(ended.unwrap(), Ended::Finished(_)));
    let last = saved.last().unwrap();
    assert_eq!((last.step, last.skipped), (16, 2));
    assert!(warnings[0].contains(&format!("step {step} is skipped, 1 so far")), "{warnings:?}");
}

/// Plain and averaged weights compete at every evaluation.
#[test]
fn averaged_weights_that_are_never_the_best_are_said_to_have_no_effect() {
    let bench = Bench::new();
    let mut seen = Vec::new();
    for learning_rate in [1e-3, 1.0] {
        let config = TrainConfig { ema_decay: 0.9, learning_rate, ..config() };
        let (ended, saved, warnings) = bench.run(&config, bench.parameters.clone());
        assert!(matches!(ended.unwrap(), Ended::Finished(_)));
        let averaged = saved.last().unwrap().best.unwrap().averaged;
        let told = warnings.iter().any(|text| text.contains("`train.ema_decay` had no effect"));
        assert_eq!(told, !averaged, "{warnings:?}");
        seen.push(averaged);
    }
    assert_eq!(seen, [false, true]);
}

#[test]
fn frozen_layers_keep_their_bits_and_the_others_learn() {
    let bench = Bench::new();
    let frozen = TrainConfig { frozen_layers: 1, ..config() };
    let (ended, _, warnings) = bench.run(&frozen, bench.parameters.clone());
    let Ended::Finished(outcome) = ended.unwrap() else { panic!("it was stopped") };
    let values = |parameters: &Parameters, name: &str| -> Vec<f32> {
        parameters.get(name).flatten_all().unwrap().to_vec1().unwrap()
    };
    for (name, _) in bench.parameters.iter() {
        let same = values(&bench.parameters, name) == values(&outcome.parameters, name);
        let expected = name.starts_with("embeddings.") || name.starts_with("layer.0000.");
        assert_eq!(same, expected, "{name}");
    }
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// The gradient of the word embeddings is cleared and measured by rows of their own width.
#[test]
fn embeddings_of_another_width_are_trained_and_so_are_layers_with_the_same_weights() {
    for (family, width) in [("electra", 8), ("electra", 24), ("albert", 8), ("albert", 24)] {
        let bench = Bench::of(|vocabulary| {
            let file = format!(
                r#"{{ "model_type": "{family}", "vocab_size": {vocabulary}, "embedding_size": {width},
                "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
                "intermediate_size": 32, "max_position_embeddings": 16, "initializer_range": 0.2 }}"#
            );
            EncoderConfig::from_bytes(Path::new("config.json"), file.as_bytes()).unwrap()
        });
        let (ended, _, warnings) = bench.run(&config(), bench.parameters.clone());
        let Ended::Finished(outcome) = ended.unwrap() else { panic!("it was stopped") };
        for (name, before) in bench.parameters.iter() {
            let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_ne!(values(before), values(outcome.parameters.get(name)), "{family}: {name}");
        }
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn attention_that_looks_at_one_token_is_warned_of_once() {
    let bench = Bench::new();
    let sharp = bench.with("layer.0001.attention.qkv.weight", |values| {
        values.iter_mut().for_each(|value| *value *= 1e4);
    });
    let watching = TrainConfig { histogram_steps: 1, max_steps: 3, ..config() };
    let (_, saved, warnings) = bench.run(&watching, sharp);
    let attention: Vec<&String> =
        warnings.iter().filter(|text| text.contains("the attention of layer 1 ")).collect();
    assert_eq!(attention.len(), 1, "{warnings:?}");
    assert!(saved.last().unwrap().warned.attention);
}

/// Judges that like small logits, and large ones: they shrink while this network begins to learn.
#[test]
fn the_weights_are_those_that_the_calibrated_nll_chooses() {
    fn size(logits: &[f64], _: &[u32], _: &[f64]) -> f64 {
        logits.iter().map(|logit| logit.abs()).sum()
    }
    let mut bench = Bench::new();
    let config = TrainConfig { eval_steps: Steps::Number(4), ..config() };
    let mut best = |judge: CalibratedNll| {
        bench.judge = judge;
        let (ended, saved, _) = bench.run(&config, bench.parameters.clone());
        let Ended::Finished(outcome) = ended.unwrap() else { panic!("it was stopped") };
        let kept = saved.last().unwrap().best.unwrap();
        assert_eq!((kept.step, kept.scores), (outcome.best_step, outcome.scores));
        (outcome.best_step, outcome.scores)
    };
    let (last, small) = best(size);
    let (first, large) = best(|logits, labels, weights| -size(logits, labels, weights));
    assert_eq!((first, last), (4, 16));
    assert!(small.calibrated_nll < -large.calibrated_nll);
    assert!(small.scores.nll > 0.0 && large.scores.nll > 0.0);
}

#[test]
fn a_run_ends_when_its_time_is_up_with_an_evaluation() {
    let bench = Bench::new();
    let short = TrainConfig { max_time: 1e-6, eval_steps: Steps::Number(100), ..config() };
    let (ended, saved, warnings) = bench.run(&short, bench.parameters.clone());
    let Ended::Finished(outcome) = ended.unwrap() else { panic!("it was stopped") };
    assert_eq!((outcome.steps, outcome.best_step), (1, 1));
    assert!(saved.last().unwrap().ended);
    assert_eq!(warnings, ["stopped early: the time limit of 0.000001 seconds is reached"]);
}
