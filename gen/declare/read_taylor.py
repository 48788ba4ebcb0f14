"""Reader of the kind ``taylor``, and the order that a tolerance asks for."""

from __future__ import annotations

import dataclasses
import math
from numbers import Integral
from typing import Any

from hamilforge.gen.declare import kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.read_parts import Find
from hamilforge.gen.declare.reader import Reader

#: What ``order`` says where it follows from the tolerance.
OF_TOLERANCE = "tolerance"
#: The lowest order, and the highest that code is made for.
LEAST, MOST = 2, 60
#: The smallest tolerance: a rounding of double precision, 2^-53.
MINIMUM = 1e-16
#: The tolerance that counts where none is given.
TOLERANCE = 1e-6


def taylor(reader: Reader, head: kinds.Head, find: Find) -> kinds.Declaration:
    """Taylor's method, of a fixed order or of one that follows from the tolerance.

    Args:
        reader: the file.
        head: what declarations of all kinds begin with: name, title, reference, claims, source.
        find: reads another declaration; there is none.

    Returns:
        The method.

    Raises:
        DeclarationError: the declaration has problems; all that were found are listed.
    """
    reader.keys(("order",))
    order = reader.source.tables.get("order")
    if order != OF_TOLERANCE and not _is_order(order):
        reader.problem(
            f"'{OF_TOLERANCE}' or a whole number from {LEAST} to {MOST} was expected", "order"
        )
    reader.finish()
    return kinds.Taylor(head, None if order == OF_TOLERANCE else int(str(order)))


def _is_order(order: object) -> bool:
    whole = isinstance(order, Integral) and not isinstance(order, bool)
    return whole and LEAST <= int(str(order)) <= MOST


def order_of(tolerance: float) -> int:
    """The order of least work per time, if that of a step grows as (p + 4)^2.

    The last term of a step is e^-5 of the tolerance, so that with s = 5 - log(tolerance) a step of
    order p is e^(-s/p) of the radius of convergence.  Work of a step are p^2 products of series,
    and what every step takes besides; (p + 4)^2 e^(s/p) is least where 4 p = s + sqrt(s^2 + 32 s).
    Where p^2 is all of the work, as in large systems, p is s/2 and a step e^-2 of the radius: so
    A. Jorba and M. Zou, Experiment. Math. 14 (2005) 99-117, doi:10.1080/10586458.2005.10128904,
    section 3.2.

    Args:
        tolerance: relative, between 0 and 1.

    Returns:
        The order.
    """
    s = 5 - math.log(tolerance)
    return round((s + math.sqrt(s * (s + 32))) / 4)


def order_of_smallest(tolerance: Any) -> int:
    """The order for the smallest of some tolerances.

    Args:
        tolerance: a number, or a sequence of numbers.

    Returns:
        The order; the lowest where there is no tolerance between 0 and 1, which is refused later.

    Raises:
        ValueError: the smallest is below the rounding of double precision.
    """
    try:
        smallest = min(map(float, tolerance if _are_several(tolerance) else (tolerance,)))
    except (TypeError, ValueError):
        return LEAST
    if 0 < smallest < MINIMUM:
        raise ValueError(
            f"rtol = {smallest:g} is below the rounding of double precision; {MINIMUM:g} is the "
            "smallest"
        )
    return order_of(smallest) if 0 < smallest < 1 else LEAST


def _are_several(tolerance: Any) -> bool:
    return hasattr(tolerance, "__len__") and getattr(tolerance, "ndim", 1) > 0


def with_order(method: kinds.Taylor, order: int | None) -> kinds.Taylor:
    """The same method with an order.

    Args:
        method: as it is declared.
        order: what the caller chose; None for the declared one, or that of the tolerance 1e-6.

    Returns:
        The method, with what was chosen.

    Raises:
        DeclarationError: the declaration fixes another order.
        ValueError: the order is none that code is made for.
    """
    if order is None:
        return dataclasses.replace(method, chosen=method.order or order_of(TOLERANCE))
    if not _is_order(order):
        raise ValueError(f"order = {order!r}: a whole number from {LEAST} to {MOST} was expected")
    if method.order is not None and order != method.order:
        raise DeclarationError.single(
            method.head.source.where,
            f"'{method.head.name}' declares its order, {method.order}: no other can be chosen",
            "order",
        )
    same = order == (method.order or order_of(TOLERANCE))
    varied = () if same else (f"--order {order}",)
    return dataclasses.replace(method, chosen=int(order), varied=varied)
