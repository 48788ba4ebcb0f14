"""torch: steps of matrices with as few passes and new arrays as there can be, without a graph.

In: a function of matrices.  Out: a view whose lines add to what they have made, where nothing reads
that any more; what a step is given stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hamilforge.gen.derive.arrays import MatrixCall, Product
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.arrays import FunctionView
from hamilforge.gen.emit.torch.matrices import lines_of
from hamilforge.gen.emit.torch.printer import TensorPrinter
from hamilforge.gen.program.combine import Combination, Statement, combined, reads
from hamilforge.gen.program.ir import Expr, Function, Line, Ref, names
from hamilforge.gen.program.lower import ONE, scaled


def combined_view(name: str, doc: str, function: Function, need: Requirements) -> FunctionView:
    """A function of matrices, for tensors without a graph.

    Args:
        name: of the function.
        doc: its docstring.
        function: what is written.
        need: notes what the text uses.

    Returns:
        The view; it returns its results in order.
    """
    body = _Body(function, need)
    returns = ", ".join(array.name for _, array in function.results)
    arguments = tuple(array.name for array in function.inputs)
    return FunctionView(name, arguments, doc, tuple(body.lines()), returns)


class _Body:
    """The lines."""

    def __init__(self, function: Function, need: Requirements) -> None:
        self._statements = combined(function)
        self._need, self._printer = need, TensorPrinter(need=need)
        self._known = list(function.inputs)
        self._last = {
            name: place for place, own in enumerate(self._statements) for name in reads(own)
        }
        kept = {array.name for _, array in function.results}
        kept |= {name for own in self._statements for name in _shared(own)}
        #: Arrays that nothing else shows, and that are no results.
        self._own = {own.target.name for own in self._statements if isinstance(own, Combination)}
        self._own -= kept

    def lines(self) -> Iterator[str]:
        """Their text."""
        for place, statement in enumerate(self._statements):
            if isinstance(statement, Line):
                yield from lines_of(statement, self._known, self._printer, self._need)
            else:
                yield from self._combination(statement, place)
                self._known.append(statement.target)

    def _combination(self, statement: Combination, place: int) -> Iterator[str]:
        name, products = statement.target.name, [*statement.products]
        operands = {own for _, product in products for own in names(product)}
        spent = {own for own in self._own - operands if self._last.get(own) == place}
        arrays = sorted(statement.arrays, key=lambda own: (own[1] not in spent, own[0] != ONE))
        if not arrays:
            (factor, product), *products = products
            text = f"{_operand(product, 0)} @ {_operand(product, 1)}"
            yield f"{name} = {text if factor == ONE else f'({text}).mul_({self._printer(factor)})'}"
        else:
            (factor, first), *arrays = arrays
            if products and not arrays:
                (weight, product), *products = products
                function = "add_product_" if first in spent else "plus_product"
                yield f"{name} = {self._product(function, first, product, weight, factor)}"
            elif first in spent:
                scaled_ = "" if factor == ONE else f".mul_({self._printer(factor)})"
                yield f"{name} = {first}{scaled_}"
            elif factor == ONE and arrays:
                (weight, second), *arrays = arrays
                yield f"{name} = torch.add({first}, {second}{self._weight('alpha', weight)})"
            else:
                yield f"{name} = {self._printer(scaled(factor, Ref(first)))}"
        for weight, array in arrays:
            yield f"{name}.add_({array}{self._weight('alpha', weight)})"
        for weight, product in products:
            yield self._product("add_product_", name, product, weight, ONE)

    def _product(
        self, function: str, array: str, product: Product, weight: Expr, factor: Expr
    ) -> str:
        """A call of the runtime: ``factor * array + weight * product``."""
        operands = f"{array}, {_operand(product, 0)}, {_operand(product, 1)}"
        numbers = self._weight("alpha", weight) + self._weight("beta", factor)
        return f"{self._need('torch_matrices')}.{function}({operands}{numbers})"

    def _weight(self, label: str, factor: Expr) -> str:
        return "" if factor == ONE else f", {label}={self._printer(factor)}"


def _operand(product: Product, side: int) -> str:
    name = (product.left, product.right)[side]
    transposed = (product.left_transposed, product.right_transposed)[side]
    return f"{name}.mT" if transposed else name


def _shared(statement: Statement) -> Iterable[str]:
    """Arrays that the target of a statement may show, or be."""
    match statement:
        case Combination():
            return ()
        case Line(value=MatrixCall(function=function)) if function != "diag":
            return ()
    return reads(statement)
