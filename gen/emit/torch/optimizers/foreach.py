"""torch: a stage in place, over all tensors at once, by torch's operations over lists.

In: the function of a stage.  Out: its statements.  An operation is one call for all tensors, in
place where what it overwrites is not read again: a point, a state, or a list of the function's own.
What torch has no such operation for goes tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from hamilforge.gen.emit.printer import HostPrinter
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.torch.optimizers.lists import (
    EntryPrinter,
    over,
    plurals,
    scalar_lines,
    taken_scalars,
    used_arrays,
    with_entries,
)
from hamilforge.gen.emit.torch.optimizers.terms import (
    TWO,
    Term,
    homes,
    multiplied,
    occurrences,
    with_early_terms,
)
from hamilforge.gen.emit.torch.printer import TensorPrinter
from hamilforge.gen.program.ir import (
    Apply,
    Expr,
    Function,
    Line,
    Reduce,
    Ref,
    Select,
    names,
    squared_in,
)
from hamilforge.gen.program.lower import ONE

#: Functions of one list, by torch's names for them.
_UNARY = {
    **{name: name for name in "abs acos asin atan cos cosh erf erfc exp expm1 log log1p".split()},
    **{name: name for name in "sign sin sinh sqrt tan tanh".split()},
    "inverse": "reciprocal",
    "logistic": "sigmoid",
}
#: Functions of one list that are several operations, one after the other.
_WRITTEN = {
    "down": (("abs",), ("clamp_min", "1.0"), ("reciprocal",)),
    "relu": (("clamp_min", "0.0"),),
}
#: Functions of two lists; of a list and a number.
_BINARY = {"max": "maximum", "min": "minimum"}
_BOUNDS = {"max": "clamp_min", "min": "clamp_max"}


def statements(
    function: Function, owned: Sequence[str], need: Requirements, units: Container[str] = ()
) -> tuple[str, ...]:
    """The statements of a function, the last of which returns what does not become in place.

    Args:
        function: within range, its names spelled.
        owned: the arrays that become their results in place.
        need: notes what the texts use.
        units: scalars that are 1 more often than not, by which nothing is multiplied then.

    Returns:
        A line of text for each statement.
    """
    return tuple(_Writer(with_early_terms(function, owned), owned, need, units).write())


@dataclass(frozen=True, slots=True)
class _List:
    """A list of tensors.

    Attributes:
        name: the variable that holds it.
        free: whether it may be overwritten.
    """

    name: str
    free: bool


class _Writer:
    """Writes the statements of a function."""

    def __init__(
        self,
        function: Function,
        owned: Sequence[str],
        need: Requirements,
        units: Container[str],
    ) -> None:
        self._function, self._owned, self._need, self._units = function, owned, need, units
        #: The variable of the line that is written, and those that it has made.
        self._line, self._used = "", set[str]()
        self._plural = plurals(function)
        self._taken_scalars = taken_scalars(function)
        self._scalar_names = {key: taken.name for key, taken in self._taken_scalars.items()}
        self._summed = {line.name for line in function.lines if line.target.is_scalar}
        #: Which list holds an array; of these, which are the function's own, and never change.
        self._place = {array: self._plural[array] for array in function.arrays}
        self._own: set[str] = set()
        self._constant = {self._plural[name] for name in function.arrays if name not in owned}
        self._home = homes(function, owned)
        self._free: frozenset[str] = frozenset()
        self._names = {*self._plural.values(), *function.names, *self._scalar_names.values()}
        self._statements: list[str] = []
        self._host = HostPrinter(need=need)
        self._entry = EntryPrinter(self._scalar_names, need, function.scalars, self._plural)

    def write(self) -> list[str]:
        """The statements, in order."""
        for number, line in enumerate(self._function.lines):
            if line.target.is_scalar:
                self._scalar(line)
            else:
                self._array(number, line)
        returned = []
        for key, array in self._function.results:
            place = self._place[array.name]
            if key not in self._owned:
                returned.append(place)
            elif place != self._plural[key]:
                self._statements.append(f"torch._foreach_copy_({self._plural[key]}, {place})")
        if returned:
            self._statements.append(f"return {', '.join(returned)}")
        return self._statements

    def _mark(self, name: str, own: bool) -> None:
        """Say of a variable whether its list is the function's own, or never changes."""
        for members, is_one in ((self._own, own), (self._constant, not own)):
            (members.add if is_one else members.discard)(name)

    def _fresh(self, stem: str) -> str:
        """A variable: the stem, which may be the plural of the line, or one like it."""
        name, number = stem, 1
        while name in self._names and not (name == self._line and name not in self._used):
            number += 1
            name = f"{stem}_{number}"
        self._names.add(name)
        self._used.add(name)
        return name

    # --- scalars ------------------------------------------------------------------------------

    def _scalar(self, line: Line) -> None:
        total = self._sum(line.value) if isinstance(line.value, Reduce) else None
        tensors = self._place[self._function.arrays[0]]
        lines = scalar_lines(line, total, self._taken_scalars, tensors, self._need)
        self._statements += [f"{variable} = {text}" for variable, text in lines]

    def _sum(self, value: Reduce) -> str:
        self._need("foreach")
        if (squared := squared_in(value)) is not None:
            return f"foreach.squares_over({self._place[squared]})"
        used = used_arrays(value, self._place)
        text = TensorPrinter(need=self._need)(value.arg)
        lists = ", ".join(self._place[name] for name in used)
        return f"foreach.sum_over(lambda {', '.join(used)}: {text}, {lists})"

    # --- arrays -------------------------------------------------------------------------------

    def _array(self, number: int, line: Line) -> None:
        self._line, self._used = self._plural[line.name], set()
        later = {array.name for _, array in self._function.results}
        for after in self._function.lines[number + 1 :]:
            later |= {*names(after.value)}
        home = self._home.get(line.name, "")
        old = next((array for array in self._owned if self._plural[array] == home), None)
        match line.expr:
            case Select(subject=subject) if old and old not in later and self._is_host(subject):
                self._become(line.expr, home, later)
                self._place[line.name] = home
                return
        self._free = self._overwritten(line.expr, home, later)
        self._place[line.name] = self._kept(line.expr, self._line).name

    def _overwritten(self, expr: Expr, home: str, later: Container[str]) -> frozenset[str]:
        """What an expression may overwrite: what it reads once and nothing reads after it."""
        return frozenset(
            name
            for name, count in occurrences(expr).items()
            if count == 1 and name in self._place and name not in later
            if self._place[name] in (*self._own, home)
        )

    def _become(self, expr: Expr, home: str, later: Container[str]) -> None:
        """Let a list become the entries of an expression, branch by branch of host choices."""
        match expr:
            case Select(subject=subject) if self._is_host(subject):
                before = self._statements
                blocks = []
                for branch in (expr.then, expr.otherwise):
                    self._statements = []
                    self._become(branch, home, later)
                    blocks.append(self._statements or ["pass"])
                self._statements = before
                self._statements += [f"if {self._host.test(expr)}:", *_indented(blocks[0])]
                if blocks[1] != ["pass"]:
                    self._statements += ["else:", *_indented(blocks[1])]
            case _:
                self._free = self._overwritten(expr, home, later)
                result = self._list(expr, self._line)
                if result.name != home:
                    self._statements.append(f"torch._foreach_copy_({home}, {result.name})")

    def _kept(self, expr: Expr, stem: str) -> _List:
        """The entries of an expression, copied if their list might be overwritten later."""
        entries = self._list(expr, stem)
        if entries.free or entries.name in self._constant:
            return entries
        return self._new("mul", entries, "1.0", stem=stem)

    def _list(self, expr: Expr, stem: str) -> _List:
        """The entries of an expression, in a variable called after the stem if it is a new one."""
        if not self._has_entries(expr):
            return self._one_by_one(expr, stem)
        match expr:
            case Ref(name):
                return _List(self._place[name], name in self._free)
            case Apply(op="add", args=args) if (total := self._total(args, stem)) is not None:
                return total
            case Apply(op="neg" | "mul" | "div" | "pow"):
                term = self._term(expr)
                if term.entries != (expr,) and (term.entries or term.divisors):
                    return self._times(term, stem)
        match expr:
            case Apply(op="pow", args=(base, exponent)) if self._is_host(exponent):
                return self._apply("pow", self._list(base, stem), self._host(exponent), stem=stem)
            case Apply(op=op, args=(arg,)) if op in _UNARY:
                return self._apply(_UNARY[op], self._list(arg, stem), stem=stem)
            case Apply(op=op, args=(arg,)) if op in _WRITTEN:
                result = self._list(arg, stem)
                for operation, *more in _WRITTEN[op]:
                    result = self._apply(operation, result, *more, stem=stem)
                return result
            case Apply(op=op, args=(left, right)) if op in _BINARY:
                left, right = (right, left) if self._is_host(left) else (left, right)
                if self._is_host(right):
                    bound = self._host(right)
                    return self._apply(_BOUNDS[op], self._list(left, stem), bound, stem=stem)
                if self._has_entries(left) and self._has_entries(right):
                    first, second = self._list(left, stem), self._list(right, "others")
                    if second.free and not first.free:
                        first, second = second, first
                    return self._apply(_BINARY[op], first, second.name, stem=stem)
            case Select(subject, _, then, otherwise) if self._is_host(subject):
                return self._choice(self._host.test(expr), then, otherwise, stem)
        return self._one_by_one(expr, stem)

    def _is_host(self, expr: Expr) -> bool:
        return not any(name in self._place or name in self._summed for name in names(expr))

    def _has_entries(self, expr: Expr) -> bool:
        return any(name in self._place for name in names(expr))

    def _new(self, operation: str, first: _List, *rest: str, stem: str) -> _List:
        """An operation whose result is a new list; a variable of this line may take it."""
        name = first.name if first.name in self._used else self._fresh(stem)
        arguments = ", ".join((first.name, *rest))
        self._statements.append(f"{name} = torch._foreach_{operation}({arguments})")
        self._mark(name, own=True)
        return _List(name, True)

    def _apply(self, operation: str, first: _List, *rest: str, stem: str) -> _List:
        """An operation, in place if it may be."""
        if not first.free:
            return self._new(operation, first, *rest, stem=stem)
        arguments = ", ".join((first.name, *rest))
        self._statements.append(f"torch._foreach_{operation}_({arguments})")
        return first

    def _one_by_one(self, expr: Expr, stem: str) -> _List:
        used, text = with_entries(used_arrays(expr, self._place), self._entry(expr), self._function)
        name = self._fresh(stem)
        self._statements.append(f"{name} = [{over(text, used, self._place)}]")
        self._mark(name, own=True)
        return _List(name, True)

    def _choice(self, test: str, then: Expr, otherwise: Expr, stem: str) -> _List:
        """A choice by a number of the host: one branch is computed."""
        before, free = self._statements, self._free
        names, used = {*self._names}, {*self._used}
        self._free = frozenset()  # the branch that is not taken would overwrite nothing
        blocks, results = [], []
        for branch in (then, otherwise):
            self._statements, self._names, self._used = [], {*names}, {*used}
            results.append(self._list(branch, stem))
            blocks.append(self._statements)
        self._statements, self._free, self._names, self._used = before, free, names, used
        name = self._fresh(stem)
        for head, block, result in zip((f"if {test}:", "else:"), blocks, results, strict=True):
            if result.name != name:
                block.append(f"{name} = {result.name}")
            self._statements += [head, *_indented(block)]
        own = all(result.free for result in results)
        self._mark(name, own)
        if not own and not all(result.name in self._constant for result in results):
            self._constant.discard(name)  # one of them may change, and so may what is called so
        return _List(name, own)

    # --- sums and products --------------------------------------------------------------------

    def _term(self, expr: Expr) -> Term:
        """An expression as a product."""
        if self._is_host(expr):
            return Term() if expr == ONE else Term(scalars=(expr,))
        if not self._has_entries(expr):
            return Term(factors=(expr,))
        match expr:
            case Apply(op="neg", args=(arg,)):
                return self._term(arg) * Term(negative=True)
            case Apply(op="mul", args=args):
                product = Term()
                for arg in args:
                    product = product * self._term(arg)
                return product
            case Apply(op="div", args=(left, right)) if not (below := self._term(right)).factors:
                return self._term(left) / below
            case Apply(op="pow", args=(Ref() as base, exponent)) if exponent == TWO:
                return Term(entries=(base, base))
        return Term(entries=(expr,))

    def _times(self, term: Term, stem: str) -> _List:
        """The entries of a product; scalars come first, as they keep what follows in range."""
        if term.entries:
            lists = [self._list(term.entries[0], stem)]
            lists += [self._list(part, "others") for part in term.entries[1:]]
            result, *others = sorted(lists, key=lambda operand: not operand.free)
            for factor in term.factors:
                result = self._with_factor("multiply_", "multiple", result, factor, stem)
            result = self._scaled(result, term.coefficient, stem)
            for other in others:
                result = self._apply("mul", result, other.name, stem=stem)
            divisors = [*term.divisors]
        else:
            divisor, *divisors = term.divisors
            result = self._list(divisor, stem)
            if term.coefficient is not None:
                result = self._apply("div", result, self._host(term.coefficient), stem=stem)
            result = self._apply("reciprocal", result, stem=stem)
            for factor in term.factors:
                result = self._with_factor("multiply_", "multiple", result, factor, stem)
        for divisor in divisors:
            result = self._apply("div", result, self._list(divisor, "divisors").name, stem=stem)
        return result

    def _scaled(self, entries: _List, coefficient: Expr | None, stem: str) -> _List:
        if coefficient is None:
            return entries
        text = self._host(coefficient)
        may_be_shared = entries.free or entries.name in self._constant
        if text not in self._units or not may_be_shared:
            return self._apply("mul", entries, text, stem=stem)
        self._need("foreach")
        if entries.free:
            self._statements.append(f"foreach.scale_({entries.name}, {text})")
            return entries
        name = self._fresh(stem)
        self._statements.append(f"{name} = foreach.scaled({entries.name}, {text})")
        self._mark(name, own=False)
        return _List(name, False)

    def _with_factor(
        self, in_place: str, new: str, entries: _List, factor: Expr, stem: str
    ) -> _List:
        """An operation of the runtime with a scalar that follows from sums."""
        self._need("foreach")
        text = self._entry(factor)
        if entries.free:
            self._statements.append(f"foreach.{in_place}({entries.name}, {text})")
            return entries
        name = self._fresh(stem)
        self._statements.append(f"{name} = foreach.{new}({entries.name}, {text})")
        self._mark(name, own=True)
        return _List(name, True)

    def _total(self, args: Sequence[Expr], stem: str) -> _List | None:
        """The entries of a sum; None if no term has any."""
        terms = [self._term(arg) for arg in args]
        ranks = [self._rank(term) for term in terms]
        if max(ranks) < 0:
            return None
        result = self._times(terms.pop(ranks.index(max(ranks))), stem)
        for term in terms:
            result = self._plus(result, term, stem)
        return result

    def _rank(self, term: Term) -> int:
        """How well a sum begins with a term: its operations and lists are saved."""
        if not term.entries and not term.divisors:
            return -1
        first = term.entries[0] if term.is_single else None
        if isinstance(first, Ref) and first.name in self._free:
            return 4
        if term.factors:
            return 3
        if not term.is_single:
            return 0
        if not isinstance(term.entries[0], Ref):
            return 2
        return 1 + (term.coefficient is None)

    def _plus(self, total: _List, term: Term, stem: str) -> _List:
        """A sum and a term more."""
        coefficient = term.coefficient
        number = "" if coefficient is None else self._host(coefficient)
        alpha = (f"alpha={number}",) if number else ()
        if not term.entries and not term.divisors:
            if not term.factors:
                return self._apply("add", total, number or "1.0", stem=stem)
            scalar = multiplied((*([] if coefficient is None else [coefficient]), *term.factors))
            assert scalar is not None
            return self._with_factor("shift_", "shifted", total, scalar, stem)
        if term.factors:
            if not term.is_single or len(term.factors) > 1 or not total.free:
                product = self._times(term, "terms")
                first, second = (total, product) if total.free else (product, total)
                return self._apply("add", first, second.name, stem=stem)
            entries = self._scaled(self._list(term.entries[0], "terms"), coefficient, "terms")
            factor = self._entry(term.factors[0])
            self._need("foreach")
            self._statements.append(
                f"foreach.add_multiple_({total.name}, {entries.name}, {factor})"
            )
            return total
        shape = (len(term.entries), len(term.divisors))
        if shape in ((2, 0), (1, 1)):
            operation = "addcmul" if shape == (2, 0) else "addcdiv"
            lists = [self._list(part, "terms") for part in (*term.entries, *term.divisors)]
            more = (number,) if number else ()
            return self._apply(
                operation, total, *(operand.name for operand in lists), *more, stem=stem
            )
        if shape == (1, 0):
            entries = self._list(term.entries[0], "terms")
            return self._apply("add", total, entries.name, *alpha, stem=stem)
        return self._apply("add", total, self._times(term, "terms").name, stem=stem)


def _indented(block: Sequence[str]) -> list[str]:
    return [f"    {statement}" for statement in block]
