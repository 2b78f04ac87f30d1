"""Classical methods that a network must beat, each at its best: `BASELINES` and PCA.

All work on one picture (H, W, C) float32 in files' land, grey or colour, of any size down to 1x1.
Where a method wants the noise level it is told the true one if there is one (Gaussian noise);
otherwise `tuned` looks for what serves it best. Read next: `evaluate`, which scores them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import DataError, OptionError, optional
from pellucid.restore.noise import estimate_sigma

Pixels = NDArray[np.float32]
Setting = dict[str, float]

SIGMAS = (0.03, 0.06, 0.12, 0.25, 0.5)
"""Noise levels tried, beside the estimate, where the damage has none of its own."""

SMALLEST = 16
"""Sides below this are mirrored up to it: BM3D's library crashes on 8x8 and refuses less."""


@dataclass(frozen=True)
class Baseline:
    """A method with the settings that `tuned` may choose from.

    Attributes:
        function: ``function(damaged, sigma, **setting)`` gives the restored picture, not clipped.
        about: What it is, in a line.
        settings: Values to try of each keyword, the best guess first.
        uses_sigma: Whether it wants the noise level.
    """

    function: Callable[..., Pixels]
    about: str
    settings: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    uses_sigma: bool = False

    def __call__(self, damaged: Pixels, sigma: float | None = None, **setting: float) -> Pixels:
        """The restored picture; an unknown `sigma` is estimated, other settings have defaults."""
        if self.uses_sigma and sigma is None:
            sigma = estimate_sigma(damaged)
        return self.function(damaged, sigma, **setting)

    def candidates(self, *, sigma_known: bool) -> Iterator[Setting]:
        """Every setting to try; ``sigma`` is among the keys where a fixed level is to be tried."""
        for values in product(*self.settings.values()):
            yield dict(zip(self.settings, values, strict=True))
        if self.uses_sigma and not sigma_known:
            yield from ({"sigma": sigma} for sigma in SIGMAS)


def identity(damaged: Pixels, sigma: float | None = None) -> Pixels:
    """The damaged picture as it is: what doing nothing scores."""
    return damaged.copy()


def median(damaged: Pixels, sigma: float | None = None, *, size: float = 3) -> Pixels:
    """Median of a square neighbourhood, channel by channel; what impulse noise calls for."""
    filters = optional("scipy.ndimage", "baselines")
    return np.asarray(filters.median_filter(damaged, size=(int(size), int(size), 1)), np.float32)


def gaussian_blur(damaged: Pixels, sigma: float | None = None, *, radius: float = 1.0) -> Pixels:
    """Gaussian blur; `radius` is its standard deviation in pixels."""
    filters = optional("scipy.ndimage", "baselines")
    return np.asarray(filters.gaussian_filter(damaged, (radius, radius, 0)), np.float32)


def nlm(
    damaged: Pixels, sigma: float | None = None, *, strength: float = 0.6, patch: float = 5
) -> Pixels:
    """Non-local means of scikit-image, noise variance taken off patch distances.

    Buades, Coll, Morel, 2005, https://doi.org/10.1109/CVPR.2005.38

    Args:
        damaged: Picture (H, W, C).
        sigma: Noise level on the [0, 1] scale.
        strength: Decay of the weights as a share of sigma.
        patch: Side of a patch; 5 looks 6 pixels far, 7 looks 11.
    """
    restoration = optional("skimage.restoration", "baselines")
    if not sigma:
        return damaged.copy()

    def run(picture: Pixels) -> Pixels:
        grey = picture.shape[2] == 1
        restored = restoration.denoise_nl_means(
            picture[:, :, 0] if grey else picture,
            patch_size=int(patch),
            patch_distance=6 if patch < 7 else 11,
            h=strength * sigma,
            sigma=sigma,
            fast_mode=True,
            channel_axis=None if grey else 2,
        )
        return np.asarray(restored, np.float32).reshape(picture.shape)

    return _enlarged(run, damaged)


def opencv_nlm(damaged: Pixels, sigma: float | None = None, *, strength: float = 1.0) -> Pixels:
    """Non-local means of OpenCV, in colour on CIELAB; it sees 8 bits, clipped and rounded.

    Its documentation gives no rule for the filter strength h. This one was found on eight pictures
    that nothing is scored on (of BSDS500's training part): windows of 3x3 and h = 1.1 sigma, above
    sigma 25/255 5x5 and 0.85 sigma; in colour 3x3, 0.7 sigma for lightness, 0.8 for colours. The
    windows of 7x7 that it recommends are 0.1 to 1.1 dB worse.

    Buades, Coll, Morel, 2011, https://doi.org/10.5201/ipol.2011.bcm_nlm

    Args:
        damaged: Picture (H, W, C).
        sigma: Noise level on the [0, 1] scale.
        strength: Share of that h.
    """
    package = optional("cv2", "baselines")
    if not sigma:
        return damaged.copy()
    level = strength * 255 * sigma

    def run(picture: Pixels) -> Pixels:
        samples = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
        if picture.shape[2] == 1:
            h, patch = (1.1, 3) if sigma <= 25 / 255 else (0.85, 5)
            restored = package.fastNlMeansDenoising(samples[..., 0], None, h * level, patch, 21)
        else:
            blue_first = np.ascontiguousarray(samples[..., ::-1])
            restored = package.fastNlMeansDenoisingColored(
                blue_first, None, 0.7 * level, 0.8 * level, 3, 21
            )[..., ::-1]
        return np.asarray(restored, np.float32).reshape(picture.shape) / np.float32(255)

    return _enlarged(run, damaged)


def tv_chambolle(damaged: Pixels, sigma: float | None = None, *, strength: float = 0.8) -> Pixels:
    """Total variation by Chambolle's projection, scikit-image's.

    Chambolle, 2004, https://doi.org/10.1023/B:JMIV.0000011325.36760.1e

    Args:
        damaged: Picture (H, W, C).
        sigma: Noise level on the [0, 1] scale.
        strength: Weight as a share of sigma; 0.8 is best at 15/255 and 25/255, 0.9 at 50/255, on
            the pictures that `opencv_nlm` names.
    """
    restoration = optional("skimage.restoration", "baselines")
    if not sigma:
        return damaged.copy()
    restored = restoration.denoise_tv_chambolle(damaged, weight=strength * sigma, channel_axis=2)
    return np.asarray(restored, np.float32)


def bm3d(damaged: Pixels, sigma: float | None = None, *, share: float = 1.0) -> Pixels:
    """BM3D, in colour CBM3D, of its authors' own package.

    Dabov, Foi, Katkovnik, Egiazarian, 2007, https://doi.org/10.1109/TIP.2007.901238

    Args:
        damaged: Picture (H, W, C).
        sigma: Noise level on the [0, 1] scale.
        share: How much of it BM3D is told: on digits of 8x8 the full level smooths them away.
    """
    package = optional("bm3d", "baselines")
    if not sigma:
        return damaged.copy()
    sigma = share * sigma

    def run(picture: Pixels) -> Pixels:
        # The package divides by the range of each opponent channel, which is 0 for grey in RGB.
        opponents = picture.reshape(-1, picture.shape[2])
        if picture.shape[2] == 3:
            opponents = opponents @ np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32).T
            if np.ptp(opponents, axis=0).min() > 1e-4:
                return np.asarray(package.bm3d_rgb(picture, sigma), np.float32)
        planes = [package.bm3d(plane, sigma) for plane in np.moveaxis(picture, 2, 0)]
        return np.stack(planes, axis=2).astype(np.float32)

    return _enlarged(run, damaged)


BASELINES: dict[str, Baseline] = {
    "identity": Baseline(identity, "the damaged picture as it is"),
    "median": Baseline(median, "median of a square neighbourhood", {"size": (3, 5, 7)}),
    "gaussian_blur": Baseline(
        gaussian_blur, "Gaussian blur", {"radius": (1.0, 0.4, 0.6, 0.8, 1.4, 2.0)}
    ),
    "nlm": Baseline(
        nlm, "non-local means", {"strength": (0.6, 0.2, 0.4, 0.8), "patch": (5, 7)}, uses_sigma=True
    ),
    "opencv_nlm": Baseline(
        opencv_nlm, "non-local means of OpenCV", {"strength": (1.0, 0.8, 1.25)}, uses_sigma=True
    ),
    "tv_chambolle": Baseline(
        tv_chambolle, "total variation", {"strength": (0.8, 0.6, 1.0, 1.4)}, uses_sigma=True
    ),
    "bm3d": Baseline(
        bm3d, "block matching and 3D filtering", {"share": (1.0, 0.7, 0.4)}, uses_sigma=True
    ),
}


def tuned(
    baseline: Baseline,
    pairs: Sequence[tuple[Pixels, Pixels]],
    sigmas: Sequence[float | None],
) -> Setting:
    """The setting with the best mean PSNR on some (damaged, clean) pictures.

    Args:
        baseline: The method.
        pairs: Few and small: a method is run once for each candidate.
        sigmas: The true noise level of each, or None where there is none.

    Returns:
        Keywords for the method; holds ``sigma`` where a fixed level beat the estimate.
    """
    known = all(sigma is not None for sigma in sigmas)
    options = list(baseline.candidates(sigma_known=known))
    if len(options) == 1 or not pairs:
        return options[0]

    def score(setting: Setting) -> float:
        errors = []
        for (damaged, clean), sigma in zip(pairs, sigmas, strict=True):
            restored = baseline(damaged, **{"sigma": sigma, **setting})  # type: ignore[arg-type]
            errors.append(np.mean((np.clip(restored, 0, 1) - clean) ** 2))
        return float(-np.mean(np.log10(np.maximum(errors, 1e-10))))

    return max(options, key=score)


def pca_reconstruction(
    train: NDArray[np.generic], test: NDArray[np.generic], code_size: int
) -> Pixels:
    """Test pictures after projection on the first `code_size` principal components of `train`.

    The best linear autoencoder with a code of that size.

    Args:
        train: (N, H, W, C), uint8 or float in [0, 1]; all of one size.
        test: (M, H, W, C), same size and type.
        code_size: Numbers per picture; more than the data can span gives all that there are.

    Returns:
        (M, H, W, C) float32, not clipped.

    Raises:
        DataError: The pictures differ in size.
    """
    if train.shape[1:] != test.shape[1:] or train.ndim != 4:
        raise DataError(
            f"PCA needs pictures of one size, but these are {train.shape[1:]} and {test.shape[1:]}"
        )
    if code_size < 1:
        raise OptionError(f"code_size is {code_size}; at least 1 is needed")
    known, given = _rows(train), _rows(test)
    mean = known.mean(axis=0)
    known = known - mean
    # The smaller of the two products: pixels by pixels, or pictures by pictures.
    if len(known) >= known.shape[1]:
        axes = np.linalg.eigh(known.T @ known)[1][:, ::-1][:, :code_size]
    else:
        values, vectors = np.linalg.eigh(known @ known.T)
        keep = values[::-1][:code_size] > 1e-7 * max(values[-1], 1e-12)
        axes = known.T @ vectors[:, ::-1][:, :code_size][:, keep]
        axes = axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    restored: Pixels = (given - mean) @ axes @ axes.T + mean
    return restored.reshape(test.shape).astype(np.float32, copy=False)


def _rows(pictures: NDArray[np.generic]) -> Pixels:
    flat = pictures.reshape(len(pictures), -1)
    scale = 255 if flat.dtype == np.uint8 else 1
    return flat.astype(np.float32) / np.float32(scale)


def _enlarged(run: Callable[[Pixels], Pixels], picture: Pixels) -> Pixels:
    """Run on the picture mirrored up to `SMALLEST`, and cut the picture out again."""
    height, width = picture.shape[:2]
    down, right = max(0, SMALLEST - height), max(0, SMALLEST - width)
    if not (down or right):
        return run(picture)
    top, left = down // 2, right // 2
    border = ((top, down - top), (left, right - left), (0, 0))
    restored = run(np.pad(picture, border, mode="symmetric"))
    return restored[top : top + height, left : left + width]
