"""Comparison of discrete gradients with exact arithmetic, at pairs of points.

In: a loaded product, and cases.  Out: how far its discrete gradient is from the exact one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hamilforge.runtime.core.comparison import Deviation, Verification
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.optimizers.descent import ImplicitSteps
from hamilforge.runtime.optimizers.evaluation import EPSILON, Vector

#: Roundings of a value or a gradient, each as often as it is divided by an increment.
ROUNDINGS = 8.0


@dataclass(frozen=True, slots=True)
class DescentCase:
    """Two points, a function, and its discrete gradient between them.

    Attributes:
        value, gradient: of the function, correctly rounded.
        mean: the discrete gradient.
    """

    name: str
    u: Vector
    v: Vector
    value: Callable[[Vector], float]
    gradient: Callable[[Vector], Vector]
    mean: Vector


def compare(
    loaded: Loaded, cases: Sequence[DescentCase], backends: Sequence[str], device: str = "cpu"
) -> Verification:
    """The generated discrete gradient at every pair of points.

    Args:
        loaded: the product.
        cases: pairs of points.
        backends: of which only ``numba`` has this product.
        device: not looked at: the functions run on the CPU.

    Returns:
        A deviation for each case.
    """
    del device
    deviations = []
    for case in cases if "numba" in backends else ():
        product = loaded.module("numba")
        at_u, at_v = case.value(case.u), case.value(case.v)
        steps = ImplicitSteps(product, case.value, case.gradient, lambda u, at_u, h: u, 1.0)
        mean = steps.mean(case.u, case.v, at_u, at_v)
        least = float(abs(case.v - case.u).min())
        size = float(abs(case.mean).max()) + max(abs(at_u), abs(at_v)) / least
        ulps = float(abs(mean - case.mean).max()) / (EPSILON * size)
        deviations.append(Deviation("numba", case.name, "float64", ulps, ulps <= ROUNDINGS))
    return Verification(loaded.name, tuple(deviations))
