"""The functions of a problem as numba prints them: scalars in, entries of arrays out.

In: a problem and the step that will call them.  Out: views with finished lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from hamilforge.gen.emit.integrator_product import safe
from hamilforge.gen.emit.printer import Printer
from hamilforge.gen.program.integrator import (
    DiscreteGradient,
    Flows,
    Integrator,
    Matrix,
    Part,
    Problem,
    Stages,
)
from hamilforge.gen.program.ir import Expr, Function, Ref, names
from hamilforge.gen.program.lower import mul


class _Printer(Printer):
    """Real or complex scalars."""

    functions: ClassVar[Mapping[str, str]] = {
        **{
            name: f"np.{name}"
            for name in "exp expm1 log log1p sign sin cos tan sinh cosh tanh sqrt".split()
        },
        "atan": "np.arctan",
        "abs": "abs",
        "log_cosh": "_log_cosh",
        "logistic": "_logistic",
        "softplus": "_softplus",
    }

    def call(self, op: str, args: list[str]) -> str:
        """A function; two are written out."""
        if op == "relu":
            return f"np.maximum({args[0]}, 0.0)"
        if op == "step":
            return f"(0.5 + 0.5 * np.sign({args[0]}))"
        return super().call(op, args)


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function of the problem: its arguments and its lines."""

    name: str
    arguments: str
    doc: str
    lines: tuple[str, ...]
    plain: bool = False

    @property
    def decorator(self) -> str:
        """How it is compiled; not at all where it is called once a run, from Python."""
        if self.plain:
            return ""
        inner = self.name in ("jacobian", "hessian", "structure", "structure_slope")
        return "@njit(**INNER)" if inner else "@njit(**ENTRY)"


def functions(integrator: Integrator) -> list[FunctionView]:
    """All functions of the problem that the step, and users, will call."""
    problem, step = integrator.problem, integrator.step
    found = []
    if not isinstance(step, DiscreteGradient):
        found += [_field(problem, part) for part in problem.parts]
    if isinstance(step, Stages) and any(block.implicit for block in step.blocks):
        found.append(_matrix(problem, problem.jacobian, "df/dy, where it is not zero."))
    if problem.energy:
        inside = isinstance(step, DiscreteGradient)
        found.append(_scalar(problem, "energy", problem.energy.value, "H.", not inside))
        found.append(
            _scalar(
                problem, "energy_size", problem.energy.size, "The sum of the sizes of H's terms."
            )
        )
        if isinstance(step, DiscreteGradient):
            whole = Part(
                "gradient",
                0,
                len(problem.components),
                problem.energy.gradient,
                problem.energy.gradient,
                (),
            )
            found.append(_field(problem, whole))
            found.append(_matrix(problem, problem.energy.hessian, "The Hessian of H."))
            assert problem.structure is not None
            found.append(_matrix(problem, problem.structure, "S, where it is not zero."))
            if problem.structure_slope:
                doc = "The derivative of S w by y for a vector w, where it is not zero."
                found.append(_matrix(problem, problem.structure_slope, doc, ", weights"))
    for name, function in problem.invariants:
        found.append(_scalar(problem, f"i_{name}", function, "An invariant."))
    if problem.decay is not None:
        found.append(_span(problem, "decay", problem.decay, "exp(-int gamma) over a time span."))
    if problem.rate is not None and isinstance(step, DiscreteGradient):
        lines = _unpacked(problem, names(problem.rate))
        text = _Printer(_renamed(problem))(problem.rate)
        found.append(
            FunctionView("friction", "t, parameters", "gamma.", (*lines, f"return {text}"))
        )
    if isinstance(step, Flows) and step.impulse is not None:
        doc = "The integral of the friction factor to the end of a time span."
        found.append(_span(problem, "impulse", step.impulse, doc))
    return found


def _renamed(problem: Problem) -> dict[str, str]:
    every = (*problem.components, *(entry.name for entry in problem.parameters))
    return {name: safe(name) for name in every if safe(name) != name}


def _unpacked(problem: Problem, used: Sequence[str]) -> list[str]:
    """Components and parameters as locals, those that are used."""
    lines = [
        f"{safe(name)} = state[{k}]" for k, name in enumerate(problem.components) if name in used
    ]
    lines += [
        f"w_{name} = weights[{k}]"
        for k, name in enumerate(problem.components)
        if f"w_{name}" in used
    ]
    lines += [
        f"{safe(entry.name)} = parameters[{k}]"
        for k, entry in enumerate(problem.parameters)
        if entry.name in used
    ]
    return lines


def _body(
    problem: Problem, function: Function, factor: Expr | None = None
) -> tuple[list[str], list[str]]:
    """The lines up to the results, and the texts of the results, times a factor."""
    printer = _Printer(_renamed(problem))
    used = {name for line in function.body for name in names(line.value)}
    lines = _unpacked(problem, [name for name in function.scalars if name in used])
    results = {local for _, local in function.results}
    lines += [
        f"{line.target} = {printer(line.value)}"
        for line in function.body
        if line.target not in results
    ]
    values = [line.value for line in function.body if line.target in results]
    if factor is not None:
        values = [mul(factor, value) for value in values]
    return lines, list(map(printer, values))


def _field(problem: Problem, part: Part) -> FunctionView:
    lines, texts = _body(problem, part.field, Ref("factor"))
    lines += [f"out[{part.start + k}] = {text}" for k, text in enumerate(texts)]
    rates = ", ".join(f"{name}'" for name in problem.components[part.start : part.stop])
    doc = f"The right-hand sides {rates}, times a factor."
    if part.name == "gradient":
        doc = "The gradient of H, times a factor."
    return FunctionView(part.name, "t, state, parameters, factor, out", doc, tuple(lines))


def _matrix(problem: Problem, matrix: Matrix, doc: str, more: str = "") -> FunctionView:
    lines, texts = _body(problem, matrix.function)
    lines += [
        f"out[{row}, {column}] = {text}"
        for (row, column), text in zip(matrix.places, texts, strict=True)
    ]
    arguments = f"t, state, parameters{more}, out"
    return FunctionView(matrix.function.name, arguments, doc, tuple(lines) or ("pass",))


def _scalar(
    problem: Problem, name: str, function: Function, doc: str, plain: bool = True
) -> FunctionView:
    lines, (text,) = _body(problem, function)
    return FunctionView(name, "t, state, parameters", doc, (*lines, f"return {text}"), plain)


def _span(problem: Problem, name: str, value: Expr, doc: str) -> FunctionView:
    lines = _unpacked(problem, names(value))
    text = _Printer(_renamed(problem))(value)
    return FunctionView(name, "start, stop, parameters", doc, (*lines, f"return {text}"))
