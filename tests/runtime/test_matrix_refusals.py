"""What optimizers of matrices are handed wrongly, or rarely: nothing is changed then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import hamilforge as hf

#: What a kernel computes is seen as well by its text as Python, but where it is said.
pytestmark = pytest.mark.usefixtures("kernels")

RULE = """
kind = "optimizer"
name = "{name}"
title = "A rule of one's own"
reference = "own"
point = {{ X = ["rows", "columns"] }}
assign = ["{line}"]
[hyperparameters]
{rate} = {{ default = 0.5, domain = "nonnegative" }}
"""


def declared(folder: Path, name: str, line: str, rate: str = "lr") -> Path:
    file = folder / f"{name}.toml"
    file.write_text(RULE.format(name=name, line=line, rate=rate))
    return file


def stepped(optimizer: Any, param: torch.nn.Parameter, grad: torch.Tensor) -> None:
    param.grad = grad
    optimizer.step()


def test_a_rule_without_a_state_needs_no_unknowns(tmp_path: Path) -> None:
    file = declared(tmp_path, "plain", "X = X - lr*grad(X)")
    param = torch.nn.Parameter(torch.ones(3, 2))
    stepped(hf.optimizer(file)([param]), param, torch.ones(3, 2))
    assert torch.equal(param, torch.full((3, 2), 0.5))


def test_a_unit_vector_longer_than_its_dimension_is_refused(tmp_path: Path) -> None:
    line = "X = X - lr*(unit(rows, 3) @ (transpose(unit(rows, 3)) @ grad(X)))"
    file = declared(tmp_path, "unit_vector", line)
    with pytest.raises(ValueError, match="unit vector 3 of rows, from 0: rows is at least 4"):
        hf.optimizer(file)([torch.nn.Parameter(torch.ones(3, 2))])
    param = torch.nn.Parameter(torch.ones(4, 2))
    stepped(hf.optimizer(file)([param]), param, torch.ones(4, 2))
    assert torch.equal(param[3], torch.full((2,), 0.5))
    assert torch.equal(param[:3], torch.ones(3, 2))


def test_counts_are_whole_numbers() -> None:
    group = hf.optimizer("muon")([torch.nn.Parameter(torch.ones(3, 2))]).param_groups[0]
    assert repr(group["ns_steps"]) == "5"


@pytest.mark.parametrize("name", ["stiefel_adam", "adafactor"])
def test_a_loaded_state_shares_no_array(name: str) -> None:
    param = torch.nn.Parameter(hf.manifold("stiefel").random(4, 2).contiguous())
    optimizer = hf.optimizer(name)([param])
    stepped(optimizer, param, torch.ones(4, 2))
    other = hf.optimizer(name)([torch.nn.Parameter(param.detach().clone())])
    other.load_state_dict(optimizer.state_dict())
    (ours,), (theirs,) = optimizer.state.values(), other.state.values()
    for key, array in ours.items():
        assert torch.equal(array, theirs[key])
        assert array.data_ptr() != theirs[key].data_ptr()


def test_of_many_points_the_one_is_named_that_is_none() -> None:
    many = torch.eye(4)[:, :2].repeat(2, 3, 1, 1)
    many[1, 2] = 0
    kept = many.clone()
    with pytest.raises(ValueError, match=r"so at \[1, 2\] of its first axes"):
        hf.project_(many, "stiefel")
    assert torch.equal(many, kept)
    turns = torch.stack([torch.eye(3), torch.diag(torch.tensor([1.0, 1.0, -1.0]))])
    with pytest.raises(ValueError, match=r"det\(X\) > 0 does not hold; so at \[1\]"):
        hf.project_(turns, "orthogonal")


@pytest.mark.parametrize(
    "options", [{"foreach": True}, {"foreach": False, "fused": False}], ids=str
)
@pytest.mark.parametrize("name", ["stiefel_descent", "stiefel_momentum", "stiefel_adam"])
def test_a_gradient_that_is_not_finite_changes_no_parameter(
    name: str, options: dict[str, bool]
) -> None:
    """Also none of another shape, which torch would have moved before."""
    params = [torch.nn.Parameter(torch.eye(n)[:, :2].contiguous()) for n in (4, 5)]
    optimizer = hf.optimizer(name)(params, **options)
    generator = torch.Generator().manual_seed(0)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator)
    optimizer.step()
    before = [param.detach().clone() for param in params]
    states = [{k: v.clone() for k, v in state.items()} for state in optimizer.state.values()]
    params[1].grad[0, 0] = float("nan")
    text = "the gradient of parameter 1 of group 0 has entries that are not finite"
    with pytest.raises(ValueError, match=text):
        optimizer.step()
    assert all(torch.equal(param, own) for param, own in zip(params, before, strict=True))
    for state, own in zip(optimizer.state.values(), states, strict=True):
        assert all(torch.equal(state[key], own[key]) for key in own)
    params[1].grad[0, 0] = 1.0
    optimizer.step()
    assert optimizer.violation() < 1e-6


def test_a_line_search_wants_a_rate_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / "named.toml"
    file.write_text(
        RULE.format(name="named", line="X = retract(-eta*gradient(grad(X)))", rate="eta").replace(
            'point = { X = ["rows", "columns"] }', 'manifold = "stiefel"'
        )
    )
    param = torch.nn.Parameter(torch.eye(4)[:, :2].contiguous())
    with pytest.raises(ValueError, match="a rate of another name is none"):
        hf.optimizer(file)([param], line_search="armijo")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_the_polar_factor_has_no_size(dtype: torch.dtype, size: float) -> None:
    """Of matrices whose squares leave the range of the type, in kernels too."""
    size = size if dtype == torch.float32 else size**8
    torch.manual_seed(0)
    slope = size * torch.randn(4, 2, dtype=dtype)
    wide = slope.double() / size
    left, _, right = torch.linalg.svd(wide, full_matrices=False)
    for options in ({}, {"foreach": True}):
        point = torch.nn.Parameter(torch.eye(4, 2, dtype=dtype))
        optimizer = hf.optimizer("stiefel_descent")([point], lr=1.0, **options)
        start, tangent = point.detach().double(), wide
        if size > 1:
            tangent = wide - start @ (start.mT @ wide + wide.mT @ start) / 2
            left, _, right = torch.linalg.svd(-tangent, full_matrices=False)
        else:
            left, right = start, torch.eye(2, dtype=torch.float64)
        point.grad = slope
        optimizer.step()
        torch.testing.assert_close(point.detach().double(), left @ right, rtol=0, atol=1e-5)
