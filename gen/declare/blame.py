"""Whose fault it is: every exception of a stage becomes one of three.

In: work on a declaration.  Out: its value; or a :class:`DeclarationError`, the user's to mend;
or an :class:`InternalError`, ours.  (The third, what is undecided, is no exception: a finding
without a value says why.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hamilforge.gen.declare import budget
from hamilforge.gen.declare.errors import DeclarationError, InternalError, NotDerivableError

Value = TypeVar("Value")


def blamed(
    work: Callable[[], Value], named: str, where: str, what: str, seconds: float = budget.WHOLE
) -> Value:
    """The value of some work on declarations, within its budget.

    Args:
        work: what is done.
        named: the declarations, as messages say them.
        where: their files.
        what: is done to them: ``derived and proved``.
        seconds: the budget.

    Returns:
        What the work returns.

    Raises:
        DeclarationError: this cannot be done with such a declaration, or takes too long.
        InternalError: anything else went wrong.
    """
    try:
        return budget.within(seconds, named, work)
    except (DeclarationError, InternalError):
        raise
    except budget.BudgetError as error:
        message = f"{error}; make it smaller"
    except NotDerivableError as error:
        message = f"{named} cannot be {what}: {error}"
    except ZeroDivisionError:
        message = f"{named} cannot be {what}: it divides by zero"
    except RecursionError:
        message = f"{named} is nested too deeply to be {what}"
    except MemoryError:
        message = f"{named} takes more memory than there is"
    except OSError:
        raise
    except Exception as error:
        raise InternalError.of(error, f"{named} ({where}), to be {what},") from error
    raise DeclarationError.single(where, message)
