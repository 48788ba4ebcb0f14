"""Comparison of integrators: kernels and modules beside the interpretation of their program.

In: a loaded product and steps of the reference, computed elsewhere.  Out: the largest deviation of
each backend after one step from each reference state, in units in the last place of the largest
component.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hamilforge.runtime.core.comparison import Deviation, Verification
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.side_by_side import Lanes, run_equal_steps
from hamilforge.runtime.integrators.solution import Floats

#: What a component may deviate by after one step: the roundings of its stages.
ULPS = 4.0
#: The same for discrete gradients, whose equations are solved for.
GRADIENT_ULPS = 64.0
#: The same for constrained steps, whose multipliers are solved for.
CONSTRAINED_ULPS = 8.0
#: What a rounding of the energy, divided by an increment of the state, may grow to.
QUOTIENT_ROUNDINGS = 4.0


@dataclass(frozen=True, slots=True)
class StepCase:
    """Steps of the reference.

    Attributes:
        parameters: of the problem, by name.
        times: at the start of each step.
        states: at the start of each step, `(steps, components)`.
        after: at the end of each step.
        ulps: what a component may deviate by.
    """

    name: str
    parameters: Mapping[str, float]
    h: float
    times: Sequence[float]
    states: Floats
    after: Floats
    ulps: float


def compare(
    loaded: Loaded, cases: Sequence[StepCase], backends: Sequence[str], device: str = "cpu"
) -> Verification:
    """Run every backend one step from every state of every case.

    Args:
        loaded: the product.
        cases: steps of the reference.
        backends: ``numba``, ``torch`` or both.
        device: where torch's modules run.

    Returns:
        A deviation for each backend and case.
    """
    steps: Mapping[str, Callable[[Loaded, StepCase], Floats]] = {
        "numba": _numba_steps,
        "torch": functools.partial(_torch_steps, device=device),
    }
    deviations = []
    for backend in backends:
        for case in cases:
            ways = {case.name: steps[backend]}
            if backend == "numba" and loaded.module("numba").LANES:
                ways[f"{case.name}, lanes"] = _steps_in_lanes
            size = np.maximum(abs(case.after), abs(case.states)).max(axis=1, keepdims=True)
            for name, way in ways.items():
                ulps = float((abs(way(loaded, case) - case.after) / np.spacing(size)).max())
                holds = bool(ulps <= case.ulps)
                deviations.append(Deviation(backend, name, "float64", ulps, holds))
    return Verification(loaded.name, tuple(deviations))


def _numba_steps(loaded: Loaded, case: StepCase) -> Floats:
    product = loaded.module("numba")
    row = np.array([case.parameters[name] for name in product.PARAMETERS], float)
    computed = np.empty_like(case.after)
    for k, (t, state) in enumerate(zip(case.times, case.states, strict=True)):
        computed[k] = kernel_step(product, t, case.h, state, row)
    return computed


def _steps_in_lanes(loaded: Loaded, case: StepCase) -> Floats:
    """Each step in the first lane, with other states of the case beside it."""
    product = loaded.module("numba")
    row = np.array([case.parameters[name] for name in product.PARAMETERS], float)
    computed = np.empty_like(case.after)
    for k, t in enumerate(case.times):
        y = np.roll(case.states, -k, axis=0)
        rows = np.tile(row, (len(y), 1))
        lanes = Lanes.of(product, -(-len(y) // product.LANES))
        failed = run_equal_steps(
            product, (t, case.h, 0, 1, 2), y, np.zeros_like(y), rows, lanes,
            np.empty((len(y), 0, y.shape[1])), 0.0,
        )  # fmt: skip
        computed[k] = y[0] if not failed else np.nan
    return computed


def kernel_step(product: Any, t: float, h: float, state: Any, row: Floats) -> Any:
    """One step of the kernels from a fresh workspace; real or complex.

    Args:
        product: a generated numba module.
        t: the time at the start of the step.
        h: the step.
        state: `(components,)`.
        row: the parameters in their order, `(parameters,)`.

    Returns:
        The state after the step, `(components,)`; NaN if the step could not be taken.
    """
    y = np.array(state)
    room = Workspace.of(product, 1, y.dtype.type)
    done, _, _ = product.trajectory(
        t, h, 0, 1, 1, y, np.zeros_like(y), row,
        room.rows[0], room.square[0], room.slopes[0], room.flags[0], np.empty((1, y.size), y.dtype),
    )  # fmt: skip
    return y if done == 1 else np.full_like(y, np.nan)


def _torch_steps(loaded: Loaded, case: StepCase, device: str) -> Floats:
    import torch

    flow = loaded.torch_class()
    computed = np.empty_like(case.after)
    for k, (t, state) in enumerate(zip(case.times, case.states, strict=True)):
        module = flow(case.h, 1, t0=t, parameters=case.parameters)
        computed[k] = module(torch.tensor(state, device=device)).detach().cpu().numpy()
    return computed
