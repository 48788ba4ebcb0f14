"""The way through the layers of a torch module, forward and back: one ``autograd.Function``.

In: a module with a layer and its adjoint, states and controls.  Out: the last states, and on the
way back the derivatives, from what the module's choice of memory has kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from hamilforge.runtime.core.torch_transforms import (
    TransformedBack,
    joined,
    no_forward_mode,
    one_by_one,
    without_autocast,
)
from hamilforge.runtime.networks import checkpoints, recomputation
from hamilforge.runtime.networks.network_arguments import check_return
from hamilforge.runtime.networks.recomputation import Plan, Size

if TYPE_CHECKING:
    from hamilforge.runtime.networks.torch_network import Network

Tensor = torch.Tensor
Arrays = tuple[Tensor, ...]


class Sweep(torch.autograd.Function):
    """All layers; backward is the derived adjoint of each, in reverse."""

    @staticmethod
    def forward(
        ctx: Any, module: Network, t0: Tensor, h: Tensor, count: int, *arrays: Tensor
    ) -> Any:
        """From states, ``count`` of them, and the controls of each layer to the last states.

        Args:
            ctx: keeps what the way back needs.
            module: the network.
            t0: the time at the first layer, `()`.
            h: the steps, `(layers,)`.
            count: how many of the arrays are states.
            arrays: the states, each `(batch, size)`, then the controls of all layers, each
                control's layers one after the other, then what all layers share.

        Returns:
            A tuple of the last states, each `(batch, size)`.

        Raises:
            IntegrationError: stages could not be solved for.
        """
        states, saved, plan = _forward(module, t0, h, count, arrays, any(ctx.needs_input_grad))
        # the module itself may be another one by then
        ctx.module, ctx.memory, ctx.count, ctx.plan = module, module.memory, count, plan
        ctx.save_for_backward(t0, h, *arrays[count:], *saved)
        return states

    @staticmethod
    def backward(ctx: Any, *costates: Any) -> Any:
        """From the derivatives by the last states to those by all inputs."""
        module: Network = ctx.module
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{module.NAME}: the derived adjoint is not differentiated again "
                f"(create_graph=True); {module.INSTEAD}"
            )
        t0, h, *rest = ctx.saved_tensors
        kept = Kept(ctx.memory, ctx.plan, ctx.count)
        with without_autocast(h):
            by_time, by_steps, *others = _backward(
                module, kept, any(ctx.needs_input_grad[1:3]), t0, h, costates, rest
            )
        return None, by_time, by_steps, None, *others


class TransformedSweep(torch.autograd.Function):
    """The same inside transforms of ``torch.func``; the way back goes forward once more first."""

    @staticmethod
    def forward(module: Network, t0: Tensor, h: Tensor, count: int, *arrays: Tensor) -> Any:
        """The last states.

        Args:
            module: the network.
            t0: the time at the first layer, `()`.
            h: the steps, `(layers,)`.
            count: how many of the arrays are states.
            arrays: the states, each `(batch, size)`, then the controls of all layers, each
                control's layers one after the other, then what all layers share.

        Returns:
            A tuple of the last states, each `(batch, size)`.

        Raises:
            ValueError: the states have numbers that are not finite.
            IntegrationError: stages could not be solved for.
        """
        module.refuse_infinite(arrays[:count])
        states, _, _ = _forward(module, t0, h, count, arrays, False)
        return states

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep the inputs.

        Args:
            ctx: what keeps them.
            inputs: the arguments of :meth:`forward`.
            output: its result; not kept.
        """
        module, t0, h, count, *arrays = inputs
        ctx.module, ctx.count = module, count
        ctx.save_for_backward(t0, h, *arrays)

    @staticmethod
    def backward(ctx: Any, *costates: Any) -> Any:
        """From the derivatives by the last states to those by all inputs."""
        by_time, by_steps, *others = _TransformedBack.apply(
            ctx.module, ctx.count, *costates, *ctx.saved_tensors
        )
        return None, by_time, by_steps, None, *others

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """Refuse forward mode."""
        raise no_forward_mode(ctx.module.NAME, ctx.module.INSTEAD)

    @staticmethod
    def vmap(
        info: Any, axes: Any, module: Network, t0: Tensor, h: Tensor, count: int, *arrays: Tensor
    ) -> Any:
        """Members of a batch as more samples, where the layers are the same for all.

        Args:
            info: what vmap says; it has the number of members.
            axes: where each argument, ``module`` the first, has its axis of members; None where it
                has none.
            module: the network.
            t0: the time at the first layer, `()`.
            h: the steps, `(layers,)`.
            count: how many of the arrays are states.
            arrays: the states, each `(batch, size)` besides its axis of members, then the controls
                of all layers, each control's layers one after the other, then what all layers
                share.

        Returns:
            The last states, each `(members, batch, size)`, and their axes of members, 0 each.
        """
        if any(axis is not None for axis in (axes[1], axes[2], *axes[4 + count :])):
            return one_by_one(TransformedSweep, info, axes, (module, t0, h, count, *arrays))
        many = info.batch_size
        rows = [joined(arrays[k], axes[4 + k], many) for k in range(count)]
        ends = TransformedSweep.apply(module, t0, h, count, *rows, *arrays[count:])
        return tuple(end.reshape(many, -1, end.shape[-1]) for end in ends), (0,) * count


class _TransformedBack(TransformedBack):
    """The way back inside transforms."""

    @staticmethod
    def forward(module: Network, count: int, *tensors: Tensor) -> Any:
        costates, (t0, h, *arrays) = tensors[:count], tensors[count:]
        _, saved, plan = _forward(module, t0, h, count, arrays, True)
        rest = [*arrays[count:], *saved]
        kept = Kept(module.memory, plan, count)
        gradients = _backward(module, kept, True, t0, h, costates, rest)
        inputs = (t0, h, *arrays)
        return tuple(
            torch.zeros_like(array) if gradient is None else gradient.expand_as(array).clone()
            for array, gradient in zip(inputs, gradients, strict=True)
        )


def by_operations(
    module: Network, t0: Tensor, h: Tensor, states: Sequence[Tensor], controls: Sequence[Tensor],
    shared: Sequence[Tensor], costates: Sequence[Tensor],
) -> tuple[Any, ...]:  # fmt: skip
    """Forward and back by torch's operations, for a way back whose costates are no plain numbers.

    Args:
        module: the network.
        t0: the time at the first layer.
        h: the steps.
        states: the first ones, without the running cost.
        controls: each `(layers, …)`.
        shared: what all layers share.
        costates: by the last states, and by the running cost, if there is one.

    Returns:
        The derivatives by time and steps, None for the number of states, then those by states and
        controls, and None for each that is shared.
    """
    arrays, layers = [*states], module.layers
    if module.RUNNING:
        arrays.append(arrays[0].new_zeros(len(arrays[0]), 1))
    count = len(arrays)
    flat = [of_layer for control in controls for of_layer in control.unbind(0)]
    _, saved, plan = _forward(module, t0, h, count, [*arrays, *flat, *shared], True)
    kept = Kept(module.memory, plan, count)
    by_time, by_steps, *found = _backward(
        module, kept, True, t0, h, costates, [*flat, *shared, *saved]
    )
    by_control = [found[k : k + layers] for k in range(count, count + len(flat), layers)]
    wholes = [None if of_layers[0] is None else torch.stack(of_layers) for of_layers in by_control]
    return by_time, by_steps, None, *found[: len(states)], *wholes, *(None for _ in shared)


def _forward(
    module: Network, t0: Tensor, h: Tensor, count: int, arrays: Sequence[Tensor], wanted: bool
) -> tuple[Arrays, list[Tensor], Plan]:
    """The last states, what the module's choice of memory keeps for the way back, and its plan.

    Args:
        module: the network.
        t0: the time at the first layer.
        h: the steps.
        count: how many of the arrays are states.
        arrays: states, then the controls of each layer, then what all layers share.
        wanted: whether there will be a way back.
    """
    sweep = _Layers(module, t0, h, arrays[count:])
    states: Arrays = tuple(arrays[:count])
    saved: list[Tensor] = []

    def size() -> Size:
        return _size(sweep, states)

    chosen = (module.checkpoints, module.budget)
    plan = recomputation.chosen(module.memory, module.layers, size, *chosen)
    places = {plan.first(unit) for unit in plan.places} if module.memory != "reversible" else set()
    for number in range(module.layers):
        tail = number >= plan.head
        if wanted and (tail or number in places):
            saved += states
        states, kept = sweep.forward(number, states)
        if wanted and tail:
            saved += kept
    if wanted and module.memory == "reversible":
        saved += [*states, *arrays[:count]]
    return tuple(states), saved, plan


class Kept(NamedTuple):
    """How the way forward was kept.

    Attributes:
        memory: the module's choice then.
        plan: what was kept.
        states: how many there are.
    """

    memory: str
    plan: Plan
    states: int


def _backward(
    module: Network,
    kept_by: Kept,
    with_steps: bool,
    t0: Tensor,
    h: Tensor,
    costates: Sequence[Tensor],
    rest: Sequence[Tensor],
) -> tuple[Any, ...]:
    """The derivatives by time, steps, states and the controls of each layer; None for the rest.

    Args:
        module: the network.
        kept_by: how the way forward was kept.
        with_steps: whether derivatives by time and steps are wanted.
        t0: the time at the first layer.
        h: the steps.
        costates: the derivatives by the last states.
        rest: the controls of each layer, what all share, then what :func:`_forward` has kept.
    """
    memory, plan, count = kept_by
    shared = len(module.PARAMETERS) + len(module.FIXED)
    total = len(module.CONTROLS) * module.layers + shared
    sweep = _Layers(module, t0, h, rest[:total])
    back = _Back(sweep, tuple(costates), with_steps)
    saved = rest[total:]
    if memory == "reversible":
        states, first = tuple(saved[:count]), saved[count:]
        for number in range(module.layers - 1, -1, -1):
            states = sweep.retreat(number, states)
            back.again(number, states)
        for state, original in zip(states, first, strict=True):
            check_return(module.NAME, state.cpu().numpy(), original.cpu().numpy())
    else:
        width = count + len(module.KEPT)
        begin = len(plan.places) * count
        for number in range(module.layers - 1, plan.head - 1, -1):
            at = begin + (number - plan.head) * width
            back.through(number, saved[at : at + count], saved[at + count : at + width])
        kept = [tuple(saved[k : k + count]) for k in range(0, begin, count)]

        def advance(states: Arrays, unit: int, other: int) -> Arrays:
            return sweep.advance(states, plan.first(unit), plan.first(other))

        for unit, states in checkpoints.backwards(plan.units, plan.slots, kept, advance):
            back.unit(plan.first(unit), plan.first(unit + 1), states)
    nothing = (None,) * shared
    return back.time, back.step_gradient(), *back.costates, *back.gradients(), *nothing


def _size(sweep: _Layers, states: Arrays) -> Size:
    """Bytes of a layer, as one sample shows."""
    row = tuple(state[:1] for state in states)
    _, kept = sweep.forward(0, row)
    many = len(states[0]) * states[0].element_size()
    state = many * sum(one.shape[-1] for one in row)
    again = state + many * sum(stage.shape[-1] for stage in kept)
    return Size(state, again, again)


class _Layers:
    """The layers of a network at given controls, with what all share behind them."""

    def __init__(self, module: Network, t0: Tensor, h: Tensor, given: Sequence[Tensor]) -> None:
        self.module = module
        count = len(module.CONTROLS) * module.layers
        self._controls, self._values = given[:count], given[count:]
        here = h.device.type == "cpu" and not torch.compiler.is_compiling()
        self.h: Sequence[Any] = h.tolist() if here else h.unbind(0)
        before = torch.cumsum(h, 0) - h
        self._times = (t0 + before).unbind(0)

    def own(self, number: int) -> list[Tensor]:
        """Controls and parameters of a layer."""
        layers = self.module.layers
        return [*self._controls[number::layers], *self._values]

    def place(self, number: int) -> tuple[Tensor, Any]:
        """Time and step of a layer."""
        return self._times[number], self.h[number]

    def forward(self, number: int, states: Arrays, with_ends: bool = True) -> tuple[Arrays, Arrays]:
        """A layer."""
        result: tuple[Arrays, Arrays] = self.module.layer(
            *self.place(number), *states, *self.own(number), with_ends=with_ends
        )
        return result

    def retreat(self, number: int, states: Arrays) -> Arrays:
        """The states before a layer, from those after it: its stages change places."""
        t, h = self.place(number)
        controls = self._controls[number :: self.module.layers]
        if self.module.BY_STAGE:
            controls = [control.flip(0) for control in controls]
        before, _ = self.module.layer(t + h, -h, *states, *controls, *self._values)
        return tuple(before)

    def advance(self, states: Arrays, first: int, last: int) -> Arrays:
        """Several layers."""
        for number in range(first, last):
            states, _ = self.forward(number, states)
        return states


class _Back:
    """The way back through all layers."""

    def __init__(self, layers: _Layers, costates: Arrays, with_steps: bool) -> None:
        self._layers, self.costates, self._with_steps = layers, costates, with_steps
        count = layers.module.layers
        self._gradients: list[Sequence[Tensor | None]] = [()] * count
        self._steps: list[Tensor] = [costates[0].new_zeros(())] * count
        self.time = costates[0].new_zeros(())

    def again(self, number: int, states: Sequence[Tensor]) -> None:
        """A layer whose stages have to be computed again."""
        _, kept = self._layers.forward(number, tuple(states), with_ends=False)
        self.through(number, states, kept)

    def unit(self, first: int, last: int, states: Arrays) -> None:
        """Some layers whose stages have to be computed again, all at once."""
        kept = []
        for number in range(first, last):
            ends, stages = self._layers.forward(number, states, with_ends=number < last - 1)
            kept.append((number, states, stages))
            states = ends
        while kept:
            self.through(*kept.pop())

    def through(self, number: int, states: Sequence[Tensor], kept: Sequence[Tensor]) -> None:
        """The adjoint of a layer."""
        own = self._layers.own(number)
        self.costates, gradients, by_step, by_time = self._layers.module.layer_adjoint(
            *self._layers.place(number), *states, *own, *self.costates, *kept,
            with_steps=self._with_steps,
        )  # fmt: skip
        self._gradients[number] = [
            _whole(gradient, control.shape)
            for gradient, control in zip(gradients, own, strict=False)
        ]
        if by_step is not None:
            self._steps[number] = by_step + self.time
        if by_time is not None:
            self.time = self.time + by_time

    def step_gradient(self) -> Tensor:
        """The gradient by the steps, `(layers,)`."""
        return torch.stack(self._steps)

    def gradients(self) -> list[Tensor | None]:
        """The gradient by each control of each layer."""
        count = len(self._layers.module.CONTROLS)
        return [layer[k] for k in range(count) for layer in self._gradients]


def _whole(derivative: Any, shape: torch.Size) -> Tensor | None:
    """The derivative by a control of a layer; of those of its stages, where they are several.

    What enters through a sum alone has one derivative for all its entries.
    """
    if derivative is None:
        return None
    if isinstance(derivative, tuple):
        return torch.stack([of_stage.expand(shape[1:]) for of_stage in derivative])
    whole: Tensor = derivative.expand(shape)
    return whole
