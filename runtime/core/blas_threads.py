"""One thread for each product of matrices, where the work is parallel already or small.

The BLAS that compiled kernels call cuts every product among its threads, and each waits for the
others.  Where blocks of samples have threads of their own, or other programs keep the processors
busy, this waiting takes many times as long as the product.  The number is one of the process: it is
put back when the last who asked for one thread is done.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController


@functools.cache
def _libraries() -> tuple[Any, ...]:
    """The BLAS libraries of the process, with that of SciPy, which compiled kernels call."""
    importlib.import_module("scipy.linalg.cython_blas")
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


class _Limit:
    """How many have asked for one thread, and the numbers of threads before."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.asked = 0
        self.before: list[int] = []

    def begin(self) -> None:
        """One thread from now on."""
        with self.turn:
            if not self.asked:
                self.before = [library.num_threads for library in _libraries()]
                for library, number in zip(_libraries(), self.before, strict=True):
                    if number != 1:
                        library.set_num_threads(1)
            self.asked += 1

    def end(self) -> None:
        """As many as before, if nobody else still wants one."""
        with self.turn:
            self.asked -= 1
            if not self.asked:
                self._restore()

    def _restore(self) -> None:
        for library, number in zip(_libraries(), self.before, strict=True):
            if number != 1:
                library.set_num_threads(number)

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
