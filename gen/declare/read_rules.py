"""Optimizers that are assignments: rules of which no differential equation is declared.

In: the file of an optimizer with ``unknowns`` and ``assign``.  Out: a :class:`Rule`.
"""

from __future__ import annotations

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import ExpressionError
from hamilforge.gen.declare.expression import (
    ELEMENTWISE,
    REDUCTIONS,
    Expression,
    Name,
    Operation,
    walk,
)
from hamilforge.gen.declare.read_parts import assignments, hyperparameters, scope
from hamilforge.gen.declare.reader import Reader
from hamilforge.gen.declare.shapes import SCALAR, VECTOR, infer_shape


def rule(reader: Reader, head: kinds.Head) -> kinds.Rule:
    """Read unknowns, of which the first is the point, and assignments to them, in order.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.

    Returns:
        The rule, its types checked.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(("unknowns", "assign", "hyperparameters", "reduce"))
    numbers = hyperparameters(reader)
    taken = {name for entry in numbers for name in (entry.name, entry.part_of)}
    unknowns = _unknowns(reader, taken)
    over = scope(reader)
    lines = assignments(reader, unknowns) or ()
    reader.finish()
    _check(reader, unknowns, numbers, lines)
    reader.finish()
    return kinds.Rule(head, numbers, unknowns, lines, over)


def _unknowns(reader: Reader, taken: set[str]) -> tuple[str, ...]:
    names = reader.source.tables.get("unknowns")
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not texts or not names:
        reader.problem('a list of names was expected, such as ["theta", "m"]', "unknowns")
        return ()
    for number, name in enumerate(names):
        reader.symbol(name, "unknowns")
        if name in taken or name in names[:number]:
            reader.problem(f"'{name}' is declared twice", "unknowns")
    return tuple(names)


def _check(
    reader: Reader,
    unknowns: tuple[str, ...],
    hyperparameters: tuple[kinds.Parameter, ...],
    lines: tuple[kinds.Assignment, ...],
) -> None:
    """The types of all assignments, and what each must not be."""
    point = unknowns[0]
    types = {parameter.name: SCALAR for parameter in hyperparameters}
    types |= {"n": SCALAR} | {name: VECTOR for name in unknowns}
    assigned: set[str] = set()
    for assignment in lines:
        target, value, place = assignment.target, assignment.value, ("assign", assignment.number)
        if target in assigned:
            reader.problem(f"'{target}' is assigned twice", *place)
        elif target in types and target not in unknowns:
            reader.problem(f"'{target}' cannot be assigned: it has a meaning already", *place)
        try:
            _refuse_other_points(value, point, point in assigned)
            shape = infer_shape(value, types, (*ELEMENTWISE, *REDUCTIONS, "grad"))
            if target in unknowns and shape != VECTOR:
                raise ExpressionError("a scalar; a vector was expected", 0, len(value.text))
            types[target] = shape
        except ExpressionError as error:
            reader.at_expression(value.text, error, place)
        assigned.add(target)
    for name in unknowns:
        if name not in assigned:
            reader.problem(f"'{name}' is never assigned", "assign")
    if not any("grad" in assignment.value.functions() for assignment in lines):
        reader.problem(f"a rule needs grad({point})", "assign")
    used = set().union(*(assignment.value.names() for assignment in lines))
    for assignment in lines:
        if assignment.target not in {*unknowns, *used}:
            message = f"'{assignment.target}' is used nowhere"
            reader.problem(message, "assign", assignment.number)
    for parameter in hyperparameters:
        if parameter.name not in used:
            key = parameter.part_of or parameter.name
            reader.problem(f"'{parameter.name}' is used nowhere", "hyperparameters", key)


def _refuse_other_points(value: Expression, point: str, moved: bool) -> None:
    """The gradient is that at the point where the step begins."""
    for node in walk(value.tree):
        if not isinstance(node, Operation) or node.op != "grad":
            continue
        (arg,) = node.args
        if not isinstance(arg, Name) or arg.name != point:
            raise ExpressionError(
                f"the gradient is taken at the point: grad({point})", node.start, node.stop
            )
        if moved:
            raise ExpressionError(
                f"a gradient after '{point}' is assigned is one at another point; assign '{point}' "
                f"last, or keep the gradient before: slope = grad({point})",
                node.start,
                node.stop,
            )
