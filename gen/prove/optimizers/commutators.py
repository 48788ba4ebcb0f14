"""The leading error of a composition as commutators: an element of a free Lie algebra.

In: the order p of a composition of exact flows, with the coefficients of the words of length
p + 1.  Out: the E of a step

    Phi_h(y) = phi_h(y) + h^(p+1) E(y) + O(h^(p+2)),

where phi_h is the flow of the sum of the letters.  The logarithm of the composition agrees with
``h (A + B + ...)`` to degree p, so its term of degree p + 1 is that of the composition less that
of the exponential: coefficients less ``1/(p + 1)!``, and less what the rounding of published digits
leaves in shorter words.  It is written in the Lyndon basis.  A Lyndon word w = u v, with v its
longest proper suffix that is one, stands for the bracket [u, v], which is w plus words that come
later: so the words in their order give the coefficients one after another.  Nothing must be left of
the words then, which is the proof.

Letters are vector fields, and [X, Y] = X'Y - Y'X with their Jacobians: XY - YX for the matrices of
a linear system.  Lie derivatives multiply the other way round, in the order in which flows are
applied; words of theirs are therefore read backwards here.

Reutenauer, Free Lie Algebras, Oxford 1993, section 5.1; Hairer, Lubich and Wanner, Geometric
Numerical Integration, III.4 and III.5, doi:10.1007/3-540-30666-8.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from math import factorial
from typing import Any, Union

import mpmath

from hamilforge.gen.declare.budget import Allowance
from hamilforge.gen.declare.errors import NotDerivableError
from hamilforge.gen.derive.calculus import written
from hamilforge.gen.prove.optimizers.words import DECIMAL, Word, WordOrder, is_lyndon
from hamilforge.gen.prove.report import Finding
from hamilforge.gen.prove.series import FLOATS, Field

#: A letter, or the commutator of two brackets.
Bracket = Union[str, "tuple[Bracket, Bracket]"]
#: A card lists so many terms; more are counted.
LISTED = 8
#: Digits of a coefficient made of published digits.
DIGITS = 8
#: What counts as zero in the arithmetic for published digits.
UNSEEN = 1e-30
NAMES = ("leading_commutator", "one_step_error", "global_error")


@dataclass(frozen=True, slots=True)
class LeadingError:
    """The leading term of the logarithm of a composition less that of the flow, without its power.

    Attributes:
        degree: of the brackets, and the power of h.
        letters: those of the brackets, in the order of the basis.
        field: where the coefficients live.
        terms: the coefficient of each bracket of the Lyndon basis that has one.
        remainder: the largest coefficient of a word that the brackets leave; exactly 0 in an exact
            field.
    """

    degree: int
    letters: tuple[str, ...]
    field: Field
    terms: Mapping[Bracket, Any]
    remainder: float

    def __str__(self) -> str:
        """``h^3*(-[A, [A, B]]/24 + [[A, B], B]/12)``."""
        texts = [
            _term_text(self.field.written(coefficient), bracket_text(bracket))
            for bracket, coefficient in self.terms.items()
        ]
        (sign, first), *others = texts
        sign = sign.strip("+")
        if not others:
            return f"{sign}h^{self.degree}*{first}"
        return f"h^{self.degree}*({sign}{first} {' '.join(f'{s} {text}' for s, text in others)})"

    def brief(self) -> str:
        """How many brackets there are, and how large their coefficients; empty if they are few."""
        if len(self.terms) <= LISTED:
            return ""
        basis = lyndon_words(self.letters, self.degree)
        numbers = {bracket: float(self.field.written(c)) for bracket, c in self.terms.items()}
        largest = max(numbers, key=lambda bracket: abs(numbers[bracket]))
        norm = sum(number**2 for number in numbers.values()) ** 0.5
        return (
            f"h^{self.degree} times a sum of {len(self.terms)} of the {len(basis)} Lyndon "
            f"brackets: the largest coefficient is {numbers[largest]:.5g}, of "
            f"{bracket_text(largest)}, their 2-norm {norm:.5g}; check --json lists all"
        )


def leading_error(words: WordOrder) -> LeadingError:
    """The leading error of a composition in the Lyndon basis.

    Args:
        words: its order, and how the words differ from those of the flow.

    Returns:
        The coefficients of the brackets; of order 0 those of the letters themselves.

    Raises:
        NotImplementedError: the differences are no element of the free Lie algebra, which those of
            a product of exponentials are.
    """
    field, length = words.field, words.order + 1
    limit = float(DECIMAL) if field is FLOATS else 0.0
    rest = {word[::-1]: value for word, value in _logarithm(words).items()}
    terms: dict[Bracket, Any] = {}
    for word in lyndon_words(words.letters, length):
        coefficient = rest.get(word)
        if coefficient is None or _size(coefficient, field) <= limit:
            continue
        bracket = lyndon_bracket(word)
        terms[bracket] = coefficient
        for other, times in expanded(bracket).items():
            share = coefficient * -times
            rest[other] = rest[other] + share if other in rest else share
    remainder = max((_size(value, field) for value in rest.values()), default=0.0)
    if remainder > limit:
        raise NotImplementedError(f"{remainder:.0e} of a leading error is no commutator")
    if not terms:
        raise NotDerivableError("the digits do not decide the leading error")
    return LeadingError(length, words.letters, field, terms, remainder)


def _logarithm(words: WordOrder) -> dict[Word, Any]:
    """The words of length p + 1 of the logarithm of a composition.

    Published digits leave residuals in shorter words.  What they add to longer ones is taken off,
    to their first order: where X is the sum of the letters, the exponential of X + d is that of X
    plus the integral of ``exp(s X) d exp((1 - s) X)`` over s from 0 to 1, in which a word u d v
    has the coefficient of d over ``(|u| + |v| + 1)!``.
    """
    logarithm: dict[Word, Any] = {}
    longest = words.order + 1
    for length in range(1, longest + 1):
        shorter = {*map(len, logarithm)}
        for word in product(words.letters, repeat=length) if shorter else words.differences:
            if len(word) != length:
                continue
            value = words.differences.get(word, words.field.convert(Fraction(0)))
            for part in shorter:
                share = words.field.convert(Fraction(1, factorial(length - part + 1)))
                for begin in range(length - part + 1):
                    inner = logarithm.get(word[begin : begin + part])
                    value = value if inner is None else value - inner * share
            logarithm[word] = value
    return {word: value for word, value in logarithm.items() if len(word) == longest}


def _size(value: Any, field: Field) -> float:
    return 0.0 if field.is_zero(value) else field.magnitude(value)


def lyndon_words(letters: tuple[str, ...], length: int) -> list[Word]:
    """The Lyndon words of a length, in their order: each smaller than all its rotations."""
    return [word for word in product(sorted(letters), repeat=length) if is_lyndon(word)]


def lyndon_bracket(word: Word) -> Bracket:
    """The bracket of a Lyndon word, split before its longest proper suffix that is one."""
    if len(word) == 1:
        return word[0]
    split = next(k for k in range(1, len(word)) if is_lyndon(word[k:]))
    return lyndon_bracket(word[:split]), lyndon_bracket(word[split:])


@cache
def expanded(bracket: Bracket) -> Mapping[Word, int]:
    """The words of a bracket, by ``[u, v] = u v - v u``."""
    if isinstance(bracket, str):
        return {(bracket,): 1}
    left, right = map(expanded, bracket)
    words: dict[Word, int] = {}
    for u, m in left.items():
        for v, n in right.items():
            words[u + v] = words.get(u + v, 0) + m * n
            words[v + u] = words.get(v + u, 0) - m * n
    return {word: times for word, times in words.items() if times}


def bracket_text(bracket: Bracket) -> str:
    """``[A, [A, B]]``."""
    if isinstance(bracket, str):
        return bracket
    return f"[{', '.join(map(bracket_text, bracket))}]"


def _term_text(coefficient: Any, bracket: str) -> tuple[str, str]:
    """The sign of a term, and the rest of it."""
    if coefficient.is_Rational:
        over, under = abs(int(coefficient.p)), int(coefficient.q)
        times = f"{over}*{bracket}" if over != 1 else bracket
        return "-" if coefficient < 0 else "+", times if under == 1 else f"{times}/{under}"
    if coefficient.is_Float:
        digits = mpmath.nstr(mpmath.mpf(str(abs(coefficient))), DIGITS)
        return "-" if coefficient < 0 else "+", f"{digits}*{bracket}"
    return "+", f"({written(coefficient)})*{bracket}"


def error_findings(find: Callable[[], WordOrder], reach: str) -> tuple[Finding, ...]:
    """The errors of a composition: its leading commutator, and how one and many steps go with h.

    Args:
        find: the order, with the differences of the words one longer; called once.
        reach: for which systems.

    Returns:
        The findings; without a value where the composition has order 0, or the proof does not end.
    """
    try:
        return Allowance().within(f"the proof of {NAMES[0]}", lambda: _findings(find(), reach))
    except NotDerivableError as error:
        return without_errors(str(error), reach)


def without_errors(why: str, reach: str) -> tuple[Finding, ...]:
    """The same findings where there is nothing to find, and why."""
    return tuple(Finding(name, None, "words in the letters", reach, why) for name in NAMES)


def _findings(words: WordOrder, reach: str) -> tuple[Finding, ...]:
    if not words.order:
        letters = " and ".join(sorted({word[0] for word in words.differences}))
        return without_errors(f"the flows of {letters} do not add up to one step", reach)
    error = leading_error(words)
    power = error.degree
    commutator, step, whole = NAMES
    agree = f"words: all to length {words.order} are those of the flow, not all of length {power}"
    carried = (
        f"T/h one-step errors O(h^{power}), each carried on by a flow that is Lipschitz (Hairer, "
        "Norsett and Wanner, Solving Ordinary Differential Equations I, II.3)"
    )
    smooth = f"{reach}; where they are smooth"
    return (
        Finding(commutator, str(error), _evidence(error), reach, brief=error.brief()),
        Finding(step, f"O(h^{power})", agree, smooth),
        Finding(
            whole,
            "O(h)" if words.order == 1 else f"O(h^{words.order})",
            carried,
            f"{smooth}, to a fixed time T",
        ),
    )


def _evidence(error: LeadingError) -> str:
    """How a leading error was found, and what its letters and brackets mean."""
    less, rounded, left = "", "", "nothing"
    if error.field is FLOATS:
        less = " and the first order of the residuals of shorter ones"
        rounded = f" to {DIGITS} digits, without what is below {float(DECIMAL):.0e}"
        left = f"at most {max(error.remainder, UNSEEN):.0e}"
    return (
        f"the words of length {error.degree} less 1/{error.degree}!{less}, in {error.field.name}, "
        f"in the Lyndon basis over {', '.join(error.letters)}{rounded}; its brackets expanded "
        f"leave {left}. A step from y is the exact flow + this at y + O(h^{error.degree + 1}); "
        "[X, Y] = X'Y - Y'X of vector fields, XY - YX of the matrices of a linear system"
    )
