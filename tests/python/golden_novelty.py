"""Expected values of `src/calibrate/novelty` from scikit-learn and scipy.

Run, from the root of the repository, with numpy, scipy and scikit-learn installed:

    python tests/python/golden_novelty.py > tests/fixtures/novelty.json

The committed file was made with the versions that it names. `centred` are the residuals of the
features within their classes, on which `LedoitWolf(assume_centered=True)` gives the covariance S;
the background is `LedoitWolf()` on all rows. `_pp` are the same on `normalize`d features. `knn` is
the distance to the second neighbour of `NearestNeighbors`, among normalised rows in f16. `ddu` is minus
the log density of `multivariate_normal`s whose covariances are the posterior means under an inverse
Wishart prior that is worth WIDTH rows of S. Distances are exact in f64 from features that are exact in
f32; the Rust code whitens in f32. Seed: 20261123.
"""

import json

import numpy as np
import scipy
import sklearn
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

NEIGHBOUR = 2  # a tenth of the rows of a class
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

    def distances(x, fresh):
        """Absolute and relative, and S."""
        means = np.stack([x[labels == k].mean(axis=0) for k in range(CLASSES)])
        within = LedoitWolf(assume_centered=True).fit(x - means[labels])
        background = LedoitWolf().fit(x)

        def distance(rows, centre, precision):
            return np.einsum("nd,de,ne->n", rows - centre, precision, rows - centre)

        nearest = np.min([distance(fresh, mean, within.precision_) for mean in means], axis=0)
        return nearest, nearest - distance(fresh, x.mean(axis=0), background.precision_), within

    absolute, relative, within = distances(x, fresh)
    absolute_pp, relative_pp, _ = distances(normalize(x), normalize(fresh))
    rows = normalize(x).astype(np.float16).astype(np.float64)
    knn = NearestNeighbors(n_neighbors=NEIGHBOUR).fit(rows).kneighbors(normalize(fresh))[0][:, -1]

    def log_density(k):
        own = x[labels == k]
        scatter = len(own) * np.cov(own.T, bias=True) + WIDTH * within.covariance_
        gaussian = multivariate_normal(own.mean(axis=0), scatter / (len(own) + WIDTH))
        return np.log(len(own) / ROWS) + gaussian.logpdf(fresh)

    ddu = -logsumexp([log_density(k) for k in range(CLASSES)], axis=0)
    scores = {
        "mahalanobis": absolute, "relative_mahalanobis": relative,
        "mahalanobis_pp": absolute_pp, "relative_mahalanobis_pp": relative_pp,
        "knn": knn, "ddu": ddu,
    }
    residuals = x - np.stack([x[labels == k].mean(axis=0) for k in range(CLASSES)])[labels]
    print(json.dumps({
        "script": "tests/python/golden_novelty.py",
        "versions": {
            "numpy": np.__version__, "scipy": scipy.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "tolerance": 1e-4,
        "width": WIDTH,
        "features": x.ravel().tolist(), "labels": labels.tolist(), "fresh": fresh.ravel().tolist(),
        "centred": residuals.ravel().tolist(), "shrinkage": float(within.shrinkage_),
        "scores": {name: values.tolist() for name, values in scores.items()},
    }))


if __name__ == "__main__":
    main()
