"""A function of the state along one step: the places at which it turns, with its values there.

In: a step's polynomial and a function.  Out: places between which the function is monotone.

The series of a declared function is computed from that of the state, on halves of the step where it
does not end within the whole, or does not have the function's values.  A Python function is taken
at Chebyshev's points, on halves where its values there are not those of a polynomial.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators import event_roots, series_bounds
from hamilforge.runtime.integrators.solution import Floats

#: Rounding errors of a polynomial, relative to the sum of the sizes of its terms.
_ROUNDING = 1e-15
#: How often a step is halved where a series does not end, and where samples do not agree.
_HALVINGS, _SAMPLED_HALVINGS = 10, 4
#: What the last terms of a series are of all, at least of the tolerances.
_END = 1e-13
#: The degree through samples of a Python function, and what its last terms are of all.
_SAMPLES, _AGREEMENT = 8, 1e-7


@dataclass(frozen=True)
class Event:
    """What is looked for: the zeros of a function.

    Attributes:
        name: of the event.
        function: of the time, the state `(components,)` and the row of parameters.
        direction: 1 for zeros at which it grows, -1 for those at which it falls, 0 for both.
        terminal: at which of its zeros the run ends; 0 for none.
        place: of a declared event among those of the problem; None for a Python function.
    """

    name: str
    function: Callable[[float, Floats, Floats], Any]
    direction: int
    terminal: int
    place: int | None


@dataclass(frozen=True, slots=True)
class Span:
    """Where a step is.

    Attributes:
        start: the time at which it begins.
        behind: what is missing in that.
        h: its length, with its sign.
        end: the time at which it ends.
    """

    start: float
    behind: float
    h: float
    end: float


class Step:
    """A step that was taken, theta going from 0 to 1 on it."""

    def __init__(
        self, product: ModuleType, span: Span, row: Floats, series: Floats, end: Floats
    ) -> None:
        """A step.

        Args:
            product: the generated module.
            span: where it is.
            row: the parameters.
            series: rows whose first columns hold the polynomial; functions write into the others.
            end: the state at its end, which the polynomial meets to rounding.
        """
        self.span, self._end = span, end.copy()
        self._product: Any = product
        self._row, self._series = row, series
        self._curve = series[: product.DEGREE + 1, : product.SIZE].copy()
        self._powers = np.arange(len(self._curve))

    def time(self, theta: float) -> float:
        """The time at a place, which is none beyond the end."""
        span = self.span
        time = span.start + (theta * span.h + span.behind)
        beyond = (time - span.end) * span.h > 0
        return span.end if beyond or theta == 1.0 else time

    def state(self, theta: float) -> Floats:
        """The state at a place, `(components,)`."""
        if theta == 1.0:
            return self._end.copy()
        state: Floats = theta**self._powers @ self._curve
        return state

    def value(self, event: Event, theta: float, state: Floats | None = None) -> float:
        """A function at a place.

        Args:
            event: whose function it is.
            theta: the place.
            state: the state there, if it is known.

        Returns:
            Its value.

        Raises:
            IntegrationError: that is no finite number.
        """
        time = self.time(theta)
        state = self.state(theta) if state is None else state
        with np.errstate(all="ignore"):
            value = event.function(time, state, self._row)
        try:
            number = math.nan if isinstance(value, bool | np.bool_) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise IntegrationError(
                f"the event {event.name} is {value} at t = {time:.6g}: a finite number was "
                "expected, along the whole trajectory, that changes its sign where the event is; "
                f"the state is {state}", time, 0, 0.0,
            )  # fmt: skip
        return number

    def pieces(
        self, event: Event, near: float
    ) -> Iterator[tuple[float, float, Floats | None, Floats]]:
        """A function in pieces, in order.

        Args:
            event: whose function it is.
            near: the relative tolerance of the solution.

        Yields:
            Beginning, length and coefficients of a polynomial; None for these where there is none
            that agrees with the function's values, which come last, at Chebyshev's points.
        """
        declared = event.place is not None
        most = _HALVINGS if declared else _SAMPLED_HALVINGS
        waiting = [(0.0, 1.0, 0)]
        while waiting:
            begin, length, depth = waiting.pop()
            coefficients = self._series_of(event, begin, length, near) if declared else None
            samples = np.empty(0)
            if coefficients is None and (depth >= most or not declared):
                samples = self._samples(event, begin, length)
                coefficients = _ended(_from_samples() @ samples, _AGREEMENT)
            if coefficients is not None or depth >= most:
                yield begin, length, coefficients, samples
            else:
                half = 0.5 * length
                waiting += [(begin + half, half, depth + 1), (begin, half, depth + 1)]

    def _samples(self, event: Event, begin: float, length: float) -> Floats:
        thetas = begin + length * nodes()
        states = thetas[:, None] ** self._powers @ self._curve
        states[thetas == 1.0] = self._end
        pairs = zip(thetas, states, strict=True)
        return np.array([self.value(event, theta, state) for theta, state in pairs])

    def _series_of(self, event: Event, begin: float, length: float, near: float) -> Floats | None:
        """The series of a declared event on a piece; None where it does not end, or is wrong."""
        product, rows = self._product, self._series
        own = self._curve if length == 1.0 else self._part(begin, length)
        rows[: len(own), : product.SIZE] = own
        powers = rows[: product.POWERS + 1]
        product.event_series(self.time(begin), length * self.span.h, self._row, powers)
        column = product.EVENT_COLUMN + event.place
        series = _ended(rows[: product.POWERS + 1, column].copy(), max(near, _END))
        if series is not None:
            size = series_bounds.ALIKE * abs(series).sum()
            for theta in (0.5, 1.0):
                value = self.value(event, begin + length * theta)
                if abs(event_roots.value(series, theta) - value) > size:
                    return None
        return series

    def _part(self, start: float, length: float) -> Floats:
        """The polynomial from a place on, in parts of a length."""
        powers = self._powers
        shift = _binomials(len(powers)) * start ** np.maximum(powers - powers[:, None], 0)
        part: Floats = (shift @ self._curve) * length ** powers[:, None]
        return part


@dataclass(slots=True)
class Place:
    """A place on a step at which a function turns, or at which a piece of it ends.

    Attributes:
        value: of the function.
        noise: what is rounding of it.
        blur: what it may differ by from the function's own.
        piece: beginning, length and coefficients of the polynomial that leads there; no
            coefficients where samples do not agree with one.
        near: what counts as near to zero on the step.
    """

    step: Step
    theta: float
    value: float
    noise: float
    blur: float
    piece: tuple[float, float, Floats | None]
    near: float = 0.0


def places(event: Event, step: Step, near: float) -> list[Place]:
    """Where a function turns on a step, with the ends of its pieces.

    Args:
        event: whose function it is.
        step: the step.
        near: the relative tolerance of the solution.

    Returns:
        The places, in order, from the beginning of the step to its end.

    Raises:
        IntegrationError: the function is not finite.
    """
    found: list[Place] = []
    for begin, length, coefficients, samples in step.pieces(event, near):
        piece = begin, length, coefficients
        if coefficients is None:
            own = functools.partial(_on_piece, event, step, begin, length)
            thetas, values = with_kinks(own, samples)
            rows = np.column_stack((thetas, values, np.zeros(len(values))))
            blur = _ROUNDING * float(abs(values).max())
        else:
            rows = event_roots.places(coefficients)
            of_samples = event.place is None
            if of_samples:  # at the ends the function itself is known
                rows[0, 1], rows[-1, 1] = samples[0], samples[-1]
            blur = (_AGREEMENT if of_samples else _ROUNDING) * float(abs(coefficients).sum())
        found += [
            Place(step, begin + length * theta, value, _ROUNDING * size, blur, piece)
            for theta, value, size in rows[1 if found else 0 :].tolist()
        ]
    largest = near * max(abs(place.value) for place in found)
    for place in found:
        place.near = largest
    return found


def _on_piece(event: Event, step: Step, begin: float, length: float, theta: float) -> float:
    return step.value(event, begin + length * theta)


def with_kinks(function: Callable[[float], float], samples: Floats) -> tuple[Floats, Floats]:
    """Samples of a function that is no polynomial, with those where it comes nearest to zero.

    Where three neighbours of one sign, or two at an end, come nearer to zero and go away again, the
    interval about the nearest is divided by the golden ratio, down to rounding: the function may
    have a kink at zero there, as a distance has.

    Args:
        function: of a place in [0, 1].
        samples: its values at :func:`nodes`.

    Returns:
        Places in order, and the values there.
    """
    thetas, values = nodes().tolist(), samples.tolist()
    more: list[tuple[float, float]] = []
    last = len(values) - 1
    for i, value in enumerate(values):
        low, high = max(i - 1, 0), min(i + 1, last)
        around = (values[low], values[high])
        nearest = all(0 < value * other and abs(value) <= abs(other) for other in around)
        if nearest:
            more.append(_nearest(function, math.copysign(1.0, value), thetas[low], thetas[high]))
    pairs = sorted({*zip(thetas, values, strict=True), *more})
    return np.array([theta for theta, _ in pairs]), np.array([value for _, value in pairs])


def _nearest(
    function: Callable[[float], float], side: float, low: float, high: float
) -> tuple[float, float]:
    """Where a function of a sign is least in size, by golden sections, and its value there."""
    golden = 0.5 * (math.sqrt(5.0) - 1.0)
    inner = [low + (1.0 - golden) * (high - low), low + golden * (high - low)]
    values = [function(theta) for theta in inner]
    while low < inner[0] < inner[1] < high and high - low > 2.0**-50:
        keep = 0 if side * values[0] <= side * values[1] else 1
        if keep == 0:
            high = inner[1]
            inner = [low + (1.0 - golden) * (high - low), inner[0]]
        else:
            low = inner[0]
            inner = [inner[1], low + golden * (high - low)]
        fresh = function(inner[keep])
        values = [fresh, values[0]] if keep == 0 else [values[1], fresh]
    return min(zip(inner, values, strict=True), key=lambda pair: side * pair[1])


@functools.cache
def nodes() -> Floats:
    """Chebyshev's points in [0, 1], ends included."""
    points: Floats = 0.5 - 0.5 * np.cos(np.pi * np.arange(_SAMPLES + 1) / _SAMPLES)
    return points


def _ended(coefficients: Floats, room: float) -> Floats | None:
    """A series whose last terms are at most a part of all; None for another one."""
    sizes = abs(coefficients)
    return coefficients if sizes[-1] + sizes[-2] <= room * sizes.sum() < math.inf else None


@functools.cache
def _from_samples() -> Floats:
    """The matrix from values there to coefficients."""
    return np.asarray(np.linalg.inv(np.vander(nodes(), increasing=True)), np.float64)


@functools.cache
def _binomials(count: int) -> Floats:
    """``C(k, j)`` in row j and column k."""
    return np.array([[float(math.comb(k, j)) for k in range(count)] for j in range(count)])
