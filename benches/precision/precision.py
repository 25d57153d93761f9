"""One table: what a model is at each precision that this CPU has instructions for.

    python benches/precision/precision.py --model checkpoints/clinc/model --bayes target/release/bayes

Quantised folders go to --output; the figures are those of the test rows, the texts/s those of `bayes bench`. Measure
on a quiet machine. Needs Python 3.10 and no packages.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import time

# Texts that are answered together.
BATCH = 32


def run(bayes, *arguments):
    done = subprocess.run([bayes, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    # 1: a certificate was refused.
    if done.returncode not in (0, 1):
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}")
    return done.stdout


def first_answer(bayes, model, times):
    """Seconds from the start of the process to the answer to one text: the median."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        run(bayes, "predict", "--quiet", "--model", model, "one text to answer")
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def figures(bayes, model, options):
    outside = ["--ood", options.ood] if options.ood else []
    evaluation = json.loads(run(bayes, "eval", "--json", "--quiet", "--no-baseline", "--model", model,
                                "--limit", options.limit, *outside))
    bench = json.loads(run(bayes, "bench", "--json", "--quiet", "--model", model, "--suite", "throughput",
                           "--batch-sizes", BATCH, "--seconds", options.seconds, "--rounds", options.rounds))
    novelty = evaluation.get("ood") or {}
    sets = evaluation.get("sets")
    return {
        "accuracy": evaluation["accuracy"]["value"],
        "nll": evaluation["nll"]["value"],
        "ece": evaluation["ece"]["value"],
        "floor": evaluation["ece"]["floor"],
        "coverage": sets and sets["coverage"]["value"],
        "auroc": {name: one["auroc"]["value"] for name, one in novelty.items()},
        "throughput": bench["throughput"][f"batch_{BATCH}"]["throughput"],
        "bytes": (pathlib.Path(model) / "model.safetensors").stat().st_size,
        "first": first_answer(bayes, model, options.starts),
    }


def number(value, form="{:.4f}"):
    return "" if value is None else form.format(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--bayes", default="target/release/bayes")
    parser.add_argument("--output", default="checkpoints/precisions")
    parser.add_argument("--limit", default=0, help="test rows, 0 for all")
    parser.add_argument("--ood", help="texts of no class for novelty, where the data have none, such as other-topics")
    parser.add_argument("--seconds", default=4)
    parser.add_argument("--rounds", default=3)
    parser.add_argument("--starts", type=int, default=7)
    options = parser.parse_args()
    known = json.loads(run(options.bayes, "info", "--json"))["precisions"]
    rows = {"f32": figures(options.bayes, options.model, options)}
    certificates = {}
    for precision in known[1:]:
        folder = pathlib.Path(options.output) / precision
        report = json.loads(run(options.bayes, "quantize", "--json", "--quiet", "--model", options.model,
                                "--precision", precision, "--output", folder))
        certificates[precision] = report
        if report["granted"]:
            rows[precision] = figures(options.bayes, folder, options)
    print("| precision | accuracy | NLL | ECE (floor) | coverage | AUROC of novelty | changed decisions | texts/s "
          "| MB | first answer, s | certificate |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for precision, row in rows.items():
        report = certificates.get(precision)
        changed = report and report["certificate"]["changed_decisions"]
        auroc = next(iter(row["auroc"].values()), None)
        print(f"| {precision} | {row['accuracy']:.4f} | {row['nll']:.4f} | {row['ece']:.4f} ({row['floor']:.4f}) "
              f"| {number(row['coverage'])} | {number(auroc)} | {number(changed, '{:.1%}')} "
              f"| {row['throughput']:.0f} | {row['bytes'] / 1e6:.1f} | {row['first']:.2f} "
              f"| {'granted' if report else ''} |")
    for precision, report in certificates.items():
        if not report["granted"]:
            print(f"{precision}: refused: {'; '.join(report['reasons'])}")


if __name__ == "__main__":
    main()
