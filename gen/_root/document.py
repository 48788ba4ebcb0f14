"""The derivation of a declaration, as text, Markdown or LaTeX."""

from __future__ import annotations

from pathlib import Path


def show(name: str | Path, style: str = "text") -> str:
    """The derivation of a declaration.

    Args:
        name: a name in the catalogue, or a path.
        style: ``text``, ``markdown`` or ``latex``.

    Raises:
        DeclarationError: the declaration is not found or has problems.
    """
    from hamilforge.gen import pipeline
    from hamilforge.gen.declare import catalogue
    from hamilforge.gen.document import derivation, formats

    declaration = catalogue.load(name)
    return formats.FORMATS[style](derivation.tell(declaration, pipeline.check(declaration)))
