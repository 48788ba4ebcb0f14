"""Reductions: an optimizer that is another one at some of its hyper-parameters.

In: an optimizer with ``[[reductions]]``.  Out: for each whether both emitted programs are one: they
begin alike, the first step agrees where numbers are remembered, and so does a step from any state
with any gradients, at whatever number it has.  By induction they agree for ever; runs from where
they begin agree, too.  Of a reduction in the limit the scalars of the host are taken as n -> oo.

Everything is entry by entry, and sums are unknown functions of what they add up: what is proved is
so in any dimension.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import sympy as sp

from hamilforge.gen.declare.budget import PROOF, Allowance
from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.functions import CONDITIONS
from hamilforge.gen.declare.kinds import FLAG, Reduction
from hamilforge.gen.derive.calculus import FUNCTIONS, Coordinate, Expr, to_sympy
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.optimizers.programs import (
    AnyOptimizer,
    ahead_of,
    arrays_of,
    program_of,
)
from hamilforge.gen.prove.optimizers.choices import JUMPS
from hamilforge.gen.prove.optimizers.reduction_runs import ReductionRuns
from hamilforge.gen.prove.optimizers.symbolic_steps import (
    AS_IT_IS,
    SymbolicSteps,
    is_steady,
    limit,
    number,
)
from hamilforge.gen.prove.optimizers.vanishing import (
    DRAWN,
    IN_SYMBOLS,
    how_zero,
    unknown_sum,
    with_equal_entries,
)
from hamilforge.gen.prove.report import Claim, Finding, attempted

#: What findings about reductions begin with.
REDUCTION = "is_"
_point = Coordinate("x__")
_CONDITIONS = tuple(FUNCTIONS[name] for name in CONDITIONS)


def reduction_findings(optimizer: AnyOptimizer) -> tuple[Finding, ...]:
    """A finding for each reduction that an optimizer declares, within a budget of their own.

    Raises:
        DeclarationError: a reduction is about what the programs do not have.
    """
    for reduction in optimizer.reductions:  # what is derived is remembered, and no part of a proof
        for side in (optimizer, reduction.to):
            program_of(side)
    allowance = Allowance(2 * PROOF)  # each is about two programs
    return tuple(_finding(allowance, optimizer, reduction) for reduction in optimizer.reductions)


def reduction_claims(findings: Iterable[Finding]) -> tuple[Claim, ...]:
    """What is declared is claimed: a claim for each finding about a reduction."""
    return tuple(
        Claim(
            finding.name,
            True,
            finding.value,
            bool(finding.value),
            finding.why or finding.evidence,
        )
        for finding in findings
        if finding.name.startswith(REDUCTION)
    )


def _finding(allowance: Allowance, optimizer: AnyOptimizer, reduction: Reduction) -> Finding:
    """Whether the optimizer is another one at the declared hyper-parameters."""
    to = reduction.to.head.name
    ours = ", ".join(f"{key} = {value.text}" for key, value in reduction.values)
    theirs = ", ".join(f"{key} = {value.text}" for key, value in reduction.at)
    reach = f"{ours or 'all hyper-parameters'}, in those of {to}{' and n' * (not reduction.late)}"
    reach += f", at its {theirs}" if theirs else ""
    reach += "; any dimension, state and gradient that leave both finite, no decoupled weight decay"
    name, evidence = f"{REDUCTION}{to}", "steps of both emitted programs" + _LATE * reduction.late

    def shown() -> Finding:
        comparison = _Comparison(optimizer, reduction)
        holds, how = comparison.result()
        if holds:
            how += f"; {_SAME[comparison.solutions_agree()]}"
        return Finding(name, holds, f"{evidence}: {how}", reach + comparison.exceptions)

    if any(program_of(side).outer for side in (optimizer, reduction.to)):
        why = "rules with loops are not compared in symbols"
        return Finding(name, None, evidence, reach, why)
    try:
        return attempted(allowance, name, shown, reach)
    except NotImplementedError as error:
        return Finding(name, None, evidence, reach, str(error))


_SYMBOL = re.compile(r"\b[a-zA-Z]\w*__\w*")
#: How many operations a difference may have that is printed.
LONG = 60
_LATE = ", as n -> oo"
#: What agrees, by whether solutions do; None where they are the points.
_SAME: Mapping[bool | None, str] = {
    None: "the points are the same",
    True: "points and solutions are the same",
    False: "the points at which gradients are taken are the same, solutions are not",
}


class _Letters(SymbolicSteps):
    """Steps in which the defaults decide nothing, and a sum is a function of what it adds up.

    Args:
        optimizer: of any form.

    Attributes:
        kept: what stands for numbers that follow from those that were kept before.
        has_edges: whether a step chooses by the value of an entry or of a sum.
    """

    def __init__(self, optimizer: AnyOptimizer, side: str) -> None:
        self._side = side
        self.kept: frozenset[Expr] = frozenset()
        self.has_edges = False
        self._ahead = ahead_of(optimizer)
        super().__init__(program_of(optimizer), _point)
        # what both programs draw at their occurrences of one number
        self.noises = {
            name: Coordinate(f"noise__{place}")
            for place, name in enumerate(self.program.noises, start=1)
        }

    @property
    def point(self) -> Expr:
        """Where the next gradient is taken, by the arrays from which that follows if it does."""
        if self._ahead is None:
            return self.arrays["x"]
        known = {**self.hyper, **self.arrays, **self.memory, "n": self.n}
        return sp.sympify(evaluate(self._ahead, known, self.algebra))

    def _total(self, array: Expr) -> Expr:
        return unknown_sum(self.program.scope, array)

    def _vanishes(self, difference: Expr) -> bool:
        """A choice by letters falls on its first value at an edge only, or is refused."""
        if difference.is_number:
            return super()._vanishes(difference)
        if difference.has(*_CONDITIONS) or super()._vanishes(with_equal_entries(difference)):
            names = ", ".join(sorted(map(str, difference.free_symbols)))
            raise NotDerivableError(
                f"a step of {self.program.name} is another one for some {names}, and the "
                "reduction does not exclude them"
            )
        scalars = {number}.union(*(value.free_symbols for value in self.hyper.values()))
        self.has_edges |= not difference.free_symbols <= scalars
        return False

    def remember(self) -> None:
        """What the step before the next one left: numbers that it made anew, else any number."""
        names = [name for name, _ in self.program.host.memory]
        letters = {name: sp.Symbol(f"{name}__{self._side}", real=True) for name in names}
        self.memory = dict(letters)
        host = self.host()
        for name, line in self.program.host.memory:
            if not host[line].free_symbols & {*letters.values()}:
                self.memory[name] = host[line]
        self.kept = frozenset(letters.values())

    def solution(self) -> Expr:
        """The solution after a step."""
        program = self.program
        if not program.shifted:
            return self.arrays["x"]
        row = zip(program.solution.scalars, program.host.solution, strict=True)
        scalars = {name: self.memory[kept] for name, kept in row}
        return self.run(program.solution, scalars, {})["x"]


class _Comparison:
    """Two programs side by side.

    Args:
        optimizer: ours.
        reduction: the other one, our hyper-parameters in theirs, their state in ours.

    Raises:
        DeclarationError: the reduction is about what the programs do not have.
        NotDerivableError: a step of one of both depends on the time.
    """

    def __init__(self, optimizer: AnyOptimizer, reduction: Reduction) -> None:
        self._optimizer, self._reduction = optimizer, reduction
        self._ours, self._theirs = ours, theirs = (
            _Letters(optimizer, "ours"),
            _Letters(reduction.to, "theirs"),
        )
        self._arrays, self._their_arrays = arrays_of(optimizer), arrays_of(reduction.to)
        self._refuse_unequal_stages()
        self._state = self._declared_state()
        self._unit = theirs.unit
        free = dict(theirs.hyper)
        theirs.hyper |= {name: to_sympy(value, free) for name, value in reduction.at}
        known = {**theirs.hyper, "n": number}
        self._refuse_cancelled()
        self._hyper = {
            name: value if value.is_number else _renamed(value)
            for name, value in ours.hyper.items()
        }
        self._unit |= {_renamed(symbol) for symbol in ours.unit}
        self._hyper |= {name: to_sympy(value, known) for name, value in reduction.values}
        self._solutions: list[Expr] = []
        self._jumps = False

    # --- what the declaration says, and the programs have -----------------------------------------

    def _refused(self, message: str, *path: str) -> DeclarationError:
        """An error about the declaration of the reduction."""
        source, place = self._optimizer.head.source, self._reduction.number
        return DeclarationError.at(source, message, "reductions", place, *path)

    def _refuse_unequal_stages(self) -> None:
        counts = [len(side.program.stages) for side in (self._ours, self._theirs)]
        if counts[0] != counts[1]:
            names = self._ours.program.name, self._theirs.program.name
            each = " and ".join(f"{c} of {n}" for c, n in zip(counts, names, strict=True))
            raise self._refused(f"steps that take different numbers of gradients: {each}", "to")

    def _refuse_cancelled(self) -> None:
        for part, side, entries in (
            ("values", self._ours, self._reduction.values),
            ("at", self._theirs, self._reduction.at),
        ):
            for name, _ in entries:
                if name not in side.hyper:
                    message = f"'{name}' cancels: no step of {side.program.name} depends on it"
                    raise self._refused(message, part, name)

    def _declared_state(self) -> dict[str, Callable[[Mapping[str, Expr]], Expr]]:
        """For each array of theirs how it follows from what is known of us."""
        point, *_ = self._reduction.to.unknowns
        state: dict[str, Callable[[Mapping[str, Expr]], Expr]] = {}
        for name, value in self._reduction.state:
            array = self._their_arrays[name]
            if array == "x":
                message = f"'{name}' is where gradients are taken, which is our own point"
                raise self._refused(message, "state", name)
            state[array] = partial(to_sympy, value)
        if self._their_arrays[point] not in ("x", *state):
            message = f"{self._theirs.program.name} keeps '{point}', of which nothing is said"
            raise self._refused(message, "state")
        return state

    # --- steps ------------------------------------------------------------------------------------

    def result(self) -> tuple[bool, str]:
        """Whether both are one, and how that was found.

        Raises:
            NotDerivableError: steps have no value, or depend on numbers that follow from others.
        """
        try:
            return self._result()
        except NotDerivableError as error:
            raise NotDerivableError(self._in_words(str(error))) from error

    def _result(self) -> tuple[bool, str]:
        parts = {"where they begin": self._beginnings()}
        remembers = any(side.program.host.memory for side in (self._ours, self._theirs))
        if remembers and not self._reduction.late:  # zeros before the first step
            parts["the first step"] = self._step()
        parts["any step"] = {**self._stand_anywhere(), **self._step()}
        found = set()
        for part, differences in parts.items():
            self._jumps |= any(difference.has(*JUMPS) for difference in differences.values())
            how = how_zero(differences.values(), self._unit)
            if not how:
                self._refuse_undecided(differences.values())
                return False, f"{part} differs{self._first_of(differences)}"
            found.add(how)
        runs = ReductionRuns(
            self._ours.program, self._theirs.program, self._reduction, self._mapped
        )
        if parted := runs.parted():
            return False, f"runs part in step {parted}"
        return True, f"{', '.join(parts)}, {DRAWN if DRAWN in found else IN_SYMBOLS}"

    def _first_of(self, differences: Mapping[str, Expr]) -> str:
        """The first difference that is not zero, as its reader calls what is in it."""
        for place, difference in differences.items():
            if not how_zero([difference], self._unit):
                short = difference.count_ops() <= LONG
                shown = sp.simplify(difference) if short else difference
                text = self._in_words(sp.sstr(shown))
                return f" in {place}" + (f": ours - theirs = {text}" if short else "")
        return ""

    def _in_words(self, text: str) -> str:
        """A text with symbols as its reader calls them."""
        return _SYMBOL.sub(lambda found: self._called(found[0]), text)

    def _called(self, name: str) -> str:
        """What a symbol of a comparison stands for, in the words of the declarations."""
        name, _, mark = name.partition("__")
        ours, theirs = (side.program.name for side in (self._ours, self._theirs))
        if name == "x":
            return self._optimizer.unknowns[0]
        if name == "own":
            return f"{mark} of {ours}"
        if mark in ("ours", "theirs"):
            arrays = self._arrays if mark == "ours" else self._their_arrays
            unknown = {array: unknown for unknown, array in arrays.items()}.get(name, name)
            return f"{unknown} of {ours if mark == 'ours' else theirs}"
        return name if mark in ("", "1") else f"{name}_{mark}"

    def _refuse_undecided(self, differences: Iterable[Expr]) -> None:
        kept = self._ours.kept | self._theirs.kept
        if any(one.has(sp.zoo, sp.nan, sp.oo) for one in differences):
            raise NotDerivableError("at these hyper-parameters a step has no value")
        if any(one.free_symbols & kept for one in differences):
            raise NotDerivableError("a step depends on numbers that follow from those kept before")

    @property
    def exceptions(self) -> str:
        """For what nothing is shown."""
        sides = self._ours, self._theirs
        texts = []
        if self._jumps or any(side.has_edges for side in sides):
            texts.append("but for entries or sums at which a step chooses")
        said = (self._reduction.values, self._reduction.at)
        for side, entries in zip(sides, said, strict=True):
            names = {entry.name for entry in side.program.hyperparameters if entry.domain == FLAG}
            if left := ", ".join(sorted(names - {*dict(entries)})):
                texts.append(f"{left} of {side.program.name} as by default")
        return "".join(f", {text}" for text in texts)

    def solutions_agree(self) -> bool | None:
        """Whether solutions are equal, as points are; None where these are the solutions."""
        if not any(side.program.shifted for side in (self._ours, self._theirs)):
            return None
        return bool(how_zero(self._solutions, self._unit))

    def _at(self, n: Expr) -> None:
        """The number of the next step, and the hyper-parameters in force then."""
        self._ours.n = self._theirs.n = n
        self._ours.hyper = {name: value.subs(number, n) for name, value in self._hyper.items()}

    def _mapped(
        self, arrays: Mapping[str, Expr], hyper: Mapping[str, Expr], n: Expr
    ) -> dict[str, Expr]:
        """Their arrays, by ours, their hyper-parameters and the number of the next step."""
        own = {name: arrays[array] for name, array in self._arrays.items()}
        known = {**hyper, "n": n, **own}
        return {array: value(known) for array, value in self._state.items()}

    def _their_state(self) -> dict[str, Expr]:
        """Their arrays where both stand."""
        return self._mapped(self._ours.arrays, self._theirs.hyper, self._ours.n)

    def _beginnings(self) -> dict[str, Expr]:
        """What is between their state and ours before the first step, at which both stand then."""
        self._at(sp.Integer(1))
        if self._reduction.late:
            late = {name: self._in_force(value) for name, value in self._hyper.items()}
            self._ours.hyper = late
        for side in (self._ours, self._theirs):
            side.begin(_point)
        return self._between_states()

    def _between_states(self) -> dict[str, Expr]:
        """What is between their state and ours, array by array."""
        unknowns = {array: unknown for unknown, array in self._their_arrays.items()}
        theirs = self._theirs
        return {
            f"{unknowns[array]} of {theirs.program.name}": value - theirs.arrays[array]
            for array, value in self._their_state().items()
        }

    def _stand_anywhere(self) -> dict[str, Expr]:
        """Before a later step, in any state; and what is between the points of both."""
        self._at(number - 1)
        for side in (self._ours, self._theirs):
            side.remember()
        self._at(number)
        for side, mark in ((self._ours, "ours"), (self._theirs, "theirs")):
            names = side.program.states
            side.arrays = {name: Coordinate(f"{name}__{mark}") for name in names}
            side.arrays["x"] = _point
        self._ours.arrays["x"] = point = self._in_force(self._ours.point)
        self._theirs.arrays |= {"x": point, **self._their_state()}
        return {"the gradient's point before it": point - self._in_force(self._theirs.point)}

    def _in_force(self, value: Expr) -> Expr:
        """A value at the number of the step, or as it grows.

        Raises:
            NotDerivableError: it has no limit, or another one where hyper-parameters are as by
                default.
        """
        if not self._reduction.late:
            return value
        if not is_steady(value, {}, self._ours.known | self._theirs.known, self._unit):
            raise NotDerivableError(
                "where n grows, hyper-parameters as by default are an exception"
            )
        return limit(value, self._unit)

    def _step(self) -> dict[str, Expr]:
        """What is between them after a step, and at its gradients."""
        met: list[list[Expr]] = []
        for side in (self._ours, self._theirs):
            points: list[Expr] = []

            def gradient(point: Expr, points: list[Expr] = points) -> Expr:
                points.append(point)
                return Coordinate(f"g__{len(points)}")

            side.step(gradient, AS_IT_IS, self._scalars_in_force(side))
            met.append([*points, side.arrays["x"]])
        *stages, last = (left - right for left, right in zip(*met, strict=True))
        differences = {f"the point of gradient {k}": value for k, value in enumerate(stages, 1)}
        differences["the point after it"] = last
        self._at(self._ours.n)
        differences |= self._between_states()
        self._solutions = [self._ours.solution() - self._theirs.solution()]
        return differences

    def _scalars_in_force(self, side: SymbolicSteps) -> Mapping[str, Expr] | None:
        """The scalars of the host that a step reads, as n -> oo; None for those of this step."""
        if not self._reduction.late:
            return None
        host = side.program.host
        read = {line for row in host.rows for line in row} | {line for _, line in host.memory}
        values = side.host()
        return {line: self._in_force(values[line]) for line in read}


def _renamed(value: Expr) -> Expr:
    """A hyper-parameter of ours that may have any value, unlike theirs of the same name."""
    return sp.Symbol(f"own__{value}", **value.assumptions0)
