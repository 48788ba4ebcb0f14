"""What a document is made of: headings, paragraphs, formulas, and a list of facts.

User text appears only in :class:`Heading`, :class:`Paragraph` and :class:`Facts`, as text; each
format escapes it. Formulas are IR expressions, so that every format prints them in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

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


@dataclass(frozen=True, slots=True)
class Butcher:
    """A Runge–Kutta table."""

    c: tuple[sp.Expr, ...]
    a: tuple[tuple[sp.Expr, ...], ...]
    b: tuple[sp.Expr, ...]
    b_hat: tuple[sp.Expr, ...] | None

    def rows(self) -> list[list[sp.Expr | None]]:
        """The table row by row with c in front, then the weights."""
        rows: list[list[sp.Expr | None]] = [
            [c, *row] for c, row in zip(self.c, self.a, strict=True)
        ]
        rows.append([None, *self.b])
        if self.b_hat is not None:
            rows.append([None, *self.b_hat])
        return rows


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix."""

    rows: tuple[tuple[sp.Expr, ...], ...]


@dataclass(frozen=True, slots=True)
class WeightSum:
    """A sum of products of coefficients: (letter, indices, power), over all indices."""

    factors: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """Order conditions: a tree, its elementary weight, and the density whose inverse it is."""

    lines: tuple[tuple[str, WeightSum, int], ...]


Block = Heading | Paragraph | Formulas | Facts | Butcher | Matrix | Conditions
Document = tuple[Block, ...]
