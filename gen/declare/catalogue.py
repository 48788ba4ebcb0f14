"""Where declarations are found: the catalogue that ships, and files anywhere.

In: a name (``rgd``, ``splitting/leapfrog``) or a path.  Out: the declaration, read and checked.
A bare name means the optimizer first, then the other kinds in the order of their records.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from hamilforge.gen import families
from hamilforge.gen.declare import kinds, read_kinds, toml_source
from hamilforge.gen.declare.blame import blamed
from hamilforge.gen.declare.errors import DeclarationError, did_you_mean

MAX_REFERENCES = 10
#: To which one refers, and those to which they do, each as often as it is meant.
MAX_DECLARATIONS = 2000
#: So many files are remembered as they were read.
REMEMBERED = 512


@functools.cache
def root() -> Path:
    """The folder of the catalogue."""
    return Path(str(files("hamilforge.tableaux")))


def paths(kind: str | None = None) -> tuple[Path, ...]:
    """The files of the catalogue, of one kind or of all, sorted."""
    chosen = [kind] if kind else families.names()
    folders = [root() / families.named(name).folder for name in chosen]
    return tuple(folder / file for folder in folders for file in sorted(_files(folder)))


def _files(folder: Path) -> list[str]:
    """The names of the declarations in a folder, none where there is no folder."""
    try:
        return [file for file in os.listdir(folder) if file.endswith(".toml")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def names(kind: str | None = None) -> tuple[str, ...]:
    """The names in the catalogue; a file is named after its declaration."""
    return tuple(path.stem for path in paths(kind))


def load(
    name_or_path: str | Path,
    wanted: tuple[str, ...] = (),
    tables: Mapping[str, Any] | None = None,
) -> kinds.Declaration:
    """Find and read a declaration.

    Args:
        name_or_path: a name of the catalogue, ``kind/name``, or a path to a TOML file.
        wanted: the kinds that will do; all if empty.
        tables: what is read instead of what the file says; the file's if None.

    Returns:
        The declaration.

    Raises:
        DeclarationError: it is not found, is of another kind, or has problems.
    """
    path = locate(str(name_or_path), wanted, None)
    reading = _Catalogue()
    return blamed(
        lambda: reading.load(path, wanted, 0) if tables is None else reading.instead(path, tables),
        f"'{path.stem}'",
        str(path),
        "read",
    )


def locate(name: str, wanted: tuple[str, ...], beside: Path | None) -> Path:
    """The file a reference means; relative paths are relative to ``beside``.

    Args:
        name: a name of the catalogue, ``kind/name``, or a path that ends in ``.toml``.
        wanted: the kinds that will do, in the order in which they are looked through; all if empty.
        beside: the folder that a relative path starts from; the working directory if None.

    Returns:
        The path of the file.

    Raises:
        DeclarationError: there is no such file, kind or name.
    """
    if name.endswith(".toml"):
        path = Path(name) if beside is None else beside / name
        try:
            there = path.is_file()
        except OSError as error:  # a name that is too long
            raise DeclarationError.single("", f"'{path}': {error.strerror}") from error
        if not there:
            raise DeclarationError.single("", f"no file '{path}'")
        return path
    kind, _, bare = name.rpartition("/")
    candidates = wanted or families.names()
    if kind:
        if kind not in families.names():
            raise DeclarationError.single(
                "", f"unknown kind '{kind}'" + did_you_mean(kind, families.names())
            )
        candidates = (kind,)
    for candidate in candidates:
        folder, file = root() / families.named(candidate).folder, f"{bare}.toml"
        if os.path.exists(folder / file) and file in _files(folder):  # as it is written
            return folder / file
    expected = " or ".join(candidates) if wanted or kind else "declaration"
    declared = [other for other in families.names() if bare in names(other)]
    known = [stem for candidate in candidates for stem in names(candidate)]
    raise DeclarationError.single(
        "",
        f"no {expected} is named '{bare}'; a path to a declaration ends in .toml"
        + (
            f"; '{bare}' is declared as {' and as '.join(declared)}"
            if declared
            else did_you_mean(bare, known)
        ),
    )


#: As it is named, the kinds that would do, and what was found.
_Reference = tuple[str, tuple[str, ...], kinds.Declaration]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a file said, with what it depends on.

    Attributes:
        data: the bytes of the file.
        references: what it refers to.
        size: how many declarations these are, all told.
        declaration: what it says.
    """

    data: bytes
    references: tuple[_Reference, ...]
    size: int
    declaration: kinds.Declaration


#: A file that is as it was, and refers to what it did, is not read again.
_REMEMBERED: dict[Path, _Reading] = {}


class _Catalogue:
    """One reading: each file that is referred to is read once, however often it is."""

    def __init__(self) -> None:
        self._read: dict[Path, _Reading] = {}

    def load(self, path: Path, wanted: tuple[str, ...], depth: int) -> kinds.Declaration:
        """Read a file and what it refers to."""
        if depth > MAX_REFERENCES:
            raise DeclarationError.single(
                str(path), f"references nested more than {MAX_REFERENCES} deep, or in a circle"
            )

        if path not in self._read:
            self._read[path] = self._unchanged(path, depth) or self._reading(path, depth)
        declaration = self._read[path].declaration
        kind = families.kind_of(declaration).name
        if wanted and kind not in wanted:
            raise DeclarationError.single(
                str(path), f"is of kind {kind}; {' or '.join(wanted)} was expected"
            )
        return declaration

    def instead(self, path: Path, tables: Mapping[str, Any]) -> kinds.Declaration:
        """What a file would declare with other tables; that is not remembered."""
        source = toml_source.from_bytes(str(path), toml_source.bytes_of(path))
        changed = dataclasses.replace(source, tables=dict(tables))
        return read_kinds.read(
            changed, lambda name, wanted: self._referred(name, wanted, path, 0)[0]
        )

    def _reading(self, path: Path, depth: int) -> _Reading:
        """Read a file that has not been read, and remember it."""
        references: list[_Reference] = []
        asked, size = 0, 1

        def find(name: str, wanted: tuple[str, ...]) -> kinds.Declaration:
            nonlocal asked, size
            asked += 1
            declaration, its_size = self._referred(name, wanted, path, depth)
            size += its_size
            if size > MAX_DECLARATIONS:
                raise DeclarationError.single(
                    "", f"more than {MAX_DECLARATIONS} declarations are referred to, all told"
                )
            references.append((name, wanted, declaration))
            return declaration

        data = toml_source.bytes_of(path)
        declaration = read_kinds.read(toml_source.from_bytes(str(path), data), find)
        reading = _Reading(data, tuple(references), size, declaration)
        if asked == len(references):  # whatever was asked for was there
            if len(_REMEMBERED) >= REMEMBERED:
                _REMEMBERED.clear()
            _REMEMBERED[path] = reading
        return reading

    def _unchanged(self, path: Path, depth: int) -> _Reading | None:
        """What is remembered of a file, if it and all that it refers to are as they were."""
        reading = _REMEMBERED.get(path)
        if reading is None or reading.data != toml_source.bytes_of(path):
            return None
        try:
            for name, wanted, declaration in reading.references:
                if self._referred(name, wanted, path, depth)[0] is not declaration:
                    return None
        except DeclarationError:
            return None
        return reading

    def _referred(
        self, name: str, wanted: tuple[str, ...], path: Path, depth: int
    ) -> tuple[kinds.Declaration, int]:
        """What a file refers to by a name, and how many declarations that is, all told."""
        place = locate(name, wanted, path.parent)
        declaration = self.load(place, wanted, depth + 1)
        return declaration, self._read[place].size
