"""Readers of networks: vector fields with controls, and objectives."""

from __future__ import annotations

import math
import re
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import ExpressionError, caret, did_you_mean
from hamilforge.gen.declare.expression import (
    ACTIVATION,
    ELEMENTWISE,
    ENTRY,
    RATE,
    Expression,
    Name,
    Operation,
    walk,
)
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.read_fixed import fixed_arrays
from hamilforge.gen.declare.read_parts import Find, parameters
from hamilforge.gen.declare.read_problems import methods
from hamilforge.gen.declare.reader import SYMBOL, Reader
from hamilforge.gen.declare.shapes import ARRAY_FUNCTIONS, SCALAR, infer_shape, written

MAX_ARRAYS = 64
#: Of an array whose dimensions are numbers.
MAX_ENTRIES = 10**6
_DIMENSION = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*|[1-9][0-9]{0,8}")
_RANKS = {"state": (1, 1), "controls": (0, 2), "weights": (0, 2), "data": (0, 1)}
_KEYS = ("state", "controls", "fixed", "f", "activation", "parameters")
Shapes = dict[str, Shape]


def field(reader: Reader, head: kinds.Head, _: Find) -> kinds.Declaration:
    """A network's vector field and its controls."""
    reader.keys((*_KEYS, "running", "regulariser"))
    own, shapes = _scalars(reader)
    states = _arrays(reader, "state", shapes, required=True)
    controls = _arrays(reader, "controls", shapes)
    arrays = fixed_arrays(
        reader, states, shapes, lambda name, *path: _free(reader, name, shapes, *path)
    )
    functions = _functions(reader)
    activation = _activation(reader)
    rates = _rates(reader, states, {**shapes, "t": ()}, (*functions, ENTRY))
    running = None
    if "running" in reader.source.tables:
        running = reader.expression(reader.text("running"), "running")
        shaped(reader, running, (), {**shapes, "t": ()}, functions, "running")
    regulariser = _regulariser(reader, (*dict(states), "t"), controls, own, functions)
    listed = methods(reader)
    reader.finish()
    return kinds.Field(
        head, states, controls, rates, activation, own, running, regulariser, listed, arrays=arrays
    )


def objective(reader: Reader, head: kinds.Head, _: Find) -> kinds.Declaration:
    """A read-out of the last state, and a loss for each sample."""
    reader.keys(("state", "weights", "data", "prediction", "loss", "activation", "parameters"))
    own, shapes = _scalars(reader)
    states = _arrays(reader, "state", shapes, required=True)
    weights = _arrays(reader, "weights", shapes)
    functions = _functions(reader)
    activation = _activation(reader)
    prediction = reader.expression(reader.text("prediction"), "prediction")
    shape = shaped(reader, prediction, None, shapes, functions, "prediction")
    data = _arrays(reader, "data", shapes)
    loss = reader.expression(reader.text("loss"), "loss")
    known = shapes if shape is None else {**shapes, "prediction": shape}
    shaped(reader, loss, (), known, functions, "loss")
    reader.finish()
    assert prediction is not None
    assert loss is not None
    return kinds.Objective(head, states, weights, data, prediction, loss, activation, own)


def _scalars(reader: Reader) -> tuple[tuple[kinds.Parameter, ...], Shapes]:
    own = parameters(reader, "parameters", lambda name, *path: _free(reader, name, {}, *path))
    return own, {parameter.name: () for parameter in own}


def _free(reader: Reader, name: str, taken: Shapes, *path: str) -> None:
    """Note a name that cannot be one."""
    if not SYMBOL.fullmatch(name) or name in ("t", "x", "prediction", "running_cost"):
        reader.problem(
            f"'{name}' cannot be a name here: letters, digits and single underscores "
            "between them, a letter first; t is the time, x the argument of the activation, "
            "prediction the read-out, "
            "running_cost the integral of the running cost",
            *path,
        )
    if name in taken:
        reader.problem(f"'{name}' has a meaning already", *path)


def _arrays(
    reader: Reader, table: str, shapes: Shapes, required: bool = False
) -> tuple[tuple[str, Shape], ...]:
    """A table of names with shapes; each is noted in ``shapes``."""
    arrays = []
    entries = reader.table(table, required=required)
    least, most = _RANKS[table]
    if required and not entries and not reader.problems:
        reader.problem("at least one name with its shape was expected", table)
    if len(entries) > MAX_ARRAYS:
        reader.problem(f"{len(entries)} names; at most {MAX_ARRAYS} are read", table)
        return ()
    for name, declared in entries.items():
        _free(reader, name, shapes, table, name)
        shape = shape_of(declared)
        if shape is None or not least <= len(shape) <= most:
            ranks = " or ".join(
                ["[]", '["d"]', '["d", "d"]'][rank] for rank in range(least, most + 1)
            )
            reader.problem(f"a shape was expected, such as {ranks}", table, name)
            continue
        count = math.prod(int(dimension) for dimension in shape if dimension.isdigit())
        if count > MAX_ENTRIES:
            reader.problem(f"{count} entries; at most {MAX_ENTRIES} are declared", table, name)
            continue
        shapes[name] = shape
        arrays.append((name, shape))
    return tuple(arrays)


def shape_of(declared: Any) -> Shape | None:
    """A list of dimensions, by name or number; None if it is none."""
    if not isinstance(declared, list) or any(
        isinstance(dimension, bool | list | dict) for dimension in declared
    ):
        return None
    shape = tuple(map(str, declared))
    return shape if all(_DIMENSION.fullmatch(dimension) for dimension in shape) else None


def _functions(reader: Reader) -> tuple[str, ...]:
    declared = "activation" in reader.source.tables
    return (*ARRAY_FUNCTIONS, ACTIVATION) if declared else ARRAY_FUNCTIONS


def _activation(reader: Reader) -> Expression | None:
    """``activation``: an expression in x."""
    if "activation" not in reader.source.tables:
        return None
    activation = reader.expression(reader.text("activation"), "activation")
    reader.typed(activation, SCALAR, {"x": SCALAR}, ELEMENTWISE, "activation")
    return activation


def _rates(
    reader: Reader,
    states: tuple[tuple[str, Shape], ...],
    shapes: Shapes,
    functions: tuple[str, ...],
) -> tuple[tuple[str, Expression], ...]:
    """``f``: a text for one state, a table for several."""
    declared = reader.source.tables.get("f")
    table = declared if isinstance(declared, dict) else {states[0][0]: declared} if states else {}
    for name in table:
        if name not in dict(states):
            known = ", ".join(name for name, _ in states)
            reader.problem(
                f"'{name}' is no state; those are: {known}" + did_you_mean(str(name), dict(states)),
                "f",
                str(name),
            )
    rates = []
    for name, shape in states:
        text = table.get(name)
        path = ("f", name) if isinstance(declared, dict) else ("f",)
        if text is None:
            reader.problem(f"the right-hand side of '{name}' is missing", *path)
            continue
        value = reader.with_entries(text, *path)
        rate_shape = shaped(reader, value, None, shapes, functions, *path)
        if rate_shape is not None and rate_shape != shape:
            reader.problem(
                f"f is {written(rate_shape)}, and its state '{name}' is {written(shape)}", *path
            )
        if value:
            rates.append((name, value))
    return tuple(rates)


def _regulariser(
    reader: Reader,
    others: tuple[str, ...],
    controls: tuple[tuple[str, Shape], ...],
    own: tuple[kinds.Parameter, ...],
    functions: tuple[str, ...],
) -> Expression | None:
    """``regulariser``: a scalar of the controls of a layer, and of how fast they change."""
    if "regulariser" not in reader.source.tables:
        return None
    regulariser = reader.expression(reader.text("regulariser"), "regulariser")
    shapes = {**dict(controls), **{parameter.name: () for parameter in own}}
    for node in walk(regulariser.tree) if regulariser is not None else ():
        if isinstance(node, Name) and node.name in others:
            what = "the time" if node.name == "t" else "a state"
            reader.problem(
                f"'{node.name}' is {what}: a regulariser is of controls and parameters alone",
                "regulariser",
                excerpt=caret(regulariser.text, node.start, node.stop) if regulariser else "",
            )
            return None
    if shaped(reader, regulariser, (), shapes, (*functions, RATE), "regulariser") is None:
        return None
    assert regulariser is not None
    nodes = [*walk(regulariser.tree)]
    if not any(isinstance(node, Name) and node.name in dict(controls) for node in nodes):
        reader.problem("it depends on no control", "regulariser")
    for node in nodes:
        if isinstance(node, Operation) and node.op == RATE:
            (of,) = node.args
            assert isinstance(of, Name)
            if of.name not in dict(controls):
                excerpt = caret(regulariser.text, of.start, of.stop)
                reader.problem(
                    f"{RATE}(...) takes a control, and '{of.name}' is a parameter",
                    "regulariser",
                    excerpt=excerpt,
                )
    return regulariser


def shaped(
    reader: Reader,
    value: Expression | None,
    wanted: Shape | None,
    shapes: Shapes,
    functions: tuple[str, ...],
    *path: str | int,
) -> Shape | None:
    """The shape of an expression; a problem is noted where it is none, or not what is wanted.

    Args:
        reader: of the file.
        value: None, where no expression could be read.
        wanted: the shape that it has to have, or None for any.
        shapes: of the names that it may use.
        functions: that it may call.
        path: its key.

    Returns:
        The shape, or None where it has none.
    """
    if value is None:
        return None
    try:
        shape = infer_shape(value, shapes, functions)
        if wanted is not None and shape != wanted:
            raise ExpressionError(
                f"{written(shape)}; {written(wanted)} was expected", 0, len(value.text)
            )
    except ExpressionError as error:
        reader.at_expression(value.text, error, path)
        return None
    return shape
