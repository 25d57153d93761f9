"""Reads the event files of a run with TensorBoard's own reader.

    pip install tensorboard
    bayes train --set train.histogram_steps=50
    python tests/python/check_tensorboard.py runs/DAY_reviews

The run may have been stopped and resumed: every point must be there once.
"""

import json
import struct
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

run = Path(sys.argv[1])
events = EventAccumulator(str(run), size_guidance={"scalars": 0, "histograms": 0, "images": 0})
events.Reload()
tags = events.Tags()

scalars = {tag: events.Scalars(tag) for tag in tags["scalars"]}
for tag in [
    "Loss/train",
    "Learning_Rate",
    "Epoch",
    "Gradient_Norm/global",
    "Throughput/tokens_per_second",
    "Memory/peak_mb",
    *(f"Validation/{name}" for name in ["loss", "accuracy", "f1", "nll", "ece"]),
    "Attention_Entropy/Layer_0",
    "Hidden_Mean/Layer_0",
    "Hidden_Std/Layer_0",
    "Gradient_Norm/classifier.weight",
    "final_loss",
    "final_accuracy",
]:
    assert tag in scalars, f"{tag} is missing"
for tag, points in scalars.items():
    steps = [point.step for point in points]
    assert steps == sorted(set(steps)), f"{tag}: points are missing or double: {steps}"

# The values are those of metrics.jsonl, as f32.
lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
f32 = lambda value: struct.unpack("f", struct.pack("f", value))[0]
for key, tag in [
    ("loss", "Loss/train"),
    ("learning_rate", "Learning_Rate"),
    ("epoch", "Epoch"),
    ("gradient_norm", "Gradient_Norm/global"),
]:
    expected = [(line["step"], f32(line[key])) for line in lines if "loss" in line]
    assert [(p.step, p.value) for p in scalars[tag]] == expected, tag
for key, tag in [("nll", "Validation/nll"), ("accuracy", "Validation/accuracy")]:
    plain = [line for line in lines if "validation" in line and not line["averaged"]]
    expected = [(line["step"], f32(line["validation"][key])) for line in plain]
    assert [(p.step, p.value) for p in scalars[tag]] == expected, tag

for tag in ["Weights/classifier.weight", "Gradients/classifier.weight", "Predictions/Confidence"]:
    histogram = events.Histograms(tag)[-1].histogram_value
    assert sum(histogram.bucket) == histogram.num > 0, tag
    assert histogram.min <= histogram.bucket_limit[-1] == histogram.max, tag
for tag in ["Attention/Layer_0", "Calibration/reliability_diagram"]:
    image = events.Images(tag)[-1]
    assert image.encoded_image_string.startswith(b"\x89PNG") and image.width > 0, tag

(text,) = [events.Tensors(tag) for tag in tags["tensors"] if tag == "config"]
assert "learning_rate" in text[0].tensor_proto.string_val[0].decode()

metadata = lambda tag: events.SummaryMetadata(tag).plugin_data
assert metadata("config").plugin_name == "text"
assert metadata("_hparams_/experiment").plugin_name == "hparams"
parse = lambda tag: plugin_data_pb2.HParamsPluginData.FromString(metadata(tag).content)
start = parse("_hparams_/session_start_info").session_start_info
assert start.hparams["lr"].number_value > 0 and start.hparams["num_layers"].number_value >= 1
experiment = parse("_hparams_/experiment").experiment
judges = [metric.name.tag for metric in experiment.metric_infos]
assert judges == ["final_loss", "final_accuracy"] and all(tag in scalars for tag in judges)
assert parse("_hparams_/session_end_info").session_end_info.status == 1

graph = events.Graph()
names = {node.name for node in graph.node}
assert "head/classifier" in names and all(set(node.input) <= names for node in graph.node)

counts = {kind: len(names) for kind, names in tags.items() if isinstance(names, list)}
print(f"{run}: {counts}, graph of {len(names)} nodes: all as documented")
