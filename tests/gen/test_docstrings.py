"""Docstrings say what goes in and what comes out, wherever there is more than a little of it."""

from __future__ import annotations

import ast
import inspect
import pydoc
import re
from pathlib import Path

import pytest

import hamilforge
from hamilforge.gen.declare import catalogue
from hamilforge.runtime.core import loader
from tests.optimizers import ELEMENTWISE
from tests.runtime.loops import rate_of

ROOT = Path(__file__).parents[2]
FILES = sorted({path for base in ("gen", "runtime") for path in (ROOT / base).rglob("*.py")})
#: Up to so many arguments the summary can say what they are.
FEW = 2
#: The lines of a section, and the names before a colon: of one argument, or of several alike.
ARGS = re.compile(r"^Args:\n((?:    .*\n?|\n)+)", re.MULTILINE)
NAMES = re.compile(r"^    ([*\w]+(?:, [*\w]+)*):", re.MULTILINE)
RESULT = re.compile(r"^(?:Returns|Yields):$", re.MULTILINE)


def public_functions(body, before=""):
    """Functions and methods without an underscore, with their dotted names."""
    for node in body:
        name = before + getattr(node, "name", "_")
        if name.rpartition(".")[2].startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from public_functions(node.body, f"{name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield name, node


def arguments_of(function):
    known = function.args
    names = [one.arg for one in (*known.posonlyargs, *known.args, *known.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls", "_")]


def returns_something(function):
    found = function.returns
    return found is not None and not (isinstance(found, ast.Constant) and found.value is None)


def explained(text):
    """The arguments of which a docstring says something."""
    section = ARGS.search(text)
    if section is None:
        return set()
    groups = NAMES.findall(section[1])
    return {name.lstrip("*") for group in groups for name in group.split(", ")}


def missing(function):
    """What a docstring does not say."""
    text = ast.get_docstring(function) or ""
    arguments = arguments_of(function)
    if len(arguments) <= FEW:
        return []
    known = explained(text)
    found = [name for name in arguments if name not in known] if known else ["Args:"]
    if returns_something(function) and not RESULT.search(text):
        found.append("Returns:")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_say_what_arguments_and_results_are(path):
    functions = public_functions(ast.parse(path.read_text(encoding="utf-8")).body)
    found = {f"{name}, line {node.lineno}": missing(node) for name, node in functions}
    assert not {name: what for name, what in found.items() if what}


@pytest.mark.parametrize("name", hamilforge.__all__)
def test_what_the_package_offers_is_described(name):
    found = getattr(hamilforge, name)
    assert inspect.isfunction(found) or inspect.isclass(found)
    assert found.__doc__
    if inspect.isfunction(found) and inspect.signature(found).parameters:
        known = explained(inspect.getdoc(found) or "")
        assert not [one for one in inspect.signature(found).parameters if one not in known]


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_help_tells_of_an_optimizer_what_it_is(name):
    told = pydoc.render_doc(hamilforge.optimizer(name), renderer=pydoc.plaintext)
    head = catalogue.load(name, ("optimizer",)).head
    proved = "Typed as an update" if "Typed as" in told else "Order"
    rate = rate_of(name)
    for part in (head.title, "x_new = ", proved, f"{rate}: in ", "Reference: "):
        assert part in told
    assert "Example:\n" in told
    assert f"(model.parameters(), {rate}=" in told
    assert "See the head" not in told


@pytest.mark.parametrize(
    "names", [("kepler", "rk4"), ("resnet", "rk4"), ("objective/softmax_classifier",)]
)
def test_help_tells_of_a_module_what_its_file_tells(names):
    product = loader.load(*names)
    told = pydoc.render_doc(product.torch_class(), renderer=pydoc.plaintext)
    assert product.module("torch").__doc__.splitlines()[0] in told
    assert "See the head" not in told
