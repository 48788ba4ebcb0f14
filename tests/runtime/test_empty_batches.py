"""Of no samples there are no results, and every sum over them is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hamilforge as hf

FLOWS = {
    "explicit": ("damped_pendulum", "rk4", ("gamma",)),
    "implicit": ("damped_pendulum", "gauss2", ("gamma",)),
    "splitting": ("damped_pendulum", "conformal_leapfrog", ("gamma",)),
    "discrete gradient": ("pendulum", "gonzalez", ()),
}
#: A field, a method and sizes; the last field has a running cost.
NETWORKS = {
    "explicit": ("resnet", "rk4", {"d": 2}),
    "implicit": ("resnet", "gauss2", {"d": 2}),
    "pair": ("two_layer_hamiltonian", "stormer_verlet_pair", {"d": 2, "m": 3}),
    "running": ("hager", "kutta3", {"d": 2}),
}


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("every", [0, 1])
def test_a_flow_of_no_states_is_none_and_its_gradients_are_zero(name: str, every: int) -> None:
    problem, method, trainable = FLOWS[name]
    flow = hf.flow(problem, method, 0.1, 2, trainable=trainable, every=every)
    start = torch.ones(0, 2, requires_grad=True)
    end = flow(start)
    end.sum().backward()
    assert end.shape == ((3, 0, 2) if every else (0, 2))
    assert start.grad is not None
    assert start.grad.shape == (0, 2)
    parameters = [*flow.parameters()]
    assert len(parameters) == len(trainable)
    assert all(one.grad is not None and (one.grad == 0).all() for one in parameters)


@pytest.mark.parametrize("memory", ["all", "states", "checkpoint"])
@pytest.mark.parametrize("name", NETWORKS)
def test_torch_networks_of_no_samples_have_gradients_of_zero(name: str, memory: str) -> None:
    field, method, sizes = NETWORKS[name]
    network = hf.network(field, method, 3, sizes, memory=memory, steps="learned")
    states = [torch.ones(0, 2, requires_grad=True) for shape in network.STATES.values() if shape]
    found = network(*states)
    ends, running = found if network.RUNNING else (found, torch.zeros(0))
    ends = ends if isinstance(ends, tuple) else (ends,)
    assert [one.shape for one in ends] == [(0, 2)] * len(states)
    assert running.shape == (0,)
    torch.cat([*ends, running[:, None].expand(-1, 2)]).sum().backward()
    assert all((one.grad == 0).all() for one in network.parameters() if one.grad is not None)
    assert any(one.grad is not None for one in network.parameters())
    assert all(one.grad is not None and one.grad.shape == (0, 2) for one in states)


@pytest.mark.parametrize("memory", ["all", "states", "checkpoint"])
@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("explicit", "compiled"),
        *((name, "interpreted") for name in NETWORKS),
        *(pytest.param(name, "compiled", marks=pytest.mark.full) for name in [*NETWORKS][1:]),
    ],
    indirect=["kernels"],
)
def test_kernels_of_no_samples_have_gradients_of_zero(
    name: str, memory: str, kernels: None
) -> None:
    field, method, sizes = NETWORKS[name]
    network = hf.network(field, method, 3, sizes, backend="numba", memory=memory)
    count = sum(bool(shape) for shape in network.product.STATES.values())
    some, none = ([np.ones((samples, 2))] * count for samples in (5, 0))
    network.gradient(*some, costates=some)
    found = network.gradient(*none, costates=none)
    assert found.losses is None
    assert [one.shape for one in (*found.ends, *found.states)] == [(0, 2)] * 2 * count
    assert (found.running is None) == (not network.product.RUNNING)
    assert {key: one.shape for key, one in found.controls.items()} == {
        key: one.shape for key, one in network.controls.items()
    }
    assert all((one == 0).all() for one in (*found.controls.values(), found.h))
    assert found.h.shape == (3,)
    assert found.t0 == 0
    again = network(*none)
    ends = again[0] if network.product.RUNNING else again
    assert all(one.shape == (0, 2) for one in (ends if isinstance(ends, tuple) else (ends,)))


def test_a_loss_of_no_samples_gives_no_losses_and_must_fit() -> None:
    network = hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba")
    found = network.gradient(np.ones((0, 2)), loss=lambda y, rows: ((y**2).sum(1) / 2, y))
    assert found.losses is not None
    assert found.losses.shape == (0,)
    with pytest.raises(ValueError, match="the loss gives costates of the shapes"):
        network.gradient(np.ones((0, 2)), loss=lambda y, rows: (y[:, 0], y[:, :1]))


def test_an_objective_of_no_samples_has_gradients_of_zero() -> None:
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1})
    found = loss(torch.ones(0, 2), torch.ones(0, 1))
    found.sum().backward()
    assert found.shape == (0,)
    assert all((one.grad == 0).all() for one in loss.parameters())


def test_an_ensemble_of_no_trajectories_is_integrated() -> None:
    fixed = hf.integrate("damped_pendulum", "gauss2", np.ones((0, 2)), (0, 1), 0.1)
    assert fixed.y.shape == (0, 11, 2)
    assert fixed.energy.shape == (0, 11)
    times = [0.5, 1.0]
    adaptive = hf.integrate(
        "kepler", "dormand_prince54", np.ones((0, 4)), t_span=(0, 1), t_eval=times
    )
    assert adaptive.y.shape == (0, 2, 4)
    assert adaptive.t.tolist() == times
