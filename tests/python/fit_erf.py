"""Coefficients of `compute::kernels::math::erf`: erf(x) = x p((x^2 - c) / c) on |x| <= 3.92.

Weighted least squares in a Chebyshev basis, reweighted until the largest absolute error is level
(Lawson 1961). Prints the coefficients of the powers, constant first. Needs numpy.
"""

from math import erf

import numpy as np

LIMIT, DEGREE, POINTS = 3.92, 15, 4000

t = np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)
x = np.sqrt((t + 1) / 2 * LIMIT**2)
target = np.array([erf(value) / value for value in x])
basis = np.polynomial.chebyshev.chebvander(t, DEGREE)
weights = np.ones(POINTS) / POINTS
for _ in range(300):
    scale = np.sqrt(weights) * x
    coefficients, *_ = np.linalg.lstsq(basis * scale[:, None], target * scale, rcond=None)
    error = np.abs((basis @ coefficients - target) * x)
    weights *= error + 1e-30
    weights /= weights.sum()
print(f"largest absolute error {error.max():.2e}")
for value in np.polynomial.chebyshev.cheb2poly(coefficients):
    print(f"{np.float32(value)!s},")
