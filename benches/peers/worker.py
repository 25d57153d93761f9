"""A peer's process: one library, which loads the model and takes the turns that the main process asks for."""

import json
import os
import statistics
import sys
import time
from pathlib import Path

# A library is imported where it is used: a process holds only what it measures.

BATCH, TRAIN_BATCH = 32, 16
LATENCY_WARMUP, LATENCY_RUNS = 10, 100
CALIBRATION_ROWS = 300
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def memory_mb(field):
    """`VmHWM` (peak) or `VmRSS` (now) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024


def load_rows(path, prefix=""):
    """Token ids of every text, and the other tensors of the dump."""
    import numpy as np
    from safetensors.numpy import load_file

    dump = load_file(path)
    ids = dump[prefix + "ids"].astype(np.int64)
    offsets = dump[prefix + "offsets"].astype(np.int64)
    return [ids[a:b] for a, b in zip(offsets, offsets[1:])], dump


def pad(rows):
    """The inputs of one batch, padded to its longest text."""
    import numpy as np

    shape = (len(rows), max(map(len, rows)))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return dict(zip(INPUTS, [ids, mask, np.zeros(shape, np.int64)]))


def load_model(folder, **options):
    import torch
    from transformers import BertForSequenceClassification

    return BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32, **options).eval()


def export(options):
    """Write the plain graph, for OpenVINO, and the fused one, for ONNX Runtime."""
    import torch
    from onnxruntime.transformers.optimizer import optimize_model

    # Written out as plain products the attention is recognised and fused; exported as `sdpa` it is not.
    model = load_model(options.model, attn_implementation="eager")

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *inputs):
            return self.model(**dict(zip(INPUTS, inputs))).logits

    # The example has padding, or tracing would leave the mask out.
    example = pad([[101, 102], [101, 2000, 102]])
    plain = Path(options.folder, "plain.onnx")
    torch.onnx.export(
        Logits(),
        tuple(torch.from_numpy(value) for value in example.values()),
        str(plain),
        input_names=INPUTS,
        output_names=["logits"],
        opset_version=17,
        dynamo=False,
        dynamic_axes={name: {0: "batch", 1: "sequence"} for name in INPUTS} | {"logits": {0: "batch"}},
    )
    config = model.config
    fused = optimize_model(
        str(plain),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,
    )
    counts = {name: n for name, n in fused.get_fused_operator_statistics().items() if n}
    if counts.get("Attention") != config.num_hidden_layers:
        sys.exit(f"the optimizer of onnxruntime did not fuse every attention layer: {counts}")
    fused.save_model_to_file(str(Path(options.folder, "fused.onnx")))
    if "onnxruntime-int8" in options.peers.split(","):
        from onnx import TensorProto
        from onnxruntime.quantization import QuantType, quantize_dynamic

        paths = [str(Path(options.folder, name)) for name in ("fused.onnx", "int8.onnx")]
        # Shapes behind the fused operators are not inferred.
        more = {"DefaultTensorType": TensorProto.FLOAT}
        quantize_dynamic(*paths, per_channel=True, weight_type=QuantType.QInt8, extra_options=more)
    return {"fused": counts}


def agree(options):
    """How far the logits of one dump are from those of another."""
    import numpy as np

    (_, one), (_, other) = load_rows(options.dump), load_rows(options.other)
    differences, same = one["logits"] - other["logits"], one["logits"].argmax(1) == other["logits"].argmax(1)
    return {"max_difference": float(np.abs(differences).max()), "same_label": float(same.mean())}


def torch_predictor(options, precision):
    import torch

    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    if precision == "int8":
        from torch.ao.quantization import quantize_dynamic

        model = quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    # Its best case: switched on for the whole process, autocast converts the weights once and not in each
    # call, but it keeps them only outside `inference_mode`.
    bf16 = precision == "bf16"
    torch.set_autocast_enabled("cpu", bf16)
    without_gradients = torch.no_grad if bf16 else torch.inference_mode

    def predict(inputs):
        with without_gradients():
            return model(**{name: torch.from_numpy(v) for name, v in inputs.items()}).logits.float().numpy()

    names = {"bf16": "bf16 autocast", "int8": "int8, dynamic"}
    return predict, {"precision": names.get(precision, precision)}


def onnxruntime_predictor(options, precision):
    import onnxruntime as ort

    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session_options.inter_op_num_threads = 1
    session_options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    fused = str(Path(options.folder, "int8.onnx" if precision == "int8" else "fused.onnx"))
    session = ort.InferenceSession(fused, session_options, providers=["CPUExecutionProvider"])
    types = {i.name: "int32" if i.type == "tensor(int32)" else "int64" for i in session.get_inputs()}

    def predict(inputs):
        return session.run(["logits"], {name: inputs[name].astype(t) for name, t in types.items()})[0]

    return predict, {"precision": "int8, dynamic, by channel" if precision == "int8" else "f32"}


def openvino_predictor(options, precision):
    import openvino as ov

    config = {
        # What stays beside int8 is in its best case bf16.
        "INFERENCE_PRECISION_HINT": "f32" if precision == "f32" else "bf16",
        "INFERENCE_NUM_THREADS": options.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = ov.Core()
    model = core.read_model(Path(options.folder, "plain.onnx"))
    if precision == "int8":
        import nncf

        # The texts that are measured: no others could suit it better.
        rows, _ = load_rows(options.dump)
        data = nncf.Dataset([pad([row]) for row in rows[:CALIBRATION_ROWS]])
        model = nncf.quantize(
            model, data, subset_size=CALIBRATION_ROWS, model_type=nncf.ModelType.TRANSFORMER
        )
    compiled = core.compile_model(model, "CPU", config)
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    used = f"int8 (NNCF), else {used}" if precision == "int8" else used

    def predict(inputs):
        return compiled(inputs)[0]

    return predict, {"precision": used}


def batches_of(rows, order):
    """Row numbers of every batch: as the texts come, or with texts of like length together."""
    numbers = list(range(len(rows)))
    if order == "sorted":
        numbers.sort(key=lambda i: len(rows[i]))
    return [numbers[i : i + BATCH] for i in range(0, len(numbers), BATCH)]


def inference_turns(options):
    import numpy as np

    start = {"torch": torch_predictor, "onnxruntime": onnxruntime_predictor, "openvino": openvino_predictor}
    library, _, precision = options.worker.partition("-")
    predict, about = start[library](options, precision or "f32")
    rows, dump = load_rows(options.dump)

    def agreement(_):
        logits_nc, differences = np.empty_like(dump["logits"]), []
        for order in ("natural", "sorted"):
            for numbers in batches_of(rows, order):
                logits_nc[numbers] = predict(pad([rows[i] for i in numbers]))
            differences.append(np.abs(logits_nc - dump["logits"]).max())
        same = logits_nc.argmax(1) == dump["logits"].argmax(1)
        return about | {"max_difference": float(np.max(differences)), "same_label": float(same.mean())}

    def throughput(turn):
        speeds = {}
        for order in ("natural", "sorted"):
            batches = batches_of(rows, order)
            for numbers in batches[:2]:
                predict(pad([rows[i] for i in numbers]))
            texts, start = 0, time.perf_counter()
            # Whole passes only: part of one would favour its lengths.
            while (elapsed := time.perf_counter() - start) < turn["seconds"]:
                for numbers in batches:
                    predict(pad([rows[i] for i in numbers]))
                texts += len(rows)
            speeds[f"{order} texts/s"] = texts / elapsed
        return speeds

    def latency(turn):
        row, times = rows[turn["row"]], []
        for _ in range(LATENCY_WARMUP + LATENCY_RUNS):
            start = time.perf_counter()
            predict(pad([row]))
            times.append(1e3 * (time.perf_counter() - start))
        return {"p50 ms": statistics.median(times[LATENCY_WARMUP:])}

    return {"agreement": agreement, "throughput": throughput, "latency": latency}


def training_turns(options):
    import numpy as np
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    bf16 = options.worker.endswith("bf16")
    model = load_model(options.model).train()
    # The default of the transformers trainer.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    rows, dump = load_rows(options.dump, "train_")
    before_mb = memory_mb("VmRSS")

    def step(numbers):
        inputs = {name: torch.from_numpy(v) for name, v in pad([rows[i] for i in numbers]).items()}
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**inputs, labels=torch.from_numpy(dump["train_labels"][numbers])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def train(turn):
        shuffled = np.random.default_rng(turn["round"]).permutation(len(rows))
        first, *timed = np.resize(shuffled, (turn["steps"] + 1, TRAIN_BATCH))
        step(first)
        start = time.perf_counter()
        for numbers in timed:
            step(numbers)
        elapsed = time.perf_counter() - start
        tokens = sum(len(rows[i]) for numbers in timed for i in numbers)
        return {"tokens/s": tokens / elapsed, "training_mb": memory_mb("VmHWM") - before_mb}

    return {"train": train}


def work(options):
    """Answer every line of stdin, one turn, with a line of JSON."""
    # Libraries print to stdout; the answers keep it for themselves.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if options.worker == "export":
        print(json.dumps(export(options)), file=answers)
        return
    if options.worker == "agree":
        print(json.dumps(agree(options)), file=answers)
        return
    turns = (training_turns if options.suite == "train" else inference_turns)(options)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        turn = json.loads(line)
        print(json.dumps(turns[turn["turn"]](turn) | {"peak_mb": memory_mb("VmHWM")}), file=answers)
