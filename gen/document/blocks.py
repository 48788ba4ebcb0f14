"""What a document is made of: headings, paragraphs, formulas, and a list of facts.

User text appears only in :class:`Heading`, :class:`Paragraph` and :class:`Facts`, as text; each
format escapes it. Formulas are IR expressions, so that every format prints them in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass

from hamilforge.gen.program.ir import Expr


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 or 2."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Formula:
    """One line: ``left relation right``, with a remark beside it.

    Attributes:
        left: a name; a dot behind it is a time derivative, as in ``q.``.
        relation: ``=`` or ``<-``.
    """

    left: str
    right: Expr
    relation: str = "="
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Formulas:
    """Lines that belong together."""

    lines: tuple[Formula, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and what was found."""

    items: tuple[tuple[str, str], ...]


Block = Heading | Paragraph | Formulas | Facts
Document = tuple[Block, ...]
