"""Whether kernels are compiled."""

from __future__ import annotations

from numba import config


def is_on() -> bool:
    """Whether numba compiles: with ``NUMBA_DISABLE_JIT`` kernels are Python, and have no lanes."""
    return not config.DISABLE_JIT  # type: ignore[attr-defined]
