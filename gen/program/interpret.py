"""The meaning of a function: its evaluation over any algebra, line by line.

In: a function, values of its inputs, and an :class:`Algebra` that says what numbers are.  Out: what
the function computes.  With NumPy's floating-point numbers this is the reference to which every
backend is held; with exact series or jets it is what the proofs are about.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from scipy import linalg, special

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
from hamilforge.gen.exact.matrices import quintic
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
    names,
    type_of,
)

Values = Mapping[str, Any]
Types = Mapping[str, Array]
#: How many samples there are, where a function reads nothing that has them; no name has a space.
SAMPLES = "number of samples"
#: The distance from 1 to the next number of the type of arrays; that of float64 if nothing is said.
EPSILON = "epsilon of the type"


def _no_operation(line: Line, _values: Values, _types: Types) -> Any:
    raise NotImplementedError(f"interpret: no {type(line.value).__name__} of these numbers")


@dataclass(frozen=True, slots=True)
class Algebra:
    """What numbers are and what functions do with them.

    Attributes:
        constant: an exact number as a number of the algebra.
        functions: the elementwise functions, the constants, and ``pow``, whose exponent is an exact
            number where the program has one; + - * / are the operators'.
        total: the sum of the entries of an array.
        operation: the value of a line that multiplies or transposes whole arrays, or adds up
            samples, from the values and the types of what it reads.
        full: a value with all entries of its target, where its operands have only some of them.
        select: ``select(subject, value, then, otherwise)``, entry by entry; the two values are
            functions, so that a scalar choice evaluates one of them.
        scalar: a scalar as it is kept between lines.
        matrices: the functions of whole matrices.
        divide: the quotient.
    """

    constant: Callable[[Fraction], Any]
    functions: Mapping[str, Callable[..., Any]]
    total: Callable[[Any], Any]
    select: Callable[[Any, Fraction, Callable[[], Any], Callable[[], Any]], Any]
    scalar: Callable[[Any], Any] = lambda value: value
    operation: Callable[[Line, Values, Types], Any] = _no_operation
    full: Callable[[Any, Line, Values, Types], Any] = lambda value, *_: value
    matrices: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    divide: Callable[[Any, Any], Any] = operator.truediv


def evaluate(expr: Value, values: Mapping[str, Any], algebra: Algebra) -> Any:
    """The value of an expression.

    Args:
        expr: what is evaluated.
        values: the value of each name that occurs.
        algebra: what numbers are.

    Returns:
        A number of the algebra, or an array of them.

    Raises:
        NotImplementedError: the algebra has no such function, or the expression is of another kind.
    """
    functions = algebra.functions

    def visit(part: Value) -> Any:
        if type(part) is Ref:  # what patterns would say, in a fraction of their time
            return values[part.name]
        if type(part) is Const:
            return algebra.constant(part.value)
        if type(part) is Apply:
            return apply(part.op, part.args)
        if type(part) is Select:
            then, otherwise = partial(visit, part.then), partial(visit, part.otherwise)
            return algebra.select(visit(part.subject), part.value, then, otherwise)
        if type(part) is Reduce and part.how == "sum" and part.over == "entries":
            return algebra.total(visit(part.arg))
        raise NotImplementedError(f"interpret: {part}")

    def apply(op: str, args: tuple[Expr, ...]) -> Any:
        if op == "add":
            result = visit(args[0])
            for term in args[1:]:
                if type(term) is Apply and term.op == "neg":
                    result = result - visit(term.args[0])
                else:
                    result = result + visit(term)
            return result
        if op == "mul":
            result = visit(args[0])
            for factor in args[1:]:
                result = result * visit(factor)
            return result
        if op == "neg":
            return -visit(args[0])
        if op == "div":
            return algebra.divide(visit(args[0]), visit(args[1]))
        if op == "pow":
            base, exponent = args
            by = exponent.value if type(exponent) is Const else visit(exponent)
            return functions["pow"](visit(base), by)
        if op not in functions:
            raise NotImplementedError(f"interpret: no function '{op}' on these numbers")
        return functions[op](*map(visit, args))

    return visit(expr)


def _select(
    subject: Any, value: Fraction, then: Callable[[], Any], otherwise: Callable[[], Any]
) -> Any:
    if np.ndim(subject) == 0:
        return then() if subject == float(value) else otherwise()
    return np.where(np.equal(subject, float(value)), then(), otherwise())


def _real(value: Any) -> Any:
    return float(value) if isinstance(value, Fraction) else value


def _log_cosh(z: Any) -> Any:
    return abs(z) + np.log1p(np.exp(-2 * abs(z))) - math.log(2)


def _double(z: Any) -> Any:
    """What has no function of long numbers."""
    return np.float64(z) if np.result_type(z) == np.longdouble else z


def _inverse(z: Any) -> Any:
    return np.where(z == 0, 0.0, 1 / np.where(z == 0, 1.0, z))


def _logistic(z: Any) -> Any:
    return np.exp(-np.logaddexp(0, -z))


#: The reference of every backend.  At a kink these are what the table of functions says.
NUMPY_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in "abs cbrt cos cosh exp expm1 log log1p sign sin sinh sqrt tan tanh".split()
    },
    **{f"a{name}": getattr(np, f"arc{name}") for name in "cos cosh sin sinh tan tanh".split()},
    "elu": lambda z: np.maximum(z, 0) + np.expm1(np.minimum(z, 0)),
    "erf": lambda z: special.erf(_double(z)),
    "erfc": lambda z: special.erfc(_double(z)),
    "inverse": _inverse,
    "leaky_relu": lambda z: np.maximum(z, 0) + np.minimum(z, 0) / 100,
    "log_cosh": _log_cosh,
    "logistic": _logistic,
    "max": np.maximum,
    "min": np.minimum,
    "pi": lambda: math.pi,
    "pow": lambda base, exponent: np.power(base, _real(exponent)),
    "relu": lambda z: np.maximum(z, 0),
    "root": np.sqrt,
    "softplus": lambda z: np.logaddexp(z, 0),
    **{
        name: lambda x, y, compared=compared: compared(x, y).astype(np.result_type(x, y))
        for name, compared in {
            "greater": np.greater,
            "at_least": np.greater_equal,
            "equal": np.equal,
        }.items()
    },
    "step": lambda z: np.greater(z, 0).astype(np.result_type(z)),
}


def _python_float(value: Any) -> Any:
    """A scalar that leaves the precision of arrays as it is, which NumPy's own float64 does not."""
    return float(value) if np.ndim(value) == 0 else value


def _operation(line: Line, values: Values, types: Types) -> Any:
    """Products, transposes, and sums of arrays with samples."""
    match line.value:
        case Product(left, right, left_transposed, right_transposed):
            factor = values[left].T if left_transposed else values[left]
            if types[right].batched:
                return np.einsum("ij,nj->ni", factor, values[right])
            return factor @ (values[right].T if right_transposed else values[right])
        case Outer(left, right):
            if types[left].batched:
                return np.einsum("ni,nj->ij", values[left], values[right])
            return np.outer(values[left], values[right])
        case Transpose(of):
            return values[of].T
        case Shift(of, by):
            return np.roll(values[of], -by, axis=0)
        case Entry(of, place):
            return values[of][:, place : place + 1] if types[of].batched else values[of][place]
        case Stack(of):
            first = values[next(filter(None, of))]
            entries = [values[name] if name else 0 * first for name in of]
            if line.target.batched:
                shared = [np.broadcast_to(entry, (len(first), 1)) for entry in entries]
                return np.concatenate(shared, axis=1)
            return np.array(entries)
        case OtherProducts(of):
            return _other_products(values[of])
        case Reduce(arg=arg, how=how, over=over):
            entries = evaluate(arg, values, FLOAT64)
            shape, batched = type_of(arg, types)
            if over == "samples":
                return entries.sum(0) if shape else entries.sum()
            axis = 1 if batched else None
            if how == "sum":
                return entries.sum(axis, keepdims=True)
            if how == "prod":
                return entries.prod(axis, keepdims=batched)
            largest = entries.max(axis, keepdims=batched)
            return largest + np.log(np.exp(entries - largest).sum(axis, keepdims=batched))
    raise NotImplementedError(f"interpret: {type(line.value).__name__}")


def _other_products(factors: Any) -> Any:
    """For each entry the product of all others, from those before it and those after it."""
    flat = factors.ravel()
    before = np.concatenate([flat[:1] ** 0, np.cumprod(flat[:-1])])
    after = np.concatenate([np.cumprod(flat[:0:-1])[::-1], flat[:1] ** 0])
    return (before * after).reshape(factors.shape)


def _full(value: Any, line: Line, values: Values, types: Types) -> Any:
    """A value entry by entry in the shape of its target."""
    target = line.target
    same = (target.shape, target.batched)
    for name, array in types.items():
        if name in values and (array.shape, array.batched) == same:
            shape = np.shape(values[name])
            return value if np.shape(value) == shape else np.broadcast_to(value, shape)
    known = {name: np.shape(values[name]) for name in types if name in values}
    sizes = _sizes(known, types)
    shape = tuple(int(axis) if axis.isdigit() else sizes.get(axis, 1) for axis in target.shape)
    if target.batched:
        samples = (known[name][0] for name in known if types[name].batched)
        shape = (next(samples, values.get(SAMPLES, 1)), *(shape or (1,)))
    return np.broadcast_to(value, shape)


def _sizes(shapes: Mapping[str, tuple[int, ...]], types: Types) -> dict[str, int]:
    """The size of each dimension, from the shapes of arrays by name."""
    return {
        axis: size
        for name, shape in shapes.items()
        if types[name].shape
        for axis, size in zip(types[name].shape, shape[types[name].batched :], strict=False)
    }


def _size(axis: str, values: Values, types: Types) -> int:
    """How long a dimension is."""
    known = {name: np.shape(values[name]) for name in types if name in values}
    return _sizes(known, types)[axis]


def _identity(line: Line, values: Values, types: Types, algebra: Algebra) -> Any:
    """An identity, or one of its columns."""
    assert isinstance(line.value, Identity)
    size = _size(line.value.size, values, types)
    zero, one = (algebra.constant(Fraction(number)) for number in (0, 1))
    entries = np.array([[one if i == j else zero for j in range(size)] for i in range(size)])
    column = line.value.column
    if column is None:
        return entries
    if column >= size:
        raise ArithmeticError(f"no unit vector {column} in {size} dimensions")
    return entries[:, [column]]


def _unitary(matrix: Any) -> Any:
    """The orthonormal factor of Q R, with a positive diagonal of R."""
    q, r = np.linalg.qr(matrix)
    signs = np.sign(np.diagonal(r)) + (np.diagonal(r) == 0)
    return q * signs


def _polar(matrix: Any) -> Any:
    """The nearest matrix with orthonormal columns."""
    u, _, v = np.linalg.svd(matrix, full_matrices=False)
    return u @ v


def _rotation(left: Any, right: Any, matrix: Any) -> Any:
    """exp(P X' - X P') B."""
    return linalg.expm(left @ right.T - right @ left.T) @ matrix


def _cayley(left: Any, right: Any, matrix: Any) -> Any:
    """(1 - W/2)^-1 (1 + W/2) B with W = P X' - X P'."""
    half = (left @ right.T - right @ left.T) / 2
    return np.linalg.solve(np.eye(len(half)) - half, matrix + half @ matrix)


def _riccati(matrix: Any, constant: Any) -> Any:
    """The symmetric L with L L - L S - S' L + Q = 0 and eigenvalues of S - L to the right of 0."""
    one = np.eye(len(matrix))
    try:
        return -linalg.solve_continuous_are(-matrix, one, -(constant + constant.T) / 2, one)
    except np.linalg.LinAlgError:  # there is no such solution
        return np.full(np.shape(matrix), np.nan)


#: The reference of every backend.
NUMPY_MATRICES: Mapping[str, Callable[..., Any]] = {
    "cayley": _cayley,
    "cholesky": np.linalg.cholesky,
    "colsum": lambda matrix: matrix.sum(0, keepdims=True),
    "det": np.linalg.det,
    "diag": lambda matrix: (
        np.diagflat(matrix) if matrix.shape[1] == 1 else np.diagonal(matrix)[:, None]
    ),
    "expm": linalg.expm,
    "polar": _polar,
    "qr": _unitary,
    "quintic": quintic,
    "riccati": _riccati,
    "rotation": _rotation,
    "rowsum": lambda matrix: matrix.sum(1, keepdims=True),
    "solve": np.linalg.solve,
}

#: Python's floating-point numbers and NumPy's arrays of them.
FLOAT64 = Algebra(
    float,
    NUMPY_FUNCTIONS,
    lambda array: np.sum(array, dtype=np.float64),
    _select,
    _python_float,
    _operation,
    _full,
    NUMPY_MATRICES,
)

#: The same of long numbers, where the platform has them.
LONG = replace(
    FLOAT64, total=lambda array: np.sum(array, dtype=np.longdouble), scalar=lambda value: value
)


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
    if np.ndim(value):
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
            return algebra.constant(Fraction(_size(of, values, types)))
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
