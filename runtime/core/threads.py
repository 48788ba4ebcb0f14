"""Kernels that release Python's lock, called in several threads.

In: pieces of work that do not depend on each other.  Out: their results.  A thread that has come to
the end of its piece takes the next one; the calling thread works too, and does all where no other
one is free, or can be started.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from numba import get_num_threads

#: Portions for each thread, so that one with little to do takes more of them.
PORTIONS = 4
#: Seconds up to which one thread is as quick: another one takes a while to wake.
WAKING = 1e-4
Result = TypeVar("Result")


def by_portions(kernel: Any, count: int, *arguments: Any, seconds: float = math.inf) -> None:
    """Call a kernel for all of its work, in as many threads as numba takes.

    Args:
        kernel: compiled with ``nogil=True``; its first two arguments are the number of the first
            piece of work and that of the one after the last.
        count: how many pieces there are.
        arguments: the other arguments.
        seconds: how long the call takes, where that is known; a short one is not shared.

    Raises:
        BaseException: as :func:`in_threads`.
    """
    threads = min(get_num_threads(), count)
    is_compiled = hasattr(kernel, "targetoptions")  # or numba is switched off
    if not is_compiled or seconds < WAKING:
        kernel(0, count, *arguments)
        return
    number = min(count, PORTIONS * threads)

    def portion(k: int) -> None:
        kernel(k * count // number, (k + 1) * count // number, *arguments)

    in_threads(portion, number, threads)


def in_threads(work: Callable[[int], Result], count: int, threads: int) -> list[Result]:
    """Results of ``work(0)`` to ``work(count - 1)``.

    Args:
        work: what is to be done; it releases Python's lock.
        count: how often.
        threads: how many work at once, if that many are free.

    Returns:
        The results in their order.

    Raises:
        BaseException: what the work raises, or Ctrl-C in the calling thread; no piece is begun
            after it, and those that were begun have ended.
    """
    threads = min(threads, count)
    if threads < 2:
        return [work(k) for k in range(count)]
    shared = _Shared(work, count)
    try:
        _HELPERS.call(shared.help_out, threads - 1)
        shared.go_on()
    finally:
        shared.end()
    return shared.taken_results()


class _Shared(Generic[Result]):
    """Work that several threads do.

    Args:
        work: what is to be done.
        count: how often.
    """

    def __init__(self, work: Callable[[int], Result], count: int) -> None:
        self._work: Callable[[int], Result] | None = work
        self._left = deque(range(count))
        self._results: dict[int, Result] = {}
        self._errors: list[BaseException] = []
        #: An entry for each thread that began to help, and for each that ended.
        self._begun: list[None] = []
        self._done: list[None] = []
        self._endings: SimpleQueue[None] = SimpleQueue()

    def go_on(self) -> None:
        """Do what is left, a piece at a time."""
        while self._left:
            try:
                k = self._left.popleft()
            except IndexError:  # another thread was quicker
                return
            assert self._work is not None  # it is there as long as anything is left
            self._results[k] = self._work(k)

    def help_out(self) -> None:
        """Do so in another thread, whose errors wait for the calling one."""
        self._begun.append(None)
        try:
            self.go_on()
        except BaseException as error:
            self._left.clear()
            self._errors.append(error)
        finally:
            self._done.append(None)
            self._endings.put(None)

    def end(self) -> None:
        """Begin nothing more, and wait for those that began; Ctrl-C waits for them too."""
        interrupts: list[BaseException] = []
        while True:
            try:
                self._left.clear()
                while len(self._done) < len(self._begun):  # who begins now finds nothing to do
                    self._endings.get()
                break
            except BaseException as interrupt:
                interrupts.append(interrupt)
        self._work = None  # one that is still to be called keeps nothing alive
        if interrupts:
            raise interrupts.pop()

    def taken_results(self) -> list[Result]:
        """What was found, or the error of a helper."""
        if self._errors:
            raise self._errors.pop()
        results, self._results = self._results, {}
        return [results[k] for k in sorted(results)]


class _Helpers:
    """Threads that wait for work."""

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """A child has none of its parent's threads, nor the state of its locks."""
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._count = 0
        self._lock = threading.RLock()

    def call(self, task: Callable[[], None], times: int) -> None:
        """Let as many threads do a task, as soon as they are free; fewer if no more can start."""
        with self._lock:
            try:
                while self._count < times:
                    threading.Thread(target=self._serve, name="hamilforge", daemon=True).start()
                    self._count += 1
            except RuntimeError:
                times = min(times, self._count)
        for _ in range(times):
            self._tasks.put(task)

    def _serve(self) -> None:
        while True:
            self._tasks.get()()


_HELPERS = _Helpers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_HELPERS.after_fork)
