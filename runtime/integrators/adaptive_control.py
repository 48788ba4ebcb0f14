"""What adaptive runs share: their limits, what kernels are told and tell, and why runs fail."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from types import ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.integrators.solution import Floats, Solution


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds an adaptive run.

    Attributes:
        relative, absolute: tolerances, `(components,)` each.
        times: the times to keep; every step if None, for one trajectory.
        steps: how many steps may be taken.
        longest: the longest step.
    """

    relative: Floats
    absolute: Floats
    times: Floats | None
    steps: int
    longest: float = math.inf


class Control(IntEnum):
    """What the entries of the array say that kernels and callers share.

    From :attr:`EVENTS` on there is one for each declared event: whether it is looked for.
    """

    STEP = 0
    ERROR = 1
    STEPS = 2
    REJECTED = 3
    WRITTEN = 4
    REJECTED_ERROR = 5
    RETURN_AT = 6
    BEHIND = 7
    LONGEST = 8
    BEGUN = 9
    LENGTH = 10
    BEGUN_BEHIND = 11
    NEAR = 12
    UNCLEAR = 13
    EVENTS = 14


def begun_control(product: ModuleType, limits: Limits) -> Floats:
    """The array that kernels and callers share, before the first step.

    Args:
        product: the generated module.
        limits: of the run.

    Returns:
        The entries that :class:`Control` names; the first step is left at 0.
    """
    control = np.zeros(Control.EVENTS + len(getattr(product, "EVENTS", ())))
    control[Control.ERROR], control[Control.REJECTED_ERROR] = 1e-4, np.inf
    control[Control.LONGEST] = limits.longest
    return control


def by_coefficients(product: ModuleType) -> bool:
    """Whether the coefficients of a series say how long a step is, the first one too."""
    return hasattr(product, "size_of_step")


def next_stretch(taken: float, begun: float, seconds: float) -> int:
    """How many steps the next call of a kernel takes.

    Args:
        taken: steps of the last one.
        begun: when it began, by :func:`time.perf_counter`.
        seconds: that a call takes about; it is at most four times as long as the last.

    Returns:
        The number of steps.
    """
    spent = max(time.perf_counter() - begun, 1e-5)
    return min(int(max(1.0, taken) * min(seconds / spent, 4.0)) + 1, 10_000_000)


def of_trajectory(values: Mapping[str, Any], m: int) -> dict[str, Any]:
    """The parameters of one trajectory of several."""
    return {name: value[m] if np.size(value) > 1 else value for name, value in values.items()}


def why_lost(product: ModuleType, control: Floats, residual: float) -> str:
    """Why no step can be taken.

    Args:
        product: the generated module.
        control: as kernels have left it.
        residual: what they returned.

    Returns:
        The reason, in the user's terms.
    """
    if by_coefficients(product):
        return (
            "the solution's series has no radius of convergence there: a singularity, or a "
            "power that is not whole at 0"
        )
    return (
        f"the step size fell to {control[Control.STEP]:.1e} and its error is still "
        f"{residual:.1e} times the tolerance: a singularity, or tolerances below rounding"
    )


def why_spent(limits: Limits, control: Floats, left: float) -> str:
    """Why no more steps are taken, and what to do.

    Args:
        limits: of the run.
        control: as kernels have left it.
        left: the time that is left.

    Returns:
        The reason, in the user's terms.
    """
    step = abs(control[Control.STEP])
    spent = f"the budget of {limits.steps} steps is used up {left:.3g} before the end, with steps "
    if step >= limits.longest:
        return f"{spent}of max_step = {limits.longest:.3g}; give a larger max_step or max_steps"
    return (
        f"{spent}of {step:.1e}: the budget is small, tolerances are below rounding, or the problem "
        "is stiff; give a larger max_steps, larger tolerances, or a method for stiff problems"
    )


def failure(
    product: ModuleType,
    t: float,
    control: Floats,
    pieces: Sequence[tuple[Floats, Floats]],
    values: Mapping[str, Any],
    reason: str,
    residual: float = 0.0,
    **events: Any,
) -> IntegrationError:
    """The error of a run that ends early, with the solution so far.

    Args:
        product: the generated module.
        t: how far it has come.
        control: as kernels have left it.
        pieces: times and states that were computed.
        values: the parameters by name.
        reason: why it ends.
        residual: of a solve that failed.
        events: what was looked for and found, as a solution has it.

    Returns:
        The error.
    """
    step = int(control[Control.STEPS])
    moments, states = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    so_far = Solution(
        product.NAME,
        product.COMPONENTS,
        moments,
        states,
        values,
        step,
        int(control[Control.REJECTED]),
        product,
        **events,
    )
    return IntegrationError(
        f"step {step} of {product.NAME} at t = {t:.6g}: {reason}", t, step, residual, so_far
    )


def first_steps(
    product: ModuleType, states: Floats, table: Floats, start: float, stop: float, limits: Limits
) -> Floats:
    """A hundredth of the time in which a state would change by its size, in the tolerances.

    Args:
        product: the generated module.
        states: the starts, `(trajectories, components)`.
        table: the parameters of each trajectory.
        start: the time of the start.
        stop: the time of the end.
        limits: with the tolerances.

    Returns:
        The step of each, with its sign; 0 where coefficients say how long steps are.
    """
    if by_coefficients(product):
        return np.zeros(len(states))
    slopes = np.zeros_like(states)
    for name in product.FIELDS:
        field = getattr(product, name)
        for state, row, slope in zip(states, table, slopes, strict=True):
            field(start, state, row, 1.0, slope)
    scale = limits.absolute + limits.relative * abs(states)
    least = 1e3 * float(np.spacing(abs(start)))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        size, speed = (np.sqrt(np.mean((v / scale) ** 2, axis=1)) for v in (states, slopes))
        guess = np.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, 1e-6)
    guess[~np.isfinite(guess)] = least  # tolerances so small that their multiples are no numbers
    lengths = np.minimum(np.maximum(guess, least), abs(stop - start))
    return np.asarray(np.copysign(lengths, stop - start))
