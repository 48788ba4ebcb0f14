"""The arrays in which generated kernels work."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

_Room = TypeVar("_Room")


class Rooms(Generic[_Room]):
    """Arrays to work in that no call is using just now.

    A call takes a room out and puts it back when it ends, so that calls of several threads, and a
    call from within another, each have their own; one after the other they have the same again.
    Lists hand out each entry once, whatever the number of threads.
    """

    def __init__(self) -> None:
        self._free: list[tuple[Hashable, _Room]] = []

    @contextmanager
    def serving(self, kind: Hashable, make: Callable[[], _Room]) -> Iterator[_Room]:
        """A room for the time of a call.

        Args:
            kind: what the room has to fit; free rooms of another kind are given up.
            make: makes a room of this kind.
        """
        room = self._taken(kind, make)
        try:
            yield room
        finally:
            if len(self._free) < (os.cpu_count() or 1):
                self._free.append((kind, room))

    def _taken(self, kind: Hashable, make: Callable[[], _Room]) -> _Room:
        while self._free:
            try:
                of, room = self._free.pop()
            except IndexError:  # another thread was quicker
                break
            if of == kind:
                return room
        return make()


@dataclass(slots=True)
class Workspace:
    """The arrays that kernels work in, one set for each trajectory."""

    rows: Any
    square: Any
    slopes: Any
    flags: Any

    @staticmethod
    def of(product: ModuleType, count: int, dtype: type = np.float64) -> Workspace:
        """Fresh arrays; a step after them starts anew.

        Args:
            product: a generated numba module of an integrator.
            count: how many trajectories.
            dtype: of the states; complex for derivatives by a complex step.

        Returns:
            Zeros, the first axis ``count`` long.
        """
        size, unknowns = product.SIZE, product.UNKNOWNS
        matrix = size if unknowns else 0  # matrices are for equations
        return Workspace(
            np.zeros((count, product.ROWS, getattr(product, "COLUMNS", size)), dtype),
            np.zeros((count, unknowns + 2, max(unknowns, 1)), dtype),
            np.zeros((count, 3 * matrix, matrix), dtype),
            np.zeros((count, 2 + unknowns), np.int64),
        )
