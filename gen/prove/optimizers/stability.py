"""Linear stability: the largest curvature a step survives.

In: a derivation.  Out: for which lambda the emitted step, with g = lambda x and K replaced by its
quadratic part at rest, is a contraction of the plane: both eigenvalues of its matrix M in the unit
disk, by the Schur-Cohn conditions |det M| <= 1 and |tr M| <= 1 + det M.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import Expr, Total, limit, tidy, written
from hamilforge.gen.derive.optimizers.rotation import b, g, last_b, new_b, present, x
from hamilforge.gen.derive.scheme import constant_values
from hamilforge.gen.derive.symbols import Velocity, n, p, parameter_symbol, t
from hamilforge.gen.program.optimizers.build import Derivation
from hamilforge.gen.program.reference import NUMPY_FUNCTIONS

#: What SymPy's functions are on numbers, for ``lambdify``: the reference's, and those that are
#: written out there.
ON_NUMPY = [
    {
        **NUMPY_FUNCTIONS,
        "clip": lambda x, y, z: np.minimum(np.maximum(x, y), z),
        "where": lambda x, y, z: np.where(np.greater(x, 0), y, z),
    },
    "numpy",
]
curvature = sp.Symbol("lambda", positive=True)


@dataclass(frozen=True, slots=True)
class Limit:
    """A stability limit, or why there is none."""

    text: str | None
    why: str = ""
    symbolic: bool = False


def rest_is_isolated(derivation: Derivation) -> bool | None:
    """Whether a step at lambda = 1 leaves only rest in place; None if K is not quadratic."""
    stiffness = quadratic_part(derivation)
    if stiffness is None:
        return None
    numbers = {**_defaults(derivation), t: sp.Integer(3), n: sp.Integer(5)}
    matrix = _step_matrix(derivation, stiffness, numbers).xreplace({curvature: sp.Integer(1)})
    moved = np.array(matrix.xreplace(numbers).evalf(), float) - np.eye(2)
    return bool(abs(np.linalg.det(moved)) > 1e-12)


def stability_limit(derivation: Derivation) -> Limit:
    """The limit on ``lambda q^2/2``, in the hyper-parameters where it is a formula."""
    stiffness = quadratic_part(derivation)
    if stiffness is None:
        return Limit(None, "K is not quadratic at rest: its Hessian there is zero or infinite")
    several = len(derivation.program.stages) > 1
    numbers = _defaults(derivation) if several else {}
    defaults = _defaults(derivation)
    rest = stiffness.xreplace(derivation.values).xreplace(defaults)
    if rest.is_number and not rest > 0:
        return Limit(None, "K is not convex at rest, so q and p have a saddle there")
    matrix = _step_matrix(derivation, stiffness, numbers)
    if matrix.has(t, n) or derivation.system.gamma.has(t):
        return Limit(None, "the scalars of a step change with time")
    settle = sp.expand if several else tidy
    determinant = settle(matrix.det())
    trace = settle(matrix.trace())
    edges = [1 + determinant + trace, 1 + determinant - trace, 1 - determinant]
    linear = not several and all(sp.degree(sp.expand(edge), curvature) <= 1 for edge in edges)
    formula = _formula(derivation, edges) if linear else None
    if formula is not None and _binds(derivation, formula, matrix):
        return Limit(_written_limit(derivation, formula), symbolic=True)
    return _number(derivation, edges, matrix)


def quadratic_part(derivation: Derivation) -> Expr | None:
    """The factor k of grad K = k p + ... at rest; None where there is none."""
    gradient = derivation.system.gradient.replace(Total, lambda arg: arg)
    momentum = sp.Symbol("p_entry", positive=True)
    entry = gradient.xreplace({p: momentum})
    defaults = {
        symbol: sp.Rational(parameter.default.numerator, parameter.default.denominator)
        for parameter, symbol in (
            (declared, parameter_symbol(declared))
            for declared in derivation.optimizer.system.parameters
        )
        if any(symbol in power.exp.free_symbols for power in entry.atoms(sp.Pow))
    }
    slope = limit(tidy(entry.xreplace(defaults) / momentum), momentum, 0)
    if slope == 0 or not slope.is_finite:
        return None
    return slope


def _step_matrix(
    derivation: Derivation, stiffness: Expr, numbers: Mapping[sp.Symbol, Expr]
) -> sp.Matrix:
    """The matrix of a step on (x, buffer), both in their stored units."""
    start = sp.symbols("x_entry b_entry", real=True)
    point, buffer = start
    unit = derivation.unit.xreplace(numbers)
    stiffness = stiffness.xreplace(derivation.values).xreplace(numbers)
    for stage in derivation.rotated.stages:
        kicked = _linear(derivation, present(stage.buffer), stiffness).xreplace(numbers)
        force = curvature * point
        momentum = {b: buffer / unit, x: point, g: force}
        fresh = tidy_linear(kicked.xreplace(momentum) * unit, start)
        moved = _linear(derivation, present(stage.point), stiffness).xreplace(numbers)
        values = {**momentum, last_b: buffer / unit, new_b: fresh / unit}
        point, buffer = tidy_linear(moved.xreplace(values), start), fresh
    rows = [[sp.expand(end).coeff(variable) for variable in start] for end in (point, buffer)]
    return sp.Matrix(rows)


def tidy_linear(expr: Expr, variables: tuple[sp.Symbol, ...]) -> Expr:
    """A linear form with tidy coefficients, polynomials in the curvature where all is numbers."""
    whole = sp.expand(expr)
    parts = [whole.coeff(variable) for variable in variables]
    rest = sp.expand(whole - sp.Add(*(a * b for a, b in zip(parts, variables, strict=True))))
    if rest != 0 or any(part.has(*variables) for part in parts):
        raise NotDerivableError("the step is not linear on a quadratic J")
    symbols = whole.free_symbols - {*variables, curvature}
    tidied = [tidy(part) if symbols else sp.expand(part.evalf(30)) for part in parts]
    return sp.Add(*(part * variable for part, variable in zip(tidied, variables, strict=True)))


def _linear(derivation: Derivation, expr: Expr, stiffness: Expr) -> Expr:
    """An expression of a stage with K replaced by its quadratic part, in the hyper-parameters."""
    linear = expr.replace(Velocity, lambda momentum: stiffness * momentum)
    return derivation.specialised(linear).xreplace(derivation.values)


def _defaults(derivation: Derivation) -> dict[sp.Symbol, Expr]:
    values: dict[sp.Symbol, Expr] = {}
    for parameter in derivation.program.hyperparameters:
        exact = sp.Rational(parameter.default.numerator, parameter.default.denominator)
        values[parameter_symbol(parameter)] = exact
    for symbol, value in constant_values(derivation.scheme.constants).items():
        values[symbol] = sp.N(value, 30)
    return values


def _formula(derivation: Derivation, edges: list[Expr]) -> Expr | None:
    """The smallest positive root of the edges at the defaults, as a formula; None without one."""
    defaults = _defaults(derivation)
    roots = []
    for edge in edges:
        whole = sp.expand(edge)
        slope, rest = whole.coeff(curvature, 1), whole.coeff(curvature, 0)
        if slope == 0:
            continue
        root = tidy(-rest / slope)
        size = float(root.xreplace(defaults))
        if size > 0:
            roots.append((size, root))
    return min(roots, key=lambda pair: pair[0])[1] if roots else None


def _binds(derivation: Derivation, root: Expr, matrix: sp.Matrix) -> bool:
    """Whether a formula is the limit at hyper-parameters drawn from their whole domain."""
    generator = random.Random(1)
    symbols = sorted(_defaults(derivation), key=str)
    domains = {parameter.name: parameter.domain for parameter in derivation.program.hyperparameters}
    radius = sp.lambdify([curvature, *symbols], matrix, ON_NUMPY)
    bound = sp.lambdify(symbols, root, ON_NUMPY)
    for _ in range(40):
        point = [
            generator.uniform(0.05, 0.95)
            if domains.get(symbol.name) in kinds.BETWEEN_0_AND_1
            else generator.uniform(0.05, 4.0)
            for symbol in symbols
        ]
        size = float(bound(*point))
        if not size > 0:
            return False
        for share, stable in ((1e-6, True), (0.5, True), (0.999, True), (1.001, False)):
            eigenvalues = np.linalg.eigvals(np.array(radius(share * size, *point), float))
            if (max(abs(eigenvalues)) <= 1 + 1e-9) != stable:
                return False
    return True


def _written_limit(derivation: Derivation, root: Expr) -> str:
    defaults = _defaults(derivation)
    rate = next((s for s in defaults if s.name == "lr"), None)
    for power in (1, 2):
        if rate is None:
            break
        scaled = tidy(root * rate**power)
        if not scaled.has(rate):
            left = "lr*lambda" if power == 1 else "lr**2*lambda"
            return f"{left} < {written(_positive_denominator(scaled, defaults))}"
    return f"lambda < {written(_positive_denominator(root, defaults))}"


def _positive_denominator(expr: Expr, values: Mapping[sp.Symbol, Expr]) -> Expr:
    """The same quotient with a denominator that is positive at the default hyper-parameters."""
    over, under = sp.fraction(expr)
    return sp.expand(-over) / sp.expand(-under) if under.xreplace(values) < 0 else expr


def _number(derivation: Derivation, edges: list[Expr], matrix: sp.Matrix) -> Limit:
    """The first curvature beyond which the numeric step matrix has an eigenvalue outside."""
    defaults = _defaults(derivation)
    rate = next((float(v) for s, v in defaults.items() if s.name == "lr"), 1.0)
    scaled = [
        sp.Poly(
            sp.expand(edge.xreplace(defaults).xreplace({curvature: curvature / rate})), curvature
        )
        for edge in edges
    ]
    numeric = matrix.xreplace(defaults).xreplace({curvature: curvature / rate})
    radius = sp.lambdify(curvature, numeric, ON_NUMPY)

    def unstable(size: float) -> bool:
        return bool(max(abs(np.linalg.eigvals(np.array(radius(size), float)))) > 1 + 1e-9)

    if unstable(1e-9):
        return Limit(None, "the step is unstable however small the curvature, at the defaults")
    sizes = sorted(root for polynomial in scaled for root in _positive_roots(polynomial))
    first = next((size for size in sizes if unstable(size * (1 + 1e-6))), None)
    shown = [s for s in defaults if s not in derivation.scheme.constants]
    at = ", ".join(f"{symbol.name} = {float(defaults[symbol]):g}" for symbol in shown)
    if first is None:
        return Limit(f"every lambda at {at}")
    return Limit(f"{'lr*' if rate != 1.0 else ''}lambda < {first:.6g} at {at}")


def _positive_roots(polynomial: sp.Poly) -> list[float]:
    """Real positive roots; coefficients that are rounding noise are zero."""
    coefficients = np.array([float(c) for c in polynomial.all_coeffs()])
    coefficients[abs(coefficients) < 1e-18 * max(1.0, abs(coefficients).max())] = 0
    roots = np.roots(coefficients)
    return [
        float(root.real) for root in roots if abs(root.imag) < 1e-7 * abs(root) and root.real > 0
    ]
