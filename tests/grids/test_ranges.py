"""Steps over the whole range of both types: rules x backends x sizes of gradients.

The reference is the program in numbers without bounds, mpmath's.  Where all its entries are numbers
of the type, the step gives these; where one is too large, the step says so by what is not finite.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.algebra import Algebra
from hamilforge.gen.program.interpret import run_function
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.interpret import Interpreter
from hamilforge.runtime.core import loader
from hamilforge.runtime.optimizers.torch_sums import WideScalar, narrow, squares_over
from tests.interpreted import interpret, program_of
from tests.optimizers import ASSIGNED, COMPILED, MECHANICAL

mp = mpmath.mp.clone()
mp.dps = 30
RULES = MECHANICAL
ENTRIES = (1.0, -0.5, 0.0, 1e-3, 0.75)
#: Relative errors that rounding may leave after two steps, and decimal exponents of gradients.
TYPES = {
    torch.float32: (2e-5, (-30, -20, -10, 0, 8, 15, 18, 19, 20, 25, 30, 36)),
    torch.float64: (1e-12, (-290, -200, -163, -160, -100, 0, 45, 60, 90, 120, 150, 154, 200, 300)),
}


def _entries(function: Any) -> Any:
    return np.frompyfunc(function, 1, 1)


def _power(base: Any, exponent: Any) -> Any:
    number = mp.mpf(exponent.numerator) / exponent.denominator
    return np.frompyfunc(lambda x: mp.power(x, number), 1, 1)(base)


UNBOUNDED = Algebra(
    constant=lambda value: mp.mpf(value.numerator) / value.denominator,
    functions={
        "abs": abs,
        **{
            name: np.frompyfunc(lambda x, y, holds=holds: mp.mpf(holds(x, y)), 2, 1)
            for name, holds in {
                "greater": operator.gt,
                "at_least": operator.ge,
                "equal": operator.eq,
            }.items()
        },
        "max": np.frompyfunc(max, 2, 1),
        "min": np.frompyfunc(min, 2, 1),
        "sign": _entries(mp.sign),
        "pow": lambda base, exponent: (
            _power(base, exponent)
            if hasattr(exponent, "numerator")
            else np.frompyfunc(mp.power, 2, 1)(base, exponent)
        ),
        "sqrt": _entries(mp.sqrt),
        "tanh": _entries(mp.tanh),
        "log": _entries(mp.log),
        "log1p": _entries(mp.log1p),
    },
    total=np.sum,
    select=lambda subject, value, then, otherwise: (
        (then() if subject == value else otherwise())
        if np.ndim(subject) == 0
        else np.where(subject == value, then(), otherwise())
    ),
)


class Unbounded(Interpreter):
    """A program in mpmath's numbers; the scalars of the host are floats."""

    def _run(self, function: Any, arrays: Any, scalars: Any) -> Any:
        numbers = {name: mp.mpf(float(value)) for name, value in scalars.items()}
        return run_function(function, arrays, numbers, UNBOUNDED)


def _reference(program: Any, gradients: Any, count: int, changed: Any) -> Any:
    hyper = {entry.name: float(entry.default) for entry in program.hyperparameters} | changed
    numbers = [np.array([mp.mpf(entry) for entry in one.tolist()], object) for one in gradients]
    run = Unbounded(program, hyper, [0 * one for one in numbers])
    largest = 0
    for _ in range(count):
        run.step(numbers)
        largest = np.maximum(largest, abs(np.concatenate(run.x)))
    return np.concatenate(run.x), np.concatenate(run.solution()), largest


def _agree(found: Any, wanted: Any, largest: Any) -> None:
    dtype = found.dtype
    tolerance = TYPES[dtype][0]
    limits = torch.finfo(dtype)
    if any(abs(value) > limits.max for value in wanted):
        assert not np.isfinite(found).all()
        return
    sizes = np.maximum(abs(wanted), largest)
    for entry, value, size in zip(found.tolist(), wanted, sizes, strict=True):
        assert abs(mp.mpf(entry) - value) <= tolerance * size + limits.tiny


def _check(rule: str, program: Any, gradients: Any, **changed: float) -> None:
    """Both forms of a rule's steps beside the reference, which is computed once."""
    dtype = gradients[0].dtype
    count = 2 * len(program.stages)
    point, solution, largest = _reference(program, gradients, count, changed)
    for fused in (True, False):
        params = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        plain = {} if program.own_decay else {"weight_decay": 0.0}
        optimizer = hf.optimizer(rule)(params, fused=fused, **plain, **changed)
        for _ in range(count):
            for param, gradient in zip(params, gradients, strict=True):
                param.grad = gradient.clone()
            optimizer.step()
        _agree(torch.cat(params).detach(), point, largest)
        if all(abs(value) < torch.finfo(dtype).max for value in point):
            with optimizer.solution():
                _agree(torch.cat(params).detach(), solution, largest)


@functools.cache
def _program(rule: str) -> Any:
    return program_of(rule)


def _gradient(exponent: int, dtype: torch.dtype) -> Any:
    return torch.tensor(ENTRIES, dtype=torch.float64).mul(10.0**exponent).to(dtype)


def _cover(names: Any, compiled: Any) -> list[Any]:
    """Each name with each type: its kernels compiled in a cover of both, and as Python elsewhere.

    Args:
        names: of rules or energies.
        compiled: by type, of which of them kernels are compiled; those of all are in ``full``.
    """
    cases = []
    for offset, dtype in enumerate(TYPES):
        for place, name in enumerate(names):
            rest = name not in compiled[dtype]
            marks = [pytest.mark.full] * rest
            if rest:
                other = [pytest.mark.full] * ((place + offset) % 2)
                case = pytest.param(
                    name, dtype, False, id=f"{name}-{dtype}-interpreted", marks=other
                )
                cases.append(case)
            cases.append(
                pytest.param(name, dtype, True, id=f"{name}-{dtype}-compiled", marks=marks)
            )
    return cases


_COVER = [rule for rule in RULES if rule in COMPILED]
IN_TYPES = {torch.float64: _COVER[::2], torch.float32: _COVER[1::2]}


@pytest.mark.parametrize(("rule", "dtype", "compiled"), _cover(RULES, IN_TYPES))
def test_steps_are_right_over_the_whole_range(
    rule: str, dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _program(rule)
    if not compiled:
        interpret(monkeypatch)
    for exponent in TYPES[dtype][1]:
        _check(rule, program, [_gradient(exponent, dtype)])


#: Hyper-parameters at which rounding decides no sign.
AWAY = {"yogi": {"initial_accumulator": 0.7e-6}}


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("rule", ASSIGNED)
def test_steps_of_rules_are_right_where_squares_are_numbers(
    rule: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _program(rule)
    interpret(monkeypatch)
    reach = 16 if dtype == torch.float32 else 151
    for exponent in TYPES[dtype][1]:
        if abs(exponent) < reach:
            changed = AWAY.get(rule, {})
            _check(rule, program, [_gradient(exponent, dtype)], **changed)


#: Values at both ends of domains, as far as two steps of them are no overflow by themselves.
ENDS = {
    "nonnegative": (0.0, 4.0),
    "positive": (0.5, 4.0),
    "unit-interval": (0.0, 0.999),
    "open-unit-interval": (0.01, 0.999),
}


@pytest.mark.parametrize(("rule", "dtype", "compiled"), _cover(RULES, IN_TYPES))
def test_ends_of_domains_have_the_whole_range(
    rule: str, dtype: torch.dtype, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _program(rule)
    if not compiled:
        interpret(monkeypatch)
    for entry in program.hyperparameters:
        for value in ENDS.get(entry.domain, ()):
            for exponent in TYPES[dtype][1][::2]:
                _check(rule, program, [_gradient(exponent, dtype)], **{entry.name: value})


def _some(names: Any) -> Any:
    """By type, a sixth of the names."""
    return {dtype: [*names][k::6] for k, dtype in zip((0, 3), TYPES, strict=True)}


#: Kinetic energies of which each needs another operation on wide scalars, or on scaled entries.
KINETIC = {
    "a length": "norm(p)",
    "powers": "dot(p, p)**(2/3)*3/4",
    "a root in a quotient": "dot(p, p)/(2*sqrt(1 + dot(p, p)))",
    "a logarithm": "log(1 + dot(p, p))/2",
    "a difference": "3*sqrt(4 + dot(p, p)) - sqrt(1 + dot(p, p))",
    "a function that ends": "atan(dot(p, p))/2",
    "a quotient of powers": "dot(p, p)**2/(1 + dot(p, p)**(3/2))/4",
    "a size": "sqrt(1 + abs(dot(p, p) - 1))",
    "high powers": "dot(p, p)**5/(1 + dot(p, p)**(9/2))/5",
    "entries": "sum(sqrt(1 + p**2))",
    "powers of entries": "sum(p**2/(2*sqrt(1 + 3*p**2)))",
}
SYSTEM = """\
kind = "hamiltonian"
name = "mine_system"
title = "A system"
reference = "None"
kinetic = "{kinetic}"
potential = "J(q)"
friction = "gamma"
[parameters]
gamma = {{ default = 1.0, domain = "nonnegative", doc = "friction" }}
"""
OPTIMIZER = """\
kind = "optimizer"
name = "mine"
title = "A rule"
reference = "None"
system = "mine_system.toml"
method = "conformal_leapfrog"
[hyperparameters]
lr = { default = 1e-2, domain = "nonnegative", doc = "step" }
momentum = { default = 0.9, domain = "unit-interval", doc = "factor" }
[set]
h = "lr"
gamma = "-log(momentum)/h"
"""


@pytest.mark.parametrize(("energy", "dtype", "compiled"), _cover(KINETIC, _some(KINETIC)))
def test_scalars_and_entries_of_any_energy_have_the_whole_range(
    energy: str,
    dtype: torch.dtype,
    compiled: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OPTIMIZER)
    (tmp_path / "mine_system.toml").write_text(SYSTEM.format(kinetic=KINETIC[energy]))
    program = derive(catalogue.load(path)).program
    if not compiled:
        interpret(monkeypatch)
    for exponent in TYPES[dtype][1]:
        _check(str(path), program, [_gradient(exponent, dtype)])


#: Energies of which a coefficient may vanish.
COEFFICIENTS = {
    "in a quotient": "sum(p**2/(2*sqrt(1 + c*p**2)))",
    "of a fourth power": "sum((1 + c*p**4)**(1/4))",
    "of all": "sum(sqrt(1 + c*p**2))",
}


@pytest.mark.parametrize(("energy", "dtype", "compiled"), _cover(COEFFICIENTS, _some(COEFFICIENTS)))
def test_coefficients_of_entries_may_vanish(
    energy: str,
    dtype: torch.dtype,
    compiled: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "mine.toml"
    own = 'c = { default = 1.0, domain = "nonnegative", doc = "coefficient" }\n'
    path.write_text(OPTIMIZER.replace("[set]", f'k{own[1:]}[set]\nc = "k"'))
    (tmp_path / "mine_system.toml").write_text(SYSTEM.format(kinetic=COEFFICIENTS[energy]) + own)
    program = derive(catalogue.load(path)).program
    if not compiled:
        interpret(monkeypatch)
    for k in (0.0, 1e-30, 1e-8, 4.0):
        for exponent in TYPES[dtype][1][::2]:
            _check(str(path), program, [_gradient(exponent, dtype)], k=k)


def test_factors_of_half_precision_are_split_at_its_own_range(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OPTIMIZER)
    (tmp_path / "mine_system.toml").write_text(SYSTEM.format(kinetic="norm(p)"))
    param = torch.nn.Parameter(torch.zeros(2, dtype=torch.float16))
    optimizer = hf.optimizer(str(path))([param], lr=1.0, fused=False)
    param.grad = torch.tensor([1e-5, -5e-6], dtype=torch.float16)
    optimizer.step()
    length = param.grad.double() / param.grad.double().norm()
    assert torch.allclose(param.double() / param.double().norm(), -length, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, *TYPES], ids=str)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_steps_can_be_traced_and_compiled_whole(dtype: torch.dtype, size: float) -> None:
    product = loader.load("rgd").module("torch")
    arrays = [[size * torch.linspace(k - 1, k, 5, dtype=dtype)] for k in range(3)]
    row = (0.9, 1e-3, 0.1, 0.081, 0.9)
    expected = product.kick_drift(*arrays, *row)
    compiled = torch.compile(product.kick_drift, backend="eager", fullgraph=True)
    traced = make_fx(lambda *lists: product.kick_drift(*lists, *row))(*arrays)
    for form in (compiled(*arrays, *row), traced(*arrays)):
        for found, wanted in zip(form, expected, strict=True):
            assert torch.equal(found[0], wanted[0]) or dtype == torch.float16
            assert torch.allclose(found[0], wanted[0], rtol=1e-2)
    with FakeTensorMode():
        product.kick_drift(*([torch.ones(3, dtype=dtype)] for _ in range(3)), *row)


def test_parts_of_a_sum_may_have_scales_of_their_own() -> None:
    program = _program("rgd")
    for exponents in [(200, 0, -200), (-200, -300), (200, 210), (-200, 0), (0, 0)]:
        gradients = [_gradient(exponent, torch.float64) for exponent in exponents]
        _check("rgd", program, gradients)


FUNCTIONS = (torch.sqrt, torch.log, torch.log1p, torch.abs, torch.tanh, torch.atan, torch.exp)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_functions_of_wide_scalars_and_their_graphs_are_those_of_numbers(function: Any) -> None:
    for size in (1e-60, 1e-3, 1 + 1e-10, 5.0, 1e60):
        entries = torch.tensor([size, 0.0], dtype=torch.float64, requires_grad=True)
        wide = WideScalar((entries * entries).sum(), 0.0)
        plain = (entries * entries).sum()
        found, wanted = narrow(function(wide)), function(plain)
        assert torch.allclose(found, wanted, rtol=1e-12, atol=0)
        if wanted.isfinite():
            slopes = [torch.autograd.grad(value, entries)[0] for value in (found, wanted)]
            assert torch.allclose(*slopes, rtol=1e-9, atol=0)


def test_graphs_at_nothing_but_zeros_are_those_of_plain_sums() -> None:
    entries = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    for function in (torch.log1p, torch.exp, torch.tanh):
        (slope,) = torch.autograd.grad(narrow(function(squares_over([entries]))), entries)
        assert (slope == 0).all()
    wide = WideScalar((entries * entries).sum(), 0.0)
    (slope,) = torch.autograd.grad(narrow(torch.log1p(wide)), entries)
    assert (slope == 0).all()


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
def test_rules_whose_functions_are_the_runtimes_take_zeros(fused: bool, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(OPTIMIZER)
    (tmp_path / "mine_system.toml").write_text(SYSTEM.format(kinetic="cbrt(1 + dot(p, p))"))
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = hf.optimizer(str(tmp_path / "mine.toml"))([param], fused=fused)
    for size in (0.0, 1.0, 1e200):
        param.grad = torch.full((3,), size, dtype=torch.float64)
        optimizer.step()
        assert param.isfinite().all()


def test_the_graph_goes_through_wide_scalars() -> None:
    for exponent in (0, 180, -180):
        gradient = _gradient(exponent, torch.float64).requires_grad_()
        scale = 10.0**exponent
        total = squares_over([gradient])
        length = narrow(torch.sqrt(total) / scale)
        (slope,) = torch.autograd.grad(length, gradient)
        entries = torch.tensor(ENTRIES, dtype=torch.float64)
        assert torch.allclose(slope * scale, entries / entries.norm(), rtol=1e-12)
        assert isinstance(total, WideScalar) == (exponent != 0)
