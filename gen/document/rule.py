"""The story of a rule: what it assigns in a step, or the equations that it discretises.

In: rules, of numbers or of matrices, and systems with a gradient.  Out: parts of a document.
"""

from __future__ import annotations

from collections.abc import Iterable

from hamilforge.gen.declare import kinds
from hamilforge.gen.document.blocks import Block, Heading, Paragraph
from hamilforge.gen.document.optimizer import function_formulas, program_blocks
from hamilforge.gen.program.optimizers.build_matrix import derive_matrix_optimizer
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.prove.report import Report


def tell_rule(rule: kinds.Rule, _: Report) -> tuple[Block, ...]:
    """The assignments of a rule as declared, and its program."""
    return (
        Heading("The rule"),
        *_assigned(rule),
        *program_blocks(derive_rule(rule).program),
    )


def tell_matrix_rule(rule: kinds.MatrixRule, _: Report) -> tuple[Block, ...]:
    """The assignments of a rule for matrices, its manifold, and its program."""
    blocks: list[Block] = [Heading("The rule")]
    if rule.manifold is not None:
        free = rule.retraction == kinds.FREE
        how = "near it, without a retraction" if free else f"by the retraction {rule.retraction}"
        blocks.append(
            Paragraph(
                f"On {rule.manifold.head.name} ({rule.manifold.head.title}), in the metric "
                f"{rule.metric}, {how}."
            )
        )
    if rule.unknowns[1:]:
        blocks.append(Paragraph(f"Kept, and begun at 0: {', '.join(rule.unknowns[1:])}."))
    blocks += map(Paragraph, _as_declared(rule.assignments))
    derivation = derive_matrix_optimizer(rule)
    of_vectors: list[Block] = []
    if derivation.of_vectors:
        blocks.append(Paragraph("Of a parameter with one axis, a column:"))
        blocks += map(Paragraph, _as_declared(rule.of_vectors))
        of_vectors.append(Paragraph("The same of a parameter with one axis:"))
        of_vectors.append(function_formulas(derivation.of_vectors))
    return (*blocks, *program_blocks(derivation.program), *of_vectors)


def tell_state_update(update: kinds.StateUpdate, _: Report) -> tuple[Block, ...]:
    """The assignments of an update of a state."""
    return (Heading("The update"), *_assigned(update))


def _assigned(rule: kinds.Rule | kinds.StateUpdate) -> tuple[Block, ...]:
    """What is kept, what it begins at, and the assignments."""
    _, *states = rule.unknowns
    kept = (*states, *rule.scalars)
    begins = dict(rule.start)
    starts = ", ".join(f"{name} = {begins[name].text if name in begins else 0}" for name in kept)
    texts = _as_declared(rule.assignments)
    if rule.solution:
        texts.append(f"solution = {rule.solution.text}")
    if isinstance(rule, kinds.Rule) and rule.loop:
        texts += _outer(rule.loop)
    return (
        *((Paragraph(f"Kept from step to step, and begun at: {starts}."),) if kept else ()),
        *map(Paragraph, texts),
    )


def _as_declared(assignments: Iterable[kinds.Assignment]) -> list[str]:
    """Assignments in the words of the declaration."""
    return [f"{line.target} = {line.value.text}" for line in assignments]


def _outer(loop: kinds.Loop) -> list[str]:
    """The outer step of a loop and its schedules."""
    texts = [f"At the end of every {loop.every.text} steps, the outer step:"]
    texts += _as_declared(loop.assignments)
    if loop.schedules:
        texts.append("Computed where a loop begins, after k others, and held to its end:")
        texts += [f"{name} = {value.text}" for name, value in loop.schedules]
    return texts


def tell_gradient_system(system: kinds.GradientSystem, _: Report) -> tuple[Block, ...]:
    """The equations of a gradient system."""
    begins = [(name, value.text) for name, value in system.start]
    begins += [("t", str(system.start_time))] if system.start_time else []
    starts = ", ".join(f"{name} = {text}" for name, text in begins)
    return (
        Heading("The system"),
        *(Paragraph(f"{name}' = {value.text}") for name, value in system.equations),
        *(
            Paragraph(f"d{name} has ({value.text}) dW more, in Ito's sense.")
            for name, value in system.noise
        ),
        *((Paragraph(f"It begins at {starts}; at zero elsewhere."),) if begins else ()),
    )


def tell_moves(splitting: kinds.UnknownSplitting, _: Report) -> tuple[Block, ...]:
    """The flows of a splitting by unknowns."""
    return (Heading("The method"), *_moves(splitting))


def _moves(splitting: kinds.UnknownSplitting) -> tuple[Block, ...]:
    texts = []
    for move in splitting.moves:
        how = f"by {move.table.head.name}" if move.table else "by their exact flow"
        texts.append(f"{', '.join(move.unknowns)} for {move.weight.text} of a step, {how}")
    return (
        Paragraph("In this order, all else frozen (t is the clock):"),
        *map(Paragraph, texts),
    )


def tell_discretised(optimizer: kinds.Discretised, report: Report) -> tuple[Block, ...]:
    """The equations, what discretises them, what h and the parameters are, and the program."""
    system, method = optimizer.system, optimizer.method
    blocks: list[Block] = [*tell_gradient_system(system, report)] if system else []
    blocks.append(Heading("The method"))
    match method:
        case kinds.UnknownSplitting():
            blocks += _moves(method)
        case kinds.StateUpdate():
            blocks += _assigned(method)
        case kinds.RungeKutta():
            blocks.append(Paragraph(f"A step of {method.head.name} for all unknowns together."))
    if optimizer.settings:
        blocks.append(Paragraph("In the hyper-parameters:"))
        blocks += [Paragraph(f"{name} = {value.text}") for name, value in optimizer.settings]
    if loop := optimizer.loop:
        begins = dict(loop.start)
        kept = ((name, begins[name].text if name in begins else "0") for name in loop.unknowns)
        blocks += [
            Paragraph(f"The outer step keeps {name}, begun at {text}.") for name, text in kept
        ]
        blocks += map(Paragraph, _outer(loop))
        blocks += [Paragraph(f"solution = {loop.solution.text}")] if loop.solution else []
    return (*blocks, *program_blocks(derive_rule(optimizer).program))
