"""The host side of a step: hyper-parameters in, a row of scalars out.

A :class:`Clock` is where one parameter group stands: its time, the number of its step, the stage
within the step, the rows latched at the step's first stage, and what the last step left behind.  It
is immutable, so that a copy of it is a checkpoint.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

Row = tuple[Any, ...]
#: How many fields the clocks of older versions were saved with.
_OLD_FIELDS = 7


#: The gradient's sign, the L2 factor and the factor of decoupled decay where nothing is prepared.
NEUTRAL: Row = (1.0, 0.0, 1.0)


class BeforeStart(ValueError):
    """A step reaches back to a time at which the friction has no meaning, such as 3/t at 0.

    Args:
        t: the time.
    """

    def __str__(self) -> str:
        (t,) = self.args
        return (
            f"the friction is asked for at t = {t}, before its start; take a smaller step or start "
            "the clock later"
        )


class Unmet(ValueError):
    """A condition that a rule requires of its hyper-parameters does not hold."""


class Clock(NamedTuple):
    """Where a group stands.

    Attributes:
        t: time at the start of the step, the sum of the steps so far in float64.
        n: number of the step, from 1.
        stage: number of the stage within the step, from 0.
        memory: what the last finished step left, in the order of the product's MEMORY.
        rows: the scalars of each stage, latched at the first; then those of the outer step, where
            the step is the last of a loop.
        pending: time and memory that take effect when the step is finished.
        preparation: the gradient's sign, the L2 factor and the factor of decoupled weight decay,
            latched with the rows; the last acts in the first stage.
        decaying: for each stage, whether the L2 factor acts in it; latched too.
    """

    t: float
    n: int
    stage: int
    memory: Row
    rows: tuple[Row, ...] = ()
    pending: tuple[float, Row] = (0.0, ())
    preparation: Row = NEUTRAL
    decaying: tuple[bool, ...] = ()

    def __repr__(self) -> str:
        stage = f", stage {self.stage + 1}" if self.stage else ""
        return f"at step {self.n}{stage}, t = {self.t:g}"

    def row(self) -> Row:
        """The scalars of this stage after its preparation: parameters shrink in the first only."""
        sign, l2, shrink = self.preparation
        l2 = l2 if self.decaying[self.stage] else 0.0
        return (sign, l2, 1.0 if self.stage else shrink, *self.rows[self.stage])

    def plain(self) -> Row:
        """The clock as one row of numbers, for checkpoints: some formats drop empty tuples.

        Time, number of the step, stage and memory; within a step, then, the rows, what is pending,
        and the preparation.
        """
        here = (self.t, self.n, self.stage, *self.memory)
        if not self.stage:
            return here
        step, memory = self.pending
        return (*here, *itertools.chain(*self.rows), step, *memory, *self.preparation)


def start(product: ModuleType) -> Clock:
    """The clock before the first step."""
    return Clock(product.START_TIME, 1, 0, (0.0,) * len(product.MEMORY))


def restored(values: Any, product: ModuleType, widths: Sequence[int]) -> Clock:
    """The clock of a checkpoint, checked: kernels trust its rows.

    Args:
        values: what :meth:`Clock.plain` gave, also as a list; or the tuple of older versions.
        product: the generated module.
        widths: how many scalars each stage takes.

    Returns:
        The clock; between steps without rows.

    Raises:
        ValueError: it is no clock, or not one of this product.
    """
    count = len(widths) - product.CLOSES
    try:
        clock = values if isinstance(values, Clock) else _read(values, product, widths)
        between = clock.stage == 0
        fits = (
            isinstance(clock.n, int)
            and clock.n >= 1
            and isinstance(clock.stage, int)
            and 0 <= clock.stage < count
            and len(clock.memory) == len(product.MEMORY)
            and _are_numbers((clock.t, *clock.memory))
        )
        if fits and not between:
            step, memory = clock.pending
            fits = (
                [len(row) for row in clock.rows] == list(widths[: len(clock.rows)])
                and len(clock.rows) in (count, len(widths))
                and len(memory) == len(product.MEMORY)
                and len(clock.preparation) == 3
                and _are_numbers((step, *memory, *clock.preparation, *itertools.chain(*clock.rows)))
            )
    except (TypeError, ValueError, StopIteration):
        fits = False
    if not fits:
        raise ValueError(f"the clock {values!r} is not one of this rule")
    if between:
        return Clock(clock.t, clock.n, 0, clock.memory)
    return clock._replace(decaying=product.DECAYING)


def _read(values: Any, product: ModuleType, widths: Sequence[int]) -> Clock:
    """A clock from its row of numbers, or from the tuple that older versions saved."""
    known = _tuples(values)
    if len(known) == _OLD_FIELDS and not isinstance(known[3], int | float):
        t, n, stage, memory, rows, pending, preparation = known
        left = (*(pending or (0.0,)), ())
        return Clock(t, n, stage, memory or (), rows or (), (left[0], left[1] or ()), preparation)
    entries = iter(known)

    def take(count: int) -> Row:
        return tuple(itertools.islice(entries, count))

    t, n, stage = take(3)
    memory = take(len(product.MEMORY))
    clock = Clock(t, n, stage, memory)
    if stage:
        if product.CLOSES:  # the step is the last of a loop if it counts one more
            loops = product.MEMORY.index("last_loops")
            left = known[len(known) - len(NEUTRAL) - len(memory) :]
            inside = widths[: len(widths) - product.CLOSES]
            widths = widths if left[loops] > memory[loops] else inside
        rows = tuple(map(take, widths))
        pending = (next(entries), take(len(product.MEMORY)))
        clock = Clock(t, n, stage, memory, rows, pending, take(3))
    if take(1):
        raise ValueError("more numbers than this clock has")
    return clock


def _are_numbers(values: Iterable[Any]) -> bool:
    """Whether all are finite reals, or tensors of one entry, as differentiable steps leave them."""
    return all(
        value.numel() == 1
        if hasattr(value, "numel")
        else isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )


def latch(
    product: ModuleType,
    clock: Clock,
    hyper: Mapping[str, Any],
    preparation: Row = NEUTRAL,
    tensor_math: Any = None,
    loss: Any = None,
    workers: int = 1,
) -> Clock:
    """Compute the rows of a step at its first stage; in the middle of a step, do nothing.

    Args:
        product: a generated module.
        clock: where the group stands.
        hyper: its hyper-parameters; who sets them has them looked at by
            :func:`check_requirements`.
        preparation: sign, L2 factor and decoupled factor.
        tensor_math: where the host scalars find their functions if they are tensors, which keep
            their graph and are not checked; :mod:`math` if None.
        loss: at the point of the gradient; only some rules read it, with the gradient's sign.
        workers: how many there are; only some rules read it.

    Returns:
        The clock with the rows of all stages, and what takes effect at the end of the step; in the
        middle of a step the clock as it was.

    Raises:
        BeforeStart: the step leaves the friction's domain.
        ValueError: a scalar is not finite, or a rule reads the loss and there is none.
    """
    if clock.stage:
        return clock
    if product.LOSS and loss is None:
        raise ValueError(
            "the rule reads the loss: step(closure) takes a function that computes and returns it"
        )
    takes_math = tensor_math and "math" in (product.coefficients.__kwdefaults__ or {})
    namespace = {"math": tensor_math} if takes_math else {}
    values = [hyper[name] for name in product.HYPERPARAMETERS]
    losses = (preparation[0] * loss,) if product.LOSS else ()
    more = (*losses, *((workers,) * _counts_workers(product)))
    try:
        rows, memory, step = product.coefficients(
            *values, clock.t, float(clock.n), *clock.memory, *more, **namespace
        )
        numbers = itertools.chain(*rows, memory, (step,))
        finite = tensor_math or all(map(math.isfinite, numbers))
    except BeforeStart:
        raise
    except (ArithmeticError, TypeError, ValueError) as error:  # a complex number is no argument
        raise ValueError(_not_finite(clock, hyper, f": {error}")) from error
    if not finite:
        raise ValueError(_not_finite(clock, hyper))
    pending = (clock.t + step, memory)
    known = (clock.t, clock.n, 0, clock.memory, rows, pending, preparation)
    return Clock(*known, product.DECAYING)


def _counts_workers(product: ModuleType) -> bool:
    """Whether the host reads how many workers there are."""
    return getattr(product, "WORKERS", False)


def check_requirements(product: ModuleType, hyper: Mapping[str, Any], workers: int = 1) -> None:
    """Refuse hyper-parameters that a rule does not allow together.

    Args:
        product: a generated module.
        hyper: its hyper-parameters.
        workers: how many there are.

    Raises:
        Unmet: a condition does not hold.
    """
    check = getattr(product, "check_requirements", None)
    if check is not None:
        known = {name: hyper[name] for name in product.HYPERPARAMETERS}
        known |= {"workers": workers} if _counts_workers(product) else {}
        try:
            check(*known.values())
        except Unmet as error:
            here = ", ".join(f"{name}={_told(product, name, known[name])}" for name in known)
            raise Unmet(f"{error}; here {here}") from None


def _told(product: ModuleType, name: str, value: Any) -> str:
    """A value as its user writes it: a choice by its name."""
    choices = getattr(product, "CHOICES", {}).get(name)
    return repr(choices[int(value)]) if choices else f"{float(value):g}"


def tick(clock: Clock) -> Clock:
    """The clock after a stage."""
    if clock.stage + 1 < len(clock.rows):
        return clock._replace(stage=clock.stage + 1)
    t, memory = clock.pending
    return Clock(t, clock.n + 1, 0, memory)


def _tuples(value: Any) -> Any:
    """Lists as tuples, all the way down: some formats of checkpoints know lists only."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _not_finite(clock: Clock, hyper: Mapping[str, Any], why: str = "") -> str:
    values = ", ".join(f"{name}={value}" for name, value in hyper.items())
    where = f"step {clock.n}, t = {clock.t:g}, {values}"
    return f"a scalar of the step is no finite number at {where}{why}; nothing was changed"
