"""One vector and the state of an optimizer, moved by its compiled kernels; no torch needed.

In: a generated numba module, hyper-parameters, a start, and a gradient for each stage.  Out: the
point at which the next gradient is wanted, and the solution after each whole step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.normal_numbers import key_of
from hamilforge.runtime.core.numbers import real_number
from hamilforge.runtime.optimizers.clock import Clock, check_requirements, latch, start, tick
from hamilforge.runtime.optimizers.hyperparameters import arguments, hyperparameters
from hamilforge.runtime.optimizers.kernels import noise, plan, run

Vector = NDArray[np.float64]


def checked(
    product: ModuleType, options: Mapping[str, Any], together: bool = True
) -> dict[str, float]:
    """All hyper-parameters of a rule as numbers, those of ``options`` and defaults for the rest.

    Args:
        product: a generated module.
        options: what was chosen.
        together: whether conditions on several are checked.

    Returns:
        The numbers, by name.

    Raises:
        ValueError: there is none of a name, or one is no number, or outside its domain, or a rule
            does not allow them together.
    """
    known = arguments(product)
    if unknown := sorted({*options} - {*known}):
        raise ValueError(f"no hyper-parameter {unknown[0]}; expected one of {', '.join(known)}")
    hyper = {}
    for name, value in hyperparameters({**known, **options}, product).items():
        _, domain = product.HYPERPARAMETERS[name]
        flag = domain == "flag" and isinstance(value, bool)
        hyper[name] = float(value) if flag else real_number(name, value)
        check_domain(name, hyper[name], domain)
    if together:
        check_requirements(product, hyper)
    return hyper


class Trajectory:
    """An optimizer on one vector.

    Args:
        product: a generated numba module of an optimizer.
        hyper: all hyper-parameters by name.
        x: where it begins, `(n,)`; it is changed in place.
        seed: of the noise, for a rule that draws.

    Attributes:
        x: the point at which the next gradient is wanted, `(n,)`.
        states: the arrays of the state, each `(n,)`.
        solution: after the last whole step, `(n,)`.
    """

    def __init__(
        self, product: ModuleType, hyper: Mapping[str, float], x: Vector, seed: int = 0
    ) -> None:
        check_requirements(product, hyper)
        self._product, self._hyper, self.x = product, hyper, x
        self._keys, self._draws = (key_of(seed, 0, "0"),), 0
        self.states = [np.zeros_like(x) for _ in product.STATES]
        self._how = plan([x.size], [0], product.SCOPE, product.SUMS)
        if product.STARTED:
            row = product.start_row(*hyper.values())
            self._run(product.started, row, (x, *self.states))
        self._clock = start(product)
        self.solution = x.copy()

    @property
    def stage(self) -> int:
        """The stage that the next gradient is of; 0 between whole steps."""
        return self._clock.stage

    def step(self, gradient: Vector, loss: float | None = None) -> None:
        """Take the gradient, and the loss where the rule reads it, at :attr:`x`."""
        clock = latch(self._product, self._clock, self._hyper, loss=loss)
        self._clock = self._called(clock, gradient)
        self._draws += 1
        while self._clock.stage >= len(self._product.STAGES) - self._product.CLOSES:
            self._clock = self._called(self._clock, gradient)  # which is not read
        if self._clock.stage == 0:
            self.solution = self.x.copy()
            if self._product.SHIFTED:
                row = self._product.solution_row(*self._clock.memory)
                self._run(self._product.solution, row, (self.solution, *self.states))

    def _called(self, clock: Clock, gradient: Vector) -> Clock:
        """Run a stage, or an outer step; the clock after it."""
        arrays = (self.x, *self.states, gradient)
        drawn = noise(self._product, clock.stage, (self._keys, self._draws))
        self._run(self._product.STAGES[clock.stage], clock.row(), arrays, drawn)
        return tick(clock)

    def _run(
        self, kernel: Any, row: Sequence[float], arrays: Sequence[Vector], drawn: Any = None
    ) -> None:
        addresses = np.array([[array.ctypes.data] for array in arrays], np.uintp)
        run(kernel, self._how, np.array([row]), addresses, "float64", drawn)
