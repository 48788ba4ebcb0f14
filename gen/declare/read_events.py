"""``[events]``: functions of the state whose zeros along solutions are looked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import did_you_mean
from hamilforge.gen.declare.expression import ELEMENTWISE, Expression
from hamilforge.gen.declare.functions import BY_NAME
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.reader import SYMBOL, Reader
from hamilforge.gen.declare.shapes import SCALAR

#: What an event may say beside its function.
_KEYS = ("value", "direction", "terminal")


def events(reader: Reader, types: Mapping[str, Shape]) -> tuple[kinds.Event, ...]:
    """``[events]``: an expression by name, or a table with ``value``, ``direction``, ``terminal``.

    Args:
        reader: the file.
        types: shapes of what expressions may read, by name.

    Returns:
        The events; problems are noted by the reader.
    """
    read = (
        _event(reader, dict(types), name, declared)
        for name, declared in reader.table("events").items()
    )
    return tuple(event for event in read if event is not None)


def _event(reader: Reader, types: dict[str, Shape], name: str, declared: Any) -> kinds.Event | None:
    path = ("events", name)
    table = declared if isinstance(declared, dict) else {"value": declared}
    for key in table:
        if key not in _KEYS:
            hint = did_you_mean(key, _KEYS)
            reader.problem(f"unknown key '{key}'; expected {', '.join(_KEYS)}{hint}", *path)
    if "value" not in table:
        reader.problem("a value is missing: what vanishes at the event", *path)
        return None
    if not SYMBOL.fullmatch(name):
        reader.problem(f"'{name}' cannot be the name of an event", *path)
    value = reader.expression(table.get("value"), *path)
    reader.typed(value, SCALAR, types, ELEMENTWISE, *path)
    direction, terminal = table.get("direction", 0), table.get("terminal", False)
    if isinstance(direction, bool) or direction not in (-1, 0, 1):
        reader.problem(
            "direction is 1 for zeros at which the value grows, -1 where it falls, 0 for both",
            *path,
        )
        direction = 0
    if terminal is not False and not (isinstance(terminal, int) and terminal > 0):
        reader.problem("terminal is true, false, or the number of zeros at which a run ends", *path)
        terminal = 0
    if value is None:
        return None
    _refuse_kinks(reader, value, path)
    return kinds.Event(name, value, int(direction), int(terminal))


def _refuse_kinks(reader: Reader, value: Expression, path: tuple[str, ...]) -> None:
    """Zeros are isolated by Taylor series, which a function with a kink has none of."""
    for function in sorted(value.functions()):
        if BY_NAME[function].kink:
            reader.problem(
                f"'{function}' has a kink, at which there is no Taylor series, and zeros are found "
                "by these: declare what changes sign, or give hf.integrate a Python function",
                *path,
            )
