"""Files appear whole or not at all, leave nothing behind, and are read back with care."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hamilforge.runtime.core import whole_files
from hamilforge.runtime.core.whole_files import DamagedFileError, whole
from hamilforge.runtime.integrators.solution import Solution
from hamilforge.runtime.reproduce import rk_networks
from tests.samples import diagonal

SAVE = """
import sys, time
import numpy as np
from hamilforge.runtime.core import whole_files
from hamilforge.runtime.integrators.solution import Solution
if sys.argv[2] == "named":
    whole_files._has_nameless = lambda folder: False
if sys.argv[2] == "copied":
    def link(*arguments, **options): raise OSError(18, "Invalid cross-device link")
    whole_files.os.link = link
big = np.random.default_rng(0).standard_normal((200_000, 4))
solution = Solution("a__b", tuple("abcd"), np.arange(200_000.0), big, {"g": 1.0}, 5)
print("ready", flush=True)
while True:
    solution.save(sys.argv[1])
"""


def saved(path: Path) -> Solution:
    solution = Solution("a__b", ("x",), np.arange(3.0), np.ones((3, 1)), {"g": 2.0}, 2)
    solution.save(path)
    return solution


@pytest.mark.parametrize(
    ("how", "end"), diagonal(["nameless", "named", "copied"], [signal.SIGTERM, signal.SIGKILL])
)
def test_a_killed_save_leaves_the_old_file_and_nothing_else(tmp_path, end, how):
    path = tmp_path / "solution.npz"
    saved(path)
    for wait in (0.05, 0.2, 0.35):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE, str(path), how], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait)
        process.send_signal(end)
        process.wait(timeout=30)
        Solution.read(path)
        if how == "nameless":
            assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    left = [entry for entry in tmp_path.iterdir() if entry != path]
    for entry in left:
        os.utime(entry, (0, 0))
    saved(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_file_of_a_process_that_runs_is_left_alone(tmp_path):
    other = tmp_path / f".a.npz.{os.getppid()}.0123abcd.part"
    own = tmp_path / ".a.npz.notes.part"
    for path in (other, own):
        path.write_text("")
        os.utime(path, (0, 0))
    with whole(tmp_path / "a.npz") as file:
        file.write(b"x")
    assert {entry.name for entry in tmp_path.iterdir()} == {other.name, own.name, "a.npz"}


@pytest.mark.parametrize("nameless", [True, False])
def test_an_exception_leaves_what_was_there(tmp_path, monkeypatch, nameless):
    if not nameless:
        monkeypatch.setattr(whole_files, "_has_nameless", lambda _: False)
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), whole(path) as file:  # noqa: PT012
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "bits": lambda data: data.replace(b"\xf0\x3f", b"\xf0\x3e").replace(
        b"PK\x03\x04", b"PK\x03\x05", 1
    ),
    "text": lambda data: b"hello\n",
    "array": lambda data: (
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, "
        b"'shape': (), }" + b" " * 60 + b"\n" + b"\0" * 8
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_solution_is_named(tmp_path, damage):
    path = tmp_path / "solution.npz"
    saved(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DamagedFileError, match=r"solution\.npz is not a solution"):
        Solution.read(path)
    with pytest.raises(FileNotFoundError):
        Solution.read(tmp_path / "none.npz")


def test_a_folder_that_is_not_there_is_said_of_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as refusal:
        saved(tmp_path / "none" / "solution.npz")
    assert refusal.value.filename == str(tmp_path / "none" / "solution.npz")


def test_another_archive_is_no_solution(tmp_path):
    path = tmp_path / "solution.npz"
    np.savez(path, a=1)
    with pytest.raises(DamagedFileError, match="as it was saved: name is not a file"):
        Solution.read(path)
    np.savez(path, name=np.array([{}], dtype=object))
    with pytest.raises(DamagedFileError):
        Solution.read(path)


@pytest.mark.parametrize("damage", [*DAMAGE.values(), None], ids=[*DAMAGE, "shape"])
def test_a_damaged_state_of_a_reproduction_is_put_aside_and_the_run_begins_anew(tmp_path, damage):
    settings = {**rk_networks.line_up(), "save_every": 5}
    settings["settings"]["steps"] |= {"points": 40, "layers": 4}
    (run,) = rk_networks.runs(settings, ["donut2d"], ["ODENet on a simplex"], [1], 5)
    fresh = rk_networks.train(run, settings, tmp_path)
    path = tmp_path / f"{run.name}.npz"
    if damage is None:
        arrays = dict(fresh.arrays) | {"h": np.ones(7)}
        other = rk_networks.Result(arrays, fresh.history, 1.0, False, fresh.memory)
        rk_networks.keep(path, other)
    else:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=f"{path.name} is not the state of a run"):
        again = rk_networks.train(run, settings, tmp_path)
    assert (again.history == fresh.history).all()
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, f"{path.name}.damaged"}
