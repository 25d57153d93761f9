"""Golden values of the variational last layer: the package vbll, its DiscClassification in f64.

The bound of each row, the divergence (vbll leaves out the constant -KD/2, which is added here), the Wishart
term and the gradient of the whole objective at drawn parameters; then the minimum of that objective under a
prior that is given, by torch's L-BFGS. The parameters of the diagonal form are the logarithms of standard
deviations, those of the low-rank form of variances. Prints the file to stdout:

    python tests/python/golden_vbll.py > tests/fixtures/vbll.json
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import torch
from vbll import DiscClassification
from vbll.layers.classification import gaussian_kl

torch.set_default_dtype(torch.float64)
ROWS, WIDTH, PRIOR = 60, 5, 0.7


def layer(classes, rank, random):
    width = WIDTH + 1
    made = DiscClassification(
        width,
        classes,
        1 / ROWS,
        parameterization="lowrank" if rank else "diagonal",
        prior_scale=PRIOR * width / 2,
        cov_rank=rank or 1,
    )
    log_variance = random.normal(size=(classes, width)) - 1
    made.W_mean.data = torch.tensor(random.normal(size=(classes, width)))
    made.W_logdiag.data = torch.tensor(log_variance if rank else 0.5 * log_variance)
    if rank:
        made.W_offdiag.data = torch.tensor(0.5 * random.normal(size=(classes, width, rank)))
    made.noise_logdiag.data = torch.tensor(0.3 * random.normal(size=classes) - 1)
    return made


def objective(made, features, labels):
    return ROWS * made(features).train_loss_fn(labels)


def flat(tensor):
    return tensor.detach().numpy().ravel().tolist()


def case(features, labels, classes, rank, random):
    made = layer(classes, rank, random)
    x, y = torch.tensor(features), torch.tensor(labels)
    constant = 0.5 * classes * (WIDTH + 1)
    noise = made.noise()
    wishart = made.dof * noise.logdet_precision - 0.5 * made.wishart_scale * noise.trace_precision
    value = objective(made, x, y)
    value.backward()
    out = {
        "classes": classes,
        "rank": rank,
        "labels": labels.tolist(),
        "mean": flat(made.W_mean),
        "log_variance": flat(made.W_logdiag * (1 if rank else 2)),
        # One direction after another, [k, r, D].
        "directions": flat(made.W_offdiag.transpose(1, 2)) if rank else [],
        "log_noise": flat(2 * made.noise_logdiag),
        "bound": flat(made.jensen_bound(x, y)),
        "divergence": float(gaussian_kl(made.W(), made.prior_scale)) - constant,
        "wishart": float(wishart),
        "objective": float(value) - constant,
        "gradient_mean": flat(made.W_mean.grad),
        "gradient_log_variance": flat(made.W_logdiag.grad / (1 if rank else 2)),
        "gradient_directions": flat(made.W_offdiag.grad.transpose(1, 2)) if rank else [],
        "gradient_log_noise": flat(made.noise_logdiag.grad / 2),
    }
    if not rank:
        search = torch.optim.LBFGS(
            [made.W_mean, made.W_logdiag, made.noise_logdiag],
            max_iter=2000,
            tolerance_grad=1e-9,
            tolerance_change=1e-14,
            history_size=50,
            line_search_fn="strong_wolfe",
        )

        def closure():
            search.zero_grad()
            value = objective(made, x, y)
            value.backward()
            return value

        search.step(closure)
        out["minimum"] = {
            "objective": float(objective(made, x, y)) - constant,
            "mean": flat(made.W_mean),
            "variance": flat(torch.exp(2 * made.W_logdiag)),
            "noise": flat(torch.exp(2 * made.noise_logdiag)),
        }
    return out


def main():
    random = np.random.default_rng(11)
    features = random.normal(size=(ROWS, WIDTH)).astype(np.float32)
    folded = np.concatenate([features.astype(np.float64), np.ones((ROWS, 1))], axis=1)
    cases = []
    for classes, rank in ((4, 0), (2, 0), (3, 2)):
        truth = 1.2 * random.normal(size=(classes, WIDTH + 1))
        noisy = folded @ truth.T + random.gumbel(size=(ROWS, classes))
        cases.append(case(folded, noisy.argmax(axis=1), classes, rank, random))
    json.dump(
        {
            "versions": {name: version(name) for name in ("vbll", "torch", "numpy")},
            "width": WIDTH,
            "prior_variance": PRIOR,
            "features": features.astype(np.float64).ravel().tolist(),
            "cases": cases,
        },
        sys.stdout,
    )
    print()


if __name__ == "__main__":
    main()
