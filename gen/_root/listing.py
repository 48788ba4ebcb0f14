"""The command ``list``: the catalogue, filtered by what was proved.

The filter is a small language of its own: names of properties, numbers, words, comparisons,
``and``, ``or``, ``not`` and parentheses. It is parsed here and never executed.
"""

from __future__ import annotations

import io
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from hamilforge import terminal
from hamilforge.gen import families
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import DeclarationError, did_you_mean
from hamilforge.kept_properties import prepare, properties

_TOKEN = re.compile(
    r"\s*(?:(<=|>=|==|!=|<|>|\(|\))|([A-Za-z_][A-Za-z0-9_]*)|(-?[0-9]+(?:\.[0-9]+)?)|'([^']*)'|\"([^\"]*)\")"
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
Test = Callable[[Mapping[str, Any]], bool]


def table(kind: str | None, where: str | None, processes: int = 1) -> str:
    """The catalogue as a table.

    Args:
        kind: which part of it; all if None.
        where: a condition on proved properties; None for none.
        processes: how many prove what was not proved before.

    Returns:
        The text.

    Raises:
        DeclarationError: an unknown kind, or a filter that cannot be read.
    """
    if kind is not None and kind not in families.names():
        raise DeclarationError.single(
            "",
            f"unknown kind '{kind}'; expected one of {', '.join(families.names())}"
            + did_you_mean(kind, families.names()),
        )
    test = parse_filter(where) if where else None
    grid = Table(box=None, pad_edge=False)
    columns = families.named(kind or "optimizer").columns if test is not None else ()
    for column in ("kind", "name", *columns, "title"):
        grid.add_column(column.replace("_", " "), overflow="fold")
    known: set[str] = set()
    paths = {chosen: catalogue.paths(chosen) for chosen in ([kind] if kind else families.names())}
    if test is not None:
        prepare([path for own in paths.values() for path in own], processes)
    for chosen, own in paths.items():
        for path in own:
            declaration = catalogue.load(path)
            values: Mapping[str, Any] = {}
            if test is not None:
                values = properties(declaration)
                known |= values.keys()
                if not test.holds(values):
                    continue
            cells = [_cell(values.get(column)) for column in columns]
            texts = (chosen, declaration.head.name, *cells, declaration.head.title)
            grid.add_row(*map(terminal.cell, texts))
    for name in test.names if test is not None else ():
        if name not in known:
            raise _refuse(
                f"no property is named '{name}'"
                + (did_you_mean(name, known) or f"; there are {', '.join(sorted(known))}")
            )
    console = terminal.console(file=io.StringIO(), width=120)
    console.print(grid)
    stream = console.file
    assert isinstance(stream, io.StringIO)
    return stream.getvalue().rstrip()


def markdown(kind: str, processes: int = 1) -> str:
    """The catalogue's proved properties as a Markdown table, for one kind."""
    prepare(catalogue.paths(kind), processes)
    columns = families.named(kind).properties
    lines = ["| name | " + " | ".join(name.replace("_", " ") for name in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for path in catalogue.paths(kind):
        values = properties(catalogue.load(path))
        cells = [_cell(values.get(name)) or "none" for name in columns]
        lines.append(f"| {path.stem} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on properties, and the names of properties in it."""

    holds: Test
    names: tuple[str, ...]


def parse_filter(text: str) -> Filter:
    """A filter as a function of properties.

    Raises:
        DeclarationError: it cannot be read.
    """
    parser = _Filter(text)
    return Filter(parser.whole(), tuple(parser.names))


def _refuse(message: str) -> DeclarationError:
    return DeclarationError.single(
        "", f"--where: {message}; expected a condition such as 'order >= 2 and passes == 1'"
    )


class _Filter:
    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, Any]] = []
        self.names: dict[str, None] = {}
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if match is None:
                raise _refuse(f"{text[at:].strip()[:10]!r} cannot be read")
            sign, name, number, *quoted = match.groups()
            if sign:
                self._tokens.append(("sign", sign))
            elif name:
                self._tokens.append(("name", name))
            elif number:
                self._tokens.append(("value", float(number)))
            else:
                self._tokens.append(("value", next(q for q in quoted if q is not None)))
            at = match.end()
        self._at = 0

    def _peek(self) -> tuple[str, Any]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "the end")

    def _take(self) -> tuple[str, Any]:
        token = self._peek()
        self._at += 1
        return token

    def whole(self) -> Test:
        """All of the filter."""
        test = self._either(0)
        if self._peek()[0] != "end":
            raise _refuse(f"{self._peek()[1]!r} is not expected here")
        return test

    def _either(self, depth: int) -> Test:
        tests = [self._both(depth)]
        while self._peek() == ("name", "or"):
            self._take()
            tests.append(self._both(depth))
        return lambda values: any(test(values) for test in tests)

    def _both(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._peek() == ("name", "and"):
            self._take()
            tests.append(self._one(depth))
        return lambda values: all(test(values) for test in tests)

    def _one(self, depth: int) -> Test:
        if depth > 50:
            raise _refuse("nested too deeply")
        token = self._take()
        if token == ("name", "not"):
            inner = self._one(depth + 1)
            return lambda values: not inner(values)
        if token == ("sign", "("):
            inner = self._either(depth + 1)
            if self._take() != ("sign", ")"):
                raise _refuse("a parenthesis is not closed")
            return inner
        if token[0] != "name":
            raise _refuse(f"{token[1]!r} is not the name of a property")
        return self._comparison(token[1])

    def _comparison(self, name: str) -> Test:
        self.names[name] = None
        kind, sign = self._peek()
        if kind != "sign" or sign not in _COMPARE:
            return lambda values: bool(values.get(name))
        self._take()
        kind, wanted = self._take()
        if kind == "name" and wanted in ("true", "false"):
            wanted = wanted == "true"
        elif kind == "end" or kind == "sign":
            raise _refuse(f"a value is missing behind '{name} {sign}'")

        def test(values: Mapping[str, Any]) -> bool:
            value = values.get(name)
            if value == "inf" and isinstance(wanted, float):
                value = math.inf
            if value is None:
                return False
            try:
                return bool(_COMPARE[sign](value, wanted))
            except TypeError:
                raise _refuse(f"{name} = {value!r} cannot be compared with {wanted!r}") from None

        return test
