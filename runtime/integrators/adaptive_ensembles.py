"""Adaptive runs of several trajectories in parallel, each with steps of its own.

In: starts, and the times at which states are kept.  Out: the states.  Kernels are called for
stretches of a fraction of a second each, as those of single trajectories, with the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.threads import by_portions
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.adaptive_control import (
    Control,
    Limits,
    begun_control,
    failure,
    first_steps,
    next_stretch,
    of_trajectory,
    why_lost,
    why_spent,
)
from hamilforge.runtime.integrators.side_by_side import of_own_steps
from hamilforge.runtime.integrators.solution import Floats, Solution

#: Steps of each trajectory in the first call, and seconds of each other call.
FIRST_STRETCH, STRETCH = 64, 0.2


def adaptive_ensemble(
    product: ModuleType,
    state: Floats,
    values: Mapping[str, Any],
    table: Floats,
    start: float,
    stop: float,
    limits: Limits,
) -> Solution:
    """All trajectories side by side.

    Args:
        product: the generated module.
        state: the starts, `(trajectories, components)`.
        values: the parameters by name.
        table: the parameters of each trajectory.
        start: the time of the start.
        stop: the time of the end.
        limits: tolerances, times to keep, and the budget of steps.

    Returns:
        The states of all trajectories.

    Raises:
        IntegrationError: no step of a trajectory is small enough, or its budget is used up.
    """
    count, size = state.shape
    times = limits.times
    assert times is not None  # those of steps differ
    y, low, room = state.copy(), np.zeros_like(state), Workspace.of(product, count)
    out, moments = np.empty((count, len(times), size)), np.empty((count, len(times)))
    control = np.tile(begun_control(product, limits), (count, 1))
    control[:, Control.STEP] = first_steps(product, state, table, start, stop, limits)
    if times[0] == start:
        out[:, 0], moments[:, 0], control[:, Control.WRITTEN] = state, start, 1
    t, residuals = np.full(count, start), np.zeros(count)
    lanes = of_own_steps(product, count)
    kernel, pieces = product.adaptive_ensemble, count
    beside: tuple[Floats, ...] = ()
    if lanes is not None:
        kernel, pieces = product.adaptive_in_lanes, len(lanes.states)
        beside = (lanes.states, lanes.series)
    stretch = FIRST_STRETCH
    while (control[:, Control.WRITTEN] < len(times)).any():
        begun, before = time.perf_counter(), control[:, Control.STEPS].copy()
        control[:, Control.RETURN_AT] = np.minimum(before + stretch, limits.steps)
        by_portions(
            kernel, pieces, t, stop, control, y, low, table, limits.relative,
            limits.absolute, times, moments, out, room.rows, room.square, room.slopes, room.flags,
            residuals, *beside,
        )  # fmt: skip
        lost = (residuals != 0.0) | ~np.isfinite(y).all(axis=1)
        spent = control[:, Control.STEPS] >= limits.steps
        wrong = np.flatnonzero(lost | (spent & (control[:, Control.WRITTEN] < len(times))))
        if wrong.size:
            m = int(wrong[0])
            written = int(control[m, Control.WRITTEN])
            reason = (
                why_lost(product, control[m], residuals[m])
                if lost[m]
                else why_spent(limits, control[m], abs(stop - t[m]))
            )
            raise failure(
                product,
                float(t[m]),
                control[m],
                [(moments[m, :written], out[m, :written])],
                of_trajectory(values, m),
                f"{reason} (trajectory {m}; {wrong.size} of {count} failed)",
                float(residuals[m]),
            )
        taken = float((control[:, Control.STEPS] - before).max())
        stretch = next_stretch(taken, begun, STRETCH)
    return Solution(
        product.NAME,
        product.COMPONENTS,
        times,
        out,
        values,
        int(control[:, Control.STEPS].max(initial=0)),
        int(control[:, Control.REJECTED].max(initial=0)),
        product,
        status=np.zeros(count, int),
    )
