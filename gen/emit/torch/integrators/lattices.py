"""Functions of lattices in torch: tensors whose first axis is that of the sites.

In: a function of arrays with an entry for each site, of a problem with sites.  Out: its finished
lines.  A state comes as `(components * sites, batch)`; results are `(sites, batch)`, those with one
value `(batch,)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hamilforge.gen.emit.printer import spelled
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.emit.text import tuple_text
from hamilforge.gen.emit.torch.printer import TensorPrinter
from hamilforge.gen.program.integrators.integrator import Problem, stencil
from hamilforge.gen.program.ir import Function, Reduce, names

#: What the arrays of weights begin with.
_WEIGHT = "w__"


def lattice_lines(
    problem: Problem,
    function: Function,
    arguments: Iterable[str],
    need: Requirements,
    first: int = 0,
    single: bool = False,
) -> tuple[str, ...]:
    """The lines of a function.

    Args:
        problem: whose components and parameters are variables.
        function: what is written.
        arguments: of the function.
        need: notes what the texts use.
        first: where the entries begin that weights belong to.
        single: whether its one result is returned by itself.

    Returns:
        Finished lines, the ``return`` last.
    """
    return tuple(_lines(problem, function, arguments, need, first, single))


def _lines(
    problem: Problem,
    function: Function,
    arguments: Iterable[str],
    need: Requirements,
    first: int,
    single: bool,
) -> Iterator[str]:
    lattice = problem.lattice
    assert lattice is not None
    values = [line.expr for line in function.lines]
    taken = TensorPrinter.names(values) | {*arguments, "torch"}
    spelling = spelled((name for name in function.names if name != "t"), taken)
    printer = TensorPrinter(spelling | {lattice.name: str(lattice.count)}, need)
    used = {name for value in values for name in names(value)}
    for k, parameter in enumerate(problem.parameters):
        if parameter.name in used:
            yield f"{printer.variable(parameter.name)} = parameters[{k}]"
    for array in function.arrays:
        yield f"{printer.variable(array)} = {_rows(problem, lattice.count, array, first)}"
    results = dict.fromkeys(array.name for _, array in function.results)
    texts: dict[str, str] = {}
    for line in function.lines:
        if isinstance(line.expr, Reduce):
            text = f"torch.sum({printer(line.expr.arg)}, 0)"
        elif not line.target.is_scalar and not {*names(line.expr)} & _at_sites(function):
            text = f"{printer(line.expr)} + torch.zeros_like(state[0 : {lattice.count}])"
        else:
            text = printer(line.expr)
        if line.name in results:
            texts[line.name] = text
        else:
            yield f"{printer.variable(line.name)} = {text}"
    ordered = [texts[local] for local in results]
    yield f"return {ordered[0]}" if single else f"return {tuple_text(ordered)}"


def _at_sites(function: Function) -> set[str]:
    """What has a value at each site."""
    return {*function.arrays, *(array.name for array in function.targets if not array.is_scalar)}


def _rows(problem: Problem, count: int, array: str, first: int) -> str:
    name, offset = stencil(array)
    source, begin = "state", 0
    if name.startswith(_WEIGHT):
        source, begin, name = "w", first, name.removeprefix(_WEIGHT)
    start = problem.components.index(name) * count - begin
    text = f"{source}[{start} : {start + count}]"
    return f"torch.roll({text}, {-offset}, 0)" if offset else text
