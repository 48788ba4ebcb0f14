"""Training as in the papers: descent, data sets, reproductions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hamilforge.runtime.networks import descent
from hamilforge.runtime.reproduce import data_sets, rk_networks

# --- training ---------------------------------------------------------------------------------


def test_descent_takes_a_step_only_where_the_cost_falls_enough():
    rule = descent.Rule(up=2.0, down=0.5, trials=30)
    matrix = np.diag([1.0, 10.0])
    arrays = {"x": np.array([3.0, 2.0]), "kept": np.ones(1)}
    lipschitz, costs = 0.1, []

    def cost(at):
        return float(at["x"] @ matrix @ at["x"]) / 2

    for _ in range(60):
        found = descent.step(
            arrays, cost(arrays), {"x": matrix @ arrays["x"]}, cost, lipschitz, rule
        )
        assert found.taken
        # accepted whenever the estimate is at least the largest eigenvalue
        assert found.lipschitz <= 10.0
        arrays, lipschitz = found.arrays, found.lipschitz
        costs.append(found.cost)
    assert all(b <= a for a, b in itertools.pairwise(costs))
    assert costs[-1] < 1e-6
    assert (arrays["kept"] == 1).all()
    with pytest.raises(ValueError, match="not finite"):
        descent.step(arrays, float("nan"), {"x": arrays["x"]}, cost, 1.0, rule)


def test_an_interrupted_reproduction_goes_on_where_it_was(tmp_path):
    settings = {**rk_networks.line_up(), "save_every": 5}
    settings["settings"]["steps"] |= {"points": 40, "layers": 4}
    (whole,) = rk_networks.runs(settings, ["donut2d"], ["ODENet on a simplex"], [1], 20)
    (part,) = rk_networks.runs(settings, ["donut2d"], ["ODENet on a simplex"], [1], 10)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    at_once = rk_networks.train(whole, settings, tmp_path / "a")
    rk_networks.train(part, settings, tmp_path / "b")
    resumed = rk_networks.train(whole, settings, tmp_path / "b")
    assert (at_once.history == resumed.history).all()
    assert (at_once.arrays["h"] == resumed.arrays["h"]).all()
    assert abs(at_once.arrays["h"].sum() - 1) < 1e-12
    assert at_once.history[-1, 0] < at_once.history[0, 0]
    with pytest.raises(ValueError, match="no network 'Transformer'"):
        rk_networks.runs(settings, ["spiral"], ["Transformer"])


@pytest.mark.parametrize("optimizer", ["rgd", "torch.Adam"])
def test_reproductions_train_with_any_optimizer_and_go_on_with_it(tmp_path, optimizer):
    settings = {**rk_networks.line_up(), "save_every": 5}
    settings["settings"]["methods"] |= {"points": 40, "layers": 3}
    changes = {"optimizer": optimizer, "lr": 0.01}
    histories = []
    for folder, counts in (("a", (20,)), ("b", (10, 20))):
        (tmp_path / folder).mkdir()
        for count in counts:
            (run,) = rk_networks.runs(settings, ["spiral"], ["Kutta 3"], [1], count, changes)
            found = rk_networks.train(run, settings, tmp_path / folder)
        histories.append(found.history)
    assert np.allclose(histories[0], histories[1], rtol=1e-12)
    assert histories[0][-1, 0] < histories[0][0, 0]
    (run,) = rk_networks.runs(
        settings, ["spiral"], ["Kutta 3"], [1], 2, {"optimizer": "torch.SGDX"}
    )
    with pytest.raises(ValueError, match=r"'torch\.SGDX' is no optimizer of torch"):
        rk_networks.train(run, settings, tmp_path / "a")
    with pytest.raises(ValueError, match="lr is for an optimizer"):
        rk_networks.runs(settings, changes={"lr": 0.1})


@pytest.mark.parametrize("name", data_sets.DATA_SETS)
def test_data_sets_are_points_in_two_classes(name):
    places, labels = data_sets.points(name, 100, 0)
    assert places.shape == (100, 2)
    assert abs(places).max() < 1.3
    assert set(labels[:, 0]) == {0, 1}
    assert 30 <= labels.sum() <= 70
    again, _ = data_sets.points(name, 100, 0)
    assert (again == places).all()
