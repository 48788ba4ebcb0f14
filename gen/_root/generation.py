"""The commands ``generate`` and ``generate --check``."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from importlib.resources import files as resources
from pathlib import Path
from typing import Unpack

from hamilforge.facade import generate
from hamilforge.gen import pipeline
from hamilforge.gen.declare.variation import Variation
from hamilforge.gen.emit import files


def catalogue_folder() -> Path:
    """The folder of the generated files that ship."""
    return Path(str(resources("hamilforge.generated")))


def write_named(
    names: Sequence[str],
    out: Path | None,
    method: str | None = None,
    **choices: Unpack[Variation],
) -> int:
    """Generate some optimizers, or problems with a method, into a folder or the cache."""
    for name in names:
        for path in generate(name, out, method, **choices):
            print(path)
    return 0


def write_catalogue(folder: Path) -> int:
    """Generate the catalogue; files of products that no longer exist are removed."""
    texts = pipeline.generate_catalogue()
    changed = [name for name, text in texts.items() if files.write(folder / name, text)]
    stale = files.compare(folder, texts).stale
    for name in stale:
        (folder / name).unlink()
    print(f"{len(texts)} files in {folder}: {len(changed)} written, {len(stale)} removed")
    return 0


def check_catalogue(folder: Path) -> int:
    """Compare the folder with what would be generated; 1 if it is stale."""
    texts = pipeline.generate_catalogue()
    return _verdict(folder, texts, "hamilforge generate")


def check_named(
    names: Sequence[str],
    out: Path | None,
    method: str | None = None,
    **choices: Unpack[Variation],
) -> int:
    """Compare the files of some optimizers, or of problems with a method."""
    folder = out or catalogue_folder()
    texts: dict[str, str] = {}
    for name in names:
        texts |= pipeline.generate(pipeline.load_made(name, method, **choices))
    found = files.compare(folder, texts)
    if not (found.missing or found.changed):
        print(f"{len(texts)} files in {folder} are as generated")
        return 0
    print(found.diff)
    print(
        f"missing: {', '.join(found.missing) or 'none'}; run: hamilforge generate", file=sys.stderr
    )
    return 1


def _verdict(folder: Path, texts: dict[str, str], command: str) -> int:
    found = files.compare(folder, texts)
    if not found:
        print(f"{len(texts)} files in {folder} are as generated")
        return 0
    recorded = _recorded_versions(folder)
    if recorded and recorded != files.versions():
        print(
            f"generated with {recorded}, compared with {files.versions()}: "
            "the text may differ where the programs agree",
            file=sys.stderr,
        )
        from hamilforge.verification import verify

        wrong = [
            name
            for name in sorted(
                {file.rsplit("_", 1)[0] for file in found.changed if file != files.INDEX}
            )
            if not verify(*name.split("__")).holds
        ]
        if not wrong and not found.missing and not found.stale:
            print("all programs agree numerically")
            return 0
        print(f"programs that disagree: {', '.join(wrong)}", file=sys.stderr)
    for title, names in (
        ("missing", found.missing),
        ("stale", found.stale),
        ("changed", found.changed),
    ):
        for name in names:
            print(f"{title}: {name}")
    print(found.diff)
    print(f"{folder} is not what would be generated; run: {command}", file=sys.stderr)
    return 1


def _recorded_versions(folder: Path) -> dict[str, str]:
    path = folder / files.INDEX
    try:
        versions = tomllib.loads(path.read_text(encoding="utf-8")).get("versions", {})
    except (OSError, tomllib.TOMLDecodeError):
        return {}
    return {str(name): str(version) for name, version in versions.items()}
