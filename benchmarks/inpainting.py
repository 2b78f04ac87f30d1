"""Holes filled: a network beside Telea, Navier-Stokes and biharmonic, small pictures and large.

    PELLUCID_DATA=data python benchmarks/inpainting.py small --runs runs -o small.json
    PELLUCID_DATA=data python benchmarks/inpainting.py photographs -o photographs.json

`small`: MNIST, Fashion-MNIST and CIFAR-10, each with a hole in the middle of half its side and with
half of the pixels missing at random; the recipes inpaint-mnist, inpaint-fashion and inpaint-cifar10
are trained unless their folders are there. ``--cifar cifar10_lossless`` takes another copy of
CIFAR-10. The first 300 test pictures are judged, which is how the figures were made that are to be
beaten; all of them do not change a network's by more than a tenth.
`photographs`: CBSD68, 50 % and 80 % of the pixels missing, and lettering over all of it, by the
network in the box; with ``--grey``, BSD68.

Decibels are those of the mean squared error of all missing pixels together, of all pictures.
The classical methods see the same pictures and masks: A. Telea 2004 and M. Bertalmio et al. 2001
with OpenCV's radius 3 on 8 bits, and S. B. Damelin and N. S. Hoang 2018 (biharmonic, scikit-image).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tables
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pellucid.errors import optional
from pellucid.learn import datasets, recipes
from pellucid.learn.sources import TEST
from pellucid.report.runs import run as train
from pellucid.restore import inpaint, zoo
from pellucid.restore.twins import open_twins

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

SMALL = {"mnist": "inpaint-mnist", "fashion_mnist": "inpaint-fashion", "cifar10": "inpaint-cifar10"}
JUDGED = 300
LETTERING = "What lies beneath these words has to be guessed from what is seen around them. "
RADIUS = 3


def centre(height: int, width: int, chance: np.random.Generator) -> Mask:
    """The square in the middle, of half the side."""
    lost = np.zeros((height, width), bool)
    top, left = height // 4, width // 4
    lost[top : top + height // 2, left : left + width // 2] = True
    return lost


def scattered(share: float) -> Callable[[int, int, np.random.Generator], Mask]:
    """That share of the pixels, one by one."""
    return lambda height, width, chance: chance.random((height, width)) < share


def lettered(height: int, width: int, chance: np.random.Generator) -> Mask:
    """Lines of type over the whole picture, about a sixth of its pixels."""
    page = Image.new("L", (width, height))
    draw, size = ImageDraw.Draw(page), 22
    font = ImageFont.load_default(size)
    for row, top in enumerate(range(0, height, size + 4)):
        begin = row * 17 % len(LETTERING)
        line = (LETTERING[begin:] + LETTERING * 3)[: width // 6]
        draw.text((2, top), line, fill=255, font=font, stroke_width=0)
    return np.asarray(page) > 127


def telea(picture: Pixels, lost: Mask) -> Pixels:
    """Fast marching."""
    return _opencv(picture, lost, "INPAINT_TELEA")


def navier_stokes(picture: Pixels, lost: Mask) -> Pixels:
    """Isophotes carried on."""
    return _opencv(picture, lost, "INPAINT_NS")


def _opencv(picture: Pixels, lost: Mask, method: str) -> Pixels:
    cv2 = optional("cv2", "baselines")
    seen = np.rint(picture * 255).astype(np.uint8)
    seen[lost] = 0
    filled = cv2.inpaint(seen, lost.astype(np.uint8), RADIUS, getattr(cv2, method))
    return np.asarray(filled, np.float32).reshape(picture.shape) / np.float32(255)


def biharmonic(picture: Pixels, lost: Mask) -> Pixels:
    """The smoothest surface."""
    restoration = optional("skimage.restoration", "baselines")
    seen = np.where(lost[..., None], 0, picture)
    filled = restoration.inpaint_biharmonic(seen, lost, channel_axis=2)
    return np.clip(filled, 0, 1).astype(np.float32)


CLASSICAL = {"Telea": telea, "Navier-Stokes": navier_stokes, "biharmonic": biharmonic}


def judged(
    pictures: Sequence[Pixels],
    holes: Callable[[int, int, np.random.Generator], Mask],
    methods: dict[str, Callable[[Pixels, Mask], Pixels]],
) -> dict[str, dict[str, float]]:
    """Decibels in the holes and seconds a picture, by method."""
    chance = np.random.default_rng(0)
    masks = [holes(*picture.shape[:2], chance) for picture in pictures]
    found = {}
    for name, method in methods.items():
        error, count, own, start = 0.0, 0, [], time.perf_counter()
        for picture, lost in zip(pictures, masks, strict=True):
            wrong = np.square(method(picture, lost)[lost] - picture[lost], dtype=np.float64)
            error, count = error + float(wrong.sum()), count + wrong.size
            own.append(-10 * np.log10(max(float(wrong.mean()), 1e-10)))
        took = (time.perf_counter() - start) / len(pictures)
        decibels = -10 * float(np.log10(error / count))
        found[name] = {"db": decibels, "mean_db": float(np.mean(own)), "seconds": took}
    return found


def network(model: Any, *, ensemble: bool = False) -> Callable[[Pixels, Mask], Pixels]:
    """The package's own way: a name, a run folder or a file."""
    runner = open_twins(model, device="cpu", ensemble=ensemble)

    def fill(picture: Pixels, lost: Mask) -> Pixels:
        flat = picture.shape[2] == 1
        given = picture[..., 0] if flat else picture
        filled = inpaint.inpaint(given.copy(), lost.astype(np.uint8), model=runner)
        return filled.reshape(picture.shape)

    return fill


def small(told: argparse.Namespace) -> dict[str, Any]:
    """Rows of the small pictures."""
    found = {}
    for name in told.data:
        data = told.cifar if name == "cifar10" else name
        folder = told.runs / f"{SMALL[name]}-{data}"
        if not (folder / "report.json").exists():
            changes = [f"data.name={data}", *told.set]
            train(recipes.read(SMALL[name], changes), folder, resume=True)
        pictures = _pictures(data, told.limit or JUDGED)
        methods = {**CLASSICAL, "network": network(folder, ensemble=told.ensemble)}
        for what, holes in {"centre": centre, "50 %": scattered(0.5)}.items():
            found[f"{name}, {what}"] = judged(pictures, holes, methods)
    return found


def photographs(told: argparse.Namespace) -> dict[str, Any]:
    """Rows of the photographs."""
    data = "bsd68" if told.grey else "cbsd68"
    pictures = _pictures(data, told.limit)
    methods = {**CLASSICAL, "network": network(told.model, ensemble=told.ensemble)}
    holes = {"50 %": scattered(0.5), "80 %": scattered(0.8), "lettering": lettered}
    return {f"{data}, {what}": judged(pictures, each, methods) for what, each in holes.items()}


def _pictures(name: str, limit: int | None) -> list[Pixels]:
    part = datasets.load(name).split(TEST)
    count = min(len(part), limit or len(part))
    return [part.image(index)[0].permute(1, 2, 0).numpy() for index in range(count)]


def main(given: Sequence[str] | None = None) -> None:
    parser = tables.parser(__doc__)
    parser.add_argument("what", choices=("small", "photographs"))
    parser.add_argument("--data", nargs="+", default=list(SMALL), choices=list(SMALL))
    parser.add_argument("--cifar", default="cifar10", metavar="NAME")
    parser.add_argument("--grey", action="store_true")
    parser.add_argument("--ensemble", action="store_true", help="all eight views of a picture")
    parser.add_argument("--model", default=zoo.INPAINT, metavar="NAME|RUN")
    parser.add_argument("--limit", type=int, metavar="N", help="judge so many pictures only")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR")
    told = parser.parse_args(given)
    rows = small(told) if told.what == "small" else photographs(told)
    tables.save(told.out, {"machine": tables.machine(), "rows": rows})
    names = [*CLASSICAL, "network"]
    lines = [
        [row, *(f"{scores[name]['db']:.2f}" for name in names), _ahead(scores)]
        for row, scores in rows.items()
    ]
    print(tables.table(["missing", *names, "ahead of the best"], lines))


def _ahead(scores: dict[str, dict[str, float]]) -> str:
    best = max(scores[name]["db"] for name in CLASSICAL)
    return f"{scores['network']['db'] - best:+.2f}"


if __name__ == "__main__":
    tables.run(main)
