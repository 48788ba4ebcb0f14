"""MNIST-1D: its templates, each step of a signal, and the whole beside what was published."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import numpy as np
import pytest

from hamilforge.runtime.reproduce import image_sets
from hamilforge.runtime.reproduce.mnist1d import Setting, drawn, signals, templates

EXPECTED = tomllib.loads(
    (Path(__file__).parents[1] / "expected/mnist1d.toml").read_text(encoding="utf-8")
)
#: Nothing is drawn but where a signal begins: 60 zeros after it, no noise, no slope.
PLAIN = Setting((60, 60), 0.0, 1, 0.0, 0.0, 0.0, 72)


def test_the_signals_are_those_of_the_authors_program():
    found, classes = signals()
    assert found.shape == (5000, 40)
    assert classes[:12].tolist() == EXPECTED["classes"]
    assert found[0, :8] == pytest.approx(EXPECTED["first"], abs=1e-8)
    assert found[-1, :4] == pytest.approx(EXPECTED["last"], abs=1e-8)
    assert np.bincount(classes).tolist() == [500] * 10
    assert abs(found.mean()) < 1e-12
    assert found.std() == pytest.approx(1)


def test_templates_begin_and_end_at_zero_with_one_deviation():
    found = templates()
    assert found.shape == (10, 12)
    assert abs(found[:, [0, -1]]).max() < 1e-15
    assert found.std(1) == pytest.approx(np.full(10, 1 / 6))
    assert len(np.unique(found.round(6), axis=0)) == 10


def test_a_signal_without_noise_is_its_template_and_zeros():
    for template in templates():
        found = drawn(template, np.random.RandomState(0), PLAIN)
        assert found[:12] == pytest.approx(template, abs=2e-8)
        assert not found[12:].any()


def test_a_signal_is_moved_around_its_circle():
    own = dataclasses.replace(PLAIN, shift=48)
    template, random = templates()[3], np.random.RandomState(1)
    begins = []
    for _ in range(400):
        found = drawn(template, random, own)
        begins.append(int(np.flatnonzero(found)[0]))
        assert np.roll(found, -begins[-1])[:12] == pytest.approx(template, abs=2e-8)
    assert (min(begins), max(begins)) == (0, 47)


def test_fewer_zeros_stretch_a_signal():
    own = dataclasses.replace(PLAIN, padding=(36, 60))
    random = np.random.RandomState(2)
    counts = {np.count_nonzero(drawn(templates()[0], random, own)) for _ in range(300)}
    # the first zero, at 12 of 47 to 71 distances, comes to 18.1 to 12 of 71
    assert (min(counts), max(counts)) == (12, 19)


def test_scale_and_slope_are_what_they_are_said_to_be():
    template, random = templates()[7], np.random.RandomState(3)
    scaled = dataclasses.replace(PLAIN, scale=0.4)
    factors = [(drawn(template, random, scaled) / template.max()).max() for _ in range(300)]
    assert 0.8 <= min(factors) < 0.82 < 1.18 < max(factors) <= 1.2 + 1e-6
    sloped = dataclasses.replace(PLAIN, shear=0.75)
    slopes = []
    for _ in range(300):
        found = drawn(np.zeros(12), random, sloped)
        slopes.append(found[0] - found[-1])
        assert abs(np.diff(found, 2)).max() < 1e-7
    assert -0.375 <= min(slopes) < -0.36 < 0.36 < max(slopes) <= 0.375


def test_correlated_noise_is_around_a_signal_and_the_other_everywhere():
    template, random = templates()[5], np.random.RandomState(4)
    around = dataclasses.replace(PLAIN, correlated=0.25)
    found = np.array([drawn(template, random, around) for _ in range(2000)])
    assert abs(found[:, :12] - template).max() < 2e-8
    noise = found[:, 24:60]
    # smoothed by a Gaussian of deviation 2: white noise loses a factor (4 pi)^(1/4) sqrt(2)
    assert noise.std() == pytest.approx(0.25 / np.sqrt(2 * 2 * np.sqrt(np.pi)), rel=0.03)
    neighbours = np.corrcoef(noise[:, 10], noise[:, 11])[0, 1]
    assert neighbours == pytest.approx(np.exp(-1 / 16), abs=0.02)
    everywhere = dataclasses.replace(PLAIN, noise=2e-2)
    found = np.array([drawn(template, random, everywhere) for _ in range(2000)])
    assert (found - np.append(template, np.zeros(60))).std() == pytest.approx(2e-2, rel=0.02)


def test_a_number_of_signals_is_a_multiple_of_ten():
    for count in (0, -10, 15):
        with pytest.raises(ValueError, match=f"{count} signals are no positive multiple of ten"):
            signals(count)
    found, classes = signals(20, seed=7)
    assert found.shape == (20, 40)
    assert np.bincount(classes).tolist() == [2] * 10
    assert (found == signals(20, seed=7)[0]).all()
    assert (found != signals(20, seed=8)[0]).any()


def test_a_line_tells_as_many_apart_as_was_published():
    linear_model = pytest.importorskip("sklearn.linear_model")
    own = image_sets.signals()
    assert own.images.shape == (4000, 1, 1, 40)
    assert own.other_images.shape == (1000, 1, 1, 40)
    model = linear_model.LogisticRegression(max_iter=2000)
    model.fit(own.images.reshape(-1, 40), own.classes)
    share = model.score(own.other_images.reshape(-1, 40), own.other_classes)
    assert share == pytest.approx(EXPECTED["logistic_regression"], abs=0.03)
