"""Promises of the transformer: it is scikit-learn's kind of estimator, and a curved PCA."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from pellucid.errors import OptionError
from pellucid.learn import checkpoints
from pellucid.sklearn import AutoencoderTransformer

QUICK = {"channels": (8, 8), "epochs": 2, "random_state": 0}


# None is expected to fail.
@parametrize_with_checks([AutoencoderTransformer(epochs=4)])
def test_scikit_learns_own_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def fitted(digits: tuple[np.ndarray, np.ndarray]) -> AutoencoderTransformer:
    made = AutoencoderTransformer(16, epochs=12, random_state=0, device="cpu")
    return made.fit(digits[0][:1400])


def test_digits_come_back_better_than_from_pca(
    fitted: AutoencoderTransformer, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    from sklearn.decomposition import PCA

    train, test = digits[0][:1400], digits[0][1400:]
    pca = PCA(16).fit(train)
    lost = np.square(pca.inverse_transform(pca.transform(test)) - test).mean()
    assert -fitted.score(test) < 0.9 * lost


def test_codes_come_back_in_the_units_of_the_data(
    fitted: AutoencoderTransformer, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    test = digits[0][1400:]
    back = fitted.inverse_transform(fitted.transform(test))
    assert back.shape == test.shape
    assert back.max() > 12
    assert np.square(back - test).mean() == pytest.approx(-fitted.score(test))


def test_a_rows_code_is_its_own_affair(
    fitted: AutoencoderTransformer, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    rows = digits[0][:700]
    whole = fitted.transform(rows)
    np.testing.assert_allclose(fitted.transform(rows[5:6]), whole[5:6], rtol=1e-10)
    assert fitted.transform(rows.astype(np.float32)).dtype == np.float32


def test_the_network_is_one_of_ours(fitted: AutoencoderTransformer, tmp_path: Any) -> None:
    path = checkpoints.save(fitted.network_, tmp_path / "m.safetensors")
    again = checkpoints.load(path)
    assert again.options["code_size"] == 16
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(again(image), fitted.network_(image))


def test_a_pickle_gives_the_same_codes(
    fitted: AutoencoderTransformer, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(again.transform(digits[0][:9]), fitted.transform(digits[0][:9]))


def test_the_same_seed_gives_the_same_codes_and_torchs_chance_is_left_alone() -> None:
    rows = np.random.default_rng(0).random((40, 64))
    before = torch.random.get_rng_state()
    one, other = (AutoencoderTransformer(4, **QUICK).fit_transform(rows) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(one, other)
    another = clone(AutoencoderTransformer(4, **QUICK)).set_params(random_state=1)
    assert not np.allclose(another.fit_transform(rows), one)
    seeded = AutoencoderTransformer(4, **{**QUICK, "random_state": np.random.RandomState(5)})
    assert np.isfinite(seeded.fit_transform(rows)).all()


def test_it_works_in_a_pipeline_and_a_grid_search(digits: tuple[np.ndarray, np.ndarray]) -> None:
    rows, labels = digits[0][:200], digits[1][:200]
    pipe = make_pipeline(
        AutoencoderTransformer(**{**QUICK, "epochs": 10}), LogisticRegression(max_iter=2000)
    )
    grid = {"autoencodertransformer__code_size": np.array([2, 16])}
    search = GridSearchCV(pipe, grid, cv=2).fit(rows, labels)
    assert search.best_params_["autoencodertransformer__code_size"] == 16
    assert search.best_score_ > 0.5
    assert search.predict(rows).shape == (200,)


def test_it_is_searched_by_its_own_score() -> None:
    rows = np.random.default_rng(0).random((60, 64)) * 9 - 3
    search = GridSearchCV(AutoencoderTransformer(**QUICK), {"code_size": [1, 2]}, cv=2).fit(rows)
    assert search.best_score_ < 0


@pytest.mark.parametrize(
    ("features", "given", "shape"),
    [
        (64, None, (8, 8, 1)),
        (49, None, (1, 49, 1)),
        (10, None, (1, 10, 1)),
        (96, (8, 12), (8, 12, 1)),
        (108, [6, 6, 3], (6, 6, 3)),
    ],
)
def test_the_shape_of_a_row_is_given_or_found(
    features: int, given: Any, shape: tuple[int, int, int]
) -> None:
    rows = np.random.default_rng(0).random((20, features))
    made = AutoencoderTransformer(3, image_shape=given, **QUICK).fit(rows)
    assert made.image_shape_ == shape
    assert made.transform(rows).shape == (20, 3)
    assert made.inverse_transform(made.transform(rows)).shape == rows.shape


def test_colours_are_where_reshape_puts_them() -> None:
    rows = np.zeros((30, 8, 8, 3))
    rows[..., 0] = np.random.default_rng(0).random((30, 8, 8))
    flat = rows.reshape(30, -1)
    made = AutoencoderTransformer(
        8, image_shape=(8, 8, 3), epochs=30, random_state=0, learning_rate=5e-3
    ).fit(flat)
    back = made.inverse_transform(made.transform(flat)).reshape(rows.shape)
    assert back[..., 0].mean() > 4 * back[..., 1:].mean()


def test_a_table_of_other_units_is_coded_better_than_by_its_means() -> None:
    rows = load_iris().data * [1, 1000, 1e-3, 1] + [0, 5, 0, -70]
    made = AutoencoderTransformer(2, epochs=60, random_state=0).fit(rows)
    lost = np.square(made.inverse_transform(made.transform(rows)) - rows).mean(0)
    assert (lost < 0.5 * rows.var(0)).all()


def test_pictures_in_the_unit_range_are_left_as_they_are() -> None:
    rows = np.random.default_rng(0).random((20, 64)) * 0.5
    made = AutoencoderTransformer(3, **QUICK).fit(rows)
    assert (float(made.offset_), float(made.scale_)) == (0, 1)
    moved = AutoencoderTransformer(3, **QUICK).fit(rows * 255 - 9)
    assert float(moved.scale_) == pytest.approx(np.ptp(rows) * 255)


def test_learning_to_undo_noise_is_an_option() -> None:
    rows = np.random.default_rng(0).random((20, 64))
    plain = AutoencoderTransformer(3, **QUICK).fit_transform(rows)
    denoising = AutoencoderTransformer(3, damage="gaussian:0.3", **QUICK).fit_transform(rows)
    assert not np.allclose(plain, denoising)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"image_shape": (8, 9)}, "is 72 numbers but X has 64 features"),
        ({"image_shape": (4, 4, 4)}, "1 or 3 channels"),
        ({"image_shape": (64,)}, r"give \(height, width\)"),
        ({"image_shape": 8}, r"image_shape is 8; give \(height, width\)"),
        ({"channels": 4}, r"channels is 4; give the width of each level"),
        ({"epochs": 0}, "train.epochs"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"code_size": 0}, "code_size is 0; from 1 to"),
        ({"code_size": 2.5}, "a whole number"),
        ({"code_size": None}, "a whole number"),
        ({"image_shape": (None, 8)}, r"give \(height, width\)"),
        ({"image_shape": (8.0, 8)}, r"give \(height, width\)"),
        ({"image_shape": "88"}, r"give \(height, width\)"),
        ({"damage": "gausian:0.1"}, "did you mean 'gaussian'"),
        ({"device": "tpu"}, "not available"),
    ],
)
def test_what_is_not_possible_is_refused_in_fit(given: dict[str, Any], says: str) -> None:
    estimator = AutoencoderTransformer(**{**QUICK, **given})
    with pytest.raises(OptionError, match=says):
        estimator.fit(np.random.default_rng(0).random((20, 64)))


def test_codes_of_another_size_are_refused() -> None:
    made = AutoencoderTransformer(3, **QUICK).fit(np.random.default_rng(0).random((20, 64)))
    with pytest.raises(OptionError, match="codes have 3 numbers but X has 4"):
        made.inverse_transform(np.zeros((2, 4)))


def test_scikit_learn_is_not_shadowed_and_the_package_stays_light() -> None:
    code = (
        "import sys, pellucid; assert 'sklearn' not in sys.modules; "
        "import pellucid.sklearn, sklearn; "
        "assert sklearn is not pellucid.sklearn; assert sklearn.__version__; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from pellucid.errors import MissingExtraError\n"
        "try: import pellucid.sklearn\n"
        "except MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'pellucid[train]'" in done.stdout
