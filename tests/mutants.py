"""Generated texts with one fault each: what verification has to see.

A fault is one of: a sign turned, a coefficient made larger by a millionth, a choice turned, what is
done in place left out.  In: the text of a generated module.  Out: modules, kernels as plain Python.
What a rule requires of its hyper-parameters is left as it is: it refuses, and computes nothing.
"""

from __future__ import annotations

import ast
import copy
import types
from collections.abc import Iterator
from dataclasses import dataclass

from tests.interpreted import as_python

#: What a coefficient is multiplied by.
FACTOR = 1 + 1e-6
#: Functions of host scalars: whatever has a name in them is a number.
HOST = ("coefficients", "start_row", "solution_row")
#: Tell numbers from tensors, and types from each other, and count: their arguments are no
#: coefficients.
TELLING = ("is_number", "range", "real", "normals")
_TURNED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one fault.

    Attributes:
        function: where the fault is.
        line: the line of the text that has it, blanks removed.
        source, becomes: what stood there and what stands there now.
    """

    function: str
    line: str
    source: str
    becomes: str
    module: types.ModuleType

    def __str__(self) -> str:
        return f"{self.function}: {self.source} -> {self.becomes} in {self.line}"


class Fault(ast.NodeTransformer):
    """The fault of a number, counted through a tree; counts all where there is no such number."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.seen = wanted, 0
        self.function, self.line, self.source, self.becomes = "", "", "", ""
        self._scalars: set[str] = set()
        self._statement: ast.AST | None = None

    # --- where --------------------------------------------------------------------------------

    def of(self, tree: ast.Module) -> None:
        """Go through all functions of a module; what is a class only names them."""
        states = next(
            len(ast.literal_eval(node.value))
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STATES"
        )
        for node in tree.body:
            if isinstance(node, ast.FunctionDef):
                name = node.name if self.seen <= self.wanted else self.function
                self.function, self._scalars = name, _scalars(node, states)
                node.body = [self.visit(statement) for statement in node.body]

    def _fault(self, node: ast.AST, other: ast.AST) -> ast.AST:
        self.seen += 1
        if self.seen - 1 != self.wanted:
            return node
        self.source, self.becomes = ast.unparse(node), ast.unparse(ast.fix_missing_locations(other))
        if isinstance(self._statement, ast.stmt):
            self.line = " ".join(ast.unparse(self._statement).split())
        return other

    def _larger(self, node: ast.expr) -> ast.expr:
        changed = self._fault(node, ast.BinOp(node, ast.Mult(), ast.Constant(FACTOR)))
        assert isinstance(changed, ast.expr)
        return changed

    def visit(self, node: ast.AST) -> ast.AST:
        """Visit a node; simple statements are remembered as lines."""
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            self._statement = copy.deepcopy(node)
        elif isinstance(node, ast.If | ast.For):
            self._statement = copy.deepcopy(node.test if isinstance(node, ast.If) else node.iter)
        visited = super().visit(node)
        assert isinstance(visited, ast.AST)
        return visited

    # --- signs and coefficients -----------------------------------------------------------------

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        product = isinstance(node.op, ast.Mult | ast.Div)
        for side in ("left", "right"):
            part = getattr(node, side)
            # a factor larger is a product larger
            if not (product and isinstance(part, ast.Name | ast.Constant)):
                setattr(node, side, self.visit(part))
        if isinstance(node.op, ast.Add | ast.Sub):
            return self._fault(node, ast.BinOp(node.left, _TURNED[type(node.op)](), node.right))
        return self._larger(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        node.value = self.visit(node.value)  # type: ignore[assignment]
        return self._fault(node, ast.AugAssign(node.target, _TURNED[type(node.op)](), node.value))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return self._fault(node, node.operand) if isinstance(node.op, ast.USub) else node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        return self._larger(node) if number and node.value else node

    def visit_Name(self, node: ast.Name) -> ast.AST:
        coefficient = isinstance(node.ctx, ast.Load) and node.id in self._scalars
        return self._larger(node) if coefficient else node

    # --- choices, and what is done in place -------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        other = ast.Compare(node.left, [_TURNED[type(node.ops[0])]()], node.comparators)
        return self._fault(node, other)

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.body[0], ast.Raise):
            return node
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if ast.unparse(node.func).rpartition(".")[2] in TELLING:
            return node
        node.args = [self.visit(part) for part in node.args]  # type: ignore[misc]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)  # type: ignore[assignment]
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        if not isinstance(node.value, ast.Call):
            return node
        self.generic_visit(node)
        return self._fault(node, ast.Pass())

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        node.value = self.visit(node.value)  # type: ignore[assignment]
        kept = isinstance(node.targets[0], ast.Subscript)
        return self._fault(node, ast.Pass()) if kept else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return node


def _scalars(function: ast.FunctionDef, states: int) -> set[str]:
    """The names of numbers in a function of a rule with some number of states."""
    names = [argument.arg for argument in function.args.args]
    if function.name in HOST:
        inside = ast.walk(function)
        stored = {n.id for n in inside if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        return {*names, *stored}
    if names[0] == "xs":  # lists of tensors come first
        return {*names[names.index("gs") + 1 if "gs" in names else states + 1 :]}
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Subscript | ast.Attribute)]
    arrays = {node.value.id for node in nodes if isinstance(node.value, ast.Name)}
    return {*names} - arrays - {"itemsize"}


def mutants(text: str, backend: str) -> Iterator[Mutant]:
    """All modules that differ from a text by one fault.

    Args:
        text: of a generated module.
        backend: ``numba`` or ``torch``.
    """
    tree = ast.parse(text)
    counter = Fault(-1)
    counter.of(copy.deepcopy(tree))
    for wanted in range(counter.seen):
        fault, changed = Fault(wanted), copy.deepcopy(tree)
        fault.of(changed)
        source = ast.unparse(ast.fix_missing_locations(changed))
        module = loaded(source, backend)
        yield Mutant(fault.function, fault.line, fault.source, fault.becomes, module)


def loaded(text: str, backend: str) -> types.ModuleType:
    """A module of a text, kernels as plain Python."""
    if backend == "numba":
        return as_python(text, "mutant")
    module = types.ModuleType("mutant")
    exec(compile(text, "mutant", "exec"), module.__dict__)
    return module
