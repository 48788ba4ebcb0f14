"""The stages joined: from a name or a path to a report, or to generated files."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import ClaimError, DeclarationError, Problem
from hamilforge.gen.derive.field import derive_field
from hamilforge.gen.emit import files
from hamilforge.gen.emit.product import declaration_digest
from hamilforge.gen.program.build import derive
from hamilforge.gen.prove import optimizer, parts, tableau
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


def key(declaration: kinds.Optimizer) -> str:
    """A digest of all that a product's files depend on."""
    both = declaration_digest(declaration) + files.emitter_digest()
    return hashlib.sha256(both.encode()).hexdigest()[:20]


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
            case kinds.System():
                return parts.prove_system(declaration)


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
    return files.render(derivation, report)


def generate_catalogue() -> dict[str, str]:
    """The generated files of every optimizer in the catalogue, and their index."""
    texts: dict[str, str] = {}
    for path in catalogue.paths("optimizer"):
        texts |= rendered(load_optimizer(path))
    texts = files.formatted(texts)
    return {**texts, files.INDEX: files.index(texts)}


def modified(method: str | Path, system: str | Path, terms: int = 2) -> Modified:
    """The modified equation of a Runge–Kutta method on a declared system.

    Raises:
        DeclarationError: a declaration has problems; the system depends on time or has more than
            two components; or the terms are of too high an order.
    """
    declared = catalogue.load(method, ("runge-kutta",))
    on = catalogue.load(system, ("system",))
    assert isinstance(declared, kinds.RungeKutta)
    assert isinstance(on, kinds.System)
    field = derive_field(on)
    if not field.autonomous or len(field.components) > 2:
        raise DeclarationError.single(
            on.head.source.where,
            "modified equations are written for autonomous fields of one or two components",
        )
    try:
        return modified_equation(build(declared), field.components, field.values, terms)
    except ValueError as error:
        raise DeclarationError.single(declared.head.source.where, str(error)) from error
