//! The device engine on the CPU, through the binary: `--device twin`.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "these tests train on the generated data")]
mod home;

use std::fs;

use home::Home;
use serde_json::Value;

const RUN: [&str; 21] = [
    "train",
    "--set",
    "model.hidden_size=16",
    "--set",
    "model.num_hidden_layers=2",
    "--set",
    "model.num_attention_heads=2",
    "--set",
    "model.intermediate_size=32",
    "--set",
    "data.train_limit=480",
    "--set",
    "train.per_device_train_batch_size=8",
    "--set",
    "train.gradient_accumulation_steps=2",
    "--set",
    "train.ema_decay=0.9",
    "--set",
    "train.max_steps=24",
    "--set",
    "train.save_steps=8",
];

fn trained(device: &str) -> Home {
    let home = Home::new();
    home.done(&[&RUN[..], &["--device", device]].concat());
    home
}

/// Class probabilities of a few texts.
fn predicted(home: &Home, device: &str) -> Vec<f64> {
    let texts = ["the film was good and warm", "a slow plot", "neither here nor there, and long"];
    let model = ["predict", "--json", "--device", device, "--model", "checkpoints/reviews/model"];
    let lines = home.done(&[&model[..], &texts].concat());
    let all = lines.lines().flat_map(|line| {
        let object: Value = serde_json::from_str(line).unwrap();
        let Value::Object(probabilities) = object["probabilities"].clone() else {
            panic!("{object} has no probabilities")
        };
        probabilities.into_iter().map(|(_, value)| value.as_f64().unwrap()).collect::<Vec<_>>()
    });
    all.collect()
}

#[test]
fn a_model_trained_on_the_twin_predicts_the_same_there_and_on_the_cpu() {
    let home = trained("twin");
    let [cpu, twin] = ["cpu", "twin"].map(|device| predicted(&home, device));
    assert!(cpu.len() >= 6, "{cpu:?}");
    for (cpu, twin) in cpu.iter().zip(&twin) {
        assert!((cpu - twin).abs() < 1e-5, "{cpu} {twin}");
    }
    // In bf16 it says nearly the same, and there is no int8.
    let at = |precision: &str| {
        let model = ["--model", "checkpoints/reviews/model", "--precision", precision];
        let text = ["predict", "--json", "--device", "twin", "the film was good and warm"];
        home.run(&[&text[..], &model].concat())
    };
    let confidence = |precision: &str| {
        let object: Value = serde_json::from_slice(&at(precision).stdout).unwrap();
        object["confidence"].as_f64().unwrap()
    };
    let apart = (confidence("f32") - confidence("bf16")).abs();
    assert!(apart > 0.0 && apart < 1e-2, "{apart}");
    assert_eq!(at("int8").status.code(), Some(2));
    // And what was trained on the CPU is the same model within the rounding of its steps.
    let other = trained("cpu");
    for (cpu, twin) in predicted(&other, "cpu").iter().zip(&twin) {
        assert!((cpu - twin).abs() < 1e-2, "{cpu} {twin}");
    }
}

/// The checkpoint of the middle in the place of the end.
#[test]
fn a_run_on_the_twin_that_lost_its_end_comes_to_the_same_bytes() {
    let home = trained("twin");
    let results = |home: &Home| {
        let read = |name: &str| fs::read(home.path("checkpoints/reviews").join(name)).unwrap();
        [read("model/model.safetensors"), read("latest/optimizer.safetensors")]
    };
    let whole = results(&home);
    let lose_end = || {
        let mut lost = 0;
        for entry in fs::read_dir(home.path("checkpoints/reviews")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.ends_with("_step_24") || name == "model" {
                fs::remove_dir_all(path).unwrap();
                lost += 1;
            }
        }
        assert_eq!(lost, 2);
    };
    // On another device the bytes would be others, which is said.
    for (device, warned) in [("twin", false), ("cpu", true)] {
        lose_end();
        let ran = home.run(&[&RUN[..], &["--device", device]].concat());
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{told}");
        assert_eq!(results(&home) == whole, !warned, "{device}");
        assert_eq!(told.contains("begun on the device twin and goes on on cpu"), warned, "{told}");
    }
}
