"""RATTLE on manifolds at work: beside the integrator, steps that are too long, many forms."""

from __future__ import annotations

import copy
import math

import numba
import numpy as np
import pytest
import torch

import hamilforge as hf
from hamilforge.runtime.core import matrix_equations, torch_matrices

FORMS = ({"fused": True}, {"foreach": True}, {"foreach": False, "fused": False})


@pytest.mark.usefixtures("kernels")
def test_the_optimizer_on_a_sphere_is_the_integrator_with_a_rod():
    """The damped spherical pendulum: J = g z, mass 1, h = sqrt(lr), momentum = exp(-gamma h)."""
    gravity, gamma, h, steps = 1.0, 0.1, 0.05, 200
    momentum = math.exp(-gamma * h)
    start = np.array([0.6, 0.0, -0.8])
    spin = np.array([0.0, 1.0, 0.0])
    solution = hf.integrate(
        "damped_spherical_pendulum", "rattle", [*start, *spin], (0.0, h * steps), h
    )
    param = torch.nn.Parameter(torch.from_numpy(start))
    optimizer = hf.optimizer("sphere_rattle")([param], lr=h**2, momentum=momentum)
    slopes = torch.tensor([0.0, 0.0, gravity], dtype=torch.float64)
    param.grad = slopes
    optimizer.state[param]["V"] = h * torch.from_numpy(spin)
    for k in range(steps):
        optimizer.step()
        assert np.allclose(param.detach(), solution.y[k + 1, :3], rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("name", ["stiefel_rattle", "sphere_rattle"])
def test_a_step_that_is_too_long_is_refused_with_the_largest_rate(name, dtype, options):
    generator = torch.Generator().manual_seed(3)
    shape = (6, 3) if name == "stiefel_rattle" else (6,)
    manifold = hf.manifold(name.partition("_")[0])
    params = [
        torch.nn.Parameter(manifold.random(*shape, generator=generator, dtype=dtype).contiguous())
        for _ in range(3)
    ]
    optimizer = hf.optimizer(name)(params, lr=1e-3, **options)
    for param in params:
        param.grad = torch.randn(shape, generator=generator, dtype=dtype)
    optimizer.step()
    params[1].grad *= 100
    optimizer.param_groups[0]["lr"] = 5.0
    before = [param.detach().clone() for param in params]
    state = copy.deepcopy(optimizer.state_dict()["state"])
    clock = optimizer.param_groups[0]["clock"]
    with pytest.raises(ValueError, match="parameter 0 of group 0 is too long") as caught:
        optimizer.step()
    assert "nothing was changed" in str(caught.value)
    assert all(torch.equal(old, new) for old, new in zip(before, params, strict=True))
    after = optimizer.state_dict()["state"]
    assert all(torch.equal(state[k]["V"], after[k]["V"]) for k in range(3))
    assert optimizer.param_groups[0]["clock"] == clock
    largest = float(str(caught.value).partition("up to lr = ")[2].partition(",")[0])
    optimizer.param_groups[0]["lr"] = 1.002 * largest
    with pytest.raises(ValueError, match="too long"):
        optimizer.step()
    optimizer.param_groups[0]["lr"] = largest  # of all that were too long
    optimizer.step()
    assert all(param.isfinite().all() for param in params)
    assert optimizer.violation() < 100 * torch.finfo(dtype).eps


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_a_step_that_is_just_short_enough_is_taken(options):
    """By multipliers whose equation is nearly without a solution."""
    generator = torch.Generator().manual_seed(1)
    point = hf.manifold("stiefel").random(6, 2, generator=generator, dtype=torch.float64)
    step = hf.manifold("stiefel").project(point, torch.randn(6, 2, generator=generator).double())
    for short in (1e-6, 1e-9, 1e-11):
        param = torch.nn.Parameter(point.clone().contiguous())
        optimizer = hf.optimizer("stiefel_rattle")([param], momentum=0.9, **options)
        param.grad = torch.zeros_like(param)
        optimizer.step()
        length = torch.linalg.matrix_norm(step, 2)
        optimizer.state[param]["V"] = (1 - short) / 0.9 * step / length
        optimizer.step()
        assert optimizer.violation() < 1e-13


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_a_gradient_that_is_not_finite_makes_its_matrix_so(options):
    params = [torch.nn.Parameter(torch.tensor([0.6, 0.8])) for _ in range(2)]
    optimizer = hf.optimizer("sphere_rattle")(params, **options)
    params[0].grad, params[1].grad = torch.tensor([0.1, 0.0]), torch.tensor([math.nan, 0.0])
    optimizer.step()
    assert params[0].isfinite().all()
    assert params[1].isnan().any()


@pytest.mark.parametrize("name", ["stiefel_rattle", "sphere_rattle", "mec"])
def test_backends_are_verified(name):
    assert hf.verify(name).holds


def test_a_velocity_that_is_too_long_by_itself_has_no_rate():
    param = torch.nn.Parameter(torch.tensor([0.6, 0.8], dtype=torch.float64))
    optimizer = hf.optimizer("sphere_rattle")([param], lr=1e-3)
    param.grad = torch.zeros_like(param)
    optimizer.step()
    optimizer.state[param]["V"] = torch.tensor([1.6, -1.2], dtype=torch.float64)
    with pytest.raises(ValueError, match="whatever the lr"):
        optimizer.step()


@pytest.mark.parametrize("norm", [1e-9, 1e-3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(("n", "p"), [(5, 1), (6, 3), (20, 5), (4, 4)])
def test_the_multipliers_solve_their_equation(n, p, norm):
    generator = np.random.default_rng(n + p)
    point = np.linalg.qr(generator.standard_normal((n, p)))[0]
    step = generator.standard_normal((n, p))
    step = step - point @ (point.T @ step + step.T @ point) / 2
    step *= norm / np.linalg.norm(step, 2)
    moved = point + step
    s, q = point.T @ moved, moved.T @ moved - np.eye(p)
    tensor = torch_matrices.riccati(torch.from_numpy(s), torch.from_numpy(q)).numpy()
    own = np.empty((p, p))
    _called(s, q, np.empty(9 * p * (p + 1)), own)
    for found in (tensor, own):
        assert np.array_equal(found, found.T)
        assert abs(found @ found - found @ s - s.T @ found + q).max() < 4e-15
        assert np.linalg.eigvals(s - found).real.min() > 0
        back = moved - point @ found
        assert abs(back.T @ back - np.eye(p)).max() < 3e-15
    assert np.allclose(tensor, own, rtol=0, atol=1e-14)


def test_without_a_solution_multipliers_are_no_numbers():
    s, q = np.eye(1), np.full((1, 1), 1.5)  # (1 - L)^2 = 1 - 1.5
    own = np.empty((1, 1))
    _called(s, q, np.empty(18), own)
    assert np.isnan(own).all()
    assert torch_matrices.riccati(torch.from_numpy(s), torch.from_numpy(q)).isnan().all()


def test_multipliers_have_their_derivative():
    generator = torch.Generator().manual_seed(0)
    point = hf.manifold("stiefel").random(5, 2, generator=generator, dtype=torch.float64)
    step = 0.3 * torch.randn(5, 2, generator=generator, dtype=torch.float64)
    moved = (point + step).requires_grad_()

    def multipliers(moved):
        return torch_matrices.riccati(point.mT @ moved, moved.mT @ moved - torch.eye(2))

    assert torch.autograd.gradcheck(multipliers, (moved,))


def test_a_retraction_refuses_a_vector_that_is_too_long():
    sphere = hf.manifold("sphere")
    point = torch.tensor([0.6, 0.8], dtype=torch.float64)
    short = torch.tensor([0.4, -0.3], dtype=torch.float64)
    end = sphere.retract(point, short, "orthographic")
    assert sphere.contains(end)
    assert abs((end - point - short) @ torch.tensor([0.8, -0.6], dtype=torch.float64)) < 1e-15
    with pytest.raises(ValueError, match=r"dot\(V, V\) < 1"):
        sphere.retract(point, 4 * short, "orthographic")


@numba.njit
def _called(s, q, room, out):
    """A kernel's function, which has no entry from Python."""
    matrix_equations.riccati(s, q, room, out)
