//! Model folders that are damaged, or made to harm.

use std::path::Path;

use serde_json::Value;

use super::server::{command, model_copy};

/// The message with which a folder is refused.
fn refused(folder: &Path) -> String {
    let home = tempfile::tempdir().unwrap();
    let output = command(folder, home.path(), &["--check"])
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Without its manifest a folder is one of transformers: nothing but the files themselves speaks.
fn foreign() -> tempfile::TempDir {
    let folder = model_copy();
    std::fs::remove_dir_all(folder.path().join("bayes")).unwrap();
    folder
}

fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    edit(path, |bytes| {
        let mut value: Value = serde_json::from_slice(bytes).unwrap();
        change(&mut value);
        *bytes = value.to_string().into_bytes();
    });
}

#[test]
fn a_flipped_byte_in_any_file_that_counts_is_noticed() {
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "bayes/posterior.safetensors",
        "bayes/calibration.safetensors",
    ] {
        let folder = model_copy();
        let path = folder.path().join(name);
        edit(&path, |bytes| {
            let last = bytes.len() - 3;
            bytes[last] ^= 1;
        });
        let message = refused(folder.path());
        assert!(message.contains(name) && message.contains("sha256"), "{message}");
    }
}

#[test]
fn poisoned_weights_are_refused_with_a_sentence() {
    let weights = |change: &dyn Fn(&mut Vec<u8>)| {
        let folder = foreign();
        edit(&folder.path().join("model.safetensors"), change);
        refused(folder.path())
    };
    let truncated = weights(&|bytes| bytes.truncate(bytes.len() / 2));
    assert!(truncated.contains("model.safetensors"), "{truncated}");
    let huge = weights(&|bytes| bytes[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes()));
    assert!(huge.contains("model.safetensors"), "{huge}");
    weights(&|bytes| bytes.clear());
    // Two tensors over the same bytes.
    weights(&|bytes| {
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut tensors: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        let offsets = tensors["classifier.bias"]["data_offsets"].clone();
        tensors["bert.pooler.dense.bias"]["data_offsets"] = offsets;
        let text = tensors.to_string().into_bytes();
        let body = bytes.split_off(8 + header);
        *bytes = [&(text.len() as u64).to_le_bytes()[..], &text, &body].concat();
    });
    weights(&|bytes| {
        let nan = f32::NAN.to_le_bytes();
        let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        bytes[start..].chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&nan));
    });
}

#[test]
fn a_poisoned_config_is_refused_before_memory_is_taken() {
    for (key, value) in [
        ("hidden_size", Value::from(1_000_000_000)),
        ("num_hidden_layers", Value::from(1_000_000_000)),
        ("vocab_size", Value::from(4_000_000_000u64)),
        ("hidden_size", Value::from(0)),
        ("num_attention_heads", Value::from(0)),
        ("vocab_size", Value::from(3)),
    ] {
        let folder = foreign();
        edit_json(&folder.path().join("config.json"), |config| config[key] = value.clone());
        let message = refused(folder.path());
        assert!(message.len() < 2000, "{key} {value}: {message}");
    }
    let folder = foreign();
    edit_json(&folder.path().join("config.json"), |config| {
        config["id2label"].as_object_mut().unwrap().remove("1");
    });
    refused(folder.path());
}

#[test]
fn a_poisoned_tokenizer_is_refused() {
    let folder = foreign();
    edit(&folder.path().join("tokenizer.json"), |bytes| bytes.truncate(bytes.len() / 2));
    assert!(refused(folder.path()).contains("tokenizer.json"));
    let folder = foreign();
    edit_json(&folder.path().join("tokenizer.json"), |tokenizer| {
        let evil = serde_json::json!({
            "type": "Split", "pattern": { "Regex": "(a+)+$" }, "behavior": "Isolated", "invert": false,
        });
        tokenizer["pre_tokenizer"] = evil;
    });
    assert!(refused(folder.path()).contains("regular expression"));
    let folder = foreign();
    edit_json(&folder.path().join("tokenizer.json"), |tokenizer| {
        tokenizer["model"]["vocab"]["beyond"] = Value::from(1_000_000);
    });
    refused(folder.path());
}

#[test]
fn a_manifest_names_no_files_outside_its_folder() {
    for name in ["../outside", "/etc/hostname", "bayes/../../outside"] {
        let folder = model_copy();
        edit_json(&folder.path().join("bayes/manifest.json"), |manifest| {
            manifest["files"][name] = Value::from("00");
        });
        let message = refused(folder.path());
        assert!(message.contains("manifest.json") && message.contains(name), "{message}");
    }
}
