"""The table of methods from cells that `bayes compare` wrote, on one machine or on several.

A cell is one method at one seed (`checkpoints/NAME-compare/cells/seedK-METHOD.json`). Seeds can be compared one at
a time, each where there is time for it; this joins them as `bayes compare --seeds N` does: the mean over the seeds
± the half width of its 95 % interval by Student's t, and differences to `map` seed by seed.

    python table.py cells/clinc150 [--differences]
    python table.py cells/clinc150 --keep checkpoints/NAME-compare/cells

`--keep` copies cells to the folder first, without their warnings, which name files of the machine.
"""

import argparse
import json
import math
import pathlib
import statistics

# The 97.5 % quantile of Student's t by degrees of freedom.
QUANTILES = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

REFERENCE = "map"

# Rows in this order; others follow by name.
ORDER = ["map", "largest", "one", "mc_dropout", "swag", "sngp", "vbll", "lora_laplace", "ensemble", "distil"]


def cells(folder):
    """Figures by method and seed."""
    found = {}
    for path in sorted(pathlib.Path(folder).glob("seed*.json")):
        cell = json.loads(path.read_text())
        found.setdefault(cell["label"], {})[cell["seed"]] = cell["figures"]
    return found


def keep(source, folder):
    """Copies cells, but for their warnings. One of the same model that has more figures stays: a later comparison may
    have left out damaged rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("seed*-*.json")):
        cell = json.loads(path.read_text())
        cell.pop("warnings", None)
        kept = folder / path.name
        known = json.loads(kept.read_text())["figures"] if kept.exists() else {}
        if known.keys() > cell["figures"].keys() and known["nll"] == cell["figures"]["nll"]:
            continue
        kept.write_text(json.dumps(cell, indent=2) + "\n")


def columns(found):
    """Headings, keys and digits of what any cell has."""
    keys = sorted({key for seeds in found.values() for figures in seeds.values() for key in figures})
    chosen = [("accuracy", "accuracy", 4), ("NLL", "nll", 4), ("ECE", "ece", 4), ("coverage", "coverage", 3)]
    for key in keys:
        if key.startswith("ood.") and key.endswith(".auroc"):
            source, score = key[4:-6].rsplit(".", 1)
            if score in ("novelty", "mutual_information"):
                chosen.append((f"AUROC of {score.replace('_', ' ')}, {source}", key, 4))
    for key in keys:
        if key.endswith(".nll") and key.startswith(("shift.", "data.")):
            chosen.append((f"NLL, {key.split('.', 1)[1][:-4]}", key, 3))
    chosen.append(("ms a text", "ms_a_text", 1))
    return chosen


def estimate(values, digits, sign=""):
    """Mean ± half width of its interval, or `–` where a figure is not defined at every seed."""
    if not values or any(value is None for value in values):
        return "–"
    mean = statistics.fmean(values)
    text = f"{mean:{sign}.{digits}f}"
    if len(values) > 1:
        half = QUANTILES[len(values) - 1] * statistics.stdev(values) / math.sqrt(len(values))
        text += f" ± {half:.{digits}f}"
    return text


def table(found, differences):
    """The lines of the Markdown table."""
    chosen = columns(found)
    yield "| method | seeds | " + " | ".join(heading for heading, _, _ in chosen) + " |"
    yield "|---" * (len(chosen) + 2) + "|"
    rank = {label: place for place, label in enumerate(ORDER)}
    for label in sorted(found, key=lambda label: (rank.get(label, len(ORDER)), label)):
        seeds = found[label]
        if differences:
            if label == REFERENCE:
                continue
            seeds = {seed: figures for seed, figures in seeds.items() if seed in found[REFERENCE]}
        line = []
        for _, key, digits in chosen:
            values = [figures.get(key) for figures in seeds.values()]
            if differences:
                others = [found[REFERENCE][seed].get(key) for seed in seeds]
                values = [
                    None if value is None or other is None else value - other
                    for value, other in zip(values, others)
                ]
            line.append(estimate(values, digits, "+" if differences else ""))
        names = ", ".join(map(str, sorted(seeds)))
        yield f"| `{label}` | {names} | " + " | ".join(line) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path, metavar="CELLS", help="copy these cells to the folder first")
    parser.add_argument("--differences", action="store_true", help=f"to `{REFERENCE}`, seed by seed")
    arguments = parser.parse_args()
    if arguments.keep:
        keep(arguments.keep, arguments.folder)
    print("\n".join(table(cells(arguments.folder), arguments.differences)))


if __name__ == "__main__":
    main()
