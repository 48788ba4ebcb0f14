"""Where the values of a step live: in which array each is, stage by stage.

In: the values of a step.  Out: the arrays that keep what a later stage reads, and which array takes
a value when it is computed.
"""

from __future__ import annotations

from collections.abc import Mapping

from hamilforge.gen.derive.calculus import Coordinate, Expr
from hamilforge.gen.derive.optimizers.rotation import x
from hamilforge.gen.program.optimizers.step_values import (
    StepValues,
    stored_name,
)


class Homes:
    """In which array each value is, stage by stage.

    Args:
        values: of the step.
        states: for each array of an unknown its symbols before and after the step.
        end: what the parameters hold after the step.

    Attributes:
        read: all values that something reads.
        kept: values that a later stage reads, by the array that keeps each.
    """

    def __init__(
        self, values: StepValues, states: Mapping[str, tuple[Coordinate, Expr]], end: Expr
    ) -> None:
        self._values, self._states = values, states
        self.read: set[Coordinate] = set()
        reads: dict[Coordinate, set[int]] = {}

        def note(expr: Expr, stage: int) -> None:
            for symbol in expr.atoms(Coordinate):
                reads.setdefault(symbol, set()).add(stage)

        last = values.last
        note(end, last)
        for stage, point in enumerate(values.points[1:]):
            note(point, stage)
        for _, final in states.values():
            note(final, self._made(final))
        for array in reversed(values.arrays.values()):
            if array.symbol in reads:
                note(array.value, array.stage)
        #: In which stage the array of an unknown takes its new value.
        self._stored_in: dict[str, int] = {}
        for name, (old, final) in states.items():
            stage = max(self._made(final), *reads.get(old, {0}))
            self._stored_in[name] = stage
            reads.setdefault(final, set()).add(stage)
        self.read = {*reads}
        self.kept: dict[Coordinate, str] = {}
        for symbol, stages in reads.items():
            if self._is_kept(symbol, stages):
                self.kept[symbol] = self._kept_name(symbol)

    def _made(self, value: Expr) -> int:
        """The stage in which a value is there for the first time."""
        values = self._values
        if value in values.arrays:
            return values.arrays[value].stage
        return values.gradients.index(value) if value in values.gradients else 0

    def _is_kept(self, symbol: Coordinate, stages: set[int]) -> bool:
        made = self._made(symbol)
        later = {stage for stage in stages if stage > made}
        points = self._values.points
        if symbol in self._values.noises:  # made anew wherever it is read
            return False
        later -= {stage for stage, point in enumerate(points) if point == symbol}
        if any(old == symbol for old, _ in self._states.values()):
            return False
        for name, (_, final) in self._states.items():
            if final == symbol and self._stored_in[name] == made:
                return False
        return bool(later)

    def _kept_name(self, symbol: Coordinate) -> str:
        if symbol == x:
            point = next(name for name, old in self._values.old.items() if old == x)
            return stored_name(point)
        if symbol in self._values.gradients:
            return "gradient" if symbol.name == "g" else f"gradient_{symbol.name[2:]}"
        stem = symbol.name.rstrip("_")
        if not stem.endswith("_new"):
            return symbol.name
        name = f"{stem.removesuffix('_new')}_kept"  # lines are called so, and arrays must not be
        while name in {*self._states, *self.kept.values()}:
            name += "_"
        return name

    def readable(self, stage: int) -> dict[Coordinate, str]:
        """What the values that a stage may read are called, but for those that it computes."""
        values = self._values
        called: dict[Coordinate, str] = {values.points[stage]: "x", values.gradients[stage]: "g"}
        noises = {symbol: symbol.name for symbol in values.noises}
        for name, (old, final) in self._states.items():
            called.setdefault(old, name)
            if self._stored_in[name] < stage:
                called[final] = name
        for symbol, name in self.kept.items():
            if self._made(symbol) < stage:
                called.setdefault(symbol, name)
        return called | noises

    def stored(self, symbol: Coordinate, stage: int) -> str:
        """The array that takes a value when it is computed; empty if none does."""
        for name, (_, final) in self._states.items():
            if final == symbol and self._stored_in[name] == stage:
                return name
        return self.kept.get(symbol, "")

    def copied(self, stage: int) -> list[tuple[Coordinate, str]]:
        """Values that an array takes in a stage in which they are not computed."""
        computed = {s for s, array in self._values.arrays.items() if array.stage == stage}
        copies = [
            (final, name)
            for name, (old, final) in self._states.items()
            if self._stored_in[name] == stage and final not in (old, *computed)
        ]
        copies += [
            (symbol, name)
            for symbol, name in self.kept.items()
            if self._made(symbol) == stage and symbol not in self._values.arrays
        ]
        return copies
