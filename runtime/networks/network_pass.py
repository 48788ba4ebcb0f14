"""The way of all samples through the layers of a network, forward and back.

In: a network and its first states.  Out: a :class:`Gradient`.  Samples are cut into blocks; the
blocks of one round run in parallel, each with its own stages, and sums are added in the order of
the blocks, so a result does not depend on the number of threads.  A round goes all the way forward
and back before the next one begins: what is kept are the stages of a few blocks, not those of all
samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from hamilforge.runtime.core.blas_threads import one_blas_thread
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.numbers import pair
from hamilforge.runtime.core.threads import in_threads
from hamilforge.runtime.networks import checkpoints
from hamilforge.runtime.networks.network_arguments import check_return, fitting
from hamilforge.runtime.networks.room import Floats, Kept, Room, Stages

#: A loss at the end: last states and the samples' numbers to losses and costates.
Loss = Callable[..., tuple[Floats, Any]]


@dataclass(frozen=True, slots=True)
class Gradient:
    """Derivatives of the sum of all samples' losses.

    Attributes:
        losses: `(samples,)`, where they were computed; the running cost is not in them.
        ends: the last states, each `(samples, size)`.
        running: the running cost of each sample, if the field has one.
        states: by the first states, each `(samples, size)`.
        controls: by the controls that are trained, each `(layers, …)`.
        h: by the steps, `(layers,)`.
        t0: by the time at the first layer.
    """

    losses: Floats | None
    ends: tuple[Floats, ...]
    running: Floats | None
    states: tuple[Floats, ...]
    controls: dict[str, Floats]
    h: Floats
    t0: float


@dataclass(frozen=True, slots=True)
class Given:
    """What a pass depends on, as it is when the pass begins.

    Attributes:
        controls: by name, each C-contiguous `(layers, …)`, in the order of the product.
        values: of parameters, then fixed arrays.
        steps: `(layers,)` in double precision.
        t0: the time at the first layer.
    """

    controls: Mapping[str, Floats]
    values: Sequence[Any]
    steps: Floats
    t0: float


_OF_LOSSES = (
    "the losses of the samples, or None, and the costates were expected, (losses, costates)"
)


class Pass:
    """One pass of all samples.

    What it depends on is read when it begins: a loss may call its network again, and other threads
    may.

    Args:
        given: what it depends on.
        room: what the pass works in; nobody else does before it ends.
        states: the first ones, each `(samples, size)`.
        running: the weight of the running cost.
        steps: whether derivatives by steps and time are wanted.
        order: of the results; samples lie side by side in F, as the kernels have them.
    """

    def __init__(
        self,
        given: Given,
        room: Room,
        states: Sequence[Floats],
        running: float = 1.0,
        steps: bool = False,
        order: Literal["C", "F"] = "F",
    ) -> None:
        self._product, self._layers = room.frame.product, room.frame.layers
        self._weight, self._with_steps = running, steps
        self._states = list(states)
        self._count = len(states[0])
        if self._product.RUNNING:
            self._states.append(np.zeros((self._count, 1), room.frame.dtype))
        self._room, self._plan = room, room.plan
        self._reversible = room.kind.memory == "reversible"
        self._named = given.controls
        self._controls = [*given.controls.values()]
        self._values, self._steps = given.values, given.steps
        after = self._steps.cumsum()
        after += given.t0
        self._times = after - self._steps
        #: Where the layers begin, their steps and controls on the way forward, and on that back,
        #: where stages change places.
        self._ways = [(self._times, self._steps, self._controls)]
        if self._reversible:
            self._ways.append((after, -self._steps, self._mirrored()))
        self._order = order
        self.ends: list[Floats] = []
        self.starts: list[Floats] = []
        self.losses: Floats | None = None
        self._single = 0 < self._count <= room.samples
        self.by_step = self._by_scalar = np.zeros(0)
        self.by_time = 0.0
        self._totals: list[Floats] = []

    def _mirrored(self) -> list[Floats]:
        """The controls from the last stage of each layer to the first."""
        if not self._product.BY_STAGE:
            return self._controls
        return [np.ascontiguousarray(control[:, ::-1]) for control in self._controls]

    def forward(self) -> None:
        """To the last states alone."""
        self.ends = self._like_states()
        for rows in self._rounds():
            self._load(self._room.work.states, self._states, rows)
            self._advance(0, self._layers)
            self._store(self._room.work.states, self.ends, rows)

    def gradient(self, loss: Loss) -> dict[str, Floats]:
        """Forward and back, round by round; of no samples all derivatives are zero.

        Args:
            loss: what gives the costates at the end.

        Returns:
            The derivatives by the controls.
        """
        self._begin_sums()
        self.ends = self._like_states()
        if not self._count:
            self._losses_of(loss, [slice(0, 0)])  # it has its say: its results have no rows
        for rows in self._rounds():
            self._out(rows, self._room.kept)
            self._losses_of(loss, rows)
            self._back(rows, self._room.kept)
        return self.by_controls()

    def out(self, kept: Sequence[Kept]) -> None:
        """All rounds forward.

        Args:
            kept: for each round, what it keeps; filled.
        """
        self.ends = self._like_states()
        for rows, own in zip(self._rounds(), kept, strict=True):
            self._out(rows, own)

    def back(self, kept: Sequence[Kept], costates: Sequence[Floats]) -> None:
        """All rounds back, to the derivatives by states, steps and time.

        Args:
            kept: for each round, what it has kept; only read.
            costates: the derivatives by the last states and running costs, each `(samples, size)`.
        """
        self._begin_sums()
        for rows, own in zip(self._rounds(), kept, strict=True):
            self._load(self._room.costates, costates, rows, 0.0)
            self._back(rows, own)

    def _out(self, rows: list[slice], kept: Kept) -> None:
        """A round forward: the last states, and what is kept."""
        room, plan, head = self._room, self._plan, self._plan.head
        here = room.work if head else kept.tail
        self._load(here.states, self._states, rows)
        places = plan.places
        for slot, (unit, after) in enumerate(pairwise([*places, plan.units])):
            self._copy(here.states, 0, kept.places, slot)
            self._advance(plan.first(unit), plan.first(after))
        if not plan.tail:
            self._store(here.states, self.ends, rows)
            if self._reversible:
                self._copy(here.states, 0, kept.places, 0)
            return
        if head:
            self._copy(here.states, 0, kept.tail.states, 0)
        self._kernel_forward(kept.tail, head, self._layers, 1)
        self._store(kept.tail.states, self.ends, rows, plan.tail)

    def _back(self, rows: list[slice], kept: Kept) -> None:
        """A round back, from the costates in the room."""
        self._clear()
        if self._reversible:
            self._retreat(rows, kept)
        else:
            self._kernel_backward(kept.tail, self._plan.head, self._layers)
            self._again(kept)
        self._store(self._room.costates, self.starts, rows)
        self._add()

    # --- rounds

    def _rounds(self) -> Sequence[list[slice]]:
        """The samples of each block of each round; the last block is padded with copies."""
        blocks, size = self._room.blocks, self._room.samples
        slices = [slice(k, min(k + size, self._count)) for k in range(0, self._count, size)]
        return [slices[k : k + blocks] for k in range(0, len(slices), blocks)]

    def _load(
        self, room: Sequence[Floats], arrays: Sequence[Floats], rows: Sequence[slice],
        padding: float | None = None,
    ) -> None:  # fmt: skip
        """Samples into blocks; what pads them are copies of the last, or a number."""
        for place, array in zip(room, arrays, strict=True):
            for block in range(len(place)):
                given = block < len(rows)
                part = array[rows[block if given else -1]].T
                target, count = place[block, 0], part.shape[1]
                target[:, :count] = part if given or padding is None else padding
                if count < target.shape[1]:
                    target[:, count:] = part[:, -1:] if padding is None else padding

    def _store(
        self, room: Sequence[Floats], arrays: Sequence[Floats], rows: Sequence[slice], slot: int = 0
    ) -> None:
        for place, array in zip(room, arrays, strict=True):
            for block, part in enumerate(rows):
                array[part] = place[block, slot][:, : part.stop - part.start].T

    def _losses_of(self, loss: Loss, rows: Sequence[slice]) -> None:
        """Losses, and costates at the end; those of samples that pad a block are zero."""
        room = self._room
        if not self._single:
            for place in room.costates:
                place[:] = 0
        for block, part in enumerate(rows):
            count = part.stop - part.start
            ends = self.ends[:-1] if self._product.RUNNING else self.ends
            # copies: what the loss does with them is its own affair
            given = loss(*(end[part].copy("K") for end in ends), part)
            losses, returned = pair("the loss", given, _OF_LOSSES)
            if losses is not None:
                if self.losses is None:
                    self.losses = np.zeros(self._count)
                self.losses[part] = self._checked_losses(losses, count)
            costates = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
            shapes = [(count, end.shape[1]) for end in ends]
            if [np.shape(array) for array in costates] != shapes:
                raise ValueError(
                    "the loss gives costates of the shapes "
                    f"{[np.shape(array) for array in costates]}; {shapes} were expected"
                )
            for place, array, shape in zip(room.costates, costates, shapes, strict=False):
                costate = fitting("a costate of the loss", array, shape, room.frame.dtype)
                place[block, 0][:, :count] = costate.T
            if self._product.RUNNING:
                room.costates[-1][block, 0][:, :count] = self._weight

    @staticmethod
    def _checked_losses(losses: Any, count: int) -> Floats:
        array = np.asarray(losses)
        if array.dtype.kind not in "fiu" or array.shape != (count,):
            raise ValueError(
                f"the loss gives losses of the shape {array.shape} and the type {array.dtype}; "
                f"real numbers of the shape ({count},) were expected"
            )
        return array

    # --- kernels

    def _kernel_forward(
        self, stages: Stages, first: int, last: int, stride: int, way: int = 0
    ) -> None:
        room = self._room
        times, steps, controls = self._ways[way]

        def run(block: int) -> int:
            return int(self._product.forward(
                first, last, stride, times, steps, *stages.states_of[block], *controls,
                *self._values, *stages.kept_of[block], *room.own[block], *room.systems_of[block],
            ))  # fmt: skip

        number = min(self._blocks(run))
        if number != last:
            raise IntegrationError(
                f"the stages of layer {number} of {self._product.NAME} with h = "
                f"{self._steps[number]:.6g} did not converge; try a smaller step",
                float(self._times[number]), number, float("inf"),
            )  # fmt: skip

    def _kernel_backward(self, stages: Stages, first: int, last: int) -> None:
        if first == last:
            return
        room = self._room

        def run(block: int) -> None:
            self._product.backward(
                first, last, self._times, self._steps, *stages.states_of[block], *self._controls,
                *self._values, *stages.kept_of[block], *room.own[block], *room.sums_of[block],
                self._with_steps, *room.derivatives[block],
            )  # fmt: skip

        self._blocks(run)

    def _blocks(self, run: Callable[[int], Any]) -> list[Any]:
        """All blocks of a round, each in a thread of its own; kernels release the lock."""
        blocks = self._room.blocks
        with one_blas_thread() if self._room.one_blas_thread else nullcontext():
            return in_threads(run, blocks, blocks)

    def _advance(self, first: int, last: int) -> None:
        """Layers without keeping any; states stay in the first slot."""
        self._kernel_forward(self._room.work, first, last, 0)

    @staticmethod
    def _copy(source: list[Floats], slot: int, target: list[Floats], to: int) -> None:
        for place, state in zip(target, source, strict=True):
            place[:, to] = state[:, slot]

    def _put(self, states: Sequence[Floats]) -> None:
        for place, state in zip(self._room.work.states, states, strict=True):
            place[:, 0] = state

    def _advanced(self, states: list[Floats], first: int, last: int) -> list[Floats]:
        """The states before a unit from those before another."""
        self._put(states)
        self._advance(self._plan.first(first), self._plan.first(last))
        return [state[:, 0].copy() for state in self._room.work.states]

    def _again(self, kept: Kept) -> None:
        """Back through the layers whose stages are computed again, unit by unit."""
        plan, work = self._plan, self._room.work
        if not plan.head:
            return
        starts = [[place[:, k] for place in kept.places] for k in range(len(plan.places))]
        for unit, states in checkpoints.backwards(plan.units, plan.slots, starts, self._advanced):
            first, last = plan.first(unit), plan.first(unit + 1)
            self._put(states)
            self._kernel_forward(work, first, last, 1)
            self._kernel_backward(work, first, last)

    def _retreat(self, rows: Sequence[slice], kept: Kept) -> None:
        """Back with -h from the last states, and a look at where this ends."""
        work = self._room.work
        self._copy(kept.places, 0, work.states, 0)
        for number in range(self._layers - 1, -1, -1):
            self._kernel_forward(work, number, number + 1, 0, way=1)
            self._kernel_forward(work, number, number + 1, 1)
            self._kernel_backward(work, number, number + 1)
        for place, array in zip(work.states, self._states, strict=True):
            for block, part in enumerate(rows):
                came_back = place[block, 0][:, : part.stop - part.start].T
                check_return(self._product.NAME, came_back, array[part])

    # --- sums

    def _like_states(self) -> list[Floats]:
        return [np.empty_like(state, order=self._order) for state in self._states]

    def _begin_sums(self) -> None:
        """Derivatives by states, and sums over all blocks; those of the only one are its own."""
        room, single = self._room, self._single
        self.starts = self._like_states()
        self._totals = [by_block[0] for by_block in room.totals] if single else room.sums
        self.by_step, self._by_scalar = np.zeros(self._layers), np.zeros(room.by_scalar.shape[1:])
        for total in () if single else self._totals:
            total.fill(0)

    def _clear(self) -> None:
        room = self._room
        for total in (*room.totals, room.by_step, room.by_time, room.by_scalar):
            total.fill(0)

    def _add(self) -> None:
        """The totals of the blocks, in their order."""
        room = self._room
        for block in range(len(room.by_step)):
            if not self._single:
                for total, by_block in zip(self._totals, room.totals, strict=True):
                    total += by_block[block]
            self.by_step += room.by_step[block]
            self._by_scalar += room.by_scalar[block]
            self.by_time += float(room.by_time[block, 0])

    def by_controls(self) -> dict[str, Floats]:
        """The derivatives by the controls, after :meth:`back`; 0 where nothing depends on one."""
        names = self._product.GRADIENTS
        derivatives = {name: np.empty_like(self._named[name]) for name in names}
        matrices = [matrix[0] for matrix in self._room.matrices]
        self._product.finish(
            self._steps, *self._controls, *self._values, *matrices, *self._totals,
            self._by_scalar, *derivatives.values(),
        )  # fmt: skip
        return {
            name: derivatives[name] if name in derivatives else np.zeros_like(value)
            for name, value in self._named.items()
        }
