"""Runs whose steps follow an error estimate, with dense output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators.adaptive_control import (
    Control,
    Limits,
    failure,
    of_trajectory,
)
from hamilforge.runtime.integrators.adaptive_ensembles import adaptive_ensemble
from hamilforge.runtime.integrators.adaptive_trajectory import AdaptiveTrajectory
from hamilforge.runtime.integrators.events import Watch
from hamilforge.runtime.integrators.solution import Floats, Solution
from hamilforge.runtime.integrators.step_functions import Event, Span

#: States that one adaptive call writes before it returns for more room.
ROOM = 4096
#: Steps of one trajectory that may be taken if nothing else is asked for.
MOST_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """One trajectory.

    Attributes:
        watch: what was looked for along it, if anything was.
        ended: whether an event has ended it.
    """

    times: Floats
    states: Floats
    steps: int
    rejected: int
    watch: Watch | None
    ended: bool


def adaptive_steps(
    product: ModuleType,
    state: Floats,
    single: bool,
    values: Mapping[str, Any],
    table: Floats,
    start: float,
    stop: float,
    limits: Limits,
    events: Sequence[Event] = (),
) -> Solution:
    """All trajectories, each with steps of its own.

    They run in parallel, or, where something is looked for, one after the other.

    Args:
        product: the generated module.
        state: the starts, `(trajectories, components)`.
        single: whether the result is that of the one trajectory.
        values: the parameters by name.
        table: the parameters of each trajectory.
        start: the time of the start.
        stop: the time of the end.
        limits: tolerances, times to keep, and the budget of steps.
        events: what is looked for.

    Returns:
        The states of all trajectories, NaN after an event that has ended one of several.

    Raises:
        IntegrationError: no step is small enough, or the budget is used up.
    """
    if not single and not events:
        return adaptive_ensemble(product, state, values, table, start, stop, limits)
    runs = []
    for m, (y, row) in enumerate(zip(state, table, strict=True)):
        watch = Watch(product, events, row, limits.relative) if events else None
        own = values if single else of_trajectory(values, m)
        which = "" if single else f" (trajectory {m} of {len(state)})"
        runs.append(_one_adaptive(product, y, row, start, stop, limits, own, watch, which))
    times = runs[0].times if single else limits.times
    assert times is not None  # steps of several differ
    return Solution(
        product.NAME,
        product.COMPONENTS,
        times,
        runs[0].states if single else _side_by_side(runs, times, state.shape[1]),
        values,
        max((run.steps for run in runs), default=0),
        max((run.rejected for run in runs), default=0),
        product,
        events=tuple(event.name for event in events),
        t_events=_each(single, [run.watch.times if run.watch else () for run in runs]),
        y_events=_each(single, [run.watch.states if run.watch else () for run in runs]),
        status=int(runs[0].ended) if single else np.array([run.ended for run in runs], int),
    )


def _each(single: bool, runs: Sequence[tuple[Floats, ...]]) -> tuple[Any, ...]:
    """What was found along the one run, or along each."""
    return runs[0] if single else tuple(runs)


def _side_by_side(runs: Sequence[Run], times: Floats, size: int) -> Floats:
    """States at the same times, NaN behind the ends of runs."""
    states = np.full((len(runs), len(times), size), np.nan)
    for run, own in zip(runs, states, strict=True):
        reached = len(run.times)
        if run.ended and run.times[-1] != times[min(reached, len(times)) - 1]:
            reached -= 1  # the point at which it ended is not among them
        own[:reached] = run.states[:reached]
    return states


def _one_adaptive(
    product: ModuleType,
    start_state: Floats,
    row: Floats,
    start: float,
    stop: float,
    limits: Limits,
    values: Mapping[str, Any],
    watch: Watch | None,
    which: str,
) -> Run:
    trajectory = AdaptiveTrajectory(product, row, limits)
    trajectory.begin(start_state, start, stop)
    series = np.zeros(product.SERIES)
    times, control = limits.times, trajectory.control
    if watch:
        control[Control.NEAR] = watch.near
        for place in watch.declared:
            control[Control.EVENTS + place] = 1.0
    # kernels look for declared events; without them they need no compiled series
    looked_for = series if watch and watch.declared else None
    never = math.copysign(math.inf, stop - start)
    wanted = np.empty(0 if times is None else len(times) + 1)
    if times is not None:
        wanted[:-1], wanted[-1] = times, never
    pieces: list[tuple[Floats, Floats]] = []
    if times is None or times[0] == start:
        pieces.append((np.array([start]), start_state[None].copy()))
    if times is not None and times[0] == start:
        wanted = wanted[1:]
        if wanted.size == 1 and not watch:
            return Run(*pieces[0], 0, 0, None, False)

    def failed(t: float, reason: str) -> IntegrationError:
        found, why = watch.found if watch else {}, reason + which
        return failure(product, t, control, pieces, values, why, trajectory.residual, **found)

    end = None
    while trajectory.is_under_way:
        if watch and (watch.every_step or not trajectory.steps):
            trajectory.stretch = 1
        stretch = trajectory.stretch
        # kernels return when there is no room: after the last time, if nothing is looked for
        capacity = min(ROOM, stretch) if times is None else wanted.size - (watch is None)
        out, moments = np.empty((capacity, trajectory.y.size)), np.empty(capacity)
        taken = trajectory.advance(wanted, moments, out, looked_for)
        place = int(control[Control.WRITTEN])
        pieces.append((moments[:place], out[:place]))
        if (reason := trajectory.loss) is not None:
            raise failed(trajectory.t, reason)
        if watch and taken and (stretch == 1 or control[Control.UNCLEAR]):
            try:
                end = watch.look(
                    _last_span(control, trajectory.t), trajectory.y, trajectory.room, series
                )
            except IntegrationError as error:  # of a function, which knows nothing of the run
                pieces[:] = [_until(error.t, stop - start, *piece) for piece in pieces]
                raise failed(error.t, str(error)) from None
            if end is not None:
                break
        if times is not None:
            wanted = wanted[place:]
            if wanted.size == 1 and not watch:
                break
        if (reason := trajectory.exhaustion) is not None:
            raise failed(trajectory.t, reason)
    if watch and end is None:
        end = watch.finish()
    moments, states = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    if end is not None:
        kept = (moments - end[0]) * math.copysign(1.0, stop - start) < 0
        moments = np.append(moments[kept], end[0])
        states = np.concatenate((states[kept], end[1][None]))
    return Run(
        moments,
        states,
        trajectory.steps,
        int(control[Control.REJECTED]),
        watch,
        end is not None,
    )


def _until(t: float, direction: float, moments: Floats, states: Floats) -> tuple[Floats, Floats]:
    """Times and states as far as a time."""
    kept = (moments - t) * direction <= 0
    return moments[kept], states[kept]


def _last_span(control: Floats, end: float) -> Span:
    """Where the last step is, which has ended at a time."""
    start, behind = float(control[Control.BEGUN]), float(control[Control.BEGUN_BEHIND])
    return Span(start, behind, float(control[Control.LENGTH]), end)
