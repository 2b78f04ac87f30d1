"""Make the pictures of README and tutorial with our own code.

``python docs/make_pictures.py`` runs the tutorial as it stands and keeps some of what it leaves,
and restores the photograph china.jpg that comes with scikit-learn: with the model in the box, or
with one that it trains for a few minutes. Nothing is downloaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import pellucid
from pellucid.images.files import atomic
from pellucid.learn import datasets, recipes
from pellucid.learn.damage import parse
from pellucid.report.runs import run
from pellucid.restore import zoo

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"
NOISE = "gaussian:25/255"
SEEN = (slice(45, 345), slice(60, 460))
"""Rows and columns of the photograph that the README shows, at full resolution."""

FROM_THE_TUTORIAL = {
    "epoch-first.png": "runs/first/epochs/0001.png",
    "epoch-last.png": "runs/first/epochs/0012.png",
    "curves.png": "runs/first/curves.png",
    "judged.png": "panel.png",
}


def before_after(model: str | Path | None = None) -> Path:
    """The README's first picture: a photograph with noise, and the same one restored.

    Args:
        model: What restores it; by default the model in the box or, where there is none yet, one
            that is trained here.
    """
    clean = datasets.load("photographs", channels=3).test.image(0)
    damaged = parse(NOISE)(clean, generator=torch.Generator().manual_seed(0), clip=True)
    noisy = np.rint(damaged[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    with TemporaryDirectory() as folder:
        if model is None and zoo.DEFAULT not in zoo.names():
            run(recipes.read("photo-minute"), Path(folder) / "run", device="cpu", progress=True)
            model = Path(folder) / "run"
        restored = pellucid.denoise(noisy, model=model, device="cpu")
    sides = (noisy, np.rint(restored.clip(0, 1) * 255).astype(np.uint8))
    return _side_by_side([side[SEEN] for side in sides], ("before", "after"))


def three() -> list[Path]:
    """Photographs that come with scikit-image, damaged as cameras and the web do, and restored.

    Each is shown as it came, restored, and by what was taken away, four times enlarged on grey.
    None of them is in `clean_photographs`.
    """
    pictures = {path: i for i, path in enumerate(datasets.load("photographs").split("all").paths)}
    whole = datasets.load("photographs", channels=3).split("all")
    made = []
    for index, (name, (corner, damage)) in enumerate(SHOWN.items()):
        top, left = corner
        clean = whole.image(pictures[name])[..., top : top + 256, left : left + 384]
        chance = torch.Generator().manual_seed(index)
        damaged = parse(damage)(clean, generator=chance, clip=True)
        noisy = np.rint(damaged[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        restored = pellucid.denoise(noisy, device="cpu").clip(0, 1)
        taken = np.clip(0.5 + 4 * (noisy / 255 - restored), 0, 1)
        sides = [noisy, *(np.rint(side * 255).astype(np.uint8) for side in (restored, taken))]
        names = (damage, "restored", "taken away, x4")
        made.append(_side_by_side(sides, names, f"photo-{index + 1}.png"))
    return made


SHOWN = {
    "coffee.png": ((100, 120), "camera:0.08"),
    "astronaut.png": ((0, 60), "grain:20/255+jpeg:80"),
    "chelsea.png": ((20, 40), "gaussian:35/255"),
}
"""Pictures of scikit-image, the top left corner of the part that is shown, and the damage."""


def _side_by_side(
    sides: list[np.ndarray], names: tuple[str, ...], file_name: str = "before-after.png"
) -> Path:
    """Pictures next to one another, each with its name in a corner."""
    line = np.full((sides[0].shape[0], 6, 3), 255, np.uint8)
    parts = [part for side in sides for part in (line, side)][1:]
    image = Image.fromarray(np.concatenate(parts, axis=1))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(22)
    step = sides[0].shape[1] + line.shape[1]
    for name, left in zip(names, range(0, step * len(names), step), strict=True):
        pen.text(
            (left + 14, 12), name, fill="white", font=font, stroke_width=2, stroke_fill="black"
        )
    path = IMAGES / file_name
    with atomic(path) as file:
        image.save(file, format="PNG", optimize=True)
    return path


def tutorial() -> list[Path]:
    """The pictures of the tutorial: what its own blocks leave."""
    sys.path.insert(0, str(DOCS))
    import blocks

    with TemporaryDirectory() as name:
        folder = Path(name)
        # Only what the pictures come from; the last section would download.
        blocks.run(DOCS / "tutorial.md", folder, until="## 5.")
        for target, source in FROM_THE_TUTORIAL.items():
            copyfile(folder / source, IMAGES / target)
    return [IMAGES / target for target in FROM_THE_TUTORIAL]


def main() -> None:
    """Make all of them; an argument names the model for the photograph."""
    IMAGES.mkdir(exist_ok=True)
    model = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else None
    for path in [before_after(model), *three(), *tutorial()]:
        print(path)


if __name__ == "__main__":
    main()
