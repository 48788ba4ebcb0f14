"""Every kind of tensor gives the right step, whichever form takes it."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest
import torch

from hamilforge.runtime.core.addresses import FEW, addresses

from .problems import quadratic_gradient, rosenbrock_gradient, start
from .training import feed, first, flat, load, optimizer_class, parameters, solutions, stages, steps

LR = 1e-2
PLAIN = {"shifted": False, "scope": "coordinate", "staged": False, "timed": False}
SUMS = {"shifted": True, "scope": "all", "staged": False, "timed": False}
EPSILON = {
    torch.float64: 1e-13,
    torch.float32: 1e-5,
    torch.bfloat16: 3e-2,
    torch.float16: 4e-3,
}


def exact(method: Any, count: int) -> Any:
    params = parameters(start())
    optimizer = method(params, lr=LR, fused=False)
    return solutions(optimizer, params, quadratic_gradient, count)


def test_the_kernel_and_the_functional_form_agree(method: Any) -> None:
    found = {}
    for fused in (True, False):
        params = parameters(start())
        optimizer = method(params, lr=LR, fused=fused)
        found[fused] = solutions(optimizer, params, quadratic_gradient, 30)
    assert abs(found[True] - found[False]).max() <= 1e-13 * abs(found[True]).max()


@pytest.mark.parametrize("dtype", EPSILON, ids=str)
def test_each_dtype_follows_the_path_to_its_precision(method: Any, dtype: torch.dtype) -> None:
    params = parameters(start(), dtype=dtype)
    optimizer = method(params, lr=LR, fused=False)
    found = solutions(optimizer, params, quadratic_gradient, 10)
    wanted = exact(method, 10)
    assert all(p.dtype == dtype for p in params)
    assert abs(found - wanted).max() <= 10 * EPSILON[dtype] * abs(wanted).max()
    assert (found[-1] != start()).any()


@pytest.mark.parametrize("properties", [PLAIN, SUMS], ids=["no sums", "sums"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_form_is_chosen_by_the_dtype(dtype: torch.dtype, properties: Any) -> None:
    method = optimizer_class(first(**properties))
    found = {}
    for fused in (None, False):
        params = parameters(start(), dtype=dtype)
        optimizer = method(params, lr=LR, fused=fused)
        found[fused] = solutions(optimizer, params, quadratic_gradient, 10)
    assert abs(found[None] - found[False]).max() <= 1e-6


@pytest.mark.parametrize("properties", [PLAIN, SUMS], ids=["no sums", "sums"])
def test_tensors_of_two_dtypes_are_trained_together(properties: Any) -> None:
    method = optimizer_class(first(**properties))
    params = parameters(start())
    params[2] = torch.nn.Parameter(params[2].detach().float())
    optimizer = method(params, lr=LR)
    found = solutions(optimizer, params, quadratic_gradient, 10)
    assert abs(found - exact(method, 10)).max() <= 1e-5


def test_a_transposed_parameter_is_stepped_as_its_entries(method: Any) -> None:
    values = start(6)
    dense = parameters(values, [(2, 3)])
    strided = [torch.nn.Parameter(torch.from_numpy(values.reshape(2, 3).T.copy()).T)]
    assert not strided[0].is_contiguous()
    found = []
    for params in (dense, strided):
        optimizer = method(params, lr=LR)
        for _ in range(5 * len(method.STAGES)):
            gradient = torch.from_numpy(rosenbrock_gradient(flat(params)).reshape(2, 3))
            params[0].grad = 1e-2 * gradient
            optimizer.step()
        found.append(flat(params))
    assert abs(found[0] - found[1]).max() <= 1e-14


def test_a_gradient_with_strides_is_read_by_its_entries() -> None:
    method = optimizer_class(first(**PLAIN))
    found = []
    for strided in (False, True):
        param = torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.float64))
        optimizer = method([param], lr=LR)
        gradient = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
        param.grad = gradient.T.contiguous().T if strided else gradient
        assert param.grad.is_contiguous() != strided
        optimizer.step()
        found.append(flat([param]))
    assert (found[0] == found[1]).all()


def test_an_expanded_gradient_is_read_by_its_entries() -> None:
    method = optimizer_class(first(**PLAIN))
    param = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = method([param], lr=LR)
    param.sum().backward()
    optimizer.step()
    assert (flat([param]) < 0).all()
    assert len(set(flat([param]))) == 1


def test_a_parameter_without_gradient_stays(method: Any) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR)
    optimizer.step()
    assert (flat(params) == start()).all()
    for _ in range(3):
        feed(params, quadratic_gradient)
        params[1].grad = None
        optimizer.step()
    assert float(params[1]) == start()[6]
    assert (flat(params[:1]) != start()[:6]).all()


def test_an_empty_tensor_changes_nothing_for_the_others(method: Any) -> None:
    params = parameters(start())
    empty = torch.nn.Parameter(torch.zeros(0, 3, dtype=torch.float64))
    optimizer = method([params[0], empty, *params[1:]], lr=LR)
    empty.grad = torch.zeros_like(empty)
    found = solutions(optimizer, params, quadratic_gradient, 3)
    assert abs(found - exact(method, 3)).max() <= 1e-13


def test_an_optimizer_of_nothing_but_an_empty_tensor_steps(method: Any) -> None:
    empty = torch.nn.Parameter(torch.zeros(0, dtype=torch.float64))
    optimizer = method([empty], lr=LR)
    for _ in range(len(method.STAGES)):
        empty.grad = torch.zeros_like(empty)
        optimizer.step()
    with optimizer.solution():
        assert empty.shape == (0,)


@pytest.mark.parametrize("properties", [PLAIN, SUMS], ids=["no sums", "sums"])
def test_tensors_longer_than_a_chunk_are_stepped_whole(properties: Any) -> None:
    method = optimizer_class(first(**properties))
    found = []
    for fused in (True, False):
        generator = torch.Generator().manual_seed(3)
        param = torch.nn.Parameter(torch.randn(50001, generator=generator, dtype=torch.float64))
        optimizer = method([param], lr=LR, fused=fused)
        for _ in range(4):
            param.grad = param.detach().sin()
            optimizer.step()
        found.append(param.detach())
    assert torch.allclose(*found, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("fused", [None, False], ids=["chosen", "functional"])
def test_data_replaced_between_steps_is_what_is_stepped(method: Any, fused: bool | None) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR, fused=fused)
    steps(optimizer, params, quadratic_gradient, 2)
    old = [param.data for param in params]
    frozen = flat(old)
    for param in params:
        param.data = param.data.clone()
    steps(optimizer, params, quadratic_gradient, 2)
    with optimizer.solution():
        assert abs(flat(params) - exact(method, 4)[-1]).max() <= 1e-13
    assert (flat(old) == frozen).all()


def test_addresses_of_many_tensors_are_those_torch_gives() -> None:
    base = torch.arange(1000.0)
    tensors: list[torch.Tensor] = [base[k : k + 3] for k in range(2 * FEW)]
    tensors += [torch.nn.Parameter(torch.ones(k)) for k in range(FEW)]
    assert addresses(tensors).tolist() == [tensor.data_ptr() for tensor in tensors]


def test_contents_exchanged_between_many_tensors_are_what_is_stepped(method: Any) -> None:
    found = []
    for fused in (None, False):
        params = [torch.nn.Parameter(torch.full((3,), float(k)).double()) for k in range(FEW)]
        optimizer = method(params, lr=LR, fused=fused)
        for number in range(4):
            for param in params:
                param.grad = param.detach().sin()
            optimizer.step()
            if number == 1:
                params[0].grad = params[1].grad = None
                torch.utils.swap_tensors(params[0], params[1])
        found.append(flat(params))
    assert abs(found[0] - found[1]).max() <= 1e-13 * abs(found[1]).max()


def test_a_model_made_float_after_steps_is_not_stepped_with_misread_buffers() -> None:
    method = optimizer_class(first(**PLAIN))
    found = []
    for fused in (None, False):
        params = parameters(start())
        optimizer = method(params, lr=LR, fused=fused)
        stages(optimizer, params, quadratic_gradient, 3)
        for param in params:
            param.data, param.grad = param.data.float(), None
        stages(optimizer, params, quadratic_gradient, 3)
        found.append(flat(params))
    assert abs(found[0] - found[1]).max() <= 1e-5


def test_a_parameter_cut_to_another_size_is_refused_or_starts_at_rest() -> None:
    method = optimizer_class(first(**PLAIN))
    param = torch.nn.Parameter(torch.ones(6, dtype=torch.float64))
    optimizer = method([param], lr=LR)
    stages(optimizer, [param], quadratic_gradient, 2)
    param.grad = None
    param.data = torch.ones(2, 2, dtype=torch.float64)
    param.grad = torch.zeros_like(param)
    with pytest.raises(RuntimeError, match=r"shape|size"):
        optimizer.step()
    assert (flat([param]) == 1).all()


def test_a_gradient_of_another_size_than_its_parameter_is_refused() -> None:
    method = optimizer_class(first(**PLAIN))
    param = torch.nn.Parameter(torch.ones(6, dtype=torch.float64))
    optimizer = method([param], lr=LR)
    param.grad = torch.ones_like(param)
    param.data = torch.ones(3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"shape|size"):
        optimizer.step()
    assert (flat([param]) == 1).all()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_autograd_sees_that_a_step_changed_what_it_had_saved(method: Any, fused: bool) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR, fused=fused)
    loss = torch.stack([param.square().sum() for param in params]).sum()
    version = params[0]._version
    stages(optimizer, params, quadratic_gradient, 1)
    assert params[0]._version > version
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_autograd_sees_that_the_solution_took_the_place_of_the_point() -> None:
    method = optimizer_class(first(**SUMS))
    params = parameters(start())
    optimizer = method(params, lr=LR)
    steps(optimizer, params, quadratic_gradient, 1)
    loss = params[0].square().sum()
    with optimizer.solution(), pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward()


@pytest.mark.parametrize("properties", [PLAIN, SUMS], ids=["no sums", "sums"])
def test_the_number_of_threads_changes_no_bit_of_a_fused_step(properties: Any) -> None:
    method = optimizer_class(first(**properties))
    before, most = torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            numba.set_num_threads(min(threads, most))
            generator = torch.Generator().manual_seed(3)
            params = [
                torch.nn.Parameter(torch.randn(size, generator=generator, dtype=torch.float64))
                for size in (3, 70001, 16384, 16385)
            ]
            optimizer = method(params, lr=LR, fused=True)
            for _ in range(5):
                for param in params:
                    param.grad = param.detach().sin()
                optimizer.step()
            found.append(flat(params))
    finally:
        torch.set_num_threads(before)
        numba.set_num_threads(1)
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_zero_gradients_from_rest_move_nothing(method: Any, fused: bool) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR, fused=fused)
    steps(optimizer, params, np.zeros_like, 3)
    assert (flat(params) == start()).all()
    with optimizer.solution():
        assert (flat(params) == start()).all()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_a_row_without_gradient_stays_while_the_others_move(method: Any, fused: bool) -> None:
    params = [torch.nn.Parameter(torch.ones(4, 3, dtype=torch.float64))]
    optimizer = method(params, lr=LR, fused=fused)
    for _ in range(6):
        params[0].grad = torch.ones_like(params[0])
        params[0].grad[2] = 0
        optimizer.step()
    moved = (params[0] != 1).all(dim=1)
    assert moved.tolist() == [True, True, False, True]


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_a_gradient_of_nan_spoils_its_entry_and_raises_nothing(method: Any, fused: bool) -> None:
    params = parameters(start())
    optimizer = method(params, lr=LR, fused=fused)
    for _ in range(3):
        feed(params, np.sin)
        params[0].grad[0, 0] = float("nan")
        optimizer.step()
    assert np.isnan(flat(params)[0])
    if optimizer.product.SCOPE == "coordinate":
        assert not np.isnan(flat(params[1:])).any()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_without_momentum_a_solution_rests_where_the_gradient_vanishes(
    method: Any, fused: bool
) -> None:
    table = load(method.__module__.rpartition(".")[2].removesuffix("_torch"))
    if table.module("torch").HYPERPARAMETERS.get("momentum", (0, ""))[1] != "unit-interval":
        with pytest.raises((ValueError, TypeError), match="momentum"):
            method(parameters(start()), momentum=0.0)
        return
    params = parameters(start())
    optimizer = method(params, lr=LR, momentum=0.0, fused=fused)
    moving = solutions(optimizer, params, quadratic_gradient, 3)
    resting = solutions(optimizer, params, np.zeros_like, 4)
    assert np.isfinite(moving).all()
    assert abs(np.diff(moving, axis=0)).max() > 1e-3
    assert (resting[1:] == resting[1]).all()


def test_a_parameter_of_a_class_of_its_own_is_stepped() -> None:
    class Named(torch.Tensor):
        pass

    method = optimizer_class(first(**PLAIN))
    found = []
    for wrapped in (True, False):
        tensor = torch.from_numpy(start())
        param = tensor.as_subclass(Named).requires_grad_() if wrapped else tensor.requires_grad_()
        optimizer = method([param], lr=LR)
        for _ in range(3):
            param.grad = param.detach().clone()
            optimizer.step()
        found.append(param.detach().as_subclass(torch.Tensor))
    assert torch.allclose(*found, rtol=1e-14, atol=0)
