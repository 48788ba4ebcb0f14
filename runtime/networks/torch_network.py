"""Networks as torch modules: layers of a field by a Runge–Kutta method, with the derived adjoint.

A generated class brings a layer and its adjoint; here is the module, and in :mod:`torch_sweep` the
way through all layers.  What the way back keeps is chosen by name:

- ``all``: every stage; nothing is computed twice,
- ``states``: the state before each layer; each layer is computed twice,
- ``checkpoint``: the states before a few layers (:mod:`checkpoints`),
- ``autograd``: what torch's autograd keeps of the same loop; for gradients of gradients.

Ordinary tensors on the CPU go through the compiled kernels (:mod:`torch_kernels`), all others
through torch's operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch

from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.loader import Loaded
from hamilforge.runtime.core.torch_solve import solved, solved_linear
from hamilforge.runtime.core.torch_transforms import (
    autocast_to,
    refuse_without_numbers,
    transforms_are_active,
    without_autocast,
)
from hamilforge.runtime.networks import draws, torch_kernels, torch_layer_costs
from hamilforge.runtime.networks.layered import Layered
from hamilforge.runtime.networks.network_arguments import (
    check_network,
    check_regulariser,
    described,
    dimensions,
)
from hamilforge.runtime.networks.simplex import projected
from hamilforge.runtime.networks.torch_kernels import Kernels
from hamilforge.runtime.networks.torch_sweep import Sweep, TransformedSweep

__all__ = ["STEPS", "Network", "solved", "solved_linear"]
STEPS = ("fixed", "learned", "softmax", "simplex")
Tensor = torch.Tensor


class Network(Layered, torch.nn.Module):
    """``layers`` steps of y' = f(t, y, U), with controls of shape `(layers, …)` as parameters.

    Controls of every stage are `(layers, stages, …)`.

    Args:
        layers: how many.
        sizes: the size of each dimension, by name.
        h: the step of each layer: a number, or one for each; 1 / layers if None.
        steps: ``fixed``; ``learned``, a parameter; ``softmax`` or ``simplex``, a parameter with the
            sum of all steps fixed, by a softmax or by :meth:`project_`.
        memory: what the way back keeps: ``all``, ``states``, ``checkpoint``; where the method is
            symmetric ``reversible``, the last states alone; or ``autograd``, where torch itself
            differentiates the layers.
        checkpoints: with ``checkpoint``: the number of states kept besides the first.
        t0: the time at the first layer.
        parameters: values of the field's own parameters; the declared ones else.
        dtype: of the parameters.
        device: of the parameters.
        trainable: the names of the controls that are trained; all if None.  The others are drawn
            from ``draw`` and require no gradient.
        draw: the seed of the field's fixed arrays and of what is not trained.  It is stored with
            the parameters, and the arrays are drawn anew from it.
        budget: with ``checkpoint``: the bytes that states and stages may use between the way
            forward and that back.
        fused: None for the compiled kernels where they apply and torch's operations elsewhere; True
            to insist on the kernels, False for torch's operations alone.

    Raises:
        ValueError: an argument is out of its domain; it says which.
    """

    MEMORIES = ("all", "states", "checkpoint", "reversible", "autograd")
    #: What to use where the derived adjoint is not enough.
    INSTEAD = 'with memory="autograd" torch differentiates the layers'

    NAME: ClassVar[str]
    STATES: ClassVar[Mapping[str, tuple[str, ...]]]
    CONTROLS: ClassVar[Mapping[str, tuple[str, ...]]]
    PARAMETERS: ClassVar[Mapping[str, tuple[float, str, str]]]
    FIXED: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    KEPT: ClassVar[tuple[str, ...]]
    RUNNING: ClassVar[bool]
    REVERSIBLE: ClassVar[bool]
    BY_STAGE: ClassVar[bool]
    REGULARISER: ClassVar[bool]
    COSTED: ClassVar[tuple[str, ...]]
    RATED: ClassVar[tuple[str, ...]]
    layer_cost: ClassVar[Callable[..., Any]]
    layer: ClassVar[Callable[..., Any]]
    layer_adjoint: ClassVar[Callable[..., Any]]
    _home: ClassVar[str]

    def __init__(
        self,
        layers: int,
        sizes: Mapping[str, int],
        h: float | Sequence[float] | None = None,
        steps: str = "fixed",
        memory: str = "all",
        checkpoints: int | None = None,
        t0: float = 0.0,
        parameters: Mapping[str, float] | None = None,
        dtype: torch.dtype | None = None,
        device: Any = None,
        trainable: Sequence[str] | None = None,
        draw: int = 0,
        budget: int | None = None,
        fused: bool | None = None,
    ) -> None:
        super().__init__()
        values, parameter_values = check_network(self, layers, sizes, h, parameters, t0)
        if steps not in STEPS:
            raise ValueError(f"steps = {steps!r}; one of {', '.join(STEPS)} was expected")
        #: Field, method and choices, where ``hf.network`` has made it.
        self.made: tuple[Any, ...] | None = None
        #: The product whose kernels are run; of the generated file itself if nobody says another.
        self.layers_of: Loaded | None = self.own_product()
        self._kernels: Kernels | None = None
        self._layers, self._sizes = int(layers), dimensions(self, sizes)
        #: The shape of each control.
        self._shapes = {
            name: (self._layers, *(self._sizes[dimension] for dimension in shape))
            for name, shape in self.CONTROLS.items()
        }
        #: The size of each state, without the running cost.
        self._widths = [self._sizes[shape[0]] for shape in self.STATES.values() if shape]
        self._steps, self.memory = steps, memory
        self._draw, self._named = draws.seed_of(draw), trainable is not None
        self._trained = draws.trained(self, trainable)
        self._bound(checkpoints, budget)
        self.fused = fused
        kind = {"dtype": _real_type(dtype), "device": device}
        for name, shape in self.CONTROLS.items():
            size = tuple(self.sizes[dimension] for dimension in shape)
            self.register_parameter(
                f"control_{name}",
                torch.nn.Parameter(
                    torch.empty(layers, *size, **kind), requires_grad=name in self._trained
                ),
            )
        steps_now = torch.tensor(values, **kind)
        self.total: Tensor
        self.register_buffer("total", steps_now.sum())
        self.step_sizes: Tensor
        self.t0: Tensor
        if steps == "fixed":
            self.register_buffer("step_sizes", steps_now)
        else:
            start = torch.log(steps_now / self.total) if steps == "softmax" else steps_now
            self.register_parameter("step_sizes", torch.nn.Parameter(start))
        self.register_buffer("t0", torch.tensor(float(t0), **kind))
        for name, (_, domain, _) in self.PARAMETERS.items():
            check_domain(name, parameter_values[name], domain)
            self.register_buffer(f"parameter_{name}", torch.tensor(parameter_values[name], **kind))
        if self.FIXED:
            self.drawn_from: Tensor
            self.register_buffer("drawn_from", torch.tensor(self._draw, device=device))
            self.register_load_state_dict_post_hook(_drawn_again)
        self._set_fixed()
        self.reset_parameters()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "layer_adjoint" in vars(cls):  # a generated class; what a user derives has its product
            cls._home = cls.__module__

    @classmethod
    def own_product(cls) -> Loaded | None:
        """The product of the generated file, if kernels were made with it."""
        package, _, name = cls._home.rpartition(".")
        loaded = Loaded(package, name.removesuffix("_torch"))
        return loaded if package and loaded.has("numba") else None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_kernels": None}

    @property
    def fused(self) -> bool | None:
        """Whether the compiled kernels are run: None where they apply; it may be chosen anew."""
        return self._fused

    @fused.setter
    def fused(self, fused: bool | None) -> None:
        if fused is not None and not isinstance(fused, bool):
            raise ValueError(f"fused = {fused!r}: True, False or None was expected")
        self._fused = fused

    def _set_fixed(self) -> None:
        """The fixed arrays in the type of the parameters, each entry rounded once."""
        like = self.t0
        for name, exact in draws.fixed(self, self.sizes, self._draw).items():
            array = torch.from_numpy(draws.rounded(exact, _rounding(like.dtype)))
            self.register_buffer(f"fixed_{name}", array.to(like), persistent=False)

    def redraw(self, draw: int) -> None:
        """Draw the fixed arrays anew, from another seed.

        Args:
            draw: the seed.

        Raises:
            ValueError: it is no whole number from 0 on, or the field has no fixed arrays.
        """
        if not self.FIXED:
            raise ValueError(f"{self.NAME} has no fixed arrays")
        self._draw = draws.seed_of(draw)
        self.drawn_from.fill_(self._draw)
        self._set_fixed()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        kind = self.t0.dtype
        done = super()._apply(fn, recurse)
        if self.FIXED and self.t0.dtype != kind:  # not the rounding of a rounding
            self._set_fixed()
        return done

    @property
    def fixed(self) -> Mapping[str, Tensor]:
        """The field's fixed arrays, drawn and rounded once."""
        return MappingProxyType({name: getattr(self, f"fixed_{name}") for name in self.FIXED})

    @property
    def trained_numbers(self) -> int | None:
        """How many numbers of the controls are trained; None where nothing is drawn or held."""
        return self._count(self.sizes)

    def given(self) -> list[Tensor]:
        """What all layers share: parameters, then fixed arrays."""
        names = [f"parameter_{name}" for name in self.PARAMETERS]
        return [getattr(self, name) for name in (*names, *(f"fixed_{own}" for own in self.FIXED))]

    @property
    def sizes(self) -> Mapping[str, int]:
        """The size of each dimension."""
        return MappingProxyType(self._sizes)

    @property
    def steps(self) -> str:
        """What becomes of the steps in training."""
        return self._steps

    def reset_parameters(self) -> None:
        """Matrices normal with variance 1 / columns, vectors zero, scalars one.

        Those that are not trained are a function of ``draw``.
        """
        for name, shape in self.CONTROLS.items():
            control = self.control(name)
            with torch.no_grad():
                rank = len(shape) - self.BY_STAGE
                if name not in self._trained:
                    held = draws.held(name, control.shape, rank, self._draw)
                    control.copy_(torch.from_numpy(held))
                elif rank == 2:
                    control.normal_(0.0, control.shape[-1] ** -0.5)
                else:
                    control.fill_(0.0 if rank else 1.0)

    def control(self, name: str) -> Tensor:
        """A control of all layers, `(layers, …)`."""
        if name not in self.CONTROLS:
            raise ValueError(f"no control '{name}'; those are: {', '.join(self.CONTROLS)}")
        parameter: Tensor = getattr(self, f"control_{name}")
        shape = self._shapes[name]
        if parameter.shape != shape:
            raise ValueError(
                f"the control {name} has the shape {tuple(parameter.shape)}; {shape} was expected"
            )
        return parameter

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return described(self)

    @property
    def h(self) -> Tensor:
        """The step of each layer, `(layers,)`."""
        sizes: Tensor = self.step_sizes
        if sizes.shape != (self.layers,):
            raise ValueError(
                f"step_sizes has the shape {tuple(sizes.shape)}; ({self.layers},) was expected"
            )
        return self.total * torch.softmax(sizes, 0) if self.steps == "softmax" else sizes

    def project_(self) -> None:
        """Bring steps on the simplex back to it: none negative, with the sum they began with."""
        if self.steps == "simplex":
            with torch.no_grad():
                flat = self.step_sizes.detach().cpu().double().numpy()
                self.step_sizes.copy_(torch.from_numpy(projected(flat, float(self.total))))

    def smoothness(self) -> Tensor:
        """``sum |U_(l+1) - U_l|^2 / (2 h_l)`` over layers and controls, to be added to a loss.

        Of controls at every stage, the mean of this over the stages.

        Raises:
            ValueError: a step is not positive.

        References:
            E. Haber and L. Ruthotto, Inverse Problems 34 (2018) 014004, arXiv:1705.03341.
        """
        return torch_layer_costs.smoothness(self)

    def regulariser(self) -> Tensor:
        """The declared cost of the controls, ``sum_l h_l r(U_l, (U_(l+1) - U_l) / h_l)``.

        In the last layer the rate of change is 0.  Of controls at every stage, r is the mean over
        the stages.

        Raises:
            ValueError: the field declares none, or a step is not positive where r has a rate of
                change.
        """
        check_regulariser(self)
        return torch_layer_costs.declared(self)

    def pruned(self) -> Network:
        """The network without the layers whose step is zero; its output is the same.

        Steps that were on a simplex are fixed in it.

        Raises:
            ValueError: every step is zero.
        """
        h = self.h.detach()
        kept = h != 0
        if not bool(kept.any()):
            raise ValueError("every step is zero: no layer would be left")
        pruned = type(self)(
            int(kept.sum()),
            {name: size for name, size in self.sizes.items() if not name.isdigit()},
            h[kept].abs().tolist(),
            "learned" if self.steps == "learned" else "fixed",
            self.memory,
            None,
            float(self.t0),
            {name: float(getattr(self, f"parameter_{name}")) for name in self.PARAMETERS},
            h.dtype,
            h.device,
            self._trained if self._named else None,
            self._draw,
        )
        with torch.no_grad():
            pruned.step_sizes.copy_(h[kept])
            for name in self.CONTROLS:
                pruned.control(name).copy_(self.control(name)[kept])
        pruned.made, pruned.layers_of = self.made, self.layers_of
        pruned.fused, pruned.budget = self.fused, self.budget
        return pruned

    def forward(self, *states: Tensor) -> Any:
        """The states after all layers.

        Inside autocast states are cast to the type of the parameters, and so are the results.

        Args:
            states: each `(batch, size)`; or one tensor with all of them side by side.

        Returns:
            In the same form; with a running cost, a pair of that and the cost, `(batch,)`.

        Raises:
            ValueError: shapes or types that do not fit, or numbers that are not finite.
            IntegrationError: stages could not be solved for.
        """
        cast = autocast_to(self.t0.dtype, states)
        with without_autocast(self.t0):
            return self._mapped(cast)

    def _mapped(self, states: Sequence[Tensor]) -> Any:
        widths = self._widths
        joined = len(states) == 1 and len(widths) > 1
        fits = joined and states[0].dim() == 2 and states[0].shape[-1] == sum(widths)
        separate = [*torch.split(states[0], widths, -1)] if fits else [*states]
        self._refuse(separate)
        self._refuse_what_is_not_differentiated()
        h = self.h
        ends = self._compiled(separate, h)
        if ends is None:
            ends = self._by_operations(separate, h)
        cost = ends[-1][:, 0] if self.RUNNING else None
        out = ends[: len(widths)]
        result = torch.cat([*out], -1) if joined else out[0] if len(out) == 1 else tuple(out)
        return result if cost is None else (result, cost)

    def _compiled(self, states: Sequence[Tensor], h: Tensor) -> Sequence[Tensor] | None:
        """The last states by the kernels, with the running cost; None where these do not apply.

        Raises:
            RuntimeError: they do not, and ``fused=True``.
        """
        if self.fused is False:
            return None
        controls = [self.control(name) for name in self.CONTROLS]
        reason = torch_kernels.obstacle(self, [self.t0, h, *states, *controls, *self.given()])
        if not reason and self.layers_of is None:
            reason = "there are no compiled kernels of this class"
        if reason:
            if self.fused:
                raise RuntimeError(f"fused=True is not possible here: {reason}")
            return None
        assert self.layers_of is not None
        kernels = self._kernels
        if kernels is None or not kernels.fit(self):
            kernels = self._kernels = Kernels.of(self, self.layers_of.module("numba"))
        return kernels.swept(self, self.t0, h, states, controls)

    def _by_operations(self, states: Sequence[Tensor], h: Tensor) -> Sequence[Tensor]:
        """The last states by torch's operations, with the running cost."""
        now = [*states]
        if self.RUNNING:
            now.append(now[0].new_zeros(len(now[0]), 1))
        controls = [self.control(name).unbind(0) for name in self.CONTROLS]
        if self.memory == "autograd":
            return self._plain(now, h, controls, self.given())
        flat = [of_layer for control in controls for of_layer in control]
        sweep = TransformedSweep if transforms_are_active() else Sweep
        given = (*now, *flat, *self.given())
        ends: Sequence[Tensor] = sweep.apply(self, self.t0, h, len(now), *given)
        return ends

    def _refuse(self, states: Sequence[Tensor]) -> None:
        fits = len(states) == len(self._widths)
        for state, size in zip(states, self._widths, strict=False):
            fits = fits and isinstance(state, torch.Tensor) and state.dim() == 2
            fits = fits and state.shape[-1] == size
        if not fits:
            names = (name for name, shape in self.STATES.items() if shape)
            wanted = " and ".join(
                f"{name} of the shape (batch, {size})"
                for name, size in zip(names, self._widths, strict=True)
            )
            shapes = ", ".join(
                str(tuple(state.shape)) if isinstance(state, torch.Tensor) else type(state).__name__
                for state in states
            )
            raise ValueError(f"{self.NAME} takes {wanted}, not {shapes}")
        kind = self.t0.dtype
        for state in states:
            if state.dtype != kind:
                raise ValueError(
                    f"{self.NAME} has parameters of type {kind}, and its input is {state.dtype}; "
                    "convert one of them with .to(...)"
                )
        refuse_without_numbers(self.NAME, states)
        if not torch.compiler.is_compiling() and not transforms_are_active():
            self.refuse_infinite(states)

    def _refuse_what_is_not_differentiated(self) -> None:
        """Refuse parameters and fixed arrays that ask for a gradient which is not derived."""
        if self.memory == "autograd" or not torch.is_grad_enabled():
            return
        names = (*self.PARAMETERS, *self.FIXED)
        asking = [n for n, value in zip(names, self.given(), strict=True) if value.requires_grad]
        if asking:
            raise ValueError(
                f"{self.NAME}: no gradient by {', '.join(asking)} is derived, which all layers "
                'share; memory="autograd" differentiates everything by torch'
            )

    def refuse_infinite(self, states: Sequence[Tensor]) -> None:
        """Refuse states that are not finite.

        Raises:
            ValueError: one is not.
        """
        # a finite sum has finite terms; the other way round, large ones may overflow
        if not all(
            math.isfinite(float(state.detach().sum())) or bool(torch.isfinite(state).all())
            for state in states
        ):
            raise ValueError(f"{self.NAME}: the input has numbers that are not finite")

    def _plain(
        self,
        states: Sequence[Tensor],
        h: Tensor,
        controls: Sequence[Sequence[Tensor]],
        values: Sequence[Tensor],
    ) -> Sequence[Tensor]:
        t, now = self.t0, tuple(states)
        for number in range(self.layers):
            own = [control[number] for control in controls]
            now, _ = self.layer(t, h[number], *now, *own, *values)
            t = t + h[number]
        return now


def _drawn_again(network: Network, _: Any) -> None:
    """After a state was loaded: the fixed arrays of its seed."""
    network.redraw(int(network.drawn_from))


def _rounding(kind: torch.dtype) -> Any:
    """The type of NumPy in which numbers of a type are drawn."""
    return np.float32 if kind == torch.float32 else np.float64


def _real_type(dtype: Any) -> torch.dtype:
    """The type of parameters; torch's default if None.

    Raises:
        ValueError: it is no type of real numbers.
    """
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None)  # of NumPy's
    kind = getattr(torch, name, None) if isinstance(name, str) else dtype
    kind = torch.get_default_dtype() if dtype is None else kind
    if not isinstance(kind, torch.dtype) or not kind.is_floating_point:
        raise ValueError(
            f"dtype = {dtype!r}: a type of real numbers was expected, of torch or NumPy"
        )
    return kind
