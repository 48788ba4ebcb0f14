"""Parameters that no step could be right for are refused by name, and nothing is changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hamilforge.runtime.core.overlaps import overlap
from tests.optimizers import ELEMENTWISE

from .children import told
from .training import first, flat, optimizer_class

PLAIN = {"shifted": False, "scope": "coordinate", "staged": False, "timed": False}
SUMMING = [
    name
    for name in ELEMENTWISE
    if optimizer_class(name)([torch.nn.Parameter(torch.ones(1))]).product.SCOPE == "all"
]


def refused(optimizer: Any, params: Any, message: str) -> None:
    old = [param.detach().clone() for param in params]
    with pytest.raises(RuntimeError, match=message):
        optimizer.step()
    for param, before in zip(params, old, strict=True):
        assert torch.equal(param.detach(), before)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8, torch.bool], ids=str)
def test_whole_numbers_are_no_parameters(method: Any, dtype: torch.dtype) -> None:
    param = torch.nn.Parameter(torch.ones(3, dtype=dtype), requires_grad=False)
    float_one = torch.nn.Parameter(torch.ones(3))
    optimizer = method([float_one, param])
    param.grad, float_one.grad = torch.ones_like(param), torch.ones(3)
    refused(optimizer, [param, float_one], f"parameter 1 of group 0 is of the type {dtype}")
    param.grad = None  # frozen members are left alone, as in torch
    optimizer.step()
    assert (param == 1).all()


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", SUMMING)
def test_a_member_of_half_precision_in_a_sum_is_refused_by_name(
    name: str, half: torch.dtype
) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2, dtype=half))
    for param in model.parameters():
        param.grad = torch.ones_like(param)
    made = optimizer_class(name)
    params = [*model.parameters()]
    refused(made(params), params, f"parameter 2 of group 0 is of the type {half}")
    refused(made(model.named_parameters()), params, r"parameter '1.weight' is of the type")
    made(params, scope="tensor").step()
    assert all((param.grad == 1).all() for param in params)


@pytest.mark.parametrize("fused", [None, False], ids=["chosen", "functional"])
def test_parameters_that_share_memory_are_refused_by_name(fused: bool | None) -> None:
    base = torch.arange(8.0)
    whole, part = torch.nn.Parameter(base), torch.nn.Parameter(base[2:5])
    for param in (whole, part):
        param.grad = torch.ones_like(param)
    made = optimizer_class(first(**PLAIN))
    refused(
        made([whole, part], fused=fused),
        [whole, part],
        "parameter 0 of group 0 shares memory with parameter 1 of group 0",
    )
    refused(
        made([("a", whole), ("b", part)], fused=fused),
        [whole, part],
        "parameter 'a' shares memory with parameter 'b'",
    )


def test_memory_that_comes_to_be_shared_between_steps_is_seen() -> None:
    params = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
    optimizer = optimizer_class(first(**PLAIN))(params)
    for _ in range(3):
        for param in params:
            param.grad = torch.ones(4)
        optimizer.step()
    own = params[1].data
    params[1].data = params[0].data
    for _ in range(3):  # refused as long as it is so
        refused(optimizer, params, "shares memory with parameter 1")
    params[1].data = own
    optimizer.step()


@pytest.mark.parametrize("form", ["fused", "foreach"])
def test_a_gradient_that_comes_to_lie_in_a_parameter_is_seen(form: str) -> None:
    base = torch.ones(100)
    # in place, the second parameter lies in the gaps of the first, and the gradient beyond both
    first_one = base[:80] if form == "fused" else base[::2]
    second = base[80:] if form == "fused" else base[1:20:2]
    params = [torch.nn.Parameter(first_one), torch.nn.Parameter(second)]
    optimizer = optimizer_class(first(**PLAIN))(params, **{form: True})
    for _ in range(50):  # gradients lie elsewhere in each step
        for param in params:
            room = torch.ones(2, param.numel())
            param.grad = room[0] if form == "fused" else room.T.reshape(-1)[::2]
        optimizer.step()
    params[1].grad = base[60:80] if form == "fused" else base[60:80:2]
    for _ in range(2):
        refused(optimizer, params, "shares memory with the gradient of parameter 1")
    params[1].grad = torch.ones(params[1].shape)
    optimizer.step()


def test_a_gradient_in_the_memory_of_a_parameter_is_refused() -> None:
    param = torch.nn.Parameter(torch.ones(4))
    optimizer = optimizer_class(first(**PLAIN))([param])
    param.grad = param.detach()
    refused(optimizer, [param], "shares memory with the gradient of parameter 0 of group 0")


def test_an_expanded_parameter_is_refused() -> None:
    param = torch.nn.Parameter(torch.ones(1).expand(3))
    optimizer = optimizer_class(first(**PLAIN))([param])
    param.grad = torch.ones(3)
    refused(optimizer, [param], "parameter 0 of group 0 has entries that share memory")


@pytest.mark.parametrize("fused", [None, False], ids=["chosen", "functional"])
def test_columns_and_neighbours_of_one_storage_are_parameters_of_their_own(
    fused: bool | None,
) -> None:
    found = []
    for shared in (True, False):
        base = torch.arange(12.0).reshape(4, 3)
        pieces = [base[:, 0], base[:, 1], base[:, 2]]
        flat_base = torch.arange(6.0)
        pieces += [flat_base[:2], flat_base[2:]]
        params = [torch.nn.Parameter(piece if shared else piece.clone()) for piece in pieces]
        optimizer = optimizer_class(first(**PLAIN))(params, fused=fused)
        for _ in range(3):
            for param in params:
                param.grad = param.detach().clone()
            optimizer.step()
        found.append(flat(params))
    assert (found[0] == found[1]).all()


def test_gradients_may_share_memory() -> None:
    params = [torch.nn.Parameter(torch.ones(4)) for _ in range(2)]
    params[0].grad = params[1].grad = torch.ones(4)
    optimizer_class(first(**PLAIN))(params).step()


@pytest.mark.parametrize("seed", range(20))
def test_overlaps_are_those_of_the_sets_of_entries(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def drawn(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    base = torch.zeros(40)
    tensors, entries = [], []
    for _ in range(4):
        rows, columns, gap = drawn(1, 3), drawn(1, 3), drawn(2, 7)
        offset = drawn(0, 40 - (rows - 1) * gap - columns)
        tensors.append(base.as_strided((rows, columns), (gap, 1), offset))
        entries.append({offset + gap * i + j for i in range(rows) for j in range(columns)})
    written = drawn(1, 5)
    found = overlap(tensors[:written], tensors[written:])
    pairs = [(i, j) for i in range(written) for j in range(i + 1, 4) if entries[i] & entries[j]]
    assert (found in pairs) if pairs else found is None


def test_tensors_that_vmap_batches_are_refused_whatever_their_number() -> None:
    text = """
import torch
import hamilforge as hf

for count in (3, 70):
    params = [torch.nn.Parameter(torch.ones(4)) for _ in range(count)]
    optimizer = hf.optimizer("{name}")(params)
    for steps in range(2):
        def step(grads):
            for param, grad in zip(params, grads):
                param.grad = grad
            optimizer.step()
            return grads[0]
        try:
            torch.func.vmap(step)([torch.ones(2, 4)] * count)
        except RuntimeError as error:
            print("vmap" in str(error) and "parameter 0 of group 0" in str(error))
        print(all((param == params[0]).all().item() for param in params))
        for param in params:
            param.grad = torch.ones(4)
        optimizer.step()
"""
    for name in ("heavy_ball", "rgd"):
        assert told(text.format(name=name)) == "\n".join(["True"] * 8)
