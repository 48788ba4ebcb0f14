"""One trajectory whose steps follow an error estimate, moved a stretch at a time.

Kernels are called for stretches of a fraction of a second each, so that long runs can be
interrupted; they stop between steps that were taken, so nothing depends on where they were cut.
"""

from __future__ import annotations

import time
from types import ModuleType

import numpy as np

from hamilforge.runtime.core.numbers import all_finite
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.adaptive_control import (
    Control,
    Limits,
    begun_control,
    next_stretch,
    why_lost,
    why_spent,
)
from hamilforge.runtime.integrators.solution import Floats

#: Steps of the first call, before it is known how long they take, of a large system, and components
#: that steps without equations take in it; seconds of each other one.
FIRST_STRETCH, FIRST_COMPONENTS, STRETCH = 64, 100_000, 0.1


class AdaptiveTrajectory:
    """A trajectory that kernels move, as far as it is.

    Args:
        product: the generated module.
        start_state: the start, `(components,)`.
        row: the parameters.
        start: the time of the start.
        stop: the time of the end.
        limits: tolerances, and the budget of steps.

    Attributes:
        t, y: where it is.
        control: what kernels and callers share.
        residual: of a solve that failed; 0 else.
        room: what kernels work in.
        stretch: how many steps the next call takes.
    """

    __slots__ = (
        "_limits", "_low", "_product", "_row", "_stop", "_way", "control", "residual",
        "room", "stretch", "t", "y",
    )  # fmt: skip

    def __init__(
        self,
        product: ModuleType,
        start_state: Floats,
        row: Floats,
        start: float,
        stop: float,
        limits: Limits,
    ) -> None:
        self._product, self._row, self._limits = product, row, limits
        self._stop, self._way, self.residual = stop, stop - start, 0.0
        self._low, self.room = np.zeros_like(start_state), Workspace.of(product, 1)
        self.t, self.y = start, start_state.copy()
        self.control = begun_control(product, self.y, row, start, stop, limits)
        first = max(FIRST_STRETCH, FIRST_COMPONENTS // self.y.size)
        self.stretch = min(FIRST_STRETCH if product.UNKNOWNS else first, limits.steps)

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
