"""``hamilforge bench networks``: loss and full gradient of a network, beside peers, one thread.

Every contestant takes the same numbers to the sum of squares at the end and to its derivatives by
all controls and first states; before anything is timed, each is shown to find the same derivatives.
The floor is the matrix products that no method can do without, three for each stage and layer, at
the rate of ``torch.mm`` in the same run.  Peak memory is what a fresh process grows by, where the
system counts it.
"""

from __future__ import annotations

import functools
import importlib.util
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np

from hamilforge.runtime.bench import drawn_fields
from hamilforge.runtime.bench.rows import Case, Row
from hamilforge.runtime.bench.timing import Contestant, Times, interleaved, printed_by_fresh_process
from hamilforge.runtime.core.loader import load, load_layers
from hamilforge.runtime.networks.network import Network
from hamilforge.runtime.networks.network_pass import Floats

#: Seconds of a turn: what takes less runs several times, as in training.
BURST = 0.02
BENCH = "networks"
FLOOR = "matrix products at torch.mm's rate"
Work = Callable[[], tuple[Floats, Floats]]


def cases(rounds: int | None = None) -> list[Case]:
    """What is measured, each case with one thread.

    Args:
        rounds: the number of turns of each contestant; what the line-up says if None.
    """
    line_up = tomllib.loads((Path(__file__).parent / "networks.toml").read_text())
    count = rounds or line_up["rounds"]
    return [
        (case["case"], functools.partial(_on_one_thread, measure, case, count))
        for measure, part in ((_case, "cases"), (drawn_fields.measured, "drawn"))
        for case in line_up[part]
    ]


def _on_one_thread(
    measure: Callable[[Mapping[str, Any], int], list[Row]], case: Mapping[str, Any], rounds: int
) -> list[Row]:
    import torch

    threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        with _one_blas_thread():
            return measure(case, rounds)
    finally:
        torch.set_num_threads(threads)
        numba.set_num_threads(numba_threads)


def _one_blas_thread() -> Any:
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


class _Numbers:
    """The numbers that all contestants take."""

    def __init__(self, case: Mapping[str, Any]) -> None:
        generator = np.random.default_rng(0)
        size, layers, dtype = case["size"], case["layers"], case["dtype"]
        self.layers, self.dtype, self.h = layers, dtype, 1.0 / layers
        self.y = generator.standard_normal((case["batch"], size)).astype(dtype)
        scale = size**-0.5
        self.K = (scale * generator.standard_normal((layers, size, size))).astype(dtype)
        self.b = (0.1 * generator.standard_normal((layers, size))).astype(dtype)


def _case(case: Mapping[str, Any], rounds: int) -> list[Row]:
    numbers = _Numbers(case)
    ours: dict[str, Work] = {}
    for memory in case["memory"]:
        ours[f"numba, {memory}"] = _numba(case, numbers, memory)
        ours[f"torch, {memory}"] = _torch(case, numbers, memory)
    peers: dict[str, Work] = {"torch autograd": _autograd(numbers)}
    if importlib.util.find_spec("torchdiffeq"):
        peers["torchdiffeq odeint (3/8 rule)"] = _torchdiffeq(numbers)
    if importlib.util.find_spec("jax"):
        peers["jax scan"] = _jax(numbers, False)
        peers["jax scan, checkpoint"] = _jax(numbers, True)
    wanted = peers["torch autograd"]()
    every = ours | peers
    notes = {name: _agreement(work(), wanted, numbers.dtype) for name, work in every.items()}
    for name in ours:
        if notes[name].endswith("another method"):
            raise ArithmeticError(f"{name}: {notes[name]}")
    works: dict[str, Callable[[], object]] = {**ours, **peers, FLOOR: _floor(numbers)}
    works[FLOOR]()
    contestants = {name: Contestant(lambda: None, work) for name, work in works.items()}
    times = interleaved(contestants, rounds, BURST)
    rows = []
    for name in ours:
        for peer in (FLOOR, *peers):
            rows.append(_row(case["case"], name, peer, times, notes))
    rows += [_row(case["case"], name, "", times, notes) for name in (*peers, FLOOR)]
    return rows + _memory(case)


def _row(
    case: str, name: str, peer: str, times: Mapping[str, Times], notes: Mapping[str, str]
) -> Row:
    own = times[name]
    ratio = own.median / times[peer].median if peer else None
    note = notes.get(name, "")
    return Row(BENCH, case, name, peer, own.median, own.p10, own.p90, ratio, 1, note=note)


def _agreement(
    derivatives: tuple[Floats, Floats], wanted: tuple[Floats, Floats], dtype: str
) -> str:
    """How far the derivatives are from autograd's."""
    far = max(
        float(np.linalg.norm(derivative - reference) / np.linalg.norm(reference))
        for derivative, reference in zip(derivatives, wanted, strict=True)
    )
    exact = far <= (1e-12 if dtype == "float64" else 1e-4)
    return f"derivatives within {far:.0e} of autograd's" + ("" if exact else ": another method")


# --- ours --------------------------------------------------------------------------------------


def _numba(case: Mapping[str, Any], numbers: _Numbers, memory: str) -> Work:
    sizes = {"d": case["size"]}
    product = load_layers(case["field"], case["method"], sizes).module("numba")
    network = Network(product, numbers.layers, sizes, numbers.h, memory, dtype=numbers.dtype)
    network.controls["K"][...], network.controls["b"][...] = numbers.K, numbers.b

    def loss(end: Floats, _: slice) -> tuple[Floats, Floats]:
        return (end * end).sum(1), 2 * end

    def work() -> tuple[Floats, Floats]:
        gradient = network.gradient(numbers.y, loss=loss, steps=False)
        return gradient.controls["K"], gradient.states[0]

    return work


def _torch(case: Mapping[str, Any], numbers: _Numbers, memory: str) -> Work:
    import torch

    network = load(case["field"], case["method"]).torch_class()(
        numbers.layers, {"d": case["size"]}, numbers.h, memory=memory,
        dtype=getattr(torch, numbers.dtype), fused=True,
    )  # fmt: skip
    network.layers_of = load_layers(case["field"], case["method"], {"d": case["size"]})
    with torch.no_grad():
        network.control("K").copy_(torch.from_numpy(numbers.K))
        network.control("b").copy_(torch.from_numpy(numbers.b))

    def work() -> tuple[Floats, Floats]:
        network.zero_grad(set_to_none=True)
        y = torch.from_numpy(numbers.y).clone().requires_grad_()
        (network(y) ** 2).sum().backward()
        assert y.grad is not None
        return network.control("K").grad.numpy(), y.grad.numpy()

    return work


# --- peers -------------------------------------------------------------------------------------


def _autograd(numbers: _Numbers) -> Work:
    """The same loop as plain torch code."""
    import torch

    K = torch.from_numpy(numbers.K.copy()).requires_grad_()
    b = torch.from_numpy(numbers.b.copy()).requires_grad_()
    h = numbers.h

    def work() -> tuple[Floats, Floats]:
        K.grad = b.grad = None
        y0 = torch.from_numpy(numbers.y).clone().requires_grad_()
        y = y0
        for layer, shift in zip(K.unbind(0), b.unbind(0), strict=True):
            k1 = torch.tanh(y @ layer.T + shift)
            k2 = torch.tanh((y + h / 2 * k1) @ layer.T + shift)
            k3 = torch.tanh((y + h / 2 * k2) @ layer.T + shift)
            k4 = torch.tanh((y + h * k3) @ layer.T + shift)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        (y**2).sum().backward()
        assert K.grad is not None
        assert y0.grad is not None
        return K.grad.numpy(), y0.grad.numpy()

    return work


def _torchdiffeq(numbers: _Numbers) -> Work:
    """``odeint`` with fixed steps; its ``rk4`` is the 3/8 rule, so derivatives differ a little."""
    import torch
    from torchdiffeq import odeint

    K = torch.from_numpy(numbers.K.copy()).requires_grad_()
    b = torch.from_numpy(numbers.b.copy()).requires_grad_()

    def work() -> tuple[Floats, Floats]:
        K.grad = b.grad = None
        y0 = torch.from_numpy(numbers.y).clone().requires_grad_()
        y = y0
        for layer, shift in zip(K.unbind(0), b.unbind(0), strict=True):

            def field(_: Any, z: Any, layer: Any = layer, shift: Any = shift) -> Any:
                return torch.tanh(z @ layer.T + shift)

            span = torch.tensor([0.0, numbers.h], dtype=y.dtype)
            y = odeint(field, y, span, method="rk4")[-1]
        (y**2).sum().backward()
        assert K.grad is not None
        assert y0.grad is not None
        return K.grad.numpy(), y0.grad.numpy()

    return work


def _jax(numbers: _Numbers, checkpoint: bool) -> Work:
    """A compiled scan over the layers."""
    import jax

    jax.config.update("jax_enable_x64", numbers.dtype == "float64")
    import jax.numpy as jnp

    h = jnp.asarray(numbers.h, numbers.dtype)

    def layer(y: Any, controls: Any) -> Any:
        K, b = controls

        def rate(z: Any) -> Any:
            return jnp.tanh(z @ K.T + b)

        k1 = rate(y)
        k2 = rate(y + h / 2 * k1)
        k3 = rate(y + h / 2 * k2)
        k4 = rate(y + h * k3)
        return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    step = jax.checkpoint(layer) if checkpoint else layer

    def loss(controls: Any, y: Any) -> Any:
        end, _ = jax.lax.scan(step, y, controls)
        return (end**2).sum()

    compiled = jax.jit(jax.grad(loss, (0, 1)))
    controls = (jnp.asarray(numbers.K), jnp.asarray(numbers.b))
    y = jnp.asarray(numbers.y)

    def work() -> tuple[Floats, Floats]:
        gradients, state = jax.block_until_ready(compiled(controls, y))
        return np.asarray(gradients[0]), np.asarray(state)

    return work


def _floor(numbers: _Numbers) -> Callable[[], object]:
    """Three products for each of the four stages of each layer."""
    import torch

    y = torch.from_numpy(numbers.y)
    K = torch.from_numpy(numbers.K[0])
    out, back, gradient = torch.empty_like(y), torch.empty_like(y), torch.empty_like(K)

    def work() -> object:
        for _ in range(4 * numbers.layers):
            torch.mm(y, K.T, out=out)
            torch.mm(y, K, out=back)
            torch.mm(y.T, y, out=gradient)
        return gradient

    return work


# --- memory ------------------------------------------------------------------------------------

_PEAK = """
from pathlib import Path
from hamilforge.runtime.bench import networks
def kib(key):
    status = Path("/proc/self/status").read_text()
    return int(status.split(key + ":")[1].split()[0])
work = networks.contestant({case!r}, {name!r})
small = networks.contestant({small!r}, {name!r})
small(); small()
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = kib("VmRSS")
work()
print((kib("VmHWM") - before) * 1024)
"""


def contestant(case: Mapping[str, Any], name: str) -> Work:
    """One contestant of a case, for a process of its own."""
    import torch

    torch.set_num_threads(1)
    numba.set_num_threads(1)
    numbers = _Numbers(case)
    kind, _, memory = name.partition(", ")
    if name == "torch autograd":
        return _autograd(numbers)
    if kind == "jax scan":
        return _jax(numbers, memory == "checkpoint")
    return (_numba if kind == "numba" else _torch)(case, numbers, memory)


def _memory(case: Mapping[str, Any]) -> list[Row]:
    """By how much a fresh process grows in one call, after calls with few samples and layers."""
    if not Path("/proc/self/clear_refs").exists():
        return []
    names = [f"{backend}, {memory}" for memory in case["memory"] for backend in ("numba", "torch")]
    names.append("torch autograd")
    if importlib.util.find_spec("jax"):
        names += ["jax scan", "jax scan, checkpoint"]
    small = {**case, "batch": 16, "layers": 2}
    rows = []
    for name in names:
        code = _PEAK.format(case=dict(case), small=small, name=name)
        grown = int(printed_by_fresh_process(code))
        note = f"{grown / 2**20:.1f} MiB: growth of the process's peak, bytes in count"
        title = f"{case['case']}, memory"
        rows.append(Row(BENCH, title, name, "", None, None, None, None, 1, count=grown, note=note))
    return rows
