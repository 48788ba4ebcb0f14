"""Constrained steps compiled: drift, form, slopes beside an independent solution, errors, torch."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import null_space

import hamilforge as hf
from hamilforge.gen import pipeline, products
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.interpret import IntegratorInterpreter
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.loader import load as load_product
from hamilforge.runtime.integrators.verify_integrator import kernel_step

torch = pytest.importorskip("torch")

EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "integrators.toml").read_text(encoding="utf-8")
)
PAIRS = [pytest.param(*pair, id="-".join(pair)) for pair in EXPECTED["constrained"]["pairs"]]
SPHERE, DAMPED, METHODS = (EXPECTED["constrained"][key] for key in ("sphere", "damped", "methods"))


def violation(found):
    """The largest constraint, and the largest of their rates, along a solution."""
    names = found.product.CONSTRAINTS
    return tuple(
        max(abs(found.invariant(name + suffix)).max() for name in names) for suffix in ("", "_rate")
    )


def interpreter(problem, method):
    declared = products.load_problem(problem)
    integrator = build_integrator(derive_field(declared), products.load_method(method))
    parameters = {entry.name: float(entry.default) for entry in declared.parameters}
    return IntegratorInterpreter(integrator, parameters)


def beside_start(product, machine):
    """A state on the constraints near the declared one."""
    start = np.array(product.START)
    moved = start + 0.05 * np.cos(np.arange(start.size)) * (1 + abs(start))
    return machine.on_constraints(product.START_TIME, moved)


@pytest.mark.parametrize(("problem", "method"), PAIRS)
def test_kernels_modules_and_the_program_in_many_digits_agree(problem, method):
    found = hf.verify(problem, method)
    assert found.holds, str(found)


@pytest.mark.parametrize(("problem", "method"), PAIRS)
def test_steps_that_follow_each_other_are_those_of_the_program(problem, method):
    machine = interpreter(problem, method)
    h, count = 0.03125, 12
    found = hf.integrate(problem, method, t_span=(0, count * h), h=h).y
    y, size = found[0], np.spacing(abs(found).max())
    for n in range(count):
        y = machine.step(n * h, h, y)
        assert abs(found[n + 1] - y).max() < 50 * (n + 1) * size


# --- structure --------------------------------------------------------------------------------


def stretches(energies, count=50):
    """Means over stretches, which take out the method's own bounded oscillation."""
    return energies[1:].reshape(count, -1).mean(axis=1)


def assert_no_drift(steps, h):
    every = steps // 100_000 or 1
    found = hf.integrate(SPHERE, METHODS[0], t_span=(0, steps * h), h=h, every=every)
    assert max(violation(found)) < 4e-15
    means = stretches(found.energy)
    error = abs(found.energy - found.energy[0]).max()
    assert error < 0.1 * h**2
    # the slope of a line through the means, over the whole time, is lost in their scatter
    line = np.polyfit(np.linspace(0, 1, means.size), means, 1)[0]
    assert abs(line) < 0.01 * error


def test_energy_and_constraints_do_not_drift():
    assert_no_drift(100_000, 0.02)


@pytest.mark.full
def test_energy_and_constraints_do_not_drift_for_long():
    assert_no_drift(1_000_000, 0.02)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("problem", "method"), PAIRS)
def test_a_step_scales_the_form_on_the_constraints_by_the_exact_factor(problem, method):
    product = load_product(problem, method).module("numba")
    machine = interpreter(problem, method)
    row = np.array([entry[0] for entry in product.PARAMETERS.values()], float)
    y, h, tiny = beside_start(product, machine), 0.1, 1e-8
    size, count = y.size, len(product.CONSTRAINTS)

    def conditions(state):
        value, slopes = np.zeros(count, state.dtype), np.zeros((count, size), state.dtype)
        rate = np.zeros(size, state.dtype)
        product.constraints(0.0, state, row, value)
        product.constraint_slopes(0.0, state, row, slopes)
        product.velocity(0.0, state, row, 1.0, rate)
        return np.concatenate([value, slopes @ rate])

    def derivative(function):
        moves = y + 1j * tiny * np.eye(size)
        return np.array([function(move).imag / tiny for move in moves]).T

    tangents = null_space(derivative(conditions))
    assert tangents.shape[1] == size - 2 * count
    moved = derivative(lambda state: kernel_step(product, 0.0, h, state, row)) @ tangents
    omega = np.kron([[0, 1], [-1, 0]], np.eye(size // 2))
    factor = product.decay(0.0, h, row) if hasattr(product, "decay") else 1.0
    defect = moved.T @ omega @ moved - factor * tangents.T @ omega @ tangents
    assert abs(defect).max() < 1e-10
    if factor != 1.0:  # what the test would see without
        wrong = moved.T @ omega @ moved - tangents.T @ omega @ tangents
        assert abs(wrong).max() > 1e-4


@pytest.mark.parametrize(("problem", "method"), PAIRS)
def test_a_step_back_undoes_a_step(problem, method):
    there = hf.integrate(problem, method, t_span=(0, 2), h=0.05)
    back = hf.integrate(problem, method, there.y[-1], t_span=(2, 0), h=0.05)
    assert abs(back.y[-1] - there.y[0]).max() < 1e-13


# --- beside an independent solution ------------------------------------------------------------


def in_angles(span, gamma, g):
    """The pendulum in polar and azimuthal angle, by a method of order 8, as points and momenta."""
    theta0, phi0 = np.arccos(-0.8), 0.0
    spin = 1 / 0.6  # the momentum is 1 along y at x = 3/5

    def rates(t, state):
        theta, _, theta_rate, phi_rate = state
        sin, cos = np.sin(theta), np.cos(theta)
        return [
            theta_rate,
            phi_rate,
            sin * cos * phi_rate**2 + g(t) * sin - gamma(t) * theta_rate,
            -2 * cos / sin * theta_rate * phi_rate - gamma(t) * phi_rate,
        ]

    end = solve_ivp(rates, (0, span), [theta0, phi0, 0, spin], "DOP853", rtol=1e-13, atol=1e-14)
    theta, phi, a, b = end.y[:, -1]
    sin, cos = np.sin(theta), np.cos(theta)
    place = [sin * np.cos(phi), sin * np.sin(phi), cos]
    speed = [
        cos * np.cos(phi) * a - sin * np.sin(phi) * b,
        cos * np.sin(phi) * a + sin * np.cos(phi) * b,
        -sin * a,
    ]
    return np.array([*place, *speed])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("problem", [SPHERE, DAMPED])
def test_the_slope_of_the_error_is_the_proved_order(problem, method):
    order = pipeline.check(products.load_method(method))["order"]
    product = load_product(problem, method).module("numba")
    values = {name: entry[0] for name, entry in product.PARAMETERS.items()}
    exact = in_angles(2.0, lambda t: values.get("gamma", 0.0), lambda t: values["g"])
    assert_slope(problem, method, order, exact)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", METHODS)
def test_gravity_and_friction_may_depend_on_time(tmp_path, method):
    path = tmp_path / "driven.toml"
    path.write_text(
        'kind = "hamiltonian"\nname = "driven"\ntitle = "t"\nreference = "r"\n'
        'coordinates = { q = ["x", "y", "z"], p = ["u", "v", "w"] }\n'
        'energy = "(u**2 + v**2 + w**2)/2 + (1 + cos(2*t)/2)*z"\nfriction = "1/(2 + t)"\n'
        '[constraints]\nrod = "x**2 + y**2 + z**2 - 1"\n'
        '[start]\nx = "3/5"\ny = 0\nz = "-4/5"\nu = 0\nv = 1\nw = 0\n'
    )
    product = load_product(path, method).module("numba")
    machine = interpreter(path, method)
    y = np.array(product.START)
    stepped = kernel_step(product, 0.5, 0.1, y, np.zeros(0))
    wanted = machine.step(0.5, 0.1, y)
    assert abs(stepped - wanted).max() < 1e-15
    flow = hf.flow(path, method, h=0.1, steps=1, t0=0.5)
    assert abs(flow(torch.from_numpy(y)).numpy() - wanted).max() < 1e-15
    exact = in_angles(2.0, lambda t: 1 / (2 + t), lambda t: 1 + np.cos(2 * t) / 2)
    assert_slope(path, method, pipeline.check(products.load_method(method))["order"], exact)


def assert_slope(problem, method, order, exact):
    """That errors at time 2 fall by the order."""
    errors = [
        abs(hf.integrate(problem, method, t_span=(0, 2), h=2 / 2**k).y[-1] - exact).max()
        for k in range(5, 9)
    ]
    slopes = [np.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert abs(slopes[-1] - order) < 0.1, (order, slopes)
    assert abs(slopes[-2] - order) < 0.2, (order, slopes)


@pytest.mark.usefixtures("kernels")
def test_a_rigid_body_turns_as_eulers_equations_say():
    problem, method = EXPECTED["constrained"]["top"], METHODS[1]
    found = hf.integrate(problem, method, t_span=(0, 4), h=0.02)
    d = np.array([1.5, 1.0, 0.5])
    inertia = d.sum() - d

    def spins(states):
        """Angular velocities in the body, from r' dr/dt."""
        r, p = states[:9].reshape(3, 3), states[9:].reshape(3, 3)
        turn = r.T @ (p / d)
        return np.array([turn[2, 1], turn[0, 2], turn[1, 0]])

    def euler(_, w):
        return np.cross(inertia * w, w) / inertia

    wanted = solve_ivp(euler, (0, 4), spins(found.y[0]), "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    assert abs(spins(found.y[-1]) - wanted).max() < 1e-6
    assert max(violation(found)) < 1e-14
    assert abs(found.energy - found.energy[0]).max() < 1e-14
    for name in ("momentum_x", "momentum_y", "momentum_z"):
        along = found.invariant(name)
        assert abs(along - along[0]).max() < 1e-14


def test_an_ensemble_is_its_trajectories_bit_by_bit_and_where_a_run_is_cut_does_not_matter():
    machine = interpreter(SPHERE, METHODS[0])
    generator = np.random.default_rng(3)
    start = np.array(load_product(SPHERE, METHODS[0]).module("numba").START)
    starts = np.array(
        [machine.on_constraints(0.0, start + 0.2 * generator.standard_normal(6)) for _ in range(4)]
    )
    together = hf.integrate(SPHERE, METHODS[0], starts, (0, 60), 0.02, every=10)
    for one, states in zip(starts, together.y, strict=True):
        alone = hf.integrate(SPHERE, METHODS[0], one, (0, 60), 0.02, every=10)
        assert (alone.y == states).all()


# --- errors ------------------------------------------------------------------------------------


def integrated(y0=None, h=0.1, problem=SPHERE, **options):
    return hf.integrate(problem, METHODS[0], y0, (0, 1), h, **options)


@pytest.mark.parametrize(
    ("y0", "message"),
    [
        ([1, 0, 0.001, 0, 1, 0], r"off the constraint rod by 1e-06, and at most 1e-10"),
        ([2, 0, 0, 0, 1, 0], r"off the constraint rod by 3,"),
        (
            [1, 0, 0, 0.25, 1, 0],
            r"leads off the constraint rod: its derivative by the time is 0\.5",
        ),
        (
            [1, 0, 0, 1e-9, 1, 0],
            r"leads off the constraint rod: its derivative by the time is 2e-09",
        ),
        ([0, 0, 0, 0, 1, 0], r"off the constraint rod by 1,"),
    ],
)
def test_a_start_off_the_constraints_says_how_far(y0, message):
    with pytest.raises(ValueError, match=message):
        integrated(y0)
    with pytest.raises(ValueError, match=message + r".*\(trajectory 1\)"):
        integrated([[1, 0, 0, 0, 1, 0], y0])


def test_a_start_within_rounding_is_taken():
    integrated([1, 0, 1e-6, 1e-12, 1, 0])


def declared(folder, constraints):
    path = folder / "mine.toml"
    path.write_text(
        'kind = "hamiltonian"\nname = "mine"\ntitle = "t"\nreference = "r"\n'
        'coordinates = { q = ["x", "y", "z"], p = ["u", "v", "w"] }\n'
        f'energy = "(u**2 + v**2 + w**2)/2"\n[constraints]\n{constraints}\n'
        "[start]\nx = 1\ny = 0\nz = 0\nu = 0\nv = 1\nw = 0\n"
    )
    return path


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    "constraints",
    [
        'a = "x**2 + y**2 + z**2 - 1"\nb = "2*x**2 + 2*y**2 + 2*z**2 - 2"',
        'a = "(x**2 + y**2 + z**2 - 1)**2"',
    ],
)
def test_dependent_constraints_are_refused(tmp_path, constraints):
    with pytest.raises(ValueError, match="are dependent at the start"):
        integrated(problem=declared(tmp_path, constraints))


def test_steps_that_are_too_large_are_an_error_with_what_came_before():
    start = [1, 0, 0, 0, 0.9, 0]
    assert len(integrated(start, 0.5).t) == 3
    faster = [1, 0, 0, 0, 5, 0]
    with pytest.raises(IntegrationError, match=r"step 0 of .* at t = 0 with h = 0\.5: ") as caught:
        integrated(faster, 0.5)
    message = str(caught.value)
    assert "the constraints rod could not be met" in message
    assert "try a smaller step h" in message
    assert (caught.value.solution.y == [faster]).all()
    # gravity makes it fast enough on the way down
    top = [0, 0, 1, 1e-3, 0, 0]
    with pytest.raises(IntegrationError, match="could not be met") as caught:
        hf.integrate(SPHERE, METHODS[0], top, (0, 40), 0.8)
    kept = caught.value.solution
    assert 1 < len(kept.t) == caught.value.step + 1
    assert max(violation(kept)) < 1e-14


def test_steps_follow_no_estimate_and_states_are_kept_at_steps():
    with pytest.raises(ValueError, match="needs a fixed step h"):
        hf.integrate(SPHERE, METHODS[0], t_span=(0, 1))
    with pytest.raises(ValueError, match="give every instead"):
        integrated(t_eval=[0.5])


# --- torch -------------------------------------------------------------------------------------


def loss_of(states):
    weights = torch.cos(torch.arange(states.numel(), dtype=states.dtype)).reshape(states.shape)
    return (weights * states).sum()


@pytest.mark.parametrize(("problem", "method"), PAIRS)
def test_the_discrete_adjoint_is_the_derivative(problem, method, monkeypatch):
    product = load_product(problem, method).module("numba")
    names = tuple(product.PARAMETERS)
    flow = hf.flow(problem, method, h=0.05, steps=3, every=1, trainable=names)
    # a step has a meaning off the constraints too, where differences lead
    monkeypatch.setattr(flow, "_refuse_start", lambda y0: None)
    beside = beside_start(product, interpreter(problem, method))
    state = torch.from_numpy(np.stack([np.array(product.START), beside])).requires_grad_()
    loss_of(flow(state)).backward()

    def value(moved):
        with torch.no_grad():
            return float(loss_of(flow(moved)))

    size = max(float(state.grad.abs().max()), 1)
    for i in range(state.shape[1]):
        move = torch.zeros_like(state)
        move[1, i] = 1e-6
        slope = (value(state + move) - value(state - move)) / 2e-6
        assert abs(slope - float(state.grad[1, i])) < 5e-8 * size
    for name in names:
        parameter = getattr(flow, f"parameter_{name}")
        kept, ends = parameter.item(), []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.fill_(kept + sign * 1e-6)
            ends.append(value(state))
        with torch.no_grad():
            parameter.fill_(kept)
        assert abs((ends[0] - ends[1]) / 2e-6 - float(parameter.grad)) < 5e-8 * size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_modules_keep_the_constraints_in_their_precision(dtype):
    flow = hf.flow(SPHERE, METHODS[0], h=0.02, steps=200, every=1)
    start = torch.tensor([[0.6, 0, -0.8, 0, 1, 0], [1, 0, 0, 0, 0.5, 0.5]], dtype=dtype)
    states = flow(start)
    assert states.dtype == dtype
    place, momentum = states[..., :3], states[..., 3:]
    room = 16 * torch.finfo(dtype).eps
    assert float((place.square().sum(-1) - 1).abs().max()) < room
    assert float((place * momentum).sum(-1).abs().max()) < room


def test_modules_take_part_in_transforms():
    flow = hf.flow(SPHERE, METHODS[0], h=0.1, steps=3)
    start = torch.tensor([[0.6, 0, -0.8, 0, 1, 0], [1, 0, 0, 0, 0.5, 0.5]], dtype=torch.float64)
    assert torch.equal(torch.func.vmap(flow)(start), flow(start))
    one = start.clone().requires_grad_()
    loss_of(flow(one)).backward()
    slopes = torch.func.grad(lambda y: loss_of(flow(y)))(start)
    assert float((slopes - one.grad).abs().max()) < 1e-14


def test_modules_refuse_starts_and_steps_alike():
    flow = hf.flow(SPHERE, METHODS[0], h=0.5, steps=4)
    with pytest.raises(ValueError, match="off the constraint rod by 3,"):
        flow(torch.tensor([2.0, 0, 0, 0, 1, 0]))
    with pytest.raises(ValueError, match="leads off the constraint rod"):
        flow(torch.tensor([[1.0, 0, 0, 0.25, 1, 0]]))
    with pytest.raises(IntegrationError, match=r"step 0 of .*constraints .*smaller step"):
        flow(torch.tensor([[1.0, 0, 0, 0, 5, 0]]))


LARGE = """kind = "hamiltonian"
name = "large"
title = "A pendulum of ten kilometres, in metres"
reference = "none"
coordinates = { q = ["x", "y"], p = ["px", "py"] }
energy = "(px**2 + py**2)/(2*m) + 10*m*y"
[constraints]
rod = "x**2 + y**2 - 10**8"
[parameters]
m = { default = 1, domain = "positive" }
[start]
x = 6000
y = -8000
px = 0
py = 0
"""


@pytest.mark.usefixtures("kernels")
def test_rounding_in_large_units_is_no_reason_against_a_start(tmp_path):
    path = tmp_path / "large.toml"
    path.write_text(LARGE)
    for angle in np.linspace(0.1, 3, 12):
        start = {"x": 1e4 * np.cos(angle), "y": -1e4 * np.sin(angle), "px": 0.0, "py": 0.0}
        sol = hf.integrate(path, "rattle", t_span=(0, 1), h=0.1, y0=start)
        hf.integrate(path, "rattle", t_span=(0, 1), h=0.1, y0=sol.y[-1])
    with pytest.raises(ValueError, match="off the constraint rod by"):
        hf.integrate(path, "rattle", t_span=(0, 1), h=0.1, y0={**start, "x": start["x"] + 1e-6})


@pytest.mark.usefixtures("kernels")
def test_a_small_determinant_is_no_fold(tmp_path):
    """In float32 that of two constraints on heavy bodies is below the numbers of the type."""
    torch = pytest.importorskip("torch")
    path = tmp_path / "heavy.toml"
    path.write_text(
        LARGE.replace('"x", "y"]', '"x", "y", "z"]')
        .replace('"px", "py"]', '"px", "py", "pz"]')
        .replace('10**8"', '1"\nplane = "z"')
        .replace("6000", "0.6")
        .replace("-8000", "-0.8\nz = 0\npz = 0")
        .replace("py**2)", "py**2 + pz**2)")
    )
    masses = {"m": 1e24}
    flow = hf.flow(path, "rattle", h=0.01, steps=3, parameters=masses)
    state = torch.tensor([0.6, -0.8, 0.0, 0.0, 0.0, 0.0], dtype=torch.float32)
    expected = hf.integrate(path, "rattle", t_span=(0, 0.03), h=0.01, parameters=masses).y[-1]
    assert np.allclose(flow(state).detach().numpy()[-6:].ravel()[:3], expected[:3], atol=1e-6)
