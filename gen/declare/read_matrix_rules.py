"""The reader of optimizers of matrices, on a manifold or without one.

In: the file of an optimizer with ``manifold = "stiefel"``, or with ``point = { X = ["n", "p"] }``,
``unknowns`` and ``assign``.  Out: a :class:`MatrixRule`.
"""

from __future__ import annotations

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import (
    GRADIENT,
    ON_MANIFOLDS,
    RETRACT,
    TRANSPORT,
    Name,
    Operation,
    walk,
)
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import as_matrix, dimensions
from hamilforge.gen.declare.read_manifolds import FUNCTIONS, POINT, point
from hamilforge.gen.declare.read_manifolds import GRADIENT as SLOPES
from hamilforge.gen.declare.read_parts import (
    Find,
    assignments,
    hyperparameters,
    names_at,
    reference,
)
from hamilforge.gen.declare.read_rules import OWN, options, refuse_unmet
from hamilforge.gen.declare.reader import Reader, shortened
from hamilforge.gen.declare.shapes import SCALAR, infer_shape, written

_KEYS = ("unknowns", "assign", "hyperparameters", "options", "require")
#: What says where parameters lie, and how they move there.
GEOMETRY = ("manifold", "metric", "retraction")
#: The number of the step, from 1.
COUNT = "n"


def matrix_rule(reader: Reader, head: kinds.Head, find: Find) -> kinds.MatrixRule:
    """An optimizer whose parameters are matrices.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The rule, its shapes checked.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    on_manifold = "manifold" in reader.source.tables
    reader.keys((*_KEYS, *(GEOMETRY if on_manifold else ("point",))))
    manifold: kinds.Manifold | None = None
    metric = retraction = ""
    if on_manifold:
        manifold, metric, retraction = geometry(reader, find)
        declared = manifold.shape
        is_vector = manifold.is_vector
    else:
        own = point(reader)
        if own is None:
            reader.finish()
        assert own is not None
        declared = as_matrix(own)
        is_vector = len(own) == 1
    numbers = hyperparameters(reader, OWN, flags=False)
    taken = {name for entry in numbers for name in (entry.name, entry.part_of)}
    unknowns = names_at(reader, "unknowns", taken={*taken, SLOPES})
    if unknowns and unknowns[0] != POINT:
        reader.problem(f"the first unknown is the point, and is called {POINT}", "unknowns")
    lines = assignments(reader, unknowns) or ()
    chosen, decay_at = options(reader, {entry.name for entry in numbers})
    if decay_at is not None:
        reader.problem("there is one gradient", "options", "decay_at")
    if chosen and manifold is not None:
        reader.problem("points of a manifold do not shrink: there is no weight decay", "options")
    requirements = tuple(
        (condition, reader.text("require", text))
        for text in reader.table("require")
        if (condition := reader.condition(text, "require", text))
    )
    reader.finish()
    refuse_unmet(reader, requirements, numbers)
    rule = kinds.MatrixRule(
        head,
        manifold,
        metric,
        retraction,
        declared,
        is_vector,
        numbers,
        unknowns,
        lines,
        chosen,
        requirements,
    )
    _check(reader, rule)
    reader.finish()
    return rule


def geometry(
    reader: Reader, find: Find, others: tuple[str, ...] = ()
) -> tuple[kinds.Manifold, str, str]:
    """The manifold, and which of its metrics and retractions; its first ones if none is named.

    Args:
        reader: the file.
        find: reads another declaration, from its name or path and the kinds that will do.
        others: what may stand in the place of a retraction.

    Returns:
        The manifold, the name of the metric, that of the retraction.

    Raises:
        DeclarationError: there is no such manifold.
    """
    manifold = reference(reader, ("manifold",), find, "manifold")
    reader.finish()
    assert isinstance(manifold, kinds.Manifold)
    names = []
    for key, known in (
        ("metric", tuple(metric.name for metric in manifold.metrics)),
        ("retraction", (*(name for name, _ in manifold.retractions), *others)),
    ):
        name = reader.text(key, default=known[0])
        if name not in known:
            reader.problem(
                f"{shortened(name)}; {manifold.head.name} has {', '.join(known)}"
                + did_you_mean(name, known),
                key,
            )
        names.append(name)
    metric, retraction = names
    return manifold, metric, retraction


def _check(reader: Reader, rule: kinds.MatrixRule) -> None:
    """Shapes, and that everything that is kept is assigned."""
    numbers = {entry.name: SCALAR for entry in rule.hyperparameters}
    shapes: dict[str, Shape] = {**numbers, COUNT: SCALAR}
    shapes |= dict.fromkeys(rule.unknowns, rule.shape)
    own = ON_MANIFOLDS if rule.manifold is not None else ()
    functions = (*FUNCTIONS, "grad", *own)
    assigned: set[str] = set()
    for line in rule.assignments:
        place = ("assign", line.number)
        if line.target in assigned:
            reader.problem(f"'{line.target}' is assigned twice", *place)
        if line.target in {*numbers, COUNT, SLOPES}:
            reader.problem(f"'{line.target}' cannot be assigned: it has a meaning already", *place)
        try:
            shape = infer_shape(line.value, shapes, functions, dimensions(rule.shape))
            if line.target in rule.unknowns and shape != rule.shape:
                message = f"{written(shape)}; {written(rule.shape)} was expected"
                raise ExpressionError(message, 0, len(line.value.text))
        except ExpressionError as error:
            reader.at_expression(line.value.text, error, place)
            return
        for node in walk(line.value.tree):
            if isinstance(node, Operation) and node.op == "grad":
                (at,) = node.args
                if not (isinstance(at, Name) and at.name == POINT):
                    reader.problem(f"the gradient is taken at {POINT}: grad({POINT})", *place)
        if TRANSPORT in line.value.functions() and POINT not in assigned:
            reader.problem(f"transport(...) leads to the new {POINT}, so it comes after", *place)
        if {"grad", GRADIENT, RETRACT} & line.value.functions() and POINT in assigned:
            reader.problem(
                f"grad, gradient and retract are taken at the {POINT} before the step: once "
                f"{POINT} is assigned they have no meaning",
                *place,
            )
        if line.target == POINT and rule.manifold is not None:
            whole = line.value.tree
            if getattr(whole, "op", "") != RETRACT:
                reader.problem("a point of a manifold moves by retract(...)", *place)
        shapes[line.target] = shape
        assigned.add(line.target)
    for name in rule.unknowns:
        if name not in assigned:
            reader.problem(f"'{name}' is never assigned", "assign")
    if not any("grad" in line.value.functions() for line in rule.assignments):
        reader.problem(f"a rule needs grad({POINT})", "assign")
    read = {name for line in rule.assignments for name in line.value.names()}
    read |= {name for condition, _ in rule.requirements for name in condition.names()}
    for entry in rule.hyperparameters:
        if entry.name not in read:
            reader.problem(f"nothing reads '{entry.name}'", "hyperparameters", entry.name)
