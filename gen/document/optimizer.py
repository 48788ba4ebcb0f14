"""The story of an optimizer with an energy: system, method, settings, and the lines that run.

In: Hamiltonians, schemes and optimizers of both.  Out: parts of a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sympy as sp

from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import Coordinate, Expr, tidy_scalars, written
from hamilforge.gen.derive.optimizers.rotation import Rotated, b, last_b, new_b, rotate
from hamilforge.gen.derive.optimizers.system import System, derive_system
from hamilforge.gen.derive.scheme import (
    Scheme,
    WeightedFlow,
    constant_values,
    derive_scheme,
    flatten,
)
from hamilforge.gen.derive.symbols import Decay, Grad, Heat, Impulse, Velocity
from hamilforge.gen.document.blocks import (
    Block,
    Document,
    Facts,
    Formula,
    Formulas,
    Heading,
    Paragraph,
)
from hamilforge.gen.document.lines import formulas
from hamilforge.gen.program.ir import Apply, Function, Ref
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.optimizers.build import Derivation, derive
from hamilforge.gen.program.optimizers.build_matrix import derive_matrix_optimizer
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.prove.report import Report

_FLOW_NAMES = {
    "A": "drift: the exact flow of K",
    "B": "kick: the exact flow of J",
    "D": "friction: the exact flow of p' = -gamma p",
    "BD": "kick and friction together, q fixed",
    "P": "friction of the force -gamma p/m of the space around a manifold, D without one",
    "C": "kick, drift and kick with multipliers that keep points and velocities on the manifold",
    "O": "friction with noise: the exact flow of dp = -gamma p dt + sqrt(2 gamma m T) dW",
}

#: Functions that are not known before there is a system, as documents call them.
_CALLED: dict[type, str] = {
    Grad: "grad_J",
    Velocity: "velocity",
    Decay: "decay",
    Impulse: "impulse",
    Heat: "heat",
}


def tell_hamiltonian(declaration: kinds.Hamiltonian, _: Report) -> tuple[Block, ...]:
    """The system of a Hamiltonian for optimizers."""
    return (*_system(derive_system(declaration)),)


def tell_manifold_optimizer(optimizer: kinds.ManifoldOptimizer, _: Report) -> tuple[Block, ...]:
    """System, splitting and manifold, and the program of a step."""
    manifold = optimizer.manifold
    drift = "the geodesic"
    if optimizer.retraction != kinds.GEODESIC:
        drift = f"the retraction {optimizer.retraction}"
    carries = {
        kinds.VELOCITY: "whose velocity carries the momentum",
        kinds.SECANT: "and the way from point to point, projected, is the momentum",
    }
    by = f"and the transport by {optimizer.transport} carries the momentum"
    flows, constants, _is_exact = flatten(optimizer.method)
    return (
        Heading("The system"),
        Paragraph(f"{optimizer.system.head.title} ({optimizer.system.head.name})."),
        *_system(derive_system(optimizer.system)),
        Heading("The method"),
        Paragraph(f"{optimizer.method.head.title} ({optimizer.method.head.name})."),
        *_composition(flows, constants),
        Heading("The manifold"),
        Paragraph(
            f"{manifold.head.title} ({manifold.head.name}), in the metric {optimizer.metric}. All "
            f"drifts and frictions D between two gradients are one move, along {drift}, "
            f"{carries.get(optimizer.transport, by)}. What is kept is V = h grad K(p), begun at 0."
            + " The letter P has -gamma times the gradient of p in the place of -gamma p."
            * any(flow.letter == "P" for flow in flows)
        ),
        *(Paragraph(f"{name} = {value.text}") for name, value in optimizer.settings),
        *program_blocks(derive_matrix_optimizer(optimizer).program),
    )


def tell_scheme(declaration: kinds.Splitting | kinds.Update, _: Report) -> tuple[Block, ...]:
    """A method for any system, and what is left of it between two gradients."""
    scheme = derive_scheme(declaration, {})
    return (*_method(scheme, None), *_rotation(rotate(scheme), None))


def tell_optimizer(optimizer: kinds.Optimizer, _: Report) -> Document:
    """System, method, settings and program of an optimizer."""
    derivation = derive(optimizer)
    return (
        Heading("The system"),
        Paragraph(f"{optimizer.system.head.title} ({optimizer.system.head.name})."),
        *_system(derivation.system),
        Heading("The method"),
        Paragraph(f"{optimizer.method.head.title} ({optimizer.method.head.name})."),
        *_method(derivation.scheme, derivation.system),
        *_rotation(derivation.rotated, derivation.system),
        *_settings(derivation),
        *program_blocks(derivation.program),
    )


def _system(system: System) -> tuple[Block, ...]:
    gamma = lower(system.gamma)
    still = "" if system.temperature is None else "without noise"
    equations = Formulas(
        (
            Formula("K", lower(system.kinetic), remark="H = K(p) + J(q)"),
            Formula("q.", lower(tidy_scalars(system.gradient))),
            Formula("p.", _minus(Apply("grad_J", (Ref("q"),)), Apply("mul", (gamma, Ref("p"))))),
            Formula("dH/dt", lower(system.energy_rate()), remark=still),
        )
    )
    bath: tuple[Block, ...] = ()
    if system.temperature is not None:
        bath = (
            Paragraph(
                f"In a bath of temperature T = {written(system.temperature)}: the flow O adds to "
                "p' the noise sqrt(2 gamma m T) dW, for which exp(-H/T) is stationary."
            ),
        )
    return (
        Paragraph(
            "Vectors are written as their generic entry; sum(...) runs over all coordinates in "
            "scope."
        ),
        equations,
        *bath,
    )


def _minus(left: IrExpr, right: IrExpr) -> IrExpr:
    return Apply("add", (Apply("neg", (left,)), Apply("neg", (right,))))


def _composition(
    flows: Sequence[WeightedFlow], constants: Mapping[sp.Symbol, Expr]
) -> Iterator[Block]:
    """Flows in order, with what their letters are, and the constants in their weights."""
    letters = dict.fromkeys(flow.letter for flow in flows)
    exact = "" if "C" in letters else " of exact flows"
    yield Paragraph(f"A composition{exact}, in the order they are applied:")
    yield Facts(tuple((letter, _FLOW_NAMES[letter]) for letter in letters))
    yield Paragraph(" ".join(f"{flow.letter}({written(flow.weight)} h)" for flow in flows))
    if constants:
        numbers = constant_values(constants)
        yield Facts(
            tuple(
                (symbol.name, f"{written(expr)} = {sp.N(numbers[symbol], 16)}")
                for symbol, expr in constants.items()
            )
        )


def _method(scheme: Scheme, system: System | None) -> tuple[Block, ...]:
    blocks: list[Block] = []
    if scheme.flows:
        blocks += _composition(scheme.flows, scheme.constants)
    lines = tuple(
        Formula(line.target.name, _formula(line.value, system), "<-", _letter(line.flow))
        for line in scheme.lines
    )
    blocks.append(Paragraph("One step from time t, line by line:"))
    blocks.append(Formulas(lines))
    return tuple(blocks)


def _letter(flow: object) -> str:
    return getattr(flow, "letter", "")


def _formula(expr: Expr, system: System | None) -> IrExpr:
    """A line of a scheme in the IR; oracles and what is not known yet as named functions."""
    named: dict[Expr, IrExpr] = {}
    replaced: dict[Expr, Expr] = {}
    known = system.closed(expr) if system else expr
    calls = sorted(known.atoms(*_CALLED), key=sp.default_sort_key)
    for number, call in enumerate(reversed(calls)):
        symbol = Coordinate(f"call_{number}")
        replaced[call] = symbol
    for call, symbol in replaced.items():
        op = _CALLED[type(call)]
        args = tuple(_formula(arg, system) for arg in call.args)
        named[symbol] = Apply(op, args)
    lowered = lower(tidy_scalars(known.xreplace(replaced)))
    return _substituted(lowered, {symbol.name: value for symbol, value in named.items()})


def _substituted(expr: IrExpr, values: dict[str, IrExpr]) -> IrExpr:
    match expr:
        case Ref(name=name):
            return values.get(name, expr)
        case Apply(op=op, args=args):
            return Apply(op, tuple(_substituted(arg, values) for arg in args))
    return expr


def _rotation(rotated: Rotated, system: System | None) -> tuple[Block, ...]:
    """The stages that begin with a gradient, before the hyper-parameters are put in."""
    names = {b: "p", last_b: "p", new_b: "p_new"}
    blocks: list[Block] = [
        Heading("A step that begins with its gradient"),
        Paragraph(
            "The parameters x hold the point at which the gradient g is asked for"
            + (
                ", which is not the solution; what was before the first gradient of a step is "
                "done at the end of the step before. Names with last_ are values of the last step."
                if rotated.shifted
                else ", which is the solution."
            )
        ),
    ]
    for number, stage in enumerate(rotated.stages, start=1):
        if len(rotated.stages) > 1:
            blocks.append(Paragraph(f"Stage {number}:"))
        lines = [("p_new", stage.buffer), ("x_new", stage.point)]
        blocks.append(
            Formulas(
                tuple(
                    Formula(left, _formula(_named(right, names), system)) for left, right in lines
                )
            )
        )
    if rotated.shifted:
        position = _formula(_named(rotated.position, names), system)
        blocks += [Paragraph("The solution:"), Formulas((Formula("q", position),))]
    return tuple(blocks)


def _named(expr: Expr, names: dict[Coordinate, str]) -> Expr:
    return expr.xreplace({symbol: Coordinate(name) for symbol, name in names.items()})


def _settings(derivation: Derivation) -> tuple[Block, ...]:
    optimizer = derivation.optimizer
    lines = [Formula(symbol.name, lower(expr)) for symbol, expr in derivation.equations.items()]
    if optimizer.buffer_value is not None:
        unit = lower(derivation.unit)
        lines.append(Formula(optimizer.buffer, Apply("mul", (unit, Ref("p"))), remark="the buffer"))
    parameters = Facts(
        tuple(
            (
                parameter.name,
                f"default {float(parameter.default):g}, in {kinds.DOMAINS[parameter.domain]}"
                + (f"; {parameter.doc}" if parameter.doc else ""),
            )
            for parameter in derivation.program.hyperparameters
        )
    )
    return (
        Heading("The hyper-parameters"),
        parameters,
        Paragraph("What they mean for the system and the method:"),
        Formulas(tuple(lines)),
    )


def program_blocks(program: Program) -> tuple[Block, ...]:
    """The scalars of the host, and the functions of a step."""
    blocks: list[Block] = [Heading("The program")]
    if program.host.body:
        blocks.append(Paragraph("Scalars, computed once per step on the host:"))
        blocks.append(Formulas(tuple(Formula(line.name, line.expr) for line in program.host.body)))
    if program.host.memory:
        memory = ", ".join(f"{name} = {line}" for name, line in program.host.memory)
        blocks.append(Paragraph(f"Remembered for the next step (zero before the first): {memory}."))
    if program.start:
        blocks.append(Paragraph("The state begins at:"))
        blocks.append(function_formulas(program.start))
    for number, (index, row) in enumerate(zip(program.calls, program.host.rows, strict=True), 1):
        function = program.functions[index]
        pairs = zip(function.scalars, row, strict=True)
        values = ", ".join(f"{name} = {line}" for name, line in pairs if name != line)
        title = f"Stage {number}" if len(program.stages) > 1 else "Arrays, in place"
        if index in program.outer:
            before = program.averages and index != program.outer[-1]
            what = "What means over workers are taken of" if before else "The outer step"
            means = "" if before or not program.averages else ", after these means"
            title = f"{what}, where {program.host.closes} = 1{means}"
        blocks.append(Paragraph(f"{title}, with {values}:" if values else f"{title}:"))
        blocks.append(function_formulas(function))
    if program.shifted:
        pairs = zip(program.solution.scalars, program.host.solution, strict=True)
        values = ", ".join(f"{name} = {line}" for name, line in pairs)
        blocks.append(Paragraph(f"The solution, with {values}:" if values else "The solution:"))
        blocks.append(function_formulas(program.solution))
    return tuple(blocks)


def function_formulas(function: Function) -> Formulas:
    """The lines of a function."""
    return Formulas(tuple(formulas(function)))
