"""A splitting of a Hamiltonian system on a manifold as lines of a step.

In: a system with K = c p^2/2, a splitting, a manifold.  Out: the step from the point at which a
gradient is taken to the next one, in V = h c p, and the way from there to the solution:

    B   V <- V - w h^2 c grad J(X)           grad in the metric
    D   V <- exp(-gamma w h) V
    BD  V <- exp(-gamma w h) V - h c impulse(w h) grad J(X)
    A   X <- R_X(w V), V carried along

All drifts and frictions between two gradients are one move: along a geodesic whose velocity carries
V they are one exactly, for friction changes the length of V alone; along a retraction they are one
by this definition.  A move of the way s ends with V shortened by the friction d.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Expr, coordinates, tidy, to_sympy
from hamilforge.gen.derive.optimizers.system import derive_system
from hamilforge.gen.derive.scheme import WeightedFlow, constant_values, derive_scheme
from hamilforge.gen.derive.symbols import h, p, parameter_symbol, t


@dataclass(frozen=True, slots=True)
class Motion:
    """The scalars of a step.

    Attributes:
        keep, pull: of the kick: V <- keep V - pull grad J.
        way, friction: of the move: X <- R_X(way V), V <- friction V.
        forth, slowed: of the move from the solution to the point of the gradient; 0 and 1 where
            they are one.
        unit: V by momentum, V = unit p.
        factor: by which friction shrinks the symplectic form in a step.
    """

    keep: Expr
    pull: Expr
    way: Expr
    friction: Expr
    forth: Expr
    slowed: Expr
    unit: Expr
    factor: Expr

    @property
    def back(self) -> Expr:
        """Of the way from the point to the solution, R_X(-back V)."""
        return tidy(self.forth / self.slowed)

    def of(self, values: Mapping[sp.Symbol, Expr]) -> Motion:
        """The same in other numbers."""
        parts = (getattr(self, name) for name in self.__dataclass_fields__)
        return Motion(*(tidy(part.xreplace(values)) for part in parts))


def motion(optimizer: kinds.ManifoldOptimizer) -> Motion:
    """The scalars of a step, in h and the parameters of the system.

    Raises:
        DeclarationError: the method has several gradients a step, noise, or kicks with friction;
            the friction changes with the time; or K is no multiple of p^2.
    """
    system = derive_system(optimizer.system)
    scheme = derive_scheme(optimizer.method, system.symbols)
    numbers = constant_values(scheme.constants)
    flows = [WeightedFlow(f.letter, f.weight.xreplace(numbers)) for f in scheme.flows]
    slope = tidy(system.gradient / p)
    if slope.has(p) or coordinates(slope):
        raise _refuse(optimizer, "system", "a drift goes along one vector: K = p^2/(2 m) is wanted")
    if system.gamma.has(t):
        raise _refuse(optimizer, "system", "friction that changes with the time is not known")
    before, kicks, after = _split(optimizer, flows)

    def decay(flow: WeightedFlow) -> Expr:
        return system.decay(t, t + flow.weight * h)

    def moved(moves: Sequence[WeightedFlow]) -> tuple[Expr, Expr]:
        way: Expr = sp.Integer(0)
        friction: Expr = sp.Integer(1)
        for flow in moves:
            if flow.letter == "A":
                way = way + flow.weight * friction
            else:
                friction = friction * decay(flow)
        return way, friction

    keep: Expr = sp.Integer(1)
    pull: Expr = sp.Integer(0)
    for flow in kicks:
        if "D" in flow.letter:
            keep, pull = keep * decay(flow), pull * decay(flow)
        if flow.letter == "B":
            pull = pull + flow.weight * h**2 * slope
        elif flow.letter == "BD":
            pull = pull + h * slope * system.impulse(t, t + flow.weight * h)
    way, friction = moved([*after, *before])
    forth, slowed = moved(before)
    factor = sp.Mul(*(decay(flow) for flow in flows if "D" in flow.letter))
    whole = Motion(keep, pull, way, friction, forth, slowed, h * slope, factor)
    return whole.of({})


def settings(optimizer: kinds.ManifoldOptimizer) -> dict[sp.Symbol, Expr]:
    """What h and the parameters of the system are, in hyper-parameters."""
    inner = {**derive_system(optimizer.system).symbols, "h": h}
    hyper = {entry.name: parameter_symbol(entry) for entry in optimizer.hyperparameters}
    values: dict[sp.Symbol, Expr] = {}
    for name, expression in optimizer.settings:
        values[inner[name]] = to_sympy(expression, {**inner, **hyper}).xreplace(values)
    return values


def _refuse(optimizer: kinds.ManifoldOptimizer, key: str, message: str) -> DeclarationError:
    return DeclarationError.at(optimizer.head.source, f"on a manifold {message}", key)


def _split(
    optimizer: kinds.ManifoldOptimizer, flows: Sequence[WeightedFlow]
) -> tuple[list[WeightedFlow], list[WeightedFlow], list[WeightedFlow]]:
    """What comes before the first kick; from there to the last kick; what comes after."""
    letters = [flow.letter for flow in flows]
    if "O" in letters:
        raise _refuse(optimizer, "method", "there is no noise: O draws some")
    kicks = [place for place, letter in enumerate(letters) if "B" in letter]
    if not kicks or "A" not in letters:
        raise _refuse(optimizer, "method", "a method has a drift A and a kick, B or BD")
    first, last = kicks[0], kicks[-1] + 1
    if "A" in letters[first:last]:
        raise _refuse(
            optimizer,
            "method",
            "a step takes one gradient, so that no drift stands between two kicks, as in "
            f"conformal_leapfrog (D A B A D); this one is {' '.join(letters)[:60]}",
        )
    return [*flows[:first]], [*flows[first:last]], [*flows[last:]]
