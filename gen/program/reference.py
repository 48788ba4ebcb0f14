"""The reference to which every backend is held: NumPy's floating-point numbers as an algebra.

At a kink functions are what the table of functions says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import linalg, special

from hamilforge.gen.derive.arrays import (
    Entry,
    OtherProducts,
    Outer,
    Product,
    Shift,
    Stack,
    Transpose,
)
from hamilforge.gen.exact.matrices import quintic
from hamilforge.gen.program.algebra import Algebra, Types, Values, evaluate, sizes_of
from hamilforge.gen.program.ir import (
    Line,
    Reduce,
    type_of,
)

#: How many samples there are, where a function reads nothing that has them; no name has a space.
SAMPLES = "number of samples"


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
    for name, array in types.items():
        alike = array.shape == target.shape and array.batched == target.batched
        if alike and name in values:
            shape = np.shape(values[name])
            return value if getattr(value, "shape", ()) == shape else np.broadcast_to(value, shape)
    known = {name: np.shape(values[name]) for name in types if name in values}
    sizes = sizes_of(known, types)
    shape = tuple(int(axis) if axis.isdigit() else sizes.get(axis, 1) for axis in target.shape)
    if target.batched:
        samples = (known[name][0] for name in known if types[name].batched)
        shape = (next(samples, values.get(SAMPLES, 1)), *(shape or (1,)))
    return np.broadcast_to(value, shape)


def _unitary(matrix: Any) -> Any:
    """The orthonormal factor of Q R, with a positive diagonal of R; columns are 0 where it is."""
    q, r = np.linalg.qr(matrix)
    return q * np.sign(np.diagonal(r))


def _polar(matrix: Any) -> Any:
    """The nearest matrix with orthonormal columns, without those of singular values 0."""
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    return (u * (values != 0)) @ v


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
