"""Over what sums run is chosen where an optimizer is made: all parameters, a group, a tensor."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from .problems import quadratic_gradient, start
from .test_members import SUMMING
from .training import feed, first, flat, optimizer_class, parameters, steps

LR = 1e-2
PLAIN = {"shifted": False, "scope": "coordinate", "staged": False, "timed": False}


def separate(name: str, pieces: Any, rates: Any, count: int) -> Any:
    """What optimizers of their own would do with the pieces, gradients taken together."""
    params = parameters(start())
    made = optimizer_class(name)
    optimizers = [
        made([params[k] for k in piece], lr=lr) for piece, lr in zip(pieces, rates, strict=True)
    ]
    for _ in range(count * len(made.STAGES)):
        feed(params, quadratic_gradient)
        for optimizer in optimizers:
            optimizer.step()
    for optimizer in optimizers:
        optimizer.eval()
    return flat(params)


@pytest.mark.parametrize("fused", [None, False], ids=["fused", "functional"])
@pytest.mark.parametrize("scope", ["group", "tensor"])
@pytest.mark.parametrize("name", SUMMING)
def test_a_scope_is_an_optimizer_for_each_part(name: str, scope: str, fused: bool | None) -> None:
    params = parameters(start())
    groups = [{"params": params[:1], "lr": LR}, {"params": params[1:], "lr": LR / 2}]
    optimizer = optimizer_class(name)(groups, scope=scope, fused=fused)
    steps(optimizer, params, quadratic_gradient, 5)
    pieces, rates = {
        "group": ([[0], [1, 2]], [LR, LR / 2]),
        "tensor": ([[0], [1], [2]], [LR, LR / 2, LR / 2]),
    }[scope]
    wanted = separate(name, pieces, rates, 5)
    with optimizer.solution():
        assert np.allclose(flat(params), wanted, rtol=1e-13, atol=1e-15)
    wrong = separate(name, [[0, 1, 2]], [LR], 5)
    assert not np.allclose(flat(params), wrong, rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", SUMMING)
def test_all_is_what_is_declared(name: str) -> None:
    found = []
    for options in ({}, {"scope": "all"}, {"scope": None}):
        params = parameters(start())
        optimizer = optimizer_class(name)(params, lr=LR, **options)
        steps(optimizer, params, quadratic_gradient, 3)
        assert optimizer.param_groups[0]["scope"] == "all"
        found.append(flat(params))
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_the_error_of_unequal_groups_names_the_option() -> None:
    params = parameters(start())
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": LR}]
    optimizer = optimizer_class(SUMMING[0])(groups, lr=2 * LR)
    feed(params, quadratic_gradient)
    with pytest.raises(ValueError, match=r'give .* scope="group"'):
        optimizer.step()


@pytest.mark.parametrize("scope", ["everything", "", 3, "coordinate"])
def test_an_unknown_scope_is_refused(scope: Any) -> None:
    with pytest.raises(ValueError, match=r"scope = .*; one of all, group, tensor was expected"):
        optimizer_class(SUMMING[0])(parameters(start()), scope=scope)


def test_groups_have_one_scope() -> None:
    params = parameters(start())
    groups = [{"params": params[:1], "scope": "group"}, {"params": params[1:], "scope": "tensor"}]
    with pytest.raises(ValueError, match="scope is one for all groups"):
        optimizer_class(SUMMING[0])(groups)
    optimizer = optimizer_class(SUMMING[0])(params[:1], scope="group")
    with pytest.raises(ValueError, match="scope is one for all groups"):
        optimizer.add_param_group({"params": params[1:], "scope": "all"})
    optimizer.add_param_group({"params": params[1:]})
    optimizer.param_groups[1]["scope"] = "all"
    feed(params, quadratic_gradient)
    with pytest.raises(ValueError, match="scope is one for all groups"):
        optimizer.step()


def test_a_rule_without_sums_is_the_same_at_every_scope() -> None:
    found = []
    for scope in (None, "all", "group", "tensor"):
        params = parameters(start())
        optimizer = optimizer_class(first(**PLAIN))(params, lr=LR, scope=scope)
        steps(optimizer, params, quadratic_gradient, 3)
        found.append(flat(params))
    assert all((one == found[0]).all() for one in found)


@pytest.mark.parametrize("way", ["state", "pickle", "deepcopy"])
def test_a_scope_goes_with_the_state(way: str) -> None:
    name = first(shifted=True, scope="all", staged=False, timed=False)

    def made(scope: Any) -> tuple[Any, Any]:
        params = parameters(start())
        groups = [{"params": params[:1], "lr": LR}, {"params": params[1:], "lr": LR / 2}]
        return optimizer_class(name)(groups, scope=scope), params

    optimizer, params = made("group")
    steps(optimizer, params, quadratic_gradient, 3)
    if way == "state":
        again, others = made(None)
        for one, other in zip(others, params, strict=True):
            one.data.copy_(other.data)
        again.load_state_dict(optimizer.state_dict())
    else:
        copied = (lambda x: pickle.loads(pickle.dumps(x))) if way == "pickle" else copy.deepcopy
        again = copied(optimizer)
        others = [param for group in again.param_groups for param in group["params"]]
    assert [group["scope"] for group in again.param_groups] == ["group", "group"]
    for one, its in ((optimizer, params), (again, others)):
        steps(one, its, quadratic_gradient, 2)
    assert (flat(params) == flat(others)).all()
