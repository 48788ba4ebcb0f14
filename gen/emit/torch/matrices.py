"""Functions of matrices as torch prints them: tensors `(..., n, p)`, sums over the last two axes.

In: straight-line functions of matrices.  Out: finished lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hamilforge.gen.derive.arrays import (
    Array,
    Epsilon,
    Identity,
    MatrixCall,
    Product,
    Size,
    Transpose,
)
from hamilforge.gen.emit.printer import loop_head
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.arrays import FunctionView, size_of
from hamilforge.gen.emit.torch.printer import TensorPrinter
from hamilforge.gen.program.ir import Function, Line, Reduce, Ref, Repeat, type_of

_OF_TORCH = {"cholesky": "torch.linalg.cholesky", "solve": "torch.linalg.solve"}
_SUMS = {"colsum": "-2", "rowsum": "-1"}


def matrix_view(name: str, doc: str, function: Function, need: Requirements) -> FunctionView:
    """A function of matrices.

    Args:
        name: of the function.
        doc: its docstring.
        function: what is written.
        need: notes what the text uses.

    Returns:
        The view; it returns its results in order.
    """
    printer = TensorPrinter(need=need)
    known = list(function.inputs)
    lines = [text for line in function.lines for text in lines_of(line, known, printer, need)]
    returns = ", ".join(array.name for _, array in function.results)
    arguments = tuple(array.name for array in function.inputs)
    return FunctionView(name, arguments, doc, tuple(lines), returns)


def lines_of(
    line: Line, known: list[Array], printer: TensorPrinter, need: Requirements
) -> Iterator[str]:
    """The text of a line.

    Args:
        line: of a function.
        known: the arrays before it; its target becomes one of them.
        printer: of expressions.
        need: notes what the text uses.

    Yields:
        Lines of text.
    """
    if not isinstance(line.value, Repeat):
        yield f"{line.name} = {_text(line, known, printer, need)}"
        known.append(line.target)
        return
    known.append(line.target)
    loop = line.value.within(line.name)
    yield f"{line.name} = {loop.start}"
    yield loop_head(loop)
    for inner in loop.lines:
        yield from (f"    {text}" for text in lines_of(inner, known, printer, need))
    yield f"    {line.name} = {loop.end}"


def factors_of(product: Product) -> tuple[str, str]:
    """The text of the two factors of a product."""
    left = f"{product.left}{'.mT' if product.left_transposed else ''}"
    return left, f"{product.right}{'.mT' if product.right_transposed else ''}"


def _text(line: Line, known: Iterable[Array], printer: TensorPrinter, need: Requirements) -> str:
    match line.value:
        case Size(of):
            need("torch_matrices")
            longest = next(array for array in known if of in array.shape)
            axis = longest.shape.index(of) - 2
            return f"torch_matrices.size({longest.name}, {axis})"
        case Epsilon(of):
            return f"torch.finfo({of}.dtype).eps"
        case Product() as product:
            return " @ ".join(factors_of(product))
        case Transpose(of):
            return f"{of}.mT"
        case MatrixCall(function, of) if function in _SUMS:
            return f"{of[0]}.sum({_SUMS[function]}, keepdim=True)"
        case MatrixCall(function, of):
            called = _OF_TORCH.get(function) or f"torch_matrices.{function}"
            need("torch_matrices" if function not in _OF_TORCH else "torch")
            return f"{called}({', '.join(of)})"
        case Identity(size, column):
            need("torch_matrices")
            like = next(array.name for array in known if array.shape)
            place = "" if column is None else f"{column}, "
            function = "identity" if column is None else "unit"
            return f"torch_matrices.{function}({size_of(size, known)}, {place}{like})"
        case Reduce(arg=Ref(name=of), how="sum", over="entries"):
            return f"{of}.sum((-2, -1), keepdim=True)"
        case Product() | Reduce():
            raise NotImplementedError(f"torch: {line.value} of matrices")
        case value if type_of(value, {array.name: array for array in known})[0] != (
            line.target.shape
        ):
            need("torch_matrices")
            like = next(array.name for array in known if array.shape)
            sizes = ", ".join(size_of(axis, known) for axis in line.target.shape)
            return f"torch_matrices.filled({printer(value)}, ({sizes}), {like})"
        case value:
            return printer(value)
