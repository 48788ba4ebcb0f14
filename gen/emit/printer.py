"""IR expressions as Python text, with as few parentheses as precedence allows.

A backend subclasses :class:`Printer` and says what its constants, references and functions look
like; nothing else about a backend's language is known here.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from hamilforge.gen.derive.arrays import (
    Array,
    Entry,
    Epsilon,
    Identity,
    MatrixCall,
    OtherProducts,
    Outer,
    Product,
    Shift,
    Size,
    Stack,
    Transpose,
)
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.ir import (
    Apply,
    Const,
    Expr,
    Function,
    Line,
    Reduce,
    Ref,
    Repeat,
    Select,
    Value,
    parts,
)
from hamilforge.gen.program.lower import WHOLE

_SUM, _PRODUCT, _NEGATION, _POWER, ATOM = range(1, 6)


#: What no variable of generated code may be called, whatever it does.
_LANGUAGE = frozenset(keyword.kwlist)


def spelled(names: Iterable[str], taken: Container[str]) -> dict[str, str]:
    """How names are written where some are taken: with underscores behind, where no name has any.

    Args:
        names: of variables, declared or derived; none ends in an underscore.
        taken: what else the text around them means by a name.

    Returns:
        For each name that is taken, another one.
    """
    spelling = {}
    for name in names:
        free = name
        while free in taken:
            free += "_"
        if free != name:
            spelling[name] = free
    return spelling


def words(*sources: str) -> frozenset[str]:
    """The words of templates, by their files, and of texts: more than the names in them.

    Docstrings are not looked at.
    """
    folder = Path(__file__).parent
    texts = (
        re.sub(r'""".*?"""', "", (folder / source).read_text(encoding="utf-8"), flags=re.DOTALL)
        if source.endswith(".jinja")
        else source
        for source in sources
    )
    return frozenset(re.findall(r"[A-Za-z_]\w*", " ".join(texts)))


def is_quotient(value: Fraction) -> bool:
    """Whether a number is written as a quotient of integers."""
    return value.denominator != 1 and max(abs(value.numerator), value.denominator) <= WHOLE


class _Words(dict[str, str]):
    """What stands in a function that is written out: its arguments, and modules that it needs."""

    def __init__(self, need: Requirements, arguments: Iterable[str]) -> None:
        super().__init__(zip("zy", arguments, strict=False))
        self._need = need

    def __missing__(self, module: str) -> str:
        return self._need(module)


class Printer:
    """Python arithmetic.

    Attributes:
        functions: how each function is called.
        constants: how each constant is written.
        written: the functions that are written out, in ``{z}`` and a second ``{y}``, and ``{math}``
            for the module.
        rename: what a name is printed as, where it is not itself.
        need: notes what the texts use.
    """

    functions: ClassVar[Mapping[str, str]] = {}
    constants: ClassVar[Mapping[str, str]] = {}
    #: How comparisons are written.
    signs: ClassVar[Mapping[str, str]] = {"greater": ">", "at_least": ">=", "equal": "=="}
    #: Whether numbers may be quotients, with nothing around them.
    quotients: ClassVar[bool] = True
    written: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self, rename: Mapping[str, str] | None = None, need: Requirements | None = None
    ) -> None:
        self.rename = dict(rename or {})
        self.need = Requirements() if need is None else need

    def variable(self, name: str) -> str:
        """What a name is printed as."""
        return self.rename.get(name, name)

    @classmethod
    def names(cls, values: Iterable[Value]) -> frozenset[str]:
        """The names that the text of some values has beside those of variables."""
        table = {**cls.functions, **cls.constants, **cls.written}
        operations = (part for value in values for part in parts(value))
        texts = [table.get(part.op, "") for part in operations if isinstance(part, Apply)]
        return _LANGUAGE | set(re.findall(r"[A-Za-z_]\w*", " ".join(texts)))

    def __call__(self, expr: Value) -> str:
        """The text of an expression."""
        return self._print(expr)[0]

    def number(self, value: Fraction) -> str:
        """An exact number; in floating point where that has fewer digits than its integers."""
        if is_quotient(value):
            return f"{value.numerator} / {value.denominator}"
        whole = value.denominator == 1 and abs(value) <= WHOLE
        return str(value.numerator) if whole else repr(float(value))

    def constant(self, op: str) -> str:
        """An exact number with a name."""
        if op not in self.constants:
            raise NotImplementedError(f"{type(self).__name__}: no constant '{op}'")
        return self.need(self.constants[op])

    def call(self, op: str, args: list[str]) -> str:
        """A function call."""
        if op in self.written:
            return self.written[op].format_map(_Words(self.need, args))
        if op not in self.functions:
            raise NotImplementedError(f"{type(self).__name__}: no function for '{op}'")
        return f"{self.need(self.functions[op])}({', '.join(args)})"

    def test(self, choice: Select) -> str:
        """The condition of a choice; what is 1 where a comparison holds, as that comparison."""
        match choice:
            case Select(subject=Apply(op=op, args=args), value=value) if value == 1:
                if op in self.signs:
                    left, right = (self._within(arg, _SUM) for arg in args)
                    return f"{left} {self.signs[op]} {right}"
                if op == "step":
                    return f"{self._within(args[0], _SUM)} {self.signs['greater']} 0"
        return f"{self(choice.subject)} {self.signs['equal']} {self.number(choice.value)}"

    def _select(self, choice: Select) -> tuple[str, int]:
        """A choice, and how tightly it binds."""
        then, otherwise = self(choice.then), self(choice.otherwise)
        return f"({then} if {self.test(choice)} else {otherwise})", ATOM

    def _print(self, expr: Value) -> tuple[str, int]:
        match expr:
            case Const(value=value):
                text = self.number(value)
                if value < 0:
                    return text, _NEGATION
                return text, _PRODUCT if self.quotients and is_quotient(value) else ATOM
            case Ref(name=name):
                return self.variable(name), ATOM
            case Apply(op="add", args=args):
                return self._sum(args), _SUM
            case Apply(op="mul", args=args):
                parts = [self._within(args[0], _PRODUCT)]
                parts += [self._within(arg, _NEGATION) for arg in args[1:]]
                return " * ".join(parts), _PRODUCT
            case Apply(op="div", args=(over, under)):
                text = f"{self._within(over, _PRODUCT)} / {self._within(under, _NEGATION)}"
                return text, _PRODUCT
            case Apply(op="neg", args=(arg,)):
                text, binding = self._print(arg)
                if binding < _PRODUCT:
                    return f"-({text})", _NEGATION
                return f"-{text}", _SUM if binding == _PRODUCT else _NEGATION
            case Apply(op="pow", args=(base, exponent)):
                return self.power(base, exponent)
            case Apply(op=op, args=()):
                return self.constant(op), ATOM
            case Apply(op=op, args=args):
                return self.call(op, [self(arg) for arg in args]), ATOM
            case Select():
                return self._select(expr)
        raise NotImplementedError(f"{type(self).__name__}: {type(expr).__name__}")

    def power(self, base: Expr, exponent: Expr) -> tuple[str, int]:
        """A power; squares and cubes of names are products."""
        match base, exponent:
            case Ref(), Const(value=value) if value in (2, 3):
                return " * ".join([self(base)] * int(value)), _PRODUCT
        text = f"{self._within(base, ATOM)}**{self._within(exponent, ATOM)}"
        return text, _POWER

    def _sum(self, terms: tuple[Expr, ...]) -> str:
        text = self._within(terms[0], _SUM)
        for term in terms[1:]:
            match term:
                case Apply(op="neg", args=(arg,)):
                    text += f" - {self._within(arg, _PRODUCT)}"
                case Const(value=value) if value < 0:
                    text += f" - {self.number(-value)}"
                case _:
                    text += f" + {self._within(term, _PRODUCT)}"
        return text

    def _within(self, expr: Expr, least: int) -> str:
        text, binding = self._print(expr)
        return text if binding >= least else f"({text})"


class FormulaPrinter(Printer):
    """Formulas to read: every function by its own name, one underscore where programs have two."""

    def variable(self, name: str) -> str:
        """A name as people write it."""
        return super().variable(name).replace("__", "_")

    def constant(self, op: str) -> str:
        """A constant by its name."""
        return op

    def call(self, op: str, args: list[str]) -> str:
        """A function by its name."""
        return f"{op}({', '.join(args)})"

    def _print(self, expr: Value) -> tuple[str, int]:
        match expr:
            case Reduce(arg=arg, how=how, over="entries"):
                return f"{how}({self(arg)})", ATOM
            case Reduce(arg=arg):
                return f"sum over samples {self(arg)}", ATOM
        return super()._print(expr)


def loop_head(loop: Repeat) -> str:
    """The head of a loop in Python."""
    times = loop.count if loop.count.isdigit() else f"int({loop.count})"
    return f"for _ in range({times}):"


def formulas(function: Function) -> list[str]:
    """The lines of a function as formulas: ``'`` transposes, sums over samples are marked."""
    return [*_formulas(function.lines, function.types, FormulaPrinter())]


def _formulas(
    lines: Iterable[Line], types: Mapping[str, Array], printer: FormulaPrinter
) -> Iterator[str]:
    for line in lines:
        if isinstance(line.value, Repeat):
            loop, name = line.value.within(line.name), printer.variable(line.name)
            yield f"{name} = {printer.variable(loop.start)}; {loop.count} times:"
            inner = {**types, **{own.name: own.target for own in loop.lines}}
            yield from (f"    {text}" for text in _formulas(loop.lines, inner, printer))
            yield f"    {name} = {printer.variable(loop.end)}"
            continue
        yield f"{printer.variable(line.name)} = {_formula(line.value, types, printer)}"


def _formula(value: Value, types: Mapping[str, Array], printer: FormulaPrinter) -> str:
    match value:
        case Product(left, right, left_transposed, right_transposed):
            marks = ("'" if left_transposed else "", "'" if right_transposed else "")
            return f"{printer.variable(left)}{marks[0]} {printer.variable(right)}{marks[1]}"
        case Outer(left, right):
            summed = "sum over samples " if types[left].batched or types[right].batched else ""
            return f"{summed}{printer.variable(left)} {printer.variable(right)}'"
        case Transpose(of):
            return f"{printer.variable(of)}'"
        case Entry(of, place):
            return f"{printer.variable(of)}[{place + 1}]"
        case Stack(of):
            return f"({', '.join(printer.variable(name) if name else '0' for name in of)})"
        case Shift(of, by):
            return f"{printer.variable(of)}, {by} place{'s' * (abs(by) > 1)} further"
        case OtherProducts(of):
            return f"products of the other {printer.variable(of)}"
        case MatrixCall(function, of):
            return f"{function}({', '.join(map(printer.variable, of))})"
        case Identity(size, column):
            return f"eye({size})" if column is None else f"unit({size}, {column})"
        case Size(of):
            return f"how many {of}"
        case Epsilon(of):
            return f"the epsilon of the type of {of}"
    return printer(value)


class HostPrinter(Printer):
    """Host scalars in Python's floats: the functions of :mod:`math`, or what has their names.

    What :mod:`math` lacks is written out so that it takes scalar tensors too.
    """

    functions: ClassVar[Mapping[str, str]] = {
        **{
            name: f"math.{name}"
            for name in (
                "acos acosh asin asinh atan atanh cbrt cos cosh erf erfc exp expm1 log log1p sin "
                "sinh sqrt tan tanh"
            ).split()
        },
        "abs": "abs",
        "max": "max",
        "min": "min",
        "root": "math.sqrt",
    }
    constants: ClassVar[Mapping[str, str]] = {"pi": "math.pi"}
    written: ClassVar[Mapping[str, str]] = {
        **{
            name: f"(1.0 if {{z}} {sign} {{y}} else 0.0)"
            for name, sign in (("greater", ">"), ("at_least", ">="), ("equal", "=="))
        },
        "elu": "(max({z}, 0.0) + {math}.expm1(min({z}, 0.0)))",
        "inverse": "(0.0 if {z} == 0 else 1 / ({z}))",
        "leaky_relu": "(max({z}, 0.0) + min({z}, 0.0) / 100)",
        "log_cosh": "(abs({z}) + {math}.log1p({math}.exp(-2 * abs({z}))) - {math}.log(2.0))",
        "logistic": "({math}.exp(min({z}, 0.0)) / (1 + {math}.exp(-abs({z}))))",
        "relu": "max({z}, 0.0)",
        "sign": "(1.0 if {z} > 0 else -1.0 if {z} < 0 else 0.0)",
        "softplus": "(max({z}, 0.0) + {math}.log1p({math}.exp(-abs({z}))))",
        "step": "(1.0 if {z} > 0 else 0.0)",
    }
