"""Declared rules beside the same rules written by hand, beside torch's and their authors' own.

The loss is smooth and its gradient depends on the points; a slope that is drawn from the number of
the step is added, as a batch would.  Rates and memories change from step to step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from tests.samples import sampled

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
    Case(
        "rprop",
        visible={"step_sizes": (2e-3, 2e-2)},
        kept={"step_size": "size", "previous": "previous"},
    ),
    Case("yogi", visible={"initial_accumulator": 0.1, **EPS}),
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
    # what is in a sign alone needs gradients of its own: a test below has them
    Case("lion", DECAY, unseen=("betas[0]",), kept={"m": "m"}),
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


def steady(slope: float) -> Gradient:
    """A gradient that is the same everywhere."""
    return lambda points: [np.full_like(x, slope) for x in points]


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


def warming(hyper: Hyper, number: int, zeros: int = 0) -> dict[str, Any]:
    """A rate that grows, after some steps at zero, and nothing else that changes."""
    return {**hyper, "lr": hyper["lr"] * min(1.0, max(0.0, (number + 1 - zeros) / 50))}


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
    """A rule by hand, from the start.

    Args:
        case: the rule, and what it keeps of what is compared.
        rule: another than that of the case.
        points: where it starts.
    """

    def __init__(self, case: Case, rule: Rule | None = None, points: Arrays | None = None) -> None:
        self.case, self.rule = case, rule or rule_of(case)
        self.points, self.n = points or start(), 0
        self.kept: list[Kept] = [{} for _ in self.points]

    def step(self, gradient: Gradient, values: Hyper) -> None:
        self.n += 1
        self.points = self.rule(self.points, gradient, self.kept, self.n, **values)

    def results(self) -> Results:
        solution = [own.get("x", x) for own, x in zip(self.kept, self.points, strict=True)]
        known = {name: [own[there] for own in self.kept] for name, there in self.case.kept.items()}
        return {"points": self.points, "solution": solution, **known}


def distance(found: Results, wanted: Results) -> float:
    """The largest difference over the largest of 1 and what is there, of all that is compared.

    It is NaN where anything is, and then no bound holds.
    """

    def largest(arrays: Iterable[Array]) -> Any:
        return np.max([np.max(abs(x)) for x in arrays])

    pairs = {name: zip(found[name], wanted[name], strict=True) for name in wanted}
    far = [
        largest(a - b for a, b in pairs[name]) / np.maximum(1.0, largest(wanted[name]))
        for name in wanted
    ]
    return float(np.max(far))


@CASE
def test_the_defaults_are_the_published_ones(case: Case) -> None:
    for name, value in published(rule_of(case)).items():
        if value is not inspect.Parameter.empty:
            assert Ours(case, {}, {}).hyper[name] == value, name


RUNS = [
    pytest.param(case, eps, id=f"{case.name} {what}".strip())
    for case in CASES
    for what, eps in {"": {}, "with a larger eps": EPS}.items()
    if eps.keys() <= published(rule_of(case)).keys()
]


@pytest.mark.parametrize("form", sampled(FORMS, every=2))
@pytest.mark.parametrize(("case", "eps"), RUNS)
def test_two_hundred_steps_are_those_by_hand(case: Case, eps: Hyper, form: str) -> None:
    hyper = {"lr": 1e-2, **case.hyper, **eps}
    ours, by_hand = Ours(case, hyper, {**case.options, **FORMS[form]}), ByHand(case)
    hyper = ours.hyper
    for number in range(STEPS):
        for run in (ours, by_hand):
            run.step(batch(number), changing(hyper, number))
        assert distance(ours.results(), by_hand.results()) <= TOLERANCE, number
    assert distance({"points": by_hand.points}, {"points": start()}) > 1e-2


@pytest.mark.parametrize("form", FORMS)
@CASE
def test_a_rate_that_begins_at_zero_is_that_by_hand(case: Case, form: str) -> None:
    """Weights of averages are sums of rates, and 0/0 where all of them are zero."""
    ours = Ours(case, {"lr": 1e-2, **case.hyper}, {**case.options, **FORMS[form]})
    by_hand, hyper = ByHand(case), ours.hyper
    for number in range(30):
        for run in (ours, by_hand):
            run.step(batch(number), warming(hyper, number, zeros=3))
        assert distance(ours.results(), by_hand.results()) <= TOLERANCE, number


@pytest.mark.parametrize("form", FORMS)
@CASE
def test_a_point_at_zero_and_gradients_of_zero_are_those_by_hand(case: Case, form: str) -> None:
    """Ratios of lengths are 0/0 there."""

    def gradient(points: Arrays) -> Arrays:
        first, *others = batch(7)(points)
        return [first, *(np.zeros_like(x) for x in others)]

    points = [np.zeros_like(start()[0]), *start()[1:3], np.zeros_like(start()[3])]
    ours = Ours(case, {"lr": 1e-2, **case.hyper}, {**case.options, **FORMS[form]}, points)
    by_hand, hyper = ByHand(case, points=points), ours.hyper
    for number in range(10):
        for run in (ours, by_hand):
            run.step(gradient, hyper)
        assert distance(ours.results(), by_hand.results()) <= TOLERANCE, number


@CASE
def test_no_sign_is_decided_by_rounding(case: Case) -> None:
    by_hand, hyper = ByHand(case), Ours(case, {"lr": 1e-2, **case.hyper}, {}).hyper
    for number in range(STEPS):
        by_hand.step(batch(number), changing(hyper, number))
        for own in by_hand.kept:
            for x in own.get("signs of", ()):
                # a product with what is zero is zero whatever is rounded
                assert np.all((x == 0) | (abs(x) > MARGIN)), number


def changed(hyper: Hyper) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each hyper-parameter, and each number of a tuple, larger by a millionth."""
    for name, value in hyper.items():
        if isinstance(value, tuple):
            for index, part in enumerate(value):
                parts = (*value[:index], part * (1 + 1e-6), *value[index + 1 :])
                yield f"{name}[{index}]", {**hyper, name: parts}
        else:
            yield name, {**hyper, name: value * (1 + 1e-6)}


@CASE
def test_a_hyper_parameter_changed_by_a_millionth_is_seen(case: Case) -> None:
    settings = {"lr": 1e-2, **case.hyper, **case.visible}
    by_hand, hyper = ByHand(case), Ours(case, settings, {}).hyper
    for number in range(40):
        by_hand.step(batch(number), hyper)
    for name, values in (("", hyper), *changed(hyper)):
        ours = Ours(case, values, case.options)
        for number in range(40):
            ours.step(batch(number), values)
        far = distance(ours.results(), by_hand.results())
        if name in ("", *case.unseen):
            assert far <= TOLERANCE, name
        else:
            assert far > 10 * TOLERANCE, name


@pytest.mark.parametrize("form", FORMS)
def test_a_memory_changed_by_a_millionth_changes_a_sign(form: str) -> None:
    """Lion's direction is 1e-7 on one side of zero, so a millionth less is on the other."""
    beta1, beta2 = 0.9, 0.99
    average = 1 - beta2  # after a gradient of 1
    slopes = (1.0, -beta1 * average / (1 - beta1) * (1 - 1e-7))
    for factor, turns in ((1.0, False), (1 - 1e-6, True)):
        hyper = {"lr": 1.0, "betas": (beta1 * factor, beta2)}
        ours = Ours(NAMED["lion"], hyper, FORMS[form], [np.zeros(3)])
        for slope in slopes:
            ours.step(steady(slope), {})
        assert np.all(ours.results()["points"][0] == (0.0 if turns else -2.0))


@pytest.mark.parametrize("name", ["schedule_free_sgd", "schedule_free_adamw"])
def test_without_a_rate_that_falls_schedule_free_steps_are_the_papers(name: str) -> None:
    """The authors' code weighs by the largest rate so far, the paper by that of the step."""
    case = NAMED[name]
    ours = Ours(case, {"lr": 1e-2, **case.hyper}, case.options)
    by_hand, hyper = ByHand(case, published_rules.schedule_free_in_three), ours.hyper
    for number in range(STEPS):
        values = warming(hyper, number)
        ours.step(batch(number), values)
        if "momentum" in values:
            values["betas"] = (values.pop("momentum"),)
        by_hand.step(batch(number), values)
        assert distance(ours.results(), by_hand.results()) <= TOLERANCE, number


@pytest.fixture
def _double() -> Iterator[None]:
    """Torch keeps some scalars of its state in the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("form", FORMS)
def test_averaged_descent_is_torchs(form: str) -> None:
    case = NAMED["asgd"]
    hyper: dict[str, Any] = {"lr": 1e-2, "lambd": 0.1, "alpha": 0.6, "t0": 20.0, **DECAY}
    ours = Ours(case, hyper, FORMS[form])
    params = as_parameters(start())
    theirs = torch.optim.ASGD(params, **hyper)
    for number in range(STEPS):
        lr = changing(hyper, number)["lr"]
        ours.step(batch(number), {"lr": lr})
        theirs.param_groups[0]["lr"] = lr
        feed(params, batch(number))
        theirs.step()
        averages = as_arrays(theirs.state[param]["ax"] for param in params)
        wanted = {"points": as_arrays(params), "ax": averages}
        assert distance(ours.results(), wanted) <= TOLERANCE, number


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("form", FORMS)
def test_resilient_steps_are_torchs(form: str) -> None:
    hyper: dict[str, Any] = {"lr": 1e-2, "etas": (0.4, 1.3), "step_sizes": (1e-3, 5e-2)}
    ours, params = Ours(NAMED["rprop"], hyper, FORMS[form]), as_parameters(start())
    theirs = torch.optim.Rprop(params, **hyper)
    for number in range(STEPS):
        ours.step(batch(number), {})
        feed(params, batch(number))
        theirs.step()
        known = {"step_size": "step_size", "previous": "prev"}
        wanted = {"points": as_arrays(params)} | {
            name: as_arrays(theirs.state[param][there] for param in params)
            for name, there in known.items()
        }
        assert distance(ours.results(), wanted) <= TOLERANCE, number


Translation = Callable[[dict[str, Any], int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Peer:
    """A rule in another package.

    Attributes:
        name: of ours.
        package: that has it.
        made: its class there.
        hyper: hyper-parameters of both.
        theirs: options of theirs.
        ours: options of ours.
        translated: our hyper-parameters from theirs and the number of the step from 1.
        schedule: of the hyper-parameters.
        shapes: of the tensors.
    """

    name: str
    package: str
    made: str
    hyper: Hyper = field(default_factory=dict)
    theirs: Hyper = field(default_factory=dict)
    ours: Hyper = field(default_factory=dict)
    translated: Translation = lambda values, _: values
    schedule: Schedule = changing
    shapes: tuple[tuple[int, ...], ...] = SHAPES


def with_corrected_square(values: dict[str, Any], n: int) -> dict[str, Any]:
    """Yogi corrects its square there, not in the paper: sqrt(v)/b + eps is (sqrt(v) + b eps)/b."""
    b = math.sqrt(1 - values["betas"][1] ** n)
    return {**values, "lr": b * values["lr"], "eps": b * values["eps"]}


def without_corrections(values: dict[str, Any], n: int) -> dict[str, Any]:
    """LAMB there has no corrections: the direction is ours times b, and its size is divided out."""
    beta1, beta2 = values["betas"]
    b = (1 - beta1**n) / math.sqrt(1 - beta2**n)
    return {**values, "weight_decay": values["weight_decay"] / b}


def changing_memories(hyper: Hyper, number: int) -> dict[str, Any]:
    return {**changing(hyper, number), "lr": hyper["lr"]}


OTHERS = "pytorch_optimizer"
PEERS = (
    Peer("schedule_free_sgd", "schedulefree", "SGDScheduleFree", DECAY),
    Peer("schedule_free_sgd", "schedulefree", "SGDScheduleFree", DECAY, {"foreach": False}),
    Peer("schedule_free_adamw", "schedulefree", "AdamWScheduleFree", DECAY),
    Peer("schedule_free_adamw", "schedulefree", "AdamWScheduleFree", DECAY, {"foreach": False}),
    # adam_debias leaves out the correction of m, which the paper has not either
    Peer("yogi", OTHERS, "Yogi", {}, {"adam_debias": True}, translated=with_corrected_square),
    Peer("adabelief", OTHERS, "AdaBelief", DECAY, ours={"decoupled_weight_decay": True}),
    Peer("adan", OTHERS, "Adan", DECAY),
    Peer("ademamix", OTHERS, "AdEMAMix", DECAY, {"weight_decouple": True}),
    # eps is added to the size of the direction there too, in the paper to the root alone
    Peer(
        "lamb",
        OTHERS,
        "Lamb",
        {"eps": 0.0, **DECAY},
        {"adam_debias": True, "weight_decouple": False},
        translated=without_corrections,
    ),
    # rates enter before the momentum in the paper, after it there: the same where they are
    # constant; vectors are left out there
    Peer(
        "lars",
        OTHERS,
        "LARS",
        {"lr": 1.0, **DECAY},
        schedule=changing_memories,
        shapes=((5, 7), (2, 3)),
    ),
    Peer("signum", OTHERS, "SignSGD", DECAY, {"weight_decouple": False}),
    Peer("signum", OTHERS, "SignSGD", DECAY, ours={"decoupled_weight_decay": True}),
    Peer("lion", OTHERS, "Lion", DECAY),
)


@pytest.mark.full
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "peer", PEERS, ids=[" ".join([p.name, p.package, *p.theirs, *p.ours]) for p in PEERS]
)
def test_steps_are_those_of_the_peer(peer: Peer, form: str) -> None:
    made = getattr(pytest.importorskip(peer.package), peer.made)
    case, params = NAMED[peer.name], as_parameters(start(peer.shapes))
    hyper = {"lr": 1e-2, **peer.hyper}
    ours = Ours(case, hyper, {**peer.ours, **FORMS[form]}, start(peer.shapes))
    theirs = made(params, **hyper, **peer.theirs)
    hyper = {name: value for name, value in ours.hyper.items() if name in theirs.param_groups[0]}
    if hasattr(theirs, "train"):
        theirs.train()
    for number in range(STEPS):
        values = peer.schedule(hyper, number)
        theirs.param_groups[0].update(values)
        feed(params, batch(number))
        theirs.step()
        ours.step(batch(number), peer.translated(values, number + 1))
        assert distance(ours.results(), {"points": as_arrays(params)}) <= TOLERANCE, number
    if hasattr(theirs, "eval"):
        theirs.eval()
    assert distance(ours.results(), {"solution": as_arrays(params)}) <= TOLERANCE


@pytest.mark.full
@pytest.mark.parametrize("form", FORMS)
def test_ascents_and_descents_are_those_of_the_peer(form: str) -> None:
    """Without decay, which the peer's descent has at the point before the ascent.

    The peer's length of the gradient is in single precision: each ascent is wrong by up to 6e-8 of
    its 0.05, which steps of 0.01 and the momentum sum up.
    """
    made = pytest.importorskip("pytorch_optimizer").SAM
    hyper, params = {"lr": 1e-2, "momentum": 0.9, "rho": 0.05}, as_parameters(start())
    ours = Ours(NAMED["sam"], hyper, FORMS[form])
    theirs = made(params, torch.optim.SGD, **hyper)
    for number in range(STEPS):
        values = changing(hyper, number)
        theirs.param_groups[0].update(values)
        for half in (theirs.first_step, theirs.second_step):
            feed(params, batch(number))
            half()
        ours.step(batch(number), values)
        assert distance(ours.results(), {"points": as_arrays(params)}) <= 1e-8, number
