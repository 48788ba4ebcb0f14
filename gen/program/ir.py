"""The intermediate representation: functions over arrays.

An expression is a constant, a reference, an operation or a choice, entry by entry.  A line sets an
array to an expression, a sum, a product or a transpose; a :class:`Function` is a straight-line
program of them, for every family: of an optimizer over all coordinates of its parameters, of an
integrator over components and sites, of a network over the vectors and matrices of a layer.  A
scalar is an array without axes.

Each family puts functions into the slots of its driver: :mod:`optimizers.optimizer`,
:mod:`integrators.integrator` and :mod:`networks.network`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from hamilforge.gen.declare.kinds import Shape
from hamilforge.gen.declare.matrix_functions import ALONG, BY_NAME, joined
from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    Epsilon,
    Identity,
    Loop,
    MatrixCall,
    OtherProducts,
    Outer,
    Product,
    Shift,
    Size,
    Stack,
    Transpose,
)

#: The axis of an optimizer's arrays: all entries of a parameter, whatever its shape.
COORDINATES: Shape = ("coordinates",)


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
class Select:
    """``then`` where ``subject == value``, else ``otherwise``."""

    subject: Expr
    value: Fraction
    then: Expr
    otherwise: Expr


@dataclass(frozen=True, slots=True)
class Reduce:
    """What the entries of an expression add up to; in a function it is a line of its own.

    Attributes:
        arg: the expression.
        how: ``sum`` or ``prod``; ``logsumexp`` is the logarithm of the sum of exponentials, without
            overflow.
        over: ``entries``, for each sample; in an optimizer over all tensors in the scope of a sum.
            Or ``samples``, for each entry.
    """

    arg: Expr
    how: str = "sum"
    over: str = "entries"


Expr = Const | Ref | Apply | Select | Reduce


@dataclass(frozen=True, slots=True)
class Repeat(Loop["Line"]):
    """A loop of these lines."""

    def renamed(self, names: Mapping[str, str]) -> Repeat:
        """The same with other names for what it reads and sets."""
        count, start, carried, end = (
            names.get(name, name) for name in (self.count, self.start, self.carried, self.end)
        )
        return Repeat(count, start, carried, with_line_names(self.lines, names), end)

    def within(self, result: str) -> Repeat:
        """The same where what is repeated has the name of the loop's result all the time."""
        return self.renamed({self.carried: result})


#: Operations on whole arrays.
WHOLE_ARRAYS = (
    Product
    | Outer
    | Transpose
    | Shift
    | Entry
    | Stack
    | OtherProducts
    | MatrixCall
    | Identity
    | Size
    | Epsilon
    | Repeat
)
#: What a line may compute.
Value = Expr | WHOLE_ARRAYS


@dataclass(frozen=True, slots=True)
class Line:
    """``target = value``.

    Attributes:
        note: what it is, for comments.
    """

    target: Array
    value: Value
    note: str = ""

    @property
    def name(self) -> str:
        """The name of what it sets."""
        return self.target.name

    @property
    def expr(self) -> Expr:
        """Its value, which is an expression.

        Raises:
            TypeError: it is an operation on whole arrays.
        """
        if isinstance(self.value, WHOLE_ARRAYS):
            raise TypeError(f"{self.name} is no expression but a {type(self.value).__name__}")
        return self.value


@dataclass(frozen=True, slots=True)
class Function:
    """A straight-line program; its types are checked where it is made.

    Attributes:
        inputs: what it reads that it does not compute; arrays and scalars.
        lines: every name is set once, after what it reads.
        results: for each name a result is returned under, the array that it is: the array that it
            becomes, or whose cotangent it is.

    Raises:
        TypeError: a line reads what is not there, sets a name twice, or does not fit its target.
    """

    name: str
    inputs: tuple[Array, ...]
    lines: tuple[Line, ...]
    results: tuple[tuple[str, Array], ...]

    def __post_init__(self) -> None:
        known = {array.name: array for array in self.inputs}
        if len(known) < len(self.inputs) or len(dict(self.results)) < len(self.results):
            raise TypeError(f"{self.name}: an input or a result is there twice")
        self._check(self.lines, known)
        for key, array in self.results:
            if known.get(array.name) != array:
                raise TypeError(f"{self.name}: the result {key} is no array of the function")

    def _check(self, lines: Iterable[Line], known: dict[str, Array]) -> None:
        """Types of lines; what they set becomes known."""
        for line in lines:
            unknown = [name for name in names(line.value) if name not in known]
            if unknown or line.name in known:
                what = f"reads unknown {unknown}" if unknown else "is set twice"
                raise TypeError(f"{self.name}: {line.name} {what}")
            if any(isinstance(part, Reduce) for part in inner(line.value)):
                raise TypeError(f"{self.name}: {line.name} has a sum inside an expression")
            if isinstance(line.value, Repeat):
                inside = {**known, line.value.carried: known[line.value.start]}
                self._check(line.value.lines, inside)
                if inside[line.value.end].shape != known[line.value.start].shape:
                    raise TypeError(f"{self.name}: {line.name} changes its shape")
            shape, batched = type_of(line.value, known)
            wide = joined(shape, line.target.shape)
            if wide != line.target.shape or batched > line.target.batched:
                raise TypeError(f"{self.name}: {line.name} is {line.target}, not {shape, batched}")
            known[line.name] = line.target

    @property
    def arrays(self) -> tuple[str, ...]:
        """The names of the inputs that are arrays, in order."""
        return tuple(array.name for array in self.inputs if not array.is_scalar)

    @property
    def scalars(self) -> tuple[str, ...]:
        """The names of the inputs that are scalars, in order."""
        return tuple(array.name for array in self.inputs if array.is_scalar)

    def reads(self, name: str) -> set[str]:
        """The inputs that are arrays and from which an array follows."""
        return needed(self.lines, (name,)) & {*self.arrays}

    @property
    def names(self) -> tuple[str, ...]:
        """All names: of inputs, then of lines."""
        return (*self.arrays, *self.scalars, *(array.name for array in self.targets))

    @property
    def types(self) -> dict[str, Array]:
        """All inputs and targets, by name."""
        return {array.name: array for array in (*self.inputs, *self.targets)}

    @property
    def targets(self) -> tuple[Array, ...]:
        """What its lines set, in order."""
        return tuple(line.target for line in self.lines)

    @property
    def sums(self) -> bool:
        """Whether it adds up entries."""
        return any(isinstance(line.value, Reduce) for line in self.lines)


def type_of(value: Value, arrays: Mapping[str, Array]) -> tuple[Shape, bool]:
    """The shape of a value, and whether it has one for each sample.

    Args:
        value: what a line computes.
        arrays: the arrays it reads, by name.

    Raises:
        TypeError: the operands do not fit.
    """
    batched = any(arrays[name].batched for name in names(value))
    match value:
        case Product(left, right, left_transposed, right_transposed):
            first, second = arrays[left].shape, arrays[right].shape
            first = first[::-1] if left_transposed else first
            second = second[::-1] if right_transposed else second
            if len(first) != 2 or first[-1] not in second[:1] or arrays[left].batched:
                raise TypeError(f"a product of {first} and {second}")
            return (first[0], *second[1:]), batched
        case Outer(left, right):
            shape = (*arrays[left].shape, *arrays[right].shape)
            if len(shape) != 2:
                raise TypeError(f"an outer product of {arrays[left]} and {arrays[right]}")
            return shape, False
        case Transpose(of):
            if len(arrays[of].shape) != 2 or batched:
                raise TypeError(f"the transpose of {arrays[of]}")
            return arrays[of].shape[::-1], False
        case Reduce(arg=arg, how="sum", over="samples") if batched:
            return type_of(arg, arrays)[0], False
        case Shift(of) | OtherProducts(of):
            if not arrays[of].shape or batched:
                raise TypeError(f"{type(value).__name__} of {arrays[of]}")
            return arrays[of].shape, False
        case Entry(of, place):
            own = arrays[of].shape
            if len(own) != 1 or (own[0].isdigit() and not 0 <= place < int(own[0])):
                raise TypeError(f"entry {place} of {arrays[of]}")
            return (), batched
        case Stack(of):
            if any(arrays[name].shape for name in of if name) or not any(of):
                raise TypeError(f"a vector of {of}")
            return (str(len(of)),), batched
        case MatrixCall(function, of):
            result = BY_NAME[function].shape(*(arrays[name].shape for name in of))
            if result is None or batched:
                raise TypeError(f"{function} of {[arrays[name] for name in of]}")
            return result, False
        case Identity(size, column):
            return (size, size if column is None else ALONG), False
        case Size() | Epsilon():
            return (), False
        case Repeat(start=start):
            return arrays[start].shape, batched
        case Reduce(arg=arg, how="sum" | "prod" | "logsumexp", over="entries"):
            if not type_of(arg, arrays)[0]:
                raise TypeError(f"a sum of what has no entries: {arg}")
            return (), batched
        case Reduce():
            raise TypeError(f"no sum: {value.how} over {value.over}")
    common: Shape = ()
    for name in names(value):
        wider = joined(common, arrays[name].shape)
        if wider is None:
            raise TypeError(f"entry by entry over {common} and {arrays[name].shape}")
        common = wider
    return common, batched


def entries(name: str) -> Array:
    """An array of an optimizer: an entry for each coordinate."""
    return Array(name, COORDINATES)


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


def parts(value: Value) -> Iterator[Expr]:
    """The expression of a line and everything below it; nothing of operations on whole arrays."""
    if not isinstance(value, WHOLE_ARRAYS):
        yield from walk(value)


def inner(value: Value) -> Iterator[Expr]:
    """What is below the expression of a line."""
    expressions = parts(value)
    next(expressions, None)
    return expressions


def with_parts(expr: Expr, parts: Mapping[str, Expr]) -> Expr:
    """The same with expressions in the place of names."""

    def visit(part: Expr) -> Expr:
        match part:
            case Ref(name=name):
                return parts.get(name, part)
            case Apply(op=op, args=args):
                return Apply(op, tuple(map(visit, args)))
            case Reduce(arg=arg):
                return replace(part, arg=visit(arg))
            case Select(subject=subject, value=value, then=then, otherwise=otherwise):
                return Select(visit(subject), value, visit(then), visit(otherwise))
        return part

    return visit(expr)


def with_names(value: Value, names: Mapping[str, str]) -> Value:
    """The same with other names for what it reads."""
    match value:
        case Product(left=left, right=right) | Outer(left=left, right=right):
            return replace(value, left=names.get(left, left), right=names.get(right, right))
        case Transpose(of=of) | Shift(of=of) | OtherProducts(of=of) | Epsilon(of=of):
            return replace(value, of=names.get(of, of))
        case Entry(of=of):
            return replace(value, of=names.get(of, of))
        case MatrixCall(of=operands) | Stack(of=operands):
            return replace(value, of=tuple(names.get(of, of) for of in operands))
        case Identity() | Size():
            return value
        case Repeat():
            return value.renamed(names)
    return with_parts(value, {old: Ref(new) for old, new in names.items()})


def with_line_names(lines: tuple[Line, ...], names: Mapping[str, str]) -> tuple[Line, ...]:
    """Lines with other names for what they set and read."""
    return tuple(
        replace(
            line,
            target=replace(line.target, name=names.get(line.name, line.name)),
            value=with_names(line.value, names),
        )
        for line in lines
    )


def renamed(function: Function, names: Mapping[str, str]) -> Function:
    """A function with other names for its inputs and lines, and for the results called so."""

    def named(array: Array) -> Array:
        return replace(array, name=names.get(array.name, array.name))

    return Function(
        function.name,
        tuple(map(named, function.inputs)),
        with_line_names(function.lines, names),
        tuple((names.get(key, key), named(array)) for key, array in function.results),
    )


def names(value: Value) -> tuple[str, ...]:
    """The names that a value reads, each once, in order of occurrence."""
    match value:
        case Product(left=left, right=right) | Outer(left=left, right=right):
            return tuple(dict.fromkeys((left, right)))
        case Transpose(of=of) | Shift(of=of) | OtherProducts(of=of) | Epsilon(of=of):
            return (of,)
        case Entry(of=of):
            return (of,)
        case MatrixCall(of=operands) | Stack(of=operands):
            return tuple(dict.fromkeys(of for of in operands if of))
        case Identity() | Size():
            return ()
        case Repeat():
            return value.outside(lambda line: names(line.value))
    return tuple(dict.fromkeys(part.name for part in walk(value) if isinstance(part, Ref)))


def needed(lines: Sequence[Line], wanted: Iterable[str]) -> set[str]:
    """All names from which some follow, with these.

    Args:
        lines: each set after what it reads.
        wanted: names of lines, or of what they read.
    """
    known = {*wanted}
    for line in reversed(lines):
        known |= {*names(line.value)} if line.name in known else set()
    return known


def squared_in(value: Value) -> str | None:
    """The array of whose squares a value is the sum; None if it is none."""
    match value:
        case Reduce(arg=Apply(op="mul", args=(Ref(name=left), Ref(name=right)))) if left == right:
            return left
        case Reduce(arg=Apply(op="pow", args=(Ref(name=name), Const(value=exponent)))):
            return name if exponent == 2 else None
    return None
