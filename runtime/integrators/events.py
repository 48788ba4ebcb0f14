"""Zeros of functions along a trajectory: found on the polynomial of each step, in order, once.

In: what is looked for, and the steps one after the other.  Out: times and states.

Between the places at which a function turns it is monotone, so no zero is missed and none is found
twice.  The time of a zero is that of the function itself, on the far side: there the function has
the sign that it goes on with.

- A function that is zero at the start (to rounding, of the state too) begins on the side to which
  it goes.
- A touch, where the function comes as near to zero as the relative tolerance of its size in the
  step and turns back, is a zero, of no direction.  Two crossings between which it goes no further
  are one zero.
- A function that becomes zero and stays it has one zero, where it becomes it; when it leaves, it
  does so as from the start.
- A function that is zero at the end of a run has arrived there.
- At a pole a function changes its sign and has no zero.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators import event_roots
from hamilforge.runtime.integrators.solution import Floats
from hamilforge.runtime.integrators.step_functions import Event, Place, Span, Step, places

#: What is rounding of a function that begins at zero, relative to its size in a step.
_START = 1e-14


@dataclass(slots=True)
class Track:
    """What is known of a function as far as a run has come.

    Attributes:
        side: the sign of the function; 0 before it is known.
        furthest: the largest size of the function since the last zero.
        last: the last place at which it had its sign.
        here: the last place.
        before: the last one before it at which the function had another value, to rounding.
        uncertain: what rounding of the state it begins with does to it.
        times, states: the zeros.
    """

    event: Event
    side: float = 0.0
    furthest: float = math.inf
    last: Place | None = None
    before: Place | None = None
    here: Place | None = None
    uncertain: float = 0.0
    times: list[float] = field(default_factory=list)
    states: list[Floats] = field(default_factory=list)


class Watch:
    """Looks for events on the steps of one trajectory."""

    def __init__(
        self, product: ModuleType, events: Sequence[Event], row: Floats, relative: Floats
    ) -> None:
        self._product: Any = product
        self._row = row
        self.near = float(relative.min())
        self.tracks = [Track(event) for event in events]
        self.declared = [event.place for event in events if event.place is not None]
        self.every_step = len(self.declared) < len(events)
        self._end: float | None = None
        self._direction = 1.0

    def look(
        self, span: Span, y: Floats, room: Workspace, series: Floats
    ) -> tuple[float, Floats] | None:
        """Look at a step.

        Args:
            span: where it is.
            y: the state at its end.
            room: the arrays of the kernels, as the step has left them.
            series: rows for series.

        Returns:
            Time and state at which the run ends, if it does.

        Raises:
            IntegrationError: a function is not finite.
        """
        product = self._product
        lost = product.curve(
            span.start + span.behind, span.h, y, self._row,
            room.rows[0], room.square[0], room.slopes[0], room.flags[0], series,
        )  # fmt: skip
        if lost != 0.0:
            raise IntegrationError(
                f"the states between t = {span.start:.6g} and {span.end:.6g}, among which events "
                "are looked for, were not found; try smaller tolerances", span.start, 0, lost,
            )  # fmt: skip
        step = Step(product, span, self._row, series, y)
        zeros: list[tuple[float, int, Floats]] = []
        follows = span.start == self._end
        self._end, self._direction = span.end, math.copysign(1.0, span.h)
        for number, track in enumerate(self.tracks):
            if not follows and track.here is not None:  # it was far from zero since
                zeros += self._named(number, self._touch(track, math.inf))
                track.before = track.here = None
                track.furthest = math.inf
            # the end of the step before is where this one begins
            for place in places(track.event, step, self.near)[track.here is not None :]:
                zeros += self._named(number, self._move(track, place))
        return self._kept(zeros)

    def finish(self) -> tuple[float, Floats] | None:
        """The run has come to its end: a function that is zero there has an event there.

        Returns:
            Time and state if that ends the run by itself.
        """
        zeros: list[tuple[float, int, Floats]] = []
        for number, track in enumerate(self.tracks):
            here = track.here
            if here is None or here.step.span.end != self._end or track.side == 0.0:
                continue
            arrives = track.event.direction in (0, -track.side)
            if arrives and abs(here.value) <= 8 * here.noise and track.furthest > here.near:
                zeros += self._named(number, [(here.step, 1.0)])
        return self._kept(zeros)

    def _named(
        self, number: int, zeros: Iterable[tuple[Step, float]]
    ) -> list[tuple[float, int, Floats]]:
        return [(step.time(theta), number, step.state(theta)) for step, theta in zeros]

    def _kept(self, zeros: list[tuple[float, int, Floats]]) -> tuple[float, Floats] | None:
        """Keep zeros in the order of time, as far as the one that ends the run."""
        end: tuple[float, Floats] | None = None
        onward = self._direction
        for time, number, state in sorted(zeros, key=lambda zero: (onward * zero[0], zero[1])):
            if end is not None and time != end[0]:
                break
            track = self.tracks[number]
            track.times.append(time)
            track.states.append(state)
            if track.event.terminal and len(track.times) >= track.event.terminal:
                end = end or (time, state)
        return end

    @property
    def found(self) -> dict[str, Any]:
        """What a solution has of it."""
        names = tuple(track.event.name for track in self.tracks)
        return {"events": names, "t_events": self.times, "y_events": self.states}

    @property
    def times(self) -> tuple[Floats, ...]:
        """The zeros of each event, `(zeros,)`."""
        return tuple(np.array(track.times) for track in self.tracks)

    @property
    def states(self) -> tuple[Floats, ...]:
        """The states at the zeros of each event, `(zeros, components)`."""
        size = self._product.SIZE
        return tuple(np.reshape(track.states, (-1, size)) for track in self.tracks)

    # --- zeros ---------------------------------------------------------------------------

    def _move(self, track: Track, place: Place) -> Iterator[tuple[Step, float]]:
        """Go on to a place, and yield the zeros on the way."""
        noise = place.noise
        if track.side == 0.0:  # it has to become more than what is rounding at the start
            if track.here is None:
                track.uncertain = place.step.rounding(track.event)
                noise = max(noise, _START * place.near / self.near)
            noise = max(noise, track.uncertain, place.slope)
        sign = 0.0 if abs(place.value) <= noise else math.copysign(1.0, place.value)
        if sign != 0.0 and sign == -track.side:
            alike = track.furthest <= place.near
            theta = self._crossing(track, place)
            if track.event.direction in (0, sign) and theta is not None and not alike:
                yield place.step, theta
                track.furthest = 0.0
        elif self._rests(track, place):
            if track.event.direction in (0, -track.side):
                yield from self._arrival(track)
            track.side = track.furthest = 0.0  # it leaves as from the start of a run
        else:
            yield from self._touch(track, place.value, place.blur)
        if sign != 0.0:
            track.side = sign
        if sign == track.side:
            track.last = place
        track.furthest = max(track.furthest, abs(place.value))
        here = track.here
        if here is None or abs(place.value - here.value) > here.blur + place.blur:
            track.before = here
        else:  # it stays where it was, as near to zero as it was there
            place.near = max(place.near, here.near)
        track.here = place

    def _rests(self, track: Track, place: Place) -> bool:
        """Whether a function that had a side is exactly zero here, and was so just before."""
        here = track.here
        return place.value == 0.0 and here is not None and here.value == 0.0 != track.side

    def _arrival(self, track: Track) -> Iterator[tuple[Step, float]]:
        """Where a function has become zero that is zero at the last place."""
        here, last = track.here, track.last
        assert here is not None
        low = last.theta if last is not None and last.step is here.step else 0.0
        after = functools.partial(_is_after, track.event, here.step, track.side)
        least = _least_distance(here.step)
        yield here.step, _far_side(after, low, here.theta, here.theta, least)

    def _touch(self, track: Track, after: float, blur: float = 0.0) -> Iterator[tuple[Step, float]]:
        """The last place, if the function came near to zero there and turned back.

        Args:
            track: of the function.
            after: its value at the next place.
            blur: what that may differ by from the function's own.
        """
        before, here, side = track.before, track.here, track.side
        if before is None or here is None or side == 0.0 or track.event.direction != 0:
            return
        blurred = side * here.value + here.blur + blur
        turned = blurred < side * before.value and blurred < abs(after)
        if turned and abs(here.value) <= here.near < track.furthest:
            track.furthest = 0.0
            yield here.step, here.theta

    def _crossing(self, track: Track, place: Place) -> float | None:
        """Where the function has changed its sign, on the far side; None for a pole."""
        begin, length, coefficients = place.piece
        low = begin
        if track.last is not None and track.last.step is place.step:
            low = max(low, track.last.theta)
        high, side = place.theta, track.side
        after = functools.partial(_is_after, track.event, place.step, side)
        guess = 0.5 * (low + high)
        if coefficients is not None:
            local = event_roots.root(
                coefficients, (low - begin) / length, (high - begin) / length, side
            )
            guess = begin + length * local
        step = place.step
        theta = _far_side(after, low, high, guess, _least_distance(step))
        if coefficients is None and track.last is not None:
            largest = max(abs(track.last.value), abs(place.value))
            if abs(step.value(track.event, theta)) > largest:
                return None
        return theta


def _least_distance(step: Step) -> float:
    """The distance of places on a step whose times differ."""
    size = abs(step.span.h)
    return max(2.0**-52, float(np.spacing(abs(step.span.end) + size)) / size)


def _is_after(event: Event, step: Step, side: float, theta: float) -> bool:
    """Whether a function has left a side."""
    return step.value(event, theta) * side <= 0.0


def _far_side(
    after: Callable[[float], bool], low: float, high: float, guess: float, least: float
) -> float:
    """The first place, to a least distance, at which something has happened.

    Args:
        after: whether it has.
        low: before it.
        high: after it.
        guess: where it is nearly.
        least: the distance.

    Returns:
        A place at which it has happened; ``guess`` if that is nowhere seen.
    """
    width = least
    if after(guess):
        high = guess
        while (near := max(low, high - width)) > low and after(near):
            high, width = near, 4 * width
        low = near
    else:
        low = guess
        while (near := min(high, low + width)) < high and not after(near):
            low, width = near, 4 * width
        if near >= high and not after(high):
            return guess
        high = near
    while high - low > least and low < (middle := 0.5 * (low + high)) < high:
        if after(middle):
            high = middle
        else:
            low = middle
    return high
