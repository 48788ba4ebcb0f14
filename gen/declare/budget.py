"""Budgets of work: what takes for ever ends, and says which part of the declaration it was.

In: a piece of work, how many seconds of its thread's processor time it may take, and what it is.
Out: its value, or a :class:`BudgetError`.  The time is the thread's own, and the seconds are those
of a quick machine: a slow one, or one whose caches others use, has more, as a trial at the end of
its time says, up to :data:`SLOWEST` times as many; so what can be proved hardly depends on where.
Work is ended between two steps of
Python, in any thread; what cannot be ended there (powers of large numbers) is bounded by its size
before it begins.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from hamilforge.gen.declare.errors import NotDerivableError

#: For everything between a declaration and its report or code, in seconds; and more for each
#: thousand bytes of a long one: many terms may take their time, few may not.
WHOLE, EACH, LONG = 6.5, 1.0, 3000
#: How much more code may take than a report: it is made once.
CODE = 8.0
#: For one proof, and for all that can do without a value; all of a long declaration have more.
PROOF, PROOFS = 1.5, 3.5
#: The size of a trial, its seconds on a quick machine, and how much slower a machine may be.
_ENTRIES, QUICK, SLOWEST = 8000, 0.0014, 8.0

Value = TypeVar("Value")


class BudgetError(NotDerivableError):
    """Work that exceeds its budget."""


def whole(size: int) -> float:
    """The budget of a declaration of so many bytes."""
    return WHOLE + EACH * max(0, size - LONG) / 1000


def slowness() -> float:
    """How many times as long as on a quick machine Python's work takes here and now, at least 1."""
    return min(max(1.0, min(_trial() for _ in range(3)) / QUICK), SLOWEST)


def _trial() -> float:
    """The seconds of a piece of work; texts and numbers, which no search for garbage looks at."""
    begun = time.thread_time()
    sorted({str(number): number for number in range(_ENTRIES)})
    return time.thread_time() - begun


def within(seconds: float, what: str, work: Callable[[], Value]) -> Value:
    """The value of a piece of work.

    Args:
        seconds: of the thread's processor time on a quick machine.
        what: is worked on, for the message.
        work: called once.

    Returns:
        What the work returns.

    Raises:
        BudgetError: it takes longer.
    """
    watch = _Watch(seconds)
    try:
        try:
            watch.start()
            return work()
        finally:
            watch.end()
    except watch.spent as spent:
        watch.end()
        _forget_half_done()
        part = getattr(spent, "part", "")
        raise BudgetError(
            f"{what} takes more than its budget of {seconds:.2g} s"
            + (f", at {part}" if part else "")
        ) from None


class Allowance:
    """What is left for proofs: each has its budget, and all together have theirs.

    Args:
        proof: seconds for each.
        size: bytes of the declaration.
        proofs: seconds for all, of a short declaration.
    """

    def __init__(self, proof: float = PROOF, size: int = 0, proofs: float = PROOFS) -> None:
        self._proof, self._taken = proof, 0.0
        self._proofs = proofs * whole(size) / WHOLE

    def within(self, what: str, work: Callable[[], Value]) -> Value:
        """The value of a proof.

        Raises:
            BudgetError: it takes too long, or those before it did.
        """
        left = self._proofs - self._taken
        if left < self._proof:
            left = self._proofs - self._taken / slowness()
        if left <= 0:
            raise BudgetError(f"the proofs before {what} took all of their {self._proofs:g} s")
        begun = time.thread_time()
        try:
            return within(min(self._proof, left), what, work)
        finally:
            self._taken += time.thread_time() - begun


@contextlib.contextmanager
def at(part: str) -> Iterator[None]:
    """Name the part of the declaration that is worked on, such as ``[equations].x``."""
    try:
        yield
    except _Spent as spent:
        spent.part = spent.part or part
        raise


class _Spent(BaseException):
    """Ends work from outside; each watch has a class of its own."""

    part = ""


class _Watch:
    """Looks at a thread's clock from another thread, and ends its work by an exception."""

    def __init__(self, seconds: float) -> None:
        self.spent: type[_Spent] = type("_SpentHere", (_Spent,), {})
        self._seconds, self._thread = seconds, threading.get_ident()
        self._lock, self._over = threading.Lock(), threading.Event()
        self._clock = getattr(time, "pthread_getcpuclockid", lambda _: None)(self._thread)
        self._begun = self._now()
        self._end = self._begun + seconds

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._look, daemon=True).start()

    def end(self) -> None:
        """Look no longer; an exception that is on its way is called back."""
        with self._lock:
            if not self._over.is_set():
                self._over.set()
                _raise_in(self._thread, None)

    def _now(self) -> float:
        return time.monotonic() if self._clock is None else time.clock_gettime(self._clock)

    def _look(self) -> None:
        while not self._over.wait(max(self._end - self._now(), 0.02)):
            if self._now() >= self._end:
                self._end = max(self._end, self._begun + self._seconds * slowness())
            with self._lock:
                if not self._over.is_set() and self._now() >= self._end:
                    _raise_in(self._thread, self.spent)
                    self._end += 0.5  # once more, if somebody caught it


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), None if error is None else ctypes.py_object(error)
    )


def _forget_half_done() -> None:
    """Empty SymPy's memory: an answer that was being looked for stands in it as unknown."""
    if "sympy" in sys.modules:
        from sympy.core.cache import clear_cache

        clear_cache()
