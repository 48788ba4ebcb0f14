"""The stages joined: from a name or a path to a report, or to generated files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar, Unpack

from hamilforge.gen.declare import budget, catalogue, kinds
from hamilforge.gen.declare.blame import blamed
from hamilforge.gen.declare.errors import (
    ClaimError,
    DeclarationError,
    Problem,
)
from hamilforge.gen.declare.variation import Variation, is_any, vary, with_sites
from hamilforge.gen.derive.field import derive_field
from hamilforge.gen.emit import files
from hamilforge.gen.emit.integrator_product import IntegratorProduct
from hamilforge.gen.emit.network_product import NetworkProduct, TargetProduct
from hamilforge.gen.emit.product import Product, declaration_digest
from hamilforge.gen.program.build import Derivation, derive
from hamilforge.gen.program.build_integrator import build_integrator
from hamilforge.gen.program.build_network import build_network, build_target
from hamilforge.gen.program.unroll import Unrolled
from hamilforge.gen.prove import discrete_gradient, optimizer, parts, problem, tableau
from hamilforge.gen.prove import field as field_report
from hamilforge.gen.prove.report import Report
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.modified import Modified, modified_equation
from hamilforge.gen.tableau.pair import build_pair, is_explicit_pair

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
        raise DeclarationError.single(str(name_or_path), "an optimizer was expected")
    return declaration


def load_problem(name_or_path: str | Path) -> kinds.Problem:
    """Find and read a Hamiltonian in named coordinates, or a system.

    Raises:
        DeclarationError: it is not found, or has no equations of its own.
    """
    declaration = catalogue.load(name_or_path, kinds.PROBLEMS)
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
    declaration = catalogue.load(name_or_path, kinds.INTEGRATIONS)
    assert isinstance(declaration, kinds.Integration)
    return declaration


def key(*declarations: kinds.Declaration) -> str:
    """A digest of all that a product's files depend on."""
    parts = [*map(declaration_digest, declarations), files.emitter_digest()]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:20]


def check(declaration: kinds.Declaration) -> Report:
    """Everything that can be proved about a declaration, compared with its claims.

    Raises:
        DeclarationError: it cannot be derived or proved.
    """
    return understood(lambda: _proved(declaration), declaration)


def _proved(declaration: kinds.Declaration) -> Report:
    match declaration:
        case kinds.Optimizer():
            return optimizer.prove(derive(declaration))
        case kinds.Hamiltonian():
            return parts.prove_hamiltonian(declaration)
        case kinds.Splitting():
            return parts.prove_splitting(declaration)
        case kinds.Update():
            return parts.prove_update(declaration)
        case kinds.RungeKutta():
            return tableau.prove_runge_kutta(declaration)
        case kinds.Partitioned():
            return tableau.prove_partitioned(declaration)
        case kinds.DiscreteGradient():
            return discrete_gradient.prove(declaration)
        case kinds.System() | kinds.Mechanics():
            return problem.prove(declaration)
        case kinds.Field():
            return field_report.prove(declaration)
        case kinds.Objective():
            return field_report.prove_objective(declaration)


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
    named = " with ".join(f"'{entry.head.name}'" for entry in declarations)
    where = ", ".join(dict.fromkeys(entry.head.source.where for entry in declarations))
    size = sum(len(entry.head.source.data) for entry in declarations)
    seconds = budget.whole(size) * factor
    return blamed(work, named, where, "derived and proved", seconds)


def refuse_false_claims(report: Report, head: kinds.Head) -> None:
    """Raise a :class:`ClaimError` that names each false claim and what is true."""
    problems = [
        Problem(
            head.source.where,
            head.source.line("claims", claim.name),
            f"[claims].{claim.name}",
            f"{claim.declared!r} is claimed, but "
            + (
                f"not shown: {claim.because}"
                if claim.found is None
                else f"{claim.found!r} is true by {claim.because}"
            ),
        )
        for claim in report.claims
        if not claim.holds
    ]
    if problems:
        raise ClaimError(problems)


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
    declaration = catalogue.load(name_or_path, kinds.LAYER_METHODS)
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
            same for all sizes.

    Raises:
        DeclarationError: a declaration is not found, is of another kind, or has problems.
    """
    if method is None:
        declaration = catalogue.load(name, ("optimizer", "objective", *kinds.PROBLEMS, "field"))
        _refuse_choices(declaration, choices)
        if not isinstance(declaration, kinds.Optimizer | kinds.Objective):
            what = "a field" if isinstance(declaration, kinds.Field) else "no optimizer"
            raise DeclarationError.single(
                declaration.head.source.where,
                f"'{declaration.head.name}' is {what}: code is made of it with a method, as in "
                "--method rk4",
            )
        return (declaration,)
    declaration = catalogue.load(name, (*kinds.PROBLEMS, "field"))
    if isinstance(declaration, kinds.Field):
        layers = load_layer_method(method)
        if not _explicit(layers):
            choices["sizes"] = None
        return vary(declaration, choices), layers
    problem_ = load_problem(name)
    if isinstance(problem_, kinds.Mechanics):
        _refuse_choices(problem_, {**choices, "sizes": None})
        return with_sites(problem_, choices.get("sizes")), load_method(method)
    _refuse_choices(problem_, choices)
    return problem_, load_method(method)


def _refuse_choices(declaration: kinds.Declaration, choices: Variation) -> None:
    if is_any(choices) and not isinstance(declaration, kinds.Field):
        raise DeclarationError.single(
            declaration.head.source.where,
            "an activation, sizes and controls by stage belong to the field of a network, and "
            "sizes to a lattice with a method",
        )


def _explicit(method: kinds.LayerMethod) -> bool:
    if isinstance(method, kinds.RungeKutta):
        return understood(lambda: build(method).is_explicit, method)
    return understood(lambda: is_explicit_pair(*build_pair(method)), method)


def product_name(made: Made) -> str:
    """The name of the product of some declarations."""
    if isinstance(made[0], kinds.Objective):
        return f"{made[0].head.name}__objective"
    return "__".join(one.head.name for one in made)


def generate(made: Made) -> dict[str, str]:
    """The generated files of a product, formatted.

    Raises:
        DeclarationError: the method does not fit.
        ClaimError: a declaration claims what is not so.
    """
    return files.formatted(rendered(made))


def rendered(made: Made) -> dict[str, str]:
    """The generated files of a product, not yet formatted."""
    match made:
        case (kinds.Optimizer() as declaration,):
            return _rendered_optimizer(declaration)
        case (kinds.Objective() as objective,):
            refuse_false_claims(check(objective), objective.head)
            return understood(
                lambda: files.render(TargetProduct(build_target(objective), objective)), objective
            )
        case (kinds.Field() as field, kinds.RungeKutta() | kinds.Partitioned() as layers):
            report = _believed(field, layers)

            def layered() -> dict[str, str]:
                unrolled = Unrolled(build_network(field, layers))
                return files.render(NetworkProduct(unrolled, field, layers, report))

            return understood(layered, field, layers, factor=budget.CODE)
        case (kinds.Mechanics() | kinds.System() as problem_, method):
            assert isinstance(method, kinds.Integration)
            report = _believed(problem_, method)

            def integrated() -> dict[str, str]:
                derived = derive_field(problem_)
                built = build_integrator(derived, method)
                return files.render(
                    IntegratorProduct(built, problem_, method, report, derived.separable)
                )

            return understood(integrated, problem_, method, factor=budget.CODE)
    raise NotImplementedError(f"no product of {made}")


def _believed(declaration: kinds.Declaration, method: kinds.Declaration) -> Report:
    """The report of a method, once the claims of both have been checked."""
    if isinstance(declaration, kinds.Problem):  # what is not claimed is not waited for
        claimed = understood(lambda: problem.prove(declaration, claimed_only=True), declaration)
    else:
        claimed = check(declaration)
    refuse_false_claims(claimed, declaration.head)
    report = check(method)
    refuse_false_claims(report, method.head)
    return report


def _rendered_optimizer(declaration: kinds.Optimizer) -> dict[str, str]:
    for part in (declaration.system, declaration.method):
        refuse_false_claims(check(part), part.head)

    def derived() -> tuple[Derivation, Report]:
        derivation = derive(declaration)
        return derivation, optimizer.prove(derivation)

    derivation, report = understood(derived, declaration)
    refuse_false_claims(report, declaration.head)
    return understood(
        lambda: files.render(Product(derivation, report)), declaration, factor=budget.CODE
    )


def shipped() -> Iterator[Made]:
    """What the products of the catalogue are made of, in the order of its kinds."""
    for kind in ("optimizer", "objective"):
        for path in catalogue.paths(kind):
            yield load_made(path)
    for kind in (*kinds.PROBLEMS, "field"):
        for path in catalogue.paths(kind):
            for method in getattr(catalogue.load(path), "methods", ()):
                yield load_made(path, method)


def generate_catalogue() -> dict[str, str]:
    """The generated files of every product in the catalogue, and their index."""
    texts: dict[str, str] = {}
    for made in shipped():
        texts |= rendered(made)
    texts = files.formatted(texts)
    return {**texts, files.INDEX: files.index(texts)}


def modified(method: str | Path, system: str | Path, terms: int = 2) -> Modified:
    """The modified equation of a Runge–Kutta method on a declared system.

    Raises:
        DeclarationError: a declaration has problems; the system depends on time or has more than
            two components; or the terms are of too high an order.
    """
    declared = catalogue.load(method, ("runge-kutta",))
    on = load_problem(system)
    assert isinstance(declared, kinds.RungeKutta)
    field = understood(lambda: derive_field(on), on)
    if not field.autonomous or len(field.components) > 2:
        raise DeclarationError.single(
            on.head.source.where,
            "modified equations are written for autonomous fields of one or two components",
        )
    return understood(
        lambda: modified_equation(build(declared), field.components, field.damped, terms),
        declared,
        on,
    )
