"""What the form over all tensors at once calls, beside torch's ``_foreach_`` operations.

In: lists of plain tensors without a graph, and scalars: numbers, or what follows from sums.  Out:
lists, or sums in float64.  No float64 copy of a tensor is made on the CPU, where sums run over
pieces; and no step waits for a device other than the CPU.
"""

# ruff: noqa: SLF001 (torch's operations over lists begin with an underscore)

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from hamilforge.runtime.optimizers.torch_sums import Factor, squares_of

Tensor = torch.Tensor
Tensors = list[Tensor]

#: Entries of a piece of a sum: its float64 copy is small, and torch's threads share it.
PIECE = 131072


def scaled(tensors: Tensors, scalar: float) -> Tensors:
    """Tensors times a number: themselves where it is 1."""
    return tensors if scalar == 1 else [*torch._foreach_mul(tensors, scalar)]


def scale_(tensors: Tensors, scalar: float) -> None:
    """Multiply tensors by a number in place, if it is not 1."""
    if scalar != 1:
        torch._foreach_mul_(tensors, scalar)


def multiple(tensors: Tensors, factor: Any) -> Tensors:
    """Tensors times a factor that follows from sums, as new tensors.

    Args:
        tensors: any number of them.
        factor: a number, a tensor of no dimension, or a :class:`Factor`.
    """
    if isinstance(factor, Factor):
        products = multiple(tensors, factor.number)
        return multiply_(products, factor.power)
    return [*torch._foreach_mul(tensors, _operand(factor, tensors))]


def multiply_(tensors: Tensors, factor: Any) -> Tensors:
    """Multiply tensors in place by a factor that follows from sums; returns them."""
    parts = (factor.number, factor.power) if isinstance(factor, Factor) else (factor,)
    for part in parts:
        torch._foreach_mul_(tensors, _operand(part, tensors))
    return tensors


def add_multiple_(tensors: Tensors, others: Tensors, factor: Any) -> None:
    """``tensors += factor * others``, in place.

    Args:
        tensors: any number of them, which are changed.
        others: as many, of the same shapes.
        factor: follows from sums: a number, a tensor of no dimension, or a :class:`Factor`.
    """
    operand = factor if isinstance(factor, Factor) else _operand(factor, others)
    if isinstance(operand, Factor | Tensor):
        torch._foreach_add_(tensors, multiple(others, operand))
    else:
        torch._foreach_add_(tensors, others, alpha=operand)


def shift_(tensors: Tensors, scalar: Any) -> None:
    """Add a scalar that follows from sums, in place."""
    torch._foreach_add_(tensors, _operand(scalar, tensors))


def shifted(tensors: Tensors, scalar: Any) -> Tensors:
    """Tensors plus a scalar that follows from sums, as new tensors."""
    return [*torch._foreach_add(tensors, _operand(scalar, tensors))]


def _operand(scalar: Any, tensors: Tensors) -> Any:
    """A scalar as torch's operations over lists are fastest with: on the CPU it is a number."""
    if not isinstance(scalar, Tensor):
        return scalar
    if scalar.device.type == "cpu":
        return float(scalar)
    kinds = {tensor.dtype for tensor in tensors}
    return scalar.to(dtype=kinds.pop()) if len(kinds) == 1 else scalar


def squares_over(tensors: Tensors) -> Any:
    """The sum of the squares of all entries of all tensors: a float64 tensor, or a wide scalar."""
    return squares_of([tensor for tensor in tensors if tensor.numel()], _squares)


def _squares(tensors: Tensors, scale: Any = None) -> Tensor:
    """The sum of the squares of scaled entries, in float64."""
    if scale is None and _on_devices(tensors):
        norms = torch.stack([*torch._foreach_norm(tensors, 2.0, dtype=torch.float64)])
        return torch.dot(norms, norms)

    def squared(entries: Tensor) -> Tensor:
        entries = entries if scale is None else scale * entries
        return torch.dot(entries, entries)

    return _over_pieces(squared, tensors)


def sum_over(entries: Callable[..., Tensor], *lists: Tensors) -> Tensor:
    """The sum of a function of entries, over all entries of all tensors, in float64.

    Args:
        entries: from one float64 tensor of each list to their entries' summands.
        lists: of tensors; those at one place have one shape.
    """
    return _over_pieces(lambda *pieces: entries(*pieces).sum(), *lists)


def _over_pieces(function: Callable[..., Tensor], *lists: Tensors) -> Tensor:
    """What a function of float64 pieces adds up to."""
    sums = [function(*pieces) for pieces in _pieces(*lists)]
    return _total(sums) if sums else torch.zeros((), dtype=torch.float64)


def _total(sums: Tensors) -> Tensor:
    first = sums[0].device
    return torch.stack([value.to(first) for value in sums]).sum()


def _on_devices(tensors: Tensors) -> bool:
    return bool(tensors) and all(tensor.device.type != "cpu" for tensor in tensors)


def _pieces(*lists: Tensors) -> Iterator[Tensors]:
    """Flat float64 pieces of all lists: of large tensors parts, of small ones several together.

    A piece is overwritten by the next.  Tensors that are not on the CPU are whole pieces.
    """
    room = [torch.empty(0, dtype=torch.float64) for _ in lists]
    batch: list[tuple[Tensor, ...]] = []
    size = 0
    for members in zip(*lists, strict=True):
        if members[0].device.type != "cpu":
            yield [member.double().flatten() for member in members]
            continue
        flat = tuple(member.reshape(-1) for member in members)
        length = flat[0].numel()
        if batch and size + length > PIECE:
            yield _in_room(room, _together(batch))
            batch, size = [], 0
        if length > PIECE:
            for parts in zip(*(member.split(PIECE) for member in flat), strict=True):
                yield _in_room(room, parts)
        else:
            batch.append(flat)
            size += length
    if batch:
        yield _in_room(room, _together(batch))


def _together(batch: list[tuple[Tensor, ...]]) -> Iterable[Tensor]:
    """Small tensors one after the other, for each list."""
    return batch[0] if len(batch) == 1 else map(torch.cat, zip(*batch, strict=True))


def _in_room(room: Tensors, entries: Iterable[Tensor]) -> Tensors:
    """Entries as float64, in memory that is used again."""
    pieces = []
    for number, values in enumerate(entries):
        if values.dtype == torch.float64:
            pieces.append(values)
            continue
        if room[number].numel() < values.numel():
            room[number] = torch.empty(values.numel(), dtype=torch.float64)
        pieces.append(room[number][: values.numel()].copy_(values))
    return pieces
