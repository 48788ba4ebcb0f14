"""``hamilforge bench integrators``: trajectories to an equal error, beside peers, in one process.

For each case every candidate and every peer first finds the largest step, or the loosest tolerance,
of four to an octave or a decade, with which the end of the trajectory is within the error; then all
are timed in turns at that setting, from objects that are made once where there are such: an
``Integrator``, diffrax's compiled function, heyoka's integrator.  SciPy's and the other peers'
right-hand sides are written in the problem's components by hand, as their users would.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from hamilforge.runtime.bench import right_hand_sides
from hamilforge.runtime.bench.ensembles import ensemble_rows
from hamilforge.runtime.bench.floors import floor_rows
from hamilforge.runtime.bench.rows import Case, Row
from hamilforge.runtime.bench.timing import Contestant, Times, in_fresh_process, interleaved
from hamilforge.runtime.core.errors import IntegrationError
from hamilforge.runtime.core.loader import load as load_product
from hamilforge.runtime.core.loader import load_for_tolerance
from hamilforge.runtime.integrators.integrator import ATOL, RTOL, Integrator, integrate
from hamilforge.runtime.integrators.solution import Floats

BENCH = "integrators"
T = TypeVar("T")
#: Seconds of a turn: what takes less runs several times, as in fits and shooting methods.
BURST = 0.005
#: Settings to a decade of tolerances, and to an octave of steps.
_FINE = 4
#: The absolute tolerance, in relative ones: the ratio of the defaults.
ABSOLUTE = ATOL / RTOL


@dataclass(frozen=True, slots=True)
class Found:
    """A solver at a setting that reaches the error.

    Attributes:
        work: one integration.
        setting: the step or the tolerance, for the note.
    """

    work: Callable[[], Floats]
    setting: str


def line_up() -> dict[str, Any]:
    """What is measured, as data."""
    file = Path(__file__).parent / "integrators.toml"
    return tomllib.loads(file.read_text("utf-8"))


def cases(rounds: int | None = None) -> list[Case]:
    """What is measured.

    Args:
        rounds: the number of turns of each contestant; what the line-up says if None.
    """
    entries = line_up()
    count = rounds or entries["rounds"]
    return [
        *(
            (case["case"], functools.partial(_case, case, entries, count))
            for case in entries["cases"]
        ),
        *(
            (entry["case"], functools.partial(ensemble_rows, BENCH, rounds=count, **entry))
            for entry in entries["ensembles"]
        ),
        *(
            (entry["case"], functools.partial(floor_rows, BENCH, rounds=count, **entry))
            for entry in entries["floors"]
        ),
        *(
            ("first trajectory", functools.partial(_compile, **entry))
            for entry in entries["compile"]
        ),
    ]


def _case(case: Mapping[str, Any], entries: Mapping[str, Any], rounds: int) -> list[Row]:
    problem, span = case["problem"], (0.0, float(case["time"]))
    only = case.get("only")  # contestants; all of the line-up if there is no choice

    def takes_part(name: str) -> bool:
        return only is None or name in only

    methods = [entry for entry in entries["methods"] if takes_part(entry["method"])]
    adaptive = [name for name in entries["adaptive"] if takes_part(name)]
    products = {
        method: load_product(problem, method).module("numba")
        for method in (*(entry["method"] for entry in methods), *adaptive)
    }
    taylor = entries["taylor"]
    any_product = load_product(problem, taylor).module("numba")
    start = np.array(any_product.START)
    reference = case.get("reference", "scipy")
    if importlib.util.find_spec(reference) is None:
        return [_absent(case["case"], reference)]
    exact = _REFERENCES[reference](problem, start, span) if "exact" not in case else case["exact"]

    def close(end: Floats) -> bool:
        return bool(np.isfinite(end).all() and abs(end - exact).max() <= case["error"])

    def by_order(run: Callable[..., Attempt], tolerance: float) -> Callable[[], Floats]:
        product = load_for_tolerance(problem, taylor, tolerance).module("numba")
        return run(product, span)(tolerance)

    candidates: dict[str, Found | None] = {
        name: _by_tolerance(functools.partial(by_order, run), close)
        for name, run in ((taylor, _adaptive), (f"{taylor}, made anew", _anew))
    }
    for entry in methods:
        name = entry["method"]
        candidates[name] = _fixed(products[name], span, entry["h"], entries["steps"], close)
    for name in adaptive:
        candidates[f"{name}, adaptive"] = _by_tolerance(_adaptive(products[name], span), close)
    peers: dict[str, Found | None] = {}
    for solver in filter(takes_part, entries["scipy"]):
        peers[f"SciPy {solver}"] = _by_tolerance(_scipy(problem, solver, start, span), close)
    rows = []
    for package, make in (("diffrax", _diffrax), ("heyoka", _heyoka)):
        if not entries[package] or not takes_part(package):
            continue
        if importlib.util.find_spec(package) is None:
            rows.append(_absent(case["case"], package))
            continue
        for name, attempt in make(problem, start, span).items():
            peers[name] = _by_tolerance(attempt, close)
    reached = {name: tuned for name, tuned in (candidates | peers).items() if tuned is not None}
    times = interleaved(
        {name: Contestant(lambda: None, tuned.work) for name, tuned in reached.items()},
        rounds,
        BURST,
    )
    for candidate, tuned in candidates.items():
        if tuned is None:
            rows.append(_row(case["case"], candidate, "", None, None, "the error is not reached"))
            continue
        for peer, tuned_peer in peers.items():
            if tuned_peer is not None:
                note = f"{tuned.setting}; peer: {tuned_peer.setting}"
                rows.append(
                    _row(case["case"], candidate, peer, times[candidate], times[peer], note)
                )
    return rows


def _row(
    case: str, candidate: str, peer: str, own: Times | None, peer_times: Times | None, note: str
) -> Row:
    ratio = own.median / peer_times.median if own and peer_times else None
    return Row(
        BENCH,
        case,
        candidate,
        peer,
        own.median if own else None,
        own.p10 if own else None,
        own.p90 if own else None,
        ratio,
        1,
        None,
        note,
    )


def _absent(case: str, package: str) -> Row:
    return _row(case, "", package, None, None, f"{package} is not installed")


# --- candidates ------------------------------------------------------------


def _by_scipy(problem: str, start: Floats, span: tuple[float, float]) -> Floats:
    """The end by SciPy with its strictest tolerance; errors are some 1e-12, and grow."""
    from scipy.integrate import solve_ivp

    field = getattr(right_hand_sides, problem)
    solution = solve_ivp(field, span, start, method="DOP853", rtol=1e-13, atol=1e-15)
    return np.asarray(solution.y[:, -1], float)


def _by_mpmath(problem: str, start: Floats, span: tuple[float, float]) -> Floats:
    """The end by mpmath with 20 digits, for small problems."""
    import mpmath

    field = getattr(right_hand_sides, problem)
    with mpmath.workdps(20):
        end = mpmath.odefun(field, span[0], [mpmath.mpf(number) for number in start])(span[1])
    return np.asarray(end, float)


def _by_heyoka(problem: str, start: Floats, span: tuple[float, float]) -> Floats:
    """The end by heyoka in extended precision, for long runs of large problems."""
    import heyoka

    system = right_hand_sides.heyoka_system(problem, len(start))
    wide = np.longdouble
    integrator = heyoka.taylor_adaptive(
        system, [*map(wide, start)], time=wide(span[0]), fp_type=wide, compact_mode=True
    )
    integrator.propagate_until(wide(span[1]))
    return np.asarray(integrator.state, float)


#: Solvers by the packages that they are of.
_REFERENCES = {"scipy": _by_scipy, "mpmath": _by_mpmath, "heyoka": _by_heyoka}


def _loosest(settings: Sequence[T], attempt: Callable[[T], Found | None]) -> Found | None:
    """A setting with which the error is reached, where it is not with looser ones that were tried.

    Of every :data:`_FINE` settings one is tried, and the last, until the error is reached, and then
    those that were left out just before it.

    Args:
        settings: from loose to strict.
        attempt: what was found with one; None if the error is not reached.

    Returns:
        What was found; None if the error is not reached with any.
    """
    last = len(settings) - 1
    for k in (*range(0, last, _FINE), last):
        if (found := attempt(settings[k])) is not None:
            finer = map(attempt, settings[max(k - _FINE + 1, 0) : k])
            return next(filter(None, finer), found)
    return None


def _reached(
    work: Callable[[], Floats], close: Callable[[Floats], bool], setting: str
) -> Found | None:
    """A run, if its end is within the error."""
    try:
        return Found(work, setting) if close(work()) else None
    except (IntegrationError, RuntimeError):
        return None


def _fixed(
    product: ModuleType,
    span: tuple[float, float],
    h: float,
    most: int,
    close: Callable[[Floats], bool],
) -> Found | None:
    length = span[1] - span[0]

    def attempt(count: int) -> Found | None:
        step = length / count
        run = functools.partial(Integrator(product, step).end, None, span)
        return _reached(run, close, f"h = {step:.3g}")

    finest = math.floor(_FINE * math.log2(most * h / length))
    counts = [max(1, round(length / h * 2 ** (k / _FINE))) for k in range(finest + 1)]
    return _loosest(counts, attempt)


Attempt = Callable[[float], Callable[[], Floats]]


def _by_tolerance(run: Attempt, close: Callable[[Floats], bool]) -> Found | None:
    def attempt(tolerance: float) -> Found | None:
        return _reached(run(tolerance), close, f"tolerance {tolerance:.1e}")

    tolerances = [10.0 ** (-3 - k / _FINE) for k in range(13 * _FINE + 1)]
    return _loosest(tolerances, attempt)


def _adaptive(product: ModuleType, span: tuple[float, float]) -> Attempt:
    def attempt(tolerance: float) -> Callable[[], Floats]:
        integrator = Integrator(product, rtol=tolerance, atol=ABSOLUTE * tolerance)
        return functools.partial(integrator.end, None, span)

    return attempt


def _anew(product: ModuleType, span: tuple[float, float]) -> Attempt:
    """The same, checked anew at each call, with a solution as its result."""

    def attempt(tolerance: float) -> Callable[[], Floats]:
        def work() -> Floats:
            absolute = ABSOLUTE * tolerance
            solution = integrate(
                product, None, span, rtol=tolerance, atol=absolute, t_eval=[span[1]]
            )
            return solution.y[-1]

        return work

    return attempt


# --- peers ------------------------------------------------------------


def _scipy(problem: str, solver: str, start: Floats, span: tuple[float, float]) -> Attempt:
    from scipy.integrate import solve_ivp

    field = getattr(right_hand_sides, problem)

    def attempt(tolerance: float) -> Callable[[], Floats]:
        def work() -> Floats:
            kept = max(tolerance, 2.3e-14)
            solution = solve_ivp(
                field, span, start, method=solver, rtol=kept, atol=tolerance, t_eval=[span[1]]
            )
            return np.asarray(solution.y[:, -1], float)

        return work

    return attempt


def _diffrax(problem: str, start: Floats, span: tuple[float, float]) -> dict[str, Attempt]:
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    field = getattr(right_hand_sides, problem)
    term = diffrax.ODETerm(lambda t, y, _: jnp.stack(field(t, y)))

    def attempt(tolerance: float) -> Callable[[], Floats]:
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)

        def integrated(y: Any) -> Any:
            solution = diffrax.diffeqsolve(
                term, diffrax.Dopri5(), span[0], span[1], 1e-3, y,
                stepsize_controller=controller, max_steps=None,
                saveat=diffrax.SaveAt(t1=True),
            )  # fmt: skip
            return solution.ys[-1]

        end = jax.jit(integrated)
        state = jnp.asarray(start)

        def work() -> Floats:
            return np.asarray(end(state).block_until_ready())

        return work

    return {"diffrax Dopri5": attempt}


def _heyoka(problem: str, start: Floats, span: tuple[float, float]) -> dict[str, Attempt]:
    import heyoka

    system = right_hand_sides.heyoka_system(problem, len(start))

    def attempt(tolerance: float) -> Callable[[], Floats]:
        integrator = heyoka.taylor_adaptive(system, list(start), tol=tolerance)

        def work() -> Floats:
            integrator.time = span[0]
            integrator.state[:] = start
            integrator.propagate_until(span[1])
            return np.array(integrator.state)

        return work

    return {"heyoka Taylor": attempt}


# --- compilation ------------------------------------------------------------


def _compile(problem: str, method: str, h: float | None = None) -> Iterator[Row]:
    """The first trajectory in a fresh process, with an empty cache of kernels and a filled one.

    Args:
        problem: its name.
        method: its name.
        h: the step; if None, one after the tolerance, beside heyoka, which compiles each time.

    Yields:
        A row for each cache, and where heyoka stands beside it for each of its modes.
    """
    product = load_product(problem, method).module("numba")
    setup = (
        "from hamilforge.runtime.core.loader import load as load_product\n"
        "from hamilforge.runtime.integrators.integrator import integrate\n"
        "import numba, numpy\n"
        "numba.njit(lambda x: x + 1.0)(1.0)\n"
        f"product = load_product('{problem}', '{method}').module('numba')"
    )
    timed = f"integrate(product, None, (0.0, 0.5), {h})"
    peers: dict[str, float | None] = {"": None}
    if h is None and importlib.util.find_spec("heyoka") is not None:
        own = (
            "import heyoka\n"
            "from hamilforge.runtime.bench.right_hand_sides import heyoka_system\n"
            f"system = heyoka_system('{problem}', {len(product.COMPONENTS)})"
        )
        for label, mode in (("heyoka Taylor", False), ("heyoka Taylor, compact", True)):
            made = f"heyoka.taylor_adaptive(system, {list(product.START)}, compact_mode={mode})"
            peers[label] = in_fresh_process(own, f"{made}.propagate_until(0.5)", {})
        del peers[""]
    with tempfile.TemporaryDirectory() as folder:
        for label in ("cold", "cached"):
            seconds = in_fresh_process(setup, timed, {"NUMBA_CACHE_DIR": folder})
            for peer, peer_seconds in peers.items():
                yield Row(
                    BENCH, f"first trajectory, {label}", f"{problem} by {method}", peer, seconds,
                    seconds, seconds, seconds / peer_seconds if peer_seconds else None,
                    os.cpu_count() or 1, None, "after numba itself has compiled something",
                )  # fmt: skip
