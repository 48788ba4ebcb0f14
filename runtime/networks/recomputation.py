"""Which stages of the layers the way forward keeps, and which the way back computes again.

In: the number of layers, the bytes of a state and of the stages of a layer, and a budget.  Out: a
:class:`Plan`.  The last layers keep their stages; before them a state is kept at the beginning of
each unit of some layers, and the way back computes a unit's stages again, all at once: one more way
forward through those layers and no more.  With c units of m layers, and t layers at the end,

    c state + (m + t) stages

bytes are needed at once; m is where this is least, about ``sqrt(c m state / stages)``, and t is the
largest that fits.  Where not even t = 0 fits, states are kept before some layers alone and the
others are computed from them, where that takes least (:mod:`checkpoints`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from hamilforge.runtime.networks import checkpoints


class Plan(NamedTuple):
    """What is kept of a number of layers.

    Attributes:
        layers: how many there are.
        tail: how many of the last ones keep their stages.
        unit: layers before these whose stages are computed again together.
        slots: how many states are kept before units, besides the first one.
    """

    layers: int
    tail: int
    unit: int
    slots: int

    @property
    def head(self) -> int:
        """How many layers are computed again."""
        return self.layers - self.tail

    @property
    def units(self) -> int:
        """How many units there are."""
        return -(-self.head // self.unit)

    @property
    def places(self) -> list[int]:
        """The units before which the way forward keeps a state."""
        return checkpoints.placed(self.units, self.slots) if self.head else []

    def first(self, unit: int) -> int:
        """The first layer of a unit, or the first of the tail."""
        return min(unit * self.unit, self.head)


class Size(NamedTuple):
    """Bytes of one layer.

    Attributes:
        state: of a state, of all samples.
        stages: of the stages with the state before them, of all samples.
        again: the same of the samples that are taken back at once.
    """

    state: int
    stages: int
    again: int

    @property
    def least(self) -> int:
        """The fewest bytes with which there is a plan: the first state, one layer, its end."""
        return self.again + 2 * self.state


def chosen(
    memory: str,
    layers: int,
    size: Callable[[], Size],
    slots: int | None,
    budget: int | None,
) -> Plan:
    """The plan of a choice of memory.

    Args:
        memory: ``all``, ``states``, ``checkpoint`` or ``reversible``, which keeps the last state.
        layers: how many.
        size: of a layer; asked for if it matters.
        slots: with ``checkpoint``: how many states are kept besides the first, if it is said.
        budget: with ``checkpoint``: bytes at most, if it is said.

    Returns:
        The plan; with ``checkpoint``, neither slots nor budget said, that of least memory in which
        each layer is computed again once.

    Raises:
        ValueError: the budget is too small for a layer and the first state.
    """
    if memory == "all":
        return _whole(layers)
    if memory != "checkpoint":
        return _by_layer(layers, layers if memory == "states" else 0)
    if slots is not None:
        return _by_layer(layers, slots)
    own = size()
    plan = planned(layers, own, budget)
    if plan is None:
        raise ValueError(f"budget = {budget}: for these samples {own.least} bytes are the least")
    return plan


def _whole(layers: int) -> Plan:
    """Every stage is kept."""
    return Plan(layers, layers, 1, 0)


def _by_layer(layers: int, slots: int) -> Plan:
    """A number of states besides the first, and each layer computed again by itself."""
    return Plan(layers, 0, 1, slots)


@lru_cache(maxsize=64)
def planned(layers: int, size: Size, budget: int | None) -> Plan | None:
    """The plan that computes least again within a budget.

    Args:
        layers: how many.
        size: of a layer.
        budget: bytes at most; None for the least with which each layer is computed again once.

    Returns:
        The plan; None where a layer and the first state do not fit.
    """
    if budget is None:
        return _with_tail(layers, 0, size)
    if layers * size.stages + size.least <= budget:
        return _whole(layers)
    if _bytes(layers, 0, size) <= budget:
        tails = range(layers)  # a longer one takes more
        tail = bisect_right(tails, budget, key=lambda t: _bytes(layers, t, size)) - 1
        return _with_tail(layers, tail, size)
    # besides those that the way forward keeps, as many again on the way back
    slots = (budget - size.least) // (2 * size.state)
    return _by_layer(layers, slots) if slots >= 0 else None


def _with_tail(layers: int, tail: int, size: Size) -> Plan:
    """The plan of a tail that takes the least memory."""
    head = layers - tail
    unit = min(range(1, head + 1), key=lambda m: -(-head // m) * size.state + m * size.again)
    return Plan(layers, tail, unit, -(-head // unit) - 1)


def _bytes(layers: int, tail: int, size: Size) -> int:
    """What a tail takes with all before it, where each layer there is computed again once."""
    plan = _with_tail(layers, tail, size)
    ends = 2 if tail else 1
    return (plan.units + ends) * size.state + tail * size.stages + plan.unit * size.again
