"""Training stopped and resumed is training."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch

import hamilforge as hf

from .problems import Vector, rosenbrock_gradient, start
from .training import feed, first, flat, optimizer_class, parameters, stages

LR = 1e-4
#: Stages before and after the interruption: both cut a step of any number of stages in its middle.
BEFORE, AFTER = 7, 11


def trained(method: Any, count: int, **options: Any) -> tuple[Any, list[torch.nn.Parameter]]:
    params = parameters(start())
    optimizer = method(params, lr=LR, **options)
    stages(optimizer, params, rosenbrock_gradient, count)
    return optimizer, params


def uninterrupted(method: Any, **options: Any) -> Vector:
    optimizer, params = trained(method, BEFORE + AFTER, **options)
    del optimizer
    return flat(params)


def through_a_file(state: Any, weights_only: bool) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=weights_only)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("before", [0, 1, 6, BEFORE])
def test_training_resumes_bit_for_bit_between_stages_and_steps(
    method: Any, before: int, fused: bool
) -> None:
    optimizer, params = trained(method, before, fused=fused)
    state = copy.deepcopy(optimizer.state_dict())
    resumed_params = parameters(flat(params))
    resumed = method(resumed_params, lr=0.5, fused=fused)
    resumed.load_state_dict(state)
    for one, its in ((optimizer, params), (resumed, resumed_params)):
        stages(one, its, rosenbrock_gradient, AFTER)
    assert (flat(params) == flat(resumed_params)).all()
    assert (flat(params) != start()).any()


@pytest.mark.parametrize("weights_only", [True, False])
def test_a_state_survives_a_file(method: Any, weights_only: bool) -> None:
    optimizer, params = trained(method, BEFORE)
    state = through_a_file(optimizer.state_dict(), weights_only)
    resumed_params = parameters(flat(params))
    resumed = method(resumed_params, lr=0.5)
    resumed.load_state_dict(state)
    stages(resumed, resumed_params, rosenbrock_gradient, AFTER)
    assert (flat(resumed_params) == uninterrupted(method)).all()


def test_a_pickled_optimizer_goes_on(method: Any) -> None:
    optimizer, _ = trained(method, BEFORE)
    copied = pickle.loads(pickle.dumps(optimizer))
    params = copied.param_groups[0]["params"]
    stages(copied, params, rosenbrock_gradient, AFTER)
    assert (flat(params) == uninterrupted(method)).all()


def test_a_copied_optimizer_goes_on_apart_from_the_original(method: Any) -> None:
    optimizer, params = trained(method, BEFORE)
    before = flat(params)
    copied = copy.deepcopy(optimizer)
    its = copied.param_groups[0]["params"]
    stages(copied, its, rosenbrock_gradient, AFTER)
    assert (flat(its) == uninterrupted(method)).all()
    assert (flat(params) == before).all()


def test_a_model_copied_with_its_optimizer_stays_with_it(method: Any) -> None:
    optimizer, params = trained(method, BEFORE)
    copied, its = copy.deepcopy((optimizer, params))
    stages(copied, its, rosenbrock_gradient, AFTER)
    assert (flat(its) == uninterrupted(method)).all()


def test_a_state_holds_one_buffer_for_each_parameter_that_had_a_gradient(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    assert not optimizer.state
    feed(params, rosenbrock_gradient)
    params[1].grad = None
    optimizer.step()
    assert set(optimizer.state) == {params[0], params[2]}
    assert all(len(state) == 1 for state in optimizer.state.values())


def test_named_parameters_keep_their_names_in_the_state(method: Any) -> None:
    model = torch.nn.Linear(3, 2).double()
    optimizer = method(model.named_parameters(), lr=LR)
    model(torch.ones(1, 3).double()).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    assert state["param_groups"][0]["param_names"] == ["weight", "bias"]
    other = method(torch.nn.Linear(3, 2).double().named_parameters(), lr=0.5)
    other.load_state_dict(state)
    assert other.param_groups[0]["lr"] == LR


def test_a_state_of_a_transposed_parameter_fits_a_contiguous_one() -> None:
    method = optimizer_class(first(shifted=True, scope="coordinate", staged=False, timed=False))
    values = start(6).reshape(2, 3)
    strided = torch.nn.Parameter(torch.from_numpy(values.T.copy()).T)
    assert not strided.is_contiguous()
    optimizer = method([strided], lr=LR)
    stages(optimizer, [strided], rosenbrock_gradient, 5)
    dense = torch.nn.Parameter(strided.detach().clone(memory_format=torch.contiguous_format))
    resumed = method([dense], lr=LR)
    resumed.load_state_dict(optimizer.state_dict())
    for one, its in ((optimizer, strided), (resumed, dense)):
        stages(one, [its], rosenbrock_gradient, 5)
    # one of them by torch's operations, the other by the kernel
    assert abs(flat([strided.detach().contiguous()]) - flat([dense])).max() <= 1e-15


def test_the_solution_is_no_checkpoint() -> None:
    method = optimizer_class(first(shifted=True, scope="coordinate", staged=False, timed=False))
    optimizer, _ = trained(method, 3)
    with (
        optimizer.solution(),
        pytest.raises(RuntimeError, match=r"call train\(\) before state_dict"),
    ):
        optimizer.state_dict()


@pytest.mark.parametrize("copier", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_copy_made_at_the_solution_is_refused_or_returns_to_the_point(copier: Any) -> None:
    method = optimizer_class(first(shifted=True, scope="coordinate", staged=False, timed=False))
    optimizer, params = trained(method, 3)
    point = flat(params)
    optimizer.eval()
    try:
        copied = copier(optimizer)
    except RuntimeError as error:
        assert "train()" in str(error)  # noqa: PT017
        return
    copied = pickle.loads(copied) if isinstance(copied, bytes) else copied
    copied.train()
    assert (flat(copied.param_groups[0]["params"]) == point).all()


BETWEEN = """
kind = "optimizer"
name = "between"
title = "-"
reference = "-"
unknowns = ["x", "z"]
assign = ["g = grad(x)", "z = z - lr*g", "x = x - lr*grad(x - lr*g) - 0.1*(x - z)"]
[start]
z = "x"
[hyperparameters]
lr = { default = 0.1, domain = "nonnegative", doc = "-" }
"""


@pytest.mark.parametrize("form", ["fused", "foreach", "functional"])
@pytest.mark.parametrize("way", ["load", "copy"])
def test_a_parameter_may_join_after_a_load_between_stages(
    form: str, way: str, tmp_path: Any
) -> None:
    (path := tmp_path / "between.toml").write_text(BETWEEN)
    options = {"functional": {"fused": False, "foreach": False}}.get(form, {form: True})

    def joined(load: bool) -> Vector:
        params = [torch.nn.Parameter(torch.full((2,), value)) for value in (1.0, 2.0)]
        optimizer = hf.optimizer(path)(params, **options)
        params[0].grad = torch.ones(2)
        optimizer.step()
        if load and way == "load":
            optimizer.load_state_dict(optimizer.state_dict())
        if load and way == "copy":
            optimizer = copy.deepcopy(optimizer)
            params = optimizer.param_groups[0]["params"]
        for param in params:  # a copy has no gradients
            param.grad = torch.ones(2)
        for _ in range(3):
            optimizer.step()
        return flat(params)

    assert (joined(True) == joined(False)).all()


def test_who_looks_at_a_state_makes_none(any_method: str) -> None:
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = optimizer_class(any_method)([param])
    assert not optimizer.state[param]  # torch makes a dictionary
    with optimizer.solution():
        assert torch.equal(param, torch.ones(3))
