"""Universal interpolation, reproduced: starts, depths, the plane on its way, images, pictures."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from hamilforge.cli import main
from hamilforge.runtime.networks.interpolate import EXACT
from hamilforge.runtime.reproduce import interpolated_images, universal_interpolation

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


def test_models_are_compared_by_how_many_numbers_they_train():
    images, own = blobs(), part("images", epochs=15, batch=20, seeds=1, number=3.0)
    row = interpolated_images.compared(own, images, 10)
    names = (interpolated_images.CONTROLS, interpolated_images.READ_OUT, interpolated_images.FULL)
    assert [*row.models] == [*names]
    counts = [row.models[name][0] for name in names]
    assert counts == [10 * 5 + 1, 50, 10 * (144 + 12) + 1]
    shares = [row.models[name][1][0] for name in names]
    assert all(share > 0.15 for share in shares)
    assert shares[1] > 0.5 < shares[2]
    few = interpolated_images.compared(own, images, 3)
    assert interpolated_images.READ_OUT not in few.models  # 16 numbers are one entry for none


def test_images_of_another_side_are_refused():
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("no images")
    with pytest.raises(ValueError, match="images of 28 columns have no 5 equal parts"):
        interpolated_images.data(part("images", side=5), None)
    with pytest.raises(ValueError, match="fewer numbers than classes"):
        interpolated_images.data(part("images", side=3), None)
    found = interpolated_images.data(part("images"), None)
    assert found.x.shape[1] == found.others.shape[1] == 49
    assert abs(found.x.mean(0)).max() < 1e-6


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
    assert "there are: starts, depth, flow, images" in capsys.readouterr().err


def test_the_images_are_drawn(tmp_path):
    pictures = pytest.importorskip("hamilforge.runtime.reproduce.universal_interpolation_pictures")
    pytest.importorskip("matplotlib")
    rows = [
        interpolated_images.Row(3, {"controls": (16, (0.1, 0.2))}),
        interpolated_images.Row(
            9, {"controls": (46, (0.2, 0.3)), "all trained": (900, (0.8, 0.9))}
        ),
    ]
    pictures.draw_images(rows, tmp_path / "images.png")
    assert (tmp_path / "images.png").stat().st_size > 1000
