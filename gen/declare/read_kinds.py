"""A declaration from its source: its head, and what the reader of its kind makes of the rest.

In: a :class:`Source` and a way to find other declarations.  Out: a frozen declaration, or one
:class:`DeclarationError` that lists everything wrong.
"""

from __future__ import annotations

from hamilforge.gen import families
from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import did_you_mean
from hamilforge.gen.declare.read_parts import Find
from hamilforge.gen.declare.reader import NAME, OF_NAMES, Reader
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
        reader.problem(f"'{name}' is no name: {OF_NAMES}", "name")
    claims = reader.table("claims")
    for key, value in claims.items():
        texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
        if not texts and not isinstance(value, str | int | bool | dict):
            message = "a claim is a number, a text, a list of texts, a table or true/false"
            reader.problem(message, "claims", key)
    return kinds.Head(
        name, reader.text("title"), reader.text("reference"), dict(claims), reader.source
    )
