"""The command line: one function per command, everything heavy imported when it is needed.

Exit status: 0 fine, 1 a claim or a check failed, 2 a bad declaration or call, 3 a fault of
hamilforge.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hamilforge import reproduce_command, templates
from hamilforge.gen.declare.visible import visible_lines
from hamilforge.terminal import complain, degrade, of_sizes, say
from hamilforge.typed import number, positive, sized, whole_number

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from hamilforge.gen.declare.variation import Place, Variation

FORMATS = ("text", "latex", "markdown")
#: What is chosen of where points lie, and what names it.
_PLACE = {"manifold": "NAME|PATH", "metric": "NAME", "retraction": "NAME"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return the exit status."""
    degrade()
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 2
    from hamilforge.gen.declare.errors import (
        ClaimError,
        DeclarationError,
        InternalError,
        NotDerivableError,
    )

    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except ClaimError as error:
        return complain(error, 1)
    except (DeclarationError, ImportError, NotDerivableError) as error:
        return complain(error)
    except InternalError as error:
        return complain(error, 3)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return complain(place + (error.strerror or str(error)))
    except KeyboardInterrupt:
        return complain("interrupted")
    except Exception as error:
        return complain(InternalError.of(error, f"the command {argv_text(argv)}"), 3)


def argv_text(argv: Sequence[str] | None) -> str:
    """A command as it was typed."""
    return shlex.join(sys.argv[1:] if argv is None else argv)


class _Once(argparse.Action):
    """An argument with one value; of two, none is dropped without a word."""

    given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Keep the value."""
        if self.given:
            raise argparse.ArgumentError(self, "is given twice")
        self.given = True
        setattr(namespace, self.dest, values)


class _Parser(argparse.ArgumentParser):
    """A parser for one command line, whose complaints show every character of what was typed."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.register("action", None, _Once)

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        super()._print_message(visible_lines(message), file)


def _parser() -> argparse.ArgumentParser:
    from hamilforge import __version__

    parser = _Parser(
        "hamilforge",
        description="Declare a Hamiltonian or a method; get it derived, proved, and compiled.",
    )
    parser.add_argument("--version", action="version", version=f"hamilforge {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(run=run)
        return added

    new = command("new", _new, "Write a commented declaration to start from.")
    new.add_argument("kind", help=f"one of {', '.join(templates.kinds())}")
    new.add_argument("name", help="of the declaration; the file is called so")

    listing = command("list", _list, "List the catalogue.")
    listing.add_argument("--kind")
    listing.add_argument(
        "--where", help="a condition on proved properties, such as 'order >= 2 and passes == 1'"
    )

    listing.add_argument(
        "--markdown", action="store_true", help="the proved properties, as a table"
    )

    checking = command("check", _check, "Prove what can be proved, and compare the claims.")
    checking.add_argument("names", nargs="+", metavar="NAME|PATH")
    checking.add_argument("--json", action="store_true")
    checking.add_argument(
        "--points", metavar="FILE.csv|N", help="of fields: can they move these points independently"
    )
    checking.add_argument(
        "--degree", type=whole_number, help="with --points: above which a bracket is dropped whole"
    )
    checking.add_argument("--prime", type=whole_number, help="with --points: below 2**31")
    checking.add_argument("--seed", type=int, help="with --points: of what is drawn")
    _place(checking)
    _sizes(checking)

    show = command("show", _show, "Show the derivation, from the Hamiltonian to the update.")
    show.add_argument("name", metavar="NAME|PATH")
    show.add_argument(
        "--on", metavar="SYSTEM", help="the modified equation of a Runge-Kutta method on a system"
    )
    show.add_argument("--method", metavar="METHOD", help="for a problem: the step that solves it")
    _choices(show)
    _sizes(show)
    show.add_argument("--format", choices=FORMATS, default="text")

    generating = command("generate", _generate, "Generate code; the whole catalogue by default.")
    generating.add_argument("names", nargs="*", metavar="NAME|PATH")
    generating.add_argument("--method", metavar="METHOD", help="for a problem: what integrates it")
    _choices(generating)
    _sizes(generating)
    generating.add_argument("--out", type=Path, help="a folder")
    generating.add_argument(
        "--check", action="store_true", help="compare with the folder instead of writing"
    )

    verifying = command("verify", _verify, "Compare every backend with the interpretation.")
    verifying.add_argument("names", nargs="+", metavar="NAME|PATH")
    verifying.add_argument("--method", metavar="METHOD", help="for problems: what integrates them")
    verifying.add_argument(
        "--device", default="cpu", help="where torch's forms run: cpu, cuda, cuda:1 ..."
    )
    _choices(verifying)
    _sizes(verifying)

    plotting = command(
        "plot",
        _plot,
        "Draw a motion, a tableau's stability, an integration, or optimizers on a problem.",
    )
    plotting.add_argument(
        "names", nargs="+", metavar="NAME|PATH",
        help="local-entropy draws a landscape that is smoothed, and densities on it",
    )  # fmt: skip
    plotting.add_argument(
        "--on", metavar="PROBLEM", help="what optimizers minimise; several are compared"
    )
    plotting.add_argument("--gradients", type=whole_number, help="with --on: how many; 500 else")
    plotting.add_argument(
        "--lr", type=number, help="with --on: of all; else the best of 1, 2 and 5 in each decade"
    )
    plotting.add_argument(
        "--method",
        action="append",
        metavar="METHOD",
        help="for a problem: what integrates it; several are compared",
    )
    plotting.add_argument("--h", type=number, help="for a problem: the step")
    plotting.add_argument("--time", type=number, help="for a problem: how long")
    plotting.add_argument(
        "--section",
        metavar="COMPONENT",
        help="for a problem: the Poincare section where it grows through zero",
    )
    _sizes(plotting)
    plotting.add_argument("--out", type=Path, help="a PNG, SVG or PDF file")

    bench = command("bench", _bench, "Measure speed beside peers, in one process.")
    bench.add_argument(
        "what", choices=("optimizers", "integrators", "networks", "manifolds", "analysis")
    )
    bench.add_argument("--json", action="store_true")
    bench.add_argument("--case", help="only cases whose text contains this")
    bench.add_argument(
        "--rounds", type=positive, help="interleaved rounds, 20 or more for what counts"
    )

    reproduce_command.arguments(
        command("reproduce", reproduce_command.run, "Run a paper's experiment with its settings.")
    )

    demo = command("demo", _demo, "From a declaration to a trained model, in a minute.")
    demo.add_argument("--out", type=Path, help="the folder for the picture")
    return parser


def _choices(command: argparse.ArgumentParser) -> None:
    """What a field may have instead of its declaration."""
    command.add_argument("--activation", metavar="TEXT", help="for a field: what sigma(x) is")
    command.add_argument(
        "--by-stage", action="store_true", help="for a field: controls of its own at every stage"
    )
    command.add_argument("--order", type=whole_number, help="of Taylor's method")
    _place(command)


def _place(command: argparse.ArgumentParser) -> None:
    """What an optimizer of points may have instead of its declaration."""
    for name, named in _PLACE.items():
        command.add_argument(f"--{name}", metavar=named, help="for an optimizer of points")


def _placed(arguments: argparse.Namespace) -> Place:
    """What was named of that."""
    named = ((name, getattr(arguments, name)) for name in _PLACE)
    return cast("Place", {name: value for name, value in named if value is not None})


def _chosen(arguments: argparse.Namespace) -> Variation:
    """What was chosen instead of what is declared."""
    return {
        "activation": arguments.activation,
        "sizes": dict(arguments.size),
        "by_stage": arguments.by_stage,
        "order": arguments.order,
        **_placed(arguments),
    }


def _sizes(command: argparse.ArgumentParser) -> None:
    """How large what code is made for is."""
    command.add_argument(
        "--size",
        action="append",
        default=[],
        type=sized,
        metavar="NAME=NUMBER",
        help="for a lattice: the number of its sites; for a problem to minimise: a dimension; for "
        "a field: a dimension that the code is made for, where small ones make it quicker",
    )


def _new(arguments: argparse.Namespace) -> int:
    path = templates.write(arguments.kind, arguments.name)
    say(f"{path}\nnext: hamilforge check {path}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    from hamilforge import listing, processes

    count = processes.usable()
    if arguments.markdown:
        say(listing.markdown(arguments.kind or "optimizer", count))
        return 0
    say(listing.table(arguments.kind, arguments.where, count))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from hamilforge.facade import check

    if arguments.points is not None:
        if _placed(arguments):
            return complain("--manifold, --metric and --retraction are of optimizers of points")
        return of_sizes(lambda: _controllability(arguments))
    if arguments.size or any(
        getattr(arguments, name) is not None for name in ("degree", "prime", "seed")
    ):
        return complain("--degree, --prime, --seed and --size go with --points")
    reports = [check(name, **_placed(arguments)) for name in arguments.names]
    if arguments.json:
        say(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        say("\n\n".join(map(str, reports)))
    return 0 if all(report.holds for report in reports) else 1


def _controllability(arguments: argparse.Namespace) -> int:
    from hamilforge.facade import controllability

    options = {"degree": arguments.degree, "prime": arguments.prime, "draw": arguments.seed}
    given = {name: value for name, value in options.items() if value is not None}
    reports = [
        controllability(name, arguments.points, dict(arguments.size), **given)
        for name in arguments.names
    ]
    if arguments.json:
        say(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        say("\n\n".join(map(str, reports)))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from hamilforge import document

    def run() -> int:
        told = document.show(
            arguments.name,
            arguments.format,
            arguments.on,
            arguments.method,
            **_chosen(arguments),
        )
        say(told.removesuffix("\n"))
        return 0

    return of_sizes(run)


def _generate(arguments: argparse.Namespace) -> int:
    from hamilforge import generation

    if arguments.names:
        run = generation.check_named if arguments.check else generation.write_named
        return of_sizes(
            lambda: run(arguments.names, arguments.out, arguments.method, **_chosen(arguments))
        )
    from hamilforge.gen.declare.variation import is_any

    if is_any(_chosen(arguments)) or arguments.method:
        return complain("options of a field or a problem take its name")
    folder = arguments.out or generation.catalogue_folder()
    if arguments.check:
        return generation.check_catalogue(folder)
    return generation.write_catalogue(folder)


def _verify(arguments: argparse.Namespace) -> int:
    from hamilforge.facade import verify

    def run() -> int:
        verifications = [
            verify(name, arguments.method, device=arguments.device, **_chosen(arguments))
            for name in arguments.names
        ]
        say("\n\n".join(map(str, verifications)))
        return 0 if all(verification.holds for verification in verifications) else 1

    return of_sizes(run)


def _plot(arguments: argparse.Namespace) -> int:
    from hamilforge import plot_command

    if arguments.on is not None:
        others = (arguments.method, arguments.h, arguments.time, arguments.section)
        if any(other is not None for other in others):
            return complain("--method, --h, --time and --section do not go with --on")
        return plot_command.run_on(
            arguments.names, arguments.on, arguments.out, arguments.gradients, arguments.lr,
            dict(arguments.size),
        )  # fmt: skip
    if len(arguments.names) > 1 or arguments.gradients is not None or arguments.lr is not None:
        return complain("several names, --gradients and --lr go with --on PROBLEM")
    return plot_command.run(
        arguments.names[0], arguments.out, arguments.method or (), arguments.h, arguments.time,
        arguments.section, dict(arguments.size),
    )  # fmt: skip


def _bench(arguments: argparse.Namespace) -> int:
    from hamilforge import bench_command

    return bench_command.run(arguments.what, arguments.json, arguments.rounds, arguments.case)


def _demo(arguments: argparse.Namespace) -> int:
    from hamilforge import demo_command

    return demo_command.run(arguments.out)
