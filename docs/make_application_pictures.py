"""Make the pictures of docs/applications.md: ``python docs/make_application_pictures.py``.

The blocks of the page are run as they stand, in an empty folder, and what they leave is put side by
side. Nothing is downloaded.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import blocks
import numpy as np
from PIL import Image

from pellucid.report.panel import draw

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images"


def side_by_side(pictures: Sequence[Image.Image], height: int) -> Image.Image:
    """Pictures in a row, each resized to `height`, with a little white between."""
    gap, scaled = 6, []
    for picture in pictures:
        how = Image.Resampling.NEAREST if picture.height < height else Image.Resampling.LANCZOS
        wide = round(picture.width * height / picture.height)
        scaled.append(picture.convert("RGB").resize((wide, height), how))
    row = Image.new("RGB", (sum(s.width + gap for s in scaled) - gap, height), "white")
    left = 0
    for picture in scaled:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows below each other."""
    whole = Image.new("RGB", (max(r.width for r in rows), sum(r.height + 6 for r in rows) - 6))
    whole.paste("white", (0, 0, *whole.size))
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height + 6
    return whole


def as_small(picture: Image.Image, size_bytes: int) -> Image.Image:
    """The picture as the best JPEG that takes no more bytes."""
    for quality in range(95, 0, -1):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality, optimize=True, progressive=True)
        if file.tell() <= size_bytes:
            break
    return Image.open(file).convert("RGB")


def made(folder: Path) -> dict[str, Image.Image]:
    """The pictures of the page from what its blocks left in `folder`."""

    def left(name: str) -> Image.Image:
        return Image.open(folder / name).convert("RGB")

    kinds = {"whole": "as it is", "scratched": "scratched"}
    patches = [[np.asarray(left(f"maps/{kind}{i}.png")) for i in (1, 4, 6)] for kind in kinds]
    with (folder / "scores.csv").open(newline="") as file:
        scores = {Path(row["path"]).stem: float(row["score"]) for row in csv.DictReader(file)}
    told = [[f"score {scores[f'{kind}{i}']:.2f}" for i in (1, 4, 6)] for kind in kinds]
    whole = left("photo.png")
    small = as_small(whole, (folder / "photo.plc").stat().st_size)
    part = (160, 40, 416, 232)
    return {
        "use-noise": side_by_side([left("noise/damaged/photo.png"), left("clean.png")], 384),
        "use-page": side_by_side([left("page.png"), left("page-clean.png")], 240),
        "use-holes": side_by_side([left("holed.png"), left("filled.png")], 384),
        "use-defects": draw(patches, rows=list(kinds.values()), captions=told, least=160),
        "use-map": left("map.png"),
        "use-new": stacked([left("new.png"), left("paths.png").resize((866, 444))]),
        "use-small": side_by_side([p.crop(part) for p in (whole, small, left("back.png"))], 288),
    }


def main() -> None:
    """Make all of them, at most 1,200 pixels a side."""
    with TemporaryDirectory() as name:
        blocks.run(DOCS / "applications.md", Path(name))
        for stem, picture in made(Path(name)).items():
            picture.thumbnail((1200, 1200))
            path = IMAGES / f"{stem}.png"
            picture.save(path, optimize=True)
            print(path, np.asarray(picture).shape)


if __name__ == "__main__":
    sys.exit(main())
