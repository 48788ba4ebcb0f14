"""Integration: generated kernels run whole trajectories, alone or as an ensemble in parallel.

In: a product's numba module, a start, a span of time, and a step or tolerances.  Out: a
:class:`Solution`.  Kernels are called for stretches of a fraction of a second each, so that long
runs show their progress and can be interrupted; the workspace stays, so nothing depends on where
they were cut.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.clock import check_domain
from hamilforge.runtime.solution import Floats, IntegrationError, Solution, parameter_table

#: Seconds of one call of a kernel, and after how many a progress bar appears.
STRETCH, PATIENCE = 0.25, 1.0
#: Steps of the first call, before it is known how long they take.
FIRST_STRETCH = 2000
#: States that one adaptive call writes before it returns for more room.
ROOM = 4096
#: States of one trajectory at most.
MOST_STATES = 10**9
ADVICE = "try a smaller step, an adaptive method, or a method for stiff problems"


@dataclass(slots=True)
class Workspace:
    """The arrays that kernels work in, one set for each trajectory."""

    rows: Any
    square: Any
    slopes: Any
    flags: Any

    @staticmethod
    def of(product: ModuleType, count: int, dtype: type = np.float64) -> Workspace:
        """Fresh arrays; a step after them starts anew."""
        size, unknowns = product.SIZE, product.UNKNOWNS
        return Workspace(
            np.zeros((count, product.ROWS, size), dtype),
            np.zeros((count, unknowns + 2, max(unknowns, 1)), dtype),
            np.zeros((count, 3 * size, size), dtype),
            np.zeros((count, 2 + unknowns), np.int64),
        )


def integrate(
    product: ModuleType,
    y0: Any = None,
    t_span: Sequence[float] = (0.0, 1.0),
    h: float | None = None,
    *,
    every: int = 1,
    t_eval: Any = None,
    rtol: float | None = None,
    atol: float | None = None,
    parameters: Mapping[str, Any] | None = None,
    progress: bool | None = None,
) -> Solution:
    """Integrate a problem by a method.

    Args:
        product: the generated module.
        y0: the start: `(components,)`, `(trajectories, components)`, or numbers by component;
            the declared one if None.
        t_span: from when to when, in either direction.
        h: the step; None for steps chosen by the error estimate.
        every: with h, the states to keep.
        t_eval: without h, the times to keep, by dense output; all steps if None.
        rtol: without h, the relative tolerance, 1e-6 if None.
        atol: without h, the absolute tolerance, 1e-9 if None.
        parameters: numbers, or arrays `(trajectories,)`, by name; the declared ones else.
        progress: whether to show a bar; on a terminal if None.

    Raises:
        ValueError: the arguments do not fit the problem or the method.
        IntegrationError: a step could not be taken; it says where, why, and what to try.
    """
    values = _parameters(product, parameters or {})
    start, stop = _span(t_span)
    state, single = _start(product, y0, values)
    table = parameter_table(values, len(state))
    _defined(product, start, state, table)
    if h is None:
        _refuse_fixed(product)
        relative = _tolerance("rtol", 1e-6 if rtol is None else rtol)
        absolute = _tolerance("atol", 1e-9 if atol is None else atol)
        if every != 1:
            raise ValueError("every counts steps of a fixed h; give t_eval instead")
        times = _times(t_eval, start, stop)
        if times is None and not single:
            raise ValueError("the steps of trajectories differ; give t_eval for an ensemble")
        found = _adaptive(product, state, values, table, start, stop, relative, absolute, times)
        return _only(found) if single else found
    else:
        if rtol is not None or atol is not None:
            raise ValueError("a fixed step h and tolerances exclude each other; give one")
        if t_eval is not None:
            raise ValueError("with a fixed step h states are kept at steps; give every instead")
        count, signed = _count(start, stop, h, every)
        shown = sys.stderr.isatty() if progress is None else progress
        return _fixed(product, state, single, values, table, start, signed, count, every, shown)


# --- arguments ------------------------------------------------------------


def _parameters(product: ModuleType, given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in product.PARAMETERS:
            known = ", ".join(product.PARAMETERS) or "none"
            raise ValueError(f"no parameter '{name}'; those of {product.NAME} are: {known}")
    values = {name: given.get(name, entry[0]) for name, entry in product.PARAMETERS.items()}
    for name, value in values.items():
        for number in np.atleast_1d(np.asarray(value, float)):
            check_domain(name, float(number), product.PARAMETERS[name][1])
    return values


def _span(t_span: Sequence[float]) -> tuple[float, float]:
    try:
        start, stop = map(float, t_span)
    except (TypeError, ValueError):
        raise ValueError(f"t_span is a pair of times, not {t_span!r}") from None
    if not (math.isfinite(start) and math.isfinite(stop) and start != stop):
        raise ValueError(f"t_span = {t_span}: two different finite times were expected")
    return start, stop


def _start(product: ModuleType, y0: Any, values: Mapping[str, Any]) -> tuple[Floats, bool]:
    """The start as `(trajectories, components)`, and whether it was one."""
    names = product.COMPONENTS
    if y0 is None:
        if product.START is None:
            raise ValueError(f"{product.NAME} declares no start; give y0 for {', '.join(names)}")
        y0 = product.START
    if isinstance(y0, Mapping):
        unknown = set(y0) ^ set(names)
        if unknown:
            raise ValueError(
                f"y0 names {', '.join(sorted(y0))}; all of the components are needed: "
                f"{', '.join(names)}"
            )
        y0 = np.stack(
            np.broadcast_arrays(*(np.asarray(y0[name], float) for name in names)), axis=-1
        )
    state = np.array(y0, float)
    if state.ndim not in (1, 2) or state.shape[-1] != len(names):
        raise ValueError(
            f"y0 has the shape {state.shape}; ({len(names)},) for {', '.join(names)}, or "
            f"(trajectories, {len(names)}) was expected"
        )
    if not np.isfinite(state).all():
        raise ValueError("y0 holds NaN or infinite numbers")
    many = max((np.size(value) for value in values.values()), default=1)
    single = state.ndim == 1 and many == 1
    if state.ndim == 1:
        state = np.repeat(state[None], many, axis=0)
    if many not in (1, len(state)):
        raise ValueError(f"{len(state)} starts and {many} sets of parameters")
    return np.ascontiguousarray(state), single


def _count(start: float, stop: float, h: float, every: int) -> tuple[int, float]:
    h = float(h)
    if not (math.isfinite(h) and h > 0):
        raise ValueError(f"h = {h}: a positive step was expected (its sign follows from t_span)")
    exact = abs(stop - start) / h
    if exact > 1e15:
        raise ValueError(f"t_span is {exact:.3g} steps of h = {h:g}: too many to count")
    count = round(exact)
    if count < 1 or abs(exact - count) > 1e-9 * max(count, 1):
        near = abs(stop - start) / max(math.ceil(exact), 1)
        raise ValueError(
            f"t_span is {exact:.6g} steps of h = {h}, not a whole number; h = {near!r} fits"
        )
    if not (isinstance(every, int | np.integer) and every >= 1):
        raise ValueError(f"every = {every!r}: a positive whole number was expected")
    if count // every > MOST_STATES:
        raise ValueError(
            f"{count:.3g} steps of h = {h:g}, of which {count // every:.3g} states would be kept; "
            "give a larger every, or a larger h"
        )
    if every > count:
        raise ValueError(f"every = {every} is more than the {count} steps: no state would be kept")
    return count, (stop - start) / count


def _defined(product: ModuleType, start: float, state: Floats, table: Floats) -> None:
    """Refuse a start at which the equations or the energy have no meaning."""
    slope = np.zeros(state.shape[1])
    with np.errstate(all="ignore"):
        for m, (y, row) in enumerate(zip(state, table, strict=True)):
            energy = np.zeros(1)
            for name in product.FIELDS:
                getattr(product, name)(start, y, row, 1.0, slope)
            if hasattr(product, "along_energy"):
                product.along_energy(np.array([start]), y[None], row, energy)
            if not (np.isfinite(slope).all() and np.isfinite(energy).all()):
                which = f" of trajectory {m}" if len(state) > 1 else ""
                raise ValueError(
                    f"{product.NAME} is not defined at the start{which}, t = {start:g} and "
                    f"y = {y}: its right-hand side or its energy is not finite there"
                )


def _tolerance(name: str, value: float) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} = {value}: a positive number was expected")
    return float(value)


def _times(t_eval: Any, start: float, stop: float) -> Floats | None:
    if t_eval is None:
        return None
    times = np.array(t_eval, float).ravel()
    direction = math.copysign(1.0, stop - start)
    ordered = (np.diff(times) * direction > 0).all()
    if not times.size or not ordered or not np.isfinite(times).all():
        raise ValueError("t_eval must be times in the order of the integration")
    low, high = min(start, stop), max(start, stop)
    if times.min() < low or times.max() > high:
        raise ValueError(f"t_eval reaches beyond t_span = ({start}, {stop})")
    return times


def _refuse_fixed(product: ModuleType) -> None:
    if product.FIXED_STEP:
        raise ValueError(f"{product.NAME} needs a fixed step h: {product.FIXED_STEP}")


# --- fixed steps ------------------------------------------------------------


def _fixed(
    product: ModuleType,
    state: Floats,
    single: bool,
    values: Mapping[str, Any],
    table: Floats,
    start: float,
    h: float,
    count: int,
    every: int,
    shown: bool,
) -> Solution:
    trajectories, size = state.shape
    kept = count // every
    out = np.empty((trajectories, kept + 1, size))
    out[:, 0] = state
    times: Floats = np.asarray(start + h * every * np.arange(kept + 1), np.float64)
    low, room = np.zeros_like(state), Workspace.of(product, trajectories)
    done = np.zeros(trajectories, np.int64)
    residuals = np.zeros(trajectories)
    y = state.copy()
    first, stretch = 0, min(count, FIRST_STRETCH)

    def so_far(steps: int) -> Solution:
        rows = steps // every + 1
        states = out[0, :rows] if single else out[:, :rows]
        return Solution(
            product.NAME, product.COMPONENTS, times[:rows], states, values, steps, 0, product
        )

    with _bar(shown, count, product.NAME) as report:
        while first < count:
            begun = time.perf_counter()
            stretch = min(stretch, count - first)
            rows = slice(first // every + 1, (first + stretch) // every + 1)
            block = out[:, rows] if rows.stop > rows.start else np.empty((trajectories, 0, size))
            _run(
                product,
                start,
                h,
                first,
                stretch,
                every,
                y,
                low,
                table,
                room,
                block,
                done,
                residuals,
            )
            _check(product, h, start, first + stretch, done, residuals, so_far)
            _check_energy(product, table, times, out, rows, so_far, every)
            first += stretch
            report(first)
            spent = max(time.perf_counter() - begun, 1e-4)
            stretch = max(1, min(int(stretch * min(STRETCH / spent, 50)), 10_000_000))
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
    block: Floats,
    done: Any,
    residuals: Floats,
) -> None:
    """One stretch, of one trajectory or of all in parallel."""
    if len(y) == 1:
        done[0], residuals[0], _ = product.trajectory(
            start, h, first, stretch, every, y[0], low[0], table[0],
            room.rows[0], room.square[0], room.slopes[0], room.flags[0], block[0],
        )  # fmt: skip
        return
    product.ensemble(
        start, h, first, stretch, every, y, low, table,
        room.rows, room.square, room.slopes, room.flags, block, done, residuals,
    )  # fmt: skip


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

    A jump is between neighbouring states that are kept; the size of the terms is that at the start
    or in the middle of what was computed, whichever is larger.  A drift is left to be seen.
    """
    if not product.CONSERVATIVE or rows.stop <= rows.start:
        return
    block = slice(rows.start - 1, rows.stop)
    found = np.empty(rows.stop - rows.start + 1)
    for m, row in enumerate(table):
        product.along_energy(times[block], out[m, block], row, found)
        jumps = abs(np.diff(found))
        if (jumps <= product.energy_size(times[0], out[m, 0], row)).all():
            continue
        sizes = np.empty(rows.stop)
        sizes[:] = product.energy_size(times[: rows.stop], out[m, : rows.stop].T, row)
        wrong = np.flatnonzero(~(jumps <= max(sizes[0], float(np.median(sizes)))))
        if wrong.size:
            at = rows.start + int(wrong[0])
            t = float(times[at])
            before, after = found[wrong[0]], found[wrong[0] + 1]
            raise IntegrationError(
                f"{product.NAME}: before t = {t:.6g} (step {at * every}) the energy, constant "
                f"along solutions, jumped from {before:.4g} to {after:.4g}, by more than the "
                f"sum of its terms: a step went over a singularity or is unstable; {ADVICE}",
                t,
                at * every,
                0.0,
                so_far((at - 1) * every),
            )


# --- adaptive steps ------------------------------------------------------------


def _adaptive(
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


def _only(solution: Solution) -> Solution:
    """The one trajectory of an ensemble of one."""
    return Solution(
        solution.name, solution.components, solution.t, solution.y[0], solution.parameters,
        solution.steps, solution.rejected, solution.product,
    )  # fmt: skip


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
