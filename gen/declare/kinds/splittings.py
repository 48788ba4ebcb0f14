"""Splittings of a flow, updates of momentum and point, and what letters stand in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.kinds.parts import Assignment, Head, Parameter

LETTERS = ("A", "B", "D", "BD", "P", "O", "C")


#: What stands beside a constrained step, C, in a splitting.
BESIDE_CONSTRAINED = ("D",)


@dataclass(frozen=True, slots=True)
class Flow:
    """The exact flow of one letter over ``weight * h``."""

    letter: str
    weight: Expression


@dataclass(frozen=True, slots=True)
class Composition:
    """A block applied with several step sizes ``weight * h``, one after the other."""

    block: Splitting | ConstrainedSplitting
    weights: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Splitting:
    """A composition of exact flows, in the order they are applied.

    Attributes:
        steps: flows, or one composition of another splitting.
        constants: named numbers, each an expression in those before it.
        exact: whether the constants are exact (else published digits).
    """

    head: Head
    steps: tuple[Flow, ...] | Composition
    constants: tuple[tuple[str, Expression], ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class ConstrainedSplitting:
    """A composition of constrained steps, C, and friction, D, in the order they are applied.

    C is a kick, a drift and a kick whose multipliers keep positions and velocities on constraints.

    Attributes:
        steps: steps and flows, or one composition of another such splitting.
        constants: named numbers, each an expression in those before it.
        exact: whether the constants are exact (else published digits).
    """

    head: Head
    steps: tuple[Flow, ...] | Composition
    constants: tuple[tuple[str, Expression], ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Update:
    """Assignments in order; targets other than q and p are local."""

    head: Head
    assignments: tuple[Assignment, ...]
    parameters: tuple[Parameter, ...]


Method = Splitting | Update


def draws_noise(method: Method | ConstrainedSplitting) -> bool:
    """Whether a method has the letter O."""
    if not isinstance(method, Splitting):
        return False
    if isinstance(method.steps, Composition):
        return draws_noise(method.steps.block)
    return any(flow.letter == "O" for flow in method.steps)


def without_noise(splitting: Splitting) -> Splitting:
    """The splitting with friction alone, D, wherever it has friction with noise, O."""
    return relettered(splitting, {"O": "D"})


def relettered(splitting: Splitting, letters: Mapping[str, str]) -> Splitting:
    """The splitting with other letters in the place of some.

    Args:
        splitting: the declaration.
        letters: what stands for each that is replaced.
    """
    steps = splitting.steps
    if isinstance(steps, Composition):
        assert isinstance(steps.block, Splitting)  # else it is no splitting itself
        return replace(splitting, steps=replace(steps, block=relettered(steps.block, letters)))
    flows = (replace(flow, letter=letters.get(flow.letter, flow.letter)) for flow in steps)
    return replace(splitting, steps=tuple(flows))
