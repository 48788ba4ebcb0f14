"""torch's forms on a GPU, beside the interpretation of their programs."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.generation import catalogue_folder
from hamilforge.runtime.core import torch_normal_numbers
from hamilforge.runtime.core.normal_numbers import key_of
from hamilforge.runtime.optimizers.lists_plan import ListsPlan

from .loops import rate_of
from .training import first, optimizer_class

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

INDEX = tomllib.loads((catalogue_folder() / "index.toml").read_text())
PRODUCTS = sorted(
    name.removesuffix("_torch.py") for name in INDEX["files"] if name.endswith("_torch.py")
)
SUMS = {"shifted": True, "scope": "all", "staged": False, "timed": False}


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_form_agrees_with_the_interpretation(product: str) -> None:
    name, _, method = product.partition("__")
    alone = method in ("objective", "problem")
    verification = hf.verify(
        f"{method}/{name}" if alone else name,
        method if method and not alone else None,
        device="cuda",
    )
    assert verification.holds, str(verification)
    assert not any("numba" in deviation.backend for deviation in verification.deviations)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_a_step_waits_for_no_device_and_is_that_of_the_cpu(any_method: str, dtype: Any) -> None:
    values = np.random.default_rng(2).standard_normal((3, 40))
    lr = 0.5 if dtype == torch.bfloat16 else 0.01  # so that every rule moves
    ends = []
    for device in ("cpu", "cuda"):
        params = [
            torch.nn.Parameter(torch.tensor(row, device=device, dtype=dtype)) for row in values
        ]
        rate = rate_of(any_method)
        chosen = {rate: lr if rate == "lr" else 0.05, "weight_decay": 0.1}
        optimizer = optimizer_class(any_method)(params, **chosen, fused=False)
        for number in range(4):
            for param, row in zip(params, values, strict=True):  # none follows from the path
                param.grad = torch.tensor(np.sin(3 * row + number), device=device, dtype=dtype)
            torch.cuda.set_sync_debug_mode("error" if number else "default")
            try:
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        assert isinstance(optimizer._plan, ListsPlan)
        ends.append(torch.stack([param.detach().cpu().double() for param in params]))
    moved = abs(ends[0] - torch.tensor(values, dtype=dtype).double()).max()
    assert moved > 0
    assert abs(ends[0] - ends[1]).max() <= 64 * torch.finfo(dtype).eps * max(moved, 1)
    assert abs(ends[0] - ends[1]).max() <= max(moved / 4, 4 * torch.finfo(dtype).eps)


def test_a_step_is_captured_in_a_graph() -> None:
    method = optimizer_class(first(**SUMS))
    params = [torch.nn.Parameter(torch.ones(50, device="cuda")) for _ in range(3)]
    for param in params:
        param.grad = torch.full_like(param, 0.5)
    optimizer = method(params, lr=0.1)
    optimizer.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    # what follows from n, lr and a schedule is as it was when the graph was captured
    graph.replay()
    torch.cuda.synchronize()
    eager = [torch.nn.Parameter(torch.ones(50, device="cuda")) for _ in range(3)]
    for param in eager:
        param.grad = torch.full_like(param, 0.5)
    plain = method(eager, lr=0.1)
    for _ in range(2):
        plain.step()
    for param, other in zip(params, eager, strict=True):
        assert torch.equal(param, other)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_normal_numbers_are_those_of_the_cpu(dtype: torch.dtype) -> None:
    """Bit for bit, or where operations are contracted within 4 units in the last place."""
    counter = (key_of(3, 1, "weight"), 2**40 + 5, 7)
    here, there = (
        torch_normal_numbers.normals(*counter, 1_000_003, dtype, torch.device(device)).cpu()
        for device in ("cpu", "cuda")
    )
    assert here.dtype == there.dtype == dtype
    unit = torch.finfo(dtype).eps * here.double().abs()
    apart = (here.double() - there.double()).abs() / unit
    print(f"{dtype}: {int((apart > 0).sum())} of {here.numel()} differ, at most {apart.max():g}")
    assert apart.max() <= 4
