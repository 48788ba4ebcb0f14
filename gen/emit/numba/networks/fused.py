"""Layers of few numbers: every entry of a state is a local variable of one loop over the samples.

In: a network product whose dimensions are small numbers.  Out: the same view as for any size, with
loops for each stage forwards and one loop for the whole layer back, in which the sums over samples
are taken as well.  A layer keeps its right-hand sides only; values of stages are cheap.  Forwards
there is a loop for each row that is kept, where few rows are read in it: so few that compilers ask
before the loop whether they overlap, and compute many samples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product as indices

from hamilforge.gen.derive.arrays import Array, Entry, Outer, Product, Stack, Transpose
from hamilforge.gen.emit.numba.arrays import EntryPrinter, FunctionView
from hamilforge.gen.emit.numba.networks.network_writer import NetworkWriter, factors_of
from hamilforge.gen.emit.products.network import NetworkProduct
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import moment
from hamilforge.gen.program.ir import Apply, Function, Line, Reduce, Ref, names, parts
from hamilforge.gen.program.networks.unroll import Call, Combination, Statement, Term

#: Entries of all controls of a layer up to which their sums stay in registers.
MOST = 32
#: Rows read in a loop that fills one, up to which LLVM asks whether they overlap with it.
ASKED = 8
#: Operations that are no function to evaluate.
ARITHMETIC = frozenset(("add", "mul", "neg", "div", "pow"))
_FORWARD = '**INNER, fastmath={"contract"}'
_BACKWARD = '**INNER, fastmath={"contract", "reassoc", "nsz"}'
Index = tuple[int, ...]
#: What an entry of an array is called, by its name and indices.
At = Callable[..., str]


@dataclass(frozen=True, slots=True)
class _Assignment:
    """A line of a loop that sets an entry or adds to it.

    Attributes:
        name: of the entry.
        text: the line.
        reads: the entries in it.
        evaluates: whether a function is evaluated.
        is_row: whether the entry is read from a row.
    """

    name: str
    text: str
    reads: frozenset[str] = frozenset()
    evaluates: bool = False
    is_row: bool = False


def fits(product: NetworkProduct) -> bool:
    """Whether the layers of a product are small, explicit, and sums end in the gradients."""
    network = product.network
    copies = network.step.count if network.by_stage else 1
    arrays = [*network.controls * copies, *(part.state for part in network.parts)]
    if not all(dimension.isdigit() for array in arrays for dimension in array.shape):
        return False
    if sum(len(_indices(array)) for array in arrays) > MOST:
        return False
    if any(block.implicit for block in network.step.blocks):
        return False
    functions = (f for part in network.parts for f in (part.states, part.shared))
    return all(_sums_end(function) for function in functions)


def _sums_end(function: Function) -> bool:
    """Whether nothing is computed from a sum over samples, and each sum is computed here."""
    sums = {line.target.name for line in function.lines if _is_sum(line)}
    computed = {line.target for line in function.lines}
    results = [array for key, array in function.results if key != "t"]
    return all(not sums & {*names(line.value)} for line in function.lines) and (
        function.name != "shared" or all(array in computed for array in results)
    )


def _is_sum(line: Line) -> bool:
    match line.value:
        case Outer() | Reduce(over="samples"):
            return True
    return False


def _indices(array: Array) -> list[Index]:
    return [*indices(*(range(int(dimension)) for dimension in array.shape))]


def _entry(name: str, index: Index) -> str:
    """What an entry is called; no declared name has two underscores in a row."""
    return f"{name}__{'_'.join(str(i + 1) for i in index) or 'value'}"


class FusedWriter(NetworkWriter):
    """The view of a network with few numbers in a layer."""

    def __init__(self, product: NetworkProduct) -> None:
        super().__init__(product)
        self._stages: list[FunctionView] = []
        prepared = [line.target for line in self._network.prepare.lines]
        #: What is given to every loop, by name: arrays that all samples share.
        self._shared_inputs = {
            **self._of_all(self._network.controls),
            **{array.name: array for array in product.given},
            **self._of_all(prepared),
        }
        #: Batched arrays that are given to loops, or that they fill.
        self._rows = {state.name: state for state in self._states} | self._kept
        self._rows |= {
            f"{self._unrolled.end_costate(k)}{end}": state
            for k, state in enumerate(self._states)
            for end in ("", "_start")
        }
        self._rows |= {f"{state.name}_end": state for state in self._states}

    def _names(self, _: object) -> Iterable[str]:
        return ()

    def _layer_functions(self) -> Iterable[FunctionView]:
        return self._stages

    # --- loops

    def _forward(self) -> Iterable[str]:
        """A loop for each right-hand side; that of the last one sets the end of the layer too."""
        sums = [
            statement for statement in self._unrolled.forward if isinstance(statement, Combination)
        ]
        calls = [statement for statement in self._unrolled.forward if isinstance(statement, Call)]
        if len(sums) + len(calls) < len(self._unrolled.forward):
            raise NotImplementedError("numba: stages that are solved for in one loop")
        values = {combination.target: combination for combination in sums}
        ends = [values[f"{state.name}_end"] for state in self._states]
        for call in calls:
            loop = _Loop(self)
            for argument in call.arguments:
                if argument in values:
                    loop.combination(values[argument])
            loop.call(call)
            kept = [name for name in call.results if name]
            doc = f"The right-hand side {call.results[0]} of every sample."
            if call is calls[-1]:
                for end in ends:
                    loop.combination(end)
                kept += [end.target for end in ends]
                doc = f"{doc[:-1]}, and the end of the layer."
            loop.keep(kept)
            loop.part()
            yield self._call_of(loop, f"set_{call.results[0]}", doc, _FORWARD)

    def _backward(self) -> Iterable[str]:
        loop = _Loop(self)
        for value in self._values:
            loop.combination(value)
        for statement in self._unrolled.backward:
            loop.statement(statement)
        starts = [f"{self._unrolled.end_costate(k)}_start" for k in range(len(self._states))]
        loop.keep(starts)
        numbers = [name for name in self._of_all(self._numbers_of_one) if name in loop.totals]
        returned = ["h_bar", *(name for name, _ in self._unrolled.time_bars()), *numbers]
        loop.returned = tuple(_entry(name, ()) for name in returned)
        # no declared name has two underscores in a row
        targets = ["h_bar__now", *returned[1 : len(returned) - len(numbers)]]
        targets += [f"{name}__now" for name in numbers]
        call = self._call_of(loop, "layer_back", "The adjoint of a layer.", _BACKWARD)
        yield f"{', '.join(targets)} = {call}"
        yield "if with_steps:"
        yield "    h_bar += h_bar__now"
        for name, node in self._unrolled.time_bars():
            clock = self._network.step.nodes[node.part][node.stage]
            if clock.value:
                factor = "" if clock.value == 1 else f"C{node.part or ''}_{node.stage + 1} * "
                yield f"    h_bar += h * {factor}{name}"
            yield f"    t_bar += h * {name}"
        yield from (f"{name} += {name}__now" for name in numbers)

    def _call_of(self, loop: _Loop, name: str, doc: str, options: str) -> str:
        """A call of a loop's function, which is noted."""
        arguments = loop.arguments()
        self._stages.append(FunctionView(name, tuple(arguments), doc, loop.lines(), options))
        return f"{name}({', '.join(arguments)})"

    # --- what a loop asks

    def environment(self, call: Call, function: Function) -> dict[str, str]:
        """What the arrays of a function are called at a stage, where it is another name."""
        part = self._network.parts[call.part]
        renamed = dict(
            zip((a.name for a in function.inputs), self._inputs(function, call), strict=True)
        )
        renamed.pop("t", None)
        return renamed | self._result_names(part, function, call)

    @property
    def need(self) -> Requirements:
        """Notes what the texts use."""
        return self._need

    def given(self, name: str) -> Array | None:
        """An array that all samples share."""
        return self._shared_inputs.get(name)

    def row(self, name: str) -> Array | None:
        """A batched array that a loop reads or fills."""
        return self._rows.get(name)

    def function(self, call: Call, name: str) -> Function:
        """A function of the part that a call belongs to."""
        function: Function = getattr(self._network.parts[call.part], name)
        return function

    def sums_of(self, call: Call) -> tuple[Call, str, str, Array]:
        """The call of ``shared`` after that of ``states``; w, k, and the array of their shape."""
        part, stage = call.part, call.stage
        w, k = self._unrolled.costate(part, stage), self._unrolled.rate(part, stage)
        return self._shared_call(call), w, k, self._network.parts[part].state


class _Loop:
    """The body of a loop over samples, and what it needs around it."""

    def __init__(self, writer: NetworkWriter) -> None:
        assert isinstance(writer, FusedWriter)
        self._writer = writer
        self._need = writer.need
        self._casts = False
        #: What of the clock is read: t and h.
        self._clock: set[str] = set()
        self._body: list[_Assignment] = []
        #: Of the assignment that is written next.
        self._reads: set[str] = set()
        self._evaluates = False
        self._weights: dict[str, str] = {}
        self._numbers: dict[str, str] = {}
        self._moments: dict[str, str] = {}
        self._kept: list[str] = []
        #: Rows that are filled, by the entry that they have.
        self._stored: dict[str, str] = {}
        self._parts = False
        self._computed: set[str] = set()
        #: Entries that occur: their arrays and indices.
        self._entries: dict[str, tuple[str, Index]] = {}
        self._sums: dict[str, None] = {}
        #: Sums of a layer by the array they are.
        self.totals: dict[str, Array] = {}
        #: Sums that the function returns.
        self.returned: tuple[str, ...] = ()

    # --- statements

    def statement(self, statement: Statement) -> None:
        """A statement of the way back."""
        if isinstance(statement, Combination):
            self.combination(statement)
        elif isinstance(statement, Call):
            self.call(statement)
            self._add_sums(statement)
        else:
            raise NotImplementedError("numba: stages that determine each other in one loop")

    def combination(self, statement: Combination) -> None:
        """A sum of arrays."""
        for index in _indices(statement.shape):
            terms = [self._term(term, index) for term in statement.terms]
            self._set(self._entry(statement.target, index), " + ".join(terms) or self._kind("0.0"))

    def _term(self, term: Term, index: Index) -> str:
        entry = self._entry(term.array, index)
        factors = factors_of(term)
        if not factors:
            return entry
        weight = "_times_".join(factors) + "__value"
        self._weights[weight] = " * ".join(factors)
        self._clock |= {"h"} & {*factors}
        return f"{weight} * {entry}"

    def call(self, call: Call) -> None:
        """The lines of a function at a stage."""
        function = self._writer.function(call, call.function)
        self._lines(call, function)

    def _lines(self, call: Call, function: Function) -> None:
        renamed = self._writer.environment(call, function)
        arrays = {array.name: array for array in function.inputs}
        for line in function.lines:
            arrays[line.target.name] = line.target
            self._line(call, line, arrays, renamed)

    def _add_sums(self, call: Call) -> None:
        """What is summed over samples and stages."""
        shared, w, k, shape = self._writer.sums_of(call)
        for index in _indices(shape):
            self._add(
                self._entry("h_bar", ()), f"{self._entry(w, index)} * {self._entry(k, index)}"
            )
        function = self._writer.function(call, "shared")
        self._lines(shared, function)
        results = (array for _, array in function.results)
        self.totals |= dict(zip(shared.results, results, strict=True))

    def keep(self, results: Iterable[str]) -> None:
        """Write arrays in the end."""
        for name in results:
            array = self._writer.row(name)
            if array is None:
                raise NotImplementedError(f"numba: '{name}' is kept by no layer")
            for index in _indices(array):
                row = index[0] if index else 0
                self._stored[self._entry(name, index)] = f"{name}[{row}, n]"
            self._kept.append(name)

    def part(self) -> None:
        """Fill each row in a loop of its own, if that is possible and of use."""
        self._parts = True

    # --- lines

    def _line(
        self, call: Call, line: Line, arrays: Mapping[str, Array], renamed: Mapping[str, str]
    ) -> None:
        """One line, entry by entry."""

        def at(name: str, *index: int) -> str:
            if name == "t":
                clock = f"t_{call.stage + 1}" + ("" if not call.part else f"_{call.part}")
                self._moments[self._entry(clock, ())] = moment(call.clock_name, call.clock.value)
                self._clock |= {"t", "h"} if call.clock.value else {"t"}
                return self._entry(clock, ())
            return self._entry(renamed.get(name, name), index)

        target = line.target
        for index in _indices(target):
            out = at(target.name, *index)
            if _is_sum(line):
                for text in self._summand(line, index, at):
                    self._add(out, text)
            else:
                self._set(out, self._value(line, index, arrays, at))

    def _summand(self, line: Line, index: Index, at: At) -> Iterator[str]:
        match line.value:
            case Outer(left, right):
                yield f"{at(left, index[0])} * {at(right, index[1])}"
            case Reduce(arg=Ref(name=of), over="samples"):
                yield at(of, *index)

    def _value(self, line: Line, index: Index, arrays: Mapping[str, Array], at: At) -> str:
        match line.value:
            case Product(left, right, left_transposed, right_transposed):
                inner = int(arrays[left].shape[0 if left_transposed else 1])
                lefts = [(k, index[0]) if left_transposed else (index[0], k) for k in range(inner)]
                rights: list[Index] = [(k, *index[1:]) for k in range(inner)]
                if right_transposed:
                    rights = [right_index[::-1] for right_index in rights]
                pairs = zip(lefts, rights, strict=True)
                return " + ".join(
                    f"{at(left, *left_index)} * {at(right, *right_index)}"
                    for left_index, right_index in pairs
                )
            case Transpose(of):
                return at(of, *index[::-1])
            case Entry(of, place):
                return at(of, place)
            case Stack(of):
                name = of[index[0]]
                return at(name) if name else self._kind("0.0")
            case Reduce(arg=Ref(name=of), how="sum", over="entries"):
                return " + ".join(at(of, *each) for each in _indices(arrays[of]))
            case Reduce(arg=Ref(name=of), how="logsumexp"):
                self._evaluates = True
                entries = [at(of, *each) for each in _indices(arrays[of])]
                largest = f"max({', '.join(entries)})" if len(entries) > 1 else entries[0]
                exp = self._need("vector_math.exp")
                powers = " + ".join(f"{exp}({entry} - {largest})" for entry in entries)
                return f"{largest} + np.log({powers})"
            case value:
                read = {
                    name: at(name, *(index if arrays[name].shape else ())) for name in names(value)
                }
                printer = EntryPrinter(read, self._need)
                text = printer(value)
                self._numbers |= printer.numbers
                self._evaluates = any(
                    isinstance(part, Apply) and part.op not in ARITHMETIC for part in parts(value)
                )
                return text

    def _entry(self, name: str, index: Index) -> str:
        entry = _entry(name, index)
        self._entries[entry] = (name, index)
        self._reads.add(entry)
        return entry

    def _kind(self, text: str) -> str:
        """A number in the type of the arrays."""
        self._casts = True
        return f"kind__({text})"

    def _set(self, name: str, text: str) -> None:
        self._assign(name, f"{name} = {text}")

    def _add(self, name: str, text: str) -> None:
        self._sums[name] = None
        self._assign(name, f"{name} += {text}")

    def _assign(self, name: str, text: str) -> None:
        self._computed.add(name)
        reads = frozenset(self._reads | {name})
        self._body.append(_Assignment(name, text, reads, self._evaluates))
        self._reads, self._evaluates = set(), False

    # --- the function

    def _loads(self) -> Iterator[tuple[str, str, Index]]:
        """Entries that are given: their names, arrays and indices."""
        for entry, (name, index) in self._entries.items():
            if entry not in self._computed and entry not in self._moments:
                yield entry, name, index

    def arguments(self) -> list[str]:
        """The names of what the function is given."""
        read = dict.fromkeys(base for _, base, _ in self._loads())
        clock = [name for name in ("t", "h") if name in self._clock]
        totals = [f"{name}_total" for name, array in self.totals.items() if not array.is_scalar]
        return [*clock, *dict.fromkeys([*read, *self._kept]), *totals]

    def lines(self) -> tuple[str, ...]:
        """The finished lines of the function."""
        size = next(name for name in self._kept)
        before = [f"{name} = {self._kind(text)}" for name, text in sorted(self._moments.items())]
        before += [f"{name} = {self._kind(text)}" for name, text in self._weights.items()]
        before += [f"{name} = {self._kind(text)}" for name, text in self._numbers.items()]
        inside: list[_Assignment] = []
        for entry, base, index in self._loads():
            array = self._writer.given(base)
            if array is None:
                row = f"{base}[{index[0] if index else 0}, n]"
                inside.append(_Assignment(entry, f"{entry} = {row}", is_row=True))
            elif array.shape:
                before.append(f"{entry} = {base}[{', '.join(map(str, index))}]")
            else:
                before.append(f"{entry} = {self._kind(base)}")
        before += [f"{name} = {self._kind('0.0')}" for name in self._sums]
        if self._casts:
            before.insert(0, f"kind__ = {size}.dtype.type")
        after = [
            f"{name}_total[{', '.join(map(str, index))}] += {self._entry(name, index)}"
            for name, array in self.totals.items()
            if not array.is_scalar
            for index in _indices(array)
        ]
        if self.returned:
            after.append(f"return {', '.join(self.returned)}")
        head = f"for n in range({size}.shape[1]):"
        loops = self._row_by_row(inside) if self._parts else None
        if loops is None:
            stores = [f"{row} = {entry}" for entry, row in self._stored.items()]
            loops = [[*(line.text for line in (*inside, *self._body)), *stores]]
        texts = [text for loop in loops for text in (head, *(f"    {line}" for line in loop))]
        return (*before, *texts, *after)

    def _row_by_row(self, loads: Sequence[_Assignment]) -> list[list[str]] | None:
        """A loop for each row that is filled, in the order in which they are computed.

        Args:
            loads: entries that are read from rows.

        Returns:
            The lines of each loop, which reads the rows that those before it have filled; None
            where too many rows would be read in one, or a function evaluated in two.
        """
        found: list[list[str]] = []
        filled: dict[str, _Assignment] = {}
        evaluated: set[str] = set()
        for entry in dict.fromkeys(line.name for line in self._body if line.name in self._stored):
            wanted, lines, rows = {entry}, [], 0
            for line in reversed([*loads, *filled.values(), *self._body]):
                # a row that is filled is read, and not computed again
                if line.name not in wanted or filled.get(line.name, line) is not line:
                    continue
                wanted |= line.reads
                lines.append(line.text)
                rows += line.is_row
                if line.evaluates:
                    if line.name in evaluated:
                        return None
                    evaluated.add(line.name)
            if rows > ASKED:
                return None
            row = self._stored[entry]
            found.append([*reversed(lines), f"{row} = {entry}"])
            filled[entry] = _Assignment(entry, f"{entry} = {row}", is_row=True)
        return found
