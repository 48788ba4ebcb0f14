"""The derivation as text, Markdown and LaTeX: one golden output of each, and user text escaped."""

from __future__ import annotations

from pathlib import Path

import pytest

from hamilforge import document
from hamilforge.gen.declare import catalogue
from hamilforge.gen.document import formats
from tests.samples import sampled

GOLDEN = Path(__file__).parents[1] / "golden"
SUFFIX = {"text": "txt", "markdown": "md", "latex": "tex"}


@pytest.mark.parametrize("style", sorted(formats.FORMATS))
def test_the_derivation_is_the_golden_one(style):
    (path,) = GOLDEN.glob(f"*.{SUFFIX[style]}")
    made = document.show(path.stem, style)
    assert made == path.read_text(), f"hamilforge show {path.stem} --format {style} > {path}"


@pytest.mark.parametrize(
    "path",
    sampled(catalogue.paths(), every=6),
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_every_declaration_tells_its_derivation(path):
    text = document.show(path, "latex")
    assert text.count("\\begin{") == text.count("\\end{")
    assert text.count("{") == text.count("}")
    assert text.count("\\left(") == text.count("\\right)")


def test_user_text_is_escaped_in_every_format():
    evil = "50% & $x_1$ \\input{/etc/passwd} <script> `code` \x1b[31m"
    assert "\\input{" not in formats.latex_text(evil)
    assert "\\%" in formats.latex_text(evil)
    assert "\\<script\\>" in formats.markdown_text(evil)
    assert "\x1b" not in formats.plain_text(evil)
