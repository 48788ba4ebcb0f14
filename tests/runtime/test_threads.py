"""Objects of one process give the same results from any number of threads, and when re-entered.

And kernels that are called in several threads do all of their work, and end at an error.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.core.threads import PORTIONS, in_threads

from .children import told

SETTING = """
import threading
import numpy as np
import hamilforge as hf

def crowd(work, count=8):
    wrong, failures = [], []
    def run(k):
        try:
            wrong.extend(w for w in (work(k) for _ in range(40)) if w)
        except BaseException as error:
            failures.append(repr(error))
    threads = [threading.Thread(target=run, args=(k,)) for k in range(count)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(len(wrong), failures)

draw = np.random.default_rng(0).standard_normal
"""


def test_a_network_called_from_many_threads_gives_what_one_thread_gets() -> None:
    assert (
        told(
            SETTING
            + """
network = hf.network("resnet", "rk4", layers=10, sizes={"d": 2}, backend="numba")
points = [draw((300 + 50 * (k % 3), 2)) for k in range(8)]
ones = [np.ones_like(x) for x in points]
ends = [network(x) for x in points]
wanted = [network.gradient(x, costates=c).controls for x, c in zip(points, ones)]

def work(k):
    same = (network(points[k]) == ends[k]).all()
    found = network.gradient(points[k], costates=ones[k]).controls
    return not (same and all((found[n] == wanted[k][n]).all() for n in found))

crowd(work)
"""
        )
        == "0 []"
    )


def test_objectives_trajectories_and_minimisations_of_many_threads_do_not_meet() -> None:
    assert (
        told(
            SETTING
            + """
loss = hf.objective("logistic_classifier", {"d": 2, "c": 1}, backend="numba")
data = [(draw((200, 2)), np.ones((200, 1))) for _ in range(8)]
losses = [loss.evaluate(*d).weights for d in data]
starts = [0.1 * draw((3, 4)) for _ in range(8)]

def run(k):
    many = hf.integrate("henon_heiles", "rk4", starts[k], (0, 5), 0.05).y
    one = hf.integrate("kepler", "dormand_prince54", t_span=(0, 2 + k)).y
    found = hf.minimize(lambda x: ((x - k)**2).sum(), np.ones(3), jac=lambda x: 2 * (x - k),
                        method="rgd", options={"maxiter": 30}).x
    return many, one, found

wanted = [run(k) for k in range(8)]

def work(k):
    weights = loss.evaluate(*data[k]).weights
    same = all((weights[n] == losses[k][n]).all() for n in weights)
    return not same or not all((a == b).all() for a, b in zip(run(k), wanted[k]))

crowd(work)
"""
        )
        == "0 []"
    )


def test_optimizers_of_many_threads_do_not_meet() -> None:
    assert (
        told(
            SETTING
            + """
import torch

def trained(k):
    params = [torch.nn.Parameter(torch.full((5,), float(j + k))) for j in range(70)]
    optimizer = hf.optimizer("rgd")(params, lr=0.01)
    for _ in range(5):
        for param in params:
            param.grad = param.detach() - k
        optimizer.step()
    return torch.stack([param.detach() for param in params])

wanted = [trained(k) for k in range(8)]
crowd(lambda k: not torch.equal(trained(k), wanted[k]))
"""
        )
        == "0 []"
    )


def test_a_loss_may_call_its_own_network() -> None:
    network = hf.network("resnet", "rk4", layers=6, sizes={"d": 2}, backend="numba")
    points = np.random.default_rng(1).standard_normal((50, 2))

    def plain(ends, rows):
        return (ends**2).sum(1) / 2, ends

    def nosy(ends, rows):
        network(points)
        network.gradient(points, costates=3 * np.ones_like(points))
        network.memory, network.checkpoints = "states", 2
        return plain(ends, rows)

    wanted = network.gradient(points, loss=plain)
    for memory in ("all", "states", "checkpoint"):
        network.memory = memory
        found = network.gradient(points, loss=nosy)
        for name, value in wanted.controls.items():
            assert np.allclose(found.controls[name], value, rtol=1e-12, atol=1e-14), memory
        assert np.allclose(found.h, wanted.h, rtol=1e-12, atol=1e-14)


def test_calls_one_after_the_other_work_in_the_same_arrays() -> None:
    made = []
    rooms = hf.network("resnet", "rk4", 2, {"d": 2}, backend="numba")._rooms
    for kind in ("a", "a", "b", "b", "a"):
        with rooms.serving(kind, lambda: made.append(0) or object()):
            pass
    assert len(made) == 3
    with rooms.serving("a", object) as outer, rooms.serving("a", object) as inner:
        assert outer is not inner


def _taken(error_at: int = -1) -> list[tuple[int, int]]:
    """What parts of 100 pieces a kernel is called with; it raises an error at one of them."""
    parts: list[tuple[int, int]] = []

    def kernel(begin: int, end: int, name: str) -> None:
        parts.append((begin, end))
        if begin <= error_at < end:
            raise ArithmeticError(name)
        time.sleep(0.001)

    kernel.targetoptions = {}  # type: ignore[attr-defined]  # as one that is compiled
    try:
        in_threads(kernel, 100, "planted")
    except ArithmeticError:
        parts.append((-1, -1))
    return parts


@pytest.mark.parametrize("threads", [1, 2, 5, 300])
def test_each_piece_of_work_is_done_once(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hamilforge.runtime.core.threads.get_num_threads", lambda: threads)
    parts = sorted(_taken())
    assert [begin for begin, _ in parts] == [0, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == 100
    assert len(parts) == (1 if threads == 1 else min(100, PORTIONS * threads))


@pytest.mark.parametrize("piece", [0, 99])
def test_nothing_begins_after_an_error(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hamilforge.runtime.core.threads.get_num_threads", lambda: 2)
    before = _taken(piece)
    assert before[-1] == (-1, -1)  # raised in the calling thread, whoever met it
    assert len(before) <= 3 or piece == 99
