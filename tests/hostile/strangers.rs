//! Models as other tools write them: answered as they mean, or refused with what is not understood.

use serde_json::{Value, json};

use super::folder::Foreign;
use super::home::{Home, text};

fn probabilities(answer: &Value) -> Vec<f64> {
    answer["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).collect()
}

/// The same answer, to the last figure.
fn same(a: &Value, b: &Value) {
    assert_eq!(a["num_tokens"], b["num_tokens"]);
    assert_eq!(probabilities(a), probabilities(b));
}

#[test]
fn a_head_that_is_no_classifier_is_refused_by_its_kind() {
    for kind in ["multi_label_classification", "regression", "something_new"] {
        let folder = Foreign::new();
        folder.edit("config.json", |config| config["problem_type"] = kind.into());
        let message = folder.refused();
        assert!(message.contains(kind) && message.contains("config.json"), "{message}");
    }
    let folder = Foreign::new();
    folder.edit("config.json", |config| {
        config["id2label"] = json!({ "0": "score" });
        config["label2id"] = Value::Null;
    });
    assert!(folder.refused().contains("regression"));
    // Said to be one, and not said at all, it is answered.
    for kind in [json!("single_label_classification"), Value::Null] {
        let folder = Foreign::new();
        folder.edit("config.json", |config| config["problem_type"] = kind);
        assert_eq!(probabilities(&folder.answer("a film")).len(), 3);
    }
}

#[test]
fn a_head_of_another_task_is_no_classifier_whatever_its_tensors_are_called() {
    for class in [
        "BertForTokenClassification",
        "BertForQuestionAnswering",
        "BertForMultipleChoice",
        "BertForNextSentencePrediction",
        "BertForMaskedLM",
        "BertLMHeadModel",
    ] {
        let folder = Foreign::new();
        for architectures in [json!([class]), json!(class), json!(["BertModel", class])] {
            folder.edit("config.json", |config| config["architectures"] = architectures);
            let message = folder.refused();
            assert!(message.contains(class) && message.contains("--init"), "{message}");
        }
    }
    // A file that names no class may have the labels of a tagger.
    let folder = Foreign::new();
    folder.edit("config.json", |config| {
        config.as_object_mut().unwrap().shift_remove("architectures");
        config["id2label"] = json!({ "0": "O", "1": "B-PER", "2": "I-PER" });
        config["label2id"] = Value::Null;
    });
    let message = folder.refused();
    assert!(message.contains("`I-PER`") && message.contains("tags of words"), "{message}");
}

/// transformers goes by `model_type` as well, and runs the code only where it is told to trust it.
#[test]
fn a_network_that_may_be_another_is_read_by_its_family_and_told() {
    let plain = Foreign::new().answer("a film");
    for (key, value, words) in [
        ("architectures", json!(["MyCustomBert"]), "`MyCustomBert`, which is no class of BERT"),
        (
            "architectures",
            json!(["RobertaForSequenceClassification"]),
            "`RobertaForSequenceClassification`, which is no class of BERT",
        ),
        (
            "auto_map",
            json!({ "AutoModelForSequenceClassification": "modeling.MyBert" }),
            "`auto_map` in `config.json` names code of its own",
        ),
    ] {
        let folder = Foreign::new();
        folder.edit("config.json", |config| config[key] = value);
        let output = folder.0.run(&["predict", "--model", "m", "--json", "a film"]);
        let told = text(&output.stderr);
        assert!(told.contains(words) && told.contains("read as plain BERT"), "{told}");
        same(&plain, &serde_json::from_slice(&output.stdout).unwrap());
        // So is its encoder where a classifier is trained on it.
        let rows: String =
            (0..80).map(|row| format!("film {row},{}\n", ["a", "b"][row % 2])).collect();
        folder.0.write("rows.csv", format!("text,label\n{rows}"));
        let output = folder.0.run(&["train", "rows.csv", "--init", "m", "--dry-run"]);
        let told = text(&output.stderr);
        assert!(output.status.success() && told.contains(words), "{told}");
    }
}

#[test]
fn the_head_of_another_task_is_left_behind_with_a_note() {
    let folder = Foreign::new();
    let rows: String = (0..80).map(|row| format!("film {row},{}\n", ["a", "b"][row % 2])).collect();
    folder.0.write("rows.csv", format!("text,label\n{rows}"));
    let told = |class: &str| {
        folder.edit("config.json", |config| config["architectures"] = json!([class]));
        let output = folder.0.run(&["train", "rows.csv", "--init", "m", "--dry-run"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let said = told("BertForTokenClassification");
    assert!(said.contains("comes from a `BertForTokenClassification`"), "{said}");
    for usual in ["BertForMaskedLM", "BertModel", "BertForSequenceClassification"] {
        let said = told(usual);
        assert!(!said.contains("the head of that task"), "{usual}: {said}");
    }
}

#[test]
fn classes_are_counted_in_the_head_and_named_where_names_are_there() {
    let folder = Foreign::new();
    let named = folder.answer("a film");
    folder.edit("config.json", |config| {
        config.as_object_mut().unwrap().shift_remove("id2label");
        config["num_labels"] = 3.into();
    });
    let numbered = folder.answer("a film");
    same(&named, &numbered);
    let labels: Vec<&String> = numbered["probabilities"].as_object().unwrap().keys().collect();
    assert_eq!(labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
    for (labels, words) in [
        (json!({ "0": "a", "1": "b" }), "3 outputs, but `config.json` names 2"),
        (json!({ "0": "a", "1": "b", "2": "c", "3": "d" }), "names 4"),
        (json!({ "0": "a", "1": "b", "3": "c" }), "`3`"),
        (json!({ "0": "a", "1": "b", "2": "a" }), "two classes are called `a`"),
        (json!({ "0": "a", "1": "b", "2": "x".repeat(1 << 20) }), "characters"),
    ] {
        let folder = Foreign::new();
        folder.edit("config.json", |config| {
            config["id2label"] = labels;
            config["label2id"] = Value::Null;
        });
        let message = folder.refused();
        assert!(message.contains(words) && message.len() < 600, "{words}: {message}");
    }
    // Nothing is said of three classes: two is what transformers takes then.
    let folder = Foreign::new();
    folder.edit("config.json", |config| {
        config.as_object_mut().unwrap().shift_remove("id2label");
    });
    assert!(folder.refused().contains("3 outputs"));
}

/// transformers takes the first for the names of answers, and people train by the second.
#[test]
fn names_of_classes_that_contradict_each_other_are_refused_with_both() {
    let folder = Foreign::new();
    let before = folder.answer("a film");
    let names: Vec<&String> = before["probabilities"].as_object().unwrap().keys().collect();
    let ids = |order: [usize; 3]| -> Value {
        order.iter().zip(&names).map(|(id, name)| ((*name).clone(), json!(id))).collect()
    };
    folder.edit("config.json", |config| config["label2id"] = ids([0, 1, 2]));
    same(&before, &folder.answer("a film"));
    folder.edit("config.json", |config| config["label2id"] = ids([1, 0, 2]));
    let message = folder.refused();
    for part in ["config.json", "`label2id` contradicts `id2label`", names[0], names[1]] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let folder = Foreign::new();
    let text = std::fs::read_to_string(folder.path("config.json")).unwrap();
    let twice = text.replacen('{', "{\"id2label\": {\"0\": \"x\", \"1\": \"y\"},", 1);
    std::fs::write(folder.path("config.json"), twice).unwrap();
    assert!(folder.refused().contains("`id2label` occurs twice"));
}

#[test]
fn files_with_a_byte_order_mark_are_the_same_files() {
    let folder = Foreign::new();
    let plain = folder.answer("a film, so good!");
    for name in
        ["config.json", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json"]
    {
        let bytes = std::fs::read(folder.path(name)).unwrap();
        std::fs::write(folder.path(name), [b"\xef\xbb\xbf", &bytes[..]].concat()).unwrap();
    }
    same(&plain, &folder.answer("a film, so good!"));
}

#[test]
fn a_vocabulary_alone_gives_the_same_tokens() {
    let folder = Foreign::new();
    let sentence = "A film: so GOOD, naïve & bad!";
    let with_file = folder.answer(sentence);
    let file: Value =
        serde_json::from_slice(&std::fs::read(folder.path("tokenizer.json")).unwrap()).unwrap();
    let mut tokens: Vec<(u64, &String)> = file["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(token, id)| (id.as_u64().unwrap(), token))
        .collect();
    tokens.sort();
    for (end, mark) in [("\n", ""), ("\r\n", ""), ("\n", "\u{feff}")] {
        let lines: String = tokens.iter().map(|(_, token)| format!("{token}{end}")).collect();
        std::fs::write(folder.path("vocab.txt"), format!("{mark}{lines}")).unwrap();
        let _ = std::fs::remove_file(folder.path("tokenizer.json"));
        same(&with_file, &folder.answer(sentence));
    }
    std::fs::write(folder.path("vocab.txt"), "[PAD]\n[UNK]\na\n").unwrap();
    let message = folder.refused();
    assert!(message.contains("vocab.txt") && message.contains("`[CLS]`"), "{message}");
    std::fs::remove_file(folder.path("vocab.txt")).unwrap();
    let message = folder.refused();
    assert!(message.contains("tokenizer.json") && message.contains("vocab.txt"), "{message}");
}

#[test]
fn weights_in_another_form_are_named_with_what_to_do() {
    for (file, words) in [
        ("pytorch_model.bin", "no file that torch writes"),
        ("model.safetensors.index.json", "index.json"),
        ("tf_model.h5", "TensorFlow"),
        ("flax_model.msgpack", "Flax"),
        ("model.fp16.safetensors", "pytorch_model.bin"),
    ] {
        let folder = Foreign::new();
        std::fs::remove_file(folder.path("model.safetensors")).unwrap();
        std::fs::write(folder.path(file), "x").unwrap();
        let message = folder.refused();
        assert!(message.contains(words), "{file}: {message}");
    }
}

#[test]
fn what_git_has_in_the_place_of_a_large_file_is_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    for file in ["model.safetensors", "pytorch_model.bin"] {
        let folder = Foreign::new();
        std::fs::remove_file(folder.path("model.safetensors")).unwrap();
        std::fs::write(folder.path(file), pointer).unwrap();
        assert!(folder.refused().contains("git lfs pull"), "{}", folder.refused());
    }
}

/// A folder with a form of [`weight_files`](../weight_files/main.rs), and a tokenizer of the same size.
fn of_form(form: &str) -> Foreign {
    let folder = Foreign::new();
    std::fs::remove_file(folder.path("model.safetensors")).unwrap();
    let forms = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms");
    std::fs::copy(forms.join("config.json"), folder.path("config.json")).unwrap();
    for entry in std::fs::read_dir(forms.join(form)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path(path.file_name().unwrap().to_str().unwrap())).unwrap();
    }
    folder
}

#[test]
fn every_form_of_weights_is_answered_and_fitted_and_a_pickle_is_said_in_model_and_card() {
    let plain = of_form("plain").answer("a film");
    for form in ["sharded", "zip", "legacy", "sharded_bin"] {
        let folder = of_form(form);
        same(&plain, &folder.answer("a film"));
        let output = folder.0.run(&["predict", "--model", "m", "a film"]);
        let pickled = form != "sharded";
        assert_eq!(text(&output.stderr).contains("pickle"), pickled, "{form}");
        // Words of its vocabulary, in other orders.
        let word = |row: usize, place: u32| ["a", "b", "c", "d", "e"][row / 5_usize.pow(place) % 5];
        let line = |row: usize| {
            let words: Vec<&str> = (0..4).map(|place| word(row, place)).collect();
            let label = ["negative", "neutral", "positive"][row % 3];
            format!("a film {} so good,{label}\n", words.join(" "))
        };
        for (name, rows) in [("train", 0..120), ("test", 120..180)] {
            let rows = format!("text,label\n{}", rows.map(line).collect::<String>());
            folder.0.write(&format!("rows/{name}.csv"), rows);
        }
        folder.0.done(&["eval", "--model", "m", "--dataset", "rows", "--json"]);
        let fit = [
            "fit",
            "--model",
            "m",
            "--dataset",
            "rows",
            "--keep-head",
            "--output",
            "new",
            "--quiet",
        ];
        folder.0.done(&fit);
        let read = |name: &str| std::fs::read_to_string(folder.0.path("new").join(name)).unwrap();
        let manifest: Value = serde_json::from_str(&read("bayes/manifest.json")).unwrap();
        assert_eq!(manifest["weights"].is_null(), !pickled, "{form}");
        assert_eq!(read("README.md").contains("a pickle (`pytorch_model.bin`)"), pickled, "{form}");
        assert!(folder.0.path("new/model.safetensors").is_file());
        let card = folder.0.done(&["publish", "--card-only", "--model", "new"]);
        assert_eq!(card.contains("began as a pickle"), pickled, "{form}: {card}");
        let answer = folder.0.done(&["predict", "--model", "new", "--json", "a film"]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["logits"], plain["logits"], "{form}");
    }
}

/// The manifest vouches for the weights that were saved, and for no adapter.
#[test]
fn an_adapter_beside_a_model_of_ours_changes_no_answer_and_is_told() {
    let home = Home::new();
    home.train_tiny(&[]);
    let ask = || {
        let output = home.run(&["predict", "--json", "my router is broken"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let (answer, _) = ask();
    let forms =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms/adapter");
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let place = home.path("checkpoints/tickets/model").join(name);
        std::fs::copy(forms.join(name), place).unwrap();
    }
    let (with, told) = ask();
    assert_eq!(with, answer);
    assert!(told.contains("adapter_config.json"), "{told}");
}

#[test]
fn an_adapter_is_answered_from_its_folder_and_that_of_its_base() {
    let base = of_form("plain");
    let folder = Foreign::new();
    for name in std::fs::read_dir(folder.path("")).unwrap().flatten() {
        std::fs::remove_file(name.path()).unwrap();
    }
    let forms =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms/adapter");
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(forms.join(name), folder.path(name)).unwrap();
    }
    folder.edit("adapter_config.json", |config| {
        config["base_model_name_or_path"] = base.path("").to_str().unwrap().into();
    });
    let answer = folder.answer("a film");
    assert_ne!(probabilities(&answer), probabilities(&base.answer("a film")));
    let output = folder.0.run(&["predict", "--model", "m", "a film"]);
    assert!(text(&output.stderr).contains("LoRA adapter"), "{}", text(&output.stderr));
    // A text that its base cannot have seen the classes of.
    std::fs::write(base.path("config.json"), "{}").unwrap();
    assert!(folder.refused().contains("model_type"));
}

#[test]
fn tensors_that_no_part_of_the_classifier_uses_are_told() {
    let folder = Foreign::new();
    let output = folder.0.run(&["predict", "--model", "m", "a film"]);
    assert_eq!(text(&output.stderr), "");
    let path = folder.path("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let with = |names: &[&str]| {
        let one = file.tensor("classifier.bias").unwrap();
        let more = names.iter().map(|name| ((*name).to_owned(), one.clone()));
        let all = file.iter().map(|(name, view)| (name.to_owned(), view)).chain(more);
        std::fs::write(&path, safetensors::serialize(all, None).unwrap()).unwrap();
    };
    with(&[
        "bert.adapters.0.down",
        "bert.adapters.0.up",
        "cls.predictions.bias",
        "bert.embeddings.position_ids",
    ]);
    let output = folder.0.run(&["predict", "--model", "m", "a film"]);
    let told = text(&output.stderr);
    assert!(told.contains("2 tensors") && told.contains("`bert.adapters.0.down`"), "{told}");
    for (name, words) in [
        ("bert.encoder.layer.0.attention.self.query.lora_A", "factor of LoRA"),
        ("bert.encoder.layer.0.attention.self.query.qweight", "quantised"),
    ] {
        with(&[name]);
        let message = folder.refused();
        assert!(message.contains(words) && message.contains(name), "{message}");
    }
}

#[test]
fn the_length_and_the_side_that_the_tokenizer_names_are_kept() {
    let long = "a ".repeat(100);
    let folder = Foreign::new();
    assert_eq!(folder.answer(&long)["num_tokens"], 40);
    for (said, tokens) in [
        (json!(16), 16),
        (json!(40), 40),
        (json!(512), 40),
        (json!(1e30), 40),
        (json!(1_000_000_000_000_000_019_884_624_838_656_f64), 40),
        (Value::Null, 40),
    ] {
        folder.edit("tokenizer_config.json", |config| config["model_max_length"] = said.clone());
        assert_eq!(folder.answer(&long)["num_tokens"], tokens, "{said}");
    }
    for said in [json!(0), json!(-1), json!("16"), json!(2), json!(0.5), json!([])] {
        folder.edit("tokenizer_config.json", |config| config["model_max_length"] = said.clone());
        let message = folder.refused();
        assert!(message.contains("max_length"), "{said}: {message}");
    }
    folder.edit("tokenizer_config.json", |config| {
        config.as_object_mut().unwrap().shift_remove("model_max_length");
        config["max_len"] = 16.into();
    });
    assert_eq!(folder.answer(&long)["num_tokens"], 16);
    let right = folder.answer("a a a a a a a a a a a a a a b c d e f g");
    folder.edit("tokenizer_config.json", |config| config["truncation_side"] = "left".into());
    let left = folder.answer("a a a a a a a a a a a a a a b c d e f g");
    same(&left, &folder.answer("a a a a a a a a b c d e f g"));
    assert_ne!(probabilities(&left), probabilities(&right));
}

#[test]
fn a_text_reaches_another_tool_s_model_as_it_is() {
    let folder = Foreign::new();
    // Seven letters and marks that ours would take for a line break.
    let raw = folder.answer("a<br />b");
    assert_eq!(raw["num_tokens"].as_u64().unwrap(), folder.answer("a < br / > b")["num_tokens"]);
    assert_ne!(raw["num_tokens"], folder.answer("a b")["num_tokens"]);
    let output = folder.0.run(&["predict", "--model", "m", " \u{1} "]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn numbered_classes_are_not_matched_with_names() {
    let folder = Foreign::new();
    folder.edit("config.json", |config| {
        config.as_object_mut().unwrap().shift_remove("id2label");
        config["num_labels"] = 3.into();
    });
    let rows = |labels: [&str; 3]| {
        let line = |row: usize| format!("a film so good {row},{}\n", labels[row % 3]);
        format!("text,label\n{}", (0..30).map(line).collect::<String>())
    };
    folder.0.write("named/test.csv", rows(["bad", "fair", "good"]));
    let arguments = ["eval", "--model", "m", "--dataset", "named", "--json"];
    let message = folder.0.refused(&arguments);
    for part in
        ["`LABEL_0`, `LABEL_1`, `LABEL_2`", "`bad`, `fair`, `good`", "--label-map bad=LABEL_0"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    folder.0.write("numbered/test.csv", rows(["0", "1", "2"]));
    folder.0.done(&["eval", "--model", "m", "--dataset", "numbered", "--json"]);
    // Names that are numbers could be the places that others are at.
    let folder_of_stars = Foreign::new();
    folder_of_stars.edit("config.json", |config| {
        config["id2label"] = json!({ "0": "1", "1": "2", "2": "3" });
        config["label2id"] = json!({ "1": 0, "2": 1, "3": 2 });
    });
    let stars = &folder_of_stars.0;
    stars.write("two/test.csv", rows(["1", "2", "1"]));
    stars.write("three/test.csv", rows(["1", "2", "3"]));
    let told = |data: &str, more: &[&str]| {
        let eval = ["eval", "--model", "m", "--dataset", data, "--no-baseline", "--json"];
        let output = stars.run(&[&eval, more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        (text(&output.stderr), found["accuracy"]["value"].as_f64().unwrap())
    };
    let (said, as_names) = told("two", &[]);
    for part in [
        "1 is `1`, 2 is `2`; as places",
        "1 is `2`, 2 is `3`. They are read as names",
        "--label-map 1=1,2=2",
        "--label-map 1=2,2=3",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (said, confirmed) = told("two", &["--label-map", "1=1,2=2"]);
    assert!(!said.contains("as places") && confirmed == as_names, "{said}");
    let (said, _) = told("two", &["--label-map", "1=2,2=3"]);
    assert!(!said.contains("as places"), "{said}");
    let (said, _) = told("three", &[]);
    assert!(!said.contains("as places"), "{said}");
    folder.0.write("same/test.csv", rows(["LABEL_2", "LABEL_1", "LABEL_0"]));
    folder.0.done(&["eval", "--model", "m", "--dataset", "same", "--json"]);
}
