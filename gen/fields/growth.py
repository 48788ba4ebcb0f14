"""The Lie algebra of polynomial fields up to a degree, word by word, modulo a prime.

In: fields over Q whose coefficients have denominators prime to p, a degree, perhaps points.  Out:
right-nested words ``[V_i, [V_j, … V_k]]``, which span the algebra, each independent of those
before it; and the rank of their values at the points, stacked to vectors of length m N.

A bracket above the degree is dropped whole, never cut: what is kept are brackets, so the rank is
that of true members of the algebra, and modulo p it is at most that over Q.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from hamilforge.gen.fields.modular import Matrix, RowSpace, product
from hamilforge.gen.fields.polynomial import VectorField, degree

#: 2**31 - 1.
MERSENNE = 2147483647
#: Coefficients of a field up to the degree: a basis of as many rows takes about 1 GB.
WIDEST = 12_000
#: Candidates that are looked at together.
BATCH = 512
_LOW = (1 << 16) - 1


def modulo(number: Fraction, p: int) -> int:
    """A rational number modulo p, which is prime to its denominator."""
    return number.numerator * pow(number.denominator, -1, p) % p


class Monomials:
    """All monomials in m variables up to a degree, lowest degrees first.

    Args:
        m: the number of variables.
        most: the degree.
    """

    def __init__(self, m: int, most: int) -> None:
        self.m = m
        rows = [
            [chosen.count(k) for k in range(m)]
            for total in range(most + 1)
            for chosen in itertools.combinations_with_replacement(range(m), total)
        ]
        self.exponents = np.array(rows, dtype=np.int64).reshape(len(rows), m)
        self._weights = np.random.default_rng(0).integers(1, 2**62, m)
        keys = self._keys(self.exponents)
        self._order = np.argsort(keys)
        self._sorted = keys[self._order]
        assert len(np.unique(keys)) == len(keys)

    def _keys(self, exponents: Matrix) -> Matrix:
        with np.errstate(over="ignore"):
            return exponents @ self._weights

    def places(self, exponents: Matrix) -> NDArray[np.intp]:
        """Where monomials stand, `(n, m)` to `(n,)`."""
        return self._order[np.searchsorted(self._sorted, self._keys(exponents))]

    def count(self, most: int) -> int:
        """How many there are up to a degree."""
        return math.comb(self.m + most, most) if most >= 0 else 0

    def at(self, points: Matrix, p: int) -> Matrix:
        """Their values modulo p at points `(N, m)`: `(monomials, N)`."""
        values = np.ones((len(self.exponents), len(points)), dtype=np.int64)
        first = np.argmax(self.exponents > 0, axis=1)
        units = np.eye(self.m, dtype=np.int64)
        place = self.places(np.maximum(self.exponents - units[first], 0))
        for k in range(1, len(self.exponents)):
            values[k] = values[place[k]] * points[:, first[k]] % p
        return values


class Adjoint:
    """``W -> [V, W]`` on fields up to a degree, modulo p, as a sparse matrix.

    A field is a vector with entry ``m * monomial + component``.

    Args:
        field: V.
        monomials: up to ``most`` and the degree of V.
        most: the largest degree of W.
        p: the prime.
    """

    def __init__(self, field: VectorField, monomials: Monomials, most: int, p: int) -> None:
        self._p, self._monomials = p, monomials
        self.raises = degree(field) - 1
        m = monomials.m
        alpha = monomials.exponents[: monomials.count(most)]
        numbers = np.arange(len(alpha))
        rows: list[Matrix] = []
        columns: list[Matrix] = []
        entries: list[Matrix] = []

        def put(chosen: Matrix, shift: Matrix, pairs: Sequence[tuple[int, int]], c: Matrix) -> None:
            place = monomials.places(alpha[chosen] + shift)
            for row, column in pairs:
                rows.append(m * place + row)
                columns.append(m * numbers[chosen] + column)
                entries.append(c % p)

        for r, component in enumerate(field):
            for exponents, coefficient in component.items():
                beta = np.array(exponents, dtype=np.int64)
                c = modulo(coefficient, p)
                chosen = np.flatnonzero(alpha[:, r])
                unit = np.eye(m, dtype=np.int64)
                same = [(j, j) for j in range(m)]
                put(chosen, beta - unit[r], same, c * alpha[chosen, r])
                for j in np.flatnonzero(beta):
                    every = np.full(len(alpha), -c * int(beta[j]) % p)
                    put(numbers, beta - unit[j], [(r, int(j))], every)
        size = m * len(monomials.exponents), m * len(alpha)
        if entries:
            coo = sparse.coo_array(
                (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), size
            )
            matrix = coo.tocsr()
        else:
            matrix = sparse.csr_array(size, dtype=np.int64)
        matrix.sum_duplicates()
        matrix.data %= p
        if max(np.diff(matrix.indptr), default=0) >= 1 << 16:
            raise ValueError("a field with so many terms that sums of products would overflow")
        self._matrix = matrix
        self._parts: dict[tuple[int, int, int], tuple[sparse.csr_array, sparse.csr_array]] = {}

    def apply(self, fields: Matrix, of: int, low: int, high: int) -> Matrix:
        """The brackets' terms of degrees above ``low`` up to ``high``.

        Args:
            fields: `(n, …)`, W of degree at most ``of``; what stands further right is 0.
            of: the degree of W.
            low: terms of this degree and below are left out.
            high: terms of a higher degree are left out.

        Returns:
            `(n, entries of these degrees)`.
        """
        m, count = self._monomials.m, self._monomials.count
        if (of, low, high) not in self._parts:
            part = self._matrix[m * count(low) : m * count(high), : m * count(of)]
            upper, lower = part.copy(), part.copy()
            upper.data >>= 16
            lower.data &= _LOW
            self._parts[of, low, high] = upper, lower
        upper, lower = self._parts[of, low, high]
        columns = np.ascontiguousarray(fields[:, : m * count(of)].T)
        values = ((upper @ columns) % self._p << 16) + (lower @ columns) % self._p
        return (values % self._p).T


@dataclass(frozen=True)
class Growth:
    """What was generated.

    Attributes:
        degree: the bound.
        prime: p.
        letters, parents: word k is ``[V_letters[k], word parents[k]]``, with parent -1 the field.
        dropped: how many brackets were above the degree and dropped whole.
        closed: whether every bracket of a word with a field was looked at, and none dropped.
        generations: how long the longest words are.
        rank: at the points; 0 without points.
        used: the words whose values at the points are independent.
    """

    degree: int
    prime: int
    letters: tuple[int, ...]
    parents: tuple[int, ...]
    dropped: int
    closed: bool
    generations: int
    rank: int
    used: tuple[int, ...]

    @property
    def dimension(self) -> int:
        """How many independent words there are."""
        return len(self.letters)

    def word(self, number: int) -> tuple[int, ...]:
        """The letters of a word, counted from 1: ``(i, j, k)`` is ``[V_i, [V_j, V_k]]``."""
        spelled = []
        while number >= 0:
            spelled.append(self.letters[number] + 1)
            number = self.parents[number]
        return tuple(spelled)

    @cached_property
    def certificate(self) -> tuple[tuple[int, ...], ...]:
        """The words that give the rank."""
        return tuple(map(self.word, self.used))


def grow(
    fields: Sequence[VectorField],
    most: int,
    p: int = MERSENNE,
    points: Sequence[Sequence[Fraction]] = (),
) -> Growth:
    """Generate words until the rank at the points is full, or nothing new comes up to the degree.

    Args:
        fields: V_1, …, all on Q^m.
        most: the degree above which a bracket is dropped whole.
        p: a prime below 2**31 that divides no denominator.
        points: N of them with m coordinates each; without, the algebra itself is generated.

    Returns:
        The words, and the rank at the points.

    Raises:
        ValueError: fields of this degree have too many coefficients.
    """
    # threads wait for each other on small matrices, on a busy machine longer than they work
    with threadpool_limits(limits=1, user_api="blas"):
        return _grown(fields, most, p, points)


def _grown(
    fields: Sequence[VectorField], most: int, p: int, points: Sequence[Sequence[Fraction]]
) -> Growth:
    m = len(fields[0])
    if m * math.comb(m + most, m) > WIDEST:
        raise ValueError(
            f"fields of degree {most} in {m} variables have {m * math.comb(m + most, m)} "
            f"coefficients; at most {WIDEST} are taken: fewer points, or a smaller degree"
        )
    degrees = [degree(field) for field in fields]
    monomials = Monomials(m, max(most + max(*degrees, 1) - 1, most))
    width = m * monomials.count(most)
    space = RowSpace(width, p)
    target = m * len(points)
    at_points = RowSpace(max(target, 1), p)
    residues = np.array([[modulo(x, p) for x in point] for point in points], dtype=np.int64)
    values = monomials.at(residues, p)[: monomials.count(most)] if target else None
    letters: list[int] = []
    parents: list[int] = []
    used: list[int] = []
    waiting: list[tuple[int, Matrix, Matrix]] = []
    found: list[Matrix] = []

    def full() -> bool:
        return 0 < target == at_points.rank

    def keep() -> None:
        """Those of the waiting rows that are new become words, and are evaluated."""
        if not waiting:
            return
        rows = np.concatenate([block for _, _, block in waiting])
        by = np.concatenate([np.full(len(block), letter) for letter, _, block in waiting])
        of = np.concatenate([numbers for _, numbers, _ in waiting])
        waiting.clear()
        new = space.add(rows)
        rows, before = rows[new], len(letters)
        letters.extend(by[new].tolist())
        parents.extend(of[new].tolist())
        found.append(rows)
        if values is not None and len(rows):
            table = rows.reshape(len(rows), -1, m).transpose(0, 2, 1).reshape(-1, len(values))
            independent = at_points.add(product(table, values, p).reshape(len(rows), target))
            used.extend((before + np.flatnonzero(independent)).tolist())

    dropped = 0
    for number, field in enumerate(fields):
        if degrees[number] > most:
            dropped += 1
            continue
        waiting.append((number, np.array([-1]), _row(field, monomials, width, p)))
    keep()
    adjoints = [
        Adjoint(field, monomials, most, p) if degrees[number] >= 0 else None
        for number, field in enumerate(fields)
    ]
    generations, start = 1, 0
    while len(letters) > start and not full():
        rows = np.concatenate(found)
        numbers = np.arange(start, len(letters))
        start = len(letters)
        found.clear()
        height = _heights(rows, monomials, most)
        for letter, of in itertools.product(range(len(fields)), np.unique(height)):
            adjoint = adjoints[letter]
            group = np.flatnonzero(height == of)
            for at in range(0, 0 if adjoint is None else len(group), BATCH):
                if full():
                    break
                chosen = group[at : at + BATCH]
                assert adjoint is not None
                within, stays = _brackets(adjoint, rows[chosen], int(of), most, width)
                dropped += int(len(chosen) - stays.sum())
                waiting.append((letter, numbers[chosen][stays], within))
                if sum(len(block) for _, _, block in waiting) >= BATCH:
                    keep()
        keep()
        generations += len(letters) > start
    return Growth(
        most, p, tuple(letters), tuple(parents), dropped,
        not dropped and len(letters) == start, generations, at_points.rank if target else 0,
        tuple(used),
    )  # fmt: skip


def _row(field: VectorField, monomials: Monomials, width: int, p: int) -> Matrix:
    """A field as a row `(1, width)`."""
    row = np.zeros((1, width), dtype=np.int64)
    for component, terms in enumerate(field):
        for exponents, coefficient in terms.items():
            (place,) = monomials.places(np.array([exponents], dtype=np.int64))
            row[0, monomials.m * place + component] = modulo(coefficient, p)
    return row


def _heights(rows: Matrix, monomials: Monomials, most: int) -> Matrix:
    """The degree of each row."""
    total = np.repeat(monomials.exponents.sum(axis=1), monomials.m)
    total = total[: monomials.m * monomials.count(most)]
    return np.where(rows != 0, total, 0).max(axis=1)


def _brackets(
    adjoint: Adjoint, fields: Matrix, of: int, most: int, width: int
) -> tuple[Matrix, NDArray[np.bool_]]:
    """Brackets up to a degree, and which of the fields have one that is."""
    highest = of + max(adjoint.raises, 0)
    stays: NDArray[np.bool_] = np.ones(len(fields), dtype=bool)
    if highest > most:
        stays = ~np.any(adjoint.apply(fields, of, most, highest) != 0, axis=1)
    within = adjoint.apply(fields[stays], of, -1, min(highest, most))
    rows = np.zeros((len(within), width), dtype=np.int64)
    rows[:, : within.shape[1]] = within
    return rows, stays
