"""Verification catches every changed sign and coefficient of an emitted kernel."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hamilforge import optimizer_cases
from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.program.ir import Apply, Const, Function, Line, Ref
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.rounding import errors
from hamilforge.generation import catalogue_folder
from hamilforge.optimizer_cases import reference_cases
from hamilforge.runtime.core.comparison import Deviation
from hamilforge.runtime.optimizers.verify import (
    FORMS,
    ROOM,
    _deviation,
    _distance,
    _host_deviation,
    _solution_deviation,
)
from tests.interpreted import SHAPES, as_python, program_of
from tests.optimizers import ASSIGNED, MECHANICAL
from tests.samples import sampled

EXPECTED = Path(__file__).parents[1] / "expected" / "proofs.toml"
NAMES = tomllib.loads(EXPECTED.read_text())["mutation"]["verify"]


class Fault(ast.NodeTransformer):
    """One arithmetic operation of the emitted code changed, or one in place left out."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen = wanted, 0

    def _hit(self) -> bool:
        self.seen += 1
        return self.seen - 1 == self.wanted

    def visit_BinOp(self, node):
        self.generic_visit(node)
        swap = {ast.Add: ast.Sub, ast.Sub: ast.Add}
        if type(node.op) in swap and self._hit():
            return ast.BinOp(node.left, swap[type(node.op)](), node.right)
        if isinstance(node.op, ast.Mult | ast.Div | ast.Pow) and self._hit():
            return ast.BinOp(node, ast.Mult(), ast.Constant(1 + 1e-6))
        return node

    def visit_Expr(self, node):
        self.generic_visit(node)
        in_place = isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute)
        return ast.Pass() if in_place and self._hit() else node

    def visit_UnaryOp(self, node):
        self.generic_visit(node)
        return node.operand if isinstance(node.op, ast.USub) and self._hit() else node


def faulty(name, backend, wanted, tmp_path, interpreted):
    """A shipped file with one fault; None when there are no more."""
    text = (catalogue_folder() / f"{name}_{backend}.py").read_text()
    return faulty_text(text, backend, wanted, tmp_path, interpreted)


def faulty_text(text, backend, wanted, tmp_path, interpreted):
    """A text with one fault; None when there are no more."""
    tree = ast.parse(text.replace("parallel=True, ", "").replace(", cache=True", ""))
    fault = Fault(wanted)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            fault.visit(node)
    if fault.seen <= wanted:
        return None
    changed = ast.unparse(ast.fix_missing_locations(tree))
    if interpreted:
        return as_python(changed, f"fault_{wanted}")
    path = tmp_path / f"fault_{wanted}_{backend}.py"
    path.write_text(changed)
    spec = importlib.util.spec_from_file_location(f"fault_{wanted}_{backend}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def worst_deviation(module, backend, cases):
    """How far a backend is from the reference: scalars, stages and the map to the solution."""
    forms = [maker(module, "cpu") for maker in FORMS[backend].values()]
    return max(
        deviation
        for case in cases
        for deviation in (
            _host_deviation(module, case).bounds,
            *(_deviation(form, case).bounds for form in forms),
            _solution_deviation(module, backend, case, "cpu").bounds,
        )
    )


@pytest.mark.parametrize(
    ("name", "backend", "interpreted"),
    [
        *sampled([(name, "torch", False) for name in NAMES], every=2),
        ("rgd", "numba", True),
        pytest.param("rgd", "numba", False, marks=pytest.mark.full),
    ],
)
def test_every_operation_of_the_emitted_code_is_checked(
    name, backend, interpreted, tmp_path, monkeypatch
):
    monkeypatch.setattr(optimizer_cases, "SHAPES", SHAPES)
    program = derive(catalogue.load(name, ("optimizer",))).program
    cases = [case for case in reference_cases(program) if case.dtype == "float64"]
    wanted = 0
    with np.errstate(all="ignore"):
        while (module := faulty(name, backend, wanted, tmp_path, interpreted)) is not None:
            assert worst_deviation(module, backend, cases) > 50 * ROOM, (name, wanted)
            wanted += 1
    assert wanted >= 4


CHOICES = """\
kind = "optimizer"
name = "choices"
title = "Every kind of choice"
reference = "-"
unknowns = ["x", "m"]
assign = [
    "m = 9/10*m + clip(grad(x), -1, 1)",
    "x = x - lr*where(grad(x), max(m, abs(grad(x))), min(m, 1/2)) - lr*sign(m)*step(m)",
]
[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
"""


@pytest.mark.parametrize("backend", FORMS)
def test_every_operation_around_choices_is_checked(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(optimizer_cases, "SHAPES", SHAPES)
    path = tmp_path / "choices.toml"
    path.write_text(CHOICES)
    rule = catalogue.load(path, ("optimizer",))
    cases = [c for c in reference_cases(derive_rule(rule).program) if c.dtype == "float64"]
    bounds = np.concatenate(
        [
            array.ravel()
            for case in cases
            for stage in case.rounding
            for arrays in stage
            for array in arrays
        ]
    )
    assert np.isinf(bounds).mean() < 1e-3
    texts = pipeline.render_rule(rule)
    (text,) = (text for name, text in texts.items() if name.endswith(f"_{backend}.py"))
    wanted, as_numpy = 0, backend == "numba"
    with np.errstate(all="ignore"):
        while (module := faulty_text(text, backend, wanted, tmp_path, as_numpy)) is not None:
            assert worst_deviation(module, backend, cases) > 50 * ROOM, wanted
            wanted += 1
    assert wanted >= 6


SYSTEM = """\
kind = "hamiltonian"
name = "mine_system"
title = "A system"
reference = "-"
kinetic = "{kinetic}"
potential = "J(q)"
friction = "gamma"
[parameters]
gamma = {{ default = 1.0, domain = "nonnegative" }}
"""
RULE = """\
kind = "optimizer"
name = "mine"
title = "A rule"
reference = "-"
system = "mine_system.toml"
method = "conformal_leapfrog"
[hyperparameters]
lr = { default = 1e-2, domain = "nonnegative" }
momentum = { default = 0.9, domain = "open-unit-interval" }
[set]
h = "lr"
gamma = "-log(momentum)/h"
"""


def rule(tmp_path, kinetic):
    (tmp_path / "mine_system.toml").write_text(SYSTEM.format(kinetic=kinetic))
    path = tmp_path / "mine.toml"
    path.write_text(RULE)
    return path


def flags_of(name):
    hyperparameters = catalogue.load(f"optimizer/{name}").hyperparameters
    return [entry.name for entry in hyperparameters if entry.domain == "flag"]


@pytest.mark.parametrize("name", [name for name in (*ASSIGNED, *MECHANICAL) if flags_of(name)])
def test_each_value_of_a_flag_is_verified(name, monkeypatch):
    monkeypatch.setattr(optimizer_cases, "SHAPES", SHAPES)
    steps = [step for case in reference_cases(program_of(name)) for step in case.hyper]
    for flag in flags_of(name):
        assert {step[flag] for step in steps} == {0.0, 1.0}


@pytest.mark.parametrize(
    "kinetic", ["sum(p**2)*sum(sqrt(1 + 3*p**2))/2", "sqrt(1 + sum(sqrt(1 + p**2)))"]
)
def test_sums_with_scalars_in_them_agree(verifies, kinetic, tmp_path):
    assert verifies(rule(tmp_path, kinetic)).holds


def test_a_sum_within_a_sum_is_refused_in_words(tmp_path):
    path = rule(tmp_path, "sum(sqrt(1 + dot(p, p) + p**2))")
    with pytest.raises(DeclarationError, match="a sum within a sum"):
        pipeline.check(catalogue.load(path))


def test_halves_of_exponentials_may_leave_the_range_before_they_do():
    """Of a product of a small number and sinh, which is in the range where that is."""
    x, out = Array("x", ("d",)), Array("out", ("d",))
    value = Apply("mul", (Const(Fraction(1, 10)), Apply("sinh", (Ref("x"),))))
    function = Function("f", (x,), (Line(out, value),), (("out", out),))
    points = np.array([1.0, 700.0, 710.2, -710.2])
    (bound,) = errors(function, {"x": [points]}, {}, "float64")["out"]
    assert np.isfinite(bound).tolist() == [True, True, False, False]
    expected = np.sinh(points) / 10
    wrong = np.array([expected[0], expected[1], np.inf, -np.inf])
    assert _distance(wrong, expected, abs(expected), bound).bounds == 0
    for place, fault in ((0, np.inf), (1, np.inf), (2, np.nan)):
        faulty = expected.copy()
        faulty[place] = fault
        assert _distance(faulty, expected, abs(expected), bound).bounds > 1e300


def test_what_is_much_is_said_with_what_rounding_may_do() -> None:
    much = Deviation("torch", "drawn", "float64", 1.5e14, True, 0.4)
    assert much.size == "1.5e+14 ulp, 0.4 of the bound of rounding errors"
    assert Deviation("torch", "drawn", "float64", 0.5, True, 0.4).size == "  0.50 ulp"
    assert Deviation("numba", "drawn", "float64", 12.0, True).size == " 12.00 ulp"
