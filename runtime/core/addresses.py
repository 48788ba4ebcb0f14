"""Where the entries of tensors begin, for many tensors at once.

torch keeps a C function for the code that its own compiler generates: from a tensor's object to
the address of its entries.  Called from a compiled loop it takes a tenth of the time of
``data_ptr`` called from Python; in a version of torch without it, ``data_ptr`` is called.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from hamilforge.runtime.core import jit

#: For fewer tensors the loop in Python is as quick.
FEW = 8
#: For fewer ones, where nothing else is compiled, the loop is not worth loading: half a second.
FEW_ALONE = 64

try:
    from torch._C._dynamo.guards import (  # type: ignore[attr-defined]
        _torchinductor_pyobject_tensor_data_ptr as _ENTRIES_OF,
    )
except ImportError:
    _ENTRIES_OF = 0
_ITEM_OF = ctypes.cast(ctypes.pythonapi.PyList_GetItem, ctypes.c_void_p).value


def addresses(tensors: list[torch.Tensor], beside_kernels: bool = False) -> NDArray[np.uintp]:
    """The addresses of the first entries.

    Args:
        tensors: strided tensors of the classes Tensor and Parameter, as the caller has made sure.
        beside_kernels: whether kernels run anyway.

    Returns:
        `(tensors,)`.
    """
    if len(tensors) >= (FEW if beside_kernels else FEW_ALONE) and _is_trusted():
        return _gathered(tensors)
    return _asked_for(tensors)


def _asked_for(tensors: list[torch.Tensor]) -> NDArray[np.uintp]:
    return np.fromiter(map(torch.Tensor.data_ptr, tensors), np.uintp, len(tensors))


def _gathered(tensors: list[torch.Tensor]) -> NDArray[np.uintp]:
    places = np.empty(len(tensors), np.uintp)
    _gather(id(tensors), _ITEM_OF, _ENTRIES_OF, places)
    return places


@functools.cache
def _is_trusted() -> bool:
    """Whether torch's C function is there and gives what ``data_ptr`` gives, tried once."""
    base = torch.zeros(8)
    probes = [base, base[3:], torch.nn.Parameter(base[5:])]
    can_gather = bool(_ENTRIES_OF) and jit.is_on()
    return can_gather and _gathered(probes).tolist() == _asked_for(probes).tolist()


@intrinsic
def _call(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Call the C function at an address, which takes addresses or integers and returns an address.

    Without errors to look at, and with Python's lock held, as it is in a compiled function.
    """
    signature = types.uintp(types.uintp, arguments)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = [builder.extract_value(args[1], k) for k in range(len(arguments))]
        word = context.get_value_type(types.uintp)
        kind = ir.FunctionType(word, [value.type for value in values])
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)

    return signature, code


@njit(cache=True)
def _gather(items: Any, item_of: Any, entries_of: Any, places: Any) -> None:
    for k in range(places.size):
        item: Any = _call(item_of, (items, k))  # type: ignore[call-arg]
        places[k] = _call(entries_of, (item,))
