"""What is proved of tableaux, found again by other means: integration, brute force, sampling.

Trees, elementary weights, determinants and integrators are written here once more, as directly as
their definitions read; of hamilforge only the coefficients and the verdicts are taken.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mpmath import mpf
from scipy.optimize import minimize

from hamilforge.gen import pipeline
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.exact import linear, polynomials
from hamilforge.gen.exact.numbers import NumberField, high_precision, sign
from hamilforge.gen.tableau import contractivity, stability, structure
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.family import family
from hamilforge.gen.tableau.order import classical_order, control_order, nonautonomous_order
from hamilforge.gen.tableau.stages import Stages
from hamilforge.gen.tableau.tableau import Tableau
from tests.samples import sampled

RUNGE_KUTTA = catalogue.names("runge-kutta")
PARTITIONED = catalogue.names("partitioned")
EMBEDDED = [
    name
    for name in RUNGE_KUTTA
    if getattr(catalogue.load(name, ("runge-kutta",)).table, "b_hat", None)
]
DIGITS = 50
#: What 50 digits of the coefficients leave of a condition that holds, and published ones do.
EXACT_ZERO, PUBLISHED_ZERO = mpf(10) ** -40, mpf(10) ** -10
SLOPE_WITHIN = 0.15

Table = tuple[list[list[Any]], list[Any], list[Any]]
Tree = tuple[Any, ...]


@pytest.fixture(autouse=True)
def _digits():
    with mpmath.workdps(DIGITS):
        yield


@functools.cache
def tableau_of(name: str) -> Tableau:
    return build(catalogue.load(name, ("runge-kutta",)))


@functools.cache
def irreducible(name: str) -> Tableau:
    """The table without idle and repeated stages, which decides what the method does."""
    return structure.reduced(tableau_of(name))


@functools.cache
def report_of(name: str, kind: str = "runge-kutta") -> Any:
    return pipeline.check(catalogue.load(name, (kind,)))


def zero_of(*tableaux: Tableau) -> mpf:
    """What counts as zero in 50 digits."""
    return PUBLISHED_ZERO if any(one.tolerance for one in tableaux) else EXACT_ZERO


# Rooted trees: a tree is the sorted tuple of its branches, a branch a pair (colour, tree).


def size(tree: Tree) -> int:
    return 1 + sum(size(branch) for _, branch in tree)


def density(tree: Tree) -> int:
    return size(tree) * math.prod(density(branch) for _, branch in tree)


def grown(tree: Tree, colours: int) -> set[Tree]:
    """The trees with one leaf more."""
    found = {tuple(sorted((*tree, (colour, ())))) for colour in range(colours)}
    for k, (colour, branch) in enumerate(tree):
        rest = tree[:k] + tree[k + 1 :]
        for larger in grown(branch, colours):
            found.add(tuple(sorted((*rest, (colour, larger)))))
    return found


@functools.cache
def trees(order: int, colours: int = 1) -> tuple[Tree, ...]:
    """All rooted trees with this many vertices, their edges in colours."""
    if order == 1:
        return ((),)
    found: set[Tree] = set()
    for tree in trees(order - 1, colours):
        found |= grown(tree, colours)
    return tuple(sorted(found))


def alternates(tree: Tree, colour: int) -> bool:
    """Whether every vertex has the other colour than its parent: an edge has its child's."""
    return all(c != colour and alternates(branch, c) for c, branch in tree)


def bends_nowhere(tree: Tree, colour: int) -> bool:
    """Whether vertices of colour 0 have one child at most."""
    few = colour == 1 or len(tree) <= 1
    return few and all(bends_nowhere(branch, c) for c, branch in tree)


def stage_values(tree: Tree, maps: Sequence[Any]) -> list[Any]:
    """``Phi_i([t_1 ... t_m]) = prod_k sum_j a_ij Phi_j(t_k)``."""
    values: list[Any] = [1] * len(maps[0])
    for colour, branch in tree:
        inner = stage_values(branch, maps)
        for i, row in enumerate(maps[colour]):
            values[i] = values[i] * sum(a * v for a, v in zip(row, inner, strict=True))
    return values


def residual(tree: Tree, maps: Sequence[Any], weights: Sequence[Any]) -> Any:
    """``sum_i b_i Phi_i(t) - 1/gamma(t)``."""
    found = sum(b * v for b, v in zip(weights, stage_values(tree, maps), strict=True))
    return found - type(found)(1) / density(tree)


def residuals(maps: Sequence[Any], weights: Sequence[Any], order: int) -> list[Any]:
    """The residuals of all conditions of an order."""
    return [residual(tree, maps, weights) for tree in trees(order, len(maps))]


def brute_order(maps: Sequence[Any], weights: Sequence[Any], highest: int, zero: Any = 0) -> int:
    """The order up to a highest one, from all trees."""
    for order in range(1, highest + 1):
        if any(abs(value) > zero for value in residuals(maps, weights, order)):
            return order - 1
    return highest


def hager(a: Sequence[Sequence[Any]], b: Sequence[Any]) -> list[list[Any]]:
    """``a^_ij = b_j - b_j a_ji/b_i``."""
    stages = range(len(b))
    return [[b[j] - b[j] * a[j][i] / b[i] for j in stages] for i in stages]


def no_weight_vanishes(tableau: Tableau) -> bool:
    return min(abs(weight) for weight in tableau.precise[1]) > EXACT_ZERO


def test_trees_are_as_many_as_they_should_be():
    """A000081 and A000151."""
    assert [len(trees(order)) for order in range(1, 8)] == [1, 1, 2, 4, 9, 20, 48]
    assert [len(trees(order, 2)) for order in range(1, 6)] == [1, 2, 7, 26, 107]


# 1. Integration.


@dataclass(frozen=True, eq=False)
class Problem:
    """``y' = field(t, y)``, ``y(0) = start``.

    Attributes:
        field: the right-hand side.
        start: the initial values; for a pair first those of q, then as many of p.
    """

    field: Callable[[Any, Sequence[Any]], list[Any]]
    start: tuple[mpf, ...]

    @functools.cached_property
    def solution(self) -> Callable[[Any], Any]:
        """The solution by Taylor's method, in nearly all digits."""
        return mpmath.odefun(self.field, 0, list(self.start), tol=mpf(10) ** (2 - DIGITS))


def _nonautonomous(t, y):
    u, v = y
    return [(v + t) / (1 + u * u / 2) - u * v / 3, 1 + t * u - v / (2 + t + u * v)]


def _coupled(t, y):
    q, r, p, s = y
    return [
        p / (1 + r * r) + q * s,
        s - q * r / (2 + p),
        -q / (1 + p * s) + r * r,
        q * p - r / (1 + q),
    ]


def _separable(t, y):
    q, r, p, s = y
    return [p / (1 + s * s), s + p * p / 2 - s**3, -q - r * r / (2 + q), q * r - r / (1 + q * q)]


def _second_order(t, y):
    q, r, p, s = y
    return [p, s, -q - r * r / (2 + q), q * r - r / (1 + q * q)]


with mpmath.workdps(DIGITS):
    QUARTERS = tuple(mpf(k) / 4 for k in (2, 3, 1, -1))
    NONAUTONOMOUS = Problem(_nonautonomous, (mpf(1) / 2, mpf(1) / 3))
    COUPLED = Problem(_coupled, QUARTERS)
    SEPARABLE = Problem(_separable, QUARTERS)
    SECOND_ORDER = Problem(_second_order, QUARTERS)


def step(problem: Problem, tables: Sequence[Table], t: mpf, y: list[mpf], h: mpf, accuracy: mpf):
    """One step with a table for each component; implicit stages by fixed-point iteration."""
    parts, stages = range(len(y)), range(len(tables[0][1]))
    nodes = tables[0][2]
    explicit = not any(a[i][j] for a, _, _ in tables for i in stages for j in stages[i:])
    slopes = [[slope] * len(stages) for slope in problem.field(t, y)]
    for _ in range(200):
        change = mpf(0)
        for i in stages:
            inner = [y[d] + h * mpmath.fdot(tables[d][0][i], slopes[d]) for d in parts]
            for d, slope in enumerate(problem.field(t + nodes[i] * h, inner)):
                change = max(change, abs(slope - slopes[d][i]))
                slopes[d][i] = slope
        if explicit or change * abs(h) < accuracy:
            return [y[d] + h * mpmath.fdot(tables[d][1], slopes[d]) for d in parts]
    raise AssertionError("the stages do not converge")


def error(problem: Problem, tables: Sequence[Table], span: mpf, count: int, order: int) -> mpf:
    """The error at the end of the span."""
    h, y = span / count, list(problem.start)
    accuracy = h ** (order + 1) * mpf(10) ** -14
    for k in range(count):
        y = step(problem, tables, k * h, y, h, accuracy)
    return mpmath.norm([a - b for a, b in zip(y, problem.solution(span), strict=True)])


def observed_order(
    problem: Problem, tables: Sequence[Table], order: int, level: mpf
) -> tuple[float, bool]:
    """The slope of the error over three step sizes, and whether rounded digits do not matter.

    Args:
        problem: what to integrate.
        tables: A, b and c for each component.
        order: what is claimed; stages are solved well enough for it.
        level: how far low order conditions are from holding: larger than 0 for published digits,
            which are taken at the smallest step sizes that leave the error far above it.
    """
    exact = ((mpf(1) / 64, (4, 6, 10)),)
    published = tuple(
        (mpf(1) / 2, counts) for counts in ((16, 20, 28), (12, 16, 20), (6, 8, 10), (4, 5, 6))
    )
    for span, counts in published if level else exact:
        last = error(problem, tables, span, counts[-1], order)
        if last > 20 * span * level:
            break
    errors = [*(error(problem, tables, span, n, order) for n in counts[:-1]), last]
    steps = [-math.log(count) for count in counts]
    slope = np.polyfit(steps, [float(mpmath.log(one)) for one in errors], 1)[0]
    return float(slope), last > 20 * span * level


def rounding(maps: Sequence[Any], covectors: Sequence[Sequence[Any]], order: int) -> mpf:
    """What the conditions of low order lack, as they count at a step size of 1/16."""
    return max(
        abs(value) * mpf(16) ** (1 - n)
        for weights in covectors
        for n in range(1, min(order, 4) + 1)
        for value in residuals(maps, weights, n)
    )


def check_convergence(tableau: Tableau, order: int) -> None:
    a, b, _ = tableau.precise
    level = rounding((a,), (b,), order) if tableau.tolerance else mpf(0)
    slope, above = observed_order(NONAUTONOMOUS, [tableau.precise] * 2, order, level)
    assert above
    assert slope == pytest.approx(order, abs=SLOPE_WITHIN)


@pytest.mark.parametrize("name", sampled(RUNGE_KUTTA, every=3))
def test_a_method_converges_with_its_order(name):
    report = report_of(name)
    assert report.holds, str(report)
    check_convergence(tableau_of(name), report["order"])


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_weights_converge_with_their_order(name):
    check_convergence(tableau_of(name).embedded(), report_of(name)["embedded_order"])


@functools.cache
def pair_of(name: str) -> tuple[Table, Table, bool]:
    """The two tables of a pair, the adjoint by its formula, and whether they are exact."""
    declaration = catalogue.load(name, ("partitioned",))
    q = build(declaration.q)
    if declaration.p is not None:
        p = build(declaration.p)
        return q.precise, p.precise, not (q.tolerance or p.tolerance)
    a, b, _ = q.precise
    adjoint = hager(a, b)
    return q.precise, (adjoint, b, [sum(row) for row in adjoint]), not q.tolerance


@pytest.mark.parametrize(
    ("problem", "key"),
    [(COUPLED, "order"), (SEPARABLE, "separable_order"), (SECOND_ORDER, "nystrom_order")],
    ids=["coupled", "separable", "second-order"],
)
@pytest.mark.parametrize("name", PARTITIONED)
def test_a_pair_converges_with_its_order(name, problem, key):
    report = report_of(name, "partitioned")
    assert report.holds, str(report)
    q, p, exact = pair_of(name)
    level = mpf(0) if exact else rounding((q[0], p[0]), (q[1], p[1]), 1)
    slope, above = observed_order(problem, [q, q, p, p], report[key], level)
    assert above
    assert slope == pytest.approx(report[key], abs=SLOPE_WITHIN)


# 2. Brute force over the catalogue.


def test_orders_are_those_of_brute_force():
    found, expected = {}, {}
    for name in RUNGE_KUTTA:
        tableau, order = tableau_of(name), report_of(name)["order"]
        if tableau.size > 7:
            continue
        highest = min(order + 1, 6)
        a, b, _ = tableau.precise
        found[name] = brute_order((a,), b, highest, zero_of(tableau))
        expected[name] = min(order, highest)
    assert len(found) > 50
    assert found == expected


def test_embedded_orders_are_those_of_brute_force():
    found, expected = {}, {}
    for name in EMBEDDED:
        tableau, order = tableau_of(name), report_of(name)["embedded_order"]
        if tableau.size > 7:
            continue
        highest = min(order + 1, 6)
        a, b, _ = tableau.embedded().precise
        found[name] = brute_order((a,), b, highest, zero_of(tableau))
        expected[name] = min(order, highest)
    assert len(found) > 10
    assert found == expected


def test_control_orders_are_those_of_all_coloured_trees():
    """One condition 1/gamma for each tree with edges in two colours, a for one and a^ for one."""
    found, expected = {}, {}
    for name in RUNGE_KUTTA:
        tableau, order = tableau_of(name), report_of(name)["control_order"]
        if not no_weight_vanishes(tableau):
            continue
        highest = min(order + 1, 4)
        a, b, _ = tableau.precise
        found[name] = brute_order((a, hager(a, b)), b, highest, zero_of(tableau))
        expected[name] = min(order, highest)
    assert len(found) > 40
    assert found == expected


def test_there_is_no_control_order_exactly_where_a_weight_vanishes_without_symplecticity():
    for name in RUNGE_KUTTA:
        tableau, report = tableau_of(name), report_of(name)
        exists = no_weight_vanishes(tableau) or bool(report["symplectic"])
        assert (report["control_order"] is not None) == exists, name
        assert (tableau.adjoint() is not None) == no_weight_vanishes(tableau), name


@pytest.mark.parametrize("name", PARTITIONED)
def test_orders_of_pairs_are_those_of_all_coloured_trees(name):
    """A branch uses the table of its own colour, the root the weights of its."""
    report = report_of(name, "partitioned")
    q, p, exact = pair_of(name)
    zero = EXACT_ZERO if exact else PUBLISHED_ZERO
    maps = (q[0], p[0])
    kept: dict[str, Callable[[Tree, int], bool]] = {
        "order": lambda tree, colour: True,
        "separable_order": alternates,
        "nystrom_order": lambda t, colour: alternates(t, colour) and bends_nowhere(t, colour),
    }
    for key, wanted in kept.items():
        highest = min(report[key] + 1, 4 if key == "order" else 5)
        holds = [
            all(
                abs(residual(tree, maps, weights)) <= zero
                for colour, weights in enumerate((q[1], p[1]))
                for tree in trees(order, 2)
                if wanted(tree, colour)
            )
            for order in range(1, highest + 1)
        ]
        found = ([*holds, False]).index(False)
        assert (key, found) == (key, min(report[key], highest))


# 3. Random tableaux.


def tableau_from(a: Sequence[Sequence[Fraction]], b: Sequence[Fraction], c=None) -> Tableau:
    """The tableau of a list of rows; its nodes are the row sums unless they are given."""
    rows = tuple(tuple(row) for row in a)
    nodes = tuple(sum(row, Fraction(0)) for row in rows) if c is None else tuple(c)
    return Tableau(Stages(len(rows)), rows, tuple(b), None, nodes)


def solved(matrix: Sequence[Sequence[Fraction]], right: Sequence[Fraction]) -> list[Fraction]:
    """A regular rational system by Cramer's rule."""
    whole = determinant(matrix)
    return [
        determinant([[*row[:k], r, *row[k + 1 :]] for row, r in zip(matrix, right, strict=True)])
        / whole
        for k in range(len(right))
    ]


def determinant(matrix: Sequence[Sequence[Any]]) -> Any:
    """Leibniz' sum over permutations."""
    total = Fraction(0)
    for order in itertools.permutations(range(len(matrix))):
        swaps = sum(i > j for i, j in itertools.combinations(order, 2))
        total += (-1) ** swaps * math.prod(row[k] for row, k in zip(matrix, order, strict=True))
    return total


RATIONALS = st.fractions(-2, 2, max_denominator=12)
NONZERO = RATIONALS.filter(bool)


@st.composite
def tables(draw, implicit: bool, stages: int | None = None):
    """A and b, scaled so that the conditions of orders 1 and 2 hold or not."""
    s = stages or draw(st.integers(1, 4))
    a = [
        [draw(RATIONALS) if implicit or j < i else Fraction(0) for j in range(s)] for i in range(s)
    ]
    b = [draw(RATIONALS) for _ in range(s)]
    level = draw(st.integers(0, 2))
    if level > 0:
        b[-1] = 1 - sum(b[:-1], Fraction(0))
    second = sum(weight * sum(row) for weight, row in zip(b, a, strict=True))
    if level > 1 and second:
        a = [[entry / second / 2 for entry in row] for row in a]
    return a, b


def agree(a: Sequence[Sequence[Fraction]], b: Sequence[Fraction], highest: int = 6) -> int:
    """The order, if brute force says the same."""
    found = classical_order(tableau_from(a, b), highest=highest).order
    assert found == brute_order((a,), b, highest)
    return found


@given(st.one_of(tables(implicit=False), tables(implicit=True)))
@settings(deadline=None, max_examples=50)
def test_the_order_of_a_random_table_is_that_of_brute_force(table):
    agree(*table, highest=5)


@given(NONZERO, st.one_of(st.just(Fraction(1)), NONZERO), st.booleans())
@settings(deadline=None, max_examples=50)
def test_orders_of_the_explicit_family_of_order_3_are_those_of_brute_force(c2, c3, spoiled):
    """Kutta's family; for control also, where c_3 = 1 is the case of order 3."""
    assume(c2 != c3 and 3 * c2 != 2 and 3 * c3 != 2)
    b2 = (3 * c3 - 2) / (6 * c2 * (c3 - c2))
    b3 = (2 - 3 * c2) / (6 * c3 * (c3 - c2))
    b = [1 - b2 - b3, b2, b3]
    assume(b[0])
    a32 = 1 / (6 * b3 * c2) + (Fraction(1, 7) if spoiled else 0)
    zero = Fraction(0)
    a = [[zero] * 3, [c2, zero, zero], [c3 - a32, a32, zero]]
    order = agree(a, b, highest=5)
    assert order == (2 if spoiled else 3)
    tableau = tableau_from(a, b)
    found = control_order(tableau, tableau.transposed, 4).order
    assert found == brute_order((a, hager(a, b)), b, 4)
    assert spoiled or found == (3 if c3 == 1 else 2)


@given(st.one_of(tables(implicit=False), tables(implicit=True)))
@settings(deadline=None, max_examples=40)
def test_the_control_order_of_a_random_table_is_that_of_brute_force(table):
    a, b = table
    assume(all(b))
    tableau = tableau_from(a, b)
    found = control_order(tableau, tableau.transposed, 4).order
    assert found == brute_order((a, hager(a, b)), b, 4)


@given(st.one_of(tables(implicit=False), tables(implicit=True)), st.data())
@settings(deadline=None, max_examples=40)
def test_the_order_with_nodes_of_their_own_is_that_of_trees_with_time(table, data):
    """Leaves of a second colour stand for time; their image is c."""
    a, b = table
    shift = data.draw(st.sampled_from([Fraction(0), Fraction(1, 3)]))
    c = [sum(row) for row in a]
    c[0], c[-1] = c[0] + shift * b[-1], c[-1] - shift * b[0]  # the sum of b c is kept

    def leaves_only(tree: Tree) -> bool:
        return all(leaves_only(branch) and (not colour or not branch) for colour, branch in tree)

    clock = [[x if i == j else Fraction(0) for j in range(len(c))] for i, x in enumerate(c)]
    holds = [
        not any(residual(t, (a, clock), b) for t in trees(order, 2) if leaves_only(t))
        for order in range(1, 5)
    ]
    tableau = replace(tableau_from(a, b, c), row_sums=False)
    assert nonautonomous_order(tableau, 4).order == [*holds, False].index(False)


def with_quadrature(nodes: list[Fraction]) -> list[list[Fraction]]:
    """``c_j^(k-1)`` in row k."""
    return [[node**k for node in nodes] for k in range(len(nodes))]


def quadrature(nodes: list[Fraction]) -> list[Fraction]:
    """The weights of B(s)."""
    return solved(with_quadrature(nodes), [Fraction(1, k + 1) for k in range(len(nodes))])


def collocation(nodes: list[Fraction]) -> list[list[Fraction]]:
    """A from C(s)."""
    powers = with_quadrature(nodes)
    return [solved(powers, [c ** (k + 1) / (k + 1) for k in range(len(nodes))]) for c in nodes]


def from_columns(nodes: list[Fraction], b: list[Fraction]) -> list[list[Fraction]]:
    """A from D(s)."""
    matrix = [[w * p for w, p in zip(b, row, strict=True)] for row in with_quadrature(nodes)]
    columns = [
        solved(matrix, [w * (1 - c ** (k + 1)) / (k + 1) for k in range(len(nodes))])
        for c, w in zip(nodes, b, strict=True)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def assumptions(a, b, c, zero: Any = 0) -> tuple[float, float, float]:
    """The largest p, q and r of B(p), C(q) and D(r), looked for up to 2s + 1."""
    stages, limit, one = range(len(b)), 2 * len(b) + 1, type(b[0])(1)

    def holds_b(k: int) -> bool:
        return abs(sum(b[i] * c[i] ** (k - 1) for i in stages) - one / k) <= zero

    def holds_c(k: int) -> bool:
        return all(
            abs(sum(a[i][j] * c[j] ** (k - 1) for j in stages) - c[i] ** k / k) <= zero
            for i in stages
        )

    def holds_d(k: int) -> bool:
        columns = [sum(b[i] * c[i] ** (k - 1) * a[i][j] for i in stages) for j in stages]
        return all(abs(columns[j] - b[j] * (1 - c[j] ** k) / k) <= zero for j in stages)

    def largest(test: Callable[[int], bool]) -> float:
        return next((k - 1 for k in range(1, limit + 1) if not test(k)), math.inf)

    return largest(holds_b), largest(holds_c), largest(holds_d)


def agrees_on_assumptions(a, b, c) -> tuple[float, float, float]:
    """B, C and D, if hamilforge says the same."""
    found = structure.simplifying(tableau_from(a, b, c))
    expected = assumptions(a, b, c)
    assert (found.b, found.c, found.d) == expected
    return expected


NODES = st.integers(2, 3).flatmap(
    lambda s: st.lists(RATIONALS, min_size=s, max_size=s, unique=True)
)


@given(NODES, st.data())
@settings(deadline=None, max_examples=40)
def test_collocation_on_random_nodes_has_what_it_is_built_from(nodes, data):
    a, b, s = collocation(nodes), quadrature(nodes), len(nodes)
    found = agrees_on_assumptions(a, b, nodes)
    assert min(found[:2]) >= s
    order = agree(a, b)
    assert order == found[0] >= s  # the order of collocation is that of the quadrature
    i, j, change = (
        data.draw(st.integers(0, s - 1)),
        data.draw(st.integers(0, s - 1)),
        data.draw(NONZERO),
    )
    assert agree(a, [*b[:-1], b[-1] + change]) == 0
    a[i][j] += change
    agree(a, b)
    assert agrees_on_assumptions(a, b, nodes)[1] == 0


@given(NODES, st.data())
@settings(deadline=None, max_examples=40)
def test_a_table_from_the_column_conditions_has_what_it_is_built_from(nodes, data):
    """The last node is moved to where the quadrature has order s + 1: then c = A e."""
    s = len(nodes)
    head = nodes[:-1]
    monic = functools.reduce(
        lambda p, c: [x - c * y for x, y in zip([0, *p], [*p, 0], strict=True)], head, [Fraction(1)]
    )
    area = sum((p / (k + 1) for k, p in enumerate(monic)), Fraction(0))
    moment = sum((p / (k + 2) for k, p in enumerate(monic)), Fraction(0))
    assume(area)
    nodes = [*head, moment / area]
    assume(len(set(nodes)) == s)
    b = quadrature(nodes)
    assume(all(b))
    a = from_columns(nodes, b)
    assert [sum(row) for row in a] == nodes
    found = agrees_on_assumptions(a, b, nodes)
    assert found[0] >= s + 1
    assert found[2] >= s
    assert agree(a, b) >= min(found[0], 4, s + 2)
    i, j, change = (
        data.draw(st.integers(0, s - 1)),
        data.draw(st.integers(0, s - 1)),
        data.draw(NONZERO),
    )
    assert agree(a, [*b[:-1], b[-1] + change]) == 0
    a[i][j] += change
    agree(a, b)
    assert agrees_on_assumptions(a, b, nodes)[2] == 0


def ratio_of_determinants(a, b, z: Any) -> Any:
    """``det(I - zA + z e b')/det(I - zA)``; None at a pole."""
    stages = range(len(b))
    under = [[int(i == j) - z * a[i][j] for j in stages] for i in stages]
    over = [[under[i][j] + z * b[j] for j in stages] for i in stages]
    below = determinant(under)
    return determinant(over) / below if below else None


def polynomial_value(coefficients: Sequence[Any], z: Any) -> Any:
    return sum(c * z**k for k, c in enumerate(coefficients))


@given(st.one_of(tables(implicit=False), tables(implicit=True)), st.lists(NONZERO, min_size=3))
@settings(deadline=None, max_examples=40)
def test_the_stability_function_is_the_ratio_of_determinants(table, points):
    a, b = table
    tableau = tableau_from(a, b)
    function = stability.stability_function(tableau)
    adjoint = tableau.adjoint()
    assert (adjoint is not None) == all(b)
    for z in points:
        value = ratio_of_determinants(a, b, z)
        if value is None:
            continue
        under = polynomial_value(function.denominator, z)
        assert polynomial_value(function.numerator, z) == value * under
        assert under
        if adjoint is not None and value:
            assert [list(row) for row in adjoint.a] == hager(a, b)
            back = stability.stability_function(adjoint)
            above, below = (polynomial_value(p, -z) for p in (back.numerator, back.denominator))
            assert value * above == below


def defect(a, b) -> list[list[Fraction]]:
    """``b_i a_ij + b_j a_ji - b_i b_j``."""
    stages = range(len(b))
    return [[b[i] * a[i][j] + b[j] * a[j][i] - b[i] * b[j] for j in stages] for i in stages]


@given(st.lists(RATIONALS, min_size=1, max_size=4), st.data())
@settings(deadline=None, max_examples=40)
def test_a_composition_of_midpoint_rules_is_symplectic_and_a_disturbed_one_is_not(b, data):
    s = len(b)
    zero = Fraction(0)
    a = [[b[i] / 2 if i == j else b[j] if j < i else zero for j in range(s)] for i in range(s)]
    tableau = tableau_from(a, b)
    assert not any(map(any, defect(a, b)))
    assert structure.symplectic_defect(tableau) == 0
    if all(b):
        assert tableau.adjoint().a == tableau.a
    assume(any(b))
    i = data.draw(st.sampled_from([k for k in range(s) if b[k]]))
    j = data.draw(st.integers(0, s - 1))
    a[i][j] += data.draw(NONZERO)
    changed = tableau_from(a, b)
    assert [list(row) for row in changed.symplectic_form] == defect(a, b)
    assert structure.symplectic_defect(changed) != 0


HEIGHTS = 1j * np.concatenate([np.logspace(-4, 6, 1000), np.linspace(0, 50, 1000)])


def quadratic(a: Any) -> list[float]:
    """``det(I - zA)`` of two stages, falling powers."""
    (p, q), (r, s) = a
    return [float(p * s - q * r), float(-p - s), 1.0]


def is_a_stable_by_sampling(a, b) -> bool | None:
    """|R| on a grid of the imaginary axis and the poles; None where it is too close to tell."""
    over = quadratic([[x - y for x, y in zip(row, b, strict=True)] for row in a])
    under = quadratic(a)
    zeros, poles = np.roots(over), np.roots(under)
    if (np.abs(zeros[:, None] - poles) < 1e-6 * np.abs(poles)).any():
        return None
    if (np.abs(poles.real) < 1e-6 * np.abs(poles)).any():
        return None
    excess = np.abs(np.polyval(over, HEIGHTS) / np.polyval(under, HEIGHTS)).max() - 1
    if 1e-11 < excess < 1e-6:
        return None
    return bool(excess < 1e-6 and (poles.real > 0).all())


@given(tables(implicit=True, stages=2), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_stability_is_what_sampling_says(table, stiffly_accurate, transposed):
    a, b = table
    if stiffly_accurate:  # R(infinity) = 0: more of them are stable
        b = list(a[-1])
    if transposed:
        a = [list(row) for row in zip(*a, strict=True)]
    sampled = is_a_stable_by_sampling(a, b)
    assume(sampled is not None)
    assert stability.stability(tableau_from(a, b)).a_stable == sampled


def test_both_verdicts_of_a_stability_occur():
    """The same on a fixed sample, in which there are many of both."""
    random = np.random.default_rng(20)
    counts = {True: 0, False: 0}
    for _ in range(500):
        a = [[Fraction(int(n), 8) for n in row] for row in random.integers(-16, 17, (2, 2))]
        b = list(a[-1])
        sampled = is_a_stable_by_sampling(a, b)
        if sampled is not None:
            counts[sampled] += 1
            assert stability.stability(tableau_from(a, b)).a_stable == sampled, (a, b)
    assert min(counts.values()) > 20, counts


@given(
    NODES,
    st.sampled_from(["plain", "first", "last", "both", "mirrored"]),
    st.sampled_from(["C", "D"]),
)
@settings(deadline=None, max_examples=20)
def test_computed_nodes_give_the_same_verdicts_as_a_typed_table(
    tmp_path_factory, nodes, ends, kind
):
    """The algebra of polynomials modulo the nodes' beside a list of coefficients."""
    nodes = {
        "plain": nodes,
        "first": [Fraction(0), *nodes[1:]],
        "last": [*nodes[:-1], Fraction(1)],
        "both": [Fraction(0), *nodes[1:-1], Fraction(1)],
        "mirrored": [nodes[0], *[Fraction(1, 2)][: len(nodes) - 2], 1 - nodes[0]],
    }[ends]
    nodes = sorted(nodes)
    assume(len(set(nodes)) == len(nodes))
    b = quadrature(nodes)
    assume(all(b) or kind == "C")
    a = collocation(nodes) if kind == "C" else from_columns(nodes, b)
    path = tmp_path_factory.mktemp("collocation") / "nodes.toml"
    product = "*".join(f"(x - ({node}))" for node in nodes)
    path.write_text(
        'kind = "runge-kutta"\nname = "nodes"\ntitle = "nodes"\nreference = "none"\n'
        f'[collocation]\nnodes = "{product}"\nconditions = "{kind}"\n'
    )
    computed, typed = build(catalogue.load(path)), tableau_from(a, b)
    inside = 0 <= nodes[0] and nodes[-1] <= 1  # else the stage at 1 may not be the last
    rows, weights, _ = computed.precise
    assert max(abs(x - y) for x, y in zip(weights, map(as_mpf, b), strict=True)) < EXACT_ZERO
    for row, wanted in zip(rows, a, strict=True):
        assert max(abs(x - y) for x, y in zip(row, map(as_mpf, wanted), strict=True)) < EXACT_ZERO
    for verdict in (
        lambda one: classical_order(one, highest=6).order,
        structure.simplifying,
        structure.is_symmetric,
        *(structure.is_stiffly_accurate, structure.is_first_same_as_last)[: 2 * inside],
        lambda one: structure.symplectic_defect(one) == 0,
        stability.stability_function,
        contractivity.weights_are_nonnegative,
        contractivity.is_algebraically_stable,
    ):
        assert verdict(computed) == verdict(typed)
    if all(b):
        radii = [contractivity.circle_radius(one) for one in (computed, typed)]
        middles = [math.inf if radius is None else float(radius.middle) for radius in radii]
        assert middles[0] == pytest.approx(middles[1], rel=1e-12)
        orders = [control_order(one, one.transposed, 4).order for one in (computed, typed)]
        assert orders[0] == orders[1] == brute_order((a, hager(a, b)), b, 4)


def as_mpf(number: Fraction) -> mpf:
    return mpf(number.numerator) / number.denominator


# 4. Adjoints.

#: Families by the beginnings of their names, and what their adjoints are.
ADJOINTS = {
    "lobatto_iiia": "lobatto_iiib",
    "lobatto_iiib": "lobatto_iiia",
    "lobatto_iiic": "lobatto_iiic_star",
    "lobatto_iiic_star": "lobatto_iiic",
}


def convolved(left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
    """The product of two polynomials."""
    found: list[Any] = [Fraction(0)] * (len(left) + len(right) - 1)
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            found[i + j] = found[i + j] + x * y
    while not found[-1]:
        found.pop()
    return found


def test_the_stability_function_of_the_adjoint_is_the_reciprocal_at_minus_z():
    """``R(z) R^(-z) = 1``."""
    seen = 0
    for name in RUNGE_KUTTA:
        tableau = tableau_of(name)
        if not no_weight_vanishes(tableau):
            assert tableau.adjoint() is None, name
            continue
        seen += 1
        one, other = (stability.stability_function(t) for t in (tableau, tableau.adjoint()))
        mirrored = [
            [-c if k % 2 else c for k, c in enumerate(p)]
            for p in (other.numerator, other.denominator)
        ]
        if tableau.tolerance:
            z = Fraction(1, 3)
            values = [polynomial_value(p, z) for p in (one.numerator, one.denominator, *mirrored)]
            assert float(values[0] * values[2] / values[1] / values[3]) == pytest.approx(
                1, abs=1e-12
            )
            continue
        products = convolved(one.numerator, mirrored[0]), convolved(one.denominator, mirrored[1])
        assert products[0] == products[1], name
    assert seen > 40


def test_a_method_is_its_own_adjoint_exactly_if_it_is_symplectic():
    own = set()
    for name in RUNGE_KUTTA:
        tableau = irreducible(name)
        if no_weight_vanishes(tableau):
            same = tableau.vanishes(
                tuple(
                    tuple(x - y for x, y in zip(row, other, strict=True))
                    for row, other in zip(tableau.a, tableau.adjoint().a, strict=True)
                )
            )
            assert same == report_of(name)["symplectic"], name
            own |= {name} if same else set()
        a, b, _ = tableau.precise
        largest = max(abs(entry) for row in defect(a, b) for entry in row)
        assert (largest < zero_of(tableau)) == report_of(name)["symplectic"], name
    assert {name for name in RUNGE_KUTTA if name.startswith("gauss")} <= own


def test_adjoints_of_lobatto_methods_are_those_of_the_other_family():
    seen = 0
    for name in RUNGE_KUTTA:
        family = name.rstrip("0123456789")
        if family in ADJOINTS:
            seen += 1
            other = ADJOINTS[family] + name.removeprefix(family)
            mine, others = tableau_of(name).adjoint(), tableau_of(other)
            assert (mine.a, mine.b) == (others.a, others.b), name
    assert seen > 8


def test_adjoints_are_those_of_the_formula():
    for name in RUNGE_KUTTA:
        tableau = tableau_of(name)
        if no_weight_vanishes(tableau):
            a, b, _ = tableau.precise
            found, _, _ = tableau.adjoint().precise
            gaps = [
                abs(x - y)
                for row, other in zip(hager(a, b), found, strict=True)
                for x, y in zip(row, other, strict=True)
            ]
            assert max(gaps) < EXACT_ZERO, name


# 5. Stability intervals.


def reversed_characteristic(a: Sequence[Sequence[mpf]]) -> list[mpf]:
    """``det(I - zA)`` from the traces of the powers of A (Newton's identities)."""
    matrix = mpmath.matrix(a)
    power, traces = mpmath.eye(len(a)), []
    for _ in range(len(a)):
        power = power * matrix
        traces.append(sum(power[i, i] for i in range(len(a))))
    found = [mpf(1)]
    for k in range(1, len(a) + 1):
        found.append(-sum(found[k - i] * traces[i - 1] for i in range(1, k + 1)) / k)
    return found


@functools.cache
def stability_polynomials(name: str) -> tuple[list[mpf], list[mpf]]:
    """``det(I - z(A - e b'))`` and ``det(I - zA)``, whose ratio is R, falling powers."""
    a, b, _ = tableau_of(name).precise
    over = reversed_characteristic([[x - y for x, y in zip(row, b, strict=True)] for row in a])
    return over[::-1], reversed_characteristic(a)[::-1]


def modulus(name: str, z: Any) -> mpf:
    over, under = stability_polynomials(name)
    below = mpmath.polyval(under, z)
    return abs(mpmath.polyval(over, z) / below) if below else mpf("inf")


@pytest.mark.parametrize(
    ("key", "direction"), [("real_stability", -1), ("imaginary_stability", 1j)]
)
def test_stability_intervals_end_where_they_should(key, direction):
    """For all methods: bounded by 1 on the interval, larger than 1 just beyond."""
    wrong = {}
    with mpmath.workdps(40):
        for name in RUNGE_KUTTA:
            length = mpf(report_of(name)[key])
            if mpmath.isinf(length):
                grid = [mpf(10) ** (mpf(k) / 6) for k in range(-18, 31)]
            else:
                grid = [length * k / 60 for k in range(61)]
                beyond = length * (1 + mpf(10) ** -9)
                if not length:  # rounded digits would decide closer to 0
                    beyond = mpf("0.3") if tableau_of(name).tolerance else mpf("1e-3")
                if modulus(name, direction * beyond) <= 1 + mpf(10) ** -38:
                    wrong[name] = f"{float(length)}, but bounded by 1 at {float(beyond)}"
            largest = max(modulus(name, direction * x) for x in grid)
            if largest > 1 + mpf(10) ** -12:
                wrong[name] = f"{float(length)}, but {float(largest)} before"
    assert wrong == {}


def is_strictly_lower(a) -> bool:
    return all(abs(a[i][j]) < EXACT_ZERO for i in range(len(a)) for j in range(i, len(a)))


def test_explicit_is_what_the_table_shows():
    found = {name: report_of(name)["explicit"] for name in RUNGE_KUTTA}
    assert found == {name: is_strictly_lower(tableau_of(name).precise[0]) for name in RUNGE_KUTTA}


def test_explicit_pairs_are_those_without_a_cycle_of_stages():
    """Stages of q need those of p where a_ij does not vanish, and the other way round."""
    found, expected = {}, {}
    for name in PARTITIONED:
        q, p, _ = pair_of(name)
        needs = [np.array([[abs(x) > EXACT_ZERO for x in row] for row in one[0]]) for one in (q, p)]
        nothing = np.zeros_like(needs[0])
        both = np.block([[nothing, needs[0]], [needs[1], nothing]]).astype(int)
        found[name] = report_of(name, "partitioned")["explicit"]
        expected[name] = not np.linalg.matrix_power(both, len(both)).any()
    assert found == expected


def test_explicit_methods_have_finite_intervals():
    for name in RUNGE_KUTTA:
        report = report_of(name)
        if is_strictly_lower(tableau_of(name).precise[0]):
            assert 0 < float(report["real_stability"]) < math.inf, name
            assert 0 <= float(report["imaginary_stability"]) < math.inf, name


def test_a_stability_of_the_catalogue_is_what_its_poles_and_the_imaginary_axis_say():
    for name in RUNGE_KUTTA:
        over, under = ([float(c) for c in p] for p in stability_polynomials(name))
        trimmed = [np.trim_zeros(np.where(np.abs(p) < 1e-13, 0, p), "f") for p in (over, under)]
        zeros, poles = (np.roots(p) for p in trimmed)
        # a pole that is a zero as well is none
        left = [
            pole
            for pole in poles
            if pole.real <= 1e-9 and not (np.abs(zeros - pole) < 1e-5 * abs(pole)).any()
        ]
        bounded = math.isinf(float(report_of(name)["imaginary_stability"]))
        proper = len(trimmed[0]) <= len(trimmed[1])
        assert report_of(name)["a_stable"] == (bounded and proper and not left), name


# 6. The circle of contractivity.


def amplification(a, b, z) -> tuple[complex, Any]:
    """``K(Z) = 1 + b'Z(I - AZ)^-1 e`` and its derivatives by the z_i."""
    size = len(b)
    values = np.linalg.solve(np.eye(size) - a * z, np.ones(size))
    costate = np.linalg.solve(np.eye(size) - (z[:, None] * a).T, b)
    return 1 + b @ (z * values), costate * values


def largest_amplification(a, b, radius: float, random: Any, starts: int) -> float:
    """The largest |K(Z)| found for z_i on the circle |z + r| = r, where its maximum lies."""

    def objective(angles):
        turned = radius * np.exp(1j * angles)
        value, slopes = amplification(a, b, turned - radius)
        gradient = 2 * (np.conj(value) * slopes * 1j * turned).real
        return -(abs(value) ** 2), -gradient

    best = 0.0
    for k in range(starts):
        spread = np.pi if k % 2 else 0.3
        found = minimize(objective, random.uniform(-spread, spread, len(b)), jac=True)
        best = max(best, math.sqrt(-found.fun))
    return best


def finite_radii() -> dict[str, float]:
    radii = {name: report_of(name)["circle_radius"] for name in RUNGE_KUTTA}
    return {name: float(r) for name, r in radii.items() if 0 < float(r) < math.inf}


def test_methods_contract_in_the_disk_of_the_circle_radius():
    radii = finite_radii()
    assert len(radii) >= 8
    random = np.random.default_rng(9)
    for name, radius in radii.items():
        a, b, _ = tableau_of(name).floats
        for _ in range(150):
            inside = random.uniform(0, 1, len(b)) ** random.choice([0, 0.5])
            z = radius * (inside * np.exp(2j * np.pi * random.uniform(0, 1, len(b))) - 1)
            assert abs(amplification(a, b, z)[0]) <= 1 + 1e-9, name
        assert largest_amplification(a, b, radius, random, 6) <= 1 + 1e-9, name


def test_methods_do_not_contract_in_a_larger_disk():
    random = np.random.default_rng(10)
    found = {}
    for name, radius in finite_radii().items():
        a, b, _ = tableau_of(name).floats
        found[name] = largest_amplification(a, b, 1.05 * radius, random, 6)
    assert min(found.values()) > 1 + 1e-6, found


def test_radii_are_zero_or_infinite_where_sampling_says_so():
    """Infinite: no disk is too large; zero: a small one is."""
    random = np.random.default_rng(11)
    for name in RUNGE_KUTTA:
        a, b, _ = irreducible(name).floats
        radius = float(report_of(name)["circle_radius"])
        if math.isinf(radius):
            assert largest_amplification(a, b, 100.0, random, 2) <= 1 + 1e-9, name
        elif not radius:
            assert largest_amplification(a, b, 0.1, random, 3) > 1 + 1e-12, name


# 7. Structure, and the constants of the error.


def is_exact(name: str) -> bool:
    """Whether a defect is told from rounding, however small the error is."""
    return not tableau_of(name).tolerance


def test_symmetric_methods_are_those_that_step_back_to_where_they_came_from():
    found, expected = {}, {}
    h = mpf(1) / 16
    for name in filter(is_exact, RUNGE_KUTTA):
        tables = [tableau_of(name).precise] * 2
        start = list(NONAUTONOMOUS.start)
        there = step(NONAUTONOMOUS, tables, mpf(0), start, h, mpf(10) ** -46)
        back = step(NONAUTONOMOUS, tables, h, there, -h, mpf(10) ** -46)
        gap = max(abs(x - y) for x, y in zip(start, back, strict=True))
        found[name] = report_of(name)["symmetric"]
        expected[name] = bool(gap < EXACT_ZERO)
    assert found == expected


def _turning(t, y):
    """Conserves ``|y|^2``."""
    rate = 1 + y[0] / 2 + y[1] ** 2 / 3 + t
    return [rate * y[1], -rate * y[0]]


def _dual(t, y):
    """``q' = B q`` and ``p' = -B' p``, which conserves ``q.p``."""
    q, r, p, s = y
    b = [[q * p / 2, 1 + s], [r * r - p, s - q]]
    return [
        b[0][0] * q + b[0][1] * r,
        b[1][0] * q + b[1][1] * r,
        -b[0][0] * p - b[1][0] * s,
        -b[0][1] * p - b[1][1] * s,
    ]


def _central(t, y):
    """``H = T(|p|) + V(|q|)``, which conserves the angular momentum."""
    q, r, p, s = y
    kinetic, potential = 1 / (1 + p * p + s * s), 1 + (q * q + r * r) / 3
    return [kinetic * p, kinetic * s, -potential * q, -potential * r]


def drift(field: Any, tables: Sequence[Table], start: Sequence[mpf], invariant: Any) -> mpf:
    """What one step changes of an invariant."""
    problem = Problem(field, tuple(start))
    after = step(problem, tables, mpf(0), list(start), mpf(1) / 16, mpf(10) ** -46)
    return abs(invariant(after) - invariant(start))


def test_symplectic_methods_are_those_that_conserve_quadratic_invariants():
    found, expected = {}, {}
    for name in filter(is_exact, RUNGE_KUTTA):
        tables = [tableau_of(name).precise] * 2
        gap = drift(_turning, tables, NONAUTONOMOUS.start, lambda y: y[0] ** 2 + y[1] ** 2)
        found[name] = report_of(name)["symplectic"]
        expected[name] = bool(gap < EXACT_ZERO)
    assert found == expected


@pytest.mark.parametrize(
    ("key", "field", "invariant"),
    [
        ("symplectic", _dual, lambda y: y[0] * y[2] + y[1] * y[3]),
        ("symplectic_separable", _central, lambda y: y[0] * y[3] - y[1] * y[2]),
    ],
    ids=["any", "separable"],
)
def test_symplectic_pairs_are_those_that_conserve_bilinear_invariants(key, field, invariant):
    found, expected = {}, {}
    for name in PARTITIONED:
        q, p, exact = pair_of(name)
        gap = drift(field, [q, q, p, p], COUPLED.start, invariant)
        found[name] = report_of(name, "partitioned")[key]
        expected[name] = bool(gap < (EXACT_ZERO if exact else mpf(10) ** -16))
    assert found == expected


def test_simplifying_assumptions_are_those_of_the_numbers():
    for name in RUNGE_KUTTA:
        tableau, report = tableau_of(name), report_of(name)
        expected = assumptions(*tableau.precise, zero=zero_of(tableau))
        found = tuple(float(report["simplifying"][key]) for key in "BCD")
        assert found == expected, name
        assert report["stage_order"] == min(*expected[:2], report["order"]), name


def test_what_a_table_shows_is_what_the_report_says():
    keys = ("stiffly_accurate", "first_same_as_last", "confluent")
    found = {name: tuple(report_of(name)[key] for key in keys) for name in RUNGE_KUTTA}
    expected = {}
    for name in RUNGE_KUTTA:
        zero = zero_of(tableau_of(name))
        a, b, c = tableau_of(name).precise
        last = all(abs(x - y) < zero for x, y in zip(a[-1], b, strict=True))
        first = len(b) > 1 and last and all(abs(x) < zero for x in a[0])
        equal = any(abs(x - y) < zero for x, y in itertools.combinations(c, 2))
        expected[name] = last, first, equal
    assert found == expected


def partitions(items: Sequence[int]) -> Any:
    """All partitions of a set."""
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for k, block in enumerate(rest):
            yield [*rest[:k], [items[0], *block], *rest[k + 1 :]]


def has_idle_stages(a, b) -> bool:
    """A set of stages without which the others and the result can be computed."""
    stages = range(len(b))
    return any(
        not b[list(out)].any() and not np.delete(a[:, list(out)], list(out), 0).any()
        for count in stages
        for out in itertools.combinations(stages, count + 1)
    )


def has_equal_stages(a) -> bool:
    """A partition with equal row sums over every class for the stages of a class."""
    return any(
        len(blocks) < len(a)
        and all(
            np.ptp(a[np.ix_(block, other)].sum(1)) < 1e-12 for block in blocks for other in blocks
        )
        for blocks in partitions(range(len(a)))
    )


def test_reducible_methods_are_those_with_idle_or_equal_stages():
    found, expected = {}, {}
    for name in RUNGE_KUTTA:
        a, b, _ = tableau_of(name).floats
        if len(b) <= 6:
            report = report_of(name)
            found[name] = report["dj_reducible"], report["hs_reducible"]
            expected[name] = has_idle_stages(a, b), has_equal_stages(a)
    assert found == expected


HALVES = st.sampled_from([Fraction(0), Fraction(0), Fraction(1, 2), Fraction(1), Fraction(-1, 2)])


@given(
    st.integers(1, 4).flatmap(lambda s: st.lists(HALVES, min_size=s * s + s, max_size=s * s + s))
)
@settings(deadline=None, max_examples=50)
def test_random_tables_are_reducible_and_symmetric_as_brute_force_says(entries):
    size = math.isqrt(len(entries))
    b, rows = entries[:size], entries[size:]
    a = [rows[i * size : (i + 1) * size] for i in range(size)]
    tableau = tableau_from(a, b)
    numbers = np.array(a, float), np.array(b, float)
    assert structure.is_dj_reducible(tableau) == has_idle_stages(*numbers)
    assert structure.is_hs_reducible(tableau) == has_equal_stages(numbers[0])
    b[-1] = 1 - sum(b[:-1], Fraction(0))
    assert structure.is_symmetric(tableau_from(a, b)) == is_symmetric_by_permutations(a, b)


#: Two equal stages whose weights cancel, beside an implicit Euler step: b, then the rows of A.
CANCELLING = [Fraction(n, 2) for n in (1, -1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 2)]


@given(
    st.integers(1, 4).flatmap(lambda s: st.lists(HALVES, min_size=s * s + s, max_size=s * s + s))
)
@example(CANCELLING)
@settings(deadline=None, max_examples=50)
def test_a_reduced_table_is_the_same_method_and_irreducible(entries):
    size = math.isqrt(len(entries))
    b, rows = entries[:size], entries[size:]
    a = [rows[i * size : (i + 1) * size] for i in range(size)]
    reduced = structure.reduced(tableau_from(a, b))
    for order in range(1, 5):
        assert residuals((reduced.a,), reduced.b, order) == residuals((a,), b, order)
    for z in (Fraction(1, 3), Fraction(-7, 5)):
        values = [ratio_of_determinants(*one, z) for one in ((reduced.a, reduced.b), (a, b))]
        assert None in values or values[0] == values[1]
    left = np.array(reduced.a, float), np.array(reduced.b, float)
    assert reduced.size == 1 or not (has_idle_stages(*left) or has_equal_stages(left[0]))


def is_symmetric_by_permutations(a, b) -> bool:
    """``a_s(i)s(j) + a_ij = b_j`` and ``b_s(i) = b_i`` for a permutation s."""
    stages = range(len(b))
    return any(
        all(b[s[i]] == b[i] for i in stages)
        and all(a[s[i]][s[j]] + a[i][j] == b[j] for i in stages for j in stages)
        for s in itertools.permutations(stages)
    )


@given(tables(implicit=True, stages=2), st.permutations(range(4)), st.data())
@settings(deadline=None, max_examples=40)
def test_a_method_after_its_reflection_is_symmetric(table, shuffled, data):
    """Two half steps, the second with ``a*_ij = b_j - a_ij``; the stages in any order."""
    a, b = table
    zero = Fraction(0)
    b[-1] = 1 - b[0]
    both = [[*row, zero, zero] for row in a]
    both += [[*b, *(weight - entry for weight, entry in zip(b, row, strict=True))] for row in a]
    a = [[both[i][j] / 2 for j in shuffled] for i in shuffled]
    b = [[*b, *b][i] / 2 for i in shuffled]
    assert structure.is_symmetric(tableau_from(a, b))
    i, j = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 3))
    a[i][j] += data.draw(NONZERO)
    assert structure.is_symmetric(tableau_from(a, b)) == is_symmetric_by_permutations(a, b)


def symmetry(tree: Tree) -> int:
    """The order of the group of a tree's symmetries."""
    return math.prod(
        math.factorial(len(list(group))) * symmetry(branch[1]) ** tree.count(branch)
        for branch, group in itertools.groupby(tree)
    )


def test_error_constants_are_those_of_brute_force():
    for name in RUNGE_KUTTA:
        tableau, report = tableau_of(name), report_of(name)
        order = report["order"]
        a, b, _ = tableau.precise
        tall: Tree = functools.reduce(lambda tree, _: ((0, tree),), range(order), ())
        constant = -residual(tall, (a,), b)
        assert report["error_constant"] == pytest.approx(float(constant), rel=1e-9, abs=1e-15), name
        if order < 7:
            terms = [residual(tree, (a,), b) / symmetry(tree) for tree in trees(order + 1)]
            norm = float(mpmath.sqrt(sum(term**2 for term in terms)))
            assert report["principal_error_norm"] == pytest.approx(norm, rel=1e-9), name


@pytest.mark.parametrize("key", ["dispersion_order", "dissipation_order"])
def test_orders_of_phase_and_amplitude_are_seen_on_the_imaginary_axis(key):
    found, expected = {}, {}
    for name in RUNGE_KUTTA:
        over, under = stability_polynomials(name)
        gaps = []
        for y in (mpf(1) / 100, mpf(1) / 200):
            value = mpmath.polyval(over, 1j * y) / mpmath.polyval(under, 1j * y)
            phase = key.startswith("dispersion")
            gaps.append(abs(y - mpmath.arg(value) if phase else 1 - abs(value)))
        if gaps[1] < mpf(10) ** -46:
            found[name], expected[name] = report_of(name)[key], None
        elif is_exact(name):
            found[name] = report_of(name)[key]
            slope = float(mpmath.log(gaps[0] / gaps[1], 2)) - 1
            expected[name] = round(slope) if abs(slope - round(slope)) < 0.1 else slope
    assert found == expected


def test_algebraic_stability_is_a_matter_of_eigenvalues():
    for name in RUNGE_KUTTA:
        a, b, _ = irreducible(name).floats
        smallest = min(b.min(), np.linalg.eigvalsh(np.array(defect(a, b))).min())
        assert report_of(name)["algebraically_stable"] == (smallest > -1e-13), name


def monotonicity(a, b, r: float) -> float:
    """The smallest entry of ``rK(I + rK)^-1`` and ``(I + rK)^-1 e``, ``K = [[A, 0], [b', 0]]``."""
    size = len(b) + 1
    k = np.zeros((size, size))
    k[:-1, :-1], k[-1, :-1] = r * a, r * b
    inverse = np.linalg.inv(np.eye(size) + k)
    return float(min((k @ inverse).min(), inverse.sum(1).min()))


def test_monotonicity_ends_at_the_radius_of_strong_stability():
    for name in RUNGE_KUTTA:
        a, b, _ = tableau_of(name).floats
        radius = float(report_of(name)["ssp_radius"])
        if math.isinf(radius):
            assert all(monotonicity(a, b, r) > -1e-12 for r in (1.0, 10.0, 1e3)), name
            continue
        for part in np.linspace(0.1, 0.999999, 10):
            assert monotonicity(a, b, part * radius) > -1e-12, name
        assert monotonicity(a, b, 1.01 * radius if radius else 0.05) < -1e-9, name


# 8. The exact arithmetic below.


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(st.integers(-2, 2), min_size=n * n, max_size=n * n)
    )
)
@settings(deadline=None, max_examples=60)
def test_inertia_counts_signs_of_eigenvalues(entries):
    size = math.isqrt(len(entries))
    matrix = np.array(entries).reshape(size, size)
    matrix = matrix + matrix.T
    values = np.linalg.eigvalsh(matrix)
    exact = tuple(tuple(Fraction(int(entry)) for entry in row) for row in matrix)
    expected = (int((values < -1e-9).sum()), int((values > 1e-9).sum()))
    assert linear.inertia(exact) == expected


ROOTS = st.lists(
    st.tuples(st.fractions(-3, 3, max_denominator=4), st.integers(1, 3)),
    max_size=4,
    unique_by=lambda pair: pair[0],
)


def expanded(roots: Sequence[tuple[Fraction, int]], lead: Fraction, circles: int) -> list[Any]:
    """``lead (x^2 + 1)^circles`` times the factors of the roots, rising powers."""
    factors = [[-root, Fraction(1)] for root, count in roots for _ in range(count)]
    factors += [[Fraction(1), Fraction(0), Fraction(1)]] * circles
    return functools.reduce(convolved, factors, [lead])


@given(ROOTS, NONZERO, st.integers(0, 2))
@settings(deadline=None, max_examples=60)
def test_a_polynomial_becomes_negative_where_it_should(roots, lead, circles):
    polynomial = tuple(expanded(roots, lead, circles))
    changes = sorted(root for root, count in roots if root > 0 and count % 2)
    found = polynomials.first_negative(polynomial)
    if (lead < 0) != bool(len(changes) % 2):
        assert (found.lower, found.upper) == (0, 0)
    elif changes:
        assert found.lower <= changes[0] <= found.upper
        assert found.upper - found.lower < Fraction(1, 10**20)
    else:
        assert found is None


@given(
    st.lists(RATIONALS, max_size=3), st.lists(st.tuples(RATIONALS, RATIONALS), max_size=2), NONZERO
)
@settings(deadline=None, max_examples=60)
def test_roots_in_the_left_half_plane_are_told_from_others(lines, squares, lead):
    """Factors ``x - r`` and ``x^2 + ux + v``: stable if and only if all r < 0 and u, v > 0."""
    factors = [[-root, Fraction(1)] for root in lines]
    factors += [[v, u, Fraction(1)] for u, v in squares]
    stable = all(root < 0 for root in lines) and all(u > 0 and v > 0 for u, v in squares)
    polynomial = functools.reduce(convolved, factors, [lead])
    assert polynomials.hurwitz(tuple(polynomial)) == stable


FIELDS = [((-2, 0, 1), 1), ((-2, 0, 0, 1), 1), ((-1, -1, 0, 1), 1), ((1, 0, -10, 0, 1), 3)]


@given(st.sampled_from(FIELDS), st.lists(RATIONALS, min_size=8, max_size=8))
@settings(deadline=None, max_examples=25)
def test_algebraic_numbers_compute_as_their_digits_do(given_field, parts):
    modulus, lower = given_field
    field = NumberField(
        tuple(map(Fraction, modulus)), Fraction(lower), Fraction(lower + 1), "theta"
    )
    degree = len(modulus) - 1
    with mpmath.workdps(DIGITS):
        theta = mpmath.findroot(lambda x: polynomial_value(modulus, x), lower + mpf("0.3"))
        x, y = (field.element(parts[k : k + degree]) for k in (0, 4))
        u, v = (sum(as_mpf(part) * theta**k for k, part in enumerate(one.parts)) for one in (x, y))
        results = [(x + y, u + v), (x - y, u - v), (x * y, u * v), (x**3, u**3)]
        if y:
            results.append((x / y, u / v))
        for exact, digits in results:
            assert abs(high_precision(exact) - digits) < EXACT_ZERO * (1 + abs(digits))
            assert sign(exact) == (0 if abs(digits) < EXACT_ZERO else int(mpmath.sign(digits)))


@functools.cache
def family_of(name: str) -> Any:
    return family(catalogue.load(name, ("runge-kutta",)))


FAMILIES = [name for name in RUNGE_KUTTA if catalogue.load(name, ("runge-kutta",)).parameters]


#: Half of the values are such as solve the equations of some families.
VALUES = st.one_of(NONZERO, st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(2, 3)]))


@given(st.sampled_from(FAMILIES), st.lists(VALUES, min_size=4, max_size=4))
@settings(deadline=None, max_examples=30)
def test_members_of_a_family_have_the_order_its_equations_say(name, values):
    declaration = catalogue.load(name, ("runge-kutta",))
    chosen = dict(zip((entry.name for entry in declaration.parameters), values, strict=False))
    members = tuple(replace(entry, default=chosen[entry.name]) for entry in declaration.parameters)
    try:
        member = build(replace(declaration, parameters=members))
    except DeclarationError:
        assume(False)
    assume(family_of(name) is not None)
    classical, control = family_of(name)
    a, b = member.a, member.b
    orders = {"classical": (classical, (a,))}
    if all(b) and control is not None:
        orders["control"] = (control, (a, hager(a, b)))
    for found, maps in orders.values():
        left = [e.subs({x: chosen[x.name] for x in e.free_symbols}) for e in found.equations]
        assume(all(residual.is_finite for residual in left))
        order = brute_order(maps, b, found.order + 1)
        if left:  # without equations the next order was not looked at
            assert order == found.order + (not any(left))
        assert order >= found.order
