#!/usr/bin/env python3
"""Compare `bayes` with PyTorch, ONNX Runtime and OpenVINO on one CPU, side by side, in f32, bf16 and int8.

Same weights, token ids and threads for all. Every peer lives in a process of its own; in each round all of
them take one turn, one at a time, in an order that rotates. The result is a Markdown table of ratios.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

from worker import BATCH, TRAIN_BATCH, work

# Only the standard library here: on Linux the peak memory of a child is never less than that of its parent
# when it forked, and the peak memory of `bayes` is measured.

INFERENCE = ["torch", "torch-bf16", "torch-int8", "onnxruntime", "onnxruntime-int8"]
INFERENCE += ["openvino", "openvino-bf16", "openvino-int8"]
LOW = ["bf16", "int8"]
TRAINING = ["torch", "torch-bf16"]
MEASURES = {
    "throughput": ["natural texts/s", "sorted texts/s"],
    "latency": ["p50 ms"],
    "train": ["tokens/s"],
}
TOLERANCE = 1e-3
PAUSE_SECONDS = 0.5
# Share of the machine that others may use. Threads that wait for each other by spinning, as those of PyTorch
# do, lose far more than that share.
QUIET = 0.03


def end_of(log):
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-8:])


class Peer:
    """A library in a process that stays alive and idle between its turns."""

    def __init__(self, name, suite, dump, folder, options, *more):
        self.name, self.log = name, Path(folder, f"{suite}-{name}.log")
        command = [sys.executable, __file__, "--worker", name, "--suite", suite, "--model", options.model]
        command += ["--dump", str(dump), "--folder", str(folder), "--threads", str(options.threads)]
        command += ["--peers", options.peers, *more]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"},
            )
        self.first = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"peer `{self.name}` ended early, its last lines are:\n{end_of(self.log)}")
        return json.loads(line)

    def turn(self, turn):
        print(json.dumps(turn), file=self.process.stdin, flush=True)
        return self.answer()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Bayes:
    """The tool under test, at one precision: one process for each turn."""

    def __init__(self, folder, options, precision="f32"):
        self.folder, self.options, self.precision = folder, options, precision
        self.name = "bayes" if precision == "f32" else f"bayes-{precision}"

    def run(self, suite, *more):
        """The report of one call, and its peak memory."""
        o = self.options
        command = [o.bayes, "bench", "--model", o.model, "--suite", suite, "--rounds", "1", "--warmup", "2"]
        command += ["--limit", str(o.limit), "--max-length", str(o.max_length)]
        command += ["--threads", str(o.threads), "--precision", self.precision, *more, "--json"]
        log = Path(self.folder, "bayes.log")
        with log.open("w") as stderr, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process:
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"`{' '.join(command)}` failed with {process.returncode}:\n{end_of(log)}")
        return json.loads(output), usage.ru_maxrss / 1024

    def run_throughput(self, seconds, *more):
        options = ["--order", "both", "--batch-sizes", str(BATCH), "--seconds", f"{seconds:g}"]
        return self.run("throughput", *options, *more)

    def run_train(self, *more):
        options = ["--train-batch-size", str(TRAIN_BATCH), "--train-steps", str(self.options.steps)]
        return self.run("train", *options, *more)

    def turn(self, turn):
        if turn["turn"] == "throughput":
            report, peak_mb = self.run_throughput(turn["seconds"])
            values = {
                "natural texts/s": number(report, f"throughput.batch_{BATCH}.throughput"),
                "sorted texts/s": number(report, f"throughput.sorted_{BATCH}.throughput"),
            }
        elif turn["turn"] == "latency":
            report, peak_mb = self.run("latency", "--latency-tokens", str(turn["tokens"]))
            values = {"p50 ms": number(report, "latency.p50_latency")}
        else:
            report, peak_mb = self.run_train()
            values = {
                "tokens/s": number(report, "train.tokens_per_second"),
                "training_mb": number(report, "train.peak_mb"),
            }
        return values | {"peak_mb": peak_mb}


def number(report, name):
    """The number at a dotted name, written alone or as `{"value": number, ...}`."""
    found = report
    for part in name.split("."):
        if not isinstance(found, dict) or part not in found:
            sys.exit(f"the report of `bayes` has no `{name}`")
        found = found[part]
    return float(found["value"] if isinstance(found, dict) else found)


def lengths_of(dump, name):
    """Tokens of every text, read from the dump with nothing but the standard library."""
    with open(dump, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))[name]
        start, end = entry["data_offsets"]
        file.seek(8 + size + start)
        code = {"I64": "q", "U64": "Q", "I32": "i", "U32": "I"}[entry["dtype"]]
        offsets = memoryview(file.read(end - start)).cast(code).tolist()
    return [b - a for a, b in zip(offsets, offsets[1:])]


def check(peers):
    """Stop unless every f32 peer computes the same function as `bayes`."""
    results = {}
    for peer in peers:
        result = results[peer.name] = peer.turn({"turn": "agreement"})
        print(f"{peer.name}: logits differ by at most {result['max_difference']:.2e}", file=sys.stderr)
        # Written so that a difference which is not a number stops it too.
        if precision_of(peer.name) == "f32" and not result["max_difference"] <= TOLERANCE:
            sys.exit(f"logits of `{peer.name}` differ from those of `bayes` by {result['max_difference']:.2e}, "
                     f"more than {TOLERANCE:g}: no comparison")
        time.sleep(PAUSE_SECONDS)
    return results


def precision_of(name):
    return name.partition("-")[2] or "f32"


def low_precisions(options):
    """Those of `bayes` that this processor has, and that a peer is asked for at."""
    command = [options.bayes, "info", "--json"]
    there = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["precisions"]
    asked = {precision_of(name) for name in options.peers.split(",")}
    return [precision for precision in LOW if precision in there and precision in asked]


def processor_seconds():
    """Processor time of the whole machine, and of this process with its ended children."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _wait, interrupt, soft, steal = map(int, fields[1:9])
    busy = (user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")
    return busy, sum(os.times()[:4])


def play(suite, runners, turn, rounds):
    """All turns of every runner: a list by round, for each of what it answers."""
    results = {runner.name: {} for runner in runners}
    for number_of_round in range(rounds):
        shift = number_of_round % len(runners)
        for runner in runners[shift:] + runners[:shift]:
            answer = runner.turn(turn | {"turn": suite, "round": number_of_round})
            for key, value in answer.items():
                results[runner.name].setdefault(key, []).append(value)
            time.sleep(PAUSE_SECONDS)
        print(f"{suite}: round {number_of_round + 1} of {rounds}", file=sys.stderr)
    return results


def ratio(measure, bayes, peer):
    """How much faster `bayes` is, over the rounds: median, least, most."""
    ratios = [p / b if measure.endswith("ms") else b / p for b, p in zip(bayes, peer)]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def compare(options, folder):
    bayes = Bayes(folder, options)
    report = {"about": about(options), "agreement": {}, "suites": {}}
    suites = options.suite.split(",")
    if unknown := set(suites) - MEASURES.keys():
        sys.exit(f"unknown suite `{unknown.pop()}`, hint: one of `{'`, `'.join(MEASURES)}`")
    texts = Path(folder, "texts.safetensors")
    if {"throughput", "latency"} & set(suites):
        bayes.run_throughput(1, "--dump", str(texts))
        lengths = lengths_of(texts, "offsets")
        report["about"] |= {"texts": len(lengths), "mean tokens": round(statistics.mean(lengths), 1)}
        exporter = Peer("export", "throughput", texts, folder, options)
        report["about"] |= exporter.first
        exporter.end()
    low = [Bayes(folder, options, precision) for precision in low_precisions(options)]
    if {"throughput", "latency"} & set(suites):
        for lower in low:
            dump = Path(folder, f"{lower.name}.safetensors")
            lower.run_throughput(1, "--dump", str(dump))
            found = Peer("agree", "throughput", dump, folder, options, "--other", str(texts))
            report["agreement"][lower.name] = found.first | {"precision": lower.precision}
            found.end()
    for suite in suites:
        turn, names, dump = {}, INFERENCE, texts
        (busy, own), start = processor_seconds(), time.monotonic()
        if suite == "throughput":
            turn = {"seconds": options.seconds}
        elif suite == "latency":
            row = min(range(len(lengths)), key=lambda i: abs(lengths[i] - options.latency_tokens))
            turn = {"row": row, "tokens": lengths[row]}
            report["about"]["latency tokens"] = lengths[row]
        else:
            turn, names, dump = {"steps": options.steps}, TRAINING, Path(folder, "train.safetensors")
            bayes.run_train("--dump", str(dump))
        peers = [Peer(n, suite, dump, folder, options) for n in names if n in options.peers.split(",")]
        if suite != "train":
            report["agreement"] |= check(peers)
        # Neither side trains in int8.
        ours = [bayes, *(lower for lower in low if suite != "train" or lower.precision == "bf16")]
        results = play(suite, [*ours, *peers], turn, options.rounds)
        for peer in peers:
            peer.end()
            theirs, beside = results[peer.name], f"bayes-{precision_of(peer.name)}"
            theirs["beside"] = beside if beside in results else "bayes"
            beside = results[theirs["beside"]]
            theirs["ratio"] = {m: ratio(m, beside[m], theirs[m]) for m in MEASURES[suite]}
        report["suites"][suite] = results
        busy_after, own_after = processor_seconds()
        others = (busy_after - busy - (own_after - own)) / (time.monotonic() - start) / os.cpu_count()
        report["about"][f"used by other processes during {suite}"] = f"{100 * max(others, 0):.1f} %"
        if others > QUIET:
            print("warning: the machine is not quiet, do not trust these figures", file=sys.stderr)
    return report


def about(options):
    processor = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            processor = line.split(":")[1].strip()
    version = subprocess.run([options.bayes, "--version"], capture_output=True, text=True).stdout.strip()
    libraries = ["torch", "transformers", "onnxruntime", "openvino"]
    versions = ", ".join([version] + [f"{name} {metadata.version(name)}" for name in libraries])
    return {"processor": processor, "threads": options.threads, "rounds": options.rounds, "versions": versions}


def markdown(report):
    lines = [f"- {name}: {value}" for name, value in report["about"].items()]
    lines += ["", "| measure | peer | beside | `bayes` | peer | speed, `bayes` / peer | min..max |"]
    lines += ["|---|---|---|--:|--:|--:|--:|"]
    for suite, results in report["suites"].items():
        for measure in MEASURES[suite]:
            for name, values in results.items():
                if "ratio" in values:
                    own, r = statistics.median(results[values["beside"]][measure]), values["ratio"][measure]
                    lines += [f"| {suite}, {measure} | {name} | {values['beside']} | {own:.2f} | "
                              f"{statistics.median(values[measure]):.2f} | **{r['median']:.2f}×** | "
                              f"{r['min']:.2f}..{r['max']:.2f} |"]
    lines += ["", "| suite | process | peak MB | training MB |", "|---|---|--:|--:|"]
    for suite, results in report["suites"].items():
        for name, values in results.items():
            training = f"{max(values['training_mb']):.0f}" if "training_mb" in values else ""
            lines += [f"| {suite} | {name} | {max(values['peak_mb']):.0f} | {training} |"]
    if report["agreement"]:
        lines += ["", "| peer | precision | logits differ by at most | same label |", "|---|---|--:|--:|"]
    for name, values in report["agreement"].items():
        lines += [f"| {name} | {values['precision']} | {values['max_difference']:.1e} | "
                  f"{100 * values['same_label']:.1f} % |"]
    return "\n".join(lines)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bayes", default="target/release/bayes", help="the binary [%(default)s]")
    parser.add_argument("--model", required=True, help="a model folder")
    parser.add_argument("--suite", default="throughput,latency,train", help="[%(default)s]")
    parser.add_argument("--peers", default=",".join(INFERENCE), help="[%(default)s]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of each order, in each turn")
    parser.add_argument("--limit", type=int, default=256, help="texts [%(default)s]")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a text [%(default)s]")
    parser.add_argument("--latency-tokens", type=int, default=16, help="of the single text [%(default)s]")
    parser.add_argument("--steps", type=int, default=4, help="timed training steps in each turn [%(default)s]")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures of all rounds there")
    for internal in ("--worker", "--dump", "--folder", "--other"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.peers.split(",")) - set(INFERENCE):
        parser.error(f"unknown peer `{unknown.pop()}`, hint: one of `{'`, `'.join(INFERENCE)}`")
    return options


def main():
    options = parse()
    if options.worker:
        work(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        report = compare(options, Path(folder))
    print(markdown(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
