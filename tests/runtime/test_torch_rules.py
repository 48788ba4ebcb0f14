"""Rules that torch has too, beside torch's own: the same steps, the same state.

The hyper-parameters change from step to step, weights decay, one parameter joins late and one is
left out for some steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf

STEPS = 200
SHAPES = ((5, 7), (3,), (), (4,))
FORMS: Mapping[str, dict[str, Any]] = {
    "fused": {},
    "over lists": {"foreach": True},
    "functional": {"fused": False, "foreach": False},
}
AVERAGES = {"m": "exp_avg", "v": "exp_avg_sq"}


@dataclass(frozen=True, slots=True)
class Twin:
    """A rule of torch.

    Attributes:
        name: of ours.
        torch: the class, or what makes one.
        options: of both.
        arrays: our arrays of the state by torch's names for them.
        scalars: what our clock keeps from torch's state: the memory.
        eps: whether there is an eps to be chosen.
        carried: an array of torch's that makes the step, and the factor of the old one in it.
    """

    name: str
    torch: Callable[..., Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, str] = field(default_factory=dict)
    scalars: Callable[[dict[str, Any]], tuple[float, ...]] = lambda _: ()
    eps: bool = True
    carried: tuple[str, float] | None = None


def _amsgrad(params: Any, **options: Any) -> Any:
    return torch.optim.Adam(params, amsgrad=True, **options)


MOMENTUM: dict[str, Any] = {
    "arrays": {"v": "momentum_buffer"},
    "scalars": lambda _: (1.0,),
    "eps": False,
    "carried": ("momentum_buffer", 0.9),
}
TWINS = (
    Twin("sgd", torch.optim.SGD, {}, {}, lambda _: (0.0,), eps=False),
    Twin("sgd", torch.optim.SGD, {"momentum": 0.9, "dampening": 0.3}, **MOMENTUM),
    Twin("sgd", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, **MOMENTUM),
    Twin(
        "adagrad",
        torch.optim.Adagrad,
        {"lr_decay": 0.1, "initial_accumulator_value": 0.2},
        {"sum_of_squares": "sum"},
    ),
    Twin("rmsprop", torch.optim.RMSprop, {}, {"v": "square_avg"}),
    Twin(
        "rmsprop",
        torch.optim.RMSprop,
        {"centered": True, "momentum": 0.5},
        {"v": "square_avg", "average": "grad_avg", "buffer": "momentum_buffer"},
        carried=("momentum_buffer", 0.5),
    ),
    Twin("adadelta", torch.optim.Adadelta, {}, {"v": "square_avg", "s": "acc_delta"}),
    Twin("adam", torch.optim.Adam, {}, AVERAGES),
    Twin("adamw", torch.optim.AdamW, {}, AVERAGES),
    Twin("amsgrad", _amsgrad, {}, {**AVERAGES, "v_max": "max_exp_avg_sq"}),
    Twin("adamax", torch.optim.Adamax, {}, {"m": "exp_avg", "u": "exp_inf"}),
    Twin(
        "nadam",
        torch.optim.NAdam,
        {},
        AVERAGES,
        lambda state: (float(state.get("mu_product", 1.0)),),
    ),
    Twin("radam", torch.optim.RAdam, {}, AVERAGES),
)
TWIN = pytest.mark.parametrize(
    "twin", TWINS, ids=[" ".join([twin.name, *twin.options]) for twin in TWINS]
)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    """Torch keeps some scalars of its state in the default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def parameters(dtype: torch.dtype) -> list[Any]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in SHAPES
    ]


def schedule(optimizer: Any, number: int) -> None:
    """The hyper-parameters of a step."""
    for group in optimizer.param_groups:
        group["lr"] = 1e-2 * (1 + 0.5 * math.sin(number / 7))
        if "betas" in group:
            first = 0.9 - 0.1 * math.cos(number / 11)
            group["betas"] = (first, 0.999 - 0.01 * math.sin(number / 13) ** 2)


def is_left_out(index: int, number: int) -> bool:
    """Whether a parameter has no gradient: one joins at step 4, one rests for three."""
    return (index == 1 and number < 3) or (index == 2 and 50 <= number < 53)


def gradients(params: list[Any], number: int, pull: float = 1.0) -> list[Any]:
    generator = torch.Generator().manual_seed(number)
    drawn = [torch.randn(shape, generator=generator) for shape in SHAPES]
    return [
        None
        if is_left_out(index, number)
        else (noise.to(param.dtype) + pull * torch.sin(param.detach()))
        for index, (param, noise) in enumerate(zip(params, drawn, strict=True))
    ]


def pair(
    twin: Twin, dtype: torch.dtype, eps: float | None, form: str, theirs: str = "foreach"
) -> tuple[Any, Any, list[Any], list[Any]]:
    """Ours and torch's, with their parameters."""
    first, second = parameters(dtype), parameters(dtype)
    options = {**twin.options, "lr": 1e-2, "weight_decay": 0.1}
    options |= {"eps": eps} if eps and twin.eps else {}
    ours = hf.optimizer(twin.name)(first, **options, **FORMS[form])
    return ours, twin.torch(second, **options, **{theirs: False}), first, second


def step(optimizer: Any, params: list[Any], number: int, given: list[Any]) -> None:
    schedule(optimizer, number)
    for param, gradient in zip(params, given, strict=True):
        param.grad = None if gradient is None else gradient.clone()
    optimizer.step()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("eps", [None, 0.1])
@TWIN
def test_two_hundred_steps_in_double_precision(twin: Twin, eps: float | None, form: str) -> None:
    ours, theirs, first, second = pair(twin, torch.float64, eps, form)
    for number in range(STEPS):
        step(ours, first, number, gradients(first, number))
        step(theirs, second, number, gradients(second, number))
        size = max(1.0, *(float(param.detach().abs().max()) for param in second))
        for a, b in zip(first, second, strict=True):
            assert float((a - b).detach().abs().max()) <= 1e-13 * size, number
        for a, b in zip(first, second, strict=True):
            for name, other in twin.arrays.items() if a in ours.state else ():
                close = torch.allclose(
                    ours.state[a][name], theirs.state[b][other], rtol=1e-12, atol=1e-13
                )
                assert close, (number, name)


def as_ours(twin: Twin, ours: Any, first: list[Any], theirs: Any, second: list[Any]) -> None:
    """Torch's state as our own: arrays by name, the number of steps, the memory of the clock."""
    plain = copy.deepcopy(ours.state_dict())
    (group,) = plain["param_groups"]
    group["late"] = {}
    plain["state"] = {}
    for index, other in enumerate(second):
        state = theirs.state.get(other, {})
        if not state:
            group["late"][index] = (0.0, 1, 0, *[0.0] * len(ours.product.MEMORY))
            continue
        # plain gradient descent counts nothing in torch
        count = int(state.get("step", 0))
        group["late"][index] = (0.0, count + 1, 0, *twin.scalars(state))
        zeros = {name: torch.zeros_like(other) for name in ours.product.STATES}
        known = {name: state[there].clone() for name, there in twin.arrays.items()}
        plain["state"][index] = {**zeros, **known}
    ours.load_state_dict(plain)
    with torch.no_grad():
        for a, b in zip(first, second, strict=True):
            a.copy_(b)


@pytest.mark.parametrize("form", FORMS)
@TWIN
def test_each_step_in_single_precision_is_torchs_up_to_rounding(twin: Twin, form: str) -> None:
    ours, theirs, first, second = pair(twin, torch.float32, None, form)
    for number in range(STEPS):
        as_ours(twin, ours, first, theirs, second)
        before = [param.detach().clone() for param in second]
        kept = [copy.deepcopy(theirs.state.get(param, {})) for param in second]
        given = gradients(second, number)
        step(ours, first, number, given)
        step(theirs, second, number, given)
        for a, b, old, earlier in zip(first, second, before, kept, strict=True):
            condition = cancelled(twin, earlier, theirs.state.get(b, {}))
            assert ulps(a.detach(), b.detach(), old, condition) <= 4, number
        for a, b, old in zip(first, second, kept, strict=True):
            for name, other in twin.arrays.items() if a in ours.state else ():
                there = theirs.state[b][other]
                start = old.get(other, torch.zeros_like(there))
                assert ulps(ours.state[a][name], there, start) <= 4, (number, name)


def cancelled(twin: Twin, before: dict[str, Any], after: dict[str, Any]) -> Any:
    """How much larger the terms of what makes a step are than their sum."""
    if twin.carried is None or not before or not after:
        return 1.0
    name, factor = twin.carried
    old, new = factor * before[name], after[name]
    return (old.abs() + (new - old).abs()) / new.abs()


def ulps(
    ours: torch.Tensor, theirs: torch.Tensor, before: torch.Tensor, condition: Any = 1.0
) -> float:
    """A distance in units in the last place of the largest operand of a sum with what was there.

    The change counts as many times as its relative error is larger than one of the state.
    """
    change = ((theirs - before).abs() * condition).to(theirs.dtype)
    size = torch.maximum(torch.maximum(before.abs(), change), theirs.abs()).numpy()
    spacing = np.spacing(np.maximum(size, np.finfo(np.float32).tiny))
    return float(np.max(abs((ours - theirs).numpy()) / spacing))


@TWIN
def test_free_steps_in_single_precision_stay_as_close_as_torchs(twin: Twin) -> None:
    """On given gradients: to the run in double precision, beside torch's plain loop."""
    ours, theirs, first, second = pair(twin, torch.float32, None, "fused")
    _, exact, _, third = pair(twin, torch.float64, None, "fused")
    with torch.no_grad():
        for single, double in zip(second, third, strict=True):
            double.copy_(single)
    for number in range(STEPS):
        given = gradients(second, number, pull=0.0)
        for optimizer, params in ((ours, first), (theirs, second), (exact, third)):
            own = [g if g is None else g.to(params[0].dtype) for g in given]
            step(optimizer, params, number, own)
    far = [
        max(float((a - b).detach().abs().max()) for a, b in zip(params, third, strict=True))
        for params in (first, second)
    ]
    assert far[0] <= 1.5 * far[1]


@TWIN
def test_a_state_of_torch_goes_on_in_ours(twin: Twin) -> None:
    ours, theirs, first, second = pair(twin, torch.float64, 0.1, "fused")
    for number in range(30):
        step(theirs, second, number, gradients(second, number))
    as_ours(twin, ours, first, theirs, second)
    for number in range(30, 60):
        step(ours, first, number, gradients(first, number))
        step(theirs, second, number, gradients(second, number))
    for a, b in zip(first, second, strict=True):
        assert float((a - b).detach().abs().max()) <= 1e-13


def test_a_parameter_that_rests_keeps_its_count() -> None:
    first = parameters(torch.float64)
    optimizer = hf.optimizer("adam")(first, lr=0.1)
    for number in range(60):
        step(optimizer, first, number, gradients(first, number))
    (group,) = optimizer.param_groups
    counts = [group["late"].get(index, group["clock"]).n - 1 for index in range(len(first))]
    assert counts == [60, 57, 57, 60]
    saved = copy.deepcopy(optimizer.state_dict())
    second = [torch.nn.Parameter(param.detach().clone()) for param in first]
    other = hf.optimizer("adam")(second, lr=0.1)
    other.load_state_dict(saved)
    for number in range(60, 70):
        step(optimizer, first, number, gradients(first, number))
        step(other, second, number, gradients(second, number))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_rule_with_its_own_decay_has_no_such_option() -> None:
    first = parameters(torch.float64)
    optimizer = hf.optimizer("lamb")(first, weight_decay=0.1)
    assert optimizer.param_groups[0]["weight_decay"] == 0.1
    with pytest.raises(TypeError, match="no option 'decoupled_weight_decay'"):
        hf.optimizer("lamb")(first, decoupled_weight_decay=True)
    decoupled = hf.optimizer("adamw")(first)
    assert decoupled.param_groups[0]["weight_decay"] == 0.01
    assert decoupled.param_groups[0]["decoupled_weight_decay"] is True


@pytest.mark.parametrize("dampening", [0.0, 0.1, -0.5, 1.0])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_is_refused_where_torchs_is(momentum: float, dampening: float, nesterov: bool) -> None:
    options: dict[str, Any] = {"momentum": momentum, "dampening": dampening, "nesterov": nesterov}
    refused = []
    for made in (hf.optimizer("sgd"), torch.optim.SGD):
        try:
            made(parameters(torch.float64), lr=0.1, **options)
        except ValueError:
            refused.append(True)
        else:
            refused.append(False)
    assert refused[0] == refused[1]


def test_what_a_rule_requires_is_looked_at_before_a_step() -> None:
    first = parameters(torch.float64)
    before = [param.detach().clone() for param in first]
    with pytest.raises(ValueError, match="Nesterov's form needs a momentum"):
        hf.optimizer("sgd")(first, nesterov=True)
    optimizer = hf.optimizer("sgd")(first, momentum=0.9, nesterov=True)
    optimizer.param_groups[0]["momentum"] = 0.0
    with pytest.raises(ValueError, match="Nesterov's form needs a momentum"):
        step(optimizer, first, 0, gradients(first, 0))
    assert all(torch.equal(a.detach(), b) for a, b in zip(first, before, strict=True))
    with pytest.raises(ValueError, match="nesterov = 1 is not True or False"):
        hf.optimizer("sgd")(first, nesterov=1)


#: Gradients of these sizes have squares beyond the type; of the squares a share is kept.
LARGE = [(torch.float16, 300.0), (torch.float16, 2000.0), (torch.float32, 1e20)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "size"), LARGE, ids=str)
@TWIN
def test_large_gradients_are_no_further_from_double_precision_than_in_torch(
    twin: Twin, dtype: torch.dtype, size: float, form: str
) -> None:
    form = form if dtype == torch.float32 else {"fused": "over lists"}.get(form, form)
    ours, theirs, first, second = pair(twin, dtype, None, form)
    _, exact, _, third = pair(twin, torch.float64, None, form)
    for number in range(4, 7):
        before = [param.detach().clone() for param in third]
        given = [size * torch.sign(param.detach()) for param in third]
        step(exact, third, number, given)
        for optimizer, params in ((ours, first), (theirs, second)):
            step(optimizer, params, number, [slope.to(dtype) for slope in given])
        for a, b, c, old in zip(first, second, third, before, strict=True):
            length, moved = old.abs() + c.detach().abs(), (c.detach() - old).abs()
            rounding = 8 * torch.finfo(dtype).eps * length + 0.02 * moved
            assert ((a - c).detach().abs() <= rounding + 1.5 * (b - c).detach().abs()).all()
