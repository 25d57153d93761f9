//! Model folders that are damaged, or made to harm.

use std::path::Path;

use serde_json::{Value, json};

use super::server::{command, copy_folder, model_copy};

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
pub fn foreign() -> tempfile::TempDir {
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
        assert!(message.contains(name) && message.contains("SHA-256"), "{message}");
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
    // A type that no weights have, of the same size.
    weights(&|bytes| {
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let text = String::from_utf8(bytes[8..header].to_vec()).unwrap();
        bytes[8..header].copy_from_slice(text.replace("\"F32\"", "\"I32\"").as_bytes());
    });
    // Right in itself, but of another model: rows and columns changed places.
    let turned = weights(&|bytes| {
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut tensors: Value = serde_json::from_slice(&bytes[8..header]).unwrap();
        let name = "bert.embeddings.word_embeddings.weight";
        tensors[name]["shape"].as_array_mut().unwrap().reverse();
        let mut text = tensors.to_string().into_bytes();
        text.resize(header - 8, b' ');
        bytes[8..header].copy_from_slice(&text);
    });
    assert!(turned.contains("word_embeddings"), "{turned}");
    // The second is a number, and what comes of it is none.
    for (value, words) in [(f32::NAN, "model.safetensors"), (3e38, "is not a number")] {
        let message = weights(&|bytes| {
            let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            let four = value.to_le_bytes();
            bytes[start..].chunks_exact_mut(4).for_each(|each| each.copy_from_slice(&four));
        });
        assert!(message.contains(words), "{value}: {message}");
    }
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
        config["id2label"].as_object_mut().unwrap().remove("0");
    });
    let message = refused(folder.path());
    assert!(message.contains("id2label"), "{message}");
}

/// Kinds of files that others have published as attacks on `tokenizers`, and what is said of them.
#[test]
fn a_poisoned_tokenizer_is_refused_with_a_sentence() {
    let evil = "(a+)+$";
    let split = json!({
        "type": "Split", "pattern": { "Regex": evil }, "behavior": "Isolated", "invert": false,
    });
    let replace = json!({ "type": "Replace", "pattern": { "Regex": evil }, "content": "" });
    let template = json!({
        "type": "TemplateProcessing", "pair": [], "special_tokens": {},
        "single": [
            { "SpecialToken": { "id": "[GONE]", "type_id": 0 } },
            { "Sequence": { "id": "A", "type_id": 0 } },
        ],
    });
    let pairs = |prefix: Value| {
        json!({
            "type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
            "continuing_subword_prefix": prefix, "end_of_word_suffix": null,
            "vocab": { "aaaa": 0, "bbbb": 1 }, "merges": ["aaaa bbbb"],
        })
    };
    let nested = json!({ "type": "Sequence", "pretokenizers": [{ "type": "Whitespace" }, split] });
    let lattice = json!({ "type": "Unigram", "unk_id": 7, "vocab": [["a", 0.0]] });
    for (part, value, words) in [
        ("pre_tokenizer", split.clone(), "regular expression"),
        ("pre_tokenizer", nested, "regular expression"),
        ("normalizer", replace.clone(), "regular expression"),
        (
            "normalizer",
            json!({ "type": "Sequence", "normalizers": [replace] }),
            "regular expression",
        ),
        ("pre_tokenizer", json!({ "type": "FixedLength", "length": 0 }), "FixedLength"),
        ("pre_tokenizer", json!({ "type": "Imagined" }), "Imagined"),
        ("normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" }), ""),
        ("normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "/////w==" }), ""),
        // This one can be read, and fails at the first text.
        (
            "normalizer",
            json!({ "type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAA=" }),
            "",
        ),
        ("post_processor", template, ""),
        ("model", pairs(Value::Null), ""),
        ("model", pairs(json!("a prefix longer than the token")), ""),
        ("model", lattice, ""),
    ] {
        let folder = foreign();
        edit_json(&folder.path().join("tokenizer.json"), |file| file[part] = value.clone());
        let message = refused(folder.path());
        assert!(message.contains("tokenizer") && message.contains(words), "{value}: {message}");
        let said =
            message.lines().filter(|line| !line.contains(" INFO ") && !line.contains(" WARN "));
        assert!(said.count() <= 2, "{value}: {message}");
    }
    // What we never do cannot harm: a text as long as all memory, a window that never moves on.
    let padding = json!({
        "strategy": { "Fixed": 1_000_000_000_000_000u64 }, "direction": "Right", "pad_token": "[PAD]",
        "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0,
    });
    let truncation = json!({
        "max_length": 2, "stride": 2, "strategy": "LongestFirst", "direction": "Right",
    });
    let folder = foreign();
    edit_json(&folder.path().join("tokenizer.json"), |file| {
        file["padding"] = padding;
        file["truncation"] = truncation;
    });
    let home = tempfile::tempdir().unwrap();
    assert!(command(folder.path(), home.path(), &["--check"]).status().unwrap().success());
    let folder = foreign();
    edit_json(&folder.path().join("tokenizer.json"), |file| {
        file["model"]["vocab"]["beyond"] = Value::from(1_000_000);
    });
    assert!(refused(folder.path()).contains("1000001 tokens"));
    let folder = foreign();
    edit(&folder.path().join("tokenizer.json"), |bytes| bytes.truncate(bytes.len() / 2));
    assert!(refused(folder.path()).contains("tokenizer.json"));
}

#[test]
fn a_file_that_is_too_large_is_not_even_read() {
    for (name, bytes) in [
        ("tokenizer.json", (64 << 20) + 1),
        ("config.json", (16 << 20) + 1),
        ("model.safetensors", 1 << 40),
        ("bayes/manifest.json", 1 << 40),
    ] {
        let folder = model_copy();
        // Its end is a hole: nothing is written, and reading it would take minutes.
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join(name)).unwrap();
        file.set_len(bytes).unwrap();
        let began = std::time::Instant::now();
        let message = refused(folder.path());
        assert!(message.contains(name) && message.contains("bytes"), "{message}");
        assert!(began.elapsed() < super::server::PATIENCE / 4, "{name}: {:?}", began.elapsed());
    }
}

#[test]
fn a_link_that_leads_out_of_the_folder_is_not_followed() {
    let outside = model_copy();
    for name in ["config.json", "tokenizer.json", "bayes/posterior.safetensors"] {
        let folder = model_copy();
        let path = folder.path().join(name);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(outside.path().join(name), &path).unwrap();
        let message = refused(folder.path());
        assert!(message.contains(name) && message.contains("outside"), "{message}");
    }
    // A device would give bytes for ever.
    let folder = model_copy();
    let path = folder.path().join("tokenizer.json");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert!(refused(folder.path()).contains("tokenizer.json"));
    // Within the folder, or within the cache of a hub, a link is as good as the file.
    let cache = tempfile::tempdir().unwrap();
    let snapshot = cache.path().join("snapshots/0123");
    copy_folder(outside.path(), &snapshot);
    std::fs::create_dir(cache.path().join("blobs")).unwrap();
    std::fs::rename(snapshot.join("config.json"), cache.path().join("blobs/abc")).unwrap();
    std::os::unix::fs::symlink("../../blobs/abc", snapshot.join("config.json")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let checked = command(&snapshot, home.path(), &["--check"]).status().unwrap();
    assert!(checked.success());
}

#[test]
fn a_manifest_names_no_files_outside_its_folder() {
    for name in ["../outside", "/etc/hostname", "bayes/../../outside"] {
        let folder = model_copy();
        edit_json(&folder.path().join("bayes/manifest.json"), |manifest| {
            manifest.as_object_mut().unwrap().shift_remove("sha256");
            manifest["files"][name] = Value::from("00");
        });
        let message = refused(folder.path());
        assert!(message.contains("manifest.json") && message.contains(name), "{message}");
    }
}
