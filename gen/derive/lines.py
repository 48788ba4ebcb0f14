"""Array expressions as lines, built one operation at a time.

In: declared arrays and expressions in them.  Out: :class:`Lines`, each line one operation of
:mod:`arrays`.  Equal operations are one line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import sympy as sp

from hamilforge.gen.declare import matrix_functions
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.declare.expression import (
    ACTIVATION,
    ENTRY,
    PRODUCT,
    RATE,
    REPEAT,
    SHIFT,
    Expression,
    Name,
    Node,
    Number,
    Operation,
    constant,
)
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import ALONG, COLUMNS, IDENTITY, ROWS, UNIT, joined
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    Identity,
    Line,
    LogSumExp,
    Map,
    MatrixCall,
    Op,
    Piece,
    Product,
    Repeat,
    Shift,
    Shorthands,
    Size,
    Total,
    TotalProduct,
    Transpose,
    operands,
    symbol,
)
from hamilforge.gen.derive.calculus import CONSTANT_VALUES, FUNCTIONS, Expr, root, to_sympy

#: What the sums over a layer are called beside these lines.
RESERVED = ("h_bar", "t_bar")


class Lines:
    """Lines in the order of computation, and the arrays they know.

    Args:
        inputs: arrays that are given.
        activation: what ``sigma(x)`` means, in the symbol x.
    """

    def __init__(self, inputs: Iterable[Array], activation: Expression | None = None) -> None:
        self.arrays = {array.name: array for array in inputs}
        #: What stands for a line in expressions.
        self.names: dict[str, str] = {}
        #: Functions of an array, by name.
        self.functions: dict[str, Callable[[str], Piece]] = {}
        #: Dimensions that may stand for how long they are.
        self.sizes: tuple[str, ...] = ()
        self.lines: list[Line] = []
        self._known: dict[tuple[Op, Shape], str] = {}
        self._activation = activation
        self._shorthands: Shorthands = {}

    # --- adding lines

    def piece(self, name: str) -> Piece:
        """An array as an expression."""
        array = self.arrays[name]
        return Piece(symbol(name), array.shape, array.batched)

    def add(self, op: Op, shape: Shape, batched: bool, name: str) -> str:
        """The array that an operation gives, called ``name`` or ``name2``, … if it is new.

        Args:
            op: the operation; its operands are known arrays.
            shape: of the result, without the samples.
            batched: whether the result has a value for each sample.
            name: what the array is to be called.

        Returns:
            The name of the array: of the earlier line if there is one with this operation and
            shape.

        Raises:
            NotDerivableError: the result would be a matrix for each sample.
        """
        if (op, shape) in self._known:
            return self._known[op, shape]
        if batched and len(shape) > 1:
            raise NotDerivableError(
                f"'{name}' would be a matrix for each sample; multiply vectors by what depends on "
                "the sample instead, as in norm(y)*(A @ y)"
            )
        free = self._free(name)
        array = Array(free, shape, batched)
        self.arrays[free] = array
        self.lines.append(Line(array, op))
        self._known[op, shape] = free
        return free

    def given(self, name: str, shape: Shape, batched: bool) -> str:
        """A further input, called ``name`` or ``name2``, … if that is taken.

        Args:
            name: what the array is to be called.
            shape: of the array, without the samples.
            batched: whether it has a value for each sample.

        Returns:
            The name of the array.
        """
        free = self._free(name)
        self.arrays[free] = Array(free, shape, batched)
        return free

    def _free(self, name: str) -> str:
        free, number = name, 2
        while free in self.arrays or free in RESERVED:
            free, number = f"{name}{number}", number + 1
        return free

    def copy(self, name: str, called: str) -> str:
        """A new array with the values of another one."""
        array = self.arrays[name]
        op = Map(symbol(name))
        self._known.pop((op, array.shape), None)
        return self.add(op, array.shape, array.batched, called)

    def named(self, piece: Piece, name: str) -> str:
        """The array that an elementwise expression gives."""
        if piece.value.is_Symbol and self.arrays[piece.value.name].shape == piece.shape:
            return str(piece.value.name)
        return self.add(Map(piece.value), piece.shape, piece.batched, name)

    def mapped(self, value: Expr, parts: Iterable[Piece]) -> Piece:
        """An expression of pieces: their common shape, batched if one is."""
        parts = [*parts]
        shape: Shape = ()
        for part in parts:
            common = joined(shape, part.shape)
            shape = shape or part.shape if common is None else common
        return Piece(value, shape, any(part.batched for part in parts))

    def product(self, op: Product) -> Piece:
        """The product of two arrays."""
        left, right = self.arrays[op.left], self.arrays[op.right]
        left_shape = left.shape[::-1] if op.left_transposed else left.shape
        right_shape = right.shape[::-1] if op.right_transposed else right.shape
        left_mark = "T" if op.left_transposed else ""
        right_mark = "T" if op.right_transposed else ""
        name = f"{left.name}{left_mark}_times_{right.name}{right_mark}"
        batched = left.batched or right.batched
        return self.piece(self.add(op, (left_shape[0], *right_shape[1:]), batched, name))

    def total(self, piece: Piece) -> Piece:
        """The sum of all entries."""
        if not piece.shape:
            return piece
        of = self.named(piece, "terms")
        return self.piece(self.add(Total(of), (), piece.batched, "total"))

    # --- reading expressions

    def read(self, expression: Expression) -> Piece:
        """An expression, its products, sums and functions as lines."""
        return self._visit(expression.tree)

    def _visit(self, node: Node) -> Piece:
        if isinstance(node, Number):
            value = sp.Rational(node.value.numerator, node.value.denominator)
            return Piece(value, (), False)
        if isinstance(node, Name):
            if node.name in self._shorthands:
                return self.piece(self._shorthand(*self._shorthands[node.name]))
            name = self.names.get(node.name, node.name)
            if name not in self.arrays and node.name in self.sizes:
                return self.size(node.name)
            if name not in self.arrays and node.name in CONSTANT_VALUES:
                return Piece(CONSTANT_VALUES[node.name], (), False)
            return self.piece(name)
        if node.op == RATE and isinstance(node.args[0], Name):
            return self.piece(self.names[f"{RATE}({node.args[0].name})"])
        if node.op == "@":
            return self._matrix_product(node)
        if node.op == "transpose":
            return self.piece(self._transposed(self._visit(node.args[0])))
        if node.op == SHIFT:
            return self._shifted(node)
        if node.op == ENTRY:
            return self._entry(node)
        if node.op in (IDENTITY, UNIT):
            return self._identity(node)
        if node.op == REPEAT:
            return self._repeated(node)
        if node.op in self.functions:
            return self._called(node)
        parts = [self._visit(arg) for arg in node.args]
        values = [part.value for part in parts]
        match node.op:
            case "+":
                return self.mapped(sp.Add(*values), parts)
            case "*":
                return self.mapped(sp.Mul(*values), parts)
            case "-":
                return self.mapped(-values[0], parts)
            case "/":
                return self.mapped(values[0] / values[1], parts)
            case "**":
                return self.mapped(values[0] ** values[1], parts)
            case "sum":
                return self.total(parts[0])
            case "dot":
                return self.total(self.mapped(values[0] * values[1], parts))
            case "norm":
                total = self.total(self.mapped(values[0] ** 2, parts))
                return self.function(root(total.value), total)
            case "logsumexp":
                of = self.named(parts[0], "terms")
                return self.piece(self.add(LogSumExp(of), (), parts[0].batched, "logsumexp"))
            case op if op == PRODUCT:
                of = self.named(parts[0], "factors")
                return self.piece(self.add(TotalProduct(of), (), parts[0].batched, "product"))
            case op if op == ACTIVATION:
                return self._activated(parts[0])
            case op if op in matrix_functions.BY_NAME:
                return self._matrix_call(matrix_functions.BY_NAME[op], parts)
        return self.function(FUNCTIONS[node.op](*values), self.mapped(sp.S.Zero, parts))

    def result(self, piece: Piece) -> str:
        """The array that an expression gives, called ``value`` where it has no line yet."""
        if piece.value.is_Symbol and piece.value.name in {line.target.name for line in self.lines}:
            return str(piece.value.name)
        return self.add(Map(piece.value), piece.shape, piece.batched, "value")

    def function(self, value: Expr, part: Piece) -> Piece:
        """A function of an expression is a line, so that derivatives can use its value."""
        if value.is_Atom:
            return Piece(value, part.shape, part.batched)
        return self.piece(self.named(Piece(value, part.shape, part.batched), _word(part)))

    def _activated(self, part: Piece) -> Piece:
        assert self._activation is not None
        value = to_sympy(self._activation, {"x": part.value}, {})
        return self._calls(value, part)

    def _calls(self, value: Expr, part: Piece) -> Piece:
        """Every function in an expression as a line, from the inside."""
        if value.is_Atom or not value.args:
            return Piece(value, part.shape, part.batched)
        inner = value.func(*(self._calls(arg, part).value for arg in value.args))
        if isinstance(value, sp.Add | sp.Mul) or (value.is_Pow and value.exp.is_Integer):
            return Piece(inner, part.shape, part.batched)
        return self.function(inner, part)

    def _shorthand(self, name: str, value: Expression) -> str:
        """The line of a name for an expression."""
        count = len(self.lines)
        array = self.named(self._visit(value.tree), name)
        if len(self.lines) == count or self.lines[-1].target.name != array or array == name:
            return array
        return self.renamed_last(name)

    def renamed_last(self, name: str) -> str:
        """Another name for the last line, which nothing reads yet."""
        line = self.lines.pop()
        del self._known[line.op, line.target.shape], self.arrays[line.target.name]
        return self.add(line.op, line.target.shape, line.target.batched, name)

    def _identity(self, node: Operation) -> Piece:
        size, *place = node.args
        assert isinstance(size, Name)
        if not place:
            return self.piece(
                self.add(Identity(size.name), (size.name, size.name), False, "identity")
            )
        column = constant(place[0])
        assert column is not None
        op = Identity(size.name, int(column))
        return self.piece(self.add(op, (size.name, ALONG), False, f"unit_{column}"))

    def within(
        self, value: Expression, names: Mapping[str, str], shorthands: Shorthands | None = None
    ) -> Piece:
        """An expression in names of its own.

        Args:
            value: the expression.
            names: the array that each of its names is.
            shorthands: names that stand for expressions in these names.

        Returns:
            What it gives.
        """
        outside = self.names, self._shorthands
        self.names, self._shorthands = dict(names), shorthands or {}
        piece = self._visit(value.tree)
        self.names, self._shorthands = outside
        return piece

    def _called(self, node: Operation) -> Piece:
        piece = self._visit(node.args[0])
        return self.functions[node.op](self.named(piece, _word(piece)))

    def _matrix_call(self, row: matrix_functions.MatrixFunction, parts: Iterable[Piece]) -> Piece:
        of = tuple(self.named(part, _word(part)) for part in parts)
        if row.definition:
            (matrix,) = of
            names = {"A": matrix}
            read = parse(row.definition).names()
            for name, axis in zip((ROWS, COLUMNS), self.arrays[matrix].shape, strict=False):
                if name in read:
                    names[name] = self.named(self.size(axis), "size")
            return self.within(parse(row.definition), names)
        shape = row.shape(*(self.arrays[name].shape for name in of))
        assert shape is not None
        name = f"{row.name}_of_{[own for own in of if self.arrays[own].shape][-1]}"
        return self.piece(self.add(MatrixCall(row.name, of), shape, False, name))

    def size(self, axis: str) -> Piece:
        """How long a dimension is."""
        if axis.isdigit():
            return Piece(sp.Integer(axis), (), False)
        return self.piece(self.add(Size(axis), (), False, f"{axis}_size"))

    def _repeated(self, node: Operation) -> Piece:
        """``repeat(k, Y, f)``: what Y is after k times ``Y = f``."""
        count, target, value = node.args
        assert isinstance(target, Name)
        start = self.named(self._visit(target), target.name)
        times = self._visit(count)
        number = str(times.value) if times.value.is_Integer else self.named(times, "times")
        shape = self.arrays[start].shape
        carried = self.given(target.name, shape, False)
        outside, self.names = self.names, {**self.names, target.name: carried}
        before = len(self.lines)
        end = self.named(self._visit(value), f"{target.name}_next")
        self.names = outside
        changing = {carried}
        inside, still = [], []
        for line in self.lines[before:]:
            if changing & {*operands(line.op)}:
                changing.add(line.target.name)
                inside.append(line)
                del self._known[line.op, line.target.shape]
            else:
                still.append(line)
        self.lines[before:] = still
        op = Repeat(number, start, carried, tuple(inside), end)
        return self.piece(self.add(op, shape, False, f"{target.name}_repeated"))

    def _matrix_product(self, node: Operation) -> Piece:
        left, right = node.args
        sign, transposed = 1, False
        while isinstance(left, Operation) and left.op in ("-", "transpose"):
            if left.op == "-":
                sign = -sign
            else:
                transposed = not transposed
            left = left.args[0]
        left_piece = self._visit(left)
        turned = False
        if isinstance(right, Operation) and right.op == "transpose":
            turned, (right,) = True, right.args
        right_piece = self._visit(right)
        op = Product(
            self.named(left_piece, _word(left_piece)),
            self.named(right_piece, _word(right_piece)),
            transposed,
            turned,
        )
        product = self.product(op)
        return Piece(sign * product.value, product.shape, product.batched)

    def _shifted(self, node: Operation) -> Piece:
        piece, by = self._visit(node.args[0]), constant(node.args[1])
        assert by is not None
        of = self.named(piece, _word(piece))
        return self.piece(self.shifted(of, int(by)))

    def shifted(self, of: str, by: int) -> str:
        """The array with what is ``by`` places further along the first axis."""
        array = self.arrays[of]
        side = "plus" if by > 0 else "minus"
        return self.add(Shift(of, by), array.shape, array.batched, f"{of}_{side}_{abs(by)}")

    def _entry(self, node: Operation) -> Piece:
        piece, place = self._visit(node.args[0]), constant(node.args[1])
        assert place is not None
        of = self.named(piece, _word(piece))
        op = Entry(of, int(place) - 1)
        # no number of a stage: what follows an underscore is a word
        return self.piece(self.add(op, (), piece.batched, f"{of}_entry{place}"))

    def _transposed(self, piece: Piece) -> str:
        of = self.named(piece, _word(piece))
        return self.add(Transpose(of), piece.shape[::-1], piece.batched, f"{of}T")


def _word(piece: Piece) -> str:
    """What a line without a name of its own is called."""
    if piece.batched and piece.shape:
        return "hidden"
    return ("scalar", "vector", "matrix")[len(piece.shape)]
