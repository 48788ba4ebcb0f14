"""The house: data walks one way, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GEN = [path for path in sorted((ROOT / "gen").rglob("*.py")) if "_root" not in path.parts]
RUNTIME = sorted((ROOT / "runtime").rglob("*.py"))
DOOR = ROOT / "runtime" / "core" / "loader.py"


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name, packages):
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", GEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_generator_never_imports_numba_torch_or_the_runtime(path):
    banned = ("numba", "torch", "hamilforge.runtime")
    assert not [name for name in imported(path) if within(name, banned)]


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_runtime_imports_the_generator_only_through_the_loader(path):
    banned = ("sympy", "jinja2") if path == DOOR else ("sympy", "jinja2", "hamilforge.gen")
    assert not [name for name in imported(path) if within(name, banned)]


def edges():
    """Which module imports which when it is imported itself; for types alone, none does."""
    trees = {}
    for path in [*GEN, *RUNTIME]:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(("hamilforge", *parts)).removesuffix(".__init__")
        trees[name] = ast.parse(path.read_text())

    def targets(node):
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names}
        if not isinstance(node, ast.ImportFrom):
            return set()
        modules = {f"{node.module}.{alias.name}" for alias in node.names} & trees.keys()
        return modules or {node.module}

    return {
        name: set().union(*map(targets, tree.body)) & trees.keys() - {name}
        for name, tree in trees.items()
    }


def test_no_module_imports_itself_by_way_of_others():
    graph = edges()
    done = set()
    while ready := {name for name, targets in graph.items() if targets <= done} - done:
        done |= ready
    assert not graph.keys() - done


FAMILIES = ("optimizers", "integrators", "networks", "problems")


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: str(path.relative_to(ROOT)))
def test_families_of_the_runtime_stand_on_the_core_alone(path):
    """Benches, demo and reproductions stand above all of them."""
    (room, *_) = path.relative_to(ROOT / "runtime").parts
    if room not in ("core", *FAMILIES):
        return
    others = [f"hamilforge.runtime.{family}" for family in FAMILIES if family != room]
    others += [f"hamilforge.runtime.{above}" for above in ("bench", "demo", "reproduce")]
    assert not [name for name in imported(path) if within(name, others)]


def test_the_runtime_has_no_other_rooms():
    rooms = {path.parent.name for path in RUNTIME}
    above = {"bench", "demo", "products", "reproduce"}
    assert rooms == {"runtime", "core", *FAMILIES, *above}
    assert [path.name for path in (ROOT / "runtime").glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("path", GEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_families_of_the_generator_stand_on_the_core_alone(path):
    """Products and documents know the families that they are of, and the core knows none."""
    parts = path.relative_to(ROOT / "gen").parts
    if parts[0] not in ("derive", "program", "prove", "emit"):
        return
    own = {*FAMILIES} & {*parts}
    backend = parts[:2] if parts[0] == "emit" and len(parts) > 2 else ()
    if not own and (path.name == "__init__.py" or backend == ("emit", "products")):
        return
    families = {
        family
        for name in imported(path)
        if name.startswith("hamilforge.gen.")
        for family in FAMILIES
        if family in name.split(".")
    }
    assert families <= own


def test_every_stage_has_the_same_rooms():
    for stage in ("derive", "program", "prove", "emit/numba", "emit/torch"):
        rooms = {path.name for path in (ROOT / "gen" / stage).iterdir() if path.is_dir()}
        assert rooms - {"__pycache__"} == {*FAMILIES}, stage


STAGES = "declare derive exact trees tableau program fields prove emit document".split()


@pytest.mark.parametrize("path", GEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_stage_imports_only_the_stages_before_it(path):
    parts = path.relative_to(ROOT / "gen").parts
    if len(parts) == 1:
        return
    later = STAGES[STAGES.index(parts[0]) + 1 :]
    banned = [f"hamilforge.gen.{stage}" for stage in later]
    assert not [name for name in imported(path) if within(name, banned)]


@pytest.mark.parametrize("path", GEN, ids=lambda path: str(path.relative_to(ROOT)))
def test_derivatives_are_taken_in_one_place(path):
    """Elsewhere SymPy would give DiracDelta for the derivative of sign."""
    if path == ROOT / "gen" / "derive" / "calculus.py":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            numpy = isinstance(node.func.value, ast.Name) and node.func.value.id == "np"
            assert node.func.attr != "diff" or numpy, f"{path}:{node.lineno}"


def test_every_package_is_in_the_wheels_list():
    import tomllib

    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(tables["tool"]["setuptools"]["packages"])
    found = {"hamilforge.tableaux", "hamilforge.generated"}
    for folder in ("gen", "runtime"):
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            found.add(".".join(("hamilforge", *(parts[2:] if "_root" in parts else parts))))
    assert found == listed


def test_the_oldest_versions_are_those_that_are_installed_with():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = dict(line.split(">=") for line in project["dependencies"])
    lines = (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert oldest.keys() == allowed.keys()
    for name, version in oldest.items():
        assert re.fullmatch(rf"{re.escape(allowed[name])}(\.0)*", version), name


def test_the_top_level_holds_what_the_layout_says():
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\n")
    top = {name.split("/")[0] for name in names if name and not name.startswith(".")}
    if top:
        assert top <= {
            *"LICENSE README.md gen generated pyproject.toml runtime tableaux tests".split()
        }


def test_no_code_lists_method_names():
    names = {path.stem for path in (ROOT / "tableaux").glob("*/*.toml")} - {"polyak", "power"}
    for path in [*GEN, *(ROOT / "gen" / "_root").rglob("*.py"), *RUNTIME]:
        if path.name in ("templates.py",):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
                parts = node.keys if isinstance(node, ast.Dict) else node.elts
                words = {part.value for part in parts if isinstance(part, ast.Constant)}
                assert len(words & names) < 2, (path, words & names)


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_hamilforge_imports_nothing_heavy():
    heavy = run("import hamilforge, sys; print(sorted(sys.modules))")
    for name in ("sympy", "numpy", "torch", "numba", "jinja2", "scipy", "rich"):
        assert f"'{name}'" not in heavy


def test_everything_that_needs_no_torch_works_without_it():
    code = """
import sys
sys.modules["torch"] = None
import hamilforge as hf
from hamilforge import cli
assert hf.check("heavy_ball").holds
assert hf.minimize(lambda x: float(x @ x), [1.0, 2.0], jac=lambda x: 2 * x, method="heavy_ball",
                   options={"lr": 0.1, "momentum": 0.5}).success
assert cli.main(["show", "heavy_ball"]) == 0
assert hf.integrate("kepler", "rk4", t_span=(0, 1), h=0.1).y.shape == (11, 4)
try:
    hf.optimizer("heavy_ball")
except ImportError as error:
    assert "pip install torch" in str(error)
else:
    raise SystemExit("no error")
"""
    run(code)


def test_running_a_shipped_product_does_not_import_the_generator():
    code = """
import hamilforge.runtime.optimizers.minimize as m, sys
m.minimize(lambda x: float(x @ x), [1.0], jac=lambda x: 2 * x, method="heavy_ball")
assert "sympy" not in sys.modules and "jinja2" not in sys.modules
assert not [name for name in sys.modules if name.startswith("hamilforge.gen.")]
"""
    run(code)
