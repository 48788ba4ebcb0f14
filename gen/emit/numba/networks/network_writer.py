"""Layers of a network in numba: a layer and its adjoint unrolled, blocks of samples in parallel.

In: a network product.  Out: a view of finished lines, and the tables of arrays that the runtime
allocates: what a layer keeps, scratch of a block, matrices, and sums.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.emit.numba.arrays import ArrayWriter, FunctionView
from hamilforge.gen.emit.numba.networks import regulariser
from hamilforge.gen.emit.numba.networks.network_view import Copy, View
from hamilforge.gen.emit.products.network import NetworkProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment, shape_table, tuple_text
from hamilforge.gen.program.ir import Function
from hamilforge.gen.program.networks.network import LayerPart
from hamilforge.gen.program.networks.unroll import Call, Combination, Solve, Statement, Term


class NetworkWriter:
    """The view of a network."""

    def __init__(self, product: NetworkProduct) -> None:
        self._product = product
        self._network, self._unrolled = product.network, product.unrolled
        self._need = Requirements()
        self._arrays = ArrayWriter(self._need)
        self._states = [part.state for part in self._network.parts]
        self._kept = dict(self._unrolled.kept)
        #: Values of stages, which are computed again where nothing has to be solved for.
        self._values: tuple[Combination, ...] = ()
        if not self._implicit:
            self._values = tuple(
                combination
                for combination in self._unrolled.forward
                if isinstance(combination, Combination) and not combination.target.endswith("_end")
            )
            for combination in self._values:
                del self._kept[combination.target]
        self._scratch: dict[str, Array] = {}
        self._matrices: dict[str, Array] = {}
        sums = [array for part in self._network.parts for _, array in part.shared.results]
        #: Sums for the gradients by one copy of the controls.
        self._sums_of_one = [array for array in sums if not array.is_scalar]
        self._numbers_of_one = [array for array in sums if array.is_scalar]
        self._terms: set[int] = set()
        several = len(self._states) > 1
        self._marks = [f"_{state.name}" if several else "" for state in self._states]
        self._views = {
            (number, name): self._view_of(number, name)
            for number, part in enumerate(self._network.parts)
            for name in self._names(part)
        }

    def _names(self, part: LayerPart) -> Iterable[str]:
        yield from ("rate", "states")
        if part.shared.results:
            yield "shared"
        if self._implicit:
            yield "slope"

    @property
    def _implicit(self) -> bool:
        return any(block.implicit for block in self._network.step.blocks)

    def _view_of(self, number: int, name: str) -> FunctionView:
        part = self._network.parts[number]
        docs = {
            "rate": f"The right-hand side of {part.state.name}.",
            "states": "The transposed Jacobian by the states times w.",
            "shared": "What w makes of all that samples share, added up.",
            "slope": "The derivative of the right-hand side in a direction of the states.",
        }
        writer = self._arrays.summing if name == "shared" else self._arrays.function
        return writer(f"{name}{self._marks[number]}", docs[name], getattr(part, name))

    def view(self) -> View:
        """All functions and statements."""
        network = self._network
        functions = list(self._views.values())
        prepared, prepared_one = self._prepare(functions)
        copies = tuple(self._copies())
        forward, backward = tuple(self._forward()), tuple(self._backward())
        functions += self._layer_functions()
        finish = tuple(self._finish())
        self._matrices |= self._arrays.partial
        solves = [statement for statement in self._unrolled.forward if isinstance(statement, Solve)]
        widths = max((solve.unknowns for solve in solves), key=len, default=())
        gradients = []
        ends = dict(network.finish.results)
        for array in network.controls:
            if array.name in ends:
                name = ends[array.name].name
                gradients.append((array.name, name, array.is_scalar))
        cost = regulariser.view(self._product, self._need)
        printed = (*functions, *(cost.functions if cost else ()))
        if len({function.name for function in (*self._arrays.loops.values(), *printed)}) < len(
            printed
        ) + len(self._arrays.loops):
            raise NotImplementedError("numba: two functions would have one name")
        tables = (
            ("SIZES", repr(dict(self._product.field.fixed))),
            ("STATES", shape_table(self._product.states)),
            ("BY_STAGE", repr(network.by_stage)),
            ("CONTROLS", shape_table(self._product.controls)),
            ("KEPT", _table(self._kept)),
            ("SCRATCH", _table(self._scratch)),
            ("MATRICES", _table(self._matrices)),
            ("TOTALS", _table(self._of_all(self._sums_of_one, "_total"))),
            ("SCALARS", repr(tuple(self._of_all(self._numbers_of_one)))),
            (
                "GRADIENTS",
                repr(
                    tuple(
                        network.declared[array.name]
                        for array in network.controls
                        if array.name in ends
                    )
                ),
            ),
            ("UNKNOWNS", repr(tuple(array.shape for _, array in widths))),
            *((("FIXED", shape_table(self._product.fixed)),) if self._product.fixed else ()),
        )
        return View(
            product=self._product,
            timed=network.timed,
            imports=self._imports(),
            loops=tuple(self._arrays.loops[name] for name in sorted(self._arrays.loops)),
            functions=tuple(functions),
            combinations=tuple(sorted(self._terms)),
            copies=copies,
            prepared=prepared,
            prepared_one=prepared_one,
            sums=tuple(f"{array.name}_total" for array in self._sums_of_one),
            numbers=tuple(array.name for array in self._numbers_of_one),
            forward=forward,
            backward=backward,
            finish=finish,
            states=tuple(state.name for state in self._states),
            controls=tuple(array.name for array in network.controls),
            parameters=tuple(array.name for array in self._product.given),
            kept=tuple(self._kept),
            scratch=tuple(self._scratch),
            matrices=tuple(self._matrices),
            totals=tuple(self._of_all(self._sums_of_one, "_total")),
            scalars=tuple(self._of_all(self._numbers_of_one)),
            costates=tuple(self._unrolled.end_costate(k) for k in range(len(self._states))),
            gradients=tuple(gradients),
            tables=(*tables, *(cost.tables if cost else self._product.cost_tables)),
            cost=cost,
        )

    def _imports(self) -> tuple[tuple[str, str, str], ...]:
        self._need("layer_kernels")
        if self._implicit:
            self._need("stage_systems")
            self._need("linear")  # which it calls
        return self._need.modules()

    def _of_all(self, arrays: Iterable[Array], end: str = "") -> dict[str, Array]:
        """What all copies of the controls have of some arrays, by name."""
        copies = self._unrolled.copies
        return {f"{array.name}{copy}{end}": array for copy in copies for array in arrays}

    def _copies(self) -> Iterable[Copy]:
        count = len(self._numbers_of_one)
        for k, suffix in enumerate(self._unrolled.copies):
            totals = tuple(f"{array.name}{suffix}_total" for array in self._sums_of_one)
            if self._network.by_stage:
                rows = f"number, {k * count} : {(k + 1) * count}"
                yield Copy(suffix, f"number, {k}", f"number, {k} : {k + 1}", totals, rows)
            else:
                yield Copy(suffix, "number", "number : number + 1", totals, "number")

    def _prepare(self, functions: list[FunctionView]) -> tuple[tuple[str, ...], str]:
        """The calls of ``prepare`` for each copy of the controls, and that for one of them.

        Its arrays are matrices of the block.
        """
        prepare = self._network.prepare
        if not prepare.lines:
            return (), ""
        functions.append(
            self._arrays.function("prepare", "What depends on the controls alone.", prepare)
        )
        targets = self._arrays.targets(prepare)
        own = {array.name for array in self._product.given}

        def call(suffix: str) -> str:
            self._matrices.update({f"{array.name}{suffix}": array for array in targets})
            arguments = [
                array.name if array.name in own else f"{array.name}{suffix}"
                for array in (*prepare.inputs, *targets)
            ]
            scalars = [f"{array.name}{suffix}" for array in self._arrays.returned(prepare)]
            text = f"prepare({', '.join(arguments)})"
            return f"{', '.join(scalars)} = {text}" if scalars else text

        return tuple(map(call, self._unrolled.copies)), call("")

    # --- statements

    def _forward(self) -> Iterable[str]:
        """The lines of a layer."""
        return self._statements(self._unrolled.forward)

    def _backward(self) -> Iterable[str]:
        """The lines of a layer's adjoint."""
        return self._statements((*self._values, *self._unrolled.backward))

    def _layer_functions(self) -> Iterable[FunctionView]:
        """Further functions that those lines call."""
        return ()

    def _statements(self, statements: Sequence[Statement]) -> Iterable[str]:
        for statement in statements:
            if isinstance(statement, Solve):
                yield from (
                    self._solve(statement) if statement.slopes else self._solve_back(statement)
                )
            else:
                yield from self._simple(statement)
                yield from self._sums(statement)

    def _simple(self, statement: Combination | Call) -> Iterable[str]:
        if isinstance(statement, Combination):
            yield self._combination(statement)
        else:
            yield self._call(statement)

    def _combination(self, statement: Combination) -> str:
        self._buffer(statement.target, statement.shape)
        terms = []
        for term in statement.terms:
            terms += [" * ".join(factors_of(term)) or "1.0", term.array]
        if not terms:
            return f"{statement.target}[:] = 0"
        self._terms.add(len(terms) // 2)
        return f"weighted_{len(terms) // 2}({', '.join([*terms, statement.target])})"

    def _buffer(self, name: str, array: Array) -> None:
        """Note a batched array of a block that is neither kept nor an end."""
        ends = {f"{state.name}_end" for state in self._states}
        ends |= {f"{self._unrolled.end_costate(k)}_start" for k in range(len(self._states))}
        if name not in self._kept and name not in ends:
            self._scratch[name] = array

    def _call(self, call: Call) -> str:
        part = self._network.parts[call.part]
        function: Function = getattr(part, call.function)
        arguments = self._inputs(function, call)
        named = self._result_names(part, function, call)
        for array in self._arrays.targets(function):
            name = named.get(array.name, array.name)
            arguments.append(name)
            if array.batched:
                self._buffer(name, array)
            else:
                self._matrices[name] = array
        partial = self._views[call.part, call.function].arguments[len(arguments) :]
        self._matrices |= {name: self._arrays.partial[name] for name in partial}
        arguments += partial
        text = f"{call.function}{self._marks[call.part]}({', '.join(arguments)})"
        scalars = [
            named.get(output.name, output.name) for output in self._arrays.returned(function)
        ]
        return f"{', '.join(scalars)} = {text}" if scalars else text

    def _result_names(self, part: LayerPart, function: Function, call: Call) -> dict[str, str]:
        """What the results of a call are called here; what is passed on needs no stage."""
        results = [array for _, array in function.results]
        if call.function == "rate":
            results += [array for array in part.kept if array != results[0]]
        named = dict(zip((array.name for array in results), call.results, strict=False))
        return {name: text for name, text in named.items() if text}

    def _inputs(self, function: Function, call: Call) -> list[str]:
        part = self._network.parts[call.part]
        returned = {array for _, array in part.states.results}
        passed = {array.name for array in part.passed if array not in returned}
        inputs = []
        for array, name in zip(function.inputs, call.arguments, strict=True):
            if array.name == "t":
                inputs.append(moment(call.clock_name, call.clock.value))
            elif array.name in passed:
                inputs.append(array.name)
            else:
                inputs.append(name)
        return inputs

    def _sums(self, statement: Combination | Call) -> Iterable[str]:
        """After the costates of a stage: what is summed over samples, and over stages."""
        if not isinstance(statement, Call) or statement.function != "states":
            return
        part, number, stage = self._network.parts[statement.part], statement.part, statement.stage
        w, k = self._unrolled.costate(number, stage), self._unrolled.rate(number, stage)
        yield "if with_steps:"
        yield f"    h_bar += layer_kernels.all_products({w}, {k})"
        for name, node in self._unrolled.time_bars():
            if (node.part, node.stage) == (number, stage):
                clock = statement.clock
                if clock.value:
                    factor = "" if clock.value == 1 else f"{statement.clock_name} * "
                    yield f"h_bar += h * {factor}{name}"
                yield f"t_bar += h * {name}"
        if not part.shared.results:
            return
        yield self._shared(part, self._shared_call(statement))

    def _shared_call(self, call: Call) -> Call:
        """The call of ``shared`` after that of ``states``."""
        inputs = self._network.parts[call.part].shared.inputs
        arguments = tuple(self._unrolled.name_at(a, call.part, call.stage) for a in inputs)
        sums = self._network.parts[call.part].shared.results
        results = tuple(self._unrolled.copy(array, call.stage) for _, array in sums)
        return replace(call, function="shared", arguments=arguments, results=results)

    def _shared(self, part: LayerPart, call: Call) -> str:
        """The call that adds to the totals of a layer."""
        view = self._views[call.part, "shared"]
        inputs = self._inputs(part.shared, call)
        rest = [*view.arguments[len(inputs) :]]
        named = self._result_names(part, part.shared, call)
        arrays = {line.target.name: line.target for line in part.shared.lines}
        arrays |= {array.name: array for _, array in part.shared.results}
        for place, name in enumerate(rest):
            array = arrays[name.removesuffix("_total").removesuffix("_partial")]
            if name.endswith("_total"):
                rest[place] = f"{named[array.name]}_total"
            elif array.batched:
                self._buffer(name, array)
            else:
                self._matrices[name] = array
        text = f"shared{self._marks[call.part]}({', '.join([*inputs, *rest])})"
        targets = [named[array.name] for array in self._arrays.returned(part.shared)]
        if not targets:
            return text
        if len(targets) == 1:
            return f"{targets[0]} += {text}"
        fresh = ", ".join(f"{name}_now" for name in targets)
        return "\n        ".join(
            [f"{fresh} = {text}", *(f"{name} += {name}_now" for name in targets)]
        )

    # --- stages that determine each other

    def _solve(self, solve: Solve) -> Iterable[str]:
        unknowns = [name for name, _ in solve.unknowns]
        for name, array in solve.unknowns:
            for suffix in ("_new", "_dot", "_slope"):
                self._buffer(f"{name}{suffix}", array)
        yield f"unknowns, fresh = {tuple_text(unknowns)}, {tuple_text(solve.fresh)}"
        yield f"dots = {tuple_text(f'{name}_dot' for name in unknowns)}"
        yield f"slopes = {tuple_text(f'{name}_slope' for name in unknowns)}"
        yield "stage_systems.clear(unknowns)"
        # near a rest point right-hand sides are no more exact than the states are over a step
        states = ", ".join(f"stage_systems.largest({state.name})" for state in self._states)
        yield f"reach = {f'max({states})' if len(self._states) > 1 else states} / abs(h)"
        yield "before, size, change = np.inf, 0.0, np.inf"
        yield "for iteration in range(stage_systems.ITERATIONS):"
        for statement in solve.body:
            yield from (f"    {line}" for line in self._simple(statement))
        yield "    if iteration < 2 or not change <= stage_systems.CONTRACTION * before:"
        yield "        for column in range(systems.shape[1]):"
        yield "            stage_systems.unit(dots, column)"
        for statement in solve.slopes:
            yield from (f"            {line}" for line in self._simple(statement))
        yield "            stage_systems.set_column(systems, slopes, column)"
        yield "        stage_systems.factored_all(systems, pivots)"
        yield "    before = change"
        yield "    change, size = stage_systems.corrected(systems, pivots, rights, unknowns, fresh)"
        yield "    size += reach"
        yield f"    if change <= 4 * stage_systems.epsilon({unknowns[0]}) * size:"
        yield "        break"
        yield "if not change <= 1e3 * stage_systems.epsilon(unknowns[0]) * size:"
        yield "    return number"
        for statement in solve.after:
            yield from self._simple(statement)

    def _solve_back(self, solve: Solve) -> Iterable[str]:
        unknowns = [name for name, _ in solve.unknowns]
        for name, array in solve.unknowns:
            for suffix in ("", "_new", "_offset"):
                self._buffer(f"{name}{suffix}", array)
        yield f"unknowns, fresh = {tuple_text(unknowns)}, {tuple_text(solve.fresh)}"
        yield f"offsets = {tuple_text(f'{name}_offset' for name in unknowns)}"
        yield "stage_systems.clear(unknowns)"
        for statement in solve.body:
            yield from self._simple(statement)
        yield "stage_systems.set_all(offsets, fresh)"
        yield "for column in range(systems.shape[1]):"
        yield "    stage_systems.unit(unknowns, column)"
        for statement in solve.body:
            yield from (f"    {line}" for line in self._simple(statement))
        yield "    stage_systems.less(fresh, offsets)"
        yield "    stage_systems.set_column(systems, fresh, column)"
        yield "stage_systems.factored_all(systems, pivots)"
        yield "stage_systems.clear(unknowns)"
        yield "for refinement in range(2):"
        for statement in solve.body:
            yield from (f"    {line}" for line in self._simple(statement))
        yield "    stage_systems.corrected(systems, pivots, rights, unknowns, fresh)"
        for statement in solve.after:
            yield from self._simple(statement)
            yield from self._sums(statement)

    # --- the end

    def _finish(self) -> Iterable[str]:
        """The lines that make gradients of the sums of a layer."""
        finish = self._network.finish
        arrays = {array.name: array for array in finish.inputs}
        for line in finish.lines:
            arrays[line.target.name] = line.target
            if not line.target.is_scalar:
                self._matrices[line.target.name] = line.target
            yield from self._arrays.line(line, arrays)


def factors_of(term: Term) -> list[str]:
    """What the array of a term is multiplied by; nothing for 1."""
    named = bool(term.name) and term.coefficient.value != 1
    return ["h"] * term.stepped + [term.name] * named


def _table(arrays: dict[str, Array]) -> str:
    entries = ", ".join(f'"{name}": {array.shape!r}' for name, array in arrays.items())
    return f"{{{entries}}}"
