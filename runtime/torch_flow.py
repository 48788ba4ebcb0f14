"""Numerical flows as torch modules: a batch of states goes in, the states after n steps come out.

A generated class brings the problem's functions and the method's tables; here are the modules, and
the one ``autograd.Function`` whose backward is the discrete adjoint.  Forward keeps the state at
each step; backward takes the steps again, last to first, and applies each step's adjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from hamilforge.runtime.clock import check_domain
from hamilforge.runtime.solution import IntegrationError

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

    NAME: ClassVar[str]
    COMPONENTS: ClassVar[tuple[str, ...]]
    PARAMETERS: ClassVar[Mapping[str, tuple[float, str, str]]]
    START_TIME: ClassVar[float]
    PARTS: ClassVar[tuple[tuple[int, int], ...]]
    FIELDS: ClassVar[tuple[Callable[..., Entries], ...]]
    PRODUCTS: ClassVar[tuple[Callable[..., Entries], ...]]
    DECAY: ClassVar[Callable[..., Any] | None] = None

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
        if not (h != 0 and abs(h) < float("inf")):
            raise ValueError(f"h = {h}: a finite step other than 0 was expected")
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps = {steps!r}: a positive whole number was expected")
        if not isinstance(every, int) or every < 0:
            raise ValueError(f"every = {every!r}: a whole number from 0 was expected")
        self.h, self.steps, self.every = float(h), steps, every
        self.t0 = self.START_TIME if t0 is None else float(t0)
        given = dict(parameters or {})
        trainable = (trainable,) if isinstance(trainable, str) else trainable
        for name in (*given, *trainable):
            if name not in self.PARAMETERS:
                known = ", ".join(self.PARAMETERS) or "none"
                raise ValueError(f"no parameter '{name}'; those of {self.NAME} are: {known}")
        for name, (default, domain, _) in self.PARAMETERS.items():
            value = float(given.get(name, default))
            check_domain(name, value, domain)
            tensor = torch.tensor(value, dtype=torch.float64)
            if name in trainable:
                self.register_parameter(f"parameter_{name}", torch.nn.Parameter(tensor))
            else:
                self.register_buffer(f"parameter_{name}", tensor)

    def forward(self, y0: Tensor) -> Tensor:
        """States after the steps.

        Args:
            y0: `(batch, components)` or `(components,)`.

        Raises:
            ValueError: another shape, or no floating-point numbers.
            IntegrationError: a step has no solution, or a state is no longer finite.
        """
        size = len(self.COMPONENTS)
        if not isinstance(y0, torch.Tensor):
            raise ValueError(f"a tensor was expected, not {type(y0).__name__}")
        if y0.dim() not in (1, 2) or y0.shape[-1] != size or not y0.is_floating_point():
            raise ValueError(
                f"a state of the shape {tuple(y0.shape)} and type {y0.dtype}; (batch, {size}) or "
                f"({size},) floating-point numbers for {', '.join(self.COMPONENTS)} were expected"
            )
        batch = y0 if y0.dim() == 2 else y0[None]
        if not len(batch):
            raise ValueError("a batch of no states")
        values = [getattr(self, f"parameter_{name}").to(y0) for name in self.PARAMETERS]
        states: Tensor = _Trajectory.apply(self, batch, *values)
        found = states if y0.dim() == 2 else states[:, 0]
        return found if self.every else found[-1]

    def kept(self) -> range:
        """The steps whose states are returned."""
        return (
            range(0, self.steps + 1, self.every)
            if self.every
            else range(self.steps, self.steps + 1)
        )

    def step(self, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The state after one step."""
        raise NotImplementedError

    def adjoint(
        self, t: Tensor, y: Tensor, values: Sequence[Tensor], costate: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The costate before a step from the one after it, and the gradients by parameters."""
        raise NotImplementedError

    def field(self, part: int, t: Tensor, y: Tensor, values: Sequence[Tensor]) -> Tensor:
        """A part's right-hand sides, `(batch, components of the part)`."""
        return columns(self.FIELDS[part](t, y.unbind(-1), values), y)

    def product(
        self, part: int, t: Tensor, y: Tensor, values: Sequence[Tensor], w: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """``w' df/dy`` for a part, and ``w' df/d(parameter)`` for each parameter."""
        found = self.PRODUCTS[part](t, y.unbind(-1), values, w.unbind(-1))
        size = len(self.COMPONENTS)
        return columns(found[:size], y), scalars(found[size:], y)

    def matrix(
        self,
        function: Callable[..., Entries],
        places: Sequence[tuple[int, int]],
        t: Tensor,
        y: Tensor,
        values: Sequence[Tensor],
    ) -> Tensor:
        """A matrix of the problem, `(batch, components, components)`."""
        size = len(self.COMPONENTS)
        rows = [[torch.zeros_like(y[:, 0])] * size for _ in range(size)]
        for (i, j), entry in zip(places, function(t, y.unbind(-1), values), strict=True):
            rows[i][j] = columns((entry,), y)[:, 0]
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    def where(self, part: int) -> slice:
        """The components of a part."""
        return slice(*self.PARTS[part])

    def solve(self, t: Tensor, matrix: Tensor, right: Tensor) -> Tensor:
        """The solution of a linear system for each of the batch.

        Raises:
            IntegrationError: a matrix is singular.
        """
        found, info = torch.linalg.solve_ex(matrix, right)
        if bool((info != 0).any()):
            number = round((float(t) - self.t0) / self.h)
            raise self.refuse(t, number, float("inf"), "the matrix of a solve is singular")
        solution: Tensor = found
        return solution

    def refuse(self, t: Tensor, step: int, residual: float, what: str) -> IntegrationError:
        """The error of a step that cannot be taken."""
        return IntegrationError(
            f"step {step} of {self.NAME} at t = {float(t):.6g} with h = {self.h:g}: {what}; try a "
            "smaller step",
            float(t),
            step,
            residual,
        )


class _Trajectory(torch.autograd.Function):
    """All steps; backward is the discrete adjoint of each, in reverse."""

    @staticmethod
    def forward(ctx: Any, module: Flow, y0: Tensor, *values: Tensor) -> Tensor:
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
        ctx.module = module
        ctx.save_for_backward(*states[:-1], *values)
        return torch.stack([states[k] for k in module.kept()])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        module: Flow = ctx.module
        if torch.is_grad_enabled():
            raise RuntimeError(
                f"{module.NAME}: gradients of gradients (create_graph=True) are not derived; "
                "step() of an explicit method is plain torch code and can be differentiated twice"
            )
        saved = ctx.saved_tensors
        states, values = saved[: module.steps], saved[module.steps :]
        (gradient,) = gradients
        kept = {step: place for place, step in enumerate(module.kept())}
        costate = torch.zeros_like(gradient[0])
        totals = [torch.zeros_like(value) for value in values]
        for number in range(module.steps, -1, -1):
            if number in kept:
                costate = costate + gradient[kept[number]]
            if number == 0:
                break
            t = _time(module, costate, number - 1)
            costate, found = module.adjoint(t, states[number - 1], values, costate)
            totals = [
                total + one.sum_to_size(total.shape)
                for total, one in zip(totals, found, strict=True)
            ]
        return None, costate, *totals


def _time(module: Flow, like: Tensor, step: int) -> Tensor:
    return torch.tensor(module.t0 + step * module.h, dtype=torch.float64, device=like.device)


def columns(entries: Sequence[Any], like: Tensor) -> Tensor:
    """Entries side by side; a number stands for a column of it."""
    zero = torch.zeros_like(like[:, 0])
    return torch.stack([zero + entry for entry in entries], -1)


def scalars(entries: Sequence[Any], like: Tensor) -> list[Tensor]:
    """Entries as `(batch,)` each; a number stands for as many."""
    zero = torch.zeros_like(like[:, 0])
    return [zero + entry for entry in entries]


def replaced(tensor: Tensor, where: slice, value: Tensor) -> Tensor:
    """A copy with some columns replaced."""
    return torch.cat([tensor[:, : where.start], value, tensor[:, where.stop :]], -1)
