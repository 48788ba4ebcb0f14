"""Mutated declarations through ``check`` and ``generate``, in processes with limits.

A worker takes a range of seeds, and says of each how it ended: ``fine``, ``false`` (a claim),
``refused`` (the user's error) or ``fault`` (anything else), with the processor time it took.  What
ends the worker itself (time, memory, a signal) is the fault of the seed it had begun.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: What a declaration may take: seconds of processor time (and what a long one may more), and bytes.
SECONDS, MEMORY = 10.0, 2 * 2**30


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a seed ended."""

    seed: int
    verdict: str
    seconds: float
    message: str


def outcomes(first: int, count: int, generate_every: int = 0) -> Iterator[Outcome]:
    """Each seed of a range; every so many are generated too, if they can be.

    Args:
        first: the first seed.
        count: how many.
        generate_every: 0 for none.
    """
    seed, last = first, first + count
    while seed < last:
        command = [sys.executable, __file__, str(seed), str(last), str(generate_every)]
        worker = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert worker.stdout is not None
        assert worker.stderr is not None
        begun = None
        for line in worker.stdout:
            entry = json.loads(line)
            if "begun" in entry:
                begun = entry["begun"]
                continue
            yield Outcome(**entry)
            seed, begun = entry["seed"] + 1, None
        status = worker.wait()
        if begun is not None:
            tail = worker.stderr.read()[-500:]
            yield Outcome(begun, "fault", SECONDS, f"the process ended with {status}: {tail}")
            seed = begun + 1
        elif status:
            raise RuntimeError(worker.stderr.read())


def _work(first: int, last: int, generate_every: int) -> None:
    from hamilforge.gen import pipeline
    from hamilforge.gen.declare import budget, catalogue
    from hamilforge.gen.declare.errors import ClaimError, DeclarationError

    sys.path.insert(0, str(Path(__file__).parent))
    from mutations import mutated

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    budget.SLOWEST = 1.0  # seconds are seconds, on a slow machine too
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mutant.toml"
        for seed in range(first, last):
            print(json.dumps({"begun": seed}), flush=True)
            data = mutated(seed).encode("utf-8", "surrogatepass")
            limit = SECONDS + budget.whole(len(data)) - budget.WHOLE
            used = time.process_time()
            ends = int(used + 3 * limit)
            resource.setrlimit(
                resource.RLIMIT_CPU, (ends, resource.getrlimit(resource.RLIMIT_CPU)[1])
            )
            path.write_bytes(data)
            message = ""
            try:
                declaration = catalogue.load(path)
                report = pipeline.check(declaration)
                str(report)
                json.dumps(report.to_dict())
                verdict = "fine" if report.holds else "false"
                if report.holds and generate_every and seed % generate_every == 0:
                    made = _products(path, declaration)
                    for one in made:
                        pipeline.rendered(one)
            except ClaimError as error:
                verdict, message = "false", str(error)
            except DeclarationError as error:
                verdict, message = "refused", str(error)
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                verdict = "fault"
                message = f"{type(error).__name__}: {error} at {where.filename}:{where.lineno}"
            seconds = time.process_time() - used
            if seconds > limit:
                verdict, message = "fault", f"{seconds:.0f} s; {message}"
            entry = {"seed": seed, "verdict": verdict, "seconds": seconds, "message": message[:600]}
            print(json.dumps(entry), flush=True)


def _products(path: Path, declaration: object) -> list[tuple[object, ...]]:
    """What can be made of a declaration: with a method, if it needs one."""
    from hamilforge.gen import products
    from hamilforge.gen.declare import kinds

    match declaration:
        case kinds.Optimizer() | kinds.Objective():
            return [products.load_made(path)]
        case kinds.Mechanics() | kinds.System() | kinds.Field():
            return [products.load_made(path, "rk4")]
        case kinds.RungeKutta() | kinds.Partitioned():
            return [products.load_made("harmonic_oscillator", path)]
    return []


if __name__ == "__main__":
    _work(*map(int, sys.argv[1:]))
