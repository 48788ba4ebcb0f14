"""Sums of products of Taylor coefficients, of eight series at once, in registers of eight numbers.

Row k of an array holds the coefficients of power k, a column for each series.  Compilers see a loop
over powers, gather columns for it and transpose them; that takes three times as long.  So the loop
is made of instructions on vectors of eight, which processors have in one, two or four registers;
of complex numbers, for derivatives by complex steps, it is the plain one.
Compiled into kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numba.np.arrayobj import make_array

from hamilforge.runtime.core.inner_functions import inner_function
from hamilforge.runtime.core.lanes_type import COUNT, VECTOR, spread

#: Products may be added without rounding them first.
_CONTRACT = ("contract",)


def add_products(
    rows: Any,
    k: int,
    first: int,
    last: int,
    left: int,
    right: int,
    result: int,
    gained: float | None,
    lost: float | None,
) -> None:
    """Add to eight entries of row k products of coefficients whose powers are k together.

    With i from 0 to 7, ``rows[k, result + i]`` grows by the sum over j from ``first`` to
    ``last - 1`` of ``w_j rows[j, left + i] rows[k - j, right + i]``, where
    ``w_j = gained j + lost (k - j)``.

    Args:
        rows: the coefficients, `(powers, columns)`.
        k: the power.
        first: the first power of the one factor.
        last: what comes after its last.
        left: the first column of the one factor.
        right: that of the other.
        result: that of the sums.
        gained: of the weights; None for weights of 1.
        lost: likewise.
    """
    for i in range(COUNT):
        total: Any = rows[k, result + i]
        for j in range(first, last):
            products = rows[j, left + i] * rows[k - j, right + i]
            if gained is not None and lost is not None:
                products *= gained * j + lost * (k - j)
            total += products
        rows[k, result + i] = total


@overload(add_products, strict=False)
def _add_products(rows: Any, *_: Any) -> Any:
    fits = rows.dtype == types.float64 and rows.layout == "C"  # complex numbers have two parts
    add: Any = _in_registers if fits else inner_function(add_products)

    def compiled(
        rows: Any,
        k: int,
        first: int,
        last: int,
        left: int,
        right: int,
        result: int,
        gained: Any,
        lost: Any,
    ) -> None:
        add(rows, k, first, last, left, right, result, gained, lost)

    return compiled


@intrinsic
def _in_registers(
    typing_context: Any,
    rows: Any,
    k: Any,
    first: Any,
    last: Any,
    left: Any,
    right: Any,
    result: Any,
    gained: Any,
    lost: Any,
) -> Any:
    """Add products, by instructions; arguments as of :func:`add_products`."""
    weighted = not isinstance(gained, types.NoneType)
    whole = [types.intp] * 6
    weights = [types.float64] * 2 if weighted else [types.none] * 2
    signature = types.void(rows, *whole, *weights)
    return signature, _weighted_code if weighted else _plain_code


def _plain_code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    _add_in_registers(context, builder, signature, args, None)
    return context.get_dummy_value()


def _weighted_code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    _, k, *_, gained, lost = args

    def weight(j: Any) -> Any:
        double = ir.DoubleType()
        grown = builder.fmul(gained, builder.sitofp(j, double))
        shrunk = builder.fmul(lost, builder.sitofp(builder.sub(k, j), double))
        return builder.fadd(grown, shrunk)

    _add_in_registers(context, builder, signature, args, weight)
    return context.get_dummy_value()


def _add_in_registers(context: Any, builder: Any, signature: Any, args: Any, weight: Any) -> None:
    """The instructions: a loop with the sum in registers, then one store."""
    table, k, first, last, left, right, result, *_ = args
    array = make_array(signature.args[0])(context, builder, table)
    (row_bytes, entry_bytes) = cgutils.unpack_tuple(builder, array.strides)
    begin = builder.bitcast(array.data, ir.IntType(8).as_pointer())

    def entries(row: Any, column: Any) -> Any:
        offset = builder.add(builder.mul(row, row_bytes), builder.mul(column, entry_bytes))
        return builder.bitcast(builder.gep(begin, [offset]), VECTOR.as_pointer())

    end = entries(k, result)
    total = cgutils.alloca_once_value(builder, builder.load(end, align=8))
    with cgutils.for_range_slice(builder, first, last, first.type(1)) as (j, _):
        x = builder.load(entries(j, left), align=8)
        y = builder.load(entries(builder.sub(k, j), right), align=8)
        if weight is not None:
            x = builder.fmul(spread(builder, weight(j)), x, flags=_CONTRACT)
        products = builder.fmul(x, y, flags=_CONTRACT)
        builder.store(builder.fadd(builder.load(total), products, flags=_CONTRACT), total)
    builder.store(builder.load(total), end, align=8)
