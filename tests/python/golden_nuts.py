"""Golden predictions of a Bayesian softmax regression: NumPyro's No-U-Turn sampler.

A few rows with a weak prior, so that the posterior is far from a Gaussian. Eight chains in f64; the Monte
Carlo standard error of each probability comes from the means of the chains. Prints the file to stdout:

    python tests/python/golden_nuts.py > tests/fixtures/nuts.json
"""

import json
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

numpyro.enable_x64()
ROWS, WIDTH, PROBES, CHAINS = 40, 4, 6, 8


def case(seed, classes, delta):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(ROWS, WIDTH)).astype(np.float32).astype(np.float64)
    truth = 2 * generator.normal(size=(classes, WIDTH + 1))
    design = np.concatenate([features, np.ones((ROWS, 1))], axis=1)
    logits = design @ truth.T + generator.gumbel(size=(ROWS, classes))
    labels = logits.argmax(1)
    probes = (2 * generator.normal(size=(PROBES, WIDTH))).astype(np.float32).astype(np.float64)
    probe_design = np.concatenate([probes, np.ones((PROBES, 1))], axis=1)

    def model():
        shape = (classes, WIDTH + 1)
        weight = numpyro.sample("w", dist.Normal(0, delta**-0.5).expand(shape).to_event(2))
        numpyro.sample("y", dist.Categorical(logits=design @ weight.T), obs=labels)

    sampler = MCMC(
        NUTS(model), num_warmup=1000, num_samples=10_000, num_chains=CHAINS,
        chain_method="sequential", progress_bar=False,
    )
    sampler.run(jax.random.PRNGKey(seed))
    weight = sampler.get_samples(group_by_chain=True)["w"]
    p = jax.nn.softmax(jnp.einsum("nd,mskd->msnk", probe_design, weight), axis=-1)
    of_chains = np.asarray(p.mean(1))
    mean = of_chains.mean(0)
    entropy = np.asarray(-(p * jnp.log(jnp.maximum(p, 1e-300))).sum(-1).mean((0, 1)))
    total = -(mean * np.log(mean)).sum(-1)
    return {
        "classes": classes,
        "prior_precision": delta,
        "features": features.ravel().tolist(),
        "labels": labels.tolist(),
        "probes": probes.ravel().tolist(),
        "probabilities": mean.ravel().tolist(),
        "standard_error": float((of_chains.std(0, ddof=1) / CHAINS**0.5).max()),
        "epistemic": (total - entropy).tolist(),
    }


print(json.dumps({
    "numpyro": version("numpyro"),
    "width": WIDTH,
    "cases": [case(1, 2, 0.2), case(2, 3, 0.5)],
}))
