"""Integrators on paper and as text: fields, tables in the kernels, orders of the interpretation."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from hamilforge.gen import families, pipeline, products
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.derive.integrators.lattice import LatticeField, place
from hamilforge.gen.derive.integrators.vector_field import t
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.build_lattice import build_lattice
from hamilforge.gen.program.integrators.build_problem import build_problem
from hamilforge.gen.program.integrators.integrator import Flows, Integrator
from hamilforge.gen.program.integrators.interpret import IntegratorInterpreter, NoConvergence
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.dense import continuous_weights
from hamilforge.gen.tableau.pair import build_pair
from hamilforge.runtime.core import compensation
from hamilforge.verification import declared_start
from tests.interpreted import undecorated
from tests.samples import sampled

EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected" / "integrators.toml").read_text(encoding="utf-8")
)
PROBLEMS = [
    path.stem
    for kind in families.serving(families.PROBLEM)
    for path in catalogue.paths(kind)
    if isinstance(catalogue.load(path), kinds.Problem)
]
TABLES = catalogue.names("runge-kutta")


def field_of(problem):
    return derive_field(products.load_problem(problem))


def interpreter(problem, method):
    declared = products.load_problem(problem)
    integrator = build_integrator(field_of(problem), products.load_method(method))
    parameters = {entry.name: float(entry.default) for entry in declared.parameters}
    return IntegratorInterpreter(integrator, parameters)


def written_out(field):
    """The components of a field and their rates; those of a lattice site by site."""
    if not isinstance(field, LatticeField):
        return field.components, field.damped
    count = field.sites.count
    symbols = {
        (str(name), k): sp.Symbol(f"{name}_{k}", real=True)
        for name in field.components
        for k in range(count)
    }

    def at(value, k):
        places = {symbol: place(symbol) for symbol in value.free_symbols if symbol.name != "t"}
        return value.xreplace({s: symbols[n, (k + o) % count] for s, (n, o) in places.items()})

    rates = [at(value, k) for value in field.damped for k in range(count)]
    return tuple(symbols.values()), rates


def write(folder, name, text):
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{name}"\ntitle = "t"\nreference = "r"\n{text}', encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sampled(PROBLEMS, every=2))
def test_jacobian_products_and_hessian_are_the_derivatives_of_what_they_belong_to(name):
    field = field_of(name)
    lattice = isinstance(field, LatticeField)
    problem = build_lattice(field, True, True) if lattice else build_problem(field, True)
    parameters = {entry.name: float(entry.default) for entry in problem.parameters}
    machine = IntegratorInterpreter(Integrator(name, problem, Flows((), None)), parameters)
    generator = np.random.default_rng(2)
    start = declared_start(problem)
    y = start + 0.1 * generator.uniform(0, 1, len(start))
    at = float(problem.start_time) + 0.5
    (part,) = problem.parts

    def slopes(function):
        columns = []
        for i in range(y.size):
            move = np.zeros(y.size)
            move[i] = 1e-6
            ends = (machine.call(function, at, y + sign * move) for sign in (1, -1))
            columns.append(np.subtract(*ends) / 2e-6)
        return np.array(columns).T

    found = machine.matrix(problem.jacobian, at, y)
    size = 1 + abs(found).max()
    assert abs(found - slopes(part.field)).max() < 1e-7 * size
    w = generator.standard_normal(y.size)
    parts = w.reshape(len(problem.components), -1) if lattice else w
    more = {f"w__{name}": value for name, value in zip(problem.components, parts, strict=True)}
    product = machine.call(part.product, at, y, more)
    assert abs(product[: y.size] - w @ found).max() < 1e-12 * size
    if problem.energy:
        gradient = problem.energy.gradient
        hessian = machine.matrix(problem.energy.hessian, at, y)
        assert abs(hessian - slopes(gradient)).max() < 1e-7 * (1 + abs(hessian).max())


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_keeps_its_claims_and_invariants(name):
    report = pipeline.check(products.load_problem(name))
    assert report.holds


def test_a_false_invariant_is_found(tmp_path):
    path = write(
        tmp_path,
        "wrong",
        'kind = "hamiltonian"\ncoordinates = { q = ["x"], p = ["v"] }\n'
        'energy = "v**2/2 + x**4"\n[invariants]\nsum = "x + v"\n',
    )
    report = pipeline.check(catalogue.load(path))
    assert not report.holds
    assert "derivative along solutions" in str(report)


def test_a_poisson_structure_that_does_not_give_the_equations_is_refused(tmp_path):
    path = write(
        tmp_path,
        "structure",
        'kind = "system"\n[equations]\nu = "v"\nv = "-u"\n[poisson]\n'
        'energy = "u**2 + v**2"\nmatrix = [["0", "1"], ["-1", "0"]]\n',
    )
    with pytest.raises(DeclarationError, match="the equations say"):
        derive_field(products.load_problem(path))


# --- the tables that kernels use ------------------------------------------------------------

#: What kernels call of the runtime, as Python.
ADDITION = inspect.getsource(compensation.added.py_func).partition("\n")[2]
_PROBE = """
def probe(out, parameters):
    row = (out.ctypes.data - int(parameters[0])) // out.nbytes
    return row % {stages}
"""


def as_python(method, problem):
    """The generated kernels as plain Python."""
    declared = products.load_problem(problem)
    texts = pipeline.rendered((declared, products.load_method(method)))
    text = next(value for name, value in texts.items() if name.endswith("_numba.py"))
    text = undecorated(text)
    # those in lanes call the trajectory; tests/runtime/test_ensembles_in_lanes.py is about them
    text = re.sub(
        r"\ndef (into_lane|out_of_lane|side_by_side|ensemble_in_lanes)\(.*?(?=\n\n\n|\Z)",
        "",
        text,
        flags=re.S,
    )
    text = text.replace("lanes.COUNT", "1").replace(
        "lanes.all_less(extent, np.inf)", "extent < np.inf"
    )
    # the addition that kernels call stands among them, so that a change of it is one of theirs
    return text.replace("compensation.added(", "added(") + "\n\n" + ADDITION


def probed(method, problem):
    """The generated kernels as Python, with right-hand sides that are controls of the test."""
    text = as_python(method, problem)
    stages = int(re.search(r"^STAGES = (\d+)", text, re.M)[1])
    bodies = {
        "field": "seen[row] = state; out[:] = factor * controls[row]",
        "velocity": "seen[row, 1] = state[1]; out[0] = factor * controls[row, 0]",
        "force": "seen[row, 0] = state[0]; out[1] = factor * controls[row, 1]",
    }
    for name, body in bodies.items():
        pattern = rf"def {name}\(.*?\n(?=\n\n|\ndef |@)"
        replaced = (
            f"def {name}(t, state, parameters, factor, out):\n"
            f"    row = probe(out, parameters)\n    {body}\n"
        )
        text = re.sub(pattern, replaced, text, flags=re.S)
    scope = {"seen": np.zeros((stages, 2)), "controls": np.zeros((stages, 2))}
    exec(compile(_PROBE.format(stages=stages) + text, "<probe>", "exec"), scope)
    return scope, stages


def recovered(method, h, problem="harmonic_oscillator", changes=None):
    """``h A`` and ``h b`` of both parts, column by column."""
    scope, stages = probed(method, problem)
    scope.update(changes or {})
    size = (stages, stages, 2)
    a, b = np.zeros(size), np.zeros((stages, 2))
    for j in range(stages):
        scope["controls"][:] = 0
        scope["controls"][j] = 1
        rows = np.zeros((scope["ROWS"], 2))
        square = np.zeros((scope["UNKNOWNS"] + 2, max(scope["UNKNOWNS"], 1)))
        flags = np.zeros(2 + scope["UNKNOWNS"], np.int64)
        y = np.zeros(2)
        parameters = np.array([float(rows.ctypes.data)])
        done, _, _ = scope["trajectory"](
            0.0, h, 0, 1, 1, y, np.zeros(2), parameters, rows, square, np.zeros((6, 2)), flags,
            np.empty((1, 2)),
        )  # fmt: skip
        assert done == 1
        a[:, j], b[j] = scope["seen"], y
    return a, b


@pytest.mark.parametrize("name", sampled(TABLES, every=3))
def test_the_tableau_is_recovered_from_the_kernel(name):
    tableau = build(catalogue.load(name, ("runge-kutta",)))
    exact_a, exact_b, _ = tableau.by_stages.floats
    h = 0.3
    a, b = recovered(name, h)
    # one rounding of h a_ij, in units of the row's largest entry
    room = np.spacing(h * np.maximum(abs(exact_a).max(axis=1, keepdims=True), abs(exact_b).max()))
    for part in range(2):
        assert (abs(a[:, :, part] - h * exact_a) <= 2 * room).all()
        assert (abs(b[:, part] - h * exact_b) <= 2 * room.max()).all()


@pytest.mark.parametrize("name", catalogue.names("partitioned"))
def test_both_tableaux_of_a_pair_are_recovered_from_the_kernel(name):
    declared = catalogue.load(name, ("partitioned",))
    h = 0.3
    a, b = recovered(f"partitioned/{name}", h)
    for part, tableau in enumerate(build_pair(declared)):
        exact_a, exact_b, _ = tableau.by_stages.floats
        used = np.ones(len(exact_b), bool)
        for other in build_pair(declared):
            used &= other.by_stages.floats[1] != 0
        room = 2 * np.spacing(h * max(abs(exact_a).max(), abs(exact_b).max()))
        assert (abs(a[used][:, :, part] - h * exact_a[used]) <= room).all()
        assert (abs(b[:, part] - h * exact_b) <= room).all()


def test_the_probe_sees_a_changed_coefficient():
    exact, _ = recovered("rk4", 0.3)
    changed, _ = recovered("rk4", 0.3, changes={"A_2_1": 0.5 * (1 + 1e-6)})
    assert changed[1, 0, 0] != exact[1, 0, 0]
    changed[1, 0] = exact[1, 0]
    assert (changed == exact).all()


# --- orders ------------------------------------------------------------


def proved_order(field, method):
    declared = products.load_method(method)
    report = pipeline.check(declared)
    if isinstance(declared, kinds.Partitioned) and field.separable:
        return report["separable_order"]
    if isinstance(declared, kinds.DiscreteGradient) and all(i == j for i, j in field.hessian):
        # increments of a sum of functions of one coordinate each are symmetric in any order
        return max(report["order"], 2)
    return report["order"]


@functools.cache
def solved(problem, start, parameters, first, span):
    """States at each quarter of a span, with which every method is compared."""
    field, named = field_of(problem), dict(parameters)
    values = {symbol: named[str(symbol)] for symbol in field.parameters}
    components, rates = written_out(field)
    right = sp.lambdify((t, components), [v.subs(values) for v in rates], "numpy")
    marks = first + span * np.arange(1, 5) / 4
    whole = (first, first + span)
    return solve_ivp(right, whole, start, "DOP853", marks, rtol=1e-13, atol=1e-15).y.T


SLOPES = sampled(
    itertools.product(EXPECTED["slopes"]["problems"], EXPECTED["slopes"]["methods"]), every=6
)


@pytest.mark.parametrize(("problem", "method"), SLOPES)
def test_the_slope_of_the_measured_error_is_the_proved_order(problem, method):
    declared = products.load_problem(problem)
    try:
        machine = interpreter(problem, method)
    except DeclarationError as error:
        reasons = (
            "couples q and p",
            "plain system",
            "needs an energy",
            "no step can conserve",
            "depends on t",
        )
        assert any(reason in str(error) for reason in reasons)  # noqa: PT017
        return
    order = proved_order(field_of(problem), method)
    start = declared_start(machine.integrator.problem)
    first, span = float(declared.start.time), 2.0
    reference = solved(problem, tuple(start), tuple(machine.parameters.items()), first, span)
    errors = []
    for halvings in range(2, 12):
        count, y, states = 2**halvings, start, []
        try:
            for n in range(count):
                y = machine.step(first + n * span / count, span / count, y)
                states.append(y)
        except NoConvergence:  # the step is too large for a solution
            continue
        found = np.array(states)[count // 4 - 1 :: count // 4]
        errors.append(float(np.linalg.norm(found - reference)))
        slopes = [np.log2(a / b) for a, b in itertools.pairwise(errors)]
        near = slopes and abs(slopes[-1] - order) < 0.15
        if near and (len(slopes) == 1 or abs(slopes[-2] - order) < 0.5):
            return
        if errors[-1] < 3e-12:
            break
    raise AssertionError((order, slopes, errors))


EMBEDDED = [name for name in TABLES if build(catalogue.load(name, ("runge-kutta",))).b_hat]


@pytest.mark.parametrize("name", sampled(EMBEDDED, every=3))
def test_dense_output_has_the_order_it_says(name):
    tableau = build(catalogue.load(name, ("runge-kutta",)))
    found = continuous_weights(tableau)
    _, b, c = tableau.by_stages.floats
    ends = found.coefficients.sum(axis=1)
    assert abs(ends[:-1] - b).max() < 1e-9
    assert abs(ends[-1]) < 1e-9
    # quadrature of powers at the nodes, the end of the step included
    nodes = [*c, 1.0]
    for theta in (0.3, 0.7):
        weights = found.coefficients @ theta ** np.arange(1, found.coefficients.shape[1] + 1)
        for power in range(found.order):
            wanted = theta ** (power + 1) / (power + 1)
            assert abs(weights @ np.array(nodes) ** power - wanted) < 1e-8


# --- what does not fit ------------------------------------------------------------


def test_a_splitting_of_a_coupled_energy_is_refused_saying_which_term():
    with pytest.raises(DeclarationError, match="couples q and p") as caught:
        interpreter("double_pendulum", "splitting/yoshida4")
    assert "^" in str(caught.value)
    assert "p1*p2*cos(theta1 - theta2)" in str(caught.value)


def test_an_optimizers_hamiltonian_is_no_problem_to_integrate_and_the_reverse(tmp_path):
    with pytest.raises(DeclarationError, match="leaves J to the user"):
        products.load_problem("classical")
    path = write(
        tmp_path,
        "odd",
        'kind = "optimizer"\nsystem = "pendulum"\nmethod = "conformal_leapfrog"\n'
        '[hyperparameters]\nlr = 1\n[set]\nh = "lr"\n',
    )
    with pytest.raises(DeclarationError, match="coordinates of its own"):
        catalogue.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('coordinates = { q = ["x", "y"], p = ["v"] }\nenergy = "x"', "come in pairs"),
        ('coordinates = { q = ["x"], p = ["x"] }\nenergy = "x"', "has a meaning already"),
        ('coordinates = { q = ["x"], p = ["v"] }\nenergy = "x*u"', "unknown name 'u'"),
        ('coordinates = { q = ["t"], p = ["v"] }\nenergy = "v"', "t is the time"),
        ('coordinates = { q = [], p = [] }\nenergy = "1"', "at least one name"),
        (
            'coordinates = { q = ["x"], p = ["v"] }\nenergy = "x"\n[start]\nw = 1',
            "nothing of that name can start",
        ),
        ('coordinates = { q = ["x"], p = ["v"] }\nenergy = "v"\nfriction = "x"', "unknown name"),
        ('coordinates = { q = ["x"], p = ["v"] }\nenergy = "dot(x, v)"', "no meaning here"),
    ],
)
def test_a_bad_hamiltonian_says_what_is_wrong(tmp_path, text, message):
    path = write(tmp_path, "bad", f'kind = "hamiltonian"\n{text}\n')
    with pytest.raises(DeclarationError, match=message):
        catalogue.load(path)


ENERGIES = ["0*x", "1", "3*x - v/2", "x", "v**2/2", "v", "x**2/2"]


@pytest.mark.parametrize("energy", sampled(ENERGIES, every=2))
def test_degenerate_energies_are_integrated(tmp_path, energy):
    path = write(
        tmp_path,
        "degenerate",
        'kind = "hamiltonian"\ncoordinates = { q = ["x"], p = ["v"] }\n'
        f'energy = "{energy}"\n[start]\nx = 1\nv = 2\n',
    )
    field = field_of(path)
    right = sp.lambdify((t, field.components), field.damped)
    wanted = solve_ivp(right, (0, 0.25), [1.0, 2.0], rtol=1e-10, atol=1e-12).y[:, -1]
    for method in EXPECTED["slopes"]["methods"]:
        machine = interpreter(path, method)
        y = machine.step(0.0, 0.25, np.array([1.0, 2.0]))
        # every field here is constant or linear with a square of zero
        assert abs(y - wanted).max() < 1e-12


def test_a_composition_of_a_block_is_the_table_of_its_steps(tmp_path):
    path = write(
        tmp_path,
        "composed",
        'kind = "runge-kutta"\n[compose]\nblock = "implicit_midpoint"\n'
        'weights = ["w1", "w0", "w1"]\n[constants]\nw1 = "1/(2 - 2**(1/3))"\nw0 = "1 - 2*w1"\n'
        "[claims]\norder = 4\nsymplectic = true\nsymmetric = true\n",
    )
    report = pipeline.check(catalogue.load(path))
    assert report.holds
    one, block = interpreter("pendulum", path), interpreter("pendulum", "implicit_midpoint")
    y = np.array([1.0, 0.2])
    w1 = 1 / (2 - 2 ** (1 / 3))
    wanted = y
    for weight in (w1, 1 - 2 * w1, w1):
        wanted = block.step(0.0, 0.1 * weight, wanted)
    assert abs(one.step(0.0, 0.1, y) - wanted).max() < 1e-15


def test_a_table_with_a_kept_first_stage_and_coupled_ones_has_no_forecast(tmp_path):
    # Lobatto IIIA with three stages, typed: its first stage is the end of the last step
    path = write(
        tmp_path,
        "typed_lobatto",
        'kind = "runge-kutta"\nA = [[], ["5/24", "1/3", "-1/24"], ["1/6", "2/3", "1/6"]]\n'
        'b = ["1/6", "2/3", "1/6"]\n',
    )
    step = interpreter("pendulum", path).integrator.step
    assert step.reuse
    assert step.forecast is None
    _, b = recovered(path, 0.3)
    assert abs(b[:, 0] - 0.3 * np.array([1, 4, 1]) / 6).max() < 1e-16


def test_names_in_declarations_do_not_meet_those_of_generated_code(tmp_path):
    path = write(
        tmp_path,
        "names",
        'kind = "hamiltonian"\n'
        'coordinates = { q = ["y", "state", "lambda"], p = ["h", "out", "k"] }\n'
        'energy = "(h**2 + out**2 + k**2)/2 + u*(y**2 + state**2 + lambda**2)/2"\n'
        '[parameters]\nu = 2\nfactor = 1\nnp = 1\n[invariants]\nseparable = "np"\n'
        "[start]\ny = 1\nstate = 0\nlambda = 0\nh = 0\nout = 1\nk = 0\n",
    )
    assert pipeline.check(catalogue.load(path)).holds
    texts = pipeline.generate((products.load_problem(path), products.load_method("rk4")))
    for text in texts.values():
        compile(text, "names", "exec")
    for name in ("start", "w_y", "d_y", "t", "a__b"):
        named = write(
            tmp_path,
            "named",
            f'kind = "system"\n[equations]\ny = "{name}"\n[parameters]\n{name} = 1\n',
        )
        if name not in ("t", "a__b"):
            assert pipeline.check(catalogue.load(named)).holds
            continue
        with pytest.raises(DeclarationError, match="cannot be a name"):
            catalogue.load(named)


def test_a_friction_parameter_of_any_name_gives_its_own_factor(tmp_path):
    path = write(
        tmp_path,
        "friction",
        'kind = "hamiltonian"\ncoordinates = { q = ["x"], p = ["v"] }\nenergy = "v**2/2"\n'
        'friction = "u*t"\n[parameters]\nu = 2\n[start]\nx = 0\nv = 1\n',
    )
    machine = interpreter(path, "rk4")
    assert abs(machine.decay(0.0, 1.0) - np.exp(-1)) < 1e-15


def test_a_kick_with_friction_has_its_limit_without():
    machine = interpreter("damped_pendulum", "blanes_moan_s6")
    free = IntegratorInterpreter(machine.integrator, {"gamma": 0.0})
    nearly = IntegratorInterpreter(machine.integrator, {"gamma": 1e-9})
    y = np.array([1.0, 0.5])
    assert abs(free.step(0.0, 0.1, y) - nearly.step(0.0, 0.1, y)).max() < 1e-8


OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
KERNELS = ("field", "velocity", "force", "decay", "added", "trajectory")


TIME = re.compile(r"[thn]|start|[CTUD]\d*_\d+")


def is_time(node):
    """Whether an expression is a time: where nothing depends on it, no change of it is seen."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return bool(names - {"h"}) and all(TIME.fullmatch(name) for name in names)


def arithmetic(tree, timed):
    """The operations of the kernels that make the state, bookkeeping left out."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name in KERNELS:
            for line in ast.walk(function):
                if isinstance(line, ast.Assign | ast.AugAssign | ast.Return | ast.Expr):
                    text = ast.unparse(line)
                    if "written" not in text and "extent" not in text:
                        yield from (
                            node
                            for node in ast.walk(line)
                            if isinstance(node, ast.BinOp)
                            and type(node.op) in OTHER
                            and (timed or not is_time(node))
                        )


def moved(tree, machine, problem):
    """How far three steps of the kernels are from those of the interpretation."""
    scope = {}
    exec(compile(tree, "<kernel>", "exec"), scope)
    size = scope["SIZE"]
    y = np.array(scope["START"])
    parameters = np.array([entry[0] for entry in scope["PARAMETERS"].values()], float)
    unknowns = scope["UNKNOWNS"]
    h, t, wanted = 0.1, scope["START_TIME"], np.array(scope["START"])
    with np.errstate(all="ignore"):
        scope["trajectory"](
            t, h, 0, 3, 3, y, np.zeros(size), parameters, np.zeros((scope["ROWS"], size)),
            np.zeros((unknowns + 2, max(unknowns, 1))), np.zeros((3 * size, size)),
            np.zeros(2 + unknowns, np.int64), np.empty((1, size)),
        )  # fmt: skip
    for n in range(3):
        wanted = machine.step(t + n * h, h, wanted)
    return abs(y - wanted).max()


@pytest.mark.parametrize(
    ("problem", "method"), EXPECTED["mutated"]["pairs"], ids=lambda value: value
)
def test_every_changed_operation_of_a_kernel_is_seen(problem, method):
    machine = interpreter(problem, method)
    text = as_python(method, problem)
    assert moved(ast.parse(text), machine, problem) < 1e-14
    timed = not derive_field(products.load_problem(problem)).autonomous
    count = len(list(arithmetic(ast.parse(text), timed)))
    assert count > 10
    for index in range(count):
        tree = ast.parse(text)
        node = list(arithmetic(tree, timed))[index]
        before = ast.unparse(node)
        node.op = OTHER[type(node.op)]()
        try:
            distance = moved(ast.fix_missing_locations(tree), machine, problem)
        except (ZeroDivisionError, FloatingPointError, IndexError, TypeError, ValueError):
            continue
        assert not distance < 1e-14, f"{before} became {ast.unparse(node)}"
