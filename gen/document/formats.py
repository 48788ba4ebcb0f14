"""Documents as plain text, Markdown and LaTeX.

In: a document.  Out: a string.  User text is escaped for each format; formulas are printed from
the IR, by a printer of their own for LaTeX.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import ClassVar

import sympy as sp

from hamilforge.gen.declare.functions import BY_NAME
from hamilforge.gen.declare.visible import visible
from hamilforge.gen.document.blocks import (
    Butcher,
    Conditions,
    Document,
    Facts,
    Formula,
    Formulas,
    Heading,
    Matrix,
    Paragraph,
    WeightSum,
)
from hamilforge.gen.emit.printer import FormulaPrinter
from hamilforge.gen.program.ir import Apply, Expr, Reduce, Select, Value

WIDTH = 88
_GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi chi psi "
    "omega".split()
)

#: The value of a coordinate at a site of a lattice.
_AT_SITE = re.compile(r"(\w+)\[([^\[\]]+)\]")


class TextPrinter(FormulaPrinter):
    """Formulas in plain text: ``sum(...)`` over coordinates, ``A @ v`` and ``A'`` of matrices."""

    def _print(self, expr: Value) -> tuple[str, int]:
        match expr:
            case Apply(op="matmul", args=(left, right)):
                return f"{self._within(left, 5)} @ {self._within(right, 5)}", 2
            case Apply(op="transpose", args=(arg,)):
                return f"{self._within(arg, 5)}'", 5
        return super()._print(expr)


class LatexPrinter(FormulaPrinter):
    """Formulas in LaTeX."""

    signs: ClassVar[Mapping[str, str]] = {"greater": ">", "at_least": r"\ge", "equal": "="}

    def number(self, value: Fraction) -> str:
        """A number; fractions as such."""
        if value.denominator == 1:
            return str(value.numerator)
        sign = "-" if value < 0 else ""
        return f"{sign}\\tfrac{{{abs(value.numerator)}}}{{{value.denominator}}}"

    def constant(self, op: str) -> str:
        """A constant by its letter."""
        return f"\\{op}"

    def call(self, op: str, args: list[str]) -> str:
        """Functions by their usual names."""
        arg = ", ".join(args)
        if op == "sqrt":
            return f"\\sqrt{{{arg}}}"
        if op == "abs":
            return f"\\left|{arg}\\right|"
        if op.startswith("grad_"):
            return f"\\nabla {op.removeprefix('grad_')}\\left({arg}\\right)"
        if op.startswith("sum_"):
            return f"\\sum_{{{op.removeprefix('sum_')}}} \\left({arg}\\right)"
        if op == "sum over samples":
            return f"\\sum_{{\\text{{samples}}}} \\left({arg}\\right)"
        known = BY_NAME[op].latex if op in BY_NAME else ""
        name = known or f"\\operatorname{{{latex_text(op)}}}"
        return f"{name}\\left({arg}\\right)"

    def _select(self, choice: Select) -> tuple[str, int]:
        """A choice by cases."""
        then, otherwise = self(choice.then), self(choice.otherwise)
        cases = f"{then} & {self.test(choice)} \\\\ {otherwise} & \\text{{otherwise}}"
        return f"\\begin{{cases}} {cases} \\end{{cases}}", 5

    def _print(self, expr: Value) -> tuple[str, int]:
        match expr:
            case Reduce(arg=arg):
                return f"\\textstyle\\sum_i {self._within(arg, 2)}", 2
            case Apply(op="mul", args=args):
                # a sum would take in what stands behind it
                least = [3 if isinstance(arg, Reduce) else 2 for arg in args[:-1]] + [2]
                return " \\, ".join(map(self._within, args, least)), 2
            case Apply(op="matmul", args=(left, right)):
                return f"{self._within(left, 5)} \\cdot {self._within(right, 5)}", 2
            case Apply(op="transpose", args=(arg,)):
                return f"{self._within(arg, 5)}^{{\\top}}", 5
            case Apply(op="div", args=(over, under)):
                return f"\\frac{{{self(over)}}}{{{self(under)}}}", 5
            case Apply(op="pow", args=(base, exponent)):
                return f"{self._within(base, 5)}^{{{self(exponent)}}}", 4
            case Select():
                return super()._print(expr)
        text, binding = super()._print(expr)
        named = binding == 5 and (text.isidentifier() or _AT_SITE.fullmatch(text))
        return (latex_name(text) if named else text), binding

    def _within(self, expr: Expr, least: int) -> str:
        text, binding = self._print(expr)
        return text if binding >= least else f"\\left({text}\\right)"


def latex_name(name: str) -> str:
    """A name in LaTeX: Greek letters, words upright, the rest and sites as subscripts."""
    at_site = _AT_SITE.fullmatch(name)
    if at_site:
        return f"{{{latex_name(at_site[1])}}}_{{{at_site[2]}}}"
    head, *rest = name.split("_")
    subscripts = [f"\\mathrm{{{part}}}" for part in rest]
    letters = head.rstrip("0123456789")
    if len(head) > len(letters) and (len(letters) == 1 or letters in _GREEK):
        subscripts.insert(0, head[len(letters) :])
        head = letters
    if head in _GREEK:
        head = f"\\{head}"
    elif len(head) > 1:
        head = f"\\mathrm{{{head}}}"
    return f"{head}_{{{','.join(subscripts)}}}" if subscripts else head


def latex_text(text: str) -> str:
    """User text in LaTeX."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{c: f"\\{c}" for c in "&%$#_{}"},
    }
    return "".join(special.get(c, c) for c in visible(text))


def markdown_text(text: str) -> str:
    """User text in Markdown."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>#|$" else c for c in visible(text))


def plain_text(text: str) -> str:
    """User text on a terminal: control characters do not reach it."""
    return visible(text)


def text(document: Document) -> str:
    """Plain text."""
    parts = []
    printer = TextPrinter()
    for block in document:
        match block:
            case Heading(text=words, level=level):
                parts.append(f"{plain_text(words)}\n{'=-'[level - 1] * len(words)}")
            case Paragraph(text=words):
                parts.append(textwrap.fill(plain_text(words), WIDTH))
            case Formulas(lines=lines):
                parts.append(_aligned(lines, printer))
            case Facts(items=items):
                parts.append("\n".join(_fact(name, value) for name, value in items))
            case Butcher():
                parts.append(_text_table(block))
            case Matrix(rows=entries):
                parts.append(_text_matrix([list(map(str, row)) for row in entries]))
            case Conditions(lines=conditions):
                parts.append("\n".join(_text_conditions(conditions)))
    return "\n\n".join(parts) + "\n"


def _aligned(lines: tuple[Formula, ...], printer: Callable[[Expr], str]) -> str:
    width = max(len(line.left) for line in lines)
    rows = []
    for line in lines:
        row = (
            f"    {line.left.replace('.', chr(39)):<{width}} {line.relation} {printer(line.right)}"
        )
        rows.append(row + (f"    ({line.remark})" if line.remark else ""))
    return "\n".join(rows)


def _fact(name: str, value: str) -> str:
    head = f"  {name}: "
    return textwrap.fill(head + plain_text(value), WIDTH, subsequent_indent="      ")


def markdown(document: Document) -> str:
    """Markdown with formulas in LaTeX."""
    parts = []
    for block in document:
        match block:
            case Heading(text=words, level=level):
                parts.append(f"{'#' * level} {markdown_text(words)}")
            case Paragraph(text=words):
                parts.append(markdown_text(words))
            case Formulas(lines=lines):
                parts.append("$$\n" + _align(lines, "aligned") + "\n$$")
            case Facts(items=items):
                rows = [
                    f"- **{markdown_text(name)}**: {markdown_text(value)}" for name, value in items
                ]
                parts.append("\n".join(rows))
            case Matrix(rows=entries):
                parts.append("$$\n" + _latex_matrix(entries) + "\n$$")
            case Butcher():
                parts.append("$$\n" + _latex_table(block) + "\n$$")
            case Conditions(lines=conditions):
                parts.append("$$\n" + _latex_conditions(conditions, "aligned") + "\n$$")
    return "\n\n".join(parts) + "\n"


def _text_matrix(cells: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "    " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in cells
    )


def _latex_matrix(rows: tuple[tuple[sp.Expr, ...], ...]) -> str:
    lines = " \\\\\n".join(" & ".join(map(sp.latex, row)) for row in rows)
    return f"\\begin{{pmatrix}}\n{lines}\n\\end{{pmatrix}}"


def _text_table(block: Butcher) -> str:
    cells = [["" if cell is None else str(cell) for cell in row] for row in block.rows()]
    widths = [max(len(row[k]) for row in cells) for k in range(len(cells[0]))]
    lines = [
        f"    {row[0]:>{widths[0]}} | "
        + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in cells
    ]
    rule = "    " + "-" * (widths[0] + 1) + "+" + "-" * (sum(widths[1:]) + 2 * len(widths) - 3)
    lines.insert(len(block.c), rule)
    return "\n".join(line.rstrip() for line in lines)


def _text_conditions(lines: tuple[tuple[str, WeightSum, int], ...]) -> Iterator[str]:
    width = max(len(tree) for tree, _, _ in lines)
    for tree, weight, density in lines:
        product = " ".join(
            f"{letter}_{indices}" + (f"^{power}" if power > 1 else "")
            for letter, indices, power in weight.factors
        )
        yield f"    {tree:<{width}}  sum {product} = " + ("1" if density == 1 else f"1/{density}")


def _latex_table(block: Butcher) -> str:
    rows = [
        " & ".join("" if cell is None else sp.latex(cell) for cell in row) + " \\\\"
        for row in block.rows()
    ]
    rows.insert(len(block.c), "\\hline")
    columns = "c|" + "c" * len(block.c)
    return f"\\begin{{array}}{{{columns}}}\n" + "\n".join(rows) + "\n\\end{array}"


def _latex_conditions(lines: tuple[tuple[str, WeightSum, int], ...], environment: str) -> str:
    rows = []
    for tree, weight, density in lines:
        indices = "".join(dict.fromkeys("".join(index for _, index, _ in weight.factors)))
        product = " ".join(
            f"{letter}_{{{index}}}" + (f"^{{{power}}}" if power > 1 else "")
            for letter, index, power in weight.factors
        )
        right = "1" if density == 1 else f"\\tfrac{{1}}{{{density}}}"
        rows.append(f"\\sum_{{{indices}}} {product} &= {right} && \\texttt{{{tree}}}")
    return f"\\begin{{{environment}}}\n" + " \\\\\n".join(rows) + f"\n\\end{{{environment}}}"


def latex(document: Document) -> str:
    """A LaTeX document."""
    parts = [
        "\\documentclass{article}",
        "\\usepackage[utf8]{inputenc}",
        "\\usepackage{amsmath}",
        "\\begin{document}",
    ]
    for block in document:
        match block:
            case Heading(text=words, level=level):
                parts.append(f"\\{'sub' * (level - 1)}section*{{{latex_text(words)}}}")
            case Paragraph(text=words):
                parts.append(latex_text(words))
            case Formulas(lines=lines):
                parts.append(_align(lines, "align*"))
            case Facts(items=items):
                rows = [f"\\item[{latex_text(name)}] {latex_text(value)}" for name, value in items]
                parts.append("\n".join(["\\begin{description}", *rows, "\\end{description}"]))
            case Matrix(rows=entries):
                parts.append("\\[\n" + _latex_matrix(entries) + "\n\\]")
            case Butcher():
                parts.append("\\[\n" + _latex_table(block) + "\n\\]")
            case Conditions(lines=conditions):
                parts.append(_latex_conditions(conditions, "align*"))
    return "\n\n".join([*parts, "\\end{document}"]) + "\n"


def _align(lines: tuple[Formula, ...], environment: str) -> str:
    printer = LatexPrinter()
    rows = []
    for line in lines:
        name = line.left
        left = f"\\dot{{{latex_name(name[:-1])}}}" if name.endswith(".") else _latex_left(name)
        relation = "\\leftarrow" if line.relation == "<-" else "="
        remark = f" && \\text{{({latex_text(line.remark)})}}" if line.remark else ""
        rows.append(f"{left} &{relation} {printer(line.right)}{remark}")
    return f"\\begin{{{environment}}}\n" + " \\\\\n".join(rows) + f"\n\\end{{{environment}}}"


def _latex_left(name: str) -> str:
    if name.isidentifier():
        return latex_name(name)
    return name.replace("grad K(p)", "\\nabla K(p)").replace("dH/dt", "\\frac{dH}{dt}")


FORMATS: Mapping[str, Callable[[Document], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
}
