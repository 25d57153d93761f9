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
