"""Runs whose steps follow an error estimate, with dense output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.solution import Floats, IntegrationError, Solution
from hamilforge.runtime.workspace import Workspace

#: States that one adaptive call writes before it returns for more room.
ROOM = 4096


def adaptive_steps(
    product: ModuleType,
    state: Floats,
    values: Mapping[str, Any],
    table: Floats,
    start: float,
    stop: float,
    relative: float,
    absolute: float,
    times: Floats | None,
) -> Solution:
    """All trajectories, one after the other, each with steps of its own.

    Args:
        product: the generated module.
        state: the starts, `(trajectories, components)`.
        values: the parameters by name.
        table: the parameters of each trajectory.
        start: the time of the start.
        stop: the time of the end.
        relative: the relative tolerance.
        absolute: the absolute tolerance.
        times: the times to keep; every step if None, for one trajectory.

    Raises:
        IntegrationError: no step is small enough.
    """
    found = [
        _one_adaptive(product, y, row, start, stop, relative, absolute, times, values)
        for y, row in zip(state, table, strict=True)
    ]
    moments = found[0][0]
    return Solution(
        product.NAME,
        product.COMPONENTS,
        moments,
        np.stack([states for _, states, _, _ in found]),
        values,
        max(steps for _, _, steps, _ in found),
        max(rejected for _, _, _, rejected in found),
        product,
    )


def _one_adaptive(
    product: ModuleType,
    start_state: Floats,
    row: Floats,
    start: float,
    stop: float,
    relative: float,
    absolute: float,
    times: Floats | None,
    values: Mapping[str, Any],
) -> tuple[Floats, Floats, int, int]:
    y, low, room = start_state.copy(), np.zeros_like(start_state), Workspace.of(product, 1)
    first = _first_step(product, y, row, start, stop, relative, absolute)
    control = np.array([first, 1e-4, 0, 0, 0, np.inf])
    wanted = np.empty(0) if times is None else times
    pieces: list[tuple[Floats, Floats]] = []
    if times is None:
        pieces.append((np.array([start]), start_state[None].copy()))
    elif times[0] == start:
        pieces.append((np.array([start]), start_state[None].copy()))
        wanted = times[1:]
        if not wanted.size:
            return *pieces[0], 0, 0
    t = start
    while (stop - t) * (stop - start) > 0:
        capacity = ROOM if times is None else max(wanted.size, 1)
        out, moments = np.empty((capacity, y.size)), np.empty(capacity)
        if times is None:
            control[4] = 0
        t, residual = product.adaptive(
            t, stop, control, y, low, row, relative, absolute, wanted, moments, out,
            room.rows[0], room.square[0], room.slopes[0], room.flags[0],
        )  # fmt: skip
        place = int(control[4])
        pieces.append((moments[:place], out[:place]))
        if residual != 0.0 or not np.isfinite(y).all():
            before = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
            so_far = Solution(
                product.NAME, product.COMPONENTS, before[0], before[1], values, int(control[2]),
                int(control[3]), product,
            )  # fmt: skip
            raise IntegrationError(
                f"step {int(control[2])} of {product.NAME} at t = {t:.6g}: the step size fell to "
                f"{control[0]:.1e} and its error is still {residual:.1e} times the tolerance: a "
                "singularity, or tolerances below rounding",
                t,
                int(control[2]),
                float(residual),
                so_far,
            )
        if times is not None and place >= wanted.size:
            break
    return (
        np.concatenate([moments for moments, _ in pieces]),
        np.concatenate([states for _, states in pieces]),
        int(control[2]),
        int(control[3]),
    )


def _first_step(
    product: ModuleType,
    y: Floats,
    row: Floats,
    start: float,
    stop: float,
    relative: float,
    absolute: float,
) -> float:
    """A hundredth of the time in which the state would change by its size, in the tolerances."""
    slope = np.zeros_like(y)
    for name in product.FIELDS:
        getattr(product, name)(start, y, row, 1.0, slope)
    scale = absolute + relative * abs(y)
    size, speed = (float(np.sqrt(np.mean((v / scale) ** 2))) for v in (y, slope))
    guess = 0.01 * size / speed if size > 1e-5 and speed > 1e-5 else 1e-6
    least = 1e3 * float(np.spacing(max(abs(start), abs(stop))))
    return math.copysign(min(max(guess, least), abs(stop - start)), stop - start)
