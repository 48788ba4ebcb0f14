"""One optimizer whose groups lie on different manifolds.

Code is made for one manifold, metric and retraction.  A group that names others is moved by the
code made for these: each such code is an optimizer of its own, a part of the whole.  The groups are
those of the whole, and so is the state; by what a group says a part knows that it moves it.
"""

# ruff: noqa: SLF001 (parts are of this class)
from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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
#: What a saved group has beside what every optimizer saves: where its points lie.
_CONSTRAINT = "constraint"
#: What a group may say, and not say otherwise later.
_READ = (*arrangements.MAPS, *arrangements.OPTIONS)
#: Of what an optimizer consists that a part has from the whole.
_SHARED = ("state", "param_groups", "_parts", "_own")


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
    #: The groups before its own, of a part that is being made: for the names of parameters.
    _before: Sequence[dict[str, Any]] = ()

    def __init__(self, params: Any, hyper: dict[str, Any], options: dict[str, Any]) -> None:
        for name in arrangements.MAPS:
            if name in options:
                raise TypeError(
                    f"{name} is said of a group, or when the class is made: "
                    f"hf.optimizer(..., {name}={options[name]!r})"
                )
        self._parts: dict[Place, PartedOptimizer] = {}
        #: What groups may say of this optimizer's own manifold, metric and retraction.
        self._own: set[Place] = {()}
        #: What each group said of its place, and how it is read, when it was added.
        self._said: dict[int, dict[str, Any]] = {}
        super().__init__(params, hyper, options)

    def __repr__(self) -> str:
        name, told, manifold = type(self).__name__, super().__repr__(), self.product.MANIFOLD
        return f"{name} on {manifold}{told.removeprefix(name)}" if manifold else told

    def __getstate__(self) -> dict[str, Any]:
        parts = {}
        for place, part in self._parts.items():
            state = part.__getstate__().items()
            parts[place] = type(part), {key: own for key, own in state if key not in _SHARED}
        return {**super().__getstate__(), "_parts": parts, "_own": self._own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_parts" not in vars(self):
            self._parts, self._own = {}, state.get("_own", {()})
            for place, (own_class, own) in state.get("_parts", {}).items():
                self._parts[place] = part = own_class.__new__(own_class)
                part.__setstate__({**own, "state": {}, "param_groups": []})
        known = {name: value for name, value in state.items() if name not in ("_parts", "_own")}
        super().__setstate__(known)
        self._said = {id(group): _told(group) for group in self.param_groups}
        for part in self._parts.values():
            self._share(part)

    def _share(self, part: PartedOptimizer) -> None:
        """Let a part have the groups and the state of the whole."""
        part.param_groups, part.state, part._whole = self.param_groups, self.state, self
        part._before = ()
        part._reset()

    @property
    def _groups(self) -> list[dict[str, Any]]:
        whole = self._whole or self
        if not whole._parts:
            return self.param_groups
        return [group for group in whole.param_groups if whole._member(group) is self]

    @property
    def _kept(self) -> dict[torch.Tensor, dict[str, Any]]:
        if not (self._whole or self)._parts:
            return self.state
        params = (param for group in self._groups for param in group["params"])
        return {param: self.state[param] for param in params if param in self.state}

    def _member(self, group: Mapping[str, Any]) -> PartedOptimizer:
        """What moves a group."""
        if self._whole is not None or not self._parts:
            return self
        return self._parts.get(_place(group), self)

    def _refuse_changed(self) -> None:
        """Refuse a group that says of its manifold what it did not when it was added."""
        for group in self.param_groups:
            now = _told(group)
            said = self._said.setdefault(id(group), now)
            if said != now:
                raise ValueError(
                    f"a group says {_written(now)}, and said {_written(said)} when it was added; "
                    "where parameters lie and how they are read stays as it is"
                )

    def _note(self, group: dict[str, Any]) -> None:
        """Keep what a group says, that has been added."""
        self._said[id(group)] = _told(group)

    def _restored(self, group: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        member, kept = self._member(group), dict(group)
        here = member.product.CONSTRAINT
        there = kept.pop(_CONSTRAINT, here)
        if there != here:
            raise ValueError(
                f"the state is one of points where {there} vanishes, and this optimizer's are "
                f"those of {here}"
            )
        return GeneratedOptimizer._restored(member, kept, defaults)

    def _saved(self, group: Mapping[str, Any]) -> dict[str, Any]:
        member = self._member(group)
        return {
            **GeneratedOptimizer._saved(member, group),
            _CONSTRAINT: member.product.CONSTRAINT,
        }

    def _name(self, param: torch.Tensor) -> str:
        groups = (self._whole or self).param_groups
        return parameter_name([*self._before, *groups], param)

    def _added_elsewhere(self, group: dict[str, Any]) -> bool:
        """Whether other code moves a group, which has been added to it and to the whole then.

        Raises:
            DeclarationError: there is no such manifold, metric or retraction.
            ValueError: what :meth:`add_param_group` refuses.
        """
        if group.get("manifold") is not None:  # which means the same in another folder, later
            group["manifold"] = loader.from_anywhere(arrangements.maps(group)["manifold"])
        place = _place(group)
        if self._whole is not None or place in self._own:
            return False
        self._refuse_at_solution("add_param_group()")
        if place in self._parts:
            self._parts[place].add_param_group(group)
        else:
            made = loader.load_otherwise(self.product, **self._chosen(place))
            if made.module("torch") is self.product:
                self._own.add(place)
                return False
            own_class: type[PartedOptimizer] = made.torch_class()
            part = own_class.__new__(own_class)
            part._before = self.param_groups
            part.__init__([group], **self._settings())  # type: ignore[misc]
            Optimizer.add_param_group(self, group)
            self._parts[place] = part
            self._share(part)
        self._reset()
        return True

    def _chosen(self, place: Place) -> dict[str, str | None]:
        """What is chosen for a place: on another manifold nothing stays that was said of this."""
        chosen: dict[str, str | None] = dict(place)
        here = loader.choices_of(self.product).get("manifold") or self.product.MANIFOLD
        if chosen.get("manifold") == here:
            del chosen["manifold"]
        return dict.fromkeys(arrangements.MAPS) | chosen if "manifold" in chosen else chosen

    def _settings(self) -> dict[str, Any]:
        """The arguments that this optimizer was made with."""
        names = (*arguments(self.product), *options_of(self.product), *arrangements.OPTIONS)
        own = {name: getattr(self, f"_{name}") for name in self._ONE_FOR_ALL}
        return {name: self.defaults[name] for name in names} | own

    def _stage(self, loss: Any) -> None:
        self._refuse_changed()
        if not self._parts:
            super()._stage(loss)
            return
        members = [member for member in (self, *self._parts.values()) if member._groups]
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

        Where a group lies is said by this optimizer; its state must be one of the same manifold,
        metric and retraction, whoever named them and how: a group, or the class.

        Raises:
            ValueError: the state is not one of this optimizer, or of one whose groups lie on other
                manifolds; nothing is changed.
            RuntimeError: in evaluation mode, where the parameters are not the points.
        """
        saved = state_dict.get("param_groups", ())
        groups = [
            _without_place(group) | {key: own[key] for key in arrangements.MAPS if key in own}
            for group, own in zip(saved, self.param_groups, strict=False)
        ]
        super().load_state_dict({**state_dict, "param_groups": [*groups, *saved[len(groups) :]]})


class _Kept:
    """What a step of some groups may change, until it is known that it is done.

    A step that keeps a graph replaces arrays of the state, and these stay as they are.

    Args:
        groups: of parameters.
        state: of each parameter, of these and others.
    """

    def __init__(self, groups: list[dict[str, Any]], state: dict[torch.Tensor, Any]) -> None:
        self._clocks = [(group, group["clock"], dict(group[LATE])) for group in groups]
        self._state = state
        params = [param for group in groups for param in group["params"] if param.grad is not None]
        self._entries = {param: dict(state[param]) if param in state else None for param in params}
        arrays = [*params]
        if not torch.is_grad_enabled():
            entries = (entry.values() for entry in self._entries.values() if entry is not None)
            arrays += itertools.chain(*entries)
        self._arrays = [(array, array.clone()) for array in arrays]

    def restore(self) -> None:
        """Let all be as it was."""
        for array, before in self._arrays:
            array.copy_(before)
        for param, entry in self._entries.items():
            if entry is None:
                self._state.pop(param, None)
            else:
                self._state[param] = entry
        for group, clock, late in self._clocks:
            group["clock"], group[LATE] = clock, late


def _place(group: Mapping[str, Any]) -> Place:
    return (*arrangements.maps(group).items(),)


def _without_place(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in arrangements.MAPS}


def _told(group: Mapping[str, Any]) -> dict[str, Any]:
    """What a group says of its place, and how it is read."""
    return {name: group[name] for name in _READ if name in group}


def _written(said: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in said.items()) or "nothing of it"
