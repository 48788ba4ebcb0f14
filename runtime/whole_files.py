"""Files that appear whole or not at all, and leave nothing behind.

In: a path and a writer.  Out: the file, replaced at once.  Where the system has files without names
(``O_TMPFILE``), what is not finished vanishes with its process, however that ends.  Elsewhere a
temporary file carries the number of its process, and the next write of the same file removes those
of processes that no longer are.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

#: For how long a temporary file of a dead process is left alone: it may be of another machine.
ABANDONED = 60.0


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write; it takes the place of ``path`` when the block ends without an exception.

    Raises:
        OSError: it cannot be written; what was at ``path`` is still there.
    """
    _remove_abandoned(path)
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder", str(path))
    with _nameless(path) if _has_nameless(path.parent) else _named(path) as file:
        yield file


def _has_nameless(folder: Path) -> bool:
    """Whether files without names can be made in a folder, and be given a name later."""
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return False
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    except OSError:
        return False  # the other way says why, if it is not for the kind of file system
    return True


@contextlib.contextmanager
def _nameless(path: Path) -> Iterator[BinaryIO]:
    descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(descriptor)
        temporary = _temporary(path)
        os.link(f"/proc/self/fd/{descriptor}", temporary, follow_symlinks=True)
        _put(temporary, path)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[BinaryIO]:
    temporary = _temporary(path)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _put(temporary, path)


def _put(temporary: Path, path: Path) -> None:
    try:
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed have left of this file."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.([0-9]+)\.[0-9a-f]+\.part")
    with contextlib.suppress(OSError):
        for entry in os.scandir(path.parent):
            match = pattern.fullmatch(entry.name)
            if match and not _runs(int(match[1])) and _age(entry) > ABANDONED:
                os.unlink(entry.path)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True


def _age(entry: os.DirEntry[str]) -> float:
    return time.time() - entry.stat(follow_symlinks=False).st_mtime
