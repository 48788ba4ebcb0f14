"""What declarations of all kinds are made of: heads, numbers with their domains, assignments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from hamilforge.gen.declare.expression import Expression
from hamilforge.gen.declare.toml_source import Source

DOMAINS = {
    "positive": "(0, inf)",
    "nonnegative": "[0, inf)",
    "unit-interval": "[0, 1)",
    "open-unit-interval": "(0, 1)",
    "closed-unit-interval": "[0, 1]",
    "real": "(-inf, inf)",
    "flag": "{False, True}",
    "count": "{1, 2, ...}",
    "choice": "one of",
    "nonnegative-or-none": "[0, inf), or None",
}


#: Domains of numbers at or above 0 that have 0 in them.
ZERO_IN_DOMAIN = ("nonnegative", "unit-interval", "closed-unit-interval")


#: Domains of numbers between 0 and 1.
BETWEEN_0_AND_1 = ("unit-interval", "open-unit-interval", "closed-unit-interval")


FLAG, COUNT, CHOICE = "flag", "count", "choice"


#: None stands for the distance from 1 to the next number of the type of the parameters.
OR_NONE, NONE = "nonnegative-or-none", "none"


#: Domains that only optimizers of assignments have; and those that only optimizers of matrices.
DISCRETE = (FLAG, COUNT)


OF_MATRICES = (CHOICE, OR_NONE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number the user may choose: its default, the domain it lives in, what it means.

    Attributes:
        default: of a choice the number of its name; of a number that may be None, -1 for None.
        part_of: the tuple in which an optimizer takes it; empty where it is an argument itself.
        choices: the names among which it is chosen; None is the first.
    """

    name: str
    default: Fraction
    domain: str
    doc: str
    part_of: str = ""
    choices: tuple[str, ...] = ()


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
    claims: Mapping[str, object] = field(hash=False)
    source: Source


@dataclass(frozen=True, slots=True)
class Assignment:
    """``target = value`` in an update or a rule; its number in the list, from 0."""

    target: str
    value: Expression
    number: int


Shape = tuple[str, ...]
