"""A declaration of one's own: generated on first use, found again, never seen half done."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hamilforge.gen import products
from hamilforge.gen.declare import catalogue
from hamilforge.runtime.core import cache, loader

from .forked import fork
from .training import first

SUMS = {"shifted": True, "scope": "all", "staged": False, "timed": False}
PLAIN = {"shifted": False, "scope": "coordinate", "staged": False, "timed": False}


def declared(folder: Path, original: str, name: str, *changes: tuple[str, str]) -> Path:
    """A copy of a declaration of the catalogue, under another name and with changes."""
    text = (catalogue.root() / "optimizers" / f"{original}.toml").read_text(encoding="utf-8")
    for old, new in ((f'name = "{original}"', f'name = "{name}"'), *changes):
        assert old in text
        text = text.replace(old, new, 1)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def run(code: str, root: Path, *arguments: Any) -> subprocess.Popen[bytes]:
    """Python code in a process of its own, with a cache of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "HAMILFORGE_CACHE": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def output(process: subprocess.Popen[bytes]) -> bytes:
    """What the process printed, if it ended well."""
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error.decode()
    return out


TRAIN = """
import pickle, sys, torch
from hamilforge.runtime.core.loader import load
Method = load(sys.argv[1]).torch_class()
param = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
optimizer = Method([param], lr=0.1, fused=False)
for _ in range(3):
    param.grad = param.detach().clone()
    optimizer.step()
with open(sys.argv[2], "wb") as file:
    pickle.dump(optimizer, file)
print(param.tolist())
"""

GO_ON = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    optimizer = pickle.load(file)
(param,) = optimizer.param_groups[0]["params"]
param.grad = param.detach().clone()
optimizer.step()
print(type(optimizer).__name__, optimizer.param_groups[0]["clock"].n, (param < 1).all().item())
"""


def test_a_declaration_of_ones_own_is_trained_with_and_pickled_to_another_process(
    tmp_path: Path,
) -> None:
    root = tmp_path / "cache"
    path = declared(tmp_path, first(**PLAIN), "my_own_method")
    pickled = tmp_path / "optimizer.pickle"
    output(run(TRAIN, root, path, pickled))
    assert output(run(GO_ON, root, pickled)).decode().split() == ["MyOwnMethod", "5", "True"]


def test_two_processes_that_generate_the_same_product_both_succeed(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    path = declared(tmp_path, first(**PLAIN), "wanted_twice")
    both = [run(TRAIN, root, path, tmp_path / f"{n}.pickle") for n in range(2)]
    outputs = [output(process) for process in both]
    assert outputs[0] == outputs[1]
    (folder,) = root.iterdir()
    assert {file.name for file in folder.glob("*.py")} == {
        "__init__.py",
        "wanted_twice_numba.py",
        "wanted_twice_torch.py",
    }


MINIMIZE = """
import sys
from hamilforge.runtime.optimizers.minimize import minimize
found = minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], method=sys.argv[1], jac=True,
                 options={"lr": 0.1, "maxiter": 500})
print(found.success, "torch" in sys.modules)
"""


def test_minimize_takes_a_path_and_no_torch(tmp_path: Path) -> None:
    path = declared(tmp_path, first(**PLAIN), "by_path")
    assert output(run(MINIMIZE, tmp_path / "cache", path)).decode().split() == ["True", "False"]


def trained(method: Any, sizes: list[int], apart: bool, fused: bool) -> torch.Tensor:
    """Where five steps lead, the tensors in groups of one optimizer or in one optimizer each."""
    params = [torch.nn.Parameter(torch.linspace(1, 2, n, dtype=torch.float64)) for n in sizes]
    groups: Any = [{"params": [p], "lr": 0.1 * (k + 1)} for k, p in enumerate(params)]
    members = [[group] for group in groups] if apart else [groups]
    optimizers = [method(member, fused=fused) for member in members]
    for _ in range(5):
        for p in params:
            p.grad = p.detach().clone()
        for optimizer in optimizers:
            optimizer.step()
    return torch.cat([p.detach() for p in params])


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("fused", [True, False], ids=["fused", "functional"])
@pytest.mark.parametrize("scope", ["group", "tensor"])
def test_sums_over_groups_of_their_own_are_those_of_separate_optimizers(
    tmp_path: Path, scope: str, fused: bool
) -> None:
    change = ('scope = "all"', f'scope = "{scope}"')
    method = loader.load(declared(tmp_path, first(**SUMS), "apart", change)).torch_class()
    ends = [trained(method, [3, 4], apart, fused) for apart in (True, False)]
    assert (ends[0] - ends[1]).abs().max() <= 1e-15


def test_a_changed_declaration_is_another_product(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "cache"))
    path = declared(tmp_path, first(**PLAIN), "changing")
    before = loader.load(path)
    assert loader.load(path) == before
    assert loader.load(str(path)) == before
    path.write_text(path.read_text().replace("default = 1e-3", "default = 2e-3"))
    after = loader.load(path)
    assert after.name == before.name
    assert after.package != before.package
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_product_found_in_the_cache_is_not_generated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamilforge.gen import pipeline

    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "cache"))
    path = declared(tmp_path, first(**PLAIN), "kept")
    before = loader.load(path)
    monkeypatch.setattr(pipeline, "generate", lambda _: pytest.fail("generated again"))
    assert loader.load(path) == before


FOUND = """
import json, sys
from hamilforge.runtime.core.loader import load
for request in json.loads(sys.argv[1]):
    load(*request).module("numba")
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sympy", "jinja2", "torch"}))
"""


def test_what_is_in_the_cache_is_found_without_sympy(tmp_path: Path) -> None:
    root = tmp_path / "cache"
    rule = declared(tmp_path, first(**PLAIN), "mine")
    method = tmp_path / "mine_method.toml"
    table = (catalogue.root() / "runge_kutta" / "kutta3.toml").read_text(encoding="utf-8")
    method.write_text(table.replace('name = "kutta3"', 'name = "mine_method"'), encoding="utf-8")
    requests = json.dumps([[str(rule)], ["henon_heiles", str(method)], ["resnet", str(method)]])
    assert b"sympy" in output(run(FOUND, root, requests))
    assert len(list(root.iterdir())) == 3
    assert output(run(FOUND, root, requests)) == b"[]\n"


@pytest.mark.parametrize("change", ["declaration", "system", "cache"])
def test_what_this_process_has_asked_for_is_looked_at_again(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "classical.toml").write_text(
        (catalogue.root() / "hamiltonians" / "classical.toml").read_text(encoding="utf-8")
    )
    path = declared(tmp_path, "heavy_ball", "mine", ('"classical"', '"classical.toml"'))
    before = loader.load(path)
    assert loader.load(path) is before
    if change == "cache":
        monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "other"))
        assert loader.load(path) == before
        assert cache.find(before.package.rpartition(".")[2])
        return
    changed = path if change == "declaration" else tmp_path / "classical.toml"
    changed.write_text(changed.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    assert loader.load(path) != before


def test_the_folder_of_the_cache_may_change_between_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2):
        monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / f"cache{number}"))
        path = declared(tmp_path, first(**PLAIN), f"moved{number}")
        assert loader.load(path).module("torch").STATES


def test_what_ships_is_not_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "cache"))
    name = first(**PLAIN)
    assert loader.load(name) == loader.load(f"optimizer/{name}")
    assert loader.load(name).package == "hamilforge.generated"
    assert not (tmp_path / "cache").exists()


def test_a_choice_of_what_ships_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    order = products.order_for("taylor", 1e-6)
    shipped = loader.load("kepler", "taylor", order=order)
    other = loader.load("kepler", "taylor", order=3)
    assert shipped == loader.load("kepler", "taylor")
    assert shipped.package == "hamilforge.generated" != other.package
    monkeypatch.setattr(products, "load_made", None)
    assert loader.load("kepler", "taylor", order=order) == shipped
    assert loader.load("kepler", "taylor", order=3) == other
    assert loader.choices_of(shipped.module("numba")) == {}
    assert loader.choices_of(other.module("numba")) == {"order": 3}


def test_a_choice_of_what_ships_is_looked_up_anew_where_a_declaration_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    made = products.load_made

    def load_made(*names: Any, **choices: Any) -> Any:
        asked.append(names)
        return made(*names, **choices)

    monkeypatch.setattr(products, "load_made", load_made)
    monkeypatch.setattr(loader, "_KNOWN", {})
    loader.load("kepler", "taylor", order=12)
    (known,) = loader._KNOWN.values()
    where = next(iter(known.sources))
    changed = dataclasses.replace(known, sources={**known.sources, where: b"other"})
    monkeypatch.setattr(loader, "_KNOWN", dict.fromkeys(loader._KNOWN, changed))
    loader.load("kepler", "taylor", order=12)
    assert len(asked) == 2


def test_several_threads_may_be_the_first_to_ask_for_a_product() -> None:
    program = """
import threading
import hamilforge as hf

found, start = [], threading.Barrier(4)
def run():
    start.wait()
    found.append(hf.integrate("kepler", "dormand_prince54", t_span=(0, 1), rtol=1e-6).steps)
threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len(set(found)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["4", "1"], done.stderr


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_an_interrupted_store_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    root = tmp_path / "cache"
    monkeypatch.setenv("HAMILFORGE_CACHE", str(root))
    write, written = Path.write_text, []

    def failing(self: Path, *given: Any, **options: Any) -> int:
        if written:
            raise error
        written.append(self)
        return write(self, *given, **options)

    files = {"one.py": "one = 1\n", "two.py": "two = 2\n"}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", failing)
        with pytest.raises(type(error)):
            cache.store("p_key", files)
    assert written
    assert list(root.iterdir()) == []
    folder = cache.store("p_key", files)
    assert (folder / "two.py").read_text() == "two = 2\n"


def test_a_folder_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path))
    rename = Path.rename

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        cache.store("p_key", {"one.py": "one = 'first'\n"})
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    folder = cache.store("p_key", {"one.py": "one = 'second'\n"})
    assert (folder / "one.py").read_text() == "one = 'first'\n"
    assert [found.name for found in tmp_path.iterdir()] == ["p_key"]


def test_a_false_claim_leaves_nothing_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hamilforge import ClaimError

    root = tmp_path / "cache"
    monkeypatch.setenv("HAMILFORGE_CACHE", str(root))
    path = declared(tmp_path, first(**PLAIN), "boasting", ("order = ", "order = 9"))
    with pytest.raises(ClaimError, match="is claimed, but"):
        loader.load(path)
    assert not root.exists() or not list(root.iterdir())


def test_a_class_of_the_catalogue_is_pickled_by_its_name() -> None:
    made = loader.load(first(**PLAIN)).torch_class()
    assert pickle.loads(pickle.dumps(made)) is made


#: The process that is forked has derived the product, and never looked into a cache.
DERIVED = """
from hamilforge.gen import pipeline, products
pipeline.generate(products.load_made({path!r}))
"""
LOAD = """
import os
from hamilforge.runtime.core.loader import load
os.chdir({folder!r})
print(load({path!r}).module("numba").STATES)
"""


def loaded(path: Path, root: Path | None, **environment: str | None) -> tuple[str, str]:
    """What a process says on both streams that loads a declaration."""
    names = {"path": str(path), "folder": str(path.parent)}
    cached = {"HAMILFORGE_CACHE": str(root)} if root else {}
    prepared = DERIVED.format(**names)
    done = fork(LOAD.format(**names), prepared=prepared, **{**cached, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A declaration, a cache with its product, and what a process says that loads it."""
    folder = tmp_path_factory.mktemp("kept")
    path = declared(folder, first(**PLAIN), "mine")
    said, _ = loaded(path, folder / "cache")
    return path, folder / "cache", said


@pytest.fixture
def filled(kept: tuple[Path, Path, str], tmp_path: Path) -> tuple[Path, Path, str]:
    """The same, with a cache of the test's own."""
    path, root, said = kept
    own = tmp_path / "cache"
    shutil.copytree(root, own)  # permissions are copied too
    return path, own, said


def test_folders_are_the_users_alone_whatever_the_umask_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "above" / "cache"
    monkeypatch.setenv("HAMILFORGE_CACHE", str(root))
    before = os.umask(0)
    try:
        folder = cache.store("p_key", {"one.py": ""})
    finally:
        os.umask(before)
    assert folder.parent == root
    for place in (folder, root, root.parent):
        assert place.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("which", ["root", "product"])
@pytest.mark.parametrize("how", ["group", "world", "owner"])
def test_what_others_may_write_is_not_run(
    filled: tuple[Path, Path, str], which: str, how: str
) -> None:
    path, root, said = filled
    (folder,) = root.iterdir()
    (folder / "mine_numba.py").write_text("STATES = 'evil'")
    lines = [line.split(" ", 1) for line in (folder / cache.DIGESTS).read_text().splitlines()]
    digests = [f"{cache._digest((folder / name).read_bytes())} {name}\n" for _, name in lines]
    (folder / cache.DIGESTS).write_text("".join(digests))  # as one who knows would do it
    place = root if which == "root" else folder
    if how != "owner":
        place.chmod(0o770 if how == "group" else 0o707)
    elif os.geteuid() == 0:
        os.chown(place, 65534, 65534)
    else:
        pytest.skip("another owner needs root")
    again, error = loaded(path, root)
    assert again == said != "evil"
    if which == "root":
        assert len(error.splitlines()) == 1
        assert "works without a cache" in error


@pytest.mark.parametrize("damage", ["", "STATES = 'edited'\n", None], ids=["empty", "edit", "gone"])
def test_a_damaged_file_is_made_anew(filled: tuple[Path, Path, str], damage: str | None) -> None:
    path, root, said = filled
    (folder,) = root.iterdir()
    for file in folder.glob("*.py"):
        file.unlink()
        if damage is not None:
            file.write_text(damage)
    for _ in range(2):
        assert loaded(path, root) == (said, "")
    assert [place.name for place in root.iterdir()] == [folder.name]


def test_where_there_is_no_cache_one_line_says_so_and_nothing_is_left(
    kept: tuple[Path, Path, str], tmp_path: Path
) -> None:
    path, _, said = kept
    file = tmp_path / "file"
    file.write_text("")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    cases: list[tuple[Path | None, dict[str, str | None]]] = [
        (None, {"HAMILFORGE_CACHE": None, "XDG_CACHE_HOME": "relative"}),
        (file, {}),
        (file / "below", {}),
        (Path("/proc/cache"), {}),
    ]
    if os.geteuid() == 0:
        cases.append((Path("/dev/full/cache"), {}))
    for root, environment in cases:
        again, error = loaded(path, root, TMPDIR=str(temporary), **environment)
        assert again == said
        assert len(error.splitlines()) == 1, error
        assert "works without a cache" in error
        assert not list(temporary.iterdir())
    assert not (path.parent / "relative").exists()


def test_a_full_disk_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("HAMILFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache._Private, "folder", None)
    write = Path.write_text

    def full(self: Path, *given: Any, **options: Any) -> int:
        if (tmp_path / "cache") in self.parents:
            raise OSError(28, "No space left on device", str(self))
        return write(self, *given, **options)

    monkeypatch.setattr(Path, "write_text", full)
    path = declared(tmp_path, first(**PLAIN), "crowded")
    assert loader.load(path).module("numba").STATES
    assert loader.load(path).module("numba").STATES
    assert capsys.readouterr().err.count("No space left") == 1


def test_numba_gets_a_place_where_neither_package_nor_home_can_be_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import numba

    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/none")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "/proc/none")
    monkeypatch.setattr(cache._Private, "folder", None)
    cache.give_numba_a_place()
    assert numba.config.CACHE_DIR == "/proc/none"  # the package can be written
    monkeypatch.setattr(cache, "_can_be_made", lambda _: False)
    cache.give_numba_a_place()
    place = Path(numba.config.CACHE_DIR)
    assert place == cache._Private.folder
    assert place.stat().st_mode & 0o777 == 0o700
    assert os.environ["NUMBA_CACHE_DIR"] == str(place)
    assert capsys.readouterr().err.count("works without a cache") == 1

    @numba.njit(cache=True)
    def twice(x: float) -> float:
        return 2 * x

    assert twice(1.5) == 3.0


def test_an_unknown_home_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("HAMILFORGE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.raises(cache.NoCacheError, match="home folder is not known"):
        cache.cache_root()
    assert cache.root() == cache._Private.folder
    cache.give_numba_a_place()
