"""Pages in files as what judges them needs: in greys, in pairs, damaged, restored.

Read next: `reading` and `binarizing`, which judge them.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from pellucid import images
from pellucid.errors import DataError
from pellucid.images import Picture
from pellucid.learn.damage import Damage
from pellucid.learn.lesson import seeded
from pellucid.report.page_filters import Page
from pellucid.restore.denoise import restore_picture
from pellucid.restore.twins import Twins

DPI = 200
"""Of a page that does not say its own."""

UNTOUCHED = "untouched"

LEAST_DPI = 70
"""Below it a file's resolution is not that of a scan but a default."""


def paired(data: str | Path) -> list[tuple[str, Path, Path]] | None:
    """Name and both pages of every pair in ``noisy:clean``; None where it names no two folders.

    Raises:
        DataError: No page has a partner of its name.
    """
    noisy, colon, clean = str(data).rpartition(":")
    if not colon or Path(data).exists():
        return None
    pages, partners = ({path.stem: path for path in images.find(side)} for side in (noisy, clean))
    both = sorted(pages.keys() & partners.keys())
    if not both:
        raise DataError(f"no page of {noisy} has a partner of its name in {clean}")
    return [(stem, pages[stem], partners[stem]) for stem in both]


def grey_page(path: Path) -> tuple[Page, int]:
    """A page upright and in greys, (H, W) uint8, and its pixels an inch (`DPI` unless it says)."""
    picture = images.read(path).upright()
    pixels = picture.pixels.mean(axis=2)
    dpi = round(picture.dpi[0]) if picture.dpi and picture.dpi[0] >= LEAST_DPI else DPI
    return np.rint(255 * pixels.clip(0, 1)).astype(np.uint8), dpi


def damaged_page(page: Page, damage: Damage, name: str, seed: int) -> Page:
    """A page damaged by draws that its name and the seed decide."""
    chance = seeded(torch.device("cpu"), seed, zlib.crc32(name.encode()))
    given = torch.from_numpy(page)[None, None].float() / 255
    made = damage(given, generator=chance, clip=True)
    return np.asarray((255 * made[0, 0]).round().byte())


def restored_page(page: Page, runner: Twins) -> Page:
    """A page as a model gives it back."""
    restored: Page = restore_picture(Picture(page[..., None]), runner).samples[..., 0]
    return restored
