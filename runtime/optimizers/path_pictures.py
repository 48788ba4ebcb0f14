"""Pictures of optimizers on a problem: paths over the level lines of the loss, and its fall.

In: a loss with start and minimum, and :class:`paths.Path` s.  Out: a figure: on the left, in two
dimensions, the solution after each step over the level lines of f; on the right f - f* against the
number of gradients.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import numpy as np

from hamilforge.runtime.core import pictures
from hamilforge.runtime.optimizers.paths import Loss, Path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Told apart by the colour-blind too (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#b8a800")
#: Losses above the minimum are drawn down to here, relative to that at the start.
FLOOR = 1e-16
LEVELS = 18


def draw(title: str, subtitle: str, loss: Loss, paths: Sequence[Path], out: FilePath) -> None:
    """Draw paths and losses; the suffix of ``out`` says in which format.

    Args:
        title: of the problem.
        subtitle: what is to be known of the runs.
        loss: the problem.
        paths: at most as many as there are :data:`COLOURS`.
        out: the file; it is replaced if there is one.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    flat = loss.start.shape == (2,)
    figure = Figure(figsize=(12.5 if flat else 7.5, 5.6), layout="constrained")
    axes = figure.subplots(1, 2 if flat else 1, squeeze=False)[0]
    if flat:
        _map(axes[0], loss, paths)
    _fall(axes[-1], loss, paths)
    lines = textwrap.wrap(subtitle, 120 if flat else 72)
    figure.suptitle("\n".join([title.replace("$", r"\$"), *lines]), fontsize=11)
    figure.legend(
        *axes[-1].get_legend_handles_labels(),
        loc="outside lower center", ncols=4 if flat else 3, frameon=False, fontsize=10,
    )  # fmt: skip
    pictures.save(figure, out, dpi=150)


def _map(axes: Axes, loss: Loss, paths: Sequence[Path]) -> None:
    """The level lines of the loss, evenly in the logarithm of f - f*, and the paths."""
    shown = [loss.start, *loss.minimizers]
    for run in paths:  # a point or two far away would hide the rest
        shown += [*run.points[run.losses <= run.losses[0]]]
    corners = np.array(shown)
    low, high = corners.min(0), corners.max(0)
    margin = 0.15 * np.maximum(high - low, 0.2 * float((high - low).max()) + 1e-12)
    x, y = (np.linspace(a, b, 161) for a, b in zip(low - margin, high + margin, strict=True))
    values = np.array([[loss(np.array([a, b])) for a in x] for b in y])
    finite = np.where(np.isfinite(values), values, np.nan)
    above = finite - min(_least(loss, paths), float(np.nanmin(finite)))
    top = float(np.nanmax(above))
    if top > 0:
        levels = top * np.geomspace(1e-6, 1.0, LEVELS)
        axes.contour(x, y, above, levels=levels, colors="#c4c4c4", linewidths=0.7, zorder=1)
    for colour, run in zip(COLOURS, paths, strict=False):
        axes.plot(*run.points.T, ".-", color=colour, linewidth=0.9, markersize=3.5, alpha=0.85)
    axes.plot(*loss.start, "o", mfc="white", mec="black", markersize=8, zorder=5)
    for minimizer in loss.minimizers:
        axes.plot(*minimizer, "*", mfc="black", mec="white", markersize=14, zorder=5)
    axes.set_xlim(x[0], x[-1])
    axes.set_ylim(y[0], y[-1])
    axes.set_xlabel("first coordinate")
    axes.set_ylabel("second coordinate")
    star = ", star: minimizer" if len(loss.minimizers) else ""
    axes.set_title(f"Solutions; circle: start{star}", fontsize=10.5)
    axes.spines[["top", "right"]].set_visible(False)


def _least(loss: Loss, paths: Iterable[Path]) -> float:
    """The least loss: the known one, or the least that was met."""
    if loss.minimum is not None:
        return loss.minimum
    return min(float(run.losses.min()) for run in paths)


def _fall(axes: Axes, loss: Loss, paths: Sequence[Path]) -> None:
    """How far the loss is above its minimum, by the number of gradients."""
    least = _least(loss, paths)
    first = max(float(paths[0].losses[0]) - least, 1e-300)
    for colour, run in zip(COLOURS, paths, strict=False):
        rate = "" if run.rate is None else f", lr = {run.rate:g}"
        above = np.maximum(run.losses - least, FLOOR * first)
        axes.semilogy(run.gradients, above, color=colour, linewidth=1.4, label=run.name + rate)
    axes.set_ylim(bottom=max(FLOOR * first, axes.get_ylim()[0] / 2), top=30 * first)
    axes.set_xlabel("gradients")
    known = "f*" if loss.minimum is not None else "the least f met"
    axes.set_ylabel(f"f - {known}")
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
