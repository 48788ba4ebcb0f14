"""Shapes in the expression language: what fits what, in the user's names.

In: an expression and the shape of each name.  Out: the shape of the expression, a tuple of
dimensions that are names (``"d"``) or numbers (``"3"``).  A scalar fits everything; apart from that
shapes must be equal, and ``A @ v`` joins the last dimension of A with the first of v.

In the language of matrices, of manifolds, vectors are columns `(n, 1)`, an axis of length 1 is
repeated along the other operand, and there are functions of whole matrices
(:mod:`matrix_functions`).

A :data:`VECTOR` has an entry for each coordinate, however many there are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from hamilforge.gen.declare import matrix_functions
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import (
    ACTIVATION,
    AVERAGE,
    ELEMENTWISE,
    ENTRY,
    INNER,
    MAX_SHIFT,
    NOISE,
    ON_MANIFOLDS,
    PRODUCT,
    RATE,
    REDUCTIONS,
    REPEAT,
    SHIFT,
    Expression,
    Name,
    Node,
    Number,
    Operation,
    constant,
)
from hamilforge.gen.declare.functions import CONDITIONS, CONSTANTS
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import ALONG, IDENTITY, UNIT, joined

Shapes = Mapping[str, Shape]
SCALAR: Shape = ()
#: In the language of matrices: the point.
POINT = "X"
#: One entry for each coordinate: of q and p, or of a point and its gradient.
VECTOR: Shape = ("one entry per coordinate",)


def written(shape: Shape) -> str:
    """A shape as it is declared: ``(d, d)``, ``(d)``, ``a scalar``, ``a vector``."""
    if shape == VECTOR:
        return "a vector"
    return f"({', '.join(shape)})" if shape else "a scalar"


def infer_shape(
    expression: Expression,
    shapes: Shapes,
    functions: Iterable[str],
    dimensions: Collection[str] = (),
) -> Shape:
    """The shape of an expression.

    Args:
        expression: what to read.
        shapes: the shape of each name that may occur.
        functions: the functions that mean something here.
        dimensions: in the language of matrices, what ``eye`` and ``unit`` take.

    Returns:
        Its dimensions; empty for a scalar.

    Raises:
        ExpressionError: an unknown name or function, or operands that do not fit; the message
            names both with their shapes.
    """
    allowed = (*functions,)

    def text(node: Node) -> str:
        return expression.text[node.start : node.stop]

    def fail(message: str, node: Node) -> ExpressionError:
        return ExpressionError(message, node.start, node.stop)

    def visit(node: Node) -> Shape:
        if isinstance(node, Number):
            return ()
        if isinstance(node, Name):
            if node.name not in shapes and node.name in CONSTANTS:
                return ()
            if node.name not in shapes:
                known = ", ".join(sorted(shapes)) or "none"
                if node.name in ELEMENTWISE:
                    raise fail(f"'{node.name}' is a function: give it an argument", node)
                raise fail(
                    f"unknown name '{node.name}'; known here: {known}"
                    + did_you_mean(node.name, shapes),
                    node,
                )
            return shapes[node.name]
        if node.op == RATE and node.op in allowed and not isinstance(node.args[0], Name):
            raise fail(f"{RATE}(...) takes a control", node)
        if node.op in (IDENTITY, UNIT) and node.op in allowed:
            return of_dimension(node)
        if node.op == REPEAT and node.op in allowed:
            return repeated(node)
        operands = [visit(arg) for arg in node.args]
        if node.op == ENTRY and node.op in allowed:
            return entry(node, operands[0])
        if node.op == "@":
            return product(node, operands[0], operands[1])
        if node.op in ("+", "*", "-", "/", "**"):
            return together(node, operands)
        return call(node, operands)

    def together(node: Operation, operands: list[Shape]) -> Shape:
        result: Shape = ()
        first: Node = node
        for arg, shape in zip(node.args, operands, strict=True):
            common = joined(result, shape) if dimensions else shape or result
            if common is None or (not dimensions and result and common != result):
                raise fail(
                    f"'{text(first)}' is {written(result)} and '{text(arg)}' is {written(shape)}: "
                    "the shapes do not fit",
                    node,
                )
            if common != result:
                result, first = common, arg
        return result

    def entry(node: Operation, shape: Shape) -> Shape:
        vector, place = node.args
        number = constant(place) or 0
        if len(shape) != 1:
            raise fail(f"'{text(vector)}' is {written(shape)}; a vector has entries", node)
        if number < 1 or (shape[0].isdigit() and number > int(shape[0])):
            raise fail(f"the entries of '{text(vector)}' are 1 to {shape[0]}", node)
        return ()

    def of_dimension(node: Operation) -> Shape:
        size, *place = node.args
        if not isinstance(size, Name) or size.name not in dimensions:
            raise fail(f"{node.op} takes a dimension: {', '.join(dimensions)}", node)
        if node.op == IDENTITY:
            return (size.name, size.name)
        number = constant(place[0])
        if number is None or number.denominator > 1 or not 0 <= number <= MAX_SHIFT:
            message = f"unit(n, k) takes a whole number k from 0 to {MAX_SHIFT}"
            raise fail(message, node)
        return (size.name, ALONG)

    def repeated(node: Operation) -> Shape:
        _, target, value = node.args
        times, start, end = map(visit, node.args)
        if times or not isinstance(target, Name):
            raise fail("repeat(k, Y, f) takes a number, a name and what it becomes", node)
        if start != end or len(start) != 2:
            raise fail(
                f"'{target.name}' is {written(start)} and '{text(value)}' is {written(end)}: "
                "repeat(k, Y, f) takes a matrix that stays one of its shape",
                node,
            )
        return start

    def product(node: Operation, left: Shape, right: Shape) -> Shape:
        matrix, operand = node.args
        if VECTOR in (left, right):
            raise fail("'@' needs matrices, and here are only scalars and vectors", node)
        if len(left) != 2 or not right:
            raise fail(
                f"'@' takes a matrix and a vector or a matrix, not '{text(matrix)}', "
                f"{written(left)}, and '{text(operand)}', {written(right)}",
                node,
            )
        if left[1] != right[0]:
            raise fail(
                f"'{text(matrix)}' is {written(left)} and '{text(operand)}' is {written(right)}: "
                f"{left[1]} and {right[0]} do not fit",
                node,
            )
        return (left[0], *right[1:])

    def call(node: Operation, operands: list[Shape]) -> Shape:
        if node.op not in allowed and node.op not in CONDITIONS:
            if node.op == ACTIVATION:
                raise fail(
                    "sigma(...) is the activation, and none is declared; for example "
                    'activation = "tanh(x)"',
                    node,
                )
            raise fail(f"{node.op}(...) has no meaning here; allowed: {', '.join(allowed)}", node)
        if node.op == NOISE:
            return VECTOR
        if node.op in matrix_functions.BY_NAME:
            row = matrix_functions.BY_NAME[node.op]
            shape = row.shape(*operands)
            if shape is None:
                raise fail(
                    f"{node.op}(...) takes {row.takes}, not {' and '.join(map(written, operands))}",
                    node,
                )
            return shape
        if node.op == "transpose":
            if len(operands[0]) != 2:
                raise fail(f"transpose takes a matrix, not {written(operands[0])}", node)
            return operands[0][::-1]
        if node.op == "decay" and operands[0]:
            raise fail("decay(s) takes a time span, a scalar", node)
        if node.op == SHIFT:
            by = constant(node.args[1])
            if not operands[0] or by is None or by.denominator > 1 or abs(by) > MAX_SHIFT:
                raise fail(
                    f"shift(x, k) takes what has a value at each place, and a whole number from "
                    f"-{MAX_SHIFT} to {MAX_SHIFT}",
                    node,
                )
        if node.op in (*ON_MANIFOLDS, INNER):
            for shape in operands:
                if shape != shapes[POINT]:
                    raise fail(
                        f"{node.op}(...) takes what has the shape of {POINT}, "
                        f"{written(shapes[POINT])}, not {written(shape)}",
                        node,
                    )
            if node.op == INNER:
                return ()
        if node.op in (*_OF_ENTRIES, *_OF_COORDINATES) and not all(operands):
            what = "vectors or matrices" if "logsumexp" in allowed else f"vectors ({VECTOR[0]})"
            raise fail(f"{node.op}(...) takes {what}, not a scalar", node)
        if node.op in (*_OF_ENTRIES, "J"):
            if len({*operands}) > 1:
                together(node, operands)
            return ()
        return operands[0] if node.op == SHIFT else together(node, operands)

    return visit(expression.tree)


#: What makes one number of all entries.
_OF_ENTRIES = (*REDUCTIONS, PRODUCT, "logsumexp")
#: Functions of all coordinates.
_OF_COORDINATES = ("J", "grad", "velocity", AVERAGE)
#: What may be called where arrays have shapes.
ARRAY_FUNCTIONS = (*ELEMENTWISE, *REDUCTIONS, "logsumexp", "transpose")
