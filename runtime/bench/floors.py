"""Kernels beside loops that were written by hand for one problem and one method.

What such a loop takes is the least that a kernel could; it leaves out all that serves other
problems: workspaces, flags, states in arrays, tests of finiteness.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hamilforge.runtime.bench import loops_by_hand
from hamilforge.runtime.bench.rows import Row
from hamilforge.runtime.bench.timing import Contestant, interleaved
from hamilforge.runtime.core.loader import load as load_product
from hamilforge.runtime.core.workspace import Workspace


def floor_rows(
    bench: str,
    case: str,
    problem: str,
    method: str,
    h: float,
    steps: int,
    rounds: int,
    order: int | None = None,
) -> list[Row]:
    """A kernel beside the loop that was written for its problem by hand.

    Args:
        bench: what the row belongs to.
        case: what it is called.
        problem: one with a force among the loops by hand.
        method: one with a loop there.
        h: the step.
        steps: how many.
        rounds: the number of turns of each.
        order: of the loop, where the method has several.

    Returns:
        The row.

    Raises:
        RuntimeError: they end elsewhere, so that the times cannot be compared.
    """
    choices = {} if order is None else {"order": order}
    product = load_product(problem, method, **choices).module("numba")
    start = np.array(product.START, float)
    loop = getattr(loops_by_hand, method)(getattr(loops_by_hand, problem))
    room = Workspace.of(product, 1)
    out, row = np.empty((0, start.size)), np.empty(0)
    state = start.copy()

    def kernel() -> None:
        state[:] = start
        room.flags[:] = 0
        product.trajectory(
            0.0, h, 0, steps, steps + 1, state, np.zeros_like(state), row,
            room.rows[0], room.square[0], room.slopes[0], room.flags[0], out,
        )  # fmt: skip

    def by_hand() -> Any:
        return loop(*start, h, steps)

    kernel()
    apart = abs(state - np.array(by_hand())).max()
    if not apart <= 1e-9:
        raise RuntimeError(f"{case}: the loop by hand ends {apart:.1e} away")
    times = interleaved(
        {
            "kernel": Contestant(lambda: None, kernel),
            "by hand": Contestant(lambda: None, by_hand),
        },
        rounds,
    )
    own, floor = times["kernel"], times["by hand"]
    return [
        Row(
            bench, case, f"{method}, kernel alone", "a loop written by hand", own.median, own.p10,
            own.p90, own.median / floor.median, 1, None, f"{steps} steps of h = {h:g}",
        )
    ]  # fmt: skip
