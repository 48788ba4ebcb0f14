"""A field's fixed arrays as Python: how each is drawn, and what becomes of it, in fractions.

In: declared arrays, and how their names are spelled.  Out: finished lines, in the functions of
:mod:`runtime.networks.draws`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import Name, Node, Number, Operation

#: What a call of the expression language is in the module of draws.
_CALLS = {
    "eye": "eye",
    "trace": "trace",
    "sum": "total",
    "dot": "dot",
    "sym": "sym",
    "skew": "skew",
}


def drawing(declared: Sequence[kinds.FixedArray], names: Mapping[str, str]) -> Iterator[str]:
    """The lines that set each array.

    Args:
        declared: the arrays.
        names: how their names are spelled.

    Yields:
        Lines in ``seed`` and ``sizes``.
    """
    for array in declared:
        name, shape = names[array.name], _tuple(map(_size, array.shape))
        if array.draw is None:
            yield f"{name} = draws.unit({_size(array.unit)}, {_size(array.shape[0])})"
            continue
        low, high = array.draw
        yield f'{name} = draws.integers(seed, "{array.name}", {shape}, {low}, {high})'
        if array.where is not None:
            yield f"{name} = {_text(array.where.tree, array.name, name)}"


def _size(dimension: str) -> str:
    return dimension if dimension.isdigit() else f'sizes["{dimension}"]'


def _tuple(parts: Iterator[str]) -> str:
    return f"({', '.join(parts)},)"


def _text(node: Node, own: str, spelled: str) -> str:
    """An expression in the array's own name and in dimensions; every number is exact."""
    match node:
        case Number(value=value):
            whole = value.denominator == 1
            return f"draws.exact({value.numerator}{'' if whole else f', {value.denominator}'})"
        case Name(name=name):
            return spelled if name == own else f"draws.exact({_size(name)})"
        case Operation(op="eye", args=(Name(name=name), *_)):
            return f"draws.eye({_size(name)})"
        case Operation(op="-", args=(arg,)):
            return f"(-{_text(arg, own, spelled)})"
        case Operation(op="transpose", args=(arg,)):
            return f"({_text(arg, own, spelled)}).T"
        case Operation(op="**", args=(base, Number(value=value))) if value.denominator == 1:
            return f"{_text(base, own, spelled)} ** {value.numerator}"
        case Operation(op="+" | "*" | "/" | "@" as op, args=args):
            return f"({f' {op} '.join(_text(arg, own, spelled) for arg in args)})"
        case Operation(op=op, args=args) if op in _CALLS:
            return f"draws.{_CALLS[op]}({', '.join(_text(arg, own, spelled) for arg in args)})"
    raise NotImplementedError(f"fixed arrays: {node}")


def fixed_text(array: kinds.FixedArray) -> str:
    """A fixed array in words."""
    if array.draw is None:
        return f"unit({array.unit})"
    low, high = array.draw
    return f"integers({low}, {high})" + (f", then {array.where.text}" if array.where else "")
