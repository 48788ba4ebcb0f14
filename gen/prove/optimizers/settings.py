"""Hyper-parameters drawn from the whole of their domains.

In: the hyper-parameters of a rule, and its requirements.  Out: values by name; what is discrete
takes every combination, up to a number that is told.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

import mpmath

from hamilforge.gen.declare import kinds
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.optimizers.optimizer import Host
from hamilforge.gen.program.precise import PRECISE_OR_NAN

#: At most so many combinations of what is discrete, and at least so many settings.
_MOST, _LEAST = 128, 4
#: How often numbers are drawn before a combination is taken to meet no requirement.
_DRAWS = 40
_COUNTS = (1, 2, 3)
_DENOMINATOR = 997


class Settings:
    """Settings of a rule.

    Args:
        hyperparameters: of the rule.
        host: its requirements.
        seed: of what is drawn.
    """

    def __init__(
        self, hyperparameters: Sequence[kinds.Parameter], host: Host, seed: int = 0
    ) -> None:
        self._entries, self._host = hyperparameters, host
        self._generator = random.Random(seed)
        self._discrete = [entry for entry in hyperparameters if _options(entry)]
        whole = [*itertools.product(*map(_options, self._discrete))]
        self._combinations = whole
        if len(whole) > _MOST:
            self._combinations = self._generator.sample(whole, _MOST)
        self.all_combinations = len(whole) <= _MOST
        #: In words.
        self.drawn = "hyper-parameters drawn from their domains"
        if len(whole) > 1:
            which = "all" if self.all_combinations else f"{_MOST} of {len(whole)}"
            self.drawn += f", {which} combinations of what is discrete"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Values by name; those of a combination that meets no requirement are left out."""
        rounds = -(-_LEAST // len(self._combinations))
        for combination in self._combinations * rounds:
            chosen = dict(zip((e.name for e in self._discrete), combination, strict=True))
            for _ in range(_DRAWS):
                values = {entry.name: self._value(entry, chosen) for entry in self._entries}
                if self._meets(values):
                    yield values
                    break

    def _value(self, entry: kinds.Parameter, chosen: dict[str, Any]) -> Any:
        if entry.name in chosen and chosen[entry.name] is not None:
            return mpmath.mpf(chosen[entry.name])
        share = mpmath.mpf(self._generator.randint(1, _DENOMINATOR - 1)) / _DENOMINATOR
        if entry.domain in kinds.BETWEEN_0_AND_1:
            return share
        value = share * 2 ** self._generator.randint(-2, 2)
        return -value if entry.domain == "real" and self._generator.random() < 0.5 else value

    def _meets(self, values: dict[str, Any]) -> bool:
        """Whether the requirements hold."""
        tests = (evaluate(test, values, PRECISE_OR_NAN) for test, _ in self._host.requirements)
        return all(test > 0 for test in tests)


def _options(entry: kinds.Parameter) -> tuple[Any, ...]:
    """What something discrete may be; None stands for a number that is drawn."""
    match entry.domain:
        case kinds.FLAG:
            return (0, 1)
        case kinds.CHOICE:
            return tuple(range(len(entry.choices)))
        case kinds.COUNT:
            return _COUNTS
        case kinds.OR_NONE:
            return (-1, None)
    return ()
