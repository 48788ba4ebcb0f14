"""The derivation of a declaration, as text, Markdown or LaTeX."""

from __future__ import annotations

from pathlib import Path


def show(
    name: str | Path,
    style: str = "text",
    on: str | Path | None = None,
    method: str | Path | None = None,
) -> str:
    """The derivation of a declaration.

    Args:
        name: a name in the catalogue, or a path.
        style: ``text``, ``markdown`` or ``latex``.
        on: a system; then the modified equation of a Runge–Kutta method on it.
        method: for a problem, what integrates it; then its step, stage by stage.

    Raises:
        DeclarationError: the declaration is not found or has problems.
    """
    from hamilforge.gen import pipeline
    from hamilforge.gen.declare import catalogue, kinds
    from hamilforge.gen.document import derivation, formats

    if on is not None:
        tableau = catalogue.load(name, ("runge-kutta",))
        system = pipeline.load_problem(on)
        assert isinstance(tableau, kinds.RungeKutta)
        found = pipeline.modified(name, on)
        return formats.FORMATS[style](derivation.tell_modified(tableau, system, found))
    if method is not None:
        pair = pipeline.load_problem(name), pipeline.load_method(method)
        told = derivation.tell_pair(*pair, pipeline.check(pair[1]))
        return formats.FORMATS[style](told)
    declaration = catalogue.load(name)
    return formats.FORMATS[style](derivation.tell(declaration, pipeline.check(declaration)))
