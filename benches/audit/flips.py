"""How well `bayes audit` finds labels that were flipped on purpose, beside cleanlab on the same probabilities.

Takes a data set in Parquet (`train.parquet` with `text` and `label`, `labels.json`), flips a share of its labels, asks
`bayes audit`, and gives what it found and the probabilities that it judged by. cleanlab's `find_label_issues` gets
the same probabilities. A flip is to any other class, or (`near`) to the class whose texts are most like its own.

    pip install cleanlab pandas pyarrow scikit-learn
    python flips.py DATA --out FOLDER [--rows N] [--share 0.05] [--without oos] -- --init ENCODER

What stands behind `--` goes to `bayes audit`. Texts whose label was wrong before count as false alarms, for both.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy
import pandas
from cleanlab.filter import find_label_issues
from sklearn.feature_extraction.text import TfidfVectorizer

FILTERS = ["prune_by_noise_rate", "prune_by_class", "both", "confident_learning", "low_normalized_margin"]


def nearest(texts, labels, classes):
    """For each class the other class with the most similar words."""
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    means = numpy.vstack([numpy.asarray(words[labels == label].mean(axis=0)) for label in range(classes)])
    means /= numpy.linalg.norm(means, axis=1, keepdims=True)
    likeness = means @ means.T
    numpy.fill_diagonal(likeness, -1)
    return likeness.argmax(axis=1)


def flipped(texts, labels, classes, share, kind, seed):
    """Labels with flips, and which they are."""
    random = numpy.random.default_rng(seed)
    rows = random.choice(len(labels), round(share * len(labels)), replace=False)
    given = labels.copy()
    if kind == "near":
        given[rows] = nearest(texts, labels, classes)[labels[rows]]
    else:
        given[rows] = (labels[rows] + random.integers(1, classes, len(rows))) % classes
    return given, given != labels


def score(found, wrong):
    right = (found & wrong).sum()
    precision, recall = right / max(found.sum(), 1), right / max(wrong.sum(), 1)
    return precision, recall, 2 * right / max(found.sum() + wrong.sum(), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder to work in")
    parser.add_argument("--rows", type=int, default=0, help="a sample of so many rows")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=[], help="labels that are no classes")
    parser.add_argument("--kinds", nargs="*", default=["none", "uniform", "near"])
    parser.add_argument("--bayes", default=os.environ.get("BAYES", "bayes"))
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, audit = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    names = json.loads((arguments.data / "labels.json").read_text())
    rows = pandas.read_parquet(arguments.data / "train.parquet")
    rows = rows[[names[label] not in arguments.without for label in rows["label"]]]
    if arguments.rows:
        rows = rows.sample(arguments.rows, random_state=arguments.seed)
    classes = sorted(set(rows["label"]))
    labels = numpy.array([classes.index(label) for label in rows["label"]])
    texts = rows["text"].to_numpy()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for kind in arguments.kinds:
        given, wrong = labels, numpy.zeros(len(labels), bool)
        if kind != "none":
            given, wrong = flipped(texts, labels, len(classes), arguments.share, kind, arguments.seed)
        table = arguments.out / f"{kind}.parquet"
        given_names = [names[classes[label]] for label in given]
        pandas.DataFrame({"text": texts, "label": given_names}).to_parquet(table, index=False)
        said, found = arguments.out / f"{kind}.probabilities.parquet", arguments.out / f"{kind}.findings.parquet"
        start = time.time()
        command = [arguments.bayes, "audit", table, *audit, "--json", "--probabilities", said, "--output", found]
        report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        seconds = time.time() - start
        said, found = pandas.read_parquet(said), pandas.read_parquet(found)
        places = said["row"].to_numpy() - 1
        columns = [names[label] for label in classes]
        probabilities = said[columns].to_numpy()
        judged, truth = given[places], wrong[places]
        ours = numpy.isin(places, found[found["reason"] == "label"]["row"].to_numpy() - 1)
        right = (probabilities.argmax(axis=1) == labels[places]).mean()
        print(f"{kind}: {len(labels)} rows, {truth.sum()} flips, {seconds:.0f} s, {right:.4f} right without the flips")
        result = report["labels"]
        expected = f"{result['expected_wrong']:.0f} wrong, {result['expected_false_alarms']:.0f} false alarms expected"
        for name, chosen in [("bayes audit", ours)] + [
            (f"cleanlab {rule}", find_label_issues(judged, probabilities, filter_by=rule, n_jobs=1))
            for rule in FILTERS
        ]:
            precision, recall, f1 = score(chosen, truth)
            last = expected if name == "bayes audit" else ""
            print(
                f"  {name:32} {chosen.sum():6} rows  precision {precision:.3f}  recall {recall:.3f}  "
                f"F1 {f1:.3f}  {(chosen & ~truth).sum():5} false  {last}".rstrip()
            )


if __name__ == "__main__":
    main()
