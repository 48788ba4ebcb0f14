"""Pictures of universal interpolation: the plane, certificates, success by depth, images.

In: what was found.  Out: pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hamilforge.runtime.core import pictures
from hamilforge.runtime.reproduce.interpolated_images import Row
from hamilforge.runtime.reproduce.universal_interpolation import Flow, Rank, Start

#: What is farther from the middle is not drawn.
REACH = 2.2
_PANELS = 6


def _plt() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _plane(axis: Any, flow: Flow, layer: int) -> None:
    """The grid, the points' ways so far and their targets."""
    for line in flow.rows[layer]:
        seen = np.where(np.abs(line).max(axis=1, keepdims=True) < 2 * REACH, line, np.nan)
        axis.plot(seen[:, 0], seen[:, 1], color="0.8", lw=0.5, zorder=1)
    for number in range(flow.points.shape[1]):
        so_far, color = flow.points[: layer + 1, number], f"C{number}"
        axis.plot(so_far[:, 0], so_far[:, 1], color=color, lw=1.2, zorder=2)
        axis.plot(*so_far[-1], "o", color=color, ms=6, zorder=4)
        axis.plot(*flow.targets[number], "o", mfc="none", color=color, ms=10, mew=1.4, zorder=3)
    axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[], aspect="equal")
    axis.set_title(f"layer {layer} of {len(flow.points) - 1}", fontsize=9)


def draw_flow(flow: Flow, path: Path) -> None:
    """Six moments in one figure.

    Args:
        flow: what moves.
        path: of the picture.
    """
    plt = _plt()
    figure, axes = plt.subplots(2, 3, figsize=(9, 6.2), layout="constrained")
    layers = np.linspace(0, len(flow.points) - 1, _PANELS).round().astype(int)
    for axis, layer in zip(axes.flat, layers, strict=True):
        _plane(axis, flow, int(layer))
    figure.suptitle("points and the plane around them; circles are the targets", fontsize=10)
    pictures.save(figure, path, dpi=90)
    plt.close(figure)


def draw_frames(flow: Flow, count: int, folder: Path) -> list[Path]:
    """One picture for each moment.

    Args:
        flow: what moves.
        count: how many.
        folder: of the pictures.

    Returns:
        Their paths, in order.
    """
    plt = _plt()
    paths = []
    for number, layer in enumerate(np.linspace(0, len(flow.points) - 1, count).round().astype(int)):
        figure, axis = plt.subplots(figsize=(4.2, 4.4), layout="constrained")
        _plane(axis, flow, int(layer))
        paths.append(folder / f"flow_{number:02}.png")
        pictures.save(figure, paths[-1], dpi=80)
        plt.close(figure)
    return paths


def draw_depths(part: Mapping[str, Any], found: Mapping[int, Sequence[Start]], path: Path) -> None:
    """The share of starts that end in an interpolation, by how many numbers are trained.

    Args:
        part: of the line-up.
        found: by the number of layers.
        path: of the picture.
    """
    plt = _plt()
    figure, axis = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
    wanted = 2 * part["points"]
    shares = [wanted / own[0].trained for own in found.values()]
    flows = [100 * np.mean([start.is_flow for start in own]) for own in found.values()]
    small = [100 * np.mean([start.residual <= 1e-10 for start in own]) for own in found.values()]
    axis.plot(shares, small, "s--", color="C1", label="residual up to 1e-10")
    axis.plot(shares, flows, "o-", color="C0", label="and no layer folds")
    axis.set(
        xlabel="numbers to be met by trained numbers, N m/(M d); layers M",
        ylabel="starts (%)", xscale="log", ylim=(-3, 105),
    )  # fmt: skip
    marks = [f"{share:.2g}\n{layers}" for layers, share in zip(found, shares, strict=True)]
    axis.set_xticks(shares, marks, fontsize=8)
    axis.minorticks_off()
    axis.legend(fontsize=8)
    pictures.save(figure, path, dpi=90)
    plt.close(figure)


def draw_ranks(found: Mapping[str, Sequence[Rank]], path: Path) -> None:
    """What a certificate takes, by how many numbers move.

    Args:
        found: for each field and width its times; the slope is that of the last two.
        path: of the picture.
    """
    plt = _plt()
    figure, axis = plt.subplots(figsize=(5.4, 3.6), layout="constrained")
    for title, ranks in found.items():
        numbers, seconds = [own.numbers for own in ranks], [own.seconds for own in ranks]
        slope = np.diff(np.log(seconds[-2:]))[0] / np.diff(np.log(numbers[-2:]))[0]
        axis.plot(numbers, seconds, "o-", ms=4, label=f"{title}: slope {slope:.1f}")
    axis.set(xlabel="numbers that move, N m", ylabel="seconds", xscale="log", yscale="log")
    axis.legend(fontsize=8)
    pictures.save(figure, path, dpi=90)
    plt.close(figure)


def draw_images(found: Mapping[str, Sequence[Row]], path: Path) -> None:
    """The share of other images that is right, by how many numbers are trained.

    Args:
        found: for each data set its rows, by depth.
        path: of the picture.
    """
    plt = _plt()
    figure, axes = plt.subplots(
        1, len(found), figsize=(1.4 + 3.4 * len(found), 3.6), layout="constrained", sharey=True,
        squeeze=False,
    )  # fmt: skip
    for axis, (title, rows) in zip(axes.flat, found.items(), strict=True):
        names = dict.fromkeys(name for row in rows for name in row.models)
        for color, name in enumerate(names):
            own = [row.models[name] for row in rows if name in row.models]
            counts = [count for count, _ in own]
            medians = [100 * np.median(shares) for _, shares in own]
            low = [100 * min(shares) for _, shares in own]
            high = [100 * max(shares) for _, shares in own]
            axis.plot(counts, medians, "o-", color=f"C{color}", label=name)
            axis.fill_between(counts, low, high, color=f"C{color}", alpha=0.2)
        axis.set(xlabel="trained numbers", xscale="log", ylim=(0, 100))
        axis.set_title(title, fontsize=10)
    axes[0, 0].set_ylabel("other images right (%)")
    axes[0, 0].legend(fontsize=8)
    pictures.save(figure, path, dpi=90)
    plt.close(figure)
