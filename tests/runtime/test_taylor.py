"""Taylor's method: what it computes, its order, its dense output, and what is refused."""

import types

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import hamilforge as hf
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.emit.numba.integrators import series_loops
from hamilforge.gen.program.integrators import build_taylor
from hamilforge.runtime.core import loader
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators.verify_integrator import kernel_step
from tests.interpreted import as_python
from tests.samples import compiled, covered

#: What a kernel computes is seen as well by its text as Python, but where it is said.
pytestmark = pytest.mark.usefixtures("kernels")

HEAD = 'name = "{name}"\ntitle = "-"\nreference = "-"\n'


@pytest.fixture
def forced(tmp_path):
    """Explicit time, a parameter, a fractional power and functions."""
    path = tmp_path / "forced.toml"
    path.write_text(
        'kind = "system"\n' + HEAD.format(name="forced") + "[equations]\n"
        'x = "y"\ny = "-sin(x) - k*y/(1 + x**2)**(3/2) + cos(2*t)"\n'
        "[parameters]\nk = 0.3\n[start]\nx = 0.4\ny = 0.0\n"
    )
    return path


def _forced(t, y):
    x, v = y
    return [v, -np.sin(x) - 0.3 * v / (1 + x**2) ** 1.5 + np.cos(2 * t)]


@pytest.mark.parametrize("tolerance", [1e-6, 1e-9, 1e-12])
def test_errors_follow_the_tolerance(forced, tolerance):
    solution = hf.integrate(
        forced, "taylor", t_span=(0, 8), rtol=tolerance, atol=tolerance, t_eval=[2.0, 8.0]
    )
    reference = solve_ivp(_forced, (0, 8), [0.4, 0], method="DOP853", rtol=1e-13, atol=1e-14)
    assert abs(solution.y[-1] - reference.y[:, -1]).max() < 30 * tolerance + 1e-12


def test_dense_output_is_as_good_as_the_steps_and_holds_both_ways(forced):
    times = np.linspace(0, 5, 41)
    there = hf.integrate(forced, "taylor", t_span=(0, 5), rtol=1e-11, atol=1e-11, t_eval=times)
    back = hf.integrate(
        forced, "taylor", there.y[-1], t_span=(5, 0), rtol=1e-11, atol=1e-11, t_eval=times[::-1]
    )
    assert (there.t == times).all()
    assert (back.t == times[::-1]).all()
    assert abs(back.y[::-1] - there.y).max() < 1e-9
    exact = solve_ivp(_forced, (0, 5), [0.4, 0], "DOP853", times, rtol=1e-13, atol=1e-14)
    assert abs(exact.y.T - there.y).max() < 1e-9


@pytest.mark.parametrize("order", [2, 4, 7])
def test_the_error_of_fixed_steps_has_the_order(forced, order):
    reference = hf.integrate(forced, "taylor", t_span=(0, 2), h=0.05, order=20).y[-1]
    steps = 0.125 if order > 6 else 0.0625
    errors = [
        abs(hf.integrate(forced, "taylor", t_span=(0, 2), h=h, order=order).y[-1] - reference).max()
        for h in (steps, steps / 2)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


def test_ensembles_have_their_own_steps_and_parameters(forced):
    starts = [[0.4, 0.0], [1.0, -1.0], [2.0, 0.5]]
    k = np.array([0.3, 0.1, 0.5])
    options = {"t_span": (0, 4), "rtol": 1e-10, "atol": 1e-10, "t_eval": [1.0, 4.0]}
    together = hf.integrate(forced, "taylor", starts, parameters={"k": k}, **options)
    for start, value, states in zip(starts, k, together.y, strict=True):
        alone = hf.integrate(forced, "taylor", start, parameters={"k": value}, **options)
        assert (alone.y == states).all()


def test_energy_at_the_smallest_tolerance_is_kept_to_rounding():
    solution = hf.integrate(
        "henon_heiles", "taylor", t_span=(0, 2000), rtol=1e-16, atol=1e-16, t_eval=[1000.0, 2000.0]
    )
    start = hf.integrate("henon_heiles", "rk4", t_span=(0, 0.1), h=0.1).energy[0]
    assert abs(solution.energy - start).max() < 4e-16


def test_a_singularity_is_told(tmp_path):
    path = tmp_path / "blows.toml"
    path.write_text(
        'kind = "system"\n'
        + HEAD.format(name="blows")
        + '[equations]\nx = "x**2"\n[start]\nx = 1\n'
    )
    with pytest.raises(IntegrationError, match="singularity") as error:
        hf.integrate(path, "taylor", t_span=(0, 2), rtol=1e-9)
    assert error.value.t == pytest.approx(1, abs=1e-6)


def test_solutions_that_are_polynomials_take_one_step(tmp_path):
    path = tmp_path / "falls.toml"
    path.write_text(
        'kind = "system"\n'
        + HEAD.format(name="falls")
        + '[equations]\nx = "v"\nv = "-10"\n[start]\nx = 1\nv = 2\n'
    )
    solution = hf.integrate(path, "taylor", t_span=(0, 3), rtol=1e-9)
    assert solution.steps == 1
    assert solution.y[-1] == pytest.approx([1 + 6 - 45, 2 - 30], rel=1e-15)


def test_gradients_of_the_torch_module_are_those_of_differences(forced):
    flow = hf.flow(forced, "taylor", 0.1, 5, order=9, trainable=("k",))
    y0 = torch.tensor([[0.4, 0.0], [1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    flow(y0).square().sum().backward()

    def value(start, k):
        solution = hf.integrate(
            forced, "taylor", start, (0, 0.5), 0.1, order=9, parameters={"k": k}
        )
        return (solution.y[:, -1] ** 2).sum()

    start, small = y0.detach().numpy(), 1e-6
    for place in np.ndindex(2, 2):
        move = np.zeros((2, 2))
        move[place] = small
        slope = (value(start + move, 0.3) - value(start - move, 0.3)) / (2 * small)
        assert y0.grad[place] == pytest.approx(slope, rel=1e-7)
    slope = (value(start, 0.3 + small) - value(start, 0.3 - small)) / (2 * small)
    assert flow.parameter_k.grad == pytest.approx(slope, rel=1e-7)


@compiled
@pytest.mark.parametrize("order", [None, 3, 40])
def test_backends_are_the_interpretation(order):
    assert hf.verify("kepler", "taylor", order=order).holds
    assert hf.verify("driven_pendulum", "taylor", order=order).holds


def _system(folder, name, equations, start, parameters=""):
    path = folder / f"{name}.toml"
    lines = [f'{key} = "{value}"' for key, value in equations.items()]
    starts = [f"{key} = {value}" for key, value in start.items()]
    path.write_text(
        'kind = "system"\n' + HEAD.format(name=name) + "[equations]\n" + "\n".join(lines)
        + "\n[start]\n" + "\n".join(starts) + "\n" + parameters
    )  # fmt: skip
    return path


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("power", [3, 5, 9])
@pytest.mark.parametrize("start", [0, 1e-5])
def test_series_with_gaps_do_not_make_steps_too_long(power, start, tmp_path):
    """x' = 1 - x^m from 0: most coefficients vanish, and the last ones may."""
    path = _system(tmp_path, "gaps", {"x": f"1 - x**{power}"}, {"x": start})
    exact = solve_ivp(
        lambda t, x: 1 - x**power, (0, 4), [start], "DOP853", rtol=1e-13, atol=1e-14
    ).y[0, -1]
    for tolerance in (1e-6, 1e-8, 1e-10, 1e-12):
        x = hf.integrate(path, "taylor", t_span=(0, 4), rtol=tolerance, atol=tolerance).y[-1, 0]
        assert abs(x - exact) < 10 * tolerance


def test_ends_far_from_time_zero_are_those_of_the_time(tmp_path):
    path = _system(tmp_path, "swings", {"x": "y", "y": "-x"}, {"x": 1, "y": 0})
    for begin, length in ((1e6, 10.3), (1e6, -10.3), (1e3, 7.1)):
        end = begin + length
        solution = hf.integrate(path, "taylor", t_span=(begin, end), rtol=1e-15, atol=1e-15)
        gone = solution.t - begin
        assert abs(solution.y[:, 0] - np.cos(gone)).max() < 3e-14


def test_time_as_a_rate_and_names_of_the_text_in_loops(tmp_path, monkeypatch):
    monkeypatch.setattr(build_taylor, "MOST_PRODUCTS", 0)
    equations = {
        "x": "cos(x)*first + ORDER - x**2",
        "c": "t",
        "row": "range*k*row/(1 + above**2)",
        "above": "-i*x",
    }
    numbers = {"first": 0.5, "ORDER": 0.7, "range": 0.2, "k": 1.1, "i": 0.3}
    parameters = "[parameters]\n" + "\n".join(f"{key} = {value}" for key, value in numbers.items())
    start = {"x": 0.1, "c": 0, "row": 1, "above": 0.2}
    path = _system(tmp_path, "named", equations, start, parameters)
    made = products.load_made(path, "taylor", order=14)
    module = types.ModuleType("looped")
    text = pipeline.rendered(made)["named__taylor_numba.py"]
    assert "series_kernels" in text
    exec(text.replace('"cache": True, ', "").replace(", cache=True", ""), vars(module))
    values = np.array([value for value, *_ in module.PARAMETERS.values()], float)
    computed = kernel_step(module, 0.0, 0.0625, np.array(module.START), values)

    def field(t, y):
        x, _, row, above = y
        return [np.cos(x) * 0.5 + 0.7 - x**2, t, 0.22 * row / (1 + above**2), -0.3 * x]

    exact = solve_ivp(field, (0, 0.0625), module.START, "DOP853", rtol=1e-13, atol=1e-15).y[:, -1]
    assert abs(computed - exact).max() < 1e-12


def test_a_tolerance_without_axes_is_a_number():
    solution = hf.integrate("kepler", "taylor", t_span=(0, 1), rtol=np.array(1e-9))
    assert solution.product.ORDER == 16


LOOPED = ["kepler", "damped_pendulum", "vanishing_damping", "driven_pendulum", "charged_particle"]


ALL = [*LOOPED, "toda", "lotka_volterra", "double_pendulum"]


#: Those with three like sums, or runs that are copied, whose columns are no neighbours.
LISTED = ["vanishing_damping", "charged_particle", "toda", "double_pendulum"]


@pytest.mark.parametrize(("name", "form"), covered(ALL, ["charged_particle"]))
def test_loops_over_like_operations_are_the_lines(name, form, monkeypatch):
    made = products.load_made(name, "taylor", order=7)
    ends, tables = [], 0
    for most, terms in ((10**6, 0), (0, 10**6), (0, 0)):
        monkeypatch.setattr(build_taylor, "MOST_PRODUCTS", most)
        monkeypatch.setattr(series_loops, "MOST_TERMS", terms)
        text = pipeline.rendered(made)[f"{name}__taylor_numba.py"]
        assert ("in range(ORDER):" in text) == (most == 0)
        assert "row[PLACES[" not in text or most == terms == 0
        tables += "row[PLACES[" in text
        module = as_python(text, "looped")
        if form == "compiled":
            module = types.ModuleType("looped")
            exec(text.replace('"cache": True, ', "").replace(", cache=True", ""), vars(module))
        parameters = np.array([value for value, *_ in module.PARAMETERS.values()], float)
        start = module.START or np.linspace(0.5, 1, module.SIZE)
        y = np.array(start) + np.linspace(0.01, 0.02, module.SIZE)
        ends.append(kernel_step(module, module.START_TIME + 1.0, 0.05, y, parameters))
    assert np.isfinite(ends[0]).all()
    for end in ends[1:]:
        assert abs(end - ends[0]).max() <= 4e-16 * abs(ends[0]).max()
    assert tables == (name in LISTED)


def test_a_large_system_is_the_interpretation():
    """Six bodies: like operations in loops; no code for torch, which says so."""
    verification = hf.verify("outer_solar_system", "taylor")
    assert verification.holds
    assert {deviation.backend for deviation in verification.deviations} == {"numba"}
    with pytest.raises(ValueError, match="no code for torch"):
        hf.flow("outer_solar_system", "taylor", 10.0, 1)


def test_the_outer_solar_system_by_two_orders():
    ends = [
        hf.integrate(
            "outer_solar_system", "taylor", t_span=(0, 20000), rtol=rtol, atol=rtol, t_eval=[20000]
        )
        for rtol in (1e-9, 1e-14)
    ]
    assert abs(ends[0].y - ends[1].y).max() < 1e-6
    start = hf.integrate("outer_solar_system", "taylor", t_span=(0, 1), rtol=1e-14).energy[0]
    assert abs(ends[1].energy / start - 1).max() < 1e-13


def test_many_bodies_are_listed_in_a_table(monkeypatch):
    made = products.load_made("outer_solar_system", "taylor", order=9)
    ends = []
    for terms in (10**6, 0):
        monkeypatch.setattr(series_loops, "MOST_TERMS", terms)
        text = pipeline.rendered(made)["outer_solar_system__taylor_numba.py"]
        assert (text.count("row[PLACES[") > 10) == (terms == 0)
        module = as_python(text, "looped")
        values = np.array([value for value, *_ in module.PARAMETERS.values()], float)
        ends.append(kernel_step(module, 0.0, 20.0, np.array(module.START), values))
    assert abs(ends[1] - ends[0]).max() <= 4e-16 * abs(ends[0]).max()


@pytest.mark.full
def test_the_energy_of_the_outer_solar_system_walks_like_rounding():
    """Brouwer's law: at the smallest tolerance the error of the energy grows with the root of t."""
    times = np.unique(np.round(np.logspace(2, 5, 60))) * 365.25
    product = loader.load_for_tolerance("outer_solar_system", "taylor", 1e-16).module("numba")
    starts = np.array(product.START) * (1 + 1e-6 * np.random.default_rng(0).normal(size=(8, 36)))
    starts[:, 18:21] -= starts[:, 18:].reshape(8, 6, 3).sum(axis=1)  # the centre of mass at rest
    solution = hf.integrate(
        "outer_solar_system", "taylor", starts, (0, times[-1]), rtol=1e-16, atol=1e-30,
        t_eval=[0.0, *times],
    )  # fmt: skip
    errors = (solution.energy / solution.energy[:, :1] - 1)[:, 1:]
    sizes = np.sqrt((errors**2).mean(axis=0))
    slope = np.polyfit(np.log(times), np.log(sizes), 1)[0]
    assert slope == pytest.approx(0.5, abs=0.15)
    assert abs(errors).max() < 1e-13


def test_what_is_refused(forced, tmp_path):
    for order in (0, 1, 61, 2.5, True, "4"):
        with pytest.raises(ValueError, match="whole number from 2 to 60"):
            hf.integrate("kepler", "taylor", h=0.1, order=order)
    with pytest.raises(ValueError, match="below the rounding"):
        hf.integrate("kepler", "taylor", rtol=1e-18)
    with pytest.raises(DeclarationError, match="order of its own"):
        hf.integrate("kepler", "rk4", h=0.1, order=4)
    path = tmp_path / "kinked.toml"
    path.write_text(forced.read_text().replace("-sin(x)", "-abs(x)"))
    with pytest.raises(DeclarationError, match="'abs' has a kink"):
        hf.integrate(path, "taylor")
    with pytest.raises(DeclarationError, match="constraints"):
        hf.integrate("spherical_pendulum", "taylor")
    method = tmp_path / "eighth.toml"
    method.write_text('kind = "taylor"\n' + HEAD.format(name="eighth") + "order = 8\n")
    assert hf.integrate("kepler", method, rtol=1e-12, t_span=(0, 1)).product.ORDER == 8
    with pytest.raises(DeclarationError, match="declares its order, 8"):
        hf.integrate("kepler", method, h=0.1, order=9)
    method.write_text('kind = "taylor"\n' + HEAD.format(name="eighth") + "order = 0\n")
    with pytest.raises(DeclarationError, match="whole number from 2 to 60"):
        hf.check(method)
