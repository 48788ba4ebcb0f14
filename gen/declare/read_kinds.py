"""One reader for each kind of declaration.

In: a :class:`Source` and a way to find other declarations.  Out: a frozen declaration, or one
:class:`DeclarationError` that lists everything wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen import families
from hamilforge.gen.declare import (
    kinds,
    read_matrix_rules,
    read_problems,
    read_rules,
    read_systems,
)
from hamilforge.gen.declare.errors import ExpressionError, caret, did_you_mean
from hamilforge.gen.declare.expression import (
    ELEMENTWISE,
    REDUCTIONS,
    Expression,
    Name,
    Number,
    Operation,
    parse,
    terms,
    walk,
)
from hamilforge.gen.declare.functions import CONSTANTS
from hamilforge.gen.declare.read_parts import (
    Find,
    are_exact,
    assignments,
    hyperparameters,
    named_numbers,
    parameters,
    real_values,
    reference,
    scope,
)
from hamilforge.gen.declare.read_reductions import reductions
from hamilforge.gen.declare.reader import MEANINGS, NAME, Reader, shortened
from hamilforge.gen.declare.shapes import SCALAR, VECTOR, Shapes, infer_shape
from hamilforge.gen.declare.toml_source import Source


def read(source: Source, find: Find) -> kinds.Declaration:
    """Turn a source into a declaration.

    Args:
        source: the text and its tables.
        find: ``find(name_or_path, kinds)`` gives another declaration.

    Raises:
        DeclarationError: with every problem of the file.
    """
    reader = Reader(source)
    kind = reader.text("kind")
    known = families.names()
    if kind and kind not in known:
        reader.problem(
            f"unknown kind '{kind}'; expected one of {', '.join(known)}"
            + did_you_mean(kind, known),
            "kind",
        )
    head = _head(reader)
    if kind not in known:
        reader.finish()
    declaration = families.named(kind).read(reader, head, find)
    reader.finish()
    return declaration


def _head(reader: Reader) -> kinds.Head:
    name = reader.text("name")
    if name and not NAME.fullmatch(name):
        reader.problem(
            f"'{name}' is no name: lower-case letters, digits and single underscores, "
            "a letter first",
            "name",
        )
    claims = reader.table("claims")
    for key, value in claims.items():
        texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
        if not texts and not isinstance(value, str | int | bool | dict):
            message = "a claim is a number, a text, a list of texts, a table or true/false"
            reader.problem(message, "claims", key)
    return kinds.Head(
        name, reader.text("title"), reader.text("reference"), dict(claims), reader.source
    )


def hamiltonian(reader: Reader, head: kinds.Head, find: Find) -> kinds.Declaration:
    """A Hamiltonian for optimizers; one with coordinates is read elsewhere.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with: name, title, reference, claims, source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        A Hamiltonian, or mechanics if there are coordinates.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    if "coordinates" in reader.source.tables:
        return read_problems.mechanics(reader, head, find)
    reader.keys(
        ("kinetic", "potential", "energy", "friction", "temperature", "parameters", "start")
    )
    own = parameters(reader, "parameters")
    scalars = {parameter.name: SCALAR for parameter in own}
    functions = (*ELEMENTWISE, *REDUCTIONS)
    if "energy" in reader.source.tables:
        kinetic = _separated(reader, scalars)
    else:
        kinetic = reader.expression(reader.text("kinetic"), "kinetic")
        if kinetic and "q" in kinetic.names() and "q" not in scalars:
            _refuse_coupling(reader, kinetic, "kinetic")
        else:
            reader.typed(kinetic, SCALAR, scalars | {"p": VECTOR}, functions, "kinetic")
        if "".join(reader.text("potential", default="J(q)").split()) != "J(q)":
            reader.problem(
                "an optimizer's potential is the loss itself; expected 'J(q)'", "potential"
            )
    friction = reader.expression(reader.text("friction", default="0"), "friction")
    reader.typed(friction, SCALAR, scalars | {"t": SCALAR}, ELEMENTWISE, "friction")
    temperature = None
    if "temperature" in reader.source.tables:
        temperature = reader.expression(reader.text("temperature"), "temperature")
        reader.typed(temperature, SCALAR, scalars, ELEMENTWISE, "temperature")
    start_time = read_problems.start(reader, ()).time
    reader.finish()
    assert kinetic is not None
    assert friction is not None
    return kinds.Hamiltonian(head, kinetic, friction, own, start_time, temperature)


def _refuse_coupling(reader: Reader, term: Expression, key: str) -> None:
    node = next(n for n in walk(term.tree) if isinstance(n, Name) and n.name == "q")
    reader.problem(
        "this term couples q and p, so H is not separable: drift and kick are then no exact "
        "flows, and an explicit splitting or update does not exist; expected H = K(p) + J(q)",
        key,
        excerpt=caret(term.text, node.start, node.stop),
    )


def _separated(reader: Reader, scalars: Shapes) -> Expression | None:
    """The kinetic energy of an ``energy`` that must be K(p) + J(q)."""
    energy = reader.expression(reader.text("energy"), "energy")
    if energy is None:
        return None
    types = {**scalars, "p": VECTOR, "q": VECTOR}
    reader.typed(energy, SCALAR, types, (*ELEMENTWISE, *REDUCTIONS, "J"), "energy")
    kinetic = []
    potentials = 0
    for term in terms(energy.tree):
        part = Expression(energy.text, term)
        if isinstance(term, Operation) and term.op == "J":
            (argument,) = term.args
            if not (isinstance(argument, Name) and argument.name == "q"):
                reader.problem(
                    "the loss is taken at q; expected 'J(q)'",
                    "energy",
                    excerpt=caret(energy.text, term.start, term.stop),
                )
            potentials += 1
        elif "q" in part.names():
            if "p" in part.names():
                _refuse_coupling(reader, part, "energy")
            else:
                reader.problem("the potential is the loss itself; expected 'J(q)'", "energy")
        else:
            kinetic.append(term)
    if potentials != 1:
        reader.problem("exactly one term J(q) was expected", "energy")
    if reader.problems:
        return None
    tree = energy.tree
    whole = Operation("+", (*kinetic, Number(Fraction(0), 0, 0)), tree.start, tree.stop)
    return Expression(energy.text, whole)


def splitting(reader: Reader, head: kinds.Head, find: Find) -> kinds.Declaration:
    """A composition of exact flows, or of a block of them.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with: name, title, reference, claims, source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The splitting.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    if read_systems.moves_unknowns(reader):
        return read_systems.unknown_splitting(reader, head, find)
    reader.keys(("steps", "compose", "constants", "coefficients"))
    constants, known = named_numbers(reader, ("sqrt", "cos", "sin"))
    exact = are_exact(reader)

    def weight(text: Any, *path: str) -> Expression:
        value = reader.expression(text, *path)
        reader.typed(value, SCALAR, known, ("sqrt", "cos", "sin"), *path)
        return value or parse("1")

    tables = reader.source.tables
    steps: tuple[kinds.Flow, ...] | kinds.Composition
    if ("steps" in tables) == ("compose" in tables):
        reader.problem("expected either steps or compose", "steps")
        reader.finish()
    if "steps" in tables:
        steps = _flows(reader, tables["steps"], weight)
    else:
        compose = reader.table("compose")
        block = reference(reader, ("splitting",), find, "compose", "block")
        weights = compose.get("weights")
        if not isinstance(weights, list) or not weights:
            reader.problem("a list of weights was expected", "compose", "weights")
            weights = []
        values = tuple(weight(text, "compose", "weights") for text in weights)
        reader.finish()
        if not isinstance(block, kinds.Splitting | kinds.ConstrainedSplitting):
            reader.problem("moves the unknowns of a system; a block has letters", "compose")
            reader.finish()
        assert isinstance(block, kinds.Splitting | kinds.ConstrainedSplitting)
        steps = kinds.Composition(block, values)
    if not reader.problems:
        numbers = {name: +getattr(mpmath, name) for name in CONSTANTS}
        named = ((name, value, ("constants", name)) for name, value in constants)
        numbers = real_values(reader, named, numbers)
        reader.finish()
        key: tuple[str, ...] = ("steps",)
        if isinstance(steps, kinds.Composition):
            weights, key = steps.weights, ("compose", "weights")
        else:
            weights = tuple(flow.weight for flow in steps)
        real_values(reader, (("", value, key) for value in weights), numbers)
        reader.finish()
    if isinstance(steps, kinds.Composition):
        is_constrained = isinstance(steps.block, kinds.ConstrainedSplitting)
    else:
        is_constrained = any(flow.letter == "C" for flow in steps)
    form = kinds.ConstrainedSplitting if is_constrained else kinds.Splitting
    return form(head, steps, constants, exact)


def _flows(reader: Reader, steps: Any, weight: Callable[..., Expression]) -> tuple[kinds.Flow, ...]:
    if not isinstance(steps, list) or not steps:
        reader.problem("a list of [letter, weight] was expected", "steps")
        return ()
    if len(steps) > 500:
        reader.problem(f"{len(steps)} flows; at most 500 are read", "steps")
        return ()
    flows = []
    for pair in steps:
        if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
            reader.problem(f"{shortened(pair)} is not a pair [letter, weight]", "steps")
            continue
        if pair[0] not in kinds.LETTERS:
            reader.problem(
                f"unknown letter '{pair[0]}'; expected A (drift), B (kick), D (friction), BD (kick "
                "with friction), P (friction as a force in the space around a manifold), O "
                "(friction with noise) or C (a constrained kick, drift and kick)",
                "steps",
            )
        flows.append(kinds.Flow(pair[0], weight(pair[1], "steps")))
    letters = {flow.letter for flow in flows}
    if not any("B" in letter or letter == "C" for letter in letters):
        reader.problem("a splitting has at least one kick, B, BD or C", "steps")
    astray = letters - {"C", *kinds.BESIDE_CONSTRAINED}
    if "C" in letters and astray:
        reader.problem(
            f"{', '.join(sorted(astray))} beside C leads off the constraints; only D (friction) "
            "stands there",
            "steps",
        )
    return tuple(flows)


def update(reader: Reader, head: kinds.Head, _: Find) -> kinds.Declaration:
    """Assignments in order."""
    if "unknowns" in reader.source.tables:
        return read_systems.state_update(reader, head)
    reader.keys(("assign", "parameters"))
    own = parameters(reader, "parameters")
    lines = assignments(reader, own=("q", "p"))
    if lines is not None:
        for needed in ("q", "p"):
            if needed not in {assignment.target for assignment in lines}:
                reader.problem(f"an update assigns q and p; {needed} is missing", "assign")
        if not any("grad" in assignment.value.functions() for assignment in lines):
            reader.problem("an update needs at least one grad(...)", "assign")
    return kinds.Update(head, lines or (), own)


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
    settings = _settings(reader, table, inner, types)
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


def _settings(
    reader: Reader, table: Mapping[str, Any], inner: set[str], types: dict[str, kinds.Shape]
) -> tuple[tuple[str, Expression], ...]:
    """``[set]``: what h and the parameters of system and method are; each may use those before.

    Args:
        reader: the file.
        table: what it says.
        inner: the names that may be set.
        types: of the names that may be used; those that are set are noted.
    """
    settings = []
    for name, text in table.items():
        if name not in inner:
            reader.problem(
                f"'{name}' is no parameter of the system or the method; expected one of "
                f"{', '.join(sorted(inner))}" + did_you_mean(name, inner),
                "set",
                name,
            )
        value = reader.expression(text, "set", name)
        reader.typed(value, SCALAR, types, ELEMENTWISE, "set", name)
        types[name] = SCALAR
        if value:
            settings.append((name, value))
    if "h" not in table:
        reader.problem("the step h must be set", "set")
    return tuple(settings)


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
    settings = _settings(reader, table, inner, types)
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
