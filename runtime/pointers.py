"""Arrays from addresses, inside kernels.

Generated kernels take all tensors of an optimizer in one call, as a table of addresses.  The digest
of this file stands in each of them, because numba's cache does not see a change in a function that
lives in another file.
"""

from __future__ import annotations

from typing import Any

from numba import carray, njit, types
from numba.extending import intrinsic


@intrinsic
def _pointer(typing_context: Any, address: Any, like: Any) -> Any:
    """An address as a pointer to entries of the type of ``like``."""
    signature = types.CPointer(like.dtype)(types.uintp, like)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return signature, code


@njit(inline="always")
def array_at(address: Any, offset: Any, length: Any, like: Any) -> Any:
    """The ``length`` entries from number ``offset`` of the array at ``address``."""
    start = types.uintp(address) + types.uintp(offset * like.itemsize)
    return carray(_pointer(start, like), (length,))  # type: ignore[call-arg]
