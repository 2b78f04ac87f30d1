"""What codecs give for what they take: bits, decibels and seconds of ours, JPEG, WebP and AVIF.

    PELLUCID_DATA=data python benchmarks/compression.py -o codecs.json --plot codecs.png

Every setting of every codec goes over all pictures of a folder or data set. Bits are those of the
whole **file**. PSNR is over all three channels, then the mean over pictures; MS-SSIM is
torchmetrics' (Wang, Simoncelli, Bovik 2003), for pictures of more than 160 pixels a side. The
others are at their fair best: JPEG progressive, its Huffman tables optimised, 4:2:0; WebP method 6;
AVIF speed 6. At matched bits the curves are interpolated over the logarithm of the rate.

The saving is Bjontegaard's (2001, VCEG-M33): the mean difference of the logarithm of the rate over
the decibels that both reach, here where the other takes 0.2 to 1 bits a pixel. His cubic through
all points swings where they are many; piecewise cubics that keep rising (Fritsch and Carlson 1980)
are what later practice uses (JCT-VC common test conditions).
"""

from __future__ import annotations

import argparse
import io
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.interpolate import PchipInterpolator
from tables import machine, parser, run, save, table

from pellucid import images
from pellucid.errors import DataError
from pellucid.images import Picture
from pellucid.learn.places import find
from pellucid.restore import zoo
from pellucid.restore.codec import Codec
from pellucid.uses.compress import compressed, decompress

Samples = NDArray[np.uint8]

RATES = (0.2, 0.35, 0.5, 0.75, 1.0)
DATA = ("cbsd68", "set12")
LADDERS = {
    "JPEG": (3, 5, 8, 12, 16, 22, 30, 40, 50, 60, 70, 80, 88, 94),
    "WebP": (1, 4, 8, 14, 22, 32, 44, 56, 68, 78, 86, 92),
    "AVIF": (8, 14, 20, 26, 32, 38, 44, 50, 56, 62, 68, 75, 82, 90),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"optimize": True, "progressive": True, "subsampling": "4:2:0"},
    "WebP": {"method": 6},
    "AVIF": {"speed": 6},
}
OURS = "pellucid"


@dataclass(frozen=True)
class Point:
    """Means over the pictures at one setting.

    Args:
        setting: The codec's quality.
        bpp: Bits a pixel.
        psnr: Decibels.
        ms_ssim: None where the pictures are too small.
        encode: Seconds a picture.
        decode: Likewise.
    """

    setting: int
    bpp: float
    psnr: float
    ms_ssim: float | None
    encode: float
    decode: float


def pillow(kind: str) -> tuple[Callable[..., bytes], Callable[[bytes], Samples]]:
    """Writer and reader of one of Pillow's formats."""

    def encode(samples: Samples, quality: int) -> bytes:
        file = io.BytesIO()
        grey = samples.shape[2] == 1
        image = Image.fromarray(samples[..., 0] if grey else samples)
        image.save(file, kind, quality=quality, **OPTIONS[kind])
        return file.getvalue()

    return encode, lambda data: np.asarray(Image.open(io.BytesIO(data)))


def ours(codec: Codec) -> tuple[Callable[..., bytes], Callable[[bytes], Samples]]:
    """The same of a codec of this package."""

    def encode(samples: Samples, quality: int) -> bytes:
        return compressed(Picture(samples), codec, quality=quality).data

    return encode, lambda data: decompress(data, model=codec).samples


def curve(name: str, codec: Codec | None, pictures: Sequence[Samples]) -> list[Point]:
    """Every setting of one codec over all pictures."""
    if codec is None:
        (encode, decode), settings = pillow(name), LADDERS[name]
    else:
        (encode, decode), settings = ours(codec), tuple(range(1, codec.qualities + 1))
    decode(encode(pictures[0], settings[0]))  # what is opened at the first use is not timed
    points = []
    for setting in settings:
        figures = [measured(samples, setting, encode, decode) for samples in pictures]
        bpp, psnr, similar, seconds_in, seconds_out = zip(*figures, strict=True)
        known = [value for value in similar if value is not None]
        points.append(
            Point(
                setting,
                statistics.mean(bpp),
                statistics.mean(psnr),
                statistics.mean(known) if known else None,
                statistics.mean(seconds_in),
                statistics.mean(seconds_out),
            )
        )
        told = f"{name} {setting}: {points[-1].bpp:.3f} bits, {points[-1].psnr:.2f} dB"
        print(told, file=sys.stderr)
    return points


def measured(
    samples: Samples, setting: int, encode: Callable[..., bytes], decode: Callable[..., Samples]
) -> tuple[float, float, float | None, float, float]:
    """Bits a pixel, PSNR, MS-SSIM, and seconds to encode and decode."""
    began = time.perf_counter()
    data = encode(samples, setting)
    between = time.perf_counter()
    made = decode(data)
    ended = time.perf_counter()
    made = made[..., None] if made.ndim == 2 else made
    if made.shape[2] > samples.shape[2]:  # WebP and AVIF know no grey
        made = np.rint(made[..., :3].mean(axis=2, keepdims=True)).astype(np.uint8)
    error = np.square(made.astype(np.float64) - samples).mean()
    psnr = 10 * math.log10(255**2 / error) if error else 100.0
    bpp = 8 * len(data) / (samples.shape[0] * samples.shape[1])
    return bpp, psnr, ms_ssim(made, samples), between - began, ended - between


def ms_ssim(made: Samples, clean: Samples) -> float | None:
    """Multiscale structural similarity; None for pictures too small for its five scales."""
    if min(clean.shape[:2]) <= 160:
        return None
    import torch
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    pair = [torch.from_numpy(one.transpose(2, 0, 1)[None] / np.float32(1)) for one in (made, clean)]
    return float(multiscale_structural_similarity_index_measure(*pair, data_range=255.0))


def rising(xs: Sequence[float], ys: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points in the order of x, without those at which neither grows."""
    kept: list[tuple[float, float]] = []
    for x, y in sorted(zip(xs, ys, strict=True)):
        if not kept or (x > kept[-1][0] and y > kept[-1][1]):
            kept.append((x, y))
    return [x for x, _ in kept], [y for _, y in kept]


def at(points: Sequence[Point], bpp: float, what: str = "psnr") -> float | None:
    """PSNR or another score at a rate, between the settings; None outside what was measured."""
    values = [getattr(point, what) for point in points]
    if None in values:
        return None
    rates, scores = rising([math.log(point.bpp) for point in points], values)
    inside = rates[0] - 1e-9 <= math.log(bpp) <= rates[-1] + 1e-9
    if not inside or len(rates) < 2:
        return None
    return float(PchipInterpolator(rates, scores)(math.log(bpp)))


def saving(mine: Sequence[Point], theirs: Sequence[Point]) -> float | None:
    """Bits that are saved at equal PSNR, a share of theirs; None where the curves do not meet."""
    curves = []
    for points in (mine, theirs):
        rates, scores = rising([math.log(p.bpp) for p in points], [p.psnr for p in points])
        if len(rates) < 2:
            return None
        curves.append((PchipInterpolator(scores, rates), scores[0], scores[-1]))
    (my_rate, low, high), (their_rate, *ends) = curves
    # Where they take 0.2 to 1 bits a pixel, or as far as they were measured.
    lowest, highest = at(theirs, RATES[0]), at(theirs, RATES[-1])
    low = max(low, ends[0] if lowest is None else lowest)
    high = min(high, ends[1] if highest is None else highest)
    if not low < high:
        return None
    apart = my_rate.integrate(low, high) - their_rate.integrate(low, high)
    return 1 - math.exp(float(apart) / (high - low))


def pictures_of(name: str, limit: int | None) -> tuple[str, list[Samples]]:
    """The 8-bit pictures of a folder, or of a data set by its name."""
    folder = Path(name) if Path(name).is_dir() else find(name)
    if folder is None:
        raise DataError(f"no folder '{name}' here or under $PELLUCID_DATA; give one that is there")
    found = [images.read(path).upright() for path in images.find(folder)[:limit]]
    if deep := [picture for picture in found if picture.samples.dtype != np.uint8]:
        raise DataError(f"{folder}: {len(deep)} pictures have more than 8 bits; JPEG has no more")
    return folder.name, [picture.samples for picture in found]


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else f"{value:{form}}"


def told_in_tables(curves: dict[str, list[Point]]) -> str:
    """Tables of what each codec gives at matched bits, and of bits saved and seconds."""
    rates = [f"{rate:g} bpp" for rate in RATES]
    parts = []
    for what, title, form in (("psnr", "PSNR, dB", ".2f"), ("ms_ssim", "MS-SSIM", ".4f")):
        rows = [
            [name, *(shown(at(points, rate, what), form) for rate in RATES)]
            for name, points in curves.items()
        ]
        parts.append(table([title, *rates], rows))
    mine = curves.get(OURS)
    rows = []
    for name, points in curves.items():
        near = min(points, key=lambda point: abs(math.log(point.bpp / 0.5)))
        saved = saving(mine, points) if mine and name != OURS else None
        rows.append([
            name,
            "-" if saved is None else f"{100 * saved:.1f} %",
            f"{near.encode:.3f}",
            f"{near.decode:.3f}",
        ])  # fmt: skip
    head = ["codec", f"bits that {OURS} saves", "s to encode, 0.5 bpp", "s to decode"]
    return "\n\n".join([*parts, table(head, rows)])


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("data", nargs="*", default=list(DATA), help="folders, or data sets by name")
    read.add_argument("-m", "--model", default=zoo.CODEC, help="a codec's name or file")
    read.add_argument("--only", nargs="+", choices=[OURS, *LADDERS], default=[OURS, *LADDERS])
    read.add_argument("--limit", type=int, help="pictures of each data set")
    read.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the first data set")
    given: argparse.Namespace = read.parse_args(arguments)
    codec = Codec.open(given.model) if OURS in given.only else None
    told: dict[str, Any] = {**machine(), "codec": codec.card if codec else None, "data": {}}
    for place, name in enumerate(given.data):
        title, pictures = pictures_of(name, given.limit)
        if codec is not None and codec.channels < pictures[0].shape[2]:
            raise DataError(f"{title} has colours and codec '{codec.name}' is for grey pictures")
        curves = {one: curve(one, codec if one == OURS else None, pictures) for one in given.only}
        savings = {
            one: saving(curves[OURS], points)
            for one, points in curves.items()
            if OURS in curves and one != OURS
        }
        told["data"][title] = {
            "pictures": len(pictures),
            "curves": {one: [asdict(point) for point in points] for one, points in curves.items()},
            "savings": savings,
        }
        print(f"\n{title}, {len(pictures)} pictures\n\n{told_in_tables(curves)}")
        if given.plot and place == 0:
            from pellucid.report.plots import rates

            lines = {one: [(p.bpp, p.psnr) for p in points] for one, points in curves.items()}
            rates(lines, given.plot, title=f"{title}, {len(pictures)} pictures")
    save(given.out, told)


if __name__ == "__main__":
    run(main)
