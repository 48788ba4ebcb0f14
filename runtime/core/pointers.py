"""Arrays from addresses, inside kernels.

Generated kernels take all tensors of an optimizer in one call, as a table of addresses.  The digest
of this file stands in each of them, because numba's cache does not see a change in a function that
lives in another file.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


@intrinsic
def array_at(typing_context: Any, address: Any, offset: Any, length: Any, like: Any) -> Any:
    """The ``length`` entries from number ``offset`` of the array at ``address``.

    Made of instructions, not of Python source: it stands in every loop of every kernel, and this
    halves what it costs to compile.

    Args:
        typing_context: numba's.
        address: where the array begins, in bytes.
        offset: the number of the first entry.
        length: how many entries.
        like: an array of the same type.

    Returns:
        `(length,)`, a view; nothing is copied and nothing keeps the memory alive.
    """
    vector = types.Array(like.dtype, 1, "C")
    signature = vector(types.uintp, types.intp, types.intp, like)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, start, size, _ = args
        entry = context.get_data_type(like.dtype)
        width = context.get_constant(types.intp, context.get_abi_sizeof(entry))
        data = builder.gep(builder.inttoptr(first, entry.as_pointer()), [start])
        array = make_array(vector)(context, builder)
        parts = {"shape": [size], "strides": [width], "itemsize": width, "meminfo": None}
        populate_array(array, data=data, **parts)
        return array._getvalue()  # noqa: SLF001  (the way numba itself ends such code)

    return signature, code
