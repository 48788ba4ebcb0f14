"""Tensors that share memory, where a step would write an entry for two of them.

In: tensors that a step writes, and tensors that it reads.  Out: two of them with an entry in
common, if there are any.  Intervals of addresses are swept in their order; where two overlap and
one has gaps, as columns of a matrix do, NumPy decides.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

Tensors = Sequence[torch.Tensor]


def is_wrapped(tensor: torch.Tensor) -> bool:
    """Whether a transform of ``torch.func`` wraps the tensor, which then has no storage."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))  # noqa: SLF001


def overlap(written: Tensors, read: Tensors) -> tuple[int, int] | None:
    """Two tensors with an entry in common, at least one of them written.

    Args:
        written: tensors that a step changes.
        read: tensors that it reads only; they may share entries with each other.

    Returns:
        Their numbers in ``[*written, *read]``, the same twice for one that overlaps itself; None
        if there are none.
    """
    tensors = [*written, *read]
    spans = sorted(filter(None, map(_span, tensors, range(len(tensors)))))
    open_ends: list[tuple[int, int]] = []
    for start, end, number in spans:
        while open_ends and open_ends[0][0] <= start:
            heapq.heappop(open_ends)
        for _, open_number in open_ends:
            first, second = sorted((number, open_number))
            if first < len(written) and _share(tensors[first], tensors[second]):
                return first, second
        heapq.heappush(open_ends, (end, number))
    for number, tensor in enumerate(written):
        if _has_span(tensor) and _overlaps_itself(tensor):
            return number, number
    return None


def _overlaps_itself(tensor: torch.Tensor) -> bool:
    return bool(torch._debug_has_internal_overlap(tensor) == 1)  # noqa: SLF001


def _has_span(tensor: torch.Tensor) -> bool:
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout == torch.strided
    return plain and tensor.device.type in ("cpu", "cuda") and not is_wrapped(tensor)


def _span(tensor: torch.Tensor, number: int) -> tuple[int, int, int] | None:
    """First and last address, one beyond, and the tensor's number."""
    if not _has_span(tensor) or not tensor.numel():
        return None
    start = tensor.data_ptr()
    if not start:
        return None
    reach = sum((n - 1) * k for n, k in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (reach + 1) * tensor.element_size(), number


def _share(first: torch.Tensor, second: torch.Tensor) -> bool:
    if first.device != second.device:
        return False
    if first.is_contiguous() and second.is_contiguous():
        return True
    return np.shares_memory(_addressed(first), _addressed(second))


class _Addressed:
    """The place of a tensor's entries as NumPy describes it; nothing is read there."""

    def __init__(self, tensor: torch.Tensor) -> None:
        size = tensor.element_size()
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "data": (tensor.data_ptr(), True),
            "shape": tuple(tensor.shape),
            "strides": tuple(stride * size for stride in tensor.stride()),
            "typestr": f"|V{size}",
        }


def _addressed(tensor: torch.Tensor) -> Any:
    return np.asarray(_Addressed(tensor))
