"""The stages joined: from a name or a path to a report, or to generated files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from hamilforge.gen.declare import catalogue, kinds, read_networks
from hamilforge.gen.declare.errors import ClaimError, DeclarationError, Problem
from hamilforge.gen.derive.field import derive_field
from hamilforge.gen.emit import files
from hamilforge.gen.emit.integrator_product import IntegratorProduct
from hamilforge.gen.emit.network_product import NetworkProduct
from hamilforge.gen.emit.product import Product, declaration_digest
from hamilforge.gen.program.build import derive
from hamilforge.gen.program.build_integrator import build_integrator
from hamilforge.gen.program.build_network import build_network
from hamilforge.gen.program.unroll import Unrolled
from hamilforge.gen.prove import discrete_gradient, optimizer, parts, problem, tableau
from hamilforge.gen.prove import field as field_report
from hamilforge.gen.prove.report import Report
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.modified import Modified, modified_equation


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
    with understood(declaration):
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


@contextlib.contextmanager
def understood(declaration: kinds.Declaration) -> Iterator[None]:
    """What lies beyond the derivations and proofs is an error of the declaration, said as such."""
    try:
        yield
    except DeclarationError:
        raise
    except (ArithmeticError, NotImplementedError, RecursionError, TypeError, ValueError) as error:
        head = declaration.head
        reason = f"{type(error).__name__}: {error}"
        raise DeclarationError.single(
            head.source.where, f"'{head.name}' cannot be derived and proved ({reason})"
        ) from error


def refuse_false_claims(report: Report, head: kinds.Head) -> None:
    """Raise a :class:`ClaimError` that names each false claim and what is true."""
    problems = [
        Problem(
            head.source.where,
            head.source.line("claims", claim.name),
            f"[claims].{claim.name}",
            f"{claim.declared!r} is claimed, but {claim.found!r} is true by {claim.because}",
        )
        for claim in report.claims
        if not claim.holds
    ]
    if problems:
        raise ClaimError(problems)


def generate(declaration: kinds.Optimizer) -> dict[str, str]:
    """The generated files of an optimizer, formatted.

    Raises:
        ClaimError: the declaration claims what is not so.
    """
    return files.formatted(rendered(declaration))


def rendered(declaration: kinds.Optimizer) -> dict[str, str]:
    """The generated files of an optimizer, not yet formatted."""
    for part in (declaration.system, declaration.method):
        refuse_false_claims(check(part), part.head)
    with understood(declaration):
        derivation = derive(declaration)
        report = optimizer.prove(derivation)
    refuse_false_claims(report, declaration.head)
    return files.render(Product(derivation, report))


def generate_pair(declaration: kinds.Problem, method: kinds.Integration) -> dict[str, str]:
    """The generated files of an integrator, formatted.

    Raises:
        DeclarationError: the method does not fit the problem.
        ClaimError: one of them claims what is not so.
    """
    return files.formatted(rendered_pair(declaration, method))


def generate_named(
    name: str | Path, method: str | Path | None
) -> tuple[tuple[kinds.Declaration, ...], dict[str, str]]:
    """The declarations and the files of an optimizer, or of a problem with a method.

    Raises:
        DeclarationError: a declaration has problems, or the two do not fit.
        ClaimError: one claims what is not so.
    """
    if method is None:
        declaration = load_optimizer(name)
        return (declaration,), generate(declaration)
    pair = load_problem(name), load_method(method)
    return pair, generate_pair(*pair)


def rendered_pair(declaration: kinds.Problem, method: kinds.Integration) -> dict[str, str]:
    """The generated files of an integrator, not yet formatted."""
    refuse_false_claims(check(declaration), declaration.head)
    report = check(method)
    refuse_false_claims(report, method.head)
    with understood(declaration):
        field = derive_field(declaration)
        built = build_integrator(field, method)
    return files.render(IntegratorProduct(built, declaration, method, report, field.separable))


def load_field(name_or_path: str | Path, activation: str | None = None) -> kinds.Field:
    """Find and read a network's field, perhaps with another activation.

    Raises:
        DeclarationError: it is not found, is of another kind, or the activation is no expression.
    """
    declaration = catalogue.load(name_or_path, ("field",))
    assert isinstance(declaration, kinds.Field)
    if activation is None:
        return declaration
    return read_networks.with_activation(declaration, activation)


def load_layer_method(name_or_path: str | Path) -> kinds.LayerMethod:
    """Find and read a method for layers: a Runge–Kutta method or a pair.

    Raises:
        DeclarationError: it is not found, or is of another kind.
    """
    declaration = catalogue.load(name_or_path, kinds.LAYER_METHODS)
    assert isinstance(declaration, kinds.LayerMethod)
    return declaration


def rendered_network(field: kinds.Field, method: kinds.LayerMethod) -> dict[str, str]:
    """The generated files of a network, not yet formatted."""
    refuse_false_claims(check(field), field.head)
    report = check(method)
    refuse_false_claims(report, method.head)
    with understood(field):
        unrolled = Unrolled(build_network(field, method))
    return files.render(NetworkProduct(unrolled, field, method, report))


def shipped_pairs() -> Iterator[tuple[kinds.Problem, kinds.Integration]]:
    """The problems of the catalogue with the methods that they list to be generated."""
    for kind in kinds.PROBLEMS:
        for path in catalogue.paths(kind):
            declaration = catalogue.load(path)
            if isinstance(declaration, kinds.Problem):
                for name in declaration.methods:
                    yield declaration, load_method(name)


def generate_catalogue() -> dict[str, str]:
    """The generated files of every product in the catalogue, and their index."""
    texts: dict[str, str] = {}
    for path in catalogue.paths("optimizer"):
        texts |= rendered(load_optimizer(path))
    for declaration, method in shipped_pairs():
        texts |= rendered_pair(declaration, method)
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
    field = derive_field(on)
    if not field.autonomous or len(field.components) > 2:
        raise DeclarationError.single(
            on.head.source.where,
            "modified equations are written for autonomous fields of one or two components",
        )
    try:
        return modified_equation(build(declared), field.components, field.damped, terms)
    except ValueError as error:
        raise DeclarationError.single(declared.head.source.where, str(error)) from error
