"""Verification catches every changed sign and coefficient of an emitted kernel."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

from hamilforge.gen.declare import catalogue
from hamilforge.gen.program.build import derive
from hamilforge.generation import catalogue_folder
from hamilforge.runtime.verify import ULPS, _deviation, _host_deviation, torch_backend
from hamilforge.verification import reference_cases

EXPECTED = Path(__file__).parents[1] / "expected" / "proofs.toml"
NAMES = tomllib.loads(EXPECTED.read_text())["mutation"]["verify"]


class Fault(ast.NodeTransformer):
    """One arithmetic operation of the emitted flow changed."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen = wanted, 0

    def _hit(self) -> bool:
        self.seen += 1
        return self.seen - 1 == self.wanted

    def visit_BinOp(self, node):
        self.generic_visit(node)
        swap = {ast.Add: ast.Sub, ast.Sub: ast.Add}
        if type(node.op) in swap and self._hit():
            return ast.BinOp(node.left, swap[type(node.op)](), node.right)
        if isinstance(node.op, ast.Mult) and self._hit():
            factor = ast.Constant(1 + 1e-6)
            return ast.BinOp(ast.BinOp(node.left, ast.Mult(), factor), ast.Mult(), node.right)
        return node


def faulty(name, wanted, tmp_path):
    """The torch file with one fault in a stage or a host scalar; None when there are no more."""
    tree = ast.parse((catalogue_folder() / f"{name}_torch.py").read_text())
    fault = Fault(wanted)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("solution"):
            fault.visit(node)
    if fault.seen <= wanted:
        return None
    path = tmp_path / f"fault_{wanted}_torch.py"
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    spec = importlib.util.spec_from_file_location(f"fault_{name}_{wanted}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_every_operation_of_the_emitted_flow_is_checked(name, tmp_path):
    program = derive(catalogue.load(name, ("optimizer",))).program
    cases = [case for case in reference_cases(program) if case.dtype == "float64"]
    wanted = 0
    while (module := faulty(name, wanted, tmp_path)) is not None:
        backend = torch_backend(module)
        worst = max(max(_host_deviation(module, case), _deviation(backend, case)) for case in cases)
        assert worst > 100 * ULPS, (name, wanted)
        wanted += 1
    assert wanted >= 4
