//! Model folders of ours that are damaged or made to harm, with hashes that are right.

use std::time::Instant;

use serde_json::{Value, json};

use super::folder::{Foreign, Own, edit_json, tensor};
use super::home::text;

#[test]
fn numbers_of_the_manifest_are_checked_against_the_encoder() {
    for (path, value, words) in [
        ("/preprocessing/max_length", json!(100), "32 positions"),
        ("/preprocessing/max_length", json!(1_i64 << 40), "32 positions"),
        ("/preprocessing/max_length", json!(2), "no room"),
        ("/preprocessing/max_length", json!(0), "no room"),
        ("/labels", json!(["a", "a"]), "two classes are called `a`"),
        ("/labels", json!(["a".repeat(70_000), "b"]), "70000 characters"),
        ("/labels", json!(["a".repeat(1 << 20), "b"]), "characters"),
        ("/labels", json!(["a", ""]), "no name"),
        ("/labels", json!(["a", "b", "c"]), "differ from those of `id2label`"),
        ("/labels", json!(["a"]), "differ from those of `id2label`"),
        ("/labels", json!([]), "differ from those of `id2label`"),
        ("/name", json!("x".repeat(1 << 20)), "`name`"),
        ("/files/bayes~1posterior.safetensors", Value::Null, "damaged"),
        ("/schema", json!(9), "schema 9"),
        (
            "/task",
            json!("multi_label"),
            "`task` is `multi_label`; this version of bayes knows only",
        ),
        ("/task", json!(["single_label"]), "knows only `single_label`"),
        ("/task", json!("x".repeat(1 << 20)), "knows only `single_label`"),
    ] {
        let folder = Own::new();
        edit_json(&folder.path("bayes/manifest.json"), |manifest| {
            *manifest.pointer_mut(path).unwrap() = value.clone();
        });
        let message = folder.refused();
        assert!(message.contains(words) && message.len() < 800, "{path}: {message}");
    }
}

#[test]
fn a_folder_of_a_version_without_tasks_is_answered_as_before() {
    let folder = Own::new();
    let ask = || {
        let output =
            folder.0.run(&["predict", "--model", "m", "--json", "please look at my invoice"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let before = ask();
    edit_json(&folder.path("bayes/manifest.json"), |manifest| {
        assert_eq!(manifest["task"], "single_label");
        manifest.as_object_mut().unwrap().shift_remove("task");
    });
    assert_eq!(ask(), before);
}

#[test]
fn a_folder_without_its_manifest_or_a_hash_in_it_is_refused() {
    let folder = Own::new();
    std::fs::remove_file(folder.path("bayes/manifest.json")).unwrap();
    let message = folder.refused();
    assert!(message.contains("manifest.json") && message.contains("restore"), "{message}");
    // Only one of the other files is left.
    std::fs::remove_file(folder.path("bayes/posterior.safetensors")).unwrap();
    assert!(folder.refused().contains("restore"));
    // All of it is gone: answered as a stranger's, and said.
    std::fs::remove_dir_all(folder.path("bayes")).unwrap();
    let output = folder.0.run(&["predict", "--model", "m", "please look at my invoice"]);
    assert!(output.status.success());
    let message = text(&output.stderr);
    assert!(message.contains("posterior") && message.contains("not used"), "{message}");
    for name in
        ["config.json", "model.safetensors", "tokenizer.json", "bayes/posterior.safetensors"]
    {
        let folder = Own::new();
        edit_json(&folder.path("bayes/manifest.json"), |manifest| {
            manifest["files"].as_object_mut().unwrap().shift_remove(name);
        });
        assert!(folder.refused().contains(&format!("no sha256 of `{name}`")), "{name}");
    }
}

#[test]
fn scales_that_no_fit_gives_are_refused_and_covariances_that_overflow_are_no_answer() {
    for (name, value) in
        [("scale", 1e308), ("scale", -1.0), ("temperature", 1e-300), ("temperature", 1e300)]
    {
        let folder = Own::new();
        folder.edit("bayes/posterior.safetensors", |bytes| {
            tensor(bytes, name).copy_from_slice(&f64::to_le_bytes(value));
        });
        let message = folder.refused();
        assert!(message.contains(&format!("`{name}`")), "{message}");
    }
    for value in [3e38_f32, 1e30, 1e19] {
        let folder = Own::new();
        folder.edit("bayes/posterior.safetensors", |bytes| {
            let own = tensor(bytes, "difference.root");
            own.chunks_exact_mut(4).for_each(|four| four.copy_from_slice(&value.to_le_bytes()));
        });
        let output =
            folder.0.run(&["predict", "--json", "--model", "m", "please look at my invoice"]);
        let (message, out) = (text(&output.stderr), text(&output.stdout));
        match output.status.code() {
            Some(2) => assert!(message.contains("not a number"), "{message}"),
            Some(0) => assert!(!out.contains("null,\"prob") && !out.contains("NaN"), "{out}"),
            other => panic!("{other:?}: {message}"),
        }
    }
}

#[test]
fn weights_that_overflow_are_no_answer() {
    for name in
        ["classifier.weight", "bert.embeddings.word_embeddings.weight", "bert.pooler.dense.weight"]
    {
        let folder = Own::new();
        folder.edit("model.safetensors", |bytes| {
            let own = tensor(bytes, name);
            own.chunks_exact_mut(4).enumerate().for_each(|(place, four)| {
                let value = if place % 2 == 0 { 3e38_f32 } else { -3e38 };
                four.copy_from_slice(&value.to_le_bytes());
            });
        });
        for arguments in [
            &["predict", "--model", "m", "please look at my invoice"][..],
            &["predict", "--json", "--model", "m", "please look at my invoice"],
        ] {
            let output = folder.0.run(arguments);
            let (message, out) = (text(&output.stderr), text(&output.stdout));
            assert!(!out.contains("NaN") && !out.contains("\"confidence\":null"), "{name}: {out}");
            let said = output.status.code() == Some(2) && message.contains("not a number");
            assert!(said || output.status.success(), "{name}: {message}");
            assert!(said || name != "classifier.weight", "{name}: {out}");
        }
    }
}

#[test]
fn weights_larger_than_their_config_are_not_read() {
    let began = Instant::now();
    let folder = Foreign::new();
    // A hole that no disk has behind the last tensor.
    let file = std::fs::OpenOptions::new().write(true).open(folder.path("model.safetensors"));
    file.unwrap().set_len(20 << 30).unwrap();
    assert!(folder.refused().contains("follow"), "the header says otherwise");
    // A header that says it is a tensor.
    let folder = Foreign::new();
    let path = folder.path("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut value: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let (start, size) = ((bytes.len() - 8 - header) as u64, 20_u64 << 30);
    value["more"] =
        json!({ "dtype": "F32", "shape": [size / 4], "data_offsets": [start, start + size] });
    let text = value.to_string();
    let body = bytes.split_off(8 + header);
    let whole = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &body].concat();
    let length = whole.len() as u64 + size;
    std::fs::write(&path, whole).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
    let message = folder.refused();
    assert!(message.contains("do not belong together"), "{message}");
    // A hash that is wrong is no reason to read twenty gigabytes either.
    let folder = Own::new();
    let file = std::fs::OpenOptions::new().write(true).open(folder.path("model.safetensors"));
    file.unwrap().set_len(8 << 30).unwrap();
    let message = folder.0.refused(&["predict", "--model", "m", "a"]);
    assert!(message.contains("model.safetensors"), "{message}");
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn a_tokenizer_that_makes_much_of_little_is_refused() {
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 8] = [
        (
            |file| file["model"]["max_input_chars_per_word"] = json!(1_000_000_000),
            "max_input_chars",
        ),
        (|file| file["model"]["continuing_subword_prefix"] = "#".repeat(1 << 20).into(), "prefix"),
        (
            |file| {
                file["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([u32::MAX - 1]);
            },
            "4294967294",
        ),
        (
            |file| file["post_processor"]["special_tokens"]["[CLS]"]["ids"] = json!([99_999]),
            "100000 tokens",
        ),
        (
            |file| {
                let token = |id: usize| {
                    json!({ "id": 99 + id, "content": format!("t{id}"),
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                    "special": true })
                };
                file["added_tokens"] = (0..100_000).map(token).collect::<Vec<_>>().into();
            },
            "added_tokens",
        ),
        (
            |file| {
                let rule = |from: &str, to: &str| {
                    json!({ "type": "Replace",
                    "pattern": { "String": from }, "content": to.repeat(1000) })
                };
                file["normalizer"] =
                    json!({ "type": "Sequence", "normalizers": [rule("a", "b"), rule("b", "c")] });
            },
            "may turn one letter into",
        ),
        (
            |file| {
                let special = json!({ "SpecialToken": { "id": "[CLS]", "type_id": 0 } });
                file["post_processor"]["single"] = vec![special; 100_000].into();
            },
            "parts",
        ),
        (
            |file| {
                file["pre_tokenizer"] = json!({ "type": "Split", "pattern": { "Regex": "(a+)+$" },
                    "behavior": "Isolated", "invert": false });
            },
            "regular expression",
        ),
    ];
    for (change, words) in changes {
        let folder = Own::new();
        folder.edit_json("tokenizer.json", change);
        let message = folder.refused();
        assert!(message.contains(words) && message.len() < 800, "{words}: {message}");
    }
}

#[test]
fn a_folder_of_ours_follows_its_tokenizer_to_the_letter() {
    // What tokenizer_config.json says is for other tools: it has no hash.
    let folder = Own::new();
    let ask = || folder.0.done(&["predict", "--json", "--model", "m", "Please LOOK at my invoice"]);
    let before = ask();
    edit_json(&folder.path("tokenizer_config.json"), |config| {
        config["tokenizer_class"] = "BertTokenizer".into();
        config["do_lower_case"] = false.into();
        config["model_max_length"] = 5.into();
    });
    assert_eq!(ask(), before);
}

#[test]
fn a_file_that_is_not_the_one_that_was_saved_is_refused() {
    for name in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "bayes/posterior.safetensors",
        "bayes/calibration.safetensors",
    ] {
        let folder = Own::new();
        // White space behind JSON, and a name in the header, change nothing else.
        let mut bytes = std::fs::read(folder.path(name)).unwrap();
        match bytes.windows(2).position(|two| two == b"pt") {
            Some(place) if name.ends_with("safetensors") => bytes[place] = b'P',
            _ => bytes.push(b'\n'),
        }
        std::fs::write(folder.path(name), bytes).unwrap();
        let message = folder.refused();
        assert!(message.contains(name) && message.contains("SHA-256 differs"), "{name}: {message}");
    }
}

#[test]
fn a_name_in_the_manifest_is_no_path_to_follow() {
    for name in ["../secret", "/etc/hostname", "bayes/other"] {
        let folder = Own::new();
        folder.0.write("secret", "x");
        edit_json(&folder.path("bayes/manifest.json"), |manifest| {
            manifest["files"][name] = "0".repeat(64).into();
        });
        let message = folder.refused();
        assert!(message.contains(name) && message.contains("not a model file"), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_of_the_folder_is_refused_before_it_is_opened() {
    use std::os::unix::fs::symlink;
    for name in ["config.json", "tokenizer.json", "model.safetensors", "bayes/manifest.json"] {
        // A link out of the folder, to what would be the right file.
        let folder = Own::new();
        let (inside, outside) = (folder.path(name), folder.0.path("elsewhere"));
        std::fs::rename(&inside, &outside).unwrap();
        symlink(&outside, &inside).unwrap();
        assert!(folder.refused().contains("leads outside its folder"), "{name}");
        // A link inside of it is one.
        std::fs::remove_file(&inside).unwrap();
        std::fs::rename(&outside, folder.path("own")).unwrap();
        symlink(folder.path("own"), &inside).unwrap();
        folder.0.done(&["predict", "--model", "m", "please look at my invoice"]);
        // A folder, and a pipe, which would wait for its writer.
        std::fs::remove_file(&inside).unwrap();
        std::fs::create_dir(&inside).unwrap();
        assert!(folder.refused().contains("is not a file"), "{name}");
        std::fs::remove_dir(&inside).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&inside).status().unwrap().success());
        assert!(folder.refused().contains("is not a file"), "{name}");
    }
    for (name, bytes) in [("config.json", 17_u64 << 20), ("model.safetensors", 65 << 30)] {
        let folder = Own::new();
        let file = std::fs::OpenOptions::new().write(true).open(folder.path(name)).unwrap();
        file.set_len(bytes).unwrap();
        let message = folder.refused();
        assert!(message.contains("are read"), "{name}: {message}");
    }
}
