"""Digests of what generated files depend on: declarations, generator, runtime modules, versions.

In: declarations, and the files of this package.  Out: hexadecimal digits.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from hamilforge.gen.declare import kinds

#: The folders of the generator that the text of a product depends on.
EMITTER = ("declare", "derive", "exact", "trees", "tableau", "program", "prove", "emit")
#: The module of the runtime that says how parts of kernels are compiled.
KERNEL_PARTS = "kernel_parts"
#: The modules of the runtime whose functions are called in kernels, with their rooms.
KERNEL_MODULES: Mapping[str, str] = {
    "array_kernels": "core",
    "compensation": "core",
    "elementary": "core",
    "lanes": "core",
    "layer_kernels": "networks",
    "linear": "core",
    "matrix_decompositions": "core",
    "matrix_equations": "core",
    "matrix_functions": "core",
    "matrix_kernels": "core",
    "matrix_rotations": "core",
    "normal_numbers": "core",
    "series_bounds": "integrators",
    "series_kernels": "integrators",
    "series_lanes": "integrators",
    "stage_systems": "integrators",
    "step_lengths": "integrators",
    "vector_math": "core",
    "wide": "optimizers",
}
#: The modules of the runtime whose code is compiled into kernels.
COMPILED_IN: Mapping[str, str] = {
    "pointers": "core",
    "inner_functions": "core",
    "lanes_type": "core",
    KERNEL_PARTS: "core",
    **KERNEL_MODULES,
}
_RUNTIME = "hamilforge.runtime."


def declaration_digest(declaration: kinds.Declaration) -> str:
    """A digest of a declaration and of all it refers to."""
    digest = hashlib.sha256()
    for source in kinds.sources(declaration):
        digest.update(len(source.data).to_bytes(8, "little") + source.data)
    digest.update(" ".join(kinds.varied(declaration)).encode())
    return digest.hexdigest()[:16]


def _runtime() -> Path:
    return Path(__file__).parents[1] / "runtime"


@functools.cache
def runtime_digest(module: str) -> str:
    """A digest of a runtime module that is compiled into kernels, and of what it calls; once."""
    digest = hashlib.sha256()
    for name in sorted(_compiled_with(module)):
        digest.update(_code(name))
    return digest.hexdigest()[:16]


def _compiled_with(module: str) -> set[str]:
    """A module whose code is compiled into kernels, and those whose functions it calls."""
    called = {name for name in _imported(_code(module)) if name in COMPILED_IN}
    return {module}.union(*map(_compiled_with, called))


def _imported(code: bytes) -> Iterator[str]:
    """The modules of the runtime that are imported, or from which something is."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(_RUNTIME):
            _, _, module = str(node.module).removeprefix(_RUNTIME).partition(".")
            yield from (module,) if module else (alias.name for alias in node.names)


def _code(module: str) -> bytes:
    return (_runtime() / COMPILED_IN[module] / f"{module}.py").read_bytes()


def versions() -> dict[str, str]:
    """The versions on which the bytes of generated files may depend."""
    return {name: importlib.metadata.version(name) for name in ("jinja2", "ruff", "sympy")}


@functools.cache
def emitter_digest() -> str:
    """A digest of everything that turns declarations into text, and of versions; computed once."""
    digest = hashlib.sha256(repr(sorted(versions().items())).encode())
    package = Path(__file__).parent
    for name in COMPILED_IN:
        digest.update(_code(name))
    for path in _sources(package):
        digest.update(path.relative_to(package).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sources(package: Path) -> Iterable[Path]:
    paths = (path for folder in EMITTER for path in (package / folder).rglob("*"))
    return sorted(path for path in paths if path.suffix in (".py", ".jinja"))
