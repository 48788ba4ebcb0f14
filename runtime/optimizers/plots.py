"""Phase portraits: an optimizer's compiled steps beside the continuous flow they follow.

In: a product's numba module, and its :class:`Mechanics` as plain functions.  Out: a figure with a
row for each :class:`Landscape` in one dimension: on the left (q, p) at the end of each step over
the level lines of H = K(p) + J(q), on the right H against time.  Thin lines are the flow

    q' = K'(p),    p' = -J'(q) - gamma(t) p,

integrated to ten digits; dots are the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from hamilforge.runtime.core import pictures
from hamilforge.runtime.optimizers.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Vector = NDArray[np.float64]
Scalar = Callable[[Any], Any]
#: How long the optimizer runs; the period of J = q^2/2 without friction is 6.3 for m = 1.
TIME = 24.0
#: Told apart by the colour-blind too (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73")
#: An orbit that leaves this interval around 0 is not followed further.
FAR = 20.0
#: Energies further below the first are not drawn.
DECADES = 7


@dataclass(frozen=True, slots=True)
class Mechanics:
    """What a picture needs to know of an optimizer's system.

    Attributes:
        title: the title of the declaration.
        hyper: the hyper-parameters.
        h: the step.
        start_time: the time at the first step.
        kinetic: K(p).
        velocity: K'(p).
        friction: gamma(t).
        momentum: p at the end of a step, from the buffer, the gradient there and the step's time.
    """

    title: str
    hyper: Mapping[str, float]
    h: float
    start_time: float
    kinetic: Scalar
    velocity: Scalar
    friction: Callable[[float], float]
    momentum: Callable[[float, float, float], float]


@dataclass(frozen=True, slots=True)
class Landscape:
    """A potential J in one dimension, with the points from which the optimizer starts at rest."""

    title: str
    potential: Scalar
    slope: Scalar
    minima: tuple[float, ...]
    starts: tuple[float, ...]


LANDSCAPES = (
    Landscape("$J(q) = q^2/2$", lambda q: q**2 / 2, lambda q: q, (0.0,), (2.0, -1.3, 0.6)),
    Landscape(
        "$J(q) = (q^2 - 1)^2/4$",
        lambda q: (q**2 - 1) ** 2 / 4,
        lambda q: q**3 - q,
        (-1.0, 1.0),
        (1.9, -1.4, 0.1),
    ),
)


@dataclass(frozen=True, slots=True)
class Orbit:
    """Times since the start, solutions and momenta, each `(n,)`."""

    t: Vector
    q: Vector
    p: Vector


def steps(product: ModuleType, mechanics: Mechanics, landscape: Landscape, q: float) -> Orbit:
    """Run the compiled kernels from rest at ``q``; keep the solution at the end of each step.

    Args:
        product: a generated numba module of an optimizer.
        mechanics: of the same optimizer, with the hyper-parameters and the step.
        landscape: whose slope is the gradient.
        q: the point of the start.

    Returns:
        The start and the end of each step, up to :data:`TIME`, or to the last before the solution
        leaves (-FAR, FAR).
    """
    trajectory = Trajectory(product, mechanics.hyper, np.array([q]))
    (buffer,) = trajectory.states
    kept = [(0.0, q, 0.0)]
    for number in range(1, round(TIME / mechanics.h) + 1):
        begin = mechanics.start_time + (number - 1) * mechanics.h
        for _ in product.STAGES:
            trajectory.step(np.asarray(landscape.slope(trajectory.x)))
        solution = float(trajectory.solution[0])
        if not abs(solution) < FAR:
            break
        momentum = mechanics.momentum(buffer[0], landscape.slope(solution), begin)
        kept.append((number * mechanics.h, solution, float(momentum)))
    t, positions, momenta = np.array(kept).T
    return Orbit(t, positions, momenta)


def flow(mechanics: Mechanics, landscape: Landscape, q: float) -> Orbit:
    """The continuous motion from rest at ``q``.

    Args:
        mechanics: velocity, friction and the time of the start.
        landscape: whose slope is the force with the opposite sign.
        q: the point of the start.

    Returns:
        The orbit at 1201 times from 0 to :data:`TIME`.
    """

    def field(t: float, state: Vector) -> list[float]:
        position, momentum = state
        friction = mechanics.friction(mechanics.start_time + t) * momentum
        return [mechanics.velocity(momentum), -landscape.slope(position) - friction]

    times = np.linspace(0.0, TIME, 1201)
    solved = solve_ivp(
        field, (0.0, TIME), [q, 0.0], method="LSODA", t_eval=times, rtol=1e-10, atol=1e-12
    )
    return Orbit(solved.t, *solved.y)


def draw(name: str, product: ModuleType, mechanics: Mechanics, out: Path) -> None:
    """Draw the figure of an optimizer; the suffix of ``out`` says in which format.

    Args:
        name: of the optimizer, for the title.
        product: its generated numba module.
        mechanics: its system.
        out: the file; it is replaced if there is one.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8.2), layout="constrained")
    rows = figure.subplots(len(LANDSCAPES), 2, width_ratios=(1.15, 1))
    for (left, right), landscape in zip(rows, LANDSCAPES, strict=True):
        discrete = [steps(product, mechanics, landscape, q) for q in landscape.starts]
        continuous = [flow(mechanics, landscape, q) for q in landscape.starts]
        _portrait(left, mechanics, landscape, discrete, continuous)
        _energy(right, mechanics, landscape, discrete, continuous)
    settings = ", ".join(f"{key} = {value:.4g}" for key, value in mechanics.hyper.items())
    title = mechanics.title.replace("$", r"\$")
    figure.suptitle(f"{name}: {title}\n{settings}; step h = {mechanics.h:.3g}", fontsize=13)
    _legend(figure, len(product.STAGES))
    pictures.save(figure, out, dpi=150)


def _portrait(
    axes: Axes,
    mechanics: Mechanics,
    landscape: Landscape,
    discrete: Sequence[Orbit],
    continuous: Sequence[Orbit],
) -> None:
    """The orbits over the level lines of the energy."""
    orbits = [*discrete, *continuous]
    width = 1.12 * max(float(abs(orbit.q).max()) for orbit in orbits)
    height = 1.12 * max(float(abs(orbit.p).max()) for orbit in orbits)
    q, p = np.meshgrid(np.linspace(-width, width, 241), np.linspace(-height, height, 241))
    energy = mechanics.kinetic(p) + landscape.potential(q)
    levels = float(energy.max()) * np.linspace(0.02, 1.0, 12) ** 2
    axes.contour(q, p, energy, levels=levels, colors="#d0d0d0", linewidths=0.7, zorder=1)
    for colour, dots, line in zip(COLOURS, discrete, continuous, strict=True):
        axes.plot(line.q, line.p, color=colour, linewidth=0.9, alpha=0.7, zorder=2)
        axes.plot(dots.q, dots.p, ".", color=colour, markersize=5.5, zorder=3)
        axes.plot(dots.q[:1], dots.p[:1], "o", mfc="white", mec=colour, markersize=8, zorder=4)
    rest = landscape.minima
    axes.plot(rest, [0.0] * len(rest), "+", color="black", markersize=11, zorder=5)
    axes.set_xlabel("solution $q$")
    axes.set_ylabel("momentum $p$ at the end of the step")
    axes.set_title(f"Phase portrait, {landscape.title}", fontsize=11)
    _bare(axes)


def _energy(
    axes: Axes,
    mechanics: Mechanics,
    landscape: Landscape,
    discrete: Sequence[Orbit],
    continuous: Sequence[Orbit],
) -> None:
    """The energy against time."""

    def energy(orbit: Orbit) -> Vector:
        values = mechanics.kinetic(orbit.p) + landscape.potential(orbit.q)
        return np.maximum(np.asarray(values, dtype=np.float64), np.finfo(float).tiny)

    for colour, dots, line in zip(COLOURS, discrete, continuous, strict=True):
        axes.semilogy(line.t, energy(line), color=colour, linewidth=0.9, alpha=0.7)
        axes.semilogy(dots.t, energy(dots), ".", color=colour, markersize=5.5)
    highest = max(float(energy(orbit).max()) for orbit in discrete)
    lowest = min(float(energy(orbit).min()) for orbit in (*discrete, *continuous))
    axes.set_ylim(max(lowest / 2, highest * 10.0**-DECADES), 3 * highest)
    axes.set_xlim(0.0, TIME)
    axes.set_xlabel("time since the start, $t = n h$")
    axes.set_ylabel("$H = K(p) + J(q)$")
    axes.set_title(f"Energy, {landscape.title}", fontsize=11)
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.8)
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, stages: int) -> None:
    from matplotlib.lines import Line2D

    grey = "#444444"
    gradients = "one gradient each" if stages == 1 else f"{stages} gradients each"
    handles = [
        Line2D([], [], color=grey, marker=".", linestyle="", label=f"compiled steps, {gradients}"),
        Line2D([], [], color=grey, linewidth=1, label="the flow $q' = K'(p)$, $p' = -J'(q) - γp$"),
        Line2D([], [], color=grey, marker="o", mfc="white", linestyle="", label="start, at rest"),
        Line2D([], [], color="black", marker="+", linestyle="", label="minimum"),
        Line2D([], [], color="#d0d0d0", linewidth=1, label="level lines of $H$"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
