"""What is wrong with a declaration, in the user's terms.

In: the findings of the parser and the reader.  Out: one :class:`DeclarationError` that carries all
the problems of a file, each with its line, its key, what was expected and, where an expression is
at fault, the expression with a caret.
"""

from __future__ import annotations

import difflib
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hamilforge.gen.declare.visible import visible, visible_lines

if TYPE_CHECKING:
    from hamilforge.gen.declare.toml_source import Source


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong at one place of a declaration."""

    where: str
    line: int | None
    key: str
    message: str
    excerpt: str = ""

    def __str__(self) -> str:
        place = f"{self.where}:{self.line}" if self.line else self.where
        parts = [part + ":" for part in (place, self.key) if part]
        text = visible(" ".join([*parts, self.message]))
        return text + (f"\n{visible_lines(self.excerpt)}" if self.excerpt else "")


class DeclarationError(ValueError):
    """A declaration, or a call that names one, cannot be understood.

    Attributes:
        problems: every problem found, in the order of the file.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    @classmethod
    def single(cls, where: str, message: str, key: str = "") -> DeclarationError:
        """An error with one problem that belongs to no line.

        Args:
            where: the file; empty if it is not known here.
            message: what is wrong, and what was expected.
            key: of the declaration, as in ``[start].t``; empty for none.

        Returns:
            The error, to be raised.
        """
        return cls((Problem(where, None, key, message),))

    @classmethod
    def at(
        cls, source: Source, message: str, *path: str | int, excerpt: str = ""
    ) -> DeclarationError:
        """One problem of a file, with the line of a key.

        Args:
            source: the file.
            message: what is wrong.
            path: the key, from the outermost table on.
            excerpt: a part of the text with carets under it.

        Returns:
            The error.
        """
        line = source.line(*path)
        return cls((Problem(source.where, line, key_text(path), message, excerpt),))

    def __reduce__(self) -> tuple[type[DeclarationError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class ClaimError(DeclarationError):
    """A declaration claims something that is not so; nothing is generated from it."""


class NotDerivableError(NotImplementedError):
    """What a derivation or a proof cannot do, said by the one that knows it cannot.

    The text is the reason, in the user's terms; who knows the declaration says which one it is.
    """


class InternalError(RuntimeError):
    """A contradiction inside hamilforge: no declaration and no call is to blame."""

    @classmethod
    def of(cls, error: BaseException, what: str) -> InternalError:
        """What to report of an exception that nobody expected.

        Args:
            error: the exception, as it was caught.
            what: was being done.
        """
        calls = traceback.extract_tb(error.__traceback__)
        place = f" in {Path(calls[-1].filename).name}:{calls[-1].lineno}" if calls else ""
        versions = f"hamilforge {version('hamilforge')}, SymPy {version('sympy')}"
        return cls(
            visible(
                f"this is a bug in hamilforge: {what} ended in {type(error).__name__}{place}: "
                f"{str(error)[:500]}. Please report it with the declaration; {versions}, Python "
                f"{'.'.join(map(str, sys.version_info[:3]))}"
            )
        )


class ExpressionError(ValueError):
    """An expression cannot be read; ``start`` and ``stop`` say where in its text."""

    def __init__(self, message: str, start: int, stop: int) -> None:
        super().__init__(message)
        self.message, self.start, self.stop = message, start, stop


def key_text(path: Sequence[str | int]) -> str:
    """A key with its table and its entries: ``[data].A``, ``assign[2]``."""
    keys = [key for key in path if isinstance(key, str)]
    table = f"[{'.'.join(keys[:-1])}]." if keys[:-1] else ""
    entries = "".join(f"[{key + 1}]" for key in path if isinstance(key, int))
    return table + keys[-1] + entries if keys else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""


def caret(text: str, start: int, stop: int, width: int = 72) -> str:
    """The part of ``text`` around ``start`` with carets under ``start..stop``.

    Args:
        text: the expression.
        start: where the fault begins, an index of ``text``.
        stop: where it ends, exclusive.
        width: how many characters of ``text`` are shown at most.

    Returns:
        Two lines, indented by four blanks: the part, and the carets.
    """
    left = max(0, start - width // 2)
    blank = str.maketrans("\n\t", "  ")
    right = left + width
    pieces = text[left:start], text[start : min(stop, right)], text[stop:right]
    before, at, behind = (visible(piece.translate(blank)) for piece in pieces)
    return f"    {before}{at}{behind}\n    {' ' * len(before)}{'^' * max(1, len(at))}"
