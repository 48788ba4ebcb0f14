"""The domains of hyper-parameters and parameters: a check by name, and what errors call them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

_DOMAINS: Mapping[str, tuple[Callable[[float], bool], str]] = {
    "positive": (lambda value: 0 < value < math.inf, "(0, inf)"),
    "nonnegative": (lambda value: 0 <= value < math.inf, "[0, inf)"),
    "unit-interval": (lambda value: 0 <= value < 1, "[0, 1)"),
    "open-unit-interval": (lambda value: 0 < value < 1, "(0, 1)"),
    "closed-unit-interval": (lambda value: 0 <= value <= 1, "[0, 1]"),
    "real": (math.isfinite, "(-inf, inf)"),
    "count": (lambda value: 1 <= value < math.inf and value == int(value), "{1, 2, ...}"),
    "flag": (lambda value: value in (0, 1), "{False, True}"),
    "choice": (lambda value: value >= 0, "its choices"),
    "nonnegative-or-none": (
        lambda value: value == -1 or 0 <= value < math.inf,
        "[0, inf), or None",
    ),
}


def is_inside(value: float, domain: str) -> bool:
    """Whether a number is in a domain."""
    inside, _ = _DOMAINS[domain]
    return inside(value)


def check_domain(name: str, value: float, domain: str) -> None:
    """Refuse a hyper-parameter outside its domain.

    Args:
        name: of the hyper-parameter, for the message.
        value: its value.
        domain: ``positive``, ``nonnegative``, ``unit-interval`` (0 but not 1),
            ``open-unit-interval``, ``closed-unit-interval``, ``real``, ``count``, ``flag``,
            ``choice`` or ``nonnegative-or-none``; all of them finite.

    Raises:
        ValueError: NaN, infinite, or out of the domain.
    """
    inside, limits = _DOMAINS[domain]
    if not inside(value):
        raise ValueError(f"{name} = {value} is outside {limits}")
