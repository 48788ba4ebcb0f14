"""The optimizer behind generated classes whose parameters are matrices, or points of a manifold.

Beside what all optimizers share it looks at its parameters when they are handed in: their axes, and
whether they lie on the manifold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch

from hamilforge.runtime.core import loader
from hamilforge.runtime.core.torch_transforms import transforms_are_active
from hamilforge.runtime.optimizers import arrangements
from hamilforge.runtime.optimizers.arrangements import Arrangement, arrangement
from hamilforge.runtime.optimizers.clock import Clock, latch
from hamilforge.runtime.optimizers.cohorts import Cohorts
from hamilforge.runtime.optimizers.line_search import refuse_search, searched
from hamilforge.runtime.optimizers.lists_plan import ListsPlan
from hamilforge.runtime.optimizers.manifolds import reason_against, reason_against_shape, violation
from hamilforge.runtime.optimizers.matrix_plan import MatrixPlan
from hamilforge.runtime.optimizers.parted_optimizer import PartedOptimizer
from hamilforge.runtime.optimizers.reach import RATE, refuse_far
from hamilforge.runtime.optimizers.stateful_optimizer import Settled
from hamilforge.runtime.optimizers.step_plan import Plan, Standing

#: V by momentum in the last step, in the memory of a clock.
UNIT = "last_unit"
#: Options that are one for all groups, and what they are if nothing is said.
_OWN = {"batched": False, "line_search": None}


class MatrixOptimizer(PartedOptimizer):
    """A generated optimizer of matrices.

    A parameter is a matrix, or with ``batched=True`` any number of them along leading axes.

    Args:
        params: parameters, named parameters, or dictionaries that define groups.
        hyper: the hyper-parameters.
        options: as of every optimizer; ``rows`` (False): rows are what the rule takes for columns,
            and where points are vectors, rows are points; ``matrix`` (None): the axes of more than
            two that make the rows and the columns of a matrix; and, one for all groups, ``batched``
            (False), and ``line_search`` (None): ``"armijo"`` halves the rate of a step of a
            gradient flow until the loss falls by a part of what the step promises; ``step`` needs a
            closure then.  And of a group alone: ``manifold``, ``metric``, ``retraction`` instead of
            the declared; ``manifold=None`` has no constraint, and takes parameters of any axes.

    Raises:
        ValueError: a line search that the rule cannot have; or a parameter has too few or too many
            axes, more columns than rows can be orthonormal, or is not on the manifold.
    """

    _ONE_FOR_ALL = _OWN
    _GROUP_OPTIONS = (*arrangements.OPTIONS, *arrangements.MAPS, *_OWN)

    def __init__(self, params: Any, hyper: dict[str, Any], options: dict[str, Any]) -> None:
        batched = options.get("batched", False)
        if not isinstance(batched, bool):
            raise ValueError(f"batched = {batched!r}: True or False was expected")
        self._batched = batched
        self._line_search = options.get("line_search")
        refuse_search(self._line_search, self.product, options.get("differentiable", False))
        #: The factor before the rates that the line search of the last step chose; 0 for no step.
        self.step_factor = 1.0
        arranged = {name: options.get(name, own) for name, own in arrangements.OPTIONS.items()}
        taken = {*_OWN, *arranged}
        options = {name: value for name, value in options.items() if name not in taken}
        super().__init__(params, {**hyper, **arranged}, options)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **super().__getstate__(),
            **{f"_{name}": getattr(self, f"_{name}") for name in _OWN},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, default in _OWN.items():
            if f"_{name}" not in vars(self):
                setattr(self, f"_{name}", state.get(f"_{name}", default))
        self.step_factor = 1.0
        own = {f"_{name}" for name in _OWN}
        self._coming = state["param_groups"]
        try:
            super().__setstate__({name: value for name, value in state.items() if name not in own})
        finally:
            del self._coming

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; with a line search at the largest of the rates lr, lr/2, ... that it accepts.

        Args:
            closure: computes the loss again and returns it; with a line search it clears the
                gradients, computes those of the loss, and is called once for each rate too.

        Returns:
            The loss before the step; None without a closure.

        Raises:
            ValueError: a line search without a closure, or with a loss that is not finite.

        Nothing is changed by a step that raises.
        """
        if self._line_search is None:
            return super().step(closure)
        if closure is None:
            raise ValueError(f"line_search = {self._line_search!r} compares losses: step(closure)")
        loss, self.step_factor = searched(
            self.param_groups, lambda group: self._member(group).product, closure, super().step
        )
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, after a check of its hyper-parameters and parameters.

        Raises:
            ValueError: a hyper-parameter outside its domain, an option that is one for all groups,
                or a parameter that is no point.
        """
        with self._whole_or_not(param_group):
            for name in _OWN:
                if name in param_group:
                    raise ValueError(f"{name} is one for all groups: hand it to the optimizer")
            if not self._added_elsewhere(param_group):
                super().add_param_group(param_group)
                self._refuse_decay()
                self._refuse_no_points(param_group)
        self._note(param_group)

    def _refuse_no_points(self, group: Mapping[str, Any]) -> None:
        """Refuse a group whose parameters are no points, or are read in a way that steps are not.

        Raises:
            ValueError: it is refused.
        """
        own = arrangement(group, self.product)
        if own is not None:
            for reads, what in (
                (self.product.NOISE, "a rule with noise"),
                (self._line_search, "a line search"),
                (group["differentiable"], "a differentiable step"),
            ):
                if reads:
                    raise ValueError(f"{what} takes parameters as they are, and not by {own}")
        for param in group["params"]:
            name = self._name(param)
            if own is not None:
                arrangements.refuse_shape(own, param.shape, name)
                name = f"{name}, by {own},"
            many = self._batched or (own is not None and own.rows and own.vectors)
            (point,) = self._as_points([param.detach()], own)
            refuse_points(self.product, point, name, many, own)

    def _refuse_decay(self) -> None:
        for group in () if self.product.SHRINKS else self._groups:
            if group.get("weight_decay"):
                raise ValueError(
                    f"weight_decay = {group['weight_decay']}; points of {self.product.MANIFOLD} do "
                    "not shrink"
                )

    def _settle(self) -> list[Settled]:
        self._refuse_decay()
        return super()._settle()

    def _state_shape(self, name: str, param: torch.Tensor) -> Sequence[int]:
        product, own = self._taken(param)
        shape = param.shape if own is None else own.points(param.detach()).shape
        return state_shape(product, name, shape)

    def _taken(self, param: torch.Tensor) -> tuple[ModuleType, Arrangement | None]:
        """The code that moves a parameter, and how it is read; None as it is."""
        plain = self.product, None
        for group in getattr(self, "_coming", None) or self.param_groups:
            taken = self._member(group).product, self._arranged(group)
            if taken != plain and any(param is member for member in group["params"]):
                return taken
        return plain

    def _arrangement(self, param: torch.Tensor) -> Arrangement | None:
        """How a parameter is read; None as it is."""
        return self._taken(param)[1]

    @staticmethod
    def _as_points(tensors: Sequence[torch.Tensor], own: Arrangement | None) -> list[torch.Tensor]:
        return [*tensors] if own is None else [own.points(tensor) for tensor in tensors]

    def _point(self, param: torch.Tensor) -> torch.Tensor:
        own = self._arrangement(param)
        return param if own is None else own.points(param).contiguous()

    def _set_point(self, param: torch.Tensor, point: torch.Tensor) -> None:
        own = self._arrangement(param)
        super()._set_point(param, point if own is None else own.tensor(point, param.shape))

    def _form(self, tensors: list[torch.Tensor]) -> str:
        """Rows and axes are taken by the functional form alone."""
        arranged = [own for own in map(self._arranged, self._groups) if own is not None]
        for group in self._groups if arranged else ():
            for name in ("fused", "foreach", "differentiable"):
                if group[name]:
                    raise RuntimeError(f"{name}=True, but a group has {arranged[0]}")
        return "functional" if arranged else super()._form(tensors)

    def _arranged(self, group: Mapping[str, Any]) -> Arrangement | None:
        return arrangement(group, self._member(group).product)

    def _run(self, plan: Plan, grads: list[torch.Tensor], clocks: list[Clock]) -> None:
        standing = plan.standing
        if not (isinstance(plan, MatrixPlan) and plan.is_by_kernels):
            self._refuse_infinite(standing.params, grads)
        self._refuse_far(standing.params, grads, self._owners, clocks)
        still = {owner for owner, clock in enumerate(clocks) if rests(self.product, clock)}
        names = self.product.STATES
        kept = [
            (array, array.detach().clone())
            for param, owner in zip(standing.params, self._owners if still else (), strict=False)
            if owner in still
            for array in (param, *(self.state[param][name] for name in names))
        ]
        super()._run(plan, grads, clocks)
        for array, before in kept:
            array.copy_(before)

    def _run_functional(
        self,
        params: list[torch.Tensor],
        states: list[list[torch.Tensor]],
        grads: list[torch.Tensor],
        owners: list[int],
        clocks: list[Clock],
        differentiable: bool,
    ) -> None:
        points = [self._point(param) for param in params]
        self._refuse_infinite(params, grads)
        self._refuse_far(params, grads, owners, clocks)
        still = {owner for owner, clock in enumerate(clocks) if rests(self.product, clock)}
        moving = [k for k, owner in enumerate(owners) if owner not in still]
        if len(moving) < len(params):
            params, points, grads = (
                [tensors[k] for k in moving] for tensors in (params, points, grads)
            )
            owners = [owners[k] for k in moving]
            states = [[arrays[k] for k in moving] for arrays in states]
        grads = [*grads]
        changed = [k for k, point in enumerate(points) if point is not params[k]]
        for k in changed:
            own = self._arrangement(params[k])
            (grad,) = self._as_points([grads[k]], own)
            grads[k] = grad.contiguous()
            points[k] = points[k].clone(memory_format=torch.contiguous_format)
        super()._run_functional(points, states, grads, owners, clocks, differentiable)
        for k in changed:
            self._set_point(params[k], points[k])

    def _refuse_infinite(
        self, params: Sequence[torch.Tensor], grads: Sequence[torch.Tensor]
    ) -> None:
        """Refuse what torch's factorisations raise at, before anything is changed."""
        if not self.product.TALL or transforms_are_active():
            return
        for param, grad in zip(params, grads, strict=True):
            if not bool(grad.detach().isfinite().all()):
                raise ValueError(
                    f"the gradient of {self._name(param)} has entries that are not finite, of "
                    "which torch makes no factors; nothing was changed"
                )

    def _refuse_far(
        self,
        params: Sequence[torch.Tensor],
        grads: Sequence[torch.Tensor],
        owners: Sequence[int],
        clocks: Sequence[Clock],
    ) -> None:
        """Refuse a step that is too long for the retraction."""
        product = self.product
        if not product.REACH:
            return
        for owner in dict.fromkeys(owners):
            if rests(product, clocks[owner]):
                continue
            members = [k for k, own in enumerate(owners) if own == owner]
            states = [[self.state[params[k]][name] for k in members] for name in product.STATES]
            number, before = Cohorts(self._groups).members[owner]
            hyper, *settled = self._settled[number]
            again = None
            if RATE in hyper:
                again = functools.partial(self._at_rate, before, hyper, settled)
            refuse_far(
                product,
                [
                    self._pointed(params, params, members),
                    *states,
                    self._pointed(grads, params, members),
                ],
                clocks[owner],
                lambda k, members=members: self._name(params[members[k]]),  # type: ignore[misc]
                again,
                float(hyper.get(RATE, 0.0)),
            )

    def _pointed(
        self,
        tensors: Sequence[torch.Tensor],
        params: Sequence[torch.Tensor],
        members: Sequence[int],
    ) -> list[torch.Tensor]:
        """Tensors of some parameters as points."""
        if not any(map(self._arranged, self._groups)):
            return [tensors[k] for k in members]
        return [self._as_points([tensors[k]], self._arrangement(params[k]))[0] for k in members]

    def _at_rate(
        self, clock: Clock, hyper: dict[str, Any], settled: Sequence[Any], rate: float
    ) -> Clock:
        """A clock with the scalars of a step of another learning rate."""
        return latch(self.product, clock, {**hyper, RATE: rate}, settled[0])

    def _planned(self, form: str, standing: Standing, owners: list[int]) -> Plan:
        self._owners = owners
        if form != "fused":
            return super()._planned(form, standing, owners)

        def lists(among: Sequence[int]) -> ListsPlan:
            return ListsPlan(standing, owners, None, self.product, self.IN_PLACE, among)

        insisted = any(group["fused"] for group in self._groups)
        large = None if insisted or self.product.VECTORS else lists
        return MatrixPlan(standing, owners, self.kernels, self._widths(), large)

    def violation(self) -> float:
        """How far parameters are off their manifold: the largest spectral norm of the constraint.

        Raises:
            ValueError: there is no manifold.
        """
        if not self.product.MANIFOLD:
            raise ValueError(f"{type(self).__name__} has no manifold")
        with torch.no_grad():
            parts = [
                violation(self._member(group).product, self._point(param))
                for group in self.param_groups
                for param in group["params"]
            ]
        return float(torch.tensor([0.0, *parts], dtype=torch.float64).max())  # NaN if one is


def rests(product: ModuleType, clock: Clock) -> bool:
    """Whether a step has no length, as with a learning rate of 0: nothing changes in it.

    Args:
        product: a generated module.
        clock: where a group stands, latched.
    """
    _, memory = clock.pending
    return UNIT in product.MEMORY and bool(memory[product.MEMORY.index(UNIT)] <= 0)


def state_shape(product: ModuleType, name: str, shape: Sequence[int]) -> Sequence[int]:
    """The shape of an array of the state.

    Args:
        product: a generated module.
        name: of the array.
        shape: of the parameter; further axes in front are many.

    Returns:
        The same axes in front, then its own; beside a vector a column has one axis.
    """
    own = product.STATE_SHAPES.get(name)
    if own is None:
        return shape
    if not (product.VECTORS or len(shape) < 2):
        sizes = dict(zip(product.SHAPE, shape[-2:], strict=True)) | {"1": 1}
        return (*shape[:-2], *(sizes[axis] for axis in own))
    sizes = {product.SHAPE[0]: shape[-1], product.SHAPE[1]: 1, "1": 1}
    axes = [sizes[axis] for axis in own]
    is_column = own[-1] in (product.SHAPE[1], "1")
    return (*shape[:-1], *(axes[:-1] if is_column else axes))


def refuse_points(
    product: ModuleType,
    tensor: torch.Tensor,
    name: str,
    batched: bool,
    own: Arrangement | None = None,
) -> None:
    """Refuse a parameter that is no point.

    Args:
        product: a generated module.
        tensor: the parameter, as points.
        name: what it is called in errors.
        batched: whether it may have leading axes.
        own: how it is read; None as it is.

    Raises:
        ValueError: its axes, or where it lies.
    """
    shape = tuple(tensor.shape)
    if reason := reason_against_shape(product, tensor):
        raise ValueError(f"{name} is no point: {reason}")
    if len(shape) > (1 if product.VECTORS else 2) and not batched:
        rows = ", with rows=True its rows are" if product.VECTORS and len(shape) == 2 else ""
        raise ValueError(
            f"{name} has the shape {shape}; with batched=True leading axes are many points{rows}"
        )
    if len(shape) > 1 and product.TALL and shape[-1] > shape[-2]:
        advice = "rows=True takes its rows" if own is None else "read it the other way"
        advice = "leave out rows=True" if own is not None and own.rows else advice
        raise ValueError(
            f"{name} has {shape[-1]} columns and {shape[-2]} rows, and columns cannot be "
            f"orthonormal: {advice}"
        )
    wanted = {} if product.VECTORS else getattr(product, "LEAST", {})
    for axis, least in wanted.items():
        sizes = shape[-2:] if len(shape) > 1 else (*shape, 1)
        if dict(zip(product.SHAPE, sizes, strict=True))[axis] < least:
            raise ValueError(
                f"{name} has the shape {shape}, and the rule takes the unit vector {least - 1} of "
                f"{axis}, from 0: {axis} is at least {least}"
            )
    if product.MANIFOLD and (reason := reason_against(product, tensor)):
        options = "" if own is None else f", {own}"
        raise ValueError(
            f"{name} is not on the manifold {product.MANIFOLD}: {reason}; hf.project_(parameter, "
            f"{_called(product)}{options}) moves a tensor there if it can"
        )


def _called(product: ModuleType) -> str:
    """What the manifold of a rule is called by: its name, if one with this constraint ships."""
    name = product.MANIFOLD
    if loader.is_shipped(f"manifold/{name}"):
        shipped = loader.load(f"manifold/{name}").module("torch")
        if shipped.CONSTRAINT == product.CONSTRAINT:
            return f'"{name}"'
    return "the path of its declaration"
