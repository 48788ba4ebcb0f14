"""The command ``reproduce deep-relaxation``: five methods on three networks."""

from __future__ import annotations

import argparse
from pathlib import Path

from hamilforge import terminal
from hamilforge.typed import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="a folder with the files of MNIST, CIFAR-10 or both; without it, what packages ship",
    )
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        help="one of its networks; a wrong name lists them",
    )
    parser.add_argument("--method", action="append", default=[], help="one of its methods, alike")
    parser.add_argument("--seeds", type=whole_number, default=3, help="how many seeds, from 0")
    parser.add_argument("--epochs", type=whole_number, help="effective epochs of each run")
    parser.add_argument("--full", action="store_true", help="the paper's widths and epochs")
    parser.add_argument("--device", default="cpu", help="where torch computes; cpu unless said")


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the experiment.

    Args:
        options: what was typed.
        folder: for files and pictures.

    Returns:
        The exit status.
    """
    from rich.table import Table

    from hamilforge.runtime.reproduce import deep_relaxation

    settings, seeds = deep_relaxation.line_up(), range(options.seeds)
    try:
        chosen = deep_relaxation.runs(
            settings, options.data, options.network, options.method, seeds, options.epochs,
            options.full, options.device,
        )  # fmt: skip
    except ValueError as error:
        return terminal.complain(error)
    folder.mkdir(parents=True, exist_ok=True)
    console = terminal.console()
    histories = {}
    with terminal.bars(console) as bar:
        for experiment in chosen:
            network, method = experiment.network["name"], experiment.method["name"]
            advance = bar(f"{network}, {method}, seed {experiment.seed}", experiment.epochs)
            try:
                histories[experiment] = deep_relaxation.train(experiment, folder, advance)
            except (FloatingPointError, ValueError) as error:
                return terminal.complain(error)
    reached = deep_relaxation.outcomes(histories)
    methods = list(dict.fromkeys(method for _, method in reached))
    table = Table("network", "validation error (%)", *methods, box=None)
    firsts = {experiment.network["name"]: experiment for experiment in reversed(chosen)}
    for name in dict.fromkeys(network for network, _ in reached):
        own = [reached[name, method] for method in methods]
        table.add_row(name, "at the end", *(outcome.end for outcome in own))
        table.add_row("", "least mean @ epochs", *(outcome.least for outcome in own))
        if firsts[name].data.label == firsts[name].network["data"]:
            published = settings["published"][name]
            table.add_row("", "published", *(published[method] for method in methods))
    console.print(table)
    for name in dict.fromkeys(network for network, _ in reached):
        first = firsts[name]
        terminal.say(
            f"{name}: {first.data.name} ({len(first.data.classes)} to train on, "
            f"{len(first.data.other_classes)} others), {first.width:g} times the paper's widths, "
            f"{first.epochs} effective epochs, "
            + ("seed 0" if len(seeds) == 1 else f"seeds 0 to {len(seeds) - 1}")
        )
    if not terminal.draws():
        return 0
    from hamilforge.runtime.reproduce import deep_relaxation_pictures

    for name in dict.fromkeys(network for network, _ in reached):
        picture = terminal.Picture(folder / f"{name}.png")
        curves = {method: reached[name, method] for method in methods}
        title = f"{name}, {firsts[name].data.name}"
        deep_relaxation_pictures.draw(curves, title, picture.path)
        picture.done()
    return 0
