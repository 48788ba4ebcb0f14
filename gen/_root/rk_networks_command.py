"""The command ``reproduce rk-networks``: Runge-Kutta networks on points in the plane."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hamilforge import terminal
from hamilforge.typed import number, positive, whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--data", action="append", default=[], help="one of its data sets")
    parser.add_argument("--network", action="append", default=[], help="one of its networks")
    parser.add_argument("--seeds", type=whole_number, default=1, help="how many seeds, from 0")
    parser.add_argument("--iterations", type=positive, help="instead of the published number")
    parser.add_argument("--time", type=number, help="the sum of the steps")
    parser.add_argument(
        "--optimizer",
        metavar="NAME|PATH",
        help="instead of descent with backtracking: a declared one, or torch.Adam and the like",
    )
    parser.add_argument("--lr", type=number, help="its learning rate")


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the experiment.

    Args:
        options: what was typed.
        folder: for files and pictures.

    Returns:
        The exit status.
    """
    import numpy as np
    from rich.table import Table

    from hamilforge.runtime.reproduce import rk_networks

    named = {"time": options.time, "optimizer": options.optimizer, "lr": options.lr}
    changes = {name: value for name, value in named.items() if value is not None}
    settings, seeds = rk_networks.line_up(), options.seeds
    try:
        chosen = rk_networks.runs(
            settings, options.data, options.network, range(seeds), options.iterations, changes
        )
    except ValueError as error:
        return terminal.complain(error)
    folder.mkdir(parents=True, exist_ok=True)
    console = terminal.console()
    results = {}
    with terminal.bars(console) as bar:
        for experiment in chosen:
            advance = bar(
                f"{experiment.data}, {experiment.entry['name']}, seed {experiment.seed}",
                experiment.iterations,
            )
            try:
                results[experiment.name] = rk_networks.train(experiment, settings, folder, advance)
            except ValueError as error:
                return terminal.complain(error)
    table = Table("data", "network", "iterations", "cost", "accuracy", "on other points", box=None)
    for which in dict.fromkeys(experiment.data for experiment in chosen):
        for label in dict.fromkeys(experiment.entry["name"] for experiment in chosen):
            recorded = [
                results[experiment.name].history
                for experiment in chosen
                if experiment.data == which and experiment.entry["name"] == label
            ]
            ends = np.array([history[-1] for history in recorded if len(history)])
            if len(ends):
                cost, right, others = np.median(ends, 0)
                count = max(len(history) for history in recorded)
                table.add_row(
                    which, label, str(count), f"{cost:.2e}", f"{right:.1%}", f"{others:.1%}"
                )
    console.print(table)
    if seeds > 1:
        console.print(f"medians over {seeds} seeds")
    if not terminal.draws():
        return 0
    from hamilforge.runtime.reproduce import rk_networks_pictures

    for which in dict.fromkeys(experiment.data for experiment in chosen):
        first = {
            experiment: results[experiment.name]
            for experiment in chosen
            if experiment.data == which and experiment.seed == 0
        }
        picture = terminal.Picture(folder / f"{which}.png")
        rk_networks_pictures.draw(first, settings["objective"], picture.path)
        picture.done()
        if seeds > 1:
            histories: dict[str, list[Any]] = {}
            for experiment in chosen:
                if experiment.data == which:
                    histories.setdefault(experiment.entry["name"], []).append(
                        results[experiment.name].history
                    )
            picture = terminal.Picture(folder / f"{which}_seeds.png")
            title = f"{which}, seeds 0 to {seeds - 1}"
            rk_networks_pictures.curves(histories, title, picture.path)
            picture.done()
    return 0
