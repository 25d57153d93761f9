"""How well texts of classes that were not trained on are told, by each score: what defaults and recipes are chosen by.

Takes a data set of many classes in Parquet (`train.parquet`, `validation.parquet` with `text` and `label`,
`labels.json`), leaves some classes out, trains `bayes` on the others and asks it about held-out texts of both. What a
benchmark keeps for its own out-of-scope test is not looked at: give its label with `--without`.

    python left_out.py DATA --without oos --out FOLDER --novelty energy ddu knn -- --config configs/clinc.toml

What stands behind `--` goes to `bayes train`.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys

import pandas


def divided(data, folder, share, seed, without):
    """Writes `known` (both parts) and `left.parquet`; gives the names of the classes that were left out."""
    names = json.loads((data / "labels.json").read_text())
    classes = [name for name in names if name not in without]
    left = set(random.Random(seed).sample(classes, round(share * len(classes))))
    (folder / "known").mkdir(parents=True, exist_ok=True)
    strange = []
    for part in ["train", "validation"]:
        rows = pandas.read_parquet(data / f"{part}.parquet")
        rows["label"] = [names[label] for label in rows["label"]]
        rows = rows[rows["label"].isin(classes)]
        rows[~rows["label"].isin(left)].to_parquet(folder / "known" / f"{part}.parquet", index=False)
        strange.append(rows[rows["label"].isin(left)])
    pandas.concat(strange).to_parquet(folder / "left.parquet", index=False)
    return sorted(left)


def ask(bayes, model, strange):
    """Asks a model about held-out texts of both kinds of classes."""
    command = [bayes, "eval", "--model", model, "--ood", strange, "--no-baseline", "--json"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    print(f"  accuracy {report['accuracy']['value']:.4f}, NLL {report['nll']['value']:.4f}, {report['rows']} rows")
    for scores in report["ood"].values():
        for name, one in scores["by_score"].items():
            print(f"  AUROC by {name}: {one['auroc']['value']:.4f}, {scores['rows']} texts of classes left out")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="the folder to work in")
    parser.add_argument("--share", type=float, default=0.2, help="the share of the classes that is left out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--without", nargs="*", default=[], help="labels that are no classes")
    parser.add_argument("--name", default="left-out", help="the name of the run")
    parser.add_argument("--novelty", nargs="*", default=[], help="other scores of novelty, on the same weights")
    parser.add_argument("--bayes", default=os.environ.get("BAYES", "bayes"))
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, train = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1 :]
    left = divided(arguments.data, arguments.out, arguments.share, arguments.seed, arguments.without)
    print(f"{len(left)} classes left out: {', '.join(left)}")
    known = arguments.out / "known"
    own = [f"data.dataset={known}", "data.ood_label=", f"name={arguments.name}"]
    settings = [word for setting in own for word in ("--set", setting)]
    subprocess.run([arguments.bayes, "train", *train, *settings], check=True)
    model = pathlib.Path("checkpoints", arguments.name, "model")
    print("as trained")
    ask(arguments.bayes, model, arguments.out / "left.parquet")
    for score in arguments.novelty:
        fitted = pathlib.Path("checkpoints", f"{arguments.name}-{score}", "model")
        fit = [arguments.bayes, "fit", "--model", model, "--method", "map", "--output", fitted]
        subprocess.run([*fit, "--set", f"calibration.novelty={score}"], check=True, stdout=subprocess.DEVNULL)
        print(f"with {score}")
        ask(arguments.bayes, fitted, arguments.out / "left.parquet")


if __name__ == "__main__":
    main()
