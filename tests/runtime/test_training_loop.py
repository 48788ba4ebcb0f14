"""What training loops do with an optimizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.testing

from hamilforge.runtime.optimizers.fused_plan import FusedPlan
from hamilforge.runtime.optimizers.lists_plan import ListsPlan

from .problems import quadratic_gradient, start
from .training import feed, first, flat, optimizer_class, parameters, solutions, stages, steps

LR = 1e-2
PLAIN = {"shifted": False, "scope": "coordinate", "staged": False, "timed": False}
SHIFTED = {"shifted": True, "scope": "coordinate", "staged": False, "timed": False}
SUMS = {"shifted": True, "scope": "all", "staged": False, "timed": False}


def test_it_is_an_optimizer_of_torch(method: Any) -> None:
    optimizer = method(parameters(start()))
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert method.__name__ in repr(optimizer)
    for name, (default, _) in optimizer.product.HYPERPARAMETERS.items():
        assert optimizer.defaults[name] == default


def test_a_closure_gives_gradient_and_loss(method: Any) -> None:
    param = torch.nn.Parameter(torch.from_numpy(start()))
    other = torch.nn.Parameter(torch.from_numpy(start()))
    optimizer, plain = method([param], lr=LR), method([other], lr=LR)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = param.square().sum()
        loss.backward()
        return loss

    for _ in range(4):
        before = float(param.detach().square().sum())
        with torch.no_grad():
            loss = optimizer.step(closure)
        assert float(loss) == before
        other.grad = 2 * other.detach()
        assert plain.step() is None
    assert (flat([param]) == flat([other])).all()


def test_hooks_stand_around_the_step(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    seen: list[tuple[str, bool]] = []

    def unmoved() -> bool:
        return bool((flat(params) == start()).all())

    optimizer.register_step_pre_hook(lambda *_: seen.append(("before", unmoved())))
    optimizer.register_step_post_hook(lambda *_: seen.append(("after", unmoved())))
    stages(optimizer, params, quadratic_gradient, 1)
    assert seen == [("before", True), ("after", False)]


def test_gradients_are_set_to_none_or_to_zero(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    feed(params, quadratic_gradient)
    optimizer.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.any() for p in params)
    optimizer.zero_grad()
    assert all(p.grad is None for p in params)


def test_a_step_leaves_the_gradient_as_it_was(method: Any) -> None:
    for options in ({}, {"weight_decay": 0.1, "maximize": True}):
        params = parameters(start())
        optimizer = method(params, lr=LR, **options)
        feed(params, quadratic_gradient)
        before = [param.grad.clone() for param in params]
        optimizer.step()
        assert all(torch.equal(p.grad, b) for p, b in zip(params, before, strict=True))


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("properties", [PLAIN, SHIFTED], ids=["solution", "shifted"])
def test_each_group_has_its_own_hyper_parameters(properties: Any, fused: bool) -> None:
    method = optimizer_class(first(**properties))
    settings: list[dict[str, Any]] = [
        {"lr": 0.02, "momentum": 0.5},
        {"lr": 0.01, "weight_decay": 0.3},
        {"lr": 0.03, "maximize": True, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ]

    def gradient(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sin(x) + 0.1 * x)

    together = parameters(start())
    groups = [{"params": [p], **s} for p, s in zip(together, settings, strict=True)]
    whole = solutions(method(groups, fused=fused), together, gradient, 10)
    pieces = []
    for param, setting in zip(parameters(start()), settings, strict=True):
        optimizer = method([param], fused=fused, **setting)
        pieces.append(solutions(optimizer, [param], gradient, 10))
    assert (whole == np.concatenate(pieces, axis=1)).all()


def test_sums_over_equal_groups_are_sums_over_all(method: Any) -> None:
    found = []
    for split in (False, True):
        params = parameters(start())
        groups = [{"params": params[:1]}, {"params": params[1:]}] if split else params
        found.append(solutions(method(groups, lr=LR), params, quadratic_gradient, 10))
    assert abs(found[0] - found[1]).max() <= 1e-14 * abs(found[0]).max()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("properties", [PLAIN, SHIFTED], ids=["solution", "shifted"])
def test_a_group_added_later_starts_as_if_it_were_alone(properties: Any, fused: bool) -> None:
    method = optimizer_class(first(**properties))
    params = parameters(start())
    optimizer = method(params[:2], lr=LR, fused=fused)
    steps(optimizer, params[:2], np.sin, 3)
    optimizer.add_param_group({"params": params[2:]})
    assert optimizer.param_groups[1]["lr"] == LR
    together = solutions(optimizer, params, np.sin, 2)
    assert [group["clock"].n for group in optimizer.param_groups] == [6, 3]
    alone = parameters(start()[7:], [(3,)])
    wanted = solutions(method(alone, lr=LR, fused=fused), alone, np.sin, 2)
    assert (together[:, 7:] == wanted).all()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_a_group_added_later_is_trained_where_sums_run_over_all(fused: bool) -> None:
    params = parameters(start())
    optimizer = optimizer_class(first(**SUMS))(params[:2], lr=LR, fused=fused)
    steps(optimizer, params[:2], quadratic_gradient, 3)
    optimizer.add_param_group({"params": params[2:]})
    steps(optimizer, params, quadratic_gradient, 2)
    with optimizer.solution():
        assert (flat(params[2:]) != start()[7:]).all()


def test_the_learning_rate_may_be_a_tensor(method: Any) -> None:
    found = []
    for lr in (LR, torch.tensor(LR, dtype=torch.float64)):
        params = parameters(start())
        found.append(solutions(method(params, lr=lr), params, quadratic_gradient, 4))
    assert (found[0] == found[1]).all()


def test_a_learning_rate_changed_in_place_is_read_at_the_next_step(method: Any) -> None:
    lr = torch.tensor(LR, dtype=torch.float64)
    found = []
    for changing in (True, False):
        params = parameters(start())
        optimizer = method(params, lr=lr.clone() if changing else LR)
        steps(optimizer, params, quadratic_gradient, 2)
        if changing:
            optimizer.param_groups[0]["lr"].mul_(0.5)
        else:
            optimizer.param_groups[0]["lr"] = 0.5 * LR
        found.append(solutions(optimizer, params, quadratic_gradient, 2))
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_a_warmup_from_zero_starts_without_movement(method: Any, fused: bool) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR, fused=fused)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: n / 5)
    steps(optimizer, params, quadratic_gradient, 1)
    with optimizer.solution():
        assert (flat(params) == start()).all()
    for _ in range(8):
        scheduler.step()
        steps(optimizer, params, quadratic_gradient, 1)
        assert np.isfinite(flat(params)).all()
    with optimizer.solution():
        assert (flat(params) != start()).any()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_to_maximize_is_to_minimize_the_negative(method: Any, fused: bool) -> None:
    found = []
    for maximize in (True, False):
        sign = -1.0 if maximize else 1.0
        params = parameters(start())
        optimizer = method(params, lr=LR, maximize=maximize, fused=fused)
        gradient = lambda x, sign=sign: sign * quadratic_gradient(x)  # noqa: E731
        found.append(solutions(optimizer, params, gradient, 5))
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("maximize", [False, True], ids=["minimize", "maximize"])
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_weight_decay_adds_the_parameters_to_the_gradient(
    method: Any, fused: bool, maximize: bool
) -> None:
    decay, sign = 0.3, -1.0 if maximize else 1.0
    params = parameters(start())
    optimizer = method(params, lr=LR, weight_decay=decay, maximize=maximize, fused=fused)
    found = solutions(optimizer, params, quadratic_gradient, 5)
    params = parameters(start())
    plain = method(params, lr=LR, fused=fused)
    wanted = solutions(plain, params, lambda x: sign * quadratic_gradient(x) + decay * x, 5)
    assert abs(found - wanted).max() <= 1e-13 * abs(wanted).max()
    assert abs(wanted - solutions(plain, params, quadratic_gradient, 5)).max() > 1e-6


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_decoupled_weight_decay_shrinks_the_parameters_beside_the_step(
    method: Any, fused: bool
) -> None:
    decay = 0.3
    params, other = parameters(start()), parameters(start())
    optimizer = method(params, lr=LR, weight_decay=decay, decoupled_weight_decay=True, fused=fused)
    plain = method(other, lr=LR, fused=fused)
    for _ in range(6):
        feed(params, quadratic_gradient)
        optimizer.step()
        for param, source in zip(other, params, strict=True):
            param.grad = source.grad
            if plain.param_groups[0]["clock"].stage == 0:
                param.data.mul_(1 - LR * decay)
        plain.step()
        wanted = flat(other)
        assert abs(flat(params) - wanted).max() <= 1e-14 * abs(wanted).max()


def test_decoupled_weight_decay_shrinks_once_in_a_step_of_several_gradients() -> None:
    decay = 0.3
    name = first(shifted=True, scope="coordinate", staged=True, timed=False)
    params = parameters(start())
    optimizer = optimizer_class(name)(
        params, lr=LR, weight_decay=decay, decoupled_weight_decay=True
    )
    steps(optimizer, params, np.zeros_like, 1)
    wanted = start() * (1 - LR * decay)
    assert abs(flat(params) - wanted).max() <= 1e-15


def test_options_changed_between_steps_are_heard() -> None:
    method = optimizer_class(first(**PLAIN))
    params = parameters(start())
    optimizer = method(params, lr=LR)
    stages(optimizer, params, quadratic_gradient, 2)
    optimizer.param_groups[0]["maximize"] = True
    point = flat(params)
    stages(optimizer, params, quadratic_gradient, 20)
    at_point, now = (0.5 * (x - 1) @ quadratic_gradient(x) for x in (point, flat(params)))
    assert now > at_point


def test_fused_set_on_a_group_between_steps_is_heard() -> None:
    optimizer_of = optimizer_class(first(**PLAIN))
    params = parameters(start())
    optimizer = optimizer_of(params, lr=LR)
    stages(optimizer, params, quadratic_gradient, 1)
    optimizer.param_groups[0]["fused"] = False
    stages(optimizer, params, quadratic_gradient, 1)
    assert isinstance(optimizer._plan, ListsPlan)
    optimizer.param_groups[0]["fused"] = None
    stages(optimizer, params, quadratic_gradient, 1)
    assert isinstance(optimizer._plan, FusedPlan)
    optimizer.param_groups[0].update(fused=False, foreach=False)
    stages(optimizer, params, quadratic_gradient, 1)
    assert optimizer._plan is None


def test_gradient_scaling_skips_a_step_that_overflowed(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    loss = torch.stack([p.square().sum() for p in params]).sum()
    scaler.scale(loss).backward()
    params[0].grad[0, 0] = float("inf")
    scaler.step(optimizer)
    scaler.update()
    assert (flat(params) == start()).all()
    assert optimizer.param_groups[0]["clock"].n == 1
    assert optimizer.param_groups[0]["clock"].stage == 0
    optimizer.zero_grad()
    loss = torch.stack([p.square().sum() for p in params]).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    assert (flat(params) != start()).any()


def test_a_model_learns(method: Any) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    model.double()
    inputs = torch.randn(64, 2, dtype=torch.float64)
    targets = inputs[:, :1] * inputs[:, 1:]
    optimizer = method(model.parameters(), lr=0.02)

    def loss() -> torch.Tensor:
        return torch.nn.functional.mse_loss(model(inputs), targets)

    before = float(loss().detach())
    for _ in range(42):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    with optimizer.solution():
        assert float(loss().detach()) < before


@pytest.mark.parametrize("fused", [None, False], ids=["chosen", "lists"])
@pytest.mark.parametrize("kind", [PLAIN, SUMS], ids=["plain", "sums"])
def test_a_step_in_a_traced_function_is_the_same_step(kind: Any, fused: bool | None) -> None:
    runs = []
    for traced in (False, True):
        params = parameters(start(), dtype=torch.float32)
        optimizer = optimizer_class(first(**kind))(params, lr=LR, fused=fused)

        def step(optimizer: Any = optimizer, params: Any = params) -> None:
            for param in params:
                param.grad = param.detach() * 0.5
            optimizer.step()

        torch.compiler.reset()
        counted = torch._dynamo.testing.CompileCounter()
        run = torch.compile(step, backend=counted) if traced else step
        compiled = []
        for turn in range(12):
            optimizer.param_groups[0]["lr"] = LR / (1 + turn)
            run()
            compiled.append(counted.frame_count)
        assert compiled[2:] == compiled[2:3] * 10, "each step is traced anew"
        runs.append(flat(params))
    assert (runs[0] == runs[1]).all()
