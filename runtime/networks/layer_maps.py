"""The layers of a network one by one: how each carries points, its Jacobian there, and its inverse.

In: a network on NumPy arrays, and states.  Out: determinants, and the states from which given ones
come.  A layer is the map y -> y + h phi(y); its Jacobian I + h D is that of the derived adjoint, a
row for each unit costate.  Where the determinant is positive the layer is invertible near the
point and keeps orientation, as the flow of a field does; a step that is too coarse folds.  Going
back with -h would give another map: the inverse is found by Newton's method.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.errors import IntegrationError

if TYPE_CHECKING:
    from hamilforge.runtime.networks.network import Network

Floats = NDArray[Any]
#: Of Newton's method, for one layer.
ITERATIONS, HALVINGS = 60, 30
#: What may be left, in units of rounding.
ROOM = 64.0
#: In so many parts steps grow where it is not plain which state leads to a point.
PARTS = 16


class Passage(NamedTuple):
    """What a layer does at some points.

    Attributes:
        number: of the layer, from 0.
        after: the states behind it, side by side, `(samples, width)`.
        jacobians: of the states behind it by those before it, `(samples, width, width)`.
    """

    number: int
    after: Floats
    jacobians: Floats


def passages(network: Network, states: Sequence[Floats]) -> Iterator[Passage]:
    """All layers, the first one first.

    Args:
        network: whose layers.
        states: each `(samples, size)`.

    Yields:
        What each does.
    """
    alone, widths = network.alone(), [state.shape[1] for state in states]
    here = np.concatenate([*states], axis=1)
    for number in range(network.layers):
        network.set_alone(alone, number)
        after, jacobians = _layer(alone, here, widths)
        yield Passage(number, after, jacobians)
        here = after


def _layer(alone: Network, states: Floats, widths: Sequence[int]) -> tuple[Floats, Floats]:
    """The states behind a layer, and its Jacobian at each."""
    samples, width = states.shape
    places = np.cumsum(widths)[:-1]
    repeated = np.repeat(states, width, axis=0)
    units = np.tile(np.eye(width, dtype=states.dtype), (samples, 1))
    found = alone.gradient(
        *np.split(repeated, places, axis=1),
        costates=tuple(np.split(units, places, axis=1)),
        running=0.0,
        steps=False,
    )
    after = np.concatenate([*found.ends], axis=1)[::width]
    rows = np.concatenate([*found.states], axis=1)
    return after, rows.reshape(samples, width, width)


def determinants(network: Network, states: Sequence[Floats]) -> Floats:
    """det(I + h D) at every layer and sample, `(layers, samples)`."""
    return np.array([np.linalg.det(passage.jacobians) for passage in passages(network, states)])


def inverse(network: Network, ends: Sequence[Floats]) -> tuple[Floats, ...]:
    """The first states from which the layers lead to given last ones.

    Args:
        network: whose layers.
        ends: each `(samples, size)`.

    Returns:
        The first states, each `(samples, size)`.

    Raises:
        IntegrationError: a layer folds at a point, or no state was found.
    """
    alone, widths = network.alone(), [end.shape[1] for end in ends]
    here = np.concatenate([*ends], axis=1)
    for number in range(network.layers - 1, -1, -1):
        network.set_alone(alone, number)
        here = _before(alone, here, widths, number)
    here = _corrected(network, here, np.concatenate([*ends], axis=1), widths)
    return tuple(np.split(here, np.cumsum(widths)[:-1], axis=1))


def _corrected(network: Network, here: Floats, target: Floats, widths: Sequence[int]) -> Floats:
    """A step of Newton's method for all layers at once, where it brings their ends nearer.

    What was lost layer by layer has grown on the way back.
    """
    places = np.cumsum(widths)[:-1]
    slopes = np.broadcast_to(np.eye(here.shape[1]), (*here.shape, here.shape[1]))
    after = here
    for passage in passages(network, np.split(here, places, axis=1)):
        slopes, after = passage.jacobians @ slopes, passage.after
    miss = after - target
    if not np.isfinite(slopes).all() or (np.linalg.det(slopes) == 0).any():
        return here
    there = here - np.linalg.solve(slopes, miss[..., None])[..., 0]
    if not np.isfinite(there).all():
        return here
    ends = network(*np.split(there, places, axis=1))
    ends = ends[0] if network.product.RUNNING else ends
    ends = np.concatenate([*ends], axis=1) if len(widths) > 1 else ends
    nearer = np.linalg.norm(ends - target, axis=1) < np.linalg.norm(miss, axis=1)
    return np.where(nearer[:, None], there, here)


def _before(alone: Network, target: Floats, widths: Sequence[int], number: int) -> Floats:
    """The states before a layer.

    By Newton's method from an Euler step back.  Several states may lead to a point; that of a flow
    is the one to which the point goes as steps grow from 0, where a layer is the identity, without
    a fold.  Where the method ends in a fold or nowhere, that way is taken.
    """
    name = alone.product.NAME
    after, _ = _layer(alone, target, widths)
    back = 2 * target - after
    back = np.where(np.isfinite(back).all(axis=1, keepdims=True), back, target)
    here, miss, slope = _solved(alone, target, back, widths)
    room = ROOM * _rounding(target)
    lost = ~((miss <= room) & (slope > 0))
    if lost.any():
        whole, here[lost] = alone.h[0], target[lost]
        for part in range(1, PARTS + 1):
            alone.h[0] = whole * part / PARTS
            here[lost], miss[lost], slope[lost] = _solved(alone, target[lost], here[lost], widths)
        alone.h[0] = whole
    if not (miss <= room).all():
        worst = int(np.argmax(miss / room))
        raise IntegrationError(
            f"{name}: layer {number} could not be inverted at sample {worst}: what is left is "
            f"{miss[worst]:.1e}; its determinants are in network.determinants(...)",
            0.0, number, float(miss[worst]),
        )  # fmt: skip
    folded = np.flatnonzero(~(slope > 0))
    if folded.size:
        raise IntegrationError(
            f"{name}: layer {number} folds at sample {int(folded[0])}: its determinant is not "
            "positive, so the inverse is not one; take a smaller step",
            0.0, number, 0.0,
        )  # fmt: skip
    return here


def _solved(
    alone: Network, target: Floats, here: Floats, widths: Sequence[int]
) -> tuple[Floats, Floats, Floats]:
    """Newton's method with steps that are halved where they fail.

    Args:
        alone: a layer.
        target: where it is to lead, `(samples, width)`.
        here: where the search begins.
        widths: of the states.

    Returns:
        Where it ends; how far from the target that leads; det(I + h D) there.
    """
    room = _rounding(target)
    here = here.copy()
    after, jacobians = _layer(alone, here, widths)
    size = np.linalg.norm(after - target, axis=1)
    for _ in range(ITERATIONS):
        todo = size > room
        if not todo.any() or (np.linalg.det(jacobians[todo]) == 0).any():
            break
        step = np.zeros_like(here)
        miss = (after - target)[todo, :, None]
        step[todo] = np.linalg.solve(jacobians[todo], miss)[..., 0]
        for _ in range(HALVINGS):
            there = here - step
            new_after, new_jacobians = _layer(alone, there, widths)
            new_size = np.linalg.norm(new_after - target, axis=1)
            worse = todo & ~(new_size < size)
            if not worse.any():
                break
            step[worse] /= 2
        better = todo & ~worse
        if not better.any():
            break
        here[better], after[better] = there[better], new_after[better]
        jacobians[better], size[better] = new_jacobians[better], new_size[better]
    return here, size, np.linalg.det(jacobians)


def _rounding(target: Floats) -> Floats:
    """What rounding leaves of a miss, for each sample."""
    rounding: Floats = 4 * np.finfo(target.dtype).eps * (1 + abs(target).max(axis=1, initial=0.0))
    return rounding
