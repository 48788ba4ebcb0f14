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
from hamilforge.runtime.bench.steps import row, stepping, timed
from hamilforge.runtime.bench.timing import Contestant
from hamilforge.runtime.core.loader import load

Entry = Mapping[str, Any]
OURS, LINES, SHIPPED = "muon, a list", "the same lines in torch", "torch.optim.Muon, in bfloat16"


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
    makers = {OURS: lambda: _stepping(load("muon").torch_class(), case)}
    makers[LINES] = lambda: _lines(case, entries["ns_steps"])
    if hasattr(torch.optim, "Muon"):
        makers[SHIPPED] = lambda: _stepping(torch.optim.Muon, case)
    times = timed(makers, rounds or case["rounds"])
    size = float(case["count"]) * case["rows"] * case["columns"]
    flops = 2 * size * min(case["rows"], case["columns"]) * 3 * entries["ns_steps"]
    speed = f"{flops / times[OURS].median / 1e9:.1f} GFLOP/s in products"
    for peer in (LINES, SHIPPED):
        note = speed if peer in times else "this torch has none"
        yield row(bench, case["case"], OURS, peer, times, note)


def _arrays(case: Entry) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Parameters and gradients, contiguous."""
    generator = torch.Generator().manual_seed(0)
    shape = (2, case["count"], case["rows"], case["columns"])
    points, slopes = torch.randn(shape, generator=generator)
    return [point.clone() for point in points], [slope.clone() for slope in slopes]


def _stepping(optimizer: Callable[..., torch.optim.Optimizer], case: Entry) -> Contestant:
    points, slopes = _arrays(case)
    params = [*map(torch.nn.Parameter, points)]
    return stepping(params, slopes, optimizer(params).step)


def _lines(case: Entry, ns_steps: int) -> Contestant:
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
            for _ in range(ns_steps):
                gram = update @ update.T
                factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
                update = torch.addmm(update, factor, update, beta=a)
            update = update.T if tall else update
            point.mul_(1 - lr * decay)
            point.add_(update, alpha=-lr * math.sqrt(max(1, point.size(0) / point.size(1))))

    return Contestant(lambda: None, step)
