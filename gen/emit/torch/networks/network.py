"""Layers of a network in torch: the field's functions, and a layer with its adjoint, unrolled.

In: a network product.  Out: a view of finished lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.emit.products.network import NetworkProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment, shape_table, tuple_text
from hamilforge.gen.emit.torch.arrays import FunctionView, function_view, size_of
from hamilforge.gen.emit.torch.printer import Imports
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.networks.network import Regulariser
from hamilforge.gen.program.networks.unroll import Call, Combination, Solve, Statement

TEMPLATE = "torch/networks/network.py.jinja"


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: NetworkProduct
    functions: tuple[FunctionView, ...]
    imports: Imports
    forward: tuple[str, ...]
    endings: tuple[str, ...]
    backward: tuple[str, ...]
    layer_arguments: str
    adjoint_arguments: str
    ends: str
    kept: str
    starts: str
    gradients: str
    prepared: tuple[str, ...]
    finished: tuple[str, ...]
    states: str
    controls: str
    kept_names: str
    helpers: str
    tables: tuple[tuple[str, str], ...]


def view(product: NetworkProduct) -> View:
    """The view of a network's torch file."""
    return _Writer(product).view()


class _Writer:
    """The view of a network."""

    def __init__(self, product: NetworkProduct) -> None:
        self._product, self._need = product, Requirements()
        self._unrolled = product.unrolled
        self._network = product.network
        several = len(self._network.parts) > 1
        self._marks = [f"_{part.state.name}" if several else "" for part in self._network.parts]

    def view(self) -> View:
        """All functions and statements."""
        network, unrolled = self._network, self._unrolled
        states = [part.state for part in network.parts]
        controls = [array.name for array in network.controls]
        parameters = [array.name for array in self._product.given]
        kept = [name for name, _ in unrolled.kept]
        finish = dict(network.finish.results)
        functions = tuple(self._functions())
        forward = tuple(self._statements(unrolled.forward))
        backward = (
            *self._statements(unrolled.backward),
            *self._sums(),
            *self._calls(network.finish),
        )
        return View(
            product=self._product,
            functions=functions,
            imports=Imports.of(self._need),
            forward=forward[: -len(states)],
            endings=forward[-len(states) :],
            backward=backward,
            layer_arguments=", ".join(
                ["t", "h", *(state.name for state in states), *controls, *parameters]
            ),
            adjoint_arguments=", ".join(
                [
                    "t",
                    "h",
                    *(state.name for state in states),
                    *controls,
                    *parameters,
                    *(unrolled.end_costate(part) for part in range(len(states))),
                    *kept,
                ]
            ),
            ends=tuple_text(f"{state.name}_end" for state in states),
            kept=tuple_text(kept),
            starts=tuple_text(f"{unrolled.end_costate(part)}_start" for part in range(len(states))),
            gradients=tuple_text(
                self._gradient(finish[array.name]) if array.name in finish else "None"
                for array in network.controls
            ),
            prepared=(*self._copies(), *self._calls(network.prepare)),
            finished=(*self._step_gradient(), *self._time_gradient()),
            states=shape_table(self._product.states),
            controls=shape_table(self._product.controls),
            kept_names=repr(tuple(kept)),
            helpers=self._helpers(),
            tables=(
                *((("FIXED", shape_table(self._product.fixed)),) if self._product.fixed else ()),
                *self._product.cost_tables,
            ),
        )

    def _helpers(self) -> str:
        helpers = ["Network"]
        solves = [statement for statement in self._unrolled.forward if isinstance(statement, Solve)]
        if solves:
            helpers += ["solved", "solved_linear"]
        return ", ".join(sorted(helpers, key=lambda name: (name.islower(), name)))

    def _functions(self) -> Iterable[FunctionView]:
        network = self._network
        for part, mark in zip(network.parts, self._marks, strict=True):
            name = part.state.name
            yield function_view(
                f"rate{mark}", f"The right-hand side of {name}.", part.rate, self._need, part.kept
            )
            yield function_view(
                f"states{mark}",
                "The transposed Jacobian by the states times w.",
                part.states,
                self._need,
                part.passed,
            )
            if part.shared.results:
                yield function_view(
                    f"shared{mark}",
                    "What w makes of all that samples share, summed over them.",
                    part.shared,
                    self._need,
                )
            if any(block.implicit for block in network.step.blocks):
                yield function_view(
                    f"slope{mark}",
                    "The derivative of the right-hand side in a direction of the states.",
                    part.slope,
                    self._need,
                )
        if network.prepare.lines:
            doc = "What depends on the controls alone."
            yield function_view("prepare", doc, network.prepare, self._need)
        if network.finish.lines:
            doc = "The gradients by the controls."
            yield function_view("finish", doc, network.finish, self._need)
        if network.regulariser is not None:
            yield self._cost(network.regulariser)

    def _cost(self, cost: Regulariser) -> FunctionView:
        """The regulariser, with all parameters as arguments."""
        arguments = [array.name for array in self._product.cost_inputs]
        arguments += [parameter.name for parameter in self._network.parameters]
        doc = "The cost of a layer's controls."
        view = function_view("regulariser", doc, cost.value, self._need)
        return replace(view, arguments=tuple(arguments))

    def _copies(self) -> Iterable[str]:
        """The controls of each stage, where they have their own."""
        if self._network.by_stage:
            for array in self._network.controls:
                targets = _targets(f"{array.name}{copy}" for copy in self._unrolled.copies)
                yield f"{targets} = {array.name}.unbind()"

    def _calls(self, function: Function) -> Iterable[str]:
        """The calls of a function of the controls, one for each of their copies."""
        own = {array.name for array in self._product.given}
        for stage in range(len(self._unrolled.copies) if function.lines else 0):
            results = [self._unrolled.copy(array, stage) for _, array in function.results]
            arguments = [
                array.name if array.name in own else self._unrolled.copy(array, stage)
                for array in function.inputs
            ]
            yield f"{_targets(results)} = {function.name}({', '.join(arguments)})"

    def _gradient(self, array: Array) -> str:
        """The derivatives by a control; by stage a tuple of them."""
        derivatives = [f"h * {array.name}{copy}" for copy in self._unrolled.copies]
        return tuple_text(derivatives) if self._network.by_stage else derivatives[0]

    def _statements(self, statements: Sequence[Statement]) -> Iterable[str]:
        for statement in statements:
            if isinstance(statement, Solve):
                yield from self._solve(statement)
            else:
                yield self._simple(statement)

    def _simple(self, statement: Combination | Call) -> str:
        if isinstance(statement, Combination):
            return f"{statement.target} = {self._combination(statement)}"
        function = getattr(self._network.parts[statement.part], statement.function)
        arguments = []
        for array, name in zip(function.inputs, statement.arguments, strict=True):
            if array.name == "t":
                arguments.append(moment(statement.clock_name, statement.clock.value))
            else:
                arguments.append(name)
        mark = self._marks[statement.part]
        text = f"{statement.function}{mark}({', '.join(arguments)})"
        return f"{_targets(statement.results)} = {text}" if statement.results else text

    def _solve(self, solve: Solve) -> Iterable[str]:
        """A closure for the map, another for its derivative, and the call of the solver."""
        unknowns = [name for name, _ in solve.unknowns]
        states = [part.state for part in self._network.parts]
        like = tuple_text(
            state.name if solve.slopes else self._unrolled.end_costate(states.index(state))
            for _, state in solve.unknowns
        )
        yield ""
        yield f"def stages({', '.join(unknowns)}):"
        for statement in solve.body:
            yield f"    {self._simple(statement)}"
        yield f"    return {tuple_text(solve.fresh)}"
        yield ""
        if not solve.slopes:
            yield f"{_targets(unknowns)} = solved_linear(stages, {like})"
        else:
            dots = [f"{name}_dot" for name in unknowns]
            yield f"def slopes({', '.join([*unknowns, *dots])}):"
            for statement in solve.body:
                if isinstance(statement, Combination):
                    yield f"    {self._simple(statement)}"
            for statement in solve.slopes:
                yield f"    {self._simple(statement)}"
            yield f"    return {tuple_text(f'{name}_slope' for name in unknowns)}"
            yield ""
            yield f"{_targets(unknowns)} = solved(stages, slopes, {like}, t, h)"
        for statement in solve.after:
            yield self._simple(statement)

    def _sums(self) -> Iterable[str]:
        """Sums over stages: all stages at once where what they read can be stacked."""
        unrolled = self._unrolled
        totals: dict[str, list[str]] = {}
        for number, part in enumerate(self._network.parts):
            if not part.shared.results:
                continue
            nodes = [node for node in unrolled.increments if node.part == number]
            staged = {
                array: [unrolled.name_at(array, number, node.stage) for node in nodes]
                for array in part.shared.inputs
            }
            stacked = all(
                array.batched or (len({*names}) == 1 and array.name != "t")
                for array, names in staged.items()
            )
            own = self._network.by_stage
            groups = [nodes] if stacked and not own else [[node] for node in nodes]
            mark = self._marks[number]
            for place, group in enumerate(groups):
                arguments = []
                for array in part.shared.inputs:
                    names = [unrolled.name_at(array, number, n.stage) for n in group]
                    if array.name == "t":
                        clock = self._network.step.nodes[number][group[0].stage]
                        name = f"C{number or ''}_{group[0].stage + 1}"
                        arguments.append(moment(name, clock.value))
                    elif len(group) == 1 or not array.batched:
                        arguments.append(names[0])
                    else:
                        arguments.append(f"torch.cat(({', '.join(names)}))")
                suffix = "" if len(groups) == 1 else f"_{place + 1}"
                sums = [array for _, array in part.shared.results]
                whole = [unrolled.copy(array, group[0].stage) for array in sums]
                targets = whole if own else [f"{array.name}{suffix}" for array in sums]
                yield f"{_targets(targets)} = shared{mark}({', '.join(arguments)})"
                for total, target in zip(whole, targets, strict=True):
                    totals.setdefault(total, []).append(target)
        for name, parts in totals.items():
            if parts != [name]:
                yield f"{name} = {' + '.join(parts)}"
        for part in self._network.parts:
            for _, array in part.shared.results:
                for stage in range(len(unrolled.copies)):
                    name = unrolled.copy(array, stage)
                    if name not in totals:  # nothing depends on that stage
                        yield f"{name} = {self._zeros(array)}"

    def _zeros(self, array: Array) -> str:
        states = [part.state for part in self._network.parts]
        known = (*states, *self._network.controls, *self._network.fixed)
        sizes = ", ".join(size_of(dimension, known) for dimension in array.shape)
        return f"{states[0].name}.new_zeros({sizes or '()'})"

    def _step_gradient(self) -> Iterable[str]:
        """dJ/dh for an autonomous field: the sum of ``w' k``."""
        terms = [
            f"torch.sum({self._unrolled.costate(node.part, node.stage)} * "
            f"{self._unrolled.rate(node.part, node.stage)})"
            for node in self._unrolled.increments
        ]
        yield "h_bar = None"
        yield "if with_steps:"
        yield f"    h_bar = {' + '.join(terms)}"
        for name, node in self._unrolled.time_bars():
            clock = self._network.step.nodes[node.part][node.stage]
            if clock.value:
                label = f"C{node.part or ''}_{node.stage + 1}"
                factor = "" if clock.value == 1 else f"{label} * "
                yield f"    h_bar = h_bar + h * {factor}{name}"

    def _time_gradient(self) -> Iterable[str]:
        bars = [name for name, _ in self._unrolled.time_bars()]
        yield f"t_bar = h * ({' + '.join(bars)})" if bars else "t_bar = None"

    def _combination(self, statement: Combination) -> str:
        """A sum of terms; those that are multiplied by h are added one by one."""
        plain: list[str] = []
        stepped: list[str] = []
        for term in statement.terms:
            named = bool(term.name) and term.coefficient.value != 1
            if term.stepped:
                factor = f"h * {term.name}" if named else "h"
                stepped.append(f"({factor}, {term.array})")
            else:
                plain.append(f"{term.name} * {term.array}" if named else term.array)
        if not statement.terms:
            return f"torch.zeros_like({statement.shape.name})"
        start = " + ".join(plain) or "0.0"
        return f"{self._need('plus')}({', '.join([start, *stepped])})" if stepped else start


def _targets(parts: Iterable[str]) -> str:
    """The left side of an assignment from a tuple."""
    inner = [*parts]
    return ", ".join(inner) + ("," if len(inner) == 1 else "")
