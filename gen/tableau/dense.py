"""Dense output: continuous weights of the highest order that a tableau's stages allow.

In: a tableau.  Out: polynomials ``b_i(theta)`` with

    y(t + theta h) = y + h sum_i b_i(theta) k_i + O(h^(q+1)),    0 <= theta <= 1,

where the right-hand side at the end of the step counts as one more stage.  The conditions are
``sum_i b_i(theta) Phi_i(t) = theta^|t|/gamma(t)`` for all rooted trees to order q, so one linear
system for the coefficients; that the curve joins the step's ends, and where possible their slopes,
are further equations.  Of all solutions the one with the smallest coefficients is taken.

Source: E. Hairer, S. P. Norsett and G. Wanner, Solving Ordinary Differential Equations I, 2nd
edition, section II.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hamilforge.gen.tableau.order import classical_order
from hamilforge.gen.tableau.tableau import Tableau
from hamilforge.gen.trees import rooted

#: Residuals of a linear system that has a solution; coefficients are of size one.
SOLVED = 1e-9
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
    """The continuous weights of a method."""
    a, b, _ = tableau.by_stages.floats
    size = len(b) + 1
    extended = np.zeros((size, size))
    extended[:-1, :-1], extended[-1, :-1] = a, b
    order = classical_order(tableau, highest=HIGHEST).order
    for wanted in range(order, 0, -1):
        functions, density = _stage_functions(extended, wanted)
        for smooth in (True, False):
            for degree in (wanted, wanted + 1):
                found = _solved(functions, density, wanted, degree, b, smooth)
                if found is not None:
                    return ContinuousWeights(found, wanted, smooth)
    raise ArithmeticError("a consistent method has continuous weights of order one")


def _stage_functions(
    a: NDArray[np.float64], order: int
) -> tuple[NDArray[np.float64], Sequence[tuple[int, int]]]:
    """Phi_i(t) for all trees to an order, with (order, density) of each."""
    trees = rooted.table(order)
    functions: list[NDArray[np.float64]] = []
    for index, right in enumerate(trees.right):
        if right < 0:
            functions.append(np.ones(len(a)))
        else:
            functions.append(functions[trees.left[index]] * (a @ functions[right]))
    return np.array(functions), list(zip(trees.order, trees.density, strict=True))


def _solved(
    functions: NDArray[np.float64],
    density: Sequence[tuple[int, int]],
    order: int,
    degree: int,
    b: NDArray[np.float64],
    smooth: bool,
) -> NDArray[np.float64] | None:
    size = functions.shape[1]
    identity = np.eye(size)
    rows, right = [], []
    for k in range(degree):
        power = np.eye(degree)[k]
        for function, (count, gamma) in zip(functions, density, strict=True):
            rows.append(np.outer(function, power).ravel())
            right.append(1 / gamma if count == k + 1 else 0.0)
    for stage, unit in enumerate(identity):
        rows.append(np.outer(unit, np.ones(degree)).ravel())
        right.append(b[stage] if stage < len(b) else 0.0)
        if smooth:
            rows.append(np.outer(unit, np.eye(degree)[0]).ravel())
            right.append(float(stage == 0))
            rows.append(np.outer(unit, np.arange(1, degree + 1)).ravel())
            right.append(float(stage == size - 1))
    matrix, vector = np.array(rows), np.array(right)
    found = np.linalg.lstsq(matrix, vector, rcond=None)[0]
    if abs(matrix @ found - vector).max() > SOLVED:
        return None
    return found.reshape(size, degree)
