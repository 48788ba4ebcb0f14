"""Networks as optimal control: Runge–Kutta networks on points in the plane.

In: the line-up ``rk_networks.toml``.  Out: for each data set and network a file with the trained
controls and the history, from which an interrupted run goes on; pictures; and a table.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.loader import load, load_layers
from hamilforge.runtime.core.whole_files import (
    DamagedFileError,
    beginning,
    put_aside,
    stored,
    whole,
)
from hamilforge.runtime.networks.descent import Arrays, Rule, step
from hamilforge.runtime.networks.network import Network
from hamilforge.runtime.networks.objective import Objective
from hamilforge.runtime.networks.simplex import projected
from hamilforge.runtime.reproduce.data_sets import Floats, points

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One network on one data set.

    Attributes:
        entry: its row of the line-up, with the settings that the row names.
        seed: of the controls at the beginning, and of the points.
    """

    data: str
    entry: Mapping[str, Any]
    seed: int
    iterations: int

    @property
    def layers(self) -> int:
        """How many."""
        return int(self.entry["layers"])

    @property
    def name(self) -> str:
        """The name of its file."""
        label = "".join(c if c.isalnum() else "_" for c in self.entry["name"].lower())
        own = self.entry.get("optimizer")
        if own:
            rate = self.entry.get("lr")
            label += "_" + "".join(c if c.isalnum() else "_" for c in f"{own} {rate or ''}".strip())
        numbers = (self.layers, self.entry["points"], f"{self.entry['time']:g}", self.seed)
        return "_".join([self.data, label, *map(str, numbers)])


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has reached.

    Attributes:
        arrays: controls and steps.
        history: a row for each iteration: cost, accuracy on the points trained on and on others.
        lipschitz: the estimate with which it goes on.
        stuck: whether no trial was taken any more.
        memory: of an optimizer; empty for descent with backtracking.
    """

    arrays: dict[str, Floats]
    history: Floats
    lipschitz: float
    stuck: bool
    memory: NDArray[np.uint8]


def line_up() -> dict[str, Any]:
    """The settings."""
    return tomllib.loads((Path(__file__).parent / "rk_networks.toml").read_text(encoding="utf-8"))


def runs(
    settings: Mapping[str, Any],
    data: Sequence[str] = (),
    names: Sequence[str] = (),
    seeds: Sequence[int] = (0,),
    iterations: int | None = None,
    changes: Mapping[str, Any] | None = None,
) -> list[Run]:
    """The runs of a line-up; of some data sets, networks and seeds only where they are given.

    Args:
        settings: the line-up.
        data: names of data sets; all if empty.
        names: of networks; all if empty.
        seeds: of the controls at the beginning.
        iterations: instead of the line-up's.
        changes: what every network has instead of the line-up's: ``time``, the sum of the steps;
            ``optimizer`` and ``lr`` instead of descent with backtracking.

    Returns:
        A run for each data set, network and seed, in the order of these three.

    Raises:
        ValueError: a name is none of the line-up, or the time is not positive.
    """
    changes = changes or {}
    for name in ("time", "lr"):
        if name in changes and not 0 < changes[name] < float("inf"):
            raise ValueError(f"{name} = {changes[name]}: a positive number was expected")
    if "lr" in changes and "optimizer" not in changes:
        raise ValueError("lr is for an optimizer: descent with backtracking finds its own")
    entries = [{**settings["settings"][e["settings"]], **e} for e in settings["networks"]]
    known = {
        "data set": [*dict.fromkeys(name for entry in entries for name in entry["iterations"])],
        "network": [entry["name"] for entry in entries],
    }
    for what, chosen in (("data set", data), ("network", names)):
        for name in chosen:
            if name not in known[what]:
                raise ValueError(f"no {what} '{name}'; there are: {', '.join(known[what])}")
    return [
        Run(
            which,
            {**entry, **changes},
            seed,
            iterations if iterations is not None else entry["iterations"][which],
        )
        for which in (data or known["data set"])
        for entry in entries
        if not names or entry["name"] in names
        for seed in seeds
    ]


class Problem:
    """The cost of a run, and its gradient."""

    def __init__(self, run: Run, objective: str) -> None:
        product = load_layers(run.entry["field"], run.entry["method"], {"d": 2}).module("numba")
        h = run.entry["time"] / run.layers
        self.network = Network(product, run.layers, {"d": 2}, h, seed=run.seed)
        random = np.random.default_rng(run.seed)
        target = load(f"objective/{objective}").module("numba")
        self.objective = Objective(target, {"d": 2, "c": 1})
        self.learns = run.entry["classifier"] == "learned"
        controls, weights = self.network.controls, self.objective.weights
        controls["K"][...] = random.standard_normal((run.layers, 2, 2))
        weights["W"][...] = random.standard_normal((1, 2))
        if self.learns:
            controls["b"][...] = random.standard_normal((run.layers, 2))
            weights["mu"][...] = random.uniform(0, 1, 1)
        count = run.entry["points"]
        self.points, self.labels = points(run.data, count, 2 * run.seed)
        self.others, self.other_labels = points(run.data, count, 2 * run.seed + 1)
        self.steps = run.entry["steps"]
        self.total = float(self.network.h.sum())

    def _own(self) -> dict[str, Floats]:
        return {**self.network.controls, **self.objective.weights, "h": self.network.h}

    def arrays(self) -> dict[str, Floats]:
        """Controls, classifier and steps."""
        return {name: value.copy() for name, value in self._own().items()}

    def put(self, arrays: Arrays) -> None:
        """Set controls, classifier and steps."""
        for name, value in self._own().items():
            value[...] = arrays[name]

    def cost(self, arrays: Arrays) -> float:
        """The mean of the losses."""
        self.put(arrays)
        ends = self.network(self.points)
        return float(self.objective.evaluate(ends, self.labels).losses.mean())

    def gradient(self, arrays: Arrays) -> tuple[dict[str, Floats], float]:
        """The gradient of the cost by what is trained, and the share of points that are right."""
        self.put(arrays)
        right, count = 0, len(self.points)
        weights = {name: np.zeros_like(v) for name, v in self.objective.weights.items()}

        def loss(ends: Floats, rows: slice) -> tuple[Floats, Floats]:
            nonlocal right
            evaluation = self.objective.evaluate(ends, self.labels[rows], seed=1 / count)
            right += int(((evaluation.prediction > 0.5) == (self.labels[rows] > 0.5)).sum())
            for name, value in evaluation.weights.items():
                weights[name] += value
            return evaluation.losses, evaluation.states[0]

        learned = self.steps != "fixed"
        derivatives = self.network.gradient(self.points, loss=loss, steps=learned)
        gradient = {**derivatives.controls, **(weights if self.learns else {})}
        if learned:
            gradient["h"] = derivatives.h
        return gradient, right / count

    def accuracy(self) -> float:
        """The share of the other points that are right."""
        evaluation = self.objective.evaluate(self.network(self.others), self.other_labels)
        return float(((evaluation.prediction > 0.5) == (self.other_labels > 0.5)).mean())

    def project(self, arrays: Arrays) -> Arrays:
        """Steps on the simplex."""
        return {**arrays, "h": projected(arrays["h"], self.total)}


def train(
    run: Run, settings: Mapping[str, Any], folder: Path, progress: Progress | None = None
) -> Result:
    """Train a network, from where its file says it is.

    Args:
        run: the network and its data.
        settings: the line-up.
        folder: of the files.
        progress: called with the number of iterations done; None for no calls.

    Returns:
        What the run has reached; it is also what its file then holds.
    """
    problem = Problem(run, settings["objective"])
    path = folder / f"{run.name}.npz"
    empty = np.empty(0, np.uint8)
    result = begin(path, problem.arrays()) or Result(
        problem.arrays(), np.empty((0, 3)), float(run.entry["lipschitz"]), False, empty
    )
    move = (Optimized if run.entry.get("optimizer") else Descended)(run, problem, result)
    arrays, history, stuck = result.arrays, [*result.history], result.stuck
    cost = problem.cost(arrays)
    while len(history) < run.iterations and not stuck:
        gradient, right = problem.gradient(arrays)
        history.append(np.array([cost, right, problem.accuracy()]))
        arrays, cost, stuck = move.step(arrays, cost, gradient)
        if len(history) % settings["save_every"] == 0:
            keep(path, move.result(arrays, np.array(history), stuck))
            if progress:
                progress(len(history))
    result = move.result(arrays, np.array(history).reshape(-1, 3), stuck)
    keep(path, result)
    if progress:
        progress(run.iterations)
    return result


class Descended:
    """Descent with backtracking."""

    def __init__(self, run: Run, problem: Problem, start: Result) -> None:
        self._problem, self._lipschitz = problem, start.lipschitz
        self._rule = Rule(**run.entry["rule"])
        self._project = problem.project if problem.steps == "simplex" else None

    def step(
        self, arrays: dict[str, Floats], cost: float, gradient: Arrays
    ) -> tuple[dict[str, Floats], float, bool]:
        """New arrays, the cost there, and whether no trial was taken.

        Args:
            arrays: controls, classifier and steps, by name.
            cost: there.
            gradient: there, of what is trained, by name.

        Returns:
            The arrays and the cost there, both the old ones if no trial was taken, and whether none
            was.

        Raises:
            ValueError: the cost or the gradient is not finite.
        """
        taken = step(
            arrays, cost, gradient, self._problem.cost, self._lipschitz, self._rule, self._project
        )
        self._lipschitz = taken.lipschitz
        return dict(taken.arrays), taken.cost, not taken.taken

    def result(self, arrays: dict[str, Floats], history: Floats, stuck: bool) -> Result:
        """What has been reached.

        Args:
            arrays: controls, classifier and steps, by name.
            history: `(iterations, 3)`: cost, accuracy on the points trained on and on others.
            stuck: whether no trial was taken any more.

        Returns:
            The result, with the estimate of the Lipschitz constant to go on with.
        """
        return Result(arrays, history, self._lipschitz, stuck, np.empty(0, np.uint8))


class Optimized:
    """Steps of an optimizer."""

    def __init__(self, run: Run, problem: Problem, start: Result) -> None:
        from hamilforge.runtime.reproduce.optimizers import Optimizer

        self._problem, self._lipschitz = problem, start.lipschitz
        name, rate = run.entry["optimizer"], run.entry.get("lr")
        memory = start.memory if start.memory.size else None
        self._optimizer = Optimizer(name, rate, start.arrays, memory)

    def step(
        self, _: dict[str, Floats], cost: float, gradient: Arrays
    ) -> tuple[dict[str, Floats], float, bool]:
        """New arrays, the cost there, and whether it is no number.

        Args:
            cost: not used; the cost of the new arrays is computed.
            gradient: at the arrays before the step, of what is trained, by name.

        Returns:
            The arrays at which the next gradient is asked for, the cost there, and whether it is
            not finite.

        Raises:
            ValueError: the optimizer cannot take a step from a gradient.
        """
        arrays = self._optimizer.step(gradient)
        if self._problem.steps == "simplex":
            arrays = dict(self._problem.project(arrays))
            self._optimizer.put(arrays)
        cost = self._problem.cost(arrays)
        return arrays, cost, not np.isfinite(cost)

    def result(self, arrays: dict[str, Floats], history: Floats, stuck: bool) -> Result:
        """What has been reached.

        Args:
            arrays: controls, classifier and steps, by name.
            history: `(iterations, 3)`: cost, accuracy on the points trained on and on others.
            stuck: whether the cost is no finite number any more.

        Returns:
            The result, with what the optimizer remembers.
        """
        return Result(arrays, history, self._lipschitz, stuck, self._optimizer.memory())


def keep(path: Path, result: Result) -> None:
    """Write a result, all at once."""
    entries: dict[str, Any] = {f"array_{name}": value for name, value in result.arrays.items()}
    entries |= {"history": result.history, "lipschitz": result.lipschitz}
    entries |= {"memory": result.memory, "stuck": result.stuck}
    with whole(path) as file:
        np.savez(file, **entries)


def restore(path: Path, wanted: Mapping[str, Floats] | None = None) -> Result | None:
    """A result that was kept, if there is one.

    Args:
        path: of its file.
        wanted: arrays of the shapes that it must have.

    Raises:
        DamagedFileError: the file is not what was kept.
    """
    if not path.is_file():
        return None
    with stored(path, "the state of a run") as file:
        arrays = beginning(file, "array_")
        for name, value in (wanted or arrays).items():
            if arrays[name].shape != value.shape or not np.issubdtype(arrays[name].dtype, float):
                raise ValueError(f"the array {name} is another one")
        history = file["history"]
        if history.ndim != 2 or history.shape[1] != 3:
            raise ValueError("the history has other columns")
        memory = file["memory"] if "memory" in file else np.empty(0, np.uint8)
        return Result(arrays, history, float(file["lipschitz"]), bool(file["stuck"]), memory)


def begin(path: Path, wanted: Mapping[str, Floats]) -> Result | None:
    """A result to go on from; a damaged one is put aside, and said.

    Args:
        path: of its file.
        wanted: arrays of the shapes that it must have.
    """
    try:
        return restore(path, wanted)
    except DamagedFileError as error:
        put_aside(path, error)
        return None


def along(network: Network, start: Floats) -> list[Floats]:
    """The points before each layer, and after the last."""
    layer = Network(network.product, 1, {"d": 2}, 1.0)
    trajectory = [start]
    for number in range(network.layers):
        for name, value in network.controls.items():
            layer.controls[name][0] = value[number]
        layer.h[0] = network.h[number]
        trajectory.append(layer(trajectory[-1]))
    return trajectory
