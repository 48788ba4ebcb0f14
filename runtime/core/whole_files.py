"""Files that appear whole or not at all, leave nothing behind, and are read back with care.

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
import shutil
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

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


class DamagedFileError(ValueError):
    """A file that was read back is not what was written; the text names it."""


def put_aside(path: Path, why: object) -> None:
    """Rename a damaged file that something began from, with a warning that says so."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    warnings.warn(f"{why}; it is now {aside.name}, and the run begins anew", stacklevel=4)


@contextlib.contextmanager
def stored(path: Path, what: str) -> Iterator[Mapping[str, Any]]:
    """The arrays of an ``.npz`` file, read within the block.

    Raises:
        OSError: there is no such file.
        DamagedFileError: it is no such file, or not all of one.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            if not isinstance(arrays, Mapping):
                raise ValueError("a single array")
            yield arrays
    except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        said = str(error.args[0]) if error.args else ""  # a KeyError quotes itself
        reason = said.splitlines()[0] if said else type(error).__name__
        raise DamagedFileError(f"{path} is not {what} as it was saved: {reason}") from error


def beginning(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The arrays whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}


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
    descriptor = os.open(path.parent, os.O_TMPFILE | os.O_RDWR, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(descriptor)
        temporary = _temporary(path)
        try:
            # the folder is named for linkat to be called, which follows the link; link does not
            os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=descriptor)
        except OSError:  # of file systems that give files no names afterwards
            with _named(path) as copy, open(f"/proc/self/fd/{descriptor}", "rb") as source:
                shutil.copyfileobj(source, copy)
        else:
            _put(temporary, path)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[BinaryIO]:
    temporary = _temporary(path)
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except OSError as error:  # of the file that was asked for, whose name is known
        raise OSError(error.errno, error.strerror, str(path)) from None
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
