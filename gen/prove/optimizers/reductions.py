"""Reductions: an optimizer that is another one at some of its hyper-parameters.

In: an optimizer with ``[[reductions]]``.  Out: for each whether a step of both from any state, with
any gradient, comes to the same point and the same state, and whether they begin alike: in symbols,
by the emitted programs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Set

import sympy as sp

from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.kinds import Discretised, Optimizer, Reduction, Rule
from hamilforge.gen.derive.calculus import Expr, to_sympy
from hamilforge.gen.program.ir import Program
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.prove.optimizers.symbolic_steps import SymbolicSteps

#: At how many drawn points differences are looked at that symbols do not decide.
POINTS = 4
_NEUTRAL = (sp.Integer(1), sp.Integer(0), sp.Integer(1))
_point, _gradient, _n = (sp.Symbol(name, positive=True) for name in ("point", "g", "n"))


def program_of(optimizer: Optimizer | Rule | Discretised) -> Program:
    """The program of an optimizer of any form."""
    if isinstance(optimizer, Optimizer):
        return derive(optimizer).program
    return derive_rule(optimizer).program


def reduces(optimizer: Rule | Discretised, reduction: Reduction) -> tuple[bool, str]:
    """Whether an optimizer is another one, at what the reduction says.

    Args:
        optimizer: ours.
        reduction: the other one, our hyper-parameters in theirs, their state in ours.

    Returns:
        Whether it is, and how that was found: ``in symbols``, or ``at drawn points, to 40 digits``
        where the symbols do not decide it.

    Raises:
        NotDerivableError: ours keeps numbers, or one of both takes several gradients a step.
    """
    ours, theirs = program_of(optimizer), program_of(reduction.to)
    if ours.host.memory or len(ours.stages) > 1 or len(theirs.stages) > 1:
        raise NotDerivableError("a rule keeps numbers, or takes several gradients")
    other = SymbolicSteps(theirs, _point)
    other.n = _n
    host = other.host()
    other.memory = {name: host[line] for name, line in theirs.host.memory}
    again = other.host()
    if any(again[line] != host[line] for _, line in theirs.host.memory):
        raise NotDerivableError(f"what {theirs.name} keeps is not that of constant numbers")
    named: dict[str, Expr] = {**other.hyper, "n": _n}
    values = {name: to_sympy(value, named) for name, value in reduction.values}

    def own_steps() -> SymbolicSteps:
        steps = SymbolicSteps(ours, _point)
        steps.hyper |= values
        return steps

    def mapped(steps: SymbolicSteps, n: Expr) -> dict[str, Expr]:
        """Their arrays at our state."""
        arrays = dict(zip(optimizer.unknowns, ("x", *ours.states), strict=False))
        known = {name: steps.arrays[array] for name, array in arrays.items()}
        declared = {
            name: to_sympy(value, {**other.hyper, "n": n, **known})
            for name, value in reduction.state
        }
        missing = [name for name in theirs.states if name not in declared]
        if missing:
            raise NotDerivableError(f"[[reductions]].state says nothing of {missing[0]}")
        return declared

    ours_at_start = own_steps()
    if ours.start:  # begun at our values
        ours_at_start.arrays |= _begun(ours, ours_at_start)
    begun = mapped(ours_at_start, sp.Integer(1))
    starts = [begun[name] - other.arrays[name] for name in theirs.states]
    steps = own_steps()
    steps.arrays |= {name: sp.Symbol(f"{name}__", positive=True) for name in ours.states}
    steps.n = other.n = _n
    other.arrays |= {"x": _point, **mapped(steps, _n)}
    for side in (steps, other):
        side.step(lambda _: _gradient, _NEUTRAL)
    after = mapped(steps, _n + 1)
    differences = [steps.arrays["x"] - other.arrays["x"]]
    differences += [after[name] - other.arrays[name] for name in theirs.states]
    left = [d for d in (*starts, *differences) if sp.simplify(d) != 0]
    if not left:
        return True, "in symbols"
    intervals = {
        other.hyper[entry.name]
        for entry in theirs.hyperparameters
        if entry.domain.endswith("interval")
    }
    return all(_vanishes(d, intervals) for d in left), "at drawn points, to 40 digits"


def _vanishes(difference: Expr, intervals: Set[Expr]) -> bool:
    """Whether a number is zero at drawn values: n whole, those of unit intervals inside."""
    generator = random.Random(1)
    for _ in range(POINTS):
        drawn: dict[Expr, Expr] = {
            symbol: sp.Rational(generator.randint(1, 99), 100 if symbol in intervals else 40)
            for symbol in sorted(difference.free_symbols, key=str)
        }
        drawn |= {_n: sp.Integer(generator.randint(1, 20))} if _n in drawn else {}
        if abs(sp.N(difference.subs(drawn), 50)) > sp.Float(10) ** -40:
            return False
    return True


def _begun(program: Program, steps: SymbolicSteps) -> Mapping[str, Expr]:
    """What the state begins at, at the values of a reduction."""
    assert program.start is not None
    values = steps.lines(program.host.start, dict(steps.hyper))
    row = zip(program.start.scalars, program.host.start_row, strict=True)
    return steps.run(program.start, {name: values[line] for name, line in row}, {})
