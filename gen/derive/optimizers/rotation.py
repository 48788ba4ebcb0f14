"""Rotation: a step that begins with its gradient.

In: a :class:`Scheme`.  Out: its stages, one per gradient.  A stage starts with the parameter array
``x`` holding the point at which the gradient ``g`` was asked for, and a buffer ``b`` from which the
momentum follows; it ends with the next point in ``x``.

With the gradients of a step at the points Y_1 ... Y_m, the lines between Y_i and Y_{i+1} are
stage i. The lines before Y_1 are done at the end of the step before, with the step size then in
force; so ``x`` holds Y_1, not the solution, and the way back uses what was in force at that time:
symbols marked ``last``. Where the last gradient of a step and the first of the next are at one
point (kick, drift, kick) they are one, and the lines after Y_m are done in the next step with
*its* last values.

The buffer holds p as it was after the last kick: a friction factor behind it is applied by the next
kick, which saves a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Coordinate, Expr, coordinates
from hamilforge.gen.derive.scheme import Line, Scheme
from hamilforge.gen.derive.symbols import Grad, h, n, p, q, t

x, b, g, new_b = (Coordinate(name) for name in ("x", "b", "g", "b_new"))
#: The buffer where it is read to undo what the last step did, with the units it had then.
last_b = Coordinate("b_last")
#: What the names of scalars of the last step begin with; no declared name has two underscores.
LAST = "last__"


def last(expr: Expr) -> Expr:
    """An expression with the values that were in force in the last step."""
    return expr.xreplace(
        {
            symbol: sp.Symbol(f"{LAST}{symbol.name}", **symbol.assumptions0)
            for symbol in expr.free_symbols
            if not isinstance(symbol, Coordinate)
        }
    )


def is_last(symbol: sp.Symbol) -> bool:
    """Whether a scalar is one that was in force in the last step."""
    return symbol.name.startswith(LAST) and not isinstance(symbol, Coordinate)


def present(expr: Expr) -> Expr:
    """The inverse of :func:`last`: what is in force in the last step when it is the present one."""
    return expr.xreplace(
        {
            symbol: sp.Symbol(symbol.name.removeprefix(LAST), **symbol.assumptions0)
            for symbol in expr.free_symbols
            if is_last(symbol)
        }
    )


@dataclass(frozen=True, slots=True)
class Stage:
    """What happens between one gradient and the next.

    Attributes:
        buffer: the new buffer, in ``x, b, g``.
        point: the next point, in ``x, b, last_b, g, new_b``.
    """

    buffer: Expr
    point: Expr


@dataclass(frozen=True, slots=True)
class Rotated:
    """A scheme whose stages begin with their gradients.

    Attributes:
        stages: one per gradient.
        position: the solution's q, in ``x`` and ``last_b``.
        momentum: the solution's p, in ``last_b`` and, where kicks of two steps were joined, ``g``.
        shifted: whether ``x`` is not the solution.
    """

    stages: tuple[Stage, ...]
    position: Expr
    momentum: Expr
    shifted: bool

    def without(self, noises: Iterable[Coordinate]) -> Rotated:
        """The same with arrays of noise at their mean, zero."""
        zeros: dict[Expr, Expr] = dict.fromkeys(noises, sp.Integer(0))
        stages = (
            Stage(stage.buffer.xreplace(zeros), stage.point.xreplace(zeros))
            for stage in self.stages
        )
        return replace(self, stages=tuple(stages), momentum=self.momentum.xreplace(zeros))


def rotate(scheme: Scheme) -> Rotated:
    """Rotate a scheme.

    Raises:
        DeclarationError: a gradient is used out of its stage, or its point is not the position
            shifted by a function of the momentum.
    """
    return _Rotation(scheme).run()


@dataclass(frozen=True, slots=True)
class _Walked:
    """Where a stage ends.

    Attributes:
        position, momentum, locals: the values of q, p and the locals at the next gradient.
        buffer: the momentum after the last kick; ``momentum`` is written with ``new_b`` for it.
        point: the next gradient's point.
        solution: q and p at the end of the step, where the step ends in this stage.
    """

    position: Expr
    momentum: Expr
    locals: dict[Coordinate, Expr]
    buffer: Expr
    point: Expr
    solution: tuple[Expr, Expr]


def _walk(
    start: dict[Expr, Expr], lines: list[Line], head: list[Line], point: Expr | None
) -> _Walked:
    """Follow the lines of a stage, then those of the next step's head, to the next gradient."""
    values = dict(start)
    buffer = values[p]
    cut = _last_kick(lines)
    for number, line in enumerate(lines):
        values[line.target] = line.value.xreplace(values)
        if number == cut:
            buffer, values[p] = values[p], new_b
    solution = (values[q], values[p])
    for line in head:
        values[line.target] = line.value.xreplace(values)
    there = values[q] if point is None else point.xreplace(values)
    locals_ = {name: value for name, value in values.items() if name not in (q, p)}
    return _Walked(values[q], values[p], locals_, buffer, there, solution)


def _last_kick(lines: list[Line]) -> int:
    """The last line that changes p by more than a factor; -1 if none does."""
    kicks = [
        number
        for number, line in enumerate(lines)
        if line.target is p and coordinates(sp.expand(line.value / p))
    ]
    return kicks[-1] if kicks else -1


class _Rotation:
    """The lines of a scheme cut at its gradients.

    Attributes:
        points: the point of each gradient, as the scheme writes it.
        segments: the lines before the first gradient, then those after each, with ``g`` for it.
        joined: whether the last gradient of a step is the first of the next.
        unmoved: whether the first gradient is asked for at q as the step finds it.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._method, self._noises = scheme.method, scheme.noises
        self.points: list[Expr] = []
        self.segments: list[list[Line]] = [[]]
        located: list[Expr] = []
        versions: dict[Expr, Expr] = {q: Coordinate("q_0"), p: Coordinate("p_0")}
        for number, line in enumerate(scheme.lines, start=1):
            calls = sorted(line.value.atoms(Grad), key=sp.default_sort_key)
            if len(calls) > 1:
                raise self._refuse("one grad(...) per assignment is understood")
            value = line.value
            if calls:
                point = sp.expand(calls[0].args[0].xreplace(versions))
                if point in located[:-1]:
                    raise self._refuse(
                        "a gradient is used after another one was asked for; use it before"
                    )
                if point not in located:
                    located.append(point)
                    self.points.append(calls[0].args[0])
                    self.segments.append([])
                value = value.xreplace({calls[0]: g})
            self.segments[-1].append(Line(line.target, value, line.flow))
            versions[line.target] = Coordinate(f"{line.target.name}_{number}")
        self.unmoved = located[:1] == [Coordinate("q_0")]
        self.joined = len(located) > 1 and (located[0], located[-1]) == (
            Coordinate("q_0"),
            versions[q],
        )

    def _refuse(self, message: str) -> DeclarationError:
        head = self._method.head
        return DeclarationError.single(head.source.where, message, "assign")

    def run(self) -> Rotated:
        if self.joined:
            head, *middle, tail = self.segments
            finish = [Line(line.target, last(line.value), line.flow) for line in tail]
            segments = [finish + head + middle[0], *middle[1:]]
            points: list[Expr | None] = [*self.points[1:-1], None]
            next_head: list[Line] = []
        elif self.unmoved:
            head, *segments = self.segments
            segments[0] = head + segments[0]
            points, next_head = [*self.points[1:], None], []
        else:
            later = {t: t + h, n: n + 1}
            next_head = [
                Line(line.target, line.value.xreplace(later), line.flow)
                for line in self.segments[0]
            ]
            segments = self.segments[1:]
            points = [*self.points[1:], self.points[0].xreplace(later)]
        trial = self._stages(segments, points, next_head, {q: x, p: b})
        start = self._restart(trial[-1])
        stages = self._stages(segments, points, next_head, start)
        if self.joined:
            values = {q: x, p: start[p]}
            for line in finish:
                values[line.target] = line.value.xreplace(values)
            position, momentum = values[q], values[p].xreplace({b: last_b})
        else:
            end_position, end_momentum = stages[-1].solution
            shift = self._shift(stages[-1].point, end_position)
            position = x - _undone(shift)
            momentum = _undone(self._multiple(end_momentum))
        return Rotated(
            tuple(Stage(stage.buffer, stage.point) for stage in stages),
            position,
            momentum,
            shifted=position != x,
        )

    def _stages(
        self,
        segments: list[list[Line]],
        points: list[Expr | None],
        next_head: list[Line],
        start: dict[Expr, Expr],
    ) -> list[_Walked]:
        stages: list[_Walked] = []
        for index, (lines, point) in enumerate(zip(segments, points, strict=True)):
            final = index == len(segments) - 1
            walked = _walk(start, lines, next_head if final else [], point)
            stages.append(walked)
            if not final:
                shift = self._shift(walked.point, walked.position).xreplace({new_b: b})
                momentum = self._multiple(walked.momentum).xreplace({new_b: b})
                start = {q: x - shift, p: momentum}
        return stages

    def _restart(self, walked: _Walked) -> dict[Expr, Expr]:
        """Where q, p and the locals are at the start of a step, as the last one left them."""
        shift = self._shift(walked.point, walked.position)
        start: dict[Expr, Expr] = {
            q: x - _undone(shift),
            p: last(self._multiple(walked.momentum)).xreplace({new_b: b}),
        }
        for name, value in walked.locals.items():
            away = sp.expand(value - walked.point)
            if away.atoms(Coordinate) <= {new_b}:
                start[name] = x + _undone(away)
        return start

    def _shift(self, point: Expr, position: Expr) -> Expr:
        shift = sp.expand(point - position)
        self._refuse_noise(shift)
        if not shift.atoms(Coordinate) <= {new_b}:
            raise self._refuse("the point of a gradient must be q shifted by a function of p")
        return shift

    def _refuse_noise(self, value: Expr) -> None:
        """That no noise lies between a step's beginning and its first gradient."""
        if value.atoms(Coordinate) & {*self._noises}:
            raise self._refuse(
                "noise (letter O) between a drift and the first gradient of a step: begin the "
                "step after it, with the flows in the same circle"
            )

    def _multiple(self, momentum: Expr) -> Expr:
        self._refuse_noise(momentum)
        if not momentum.atoms(Coordinate) <= {new_b}:
            raise self._refuse("after the last gradient, p may only be multiplied by a number")
        return momentum


def _undone(shift: Expr) -> Expr:
    """A function of the new buffer, as it is seen one step later."""
    return last(shift).xreplace({new_b: last_b})
