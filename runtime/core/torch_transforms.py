"""Modules inside autocast and inside the transforms of ``torch.func``.

A derived adjoint is one ``autograd.Function``.  Ordinarily it keeps what it likes; inside a
transform all that it keeps has to be among its results, and its way back has to be a function too.
Each module therefore has its function in two forms, over the same sweep.  Members of a vmapped
batch are taken one after the other where they cannot stand side by side.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch._C._functorch import (
    TransformType,
    is_functorch_wrapped_tensor,
    is_legacy_batchedtensor,
)
from torch._functorch.pyfunctorch import retrieve_all_functorch_interpreters
from torch._subclasses.fake_tensor import FakeTensor

Tensor = torch.Tensor


def transforms_are_active() -> bool:
    """Whether this runs inside vmap, grad, vjp, jvp or another transform of ``torch.func``."""
    return bool(torch._C._are_functorch_transforms_active())  # noqa: SLF001


def is_of_many(tensor: Tensor) -> bool:
    """Whether a tensor stands for many in a transform, or in a batch of gradients."""
    return bool(is_functorch_wrapped_tensor(tensor) or is_legacy_batchedtensor(tensor))


def is_recorded() -> bool:
    """Whether operations are recorded or redirected, so that all have to be torch's own."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._is_tracing()  # noqa: SLF001
        or torch._C._len_torch_dispatch_stack()  # noqa: SLF001
    )


def is_autocast(tensor: Tensor) -> bool:
    """Whether autocast is on where a tensor is; some devices know none."""
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def without_autocast(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """A context in which nothing is cast to lower precision on a tensor's device."""
    if is_autocast(tensor):
        return torch.autocast(tensor.device.type, enabled=False)
    return contextlib.nullcontext()


def autocast_to(dtype: torch.dtype, tensors: Sequence[Any]) -> list[Any]:
    """Inside autocast: floating-point tensors in the type of a module, as torch's layers cast."""
    return [
        tensor.to(dtype)
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and is_autocast(tensor)
        else tensor
        for tensor in tensors
    ]


def refuse_without_numbers(name: str, tensors: Sequence[Any]) -> None:
    """Refuse tensors whose entries cannot be read one by one.

    Raises:
        ValueError: a sparse, quantized or meta tensor.
    """
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            continue
        if tensor.layout != torch.strided:
            raise ValueError(
                f"{name} takes dense tensors, and this one has the layout {tensor.layout}; call "
                "to_dense() first"
            )
        if tensor.is_quantized:
            raise ValueError(f"{name} takes no quantized tensors; call dequantize() first")
        fake = isinstance(tensor, FakeTensor) and not torch.compiler.is_compiling()
        if fake or tensor.device.type == "meta":
            raise ValueError(
                f"{name} looks at its numbers, and a tensor on the device meta has none, nor has a "
                "fake one; for shapes alone, the result has that of the input"
            )


def no_second_derivative(name: str, instead: str) -> RuntimeError:
    """The error of a derivative of a derived gradient."""
    return RuntimeError(f"{name}: the derived gradient is not differentiated again; {instead}")


def no_forward_mode(name: str, instead: str) -> RuntimeError:
    """The error of jvp and jacfwd."""
    return RuntimeError(
        f"{name}: the adjoint is derived, which is reverse mode (torch.func.grad, vjp, jacrev); "
        f"forward mode (jvp, jacfwd) is not; {instead}"
    )


def refuse_forward_twice(name: str) -> None:
    """Refuse a derivative forwards of one: torch runs a ``jvp`` of ours without its tangents.

    Args:
        name: of what is differentiated.

    Raises:
        RuntimeError: a transform around this one goes forwards too.
    """
    kinds = [own.key() for own in retrieve_all_functorch_interpreters()]
    if kinds.count(TransformType.Jvp) > 1:  # this one is among them
        raise RuntimeError(
            f"{name}: a second derivative forwards would be 0; take one of them backwards, as in "
            "torch.func.jacfwd(torch.func.jacrev(f))"
        )


def one_by_one(
    function: Any, info: Any, axes: Sequence[int | None], arguments: Sequence[Any]
) -> tuple[Any, Any]:
    """A rule for vmap: the function of each member, results stacked.

    Args:
        function: an ``autograd.Function``.
        info: what vmap says; it has the size of the batch.
        axes: where each argument has its axis of the batch; None where it has none.
        arguments: what the function takes.

    Returns:
        The results, and their axes.
    """
    members = []
    for k in range(info.batch_size):
        own = [
            argument if axis is None else argument.select(axis, k)
            for argument, axis in zip(arguments, axes, strict=True)
        ]
        results = function.apply(*own)
        members.append(results if isinstance(results, tuple) else (results,))
    stacked = tuple(
        None if parts[0] is None else torch.stack(parts) for parts in zip(*members, strict=True)
    )
    return stacked, tuple(None if result is None else 0 for result in stacked)


class TransformedBack(torch.autograd.Function):
    """The way back inside transforms; it has no derivative of its own.

    A subclass has ``forward(module, ...)``, of a module with NAME and INSTEAD, what to use instead.
    """

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep what errors say.

        Args:
            ctx: what keeps it.
            inputs: the arguments of ``forward``, the module first.
            output: its result; not kept.
        """
        ctx.name, ctx.instead = inputs[0].NAME, inputs[0].INSTEAD

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Refuse a second derivative."""
        raise no_second_derivative(ctx.name, ctx.instead)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse a second derivative."""
        raise no_second_derivative(ctx.name, ctx.instead)

    @classmethod
    def vmap(cls, info: Any, axes: Any, *arguments: Any) -> Any:
        """Members one after the other."""
        return one_by_one(cls, info, axes, arguments)


def joined(tensor: Tensor, axis: int | None, count: int) -> Tensor:
    """The members of a batch as rows of one: `(count, rows, …)` as `(count rows, …)`.

    Args:
        tensor: one of all members, or of each.
        axis: where the axis of the batch is; None if there is none.
        count: how many members there are.

    Returns:
        The rows of all members, one after the other.
    """
    whole = tensor.expand(count, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
    return whole.reshape(-1, *whole.shape[2:])
