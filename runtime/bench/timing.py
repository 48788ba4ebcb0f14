"""Fair timing: contestants interleaved in one process, or code in fresh processes.

In one process every contestant takes its turn in every round and the order rotates, so that drift
of the machine and the state of its caches meet all alike.  Garbage collection waits meanwhile.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TIMED = """{setup}
import time
_start = time.perf_counter()
{timed}
print(time.perf_counter() - _start)
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Work to be timed.

    Attributes:
        prepare: what comes before each run, not timed.
        work: the work.
    """

    prepare: Callable[[], object]
    work: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Times:
    """Median and spread of seconds."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, seconds: NDArray[np.float64]) -> Times:
        """The percentiles 50, 10 and 90 of a sample."""
        median, p10, p90 = (float(value) for value in np.percentile(seconds, (50, 10, 90)))
        return cls(median, p10, p90)


def interleaved(
    contestants: Mapping[str, Contestant], rounds: int, burst: float = 0.0
) -> dict[str, Times]:
    """Time all contestants in turns.

    Args:
        contestants: by name; each has run before, so that nothing is compiled here.
        rounds: the number of turns of each.
        burst: seconds for which a turn goes on, as the steps of a training loop follow each other;
            its mean is what counts. A turn is one run where that takes longer.

    Returns:
        Median and spread of the seconds of each contestant's turns, by name.
    """
    names = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            first = turn % max(len(names), 1)
            for name in names[first:] + names[:first]:
                seconds[name].append(_turn(contestants[name], burst))
    finally:
        if collecting:
            gc.enable()
    return {name: Times.of(np.array(values)) for name, values in seconds.items()}


def _turn(contestant: Contestant, burst: float) -> float:
    """The mean time of the runs of a turn."""
    total, runs = 0.0, 0
    while not runs or total < burst:
        contestant.prepare()
        start = time.perf_counter()
        contestant.work()
        total += time.perf_counter() - start
        runs += 1
    return total / runs


def in_fresh_process(setup: str, timed: str, environment: Mapping[str, str]) -> float:
    """Seconds that code takes in a process of its own.

    Args:
        setup: code that runs first, not timed.
        timed: the code.
        environment: variables added to those of this process.

    Returns:
        The seconds, without those of the setup and of starting Python.

    Raises:
        RuntimeError: the process failed; the message ends as its errors did.
    """
    return float(printed_by_fresh_process(_TIMED.format(setup=setup, timed=timed), environment))


def printed_by_fresh_process(code: str, environment: Mapping[str, str] | None = None) -> str:
    """The last word that code prints in a process of its own.

    Args:
        code: the code.
        environment: variables added to those of this process.

    Raises:
        RuntimeError: the process failed; the message ends as its errors did.
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rsplit("\n", 1)[-1])
    return done.stdout.rsplit(maxsplit=1)[-1]
