#!/usr/bin/env python3
"""`bayes fit` on a classifier that transformers saved. By hand; makes nothing in the repository.

Fine-tunes an encoder with plain PyTorch, saves it as transformers does, and lets `bayes fit` give it a
posterior. Exits 0 if, on held-out rows, NLL and ECE are better than before, if with --keep-head transformers
computes exactly the logits of the old folder, and without it those that `bayes predict` reports.

    python tests/python/check_fit.py --encoder DIR --data DIR [--bayes target/release/bayes]

DATA is a folder that `bayes` reads as a data set, with train.parquet (columns text, label) and two classes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TEXTS = [
    "A slow first act, but what an ending!",
    "The plot makes no sense and the jokes fall flat.",
    "Fine acting in a film that nobody asked for.",
    "I would watch it again tomorrow.",
]
LENGTH = 64
TOLERANCE = 1e-4


def fine_tune(options, folder):
    """Three epochs at a high rate on few rows: a classifier that is too sure of itself."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(options.encoder)
    model = AutoModelForSequenceClassification.from_pretrained(options.encoder, num_labels=2, dtype=torch.float32)
    table = pq.read_table(Path(options.data, "train.parquet")).to_pydict()
    rows = np.random.default_rng(0).permutation(len(table["text"]))[: options.rows]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4)
    model.train()
    for epoch in range(3):
        for start in range(0, len(rows), 32):
            chosen = rows[start : start + 32]
            batch = tokenizer([table["text"][i] for i in chosen], padding=True, truncation=True, max_length=LENGTH,
                              return_tensors="pt")
            loss = model(**batch, labels=torch.tensor([table["label"][i] for i in chosen])).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}", file=sys.stderr)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def logits(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        one = [model(**tokenizer(text, return_tensors="pt")).logits[0] for text in TEXTS]
    return torch.stack(one)


def run(options, *arguments):
    return subprocess.run([options.bayes, *arguments], check=True, capture_output=True, text=True).stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--bayes", default="target/release/bayes")
    parser.add_argument("--rows", type=int, default=2000)
    options = parser.parse_args()
    failed = []
    with tempfile.TemporaryDirectory() as work:
        old, new, kept = (str(Path(work, name)) for name in ("old", "new", "kept"))
        fine_tune(options, old)
        fit = ["fit", "--model", old, "--dataset", options.data, "--limit", str(options.rows), "--json", "--quiet"]
        report = json.loads(run(options, *fit, "--output", new))
        before, after = (score["test"] for score in report["scores"][:2])
        for name in ("accuracy", "nll", "ece"):
            print(f"{name}: {before[name]['value']:.4f} before, {after[name]['value']:.4f} after")
        failed += [name for name in ("nll", "ece") if not after[name]["value"] < before[name]["value"]]
        run(options, *fit, "--keep-head", "--output", kept)
        if not torch.equal(logits(old), logits(kept)):
            failed.append("--keep-head changed the logits")
        told = [json.loads(line)["logits"] for line in
                run(options, "predict", "--model", new, "--json", *TEXTS).splitlines()]
        difference = (logits(new).double() - torch.tensor(told, dtype=torch.float64)).abs().max().item()
        print(f"logits of the posterior mean differ by at most {difference:.1e}")
        if not difference <= TOLERANCE:
            failed.append("the posterior mean is not what bayes reports")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
