"""What can be known about a declaration: proofs, code, comparisons, modified equations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hamilforge.facade.common import AS_DECLARED, Name, place

if TYPE_CHECKING:
    from hamilforge.gen.declare.variation import Variation
    from hamilforge.gen.prove.report import Report
    from hamilforge.gen.tableau.modified import Modified
    from hamilforge.runtime.core.comparison import Verification


def check(
    name: Name,
    manifold: Name | None = AS_DECLARED,
    metric: str | None = None,
    retraction: str | None = None,
) -> Report:
    """Prove what can be proved about a declaration, and compare its claims.

    Args:
        name: a name in the catalogue, ``kind/name``, or a path to a TOML file.
        manifold: of an optimizer of points: another one than the declared, by name or path, or None
            for no constraint; it has no claims there.
        metric: of the manifold; the declared if None and it has it, its first else.
        retraction: of the manifold, likewise.

    Returns:
        The report: ``str()`` to read, ``.to_dict()`` to use, ``.holds`` for all claims.

    Raises:
        DeclarationError: the declaration is not found or has problems; all of them are listed.
    """
    from hamilforge.gen import pipeline
    from hamilforge.gen.declare import catalogue, geometry

    where = place(manifold, metric, retraction)
    return pipeline.check(geometry.elsewhere(catalogue.load(name), where))


def generate(
    name: Name,
    out: Name | None = None,
    method: Name | None = None,
    activation: str | None = None,
    sizes: Mapping[str, int] | None = None,
    by_stage: bool = False,
    order: int | None = None,
    manifold: Name | None = AS_DECLARED,
    metric: str | None = None,
    retraction: str | None = None,
) -> list[Path]:
    """Generate the files of an optimizer or an objective, or of a problem or field with a method.

    Args:
        name: a name in the catalogue, or a path.
        method: what integrates a problem, or what the layers of a field are made with.
        activation: of a field, an expression in x instead of the declared one.
        sizes: of a lattice, the number of its sites; of a field, dimensions that its code is made
            for.
        by_stage: whether every stage of a layer has controls of its own.
        order: of Taylor's method; that of the tolerance 1e-6 if None.
        manifold: of an optimizer of points: another one than the declared, by name or path, or None
            for no constraint.
        metric: of the manifold; the declared if None and it has it, its first else.
        retraction: of the manifold, likewise.
        out: a folder; the user's cache if None.

    Returns:
        The paths of the files.

    Raises:
        DeclarationError: the declaration has problems.
        ClaimError: it claims what is not so; nothing is written.
        FileExistsError: files in the folder are in the way; nothing is written.
        ValueError: a size is of no dimension, or no positive number.
    """
    from hamilforge import generation

    choices: Variation = {
        "activation": activation, "sizes": sizes, "by_stage": by_stage, "order": order,
        **place(manifold, metric, retraction),
    }  # fmt: skip
    return generation.write([name], out, method, **choices)


def modified_equation(method: Name, system: Name, terms: int = 2) -> Modified:
    """The differential equation that a Runge–Kutta method solves more exactly (backward error).

    Args:
        method: a Runge–Kutta method, by name or path.
        system: an autonomous system of one or two components, by name or path.
        terms: how many powers of h, from the first that the method's error has.

    Returns:
        ``.terms`` by powers of h, and ``.hamiltonian`` for a symplectic method on a Hamiltonian
        system.

    Raises:
        DeclarationError: a declaration has problems, the system is not of that form, or the terms
            are of too high an order.
    """
    from hamilforge.gen import pipeline

    return pipeline.modified(method, system, terms)


def verify(
    name: Name,
    method: Name | None = None,
    activation: str | None = None,
    by_stage: bool = False,
    sizes: Mapping[str, int] | None = None,
    device: str = "cpu",
    order: int | None = None,
    manifold: Name | None = AS_DECLARED,
    metric: str | None = None,
    retraction: str | None = None,
) -> Verification:
    """Compare every backend with the others and with the NumPy interpretation.

    Args:
        name: a name in the catalogue, or a path.
        method: for a problem, the method that integrates it; for a field, that of its layers.
        activation: of a field, instead of the declared one.
        by_stage: of a field: whether every stage of a layer has controls of its own.
        sizes: of a lattice, the number of its sites by name.
        device: where torch's forms run, as torch calls it; beside another one than ``cpu`` the
            kernels do not run.
        order: of Taylor's method; that of the tolerance 1e-6 if None.
        manifold: of an optimizer of points: another one than the declared, by name or path, or None
            for no constraint.
        metric: of the manifold; the declared if None and it has it, its first else.
        retraction: of the manifold, likewise.

    Returns:
        The comparison: ``str()`` to read, ``.holds`` for the verdict.

    Raises:
        DeclarationError: the declaration is not found or has problems.
        ValueError: no tensor can be made on the device.
    """
    from hamilforge import verification

    choices: Variation = {
        "activation": activation, "sizes": sizes, "by_stage": by_stage, "order": order,
        **place(manifold, metric, retraction),
    }  # fmt: skip
    return verification.verify(name, method, device, **choices)
