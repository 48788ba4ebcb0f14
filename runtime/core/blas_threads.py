"""One thread for each product of matrices, where the work is parallel already or small.

The BLAS that compiled kernels call cuts every product among its threads, and each waits for the
others.  Where blocks of samples have threads of their own, or other programs keep the processors
busy, this waiting takes many times as long as the product.  The number is one of the process: it is
put back when the last who asked for one thread is done.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import NamedTuple

#: How libraries call the functions that get and set the number of threads.
_NAMES = (
    *(
        (f"{before}openblas_get_num_threads{after}", f"{before}openblas_set_num_threads{after}")
        for before, after in product(("scipy_", ""), ("", "64_"))
    ),
    ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
)


class _Library(NamedTuple):
    """What a BLAS offers."""

    get: Callable[[], int]
    set: Callable[[int], object]


@functools.cache
def _library() -> _Library | None:
    """The BLAS of SciPy, which compiled kernels call; None where its functions are not found.

    ``threadpoolctl`` sets it from one thread of a process alone; here any may call a network.
    """
    from scipy.linalg import cython_blas

    library = ctypes.CDLL(cython_blas.__file__)  # symbols of what it is linked with are found too
    for get, set_ in _NAMES:
        if hasattr(library, get) and hasattr(library, set_):
            return _Library(getattr(library, get), getattr(library, set_))
    return None


class _Limit:
    """How many have asked for one thread, and the number of threads before."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.asked, self.before = 0, 1

    def begin(self) -> None:
        """One thread from now on."""
        library = _library()
        with self.turn:
            self.asked += 1
            if self.asked == 1 and library is not None:
                self.before = library.get()
                if self.before != 1:
                    library.set(1)

    def end(self) -> None:
        """As many as before, if nobody else still wants one."""
        with self.turn:
            self.asked -= 1
            if not self.asked:
                self._restore()

    def _restore(self) -> None:
        library = _library()
        if self.before != 1 and library is not None:
            library.set(self.before)

    def after_fork(self) -> None:
        """In a child nobody is at work, and the lock is a new one."""
        self.turn = threading.Lock()
        if self.asked:
            self.asked = 0
            self._restore()


_LIMIT = _Limit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LIMIT.after_fork)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """A context in which BLAS takes one thread, in all threads of the process."""
    _LIMIT.begin()
    try:
        yield
    finally:
        _LIMIT.end()
