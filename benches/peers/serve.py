#!/usr/bin/env python3
"""`bayes serve` and a server of FastAPI and PyTorch side by side: the same model, texts, threads and connections.

    python benches/peers/serve.py --binary target/release/bayes --model checkpoints/my-model --texts reviews.txt

Both run on this machine, one at a time, in turns; `wrk` asks over loopback. Needs `wrk`, and in this Python torch,
transformers, fastapi and uvicorn. Prints a table: requests a second and the 99th percentile of the latency.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent / "load" / "texts.lua"
PEER = "FastAPI + PyTorch"
PORT = 8101


def start(name, options, home):
    port = str(PORT)
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    if name != PEER:
        environment["BAYES_PRECISION"] = name.split()[-1]
        command = [options.binary, "serve", "--model", options.model, "--port", port, "--rate-limit", "off"]
        command += ["--cache-entries", "0", "--threads", str(options.threads)]
        command += ["--max-queue-items", "4096", "--request-timeout", "60"]
    else:
        environment |= {"MODEL": options.model, "THREADS": str(options.threads)}
        environment |= {"MAX_LENGTH": str(options.max_length)}
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "serve_peer:app"]
        command += ["--port", port, "--log-level", "warning"]
    log = Path(home, "log").open("w")
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log)
    deadline = time.time() + 120
    while time.time() < deadline and process.poll() is None:
        try:
            # It lives before its model is loaded.
            ready = "livez" if name == PEER else "readyz"
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{ready}", timeout=2)
            return process
        except OSError:
            time.sleep(0.2)
    sys.exit(f"{name} did not start:\n{Path(home, 'log').read_text()[-2000:]}")


def ask(name, bodies, connections, seconds):
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "60s"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{PORT}", "--", bodies, "no-cache"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads(re.search(r"RESULT (.*)", output).group(1))
    if result["wrong"] or result["refused"]:
        sys.exit(f"{name} did not answer everything: {result}")
    return result["ok"] / result["seconds"], result["p99_ms"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    absolute = lambda path: str(Path(path).resolve())
    parser.add_argument("--binary", default="target/release/bayes", type=absolute)
    parser.add_argument("--model", required=True, type=absolute)
    parser.add_argument("--texts", required=True, help="one text a line")
    parser.add_argument("--connections", default="1,8,64")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a text, as the model has it")
    parser.add_argument("--precisions", default="f32", help="of bayes, such as f32,bf16,int8")
    options = parser.parse_args()
    names = [f"bayes {precision}" for precision in options.precisions.split(",")] + [PEER]
    texts = [line for line in Path(options.texts).read_text().splitlines() if line.strip()]
    found = {}
    with tempfile.TemporaryDirectory() as home:
        bodies = Path(home, "bodies.jsonl")
        bodies.write_text("".join(json.dumps({"text": text, "return_text": False}) + "\n" for text in texts))
        for _ in range(options.rounds):
            for name in names:
                process = start(name, options, home)
                ask(name, str(bodies), 4, 2)
                for connections in map(int, options.connections.split(",")):
                    result = ask(name, str(bodies), connections, options.seconds)
                    found.setdefault((connections, name), []).append(result)
                process.terminate()
                process.wait(timeout=60)
    print("| connections | server | requests/s | p99, ms |\n|---|---|---|---|")
    for (connections, name), rounds in sorted(found.items()):
        rate, tail = (statistics.median(values) for values in zip(*rounds))
        print(f"| {connections} | {name} | {rate:.1f} | {tail:.0f} |")


if __name__ == "__main__":
    main()
