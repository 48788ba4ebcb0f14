"""The way back is that of the way forth, whatever is chosen anew in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import hamilforge as hf


def flow(h: float, steps: int = 5) -> Any:
    return hf.flow("pendulum", "rk4", h=h, steps=steps)


def test_steps_may_be_chosen_anew_before_the_way_back() -> None:
    y = torch.tensor([[1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad((flow(0.1)(y) + flow(0.05)(y)).sum(), y)[0]
    both = flow(0.1)
    first = both(y)
    both.h = 0.05
    assert torch.equal(torch.autograd.grad((first + both(y)).sum(), y)[0], expected)
    alone = torch.autograd.grad(flow(0.1)(y).sum(), y)[0]
    other = flow(0.1)
    end = other(y)
    other.steps, other.every, other.t0 = 2, 1, 3.0
    assert torch.equal(torch.autograd.grad(end.sum(), y)[0], alone)


def test_a_step_that_asks_for_its_gradient_is_refused() -> None:
    step = torch.tensor(0.1, requires_grad=True)
    with pytest.raises(ValueError, match=r"h: no gradient by it is derived; h\.detach\(\)"):
        hf.flow("pendulum", "rk4", h=step, steps=1)
    assert hf.flow("pendulum", "rk4", h=step.detach(), steps=1).h == pytest.approx(0.1)


@pytest.mark.parametrize("memory", ["all", "states", "checkpoint"])
@pytest.mark.parametrize("fused", [None, False])
def test_a_parameter_changed_in_place_is_seen(fused: bool | None, memory: str) -> None:
    network = hf.network(
        "steered", "rk4", layers=4, sizes={"d": 2}, memory=memory, fused=fused
    ).double()
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    out = network(x)
    network.parameter_alpha.add_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        (out[0] if isinstance(out, tuple) else out).sum().backward()


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_control_problems_are_solved_in_any_units(size: float) -> None:
    """The cost of a linear-quadratic problem is a multiple of the square of its start."""
    one, other = (hf.optimal_control("hager", "heun2", [s], 4) for s in (1.0, size))
    assert other.cost / size**2 == pytest.approx(one.cost, rel=1e-14)
    assert max(one.slope, other.slope / size) <= 1e-13


def test_a_search_does_not_end_at_a_maximum(tmp_path: Path) -> None:
    file = tmp_path / "two_wells.toml"
    file.write_text(
        'kind = "field"\nname = "two_wells"\ntitle = "-"\nreference = "-"\nstate = { y = ["d"] }\n'
        'controls = { u = ["d"] }\nf = "u"\nrunning = "(dot(u, u) - 1)**2"\n'
    )
    found = hf.optimal_control(file, "heun2", [0.5, 0.3], 2)
    assert found.cost < 1e-15
    at_rest = hf.optimal_control("hager", "heun2", [0.0], 4)
    assert at_rest.cost == 0
    assert not at_rest.controls["u"].any()
