"""What a rule's rate and its decoupled decay come to after many steps.

In: the program of a rule.  Out: the displacement of a step under a constant gradient, and the
eigenvalues of a step that only decays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Set

import numpy as np
import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, Letter, tidy
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.optimizers.card_names import PLAIN, Names
from hamilforge.gen.prove.optimizers.choices import decided, pieces
from hamilforge.gen.prove.optimizers.runs import FEW, MANY, always, is_near, quick, run
from hamilforge.gen.prove.optimizers.step_map import FrozenSteps, linear_part, short, upright, z
from hamilforge.gen.prove.optimizers.symbolic_steps import at_numbers, weight_decay
from hamilforge.gen.prove.optimizers.vanishing import how_zero

#: The constant gradient.
gradient = Letter("g")
#: Gradients of runs beside a formula.
SLOPES = 0.7, 7.0
#: How far from a place it is seen whether steps come nearer.
NEAR = sp.Rational(1, 1000)
#: Of the text of an eigenvalue.
LONGEST = 60


def effective_rate(
    program: Program, names: Names = PLAIN
) -> tuple[str, str, Mapping[sp.Symbol, Expr]]:
    """What the displacement comes to under a constant gradient, and in units of what.

    Args:
        program: of a rule.
        names: on its card.

    Returns:
        Both, and the defaults of hyper-parameters for which it holds at these alone.

    Raises:
        NotDerivableError: it has no limit that is known.
    """
    steps = FrozenSteps(program, letters=False)
    moved = steps.moved(lambda _: gradient)
    needed = _needed(steps, moved)
    unsettled = False
    if not _is_linear(program, needed):
        settled = _settled(steps, moved, needed)
        unsettled = any(steps.start[name] not in settled for name in needed - {"x"})
        later = {name: sp.sympify(value).subs(settled) for name, value in moved.items()}
        moved = {
            name: _plain(decided(value, steps.unit), steps.unit) for name, value in later.items()
        }
    try:
        own, matrix, added = linear_part(steps, moved)
    except NotDerivableError as error:
        why = "its arrays are not seen to settle under a constant gradient"
        raise NotDerivableError(why if unsettled else str(error)) from error
    size = len(own)
    start, drift = (sp.Matrix(sp.symbols(f"{c}0:{size}")) for c in "uw")
    equations = [*(matrix * drift - drift), *(matrix * start + added - start - drift)]
    solutions = sp.solve(equations, [*start, *drift], dict=True)
    if len(solutions) != 1:
        raise NotDerivableError("steps under a constant gradient have no limit")
    rate = sp.simplify(decided(solutions[0].get(drift[0], drift[0]), steps.unit))
    if rate.free_symbols & {*start, *drift} or _grows(matrix.subs(steps.known)):
        raise NotDerivableError("steps under a constant gradient have no limit")
    _compare_with_runs(program, -rate, steps)
    g = names.text(gradient)
    units: dict[str, Expr] = {g: gradient, f"sign({g})": sp.Integer(1)}
    if "eps" in steps.hyper:
        units[f"{g}/(|{g}| + eps)"] = gradient / (gradient + steps.hyper["eps"])
    for unit, size_of in units.items():
        ratio = sp.simplify(-rate / size_of)
        if not ratio.has(gradient):
            return names.text(upright(tidy(ratio), steps.known)), unit, steps.fixed
    return names.text(upright(tidy(sp.simplify(-rate)), steps.known)), "1", steps.fixed


def _compare_with_runs(program: Program, rate: Expr, steps: FrozenSteps) -> None:
    """Compare a displacement with those of runs that forget quickly.

    Raises:
        NotDerivableError: arrays stand in it; or displacements do not come to it, which go on
            changing where arrays grow as scalars fade, or choices depend on the gradient.
    """
    if rate.free_symbols & {*steps.start.values()}:
        raise NotDerivableError("where its arrays settle is not known")
    hyper = quick(program, {symbol.name for symbol in steps.fixed})
    numbers = at_numbers(steps.hyper, hyper)
    slopes = np.array(SLOPES)
    runs = run(program, always(hyper), lambda _: slopes, np.zeros(len(SLOPES)), MANY)
    points = [arrays["x"] for arrays in runs]
    displacements = ([*points[count - 1] - points[count]] for count in (FEW, MANY))
    for slope, few, many in zip(SLOPES, *displacements, strict=True):
        expected = float(rate.subs({**numbers, gradient: slope}))
        size = abs(expected) or abs(few) or 1.0
        if not is_near(abs(few - expected) / size, abs(many - expected) / size):
            raise NotDerivableError("displacements of a run do not come to what is derived")


def _is_linear(program: Program, needed: Set[str]) -> bool:
    """Whether all that the point depends on is linear, if that is known without more ado."""
    steps = FrozenSteps(program, letters=True)
    try:
        names, _, _ = linear_part(steps, steps.moved(lambda _: gradient))
    except NotDerivableError:
        return False
    return needed <= {*names}


def _grows(matrix: sp.Matrix) -> bool:
    """Whether an array grows, or swings for ever, beside the point itself."""
    sizes = sorted(abs(np.linalg.eigvals(np.array(matrix.evalf(), complex))))
    return bool(sizes[-1] > 1 + 1e-9 or (len(sizes) > 1 and sizes[-2] > 1 - 1e-9))


def _plain(expr: Expr, unit: Set[Expr]) -> Expr:
    """An expression in short, with roots as they are for symbols between 0 and 1."""
    rest = {symbol: sp.Symbol(f"{symbol}__rest", positive=True) for symbol in unit}
    plain = sp.simplify(expr.subs({symbol: 1 - one for symbol, one in rest.items()}))
    return plain.subs({one: 1 - symbol for symbol, one in rest.items()})


# --- where arrays settle --------------------------------------------------------------------------


def _settled(
    steps: FrozenSteps, moved: Mapping[str, Expr], needed: Set[str]
) -> dict[sp.Symbol, Expr]:
    """Where arrays settle that follow from themselves and others that settle.

    Args:
        steps: from letters.
        moved: point and state after a step under a constant gradient.
        needed: the arrays on which the point depends.

    Returns:
        The values of those that settle, by their symbols.

    Raises:
        NotDerivableError: where one settles depends on where it began.
    """
    settled: dict[sp.Symbol, Expr] = {}
    arrays = {*steps.start.values()}
    states = [name for name in steps.program.states if name in needed]
    for name in states * len(states):  # in whatever order they follow from others
        symbol = steps.start[name]
        value = sp.sympify(moved[name]).subs(settled)
        if symbol in settled or value == symbol or value.free_symbols & arrays - {symbol}:
            continue
        places = [
            place
            for place in _places(value - symbol, symbol, steps.unit)
            if _attracts(value, symbol, place, steps.known)
        ]
        if len(places) == 1:
            (settled[symbol],) = places
    return settled


def _needed(steps: FrozenSteps, moved: Mapping[str, Expr]) -> set[str]:
    """The arrays on which the point depends, sooner or later."""
    symbols = {symbol: name for name, symbol in steps.start.items()}
    needed, todo = set[str](), ["x"]
    while todo:
        name = todo.pop()
        needed.add(name)
        read = {symbols[s] for s in sp.sympify(moved[name]).free_symbols & {*symbols}}
        todo += sorted(read - needed)
    return needed


def _attracts(value: Expr, symbol: sp.Symbol, place: Expr, known: Mapping[Expr, Expr]) -> bool:
    """Whether steps from beside a place come nearer to it, at the defaults."""
    numbers = {**known, gradient: sp.Integer(1)}
    there = place.subs(numbers)
    moved = (value.subs({**numbers, symbol: there + beside}) - there for beside in (NEAR, -NEAR))
    return all(abs(complex(sp.N(distance))) < NEAR for distance in moved)


def _places(excess: Expr, symbol: sp.Symbol, unit: Set[Expr]) -> set[Expr]:
    """Where an array stays as it is.

    Args:
        excess: what a step adds to it.
        symbol: what it was.
        unit: symbols between 0 and 1.

    Raises:
        NotDerivableError: it stays wherever it is in some region.
    """
    places = set()
    for piece in pieces(excess, unit):
        if sp.simplify(piece.formula) == 0:
            raise NotDerivableError("where its arrays settle depends on where they began")
        candidates = sp.solve(piece.formula, symbol) if piece.formula.has(symbol) else []
        for place in map(sp.simplify, candidates):
            with contextlib.suppress(NotDerivableError):
                if how_zero([excess.subs(symbol, place)], unit):
                    places.add(place)
    return places


# --- decay ----------------------------------------------------------------------------------------


def effective_decay(
    program: Program, names: Names = PLAIN
) -> tuple[dict[str, str], Mapping[sp.Symbol, Expr]]:
    """The eigenvalues of a step with decoupled decay and no gradient.

    Args:
        program: of a rule.
        names: on its card.

    Returns:
        Each as a formula; where these are long, their polynomial, their values at the defaults, and
        the rates ``(1 - z)/lr`` that these are.  And the defaults of hyper-parameters for which
        they hold at these alone.

    Raises:
        NotDerivableError: they are no formula.
    """
    steps = FrozenSteps(program, letters=True)
    shrink = 1 - steps.hyper["lr"] * weight_decay
    one, none = sp.Integer(1), sp.Integer(0)
    _, matrix, added = linear_part(steps, steps.moved(lambda _: none, (one, none, shrink)))
    if any(added):
        raise NotDerivableError("decay alone does not take the point to 0")
    if matrix.shape[0] > 2:
        raise NotDerivableError("a polynomial of a degree above two")
    polynomial = matrix.charpoly(z).as_expr(z)
    texts = [names.text(short(root)) for root in sp.roots(polynomial, z)]
    if max(map(len, texts)) <= LONGEST:
        return {str(place): text for place, text in enumerate(sorted(texts), 1)}, steps.fixed
    numbers = steps.known | {weight_decay: sp.Rational(dict(program.options)["weight_decay"])}
    rate = float(numbers[steps.hyper["lr"]])
    values = sorted(np.roots([float(c) for c in sp.Poly(polynomial.subs(numbers), z).all_coeffs()]))
    described = {
        "polynomial": names.text(sp.collect(sp.expand(polynomial), z)),
        "at the defaults": " and ".join(f"{value:.8g}" for value in values),
        "as rates": " and ".join(f"{(1 - value) / rate:.6g}" for value in values),
    }
    return described, steps.fixed
