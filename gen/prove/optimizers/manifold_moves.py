"""Steps of a Hamiltonian system on a manifold as a map of solution and momentum.

In: an optimizer, and a point of its manifold.  Out: what its program does to (X, P), for any step
h: in front of it the move from the solution to where the gradient is taken, behind it the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.optimizers.manifold_flows import motion
from hamilforge.gen.derive.optimizers.system import derive_system
from hamilforge.gen.derive.symbols import h as h_symbol
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.optimizers.build_matrix import MatrixDerivation
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.prove.optimizers.manifold_points import STEP, Matrix, Place

Derivative = Callable[[Matrix], Matrix]
State = tuple[Matrix, Matrix]
#: Pairs of vectors of which the symplectic form is compared.
PAIRS = 3
#: Values of the parameters of a system.
_NUMBERS = (sp.Rational(3, 4), sp.Rational(5, 4), sp.Rational(7, 4))


class Moves:
    """The program of an optimizer on a manifold, for any step.

    Args:
        place: a point, with the maps of the manifold.
        optimizer: the declaration.
        derivation: its program.
    """

    def __init__(
        self, place: Place, optimizer: kinds.ManifoldOptimizer, derivation: MatrixDerivation
    ) -> None:
        self.place, self._optimizer = place, optimizer
        (self._function,) = derivation.program.functions
        system = derive_system(optimizer.system)
        symbols = sorted(system.symbols.values(), key=str)
        self._numbers = dict(zip(symbols, _NUMBERS, strict=False))
        self._gamma = system.gamma.xreplace(self._numbers)
        self._motion = motion(optimizer).of(self._numbers)

    def _at(self, value: Expr, h: Any) -> Any:
        """A scalar at a step."""
        whole = sp.lambdify(h_symbol, value, "mpmath")
        return mpmath.mpf(whole(h))

    def factor(self, h: Any) -> Any:
        """By which friction multiplies the symplectic form."""
        return self._at(self._motion.factor, h)

    def _run(self, point: Matrix, vector: Matrix, slopes: Matrix, scalars: dict[str, Any]) -> State:
        """The emitted step with scalars of our own."""
        scalars = {**scalars, "slowed": scalars["friction"] / scalars["way"]}
        values: dict[str, Any] = {name: scalars[name] for name in self._function.scalars}
        values |= dict(zip(self._function.arrays, (point, vector, slopes), strict=True))
        made = results(self._function, values, PRECISE_OR_NAN)
        first, second = self._function.arrays[:2]
        return made[first], made[second]

    def _move(self, state: State, way: Any, friction: Any) -> State:
        """A move without a kick."""
        point, vector = state
        if not way:
            return point, friction * vector
        none = mpmath.mpf(0)
        scalars = {"keep": mpmath.mpf(1), "pull": none, "way": way, "friction": friction}
        return self._run(point, vector, 0 * point, scalars)

    def step(self, h: Any, state: State, derivative: Derivative) -> State:
        """A step of the solution X and its momentum P.

        Args:
            h: the step.
            state: (X, P).
            derivative: of the objective.

        Returns:
            (X, P) after it.
        """
        own = {
            name: self._at(getattr(self._motion, name), h)
            for name in ("keep", "pull", "way", "friction", "forth", "slowed", "unit")
        }
        point, momentum = state
        forth, slowed = own["forth"], own["slowed"]
        point, vector = self._move((point, own["unit"] * momentum), forth, slowed)
        point, vector = self._run(point, vector, derivative(point), own)
        point, vector = self._move((point, vector), -forth / slowed, 1 / slowed)
        return point, vector / own["unit"]

    def follows(self, slopes: Sequence[Matrix], state: State, derivative: Derivative) -> bool:
        """Whether derivatives by h are those of the system, in the tangent space.

        Args:
            slopes: of X and P, by h at 0.
            state: (X, P) there.
            derivative: of the objective.

        Returns:
            Whether X' = c P and the projection of P' is -grad J - gamma P.
        """
        point, momentum = state
        speed = self._at(self._motion.unit / h_symbol, mpmath.mpf(1))
        gradient = self.place.value(f"gradient_{self._optimizer.metric}", point, derivative(point))
        force = -gradient - mpmath.mpf(sp.N(self._gamma, 50)) * momentum
        moved = self.place.value("project", point, slopes[0]) - speed * momentum
        pulled = self.place.value("project", point, slopes[1]) - force
        return bool(max(map(matrices.size_of, (moved, pulled))) < mpmath.mpf("1e-20"))

    def ratios(self, h: Any, derivative: Derivative) -> list[Any]:
        """By how much a step multiplies the symplectic form dX dP, for some pairs of vectors.

        Args:
            h: the step.
            derivative: of the objective.

        Returns:
            The ratio for each pair.
        """
        place = self.place
        retraction = f"retract_{place.manifold.retractions[0][0]}"
        start = (place.point, place.tangent())

        def varied(direction: State, t: Any) -> State:
            point = place.value(retraction, start[0], t * direction[0])
            return point, place.value("project", point, start[1] + t * direction[1])

        def images(direction: State) -> tuple[State, State]:
            ends = [varied(direction, sign * STEP) for sign in (1, -1)]
            after = [self.step(h, end, derivative) for end in ends]
            return difference(ends), difference(after)

        found = []
        for _ in range(PAIRS):
            pair = [images((place.tangent(), place.tangent())) for _ in range(2)]
            before, after = (_form(*(own[k] for own in pair)) for k in range(2))
            found.append(after / before)
        return found


def difference(ends: Sequence[State]) -> State:
    """The derivative, from what is :data:`STEP` further and what is as much before."""
    first, second = (
        (forth - back) / (2 * STEP) for forth, back in zip(ends[0], ends[1], strict=True)
    )
    return first, second


def _form(left: State, right: State) -> Any:
    return (left[0] * right[1] - right[0] * left[1]).sum()
