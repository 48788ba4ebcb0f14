"""The story of a declaration: from the Hamiltonian to the lines that run.

In: a declaration.  Out: a document; everything in it is taken from the derivation and the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import sympy as sp

from hamilforge.gen import families
from hamilforge.gen.declare import kinds
from hamilforge.gen.derive.calculus import Coordinate, Expr, tidy_scalars, written
from hamilforge.gen.derive.integrators.field import derive_field
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
from hamilforge.gen.document.lines import formulas
from hamilforge.gen.program.integrators.build import build_integrator
from hamilforge.gen.program.ir import Apply, Function, Program, Ref
from hamilforge.gen.program.ir import Expr as IrExpr
from hamilforge.gen.program.lower import lower
from hamilforge.gen.program.networks.build import build_network
from hamilforge.gen.program.optimizers.build import Derivation, derive
from hamilforge.gen.program.optimizers.build_matrix import derive_matrix_optimizer
from hamilforge.gen.program.optimizers.build_rule import derive_rule
from hamilforge.gen.prove.report import Report, shown
from hamilforge.gen.tableau.build import root_of
from hamilforge.gen.tableau.modified import Modified

_FLOW_NAMES = {
    "A": "drift: the exact flow of K",
    "B": "kick: the exact flow of J",
    "D": "friction: the exact flow of p' = -gamma p",
    "BD": "kick and friction together, q fixed",
    "P": "friction of the force -gamma p/m of the space around a manifold, D without one",
    "C": "kick, drift and kick with multipliers that keep points and velocities on the manifold",
    "O": "friction with noise: the exact flow of dp = -gamma p dt + sqrt(2 gamma m T) dW",
}


def tell(declaration: kinds.Declaration, report: Report) -> Document:
    """The document of a declaration."""
    parts = families.kind_of(declaration).tell(declaration, report)
    return (*_head(declaration.head), *parts, *_proved(report))


def tell_hamiltonian(declaration: kinds.Hamiltonian, _: Report) -> tuple[Block, ...]:
    """The system of a Hamiltonian for optimizers."""
    return (*_system(derive_system(declaration)),)


def tell_rule(rule: kinds.Rule, _: Report) -> tuple[Block, ...]:
    """The assignments of a rule as declared, and its program."""
    return (
        Heading("The rule"),
        *_assigned(rule),
        *_program(derive_rule(rule).program),
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
        of_vectors.append(_function(derivation.of_vectors))
    return (*blocks, *_program(derivation.program), *of_vectors)


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
        *_program(derive_matrix_optimizer(optimizer).program),
    )


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
    return (*blocks, *_program(derive_rule(optimizer).program))


def tell_scheme(declaration: kinds.Splitting | kinds.Update, _: Report) -> tuple[Block, ...]:
    """A method for any system, and what is left of it between two gradients."""
    scheme = derive_scheme(declaration, {})
    return (*_method(scheme, None), *_rotation(rotate(scheme), None))


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
        *_program(derivation.program),
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


#: Functions that are not known before there is a system, as documents call them.
_CALLED: dict[type, str] = {
    Grad: "grad_J",
    Velocity: "velocity",
    Decay: "decay",
    Impulse: "impulse",
    Heat: "heat",
}


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


def _program(program: Program) -> tuple[Block, ...]:
    blocks: list[Block] = [Heading("The program")]
    if program.host.body:
        blocks.append(Paragraph("Scalars, computed once per step on the host:"))
        blocks.append(Formulas(tuple(Formula(line.name, line.expr) for line in program.host.body)))
    if program.host.memory:
        memory = ", ".join(f"{name} = {line}" for name, line in program.host.memory)
        blocks.append(Paragraph(f"Remembered for the next step (zero before the first): {memory}."))
    if program.start:
        blocks.append(Paragraph("The state begins at:"))
        blocks.append(_function(program.start))
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
        blocks.append(_function(function))
    if program.shifted:
        pairs = zip(program.solution.scalars, program.host.solution, strict=True)
        values = ", ".join(f"{name} = {line}" for name, line in pairs)
        blocks.append(Paragraph(f"The solution, with {values}:" if values else "The solution:"))
        blocks.append(_function(program.solution))
    return tuple(blocks)


def _function(function: Function) -> Formulas:
    return Formulas(tuple(formulas(function)))


def _proved(report: Report) -> tuple[Block, ...]:
    items = []
    for finding in report.findings:
        value = shown(finding)
        items.append((finding.name.replace("_", " "), f"{value} (by {finding.evidence})"))
    notes = tuple(Paragraph(note) for note in report.notes)
    return (Heading("What is proved"), Facts(tuple(items)), *notes)
