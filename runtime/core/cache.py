"""The user's cache of generated products, and what takes its place where there can be none.

Content-addressed: a product's folder is named after a digest of its declaration, of all that it
refers to, of the generator and of the versions its text depends on.  A folder appears whole, by one
rename; two processes that generate the same product do the same work and one rename wins.

What stands in the cache runs as the user.  So nobody else may own or write it, and each folder has
the digests of its files: what does not match them is made anew.  Where there is no such place, a
folder of this process alone serves until it ends, and one line on standard error says why.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

#: The file with the digests of the others, a line each.
DIGESTS = "DIGESTS"
_INIT = {"__init__.py": '"""A generated product."""\n'}


class NoCacheError(OSError):
    """There is no place where products could be kept safely; the text says why."""


def cache_root() -> Path:
    """``$HAMILFORGE_CACHE``, or ``hamilforge`` in the user's cache folder.

    Raises:
        NoCacheError: no such place is known.
    """
    named = os.environ.get("HAMILFORGE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        if named:
            return Path(named).expanduser().absolute()
        if base and not Path(base).is_absolute():
            raise NoCacheError(f"XDG_CACHE_HOME = {base!r} is no absolute path")
        return (Path(base) if base else Path.home() / ".cache") / "hamilforge" / "products"
    except RuntimeError as error:  # of pathlib
        raise NoCacheError("the home folder is not known") from error


def root() -> Path:
    """The folder of products: the cache if it is safe to use, else one of this process alone."""
    try:
        place = cache_root()
        _make(place)
        _refuse_others(place)
    except OSError as error:
        return _private(error)
    return place


def roots() -> list[Path]:
    """The folders in which products may be: the cache, and that of this process if it has one."""
    own = [_Private.folder] if _Private.folder and _Private.owner == os.getpid() else []
    return [*dict.fromkeys([root(), *own])]


def find(key: str) -> Path | None:
    """The folder of a product, if it is there as it was stored."""
    return next((place / key for place in roots() if _is_whole(place / key)), None)


def store(key: str, files: Mapping[str, str]) -> Path:
    """Put the files of a product into the cache, all at once; return its folder.

    Raises:
        OSError: not even a folder of this process alone can be written.
    """
    there = find(key)
    if there is not None:
        return there
    place = root()
    try:
        return _store(place, key, files)
    except OSError as error:
        return _store(_private(error), key, files)


def _store(place: Path, key: str, files: Mapping[str, str]) -> Path:
    folder = place / key
    staging = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=place))  # for this user alone
    try:
        texts = {**_INIT, **files}
        lines = [f"{_digest(text.encode())} {name}\n" for name, text in texts.items()]
        for name, text in {**texts, DIGESTS: "".join(lines)}.items():
            (staging / name).write_text(text, encoding="utf-8", newline="")
        if os.path.lexists(folder) and not _is_whole(folder):
            _remove(folder)
        try:
            staging.rename(folder)
        except OSError:
            if not _is_whole(folder):
                raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a product's folder is the user's, and holds what was stored."""
    try:
        _refuse_others(folder)
        if folder.is_symlink():
            return False
        lines = (folder / DIGESTS).read_text(encoding="utf-8").splitlines()
        entries = [line.partition(" ") for line in lines]
        digests = {name: digest for digest, _, name in entries}
        return "__init__.py" in digests and all(
            digest == _digest((folder / name).read_bytes()) for name, digest in digests.items()
        )
    except (OSError, ValueError):
        return False


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _remove(path: Path) -> None:
    """Take something out of the way by one rename, so that nobody sees half of it."""
    aside = Path(tempfile.mkdtemp(prefix=".old.", dir=path.parent))
    try:
        path.rename(aside / path.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _make(place: Path) -> None:
    """Make a folder for this user alone, whatever the umask is."""
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    if not os.access(place, os.W_OK | os.X_OK):
        raise NoCacheError(f"{place} cannot be written")


def _refuse_others(place: Path) -> None:
    """Raise if somebody else owns a folder or may write to it."""
    if not hasattr(os, "geteuid"):
        return  # elsewhere than on POSIX the folders of a profile are the user's
    status = place.stat()
    if status.st_uid not in (0, os.geteuid()):
        raise NoCacheError(f"{place} belongs to another user")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise NoCacheError(f"others may write to {place}; chmod go-w makes it safe")


class _Private:
    """The folder of this process alone, once it is needed."""

    folder: Path | None = None
    owner = 0


def _private(reason: OSError) -> Path:
    """A folder that is removed when this process ends; why there is no other is said once."""
    if _Private.folder is None or _Private.owner != os.getpid() or not _Private.folder.is_dir():
        _Private.folder = Path(tempfile.mkdtemp(prefix="hamilforge-"))
        _Private.owner = os.getpid()
        atexit.register(_end, _Private.folder, os.getpid())
        text = str(reason) if isinstance(reason, NoCacheError) else reason.strerror or str(reason)
        place = f" ({reason.filename})" if reason.filename else ""
        line = f"hamilforge: works without a cache, so code is made anew each time: {text}{place}"
        print(line.encode("unicode_escape").decode("ascii"), file=sys.stderr)
    return _Private.folder


def _end(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # a fork does not own it
        shutil.rmtree(folder, ignore_errors=True)


def give_numba_a_place() -> None:
    """Let numba keep compiled kernels for this process where it has no place of its own.

    It writes beside the sources, or to the user's cache; without either, kernels that ask for a
    cache cannot even be defined.
    """
    package = Path(__file__).parent
    beside = package / "__pycache__" if (package / "__pycache__").is_dir() else package
    named = os.environ.get("NUMBA_CACHE_DIR")
    try:
        home = Path.home()
    except RuntimeError:
        home = None
    candidates = [Path(named)] if named else []
    candidates += [beside, *([home / ".cache"] if home else [])]
    if any(_can_be_made(place) for place in candidates):
        return
    folder = str(_private(NoCacheError("neither the package nor the home can be written")))
    os.environ["NUMBA_CACHE_DIR"] = folder
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = folder


def _can_be_made(place: Path) -> bool:
    """Whether a folder can be written, or made where its nearest parent is."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
