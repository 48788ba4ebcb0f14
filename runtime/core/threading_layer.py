"""Parallel kernels, called so that no threading layer of numba ends the process.

OpenMP's threads do not survive a fork: a child in which a parallel kernel is launched is ended by a
signal.  In a forked process the same functions run compiled without threads, with the same results,
for sums are taken in the order of the chunks.  torch's threads are OpenMP's too, and wait for ever
in such a child; there it gets one, as a worker of a ``DataLoader`` does.  The layer ``workqueue``
takes one launch at a time, and a second one ends the process: launches wait for each other.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import types
from typing import Any

from numba import njit


class _Launches:
    """Whether this process has launched, whether it was forked, and whose turn it is."""

    def __init__(self) -> None:
        self.launched = self.forked = False
        self.turn = threading.RLock()

    def after_fork(self) -> None:
        """What holds in a child: it has none of its parent's threads, nor their locks."""
        self.forked = True
        self.turn = threading.RLock()
        if self.launched and "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)


_LAUNCHES = _Launches()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LAUNCHES.after_fork)


def parallel(kernel: Any, *arguments: Any) -> Any:
    """Call a kernel that was compiled with ``parallel=True``.

    Args:
        kernel: the compiled function.
        arguments: what it takes.

    Returns:
        What it returns.
    """
    if _LAUNCHES.forked:
        return serial(kernel)(*arguments)
    with _LAUNCHES.turn:
        _LAUNCHES.launched = True
        return kernel(*arguments)


@functools.cache
def serial(kernel: Any) -> Any:
    """The same function, compiled without threads; under a name of its own in numba's cache."""
    options = getattr(kernel, "targetoptions", None)
    if options is None:  # numba is switched off, or the kernel is plain Python
        return kernel
    function = kernel.py_func
    name = f"{function.__name__}_serial"
    alone = types.FunctionType(
        function.__code__, function.__globals__, name, function.__defaults__, function.__closure__
    )
    alone.__qualname__, alone.__module__ = name, function.__module__
    kept = {key: options[key] for key in _KEPT if key in options}
    return njit(cache=True, **kept)(alone)


#: Options of a kernel on which its results depend.
_KEPT = ("error_model", "fastmath", "boundscheck")
