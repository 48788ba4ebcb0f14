"""Learning on manifolds: known answers, runs, table and pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hamilforge.cli import main
from hamilforge.runtime.reproduce import stiefel_learning, stiefel_problems

APPLICATIONS = {entry["name"]: entry for entry in stiefel_learning.line_up()["applications"]}


def problem(name, seed=0, **sizes):
    return stiefel_problems.PROBLEMS[name](seed, **{**APPLICATIONS[name]["sizes"], **sizes})


def slopes(own, point):
    param = torch.nn.Parameter(point.clone())
    own.loss(param).backward()
    return param.grad


@pytest.mark.usefixtures("kernels")
def test_brocketts_minimum_is_at_the_eigenvectors():
    own = problem("eigenvectors", n=9, p=3)
    run = stiefel_learning.Run(
        {**APPLICATIONS["eigenvectors"], "sizes": {"n": 9, "p": 3}},
        {"name": "stiefel_adam", "values": {"lr": 0.02}},
        0,
        1500,
    )
    result = stiefel_learning.learn(run)
    assert result.distances[-1] < 1e-10
    # eigenvalues are k*3/8, and the least have the largest weights
    assert abs(result.losses[-1] - (3 * 0 + 2 * 3 / 8 + 1 * 6 / 8)) < 1e-12
    turned = result.point * torch.tensor([1.0, -1.0, -1.0])
    assert abs(own.distance(turned) - result.distances[-1]) < 1e-14
    assert own.distance(result.point[:, [1, 0, 2]]) > 1


def test_the_rotation_is_the_best_of_those_beside_it():
    own = problem("procrustes")
    run = next(iter(stiefel_learning.runs(stiefel_learning.line_up(), ["procrustes"])))
    result = stiefel_learning.learn(run)
    assert result.distances[-1] < 1e-12 < own.distance(own.start)
    assert abs(float(torch.linalg.det(result.point)) - 1) < 1e-12
    gradient = slopes(own, result.point)
    assert (result.point.T @ gradient - gradient.T @ result.point).abs().max() < 1e-12


def test_the_index_of_amari():
    permuted = torch.tensor([[0.0, -2.0, 0.0], [0.1, 0.0, 0.0], [0.0, 0.0, 5.0]]).double()
    assert stiefel_problems.amari(permuted) == 0
    assert stiefel_problems.amari(torch.ones(3, 3)) == 1
    assert 0 < stiefel_problems.amari(permuted + 0.01) < 0.2


def test_the_mean_of_log_cosh_of_a_normal_variable():
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    mean = weights @ np.log(np.cosh(nodes)) / weights.sum()
    assert abs(mean - stiefel_problems.NORMAL) < 1e-11


def test_signals_are_separated():
    own = problem("sources", side=48)
    for name in own.shown(own.start):
        assert own.shown(own.start)[name].shape == (3, 48, 48)
    signals = stiefel_problems.photographs(48)
    assert abs(signals.mean(1)).max() < 1e-12
    assert abs(signals.std(1) - 1).max() < 1e-12
    with pytest.raises(ValueError, match="squares of 8 to 256"):
        stiefel_problems.photographs(500)
    application = {**APPLICATIONS["sources"], "sizes": {"side": 48}}
    run = stiefel_learning.Run(application, application["methods"][-1], 0, 200)
    result = stiefel_learning.learn(run)
    assert result.losses[-1] < result.losses[0]
    assert result.distances[-1] < 0.8 * result.distances[0]
    (peer,) = stiefel_learning.peers(run).values()
    assert 0 < peer < 1


def test_a_matrix_is_completed():
    own = problem("completion", rows=20, columns=15, rank=2)
    application = {
        **APPLICATIONS["completion"],
        "sizes": {"rows": 20, "columns": 15, "rank": 2},
    }
    method = {"name": "grassmann_leapfrog", "values": {"lr": 0.2, "momentum": 0.8}}
    result = stiefel_learning.learn(stiefel_learning.Run(application, method, 0, 1500))
    assert result.distances[-1] < 1e-6 < own.distance(own.start)
    # only the space of X matters
    turn = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64))[0]
    assert abs(float(own.loss(own.start) - own.loss(own.start @ turn))) < 1e-12


def test_a_classifier_of_digits_learns_with_orthonormal_rows():
    application = APPLICATIONS["digits"]
    run = stiefel_learning.Run(application, application["methods"][0], 0, 25)
    result = stiefel_learning.learn(run)
    assert result.losses[-1] < 0.7 * result.losses[0]
    assert result.distances[-1] < 30 < result.distances[0]
    assert result.violation < 1e-13
    assert set(stiefel_learning.peers(run)) == {"torch's parametrization", "SGD, any first layer"}


def test_runs_that_there_are_not():
    settings = stiefel_learning.line_up()
    with pytest.raises(ValueError, match="no application 'pca'; there are: eigenvectors"):
        stiefel_learning.runs(settings, ["pca"])
    with pytest.raises(ValueError, match="no seeds"):
        stiefel_learning.runs(settings, seeds=[])
    with pytest.raises(ValueError, match="0 steps"):
        stiefel_learning.runs(settings, steps=0)
    assert {run.application["name"] for run in stiefel_learning.runs(settings)} == set(
        stiefel_problems.PROBLEMS
    )
    method = {"name": "pogo", "values": {"lr": 1e30}}
    with pytest.raises(FloatingPointError, match=r"pogo: the loss is (nan|inf) after"):
        stiefel_learning.learn(stiefel_learning.Run(APPLICATIONS["eigenvectors"], method, 0, 9))


@pytest.mark.usefixtures("kernels")
def test_the_command_prints_a_table_and_draws(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    given = ["reproduce", "stiefel-learning", "--out", str(tmp_path), "--seeds", "2"]
    names = ["procrustes", "sources"]
    for name in names:
        given += ["--application", name]
    assert main([*given, "--steps", "3"]) == 0
    shown = capsys.readouterr().out
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert all(method["name"] in shown for method in APPLICATIONS[name]["methods"])
    assert "FastICA" in shown
    assert main([*given[:2], "--application", "pca"]) == 2
