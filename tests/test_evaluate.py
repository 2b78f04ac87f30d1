"""Promises of report/evaluate.py: the published protocol, the same whoever asks."""

from __future__ import annotations

import doctest
import json

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import metrics as reference
from torch import nn

from pellucid.errors import OptionError, PellucidError
from pellucid.learn.checkpoints import save
from pellucid.learn.damage import parse
from pellucid.learn.datasets import Dataset
from pellucid.learn.models import create
from pellucid.learn.pictures import Pictures
from pellucid.report import evaluate as module
from pellucid.report.evaluate import Report, evaluate


def arrays(*sizes: tuple[int, int], channels: int = 1, seed: int = 0) -> list[np.ndarray]:
    chance = np.random.default_rng(seed)
    found = []
    for height, width in sizes:
        coarse = chance.integers(0, 256, (height // 4 + 1, width // 4 + 1, channels))
        found.append(np.kron(coarse, np.ones((4, 4, 1)))[:height, :width].astype(np.uint8))
    return found


@pytest.fixture
def pictures() -> Pictures:
    return Pictures.from_arrays(arrays((16, 16), (24, 17), (16, 16), (12, 12)))


def same(picture: np.ndarray) -> np.ndarray:
    return picture


class Halve(nn.Module):
    """Somebody's own network, which knows nothing of this package."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


def without_times(report: Report) -> dict:
    told = json.loads(report.to_json())
    told.pop("seconds")
    for scores in told["baselines"].values():
        scores.pop("seconds_per_image")
    return told


def test_scores_agree_with_scikit_image(pictures):
    report = evaluate(same, pictures, "gaussian:0.1", clip=False)
    for index, row in enumerate(report.images):
        clean = pictures.image(index)
        state = np.random.SeedSequence([0, index]).generate_state(1)
        generator = torch.Generator().manual_seed(int(state[0]))
        damaged = parse("gaussian:0.1")(clean, generator=generator)[0, 0].double().numpy()
        clean = clean[0, 0].double().numpy()
        expected = reference.peak_signal_noise_ratio(clean, damaged, data_range=1)
        assert row["damaged"]["psnr"] == pytest.approx(expected, abs=1e-4)
        rounded = np.round(np.clip(damaged, 0, 1) * 255) / 255
        expected = reference.peak_signal_noise_ratio(clean, rounded, data_range=1)
        assert row["restored"]["psnr"] == pytest.approx(expected, abs=1e-3)
    for key in ("psnr", "ssim", "rmse", "mae"):
        assert report.restored[key] == pytest.approx(
            np.mean([row["restored"][key] for row in report.images])
        )


def test_same_seed_same_scores_and_another_seed_others(pictures):
    one = evaluate(same, pictures, "gaussian:0..0.2", seed=3)
    assert without_times(one) == without_times(evaluate(same, pictures, "gaussian:0..0.2", seed=3))
    assert one.damaged != evaluate(same, pictures, "gaussian:0..0.2", seed=4).damaged


def test_the_score_of_a_picture_depends_on_no_other(pictures):
    whole = evaluate(same, pictures, "salt_pepper:0.1")
    few = evaluate(same, pictures, "salt_pepper:0.1", limit=2)
    assert [row["index"] for row in few.images] == [0, 2]
    assert few.images[1] == whole.images[2]
    assert (few.n, few.total) == (2, 4)


def test_clipping_is_said_and_done(pictures):
    seen = []

    def look(picture):
        seen.append((picture.min(), picture.max()))
        return picture

    assert evaluate(look, pictures, "gaussian:0.5").clipped
    assert min(low for low, _ in seen) >= 0
    seen.clear()
    assert not evaluate(look, pictures, "gaussian:0.5", clip=False).clipped
    assert min(low for low, _ in seen) < 0


@pytest.mark.parametrize("channels", [1, 3])
def test_the_published_protocol_is_that_of_the_published_tables(channels):
    """Written out with numpy and scikit-image alone, from 8 bits to 8 bits."""
    given = arrays((40, 33), (24, 57), channels=channels)
    report = evaluate(same, Pictures.from_arrays(given), "gaussian:25/255", published=True)
    for clean, row in zip(given, report.images, strict=True):
        np.random.seed(0)
        noisy = clean / 255 + np.random.normal(0, 25 / 255, clean.shape)
        expected = reference.peak_signal_noise_ratio(clean / 255, noisy, data_range=1)
        assert row["damaged"]["psnr"] == pytest.approx(expected, abs=1e-4)
        restored = np.uint8((noisy.clip(0, 1) * 255).round())
        expected = reference.peak_signal_noise_ratio(clean, restored)
        assert row["restored"]["psnr"] == pytest.approx(expected, abs=1e-4)
        window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected = reference.structural_similarity(clean, restored, channel_axis=2, **window)
        assert row["restored"]["ssim"] == pytest.approx(expected, abs=1e-4)
    told = json.loads(report.to_json())
    assert (told["protocol"], told["clipped"]) == ("published", False)
    assert "published protocol" in report.table().splitlines()[0]


def test_the_published_noise_is_not_ours_and_is_said(pictures):
    ours = evaluate(same, pictures, "gaussian:25/255", clip=False)
    assert json.loads(ours.to_json())["protocol"] == "own"
    theirs = evaluate(same, pictures, "gaussian:25/255", clip=True, published=True)
    assert theirs.damaged != ours.damaged
    assert theirs.damaged["psnr"] == pytest.approx(ours.damaged["psnr"], abs=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"damage": "gaussian:0..0.1"}, "gaussian:0..0.1"),
        ({"damage": "gaussian:0.1+jpeg:40"}, "jpeg:40"),
        ({"damage": "gaussian:0.1 | none"}, "none"),
        ({"damage": "salt_pepper:0.1"}, "salt_pepper"),
        ({"damage": "none"}, "none"),
        ({"data": Pictures.from_arrays(arrays((8, 8)), arrays((8, 8))), "damage": None}, "pairs"),
        ({"data": Pictures.from_arrays([np.zeros((8, 8, 1), np.float32)])}, "8 bits"),
        ({"seed": 3}, "seed 3"),
    ],
)
def test_the_published_protocol_refuses_what_no_table_has(pictures, options, says):
    given = {"data": pictures, "damage": "gaussian:0.1", **options}
    with pytest.raises(
        OptionError, match=r"^the published protocol has no place for [^\n]+$"
    ) as no:
        evaluate(same, published=True, **given)
    assert says in str(no.value)


def test_no_damage_scores_reconstruction(pictures):
    report = evaluate(same, pictures, "none")
    assert report.restored["psnr"] == 100
    assert report.restored["ssim"] == pytest.approx(1, abs=1e-6)


def test_a_model_that_works_in_place_cannot_touch_the_clean_picture(pictures):
    def wipe(picture):
        picture[:] = 0
        return picture

    assert evaluate(wipe, pictures, "none").restored["psnr"] < 20


def test_pairs_are_scored_as_they_are():
    clean, damaged = arrays((16, 16), (9, 20)), arrays((16, 16), (9, 20), seed=1)
    report = evaluate(same, Pictures.from_arrays(clean, damaged))
    assert (report.damage, report.clipped) == ("pairs", False)
    expected = reference.peak_signal_noise_ratio(clean[1], damaged[1])
    assert report.images[1]["restored"]["psnr"] == pytest.approx(expected, abs=1e-3)


def test_damage_that_nobody_named_is_that_of_the_recipe_or_asked_for(pictures, tmp_path):
    with pytest.raises(OptionError, match="give the damage"):
        evaluate(same, pictures)
    model = create("conv", channels=(4,), image_channels=1)
    path = save(model, tmp_path / "m.safetensors", recipe={"damage": {"with": "gaussian:0.3"}})
    assert evaluate(path, pictures).damage == "gaussian:0.3"


@pytest.mark.parametrize("learnt", [True, False])
def test_a_damage_that_nobody_named_is_clipped_as_it_was_in_training(pictures, tmp_path, learnt):
    model = create("conv", channels=(4,), image_channels=1)
    recipe = {"damage": {"with": "gaussian:0.3", "clip": learnt}}
    path = save(model, tmp_path / "m.safetensors", recipe=recipe)
    assert evaluate(path, pictures).clipped == learnt
    assert evaluate(path, pictures, "gaussian:0.3").clipped
    assert evaluate(path, pictures, clip=not learnt).clipped != learnt


def test_a_damage_that_is_named_passes_over_the_pairs_and_says_so():
    pairs = Pictures.from_arrays(arrays((16, 16)), arrays((16, 16), seed=1))
    report = evaluate(same, pairs, "gaussian:0.1")
    assert report.damaged["psnr"] == pytest.approx(20, abs=1)
    assert "not the pairs that are there" in report.table()
    assert "the pairs" not in evaluate(same, pairs).table()


def test_a_seed_below_nothing_is_refused(pictures):
    with pytest.raises(OptionError, match="seed -1 is not possible"):
        evaluate(same, pictures, "gaussian:0.1", seed=-1)


def test_deep_pictures_are_not_rounded():
    deep = [array.astype(np.float32) / 255 for array in arrays((16, 16))]
    report = evaluate(lambda x: x + 1e-4, Pictures.from_arrays(deep), "none")
    assert not report.rounded
    assert report.restored["psnr"] < 99


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("model_channels", [1, 3])
def test_grey_and_colour_models_take_grey_and_colour_data(channels, model_channels):
    data = Pictures.from_arrays(arrays((16, 16), (11, 19), channels=channels))
    model = create("conv", channels=(4,), image_channels=model_channels)
    report = evaluate(model, data, "gaussian:0.1")
    assert report.channels == channels
    assert np.isfinite(report.restored["psnr"])


def test_data_given_by_name_turns_grey_for_a_grey_model(tmp_path):
    for i, array in enumerate(arrays(*[(16, 16)] * 10, channels=3)):
        Image.fromarray(array).save(tmp_path / f"{i}.png")
    model = create("conv", channels=(4,), image_channels=1)
    assert evaluate(model, tmp_path, "gaussian:0.1", split="all").channels == 1
    assert evaluate(same, tmp_path, "gaussian:0.1", split="all").channels == 3


def test_a_network_of_somebody_else_is_judged_too(pictures):
    colour = Pictures.from_arrays(arrays((16, 16), channels=3))
    for data in (pictures, colour):
        halved = evaluate(Halve(), data, "none")
        by_hand = evaluate(lambda picture: picture / 2, data, "none")
        assert halved.restored == pytest.approx(by_hand.restored)


def test_a_model_and_its_file_have_the_same_scores(pictures, tmp_path):
    model = create("conv", channels=(4,), image_channels=1)
    path = save(model, tmp_path / "m.safetensors")
    in_memory = evaluate(model, pictures, "gaussian:0.1")
    from_file = evaluate(path, pictures, "gaussian:0.1")
    assert from_file.restored == pytest.approx(in_memory.restored, rel=1e-5)
    assert from_file.model == "m"


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(pictures, training):
    model = create("conv", channels=(4,), image_channels=1).train(training)
    evaluate(model, pictures, "gaussian:0.1")
    assert model.training is training


def test_batches_give_what_pictures_alone_give():
    same_size = Pictures.from_arrays(arrays(*[(16, 16)] * 7))
    model = create("conv", channels=(4,), image_channels=1)
    together = evaluate(model, same_size, "gaussian:0.1")
    alone = evaluate(model, same_size, "gaussian:0.1", limit=1)
    assert together.images[0]["restored"] == pytest.approx(alone.images[0]["restored"], rel=1e-4)


def test_large_pictures_go_through_in_windows_without_a_seam(monkeypatch):
    from pellucid.restore import tiles

    data = Pictures.from_arrays(arrays((150, 170)))
    torch.manual_seed(0)
    model = create("conv", channels=(4, 4), image_channels=1)
    whole = evaluate(model, data, "gaussian:0.1")
    monkeypatch.setattr(tiles, "SIDES", (64, 64))
    windows = evaluate(model, data, "gaussian:0.1")
    assert windows.restored == pytest.approx(whole.restored, abs=1e-4)


def test_a_model_that_gives_no_number_is_reported_as_null(pictures):
    report = evaluate(lambda picture: picture * np.nan, pictures, "gaussian:0.1")
    told = json.loads(report.to_json())
    assert told["restored"]["psnr"] is None
    assert told["damaged"]["psnr"] > 0
    assert "-" in report.table().split("restored")[1]


def test_examples_are_the_best_the_median_and_the_worst(pictures):
    def spoil(picture):
        return picture if picture.shape[0] == 24 else picture * 0

    report = evaluate(spoil, pictures, "gaussian:0.1")
    assert [example.label for example in report.examples] == ["best", "median", "worst"]
    assert report.examples[0].clean.shape == (24, 17, 1)
    scores = [example.after for example in report.examples]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 30])
def test_any_number_of_pictures_has_examples(count):
    report = evaluate(same, Pictures.from_arrays(arrays(*[(8, 8)] * count)), "gaussian:0.1")
    assert len(report.examples) == {1: 1, 2: 2, 3: 3, 8: 3}.get(count, 9)


@pytest.mark.parametrize("size", [(1, 1), (2, 40), (1, 13)])
def test_tiny_pictures_have_scores(size):
    report = evaluate(same, Pictures.from_arrays(arrays(size)), "gaussian:0.1")
    assert np.isfinite(list(report.restored.values())).all()


def test_bad_options_are_told_in_one_line(pictures, tmp_path):
    wrong = [
        {"limit": 0},
        {"baselines_limit": -1},
        {"baselines": ["bm4d"]},
        {"damage": "gausian:0.1"},
        {"model": tmp_path / "none.safetensors"},
        {"model": 3},
        {"model": lambda picture: picture[:-1]},
        {"data": tmp_path / "nowhere"},
        {"data": "digits", "split": "tset"},
    ]
    for options in wrong:
        with pytest.raises(PellucidError, match=r"^[^\n]+$"):
            evaluate(**{"model": same, "data": pictures, "damage": "gaussian:0.1", **options})


def test_a_network_for_holes_is_not_judged_without_any(pictures):
    model = create("inpaint", channels=(4, 6), blocks=1)
    with pytest.raises(OptionError, match=r"fills holes .* none in 'gaussian:0.1'; give a damage"):
        evaluate(model, pictures, "gaussian:0.1")
    assert evaluate(model, pictures, "mask:0.5").n == 4


def test_a_dataset_is_judged_on_the_split_asked_for():
    parts = [Pictures.from_arrays(arrays(*[(8, 8)] * n)) for n in (5, 3, 2)]
    data = Dataset("mine", *parts)
    assert evaluate(same, data, "none").n == 2
    assert evaluate(same, data, "none", split="validation").n == 3
    assert evaluate(same, data, "none", split="all").n == 10


def test_the_examples_run():
    assert doctest.testmod(module).failed == 0
