#!/usr/bin/env python3
"""What a GPU makes of `bayes`, in one table, within eight minutes.

    python benches/gpu/run.py --bayes ./bayes                    # on a machine with a card, and PyTorch for the peers
    python benches/gpu/run.py --bayes ./bayes --device twin --small   # the same script on a CPU, to its end

Needs the binary, this folder, and PyTorch where peers are wanted; fetches nothing. Encoders have random weights, texts
are generated. In this order: what `bayes info` says; parity of the device with the CPU (logits, and weights after 20
steps); training of a six-layer encoder and one of BERT-base's size, in f32 and bf16, beside PyTorch eager and compiled;
latency of a short text and throughput at 256 tokens, beside the same; a load on `bayes serve`. What fails is a row that
says so, and what no time is left for is one as well; the exit code is 1 then.
"""

import argparse
import http.client
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHORT = 32


class Out(Exception):
    """No time is left."""


class Bench:
    def __init__(self, options, home):
        self.options, self.home, self.rows, self.failed = options, Path(home), [], 0
        self.deadline = time.monotonic() + 60 * options.minutes

    def left(self):
        return self.deadline - time.monotonic()

    def call(self, command, most=240):
        """The stdout of a command; what it says else ends the measurement."""
        limit = min(most, self.left())
        if limit < 5:
            raise Out("no time was left")
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, cwd=self.home, timeout=limit
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            raise RuntimeError(lines[-1] if lines else f"exit code {done.returncode}")
        return done.stdout

    def bayes(self, *arguments, device=None, most=240):
        device = device or self.options.device
        return self.call([self.options.bayes, *arguments, "--quiet", "--device", device], most)

    def torch(self, what, shape, **more):
        layers, width, heads = shape
        device = "cuda" if self.options.device.startswith("cuda") else "cpu"
        given = {"layers": layers, "width": width, "heads": heads, "device": device, **more}
        return json.loads(self.call([sys.executable, HERE / "torch_peer.py", what, json.dumps(given)]))

    def add(self, what, who, measure):
        """A row of the table: figures by name, or why there are none."""
        began = time.monotonic()
        try:
            found = measure()
            text = ", ".join(f"{shown(value)} {name}" for name, value in found.items())
        except (Out, RuntimeError, OSError, ValueError, subprocess.TimeoutExpired) as error:
            found, text = None, f"**failed**: {error}"
            self.failed += 1
        self.rows.append((what, who, text))
        print(f"{what} · {who}: {text} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
        return found


def shown(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def texts(count, words, seed):
    """Labelled texts of made-up words; a few words tell the label, most of the time."""
    rng = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    vocabulary = ["".join(rng.choice(syllables) for _ in range(rng.randint(1, 3))) for _ in range(6000)]
    rows = ["text,label"]
    for row in range(count):
        label = row % 2
        length = rng.randint(words // 2, words)
        picked = [vocabulary[int(5000 * rng.random() ** 2) + 500 * (label if rng.random() < 0.3 else 0)]
                  for _ in range(length)]
        rows.append(f"{' '.join(picked)},{'yes' if label else 'no'}")
    return "\n".join(rows) + "\n"


def keys(shape, name, steps, tokens, seed=1):
    layers, width, heads = shape
    return [f"--set={key}={value}" for key, value in {
        "name": name, "model.num_hidden_layers": layers, "model.hidden_size": width,
        "model.num_attention_heads": heads, "model.intermediate_size": 4 * width, "model.vocab_size": 8000,
        "data.max_length": tokens, "data.test_limit": 40, "train.recipe": "full", "train.max_steps": steps,
        "train.seed": seed, "train.baseline": "false", "train.tensorboard": "false",
        "train.per_device_train_batch_size": 8, "train.learning_rate": 2e-4, "calibration.novelty": "none",
        "posterior.method": "map",
    }.items()]


def tensors(path):
    """The f32 tensors of a safetensors file."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    found = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F32":
            start, end = about["data_offsets"]
            found[name] = struct.unpack(f"<{(end - start) // 4}f", data[8 + size + start:8 + size + end])
    return found


def farthest(one, other):
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def parity(bench, steps):
    """Weights after some steps with dropout, and logits of the same weights."""
    shape, models = (3, 96, 4), {}
    for name, device in [("own", "cpu"), ("other", None)]:
        bench.bayes("train", "short.csv", "--init", "none", *keys(shape, name, steps, 64), device=device)
        models[name] = bench.home / "checkpoints" / name / "model"
    weights = [tensors(folder / "model.safetensors") for folder in models.values()]
    logits = []
    for device in ["cpu", None]:
        bench.bayes("predict", "--model", models["own"], "--input", "short.csv", "--output", f"{device}.jsonl",
                    device=device)
        lines = (bench.home / f"{device}.jsonl").read_text().splitlines()
        logits.append([value for line in lines for value in json.loads(line)["logits"]])
    # The gradient of a key's bias is nothing but rounding, which the optimizer scales to the size of all others.
    names = [name for name in weights[0] if not name.endswith("key.bias")]
    of_weights = max(farthest(weights[0][name], weights[1][name]) for name in names)
    of_logits, largest = farthest(*logits), max(map(abs, logits[0]))
    told = f"weights {of_weights:.2g} apart, logits {of_logits:.2g}, the largest logit {largest:.2g}"
    if of_weights > 1e-4 or of_logits > 1e-5 or largest < 0.01:
        raise RuntimeError(f"not equal: {told}")
    return {"difference of weights": of_weights, "of logits": of_logits, "as the largest logit": largest}


def card_mb():
    """Megabytes in use on the first card; none where nobody can say."""
    try:
        out = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
                             capture_output=True, text=True, timeout=5).stdout
        return float(out.splitlines()[0]) * 1.048576
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def watched(measure):
    """Figures of a measurement, with the most memory on the card while it ran."""
    before, peak, over = card_mb(), [0.0], threading.Event()
    if before is None:
        return measure()

    def look():
        while not over.wait(0.1):
            peak[0] = max(peak[0], (card_mb() or 0.0) - before)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        found = measure()
    finally:
        over.set()
        looking.join()
    return found | {"MB": peak[0]}


def numbers(report, names):
    """Figures of a report of `bayes bench --json`, by their paths, under other names."""
    found = {}
    for path, name in names.items():
        value = report
        for part in path.split("."):
            value = value[part]
        found[name] = value
    return found


def load(bench, model, connections, seconds):
    """Requests a second and the 99th percentile of the latency, with so many connections that ask one after another."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [bench.options.bayes, "serve", "--model", str(model), "--port", str(port), "--rate-limit", "off",
               "--cache-entries", "0", "--quiet", "--device", bench.options.device]
    # Its log goes to a file: a pipe that nobody reads would hold it up.
    log = bench.home / "serve.log"
    with log.open("w") as lines:
        server = subprocess.Popen(command, cwd=bench.home, stdout=lines, stderr=lines)
    try:
        for _ in range(300):
            if server.poll() is not None:
                raise RuntimeError(log.read_text().strip().splitlines()[-1])
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.2)
        lines = (bench.home / "short.csv").read_text().splitlines()[1:]
        bodies = [json.dumps({"text": line.rsplit(",", 1)[0]}) for line in lines]
        times, wrong, until = [], [], time.monotonic() + seconds

        def ask(first):
            connection, turn = http.client.HTTPConnection("127.0.0.1", port, timeout=60), first
            while time.monotonic() < until:
                began, status = time.perf_counter(), None
                try:
                    body, kind = bodies[turn % len(bodies)], {"content-type": "application/json"}
                    connection.request("POST", "/predict", body, kind)
                    answer = connection.getresponse()
                    answer.read()
                    status = answer.status
                except (OSError, http.client.HTTPException):
                    connection.close()
                (times if status == 200 else wrong).append(1e3 * (time.perf_counter() - began))
                turn += connections

        clients = [threading.Thread(target=ask, args=(number,)) for number in range(connections)]
        began = time.monotonic()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        spent = time.monotonic() - began
    finally:
        server.terminate()
        server.wait(timeout=60)
    if wrong or len(times) < 100:
        raise RuntimeError(f"{len(times)} requests were answered, {len(wrong)} were not")
    return {"requests/s": len(times) / spent, "p99 ms": statistics.quantiles(times, n=100)[98]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bayes", required=True, help="the binary")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or twin: the same operations on the CPU")
    parser.add_argument("--small", action="store_true", help="small encoders, for a CPU")
    parser.add_argument("--no-torch", action="store_true", help="without the peers")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--output", default="gpu.md", help="where the table goes")
    options = parser.parse_args()
    options.bayes = str(Path(options.bayes).resolve())
    output = Path(options.output).resolve()
    small = options.small
    shapes = {"6 × 384": (2, 64, 4), "12 × 768": (3, 96, 4)} if small else {
        "6 × 384": (6, 384, 12), "12 × 768": (12, 768, 12)}
    batch, steps, tokens = (4, 2, 64) if small else (32, 20, 256)
    seconds, runs, warmup = (1, 5, 1) if small else (5, 100, 5)
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(options, home)
        (bench.home / "short.csv").write_text(texts(400, 24, 1))
        (bench.home / "long.csv").write_text(texts(400, 2 * tokens, 2))
        about = json.loads(bench.bayes("info", "--json"))
        print(json.dumps(about), file=sys.stderr)
        bench.add("parity with the CPU, 20 steps", "bayes", lambda: parity(bench, 20))
        peers = [] if options.no_torch else [("eager", False), ("compiled", True)]
        for name, shape in shapes.items():
            label = f"{shape[0]} × {shape[1]}" + (" (small)" if small else "")
            model = f"m{shape[1]}"
            bench.add(f"{label}: a model", "bayes", lambda: bench.bayes(
                "train", "long.csv", "--init", "none", *keys(shape, model, 1, tokens)) and {"model": 1})
            folder = bench.home / "checkpoints" / model / "model"
            for bf16 in [False, True]:
                kind = "bf16" if bf16 else "f32"
                precision = ["--precision", kind]
                common = ["--model", folder, "--dataset", "long.csv", "--rounds", "1", "--warmup", warmup, "--json"]

                def training():
                    report = json.loads(bench.bayes(
                        "bench", "--suite", "train", *common, *precision, "--train-batch-size", batch,
                        "--train-steps", steps, "--train-length", min(tokens, 128)))
                    return numbers(report, {"train.tokens_per_second": "tokens/s"})

                def inference():
                    report = json.loads(bench.bayes(
                        "bench", "--suite", "latency,throughput", *common, *precision, "--batch-sizes", batch,
                        "--latency-tokens", SHORT, "--runs", runs, "--seconds", seconds))
                    return numbers(report, {"latency.p50_latency": "p50 ms",
                                            f"throughput.batch_{batch}.throughput": "texts/s"})

                bench.add(f"{label}: training, {kind}", "bayes", lambda: watched(training))
                for who, compiled in peers:
                    bench.add(f"{label}: training, {kind}", f"PyTorch {who}", lambda: bench.torch(
                        "train", shape, bf16=bf16, compile=compiled, rows=batch, tokens=min(tokens, 128),
                        steps=steps, warmup=warmup))
                bench.add(f"{label}: inference, {kind}", "bayes", inference)
                for who, compiled in peers:
                    bench.add(f"{label}: inference, {kind}", f"PyTorch {who}", lambda: bench.torch(
                        "inference", shape, bf16=bf16, compile=compiled, rows=batch, tokens=tokens, short=SHORT,
                        runs=runs, seconds=seconds, warmup=warmup))
        first = bench.home / "checkpoints" / f"m{next(iter(shapes.values()))[1]}" / "model"
        bench.add("serve, 32 connections", "bayes", lambda: load(bench, first, 32, 2 if small else 8))
        lines = ["# bayes on a device", "", f"`{json.dumps(about)}`", "", "| what | who | figures |", "|---|---|---|"]
        lines += [f"| {what} | {who} | {text} |" for what, who, text in bench.rows]
        output.write_text("\n".join(lines) + "\n")
        print("\n".join(lines))
        sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
