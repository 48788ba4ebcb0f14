"""The terminal: the one place where text leaves for standard output and standard error.

What is written has no control characters but line ends; square brackets in it are square brackets;
a terminal that lacks a character gets its escape.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hamilforge.gen.declare.visible import visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def degrade() -> None:
    """Let standard output and standard error write what their encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def say(text: object) -> None:
    """Write lines of text to standard output."""
    print(visible_lines(text))


def complain(text: object, status: int = 2) -> int:
    """Write an error to standard error; return the exit status."""
    print(f"hamilforge: {visible_lines(text)}", file=sys.stderr)
    return status


def of_sizes(work: Callable[[], int]) -> int:
    """Run what takes sizes: one that does not fit is an error of the call.

    Args:
        work: returns the exit status.

    Raises:
        DeclarationError: a declaration has problems.
        ClaimError: it claims what is not so.
    """
    from hamilforge.gen.declare.errors import ClaimError, DeclarationError

    try:
        return work()
    except (ClaimError, DeclarationError):
        raise
    except ValueError as error:
        return complain(error)


def warn(text: object) -> None:
    """Write a remark to standard error."""
    print(visible_lines(text), file=sys.stderr)


def console(**options: Any) -> Console:
    """A console that takes text as it is: no markup, no emoji, no highlighting."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


def cell(text: object) -> Text:
    """Text for a table."""
    from rich.text import Text

    return Text(visible(text))


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """Bars of progress below each other, on a terminal.

    Yields:
        A function that adds one, with its text and how many there are to do; it returns one that
        takes how many are done.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def add(text: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(text, total=total)
            return lambda done: progress.update(task, completed=done)

        yield add


def draws() -> bool:
    """Whether there is what pictures are drawn with; where not, that is said."""
    if importlib.util.find_spec("matplotlib") is not None:
        return True
    say('no pictures: pip install "hamilforge[demo]" brings matplotlib')
    return False


class Picture:
    """A picture to be written: whether one of its name was there is said afterwards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._replaces = path.exists()

    def done(self) -> None:
        """Say where it is, and what it has replaced."""
        say(f"{self.path} (replaced)" if self._replaces else self.path)
