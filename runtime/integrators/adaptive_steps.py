"""Runs whose steps follow an error estimate, with dense output.

Kernels are called for stretches of a fraction of a second each, so that long runs can be
interrupted; they stop between steps that were taken, so nothing depends on where they were cut.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.solution import Floats, Solution

#: States that one adaptive call writes before it returns for more room.
ROOM = 4096
#: Steps of the first call, before it is known how long they take, of a large system, and components
#: that steps without equations take in it; seconds of each other one.
FIRST_STRETCH, FIRST_COMPONENTS, STRETCH = 64, 100_000, 0.1
#: Steps of one trajectory that may be taken if nothing else is asked for.
MOST_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds an adaptive run.

    Attributes:
        relative, absolute: tolerances, `(components,)` each.
        times: the times to keep; every step if None, for one trajectory.
        steps: how many steps may be taken.
    """

    relative: Floats
    absolute: Floats
    times: Floats | None
    steps: int


def adaptive_steps(
    product: ModuleType,
    state: Floats,
    values: Mapping[str, Any],
    table: Floats,
    start: float,
    stop: float,
    limits: Limits,
) -> Solution:
    """All trajectories, one after the other, each with steps of its own.

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
        IntegrationError: no step is small enough, or the budget is used up.
    """
    runs = [
        _one_adaptive(product, y, row, start, stop, limits, values)
        for y, row in zip(state, table, strict=True)
    ]
    times = runs[0][0] if runs else limits.times
    assert times is not None  # without them there is one trajectory
    shape = (len(runs), len(times), state.shape[1])
    return Solution(
        product.NAME,
        product.COMPONENTS,
        times,
        np.reshape([states for _, states, _, _ in runs], shape),
        values,
        max((steps for _, _, steps, _ in runs), default=0),
        max((rejected for _, _, _, rejected in runs), default=0),
        product,
    )


def _one_adaptive(
    product: ModuleType,
    start_state: Floats,
    row: Floats,
    start: float,
    stop: float,
    limits: Limits,
    values: Mapping[str, Any],
) -> tuple[Floats, Floats, int, int]:
    y, low, room = start_state.copy(), np.zeros_like(start_state), Workspace.of(product, 1)
    times = limits.times
    by_coefficients = hasattr(product, "size_of_step")  # which say how long the first one is
    first = 0.0 if by_coefficients else _first_step(product, y, row, start, stop, limits)
    control = np.array([first, 1e-4, 0, 0, 0, np.inf, 0, 0])
    wanted = np.empty(0) if times is None else times
    pieces: list[tuple[Floats, Floats]] = []
    if times is None:
        pieces.append((np.array([start]), start_state[None].copy()))
    elif times[0] == start:
        pieces.append((np.array([start]), start_state[None].copy()))
        wanted = times[1:]
        if not wanted.size:
            return *pieces[0], 0, 0
    t, stretch = start, FIRST_STRETCH
    if not product.UNKNOWNS:
        stretch = max(stretch, FIRST_COMPONENTS // y.size)
    while (stop - t) * (stop - start) > 0:
        begun, before = time.perf_counter(), int(control[2])
        stretch = min(stretch, limits.steps - before)
        capacity = min(ROOM, stretch) if times is None else max(wanted.size, 1)
        out, moments = np.empty((capacity, y.size)), np.empty(capacity)
        control[4], control[6] = 0, before + stretch
        t, residual = product.adaptive(
            t, stop, control, y, low, row, limits.relative, limits.absolute, wanted, moments, out,
            room.rows[0], room.square[0], room.slopes[0], room.flags[0],
        )  # fmt: skip
        place, taken = int(control[4]), int(control[2])
        pieces.append((moments[:place], out[:place]))
        if residual != 0.0 or not np.isfinite(y).all():
            raise _failure(
                product,
                t,
                control,
                pieces,
                values,
                "the solution's series has no radius of convergence there: a singularity, or a "
                "power that is not whole at 0"
                if by_coefficients
                else f"the step size fell to {control[0]:.1e} and its error is still "
                f"{residual:.1e} times the tolerance: a singularity, or tolerances below rounding",
                float(residual),
            )
        if times is not None:
            wanted = wanted[place:]
            if not wanted.size:
                break
        if taken >= limits.steps and (stop - t) * (stop - start) > 0:
            raise _failure(
                product,
                t,
                control,
                pieces,
                values,
                f"the budget of {limits.steps} steps is used up {abs(stop - t):.3g} before the "
                f"end, with steps of {abs(control[0]):.1e}: tolerances below rounding, or a stiff "
                "problem; give larger tolerances, a method for stiff problems, or a larger "
                "max_steps",
            )
        spent = max(time.perf_counter() - begun, 1e-5)
        most = max(1, taken - before) * min(STRETCH / spent, 4.0)
        stretch = max(1, min(int(most) + 1, 10_000_000))
    return (
        np.concatenate([moments for moments, _ in pieces]),
        np.concatenate([states for _, states in pieces]),
        int(control[2]),
        int(control[3]),
    )


def _failure(
    product: ModuleType,
    t: float,
    control: Floats,
    pieces: Sequence[tuple[Floats, Floats]],
    values: Mapping[str, Any],
    reason: str,
    residual: float = 0.0,
) -> IntegrationError:
    """The error of a run that ends early, with the solution so far."""
    step = int(control[2])
    moments, states = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    so_far = Solution(
        product.NAME, product.COMPONENTS, moments, states, values, step, int(control[3]), product
    )
    return IntegrationError(
        f"step {step} of {product.NAME} at t = {t:.6g}: {reason}", t, step, residual, so_far
    )


def _first_step(
    product: ModuleType, y: Floats, row: Floats, start: float, stop: float, limits: Limits
) -> float:
    """A hundredth of the time in which the state would change by its size, in the tolerances."""
    slope = np.zeros_like(y)
    for name in product.FIELDS:
        getattr(product, name)(start, y, row, 1.0, slope)
    scale = limits.absolute + limits.relative * abs(y)
    with np.errstate(over="ignore"):
        size, speed = (float(np.sqrt(np.mean((v / scale) ** 2))) for v in (y, slope))
    least = 1e3 * float(np.spacing(abs(start)))
    guess = 0.01 * size / speed if size > 1e-5 and speed > 1e-5 else 1e-6
    if not math.isfinite(guess):  # tolerances so small that their multiples are no numbers
        guess = least
    return math.copysign(min(max(guess, least), abs(stop - start)), stop - start)
