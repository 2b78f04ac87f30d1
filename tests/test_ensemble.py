"""Promises of restore/ensemble.py: the mean over all views, whatever the size, without a seam."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from networks import helper, pointwise, save
from pellucid.cli import app
from pellucid.errors import OptionError
from pellucid.images import read, write
from pellucid.images.picture import Picture
from pellucid.learn import datasets
from pellucid.report.evaluate import evaluate
from pellucid.restore import tiles
from pellucid.restore.denoise import denoise
from pellucid.restore.ensemble import Ensemble
from pellucid.restore.inpaint import inpaint
from pellucid.restore.runtime import open_model
from pellucid.restore.twins import open_twins

WEIGHT = np.random.default_rng(1).normal(0, 0.2, (1, 1, 5, 5)).astype(np.float32)
"""No mirror and no turn leaves it as it is."""


def crooked(path, *, multiple=1, shape=None):
    """A network that sees two pixels far and treats no two directions alike."""
    nodes = [helper.make_node("Conv", ["image", "w"], ["restored"], pads=[2] * 4)]
    card = {"image_channels": 1, "multiple_of": multiple, "halo": 2, "model": "crooked"}
    return open_model(save(path, nodes, {"w": WEIGHT}, shape=shape, card=card))


def views(x):
    """The eight views of images (B, C, H, W), by numpy alone."""
    for quarters, mirrored in itertools.product(range(4), (False, True)):
        turned = np.rot90(x, quarters, axes=(2, 3))
        yield turned[..., ::-1] if mirrored else turned


def images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (2, 1, 7, 12), (1, 1, 1, 1), (1, 1, 1, 9)])
def test_the_answer_to_a_view_is_the_view_of_the_answer(tmp_path, shape):
    alone = crooked(tmp_path / "a.onnx")
    runner, x = Ensemble(alone), images(*shape)
    for given, expected in zip(views(x), views(runner(x)), strict=True):
        np.testing.assert_allclose(runner(np.ascontiguousarray(given)), expected, atol=1e-6)
    if min(shape[2:]) > 1:
        assert np.abs(alone(x[..., ::-1].copy()) - alone(x)[..., ::-1]).max() > 0.01


def test_it_is_the_mean_of_eight(tmp_path):
    alone = crooked(tmp_path / "a.onnx")
    x = images(1, 1, 6, 9)
    back = []
    for quarters, mirrored in itertools.product(range(4), (False, True)):
        view = np.rot90(x, quarters, axes=(2, 3))
        answer = alone(np.ascontiguousarray(view[..., ::-1] if mirrored else view))
        back.append(np.rot90(answer[..., ::-1] if mirrored else answer, -quarters, axes=(2, 3)))
    np.testing.assert_allclose(Ensemble(alone)(x), np.mean(back, axis=0), atol=1e-6)


@pytest.mark.parametrize("size", [(150, 131), (97, 203)])
@pytest.mark.parametrize("multiple", [1, 4])
def test_windows_leave_no_seam(tmp_path, size, multiple):
    runner = Ensemble(crooked(tmp_path / "a.onnx", multiple=multiple))
    x = images(*size)
    cut = tiles.plan(*size, halo=runner.halo, multiple=multiple, tile=32)
    assert len(cut.rows) > 2
    parts = np.empty((*size, 1), np.float32)

    def write_window(rows, columns, restored):
        parts[rows, columns] = restored

    tiles.run(
        cut,
        lambda windows: runner(windows.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
        lambda rows, columns: x[rows, columns, None],
        write_window,
    )
    np.testing.assert_allclose(parts[..., 0], runner(x[None, None])[0, 0], atol=1e-6)


def test_a_network_of_one_size_is_asked_lying_down_only_if_it_is_square(tmp_path):
    flat = Ensemble(crooked(tmp_path / "flat.onnx", shape=(1, 1, 12, 20)))
    square = Ensemble(crooked(tmp_path / "square.onnx", shape=(1, 1, 16, 16)))
    assert (flat.name, square.name) == ("flat, 4 views", "square, 8 views")
    for runner, size in ((flat, (12, 20)), (flat, (11, 20)), (square, (16, 16)), (square, (9, 16))):
        assert runner(images(1, 1, *size)).shape == (1, 1, *size)
    x = images(1, 1, 12, 20)
    np.testing.assert_allclose(flat(x[..., ::-1].copy()), flat(x)[..., ::-1], atol=1e-6)


def test_what_treats_all_views_alike_gives_the_same(tmp_path):
    runner = open_model(pointwise(tmp_path / "half.onnx", "Mul", 0.5))
    x = images(2, 1, 5, 6)
    np.testing.assert_allclose(Ensemble(runner)(x), x / 2, atol=1e-7)


def test_denoise_takes_names_files_and_opened_models(tmp_path):
    alone = crooked(tmp_path / "a.onnx")
    x = images(20, 30)
    expected = Ensemble(alone)(x[None, None])[0, 0]
    for model in (tmp_path / "a.onnx", alone, open_twins(alone)):
        np.testing.assert_allclose(denoise(x, model=model, ensemble=True), expected, atol=1e-6)
    assert np.abs(denoise(x, model=alone) - expected).max() > 0.01


def test_the_command_line_offers_it(tmp_path):
    crooked(tmp_path / "a.onnx")
    x = np.uint8(images(24, 16, 1) * 255)
    write(tmp_path / "x.png", Picture(x))
    for name, options in (("one.png", []), ("mean.png", ["--ensemble"])):
        given = [str(tmp_path / "x.png"), "-o", str(tmp_path / name), *options]
        done = CliRunner().invoke(app, ["denoise", *given, "--model", str(tmp_path / "a.onnx")])
        assert done.exit_code == 0, done.output
    one, mean = (read(tmp_path / name).samples for name in ("one.png", "mean.png"))
    assert (one != mean).any()
    expected = denoise(x, model=tmp_path / "a.onnx", ensemble=True).clip(0, 1)
    np.testing.assert_array_equal(mean, np.uint8(np.rint(expected * 255)))


def test_it_is_judged_as_it_restores(tmp_path):
    crooked(tmp_path / "a.onnx")
    report = evaluate(tmp_path / "a.onnx", "digits", "gaussian:0.1", limit=3, ensemble=True)
    assert report.model == "a, 8 views"
    json.dumps(report.to_json())
    with pytest.raises(OptionError, match="ensemble"):
        evaluate(lambda picture: picture, "digits", "none", limit=1, ensemble=True)


@pytest.mark.parametrize("name", ["gaussian-gray", "photo"])
def test_with_a_model_of_the_box_the_mean_is_nearer_the_truth(name):
    channels = open_model(name).channels
    image = datasets.load("photographs", channels=channels).test.image(0)[0]
    clean = image.permute(1, 2, 0).numpy()[100:228, 200:328]
    noise = np.random.default_rng(0).normal(0, 25 / 255, clean.shape)
    damaged = (clean + noise).astype(np.float32)
    errors = [
        float(np.square(denoise(damaged, model=name, ensemble=ensemble) - clean).mean())
        for ensemble in (False, True)
    ]
    assert errors[1] < 0.995 * errors[0]


@pytest.mark.parametrize("grey", [True, False])
def test_holes_are_filled_nearer_the_truth_by_all_views(grey, tmp_path):
    image = datasets.load("photographs", channels=1 if grey else 3).test.image(0)[0]
    clean = image.permute(1, 2, 0).numpy()[100:228, 200:328]
    lost = np.random.default_rng(0).random(clean.shape[:2]) < 0.5
    made = [inpaint(clean, lost, ensemble=ensemble) for ensemble in (False, True)]
    for filled in made:
        np.testing.assert_array_equal(filled[~lost], clean[~lost])
    errors = [float(np.square(filled - clean)[lost].mean()) for filled in made]
    assert errors[1] < 0.99 * errors[0]

    write(tmp_path / "x.png", Picture(np.uint8(np.rint(clean * 255))))
    write(tmp_path / "mask.png", Picture(np.uint8(lost)[..., None] * np.uint8(255)))
    given = [str(tmp_path / "x.png"), "--mask", str(tmp_path / "mask.png"), "--ensemble"]
    done = CliRunner().invoke(app, ["inpaint", *given, "-o", str(tmp_path / "y.png")])
    assert done.exit_code == 0, done.output
    error = np.square(read(tmp_path / "y.png").samples / 255 - clean)[lost].mean()
    assert error == pytest.approx(errors[1], rel=0.02)
