"""Expected values of `src/metrics` from scikit-learn, SciPy, relplot, torchmetrics,
torch-uncertainty and independent NumPy code.

Run, from the root of the repository, with these packages installed:

    python tests/python/golden_metrics.py > tests/fixtures/metrics.json

The committed file was made with Python 3.11.7 and the versions that it names. The Rust tests read
only the JSON and agree to its `tolerance`; relplot, which rounds to a grid, to one of its own.

Probabilities are whole ten-thousandths. The bins of the calibration errors are found here in whole
numbers, so they share no rounding with the code under test. Seed: 20261123.
"""

import json
import platform
from importlib.metadata import version

import numpy as np
import relplot
import scipy
import sklearn
import torch
from scipy.stats import binomtest
from sklearn import metrics
from torch_uncertainty.metrics.classification.risk_coverage import AUGRC, AURC
from torchmetrics.functional.classification import multiclass_calibration_error

UNIT = 10_000
RNG = np.random.default_rng(20261123)


def table(rows, classes, shape):
    """Rows of whole numbers that sum to UNIT, drawn from a Dirichlet distribution."""
    share = RNG.dirichlet(shape, size=rows)
    count = np.floor(share * UNIT).astype(int)
    count[:, classes - 1] = UNIT - count[:, : classes - 1].sum(axis=1)
    return count


def labels_for(count):
    return np.array([RNG.choice(row.size, p=row / UNIT) for row in count])


def calibration_error(confidence, hit, bins):
    """Confidence in whole units; group by bin, then compare the two means of each group."""
    error = 0.0
    for b in range(bins):
        inside = [i for i, c in enumerate(confidence) if min(c * bins // UNIT, bins - 1) == b]
        if inside:
            gap = np.mean([hit[i] for i in inside]) - np.mean([confidence[i] / UNIT for i in inside])
            error += len(inside) / len(confidence) * abs(gap)
    return error


def groups(confidence, bins):
    """Whole confidences in equal-width bins: lists of rows."""
    return [
        [i for i, c in enumerate(confidence) if min(c * bins // UNIT, bins - 1) == b]
        for b in range(bins)
    ]


def gaps(rows_of_bins, confidence, hit):
    """|accuracy - mean confidence| and number of rows of each bin that has rows."""
    return [
        (abs(np.mean([hit[i] for i in rows]) - np.mean([confidence[i] / UNIT for i in rows])), len(rows))
        for rows in rows_of_bins
        if len(rows)
    ]


def risk_curve(confidence, wrong):
    """Expected wrong answers among the i most confident, i = 1 ... N, over all orders of ties."""
    errors, total = [], 0.0
    for level in sorted(set(confidence), reverse=True):
        tied = [w for c, w in zip(confidence, wrong) if c == level]
        errors += [total + sum(tied) * (j + 1) / len(tied) for j in range(len(tied))]
        total += sum(tied)
    return np.array(errors)


def roc_at_95(truth, score):
    """The false positive rate at the first threshold that keeps 95 % of the positive class."""
    false, true, _ = metrics.roc_curve(truth, score, drop_intermediate=False)
    return false[np.argmax(true >= 0.95)]


def selective(p, top, labels, hit):
    rows = len(top)
    wrong = [int(not h) for h in hit]
    errors, i = risk_curve(top, wrong), np.arange(1, rows + 1)
    perfect = np.cumsum(np.sort(wrong))
    thresholds = [np.array(top) >= level for level in set(top)]
    accepted = [t.sum() for t in thresholds if np.sum(np.array(wrong)[t]) / t.sum() <= 0.1]
    doubt = [-c for c in top]
    expected = {
        "aurc": (errors / i).mean(),
        "e_aurc": (errors / i).mean() - (perfect / i).mean(),
        "augrc": np.trapezoid(np.r_[0.0, errors] / rows, dx=1 / rows),
        "error_auroc": metrics.roc_auc_score(wrong, doubt),
        "error_aupr": metrics.average_precision_score(wrong, doubt),
        "error_fpr95": roc_at_95([1 - w for w in wrong], top),
        "selective_accuracy_70": 1 - errors[-(-7 * rows // 10) - 1] / -(-7 * rows // 10),
        "selective_accuracy_90": 1 - errors[-(-9 * rows // 10) - 1] / -(-9 * rows // 10),
        "coverage_at_risk_10": max(accepted, default=0) / rows,
    }
    # torch-uncertainty has no rule for ties: compare the curve on what has none.
    keep = [top.index(c) for c in sorted(set(top))]
    target = torch.tensor(labels[keep])
    metric = AURC()
    metric.update(torch.tensor(p[keep]), target)
    ours = risk_curve([top[k] for k in keep], [wrong[k] for k in keep])
    ours /= np.arange(1, len(keep) + 1)
    assert np.abs(metric.partial_compute().numpy() - ours).max() < 1e-6
    # Its area begins at coverage 1/N, ours at 0.
    metric, n = AUGRC(), len(keep)
    metric.update(torch.tensor(p[keep]), target)
    height = np.r_[0.0, ours * np.arange(1, n + 1) / n]
    theirs = metric.compute().item() * (1 - 1 / n) + height[1] / (2 * n)
    assert abs(theirs - np.trapezoid(height, dx=1 / n)) < 1e-6
    return expected


def case(name, count, labels):
    classes = count.shape[1]
    p = count / UNIT
    predicted = np.argmax(p, axis=1)  # the lowest index of equal ones
    top = [int(c) for c in count.max(axis=1)]
    hit = predicted == labels
    every = list(range(classes))
    one_hot = np.eye(classes)[labels]
    assert (p[np.arange(len(labels)), labels] > 0).all(), "log_loss would clip"
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(p > 0, -p * np.log(p), 0.0).sum(axis=1)
    expected = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro", zero_division=0),
        "mcc": metrics.matthews_corrcoef(labels, predicted),
        "nll": metrics.log_loss(labels, p, labels=every),
        "brier": ((p - one_hot) ** 2).sum(axis=1).mean(),
        "ece_15": calibration_error(top, hit, 15),
        "ece_10": calibration_error(top, hit, 10),
        "mean_confidence": p.max(axis=1).mean(),
        "mean_entropy": entropy.mean(),
    }
    equal_mass = np.array_split(np.argsort(top, kind="stable"), 15)
    by_class = [
        calibration_error([int(c) for c in count[:, k]], labels == k, 15) for k in every
    ]
    largest, largest_count = max(gaps(groups(top, 15), top, hit), key=lambda gap: gap[0])
    expected |= {
        "adaptive_ece_15": sum(gap * n for gap, n in gaps(equal_mass, top, hit)) / len(labels),
        "class_wise_ece_15": np.mean(by_class),
        "mce_15": largest,
        "mce_15_count": largest_count,
    } | selective(p, top, labels, hit)
    # torchmetrics puts a confidence on an edge into the bin below and computes in f32: compare
    # without such rows.
    inside = np.array([c * 15 % UNIT != 0 for c in top])
    rows = [i for i, keep in enumerate(inside) if keep]
    kept_top, kept_hit = [top[i] for i in rows], [hit[i] for i in rows]
    kept = gaps(groups(kept_top, 15), kept_top, kept_hit)
    for norm, ours in [
        ("l1", sum(gap * n for gap, n in kept) / len(rows)),
        ("max", max(gap for gap, _ in kept)),
    ]:
        theirs = multiclass_calibration_error(
            torch.tensor(p[inside]), torch.tensor(labels[inside]), classes, n_bins=15, norm=norm
        )
        assert abs(float(theirs) - ours) < 1e-6, (name, norm)
    if classes == 2:
        positive = [int(c) for c in count[:, 1]]
        expected["positive_ece_15"] = calibration_error(positive, labels == 1, 15)
        expected["auroc"] = metrics.roc_auc_score(labels, p[:, 1])
        half = metrics.brier_score_loss(labels, p[:, 1])
        assert abs(2 * half - expected["brier"]) < 1e-14
    return {
        "name": name,
        "classes": classes,
        "probability_nc": [float(x) for x in p.reshape(-1)],
        "labels": [int(y) for y in labels],
        "expected": {key: float(value) for key, value in expected.items()},
    }


def binary():
    count = table(200, 2, [0.6, 0.8])
    count[:20] = [UNIT // 2, UNIT // 2]  # confidence 1/K, the prediction is class 0
    count[20:60] = np.round(count[20:60], -3)  # ties, and bin edges
    labels = labels_for(count)
    count[60:66] = [[UNIT, 0], [0, UNIT]] * 3  # confidence 1
    labels[60:66] = [0, 1] * 3
    return case("two classes", count, labels)


def one_prediction():
    count = table(120, 2, [6.0, 1.0])
    count = np.where(count[:, :1] > count[:, 1:], count, count[:, ::-1])
    return case("two classes, one of them never predicted", count, labels_for(count))


def four():
    count = table(200, 4, [1.0, 0.7, 0.9, 0.5])
    count[:16] = UNIT // 4  # four-way tie
    count[16:30] = [4000, 4000, 1000, 1000]  # two-way tie
    labels = labels_for(count)
    count[30:34] = [0, 0, UNIT, 0]
    labels[30:34] = 2
    return case("four classes", count, labels)


def four_with_a_silent_class():
    count = table(200, 4, [1.5, 1.0, 1.0, 0.8])
    count[:, 2] += count[:, 3] // 2 + count[:, 3] % 2
    count[:, 3] //= 2
    keep = count[:, 3] < count.max(axis=1)
    count = count[keep]
    labels = labels_for(count)
    labels[labels == 1] = 0  # class 1 is predicted and never true, class 3 true and never predicted
    possible = count[np.arange(len(labels)), labels] > 0
    return case("four classes, one never predicted, one never true", count[possible], labels[possible])


def five_with_an_absent_class():
    count = np.hstack([table(150, 4, [1.0, 1.0, 1.0, 1.0]), np.zeros((150, 1), dtype=int)])
    return case("five classes, one neither predicted nor true", count, labels_for(count))


def rounded_scores():
    """Detection with many ties and groups of unequal size."""
    negatives = np.round(RNG.normal(0.0, 1.0, 90), 1)
    positives = np.round(RNG.normal(0.7, 1.3, 60), 1)
    truth = np.r_[np.zeros(90), np.ones(60)]
    score = np.r_[negatives, positives]
    return {
        "negatives": [float(x) for x in negatives],
        "positives": [float(x) for x in positives],
        "auroc": float(metrics.roc_auc_score(truth, score)),
        "aupr": float(metrics.average_precision_score(truth, score)),
        "aupr_in": float(metrics.average_precision_score(1 - truth, -score)),
        "fpr95": float(roc_at_95(1 - truth, -score)),
        "rejected_at_95": float(roc_at_95(truth, score)),
    }


def smooth():
    """relplot, where it and we agree: no confidence in the last cell of its grid, see
    `src/metrics/smooth_ece.rs`. Confidence is the probability of class 1, which is above 1/2."""
    cases = []
    for rows, power in [(40, 1.0), (500, 1.0), (500, 2.5), (3000, 1.0), (3000, 0.6)]:
        confidence = np.round(0.501 + 0.49 * RNG.random(rows) ** 0.5, 4)
        hit = (RNG.random(rows) < confidence**power).astype(float)
        error = relplot.metrics.smECE(confidence, hit)
        cases.append(
            {
                "confidence_n": [float(c) for c in confidence],
                "hit_n": [int(h) for h in hit],
                "smooth_ece": float(error),
            }
        )
    return {"tolerance": 1e-9, "cases": cases}


def wilson():
    pairs = [(0, 1), (1, 1), (0, 10), (3, 10), (10, 10), (47, 53), (9_340, 10_000)]
    found = [binomtest(h, n).proportion_ci(0.95, method="wilson") for h, n in pairs]
    return [
        {"hits": h, "count": n, "low": float(ci.low), "high": float(ci.high)}
        for (h, n), ci in zip(pairs, found)
    ]


print(
    json.dumps(
        {
            "script": "tests/python/golden_metrics.py",
            "versions": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "scipy": scipy.__version__,
                "scikit-learn": sklearn.__version__,
                **{name: version(name) for name in ("relplot", "torchmetrics", "torch-uncertainty")},
            },
            "tolerance": 1e-12,
            "cases": [
                binary(),
                one_prediction(),
                four(),
                four_with_a_silent_class(),
                five_with_an_absent_class(),
            ],
            "detection": rounded_scores(),
            "smooth": smooth(),
            "wilson": wilson(),
        }
    )
)
