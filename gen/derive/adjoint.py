"""Reverse rules: the product of a cotangent with the transposed Jacobian of some lines.

In: lines, and a cotangent for each of their results.  Out: further lines, and the cotangent of each
input.  With x^ the cotangent of x,

    z = m(x, y)   elementwise:  x^ = dm/dx z^, summed over what x is broadcast over,
    z = A v:                    v^ = A' z^,  A^ = z^ v' summed over the samples,
    z = A':                     A^ = z^',
    z = sum(v):                 v^ = z^ in every entry,
    z = prod(v):                v^ = z^ times the product of the other entries,
    z = log(sum(exp(v))):       v^ = exp(v - z) z^,
    z_i = v_(i+k):              v^_i = z^_(i-k),
    z = v_k:                    v^_k = z^, and 0 in the other entries.

An elementwise function has a derivative wherever SymPy gives one; at a point where there is none
the generated code uses 0: for ``relu``, ``abs`` and ``sign``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import sympy as sp

from hamilforge.gen.declare.errors import DeclarationError, NotDerivableError
from hamilforge.gen.declare.kinds import Declaration, Shape, named
from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    Line,
    LogSumExp,
    Map,
    OtherProducts,
    Outer,
    OverBatch,
    Piece,
    Product,
    Shift,
    Stack,
    Total,
    TotalProduct,
    Transpose,
    symbol,
)
from hamilforge.gen.derive.calculus import Expr, derivative, logistic
from hamilforge.gen.derive.lines import Lines


def reverse(lines: Lines, results: Mapping[str, str], inputs: tuple[str, ...]) -> dict[str, str]:
    """Add the lines of the transposed Jacobian.

    Args:
        lines: the computation; the lines of its adjoint are added.
        results: the cotangent of each result, both by name.
        inputs: of which arrays the cotangent is wanted.

    Returns:
        The cotangent of each input that the results depend on, by name.
    """
    work = _Reverse(lines)
    for result, cotangent in results.items():
        work.contribute(result, lines.piece(cotangent))
    for line in reversed([*lines.lines]):
        if line.target.name in work.parts:
            work.through(line)
    return {name: work.total(lines.arrays[name]) for name in inputs if name in work.parts}


def gradient(lines: Lines, result: str, inputs: tuple[str, ...]) -> dict[str, str]:
    """Add the lines of the derivatives of a scalar.

    Args:
        lines: the computation; its further lines are added.
        result: the scalar.
        inputs: of which arrays the derivative is wanted.

    Returns:
        The derivative by each input that the scalar depends on, by name.
    """
    seed = lines.add(Map(sp.Integer(1)), (), False, "seed")
    derivatives = reverse(lines, {result: seed}, inputs)
    lines.lines[:] = [_with_one(line, symbol(seed)) for line in lines.lines]
    return derivatives


def _with_one(line: Line, seed: sp.Symbol) -> Line:
    """A line with 1 for the cotangent of the scalar."""
    if not isinstance(line.op, Map):
        return line
    return Line(line.target, Map(line.op.value.subs(seed, 1)))


@contextlib.contextmanager
def derivable(declaration: Declaration) -> Iterator[None]:
    """What has no derivative is an error of the declaration."""
    try:
        yield
    except NotDerivableError as error:
        raise DeclarationError.single(
            declaration.head.source.where, f"{named(declaration)}: {error}"
        ) from error


class _Reverse:
    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.parts: dict[str, list[Piece]] = {}
        #: Of vectors that are read entry by entry, the cotangents of these, by place.
        self._entries: dict[str, dict[int, str]] = {}

    def contribute(self, name: str, piece: Piece) -> None:
        """Add to the cotangent of an array; what the array does not have is summed over later."""
        self.parts.setdefault(name, []).append(piece)

    def total(self, array: Array) -> str:
        """The cotangent of an array, as a line."""
        return self._lines.named(self.piece(array), f"{array.name}_bar")

    def piece(self, array: Array) -> Piece:
        """The cotangent of an array; sums over entries and samples come last."""
        lines, name = self._lines, f"{array.name}_bar"
        self._stacked(array)
        groups: dict[tuple[Shape, bool], list[Expr]] = {}
        for piece in self.parts[array.name]:
            groups.setdefault((piece.shape, piece.batched), []).append(piece.value)
        reduced = []
        for (shape, batched), values in groups.items():
            piece = Piece(sp.Add(*values), shape, batched)
            if shape and not array.shape:
                piece = lines.total(piece)
            if batched and not array.batched:
                of = lines.named(piece, f"{array.name}_terms")
                piece = lines.piece(lines.add(OverBatch(of), array.shape, False, name))
            reduced.append(piece.value)
        cotangent = Piece(sp.Add(*reduced), array.shape, array.batched)
        if cotangent.value.is_Atom:
            return cotangent
        return Piece(symbol(lines.named(cotangent, name)), array.shape, array.batched)

    def _stacked(self, array: Array) -> None:
        """Make one vector of what belongs to single entries."""
        entries, lines = self._entries.pop(array.name, {}), self._lines
        if not entries:
            return
        (size,) = array.shape
        if not size.isdigit():
            raise NotDerivableError(
                f"entries of '{array.name}' are read, so its size has to be a number, not '{size}'"
            )
        op = Stack(tuple(entries.get(place, "") for place in range(int(size))))
        stack = lines.add(op, array.shape, array.batched, f"{array.name}_bar")
        self.contribute(array.name, lines.piece(stack))

    def through(self, line: Line) -> None:
        """Pass the cotangent of a line on to its operands."""
        lines, target = self._lines, line.target
        bar = self.piece(target)
        match line.op:
            case Map(value=value):
                for operand in sorted(value.free_symbols, key=str):
                    factor = slope(value, operand, target.name)
                    if factor == 0:  # of sign and step
                        continue
                    piece = Piece(bar.value * factor, target.shape, target.batched)
                    self.contribute(operand.name, piece)
            case Product() as op:
                self._product(op, self.total(target))
            case Transpose(of=of):
                turned = Transpose(self.total(target))
                self.contribute(
                    of, lines.piece(lines.add(turned, target.shape[::-1], False, f"{of}_bar"))
                )
            case Total(of=of):
                self.contribute(of, Piece(bar.value, lines.arrays[of].shape, bar.batched))
            case Shift(of=of, by=by):
                self.contribute(of, lines.piece(lines.shifted(self.total(target), -by)))
            case Entry(of=of, place=place):
                self.parts.setdefault(of, [])
                self._entries.setdefault(of, {})[place] = self.total(target)
            case TotalProduct(of=of):
                array = lines.arrays[of]
                name = lines.add(OtherProducts(of), array.shape, array.batched, f"{of}_others")
                value = bar.value * symbol(name)
                self.contribute(of, Piece(value, array.shape, array.batched))
            case LogSumExp(of=of):
                array = lines.arrays[of]
                share = sp.exp(symbol(of) - symbol(target.name))
                self.contribute(of, Piece(bar.value * share, array.shape, array.batched))
            case _:
                raise NotImplementedError(f"reverse: {type(line.op).__name__}")

    def _product(self, op: Product, bar: str) -> None:
        """Both sides of ``z = L R``: ``L^ = z^ R'``, ``R^ = L' z^``, transposed where they are."""
        lines = self._lines
        left, right = lines.arrays[op.left], lines.arrays[op.right]
        if len(right.shape) == 1:
            column, row = (op.right, bar) if op.left_transposed else (bar, op.right)
            name = lines.add(Outer(column, row), left.shape, False, f"{op.left}_bar")
            self.contribute(op.left, lines.piece(name))
            self.contribute(op.right, lines.product(Product(op.left, bar, not op.left_transposed)))
            return
        if op.left_transposed:
            cotangent = lines.product(Product(op.right, bar, op.right_transposed, True))
        else:
            cotangent = lines.product(Product(bar, op.right, False, not op.right_transposed))
        self.contribute(op.left, cotangent)
        if op.right_transposed:
            cotangent = lines.product(Product(bar, op.left, True, op.left_transposed))
        else:
            cotangent = lines.product(Product(op.left, bar, not op.left_transposed, False))
        self.contribute(op.right, cotangent)


def slope(value: Expr, entry: sp.Symbol, name: str) -> Expr:
    """The derivative of a line by one of its operands, in terms of the line's own value.

    Args:
        value: the right-hand side of an elementwise line.
        entry: the symbol of the operand.
        name: of the line.

    Returns:
        The derivative; for ``value`` itself it has the symbol of the line.
    """
    factor = derivative(value, entry)
    own = symbol(name)
    if isinstance(value, logistic):
        factor = factor.xreplace({logistic(-value.args[0]): 1 - own})
    return factor.xreplace({value: own})
