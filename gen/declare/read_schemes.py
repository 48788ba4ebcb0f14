"""Readers of energies and of their methods: Hamiltonians, splittings and updates.

In: a reader of a declaration, its head, and what finds others.  Out: the record, checked.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare import kinds, read_problems, read_systems
from hamilforge.gen.declare.errors import caret
from hamilforge.gen.declare.expression import (
    ELEMENTWISE,
    REDUCTIONS,
    Expression,
    Name,
    Number,
    Operation,
    terms,
    walk,
)
from hamilforge.gen.declare.functions import CONSTANTS
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.read_parts import (
    Find,
    are_exact,
    assignments,
    named_numbers,
    parameters,
    real_values,
    reference,
)
from hamilforge.gen.declare.reader import Reader, shortened
from hamilforge.gen.declare.shapes import SCALAR, VECTOR, Shapes


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
