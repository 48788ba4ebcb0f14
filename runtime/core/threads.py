"""Kernels that release Python's lock, called in several threads.

In: a kernel ``kernel(begin, end, ...)`` of independent pieces of work, and how many there are.
Out: the arrays that it changes.  A thread that has come to the end of its pieces takes the next
ones; the calling thread works too, and does all where no other is free.  (Threads of an executor do
the same, and take twice as long to begin and to end.)
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from numba import get_num_threads

#: Portions for each thread, so that one with little to do takes more of them.
PORTIONS = 4
#: Seconds of work up to which one thread is as quick: another one takes a while to wake.
WAKING = 1e-4


def in_threads(kernel: Any, count: int, *arguments: Any, expected: float = math.inf) -> None:
    """Call a kernel for all pieces of work, in as many threads as numba takes.

    Args:
        kernel: compiled with ``nogil=True``; its first two arguments are the number of the first
            piece and that of the one after the last.
        count: how many pieces there are.
        arguments: the other arguments.
        expected: how many seconds one thread takes, if that is known.

    Raises:
        BaseException: what a kernel raises, or Ctrl-C in the calling thread; no portion is begun
            after it, and those that were begun have ended.
    """
    threads = min(get_num_threads(), count)
    compiled = hasattr(kernel, "targetoptions")  # or numba is switched off
    if threads < 2 or not compiled or expected < WAKING:
        kernel(0, count, *arguments)
        return
    number = min(count, PORTIONS * threads)
    portions = deque((k * count // number, (k + 1) * count // number) for k in range(number))
    helping: list[None] = []
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def work() -> None:
        while portions:
            try:
                begin, end = portions.popleft()
            except IndexError:  # another thread was quicker
                return
            kernel(begin, end, *arguments)

    def help_out() -> None:
        helping.append(None)
        try:
            work()
        except BaseException as error:
            portions.clear()
            ended.put(error)
        else:
            ended.put(None)

    _HELPERS.call(help_out, threads - 1)
    try:
        work()
    finally:
        portions.clear()
        errors = [ended.get() for _ in helping]  # one that begins now finds nothing to do
    for error in errors:
        if error is not None:
            raise error


class _Helpers:
    """Threads that wait for work."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._count = 0
        self._lock = threading.Lock()

    def call(self, task: Callable[[], None], times: int) -> None:
        """Let as many threads do a task, as soon as they are free."""
        with self._lock:
            while self._count < times:
                threading.Thread(target=self._serve, name="hamilforge", daemon=True).start()
                self._count += 1
        for _ in range(times):
            self._tasks.put(task)

    def _serve(self) -> None:
        while True:
            self._tasks.get()()


_HELPERS = _Helpers()
if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads, nor their locks
    os.register_at_fork(after_in_child=_HELPERS.__init__)  # type: ignore[misc]
