"""How codes lie: a map with thumbnails, and the nearest neighbours of some pictures.

Drawn with numpy and Pillow. Read next: ``report.panel``, which draws the strips, and
`interpolation`, which goes from one picture to the next.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pellucid.errors import OptionError, optional, unknown
from pellucid.images.files import atomic
from pellucid.uses.embed import Embedding

WAYS = ("tsne", "pca")
"""t-SNE keeps neighbours together (van der Maaten and Hinton 2008, https://jmlr.org/papers/v9/vandermaaten08a.html),
PCA keeps distances as well as two axes can."""

MOST = 2000
"""Most pictures on a map, taken evenly from all."""

WIDTH, HEIGHT, THUMB, MARGIN = 1600, 1200, 52, 40
CROWDED = 0.06
"""Share of a thumbnail that may lie on others; where it would be more, there is a dot."""

PAPER, INK, PALE_INK, DOT = (255, 255, 255), (32, 33, 36), (95, 99, 104), (120, 144, 172)
COLOURS = (
    *((76, 120, 168), (228, 87, 46), (59, 125, 79), (178, 121, 162), (157, 117, 93)),
    *((238, 186, 48), (46, 170, 190), (214, 39, 110), (120, 120, 120), (110, 78, 200)),
)
PIECE = 4096

LEGEND = 26
"""Most classes that are named beside a map."""


@dataclass(frozen=True)
class Map:
    """What a drawn map shows: pictures placed, how many of them as thumbnails, and by which way."""

    placed: int
    thumbnails: int
    way: str


def positions(
    codes: NDArray[np.floating], way: str = "tsne", *, seed: int = 0
) -> NDArray[np.float64]:
    """Two coordinates in [0, 1] for each code.

    Args:
        codes: (N, D), N at least 1.
        way: One of `WAYS`; of fewer than 6 codes 'pca' is made in any case.
        seed: Decides what t-SNE draws.
    """
    if way not in WAYS:
        raise unknown("map", way, WAYS)
    centred = codes.astype(np.float64) - codes.mean(0, dtype=np.float64)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(codes), 2))
    flat[:, : min(2, len(s))] = (u * s)[:, :2]
    # A sign that is not the linear algebra library's choice.
    flat *= np.where(flat.sum(0) + flat[np.abs(flat).argmax(0), [0, 1]] < 0, -1, 1)
    if way == "tsne" and len(codes) >= 6 and s[0] > 0:
        manifold = optional("sklearn.manifold", "train")
        perplexity = min(30.0, (len(codes) - 1) / 3)
        start = 1e-4 * flat / flat[:, 0].std()
        found = manifold.TSNE(perplexity=perplexity, init=start, random_state=seed % 2**32)
        # More than fifty axes slow t-SNE down and hardly change it, as its authors found.
        flat = found.fit_transform((u * s)[:, :50]).astype(np.float64)
    span = flat.max(0) - flat.min(0)
    spread: NDArray[np.float64] = (flat - flat.min(0)) / np.where(span > 0, span, 1)
    return np.where(span > 0, spread, 0.5)


def draw_map(embedding: Embedding, path: str | Path, *, way: str = "tsne", seed: int = 0) -> Map:
    """Write `map_of` as PNG."""
    image, drawn = map_of(embedding, way=way, seed=seed)
    with atomic(path) as file:
        image.save(file, format="PNG", compress_level=3)
    return drawn


def map_of(embedding: Embedding, *, way: str = "tsne", seed: int = 0) -> tuple[Image.Image, Map]:
    """A map of the codes as a picture, and what it shows.

    Pictures that lie alone are shown; where thumbnails would cover one another, dots are.

    Args:
        embedding: From `embed`; of more than `MOST`, evenly spaced ones are taken.
        way: One of `WAYS`.
        seed: Decides what t-SNE draws, and which pictures are shown where it is crowded.
    """
    total = len(embedding)
    rows = np.arange(min(MOST, total)) * total // min(MOST, total)
    where = positions(embedding.codes[rows], way, seed=seed)
    labels = None if embedding.labels is None else embedding.labels[rows]
    present = [] if labels is None else sorted(set(labels.tolist()))
    legend = 0
    if labels is not None and len(present) <= LEGEND:
        names = [embedding.class_names[label] for label in present]
        legend = 48 + max(int(_font(20).getlength(name[:24])) for name in names)
    room = np.array([WIDTH - 2 * MARGIN - THUMB, HEIGHT - 2 * MARGIN - THUMB])
    corner = (where * room + MARGIN).astype(int)
    image = Image.new("RGB", (WIDTH + legend, HEIGHT + 44), PAPER)
    pen = ImageDraw.Draw(image)
    colours = [DOT] * len(rows) if labels is None else [colour(label) for label in labels.tolist()]
    for (x, y), dye in zip((corner + THUMB // 2).tolist(), colours, strict=True):
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=dye)
    shown = _uncrowded(corner, seed)
    for i in shown:
        x, y = corner[i].tolist()
        thumb = thumbnail(embedding.picture(int(rows[i])), THUMB)
        x, y = x + (THUMB - thumb.width) // 2, y + (THUMB - thumb.height) // 2
        edge = (x - 3, y - 3, x + thumb.width + 2, y + thumb.height + 2)
        pen.rectangle(edge, fill=colours[i])
        image.paste(thumb, (x, y))
    if legend:
        for line, label in enumerate(present):
            y = MARGIN + 40 * line
            pen.rectangle((WIDTH, y, WIDTH + 22, y + 22), fill=colour(label))
            name = embedding.class_names[label][:24]
            pen.text((WIDTH + 32, y + 11), name, fill=INK, font=_font(20), anchor="lm")
    called = {"tsne": "t-SNE", "pca": "PCA"}[way]
    of = f" of {total:,}" if total > len(rows) else ""
    said = f"{called} of {embedding.codes.shape[1]} numbers; {len(rows):,}{of} pictures, "
    said += f"{len(shown):,} shown and the others dots" if len(shown) < len(rows) else "all shown"
    pen.text((MARGIN, HEIGHT + 12), said, fill=PALE_INK, font=_font(20))
    return image, Map(len(rows), len(shown), way)


def _uncrowded(corner: NDArray[np.int_], seed: int) -> list[int]:
    """Which thumbnails to show, so that they hardly lie on one another, in order of drawing."""
    taken = np.zeros((HEIGHT, WIDTH), bool)
    shown = []
    for i in np.random.default_rng(seed).permutation(len(corner)):
        x, y = corner[i]
        box = taken[y : y + THUMB, x : x + THUMB]
        if box.mean() <= CROWDED:
            box[:] = True
            shown.append(int(i))
    return shown


def colour(label: int) -> tuple[int, int, int]:
    """The colour of a class; after the first ten, hues by the golden section."""
    if label < len(COLOURS):
        return COLOURS[label]
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1, 0.6, 0.75)
    return round(255 * red), round(255 * green), round(255 * blue)


def thumbnail(picture: np.ndarray, side: int) -> Image.Image:
    """The picture (H, W, C) in a square of `side`, in colour; small ones with sharp pixels."""
    if picture.dtype != np.uint8:
        picture = np.rint(picture.clip(0, 1) * 255).astype(np.uint8)
    whole = Image.fromarray(
        np.ascontiguousarray(np.squeeze(picture, 2) if picture.shape[2] == 1 else picture)
    )
    factor = side / max(whole.size)
    size = (max(1, round(whole.width * factor)), max(1, round(whole.height * factor)))
    way = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    return whole.resize(size, way).convert("RGB")


def nearest_rows(
    codes: NDArray[np.floating], row: int, count: int
) -> tuple[list[int], list[float]]:
    """The rows whose codes are nearest to that of `row`, without it, and their distances."""
    starts = range(0, len(codes), PIECE)  # the differences of all at once would be a second set
    parts = [np.linalg.norm(codes[i : i + PIECE] - codes[row], axis=1) for i in starts]
    away = np.concatenate(parts).astype(np.float64)
    away[row] = np.inf
    order = np.argsort(away, kind="stable")[: min(count, len(codes) - 1)]
    return order.tolist(), away[order].tolist()


@dataclass(frozen=True)
class Strips:
    """Pictures and their neighbours as `report.panel` takes them."""

    cells: list[list[np.ndarray]]
    captions: list[list[str]]
    columns: list[str]


def strips(embedding: Embedding, count: int = 8, *, lines: int = 10) -> Strips:
    """For some pictures the `count` whose codes are nearest, one line each.

    The pictures are one of each class where classes are known, else evenly spaced.

    Raises:
        OptionError: Fewer than two pictures, or no neighbour asked for.
    """
    if count < 1:
        raise OptionError(f"{count} neighbours are not possible; give at least 1")
    if len(embedding) < 2:
        raise OptionError("one picture has no neighbours; give more pictures")
    cells, captions = [], []
    for row in _chosen(embedding, lines):
        near, away = nearest_rows(embedding.codes, row, count)
        cells.append([np.asarray(thumbnail(embedding.picture(i), 96)) for i in (row, *near)])
        said = [
            f"{distance:.3g}{_class(embedding, i)}" for i, distance in zip(near, away, strict=True)
        ]
        captions.append([_class(embedding, row).strip() or embedding.paths[row][-14:], *said])
    columns = ["picture", "nearest"]
    return Strips(cells, captions, columns)


def _chosen(embedding: Embedding, lines: int) -> Sequence[int]:
    if embedding.labels is not None:
        firsts = np.unique(embedding.labels, return_index=True)[1]
        if len(firsts) >= 2:
            return [int(row) for row in firsts[:lines]]
    count = min(lines, len(embedding))
    return [int(row) for row in np.arange(count) * len(embedding) // count]


def _class(embedding: Embedding, row: int) -> str:
    if embedding.labels is None:
        return ""
    return f"  {embedding.class_names[int(embedding.labels[row])][:12]}"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
