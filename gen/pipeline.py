"""The stages joined: from a name or a path to a report, or to generated files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from hamilforge.gen import families, products
from hamilforge.gen.declare import budget, catalogue, kinds
from hamilforge.gen.declare.errors import ClaimError, DeclarationError, Problem
from hamilforge.gen.declare.memory import remembered
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.emit import files
from hamilforge.gen.emit.products.descent import DescentProduct
from hamilforge.gen.emit.products.integrator import IntegratorProduct
from hamilforge.gen.emit.products.manifold import ManifoldProduct
from hamilforge.gen.emit.products.matrix import MatrixProduct
from hamilforge.gen.emit.products.network import NetworkProduct, TargetProduct
from hamilforge.gen.emit.products.optimizer import Product
from hamilforge.gen.emit.products.problem import ProblemProduct
from hamilforge.gen.program.integrators.build import build_discrete_gradient, build_integrator
from hamilforge.gen.program.integrators.integrator import TaylorSteps
from hamilforge.gen.program.networks.build import build_network, build_target
from hamilforge.gen.program.networks.unroll import Unrolled
from hamilforge.gen.program.optimizers.build import derive
from hamilforge.gen.program.optimizers.build_matrix import derive_matrix_optimizer
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.program.optimizers.manifold import build_manifold
from hamilforge.gen.program.problems.build import build_problem
from hamilforge.gen.prove.integrators import problem
from hamilforge.gen.prove.integrators.taylor import prove_coefficients
from hamilforge.gen.prove.report import Report
from hamilforge.gen.tableau.build import build
from hamilforge.gen.tableau.modified import Modified, modified_equation


@remembered
def check(declaration: kinds.Declaration) -> Report:
    """Everything that can be proved about a declaration, compared with its claims.

    Raises:
        DeclarationError: it cannot be derived or proved.
    """
    kind = families.kind_of(declaration)
    report: Report = products.understood(lambda: kind.prove(declaration), declaration)
    return report


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


def generate(made: products.Made) -> dict[str, str]:
    """The generated files of a product, formatted.

    Raises:
        DeclarationError: the method does not fit.
        ClaimError: a declaration claims what is not so.
    """
    return files.formatted(rendered(made))


def rendered(made: products.Made) -> dict[str, str]:
    """The generated files of a product, not yet formatted."""
    return families.family_of(made).render(*made)


def render_rule(rule: kinds.Rule) -> dict[str, str]:
    """The files of an optimizer that is a list of assignments."""
    report = check(rule)
    refuse_false_claims(report, rule.head)
    return products.understood(
        lambda: files.render(Product(derive_rule(rule), report)), rule, factor=budget.CODE
    )


def render_manifold(manifold: kinds.Manifold) -> dict[str, str]:
    """The files of a manifold."""
    refuse_false_claims(check(manifold), manifold.head)
    return products.understood(
        lambda: files.render(ManifoldProduct(build_manifold(manifold), manifold)), manifold
    )


def render_matrix_optimizer(rule: kinds.MatrixOptimizer) -> dict[str, str]:
    """The files of an optimizer of matrices."""
    if rule.manifold is not None:
        refuse_false_claims(check(rule.manifold), rule.manifold.head)
    report = check(rule)
    refuse_false_claims(report, rule.head)
    return products.understood(
        lambda: files.render(MatrixProduct(derive_matrix_optimizer(rule), report)), rule
    )


def render_objective(objective: kinds.Objective) -> dict[str, str]:
    """The files of an objective."""
    refuse_false_claims(check(objective), objective.head)
    return products.understood(
        lambda: files.render(TargetProduct(build_target(objective), objective)), objective
    )


def render_problem(problem: kinds.MinimizationProblem) -> dict[str, str]:
    """The files of a minimization problem."""
    refuse_false_claims(check(problem), problem.head)
    return products.understood(
        lambda: files.render(ProblemProduct(build_problem(problem), problem)), problem
    )


def render_descent(method: kinds.DiscreteGradient) -> dict[str, str]:
    """The files of a discrete gradient as a method for gradient flows."""
    report = check(method)
    refuse_false_claims(report, method.head)
    return products.understood(
        lambda: files.render(DescentProduct(build_discrete_gradient(method), method, report)),
        method,
    )


def render_network(field: kinds.Field, layers: kinds.LayerMethod) -> dict[str, str]:
    """The files of a field with the method of its layers."""
    report = _believed(field, layers)

    def layered() -> dict[str, str]:
        unrolled = Unrolled(build_network(field, layers))
        return files.render(NetworkProduct(unrolled, field, layers, report))

    return products.understood(layered, field, layers, factor=budget.CODE)


def render_integrator(declared: kinds.Problem, method: kinds.Integration) -> dict[str, str]:
    """The files of a problem with the method that integrates it."""
    report = _believed(declared, method)

    def integrated() -> dict[str, str]:
        derived = derive_field(declared)
        built = build_integrator(derived, method)
        own = report
        if isinstance(built.step, TaylorSteps):  # of these coefficients, not of some others
            own = prove_coefficients(built, derived, built.step.order)
        return files.render(IntegratorProduct(built, declared, method, own, derived.separable))

    return products.understood(integrated, declared, method, factor=budget.CODE)


def _believed(declaration: kinds.Declaration, method: kinds.Declaration) -> Report:
    """The report of a method, once the claims of both have been checked."""
    if isinstance(declaration, kinds.Problem):  # what is not claimed is not waited for
        claimed = products.understood(
            lambda: problem.prove(declaration, claimed_only=True), declaration
        )
    else:
        claimed = check(declaration)
    refuse_false_claims(claimed, declaration.head)
    if isinstance(method, kinds.Taylor):  # of any order; that which was chosen is proved by itself
        method = dataclasses.replace(method, chosen=None, varied=())
    report = check(method)
    refuse_false_claims(report, method.head)
    return report


def render_optimizer(declaration: kinds.Optimizer) -> dict[str, str]:
    """The files of an optimizer."""
    for part in (declaration.system, declaration.method):
        refuse_false_claims(check(part), part.head)
    report = check(declaration)
    refuse_false_claims(report, declaration.head)
    return products.understood(
        lambda: files.render(Product(derive(declaration), report)), declaration, factor=budget.CODE
    )


def shipped() -> Iterator[tuple[Path, str | None]]:
    """The declarations that products of the catalogue are made of, with their methods, by kind."""
    for family in families.FAMILIES:
        for kind in families.kinds_of(family):
            for path in catalogue.paths(kind):
                declaration = catalogue.load(path)
                if not isinstance(declaration, family.made_of):
                    continue
                for method in getattr(declaration, "methods", ()) if family.methods else (None,):
                    yield path, method


def _rendered_of(source: tuple[Path, str | None]) -> dict[str, str]:
    return rendered(products.load_made(*source))


def generate_catalogue(processes: int = 1) -> dict[str, str]:
    """The generated files of every product in the catalogue, and their index.

    Args:
        processes: how many derive and print; the files are the same.  Others than this one start
            anew, so the module that Python runs has to be guarded by its name.
    """
    sources = [*shipped()]
    if processes == 1:
        parts = [*map(_rendered_of, sources)]
    else:
        with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
            parts = [*pool.map(_rendered_of, sources, chunksize=4)]  # neighbours share proofs
    texts = files.formatted({name: text for part in parts for name, text in part.items()})
    return {**texts, files.INDEX: files.index(texts)}


def modified(method: str | Path, system: str | Path, terms: int = 2) -> Modified:
    """The modified equation of a Runge–Kutta method on a declared system.

    Args:
        method: a Runge–Kutta method, by name or path.
        system: a Hamiltonian in coordinates, or a system, by name or path.
        terms: how many powers of h, from h^p on, with p the order of the method.

    Returns:
        The terms of the modified equation, and of the modified Hamiltonian where there is one.

    Raises:
        DeclarationError: a declaration has problems; the system depends on time or has more than
            two components; or the terms are of too high an order.
    """
    declared = catalogue.load(method, ("runge-kutta",))
    on = products.load_problem(system)
    assert isinstance(declared, kinds.RungeKutta)
    field = products.understood(lambda: derive_field(on), on)
    if not field.autonomous or len(field.components) > 2:
        raise DeclarationError.single(
            on.head.source.where,
            "modified equations are written for autonomous fields of one or two components",
        )
    return products.understood(
        lambda: modified_equation(build(declared), field.components, field.damped, terms),
        declared,
        on,
    )
