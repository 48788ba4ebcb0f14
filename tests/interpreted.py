"""Optimizers whose kernels run as plain Python: what a declaration means, without compiling it.

That compiled kernels are what their text says is tested with the optimizers of the catalogue; the
text of any other declaration is held to its program here.
"""

from __future__ import annotations

import ctypes
import importlib
import re
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import hamilforge.runtime
from hamilforge import verification
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare import kinds
from hamilforge.gen.digests import COMPILED_IN
from hamilforge.gen.program.build import derive
from hamilforge.gen.program.build_rule import derive_rule
from hamilforge.runtime.core.comparison import Verification
from hamilforge.runtime.optimizers.verify import compare

RUNTIME = Path(hamilforge.runtime.__file__).parent
#: Tensors of which Python runs through every entry, and whose sums are not small all the same.
SHAPES = ((5,), (3, 4), (1,), (200,))


def _array_at(address: int, offset: int, length: int, like: Any) -> Any:
    kind = ctypes.c_float if like.itemsize == 4 else ctypes.c_double
    first = int(address) + int(offset) * like.itemsize
    return np.ctypeslib.as_array((kind * int(length)).from_address(first))


def _compiled(*functions: Any, **_: Any) -> Any:
    """What stands for numba's decorators: nothing is done."""
    return functions[0] if functions else lambda function: function


def as_python(text: str, name: str) -> types.ModuleType:
    """A module with kernels, generated or of the runtime, none of which is compiled."""
    module = types.ModuleType(name)
    module.__dict__.update(njit=_compiled, prange=range, array_at=_array_at)
    for function in ("inner_function", "summing_function", "borrowing_function"):
        module.__dict__[function] = _compiled
    for room, source in re.findall(r"^from hamilforge\.runtime\.(\w+) import (\w+)", text, re.M):
        if COMPILED_IN.get(source) == room:
            path = RUNTIME / room / f"{source}.py"
            own = path.read_text(encoding="utf-8")
            # what numba is told of by other means is Python already
            plain = "numba.extending" in own
            whole = importlib.import_module(f"hamilforge.runtime.{room}.{source}")
            module.__dict__[source] = whole if plain else as_python(own, source)
    text = re.sub(r"^from (numba|hamilforge).*$", "", text, flags=re.M)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


class Interpreted:
    """A product of two texts: kernels as plain Python, and what torch runs."""

    def __init__(self, texts: dict[str, str]) -> None:
        (kernels,) = (text for name, text in texts.items() if name.endswith("_numba.py"))
        (functional,) = (text for name, text in texts.items() if name.endswith("_torch.py"))
        self.name = "interpreted"
        self._modules = {
            "numba": as_python(kernels, "kernels"),
            "torch": types.ModuleType("functional"),
        }
        exec(compile(functional, "functional", "exec"), self._modules["torch"].__dict__)

    def module(self, backend: str) -> types.ModuleType:
        return self._modules[backend]


def verified(path: str | Path) -> Verification:
    """Both texts of an optimizer beside the interpretation of its program.

    Args:
        path: of the declaration, or a name in the catalogue.

    Returns:
        What :func:`hamilforge.verify` returns, of small tensors.
    """
    (made,) = products.load_made(path)
    program = (derive_rule if isinstance(made, kinds.Rule) else derive)(made).program
    product = Interpreted(pipeline.rendered((made,)))
    with mock.patch.object(verification, "SHAPES", SHAPES), np.errstate(all="ignore"):
        return compare(product, verification.reference_cases(program), ("numba", "torch"))
