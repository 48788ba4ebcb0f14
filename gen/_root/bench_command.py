"""The command ``bench``."""

from __future__ import annotations

import importlib
import json

from hamilforge import terminal

#: What can be measured, and the module that does.
BENCHES = {
    "optimizers": "hamilforge.runtime.bench.optimizers",
    "integrators": "hamilforge.runtime.bench.integrators",
    "networks": "hamilforge.runtime.bench.networks",
    "analysis": "hamilforge.analysis_bench",
}


def run(what: str, as_json: bool, rounds: int | None) -> int:
    """Measure, and print a table or JSON."""
    bench = importlib.import_module(BENCHES[what])
    rows = bench.run(rounds=rounds)
    if as_json:
        terminal.say(json.dumps([row.to_dict() for row in rows], indent=2))
    else:
        terminal.console().print(bench.table(rows))
    return 0
