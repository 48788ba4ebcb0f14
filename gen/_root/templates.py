"""The command ``new``: commented declarations to start from."""

from __future__ import annotations

from pathlib import Path

#: One file for each, in which ``{name}`` stands for the name of what is declared.
_FOLDER = Path(__file__).parent / "new"


def kinds() -> tuple[str, ...]:
    """What there is to start from: kinds, and forms of them such as ``lattice``."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def write(kind: str, name: str) -> Path:
    """Write ``<name>.toml`` into the current folder.

    Raises:
        DeclarationError: an unknown kind, a bad name, or the file exists.
    """
    from hamilforge.gen.declare.errors import DeclarationError, did_you_mean
    from hamilforge.gen.declare.reader import NAME, OF_NAMES

    if kind not in kinds():
        raise DeclarationError.single(
            "",
            f"unknown kind '{kind}'; expected one of {', '.join(kinds())}"
            + did_you_mean(kind, kinds()),
        )
    if not NAME.fullmatch(name):
        raise DeclarationError.single("", f"'{name}' is no name: {OF_NAMES}")
    text = (_FOLDER / f"{kind}.toml").read_text(encoding="utf-8")
    path = Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("{name}", name))
    except FileExistsError:
        raise DeclarationError.single("", f"'{path}' exists and is left as it is") from None
    return path
