"""Golden steps of IVON by ivon-opt, with noise that is injected. Any torch does (1.13 and 2 were tried).

The loss is sum a (1 - cos(theta - c)), whose Hessian changes with theta. ivon-opt computes in f64 here; what enters
a step is rounded to f32, as our optimiser keeps it. Prints the file to stdout:

    python tests/python/golden_ivon.py > tests/fixtures/ivon.json
"""

import json
from importlib.metadata import version

import numpy as np
import torch
from ivon import IVON

torch.set_default_dtype(torch.float64)
SIZE, STEPS = 6, 20


def case(seed, **settings):
    rng = np.random.default_rng(seed)
    start = rng.normal(size=SIZE).astype(np.float32)
    curvature = rng.uniform(0.1, 3.0, SIZE).round(6)
    centre = rng.normal(size=SIZE).round(6)
    noise = rng.normal(size=(STEPS, SIZE)).round(6)
    peak = settings.pop("learning_rate")
    rates = [peak * (1 - step / STEPS) for step in range(STEPS)]
    theta = torch.nn.Parameter(torch.tensor(start.astype(np.float64)))
    radius = settings["clip_radius"]
    optimizer = IVON(
        [theta], lr=peak, ess=settings["ess"], hess_init=settings["hess_init"],
        beta1=settings["beta1"], beta2=settings["beta2"],
        weight_decay=settings["weight_decay"],
        clip_radius=radius if radius > 0 else float("inf"),
    )
    a, c = torch.tensor(curvature), torch.tensor(centre)
    trace = {"mean": [], "hess": [], "momentum": []}
    drawn = torch.randn
    for step in range(STEPS):
        group = optimizer.param_groups[0]
        group["lr"] = rates[step]
        torch.randn = lambda *_, step=step, **__: torch.tensor(noise[step])
        with optimizer.sampled_params(train=True):
            torch.randn = drawn
            optimizer.zero_grad()
            (a * (1 - torch.cos(theta - c))).sum().backward()
        optimizer.step()
        trace["mean"].append(theta.detach().tolist())
        trace["hess"].append(group["hess"].tolist())
        trace["momentum"].append(group["momentum"].tolist())
    return {
        **settings, "learning_rate": rates, "start": start.tolist(),
        "noise": noise.tolist(), "curvature": curvature.tolist(), "centre": centre.tolist(),
        **trace,
    }


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return value


cases = [
    case(1, ess=100.0, weight_decay=1e-3, hess_init=0.5, beta1=0.9, beta2=0.99,
         clip_radius=0.0, learning_rate=0.3),
    case(2, ess=5e4, weight_decay=2e-4, hess_init=0.5, beta1=0.9, beta2=0.99999,
         clip_radius=0.0, learning_rate=0.2),
    case(3, ess=1e3, weight_decay=1e-2, hess_init=1e-2, beta1=0.8, beta2=0.95,
         clip_radius=0.5, learning_rate=0.1),
]
versions = {"ivon-opt": version("ivon-opt"), "numpy": np.__version__, "torch": torch.__version__}
print(json.dumps(rounded({"versions": versions, "cases": cases}), separators=(",", ":")))
