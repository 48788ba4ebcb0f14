"""Parameters by rows, and tensors of more than two axes as matrices, in groups."""

from __future__ import annotations

import copy
import importlib
import itertools
from typing import Any

import pytest
import torch

import hamilforge as hf
from hamilforge.gen.declare import catalogue, kinds

NAMES = [
    name
    for name in catalogue.names("optimizer")
    if isinstance(catalogue.load(name, ("optimizer",)), kinds.ManifoldOptimizer | kinds.MatrixRule)
]
AXES = ((1, 2, 3), (0,))


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def product(name: str) -> Any:
    return importlib.import_module(hf.optimizer(name).__module__)


def point(name: str) -> torch.Tensor:
    """A matrix that the rule takes: 6 x 3, or 4 x 4 rotations."""
    own = product(name)
    shape = (4, 4) if own.SHAPE[0] == own.SHAPE[1] else (6, 3)
    if not own.MANIFOLD:
        return drawn(*shape)
    generator = torch.Generator().manual_seed(1)
    return hf.manifold(own.MANIFOLD).random(*shape, dtype=torch.float64, generator=generator)


def run(optimizer: Any, param: torch.nn.Parameter, grads: list[torch.Tensor]) -> None:
    for grad in grads:
        param.grad = grad.clone()
        optimizer.step()


@pytest.mark.parametrize("name", [name for name in NAMES if not product(name).VECTORS])
def test_rows_are_columns_of_the_transpose(name: str) -> None:
    plain = torch.nn.Parameter(point(name).contiguous())
    turned = torch.nn.Parameter(plain.detach().mT.contiguous())
    grads = [0.05 * drawn(*plain.shape, seed=seed) for seed in range(5)]
    first = hf.optimizer(name)([plain], foreach=False, fused=False)
    second = hf.optimizer(name)([{"params": [turned], "rows": True}])
    run(first, plain, grads)
    run(second, turned, [grad.mT for grad in grads])
    assert torch.equal(plain, turned.mT)
    assert not torch.equal(plain, point(name))
    for a, b in zip(first.state.values(), second.state.values(), strict=True):
        assert all(torch.equal(a[key], b[key]) for key in product(name).STATES)
    with first.solution(), second.solution():
        assert torch.equal(plain, turned.mT)
    if product(name).MANIFOLD:
        assert second.violation() == first.violation()


@pytest.mark.parametrize("name", ["stiefel_momentum", "muon"])
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 3, 1, 2), {"matrix": ((1, 2, 3), (0,))}),
        ((6, 3, 1, 1), {"matrix": ((1, 2, 3), (0,)), "rows": True}),
        ((2, 3, 3), {"matrix": ((2, 0), (1,))}),
    ],
)
def test_a_tensor_of_more_axes_is_a_matrix_of_those_that_are_named(
    name: str, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    above, below = options["matrix"]

    def shaped(flat: torch.Tensor) -> torch.Tensor:
        """The tensor, entry by entry, whose matrix is this one."""
        matrix = flat.mT if "rows" in options else flat
        tensor = torch.empty(shape, dtype=flat.dtype)
        for row, place in enumerate(itertools.product(*(range(shape[axis]) for axis in above))):
            for column, other in enumerate(itertools.product(*(range(shape[k]) for k in below))):
                at = dict(zip((*above, *below), (*place, *other), strict=True))
                tensor[tuple(at[axis] for axis in range(len(shape)))] = matrix[row, column]
        return tensor

    plain = torch.nn.Parameter(point(name).contiguous())
    param = torch.nn.Parameter(shaped(plain.detach()))
    grads = [0.05 * drawn(6, 3, seed=seed) for seed in range(4)]
    run(hf.optimizer(name)([plain], foreach=False, fused=False), plain, grads)
    run(hf.optimizer(name)([{"params": [param], **options}]), param, [*map(shaped, grads)])
    assert torch.equal(shaped(plain.detach()), param)


def test_rows_are_points_of_a_sphere() -> None:
    param = torch.nn.Parameter(hf.manifold("sphere").random(5, 3, dtype=torch.float64))
    rows = [torch.nn.Parameter(row.clone()) for row in param.detach()]
    grads = [drawn(5, 3, seed=seed) for seed in range(4)]
    together = hf.optimizer("sphere_momentum")([{"params": [param], "rows": True}])
    alone = hf.optimizer("sphere_momentum")(rows)
    for grad in grads:
        param.grad = grad
        together.step()
        for row, own in zip(rows, grad, strict=True):
            row.grad = own.clone()
        alone.step()
    assert torch.allclose(param, torch.stack([*rows]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["stiefel_rattle", "mec"])
def test_states_and_schedulers_know_rows(name: str) -> None:
    """Beside a group without them."""

    def made(a: torch.nn.Parameter, b: torch.nn.Parameter) -> Any:
        groups = [{"params": [a], "rows": True, "lr": 0.02}, {"params": [b], "lr": 0.01}]
        return hf.optimizer(name)(groups)

    a = torch.nn.Parameter(point(name).mT.contiguous())
    b = torch.nn.Parameter(point(name).contiguous())
    optimizer = made(a, b)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    def step(optimizer: Any, a: torch.nn.Parameter, b: torch.nn.Parameter, seed: int) -> None:
        grad = 0.1 * drawn(6, 3, seed=seed)
        a.grad, b.grad = grad.mT.contiguous(), grad
        optimizer.step()

    for seed in range(3):
        step(optimizer, a, b, seed)
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * 0.9**3)
    assert not torch.allclose(a.mT, b)
    c, d = (torch.nn.Parameter(own.detach().clone()) for own in (a, b))
    other = made(c, d)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    third = copy.deepcopy(optimizer)
    e, f = (group["params"][0] for group in third.param_groups)
    for seed in (7, 8):
        step(optimizer, a, b, seed)
        step(other, c, d, seed)
        step(third, e, f, seed)
    assert all(torch.equal(one, own) for one, own in ((a, c), (b, d), (a, e), (b, f)))
    assert optimizer.violation() < 1e-14


KERNEL = torch.zeros(3, 3, 1, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("group", "tensor", "text"),
    [
        ({"rows": 1}, point("mec"), "rows = 1: True or False was expected"),
        ({"matrix": (0, 1)}, KERNEL, r"matrix = \(0, 1\): the axes of rows and those of columns"),
        ({"matrix": ((0, 1), (2,))}, KERNEL, "does not name each of its axes 0 to 3 once"),
        ({"matrix": ((0, 1), (1, 2, 3))}, KERNEL, "does not name each of its axes 0 to 3 once"),
        ({"matrix": AXES}, KERNEL, "is not on the manifold stiefel"),
        ({"matrix": ((0,), (1, 2, 3))}, KERNEL, "has 6 columns and 3 rows"),
        ({"rows": True}, point("mec"), "by rows=True, is not on the manifold stiefel"),
        ({"manifold": None, "matrix": AXES}, KERNEL, "parameters of any axes: no rows, no matrix"),
        ({}, KERNEL, "with batched=True leading axes are many points"),
    ],
)
def test_what_cannot_be_read_so_is_refused(
    group: dict[str, Any], tensor: torch.Tensor, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        hf.optimizer("mec")([{"params": [torch.nn.Parameter(tensor.clone())], **group}])


def test_the_manifold_of_the_class_may_be_named() -> None:
    param = torch.nn.Parameter(point("mec"))
    optimizer = hf.optimizer("mec")([{"params": [param], "manifold": "stiefel"}])
    assert optimizer.violation() < 1e-14


def test_forms_and_rules_that_take_no_rows_say_so() -> None:
    turned = torch.nn.Parameter(point("stiefel_descent").mT.contiguous())
    turned.grad = torch.zeros_like(turned)
    group = {"params": [turned], "rows": True}
    for name in ("fused", "foreach"):
        with pytest.raises(RuntimeError, match=f"{name}=True, but a group has rows=True"):
            hf.optimizer("stiefel_descent")([{**group}], **{name: True}).step()
    with pytest.raises(ValueError, match="a differentiable step takes parameters as they are"):
        hf.optimizer("stiefel_descent")([{**group}], differentiable=True)
    with pytest.raises(ValueError, match="a line search takes parameters as they are"):
        hf.optimizer("stiefel_descent")([{**group}], line_search="armijo")
    with pytest.raises(ValueError, match="rows=True takes those along the last axis"):
        hf.optimizer("sphere_descent")([{"params": [turned], "matrix": ((0,), (1,))}])
