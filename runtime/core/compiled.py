"""Objects on the kernels of a generated module: what these kernels trust is read-only.

Modules are no values that can be pickled: a copy has the name, and looks the module up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any

import numpy as np

from hamilforge.runtime.core.loader import imported


class Compiled:
    """A generated module with sizes, parameters and a type of numbers.

    Args:
        product: the generated numba module.
        sizes: the size of each dimension, by name.
        parameters: values of the declaration's own parameters.
        dtype: of the arrays.
    """

    def __init__(
        self,
        product: ModuleType,
        sizes: Mapping[str, int],
        parameters: Mapping[str, float],
        dtype: np.dtype[Any],
    ) -> None:
        self._product, self._dtype = product, dtype
        self._sizes, self._parameters = MappingProxyType(sizes), MappingProxyType(parameters)

    def __repr__(self) -> str:
        chosen = {**self._sizes, **self._parameters}
        values = "".join(f", {name} = {value:g}" for name, value in chosen.items())
        return f"<{type(self).__name__} {self._product.NAME}: {self._dtype}{values}>"

    def __getstate__(self) -> dict[str, Any]:
        own = {**vars(self), "_product": self._product.__name__}
        return own | {"_sizes": dict(self._sizes), "_parameters": dict(self._parameters)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._product = imported(state["_product"])
        self._sizes = MappingProxyType(state["_sizes"])
        self._parameters = MappingProxyType(state["_parameters"])

    @property
    def product(self) -> ModuleType:
        """The generated module."""
        return self._product

    @property
    def sizes(self) -> Mapping[str, int]:
        """The size of each dimension."""
        return self._sizes

    @property
    def parameters(self) -> Mapping[str, float]:
        """The declaration's own parameters."""
        return self._parameters

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the arrays."""
        return self._dtype
