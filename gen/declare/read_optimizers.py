"""The reader of optimizers: a system with a method, a rule, or either on a manifold.

In: a reader of a declaration, its head, and what finds others.  Out: the record, checked.
"""

from __future__ import annotations

from dataclasses import replace

from hamilforge.gen.declare import kinds, read_matrix_rules, read_problems, read_rules, read_systems
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import ELEMENTWISE, REDUCTIONS, Expression
from hamilforge.gen.declare.read_parts import (
    Find,
    hyperparameters,
    reference,
    scope,
    settings_of,
)
from hamilforge.gen.declare.read_reductions import reductions
from hamilforge.gen.declare.read_schemes import splitting
from hamilforge.gen.declare.reader import MEANINGS, Reader, shortened
from hamilforge.gen.declare.shapes import SCALAR, VECTOR, Shapes, infer_shape


def _check_update(reader: Reader, update: kinds.Update, system: kinds.Hamiltonian) -> None:
    """Types of an update's assignments, once it is known what system it meets."""
    own = Reader(update.head.source)
    types = {name.name: SCALAR for name in (*system.parameters, *update.parameters)}
    types |= {"q": VECTOR, "p": VECTOR, "t": SCALAR, "h": SCALAR, "n": SCALAR}
    functions = (*ELEMENTWISE, *REDUCTIONS, "decay", "grad", "velocity")
    for assignment in update.assignments:
        try:
            shape = infer_shape(assignment.value, types, functions)
            if assignment.target in ("q", "p") and shape != VECTOR:
                end = len(assignment.value.text)
                raise ExpressionError("a scalar; a vector was expected", 0, end)
            types[assignment.target] = shape
        except ExpressionError as error:
            own.at_expression(assignment.value.text, error, ("assign", assignment.number))
    reader.problems.extend(own.problems)


def optimizer(reader: Reader, head: kinds.Head, find: Find) -> kinds.Declaration:
    """A system with a method, in hyper-parameters.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with: name, title, reference, claims, source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The optimizer, with its system and its method.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    if "manifold" in reader.source.tables and "system" in reader.source.tables:
        return _on_manifold(reader, head, find)
    if {"manifold", "point"} & reader.source.tables.keys():
        return read_matrix_rules.matrix_rule(reader, head, find)
    if {"unknowns", "assign"} & reader.source.tables.keys():
        return read_rules.rule(reader, head, find)
    named = "system" in reader.source.tables
    system = reference(reader, ("hamiltonian", "system"), find, "system") if named else None
    if not named and "equations" in reader.source.tables:
        system = read_systems.own_system(reader, head)
    if {"steps", "method"} <= reader.source.tables.keys():
        reader.problem("a method is named, and steps are another one: one of both is read", "steps")
        reader.finish()
    if "steps" in reader.source.tables:
        own_steps = read_systems.own_part(reader, ("steps",))
        method: kinds.Declaration | None = splitting(own_steps, replace(head, claims={}), find)
    else:
        method = reference(reader, ("splitting", "update", "runge-kutta"), find, "method")
    if read_systems.is_discretised(system, method):
        reader.finish()
        assert method is not None
        return read_systems.discretised(reader, head, system, method, find)
    for key in ("outer", "scope"):
        if key in reader.source.tables:
            message = "is for rules and for equations with grad(...), not for a Hamiltonian"
            reader.problem(message, key)
            reader.finish()
    reader.keys(
        (
            *("system", "method", "steps", "hyperparameters", "set", "state", "reduce", "start"),
            "reductions",
        )
    )
    numbers = hyperparameters(reader)
    if not numbers:
        reader.table("hyperparameters", required=True)
    if not named:
        reader.text("system")
    table = reader.table("set", required=True)
    if isinstance(system, kinds.System):
        reader.problem(
            f"'{system.head.name}' has no grad(...) in it: it is for integrators", "system"
        )
    if isinstance(method, kinds.ConstrainedSplitting):
        reader.problem(
            f"'{method.head.name}' has constrained steps, C: it is for integrators of problems "
            "with [constraints]",
            "method",
        )
    if isinstance(method, kinds.RungeKutta) and system is not None:
        reader.problem("a table is a method for a gradient system, not for a Hamiltonian", "method")
    reader.finish()
    if isinstance(system, kinds.Mechanics):
        reader.problem(
            f"'{system.head.name}' has coordinates of its own: it is for integrators; an "
            "optimizer's Hamiltonian is K(p) + J(q) with the loss J",
            "system",
        )
        reader.finish()
    assert isinstance(system, kinds.Hamiltonian)
    assert isinstance(method, kinds.Splitting | kinds.Update)

    own = method.parameters if isinstance(method, kinds.Update) else ()
    inner = {parameter.name for parameter in (*system.parameters, *own)} | {"h"}
    types = {name: SCALAR for name in inner - {"h"}}
    types |= {parameter.name: SCALAR for parameter in numbers}
    settings = settings_of(reader, table, inner, types)
    buffer, buffer_value = _state(reader, types)
    over = scope(reader)
    if isinstance(method, kinds.Update):
        _check_update(reader, method, system)
    start_time = read_problems.start(reader, (), system.start_time).time
    reader.finish()
    alone = kinds.Optimizer(
        head,
        system,
        method,
        numbers,
        settings,
        buffer,
        buffer_value,
        over,
        start_time,
    )
    others = reductions(reader, alone.numbers, alone.unknowns, find)
    reader.finish()
    return replace(alone, reductions=others)


def _on_manifold(reader: Reader, head: kinds.Head, find: Find) -> kinds.ManifoldOptimizer:
    """A Hamiltonian system with a splitting, on a manifold."""
    if "state" in reader.source.tables:
        message = "on a manifold V = h grad K(p) is kept, so there is no [state] to choose"
        reader.problem(message, "state")
        reader.finish()
    keys = ("system", "method", "hyperparameters", "set", "transport")
    reader.keys((*keys, *read_matrix_rules.GEOMETRY))
    system = reference(reader, ("hamiltonian",), find, "system")
    method = reference(reader, ("splitting",), find, "method")
    manifold, metric, retraction = read_matrix_rules.geometry(reader, find, (kinds.GEODESIC,))
    is_constrained = isinstance(method, kinds.ConstrainedSplitting)
    if is_constrained:
        retraction = _multipliers(reader, manifold, retraction)
    reader.finish()
    numbers = hyperparameters(reader)
    if not numbers:
        reader.table("hyperparameters", required=True)
    table = reader.table("set", required=True)
    for key, part, form in (
        ("system", system, kinds.Hamiltonian),
        ("method", method, kinds.Splitting | kinds.ConstrainedSplitting),
    ):
        if part is not None and not isinstance(part, form):
            reader.problem(f"'{part.head.name}' is not for optimizers of a Hamiltonian", key)
    if retraction == kinds.GEODESIC and manifold.metric(metric).geodesic is None:
        reader.problem(f"the metric {metric} has no geodesic declared", "retraction")
    transport = _transport(reader, manifold, retraction, is_constrained)
    reader.finish()
    assert isinstance(system, kinds.Hamiltonian)
    assert isinstance(method, kinds.Splitting | kinds.ConstrainedSplitting)
    inner = {parameter.name for parameter in system.parameters} | {"h"}
    types = {name: SCALAR for name in inner - {"h"}}
    types |= {parameter.name: SCALAR for parameter in numbers}
    settings = settings_of(reader, table, inner, types)
    reader.finish()
    return kinds.ManifoldOptimizer(
        head, system, method, numbers, settings, manifold, metric, retraction, transport
    )


def _multipliers(reader: Reader, manifold: kinds.Manifold, retraction: str) -> str:
    """The retraction of a constrained step: that of the manifold's multipliers."""
    own = manifold.multipliers
    if own is None:
        message = f"C moves by multipliers, and no retraction of {manifold.head.name} has a normal"
        reader.problem(message, "method")
        return retraction
    if "retraction" in reader.source.tables and retraction != own.name:
        reader.problem(f"C moves by the multipliers of the manifold: {own.name}", "retraction")
    return own.name


def _transport(
    reader: Reader, manifold: kinds.Manifold, retraction: str, is_constrained: bool
) -> str:
    """By which the momentum is carried: what belongs to the move, or what is named."""
    if is_constrained or retraction == kinds.GEODESIC:
        own = kinds.SECANT if is_constrained else kinds.VELOCITY
        if reader.text("transport", default=own) != own:
            reader.problem(f"leave it out: the move carries the momentum by its {own}", "transport")
        return own
    known = (kinds.PROJECTION, *(name for name, _ in manifold.transports))
    name = reader.text("transport", default=kinds.PROJECTION)
    if name not in known:
        message = f"{shortened(name)}; {manifold.head.name} has {', '.join(known)}"
        reader.problem(message + did_you_mean(name, known), "transport")
    return name


def _state(reader: Reader, types: Shapes) -> tuple[str, Expression | None]:
    table = reader.table("state")
    if not table:
        return "p", None
    if len(table) > 1:
        reader.problem("one buffer is stored; more than one was named", "state")
    name, text = next(iter(table.items()))
    if name != "p":
        reader.symbol(name, "state", name, taken={*MEANINGS, "x", "g"})
    value = reader.expression(text, "state", name)
    reader.typed(value, VECTOR, {**types, "p": VECTOR}, ELEMENTWISE, "state", name)
    if value and "p" not in value.names():
        reader.problem("the buffer must be linear in p; p does not occur", "state", name)
    return name, value
