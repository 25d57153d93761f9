"""Expected values of `src/metrics` from scikit-learn, SciPy and independent NumPy code.

Run, from the root of the repository, with numpy, scipy and scikit-learn installed:

    python tests/python/golden_metrics.py > tests/fixtures/metrics.json

The committed file was made with Python 3.11.7, numpy 2.4.6, scikit-learn 1.9.1 and the SciPy that
the file names. The Rust tests read only the JSON and agree to its `tolerance`.

Probabilities are whole ten-thousandths. The bins of the calibration errors are found here in whole
numbers, so they share no rounding with the code under test. Seed: 20261123.
"""

import json
import platform

import numpy as np
import scipy
import sklearn
from scipy.stats import binomtest
from sklearn import metrics

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
        "macro_f1": metrics.f1_score(
            labels, predicted, average="macro", zero_division=0, labels=every
        ),
        "mcc": metrics.matthews_corrcoef(labels, predicted),
        "nll": metrics.log_loss(labels, p, labels=every),
        "brier": ((p - one_hot) ** 2).sum(axis=1).mean(),
        "ece_15": calibration_error(top, hit, 15),
        "ece_10": calibration_error(top, hit, 10),
        "mean_confidence": p.max(axis=1).mean(),
        "mean_entropy": entropy.mean(),
    }
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
    """AUROC with many ties and groups of unequal size."""
    negatives = np.round(RNG.normal(0.0, 1.0, 90), 1)
    positives = np.round(RNG.normal(0.7, 1.3, 60), 1)
    truth = np.r_[np.zeros(90), np.ones(60)]
    return {
        "negatives": [float(x) for x in negatives],
        "positives": [float(x) for x in positives],
        "auroc": float(metrics.roc_auc_score(truth, np.r_[negatives, positives])),
    }


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
            },
            "tolerance": 1e-12,
            "cases": [
                binary(),
                one_prediction(),
                four(),
                four_with_a_silent_class(),
                five_with_an_absent_class(),
            ],
            "auroc": rounded_scores(),
            "wilson": wilson(),
        }
    )
)
