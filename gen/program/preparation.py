"""What happens to gradient and point before a rule sees them, as lines of the program.

The options of an optimizer, in the order of torch's: the gradient's sign (``maximize``), L2 decay
of the gradient (``weight_decay``), decoupled decay of the point once it has been taken.

In: the function of a stage.  Out: the same function with these lines in front of its own.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from fractions import Fraction

from hamilforge.gen.program.ir import Apply, Assign, Expr, Function, Ref, Select, renamed

#: What the lines are given: the gradient's sign, the L2 factor, the factor of the point.
SCALARS = ("sign", "l2", "shrink")
#: What changes nothing.
NEUTRAL = (1.0, 0.0, 1.0)
_GRADIENT, _POINT = "gradient", "x_shrunk"
#: All names that the lines have of their own.
NAMES = (*SCALARS, _GRADIENT, _POINT)


def _product(scalar: str, array: str) -> Expr:
    return Apply("mul", (Ref(scalar), Ref(array)))


_SIGNED = _product("sign", "g")
#: ``gradient = sign*g + l2*x``, without the sum where l2 is 0: x is not read then, and an infinite
#: one is not multiplied by 0; ``x_shrunk = shrink*x``.
PREPARATION = Function(
    "prepared",
    ("x", "g"),
    SCALARS,
    (
        Assign(
            _GRADIENT,
            Select(Ref("l2"), Fraction(0), _SIGNED, Apply("add", (_SIGNED, _product("l2", "x")))),
            "array",
            "with its sign and L2 decay",
        ),
        Assign(_POINT, _product("shrink", "x"), "array", "decoupled decay"),
    ),
    (("x", _POINT), ("g", _GRADIENT)),
)


def prepared(function: Function) -> Function:
    """A stage's function of the gradient and the point as they come.

    Returns:
        The function; its scalars are the three of the preparation, then its own.  Names of the
        preparation that the function has have underscores behind.
    """
    own = {*function.arrays, *function.scalars, *(line.target for line in function.body)}
    preparation = renamed(PREPARATION, {name: _free(name, own) for name in NAMES})
    body = renamed(replace(function, arrays=()), dict(preparation.results)).body
    return replace(
        function,
        scalars=(*preparation.scalars, *function.scalars),
        body=(*preparation.body, *body),
    )


def _free(name: str, taken: Set[str]) -> str:
    while name in taken:
        name += "_"
    return name
