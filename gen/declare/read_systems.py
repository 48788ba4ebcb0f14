"""Gradient systems and what discretises them: splittings by unknowns, tables, updates of a state.

In: files of the kinds system, splitting, update and optimizer in which the unknowns are arrays like
the point.  Out: :class:`GradientSystem`, :class:`UnknownSplitting`, :class:`StateUpdate` and
:class:`Discretised`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import ExpressionError, did_you_mean
from hamilforge.gen.declare.expression import (
    ELEMENTWISE,
    REDUCTIONS,
    Expression,
    Name,
    Operation,
    numerical,
    walk,
)
from hamilforge.gen.declare.functions import CONSTANTS
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.read_loops import loop
from hamilforge.gen.declare.read_parts import (
    MEANINGS,
    Find,
    another,
    assignments,
    default_numbers,
    hyperparameters,
    names_at,
    parameters,
    place_of,
    real_values,
    scope,
    settings_of,
)
from hamilforge.gen.declare.read_reductions import reductions
from hamilforge.gen.declare.read_rules import (
    OWN,
    Check,
    expression_at,
    options,
    refuse_unmet,
    requirements,
)
from hamilforge.gen.declare.reader import Reader, shortened
from hamilforge.gen.declare.shapes import SCALAR, VECTOR

_CALLS = (*ELEMENTWISE, *REDUCTIONS)
#: What of an optimizer's file may be of its system.
OF_SYSTEM = ("equations", "noise", "start", "parameters")


def has_oracle(reader: Reader) -> bool:
    """Whether a gradient stands in an equation of a system's file."""
    table = reader.source.tables.get("equations")
    values = table.values() if isinstance(table, Mapping) else ()
    return any(isinstance(text, str) and "grad(" in text.replace(" ", "") for text in values)


def own_part(reader: Reader, keys: tuple[str, ...]) -> Reader:
    """A reader of some keys of an optimizer's file alone."""
    tables = {key: value for key, value in reader.source.tables.items() if key in keys}
    return Reader(replace(reader.source, tables=tables))


def own_system(reader: Reader, head: kinds.Head) -> kinds.GradientSystem:
    """The system whose equations stand in an optimizer's file; they may read hyper-parameters.

    Args:
        reader: the file.
        head: of the optimizer.

    Returns:
        The system.

    Raises:
        DeclarationError: the equations have problems; all that were found are listed.
    """
    if not has_oracle(reader):
        reader.problem("has no grad(...) in it that an optimizer could take", "equations")
        reader.finish()
    numbers = hyperparameters(Reader(reader.source), OWN, more=kinds.DISCRETE)
    system = own_part(reader, OF_SYSTEM)
    tables = ("equations", "noise", "start")
    texts = [text for table in tables for text in system.table(table).values()]
    read = set(re.findall(r"[A-Za-z]\w*", " ".join(map(str, texts))))
    given = system.table("parameters")
    shared = tuple(entry for entry in numbers if entry.name in read and entry.name not in given)
    return gradient_system(system, replace(head, claims={}), shared)


def gradient_system(
    reader: Reader, head: kinds.Head, shared: tuple[kinds.Parameter, ...] = ()
) -> kinds.GradientSystem:
    """A differential equation with a gradient in it.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.
        shared: parameters that are declared elsewhere.

    Returns:
        The system, its types checked.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys((*OF_SYSTEM, "lyapunov"))
    own = (*parameters(reader, "parameters", _name(reader)), *shared)
    table = reader.table("equations", required=True)
    for name in table:
        _name(reader)(name, "equations", name)
        if name in {parameter.name for parameter in own}:
            reader.problem(f"'{name}' is declared twice", "equations", name)
    equations = [
        (name, value)
        for name, text in table.items()
        if (value := reader.expression(text, "equations", name))
    ]
    types: dict[str, Shape] = {parameter.name: SCALAR for parameter in own}
    types |= {"t": SCALAR} | dict.fromkeys(table, VECTOR)
    for name, value in equations:
        reader.typed(value, VECTOR, types, (*_CALLS, "grad"), "equations", name)
    point = _point(reader, equations)
    start: list[tuple[str, Expression]] = []
    start_time = Fraction(0)
    begins = {parameter.name: SCALAR for parameter in own} | {point: VECTOR}
    for name, text in reader.table("start").items():
        at = ("start", name)
        if name == "t":
            start_time = reader.number(text, *at)
        elif name == point:
            reader.problem("the point starts where the parameters are", *at)
        elif name not in table:
            reader.problem(f"'{name}' is no unknown" + did_you_mean(name, table), *at)
        elif value := reader.expression(text, *at):
            others = sorted(value.names() & {*table} - {point})
            if others:
                message = f"a start is in {point} and parameters; {others[0]} has none yet"
                reader.problem(message, *at)
            else:
                reader.typed(value, VECTOR, begins, _CALLS, *at)
                start.append((name, value))
    noise = _noise(reader, types)
    lyapunov = _lyapunov(reader, types, own)
    if noise and lyapunov:
        reader.problem("is of an equation without [noise]: with it no energy falls", "lyapunov")
    reader.finish()
    return kinds.GradientSystem(
        head, tuple(equations), point, own, tuple(start), start_time, lyapunov, noise
    )


def _noise(reader: Reader, types: Mapping[str, Shape]) -> tuple[tuple[str, Expression], ...]:
    """``[noise]``: the diffusion of some unknowns."""
    vectors = {name for name, shape in types.items() if shape == VECTOR}
    noise = []
    for name, text in reader.table("noise").items():
        at = ("noise", name)
        if name not in vectors:
            message = f"'{name}' is no unknown; there are: {', '.join(sorted(vectors))}"
            reader.problem(message, *at)
            continue
        value = reader.expression(text, *at)
        known = {other: shape for other, shape in types.items() if other != name}
        if value and "grad" in value.functions():
            reader.problem("a diffusion takes no gradient", *at)
        elif value and name in value.names():
            reader.problem("the diffusion of an unknown may not depend on it", *at)
        elif value:
            reader.typed(value, VECTOR, known, ELEMENTWISE, *at)
            noise.append((name, value))
    return tuple(noise)


def _name(reader: Reader) -> Any:
    """A check of names of unknowns and parameters."""
    return lambda name, *path: reader.symbol(name, *path, taken=MEANINGS)


def _point(reader: Reader, equations: list[tuple[str, Expression]]) -> str:
    """The unknown at which all gradients are taken."""
    points: dict[str, str] = {}
    for name, value in equations:
        for node in walk(value.tree):
            if not isinstance(node, Operation) or node.op != "grad":
                continue
            (arg,) = node.args
            text = value.text[arg.start : arg.stop]
            if not isinstance(arg, Name):
                error = ExpressionError(
                    "in a system the gradient is taken at an unknown", arg.start, arg.stop
                )
                reader.at_expression(value.text, error, ("equations", name))
            points.setdefault(text, name)
    if len(points) > 1:
        listed = " and ".join(points)
        reader.problem(f"gradients at different points: {listed}; a system has one", "equations")
    known = [name for name, _ in equations]
    point = next(iter(points), "")
    return point if point in known or not known else known[0]


def _lyapunov(
    reader: Reader, types: Mapping[str, Shape], own: tuple[kinds.Parameter, ...]
) -> kinds.Lyapunov | None:
    table = reader.table("lyapunov")
    if not table:
        return None
    for key in table:
        if key not in ("energy", "free", "interval"):
            reader.problem("unknown key; expected energy, free and interval", "lyapunov", key)
    free = reader.text("lyapunov", "free")
    numbers = {name: shape for name, shape in types.items() if shape == SCALAR and name != "t"}
    energy = reader.expression(table.get("energy"), "lyapunov", "energy")
    vectors = {name: shape for name, shape in types.items() if shape == VECTOR}
    known = {**numbers, **vectors, free: SCALAR}
    reader.typed(energy, SCALAR, known, (*_CALLS, "J"), "lyapunov", "energy")
    ends = table.get("interval")
    if not isinstance(ends, list) or len(ends) != 2:
        reader.problem("a list of two ends was expected", "lyapunov", "interval")
        return None
    interval = [reader.expression(text, "lyapunov", "interval") for text in ends]
    for end in interval:
        reader.typed(end, SCALAR, numbers, ELEMENTWISE, "lyapunov", "interval")
    first, last = interval
    defaults = default_numbers(own)
    try:
        if first and last and numerical(first.tree, defaults) > numerical(last.tree, defaults):
            reader.problem(
                "empty at the defaults: its first end is the larger", "lyapunov", "interval"
            )
    except (ArithmeticError, TypeError, ValueError):
        reader.problem("has no value at the defaults", "lyapunov", "interval")
    return kinds.Lyapunov(energy, free, (first, last)) if energy and first and last else None


def moves_unknowns(reader: Reader) -> bool:
    """Whether the letters of a splitting's file are names of unknowns."""
    steps = reader.source.tables.get("steps")
    entries = [step for step in steps if isinstance(step, list)] if isinstance(steps, list) else []
    letters = [step[0] for step in entries if step and isinstance(step[0], str)]
    return any(not name.isupper() for letter in letters for name in letter.split())


def unknown_splitting(reader: Reader, head: kinds.Head, find: Find) -> kinds.UnknownSplitting:
    """A composition of flows of unknowns.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The splitting.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(("steps",))
    moves = []
    for step in reader.source.tables["steps"]:
        fits = isinstance(step, list) and len(step) in (2, 3) and isinstance(step[0], str)
        if not fits or not step[0].split():
            reader.problem(f"{shortened(step)} is not [unknowns, weight] or with a table", "steps")
            continue
        unknowns = tuple(step[0].split())
        if len({*unknowns}) < len(unknowns):
            reader.problem(f"'{step[0]}' names an unknown twice", "steps")
        for name in unknowns:
            if name != "t":
                reader.symbol(name, "steps", taken=MEANINGS)
        weight = reader.expression(step[1], "steps")
        reader.typed(weight, SCALAR, {}, ("sqrt",), "steps")
        table = _table(reader, step[2], find) if len(step) == 3 else None
        if weight:
            moves.append(kinds.Move(unknowns, weight, table))
    numbers = {name: +getattr(mpmath, name) for name in CONSTANTS}
    real_values(reader, (("", move.weight, ("steps",)) for move in moves), numbers)
    reader.finish()
    return kinds.UnknownSplitting(head, tuple(moves))


def _table(reader: Reader, name: Any, find: Find) -> kinds.RungeKutta | None:
    declaration = another(reader, name, ("runge-kutta",), find, "steps")
    assert isinstance(declaration, kinds.RungeKutta | None)
    return declaration


def state_update(reader: Reader, head: kinds.Head) -> kinds.StateUpdate:
    """Assignments to a point and to arrays of a state; types are checked where it is used.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.

    Returns:
        The update.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(("unknowns", "scalars", "assign", "solution", "parameters", "start"))
    own = parameters(reader, "parameters", _name(reader))
    taken = {parameter.name for parameter in own}
    unknowns = names_at(reader, "unknowns", taken=taken)
    scalars = names_at(reader, "scalars", taken={*taken, *unknowns}, optional=True)
    lines = assignments(reader, (*unknowns, *scalars)) or ()
    start = [
        (name, value)
        for name, text in reader.table("start").items()
        if (value := reader.expression(text, "start", name))
    ]
    solution = expression_at(reader, "solution")
    reader.finish()
    return kinds.StateUpdate(head, unknowns, scalars, tuple(start), lines, solution, own)


def is_discretised(*parts: kinds.Declaration | None) -> bool:
    """Whether the system or the method of an optimizer is one of arrays with a gradient."""
    made = (kinds.GradientSystem, kinds.UnknownSplitting, kinds.StateUpdate)
    return any(isinstance(part, made) for part in parts)


def discretised(
    reader: Reader,
    head: kinds.Head,
    system: kinds.Declaration | None,
    method: kinds.Declaration,
    find: Find,
) -> kinds.Discretised:
    """A method for a gradient system, in hyper-parameters.

    Args:
        reader: the file.
        head: name, title, reference, claims and source.
        system: what it names as its system.
        method: what it names as its method.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The optimizer.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    inline = "equations" in reader.source.tables and "system" not in reader.source.tables
    if "noise" in reader.source.tables and not inline:
        reader.problem("belongs where the equations are, in the file of the system", "noise")
        reader.finish()
    reader.keys(
        (
            *("system", "method", "steps", "hyperparameters", "set", "reduce", "options"),
            *("require", "reductions", "outer", "scope"),
            *(OF_SYSTEM if inline else ()),
        )
    )
    if not isinstance(system, kinds.GradientSystem | None):
        reader.problem("has no gradient in it that an optimizer could take", "system")
    if not isinstance(method, kinds.UnknownSplitting | kinds.RungeKutta | kinds.StateUpdate):
        reader.problem(
            "is for Hamiltonians; a gradient system takes a splitting by its unknowns, an explicit "
            "table, or an update with unknowns",
            "method",
        )
    reader.finish()
    assert isinstance(system, kinds.GradientSystem | None)
    assert isinstance(method, kinds.UnknownSplitting | kinds.RungeKutta | kinds.StateUpdate)
    if isinstance(method, kinds.UnknownSplitting) and system:
        known = {*system.unknowns, "t"}
        place = "method" if "method" in reader.source.tables else "steps"
        moved = {name for move in method.moves for name in move.unknowns}
        for name in sorted(moved - known):
            message = f"{method.head.name} moves '{name}', which is no unknown of the system"
            reader.problem(message + did_you_mean(name, known), place)
        for name in sorted({*system.unknowns} - moved):
            reader.problem(f"{method.head.name} never moves '{name}'", place)
    numbers = hyperparameters(reader, OWN, more=kinds.DISCRETE)
    own = method.parameters if isinstance(method, kinds.StateUpdate) else ()
    inner = [parameter.name for parameter in (*(system.parameters if system else ()), *own)]
    made = method if isinstance(method, kinds.StateUpdate) else system
    unknowns = made.unknowns if made else ()
    looped = loop(reader, unknowns)
    schedules = tuple(name for name, _ in looped.schedules) if looped else ()
    settings = _settings(reader, numbers, (*inner, "h"), bool(system), schedules)
    chosen, decay_at = options(reader, {entry.name for entry in numbers})
    required = requirements(reader)
    refuse_unmet(reader, required, numbers)
    over = scope(reader)
    if isinstance(method, kinds.StateUpdate):
        _check_update(reader, method, inner)
    used = {name for _, value in settings for name in value.names()}
    if looped:
        _check_loop(reader, head, looped, unknowns, numbers)
        used |= _read_by(looped)
        for name in schedules:
            if name not in used:
                reader.problem(f"'{name}' is used nowhere", "scope", name)
    direct = {name for name in inner if name not in dict(settings)}
    for entry in numbers:
        if entry.name not in used | direct:
            reader.problem(f"'{entry.name}' is used nowhere", *place_of(reader, entry))
    others = reductions(reader, numbers, unknowns, find)
    reader.finish()
    return kinds.Discretised(
        head,
        system,
        method,
        numbers,
        settings,
        over,
        chosen,
        decay_at,
        required,
        others,
        looped,
    )


def _check_loop(
    reader: Reader,
    head: kinds.Head,
    looped: kinds.Loop,
    unknowns: tuple[str, ...],
    numbers: tuple[kinds.Parameter, ...],
) -> None:
    """The types of an outer step, whose steps inside are derived."""
    rule = kinds.Rule(
        head,
        numbers,
        (*unknowns, *looped.unknowns),
        (),
        looped.start,
        (),
        looped.solution,
        "all",
        (),
        None,
        (),
        loop=looped,
    )
    Check(reader, rule).outer_step()
    moved = {line.target for line in looped.assignments}
    for name in looped.unknowns:
        if name not in moved:
            reader.problem(f"'{name}' is never assigned", "outer", "assign")


def _read_by(looped: kinds.Loop) -> set[str]:
    """The names that an outer step and its schedules read."""
    values = [line.value for line in looped.assignments]
    values += [looped.every, *(value for _, value in (*looped.schedules, *looped.start))]
    values += [looped.solution] if looped.solution else []
    return {name for value in values for name in value.names()}


def _settings(
    reader: Reader,
    numbers: tuple[kinds.Parameter, ...],
    inner: tuple[str, ...],
    stepped: bool,
    schedules: tuple[str, ...] = (),
) -> tuple[tuple[str, Expression], ...]:
    """``[set]``: h and the parameters of system and method, in hyper-parameters and n."""
    types = {entry.name: SCALAR for entry in numbers} | dict.fromkeys((*schedules, "n"), SCALAR)
    table = reader.table("set")
    settings = settings_of(reader, table, inner, types, stepped)
    for name in inner[:-1]:
        if name not in table and name not in types:
            reader.problem(f"'{name}' must be set, or be a hyper-parameter", "set")
    return settings


def _check_update(reader: Reader, method: kinds.StateUpdate, inner: list[str]) -> None:
    """The types of an update of a state, once it is known what names it may read."""
    own = Reader(method.head.source)
    numbers = tuple(kinds.Parameter(name, Fraction(1), "real", "") for name in (*inner, "h", "t"))
    rule = kinds.Rule(
        method.head,
        numbers,
        method.unknowns,
        method.scalars,
        method.start,
        method.assignments,
        method.solution,
        "all",
        (),
        None,
        (),
    )
    Check(own, rule).run(whole=False)
    reader.problems.extend(own.problems)
