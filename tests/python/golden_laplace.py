"""Golden posteriors of the last-layer Laplace approximation: scikit-learn and laplace-torch.

scikit-learn's LogisticRegression with C = 1/delta and no intercept on features that have a one behind
them is the refitted head; laplace-torch's full Laplace approximation of that linear layer gives the
covariance of the logits and the evidence. Everything in f64; prints the file to stdout:

    python tests/python/golden_laplace.py > tests/fixtures/laplace.json
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import torch
from laplace import Laplace
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset

torch.set_default_dtype(torch.float64)
ROWS, WIDTH, PROBES = 200, 16, 6


def head(features, labels, classes, delta):
    """The mode of sum -ln p + delta/2 |W|^2 over W [classes, D]."""
    model = LogisticRegression(C=1 / delta, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(features, labels)
    if classes > 2:
        return model.coef_
    # scikit-learn has one weight w and delta/2 |w|^2; two classes with w1 = -w0 = w/2 have the
    # prior precision delta/2 on w.
    model = LogisticRegression(C=2 / delta, fit_intercept=False, tol=1e-10, max_iter=10_000)
    model.fit(features, labels)
    return np.concatenate([-0.5 * model.coef_, 0.5 * model.coef_])


def case(features, labels, probes, classes, delta):
    weight = head(features, labels, classes, delta)
    layer = torch.nn.Linear(WIDTH + 1, classes, bias=False)
    layer.weight.data = torch.tensor(np.ascontiguousarray(weight))
    data = TensorDataset(torch.tensor(features), torch.tensor(labels))
    posterior = Laplace(
        layer,
        "classification",
        subset_of_weights="all",
        hessian_structure="full",
        prior_precision=delta,
    )
    posterior.fit(DataLoader(data, batch_size=50))
    _, covariance = posterior._glm_predictive_distribution(torch.tensor(probes))
    centre = np.eye(classes) - 1 / classes
    centred = centre @ covariance.detach().numpy() @ centre
    return {
        "classes": classes,
        "prior_precision": delta,
        "labels": labels.tolist(),
        "weight": weight.ravel().tolist(),
        "centred_covariance": centred.ravel().tolist(),
        "log_marginal_likelihood": float(posterior.log_marginal_likelihood()),
    }


def main():
    random = np.random.default_rng(7)
    features = np.tanh(random.normal(size=(ROWS + PROBES, WIDTH))).astype(np.float32)
    folded = np.concatenate([features.astype(np.float64), np.ones((ROWS + PROBES, 1))], axis=1)
    truth = 1.5 * random.normal(size=(4, WIDTH + 1))
    cases = []
    for classes in (4, 2):
        logits = folded @ truth[:classes].T
        noisy = logits + random.gumbel(size=logits.shape)
        labels = noisy.argmax(axis=1)[:ROWS]
        for delta in (0.3, 5.0):
            cases.append(case(folded[:ROWS], labels, folded[ROWS:], classes, delta))
    json.dump(
        {
            "versions": {
                name: version(name) for name in ("scikit-learn", "laplace-torch", "torch", "numpy")
            },
            "width": WIDTH,
            "features": features[:ROWS].astype(np.float64).ravel().tolist(),
            "probes": features[ROWS:].astype(np.float64).ravel().tolist(),
            "cases": cases,
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
