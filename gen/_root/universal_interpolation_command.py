"""The command ``reproduce universal-interpolation``: points and images by few trained numbers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hamilforge import terminal
from hamilforge.typed import whole_number


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "--part",
        action="append",
        default=[],
        help="one of its parts; a wrong name lists them",
    )
    parser.add_argument("--seeds", type=whole_number, help="how many, instead of the line-up's")
    parser.add_argument("--quick", action="store_true", help="few seeds, depths and epochs")
    parser.add_argument("--data", type=Path, help="a folder with the files of MNIST")
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        help="one of the data sets of its part images; a wrong name lists them",
    )


def run(options: argparse.Namespace, folder: Path) -> int:
    """Run the experiment.

    Args:
        options: what was typed.
        folder: for pictures.

    Returns:
        The exit status.
    """
    from hamilforge.runtime.reproduce import universal_interpolation

    settings = universal_interpolation.line_up()
    if options.quick:
        settings = universal_interpolation.quick(settings)
    for name in options.part:
        if name not in settings:
            message = f"no part '{name}'; there are: {', '.join(settings)}"
            return terminal.complain(ValueError(message))
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in settings.items():
        if options.part and name not in options.part:
            continue
        if options.seeds and "seeds" in part:
            part["seeds"] = options.seeds
        terminal.say(part["title"])
        try:
            _PARTS[name](part, folder, options)
        except (ValueError, ImportError, ArithmeticError) as error:
            return terminal.complain(error)
    return 0


def _starts(part: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    import numpy as np
    from rich.table import Table

    from hamilforge.runtime.reproduce import universal_interpolation as module

    columns = (
        "method",
        "targets",
        "lambda",
        "to 1e-12",
        "no fold",
        "steps",
        "h/2",
        "trained again",
    )
    table, console = Table(*columns, box=None), terminal.console()
    with terminal.bars(console) as bar:
        for method in part["methods"]:
            for scale, drawn in (
                *((s, False) for s in part["scales"]),
                (max(part["scales"]), True),
            ):
                targets = "drawn" if drawn else "permuted"
                advance = bar(f"{method}, {targets}, {scale:g}", part["seeds"])
                own = module.starts(part, method, scale, advance, drawn)
                exact = [start.residual <= module.ROUNDING for start in own]
                finer = [start.finer for start in own]
                again = [start.again for start in own if not np.isnan(start.again)]
                table.add_row(
                    method,
                    targets,
                    f"{scale:g}",
                    f"{sum(exact)} of {len(own)}",
                    f"{sum(start.is_flow for start in own)} of {len(own)}",
                    f"{np.median([start.steps for start in own]):g}",
                    f"{np.median(finer):.1e}, at most {max(finer):.1e}",
                    f"at most {max(again):.1e}" if again else "",
                )
                trained = own[0].trained
    terminal.say(
        f"{part['points']} points, {part['layers']} layers, {trained} trained numbers; lambda "
        "begins at so many times max|y|/max|x|"
    )
    console.print(table)


def _ranks(part: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    import resource
    import time

    from rich.table import Table

    from hamilforge import facade
    from hamilforge.runtime.reproduce.universal_interpolation import Rank

    columns = ("field", "m", "N", "N m", "rank", "seconds")
    table, console = Table(*columns, box=None), terminal.console()
    found: dict[str, list[Rank]] = {}
    with terminal.bars(console) as bar:
        for field in part["fields"]:
            for width, counts in part["points"].items():
                ranks = found[f"{field}, m = {width}"] = []
                sizes = {"d": int(width)}
                facade.controllability(field, 2, sizes)  # compiles
                advance = bar(f"{field}, m = {width}", len(counts))
                for done, count in enumerate(counts, 1):
                    begun = time.perf_counter()
                    report = facade.controllability(field, count, sizes)
                    seconds = time.perf_counter() - begun
                    needed, rank = report["needed"], report["lie_rank"]
                    assert isinstance(needed, int)
                    assert isinstance(rank, int)
                    ranks.append(Rank(count, needed, rank, seconds))
                    row = (width, count, needed, rank, f"{seconds:.2g}")
                    table.add_row(field, *map(str, row))
                    advance(done)
    console.print(table)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    terminal.say(f"the process took {most:.2g} GiB at most")
    _draw(folder / "ranks.png", lambda own, path: own.draw_ranks(found, path))


def _depth(part: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    import numpy as np
    from rich.table import Table

    from hamilforge.runtime.reproduce import universal_interpolation as module

    columns = ("layers", "trained", "N m / (M d)", "to 1e-10", "no fold", "h/2")
    table, console = Table(*columns, box=None), terminal.console()
    found = {}
    with terminal.bars(console) as bar:
        for layers in part["layers"]:
            own = module.depths(part, layers, bar(f"{layers} layers", part["seeds"]))
            found[layers] = own
            finer = [start.finer for start in own if start.is_flow]
            table.add_row(
                str(layers),
                str(own[0].trained),
                f"{2 * part['points'] / own[0].trained:.3g}",
                f"{sum(start.residual <= module.EXACT for start in own)} of {len(own)}",
                f"{sum(start.is_flow for start in own)} of {len(own)}",
                f"{np.median(finer):.1e}" if finer else "",
            )
    console.print(table)
    _draw(folder / "depth.png", lambda own, path: own.draw_depths(part, found, path))


def _flow(part: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    from hamilforge.runtime.reproduce import universal_interpolation as module

    flow = module.flow(part)
    terminal.say(
        f"{part['points']} points, {part['layers']} layers, {flow.start.trained} trained numbers: "
        f"residual {flow.start.residual:.1e}, with half the step {flow.start.finer:.1e}, smallest "
        f"det(I + hD) {flow.start.determinant:.3g}, inverse to {flow.back:.1e}"
    )
    _draw(folder / "flow.png", lambda own, path: own.draw_flow(flow, path))
    if terminal.draws():
        from hamilforge.runtime.reproduce import universal_interpolation_pictures as pictures

        pictures.draw_frames(flow, part["frames"], folder)


def _images(part: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    from hamilforge.runtime.reproduce import interpolated_images as module

    names = options.images or part["sets"]
    sets = [module.data(part, name, options.data) for name in dict.fromkeys(names)]
    found = {images.name: _image_rows(part, images) for images in sets}
    _draw(folder / "images.png", lambda own, path: own.draw_images(found, path))


def _image_rows(part: dict[str, Any], images: Any) -> list[Any]:
    """The table of one data set, printed."""
    import numpy as np
    from rich.table import Table

    from hamilforge.runtime.reproduce import interpolated_images as module

    columns = ("layers", "model", "trained", "right", "least", "most")
    table, console = Table(*columns, box=None), terminal.console()
    rows = []
    with terminal.bars(console) as bar:
        tunings = module.tuned(part, images, bar("rates", module.tries(part)))
        for layers in part["layers"]:
            advance = bar(f"{layers} layers", part["seeds"])
            rows.append(module.compared(part, images, layers, tunings, advance))
            for name, (count, shares) in rows[-1].models.items():
                percent = 100 * np.array([np.median(shares), min(shares), max(shares)])
                table.add_row(str(layers), name, str(count), *(f"{one:.1f} %" for one in percent))
    terminal.say(
        f"{images.name}: {len(images.x)} to train on, {len(images.others)} others, "
        f"{part['seeds']} seeds"
    )
    for name, tuning in tunings.items():
        terminal.say(
            f"{name}: rate {tuning.rate:g}, lambda from {tuning.number:g}, which did best on "
            "held-out images to train on"
        )
    console.print(table)
    return rows


def _draw(path: Path, draw: Callable[[Any, Path], None]) -> None:
    """Draw a picture where pictures are drawn."""
    if not terminal.draws():
        return
    from hamilforge.runtime.reproduce import universal_interpolation_pictures

    picture = terminal.Picture(path)
    draw(universal_interpolation_pictures, picture.path)
    picture.done()


_PARTS: dict[str, Callable[[dict[str, Any], Path, argparse.Namespace], None]] = {
    "starts": _starts,
    "ranks": _ranks,
    "depth": _depth,
    "flow": _flow,
    "images": _images,
}
