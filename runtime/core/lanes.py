"""Eight numbers at once, in vector registers: the same text of a kernel, for eight trajectories.

In: float64 arrays whose last axis is eight long.  Out: arrays of :data:`LANES`, a type of numba's
that has the arithmetic and functions of a float64.  A kernel compiled for them does in each lane
what it does for a number, arithmetic as quickly: processors have eight numbers in one, two or four
registers.  Functions that have no vector instruction go lane by lane.  Lanes have no ``<``, since
they may differ in what follows; :func:`all_less`, :func:`any_less` and :func:`where_less` compare.
Compiled into kernels, which carry the digest of this file.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, overload, overload_attribute
from numba.np.arrayobj import make_array, populate_array

from hamilforge.runtime.core import elementary
from hamilforge.runtime.core.lanes_type import COUNT, LANES, NUMBERS, VECTOR, LanesType, spread

_WORDS = ir.VectorType(ir.IntType(64), COUNT)
_OPTIONS: Any = {"error_model": "numpy"}
_QUICK: Any = {**_OPTIONS, "forceinline": True}
#: Functions that go lane by lane, of one argument and of two.
_UNARY = (
    *(np.cbrt, np.cos, np.cosh, np.exp, np.expm1, np.log, np.log1p, np.sign, np.sin, np.sinh),
    *(np.tan, np.tanh, np.arccos, np.arccosh, np.arcsin, np.arcsinh, np.arctan, np.arctanh),
    *(elementary.down, elementary.elu, elementary.erf, elementary.erfc, elementary.inverse),
    *(elementary.leaky_relu, elementary.log_cosh, elementary.logistic, elementary.relu),
    *(elementary.softplus, elementary.step),
)
_BINARY = (
    *(operator.pow, np.maximum, np.minimum),
    *(elementary.at_least, elementary.equal, elementary.greater),
)


@lower_cast(types.Float, LanesType)  # type: ignore[untyped-decorator]
@lower_cast(types.Integer, LanesType)  # type: ignore[untyped-decorator]
def _from_number(context: Any, builder: Any, kind: Any, _: Any, value: Any) -> Any:
    return spread(builder, context.cast(builder, value, kind, types.float64))


def _defined(
    function: Any, arguments: int, code: Callable[..., Any], result: types.Type = LANES
) -> None:
    """Let a function of lanes be instructions; where one argument is lanes, numbers become them."""

    class Template(AbstractTemplate):
        key = function

        def generic(self, args: Any, kws: Any) -> Any:
            fits = len(args) == arguments and LANES in args and not kws
            if fits and all(kind == LANES or isinstance(kind, NUMBERS) for kind in args):
                return signature(result, *[LANES] * arguments)
            return None

    infer_global(function, types.Function(Template))

    @lower_builtin(function, *[LanesType] * arguments)  # type: ignore[untyped-decorator]
    def implementation(context: Any, builder: Any, _: Any, args: Any) -> Any:
        return code(builder, *args)


def _arithmetic(name: str) -> Callable[..., Any]:
    return lambda builder, x, y: getattr(builder, name)(x, y)


def _by_instruction(name: str) -> Callable[..., Any]:
    def code(builder: Any, x: Any) -> Any:
        kind = ir.FunctionType(VECTOR, [VECTOR])
        title = f"llvm.{name}.v{COUNT}f64"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, title), [x])

    return code


def _nearer(sign: str) -> Callable[..., Any]:
    """The larger or smaller of two; the first where one is no number."""
    return lambda builder, x, y: builder.select(builder.fcmp_ordered(sign, y, x), y, x)


def _entry(_: Any, lanes: Any, k: Any) -> Any:
    """Entry k of lanes; a number is the entry of all of its own."""
    if lanes != LANES:
        return lanes(lanes, k), lambda context, builder, signature, args: args[0]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_element(*args)

    return types.float64(LANES, types.intp), code


def _replaced(_: Any, lanes: Any, k: Any, value: Any) -> Any:
    """Lanes, entry k of them another."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.insert_element(args[0], args[2], args[1])

    return LANES(LANES, types.intp, types.float64), code


_lane: Any = intrinsic(_entry)
_with_lane: Any = intrinsic(_replaced)


def _unary_by_lane(function: Any) -> None:
    @overload(function, strict=False, jit_options=_OPTIONS)
    def of_lanes(x: Any) -> Any:
        def each(x: Any) -> Any:
            result: Any = x
            for k in range(COUNT):
                result = _with_lane(result, k, function(_lane(x, k)))
            return result

        return each if x == LANES else None


def _binary_by_lane(function: Any) -> None:
    @overload(function, strict=False, jit_options=_OPTIONS)
    def of_lanes(x: Any, y: Any) -> Any:
        def each(x: Any, y: Any) -> Any:
            result: Any = x + 0 * y
            for k in range(COUNT):
                result = _with_lane(result, k, function(_lane(x, k), _lane(y, k)))
            return result

        whole = function is operator.pow and isinstance(y, types.Integer)
        return each if LANES in (x, y) and not whole else None


def _whole_powers_by_squares() -> None:
    @overload(operator.pow, strict=False, jit_options=_OPTIONS)
    def of_lanes(x: Any, n: Any) -> Any:
        def by_squares(x: Any, n: Any) -> Any:
            power, square, rest = 1.0, x, abs(n)
            while rest:
                if rest & 1:
                    power = power * square
                rest >>= 1
                square = square * square
            return 1 / power if n < 0 else power

        return by_squares if x == LANES and isinstance(n, types.Integer) else None


@overload_attribute(LanesType, "real")
def _real(x: Any) -> Any:
    def itself(x: Any) -> Any:
        return x

    return itself


@intrinsic
def in_lanes(_: Any, array: Any) -> Any:
    """An array of lanes, `(...)`: a contiguous float64 array `(..., COUNT)`, seen otherwise."""
    result = types.Array(LANES, array.ndim - 1, "C", aligned=False)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = make_array(array)(context, builder, args[0])
        lanes = make_array(result)(context, builder)
        populate_array(
            lanes,
            data=builder.bitcast(source.data, VECTOR.as_pointer()),
            shape=cgutils.unpack_tuple(builder, source.shape)[:-1],
            strides=cgutils.unpack_tuple(builder, source.strides)[:-1],
            itemsize=context.get_constant(types.intp, COUNT * 8),
            meminfo=None,
        )
        return lanes._getvalue()  # noqa: SLF001  (the way numba itself ends such code)

    return result(array), code


def all_less(x: Any, y: Any) -> Any:
    """Whether x < y, in all lanes; likewise of numbers."""
    return bool(np.all(np.less(x, y)))


def any_less(x: Any, y: Any) -> Any:
    """Whether x < y, in at least one lane; likewise of numbers."""
    return bool(np.any(np.less(x, y)))


def where_less(x: Any, y: Any, then: Any, otherwise: Any) -> Any:
    """In each lane ``then`` where x < y, else ``otherwise``; likewise of numbers and arrays.

    Args:
        x: what is compared.
        y: what it is compared with.
        then: the result where x is less.
        otherwise: the result where it is not, or one of the two is no number.

    Returns:
        The chosen values.
    """
    return np.where(np.less(x, y), then, otherwise)[()]


def _less(x: Any, y: Any) -> Any:
    return None if LANES in (x, y) else lambda x, y: x < y


for _question in (all_less, any_less):
    overload(_question, strict=False, jit_options=_QUICK)(_less)


@overload(where_less, jit_options=_QUICK)
def _where_less(x: Any, y: Any, then: Any, otherwise: Any) -> Any:
    def number(x: Any, y: Any, then: Any, otherwise: Any) -> Any:
        return then if x < y else otherwise

    return None if LANES in (x, y, then, otherwise) else number


def _mask(builder: Any, x: Any, y: Any) -> Any:
    """A bit for each lane in which x < y."""
    return builder.bitcast(builder.fcmp_ordered("<", x, y), ir.IntType(COUNT))


def _in_all(builder: Any, x: Any, y: Any) -> Any:
    return builder.icmp_unsigned("==", _mask(builder, x, y), ir.IntType(COUNT)(2**COUNT - 1))


def _in_any(builder: Any, x: Any, y: Any) -> Any:
    return builder.icmp_unsigned("!=", _mask(builder, x, y), ir.IntType(COUNT)(0))


def _chosen(builder: Any, x: Any, y: Any, then: Any, otherwise: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", x, y), then, otherwise)


def bits_of(x: Any) -> Any:
    """The bits of a float64 as a whole number, in the nearest float64."""
    return float(np.float64(x).view(np.int64))


def of_bits(x: Any) -> Any:
    """The float64 whose bits are those of a whole number, which is rounded towards zero."""
    return np.int64(x).view(np.float64)


@overload(bits_of, jit_options=_QUICK)
def _bits_of(x: Any) -> Any:
    return None if x == LANES else bits_of


@overload(of_bits, jit_options=_QUICK)
def _of_bits(x: Any) -> Any:
    return None if x == LANES else of_bits


def _define_all() -> None:
    """Give lanes their functions."""
    for name in ("add", "sub", "mul", "truediv"):
        for function in (getattr(operator, name), getattr(operator, f"i{name}")):
            _defined(function, 2, _arithmetic(f"f{name.removeprefix('true')}"))
    for function, sign in ((max, ">"), (min, "<")):
        _defined(function, 2, _nearer(sign))
    _defined(operator.neg, 1, lambda builder, x: builder.fneg(x))
    _defined(abs, 1, _by_instruction("fabs"))
    _defined(np.sqrt, 1, _by_instruction("sqrt"))
    _defined(all_less, 2, _in_all, types.boolean)
    _defined(any_less, 2, _in_any, types.boolean)
    _defined(where_less, 4, _chosen)
    _defined(bits_of, 1, lambda builder, x: builder.sitofp(builder.bitcast(x, _WORDS), VECTOR))
    _defined(of_bits, 1, lambda builder, x: builder.bitcast(builder.fptosi(x, _WORDS), VECTOR))
    _whole_powers_by_squares()
    for function in _UNARY:
        _unary_by_lane(function)
    for function in _BINARY:
        _binary_by_lane(function)


with global_compiler_lock:  # the functions of a name must not change while something is compiled
    _define_all()
