//! Classifiers in the form of sentence-transformers, without a part of ours.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::folder::edit_json;
use super::home::Home;

/// A model of ours as another tool would have written it, and its logits before that.
struct Stranger {
    home: Home,
    logits: Vec<f64>,
}

const MODEL: &str = "checkpoints/tickets/model";
const ASK: [&str; 5] = ["predict", "--json", "--model", MODEL, "please look at my invoice"];

fn logits(home: &Home) -> Vec<f64> {
    let object: Value = serde_json::from_str(&home.done(&ASK)).unwrap();
    object["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

impl Stranger {
    fn new(pooling: &str) -> Self {
        let home = Home::new();
        home.train_tiny(&["--quiet", "--set", &format!("model.pooling={pooling}")]);
        let logits = logits(&home);
        std::fs::remove_dir_all(home.path(MODEL).join("bayes")).unwrap();
        let own = Self { home, logits };
        own.edit("config.json", |config| {
            drop(config.as_object_mut().unwrap().shift_remove("bayes"));
        });
        own
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path(MODEL).join(name)
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        edit_json(&self.path(name), change);
    }

    /// Without the module of the last layer, which is in the weights too.
    fn bare(self) -> Self {
        self.edit("modules.json", |modules| drop(modules.as_array_mut().unwrap().pop()));
        self
    }

    /// Without the tensors whose names have this in them.
    fn lose(&self, layer: &str) {
        let path = self.path("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let all = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let rest = all.iter().filter(|(name, _)| !name.contains(layer));
        std::fs::write(&path, safetensors::serialize(rest, None).unwrap()).unwrap();
    }

    fn agrees(&self) {
        let found = logits(&self.home);
        let near = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-5;
        assert!(found.iter().zip(&self.logits).all(near), "{found:?} {:?}", self.logits);
    }

    fn refused(&self, words: &str) {
        let message = self.home.refused(&ASK);
        assert!(
            message.contains(words) && message.contains("cannot be used"),
            "{words}: {message}"
        );
    }
}

#[test]
fn the_pooling_is_that_of_the_modules() {
    for pooling in ["mean", "cls", "normalised"] {
        Stranger::new(pooling).agrees();
    }
    for pooling in ["mean", "cls"] {
        Stranger::new(pooling).bare().agrees();
    }
    // What the vectors of length one are multiplied by, nobody says.
    Stranger::new("normalised").bare().refused("length one");
}

/// An encoder as it is on the Hub, before anybody trained a classifier on it.
#[test]
fn an_encoder_without_a_classifier_is_called_one_and_a_layer_that_is_not_used_may_be_missing() {
    let stranger = Stranger::new("mean").bare();
    stranger.lose("pooler");
    stranger.agrees();
    let stranger = Stranger::new("normalised").bare();
    stranger.lose("classifier");
    let message = stranger.home.refused(&ASK);
    assert!(message.contains("encoder without a classification head"), "{message}");
}

#[test]
fn a_classifier_without_a_layer_of_its_head_is_not_called_an_encoder() {
    for (lost, name) in [("pooler", "bert.pooler.dense"), ("classifier.bias", "classifier.bias")] {
        let stranger = Stranger::new("head");
        stranger.lose(lost);
        let message = stranger.home.refused(&ASK);
        assert!(message.contains("only a part of the classification head of"), "{message}");
        assert!(message.contains("`BertForSequenceClassification`"), "{message}");
        assert!(
            message.contains(&format!("`{name}")) && !message.contains("encoder without"),
            "{message}"
        );
    }
}

#[test]
fn modules_that_are_not_known_or_contradict_the_weights_are_refused() {
    let stranger = Stranger::new("mean");
    let refused = |name: &str, change: &dyn Fn(&mut Value), words: &str| {
        let whole = std::fs::read(stranger.path(name)).unwrap();
        stranger.edit(name, change);
        stranger.refused(words);
        std::fs::write(stranger.path(name), whole).unwrap();
        stranger.agrees();
    };
    for mode in ["max_tokens", "mean_sqrt_len_tokens"] {
        let other = |pooling: &mut Value| {
            pooling["pooling_mode_mean_tokens"] = false.into();
            pooling[format!("pooling_mode_{mode}")] = true.into();
        };
        refused("1_Pooling/config.json", &other, mode);
    }
    let other =
        |modules: &mut Value| modules[2]["type"] = "sentence_transformers.models.LSTM".into();
    refused("modules.json", &other, "Transformer, Pooling, LSTM");
    let turned = |modules: &mut Value| modules.as_array_mut().unwrap().reverse();
    refused("modules.json", &turned, "Dense, Pooling, Transformer");
    let elsewhere = |modules: &mut Value| modules[2]["path"] = "../2_Dense".into();
    refused("modules.json", &elsewhere, "is missing next to it");
    let head =
        |config: &mut Value| config["architectures"] = json!(["BertForSequenceClassification"]);
    refused("config.json", &head, "`BertForSequenceClassification`");
    let own = |config: &mut Value| config["bayes"] = json!({ "pooling": "cls" });
    refused("config.json", &own, "`config.json` by the first token");
    let activation = |dense: &mut Value| {
        dense["activation_function"] = "torch.nn.modules.activation.Tanh".into();
    };
    refused("2_Dense/config.json", &activation, "Identity");
    let path = stranger.path("2_Dense/model.safetensors");
    let mut weights = std::fs::read(&path).unwrap();
    let last = weights.len() - 1;
    weights[last] ^= 0x80;
    std::fs::write(&path, weights).unwrap();
    stranger.refused("is not the classifier");
    std::fs::remove_file(&path).unwrap();
    stranger.refused("it is missing");
    std::fs::remove_file(stranger.path("1_Pooling/config.json")).unwrap();
    let message = stranger.home.refused(&ASK);
    assert!(message.contains("1_Pooling/config.json`: is missing"), "{message}");
}
