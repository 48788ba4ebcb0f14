"""Methods that are one another at special settings, over 100 steps."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from .problems import quadratic_gradient, rosenbrock_gradient, start
from .training import feed, flat, optimizer_class, parameters, points, solutions, stages

EXPECTED = Path(__file__).parents[1] / "expected" / "reductions.toml"
TABLE: dict[str, Any] = tomllib.loads(EXPECTED.read_text())
STEPS = 100
TOLERANCE = 1e-13
POSITIONS = {"solutions": solutions, "points": points}

Schedule = Callable[[torch.optim.Optimizer], Any]
SCHEDULES: dict[str, Schedule] = {
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, factor=1.0),
    "one cycle of lr and momentum": lambda o: torch.optim.lr_scheduler.OneCycleLR(
        o, max_lr=0.05, total_steps=STEPS + 1, cycle_momentum=True
    ),
    "cycles of lr and momentum": lambda o: torch.optim.lr_scheduler.CyclicLR(
        o, base_lr=1e-3, max_lr=0.05, step_size_up=7, cycle_momentum=True
    ),
    "warmup from zero": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: min(n / 10, 1.0)),
    "cosine with restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 9),
}


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("pair", TABLE["equal"], ids=[p["statement"] for p in TABLE["equal"]])
def test_two_methods_are_one(pair: dict[str, Any], fused: bool) -> None:
    q, found = start(), []
    for side in (pair["left"], pair["right"]):
        params = parameters(q)
        optimizer = optimizer_class(side["name"])(params, fused=fused, **side["hyper"])
        found.append(POSITIONS[pair["what"]](optimizer, params, rosenbrock_gradient, STEPS))
    left, right = found
    assert abs(right[-1] - right[0]).max() > 1e-3
    assert abs(left - right).max() <= TOLERANCE * abs(right).max()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize(
    "options",
    [{}, {"weight_decay": 0.1}, {"maximize": True}, {"weight_decay": 0.1, "maximize": True}],
    ids=str,
)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_polyak_is_torch_sgd_under_any_schedule(
    schedule: str, options: dict[str, Any], fused: bool
) -> None:
    hyper = {"lr": 0.02, "momentum": 0.9, **options}
    sign = -1.0 if options.get("maximize") else 1.0
    found = []
    for make in (optimizer_class(TABLE["torch_sgd"]["name"]), torch.optim.SGD):
        params = parameters(start())
        extra = {"fused": fused} if make is not torch.optim.SGD else {"foreach": False}
        optimizer = make(params, **hyper, **extra)
        scheduler = SCHEDULES[schedule](optimizer)
        trail = []
        for _ in range(STEPS):
            feed(params, lambda x: sign * quadratic_gradient(x))
            optimizer.step()
            scheduler.step()
            trail.append(torch.from_numpy(flat(params)))
        found.append(torch.stack(trail))
    ours, theirs = found
    assert (theirs[-1] - theirs[0]).abs().max() > 0.1
    assert (ours - theirs).abs().max() <= 1e-15 * STEPS * theirs.abs().max()


def test_polyak_keeps_the_buffer_of_torch() -> None:
    buffers = []
    for make in (optimizer_class(TABLE["torch_sgd"]["name"]), torch.optim.SGD):
        params = parameters(start())
        optimizer = make(params, lr=0.02, momentum=0.9)
        stages(optimizer, params, quadratic_gradient, 5)
        buffers.append(flat(next(iter(optimizer.state[p].values())) for p in params))
    assert abs(buffers[0] - buffers[1]).max() <= 1e-14 * abs(buffers[1]).max()
