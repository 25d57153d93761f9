//! Every form against transformers and PEFT, and what is refused of indices and adapters.

use bayes::compute::{Backend, Noise, Precision};
use bayes::model::{self, Parameters};
use candle_core::Device;
use serde_json::{Value, json};

use super::folder::{Folder, assert_close};

const FORMS: [(&str, &str); 6] = [
    ("plain", "plain"),
    ("sharded", "plain"),
    ("zip", "plain"),
    ("legacy", "plain"),
    ("sharded_bin", "plain"),
    ("mixed", "mixed"),
];
const ADAPTERS: [&str; 3] = ["adapter", "adapter_bin", "adapter_rs"];

#[test]
fn every_form_has_the_logits_of_transformers() {
    for (form, case) in FORMS {
        let folder = Folder::of(form);
        assert_close(&folder.logits(), case, form);
        let pickled = ["zip", "legacy", "sharded_bin", "mixed"].contains(&form);
        let loaded = folder.load().unwrap();
        let origin = loaded.origin.unwrap_or_default();
        assert_eq!(origin.contains("`pytorch_model.bin`"), pickled, "{form}: {origin}");
        assert_eq!(loaded.unused, [""; 0], "{form}");
    }
}

#[test]
fn adapters_are_merged_as_peft_merges_them() {
    for case in ADAPTERS {
        for base in ["plain", "sharded", "zip"] {
            let base = Folder::of(base);
            let folder = Folder::adapter(case, &base);
            assert_close(&folder.logits(), case, case);
            let origin = folder.load().unwrap().origin.unwrap();
            assert!(origin.contains("LoRA adapter"), "{origin}");
        }
        // Beside a whole model it is laid over that, as transformers does.
        let beside = Folder::of("plain");
        beside.add(case);
        assert_close(&beside.logits(), case, case);
    }
}

#[test]
fn what_is_written_is_one_safetensors_file_with_the_same_values() {
    let adapted = ADAPTERS.map(|case| (case, case));
    for (form, case) in FORMS.into_iter().chain(adapted) {
        let base = Folder::of("plain");
        let folder = match ADAPTERS.contains(&form) {
            true => Folder::adapter(form, &base),
            false => Folder::of(form),
        };
        let config = folder.config().unwrap();
        let write = |parameters| {
            let bytes = model::with_last_layer(folder.0.path(), &config, parameters).unwrap();
            let written = Folder(tempfile::tempdir().unwrap());
            let file = config.to_json(Precision::F32).to_string();
            std::fs::write(written.path("config.json"), file).unwrap();
            std::fs::write(written.path("model.safetensors"), bytes).unwrap();
            written
        };
        let written = write(None);
        assert_close(&written.logits(), case, form);
        assert_eq!(written.load().unwrap().origin, None);
        let loaded = folder.load().unwrap().parameters;
        let [cd, c] = ["classifier.weight", "classifier.bias"].map(|name| loaded.get(name));
        let other = loaded.with_last_layer(&(cd * 2.0).unwrap(), &(c * 2.0).unwrap()).unwrap();
        let doubled = write(Some(&other)).logits();
        let halved: Vec<Vec<f32>> =
            doubled.iter().map(|row| row.iter().map(|one| one / 2.0).collect()).collect();
        assert_close(&halved, case, form);
    }
}

#[test]
fn an_index_that_its_files_do_not_follow_is_refused() {
    let index = "model.safetensors.index.json";
    let change = |change: &dyn Fn(&mut Value)| {
        let folder = Folder::of("sharded");
        folder.edit(index, change);
        folder.refused()
    };
    let tensor = "bert.embeddings.word_embeddings.weight";
    for name in
        ["../a.safetensors", "/a.safetensors", "a\\b.safetensors", "..", "a.bin", ".safetensors"]
    {
        let message = change(&|value| value["weight_map"][tensor] = name.into());
        assert!(message.contains("in the same folder"), "{name}: {message}");
    }
    let message = change(&|value| value["weight_map"][tensor] = "other.safetensors".into());
    assert!(message.contains("`other.safetensors`, which is missing"), "{message}");
    let message = change(&|value| value["weight_map"] = json!({}));
    assert!(message.contains("0 files"), "{message}");
    let message =
        change(&|value| value["weight_map"]["more"] = value["weight_map"][tensor].clone());
    assert!(message.contains("`more` is in"), "{message}");
    let message = change(&|value| {
        let others = value["weight_map"].as_object().unwrap().values();
        let other =
            others.clone().find(|file| **file != value["weight_map"][tensor]).unwrap().clone();
        value["weight_map"][tensor] = other;
    });
    assert!(message.contains(&format!("tensor `{tensor}`")), "{message}");
    // A tensor that it does not name is not there, and the hint at the size is no more than one.
    let message =
        change(&|value| drop(value["weight_map"].as_object_mut().unwrap().shift_remove(tensor)));
    assert!(message.contains("has no tensor"), "{message}");
    let folder = Folder::of("sharded");
    folder.edit(index, |value| value["metadata"]["total_size"] = 5.into());
    assert_close(&folder.logits(), "plain", "another size");
    // A file that is broken off.
    let whole = std::fs::read(folder.path("model-00002-of-00002.safetensors")).unwrap();
    std::fs::write(folder.path("model-00002-of-00002.safetensors"), &whole[..whole.len() - 4])
        .unwrap();
    assert!(folder.refused().contains("damaged"), "{}", folder.refused());
}

#[test]
fn adapters_that_are_more_than_lora_on_linear_layers_are_refused_with_what_to_do() {
    let base = Folder::of("plain");
    for (key, value, words) in [
        ("use_dora", json!(true), "DoRA"),
        ("peft_type", json!("IA3"), "`IA3`"),
        ("bias", json!("lora_only"), "`bias`"),
        ("lora_bias", json!(true), "`lora_bias`"),
        ("layer_replication", json!([[0, 1]]), "`layer_replication`"),
        ("trainable_token_indices", json!([1]), "`trainable_token_indices`"),
        ("init_lora_weights", json!("pissa"), "`pissa`"),
        ("alpha_pattern", json!({"(query": 3}), "(query"),
        ("rank_pattern", json!({"query[": 3}), "query["),
        ("target_modules", json!("*query"), "*query"),
        ("task_type", json!("CAUSAL_LM"), "`CAUSAL_LM`"),
    ] {
        let folder = Folder::adapter("adapter", &base);
        folder.edit("adapter_config.json", |config| config[key] = value);
        let message = folder.refused();
        assert!(
            message.contains(words) && message.contains("merge_and_unload"),
            "{key}: {message}"
        );
    }
    for (key, value, words) in [
        ("base_model_name_or_path", json!("/nowhere/at/all"), "neither a folder nor"),
        ("base_model_name_or_path", json!(null), "no `base_model_name_or_path`"),
        ("revision", json!("v2"), "`v2`"),
    ] {
        let folder = Folder::adapter("adapter", &base);
        folder.edit("adapter_config.json", |config| config[key] = value);
        let message = folder.refused();
        assert!(message.contains(words), "{key}: {message}");
    }
    let folder = Folder::adapter("adapter", &base);
    std::fs::remove_file(folder.path("adapter_model.safetensors")).unwrap();
    assert!(folder.refused().contains("adapter_model.safetensors"));
    // Of another architecture.
    let folder = Folder::adapter("adapter", &base);
    base.edit("config.json", |config| config["model_type"] = "distilbert".into());
    assert!(!folder.refused().is_empty());
}

/// PEFT writes a tensor under one of two names: with both, which one counts nobody says.
#[test]
fn an_adapter_with_a_tensor_under_two_names_is_refused() {
    let base = Folder::of("plain");
    let folder = Folder::adapter("adapter", &base);
    let path = folder.path("adapter_model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let own = "base_model.model.classifier.weight";
    let twice = "base_model.model.classifier.modules_to_save.default.weight";
    tensors.insert(twice.to_owned(), tensors[own].zeros_like().unwrap());
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let message = folder.refused();
    assert!(message.contains("`classifier.weight` under two names"), "{message}");
}

/// PEFT leaves the weights out that its config does not have, and does not read those of another size.
#[test]
fn an_adapter_whose_config_has_other_modules_than_its_weights_is_refused() {
    let base = Folder::of("plain");
    for (key, value, words) in [
        ("target_modules", json!(["query"]), "self.value`"),
        ("target_modules", json!(r".*layer\.1.*"), "layer.0.attention.self.query`"),
        ("target_modules", json!(["query", "alue"]), "self.value`"),
        ("exclude_modules", json!(["value"]), "self.value`"),
        ("exclude_modules", json!(r".*\.0\..*"), "layer.0.attention.self.query`"),
        ("layers_to_transform", json!([1]), "layer.0.attention.self.query`"),
        ("layers_to_transform", json!(0), "layer.1.attention.self.query`"),
        ("modules_to_save", json!(["classifier", "value"]), "self.value.bias`"),
        ("modules_to_save", json!(["classifier", "encoder"]), "`encoder` is saved whole"),
        ("modules_to_save", json!(["classifier", "pooler"]), "`bert.pooler.dense.bias`"),
        ("r", json!(8), "has rank 8, but in the weights it has rank 4"),
        ("r", json!(null), "has rank 8"),
        ("rank_pattern", json!({"value": 2}), "has rank 2"),
        ("rank_pattern", json!({r"layer\.[1-3]\..*value": 2}), "has rank 2"),
    ] {
        let folder = Folder::adapter("adapter", &base);
        folder.edit("adapter_config.json", |config| config[key] = value.clone());
        let message = folder.refused();
        let right = message.contains(words) && message.contains("do not belong together");
        assert!(right, "{key} {value}: {message}");
    }
    // The same said in other words.
    for (key, value) in [
        ("target_modules", json!(null)),
        ("target_modules", json!(r".*\.(query|value)")),
        ("target_modules", json!("all-linear")),
        ("exclude_modules", json!(["key"])),
        ("layers_to_transform", json!([0, 1])),
        ("rank_pattern", json!({"key": 2, ".*": 4})),
        ("alpha_pattern", json!({r"layer\.[01]\..*": 8})),
        ("use_new", json!({"a": 1})),
    ] {
        let folder = Folder::adapter("adapter", &base);
        folder.edit("adapter_config.json", |config| config[key] = value);
        assert_close(&folder.logits(), "adapter", key);
    }
}

#[test]
fn an_adapter_without_the_classifier_that_it_saved_is_refused() {
    let base = Folder::of("plain");
    for kind in ["weight", "bias"] {
        let folder = Folder::adapter("adapter", &base);
        let path = folder.path("adapter_model.safetensors");
        let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        tensors.remove(&format!("base_model.model.classifier.{kind}")).unwrap();
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let message = folder.refused();
        assert!(message.contains(&format!("no `classifier.{kind}`")), "{message}");
        // One that has no classifier of its own takes that of the base.
        folder.edit("adapter_config.json", |config| config["modules_to_save"] = Value::Null);
        assert!(folder.load().is_ok());
    }
}

#[test]
fn the_classes_of_an_adapter_are_those_of_its_classifier() {
    let base = Folder::of("plain");
    let folder = Folder::adapter("adapter", &base);
    assert_eq!(folder.config().unwrap().labels, ["negative", "neutral", "positive"]);
    // The base was an encoder, or a classifier of something else.
    for labels in [json!(null), json!({"0": "no", "1": "yes"})] {
        base.edit("config.json", |config| {
            config["id2label"] = labels;
            config["label2id"] = Value::Null;
            config["architectures"] = json!(["BertForMaskedLM"]);
        });
        let config = folder.config().unwrap();
        assert_eq!(config.labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
        assert_eq!(config.unusable_head, None);
        assert_close(&folder.logits(), "adapter", "numbered");
    }
}

#[test]
fn an_adapter_is_an_encoder_for_other_classes_too() {
    let base = Folder::of("plain");
    for case in ["adapter", "adapter_rs"] {
        let folder = Folder::adapter(case, &base);
        let mut config = folder.config().unwrap();
        config.labels = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let loaded = model::load(folder.0.path(), &config, &Noise::new(0), &Backend::Cpu).unwrap();
        assert_eq!(loaded.other_head, Some(3));
        let own = folder.load().unwrap().parameters;
        let query = |parameters: &Parameters| -> Vec<f32> {
            let tensor = parameters.get("layer.0000.attention.qkv.weight");
            tensor.flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(query(&loaded.parameters), query(&own));
    }
}
