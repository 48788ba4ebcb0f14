"""Readers of minimization problems: a loss in closed form, its data, a start and a minimum.

In: ``variables = { x = ["d"] }`` with ``sizes = { d = 100 }``; ``[data]`` of arrays by expressions
or drawn; ``[start]`` and ``[[minimizers]]``, each with every variable.  In an expression for the
entries of an array ``i`` and ``j`` are its row and column, from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import did_you_mean
from hamilforge.gen.declare.expression import PRODUCT, SHIFT, Expression
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.read_networks import MAX_ARRAYS, shape_of, shaped
from hamilforge.gen.declare.read_parts import Find, parameters
from hamilforge.gen.declare.reader import SYMBOL, Reader, shortened
from hamilforge.gen.declare.shapes import ARRAY_FUNCTIONS, written

#: What a loss may call.
FUNCTIONS = (*ARRAY_FUNCTIONS, PRODUCT, SHIFT)
#: The row and the column of an entry.
INDICES = ("i", "j")
#: What a caller says beside sizes and parameters.
OPTIONS = ("backend", "dtype", "device")
#: Entries of a variable or of data at the declared sizes.
MOST_ENTRIES = 10**6
_KEYS = ("variables", "sizes", "data", "loss", "parameters", "start", "minimizers", "minimum")
Shapes = dict[str, Shape]
Point = tuple[tuple[str, Expression], ...]


def problem(reader: Reader, head: kinds.Head, _: Find) -> kinds.Declaration:
    """A loss with its start and minimum."""
    reader.keys((*_KEYS, "critical"))
    shapes: Shapes = {}
    own = parameters(reader, "parameters", lambda name, *path: _name(reader, name, {}, *path))
    shapes |= {parameter.name: () for parameter in own}
    sizes = _sizes(reader, shapes)
    shapes |= {name: () for name, _ in sizes}
    variables = _variables(reader, shapes, dict(sizes))
    data = _data(reader, shapes, dict(sizes))
    known = {**shapes, **dict(variables)}
    loss = reader.expression(reader.text("loss"), "loss")
    if shaped(reader, loss, None, known, FUNCTIONS, "loss") not in ((), None):
        reader.problem("a loss is a scalar: sum(...) adds up entries", "loss")
    if loss is not None and not reader.problems and not loss.names() & {*dict(variables)}:
        reader.problem("it depends on no variable", "loss")
    start = _point(reader, reader.table("start", required=True), variables, shapes, "start")
    minimizers = _points(reader, "minimizers", variables, shapes)
    critical = _points(reader, "critical", variables, shapes)
    minimum = None
    if "minimum" in reader.source.tables:
        minimum = reader.expression(reader.source.tables["minimum"], "minimum")
        if shaped(reader, minimum, None, shapes, FUNCTIONS, "minimum") not in ((), None):
            reader.problem("a minimum is a number", "minimum")
        if not minimizers:
            reader.problem("it is checked at minimizers, and none is declared", "minimum")
    reader.finish()
    assert loss is not None
    return kinds.MinimizationProblem(
        head, variables, sizes, data, loss, own, start, minimizers, minimum, critical
    )


def _name(reader: Reader, name: str, taken: Mapping[str, Any], *path: str) -> None:
    """Note a name that cannot be one."""
    if not SYMBOL.fullmatch(name) or name in (*INDICES, *OPTIONS):
        reader.problem(
            f"'{name}' cannot be a name here: letters, digits and single underscores between them, "
            f"a letter first; i and j are the row and the column of an entry, {', '.join(OPTIONS)} "
            "options of hf.problem",
            *path,
        )
    if name in taken:
        reader.problem(f"'{name}' has a meaning already", *path)


def _sizes(reader: Reader, shapes: Shapes) -> tuple[tuple[str, int], ...]:
    """``sizes``: how large each dimension with a name is by default."""
    sizes = []
    for name, size in reader.table("sizes").items():
        _name(reader, name, shapes, "sizes", name)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_ENTRIES:
            message = f"{shortened(size)}; a whole number from 1 to {MOST_ENTRIES} was expected"
            reader.problem(message, "sizes", name)
            size = 1
        sizes.append((name, size))
    return tuple(sizes)


def _variables(
    reader: Reader, taken: Shapes, sizes: Mapping[str, int]
) -> tuple[tuple[str, Shape], ...]:
    """``variables``: what the loss is to be minimised over."""
    entries = reader.table("variables", required=True)
    if not entries and not reader.problems:
        reader.problem("at least one name with its shape was expected", "variables")
    variables = []
    for name, declared in list(entries.items())[:MAX_ARRAYS]:
        _name(reader, name, taken, "variables", name)
        shape = _declared_shape(reader, declared, sizes, "variables", name)
        if shape is not None:
            variables.append((name, shape))
    if len(entries) > MAX_ARRAYS:
        reader.problem(f"{len(entries)} names; at most {MAX_ARRAYS} are read", "variables")
    used = {dimension for _, shape in variables for dimension in shape}
    used |= {
        str(dimension)
        for entry in reader.table("data").values()
        if isinstance(entry, dict) and isinstance(entry.get("shape"), list)
        for dimension in entry["shape"]
    }
    for name in sizes:
        if name not in used and not reader.problems:
            reader.problem(f"no variable has a dimension {name}", "sizes", name)
    return tuple(variables)


def _declared_shape(
    reader: Reader, declared: Any, sizes: Mapping[str, int], *path: str
) -> Shape | None:
    """A list of dimensions, each a number or a name with a size."""
    shape = shape_of(declared)
    if shape is None or len(shape) > 2:
        reader.problem('a shape was expected: [], ["d"] or ["n", "r"]', *path)
        return None
    entries = 1
    for dimension in shape:
        if not dimension.isdigit() and dimension not in sizes:
            reader.problem(
                f"the dimension {dimension} has no size; as in sizes = {{ {dimension} = 10 }}"
                + did_you_mean(dimension, sizes),
                *path,
            )
            return None
        entries *= int(dimension) if dimension.isdigit() else sizes[dimension]
    if entries > MOST_ENTRIES:
        reader.problem(f"{entries} entries; at most {MOST_ENTRIES} are declared", *path)
    return shape


def _data(reader: Reader, shapes: Shapes, sizes: Mapping[str, int]) -> tuple[kinds.Datum, ...]:
    """``[data]``: each is noted in ``shapes``."""
    data: list[kinds.Datum] = []
    entries = reader.table("data")
    if len(entries) > MAX_ARRAYS:
        reader.problem(f"{len(entries)} names; at most {MAX_ARRAYS} are read", "data")
        return ()
    variables = reader.table("variables")
    for name, entry in entries.items():
        _name(reader, name, {**shapes, **variables}, "data", name)
        if not isinstance(entry, dict):
            example = '{ shape = ["d"], value = "i + 1" }'
            reader.problem(f"a table was expected, such as {example}", "data", name)
            continue
        for key in entry:
            if key not in ("shape", "value", "draw", "seed"):
                reader.problem(
                    "unknown key; expected shape, value, draw or seed", "data", name, key
                )
        shape = _declared_shape(reader, entry.get("shape"), sizes, "data", name, "shape")
        if shape is None:
            continue
        datum = _datum(reader, name, entry, shape, shapes)
        shapes[name] = shape
        if datum is not None:
            data.append(datum)
    return tuple(data)


def _datum(
    reader: Reader, name: str, entry: Mapping[str, Any], shape: Shape, shapes: Shapes
) -> kinds.Datum | None:
    at = ("data", name)
    if ("value" in entry) == ("draw" in entry):
        reader.problem("either a value or a draw was expected", *at)
        return None
    if "value" in entry:
        if "seed" in entry:
            reader.problem("a seed belongs to what is drawn", *at, "seed")
        value = _entries(reader, entry["value"], shape, shapes, *at, "value")
        return None if value is None else kinds.Datum(name, shape, value, "", 0)
    draw, seed = entry["draw"], entry.get("seed", 0)
    if draw not in kinds.DRAWS:
        reader.problem(
            f"{shortened(draw)}; expected one of {', '.join(kinds.DRAWS)}"
            + did_you_mean(str(draw), kinds.DRAWS),
            *at,
            "draw",
        )
        return None
    if draw == "rotation" and (len(shape) != 2 or shape[0] != shape[1]):
        reader.problem(f"a rotation is a square matrix, not {written(shape)}", *at, "draw")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        reader.problem(f"{shortened(seed)}; a whole number was expected", *at, "seed")
        return None
    return kinds.Datum(name, shape, None, str(draw), seed)


def _points(
    reader: Reader, table: str, variables: tuple[tuple[str, Shape], ...], shapes: Shapes
) -> tuple[Point, ...]:
    """A list of tables, each a point."""
    declared = reader.source.tables.get(table, [])
    if not isinstance(declared, list) or not all(isinstance(entry, dict) for entry in declared):
        reader.problem(f"tables were expected, each under [[{table}]]", table)
        return ()
    return tuple(
        _point(reader, entry, variables, shapes, table, number)
        for number, entry in enumerate(declared)
    )


def _point(
    reader: Reader,
    entries: Mapping[str, Any],
    variables: tuple[tuple[str, Shape], ...],
    shapes: Shapes,
    *path: str | int,
) -> Point:
    """A value for each variable."""
    for name in entries:
        if name not in dict(variables):
            known = ", ".join(dict(variables))
            message = f"'{name}' is no variable; those are: {known}"
            reader.problem(message + did_you_mean(name, dict(variables)), *path, name)
    point = []
    for name, shape in variables:
        if name not in entries:
            reader.problem(f"a value for '{name}' is missing", *path)
            continue
        value = _entries(reader, entries[name], shape, shapes, *path, name)
        if value is not None:
            point.append((name, value))
    return tuple(point)


def _entries(
    reader: Reader, text: Any, shape: Shape, shapes: Shapes, *path: str | int
) -> Expression | None:
    """An expression for the entries of an array, or one number for all of them."""
    value = reader.expression(text, *path)
    known = {**shapes, **dict.fromkeys(INDICES[: len(shape)], shape)}
    own = shaped(reader, value, None, known, FUNCTIONS, *path)
    if own is None:
        return None
    if own not in ((), shape):
        reader.problem(f"{written(own)}; {written(shape)} was expected", *path)
    return value
