"""What a step takes: parameters, gradients and buffers, looked at before anything is changed.

In: the tensors of a step, and how a parameter is called.  Out: nothing, or an error that names the
parameter and says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from hamilforge.runtime.core.overlaps import is_wrapped, overlap
from hamilforge.runtime.core.shards import is_flat_shard

Tensors = list[torch.Tensor]
Groups = Sequence[dict[str, Any]]
Naming = Callable[[torch.Tensor], str]
Shapes = Callable[[str, torch.Tensor], Sequence[int]]

_HALF = (torch.bfloat16, torch.float16)


def parameter_name(groups: Groups, wanted: torch.Tensor) -> str:
    """A parameter as the user knows it: by its name if it has one, else by number and group."""
    for number, group in enumerate(groups):
        for index, param in enumerate(group["params"]):
            if param is wanted:
                names = group.get("param_names")
                return (
                    f"parameter '{names[index]}'"
                    if names
                    else f"parameter {index} of group {number}"
                )
    return "a parameter"


def refuse_tensors(
    params: Tensors,
    grads: Tensors,
    kept: Mapping[str, Sequence[torch.Tensor | None]],
    name: Naming,
    shape: Shapes,
) -> None:
    """Refuse tensors that no form of the step takes.

    Args:
        params: the parameters.
        grads: their gradients.
        kept: for each array of the state those of all parameters, None where there is none yet.
        name: how a parameter is called.
        shape: of an array of the state, from its name and the parameter.

    Raises:
        RuntimeError: sparse, complex or whole numbers, tensors inside ``torch.func.vmap``, or
            shapes that differ.
    """
    for param, grad, *arrays in zip(params, grads, *kept.values(), strict=True):
        if grad.layout != torch.strided or param.layout != torch.strided:
            raise RuntimeError(f"{name(param)}: sparse gradients are not supported; use dense ones")
        if grad.is_complex() or param.is_complex():
            raise RuntimeError(
                f"{name(param)}: complex parameters are not supported; optimize their real and "
                "imaginary parts"
            )
        if not param.is_floating_point():
            raise RuntimeError(
                f"{name(param)} is of the type {param.dtype}, in which a step would be cut to "
                "whole numbers; floating-point parameters were expected"
            )
        if param.dtype.itemsize == 1:
            raise RuntimeError(
                f"{name(param)} is of the type {param.dtype}, in which torch has no arithmetic; "
                "keep such numbers beside parameters of a wider type"
            )
        if _is_batched(param) or _is_batched(grad):
            raise RuntimeError(
                f"{name(param)} is batched by torch.func.vmap: a step changes parameters in place "
                "and keeps state for them; call step() outside of vmap, or stack the models in "
                "parameters with an axis of their own"
            )
        present = {own: array for own, array in zip(kept, arrays, strict=True) if array is not None}
        shapes = [tuple(tensor.shape) for tensor in (param, grad, *present.values())]
        wanted = [tuple(shape(own, param)) for own in present]
        if shapes != [shapes[0], shapes[0], *wanted]:
            raise RuntimeError(
                f"{name(param)}: the shapes of a parameter, its gradient and its state differ: "
                f"{shapes}"
            )


def refuse_leaves(groups: Groups, name: Naming) -> None:
    """Refuse parameters into which no step can be written that keeps its graph.

    Args:
        groups: of parameters.
        name: how a parameter is called.

    Raises:
        RuntimeError: a parameter of a differentiable step is a leaf that asks for a gradient.
    """
    for group in groups:
        for param in group["params"] if group["differentiable"] else ():
            if param.grad is not None and param.is_leaf and param.requires_grad:
                raise RuntimeError(
                    f"{name(param)}: a differentiable step writes into a parameter what depends on "
                    "other tensors, and a leaf that requires a gradient cannot keep that; give the "
                    "optimizer a tensor made of it, such as parameter.clone()"
                )


def refuse_sums(params: Tensors, domains: Sequence[int], name: Naming) -> None:
    """Refuse parameters over which no sum can run that is right.

    Args:
        params: the parameters.
        domains: the number of the sum that each takes part in.
        name: how a parameter is called.

    Raises:
        RuntimeError: a shard of FSDP in its first form, or a member of half precision among others.
    """
    precise: dict[int, torch.dtype] = {}
    for param, domain in zip(params, domains, strict=True):
        if is_flat_shard(param):
            raise RuntimeError(
                f"{name(param)} is a shard of FSDP, and sums would run over this process's part "
                "alone; use FSDP2 (torch.distributed.fsdp.fully_shard), whose sums are those of "
                "all processes"
            )
        if param.dtype not in _HALF:
            precise.setdefault(domain, param.dtype)
    for param, domain in zip(params, domains, strict=True):
        if param.dtype in _HALF and domain in precise:
            raise RuntimeError(
                f"{name(param)} is of the type {param.dtype} among parameters of the type "
                f"{precise[domain]} in one sum: steps that fit these are lost in its rounding; "
                'give it their type, or scope="tensor" to the optimizer, for sums over each tensor'
            )


def refuse_overlaps(params: Tensors, grads: Tensors, buffers: Tensors, name: Naming) -> None:
    """Refuse memory that a step would write twice, or write before it has read it.

    Args:
        params: the parameters.
        grads: their gradients.
        buffers: those buffers that there are.
        name: how a parameter is called.

    Raises:
        RuntimeError: two tensors share entries.
    """
    pair = overlap([*params, *buffers], grads)
    if pair is None:
        return
    count, written = len(params), len(params) + len(buffers)

    def what(number: int) -> str:
        if number < count:
            return name(params[number])
        if number < written:
            return "a buffer of the state"
        return f"the gradient of {name(params[number - written])}"

    first, second = map(what, pair)
    share = "has entries that share memory" if first == second else f"shares memory with {second}"
    raise RuntimeError(
        f"{first} {share}, so that one step would change it twice; clone one of them, or give the "
        "optimizer one parameter for both"
    )


def _is_batched(tensor: torch.Tensor) -> bool:
    return is_wrapped(tensor) and bool(
        torch._C._functorch.is_batchedtensor(tensor)  # noqa: SLF001
    )
