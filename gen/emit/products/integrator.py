"""An integrator as a product: the text that its generated files share.

In: an :class:`Integrator` with what was proved of its problem and its method.  Out: header,
docstring with the equations and the method, and the names under which coefficients are printed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from hamilforge.gen.declare import kinds
from hamilforge.gen.emit.printer import HostPrinter, Printer, formulas, spelled
from hamilforge.gen.emit.text import (
    Constant,
    chosen,
    class_name,
    constant,
    escaped,
    number,
    pair_digest,
    pair_header,
    parameter_table,
    tuple_text,
    wrapped,
)
from hamilforge.gen.program.integrators.integrator import (
    ConstrainedFlows,
    DiscreteGradient,
    Flows,
    Integrator,
    Lattice,
    Problem,
    TaylorSteps,
)
from hamilforge.gen.program.ir import Expr
from hamilforge.gen.program.stages import Coefficient, Row, Stages
from hamilforge.gen.prove.report import Report


@dataclass(frozen=True)
class IntegratorProduct:
    """What the templates of all backends read."""

    integrator: Integrator
    problem: kinds.Problem
    method: kinds.Integration
    method_report: Report
    separable: bool
    template: str = ""
    kind: ClassVar[str] = "integrator"

    @property
    def name(self) -> str:
        """``<problem>__<method>``."""
        return self.integrator.name

    @property
    def class_name(self) -> str:
        """The name of the module's class."""
        return class_name(self.name)

    @property
    def digest(self) -> str:
        """A digest of the declarations."""
        return pair_digest(self.problem, self.method)

    @cached_property
    def header(self) -> str:
        """Where the file comes from."""
        more = chosen(self.problem, self.method)
        return pair_header(self.problem.head, self.method.head, self.template, self.digest, more)

    @cached_property
    def docstring(self) -> str:
        """Title, equations, what was proved, references."""
        problem, method = self.problem.head, self.method.head
        lines = [*wrapped(f"{escaped(problem.title)}, by {escaped(method.title)}."), ""]
        for part in self.integrator.problem.parts:
            lines += [f"    {line}" for line in formulas(part.field)]
        own = self.integrator.problem.constraints
        if own:
            lines += [
                "",
                "less multipliers times gradients, in the rates of momenta, of what stays 0:",
                "",
            ]
            lines += [f"    {line}" for line in formulas(own.value)]
        energy = self.integrator.problem.energy
        if energy:
            lines += ["", *(f"    {line}" for line in formulas(energy.value))]
        lines += ["", *wrapped(self.proved)]
        for head in (problem, method):
            lines += ["", *wrapped(f"Reference: {escaped(head.reference)}")]
        return '"""' + "\n".join(lines) + '\n"""'

    @cached_property
    def proved(self) -> str:
        """What is known of the method on such a problem."""
        problem, step = self.integrator.problem, self.integrator.step
        order = self.method_report["order"]
        if self.separable and isinstance(self.method, kinds.Partitioned):
            order = self.method_report["separable_order"]
        facts = [f"Proved: order {order}"]
        match step:
            case Stages(symplectic=True) | Flows() | ConstrainedFlows():
                conformal = "conformal symplectic with the factor exp(-int gamma)"
                facts.append("symplectic" if problem.decay is None else conformal)
                if problem.constraints is not None:
                    facts.append("on the constraints and their velocities")
            case TaylorSteps():
                facts[0] += ", by Taylor coefficients that are the solution's"
                if step.looped:
                    facts.append("loops take like operations of these lines together")
            case DiscreteGradient():
                if isinstance(self.problem, kinds.System) or problem.decay is not None:
                    facts[0] += " for canonical equations without friction"
                taken = "H does not change" if problem.decay is None else "H falls by gamma p . dq"
                facts.append(f"{taken}, with p the mean of a step" if problem.rate else taken)
        return "; ".join(facts) + "."

    @cached_property
    def constants(self) -> tuple[Constant, ...]:
        """Every coefficient that the step names."""
        named = {
            full: coefficient
            for name, row in _named(self.integrator)
            for coefficient, full in _entries(name, row)
            if coefficient.value not in (0.0, 1.0)
        }
        return tuple(constant(full, coefficient) for full, coefficient in named.items())

    @cached_property
    def parameters(self) -> str:
        """The parameters with default, domain and meaning, as a Python dictionary."""
        return parameter_table(self.integrator.problem.parameters)

    @cached_property
    def components(self) -> str:
        """The names of the components; those of a lattice have the number of their site."""
        problem = self.integrator.problem
        if problem.lattice is None:
            return repr(problem.components)
        count = problem.lattice.count
        each = (f'*(f"{name}[{{i}}]" for i in range({count}))' for name in problem.components)
        return tuple_text(each)

    @cached_property
    def rows(self) -> str:
        """Of a lattice, where the entries of each component are."""
        problem = self.integrator.problem
        count = problem.lattice.count if problem.lattice else 0
        places = enumerate(problem.components if problem.lattice else ())
        each = (f'"{name}": ({k * count}, {(k + 1) * count})' for k, name in places)
        return f"{{{', '.join(each)}}}"

    @cached_property
    def start(self) -> str:
        """Where a trajectory begins by default."""
        if self.integrator.problem.lattice is not None:
            return _lattice_start(self.integrator.problem.lattice)
        values = self.integrator.problem.start
        if any(value is None for value in values):
            return "None"
        inner = ", ".join(number(value) for value in values if value is not None)
        return f"({inner}{',' if len(values) == 1 else ''})"


def _lattice_start(lattice: Lattice) -> str:
    """A start by a formula for each component, over the sites."""
    if any(value is None for value in lattice.start):
        return "None"
    printer = HostPrinter({lattice.name: str(lattice.count)})
    texts = (printer(value) for value in lattice.start if value is not None)
    each = (f"*(float({text}) for i in range({lattice.count}))" for text in texts)
    return tuple_text(each)


def spelling_of(
    problem: Problem,
    printer: type[Printer],
    arguments: Iterable[str],
    values: Iterable[Expr],
    targets: Iterable[str] = (),
) -> dict[str, str]:
    """How the variables of a function are written beside its arguments and what it calls.

    Args:
        problem: whose components and parameters are variables.
        printer: of the values.
        arguments: of the function.
        values: what its lines compute.
        targets: the variables that its lines set.

    Returns:
        Another spelling for each variable whose name is taken.
    """
    declared = (*problem.components, *(entry.name for entry in problem.parameters))
    taken = printer.names(values) | {*arguments}
    return spelled((*declared, *targets), taken)


def unpacked(problem: Problem, used: Container[str], spelling: Mapping[str, str]) -> list[str]:
    """Components, weights and parameters as variables, those that are used.

    Args:
        problem: whose components and parameters are variables.
        used: the names that occur.
        spelling: of variables whose names are taken.

    Returns:
        Assignments from ``state``, ``weights`` and ``parameters``, a line each.
    """
    sources = {name: f"state[{k}]" for k, name in enumerate(problem.components)}
    sources |= {f"w__{name}": f"weights[{k}]" for k, name in enumerate(problem.components)}
    sources |= {entry.name: f"parameters[{k}]" for k, entry in enumerate(problem.parameters)}
    return [
        f"{spelling.get(name, name)} = {source}" for name, source in sources.items() if name in used
    ]


def prefixes(step: Stages) -> tuple[str, ...]:
    """What distinguishes the names of the parts' coefficients: nothing where they are equal."""
    tables = zip(step.alpha, step.scale, step.weights, strict=True)
    same = len(set(tables)) == 1
    return ("",) * len(step.alpha) if same else ("Q", "P")


NONE = Coefficient(0.0)
#: What the numbers of friction and of constrained steps are called.
_OF_MOVES = {
    "T": ("start", "time"),
    "U": ("stop",),
    "P": ("before",),
    "S": ("drift",),
    "Q": ("after",),
}


def _named(integrator: Integrator) -> Iterator[tuple[str, Row]]:
    match integrator.step:
        case Stages() as step:
            for part, prefix in enumerate(prefixes(step)):
                for i, row in enumerate(step.alpha[part], start=1):
                    yield f"{prefix}A_{i}", row
                yield f"{prefix}B", step.scale[part]
                yield f"{prefix}W", step.weights[part]
                if step.error:
                    yield f"{prefix}E", step.error[part]
            for part, nodes in enumerate(step.nodes):
                yield f"C{part or ''}", nodes
            yield "D", step.clock
        case Flows(flows=flows):
            yield "S", tuple(flow.weight for flow in flows)
            yield "T", tuple(flow.start for flow in flows)
            yield "U", tuple(flow.stop for flow in flows)
        case ConstrainedFlows(moves=moves):
            for name, fields in _OF_MOVES.items():
                ends = (
                    next((getattr(move, x) for x in fields if hasattr(move, x)), NONE)
                    for move in moves
                )
                yield name, tuple(ends)
        case DiscreteGradient() as gradient:
            yield "C", gradient.nodes
            yield "B", gradient.weights


def _entries(name: str, row: Row) -> Iterator[tuple[Coefficient, str]]:
    for j, coefficient in enumerate(row, start=1):
        yield coefficient, f"{name}_{j}"
