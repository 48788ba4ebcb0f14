"""Time spans, long and tiny; ends that rounding would miss; energies that grow; values between."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.core.errors import IntegrationError
from tests.samples import sampled

#: What a kernel computes is seen as well by its text as Python, but where it is said.
pytestmark = pytest.mark.usefixtures("kernels")


@pytest.fixture
def declared(tmp_path):
    def write(name, text, kind="system"):
        path = tmp_path / f"{name}.toml"
        head = f'kind = "{kind}"\nname = "{name}"\ntitle = "-"\nreference = "-"\n'
        path.write_text(f"{head}{text}\n")
        return path

    return write


def test_robertson_to_the_end(declared):
    """The reference values of Hairer and Wanner's test set at t = 1e11."""
    path = declared(
        "robertson",
        '[equations]\na = "-a/25 + 10**4*b*c"\nb = "a/25 - 10**4*b*c - 3*10**7*b**2"\n'
        'c = "3*10**7*b**2"\n[start]\na = 1\nb = 0\nc = 0',
    )
    solution = hf.integrate(path, "kvaerno43", t_span=(0, 1e11), rtol=1e-6, atol=1e-12)
    reference = [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050]
    assert np.allclose(solution.y[-1], reference, rtol=1e-2, atol=0)


@pytest.mark.parametrize(("rate", "stop"), [("1", 1e3), ("10**20", 1e-17), ("1/10**12", 1e13)])
def test_spans_of_any_length(declared, rate, stop):
    path = declared("fading", f'[equations]\ny = "-{rate}*y"\n[start]\ny = 1')
    times = np.array([stop / 100, stop])
    solution = hf.integrate(
        path, "dormand_prince54", t_span=(0, stop), rtol=1e-8, atol=1e-12, t_eval=times
    )
    exact = np.exp(-times * float(eval(rate)))
    assert np.allclose(solution.y[:, 0], exact, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("h", [0.03, 0.1, 0.01, 0.3])
@pytest.mark.parametrize("every", [1, "all"])
def test_no_stage_is_later_than_the_end(declared, h, every):
    path = declared("root", '[equations]\ny = "sqrt(3/10 - t)"\n[start]\ny = 0')
    count = round(0.3 / h)
    kept = 1 if every == 1 else count
    solution = hf.integrate(path, "rk4", t_span=(0, 0.3), h=h, every=kept)
    assert np.isfinite(solution.y).all()
    assert len(solution.t) == count // kept + 1
    assert abs(solution.y[-1, 0] - 2 / 3 * 0.3**1.5) < 0.05 * h


def test_a_last_step_keeps_its_place_in_an_ensemble(declared):
    path = declared("root", '[equations]\ny = "sqrt(3/10 - t)"\n[start]\ny = 0')
    starts = np.array([[0.0], [1.0]])
    solution = hf.integrate(path, "rk4", starts, (0, 0.3), 0.03, every=10)
    assert solution.y.shape == (2, 2, 1)
    assert np.allclose(solution.y[1, :, 0] - solution.y[0, :, 0], 1.0)


SADDLE = (
    'coordinates = { q = ["q"], p = ["p"] }\nenergy = "p**2/2 - q**2/2"\n[start]\nq = 1\np = "1/2"'
)


@pytest.mark.parametrize("method", ["conformal_leapfrog", "symplectic_euler", "rk4", "gauss2"])
@pytest.mark.parametrize("every", [1, 100])
def test_a_saddle_is_no_jump(declared, method, every):
    path = declared("saddle", SADDLE, "hamiltonian")
    solution = hf.integrate(path, method, t_span=(0, 30), h=0.1, every=every)
    exact = np.cosh(30.0) + np.sinh(30.0) / 2
    assert abs(solution.y[-1, 0] / exact - 1) < 0.1


def test_a_collision_is_still_one():
    with pytest.raises(IntegrationError, match="went over a singularity"):
        hf.integrate("kepler", "rk4", [1.0, 0.0, 0.0, 0.0], (0, 2), h=0.01)


CIRCLE = '[equations]\nx = "y"\ny = "-x"\n[start]\nx = 1\ny = 0'


@pytest.mark.parametrize(
    ("tolerance", "method"),
    sampled(
        itertools.product(
            (1e-6, 1e-12),
            ("dormand_prince54", "dormand_prince87", "fehlberg78", "bogacki_shampine54"),
        ),
        every=3,
    ),
)
def test_values_between_steps_are_as_good_as_those_at_steps(declared, method, tolerance):
    path = declared("circle", CIRCLE)
    times = np.linspace(0, 20, 203)
    between = hf.integrate(
        path, method, t_span=(0, 20), rtol=tolerance, atol=tolerance, t_eval=times
    )
    at_steps = hf.integrate(path, method, t_span=(0, 20), rtol=tolerance, atol=tolerance)
    error = abs(between.y[:, 0] - np.cos(times)).max()
    own = abs(at_steps.y[:, 0] - np.cos(at_steps.t)).max()
    assert error <= 4 * tolerance + 4 * own
    assert between.steps == at_steps.steps


def test_values_asked_for_do_not_change_the_steps(declared):
    path = declared("circle", CIRCLE)
    options = {"t_span": (0, 20), "rtol": 1e-9, "atol": 1e-9}
    few = hf.integrate(path, "dormand_prince87", t_eval=np.array([20.0]), **options)
    many = hf.integrate(path, "dormand_prince87", t_eval=np.linspace(0, 20, 500), **options)
    assert abs(few.y[-1] - many.y[-1]).max() < 1e-13


def test_integers_beyond_64_bits_are_printed_as_floats(declared):
    path = declared("large", '[equations]\ny = "10**25*y/10**26"\nz = "z/10**30"\n'
                    "[start]\ny = 1\nz = 1")  # fmt: skip
    solution = hf.integrate(path, "rk4", t_span=(0, 1), h=0.1)
    assert np.isclose(solution.y[-1, 0], np.exp(0.1), rtol=1e-7)


@pytest.mark.parametrize("method", ["dormand_prince54", "kvaerno43", "taylor"])
@pytest.mark.parametrize(
    "span", [(1.0, np.nextafter(1, 2)), (1.0, np.nextafter(1, 0)), (0.0, 5e-324), (0.0, -1e-300)]
)
def test_a_span_of_one_rounding_is_one_step(method, span):
    solution = hf.integrate("henon_heiles", method, [0.1, 0.0, 0.0, 0.1], span)
    assert solution.t.tolist() == [*span]
    assert np.allclose(solution.y[1], solution.y[0], rtol=1e-15, atol=1e-15)
