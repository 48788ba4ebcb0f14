"""One thread of BLAS inside the blocks of a network, and as many as before after them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.core import blas_threads
from hamilforge.runtime.core.blas_threads import one_blas_thread
from hamilforge.runtime.networks import room as rooms

LIBRARY = blas_threads._library()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="a BLAS whose threads are not ours to set")


@pytest.fixture(autouse=True)
def _two() -> Iterator[None]:
    before = LIBRARY.get()
    LIBRARY.set(2)
    yield
    LIBRARY.set(before)


def test_the_last_to_leave_puts_the_number_back() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_blas_thread():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with one_blas_thread():
        thread.start()
        inside.wait()
    assert LIBRARY.get() == 1
    leave.set()
    thread.join()
    assert LIBRARY.get() == 2
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        raise ZeroDivisionError
    assert LIBRARY.get() == 2


@pytest.mark.usefixtures("kernels")
def test_kernels_have_one_thread_and_a_loss_has_as_many_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = hf.network("resnet", "heun2", 2, {"d": 9}, backend="numba")
    seen: list[int] = []
    product = network.product
    kernel = product.forward
    monkeypatch.setattr(
        product, "forward", lambda *given: seen.append(LIBRARY.get()) or kernel(*given)
    )

    def loss(ends: np.ndarray, rows: slice) -> tuple[None, np.ndarray]:
        assert LIBRARY.get() == 2
        return None, ends

    network.gradient(np.ones((4, 9)), loss=loss)
    assert seen == [1]
    assert LIBRARY.get() == 2
    monkeypatch.setattr(rooms, "SHARED_PRODUCT", 9 * 9 * 5)  # worth it for one block of samples
    seen.clear()
    network.gradient(np.ones((5, 9)), loss=loss)
    assert seen == [2]
