"""Loops of steps: what a rule does at the end of every so many, and numbers that follow a schedule.

In: the tables ``[outer]`` and ``[scope]`` of an optimizer with ``unknowns`` and ``assign``.  Out: a
:class:`Loop`, or None where there are none.
"""

from __future__ import annotations

from collections.abc import Sequence

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import did_you_mean
from hamilforge.gen.declare.read_parts import assignments, names_at
from hamilforge.gen.declare.reader import Reader

#: Numbers that every loop has: of loops before this one, and of steps in it, from 1.
LOOPS, PLACE = "k", "l"
#: What a program with a loop keeps from step to step, and all that it calls numbers of its own.
LOOP_SCALARS = (PLACE, "loop_length", "loops")
#: How many workers there are, where an outer step takes a mean over them.
WORKERS = "workers"
RESERVED = (LOOPS, *LOOP_SCALARS, "closes", WORKERS)
_KEYS = ("every", "assign", "unknowns", "start", "solution", "hyperparameters")


def loop(reader: Reader, own: Sequence[str]) -> kinds.Loop | None:
    """Read ``[outer]`` and ``[scope]``.

    Args:
        reader: the file.
        own: unknowns of the steps inside, which the outer step may assign.

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
    unknowns = names_at(reader, "outer", "unknowns", taken=own, optional=True)
    start = []
    table = reader.table("outer").get("start", {})
    if not isinstance(table, dict):
        reader.problem("a table was expected", "outer", "start")
    for name, text in table.items() if isinstance(table, dict) else ():
        at = ("outer", "start", name)
        if name not in unknowns:
            reader.problem(f"'{name}' is no unknown of [outer]" + did_you_mean(name, unknowns), *at)
        elif value := reader.expression(text, *at):
            start.append((name, value))
    solution = None
    if "solution" in reader.table("outer"):
        solution = reader.expression(reader.table("outer")["solution"], "outer", "solution")
    lines = assignments(reader, (*own, *unknowns), "outer")
    schedules = []
    for name, text in reader.table("scope").items():
        reader.symbol(name, "scope", name)
        if value := reader.expression(text, "scope", name):
            schedules.append((name, value))
    if every is None or lines is None:
        return None
    return kinds.Loop(every, lines, tuple(schedules), unknowns, tuple(start), solution)
