#!/usr/bin/env python3
"""Asks `bayes serve` more than it can do, and checks what an operator relies on. See README.md."""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

SCRIPT = Path(__file__).with_name("texts.lua")
TICKS = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 16
# A pass of `bayes bench` over them takes about as long as the load.
COST_TEXTS = 800
# Labels that follow each step of the memory part.
LABELS = 50


class Server:
    """A server of its own, without a limit to its clients."""

    def __init__(self, options, *flags):
        self.home = tempfile.TemporaryDirectory()
        command = [options.binary, "serve", "--model", options.model, "--port", "0", "--rate-limit", "off"]
        command += ["--threads", str(options.threads), "--log-format", "json", *flags]
        self.process = subprocess.Popen(command, cwd=self.home.name, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"on (http://[\d.:]+)", line)
            if found:
                self.address = found.group(1)
                break
        else:
            sys.exit("the server did not start")
        # Its log is read and thrown away, so that it never waits for us.
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        for _ in self.process.stderr:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.home.cleanup()

    def processor_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident(self):
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def get(self, path):
        return urllib.request.urlopen(self.address + path, timeout=30).read().decode()

    def post(self, path, body):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, json.dumps(body).encode(), headers)
        return json.loads(urllib.request.urlopen(request, timeout=30).read())

    def load(self, bodies, connections, seconds, cache=False):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write("\n".join(bodies) + "\n")
            file.flush()
            command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "60s"]
            command += ["-s", str(SCRIPT), self.address, "--", file.name, "cache" if cache else "no-cache"]
            before, began = self.processor_seconds(), time.time()
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            result = json.loads(re.search(r"RESULT (.*)", output).group(1))
            result["processor_seconds"] = self.processor_seconds() - before
            result["wall_seconds"] = time.time() - began
        return result


def bodies_of(texts):
    return [json.dumps({"text": text, "return_text": False}) for text in texts]


def cost(options, texts):
    """Processor time a text, beside that of `bayes bench` on the same texts at the same batch budget."""
    texts = texts[:COST_TEXTS]
    with Server(options, "--cache-entries", "0") as server:
        server.load(bodies_of(texts), CONNECTIONS, 3)
        found = server.load(bodies_of(texts), CONNECTIONS, options.seconds)
        labels = json.loads(server.get("/info"))["labels"]
    served = found["processor_seconds"] / found["ok"]
    with tempfile.TemporaryDirectory() as home:
        data = Path(home, "texts")
        data.mkdir()
        rows = "".join(json.dumps({"text": text, "label": labels[i % len(labels)]}) + "\n" for i, text in enumerate(texts))
        for part in ("train", "test"):
            Path(data, f"{part}.jsonl").write_text(rows)
        # Two runs that differ by one pass over the texts: loading and warming cancel.
        short, long = (bench(options, data, home, rounds) for rounds in (1, 2))
    benched = (long[0] - short[0]) / (long[1] - short[1])
    return {
        "served_ms": 1e3 * served,
        "bench_ms": 1e3 * benched,
        "ratio": served / benched,
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
        "texts_per_second": found["ok"] / found["seconds"],
        "passed": served / benched <= 1.1 and found["wrong"] == 0,
    }


def bench(options, data, home, rounds):
    """Processor seconds and texts of `bayes bench` in so many passes."""
    report = Path(home, f"report-{rounds}")
    command = [options.binary, "bench", "--model", options.model, "--suite", "throughput", "--quiet", "--json"]
    command += ["--dataset", str(data), "--batch-sizes", str(options.bench_batch)]
    command += ["--rounds", str(rounds), "--seconds", "1", "--limit", "0", "--threads", str(options.threads)]
    before = os.times()
    subprocess.run(command + ["--output", str(report)], cwd=home, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    results = json.loads(Path(report, "report.json").read_text())
    batch = results["throughput"][f"batch_{options.bench_batch}"]
    return spent, number(batch["samples_processed"])


def number(value):
    return value["value"] if isinstance(value, dict) else value


def overload(options, texts):
    with Server(options, "--cache-entries", "0", "--max-queue-items", "32") as server:
        slowest, stop = [0.0], threading.Event()

        def probe():
            while not stop.is_set():
                began = time.perf_counter()
                assert server.get("/livez") == "ok"
                slowest[0] = max(slowest[0], time.perf_counter() - began)
                time.sleep(0.02)

        probing = threading.Thread(target=probe)
        probing.start()
        # The queue takes 32; four times that many clients ask again as soon as they have an answer.
        found = server.load(bodies_of(texts), 128, options.seconds)
        stop.set()
        probing.join()
        metrics = server.get("/metrics")
    panics = re.search(r"^bayes_engine_panics_total (\d+)", metrics, re.M)
    return {
        "answered": found["ok"],
        "refused": found["refused"],
        "anything else": found["wrong"],
        "lost": found["lost"],
        "p99_ms": found["p99_ms"],
        "livez_slowest_ms": 1e3 * slowest[0],
        "panics": int(panics.group(1)),
        "passed": found["wrong"] == 0 and found["lost"] == 0 and slowest[0] < 0.05 and found["refused"] > 0,
    }


def memory(options, texts):
    """Short texts: what is looked for is what a request leaves behind. Texts are kept, and some get their label."""
    short = [" ".join(text.split()[:8]) for text in texts]
    with Server(options, "--feedback-texts") as server:
        counted, labelled, after = 0, 0, {}
        began = time.time()
        for goal in (5_000, 50_000):
            while counted < goal and time.time() - began < 8 * options.seconds:
                numbered = [f"{counted} {text}" for text in short]
                # In small steps, so that the first count is near its goal.
                found = server.load(bodies_of(numbered), 4, 1, cache=True)
                counted += found["ok"]
                for text in numbered[:LABELS]:
                    told = server.post("/predict", {"text": text})
                    label = {"prediction_id": told["prediction_id"], "label": told["label"]}
                    labelled += server.post("/feedback", label)["counted"]
            after[goal] = (counted, server.resident())
    growth = after[50_000][1] / after[5_000][1]
    return {
        "requests": [after[5_000][0], after[50_000][0]],
        "labels": labelled,
        "resident_mb": [after[5_000][1] / 2**20, after[50_000][1] / 2**20],
        "growth": growth,
        "passed": growth <= 1.05 and after[50_000][0] >= 50_000,
    }


def cache(options, texts):
    draw = random.Random(1)
    weights = [1 / (rank + 1) for rank in range(len(texts))]
    mix = draw.choices(texts, weights, k=4000)
    with Server(options, "--cache-entries", "0") as server:
        plain = server.load(bodies_of(mix), CONNECTIONS, max(1, options.seconds // 2))
    with Server(options) as server:
        kept = server.load(bodies_of(mix), CONNECTIONS, max(1, options.seconds // 2), cache=True)
        metrics = server.get("/metrics")
    count = {
        result: int(number)
        for result, number in re.findall(r'bayes_cache_requests_total\{model="[^"]*",tier="memory",result="(\w+)"\} (\d+)', metrics)
    }
    asked = count.get("hit", 0) + count.get("miss", 0) + count.get("coalesced", 0)
    per = [1e3 * run["processor_seconds"] / run["ok"] for run in (plain, kept)]
    return {
        "hit_rate": count.get("hit", 0) / asked,
        "coalesced": count.get("coalesced", 0),
        "processor_ms_a_request": per,
        "saved": 1 - per[1] / per[0],
        "passed": kept["wrong"] == 0,
    }


PARTS = {"cost": cost, "overload": overload, "memory": memory, "cache": cache}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="target/release/bayes", type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--model", required=True, type=lambda path: str(Path(path).resolve()))
    parser.add_argument("--texts", required=True, help="one text a line")
    parser.add_argument("--part", default=",".join(PARTS))
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--bench-batch", type=int, default=16, help="texts a batch of `bayes bench`")
    parser.add_argument("--json", help="where to write the results")
    options = parser.parse_args()
    texts = [line.strip() for line in Path(options.texts).read_text().splitlines() if line.strip()]
    results = {}
    for name in options.part.split(","):
        results[name] = PARTS[name](options, texts)
        print(name, json.dumps(results[name], indent=1), flush=True)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))
    failed = [name for name, result in results.items() if not result["passed"]]
    if failed:
        sys.exit(f"not met: {', '.join(failed)}")


if __name__ == "__main__":
    main()
