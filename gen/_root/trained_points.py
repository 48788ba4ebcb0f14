"""What ``hf.interpolate`` is given, on NumPy arrays: networks of either backend, read-outs by name.

In: a network that ``hf.network`` has made, points, targets, and an objective.  Out: the result of
:mod:`runtime.networks.interpolate`; a torch module has the controls that were found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult

from hamilforge import facade
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.runtime.networks.interpolate import SCALE, interpolate, require_float64
from hamilforge.runtime.networks.network import Network
from hamilforge.runtime.networks.objective import Objective


def solve(
    network: Any, x: Any, y: Any, objective: str | Path | Objective, **options: Any
) -> OptimizeResult:
    """The result; see :func:`hamilforge.facade.interpolate`.

    Args:
        network: of either backend.
        x: the points, `(N, d)`.
        y: the targets, `(N, c)`.
        objective: by name or path, or one on NumPy arrays.
        options: of the search.

    Returns:
        What was found.

    Raises:
        ValueError: the network was made otherwise, or its numbers are not float64.
    """
    known = ("scale", "maxiter", "tolerance", "refine", "starts")
    for name in options:
        if name not in known:
            raise ValueError(f"no option '{name}' of interpolate; those are: {', '.join(known)}")
    if isinstance(objective, Objective):
        read_out = objective
        options.setdefault("scale", None)
    else:
        read_out = _by_name(objective, x, y)
        options.setdefault("scale", SCALE)
    if isinstance(network, Network):
        return interpolate(network, x, y, read_out, **options)
    arrays = _on_arrays(network)
    result = interpolate(arrays, x, y, read_out, **options)
    import torch

    with torch.no_grad():
        for name in network.trainable:
            network.control(name).copy_(torch.from_numpy(arrays.controls[name]))
    return result


def _by_name(name: str | Path, x: Any, y: Any) -> Objective:
    """An objective whose states have the size of the points, and its data that of the targets."""
    where = name if str(name).endswith(".toml") else f"objective/{str(name).rpartition('/')[2]}"
    declared = catalogue.load(where)
    if not isinstance(declared, kinds.Objective):
        raise DeclarationError.single(str(name), "a read-out is an objective, and this is none")
    widths = {"state": np.shape(x)[-1:], "data": np.shape(y)[-1:]}
    sizes: dict[str, int] = {}
    for own, shapes in (("state", declared.states), ("data", declared.data)):
        for (dimension,) in (shape for _, shape in shapes if len(shape) == 1):
            for size in widths[own]:
                if not dimension.isdigit() and sizes.setdefault(dimension, size) != size:
                    raise ValueError(
                        f"the dimension '{dimension}' of {declared.head.name} is {sizes[dimension]}"
                        f" by the points and {size} by the targets"
                    )
    made: Objective = facade.objective(name, sizes, backend="numba")
    return made


def _on_arrays(module: Any) -> Network:
    """A torch module as a network on NumPy arrays."""
    made = getattr(module, "made", None)
    if made is None:
        raise ValueError("a network was expected that hf.network has made")
    field, method, choices = made
    require_float64(str(module.t0.dtype).removeprefix("torch."))
    network: Network = facade.network(
        field,
        method,
        module.layers,
        {name: size for name, size in module.sizes.items() if not name.isdigit()},
        backend="numba",
        t0=float(module.t0),
        parameters={n: float(getattr(module, f"parameter_{n}")) for n in module.PARAMETERS},
        trainable=module.trainable,
        draw=module.draw,
        **choices,
    )
    network.h[:] = np.asarray(module.h.detach().cpu())
    for name in network.controls:
        network.controls[name][...] = module.control(name).detach().cpu().numpy()
    return network
