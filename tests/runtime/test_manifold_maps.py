"""The maps of manifolds on tensors: what they take, refuse, and say of points."""

from __future__ import annotations

import math

import pytest
import torch

import hamilforge as hf


def test_a_tensor_is_moved_whatever_lies_beside_it():
    """Rounding is that of each point, and of each column."""
    generator = torch.Generator().manual_seed(0)
    for dtype, factor in ((torch.float64, 1e15), (torch.float32, 1e6)):
        pair = torch.randn(2, 5, 3, generator=generator, dtype=dtype)
        alone = [hf.project_(matrix.clone(), "stiefel") for matrix in pair]
        pair[1] *= factor
        together = hf.project_(pair, "stiefel")
        bound = 20 * torch.finfo(dtype).eps
        assert all((a - b).abs().max() < bound for a, b in zip(together, alone, strict=True))
    columns = torch.randn(5, 3, generator=generator) * torch.tensor([1.0, 1e9, 1e-9])
    assert (hf.project_(columns, "oblique").norm(dim=0) - 1).abs().max() < 1e-6


@pytest.mark.parametrize(
    "columns", [[[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]
)
def test_what_rounding_would_choose_is_refused(columns):
    tensor = torch.tensor(columns, dtype=torch.float64)
    before = tensor.clone()
    with pytest.raises(ValueError, match="rounding would choose it, as where columns depend"):
        hf.project_(tensor, "stiefel")
    assert torch.equal(tensor, before)


@pytest.mark.parametrize("manifold", ["sphere", "oblique"])
def test_entries_whose_squares_are_no_numbers_are_named(manifold):
    tensor = torch.full((4,) if manifold == "sphere" else (4, 2), 3e30)
    with pytest.raises(ValueError, match=r"squares .* leave the range of torch.float32"):
        hf.project_(tensor, manifold)


STIEFEL, SPHERE, ORTHOGONAL = map(hf.manifold, ("stiefel", "sphere", "orthogonal"))
POINT = torch.eye(3, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: STIEFEL.random(), ValueError, "a matrix was expected"),
        (lambda: STIEFEL.random(5), ValueError, "a matrix was expected"),
        (lambda: STIEFEL.random(2, 5), ValueError, "5 columns and 2 rows"),
        (lambda: STIEFEL.random(3, 2, dtype=torch.float16), ValueError, "torch.float16"),
        (lambda: ORTHOGONAL.random(3, 4), ValueError, "a square matrix was expected"),
        (lambda: STIEFEL.retract(POINT, POINT[:, :1]), ValueError, "do not fit"),
        (lambda: STIEFEL.retract(POINT, torch.tensor(1.0)), ValueError, "a matrix was expected"),
        (lambda: STIEFEL.project(POINT, POINT.double()), ValueError, "float32 and torch.float64"),
        (lambda: STIEFEL.project(POINT.tolist(), POINT), TypeError, "a tensor was expected"),
        (lambda: STIEFEL.project(POINT.to(torch.complex64), POINT), ValueError, "complex64"),
        (lambda: SPHERE.inner(POINT[:, 0], POINT[:2, 0], POINT[:, 0]), ValueError, "last axis"),
        (lambda: STIEFEL.violation(POINT[:, 0]), ValueError, "a matrix was expected"),
    ],
)
def test_what_is_no_point_or_vector_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_what_is_no_point_is_not_contained():
    assert STIEFEL.contains(POINT)
    assert not STIEFEL.contains(POINT[:, 0])
    assert not STIEFEL.contains(POINT.long())
    assert not STIEFEL.contains(POINT * 2)


def test_random_points_have_leading_axes():
    assert STIEFEL.random(0, 3, 2).shape == (0, 3, 2)
    points = STIEFEL.random(2, 4, 3, 2, dtype=torch.float64)
    assert STIEFEL.contains(points)
    assert (points[0, 0] - points[1, 3]).abs().max() > 0.1


def test_violations_are_spectral_norms():
    """The norm in which bounds are proved; a step of pogo from far off it grows without one."""
    ones = torch.ones(10, 10, dtype=torch.float64)
    gram = torch.eye(10, dtype=torch.float64) + 0.45 * (ones - torch.eye(10, dtype=torch.float64))
    root = torch.linalg.cholesky(gram).mT.contiguous()
    assert STIEFEL.violation(root) == pytest.approx(0.45 * 9, rel=1e-12)
    with pytest.raises(ValueError, match="not on the manifold stiefel"):
        hf.optimizer("pogo")([torch.nn.Parameter(root)])


DEFINITE = """kind = "manifold"
name = "definite"
title = "Positive definite matrices"
reference = "R. Bhatia, Positive Definite Matrices, Princeton 2007"
point = { X = ["n", "n"] }
constraint = "skew(X)"
project = "sym(V)"
[retractions]
straight = "X + V"
[metrics.euclidean]
inner = "sum(U*V)"
gradient = "sym(G)"
[metrics.affine]
inner = "trace(solve(X, U) @ solve(X, V))"
gradient = "X @ sym(G) @ X"
geodesic = "X @ expm(solve(X, V))"
[sample]
point = "Z @ transpose(Z) + eye(n)/10"
[where]
positive = "X"
"""


@pytest.fixture
def definite(tmp_path):
    path = tmp_path / "definite.toml"
    path.write_text(DEFINITE)
    return str(path)


def test_a_condition_that_is_lost_is_seen(definite):
    param = torch.nn.Parameter(torch.eye(3, dtype=torch.float64))
    optimizer = hf.optimizer("stiefel_descent", manifold=definite)([param], lr=0.5)
    assert optimizer.violation() == 0
    for _ in range(3):
        param.grad = torch.eye(3, dtype=torch.float64)
        optimizer.step()
    assert optimizer.violation() == math.inf


def test_points_may_be_large_where_they_are_followed(definite):
    """Gradients X G X of large points are larger: steps are compared with the sizes of points."""
    report = hf.check("stiefel_descent", manifold=definite, metric="affine")
    assert report["stays"] == {"point": True}
    leapfrog = hf.check("stiefel_leapfrog", manifold=definite, metric="affine")
    assert (leapfrog["order"], leapfrog["conformal_factor"]) == (2, "momentum")
    assert leapfrog["stays"] == {"point": True, "V tangent": True}


def test_a_rule_along_geodesics_says_that_there_is_none(definite):
    with pytest.raises(hf.DeclarationError, match=r"moves along geodesics.*metric = 'affine'"):
        hf.optimizer("stiefel_leapfrog", manifold=definite)
    rule = hf.optimizer("stiefel_leapfrog", manifold=definite, retraction="straight")
    optimizer = rule([torch.nn.Parameter(torch.eye(3, dtype=torch.float64))])
    assert repr(optimizer).startswith("StiefelLeapfrogOnDefinite on definite")
