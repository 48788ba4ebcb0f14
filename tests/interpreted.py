"""Kernels that run as plain Python: what a declaration means, without compiling it.

That compiled kernels are what their text says is tested with a cover of the catalogue; the text of
any other declaration is held to its program here.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import math
import operator
import re
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import hamilforge.runtime
from hamilforge import optimizer_cases
from hamilforge.gen import pipeline, products
from hamilforge.gen.program.optimizers import programs
from hamilforge.gen.program.optimizers.optimizer import Program
from hamilforge.gen.program.optimizers.programs import AnyOptimizer
from hamilforge.runtime.core import lanes, loader
from hamilforge.runtime.core.comparison import Verification
from hamilforge.runtime.optimizers.torch_optimizer import GeneratedOptimizer
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
    for function in functions:
        function.py_func = function
        return function
    return _compiled


#: What kernels call in place of what numba alone can call.
_OWN = {
    "array_at": _array_at,
    "vector_math": types.SimpleNamespace(
        tanh=np.tanh, exp=np.exp, logistic=lambda x: 1 / (1 + np.exp(-x))
    ),
    #: One lane, which is a number.
    "lanes": types.SimpleNamespace(
        COUNT=1,
        in_lanes=lambda array: array[..., 0],
        all_less=operator.lt,
        any_less=operator.lt,
        where_less=lanes.where_less,
    ),
    **dict.fromkeys(("inner_function", "summing_function", "borrowing_function"), _compiled),
}
#: Compiled, a number too large is infinite.
_MATH = types.SimpleNamespace(**{**vars(math), "ldexp": np.ldexp})
_IMPORT = re.compile(
    r"^from hamilforge\.runtime\.(\w+)(?:\.(\w+))? import (\([\w,\s]+\)|[\w, ]+).*$", re.M
)


def undecorated(text: str) -> str:
    """The text of kernels as Python, without anything that is imported of numba or the runtime."""
    text = re.sub(r"@njit\([^)]*\)\n", "", text).replace("prange", "range")
    return re.sub(r"^(from hamilforge|from numba|INNER = ).*\n", "", text, flags=re.M)


def as_python(text: str, name: str = "kernels") -> types.ModuleType:
    """A module with kernels, generated or of the runtime, none of which is compiled."""
    module = types.ModuleType(name)
    module.__dict__.update(njit=_compiled, prange=range)
    for room, source, names in _IMPORT.findall(text):
        for own in re.findall(r"\w+", names):
            if own in _OWN:
                module.__dict__[own] = _OWN[own]
            elif source:
                module.__dict__[own] = vars(of_the_runtime(room, source))[own]
            else:
                module.__dict__[own] = of_the_runtime(room, own)
    text = _IMPORT.sub("", re.sub(r"^from numba.*$", "", text, flags=re.M))
    exec(compile(text, name, "exec"), module.__dict__)
    if "math" in module.__dict__:
        module.__dict__["math"] = _MATH
    return module


@functools.cache
def of_the_runtime(room: str, name: str) -> types.ModuleType:
    """A module that kernels call; what numba is told of by other means is Python already."""
    text = (RUNTIME / room / f"{name}.py").read_text(encoding="utf-8")
    if re.search(r"^from numba\.", text, re.M):
        return importlib.import_module(f"hamilforge.runtime.{room}.{name}")
    return as_python(text, name)


@functools.lru_cache(maxsize=256)
def _kernels(path: str, name: str) -> types.ModuleType:
    return as_python(Path(path).read_text(encoding="utf-8"), name)


def interpret(patch: pytest.MonkeyPatch) -> None:
    """Let the kernels of every product that is loaded from now on be Python."""
    load = loader.Loaded.module

    def module(product: loader.Loaded, backend: str) -> types.ModuleType:
        loaded = load(product, backend)
        return _kernels(loaded.__file__, loaded.__name__) if backend == "numba" else loaded

    def kernels(optimizer: GeneratedOptimizer) -> types.ModuleType:
        loaded = compiled.fget(optimizer)
        return _kernels(loaded.__file__, loaded.__name__)

    compiled: Any = GeneratedOptimizer.kernels
    patch.setattr(loader.Loaded, "module", module)
    patch.setattr(GeneratedOptimizer, "kernels", property(kernels))


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


def program_of(optimizer: AnyOptimizer | str | Path) -> Program:
    """The program of an optimizer, declared or by its name in the catalogue or path."""
    if isinstance(optimizer, str | Path):
        (optimizer,) = products.load_made(optimizer)
    return programs.program_of(optimizer)


def verified(path: str | Path) -> Verification:
    """Both texts of an optimizer beside the interpretation of its program.

    Args:
        path: of the declaration, or a name in the catalogue.

    Returns:
        What :func:`hamilforge.verify` returns, of small tensors.
    """
    (made,) = products.load_made(path)
    program = program_of(made)
    product = Interpreted(pipeline.rendered((made,)))
    with mock.patch.object(optimizer_cases, "SHAPES", SHAPES), np.errstate(all="ignore"):
        return compare(product, optimizer_cases.reference_cases(program), ("numba", "torch"))
