"""Functions to minimise."""

from __future__ import annotations

from typing import Any

from hamilforge.facade.common import Name, loaded_as


def problem(name: Name, /, backend: str = "numba", dtype: Any = None, **options: Any) -> Any:
    """A loss in closed form to try optimizers on, with its derived gradient, start and minimum.

    Args:
        name: a problem to minimise, by name or path.
        backend: ``numba`` for one on NumPy vectors, ``torch`` for a ``torch.nn.Module`` whose
            parameters are the variables.
        dtype: of the numbers; float64, or torch's default type, if None.
        options: sizes of dimensions and values of parameters, by name, as in ``d=100``; for torch
            ``device`` too.

    Returns:
        A :class:`hamilforge.runtime.problems.problem.Problem`: ``f(x)``, ``f.gradient(x)``,
        ``f.value_and_gradient(x)``, ``f.start``, ``f.minimum``, ``f.minimizers``; or a module,
        called without arguments for the loss.

    Raises:
        DeclarationError: the declaration has problems.
        ClaimError: a point is not what it is declared to be.
        ValueError: an unknown size or parameter, or one outside its domain.
        ImportError: a torch module is asked for, and PyTorch is not installed.
    """
    where = name if "/" in str(name) or str(name).endswith(".toml") else f"problem/{name}"
    loaded = loaded_as("hf.problem", backend, "a problem to minimise", where)
    if backend == "torch":
        device = options.pop("device", None)
        return loaded.torch_class()(options, dtype, device)
    from hamilforge.runtime.problems import problem as module

    return module.Problem(loaded.module("numba"), options, "float64" if dtype is None else dtype)
