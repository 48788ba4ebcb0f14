"""One epoch of training the controls of drawn fields, beside torch's autograd with frozen weights.

All samples go forward through layers of rk4 with y' = sum_i u_i s_i(C_i y + b_i), s_i being tanh,
or the identity for some i and the square for the others; the loss is the sum of squares at the end,
and the controls take a step of gradient descent.  C and b are drawn, and nothing is derived by
them.  The peers do this with one product for each field, and with one product for all of them.
Before anything is timed, each is shown to find the same derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hamilforge.runtime.bench.rows import Row
from hamilforge.runtime.bench.timing import Contestant, interleaved
from hamilforge.runtime.core.loader import load, load_layers
from hamilforge.runtime.networks.network import Network
from hamilforge.runtime.networks.network_pass import Floats

BENCH = "networks"
FLOOR = "matrix products at torch.mm's rate"
BURST, RATE = 0.02, 1e-9
Work = Callable[[], Floats]


class Numbers:
    """What all contestants take.

    Args:
        case: a row of the line-up.
    """

    def __init__(self, case: Mapping[str, Any]) -> None:
        self.case = case
        self.size, self.layers, self.dtype = case["size"], case["layers"], case["dtype"]
        generator = np.random.default_rng(0)
        self.y = generator.standard_normal((case["batch"], self.size)).astype(self.dtype)
        product = load_layers(case["field"], case["method"], {"d": self.size}).module("numba")
        self.network = Network(
            product, self.layers, {"d": self.size}, dtype=self.dtype, trainable=("u",)
        )
        shape = self.network.controls["u"].shape
        self.u = (case["scale"] * generator.standard_normal(shape)).astype(self.dtype)
        fixed, count = self.network.fixed, shape[1]
        self.C = np.stack([fixed[f"C{k}"] for k in range(1, count + 1)])
        self.b = np.stack([fixed[f"b{k}"] for k in range(1, count + 1)])

    @property
    def products(self) -> int:
        """Products of a matrix with all samples that no contestant can do without."""
        return 2 * 4 * self.layers * len(self.C)


def measured(case: Mapping[str, Any], rounds: int) -> list[Row]:
    """The rows of a case, of one thread.

    Args:
        case: a row of the line-up.
        rounds: turns of each contestant.

    Returns:
        Ours beside each peer and beside the products alone, then the peers.

    Raises:
        ArithmeticError: ours finds other derivatives than autograd.
    """
    numbers = Numbers(case)
    ours = {"numba": _numba(numbers), "torch": _torch(numbers)}
    peers = {
        "torch autograd, field by field": _autograd(numbers, stacked=False),
        "torch autograd, stacked": _autograd(numbers, stacked=True),
    }
    first = {name: work() for name, work in (ours | peers).items()}  # all at the same controls
    wanted, notes = first["torch autograd, field by field"], {}
    for name, found in first.items():
        far = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
        if not far <= (1e-10 if case["dtype"] == "float64" else 1e-3):
            raise ArithmeticError(f"{name}: derivatives are {far:.0e} from autograd's")
        notes[name] = f"derivatives within {far:.0e} of autograd's"
    works: dict[str, Callable[[], object]] = {**ours, **peers, FLOOR: _floor(numbers)}
    times = interleaved({n: Contestant(_nothing, w) for n, w in works.items()}, rounds, BURST)
    rows = []
    for name in works:
        own = times[name]
        for peer in (FLOOR, *peers) if name in ours else ("",):
            ratio = own.median / times[peer].median if peer else None
            note = notes.get(name, "")
            if peer == FLOOR:
                note = f"{100 * times[FLOOR].median / own.median:.0f} % of it are the products"
            spread = (own.median, own.p10, own.p90)
            rows.append(Row(BENCH, case["case"], name, peer, *spread, ratio, 1, note=note))
    return rows


def _nothing() -> None:
    pass


def _numba(numbers: Numbers) -> Work:
    network = numbers.network
    network.controls["u"][...] = numbers.u

    def loss(end: Floats, _: slice) -> tuple[Floats, Floats]:
        return (end * end).sum(1) / 2, end

    def work() -> Floats:
        found = network.gradient(numbers.y, loss=loss, steps=False).controls["u"]
        network.controls["u"] -= RATE * found
        return found

    return work


def _torch(numbers: Numbers) -> Work:
    import torch

    case = numbers.case
    made = load(case["field"], case["method"]).torch_class()
    own = made(
        numbers.layers, {"d": numbers.size}, dtype=getattr(torch, numbers.dtype), trainable=("u",)
    )
    u, y = own.control("u"), torch.from_numpy(numbers.y)
    with torch.no_grad():
        u.copy_(torch.from_numpy(numbers.u))
    return _training(u, lambda: own(y))


def _autograd(numbers: Numbers, stacked: bool) -> Work:
    import torch

    u = torch.tensor(numbers.u, requires_grad=True)
    y, matrices = torch.from_numpy(numbers.y), torch.from_numpy(numbers.C)
    shifts, h = torch.from_numpy(numbers.b), 1.0 / numbers.layers
    whole, shift = matrices.reshape(-1, numbers.size).T.contiguous(), shifts.reshape(-1)

    plain = numbers.case.get("plain")  # how many of the s_i are the identity; else all are tanh

    def together(z: Any, controls: Any) -> Any:
        hidden = torch.addmm(shift, z, whole).reshape(len(z), -1, numbers.size)
        if plain is None:
            return torch.einsum("nkd,k->nd", torch.tanh(hidden), controls)
        affine = torch.einsum("nkd,k->nd", hidden[:, :plain], controls[:plain])
        return affine + torch.einsum("nkd,k->nd", hidden[:, plain:].square(), controls[plain:])

    def one_by_one(z: Any, controls: Any) -> Any:
        total = 0.0
        for k, (matrix, own) in enumerate(zip(matrices, shifts, strict=True)):
            hidden = torch.addmm(own, z, matrix.T)
            if plain is None:
                hidden = torch.tanh(hidden)
            elif k >= plain:
                hidden = hidden.square()
            total = total + controls[k] * hidden
        return total

    rate = together if stacked else one_by_one

    def forward() -> Any:
        z = y
        for controls in u:
            k1 = rate(z, controls)
            k2 = rate(z + h / 2 * k1, controls)
            k3 = rate(z + h / 2 * k2, controls)
            k4 = rate(z + h * k3, controls)
            z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return z

    return _training(u, forward)


def _training(u: Any, forward: Callable[[], Any]) -> Work:
    """Loss, derivatives by u, and a step."""
    import torch

    def work() -> Floats:
        u.grad = None
        (forward().square().sum() / 2).backward()
        with torch.no_grad():
            u.sub_(RATE * u.grad)
        found: Floats = u.grad.numpy()
        return found

    return work


def _floor(numbers: Numbers) -> Callable[[], object]:
    import torch

    z, matrix = torch.from_numpy(numbers.y), torch.from_numpy(numbers.C[0])
    out = torch.empty_like(z)

    def work() -> object:
        for _ in range(numbers.products):
            torch.mm(z, matrix, out=out)
        return out

    return work
