"""torch: the functional form, the form in place and the optimizer class, as finished text.

In: a derivation and its report.  Out: a view of names and texts; the template holds structure only.
A function works on lists of tensors.  In the functional form it is one expression per line, so that
it reads like the formulas, and gradients flow through it; the form in place is in :mod:`foreach`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from hamilforge.gen.declare.kinds import DOMAINS, Parameter
from hamilforge.gen.emit.products.optimizer import Product, default
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import escaped, tuple_text, wrapped
from hamilforge.gen.emit.torch.optimizers import foreach
from hamilforge.gen.emit.torch.optimizers.lists import (
    TEMPLATE,
    EntryPrinter,
    over,
    plurals,
    scalar_lines,
    taken_scalars,
    used_arrays,
    with_entries,
    within_names,
)
from hamilforge.gen.emit.torch.printer import Imports, TensorPrinter
from hamilforge.gen.program.ir import Function, Reduce, squared_in
from hamilforge.gen.program.optimizers.preparation import PREPARATION, UNITS
from hamilforge.gen.program.optimizers.ranges import within_range

__all__ = ["TEMPLATE", "View", "view"]


@dataclass(frozen=True, slots=True)
class FunctionView:
    """A function on lists of tensors: its statements, the last of which returns."""

    name: str
    parameters: str
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArgumentView:
    """A hyper-parameter of the class."""

    name: str
    default: str
    domain: str
    doc: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class View:
    """All that the template shows."""

    product: Product
    functions: tuple[FunctionView, ...]
    stages: str
    in_place: str
    arguments: tuple[ArgumentView, ...]
    example: str
    imports: Imports


def view(product: Product) -> View:
    """The view of a product's torch file."""
    program = product.program
    need = Requirements()
    changed = ("x", *program.states)
    prepared, prepared_in_place = preparations(need)
    views: tuple[FunctionView, ...] = (prepared,)
    views += (_function(program.start, product.started, need),) if program.start else ()
    views += tuple(_function(stage, changed, need) for stage in program.functions)
    views += (_function(program.solution, (), need),) if program.shifted else ()
    views += (prepared_in_place,)
    views += tuple(_in_place(stage, changed, need) for stage in program.functions)
    if product.uses_math:
        need("math")
    stages = [program.functions[index].name for index in program.calls]
    arguments, example = arguments_of(product)
    listed, in_place = (", ".join(names) + "," for names in (stages, map(_underlined, stages)))
    if program.averages:
        example += ", process_group=torch.distributed.group.WORLD"
    return View(product, views, listed, in_place, arguments, example, Imports.of(need))


def preparations(need: Requirements) -> tuple[FunctionView, FunctionView]:
    """Sign and decay of gradients over lists, in the functional form and in place."""
    return (
        _function(PREPARATION, ("x", "g"), need),
        _in_place(PREPARATION, ("x",), need, UNITS),
    )


def arguments_of(product: Product) -> tuple[tuple[ArgumentView, ...], str]:
    """The hyper-parameters of the class, and one of them as an example of a call."""
    arguments = tuple(_argument(name, parts) for name, parts in product.arguments)
    rate = next((entry for entry in arguments if entry.name == "lr"), arguments[0])
    return arguments, f", {rate.name}={rate.default}"


def _argument(name: str, parts: Sequence[Parameter]) -> ArgumentView:
    """A hyper-parameter, or a tuple of some."""
    first = parts[0]
    if not first.part_of:
        doc = tuple(wrapped(escaped(first.doc)))
        return ArgumentView(
            name, default(first), " ".join((DOMAINS[first.domain], *first.choices)), doc
        )
    domains = " and ".join(dict.fromkeys(DOMAINS[part.domain] for part in parts))
    meanings = "; ".join(f"{part.name}: {part.doc}" if part.doc else part.name for part in parts)
    defaults = tuple_text(map(default, parts))
    return ArgumentView(name, defaults, domains, tuple(wrapped(escaped(meanings))))


def _function(function: Function, returned: Sequence[str], need: Requirements) -> FunctionView:
    """The functional form.

    Args:
        function: of the program.
        returned: the arrays whose lists make the tuple that it returns, changed or not; if there
            are none, its only result by itself.
        need: notes what the text uses.
    """
    function = within_range(function)
    results = {key: array.name for key, array in function.results}
    wanted = [results.get(array, array) for array in returned] or [*results.values()]
    places = [function.names.index(name) for name in wanted]
    function = within_names(function)
    plural = plurals(function)
    taken = taken_scalars(function)
    renamed = {name: scalar.name for name, scalar in taken.items()}
    statements: list[str] = []
    for line in function.lines:
        if not line.target.is_scalar:
            text = EntryPrinter(renamed, need, function.scalars, plural)(line.value)
            used, text = with_entries(used_arrays(line.value, plural), text, function)
            statements.append(f"{plural[line.name]} = [{over(text, used, plural)}]")
            continue
        total = _sum(line.value, plural, need) if isinstance(line.value, Reduce) else None
        for variable, text in scalar_lines(line, total, taken, plural[function.arrays[0]], need):
            statements.append(f"{variable} = {text}")
    lists = [plural[function.names[place]] for place in places]
    is_tuple = len(lists) == 1 and bool(returned)
    statements.append(f"return {tuple_text(lists) if is_tuple else ', '.join(lists)}")
    return FunctionView(function.name, _parameters(function, plural), tuple(statements))


def _parameters(function: Function, plural: Mapping[str, str]) -> str:
    return ", ".join((*(plural[array] for array in function.arrays), *function.scalars))


def _sum(value: Reduce, plural: Mapping[str, str], need: Requirements) -> str:
    """A sum over tensors."""
    if (squared := squared_in(value)) is not None:
        return f"{need('squares_over')}({plural[squared]})"
    used = used_arrays(value, plural)
    text = TensorPrinter({name: f"{name}.double()" for name in used}, need)(value.arg)
    return f"{need('sum_over')}({over(text, used, plural)})"


def _in_place(
    function: Function, owned: tuple[str, ...], need: Requirements, units: Container[str] = ()
) -> FunctionView:
    """The form in place, over all tensors at once."""
    renamed = within_names(within_range(function))
    names = dict(zip(function.arrays, renamed.arrays, strict=True))
    return FunctionView(
        _underlined(function.name),
        _parameters(renamed, plurals(renamed)),
        foreach.statements(renamed, [names[name] for name in owned], need, units),
    )


def _underlined(name: str) -> str:
    """What changes its arguments ends in an underscore, as torch's operations do."""
    return f"{name}_"
