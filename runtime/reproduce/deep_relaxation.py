"""Deep relaxation: five methods on three networks, by effective epochs.

In: the line-up ``deep_relaxation.toml``.  Out: for each network, method and seed a file with its
history and, until it is done, all that it needs to go on; what the terminal and the pictures show
is computed from the histories.
"""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.optim.swa_utils import update_bn

from hamilforge.runtime.core.loader import load
from hamilforge.runtime.core.whole_files import put_aside, whole
from hamilforge.runtime.reproduce.image_networks import NETWORKS
from hamilforge.runtime.reproduce.image_sets import Images, images

Floats = NDArray[np.float64]
Progress = Callable[[int], None]
#: What is recorded at an evaluation, all of the solution: effective epochs, cross-entropy on images
#: trained on, cross-entropy and error in percent on those of the validation.
EPOCHS, TRAINING, VALIDATION, ERROR = range(4)
COLUMNS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One method on one network.

    Attributes:
        network: its row of the line-up.
        method: its row of the line-up.
        data: the images.
        epochs: effective epochs.
        width: a factor of all widths.
        seed: of weights, batches, dropout and noise.
        settings: what all runs share.
        device: where torch computes.
    """

    network: Mapping[str, Any]
    method: Mapping[str, Any]
    data: Images
    epochs: int
    width: float
    seed: int
    settings: Mapping[str, Any]
    device: str = "cpu"

    @property
    def name(self) -> str:
        """The name of its file."""
        parts = (
            self.data.label, self.network["name"], self.method["name"], f"{self.width:g}",
            self.epochs, self.seed,
        )  # fmt: skip
        return "_".join("".join(c if c.isalnum() else "-" for c in str(part)) for part in parts)

    @property
    def batches(self) -> int:
        """Gradients of one effective epoch."""
        return len(self.data.classes) // int(self.settings["batch"])

    @property
    def steps(self) -> int:
        """Gradients of the whole run."""
        return self.epochs * self.batches

    @property
    def digest(self) -> str:
        """Of all that its history depends on: settings, images, optimizer, kind of device."""
        names = ("batch", "every", "trained", "drops", "factor")
        shared = {name: self.settings[name] for name in names}
        own = (dict(self.network), dict(self.method), self.width, self.epochs, self.seed)
        code = load(self.method["optimizer"]).module("torch").__file__ or ""
        device = torch.device(self.device).type
        digest = hashlib.sha256(json.dumps([shared, own, device], sort_keys=True).encode())
        digest.update(Path(code).read_bytes())
        digest.update(self.data.digest)
        return digest.hexdigest()


def line_up() -> dict[str, Any]:
    """The settings."""
    path = Path(__file__).parent / "deep_relaxation.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def runs(
    settings: Mapping[str, Any],
    folder: Path | None = None,
    networks: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int | None = None,
    full: bool = False,
    device: str = "cpu",
) -> list[Run]:
    """The runs of a line-up; of some networks and methods only where they are given.

    Args:
        settings: the line-up.
        folder: of the files of MNIST and CIFAR-10; None for what packages ship.
        networks: names of networks; all if empty.
        methods: of methods; all if empty.
        seeds: of the runs.
        epochs: effective epochs instead of the line-up's, at least 1.
        full: whether widths and effective epochs are those of the paper.
        device: where torch computes, such as ``cpu`` or ``cuda``.

    Returns:
        A run for each network, seed and method, in the order of these three.

    Raises:
        ValueError: a name is none of the line-up, there is no such device, fewer than one effective
            epoch or seed, or the images are not what they should be.
        ImportError: no package with images is installed.
    """
    for what, chosen in (("network", networks), ("method", methods)):
        known = [entry["name"] for entry in settings[f"{what}s"]]
        for name in chosen:
            if name not in known:
                raise ValueError(f"no {what} '{name}'; there are: {', '.join(known)}")
    if epochs is not None and epochs < 1:
        raise ValueError(f"{epochs} effective epochs: at least 1 was expected")
    if not seeds:
        raise ValueError("no seeds: at least 1 was expected")
    try:
        if torch.zeros(1, device=device).device.type not in ("cpu", "cuda"):
            raise ValueError(f"device '{device}': cpu or cuda was expected")
    except (AssertionError, RuntimeError) as error:
        raise ValueError(f"device '{device}': {str(error).splitlines()[0]}") from None
    chosen_networks = [n for n in settings["networks"] if not networks or n["name"] in networks]
    data = {name: images(name, folder) for name in {n["data"] for n in chosen_networks}}
    for entry in data.values():
        if len(entry.classes) < settings["batch"]:
            raise ValueError(
                f"{entry.name}: {len(entry.classes)} to train on, where a batch has "
                f"{settings['batch']}"
            )
    return [
        Run(
            network,
            method,
            data[network["data"]],
            epochs or network["full_epochs" if full else "epochs"],
            1.0 if full else network["width"],
            seed,
            settings,
            device,
        )
        for network in chosen_networks
        for seed in seeds
        for method in settings["methods"]
        if not methods or method["name"] in methods
    ]


@dataclass(slots=True, eq=False)
class State:
    """Where a run is.

    Attributes:
        step: gradients taken.
        history: `(evaluations, 4)`, see :data:`COLUMNS`.
        rest: of model, optimizer and random numbers; empty when the run is done.
    """

    step: int = 0
    history: list[list[float]] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)


def train(run: Run, folder: Path, progress: Progress | None = None) -> Floats:
    """Train a network, from where its file says it is.

    Args:
        run: the network, its data and the method.
        folder: of the files.
        progress: called with the number of effective epochs done; None for no calls.

    Returns:
        The history `(evaluations, 4)`: effective epochs, cross-entropy on images trained on,
        cross-entropy and error in percent on the others; at the solution, its batch normalisation
        with statistics of its own.

    Raises:
        ValueError: the file there is of a run with other settings.
        FloatingPointError: the loss is no finite number any more.
    """
    path = folder / f"{run.name}.pt"
    digest = run.digest
    state = _begin(path, digest)
    if state.step < run.steps:
        training = Training(run, state)
        for _ in range(state.step, run.steps):
            training.step()
            if state.step % (run.batches * run.settings["every"]) == 0 or state.step == run.steps:
                training.evaluate()
                _keep(path, digest, state, training)
                if progress:
                    progress(state.step // run.batches)
    if progress:
        progress(run.epochs)
    return np.array(state.history).reshape(-1, COLUMNS)


class Training:
    """A network, its optimizer and its batches, at the state of a run."""

    def __init__(self, run: Run, state: State) -> None:
        self.run, self.state = run, state
        data = run.data
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.seed)
            model = NETWORKS[run.network["name"]](data.images.shape[1:], run.width)
        self.model = model.to(run.device)
        self._random = torch.Generator(run.device).manual_seed(run.seed)
        self._images, self._classes = self._moved(data.images, data.classes)
        self._others = self._moved(data.other_images, data.other_classes)
        self._order = torch.empty(0, dtype=torch.int64)
        product = load(run.method["optimizer"])
        noise = {"seed": run.seed} if product.module("torch").NOISE else {}
        options = {**run.method["values"], **noise}
        self.optimizer = product.torch_class()(self.model.named_parameters(), **options)
        if state.rest:
            self.model.load_state_dict(state.rest["model"])
            self.optimizer.load_state_dict(state.rest["optimizer"])
            self._random.set_state(state.rest["random"])

    def _moved(self, *arrays: NDArray[Any]) -> tuple[torch.Tensor, ...]:
        return tuple(torch.from_numpy(array).to(self.run.device) for array in arrays)

    def step(self) -> None:
        """One gradient of a batch, and one step of the optimizer."""
        run, state = self.run, self.state
        epoch, place = divmod(state.step, run.batches)
        if place == 0 or not len(self._order):
            order = np.random.default_rng((run.seed, epoch)).permutation(len(run.data.classes))
            self._order = torch.from_numpy(order).to(run.device)
        size = run.settings["batch"]
        chosen = self._order[place * size : (place + 1) * size]
        self.optimizer.param_groups[0][run.method["rate"]] = self._rate()
        self.optimizer.zero_grad()
        with _Drawing(self._random):
            loss = functional.cross_entropy(self.model(self._images[chosen]), self._classes[chosen])
        loss.backward()
        self.optimizer.step()
        state.step += 1

    def _rate(self) -> float:
        """The method's rate at this share of the run."""
        run = self.run
        passed = sum(self.state.step >= share * run.steps for share in run.settings["drops"])
        rate: float = run.method["values"][run.method["rate"]] * run.settings["factor"] ** passed
        return rate

    def evaluate(self) -> None:
        """Record losses and errors of the solution; training goes on as without.

        Raises:
            FloatingPointError: the loss is no finite number.
        """
        run, state = self.run, self.state
        statistics = {name: value.clone() for name, value in self.model.named_buffers()}
        random = torch.Generator(run.device).manual_seed(run.seed)
        with self.optimizer.solution(), _Drawing(random):
            update_bn(self._batches(), self.model)
            self.model.eval()
            count = run.settings["trained"]
            training, _ = self._measured(self._images[:count], self._classes[:count])
            validation, wrong = self._measured(*self._others)
        self.model.train()
        with torch.no_grad():
            for name, value in self.model.named_buffers():
                value.copy_(statistics[name])
        if not np.isfinite(training):
            raise FloatingPointError(f"{run.name}: the loss is {training} after {state.step} steps")
        state.history.append([state.step / run.batches, training, validation, 100 * wrong])

    def _batches(self) -> Iterator[torch.Tensor]:
        size = self.run.settings["batch"]
        return iter(self._images[: self.run.batches * size].split(size))

    def _measured(self, pixels: torch.Tensor, classes: torch.Tensor) -> tuple[float, float]:
        """Mean cross-entropy, and the share that is not recognised."""
        with torch.no_grad():
            scores = torch.cat([self.model(part) for part in pixels.split(500)])
            loss = functional.cross_entropy(scores, classes)
            wrong = (scores.argmax(1) != classes).double().mean()
        return float(loss), float(wrong)

    def rest(self) -> dict[str, Any]:
        """All that it needs to go on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self._random.get_state(),
        }


class _Drawing:
    """Torch's own random numbers are those of a generator, and are left as they were."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._module: Any = torch.cuda if generator.device.type == "cuda" else torch
        self._device = (generator.device,) if generator.device.type == "cuda" else ()

    def __enter__(self) -> None:
        self._before = self._module.get_rng_state(*self._device)
        self._module.set_rng_state(self._generator.get_state(), *self._device)

    def __exit__(self, *_: object) -> None:
        self._generator.set_state(self._module.get_rng_state(*self._device))
        self._module.set_rng_state(self._before, *self._device)


# --- files ------------------------------------------------------------------------------------


def _keep(path: Path, digest: str, state: State, training: Training) -> None:
    """Write where a run is, all at once."""
    done = state.step == training.run.steps
    buffer = io.BytesIO()
    torch.save(
        {
            "digest": digest,
            "step": state.step,
            "history": torch.tensor(state.history, dtype=torch.float64),
            "rest": {} if done else training.rest(),
        },
        buffer,
    )
    with whole(path) as file:
        file.write(buffer.getvalue())


def _begin(path: Path, digest: str) -> State:
    """Where a run's file says it is; a damaged one is put aside, and said."""
    if not path.is_file():
        return State()
    try:
        entries = torch.load(path, map_location="cpu", weights_only=True)
        stored, step = entries["digest"], entries["step"]
        history, rest = entries["history"].tolist(), entries["rest"]
    except OSError:
        raise
    except Exception as error:  # torch says in many ways that a file is none of its
        put_aside(path, f"{path} is not the state of a run ({type(error).__name__})")
        return State()
    if stored != digest:
        raise ValueError(f"{path} is of a run with other settings: name another folder")
    return State(step, history, rest)


# --- what is shown ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What the seeds of one method reached on one network.

    Attributes:
        histories: `(seeds, evaluations, 4)`.
    """

    histories: Floats

    @property
    def end(self) -> str:
        """Mean and, of several seeds, standard deviation of the last error."""
        errors = self.histories[:, -1, ERROR]
        spread = f" ± {errors.std(ddof=1):.2f}" if len(errors) > 1 else ""
        return f"{errors.mean():.2f}{spread}"

    @property
    def least(self) -> str:
        """The least mean over the seeds, and at how many effective epochs."""
        mean = self.histories[:, :, ERROR].mean(0)
        place = int(mean.argmin())
        return f"{mean[place]:.2f} @ {self.histories[0, place, EPOCHS]:g}"


def outcomes(histories: Mapping[Run, Floats]) -> dict[tuple[str, str], Outcome]:
    """What was reached, by network and method."""
    grouped: dict[tuple[str, str], list[Floats]] = {}
    for run, history in histories.items():
        grouped.setdefault((run.network["name"], run.method["name"]), []).append(history)
    return {names: Outcome(np.array(group)) for names, group in grouped.items()}
