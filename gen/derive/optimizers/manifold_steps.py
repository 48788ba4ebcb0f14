"""A step of a Hamiltonian system on a manifold as lines: the stay, the move, the way back.

In: a declared optimizer.  Out: the lines of a step, and of the map to the solution.
"""

from __future__ import annotations

from collections.abc import Mapping

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.read_manifolds import GRADIENT, TANGENT
from hamilforge.gen.declare.shapes import POINT
from hamilforge.gen.derive.arrays import Array, Piece, symbol
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.optimizers.manifold import ManifoldLines
from hamilforge.gen.derive.optimizers.manifold_flows import (
    Motion,
    fading_coefficients,
    motion,
    settings,
)
from hamilforge.gen.derive.optimizers.matrix_rule import CHANGE_OF_UNIT, MatrixStep, before
from hamilforge.gen.derive.optimizers.velocity import velocity
from hamilforge.gen.derive.symbols import parameter_symbol

#: What V is called after each kick.
KICKED = "kicked"
#: What V is multiplied by in each kick.
KEEP = "keep"


def flow_steps(
    optimizer: kinds.ManifoldOptimizer, spelled: Mapping[str, str]
) -> tuple[MatrixStep, MatrixStep | None]:
    """The step, and the map to the solution; None where the point is the solution.

    Args:
        optimizer: the declaration.
        spelled: what the lines of shorthands are called.

    Raises:
        DeclarationError: the method has no form on a manifold.
    """
    own = motion(optimizer)
    if own.stay.fades and not optimizer.manifold.metric(optimizer.metric).rates:
        raise DeclarationError.at(
            optimizer.head.source,
            "the letter P needs the rates at which a friction of the space around acts, and the "
            f"metric {optimizer.metric} of {optimizer.manifold.head.name} declares none",
            "method",
        )
    moves = _Moves(optimizer, spelled, own.of(settings(optimizer)))
    return moves.step(), moves.solution()


class _Moves:
    def __init__(
        self, optimizer: kinds.ManifoldOptimizer, spelled: Mapping[str, str], own: Motion
    ) -> None:
        self._optimizer, self._spelled, self._motion = optimizer, spelled, own
        shape = optimizer.shape
        self._arrays = (Array(POINT, shape), Array(TANGENT, shape), Array(GRADIENT, shape))
        self._scalars: dict[str, Expr] = {}
        self._left: dict[str, tuple[Expr, int]] = {}

    def _started(self, arrays: tuple[Array, ...]) -> ManifoldLines:
        self._scalars = {}
        return ManifoldLines(arrays, self._optimizer.manifold, self._spelled)

    def _scalar(self, name: str, value: Expr, moves: bool = False) -> Expr:
        """A number, or the symbol of a scalar of the host.

        Args:
            name: of the scalar.
            value: in hyper-parameters.
            moves: whether it belongs to the move, which proofs make of other lengths too: then it
                is a scalar even if it is a number.
        """
        if value.is_Rational and not moves:
            return value
        self._scalars[name] = self._of_the_host(value)
        return symbol(name)

    def _of_the_host(self, value: Expr) -> Expr:
        """A number in the names of hyper-parameters."""
        hyper = {parameter_symbol(e): symbol(e.name) for e in self._optimizer.numbers}
        return value.xreplace(hyper)

    def _piece(self, value: Expr) -> Piece:
        return Piece(value, self._optimizer.shape, False)

    def step(self) -> MatrixStep:
        """Stay and move."""
        own, optimizer = self._motion, self._optimizer
        lines = self._started(self._arrays)
        kicked = self._stayed(lines)
        way = self._scalar("way", own.way, moves=True)
        step = lines.named(self._piece(way * symbol(kicked)), "step_along")
        name, along = "slowed", own.friction / own.way
        if optimizer.transport == kinds.SECANT:
            secant = self._secant(lines, step)
            point = lines.named(self._piece(symbol(POINT) + symbol(secant)), "X_new")
            letters = {POINT: point, TANGENT: secant}
            carried = lines.mapped_by(optimizer.manifold.project, **letters)
        else:
            point = lines.named(self._moved(lines, step), "X_new")
            if optimizer.transport == kinds.VELOCITY:
                carried = velocity(lines, point, {step: step})
            else:
                carried = lines.carried(POINT, step, point, kicked, optimizer.transport)
                name, along = "friction", own.friction
        slowed = self._scalar(name, along, moves=True)
        moved = lines.named(carried, "carried")
        end = lines.named(self._piece(slowed * symbol(moved)), "V_new")
        ends = {POINT: lines.arrays[point], TANGENT: lines.arrays[end]}
        reach, scalars = lines.reach(), dict(self._scalars)
        unit = self._of_the_host(own.unit)
        left = dict(self._left)
        return MatrixStep(self._arrays, tuple(lines.lines), ends, scalars, reach, unit, left)

    def _secant(self, lines: ManifoldLines, step: str) -> str:
        """The way to the new point, of a retraction by what is normal: no difference of points."""
        retraction = self._optimizer.manifold.retraction(self._optimizer.retraction)
        assert retraction.normal is not None
        lines.limited(retraction, POINT, step)
        piece = lines.mapped_by(retraction.normal, **{POINT: POINT, TANGENT: step})
        name = lines.named(piece, "normal")
        return lines.named(self._piece(symbol(step) - symbol(name)), "secant")

    def _stayed(self, lines: ManifoldLines) -> str:
        """V after the stay; proofs make parts of it too, so that all its numbers have names.

        Where the solution is inside the stay, what is in front of it belongs to the step before:
        it is done with that step's numbers, and not at all before the first.
        """
        own = self._motion
        metric = self._optimizer.manifold.metric(self._optimizer.metric)
        slopes = lines.mapped_by(metric.gradient, **{POINT: POINT, GRADIENT: GRADIENT})
        gradient = symbol(lines.named(slopes, "gradient"))
        parts = bool(own.stay.fades)
        array = TANGENT
        for number, (now, last) in enumerate(
            zip(own.leaving.kicks, own.arriving.kicks, strict=True)
        ):
            if number > 0:
                left = self._after(named("fade", number - 1), own.arriving.fades[number - 1], 1)
                fade = self._scalar(f"whole {number}", left * own.leaving.fades[number - 1], True)
                array = self._faded(lines, array, metric, named("fade", number - 1), fade)
            # the first is made of V as the last step left it, in another unit maybe
            kept = self._after(named(KEEP, number), last.keep, 1) * now.keep
            late = self._after(named("pull", number), last.pull, 0) * symbol(CHANGE_OF_UNIT)
            keep = self._scalar(named(KEEP, number), kept, moves=parts or number == 0)
            pull = self._scalar(named("pull", number), late * now.keep + now.pull, moves=parts)
            piece = self._piece(keep * symbol(array) - pull * gradient)
            array = lines.named(piece, named(KICKED, number))
        return array

    def _after(self, name: str, value: Expr, nothing: int) -> Expr:
        """What the step before has left of a number of its own; one that does nothing is none."""
        if value == nothing:
            return value
        self._left[name] = self._of_the_host(value), nothing
        return symbol(before(name))

    def _faded(
        self, lines: ManifoldLines, array: str, metric: kinds.Metric, name: str, fade: Expr
    ) -> str:
        """V after a friction as a force, by the map from V to its gradient."""
        total: Expr = symbol(array) * 0
        for power, coefficient in enumerate(fading_coefficients(metric.rates, fade)):
            if power > 0:
                letters = {POINT: POINT, GRADIENT: array}
                array = lines.named(lines.mapped_by(metric.gradient, **letters), "raised")
            scalar = self._scalar(f"{name}_{power}", coefficient, moves=True)
            total = total + scalar * symbol(array)
        return lines.named(self._piece(total), "faded")

    def solution(self) -> MatrixStep | None:
        """The way from the point to the solution."""
        if self._motion.back == 0:
            return None
        arrays = self._arrays[:-1]
        lines = self._started(arrays)
        back = self._scalar("back", self._motion.back)
        step = lines.named(self._piece(-back * symbol(TANGENT)), "step_back")
        point = lines.named(self._moved(lines, step), "X_new")
        ends = {POINT: lines.arrays[point]}
        return MatrixStep(arrays, tuple(lines.lines), ends, dict(self._scalars))

    def _moved(self, lines: ManifoldLines, step: str) -> Piece:
        """Where a step leads, by the retraction or along the geodesic."""
        optimizer = self._optimizer
        if optimizer.retraction != kinds.GEODESIC:
            return lines.moved(optimizer.manifold.retraction(optimizer.retraction), POINT, step)
        geodesic = optimizer.manifold.metric(optimizer.metric).geodesic
        assert geodesic is not None
        return lines.mapped_by(geodesic, **{POINT: POINT, TANGENT: step})


def named(name: str, number: int) -> str:
    """The name of the first, second, ... of what a stay has several of."""
    return f"{name}{number + 1}" if number else name
