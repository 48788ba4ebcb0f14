"""Optimizers of points on other manifolds than their declarations say."""

from __future__ import annotations

import itertools

import pytest

import hamilforge as hf
from hamilforge.cli import main
from hamilforge.gen import digests
from hamilforge.gen.declare import catalogue, geometry, kinds
from hamilforge.gen.declare.errors import DeclarationError
from tests.gen.test_manifolds import HYPERBOLOID, written

OPTIMIZERS = [
    name
    for name in catalogue.names("optimizer")
    if isinstance(catalogue.load(name, ("optimizer",)), kinds.MatrixOptimizer)
]


def lacking(optimizer, manifold):
    """What is said of a rule that has no meaning on a manifold; None of others."""
    if optimizer.manifold is None:
        return "is no optimizer of points of a manifold"
    if optimizer.manifold == manifold:
        return None
    if optimizer.retraction == kinds.FREE:
        return "made for stiefel"
    constrained = isinstance(getattr(optimizer, "method", None), kinds.ConstrainedSplitting)
    return "has a normal" if constrained and manifold.multipliers is None else None


@pytest.mark.parametrize(
    ("name", "manifold"), [*itertools.product(OPTIMIZERS, catalogue.names("manifold"))]
)
def test_each_rule_is_read_on_each_manifold_or_says_what_is_missing(name, manifold):
    declared = catalogue.load(name, ("optimizer",))
    reason = lacking(declared, catalogue.load(manifold, ("manifold",)))
    if reason is not None:
        with pytest.raises(DeclarationError, match=reason):
            geometry.elsewhere(declared, {"manifold": manifold})
        return
    there = geometry.elsewhere(declared, {"manifold": manifold})
    assert there.manifold.head.name == manifold
    if declared.manifold.head.name == manifold:
        assert there is declared
        return
    assert there.head.claims == {}
    assert there.head.name == f"{name}_on_{manifold}"
    assert there.metric in {metric.name for metric in there.manifold.metrics}
    assert digests.declaration_digest(there) != digests.declaration_digest(declared)


def test_what_is_not_named_stays_where_the_manifold_has_it():
    leapfrog = catalogue.load("stiefel_leapfrog", ("optimizer",))
    assert geometry.elsewhere(leapfrog, {"manifold": "sphere"}).retraction == kinds.GEODESIC
    body = geometry.elsewhere(leapfrog, {"metric": "canonical"})
    assert (body.metric, body.retraction) == ("canonical", kinds.GEODESIC)
    momentum = catalogue.load("stiefel_momentum", ("optimizer",))
    assert geometry.elsewhere(momentum, {"manifold": "sphere"}).retraction == "normalise"
    assert geometry.elsewhere(momentum, {"manifold": "grassmann"}).retraction == "polar"
    average = catalogue.load("stiefel_adam", ("optimizer",))
    assert geometry.elsewhere(average, {"manifold": "sphere"}).shapes == (
        ("n", "1"), ("n", "1"), ("1", "1"),
    )  # fmt: skip


def test_shapes_of_squares_become_those_of_points(tmp_path):
    text = (catalogue.root() / "optimizers" / "stiefel_adam.toml").read_text()
    text = text.replace('manifold = "stiefel"', 'manifold = "orthogonal"')
    text = text.replace('V = ["n", "p"]\nv = [1, 1]', 'V = ["n", "n"]\nv = [1, 1]')
    own = catalogue.load(written(tmp_path, text), ("optimizer",))
    assert own.shapes == (("n", "n"), ("n", "n"), ("1", "1"))
    there = geometry.elsewhere(own, {"manifold": "stiefel"})
    assert there.shapes == (("n", "p"), ("n", "p"), ("1", "1"))


@pytest.mark.parametrize(
    ("name", "place", "proved"),
    [
        ("stiefel_leapfrog", {"manifold": "flat"}, {"order": 2, "conformal_factor": "momentum"}),
        ("stiefel_leapfrog", {"metric": "canonical"}, {"order": 2, "conformal_factor": "momentum"}),
        ("stiefel_momentum", {"manifold": "oblique"}, {"order": 1, "conformal_factor": None}),
        ("stiefel_momentum", {"manifold": "flat"}, {"order": 2, "conformal_factor": "momentum"}),
        ("sphere_rattle", {"manifold": "flat"}, {"order": 2, "conformal_factor": "momentum"}),
    ],
)
def test_what_holds_there_is_proved_there(name, place, proved):
    report = hf.check(name, **place)
    assert {key: report[key] for key in proved} == proved


def test_a_manifold_of_ones_own(tmp_path, capsys):
    path = written(tmp_path, HYPERBOLOID)
    assert hf.check("stiefel_momentum", manifold=path)["order"] == 1
    assert main(["show", "stiefel_momentum", "--manifold", str(path)]) == 0
    assert "on hyperboloid" in capsys.readouterr().out
    (tmp_path / "out").mkdir()
    files = hf.generate("stiefel_momentum", tmp_path / "out", manifold=path)
    text = next(file for file in files if file.name.endswith("torch.py")).read_text()
    assert "class StiefelMomentumOnHyperboloid" in text
    assert f"# Command: hamilforge generate stiefel_momentum --manifold {path}" in text
    # also where large steps leave the range of numbers: cases are those of which digits are left
    assert hf.verify("stiefel_momentum", manifold=path).holds


def test_a_rule_without_a_manifold_cannot_be_put_on_one():
    with pytest.raises(DeclarationError, match=r"'rgd' is no optimizer of points .*: metric"):
        hf.check("rgd", metric="canonical")


def test_what_is_chosen_is_in_the_name():
    momentum = catalogue.load("stiefel_momentum", ("optimizer",))
    for place, name in (
        ({"retraction": "qr"}, "stiefel_momentum_on_stiefel_by_qr"),
        ({"metric": "canonical"}, "stiefel_momentum_on_stiefel_in_canonical"),
        ({"manifold": "sphere", "retraction": "exponential"},
         "stiefel_momentum_on_sphere_by_exponential"),
    ):  # fmt: skip
        assert geometry.elsewhere(momentum, place).head.name == name


def test_a_field_is_on_no_manifold():
    with pytest.raises(DeclarationError, match="'antisymmetric' is no optimizer of points"):
        hf.generate("antisymmetric", method="rk4", manifold="sphere")
