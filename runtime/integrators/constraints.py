"""Starts of problems with constraints, checked: on the constraints, and moving along them.

In: a product's numba module and starts.  Out: nothing, or an error that says how far off they are.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from hamilforge.runtime.integrators.solution import Floats

#: How far off the constraints, and their rates, a start may be.
OFF = 1e-10
#: Where their terms, G q or G dq/dt, are large, so many roundings of them.
ROUNDINGS = 64
#: Constraints whose smallest singular value is below this part of the largest are dependent.
DEPENDENT = 1e-10


def off_message(product: str, what: str, name: str, size: float, room: float) -> str:
    """What is said of a start that is off.

    Args:
        product: its name.
        what: ``constraint`` or ``rate``.
        name: of the constraint.
        size: how far off.
        room: how far it may be.

    Returns:
        The message.
    """
    if what == "constraint":
        return (
            f"{product}: the start is off the constraint {name} by {size:.3g}, and at most "
            f"{room:.3g} is allowed"
        )
    return (
        f"{product}: the velocity at the start leads off the constraint {name}: its derivative by "
        f"the time is {size:.3g}, and at most {room:.3g} is allowed; take from the momenta what "
        "does not move along the constraints"
    )


def refuse_off_constraints(product: ModuleType, start: float, state: Floats, table: Floats) -> None:
    """Refuse a start that is off the constraints, or at which they are dependent.

    Args:
        product: a generated numba module.
        start: the time of the start.
        state: the starts, `(trajectories, components)`.
        table: the parameters of each, `(trajectories, parameters)`.

    Raises:
        ValueError: g or G dq/dt is beyond 1e-10, and beyond rounding where units make it large, or
            G has not full rank.
    """
    names = getattr(product, "CONSTRAINTS", ())
    if not names:
        return
    count, size = len(names), state.shape[1]
    for m, (y, row) in enumerate(zip(state, table, strict=True)):
        which = f" (trajectory {m})" if len(state) > 1 else ""
        value, rate = np.zeros(count), np.zeros(size)
        slopes, mass = np.zeros((count, size)), np.zeros((size, size))
        with np.errstate(all="ignore"):
            product.constraints(start, y, row, value)
            product.constraint_slopes(start, y, row, slopes)
            product.inverse_mass(start, y, row, mass)
            product.velocity(start, y, row, 1.0, rate)
            moved = slopes @ rate
        for what, off, vector in (("constraint", value, y), ("rate", moved, rate)):
            terms = abs(slopes[:, : size // 2]) @ abs(vector[: size // 2])
            room = np.maximum(OFF, ROUNDINGS * np.finfo(np.float64).eps * terms)
            worst = int(np.argmax(np.where(np.isnan(off), np.inf, abs(off) / room)))
            if not abs(off[worst]) <= room[worst]:
                told = abs(off[worst]), room[worst]
                raise ValueError(off_message(product.NAME, what, names[worst], *told) + which)
        found = np.linalg.svd(slopes @ mass @ slopes.T, compute_uv=False)
        if not found[-1] > DEPENDENT * found[0]:
            raise ValueError(
                f"{product.NAME}: the constraints {', '.join(names)} are dependent at the start"
                f"{which}: their gradients do not determine the multipliers (singular values "
                f"{found[0]:.3g} to {found[-1]:.3g}); leave out one that follows from the others"
            )
