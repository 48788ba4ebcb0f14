"""What happens to gradient and point before a rule sees them, as lines of the program.

The options of an optimizer, in the order of torch's: the gradient's sign (``maximize``), L2 decay
of the gradient (``weight_decay``), decoupled decay of the point once it has been taken.

In: the function of a stage.  Out: the same function with these lines in front of its own.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from fractions import Fraction

from hamilforge.gen.derive.arrays import Array
from hamilforge.gen.program.ir import (
    Apply,
    Expr,
    Function,
    Line,
    Ref,
    Select,
    entries,
    renamed,
    with_line_names,
)

#: What the lines are given: the gradient's sign, the L2 factor, the factor of the point.
SCALARS = ("sign", "l2", "shrink")
#: Those of them that are 1 unless an option says otherwise.
UNITS = ("sign", "shrink")
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
    (entries("x"), entries("g"), *map(Array, SCALARS)),
    (
        Line(
            entries(_GRADIENT),
            Select(Ref("l2"), Fraction(0), _SIGNED, Apply("add", (_SIGNED, _product("l2", "x")))),
            "with its sign and L2 decay",
        ),
        Line(entries(_POINT), _product("shrink", "x"), "decoupled decay"),
    ),
    (("x", entries(_POINT)), ("g", entries(_GRADIENT))),
)


def prepared(function: Function) -> Function:
    """A stage's function of the gradient and the point as they come.

    Returns:
        The function; its scalars are the three of the preparation, then its own.  Names of the
        preparation that the function has have underscores behind.
    """
    own = {*function.names}
    preparation = renamed(PREPARATION, {name: _free(name, own) for name in NAMES})
    prepared_names = {key: array.name for key, array in preparation.results}
    return replace(
        function,
        inputs=(
            *map(entries, function.arrays),
            *map(Array, (*preparation.scalars, *function.scalars)),
        ),
        lines=(*preparation.lines, *with_line_names(function.lines, prepared_names)),
    )


def prepared_matrices(function: Function, shrinks: bool) -> Function:
    """The same of a function of matrices.

    Args:
        function: of a step; its first array is the point, its last one the gradient.
        shrinks: whether the point may shrink, as one of a manifold may not.

    Returns:
        The function; its scalars are the three of the preparation, then its own.
    """
    own = {*function.names}
    point, *_, gradient = function.arrays
    mapping = {"x": point, "g": gradient} | {name: _free(name, own) for name in NAMES}
    preparation = PREPARATION.lines if shrinks else PREPARATION.lines[:1]
    shape = function.types[point].shape
    lines = tuple(
        replace(line, target=replace(line.target, shape=shape))
        for line in with_line_names(preparation, mapping)
    )
    results = {"g": mapping[_GRADIENT], "x": mapping[_POINT] if shrinks else point}
    return replace(
        function,
        inputs=(
            *(function.types[name] for name in function.arrays),
            *(Array(mapping[name]) for name in SCALARS),
            *map(Array, function.scalars),
        ),
        lines=(
            *lines,
            *with_line_names(function.lines, {point: results["x"], gradient: results["g"]}),
        ),
    )


def _free(name: str, taken: Set[str]) -> str:
    while name in taken:
        name += "_"
    return name
