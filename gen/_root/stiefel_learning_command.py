"""The command ``reproduce stiefel-learning``: five applications of learning on manifolds."""

from __future__ import annotations

import argparse
from pathlib import Path

from hamilforge import terminal
from hamilforge.typed import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--application",
        action="append",
        default=[],
        help="one of its applications; a wrong name lists them",
    )
    parser.add_argument("--seeds", type=whole_number, default=3, help="how many seeds, from 0")
    parser.add_argument("--steps", type=whole_number, help="of each run, instead of the line-up's")


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the experiment.

    Args:
        options: what was typed.
        folder: for pictures.

    Returns:
        The exit status.
    """
    from rich.table import Table

    from hamilforge.runtime.reproduce import stiefel_learning

    try:
        chosen = stiefel_learning.runs(
            stiefel_learning.line_up(), options.application, range(options.seeds), options.steps
        )
    except ValueError as error:
        return terminal.complain(error)
    folder.mkdir(parents=True, exist_ok=True)
    console = terminal.console()
    results: dict[str, dict[str, list[stiefel_learning.Result]]] = {}
    others: dict[str, dict[str, list[float]]] = {}
    firsts: dict[str, stiefel_learning.Run] = {}
    with terminal.bars(console) as bar:
        for experiment in chosen:
            name, method = experiment.application["name"], experiment.method["name"]
            advance = bar(f"{name}, {method}, seed {experiment.seed}", experiment.steps)
            try:
                reached = stiefel_learning.learn(experiment, advance)
            except FloatingPointError as error:
                return terminal.complain(error)
            results.setdefault(name, {}).setdefault(method, []).append(reached)
            if method == experiment.application["methods"][0]["name"]:
                firsts.setdefault(name, experiment)
                for peer, distance in stiefel_learning.peers(experiment).items():
                    others.setdefault(name, {}).setdefault(peer, []).append(distance)
    for name, methods in results.items():
        application = firsts[name].application
        table = Table(name, application["measure"], "off the manifold", box=None)
        for method, own in methods.items():
            ends = [float(result.distances[-1]) for result in own]
            off = max(result.violation for result in own)
            table.add_row(method, stiefel_learning.spread(ends), f"{off:.1e}")
        for peer, distances in others.get(name, {}).items():
            table.add_row(peer, stiefel_learning.spread(distances), "")
        terminal.say(f"{application['title']}: {firsts[name].steps} steps, {options.seeds} seeds")
        console.print(table)
    if not terminal.draws():
        return 0
    from hamilforge.runtime.reproduce import stiefel_learning_pictures

    for name, methods in results.items():
        picture = terminal.Picture(folder / f"{name}.png")
        stiefel_learning_pictures.draw(firsts[name], methods, others.get(name, {}), picture.path)
        picture.done()
    return 0
