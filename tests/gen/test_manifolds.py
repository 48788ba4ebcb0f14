"""Manifolds: what is proved of the catalogue's and of own ones, and that false maps are seen."""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
import torch
from scipy import linalg

import hamilforge as hf
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import ClaimError, DeclarationError
from hamilforge.gen.declare.matrix_functions import PRIMITIVE
from hamilforge.gen.exact import matrices
from hamilforge.gen.program.interpret import results
from hamilforge.gen.program.optimizers.manifold import build_manifold
from hamilforge.gen.program.reference import NUMPY_MATRICES
from tests.samples import sampled

NAMES = catalogue.names("manifold")
OTHERS = [name for name in NAMES if name not in ("stiefel", "sphere")]
#: Orders where nothing is special, from derivations by hand; and where they are higher.
ORDERS = {
    "stiefel": {
        "euclidean": {"polar": 2, "qr": 1, "cayley": 1, "exponential": 1, "orthographic": 2},
        "canonical": {
            "polar": 1,
            "qr": 1,
            "cayley": 2,
            "exponential": "exact",
            "orthographic": 1,
        },
    },
    "grassmann": {"euclidean": {"polar": 2, "qr": 2, "exponential": "exact"}},
    "flat": {"euclidean": {"straight": "exact", "orthographic": "exact"}},
    "sphere": {"euclidean": {"normalise": 2, "exponential": "exact", "orthographic": 2}},
    "oblique": {"euclidean": {"normalise": 2, "exponential": "exact"}},
    "orthogonal": {"euclidean": {"polar": 2, "qr": 1, "cayley": 2, "exponential": "exact"}},
}
HYPERBOLOID = """
kind = "manifold"
name = "hyperboloid"
title = "Hyperbolic space, a sheet of a hyperboloid"
reference = "own"
point = { X = ["n"] }
constraint = "lorentz + 1"
project = "V + product*X"

[shorthands]
E = "unit(n, 0)"
lorentz = "dot(X, X) - 2*dot(X, E)**2"
product = "dot(X, V) - 2*dot(X, E)*dot(V, E)"
r = "sqrt(max(dot(V, V) - 2*dot(V, E)**2, 0))"

[retractions]
exponential = "cosh(r)*X + where(r > 0, sinh(r)/r, 1)*V"

[metrics.lorentz]
inner = "dot(U, V) - 2*dot(U, E)*dot(V, E)"
gradient = "project(G - 2*dot(G, E)*E)"
geodesic = "cosh(r)*X + where(r > 0, sinh(r)/r, 1)*V"

[where]
upper = "dot(X, E) > 0"
"""
POSITIVE = """
kind = "manifold"
name = "positive"
title = "Symmetric positive definite matrices"
reference = "own"
point = { X = ["n", "n"] }
constraint = "X - transpose(X)"
project = "sym(V)"

[retractions]
second = "X + V + V @ solve(X, V)/2"
first = "X + V"

[metrics.affine]
inner = "trace(solve(X, U) @ solve(X, V))"
gradient = "X @ sym(G) @ X"
geodesic = "X @ expm(solve(X, V))"

[where]
positive = "X"

[sample]
point = "Z @ transpose(Z) + eye(n)"
"""
QUADRIC = """
kind = "manifold"
name = "ellipsoid"
title = "An ellipsoid"
reference = "own"
point = { X = ["n"] }
constraint = "dot(X, N) - 1"
project = "V - dot(N, V)/dot(N, N)*N"

[shorthands]
N = "X + 3*dot(X, unit(n, 0))*unit(n, 0)"

[retractions]
scale = "(X + V)/sqrt(dot(X + V, X + V) + 3*dot(X + V, unit(n, 0))**2)"

[metrics.euclidean]
inner = "dot(U, V)"
gradient = "project(G)"
"""


def written(folder, text):
    path = folder / "own.toml"
    path.write_text(text)
    return path


def test_each_has_its_orders_in_this_file():
    assert {*NAMES} == {*ORDERS}


@pytest.mark.parametrize("name", NAMES)
def test_the_maps_of_the_catalogue_are_what_they_are_called(name):
    report = hf.check(f"manifold/{name}")
    assert report.holds
    assert report["retraction_order"] == ORDERS[name]
    for key in ("projection", "metric", "gradient", "geodesic", "retraction"):
        assert {*report[key].values()} == {True}
    # what has no curvature carries vectors as they are
    assert report["transport"]["isometric (euclidean)"] is (name == "flat")


def test_what_rounding_does_is_told(tmp_path):
    """A factor that is orthogonal for tangent vectors alone enlarges what is off, in every step."""
    off = hf.check("manifold/stiefel")["off_the_manifold"]
    assert off["retract polar"] == off["retract qr"] == "restores"
    assert off["retract cayley"] == off["geodesic euclidean"] == "keeps"
    own = (catalogue.root() / "manifolds" / "stiefel.toml").read_text()
    assert own.count('A = "skew(transpose(X) @ V)"') == 1
    naive = own.replace('A = "skew(transpose(X) @ V)"', 'A = "transpose(X) @ V"')
    report = hf.check(written(tmp_path, naive))
    assert report.holds  # on the manifold it is the same
    factor = report["off_the_manifold"]["geodesic euclidean"].removeprefix("times ")
    assert float(factor) > 1.05


def test_orders_are_higher_where_sizes_are_special():
    elsewhere = hf.check("manifold/stiefel")["order_elsewhere"]
    assert elsewhere["n = 3, p = 1"]["euclidean"] == {
        "qr": 2, "cayley": 2, "exponential": "exact"
    }  # fmt: skip
    assert elsewhere["n = 3, p = 3"]["euclidean"]["cayley"] == 2
    assert "n = 3, p = 2" not in elsewhere
    assert hf.check("manifold/orthogonal")["order_elsewhere"] == {"n = 2": {"euclidean": {"qr": 2}}}


@pytest.mark.parametrize("text", [HYPERBOLOID, POSITIVE, QUADRIC])
def test_a_manifold_of_a_users_own(text, tmp_path):
    report = hf.check(written(tmp_path, text))
    assert report.holds
    if "positive" in text:
        assert report["retraction_order"]["affine"] == {"second": 2, "first": 1}
        assert report["conditions_kept"] == {"second": True, "first": False}
    if "ellipsoid" in text:
        assert report["retraction_order"] is None
    assert report["dimension"] == ("1/2*n + 1/2*n**2" if "positive" in text else "n - 1")


NORMAL = "X @ riccati(transpose(X) @ (X + V), transpose(X + V) @ (X + V) - eye(p))"
#: Of a tangent vector these are what they would be with the other sign.
SAME = ("reference", "title", "#", "[", "point", "inner", "H = ", 's = "dot')
EQUAL = ("s**4", "/norm(X - V)", "/sqrt(colsum((X - V)**2))")


def faults(name):
    """The declaration with one sign or one factor changed, for each of them that matters."""
    text = (catalogue.root() / "manifolds" / f"{name}.toml").read_text().partition("[claims]")[0]
    start = text.index("constraint")
    for match in re.finditer(r"(?<=[\w)]) ([-+]) (?=[\w(])|/2|\*\*2|(?<==) \"-|sym|skew", text):
        line = text[text.rindex("\n", 0, match.start()) + 1 : text.index("\n", match.end())]
        if match.start() < start or line.startswith(SAME):
            continue
        old = match[0]
        new = {" + ": " - ", " - ": " + ", "/2": "/3", "**2": "**4", "sym": "skew", "skew": "sym"}
        changed = text[: match.start()] + new[old] + text[match.end() :]
        if not any(equal in changed for equal in EQUAL):
            yield line, changed
    for match in re.finditer(r'^([a-z_]+) = "(.*)"$', text, re.MULTILINE):
        section = text[: match.start()].rpartition("\n[")[2].partition("]")[0]
        if match[1] in ("project", "gradient", "geodesic") or section == "retractions":
            yield match[0], text[: match.start(2)] + f"2*({match[2]})" + text[match.end(2) :]


@pytest.mark.parametrize(
    "name", ["sphere", *(pytest.param(n, marks=pytest.mark.full) for n in ("stiefel", *OTHERS))]
)
def test_every_wrong_sign_and_factor_is_seen(name, tmp_path):
    mutants = [*faults(name)]
    assert len(mutants) >= 5
    for line, text in mutants:
        try:
            holds = hf.check(written(tmp_path, text)).holds
        except DeclarationError:
            continue
        assert not holds, line


FAULTS = (
    ('- sum((transpose(X) @ U)*(transpose(X) @ V))/2"', '"'),
    ('(transpose(X) @ V))/2"', '(transpose(X) @ V))/3"'),
    ('- sum((transpose(X) @ U)*(transpose(X) @ V))/2"', '- 3*sum(U*V)"'),
    ('"G - X @ (transpose(G) @ X)"', '"project(G)"'),
    ('"G - X @ (transpose(G) @ X)"', '"G"'),
    ("rates = [1, 2]", "rates = [1]"),
    ("rates = [1, 2]", "rates = [2, 1, 3]"),
    ("rates = [1, 2]", "rates = [1, 3]"),
    ("- X @ skew(transpose(X) @ U)", "+ X @ skew(transpose(X) @ U)"),
    ('normal = "X @ riccati', 'normal = "-X @ riccati'),
    (f'normal = "{NORMAL}"', 'normal = "X + V - polar(X + V)"'),  # on it, and not normal
    ('"V - X @ sym(transpose(X) @ V)"', '"0*V"'),
    ('"V - X @ sym(transpose(X) @ V)"', '"V - X @ (transpose(X) @ V)"'),
    ('"V - X @ sym(transpose(X) @ V)"', '"V - X @ transpose(V) @ X"'),
    ('cayley = "', 'cayley = "X + V"\nother = "'),
    ('geodesic = "rotation(P, X, X)"', 'geodesic = "polar(X + V)"'),
)


@pytest.mark.parametrize(("old", "new"), sampled(FAULTS, every=2))
def test_faults_of_a_metric_are_seen(old, new, tmp_path):
    own = (catalogue.root() / "manifolds" / "stiefel.toml").read_text().partition("[claims]")[0]
    assert own.count(old) == 1
    assert not hf.check(written(tmp_path, own.replace(old, new))).holds


def test_an_indefinite_metric_and_a_transport_that_is_not_linear_are_seen(tmp_path):
    own = (catalogue.root() / "manifolds" / "sphere.toml").read_text()
    own = own.partition("[claims]")[0].replace("[shorthands]", '[shorthands]\nE = "unit(n, 0)"')
    for factor, holds in ((0.5, True), (20, False)):
        inner = f'"dot(U, V) - {factor}*dot(U, project(E))*dot(V, project(E))"'
        text = own.replace('inner = "dot(U, V)"', f"inner = {inner}")
        assert hf.check(written(tmp_path, text))["metric"] == {"euclidean": holds}
    carried = "(U - dot(Y, U)*Y)"
    transport = f'transport = "{carried}*norm(U)/norm({carried})"\n\n[shorthands]'
    report = hf.check(written(tmp_path, own.replace("[shorthands]", transport)))
    assert report["transport"]["isometric (euclidean)"]
    assert not report["transport"]["linear (normalise)"]
    assert not report.holds


def on_a_manifold(folder, **changes):
    """The leapfrog on the Stiefel manifold, with other values of some keys."""
    text = (catalogue.root() / "optimizers" / "stiefel_leapfrog.toml").read_text()
    text = text.partition("[claims]")[0].replace("stiefel_leapfrog", "own")
    for key, value in changes.items():
        lines = [line for line in text.splitlines() if line.startswith(f"{key} = ")]
        old, *_ = lines or ["[hyperparameters]"]
        text = text.replace(old, f'{key} = "{value}"' + ("" if lines else f"\n{old}"))
    return written(folder, text)


def test_orders_and_factors_of_methods_on_a_manifold(tmp_path):
    report = hf.check(on_a_manifold(tmp_path))
    assert (report["order"], report["conformal_factor"]) == (2, "momentum")
    report = hf.check(on_a_manifold(tmp_path, retraction="exponential"))
    assert (report["order"], report["conformal_factor"]) == (1, None)
    report = hf.check(on_a_manifold(tmp_path, method="symplectic_euler"))
    assert (report["order"], report["conformal_factor"]) == (1, "momentum")
    report = hf.check(on_a_manifold(tmp_path, method="strang"))
    assert (report["order"], report["conformal_factor"]) == (2, "momentum")
    report = hf.check(on_a_manifold(tmp_path, metric="canonical"))
    assert (report["order"], report["conformal_factor"]) == (2, "momentum")
    report = hf.check(on_a_manifold(tmp_path, method="conformal_verlet"))
    assert (report["order"], report["conformal_factor"]) == (2, "momentum")
    report = hf.check(on_a_manifold(tmp_path, retraction="exponential", metric="canonical"))
    assert report["order"] is None  # projection is not how this metric carries vectors
    assert "derivative" in report.finding("order").why


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"method": "yoshida4"}, "one gradient"),
        ({"method": "mec_strang"}, "euclidean of stiefel declares none"),
        ({"method": "rattle"}, "multipliers of the manifold: orthographic"),
        ({"method": "rattle", "manifold": "grassmann"}, "no retraction of grassmann has a normal"),
        ({"transport": "body"}, "leave it out: the move carries the momentum"),
        ({"transport": "bodyy", "retraction": "cayley"}, "did you mean 'body'"),
        ({"method": "baoab"}, "noise"),
        ({"system": "relativistic"}, "one vector"),
        ({"system": "nesterov_flow"}, "nesterov_flow"),
        ({"retraction": "other"}, "polar, qr, cayley, exponential, orthographic, geodesic"),
        ({"metric": "flat"}, "euclidean, canonical"),
        ({"manifold": "rgd"}, "manifold"),
    ],
    ids=str,
)
def test_what_has_no_form_on_a_manifold_is_refused(changes, told, tmp_path):
    with pytest.raises(DeclarationError, match=told):
        hf.check(on_a_manifold(tmp_path, **changes))


def test_a_gradient_somewhere_else_is_refused(tmp_path):
    text = """
kind = "optimizer"
name = "own"
title = "own"
reference = "own"
manifold = "sphere"
unknowns = ["X", "M"]
assign = ["M = project(grad(M))", "X = retract(-lr*M)"]

[hyperparameters]
lr = { default = 0.1, domain = "nonnegative" }
"""
    with pytest.raises(DeclarationError, match="taken at X"):
        hf.check(written(tmp_path, text))
    with pytest.raises(DeclarationError, match="moves by retract"):
        hf.check(written(tmp_path, text.replace("grad(M)", "grad(X)").replace("retract(-", "(-")))


def test_a_false_claim_is_refused(tmp_path):
    own = (catalogue.root() / "manifolds" / "stiefel.toml").read_text()
    path = written(tmp_path, own.replace("qr = 1", "qr = 2", 1))
    assert not hf.check(path).holds
    text = str(hf.check(path))
    assert "FALSE" in text
    path = written(tmp_path, own.replace('"n*p - p*(p + 1)/2"', '"n*p - p**2"'))
    assert not hf.check(path).holds


def test_what_does_not_exist_is_told(tmp_path):
    text = POSITIVE.replace("[sample]", "[ignored]").replace("Z @ transpose(Z) + eye(n)", "Z")
    for old, new, told in (
        ('{ X = ["n", "n"] }', '{ Q = ["n", "n"] }', "called X"),
        ('{ X = ["n", "n"] }', '{ X = ["n", 3] }', "by name"),
        ('"sym(V)"', '"sym(Y)"', "unknown name 'Y'"),
        ('"sym(V)"', '"trace(V)"', "a scalar"),
        ('"sym(V)"', '"V @ eye(m)"', "takes a dimension: n"),
        ('"sym(V)"', '"unit(n, -1)*V"', "whole number"),
        ('"X - transpose(X)"', '"det(X, X)"', "takes 1 argument"),
        ('"X - transpose(X)"', '"dett(X)"', "did you mean 'det'"),
        ("[metrics.affine]", "[metrics.Affine]", "is no name"),
        ('positive = "X"', 'other = "X"', "a condition is of a scalar"),
        ('kind = "manifold"', 'kind = "manifold"\nspeed = 3', "unknown key"),
    ):
        changed = text.replace(old, new).replace("[ignored]", "[sample]")
        with pytest.raises(DeclarationError, match=told):
            hf.check(written(tmp_path, changed))


def test_a_manifold_without_points_is_refused(tmp_path):
    text = QUADRIC.replace('"dot(X, N) - 1"', '"dot(X, N) + 1"')
    with pytest.raises(DeclarationError, match="no point"):
        hf.check(written(tmp_path, text))
    text = POSITIVE.replace('"Z @ transpose(Z) + eye(n)"', '"Z"')
    with pytest.raises(DeclarationError, match=r"no point|constraint is"):
        hf.check(written(tmp_path, text))


@pytest.mark.parametrize("name", PRIMITIVE)
def test_functions_of_matrices_beside_numpy_and_scipy(name):
    generator = np.random.default_rng(3)
    square = generator.standard_normal((4, 4))
    operands = {
        "cholesky": (square @ square.T + np.eye(4),),
        "polar": (square[:, :2],),
        "qr": (square[:, :3],),
        "quintic": (square[:, :2], 2.0, -0.5, 0.25),
        "cayley": (square[:, :2], square[:, 2:], square[:, 1:3]),
        "rotation": (square[:, :2], square[:, 2:], square[:, 1:3]),
        "riccati": (np.eye(4) + 0.1 * square, 0.1 * (square + square.T) - np.eye(4) / 2),
        "solve": (square, square[:, :2]),
    }.get(name, (square,))
    expected = {
        "cholesky": lambda a: linalg.cholesky(a, lower=True),
        "colsum": lambda a: a.sum(0)[None],
        "det": linalg.det,
        "diag": lambda a: np.diag(a)[:, None],
        "expm": linalg.expm,
        "polar": lambda a: linalg.polar(a)[0],
        "qr": lambda a: np.linalg.qr(a)[0] * np.sign(np.diag(np.linalg.qr(a)[1])),
        "quintic": lambda a, *own: (
            linalg.svd(a, full_matrices=False)[0]
            @ np.diag([own[0] * s + own[1] * s**3 + own[2] * s**5 for s in linalg.svdvals(a)])
            @ linalg.svd(a, full_matrices=False)[2]
        ),
        "cayley": lambda p, x, b: linalg.solve(
            np.eye(4) - (p @ x.T - x @ p.T) / 2, (np.eye(4) + (p @ x.T - x @ p.T) / 2) @ b
        ),
        "rotation": lambda p, x, b: linalg.expm(p @ x.T - x @ p.T) @ b,
        "riccati": lambda s, q: -linalg.solve_continuous_are(-s, np.eye(4), -q, np.eye(4)),
        "rowsum": lambda a: a.sum(1)[:, None],
        "solve": linalg.solve,
    }[name](*operands)
    assert np.allclose(NUMPY_MATRICES[name](*operands), expected, rtol=1e-13, atol=1e-13)
    with mpmath.workdps(40):
        many = [np.vectorize(mpmath.mpf, otypes=[object])(part) for part in operands]
        value = np.asarray(matrices.FUNCTIONS[name](*many)).astype(float)
    assert np.allclose(value, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("size", [0, 1e-30, 0.1, 1, 30, 300])
def test_an_exponential_is_good_to_its_last_digits(size):
    generator = np.random.default_rng(4)
    square = np.vectorize(mpmath.mpf, otypes=[object])(generator.standard_normal((4, 4)))
    with mpmath.workdps(120):
        matrix = square * mpmath.mpf(size) / matrices.size_of(square)
        found = matrices.expm(matrix)
    with mpmath.workdps(160):
        exact = np.array(mpmath.expm(mpmath.matrix(matrix.tolist()), "taylor").tolist())
        assert matrices.size_of(found - exact) <= mpmath.mpf("1e-113") * matrices.size_of(exact)


def test_the_geodesic_of_the_embedding_is_that_of_edelman_arias_and_smith():
    """X(t) = [X V] exp([[A, -S], [I, A]] t) [I; 0] exp(-A t), A = X'V, S = V'V."""
    functions = build_manifold(catalogue.load("stiefel")).functions
    generator = np.random.default_rng(4)
    x = np.linalg.qr(generator.standard_normal((6, 3)))[0]
    v = results(functions["project"], {"X": x, "V": generator.standard_normal((6, 3))})["value"]
    a, s, one = x.T @ v, v.T @ v, np.eye(3)
    whole = linalg.expm(np.block([[a, -s], [one, a]]))
    expected = np.hstack([x, v]) @ whole[:, :3] @ linalg.expm(-a)
    ours = results(functions["geodesic_euclidean"], {"X": x, "V": v})["value"]
    assert abs(ours - expected).max() < 1e-13


def test_code_is_not_made_of_a_manifold_that_is_false(tmp_path):
    path = written(tmp_path, POSITIVE.replace('"X @ sym(G) @ X"', '"sym(G)"'))
    assert not hf.check(path).holds
    with pytest.raises((ClaimError, DeclarationError)):
        hf.generate(path, tmp_path / "out")


@pytest.mark.parametrize("name", NAMES)
def test_retractions_have_derivatives_where_nothing_moves(name):
    """dR = id at V = 0 and where some columns of V are 0, by autograd."""
    manifold = hf.manifold(name)
    declared = catalogue.load(name, ("manifold",))
    shape = (5,) if declared.is_vector else (5, 5) if len({*declared.shape}) == 1 else (5, 2)
    torch.manual_seed(0)
    point = manifold.random(*shape, dtype=torch.float64)
    for some in (0.0, 1.0):
        moved = manifold.project(point, some * torch.randn(shape, dtype=torch.float64))
        if len(shape) == 2:
            moved[:, 0] = 0 if name == "oblique" else moved[:, 0]
        for retraction in manifold.retractions:
            vector = (moved / 16).clone().requires_grad_()
            end = manifold.retract(point, vector, retraction)
            (slope,) = torch.autograd.grad(end.sum(), vector)
            assert slope.isfinite().all(), (retraction, some)
            if not some:
                along = manifold.project(point, torch.randn(shape, dtype=torch.float64))
                ones = torch.ones(shape, dtype=torch.float64)
                assert abs((slope * along).sum() - (ones * along).sum()) < 1e-12, retraction
