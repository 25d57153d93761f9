"""Expected scores of `src/evaluate/benchmark.rs` on random answers, from scikit-learn and the definitions of the suites.

Run, from the root of the repository, with NumPy and scikit-learn installed:

    python tests/python/golden_benchmarks.py > tests/fixtures/benchmarks.json

The committed file was made with Python 3.11.7 and the version that it names. Seed: 20261130.

Exact match, the accuracy of choices and the gender parity are those of Wang et al. 2019 (SuperGLUE), written here from
the text of the paper and not from the code under test.
"""

import json

import numpy as np
import sklearn
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

RNG = np.random.default_rng(20261130)

NLI = ["entailment", "neutral", "contradiction"]
RTE = ["entailment", "not_entailment"]
TRUE = ["false", "true"]


def matthews(label, predicted, **_):
    return {"matthews_correlation": matthews_corrcoef(label, predicted)}


def accuracy(label, predicted, **_):
    return {"accuracy": accuracy_score(label, predicted)}


def f1_and_accuracy(label, predicted, **_):
    return {"f1": f1_score(label, predicted, pos_label=1)} | accuracy(label, predicted)


def macro_f1_and_accuracy(label, predicted, **_):
    return {"macro_f1": f1_score(label, predicted, average="macro")} | accuracy(label, predicted)


def answers(label, predicted, question, **_):
    questions = sorted(set(question))
    right = [all(l == p for l, p, q in zip(label, predicted, question) if q == one) for one in questions]
    return {"f1": f1_score(label, predicted, pos_label=1), "exact_match": np.mean(right)}


def choices(label, p, **_):
    chosen = p[:, 1].reshape(-1, 2).argmax(axis=1)
    right = np.asarray(label).reshape(-1, 2).argmax(axis=1)
    return {"choice_accuracy": np.mean(chosen == right)}


def parity(label, predicted, **_):
    pairs = np.asarray(predicted).reshape(-1, 2)
    return {"gender_parity": np.mean(pairs[:, 0] == pairs[:, 1])} | accuracy(label, predicted)


TASKS = {
    "cola": (["unacceptable", "acceptable"], matthews),
    "sst2": (["negative", "positive"], accuracy),
    "mrpc": (["not_equivalent", "equivalent"], f1_and_accuracy),
    "qqp": (["not_duplicate", "duplicate"], f1_and_accuracy),
    "mnli": (NLI, accuracy),
    "mnli_mismatched": (NLI, accuracy),
    "qnli": (RTE, accuracy),
    "rte": (RTE, accuracy),
    "wnli": (RTE[::-1], accuracy),
    "ax": (NLI, matthews),
    "super_glue/boolq": (TRUE, accuracy),
    "super_glue/cb": (["entailment", "contradiction", "neutral"], macro_f1_and_accuracy),
    "super_glue/copa": (["wrong", "right"], choices),
    "super_glue/multirc": (TRUE, answers),
    "super_glue/wic": (TRUE, accuracy),
    "super_glue/rte": (RTE, accuracy),
    "super_glue/axb": (RTE, matthews),
    "super_glue/axg": (RTE, parity),
}


def case(task, labels, scores, rows=60):
    """Whole hundredths, so that the file is exact."""
    count = np.array([RNG.multinomial(100, RNG.dirichlet(np.ones(len(labels)))) for _ in range(rows)])
    # The first of equal ones is predicted, as everywhere.
    predicted = count.argmax(axis=1)
    label = RNG.choice(len(labels), size=rows, p=RNG.dirichlet(np.ones(len(labels)) * 4))
    if task == "super_glue/copa":
        first = RNG.integers(2, size=rows // 2)
        label = np.stack([first, 1 - first], axis=1).reshape(-1)
    question = np.sort(RNG.integers(20, size=rows))
    expected = scores(label=label, predicted=predicted, p=count / 100, question=question)
    return {
        "task": task,
        "labels": labels,
        "hundredths": count.tolist(),
        "label": label.tolist(),
        "question": question.tolist(),
        "expected": {key: float(value) for key, value in expected.items()},
    }


print(
    json.dumps(
        {
            "scikit-learn": sklearn.__version__,
            "cases": [case(task, *one) for task, one in TASKS.items()],
        },
        separators=(",", ":"),
    )
)
