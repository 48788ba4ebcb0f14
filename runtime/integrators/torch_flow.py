"""Numerical flows as torch modules: a batch of states goes in, the states after n steps come out.

A generated class brings the problem's functions and the method's tables; here are the modules, and
the one ``autograd.Function`` whose backward is the discrete adjoint.  Forward keeps the state at
each step; backward takes the steps again, last to first, and applies each step's adjoint.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from hamilforge.runtime.core.domains import check_domain
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.numbers import finite_number, real_number, whole_number
from hamilforge.runtime.core.torch_transforms import (
    TransformedBack,
    is_autocast,
    joined,
    no_forward_mode,
    one_by_one,
    refuse_without_numbers,
    transforms_are_active,
    without_autocast,
)
from hamilforge.runtime.integrators.solution import brief

#: Iterations of Newton's method at most, in the modules for implicit methods.
ITERATIONS = 60
Tensor = torch.Tensor
Entries = tuple[Any, ...]


class Flow(torch.nn.Module):
    """The map over ``steps`` steps of size ``h`` on states `(batch, components)`.

    Args:
        h: the step; its sign is the direction of time.
        steps: how many.
        t0: the time at the start; the declared one if None.
        every: keep every ``every``-th state and return `(times, batch, components)`; only the last
            state, `(batch, components)`, if 0.
        trainable: the parameters of the problem that become ``nn.Parameter``.
        parameters: values by name; the declared ones else.

    Raises:
        ValueError: an argument is out of its domain.
    """

    #: What to use where the derived adjoint is not enough.
    INSTEAD = "step() of an explicit method is plain torch code, which torch differentiates"

    NAME: ClassVar[str]
    COMPONENTS: ClassVar[tuple[str, ...]]
    PARAMETERS: ClassVar[Mapping[str, tuple[float, str, str]]]
    START_TIME: ClassVar[float]
    PARTS: ClassVar[tuple[tuple[int, int], ...]]
    FIELDS: ClassVar[tuple[Callable[..., Entries], ...]]
    PRODUCTS: ClassVar[tuple[Callable[..., Entries], ...]]
    DECAY: ClassVar[Callable[..., Any] | None] = None
    #: Of a lattice: where the entries of each component are, one for each site.
    SITES: ClassVar[Mapping[str, tuple[int, int]]] = {}

    def __init__(
        self,
        h: float,
        steps: int,
        t0: float | None = None,
        every: int = 0,
        trainable: Sequence[str] = (),
        parameters: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.h, self.steps, self.every = h, steps, every
        self.t0 = self.START_TIME if t0 is None else t0
        chosen = dict(parameters or {})
        trainable = (trainable,) if isinstance(trainable, str) else trainable
        for name in (*chosen, *trainable):
            if name not in self.PARAMETERS:
                known = ", ".join(self.PARAMETERS) or "none"
                raise ValueError(f"no parameter '{name}'; those of {self.NAME} are: {known}")
        for name, (default, domain, _) in self.PARAMETERS.items():
            value = real_number(name, chosen.get(name, default))
            check_domain(name, value, domain)
            tensor = torch.tensor(value, dtype=torch.float64)
            if name in trainable:
                self.register_parameter(f"parameter_{name}", torch.nn.Parameter(tensor))
            else:
                self.register_buffer(f"parameter_{name}", tensor)

    @property
    def h(self) -> float:
        """The step; it may be chosen anew."""
        return self._h

    @h.setter
    def h(self, h: float) -> None:
        step = real_number("h", without_graph("h", h))
        if not (step != 0 and math.isfinite(step)):
            raise ValueError(f"h = {h}: a finite step other than 0 was expected")
        self._h = step

    @property
    def t0(self) -> float:
        """The time at the start; it may be chosen anew."""
        return self._t0

    @t0.setter
    def t0(self, t0: float) -> None:
        self._t0 = finite_number("t0", without_graph("t0", t0))

    @property
    def steps(self) -> int:
        """How many steps; it may be chosen anew."""
        return self._steps

    @steps.setter
    def steps(self, steps: int) -> None:
        self._steps = whole_number("steps", steps)

    @property
    def every(self) -> int:
        """Which states are returned; it may be chosen anew."""
        return self._every

    @every.setter
    def every(self, every: int) -> None:
        self._every = whole_number("every", every, least=0)

    def forward(self, y0: Tensor) -> Tensor:
        """States after the steps.

        Args:
            y0: `(batch, components)` or `(components,)`.

        Raises:
            ValueError: another shape, no floating-point numbers, or a sparse or meta tensor.
            IntegrationError: a step has no solution, or a state is no longer finite.
        """
        size = len(self.COMPONENTS)
        if not isinstance(y0, torch.Tensor):
            raise ValueError(f"a tensor was expected, not {type(y0).__name__}")
        if y0.dim() not in (1, 2) or y0.shape[-1] != size or not y0.is_floating_point():
            known = ", ".join(brief(self.COMPONENTS))
            raise ValueError(
                f"a state of the shape {tuple(y0.shape)} and type {y0.dtype}; (batch, {size}) or "
                f"({size},) floating-point numbers for {known} were expected"
            )
        refuse_without_numbers(self.NAME, [y0])
        batch = y0 if y0.dim() == 2 else y0[None]
        if is_autocast(y0) and y0.dtype in (torch.half, torch.bfloat16):
            batch = batch.float()
        with without_autocast(y0):
            values = [getattr(self, f"parameter_{name}").to(batch) for name in self.PARAMETERS]
            if transforms_are_active():
                states: Tensor = _Transformed.apply(self, batch, *values)[0]
            else:
                states = _Trajectory.apply(self, batch, *values)
        whole = states if y0.dim() == 2 else states[:, 0]
        return whole if self.every else whole[-1]

    def kept(self) -> range:
        """The steps whose states are returned."""
        return (
            range(0, self.steps + 1, self.every)
            if self.every
            else range(self.steps, self.steps + 1)
        )

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The state after one step.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.

        Returns:
            The states after the step, `(batch, components)`.

        Raises:
            IntegrationError: the step of an implicit method has no solution.
            NotImplementedError: the class is no generated one.
        """
        raise NotImplementedError

    def adjoint(
        self, t: Tensor, y: Tensor, values: Sequence[Tensor], costate: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The costate before a step from the one after it, and the gradients by parameters.

        Args:
            t: the time at the start of the step, `()`, float64.
            y: the states before the step, `(batch, components)`.
            values: the parameters in their order, each `()`.
            costate: the derivatives by the states after the step, `(batch, components)`.

        Returns:
            The derivatives by the states before the step, `(batch, components)`, and those by each
            parameter, `(batch,)`, to be summed over the batch.

        Raises:
            IntegrationError: the step of an implicit method has no solution.
            NotImplementedError: the class is no generated one.
        """
        raise NotImplementedError

    def field(self, part: int, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """A part's right-hand sides, `(batch, components of the part)`.

        Args:
            part: its number.
            t: the time, `()`.
            y: states, `(batch, components)`.
            values: the parameters in their order, each `()` or `(batch,)`.

        Returns:
            The slopes of the components of this part alone.
        """
        return columns(self.FIELDS[part](t, self.entries(y), values), y)

    def entries(self, y: Tensor) -> Sequence[Tensor]:
        """The columns of states, as the problem's functions take them."""
        return y.T if self.SITES else y.unbind(-1)  # type: ignore[return-value]

    def product(
        self, part: int, t: Tensor, y: Tensor, values: Sequence[Tensor], w: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """``w' df/dy`` for a part, and ``w' df/d(parameter)`` for each parameter.

        Args:
            part: its number.
            t: the time, `()`.
            y: states, `(batch, components)`.
            values: the parameters in their order, each `()` or `(batch,)`.
            w: what the derivatives are multiplied by, `(batch, components of the part)`.

        Returns:
            The product with the derivatives by the states, `(batch, components)`, and that for each
            parameter, `(batch,)`.
        """
        products = self.PRODUCTS[part](t, self.entries(y), values, self.entries(w))
        size = len(self.SITES or self.COMPONENTS)
        return columns(products[:size], y), scalars(products[size:], y)

    def matrix(
        self,
        function: Callable[..., Entries],
        places: Sequence[tuple[int, int]],
        t: Tensor,
        y: Tensor,
        values: Sequence[Tensor],
    ) -> Tensor:
        """A matrix of the problem, `(batch, components, components)`.

        Args:
            function: gives the entries that are not zero everywhere, from t, columns and values.
            places: row and column of each entry; of a lattice, row and column of a band at the
                first site, and by how many sites the column is further.
            t: the time, `()`.
            y: states, `(batch, components)`.
            values: the parameters in their order, each `()` or `(batch,)`.

        Returns:
            A matrix for each of the batch, with zeros where no entry is.
        """
        size = len(self.COMPONENTS)
        if self.SITES:
            count = size // len(self.SITES)
            return _banded(places, function(t, self.entries(y), values), y, count)
        rows = [[torch.zeros_like(y[:, 0])] * size for _ in range(size)]
        for (i, j), entry in zip(places, function(t, y.unbind(-1), values), strict=True):
            rows[i][j] = columns((entry,), y)[:, 0]
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    def where(self, part: int) -> slice:
        """The components of a part."""
        return slice(*self.PARTS[part])

    def solve(self, t: Tensor, matrix: Tensor, right: Tensor) -> Tensor:
        """The solution of a linear system for each of the batch.

        Args:
            t: the time at the start of the step, for the message.
            matrix: `(batch, n, n)`.
            right: the right-hand sides, `(batch, n)`.

        Returns:
            `(batch, n)`.

        Raises:
            IntegrationError: a matrix is singular.
        """
        wide = torch.promote_types(matrix.dtype, torch.float32)  # half precision has no solver
        solved, info = torch.linalg.solve_ex(matrix.to(wide), right.to(wide))
        if bool((info != 0).any()):
            number = round((float(t) - self.t0) / self.h)
            raise self.refuse(t, number, float("inf"), "the matrix of a solve is singular")
        solution: Tensor = solved.to(right.dtype)
        return solution

    def refuse(self, t: Tensor, step: int, residual: float, what: str) -> IntegrationError:
        """The error of a step that cannot be taken.

        Args:
            t: the time at the start of the step.
            step: its number, from 0.
            residual: the last change of the iteration; 0 if there was none, infinite if it is not
                known.
            what: what went wrong.

        Returns:
            The error, to be raised.
        """
        return IntegrationError(
            f"step {step} of {self.NAME} at t = {float(t):.6g} with h = {self.h:g}: {what}; try a "
            "smaller step",
            float(t),
            step,
            residual,
        )


def without_graph(name: str, value: Any) -> Any:
    """A number that no gradient is taken by.

    Args:
        name: what it is.
        value: a number, or a tensor of one.

    Raises:
        ValueError: a tensor that asks for its gradient.
    """
    if isinstance(value, torch.Tensor) and value.requires_grad:
        raise ValueError(f"{name}: no gradient by it is derived; {name}.detach() was expected")
    return value


def _path(module: Flow, y0: Tensor, values: Sequence[Tensor]) -> list[Tensor]:
    """The states before, between and after all steps; additions are compensated."""
    y, low = y0, torch.zeros_like(y0)
    states = [y]
    for number in range(module.steps):
        t = _time(module, y0, number)
        new = module.step(t, y, values)
        change = low + (new - y)
        total = y + change
        low = (y - total) + change
        y = total
        if not bool(torch.isfinite(y).all()):
            raise module.refuse(t, number, 0.0, "the state is no longer finite")
        states.append(y)
    return states


def _way_back(
    module: Flow, gradient: Tensor, states: Sequence[Tensor], values: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """The costate at the start, and the gradients by parameters.

    Args:
        module: the flow.
        gradient: by the states that were returned.
        states: before each step.
        values: the parameters.
    """
    kept = {step: place for place, step in enumerate(module.kept())}
    costate = torch.zeros_like(gradient[0])
    totals = [torch.zeros_like(value) for value in values]
    for number in range(module.steps, -1, -1):
        if number in kept:
            costate = costate + gradient[kept[number]]
        if number == 0:
            break
        t = _time(module, costate, number - 1)
        costate, by_values = module.adjoint(t, states[number - 1], values, costate)
        totals = [
            total + by_value.sum_to_size(total.shape)
            for total, by_value in zip(totals, by_values, strict=True)
        ]
    return costate, totals


class _Trajectory(torch.autograd.Function):
    """All steps; backward is the discrete adjoint of each, in reverse."""

    @staticmethod
    def forward(ctx: Any, module: Flow, y0: Tensor, *values: Tensor) -> Tensor:
        states = _path(module, y0, values)
        ctx.module = copy.copy(module)  # as it is now: steps may be chosen anew before the way back
        ctx.save_for_backward(*states[:-1], *values)
        return torch.stack([states[k] for k in module.kept()])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        module: Flow = ctx.module
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{module.NAME}: gradients of gradients (create_graph=True) are not derived; "
                f"{module.INSTEAD}"
            )
        saved = ctx.saved_tensors
        states, values = saved[: module.steps], saved[module.steps :]
        with without_autocast(gradients[0]):
            costate, totals = _way_back(module, gradients[0], states, values)
        return None, costate, *totals


class _Transformed(torch.autograd.Function):
    """The same inside transforms of ``torch.func``: the states that are kept are results too."""

    @staticmethod
    def forward(module: Flow, y0: Tensor, *values: Tensor) -> Any:
        states = _path(module, y0, values)
        return torch.stack([states[k] for k in module.kept()]), *states[1:-1]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        module, y0, *values = inputs
        ctx.module = copy.copy(module)
        ctx.save_for_backward(y0, *output[1:], *values)
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return None, *_TransformedBack.apply(ctx.module, gradients[0], *ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise no_forward_mode(ctx.module.NAME, ctx.module.INSTEAD)

    @staticmethod
    def vmap(info: Any, axes: Any, module: Flow, y0: Tensor, *values: Tensor) -> Any:
        if any(axis is not None for axis in axes[2:]):  # parameters of their own
            return one_by_one(_Transformed, info, axes, (module, y0, *values))
        count = info.batch_size
        kept, *states = _Transformed.apply(module, joined(y0, axes[1], count), *values)
        kept = kept.reshape(len(kept), count, -1, kept.shape[-1])
        apart = [state.reshape(count, -1, state.shape[-1]) for state in states]
        return (kept, *apart), (1, *[0] * len(apart))


class _TransformedBack(TransformedBack):
    """The way back inside transforms."""

    @staticmethod
    def forward(module: Flow, gradient: Tensor, *saved: Tensor) -> Any:
        states, values = saved[: module.steps], saved[module.steps :]
        costate, totals = _way_back(module, gradient, states, values)
        return costate, *totals


def _time(module: Flow, like: Tensor, step: int) -> Tensor:
    return torch.tensor(module.t0 + step * module.h, dtype=torch.float64, device=like.device)


def columns(entries: Sequence[Any], like: Tensor) -> Tensor:
    """Entries side by side; a number stands for a column of it, `(sites, batch)` for many."""
    zero = torch.zeros_like(like[:, 0])
    parts = [zero + entry for entry in entries]
    if all(part.dim() == 1 for part in parts):
        return torch.stack(parts, -1)
    return torch.cat(parts).T


def _banded(places: Sequence[Any], bands: Entries, like: Tensor, count: int) -> Tensor:
    """A matrix from its bands, each of which has an entry `(batch,)` for each site."""
    size = like.shape[-1]
    matrix = like.new_zeros(len(like), size, size)
    sites = torch.arange(count, device=like.device)
    for (row, column, offset), band in zip(places, bands, strict=True):
        matrix[:, row + sites, column + (sites + offset) % count] += band.T
    return matrix


def scalars(entries: Sequence[Any], like: Tensor) -> list[Tensor]:
    """Entries as `(batch,)` each; a number stands for as many."""
    zero = torch.zeros_like(like[:, 0])
    return [zero + entry for entry in entries]


def replaced(tensor: Tensor, where: slice, value: Tensor) -> Tensor:
    """A copy with some columns replaced.

    Args:
        tensor: `(batch, columns)`.
        where: the columns that are replaced.
        value: their entries, `(batch, columns replaced)`.

    Returns:
        `(batch, columns)`.
    """
    return torch.cat([tensor[:, : where.start], value, tensor[:, where.stop :]], -1)
