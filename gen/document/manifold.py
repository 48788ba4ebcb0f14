"""What ``show`` tells of a manifold: its maps as declared, and the lines that they become."""

from __future__ import annotations

from hamilforge.gen.declare import kinds
from hamilforge.gen.document.blocks import Block, Facts, Formulas, Heading, Paragraph
from hamilforge.gen.document.lines import formulas
from hamilforge.gen.program.optimizers.manifold import build_manifold
from hamilforge.gen.prove.report import Report


def tell_manifold(manifold: kinds.Manifold, _: Report) -> tuple[Block, ...]:
    """Points, projection, metrics, retractions, and each map line by line."""
    conditions = [
        (condition.name, condition.value.text + " is positive definite" * condition.definite)
        for condition in manifold.conditions
    ]
    limits = [
        (f"{own.name} has a value for", own.limit) for own in manifold.retractions if own.limit
    ]
    where = [(f"where {name} is short for", value.text) for name, value in manifold.shorthands]
    blocks: list[Block] = [
        Heading("The manifold"),
        Paragraph(
            f"Points X {manifold.written_shape} with {manifold.constraint.text} = 0; V and U are "
            "tangent."
        ),
        Facts(
            (
                *conditions,
                ("projection of V to the tangent space", manifold.project.text),
                *((f"retraction {own.name}", own.value.text) for own in manifold.retractions),
                *limits,
                *((f"transport {name}", value.text) for name, value in manifold.transports),
                *where,
            )
        ),
    ]
    if manifold.quotient:
        blocks.append(Paragraph(f"Points that {manifold.quotient} takes to each other are one."))
    blocks.append(Heading("Metrics"))
    for metric in manifold.metrics:
        told = [
            (f"{metric.name}: <U, V>", metric.inner.text),
            (f"{metric.name}: gradient, of the derivative G", metric.gradient.text),
        ]
        if metric.geodesic is not None:
            told.append((f"{metric.name}: geodesic", metric.geodesic.text))
        if metric.rates:
            rates = ", ".join(map(str, metric.rates))
            told.append((f"{metric.name}: rates of a friction as a force, by gamma", rates))
        blocks.append(Facts(tuple(told)))
    blocks.append(Heading("The maps, line by line"))
    for name, function in build_manifold(manifold).functions.items():
        blocks += [Paragraph(name.replace("_", " ")), Formulas(tuple(formulas(function)))]
    return tuple(blocks)
