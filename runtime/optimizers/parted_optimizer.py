"""One optimizer whose groups lie on different manifolds.

Code is made for one manifold, metric and retraction.  A group that names others is moved by the
code made for these: each such code is an optimizer of its own, a part of the whole, with which it
shares the groups, as the same dictionaries, and the state.
"""

# ruff: noqa: SLF001 (parts are of this class)
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch.optim import Optimizer

from hamilforge.runtime.core import loader
from hamilforge.runtime.optimizers import arrangements
from hamilforge.runtime.optimizers.cohorts import LATE
from hamilforge.runtime.optimizers.hyperparameters import arguments
from hamilforge.runtime.optimizers.optimizer_options import options_of
from hamilforge.runtime.optimizers.step_tensors import parameter_name
from hamilforge.runtime.optimizers.torch_optimizer import GeneratedOptimizer

#: What a group has of its own of manifold, metric and retraction, by name.
Place = tuple[tuple[str, str], ...]
#: Of what an optimizer consists that a part has from the whole.
_SHARED = ("state", "param_groups", "_parts")


class PartedOptimizer(GeneratedOptimizer):
    """A generated optimizer some of whose groups may be moved by other generated code.

    Args:
        params: parameters, named parameters, or dictionaries that define groups.
        hyper: the hyper-parameters.
        options: as of every optimizer.

    Raises:
        TypeError: a manifold, metric or retraction for all groups.
    """

    #: Options of the constructor that are no defaults of groups, with their defaults.
    _ONE_FOR_ALL: ClassVar[Mapping[str, Any]] = {}
    _whole: PartedOptimizer | None = None

    def __init__(self, params: Any, hyper: dict[str, Any], options: dict[str, Any]) -> None:
        for name in arrangements.MAPS:
            if name in options:
                raise TypeError(
                    f"{name} is said of a group, or when the class is made: "
                    f"hf.optimizer(..., {name}={options[name]!r})"
                )
        self._parts: dict[Place, PartedOptimizer] = {}
        super().__init__(params, hyper, options)

    def __getstate__(self) -> dict[str, Any]:
        parts = {}
        for place, part in self._parts.items():
            state = part.__getstate__().items()
            parts[place] = type(part), {key: own for key, own in state if key not in _SHARED}
        return {**super().__getstate__(), "_parts": parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_parts" not in vars(self):
            self._parts = {}
            for place, (own_class, own) in state.get("_parts", {}).items():
                self._parts[place] = part = own_class.__new__(own_class)
                part.__setstate__({**own, "state": {}, "param_groups": []})
        super().__setstate__({name: value for name, value in state.items() if name != "_parts"})
        for place, part in self._parts.items():
            part.param_groups = [group for group in self.param_groups if _place(group) == place]
            self._share(part)

    def _share(self, part: PartedOptimizer) -> None:
        """Let a part have the state of the whole."""
        part.state, part._whole = self.state, self
        part._reset()

    @property
    def _groups(self) -> list[dict[str, Any]]:
        if not self._parts:
            return self.param_groups
        return [group for group in self.param_groups if self._member(group) is self]

    def _member(self, group: Mapping[str, Any]) -> PartedOptimizer:
        return self._parts.get(_place(group), self) if self._parts else self

    def _restored(self, group: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        return GeneratedOptimizer._restored(self._member(group), group, defaults)

    def _saved(self, group: Mapping[str, Any]) -> dict[str, Any]:
        return GeneratedOptimizer._saved(self._member(group), group)

    def _name(self, param: torch.Tensor) -> str:
        groups = (self._whole or self).param_groups
        added = [own for own in self.param_groups if not any(own is group for group in groups)]
        return parameter_name([*groups, *added], param)

    def _added_elsewhere(self, group: dict[str, Any]) -> bool:
        """Whether other code moves a group, which has been added to it and to the whole then.

        Raises:
            DeclarationError: there is no such manifold, metric or retraction.
            ValueError: what :meth:`add_param_group` refuses.
        """
        place = _place(group)
        if not place:
            return False
        self._refuse_at_solution("add_param_group()")
        part = self._parts.get(place)
        if part is not None:
            part.add_param_group(group)
        else:
            made = loader.load_otherwise(self.product, **_choices(place))
            if made.module("torch") is self.product:
                return False
            own_class: type[PartedOptimizer] = made.torch_class()
            part = own_class.__new__(own_class)
            part._whole = self
            part.__init__([group], **self._settings())  # type: ignore[misc]
        try:
            Optimizer.add_param_group(self, group)
        except BaseException:
            part.param_groups.pop()
            raise
        self._parts[place] = part
        self._share(part)
        self._reset()
        return True

    def _settings(self) -> dict[str, Any]:
        """The arguments that this optimizer was made with."""
        names = (*arguments(self.product), *options_of(self.product), *arrangements.OPTIONS)
        own = {name: getattr(self, f"_{name}") for name in self._ONE_FOR_ALL}
        return {name: self.defaults[name] for name in names} | own

    def _stage(self, loss: Any) -> None:
        if not self._parts:
            super()._stage(loss)
            return
        members = [*([self] if self._groups else []), *self._parts.values()]
        kept = [_Kept(member._groups, self.state) for member in members[:-1]]
        try:
            for member in members:
                GeneratedOptimizer._stage(member, loss)
        except BaseException:
            for before in kept:
                before.restore()
            for member in members:
                member._plan = None
            raise

    def eval(self) -> None:
        """Let the parameters hold the solution, until :meth:`train`.

        Raises:
            RuntimeError: between the stages of a step, where there is no solution.
        """
        super().eval()
        for part in self._parts.values():
            part.eval()

    def train(self) -> None:
        """Let the parameters hold the point of the gradient again."""
        super().train()
        for part in self._parts.values():
            part.train()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; the parameters must be those saved with it.

        Raises:
            ValueError: the state is not one of this optimizer, or of one whose groups lie on other
                manifolds; nothing is changed.
            RuntimeError: in evaluation mode, where the parameters are not the points.
        """
        groups = state_dict.get("param_groups", ())
        for number, (saved, own) in enumerate(zip(groups, self.param_groups, strict=False)):
            if _place(saved) != _place(own):
                raise ValueError(
                    f"group {number} of the state has {_told(saved)}, and of this optimizer "
                    f"{_told(own)}"
                )
        super().load_state_dict(state_dict)


class _Kept:
    """What a step of some groups may change, until it is known that it is done.

    Args:
        groups: of parameters.
        state: of each parameter, of these and others.
    """

    def __init__(self, groups: list[dict[str, Any]], state: dict[torch.Tensor, Any]) -> None:
        self._clocks = [(group, group["clock"], dict(group[LATE])) for group in groups]
        self._state = state
        params = [param for group in groups for param in group["params"] if param.grad is not None]
        self._entries = {param: dict(state.get(param, {})) for param in params}
        arrays = [array for entry in self._entries.values() for array in entry.values()]
        self._arrays = [(array, array.detach().clone()) for array in (*params, *arrays)]

    def restore(self) -> None:
        """Let all be as it was."""
        with torch.no_grad():
            for array, before in self._arrays:
                array.copy_(before)
        for param, entry in self._entries.items():
            self._state[param] = entry
        for group, clock, late in self._clocks:
            group["clock"], group[LATE] = clock, late


def _place(group: Mapping[str, Any]) -> Place:
    return (*arrangements.maps(group).items(),)


def _choices(place: Place) -> dict[str, str | None]:
    """What is chosen for a place: on another manifold nothing stays that was said of the first."""
    chosen = dict(place)
    return dict.fromkeys(arrangements.MAPS) | chosen if "manifold" in chosen else {**chosen}


def _told(group: Mapping[str, Any]) -> str:
    """A place in words."""
    place = [f"{name} = '{value}'" for name, value in _place(group)]
    return ", ".join(place) or "the declared manifold"
