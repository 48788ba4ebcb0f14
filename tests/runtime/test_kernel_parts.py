"""Parts of kernels: typed and lowered once, and machine code nowhere but in the kernels."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import njit
from numba.core.dispatcher import Dispatcher

import hamilforge as hf
from hamilforge.runtime.core.inner_functions import inner_function
from hamilforge.runtime.core.kernel_parts import KernelPart, PartLibrary

from .children import told

PART = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": KernelPart}


def _square(x: float) -> float:
    if x < 0:
        raise ValueError("below zero")
    return x * x


def _libraries(function: Any) -> list[Any]:
    return [result.library for result in function.overloads.values()]


def _code(library: Any) -> set[str]:
    """The functions that a library holds machine code of."""
    return {function.name for function in library.get_defined_functions()}


def test_a_kernel_is_what_it_is_without_parts_and_alone_becomes_machine_code():
    square = njit(**PART)(_square)

    @njit(**PART)
    def fourth(x: float) -> float:
        return square(square(x))

    @njit
    def kernel(x: float) -> float:
        return fourth(x) + square(x)

    assert kernel(1.7) == (1.7 * 1.7) * (1.7 * 1.7) + 1.7 * 1.7
    with pytest.raises(ValueError, match="below zero"):
        kernel(-1.0)
    for part in (square, fourth):
        (library,) = _libraries(part)
        assert isinstance(library, PartLibrary)
        assert not _code(library)
    (library,) = _libraries(kernel)
    assert not isinstance(library, PartLibrary)
    assert _code(library)


def test_parts_are_not_optimised_before_they_are_taken_up():
    """What they call still stands there as a call."""
    square = njit(**PART)(_square)

    @njit(**PART)
    def fourth(x: float) -> float:
        return square(square(x))

    @njit
    def kernel(x: float) -> float:
        return fourth(x)

    assert kernel(2.0) == 16.0
    (library,) = _libraries(fourth)
    text = str(library._get_module_for_linking())
    assert len(re.findall(r"call \w+ @\w*_square", text)) == 2


def test_parts_call_themselves():
    @njit(**PART)
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    @njit
    def kernel(n: int) -> int:
        return factorial(n)

    assert kernel(10) == 3628800


def test_a_part_with_an_address_of_this_process_is_not_cached():
    cosine = ctypes.CDLL(ctypes.util.find_library("m")).cos
    cosine.argtypes, cosine.restype = [ctypes.c_double], ctypes.c_double

    @njit(**PART)
    def part(x: float) -> float:
        return cosine(x)

    @njit
    def kernel(x: float) -> float:
        return part(x)

    assert kernel(0.5) == np.cos(0.5)
    assert all(library.has_dynamic_globals for library in _libraries(part))


@pytest.mark.parametrize("entry", ["no_cpython_wrapper", "no_cfunc_wrapper"])
def test_what_python_or_c_calls_is_no_part(entry: str):
    @njit(**{**PART, entry: False})
    def called(x: float) -> float:
        return x

    with pytest.raises(ValueError, match="called is no part: it has an entry from Python or C"):
        called(1.0)


def test_what_only_kernels_of_the_catalogue_call_is_a_part():
    """As the runtime's own functions and generated files say it."""
    kernels = vars(hf.integrator("kepler", "rk4", h=0.01).product).values()
    functions = [function for function in kernels if isinstance(function, Dispatcher)]
    inner = [f for f in functions if f.targetoptions.get("no_cpython_wrapper")]
    assert 0 < len(inner) < len(functions)
    for function in (*inner, inner_function(_square)):
        assert function._compiler.pipeline_class is KernelPart


PARTS = """
    from hamilforge.runtime.core.inner_functions import inner_function
    @inner_function
    def square(x):
        return x * x
    @inner_function
    def fourth(x):
        return square(square(x))
"""
KERNEL = """
    from numba import njit
    from parts import fourth, square
    @njit(cache=True)
    def kernel(x):
        return fourth(x) + {n} * square(x)
    print(kernel(3.0), *(sum(f.stats.cache_hits.values()) for f in (square, fourth, kernel)))
"""


def test_a_kernel_takes_up_parts_from_the_cache(tmp_path: Path):
    (tmp_path / "parts.py").write_text(textwrap.dedent(PARTS))
    for n in (1, 2):
        (tmp_path / f"kernel{n}.py").write_text(textwrap.dedent(KERNEL.format(n=n)))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run(n: int) -> list[str]:
        command = [sys.executable, f"kernel{n}.py"]
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return result.stdout.split()

    assert run(1) == ["90.0", "0", "0", "0"]
    assert run(2) == ["99.0", "1", "1", "0"]
    assert run(1) == ["90.0", "0", "0", "1"]  # a kernel holds its parts


def test_where_numba_is_switched_off_kernels_are_python() -> None:
    text = """
import numpy as np
import torch
import hamilforge as hf
starts = 0.1 + 0.01 * np.arange(36.0).reshape(9, 4)
ends = [
    hf.integrate("henon_heiles", "rk4", starts, (0, 0.5), 0.1).y[:, -1],
    hf.integrate("henon_heiles", "taylor", starts, (0, 0.5), rtol=1e-6, t_eval=[0.5]).y[:, -1],
    hf.integrate("henon_heiles", "taylor", starts[0], (0, 0.5), 0.1, order=4).y[-1],
]
params = [torch.nn.Parameter(torch.ones(2)) for _ in range(12)]
optimizer = hf.optimizer("sgd")(params, lr=0.1)
for param in params:
    param.grad = torch.ones(2)
optimizer.step()
ends.append(params[0].detach().numpy())
print(*[f"{number:.12e}" for end in ends for number in end.ravel()])
"""
    compiled, plain = (
        np.array(told(text, NUMBA_DISABLE_JIT=switch).split(), float) for switch in ("0", "1")
    )
    assert np.allclose(compiled, plain, rtol=1e-11, atol=1e-13)
