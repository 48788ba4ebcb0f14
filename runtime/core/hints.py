"""What somebody may have meant who misspelled a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known word most like another.

    Args:
        word: the other.
        known: words.
        likeness: the least, from 0 for anything to 1 for the same.

    Returns:
        The word; None if none is like it.
    """
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=likeness)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the known word most like another, or nothing."""
    near = nearest(word, known)
    return f"; did you mean '{near}'?" if near else ""
