"""Files of MNIST for tests: random images, and the format that they are written in."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from hamilforge.runtime.reproduce import image_sets


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def mnist_arrays(count: int = 40, side: int = 28) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    arrays = {}
    for part in ("", "other_"):
        arrays[f"{part}images"] = random.integers(0, 256, (count, side, side), np.uint8)
        arrays[f"{part}classes"] = random.integers(0, 10, count, np.uint8)
    return arrays


def write_mnist(folder: Path, arrays: dict[str, np.ndarray], ending: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, array in arrays.items():
        data = idx(array)
        (folder / (image_sets.MNIST[part] + ending)).write_bytes(
            gzip.compress(data) if ending else data
        )
