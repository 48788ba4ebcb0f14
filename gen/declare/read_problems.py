"""Readers of problems for integrators: Hamiltonians in named coordinates, and plain systems."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hamilforge.gen.declare import kinds, read_events, read_lattices, read_systems
from hamilforge.gen.declare.errors import did_you_mean
from hamilforge.gen.declare.expression import ELEMENTWISE, Expression
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.read_parts import Find, parameters
from hamilforge.gen.declare.reader import SYMBOL, Reader
from hamilforge.gen.declare.shapes import SCALAR, VECTOR

#: Components of a problem; a field of more is not written out line by line.
MAX_COMPONENTS = 400
_COMMON = ("parameters", "invariants", "start")
#: What stands behind the name of a constraint for its derivative by the time.
RATE = "rate"
Types = dict[str, Shape]


def mechanics(reader: Reader, head: kinds.Head, _: Find) -> kinds.Declaration:
    """A Hamiltonian H(q, p, t) in named coordinates."""
    table = reader.table("coordinates", required=True)
    lattice = read_lattices.named(reader, table)
    own_keys = ("sites" if lattice else "constraints", "events")
    reader.keys(("coordinates", "energy", "friction", *own_keys, *_COMMON))
    own = _parameters(reader)
    types = _types(own)
    if lattice:
        table = read_lattices.without_sites(table)
        free(reader, lattice, "coordinates")
        if lattice in types and lattice != "t":
            reader.problem(f"'{lattice}' has a meaning already", "coordinates")
        types[lattice] = SCALAR
    for key in table:
        if key not in ("q", "p"):
            reader.problem("unknown key; expected q and p", "coordinates", key)
    shape = VECTOR if lattice else SCALAR
    positions, momenta = (
        _components(reader, table.get(key), types, key, shape) for key in ("q", "p")
    )
    if len(positions) != len(momenta):
        reader.problem(
            f"{len(positions)} positions and {len(momenta)} momenta; they come in pairs",
            "coordinates",
        )
    functions = read_lattices.FUNCTIONS if lattice else ELEMENTWISE
    energy = _scalar(reader, reader.text("energy"), types, "energy", functions=functions)
    friction = reader.expression(reader.text("friction", default="0"), "friction")
    reader.typed(friction, SCALAR, _types(own), ELEMENTWISE, "friction")
    invariants = _invariants(reader, types, functions)
    constraints = () if lattice else _constraints(reader, own, positions, momenta, invariants)
    names = (*positions, *momenta)
    if lattice and reader.table("events"):
        reader.problem(
            "a lattice declares no events; give hf.integrate a Python function of (t, y)", "events"
        )
    watched = () if lattice else read_events.events(reader, types)
    begin = start(reader, *(((), Fraction(0), names) if lattice else (names,)))
    sites = read_lattices.sites(reader, lattice, names) if lattice else None
    listed = methods(reader)
    reader.finish()
    assert energy is not None
    assert friction is not None
    return kinds.Mechanics(
        head, positions, momenta, energy, friction, own, invariants, begin, listed, sites,
        constraints=constraints, events=watched,
    )  # fmt: skip


def system(reader: Reader, head: kinds.Head, _: Find) -> kinds.Declaration:
    """A first-order differential equation in named components, or one of arrays with a gradient."""
    if read_systems.has_oracle(reader):
        return read_systems.gradient_system(reader, head)
    if "noise" in reader.source.tables:
        reader.problem("is for equations with grad(...) in them", "noise")
        reader.finish()
    reader.keys(("equations", "poisson", "events", *_COMMON))
    own = _parameters(reader)
    types = _types(own)
    table = reader.table("equations", required=True)
    if not table and not reader.problems:
        reader.problem("a system has at least one component", "equations")
    names = _components(reader, list(table), types, "equations")
    equations = []
    for name in names:
        value = _scalar(reader, table[name], types, "equations", name)
        if value:
            equations.append((name, value))
    invariants = _invariants(reader, types)
    poisson = _poisson(reader, types, len(names))
    watched = read_events.events(reader, types)
    begin = start(reader, names)
    listed = methods(reader)
    reader.finish()
    return kinds.System(head, tuple(equations), own, invariants, poisson, begin, listed, watched)


def start(
    reader: Reader,
    names: Sequence[str],
    time: Fraction = Fraction(0),
    also: Sequence[str] = (),
) -> kinds.Start:
    """``[start]``: the time and some of the components; others read what ``also`` has.

    Args:
        reader: the file.
        names: the components that may have a number.
        time: when it begins, if ``t`` is not there.
        also: names that others read.

    Returns:
        The time, and the components that are there; problems are noted by the reader.
    """
    table = reader.table("start")
    values = []
    for key, value in table.items():
        if key == "t":
            time = reader.number(value, "start", "t")
        elif key in names:
            values.append((key, reader.number(value, "start", key)))
        elif key not in also:
            known = ("t", *names, *also)
            reader.problem(
                f"nothing of that name can start; expected {', '.join(known)}"
                + did_you_mean(key, known),
                "start",
                key,
            )
    return kinds.Start(time, tuple(values))


def _parameters(reader: Reader) -> tuple[kinds.Parameter, ...]:
    return parameters(reader, "parameters", lambda name, *path: free(reader, name, *path))


def free(reader: Reader, name: str, *path: str) -> None:
    """Note a name that cannot be one."""
    if not SYMBOL.fullmatch(name) or name == "t":
        reader.problem(
            f"'{name}' cannot be a name here: letters, digits and single underscores "
            "between them, a letter first; t is the time",
            *path,
        )


def _types(own: Sequence[kinds.Parameter]) -> Types:
    return {parameter.name: SCALAR for parameter in own} | {"t": SCALAR}


def _components(
    reader: Reader, names: Any, types: Types, key: str, shape: Shape = SCALAR
) -> tuple[str, ...]:
    """Names of components, each noted in ``types``."""
    path = ("equations",) if key == "equations" else ("coordinates", key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        reader.problem("a list of names was expected", *path)
        return ()
    if not names and key != "equations":
        reader.problem("at least one name was expected", *path)
    if len(names) > MAX_COMPONENTS:
        reader.problem(f"{len(names)} components; at most {MAX_COMPONENTS} are read", *path)
        return ()
    for name in names:
        if name in types and name != "t":
            reader.problem(f"'{name}' has a meaning already", *path)
        free(reader, name, *path)
        types[name] = shape
    return tuple(names)


def _scalar(
    reader: Reader,
    text: Any,
    types: Types,
    *path: str,
    functions: tuple[str, ...] = ELEMENTWISE,
) -> Expression | None:
    value = reader.expression(text, *path)
    reader.typed(value, SCALAR, types, functions, *path)
    return value


def _invariants(
    reader: Reader, types: Types, functions: tuple[str, ...] = ELEMENTWISE
) -> tuple[tuple[str, Expression], ...]:
    invariants = []
    for name, text in reader.table("invariants").items():
        value = _scalar(reader, text, types, "invariants", name, functions=functions)
        if not SYMBOL.fullmatch(name) or name == "energy":
            reader.problem(f"'{name}' cannot be the name of an invariant", "invariants", name)
        if value:
            invariants.append((name, value))
    return tuple(invariants)


def _constraints(
    reader: Reader,
    own: Sequence[kinds.Parameter],
    positions: Sequence[str],
    momenta: Sequence[str],
    invariants: Sequence[tuple[str, Expression]],
) -> tuple[tuple[str, Expression], ...]:
    """``[constraints]``: functions of positions and parameters that vanish along solutions."""
    table = reader.table("constraints")
    types = {name: SCALAR for name in (*positions, *(parameter.name for parameter in own))}
    taken = {"t", "energy", *types, *momenta, *(name for name, _ in invariants)}
    constraints = []
    for name, text in table.items():
        path = ("constraints", name)
        if not SYMBOL.fullmatch(name):
            reader.problem(f"'{name}' cannot be the name of a constraint", *path)
        for called in (name, f"{name}_{RATE}"):
            if called in taken:
                reader.problem(f"'{called}' has a meaning already", *path)
            taken.add(called)
        value = reader.expression(text, *path)
        if value is None:
            continue
        others = sorted(value.names() & ({*momenta, "t"} - {entry.name for entry in own}))
        if others:
            what = "the time" if others[0] == "t" else "a momentum"
            reader.problem(
                f"'{others[0]}' is {what}; a constraint is on positions alone, and keeps their "
                "velocities with them",
                *path,
            )
            continue
        reader.typed(value, SCALAR, types, ELEMENTWISE, *path)
        if not value.names() & {*positions}:
            reader.problem("no position is in it, so it constrains nothing", *path)
        constraints.append((name, value))
    if positions and len(constraints) >= len(positions):
        reader.problem(
            f"{len(constraints)} constraints on {len(positions)} positions leave no motion",
            "constraints",
        )
    return tuple(constraints)


def _poisson(reader: Reader, types: Types, size: int) -> kinds.Poisson | None:
    table = reader.table("poisson")
    if not table:
        return None
    for key in table:
        if key not in ("energy", "matrix"):
            reader.problem("unknown key; expected energy and matrix", "poisson", key)
    energy = _scalar(reader, table.get("energy"), types, "poisson", "energy")
    declared = table.get("matrix")
    rows = declared if isinstance(declared, list) else []
    if len(rows) != size or not all(isinstance(row, list) and len(row) == size for row in rows):
        reader.problem(f"{size} rows of {size} entries were expected", "poisson", "matrix")
        return None
    read = [[_scalar(reader, entry, types, "poisson", "matrix") for entry in row] for row in rows]
    matrix = tuple(tuple(entry for entry in row if entry) for row in read)
    return kinds.Poisson(energy, matrix) if energy else None


def methods(reader: Reader) -> tuple[str, ...]:
    """``[generate] methods``: with which methods generated code ships."""
    table = reader.table("generate")
    for key in table:
        if key != "methods":
            reader.problem("unknown key; expected methods", "generate", key)
    names = table.get("methods", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        reader.problem("a list of names was expected", "generate", "methods")
        return ()
    return tuple(names)
