"""The papers' pictures: prediction, transformed points, the way through the layers, steps, history.

In: trained networks of one data set.  Out: one picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hamilforge.runtime.core import pictures
from hamilforge.runtime.reproduce.data_sets import Floats
from hamilforge.runtime.reproduce.rk_networks import Problem, Result, Run, along

_COLOURS = ("#4477aa", "#cc6677")


def draw(results: Mapping[Run, Result], objective: str, path: Path) -> None:
    """A row for each network: prediction, transformed points, three layers on the way, steps, cost.

    Args:
        results: runs of one data set, with what they reached.
        objective: the name of the objective.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = 7
    figure, axes = plt.subplots(
        len(results), columns, figsize=(2.3 * columns, 2.3 * len(results)), squeeze=False
    )
    for row, (run, result) in zip(axes, results.items(), strict=True):
        problem = Problem(run, objective)
        problem.put(result.arrays)
        labels = problem.labels[:, 0]
        _prediction(row[0], problem, labels)
        row[0].set_ylabel(run.entry["name"])
        states = along(problem.network, problem.points)
        places = [run.layers // 4, run.layers // 2, 3 * run.layers // 4, run.layers]
        for axis, place in zip(row[1:5], places, strict=True):
            _scatter(axis, states[place], labels)
            axis.set_title(f"after layer {place}", fontsize=8)
        row[5].bar(range(1, run.layers + 1), result.arrays["h"], color="#888888")
        row[5].set_title("step of each layer", fontsize=8)
        _history(row[6], result.history)
    figure.suptitle(next(iter(results)).data, y=1.0, va="bottom")
    figure.tight_layout()
    pictures.save(figure, path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def curves(histories: Mapping[str, Sequence[Floats]], title: str, path: Path) -> None:
    """Cost and accuracy against the iteration, a thin line for each seed of each network.

    Args:
        histories: of each seed, by the name of the network.
        title: above the picture.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    for number, (name, by_seed) in enumerate(histories.items()):
        for seed, history in enumerate(by_seed):
            # as many points as a line of this width can show
            places = np.unique(np.geomspace(1, len(history), 120).astype(int)) - 1
            label = name if not seed else None
            for axis, column in zip(axes, (0, 1), strict=True):
                axis.plot(
                    places + 1, history[places, column], lw=0.7, color=f"C{number}", label=label
                )
    axes[0].set(xscale="log", yscale="log", xlabel="iteration", ylabel="cost")
    axes[1].set(xscale="log", xlabel="iteration", ylabel="share of points that are right")
    axes[1].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    pictures.save(figure, path, dpi=90)
    plt.close(figure)


def _prediction(axis: Any, problem: Problem, labels: Floats) -> None:
    line = np.linspace(-1.1, 1.1, 80)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    ends = problem.network(grid)
    value = problem.objective.evaluate(ends, np.zeros((len(grid), 1))).prediction
    axis.contourf(line, line, value.reshape(80, 80), levels=20, cmap="RdBu_r", vmin=0, vmax=1)
    _scatter(axis, problem.points, labels)
    axis.set_title("prediction", fontsize=8)


def _scatter(axis: Any, places: Floats, labels: Floats) -> None:
    for label, colour in enumerate(_COLOURS):
        own = places[labels == label]
        axis.plot(own[:, 0], own[:, 1], ".", color=colour, markersize=2)
    axis.tick_params(labelsize=6)


def _history(axis: Any, history: Floats) -> None:
    if len(history):
        count = np.arange(1, len(history) + 1)
        axis.loglog(count, history[:, 0], color="#333333", label="cost")
        axis.loglog(count, history[:, 1], color="#228833", label="accuracy")
        axis.loglog(count, history[:, 2], "--", color="#228833", label="validation")
        axis.legend(fontsize=6)
    axis.tick_params(labelsize=6)
    axis.set_title("iterations", fontsize=8)
