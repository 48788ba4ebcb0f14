"""Python in a process of its own: for threads, forks, signals, and what may end a process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

PATIENCE = 240.0


def child(
    text: str, patience: float = PATIENCE, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a program and wait for its end; a test fails where it does not end in time."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)],
        capture_output=True,
        text=True,
        timeout=patience,
        env={**os.environ, **environment},
        check=False,
    )


def told(text: str, patience: float = PATIENCE, **environment: str) -> str:
    """What a program prints that ends well."""
    found = child(text, patience, **environment)
    assert found.returncode == 0, (found.returncode, found.stdout[-2000:], found.stderr[-4000:])
    return found.stdout.strip()
