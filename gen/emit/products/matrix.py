"""An optimizer of matrices as a product: what its generated files say beside those of all rules.

In: a derivation and its report.  Out: what :class:`Product` has, and tables of manifold and axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.derive.arrays import Identity, MatrixCall
from hamilforge.gen.emit.products.manifold import tables
from hamilforge.gen.emit.products.optimizer import Product
from hamilforge.gen.program.ir import Function, Line, Repeat
from hamilforge.gen.program.optimizers.build_matrix import MatrixDerivation

#: Functions of matrices that have no fewer rows than columns.
_OF_TALL = ("polar", "qr")


@dataclass(frozen=True)
class MatrixProduct(Product):
    """What the templates of all backends read of an optimizer of matrices."""

    kind: ClassVar[str] = "matrix"

    @property
    def matrices(self) -> MatrixDerivation:
        """The derivation, which is one of matrices."""
        assert isinstance(self.derivation, MatrixDerivation)
        return self.derivation

    @property
    def tables(self) -> tuple[tuple[str, str], ...]:
        """What both backends say of manifold and axes."""
        optimizer = self.matrices.optimizer
        retraction = optimizer.retraction if self.matrices.reach else ""
        own = tables(optimizer.manifold, optimizer.shape, optimizer.is_vector, retraction)
        (function,) = self.program.functions
        factored = {*_factored(function.lines)}
        shapes = zip(self.program.states, optimizer.shapes[1:], strict=True)
        different = {name: shape for name, shape in shapes if shape != optimizer.shape}
        return (
            *own.items(),
            ("TALL", repr(optimizer.shape in factored)),
            ("STATE_SHAPES", repr(different)),
            ("OF_VECTORS", repr(self.matrices.of_vectors is not None)),
            ("SHRINKS", repr(optimizer.shrinks)),
            ("FREE", repr(optimizer.retraction == kinds.FREE)),
            ("LEAST", repr(_least(self.matrices.steps))),
        )


def _least(steps: Iterable[Function]) -> dict[str, int]:
    """How long dimensions are at least: as unit vectors need."""
    least: dict[str, int] = {}
    for line in (line for step in steps for line in _all(step.lines)):
        match line.value:
            case Identity(size, int(column)) if not size.isdigit():
                least[size] = max(least.get(size, 1), column + 1)
    return least


def _all(lines: Iterable[Line]) -> Iterator[Line]:
    """Lines, also those inside loops."""
    for line in lines:
        yield line
        if isinstance(line.value, Repeat):
            yield from _all(line.value.lines)


def _factored(lines: Iterable[Line]) -> Iterator[Shape]:
    """The shapes of what functions of tall matrices take and give, also inside loops."""
    for line in _all(lines):
        if isinstance(line.value, MatrixCall) and line.value.function in _OF_TALL:
            yield line.target.shape
