"""The benchmark of Muon: our step beside the same lines in torch, and beside torch's own.

Torch's own optimizer runs its iteration in bfloat16 whatever the type of the parameters; the same
lines without that conversion are what a step in float32 takes.  In: ``[muon]`` of
``manifolds.toml``.  Out: rows.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numba
import torch

from hamilforge.runtime.bench.rows import Case, Row
from hamilforge.runtime.bench.timing import Contestant, interleaved
from hamilforge.runtime.core.loader import load

Entry = Mapping[str, Any]
LINES, SHIPPED = "the same lines in torch", "torch.optim.Muon, in bfloat16"


def cases(bench: str, entries: Entry, rounds: int | None) -> list[Case]:
    """What is measured of Muon.

    Args:
        bench: the name of the benchmark.
        entries: ``[muon]`` of the line-up.
        rounds: the number of turns of each contestant; what the line-up says if None.

    Returns:
        The cases.
    """
    return [
        (case["case"], functools.partial(_rows, bench, case, entries, rounds))
        for case in entries["cases"]
    ]


def _rows(bench: str, case: Entry, entries: Entry, rounds: int | None) -> Iterator[Row]:
    numba.set_num_threads(min(torch.get_num_threads(), numba.get_num_threads()))
    makers: dict[str, Callable[[Entry], Contestant]] = {"ours": _ours, LINES: _lines}
    if hasattr(torch.optim, "Muon"):
        makers[SHIPPED] = _shipped
    ready = {name: make(case) for name, make in makers.items()}
    for contestant in ready.values():
        for _ in range(2):
            contestant.prepare()
            contestant.work()
    times = interleaved(ready, rounds or case["rounds"])
    ours = times["ours"]
    size = float(case["count"]) * case["rows"] * case["columns"]
    flops = 2 * size * min(case["rows"], case["columns"]) * 3 * entries["ns_steps"]
    note = f"{flops / ours.median / 1e9:.1f} GFLOP/s in products"
    for peer in (LINES, SHIPPED):
        theirs = times.get(peer)
        yield Row(
            bench,
            case["case"],
            "muon, a list",
            peer,
            ours.median,
            ours.p10,
            ours.p90,
            ours.median / theirs.median if theirs else None,
            torch.get_num_threads(),
            note=note if theirs else "this torch has none",
        )


def _arrays(case: Entry) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Parameters and gradients, contiguous."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, case["count"], case["rows"], case["columns"])
    points, slopes = torch.randn(shape, generator=generator)
    return [point.clone() for point in points], [slope.clone() for slope in slopes]


def _stepping(optimizer: Callable[..., torch.optim.Optimizer], case: Entry) -> Contestant:
    points, slopes = _arrays(case)
    params = [*map(torch.nn.Parameter, points)]
    stepping = optimizer(params)

    def prepare() -> None:
        for param, slope in zip(params, slopes, strict=True):
            param.grad = slope

    return Contestant(prepare, stepping.step)


def _ours(case: Entry) -> Contestant:
    return _stepping(load("muon").torch_class(), case)


def _shipped(case: Entry) -> Contestant:
    return _stepping(torch.optim.Muon, case)


def _lines(case: Entry) -> Contestant:
    """The lines of PyTorch 2.13's step, with the iteration in the type of the parameters."""
    points, slopes = _arrays(case)
    buffers = [torch.zeros_like(point) for point in points]
    lr, decay, momentum = 1e-3, 0.1, 0.95
    a, b, c = 3.4445, -4.775, 2.0315

    def step() -> None:
        for point, slope, buffer in zip(points, slopes, buffers, strict=True):
            buffer.lerp_(slope, 1 - momentum)
            update = slope.lerp(buffer, momentum)
            tall = update.size(0) > update.size(1)
            update = update.T if tall else update
            update = update / update.norm().clamp(min=1e-7)
            for _ in range(5):
                gram = update @ update.T
                factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
                update = torch.addmm(update, factor, update, beta=a)
            update = update.T if tall else update
            point.mul_(1 - lr * decay)
            point.add_(update, alpha=-lr * math.sqrt(max(1, point.size(0) / point.size(1))))

    return Contestant(lambda: None, step)
