"""Elementwise lines that one other line reads once, written into it: one loop instead of two."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from hamilforge.gen.program.ir import (
    WHOLE_ARRAYS,
    Expr,
    Function,
    Line,
    Reduce,
    Ref,
    Repeat,
    names,
    parts,
    with_parts,
)


def inlined(function: Function) -> tuple[Line, ...]:
    """The lines of a function, those written into others left out; a sum may be of an expression.

    A line stays where it has another shape than the one that reads it: it would be computed again
    along an axis.

    Args:
        function: of matrices.
    """
    return _inlined(function.lines, {array.name for _, array in function.results})


def _inlined(lines: tuple[Line, ...], results: Set[str]) -> tuple[Line, ...]:
    pending: dict[str, Expr] = {}
    kept = []
    for line in lines:
        value = line.value
        if isinstance(value, Repeat):
            value = replace(value, lines=_inlined(value.lines, {value.end}))
        if not isinstance(value, WHOLE_ARRAYS):
            value = with_parts(value, pending)
        if line.name not in results and _joins(line, lines):
            assert not isinstance(value, WHOLE_ARRAYS)
            pending[line.name] = value
        else:
            kept.append(replace(line, value=value))
    return tuple(kept)


def _joins(line: Line, lines: tuple[Line, ...]) -> bool:
    """Whether a line may be written into the only one that reads it."""
    if isinstance(line.value, Reduce | WHOLE_ARRAYS) or line.target.is_scalar:
        return False
    readers = [other for other in lines if line.name in names(other.value)]
    if len(readers) != 1 or isinstance(readers[0].value, WHOLE_ARRAYS):
        return False
    (reader,) = readers
    if sum(part == Ref(line.name) for part in parts(reader.value)) > 1:
        return False
    return isinstance(reader.value, Reduce) or reader.target.shape == line.target.shape
