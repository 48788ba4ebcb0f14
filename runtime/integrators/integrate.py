"""Integration: generated kernels run whole trajectories, alone or as an ensemble in parallel.

In: a product's numba module, a start, a span of time, and a step or tolerances.  Out: a
:class:`Solution`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.numbers import whole_number
from hamilforge.runtime.integrators.adaptive_control import Limits
from hamilforge.runtime.integrators.adaptive_steps import MOST_STEPS, adaptive_steps
from hamilforge.runtime.integrators.constraints import refuse_off_constraints
from hamilforge.runtime.integrators.fixed_steps import fixed_steps
from hamilforge.runtime.integrators.run_arguments import (
    longest_step,
    looked_for,
    looks_for_nothing,
    output_times,
    parameter_values,
    refuse_adaptive,
    refuse_undefined,
    starting_states,
    step_count,
    time_span,
    tolerance,
)
from hamilforge.runtime.integrators.solution import Solution, parameter_table


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
    max_steps: int | None = None,
    max_step: float | None = None,
    events: Any = None,
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
        rtol: without h, the relative tolerance, 1e-6 if None; a number, or one for each component.
        atol: without h, the absolute tolerance, 1e-9 if None; a number, or one for each component.
        parameters: numbers, or arrays `(trajectories,)`, by name; the declared ones else.
        progress: whether to show a bar; on a terminal if None.
        max_steps: how many steps a trajectory may take; if None, a million where the error
            estimate chooses them, and as many as t_span has with a fixed h.
        max_step: without h, the longest step that may be taken.
        events: without h, what is looked for along the solution: names of declared events, True
            for all of them, functions of (t, y), or a sequence of names and functions.

    Returns:
        Times and states.

    Raises:
        ValueError: the arguments do not fit the problem or the method.
        IntegrationError: a step could not be taken; it says where, why, and what to try.
    """
    budget = None if max_steps is None else whole_number("max_steps", max_steps)
    values = parameter_values(product, parameters or {})
    start, stop = time_span(t_span)
    state, single = starting_states(product, y0, values)
    table = parameter_table(values, len(state))
    refuse_undefined(product, start, state, table)
    refuse_off_constraints(product, start, state, table)
    if h is None:
        refuse_adaptive(product)
        size = state.shape[1]
        relative = tolerance("rtol", 1e-6 if rtol is None else rtol, size)
        absolute = tolerance("atol", 1e-9 if atol is None else atol, size)
        if every != 1:
            raise ValueError("every counts steps of a fixed h; give t_eval instead")
        times = output_times(t_eval, start, stop)
        if times is None and not single:
            raise ValueError("the steps of trajectories differ; give t_eval for an ensemble")
        limits = Limits(
            relative,
            absolute,
            times,
            MOST_STEPS if budget is None else budget,
            longest_step(max_step, start, stop),
        )
        watched = looked_for(product, events)
        return adaptive_steps(product, state, single, values, table, start, stop, limits, watched)
    else:
        if rtol is not None or atol is not None:
            raise ValueError("a fixed step h and tolerances exclude each other; give one")
        if max_step is not None or not looks_for_nothing(events):
            what = "max_step is" if max_step is not None else "events are looked for"
            raise ValueError(f"{what} for steps that follow an error estimate: leave h out")
        if t_eval is not None:
            raise ValueError("with a fixed step h states are kept at steps; give every instead")
        count = step_count(start, stop, h, every)
        if budget is not None and count > budget:
            raise IntegrationError(
                f"{product.NAME}: t_span is {count} steps of h = {h:g}, more than max_steps = "
                f"{budget}; give a larger h, or a larger max_steps",
                start, 0, 0.0,
            )  # fmt: skip
        shown = sys.stderr.isatty() if progress is None else progress
        return fixed_steps(product, state, single, values, table, start, stop, count, every, shown)
