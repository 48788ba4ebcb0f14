"""Runs with a fixed step: one trajectory, or an ensemble in parallel.

Kernels are called for stretches of a fraction of a second each, so that long runs show their
progress and can be interrupted; the workspace stays, so nothing depends on where they were cut.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.threads import by_portions
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.side_by_side import Lanes, of_equal_steps, run_equal_steps
from hamilforge.runtime.integrators.solution import Floats, Solution

#: Seconds of one call of a kernel, and after how many a progress bar appears.
STRETCH, PATIENCE = 0.1, 1.0
#: Steps of the first call, of all trajectories together, before it is known how long they take.
FIRST_STRETCH = 2000
#: What part of its terms a constant energy may change by in a step that makes them grow.
GROWN = 1 / 8
ADVICE = "try a smaller step, an adaptive method, or a method for stiff problems"

SMALLER = "try a smaller step h"


def fixed_steps(
    product: ModuleType,
    state: Floats,
    single: bool,
    values: Mapping[str, Any],
    table: Floats,
    start: float,
    stop: float,
    count: int,
    every: int,
    shown: bool,
) -> Solution:
    """All trajectories side by side, with the same step.

    Args:
        product: the generated module.
        state: the starts, `(trajectories, components)`.
        single: whether the result is that of the one trajectory.
        values: the parameters by name.
        table: the parameters of each trajectory.
        start: the time of the start.
        stop: the time of the end; no stage is later.
        count: how many steps.
        every: how many steps from one kept state to the next.
        shown: whether a progress bar may appear.

    Returns:
        States of the shape `(trajectories, times, components)`, `(times, components)` if
        ``single``, and the times, the start and every ``every``-th step.

    Raises:
        IntegrationError: a step could not be taken.
    """
    trajectories, size = state.shape
    h = (stop - start) / count
    kept = count // every
    out = np.empty((trajectories, kept + 1, size))
    out[:, 0] = state
    times: Floats = np.asarray(start + h * every * np.arange(kept + 1), np.float64)
    low, room = np.zeros_like(state), Workspace.of(product, trajectories)
    lanes = of_equal_steps(product, trajectories)
    done = np.zeros(trajectories, np.int64)
    residuals = np.zeros(trajectories)
    y = state.copy()
    first, stretch = 0, max(1, FIRST_STRETCH // max(1, trajectories))
    pace = math.inf  # seconds of a step of all trajectories, not known yet

    def so_far(steps: int) -> Solution:
        rows = steps // every + 1
        states = out[0, :rows] if single else out[:, :rows]
        return Solution(
            product.NAME, product.COMPONENTS, times[:rows], states, values, steps, 0, product,
            status=0 if single else np.zeros(trajectories, int),
        )  # fmt: skip

    with _bar(shown, count, product.NAME) as report:
        while first < count and trajectories:
            begun = time.perf_counter()
            stretch = min(stretch, max(count - 1 - first, 1))  # the last step by itself
            rows = slice(first // every + 1, (first + stretch) // every + 1)
            block = out[:, rows] if rows.stop > rows.start else np.empty((trajectories, 0, size))
            last = start + first * h
            if first == count - 1 and abs(last + h - start) > abs(stop - start):
                # rounding would take the end of the step beyond the end of the time span
                step = (last, stop - last, 0, 1, 1 if count % every == 0 else 2)
            else:
                step = (start, h, first, stretch, every)
            _run(product, *step, y, low, table, room, lanes, block, done, residuals, pace)
            done += first - step[2]
            _check(product, h, start, first + stretch, done, residuals, so_far)
            _check_energy(product, table, times, out, rows, so_far, every)
            first += stretch
            report(first)
            pace = max(time.perf_counter() - begun, 1e-9) / stretch
            stretch = max(1, min(int(min(STRETCH / pace, 50 * stretch)), 10_000_000))
    return so_far(count)


def _run(
    product: ModuleType,
    start: float,
    h: float,
    first: int,
    stretch: int,
    every: int,
    y: Floats,
    low: Floats,
    table: Floats,
    room: Workspace,
    lanes: Lanes | None,
    block: Floats,
    done: Any,
    residuals: Floats,
    pace: float,
) -> None:
    """One stretch, of one trajectory or of all in parallel."""
    if len(y) == 1:
        done[0], residuals[0], _ = product.trajectory(
            start, h, first, stretch, every, y[0], low[0], table[0],
            room.rows[0], room.square[0], room.slopes[0], room.flags[0], block[0],
        )  # fmt: skip
        return

    step = (start, h, first, stretch, every)
    states = (y, low, table, room.rows, room.square, room.slopes, room.flags, block)
    if lanes is None:
        seconds = pace * stretch
        by_portions(product.ensemble, len(y), *step, *states, done, residuals, seconds=seconds)
        return
    done[:], residuals[:] = first + stretch, 0.0
    for begin, end in run_equal_steps(product, step, y, low, table, lanes, block, pace):
        product.ensemble(begin, end, *step, *states, done, residuals)


def _check(
    product: ModuleType,
    h: float,
    start: float,
    wanted: int,
    done: Any,
    residuals: Floats,
    so_far: Callable[[int], Solution],
) -> None:
    failed = np.flatnonzero(done < wanted)
    if not failed.size:
        return
    worst = int(failed[np.argmin(done[failed])])
    step, residual = int(done[worst]), float(residuals[worst])
    where = f"step {step} of {product.NAME} at t = {start + step * h:.6g} with h = {h:g}"
    which = f" (trajectory {worst}; {failed.size} of {len(done)} failed)" if len(done) > 1 else ""
    if residual == 0:
        message = (
            f"{where}{which}: the state is no longer finite, so the step leads into a singularity "
            f"or is unstable; {ADVICE}"
        )
    elif names := getattr(product, "CONSTRAINTS", ()):
        message = (
            f"{where}{which}: the constraints {', '.join(names)} could not be met, the last change "
            f"of Newton's method for the multipliers being {residual:.1e} of the state; {SMALLER}"
        )
    else:
        message = (
            f"{where}{which}: the stages did not converge, the last change being {residual:.1e} of "
            f"the state; {ADVICE}"
        )
    raise IntegrationError(message, start + step * h, step, residual, so_far(step))


def _check_energy(
    product: ModuleType,
    table: Floats,
    times: Floats,
    out: Floats,
    rows: slice,
    so_far: Callable[[int], Solution],
    every: int,
) -> None:
    """A constant energy that jumps by more than all its terms: a singularity was stepped over.

    A jump is between neighbouring states that are kept, and more than the sum of the terms at the
    start and before it.  Where the terms grow, the method's own error grows with them: a jump is
    also more than an eighth of the terms after it, and than four times what it usually is of them.
    A drift is left to be seen.
    """
    if not product.CONSERVATIVE or rows.stop <= rows.start:
        return
    block = slice(rows.start - 1, rows.stop)
    energies = _of_all(product.along_energy, product, times[block], out[:, block], table)
    firsts = _of_all(_along_size(product), product, times[:1], out[:, :1], table)
    jumps = abs(np.diff(energies))
    for m in np.flatnonzero(~(jumps <= firsts).all(axis=1)):
        sizes = np.empty(rows.stop - rows.start + 1)
        sizes[:] = product.energy_size(times[block], out[m, block].T, table[m])
        with np.errstate(all="ignore"):
            usual = float(np.nanmedian(jumps[m] / sizes[1:]))
        fine = jumps[m] <= np.maximum(firsts[m], sizes[:-1])
        fine |= jumps[m] <= max(GROWN, 4 * usual) * sizes[1:]
        wrong = np.flatnonzero(~fine)
        if wrong.size:
            at = rows.start + int(wrong[0])
            t = float(times[at])
            which = f" of trajectory {m}" if len(table) > 1 else ""
            before, after = energies[m, wrong[0]], energies[m, wrong[0] + 1]
            raise IntegrationError(
                f"{product.NAME}: before t = {t:.6g} (step {at * every}{which}) the energy, "
                f"constant along solutions, jumped from {before:.4g} to {after:.4g}, by more than "
                f"the sum of its terms: a step went over a singularity or is unstable; {ADVICE}",
                t,
                at * every,
                0.0,
                so_far((at - 1) * every),
            )


def _along_size(product: ModuleType) -> Callable[..., None]:
    """The sum of the sizes of the energy's terms, as a function like ``along_energy``."""

    def along(times: Floats, states: Floats, parameters: Floats, out: Floats) -> None:
        out[:] = product.energy_size(times, states.T, parameters)

    return along


def _of_all(
    along: Callable[..., None], product: ModuleType, times: Floats, states: Floats, table: Floats
) -> Floats:
    """A quantity along trajectories, `(trajectories, times)`; at once, or lattice by lattice."""
    values = np.empty(states.shape[:2])
    if getattr(product, "SITES", None):
        for row, own, parameters in zip(values, states, table, strict=True):
            along(times, own, parameters, row)
    else:
        along(times[:, None], states, table.T, values.T)
    return values


@contextlib.contextmanager
def _bar(shown: bool, count: int, name: str) -> Iterator[Callable[[int], None]]:
    """A progress bar that appears when the work takes longer than a moment."""
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    begun = time.perf_counter()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=count, visible=False)

        def report(done: int) -> None:
            late = time.perf_counter() - begun > PATIENCE
            bar.update(task, completed=done, visible=late)

        yield report
