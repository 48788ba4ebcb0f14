"""The reader of manifolds: a constraint, projections, metrics, retractions.

In: ``point = { X = ["n", "p"] }`` and expressions in the language of matrices: in X the point, V
and U tangent vectors, G a gradient, Y a new point, Z a random array.  ``[shorthands]`` are names
for expressions in X and V, to be used where these mean something; ``project(...)`` may be called
wherever X does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hamilforge.gen.declare import kinds, matrix_functions
from hamilforge.gen.declare.errors import ExpressionError
from hamilforge.gen.declare.expression import ELEMENTWISE, PROJECT, REDUCTIONS, Expression
from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import as_matrix, dimensions
from hamilforge.gen.declare.parser import parse
from hamilforge.gen.declare.read_parts import Find
from hamilforge.gen.declare.reader import NAME, OF_NAMES, SYMBOL, Reader, shortened
from hamilforge.gen.declare.shapes import POINT, infer_shape, written

#: What matrices may be handed to.
FUNCTIONS = (*ELEMENTWISE, *REDUCTIONS, "transpose", *matrix_functions.NAMES)
#: The names of arrays of the point's shape, beside it.
TANGENT, OTHER, GRADIENT, NEW, RANDOM = "V", "U", "G", "Y", "Z"
ARRAYS = (POINT, TANGENT, OTHER, GRADIENT, NEW, RANDOM)
#: Keys of a retraction: what X + V is led back by, and for which V it has a value.
NORMAL, WHERE = "normal", "where"
#: Parts of a friction that fade each at their own rate, at most.
MOST_RATES = 4
#: A condition with this name is a matrix that is symmetric and positive definite.
POSITIVE = "positive"
_DIMENSION = re.compile("[a-z][a-z0-9]*")
_KEYS = (
    "point",
    "shorthands",
    "constraint",
    "project",
    "retractions",
    "metrics",
    "transport",
    "transports",
    "where",
    "quotient",
    "sample",
)


def manifold(reader: Reader, head: kinds.Head, _: Find) -> kinds.Declaration:
    """A manifold.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with.

    Returns:
        The declaration.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(_KEYS)
    declared = point(reader)
    if declared is None:
        reader.finish()
    assert declared is not None
    language = _Language(reader, declared)
    shorthands = language.shorthands()
    project = language.expression("VX", None, "project")
    language.projects = True
    constraint = language.expression("X", None, "constraint", any_shape=True)
    if kinds.GEODESIC in reader.table("retractions"):
        message = f"'{kinds.GEODESIC}' means that of the metric; call it otherwise"
        reader.problem(message, "retractions", kinds.GEODESIC)
    retractions = _retractions(reader, language)
    metrics = _metrics(reader, language)
    transport = None
    if reader.source.tables.get("transport", kinds.PROJECTION) != kinds.PROJECTION:
        transport = language.expression("XYUV", None, "transport")
    transports = _transports(reader, language)
    sample = None
    if reader.table("sample"):
        for key in reader.table("sample"):
            if key != "point":
                reader.problem("unknown key; expected point", "sample", key)
        sample = language.expression("Z", None, "sample", "point")
    conditions = _conditions(reader, language)
    quotient = _quotient(reader, declared)
    reader.finish()
    assert constraint is not None
    assert project is not None
    return kinds.Manifold(
        head,
        language.shape,
        len(declared) == 1,
        shorthands,
        constraint,
        project,
        retractions,
        metrics,
        transport,
        transports,
        conditions,
        quotient,
        sample,
    )


def point(reader: Reader) -> Shape | None:
    """``point = { X = ["n", "p"] }``."""
    table = reader.table("point", required=True)
    if [*table] != [POINT]:
        if not reader.problems:
            reader.problem('the point is called X: point = { X = ["n", "p"] }', "point")
        return None
    shape = table[POINT]
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 2
        or not all(isinstance(name, str) and _DIMENSION.fullmatch(name) for name in shape)
    ):
        reader.problem(
            f"{shortened(shape)}; one or two dimensions by name were expected, such as "
            '["n"], ["n", "n"] or ["n", "p"]',
            "point",
            POINT,
        )
        return None
    return tuple(shape)


class _Language:
    """Expressions of a manifold, with the names that they may use."""

    def __init__(self, reader: Reader, declared: Shape) -> None:
        self._reader = reader
        self.shape = as_matrix(declared)
        self._dimensions = dimensions(declared)
        #: The shape of each, and the arrays that it is made of.
        self._shorthands: dict[str, tuple[Shape, frozenset[str]]] = {}
        #: Whether ``project`` may be called.
        self.projects = False

    def shorthands(self) -> tuple[tuple[str, Expression], ...]:
        """``[shorthands]``: each may use those before it."""
        reader = self._reader
        texts = []
        for name in reader.table("shorthands"):
            taken = {*ARRAYS, *self._dimensions}
            reader.symbol(name, "shorthands", name, taken=taken)
            value = reader.expression(reader.text("shorthands", name), "shorthands", name)
            shape = self.shape_of(value, "XV", "shorthands", name)
            if shape is not None and value is not None:
                used = value.names()
                reads = used & {*ARRAYS}
                for other in used & {*self._shorthands}:
                    reads |= self._shorthands[other][1]
                self._shorthands[name] = shape, reads
                texts.append((name, value))
        return tuple(texts)

    def expression(
        self, names: str, wanted: Shape | None, *path: str, any_shape: bool = False
    ) -> Expression | None:
        """An expression in some of the arrays.

        Args:
            names: the letters of the arrays that may occur.
            wanted: its shape; that of the point if None.
            path: its key.
            any_shape: whether any shape will do.

        Returns:
            It, or None with the problem noted.
        """
        value = self._reader.expression(self._reader.text(*path), *path)
        shape = self.shape_of(value, names, *path)
        expected = self.shape if wanted is None else wanted
        if shape is not None and not any_shape and shape != expected:
            message = f"{written(shape)}; {written(expected)} was expected"
            self._reader.problem(message, *path)
        return value

    def condition(self, names: str, *path: str, definite: bool) -> Expression | None:
        """What is positive: a comparison of scalars, or a symmetric matrix.

        Args:
            names: the letters of the arrays that may occur.
            path: its key.
            definite: whether it is a matrix.

        Returns:
            It, or None with the problem noted.
        """
        text = self._reader.text(*path)
        read = self._reader.expression if definite else self._reader.condition
        value = read(text, *path)
        shape = self.shape_of(value, names, *path)
        if shape is None:
            return None
        if definite and (len(shape) != 2 or shape[0] != shape[1]):
            self._reader.problem(f"{written(shape)}; a square matrix was expected", *path)
        if not definite and shape:
            self._reader.problem(
                f"{written(shape)}; a condition is of a scalar, as in det(X) > 0, but for "
                f"{POSITIVE}, a positive definite matrix",
                *path,
            )
        return value

    def shape_of(self, value: Expression | None, names: str, *path: str) -> Shape | None:
        """The shape of an expression; None where it has none, with the problem noted.

        Args:
            value: None, where no expression could be read.
            names: the letters of the arrays that may occur.
            path: its key.

        Returns:
            Its dimensions.
        """
        if value is None:
            return None
        shapes = dict.fromkeys(names, self.shape)
        shapes |= {
            name: shape for name, (shape, reads) in self._shorthands.items() if reads <= {*names}
        }
        functions = (*FUNCTIONS, PROJECT) if self.projects and "X" in names else FUNCTIONS
        try:
            return infer_shape(value, shapes, functions, self._dimensions)
        except ExpressionError as error:
            self._reader.at_expression(value.text, error, path)
            return None


def _retractions(reader: Reader, language: _Language) -> tuple[kinds.Retraction, ...]:
    """``[retractions]``: expressions, or tables that say of which V too; the first is of all."""
    retractions = []
    for name in _named(reader, "retractions"):
        path = ("retractions", name)
        entry = reader.table("retractions")[name]
        if not isinstance(entry, dict):
            if value := language.expression("XV", None, *path):
                retractions.append(kinds.Retraction(name, value))
            continue
        reader.subkeys(("value", NORMAL, WHERE, POSITIVE), *path)
        values = [key for key in ("value", NORMAL) if key in entry]
        if len(values) != 1:
            reader.problem(f'value = "...", or {NORMAL} = "..." for X + V less that', *path)
            continue
        value = language.expression("XV", None, *path, values[0])
        normal = value if values[0] == NORMAL else None
        if normal is not None:
            value = parse(f"X + V - ({normal.text})")
        conditions = [key for key in (WHERE, POSITIVE) if key in entry]
        condition, definite = None, conditions == [POSITIVE]
        if len(conditions) > 1:
            example = f'{WHERE} = "dot(V, V) < 1", or {POSITIVE} = "eye(p) - transpose(V) @ V"'
            reader.problem(f"which V have a value is said once, such as {example}", *path)
        elif conditions:
            condition = language.condition("XV", *path, conditions[0], definite=definite)
        if value:
            retractions.append(kinds.Retraction(name, value, normal, condition, definite))
    if sum(own.normal is not None for own in retractions) > 1:
        reader.problem(f"there is one retraction with {NORMAL}", "retractions")
    if not retractions and not reader.problems:
        reader.problem("at least one retraction was expected", "retractions")
    if retractions and retractions[0].where is not None:
        message = "the first retraction has a value for every V: let another one be the first"
        reader.problem(message, "retractions", retractions[0].name)
    return tuple(retractions)


def _transports(reader: Reader, language: _Language) -> tuple[tuple[str, Expression], ...]:
    """``[transports]``: others than the default, by name."""
    if "transports" not in reader.source.tables:
        return ()
    known = (kinds.PROJECTION, kinds.VELOCITY, kinds.SECANT)
    transports = []
    for name in _named(reader, "transports"):
        if name in known:
            reader.problem(f"'{name}' has a meaning already; call it otherwise", "transports", name)
        value = language.expression("XYUV", None, "transports", name)
        if value:
            transports.append((name, value))
    return tuple(transports)


def _rates(reader: Reader, metric: str, entry: Mapping[str, Any]) -> tuple[int, ...]:
    """``rates = [1, 2]`` of a metric: eigenvalues of V -> gradient(V) on tangent vectors."""
    rates = entry.get("rates", [])
    if not isinstance(rates, list) or not all(
        isinstance(rate, int) and not isinstance(rate, bool) and 0 < rate < 100 for rate in rates
    ):
        message = "a list of whole numbers from 1 to 99 was expected, such as [1, 2]"
        reader.problem(message, "metrics", metric, "rates")
        return ()
    if len({*rates}) < len(rates) or len(rates) > MOST_RATES:
        message = f"at most {MOST_RATES} different numbers were expected"
        reader.problem(message, "metrics", metric, "rates")
    return tuple(rates)


def _named(reader: Reader, table: str) -> list[str]:
    """The names of a table's entries; what is no name is noted."""
    names = []
    for name in reader.table(table, required=True):
        if NAME.fullmatch(name) and SYMBOL.fullmatch(name):
            names.append(name)
        else:
            message = f"'{name}' is no name: {OF_NAMES}"
            reader.problem(message, table, name)
    return names


def _metrics(reader: Reader, language: _Language) -> tuple[kinds.Metric, ...]:
    """``[metrics]``: at least one."""
    metrics = []
    for name in _named(reader, "metrics"):
        entry = reader.table("metrics")[name]
        if not isinstance(entry, dict):
            example = '{ inner = "sum(U*V)", gradient = "project(G)" }'
            reader.problem(f"a table was expected, such as {example}", "metrics", name)
            continue
        reader.subkeys(("inner", "gradient", "geodesic", "rates"), "metrics", name)
        inner = language.expression("XUV", (), "metrics", name, "inner")
        gradient = language.expression("XG", None, "metrics", name, "gradient")
        geodesic = None
        if "geodesic" in entry:
            geodesic = language.expression("XV", None, "metrics", name, "geodesic")
        if inner and gradient:
            rates = _rates(reader, name, entry)
            metrics.append(kinds.Metric(name, inner, gradient, geodesic, rates))
    if not metrics and not reader.problems:
        reader.problem("at least one metric was expected", "metrics")
    return tuple(metrics)


def _conditions(reader: Reader, language: _Language) -> tuple[kinds.Condition, ...]:
    """``[where]``: comparisons, and ``positive``, a matrix."""
    conditions = []
    for name in reader.table("where"):
        reader.symbol(name, "where", name, taken=())
        definite = name == POSITIVE
        value = language.condition("X", "where", name, definite=definite)
        if value is not None:
            conditions.append(kinds.Condition(name, value, definite))
    return tuple(conditions)


def _quotient(reader: Reader, declared: Shape) -> str:
    """``[quotient] group``: of matrices, by rotations of the columns."""
    table: Mapping[str, Any] = reader.table("quotient")
    if not table:
        return ""
    group = table.get("group")
    for key in table:
        if key != "group":
            reader.problem("unknown key; expected group", "quotient", key)
    if len(declared) != 2:
        reader.problem(
            "a group acts on the columns of a matrix, and points are vectors", "quotient"
        )
    if group != f"O({declared[-1]})":
        reader.problem(f"{shortened(group)}; O({declared[-1]}) was expected", "quotient", "group")
    return str(group)
