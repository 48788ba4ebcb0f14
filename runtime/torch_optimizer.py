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

from hamilforge.runtime.clock import Clock, check_domain, latch, start, tick
from hamilforge.runtime.fused_plan import Plan, obstacle

Tensors = list[torch.Tensor]

OPTIONS: dict[str, Any] = {
    "weight_decay": 0.0,
    "decoupled_weight_decay": False,
    "maximize": False,
    "foreach": None,
    "differentiable": False,
    "fused": None,
}


#: Values that stay what they are; a tensor may change in place.
_FIXED = frozenset((bool, int, float, type(None)))


def sum_over(values: Iterable[torch.Tensor]) -> torch.Tensor:
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
                near = difflib.get_close_matches(name, [*OPTIONS, *hyper], n=1, cutoff=0.7)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise TypeError(f"{type(self).__name__} has no option '{name}'{hint}")
        self._reset()
        super().__init__(params, {**hyper, **OPTIONS, **options, "clock": None})

    def _reset(self) -> None:
        self._plan: Plan | None = None
        self._points: Tensors | None = None
        self._choices: list[tuple[Any, ...]] | None = None
        self._settled: list[tuple[Any, ...]] = []

    @property
    def product(self) -> ModuleType:
        """The generated module of this class."""
        return sys.modules[type(self).__module__]

    @property
    def kernels(self) -> ModuleType:
        """The compiled kernels of this product."""
        name = type(self).__module__.removesuffix("_torch") + "_numba"
        return importlib.import_module(name)

    def __getstate__(self) -> dict[str, Any]:
        self._refuse_at_solution("copying the optimizer")
        state: dict[str, Any] = super().__getstate__()
        return state

    def _refuse_at_solution(self, what: str) -> None:
        if self._points is not None:
            raise RuntimeError(f"the parameters hold the solution; call train() before {what}")

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
        known = (*self.product.HYPERPARAMETERS, *OPTIONS)
        for name in param_group:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if near and name not in known:
                raise TypeError(
                    f"{type(self).__name__} has no option '{name}'; did you mean '{near[0]}'?"
                )
        values = {**self.defaults, **param_group}
        self._check(values)
        if values["decoupled_weight_decay"] and "lr" not in self.product.HYPERPARAMETERS:
            raise ValueError(
                "decoupled weight decay multiplies by 1 - lr*weight_decay, and there is no "
                "hyper-parameter lr; use weight_decay alone"
            )
        if values["foreach"]:
            raise ValueError(
                "foreach=True has no meaning here: the fused kernel takes all tensors in one call, "
                "and fused=False takes the functional form"
            )
        if values["fused"] and values["differentiable"]:
            raise ValueError("a fused step is not differentiable; choose one")
        super().add_param_group(param_group)
        joins = self.product.SCOPE == "all" and len(self.param_groups) > 1
        clock = self.param_groups[0]["clock"] if joins else start(self.product)
        self.param_groups[-1]["clock"] = clock
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
        self._refuse_at_solution("step()")
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
            clocks = self._all_latched()
            self._run_fused(plan, grads, clocks)
        else:
            self._plan = None
            clocks = self._stage_from_scratch()
        for group, clock in zip(groups, clocks, strict=True):
            group["clock"] = tick(clock)

    def _stage_from_scratch(self) -> list[Clock]:
        """A stage with every tensor looked at one by one, and a plan for the next if fused."""
        groups = self.param_groups
        params: Tensors = []
        grads: Tensors = []
        owners: list[int] = []
        for number, group in enumerate(groups):
            for param in group["params"]:
                if param.grad is not None:
                    params.append(param)
                    grads.append(param.grad)
                    owners.append(number)
        self._refuse(params, grads)
        if not params:
            return self._all_latched()
        kept = [self.state[param] for param in params if param in self.state]
        name = self.product.BUFFER
        reason = obstacle([*params, *(state[name] for state in kept if name in state), *grads])
        if any(group["differentiable"] for group in groups):
            reason = "a differentiable step keeps the graph"
        wanted = [group["fused"] for group in groups]
        if any(wanted) and reason:
            raise RuntimeError(f"fused=True, but {reason}")
        clocks = self._all_latched()
        buffers = self._buffers(params)
        if reason or False in wanted:
            self._run_functional(params, buffers, grads, owners, clocks)
        else:
            plan = Plan(groups, self.state, params, buffers, grads, owners, self.kernels)
            self._plan = plan
            self._run_fused(plan, grads, clocks)
        return clocks

    def _refuse(self, params: Tensors, grads: Tensors) -> None:
        """Refuse gradients that no form of the step takes, before anything is changed."""
        for param, grad in zip(params, grads, strict=True):
            if grad.layout != torch.strided:
                raise RuntimeError("sparse gradients are not supported; use dense ones")
            if grad.is_complex():
                raise RuntimeError(
                    "complex parameters are not supported; optimize their real and imaginary parts"
                )
            kept = self.state[param] if param in self.state else {}
            shapes = [tuple(t.shape) for t in (param, grad, kept.get(self.product.BUFFER, param))]
            if len(set(shapes)) > 1:
                raise RuntimeError(
                    f"the shapes of a parameter, its gradient and its buffer differ: {shapes}"
                )

    def _all_latched(self) -> list[Clock]:
        """The clocks of all groups with the scalars of this step."""
        groups, product = self.param_groups, self.product
        if groups[0]["clock"].stage:
            return [group["clock"] for group in groups]
        choose = operator.itemgetter(*product.HYPERPARAMETERS, *OPTIONS)
        choices = [(*values, *map(type, values)) for values in map(choose, groups)]
        fixed = all(_FIXED.issuperset(one[len(one) // 2 :]) for one in choices)
        if not fixed or choices != self._choices:
            self._settled = self._settle()
            self._choices = choices if fixed else None
        pairs = zip(groups, self._settled, strict=True)
        return [latch(product, group["clock"], *settled) for group, settled in pairs]

    def _settle(self) -> list[tuple[Any, ...]]:
        """What :func:`latch` takes beside the clock, for each group, after a check."""
        names = self.product.HYPERPARAMETERS
        settled: list[tuple[Any, ...]] = []
        for group in self.param_groups:
            self._check(group)
            number = (lambda value: value) if group["differentiable"] else float
            hyper = {name: number(group[name]) for name in names}
            settled.append((hyper, tuple(map(number, _preparation(group)))))
            if group["differentiable"]:
                settled[-1] += (_TensorMath(),)
        chosen = [[group[name] for name in names] for group in self.param_groups]
        if self.product.SCOPE == "all" and any(one != chosen[0] for one in chosen):
            raise ValueError(
                "sums run over all groups, so all groups need equal hyper-parameters; "
                'declare [reduce] scope = "group" for groups of their own'
            )
        return settled

    def _buffers(self, params: Tensors) -> Tensors:
        name = self.product.BUFFER
        buffers = []
        for param in params:
            state = self.state[param]
            if name not in state:
                state[name] = torch.zeros_like(param, requires_grad=False)
            buffers.append(state[name])
        return buffers

    def _run_fused(self, plan: Plan, grads: Tensors, clocks: list[Clock]) -> None:
        rows = np.array([clock.row() for clock in clocks])
        plan.run(clocks[0].stage, rows, grads)

    def _run_functional(
        self,
        params: Tensors,
        buffers: Tensors,
        grads: Tensors,
        owners: list[int],
        clocks: list[Clock],
    ) -> None:
        domains: dict[int, list[int]] = {}
        for index, owner in enumerate(owners):
            key = {"all": 0, "tensor": index}.get(self.product.SCOPE, owner)
            domains.setdefault(key, []).append(index)
        for members in domains.values():
            clock = clocks[owners[members[0]]]
            points, gradients = [], []
            for index in members:
                sign, l2, shrink, *_ = clocks[owners[index]].row()
                gradient = grads[index] if sign == 1 else -grads[index]
                gradients.append(gradient + l2 * params[index] if l2 != 0 else gradient)
                whole = not isinstance(shrink, torch.Tensor) and shrink == 1
                points.append(params[index] if whole else params[index].clone() * shrink)
            old = [buffers[index] for index in members]
            stage = self.STAGES[clock.stage]
            new_points, new_buffers = stage(points, old, gradients, *clock.rows[clock.stage])
            for index, point, buffer in zip(members, new_points, new_buffers, strict=True):
                if self.param_groups[owners[index]]["differentiable"]:
                    self.state[params[index]][self.product.BUFFER] = buffer
                else:
                    buffers[index].copy_(buffer)
                params[index].copy_(point)

    @contextlib.contextmanager
    def solution(self) -> Iterator[None]:
        """Within this context the parameters hold the solution, not the gradient's point.

        The way back is that of the group's last step, also for a parameter that had no gradient in
        it.

        Raises:
            RuntimeError: between the stages of a step, where there is no solution.
        """
        outer = self._points is not None
        self.eval()
        try:
            yield
        finally:
            if not outer:
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
        self._refuse_at_solution("state_dict()")
        packed: dict[str, Any] = super().state_dict()
        for group in packed["param_groups"]:
            group["clock"] = group["clock"].plain()
        return packed

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the parameters must be those saved with it.

        Raises:
            ValueError: the state is not one of this optimizer.
        """
        groups = [dict(group) for group in state_dict["param_groups"]]
        for group in groups:
            if "clock" not in group:
                raise ValueError(f"the state is not one of {type(self).__name__}: no clock in it")
            group["clock"] = Clock.from_plain(group["clock"])
        self._reset()
        super().load_state_dict({**state_dict, "param_groups": groups})
        for param, state in self.state.items():
            # A buffer of its own, laid out as the parameter is.
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == param.shape:
                    state[name] = torch.empty_like(param, requires_grad=False).copy_(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool | str):
        raise ValueError(f"{name} = {value!r} is not a number")
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        raise ValueError(f"{name} is a tensor of {value.numel()} entries; one was expected")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} = {value!r} is not a number") from None


def _preparation(group: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The gradient's sign, the L2 factor and the factor of decoupled weight decay."""
    sign = -1.0 if group["maximize"] else 1.0
    decay = group["weight_decay"]
    if group["decoupled_weight_decay"]:
        return sign, 0.0, 1.0 - group["lr"] * decay
    return sign, decay, 1.0


class _TensorMath:
    """The functions of :mod:`math`, on numbers and tensors."""

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        function = getattr(torch, name)
        return lambda value: function(torch.as_tensor(value, dtype=torch.float64))
