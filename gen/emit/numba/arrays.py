"""Functions over arrays as numba prints them: loops along the samples, buffers given.

In: straight-line functions over arrays.  Out: finished lines.  Batched arrays are
`(size, samples)`; scalars that all samples share are plain numbers; every other array is written
into a buffer that is an argument, so that nothing is allocated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    Epsilon,
    Identity,
    MatrixCall,
    OtherProducts,
    Outer,
    Product,
    Shift,
    Size,
    Stack,
    Transpose,
)
from hamilforge.gen.emit.numba.printer import VECTORISED, NumbaPrinter
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.ir import Expr, Function, Line, Reduce, Ref, Repeat, names


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function: its arguments, its lines, and how it is compiled."""

    name: str
    arguments: tuple[str, ...]
    doc: str
    lines: tuple[str, ...]
    options: str = "**INNER"


class EntryPrinter(NumbaPrinter):
    """An entry of an array; numbers by names of the array's type."""

    quotients = False
    functions: ClassVar[Mapping[str, str]] = {**NumbaPrinter.functions, **VECTORISED}

    def __init__(self, rename: Mapping[str, str], need: Requirements | None = None) -> None:
        super().__init__(rename, need)
        self.numbers: dict[str, str] = {}

    def number(self, value: Fraction) -> str:
        """A number of the array's type, by a name."""
        name = f"number_{abs(value.numerator)}"
        text = f"{float(abs(value))!r}"
        if value.denominator != 1:
            name += f"_over_{value.denominator}"
        self.numbers[name] = text
        return f"-{name}" if value < 0 else name

    def constant(self, op: str) -> str:
        """A constant of the array's type, by a name."""
        self.numbers[f"number_{op}"] = super().constant(op)
        return f"number_{op}"


def scalar_lines(name: str, value: Expr, need: Requirements) -> list[str]:
    """The lines that set a scalar, its numbers in front.

    Args:
        name: of the scalar.
        value: in scalars.
        need: notes what the text uses.

    Returns:
        The lines.
    """
    printer = EntryPrinter({}, need)
    text = printer(value)
    return [*(f"{own} = {number}" for own, number in printer.numbers.items()), f"{name} = {text}"]


class ArrayWriter:
    """Functions over arrays; the elementwise loops that they call are collected once.

    Args:
        need: notes what the texts use.
        mark: what the names of these loops begin with after ``set_``, so that those of two writers
            differ.
    """

    def __init__(self, need: Requirements, mark: str = "") -> None:
        self._need, self._mark = need, mark
        self.loops: dict[str, FunctionView] = {}
        #: Buffers for the matrices of sums that BLAS cannot add to, by the array they are for.
        self.partial: dict[str, Array] = {}
        self._partial_now: list[str] = []

    def _kernel(self, name: str, arguments: str, module: str = "layer_kernels") -> str:
        """The call of a kernel of the runtime."""
        return f"{self._need(f'{module}.{name}')}({arguments})"

    def targets(self, function: Function) -> list[Array]:
        """The buffers that a function is given, in order."""
        return [line.target for line in function.lines if not line.target.is_scalar]

    def returned(self, function: Function) -> list[Array]:
        """The scalars that a function returns."""
        return list(dict.fromkeys(array for _, array in function.results if array.is_scalar))

    def function(self, name: str, doc: str, function: Function) -> FunctionView:
        """A function that fills its buffers and returns its scalars.

        Args:
            name: of the function.
            doc: its docstring.
            function: what is written.

        Returns:
            The view; its arguments are the inputs, then buffers for the arrays that are computed.
            Scalars among the results are returned.
        """
        arrays = {array.name: array for array in function.inputs}
        lines: list[str] = []
        self._partial_now = []
        for line in function.lines:
            arrays[line.target.name] = line.target
            lines += self.line(line, arrays)
        arguments = [array.name for array in (*function.inputs, *self.targets(function))]
        arguments += self._partial_now
        return FunctionView(
            name,
            tuple(arguments),
            doc,
            (*lines, *self._returns(self.returned(function))),
        )

    def _returns(self, scalars: Sequence[Array]) -> Iterable[str]:
        if scalars:
            yield f"return {', '.join(array.name for array in scalars)}"

    def summing(self, name: str, doc: str, function: Function) -> FunctionView:
        """A function that adds its results to arrays called ``<name>_total``.

        Args:
            name: of the function.
            doc: its docstring.
            function: what is written.

        Returns:
            The view; its arguments are the inputs, then the buffers, then the totals. Scalars among
            the results are returned.
        """
        arrays = {array.name: array for array in function.inputs}
        results = {array for _, array in function.results}
        used = {name for line in function.lines for name in names(line.value)}
        lines: list[str] = []
        buffers: list[str] = []
        totals: list[str] = []
        self._partial_now = []
        for line in function.lines:
            target = line.target
            arrays[target.name] = target
            text = target.name
            if target.is_scalar:
                lines += self.line(line, arrays)
                continue
            if target in results:
                totals.append(f"{text}_total")
            if target in results and target.name not in used:
                match line.value:
                    case Outer(left, right) if arrays[left].batched:
                        self.partial[f"{text}_partial"] = target
                        buffers.append(f"{text}_partial")
                        arguments = f"{left}, {right}, {text}_partial, {text}_total"
                        lines.append(self._kernel("add_outer", f"{arguments}"))
                        continue
                    case Reduce(arg=Ref(name=of), over="samples"):
                        lines.append(self._kernel("add_rows", f"{of}, {text}_total"))
                        continue
            buffers.append(text)
            lines += self.line(line, arrays)
            if target in results:
                lines.append(self._kernel("add_all", f"{text}, {text}_total"))
        computed = {line.target for line in function.lines}
        for array in dict.fromkeys(a for _, a in function.results if a not in computed):
            text = array.name
            if not array.is_scalar:
                totals.append(f"{text}_total")
                lines.append(self._kernel("add_all", f"{text}, {text}_total"))
        inputs = [array.name for array in function.inputs]
        return FunctionView(
            name,
            (*inputs, *buffers, *self._partial_now, *totals),
            doc,
            (*lines, *self._returns(self.returned(function))),
        )

    def line(self, line: Line, arrays: Mapping[str, Array]) -> list[str]:
        """One line."""
        out, target = line.target.name, line.target
        match line.value:
            case Product(left, right, left_transposed, right_transposed):
                if arrays[right].batched:
                    kernel = "times_transposed" if left_transposed else "times"
                    return [self._kernel(kernel, f"{left}, {right}, {out}")]
                marks = (".T" if left_transposed else "", ".T" if right_transposed else "")
                return [f"np.dot({left}{marks[0]}, {right}{marks[1]}, {out})"]
            case Outer(left, right):
                if not arrays[left].batched:
                    return [self._kernel("outer", f"{left}, {right}, {out}", "array_kernels")]
                self.partial[f"{out}_partial"] = target
                self._partial_now.append(f"{out}_partial")
                return [
                    f"{out}[:] = 0",
                    self._kernel("add_outer", f"{left}, {right}, {out}_partial, {out}"),
                ]
            case Transpose(of):
                return [self._kernel("transposed", f"{of}, {out}", "array_kernels")]
            case Entry(of, place):
                if target.batched:
                    return [self._kernel("copied", f"{of}[{place} : {place + 1}], {out}")]
                return [f"{out} = {of}[{place}]"]
            case Stack(of):
                row = f"{out}[{{}}]"
                return [
                    f"{row.format(place)} = {self._entry_of(name, arrays)}"
                    for place, name in enumerate(of)
                ]
            case Shift(of, by):
                return [self._kernel("shifted", f"{of}, {by}, {out}", "array_kernels")]
            case OtherProducts(of):
                return [self._kernel("other_products", f"{of}, {out}", "array_kernels")]
            case Reduce(arg=Ref(name=of), how="prod") if not target.batched:
                return [f"{out} = {of}.prod()"]
            case Reduce(arg=Ref(name=of), how="sum", over="entries"):
                if target.batched:
                    return [self._kernel("entry_sums", f"{of}, {out}")]
                return [f"{out} = {of}.sum()"]
            case Reduce(arg=Ref(name=of), how="logsumexp") if target.batched:
                return [self._kernel("log_sums", f"{of}, {out}")]
            case Reduce(arg=Ref(name=of), how="logsumexp"):
                return [f"{out} = {of}.max() + np.log(np.exp({of} - {of}.max()).sum())"]
            case Reduce(arg=Ref(name=of), over="samples"):
                if target.is_scalar:
                    return [f"{out} = {self._kernel('all_sum', of)}"]
                return [f"{out}[:] = 0", self._kernel("add_rows", f"{of}, {out}")]
            case MatrixCall() | Identity() | Size() | Epsilon() | Repeat():
                raise NotImplementedError(f"numba: {type(line.value).__name__} with buffers")
            case value:
                return self._elementwise(line, value, [arrays[name] for name in names(value)])

    @staticmethod
    def _entry_of(name: str, arrays: Mapping[str, Array]) -> str:
        """What an entry of a vector is set to: a scalar, one for each sample, or nothing."""
        if not name:
            return "0.0"
        return f"{name}[0]" if arrays[name].batched else name

    def _elementwise(self, line: Line, value: Expr, read: Sequence[Array]) -> list[str]:
        """A scalar, or the call of a loop."""
        if line.target.is_scalar:
            return scalar_lines(line.name, value, self._need)
        loop = self._loop(line, value, read)
        return [f"{loop}({', '.join([*(array.name for array in read), line.name])})"]

    def _loop(self, line: Line, value: Expr, read: Sequence[Array]) -> str:
        """The loop of an elementwise line, printed once."""
        target = line.target
        name = f"set_{self._mark}{target.name}"
        printer = EntryPrinter({array.name: f"{array.name}_n" for array in read}, self._need)
        text = printer(value)
        arguments = [array.name for array in read]
        lines = [f"{number} = out.dtype.type({v})" for number, v in printer.numbers.items()]
        for array in read:
            own = array.name
            if array.is_scalar:
                lines.append(f"{own}_n = out.dtype.type({own})")
        if target.batched and all(
            array.is_scalar or (array.batched and array.shape == target.shape) for array in read
        ):
            lines.append("out_flat = out.ravel()")
            inner = ["for n in range(out_flat.size):"]
            for array in read:
                own = array.name
                if not array.is_scalar:
                    lines.append(f"{own}_flat = {own}.ravel()")
                    inner.append(f"    {own}_n = {own}_flat[n]")
            lines += [*inner, f"    out_flat[n] = {text}"]
        elif target.batched:
            lines += ["for i in range(out.shape[0]):", "    out_row = out[i]"]
            inner = ["    for n in range(out_row.size):"]
            for array in read:
                own = array.name
                row = "i" if array.shape else "0"
                if array.batched:
                    lines.append(f"    {own}_row = {own}[{row}]")
                    inner.append(f"        {own}_n = {own}_row[n]")
                elif array.shape:
                    lines.append(f"    {own}_n = {own}[i]")
            lines += [*inner, f"        out_row[n] = {text}"]
        else:
            axes = "ij"[: len(target.shape)]
            for depth, axis in enumerate(axes):
                lines.append(f"{'    ' * depth}for {axis} in range(out.shape[{depth}]):")
            indent, index = "    " * len(axes), ", ".join(axes)
            for array in read:
                if array.shape:
                    own = array.name
                    lines.append(f"{indent}{own}_n = {own}[{index}]")
            lines.append(f"{indent}out[{index}] = {text}")
        doc = f"{target.name}, entry by entry."
        view = FunctionView(name, (*arguments, "out"), doc, tuple(lines))
        self.loops[name] = view
        return name
