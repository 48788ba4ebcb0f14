"""Pictures of integrations: phase portrait, energy, Poincare section, work against precision.

In: one generated product per method, all of one problem.  Out: a file with the panels that apply.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core import pictures
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators.integrator import integrate
from hamilforge.runtime.integrators.solution import Floats, Solution, brief

#: Steps of a trajectory that is drawn.
MOST_STEPS = 1e8
#: Work and precision are measured at ``h / 2**k`` for these k, over this part of the time.
HALVINGS, PART = range(-2, 4), 0.2
#: How often a step is timed, and over how many steps at least.
REPEATS, LONG = 3, 20_000


@dataclass(frozen=True, slots=True)
class Request:
    """What to draw.

    Attributes:
        h: the step.
        time: how long.
        section: the component whose growth through zero makes the Poincare section; none if empty.
    """

    h: float
    time: float
    section: str


def draw(title: str, products: Sequence[ModuleType], request: Request, picture: Path) -> None:
    """Draw the panels of a problem integrated by one method or several.

    Args:
        title: above the panels.
        products: the generated numba modules, one for each method, all of one problem.
        request: step, time, and the component of the section.
        picture: a PNG, SVG or PDF file.

    Raises:
        ValueError: there is no such component, or the section is empty.
        IntegrationError: a step cannot be taken.
    """
    names = products[0].COMPONENTS
    if request.section and request.section not in names:
        raise ValueError(f"no component '{request.section}'; there are {', '.join(brief(names))}")
    if not (request.h > 0 and 0 < request.time / request.h < MOST_STEPS):
        raise ValueError(
            f"steps of h = {request.h:g} over a time of {request.time:g}: positive numbers were "
            f"expected, with less than {MOST_STEPS:.0e} steps"
        )
    runs = [_run(product, request.h, request.time) for product in products]
    panels: list[Any] = [_portrait]
    if hasattr(products[0], "along_energy"):
        panels.append(_energy)
    if request.section:
        panels.append(_section)
    panels.append(_work)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(panels), 4.4), layout="constrained")
    for panel, ax in zip(panels, figure.subplots(1, len(panels)), strict=True):
        panel(ax, products, runs, request)
    figure.suptitle(title.replace("$", r"\$"), fontsize=13)
    pictures.save(figure, picture, dpi=150)


def _run(product: ModuleType, h: float, span: float) -> Solution:
    count = max(1, round(span / h))
    start = product.START_TIME
    return integrate(product, None, (start, start + count * h), h)


def _label(solution: Solution) -> str:
    return solution.name.partition("__")[2]


def _portrait(ax: Any, _: Sequence[ModuleType], runs: Sequence[Solution], __: Request) -> None:
    """The first two positions, or position and momentum where there is one of each."""
    names = runs[0].components
    first, second = names[0], names[1] if len(names) > 1 else names[0]
    for run in runs:
        across = run[first] if len(names) > 1 else run.t
        ax.plot(across, run[second], linewidth=0.8, label=_label(run))
    ax.set_xlabel(first if len(names) > 1 else "t")
    ax.set_ylabel(second)
    ax.set_title("phase portrait")
    ax.legend(fontsize=8, frameon=False)


def _energy(ax: Any, _: Sequence[ModuleType], runs: Sequence[Solution], __: Request) -> None:
    """The energy less its start, or itself where it does not stay."""
    constant = bool(runs[0].product and runs[0].product.CONSERVATIVE)
    for run in runs:
        if constant:
            error = abs(run.energy - run.energy[0])
            ax.semilogy(run.t[1:], np.maximum(error[1:], 1e-17), linewidth=0.8, label=_label(run))
        else:
            ax.plot(run.t, run.energy, linewidth=0.8, label=_label(run))
    ax.set_xlabel("t")
    ax.set_ylabel("|H - H(0)|" if constant else "H")
    ax.set_title("energy error" if constant else "energy")
    ax.legend(fontsize=8, frameon=False)


def _section(ax: Any, _: Sequence[ModuleType], runs: Sequence[Solution], request: Request) -> None:
    """The states in which a component grows through zero, in two of the others."""
    names = runs[0].components
    others = [name for name in names if name != request.section]
    half = len(names) // 2
    partner = names[half:] if half > 1 else names
    across = next((name for name in others if name not in partner), others[0])
    up = next((name for name in others if name != across and name in partner), others[-1])
    chosen = names.index(across)
    up = names[half + chosen] if half > 1 and chosen < half else up
    for run in runs:
        points = section(run, request.section)
        ax.plot(points[:, chosen], points[:, names.index(up)], ".", markersize=2, label=_label(run))
    ax.set_xlabel(across)
    ax.set_ylabel(up)
    ax.set_title(f"section {request.section} = 0, growing")
    ax.legend(fontsize=8, frameon=False)


def section(solution: Solution, component: str) -> Floats:
    """Where a component grows through zero: `(crossings, components)`.

    The crossing is found on the cubic through the two states before it and the two behind.

    Raises:
        ValueError: it never does.
    """
    index = solution.components.index(component)
    values = solution[component]
    places = np.flatnonzero((values[1:-2] < 0) & (values[2:-1] >= 0)) + 1
    if not places.size:
        raise ValueError(f"{component} never grows through zero; take a longer time")
    states = [solution.y[places + k] for k in (-1, 0, 1, 2)]

    def cubic(theta: Floats) -> Floats:
        u = theta[:, None]
        weights = (
            -u * (u - 1) * (u - 2) / 6,
            (u + 1) * (u - 1) * (u - 2) / 2,
            -(u + 1) * u * (u - 2) / 2,
            (u + 1) * u * (u - 1) / 6,
        )
        return np.asarray(sum(w * state for w, state in zip(weights, states, strict=True)))

    low, high = np.zeros(places.size), np.ones(places.size)
    for _ in range(50):
        middle = (low + high) / 2
        below = cubic(middle)[:, index] < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return cubic((low + high) / 2)


def _work(
    ax: Any, products: Sequence[ModuleType], runs: Sequence[Solution], request: Request
) -> None:
    """The error at the end against the seconds of a trajectory, at several steps."""
    measured = [_measured(product, request) for product in products]
    gaps = [abs(ends[-1] - ends[-2]).max() if len(ends) > 1 else np.inf for _, ends in measured]
    best = int(np.argmin(gaps))
    reference = measured[best][1][-1]
    for k, (run, (seconds, ends)) in enumerate(zip(runs, measured, strict=True)):
        last = len(ends) - (k == best)
        errors = [max(abs(end - reference).max(), 1e-17) for end in ends[:last]]
        ax.loglog(errors, seconds[:last], "o-", markersize=3, linewidth=0.8, label=_label(run))
    ax.set_xlabel(f"largest error after a time of {PART * request.time:g}")
    ax.set_ylabel("seconds in the kernel")
    ax.set_title(f"work and precision (against {_label(runs[best])})", fontsize=9)
    ax.legend(fontsize=8, frameon=False)


def _measured(product: ModuleType, request: Request) -> tuple[list[float], list[Floats]]:
    """Seconds and ends of trajectories, the step halved from one to the next.

    A step is timed in a run that is long enough for the cost of a call not to count.
    """
    seconds: list[float] = []
    ends: list[Floats] = []
    for k in HALVINGS:
        h = request.h / 2.0**k
        span = request.h * max(8, round(request.time * PART / request.h))
        count = max(1, round(span / h))
        long = max(count, LONG)
        times = []
        try:
            end = _run(product, h, span).y[-1]
            for _ in range(REPEATS):
                begun = time.perf_counter()
                start = product.START_TIME
                integrate(product, None, (start, start + long * h), h, every=long)
                times.append(time.perf_counter() - begun)
        except IntegrationError:
            continue
        seconds.append(min(times) * count / long)
        ends.append(end)
    return seconds, ends
