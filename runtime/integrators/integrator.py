"""A problem by a method, made once and run many times.

In: a product's numba module, a step or tolerances, and parameters, which are checked once.  Out: an
:class:`Integrator`, whose runs return a :class:`Solution`, or the state at the end alone.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.loader import imported
from hamilforge.runtime.core.numbers import whole_number
from hamilforge.runtime.core.workspace import Rooms
from hamilforge.runtime.integrators.adaptive_control import Limits, by_coefficients
from hamilforge.runtime.integrators.adaptive_steps import MOST_STEPS, adaptive_steps
from hamilforge.runtime.integrators.adaptive_trajectory import AdaptiveTrajectory
from hamilforge.runtime.integrators.constraints import refuse_off_constraints
from hamilforge.runtime.integrators.fixed_steps import fixed_steps
from hamilforge.runtime.integrators.run_arguments import (
    kept_steps,
    looked_for,
    looks_for_nothing,
    output_times,
    parameter_values,
    refuse_adaptive,
    refuse_lost_bound,
    refuse_undefined,
    starting_states,
    step_bound,
    step_count,
    step_length,
    time_span,
    tolerance,
)
from hamilforge.runtime.integrators.solution import Floats, Solution, parameter_table

_Result = TypeVar("_Result")

#: Tolerances where none are given.
RTOL, ATOL = 1e-6, 1e-9


class Integrator:
    """A problem by a method.

    Args:
        product: the generated module.
        h: the step; None for steps chosen by the error estimate.
        rtol: without h, the relative tolerance, :data:`RTOL` if None; a number, or one for each
            component.
        atol: without h, the absolute tolerance, :data:`ATOL` if None, likewise.
        parameters: numbers, or arrays `(trajectories,)`, by name; the declared ones else.
        max_steps: how many steps a trajectory may take; if None, a million where the error
            estimate chooses them, and as many as the time span has with a fixed h.
        max_step: without h, the longest step that may be taken.

    Raises:
        ValueError: the arguments do not fit the problem or the method.
    """

    def __init__(
        self,
        product: ModuleType,
        h: float | None = None,
        *,
        rtol: Any = None,
        atol: Any = None,
        parameters: Mapping[str, Any] | None = None,
        max_steps: int | None = None,
        max_step: float | None = None,
    ) -> None:
        self.product = product
        self._h = None if h is None else step_length(h)
        longest = math.inf if max_step is None else step_bound(max_step)
        self._budget = None if max_steps is None else whole_number("max_steps", max_steps)
        self._values = parameter_values(product, parameters or {})
        many = max((np.size(value) for value in self._values.values()), default=1)
        self._rows = parameter_table(self._values, many)
        self._limits: Limits | None = None
        self._trajectories: Rooms[AdaptiveTrajectory] = Rooms()
        #: Whether kernels look at starts themselves: those of series do.
        self._looks_itself = h is None and by_coefficients(product)
        if h is None:
            refuse_adaptive(product)
            size = len(product.COMPONENTS)
            self._limits = Limits(
                tolerance("rtol", RTOL if rtol is None else rtol, size),
                tolerance("atol", ATOL if atol is None else atol, size),
                None,
                MOST_STEPS if self._budget is None else self._budget,
                longest,
            )
        elif rtol is not None or atol is not None:
            raise ValueError("a fixed step h and tolerances exclude each other; give one")
        elif max_step is not None:
            raise ValueError("max_step is for steps that follow an error estimate: leave h out")

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "product": self.product.__name__, "_trajectories": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, product=imported(state["product"]), _trajectories=Rooms())

    def __repr__(self) -> str:
        steps = "steps of its own" if self._h is None else f"h = {self._h:g}"
        return f"Integrator({self.product.NAME}, {steps})"

    def solve(
        self,
        y0: Any = None,
        t_span: Sequence[float] | None = None,
        *,
        every: int = 1,
        t_eval: Any = None,
        progress: bool | None = None,
        events: Any = None,
    ) -> Solution:
        """Times and states of a run.

        Args:
            y0: the start: `(components,)`, `(trajectories, components)`, or numbers by component;
                the declared one if None.
            t_span: from when to when, in either direction; one unit of time from the declared
                start if None.
            every: with h, the states to keep.
            t_eval: without h, the times to keep, by dense output; all steps if None.
            progress: whether to show a bar; on a terminal if None.
            events: without h, what is looked for along the solution: names of declared events,
                True for all of them, functions of (t, y), or a sequence of names and functions.

        Returns:
            The solution.

        Raises:
            ValueError: the arguments do not fit the problem or the method.
            IntegrationError: a step could not be taken; it says where, why, and what to try.
        """
        product, values = self.product, self._own_values()
        start, stop = self._times(t_span)
        state, single = starting_states(product, y0, len(self._rows))
        table = np.repeat(self._rows, len(state), axis=0) if len(self._rows) == 1 else self._rows
        if self._limits is not None:
            if every != 1:
                raise ValueError("every counts steps of a fixed h; give t_eval instead")
            times = output_times(t_eval, start, stop)
            if times is None and not single:
                raise ValueError("the steps of trajectories differ; give t_eval for an ensemble")
            limits = dataclasses.replace(self._limits, times=times)
            watched = looked_for(product, events)

            def run() -> Solution:
                return adaptive_steps(
                    product, state, single, values, table, start, stop, limits, watched
                )

            begins = times is None or times[-1] != start  # else no step looks at anything
            looked_at = self._looks_itself and begins and not (single or watched)
            return self._from_defined(start, state, table, run, looked_at)
        refuse_undefined(product, start, state, table)
        refuse_off_constraints(product, start, state, table)
        if not looks_for_nothing(events):
            raise ValueError(
                "events are looked for for steps that follow an error estimate: leave h out"
            )
        if t_eval is not None:
            raise ValueError("with a fixed step h states are kept at steps; give every instead")
        assert self._h is not None
        count = self._count(start, stop)
        every = kept_steps(count, every, self._h)
        shown = sys.stderr.isatty() if progress is None else progress
        return fixed_steps(product, state, single, values, table, start, stop, count, every, shown)

    def _from_defined(
        self,
        start: float,
        state: Floats,
        table: Floats,
        run: Callable[[], _Result],
        looked_at: bool,
    ) -> _Result:
        """What a run gives that begins where the equations have a meaning.

        Args:
            start: the time of the start.
            state: the starts.
            table: the parameters of each.
            run: the run.
            looked_at: whether its kernels look at the starts; then these are looked at here, to say
                what is wrong, only where it fails.

        Returns:
            What the run returns.

        Raises:
            ValueError: a start has no meaning.
            IntegrationError: the run failed otherwise.
        """
        if not looked_at:
            refuse_undefined(self.product, start, state, table)
            return run()
        try:
            return run()
        except IntegrationError as error:
            lost = error
        refuse_undefined(self.product, start, state, table)
        raise lost

    def end(self, y0: Any = None, t_span: Sequence[float] | None = None) -> Floats:
        """The state at the end of a run, without what lies between.

        Of one trajectory with steps of its own no solution is made, so that many short runs, as of
        shooting methods, are not made of that.

        Args:
            y0: as of :meth:`solve`.
            t_span: as of :meth:`solve`.

        Returns:
            `(components,)`, or `(trajectories, components)`.

        Raises:
            ValueError: the arguments do not fit the problem or the method.
            IntegrationError: a step could not be taken; it says where, why, and what to try.
        """
        product = self.product
        start, stop = self._times(t_span)
        if self._limits is None:
            count = self._count(start, stop)
            return self.solve(y0, t_span, every=count, progress=False).y[..., -1, :]
        state, single = starting_states(product, y0, len(self._rows))
        if not single:
            return self.solve(state, t_span, t_eval=[stop]).y[..., -1, :]
        with self._trajectories.serving(None, self._trajectory) as trajectory:

            def run() -> Floats:
                trajectory.begin(state[0], start, stop)
                return trajectory.finish(self._own_values)

            return self._from_defined(start, state, self._rows, run, self._looks_itself)

    def _trajectory(self) -> AdaptiveTrajectory:
        assert self._limits is not None
        return AdaptiveTrajectory(self.product, self._rows[0], self._limits)

    def _times(self, t_span: Sequence[float] | None) -> tuple[float, float]:
        if t_span is None:
            start, stop = self.product.START_TIME, self.product.START_TIME + 1.0
        else:
            start, stop = time_span(t_span)
        if self._limits is not None and self._limits.longest < math.inf:
            refuse_lost_bound(self._limits.longest, start, stop)
        return start, stop

    def _own_values(self) -> dict[str, Any]:
        """The parameters, as a run may keep them."""
        return {name: copy.copy(value) for name, value in self._values.items()}

    def _count(self, start: float, stop: float) -> int:
        """How many steps of h there are.

        Raises:
            ValueError: they do not fit.
            IntegrationError: they are more than may be taken.
        """
        assert self._h is not None
        count = step_count(start, stop, self._h)
        if self._budget is not None and count > self._budget:
            raise IntegrationError(
                f"{self.product.NAME}: t_span is {count} steps of h = {self._h:g}, more than "
                f"max_steps = {self._budget}; give a larger h, or a larger max_steps",
                start, 0, 0.0,
            )  # fmt: skip
        return count


def integrate(
    product: ModuleType,
    y0: Any = None,
    t_span: Sequence[float] | None = None,
    h: float | None = None,
    *,
    every: int = 1,
    t_eval: Any = None,
    rtol: Any = None,
    atol: Any = None,
    parameters: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    max_steps: int | None = None,
    max_step: float | None = None,
    events: Any = None,
) -> Solution:
    """Integrate a problem by a method, once.

    Args:
        product: the generated module.
        y0: the start: `(components,)`, `(trajectories, components)`, or numbers by component;
            the declared one if None.
        t_span: from when to when, in either direction; one unit of time from the declared start
            if None.
        h: the step; None for steps chosen by the error estimate.
        every: with h, the states to keep.
        t_eval: without h, the times to keep, by dense output; all steps if None.
        rtol: as of :class:`Integrator`.
        atol: as of :class:`Integrator`.
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
    made = Integrator(
        product, h, rtol=rtol, atol=atol, parameters=parameters, max_steps=max_steps,
        max_step=max_step,
    )  # fmt: skip
    return made.solve(y0, t_span, every=every, t_eval=t_eval, progress=progress, events=events)
