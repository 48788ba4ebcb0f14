"""A layer and its adjoint, stage by stage: statements that every backend prints.

In: a :class:`Network`.  Out: two lists of statements.  Arrays of stage i carry the suffix ``_i``.
A stage whose row of the tableau is empty is the state itself.  Stages that determine each other are
a :class:`Solve`; on the way back they are one linear system.  Of its controls, and of what is made
of them, a layer has one *copy*, or one for each stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.program.networks.network import Function, Network
from hamilforge.gen.program.stages import Block, Coefficient, Increment, Node, Row, Value

_WORDS = {"k": "velocity", "w": "costate", "p": "momentum", "t_bar": "time_bar"}


@dataclass(frozen=True, slots=True)
class Term:
    """``coefficient * array``, times h if ``stepped``.

    Attributes:
        name: what the coefficient is called, such as ``A_2_1``.
    """

    coefficient: Coefficient
    name: str
    array: str
    stepped: bool


@dataclass(frozen=True, slots=True)
class Combination:
    """``target = sum of terms``."""

    target: str
    shape: Array
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a part at a stage.

    Attributes:
        function: ``rate``, ``states``, ``shared`` or ``slope``.
        arguments: the name of each input.
        results: the name of each result, then of each array that is kept.
        clock, clock_name: where in the layer its time is.
    """

    function: str
    part: int
    stage: int
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    clock: Coefficient
    clock_name: str


@dataclass(frozen=True, slots=True)
class Solve:
    """Statements that give arrays which they also use.

    Attributes:
        unknowns: the arrays, each with the one that stands for its shape.
        body: what computes each of them anew, in ``fresh``, from all.
        fresh: the names of the new ones.
        slopes: the derivative of ``fresh`` in a direction of the unknowns, for Newton's method;
            empty where the body is linear.
        after: what computes all that later statements use, once the unknowns are known.
    """

    unknowns: tuple[tuple[str, Array], ...]
    body: tuple[Combination | Call, ...]
    fresh: tuple[str, ...]
    slopes: tuple[Combination | Call, ...]
    after: tuple[Combination | Call, ...]


Statement = Combination | Call | Solve


class Unrolled:
    """The statements of a layer and of its adjoint."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._step = network.step
        self._states = [part.state for part in network.parts]
        same = len({*zip(self._step.alpha, self._step.weights, strict=True)}) == 1
        declared = [*self._states, *network.controls]
        taken = {array.name for array in declared} | {e.name for e in network.parameters}
        #: How right-hand sides, costates and their sums are called; in full where that is taken.
        self._letters = {
            letter: word
            if any(name == letter or name.startswith(f"{letter}_") for name in taken)
            else letter
            for letter, word in _WORDS.items()
        }
        self.prefixes = ("",) * len(self._states) if same else ("Q", "P", "Q")[: len(self._states)]

    # --- names

    @cached_property
    def copies(self) -> tuple[str, ...]:
        """What follows the names of controls, of what they prepare and of their gradients."""
        count = self._step.count if self.network.by_stage else 0
        return tuple(f"_{stage + 1}" for stage in range(count)) or ("",)

    def copy(self, array: Array, stage: int) -> str:
        """What a control, what it prepares, or a sum for its gradient is called at a stage."""
        return f"{array.name}{self.copies[stage % len(self.copies)]}"

    def stage_value(self, part: int, stage: int) -> str:
        """The value of a state at a stage."""
        state = self._states[part].name
        empty = not any(coefficient.value for coefficient in self._step.alpha[part][stage])
        return state if empty else f"{state}_{stage + 1}"

    def rate(self, part: int, stage: int) -> str:
        """The right-hand side at a stage."""
        return f"{self._mark('k', part)}_{stage + 1}"

    def costate(self, part: int, stage: int) -> str:
        """W at a stage."""
        return f"{self._mark('w', part)}_{stage + 1}"

    def end_costate(self, part: int) -> str:
        """P at the end of the layer."""
        return self._mark("p", part)

    def bar(self, state: int, by: int, stage: int) -> str:
        """What a part contributes to the cotangent of a stage value.

        Args:
            state: the number of the state.
            by: the number of the part.
            stage: the number of the stage, from 0 on.

        Returns:
            The name; it has that of the part's state in it where several parts depend on ``state``.
        """
        name = f"{self._states[state].name}_bar"
        several = sum(state in part.needs for part in self.network.parts) > 1
        return f"{name}_{self._states[by].name}_{stage + 1}" if several else f"{name}_{stage + 1}"

    def _mark(self, letter: str, part: int) -> str:
        letter = self._letters[letter]
        return letter if len(self._states) == 1 else f"{letter}_{self._states[part].name}"

    def name_at(self, array: Array, part: int, stage: int) -> str:
        """What an input of a part's functions is called at a stage.

        Args:
            array: the input.
            part: the number of the part whose functions read it.
            stage: the number of the stage, from 0 on.

        Returns:
            The name.
        """
        own = self.network.parts[part]
        if array in self._states:
            return self.stage_value(self._states.index(array), stage)
        if array == own.rate.results[0][1]:
            return self.rate(part, stage)
        if array == own.costate:
            return self.costate(part, stage)
        for key, result in own.states.results:
            if array == result and key != "t":
                names = [state.name for state in self._states]
                return self.bar(names.index(key), part, stage)
        if array in own.kept or array in own.passed:
            return f"{array.name}_{stage + 1}"
        once = {*self.network.controls, *(result for _, result in self.network.prepare.results)}
        return self.copy(array, stage) if array in once else array.name

    # --- what a layer remembers

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All values and increments, in the order of computation."""
        return tuple(node for block in self._step.blocks for node in block.nodes)

    @cached_property
    def increments(self) -> tuple[Increment, ...]:
        """All increments, in the order of computation."""
        return tuple(node for node in self.nodes if isinstance(node, Increment))

    @cached_property
    def kept(self) -> tuple[tuple[str, Array], ...]:
        """What the way back needs of a layer beside its beginning, with shapes."""
        kept: dict[str, Array] = {}
        for node in self.nodes:
            if isinstance(node, Value):
                kept[self.stage_value(node.part, node.stage)] = self._states[node.part]
                continue
            part = self.network.parts[node.part]
            kept[self.rate(node.part, node.stage)] = part.state
            for array in part.kept:
                kept[self.name_at(array, node.part, node.stage)] = array
        for state in self._states:
            kept.pop(state.name, None)
        return tuple(kept.items())

    # --- forward

    @cached_property
    def forward(self) -> tuple[Statement, ...]:
        """From the states at the beginning to ``<state>_end``."""
        statements: list[Statement] = []
        for block in self._step.blocks:
            if block.implicit:
                statements.append(self._solve(block))
            else:
                statements += self._explicit(block.nodes[0])
        for part, state in enumerate(self._states):
            weights = self._step.weights[part]
            terms = self._row(part, "B", weights, range(len(weights)))
            statements.append(Combination(f"{state.name}_end", state, (self._own(state), *terms)))
        return tuple(statements)

    def _own(self, state: Array) -> Term:
        return Term(Coefficient(1.0, "1"), "", state.name, False)

    def _row(self, part: int, letter: str, row: Row, stages: Sequence[int]) -> tuple[Term, ...]:
        prefix = self.prefixes[part]
        return tuple(
            Term(row[j], f"{prefix}{letter}_{j + 1}", self.rate(part, j), True)
            for j in stages
            if row[j].value
        )

    def _explicit(self, node: Node) -> Iterator[Combination | Call]:
        if isinstance(node, Value):
            row = self._step.alpha[node.part][node.stage]
            terms = self._row(node.part, f"A_{node.stage + 1}", row, range(len(row)))
            if terms:
                state = self._states[node.part]
                target = self.stage_value(node.part, node.stage)
                yield Combination(target, state, (self._own(state), *terms))
            return
        part = self.network.parts[node.part]
        results = [self.rate(node.part, node.stage)]
        results += [
            self.name_at(array, node.part, node.stage)
            for array in part.kept
            if array != part.rate.results[0][1]
        ]
        yield self._call("rate", part.rate, node, results)

    def _call(self, name: str, function: Function, node: Increment, results: Sequence[str]) -> Call:
        arguments = (self.name_at(array, node.part, node.stage) for array in function.inputs)
        clock = self._step.nodes[node.part][node.stage]
        return Call(
            name,
            node.part,
            node.stage,
            tuple(arguments),
            tuple(results),
            clock,
            f"C{node.part or ''}_{node.stage + 1}",
        )

    def _solve(self, block: Block) -> Solve:
        body = [statement for node in block.nodes for statement in self._explicit(node)]
        unknowns = tuple(
            (self.rate(node.part, node.stage), self._states[node.part]) for node in block.increments
        )
        names = {name for name, _ in unknowns}
        fresh = {name: f"{name}_new" for name in names}
        renamed: list[Combination | Call] = []
        for statement in body:
            if isinstance(statement, Call):
                first, *rest = statement.results
                kept = (fresh[first], *rest)
                renamed.append(replace(statement, results=kept))
            else:
                renamed.append(statement)
        slopes = [statement for node in block.nodes for statement in self._slope(node, names)]
        return Solve(
            unknowns,
            tuple(renamed),
            tuple(fresh[name] for name, _ in unknowns),
            tuple(slopes),
            tuple(body),
        )

    def _slope(self, node: Node, unknown: set[str]) -> Iterator[Combination | Call]:
        """The derivative of a stage value or of a right-hand side in a direction ``<k>_dot``."""
        if isinstance(node, Value):
            row = self._step.alpha[node.part][node.stage]
            terms = self._row(node.part, f"A_{node.stage + 1}", row, range(len(row)))
            inside = tuple(
                Term(term.coefficient, term.name, f"{term.array}_dot", True)
                for term in terms
                if term.array in unknown
            )
            target = f"{self.stage_value(node.part, node.stage)}_dot"
            yield Combination(target, self._states[node.part], inside)
            return
        part = self.network.parts[node.part]
        target = f"{self.rate(node.part, node.stage)}_slope"
        if not part.slope.results:  # it is constant between its jumps, or depends on no state
            yield Combination(target, part.state, ())
            return
        directions = {f"{state.name}_dot": k for k, state in enumerate(self._states)}
        arguments = []
        for array in part.slope.inputs:
            if array.name in directions:
                value = self.stage_value(directions[array.name], node.stage)
                arguments.append(f"{value}_dot")
            else:
                arguments.append(self.name_at(array, node.part, node.stage))
        call = self._call("slope", part.slope, node, ())
        yield replace(call, arguments=tuple(arguments), results=(target,))

    # --- back

    @cached_property
    def backward(self) -> tuple[Statement, ...]:
        """From ``p`` to ``p_start``, with w, the cotangents of stage values and sums on the way."""
        statements: list[Statement] = []
        for block in reversed(self._step.blocks):
            increments = [node for node in reversed(block.nodes) if isinstance(node, Increment)]
            body = [
                statement
                for node in increments
                for statement in (self._weighted(node), self._back(node))
            ]
            if block.implicit:
                statements.append(self._solve_back(increments, body))
            else:
                statements += body
        for part, state in enumerate(self._states):
            own = Term(Coefficient(1.0, "1"), "", self.end_costate(part), False)
            unit = Coefficient(1.0, "1")
            terms = tuple(
                Term(unit, "", self.bar(part, node.part, node.stage), True)
                for node in self.increments
                if self._contributes(node, part)
            )
            statements.append(Combination(f"{self.end_costate(part)}_start", state, (own, *terms)))
        return tuple(statements)

    def _contributes(self, node: Increment, state: int) -> bool:
        names = {key for key, _ in self.network.parts[node.part].states.results}
        return self._states[state].name in names

    def _weighted(self, node: Increment) -> Combination:
        """``w_j = b_j p + h sum_i a_ij`` times the cotangents of the stage values Y_i."""
        part, j = node.part, node.stage
        prefix = self.prefixes[part]
        terms = []
        weight = self._step.weights[part][j]
        if weight.value:
            terms.append(Term(weight, f"{prefix}B_{j + 1}", self.end_costate(part), False))
        for increment in self.increments:
            entry = self._step.alpha[part][increment.stage][j]
            if entry.value and self._contributes(increment, part):
                name = f"{prefix}A_{increment.stage + 1}_{j + 1}"
                bar = self.bar(part, increment.part, increment.stage)
                terms.append(Term(entry, name, bar, True))
        return Combination(self.costate(part, j), self._states[part], tuple(terms))

    def _back(self, node: Increment) -> Call:
        part = self.network.parts[node.part]
        results = []
        for key, _ in part.states.results:
            if key == "t":
                results.append(f"{self._mark('t_bar', node.part)}_{node.stage + 1}")
            else:
                state = [array.name for array in self._states].index(key)
                results.append(self.bar(state, node.part, node.stage))
        returned = {array for _, array in part.states.results}
        results += [
            self.name_at(array, node.part, node.stage)
            for array in part.passed
            if array not in returned
        ]
        return self._call("states", part.states, node, results)

    def _solve_back(
        self, increments: Sequence[Increment], body: Sequence[Combination | Call]
    ) -> Solve:
        unknowns = tuple(
            (self.costate(node.part, node.stage), self._states[node.part]) for node in increments
        )
        names = {name: f"{name}_new" for name, _ in unknowns}
        calls = [statement for statement in body if isinstance(statement, Call)]
        sums = [
            Combination(names[statement.target], statement.shape, statement.terms)
            for statement in body
            if isinstance(statement, Combination)
        ]
        return Solve(unknowns, (*calls, *sums), tuple(names.values()), (), tuple(calls))

    def time_bars(self) -> tuple[tuple[str, Increment], ...]:
        """The cotangents of the time at each stage."""
        return tuple(
            (f"{self._mark('t_bar', node.part)}_{node.stage + 1}", node)
            for node in self.increments
            if any(key == "t" for key, _ in self.network.parts[node.part].states.results)
        )
