"""A small classifier of handwritten digits, trained by several optimizers under equal conditions.

In: a :class:`Lineup`, read from TOML. Out: a :class:`Curve` for each contender. All start from
the same weights and see the same batches in the same order; loss and accuracy are those of the
solution, which for some methods is not the point at which the gradient is asked for.
"""

from __future__ import annotations

import contextlib
import copy
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

HERE = Path(__file__).parent
LINEUP = HERE / "demo_lineup.toml"


@dataclass(frozen=True, slots=True)
class Contender:
    """An optimizer with its hyper-parameters.

    Attributes:
        source: a name of the catalogue, the path of a declaration, or a class of ``torch.optim``.
        generated: whether hamilforge made it.
    """

    label: str
    source: str
    generated: bool
    options: dict[str, float]

    def optimizer(self, model: torch.nn.Module) -> Any:
        """The optimizer of a model's parameters."""
        import torch

        from hamilforge.runtime.core import loader

        if self.generated:
            optimizer_class = loader.load(self.source).torch_class()
        else:
            optimizer_class = getattr(torch.optim, self.source)
        return optimizer_class(model.parameters(), **self.options)

    def settings(self) -> str:
        """The hyper-parameters, to read."""
        return ", ".join(f"{name}={value:g}" for name, value in self.options.items())


@dataclass(frozen=True, slots=True)
class Lineup:
    """What the demo trains.

    Attributes:
        declaration: the demo's own optimizer.
        batch: digits per gradient.
        hidden: width of the one hidden layer.
        test_share: share of the digits that no optimizer sees.
    """

    declaration: Path
    epochs: int
    batch: int
    hidden: int
    seed: int
    test_share: float
    contenders: tuple[Contender, ...]


@dataclass(frozen=True, slots=True)
class Digits:
    """Digits as rows of 64 grey values in [0, 1], with their labels."""

    train_x: torch.Tensor
    train_y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor


@dataclass(frozen=True, slots=True)
class Curve:
    """How one contender learnt.

    Attributes:
        losses: mean cross-entropy on the training digits, before the first epoch and after each.
        accuracies: share of the test digits that are recognised, alike.
        seconds: median time of an epoch, without the evaluation and without compilation.
    """

    contender: Contender
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    seconds: float


def read_lineup(path: Path = LINEUP) -> Lineup:
    """Read a line-up; declarations that end in ``.toml`` lie beside it."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))

    def contender(entry: dict[str, Any]) -> Contender:
        source = entry.get("declaration")
        if source is None:
            return Contender(entry["label"], entry["torch"], False, entry["options"])
        if source.endswith(".toml"):
            source = str(path.parent / source)
        return Contender(entry["label"], source, True, entry["options"])

    return Lineup(
        declaration=path.parent / table["declaration"],
        epochs=table["epochs"],
        batch=table["batch"],
        hidden=table["hidden"],
        seed=table["seed"],
        test_share=table["test_share"],
        contenders=tuple(contender(entry) for entry in table["contender"]),
    )


def read_digits(lineup: Lineup) -> Digits:
    """The 1797 handwritten digits that come with scikit-learn, split at a fixed seed."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        images / 16.0,
        labels,
        test_size=lineup.test_share,
        random_state=lineup.seed,
        stratify=labels,
    )
    return Digits(
        torch.tensor(train_x, dtype=torch.float32),
        torch.tensor(train_y),
        torch.tensor(test_x, dtype=torch.float32),
        torch.tensor(test_y),
    )


def classifier(lineup: Lineup) -> torch.nn.Module:
    """A network of one hidden layer; the same weights at every call."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(lineup.seed)
        return torch.nn.Sequential(
            torch.nn.Linear(64, lineup.hidden), torch.nn.ReLU(), torch.nn.Linear(lineup.hidden, 10)
        )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch and for numba: the quickest for tensors this small, and a fair clock."""
    import numba
    import torch

    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def time_steps(contender: Contender, lineup: Lineup, digits: Digits) -> tuple[float, float]:
    """Seconds of the first step, which compiles or loads what was compiled, and of the second.

    Args:
        contender: whose steps are timed.
        lineup: the sizes of the network and of the batch.
        digits: the data; each gradient is that of the first batch of the training digits.

    Returns:
        Both times, without those of the gradients.
    """
    model = classifier(lineup)
    seconds = []
    with one_thread():
        optimizer = contender.optimizer(model)
        for _ in range(2):
            _differentiate(model, digits.train_x[: lineup.batch], digits.train_y[: lineup.batch])
            start = time.perf_counter()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
    return seconds[0], seconds[1]


def train(
    lineup: Lineup, digits: Digits, epochs: int, advance: Callable[[Contender], None]
) -> list[Curve]:
    """Train every contender.

    Args:
        lineup: the contenders and what they share.
        digits: the data.
        epochs: passes over the training digits, at least 1.
        advance: called after each epoch of each contender.

    Returns:
        A curve for each contender, in the order of the line-up.
    """
    model = classifier(lineup)
    with one_thread():
        return [
            _curve(contender, copy.deepcopy(model), lineup, digits, epochs, advance)
            for contender in lineup.contenders
        ]


def _curve(
    contender: Contender,
    model: torch.nn.Module,
    lineup: Lineup,
    digits: Digits,
    epochs: int,
    advance: Callable[[Contender], None],
) -> Curve:
    import torch

    time_steps(contender, lineup, digits)
    optimizer = contender.optimizer(model)
    shuffle = torch.Generator().manual_seed(lineup.seed)
    marks = [_evaluate(model, optimizer, digits)]
    seconds = []
    for _ in range(epochs):
        order = torch.randperm(len(digits.train_y), generator=shuffle)
        start = time.perf_counter()
        for batch in torch.split(order, lineup.batch):
            _differentiate(model, digits.train_x[batch], digits.train_y[batch])
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        marks.append(_evaluate(model, optimizer, digits))
        advance(contender)
    losses, accuracies = zip(*marks, strict=True)
    return Curve(contender, losses, accuracies, sorted(seconds)[len(seconds) // 2])


def _differentiate(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    import torch

    model.zero_grad()
    torch.nn.functional.cross_entropy(model(x), y).backward()


def _evaluate(model: torch.nn.Module, optimizer: Any, digits: Digits) -> tuple[float, float]:
    """Training loss and test accuracy at the solution."""
    import torch

    solution = getattr(optimizer, "solution", contextlib.nullcontext)
    with torch.no_grad(), solution():
        loss = torch.nn.functional.cross_entropy(model(digits.train_x), digits.train_y)
        right = model(digits.test_x).argmax(1) == digits.test_y
    return float(loss), float(right.double().mean())
