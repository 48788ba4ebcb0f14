"""Compiled integrators: structure, energy, adaptive steps, errors, torch."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.emit.numba.integrators import storage
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.interpret import IntegratorInterpreter
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.loader import load as load_product
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.solution import Solution
from hamilforge.runtime.integrators.verify_integrator import kernel_step
from tests.interpreted import as_python, of_the_runtime
from tests.samples import sampled

EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "integrators.toml").read_text(encoding="utf-8")
)


def named(pairs):
    return [pytest.param(*pair, id="-".join(pair)) for pair in pairs]


def parameters_of(product):
    return np.array([entry[0] for entry in product.PARAMETERS.values()], float)


def beside_start(product):
    start = np.array(product.START)
    return start + 0.05 * np.cos(np.arange(start.size)) * (1 + abs(start))


@pytest.mark.parametrize(
    ("problem", "method"), sampled(map(tuple, EXPECTED["verified"]["pairs"]), every=2)
)
def test_kernels_modules_and_the_interpretation_agree(problem, method):
    found = hf.verify(problem, method)
    assert found.holds, str(found)


def ends_of(made, most, monkeypatch):
    """What a kernel, run as Python, leaves after stretches that follow each other."""
    monkeypatch.setattr(storage, "_MOST_NAMES", most)
    (text,) = (text for name, text in pipeline.generate(made).items() if "numba" in name)
    assert ("y_0, low_0 = " in text) == (most > 0)
    product, ends = as_python(text, "kernel"), []
    for h in (0.1, 0.0, 3.0):
        y, low = np.array(product.START), np.zeros(product.SIZE)
        room = Workspace.of(product, 1)
        work = (room.rows[0], room.square[0], room.slopes[0], room.flags[0])
        for first in (0, 7):
            out = np.zeros((7, product.SIZE))
            with np.errstate(all="ignore"):
                done = product.trajectory(0.0, h, first, 7, 1, y, low, (), *work, out)
            ends.append((y.tolist(), low.tolist(), out.tolist(), done, room.flags[0, 1]))
    return repr(ends)


@pytest.mark.parametrize("method", ["yoshida6", "rk4", "gauss2", "crouzeix3"])
def test_numbers_in_variables_and_in_arrays_are_the_same(method, monkeypatch):
    # a long step leads Newton's method in, and second stretches go on from what the first have left
    made = products.load_made("henon_heiles", method)
    assert ends_of(made, 64, monkeypatch) == ends_of(made, 0, monkeypatch)


@pytest.mark.parametrize("method", ["rk4", "gauss2"])
def test_a_state_of_one_number_is_the_same_in_a_variable(method, monkeypatch, tmp_path):
    path = tmp_path / "alone.toml"
    path.write_text(
        'kind = "system"\nname = "alone"\ntitle = "One component"\nreference = "none"\n'
        '[equations]\ny_0 = "cos(3*y_0) - y_0"\n[start]\ny_0 = 1\n'
    )
    made = products.load_made(path, method)
    assert ends_of(made, 64, monkeypatch) == ends_of(made, 0, monkeypatch)


@pytest.mark.parametrize("most", [64, 0])
def test_a_solve_that_meets_infinity_has_failed(most, monkeypatch, tmp_path):
    path = tmp_path / "blow_up.toml"
    path.write_text(
        'kind = "system"\nname = "blow_up"\ntitle = "It grows without bound"\nreference = "none"\n'
        '[equations]\ny = "y**3"\n[start]\ny = 1\n'
    )
    monkeypatch.setattr(storage, "_MOST_NAMES", most)
    texts = pipeline.generate(products.load_made(path, "gauss2"))
    product = as_python(next(text for name, text in texts.items() if "numba" in name), "kernel")
    room = Workspace.of(product, 1)
    work = (room.rows[0], room.square[0], room.slopes[0], room.flags[0])
    with np.errstate(all="ignore"):
        done, residual, _ = product.trajectory(
            0.0, 0.5, 0, 3, 4, np.array([1e160]), np.zeros(1), (), *work, np.zeros((0, 1))
        )
    assert done == 0
    assert residual != 0.0


@pytest.mark.parametrize(
    ("problem", "method"), sampled(map(tuple, EXPECTED["verified"]["pairs"]), every=2, first=1)
)
def test_steps_that_follow_each_other_are_those_of_the_interpretation(problem, method):
    # what a kernel keeps from step to step (stages, forces, first guesses) changes nothing
    product = load_product(problem, method).module("numba")
    declared = products.load_problem(problem)
    integrator = build_integrator(derive_field(declared), products.load_method(method))
    machine = IntegratorInterpreter(
        integrator, {entry.name: float(entry.default) for entry in declared.parameters}
    )
    y, h, count = np.array(product.START), 0.03125, 12
    t = product.START_TIME
    found = hf.integrate(problem, method, None, (t, t + count * h), h).y
    size = np.spacing(abs(found).max())
    for n in range(count):
        y = machine.step(t + n * h, h, y)
        assert abs(found[n + 1] - y).max() < 200 * (n + 1) * size


def fits(problem, method):
    """Whether the method can integrate the problem; the reasons it may give are few."""
    try:
        build_integrator(derive_field(products.load_problem(problem)), products.load_method(method))
    except DeclarationError as error:
        if not any(reason in str(error) for reason in EXPECTED["full"]["reasons"]):
            raise
        return False
    return True


@pytest.mark.full
@pytest.mark.parametrize("method", EXPECTED["slopes"]["methods"])
@pytest.mark.parametrize("problem", EXPECTED["full"]["problems"])
def test_every_method_compiled_for_every_problem_is_the_interpretation(problem, method):
    if fits(problem, method):
        found = hf.verify(problem, method)
        assert found.holds, str(found)


@pytest.mark.full
@pytest.mark.parametrize("method", catalogue.names("runge-kutta"))
def test_every_tableau_compiled_is_the_interpretation(method):
    found = hf.verify("harmonic_oscillator", method)
    assert found.holds, str(found)


def test_a_stiff_problem_is_solved_or_refused_never_solved_wrongly(tmp_path):
    path = tmp_path / "robertson.toml"
    path.write_text(
        'kind = "system"\nname = "robertson"\ntitle = "Robertson"\nreference = "1966"\n'
        '[equations]\na = "-a/25 + 10000*b*c"\nb = "a/25 - 10000*b*c - 3e7*b**2"\nc = "3e7*b**2"\n'
        "[start]\na = 1\nb = 0\nc = 0\n"
    )
    wanted = [0.71582707, 9.1855348e-06, 0.28416375]
    solved = 0
    for h in (0.01, 0.05, 0.1, 0.2, 0.5, 1, 2):
        try:
            found = hf.integrate(path, "radau_iia3", t_span=(0, 40), h=h).y[-1]
        except IntegrationError:
            continue
        solved += 1
        assert abs(found - wanted).max() < 1e-5
    assert solved >= 5


# --- structure --------------------------------------------------------------------------------


def omega(size):
    half = size // 2
    matrix = np.zeros((size, size))
    matrix[:half, half:], matrix[half:, :half] = np.eye(half), -np.eye(half)
    return matrix


def jacobian_by_complex_step(product, t, h, y):
    row, tiny = parameters_of(product), 1e-8
    columns = []
    for i in range(y.size):
        moved = y.astype(complex)
        moved[i] += 1j * tiny
        columns.append(kernel_step(product, t, h, moved, row).imag / tiny)
    return np.array(columns).T


def jacobian_by_differences(product, t, h, y):
    row, move = parameters_of(product), 1e-3
    columns = []
    for i in range(y.size):
        unit = move * np.eye(y.size)[i]
        one, two = (
            (
                kernel_step(product, t, h, y + k * unit, row)
                - kernel_step(product, t, h, y - k * unit, row)
            )
            / (2 * k * move)
            for k in (1, 2)
        )
        columns.append((4 * one - two) / 3)
    return np.array(columns).T


def form_defect(jacobian, factor):
    matrix = omega(len(jacobian))
    return abs(jacobian.T @ matrix @ jacobian - factor * matrix).max()


def exact_factor(product, t, h):
    if not hasattr(product, "decay"):
        return 1.0
    return product.decay(t, t + h, parameters_of(product))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("problem", "method"), named(EXPECTED["symplectic"]["pairs"]))
def test_a_step_scales_the_symplectic_form_by_the_exact_factor(problem, method):
    product = load_product(problem, method).module("numba")
    t, h, y = product.START_TIME + 0.3, 0.1, beside_start(product)
    factor = exact_factor(product, t, h)
    assert form_defect(jacobian_by_complex_step(product, t, h, y), factor) < 1e-12
    assert form_defect(jacobian_by_differences(product, t, h, y), factor) < 1e-9


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("problem", "method"), named(EXPECTED["symplectic"]["not_symplectic"]))
def test_the_test_of_symplecticity_fails_where_it_should(problem, method):
    product = load_product(problem, method).module("numba")
    y = beside_start(product)
    assert form_defect(jacobian_by_complex_step(product, 0.0, 0.1, y), 1.0) > 1e-9


@pytest.mark.full
@pytest.mark.parametrize(
    "case", EXPECTED["brouwer"]["cases"], ids=lambda case: f"{case['problem']}-{case['method']}"
)
def test_rounding_errors_of_the_energy_are_a_random_walk(case):
    # Brouwer's law; energies are averaged over stretches, which takes out the method's own bounded
    # oscillation and the rounding of H itself
    product = load_product(case["problem"], case["method"]).module("numba")
    generator = np.random.default_rng(1)
    shape = (EXPECTED["brouwer"]["trajectories"], len(product.START))
    start = np.array(product.START) + case["apart"] * generator.standard_normal(shape)
    span = (0.0, case["steps"] * case["h"])
    found = hf.integrate(
        case["problem"], case["method"], start, span, case["h"], every=case["every"]
    )
    means = found.energy[:, 1:].reshape(shape[0], -1, 250).mean(axis=-1)
    moved = means[:, -1] - means[:, 0]
    assert abs(moved.mean()) < 3 * moved.std(ddof=1) / np.sqrt(moved.size)
    count = means.shape[1]
    lags = np.arange(count // 10, count // 3 + 1)
    spread = [np.sqrt(np.mean((means[:, lag:] - means[:, :-lag]) ** 2)) for lag in lags]
    exponent = np.polyfit(np.log(lags), np.log(spread), 1)[0]
    assert abs(exponent - 0.5) < 0.1


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(("problem", "method"), named(EXPECTED["energy"]["pairs"]))
@pytest.mark.parametrize("h", EXPECTED["energy"]["steps"])
def test_the_energy_identity_of_a_discrete_gradient_holds_at_any_step(problem, method, h):
    product = load_product(problem, method).module("numba")
    row = parameters_of(product)
    y = np.array(product.START)
    for n in range(5):
        t = product.START_TIME + n * h
        after = kernel_step(product, t, h, y, row)
        change = product.energy(t, after, row) - product.energy(t, y, row)
        taken = 0.0
        if hasattr(product, "friction"):  # gamma times the mean p, times the way
            half = y.size // 2
            mean = (y[half:] + after[half:]) / 2
            taken = product.friction(t + h / 2, row) * (mean @ (after[:half] - y[:half]))
        size = product.energy_size(t, y, row) + product.energy_size(t, after, row)
        assert abs(change + taken) < 1e-13 * max(size, 1)
        y = after


# --- runs -------------------------------------------------------------------------------------


def test_an_ensemble_is_its_trajectories_bit_by_bit():
    generator = np.random.default_rng(4)
    for method in ("gauss2", "rk4", "yoshida6"):
        starts = 0.1 * generator.standard_normal((5, 4))
        together = hf.integrate("henon_heiles", method, starts, (0, 10), 0.1, every=10)
        for start, states in zip(starts, together.y, strict=True):
            alone = hf.integrate("henon_heiles", method, start, (0, 10), 0.1, every=10)
            assert (alone.y == states).all()


def test_a_trajectory_does_not_depend_on_where_it_is_cut():
    product = load_product("henon_heiles", "gauss2").module("numba")
    ends = []
    for pieces in ([40], [1, 2, 30, 7]):
        y, low, room = np.array(product.START), np.zeros(4), Workspace.of(product, 1)
        first = 0
        for count in pieces:
            product.trajectory(
                0.0, 0.1, first, count, count, y, low, np.zeros(0), room.rows[0], room.square[0],
                room.slopes[0], room.flags[0], np.empty((count, 4)),
            )  # fmt: skip
            first += count
        ends.append(y)
    assert (ends[0] == ends[1]).all()


def test_adaptive_steps_keep_to_their_tolerance_and_dense_output_to_the_solution():
    from scipy.integrate import solve_ivp

    def field(_, y):
        cubed = (y[0] ** 2 + y[1] ** 2) ** 1.5
        return [y[2], y[3], -y[0] / cubed, -y[1] / cubed]

    times = np.linspace(0, 10, 41)
    exact = solve_ivp(field, (0, 10), [0.4, 0, 0, 2], "DOP853", times, rtol=1e-13, atol=1e-14).y.T
    errors = []
    for tolerance in (1e-5, 1e-7, 1e-9):
        found = hf.integrate(
            "kepler",
            "dormand_prince54",
            t_span=(0, 10),
            rtol=tolerance,
            atol=tolerance,
            t_eval=times,
        )
        assert (found.t == times).all()
        errors.append(abs(found.y - exact).max())
    assert errors[0] < 0.1
    assert errors[1] < errors[0] / 20
    assert errors[2] < errors[1] / 20
    back = hf.integrate("kepler", "dormand_prince54", exact[-1], (10, 0), rtol=1e-10, atol=1e-12)
    assert abs(back.y[-1] - [0.4, 0, 0, 2]).max() < 1e-6


@pytest.mark.usefixtures("kernels")
def test_dense_output_and_adaptive_steps_carry_the_friction():
    times = np.linspace(0, 10, 21)
    fine = hf.integrate("damped_pendulum", "gauss2", t_span=(0, 10), h=0.01, every=50).y
    for method in ("dormand_prince54", "kvaerno43"):
        found = hf.integrate(
            "damped_pendulum", method, t_span=(0, 10), rtol=1e-9, atol=1e-11, t_eval=times
        )
        assert abs(found.y - fine).max() < 1e-6


@pytest.mark.usefixtures("kernels")
def test_fixed_steps_run_backwards_too():
    there = hf.integrate("kepler", "conformal_leapfrog", t_span=(0, 5), h=0.01)
    back = hf.integrate("kepler", "conformal_leapfrog", there.y[-1], (5, 0), 0.01)
    assert abs(back.y[-1] - there.y[0]).max() < 1e-13


@pytest.mark.usefixtures("kernels")
def test_a_solution_survives_its_file(tmp_path):
    found = hf.integrate("damped_pendulum", "gauss2", t_span=(0, 1), h=0.1)
    path = found.save(tmp_path / "run")
    again = Solution.read(path)
    assert path.suffix == ".npz"
    assert (again.t == found.t).all()
    assert (again.y == found.y).all()
    assert again.components == found.components
    assert float(again.parameters["gamma"]) == 0.1
    assert (again["q"] == found["q"]).all()
    assert (again.energy == found.energy).all()
    with pytest.raises(KeyError, match="there are q, p"):
        found["x"]


@pytest.mark.usefixtures("kernels")
def test_parameters_and_starts_can_be_given_by_name_or_for_each_trajectory():
    gammas = np.array([0.0, 0.1, 0.5])
    found = hf.integrate(
        "damped_pendulum",
        "gauss2",
        {"q": 1.0, "p": 0.0},
        (0, 10),
        0.1,
        parameters={"gamma": gammas},
    )
    assert found.y.shape == (3, 101, 2)
    assert abs(found.energy[0] - found.energy[0, 0]).max() < 1e-6
    assert found.energy[2, -1] < found.energy[1, -1] < found.energy[0, -1]


COLLISION = [1.0, 0.0, 0.0, 0.0]


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("rk4", {"h": 0.01}, "went over a singularity"),
        ("conformal_leapfrog", {"h": 0.01}, "went over a singularity"),
        ("gauss2", {"h": 0.01}, "did not converge"),
        ("dormand_prince54", {}, "step size fell to"),
    ],
)
def test_a_collision_is_an_error_with_time_step_residual_and_advice(method, options, message):
    with pytest.raises(IntegrationError, match=message) as caught:
        hf.integrate("kepler", method, COLLISION, (0, 2), **options)
    error = caught.value
    assert 1.0 < error.t < 1.3
    assert error.step > 0
    assert error.solution.t[-1] <= error.t
    assert np.isfinite(error.solution.y).all()


@pytest.mark.usefixtures("kernels")
def test_what_becomes_infinite_is_an_error():
    with pytest.raises(IntegrationError, match="no longer finite"):
        hf.integrate("blow_up", "rk4", [1.0], (0, 2), 0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"h": 0.3}, r"3\.33333 steps of h = 0\.3, not a whole number; h = 0\.25 fits"),
        ({"h": -0.1}, "positive step"),
        ({"h": 0.1, "rtol": 1e-6}, "exclude each other"),
        ({"h": 0.1, "t_eval": [0.5]}, "give every instead"),
        ({"h": 0.1, "every": 0}, "positive whole number"),
        ({"h": 0.1, "every": 11}, "more than the 10 steps"),
        ({"h": 0.1, "y0": [1, 2, 3]}, "shape"),
        ({"h": 0.1, "y0": [1, 2, 3, float("nan")]}, "NaN"),
        ({"h": 0.1, "y0": {"x": 1}}, "all of the components are needed: x, y, px, py"),
        ({"h": 0.1, "parameters": {"m": 1}}, "no parameter 'm'"),
        ({"h": 0.1, "t_span": (1, 1)}, "two different"),
        ({"rtol": 0}, "positive number"),
        ({"t_eval": [2.0]}, "beyond t_span"),
        ({"t_eval": [0.5, 0.1]}, "in the order"),
        ({"y0": np.ones((2, 4))}, "give t_eval for an ensemble"),
    ],
)
def test_bad_arguments_say_what_was_expected(arguments, message):
    arguments = {"t_span": (0, 1), **arguments}
    with pytest.raises(ValueError, match=message):
        hf.integrate("kepler", "dormand_prince54", **arguments)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("gauss2", "a symplectic method loses"),
        ("rk4", "no embedded weights b_hat"),
        ("conformal_leapfrog", "a symplectic method loses"),
    ],
)
def test_adaptive_steps_are_refused_with_the_reason(method, message):
    with pytest.raises(ValueError, match=message):
        hf.integrate("henon_heiles", method, t_span=(0, 1))


def test_a_parameter_outside_its_domain_is_refused():
    with pytest.raises(ValueError, match=r"gamma = -1\.0 is outside"):
        hf.integrate("damped_pendulum", "gauss2", t_span=(0, 1), h=0.1, parameters={"gamma": -1})


# --- torch ------------------------------------------------------------------------------------

torch = pytest.importorskip("torch")


def loss_of(states):
    weights = torch.cos(torch.arange(states.numel(), dtype=states.dtype)).reshape(states.shape)
    return (weights * states).sum()


@pytest.mark.parametrize(("problem", "method"), named(EXPECTED["verified"]["pairs"]))
def test_the_discrete_adjoint_is_the_derivative(problem, method):
    product = load_product(problem, method).module("numba")
    names = tuple(product.PARAMETERS)
    flow = hf.flow(problem, method, h=0.05, steps=3, every=1, trainable=names)
    flow.double()
    state = torch.from_numpy(np.stack([np.array(product.START), beside_start(product)]))
    state.requires_grad_()
    loss_of(flow(state)).backward()

    def value(moved):
        with torch.no_grad():
            return float(loss_of(flow(moved)))

    size = float(state.grad.abs().max())
    for i in range(state.shape[1]):
        move = torch.zeros_like(state)
        move[1, i] = 1e-6
        slope = (value(state + move) - value(state - move)) / 2e-6
        assert abs(slope - float(state.grad[1, i])) < 5e-8 * max(size, 1)
    for name in names:
        parameter = getattr(flow, f"parameter_{name}")
        found, kept = float(parameter.grad), parameter.item()
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.fill_(kept + sign * 1e-6)
            ends.append(value(state))
        with torch.no_grad():
            parameter.fill_(kept)
        assert abs((ends[0] - ends[1]) / 2e-6 - found) < 5e-8 * max(abs(found), size, 1)


@pytest.mark.parametrize(
    ("problem", "method"),
    named(
        [
            ["kepler", "rk4"],
            ["henon_heiles", "yoshida6"],
            ["driven_pendulum", "stormer_verlet_pair"],
        ]
    ),
)
def test_the_adjoint_is_what_autograd_finds_through_the_same_steps(problem, method):
    product = load_product(problem, method).module("numba")
    flow = hf.flow(problem, method, h=0.05, steps=6)
    start = torch.from_numpy(beside_start(product))[None]
    one, two = (start.clone().requires_grad_() for _ in range(2))
    loss_of(flow(one)).backward()
    values = [getattr(flow, f"parameter_{name}") for name in product.PARAMETERS]
    y = two
    for n in range(6):
        y = flow.step(torch.tensor(flow.t0 + n * 0.05, dtype=torch.float64), y, values)
    loss_of(y).backward()
    assert float((one.grad - two.grad).abs().max()) < 1e-13 * float(two.grad.abs().max())


def test_a_flow_takes_single_precision_and_single_states_and_refuses_the_rest():
    flow = hf.flow("kepler", "rk4", h=0.05, steps=4)
    single = flow(torch.tensor([0.4, 0.0, 0.0, 2.0]))
    assert single.dtype == torch.float32
    assert single.shape == (4,)
    exact = hf.integrate("kepler", "rk4", t_span=(0, 0.2), h=0.05).y[-1]
    assert abs(single.numpy() - exact).max() < 1e-5
    with pytest.raises(ValueError, match=r"\(batch, 4\)"):
        flow(torch.zeros(3))
    with pytest.raises(ValueError, match="no parameter 'm'"):
        hf.flow("kepler", "rk4", h=0.05, steps=4, trainable=("m",))
    with pytest.raises(ValueError, match="positive whole number"):
        hf.flow("kepler", "rk4", h=0.05, steps=0)
    with pytest.raises(IntegrationError, match="no longer finite"):
        hf.flow("blow_up", "rk4", h=0.1, steps=40)(torch.tensor([[1.0]], dtype=torch.float64))


def test_gradients_of_gradients_are_refused():
    flow = hf.flow("kepler", "rk4", h=0.05, steps=2)
    y = torch.tensor([[0.4, 0.0, 0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="gradients of gradients"):
        torch.autograd.grad(flow(y).sum(), y, create_graph=True)


@pytest.mark.parametrize("problem", ["kepler", "toda_lattice"])
def test_components_of_a_start_have_as_many_trajectories(problem: str) -> None:
    names = {"kepler": ("x", "y", "px", "py"), "toda_lattice": ("x", "p")}[problem]
    width = () if problem == "kepler" else (32,)
    start = {name: np.ones((2 + (name == names[0]), *width)) for name in names}
    with pytest.raises(ValueError, match=r"different numbers of trajectories: \w+ \(3,"):
        hf.integrate(problem, "yoshida4", start, t_span=(0, 1), h=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_what_an_addition_rounds_away_is_carried_along(seed):
    added = of_the_runtime("core", "compensation").added
    generator = np.random.default_rng(seed)
    value, low = 1.0, 0.0
    exact = Fraction(1)
    for change in generator.uniform(-1e-9, 2e-9, 2000).tolist():
        value, low = added(value, low, change)
        exact += Fraction(change)
        assert value + low == value  # low is what double precision has no room for
    assert abs(Fraction(value) + Fraction(low) - exact) < Fraction(1, 2**75)
