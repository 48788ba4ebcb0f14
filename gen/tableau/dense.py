"""Dense output: continuous weights of the highest order that a tableau's stages allow.

In: a tableau.  Out: polynomials ``b_i(theta)`` with

    y(t + theta h) = y + h sum_i b_i(theta) k_i + O(h^(q+1)),    0 <= theta <= 1,

where the right-hand side at the end of the step counts as one more stage.  The conditions are
``sum_i b_i(theta) Phi_i(t) = theta^|t|/gamma(t)`` for all rooted trees to order q, so one linear
system for the coefficients; that the curve joins the step's ends, and where possible their slopes,
are further equations.  Of all solutions the one with the smallest coefficients is taken, in 50
digits, so that it is the same on every machine.

Source: E. Hairer, S. P. Norsett and G. Wanner, Solving Ordinary Differential Equations I, 2nd
edition, section II.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.exact.numbers import DIGITS
from hamilforge.gen.tableau.order import classical_order
from hamilforge.gen.tableau.tableau import Tableau
from hamilforge.gen.trees import rooted

#: Residuals of a linear system that has a solution; coefficients are of size one.
SOLVED = 1e-9
#: Singular values below this, relative to the largest, are rounding.
RANK = 1e-11
#: Each refinement gains several digits.
REFINEMENTS = 12
#: The highest order that is looked for.
HIGHEST = 6


@dataclass(frozen=True, slots=True)
class ContinuousWeights:
    """``b_i(theta) = sum_k coefficients[i, k] theta^(k+1)``.

    Attributes:
        coefficients: one row for each stage, and one for the end of the step.
        order: q.
        smooth: whether neighbouring steps have the same slope where they meet.
    """

    coefficients: NDArray[np.float64]
    order: int
    smooth: bool


def continuous_weights(tableau: Tableau) -> ContinuousWeights:
    """The continuous weights of a method.

    Raises:
        NotDerivableError: it is not consistent.
    """
    with mpmath.workdps(DIGITS):
        return _highest(tableau)


def _highest(tableau: Tableau) -> ContinuousWeights:
    a, b, _ = tableau.by_stages.precise
    size = len(b) + 1
    extended = np.full((size, size), mpmath.mpf(0), dtype=object)
    extended[:-1, :-1], extended[-1, :-1] = a, b
    order = classical_order(tableau, highest=HIGHEST).order
    for wanted in range(order, 0, -1):
        functions, density = _stage_functions(extended, wanted)
        for smooth in (True, False):
            for degree in (wanted, wanted + 1):
                coefficients = _solved(functions, density, degree, b, smooth)
                if coefficients is not None:
                    return ContinuousWeights(coefficients, wanted, smooth)
    raise NotDerivableError("the method is not consistent, so no curve joins its steps")


def _stage_functions(a: Any, order: int) -> tuple[Any, Sequence[tuple[int, int]]]:
    """Phi_i(t) for all trees to an order, with (order, density) of each."""
    trees = rooted.table(order)
    functions: list[Any] = []
    for index, right in enumerate(trees.right):
        if right < 0:
            functions.append(np.full(len(a), mpmath.mpf(1), dtype=object))
        else:
            functions.append(functions[trees.left[index]] * (a @ functions[right]))
    return np.array(functions), list(zip(trees.order, trees.density, strict=True))


def _solved(
    functions: Any,
    density: Sequence[tuple[int, int]],
    degree: int,
    b: Sequence[Any],
    smooth: bool,
) -> NDArray[np.float64] | None:
    """The smallest coefficients that satisfy the conditions, if any do."""
    size = functions.shape[1]
    identity, powers = np.eye(size, dtype=int), np.eye(degree, dtype=int)
    rows, right = [], []
    for k, power in enumerate(powers):
        for function, (count, gamma) in zip(functions, density, strict=True):
            rows.append(np.outer(function, power).ravel())
            right.append(mpmath.mpf(count == k + 1) / gamma)
    for stage, unit in enumerate(identity):
        rows.append(np.outer(unit, np.ones(degree, int)).ravel())
        right.append(b[stage] if stage < len(b) else mpmath.mpf(0))
        if smooth:
            rows.append(np.outer(unit, powers[0]).ravel())
            right.append(mpmath.mpf(stage == 0))
            rows.append(np.outer(unit, np.arange(1, degree + 1)).ravel())
            right.append(mpmath.mpf(stage == size - 1))
    matrix, vector = np.array(rows, dtype=object), np.array(right, dtype=object)
    inverse = np.linalg.pinv(matrix.astype(float), rcond=RANK)
    near, wanted = inverse @ vector.astype(float), vector.astype(float)
    if abs(matrix.astype(float) @ near - wanted).max() > SOLVED:
        return None
    solution = _smallest(matrix, vector, inverse)
    return solution.astype(float).reshape(size, degree)


def _smallest(matrix: Any, vector: Any, inverse: NDArray[np.float64]) -> Any:
    """The smallest solution x of ``M x = v``, as ``M' y``, refined from an inverse in floats."""
    multipliers = vector * 0
    for _ in range(REFINEMENTS):
        residual = vector - matrix @ (matrix.T @ multipliers)
        scale = max(map(abs, residual))
        if scale == 0:
            break
        unit = (residual / scale).astype(float)
        multipliers = multipliers + (inverse.T @ (inverse @ unit)) * scale
    chopped = [
        mpmath.chop(entry, tol=mpmath.mpf(10) ** (10 - DIGITS)) for entry in matrix.T @ multipliers
    ]
    return np.array(chopped, dtype=object)
