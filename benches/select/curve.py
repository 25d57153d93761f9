"""How many labels it takes, chosen by `bayes predict --select` or at random.

Takes a data set in Parquet (`train.parquet` and `test.parquet` with `text` and `label`, `labels.json`), hides the labels of
the training rows, and asks for some of them in rounds: the first rounds at random, as a model needs rows to begin
with, and then those that the model of the round before chooses. A new model is trained after each round, on the
encoder's features, and tested on all test rows. All strategies begin with the same rows.

    pip install numpy pandas pyarrow
    python curve.py DATA --out FOLDER [--rounds 10] [--labels 150] [--random-rounds 2] [--seeds 3] [--without oos] \
        -- --init ENCODER

What stands behind `--` goes to `bayes train`. What is done is in FOLDER/curve.json and is not done again.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

import numpy
import pandas

STRATEGIES = ["random", "epistemic", "bald", "badge", "coverage"]


def bayes(*arguments, folder):
    command = [os.environ.get("BAYES", "bayes"), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def table(rows, path):
    rows[["text", "label"]].to_csv(path, index=False)


def curve(strategy, seed, train, test, names, options, extra):
    """Labels and accuracy after each round."""
    folder = options.out / f"{strategy}-{seed}"
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    (data / "labels.json").write_text(json.dumps(names))
    table(test, data / "test.csv")
    order = numpy.random.default_rng(seed).permutation(len(train))
    known = list(order[: options.labels * options.random_rounds])
    points = []
    while True:
        table(train.iloc[known], data / "train.csv")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        trained = bayes("train", "data", "--set", "name=model", "--json", *extra, folder=folder)
        test_report = json.loads(trained)["test"]
        points.append({"labels": len(known), "accuracy": test_report["accuracy"]["value"], "nll": test_report["nll"]["value"]})
        if len(known) >= options.labels * options.rounds:
            return points
        taken = set(known)
        left = [row for row in order if row not in taken]
        if strategy == "random":
            known += left[: options.labels]
            continue
        pool = pandas.DataFrame({"text": train.text.iloc[left], "row": left})
        pool.to_csv(folder / "pool.csv", index=False)
        asked = ["--input", "pool.csv", "--labelled", "data/train.csv", "--output", "chosen.csv"]
        how = ["--select", options.labels, "--strategy", strategy, "--seed", seed]
        bayes("predict", "--model", "checkpoints/model/model", *asked, *how, folder=folder)
        chosen = list(pandas.read_csv(folder / "chosen.csv").row)
        if not chosen:
            return points
        known += chosen


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder to work in")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=150, help="labels a round")
    parser.add_argument("--random-rounds", type=int, default=2, help="rounds at random, the first ones")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--without", help="a label whose rows are left out")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, choices=STRATEGIES)
    own, extra = sys.argv[1:], []
    if "--" in own:
        own, extra = own[: own.index("--")], own[own.index("--") + 1 :]
    options = parser.parse_args(own)
    names = json.loads((options.data / "labels.json").read_text())
    parts = []
    for split in ["train", "test"]:
        rows = pandas.read_parquet(options.data / f"{split}.parquet")
        rows["label"] = [names[label] for label in rows.label]
        parts.append(rows[rows.label != options.without].reset_index(drop=True))
    names = [name for name in names if name != options.without]
    options.out.mkdir(parents=True, exist_ok=True)
    done_file = options.out / "curve.json"
    done = json.loads(done_file.read_text()) if done_file.exists() else {}
    for seed in range(options.seeds):
        for strategy in options.strategies:
            key = f"{strategy} {seed}"
            if key not in done:
                done[key] = curve(strategy, seed, *parts, names, options, extra)
                done_file.write_text(json.dumps(done, indent=1))
            last = done[key][-1]
            print(f"{key:14} {last['labels']:6} labels  accuracy {last['accuracy']:.4f}", flush=True)
    counts = sorted({point["labels"] for points in done.values() for point in points})
    print("\n| labels | " + " | ".join(options.strategies) + " |\n|---" + "|---" * len(options.strategies) + "|")
    for count in counts:
        cells = []
        for strategy in options.strategies:
            own = [p["accuracy"] for key, points in done.items() if key.startswith(strategy + " ") for p in points if p["labels"] == count]
            spread = f" ± {numpy.std(own, ddof=1):.4f}" if len(own) > 1 else ""
            cells.append(f"{numpy.mean(own):.4f}{spread}" if own else "–")
        print(f"| {count} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
