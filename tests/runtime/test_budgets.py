"""Runs end: by a budget of steps, or by Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hamilforge as hf
from hamilforge.runtime.integrators import adaptive_trajectory, fixed_steps
from tests.samples import sampled

#: Seconds after which a child is ended.
PATIENCE = 240.0
STIFF = """
kind = "system"
name = "stiff"
title = "A fast decay to a slow curve"
reference = "Prothero and Robinson"
[equations]
y = "-1000000*(y - cos(t))"
[start]
y = 1
"""


@pytest.fixture
def stiff(tmp_path: Path) -> Path:
    path = tmp_path / "stiff.toml"
    path.write_text(STIFF, encoding="utf-8")
    return path


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("times", [None, [0.5, 1.0]])
def test_a_budget_of_steps_ends_a_run_with_what_there_is(stiff: Path, times: Any) -> None:
    with pytest.raises(hf.IntegrationError, match="the budget of 3000 steps is used up") as caught:
        hf.integrate(stiff, "dormand_prince54", t_span=(0, 1), t_eval=times, max_steps=3000)
    assert "max_steps" in str(caught.value)
    assert caught.value.step == 3000
    assert 0 < caught.value.t < 1
    kept = caught.value.solution
    assert len(kept.t) == (3001 if times is None else 0)
    assert np.isfinite(kept.y).all()


@pytest.mark.parametrize("times", [None, [1e6]])
def test_the_budget_is_finite_if_nothing_is_said(stiff: Path, times: Any) -> None:
    begun = time.perf_counter()
    with pytest.raises(hf.IntegrationError, match="the budget of 1000000 steps is used up"):
        hf.integrate(stiff, "dormand_prince54", t_span=(0, 1e6), t_eval=times)
    assert time.perf_counter() - begun < 60


@pytest.mark.usefixtures("kernels")
def test_tolerances_below_rounding_end() -> None:
    for times in (None, [1.0]):
        with pytest.raises(hf.IntegrationError, match="tolerances below rounding"):
            hf.integrate(
                "kepler", "dormand_prince54", t_span=(0, 2), rtol=1e-300, atol=1e-300, t_eval=times
            )


def test_a_run_that_needs_its_whole_budget_may_have_it() -> None:
    run = {"t_span": (0, 20), "rtol": 1e-8}
    plain = hf.integrate("kepler", "dormand_prince54", **run)
    again = hf.integrate("kepler", "dormand_prince54", max_steps=plain.steps, **run)
    assert (again.y == plain.y).all()
    with pytest.raises(hf.IntegrationError, match="budget"):
        hf.integrate("kepler", "dormand_prince54", max_steps=plain.steps - 1, **run)
    fixed = {"t_span": (0, 1), "h": 0.1}
    hf.integrate("kepler", "rk4", max_steps=10, **fixed)
    with pytest.raises(hf.IntegrationError, match=r"10 steps of h = 0.1, more than max_steps = 9"):
        hf.integrate("kepler", "rk4", max_steps=9, **fixed)


@pytest.mark.parametrize("times", [None, np.linspace(0, 20, 301), [20.0]])
def test_nothing_depends_on_where_runs_are_cut(times: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> Any:
        return hf.integrate("kepler", "dormand_prince54", t_span=(0, 20), rtol=1e-7, t_eval=times)

    plain = run()
    monkeypatch.setattr(adaptive_trajectory, "FIRST_STRETCH", 1)
    monkeypatch.setattr(adaptive_trajectory, "STRETCH", 0.0)
    cut = run()
    assert (cut.steps, cut.rejected) == (plain.steps, plain.rejected)
    assert (cut.y == plain.y).all()
    assert (cut.t == plain.t).all()


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("method", ["rk4", "gauss2"])
def test_nothing_depends_on_where_fixed_runs_are_cut(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run() -> Any:
        return hf.integrate("henon_heiles", method, t_span=(0, 20), h=0.1, every=3).y

    plain = run()
    monkeypatch.setattr(fixed_steps, "FIRST_STRETCH", 1)
    monkeypatch.setattr(fixed_steps, "STRETCH", 0.0)
    assert (run() == plain).all()


def test_tolerances_may_be_given_for_each_component() -> None:
    def run(rtol: Any, atol: Any) -> Any:
        return hf.integrate("kepler", "dormand_prince54", t_span=(0, 5), rtol=rtol, atol=atol)

    plain = run(1e-6, 1e-9)
    for rtol, atol in (([1e-6] * 4, [1e-9] * 4), (np.full(4, 1e-6), (1e-9,)), (1e-6, [1e-9] * 4)):
        assert (run(rtol, atol).y == plain.y).all()
    loose = run(1e-12, [1e3, 1e3, 1e-9, 1e-9])
    tight = run(1e-12, [1e-9, 1e-9, 1e-9, 1e-9])
    assert loose.steps < tight.steps
    for wrong in ([1e-9] * 3, [[1e-9] * 4], [1e-9, 0, 1e-9, 1e-9], [], float("nan"), -1.0):
        with pytest.raises(ValueError, match="atol"):
            run(1e-6, wrong)
        with pytest.raises(ValueError, match="rtol"):
            run(wrong, 1e-9)


LONG = {
    "adaptive, at times": 'hf.integrate(stiff, "dormand_prince54", t_span=(0, 1e6), t_eval=[1e6],'
    " max_steps=10**9)",
    "adaptive": 'hf.integrate(stiff, "dormand_prince54", t_span=(0, 1e6), max_steps=10**9)',
    "implicit": 'hf.integrate("henon_heiles", "gauss3", t_span=(0, 1e6), h=1e-2, every=10**5)',
    "fixed": 'hf.integrate("henon_heiles", "rk4", t_span=(0, 1e7), h=1e-2, every=10**6)',
    "ensemble": 'hf.integrate("henon_heiles", "gauss2", np.full((3000, 4), 0.1), (0, 1e6), 1e-2,'
    " every=10**6)",
    "minimize": "hf.minimize(lambda x: (x @ x) / 2, np.ones(10), jac=lambda x: x,"
    ' method="rgd", options={"maxiter": 10**9, "gtol": 0.0, "lr": 1e-12})',
}


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("what", sampled(LONG, every=3))
def test_a_long_run_hears_ctrl_c(what: str, stiff: Path) -> None:
    text = textwrap.dedent(f"""
    import signal
    import numpy as np
    import hamilforge as hf
    from hamilforge.runtime.core import loader
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the parent ignores it
    stiff = {str(stiff)!r}
    loader.load(stiff, "dormand_prince54").module("numba")
    try:
        hf.integrate(stiff, "dormand_prince54", t_span=(0, 1e-6))  # compile
        hf.integrate("henon_heiles", "gauss2", np.full((2, 4), 0.1), (0, 1), 0.1)
        for method in ("gauss3", "rk4"):
            hf.integrate("henon_heiles", method, t_span=(0, 1), h=0.1)
        hf.minimize(lambda x: (x @ x) / 2, np.ones(10), jac=lambda x: x, method="rgd")
        print("begin", flush=True)
        {LONG[what]}
    except KeyboardInterrupt:
        print("heard", flush=True)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watch = threading.Timer(PATIENCE, process.kill)
    watch.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "begin"
        time.sleep(1.5)
        assert process.poll() is None, process.communicate()
        begun = time.perf_counter()
        process.send_signal(signal.SIGINT)
        said = process.stdout.readline().strip()
        if said != "heard":  # it came while an interrupt cannot be caught: it ends the process
            _, errors = process.communicate()
            assert "KeyboardInterrupt" in errors, (process.returncode, errors[-2000:])
        assert time.perf_counter() - begun < 10.0  # a fifth of a second on a machine with time
    finally:
        watch.cancel()
        process.kill()
        process.communicate()
