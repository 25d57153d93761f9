//! Models whose files are not whole and can still be read: answered with a word.

use serde_json::json;

use super::folder::Foreign;
use super::home::text;

/// What is said of a folder while it is answered from.
fn told(folder: &Foreign) -> String {
    let output = folder.0.run(&["predict", "--model", "m", "a film"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

/// The beginning and the end of a tensor in `model.safetensors`.
fn place(folder: &Foreign, tensor: &str) -> (Vec<u8>, std::ops::Range<usize>) {
    let bytes = std::fs::read(folder.path("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let [start, end] =
        [0, 1].map(|side| header[tensor]["data_offsets"][side].as_u64().unwrap() as usize);
    (bytes, 8 + length + start..8 + length + end)
}

#[test]
fn tensors_that_are_zeros_are_told() {
    let mine = Foreign::new();
    assert_eq!(told(&mine), "");
    for (tensor, expected) in [
        ("classifier.weight", true),
        ("bert.encoder.layer.0.attention.output.LayerNorm.weight", true),
        ("bert.encoder.layer.0.intermediate.dense.weight", true),
        ("bert.encoder.layer.0.intermediate.dense.bias", false),
        ("bert.embeddings.token_type_embeddings.weight", false),
        ("classifier.bias", false),
    ] {
        let folder = Foreign::new();
        let (mut bytes, place) = place(&folder, tensor);
        bytes[place].fill(0);
        std::fs::write(folder.path("model.safetensors"), bytes).unwrap();
        let told = told(&folder);
        let said = told.contains(&format!("`{tensor}` is zero")) && told.contains("looks damaged");
        assert_eq!(said, expected, "{tensor}: {told}");
        assert!(expected || told.is_empty(), "{told}");
    }
    // The end of the file, and several tensors of it.
    let folder = Foreign::new();
    let (mut bytes, _) = place(&folder, "classifier.weight");
    let half = bytes.len() / 2;
    bytes[half..].fill(0);
    std::fs::write(folder.path("model.safetensors"), bytes).unwrap();
    assert!(told(&folder).contains("more of its tensors are zero"), "{}", told(&folder));
}

#[test]
fn an_adapter_that_changes_less_than_its_config_says_is_told() {
    let forms = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms");
    let folder = Foreign::new();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(forms.join("adapter").join(name), folder.path(name)).unwrap();
    }
    std::fs::copy(forms.join("config.json"), folder.path("config.json")).unwrap();
    std::fs::copy(forms.join("plain/model.safetensors"), folder.path("model.safetensors")).unwrap();
    let plain = told(&folder);
    assert!(!plain.contains("no weights for") && !plain.contains("known to have"), "{plain}");
    folder.edit("adapter_config.json", |config| {
        config["target_modules"] = json!(["query", "key", "value"]);
        config["use_something"] = json!(true);
        config["no_such_thing"] = json!(null);
    });
    let told = told(&folder);
    for words in [
        "has no weights for 2 of the modules that its config names",
        "`bert.encoder.layer.0.attention.self.key` and others",
        "known to have: `use_something`; it is left out",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}
