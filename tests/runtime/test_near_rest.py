"""Implicit steps near rest, where states are small and the terms of H are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.gen.declare import catalogue

GAMMA, H = 0.1, 0.25
DISCRETE_GRADIENTS = [
    name for name in catalogue.names("discrete-gradient") if name != "itoh_abe_randomised"
]
METHODS = [*DISCRETE_GRADIENTS, "implicit_midpoint", "gauss2", "lobatto_iiia_iiib3"]
SIZES = (1e-300, 1e-20, 1e-9, 1e-3, 1.0, 5.0)


def midpoint(h: float) -> np.ndarray:
    """The step of the linear pendulum with friction."""
    field = np.array([[0.0, 1.0], [-1.0, -GAMMA]])
    return np.linalg.solve(np.eye(2) - h / 2 * field, np.eye(2) + h / 2 * field)


@pytest.mark.parametrize("method", DISCRETE_GRADIENTS)
def test_small_steps_are_those_of_the_linear_problem(method: str) -> None:
    flow = hf.flow("damped_pendulum", method, h=H, steps=3)
    y = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    y = torch.cat([size * y for size in SIZES]).requires_grad_()
    end = flow(y)
    cubed = np.linalg.matrix_power(midpoint(H), 3)
    for row, size in enumerate(SIZES[:3]):
        assert np.allclose(end[row].detach().numpy() / size, cubed @ [1, 1], rtol=1e-13)
        for i in range(2):
            (slope,) = torch.autograd.grad(end[row, i], y, retain_graph=True)
            assert np.allclose(slope[row].numpy(), cubed[i], rtol=1e-12)
    for row, size in enumerate(SIZES):
        run = hf.integrate("damped_pendulum", method, np.array([size, size]), (0, 3 * H), H)
        # where H is told from its rounding, it is told up to that over an increment
        beside = 0 if size < 1e-6 else 1e-11
        assert np.allclose(run.y[-1], end[row].detach().numpy(), rtol=1e-13, atol=beside)


@pytest.mark.parametrize("method", METHODS)
def test_a_sample_is_stepped_as_it_is_alone(method: str) -> None:
    flow = hf.flow("damped_pendulum", method, h=0.5, steps=2)
    y = torch.tensor([[1.0, -2.0]], dtype=torch.float64) * torch.tensor(SIZES).double()[:, None]
    together = flow(y)
    for row, state in enumerate(y):
        assert torch.allclose(together[row], flow(state[None])[0], rtol=1e-14, atol=0)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [1e-2, 1e-306])
def test_friction_leads_to_rest(method: str, size: float) -> None:
    start, span, h = np.array([size, 0]), (0, 60), 0.5
    run = hf.integrate("damped_pendulum", method, start, span, h, parameters={"gamma": 0.5})
    assert abs(run.y[-1]).max() <= 1e-5 * size


@pytest.mark.parametrize("method", METHODS)
def test_flows_lead_to_rest_too(method: str) -> None:
    flow = hf.flow("damped_pendulum", method, h=0.5, steps=60, parameters={"gamma": 0.5})
    start = torch.tensor([[1e-2, 0.0], [1e-306, 0.0], [0.0, 0.0]], dtype=torch.float64)
    end = flow(start)
    assert (end.abs().amax(-1) <= 1e-3 * start[:, 0]).all()
    assert not end[2].any()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", METHODS)
def test_rest_stays_rest(method: str) -> None:
    for angle in (0.0, np.pi):
        run = hf.integrate("pendulum", method, np.array([angle, 0.0]), (0, 2), 0.1)
        assert np.allclose(run.y, [angle, 0], atol=1e-14)
        flow = hf.flow("pendulum", method, h=0.1, steps=3)
        states = torch.tensor([[angle, 0.0], [1.0, 1.0]], dtype=torch.float64)
        assert torch.allclose(flow(states)[0], states[0], atol=1e-15)
    lattice = hf.integrate("toda_lattice", method, np.zeros(32), (0, 1), 0.1, sizes={"N": 16})
    assert not lattice.y.any()


WALL = """kind = "hamiltonian"
name = "soft_floor"
title = "A ball on a soft floor"
reference = "-"
coordinates = { q = ["q"], p = ["p"] }
energy = "k*(p**2/2 - (1 - cos(q))) + where(q < 0, 50*q**2, 0)"
parameters = { k = { default = 2 } }
start = { q = 1, p = 0 }
"""


@pytest.mark.parametrize("method", ["gonzalez", "itoh_abe", "gauss2"])
def test_an_energy_that_chooses_is_reported_of_all_states(method: str, tmp_path: Path) -> None:
    file = tmp_path / "soft_floor.toml"
    file.write_text(WALL)
    starts = np.array([[1.0, 0.0], [-0.2, 0.3]])
    run = hf.integrate(file, method, starts, (0, 2), 0.05)
    q, p = run.y[..., 0], run.y[..., 1]
    energy = 2 * (p**2 / 2 - (1 - np.cos(q))) + np.where(q < 0, 50 * q**2, 0)
    assert np.allclose(run.energy, energy, rtol=1e-14, atol=1e-15)
    if method != "gauss2":
        assert abs(run.energy - run.energy[:, :1]).max() < 1e-13
