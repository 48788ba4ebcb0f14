"""How many processes may be at work at once."""

from __future__ import annotations

import os


def usable() -> int:
    """The number of processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return len(affinity(0))
