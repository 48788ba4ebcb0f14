"""The arguments of a network: sizes, steps and parameters, checked in the user's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.numbers import finite_number, real_number, whole_number


def dimensions(product: Any, sizes: Mapping[str, int]) -> dict[str, int]:
    """The size of each dimension of a network, those that are numbers included."""
    return _with_numbers(_shapes(product), sizes)


def _shapes(product: Any) -> dict[str, tuple[str, ...]]:
    """Of states, controls and fixed arrays, by name."""
    return {**product.STATES, **product.CONTROLS, **getattr(product, "FIXED", {})}


def _with_numbers(
    shapes: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int]
) -> dict[str, int]:
    numbers = {e: int(e) for shape in shapes.values() for e in shape if e.isdigit()}
    return {**sizes, **numbers}


def check_sizes(
    name: str,
    shapes: Mapping[str, tuple[str, ...]],
    sizes: Mapping[str, int],
    declared: Mapping[str, tuple[float, str, str]],
    parameters: Mapping[str, float] | None,
    fixed: Mapping[str, int] | None = None,
) -> tuple[dict[str, int], dict[str, float]]:
    """The size of each dimension, and the value of each parameter.

    Args:
        name: of the product, for messages.
        shapes: of states, controls, weights and data, by name: names of dimensions, or numbers as
            texts.
        sizes: the size of each dimension that is no number, by name.
        declared: the parameters, by name: default, domain, description.
        parameters: values in the place of defaults, by name; None for the defaults.
        fixed: sizes for which the kernels were made, by name; None if they take any.

    Returns:
        The sizes, those that are numbers included, and the values of all parameters, both by name;
        the values are numbers, but their domains are not looked at.

    Raises:
        ValueError: with what was expected instead.
    """
    fixed, sizes = fixed or {}, _table("sizes", sizes)
    known = dict.fromkeys(e for shape in shapes.values() for e in shape if not e.isdigit())
    for dimension in sizes:
        if dimension in fixed and sizes[dimension] != fixed[dimension]:
            raise ValueError(
                f"'{dimension}' is {fixed[dimension]} in these kernels of {name}, "
                f"not {sizes[dimension]}"
            )
        if dimension not in known and dimension not in fixed:
            raise ValueError(
                f"no dimension '{dimension}'; those of {name} are: {', '.join(known) or 'none'}"
            )
    for dimension in known:
        size = sizes.get(dimension)
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            where = ", ".join(key for key, shape in shapes.items() if dimension in shape)
            raise ValueError(
                f"the size of the dimension '{dimension}' (of {where}) is {size!r}: a positive "
                "whole number was expected"
            )
    values = {key: float(default) for key, (default, _, _) in declared.items()}
    for key, value in _table("parameters", parameters or {}).items():
        if key not in values:
            names = ", ".join(values) or "none"
            raise ValueError(f"no parameter '{key}'; those of {name} are: {names}")
        values[key] = real_number(key, value)
    return _with_numbers(shapes, sizes), values


def _table(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} = {value!r}: names with numbers were expected, as in {{'d': 2}}")
    return value


def described(network: Any) -> str:
    """Layers, sizes and memory of a network, as ``print`` shows them."""
    sizes = ", ".join(f"{n}={k}" for n, k in network.sizes.items() if not n.isdigit())
    text = f"layers={network.layers}, {sizes}, memory={network.memory}"
    product = getattr(network, "product", network)
    if network.trained_numbers is not None:
        text += f", trained numbers={network.trained_numbers}"
    if getattr(product, "FIXED", {}):
        text += f", draw={network.draw}"
    return f"{text}, controls by stage" if product.BY_STAGE else text


def check_network(
    product: Any,
    layers: int,
    sizes: Mapping[str, int],
    h: float | Sequence[float] | None,
    parameters: Mapping[str, float] | None,
    t0: float,
) -> tuple[list[float], dict[str, float]]:
    """The step of each layer, and the value of each parameter.

    Args:
        product: a generated numba module, or a network of torch.
        layers: how many.
        sizes: the size of each dimension, by name.
        h: the step of every layer, or one for each; None for 1 / layers.
        parameters: values in the place of defaults, by name; None for the defaults.
        t0: the time at the first layer.

    Returns:
        One positive step for each layer, and the values of all parameters by name, whose domains
        are not looked at.

    Raises:
        ValueError: with what was expected instead.
    """
    whole_number("layers", layers)
    finite_number("t0", t0)
    shapes = _shapes(product)
    _, values = check_sizes(
        product.NAME, shapes, sizes, product.PARAMETERS, parameters, getattr(product, "SIZES", {})
    )
    if h is None:
        steps = [1.0 / layers] * layers
    else:
        any_h: Any = h
        many = not isinstance(h, str | bytes) and np.ndim(any_h) == 1
        steps = [real_number("h", k) for k in any_h] if many else [real_number("h", h)] * layers
    if len(steps) != layers:
        raise ValueError(f"{len(steps)} steps for {layers} layers")
    for number, step in enumerate(steps):
        if not (step > 0 and math.isfinite(step)):
            raise ValueError(f"the step of layer {number} is {step}: a positive one was expected")
    return steps, values


def check_memory(product: Any, memory: str, known: Sequence[str]) -> str:
    """What is kept on the way forward.

    Args:
        product: a generated numba module, or a network of torch.
        memory: what the user chose.
        known: the choices of the backend.

    Returns:
        The choice, as it was.

    Raises:
        ValueError: there is no such choice, or the method does not allow it.
    """
    if memory not in known:
        raise ValueError(f"memory = {memory!r}; one of {', '.join(known)} was expected")
    if memory == "reversible" and not product.REVERSIBLE:
        stages = " in this order of its stages" if product.BY_STAGE else ""
        raise ValueError(
            'memory = "reversible" goes back through the layers with -h, for which the method has '
            f"to be symmetric{stages}; that of {product.NAME} is not"
        )
    return memory


def check_return(name: str, found: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Refuse to go on where the way back did not end where the way forward began.

    Layers that bring points together take digits away that -h cannot bring back.

    Args:
        name: of the product, for the message.
        found: the first states as they came back, `(samples, size)`.
        wanted: the first states as they were, `(samples, size)`.

    Raises:
        IntegrationError: more than half of the digits were lost.
    """
    lost = float(np.linalg.norm(found - wanted))
    size = float(np.linalg.norm(wanted)) or 1.0
    if not lost <= math.sqrt(np.finfo(wanted.dtype).eps) * size:
        raise IntegrationError(
            f"{name}: the first states came back from the last with a relative error of "
            f"{lost / size:.1e}, so the gradient would be wrong: the layers bring points together; "
            'take memory = "checkpoint"',
            0.0, 0, lost / size,
        )  # fmt: skip


def control_sets(product: Any) -> int:
    """How many sets of controls a layer has: one, or one for each stage."""
    return int(next(iter(product.CONTROLS.values()))[0]) if product.BY_STAGE else 1


def check_regulariser(product: Any) -> None:
    """Refuse to ask for a cost that is not declared."""
    if not product.REGULARISER:
        raise ValueError(
            f"{product.NAME} declares no regulariser; for example regulariser = "
            '"sum(rate(K)**2)/2" in the field'
        )


def check_count(name: str, value: int | None) -> None:
    """Refuse what is no positive whole number, or None."""
    if value is not None:
        whole_number(name, value)


def real_type(dtype: Any) -> np.dtype[Any]:
    """One of the two types that kernels know.

    Raises:
        ValueError: it is another one.
    """
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise ValueError(f"dtype = {dtype!r}: float32 or float64 was expected") from error
    if kind not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype = {kind}: float32 or float64 was expected")
    return kind


def fitting(what: str, given: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of a shape, finite and real, for kernels that check nothing.

    Args:
        what: what the user calls it, for messages.
        given: what they gave.
        shape: what it has to have.
        dtype: what it becomes.

    Returns:
        A C-contiguous array; the same one if it is an array of this type and order already.

    Raises:
        ValueError: it is not.
    """
    array = np.asarray(given)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{what} has the shape {array.shape} and the type {array.dtype}; real numbers of the "
            f"shape {shape} were expected"
        )
    # a finite sum has finite terms; the other way round, large ones may overflow
    if not math.isfinite(np.add.reduce(array, None)) and not np.isfinite(array).all():
        raise ValueError(f"{what} has numbers that are not finite")
    return np.array(array, dtype, order="C", copy=None)
