"""Learning on manifolds: five applications, each by several rules, beside what is known.

In: the line-up ``stiefel_learning.toml``.  Out: for each application, rule and seed the losses on
the way, the distance to what is known at its end, and how far off the manifold the point is.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hamilforge.runtime.core.loader import load
from hamilforge.runtime.reproduce.stiefel_problems import MOMENTUM, PROBLEMS, RATE, Problem

Application = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """One rule on one application.

    Attributes:
        application: the row of the line-up.
        method: a declared optimizer with its values.
        seed: of the problem and its start.
        steps: how many.
    """

    application: Application
    method: Mapping[str, Any]
    seed: int
    steps: int

    def problem(self) -> Problem:
        """What is learned."""
        return PROBLEMS[self.application["name"]](self.seed, **self.application["sizes"])


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has reached.

    Attributes:
        losses: before each step, and at the end.
        distances: to what is known, at the same times.
        violation: the largest entry of the constraint at the end.
        point: the end.
    """

    losses: NDArray[np.float64]
    distances: NDArray[np.float64]
    violation: float
    point: torch.Tensor


def line_up() -> dict[str, Any]:
    """The settings."""
    file = Path(__file__).parent / "stiefel_learning.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def runs(
    settings: Mapping[str, Any],
    applications: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    steps: int | None = None,
) -> list[Run]:
    """The runs of a line-up.

    Args:
        settings: the line-up.
        applications: names; all if empty.
        seeds: of problems and starts.
        steps: instead of the line-up's.

    Returns:
        A run for each application, rule and seed, in this order.

    Raises:
        ValueError: a name is none of the line-up, or there are no seeds or steps.
    """
    known = [application["name"] for application in settings["applications"]]
    for name in applications:
        if name not in known:
            raise ValueError(f"no application '{name}'; there are: {', '.join(known)}")
    if not seeds:
        raise ValueError("no seeds")
    if steps is not None and steps < 1:
        raise ValueError(f"{steps} steps: at least one was expected")
    return [
        Run(application, method, seed, steps or application["steps"])
        for application in settings["applications"]
        if not applications or application["name"] in applications
        for method in application["methods"]
        for seed in seeds
    ]


def learn(run: Run, progress: Callable[[int], None] = lambda _: None) -> Result:
    """Run a rule.

    Args:
        run: what is run.
        progress: called after each step with its number.

    Returns:
        What it has reached.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    problem = run.problem()
    param = torch.nn.Parameter(problem.start.clone())
    optimizer = load(run.method["name"]).torch_class()([param], **run.method["values"])
    beside = None
    if problem.others:
        beside = torch.optim.SGD(problem.others, lr=RATE, momentum=MOMENTUM)
    losses, distances = [], []

    def note() -> None:
        with torch.no_grad(), optimizer.solution():
            losses.append(float(problem.loss(param)))
            distances.append(problem.distance(param.detach()))
        if not np.isfinite(losses[-1]):
            name = run.method["name"]
            taken = len(losses) - 1
            raise FloatingPointError(f"{name}: the loss is {losses[-1]} after {taken} steps")

    for number in range(1, run.steps + 1):
        note()
        optimizer.zero_grad()
        for other in problem.others:
            other.grad = None
        problem.loss(param).backward()
        optimizer.step()
        if beside is not None:
            beside.step()
        progress(number)
    note()
    with optimizer.solution():
        point = param.detach().clone()
        violation = optimizer.violation()
    return Result(np.array(losses), np.array(distances), violation, point)


def peers(run: Run) -> dict[str, float]:
    """How far from what is known others come on the problem of a run, with as many steps.

    Args:
        run: of any rule.

    Returns:
        The distances by the names of the others.
    """
    return {name: compute(run.steps) for name, compute in run.problem().peers.items()}


def spread(values: Sequence[float]) -> str:
    """The median, and where there are several numbers the least and the largest."""
    median = f"{np.median(values):.3g}"
    return median if len(values) < 2 else f"{median} ({min(values):.3g} to {max(values):.3g})"
