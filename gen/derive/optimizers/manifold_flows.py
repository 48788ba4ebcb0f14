"""A splitting of a Hamiltonian system on a manifold as numbers of a step.

In: a system with K = c p^2/2, a splitting, a manifold.  Out: the step from the point at which a
gradient is taken to the next one, in V = h c p, and the way from there to the solution:

    B   V <- V - w h^2 c grad J(X)           grad in the metric
    D   V <- exp(-gamma w h) V
    BD  V <- exp(-gamma w h) V - h c impulse(w h) grad J(X)
    P   V <- exp(-gamma w h G) V             the force -gamma V of the space around: G V = grad of V
    A   X <- R_X(w V), V carried along
    C   B/2 A B/2, where R is X + V and what is normal at X, and V the projected way

A step is what stands beside drifts, at one point with one gradient: a *stay*; and one *move*.  All
drifts and frictions D of a move are one: along a geodesic whose velocity carries V they are one
exactly, for friction changes the length of V alone; along a retraction they are one by this
definition.  A move of the way s ends with V shortened by the friction d.

The solution is where a step of the method begins.  Where that is inside a move, the point is ahead
of it by a part of the move; where it is inside a stay, point and solution are one, and the momentum
of the solution has a part of the stay behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.calculus import Expr, coordinates, tidy, to_sympy
from hamilforge.gen.derive.optimizers.system import derive_system
from hamilforge.gen.derive.scheme import WeightedFlow, constant_values, flatten
from hamilforge.gen.derive.symbols import h, p, parameter_symbol, t


@dataclass(frozen=True, slots=True)
class Kick:
    """V <- keep V - pull grad J."""

    keep: Expr
    pull: Expr


#: That changes nothing.
NO_KICK = Kick(sp.Integer(1), sp.Integer(0))


@dataclass(frozen=True, slots=True)
class Stay:
    """What happens to V at one point: kicks, and between each two a friction as a force.

    Attributes:
        kicks: in order; some may change nothing.
        fades: between them, exp(-gamma w h) of each friction P.
    """

    kicks: tuple[Kick, ...]
    fades: tuple[Expr, ...]

    def of(self, values: Mapping[sp.Symbol, Expr]) -> Stay:
        """The same in other numbers."""
        kicks = (
            Kick(tidy(k.keep.xreplace(values)), tidy(k.pull.xreplace(values))) for k in self.kicks
        )
        return Stay(tuple(kicks), tuple(tidy(fade.xreplace(values)) for fade in self.fades))


@dataclass(frozen=True, slots=True)
class Motion:
    """The numbers of a step.

    Attributes:
        stay: of a step, from where its gradient is taken.
        leaving, arriving: of what a step of the method begins and ends with, as stays of the same
            length, which together are the whole: where the solution is inside a move, the whole,
            and one that changes nothing.
        way, friction: of the move: X <- R_X(way V), V <- friction V.
        forth, slowed: of the move from the solution to the point of the gradient; 0 and 1 where
            they are one.
        unit: V by momentum, V = unit p.
        factor: by which the frictions D and BD shrink the symplectic form in a step.
        fading: exp(-gamma w h) of all frictions P in a step.
        rates: gamma by the share of a step in which D, and P, act.
    """

    stay: Stay
    leaving: Stay
    arriving: Stay
    way: Expr
    friction: Expr
    forth: Expr
    slowed: Expr
    unit: Expr
    factor: Expr
    fading: Expr
    rates: tuple[Expr, Expr]

    @property
    def back(self) -> Expr:
        """Of the way from the point to the solution, R_X(-back V)."""
        return tidy(self.forth / self.slowed)

    def of(self, values: Mapping[sp.Symbol, Expr]) -> Motion:
        """The same in other numbers."""
        changed: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            part = getattr(self, name)
            if isinstance(part, Stay):
                changed[name] = part.of(values)
            elif not isinstance(part, tuple):
                changed[name] = tidy(part.xreplace(values))
        return replace(self, **changed)


def motion(optimizer: kinds.ManifoldOptimizer) -> Motion:
    """The numbers of a step, in h and the parameters of the system.

    Raises:
        DeclarationError: the method has several gradients a step, noise, or kicks or frictions P
            with drifts on both sides; the friction changes with the time; or K is no multiple of
            p^2.
    """
    system = derive_system(optimizer.system)
    flat, constants, _ = flatten(optimizer.method, taken=frozenset(system.symbols))
    numbers = constant_values(constants)
    flows = [
        flow for own in flat for flow in _written_out(own.letter, own.weight.xreplace(numbers))
    ]
    slope = tidy(system.gradient / p)
    if slope.has(p) or coordinates(slope):
        raise _refuse(optimizer, "system", "a drift goes along one vector: K = p^2/(2 m) is wanted")
    if system.gamma.has(t):
        raise _refuse(optimizer, "system", "friction that changes with the time is not known")
    first, stay, last, is_inside = _split(optimizer, flows)

    def decay(flow: WeightedFlow) -> Expr:
        return system.decay(t, t + flow.weight * h)

    def stayed(ops: Sequence[WeightedFlow], acting: Sequence[bool]) -> Stay:
        kicks, fades = [NO_KICK], list[Expr]()
        follows = False  # whether a friction P came last
        for flow, acts in zip(ops, acting, strict=True):
            if flow.letter == "P":
                fade = decay(flow) if acts else sp.Integer(1)
                if follows:
                    fades[-1] = fades[-1] * fade
                else:
                    kicks.append(NO_KICK)
                    fades.append(fade)
            elif acts:
                keep, pull = kicks[-1].keep, kicks[-1].pull
                if "D" in flow.letter:
                    keep, pull = keep * decay(flow), pull * decay(flow)
                if flow.letter == "B":
                    pull = pull + flow.weight * h**2 * slope
                elif flow.letter == "BD":
                    pull = pull + h * slope * system.impulse(t, t + flow.weight * h)
                kicks[-1] = Kick(keep, pull)
            follows = flow.letter == "P"
        return Stay(tuple(kicks), tuple(fades))

    def moved(moves: Sequence[WeightedFlow]) -> tuple[Expr, Expr]:
        way: Expr = sp.Integer(0)
        friction: Expr = sp.Integer(1)
        for flow in moves:
            if flow.letter == "A":
                way = way + flow.weight * friction
            else:
                friction = friction * decay(flow)
        return way, friction

    if is_inside:  # first and last are moves
        ops, whole = stay, [True] * len(stay)
        leaving, arriving = whole, [False] * len(stay)
        way, friction = moved([*last, *first])
        forth, slowed = moved(first)
    else:  # the move is what stands inside
        ops = [*last, *first]
        whole = [True] * len(ops)
        leaving = [False] * len(last) + [True] * len(first)
        arriving = [not own for own in leaving]
        way, friction = moved(stay)
        forth, slowed = moved([])
    damped = [flow for flow in flows if "D" in flow.letter]
    fading = [flow for flow in flows if flow.letter == "P"]
    return Motion(
        stayed(ops, whole),
        stayed(ops, leaving),
        stayed(ops, arriving),
        way,
        friction,
        forth,
        slowed,
        h * slope,
        sp.Mul(*map(decay, damped)),
        sp.Mul(*map(decay, fading)),
        (sp.Add(*(flow.weight for flow in damped)), sp.Add(*(flow.weight for flow in fading))),
    ).of({})


def settings(optimizer: kinds.ManifoldOptimizer) -> dict[sp.Symbol, Expr]:
    """What h and the parameters of the system are, in hyper-parameters."""
    inner = {**derive_system(optimizer.system).symbols, "h": h}
    hyper = {entry.name: parameter_symbol(entry) for entry in optimizer.hyperparameters}
    values: dict[sp.Symbol, Expr] = {}
    for name, expression in optimizer.settings:
        values[inner[name]] = to_sympy(expression, {**inner, **hyper}).xreplace(values)
    return values


def fading_coefficients(rates: Sequence[int], fade: Expr) -> tuple[Expr, ...]:
    """A friction as a force by powers of the map G from V to the gradient of V.

    Its flow is exp(-s G), which by Lagrange's interpolation at the eigenvalues of G is a polynomial
    in G.

    Args:
        rates: the eigenvalues, whole numbers.
        fade: exp(-s).

    Returns:
        The coefficients of 1, G, G^2, ...: one fewer powers than eigenvalues.
    """
    power, small = sp.Dummy("G"), sp.Dummy("fade", positive=True)
    total: Expr = sp.Integer(0)
    for rate in rates:
        others = [other for other in rates if other != rate]
        basis = sp.Mul(*((power - other) / sp.Integer(rate - other) for other in others))
        total = total + small**rate * basis
    expanded = sp.expand(total)
    # factored: in exp(-s), which is at most 1, without a difference of powers near 1
    values = (sp.factor(expanded.coeff(power, k)) for k in range(len(rates)))
    return tuple(value.xreplace({small: fade}) for value in values)


def _refuse(optimizer: kinds.ManifoldOptimizer, key: str, message: str) -> DeclarationError:
    return DeclarationError.at(optimizer.head.source, f"on a manifold {message}", key)


def _written_out(letter: str, weight: Expr) -> Iterator[WeightedFlow]:
    """A flow, or those that a constrained step is made of."""
    if letter != "C":
        yield WeightedFlow(letter, weight)
        return
    yield WeightedFlow("B", weight / 2)
    yield WeightedFlow("A", weight)
    yield WeightedFlow("B", weight / 2)


def _split(
    optimizer: kinds.ManifoldOptimizer, flows: Sequence[WeightedFlow]
) -> tuple[Sequence[WeightedFlow], Sequence[WeightedFlow], Sequence[WeightedFlow], bool]:
    """What a step begins with, what is inside, what it ends with; and whether that is the stay."""
    letters = [flow.letter for flow in flows]
    if "O" in letters:
        raise _refuse(optimizer, "method", "there is no noise: O draws some")
    kicks = [k for k, letter in enumerate(letters) if "B" in letter or letter == "P"]
    drifts = [k for k, letter in enumerate(letters) if letter == "A"]
    if not drifts or not any("B" in letter for letter in letters):
        raise _refuse(optimizer, "method", "a method has a drift A and a kick, B or BD")
    for inside, outside, is_stay in ((kicks, drifts, True), (drifts, kicks, False)):
        first, last = inside[0], inside[-1] + 1
        if not any(first < k < last for k in outside):
            return flows[:first], flows[first:last], flows[last:], is_stay
    raise _refuse(
        optimizer,
        "method",
        "a step takes one gradient, so that kicks and frictions P are not separated by drifts but "
        "at one place, as in conformal_leapfrog (D A B A D) or conformal_verlet (D B A B D); this "
        f"one is {' '.join(letters)[:60]}",
    )
