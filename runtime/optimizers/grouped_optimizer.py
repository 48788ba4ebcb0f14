"""What an optimizer says of groups of parameters, and what it saves.

In: parameters, hyper-parameters and options of groups, or a state that was saved.  Out: groups that
one step can take, or an error that leaves all as it was.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch.optim import Optimizer

from hamilforge.runtime.core.shards import is_made_for_a_shard
from hamilforge.runtime.optimizers.clock import start
from hamilforge.runtime.optimizers.cohorts import LATE, Places
from hamilforge.runtime.optimizers.hyperparameters import arguments, hyperparameters
from hamilforge.runtime.optimizers.noise import DRAWS, SEED, names_of
from hamilforge.runtime.optimizers.optimizer_options import (
    SCOPES,
    check_together,
    check_values,
    number,
    options_of,
    refuse_misspelled,
    refuse_places,
    refuse_unknown,
    worker_options,
)
from hamilforge.runtime.optimizers.optimizer_state import (
    check_buffers,
    check_shapes,
    renamed,
    restored_group,
    saved_group,
)
from hamilforge.runtime.optimizers.partakers import Partakers
from hamilforge.runtime.optimizers.shared_numbers import SharedNumbers
from hamilforge.runtime.optimizers.workers import WORKERS, Workers

#: The worker of a rule that takes no means.
ALONE = Workers("none")
#: Where a loop stands, in the memory of a clock: the same for all groups.
LOOP = ("last_l", "last_loop_length", "last_loops")


class GroupedOptimizer(Optimizer):
    """Groups, options and checkpoints of a generated optimizer; see :class:`GeneratedOptimizer`."""

    STAGES: tuple[Callable[..., tuple[list[torch.Tensor], ...]], ...]
    _home: ClassVar[str]
    #: Options of a group beside those that every optimizer has.
    _GROUP_OPTIONS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Any, hyper: dict[str, Any], options: dict[str, Any]) -> None:
        refuse_unknown(type(self).__name__, options, self.product, self._GROUP_OPTIONS)
        of_workers = {
            name: options[name] for name in worker_options(self.product) if name in options
        }
        self._workers = Workers(**of_workers) if self.product.AVERAGES else ALONE
        options = {name: value for name, value in options.items() if name not in of_workers}
        chosen = {**options_of(self.product), **options}
        chosen["scope"] = self._checked_scope(chosen["scope"])
        self._reset()
        super().__init__(params, {**hyper, **chosen, "clock": None, LATE: {}, **self._begun})

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if "STAGES" in vars(cls):  # a generated class; what a user derives has its product
            cls._home = cls.__module__

    @property
    def _begun(self) -> dict[str, int]:
        """How many gradients have been taken before the first, where that chooses the noise."""
        return {DRAWS: 0} if self.product.NOISE else {}

    def _checked_scope(self, scope: Any) -> str:
        """Over what sums run.

        Raises:
            ValueError: there is no such scope, or sums over a part of the parameters are not right.
        """
        declared: str = self.product.SCOPE
        if scope is not None and scope not in (*SCOPES, declared):
            raise ValueError(f"scope = {scope!r}; one of {', '.join(SCOPES)} was expected")
        chosen: str = declared if scope is None or declared == "coordinate" else scope
        if chosen in ("all", "group") and is_made_for_a_shard():
            raise ValueError(
                f"{type(self).__name__} takes sums over the parameters of its scope ({chosen}), "
                "and ZeroRedundancyOptimizer gives each process some of them; use FSDP2 "
                "(torch.distributed.fsdp.fully_shard), whose sums are those of all processes, or "
                'scope="tensor", for sums over each tensor'
            )
        return chosen

    def _reset(self) -> None:
        """Forget what holds for these groups and states alone."""
        self._points: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        self._places: Places | None = None
        self._partakers: Partakers | None = None
        shared = getattr(self.product, "SHARED", ())
        self._numbers = SharedNumbers(shared) if shared else None

    @functools.cached_property
    def product(self) -> ModuleType:
        """The generated module of this class."""
        return sys.modules[self._home]

    def __getstate__(self) -> dict[str, Any]:
        self._refuse_at_solution("copying the optimizer")
        self._follow()
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_workers": self._workers} if self.product.AVERAGES else state

    def _refuse_at_solution(self, what: str) -> None:
        if self._points is not None:
            raise RuntimeError(f"the parameters hold the solution; call train() before {what}")

    def _refuse_unexchanged(self) -> None:
        """After an outer step that was not done, as one whose exchange failed."""
        if self.param_groups[0]["clock"].stage >= self._stages_inside:
            raise RuntimeError(
                "the outer step of the last step() was not finished; go on from the last checkpoint"
            )

    def __setstate__(self, state: dict[str, Any]) -> None:
        product = self.product
        if "_workers" not in vars(self):
            self._workers = state.get("_workers", ALONE)
        own = arguments(product)
        known = state.get("defaults", vars(self).get("defaults", {}))
        options = {**options_of(product), "scope": product.SCOPE, **self._begun}
        defaults = {**own, **options, LATE: {}, **known}
        groups = [self._restored(group, defaults) for group in state["param_groups"]]
        self._check_together(groups)
        for group in groups if product.AVERAGES else ():
            count, here = group.pop(WORKERS, self._workers.size), self._workers.size
            if count != here:
                raise ValueError(f"the state is one of {count} workers, and there are {here}")
        check_shapes(state["state"], product, self._state_shape)
        super().__setstate__({**state, "param_groups": groups})
        self._reset()

    def _restored(self, group: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """A group of a state, checked."""
        return restored_group(group, self.product, self._widths(), defaults)

    def _saved(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """A group as it stands in a state."""
        return saved_group(group, self.product)

    def _widths(self) -> list[int]:
        """How many scalars each stage takes, beside points, states and gradients."""
        lists = len(self.product.STATES) + 2
        drawn = [*map(len, self.product.NOISE)] or [0] * len(self.STAGES)
        return [
            len(inspect.signature(stage).parameters) - lists - count
            for stage, count in zip(self.STAGES, drawn, strict=True)
        ]

    def _check_together(self, groups: list[dict[str, Any]]) -> None:
        """Refuse groups that one step cannot take.

        Raises:
            ValueError: their scopes differ, or the stages at which they stand.
        """
        scopes = {self._checked_scope(group["scope"]) for group in groups}
        if len(scopes) > 1:
            raise ValueError(f"scope is one for all groups, not {' and '.join(sorted(scopes))}")
        if len({group["clock"].stage for group in groups if group["clock"] is not None}) > 1:
            raise ValueError("the groups stand at different stages of a step")
        if self.product.CLOSES:
            clocks = [group["clock"] for group in groups if group["clock"] is not None]
            places = map(self.product.MEMORY.index, LOOP)
            if any(len({clock.memory[place] for clock in clocks}) > 1 for place in places):
                raise ValueError("the groups stand at different places of their loops")
        for name in (SEED, DRAWS) if self.product.NOISE else ():
            if len({group[name] for group in groups}) > 1:
                raise ValueError(f"{name} is one for all groups: their noise is of one generator")

    @property
    def _scope(self) -> str:
        scope: str = self.param_groups[0]["scope"]
        return scope

    @property
    def _stages_inside(self) -> int:
        """How many stages a step has; what follows them in some is the outer step."""
        return len(self.STAGES) - int(self.product.CLOSES)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, after a check of its hyper-parameters.

        Raises:
            ValueError: a hyper-parameter outside its domain, another scope, or the middle of a
                step.
            RuntimeError: in evaluation mode, where the parameters are not the points.
        """
        self._refuse_at_solution("add_param_group()")
        if any(group["clock"].stage for group in self.param_groups):
            raise ValueError("a group can be added only between steps, not between stages")
        if self.param_groups:
            self._follow()
        with self._whole_or_not(param_group):
            self._add_whole(param_group)
        places = self._places
        self._reset()
        self._places = places
        self._follow()

    def _add_whole(self, param_group: dict[str, Any]) -> None:
        refuse_misspelled(type(self).__name__, param_group, self.product, self._GROUP_OPTIONS)
        refuse_places(type(self).__name__, param_group, self.product)
        values = {**self.defaults, **param_group}
        check_values(values, self.product, self._workers.size)
        check_together(values, self.product, self._workers.size)
        values["scope"] = self._checked_scope(values["scope"])
        begun: dict[str, Any] = {}
        if self.product.NOISE and self.param_groups:  # one generator for all
            first = self.param_groups[0]
            begun = {DRAWS: first[DRAWS], SEED: param_group.get(SEED, first[SEED])}
        self._check_together([*self.param_groups, {**values, **begun, "clock": None}])
        super().add_param_group(param_group)
        if self._begun or self._workers.size > 1:
            added = self.param_groups[-1]["params"]
            names = names_of(self.param_groups)[-len(added) :]
            rule = type(self).__name__
            self._workers.begin(rule, names, added, self._common(values))
        self.param_groups[-1].update(begun, scope=values["scope"])
        joins = self._scope == "all" or self.product.CLOSES  # a loop is one for all groups
        joins = joins and len(self.param_groups) > 1
        clock = self.param_groups[0]["clock"] if joins else start(self.product)
        self.param_groups[-1]["clock"] = clock
        self.param_groups[-1][LATE] = {}

    @contextlib.contextmanager
    def _whole_or_not(self, group: dict[str, Any]) -> Iterator[None]:
        """Let a group that is refused here not be there, and its dictionary say what it said.

        Raises:
            TypeError: it is no dictionary.
        """
        if not isinstance(group, dict):
            raise TypeError(f"a group is a dictionary, not {type(group).__name__}")
        if isinstance(group.get("params"), Iterator):  # which is read once
            group["params"] = [*group["params"]]
        count, before = len(self.param_groups), dict(group)
        try:
            yield
        except BaseException:
            del self.param_groups[count:]
            group.clear()
            group.update(before)
            raise

    def _follow(self) -> None:
        """Let the clocks of parameters stay with them where the lists of groups have changed."""

    def _common(self, values: dict[str, Any]) -> dict[str, float]:
        """The numbers of a group that are the same in all workers."""
        own = hyperparameters(values, self.product).items()
        seed = {SEED: float(values[SEED])} if self.product.NOISE else {}
        domains = self.product.HYPERPARAMETERS
        return {name: number(name, value, domains[name][1]) for name, value in own} | seed

    def _state_shape(self, _: str, param: torch.Tensor) -> Sequence[int]:
        """The shape of an array of a parameter's state."""
        return param.shape

    def state_dict(self) -> dict[str, Any]:
        """The state, from which training resumes bit for bit.

        Raises:
            RuntimeError: in evaluation mode, where the parameters are not the points.
        """
        self._refuse_at_solution("state_dict()")
        self._refuse_unexchanged()
        self._follow()
        packed: dict[str, Any] = super().state_dict()
        groups = [*map(self._saved, packed["param_groups"])]
        if self.product.AVERAGES:
            groups = [{**group, WORKERS: self._workers.size} for group in groups]
        return {**packed, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the parameters must be those saved with it.

        Options that the state does not have, because it is older, keep their values.

        Raises:
            ValueError: the state is not one of this optimizer; nothing is changed.
            RuntimeError: in evaluation mode, where the parameters are not the points.
        """
        self._refuse_at_solution("load_state_dict()")
        if not {"state", "param_groups"} <= set(state_dict):
            raise ValueError("the state of an optimizer has the keys 'state' and 'param_groups'")
        state_dict = renamed(state_dict, self.product)
        for group in state_dict["param_groups"]:
            kept = self._restored(group, {})
            known = {**arguments(self.product), **options_of(self.product)}
            check_values({**known, **kept}, self.product, self._workers.size)
        check_buffers(state_dict["state"], self.product)
        super().load_state_dict(state_dict)
        for param, state in self.state.items():
            # A buffer of its own, laid out as the parameter is.
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.shape == param.shape:
                    state[name] = torch.empty_like(param, requires_grad=False).copy_(value)
                elif isinstance(value, torch.Tensor):
                    state[name] = value.detach().clone()
        self._follow()
