"""What an integration returns, and what it raises.

A :class:`Solution` holds times and states; the energy and the invariants along it are computed by
the product's kernels when they are asked for.  It is saved to and read from ``.npz``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.core.loader import imported
from hamilforge.runtime.core.whole_files import beginning, stored, whole

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Solution:
    """States along a trajectory, or along each of an ensemble.

    Attributes:
        name: ``<problem>__<method>``.
        components: the names of the columns of y.
        t: `(times,)`.
        y: `(times, components)`, or `(trajectories, times, components)` for an ensemble.
        parameters: by name; an array `(trajectories,)` where they differ.
        steps: how many steps were taken (by the longest trajectory).
        rejected: how many steps of adaptive integration were taken back.
        product: the generated module, for energies; None after reading from a file.
        saved: energy and invariants that were read from a file.
        events: the names of what was looked for.
        t_events: the zeros of each event, `(zeros,)`; for an ensemble, of each trajectory.
        y_events: the states there, `(zeros, components)`, likewise.
        status: 1 where an event has ended the run, whose last state is then the one at the event,
            and 0 elsewhere; for an ensemble `(trajectories,)`, and y is NaN after the end.
    """

    name: str
    components: tuple[str, ...]
    t: Floats
    y: Floats
    parameters: Mapping[str, Any]
    steps: int
    rejected: int = 0
    product: ModuleType | None = None
    saved: Mapping[str, Floats] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    t_events: tuple[Any, ...] = ()
    y_events: tuple[Any, ...] = ()
    status: Any = 0

    def __repr__(self) -> str:
        """What was integrated and what is kept of it, without the numbers.

        ``kepler__rk4: x, y, px, py at 11 times from 0 to 1; 10 steps``, those of the whole run.
        """
        times, several = np.atleast_1d(self.t), np.ndim(self.y) == 3
        names = brief(self.components)
        what = ", ".join(names) if len(names) <= 8 else f"{len(names)} components"
        if several:
            what += " of " + _counted(len(self.y), "trajectory", "trajectories")
        if times.size > 1:
            what += f" at {times.size} times from {times[0]:.12g} to {times[-1]:.12g}"
        elif times.size:
            what += f" at the time {times[0]:.12g}"
        back = f", {self.rejected} taken back" if self.rejected else ""
        parts = [what, _counted(self.steps, "step", "steps") + back]
        for k, name in enumerate(self.events):
            zeros = sum(len(own[k]) for own in _by_run(self, self.t_events))
            parts.append(f"zeros of {name}: {zeros}")
        if ended := np.count_nonzero(self.status):
            parts.append(f"{ended} ended by an event" if several else "ended by an event")
        return f"{self.name}: {'; '.join(parts)}"

    def __getitem__(self, component: str) -> Floats:
        """One component along the solution: `(times,)` or `(trajectories, times)`.

        Of a lattice, ``"x[3]"`` is x at a site, and ``"x"`` x at all of them: `(times, sites)`.

        Raises:
            KeyError: there is no such component.
        """
        if component in self.components:
            return self.y[..., self.components.index(component)]
        sites = [k for k, name in enumerate(self.components) if name.startswith(f"{component}[")]
        if not sites:
            known = ", ".join(brief(self.components))
            raise KeyError(f"no component '{component}'; there are {known}")
        return self.y[..., sites[0] : sites[-1] + 1]

    @functools.cached_property
    def energy(self) -> Floats:
        """H along the solution: `(times,)` or `(trajectories, times)`.

        Raises:
            AttributeError: the problem declares no energy.
        """
        return self.invariant("energy")

    def invariant(self, name: str) -> Floats:
        """A declared invariant, or ``energy``, along the solution.

        Raises:
            AttributeError: it is not declared.
        """
        if name in self.saved:
            return self.saved[name]
        along = getattr(self.product, f"along_{name}", None)
        if along is None:
            there = ", ".join(sorted({*self.saved, *_along(self.product)})) or "nothing"
            raise AttributeError(f"'{self.name}' declares no {name}; along it there is {there}")
        self._refuse_what_kernels_do_not_fit()
        flat = self.y.reshape(-1, *self.y.shape[-2:])
        values = np.empty(flat.shape[:2])
        known = {name: self.parameters[name] for name in getattr(self.product, "PARAMETERS", ())}
        table = parameter_table(known, len(flat))
        for states, row, out in zip(flat, table, values, strict=True):
            along(self.t, states, row, out)
        return values.reshape(self.y.shape[:-1])

    def _refuse_what_kernels_do_not_fit(self) -> None:
        """Refuse arrays that kernels would read beyond.

        Raises:
            ValueError: shapes or parameters are not those of the problem.
        """
        product: Any = self.product
        shape = np.shape(self.y)
        wanted = (*np.shape(self.t), len(product.COMPONENTS))
        if len(shape) not in (2, 3) or len(wanted) != 2 or shape[-2:] != wanted:
            raise ValueError(
                f"y has the shape {shape} and t {np.shape(self.t)}; {wanted} was expected of y"
            )
        if self.y.dtype != np.float64 or self.t.dtype != np.float64:
            raise ValueError(f"t and y are {self.t.dtype} and {self.y.dtype}; float64 was expected")
        missing = [name for name in product.PARAMETERS if name not in self.parameters]
        if missing:
            raise ValueError(f"the parameters of '{self.name}' lack {', '.join(missing)}")

    def _all_along(self) -> dict[str, Floats]:
        """Energy and invariants, for what will have no product."""
        return {**{name: self.invariant(name) for name in _along(self.product)}, **self.saved}

    def __getstate__(self) -> dict[str, Any]:
        own = {key: value for key, value in vars(self).items() if key != "energy"}
        if self.product is not None:
            own |= {"product": self.product.__name__, "saved": self._all_along()}
        return own

    def __setstate__(self, state: dict[str, Any]) -> None:
        name = state["product"]
        if isinstance(name, str):
            try:
                state = {**state, "product": imported(name)}
            except ImportError:  # energy and invariants were saved with it
                state = {**state, "product": None}
        vars(self).update(state)

    def save(self, path: str | Path) -> Path:
        """Write everything to an ``.npz`` file, all at once.

        Raises:
            OSError: the file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".npz":
            target = target.with_name(target.name + ".npz")
        arrays: dict[str, Any] = {
            "name": self.name,
            "components": np.array(self.components),
            "t": self.t,
            "y": self.y,
            "steps": self.steps,
            "rejected": self.rejected,
        }
        arrays |= _flat_events(self)
        arrays |= {f"parameter_{name}": value for name, value in self.parameters.items()}
        arrays |= {f"along_{name}": value for name, value in self._all_along().items()}
        with whole(target) as file:
            np.savez_compressed(file, **arrays)
        return target

    @staticmethod
    def read(path: str | Path) -> Solution:
        """What :meth:`save` wrote; without a product.

        Raises:
            OSError: there is no such file.
            DamagedFileError: it is no solution, or not all of one.
        """
        with stored(Path(path), "a solution") as file:
            return Solution(
                str(file["name"]),
                tuple(map(str, file["components"])),
                file["t"],
                file["y"],
                beginning(file, "parameter_"),
                int(file["steps"]),
                int(file["rejected"]),
                None,
                beginning(file, "along_"),
                *_read_events(file),
            )


def _counted(count: int, single: str, several: str) -> str:
    return f"{count} {single if count == 1 else several}"


def _along(product: ModuleType | None) -> list[str]:
    """What a product computes along a solution: energy and invariants."""
    names = filter(lambda name: name.startswith("along_"), dir(product))
    return [name.removeprefix("along_") for name in names]


def _by_run(solution: Solution, by_event: tuple[Any, ...]) -> tuple[Any, ...]:
    """For each run what there is of each event."""
    return by_event if np.ndim(solution.y) == 3 else (by_event,)


def _flat_events(solution: Solution) -> dict[str, Any]:
    """Events as arrays: of each, the zeros of all trajectories, and how many each one has."""
    times, states = (_by_run(solution, own) for own in (solution.t_events, solution.y_events))
    arrays = {"events": np.array(solution.events, str), "status": np.asarray(solution.status)}
    for k in range(len(solution.events)):
        arrays[f"event_counts_{k}"] = np.array([len(own[k]) for own in times])
        empty = np.empty(0), np.empty((0, solution.y.shape[-1]))
        arrays[f"event_times_{k}"] = np.concatenate([empty[0], *(own[k] for own in times)])
        arrays[f"event_states_{k}"] = np.concatenate([empty[1], *(own[k] for own in states)])
    return arrays


def _read_events(file: Mapping[str, Any]) -> tuple[Any, ...]:
    """What :func:`_flat_events` made, as a solution has it."""
    if "events" not in file:
        return ()
    names = tuple(map(str, file["events"]))
    several = file["y"].ndim == 3
    count = len(file["y"]) if several else 1
    parts = []
    for what in ("times", "states"):
        by_event = [
            np.split(file[f"event_{what}_{k}"], np.cumsum(file[f"event_counts_{k}"])[:-1])
            for k in range(len(names))
        ]
        by_run = tuple(tuple(event[run] for event in by_event) for run in range(count))
        parts.append(by_run if several else by_run[0])
    status = file["status"]
    return names, *(parts if names else ((), ())), status if several else int(status)


def brief(components: Sequence[str]) -> tuple[str, ...]:
    """The names of components; those at the sites of a lattice by the first and the last."""
    by_base: dict[str, list[str]] = {}
    for name in components:
        by_base.setdefault(name.partition("[")[0] if name.endswith("]") else name, []).append(name)
    return tuple(
        names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}" for names in by_base.values()
    )


def parameter_table(parameters: Mapping[str, Any], count: int) -> Floats:
    """A row of parameters for each trajectory."""
    if not parameters:
        return np.empty((count, 0))
    columns = [np.broadcast_to(np.asarray(value, float), count) for value in parameters.values()]
    return np.ascontiguousarray(np.array(columns).reshape(len(columns), count).T)
