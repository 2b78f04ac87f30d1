"""A convolutional autoencoder among scikit-learn's estimators: fit, transform, inverse_transform.

    from pellucid.sklearn import AutoencoderTransformer

It stands where PCA would: in a pipeline, in a grid search, on arrays (N, features). Imported by its
name only, so that ``import pellucid`` stays light. Read next: `uses.embed`, for pictures in files.
"""

from __future__ import annotations

import copy
import math
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import OptionError, making

with making():
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data

Floats = NDArray[np.floating[Any]]

LEAST_SIDE = 8
"""A square number of features is taken for a picture from this side on."""

BATCH = 512


class AutoencoderTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Codes of a small convolutional autoencoder that is trained on the data: a curved PCA.

    Rows are pictures, flattened as ``numpy.reshape`` does. What is no picture is taken for one of a
    single row, so that every table can be transformed; there PCA is often the better choice.

    Args:
        code_size: Numbers in a code.
        image_shape: Height and width, or height, width and channels (1 or 3), of what a row holds.
            None takes a square number of features, from 64 on, for a square picture, and any other
            number for a picture of one row.
        channels: Width of each level of the network; each halves the picture.
        epochs: Passes over the data. A tenth of it is held out, and the best epoch kept.
        batch: Rows in a batch.
        learning_rate: At its highest; it falls to nothing along a cosine.
        damage: What the network learns to undo, e.g. ``gaussian:0.1``, on the [0, 1] scale: codes
            that noise moves less. 'none' trains a plain autoencoder.
        device: Where to train: 'auto', 'cpu', 'cuda' or 'mps'.
        random_state: Decides weights, order and damage: a number, a generator or None.

    Attributes:
        network_: The trained `ConvAutoencoder`, on the CPU; `checkpoints.save` writes it.
        image_shape_: Height, width and channels.
        offset_: What is subtracted before all else: one number for pictures, one for each feature
            of other tables.
        scale_: What is divided by then, so that the training data lie in [0, 1].
        history_: A row for each epoch, with ``train_loss`` and ``val_loss``.
        n_features_in_: Features seen in `fit`.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.linear_model import LogisticRegression
        >>> X, y = load_digits(n_class=2, return_X_y=True)
        >>> codes = AutoencoderTransformer(8, epochs=2, random_state=0).fit_transform(X)
        >>> codes.shape
        (360, 8)
    """

    def __init__(
        self,
        code_size: int = 16,
        *,
        image_shape: tuple[int, ...] | None = None,
        channels: tuple[int, ...] = (32, 64),
        epochs: int = 30,
        batch: int = 32,
        learning_rate: float = 4e-3,
        damage: str = "none",
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.code_size = code_size
        self.image_shape = image_shape
        self.channels = channels
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.damage = damage
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> AutoencoderTransformer:
        """Train a network on the rows of `X`.

        Args:
            X: (N, features), any finite numbers.
            y: Not used.

        Raises:
            OptionError: A parameter is not possible; the message says what is.
            ValueError: `X` is no table of finite numbers, as scikit-learn tells it.
        """
        X = validate_data(self, X, dtype=(np.float64, np.float32))
        if not isinstance(_plain(self.code_size), int):
            raise OptionError(f"code_size is {self.code_size!r}; give a whole number")
        shape, pictured = _shape(self.image_shape, X.shape[1])
        offset, scale = _range(X, pictured)
        with making():
            torch = import_module("torch")
            from pellucid.learn import recipes
            from pellucid.learn.models import create
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        told = recipes.build(
            {
                "model": {"name": "conv"},
                "data": {"name": "arrays"},
                "damage": {"with": self.damage},
                "train": {
                    "epochs": _plain(self.epochs),
                    "batch": _plain(self.batch),
                    "learning_rate": _plain(self.learning_rate),
                    "schedule": "cosine",
                    "seed": seed,
                },
            },
            type(self).__name__,
        )
        # The weights are drawn from torch's own generator, which is the caller's and comes back.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create(
                "conv",
                channels=_widths(self.channels),
                code_size=_plain(self.code_size),
                image_size=shape[:2],
                image_channels=shape[2],
                activation="silu",
                # Of what is no picture, new rows may lie beyond all that was seen.
                output="sigmoid" if pictured else "linear",
            )
            self.history_ = _trained(network, (X - offset) / scale, shape, told, self.device)
        self.network_ = network
        self.image_shape_ = shape
        self.offset_, self.scale_ = offset, scale
        self._n_features_out = int(self.code_size)
        return self

    def transform(self, X: Any) -> Floats:
        """The codes of the rows of `X`, (N, code_size), in the precision of `X`."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        unit = (X.astype(np.float64) - self.offset_) / self.scale_
        planar = unit.reshape(len(unit), *self.image_shape_).transpose(0, 3, 1, 2)
        return self._run("encode", planar).astype(X.dtype)

    def inverse_transform(self, X: Any) -> Floats:
        """Rows (N, features) whose codes the rows of `X` (N, code_size) are, nearly."""
        check_is_fitted(self)
        X = check_array(X, dtype=(np.float64, np.float32))
        size = self._n_features_out
        if X.shape[1] != size:
            raise OptionError(
                f"codes have {size} numbers but X has {X.shape[1]}; give what transform gave"
            )
        planar = self._run("decode", X.astype(np.float64))
        rows = planar.transpose(0, 2, 3, 1).reshape(len(X), -1)
        restored: Floats = (rows * self.scale_ + self.offset_).astype(X.dtype)
        return restored

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error of `X` through the code and back, for a grid search."""
        codes = self.transform(X)
        X = check_array(X, dtype=np.float64)
        return -float(np.square(self.inverse_transform(codes.astype(np.float64)) - X).mean())

    def _run(self, method: str, planar: NDArray[np.float64]) -> NDArray[np.float64]:
        """Encode or decode in batches, in double precision: a row's code is its own affair.

        In single precision the last digits depend on how many rows share a batch.
        """
        with making():
            torch = import_module("torch")
        network = copy.deepcopy(self.network_).double().eval()
        with torch.inference_mode():
            parts = [
                getattr(network, method)(
                    torch.from_numpy(np.array(planar[i : i + BATCH], order="C"))
                )
                for i in range(0, len(planar), BATCH)
            ]
        rows: NDArray[np.float64] = torch.cat(parts).numpy()
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _trained(
    network: Any, unit: Floats, shape: tuple[int, int, int], told: Any, device: str
) -> Any:
    """Train `network` on rows in [0, 1]; a tenth of them, evenly spaced, is held out."""
    from pellucid.learn import training
    from pellucid.learn.damage import parse
    from pellucid.learn.datasets import Dataset
    from pellucid.learn.pictures import Pictures

    pictures = unit.reshape(len(unit), *shape).astype(np.float32)
    held = np.arange(len(unit)) % 10 == 9
    learnt = Pictures.from_arrays(pictures[~held])
    judged = Pictures.from_arrays(pictures[held]) if held.any() else learnt
    data = Dataset("arrays", learnt, judged, judged)
    return training.train(network, data, parse(told.damage.spec), told.train, device=device).history


def _shape(given: Any, features: int) -> tuple[tuple[int, int, int], bool]:
    """Height, width and channels of a row, and whether it is a picture."""
    if given is None:
        side = math.isqrt(features)
        square = side >= LEAST_SIDE and side**2 == features
        return ((side, side, 1), True) if square else ((1, features, 1), False)
    whole = np.iterable(given) and all(isinstance(_plain(side), int) for side in given)
    shape = tuple(int(side) for side in given) if whole else ()
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or shape[2] not in (1, 3) or min(shape) < 1:
        raise OptionError(
            f"image_shape is {given}; give (height, width) or (height, width, channels), with 1 or "
            "3 channels"
        )
    if math.prod(shape) != features:
        raise OptionError(
            f"image_shape {given} is {math.prod(shape)} numbers but X has {features} features; "
            "give the shape whose product that is"
        )
    return (shape[0], shape[1], shape[2]), True


def _widths(given: Any) -> tuple[Any, ...]:
    if not np.iterable(given):
        raise OptionError(f"channels is {given}; give the width of each level, e.g. (32, 64)")
    return tuple(_plain(width) for width in given)


def _plain(value: Any) -> Any:
    """A number of numpy's, as grids of parameters hold them, as one of Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _range(X: Floats, pictured: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What to subtract and to divide by, so that `X` lies in [0, 1]; what does already is left."""
    axis = None if pictured else 0
    low, high = X.min(axis=axis).astype(np.float64), X.max(axis=axis).astype(np.float64)
    if pictured and low >= 0 and high <= 1:
        return np.zeros(()), np.ones(())
    return np.asarray(low), np.where(high > low, high - low, 1.0)
