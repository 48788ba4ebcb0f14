"""The command ``bench``."""

from __future__ import annotations

import importlib
import json

#: What can be measured, and the module that does.
BENCHES = {
    "optimizers": "hamilforge.runtime.bench.optimizers",
    "integrators": "hamilforge.runtime.bench.integrators",
    "networks": "hamilforge.runtime.bench.networks",
    "analysis": "hamilforge.analysis_bench",
}


def run(what: str, as_json: bool, rounds: int | None) -> int:
    """Measure, and print a table or JSON."""
    from rich.console import Console

    bench = importlib.import_module(BENCHES[what])
    rows = bench.run(rounds=rounds)
    if as_json:
        print(json.dumps([row.to_dict() for row in rows], indent=2))
    else:
        Console().print(bench.table(rows))
    return 0
