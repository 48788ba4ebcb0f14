"""The optimizer behind every generated class.

A generated class brings the functions of its stages and its host scalars; this one brings what all
of them share: groups, options, lazy state, the choice between the fused kernel and the functional
form, checkpoints, and the way from the point of the gradient to the solution and back.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

from hamilforge.runtime import kernels
from hamilforge.runtime.clock import Clock, check_domain, latch, start, tick

Tensors = list[torch.Tensor]

OPTIONS: dict[str, Any] = {
    "weight_decay": 0.0,
    "decoupled_weight_decay": False,
    "maximize": False,
    "foreach": None,
    "differentiable": False,
    "fused": None,
}
_KERNEL_DTYPES = {torch.float32: "float32", torch.float64: "float64"}


def total(values: Iterable[torch.Tensor]) -> torch.Tensor:
    """The sum of all entries of all tensors, in float64."""
    sums = [value.sum(dtype=torch.float64) for value in values]
    return torch.stack([one.to(sums[0].device) for one in sums]).sum() if sums else torch.zeros(())


class GeneratedOptimizer(Optimizer):
    """A generated optimizer.

    Args:
        params: parameters, named parameters, or dictionaries that define groups.
        hyper: the hyper-parameters; each may differ between groups, and change between steps.  A
            tensor is read at the first stage of each step.
        options: ``weight_decay`` (0): factor of the parameters added to the gradient (L2);
            ``decoupled_weight_decay`` (False): multiply the parameters by 1 - lr*weight_decay
            instead; ``maximize`` (False); ``differentiable`` (False): keep the graph through the
            step; ``fused`` (None): the compiled kernel, chosen where it applies; ``foreach``: None
            or False, since the kernel takes all tensors at once.

    Raises:
        ValueError: a hyper-parameter outside its domain.
        TypeError: an unknown option.
    """

    STAGES: tuple[Callable[..., tuple[Tensors, Tensors]], ...]

    def __init__(self, params: Any, hyper: dict[str, Any], options: dict[str, Any]) -> None:
        for name in options:
            if name not in OPTIONS:
                near = difflib.get_close_matches(name, [*OPTIONS, *hyper], n=1)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise TypeError(f"{type(self).__name__} has no option '{name}'{hint}")
        self._reset()
        super().__init__(params, {**hyper, **OPTIONS, **options, "clock": None})

    def _reset(self) -> None:
        self._plan: _Plan | None = None
        self._points: Tensors | None = None

    @property
    def product(self) -> ModuleType:
        """The generated module of this class."""
        return sys.modules[type(self).__module__]

    @property
    def kernels(self) -> ModuleType:
        """The compiled kernels of this product."""
        name = type(self).__module__.removesuffix("_torch") + "_numba"
        return importlib.import_module(name)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._reset()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, after a check of its hyper-parameters.

        Raises:
            ValueError: a hyper-parameter outside its domain, or the middle of a step.
        """
        if any(group["clock"].stage for group in self.param_groups):
            raise ValueError("a group can be added only between steps, not between stages")
        values = {**self.defaults, **param_group}
        self._check(values)
        if values["foreach"]:
            raise ValueError(
                "foreach=True has no meaning here: the fused kernel takes all tensors in one call, "
                "and fused=False takes the functional form"
            )
        if values["fused"] and values["differentiable"]:
            raise ValueError("a fused step is not differentiable; choose one")
        super().add_param_group(param_group)
        self.param_groups[-1]["clock"] = start(self.product)
        self._reset()

    def _check(self, values: dict[str, Any]) -> None:
        for name, (_, domain) in self.product.HYPERPARAMETERS.items():
            check_domain(name, _number(name, values[name]), domain)
        check_domain("weight_decay", _number("weight_decay", values["weight_decay"]), "nonnegative")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One stage: one gradient, one update.

        Args:
            closure: computes the loss again and returns it.

        Raises:
            RuntimeError: sparse or complex gradients, evaluation mode, or ``fused=True`` where the
                kernel does not apply.
            ValueError: scalars that are not finite, or unequal where the scope is ``all``.  Nothing
                is changed by a step that raises.
        """
        if self._points is not None:
            raise RuntimeError("the parameters hold the solution; call train() before step()")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        differentiable = any(group["differentiable"] for group in self.param_groups)
        with torch.set_grad_enabled(differentiable):
            self._stage()
        return loss

    def _stage(self) -> None:
        groups = self.param_groups
        plan = self._plan
        if plan is not None and (grads := plan.gradients(groups, self.state)) is not None:
            clocks = [self._latched(group) for group in groups]
            self._check_scope(clocks)
            self._run_fused(plan, grads, clocks)
        else:
            self._plan = None
            clocks = self._stage_from_scratch()
        for group, clock in zip(groups, clocks, strict=True):
            group["clock"] = tick(clock)

    def _stage_from_scratch(self) -> list[Clock]:
        """A stage with every tensor looked at one by one, and a plan for the next if it was fused."""
        groups = self.param_groups
        chosen = [
            (param, param.grad, number)
            for number, group in enumerate(groups)
            for param in group["params"]
            if param.grad is not None
        ]
        params, grads, owners = (
            (list(column) for column in zip(*chosen, strict=True)) if chosen else ([], [], [])
        )
        for grad in grads:
            if grad.layout != torch.strided:
                raise RuntimeError("sparse gradients are not supported; use dense ones")
            if grad.is_complex():
                raise RuntimeError(
                    "complex parameters are not supported; optimize their real and imaginary parts"
                )
        obstacle = self._obstacle(params, grads)
        wanted = [group["fused"] for group in groups]
        if any(wanted) and obstacle:
            raise RuntimeError(f"fused=True, but {obstacle}")
        clocks = [self._latched(group) for group in groups]
        self._check_scope(clocks)
        if not params:
            return clocks
        buffers = self._buffers(params)
        if obstacle or False in wanted:
            self._run_functional(params, grads, owners, clocks)
        else:
            self._plan = _Plan(self, params, buffers, grads, owners)
            self._run_fused(self._plan, grads, clocks)
        return clocks

    def _obstacle(self, params: Tensors, grads: Tensors) -> str:
        """Why the kernel cannot take these tensors; empty if it can."""
        if any(group["differentiable"] for group in self.param_groups):
            return "a differentiable step keeps the graph"
        for tensor in (*params, *grads):
            if tensor.device.type != "cpu":
                return f"a tensor is on {tensor.device}; the kernel runs on the CPU"
            if tensor.dtype not in _KERNEL_DTYPES or tensor.dtype != params[0].dtype:
                return "the kernel takes float32 or float64, the same for all tensors"
            if not tensor.is_contiguous():
                return "a tensor is not contiguous"
            if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
                return f"a tensor is of the class {type(tensor).__name__}"
        return ""

    def _latched(self, group: dict[str, Any]) -> Clock:
        clock: Clock = group["clock"]
        if clock.stage:
            return clock
        if group["differentiable"]:
            return latch(self.product, clock, group, **_tensor_namespace(self.product, group))
        self._check(group)
        hyper = {name: float(group[name]) for name in self.product.HYPERPARAMETERS}
        return latch(self.product, clock, hyper)

    def _check_scope(self, clocks: list[Clock]) -> None:
        if self.product.SCOPE != "all" or len(clocks) == 1:
            return
        if any(clock.rows != clocks[0].rows or clock.stage != clocks[0].stage for clock in clocks):
            raise ValueError(
                "sums run over all groups, so all groups need equal hyper-parameters; "
                'declare [reduce] scope = "group" for groups of their own'
            )

    def _preparation(self, group: dict[str, Any]) -> tuple[float, float, float]:
        """The gradient's sign, the L2 factor and the factor of decoupled weight decay."""
        sign = -1.0 if group["maximize"] else 1.0
        decay = float(group["weight_decay"])
        if group["decoupled_weight_decay"]:
            return sign, 0.0, 1.0 - float(group["lr"] if "lr" in group else 1.0) * decay
        return sign, decay, 1.0

    def _buffers(self, params: Tensors) -> Tensors:
        name = self.product.BUFFER
        buffers = []
        for param in params:
            state = self.state[param]
            if name not in state:
                state[name] = torch.zeros_like(param, requires_grad=False)
            buffers.append(state[name])
        return buffers

    def _run_fused(self, plan: _Plan, grads: Tensors, clocks: list[Clock]) -> None:
        rows = np.array(
            [
                (*self._preparation(group), *clock.rows[clock.stage])
                for group, clock in zip(self.param_groups, clocks, strict=True)
            ]
        )
        plan.run(self.kernels.STAGES[clocks[0].stage], rows, grads)

    def _run_functional(
        self, params: Tensors, grads: Tensors, owners: list[int], clocks: list[Clock]
    ) -> None:
        buffers = self._buffers(params)
        domains: dict[int, list[int]] = {}
        for index, owner in enumerate(owners):
            key = {"all": 0, "tensor": index}.get(self.product.SCOPE, owner)
            domains.setdefault(key, []).append(index)
        for members in domains.values():
            group, clock = self.param_groups[owners[members[0]]], clocks[owners[members[0]]]
            points, gradients = [], []
            for index in members:
                sign, l2, shrink = self._preparation(self.param_groups[owners[index]])
                gradient = grads[index] if sign == 1.0 else -grads[index]
                gradients.append(gradient + l2 * params[index] if l2 else gradient)
                points.append(params[index] * shrink if shrink != 1.0 else params[index])
            old = [buffers[index] for index in members]
            stage = self.STAGES[clock.stage]
            new_points, new_buffers = stage(points, old, gradients, *clock.rows[clock.stage])
            for index, point, buffer in zip(members, new_points, new_buffers, strict=True):
                if group["differentiable"]:
                    self.state[params[index]][self.product.BUFFER] = buffer
                else:
                    buffers[index].copy_(buffer)
                params[index].copy_(point)

    @contextlib.contextmanager
    def solution(self) -> Iterator[None]:
        """Within this context the parameters hold the solution, not the gradient's point.

        Raises:
            RuntimeError: between the stages of a step, where there is no solution.
        """
        self.eval()
        try:
            yield
        finally:
            self.train()

    def eval(self) -> None:
        """Let the parameters hold the solution, until :meth:`train`.

        Raises:
            RuntimeError: between the stages of a step, where there is no solution.
        """
        if any(group["clock"].stage for group in self.param_groups):
            raise RuntimeError(
                f"a step of {len(self.STAGES)} stages is not finished, so there is no solution yet"
            )
        if self._points is not None:
            return
        self._points = []
        if not self.product.SHIFTED:
            return
        with torch.no_grad():
            chosen = [
                (param, group)
                for group in self.param_groups
                for param in group["params"]
                if param in self.state
            ]
            self._points = [param.clone() for param, _ in chosen]
            for members in self._domains(chosen):
                params = [chosen[index][0] for index in members]
                row = self.product.solution_row(*chosen[members[0]][1]["clock"].memory)
                solved = self.product.solution(params, self._buffers(params), *row)
                for param, value in zip(params, solved, strict=True):
                    param.copy_(value)

    def _domains(self, chosen: list[tuple[torch.Tensor, dict[str, Any]]]) -> list[list[int]]:
        """The parameters over which sums run together."""
        domains: dict[int, list[int]] = {}
        for index, (_, group) in enumerate(chosen):
            key = {"all": 0, "tensor": index}.get(self.product.SCOPE, id(group))
            domains.setdefault(key, []).append(index)
        return list(domains.values())

    def train(self) -> None:
        """Let the parameters hold the point of the gradient again."""
        if self._points is None:
            return
        points, self._points = self._points, None
        params = [p for group in self.param_groups for p in group["params"] if p in self.state]
        with torch.no_grad():
            for param, point in zip(params, points, strict=bool(points)):
                param.copy_(point)

    def state_dict(self) -> dict[str, Any]:
        """The state, from which training resumes bit for bit.

        Raises:
            RuntimeError: in evaluation mode, where the parameters are not the points.
        """
        if self._points is not None:
            raise RuntimeError("the parameters hold the solution; call train() before state_dict()")
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the parameters must be those saved with it."""
        self._reset()
        super().load_state_dict(state_dict)


def _number(name: str, value: Any) -> float:
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(f"{name} is a tensor of {value.numel()} entries; one was expected")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r} is not a number") from None


def _tensor_namespace(product: ModuleType, group: dict[str, Any]) -> dict[str, Any]:
    """For a differentiable step: the host scalars' functions on tensors."""
    del group
    takes_math = "math" in (product.coefficients.__kwdefaults__ or {})
    return {"math": _TensorMath} if takes_math else {}


class _TensorMath:
    """The functions of :mod:`math`, on numbers and tensors."""

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        function = getattr(torch, name)
        return lambda value: function(torch.as_tensor(value, dtype=torch.float64))


class _Plan:
    """What of a fused step stays the same while the tensors do.

    The next step with the same parameters, state and kinds of gradients takes it again.  That they
    are the same is looked at anew each step: the identity of every parameter and every buffer, and
    class, device, dtype, shape and strides of all tensors, in one call of torch's own guard.
    """

    def __init__(
        self,
        optimizer: GeneratedOptimizer,
        params: Tensors,
        buffers: Tensors,
        grads: Tensors,
        owners: list[int],
    ) -> None:
        lengths = [param.numel() for param in params]
        self._groups = [list(group["params"]) for group in optimizer.param_groups]
        self._buffer_name = optimizer.product.BUFFER
        self._states = list(optimizer.state.values())
        self._state_buffers = [state.get(self._buffer_name) for state in self._states]
        self._params, self._buffers = params, buffers
        self._dtype = _KERNEL_DTYPES[params[0].dtype]
        self._how = kernels.plan(lengths, owners, optimizer.product.SCOPE)
        self._fixed = [*params, *buffers]
        self._complete = len(params) == sum(map(len, self._groups))
        self._guard = _guard(self._fixed, grads)

    def gradients(
        self, groups: list[dict[str, Any]], state: dict[torch.Tensor, dict[str, Any]]
    ) -> Tensors | None:
        """The gradients, if the plan still fits; None if anything has changed."""
        same = operator.is_
        if not self._complete or len(groups) != len(self._groups):
            return None
        grads: Tensors = []
        for group, params in zip(groups, self._groups, strict=True):
            present = group["params"]
            if len(present) != len(params) or not all(map(same, present, params)):
                return None
            grads += map(_GRADIENT, present)
        states = self._states
        if len(state) != len(states) or not all(map(same, state.values(), states)):
            return None
        buffers = map(operator.methodcaller("get", self._buffer_name), states)
        if not all(map(same, buffers, self._state_buffers)):
            return None
        return grads if self._guard(self._fixed, grads) else None

    def run(self, kernel: Any, rows: Any, grads: Tensors) -> None:
        """Gather the addresses and run the kernel."""
        tensors = [*self._fixed, *grads]
        pointers = np.fromiter(map(torch.Tensor.data_ptr, tensors), np.uintp, len(tensors))
        kernels.run(kernel, self._how, rows, pointers.reshape(3, -1), self._dtype)
        torch.autograd.graph.increment_version(self._params)


_GRADIENT = operator.attrgetter("grad")


def _guard(fixed: Tensors, grads: Tensors) -> Callable[[Tensors, Tensors], bool]:
    """A check that class, device, dtype, shape and strides of tensors are as they are now."""
    try:
        from torch._C._dynamo.guards import TensorGuards
    except ImportError:
        return _slow_guard(fixed, grads)
    check = TensorGuards(*fixed, *grads, dynamic_dims_sizes=None, dynamic_dims_strides=None).check

    def unchanged(fixed: Tensors, grads: Tensors) -> bool:
        return all(map(torch.is_tensor, grads)) and check(*fixed, *grads)

    return unchanged


def _slow_guard(fixed: Tensors, grads: Tensors) -> Callable[[Tensors, Tensors], bool]:
    """The same check in Python, for versions of torch without that guard."""

    def signature(tensor: torch.Tensor | None) -> Any:
        if tensor is None:
            return None
        return type(tensor), tensor.device, tensor.dtype, tensor.shape, tensor.stride()

    wanted = [signature(tensor) for tensor in (*fixed, *grads)]
    return lambda fixed, grads: [signature(tensor) for tensor in (*fixed, *grads)] == wanted
