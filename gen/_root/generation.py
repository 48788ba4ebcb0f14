"""The commands ``generate`` and ``generate --check``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Unpack

from hamilforge import processes
from hamilforge.gen import pipeline, products
from hamilforge.gen.declare.errors import DeclarationError
from hamilforge.gen.declare.variation import Variation
from hamilforge.gen.digests import versions
from hamilforge.gen.emit import files, folder
from hamilforge.runtime.core import cache
from hamilforge.terminal import say, warn


def catalogue_folder() -> Path:
    """The folder of the generated files that ship."""
    return Path(str(resources("hamilforge.generated")))


def write(
    names: Sequence[str | Path],
    out: str | Path | None,
    method: str | Path | None = None,
    **choices: Unpack[Variation],
) -> list[Path]:
    """Generate some products into a folder or the cache: all of them, or nothing is written.

    Args:
        names: names in the catalogue, or paths.
        out: a folder; the cache if None.
        method: what integrates the problems, or what the layers of the fields are made with; None
            for optimizers and objectives.
        choices: what a field or a lattice has instead of its declaration.

    Returns:
        The paths of the files.

    Raises:
        DeclarationError: a declaration has problems.
        ClaimError: one claims what is not so.
        FileExistsError: files in the folder are in the way.
    """
    all_made = [products.load_made(name, method, **choices) for name in names]
    texts = [pipeline.generate(made) for made in all_made]
    if out is None:
        folders = [
            cache.store(f"p_{products.key(*made)}", text)
            for made, text in zip(all_made, texts, strict=True)
        ]
    else:
        folders = [Path(out)] * len(texts)
        folder.update(Path(out), _together(texts))
    return [
        place / name
        for place, product in zip(folders, texts, strict=True)
        for name in sorted(product)
    ]


def _together(texts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The files of all products; two products of one name cannot be in one folder."""
    together: dict[str, str] = {}
    for product in texts:
        for name, text in product.items():
            if together.setdefault(name, text) != text:
                raise DeclarationError.single(name, "two different declarations make this file")
    return together


def write_named(
    names: Sequence[str],
    out: Path | None,
    method: str | None = None,
    **choices: Unpack[Variation],
) -> int:
    """Generate some optimizers, or problems with a method, into a folder or the cache.

    Args:
        names: names in the catalogue, or paths.
        out: a folder; the cache if None.
        method: what integrates the problems, or what the layers of the fields are made with; None
            for optimizers and objectives.
        choices: what a field or a lattice has instead of its declaration.

    Returns:
        The exit status, 0; the paths are printed.

    Raises:
        DeclarationError: a declaration has problems.
        ClaimError: one claims what is not so.
        FileExistsError: files in the folder are in the way.
    """
    for path in write(names, out, method, **choices):
        say(path)
    return 0


def write_catalogue(out: Path) -> int:
    """Generate the catalogue; files of products that no longer exist are removed."""
    texts = pipeline.generate_catalogue(processes.usable())
    done = folder.update(out, texts)
    say(f"{len(texts)} files in {out}: {len(done.written)} written, {len(done.removed)} removed")
    return 0


def check_catalogue(out: Path) -> int:
    """Compare a folder with what would be generated; 1 if it is stale."""
    texts = pipeline.generate_catalogue(processes.usable())
    return _verdict(out, texts, "hamilforge generate")


def check_named(
    names: Sequence[str],
    out: Path | None,
    method: str | None = None,
    **choices: Unpack[Variation],
) -> int:
    """Compare the files of some optimizers, or of problems with a method.

    Args:
        names: names in the catalogue, or paths.
        out: the folder of the files; that of the generated catalogue if None.
        method: what integrates the problems, or what the layers of the fields are made with; None
            for optimizers and objectives.
        choices: what a field or a lattice has instead of its declaration.

    Returns:
        The exit status: 0 if all files are as generated, 1 if one is missing or differs.

    Raises:
        DeclarationError: a declaration has problems.
        ClaimError: one claims what is not so.
    """
    where = out or catalogue_folder()
    texts: dict[str, str] = {}
    for name in names:
        texts |= pipeline.generate(products.load_made(name, method, **choices))
    comparison = files.compare(where, texts)
    if not (comparison.missing or comparison.changed):
        say(f"{len(texts)} files in {where} are as generated")
        return 0
    say(comparison.diff)
    if comparison.missing:
        warn(f"missing: {', '.join(comparison.missing)}")
    again = ["hamilforge generate"]
    if out is not None:
        again += [*names, *(["--method", str(method)] if method else []), "--out", str(out)]
    warn(f"run: {' '.join(again)}")
    return 1


def _verdict(where: Path, texts: dict[str, str], command: str) -> int:
    comparison = files.compare(where, texts)
    if not comparison:
        say(f"{len(texts)} files in {where} are as generated")
        return 0
    recorded = folder.recorded_versions(where)
    if recorded and recorded != versions():
        warn(
            f"generated with {recorded}, compared with {versions()}: "
            "the text may differ where the programs agree"
        )
        from hamilforge.verification import verify

        wrong = [
            name
            for name in sorted(
                {file.rsplit("_", 1)[0] for file in comparison.changed if file != files.INDEX}
            )
            if not verify(*name.split("__")).holds
        ]
        if not wrong and not comparison.missing and not comparison.stale:
            say("all programs agree numerically")
            return 0
        warn(f"programs that disagree: {', '.join(wrong)}")
    for title, names in (
        ("missing", comparison.missing),
        ("stale", comparison.stale),
        ("changed", comparison.changed),
    ):
        for name in names:
            say(f"{title}: {name}")
    say(comparison.diff)
    warn(f"{where} is not what would be generated; run: {command}")
    return 1
