"""A product: one optimizer, proved, with all the text that its generated files share.

In: a derivation and its report.  Out: header, docstring, and the interface that every backend's
file offers to the runtime: the hyper-parameters, the host scalars, and what is remembered.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.read_loops import WORKERS
from hamilforge.gen.derive.symbols import LOSS
from hamilforge.gen.digests import runtime_digest
from hamilforge.gen.emit.printer import FormulaPrinter, HostPrinter, formulas, spelled, words
from hamilforge.gen.emit.text import alone_header, class_name, escaped, number, tuple_text, wrapped
from hamilforge.gen.program.algebra import evaluate
from hamilforge.gen.program.ir import Line, Select, needed
from hamilforge.gen.program.lower import ONE
from hamilforge.gen.program.optimizers.build import Derivation
from hamilforge.gen.program.optimizers.build_matrix import MatrixDerivation
from hamilforge.gen.program.optimizers.build_rule import RuleDerivation
from hamilforge.gen.program.optimizers.draws import draws
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.reference import FLOAT64
from hamilforge.gen.prove.report import Report

#: Names that the interface of an optimizer and the files around it use.
_TAKEN = words(
    "numba/optimizers/optimizer.py.jinja",
    "torch/optimizers/optimizer.py.jinja",
    "STATES STARTED SCOPE COUNTS START_TIME HYPERPARAMETERS TUPLES OPTIONS DECAYING SHIFTED MEMORY "
    "LOSS CLOSES DECOUPLED HELD SHARED AVERAGES COMMON WORKERS NOISE check_requirements rows "
    "coefficients "
    "solution_row start_row raise BeforeStart Unmet t n",
)


@dataclass(frozen=True)
class Product:
    """What the templates of all backends read."""

    derivation: Derivation | RuleDerivation | MatrixDerivation
    report: Report
    template: str = ""
    kind: ClassVar[str] = "optimizer"

    @property
    def name(self) -> str:
        """The optimizer's name."""
        return self.program.name

    @property
    def program(self) -> Program:
        """The program."""
        return self.derivation.program

    @property
    def class_name(self) -> str:
        """The name of the optimizer's class."""
        return class_name(self.name)

    @cached_property
    def header(self) -> str:
        """Where the file comes from."""
        optimizer = self.derivation.optimizer
        named = " and the system and method it names" * isinstance(optimizer, kinds.Optimizer)
        return alone_header(optimizer, self.template, named)

    @cached_property
    def docstring(self) -> str:
        """Title, formulas, what was proved, reference."""
        head = self.derivation.optimizer.head
        lines = [*wrapped(escaped(head.title) + "."), ""]
        lines += [f"    {line}" for line in self.formulas]
        proved = wrapped(self.report.sentence())
        lines += ["", *proved] if proved else []
        lines += ["", *wrapped(f"Reference: {escaped(head.reference)}")]
        return '"""' + "\n".join(lines) + '\n"""'

    @cached_property
    def formulas(self) -> list[str]:
        """The lines of each function, and of the solution map."""
        functions = [*self.program.functions]
        if self.program.start:
            functions.insert(0, self.program.start)
        if self.program.shifted:
            functions.append(self.program.solution)
        lines = []
        for function in functions:
            if len(functions) > 1:
                lines.append(f"{function.name}:")
            lines += formulas(function)
        return lines

    @property
    def refusals(self) -> str:
        """The errors that the host scalars raise."""
        host = self.program.host
        return ", ".join(["BeforeStart"] * bool(host.guards) + ["Unmet"] * bool(host.requirements))

    @property
    def started(self) -> tuple[str, ...]:
        """The states that do not begin at zero."""
        start = self.program.start
        return tuple(name for name, _ in start.results) if start else ()

    @property
    def arguments(self) -> tuple[tuple[str, tuple[kinds.Parameter, ...]], ...]:
        """What the class takes: each hyper-parameter by its name, the parts of a tuple by its."""
        return tuple(
            (name, tuple(parts))
            for name, parts in itertools.groupby(
                self.program.hyperparameters, lambda entry: entry.part_of or entry.name
            )
        )

    @property
    def interface(self) -> str:
        """The constants and the host scalars, in Python."""
        return self._interface[0]

    @property
    def uses_math(self) -> bool:
        """Whether the host scalars need :mod:`math`."""
        return self._interface[1]

    @cached_property
    def _interface(self) -> tuple[str, bool]:
        program, host = self.program, self.program.host
        printer = HostPrinter(self._spelling)
        variable = printer.variable
        memory = tuple(name for name, _ in host.memory)
        table = ", ".join(
            f'"{entry.name}": ({default(entry)}, "{entry.domain}")'
            for entry in program.hyperparameters
        )
        parts_of = {
            name: tuple_text(f'"{part.name}"' for part in parts)
            for name, parts in self.arguments
            if parts[0].part_of
        }
        tuples = ", ".join(f'"{name}": {text}' for name, text in parts_of.items())
        options = ", ".join(
            f'"{name}": {value if isinstance(value, bool) else number(value)}'
            for name, value in program.options
        )
        choices = {entry.name: entry.choices for entry in program.hyperparameters if entry.choices}
        body = []
        tests = []
        for test, message in host.requirements:
            condition = printer.test(Select(test, Fraction(1), ONE, ONE))
            tests += [f"if not {condition}:", f"    raise Unmet({json.dumps(message)})"]
        body += [f"{variable(line.name)} = {printer(line.value)}" for line in host.body]
        start = [f"    {variable(line.name)} = {printer(line.value)}" for line in host.start]
        for name, bound in host.guards:
            body += [
                f"if not {variable(name)} > {number(bound)}:",
                f"    raise BeforeStart({variable(name)})",
            ]
        uses_math = "math" in printer.need
        namespace = ("*", "math=math") if uses_math else ()
        hyper = tuple(entry.name for entry in program.hyperparameters)
        loss = (LOSS,) if program.reads_loss else ()
        workers = (WORKERS,) if program.counts_workers else ()
        own = (*map(variable, hyper), *workers)
        given = (*map(variable, hyper), "t", "n", *memory, *loss, *workers)
        parameters = ", ".join((*given, *namespace))
        rows = [f"({_tuple(tuple(map(variable, row)))})" for row in host.rows]
        stages = rows[: len(program.stages)]
        returned = f"({', '.join(stages)},)"
        if host.closes:
            (closes,) = (line.expr for line in host.body if line.name == host.closes)
            ends = printer.test(Select(closes, Fraction(1), ONE, ONE))
            body += [f"rows = {returned}", f"if {ends}:"]
            body += [f"    rows = (*rows, {', '.join(rows[len(stages) :])})"]
            returned = "rows"
        kept = _tuple(tuple(variable(line) for _, line in host.memory))
        lines = [
            f"STATES = ({_tuple(tuple(map(repr, program.states)))})",
            f"STARTED = ({_tuple(tuple(map(repr, self.started)))})",
            f'SCOPE = "{program.scope}"',
            f'COUNTS = "{program.counts}"',
            f"START_TIME = {number(program.start_time)}",
            f"HYPERPARAMETERS = {{{table}}}",
            f"TUPLES = {{{tuples}}}",
            *([f"CHOICES = {json.dumps(choices)}"] if choices else []),
            f"OPTIONS = {{{options}}}",
            f"DECAYING = ({_tuple(tuple(map(str, program.decaying)))})",
            f"SHIFTED = {program.shifted}",
            f"LOSS = {program.reads_loss}",
            f"CLOSES = {len(program.outer)}",
            *([f"DECOUPLED = {self._decouples}"] if host.closes else []),
            *([f"HELD = ({_tuple(tuple(map(repr, program.held)))})"] if host.closes else []),
            *([f"SHARED = ({_tuple(tuple(map(repr, program.shared)))})"] * bool(program.shared)),
            f"AVERAGES = ({_tuple(tuple(map(repr, program.averages)))})",
            *([f"COMMON = ({_tuple(tuple(map(repr, program.common)))})"] * bool(program.averages)),
            *(["WORKERS = True"] * program.counts_workers),
            f"NOISE = ({_tuple(self._noise)})",
            f"MEMORY = ({_tuple(tuple(repr(name) for name in memory))})",
            *(self._constant(line) for line in host.constants),
            *self._requirements(tests, own),
            "",
            "",
            f"def coefficients({parameters}):",
            '    """Scalars of a step: a row per stage, the new memory, the step of the clock."""',
            *(f"    {line}" for line in body),
            f"    return {returned}, ({kept}), {variable(host.step) or '0.0'}",
        ]
        if program.shifted:
            lines += [
                "",
                "",
                f"def solution_row({', '.join(memory)}):",
                '    """Scalars of the map from the point to the solution."""',
                f"    return ({_tuple(host.solution)})",
            ]
        if program.start:
            lines += [
                "",
                "",
                f"def start_row({', '.join((*map(variable, hyper), *namespace))}):",
                '    """Scalars of the start of the state."""',
                *start,
                f"    return ({_tuple(tuple(map(variable, host.start_row)))})",
            ]
        return "\n".join(lines), uses_math

    def _requirements(self, tests: Sequence[str], parameters: Sequence[str]) -> list[str]:
        """A function that refuses hyper-parameters; nothing for a rule that allows all."""
        if not tests:
            return []
        return [
            "",
            "",
            f"def check_requirements({', '.join(parameters)}):",
            '    """Refuse hyper-parameters that the rule does not allow together."""',
            *(f"    {line}" for line in tests),
        ]

    @property
    def _decouples(self) -> bool:
        """Whether lr is the step inside a loop, by which decoupled decay goes, and that alone."""
        host = self.program.host
        reads = []
        inside = len(self.program.stages)
        for row in (itertools.chain(*host.rows[:inside]), itertools.chain(*host.rows[inside:])):
            reads.append("lr" in needed(host.body, row))
        return reads == [True, False]

    @property
    def _noise(self) -> tuple[str, ...]:
        """For each stage its draws: the occurrence, and which scalar of its row multiplies it."""
        program = self.program
        if not program.noises:
            return ()
        stages = (program.functions[index] for index in program.calls)
        return tuple(
            "("
            + _tuple(
                tuple(
                    f"({draw.occurrence}, {_place(draw.amplitude, stage.scalars)})"
                    for draw in draws(program, stage)
                )
            )
            + ")"
            for stage in stages
        )

    def _constant(self, line: Line) -> str:
        """A named number in float64, with its exact form beside it."""
        exact = FormulaPrinter()(line.value).replace(" ", "")
        value = evaluate(line.value, self._constant_values, FLOAT64)
        return f"{self._spelling.get(line.name, line.name)} = {float(value)!r}  # {exact}"

    @cached_property
    def _spelling(self) -> dict[str, str]:
        """How host scalars are written beside what else generated files mean by a name."""
        host = self.program.host
        own = (entry.name for entry in self.program.hyperparameters)
        lines = (*host.constants, *host.body, *host.start)
        taken = HostPrinter.names(line.value for line in lines) | _TAKEN
        return spelled((*own, *(line.name for line in lines)), taken)

    @cached_property
    def _constant_values(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for line in self.program.host.constants:
            values[line.name] = float(evaluate(line.value, values, FLOAT64))
        return values

    @cached_property
    def pointers_digest(self) -> str:
        """The digest of the runtime module whose code is compiled into kernels."""
        return runtime_digest("pointers")


def default(parameter: kinds.Parameter) -> str:
    """The default of a hyper-parameter in Python."""
    value = parameter.default
    if parameter.choices:
        return repr(parameter.choices[int(value)]).replace("'", '"')
    if parameter.domain == kinds.OR_NONE and value < 0:
        return "None"
    if parameter.domain == kinds.COUNT:
        return str(int(value))
    return str(bool(value)) if parameter.domain == kinds.FLAG else number(value)


def _place(name: str, names: tuple[str, ...]) -> int | None:
    return names.index(name) if name in names else None


def _tuple(names: tuple[str, ...]) -> str:
    return ", ".join(names) + ("," if len(names) == 1 else "")
