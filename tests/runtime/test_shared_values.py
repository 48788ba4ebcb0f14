"""What all layers of a network share, and data of objectives: on the way back, and asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.func import functional_call, stack_module_state

import hamilforge as hf

pytestmark = pytest.mark.usefixtures("kernels")
FUSED = pytest.mark.parametrize("fused", [None, False])


def made(field: str, method: str = "rk4", layers: int = 4, **options: Any) -> Any:
    torch.manual_seed(0)
    return hf.network(field, method, layers, {"d": 2}, dtype=torch.float64, **options)


def points() -> torch.Tensor:
    return torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(3, 2)


def redraw(network: Any) -> None:
    network.redraw(8)


def another_parameter(network: Any) -> None:
    network.parameter_gamma = torch.tensor(5.0, dtype=torch.float64)


def another_memory(network: Any) -> None:
    network.memory = "checkpoint" if network.memory == "all" else "all"


@FUSED
@pytest.mark.parametrize(
    ("field", "control", "change"),
    [
        ("universal5", "u", redraw),
        ("antisymmetric", "K", another_parameter),
        ("antisymmetric", "K", another_memory),
    ],
)
def test_a_change_before_the_way_back_changes_nothing(
    field: str, control: str, change: Callable[[Any], None], fused: bool | None
) -> None:
    memories = ("all", "states", "checkpoint", "reversible")
    for memory in memories if change is another_memory else ("all", "checkpoint"):
        method = "gauss2" if memory == "reversible" else "rk4"
        gradients = []
        for changes in (False, True):
            network = made(field, method, memory=memory, fused=fused)
            end = network(points())
            if changes:
                change(network)
            end.sum().backward()
            gradients.append(network.control(control).grad)
        assert torch.equal(*gradients)


@FUSED
def test_a_gradient_that_is_not_derived_is_refused(fused: bool | None) -> None:
    network = made("antisymmetric", fused=fused)
    other = made("antisymmetric", memory="autograd")
    other.load_state_dict(network.state_dict())

    def loss(gamma: torch.Tensor, module: Any) -> torch.Tensor:
        return functional_call(module, {"parameter_gamma": gamma}, (points(),)).sum()

    gamma = network.parameter_gamma.clone()
    message = 'no gradient by gamma is derived.*memory="autograd"'
    for derived in (torch.func.grad, torch.func.jacrev):
        with pytest.raises(ValueError, match=message):
            derived(loss)(gamma, network)
        slope = derived(loss)(gamma, other)
        change = (loss(gamma + 1e-6, network) - loss(gamma - 1e-6, network)) / 2e-6
        assert torch.allclose(slope, change, rtol=1e-7)
    asking = gamma.clone().requires_grad_()
    with pytest.raises(ValueError, match=message):
        loss(asking, network)
    with torch.no_grad():
        assert torch.equal(loss(asking, network), loss(gamma, network))


@FUSED
def test_ensembles_of_modules_go_through_vmap(fused: bool | None) -> None:
    for field in ("antisymmetric", "universal5"):
        networks = []
        for seed in (1, 2, 3):
            network = made(field, fused=fused)
            for control in network.parameters():
                control.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(seed))
            networks.append(network)
        parameters, buffers = stack_module_state(networks)

        def call(own: Any, kept: Any, x: torch.Tensor, module: Any = networks[0]) -> Any:
            return functional_call(module, (own, kept), (x,))

        together = torch.func.vmap(call, (0, 0, None))(parameters, buffers, points())
        for number, network in enumerate(networks):
            assert torch.allclose(together[number], network(points()), rtol=1e-13, atol=1e-14)


def test_losses_are_differentiated_by_their_data() -> None:
    loss = hf.objective("mean_squared_error", {"d": 2}, dtype=torch.float64)
    ends, target = points().requires_grad_(), (points() ** 2).requires_grad_()
    mine = torch.autograd.grad(loss(ends, target).sum(), (ends, target))
    plain = torch.autograd.grad(loss.value(*_read(loss, ends, target))[1].sum(), (ends, target))
    for own, expected in zip(mine, plain, strict=True):
        assert torch.allclose(own, expected)
    assert mine[1].abs().max() > 0
    classifier = hf.objective("softmax_classifier", {"d": 2, "c": 3}, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"weights of type torch.float64, .* are torch.float32"):
        classifier(torch.ones(2, 2), torch.ones(2, 3))


def _read(loss: Any, ends: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    known = loss.named(dict(zip((*loss.STATES, *loss.DATA), (ends, target), strict=True)))
    return [known[name] for name in loss.READS]


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_implicit_methods_take_half_precision(kind: torch.dtype) -> None:
    for method in ("gauss2", "sdirk2"):
        network = made("resnet", method).to(kind)
        wide = made("resnet", method, fused=False)
        wide.load_state_dict({name: value.double() for name, value in network.state_dict().items()})
        x = points().to(kind)
        end = network(x)
        end.sum().backward()
        wide(x.double()).sum().backward()
        room = 16 * torch.finfo(kind).eps
        assert torch.allclose(end.double(), wide(x.double()), atol=room)
        slope = network.control("K").grad.double()
        assert torch.allclose(slope, wide.control("K").grad, atol=4 * room)
    for method in ("implicit_midpoint", "gonzalez", "itoh_abe"):
        flow = hf.flow("pendulum", method, h=0.1, steps=3)
        y = points().to(kind)
        assert torch.allclose(flow(y).double(), flow(y.double()), atol=4 * torch.finfo(kind).eps)
