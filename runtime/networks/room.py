"""The arrays in which the kernels of a network work, and how samples are cut into blocks.

In: a generated numba module with sizes, and what a call wants.  Out: a :class:`Room`, everything
that kernels write to for the blocks of one round, and the layout of what a round keeps between the
way forward and that back, which is one array.  A layer's arrays are `(blocks, layers, size,
samples)`, samples side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.networks import layer_kernels, recomputation
from hamilforge.runtime.networks.recomputation import Size

Floats = NDArray[Any]
#: Bytes of stages that a block should not exceed: fewer samples make products slower.
MOST_BYTES = 2**27
#: Bytes of the stages of one layer that a block should not exceed: what the cache of a core holds.
LAYER_BYTES = 2**18

#: Multiplications of a product from which on several threads may share it.
SHARED_PRODUCT = 2**25


class Frame(NamedTuple):
    """Layers with their sizes and type of numbers.

    Attributes:
        product: a generated numba module.
        sizes: the size of each dimension, by name, those that are numbers included.
        layers: how many.
        dtype: of the arrays.
    """

    product: ModuleType
    sizes: dict[str, int]
    layers: int
    dtype: np.dtype[Any]

    def rows(self, shape: Sequence[str]) -> int:
        """Rows of an array with samples side by side."""
        return self.sizes[shape[0]] if shape else 1

    def sized(self, shape: Sequence[str]) -> tuple[int, ...]:
        """The shape of an array that all samples share."""
        return tuple(self.sizes[dimension] for dimension in shape)

    @property
    def states(self) -> list[int]:
        """Rows of each state."""
        return [self.rows(shape) for shape in self.product.STATES.values()]

    @property
    def kept(self) -> list[int]:
        """Rows of each stage that a layer keeps."""
        return [self.rows(shape) for shape in self.product.KEPT.values()]


class Kind(NamedTuple):
    """What a room has to fit.

    Attributes:
        samples: of a call.
        threads: how many blocks run at once.
        memory: what is kept.
        checkpoints: how many states besides the first, where the caller says so.
        budget: bytes that may be kept.
        block: samples in a block; None to choose.
        at_once: whether all rounds go forward before the first goes back.
    """

    samples: int
    threads: int
    memory: str
    checkpoints: int | None = None
    budget: int | None = None
    block: int | None = None
    at_once: bool = False


class Stages:
    """States before some layers and behind the last, and the layers' stages.

    Args:
        states: each `(blocks, layers + 1, size, samples)`.
        kept: each `(blocks, layers, size, samples)`.
    """

    def __init__(self, states: list[Floats], kept: list[Floats]) -> None:
        self.states, self.kept = states, kept
        #: The same block by block, as kernels take them.
        count = len(states[0])
        self.states_of, self.kept_of = by_block(count, states), by_block(count, kept)


def by_block(count: int, arrays: Sequence[Floats]) -> list[tuple[Floats, ...]]:
    """The part of each block of arrays, whose first axis is that of ``count`` blocks."""
    return [tuple(array[block] for array in arrays) for block in range(count)]


@dataclass(frozen=True, slots=True)
class Kept:
    """What a round keeps from the way forward for that back.

    Attributes:
        tail: of the last layers.
        places: the states before some layers, each `(blocks, places, size, samples)`.
    """

    tail: Stages
    places: list[Floats]


class Room:
    """Everything that kernels write to, for the blocks of one round."""

    def __init__(self, frame: Frame, kind: Kind) -> None:
        product, layers = frame.product, frame.layers
        self.frame, self.kind = frame, kind
        size = kind.block or _block_size(frame, kind)
        self.blocks = max(1, min(kind.threads, -(-kind.samples // size)))
        self.samples = max(1, min(size, kind.samples))
        self.rounds = -(-kind.samples // (self.samples * self.blocks))
        blocks, samples = self.blocks, self.samples
        self.plan = recomputation.chosen(
            kind.memory, layers, self._size, kind.checkpoints, kind.budget
        )

        def array(*shape: int) -> Floats:
            return np.zeros(shape, frame.dtype)

        rows, sized = frame.rows, frame.sized
        unit = self.plan.unit
        self.work = Stages(
            [array(blocks, unit + 1, size, samples) for size in frame.states],
            [array(blocks, unit, size, samples) for size in frame.kept],
        )
        self.costates = [array(blocks, 2, size, samples) for size in frame.states]
        self.scratch = [array(blocks, rows(s), samples) for s in product.SCRATCH.values()]
        self.matrices = [array(blocks, *sized(s)) for s in product.MATRICES.values()]
        self.totals = [array(blocks, layers, *sized(s)) for s in product.TOTALS.values()]
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
        #: What kernels take after the stages, block by block: on both ways, and on the way back.
        self.own = by_block(blocks, [*self.scratch, *self.matrices])
        self.systems_of = by_block(blocks, self.systems)
        self.sums_of = by_block(blocks, [*self.costates, *self.totals, *self.systems])
        self.derivatives = by_block(blocks, [self.by_step, self.by_time, self.by_scalar])

    @cached_property
    def one_blas_thread(self) -> bool:
        """Whether products are no work for several threads: blocks have them, or it is little."""
        frame = self.frame
        shapes = (*frame.product.CONTROLS.values(), *frame.product.MATRICES.values())
        largest = max((math.prod(frame.sized(shape)) for shape in shapes), default=0)
        if largest <= layer_kernels.SMALL:
            return False  # BLAS is not called
        return self.blocks > 1 or largest * self.samples < SHARED_PRODUCT

    @cached_property
    def sums(self) -> list[Floats]:
        """Totals over the blocks of all rounds."""
        return [np.zeros(total.shape[1:], total.dtype) for total in self.totals]

    @cached_property
    def kept(self) -> Kept:
        """What the rounds keep, one after the other."""
        return self.laid_out(np.empty(self.length, self.frame.dtype))

    # --- what is kept

    def _size(self) -> Size:
        """Bytes of a layer: of the samples of a round, or of all where all go forward first."""
        frame = self.frame
        entry = self.blocks * self.samples * frame.dtype.itemsize
        times = max(1, self.rounds) if self.kind.at_once else 1
        state = entry * sum(frame.states)
        again = state + entry * sum(frame.kept)
        return Size(times * state, times * again, again)

    @property
    def _shapes(self) -> Iterator[tuple[int, ...]]:
        """The arrays of a round that are kept: states and stages of the tail, then places."""
        tail, blocks = self.plan.tail, self.blocks
        for size in self.frame.states:
            yield blocks, tail + 1 if tail else 0, size, self.samples
        for size in self.frame.kept:
            yield blocks, tail, size, self.samples
        for size in self.frame.states:
            yield blocks, len(self.plan.places), size, self.samples

    @cached_property
    def length(self) -> int:
        """How many numbers a round keeps."""
        return sum(map(math.prod, self._shapes))

    def laid_out(self, numbers: Floats) -> Kept:
        """What a round keeps, as parts of one array.

        Args:
            numbers: as many as :attr:`length`.
        """
        arrays, at = [], 0
        for shape in self._shapes:
            length = math.prod(shape)
            arrays.append(numbers[at : at + length].reshape(shape))
            at += length
        count = len(self.frame.states)
        return Kept(Stages(arrays[:count], arrays[count:-count]), arrays[-count:])


def _block_size(frame: Frame, kind: Kind) -> int:
    """As many samples as vectors and BLAS use well, where their stages do not take too much."""
    layers = frame.layers if kind.memory == "all" else 1
    size = max(1, (sum(frame.kept) + sum(frame.states)) * frame.dtype.itemsize)
    most = min(MOST_BYTES // (size * layers), LAYER_BYTES // size)
    even = -(-kind.samples // max(1, math.ceil(kind.samples / max(64, min(512, most)))))
    return max(1, min(kind.samples, even))
