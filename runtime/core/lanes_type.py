"""The type of eight numbers, without its functions, which :mod:`lanes` has.

numba's cache names the types that a function was compiled for, and imports this file to read them
while it compiles something else: what functions there are must not change then.
Compiled into kernels, which carry the digest of this file.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.typeconv import Conversion
from numba.extending import register_model

#: How many numbers there are.
COUNT = 8
#: LLVM's type of them.
VECTOR = ir.VectorType(ir.DoubleType(), COUNT)
#: Types whose values become lanes that are all equal.
NUMBERS = (types.Float, types.Integer)


class LanesType(types.Type):
    """Numba's type of eight numbers; a number becomes eight equal ones."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({COUNT})")

    def unify(self, typing_context: Any, other: Any) -> LanesType | None:
        """The type of a variable that holds a number first, and lanes then."""
        return self if isinstance(other, NUMBERS) else None

    def can_convert_from(self, typing_context: Any, other: Any) -> Conversion | None:
        """Whether a value of another type is taken."""
        return Conversion.safe if isinstance(other, NUMBERS) else None


LANES = LanesType()


@register_model(LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, VECTOR)


def spread(builder: Any, number: Any) -> Any:
    """Instructions that put a number into each lane."""
    place = ir.IntType(32)
    first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), number, place(0))
    everywhere = ir.Constant(ir.VectorType(place, COUNT), [0] * COUNT)
    return builder.shuffle_vector(first, first, everywhere)
