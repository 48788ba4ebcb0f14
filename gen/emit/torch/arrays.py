"""Functions over arrays as torch prints them.

In: straight-line functions over arrays.  Out: finished lines.  Arrays are `(batch, size)`, what is
a scalar for each sample is `(batch, 1)`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    OtherProducts,
    Outer,
    Product,
    Shift,
    Stack,
    Transpose,
)
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.printer import TensorPrinter
from hamilforge.gen.program.ir import Function, Line, Reduce, Ref, names


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function: its arguments, its lines and what it returns."""

    name: str
    arguments: tuple[str, ...]
    doc: str
    lines: tuple[str, ...]
    returns: str


def function_view(
    name: str, doc: str, function: Function, need: Requirements, kept: Iterable[Array] = ()
) -> FunctionView:
    """A function of arrays; its results, then what is kept.

    Args:
        name: of the function.
        doc: its docstring.
        function: what is written.
        need: notes what the texts use.
        kept: arrays that are returned too, if they are not results.

    Returns:
        The view.
    """
    body = _Body(function, need)
    results = [array.name for _, array in function.results]
    seen = {array for _, array in function.results}
    results += [array.name for array in kept if array not in seen]
    arguments = tuple(array.name for array in function.inputs)
    return FunctionView(name, arguments, doc, tuple(body.lines), ", ".join(results))


def size_of(dimension: str, arrays: Iterable[Array]) -> str:
    """The size of a dimension, from an array that has it."""
    if dimension.isdigit():
        return dimension
    for array in arrays:
        if dimension in array.shape:
            axis = array.shape.index(dimension) - len(array.shape)
            return f"{array.name}.shape[{axis}]"
    raise NotImplementedError(f"torch: no array with the dimension {dimension}")


class _Body:
    """The lines of a function in torch."""

    def __init__(self, function: Function, need: Requirements) -> None:
        self._printer, self._need = TensorPrinter(need=need), need
        self._arrays = {array.name: array for array in function.inputs}
        self._short: dict[str, Array] = {}
        self.lines = [self._line(line) for line in function.lines]

    def _line(self, line: Line) -> str:
        self._arrays[line.target.name] = line.target
        return f"{line.target.name} = {self._text(line)}"

    def _name(self, name: str, full: bool = False) -> str:
        """An array; one that has a scalar's entries only is spread out where that matters."""
        text = name
        if full and name in self._short:
            shape = self._short[name].shape
            sizes = ", ".join(self._size(dimension) for dimension in shape)
            text += f".expand(-1, {sizes})" if self._short[name].batched else f".expand({sizes})"
        return text

    def _size(self, dimension: str) -> str:
        full = (array for array in self._arrays.values() if array.name not in self._short)
        return size_of(dimension, full)

    def _text(self, line: Line) -> str:
        match line.value:
            case Product(left, right, left_transposed, right_transposed):
                left_array, right_array = self._arrays[left], self._arrays[right]
                if right_array.batched and not left_array.batched:
                    mark = "" if left_transposed else ".T"
                    return f"{self._name(right, True)} @ {self._name(left)}{mark}"
                marks = (".T" if left_transposed else "", ".T" if right_transposed else "")
                return f"{self._name(left)}{marks[0]} @ {self._name(right, True)}{marks[1]}"
            case Outer(left, right):
                return self._outer(left, right)
            case Transpose(of):
                return f"{self._name(of)}.T"
            case Entry(of, place):
                name = self._name(of, True)
                return (
                    f"{name}[:, {place}:{place + 1}]" if line.target.batched else f"{name}[{place}]"
                )
            case Stack(of):
                return self._stack(of, line.target.batched)
            case Shift(of, by):
                return f"torch.roll({self._name(of, True)}, {-by}, 0)"
            case OtherProducts(of):
                return f"{self._need('other_products')}({self._name(of, True)})"
            case Reduce(arg=Ref(name=of), how="prod") if not self._arrays[of].batched:
                return f"{self._name(of, True)}.prod()"
            case Reduce(arg=Ref(name=of), how="sum", over="entries"):
                keep = "-1, keepdim=True" if self._arrays[of].batched else ""
                return f"{self._name(of, True)}.sum({keep})"
            case Reduce(arg=Ref(name=of), how="logsumexp"):
                if self._arrays[of].batched:
                    return f"torch.logsumexp({self._name(of, True)}, -1, keepdim=True)"
                return f"torch.logsumexp({self._name(of, True)}.flatten(), 0)"
            case Reduce(arg=Ref(name=of), over="samples"):
                axis = "0" if self._arrays[of].shape else ""
                return f"{self._name(of, True)}.sum({axis})"
            case value:
                shapes = {self._arrays[name].shape for name in names(value)}
                if line.target.shape and line.target.shape not in shapes:
                    self._short[line.name] = line.target
                if not names(value):  # torch's functions take no numbers
                    return f"torch.tensor({self._printer(value)}, dtype=torch.float64)"
                return self._printer(value)

    def _stack(self, of: tuple[str, ...], batched: bool) -> str:
        """A vector of scalars, which all samples share or each has."""
        like = next(name for name in of if name and self._arrays[name].batched == batched)
        entries = [
            f"torch.zeros_like({like})"
            if not name
            else name
            if self._arrays[name].batched == batched
            else f"{name}.expand_as({like})"
            for name in of
        ]
        joined = f"({', '.join(entries)}{',' if len(entries) == 1 else ''})"
        return f"torch.cat({joined}, -1)" if batched else f"torch.stack({joined})"

    def _outer(self, left: str, right: str) -> str:
        left_name, right_name = self._name(left, True), self._name(right, True)
        match self._arrays[left].batched, self._arrays[right].batched:
            case True, True:
                return f"{left_name}.T @ {right_name}"
            case False, True:
                return f"torch.outer({left_name}, {right_name}.sum(0))"
            case True, False:
                return f"torch.outer({left_name}.sum(0), {right_name})"
        return f"torch.outer({left_name}, {right_name})"
