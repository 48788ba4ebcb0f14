"""Declared rules beside the same rules written by hand, beside torch's and their authors' own.

The loss is smooth and its gradient depends on the points; a slope that is drawn from the number of
the step is added, as a batch would.  Rates and memories change from step to step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf

from . import published_rules
from .published_rules import Array, Arrays, Gradient, Kept, Rule

STEPS = 200
SHAPES: tuple[tuple[int, ...], ...] = ((5, 7), (3,), (), (4,))
FORMS: Mapping[str, dict[str, Any]] = {
    "fused": {},
    "over lists": {"foreach": True},
    "functional": {"fused": False, "foreach": False},
}
#: Rounding errors of 1e-16 grow along 200 steps; a wrong digit shows at 1e-6.
TOLERANCE = 1e-13
#: No sign is that of a smaller number, which rounding errors could decide.
MARGIN = 1e-8

Hyper = Mapping[str, Any]
Schedule = Callable[[Hyper, int], dict[str, Any]]
Results = dict[str, Arrays]


@dataclass(frozen=True, slots=True)
class Case:
    """A rule, and with what it is run.

    Attributes:
        name: of ours, and of the rule by hand.
        hyper: hyper-parameters other than the defaults, of both.
        visible: others, at which a change of any one by a millionth is seen.
        unseen: what is not seen all the same.
        options: of ours alone.
        kept: our arrays of the state by the names that the rule by hand has for them.
        stages: gradients in a step.
    """

    name: str
    hyper: Hyper = field(default_factory=dict)
    visible: Hyper = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    options: Hyper = field(default_factory=dict)
    kept: Mapping[str, str] = field(default_factory=dict)
    stages: int = 1


DECAY = {"weight_decay": 0.1}
#: The defaults of eps changed by a millionth are lost in rounding.
EPS = {"eps": 0.1}
CASES = (
    Case("asgd", {"t0": 20.0, **DECAY}, {"lambd": 0.1}, kept={"ax": "average"}),
    Case("rprop", {}, {"step_sizes": (2e-3, 2e-2)}, kept={"step_size": "size"}),
    Case("yogi", {}, {"initial_accumulator": 0.1, **EPS}),
    Case("adabelief", DECAY, EPS, options={"decoupled_weight_decay": True}),
    Case("adan", DECAY, EPS),
    Case("ademamix", DECAY, EPS),
    # the average shows what its sign does not
    Case("signum", DECAY, kept={"m": "m"}),
    Case("lamb", DECAY, EPS),
    Case("lars", {"lr": 1.0, **DECAY}),
    Case("sam", DECAY, stages=2),
    Case("schedule_free_sgd", DECAY, kept={"z": "z"}),
    Case("schedule_free_adamw", DECAY, EPS, kept={"z": "z"}),
    # beta1 is in a sign alone: the test that follows that of the millionths chooses gradients
    Case("lion", DECAY, unseen=("beta1",), kept={"m": "m"}),
    Case("nadam", DECAY, {"momentum_decay": 0.04, **EPS}),
    Case("radam", DECAY, EPS),
    Case("amsgrad", DECAY, EPS),
    Case("adamax", DECAY, EPS),
)
NAMED = {case.name: case for case in CASES}
CASE = pytest.mark.parametrize("case", CASES, ids=list(NAMED))


def rule_of(case: Case) -> Rule:
    """The rule by hand."""
    found: Rule = getattr(published_rules, case.name)
    return found


def published(rule: Rule) -> dict[str, Any]:
    """The hyper-parameters of a rule by hand, with the published defaults."""
    parameters = inspect.signature(rule).parameters.values()
    return {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}


def start(shapes: Sequence[tuple[int, ...]] = SHAPES) -> Arrays:
    generator = np.random.default_rng(0)
    return [np.asarray(generator.normal(size=shape)) for shape in shapes]


def batch(number: int) -> Gradient:
    """The gradient of a sum of 1 - cos(x), half the square of a sum, and a slope that is drawn."""

    def gradient(points: Arrays) -> Arrays:
        generator = np.random.default_rng([7, number])
        common = 0.1 * sum(float(np.sum(x)) for x in points)
        return [np.sin(x) + common + generator.normal(size=x.shape) for x in points]

    return gradient


def as_parameters(points: Arrays) -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(torch.tensor(x, dtype=torch.float64)) for x in points]


def as_arrays(tensors: Any) -> Arrays:
    return [tensor.detach().numpy().copy() for tensor in tensors]


def feed(params: Sequence[torch.nn.Parameter], gradient: Gradient) -> None:
    """Give every parameter its gradient at the present point."""
    for param, slope in zip(params, gradient(as_arrays(params)), strict=True):
        param.grad = torch.tensor(slope, dtype=torch.float64)


def changing(hyper: Hyper, number: int) -> dict[str, Any]:
    """The hyper-parameters of a step: rates and memories that go up and down."""
    found = {**hyper, "lr": hyper["lr"] * (1 + 0.5 * math.sin(number / 7))}
    fall, wave = 0.1 * math.cos(number / 11) ** 2, 0.01 * math.sin(number / 13) ** 2
    if "momentum" in hyper:
        found["momentum"] = hyper["momentum"] - fall
    if "betas" in hyper:
        first, *others = hyper["betas"]
        found["betas"] = (first - fall, *(beta - wave for beta in others))
    return found


def warming(hyper: Hyper, number: int) -> dict[str, Any]:
    """A rate that grows, and nothing else that changes."""
    return {**hyper, "lr": hyper["lr"] * min(1.0, (number + 1) / 50)}


def constant(hyper: Hyper, number: int) -> dict[str, Any]:
    return dict(hyper)


class Ours:
    """An optimizer of ours, from the start.

    Args:
        case: the rule, and what of its state is compared.
        hyper: other than the defaults.
        options: of the optimizer, its form among them.
        points: where it starts.
    """

    def __init__(
        self, case: Case, hyper: Hyper, options: Hyper, points: Arrays | None = None
    ) -> None:
        self.case = case
        self.params = as_parameters(points or start())
        self.optimizer: Any = hf.optimizer(case.name)(self.params, **hyper, **options)

    @property
    def hyper(self) -> dict[str, Any]:
        """The values of all hyper-parameters that the rule by hand has."""
        (group,) = self.optimizer.param_groups
        return {name: group[name] for name in published(rule_of(self.case))}

    def step(self, gradient: Gradient, values: Hyper) -> None:
        self.optimizer.param_groups[0].update(values)
        for _ in range(self.case.stages):
            feed(self.params, gradient)
            self.optimizer.step()

    def results(self) -> Results:
        """The points, the solution, and the arrays that the rule by hand keeps too."""
        found = {"points": as_arrays(self.params)}
        with self.optimizer.solution():
            found["solution"] = as_arrays(self.params)
        for name in self.case.kept:
            found[name] = as_arrays(self.optimizer.state[param][name] for param in self.params)
        return found


class ByHand:
    """A rule by hand, from the start; another than that of the case, if it is given."""

    def __init__(self, case: Case, rule: Rule | None = None) -> None:
        self.case, self.rule = case, rule or rule_of(case)
        self.points, self.n = start(), 0
        self.kept: list[Kept] = [{} for _ in self.points]

    def step(self, gradient: Gradient, values: Hyper) -> None:
        self.n += 1
        self.points = self.rule(self.points, gradient, self.kept, self.n, **values)

    def results(self) -> Results:
        solution = [own.get("x", x) for own, x in zip(self.kept, self.points, strict=True)]
        known = {name: [own[there] for own in self.kept] for name, there in self.case.kept.items()}
        return {"points": self.points, "solution": solution, **known}


def distance(found: Results, wanted: Results) -> float:
    """The largest difference over the largest of 1 and what is there, of all that is compared."""

    def largest(pairs: Any) -> float:
        return max(float(np.max(abs(x))) for x in pairs)

    return max(
        largest(a - b for a, b in zip(found[name], wanted[name], strict=True))
        / max(1.0, largest(wanted[name]))
        for name in wanted
    )


@CASE
def test_the_defaults_are_the_published_ones(case: Case) -> None:
    for name, value in published(rule_of(case)).items():
        if value is not inspect.Parameter.empty:
            assert Ours(case, {}, {}).hyper[name] == value, name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("eps", [None, 0.1], ids=["eps as published", "eps of a tenth"])
@CASE
def test_two_hundred_steps_are_those_by_hand(case: Case, eps: float | None, form: str) -> None:
    if eps and "eps" not in published(rule_of(case)):
        pytest.skip("the rule has no eps")
    hyper = {"lr": 1e-2, **case.hyper, **({"eps": eps} if eps else {})}
    ours, by_hand = Ours(case, hyper, {**case.options, **FORMS[form]}), ByHand(case)
    hyper = ours.hyper
    for number in range(STEPS):
        for run in (ours, by_hand):
            run.step(batch(number), changing(hyper, number))
        assert distance(ours.results(), by_hand.results()) <= TOLERANCE, number
    assert distance({"": by_hand.points}, {"": start()}) > 1e-2


@CASE
def test_no_sign_is_decided_by_rounding(case: Case) -> None:
    by_hand, hyper = ByHand(case), Ours(case, {"lr": 1e-2, **case.hyper}, {}).hyper
    for number in range(STEPS):
        by_hand.step(batch(number), changing(hyper, number))
        for own in by_hand.kept:
            for x in own.get("signs of", ()):
                # a product with what is zero is zero whatever is rounded
                assert np.all((x == 0) | (abs(x) > MARGIN)), number
