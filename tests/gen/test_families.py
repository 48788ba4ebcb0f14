"""A kind is a dataclass, a reader, a record and a template; a backend is a folder."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest

from hamilforge import templates
from hamilforge.gen import families, pipeline, products
from hamilforge.gen.declare import catalogue, kinds
from hamilforge.gen.document.blocks import Paragraph
from hamilforge.gen.document.derivation import tell
from hamilforge.gen.emit import files
from hamilforge.gen.prove.report import Finding, Report

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", families.KINDS, ids=lambda kind: kind.form.__name__)
def test_what_a_record_names_is_there(kind):
    for target in (kind.reader, kind.prover, kind.teller):
        module, _, name = target.partition(":")
        assert callable(getattr(importlib.import_module(f"hamilforge.gen.{module}"), name))
    assert (catalogue.root() / kind.folder).is_dir()
    assert kind.name in templates.kinds()


def test_every_form_has_one_record():
    forms = [kind.form for kind in families.KINDS]
    assert len({*forms}) == len(forms)
    assert {*forms} == {*kinds.Declaration.__args__}


@dataclass(frozen=True, slots=True)
class Toy:
    head: kinds.Head
    size: int


def read_toy(reader, head, find):
    reader.keys(("size",))
    return Toy(head, reader.source.tables["size"])


def prove_toy(toy):
    finding = Finding("size", toy.size, "the declaration", "this toy")
    return Report(toy.head.name, "toy", toy.head.title, (finding,), ())


def tell_toy(toy, report):
    return (Paragraph(f"A toy of size {toy.size}."),)


def test_a_new_kind_is_a_record_beside_its_functions(monkeypatch, tmp_path):
    module = ModuleType("hamilforge.gen.toys")
    module.read, module.prove, module.tell = read_toy, prove_toy, tell_toy
    monkeypatch.setitem(sys.modules, module.__name__, module)
    record = families.Kind("toy", "toys", Toy, "toys:read", "toys:prove", "toys:tell")
    monkeypatch.setattr(families, "KINDS", (*families.KINDS, record))
    path = tmp_path / "mine.toml"
    path.write_text('kind = "toy"\nname = "mine"\ntitle = "Mine"\nreference = "-"\nsize = 3\n')
    toy = catalogue.load(path)
    assert toy == Toy(toy.head, 3)
    report = pipeline.check(toy)
    assert report["size"] == 3
    assert Paragraph("A toy of size 3.") in tell(toy, report)
    assert [source.data for source in kinds.sources(toy)] == [path.read_bytes()]
    assert catalogue.paths("toy") == ()


BACKEND = """
from dataclasses import dataclass
SUFFIX = "toy"


@dataclass(frozen=True)
class View:
    name: str
    lines: tuple


class Maker:
    TEMPLATE = "toy/optimizer.txt.jinja"

    @staticmethod
    def view(product):
        (function,) = product.program.functions
        return View(product.name, tuple(array.name for array in function.targets))


VIEWS = {"optimizer": Maker}
"""


def test_a_new_backend_is_a_folder(monkeypatch, tmp_path):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "__init__.py").write_text(BACKEND)
    (folder / "optimizer.txt.jinja").write_text("{{ name }}: {{ lines | join(' ') }}\n")
    spec = importlib.util.spec_from_file_location("toy", folder / "__init__.py")
    backend = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "toy", backend)
    spec.loader.exec_module(backend)
    monkeypatch.setattr(files, "BACKENDS", (*files.BACKENDS, backend))
    rendered = pipeline.rendered(products.load_made("heavy_ball"))
    assert rendered["heavy_ball_toy.py"] == "heavy_ball: v_new x_new\n"
    network = pipeline.rendered(products.load_made("resnet", "euler"))
    assert not [name for name in network if name.endswith("_toy.py")]


def test_backends_are_the_folders_of_emit():
    folders = {path.parent for path in (ROOT / "gen" / "emit").glob("*/__init__.py")}
    names = {folder.name for folder in folders} - {"products"}
    assert {Path(backend.__file__).parent.name for backend in files.BACKENDS} == names


def test_nothing_that_reads_or_finds_declarations_imports_sympy():
    heavy = ("sympy", "jinja2", "scipy", "numpy")
    light = [*(ROOT / "gen" / "declare").glob("*.py")]
    light += [ROOT / "gen" / name for name in ("families.py", "products.py", "digests.py")]
    for path in light:
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        named = {getattr(node, "module", None) or node.names[0].name for node in top}
        assert not [name for name in named if name.split(".")[0] in heavy], path


def test_a_record_without_a_reader_fails_by_name():
    broken = replace(families.KINDS[0], reader="declare.read_optimizers:no_such_reader")
    with pytest.raises(AttributeError, match="no_such_reader"):
        broken.read()
