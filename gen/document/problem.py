"""What ``show`` tells of problems, of discrete gradients, and of a problem with a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import Coordinate, Expr
from hamilforge.gen.derive.calculus import written as text_of
from hamilforge.gen.derive.integrators.field import derive_field
from hamilforge.gen.derive.integrators.lattice import LatticeField, at_sites
from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.derive.scheme import constant_values, flatten
from hamilforge.gen.document.blocks import Block, Facts, Formula, Formulas, Heading, Paragraph
from hamilforge.gen.emit.printer import FormulaPrinter
from hamilforge.gen.program.integrators.integrator import (
    ConstrainedFlows,
    ConstrainedMove,
    DiscreteGradient,
    Flows,
    Friction,
    Integrator,
    Problem,
    TaylorSteps,
)
from hamilforge.gen.program.integrators.series import (
    Elementary,
    Operation,
    Power,
    Product,
    Quotient,
    Sum,
)
from hamilforge.gen.program.ir import Apply, Const, Ref
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.lower import add, constant, lower, mul, negative
from hamilforge.gen.program.stages import ONE, Coefficient, Row, Stages, Value
from hamilforge.gen.prove.report import Report

#: The ends of a time span.
ENDS = (sp.Symbol("start", real=True), sp.Symbol("stop", real=True))
_FLOWS = {"A": "drift", "B": "kick", "D": "friction", "BD": "kick with friction"}


def site_names(field: VectorField) -> dict[sp.Symbol, str]:
    """How values at the sites of a lattice are written: ``x[i]``, ``x[i + 1]``."""
    if not isinstance(field, LatticeField):
        return {}
    quantities = (field.energy, *field.values, *(value for _, value in field.invariants))
    symbols = {symbol for value in quantities for symbol in value.atoms(Coordinate)}
    return {symbol: str(at_sites(symbol)) for symbol in symbols | set(field.components)}


def component_lines(
    components: Sequence[sp.Symbol],
    values: Sequence[Expr],
    names: Mapping[Expr, Expr] | None = None,
    written: Mapping[sp.Symbol, str] | None = None,
) -> Formulas:
    """The right-hand side of each component.

    Args:
        components: the components of the state.
        values: their right-hand sides, in the same order.
        names: what is written in place of parts of these; None for nothing.
        written: names of symbols as readers know them; None for their own.

    Returns:
        A formula for each component, with a dot behind its name.
    """
    pairs = zip(components, values, strict=True)
    written = written or {}
    return Formulas(
        tuple(
            Formula(
                f"{written.get(name, name)}.", lower(value.xreplace(dict(names or {})), written)
            )
            for name, value in pairs
        )
    )


def tell_problem(declaration: kinds.Problem, _: Report) -> tuple[Block, ...]:
    """Energy, equations, friction, invariants and events."""
    field = derive_field(declaration)
    written = site_names(field)
    blocks: list[Block] = []
    if field.energy is not None:
        blocks += [Heading("The energy"), Formulas((Formula("H", lower(field.energy, written)),))]
    if written:
        blocks.append(Paragraph("Sites i are in a ring; sums are over all of them."))
    lines = component_lines(field.components, field.damped, written=written)
    blocks += [Heading("The equations"), lines]
    if field.friction != 0:
        blocks += [
            Paragraph("From start to stop, friction by itself multiplies momenta by"),
            Formulas((Formula("decay", lower(field.decay(*ENDS))),)),
        ]
    if field.structure is not None:
        blocks.append(Paragraph("The equations are S grad H with the skew-symmetric S of entries"))
        blocks.append(_structure(field))
    if field.constraints:
        blocks += _constraints(field)
    if field.invariants:
        constant = tuple(Formula(name, lower(value, written)) for name, value in field.invariants)
        blocks += [Heading("Invariants"), Formulas(constant)]
    if field.events:
        zeros = tuple(Formula(event.name, lower(value)) for event, value in field.events)
        blocks += [Heading("Events"), Paragraph("Zeros of these can be looked for:")]
        blocks.append(Formulas(zeros))
    return tuple(blocks)


def _constraints(field: VectorField) -> tuple[Block, ...]:
    """Constraints, and the forces that keep them."""
    vanishing = tuple(Formula(name, lower(value)) for name, value in field.constraints)
    return (
        Heading("The constraints"),
        Paragraph("These are 0 along solutions, and so are their derivatives by the time:"),
        Formulas(vanishing),
        Paragraph(
            "Their gradients times multipliers, which these conditions determine, are taken from "
            "the rates of the momenta."
        ),
    )


def tell_constrained_splitting(
    declaration: kinds.ConstrainedSplitting, _: Report
) -> tuple[Block, ...]:
    """Constrained steps and friction in the order they are applied, and what a step solves."""
    flows, constants, _exact = flatten(declaration)
    letters = dict.fromkeys(flow.letter for flow in flows)
    values = constant_values(constants)
    numbers = tuple(
        (symbol.name, f"{text_of(value)} = {sp.N(values[symbol], 16)}")
        for symbol, value in constants.items()
    )
    return (
        Heading("The method"),
        Paragraph("In the order they are applied:"),
        Facts(tuple((letter, _MOVES[letter]) for letter in letters)),
        Paragraph(" ".join(f"{flow.letter}({text_of(flow.weight)} h)" for flow in flows)),
        *((Facts(numbers),) if numbers else ()),
        *_constrained_step(),
    )


_MOVES = {
    "C": "a kick, a drift and a kick whose multipliers keep g(q) = 0 and G dK/dp = 0, G = dg/dq",
    "D": "friction: the exact flow of p' = -gamma p",
}


def _constrained_step() -> tuple[Block, ...]:
    """What C over s h computes."""
    half = mul(Const(Fraction(1, 2)), Ref("s"), Ref("h"))

    def kicked(momentum: str, at: str, multiplier: str) -> IrExpr:
        force = Apply("add", (Ref(f"grad V({at})"), Ref(f"reaction({at}, {multiplier})")))
        return add(Ref(momentum), negative(mul(half, force)))

    lines = (
        Formula("P", kicked("p", "q", "lambda")),
        Formula("Q", add(Ref("q"), mul(Ref("s"), Ref("h"), Ref("velocity(P)")))),
        Formula("g(Q)", Const(Fraction(0))),
        Formula("R", kicked("P", "Q", "nu")),
        Formula("rate(Q, R)", Const(Fraction(0))),
        Formula("q", Ref("Q"), "<-"),
        Formula("p", Ref("R"), "<-"),
    )
    return (
        Paragraph(
            "C over s h, where reaction(q, lambda) = G(q)' lambda and rate(q, p) = G(q) "
            "velocity(p); Newton's method finds lambda, then nu:"
        ),
        Formulas(lines),
    )


def _structure(field: VectorField) -> Formulas:
    assert field.structure is not None
    return Formulas(
        tuple(
            Formula(f"S_{row}_{column}", lower(entry))
            for row, entries in zip(field.components, field.structure, strict=True)
            for column, entry in zip(field.components, entries, strict=True)
            if entry != 0
        )
    )


def tell_discrete_gradient(declaration: kinds.DiscreteGradient, _: Report) -> tuple[Block, ...]:
    """The definition of a discrete gradient."""
    if declaration.quadrature is not None:
        how = (
            "The mean of grad H at the nodes of "
            f"{declaration.quadrature.head.name} along the segment from u to v, by its weights; "
            "what is missing to H(v) - H(u) is added along v - u."
        )
    elif declaration.increments == "random":
        how = (
            "What H grows by along a direction that each step draws, by the length of v - u; where "
            "v is u that is no gradient of H but its part along the direction."
        )
    else:
        how = "The increments of H, one coordinate moved from u to v after the other" + (
            "; the mean of both orders." if declaration.increments == "symmetric" else "."
        )
    conserving = "z+ = z + h S grad(z, z+)"
    descending = "v = u - h grad(u, v), so that J(v) - J(u) = -|v - u|^2/h for every h"
    steps = (
        f"{descending}, J for H."
        if declaration.increments == "random"
        else f"{conserving} conserves H; {descending}, J for H."
    )
    return (
        Heading("The method"),
        Paragraph("grad(u, v) . (v - u) = H(v) - H(u)."),
        Paragraph(how),
        Heading("The step"),
        Paragraph(steps),
    )


def tell_taylor(declaration: kinds.Taylor, _: Report) -> tuple[Block, ...]:
    """The step of Taylor's method."""
    order = declaration.order or "p"
    return (
        Heading("The step"),
        Paragraph(f"y(t + h) = sum of c_k h^k, k = 0, ..., {order}, c_k the solution's own."),
        Paragraph(_ORDER_OF_TOLERANCE if declaration.order is None else f"Of order {order}."),
        Paragraph(
            "With tolerances h is e^(-s/p) of the radius of convergence that the last two "
            "coefficients show, s = 5 - log(tolerance), and at most e^-0.5 of it."
        ),
    )


_ORDER_OF_TOLERANCE = (
    "The order p is (s + sqrt(s (s + 32)))/4, s = 5 - log(tolerance), at which work per time is "
    "least if that of a step grows as (p + 4)^2; code is made for the order that a call asks for."
)


def tell_integrator(integrator: Integrator) -> tuple[Block, ...]:
    """The step of a method on a problem, as it is computed."""
    match integrator.step:
        case Stages() as step:
            return (Heading("The step"), *_stages(integrator.problem, step))
        case Flows() as step:
            items = tuple(
                (f"{k}. {_FLOWS[flow.letter]}", f"over {flow.weight.exact or flow.weight.value} h")
                for k, flow in enumerate(step.flows, start=1)
            )
            return (Heading("The step"), Facts(items))
        case ConstrainedFlows() as step:
            damped = integrator.problem.decay is not None
            moves = [move for move in step.moves if damped or isinstance(move, ConstrainedMove)]
            items = tuple(
                (f"{k}. {_move(move)[0]}", _move(move)[1]) for k, move in enumerate(moves, 1)
            )
            return (Heading("The step"), Facts(items), *_constrained_step())
        case TaylorSteps() as step:
            return (
                Heading("The step"),
                Paragraph(f"The coefficients c_1, ..., c_{step.order} in order, from the series"),
                Facts(tuple((line.name, _operation(line.operation)) for line in step.series.lines)),
            )
        case DiscreteGradient():
            return (
                Heading("The step"),
                Paragraph("Newton's method for z+, a large h reached by continuation."),
            )


def _operation(operation: Operation) -> str:
    """An operation on series as a formula."""
    printer = FormulaPrinter()
    match operation:
        case Sum(terms=terms, constant=first):
            parts = [mul(factor, Ref(name)) for factor, name in terms]
            return printer(add(*parts, *((first,) if first is not None else ())))
        case Product(left=left, right=right):
            return printer(mul(Ref(left), Ref(right)))
        case Quotient(over=over, under=under):
            return printer(Apply("div", (Ref(over) if over else constant(1), Ref(under))))
        case Power(base=base, exponent=exponent):
            return printer(Apply("pow", (Ref(base), exponent)))
        case Elementary(function=function, argument=argument):
            return f"{function}({argument})"


def _move(move: Friction | ConstrainedMove) -> tuple[str, str]:
    """What a move is, and over how much of the step."""
    if isinstance(move, ConstrainedMove):
        return "C", f"over {move.drift.exact or move.drift.value} h"
    start, stop = (end.exact or end.value for end in (move.start, move.stop))
    return "friction", f"from {start} h to {stop} h"


def _stages(problem: Problem, step: Stages) -> tuple[Block, ...]:
    """Stage values and increments in the order of computation."""
    damped = problem.decay is not None
    suffixes = [""] if len(problem.parts) == 1 else ["q", "p"]
    blocks: list[Block] = []
    if any(entry != ONE for row in step.scale for entry in row):
        blocks.append(
            Paragraph(
                "Increments L carry the weights b, so that the condition of symplecticity, "
                "alpha_ij + alpha_ji = 1 (with the other table's alpha in a pair), holds exactly "
                "in floating point."
            )
        )
    if damped:
        blocks.append(
            Paragraph(
                "Momenta are multiplied by their friction factor at each stage and at the end; "
                "increments of momenta are divided by it."
            )
        )
    for block in step.blocks:
        if block.implicit:
            text = "solved together, by fixed-point iteration or Newton's method:"
            blocks.append(Paragraph(text))
        lines = []
        for node in block.nodes:
            part, suffix = problem.parts[node.part], suffixes[node.part]
            if isinstance(node, Value):
                row = step.alpha[node.part][node.stage]
                lines.append(Formula(f"Y{suffix}_{node.stage + 1}", _sum(row, suffix)))
            else:
                scale = step.scale[node.part][node.stage]
                rate = Ref(f"{part.name}(Y_{node.stage + 1})")
                right = mul(_number(scale), Ref("h"), rate)
                lines.append(Formula(f"L{suffix}_{node.stage + 1}", right))
        blocks.append(Formulas(tuple(lines)))
    ends = tuple(
        Formula(f"y{suffix}", _sum(step.weights[part], suffix), "<-")
        for part, suffix in enumerate(suffixes)
    )
    return (*blocks, Formulas(ends))


def _sum(row: Row, suffix: str) -> IrExpr:
    terms: list[IrExpr] = [Ref(f"y{suffix}")]
    for j, coefficient in enumerate(row, start=1):
        if coefficient.value:
            number, increment = _number(coefficient), Ref(f"L{suffix}_{j}")
            if isinstance(number, Apply):
                terms.append(negative(mul(*number.args, increment)))
            else:
                terms.append(mul(number, increment))
    return add(*terms)


def _number(coefficient: Coefficient) -> IrExpr:
    text = coefficient.exact
    over, _, under = text.partition("/")
    if text and over.lstrip("-").isdigit() and (not under or under.isdigit()):
        value = Fraction(text)
        return Apply("neg", (Const(-value),)) if value < 0 else Const(value)
    if coefficient.value < 0:
        return Apply("neg", (Ref(f"{-coefficient.value:.10g}"),))
    return Ref(f"{coefficient.value:.10g}")
