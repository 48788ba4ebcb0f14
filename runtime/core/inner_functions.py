"""How functions are compiled that only kernels call: cached, and as parts of these kernels.

They have no entry from Python, and must not be called from there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

from hamilforge.runtime.core.kernel_parts import KernelPart

_INNER: dict[str, Any] = {
    "error_model": "numpy",
    "cache": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": KernelPart,
}
_BORROWERS: dict[str, Any] = {**_INNER, "_nrt": False}
_SUMS: dict[str, Any] = {**_INNER, "fastmath": {"reassoc", "nsz", "contract"}}
_F = TypeVar("_F", bound=Callable[..., Any])


def inner_function(function: _F) -> _F:
    """Compile a function that only kernels call."""
    compiled: _F = njit(**_INNER)(function)
    return compiled


def borrowing_function(function: _F) -> _F:
    """Compile a function that makes, keeps and returns no array: no references to count."""
    compiled: _F = njit(**_BORROWERS)(function)
    return compiled


def summing_function(function: _F) -> _F:
    """Compile a function that takes sums, in any order."""
    compiled: _F = njit(**_SUMS)(function)
    return compiled
