"""Attributes that kernels trust are read-only, or checked when they are changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

import hamilforge as hf

#: What a kernel computes is seen as well by its text as Python, but where it is said.
pytestmark = pytest.mark.usefixtures("kernels")


def networks() -> list[Any]:
    return [
        hf.network("resnet", "rk4", 3, {"d": 2}, backend="numba"),
        hf.network("resnet", "rk4", 3, {"d": 2}),
    ]


def test_layers_and_sizes_of_a_network_stay() -> None:
    for network in networks():
        for name, value in (("layers", 200000), ("sizes", {"d": 9})):
            with pytest.raises(AttributeError):
                setattr(network, name, value)
        with pytest.raises(TypeError):
            network.sizes["d"] = 9
    network = networks()[0]
    for name in ("product", "dtype", "parameters"):
        with pytest.raises(AttributeError):
            setattr(network, name, None)
    with pytest.raises(AttributeError):
        networks()[1].steps = "softmax"


def test_what_may_be_chosen_anew_is_checked() -> None:
    for network in networks():
        for value in (0, -1, 2.5, "2"):
            for name in ("checkpoints", "budget"):
                with pytest.raises(ValueError, match=name):
                    setattr(network, name, value)
        with pytest.raises(ValueError, match="memory"):
            network.memory = "everything"
    network = networks()[0]
    points = np.ones((5, 2))
    wanted = network(points)
    for value in (0, -3, 1.5, "all"):
        with pytest.raises(ValueError, match="block"):
            network.block = value
    for value in (float("nan"), "0", 1j, [0.0]):
        with pytest.raises(ValueError, match="t0"):
            network.t0 = value
    network.block, network.t0, network.checkpoints = 2, 0.0, 1
    assert np.allclose(network(points), wanted, rtol=1e-14)


def test_arrays_of_another_shape_do_not_reach_a_kernel() -> None:
    network, module = networks()
    points = np.ones((5, 2))
    network.controls["K"] = np.ones((2, 2, 2))
    with pytest.raises(ValueError, match="control K"):
        network(points)
    network = networks()[0]
    network.h = np.ones(2)
    with pytest.raises(ValueError, match="h has the shape"):
        network.gradient(points, costates=points)
    module.step_sizes = torch.ones(2)
    with pytest.raises(ValueError, match=r"step_sizes has the shape \(2,\); \(3,\)"):
        module(torch.ones(5, 2))


def test_an_objective_is_what_it_was_made() -> None:
    loss = hf.objective("logistic_classifier", {"d": 2, "c": 1}, backend="numba")
    for name in ("product", "dtype", "parameters", "sizes"):
        with pytest.raises(AttributeError):
            setattr(loss, name, {"d": 200000, "c": 1})
    with pytest.raises(TypeError):
        loss.sizes["d"] = 200000
    loss.weights[next(iter(loss.weights))] = np.ones((1, 99))
    with pytest.raises(ValueError, match="weight"):
        loss.evaluate(np.ones((3, 2)), np.ones((3, 1)))


def test_a_flow_checks_what_is_changed() -> None:
    flow = hf.flow("damped_pendulum", "rk4", 0.1, 4)
    for name, values in {
        "h": (0, float("inf"), "0.1", None, 1j),
        "steps": (0, -1, 2.5, "3", True),
        "every": (-1, 0.5, None),
        "t0": (float("nan"), "0"),
    }.items():
        for value in values:
            with pytest.raises(ValueError, match=name):
                setattr(flow, name, value)
    flow.h, flow.steps, flow.every = 0.2, 2, 1
    other = hf.flow("damped_pendulum", "rk4", 0.2, 2, every=1)
    assert torch.equal(flow(torch.ones(3, 2)), other(torch.ones(3, 2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": np.ones((11, 1))}, "y has the shape"),
        ({"y": np.ones(22)}, "y has the shape"),
        ({"t": np.ones(5)}, "y has the shape"),
        ({"parameters": {}}, "lack gamma"),
        ({"parameters": {"other": 1.0}}, "lack gamma"),
        ({"y": np.ones((11, 2), np.float32)}, "float64 was expected"),
    ],
)
def test_a_solution_of_other_arrays_has_no_energy(changes: Any, message: str) -> None:
    solution = hf.integrate("damped_pendulum", "rk4", t_span=(0, 1), h=0.1)
    with pytest.raises(ValueError, match=message):
        _ = dataclasses.replace(solution, **changes).energy


def test_parameters_of_a_solution_are_found_by_their_names() -> None:
    solution = hf.integrate("lotka_volterra", "average_vector_field", t_span=(0, 1), h=0.1)
    turned = dict(reversed([*solution.parameters.items()]))
    assert (dataclasses.replace(solution, parameters=turned).energy == solution.energy).all()


@pytest.mark.parametrize("samples", [0, 1, 2])
def test_few_samples_or_none(samples: int) -> None:
    loss = hf.objective("softmax_classifier", {"d": 2, "c": 3}, backend="numba")
    points, labels = np.ones((samples, 2)), np.zeros((samples, 3))
    labels[:, 0] = 1
    found = loss.evaluate(points, labels)
    assert found.losses.shape == (samples,)
    assert found.prediction.shape == (samples, 3)
    assert found.states[0].shape == (samples, 2)
    one = loss.evaluate(np.ones((1, 2)), np.eye(3)[:1])
    for name, weights in found.weights.items():
        assert np.allclose(weights, samples * one.weights[name], rtol=1e-14)
        assert weights.shape == loss.weights[name].shape


def test_where_nothing_can_be_done_with_nothing_it_is_said() -> None:
    for call, message in (
        (
            lambda: hf.integrate(
                "damped_pendulum", "rk4", None, (0, 1), 0.1, parameters={"gamma": []}
            ),
            "gamma",
        ),
        (lambda: hf.integrate("kepler", "dormand_prince54", t_span=(0, 1), t_eval=[]), "t_eval"),
        (lambda: hf.minimize(lambda x: 0.0, []), "empty"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
