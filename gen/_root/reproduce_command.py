"""The command ``reproduce``: experiments of papers with their settings, each resumable.

An experiment is a module with ``arguments`` and ``run``, and a line of :data:`EXPERIMENTS`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hamilforge import (
    deep_relaxation_command,
    rk_networks_command,
    stiefel_learning_command,
    universal_interpolation_command,
)

#: What can be reproduced, and what is said of it.
EXPERIMENTS = {
    "rk-networks": (rk_networks_command, "Runge-Kutta networks on points (arXiv:1904.05657)."),
    "deep-relaxation": (
        deep_relaxation_command,
        "Methods of local entropy and SGD on images (arXiv:1704.04932).",
    ),
    "stiefel-learning": (
        stiefel_learning_command,
        "Five applications of learning on manifolds, beside what is known of them.",
    ),
    "universal-interpolation": (
        universal_interpolation_command,
        "Points and images by few trained controls of drawn fields (arXiv:1908.07838).",
    ),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes: the name of an experiment, and what that takes."""
    names = parser.add_subparsers(title="experiments", dest="name", required=True)
    for name, (experiment, text) in EXPERIMENTS.items():
        added = names.add_parser(name, help=text, description=text)
        added.add_argument("--out", type=Path, help="a folder for files and pictures")
        experiment.arguments(added)


def run(options: argparse.Namespace) -> int:
    """Run an experiment; return the exit status."""
    experiment, _ = EXPERIMENTS[options.name]
    return experiment.run(options, options.out or Path(options.name))
