"""Torch modules on the compiled kernels: the sweep of NumPy arrays as one ``autograd.Function``.

In: a module whose tensors are ordinary ones on the CPU, and its generated kernels.  Out: the last
states and, on the way back, the derivatives.  What the way back needs is among the saved tensors,
so torch frees it, offloads it or has it computed again as it does with its own; arrays that torch
has let go of serve the next call.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hamilforge.runtime.core.torch_transforms import (
    is_of_many,
    is_recorded,
    transforms_are_active,
    without_autocast,
)
from hamilforge.runtime.core.workspace import Rooms
from hamilforge.runtime.networks.network_arguments import dimensions
from hamilforge.runtime.networks.network_pass import Given, Pass
from hamilforge.runtime.networks.room import Floats, Frame, Kept, Kind, Room
from hamilforge.runtime.networks.torch_sweep import by_operations

if TYPE_CHECKING:
    from hamilforge.runtime.networks.torch_network import Network

Tensor = torch.Tensor
DTYPES: dict[torch.dtype, np.dtype[Any]] = {
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


def obstacle(module: Network, tensors: Sequence[Tensor]) -> str:
    """Why the kernels cannot take these tensors; empty if they can.

    Args:
        module: the network.
        tensors: states, steps, controls and whatever else all layers share.
    """
    if module.memory == "autograd":
        return 'with memory = "autograd" torch differentiates the layers'
    if transforms_are_active():
        return "a transform of torch.func is active"
    if is_recorded():
        return "operations are recorded, by torch.compile, torch.jit.trace or a dispatch mode"
    kind = module.t0.dtype
    if kind not in DTYPES:
        return "the kernels take float32 or float64"
    for tensor in tensors:
        plain = type(tensor) is Tensor or type(tensor) is torch.nn.Parameter
        if plain and tensor.is_cpu and tensor.dtype == kind and tensor.layout == torch.strided:
            if tensor.is_neg():
                return "a tensor is a negated view"
        elif not plain:
            return f"a tensor is of the class {type(tensor).__name__}"
        elif not tensor.is_cpu:
            return f"a tensor is on {tensor.device}; the kernels run on the CPU"
        else:
            return f"a tensor is not dense, or not of the type {kind}, as the others are"
    return ""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Lent:
    """What all rounds of a pass keep.

    Attributes:
        numbers: all of it.
        address: where these begin.
        rounds: the parts of it, round by round.
    """

    numbers: Floats
    address: int
    rounds: list[Kept]


class Kernels:
    """The kernels of a module, and the arrays in which they work.

    Args:
        frame: layers, sizes and type.
    """

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.rooms: Rooms[Room] = Rooms()
        self._kept: Rooms[Lent] = Rooms()

    @classmethod
    def of(cls, module: Network, product: ModuleType) -> Kernels:
        """Those of a module as it is now."""
        dtype = DTYPES[module.t0.dtype]
        return cls(Frame(product, dimensions(product, module.sizes), module.layers, dtype))

    def fit(self, module: Network) -> bool:
        """Whether they are still made for a module, whose type of numbers may have changed."""
        return self.frame.dtype == DTYPES[module.t0.dtype]

    def swept(
        self, module: Network, t0: Tensor, h: Tensor, states: Sequence[Tensor],
        controls: Sequence[Tensor],
    ) -> Sequence[Tensor]:  # fmt: skip
        """The last states, with the running cost, if there is one.

        Args:
            module: the network.
            t0: the time at the first layer, `()`.
            h: the steps, `(layers,)`.
            states: each `(batch, size)`.
            controls: each `(layers, …)`.

        Returns:
            Each `(batch, size)`; part of a graph where something requires a gradient.

        Raises:
            IntegrationError: stages could not be solved for.
        """
        given = (t0, h, *states, *controls)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given):
            ends: Sequence[Tensor] = CompiledSweep.apply(
                module, self, t0, h, len(states), *states, *controls, *module.given()
            )
            return ends
        kind = _kind(module, len(states[0]))
        with self.rooms.serving(kind, lambda: Room(self.frame, kind)) as room:
            done = Pass(
                _given(module, t0, h, [*controls, *module.given()]), room,
                [state.detach().numpy() for state in states], order="C",
            )  # fmt: skip
            done.forward()
        return [*map(torch.from_numpy, done.ends)]

    def lent(self, room: Room) -> tuple[Tensor, Lent]:
        """Arrays for what all rounds keep, which come back when no tensor has them any more.

        Args:
            room: in which the rounds take place.

        Returns:
            The numbers as a tensor, and the arrays.
        """

        def make() -> Lent:
            numbers = np.empty(room.rounds * room.length, self.frame.dtype)
            return Lent(numbers, numbers.ctypes.data, _laid_out(room, numbers))

        found = self._kept.take(room.kind, make)
        handle = found.numbers[:]  # an array of its own, that only the tensor knows
        weakref.finalize(handle, self._kept.give, room.kind, found).atexit = False
        return torch.from_numpy(handle), found


class CompiledSweep(torch.autograd.Function):
    """All layers by the kernels; backward is the derived adjoint."""

    @staticmethod
    def forward(
        ctx: Any, module: Network, kernels: Kernels, t0: Tensor, h: Tensor, count: int,
        *arrays: Tensor,
    ) -> Any:  # fmt: skip
        """From states, ``count`` of them, and whole controls to the last states.

        Args:
            ctx: keeps what the way back needs.
            module: the network.
            kernels: of the network.
            t0: the time at the first layer, `()`.
            h: the steps, `(layers,)`.
            count: how many of the arrays are states.
            arrays: the states, each `(batch, size)`, then the controls, each `(layers, …)`, then
                what all layers share.

        Returns:
            A tuple of the last states, each `(batch, size)`, and the running cost, if there is one.

        Raises:
            IntegrationError: stages could not be solved for.
        """
        states = [array.detach().numpy() for array in arrays[:count]]
        given = _given(module, t0, h, arrays[count:])
        kind = _kind(module, len(states[0]))
        with kernels.rooms.serving(kind, lambda: Room(kernels.frame, kind)) as room:
            done = Pass(given, room, states, order="C")
            saved, lent = kernels.lent(room)
            done.out(lent.rounds)
        ctx.module, ctx.kernels, ctx.count, ctx.kind = module, kernels, count, kind
        ctx.lent = weakref.ref(lent)  # what is saved is the tensor
        ctx.save_for_backward(t0, h, *arrays, saved)
        return tuple(map(torch.from_numpy, done.ends))

    @staticmethod
    def backward(ctx: Any, *costates: Any) -> Any:
        """From the derivatives by the last states to those by all inputs that want them."""
        module, kernels, count, kind = ctx.module, ctx.kernels, ctx.count, ctx.kind
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{module.NAME}: the derived adjoint is not differentiated again "
                f"(create_graph=True); {module.INSTEAD}"
            )
        t0, h, *arrays, saved = ctx.saved_tensors
        _, _, by_time, by_steps, _, *wanted = ctx.needs_input_grad
        if transforms_are_active() or is_recorded() or any(map(is_of_many, costates)):
            with without_autocast(h):
                split = count + len(module.CONTROLS)
                parts = arrays[:count], arrays[count:split], arrays[split:]
                slopes = by_operations(module, t0, h, *parts, costates)
            return None, None, *slopes
        given = _given(module, t0, h, arrays[count:])
        with kernels.rooms.serving(kind, lambda: Room(kernels.frame, kind)) as room:
            states = [array.detach().numpy() for array in arrays[:count]]
            done = Pass(given, room, states, steps=by_time or by_steps, order="C")
            lent = ctx.lent()
            own = lent is not None and lent.address == saved.data_ptr()  # else a copy of it
            kept = lent.rounds if own else _laid_out(room, saved.numpy())
            done.back(kept, [costate.resolve_neg().numpy() for costate in costates])
            controls = done.by_controls() if any(wanted[count:]) else {}
        found: list[Tensor | None] = [*map(torch.from_numpy, done.starts[:count])]
        found += [torch.from_numpy(controls[name]) if controls else None for name in given.controls]
        found += [None] * (len(wanted) - len(found))
        return (
            None, None, t0.new_tensor(done.by_time) if by_time else None,
            torch.from_numpy(done.by_step).to(h.dtype) if by_steps else None, None,
            *(one if own else None for one, own in zip(found, wanted, strict=True)),
        )  # fmt: skip


def _kind(module: Network, samples: int) -> Kind:
    threads = torch.get_num_threads()
    return Kind(samples, threads, module.memory, module.checkpoints, module.budget, at_once=True)


def _given(module: Network, t0: Tensor, h: Tensor, arrays: Sequence[Tensor]) -> Given:
    """What a pass depends on: controls, then what all layers share."""
    count = len(module.CONTROLS)
    named = dict(zip(module.CONTROLS, map(_numbers, arrays[:count]), strict=True))
    shared = arrays[count:]
    numbers = len(module.PARAMETERS)
    values: list[Any] = [value.item() for value in shared[:numbers]]
    values += map(_numbers, shared[numbers:])
    return Given(named, values, _numbers(h).astype(np.float64), t0.item())


def _numbers(tensor: Tensor) -> Floats:
    """The entries of a tensor, as kernels take them."""
    array: Floats = tensor.detach().numpy()
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _laid_out(room: Room, numbers: Floats) -> list[Kept]:
    """What each round keeps, as parts of one array."""
    length = room.length
    return [room.laid_out(numbers[k * length : (k + 1) * length]) for k in range(room.rounds)]
