"""Magnetic resonance with Rician noise and X-rays with photon noise: PSNR, SSIM, and flat regions.

    PELLUCID_DATA=data python benchmarks/medical.py medical --xrays xrays -o medical.json

Slices are those of the test part of `medical_images`; X-rays are pictures of any format, each
made smaller by a whole number, which averages their own noise away, until its sides are at most
640. Both are counted from 0 to their 99.9th percentile, noise is not clipped, and each method gets
values as an instrument gives them (0 to 1000). Beside the network, which is told nothing, stand
non-local means and BM3D, told the noise: for Rician noise also with the bias taken off, sqrt(y^2 -
2 sigma^2) (R. D. Nowak, "Wavelet-based Rician noise removal for magnetic resonance imaging", IEEE
TIP 8, 1999, https://doi.org/10.1109/83.791966); for photons within the transform of Anscombe and
its unbiased inverse (M. Makitalo, A. Foi, IEEE TIP 20, 2011,
https://doi.org/10.1109/TIP.2010.2056693). "flat" is the error of the mean, root mean square over
the blocks of 8x8 pixels without structure, in thousandths of the range. Needs the extra
`baselines`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tables import parser, run, save, slashed, table

Plane = NDArray[np.float32]
Method = Callable[[Plane, float], Plane]

SIGMAS = (0.03, 0.06, 0.10)
PEAKS = (200, 50, 10)
COUNTS = 1000.0
LARGEST = 640
BLOCK = 8
FLAT = 0.01
"""Standard deviation of a block that has no structure."""


def slices() -> list[Plane]:
    """The slices that are kept for the test."""
    from pellucid.errors import DataError
    from pellucid.learn import datasets
    from pellucid.learn.medical_images import SLICES

    test = datasets.load("medical_images", channels=1).test
    chosen = [i for i, path in enumerate(test.paths) if path.startswith(SLICES)]
    if not chosen:
        raise DataError(f"no slices of {SLICES} are at hand")
    return [test.image(index)[0][0].numpy() for index in chosen]


def xrays(folder: Path) -> Iterator[Plane]:
    """Pictures as light: from 0 to 1, smaller, their own noise averaged."""
    from pellucid import images
    from pellucid.images.picture import scaled

    for path in images.find(folder) if folder.is_dir() else [folder]:
        whole = np.nan_to_num(scaled(images.read(path).samples).mean(axis=2))
        times = -(-max(whole.shape) // LARGEST)
        height, width = (side // times for side in whole.shape)
        cut = whole[: height * times, : width * times]
        small = cut.reshape(height, times, width, times).mean(axis=(1, 3))
        yield (small / np.quantile(small, 0.999)).clip(0, 1).astype(np.float32)


def unbiased(method: Method) -> Method:
    """For Rician noise of this sigma: the bias of the mean square taken off."""
    return lambda y, sigma: np.sqrt(np.maximum(method(y, sigma) ** 2 - 2 * sigma**2, 0))


def stabilised(method: Method) -> Method:
    """For photons, so many at white: made noise of one sigma, and back."""

    def through(y: Plane, peak: float) -> Plane:
        low, high = 2 * np.sqrt(3 / 8), 2 * np.sqrt(y.max() * peak + 3 / 8)
        spread = max(high - low, 1e-6)
        even = (2 * np.sqrt(np.maximum(y * peak, 0) + 3 / 8) - low) / spread
        d = np.maximum(method(even.astype(np.float32), 1 / spread) * spread + low, low)
        root = np.sqrt(1.5)
        counts = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8
        back: Plane = np.maximum(counts, 0).astype(np.float32) / np.float32(peak)
        return back

    return through


def network(model: str) -> Method:
    """A model of ours, given values as an instrument gives them and told nothing."""
    from pellucid.restore.denoise import denoise

    return lambda y, _: denoise(y * np.float32(COUNTS), model=model) / np.float32(COUNTS)


def rivals() -> dict[str, Method]:
    """Non-local means and BM3D."""
    from pellucid.report.baselines import bm3d, nlm

    return {
        "NLM": lambda y, sigma: nlm(y[..., None], sigma)[..., 0],
        "BM3D": lambda y, sigma: bm3d(y[..., None], sigma)[..., 0],
    }


def flat_error(restored: Plane, clean: Plane) -> float:
    """How far the means of flat blocks are off, root mean square, in thousandths."""
    height, width = (side // BLOCK * BLOCK for side in clean.shape)
    shape = height // BLOCK, BLOCK, width // BLOCK, BLOCK
    truth, found = (picture[:height, :width].reshape(shape) for picture in (clean, restored))
    flat = truth.std(axis=(1, 3)) < FLAT
    wrong = (found - truth).mean(axis=(1, 3))[flat]
    return 1000 * float(np.sqrt(np.mean(wrong**2))) if flat.any() else 0.0


def scores(
    pictures: Sequence[Plane], damage: str, strength: float, methods: dict[str, Method]
) -> dict[str, dict[str, float]]:
    """Means over pictures, by method."""
    from pellucid.learn import metrics
    from pellucid.learn.damage import parse

    chain, found = parse(damage), {name: [] for name in methods}
    for index, clean in enumerate(pictures):
        chance = torch.Generator().manual_seed(index)
        damaged = chain(torch.from_numpy(clean)[None, None], generator=chance, clip=False)
        for name, method in methods.items():
            restored = method(damaged[0, 0].numpy(), strength)
            pair = [
                torch.from_numpy(np.array(plane))[None, None].clamp(0, 1)
                for plane in (restored, clean)
            ]
            found[name].append(
                {
                    "psnr": float(metrics.psnr(*pair)),
                    "ssim": float(metrics.ssim(*pair)),
                    "flat": flat_error(restored, clean),
                }
            )
    return {
        name: {key: statistics.mean(one[key] for one in told) for key in told[0]}
        for name, told in found.items()
    }


def show(title: str, told: dict[str, dict[str, dict[str, float]]]) -> None:
    """A table: strengths side by side, a line for each method."""
    names = next(iter(told.values()))
    rows = [
        [name, *(slashed([one[name][key] for one in told.values()], form) for key, form in FORMS)]
        for name in names
    ]
    print(table([f"{title} {' / '.join(told)}", "PSNR", "SSIM", "flat"], rows), end="\n\n")


FORMS = (("psnr", ".2f"), ("ssim", ".3f"), ("flat", ".1f"))


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, score and save."""
    read = parser(__doc__)
    read.add_argument("model", nargs="+", help="names or files of models")
    read.add_argument("--xrays", type=Path, help="X-rays, a file or a folder")
    read.add_argument("--only-model", action="store_true", help="leave NLM and BM3D out")
    given = read.parse_args(words)
    ours = {name: network(name) for name in given.model}
    others = {} if given.only_model else rivals()
    nothing: dict[str, Method] = {"as it came": lambda y, _: y}
    without = {f"{name}, bias removed": unbiased(method) for name, method in others.items()}
    within = {f"{name}, stabilised": stabilised(method) for name, method in others.items()}
    rician = {**nothing, **others, **without, **ours}
    heads = slices()
    told = {"rician": {f"{s:g}": scores(heads, f"rician:{s}", s, rician) for s in SIGMAS}}
    show(f"{len(heads)} slices, Rician sigma", told["rician"])
    if given.xrays is not None:
        pictures = list(xrays(given.xrays))
        photons = {**nothing, **within, **ours}
        told["poisson"] = {
            f"{peak}": scores(pictures, f"poisson:{peak}", peak, photons) for peak in PEAKS
        }
        show(f"{len(pictures)} X-rays, photons at white", told["poisson"])
    save(given.out, told)


if __name__ == "__main__":
    run(main)
