"""Functions to be minimised, as plain NumPy: value and gradient of a vector."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Gradient = Callable[[Vector], Vector]

DIMENSION = 10


def rosenbrock(x: Vector) -> float:
    """The sum of 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2."""
    return float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def rosenbrock_gradient(x: Vector) -> Vector:
    """The gradient of :func:`rosenbrock`."""
    valley = x[1:] - x[:-1] ** 2
    gradient = np.zeros_like(x)
    gradient[:-1] += -400 * x[:-1] * valley - 2 * (1 - x[:-1])
    gradient[1:] += 200 * valley
    return gradient


def _matrix(size: int) -> NDArray[np.float64]:
    basis, _ = np.linalg.qr(np.random.default_rng(5).normal(size=(size, size)))
    return np.asarray(basis @ np.diag(np.linspace(0.5, 20.0, size)) @ basis.T)


def quadratic(x: Vector) -> float:
    """Half of (x - 1)' S (x - 1), S with eigenvalues from 0.5 to 20."""
    return float(0.5 * (x - 1) @ _matrix(x.size) @ (x - 1))


def quadratic_gradient(x: Vector) -> Vector:
    """The gradient of :func:`quadratic`."""
    return np.asarray(_matrix(x.size) @ (x - 1))


GRADIENTS: dict[str, Gradient] = {
    "quadratic": quadratic_gradient,
    "rosenbrock": rosenbrock_gradient,
}


def start(size: int = DIMENSION) -> Vector:
    """A start off every axis of symmetry."""
    return np.asarray(np.random.default_rng(7).uniform(-1.2, 1.2, size))
