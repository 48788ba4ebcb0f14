"""Text from files and calls, made visible: no character of it steers a terminal or hides.

Control characters, marks of direction, characters without width, line ends within a line: each is
written as its escape, as in Python's source text.
"""

from __future__ import annotations

#: Letters and marks that print nothing, though Unicode counts them as printable.
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))
)


def visible(text: object) -> str:
    """One line of text in which every character can be seen."""
    return "".join(_seen(c) for c in str(text))


def visible_lines(text: object) -> str:
    """Lines of text in which every character can be seen."""
    return "\n".join(map(visible, str(text).split("\n")))


def _seen(character: str) -> str:
    if character.isprintable() and character not in _BLANK:
        return character
    return character.encode("unicode_escape").decode("ascii")
