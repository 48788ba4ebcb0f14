"""Modules inside autocast, inside transforms of torch.func, and before tensors without numbers."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call, grad, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

import hamilforge as hf

FLOWS = ["gauss2", "conformal_leapfrog", "rk4"]
NETWORKS = [
    ("resnet", "rk4", "all"),
    ("resnet", "gauss2", "states"),
    ("resnet", "rk4", "checkpoint"),
    ("resnet", "implicit_midpoint", "reversible"),
    ("resnet", "rk4", "autograd"),
]


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def made(kind: tuple[str, ...]) -> Any:
    if len(kind) == 1:
        return hf.flow("damped_pendulum", kind[0], h=0.1, steps=4, trainable=("gamma",))
    field, method, memory = kind
    torch.manual_seed(0)
    return hf.network(field, method, 3, {"d": 2}, dtype=torch.float64, memory=memory, h=0.1)


@pytest.fixture(params=[*((name,) for name in FLOWS), *NETWORKS], ids="-".join)
def module(request: pytest.FixtureRequest) -> Any:
    return made(request.param)


def of_one(module: Any) -> Any:
    return lambda row: module(row[None])[0]


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-12, atol=1e-14)


def test_vmap_is_the_module_on_each(module: Any) -> None:
    points = drawn(6, 2)
    wanted = module(points)
    assert near(vmap(of_one(module))(points), wanted)
    assert near(vmap(module)(points.reshape(3, 2, 2)).reshape(6, 2), wanted)
    assert near(vmap(module, in_dims=1, out_dims=1)(points.reshape(2, 3, 2)).reshape(6, 2), wanted)
    assert near(vmap(vmap(of_one(module)))(points.reshape(2, 3, 2)).reshape(6, 2), wanted)


def test_jacobians_are_those_of_autograd(module: Any) -> None:
    points = drawn(3, 2)
    single = of_one(module)
    wanted = torch.stack([torch.autograd.functional.jacobian(single, row) for row in points])
    assert near(vmap(jacrev(single))(points), wanted)
    assert near(torch.stack([jacrev(single)(row) for row in points]), wanted)
    value, back = vjp(single, points[0])
    assert near(value, single(points[0]))
    assert near(back(torch.ones(2, dtype=torch.float64))[0], wanted[0].sum(0))


def test_gradients_by_parameters_are_those_of_backward(module: Any) -> None:
    points = drawn(5, 2)
    parameters = dict(module.named_parameters())
    module(points).pow(3).sum().backward()

    def loss(parameters: Any, x: torch.Tensor) -> torch.Tensor:
        return functional_call(module, parameters, (x,)).pow(3).sum()

    whole = grad(loss)(parameters, points)
    per_sample = vmap(grad(lambda p, x: loss(p, x[None])), in_dims=(None, 0))(parameters, points)
    for name, parameter in parameters.items():
        assert near(whole[name], parameter.grad)
        assert near(per_sample[name].sum(0), parameter.grad)


@pytest.mark.parametrize("kind", [("rk4",), ("resnet", "rk4", "all")], ids="-".join)
def test_an_ensemble_of_modules_is_each_of_them(kind: Any) -> None:
    modules = [made(kind) for _ in range(3)]
    for number, one in enumerate(modules):
        for parameter in one.parameters():
            parameter.data *= 1 + number
    points = drawn(4, 2)
    state = stack_module_state(modules)
    found = vmap(lambda p, b: functional_call(modules[0], (p, b), (points,)))(*state)
    for number, one in enumerate(modules):
        assert near(found[number], one(points))
    sums = grad(
        lambda p: (
            vmap(lambda p, b: functional_call(modules[0], (p, b), (points,)))(p, state[1])
            .square()
            .sum()
        )
    )(state[0])
    modules[1](points).square().sum().backward()
    for name, parameter in modules[1].named_parameters():
        assert near(sums[name][1], parameter.grad)


@pytest.mark.parametrize("kind", [("rk4",), ("resnet", "rk4", "all")], ids="-".join)
def test_what_is_not_derived_is_said_with_what_to_use(kind: Any) -> None:
    single, row = of_one(made(kind)), drawn(2)
    for call in (lambda: jvp(single, (row,), (row,)), lambda: jacfwd(single)(row)):
        with pytest.raises(
            RuntimeError, match=r"forward mode \(jvp, jacfwd\) is not; .*torch diff"
        ):
            call()
    with pytest.raises(RuntimeError, match=r"not differentiated again; .*torch differentiates"):
        jacrev(jacrev(single))(row)


def test_with_autograd_every_transform_works() -> None:
    plain, row = of_one(made(("resnet", "rk4", "autograd"))), drawn(2)
    wanted = torch.autograd.functional.jacobian(plain, row)
    assert near(jacfwd(plain)(row), wanted)
    assert near(jvp(plain, (row,), (row,))[1], wanted @ row)
    assert torch.isfinite(jacrev(jacrev(plain))(row)).all()


def test_states_that_are_not_finite_are_refused_inside_transforms_too() -> None:
    network = made(("resnet", "rk4", "all"))
    with pytest.raises(ValueError, match="not finite"):
        vmap(of_one(network))(torch.tensor([[1.0, float("nan")]], dtype=torch.float64))


def test_losses_of_each_sample_are_differentiated_by_transforms() -> None:
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1}, dtype=torch.float64)
    points, labels = drawn(5, 2), torch.ones(5, 1, dtype=torch.float64)
    leaf = points.clone().requires_grad_()
    loss(leaf, labels).sum().backward()
    found = vmap(grad(lambda x, y: loss(x[None], y[None])[0]))(points, labels)
    assert near(found, leaf.grad)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("memory", ["all", "checkpoint", "autograd"])
def test_a_network_in_a_sequence_works_under_autocast(memory: str, half: torch.dtype) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, 2),
        hf.network("resnet", "rk4", 4, {"d": 2}, memory=memory),
        torch.nn.Linear(2, 1),
    )
    points = torch.randn(6, 3)
    plain = model(points)
    plain.square().mean().backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    with torch.autocast("cpu", dtype=half):
        found = model(points)
        assert found.dtype == half
        found.float().square().mean().backward()
    assert torch.allclose(found.float(), plain, atol=5e-2)
    for name, parameter in model.named_parameters():
        assert parameter.grad.dtype == torch.float32
        assert torch.allclose(parameter.grad, wanted[name], atol=5e-2)


def test_a_module_under_autocast_loses_nothing_of_its_own() -> None:
    flow = hf.flow("damped_pendulum", "gauss2", 0.1, 5)
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1})
    network = hf.network("resnet", "rk4", 3, {"d": 2})
    points = torch.randn(6, 2)
    rough = points.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(flow(points), flow(points.float()))
        assert torch.equal(flow(rough), flow(rough.float()))
        found = network(points), loss(points, torch.ones(6, 1)), flow(points)
    assert torch.equal(found[0], network(points))
    assert torch.equal(found[1], loss(points, torch.ones(6, 1)))
    assert torch.equal(found[2], flow(points))


def test_tensors_without_numbers_to_look_at_are_refused() -> None:
    points = torch.randn(6, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = {
            "layout torch.sparse_coo; call to_dense": points.to_sparse(),
            "layout torch.sparse_csr; call to_dense": points.to_sparse_csr(),
            "a tensor on the device meta has none": points.to("meta"),
            "quantized|float|type": torch.quantize_per_tensor(points, 0.1, 0, torch.quint8),
            "float|type|complex": points.to(torch.complex64),
            "has none, nor has a fake one": FakeTensorMode().from_tensor(points),
        }
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1})
    modules = [
        hf.network("resnet", "rk4", 2, {"d": 2}),
        hf.flow("damped_pendulum", "gauss2", 0.1, 3),
        lambda x: loss(x, torch.ones(6, 1)),
        lambda x: loss.prediction(x),
    ]
    for message, tensor in cases.items():
        for module in modules:
            with pytest.raises(ValueError, match=message):
                module(tensor)
