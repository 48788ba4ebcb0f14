"""Readers of a field's fixed arrays: exact rational numbers that are drawn, and unit vectors.

In: ``A = { shape = ["d", "d"], draw = "integers(-9, 9)", where = "A - trace(A)/d*eye(d)" }`` and
``e1 = "unit(1)"``, under ``[fixed]``.  ``unit(d)`` is the last unit vector of the dimension d.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import ExpressionError
from hamilforge.gen.declare.expression import Operation, walk
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import IDENTITY
from hamilforge.gen.declare.reader import Reader, shortened
from hamilforge.gen.declare.shapes import infer_shape, written

MAX_FIXED = 64
#: The largest whole number that is drawn, up to its sign.
MOST = 10**6
_UNIT = re.compile(r"unit\(([A-Za-z][A-Za-z0-9_]*|[1-9][0-9]{0,3})\)")
_DRAW = re.compile(r"integers\(\s*(-?[0-9]{1,7})\s*,\s*(-?[0-9]{1,7})\s*\)")
_DIMENSION = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*|[1-9][0-9]{0,8}")
#: What ``where`` may call.
EXACT = (IDENTITY, "trace", "transpose", "sum", "dot", "sym", "skew")
_OPERATIONS = ("+", "-", "*", "/", "**", "@", *EXACT)


def fixed_arrays(
    reader: Reader,
    states: tuple[tuple[str, Shape], ...],
    shapes: dict[str, Shape],
    free: Callable[..., None],
) -> tuple[kinds.FixedArray, ...]:
    """``[fixed]``: each array is noted in ``shapes``.

    Args:
        reader: of the file.
        states: of the field, with shapes; a unit vector has the shape of the first.
        shapes: of the names so far.
        free: notes a name that cannot be one.

    Returns:
        The arrays.
    """
    arrays = []
    entries = reader.table("fixed")
    if len(entries) > MAX_FIXED:
        reader.problem(f"{len(entries)} names; at most {MAX_FIXED} are read", "fixed")
        return ()
    for name, entry in entries.items():
        free(name, "fixed", name)
        if isinstance(entry, dict):
            array = _drawn(reader, name, entry)
        else:
            array = _unit(reader, name, entry, states)
        if array is not None:
            shapes[name] = array.shape
            arrays.append(array)
    return tuple(arrays)


def _unit(
    reader: Reader, name: str, text: Any, states: tuple[tuple[str, Shape], ...]
) -> kinds.FixedArray | None:
    match = _UNIT.fullmatch(text) if isinstance(text, str) else None
    if match is None or not states:
        reader.problem(
            f"{shortened(text)}; expected 'unit(1)', 'unit(d)', or a table such as "
            '{ shape = ["d", "d"], draw = "integers(-9, 9)" }',
            "fixed",
            name,
        )
        return None
    shape = states[0][1]
    if not match[1].isdigit() and (match[1],) != shape:
        reader.problem(
            f"'{match[1]}' is not the dimension of '{states[0][0]}', {written(shape)}",
            "fixed",
            name,
        )
        return None
    return kinds.FixedArray(name, shape, match[1], None, None)


def _drawn(reader: Reader, name: str, entry: Mapping[str, Any]) -> kinds.FixedArray | None:
    for key in entry:
        if key not in ("shape", "draw", "where"):
            reader.problem("unknown key; expected shape, draw or where", "fixed", name, key)
    declared = entry.get("shape")
    listed = isinstance(declared, list) and 1 <= len(declared) <= 2
    if not listed or not all(_DIMENSION.fullmatch(str(e)) for e in declared or ()):
        reader.problem('a shape was expected: ["d"] or ["d", "d"]', "fixed", name, "shape")
        return None
    shape = tuple(map(str, declared or ()))
    match = _DRAW.fullmatch(str(entry.get("draw", "")))
    low, high = (int(match[1]), int(match[2])) if match else (1, 0)
    if not low <= high or max(-low, high) > MOST:
        reader.problem(
            f"{shortened(entry.get('draw'))}; expected 'integers(low, high)' with whole numbers "
            f"from -{MOST} to {MOST}",
            "fixed",
            name,
            "draw",
        )
        return None
    where = None
    if "where" in entry:
        where = reader.expression(entry["where"], "fixed", name, "where")
        if where is not None and not _fits(reader, name, shape, where):
            return None
    return kinds.FixedArray(name, shape, "", (low, high), where)


def _fits(reader: Reader, name: str, shape: Shape, where: Any) -> bool:
    """Whether what becomes of an array has its shape, and can be computed exactly."""
    path = ("fixed", name, "where")
    sizes = tuple(dict.fromkeys(e for e in shape if not e.isdigit()))
    try:
        for node in walk(where.tree):
            if isinstance(node, Operation) and node.op not in _OPERATIONS:
                message = f"{node.op}(...) is not exact here; allowed: {', '.join(EXACT)}"
                raise ExpressionError(message, node.start, node.stop)
        own = infer_shape(where, {name: shape, **dict.fromkeys(sizes, ())}, EXACT, sizes or ("",))
    except ExpressionError as error:
        reader.at_expression(where.text, error, path)
        return False
    if own != shape:
        reader.problem(f"{written(own)}; {written(shape)} was expected", *path)
    return own == shape
