"""Gauss and Jordan's elimination, for numbers of any field."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any


def row_reduced(rows: Sequence[Sequence[Any]], columns: int) -> tuple[list[list[Any]], list[int]]:
    """Rows with an identity in a largest set of independent columns, and those columns.

    Args:
        rows: a matrix; columns to the right of those eliminated go along.
        columns: how many columns to eliminate.
    """
    table = [list(row) for row in rows]
    pivots: list[int] = []
    for column in range(columns):
        rank = len(pivots)
        pivot = next((k for k in range(rank, len(table)) if table[k][column]), None)
        if pivot is None:
            continue
        table[rank], table[pivot] = table[pivot], table[rank]
        scale = Fraction(1) / table[rank][column]
        table[rank] = [entry * scale if entry else entry for entry in table[rank]]
        support = [(at, entry) for at, entry in enumerate(table[rank]) if entry]
        for k, row in enumerate(table):
            if k != rank and (factor := row[column]):
                for at, entry in support:
                    row[at] = row[at] - factor * entry
        pivots.append(column)
    return table, pivots
