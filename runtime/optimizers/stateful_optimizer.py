"""What belongs to a parameter of an optimizer: the arrays of its state, and the point it holds.

In: parameters.  Out: their arrays, which begin when they are asked for; and parameters that hold
the solution instead of the point of the gradient, and back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from hamilforge.runtime.core.shards import like
from hamilforge.runtime.core.torch_functions import TensorMath
from hamilforge.runtime.optimizers.clock import start
from hamilforge.runtime.optimizers.cohorts import Cohorts, Places
from hamilforge.runtime.optimizers.grouped_optimizer import GroupedOptimizer
from hamilforge.runtime.optimizers.step_plan import Tensors

#: What :func:`latch` takes of a group: hyper-parameters, preparation, functions of tensors.
Settled = tuple[dict[str, Any], tuple[Any, ...], TensorMath | None]


class StatefulOptimizer(GroupedOptimizer):
    """Arrays of parameters, and their two points; see :class:`GeneratedOptimizer`."""

    #: What holds for each group until a hyper-parameter changes.
    _settled: list[Settled]
    #: Whether the way from the solution back to the points keeps the graph.
    _returns_graph = False

    @property
    def _groups(self) -> list[dict[str, Any]]:
        """The groups that the code of this class moves: all, if no others do."""
        return self.param_groups

    def _states(self, params: Tensors, owners: Sequence[int]) -> list[Tensors]:
        """The arrays of the state, name by name; what is not there begins.

        Args:
            params: parameters.
            owners: the number of the group of each.
        """
        product = self.product
        fresh: dict[torch.Tensor, list[str]] = {}
        for param in params:
            state = self.state[param]
            new = [name for name in product.STATES if name not in state]
            if new:
                fresh[param] = new
            for name in new:
                shape = self._state_shape(name, param)
                if shape == param.shape:
                    state[name] = torch.zeros_like(param, requires_grad=False)
                else:
                    state[name] = param.new_zeros(shape)
        if fresh:
            sums = product.SCOPE != "coordinate"
            scopes = self._domains([*owners]) if sums else [[k] for k in range(len(params))]
            for members in scopes:
                begun = {params[k]: fresh[params[k]] for k in members if params[k] in fresh}
                if begun:
                    self._start(begun, self._settled[owners[members[0]]][0])
            self._begin_with_numbers(fresh)
        return [[self.state[param][name] for param in params] for name in product.STATES]

    def _has_state(self, param: torch.Tensor) -> bool:
        """Whether all arrays of a parameter are there; torch makes a dictionary when one looks."""
        state = self.state.get(param, {})
        return all(name in state for name in self.product.STATES)

    def _begin_with_numbers(self, begun: Collection[torch.Tensor]) -> None:
        """Give parameters that have begun the numbers of their scope of sums."""
        for members in self._numbered_scopes():
            older = [param for param in members if param not in begun]
            if self._numbers is not None and older:
                self._numbers.hand_on(older[0], [p for p in members if p in begun], self.state)

    def _note_numbers(self, moved: Collection[torch.Tensor]) -> None:
        """Remember who moves and who rests, for the numbers of their scope of sums."""
        pairs = [
            ([p for p in members if p in moved], [p for p in members if p not in moved])
            for members in self._numbered_scopes()
        ]
        if self._numbers is not None:
            self._numbers.note(pairs)

    def _numbered_scopes(self) -> list[Tensors]:
        """The parameters with a state and entries of each scope of sums that has numbers."""
        if self._numbers is None or self._scope == "tensor":
            return []
        owned = [
            (param, owner)
            for owner, group in enumerate(self._groups)
            for param in group["params"]
            if param.numel() and self._has_state(param)
        ]
        scopes = self._domains([owner for _, owner in owned])
        return [[owned[index][0] for index in members] for members in scopes]

    def _follow(self) -> None:
        if self._partakers is not None:
            self._partakers.note(self._groups)
        if self._counts_by_parameter:
            self._places = self._places or Places(self._groups)
            self._places.follow(self._groups, self.state, self._has_state, start(self.product))

    @property
    def _counts_by_parameter(self) -> bool:
        """Whether each parameter counts its own steps."""
        return self.product.COUNTS == "parameter" and self._scope not in ("all", "group")

    def _start(self, begun: Mapping[torch.Tensor, list[str]], hyper: dict[str, Any]) -> None:
        """Let new arrays begin where they do not at zero.

        Args:
            begun: the parameters of one scope of sums that begin, and their new arrays.
            hyper: the hyper-parameters.
        """
        product = self.product
        if not any(name in product.STARTED for new in begun.values() for name in new):
            return
        states = ([self.state[param][name] for param in begun] for name in product.STATES)
        row = product.start_row(*(hyper[name] for name in product.HYPERPARAMETERS))
        points = [self._point(param) for param in begun]
        if torch.is_grad_enabled():  # what a graph keeps must not be the parameter itself
            points = [point.clone() for point in points]
        started = product.started(points, *states, *row)
        for name, arrays in zip(product.STARTED, started, strict=True):
            for param, point, array in zip(begun, points, arrays, strict=True):
                if name in begun[param]:
                    new = torch.empty_like(point, requires_grad=False)
                    self.state[param][name] = new.copy_(array)

    def _point(self, param: torch.Tensor) -> torch.Tensor:
        """A parameter as generated code takes it."""
        return param

    def _set_point(self, param: torch.Tensor, point: torch.Tensor) -> None:
        """Set a parameter from what generated code returns."""
        param.copy_(like(point, param))

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
                f"a step of {self._stages_inside} stages is not finished, so "
                "there is no solution yet"
            )
        if self._points is not None:
            return
        self._follow()
        if not self.product.SHIFTED:
            self._points = []
            return
        cohorts = Cohorts(self._groups)
        chosen = [
            (param, cohorts.rows[number][index])
            for number, group in enumerate(self._groups)
            for index, param in enumerate(group["params"])
            if self._has_state(param)
        ]
        # no graph leads through leaves, of which no step keeps one
        leaves = any(param.is_leaf and param.requires_grad for param, _ in chosen)
        self._returns_graph = self._keeps_graph and not leaves
        with torch.set_grad_enabled(self._returns_graph):
            kept = [(param, param.clone()) for param, _ in chosen]
            points = [point if self._returns_graph else param for param, point in kept]
            self._points = kept
            for members in self._domains([owner for _, owner in chosen]):
                params = [chosen[index][0] for index in members]
                owner, clock = cohorts.members[chosen[members[0]][1]]
                row = self.product.solution_row(*clock.memory)
                states = self._states(params, [owner] * len(params))
                own = [self._point(points[index]) for index in members]
                solved = self.product.solution(own, *states, *row)
                for param, value in zip(params, solved, strict=True):
                    self._set_point(param, value)

    def train(self) -> None:
        """Let the parameters hold the point of the gradient again."""
        if self._points is None:
            return
        points, self._points = self._points, None
        with torch.set_grad_enabled(self._returns_graph):
            for param, point in points:
                param.copy_(point)

    @property
    def _keeps_graph(self) -> bool:
        """Whether steps, and the way to the solution and back, are differentiated."""
        return any(group["differentiable"] for group in self.param_groups)

    def _domains(self, owners: list[int]) -> list[list[int]]:
        """The numbers of the tensors over which sums run together, from those of their groups."""
        domains: dict[int, list[int]] = {}
        for index, domain in enumerate(self._sums_of(owners)):
            domains.setdefault(domain, []).append(index)
        return list(domains.values())

    def _sums_of(self, owners: list[int]) -> list[int]:
        """The number of the sum that each tensor takes part in, from those of their groups."""
        if self._scope == "tensor":
            return [*range(len(owners))]
        return [0] * len(owners) if self._scope == "all" else owners
