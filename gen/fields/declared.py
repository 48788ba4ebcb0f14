"""The fields V_i of a declared ``y' = sum_i u_i V_i(y)``, exactly or as truncated Taylor series.

In: a declared field, sizes, values of parameters and of controls that are held.  Out: one field for
each entry of the controls that are free.  A field that is not a polynomial of the state is told
from one that is not linear in its controls: the first has no exact form, the second no V_i.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from sympy.polys.rings import PolyElement, ring

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import ACTIVATION
from hamilforge.gen.fields.evaluation import evaluate
from hamilforge.gen.fields.polynomial import VectorField

#: Entries of all free controls.
MOST_CONTROLS = 4096


class NotPolynomialError(Exception):
    """A field is no polynomial of its states with rational coefficients."""


@dataclass(frozen=True)
class Setting:
    """A field with numbers for everything but states and free controls.

    Attributes:
        field: the declaration.
        sizes: of its dimensions.
        known: exact values by name: parameters, fixed arrays, controls that are held.
        controls: the entries of the free controls, such as ``u[1]`` or ``K[2,1]``.
    """

    field: kinds.Field
    sizes: Mapping[str, int]
    known: Mapping[str, Any]
    controls: tuple[str, ...]

    @property
    def width(self) -> int:
        """The number of coordinates of all states."""
        return sum(self.shape(shape)[0] for _, shape in self.field.states)

    def shape(self, shape: kinds.Shape) -> tuple[int, ...]:
        """A declared shape in numbers."""
        return tuple(int(self.sizes.get(e, e)) for e in shape)

    def rates(
        self, states: Sequence[Any], controls: Sequence[Any], call: Callable[..., Any]
    ) -> Any:
        """The right-hand sides.

        Args:
            states: one number for each coordinate.
            controls: one for each entry of the free controls.
            call: what functions are of these numbers.

        Returns:
            One number for each coordinate.
        """
        known = dict(self.known)
        place = 0
        for name, declared in self.field.states:
            size = self.shape(declared)[0]
            known[name] = _array(states[place : place + size], (size,))
            place += size
        place = 0
        for name, declared in self.field.controls:
            if name in known:
                continue
            shape = self.shape(declared)
            count = int(np.prod(shape))
            values = _array(controls[place : place + count], (count,)).reshape(shape)
            known[name] = values if shape else values.item()
            place += count

        def called(name: str, *values: Any) -> Any:
            if name == ACTIVATION:
                assert self.field.activation is not None
                return evaluate(self.field.activation, {"x": values[0]}, {}, called)
            return call(name, *values)

        found: list[Any] = []
        for (_, value), (_, declared) in zip(self.field.rates, self.field.states, strict=True):
            rate = evaluate(value, known, self.sizes, called)
            found += [*np.broadcast_to(np.asarray(rate, dtype=object), self.shape(declared))]
        return found


def _array(values: Sequence[Any], shape: tuple[int, ...]) -> Any:
    array = np.empty(shape, dtype=object)
    array[:] = values
    return array


def polynomials(setting: Setting) -> list[VectorField]:
    """The fields V_i, with rational coefficients.

    Args:
        setting: the field in numbers.

    Returns:
        One for each entry of the controls.

    Raises:
        NotPolynomialError: a right-hand side is no polynomial.
        DeclarationError: it is a polynomial and not linear in the controls.
    """
    m, where = setting.width, setting.field.head.source.where
    names = [f"y{k}" for k in range(m)] + [f"u{k}" for k in range(len(setting.controls))]
    _, *symbols = ring(names, sp.QQ)
    lifted = _lifted(setting, symbols[0].ring)
    rates = lifted.rates(symbols[:m], symbols[m:], _exact_function)
    found: list[list[dict[tuple[int, ...], Fraction]]] = [
        [{} for _ in range(m)] for _ in setting.controls
    ]
    for k, rate in enumerate(rates):
        if isinstance(rate, Fraction):
            rate = symbols[0].ring(sp.Rational(rate.numerator, rate.denominator))
        for exponents, coefficient in rate.terms():
            factors = [i for i, power in enumerate(exponents[m:]) if power]
            if len(factors) != 1 or exponents[m + factors[0]] != 1:
                raise DeclarationError.single(where, not_linear(setting, factors))
            value = Fraction(int(coefficient.numerator), int(coefficient.denominator))
            found[factors[0]][k][tuple(exponents[:m])] = value
    return [tuple(components) for components in found]


def not_linear(setting: Setting, factors: Sequence[int]) -> str:
    """Why there are no fields V_i: a term without a control, or with a product of some."""
    name = setting.field.head.name
    if not factors:
        return (
            f"'{name}' moves without its controls: y' = sum u_i V_i(y) has a control in every term"
        )
    named = ", ".join(dict.fromkeys(setting.controls[i].partition("[")[0] for i in factors))
    return (
        f"'{name}' is not linear in its controls ({named}): hold some of them, as in "
        "parameters = { ... }, or declare them under [fixed]"
    )


def _lifted(setting: Setting, over: Any) -> Setting:
    """The same with its numbers in a ring of polynomials."""

    def lift(value: Any) -> Any:
        def one(number: Fraction) -> Any:
            return over(sp.QQ(number.numerator, number.denominator))

        if isinstance(value, np.ndarray):
            return _array([one(number) for number in value.ravel()], (value.size,)).reshape(
                value.shape
            )
        return value

    known = {name: lift(value) for name, value in setting.known.items()}
    return Setting(setting.field, setting.sizes, known, setting.controls)


def _exact_function(name: str, *values: Any) -> Any:
    """A function of polynomials; only of numbers is there a quotient."""
    if any(isinstance(value, np.ndarray) for value in values):
        return np.vectorize(lambda *v: _exact_function(name, *v), otypes=[object])(*values)
    if name == "/":
        divisor = values[1]
        if isinstance(divisor, PolyElement) and divisor.is_ground and divisor:
            number = divisor.LC
            return values[0] * Fraction(int(number.denominator), int(number.numerator))
    shown = {"/": "a quotient", "**": "a power that is no whole number"}
    if all(isinstance(v, Fraction) or getattr(v, "is_ground", False) for v in values):
        what = f"{shown.get(name, f'{name}(...)')} of numbers" if values else name
        raise NotPolynomialError(f"{what} counts as irrational, and proofs are over Q")
    raise NotPolynomialError(f"{shown.get(name, f'{name}(...)')} is no polynomial of the states")
