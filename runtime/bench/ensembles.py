"""Ensembles of adaptive trajectories, beside heyoka's batches of them.

heyoka integrates as many trajectories at once as fit a register; its ensemble spreads copies of
that over threads, and a user may instead go on with one such integrator, on one thread.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from hamilforge.runtime.bench import right_hand_sides
from hamilforge.runtime.bench.rows import Row
from hamilforge.runtime.bench.timing import Contestant, interleaved
from hamilforge.runtime.core.loader import load_for_tolerance
from hamilforge.runtime.integrators.integrator import integrate
from hamilforge.runtime.integrators.solution import Floats


def ensemble_rows(
    bench: str,
    case: str,
    problem: str,
    method: str,
    trajectories: int,
    time: float,
    tolerance: float,
    rounds: int,
) -> list[Row]:
    """Ends of trajectories from starts near the declared one.

    Args:
        bench: what the rows belong to.
        case: what it is called.
        problem: a Hamiltonian or a system without explicit time.
        method: of our own.
        trajectories: how many.
        time: the end.
        tolerance: relative and absolute.
        rounds: the number of turns of each.

    Returns:
        A row for each peer.

    Raises:
        RuntimeError: the ends differ, so that the times cannot be compared.
    """
    product = load_for_tolerance(problem, method, tolerance).module("numba")
    rng = np.random.default_rng(0)
    size = len(product.COMPONENTS)
    starts = np.array(product.START) + 0.02 * rng.standard_normal((trajectories, size))

    def own() -> Floats:
        return integrate(
            product, starts, (0.0, time), rtol=tolerance, atol=tolerance, t_eval=[time]
        ).y[:, -1]

    threads = os.cpu_count() or 1
    if importlib.util.find_spec("heyoka") is None:
        return [
            Row(
                bench, case, method, "heyoka", None, None, None, None, threads, None,
                "heyoka is not installed",
            )
        ]  # fmt: skip
    peers = _heyoka(problem, starts, time, tolerance)
    ends = own()
    for name, peer in peers.items():
        if not abs(peer() - ends).max() <= 1e4 * tolerance:
            raise RuntimeError(f"{case}: the ends of {name} are others")
    works = {method: own, **peers}
    times = interleaved(
        {name: Contestant(lambda: None, work) for name, work in works.items()}, rounds
    )
    mine = times[method]
    return [
        Row(
            bench, case, method, name, mine.median, mine.p10, mine.p90,
            mine.median / times[name].median, threads, None,
            f"{trajectories} trajectories, tolerance {tolerance:.0e}",
        )
        for name in peers
    ]  # fmt: skip


def _heyoka(
    problem: str, starts: Floats, time: float, tolerance: float
) -> dict[str, Callable[[], Floats]]:
    import heyoka

    count, size = starts.shape
    system = right_hand_sides.heyoka_system(problem, size)
    lanes = heyoka.recommended_simd_size()
    batch = heyoka.taylor_adaptive_batch(
        system, np.ascontiguousarray(starts[:lanes].T), tol=tolerance
    )
    groups = -(-count // lanes)
    filled = np.concatenate((starts, starts[: groups * lanes - count]))

    def begin(integrator: Any, group: int) -> Any:
        integrator.set_time([0.0] * lanes)
        integrator.state[:] = filled[group * lanes : (group + 1) * lanes].T
        return integrator

    def over_threads() -> Floats:
        ends = heyoka.ensemble_propagate_until_batch(batch, time, groups, begin)
        return np.concatenate([end[0].state.T for end in ends])[:count]

    def one_by_one() -> Floats:
        ends = []
        for group in range(groups):
            begin(batch, group).propagate_until([time] * lanes)
            ends.append(batch.state.T.copy())
        return np.concatenate(ends)[:count]

    return {
        "heyoka Taylor, batches over threads": over_threads,
        "heyoka Taylor, batches on one thread": one_by_one,
    }
