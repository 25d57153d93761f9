"""Expected values of `src/calibrate/novelty` from scikit-learn.

Run, from the root of the repository, with numpy and scikit-learn installed:

    python tests/python/golden_novelty.py > tests/fixtures/novelty.json

The committed file was made with the versions that it names. `centred` are the residuals of the
features within their classes, on which `LedoitWolf(assume_centered=True)` gives the covariance S;
the background is `LedoitWolf()` on all rows. Distances are exact in f64 from features that are
exact in f32; the Rust code whitens in f32. Seed: 20261123.
"""

import json

import numpy as np
import sklearn
from sklearn.covariance import LedoitWolf

CLASSES, ROWS, FRESH, WIDTH = 3, 60, 12, 17


def main():
    rng = np.random.default_rng(20261123)
    mixing = rng.normal(size=(WIDTH, WIDTH))
    centres = 2 * rng.normal(size=(CLASSES, WIDTH))
    labels = rng.integers(0, CLASSES, size=ROWS)

    def features(labels):
        x = centres[labels] + rng.normal(size=(len(labels), WIDTH)) @ mixing
        return np.round(x, 2).astype(np.float32).astype(np.float64)

    x = features(labels)
    fresh = features(rng.integers(0, CLASSES, size=FRESH))
    means = np.stack([x[labels == k].mean(axis=0) for k in range(CLASSES)])
    residuals = x - means[labels]
    within = LedoitWolf(assume_centered=True).fit(residuals)
    background = LedoitWolf().fit(x)

    def distance(rows, centre, precision):
        return np.einsum("nd,de,ne->n", rows - centre, precision, rows - centre)

    nearest = np.min([distance(fresh, mean, within.precision_) for mean in means], axis=0)
    relative = nearest - distance(fresh, x.mean(axis=0), background.precision_)
    print(json.dumps({
        "script": "tests/python/golden_novelty.py",
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "tolerance": 1e-4,
        "width": WIDTH,
        "features": x.ravel().tolist(), "labels": labels.tolist(), "fresh": fresh.ravel().tolist(),
        "centred": residuals.ravel().tolist(), "shrinkage": float(within.shrinkage_),
        "absolute": nearest.tolist(), "relative": relative.tolist(),
    }))


if __name__ == "__main__":
    main()
