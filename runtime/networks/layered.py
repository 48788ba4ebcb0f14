"""What networks of both backends have in common: how many layers, and what is kept of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from hamilforge.runtime.networks.network_arguments import check_count, check_memory


class Layered:
    """Layers whose number is fixed; what the way forward keeps may be chosen anew.

    A subclass says which choices of ``memory`` it has.
    """

    MEMORIES: ClassVar[tuple[str, ...]]
    _layers: int
    _draw: int
    #: The controls that are trained, by name.
    _trained: tuple[str, ...]
    #: Whether the caller named them.
    _named: bool
    _memory: str
    _checkpoints: int | None
    _budget: int | None

    def _generated(self) -> Any:
        """What has the constants of the generated file."""
        return self

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return self._layers

    @property
    def draw(self) -> int:
        """The seed of what is drawn and not trained."""
        return self._draw

    @property
    def trainable(self) -> tuple[str, ...]:
        """The controls that are trained, by name."""
        return self._trained

    def _count(self, sizes: Mapping[str, int]) -> int | None:
        """How many numbers of the controls are trained, where not all that there are."""
        made = self._generated()
        if not self._named and not getattr(made, "FIXED", {}):
            return None
        shapes = (made.CONTROLS[name] for name in self._trained)
        return self._layers * sum(math.prod(sizes[e] for e in shape) for shape in shapes)

    @property
    def memory(self) -> str:
        """What is kept on the way forward; it may be chosen anew."""
        return self._memory

    @memory.setter
    def memory(self, memory: str) -> None:
        self._memory = check_memory(self._generated(), memory, self.MEMORIES)

    def _bound(self, checkpoints: int | None, budget: int | None) -> None:
        """What bounds ``checkpoint``, as a network is made with it.

        Raises:
            ValueError: nothing is bounded by it, or both are given.
        """
        for name, bound in (("checkpoints", checkpoints), ("budget", budget)):
            if bound is not None and self.memory != "checkpoint":
                raise ValueError(
                    f'{name} = {bound!r} bounds memory="checkpoint", not memory="{self.memory}"'
                )
        if checkpoints is not None and budget is not None:
            raise ValueError("checkpoints and budget are given: one of them bounds what is kept")
        self.checkpoints, self.budget = checkpoints, budget

    @property
    def checkpoints(self) -> int | None:
        """How many states ``checkpoint`` keeps besides the first; it may be chosen anew."""
        return self._checkpoints

    @checkpoints.setter
    def checkpoints(self, checkpoints: int | None) -> None:
        check_count("checkpoints", checkpoints)
        self._checkpoints = checkpoints

    @property
    def budget(self) -> int | None:
        """How many bytes ``checkpoint`` may keep; it may be chosen anew.

        Where ``checkpoints`` is given too, that holds.
        """
        return self._budget

    @budget.setter
    def budget(self, budget: int | None) -> None:
        check_count("budget", budget)
        self._budget = budget
