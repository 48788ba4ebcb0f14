"""Lists of matrices through a function of stacks, which takes those of equal shape at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch

Tensors = list[torch.Tensor]
Stage = Callable[..., tuple[Tensors, ...]]


#: From so many multiplications of a product of a matrix with its transpose on, it is a large one.
LARGE = 1 << 21


#: From so many on it is quicker by itself than among others: 1024 x 128 is, 128 x 128 is not.
APART = 1 << 23


def is_large(shape: Sequence[int]) -> bool:
    """Whether the products of a matrix are left to BLAS, one matrix at a time.

    Args:
        shape: of a parameter, leading axes included.
    """
    if len(shape) < 2:
        return False
    rows, columns = shape[-2:]
    return rows * columns * min(rows, columns) >= LARGE


def stacked(
    step: Callable[..., tuple[torch.Tensor, ...]],
    columns: Sequence[bool],
    of_vectors: Callable[..., tuple[torch.Tensor, ...]] | None,
) -> Stage:
    """The form over lists of a step of stacked matrices.

    Args:
        step: takes arrays `(..., n, p)`, then scalars; returns what point and states become.
        columns: for each array that it takes, whether it is a column where parameters are vectors.
        of_vectors: the same of parameters with one axis, as columns; None if there are none.  Where
            it is the step itself, parameters are vectors, and axes in front are many of them.

    Returns:
        A function of as many lists of tensors, and of the scalars.
    """

    def stage(*arguments: Any) -> tuple[Tensors, ...]:
        lists, scalars = arguments[: len(columns)], arguments[len(columns) :]
        results: dict[int, dict[int, torch.Tensor]] = {}
        for members in _together(lists[0]):
            vectors = of_vectors is step or lists[0][members[0]].dim() < 2
            parts = [
                _stack([tensors[k] for k in members], vectors and column)
                for tensors, column in zip(lists, columns, strict=True)
            ]
            called = of_vectors if vectors and of_vectors else step
            if _is_quicker_apart(parts[0]):
                called = _one_by_one(called)
            for place, new in enumerate(called(*parts, *scalars)):
                new = new[..., 0] if vectors and columns[place] else new
                split = new if len(members) > 1 else (new,)
                results.setdefault(place, {}).update(zip(members, split, strict=True))
        return tuple([own[k] for k in range(len(own))] for own in results.values())

    stage.__signature__ = inspect.signature(step)  # type: ignore[attr-defined]
    stage.__name__, stage.__doc__ = "update", step.__doc__
    return stage


def _is_quicker_apart(many: torch.Tensor) -> bool:
    """Whether steps of each matrix are quicker than one of all: measured on the CPU."""
    if many.dim() < 3 or many.numel() == 0 or many.device.type != "cpu":
        return False
    rows, columns = many.shape[-2:]
    return rows * columns * min(rows, columns) >= APART


def _one_by_one(
    step: Callable[..., tuple[torch.Tensor, ...]],
) -> Callable[..., tuple[torch.Tensor, ...]]:
    """A step of many matrices as steps of each."""

    def steps(*arguments: Any) -> tuple[torch.Tensor, ...]:
        arrays = [own for own in arguments if isinstance(own, torch.Tensor) and own.dim() > 2]
        ahead = arrays[0].shape[:-2]
        flat = zip(*(own.reshape(-1, *own.shape[-2:]) for own in arrays), strict=True)
        scalars = arguments[len(arrays) :]
        columns = zip(*(step(*own, *scalars) for own in flat), strict=True)
        return tuple(torch.stack(own).reshape(*ahead, *own[0].shape) for own in columns)

    return steps


def in_place(stage: Stage) -> Callable[..., None]:
    """The form in place of a function over lists.

    Args:
        stage: returns what point and states become.
    """

    def stage_(*arguments: Any) -> None:
        results = stage(*arguments)
        for old, new in zip(arguments, results, strict=False):
            changed = [k for k, tensor in enumerate(new) if tensor is not old[k]]
            torch._foreach_copy_([old[k] for k in changed], [new[k] for k in changed])

    return stage_


def _together(tensors: Tensors) -> list[list[int]]:
    """The numbers of tensors that make a stack; large matrices are not copied into one."""
    return [
        part
        for members in alike(tensors)
        for part in ([[k] for k in members] if is_large(tensors[members[0]].shape) else [members])
    ]


def alike(tensors: Tensors) -> list[list[int]]:
    """The numbers of tensors of equal shape, type and device, together."""
    groups: dict[Any, list[int]] = {}
    for k, tensor in enumerate(tensors):
        groups.setdefault((tensor.shape, tensor.dtype, tensor.device), []).append(k)
    return list(groups.values())


def _stack(tensors: Tensors, column: bool) -> torch.Tensor:
    whole = torch.stack(tensors) if len(tensors) > 1 else tensors[0]
    return whole[..., None] if column else whole
