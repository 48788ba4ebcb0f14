"""Pictures as files: each appears whole, and replaces one of its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hamilforge.runtime.core.whole_files import whole


def save(figure: Any, path: Path, **options: Any) -> None:
    """Write a figure of matplotlib in the format of the path's suffix.

    Raises:
        OSError: the file cannot be written.
    """
    with whole(path) as file:
        figure.savefig(file, format=path.suffix.removeprefix("."), **options)
