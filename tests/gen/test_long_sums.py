"""Long sums: their code is made in a time that follows their length, and compilers take it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import sympy as sp

from hamilforge.gen import pipeline, products
from hamilforge.gen.emit.printer import HostPrinter
from hamilforge.gen.program.ir import Ref
from hamilforge.gen.program.lower import DEGREE, FACTORED, _Size, add, lower, mul

X = sp.Symbol("x", real=True)
PRIMES = [sp.Integer(p) for p in sp.primerange(1000, 2200)][:150]


@pytest.mark.parametrize(
    "expr",
    [
        sp.Add(*(X * sp.cos(k * X) for k in range(1, FACTORED + 2))),
        sp.log(1 + sp.Add(*(sp.sqrt(X**2 + k) for k in range(1, FACTORED + 2)))),
        sp.Add(*(X**k for k in range(DEGREE + 2))),
        sp.tanh((1 + X) ** (DEGREE + 1) - 1),
        sp.Add(*((X - k * sp.sqrt(X + 1) - sp.cos(X)) ** 3 / k for k in PRIMES)),
        sp.exp(-((X - 100) ** 2)) - sp.Rational(1, 2),
        sp.exp(100 * (X - 1) * (X + 1)) - 1,
        X ** sp.Rational(400, 3) - 1,
    ],
    ids=["calls", "roots", "degree", "inside", "terms", "bell", "product", "power"],
)
def test_no_large_polynomial_is_factored(monkeypatch: pytest.MonkeyPatch, expr: Any) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("a large polynomial is factored")

    monkeypatch.setattr(sp.Expr, "factor", refused)
    text = HostPrinter()(lower(expr))
    assert eval(text, {"math": math, "x": 0.3}) == pytest.approx(float(expr.subs(X, 0.3)), 1e-12)


@pytest.mark.parametrize(
    ("expr", "degree"),
    [
        (sp.exp(-7 * X), 7),
        (sp.exp(3 * X**2 - 5 * X / 2), 8),
        (sp.exp(-((X - 5) ** 2)), 1 + 10 + 25),
        (X ** sp.Rational(7, 3), 7),
        (sp.exp(2.5 * X), 1),
        (sp.exp((X + 1) ** (DEGREE + 1)), DEGREE + 1),
        (sp.cos(9 * X), 1),
    ],
    ids=str,
)
def test_exponentials_have_the_degree_that_they_have_as_powers(expr: Any, degree: int) -> None:
    assert _Size.of(expr).degree == degree


def test_no_form_has_integers_beyond_floating_point() -> None:
    expr = sp.Add(*((X - k) ** 2 / k for k in PRIMES))
    assert math.prod(map(int, PRIMES)) > 10**400  # what factors would have in common
    text = HostPrinter()(lower(expr))
    assert eval(text, {"x": 0.5}) == pytest.approx(float(expr.subs(X, 0.5)), 1e-12)
    ratio = sp.Rational(10**400 + 1, 3 * 10**399)
    assert eval(HostPrinter()(lower(ratio * X)), {"x": 0.3}) == pytest.approx(1.0, 1e-15)


@pytest.mark.parametrize(("together", "sign"), [(add, " + "), (mul, " * ")])
def test_sums_and_products_of_any_length_are_compiled(together: Any, sign: str) -> None:
    names = [f"x{k}" for k in range(5000)]
    text = HostPrinter()(together(*map(Ref, names)))
    assert text.replace("(", "").replace(")", "") == sign.join(names)
    values = dict.fromkeys(names, 1)
    assert eval(text, {}, values) == (5000 if sign == " + " else 1)


@pytest.mark.parametrize("method", ["gauss2", "rk4"])
def test_a_flat_sum_of_many_calls_has_code_within_its_budget(tmp_path: Path, method: str) -> None:
    terms = [f"x*cos({k}*x + y)/{k}" for k in range(1, 121)]
    path = tmp_path / "many.toml"
    path.write_text(
        'kind = "hamiltonian"\nname = "many"\ntitle = "t"\nreference = "r"\n'
        'coordinates = { q = ["x", "y"], p = ["u", "v"] }\n'
        f'energy = "u**2/2 + v**2/2 + {" + ".join(terms)}"\n'
    )
    texts = pipeline.rendered(products.load_made(path, method))
    assert all(text.count("cos(") >= len(terms) for text in texts.values())
