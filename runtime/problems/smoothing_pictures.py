"""Local entropy, drawn: a landscape as gamma grows, densities with and without control, escapes.

The loss has a narrow valley that is deep and a wide one that is not so deep; smoothed, the wide one
wins.  Escapes are from one minimum of another loss, ``(x^2 - 1)^2``, to the other one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hamilforge.runtime.core import pictures
from hamilforge.runtime.problems.controlled import controlled_descent
from hamilforge.runtime.problems.densities import Array
from hamilforge.runtime.problems.escape import kramers_time, mean_passage_time
from hamilforge.runtime.problems.smoothing import local_entropy

#: Told apart by the colour-blind too (Okabe and Ito).
COLOURS = ("#000000", "#0072b2", "#009e73", "#e69f00", "#d55e00")
GAMMAS = (0.02, 0.1, 0.3, 1.0)
BETA = 3.0
#: Of the densities: when, and where they are looked at.
TIME, INTERVAL = 1.5, (-3.0, 3.5)
#: Of escapes: inverse temperatures, and those whose ratio is written.
BETAS, MARKED = np.linspace(2.0, 25.0, 93), (3.0, 20.0)
_WIDTHS, _DEPTHS, _PLACES = (0.12, 0.7), (1.4, 1.25), (-0.9, 0.9)


def loss(points: Any) -> Any:
    """``x^2/8`` with a narrow and a wide valley, of points `(n, 1)`."""
    y = points[:, 0]
    value = y**2 / 8
    for width, depth, place in zip(_WIDTHS, _DEPTHS, _PLACES, strict=True):
        value = value - depth * np.exp(-((y - place) ** 2) / (2 * width**2))
    return value


def slope(y: Array) -> Array:
    """Its derivative, of points `(n,)`."""
    value = y / 4
    for width, depth, place in zip(_WIDTHS, _DEPTHS, _PLACES, strict=True):
        away = y - place
        value = value + depth * away / width**2 * np.exp(-(away**2) / (2 * width**2))
    return value


def kramers_ratio(beta: float) -> float:
    """Kramers' formula over the mean time from one minimum of ``(x^2 - 1)^2`` to the other."""

    def well(points: Any) -> Any:
        return (points[:, 0] ** 2 - 1) ** 2

    return kramers_time(well, -1.0, 0.0, beta) / mean_passage_time(well, -1.0, 1.0, beta)


def draw(path: Path) -> None:
    """Draw all three.

    Args:
        path: of the picture: PNG, SVG or PDF.

    Raises:
        ImportError: matplotlib is missing.
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15.0, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(4, 4, 3))
    x = np.linspace(-2.4, 2.6, 251)
    curves = [("f", loss(x[:, None]))]
    for gamma in GAMMAS:
        values = np.array([local_entropy(loss, at, gamma, BETA).value for at in x])
        curves.append((f"$\\gamma$ = {gamma:g}", values))
    for (label, values), colour in zip(curves, COLOURS, strict=True):
        left.plot(x, values, color=colour, label=label)
        lowest = int(values.argmin())
        left.plot(x[lowest], values[lowest], "o", color=colour, markersize=5)
    left.set(xlabel="x", ylabel="$f_\\gamma(x)$", title=f"Local entropy, $\\beta$ = {BETA:g}")
    left.legend(frameon=False)
    result = controlled_descent(
        loss, slope, INTERVAL, TIME, BETA, begin=lambda y: np.exp(-((y + 0.2) ** 2) / 0.08)
    )
    middle.fill_between(result.x, loss(result.x[:, None]) / 4, -0.6, color="#dddddd", lw=0)
    for label, density, colour in (
        ("SGD", result.plain, COLOURS[1]),
        ("controlled SGD", result.steered, COLOURS[4]),
    ):
        mean = result.mean(density, loss)
        middle.plot(result.x, density, color=colour, label=f"{label}, mean loss {mean:.3f}")
    middle.set(
        xlabel="x", ylabel="density", xlim=(x[0], x[-1]), ylim=(-0.6, None),
        title=f"Densities at t = {TIME:g}; the loss in grey, a quarter as high",
    )  # fmt: skip
    middle.legend(frameon=False)
    right.plot(BETAS, [kramers_ratio(beta) for beta in BETAS], color=COLOURS[1])
    right.axhline(1, color="#999999", lw=0.8)
    for beta in MARKED:
        ratio = kramers_ratio(beta)
        right.plot(beta, ratio, "o", color=COLOURS[4], markersize=5)
        right.annotate(f"{ratio:.2f}", (beta, ratio), xytext=(4, -12), textcoords="offset points")
    right.set(
        xlabel="$\\beta$", ylabel="Kramers' formula / mean time",
        title="Escapes, $(x^2 - 1)^2$",
    )  # fmt: skip
    pictures.save(figure, path, dpi=150)
