"""What was derived of a declaration is derived once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import TypeVar

from hamilforge.gen.declare.errors import NotDerivableError

P = TypeVar("P", bound=Hashable)
T = TypeVar("T")

#: For functions of declarations, which are frozen and equal where all that they say is; nobody
#: changes the results.  What a function raises is not kept.  There is room for the catalogue, which
#: a command may go through more than once.
remembered = functools.lru_cache(maxsize=512)


def remembered_with_refusals(function: Callable[[P], T]) -> Callable[[P], T]:
    """A function whose results are remembered, and what it refuses with :class:`NotDerivableError`.

    Args:
        function: of one program or declaration.
    """

    @remembered
    def outcome(subject: P) -> T | NotDerivableError:
        try:
            return function(subject)
        except NotDerivableError as error:
            return NotDerivableError(*error.args)  # without the frames of where it was raised

    @functools.wraps(function)
    def known(subject: P) -> T:
        result = outcome(subject)
        if isinstance(result, NotDerivableError):
            raise NotDerivableError(*result.args)
        return result

    return known
