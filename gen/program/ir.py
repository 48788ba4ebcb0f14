"""The intermediate representation: functions in drivers.

An expression is a constant, a reference, an operation, a sum over the coordinates, or a choice.
A :class:`Function` is a straight-line program over scalars and arrays with one axis, the
coordinates.  A :class:`Program` puts functions into the stages of an optimizer step; what its
scalars are worth is computed on the host by :class:`Host`, once per step.

A vector-valued oracle is an input of a function; a further driver (trajectory, sweep, Newton) is a
further class beside :class:`Program` with slots for functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from hamilforge.gen.declare.kinds import Parameter


@dataclass(frozen=True, slots=True)
class Const:
    """An exact number."""

    value: Fraction


@dataclass(frozen=True, slots=True)
class Ref:
    """A scalar or an array by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation: ``add mul`` (n-ary), ``neg div pow``, a function; a constant has no args."""

    op: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Reduce:
    """The sum of an array expression over all coordinates in the program's scope."""

    arg: Expr


@dataclass(frozen=True, slots=True)
class Select:
    """``then`` where ``subject == value``, else ``otherwise``."""

    subject: Expr
    value: Fraction
    then: Expr
    otherwise: Expr


Expr = Const | Ref | Apply | Reduce | Select


@dataclass(frozen=True, slots=True)
class Assign:
    """One line of a function.

    Attributes:
        level: ``host`` (before any array is read), ``reduced`` (after a sum) or ``array``.
        note: what it is, for comments.
    """

    target: str
    value: Expr
    level: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Function:
    """A straight-line program.

    Attributes:
        arrays: the arrays it reads, in order: point, buffer, gradient.
        scalars: the host scalars it is given.
        body: its lines; every name is assigned once.
        results: which array each local becomes.
    """

    name: str
    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    body: tuple[Assign, ...]
    results: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Host:
    """The scalars of a step: from hyper-parameters, time ``t``, number ``n`` and memory.

    Attributes:
        inputs: hyper-parameters, then ``t`` and ``n`` where they occur.
        constants: named numbers, exactly.
        body: the lines.
        rows: for each stage, the line that is each scalar of its function.
        memory: what the next step remembers: name and line; zero before the first step.
        solution: for the solution map, the line that is each of its scalars.
        guards: lines that must exceed a number: a time before which the friction has no meaning.
        step: the line by which the clock advances; empty where nothing depends on the time.
    """

    inputs: tuple[str, ...]
    constants: tuple[Assign, ...]
    body: tuple[Assign, ...]
    rows: tuple[tuple[str, ...], ...]
    memory: tuple[tuple[str, str], ...]
    solution: tuple[str, ...]
    guards: tuple[tuple[str, Fraction], ...]
    step: str


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a step begins and ends in q and p, for proofs; ``last__`` marks what the last step had.

    Attributes:
        position: q in ``x`` and the buffer.
        momentum: p in the buffer and, where kicks of two steps were joined, ``g`` at ``x``.
        buffer: the buffer in ``p`` and ``g`` at the point.
        point: the point in ``q`` and the buffer.
    """

    position: Expr
    momentum: Expr
    buffer: Expr
    point: Expr


@dataclass(frozen=True, slots=True)
class Program:
    """An optimizer step: a schedule of stages, each beginning with a gradient.

    Attributes:
        hyperparameters: what the user sets, in order.
        settings: what h and the parameters of system and method are, in the hyper-parameters.
        states: the names of the state's arrays, zero before the first step.
        scope: over what sums run; ``coordinate`` where there are none.
        functions: the different functions of the stages.
        stages: for each stage, the index of its function.
        solution: the map from the point to the solution.
        shifted: whether the point is not the solution.
        boundary: the ends of a step in q and p, for proofs; None where there are none.
        start_time: t at the first step.
    """

    name: str
    hyperparameters: tuple[Parameter, ...]
    settings: tuple[Assign, ...]
    states: tuple[str, ...]
    scope: str
    host: Host
    functions: tuple[Function, ...]
    stages: tuple[int, ...]
    solution: Function
    shifted: bool
    boundary: Boundary | None
    start_time: Fraction

    @property
    def buffer(self) -> str:
        """The one array that a rule made of a Hamiltonian keeps."""
        (name,) = self.states
        return name


def walk(expr: Expr) -> Iterator[Expr]:
    """An expression and everything below it."""
    yield expr
    match expr:
        case Apply(args=args):
            for arg in args:
                yield from walk(arg)
        case Reduce(arg=arg):
            yield from walk(arg)
        case Select(subject=subject, then=then, otherwise=otherwise):
            for part in (subject, then, otherwise):
                yield from walk(part)


def renamed(function: Function, names: Mapping[str, str]) -> Function:
    """A function with other names for its arrays, scalars and locals."""

    def name(old: str) -> str:
        return names.get(old, old)

    def visit(expr: Expr) -> Expr:
        match expr:
            case Ref(name=old):
                return Ref(name(old))
            case Apply(op=op, args=args):
                return Apply(op, tuple(map(visit, args)))
            case Reduce(arg=arg):
                return Reduce(visit(arg))
            case Select(subject=subject, value=value, then=then, otherwise=otherwise):
                return Select(visit(subject), value, visit(then), visit(otherwise))
        return expr

    return Function(
        function.name,
        tuple(map(name, function.arrays)),
        tuple(map(name, function.scalars)),
        tuple(
            Assign(name(line.target), visit(line.value), line.level, line.note)
            for line in function.body
        ),
        tuple((name(array), name(local)) for array, local in function.results),
    )


def names(expr: Expr) -> tuple[str, ...]:
    """The names an expression refers to, each once, in order of occurrence."""
    return tuple(dict.fromkeys(part.name for part in walk(expr) if isinstance(part, Ref)))


def squared_in(expr: Expr) -> str | None:
    """The array of whose squares an expression is the sum; None if it is none."""
    match expr:
        case Reduce(arg=Apply(op="mul", args=(Ref(name=one), Ref(name=other)))) if one == other:
            return one
        case Reduce(arg=Apply(op="pow", args=(Ref(name=name), Const(value=exponent)))):
            return name if exponent == 2 else None
    return None
