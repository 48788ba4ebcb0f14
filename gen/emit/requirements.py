"""What a generated file uses and does not define: collected where its text is written."""

from __future__ import annotations

from collections.abc import Iterable

from hamilforge.gen.digests import COMPILED_IN, KERNEL_MODULES, KERNEL_PARTS, runtime_digest


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
        """The modules that a file of kernels stands on: room, name, digest.

        Of the runtime: the one that says how parts are compiled, and those that kernels call.
        """
        called = {name for name in KERNEL_MODULES if name in self}
        return tuple(
            (COMPILED_IN[name], name, runtime_digest(name))
            for name in sorted({KERNEL_PARTS, *called})
        )
