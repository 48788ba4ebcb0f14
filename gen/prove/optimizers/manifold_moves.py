"""Steps of a Hamiltonian system on a manifold as a map of solution and momentum.

In: an optimizer, and a point of its manifold.  Out: what its program does to (X, p), where p is a
tangent vector in the metric, for any step h: in front of it the move from the solution to where the
gradient is taken, behind it the way back and what of the stay belongs to the step before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import Expr
from hamilforge.gen.derive.optimizers.manifold_flows import Stay, fading_coefficients, motion
from hamilforge.gen.derive.optimizers.manifold_steps import KICKED, named
from hamilforge.gen.derive.optimizers.system import derive_system
from hamilforge.gen.derive.symbols import h as h_symbol
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.interpret import run
from hamilforge.gen.program.optimizers.build_matrix import MatrixDerivation
from hamilforge.gen.program.precise import PRECISE_OR_NAN
from hamilforge.gen.prove.optimizers.manifold_points import STEP, ZERO, Matrix, Place

Derivative = Callable[[Matrix], Matrix]
State = tuple[Matrix, Matrix]
#: Pairs of vectors of which the symplectic form is compared.
PAIRS = 3
#: Values of the parameters of a system.
_NUMBERS = (sp.Rational(3, 4), sp.Rational(5, 4), sp.Rational(7, 4))
_ONE, _NONE = mpmath.mpf(1), mpmath.mpf(0)


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
        self._metric = place.manifold.metric(optimizer.metric)
        (self._function,) = derivation.program.functions
        system = derive_system(optimizer.system)
        symbols = sorted(system.symbols.values(), key=str)
        self._numbers = dict(zip(symbols, _NUMBERS, strict=False))
        self._gamma = system.gamma.xreplace(self._numbers)
        self._motion = motion(optimizer).of(self._numbers)
        left, right = place.tangent(), place.tangent()
        inner = place.inner(optimizer.metric, left, right)
        #: Whether the metric is that of the matrices around the manifold.
        self.is_embedded = bool(abs(inner - (left * right).sum()) <= ZERO * 100)

    def _at(self, value: Expr, h: Any) -> Any:
        """A scalar at a step."""
        whole = sp.lambdify(h_symbol, value, "mpmath")
        return mpmath.mpf(whole(h))

    def factor(self, h: Any) -> Any:
        """By which the frictions D multiply the symplectic form."""
        return self._at(self._motion.factor, h)

    def fading(self, h: Any) -> Any:
        """exp(-gamma w h) of all frictions P of a step; 1 if there is none."""
        return self._at(self._motion.fading, h)

    # --- a step

    def _scalars(self, stay: Stay | None, h: Any) -> dict[str, Any]:
        """The scalars of a stay; of one that changes nothing if there is none."""
        values: dict[str, Any] = {}
        whole = self._motion.stay
        for number in range(len(whole.kicks)):
            kick = stay.kicks[number] if stay else None
            values[named("keep", number)] = self._at(kick.keep, h) if kick else _ONE
            values[named("pull", number)] = self._at(kick.pull, h) if kick else _NONE
        for number in range(len(whole.fades)):
            fade = self._at(stay.fades[number], h) if stay else _ONE
            coefficients = fading_coefficients(self._metric.rates, sp.Symbol("fade"))
            for power, coefficient in enumerate(coefficients):
                value = sp.lambdify(sp.Symbol("fade"), coefficient, "mpmath")(fade)
                values[f"{named('fade', number)}_{power}"] = mpmath.mpf(value)
        return values

    def _run(self, state: State, slopes: Matrix, scalars: dict[str, Any]) -> dict[str, Any]:
        """All lines of the emitted step, with scalars of our own."""
        values: dict[str, Any] = {name: scalars[name] for name in self._function.scalars}
        values |= dict(zip(self._function.arrays, (*state, slopes), strict=True))
        return dict(run(self._function, values, PRECISE_OR_NAN))

    def _moved(
        self, state: State, slopes: Matrix, stay: Stay | None, h: Any, way: Any, friction: Any
    ) -> State:
        """The emitted step: a stay and a move."""
        scalars = {**self._scalars(stay, h), "way": way, "friction": friction}
        lines = self._run(state, slopes, {**scalars, "slowed": friction / way})
        made = {key: lines[array.name] for key, array in self._function.results}
        first, second = self._function.arrays[:2]
        return made[first], made[second]

    def _stayed(self, state: State, slopes: Matrix, stay: Stay, h: Any) -> State:
        """The emitted lines up to where V is kicked for the last time."""
        scalars = {**self._scalars(stay, h), "way": _ONE, "friction": _ONE, "slowed": _ONE}
        lines = self._run(state, slopes, scalars)
        return state[0], lines[named(KICKED, len(stay.kicks) - 1)]

    def step(self, h: Any, state: State, derivative: Derivative) -> State:
        """A step of the solution X and its momentum p.

        Args:
            h: the step.
            state: (X, p).
            derivative: of the objective.

        Returns:
            (X, p) after it.
        """
        own = {
            name: self._at(getattr(self._motion, name), h)
            for name in ("way", "friction", "forth", "slowed", "unit")
        }
        point, momentum = state
        forth, slowed = own["forth"], own["slowed"]
        state = point, own["unit"] * momentum
        none = 0 * point
        if forth:
            state = self._moved(state, none, None, h, forth, slowed)
        slopes = derivative(state[0])
        state = self._moved(state, slopes, self._motion.leaving, h, own["way"], own["friction"])
        if forth:
            state = self._moved(state, none, None, h, -forth / slowed, 1 / slowed)
        else:
            state = self._stayed(state, derivative(state[0]), self._motion.arriving, h)
        return state[0], state[1] / own["unit"]

    # --- what it is compared with

    def follows(self, slopes: Sequence[Matrix], state: State, derivative: Derivative) -> bool:
        """Whether derivatives by h are those of the system.

        Args:
            slopes: of X and p, by h at 0.
            state: (X, p) there.
            derivative: of the objective.

        Returns:
            Whether X' = c p, and p' beside that along a geodesic is -(grad J + gamma F p): F p is p
            where the friction is D, and the gradient of p where it is P.
        """
        point, momentum = state
        place, metric = self.place, self._metric.name
        speed = self._at(self._motion.unit / h_symbol, _ONE)
        rates = [mpmath.mpf(sp.N(share * self._gamma, 50)) for share in self._motion.rates]
        friction = rates[0] * momentum
        if self._motion.stay.fades:
            friction = friction + rates[1] * place.value(f"gradient_{metric}", point, momentum)
        force = place.value(f"gradient_{metric}", point, derivative(point)) + friction
        moved = place.value("project", point, slopes[0]) - speed * momentum
        pulled = slopes[1] - speed * self._acceleration(state)
        pulled = place.value("project", point, pulled) + force
        return bool(max(map(matrices.size_of, (moved, pulled))) < mpmath.mpf("1e-20"))

    def _acceleration(self, state: State) -> Matrix:
        """The second derivative of a geodesic; 0, for its tangent part, in an embedded metric."""
        point, momentum = state
        if self.is_embedded:
            return 0 * point
        name = f"geodesic_{self._metric.name}"
        ends = [self.place.value(name, point, t * momentum) for t in (STEP, -STEP)]
        return (ends[0] + ends[1] - 2 * point) / STEP**2

    def covector(self, state: State) -> Matrix:
        """The covector of a momentum: the tangent matrix P with sum(P*V) = <p, V>."""
        point, momentum = state
        if self.is_embedded:
            return momentum
        place = self.place
        basis = [
            place.value("project", point, drawn)
            for drawn in self._drawn_basis(place.dimension()[0])
        ]
        raised = [place.value(f"gradient_{self._metric.name}", point, part) for part in basis]
        gram = mpmath.matrix([[(row * part).sum() for part in raised] for row in basis])
        right = mpmath.matrix([(row * momentum).sum() for row in basis])
        coefficients = mpmath.lu_solve(gram, right)
        return sum(c * part for c, part in zip(coefficients, basis, strict=True))

    def _drawn_basis(self, count: int) -> list[Matrix]:
        """As many matrices of numbers, the same ones each time."""
        if not hasattr(self, "_basis"):
            self._basis = [self.place.drawn() for _ in range(count)]
        return self._basis

    def ratios(self, h: Any, derivative: Derivative) -> list[Any]:
        """By how much a step multiplies the symplectic form dX dP, for some pairs of vectors.

        Args:
            h: the step.
            derivative: of the objective.

        Returns:
            The ratio for each pair.
        """
        place = self.place
        retraction = f"retract_{place.manifold.retractions[0].name}"
        start = (place.point, place.tangent())

        def varied(direction: State, t: Any) -> State:
            point = place.value(retraction, start[0], t * direction[0])
            return point, place.value("project", point, start[1] + t * direction[1])

        def covectors(states: Sequence[State]) -> State:
            return difference([(state[0], self.covector(state)) for state in states])

        def images(direction: State) -> tuple[State, State]:
            ends = [varied(direction, sign * STEP) for sign in (1, -1)]
            after = [self.step(h, end, derivative) for end in ends]
            return covectors(ends), covectors(after)

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
