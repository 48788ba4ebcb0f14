"""The command ``bench``."""

from __future__ import annotations

import importlib
import json

from hamilforge import terminal
from hamilforge.runtime.bench.rows import Row, chosen, measured, table

#: What can be measured, and the module that does.
BENCHES = {
    "optimizers": "hamilforge.runtime.bench.optimizers",
    "integrators": "hamilforge.runtime.bench.integrators",
    "networks": "hamilforge.runtime.bench.networks",
    "manifolds": "hamilforge.runtime.bench.manifolds",
    "analysis": "hamilforge.analysis_bench",
}


def run(what: str, as_json: bool, rounds: int | None, case: str | None) -> int:
    """Measure, and print a table or JSON.

    Args:
        what: which benchmark, a key of ``BENCHES``.
        as_json: JSON instead of a table.
        rounds: the number of turns of each contestant; what the line-up says if None.
        case: only cases whose text contains this; all if None.

    Returns:
        The exit status: 0, or 2 if no case has this text.
    """
    bench = importlib.import_module(BENCHES[what])
    try:
        cases = chosen(bench.cases(rounds), case)
    except ValueError as error:
        return terminal.complain(error)
    rows: list[Row] = []
    try:
        for row in measured(cases):
            rows.append(row)  # one by one: what has been measured is not lost
    finally:
        if as_json and rows:
            terminal.say(json.dumps([row.to_dict() for row in rows], indent=2))
        elif rows:
            terminal.console().print(table(rows))
    return 0
