"""Universal interpolation: points in the plane taken to others by few trained numbers.

In: the line-up ``universal_interpolation.toml``.  Out: how many starts end in an interpolation, for
multiples of displacements by where their number begins, and for the points themselves by the depth;
and the way of points and of a grid through the layers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.loader import load, load_layers
from hamilforge.runtime.networks.interpolate import EXACT, interpolate
from hamilforge.runtime.networks.network import Network
from hamilforge.runtime.networks.objective import Objective

Floats = NDArray[np.float64]
Part = Mapping[str, Any]
#: What counts as exact in the table of starts, relative to |y|.
ROUNDING = 1e-12
WIDTH = 2
#: What runs away farther than this is lost.
FAR = 1e6
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Start:
    """What a search has ended with.

    Attributes:
        residual: relative to |y|.
        determinant: the smallest of all layers and points.
        steps: of the search.
        finer: the residual of the same controls with finer steps.
        again: that after training from there; NaN where it was not trained again.
        trained: how many numbers were.
    """

    residual: float
    determinant: float
    steps: int
    finer: float
    again: float
    trained: int

    @property
    def is_flow(self) -> bool:
        """Whether the points are interpolated, and no layer folds."""
        return self.residual <= EXACT and self.determinant > 0


def line_up() -> dict[str, Any]:
    """The settings."""
    file = Path(__file__).parent / "universal_interpolation.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


def quick(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The same line-up with few seeds, depths and epochs, to see it run."""
    less = {name: dict(part) for name, part in settings.items()}
    less["starts"]["seeds"] = 3
    points = settings["ranks"]["points"].items()
    less["ranks"]["points"] = {m: counts[:2] for m, counts in points}
    less["depth"] |= {"seeds": 2, "layers": settings["depth"]["layers"][:4:3]}
    less["flow"] |= {"frames": 3, "lines": 5, "samples": 21, "layers": 20, "points": 3}
    few = {name: settings["images"][name][1:2] for name in ("rates", "full_rates", "numbers")}
    less["images"] |= {"seeds": 2, "layers": settings["images"]["layers"][:2], "epochs": 1, **few}
    return less


@dataclass(frozen=True, slots=True)
class Rank:
    """How long a certificate took.

    Attributes:
        count: N, the number of points.
        numbers: N m, the rank that is needed.
        rank: that of the brackets at the points.
        seconds: what it took.
    """

    count: int
    numbers: int
    rank: int
    seconds: float


def cycle(points: int, seed: int) -> tuple[Floats, Floats]:
    """Points in the square from -1 to 1, and each one's successor in a cyclic permutation.

    Args:
        points: how many.
        seed: of the draw.

    Returns:
        Points and targets, each `(points, 2)`.
    """
    x = np.random.default_rng(seed).uniform(-1, 1, (points, WIDTH))
    return x, np.roll(x, 1, axis=0)


def network(part: Part, method: str, layers: int, seed: int) -> Network:
    """A network whose fields are drawn, with controls that are zero.

    Args:
        part: of the line-up.
        method: of the layers.
        layers: how many.
        seed: of the fields.

    Returns:
        The network.
    """
    kernels = load_layers(part["field"], method, {"d": WIDTH}).module("numba")
    return Network(kernels, layers, {"d": WIDTH}, trainable=("u",), draw=seed)


def read_out(part: Part) -> Objective:
    """The objective of a part of the line-up."""
    return Objective(load(f"objective/{part['objective']}").module("numba"), {"d": WIDTH})


def starts(
    part: Part, method: str, scale: float, progress: Progress, drawn: bool = False
) -> list[Start]:
    """Searches from many draws of fields and points.

    Args:
        part: of the line-up.
        method: of the layers.
        scale: where the number of the read-out begins.
        progress: called after each with how many are done.
        drawn: whether targets are normal numbers, instead of displacements of a permutation.

    Returns:
        What each has ended with; those from the largest scale are trained again with finer steps.
    """
    found = []
    for seed in range(part["seeds"]):
        x, y = cycle(part["points"], seed)
        y = np.random.default_rng([seed, 1]).standard_normal(x.shape) if drawn else y - x
        own = network(part, method, part["layers"], seed)
        times = part["refine"]
        result = interpolate(own, x, y, read_out(part), scale, refine=[times])
        again = float("nan")
        if scale == max(part["scales"]):
            fine = interpolate(
                own.refined(times), x, y, result.objective, None, refine=[], maxiter=100
            )
            again = fine.residual
        found.append(_start(result, result.refined[times], again))
        progress(seed + 1)
    return found


def depths(part: Part, layers: int, progress: Progress) -> list[Start]:
    """Searches for controls that move the points themselves.

    Args:
        part: of the line-up.
        layers: how many.
        progress: called after each with how many are done.

    Returns:
        What each has ended with.
    """
    found = []
    for seed in range(part["seeds"]):
        x, y = cycle(part["points"], seed)
        own = network(part, part["method"], layers, seed)
        result = interpolate(own, x, y, read_out(part), refine=[2])
        found.append(_start(result, result.refined[2], float("nan")))
        progress(seed + 1)
    return found


def _start(result: Any, finer: float, again: float) -> Start:
    return Start(
        result.residual, result.determinant, result.nit, finer, again, result.trained_numbers
    )


@dataclass(frozen=True, slots=True)
class Flow:
    """Points and a grid on their way.

    Attributes:
        start: what the search has ended with.
        points: before each layer and after the last, `(layers + 1, points, 2)`.
        targets: `(points, 2)`.
        rows: lines of the grid, `(layers + 1, lines, samples, 2)`.
        back: how far from the points the inverse of the network ends.
    """

    start: Start
    points: Floats
    targets: Floats
    rows: Floats
    back: float


def flow(part: Part) -> Flow:
    """The way of points that change places, and of the plane around them.

    Args:
        part: of the line-up; the first seed from its own on with which the search succeeds is
            taken.

    Returns:
        The way.

    Raises:
        ArithmeticError: ten seeds end in no interpolation.
    """
    for seed in range(part["seed"], part["seed"] + 10):
        x, y = cycle(part["points"], seed)
        own = network(part, part["method"], part["layers"], seed)
        result = interpolate(own, x, y, read_out(part), refine=[2])
        if result.success:
            break
    else:
        raise ArithmeticError("ten draws of fields and points end in no interpolation")
    back = float(abs(own.inverse(own(x)) - x).max())
    grid = _grid(part["lines"], part["samples"])
    lines = way(own, grid.reshape(-1, WIDTH)).reshape(-1, *grid.shape)
    start = _start(result, result.refined[2], float("nan"))
    return Flow(start, way(own, x), y, lines, back)


def _grid(lines: int, samples: int, reach: float = 1.1) -> Floats:
    """Lines along both axes, `(2 lines, samples, 2)`."""
    along, across = np.linspace(-reach, reach, samples), np.linspace(-reach, reach, lines)
    level = np.stack(np.meshgrid(along, across), axis=-1)
    return np.concatenate([level, level[..., ::-1]])


def way(own: Network, x: Floats) -> Floats:
    """States before each layer and after the last; NaN for those that run away.

    Args:
        own: the network.
        x: where they begin, `(samples, 2)`.

    Returns:
        `(layers + 1, samples, 2)`.
    """
    alone, states = own.alone(), [x]
    for number in range(own.layers):
        own.set_alone(alone, number)
        near = np.where(abs(states[-1]).max(axis=1, keepdims=True) < FAR, states[-1], np.nan)
        lost = np.isnan(near).any(axis=1, keepdims=True)
        states.append(np.where(lost, np.nan, alone(np.where(lost, 0.0, near))))
    return np.array(states)
