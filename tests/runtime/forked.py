"""Python in processes that are forked from one which has imported what they need.

For programs of several processes, which are forks anyway, and for those that read and write files:
imports take longer than what they do.  Programs about threads, imports and what a process begins
with are :mod:`children`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

from .children import PATIENCE

#: Reads programs, a line each, and answers with exit status, output and errors of a fork.
PARENT = """
import atexit, json, os, sys, tempfile, traceback
import numba, torch, torch._dynamo, torch.distributed, torch.multiprocessing
import hamilforge
import hamilforge.runtime.optimizers.torch_optimizer

def run(text, environment):
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # where the environment says
    atexit._clear()  # at its end a fork does what it has asked for itself
    try:
        exec(compile(text, "program", "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        atexit._run_exitfuncs()
    return 0

exec(json.loads(sys.argv[1]))
for line in sys.stdin:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            status = run(*json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        print(json.dumps([status, *texts]), flush=True)
"""


@functools.cache
def _parent(prepared: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", PARENT, json.dumps(prepared)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    atexit.register(started.communicate)  # nothing more to read: it ends
    return started


def fork(
    text: str, patience: float = PATIENCE, prepared: str = "", **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a program in a fork and wait for its end; a test fails where it does not end in time.

    Args:
        text: the program.
        patience: in seconds.
        prepared: what the process that is forked has done before, once for all its forks.
        environment: variables that the program has, or has not where they are None.
    """
    parent = _parent(prepared)
    given = {**os.environ, **environment}
    given = {name: value for name, value in given.items() if value is not None}
    assert parent.stdin is not None
    assert parent.stdout is not None
    late = threading.Timer(patience, os.killpg, (parent.pid, signal.SIGKILL))
    late.start()
    try:
        parent.stdin.write(json.dumps([textwrap.dedent(text), given]) + "\n")
        parent.stdin.flush()
        answer = parent.stdout.readline()
    finally:
        late.cancel()
    if not answer:
        _parent.cache_clear()
        raise TimeoutError(f"a program has not ended within {patience} s, or ended its parent")
    return subprocess.CompletedProcess(text, *json.loads(answer))


def told(text: str, patience: float = PATIENCE) -> str:
    """What a program prints that ends well."""
    found = fork(text, patience)
    assert found.returncode == 0, (found.returncode, found.stdout[-2000:], found.stderr[-4000:])
    return found.stdout.strip()
