"""Methods that are one another at special settings, over 100 steps."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.expression import numerical
from hamilforge.gen.declare.reader import inside
from hamilforge.gen.program.optimizers.programs import AnyOptimizer
from tests.optimizers import ELEMENTWISE

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


#: A step at which n/(n + 3) is 1 in float64: there a limit n -> oo is reached.
LATE = 2**60


def declared() -> Iterator[Any]:
    """Every reduction of the catalogue."""
    for name in ELEMENTWISE:
        optimizer = catalogue.load(name, ("optimizer",))
        assert isinstance(optimizer, AnyOptimizer)
        for reduction in optimizer.reductions:
            label = f"{name} is {reduction.to.head.name}"
            yield pytest.param(optimizer, reduction, id=label)


def numbers(entries: Any, known: Mapping[str, float]) -> dict[str, float]:
    """What a table of expressions is worth."""
    return {name: float(numerical(value.tree, dict(known))) for name, value in entries}


def drawn(optimizer: AnyOptimizer, reduction: kinds.Reduction) -> dict[str, float]:
    """Hyper-parameters of the other one, small rates, at which ours are in their domains."""
    generator = np.random.default_rng(0)
    for _ in range(1000):
        theirs = {
            entry.name: float(generator.uniform(0.005, 0.05))
            if entry.name == "lr"
            else float(entry.default)
            if entry.domain == kinds.FLAG
            else float(generator.uniform(0.3, 0.95 if entry.domain.endswith("interval") else 1.5))
            for entry in reduction.to.numbers
        }
        theirs |= numbers(reduction.at, theirs)
        ours = numbers(reduction.values, theirs | {"n": 2.0})
        domains = [(entry.domain, theirs[entry.name]) for entry in reduction.to.numbers]
        domains += [(e.domain, ours[e.name]) for e in optimizer.numbers if e.name in ours]
        if theirs["lr"] < 0.1 and all(inside(value, domain) for domain, value in domains):
            return theirs
    raise LookupError("no hyper-parameters were found")


def arguments(optimizer: AnyOptimizer, values: Mapping[str, float]) -> dict[str, Any]:
    """Hyper-parameters as torch's optimizers take them: tuples, and flags."""
    chosen: dict[str, Any] = {}
    for entry in optimizer.numbers:
        value: Any = values.get(entry.name, float(entry.default))
        value = bool(value) if entry.domain == kinds.FLAG else value
        if entry.part_of:
            chosen[entry.part_of] = (*chosen.get(entry.part_of, ()), value)
        else:
            chosen[entry.name] = value
    known = optimizer_class(optimizer.head.name)([torch.nn.Parameter(torch.zeros(1))]).defaults
    return {name: value for name, value in chosen.items() if name in known}  # without what cancels


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize(("optimizer", "reduction"), [*declared()])
def test_a_declared_reduction_is_so_for_a_hundred_steps(
    optimizer: AnyOptimizer, reduction: kinds.Reduction, fused: bool
) -> None:
    other = reduction.to
    theirs = drawn(optimizer, reduction)
    begin = LATE if reduction.late else 1
    runs = []
    for side, hyper in (
        (optimizer, numbers(reduction.values, theirs | {"n": float(begin)})),
        (other, theirs),
    ):
        params = parameters(start())
        made = optimizer_class(side.head.name)(params, fused=fused, **arguments(side, hyper))
        (group,) = made.param_groups
        group["clock"] = group["clock"]._replace(n=begin)
        runs.append((made, params))
    ours, _ = runs[0]
    for n in range(begin, begin + STEPS):
        hyper = numbers(reduction.values, theirs | {"n": float(n)})
        ours.param_groups[0].update(arguments(optimizer, hyper))
        for made, params in runs:
            stages(made, params, quadratic_gradient, len(made.STAGES))
        left, right = (flat(params) for _, params in runs)
        assert abs(left - right).max() <= TOLERANCE * max(1.0, abs(right).max()), n
    assert abs(right - start()).max() > 1e-3
    ends = []
    for made, params in runs:
        with made.solution():
            ends.append(flat(params))
    finding = pipeline.check(optimizer).finding(f"is_{other.head.name}")
    if "solutions are" in finding.evidence:
        same = abs(ends[0] - ends[1]).max() <= TOLERANCE * max(1.0, abs(ends[1]).max())
        assert same == ("points and solutions are the same" in finding.evidence)


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


def test_eps_outside_the_root_is_another_rule() -> None:
    """Where momentum is normalised, on a quadratic: its steps are the relativistic ones, and those
    of the other rule are 0.05 away from them within a hundred steps.
    """
    lr, beta, eps = 0.01, 0.9, 0.1
    hyper = {"lr": lr * (1 - beta) / eps, "momentum": beta, "delta": 1 / lr**2}
    params = parameters(start())
    made = optimizer_class("relativistic_coordinate_euler")(params, fused=False, **hyper)
    relativistic = points(made, params, quadratic_gradient, STEPS)
    trails: dict[str, list[Any]] = {"inside": [], "outside": []}
    for place, trail in trails.items():
        x, m = start(), np.zeros_like(start())
        for _ in range(STEPS):
            m = beta * m + (1 - beta) * quadratic_gradient(x)
            x = x - lr * m / (np.hypot(m, eps) if place == "inside" else abs(m) + eps)
            trail.append(x)
    assert abs(relativistic - np.array(trails["inside"])).max() <= 1e-13
    assert abs(relativistic - np.array(trails["outside"])).max() == pytest.approx(0.0488, abs=1e-4)


def test_polyak_keeps_the_buffer_of_torch() -> None:
    buffers = []
    for make in (optimizer_class(TABLE["torch_sgd"]["name"]), torch.optim.SGD):
        params = parameters(start())
        optimizer = make(params, lr=0.02, momentum=0.9)
        stages(optimizer, params, quadratic_gradient, 5)
        buffers.append(flat(next(iter(optimizer.state[p].values())) for p in params))
    assert abs(buffers[0] - buffers[1]).max() <= 1e-14 * abs(buffers[1]).max()
