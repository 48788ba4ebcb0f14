"""The command ``bench optimizers``."""

from __future__ import annotations

import json


def run(as_json: bool, rounds: int | None) -> int:
    """Measure, and print a table or JSON."""
    from rich.console import Console

    from hamilforge.runtime.bench import optimizers

    rows = optimizers.run(rounds=rounds)
    if as_json:
        print(json.dumps([row.to_dict() for row in rows], indent=2))
    else:
        Console().print(optimizers.table(rows))
    return 0
