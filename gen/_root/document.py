"""The derivation of a declaration, as text, Markdown or LaTeX."""

from __future__ import annotations

from pathlib import Path


def show(name: str | Path, style: str = "text", on: str | Path | None = None) -> str:
    """The derivation of a declaration.

    Args:
        name: a name in the catalogue, or a path.
        style: ``text``, ``markdown`` or ``latex``.
        on: a system; then the modified equation of a Runge–Kutta method on it.

    Raises:
        DeclarationError: the declaration is not found or has problems.
    """
    from hamilforge.gen import pipeline
    from hamilforge.gen.declare import catalogue, kinds
    from hamilforge.gen.document import derivation, formats

    if on is not None:
        method = catalogue.load(name, ("runge-kutta",))
        system = catalogue.load(on, ("system",))
        assert isinstance(method, kinds.RungeKutta)
        assert isinstance(system, kinds.System)
        found = pipeline.modified(name, on)
        return formats.FORMATS[style](derivation.tell_modified(method, system, found))
    declaration = catalogue.load(name)
    return formats.FORMATS[style](derivation.tell(declaration, pipeline.check(declaration)))
