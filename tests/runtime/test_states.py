"""A state goes to the rule that left it, whole; everything else is refused before it is used."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from hamilforge.runtime.optimizers.clock import Clock
from tests.optimizers import ELEMENTWISE

from .loops import rate_of
from .problems import quadratic_gradient, start
from .training import first, flat, optimizer_class, parameters, stages

LR = 1e-2
OPTIMIZERS = ELEMENTWISE
STAGED = {"shifted": True, "scope": "coordinate", "staged": True, "timed": False}
PLAIN = {"shifted": False, "scope": "coordinate", "staged": False, "timed": False}


def trained(name: str, count: int = 2) -> tuple[Any, Any]:
    params = parameters(start())
    optimizer = optimizer_class(name)(params, **{rate_of(name): LR})
    stages(optimizer, params, quadratic_gradient, count)
    return optimizer, params


def test_no_optimizer_takes_the_state_of_another(kernels: None) -> None:
    saved = {name: trained(name)[0].state_dict() for name in OPTIMIZERS}
    for name in OPTIMIZERS:
        optimizer, params = trained(name)
        point, before = flat(params), optimizer.state_dict()
        for other in OPTIMIZERS:
            if other == name:
                continue
            with pytest.raises(
                ValueError, match=rf"one of {other}\(.*and this optimizer is {name}"
            ):
                optimizer.load_state_dict(copy.deepcopy(saved[other]))
        assert (flat(params) == point).all()
        after = optimizer.state_dict()
        assert after["param_groups"] == before["param_groups"]
        optimizer.load_state_dict(copy.deepcopy(saved[name]))


@pytest.mark.parametrize("other", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_a_state_of_torchs_own_is_refused(method: Any, other: Any) -> None:
    params = parameters(start())
    theirs = other(params, lr=LR)
    stages(theirs, params, quadratic_gradient, 2)
    with pytest.raises(ValueError, match=r"the state is not one of .* no clock in it"):
        method(params, lr=LR).load_state_dict(theirs.state_dict())


@pytest.mark.parametrize("key", ["differentiable", "fused", "foreach", "maximize", "scope"])
@pytest.mark.parametrize("way", ["state", "pickle"])
def test_what_an_older_state_lacks_is_as_it_was_by_default(key: str, way: str) -> None:
    name = first(shifted=True, scope="all", staged=False, timed=False)
    optimizer, params = trained(name)
    if way == "state":
        saved = optimizer.state_dict()
        for group in saved["param_groups"]:
            del group[key], group["rule"]
        again = optimizer_class(name)(params, lr=0.5)
        again.load_state_dict(saved)
    else:
        for group in optimizer.param_groups:
            del group[key]
        optimizer.defaults.pop(key)
        again = pickle.loads(pickle.dumps(optimizer))
        params = again.param_groups[0]["params"]
    assert again.param_groups[0]["lr"] == LR
    stages(again, params, quadratic_gradient, 2)
    _, reference = trained(name, 4)
    assert (flat(params) == flat(reference)).all()


def damaged(clock: Clock, **changes: Any) -> tuple[Any, ...]:
    return clock._replace(**changes).plain()


def test_a_clock_that_kernels_could_not_trust_is_refused() -> None:
    name = first(**STAGED)
    optimizer, params = trained(name, 1)
    clock = optimizer.param_groups[0]["clock"]
    assert clock.stage == 1
    wrong = [
        damaged(clock, rows=tuple(row[:1] for row in clock.rows)),
        damaged(clock, rows=clock.rows[:1]),
        damaged(clock, rows=tuple((*row, 0.0) for row in clock.rows)),
        damaged(clock, rows=tuple(("a", *row[1:]) for row in clock.rows)),
        damaged(clock, stage=7),
        damaged(clock, stage=-1),
        damaged(clock, n=0),
        damaged(clock, n=1.5),
        damaged(clock, t=float("nan")),
        damaged(clock, preparation=(1.0,)),
        damaged(clock, pending=(0.0, (1.0,) * 9)),
        damaged(clock, memory=(*clock.memory, 1.0)),
        None,
        (),
        "clock",
        {"t": 0},
    ]
    point = flat(params)
    for values in wrong:
        saved = optimizer.state_dict()
        saved["param_groups"][0]["clock"] = values
        with pytest.raises(ValueError, match=r"the state is not one of .* clock"):
            optimizer.load_state_dict(saved)
    optimizer.load_state_dict(optimizer.state_dict())
    stages(optimizer, params, quadratic_gradient, 1)
    assert (flat(params) != point).any()


@pytest.mark.parametrize("empty", [(), [], None])
def test_a_clock_as_older_versions_saved_it_is_read(empty: Any, kernels: None) -> None:
    for name in OPTIMIZERS:
        for count in (1, 2):
            optimizer, _ = trained(name, count)
            group = optimizer.param_groups[0]
            saved = optimizer.state_dict()
            t, n, stage, *others = tuple(group["clock"])
            pending = tuple(one if one != () else empty for one in others[2])
            saved["param_groups"][0]["clock"] = [
                t, n, stage, *(one or empty for one in others[:2]), pending, others[3],
            ]  # fmt: skip
            del saved["param_groups"][0]["rule"]
            again, _ = trained(name, 0)
            again.load_state_dict(saved)
            assert again.param_groups[0]["clock"] == group["clock"]


@pytest.mark.usefixtures("kernels")
def test_a_clock_is_saved_as_one_row_of_numbers() -> None:
    for name in OPTIMIZERS:
        for count in (0, 1, 2):
            optimizer, _ = trained(name, count)
            plain = optimizer.state_dict()["param_groups"][0]["clock"]
            assert all(isinstance(one, float | int) for one in plain)
            again, _ = trained(name, 0)
            again.load_state_dict(optimizer.state_dict())
            assert again.param_groups[0]["clock"] == optimizer.param_groups[0]["clock"]


def test_rows_cut_in_place_do_not_reach_a_kernel() -> None:
    optimizer, params = trained(first(**STAGED), len(optimizer_class(first(**STAGED)).STAGES) + 1)
    group = optimizer.param_groups[0]
    group["clock"] = group["clock"]._replace(rows=tuple(r[:1] for r in group["clock"].rows))
    with pytest.raises(RuntimeError, match="the clock of a group was changed"):
        stages(optimizer, params, quadratic_gradient, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda buffer: buffer.reshape(-1)[:1], "has the shape"),
        (lambda buffer: buffer[None].expand(2, *buffer.shape).clone(), "has the shape"),
        (lambda buffer: buffer.long(), "floating-point numbers were expected"),
        (lambda buffer: buffer.to(torch.complex128), "floating-point numbers were expected"),
        (lambda buffer: buffer.tolist(), "floating-point numbers were expected"),
        (lambda buffer: None, "floating-point numbers were expected"),
    ],
)
def test_a_buffer_of_another_shape_or_type_is_refused(change: Any, message: str) -> None:
    optimizer, params = trained(first(**PLAIN))
    name = optimizer.product.STATES[0]
    saved = optimizer.state_dict()
    saved["state"] = {key: dict(entry) for key, entry in saved["state"].items()}
    saved["state"][0][name] = change(saved["state"][0][name])
    with pytest.raises(ValueError, match=rf"parameter 0: {name} .*{message}"):
        optimizer.load_state_dict(saved)
    buffers = [optimizer.state[param][name] for param in params]
    assert all(b.shape == p.shape for b, p in zip(buffers, params, strict=True))


def test_groups_at_different_stages_are_refused() -> None:
    params = parameters(start())
    groups = [{"params": params[:1]}, {"params": params[1:]}]
    optimizer = optimizer_class(first(**STAGED))(groups, lr=LR)
    stages(optimizer, params, quadratic_gradient, 1)
    saved = optimizer.state_dict()
    memory = optimizer.param_groups[1]["clock"].memory
    saved["param_groups"][1]["clock"] = (0.0, 1, 0, *memory)
    with pytest.raises(ValueError, match="the groups stand at different stages of a step"):
        optimizer.load_state_dict(saved)


def test_a_dictionary_that_is_no_state_is_refused() -> None:
    optimizer, _ = trained(first(**PLAIN))
    with pytest.raises(ValueError, match="'state' and 'param_groups'"):
        optimizer.load_state_dict({})


def test_a_loaded_buffer_is_the_optimizers_own() -> None:
    optimizer, params = trained(first(**PLAIN))
    saved = optimizer.state_dict()
    again = optimizer_class(first(**PLAIN))(params, lr=LR)
    again.load_state_dict(saved)
    name = optimizer.product.STATES[0]
    kept = saved["state"][0][name].clone()
    stages(again, params, quadratic_gradient, 2)
    assert torch.equal(saved["state"][0][name], kept)


def test_a_class_derived_from_a_generated_one_is_that_rule() -> None:
    made = optimizer_class(first(**PLAIN))

    class Mine(made):  # type: ignore[misc, valid-type]
        """A class of the user's."""

    params = parameters(start())
    optimizer = Mine(params, lr=LR)
    stages(optimizer, params, quadratic_gradient, 2)
    other, reference = trained(first(**PLAIN))
    assert np.array_equal(flat(params), flat(reference))
    optimizer.load_state_dict(other.state_dict())
