"""A function of the state along one step: the places at which it turns, with its values there.

In: a step's polynomial and a function.  Out: places between which the function is monotone.

The series of a declared function is computed from that of the state, on halves of the step where it
does not end within the whole, or does not have the function's values.  A Python function is taken
at Chebyshev's points, on halves where its values there are not those of a polynomial.  Polynomials
say where functions turn; the values there, which decide, are the functions' own.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators import event_roots
from hamilforge.runtime.integrators.solution import Floats

#: Rounding errors of a polynomial, relative to the sum of the sizes of its terms.
_ROUNDING = 1e-15
#: How often a step is halved where a series does not end, and where samples do not agree.
_HALVINGS, _SAMPLED_HALVINGS = 10, 4
#: Where a series is held against values of its function, and what is rounding of both, relative to
#: the sum of the sizes of its terms.
_HELD, _END = (0.5, 1.0), 1e-13
#: By how much a state is uncertain in which a run begins, relative to it, and how many are drawn; a
#: far larger change, and by what part of its changes then a continuous function changes.
_UNCERTAIN, _DRAWN, _LARGE, _SMOOTH = 1e-15, 8, 1e-7, 1e-3
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
        self.product: Any = product
        self._row, self._series = row, series
        self._curve = series[: product.DEGREE + 1, : product.SIZE].copy()
        self._powers = np.arange(len(self._curve))
        self._uncertain: dict[str, float] = {}

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
            that agrees with the function's values, which come last: at least at both ends, and at
            Chebyshev's points where there are no coefficients.
        """
        declared = event.place is not None
        most = _HALVINGS if declared else _SAMPLED_HALVINGS
        waiting = [(0.0, 1.0, 0)]
        while waiting:
            begin, length, depth = waiting.pop()
            coefficients, samples = None, np.empty(0)
            if declared:
                coefficients, samples = self._series_of(event, begin, length, near)
            if coefficients is None and (depth >= most or not declared):
                samples = self._samples(event, begin, length)
                coefficients = _of_samples(samples)
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

    def _series_of(
        self, event: Event, begin: float, length: float, near: float
    ) -> tuple[Floats | None, Floats]:
        """The series of a declared event on a piece, with values at 0 and at :data:`_HELD`.

        There is none where it does not end, or does not have these values.
        """
        product, rows = self.product, self._series
        own = self._curve if length == 1.0 else self._part(begin, length)
        rows[: len(own), : product.SIZE] = own
        powers = rows[: product.POWERS + 1]
        product.event_series(self.time(begin), length * self.span.h, self._row, powers)
        series = powers[:, product.EVENT_COLUMN + event.place].copy()
        size = float(abs(series).sum())
        if not size < math.inf:
            return None, np.empty(0)
        held = [self.value(event, begin + length * theta) for theta in _HELD]
        off = [abs(event_roots.value(series, x) - y) for x, y in zip(_HELD, held, strict=True)]
        wrong = max(*off, float(abs(series[-1]) + abs(series[-2])))
        values = np.array([series[0], *held])
        room = near * float(abs(values).max()) + _END * size
        # a function that stays at zero has no digits that could be right
        ends = wrong <= room or wrong <= room + self.rounding(event)
        return (series if ends else None), values

    def rounding(self, event: Event) -> float:
        """By how much a function is uncertain at the beginning, as the state and the time are.

        That is 0 for one that jumps there: it changes by as much beside a state far more uncertain.
        """
        if event.name not in self._uncertain:
            small, large = (self._changes(event, size) for size in (_UNCERTAIN, _LARGE))
            continuous = math.isfinite(small) and small <= _SMOOTH * large
            self._uncertain[event.name] = small if continuous else 0.0
        return self._uncertain[event.name]

    def _changes(self, event: Event, size: float) -> float:
        """The largest change of a function by changes of the first time and state, drawn."""
        drawn = np.random.default_rng(_DRAWN)
        time, state = self.time(0.0), self.state(0.0)
        value, largest = self.value(event, 0.0, state), 0.0
        for signs in drawn.choice((-size, size), (_DRAWN, state.size + 1)):
            beside = time * (1 + signs[0]), state * (1 + signs[1:])
            # no trajectory goes through there: the function need not have a value
            with np.errstate(all="ignore"), contextlib.suppress(Exception):
                largest = max(largest, abs(float(event.function(*beside, self._row)) - value))
        return largest

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
        slope: what is rounding of it by that of the slope with which its piece begins.
        piece: beginning, length and coefficients of the polynomial that leads there; no
            coefficients where samples do not agree with one.
        near: what counts as near to zero on the step.
    """

    step: Step
    theta: float
    value: float
    noise: float
    blur: float
    slope: float
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
            largest = float(abs(values).max())
        else:
            rows = event_roots.places(coefficients)
            rows[0, 1], rows[-1, 1] = samples[0], samples[-1]
            for row in rows[1:-1]:
                row[1] = step.value(event, begin + length * row[0])
            largest = float(abs(coefficients).sum())
        blur = _ROUNDING * largest
        slope = blur * _weight_of_slopes(step.product)
        found += [
            Place(step, begin + length * theta, value, _ROUNDING * size, blur, theta * slope, piece)
            for theta, value, size in rows[1 if found else 0 :].tolist()
        ]
    largest = near * max(abs(place.value) for place in found)
    for place in found:
        place.near = largest
    return found


@functools.cache
def _weight_of_slopes(product: ModuleType) -> float:
    """The sum of the sizes of the weights that give a polynomial its coefficient of theta."""
    table = vars(product)
    if "FROM_VALUES" in table:
        return float(abs(table["FROM_VALUES"][0]).sum())
    return float(abs(table["DENSE"][:, 0]).sum()) if "DENSE" in table else 1.0


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


def _of_samples(samples: Floats) -> Floats | None:
    """The polynomial through samples at :func:`nodes`; None where it does not seem to end."""
    coefficients = _from_samples() @ samples
    sizes = abs(coefficients)
    return coefficients if sizes[-1] + sizes[-2] <= _AGREEMENT * sizes.sum() < math.inf else None


@functools.cache
def _from_samples() -> Floats:
    """The matrix from values there to coefficients."""
    return np.asarray(np.linalg.inv(np.vander(nodes(), increasing=True)), np.float64)


@functools.cache
def _binomials(count: int) -> Floats:
    """``C(k, j)`` in row j and column k."""
    return np.array([[float(math.comb(k, j)) for k in range(count)] for j in range(count)])
