"""What cannot be done is refused in the user's words, and nothing is changed."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import hamilforge as hf
from hamilforge.runtime.optimizers.clock import BeforeStart
from hamilforge.runtime.optimizers.optimizer_options import OPTIONS, check_together

from .problems import quadratic_gradient, start
from .training import feed, first, flat, optimizer_class, parameters, stages

LR = 1e-2
PLAIN = {"shifted": False, "scope": "coordinate", "staged": False, "timed": False}
SUMS = {"shifted": True, "scope": "all", "staged": False, "timed": False}


def test_an_unknown_option_is_named_with_the_nearest_known(method: Any) -> None:
    with pytest.raises(TypeError, match=r"has no option 'maximise'; did you mean 'maximize'\?"):
        method(parameters(start()), maximise=True)
    with pytest.raises(TypeError, match=r"has no option 'xyzzy'$"):
        method(parameters(start()), xyzzy=1)


def test_an_unknown_option_near_a_hyper_parameter_is_recognised() -> None:
    method = optimizer_class(first(**PLAIN))
    with pytest.raises(TypeError, match=r"no option 'momentun'; did you mean 'momentum'\?"):
        method(parameters(start()), momentun=0.5)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_no_hyper_parameter_leaves_its_domain(method: Any, value: float) -> None:
    for name in method(parameters(start())).product.HYPERPARAMETERS:
        with pytest.raises(ValueError, match=rf"{name} = {value} is outside [\[(]"):
            method(parameters(start()), **{name: value})


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_weight_decay_is_not_negative(method: Any, value: float) -> None:
    with pytest.raises(ValueError, match=r"weight_decay = .* is outside \[0, inf\)"):
        method(parameters(start()), weight_decay=value)


def test_decoupled_weight_decay_needs_a_learning_rate() -> None:
    product: Any = SimpleNamespace(HYPERPARAMETERS={"momentum": (0.9, "nonnegative")}, TUPLES={})
    options = OPTIONS | {"decoupled_weight_decay": True}
    with pytest.raises(ValueError, match="there is no hyper-parameter lr; use weight_decay alone"):
        check_together(options, product)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fast", "lr = 'fast' is not a number"),
        (None, "lr = None is not a number"),
        (torch.ones(2), "lr is a tensor of 2 entries; one was expected"),
    ],
    ids=["text", "none", "two entries"],
)
def test_a_learning_rate_is_one_number(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        optimizer_class(first(**PLAIN))(parameters(start()), lr=value)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), "fast"])
def test_a_step_with_a_bad_setting_in_any_group_changes_nothing(value: Any, fused: bool) -> None:
    params = parameters(start())
    method = optimizer_class(first(**PLAIN))
    optimizer = method([{"params": params[:1]}, {"params": params[1:]}], lr=LR, fused=fused)
    stages(optimizer, params, quadratic_gradient, 2)
    feed(params, quadratic_gradient)
    optimizer.param_groups[1]["lr"] = value
    point, state = flat(params), copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match="lr = "):
        optimizer.step()
    assert (flat(params) == point).all()
    after = optimizer.state_dict()
    assert [g["clock"] for g in after["param_groups"]] == [
        g["clock"] for g in state["param_groups"]
    ]
    for number, buffers in state["state"].items():
        for name, buffer in buffers.items():
            assert torch.equal(after["state"][number][name], buffer)
    optimizer.param_groups[1]["lr"] = LR
    optimizer.step()
    assert (flat(params) != point).all()


def test_a_sparse_gradient_is_refused(method: Any) -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = method([param], lr=LR)
    param.grad = torch.sparse_coo_tensor([[1]], [1.0], (3,), dtype=torch.float64)
    with pytest.raises(RuntimeError, match="sparse gradients are not supported; use dense ones"):
        optimizer.step()
    assert (flat([param]) == 1).all()
    assert not optimizer.state


def test_a_sparse_gradient_is_refused_after_dense_ones() -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = optimizer_class(first(**PLAIN))([param], lr=LR)
    stages(optimizer, [param], quadratic_gradient, 2)
    point = flat([param])
    param.grad = torch.sparse_coo_tensor([[1]], [1.0], (3,), dtype=torch.float64)
    with pytest.raises(RuntimeError, match="sparse gradients"):
        optimizer.step()
    assert (flat([param]) == point).all()


def test_a_complex_parameter_is_refused(method: Any) -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.complex128))
    optimizer = method([param], lr=LR)
    param.grad = torch.ones_like(param)
    with pytest.raises(RuntimeError, match="optimize their real and imaginary parts"):
        optimizer.step()
    assert (param.detach() == 1).all()
    assert not optimizer.state


def test_an_empty_list_of_parameters_is_refused(method: Any) -> None:
    with pytest.raises(ValueError, match="empty parameter list"):
        method([], lr=LR)


def test_a_tensor_that_is_no_leaf_is_refused(method: Any) -> None:
    with pytest.raises(ValueError, match="non-leaf"):
        method([torch.ones(2, requires_grad=True) * 2], lr=LR)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("stage", [0, 2])
def test_sums_over_unequal_groups_are_refused_with_the_way_out(stage: int, fused: bool) -> None:
    params = parameters(start())
    method = optimizer_class(first(**SUMS))
    optimizer = method([{"params": params[:1]}, {"params": params[1:]}], lr=LR, fused=fused)
    stages(optimizer, params, quadratic_gradient, stage)
    optimizer.param_groups[1]["lr"] = 2 * LR
    feed(params, quadratic_gradient)
    point = flat(params)
    with pytest.raises(ValueError, match=r'declare \[reduce\] scope = "group"'):
        optimizer.step()
    assert (flat(params) == point).all()


CANNOT = {
    "bfloat16": (lambda: torch.ones(3, dtype=torch.bfloat16), "takes float32 or float64"),
    "strides": (lambda: torch.ones(2, 3).T, "a tensor is not contiguous"),
    "device": (lambda: torch.ones(3, device="meta"), "the kernel runs on the CPU"),
}


@pytest.mark.parametrize("what", CANNOT)
def test_fused_is_refused_where_the_kernel_does_not_apply(what: str) -> None:
    make, message = CANNOT[what]
    param = torch.nn.Parameter(make())
    optimizer = optimizer_class(first(**PLAIN))([param], lr=LR, fused=True)
    param.grad = torch.ones_like(param)
    with pytest.raises(RuntimeError, match=f"fused=True, but .*{message}"):
        optimizer.step()
    assert not optimizer.state


def test_fused_is_refused_for_two_dtypes() -> None:
    params = [torch.nn.Parameter(torch.ones(2, dtype=d)) for d in (torch.float32, torch.float64)]
    optimizer = optimizer_class(first(**PLAIN))(params, lr=LR, fused=True)
    for param in params:
        param.grad = torch.ones_like(param)
    with pytest.raises(RuntimeError, match="the same for all tensors"):
        optimizer.step()


def test_a_fused_step_and_one_over_lists_are_not_differentiable(method: Any) -> None:
    for form in ("fused", "foreach"):
        with pytest.raises(ValueError, match=f"{form}=True and differentiable=True are different"):
            method(parameters(start()), **{form: True}, differentiable=True)
    with pytest.raises(ValueError, match="fused=True and foreach=True are different forms"):
        method(parameters(start()), fused=True, foreach=True)


def test_foreach_is_refused_where_it_does_not_apply(method: Any) -> None:
    class Own(torch.Tensor):
        pass

    param = torch.nn.Parameter(torch.ones(3).as_subclass(Own))
    param.grad = torch.ones(3)
    optimizer = method([param], foreach=True)
    with pytest.raises(RuntimeError, match="foreach=True, but a tensor is of the class"):
        optimizer.step()
    assert not optimizer.state
    assert (param == 1).all()


def test_a_group_is_added_between_steps_only() -> None:
    name = first(shifted=True, scope="coordinate", staged=True, timed=False)
    params = parameters(start())
    optimizer = optimizer_class(name)(params[:2], lr=LR)
    stages(optimizer, params[:2], quadratic_gradient, 1)
    with pytest.raises(ValueError, match="a group can be added only between steps"):
        optimizer.add_param_group({"params": params[2:]})
    assert len(optimizer.param_groups) == 1


def test_a_bad_group_is_not_added() -> None:
    params = parameters(start())
    optimizer = optimizer_class(first(**PLAIN))(params[:2], lr=LR)
    with pytest.raises(ValueError, match=r"lr = -1\.0 is outside"):
        optimizer.add_param_group({"params": params[2:], "lr": -1.0})
    assert len(optimizer.param_groups) == 1


def test_an_unknown_option_of_a_group_is_named_too() -> None:
    params = parameters(start())
    with pytest.raises(TypeError, match=r"has no option 'momentun'; did you mean 'momentum'\?"):
        optimizer_class(first(**PLAIN))([{"params": params, "momentun": 0.5}], lr=LR)


def test_a_state_of_other_groups_is_refused(method: Any) -> None:
    params = parameters(start())
    one = method(params, lr=LR)
    two = method([{"params": params[:1]}, {"params": params[1:]}], lr=LR)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        two.load_state_dict(one.state_dict())


def test_a_step_back_before_the_frictions_start_is_refused(tmp_path: Path) -> None:
    head = 'name = "{}"\ntitle = "T"\nreference = "R"\n'
    (tmp_path / "back.toml").write_text(
        'kind = "splitting"\n' + head.format("back")
        + 'steps = [["BD", "-1/2"], ["A", 1], ["BD", "3/2"]]\n'
    )  # fmt: skip
    path = tmp_path / "late.toml"
    path.write_text(
        'kind = "optimizer"\n' + head.format("late") + 'system = "classical_vanishing"\n'
        'method = "back.toml"\n[hyperparameters]\nlr = { default = 1, domain = "nonnegative" }\n'
        '[set]\nm = "1"\nh = "lr"\n[start]\nt = 1\n'
    )
    params = parameters(start())
    optimizer = hf.optimizer(path)(params, lr=3.0, fused=False)
    for param in params:
        param.grad = torch.ones_like(param)
    with pytest.raises(BeforeStart, match=r"asked for at t = -0\.5, before its start"):
        optimizer.step()
    assert (flat(params) == start()).all()
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
