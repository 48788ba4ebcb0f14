"""The kinds of declaration, as frozen data.

Out of the reader, into the derivation.  Everything here has been checked for form; nothing here has
been derived or believed: a claim is carried along as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.toml_source import Source

DOMAINS = {
    "positive": "(0, inf)",
    "nonnegative": "[0, inf)",
    "unit-interval": "[0, 1)",
    "open-unit-interval": "(0, 1)",
    "real": "(-inf, inf)",
}
SCOPES = ("all", "group", "tensor", "coordinate")
LETTERS = ("A", "B", "D", "BD")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number the user may choose: its default, the domain it lives in, what it means."""

    name: str
    default: Fraction
    domain: str
    doc: str


@dataclass(frozen=True, slots=True)
class Head:
    """What every declaration begins with.

    Attributes:
        source: the text it came from.
        claims: what its author says of it; to be checked.
    """

    name: str
    title: str
    reference: str
    claims: Mapping[str, object]
    source: Source


@dataclass(frozen=True, slots=True)
class Hamiltonian:
    """H = K(p) + J(q) with friction: q' = grad K(p), p' = -grad J(q) - gamma(t) p."""

    head: Head
    kinetic: Expression
    friction: Expression
    parameters: tuple[Parameter, ...]
    start_time: Fraction


@dataclass(frozen=True, slots=True)
class Flow:
    """The exact flow of one letter over ``weight * h``."""

    letter: str
    weight: Expression


@dataclass(frozen=True, slots=True)
class Composition:
    """A block applied with several step sizes ``weight * h``, one after the other."""

    block: Splitting
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
class Assignment:
    """``target = value`` in an update."""

    target: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Update:
    """Assignments in order; targets other than q and p are local."""

    head: Head
    assignments: tuple[Assignment, ...]
    parameters: tuple[Parameter, ...]


Method = Splitting | Update


@dataclass(frozen=True, slots=True)
class Optimizer:
    """A system, a method, and the hyper-parameters as users say them.

    Attributes:
        settings: ``[set]``, in order: what the hyper-parameters mean for system and method.
        buffer: the name of the state buffer.
        buffer_value: what the buffer stores, linear in p.
        scope: over what dot, sum and norm run.
        start_time: t at the first step.
    """

    head: Head
    system: Hamiltonian
    method: Method
    hyperparameters: tuple[Parameter, ...]
    settings: tuple[tuple[str, Expression], ...]
    buffer: str
    buffer_value: Expression | None
    scope: str
    start_time: Fraction


Declaration = Hamiltonian | Splitting | Update | Optimizer
KINDS: Mapping[str, type[Declaration]] = {
    "hamiltonian": Hamiltonian,
    "splitting": Splitting,
    "update": Update,
    "optimizer": Optimizer,
}


def kind_of(declaration: Declaration) -> str:
    """The name of a declaration's kind."""
    return next(name for name, kind in KINDS.items() if type(declaration) is kind)


def sources(declaration: Declaration) -> Iterator[Source]:
    """The texts of a declaration and of all it refers to."""
    yield declaration.head.source
    match declaration:
        case Optimizer(system=system, method=method):
            yield from sources(system)
            yield from sources(method)
        case Splitting(steps=Composition(block=block)):
            yield from sources(block)
