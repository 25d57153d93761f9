"""Golden variances of the logits of a small encoder under laplace-torch's full Laplace approximation over adapters.

The encoder is written out here in torch: one layer, mean of the tokens, a linear layer. W + V A or W + B V' stand for
the weights of the layer, W + V for that of the last one, all V being zero; A and B are the singular vectors of W with
the largest singular values, from numpy. Everything in f64; prints the file to stdout:

    python tests/python/golden_lora_laplace.py > tests/fixtures/lora_laplace.json
"""

import json
from importlib.metadata import version

import numpy as np
import torch
from laplace import FullLaplace
from laplace.curvature import CurvlinopsGGN
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_default_dtype(torch.float64)
WIDTH, HEADS, WIDE, VOCABULARY, POSITIONS, CLASSES, RANK = 4, 2, 6, 12, 8, 3, 2
ROWS, LENGTH, PRIOR = 20, 5, 3.0
rng = np.random.default_rng(7)


def random(*shape, scale=0.7):
    return rng.normal(size=shape, scale=scale).astype(np.float32)


def norm():
    return np.stack([1 + random(WIDTH, scale=0.1), random(WIDTH, scale=0.1)])


layer = "layer.0000."
weights = {
    "embeddings.word": random(VOCABULARY, WIDTH), "embeddings.position": random(POSITIONS, WIDTH),
    "embeddings.type": random(2, WIDTH), "embeddings.norm": norm(),
    layer + "attention.qkv.weight": random(3 * WIDTH, WIDTH),
    layer + "attention.qkv.bias": random(3 * WIDTH),
    layer + "attention.output.weight": random(WIDTH, WIDTH),
    layer + "attention.output.bias": random(WIDTH), layer + "attention.norm": norm(),
    layer + "feed_forward.inner.weight": random(WIDE, WIDTH),
    layer + "feed_forward.inner.bias": random(WIDE),
    layer + "feed_forward.outer.weight": random(WIDTH, WIDE),
    layer + "feed_forward.outer.bias": random(WIDTH), layer + "feed_forward.norm": norm(),
    "pooler.weight": random(WIDTH, WIDTH), "pooler.bias": random(WIDTH),
    "classifier.weight": random(CLASSES, WIDTH), "classifier.bias": random(CLASSES),
}


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = {name: torch.tensor(value.astype(np.float64)) for name, value in weights.items()}
        self.fixed, self.moving = {}, nn.ParameterDict()
        for name, value in weights.items():
            if not name.endswith(".weight") or name == "pooler.weight":
                continue
            rows, columns = value.shape
            key = name.replace(".", "_")
            if name == "classifier.weight":
                self.moving[key] = nn.Parameter(torch.zeros(rows, columns))
                continue
            left, _, right = np.linalg.svd(value.astype(np.float64), full_matrices=False)
            if rows > columns:
                self.fixed[key] = torch.tensor(left[:, :RANK].copy())
                self.moving[key] = nn.Parameter(torch.zeros(columns, RANK))
            else:
                self.fixed[key] = torch.tensor(right[:RANK].copy())
                self.moving[key] = nn.Parameter(torch.zeros(rows, RANK))

    def weight(self, name):
        key, own = name.replace(".", "_"), self.w[name]
        if key not in self.fixed:
            return own + self.moving[key]
        if own.shape[0] > own.shape[1]:
            return own + self.fixed[key] @ self.moving[key].T
        return own + self.moving[key] @ self.fixed[key]

    def affine(self, x, name):
        return x @ self.weight(name + ".weight").T + self.w[name + ".bias"]

    def norm(self, x, name):
        gamma, beta = self.w[name]
        return nn.functional.layer_norm(x, (WIDTH,), gamma, beta, 1e-12)

    def forward(self, x):
        ids = x.long()
        length = ids.shape[-1]
        hidden = self.w["embeddings.word"][ids] + self.w["embeddings.position"][:length]
        hidden = self.norm(hidden + self.w["embeddings.type"][0], "embeddings.norm")
        query, key, value = self.affine(hidden, layer + "attention.qkv").chunk(3, dim=-1)
        split = lambda one: one.unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(-3, -2)  # noqa: E731
        query, key, value = split(query), split(key), split(value)
        score = (query @ key.transpose(-1, -2)) / (WIDTH // HEADS) ** 0.5
        mixed = (score.softmax(-1) @ value).transpose(-3, -2).flatten(-2)
        hidden = self.norm(
            hidden + self.affine(mixed, layer + "attention.output"), layer + "attention.norm"
        )
        inner = nn.functional.gelu(self.affine(hidden, layer + "feed_forward.inner"))
        outer = self.affine(inner, layer + "feed_forward.outer")
        hidden = self.norm(hidden + outer, layer + "feed_forward.norm")
        return self.affine(hidden.mean(-2), "classifier")


model = Encoder()
ids = rng.integers(0, VOCABULARY, (ROWS, LENGTH))
inputs = torch.tensor(ids, dtype=torch.float64)
labels = torch.tensor(rng.integers(0, CLASSES, ROWS))
laplace = FullLaplace(
    model, "classification", prior_precision=PRIOR, backend=CurvlinopsGGN,
    backend_kwargs={"stochastic": False},
)
laplace.fit(DataLoader(TensorDataset(inputs, labels), batch_size=ROWS))
jacobians, logits = laplace.backend.jacobians(inputs[:5])
variance = laplace.functional_variance(jacobians)


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [rounded(one) for one in value]
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return value


print(json.dumps(rounded({
    "versions": {name: version(name) for name in ["laplace-torch", "torch", "numpy"]},
    "weights": {name: {"shape": list(value.shape), "values": value.flatten().tolist()}
                for name, value in weights.items()},
    "ids": ids.tolist(), "prior_precision": PRIOR, "rank": RANK,
    "logits": logits.detach().tolist(), "covariance": variance.detach().tolist(),
}), separators=(",", ":")))
