"""Checkpoints: each layer once more and no more than that, within a budget of bytes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.runtime.networks import checkpoints, recomputation
from hamilforge.runtime.networks.recomputation import Size

LAYERS = 23
SIZES = [Size(10, 50, 50), Size(30, 70, 35), Size(7, 7 + 1, 7 + 1)]


def most_at_once(plan: Any, size: Size) -> int:
    """Bytes of a plan: what the way forward keeps, and what the way back adds."""
    placed = len(plan.places) * size.state
    again = plan.unit * size.again + size.state if plan.head else 0
    tail = plan.tail * size.stages + size.state if plan.tail else 0
    recursive = plan.slots * size.state if len(plan.places) < plan.units else 0
    return placed + again + tail + recursive


@pytest.mark.parametrize("size", SIZES)
def test_a_plan_fits_its_budget_and_no_other_with_one_way_forward_more_computes_less(
    size: Size,
) -> None:
    tails = {}
    for tail in range(LAYERS):
        for unit in range(1, LAYERS - tail + 1):
            plan = recomputation.Plan(LAYERS, tail, unit, -(-(LAYERS - tail) // unit) - 1)
            tails[most_at_once(plan, size)] = max(tail, tails.get(most_at_once(plan, size), 0))
    for budget in range(size.least, LAYERS * size.stages + size.least + 3):
        plan = recomputation.planned(LAYERS, size, budget)
        assert plan is not None
        assert most_at_once(plan, size) <= budget
        longest = max((tail for bytes_, tail in tails.items() if bytes_ <= budget), default=None)
        if plan.tail < LAYERS and longest is not None:
            assert plan.tail == longest
            assert plan.slots >= plan.units - 1  # each layer once more
    assert recomputation.planned(LAYERS, size, size.least - 1) is None
    assert recomputation.planned(LAYERS, size, LAYERS * size.stages + size.least).tail == LAYERS


@pytest.mark.parametrize("layers", [1, 2, 9, 40])
def test_states_before_all_layers_need_no_layer_again(layers: int) -> None:
    for slots in (layers - 1, layers, layers + 5):
        assert checkpoints.placed(layers, slots) == [*range(layers)]
        found = checkpoints.backwards(layers, slots, [*range(layers)], lambda *_: pytest.fail("no"))
        assert [*found] == [(k, k) for k in range(layers - 1, -1, -1)]


def counted(network: Any) -> list[int]:
    """Notes how many layers go forward, for each call of the kernel."""
    counts: list[int] = []
    product = network.product

    def forward(first: int, last: int, *arguments: Any) -> Any:
        counts.append(last - first)
        return product.forward(first, last, *arguments)

    network._product = SimpleNamespace(**{**vars(product), "forward": forward})
    return counts


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("budget", [None, 9_000, 12_000, 20_000, 30_000, 10**6])
def test_a_budget_is_kept_and_gradients_are_the_same_bits(budget: int | None) -> None:
    network = hf.network("resnet", "rk4", LAYERS, {"d": 3}, backend="numba", block=5)
    y = np.random.default_rng(0).standard_normal((10, 3))
    wanted = network.gradient(y, costates=y)
    network.memory, network.budget = "checkpoint", budget
    counts = counted(network)
    found = network.gradient(y, costates=y)
    for name, value in wanted.controls.items():
        assert (found.controls[name] == value).all()
    assert (found.h == wanted.h).all()
    assert (found.states[0] == wanted.states[0]).all()
    with network._room(10) as room:
        plan = room.plan
        taken = sum(array.nbytes for array in (*room.work.states, *room.work.kept))
        taken += room.length * room.frame.dtype.itemsize
        assert taken <= (budget or taken)
    blocks = 2  # of samples, each forward, and once more where stages were not kept
    if plan.slots >= plan.units - 1:
        assert sum(counts) == blocks * (LAYERS + plan.head)
    else:
        assert blocks * 2 * LAYERS < sum(counts) < blocks * 4 * LAYERS
    if budget == 10**6:
        assert plan.head == 0


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("fused", [True, False])
def test_torch_modules_keep_a_budget_too(fused: bool) -> None:
    network = hf.network(
        "resnet", "rk4", 12, {"d": 3}, dtype=torch.float64, memory="checkpoint", fused=fused
    )
    points = torch.randn(10, 3, dtype=torch.float64, requires_grad=True)
    saved: list[torch.Tensor] = []

    def gradient() -> torch.Tensor:
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            end = network(points)
        return torch.autograd.grad(end.sum(), points)[0]

    own = {id(parameter) for parameter in network.parameters()}
    wanted, kept = gradient(), []
    for budget in (3_000, 6_000, 12_000, 10**6):
        network.budget = budget
        assert torch.equal(gradient(), wanted)
        kept.append(sum(t.nbytes for t in saved if id(t) not in own) - points.nbytes)
        assert kept[-1] <= max(budget, 12 * 3 * 5 * 80)
    assert kept == sorted(kept)
    assert kept[0] < kept[-1] / 4


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_a_budget_too_small_for_one_layer_names_the_least_that_is_enough(backend: str) -> None:
    options = {"dtype": torch.float64} if backend == "torch" else {}
    network = hf.network(
        "resnet", "rk4", 5, {"d": 3}, backend=backend, memory="checkpoint", budget=100, **options
    )
    points = np.ones((4, 3))

    def gradient() -> None:
        if backend == "numba":
            network.gradient(points, costates=points)
        else:
            network(torch.from_numpy(points).requires_grad_()).sum().backward()

    with pytest.raises(ValueError, match="budget = 100: for these samples") as refused:
        gradient()
    least = int(str(refused.value).split(" bytes")[0].split()[-1])
    network.budget = least
    gradient()
    network.budget = least - 1
    with pytest.raises(ValueError, match="are the least"):
        gradient()


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 10**6}, 'budget = 1000000 bounds memory="checkpoint", not memory="all"'),
        ({"memory": "states", "checkpoints": 3}, 'checkpoints = 3 bounds memory="checkpoint"'),
        ({"memory": "checkpoint", "checkpoints": 3, "budget": 10**6}, "one of them bounds"),
    ],
)
def test_bounds_of_what_is_not_kept_are_refused(
    backend: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        hf.network("resnet", "rk4", 4, {"d": 2}, backend=backend, **options)
