"""Generated code: committed, deterministic, readable, self-contained, and closed to injection."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hamilforge.gen.emit
from hamilforge import generation
from hamilforge.gen import digests, pipeline, products
from hamilforge.gen.declare import catalogue
from hamilforge.gen.declare.errors import ClaimError
from hamilforge.gen.emit import files
from hamilforge.gen.emit.folder import update
from hamilforge.gen.emit.numba.printer import NumbaPrinter
from hamilforge.gen.emit.printer import HostPrinter
from hamilforge.gen.emit.requirements import Requirements
from hamilforge.gen.program.ir import Apply, Ref
from hamilforge.gen.program.passes import bytes_per_parameter, schedule
from tests.interpreted import program_of
from tests.optimizers import ELEMENTWISE

OPTIMIZERS = ELEMENTWISE
FOLDER = generation.catalogue_folder()
GENERATED = sorted({*FOLDER.glob("*_numba.py"), *FOLDER.glob("*_torch.py")})


@pytest.fixture(scope="module")
def texts():
    return pipeline.generate_catalogue()


def test_what_is_committed_is_what_is_generated(texts):
    found = files.compare(FOLDER, texts)
    assert not found, f"{found}; run: hamilforge generate"


def test_an_edited_line_a_missing_and_a_stale_file_are_caught(texts, tmp_path, capsys):
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert not files.compare(tmp_path, texts)
    kernel = tmp_path / "rgd_numba.py"
    lines = kernel.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        kernel.write_text(
            "".join([*lines[:number], line.rstrip("\n") + " \n", *lines[number + 1 :]])
        )
        assert files.compare(tmp_path, texts).changed == ("rgd_numba.py",)
    kernel.unlink()
    (tmp_path / "old_numba.py").write_text("")
    found = files.compare(tmp_path, texts)
    assert (found.missing, found.stale) == (("rgd_numba.py",), ("old_numba.py",))


def test_another_process_with_another_hash_seed_gives_the_same_bytes(texts):
    code = (
        "from hamilforge.gen import pipeline, products; import json;"
        "names = ['rgd', 'yoshida4', 'nesterov_vanishing'];"
        "texts = [pipeline.generate(products.load_made(n)) for n in names];"
        "print(json.dumps(texts))"
    )
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    products = json.loads(done.stdout)
    assert len(products) == 3
    for product in products:
        assert len(product) == 2
        for name, text in product.items():
            assert texts[name] == text


def test_an_unchanged_file_is_not_written_again(tmp_path):
    path = tmp_path / "a.py"
    assert update(tmp_path, {"a.py": "x = 1\n"}).written == ("a.py",)
    before = path.stat().st_mtime_ns
    assert update(tmp_path, {"a.py": "x = 1\n"}).written == ()
    assert path.stat().st_mtime_ns == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.py"]


def test_heavy_ball_fits_in_a_hundred_lines():
    for backend in ("numba", "torch"):
        assert len((FOLDER / f"heavy_ball_{backend}.py").read_text().splitlines()) <= 100


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_a_generated_file_says_where_it_comes_from_and_has_telling_names(path):
    text = path.read_text()
    header = [line for line in text.splitlines() if line.startswith("# ")][:5]
    assert [line.split(":")[0] for line in header[1:]] == [
        "# Source", "# Template", "# Digest of the declarations", "# Command",
    ]  # fmt: skip
    assert str(Path.home()) not in text
    tree = ast.parse(text)
    assert "Reference: " in ast.get_docstring(tree)
    declared = {
        key.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and "HYPERPARAMETERS" in ast.unparse(node.targets[0])
        for key in getattr(node.value, "keys", ())
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in declared:
            assert not re.fullmatch(r"_?(x|t|c|tmp)\d+|_?tmp\w*", node.id), node.id


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*_numba.py")), ids=lambda path: path.name)
def test_a_kernel_file_is_self_contained(path):
    """What is jitted is printed in it, or lives in a file whose digest stands in it."""
    text = path.read_text()
    modules = {
        node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)
    }
    assert "numba" in modules
    rooms = {f"hamilforge.runtime.{room}" for room in digests.COMPILED_IN.values()}
    modules |= {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module in rooms
        for alias in node.names
    }
    modules -= rooms
    compiled_in = {
        f"hamilforge.runtime.{room}.{name}" for name, room in digests.COMPILED_IN.items()
    }
    host = {"numba", "hamilforge.runtime.optimizers.clock"}
    assert modules <= {*host, *compiled_in}
    for module in modules - host:
        assert digests.runtime_digest(module.rpartition(".")[2]) in text


@pytest.mark.parametrize("module", digests.COMPILED_IN)
def test_a_digest_sees_all_that_is_compiled_in(module, monkeypatch):
    code, digest = digests._code, digests.runtime_digest(module)
    tree = ast.parse(code(module))
    imports = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {name.rpartition(".")[2] for name in imports} & {*digests.COMPILED_IN}
    for changed in {module, *called}:
        monkeypatch.setattr(
            digests, "_code", lambda name, changed=changed: code(name) + b"#" * (name == changed)
        )
        assert digests.runtime_digest.__wrapped__(module) != digest


EVIL = (
    '"""\\nimport os; os.system("touch hacked")\\n"""',
    "\\u0022\\u0022\\u0022; import os #",
    "{{ 7*7 }} {% raw %} \\\\",
    "\\u2028 x = 1 \\u0000".replace("\\u0000", ""),
)


@pytest.mark.parametrize("evil", EVIL)
def test_text_of_a_declaration_cannot_become_code(tmp_path, evil):
    source = (catalogue.root() / "optimizers" / "heavy_ball.toml").read_text().splitlines()
    quoted = evil.replace('"', '\\"') if not evil.startswith("\\u") else evil
    changed = [
        f'{line.split(" = ")[0]} = "{quoted}"' if line.startswith(("title", "reference")) else line
        for line in source
    ]
    changed = [line.replace('doc = "learning rate"', f'doc = "{quoted}"') for line in changed]
    path = tmp_path / "evil.toml"
    path.write_text("\n".join(changed).replace('name = "heavy_ball"', 'name = "evil"'))
    plain = pipeline.generate(products.load_made("heavy_ball"))
    made = pipeline.generate(products.load_made(path))
    for backend in ("numba", "torch"):
        good, bad = (
            ast.parse(one[f"{name}_{backend}.py"])
            for one, name in ((plain, "heavy_ball"), (made, "evil"))
        )
        shapes = [[type(node).__name__ for node in ast.walk(tree)] for tree in (good, bad)]
        assert shapes[0] == shapes[1]
        assert not any(isinstance(node, ast.Name) and node.id == "os" for node in ast.walk(bad))


def test_headers_say_what_was_read_and_the_command_that_writes_the_file_again(tmp_path):
    for folder, name, method in (
        ("optimizers", "heavy_ball", ()),
        ("objectives", "mean_squared_error", ()),
        ("fields", "resnet", ("rk4",)),
        ("systems", "van_der_pol", ("rk4",)),
    ):
        path = tmp_path / "my \n file.toml"
        path.write_text((catalogue.root() / folder / f"{name}.toml").read_text())
        more = "".join(f" --method {one}" for one in method)
        shipped, mine = (
            next(iter(pipeline.generate(products.load_made(one, *method)).values()))
            for one in (name, path)
        )
        assert f"# Command: hamilforge generate {name}{more}\n" in shipped
        assert f"# Source: {name}.toml" in shipped
        assert f"# Command: hamilforge generate my file.toml{more}\n" in mine
        assert "# Source: my file.toml" in mine


def test_a_false_claim_is_refused_and_nothing_is_written(tmp_path):
    import hamilforge as hf

    text = (catalogue.root() / "optimizers" / "heavy_ball.toml").read_text()
    path = tmp_path / "liar.toml"
    path.write_text(text.replace("order = 1", "order = 2"))
    out = tmp_path / "out"
    with pytest.raises(
        ClaimError, match=r"liar.toml:\d+: \[claims\].order: 2 is claimed, but 1 is true"
    ):
        hf.generate(path, out)
    assert not out.exists()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_passes_follow_from_the_reductions_alone(name):
    program = program_of(name)
    for function in program.functions:
        passes = schedule(function)
        sums = [line for line in function.lines if line.target.is_scalar]
        assert len(passes) == (2 if sums else 1)
        stored = [array for one in passes for array, _ in one.stores]
        assert sorted(stored) == sorted(array for array, _ in function.results)
        assert bytes_per_parameter(passes) in range(8, 60, 4)


def test_what_a_file_needs_is_collected_where_it_is_written():
    """No emitter reads its own text: words are looked for in templates, headers and names."""
    folder = Path(hamilforge.gen.emit.__file__).parent
    searching = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(name.name == "re" for name in node.names)
    }
    assert searching == {"printer.py", "folder.py", "products/network.py"}
    need = Requirements()
    text = NumbaPrinter(need=need)(Apply("erf", (Apply("tanh", (Ref("x"),)),)))
    assert text == "elementary.erf(np.tanh(x))"
    assert need.of(["elementary", "np", "wide"]) == ["elementary", "np"]
    assert [name for _, name, _ in need.modules()] == ["elementary", "kernel_parts"]
    host = HostPrinter(need=(need := Requirements()))
    assert "math.expm1" in host(Apply("elu", (Ref("x"),)))
    assert "math" in need
    assert "math" not in Requirements()


@pytest.mark.parametrize("form", ["core import compensation", "core.compensation import added"])
def test_a_digest_sees_either_form_of_an_import(form, monkeypatch):
    code = digests._code
    own = {"wide": f"from hamilforge.runtime.{form}\n".encode()}
    monkeypatch.setattr(digests, "_code", lambda name: own.get(name) or code(name))
    digest = digests.runtime_digest.__wrapped__("wide")
    own["compensation"] = b"changed = 1\n"
    assert digests.runtime_digest.__wrapped__("wide") != digest
