"""TOML text with the line of every key.

In: the bytes of a declaration.  Out: its tables as :mod:`tomllib` reads them (floats as text, so
that numbers stay exact), and the line on which each key stands, which tomllib does not tell.
"""

from __future__ import annotations

import bisect
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hamilforge.gen.declare.errors import DeclarationError, Problem

MAX_BYTES = 1_000_000
BYTE_ORDER_MARK = "\ufeff"
#: How deep tables are whose keys have lines of their own; declarations have four.
MAX_PATH = 8
#: Of a dotted key.
MAX_PARTS = 50
_QUOTED = re.compile(r'"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'")
_NO_KEY = re.compile(r"[^A-Za-z0-9_. \t-]+")
_BARE = re.compile(r"[A-Za-z0-9_-]+")

#: Keys from the outermost table, and the numbers of entries of arrays, from 0.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A declaration as text and tables.

    Attributes:
        where: the file, as the user named it.
        data: its bytes.
        tables: what tomllib reads.
        lines: the line of each key path, and of an array's entries below the line of its key.
    """

    where: str
    data: bytes
    tables: dict[str, Any] = field(compare=False)
    lines: dict[KeyPath, int] = field(compare=False)

    def line(self, *path: str | int) -> int | None:
        """The line of a key or an entry, or of what is nearest around it that has one."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def read(path: Path) -> Source:
    """Read a declaration file.

    Raises:
        DeclarationError: the file cannot be read, is too large, or is not TOML.
    """
    return from_bytes(str(path), bytes_of(path))


def bytes_of(path: Path) -> bytes:
    """The bytes of a declaration file.

    Raises:
        DeclarationError: the file cannot be read, or is too large.
    """
    where = str(path)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DeclarationError.single(
                where, f"{size} bytes; a declaration has at most {MAX_BYTES}"
            )
        return path.read_bytes()
    except OSError as error:
        raise DeclarationError.single(where, f"cannot be read: {error.strerror}") from error


def from_bytes(where: str, data: bytes) -> Source:
    """Read a declaration from its bytes; ``where`` is the name used in errors."""
    try:
        text = data.decode("utf-8")
        _refuse_long_keys(where, text)
        tables = tomllib.loads(text, parse_float=str)
    except UnicodeDecodeError as error:
        raise DeclarationError.single(where, f"not UTF-8 text: {error}") from error
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"line ([0-9]+)", str(error))
        line = int(match[1]) if match else text.count("\n") + 1
        hint = " (a key is given twice)" if "overwrite" in str(error) else ""
        if text.startswith(BYTE_ORDER_MARK):
            hint = ": the file begins with a byte-order mark; save it as UTF-8 without one"
        raise DeclarationError((Problem(where, line, "", f"not TOML: {error}{hint}"),)) from error
    except (RecursionError, ValueError) as error:
        message = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DeclarationError.single(where, f"not TOML: {message}") from error
    return Source(where, data, tables, _Scanner(text).lines())


def _refuse_long_keys(where: str, text: str) -> None:
    """Refuse keys of thousands of parts, whose reading takes the square of their length."""
    bare = _QUOTED.sub("q", text)
    for run in _NO_KEY.split(bare):
        if run.count(".") > MAX_PARTS:
            raise DeclarationError.single(
                where, f"not read: a key of {run.count('.') + 1} parts; at most {MAX_PARTS} are"
            )


class _Scanner:
    """Finds where keys stand in text that tomllib has accepted."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._found: dict[KeyPath, int] = {}
        self._tables: dict[KeyPath, int] = {}
        self._ends = [match.start() for match in re.finditer("\n", self._text)]

    def lines(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self._skip("\n\t ")
            if self._at >= len(self._text):
                return self._found
            if self._text.startswith("[", self._at):
                several = self._text.startswith("[[", self._at)
                self._at += 2 if several else 1
                table = self._key()
                self._record(table)
                if several:  # a table of a list has a number
                    number = self._tables[table] = self._tables.get(table, -1) + 1
                    table = (*table, number)
                    self._record(table)
                self._at = self._end_of_line()
            else:
                self._pair(table)

    def _pair(self, table: KeyPath) -> None:
        path = table + self._key()
        self._record(path)
        self._at = self._text.index("=", self._at) + 1
        self._skip(" \t")
        self._value(path)

    def _line(self) -> int:
        return bisect.bisect_left(self._ends, self._at) + 1

    def _record_entry(self, path: KeyPath, number: int) -> None:
        """Entries in the line of their key need none of their own."""
        if len(path) < MAX_PATH and self._line() != self._found.get(path):
            self._found[*path, number] = self._line()

    def _record(self, path: KeyPath) -> None:
        line = self._line()
        for end in range(1, min(len(path), MAX_PATH) + 1):
            self._found.setdefault(path[:end], line)

    def _key(self) -> KeyPath:
        parts = []
        while True:
            self._skip(" \t")
            if self._text[self._at] in "\"'":
                start = self._at
                self._string()
                parts.append(tomllib.loads("k = " + self._text[start : self._at])["k"])
            else:
                match = _BARE.match(self._text, self._at)
                if match is None:
                    raise NotImplementedError(f"no key at {self._text[self._at :][:20]!r}")
                parts.append(match[0])
                self._at = match.end()
            self._skip(" \t")
            if not self._text.startswith(".", self._at):
                return tuple(parts)
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        character = self._text[self._at]
        if character in "\"'":
            self._string()
        elif character == "[":
            self._at += 1
            number = 0
            while not self._closed("]"):
                self._record_entry(path, number)
                self._value((*path, number))
                number += 1
        elif character == "{":
            self._at += 1
            while not self._closed("}"):
                self._pair(path)
        else:
            match = re.compile(r"[^,\]}\n#]*").match(self._text, self._at)
            self._at = match.end() if match else len(self._text)

    def _closed(self, bracket: str) -> bool:
        self._skip("\n\t ,")
        if self._text.startswith(bracket, self._at):
            self._at += 1
            return True
        return False

    def _string(self) -> None:
        quote = self._text[self._at]
        triple = self._text.startswith(quote * 3, self._at)
        close = quote * 3 if triple else quote
        self._at += len(close)
        while not self._text.startswith(close, self._at):
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(close)
        while triple and self._text.startswith(quote, self._at):
            self._at += 1

    def _skip(self, blanks: str) -> None:
        while self._at < len(self._text):
            if self._text[self._at] in blanks:
                self._at += 1
            elif self._text[self._at] == "#":
                self._at = self._end_of_line()
            else:
                return

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end
