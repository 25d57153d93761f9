//! Ensembles whose networks are damaged, of other shapes, or as many as nobody has.

use std::fs;

use serde_json::json;

use super::folder::{Own, edit_json, tensor};

const MEMBER: &str = "bayes/members/1.safetensors";

#[test]
fn networks_that_do_not_belong_to_an_ensemble_are_refused() {
    let folder = Own::ensemble();
    fs::remove_file(folder.path(MEMBER)).unwrap();
    let message = folder.refused();
    assert!(message.contains(MEMBER) && message.contains("not found"), "{message}");

    // One bit.
    let folder = Own::ensemble();
    let mut bytes = fs::read(folder.path(MEMBER)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(folder.path(MEMBER), &bytes).unwrap();
    let message = folder.refused();
    assert!(message.contains(MEMBER) && message.contains("has changed"), "{message}");

    // As many numbers in another shape, cut short, and no file of tensors at all; all with hashes that are right.
    for (change, words) in [
        (
            &(|bytes: &mut Vec<u8>| {
                let text = b"\"shape\":[16,16]";
                let place = bytes.windows(text.len()).position(|window| window == text).unwrap();
                bytes[place..][..text.len()].copy_from_slice(b"\"shape\":[ 8,32]");
            }) as &dyn Fn(&mut Vec<u8>),
            "has shape [8, 32], but `config.json` requires [16, 16]",
        ),
        (&|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2), "is damaged or incomplete"),
        (&|bytes: &mut Vec<u8>| bytes.fill(255), "is damaged or incomplete"),
        (&|bytes: &mut Vec<u8>| bytes.clear(), "is damaged or incomplete"),
        (
            &|bytes: &mut Vec<u8>| {
                tensor(bytes, "classifier.weight")[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            "`classifier.weight` holds a value that is not finite",
        ),
        (
            &|bytes: &mut Vec<u8>| {
                let text = b"\"classifier.bias\"";
                let place = bytes.windows(text.len()).position(|window| window == text).unwrap();
                bytes[place..][..text.len()].copy_from_slice(b"\"classifier.bios\"");
            },
            "it has no tensor `classifier.bias`",
        ),
    ] {
        let folder = Own::ensemble();
        folder.edit(MEMBER, change);
        let message = folder.refused();
        assert!(message.contains(words) && message.contains(MEMBER), "{words}: {message}");
    }
}

#[test]
fn as_many_networks_as_nobody_has_are_refused_before_any_is_read() {
    let posterior = "bayes/posterior.safetensors";
    for (count, words) in [
        (1e9, "`members` is not 0 to"),
        (f64::INFINITY, "`members` is not 0 to"),
        (2.5, "`members` is not 0 to"),
        (-3.0, "`members` is not 0 to"),
        (1.0, "an ensemble has 2 at least"),
        (2.0, "it lists `bayes/members/2.safetensors`, but"),
        (4.0, "no sha256 of `bayes/members/3.safetensors`"),
    ] {
        let folder = Own::ensemble();
        folder.edit(posterior, |bytes| {
            tensor(bytes, "members").copy_from_slice(&f64::to_le_bytes(count));
        });
        let message = folder.refused();
        assert!(message.contains(words) && message.len() < 800, "{count}: {message}");
    }
    for name in [
        "bayes/members/../../../x.safetensors",
        "bayes/members/01.safetensors",
        "bayes/members/0.safetensors",
        "bayes/members/1000000000.safetensors",
        "bayes/members/1.safetensors/x",
    ] {
        let folder = Own::ensemble();
        edit_json(&folder.path("bayes/manifest.json"), |manifest| {
            manifest["files"][name] = json!("0".repeat(64));
        });
        let message = folder.refused();
        assert!(message.contains("is not a model file"), "{name}: {message}");
    }
    // A network that is listed with a model that has one.
    let folder = Own::new();
    edit_json(&folder.path("bayes/manifest.json"), |manifest| {
        manifest["files"][MEMBER] = json!("0".repeat(64));
    });
    assert!(folder.refused().contains("is for 1 network"));
}

#[cfg(unix)]
#[test]
fn a_network_that_lies_elsewhere_or_is_no_file_is_refused() {
    let folder = Own::ensemble();
    let elsewhere = folder.0.path("elsewhere.safetensors");
    fs::rename(folder.path(MEMBER), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path(MEMBER)).unwrap();
    assert!(folder.refused().contains("leads outside its folder"));
    fs::remove_file(folder.path(MEMBER)).unwrap();
    fs::create_dir(folder.path(MEMBER)).unwrap();
    assert!(folder.refused().contains("is not a file"));
}
