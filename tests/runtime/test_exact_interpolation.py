"""Points taken to targets: residuals, their derivatives, folds, inverses, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

import hamilforge as hf
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.networks.interpolate import Residuals

pytestmark = pytest.mark.usefixtures("kernels")
FIELD, LAYERS, POINTS = "random7", 20, 5


def demo(seed, method="rk4", field=FIELD, layers=LAYERS, points=POINTS, width=2, backend="numba"):
    """A network, points in the plane, and the displacements of a cyclic permutation."""
    x = np.random.default_rng(seed).uniform(-1, 1, (points, width))
    kind = {"dtype": torch.float64} if backend == "torch" else {}
    network = hf.network(
        field, method, layers, {"d": width}, backend=backend, trainable=("u",), draw=seed, **kind
    )
    return network, x, np.roll(x, 1, axis=0) - x


def by_hand(network, controls, number, x):
    """An Euler network of `random7` as it is written in the paper, in NumPy."""
    fixed = network.fixed
    y = x
    for u in controls:
        rate = 0.0
        for k in range(7):
            z = y @ fixed[f"C{k + 1}"].T + fixed[f"b{k + 1}"]
            rate = rate + u[k] * (z if k < 3 else z**2)
        y = y + rate / len(controls)
    return number * (y - x)


# --- the search -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["euler", "rk4"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_permutation_and_random_targets_are_interpolated_to_rounding(method, seed):
    network, x, displaced = demo(seed, method)
    for y in (displaced, np.random.default_rng(seed + 9).standard_normal(x.shape)):
        network.controls["u"][...] = 0
        found = hf.interpolate(network, x, y)
        assert found.success, found.message
        assert found.residual <= 1e-12
        assert found.trained_numbers == LAYERS * 7 + 1 == len(found.x)
        assert "interpolated by 141 trained numbers: residual" in found.message
        assert f"{found.refined[2]:.1e} at h/2, {found.refined[8]:.1e} at h/8" in found.message
        number = float(found.objective.weights["lambda"])
        ends = network(x)
        assert np.linalg.norm(number * (ends - x) - y) <= 1e-12 * np.linalg.norm(y)
        assert found.determinant == network.determinants(x).min() > 0
        if method == "euler":  # and so does a transcription that knows nothing of the kernels
            own = by_hand(network, network.controls["u"], number, x)
            assert np.linalg.norm(own - y) <= 1e-10 * np.linalg.norm(y)


def test_targets_of_any_size_are_met_relative_to_it():
    for size in (1e-11, 1e6):
        network, x, y = demo(0)
        network.controls["u"][...] = 0
        found = hf.interpolate(network, x, size * y)
        ends = float(found.objective.weights["lambda"]) * (network(x) - x)
        assert found.success
        assert np.linalg.norm(ends - size * y) <= 1e-10 * size * np.linalg.norm(y)
    network, x, y = demo(0)
    assert hf.interpolate(network, x, 0 * y).success


def test_what_is_not_found_says_so():
    """Where points are all near 0 a network is nearly linear: equations are singular."""
    x = np.random.default_rng(0).uniform(-1, 1, (4, 2))
    y = np.roll(x, 1, axis=0) - x
    network = hf.network("random7", "rk4", 12, {"d": 2}, backend="numba", trainable=("u",), draw=0)
    found = hf.interpolate(network, 1e-6 * x, 1e-6 * y, starts=1, maxiter=30)
    assert not found.success
    assert "does not fall further" in found.message
    with pytest.raises(ValueError, match=r"x has the shape \(4, 4\).*\(N, 2\) was expected"):
        hf.interpolate(network, np.c_[x, x], np.c_[y, y])
    with pytest.raises(ValueError, match="beyond the range of numbers"):
        hf.interpolate(network, 1e-200 * x, 1e200 * y, starts=1, maxiter=2)


def test_scipys_trust_region_finds_an_interpolation_of_the_same_problem():
    """Independent of the adjoint and of the search: a transcription, and differences."""
    network, x, y = demo(0, "euler")

    def residual(vector):
        return (by_hand(network, vector[:-1].reshape(LAYERS, 7), vector[-1], x) - y).ravel()

    start = np.zeros(LAYERS * 7 + 1)
    start[-1] = 200 * abs(y).max() / abs(x).max()
    other = least_squares(residual, start, method="trf", jac="3-point", x_scale="jac", xtol=1e-15,
                          ftol=1e-15, gtol=1e-15, max_nfev=300)  # fmt: skip
    assert np.linalg.norm(other.fun) <= 1e-10
    problem = Residuals(network, hf.objective("displacement", {"d": 2}, backend="numba"), x, y)
    problem.unpack(other.x)
    assert np.linalg.norm(problem.value()) <= 1e-10
    # where it ended is where the search ends at once
    found = hf.interpolate(network, x, y, problem.objective, tolerance=1e-9)
    assert found.nit == 0
    assert found.success == (found.determinant > 0)


@pytest.mark.parametrize("objective", ["displacement", "state"])
@pytest.mark.parametrize("method", ["rk4", "gauss2"])
def test_the_jacobian_is_that_of_the_residuals(objective, method):
    network, x, y = demo(3, method, layers=3)
    generator = np.random.default_rng(1)
    network.controls["u"][...] = 0.3 * generator.standard_normal((3, 7))
    read_out = hf.objective(objective, {"d": 2}, backend="numba")
    for weight in read_out.weights.values():
        weight[...] = 3.0
    problem = Residuals(network, read_out, x, y)
    here, jacobian = problem.pack(), problem.jacobian()
    assert jacobian.shape == (10, 21 + len(read_out.weights)) == (10, problem.count)
    for k in range(len(here)):
        e = 1e-5 * np.eye(len(here))[k]
        sides = []
        for sign in (1, -1, 2, -2):
            problem.unpack(here + sign * e)
            sides.append(problem.value())
        slope = (8 * (sides[0] - sides[1]) - (sides[2] - sides[3])) / 12e-5
        assert np.allclose(slope, jacobian[:, k], rtol=1e-7, atol=1e-8), k


def test_finer_steps_show_the_error_of_the_step_and_training_goes_on_from_there():
    network, x, y = demo(0, "rk4")
    found = hf.interpolate(network, x, y)
    coarse = hf.interpolate(demo(0, "euler")[0], x, y)
    assert [*found.refined] == [2, 8]
    assert found.residual < found.refined[2] < found.refined[8] <= 1e-2
    assert coarse.refined[2] > 100 * found.refined[2]  # Euler interpolates with its own error
    for times in (2, 8):
        fine = network.refined(times)
        assert fine.layers == times * LAYERS
        assert np.isclose(fine.h.sum(), network.h.sum())
        again = hf.interpolate(fine, x, y, found.objective)
        assert again.success
        assert again.residual <= 1e-10
        assert again.trained_numbers == times * LAYERS * 7 + 1


def test_the_number_of_the_read_out_begins_where_it_is_said_to():
    network, x, y = demo(2)
    for scale in (2.0, 200.0):
        network.controls["u"][...] = 0
        found = hf.interpolate(network, x, y, scale=scale, maxiter=0, tolerance=1.0e-12)
        wanted = scale * abs(y).max() / abs(x).max()
        assert np.isclose(float(found.objective.weights["lambda"]), wanted)
        assert not found.success
        assert "does not fall further" in found.message


def test_a_module_of_torch_has_the_controls_that_were_found():
    module, x, y = demo(4, "euler", layers=8, backend="torch")
    found = hf.interpolate(module, x, y)
    assert found.success, found.message
    number = float(found.objective.weights["lambda"])
    with torch.no_grad():
        start = torch.from_numpy(x)
        ends = number * (module(start) - start)
    assert np.linalg.norm(ends.numpy() - y) <= 1e-11
    with pytest.raises(ValueError, match=r"make the network with dtype=float64 .*, not float32"):
        hf.interpolate(module.float(), x, y)


# --- folds and inverses -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["euler", "rk4", "gauss2"])
def test_determinants_are_those_of_the_layers(method):
    network, x, _ = demo(5, method, layers=3)
    network.controls["u"][...] = 0.2 * np.random.default_rng(2).standard_normal((3, 7))
    found = network.determinants(x)
    assert found.shape == (3, POINTS)
    here = x
    for number in range(3):
        alone = network.alone()
        network.set_alone(alone, number)
        e = 1e-5
        columns = [
            (8 * (alone(here + e * unit) - alone(here - e * unit))
             - (alone(here + 2 * e * unit) - alone(here - 2 * e * unit))) / (12 * e)
            for unit in np.eye(2)
        ]  # fmt: skip
        wanted = np.linalg.det(np.stack(columns, axis=-1))
        assert np.allclose(found[number], wanted, rtol=1e-8)
        here = alone(here)
    assert np.allclose(here, network(x), rtol=1e-14)


@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_the_inverse_brings_the_points_back_and_a_step_of_minus_h_does_not(method):
    network, x, y = demo(1, method)
    assert hf.interpolate(network, x, y, scale=2.0).success
    ends = network(x)
    assert abs(network.inverse(ends) - x).max() <= 1e-12
    backwards = network.refined(1)
    backwards.h[:] = -network.h[::-1]
    backwards.controls["u"][...] = network.controls["u"][::-1]
    assert abs(backwards(ends) - x).max() > (1e-2 if method == "euler" else 1e-8)


def test_pairs_of_states_have_an_inverse_too():
    network = hf.network(
        "two_layer_hamiltonian", "stormer_verlet_pair", 6, {"d": 2, "m": 3}, backend="numba"
    )
    y, z = np.random.default_rng(0).standard_normal((2, 4, 2))
    ends = network(y, z)
    found = network.inverse(*ends)
    assert max(abs(found[0] - y).max(), abs(found[1] - z).max()) <= 1e-12
    assert np.allclose(network.determinants(y, z), 1.0)  # symplectic: they keep volume


def test_a_layer_that_folds_is_no_success(tmp_path):
    """y + h u y with h u = -2 turns the line round: interpolated, and not by a flow."""
    path = tmp_path / "scaling.toml"
    path.write_text(
        'kind = "field"\nname = "scaling"\ntitle = "T"\nreference = "R"\nstate = { y = ["d"] }\n'
        'controls = { u = [] }\nf = "u*y"\n',
        encoding="utf-8",
    )
    network = hf.network(path, "euler", 1, {"d": 1}, backend="numba")
    x = np.array([[1.0], [0.5]])
    found = hf.interpolate(network, x, -2.0 * x, scale=1.0)
    assert found.residual <= 1e-10
    assert found.success == (found.determinant > 0)
    network.controls["u"][...] = -2.0
    read_out = found.objective
    read_out.weights["lambda"][...] = 1.0
    folded = hf.interpolate(network, x, -2.0 * x, read_out, starts=1)
    assert folded.residual <= 1e-12
    assert folded.determinant == -1.0
    assert not folded.success
    assert "layer 0 folds at point 1: det(I + hD) = -1" in folded.message
    with pytest.raises(IntegrationError, match="layer 0 folds at sample 0"):
        network.inverse(network(x))
    network.controls["u"][...] = -1.0
    with pytest.raises(IntegrationError, match="could not be inverted"):
        network.inverse(x)


# --- what is refused --------------------------------------------------------------------------


def test_on_a_line_a_changed_order_is_reached_by_displacements_alone():
    x, y = np.array([[0.0], [0.4], [1.0]]), np.array([[1.0], [0.4], [0.0]])
    network = hf.network("random7", "rk4", 20, {"d": 1}, backend="numba", draw=1)
    with pytest.raises(ValueError, match="points 1 and 2 on a line change their order"):
        hf.interpolate(network, x, y, "state")
    assert (network.controls["u"] == 0).all()  # refused before training
    found = hf.interpolate(network, x, y, "displacement")
    assert found.success, found.message
    assert (np.diff(network(x)[:, 0]) > 0).all()  # the points themselves keep their order
    kept = hf.interpolate(network, x, np.array([[0.1], [0.4], [1.2]]), "state")
    assert kept.success, kept.message


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([[0, 1], [0, 1]], [[0, 0], [1, 0]], {}, "points 1 and 2 are one and have different"),
        ([[0, 1], [1, 1]], [[0, 0], [0, 0]], {"objective": "state"}, "a flow keeps them apart"),
        ([[0, 1]], [[0, 0], [1, 0]], {}, "x has 1 points, and y has 2 targets"),
        ([0, 1], [[0, 0]], {}, "x has the shape \\(2,\\)"),
        ([[0, np.nan]], [[0, 0]], {}, "finite, was expected"),
        ([[0, 1]], [[0, 0, 0]], {}, "is 2 by the points and 3 by the targets"),
        ([[0, 1]], [[0, 1]], {"steps": 3}, "no option 'steps' of interpolate"),
        ([[0, 1]], [[0, 1]], {"tolerance": 0}, "tolerance"),
        ([[0, 1]], [[0, 1]], {"refine": [2, 0]}, "refine = 0: a positive whole number"),
    ],
)
def test_what_cannot_be_is_refused_before_training(x, y, options, message):
    network = hf.network("universal5", "euler", 3, {"d": 2}, backend="numba")
    with pytest.raises(ValueError, match=message):
        hf.interpolate(network, x, y, **options)
    assert (network.controls["u"] == 0).all()


def test_what_was_found_is_printed_in_a_few_lines():
    network, x, y = demo(0, "euler", layers=10, points=2)
    found = hf.interpolate(network, x, y, refine=2)
    lines = [line.split(": ", 1) for line in str(found).splitlines()]
    assert dict((name.strip(), text) for name, text in lines) == {
        name: str(found[name])
        for name in ("message", "success", "residual", "determinant", "refined", "trained_numbers",
                     "start", "nit", "nfev")
    }  # fmt: skip
    assert [*found.refined] == [2]
    assert str(found) == repr(found)


def test_controls_that_take_points_beyond_the_range_of_numbers_are_no_start():
    network, x, y = demo(0, "rk4", layers=10)
    network.controls["u"][...] = 1e9
    with pytest.raises(ValueError, match="beyond the range of numbers: begin with smaller ones"):
        hf.interpolate(network, x, y)


def test_other_losses_and_objects_are_refused():
    network, x, y = demo(0, "euler", layers=2)
    with pytest.raises(ValueError, match=r"is not \|prediction - target\|\^2 / 2"):
        hf.interpolate(network, x, y, hf.objective("softmax_classifier", {"d": 2, "c": 2}, "numba"))
    with pytest.raises(ValueError, match=r"a network was expected that hf\.network has made"):
        hf.interpolate("random7", x, y)
    single = hf.network("random7", "euler", 2, {"d": 2}, backend="numba", dtype=np.float32)
    with pytest.raises(ValueError, match=r"make the network with dtype=float64 .*, not float32"):
        hf.interpolate(single, x, y)


# --- planted faults ---------------------------------------------------------------------------


def test_a_wrong_sign_and_a_forgotten_number_are_seen(monkeypatch):
    """What stops the search where the adjoint is wrong: the residual does not fall to rounding."""
    network, x, y = demo(0, "euler")
    exact = Residuals.jacobian

    def turned(self):
        jacobian = exact(self)
        jacobian[:, : LAYERS * 7 // 2] *= -1
        return jacobian

    monkeypatch.setattr(Residuals, "jacobian", turned)
    assert not hf.interpolate(network, x, y, maxiter=60).success
    monkeypatch.setattr(Residuals, "jacobian", exact)
    values = Residuals.predictions
    monkeypatch.setattr(
        Residuals,
        "predictions",
        lambda self: values(self) / float(self.objective.weights["lambda"]),
    )
    network.controls["u"][...] = 0
    assert not hf.interpolate(network, x, y, maxiter=60).success
