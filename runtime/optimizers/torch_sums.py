"""Sums of squares of tensors, and scalars after them, beyond the range of float64.

The square of a float64 entry beyond 1e154 overflows and that of one below 1e-162 vanishes, where
what follows from their sum need not: ``v / sqrt(1 + sum(v*v))``.  :func:`squares_over` takes such a
sum of scaled entries and gives a :class:`WideScalar`, whose arithmetic has an exponent of its own;
:func:`factor` makes of what follows what tensors are multiplied by.  Squares of float32 entries are
within float64, and their sum is a plain tensor.  No step waits for a device, and graphs go through
all of it.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from hamilforge.runtime.core.overlaps import is_wrapped
from hamilforge.runtime.core.shards import whole
from hamilforge.runtime.core.torch_functions import larger
from hamilforge.runtime.optimizers.wide import EXPONENTS, FAR, NEAR, PLAIN, RANGE, SCALED_RANGE

Tensor = torch.Tensor


def sum_over(values: Iterable[Tensor]) -> Tensor:
    """The sum of all entries of all tensors, in float64; of all processes for a DTensor."""
    sums = [whole(value.sum(dtype=torch.float64)) for value in values]
    return torch.stack([one.to(sums[0].device) for one in sums]).sum() if sums else torch.zeros(())


def squares_over(tensors: Iterable[Tensor]) -> Any:
    """The sum of the squares of all entries of all tensors.

    Returns:
        A float64 tensor; a :class:`WideScalar` where the squares, or what follows from them, may
        leave its range.
    """
    return squares_of([tensor for tensor in tensors if tensor.numel()], _squares)


def squares_of(tensors: list[Tensor], squares: Callable[..., Tensor]) -> Any:
    """The sum of the squares of all entries of all tensors, in range.

    Args:
        tensors: each with entries.
        squares: from tensors, and a scale of their entries or none, to the sum of their squares in
            float64.

    Returns:
        A float64 tensor; a :class:`WideScalar` where the squares, or what follows from them, may
        leave its range.
    """
    total = squares(tensors)
    if _is_known(total) and _is_plain(float(total.detach()), tensors):
        return total
    if all(tensor.dtype != torch.float64 for tensor in tensors):
        return WideScalar(total, 0.0) if _is_known(total) else total
    with torch.no_grad():
        exponent = torch.zeros_like(total)
        known = _fits(total, RANGE)
        for other in EXPONENTS[1:]:
            taken = ~known & _fits(squares(tensors, 2.0**-other), SCALED_RANGE)
            exponent = torch.where(taken, other, exponent)
            known = known | taken
    return WideScalar(squares(tensors, 2.0**-exponent), 2 * exponent)


def _squares(tensors: Iterable[Tensor], scale: Any = None) -> Tensor:
    wide = (tensor.double() if scale is None else scale * tensor.double() for tensor in tensors)
    return sum_over(entries * entries for entries in wide)


def _fits(total: Tensor, bounds: tuple[float, float]) -> Tensor:
    return (bounds[0] < total) & (total < bounds[1])


def _is_known(total: Tensor) -> bool:
    """Whether a sum has a number that can be looked at without waiting for a device."""
    traced = torch.compiler.is_compiling() or is_wrapped(total) or is_in_torch_dispatch_mode()
    return total.device.type == "cpu" and type(total) is Tensor and not traced


def _is_plain(total: float, tensors: Iterable[Tensor]) -> bool:
    """Whether a sum and what follows from it need no exponents, or it is of nothing but zeros."""
    if total == 0:
        return not any(bool(tensor.detach().any()) for tensor in tensors)
    return PLAIN[0] < total < PLAIN[1]


def factor(scalar: Any, tensors: Iterable[Tensor]) -> Any:
    """What tensors are multiplied by.

    Returns:
        A float64 tensor, where it is known to be a normal number of their types; a :class:`Factor`;
        a number as it is.
    """
    if isinstance(scalar, int | float):
        return scalar
    limits = [*map(_limit, {tensor.dtype for tensor in tensors})]
    least, most = min(limits, default=0), max(limits, default=0)
    nearest = narrow(scalar)
    if _is_known(nearest) and 2.0**-least <= abs(float(nearest.detach())) <= 2.0**least:
        return nearest
    if isinstance(scalar, WideScalar):
        inner = scalar.exponent.clamp(-least, least)
        power = torch.exp2((scalar.exponent - inner).clamp(-most, most))
        return Factor(scalar.mantissa * torch.exp2(inner), power)
    exponent = torch.frexp(nearest)[1].double()  # few operations: on a device each is a launch
    power = torch.exp2(exponent - exponent.clamp(-least, least))
    return Factor(nearest / power, power.clamp(2.0**-most, 2.0**most))


def _limit(dtype: torch.dtype) -> int:
    """Binary orders of magnitude of the normal numbers of a type, and of their inverses."""
    return math.frexp(torch.finfo(dtype).max)[1] - 3


def narrow(scalar: Any) -> Any:
    """A scalar as a float64 tensor: infinite or 0 beyond its range."""
    return scalar.narrow() if isinstance(scalar, WideScalar) else scalar


def larger_of(x: Any, y: Any) -> Any:
    """The larger of two scalars, of any range; NaN where one is."""
    if not isinstance(x, WideScalar) and not isinstance(y, WideScalar):
        return larger(x, y)
    like = x.mantissa if isinstance(x, WideScalar) else y.mantissa
    first, second = _of(x, like), _of(y, like)
    difference: Any = first - second
    same = first == second
    where: Any = torch.where  # of scalars of any range too
    chosen = where(same | (difference.mantissa > 0), first, second)
    return where(difference.mantissa.isnan() & ~same, difference, chosen)


def smaller_of(x: Any, y: Any) -> Any:
    """The smaller of two scalars, of any range; NaN where one is."""
    return -larger_of(-x, -y)


#: What torch calls for ``tensor + scalar`` and the like, and what that means.
_ARITHMETIC: dict[Callable[..., Any], Callable[[Any, Any], Any]] = {
    Tensor.add: operator.add,
    Tensor.sub: operator.sub,
    Tensor.mul: operator.mul,
    Tensor.div: operator.truediv,
}


class WideScalar:
    """``mantissa * 2**exponent``, both tensors of no dimension.

    Relative errors are a few roundings; that of a power ``x**a`` is ``a * exponent`` of them.
    Functions of one argument that are not in the table below take the nearest float.
    """

    _functions: ClassVar[dict[Callable[..., Any], str]] = {
        torch.sqrt: "_root",
        torch.log: "_log",
        torch.log1p: "_log1p",
        torch.where: "_where",
        torch.abs: "_abs",
    }

    def __init__(self, mantissa: Tensor, exponent: Any) -> None:
        with torch.no_grad():
            usable = mantissa.isfinite() & (mantissa != 0)
            more = torch.where(usable, torch.frexp(mantissa)[1], 0).double()
        self.mantissa = _scaled(mantissa, -more)
        self.exponent = torch.where(usable, more + exponent, 0.0)

    def narrow(self) -> Tensor:
        """The nearest float64 number."""
        return _scaled(self.mantissa, self.exponent)

    def __add__(self, other: Any) -> WideScalar:
        x, y = self, _of(other, self.mantissa)
        swap = (x.mantissa == 0) | ((y.mantissa != 0) & (x.exponent < y.exponent))
        exponent = torch.where(swap, y.exponent, x.exponent)
        high = torch.where(swap, y.mantissa, x.mantissa)
        low = torch.where(swap, x.mantissa, y.mantissa)
        below = (x.exponent - y.exponent).abs()
        return WideScalar(high + _scaled(low, -below), exponent)

    def __mul__(self, other: Any) -> WideScalar:
        y = _of(other, self.mantissa)
        return WideScalar(self.mantissa * y.mantissa, self.exponent + y.exponent)

    def __truediv__(self, other: Any) -> WideScalar:
        y = _of(other, self.mantissa)
        return WideScalar(self.mantissa / y.mantissa, self.exponent - y.exponent)

    def __neg__(self) -> WideScalar:
        return WideScalar(-self.mantissa, self.exponent)

    def __sub__(self, other: Any) -> WideScalar:
        return self + -_of(other, self.mantissa)

    def __rsub__(self, other: Any) -> WideScalar:
        return -self + other

    def __rtruediv__(self, other: Any) -> WideScalar:
        return _of(other, self.mantissa) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def _abs(self, _: Any = None) -> WideScalar:
        return WideScalar(self.mantissa.abs(), self.exponent)

    __abs__ = _abs

    def __pow__(self, power: Any) -> WideScalar:
        power = narrow(power)
        orders = self.exponent * power
        with torch.no_grad():
            rounded = torch.as_tensor(orders).floor()
        return WideScalar(self.mantissa**power * 2.0 ** (orders - rounded), rounded)

    def __rpow__(self, base: Any) -> WideScalar:
        return _of(base ** self.narrow(), self.mantissa)

    def __eq__(self, other: object) -> Any:
        y = _of(other, self.mantissa)
        return (self.mantissa == y.mantissa) & (self.exponent == y.exponent)

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Torch's functions; those that know no exponents take the nearest float."""
        like = next(arg for arg in args if isinstance(arg, WideScalar))
        if function in _ARITHMETIC:  # a tensor of no dimension before a scalar
            return _ARITHMETIC[function](_of(args[0], like.mantissa), args[1])
        if function in cls._functions:
            return getattr(like, cls._functions[function])(*args, **(kwargs or {}))
        return _of(function(*map(narrow, args), **(kwargs or {})), like.mantissa)

    def _root(self, _: Any) -> WideScalar:
        odd = self.exponent % 2
        return WideScalar((self.mantissa * (1 + odd)).sqrt(), (self.exponent - odd) / 2)

    def _log(self, _: Any) -> WideScalar:
        far = self.exponent.abs() > NEAR
        near = torch.where(far, 1.0, self.narrow()).log()
        mantissa = torch.where(far, self.mantissa, 1.0)
        return _of(torch.where(far, mantissa.log() + self.exponent * math.log(2), near), mantissa)

    def _log1p(self, _: Any) -> WideScalar:
        far = self.exponent > NEAR
        near = torch.log1p(torch.where(far, 0.0, self.narrow()))
        one = torch.ones_like(self.mantissa)
        taken = WideScalar(torch.where(far, self.mantissa, one), torch.where(far, self.exponent, 0))
        return self._where(far, taken._log(None), _of(near, one))

    def _where(self, test: Any, then: Any, otherwise: Any) -> WideScalar:
        x, y = _of(then, self.mantissa), _of(otherwise, self.mantissa)
        mantissa = torch.where(test, x.mantissa, y.mantissa)
        return WideScalar(mantissa, torch.where(test, x.exponent, y.exponent))


_PRODUCTS = (operator.mul, torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__)


class Factor:
    """A scalar that multiplies tensors in two steps, in range where the product is.

    Args:
        number: a normal number of the tensors' types.
        power: a power of two: 1 where the scalar is such a number itself.
    """

    def __init__(self, number: Tensor, power: Tensor) -> None:
        self.number, self.power = number, power

    def __mul__(self, tensor: Tensor) -> Tensor:
        return tensor * self.number * self.power

    __rmul__ = __mul__

    def __neg__(self) -> Factor:
        return Factor(-self.number, self.power)

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Products with tensors, whoever comes first; nothing else is printed of a factor."""
        if function not in _PRODUCTS:
            raise NotImplementedError(f"{function} of a factor")
        scalar, tensor = args if isinstance(args[0], Factor) else reversed(args)
        return tensor * scalar.number * scalar.power


def _of(value: Any, like: Tensor) -> WideScalar:
    if isinstance(value, WideScalar):
        return value
    if not isinstance(value, Tensor):  # no copy to a device, which would wait for it
        return WideScalar(torch.full_like(like.detach(), value), 0.0)
    return WideScalar(value.to(like), 0.0)


def _scaled(tensor: Tensor, exponent: Any) -> Tensor:
    """``tensor * 2**exponent``, in steps of which none leaves the range before the last."""
    exponent = torch.as_tensor(exponent, dtype=torch.float64).clamp(-FAR, FAR)
    third = (exponent / 3).trunc()
    for part in (third, third, exponent - 2 * third):
        tensor = tensor * 2.0**part
    return tensor
