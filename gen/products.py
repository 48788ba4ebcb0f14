"""What products are made of: declarations, found and read, and the key of what is made of them.

In: names and paths.  Out: declarations, and a digest of all that a product's files depend on.
Nothing here derives anything: what is in the cache is found without SymPy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, Unpack

from hamilforge.gen import digests, families
from hamilforge.gen.declare import budget, catalogue, geometry, kinds
from hamilforge.gen.declare.blame import blamed
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.expression import Expression, Number
from hamilforge.gen.declare.read_taylor import order_of_smallest, with_order
from hamilforge.gen.declare.variation import Variation, is_any, vary, with_sites

#: The declarations that a product is made of.
Made = tuple[kinds.Declaration, ...]
Value = TypeVar("Value")


def load_optimizer(name_or_path: str | Path) -> kinds.Optimizer:
    """Find and read the declaration of an optimizer.

    Raises:
        DeclarationError: it is not found, is no optimizer, or has problems.
    """
    declaration = catalogue.load(name_or_path, ("optimizer",))
    if not isinstance(declaration, kinds.Optimizer):
        what = "is a rule without a system: it has no energy"
        if isinstance(declaration, kinds.ManifoldOptimizer):
            what = "is on a manifold; an energy in coordinates is wanted here"
        raise DeclarationError.single(
            declaration.head.source.where, f"'{declaration.head.name}' {what}"
        )
    return declaration


def load_problem(name_or_path: str | Path) -> kinds.Problem:
    """Find and read a Hamiltonian in named coordinates, or a system.

    Raises:
        DeclarationError: it is not found, or has no equations of its own.
    """
    declaration = catalogue.load(name_or_path, families.serving(families.PROBLEM))
    if not isinstance(declaration, kinds.Problem):
        raise DeclarationError.single(
            declaration.head.source.where,
            f"'{declaration.head.name}' leaves J to the user: it is for optimizers; an integrator "
            "needs coordinates and an energy, or a system",
        )
    return declaration


def load_method(name_or_path: str | Path) -> kinds.Integration:
    """Find and read a method for integrators.

    Raises:
        DeclarationError: it is not found, or is of another kind.
    """
    declaration = catalogue.load(name_or_path, families.serving(families.INTEGRATION))
    if not isinstance(declaration, kinds.Integration):
        raise DeclarationError.single(
            declaration.head.source.where,
            f"'{declaration.head.name}' splits a system by its unknowns, for optimizers; an "
            "integrator needs a table, a splitting into kicks and drifts, a discrete gradient or "
            "a series",
        )
    return declaration


def load_field(name_or_path: str | Path, **choices: Unpack[Variation]) -> kinds.Field:
    """Find and read a network's field, perhaps as a caller wants it.

    Raises:
        DeclarationError: it is not found, is of another kind, or does not admit a choice.
        ValueError: a size is of no dimension, or no positive number.
    """
    declaration = catalogue.load(name_or_path, ("field",))
    assert isinstance(declaration, kinds.Field)
    return vary(declaration, choices)


def load_layer_method(name_or_path: str | Path) -> kinds.LayerMethod:
    """Find and read a method for layers: a Runge–Kutta method or a pair.

    Raises:
        DeclarationError: it is not found, or is of another kind.
    """
    declaration = catalogue.load(name_or_path, families.serving(families.LAYERS))
    assert isinstance(declaration, kinds.LayerMethod)
    return declaration


def load_made(
    name: str | Path, method: str | Path | None = None, **choices: Unpack[Variation]
) -> Made:
    """What a product is made of: an optimizer or an objective; a problem or a field and a method.

    Args:
        name: of a declaration, or a path.
        method: what integrates a problem, or what the layers of a field are made with.
        choices: what a field has instead of its declaration; with an implicit method code is the
            same for all sizes.  ``order``, of a method that has all of them; ``manifold``,
            ``metric`` and ``retraction``, of an optimizer of points.

    Raises:
        DeclarationError: a declaration is not found, is of another kind, or has problems.
    """
    place, choices = geometry.split(choices)
    if method is None:
        alone, with_methods = families.made_alone(), families.made_with_methods()
        wanted = (*families.kinds_of(*alone), *families.kinds_of(*with_methods))
        declaration = geometry.elsewhere(catalogue.load(name, wanted), place)
        _refuse_choices(declaration, choices)
        if not any(family.takes((declaration,)) for family in alone):
            what = "a field" if isinstance(declaration, kinds.Field) else "no optimizer"
            raise DeclarationError.single(
                declaration.head.source.where,
                f"'{declaration.head.name}' is {what}: code is made of it with a method, such as "
                "rk4",
            )
        return (declaration,)
    declaration = catalogue.load(name, families.kinds_of(*families.made_with_methods()))
    geometry.elsewhere(declaration, place)  # refuses any: none of these is of points
    order = choices.pop("order", None)
    if isinstance(declaration, kinds.Field):
        layers = load_layer_method(method)
        _refuse_order(layers, order)
        if not _explicit(layers):
            choices["sizes"] = None
        return vary(declaration, choices), layers
    problem_ = load_problem(name)
    if isinstance(problem_, kinds.Mechanics):
        _refuse_choices(problem_, {**choices, "sizes": None})
        return with_sites(problem_, choices.get("sizes")), _ordered(method, order)
    _refuse_choices(problem_, choices)
    return problem_, _ordered(method, order)


def _ordered(method: str | Path, order: int | None) -> kinds.Integration:
    """A method of an order, where it has a choice."""
    declared = load_method(method)
    if isinstance(declared, kinds.Taylor):
        return with_order(declared, order)
    _refuse_order(declared, order)
    return declared


def _refuse_order(method: kinds.Declaration, order: int | None) -> None:
    if order is not None:
        raise DeclarationError.single(
            method.head.source.where,
            f"'{method.head.name}' has an order of its own; only Taylor's method is made for any",
        )


def order_for(method: str | Path, tolerance: object) -> int | None:
    """The order of a method's steps for a tolerance.

    Args:
        method: by name or path.
        tolerance: relative; a number or several, of which the smallest counts.

    Returns:
        The order; None where the method's does not follow from it.
    """
    declared = load_method(method)
    if not isinstance(declared, kinds.Taylor) or declared.order is not None:
        return None
    return order_of_smallest(tolerance)


def _refuse_choices(declaration: kinds.Declaration, choices: Variation) -> None:
    if is_any(choices) and not isinstance(declaration, kinds.Field):
        raise DeclarationError.single(
            declaration.head.source.where,
            "an activation, sizes and controls by stage belong to the field of a network, sizes to "
            "a lattice with a method, an order to Taylor's method, and manifold, metric and "
            "retraction to an optimizer alone",
        )


def _explicit(method: kinds.LayerMethod) -> bool:
    """Whether stages come one after the other; coefficients are computed where it is not plain."""
    if isinstance(method, kinds.RungeKutta) and _is_plainly_explicit(method.table):
        return True
    from hamilforge.gen.tableau.build import build
    from hamilforge.gen.tableau.pair import build_pair, is_explicit_pair

    if isinstance(method, kinds.RungeKutta):
        return understood(lambda: build(method).is_explicit, method)
    return understood(lambda: is_explicit_pair(*build_pair(method)), method)


def _is_plainly_explicit(table: kinds.Table) -> bool:
    match table:
        case kinds.Formula():
            return True
        case kinds.Composed(block=block):
            return _is_plainly_explicit(block.table)
        case kinds.Rows(a=rows):
            return all(_is_zero(entry) for i, row in enumerate(rows) for entry in row[i:])
    return False


def _is_zero(entry: Expression) -> bool:
    return isinstance(entry.tree, Number) and entry.tree.value == 0


def product_name(made: Made) -> str:
    """The name of the product of some declarations."""
    names = "__".join(declaration.head.name for declaration in made)
    return names + families.family_of(made).suffix


def key(*declarations: kinds.Declaration) -> str:
    """A digest of all that a product's files depend on."""
    parts = [*map(digests.declaration_digest, declarations), digests.emitter_digest()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:20]


def sources(made: Made) -> dict[str, bytes]:
    """The files of declarations and of all that they refer to, by path."""
    files = (source for declaration in made for source in kinds.sources(declaration))
    return {source.where: source.data for source in files}


def understood(
    work: Callable[[], Value], *declarations: kinds.Declaration, factor: float = 1.0
) -> Value:
    """The value of a derivation or a proof, within its budget.

    Args:
        work: what is done.
        declarations: what it is done with; an error names them all.
        factor: of the budget.

    Raises:
        DeclarationError: this derivation or proof is not known, or takes too long.
        InternalError: anything else went wrong.
    """
    named = " with ".join(map(kinds.named, declarations))
    where = ", ".join(dict.fromkeys(declaration.head.source.where for declaration in declarations))
    size = sum(len(declaration.head.source.data) for declaration in declarations)
    seconds = budget.whole(size) * factor
    return blamed(work, named, where, "derived and proved", seconds)
