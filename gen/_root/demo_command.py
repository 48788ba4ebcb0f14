"""``hamilforge demo``: from a declaration to a trained network.

In: the declaration and the line-up of :mod:`hamilforge.runtime.demo`.  Out: on the terminal, each
stage of the way: declared, derived, proved, generated, compiled, verified, at work; and a picture.
"""

from __future__ import annotations

import ast
import importlib.util
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.syntax import Syntax
from rich.table import Table

import hamilforge as hf
from hamilforge import terminal
from hamilforge.gen.declare.visible import visible_lines
from hamilforge.terminal import complain

if TYPE_CHECKING:
    from hamilforge.runtime.demo.training import Curve, Digits, Lineup

LIBRARIES = {"torch": "PyTorch", "sklearn": "scikit-learn", "matplotlib": "matplotlib"}
PICTURE = "hamilforge_demo.png"


def run(out: Path | None = None, epochs: int | None = None) -> int:
    """Run the demo.

    Args:
        out: where the picture goes, a file or a folder; ``hamilforge_demo.png`` here if None.
        epochs: passes over the training digits; what the line-up says if None.

    Returns:
        The exit status: 0 fine, 1 a claim or a comparison failed, 2 the demo cannot run.
    """
    missing = [name for module, name in LIBRARIES.items() if not importlib.util.find_spec(module)]
    if missing:
        return complain(
            f'the demo needs {" and ".join(missing)}; pip install "hamilforge[demo]" brings '
            f"{'it' if len(missing) == 1 else 'them'}"
        )
    if epochs is not None and epochs < 1:
        return complain(f"the demo trains for at least 1 epoch, not {epochs}")
    picture = Path(PICTURE) if out is None else out / PICTURE if out.is_dir() else out
    if not picture.absolute().parent.is_dir():
        return complain(f"there is no folder {picture.absolute().parent} for the picture")
    if picture.suffix not in (".png", ".svg", ".pdf"):
        return complain(f"a picture's name ends in .png, .svg or .pdf, unlike {picture.name}")

    from hamilforge.runtime.demo import training

    begin = time.perf_counter()
    console = terminal.console()
    lineup = training.read_lineup()
    if not _tell(console, lineup.declaration):
        return 1
    digits = training.read_digits(lineup)
    _generate(console, lineup, digits)
    _headline(console, "6. Verified: every backend against the same program in NumPy")
    with console.status("compiling every variant and comparing"):
        verification = hf.verify(lineup.declaration)
    _print(console, str(verification))
    if not verification.holds:
        return 1
    _train(console, lineup, digits, epochs or lineup.epochs, picture)
    console.print(f"All in {time.perf_counter() - begin:.0f} s.")
    return 0


def _tell(console: Console, declaration: Path) -> bool:
    """The declaration, what follows from it, and whether its claims hold."""
    from hamilforge import document

    _headline(console, f"1. Declared: {declaration.name}")
    text = Syntax("", "toml", theme="ansi_dark").highlight(declaration.read_text("utf-8"))
    text.rstrip()
    console.print(text, soft_wrap=True)
    _headline(console, "2. Derived")
    with console.status("deriving and proving"):
        derivation = document.show(declaration, "text")
        report = hf.check(declaration)
    _print(console, derivation.rstrip())
    _headline(console, "3. Proved: about the program that is emitted")
    _print(console, str(report))
    return report.holds


def _generate(console: Console, lineup: Lineup, digits: Digits) -> None:
    """The generated files, and the first two steps of the compiled one."""
    from hamilforge.runtime.demo import training

    _headline(console, "4. Generated")
    files = hf.generate(lineup.declaration)
    for file in files:
        _print(console, str(file))
    summary = ast.get_docstring(ast.parse(files[0].read_text(encoding="utf-8"))) or ""
    _print(console, "\n" + "\n".join(f"    {line}".rstrip() for line in summary.splitlines()))
    _headline(console, "5. Compiled")
    own = next(
        contender for contender in lineup.contenders if contender.source == str(lineup.declaration)
    )
    with console.status("compiling"):
        first, second = training.time_steps(own, lineup, digits)
    _print(
        console,
        f"first step {first:.2f} s (compiled, or read from numba's cache), "
        f"second {1e6 * second:.0f} µs",
    )


def _train(console: Console, lineup: Lineup, digits: Digits, epochs: int, picture: Path) -> None:
    """Train all contenders; print the table and draw the picture."""
    from hamilforge.runtime.demo import curves, training

    _headline(console, "7. At work: handwritten digits, same weights, same batches")
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress:
        task = progress.add_task("training", total=epochs * len(lineup.contenders))
        results = training.train(
            lineup,
            digits,
            epochs,
            lambda contender: progress.update(task, advance=1, description=contender.label),
        )
    console.print(_table(results, epochs))
    drawn = terminal.Picture(picture)
    curves.draw(results, drawn.path)
    _print(console, "\nLearning curves:")
    drawn.done()


def _table(results: Sequence[Curve], epochs: int) -> Table:
    table = Table(
        title=f"After {epochs} epochs, at the solution: loss in training, accuracy in the test",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    table.add_column("optimizer", no_wrap=True)
    table.add_column("hyper-parameters")
    for column in ("loss", "accuracy", "ms/epoch"):
        table.add_column(column, justify="right", no_wrap=True)
    for curve in results:
        table.add_row(
            curve.contender.label,
            curve.contender.settings(),
            f"{curve.losses[-1]:.4f}",
            f"{100 * curve.accuracies[-1]:.1f} %",
            f"{1e3 * curve.seconds:.1f}",
            style="bold" if curve.contender.generated else "",
        )
    return table


def _headline(console: Console, text: str) -> None:
    console.print()
    console.rule(text, align="left")


def _print(console: Console, text: str) -> None:
    """Text as it is: no line is broken."""
    console.print(visible_lines(text), soft_wrap=True)
