"""Expressions as numba compiles them: NumPy's functions, the runtime's where it has none.

The same text, called from Python, takes arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from hamilforge.gen.emit.printer import Printer

_NUMPY = "cbrt cos cosh exp expm1 log log1p sign sin sinh sqrt tan tanh".split()
_INVERSE = "cos cosh sin sinh tan tanh".split()
_RUNTIME = "elu erf erfc inverse leaky_relu log_cosh logistic relu softplus step".split()


class NumbaPrinter(Printer):
    """Numbers in the precision they have."""

    functions: ClassVar[Mapping[str, str]] = {
        **{name: f"np.{name}" for name in _NUMPY},
        **{f"a{name}": f"np.arc{name}" for name in _INVERSE},
        **{name: f"elementary.{name}" for name in _RUNTIME},
        "abs": "abs",
        "root": "np.sqrt",
    }
    constants: ClassVar[Mapping[str, str]] = {"pi": "np.pi"}
