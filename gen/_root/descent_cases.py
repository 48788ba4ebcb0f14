"""What discrete gradients as methods for gradient flows are compared with: exact arithmetic.

In: a declaration.  Out: pairs of points, a polynomial, and its discrete gradient between them in
rational numbers.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from hamilforge.gen.declare import kinds
from hamilforge.gen.prove.integrators.discrete_gradient import SIZE, DrawnProblem
from hamilforge.runtime.optimizers.evaluation import Vector
from hamilforge.runtime.optimizers.verify_descent import DescentCase

#: How many pairs of points.
PAIRS = 4


def descent_cases(declaration: kinds.DiscreteGradient) -> list[DescentCase]:
    """Drawn pairs of points, with what the discrete gradient between them is."""
    problem = DrawnProblem(declaration)
    generator = random.Random(7)

    def rational(point: Vector) -> list[Fraction]:
        return [Fraction(float(entry)) for entry in point]

    def value(point: Vector) -> float:
        return float(problem.energy(rational(point)))

    def gradient(point: Vector) -> Vector:
        return _floats(problem.gradient(rational(point)))

    cases = []
    for number in range(PAIRS):
        u, v = ([Fraction(generator.randint(-64, 64), 64) for _ in range(SIZE)] for _ in range(2))
        mean = _floats(problem.mean(u, v))
        case = DescentCase(f"pair {number + 1}", _floats(u), _floats(v), value, gradient, mean)
        cases.append(case)
    return cases


def _floats(point: Sequence[Fraction]) -> Vector:
    return np.array([float(entry) for entry in point])
