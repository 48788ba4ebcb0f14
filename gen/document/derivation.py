"""The story of a declaration: from the Hamiltonian to the lines that run.

In: a declaration.  Out: a document; everything in it is taken from the derivation and the report.
"""

from __future__ import annotations

import sympy as sp

from hamilforge.gen import families
from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.document import network, problem
from hamilforge.gen.document.blocks import (
    Block,
    Document,
    Facts,
    Formula,
    Formulas,
    Heading,
    Paragraph,
)
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.networks.build import build_network
from hamilforge.gen.prove.report import Report, shown
from hamilforge.gen.tableau.build import root_of
from hamilforge.gen.tableau.modified import Modified


def tell(declaration: kinds.Declaration, report: Report) -> Document:
    """The document of a declaration."""
    parts = families.kind_of(declaration).tell(declaration, report)
    return (*_head(declaration.head), *parts, *_proved(report))


def tell_pair(declared: kinds.Problem, method: kinds.Integration, report: Report) -> Document:
    """The document of a problem with the method that integrates it.

    Args:
        declared: the problem.
        method: what integrates it.
        report: of the method.

    Returns:
        Problem, method, step and what was proved.
    """
    return (
        *_head(declared.head),
        *problem.tell_problem(declared, report),
        Heading("The method"),
        *_head(method.head)[1:],
        *problem.tell_integrator(build_integrator(derive_field(declared), method)),
        *_proved(report),
    )


def tell_network(field: kinds.Field, method: kinds.LayerMethod, report: Report) -> Document:
    """The document of a field with the method of its layers.

    Args:
        field: the field.
        method: what its layers are made with.
        report: of the method.

    Returns:
        Layer, adjoint, method and what was proved.
    """
    built = build_network(field, method)
    return (
        *_head(field.head),
        *network.tell_network(field, method, built, report),
        Heading("The method"),
        *_head(method.head)[1:],
        *_proved(report),
    )


def tell_modified(method: kinds.RungeKutta, system: kinds.Problem, found: Modified) -> Document:
    """The modified equation of a method on a system; roots by the names they were given.

    Args:
        method: the Runge–Kutta method, for its title and the names of its roots.
        system: the problem, for its title.
        found: the modified equation of the one on the other.

    Returns:
        The field, its terms by powers of h and, if there is one, the modified Hamiltonian.
    """
    names = {
        root_of(method, name, value): sp.Symbol(name)
        for name, value in method.constants
        if isinstance(value, kinds.Root)
    }
    blocks: list[Block] = [
        Heading(f"{method.head.title or method.head.name} on {system.head.title}", 1),
        Paragraph(
            f"The method is of order {found.order}. Up to higher powers of h, a step is the flow "
            "over h of the modified equation: the field and, by powers of h,"
        ),
        problem.component_lines(found.components, found.field, names),
    ]
    for power, term in found.terms.items():
        blocks += [
            Paragraph(f"h^{power} times"),
            problem.component_lines(found.components, term, names),
        ]
    if not found.terms:
        blocks.append(Paragraph("no further term: they vanish to the order looked at."))
    if found.hamiltonian is not None:
        blocks.append(Heading("The modified Hamiltonian"))
        for power, energy in found.hamiltonian.items():
            name = f"H{power}" if power else "H"
            blocks.append(
                Formulas((Formula(name, lower(energy.xreplace(names)), remark=f"times h^{power}"),))
            )
    return tuple(blocks)


def _head(head: kinds.Head) -> tuple[Block, ...]:
    return (Heading(head.title or head.name, 1), Paragraph(f"Reference: {head.reference}"))


def _proved(report: Report) -> tuple[Block, ...]:
    items = []
    for finding in report.findings:
        value = shown(finding)
        items.append((finding.name.replace("_", " "), f"{value} (by {finding.evidence})"))
    notes = tuple(Paragraph(note) for note in report.notes)
    return (Heading("What is proved"), Facts(tuple(items)), *notes)
