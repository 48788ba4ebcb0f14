"""What a rule's card calls the letters of its proofs, and arrays as they are before a step.

A letter that has the name of a hyper-parameter or an unknown is written ``z_``.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

import sympy as sp

from hamilforge.gen.derive.calculus import Expr, Letter, tidy, written
from hamilforge.gen.program.optimizers.programs import (
    AnyOptimizer,
    ahead_of,
    arrays_of,
    program_of,
)

#: The point, and the place where its gradient is taken if that is another.
POINT, AHEAD = (Letter(name, positive=False) for name in ("theta", "ahead"))


def start_of(array: str) -> sp.Symbol:
    """What an array is before a step."""
    return sp.Symbol(f"{array}__", real=True)


def short(expr: Expr) -> Expr:
    """An expression as people write it, where that is quick."""
    return tidy(expr) if not expr.has(sp.Function) else sp.factor_terms(expr)


@dataclass(frozen=True)
class Names:
    """The names on a card.

    Attributes:
        taken: of hyper-parameters and unknowns.
        arrays: what stands for each array as it is before a step.
    """

    taken: Set[str] = frozenset()
    arrays: Mapping[Expr, Expr] = field(default_factory=lambda: {start_of("x"): POINT})

    def text(self, expr: Expr) -> str:
        """A formula."""
        return written(expr.xreplace(self.arrays), self.taken)

    def where(self, expr: Expr, letters: Mapping[sp.Symbol, Expr]) -> str:
        """What the letters in a formula stand for; nothing if it has none.

        Args:
            expr: the formula.
            letters: what each letter stands for, in others and in arrays before a step.
        """
        needed = expr.free_symbols & {*letters}
        for letter in reversed(letters):  # which stand for what has earlier ones in it
            if letter in needed:
                needed |= letters[letter].free_symbols & {*letters}
        values = {letter: value for letter, value in letters.items() if letter in needed}
        texts = [f"{self.text(s)} = {self.text(short(value))}" for s, value in values.items()]
        if any(value.xreplace(self.arrays).has(AHEAD) for value in values.values()):
            texts.append(f"{self.text(AHEAD)} where the gradient is taken")
        return ", ".join(texts)


#: Where nothing is taken.
PLAIN = Names()


def names_of(optimizer: AnyOptimizer) -> Names:
    """The names on the card of an optimizer.

    Raises:
        DeclarationError: the program cannot be derived.
    """
    point, *_ = optimizer.unknowns
    is_ahead = ahead_of(optimizer) is not None
    arrays: dict[Expr, Expr] = {start_of("x"): AHEAD if is_ahead else POINT}
    for unknown, array in arrays_of(optimizer).items():
        if array != "x":
            arrays[start_of(array)] = sp.Symbol(unknown)
    hyper = {entry.name for entry in program_of(optimizer).hyperparameters}
    unknowns = {*optimizer.unknowns} - ({POINT.name} if point == POINT.name else set())
    return Names(frozenset(hyper | unknowns), arrays)
