"""Which trajectories of an ensemble go side by side in lanes, and the arrays of those that do.

In: a product and how many trajectories there are.  Out: arrays whose first axis is that of groups
and whose last is that of lanes; none where trajectories go one by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from hamilforge.runtime.core import jit
from hamilforge.runtime.core.threads import by_portions
from hamilforge.runtime.core.workspace import Workspace
from hamilforge.runtime.integrators.solution import Floats

#: Groups for each thread where trajectories have steps of their own: one may have more to do.
GROUPS = 8


@dataclass(frozen=True, slots=True)
class Lanes:
    """The arrays in which kernels work that take several trajectories side by side.

    Attributes:
        states: of each group states, low parts, parameters and whatever lines are kept beside them.
        series: what :attr:`Workspace.rows` is to one trajectory.
        square, slopes, flags: likewise, once for a group.
    """

    states: Floats
    series: Floats
    square: Floats
    slopes: Floats
    flags: NDArray[np.int64]

    @staticmethod
    def of(product: ModuleType, groups: int, lines: int = 0) -> Lanes:
        """Fresh arrays.

        Args:
            product: a generated numba module of an integrator.
            groups: how many groups there are.
            lines: how many numbers stand beside state and parameters.

        Returns:
            Zeros.
        """
        room = Workspace.of(product, groups)
        lines += 2 * product.SIZE + len(product.PARAMETERS)
        return Lanes(
            np.zeros((groups, lines, product.LANES)),
            np.zeros((*room.rows.shape, product.LANES)),
            room.square,
            room.slopes,
            room.flags,
        )


def _has_lanes(product: ModuleType) -> bool:
    """Whether trajectories can go side by side: lanes are types of compiled code."""
    return bool(product.LANES) and jit.is_on()


def of_equal_steps(product: ModuleType, count: int) -> Lanes | None:
    """Arrays for trajectories that take the same steps.

    Args:
        product: a generated numba module of an integrator.
        count: how many trajectories there are.

    Returns:
        The arrays; None where as many threads, one trajectory each, are as quick.
    """
    if not _has_lanes(product) or count <= max(product.LANES // 2, get_num_threads()):
        return None
    return Lanes.of(product, -(-count // product.LANES))


def of_own_steps(product: ModuleType, count: int) -> Lanes | None:
    """Arrays for trajectories with steps of their own.

    Args:
        product: a generated numba module of an integrator.
        count: how many trajectories there are.

    Returns:
        The arrays; None for a few, or where error estimates choose the steps.
    """
    if not product.CLOCK_LINES or not _has_lanes(product) or count <= product.LANES // 2:
        return None
    groups = min(-(-count // product.LANES), GROUPS * get_num_threads())
    return Lanes.of(product, groups, product.CLOCK_LINES)


def run_equal_steps(
    product: ModuleType,
    step: tuple[float, float, int, int, int],
    y: Floats,
    low: Floats,
    table: Floats,
    lanes: Lanes,
    block: Floats,
    pace: float,
) -> list[tuple[int, int]]:
    """Some steps of all trajectories but of groups in which one fails.

    Args:
        product: a generated numba module of an integrator.
        step: the start, the step, the number of the first one, how many, and which are kept.
        y: the states, `(trajectories, components)`, changed in place.
        low: what they lack, likewise.
        table: the parameters of each trajectory.
        lanes: the arrays.
        block: the states that are kept, `(trajectories, times, components)`.
        pace: how many seconds a step of all trajectories takes; infinite if that is not known, 0 to
            stay in one thread.

    Returns:
        Of each group that is left as it was the first trajectory and the one after the last.
    """
    kept = np.empty((len(lanes.states), *block.shape[1:], product.LANES))
    well = np.zeros(len(kept), bool)
    by_portions(
        product.ensemble_in_lanes, len(kept), *step, y, low, table, lanes.square, lanes.slopes,
        lanes.flags, block, lanes.states, lanes.series, kept, well, seconds=pace * step[3],
    )  # fmt: skip
    begins = product.LANES * np.flatnonzero(~well)
    return [(int(begin), min(int(begin) + product.LANES, len(y))) for begin in begins]
