"""The command ``reproduce``: a paper's experiment with its settings, resumable."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hamilforge import terminal

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: What can be reproduced.
EXPERIMENTS = ("rk-networks",)


def run(
    name: str,
    out: Path | None,
    data: Sequence[str],
    networks: Sequence[str],
    seeds: int,
    iterations: int | None,
    changes: Mapping[str, Any],
) -> int:
    """Run an experiment.

    Args:
        name: of the experiment.
        out: a folder for files and pictures; ``<name>`` here if None.
        data: some data sets of the line-up; all if empty.
        networks: some networks of the line-up; all if empty.
        seeds: how many seeds, from 0.
        iterations: fewer than the line-up says.
        changes: instead of the line-up's: ``time`` (the sum of the steps), ``optimizer``, ``lr``.

    Returns:
        The exit status.
    """
    import importlib.util

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Table

    from hamilforge.runtime.reproduce import rk_networks

    if name not in EXPERIMENTS:
        return terminal.complain(f"no experiment '{name}'; there is {EXPERIMENTS[0]}")
    folder = out or Path(name)
    settings = rk_networks.line_up()
    try:
        chosen = rk_networks.runs(settings, data, networks, range(seeds), iterations, changes)
    except ValueError as error:
        return terminal.complain(error)
    folder.mkdir(parents=True, exist_ok=True)
    console = terminal.console()
    results = {}
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        for experiment in chosen:
            task = bar.add_task(
                f"{experiment.data}, {experiment.entry['name']}, seed {experiment.seed}",
                total=experiment.iterations,
            )
            advance = functools.partial(_advance, bar, task)
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
    if importlib.util.find_spec("matplotlib") is None:
        console.print('no pictures: pip install "hamilforge[demo]" brings matplotlib')
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


def _advance(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)
