"""The derivation of a declaration, as text, Markdown or LaTeX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from hamilforge.gen.declare.variation import Variation
    from hamilforge.gen.document.blocks import Document


def show(
    name: str | Path,
    style: str = "text",
    on: str | Path | None = None,
    method: str | Path | None = None,
    **choices: Unpack[Variation],
) -> str:
    """The derivation of a declaration.

    Args:
        name: a name in the catalogue, or a path.
        style: ``text``, ``markdown`` or ``latex``.
        on: a system; then the modified equation of a Runge–Kutta method on it.
        method: for a problem, what integrates it; then its step, stage by stage.  For a field, what
            its layers are made with; then the discrete adjoint.
        choices: what a field has instead of its declaration.

    Returns:
        The document as text in that style.

    Raises:
        DeclarationError: the declaration is not found or has problems.
    """
    from hamilforge.gen import families, pipeline, products
    from hamilforge.gen.declare import budget, catalogue, geometry, kinds
    from hamilforge.gen.declare.errors import DeclarationError
    from hamilforge.gen.declare.variation import is_any
    from hamilforge.gen.document import derivation, formats

    def told(tell: Callable[[], Document], *of: kinds.Declaration) -> str:
        return products.understood(lambda: formats.FORMATS[style](tell()), *of, factor=budget.CODE)

    if on is not None:
        tableau = catalogue.load(name, ("runge-kutta",))
        system = products.load_problem(on)
        assert isinstance(tableau, kinds.RungeKutta)
        equation = pipeline.modified(name, on)
        return told(lambda: derivation.tell_modified(tableau, system, equation), tableau, system)
    if method is not None:
        declared, how = made = products.load_made(name, method, **choices)
        report = pipeline.check(how)
        family = families.family_of(made)
        return told(lambda: family.tell(declared, how, report), declared, how)
    place, choices = geometry.split(choices)
    declaration = geometry.elsewhere(catalogue.load(name), place)
    if is_any(choices):
        raise DeclarationError.single(
            declaration.head.source.where,
            "an activation, sizes and controls by stage are shown of a field with a method, an "
            "order of a problem with Taylor's",
        )
    card = pipeline.check(declaration)
    return told(lambda: derivation.tell(declaration, card), declaration)
