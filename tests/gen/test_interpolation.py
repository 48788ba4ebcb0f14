"""Fields that move points: brackets, growth, ranks, certificates, and what is proved impossible."""

from __future__ import annotations

import itertools
import json
import math
import random
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy as sp

import hamilforge as hf
from hamilforge import cli
from hamilforge.gen.fields import draws, modular, obstruction
from hamilforge.gen.fields import polynomial as exact
from hamilforge.gen.fields.growth import MERSENNE, grow

HEAD = 'kind = "field"\nname = "mine"\ntitle = "Mine"\nreference = "-"\nstate = { y = ["d"] }\n'
FIXED = """[fixed]
A = { shape = ["d", "d"], draw = "integers(-9, 9)", where = "A - trace(A)/d*eye(d)" }
B = { shape = ["d", "d"], draw = "integers(-9, 9)", where = "B - trace(B)/d*eye(d)" }
e1 = "unit(1)"
em = "unit(d)"
"""
TERMS = ["A@y", "B@y", "em", "dot(em, y)**2*e1", "dot(em, y)*y"]


def declared(tmp_path, terms, fixed=FIXED, name="mine"):
    path = tmp_path / f"{name}.toml"
    f = " + ".join(f"u[{k}]*{term}" for k, term in enumerate(terms, 1))
    path.write_text(f'{HEAD}controls = {{ u = ["{len(terms)}"] }}\nf = "{f}"\n{fixed}')
    return path


def polynomials_in(width, most, generator, terms=4):
    exponents = [e for e in itertools.product(range(most + 1), repeat=width) if sum(e) <= most]
    return exact.polynomial(
        (generator.choice(exponents), Fraction(generator.randint(-9, 9), generator.randint(1, 5)))
        for _ in range(terms)
    )


def field_in(width, most, generator, terms=4):
    return tuple(polynomials_in(width, most, generator, terms) for _ in range(width))


def in_sympy(component, variables):
    return sum(
        sp.Rational(c.numerator, c.denominator)
        * sp.prod(v**n for v, n in zip(variables, e, strict=True))
        for e, c in component.items()
    )


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_bracket_is_that_of_sympy(width):
    generator = random.Random(width)
    x = sp.symbols(f"x:{width}")
    for _ in range(5):
        v, w = field_in(width, 3, generator), field_in(width, 3, generator)
        left, right = (sp.Matrix([in_sympy(c, x) for c in field]) for field in (v, w))
        wanted = right.jacobian(x) * left - left.jacobian(x) * right
        found = exact.bracket(v, w)
        assert all(sp.expand(wanted[k] - in_sympy(found[k], x)) == 0 for k in range(width))


def test_a_bracket_of_linear_fields_is_that_of_their_matrices():
    a, b = [[1, 2], [3, 4]], [[0, 1], [5, -2]]

    def linear(matrix):
        return tuple(
            exact.polynomial([((1, 0), Fraction(r[0])), ((0, 1), Fraction(r[1]))]) for r in matrix
        )

    wanted = np.array(b) @ a - np.array(a) @ b
    assert exact.bracket(linear(a), linear(b)) == linear(wanted.tolist())


def flow(field, x, t, steps=20):
    """Runge and Kutta's method, fourth order."""

    def slopes(z):
        return np.array(
            [sum(float(c) * np.prod(z ** np.array(e)) for e, c in f.items()) for f in field]
        )

    h = t / steps
    for _ in range(steps):
        k1 = slopes(x)
        k2 = slopes(x + h / 2 * k1)
        k3 = slopes(x + h / 2 * k2)
        k4 = slopes(x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


def test_flows_forth_and_back_leave_the_bracket():
    """V for t, W for t, then both back: t^2 [V, W], up to t^3."""
    generator = random.Random(3)
    v, w = field_in(2, 2, generator), field_in(2, 2, generator)
    x = np.array([0.3, -0.2])
    bracket = np.array(
        [float(c) for c in exact.value(exact.bracket(v, w), [Fraction(3, 10), Fraction(-1, 5)])]
    )
    errors = []
    for t in (0.02, 0.01, 0.005):
        moved = flow(w, flow(v, flow(w, flow(v, x, t), t), -t), -t)
        errors.append(np.linalg.norm(moved - x - t**2 * bracket))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert abs(slopes - 3).max() < 0.15


@pytest.mark.parametrize("p", [MERSENNE, 101])
def test_products_and_bases_modulo_a_prime(p):
    generator = np.random.default_rng(0)
    left, right = (generator.integers(0, p, shape) for shape in ((7, 700), (700, 9)))
    wanted = (left.astype(object) @ right.astype(object)) % p
    assert (modular.product(left, right, p) == wanted.astype(np.int64)).all()
    rows = modular.product(generator.integers(0, p, (80, 5)), generator.integers(0, p, (5, 60)), p)
    basis, pivots, new = modular.row_basis(rows, p)
    assert len(basis) == len(pivots) == new.sum() == 5
    assert (basis[:, pivots] == np.eye(5)).all()
    assert not modular.reduced(rows, basis, pivots, p).any()
    space = modular.RowSpace(60, p)
    assert space.add(rows[:3]).sum() + space.add(rows[3:]).sum() == space.rank == 5


def vector_fields(path, sizes, draw=0):
    from hamilforge import interpolation
    from hamilforge.gen.declare import catalogue
    from hamilforge.gen.fields.declared import Setting, polynomials

    field = catalogue.load(path)
    known = {p.name: p.default for p in field.parameters} | draws.fixed(field, sizes, draw)
    entries = interpolation._entries(field, sizes, known)
    return polynomials(Setting(field, sizes, known, entries))


@pytest.mark.parametrize("m", [2, 3])
def test_five_fields_give_all_polynomial_fields(m):
    """Up to the degree; of degree 1 the two quadratic generators are not counted."""
    fields = vector_fields("field/universal5", {"d": m})
    for k in range(1, 5 if m == 2 else 4):
        found = grow(fields, k)
        assert found.dimension == m * math.comb(m + k, m)
        assert bool(found.dropped)
    if m == 2:
        assert [grow(fields, k).dimension for k in (2, 3, 4)] == [12, 20, 30]


NEGATIVE = [
    ((1, 2), 2, 3, 3, "linear: sl(2), dimension 3"),
    ((1, 2), 3, 8, 8, "linear: sl(3), dimension 8"),
    ((1, 2, 3), 2, 5, 5, "affine: sl(2) + R^2, dimension 5"),
    ((1, 2, 3), 3, 11, 11, "affine: sl(3) + R^3, dimension 11"),
    ((1, 2, 3, 5), 2, 8, 8, "projective: sl(3), dimension 8"),
    ((1, 2, 3, 5), 3, 15, 15, "projective: sl(4), dimension 15"),
]


@pytest.mark.parametrize(("chosen", "m", "dimension", "rank", "name"), NEGATIVE)
def test_what_closes_too_small_is_proved_not_to_interpolate(
    tmp_path, chosen, m, dimension, rank, name
):
    path = declared(tmp_path, [TERMS[k - 1] for k in chosen])
    report = hf.controllability(path, 6, {"d": m})
    assert report["lie_rank"] == rank
    assert report["needed"] == 6 * m
    assert report["algebra"] == name
    assert report["interpolates"] is False
    assert f"closes over Q with {dimension} words" in report.finding("interpolates").evidence


def test_fields_that_keep_volumes_still_move_points(tmp_path):
    report = hf.controllability(declared(tmp_path, TERMS[:4]), 6)
    assert report["algebra"].startswith("divergence-free")
    assert report["lie_rank"] == report["needed"] == 12
    assert report["interpolates"] is True


def test_a_stall_at_the_degree_is_no_proof(tmp_path):
    path = declared(tmp_path, TERMS[2:])
    report = hf.controllability(path, 6, degree=4)
    assert report["interpolates"] is None
    assert "stalls" in report.finding("interpolates").why
    assert "degree 4" in report.finding("interpolates").why
    more = hf.controllability(path, 6, degree=6)
    assert (report["lie_rank"], more["lie_rank"]) == (8, 9)


def rank_over_q(fields, words, points):
    """By SymPy's polynomials and fraction-free elimination."""
    m = len(points[0])
    x = sp.symbols(f"x:{m}")
    matrices = [sp.Matrix([in_sympy(c, x) for c in field]) for field in fields]

    def spelled(letters):
        value = matrices[letters[-1] - 1]
        for letter in reversed(letters[:-1]):
            v = matrices[letter - 1]
            value = (value.jacobian(x) * v - v.jacobian(x) * value).expand()
        return value

    rows = []
    for letters in words:
        value = spelled(letters)
        rows.append(
            [
                sp.QQ.from_sympy(
                    sp.sympify(entry).subs(dict(zip(x, map(sp.Rational, point), strict=True)))
                )
                for point in points
                for entry in value
            ]
        )
    from sympy.polys.matrices import DomainMatrix

    return DomainMatrix(rows, (len(rows), len(rows[0])), sp.QQ).rank()


@pytest.mark.parametrize(("m", "count"), [(2, 1), (2, 3), (2, 6), (3, 2), (3, 4)])
def test_seven_random_fields_interpolate_and_sympy_agrees(m, count):
    report = hf.controllability("random7", count, {"d": m})
    assert report["interpolates"] is True
    fields = vector_fields("field/random7", {"d": m})
    words = report["certificate"]["words"]
    points = draws.points(count, m, 0)
    assert rank_over_q(fields, words, points) == m * count == len(words)
    dense = obstruction.rank([exact.word(fields, letters) for letters in words], points)
    assert dense == m * count


@pytest.mark.parametrize(
    ("m", "count"),
    [(2, 1), (2, 3), (2, 6), (3, 2), pytest.param(3, 4, marks=pytest.mark.full)],
)
def test_two_random_polynomial_fields_interpolate_and_other_routines_agree(m, count):
    sizes = {"d": m, "n": 3}
    report = hf.controllability("random_polynomial", count, sizes)
    assert report["interpolates"] is True
    fields = vector_fields("field/random_polynomial", sizes)
    assert max(sum(e) for field in fields for component in field for e in component) == 3
    words = report["certificate"]["words"]
    points = draws.points(count, m, 0)
    assert len(words) == m * count == report["lie_rank"]
    dense = obstruction.rank([exact.word(fields, letters) for letters in words], points)
    assert dense == m * count
    if max(map(len, words)) <= 3:  # expanding longer ones takes SymPy minutes
        assert rank_over_q(fields, words, points) == m * count
    # two fields alone span two directions at each point
    assert obstruction.rank([exact.word(fields, (k,)) for k in (1, 2)], points) == 2


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 100), marks=pytest.mark.full)])
def test_a_hundred_seeds_of_seven_random_fields(seeds):
    for seed in seeds:
        fields = vector_fields("field/random7", {"d": 4}, seed)
        points = draws.points(8, 4, seed)
        found = grow(fields, 3, points=points)
        assert found.rank == 32, seed
        assert max(map(len, found.certificate)) == 3  # 28 words have up to two letters
        if seed % 50 == 0:
            words = [exact.word(fields, letters) for letters in found.certificate]
            assert obstruction.rank(words, points) == 32


def along_a_cubic():
    """Three quadratic fields that keep a random cubic of three variables."""
    generator = random.Random(7)
    exponents = [e for e in itertools.product(range(4), repeat=3) if 0 < sum(e) <= 3]
    cubic = exact.polynomial((e, Fraction(generator.randint(-9, 9))) for e in exponents)
    a, b, c = (exact.partial(cubic, k) for k in range(3))

    def minus(value):
        return {e: -x for e, x in value.items()}

    fields = [({}, c, minus(b)), (minus(c), {}, a), (b, minus(a), {})]
    return fields


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("most", [2, 3, 4, 5, 6])
def test_fields_along_a_surface_never_leave_it(count, most):
    """Brackets cut at a degree would give full rank: a proof of what is false."""
    fields = along_a_cubic()
    points = draws.points(count, 3, 1)
    found = grow(fields, most, points=points)
    assert found.rank <= 2 * count
    assert most < 3 or found.rank == 2 * count
    invariant = obstruction.invariant(fields, 3)
    assert obstruction.moved(invariant, points) == count
    assert all(not exact.along(field, invariant) for field in fields)


def test_cut_brackets_would_prove_what_is_false():
    """So the rank above is a reason to drop them whole."""

    def cut(field):
        return tuple({e: c for e, c in f.items() if sum(e) <= 2} for f in field)

    fields = along_a_cubic()
    words = [*fields, *(cut(exact.bracket(v, w)) for v in fields for w in fields)]
    assert obstruction.rank(words, draws.points(1, 3, 1)) == 3


def test_an_invariant_is_a_proof(tmp_path):
    terms = ["C@y", "dot(e1, y)*D@y"]
    fixed = '[fixed]\nC = { shape = ["d", "d"], draw = "integers(-9, 9)", where = "skew(C)" }\n'
    fixed += fixed.partition("\n")[2].replace("C", "D") + 'e1 = "unit(1)"\n'
    report = hf.controllability(declared(tmp_path, terms, fixed), 3, {"d": 3})
    assert report["interpolates"] is False
    assert "constant along every field" in report.finding("interpolates").evidence


def test_coincident_points_are_a_proof():
    points = [[1, 2], [3, 4], ["1", "2.0"]]
    report = hf.controllability("universal5", points)
    assert report["interpolates"] is False
    assert "points 1 and 3 are one" in report.finding("interpolates").evidence
    assert report["lie_rank"] < report["needed"]


def test_a_line_keeps_the_order_of_points():
    assert "keep their order" in str(hf.controllability("random7", 2, {"d": 1}))


def test_a_prime_that_divides_a_denominator_is_replaced():
    report = hf.controllability("universal5", [["1/2147483647", 1], [2, 3]])
    assert report["prime"] == 2147483629
    assert "2147483647 divides a denominator" in str(report)
    assert report["interpolates"] is True


def test_where_numbers_decide_they_are_called_numbers():
    report = hf.controllability("random_tanh", 3)
    assert report["lie_rank"] == report["needed"] == 6
    assert report["interpolates"] is None
    assert "no proof" in report.finding("interpolates").why
    assert report["singular_gap"]["last_kept"] > 1e-6
    twice = hf.controllability("random_tanh", [[0.1, 0.2], [0.1, 0.2]])
    assert twice["lie_rank"] == 2
    assert twice["singular_gap"]["first_left_out"] < 1e-12


def test_brackets_of_numbers_are_those_of_polynomials():
    """The same field, through Taylor series in floating point and exactly."""
    from hamilforge.gen.fields import jets

    fields = vector_fields("field/random7", {"d": 2})
    points = draws.points(4, 2, 2)
    variables = jets.variables(np.array(points, dtype=float), 3)

    def at(component):
        total = 0 * variables[0]
        for e, c in component.items():
            term = 0 * variables[0] + float(c)
            for x, power in zip(variables, e, strict=True):
                for _ in range(power):
                    term = term * x
            total = total + term
        return total

    series = [[at(component) for component in field] for field in fields]
    for i, j, k in [(4, 5, 6), (3, 6, 0), (5, 1, 4)]:
        found = jets.values(jets.bracket(series[i], jets.bracket(series[j], series[k])))
        word = exact.word(fields, (i + 1, j + 1, k + 1))
        wanted = [float(x) for point in points for x in exact.value(word, point)]
        assert np.allclose(found, wanted, rtol=1e-10)


SERIES = {
    "tanh": mpmath.tanh,
    "sin": mpmath.sin,
    "exp": mpmath.exp,
    "logistic": lambda z: 1 / (1 + mpmath.exp(-z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.erfc(-z / mpmath.sqrt(2)) / 2,
    "sqrt": mpmath.sqrt,
    "atan": mpmath.atan,
}


@pytest.mark.parametrize("name", SERIES)
def test_series_of_functions_are_their_derivatives(name):
    from hamilforge.gen.fields import jets

    (x,) = jets.variables(np.array([[0.7]]), 4)
    with mpmath.workdps(40):
        wanted = mpmath.taylor(SERIES[name], 0.7, 4)
    found = jets.function(name, x).terms[:, 0]
    assert np.allclose(found, [float(w) for w in wanted], rtol=1e-9)


def test_draws_are_a_function_of_seed_name_and_index():
    assert [draws.integer(0, "A", k, -9, 9) for k in range(8)] == DRAWN
    many = [draws.integer(1, "A", k, -9, 9) for k in range(4000)]
    assert {*many} == {*range(-9, 10)}
    assert abs(np.mean(many)) < 0.3


#: SHA-256 of "0/A/0", "0/A/1", ...: the first 16 bytes modulo 19, less 9.
DRAWN = [-7, 9, 8, -5, 4, 1, 3, 4]


def test_fixed_matrices_are_exactly_traceless():
    from hamilforge.gen.declare import catalogue

    arrays = draws.fixed(catalogue.load("field/universal5"), {"d": 3}, 5)
    assert np.trace(arrays["A"]) == 0
    assert list(arrays["em"]) == [0, 0, 1]
    assert (arrays["A"] != arrays["B"]).any()


REFUSED = [
    ([[1.0, float("nan")]], {}, "no finite rational number"),
    ([[1, 2], [3]], {}, "point 2 has 1 coordinates, the first has 2"),
    (2.5, {}, "whole number"),
    ("2.5", {}, "no file '2.5', and no whole number"),
    (0, {}, "whole number from 1"),
    (True, {}, "whole number"),
    ([[1, 2]], {"sizes": {"d": 3}}, "points have 2 coordinates"),
    ([[1, 2]], {"sizes": {"n": 3}}, "no dimension 'n'"),
    (2, {"prime": 15}, "15 is not prime"),
    (2, {"prime": 2**31 + 11}, "below 2\\*\\*31"),
    (2, {"parameters": {"C": 1}}, "no parameter or control 'C'"),
    (2, {"parameters": {"u": [1, 2]}}, "has shape"),
    (2, {"degree": 0}, "degree = 0"),
    ([[math.sqrt(2) * sp.sqrt(2), 1]], {}, "no finite rational number"),
]


@pytest.mark.parametrize(("points", "options", "message"), REFUSED)
def test_what_does_not_fit_is_told(points, options, message):
    with pytest.raises(ValueError, match=message):
        hf.controllability("universal5", points, **options)


def test_an_unknown_field_and_one_that_is_not_linear_are_told(tmp_path):
    with pytest.raises(hf.DeclarationError, match="universal6"):
        hf.controllability("universal6", 2)
    with pytest.raises(hf.DeclarationError, match="not linear in its controls"):
        hf.controllability(declared(tmp_path, ["u[1]*y"], ""), 2)
    path = tmp_path / "drift.toml"
    path.write_text(HEAD + 'controls = { a = [] }\nf = "y + a*y"\n')
    with pytest.raises(hf.DeclarationError, match="moves without its controls"):
        hf.controllability(path, 2)
    with pytest.raises(hf.DeclarationError, match="not linear in its controls"):
        hf.controllability("resnet", 2)


def test_controls_that_are_held_are_numbers():
    held = {f"C{k}": [[k, 1], [1, -k]] for k in range(1, 6)} | {
        f"d{k}": [1, k] for k in range(1, 6)
    }
    smooth = {"u5": 0, **held}
    report = hf.controllability("controlled", 2, parameters=smooth)
    assert (report["fields"], report["lie_rank"]) == (4, 4)


BAD = [
    ('A = "unit(0)"', "expected 'unit\\(1\\)'"),
    ('A = "unit(k)"', "is not the dimension"),
    ('A = { shape = ["d"], draw = "normal(0, 1)" }', "expected 'integers\\(low, high\\)'"),
    ('A = { shape = ["d"], draw = "integers(3, 1)" }', "expected 'integers\\(low, high\\)'"),
    ('A = { shape = [], draw = "integers(0, 1)" }', "a shape was expected"),
    ('A = { shape = ["d"], draw = "integers(0, 1)", where = "exp(A)" }', "is not exact here"),
    ('A = { shape = ["d","d"], draw = "integers(0, 1)", where = "trace(A)" }', "was expected"),
    ('A = { shape = ["d"], draw = "integers(0, 1)", seed = 1 }', "unknown key"),
    ('y = "unit(1)"', "has a meaning already"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_fixed_arrays_that_are_none_are_told(tmp_path, line, message):
    path = declared(tmp_path, ["y"], f"[fixed]\n{line}\n")
    with pytest.raises(hf.DeclarationError, match=message):
        hf.check(path)


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ("u[0]*y", "entries of 'u' are"),
        ("u[2]*y", "entries of 'u' are"),
        ("u[a]*y", "whole number"),
    ],
)
def test_entries_that_are_none_are_told(tmp_path, term, message):
    path = tmp_path / "mine.toml"
    path.write_text(f'{HEAD}controls = {{ u = ["1"] }}\nf = "{term}"\n')
    with pytest.raises(hf.DeclarationError, match=message):
        hf.check(path)


def test_the_command_reads_points_from_a_file(tmp_path, capsys):
    path = tmp_path / "points.csv"
    path.write_text("a,b\n0.1,0.2\n1/3,-4\n5e-1,6\n")
    assert cli.main(["check", "universal5", "--points", str(path), "--json"]) == 0
    ((report,),) = [json.loads(capsys.readouterr().out)]
    assert report["properties"]["interpolates"] is True
    assert report["properties"]["lie_rank"] == report["properties"]["needed"] == 6
    path.write_text("0.1,nan\n")
    assert cli.main(["check", "universal5", "--points", str(path)]) == 2
    assert "no finite rational number" in capsys.readouterr().err
    assert cli.main(["check", "universal5", "--degree", "3"]) == 2


def test_show_tells_what_is_fixed(capsys):
    assert cli.main(["show", "universal5"]) == 0
    assert "then A - trace(A)/d*eye(d)" in capsys.readouterr().out
