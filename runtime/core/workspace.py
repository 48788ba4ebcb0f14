"""The arrays in which generated kernels work."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

import numpy as np

_Room = TypeVar("_Room")
#: Rooms that wait for the next call: as many as may be at work at once.
_MOST = os.cpu_count() or 1


class Rooms(Generic[_Room]):
    """Arrays to work in that no call is using just now.

    A call takes a room out and puts it back when it ends, so that calls of several threads, and a
    call from within another, each have their own; one after the other they have the same again.
    Lists hand out each entry once, whatever the number of threads.
    """

    def __init__(self) -> None:
        self._free: list[tuple[Hashable, _Room]] = []

    def serving(self, kind: Hashable, make: Callable[[], _Room]) -> Serving[_Room]:
        """A context that has a room for the time of a call.

        Args:
            kind: what the room has to fit; free rooms of another kind are given up.
            make: makes a room of this kind.
        """
        return Serving(self, kind, self.take(kind, make))

    def take(self, kind: Hashable, make: Callable[[], _Room]) -> _Room:
        """A room, until it is given back.

        Args:
            kind: what the room has to fit; free rooms of another kind are given up.
            make: makes a room of this kind.
        """
        while self._free:
            try:
                of, room = self._free.pop()
            except IndexError:  # another thread was quicker
                break
            if of == kind:
                return room
        return make()

    def give(self, kind: Hashable, room: _Room) -> None:
        """Let a room serve the next call.

        Args:
            kind: of the room.
            room: that nobody uses any more.
        """
        if len(self._free) < _MOST:
            self._free.append((kind, room))


class Serving(Generic[_Room]):
    """A room that is taken, and given back when the context ends."""

    __slots__ = ("_kind", "_room", "_rooms")

    def __init__(self, rooms: Rooms[_Room], kind: Hashable, room: _Room) -> None:
        self._rooms, self._kind, self._room = rooms, kind, room

    def __enter__(self) -> _Room:
        return self._room

    def __exit__(self, *_: object) -> None:
        self._rooms.give(self._kind, self._room)


@dataclass(slots=True)
class Workspace:
    """The arrays that kernels work in, one set for each trajectory."""

    rows: Any
    square: Any
    slopes: Any
    flags: Any

    def clear(self) -> None:
        """Let the next step start anew."""
        self.rows.fill(0)
        self.square.fill(0)
        self.slopes.fill(0)
        self.flags.fill(0)

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
