//! The event files of a run, record by record. `tests/python/check_tensorboard.py` reads the same with
//! TensorBoard itself.

#![expect(clippy::unwrap_used, reason = "a test fails by panic")]

#[expect(dead_code, reason = "one run is enough here")]
mod home;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use home::Home;
use protobuf::Message;
use tensorboard_proto::event::{Event, SessionLog_SessionStatus};
use tensorboard_proto::graph::GraphDef;
use tensorboard_proto::plugin_hparams::HParamsPluginData;
use tensorboard_rs::masked_crc32c::masked_crc32c;

/// All events of a file; every check sum is that of its bytes.
fn events(path: &PathBuf) -> Vec<Event> {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let sum = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let data = &rest[12..12 + length];
        assert_eq!(sum(8), masked_crc32c(&rest[..8]));
        assert_eq!(sum(12 + length), masked_crc32c(data));
        events.push(Message::parse_from_bytes(data).unwrap());
        rest = &rest[16 + length..];
    }
    events
}

fn event_files(home: &Home) -> Vec<PathBuf> {
    let files = home.files().into_iter().filter(|file| file.contains("tfevents"));
    files.map(|file| home.path(&file)).collect()
}

#[test]
fn a_run_writes_every_tag_under_its_name() {
    let home = Home::new();
    home.train_tiny(&["--set", "train.histogram_steps=7"]);
    let files = event_files(&home);
    assert_eq!(files.len(), 1);
    let name = files[0].file_name().unwrap().to_str().unwrap();
    let parts: Vec<&str> = name.split('.').collect();
    assert_eq!(
        (&parts[..3], parts[3].len(), parts[4]),
        (&["events", "out", "tfevents"][..], 10, "bayes")
    );

    let events = events(&files[0]);
    assert_eq!(events[0].get_file_version(), "brain.Event:2");
    assert_eq!(events[1].get_session_log().get_status(), SessionLog_SessionStatus::START);
    let mut tags: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for event in &events {
        for value in event.get_summary().get_value() {
            tags.entry(value.get_tag().to_owned()).or_default().push(event.get_step());
            if value.get_tag() == "_hparams_/session_start_info" {
                let content = value.get_metadata().get_plugin_data().get_content();
                let data: HParamsPluginData = Message::parse_from_bytes(content).unwrap();
                let parameters = data.get_session_start_info().get_hparams();
                assert_eq!(parameters["lr"].get_number_value(), 5e-3);
                assert_eq!(parameters["batch_size"].get_number_value(), 8.0);
                assert_eq!(parameters["num_layers"].get_number_value(), 1.0);
            }
        }
    }
    let graph = events.iter().map(Event::get_graph_def).find(|graph| !graph.is_empty()).unwrap();
    let graph: GraphDef = Message::parse_from_bytes(graph).unwrap();
    let names: BTreeSet<&str> = graph.get_node().iter().map(|node| node.get_name()).collect();
    assert!(names.contains("layer_0/attention/softmax") && names.contains("head/classifier"));
    let known = |input: &String| names.contains(input.as_str());
    assert!(graph.get_node().iter().all(|node| node.get_input().iter().all(known)));
    assert!(graph.compute_size() > 0);

    // 168 training rows: 21 steps an epoch, an evaluation every half epoch.
    let logged = vec![1, 10, 20, 30, 40];
    for tag in [
        "Loss/train",
        "Learning_Rate",
        "Epoch",
        "Gradient_Norm/global",
        "Throughput/tokens_per_second",
        "Memory/peak_mb",
    ] {
        assert_eq!(tags[tag], logged, "{tag}");
    }
    for tag in ["loss", "accuracy", "f1", "nll", "calibrated_nll", "ece"] {
        let steps = &tags[&format!("Validation/{tag}")];
        assert_eq!(*steps, [11, 22, 33, 42], "{tag}");
    }
    let inspected = vec![1, 7, 14, 21, 28, 35, 42];
    let query = "bert.encoder.layer.0.attention.self.query.weight";
    for tag in [
        format!("Gradients/{query}"),
        format!("Gradient_Norm/{query}"),
        format!("Weights/{query}"),
        "Weights/classifier.bias".to_owned(),
        "Predictions/Confidence".to_owned(),
        "Attention_Entropy/Layer_0".to_owned(),
        "Hidden_Mean/Layer_0".to_owned(),
        "Hidden_Std/Layer_0".to_owned(),
        "Attention/Layer_0".to_owned(),
    ] {
        assert_eq!(tags[&tag], inspected, "{tag}");
    }
    for tag in ["config", "_hparams_/experiment", "_hparams_/session_start_info"] {
        assert_eq!(tags[tag], [0], "{tag}");
    }
    for tag in [
        "final_loss",
        "final_accuracy",
        "Calibration/reliability_diagram",
        "_hparams_/session_end_info",
    ] {
        assert_eq!(tags[tag], [42], "{tag}");
    }
    let families = ["Gradients/", "Gradient_Norm/", "Weights/"];
    let single = tags.keys().filter(|tag| !families.iter().any(|family| tag.starts_with(family)));
    assert_eq!(single.count(), 5 + 6 + 1 + 4 + 3 + 4, "no tag is new: {:?}", tags.keys());
}

#[test]
fn without_tensorboard_there_are_no_event_files() {
    let home = Home::new();
    home.train_tiny(&["--set", "train.tensorboard=false"]);
    assert!(event_files(&home).is_empty());
}
