"""Constraints on paper: what is read and refused, what steps are worth, planted faults."""

from __future__ import annotations

import ast
import re
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import sympy as sp

from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.integrators.build_constrained import constrained_flows
from hamilforge.gen.program.integrators.integrator import (
    ConstrainedFlows,
    ConstrainedMove,
    Friction,
)
from hamilforge.gen.program.integrators.interpret import IntegratorInterpreter
from hamilforge.gen.prove.integrators.constrained import constrained_form, findings_of
from hamilforge.runtime.core.linear import factored, solved
from hamilforge.verification import declared_start
from tests.interpreted import of_the_runtime, undecorated

CONSTRAINED = [
    name
    for name in catalogue.names("splitting")
    if isinstance(catalogue.load(f"splitting/{name}"), kinds.ConstrainedSplitting)
]
PROBLEMS = [
    name
    for name in catalogue.names("hamiltonian")
    if getattr(catalogue.load(f"hamiltonian/{name}"), "constraints", ())
]
POINT = (
    'kind = "hamiltonian"\nname = "point"\ntitle = "t"\nreference = "r"\n'
    'coordinates = {{ q = ["x", "y", "z"], p = ["u", "v", "w"] }}\nenergy = "{energy}"\n{more}'
    "[constraints]\n{constraints}\n"
)
SQUARE = "(u**2 + v**2 + w**2)/2"


def written(folder, constraints, energy=SQUARE, more=""):
    path = folder / "point.toml"
    text = POINT.format(constraints=constraints, energy=energy, more=more)
    path.write_text(text, encoding="utf-8")
    return path


def splitting(folder, steps):
    path = folder / "mine.toml"
    path.write_text(
        f'kind = "splitting"\nname = "mine"\ntitle = "t"\nreference = "r"\nsteps = {steps}\n'
    )
    return path


def derived(path):
    return derive_field(products.load_problem(path))


# --- what is read ------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ('g = "x*u"', "'u' is a momentum; a constraint is on positions alone"),
        ('g = "x*t"', "'t' is the time; a constraint is on positions alone"),
        ('g = "1"', "no position is in it, so it constrains nothing"),
        ('g = "mass - 1"', "unknown name 'mass'"),
        ('x = "y"', "'x' has a meaning already"),
        ('u = "y"', "'u' has a meaning already"),
        ('t = "y"', "'t' has a meaning already"),
        ('energy = "y"', "'energy' has a meaning already"),
        ('g = "x"\ng_rate = "y"', "'g_rate' has a meaning already"),
        ('g__h = "x"', "cannot be the name of a constraint"),
        ('g = "x"\nh = "y"\nk = "z"', "3 constraints on 3 positions leave no motion"),
        ('g = "x +"', "point.toml"),
        ('g = "dot(x, y)"', "no meaning here"),
        ("g = [1]", "point.toml"),
    ],
)
def test_a_bad_constraint_says_what_is_wrong(tmp_path, constraints, message):
    with pytest.raises(DeclarationError, match=re.escape(message)):
        catalogue.load(written(tmp_path, constraints))


def test_a_constraint_and_an_invariant_cannot_share_a_name(tmp_path):
    more = '[invariants]\nrod_rate = "x"\n'
    with pytest.raises(DeclarationError, match="'rod_rate' has a meaning already"):
        catalogue.load(written(tmp_path, 'rod = "x"', more=more))


@pytest.mark.parametrize(
    ("energy", "more", "constraints", "message"),
    [
        (SQUARE, "", 'g = "x - x"', "does not depend on the positions"),
        (f"{SQUARE}*x", "", 'g = "x"', "couples q and p"),
        ("u**2 + v**4 + w**2", 'friction = "1"\n', 'g = "x + y"', "friction scales p"),
        ("u**2*(1 + t) + v**2 + w**2", "", 'g = "x + y"', "changes its direction with the time"),
    ],
)
def test_what_has_no_constrained_step_is_refused(tmp_path, energy, more, constraints, message):
    with pytest.raises(DeclarationError, match=message):
        derived(written(tmp_path, constraints, energy, more))


def test_friction_fits_a_function_of_one_square_and_its_velocities_stay(tmp_path):
    path = written(tmp_path, 'g = "x + y*z"', f"sqrt(1 + 2*{SQUARE})", 'friction = "1"\n')
    assert derived(path).constraints


def test_a_factor_of_the_time_before_all_of_the_kinetic_energy_keeps_velocities(tmp_path):
    assert derived(written(tmp_path, 'g = "x + y*z"', f"{SQUARE}*(2 + sin(t)) + t*x")).constraints


def test_a_lattice_has_no_constraints(tmp_path):
    path = tmp_path / "lattice.toml"
    path.write_text(
        'kind = "hamiltonian"\nname = "lattice"\ntitle = "t"\nreference = "r"\n'
        'coordinates = { q = ["x[N]"], p = ["v[N]"] }\nenergy = "sum(v**2)/2"\n'
        'start = { x = "0", v = "0" }\n[constraints]\ng = "x"\n'
    )
    with pytest.raises(DeclarationError, match="constraints"):
        catalogue.load(path)


@pytest.mark.parametrize("steps", ['[["A", 1], ["C", 1]]', '[["C", 1], ["BD", 1], ["O", 1]]'])
def test_only_friction_stands_beside_a_constrained_step(tmp_path, steps):
    with pytest.raises(DeclarationError, match="beside C leads off the constraints"):
        catalogue.load(splitting(tmp_path, steps))


def test_every_other_method_refuses_constraints_and_names_those_that_keep_them():
    found = {}
    for kind in ("runge-kutta", "partitioned", "splitting", "discrete-gradient"):
        for name in catalogue.names(kind):
            method = catalogue.load(f"{kind}/{name}")
            if isinstance(method, kinds.Integration):
                try:
                    build_integrator(derived(PROBLEMS[0]), method)
                except DeclarationError as error:
                    found[name] = str(error)
    assert not {*CONSTRAINED} & {*found}
    assert len(found) > 100
    for message in found.values():
        assert "only a splitting with constrained steps, C, keeps them" in message
        assert all(name in message for name in CONSTRAINED)


@pytest.mark.parametrize("method", CONSTRAINED)
def test_a_problem_without_constraints_has_nothing_to_solve_for(method):
    with pytest.raises(DeclarationError, match=r"has no \[constraints\]"):
        build_integrator(derived("henon_heiles"), products.load_method(method))


@pytest.mark.parametrize("how", [f'method = "{CONSTRAINED[0]}"', 'steps = [["C", 1]]'])
def test_an_optimizer_has_no_constrained_steps(tmp_path, how):
    path = tmp_path / "odd.toml"
    path.write_text(
        'kind = "optimizer"\nname = "odd"\ntitle = "t"\nreference = "r"\nsystem = "classical"\n'
        f'{how}\n[hyperparameters]\nlr = 1\n[set]\nh = "lr"\n'
    )
    with pytest.raises(DeclarationError, match=r"has constrained steps, C: it is for integrators"):
        catalogue.load(path)


# --- what is proved of problems ------------------------------------------------------------


def test_an_invariant_that_a_reaction_changes_is_found(tmp_path):
    path = written(
        tmp_path,
        'rod = "x**2 + y**2 + z**2 - 1"',
        more='[invariants]\nheld = "x*v - y*u"\nlost = "u"\n',
    )
    report = pipeline.check(catalogue.load(path))
    assert report["invariant_held"] is True
    assert report["invariant_lost"] is False


def test_an_invariant_on_the_constraints_alone_is_not_refuted(tmp_path):
    path = written(
        tmp_path,
        'rod = "x**2 + y**2 + z**2 - 1"',
        more='[invariants]\nradius = "x**2 + y**2 + z**2"\n',
    )
    assert pipeline.check(catalogue.load(path))["invariant_radius"] is None


def test_a_start_that_is_off_or_on_dependent_constraints_is_a_false_claim(tmp_path):
    claim = "[claims]\nstart_on_constraints = true\n"
    start = "[start]\nx = 1\ny = 0\nz = 0\nu = {u}\nv = 1\nw = 0\n" + claim
    rod = 'rod = "x**2 + y**2 + z**2 - 1"\n'
    for u, constraints, holds in (
        (0, rod, True),
        ('"1/1000"', rod, False),
        (0, rod.replace("- 1", "- 2"), False),
        (0, f'{rod}plane = "z"', True),
        (0, f'{rod}leads = "x + y - 1"', False),
        (0, f'{rod}same = "2*x**2 + 2*y**2 + 2*z**2 - 2"', False),
    ):
        path = written(tmp_path, constraints + "\n" + start.format(u=u))
        assert pipeline.check(catalogue.load(path)).holds == holds


# --- what is proved of methods ------------------------------------------------------------


def moves_of(name):
    return constrained_flows(catalogue.load(f"splitting/{name}"), lambda exact: exact)


def changed(flows, number, **values):
    """The same moves but one."""
    moves = list(flows.moves)
    moves[number] = replace(moves[number], **values)
    return ConstrainedFlows(tuple(moves))


def seen(flows):
    return {finding.name: finding.value for finding in findings_of(flows)}


@pytest.mark.parametrize("name", CONSTRAINED)
def test_every_claim_of_a_constrained_splitting_is_proved(name):
    report = pipeline.check(catalogue.load(f"splitting/{name}"))
    assert report.claims
    assert report.holds, str(report)


@pytest.fixture(scope="module")
def plain():
    (name,) = (name for name in CONSTRAINED if len(moves_of(name).moves) == 3)
    return moves_of(name)


def test_planted_faults_are_seen(plain):
    right = seen(plain)
    assert right["order"] == 2
    assert right["symplectic_form"] == "conformal"
    assert right["conformal_factor"] == "exp(-gamma*h)"
    kept = ("constraints_kept", "velocities_kept", "symmetric")
    assert all(right[name] is True for name in kept)
    half, long = sp.Rational(1, 2), sp.Rational(3, 5)
    # a half step that is too long
    found = seen(changed(plain, 1, before=long))
    assert found["order"] < 1
    assert found["symmetric"] is False
    # kicks of unequal length
    found = seen(changed(plain, 1, before=long, after=1 - long))
    assert found["order"] == 1
    assert found["symmetric"] is False
    # a drift that is too long
    assert seen(changed(plain, 1, drift=long * 2))["order"] < 1
    # no second multiplier
    found = seen(changed(plain, 1, projected=False))
    assert found["velocities_kept"] is False
    assert found["constraints_kept"] is True
    assert found["order"] < 2
    # friction once
    found = seen(ConstrainedFlows(plain.moves[:2]))
    assert found["conformal_factor"] == "exp(-gamma*h/2)"
    assert found["order"] < 1
    # friction on one side
    found = seen(ConstrainedFlows((replace(plain.moves[0], stop=half * 2), plain.moves[1])))
    assert found["conformal_factor"] == "exp(-gamma*h)"
    assert found["order"] == 1
    assert found["symmetric"] is False


def test_without_friction_a_method_is_proved_without_and_refuses_it(tmp_path):
    path = splitting(tmp_path, '[["C", 1]]\n[claims]\norder = 2\nsymmetric = true\n')
    report = pipeline.check(catalogue.load(path))
    assert report.holds
    assert report["conformal_factor"] == "1"
    assert "without friction" in report.finding("order").reach
    build_integrator(derived("spherical_pendulum"), products.load_method(path))
    with pytest.raises(DeclarationError, match="has friction or depends on time"):
        build_integrator(derived("damped_spherical_pendulum"), products.load_method(path))


def test_a_form_that_is_not_scaled_so_is_seen(plain):
    right = constrained_form(plain, lambda exact: mpmath.mpf(exact.p) / exact.q, mpmath.mpf(1))
    wrong = constrained_form(plain, lambda exact: mpmath.mpf(exact.p) / exact.q, mpmath.mpf(2))
    assert right.form < mpmath.mpf(10) ** -45
    assert wrong.form > 1e-6


# --- the program ------------------------------------------------------------


def interpreter(problem, method):
    declared = products.load_problem(problem)
    integrator = build_integrator(derive_field(declared), products.load_method(method))
    parameters = {entry.name: float(entry.default) for entry in declared.parameters}
    return IntegratorInterpreter(integrator, parameters)


def test_two_constrained_steps_are_not_one():
    for name in CONSTRAINED:
        machine = interpreter("spherical_pendulum", name)
        moves = machine.integrator.step.moves
        declared = catalogue.load(f"splitting/{name}")
        count = 1 if not isinstance(declared.steps, kinds.Composition) else 3
        assert sum(isinstance(move, ConstrainedMove) for move in moves) == count
        assert sum(isinstance(move, Friction) for move in moves) == count + 1


def test_the_multiplier_on_a_sphere_is_the_smaller_root_of_its_quadratic():
    machine = interpreter("spherical_pendulum", CONSTRAINED[0])
    y, h = declared_start(machine.integrator.problem), 0.1
    q, p = y[:3], y[3:]
    kicked = p - h / 2 * np.array([0, 0, 1.0])
    place = q + h * kicked  # less h^2/2 G' lambda, G = 2 q'
    a, b, c = h**4 * (q @ q), -2 * h**2 * (q @ place), place @ place - 1
    root = (-b - np.sqrt(b * b - 4 * a * c)) / (2 * a)
    wanted = place - h**2 * root * q
    after = machine.step(0.0, h, y)
    assert abs(after[:3] - wanted).max() < 1e-15
    half = kicked - h * root * q - h / 2 * np.array([0, 0, 1.0])
    assert abs(after[3:] - (half - (half @ wanted) * wanted)).max() < 1e-15


OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
WHOLE = ("velocity", "force", "decay", "constraints", "reaction", "added")


def operations(tree):
    """What makes the state: equations, and additions to it; how Newton's method steps is not."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for line in ast.walk(function):
            text = ast.unparse(line) if isinstance(line, ast.stmt) else ""
            whole = function.name in WHOLE and isinstance(
                line, ast.Assign | ast.AugAssign | ast.Return
            )
            if whole or (isinstance(line, ast.Assign) and " = compensation.added(" in text):
                yield from (
                    node
                    for node in ast.walk(line if whole else line.value.args[2])
                    if isinstance(node, ast.BinOp) and type(node.op) in OTHER
                )


def moved(tree, machine):
    scope = {"factored": factored.py_func, "solved": solved.py_func}
    scope["compensation"] = of_the_runtime("core", "compensation")
    exec(compile(tree, "<kernel>", "exec"), scope)
    size, unknowns = scope["SIZE"], scope["UNKNOWNS"]
    y = np.array(scope["START"])
    wanted = y.copy()
    parameters = np.array([machine.parameters[name] for name in scope["PARAMETERS"]], float)
    with np.errstate(all="ignore"):
        done, _, _ = scope["trajectory"](
            0.0, 0.1, 0, 3, 3, y, np.zeros(size), parameters, np.zeros((scope["ROWS"], size)),
            np.zeros((unknowns + 2, unknowns)), np.zeros((3 * size, size)),
            np.zeros(2 + unknowns, np.int64), np.empty((1, size)),
        )  # fmt: skip
    for n in range(3):
        wanted = machine.step(0.1 * n, 0.1, wanted)
    return abs(y - wanted).max() if done == 3 else np.inf


def python_of(problem, method):
    """The kernels as plain Python."""
    texts = pipeline.rendered((products.load_problem(problem), products.load_method(method)))
    text = next(value for name, value in texts.items() if name.endswith("_numba.py"))
    return undecorated(text)


def test_a_solution_beyond_a_fold_is_one_whose_determinant_has_turned():
    scope = {}
    exec(python_of("rigid_pendulum_chain", CONSTRAINED[0]), scope)
    generator = np.random.default_rng(8)
    signs = set()
    for _ in range(40):
        matrix, pivots = generator.standard_normal((5, 3)), np.zeros(3, np.int64)
        wanted = np.linalg.det(matrix[:3]) < 0
        factored.py_func(matrix, pivots, 3)
        assert scope["turned_back"](matrix, pivots) == wanted
        signs.add(bool(wanted))
    assert signs == {True, False}


@pytest.mark.parametrize("problem", [name for name in PROBLEMS if "pendulum" in name][:2])
def test_every_changed_operation_of_a_constrained_kernel_is_seen(problem):
    method = CONSTRAINED[0]
    machine = interpreter(problem, method)
    other = {name: 1.1 * value for name, value in machine.parameters.items()}
    machine = IntegratorInterpreter(machine.integrator, other)
    text = python_of(problem, method)
    assert moved(ast.parse(text), machine) < 1e-14
    count = len(list(operations(ast.parse(text))))
    assert count > 20
    unseen = []
    for index in range(count):
        tree = ast.parse(text)
        node = list(operations(tree))[index]
        before = ast.unparse(node)
        node.op = OTHER[type(node.op)]()
        try:
            distance = moved(ast.fix_missing_locations(tree), machine)
        except (ZeroDivisionError, FloatingPointError, IndexError, TypeError, ValueError):
            continue
        if distance < 1e-14:
            unseen.append(before)
    # what compensation adds back is below what is compared
    assert not [text for text in unseen if "low" not in text and "total" not in text], unseen
