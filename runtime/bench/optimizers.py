"""The benchmark of optimizers: a step beside others' steps, and what comes before the first step.

In: the line-up in ``optimizers.toml``.  Out: rows.  Steps are taken through public entry points,
with all their checks and hooks; contestants of a case get equal gradients and equal threads.
"""

from __future__ import annotations

import functools
import itertools
import math
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange

from hamilforge.runtime.bench import rules
from hamilforge.runtime.bench.rows import Case, Row
from hamilforge.runtime.bench.timing import Contestant, Times, in_fresh_process, interleaved
from hamilforge.runtime.core.loader import load

BENCH = "optimizers"
FLAT_CHUNK = 16384
"""Entries per turn of the loop over flat arrays: three float32 chunks of it fit a core's cache."""
WORD_BITS = 32
"""Random bits that a normal number is made of: a word of Philox."""

Entry = Mapping[str, Any]
Tensors = list[torch.Tensor]
Step = Callable[[], object]


def line_up() -> dict[str, Any]:
    """What is measured, as data."""
    file = resources.files("hamilforge.runtime.bench") / "optimizers.toml"
    return tomllib.loads(file.read_text("utf-8"))


def cases(rounds: int | None = None) -> list[Case]:
    """What is measured.

    Args:
        rounds: the number of turns of each contestant; what the line-up says if None.
    """
    entries = line_up()
    known: list[Case] = []
    for entry in (*entries["cases"], *_cases_of_lists(entries["lists"])):
        known.append((entry["case"], functools.partial(_steps, entry, entries, rounds)))
    for name in rules.names(entries["rules"]["left_out"]):
        text = entries["rules"]["case"].replace("{name}", name)
        known.append((text, functools.partial(_forms, text, name, entries["rules"], rounds)))
    known.append(("recompilations", functools.partial(_recompilations, entries)))
    for entry in entries["cold"]:
        known.append((entry["case"], functools.partial(_cold, entry, rounds)))
    return known


def _steps(case: Entry, entries: Entry, rounds: int | None) -> Iterator[Row]:
    """Rows of the pairs of a case, all contestants interleaved."""
    _share_threads()
    best: Mapping[str, list[str]] = entries["best"]
    sides = itertools.chain(*case["pairs"])
    names = dict.fromkeys(name for side in sides for name in best.get(side, [side]))
    ready: dict[str, Contestant] = {}
    skipped: dict[str, str] = {}
    for name in names:
        contestant = _contestant(name, entries["contestants"][name], case)
        try:
            for _ in range(3):
                contestant.prepare()
                contestant.work()
        except (RuntimeError, OSError) as error:
            skipped[name] = f"skipped: {str(error).strip().splitlines()[0]}"
        else:
            ready[name] = contestant
    times = interleaved(ready, rounds or case["rounds"])
    for candidate, peer in case["pairs"]:
        members = [member for member in best.get(peer, [peer]) if member in times]
        if candidate not in times or not members:
            note = skipped.get(candidate) or skipped[best.get(peer, [peer])[0]]
            yield _row(case["case"], candidate, peer, None, None, note)
            continue
        fastest = min(members, key=lambda member: times[member].median)
        note = f"best: {fastest}" if peer in best else ""
        if "device" in case:
            counts = (_operations(ready[name]) for name in (candidate, fastest))
            note = "operations of torch: {} beside {}".format(*counts)
        quiet = times.get(entries["contestants"][candidate].get("quiet", ""))
        if quiet:
            drawing = (times[candidate].median - quiet.median) / (case["tensors"] * case["entries"])
            note = f"{1e9 * drawing:.2f} ns and {WORD_BITS} random bits a number"
        yield _row(case["case"], candidate, peer, times[candidate], times[fastest], note)


def _share_threads() -> None:
    """As many threads for numba as torch has."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.get_num_threads()))


def _forms(case: str, name: str, entry: Entry, rounds: int | None) -> Iterator[Row]:
    """A rule's kernel beside its other forms."""
    _share_threads()
    times, (kernel, in_place) = rules.forms(name, entry, rounds)
    notes = {
        "in place": f"moves {kernel / 1e6:.0f} MB beside {in_place / 1e6:.0f} MB, "
        f"{kernel / in_place:.2f} of it",
        rules.COMPILED: "",
    }
    for form, note in notes.items():
        yield _row(case, name, f"{name}, {form}", times["kernel"], times[form], note)


def _cases_of_lists(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Each combination of a device, a type and a shape as a case; of the devices that there are."""
    for entry in entries:
        devices = [name for name in entry["devices"] if name == "cpu" or _is_there(name)]
        for device, dtype, (tensors, size) in itertools.product(
            devices, entry["dtypes"], entry["shapes"]
        ):
            where = device if device == "cpu" else torch.cuda.get_device_name(device)
            yield {
                "case": f"lists, {tensors} x {size:,} {dtype}, {where}",
                "tensors": tensors,
                "entries": size,
                "dtype": dtype,
                "device": device,
                "gradients": "kept",
                "rounds": entry["rounds"],
                "pairs": entry["pairs"],
            }


def _is_there(device: str) -> bool:
    return device == "cuda" and torch.cuda.is_available()


def _operations(contestant: Contestant) -> int:
    """How many operations a step asks torch for."""
    contestant.prepare()
    with rules.Traffic() as traffic:
        contestant.work()
    return traffic.operations


def _row(
    case: str, candidate: str, peer: str, times: Times | None, peer_times: Times | None, note: str
) -> Row:
    threads = torch.get_num_threads()
    if times is None:
        return Row(BENCH, case, candidate, peer, None, None, None, None, threads, note=note)
    ratio = times.median / peer_times.median if peer_times else None
    spread = (times.median, times.p10, times.p90)
    return Row(BENCH, case, candidate, peer, *spread, ratio, threads, note=note)


def _contestant(name: str, entry: Entry, case: Entry) -> Contestant:
    """Parameters, gradients and a step of their own for a contestant."""
    shape = (case["tensors"], case["entries"])
    random = torch.Generator().manual_seed(0)
    flat = entry["kind"] == "flat"
    device, dtype = case.get("device", "cpu"), getattr(torch, case.get("dtype", "float32"))
    templates = (1e-3 * torch.randn(shape, generator=random)).to(device, dtype)
    gradients = [templates.flatten()] if flat else list(templates)
    params: Tensors = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]

    def renew() -> None:
        for param, gradient in zip(params, gradients, strict=True):
            param.grad = gradient.clone()

    renew()
    prepare = renew if case["gradients"] == "fresh" else (lambda: None)
    step = _KINDS[entry["kind"]](name, entry, params)
    if device == "cpu":
        return Contestant(prepare, step)

    def work() -> None:
        step()
        torch.cuda.synchronize(device)

    return Contestant(prepare, work)


def _generated(name: str, entry: Entry, params: Tensors) -> Step:
    rule = load(entry.get("rule", name))
    optimizer: torch.optim.Optimizer = rule.torch_class()(params, **entry["options"])
    return optimizer.step


def _torch(name: str, entry: Entry, params: Tensors) -> Step:
    del name
    optimizer: torch.optim.Optimizer = getattr(torch.optim, entry["class"])(
        params, **entry["options"]
    )
    return optimizer.step


def _authors(name: str, entry: Entry, params: Tensors) -> Step:
    """Relativistic gradient descent as its authors wrote it, with torch's list operations."""
    del name
    velocities = [torch.zeros_like(param, requires_grad=False) for param in params]
    rule = torch.compile(authors_rule) if entry.get("compile") else authors_rule

    def step() -> None:
        with torch.no_grad():
            gradients = [param.grad for param in params if param.grad is not None]
            rule(params, velocities, gradients, **entry["options"])

    return step


def authors_rule(
    xs: Tensors, vs: Tensors, gs: Tensors, lr: float, momentum: float, delta: float
) -> None:
    """One step of relativistic gradient descent, in place.

        x += sqrt(mu) v / sqrt(mu delta |v|^2 + 1)
        v  = sqrt(mu) v - lr g
        x += v / sqrt(delta |v|^2 + 1)
        v  = sqrt(mu) v

    Args:
        xs: points.
        vs: velocities, of the same shapes.
        gs: gradients, of the same shapes.
        lr: the learning rate.
        momentum: mu.
        delta: 1/c^2.

    References:
        G. Franca, J. Sulam, D. P. Robinson and R. Vidal, arXiv:1903.04100
    """
    root = math.sqrt(momentum)
    _drift(xs, vs, root, momentum * delta)
    torch._foreach_mul_(vs, root)
    torch._foreach_add_(vs, gs, alpha=-lr)
    _drift(xs, vs, 1.0, delta)
    torch._foreach_mul_(vs, root)


def _drift(xs: Tensors, vs: Tensors, factor: float, delta: float) -> None:
    """Add factor v / sqrt(delta |v|^2 + 1), in the form each mode of torch is fastest with."""
    square = torch.stack(torch._foreach_norm(vs)).square().sum()  # noqa: SLF001
    if torch.compiler.is_compiling():
        scale = factor * torch.rsqrt(delta * square + 1)
        torch._foreach_add_(xs, torch._foreach_mul(vs, scale))  # noqa: SLF001
    else:
        torch._foreach_add_(xs, vs, alpha=factor / math.sqrt(delta * float(square) + 1))


def _three_operations(name: str, entry: Entry, params: Tensors) -> Step:
    """Heavy ball by torch's operations over lists, with nothing around them."""
    del name
    velocities = [torch.zeros_like(param, requires_grad=False) for param in params]
    lr, momentum = entry["options"]["lr"], entry["options"]["momentum"]

    def step() -> None:
        with torch.no_grad():
            gradients = [param.grad for param in params if param.grad is not None]
            torch._foreach_mul_(velocities, momentum)
            torch._foreach_add_(velocities, gradients, alpha=-lr)
            torch._foreach_add_(params, velocities)

    return step


def _noisy_operations(name: str, entry: Entry, params: Tensors) -> Step:
    """A step of Langevin dynamics by torch's generator and its operations over lists."""
    del name
    lr, temperature = entry["options"]["lr"], entry["options"]["temperature"]
    amplitude = math.sqrt(2 * lr * temperature)

    def step() -> None:
        with torch.no_grad():
            gradients = [param.grad for param in params if param.grad is not None]
            torch._foreach_add_(params, gradients, alpha=-lr)
            _add_noise(params, amplitude)

    return step


def _generated_with_noise(name: str, entry: Entry, params: Tensors) -> Step:
    """A generated step, and torch's normal numbers added to the points."""
    generated, amplitude = _generated(name, entry, params), entry["amplitude"]

    def step() -> None:
        generated()
        with torch.no_grad():
            _add_noise(params, amplitude)

    return step


def _add_noise(params: Tensors, amplitude: float) -> None:
    for param in params:
        param.add_(torch.randn_like(param), alpha=amplitude)


def _flat(name: str, entry: Entry, params: Tensors) -> Step:
    """Heavy ball on one long array each of points, velocities and gradients."""
    del name
    x = params[0].detach().numpy()
    v = np.zeros_like(x)
    lr, momentum = (np.float32(entry["options"][key]) for key in ("lr", "momentum"))

    def step() -> None:
        gradient = params[0].grad
        if gradient is not None:
            flat_heavy_ball(x, v, gradient.numpy(), lr, momentum)

    return step


@njit(error_model="numpy")
def _flat_chunk(x: Any, v: Any, g: Any, lr: Any, momentum: Any) -> None:
    for i in range(x.size):
        v[i] = momentum * v[i] - lr * g[i]
        x[i] = x[i] + v[i]


@njit(parallel=True, error_model="numpy")
def flat_heavy_ball(x: Any, v: Any, g: Any, lr: Any, momentum: Any) -> None:
    """Set v = momentum v - lr g; x = x + v: three arrays read, two written.

    Args:
        x: points, `(entries,)`, changed in place.
        v: velocities, `(entries,)`, changed in place.
        g: gradients, `(entries,)`.
        lr: the learning rate.
        momentum: the factor of the old velocity.
    """
    for k in prange((x.size + FLAT_CHUNK - 1) // FLAT_CHUNK):
        a, b = k * FLAT_CHUNK, min((k + 1) * FLAT_CHUNK, x.size)
        _flat_chunk(x[a:b], v[a:b], g[a:b], lr, momentum)


_KINDS: dict[str, Callable[[str, Entry, Tensors], Step]] = {
    "generated": _generated,
    "generated, noise": _generated_with_noise,
    "torch": _torch,
    "authors": _authors,
    "flat": _flat,
    "three operations": _three_operations,
    "noisy operations": _noisy_operations,
}


def _recompilations(entries: Entry) -> Iterator[Row]:
    """How many signatures the kernels gain under a schedule, and with other tensors."""
    settings = entries["recompilations"]
    for name in settings["candidates"]:
        options = entries["contestants"][name]["options"]
        before = _after_steps(name, options, [[8]], 1)
        scheduled = _after_steps(name, options, [[8]], settings["steps"])
        reshaped = [_after_steps(name, options, shapes, 2) for shapes in settings["shapes"]]
        for work, after in (
            (f"OneCycleLR over {settings['steps']} steps", scheduled),
            (f"{len(reshaped)} other sets of tensors", max(reshaped)),
        ):
            row = (BENCH, f"recompilations: {work}", name, "", None, None, None, None)
            yield Row(*row, torch.get_num_threads(), count=after - before)


def _after_steps(name: str, options: Entry, shapes: list[list[int]], steps: int) -> int:
    """The signatures of a product's kernels after scheduled steps on tensors of these shapes."""
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    optimizer = load(name).torch_class()(params, **options)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=10 * options["lr"], total_steps=steps + 1
    )
    for _ in range(steps):
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()
        schedule.step()
    return sum(len(kernel.signatures) for kernel in load(name).module("numba").STAGES)


def _cold(entry: Entry, rounds: int | None) -> Iterator[Row]:
    """Times of code in fresh processes, without and with what an earlier process left."""
    for name, dtype in itertools.product(entry["names"], entry.get("dtypes", [""])):
        texts = {"{name}": name, "{dtype}": dtype}
        setup, timed = _filled(entry["setup"], texts), _filled(entry["timed"], texts)
        titles = [_filled(entry[key], texts) for key in ("case", "again") if key in entry]
        seconds: list[list[float]] = [[] for _ in titles]
        for _ in range(min(rounds or entry["rounds"], entry["rounds"])):
            with tempfile.TemporaryDirectory() as folder:
                for sample in seconds:
                    sample.append(in_fresh_process(setup, timed, {"NUMBA_CACHE_DIR": folder}))
        for title, sample in zip(titles, seconds, strict=True):
            yield _row(title, name, "", Times.of(np.array(sample)), None, "")


def _filled(text: str, values: Mapping[str, str]) -> str:
    for blank, value in values.items():
        text = text.replace(blank, value)
    return text
