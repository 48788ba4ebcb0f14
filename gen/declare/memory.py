"""What was derived of a declaration is derived once: results remembered by what declarations say.

In: a function of declarations, whose result nobody changes.  Out: the same with a memory of its
last results.  Declarations are frozen, and equal where all that they say is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Result = TypeVar("Result")
#: How many results of a function are kept.
KEPT = 64


def remembered(function: Callable[..., Result]) -> Callable[..., Result]:
    """A function of declarations that computes each result once.

    Args:
        function: its arguments are declarations; what it raises is not kept.

    Returns:
        The function; ``calls`` counts what it had to compute.
    """
    results: OrderedDict[tuple[Any, ...], Result] = OrderedDict()

    @wraps(function)
    def once(*declarations: Any) -> Result:
        if declarations not in results:
            once.calls += 1  # type: ignore[attr-defined]
            results[declarations] = function(*declarations)
            while len(results) > KEPT:
                results.popitem(last=False)
        results.move_to_end(declarations)
        return results[declarations]

    once.calls = 0  # type: ignore[attr-defined]
    return once
