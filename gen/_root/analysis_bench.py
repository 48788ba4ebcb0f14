"""The benchmark of the analysis of tableaux, beside nodepy where it is installed.

In: the line-up in ``analysis_bench.toml``.  Out: rows.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.tableau import order
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.tableau import Tableau
from hamilforge.gen.trees import rooted
from hamilforge.runtime.bench.rows import Case, Row
from hamilforge.runtime.bench.timing import Contestant, Times, interleaved

BENCH = "analysis"
CHECK = "full check"
Entry = Mapping[str, Any]


def cases(rounds: int | None = None) -> list[Case]:
    """What is measured.

    Args:
        rounds: the number of turns of each contestant; what the line-up says if None.
    """
    text = (resources.files("hamilforge") / "analysis_bench.toml").read_text("utf-8")
    entries = tomllib.loads(text)
    return [
        *(
            ("order conditions", functools.partial(_conditions, entry, rounds or entry["rounds"]))
            for entry in entries["conditions"]
        ),
        *(
            (CHECK, functools.partial(_checks, entry, rounds or entry["rounds"]))
            for entry in entries["checks"]
        ),
    ]


def _conditions(entry: Entry, rounds: int) -> Iterator[Row]:
    """All conditions to an order."""
    declaration = catalogue.load(entry["name"], ("runge-kutta",))
    assert isinstance(declaration, kinds.RungeKutta)
    tableau, highest = build(declaration), entry["order"]
    a, b, _ = tableau.floats
    work: dict[str, Callable[[], object]] = {
        "floats": functools.partial(order.float_residuals, a, b, highest),
        "exact": functools.partial(_exact_residuals, tableau, highest),
    }
    for run_once in work.values():
        run_once()
    times = interleaved(
        {name: Contestant(_nothing, residuals) for name, residuals in work.items()}, rounds
    )
    peer, note = _peer(entry["peer"], highest)
    count = len(rooted.table(highest).order)
    for name, measured in times.items():
        case = f"{count} conditions to order {highest}, {name}"
        ratio = measured.median / peer.median if peer else None
        yield _row(case, entry["name"], f"nodepy, order {highest} alone", measured, ratio, note)


def _exact_residuals(tableau: Tableau, highest: int) -> None:
    weights = order.ElementaryWeights(tableau)
    for size in range(1, highest + 1):
        weights.residuals(size)


def _peer(name: str, highest: int) -> tuple[Times | None, str]:
    try:
        from nodepy import rk
    except ImportError:
        return None, "skipped: nodepy is not installed"
    method = rk.loadRKM(name).__num__()
    residuals = functools.partial(method.order_condition_residuals, highest)
    times = interleaved({"nodepy": Contestant(_nothing, residuals)}, 1)["nodepy"]
    return times, f"nodepy took {times.median:.3g} s"


def _checks(entry: Entry, rounds: int) -> Iterator[Row]:
    """Full reports."""
    names = entry.get("names") or catalogue.names(entry["kind"])
    kind = entry.get("kind", "runge-kutta")
    title = names[0] if len(names) == 1 else f"all {len(names)} of kind {entry['kind']}"

    def check() -> None:
        for name in names:
            pipeline.check(catalogue.load(name, (kind,)))

    times = interleaved({"check": Contestant(_nothing, check)}, rounds)["check"]
    yield _row(CHECK, title, "", times, None, "")


def _nothing() -> None:
    return None


def _row(case: str, candidate: str, peer: str, times: Times, ratio: float | None, note: str) -> Row:
    spread = (times.median, times.p10, times.p90)
    return Row(BENCH, case, candidate, peer, *spread, ratio, 1, note=note)
