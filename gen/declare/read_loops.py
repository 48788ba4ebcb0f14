"""Loops of steps: what a rule does at the end of every so many, and numbers that follow a schedule.

In: the tables ``[outer]`` and ``[scope]`` of an optimizer with ``unknowns`` and ``assign``.  Out: a
:class:`Loop`, or None where there are none.
"""

from __future__ import annotations

from collections.abc import Container

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.read_parts import assignments
from hamilforge.gen.declare.reader import Reader

#: Numbers that every loop has: of loops before this one, and of steps in it, from 1.
LOOPS, PLACE = "k", "l"
#: What a program with a loop keeps from step to step, and all that it calls numbers of its own.
LOOP_SCALARS = (PLACE, "loop_length", "loops")
#: How many workers there are, where an outer step takes a mean over them.
WORKERS = "workers"
RESERVED = (LOOPS, *LOOP_SCALARS, "closes", WORKERS)
_KEYS = ("every", "assign")


def loop(reader: Reader, own: Container[str]) -> kinds.Loop | None:
    """Read ``[outer]`` and ``[scope]``.

    Args:
        reader: the file.
        own: unknowns, which the outer step may assign.

    Returns:
        The loop; problems are noted by the reader.
    """
    tables = reader.source.tables
    if "outer" not in tables:
        if "scope" in tables:
            message = "a schedule is computed where a loop begins, and there is no [outer]"
            reader.problem(message, "scope")
        return None
    for key in reader.table("outer"):
        if key not in _KEYS:
            message = f"unknown key; expected one of {', '.join(_KEYS)}"
            reader.problem(message, "outer", key)
    every = None
    if "every" in reader.table("outer"):
        every = reader.expression(reader.table("outer")["every"], "outer", "every")
    else:
        reader.problem('missing; a count was expected, such as every = "L"', "outer", "every")
    lines = assignments(reader, own, "outer")
    schedules = []
    for name, text in reader.table("scope").items():
        reader.symbol(name, "scope", name)
        if value := reader.expression(text, "scope", name):
            schedules.append((name, value))
    if every is None or lines is None:
        return None
    return kinds.Loop(every, lines, tuple(schedules))
