"""Readers of lattices: coordinates with a value at each of N sites.

In: ``coordinates = { q = ["x[N]"], p = ["p[N]"] }``, with ``[sites] N = 32`` for a number of sites
that code is made for where the caller names none, and ``[start] x = "sin(2*pi*i/N)"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.expression import ELEMENTWISE, REDUCTIONS, SHIFT, Expression
from hamilforge.gen.declare.reader import Reader
from hamilforge.gen.declare.shapes import SCALAR

#: What an energy of a lattice may call.
FUNCTIONS = (*ELEMENTWISE, *REDUCTIONS, SHIFT)
#: The number of a site in ``[start]``.
SITE = "i"
#: More sites than this are no lattice but a mistake.
MOST_SITES = 1_000_000
_INDEXED = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]")


def named(reader: Reader, coordinates: Mapping[str, Any]) -> str:
    """What the number of sites is called; empty for coordinates without sites."""
    names = [
        name
        for components in coordinates.values()
        if isinstance(components, list)
        for name in components
        if isinstance(name, str)
    ]
    matches = [_INDEXED.fullmatch(name) for name in names]
    sizes = dict.fromkeys(match[2] for match in matches if match)
    if not sizes:
        return ""
    if len(sizes) > 1 or not all(matches):
        reader.problem(
            "either all coordinates have a value at each of the same sites, as in x[N] and p[N], "
            "or none has",
            "coordinates",
        )
    if SITE in sizes:
        reader.problem(f"{SITE} is the number of a site, not how many there are", "coordinates")
    return next(iter(sizes))


def without_sites(coordinates: Mapping[str, Any]) -> dict[str, Any]:
    """The names of coordinates alone."""

    def bare(name: Any) -> Any:
        match = _INDEXED.fullmatch(name) if isinstance(name, str) else None
        return match[1] if match else name

    return {
        key: [bare(name) for name in components] if isinstance(components, list) else components
        for key, components in coordinates.items()
    }


def sites(reader: Reader, name: str, coordinates: Sequence[str]) -> kinds.Sites:
    """The sites, and what coordinates begin with there.

    Args:
        reader: the file.
        name: what the number of sites is called.
        coordinates: the names of positions and momenta, without brackets.

    Returns:
        The sites; problems are noted by the reader.
    """
    table = reader.table("sites")
    for key in table:
        if key != name:
            reader.problem(f"unknown key; expected {name}", "sites", key)
    count = table.get(name)
    whole = isinstance(count, int) and not isinstance(count, bool)
    if count is not None and not (whole and 1 <= count <= MOST_SITES):
        reader.problem(f"a number from 1 to {MOST_SITES} was expected", "sites", name)
        count = None
    begin: list[tuple[str, Expression]] = []
    for key, value in reader.table("start").items():
        if key in coordinates:
            read = reader.expression(value, "start", key)
            types = {SITE: SCALAR, name: SCALAR}
            reader.typed(read, SCALAR, types, ELEMENTWISE, "start", key)
            if read:
                begin.append((key, read))
    return kinds.Sites(name, count, tuple(begin))
