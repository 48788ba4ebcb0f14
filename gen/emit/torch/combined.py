"""torch: steps of matrices in fewer passes and fewer new arrays, without a graph.

In: a function of matrices.  Out: a view whose lines add to what they have made, where nothing reads
that any more; what a step is given stays as it is, and is no part of what it returns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from hamilforge.gen.derive.arrays import MatrixCall, Product
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.arrays import FunctionView
from hamilforge.gen.emit.torch.matrices import factors_of, lines_of
from hamilforge.gen.emit.torch.printer import TensorPrinter
from hamilforge.gen.program.combine import Combination, Statement, combined, reads
from hamilforge.gen.program.ir import Expr, Function, Line, Ref, names
from hamilforge.gen.program.lower import ONE, scaled


def combined_view(
    name: str, doc: str, function: Function, need: Requirements, returned: Sequence[str]
) -> FunctionView:
    """A function of matrices, for tensors without a graph.

    Args:
        name: of the function.
        doc: its docstring.
        function: what is written.
        need: notes what the text uses.
        returned: what each of its arrays becomes, in order.

    Returns:
        The view; it returns a tuple.
    """
    body = _Body(function, need, returned)
    pairs = zip(returned, function.arrays, strict=False)
    returns = ", ".join(own if own == given else body.apart(own) for own, given in pairs)
    arguments = tuple(array.name for array in function.inputs)
    return FunctionView(name, arguments, doc, tuple(body.lines()), f"{returns},")


class _Body:
    """The lines."""

    def __init__(self, function: Function, need: Requirements, returned: Sequence[str]) -> None:
        self._statements = combined(function)
        self._need, self._printer = need, TensorPrinter(need=need)
        self._known = list(function.inputs)
        self._last = {
            name: place for place, own in enumerate(self._statements) for name in reads(own)
        }
        #: What each array may show of others, itself included, and whether it has leading axes.
        self._shown = {name: {name} for name in function.arrays}
        self._wide = {*function.arrays}
        for own in self._statements:
            target = own.target.name
            self._shown[target] = {target}.union(
                *(self._shown.get(name, set()) for name in _shared(own))
            )
            if self._wide & reads(own):
                self._wide.add(target)
        kept = {*returned} | {name for own in self._statements for name in _shared(own)}
        #: Arrays that nothing else shows, and that are not returned.
        self._own = {own.target.name for own in self._statements if isinstance(own, Combination)}
        self._own -= kept
        self._given = {*function.arrays}

    def apart(self, name: str) -> str:
        """An array, or a copy where it may show what was given."""
        return f"{name}.clone()" if self._given & self._shown[name] else name

    def lines(self) -> Iterator[str]:
        """Their text."""
        for place, statement in enumerate(self._statements):
            if isinstance(statement, Line):
                yield from lines_of(statement, self._known, self._printer, self._need)
            else:
                yield from self._combination(statement, place)
                self._known.append(statement.target)

    def _combination(self, statement: Combination, place: int) -> Iterator[str]:
        name = statement.target.name
        wide = name in self._wide
        # what is added to has all the axes of the result
        products = sorted(statement.products, key=lambda own: not self._has_axes(own[1]))
        operands = {own for _, product in products for own in names(product)}
        spent = {
            own
            for own in self._own - operands
            if self._last.get(own) == place and (own in self._wide) == wide
        }
        arrays = sorted(
            statement.arrays,
            key=lambda own: (own[1] not in spent, own[1] not in self._wide, own[0] != ONE),
        )
        if not arrays or (wide and len(arrays) > 1 and arrays[0][1] not in self._wide and products):
            (factor, product), *products = products
            text = " @ ".join(factors_of(product))
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

    def _has_axes(self, product: Product) -> bool:
        return bool(self._wide & {*names(product)})

    def _product(
        self, function: str, array: str, product: Product, weight: Expr, factor: Expr
    ) -> str:
        """A call of the runtime: ``factor * array + weight * product``."""
        operands = ", ".join((array, *factors_of(product)))
        numbers = self._weight("alpha", weight) + self._weight("beta", factor)
        return f"{self._need('torch_matrices')}.{function}({operands}{numbers})"

    def _weight(self, label: str, factor: Expr) -> str:
        return "" if factor == ONE else f", {label}={self._printer(factor)}"


def _shared(statement: Statement) -> Iterable[str]:
    """Arrays that the target of a statement may show, or be."""
    match statement:
        case Combination():
            return ()
        case Line(value=MatrixCall(function=function)) if function != "diag":
            return ()
    return reads(statement)
