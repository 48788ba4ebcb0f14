"""Pictures of learning on manifolds: losses and distances by steps, and separated signals.

In: the results of one application.  Out: one picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hamilforge.runtime.core import pictures
from hamilforge.runtime.reproduce.stiefel_learning import Result, Run

#: Lines that lie on each other are told apart.
_STYLES = ("-", "--", ":", "-.")


def draw(
    first: Run,
    results: Mapping[str, Sequence[Result]],
    peers: Mapping[str, Sequence[float]],
    path: Path,
) -> None:
    """Loss and distance, a line for each rule and seed; below, what a problem has to show.

    Args:
        first: a run of the application.
        results: by rule, one for each seed.
        peers: the distances of others, by name.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = first.problem().shown
    rows = shown(next(iter(results.values()))[0].point) if shown else {}
    figure = plt.figure(figsize=(9, 3.4 + 1.9 * len(rows)), layout="constrained")
    heights = [3.4, *([1.9] * len(rows))]
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    top, *below = parts[:, 0]
    left, right = top.subplots(1, 2)
    for number, (method, own) in enumerate(results.items()):
        for seed, result in enumerate(own):
            label = method if not seed else None
            steps = np.arange(len(result.losses))
            style = {"color": f"C{number}", "ls": _STYLES[number % len(_STYLES)], "lw": 1.2}
            left.plot(steps, result.losses, label=label, **style)
            right.plot(steps, result.distances, **style)
    for number, (name, distances) in enumerate(peers.items()):
        style = {"color": "black", "ls": _STYLES[1 + number % 3], "lw": 1}
        right.axhline(float(np.median(distances)), label=name, **style)
    left.set(xlabel="steps", ylabel="loss")
    right.set(xlabel="steps", ylabel=first.application["measure"], yscale="log")
    left.legend(fontsize=7)
    if peers:
        right.legend(fontsize=7)
    for part, (name, images) in zip(below, rows.items(), strict=True):
        for axis, image in zip(part.subplots(1, len(images)), images, strict=True):
            axis.imshow(image, cmap="gray")
            axis.set(xticks=[], yticks=[])
        part.suptitle(name, fontsize=9)
    figure.suptitle(first.application["title"], fontsize=10)
    pictures.save(figure, path, dpi=90)
    plt.close(figure)
