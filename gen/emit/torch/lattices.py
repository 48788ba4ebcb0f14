"""Functions of lattices in torch: tensors whose first axis is that of the sites.

In: a function of arrays with an entry for each site, of a problem with sites.  Out: its finished
lines.  A state comes as `(components * sites, batch)`; results are `(sites, batch)`, those with one
value `(batch,)`.
"""

from __future__ import annotations

from collections.abc import Iterator

from hamilforge.gen.emit.integrator_product import tuple_text
from hamilforge.gen.emit.printer import spelled
from hamilforge.gen.emit.torch.optimizer import TensorPrinter
from hamilforge.gen.program.integrator import Problem, stencil
from hamilforge.gen.program.ir import Function, Reduce, names

#: What the arrays of weights begin with.
_WEIGHT = "w__"


def lattice_lines(
    problem: Problem, function: Function, arguments: str, first: int = 0, single: bool = False
) -> tuple[str, ...]:
    """The lines of a function.

    Args:
        problem: whose components and parameters are variables.
        function: what is written.
        arguments: of the function, as a text.
        first: where the entries begin that weights belong to.
        single: whether its one result is returned by itself.

    Returns:
        Finished lines, the ``return`` last.
    """
    return tuple(_lines(problem, function, arguments, first, single))


def _lines(
    problem: Problem, function: Function, arguments: str, first: int, single: bool
) -> Iterator[str]:
    lattice = problem.lattice
    assert lattice is not None
    values = [line.value for line in function.body]
    taken = TensorPrinter.names(values) | {*arguments.split(", "), "torch"}
    own = (*function.arrays, *function.scalars, *(line.target for line in function.body))
    spelling = spelled((name for name in own if name != "t"), taken)
    printer = TensorPrinter(spelling | {lattice.name: str(lattice.count)})
    used = {name for value in values for name in names(value)}
    for k, entry in enumerate(problem.parameters):
        if entry.name in used:
            yield f"{printer.variable(entry.name)} = parameters[{k}]"
    for array in function.arrays:
        yield f"{printer.variable(array)} = {_rows(problem, lattice.count, array, first)}"
    results = dict.fromkeys(local for _, local in function.results)
    texts: dict[str, str] = {}
    for line in function.body:
        if isinstance(line.value, Reduce):
            text = f"torch.sum({printer(line.value.arg)}, 0)"
        elif line.level == "array" and not {*names(line.value)} & _at_sites(function):
            text = f"{printer(line.value)} + torch.zeros_like(state[0 : {lattice.count}])"
        else:
            text = printer(line.value)
        if line.target in results:
            texts[line.target] = text
        else:
            yield f"{printer.variable(line.target)} = {text}"
    ordered = [texts[local] for local in results]
    yield f"return {ordered[0]}" if single else f"return {tuple_text(ordered)}"


def _at_sites(function: Function) -> set[str]:
    """What has a value at each site."""
    return {*function.arrays, *(line.target for line in function.body if line.level == "array")}


def _rows(problem: Problem, count: int, array: str, first: int) -> str:
    name, offset = stencil(array)
    source, begin = "state", 0
    if name.startswith(_WEIGHT):
        source, begin, name = "w", first, name.removeprefix(_WEIGHT)
    start = problem.components.index(name) * count - begin
    text = f"{source}[{start} : {start + count}]"
    return f"torch.roll({text}, {-offset}, 0)" if offset else text
