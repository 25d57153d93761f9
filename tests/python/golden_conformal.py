"""Expected values of `src/calibrate/conformal` from MAPIE and SciPy.

Run, from the root of the repository, with numpy, scipy, scikit-learn and mapie installed:

    python tests/python/golden_conformal.py > tests/fixtures/conformal.json

The committed file was made with the versions that it names. The Rust tests read only the JSON and
agree to its `tolerance`. MAPIE subtracts U p from the sum up to and including the class, so its U
is written down as 1 - U. Of RAPS only the quantile is taken, at the penalty and rank that MAPIE
chose: its sets follow the paper's listing, which at the last class differs from "score at most the
quantile". Seed: 20261123.
"""

import json

import mapie
import numpy as np
import scipy
import sklearn
from mapie.classification import SplitConformalClassifier
from mapie.conformity_scores import APSConformityScore, LACConformityScore, RAPSConformityScore
from scipy.stats import beta
from sklearn.base import BaseEstimator, ClassifierMixin

SEED = 20261123
CLASSES, ROWS, TEXTS = 5, 120, 30
ALPHAS = [0.1, 0.25]


class Given(ClassifierMixin, BaseEstimator):
    """Rows of X are their own probabilities."""

    def fit(self, X, y):
        self.classes_ = np.arange(CLASSES)
        self.fitted_ = True
        return self

    def predict_proba(self, X):
        return np.asarray(X)

    def predict(self, X):
        return np.argmax(X, axis=1)


def draw(rng, n):
    weights = rng.dirichlet(np.full(CLASSES, 0.6), size=n)
    labels = np.array([rng.choice(CLASSES, p=p) for p in weights])
    return weights, labels


def main():
    rng = np.random.default_rng(SEED)
    p, y = draw(rng, ROWS)
    texts, _ = draw(rng, TEXTS)
    cases = []
    for alpha in ALPHAS:
        for name, score in [
            ("lac", LACConformityScore()),
            ("aps", APSConformityScore()),
            ("raps", RAPSConformityScore(size_raps=0.3)),
        ]:
            classifier = SplitConformalClassifier(
                Given().fit(p, y), 1 - alpha, score, prefit=True, random_state=SEED
            )
            classifier.conformalize(p, y)
            inner = classifier._mapie_classifier.conformity_score_function_
            randomised = name != "lac"
            options = {"include_last_label": "randomized"} if randomised else {}
            _, sets = classifier.predict_set(texts, conformity_score_params=options)
            case = {"method": name, "alpha": alpha, "bound": float(inner.quantiles_[0])}
            if name == "raps":
                raps = {tuple(row) for row in np.asarray(inner.X_raps)}
                kept = np.array([i for i in range(ROWS) if tuple(p[i]) not in raps])
                # MAPIE's own order of the rows, in which it draws U.
                scores = classifier._mapie_classifier.conformity_scores_.ravel()
                u = np.random.RandomState(SEED).uniform(size=len(scores))
                order = rows_in_order(p, y, kept, scores, u)
                case["rows"] = [int(i) for i in order]
                case["u"] = (1 - u).tolist()
                case["penalty"] = float(inner.lambda_star)
                case["free_ranks"] = float(inner.k_star[0])
            else:
                u = np.random.RandomState(SEED).uniform(size=ROWS)
                case["u"] = (1 - u).tolist()
                v = np.random.RandomState(SEED).uniform(size=TEXTS)
                case["text_u"] = (1 - v).tolist()
                case["sets"] = [np.flatnonzero(row).tolist() for row in sets[:, :, 0]]
            cases.append(case)
    bands = []
    for n, alpha in [(1250, 0.1), (2500, 0.1), (2500, 0.05), (3000, 0.1), (9, 0.1), (188, 0.05)]:
        misses = int(np.floor((n + 1) * alpha + 1e-9))
        low, high = beta(n + 1 - misses, misses).ppf([0.005, 0.995])
        bands.append({"n": n, "alpha": alpha, "low": float(low), "high": float(high)})
    print(json.dumps({
        "script": "tests/python/golden_conformal.py",
        "versions": {"mapie": mapie.__version__, "numpy": np.__version__,
                     "scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
        "tolerance": 1e-9,
        "probabilities": p.tolist(), "labels": y.tolist(), "texts": texts.tolist(),
        "cases": cases, "bands": bands,
    }))


def rows_in_order(p, y, kept, scores, u):
    """Which row each of MAPIE's scores belongs to: the one that gives it with that U."""
    order = []
    for score, draw in zip(scores, u):
        def gap(i):
            ranked = np.argsort(-p[i])
            place = int(np.flatnonzero(ranked == y[i])[0])
            return abs(p[i][ranked[: place + 1]].sum() - draw * p[i][y[i]] - score)

        best = min(kept, key=gap)
        assert gap(best) < 1e-12
        order.append(best)
    assert sorted(order) == sorted(kept)
    return order


if __name__ == "__main__":
    main()
