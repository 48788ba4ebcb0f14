"""The benchmark of manifolds: a step with momentum on the Stiefel manifold beside others' steps.

In: the line-up in ``manifolds.toml``.  Out: rows.  The rules differ: ours retracts by the polar
factor, geoopt's by QR, and POGO is a tangent step with one Newton–Schulz step, which only comes
near the manifold: the published package, whose step has six products, and the same lines with the
fewest, four.  Nobody's points are made orthonormal again between steps.  Behind them comes Muon, of
:mod:`muon`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from typing import Any

import numba
import torch

from hamilforge.runtime.bench import muon
from hamilforge.runtime.bench.rows import Case, Row
from hamilforge.runtime.bench.steps import row, stepping, timed
from hamilforge.runtime.bench.timing import Contestant
from hamilforge.runtime.core.loader import load

BENCH = "manifolds"
Entry = Mapping[str, Any]


def line_up() -> dict[str, Any]:
    """What is measured, as data."""
    file = resources.files("hamilforge.runtime.bench") / "manifolds.toml"
    return tomllib.loads(file.read_text("utf-8"))


def cases(rounds: int | None = None) -> list[Case]:
    """What is measured.

    Args:
        rounds: the number of turns of each contestant; what the line-up says if None.
    """
    entries = line_up()
    steps = [
        (entry["case"], functools.partial(_rows, entry, entries, rounds))
        for entry in entries["cases"]
    ]
    return [*steps, *muon.cases(BENCH, entries["muon"], rounds)]


def _rows(case: Entry, entries: Entry, rounds: int | None) -> Iterator[Row]:
    numba.set_num_threads(min(torch.get_num_threads(), numba.get_num_threads()))
    makers: dict[str, Callable[[], Contestant]] = {
        "a list": lambda: _ours(case, entries, batched=False),
        "one parameter": lambda: _ours(case, entries, batched=True),
        "four products in torch": lambda: _products(case, entries),
    }
    skipped = {}
    for label, make in (("geoopt", _geoopt), ("pogo-torch", _pogo)):
        for batched, form in ((False, "a list"), (True, "one parameter")):
            if _is_here(label):
                makers[f"{label}, {form}"] = functools.partial(make, case, entries, batched)
            else:
                skipped[f"{label}, {form}"] = f"{label} is not here"
    if case["count"] * case["rows"] * case["columns"] <= entries["parametrised"]:
        makers["parametrizations.orthogonal"] = lambda: _parametrised(case, entries)
    times = timed(makers, rounds or case["rounds"])
    flops = _flops(case)
    for candidate in ("a list", "one parameter"):
        speed = f"{flops / times[candidate].median / 1e9:.1f} GFLOP/s in products"
        for peer in (*makers, *skipped):
            if peer in ("a list", "one parameter"):
                continue
            note = skipped.get(peer, speed)
            yield row(BENCH, case["case"], candidate, peer, times, note)


def _is_here(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _flops(case: Entry) -> float:
    """Of the products of a step with as many rows as the matrix: five, and the Gram matrix."""
    return float(6 * 2 * case["count"] * case["rows"] * case["columns"] ** 2)


def _points(case: Entry) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(case["count"], case["rows"], case["columns"], generator=generator)
    return torch.linalg.qr(drawn)[0].contiguous()


def _slopes(case: Entry) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(case["count"], case["rows"], case["columns"], generator=generator)


def _ours(case: Entry, entries: Entry, batched: bool) -> Contestant:
    optimizer = load(entries["rule"]).torch_class()
    points, slopes = _points(case), _slopes(case)
    params = [torch.nn.Parameter(points)] if batched else list(map(torch.nn.Parameter, points))
    grads = [slopes] if batched else [*slopes]
    return stepping(params, grads, optimizer(params, batched=batched, **entries["options"]).step)


def _geoopt(case: Entry, entries: Entry, batched: bool) -> Contestant:
    import geoopt

    points, slopes = _points(case), _slopes(case)
    manifold = geoopt.EuclideanStiefel()
    parts = [points] if batched else [*points]
    params = [geoopt.ManifoldParameter(part, manifold=manifold) for part in parts]
    grads = [slopes.clone()] if batched else [slope.clone() for slope in slopes]
    return stepping(params, grads, geoopt.optim.RiemannianSGD(params, **entries["options"]).step)


def _pogo(case: Entry, entries: Entry, batched: bool) -> Contestant:
    from pogo import POGO, base

    points, slopes = _points(case), _slopes(case)
    parts = [points] if batched else [point[None] for point in points]
    grads = [slopes.clone()] if batched else [slope[None].clone() for slope in slopes]
    params = [torch.nn.Parameter(part.clone()) for part in parts]
    along = base.SGD(momentum=entries["options"]["momentum"])
    optimizer = POGO(params, along, lr=entries["options"]["lr"], rows=False)
    return stepping(params, grads, optimizer.step)


def _products(case: Entry, entries: Entry) -> Contestant:
    points, slopes = _points(case), _slopes(case)
    momentum = torch.zeros_like(points)
    lr, keep = entries["options"]["lr"], entries["options"]["momentum"]

    def step() -> None:
        momentum.mul_(keep).add_(slopes)
        along = points.mT @ momentum
        near = points - lr * (momentum - points @ ((along + along.mT) / 2))
        gram = near.mT @ near
        points.copy_(1.5 * near - 0.5 * (near @ gram))

    return Contestant(lambda: None, step)


def _parametrised(case: Entry, entries: Entry) -> Contestant:
    """Making the matrices, their derivative, and torch's own step."""
    parametrize = torch.nn.utils.parametrizations
    layers = []
    for _ in range(case["count"]):
        layer = torch.nn.Linear(case["columns"], case["rows"], bias=False)
        layers.append(parametrize.orthogonal(layer, orthogonal_map="householder"))
    params = [param for layer in layers for param in layer.parameters()]
    optimizer = torch.optim.SGD(params, **entries["options"])
    slopes = _slopes(case)

    def step() -> None:
        optimizer.zero_grad()
        total = sum(
            (layer.weight * slope).sum() for layer, slope in zip(layers, slopes, strict=True)
        )
        assert isinstance(total, torch.Tensor)
        total.backward()
        optimizer.step()

    return Contestant(lambda: None, step)
