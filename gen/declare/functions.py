"""The elementwise functions: one row for each, read by every stage and every backend.

A row says what a function is called and what its derivative is, in the expression language itself,
in ``x``, and in ``y`` and ``z`` where it takes more.  That settles every kink once: the derivative
of ``relu`` is ``step``, that of ``abs`` is ``sign``, both are 0 at 0, and their derivatives are 0;
that of ``max`` at a tie is a half by either.  The derivative is a differential equation too,
y' = f'(x) x', and so says what the Taylor coefficients of a function are.  A function with a
``definition`` is written out where programs are made, and ``where`` becomes a choice, so that no
backend sees them.

What a function is worth stands in one table for each kind of number, beside its kin:
:mod:`program.interpret` (NumPy, the reference), :mod:`prove.series`, and one printer for each
backend.  A name that is missing there raises by name, and fails a test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Elementwise:
    """A function of one number, or of up to three.

    Attributes:
        name: in the expression language, and in programs.
        derivative: in x; of several numbers, by each of them.
        definition: what it is short for; empty for one that every backend has.
        declarable: whether a declaration may call it; others come of derivations.
        rate: the derivative in x and in y, the function's own value, from which its Taylor
            coefficients follow; the derivative itself if empty.
        kink: whether it has no Taylor series at some point where it has a value, nor one that
            holds on both sides of it.
        latex: how it is written before its argument; its name, upright, if empty.
    """

    name: str
    derivative: str | tuple[str, ...]
    definition: str = ""
    declarable: bool = True
    rate: str = ""
    kink: bool = False
    latex: str = ""

    @property
    def derivatives(self) -> tuple[str, ...]:
        """The derivative by each argument."""
        return (self.derivative,) if isinstance(self.derivative, str) else self.derivative

    @property
    def arguments(self) -> str:
        """What its arguments are called in the table, a letter each."""
        return "xyz"[: len(self.derivatives)]


#: ``where(x, y, z)``: y where the condition x holds, or where the number x > 0, else z.
CHOICE = "where"
#: Conditions, 1 where they hold and 0 elsewhere: the function of each sign, and whether its
#: arguments change places.  ``x != y`` is what ``x == y`` is not.
COMPARISONS = {
    ">": ("greater", False),
    "<": ("greater", True),
    ">=": ("at_least", False),
    "<=": ("at_least", True),
    "==": ("equal", False),
    "!=": ("equal", False),
}
#: The functions of all signs.
CONDITIONS = frozenset(function for function, _ in COMPARISONS.values())
TABLE = (
    Elementwise("abs", "sign(x)", kink=True),
    Elementwise("acos", "-1/sqrt(1 - x**2)", latex=r"\arccos"),
    Elementwise("acosh", "1/(sqrt(x - 1)*sqrt(x + 1))"),
    Elementwise("asin", "1/sqrt(1 - x**2)", latex=r"\arcsin"),
    Elementwise("asinh", "1/sqrt(x**2 + 1)"),
    Elementwise("atan", "1/(1 + x**2)", latex=r"\arctan"),
    Elementwise("atanh", "1/(1 - x**2)"),
    Elementwise("cbrt", "1/(3*cbrt(x)**2)", rate="1/(3*y**2)"),
    Elementwise(
        "clip",  # to the interval from y to z
        (
            "(1 + sign(x - y))*(1 + sign(z - max(x, y)))/4",
            "(1 + sign(y - x))*(1 + sign(z - max(x, y)))/4",
            "(1 + sign(max(x, y) - z))/2",
        ),
        definition="min(max(x, y), z)",
        kink=True,
    ),
    Elementwise("cos", "-sin(x)", latex=r"\cos"),
    Elementwise("cosh", "sinh(x)", latex=r"\cosh"),
    Elementwise("elu", "exp(-relu(-x))", kink=True),
    Elementwise("erf", "2*exp(-x**2)/sqrt(pi)"),
    Elementwise("erfc", "-2*exp(-x**2)/sqrt(pi)"),
    Elementwise("exp", "exp(x)", rate="y", latex=r"\exp"),
    Elementwise("expm1", "exp(x)", rate="1 + y"),
    Elementwise(
        "gelu",
        "erfc(-x/sqrt(2))/2 + x*exp(-x**2/2)/sqrt(2*pi)",
        definition="x*erfc(-x/sqrt(2))/2",
    ),
    Elementwise("leaky_relu", "1/100 + 99*step(x)/100", kink=True),
    Elementwise("log", "1/x", latex=r"\log"),
    Elementwise("log1p", "1/(1 + x)"),
    Elementwise("logistic", "logistic(x)*logistic(-x)", rate="y*(1 - y)"),
    Elementwise("max", ("(1 + sign(x - y))/2", "(1 + sign(y - x))/2"), kink=True, latex=r"\max"),
    Elementwise("min", ("(1 + sign(y - x))/2", "(1 + sign(x - y))/2"), kink=True, latex=r"\min"),
    Elementwise("relu", "step(x)", kink=True),
    Elementwise("sign", "0", kink=True),
    Elementwise("silu", "logistic(x)*(1 + x*logistic(-x))", definition="x*logistic(x)"),
    Elementwise("sin", "cos(x)", latex=r"\sin"),
    Elementwise("sinh", "cosh(x)", latex=r"\sinh"),
    Elementwise("softplus", "logistic(x)"),
    Elementwise("sqrt", "1/(2*sqrt(x))", rate="1/(2*y)"),
    Elementwise("step", "0", kink=True),
    Elementwise("tan", "1 + tan(x)**2", rate="1 + y**2", latex=r"\tan"),
    Elementwise("tanh", "1 - tanh(x)**2", rate="1 - y**2", latex=r"\tanh"),
    Elementwise(CHOICE, ("0", "step(x)", "1 - step(x)"), kink=True),
    # what the signs > >= == stand for
    Elementwise("greater", ("0", "0"), declarable=False, kink=True),
    Elementwise("at_least", ("0", "0"), declarable=False, kink=True),
    Elementwise("equal", ("0", "0"), declarable=False, kink=True),
    # log(cosh(x)) without overflow; 1/x, but 0 at 0; the root whose derivative at 0 is 0
    Elementwise("log_cosh", "tanh(x)", declarable=False),
    Elementwise("inverse", "-inverse(x)**2", declarable=False, kink=True),
    Elementwise("root", "inverse(root(x))/2", declarable=False, kink=True),
)
BY_NAME = {row.name: row for row in TABLE}
#: What a declaration may call.
DECLARABLE = tuple(row.name for row in TABLE if row.declarable)
#: What a program may call: every backend and every kind of number has these.
PRIMITIVE = tuple(row.name for row in TABLE if not row.definition and row.name != CHOICE)
#: Exact numbers with a name: names of the expression language that a declaration may take over.
CONSTANTS = ("pi",)
