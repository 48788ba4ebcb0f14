"""Readers of the kinds ``runge-kutta`` and ``partitioned``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import Expression, constant
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.read_parts import Find, are_exact, parameters, reference
from hamilforge.gen.declare.reader import Reader
from hamilforge.gen.declare.shapes import SCALAR

MAX_STAGES = 100
#: Of a coefficient.
LARGEST = Fraction(10**60)
KEYS = (
    "A b b_hat c row_sums stages collocation mean compose constants parameters coefficients".split()
)
ROOT_KEYS = ("root", "near")
#: The keys of each way to give a table.
_FORMS = {
    "A": "A b b_hat c row_sums constants parameters coefficients".split(),
    "formula": "stages A b constants parameters".split(),
    "collocation": ["collocation"],
    "mean": ["mean"],
    "compose": "compose constants parameters coefficients".split(),
}
#: Functions whose values may be algebraic numbers.
ALGEBRAIC = ("sqrt", "cos", "sin", "tan")
Types = dict[str, Shape]


def runge_kutta(reader: Reader, head: kinds.Head, find: Find) -> kinds.Declaration:
    """A Runge–Kutta method.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with: name, title, reference, claims, source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The Runge–Kutta method.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(KEYS)
    return _tableau(reader, head, find, ())


def partitioned(reader: Reader, head: kinds.Head, find: Find) -> kinds.Declaration:
    """A pair of methods, by name or inline.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with: name, title, reference, claims, source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The pair; for p None where it is the adjoint of q.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(("q", "p"))
    q = _half(reader, head, find, "q")
    p = None
    if reader.source.tables.get("p") != "adjoint":
        p = _half(reader, head, find, "p")
    reader.finish()
    assert q is not None
    return kinds.Partitioned(head, q, p)


def _half(reader: Reader, head: kinds.Head, find: Find, key: str) -> kinds.RungeKutta | None:
    half = reader.source.tables.get(key)
    if isinstance(half, dict):
        for inner in half:
            if inner not in KEYS:
                reader.problem(f"unknown key; expected one of {', '.join(KEYS)}", key, inner)
        return _tableau(reader, head, find, (key,))
    if half is None:
        reader.problem("a method was expected: a name, or a table with A and b", key)
        return None
    method = reference(reader, ("runge-kutta",), find, key)
    return method if isinstance(method, kinds.RungeKutta) else None


def _tableau(reader: Reader, head: kinds.Head, find: Find, at: tuple[str, ...]) -> kinds.RungeKutta:
    tables: dict[str, Any] = reader.source.tables
    for key in at:
        tables = tables[key]
    own = parameters(reader, "parameters", _symbol(reader)) if not at else ()
    types: Types = {parameter.name: SCALAR for parameter in own}
    constants = _constants(reader, tables, types, at)
    exact = are_exact(reader) if not at else tables.get("coefficients", "exact") == "exact"
    forms = [key for key in ("A", "collocation", "mean", "compose") if key in tables]
    if len(forms) != 1:
        reader.problem(
            "expected one of A (with b), [collocation], mean and compose" + _given(forms), *at, "A"
        )
        reader.finish()
    formula = isinstance(tables.get("A"), str)
    meant = _FORMS["formula" if formula else forms[0]]
    for key in tables:
        if key in KEYS and key not in meant:
            reader.problem(f"{key} means nothing here; expected {', '.join(meant)}", *at, key)
    table: Any
    if forms == ["collocation"]:
        table = _collocation(reader, at)
    elif forms == ["mean"]:
        table = _mean(reader, tables["mean"], find, at)
    elif forms == ["compose"]:
        table = _composed(reader, types, find, at)
    elif isinstance(tables["A"], str):
        table = _formula(reader, tables, types, at)
    else:
        table = _rows(reader, tables, types, at)
    reader.finish()
    return kinds.RungeKutta(head, table, constants, own, exact)


def _symbol(reader: Reader) -> Callable[..., None]:
    """Names of numbers in tables: i and j count stages, x is what roots are of."""
    return functools.partial(reader.symbol, taken=("i", "j", "x"))


def _given(forms: Sequence[str]) -> str:
    return f"; given: {', '.join(forms)}" if forms else ""


def _constants(
    reader: Reader, tables: dict[str, Any], types: Types, at: tuple[str, ...]
) -> tuple[tuple[str, Expression | kinds.Root], ...]:
    declared = tables.get("constants", {})
    if not isinstance(declared, dict):
        reader.problem("a table was expected", *at, "constants")
        return ()
    constants: list[tuple[str, Expression | kinds.Root]] = []
    for name, value in declared.items():
        path = (*at, "constants", name)
        _symbol(reader)(name, *path)
        if name in types:
            reader.problem(f"'{name}' is a parameter already", *path)
        if isinstance(value, dict):
            for key in value:
                if key not in ROOT_KEYS:
                    reader.problem("unknown key; expected root and near", *path, key)
            polynomial = reader.expression(value.get("root"), *path, "root")
            reader.typed(polynomial, SCALAR, {"x": SCALAR}, (), *path, "root")
            near = reader.number(value.get("near"), *path, "near")
            if polynomial:
                constants.append((name, kinds.Root(polynomial, near)))
        else:
            expression = reader.expression(value, *path)
            reader.typed(expression, SCALAR, types, ALGEBRAIC, *path)
            if expression:
                constants.append((name, expression))
        types[name] = SCALAR
    return tuple(constants)


def _rows(
    reader: Reader, tables: dict[str, Any], types: Types, at: tuple[str, ...]
) -> kinds.Rows | None:
    rows = tables["A"]
    if not isinstance(rows, list) or not rows:
        reader.problem("a list of rows was expected", *at, "A")
        return None
    size = len(rows)
    if size > MAX_STAGES:
        reader.problem(f"{size} stages; at most {MAX_STAGES} are read", *at, "A")
        return None

    def entries(value: Any, place: str, length: int, key: str) -> tuple[Expression, ...]:
        if not isinstance(value, list):
            reader.problem(f"{place}: a list was expected", *at, key)
            return ()
        if len(value) > length:
            reader.problem(
                f"{place} has {len(value)} entries, but there are {size} stages", *at, key
            )
            return ()
        expressions = []
        for entry in value:
            expression = reader.expression(entry, *at, key)
            reader.typed(expression, SCALAR, types, ALGEBRAIC, *at, key)
            _bounded(reader, expression, *at, key)
            expressions.append(expression or parse("0"))
        return tuple(expressions)

    def full(key: str) -> tuple[Expression, ...] | None:
        if key not in tables:
            return None
        value = tables[key]
        row = entries(value, key, size, key)
        if isinstance(value, list) and len(value) < size:
            reader.problem(f"{key} has {len(value)} entries, but there are {size} stages", *at, key)
        return row

    a = tuple(entries(row, f"row {k}", size, "A") for k, row in enumerate(rows, start=1))
    if "b" not in tables:
        reader.problem("the weights b are missing", *at, "b")
    row_sums = tables.get("row_sums", True)
    if not isinstance(row_sums, bool):
        reader.problem("true or false was expected", *at, "row_sums")
    if row_sums is False and "c" not in tables:
        reader.problem("nodes that are not the row sums must be given", *at, "c")
    return kinds.Rows(a, full("b") or (), full("b_hat"), full("c"), row_sums is not False)


def _bounded(reader: Reader, entry: Expression | None, *path: str) -> None:
    """Note a coefficient that no method has, and no arithmetic of conditions survives."""
    value = constant(entry.tree) if entry else None
    if value and not 1 / LARGEST <= abs(value) <= LARGEST:
        reader.problem("coefficients lie between 1e-60 and 1e60", *path)


def _formula(
    reader: Reader, tables: dict[str, Any], types: Types, at: tuple[str, ...]
) -> kinds.Formula | None:
    parts = []
    for key, more in (("stages", ()), ("A", ("i", "j")), ("b", ("j",))):
        if key not in tables:
            reader.problem("missing; A by a formula needs stages and b by formulas too", *at, key)
        expression = reader.expression(tables.get(key, "1"), *at, key)
        known = types | dict.fromkeys(more, SCALAR)
        reader.typed(expression, SCALAR, known, ("sqrt", "sign"), *at, key)
        parts.append(expression or parse("1"))
    return kinds.Formula(*parts)


def _collocation(reader: Reader, at: tuple[str, ...]) -> kinds.Collocation | None:
    path = (*at, "collocation")
    table = reader.source.tables
    for key in path:
        table = table[key]
    if not isinstance(table, dict):
        reader.problem("a table was expected", *path)
        return None
    for key in table:
        if key not in ("nodes", "conditions", "first_column", "last_column"):
            reader.problem(
                "unknown key; expected nodes, conditions, first_column or last_column", *path, key
            )
    nodes = reader.expression(table.get("nodes"), *path, "nodes")
    reader.typed(nodes, SCALAR, {"x": SCALAR}, ("legendre",), *path, "nodes")
    conditions = table.get("conditions")
    if conditions not in ("C", "D"):
        reader.problem("expected 'C' or 'D'", *path, "conditions")
    column = None
    for which in ("first", "last"):
        key = f"{which}_column"
        if key in table:
            value = str(table[key])
            if value not in ("b", "0") or column or conditions != "C":
                reader.problem("one column, 'b' or 0, with conditions = 'C'", *path, key)
            column = (which, value)
    return kinds.Collocation(nodes, conditions, column) if nodes and conditions else None


def _mean(reader: Reader, names: Any, find: Find, at: tuple[str, ...]) -> kinds.Mean | None:
    if not isinstance(names, list) or len(names) < 2:
        reader.problem("a list of at least two methods was expected", *at, "mean")
        return None
    parts = []
    for name in names:
        if not isinstance(name, str):
            reader.problem(f"{name!r} is not a name", *at, "mean")
            continue
        try:
            part = find(name, ("runge-kutta",))
        except DeclarationError as error:
            for message in dict.fromkeys(problem.message for problem in error.problems):
                reader.problem(message, *at, "mean")
            return None
        assert isinstance(part, kinds.RungeKutta)
        parts.append(part)
    return kinds.Mean(tuple(parts))


def _composed(
    reader: Reader, types: Types, find: Find, at: tuple[str, ...]
) -> kinds.Composed | None:
    path = (*at, "compose")
    block = reference(reader, ("runge-kutta",), find, *path, "block")
    table: Any = reader.source.tables
    for key in path:
        table = table[key]
    declared = table.get("weights") if isinstance(table, dict) else None
    if not isinstance(declared, list) or not declared:
        reader.problem("a list of weights was expected", *path, "weights")
        return None
    weights = [reader.expression(entry, *path, "weights") for entry in declared]
    for weight in weights:
        reader.typed(weight, SCALAR, types, ALGEBRAIC, *path, "weights")
        _bounded(reader, weight, *path, "weights")
    if not isinstance(block, kinds.RungeKutta):
        return None
    return kinds.Composed(block, tuple(weight or parse("0") for weight in weights))


def discrete_gradient(reader: Reader, head: kinds.Head, find: Find) -> kinds.Declaration:
    """A discrete gradient, by a quadrature or by increments.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with: name, title, reference, claims, source.
        find: reads another declaration, from its name or path and the kinds that will do.

    Returns:
        The discrete gradient.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(("quadrature", "increments"))
    tables = reader.source.tables
    if ("quadrature" in tables) == ("increments" in tables):
        reader.problem("expected either quadrature or increments", "quadrature")
        reader.finish()
    quadrature = increments = None
    if "quadrature" in tables:
        quadrature = reference(reader, ("runge-kutta",), find, "quadrature")
    else:
        increments = reader.text("increments")
        if increments not in ("forward", "symmetric", "random"):
            reader.problem("expected 'forward', 'symmetric' or 'random'", "increments")
    reader.finish()
    assert quadrature is None or isinstance(quadrature, kinds.RungeKutta)
    return kinds.DiscreteGradient(head, quadrature, increments)
