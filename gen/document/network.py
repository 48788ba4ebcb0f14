"""What ``show`` tells of a field and of a network: from the Hamiltonian to the discrete adjoint."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.shapes import written
from hamilforge.gen.document.blocks import Block, Facts, Formula, Formulas, Heading, Paragraph
from hamilforge.gen.document.lines import formulas
from hamilforge.gen.program.ir import Apply, Expr, Function, Ref
from hamilforge.gen.program.lower import add, mul
from hamilforge.gen.program.networks.build import build_target
from hamilforge.gen.program.networks.network import Network
from hamilforge.gen.prove.report import Report
from hamilforge.gen.tableau.build import build


def tell_field(field: kinds.Field, _: Report) -> tuple[Block, ...]:
    """States, controls, right-hand sides, the Hamiltonian of the control problem."""
    shapes = [*field.states, *field.controls]
    blocks: list[Block] = [
        Heading("The field"),
        Facts(tuple((name, written(shape)) for name, shape in shapes)),
        Paragraph(
            "; ".join(f"{name}' = {value.text}" for name, value in field.rates)
            + (f", with sigma(x) = {field.activation.text}" if field.activation else "")
        ),
    ]
    if field.arrays:
        blocks += [
            Paragraph("Fixed, not trained, exact; drawn as a function of seed, name and index:"),
            Facts(tuple((array.name, _fixed(array)) for array in field.arrays)),
        ]
    if field.regulariser is not None:
        blocks.append(
            Paragraph(
                f"The controls cost {field.regulariser.text} in each layer; the conditions below "
                "are those without it."
            )
        )
    costs = f" + {field.running.text}" if field.running else ""
    costates = " + ".join(f"dot(p_{name}, {name}')" for name, _ in field.rates)
    blocks += [
        Heading("The Hamiltonian"),
        Paragraph(f"H = {costates}{costs}"),
        Paragraph(
            "Along a solution of the control problem, y' = dH/dp, p' = -dH/dy, and dH/dU = 0. "
            "The last is a system of algebraic equations for the controls: the whole has index 1 "
            "where d2H/dU2 is nonsingular, and not where H is linear in a control."
        ),
    ]
    linear = [name for name, _ in field.controls if _is_linear(field, name)]
    if linear:
        names = ", ".join(linear)
        blocks.append(
            Paragraph(f"H is linear in {names}: without a cost of it, the index is greater than 1.")
        )
    return tuple(blocks)


def _fixed(array: kinds.FixedArray) -> str:
    if array.draw is None:
        return f"{written(array.shape)}, unit({array.unit})"
    low, high = array.draw
    then = f", then {array.where.text}" if array.where else ""
    return f"{written(array.shape)}, whole numbers from {low} to {high}{then}"


def _is_linear(field: kinds.Field, name: str) -> bool:
    """Whether every right-hand side, and the running cost, is affine in a control by its form."""
    from hamilforge.gen.declare.expression import ENTRY, Name, Node, Operation

    def degree(node: Node) -> int:
        if isinstance(node, Name):
            return int(node.name == name)
        if not isinstance(node, Operation):
            return 0
        inner = [degree(arg) for arg in node.args]
        if node.op == ENTRY:
            return inner[0]
        if node.op in ("+", "-", "sum", "transpose"):
            return max(inner)
        if node.op in ("*", "@", "dot"):
            return sum(inner)
        if node.op == "/":
            return inner[0] if not inner[1] else 2
        return 2 if any(inner) else 0

    expressions = [value for _, value in field.rates]
    if field.running is not None:
        expressions.append(field.running)
    return max(degree(value.tree) for value in expressions) == 1


def tell_objective(objective: kinds.Objective, _: Report) -> tuple[Block, ...]:
    """Read-out, loss and gradient."""
    target = build_target(objective)
    return (
        Heading("The read-out and the loss"),
        Paragraph(f"prediction = {objective.prediction.text}"),
        Paragraph(f"loss = {objective.loss.text}, summed over the samples"),
        Heading("The gradient of the losses, each times its seed"),
        *_functions((target.value, target.gradient)),
    )


def tell_network(
    field: kinds.Field, method: kinds.LayerMethod, network: Network, report: Report
) -> tuple[Block, ...]:
    """The layer, its discrete adjoint, the gradients, and the adjoint tableau.

    Args:
        field: the field.
        method: what its layers are made with.
        network: the program of both.
        report: of the method; of it the order is read.

    Returns:
        The blocks, without head and proofs.
    """
    order, own = report["order"], network.by_stage
    blocks: list[Block] = [
        *tell_field(field, report),
        Heading("A layer"),
        Paragraph(
            f"One step of {method.head.title}, order {order}, with {network.step.count} stages and "
            f"{'controls of its own at each of them' if own else 'the controls of that layer'}."
        ),
    ]
    if network.prepare.lines:
        blocks += [Paragraph("From the controls alone:"), *_functions((network.prepare,))]
    for part in network.parts:
        blocks.append(Paragraph(f"The right-hand side of {part.state.name}:"))
        blocks += _functions((part.rate,))
    blocks += [
        Heading("The discrete adjoint"),
        Paragraph(
            "With w_i the costate of the right-hand side k_i at stage i, and xi_i the product of "
            "the transposed Jacobian at that stage with w_i, from p at the end of the layer:"
        ),
        Formulas(_recursion(own)),
    ]
    for part in network.parts:
        blocks.append(
            Paragraph(f"The product of the transposed Jacobian with {part.costate.name}:")
        )
        blocks += _functions((part.states, part.shared))
    if network.finish.lines:
        blocks += [Paragraph("From these sums, the controls:"), *_functions((network.finish,))]
    if field.regulariser is not None and network.regulariser is not None:
        weighted = "times the mean of r(U_i, V_i)" if own else "r(U, V)"
        blocks += [
            Heading("The regulariser"),
            Paragraph(
                f"The sum over the layers of h {weighted} with V = (U of the next layer - U) / h, "
                f"0 in the last, and r = {field.regulariser.text}:"
            ),
            *_functions((network.regulariser.gradient,)),
        ]
    if isinstance(method, kinds.RungeKutta):
        blocks += [Heading("The adjoint tableau"), *_partner(method)]
    return tuple(blocks)


def _recursion(by_stage: bool) -> tuple[Formula, ...]:
    def ref(name: str) -> Expr:
        return Ref(name)

    h = ref("h")
    slope = Apply("matmul", (Apply("transpose", (ref("f_U"),)), ref("w_i")))
    by_control = (
        Formula("dJ/dU_i", mul(h, slope))
        if by_stage
        else Formula("dJ/dU", mul(h, Apply("sum_i", (slope,))))
    )
    return (
        Formula(
            "w_i",
            add(
                mul(ref("b_i"), ref("p")), mul(h, Apply("sum_j", (mul(ref("a_ji"), ref("xi_j")),)))
            ),
        ),
        Formula("p_start", add(ref("p"), mul(h, Apply("sum_i", (ref("xi_i"),))))),
        by_control,
        Formula("dJ/dh", Apply("sum_i", (Apply("dot", (ref("w_i"), ref("k_i"))),))),
    )


def _functions(functions: Sequence[Function]) -> list[Block]:
    lines = tuple(formula for function in functions for formula in formulas(function))
    return [Formulas(lines)] if lines else []


def _partner(method: kinds.RungeKutta) -> Iterable[Block]:
    """Hager's adjoint tableau, where no weight vanishes."""
    tableau = build(method)
    partner = tableau.adjoint()
    if partner is None:
        yield Paragraph(
            "A weight vanishes, so there is no tableau for p by itself; the recursion above needs "
            "none."
        )
        return
    yield Paragraph(
        "p follows p' = -dH/dy by the tableau b_j - b_j a_ji / b_i, which makes a symplectic pair "
        "with the tableau of y:"
    )
    a, b, c = partner.by_stages.floats
    rows = [
        (f"c = {node:.6g}", "  ".join(f"{entry:.6g}" for entry in row))
        for node, row in zip(c, a, strict=True)
    ]
    yield Facts((*rows, ("b", "  ".join(f"{x:.6g}" for x in b))))
