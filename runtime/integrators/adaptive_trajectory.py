"""One trajectory whose steps follow an error estimate, moved a stretch at a time.

Kernels are called for stretches of a fraction of a second each, so that long runs can be
interrupted; they stop between steps that were taken, so nothing depends on where they were cut.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.numbers import all_finite
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.adaptive_control import (
    Control,
    Limits,
    begun_control,
    failure,
    first_steps,
    next_stretch,
    why_lost,
    why_spent,
)
from hamilforge.runtime.integrators.solution import Floats

#: Steps of the first call, before it is known how long they take, of a large system, and components
#: that steps without equations take in it; seconds of each other one.
FIRST_STRETCH, FIRST_COMPONENTS, STRETCH = 64, 100_000, 0.1
#: Times to keep of which none comes, of runs backwards and forwards.
NEVER = np.array([-math.inf]), np.array([math.inf])


class AdaptiveTrajectory:
    """A trajectory that kernels move, as far as it is.

    Its arrays serve one run after another: :meth:`begin` comes first in each.

    Args:
        product: the generated module.
        row: the parameters.
        limits: tolerances, and the budget of steps.

    Attributes:
        t, y: where it is.
        control: what kernels and callers share.
        residual: of a solve that failed; 0 else.
        room: what kernels work in.
        stretch: how many steps the next call takes.
    """

    __slots__ = (
        "_begun", "_limits", "_low", "_product", "_row", "_start", "_stop", "_unwanted", "_way",
        "control", "residual", "room", "stretch", "t", "y",
    )  # fmt: skip

    def __init__(self, product: ModuleType, row: Floats, limits: Limits) -> None:
        self._product, self._row, self._limits = product, row, limits
        self._begun = begun_control(product, limits)
        self.control = self._begun.copy()
        self._low, self.room = np.zeros(product.SIZE), Workspace.of(product, 1)
        self._unwanted = np.empty(1), np.empty((1, product.SIZE))

    def begin(self, start_state: Floats, start: float, stop: float) -> None:
        """Stand at the start of a run.

        Args:
            start_state: the start, `(components,)`; it is not changed.
            start: its time.
            stop: the time of the end.
        """
        product, steps = self._product, self._limits.steps
        self._start, self._stop, self.residual = start_state, stop, 0.0
        self._way = math.copysign(1.0, stop - start)
        self.t, self.y = start, start_state.copy()
        self._low.fill(0.0)
        self.room.clear()
        self.control[:] = self._begun
        self.control[Control.STEP] = first_steps(
            product, self.y[None], self._row[None], start, stop, self._limits
        )[0]
        first = max(FIRST_STRETCH, FIRST_COMPONENTS // product.SIZE)
        self.stretch = min(FIRST_STRETCH if product.UNKNOWNS else first, steps)

    @property
    def is_under_way(self) -> bool:
        """Whether the end is ahead."""
        return (self._stop - self.t) * self._way > 0

    @property
    def steps(self) -> int:
        """How many were taken."""
        return int(self.control[Control.STEPS])

    def advance(
        self, wanted: Floats, moments: Floats, out: Floats, looked_for: Floats | None
    ) -> int:
        """Call the kernel once.

        Args:
            wanted: times to keep, and one that never comes; that alone for all steps.
            moments: takes the times of states.
            out: takes the states, `(times, components)`.
            looked_for: room of series for events; None without them.

        Returns:
            How many steps were taken.
        """
        control, room, limits = self.control, self.room, self._limits
        begun, before = time.perf_counter(), self.steps
        control[Control.WRITTEN] = control[Control.UNCLEAR] = 0
        control[Control.RETURN_AT] = before + self.stretch
        self.t, self.residual = self._product.adaptive(
            self.t, self._stop, control, self.y, self._low, self._row, limits.relative,
            limits.absolute, wanted, moments, out, room.rows[0], room.square[0], room.slopes[0],
            room.flags[0], looked_for,
        )  # fmt: skip
        taken = self.steps - before
        self.stretch = min(next_stretch(taken, begun, STRETCH), limits.steps - self.steps)
        return taken

    def finish(self, values: Callable[[], Mapping[str, Any]]) -> Floats:
        """Move to the end, without looking at what lies between.

        Args:
            values: the parameters by name, for the solution so far of a run that fails.

        Returns:
            The state there, `(components,)`.

        Raises:
            IntegrationError: no step is small enough, or the budget is used up.
        """
        start, never = self.t, NEVER[self._way > 0]
        while self.is_under_way:
            self.advance(never, *self._unwanted, None)
            reason = self.loss or self.exhaustion
            if reason is not None:
                so_far = [(np.array([start, self.t]), np.stack((self._start, self.y)))]
                raise failure(
                    self._product, self.t, self.control, so_far, values(), reason, self.residual
                )
        return self.y

    @property
    def loss(self) -> str | None:
        """Why no step could be taken; None if one could."""
        if self.residual == 0.0 and all_finite(self.y):
            return None
        return why_lost(self._product, self.control, self.residual)

    @property
    def exhaustion(self) -> str | None:
        """Why no more steps may be taken; None if they may, or need not."""
        if self.steps < self._limits.steps or not self.is_under_way:
            return None
        return why_spent(self._limits, self.control, abs(self._stop - self.t))
