"""A network or an objective as a product: the text that its generated files share.

In: a :class:`Network` with what was proved of its method, or a :class:`Target`.  Out: header,
docstring with field, Hamiltonian and adjoint equations, and the names of coefficients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.emit.printer import formulas
from hamilforge.gen.emit.products.fixed_arrays import drawing, fixed_text
from hamilforge.gen.emit.text import (
    Constant,
    alone_header,
    chosen,
    class_name,
    constant,
    escaped,
    pair_digest,
    pair_header,
    parameter_table,
    wrapped,
)
from hamilforge.gen.program.networks.network import RUNNING, Network, Target
from hamilforge.gen.program.networks.unroll import Call, Combination, Solve, Statement, Unrolled
from hamilforge.gen.program.stages import Stages
from hamilforge.gen.prove.report import Report


@dataclass(frozen=True)
class NetworkProduct:
    """What the templates of all backends read of a network."""

    unrolled: Unrolled
    field: kinds.Field
    method: kinds.LayerMethod
    method_report: Report
    template: str = ""
    kind: ClassVar[str] = "network"

    @property
    def network(self) -> Network:
        """The program."""
        return self.unrolled.network

    @property
    def name(self) -> str:
        """``<field>__<method>``."""
        return self.network.name

    @property
    def class_name(self) -> str:
        """The name of the module's class."""
        return class_name(self.name)

    @property
    def digest(self) -> str:
        """A digest of the declarations."""
        return pair_digest(self.field, self.method)

    @cached_property
    def header(self) -> str:
        """Where the file comes from."""
        more = chosen(self.field)
        return pair_header(self.field.head, self.method.head, self.template, self.digest, more)

    @cached_property
    def docstring(self) -> str:
        """Title, field, products with the costate, what was proved, references."""
        field, method = self.field.head, self.method.head
        lines = [*wrapped(f"{escaped(field.title)}, by {escaped(method.title)}."), ""]
        for name, expression in self.field.rates:
            lines.append(f"    {name}. = {escaped(expression.text)}")
        if self.field.activation is not None:
            lines.append(f"    sigma(x) = {escaped(self.field.activation.text)}")
        for array in self.field.arrays:
            lines.append(f"    {array.name} is fixed: {escaped(fixed_text(array))}")
        if self.field.running is not None:
            lines.append(f"    running cost: {escaped(self.field.running.text)}")
        if self.field.regulariser is not None:
            lines.append(f"    regulariser: {escaped(self.field.regulariser.text)}")
        lines += ["", "The adjoint, from a costate w of the right-hand side:", ""]
        for part in self.network.parts:
            lines += [f"    {line}" for line in (*formulas(part.states), *formulas(part.shared))]
        lines += [f"    {line}" for line in formulas(self.network.finish)]
        lines += ["", *wrapped(f"Proved: order {self.method_report['order']} (the method).")]
        for head in (field, method):
            lines += ["", *wrapped(f"Reference: {escaped(head.reference)}")]
        return '"""' + "\n".join(lines) + '\n"""'

    @property
    def reversible(self) -> bool:
        """Whether a step with -h undoes a step with h: the method is its own adjoint.

        With controls of each stage that step takes them from the last stage to the first, so these
        have to be each other's images.
        """
        symmetric = bool(self.method_report["symmetric"])
        return symmetric and (not self.network.by_stage or _mirrored(self.network.step))

    @property
    def states(self) -> tuple[tuple[str, kinds.Shape], ...]:
        """The states as they are declared, and the running cost."""
        running = ((RUNNING, ()),) if self.field.running is not None else ()
        return (*self.field.states, *running)

    @property
    def controls(self) -> tuple[tuple[str, kinds.Shape], ...]:
        """The controls of a layer: as they are declared, or one of each for every stage."""
        network = self.network
        before = (str(network.step.count),) if network.by_stage else ()
        return tuple((name, (*before, *shape)) for name, shape in self.field.controls)

    @property
    def given(self) -> tuple[Array, ...]:
        """What all layers share: parameters, then fixed arrays."""
        scalars = (Array(parameter.name, (), False) for parameter in self.network.parameters)
        return (*scalars, *self.network.fixed)

    @property
    def fixed(self) -> tuple[tuple[str, kinds.Shape], ...]:
        """The fixed arrays as they are declared."""
        return tuple((array.name, array.shape) for array in self.field.arrays)

    @cached_property
    def drawing(self) -> tuple[str, ...]:
        """The lines of the function that draws the fixed arrays."""
        spelled = {raw: name for name, raw in self.network.declared.items()}
        lines = drawing(self.network.draws, spelled)
        named = ", ".join(f'"{name}": {spelled[name]}' for name, _ in self.fixed)
        return (*lines, f"return {{{named}}}")

    @cached_property
    def cost_inputs(self) -> tuple[Array, ...]:
        """The controls that the regulariser reads, then the rates of change of some."""
        cost = self.network.regulariser
        assert cost is not None
        read = {*cost.value.inputs}
        return tuple(a for a in (*self.network.controls, *cost.rates.values()) if a in read)

    @cached_property
    def cost_tables(self) -> tuple[tuple[str, str], ...]:
        """Whether there is a regulariser, and the declared names of what it reads."""
        cost, declared = self.network.regulariser, self.network.declared
        if cost is None:
            return (("REGULARISER", "False"),)
        read = {*self.cost_inputs}
        controls = [array.name for array in self.network.controls if array in read]
        rated = [name for name, rate in cost.rates.items() if rate in read]
        return (
            ("REGULARISER", "True"),
            ("COSTED", repr(tuple(declared[name] for name in controls))),
            ("RATED", repr(tuple(declared[name] for name in rated))),
        )

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """Every coefficient that a statement names."""
        found = {}
        for statement in _flat((*self.unrolled.forward, *self.unrolled.backward)):
            if isinstance(statement, Combination):
                for term in statement.terms:
                    if term.name and term.coefficient.value != 1:
                        found[term.name] = term.coefficient
            elif self._reads_time(statement) and statement.clock.value not in (0.0, 1.0):
                found[statement.clock_name] = statement.clock
        return tuple(constant(name, found[name]) for name in sorted(found, key=_natural))

    def _reads_time(self, call: Call) -> bool:
        part = self.network.parts[call.part]
        functions = (getattr(part, call.function), part.shared)
        return any(array.name == "t" for function in functions for array in function.inputs)

    @cached_property
    def parameters(self) -> str:
        """The parameters with default, domain and meaning, as a Python dictionary."""
        return parameter_table(self.field.parameters)


@dataclass(frozen=True)
class TargetProduct:
    """What the templates of all backends read of an objective."""

    target: Target
    objective: kinds.Objective
    template: str = ""
    kind: ClassVar[str] = "target"

    @property
    def name(self) -> str:
        """``<objective>__objective``."""
        return f"{self.target.name}__objective"

    @property
    def class_name(self) -> str:
        """The name of the module's class."""
        return class_name(self.name)

    @cached_property
    def header(self) -> str:
        """Where the file comes from."""
        return alone_header(self.objective, self.template)

    @cached_property
    def docstring(self) -> str:
        """Title, prediction and loss, gradient, reference."""
        head = self.objective.head
        lines = [*wrapped(f"{escaped(head.title)}."), ""]
        lines.append(f"    prediction = {escaped(self.objective.prediction.text)}")
        lines.append(f"    loss = {escaped(self.objective.loss.text)}")
        lines += ["", "The gradient, from a weight ``seed`` of each sample's loss:", ""]
        lines += [f"    {line}" for line in formulas(self.target.gradient)]
        lines += ["", *wrapped(f"Reference: {escaped(head.reference)}")]
        return '"""' + "\n".join(lines) + '\n"""'

    @cached_property
    def parameters(self) -> str:
        """The parameters with default, domain and meaning, as a Python dictionary."""
        return parameter_table(self.objective.parameters)


def _mirrored(step: Stages) -> bool:
    """Whether ``a_ij + a_(s+1-i)(s+1-j) = b_j``, to rounding, for a step known to be symmetric."""
    order = range(step.count)
    return all(
        abs(rows[i][j].value + rows[-1 - i][-1 - j].value - weights[j].value) < 1e-12
        for rows, weights in zip(step.alpha, step.weights, strict=True)
        for i in order
        for j in order
    )


def _flat(statements: Iterable[Statement]) -> Iterable[Combination | Call]:
    for statement in statements:
        if isinstance(statement, Solve):
            yield from (*statement.body, *statement.slopes, *statement.after)
        else:
            yield statement


def _natural(name: str) -> list[object]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
