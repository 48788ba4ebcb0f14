"""Objects of one process give the same results from any number of threads, and when re-entered.

And kernels that are called in several threads do all of their work, and end at an error.
"""

from __future__ import annotations

import signal
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.core import threads

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


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of this test alone."""
    monkeypatch.setattr(threads, "_HELPERS", threads._Helpers())


@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
@pytest.mark.parametrize("at_once", [1, 2, 12])
@pytest.mark.usefixtures("helpers")
def test_results_are_in_their_order(count: int, at_once: int) -> None:
    def work(k: int) -> int:
        time.sleep(0.001 * (k % 3))
        return k * k

    assert threads.in_threads(work, count, at_once) == [k * k for k in range(count)]


@pytest.mark.parametrize("count", [1, 2, 9, 100])
def test_portions_are_all_of_the_work(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "get_num_threads", lambda: 3)
    portions: list[tuple[int, int]] = []

    def kernel(begin: int, end: int, name: str) -> None:
        assert name == "given"
        portions.append((begin, end))

    kernel.targetoptions = {}  # type: ignore[attr-defined]  # as one that is compiled
    threads.by_portions(kernel, count, "given")
    portions.sort()
    assert [0, *(end for _, end in portions)] == [*(begin for begin, _ in portions), count]
    assert len(portions) == min(count, threads.PORTIONS * min(count, 3))
    portions.clear()
    threads.by_portions(kernel, count, "given", seconds=0.0)
    assert portions == [(0, count)]


def _meeting(in_caller: Any, in_helper: Any) -> tuple[list[str], list[int]]:
    """What happened, and which of 50 pieces were begun, where two threads meet in their first."""
    barrier, caller = threading.Barrier(2), threading.get_ident()
    happened: list[str] = []
    begun: list[int] = []

    def work(k: int) -> None:
        begun.append(k)
        if len(begun) < 3:
            barrier.wait(20)
        (in_caller if threading.get_ident() == caller else in_helper)(happened)

    try:
        threads.in_threads(work, 50, 2)
    except ArithmeticError as error:
        happened.append(f"raised in {error}")
    return happened, begun


def _raise_in(name: str) -> Any:
    def work(_: list[str]) -> None:
        raise ArithmeticError(name)

    return work


def _linger(happened: list[str]) -> None:
    time.sleep(0.1)
    happened.append("ended")


@pytest.mark.usefixtures("helpers")
def test_after_an_error_of_the_caller_nothing_begins_and_what_began_has_ended() -> None:
    assert _meeting(_raise_in("the caller"), _linger) == (["ended", "raised in the caller"], [0, 1])


@pytest.mark.usefixtures("helpers")
def test_an_error_of_a_helper_is_raised_and_ends_the_work() -> None:
    assert _meeting(_linger, _raise_in("a helper")) == (["ended", "raised in a helper"], [0, 1])


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to a thread here")
def test_ctrl_c_waits_for_what_began_and_begins_nothing() -> None:
    assert (
        told(
            """
import signal, threading, time
from hamilforge.runtime.core import threads
caller, barrier, ended = threading.get_ident(), threading.Barrier(2), []
def work(k):
    if k < 2:
        barrier.wait(20)
    if threading.get_ident() == caller:
        return
    time.sleep(0.2)  # the caller has done all others, and waits
    signal.pthread_kill(caller, signal.SIGINT)
    time.sleep(0.2)
    ended.append(k)
try:
    threads.in_threads(work, 20, 2)
except KeyboardInterrupt:
    print("interrupted", len(ended), threads.in_threads(abs, 5, 2))
"""
        )
        == "interrupted 1 [0, 1, 2, 3, 4]"
    )


@pytest.mark.usefixtures("helpers")
def test_where_no_thread_can_start_the_caller_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert threads.in_threads(lambda k: k, 5, 3) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("helpers")
def test_what_was_done_is_not_kept_by_a_helper_that_is_busy() -> None:
    inside, go_on = threading.Event(), threading.Event()

    def busy(_: int) -> None:
        inside.set()
        go_on.wait(20)

    other = threading.Thread(target=threads.in_threads, args=(busy, 2, 2))
    other.start()
    inside.wait(20)
    array = np.zeros(3)
    known = weakref.ref(array)

    def work(k: int, array: Any = array) -> int:
        return k + array.size

    assert threads.in_threads(work, 4, 2) == [3, 4, 5, 6]
    del work, array
    assert known() is None
    go_on.set()
    other.join()
