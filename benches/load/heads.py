#!/usr/bin/env python3
"""Several heads on one encoder in one `bayes serve`, beside one head alone. See README.md.

    python3 benches/load/heads.py --binary target/release/bayes --encoder path/to/encoder

Trains the heads from generated texts first. Prints texts a second of one head and of all of them, in turns, and how
many texts the encoder read when each text was sent to every head.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

from load import Server

CONNECTIONS = 16
WORDS = "router invoice refund password screen battery parcel signal account contract".split()
TOPICS = ["billing", "technical", "delivery", "account", "sales", "press", "legal", "other"]


def sentence(rng, topic):
    """A text of the length of a short review, whose words hint at its topic."""
    about = [f"{topic} {rng.choice(WORDS)}" for _ in range(3)]
    rest = [rng.choice(WORDS) for _ in range(30)]
    words = about + rest
    rng.shuffle(words)
    return "please look at " + " ".join(words)


def train(options, home, name, seed):
    rng = random.Random(seed)
    labels = [f"{name}-yes", f"{name}-no"]
    rows = [(sentence(rng, name if row % 2 else "other"), labels[row % 2 == 0]) for row in range(240)]
    data = Path(home, f"{name}.csv")
    data.write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    command = [options.binary, "train", str(data), "--init", options.encoder, "--quiet"]
    subprocess.run(command + ["--set", "train.recipe=head", "--set", f"train.seed={seed}"], cwd=home, check=True)
    return Path(home, "checkpoints", name, "model")


class Heads(Server):
    """A server of these heads."""

    def __init__(self, options, heads, *flags):
        first, *others = [f"{folder.parent.name}={folder}" for folder in heads]
        model = argparse.Namespace(**{**vars(options), "model": first})
        more = [flag for other in others for flag in ("--model", other)]
        super().__init__(model, "--max-queue-items", "4096", *more, *flags)

    def encoded(self):
        found = re.findall(r'bayes_encoder_texts_total\{result="(\w+)"\} (\d+)', self.get("/metrics"))
        return {result: int(count) for result, count in found}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    absolute = lambda path: str(Path(path).resolve())
    parser.add_argument("--binary", default="target/release/bayes", type=absolute)
    parser.add_argument("--encoder", required=True, type=absolute)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    rng = random.Random(7)
    texts = [sentence(rng, rng.choice(TOPICS)) for _ in range(2000)]
    with tempfile.TemporaryDirectory() as home:
        heads = [train(options, home, name, seed) for seed, name in enumerate(TOPICS)]
        rates = {1: [], len(heads): []}
        memory = {}
        for _ in range(options.rounds):
            for count in rates:
                names = [folder.parent.name for folder in heads[:count]]
                bodies = [json.dumps({"text": text, "model": names[place % count], "return_text": False})
                          for place, text in enumerate(texts)]
                # Without any cache: every text passes through the encoder.
                with Heads(options, heads[:count], "--cache-entries", "0") as server:
                    server.load(bodies, CONNECTIONS, 2)
                    found = server.load(bodies, CONNECTIONS, options.seconds)
                    memory[count] = server.resident()
                assert found["wrong"] == found["refused"] == 0, found
                rates[count].append(found["ok"] / found["seconds"])
        one, all_heads = (statistics.median(found) for found in rates.values())
        print(f"one head:    {one:.1f} texts/s {[round(rate, 1) for rate in rates[1]]}, {memory[1] / 2**20:.0f} MB")
        shown = [round(rate, 1) for rate in rates[len(heads)]]
        print(f"{len(heads)} heads:     {all_heads:.1f} texts/s {shown}, {memory[len(heads)] / 2**20:.0f} MB")
        print(f"ratio:       {all_heads / one:.3f}")
        for together in (True, False):
            with Heads(options, heads) as server:
                names = [folder.parent.name for folder in heads]
                asked = texts[:200]
                bodies = [json.dumps({"text": text, "model": name}) for text in asked for name in names]
                before = server.processor_seconds()
                if together:
                    found = server.load(bodies, CONNECTIONS, options.seconds)
                    way, answers = f"{CONNECTIONS} connections", found["ok"]
                else:
                    for body in bodies:
                        server.post("/predict", json.loads(body))
                    way, answers = "one after the other", len(bodies)
                spent = server.processor_seconds() - before
                encoded = server.encoded()
                print(f"every text to all heads, {way}: {answers} answers, encoder read {encoded['read']} texts "
                      f"and was spared {encoded['shared']}; {1e3 * spent / answers:.2f} ms of processor an answer")
        assert all_heads / one >= 0.9, "the heads cost more than a tenth"


if __name__ == "__main__":
    main()
