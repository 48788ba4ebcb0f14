"""The result of a benchmark: cases in, rows out, for JSON or as a table for a terminal."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

#: What a benchmark measures: a text, and the work that gives its rows.
Case = tuple[str, Callable[[], "Iterable[Row]"]]
_PACKAGES = (
    "numba",
    "numpy",
    "scipy",
    "torch",
    "sympy",
    "diffrax",
    "geoopt",
    "heyoka",
    "jax",
    "pogo-torch",
    "torchdiffeq",
)


@functools.cache
def _products() -> str:
    """The BLAS that compiled kernels call, SciPy's, and the processor whose code it runs.

    It goes by the name of the processor, and takes that of an older one where it is too young.
    """
    import scipy.linalg  # noqa: F401  (so that it is loaded)
    import threadpoolctl

    for library in threadpoolctl.threadpool_info():
        if library["user_api"] == "blas" and "scipy" in library["filepath"]:
            parts = (library["internal_api"], library["version"], library.get("architecture"))
            return " ".join(map(str, filter(None, parts)))
    return "unknown"


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide about speed, where installed."""
    by_package = {"python": platform.python_version(), "products": _products()}
    for package in _PACKAGES:
        try:
            by_package[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return by_package


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate beside one peer, in one case.

    Attributes:
        bench: the benchmark.
        case: the work.
        candidate: what is measured.
        peer: what it is compared with; empty where there is no peer.
        median_s: the candidate's median, in seconds; None where nothing was timed.
        p10_s: its 10th percentile.
        p90_s: its 90th percentile.
        ratio: the candidate's median over the peer's, within one run.
        threads: threads of both sides.
        count: the result where it is a number of events, not a time.
        note: why there is no number, or how to read it.
        versions: versions of the packages.
    """

    bench: str
    case: str
    candidate: str
    peer: str
    median_s: float | None
    p10_s: float | None
    p90_s: float | None
    ratio: float | None
    threads: int
    count: int | None = None
    note: str = ""
    versions: dict[str, str] = field(default_factory=versions)

    def to_dict(self) -> dict[str, Any]:
        """The row as numbers, strings and None."""
        return asdict(self)


def chosen(cases: Sequence[Case], text: str | None) -> list[Case]:
    """Some cases of a benchmark.

    Args:
        cases: all that there are.
        text: only those whose text contains this; all if None.

    Raises:
        ValueError: no case has this text.
    """
    some = [case for case in cases if text is None or text in case[0]]
    if not some:
        known = "; ".join(dict.fromkeys(case for case, _ in cases))
        raise ValueError(f"no case contains '{text}'; there are: {known}")
    return some


def measured(cases: Iterable[Case]) -> Iterator[Row]:
    """The rows of cases, in the order in which they are measured, fastest peers first."""
    for _, work in cases:
        yield from fastest_first(work())


def fastest_first(rows: Iterable[Row]) -> list[Row]:
    """The rows of a case, those of each candidate together and its fastest peer first."""
    own: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        own.setdefault((row.case, row.candidate), []).append(row)
    return [
        row
        for same in own.values()
        for row in sorted(same, key=lambda row: math.inf if row.ratio is None else -row.ratio)
    ]


def named(peer: str, versions: Mapping[str, str]) -> str:
    """A peer with the version of its package, whose name its own begins with."""
    package, _, rest = peer.partition(" ")
    version = versions.get(package.lower())
    return " ".join(filter(None, (package, version, rest)))


def table(rows: Sequence[Row]) -> Table:
    """The rows as a table for a terminal."""
    out = Table("case", "candidate", "peer", box=None, header_style="bold")
    for title in ("median", "p10", "p90", "ratio"):
        out.add_column(title, justify="right")
    out.add_column("note")
    for row in rows:
        median = _seconds(row.median_s) if row.count is None else str(row.count)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        spread = (_seconds(row.p10_s), _seconds(row.p90_s))
        peer = named(row.peer, row.versions)
        out.add_row(row.case, row.candidate, peer, median, *spread, ratio, row.note)
    return out


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"
