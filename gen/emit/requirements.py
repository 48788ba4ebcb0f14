"""What a generated file uses and does not define: collected where its text is written."""

from __future__ import annotations

from collections.abc import Iterable

from hamilforge.gen.digests import KERNEL_MODULES, runtime_digest


class Requirements:
    """Names that texts use: functions, modules with what is taken of them, constants."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def __call__(self, name: str) -> str:
        """Note that a name is used, and give it back to be written."""
        self._names.add(name)
        return name

    def __contains__(self, name: str) -> bool:
        """Whether a name is used, or something of the module of that name."""
        return name in self._names or any(used.startswith(f"{name}.") for used in self._names)

    def of(self, names: Iterable[str]) -> list[str]:
        """Those names that are used, sorted."""
        return sorted(name for name in names if name in self)

    def modules(self) -> tuple[tuple[str, str, str], ...]:
        """The modules of the runtime that kernels call: room, name, digest."""
        return tuple(
            (room, name, runtime_digest(name))
            for name, room in KERNEL_MODULES.items()
            if name in self
        )
