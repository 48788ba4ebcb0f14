"""An optimizer of points on another manifold than its declaration says.

In: an optimizer, and what a caller names instead: manifold, metric, retraction.  Out: the optimizer
that the same file declares with these, without its claims, which are of the manifold that it names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.matrix_functions import ALONG, as_matrix
from hamilforge.gen.declare.variation import Place, Variation


def split(choices: Variation) -> tuple[Place, Variation]:
    """Choices of where points lie and how they move, and all others."""
    place = {key: choices.get(key) for key in Place.__annotations__}
    others = {key: value for key, value in choices.items() if key not in place}
    return cast(Place, place), cast(Variation, others)


def elsewhere(declaration: kinds.Declaration, named: Place) -> kinds.Declaration:
    """The same optimizer on another manifold, in another metric, or by another retraction.

    What is not named stays as declared where the manifold has something of that name, and is its
    first else; a rule that moves along geodesics moves by a retraction only where one is named.

    Args:
        declaration: an optimizer of points.
        named: what is chosen; None, or not there, for what is not.

    Returns:
        The optimizer; the one that was given if all is as it says.

    Raises:
        DeclarationError: it is not on a manifold, is made for its own alone, there is no such
            manifold, metric or retraction, or no geodesic where it moves along these.
    """
    chosen = {key: str(name) for key, name in named.items() if name is not None}
    if not chosen:
        return declaration
    head = declaration.head
    if not isinstance(declaration, kinds.MatrixOptimizer) or declaration.manifold is None:
        raise DeclarationError.single(
            head.source.where,
            f"'{head.name}' is no optimizer of points of a manifold: {' and '.join(chosen)} cannot "
            "be chosen",
        )
    own = {
        "manifold": declaration.manifold.head.name,
        "metric": declaration.metric,
        "retraction": declaration.retraction,
    }
    if chosen.items() <= own.items():
        return declaration
    if declaration.retraction == kinds.FREE:
        raise DeclarationError.single(
            head.source.where,
            f"'{head.name}' moves without a retraction, by lines that are made for "
            f"{own['manifold']} in its metric {own['metric']} alone",
        )
    place = declaration.manifold
    if "manifold" in chosen:
        found = catalogue.load(chosen["manifold"], ("manifold",))
        assert isinstance(found, kinds.Manifold)
        place = found
    tables = _tables(declaration, place, chosen)
    read = catalogue.load(head.source.where, ("optimizer",), tables)
    assert isinstance(read, kinds.MatrixOptimizer)
    options = tuple(f"--{key} {name}" for key, name in chosen.items())
    return dataclasses.replace(read, varied=options)


def _tables(
    declaration: kinds.MatrixOptimizer, place: kinds.Manifold, chosen: Mapping[str, str]
) -> dict[str, Any]:
    """What the file says, of another manifold."""
    tables = dict(declaration.head.source.tables)
    tables.pop("claims", None)
    metrics = tuple(metric.name for metric in place.metrics)
    metric = chosen.get("metric", tables.get("metric"))
    metric = metric if metric in metrics or "metric" in chosen else metrics[0]
    curved = metric in metrics and place.metric(metric).geodesic is not None
    if tables.get("retraction") == kinds.GEODESIC and not curved and "retraction" not in chosen:
        raise DeclarationError.single("", _no_geodesic(declaration, place, metric))
    if isinstance(getattr(declaration, "method", None), kinds.ConstrainedSplitting):
        # what moves the point is said by the manifold
        tables.setdefault("retraction", getattr(place.multipliers, "name", None))
    known = {
        "metric": metrics,
        "retraction": (*(own.name for own in place.retractions), *[kinds.GEODESIC] * curved),
        "transport": (kinds.PROJECTION, *(name for name, _ in place.transports)),
    }
    usual = {  # what is so if nothing is said
        key: tables[key] if tables.get(key) in names else next(iter(names), None)
        for key, names in known.items()
    }
    for key, names in known.items():
        if key in chosen:
            if chosen[key] not in names:
                raise DeclarationError.single(
                    "", f"{key} = {chosen[key]!r}: {place.head.name} has {', '.join(names)}"
                )
            tables[key] = chosen[key]
        elif tables.get(key) not in names:
            tables.pop(key, None)
    tables["manifold"] = str(Path(place.head.source.where).resolve())
    name = f"{declaration.head.name}_on_{place.head.name}"
    for key, word in (("metric", "in"), ("retraction", "by")):
        if key in chosen and chosen[key] != usual.get(key):
            name += f"_{word}_{chosen[key]}"
    tables["name"] = name
    tables["title"] = (
        f"The rule of {declaration.head.name} on {place.head.name}, in the metric {metric}, by "
        f"{tables.get('retraction', place.retractions[0].name)}: {place.head.title}"
    )
    if isinstance(tables.get("unknowns"), dict):
        tables["unknowns"] = _renamed(tables["unknowns"], declaration, place)
    return tables


def _no_geodesic(
    declaration: kinds.MatrixOptimizer, place: kinds.Manifold, metric: str | None
) -> str:
    """Why a rule that moves along geodesics cannot, and what can be chosen."""
    curved = [own.name for own in place.metrics if own.geodesic is not None]
    choices = [f"metric = '{name}'" for name in curved]
    choices += [f"retraction = '{own.name}'" for own in place.retractions]
    return (
        f"'{declaration.head.name}' moves along geodesics, and {place.head.name} declares none in "
        f"the metric {metric}; choose {' or '.join(choices)}, for which other orders hold"
    )


def _renamed(
    unknowns: Mapping[str, Any], declaration: kinds.MatrixOptimizer, place: kinds.Manifold
) -> dict[str, Any]:
    """The shapes of unknowns in the dimensions of another manifold.

    That of the point is that of the point; others go axis by axis, by the first of two equal ones.
    """
    pairs = [*zip(declaration.shape, place.shape, strict=True)]
    axes = dict(reversed(pairs))
    renamed = {}
    for name, declared in unknowns.items():
        shape = as_matrix(tuple(map(str, declared)))
        there = [axes.get(axis, axis) for axis in shape]
        if shape == declaration.shape:
            there = [*place.shape]
        renamed[name] = [1 if axis == ALONG else axis for axis in there]
    return renamed
