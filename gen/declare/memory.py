"""What was derived of a declaration is derived once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from hamilforge.gen.declare.budget import BudgetError
from hamilforge.gen.declare.errors import NotDerivableError

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")

#: For functions of declarations, which are frozen and equal where all that they say is; nobody
#: changes the results.  What a function raises is not kept.  There is room for the catalogue, which
#: a command may go through more than once.
remembered = functools.lru_cache(maxsize=512)


@dataclass(frozen=True)
class _Refused:
    """What cannot be derived, and why."""

    why: str


def remembered_with_refusals(function: Callable[[P], T]) -> Callable[[P], T]:
    """A function that remembers its results, and what it refused with :class:`NotDerivableError`.

    Work that took too long is not remembered: there may be more time for it another time.

    Args:
        function: of one program or declaration.
    """

    @remembered
    def outcome(subject: P) -> T | _Refused:
        try:
            return function(subject)
        except BudgetError:
            raise
        except NotDerivableError as error:
            return _Refused(str(error))

    @functools.wraps(function)
    def known(subject: P) -> T:
        result = outcome(subject)
        if isinstance(result, _Refused):
            raise NotDerivableError(result.why)
        return result

    return known
