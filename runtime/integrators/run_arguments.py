"""The arguments of an integration, checked: what does not fit is said in the user's terms."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.hints import did_you_mean
from hamilforge.runtime.core.numbers import all_finite, real_array, real_number, whole_number
from hamilforge.runtime.integrators.solution import Floats, brief
from hamilforge.runtime.integrators.step_functions import Event

#: States of one trajectory at most.
MOST_STATES = 10**9


def parameter_values(product: ModuleType, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a run: declared values, and those given in their place.

    Raises:
        ValueError: it does not fit.
    """
    if not isinstance(given, Mapping):
        raise ValueError(f"parameters = {given!r}: names with numbers were expected")
    for name in given:
        if name not in product.PARAMETERS:
            known = ", ".join(product.PARAMETERS) or "none"
            raise ValueError(f"no parameter '{name}'; those of {product.NAME} are: {known}")
    values: dict[str, Any] = {}
    for name, (default, domain, *_) in product.PARAMETERS.items():
        value = real_array(f"the parameter {name}", given.get(name, default))
        if value.ndim > 1 or not value.size:
            raise ValueError(
                f"the parameter {name} has the shape {value.shape}; a number, or one for each "
                "trajectory was expected"
            )
        for number in np.atleast_1d(value):
            check_domain(name, float(number), domain)
        values[name] = value if value.ndim else float(value)
    return values


def time_span(t_span: Sequence[float]) -> tuple[float, float]:
    """Two different finite times.

    Raises:
        ValueError: it does not fit.
    """
    try:
        start, stop = (real_number("a time of t_span", time) for time in t_span)
    except (TypeError, ValueError):
        raise ValueError(f"t_span is a pair of times, not {t_span!r}") from None
    if not (math.isfinite(start) and math.isfinite(stop) and start != stop):
        raise ValueError(f"t_span = {t_span}: two different finite times were expected")
    return start, stop


@functools.cache
def _declared_start(product: ModuleType) -> Floats:
    """The start that is declared.

    Raises:
        ValueError: there is none.
    """
    if product.START is None:
        raise ValueError(
            f"{product.NAME} declares no start; give y0 for {', '.join(brief(product.COMPONENTS))}"
        )
    return real_array("y0", product.START)


def starting_states(product: ModuleType, y0: Any, many: int) -> tuple[Floats, bool]:
    """The start as `(trajectories, components)`, and whether it was one.

    Args:
        product: a generated numba module.
        y0: `(components,)`, `(trajectories, components)`, or numbers by component; None for the
            declared start.
        many: how many sets of parameters there are.

    Returns:
        The starts, contiguous, one for each set of parameters if y0 was one; and whether there was
        one of both.

    Raises:
        ValueError: y0 does not fit or is not finite, no start is declared, or there are several
            sets of parameters, but not as many as starts.
    """
    if y0 is None:
        y0 = _declared_start(product)
    elif isinstance(y0, Mapping):
        y0 = _by_component(product, y0)
    names, state = product.COMPONENTS, real_array("y0", y0)
    if state.ndim not in (1, 2) or state.shape[-1] != len(names):
        raise ValueError(
            f"y0 has the shape {state.shape}; ({len(names)},) for {', '.join(brief(names))}, or "
            f"(trajectories, {len(names)}) was expected"
        )
    if not all_finite(state):
        raise ValueError("y0 holds NaN or infinite numbers")
    single = state.ndim == 1 and many == 1
    if state.ndim == 1:
        state = state[None] if many == 1 else np.repeat(state[None], many, axis=0)
    if many not in (1, len(state)):
        raise ValueError(f"{len(state)} starts and {many} sets of parameters")
    return np.ascontiguousarray(state), single


def _by_component(product: ModuleType, y0: Mapping[str, Any]) -> Floats:
    """A start given by name: a number for each component, or, of a lattice, one for each site."""
    sites: Mapping[str, tuple[int, int]] = getattr(product, "SITES", {})
    names = tuple(sites or product.COMPONENTS)
    if set(y0) != set(names):
        raise ValueError(
            f"y0 names {', '.join(sorted(map(str, y0)))}; all of the components are needed: "
            f"{', '.join(names)}"
        )
    arrays = [real_array(f"y0 of {name}", y0[name]) for name in names]
    if not sites:
        many = _common_shape(names, arrays, [array.shape for array in arrays])
        return np.stack([np.broadcast_to(array, many) for array in arrays], axis=-1)
    counts = [stop - start for start, stop in sites.values()]
    for name, array, count in zip(names, arrays, counts, strict=True):
        if array.ndim > 2 or (array.ndim and array.shape[-1] not in (1, count)):
            raise ValueError(
                f"y0 of {name} has the shape {array.shape}; a number, ({count},) for each site, or "
                f"(trajectories, {count}) was expected"
            )
    many = _common_shape(names, arrays, [array.shape[:-1] for array in arrays])
    pairs = zip(arrays, counts, strict=True)
    return np.concatenate([np.broadcast_to(a, (*many, count)) for a, count in pairs], axis=-1)


def _common_shape(
    names: Sequence[str], arrays: Sequence[Floats], shapes: Sequence[tuple[int, ...]]
) -> tuple[int, ...]:
    """The shape of the trajectories of all components."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        pairs = zip(names, arrays, strict=True)
        texts = ", ".join(f"{name} {array.shape}" for name, array in pairs)
        raise ValueError(
            f"components of y0 with different numbers of trajectories: {texts}"
        ) from None


def step_length(h: Any) -> float:
    """The length of a step, without a sign.

    Raises:
        ValueError: it is no positive number.
    """
    h = real_number("h", h)
    if not (math.isfinite(h) and h > 0):
        raise ValueError(f"h = {h}: a positive step was expected (its sign follows from t_span)")
    return h


def step_count(start: float, stop: float, h: float) -> int:
    """How many steps fill the time span.

    Args:
        start: the time of the start.
        stop: the time of the end.
        h: the length of a step, without a sign.

    Returns:
        The number of steps, at least 1.

    Raises:
        ValueError: it does not fit.
    """
    exact = abs(stop - start) / h
    if exact > 1e15:
        raise ValueError(f"t_span is {exact:.3g} steps of h = {h:g}: too many to count")
    count = round(exact)
    if count < 1 or abs(exact - count) > 1e-9 * max(count, 1):
        near = abs(stop - start) / max(math.ceil(exact), 1)
        raise ValueError(
            f"t_span is {exact:.6g} steps of h = {h}, not a whole number; h = {near!r} fits"
        )
    return count


def kept_steps(count: int, every: Any, h: float) -> int:
    """How many steps there are from one kept state to the next.

    Args:
        count: of all steps.
        every: what was asked for.
        h: the length of a step, for messages.

    Returns:
        The number.

    Raises:
        ValueError: it is none, or too many states would be kept, or none.
    """
    every = whole_number("every", every)
    if count // every > MOST_STATES:
        raise ValueError(
            f"{count:.3g} steps of h = {h:g}, of which {count // every:.3g} states would be kept; "
            "give a larger every, or a larger h"
        )
    if every > count:
        raise ValueError(f"every = {every} is more than the {count} steps: no state would be kept")
    return every


def refuse_undefined(product: ModuleType, start: float, state: Floats, table: Floats) -> None:
    """Refuse a start at which the equations or the energy have no meaning.

    Args:
        product: a generated numba module.
        start: the time of the start.
        state: the starts, `(trajectories, components)`.
        table: the parameters of each, `(trajectories, parameters)`.

    Raises:
        ValueError: a right-hand side or an energy is not finite there.
    """
    slope = np.zeros(state.shape[1])
    fields = [getattr(product, name) for name in product.FIELDS]
    with np.errstate(all="ignore"):
        for m, (y, row) in enumerate(zip(state, table, strict=True)):
            energy = 0.0
            for field in fields:
                field(start, y, row, 1.0, slope)
            if hasattr(product, "along_energy"):
                energy = _energy(product, start, y, row)
            if not (all_finite(slope) and math.isfinite(energy)):
                which = f" of trajectory {m}" if len(state) > 1 else ""
                raise ValueError(
                    f"{product.NAME} is not defined at the start{which}, t = {start:g} and "
                    f"y = {y}: its right-hand side or its energy is not finite there"
                )


def _energy(product: ModuleType, start: float, y: Floats, row: Floats) -> float:
    """The energy of one state."""
    if not getattr(product, "SITES", None):
        return float(product.energy(start, y, row))
    energy = np.zeros(1)
    product.along_energy(np.array([start]), y[None], row, energy)
    return float(energy[0])


def tolerance(name: str, value: Any, size: int) -> Floats:
    """Positive tolerances, one for each component.

    Args:
        name: what the user calls them.
        value: a number, or one for each component.
        size: how many components there are.

    Returns:
        `(size,)`.

    Raises:
        ValueError: it does not fit.
    """
    if isinstance(value, float) and 0 < value < math.inf:
        return np.full(size, value)
    array = real_array(name, value)
    if array.shape not in ((), (1,), (size,)):
        raise ValueError(
            f"{name} has the shape {array.shape}; a number, or one for each of the {size} "
            "components was expected"
        )
    if not (0 < array.min() and array.max() < np.inf):
        raise ValueError(f"{name} = {value}: a positive number was expected")
    tolerances = np.empty(size)
    tolerances[:] = array
    return tolerances


def output_times(t_eval: Any, start: float, stop: float) -> Floats | None:
    """The times to keep, in the order of the integration.

    Args:
        t_eval: times within the span, in the order of the integration; None for no choice.
        start: the time of the start.
        stop: the time of the end.

    Returns:
        `(times,)`; None if t_eval is None.

    Raises:
        ValueError: it does not fit.
    """
    if t_eval is None:
        return None
    times = real_array("t_eval", t_eval).ravel()
    onward = times * math.copysign(1.0, stop - start)
    ordered = times.size == 1 or (onward[1:] > onward[:-1]).all()
    if not times.size:
        raise ValueError("t_eval has no times; leave it out for those of all steps")
    if not all_finite(times):
        raise ValueError("t_eval has times that are not finite")
    if not ordered:
        raise ValueError("t_eval must be times in the order of the integration, none of them twice")
    low, high = min(start, stop), max(start, stop)
    if not (low <= times[0] <= high and low <= times[-1] <= high):
        raise ValueError(f"t_eval reaches beyond t_span = ({start}, {stop})")
    return times


def step_bound(max_step: Any) -> float:
    """The longest step that may be taken.

    Raises:
        ValueError: it is not positive.
    """
    longest = real_number("max_step", max_step)
    if not longest > 0:
        raise ValueError(f"max_step = {longest}: a positive number was expected")
    return longest


def refuse_lost_bound(longest: float, start: float, stop: float) -> None:
    """Refuse a longest step that is lost in the rounding of the times.

    Args:
        longest: its length.
        start: the time of the start.
        stop: the time of the end.

    Raises:
        ValueError: it is.
    """
    least = 100 * float(np.spacing(max(abs(start), abs(stop))))
    if longest < least:
        raise ValueError(
            f"max_step = {longest} is lost in the rounding of the times of t_span; {least:.0e} is "
            "the smallest"
        )


def looks_for_nothing(events: Any) -> bool:
    """Whether there are no events: None, False or an empty sequence."""
    return events is None or events is False or (isinstance(events, list | tuple) and not events)


def looked_for(product: ModuleType, events: Any) -> tuple[Event, ...]:
    """What is looked for along a solution.

    Args:
        product: a generated numba module.
        events: the name of a declared event, True for all of them, a function of t and the state
            `(components,)`, or a sequence of names and functions; None for nothing.  A function may
            have SciPy's attributes ``direction``, whose sign is that of its slope, and
            ``terminal``, true or the number of the zero that ends the run.

    Returns:
        The events, in order.

    Raises:
        ValueError: an event is not declared, or no function, or its attributes do not fit.
    """
    declared: Mapping[str, tuple[int, int]] = getattr(product, "EVENTS", {})
    if looks_for_nothing(events):
        return ()
    if events is True:
        if not declared:
            raise ValueError(f"{product.NAME.partition('__')[0]} declares no events")
        events = tuple(declared)
    if isinstance(events, str) or callable(events):
        events = (events,)
    if not isinstance(events, Sequence):
        raise ValueError(
            f"events = {events!r}: a name of a declared event, a function of (t, y), or a list of "
            "those was expected"
        )
    return tuple(_event(product, declared, event) for event in events)


def _event(product: ModuleType, declared: Mapping[str, tuple[int, int]], event: Any) -> Event:
    if isinstance(event, str):
        if event not in declared:
            problem = product.NAME.partition("__")[0]
            known = ", ".join(declared) or "none"
            raise ValueError(
                f"no event '{event}'; those that {problem} declares are: {known}"
                + did_you_mean(event, declared)
            )
        direction, terminal = declared[event]
        function = getattr(product, f"e_{event}")
        return Event(event, function, direction, terminal, list(declared).index(event))
    if not callable(event):
        raise ValueError(f"the event {event!r} is neither a name nor a function of (t, y)")
    name = getattr(event, "__name__", type(event).__name__)
    slope = real_number(f"direction of the event {name}", getattr(event, "direction", 0))
    if math.isnan(slope):
        raise ValueError(f"direction of the event {name} = nan: a number was expected")
    terminal = getattr(event, "terminal", False)
    if isinstance(terminal, np.bool_):
        terminal = bool(terminal)
    if not isinstance(terminal, bool):
        terminal = whole_number(f"terminal of the event {name}", terminal, 0)
    return Event(name, lambda t, y, _: event(t, y), int(np.sign(slope)), int(terminal), None)


def refuse_adaptive(product: ModuleType) -> None:
    """Refuse adaptive steps for a method that cannot have them, with the reason.

    Raises:
        ValueError: it does not fit.
    """
    if product.FIXED_STEP:
        raise ValueError(f"{product.NAME} needs a fixed step h: {product.FIXED_STEP}")
