"""The way of all samples through the layers of a network, forward and back.

In: a network and its first states.  Out: a :class:`Gradient`.  Samples are cut into blocks; the
blocks of one round run in parallel, each with its own stages, and sums are added in the order of
the blocks, so a result does not depend on the number of threads.  A round goes all the way forward
and back before the next one begins: what is kept are the stages of a few blocks, not those of all
samples.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.networks import checkpoints
from hamilforge.runtime.networks.network_arguments import check_return, fitting

if TYPE_CHECKING:
    from hamilforge.runtime.networks.network import Network

Floats = NDArray[Any]
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


def _block_size(network: Network, samples: int, memory: str) -> int:
    """As many samples as vectors and BLAS use well, where their stages do not take too much."""
    product = network.product
    rows = sum(
        math.prod(network.sizes[dimension] for dimension in shape)
        for shape in product.KEPT.values()
    )
    rows += sum(network.sizes[shape[0]] if shape else 1 for shape in product.STATES.values())
    layers = network.layers if memory == "all" else 1
    size = max(1, rows * network.dtype.itemsize)
    most = min(MOST_BYTES // (size * layers), LAYER_BYTES // size)
    even = -(-samples // max(1, round(samples / max(64, min(512, most)))))
    return max(1, min(samples, even))


#: Bytes of stages that a block should not exceed: fewer samples make products slower.
MOST_BYTES = 2**27
#: Bytes of the stages of one layer that a block should not exceed: what the cache of a core holds.
LAYER_BYTES = 2**19


class Kind(NamedTuple):
    """What a room has to fit: samples, threads, what is kept, and samples in a block."""

    samples: int
    threads: int
    memory: str
    block: int | None


class Room:
    """Everything that kernels write to, for the blocks of one round."""

    def __init__(self, network: Network, kind: Kind) -> None:
        count, threads, memory, block = self.kind = kind
        size = block or _block_size(network, count, memory)
        blocks, samples = max(1, min(threads, -(-count // size))), max(1, min(size, count))
        layers = network.layers
        self.blocks, self.samples = blocks, samples
        product, dtype = network.product, network.dtype
        kept = layers if memory == "all" else 1

        def array(*shape: int) -> Floats:
            return np.zeros(shape, dtype)

        def sized(shape: Sequence[str]) -> tuple[int, ...]:
            return tuple(network.sizes[dimension] for dimension in shape)

        def rows(shape: Sequence[str]) -> int:
            return network.sizes[shape[0]] if shape else 1

        states = [rows(shape) for shape in product.STATES.values()]
        self.states = [array(blocks, kept + 1, size, samples) for size in states]
        self.costates = [array(blocks, 2, size, samples) for size in states]
        self.kept = [array(blocks, kept, rows(s), samples) for s in product.KEPT.values()]
        self.scratch = [array(blocks, rows(s), samples) for s in product.SCRATCH.values()]
        self.matrices = [array(blocks, *sized(s)) for s in product.MATRICES.values()]
        self.totals = [array(blocks, layers, *sized(s)) for s in product.TOTALS.values()]
        self.sums = [array(layers, *sized(s)) for s in product.TOTALS.values()]
        unknowns = sum(rows(shape) for shape in product.UNKNOWNS)
        many = samples if unknowns else 0
        self.systems = (
            array(blocks, many, unknowns, unknowns),
            np.zeros((blocks, many, unknowns), np.int64),
            array(blocks, many, unknowns),
        )
        self.by_step = np.zeros((blocks, layers))
        self.by_time = np.zeros((blocks, 1))
        self.by_scalar = np.zeros((blocks, layers, max(1, len(product.SCALARS))))


@lru_cache(maxsize=8)
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "hamilforge")


# a forked process has none of the threads of its parent
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)


class Pass:
    """One pass of all samples.

    What it depends on is read when it begins: a loss may call its network again, and other threads
    may.

    Args:
        network: whose layers.
        room: what the pass works in; nobody else does before it ends.
        states: the first ones, each `(samples, size)`.
        loss: what gives the costates at the end.
        running: the weight of the running cost.
        steps: whether derivatives by steps and time are wanted.
    """

    def __init__(
        self,
        network: Network,
        room: Room,
        states: Sequence[Floats],
        loss: Loss | None,
        running: float = 1.0,
        steps: bool = False,
    ) -> None:
        self._network, self._product = network, network.product
        self._loss, self._weight, self._with_steps = loss, running, steps
        self._states = list(states)
        self._count = len(states[0])
        if self._product.RUNNING:
            self._states.append(np.zeros((self._count, 1), network.dtype))
        self._room, self._memory, self._slots = room, room.kind.memory, network.checkpoints
        self._named = network.checked_controls()
        self._controls = [*self._named.values()]
        self._values: list[Any] = [network.parameters[n] for n in self._product.PARAMETERS]
        self._values += network.fixed.values()
        self._steps = network.checked_steps()
        after = self._steps.cumsum()
        after += network.t0
        self._times = after - self._steps
        #: Where the layers begin, their steps and controls on the way forward, and on that back,
        #: where stages change places.
        self._ways = [(self._times, self._steps, self._controls)]
        if self._memory == "reversible":
            self._ways.append((after, -self._steps, self._mirrored()))
        # samples side by side, as the kernels have them
        self._ends = [np.empty_like(state, order="F") for state in self._states]
        self._starts = [np.empty_like(state, order="F") for state in self._states]
        self._losses: Floats | None = None
        self._single = 0 < self._count <= self._room.samples
        self._totals = self._room.sums
        if not self._single:
            for total in self._totals:
                total.fill(0)
        self._by_step = np.zeros(network.layers)
        self._by_scalar = np.zeros(self._room.by_scalar.shape[1:])
        self._by_time = 0.0

    def _mirrored(self) -> list[Floats]:
        """The controls from the last stage of each layer to the first."""
        if not self._product.BY_STAGE:
            return self._controls
        return [np.ascontiguousarray(control[:, ::-1]) for control in self._controls]

    def forward(self) -> Gradient:
        """The last states alone."""
        for rows in self._rounds():
            self._load(self._room.states, self._states, rows)
            self._advance(0, self._network.layers)
            self._store(self._room.states, self._ends, rows)
        return self._result()

    def gradient(self) -> Gradient:
        """Forward and back, round by round; of no samples all derivatives are zero."""
        if not self._count:
            self._costates([slice(0, 0)])  # the loss has its say: its results have no rows
            zeros = {name: np.zeros_like(self._named[name]) for name in self._network.trainable}
            return self._result(zeros)
        for rows in self._rounds():
            self._load(self._room.states, self._states, rows)
            kept = self._forward()
            last = self._network.layers if self._memory == "all" else 0
            self._store(self._room.states, self._ends, rows, last)
            self._costates(rows)
            self._clear()
            self._backward(kept, rows)
            self._store(self._room.costates, self._starts, rows)
            self._add()
        return self._result(self._finish())

    # --- rounds

    def _rounds(self) -> Sequence[list[slice]]:
        """The samples of each block of each round; the last block is padded with copies."""
        blocks, size = self._room.blocks, self._room.samples
        slices = [slice(k, min(k + size, self._count)) for k in range(0, self._count, size)]
        return [slices[k : k + blocks] for k in range(0, len(slices), blocks)]

    def _load(
        self, room: Sequence[Floats], arrays: Sequence[Floats], rows: Sequence[slice]
    ) -> None:
        for place, array in zip(room, arrays, strict=True):
            for block in range(len(place)):
                part = array[rows[min(block, len(rows) - 1)]].T
                target = place[block, 0]
                count = part.shape[1]
                target[:, :count] = part
                if count < target.shape[1]:
                    target[:, count:] = part[:, -1:]

    def _store(
        self, room: Sequence[Floats], arrays: Sequence[Floats], rows: Sequence[slice], slot: int = 0
    ) -> None:
        for place, array in zip(room, arrays, strict=True):
            for block, part in enumerate(rows):
                array[part] = place[block, slot][:, : part.stop - part.start].T

    def _costates(self, rows: Sequence[slice]) -> None:
        """Costates at the end; those of samples that pad a block are zero."""
        assert self._loss is not None
        if not self._single:
            for place in self._room.costates:
                place[:] = 0
        for block, part in enumerate(rows):
            count = part.stop - part.start
            ends = self._ends[:-1] if self._product.RUNNING else self._ends
            # copies: what the loss does with them is its own affair
            losses, returned = self._loss(*(end[part].copy("K") for end in ends), part)
            if losses is not None:
                if self._losses is None:
                    self._losses = np.zeros(self._count)
                self._losses[part] = self._checked_losses(losses, count)
            costates = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
            shapes = [(count, end.shape[1]) for end in ends]
            if [np.shape(array) for array in costates] != shapes:
                raise ValueError(
                    "the loss gives costates of the shapes "
                    f"{[np.shape(array) for array in costates]}; {shapes} were expected"
                )
            for place, array, shape in zip(self._room.costates, costates, shapes, strict=False):
                costate = fitting("a costate of the loss", array, shape, self._network.dtype)
                place[block, 0][:, :count] = costate.T
            if self._product.RUNNING:
                self._room.costates[-1][block, 0][:, :count] = self._weight

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

    def _kernel_forward(self, first: int, last: int, stride: int, way: int = 0) -> None:
        room = self._room
        times, steps, controls = self._ways[way]

        def run(block: int) -> int:
            return int(self._product.forward(
                first, last, stride, times, steps, *(array[block] for array in room.states),
                *controls, *self._values,
                *(array[block] for array in (*room.kept, *room.scratch)),
                *(array[block] for array in (*room.matrices, *room.systems)),
            ))  # fmt: skip

        number = min(self._blocks(run))
        if number != last:
            raise IntegrationError(
                f"the stages of layer {number} of {self._product.NAME} with h = "
                f"{self._steps[number]:.6g} did not converge; try a smaller step",
                float(self._times[number]), number, float("inf"),
            )  # fmt: skip

    def _kernel_backward(self, first: int, last: int) -> None:
        room = self._room

        def run(block: int) -> None:
            self._product.backward(
                first, last, self._times, self._steps, *(array[block] for array in room.states),
                *self._controls, *self._values,
                *(array[block] for array in (*room.kept, *room.scratch, *room.matrices)),
                *(array[block] for array in (*room.costates, *room.totals, *room.systems)),
                self._with_steps, room.by_step[block], room.by_time[block], room.by_scalar[block],
            )  # fmt: skip

        self._blocks(run)

    def _blocks(self, run: Callable[[int], Any]) -> list[Any]:
        """All blocks of a round, each in a thread of its own; kernels release the lock."""
        blocks = self._room.blocks
        if blocks == 1:
            return [run(0)]
        return list(_threads(blocks).map(run, range(blocks)))

    def _advance(self, first: int, last: int) -> None:
        """Layers without keeping any; states stay in the first slot."""
        self._kernel_forward(first, last, 0)

    def _forward(self) -> list[list[Floats]]:
        """All layers; the states that the way back begins again from."""
        layers, memory = self._network.layers, self._memory
        if memory == "all":
            self._kernel_forward(0, layers, 1)
            return []
        if memory == "reversible":
            self._advance(0, layers)
            return []
        places = [*range(layers)]
        if memory == "checkpoint":
            places = checkpoints.placed(layers, self._slots)
        kept = []
        for first, last in zip(places, [*places[1:], layers], strict=True):
            kept.append(self._copy())
            self._advance(first, last)
        return kept

    def _copy(self) -> list[Floats]:
        return [state[:, 0].copy() for state in self._room.states]

    def _put(self, states: Sequence[Floats]) -> None:
        for place, state in zip(self._room.states, states, strict=True):
            place[:, 0] = state

    def _advanced(self, states: list[Floats], first: int, last: int) -> list[Floats]:
        self._put(states)
        self._advance(first, last)
        return self._copy()

    def _refuse_what_was_lost(self, rows: Sequence[slice]) -> None:
        """Compare the first states, as they came back, with what they were."""
        for place, array in zip(self._room.states, self._states, strict=True):
            for block, part in enumerate(rows):
                came_back = place[block, 0][:, : part.stop - part.start].T
                check_return(self._product.NAME, came_back, array[part])

    def _backward(self, kept: list[list[Floats]], rows: Sequence[slice]) -> None:
        layers, memory = self._network.layers, self._memory
        if memory == "all":
            self._kernel_backward(0, layers)
            return
        if memory == "reversible":
            for number in range(layers - 1, -1, -1):
                self._kernel_forward(number, number + 1, 0, way=1)
                self._kernel_forward(number, number + 1, 1)
                self._kernel_backward(number, number + 1)
            self._refuse_what_was_lost(rows)
            return
        again = (
            ((number, kept[number]) for number in range(layers - 1, -1, -1))
            if memory == "states"
            else checkpoints.backwards(layers, self._slots, kept, self._advanced)
        )
        for number, states in again:
            self._put(states)
            self._kernel_forward(number, number + 1, 1)
            self._kernel_backward(number, number + 1)

    # --- sums

    def _clear(self) -> None:
        room = self._room
        for total in (*room.totals, room.by_step, room.by_time, room.by_scalar):
            total.fill(0)

    def _add(self) -> None:
        """The totals of the blocks, in their order."""
        room = self._room
        if self._single:
            self._totals = [by_block[0] for by_block in room.totals]
            self._by_step, self._by_scalar = room.by_step[0].copy(), room.by_scalar[0]
            self._by_time = float(room.by_time[0, 0])
            return
        for block in range(len(room.by_step)):
            for total, by_block in zip(self._totals, room.totals, strict=True):
                total += by_block[block]
            self._by_step += room.by_step[block]
            self._by_scalar += room.by_scalar[block]
            self._by_time += float(room.by_time[block, 0])

    def _finish(self) -> dict[str, Floats]:
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
            if name in self._network.trainable
        }

    def _result(self, controls: dict[str, Floats] | None = None) -> Gradient:
        ends, starts = self._ends, self._starts
        running = ends[-1][:, 0] if self._product.RUNNING else None
        count = len(ends) - (running is not None)
        return Gradient(
            self._losses,
            tuple(ends[:count]),
            running,
            tuple(starts[:count]),
            controls or {},
            self._by_step,
            self._by_time,
        )
