"""The meaning of a function: its evaluation over any algebra, line by line.

In: a function, values of its inputs, and an :class:`Algebra` that says what numbers are.  Out: what
the function computes.  With NumPy's floating-point numbers this is the reference to which every
backend is held; with exact series or jets it is what the proofs are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from hamilforge.gen.derive.arrays import (
    Array,
    Epsilon,
    Identity,
    MatrixCall,
    Size,
)
from hamilforge.gen.program.algebra import Algebra, Types, Values, evaluate, size_of
from hamilforge.gen.program.ir import (
    Apply,
    Const,
    Function,
    Line,
    Reduce,
    Ref,
    Repeat,
    Select,
    names,
    type_of,
)
from hamilforge.gen.program.reference import FLOAT64

#: The distance from 1 to the next number of the type of arrays; that of float64 if nothing is said.
EPSILON = "epsilon of the type"


def _identity(line: Line, values: Values, types: Types, algebra: Algebra) -> Any:
    """An identity, or one of its columns."""
    assert isinstance(line.value, Identity)
    size = size_of(line.value.size, values, types)
    zero, one = (algebra.constant(Fraction(number)) for number in (0, 1))
    entries = np.array([[one if i == j else zero for j in range(size)] for i in range(size)])
    column = line.value.column
    if column is None:
        return entries
    if column >= size:
        raise ArithmeticError(f"no unit vector {column} in {size} dimensions")
    return entries[:, [column]]


def run(function: Function, values: Values, algebra: Algebra = FLOAT64) -> dict[str, Any]:
    """All arrays of a function, by name; what was handed in included.

    Args:
        function: what is run.
        values: of its inputs; batched arrays `(samples, size)`, and `(samples, 1)` where there is
            one number for each sample.
        algebra: what numbers are.

    Returns:
        All values by name.

    Raises:
        KeyError: an input has no value.
    """
    for array in function.inputs:
        if array.name not in values:
            raise KeyError(f"{function.name} needs {array.name}")
    types = {array.name: array for array in function.inputs}
    (known,) = run_lines(function.lines, types, [values], algebra)
    return known


def results(function: Function, values: Values, algebra: Algebra = FLOAT64) -> dict[str, Any]:
    """The results of a function, by what they are.

    Args:
        function: what is run.
        values: of its inputs.
        algebra: what numbers are.

    Returns:
        For each key of the results its value.
    """
    known = run(function, values, algebra)
    return {key: known[array.name] for key, array in function.results}


def run_function(
    function: Function,
    arrays: Mapping[str, Sequence[Any]],
    scalars: Values,
    algebra: Algebra,
    per_tensor: bool = False,
) -> dict[str, list[Any]]:
    """Run a function on several tensors; sums run over all of them, or over each.

    Args:
        function: what is run.
        arrays: for each array of the function, its tensors, one entry each; equally many of all.
        scalars: the host scalars by name.
        algebra: what numbers are.
        per_tensor: whether a sum runs over each tensor by itself; over all of them else.

    Returns:
        The new value of each array that the function changes.
    """
    count = len(next(iter(arrays.values())))
    tensors = [
        {**scalars, **{name: tensors[k] for name, tensors in arrays.items()}} for k in range(count)
    ]
    types = {array.name: array for array in function.inputs}
    known = run_lines(function.lines, types, tensors, algebra, per_tensor)
    return {key: [values[array.name] for values in known] for key, array in function.results}


def run_lines(
    lines: Iterable[Line],
    types: Types,
    tensors: Sequence[Values],
    algebra: Algebra = FLOAT64,
    per_tensor: bool = False,
) -> list[dict[str, Any]]:
    """All arrays that lines compute, by name, for each of several tensors.

    Args:
        lines: in the order of computation.
        types: arrays by name, at least those that the lines do not compute.
        tensors: for each tensor, the values by name.
        algebra: what numbers are.
        per_tensor: whether a sum of entries runs over each tensor by itself.

    Returns:
        For each tensor all values by name, those that were handed in included.
    """
    known = [dict(values) for values in tensors]
    types = dict(types)
    for line in lines:
        value, target = line.value, line.target
        computed = [_value(line, values, types, algebra) for values in known]
        if isinstance(value, Reduce) and value.over == "entries" and not per_tensor:
            computed = [sum(computed[1:], computed[0])] * len(computed)
        if target.is_scalar:
            computed = list(map(algebra.scalar, computed))
        else:
            computed = [
                _filled(x, values, target, types) for x, values in zip(computed, known, strict=True)
            ]
        types[target.name] = target
        for values, result in zip(known, computed, strict=True):
            values[target.name] = result
    return known


def _filled(value: Any, values: Values, target: Array, types: Types) -> Any:
    """The entries of an array; all of them, where a choice by a scalar took one number for all."""
    if getattr(value, "ndim", 0):
        return value
    alike = (values[name] for name, array in types.items() if array.shape == target.shape)
    shape = next((np.shape(array) for array in alike if np.ndim(array)), ())
    return np.full(shape, value) if shape else value


def _value(line: Line, values: Values, types: Types, algebra: Algebra) -> Any:
    if type(line.value) in _ENTRY_BY_ENTRY:
        value = evaluate(line.value, values, algebra)
        return value if line.target.is_scalar else algebra.full(value, line, values, types)
    match line.value:
        case Reduce(arg=arg, how=how, over=over) as total:
            if how != "sum" or over != "entries" or type_of(arg, types)[1]:
                return algebra.operation(line, values, types)
            wide = {name: _wide(values[name]) for name in names(total)}
            return algebra.total(evaluate(arg, wide, algebra))
        case MatrixCall(function=function, of=of):
            if function not in algebra.matrices:
                raise NotImplementedError(f"interpret: no {function} of these numbers")
            return algebra.matrices[function](*(values[name] for name in of))
        case Identity():
            return _identity(line, values, types, algebra)
        case Size(of):
            return algebra.constant(Fraction(size_of(of, values, types)))
        case Epsilon():
            return algebra.constant(values.get(EPSILON, Fraction(2) ** -52))
        case Repeat(start=start, carried=carried, lines=lines, end=end):
            array = values[start]
            for _ in range(line.value.runs(values)):
                inside = {**values, carried: array}
                (known,) = run_lines(lines, {**types, carried: types[start]}, [inside], algebra)
                array = known[end]
            return array
    return algebra.operation(line, values, types)


#: What is evaluated entry by entry.
_ENTRY_BY_ENTRY = frozenset((Const, Ref, Apply, Select))


def _wide(value: Any) -> Any:
    """Sums are taken of float64 numbers, whatever the arrays hold."""
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return value.astype(np.float64)
    return value
