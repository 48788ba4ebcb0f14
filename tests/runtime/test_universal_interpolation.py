"""Universal interpolation, reproduced: starts, depths, the plane on its way, images, pictures."""

from __future__ import annotations

import dataclasses
import importlib.util
import re

import numpy as np
import pytest
import torch

from hamilforge.cli import main
from hamilforge.runtime.networks.interpolate import EXACT, interpolate
from hamilforge.runtime.reproduce import (
    image_sets,
    interpolated_images,
    universal_interpolation,
)
from hamilforge.runtime.reproduce.interpolated_images import Tuning
from tests.runtime.mnist_files import mnist_arrays, write_mnist

SETTINGS = universal_interpolation.line_up()


def quiet(_):
    pass


def part(name, **changes):
    return {**SETTINGS[name], **changes}


@pytest.mark.usefixtures("kernels")
def test_starts_are_counted_with_what_a_finer_step_gives():
    own = part("starts", seeds=2)
    calls = []
    for method, drawn in zip(own["methods"], (False, True), strict=True):
        found = universal_interpolation.starts(own, method, 200.0, calls.append, drawn)
        first = found[0]
        assert all(start.is_flow for start in found)
        assert all(start.residual <= universal_interpolation.ROUNDING for start in found)
        assert all(start.again <= EXACT for start in found)
        assert first.trained == 20 * 7 + 1
        assert first.finer > (1e-2 if method == "euler" else 1e-10)
    assert calls == [1, 2, 1, 2]


@pytest.mark.usefixtures("kernels")
def test_deeper_networks_move_points_where_flat_ones_fold():
    own = part("depth", seeds=1)
    flat, deep = (universal_interpolation.depths(own, layers, quiet)[0] for layers in (2, 40))
    assert (flat.trained, deep.trained) == (14, 280)
    assert not flat.is_flow
    assert deep.is_flow
    assert np.isnan(deep.again)


@pytest.mark.usefixtures("kernels")
def test_the_plane_goes_where_the_points_go():
    flow = universal_interpolation.flow(part("flow", points=3, layers=20, lines=3, samples=7))
    assert flow.start.is_flow
    assert flow.points.shape == (21, 3, 2)
    assert abs(flow.points[-1] - flow.targets).max() <= 1e-9
    assert flow.back <= 1e-8
    assert flow.rows.shape[0] == 21
    assert np.isfinite(flow.rows[0]).all()


def test_what_runs_away_is_lost_and_does_not_stop_the_others():
    class Doubling:
        layers = 3

        def alone(self):
            return lambda states: 2 * states

        def set_alone(self, *_):
            pass

    found = universal_interpolation.way(Doubling(), np.array([[1.0, 1.0], [3e5, 0.0]]))
    assert found[-1, 0].tolist() == [8.0, 8.0]
    assert np.isnan(found[-1, 1]).all()
    assert np.isfinite(found[2]).all()


def blobs(count=200, width=12):
    """Ten classes that a line tells apart."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(count) % 10
    middles = torch.randn(10, width, generator=generator)
    x = middles[classes] + 0.1 * torch.randn(count, width, generator=generator)
    return interpolated_images.Data("blobs", x[: count // 2], classes[: count // 2],
                                    x[count // 2 :], classes[count // 2 :])  # fmt: skip


def test_the_values_of_the_fields_are_what_the_declaration_says():
    images, own = blobs(), part("images")
    made = interpolated_images.load(own["field"], "euler").torch_class()
    fixed = made(1, {"d": 12}, draw=3).fixed
    found = interpolated_images.values(own, images.x, 3)
    wanted = [torch.tanh(images.x @ fixed[f"C{k}"].T + fixed[f"b{k}"]) for k in range(1, 6)]
    assert torch.allclose(found, torch.cat(wanted, 1), atol=1e-6)


TUNINGS = {
    interpolated_images.CONTROLS: Tuning(0.1, 3.0),
    interpolated_images.FULL: Tuning(0.003, 3.0),
}


def test_models_are_compared_by_how_many_numbers_they_train():
    images, own = blobs(), part("images", epochs=15, batch=20, seeds=1)
    row = interpolated_images.compared(own, images, 10, TUNINGS)
    names = (interpolated_images.CONTROLS, interpolated_images.READ_OUT, interpolated_images.FULL)
    assert [*row.models] == [*names]
    counts = [row.models[name][0] for name in names]
    assert counts == [10 * 5 + 1, 50, 10 * (144 + 12) + 1]
    shares = [row.models[name][1][0] for name in names]
    assert all(share > 0.15 for share in shares)
    assert shares[1] > 0.5 < shares[2]
    few = interpolated_images.compared(own, images, 3, TUNINGS)
    assert interpolated_images.READ_OUT not in few.models  # 16 numbers are one entry for none


def test_rates_are_chosen_by_held_out_images_and_not_by_the_others():
    images = blobs()
    own = part("images", epochs=15, batch=20, layers=[3], full_rates=[1e-7, 0.003], rates=[0.1],
               numbers=[3.0])  # fmt: skip
    calls = []
    found = interpolated_images.tuned(own, images, calls.append)
    assert calls == [1, 2, 3]
    assert interpolated_images.tries(own) == 3
    assert found[interpolated_images.FULL] == Tuning(0.003, 3.0)
    # the others are not looked at
    none = {"others": images.others[:0], "other_classes": images.classes[:0]}
    without = dataclasses.replace(images, **none)
    assert interpolated_images.tuned(own, without) == found


def test_what_is_held_out_is_of_the_images_to_train_on_and_not_trained_on():
    images = blobs()
    found = interpolated_images.held_out(images, 0.2)
    assert (len(found.x), len(found.others)) == (80, 20)
    together = torch.cat([found.x, found.others])
    assert torch.equal(together.unique(dim=0), images.x.unique(dim=0))
    assert len(together.unique(dim=0)) == 100
    for x, classes in ((found.x, found.classes), (found.others, found.other_classes)):
        for one, number in zip(x, classes, strict=True):
            where = (images.x == one).all(1).nonzero().item()
            assert images.classes[where] == number


def test_images_of_another_side_are_refused():
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("no images")
    with pytest.raises(ValueError, match="images of 28 columns have no 5 equal parts"):
        interpolated_images.data(part("images", side=5), "mnist", None)
    with pytest.raises(ValueError, match="fewer numbers than classes"):
        interpolated_images.data(part("images", side=3), "mnist", None)
    with pytest.raises(ValueError, match="no images 'letters'; there are: mnist, digits, mnist1d"):
        interpolated_images.data(part("images"), "letters", None)


@pytest.mark.parametrize(("name", "width"), [("mnist", 49), ("digits", 64), ("mnist1d", 40)])
def test_images_are_vectors_around_their_mean(name, width):
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("no images")
    found = interpolated_images.data(part("images"), name, None)
    assert found.x.shape[1] == found.others.shape[1] == width
    assert abs(found.x.mean(0)).max() < 1e-6
    assert 0.04 < found.x.std() < 0.12
    assert sorted(found.classes.unique().tolist()) == [*range(10)]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_of_mnist_are_what_the_images_are(tmp_path, ending, capsys):
    arrays = mnist_arrays(60)
    write_mnist(tmp_path / "files", arrays, ending)
    found = interpolated_images.data(part("images"), "mnist", tmp_path / "files")
    means = arrays["images"].reshape(60, 7, 4, 7, 4).mean((2, 4)).reshape(60, 49)
    others = arrays["other_images"].reshape(60, 7, 4, 7, 4).mean((2, 4)).reshape(60, 49)
    scale = 0.1 / arrays["images"].std()
    assert found.name == "MNIST"
    assert found.x.numpy() == pytest.approx(scale * (means - means.mean(0)), abs=1e-6)
    assert found.others.numpy() == pytest.approx(scale * (others - means.mean(0)), abs=1e-6)
    assert found.classes.tolist() == arrays["classes"].tolist()
    run = ["reproduce", "universal-interpolation", "--part", "images", "--images", "mnist"]
    run += ["--quick", "--seeds", "1", "--out", str(tmp_path / "out"), "--data"]
    assert main([*run, str(tmp_path / "files")]) == 0
    out = capsys.readouterr().out
    assert "MNIST: 60 to train on, 60 others, 1 seeds" in out
    assert re.search(r"5 +controls +26 +[\d.]+ %", out)
    assert re.search(r"10 +all trained +24501 +[\d.]+ %", out)
    assert main([*run, str(tmp_path / "elsewhere")]) == 2
    assert "is no folder" in capsys.readouterr().err
    (tmp_path / "files" / (image_sets.MNIST["classes"] + ending)).unlink()
    assert main([*run, str(tmp_path / "files")]) == 2
    assert "has some files of MNIST, but no train-labels" in capsys.readouterr().err


@pytest.mark.usefixtures("kernels")
def test_the_command_prints_tables_and_draws(tmp_path, capsys):
    run = ["reproduce", "universal-interpolation", "--out", str(tmp_path), "--quick"]
    assert (
        main([*run, "--part", "starts", "--part", "depth", "--part", "flow", "--seeds", "1"]) == 0
    )
    out = capsys.readouterr().out
    assert "5 points, 20 layers, 141 trained numbers" in out
    assert "1 of 1" in out
    assert "smallest det(I + hD)" in out
    names = {path.name for path in tmp_path.iterdir()}
    if importlib.util.find_spec("matplotlib"):
        assert names == {"depth.png", "flow.png", "flow_00.png", "flow_01.png", "flow_02.png"}
    assert main([*run, "--part", "mistake"]) == 2
    assert "there are: starts, ranks, depth, flow, images" in capsys.readouterr().err


def test_the_images_are_drawn(tmp_path):
    pictures = pytest.importorskip("hamilforge.runtime.reproduce.universal_interpolation_pictures")
    pytest.importorskip("matplotlib")
    rows = [
        interpolated_images.Row(3, {"controls": (16, (0.1, 0.2))}),
        interpolated_images.Row(
            9, {"controls": (46, (0.2, 0.3)), "all trained": (900, (0.8, 0.9))}
        ),
    ]
    for count in (1, 3):
        path = tmp_path / f"images{count}.png"
        pictures.draw_images({f"set {number}": rows for number in range(count)}, path)
        assert path.stat().st_size > 1000


@pytest.mark.usefixtures("kernels")
def test_the_inverse_is_the_branch_of_the_flow_where_newton_alone_finds_another():
    own = part("flow")
    x, y = universal_interpolation.cycle(own["points"], own["seed"])
    network = universal_interpolation.network(own, own["method"], own["layers"], own["seed"])
    result = interpolate(network, x, y, universal_interpolation.read_out(own))
    assert result.success
    assert result.determinant > 0.2  # no layer folds at these points
    assert abs(network.inverse(network(x)) - x).max() < 1e-9


def test_certificates_are_timed_and_drawn(tmp_path, capsys, monkeypatch):
    settings = {"ranks": part("ranks", fields=["universal5"], points={"2": [3, 6]})}
    monkeypatch.setattr(universal_interpolation, "line_up", lambda: settings)
    command = ["reproduce", "universal-interpolation", "--part", "ranks"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "universal5" in line]
    assert [row[:5] for row in rows] == [
        ["universal5", "2", "3", "6", "6"], ["universal5", "2", "6", "12", "12"],
    ]  # fmt: skip
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "out" / "ranks.png").exists()
