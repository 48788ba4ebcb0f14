"""A step of a Hamiltonian system on a manifold as lines: the kick, the move, the way back.

In: a declared optimizer.  Out: the lines of a step, and of the map to the solution.
"""

from __future__ import annotations

from collections.abc import Mapping

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.read_manifolds import GRADIENT, TANGENT
from hamilforge.gen.declare.shapes import POINT
from hamilforge.gen.derive.arrays import Array, Piece, symbol
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.optimizers.manifold import ManifoldLines
from hamilforge.gen.derive.optimizers.manifold_flows import Motion, motion, settings
from hamilforge.gen.derive.optimizers.matrix_rule import MatrixStep
from hamilforge.gen.derive.optimizers.velocity import velocity
from hamilforge.gen.derive.symbols import parameter_symbol


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
    moves = _Moves(optimizer, spelled, motion(optimizer).of(settings(optimizer)))
    return moves.step(), moves.solution()


class _Moves:
    def __init__(
        self, optimizer: kinds.ManifoldOptimizer, spelled: Mapping[str, str], own: Motion
    ) -> None:
        self._optimizer, self._spelled, self._motion = optimizer, spelled, own
        shape = optimizer.shape
        self._arrays = (Array(POINT, shape), Array(TANGENT, shape), Array(GRADIENT, shape))
        self._scalars: dict[str, Expr] = {}

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
        hyper = {parameter_symbol(e): symbol(e.name) for e in self._optimizer.numbers}
        self._scalars[name] = value.xreplace(hyper)
        return symbol(name)

    def _piece(self, value: Expr) -> Piece:
        return Piece(value, self._optimizer.shape, False)

    def step(self) -> MatrixStep:
        """Kick and move."""
        own, optimizer = self._motion, self._optimizer
        lines = self._started(self._arrays)
        metric = next(m for m in optimizer.manifold.metrics if m.name == optimizer.metric)
        slopes = lines.mapped_by(metric.gradient, **{POINT: POINT, GRADIENT: GRADIENT})
        gradient = symbol(lines.named(slopes, "gradient"))
        keep, pull = self._scalar("keep", own.keep), self._scalar("pull", own.pull)
        kicked = lines.named(self._piece(keep * symbol(TANGENT) - pull * gradient), "kicked")
        way = self._scalar("way", own.way, moves=True)
        step = lines.named(self._piece(way * symbol(kicked)), "step_along")
        point = lines.named(self._moved(lines, step), "X_new")
        if optimizer.retraction == kinds.GEODESIC:
            carried = velocity(lines, point, {step: step})
            slowed = self._scalar("slowed", own.friction / own.way, moves=True)
        else:
            carried = lines.carried(POINT, step, point, kicked)
            slowed = self._scalar("friction", own.friction, moves=True)
        moved = lines.named(carried, "carried")
        end = lines.named(self._piece(slowed * symbol(moved)), "V_new")
        ends = {POINT: lines.arrays[point], TANGENT: lines.arrays[end]}
        return MatrixStep(self._arrays, tuple(lines.lines), ends, dict(self._scalars))

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
        return lines.mapped_by(_map(self._optimizer), **{POINT: POINT, TANGENT: step})


def _map(optimizer: kinds.ManifoldOptimizer) -> Expression:
    """The map by which points move."""
    manifold = optimizer.manifold
    if optimizer.retraction != kinds.GEODESIC:
        return dict(manifold.retractions)[optimizer.retraction]
    geodesic = next(m for m in manifold.metrics if m.name == optimizer.metric).geodesic
    assert geodesic is not None
    return geodesic
