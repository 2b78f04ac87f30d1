"""What people do to scans before OCR without a network: `PAGE_FILTERS`.

Each takes and gives a grey page (H, W) of uint8. OpenCV does the work; the extra ``baselines``
brings it. Read next: `reading`, which has the pages read.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pellucid.errors import optional
from pellucid.restore.noise import estimate_sigma

Page = NDArray[np.uint8]

_PAPER_CLOSING, _PAPER_MEDIAN = 15, 31
"""Sides in pixels: larger than a stroke is wide, and than letters are apart."""

_SAUVOLA_SIDE, _SAUVOLA_K = 25, 0.2


def nlm(page: Page) -> Page:
    """Non-local means of OpenCV, its strength by the noise that is found."""
    cv2 = optional("cv2", "baselines")
    # White that clipped half of the noise hides it, so it is never told less than 10.
    strength = float(np.clip(1.2 * 255 * estimate_sigma(page[..., None]), 10, 80))
    return np.asarray(cv2.fastNlMeansDenoising(page, None, strength, 7, 21))


def median(page: Page) -> Page:
    """Median of 3x3."""
    return np.asarray(optional("cv2", "baselines").medianBlur(page, 3))


def otsu(page: Page) -> Page:
    """One threshold for the page (Otsu 1979, https://doi.org/10.1109/TSMC.1979.4310076)."""
    cv2 = optional("cv2", "baselines")
    return np.asarray(cv2.threshold(page, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1])


def sauvola(page: Page) -> Page:
    """A threshold for each pixel from its neighbourhood's mean and spread.

    J. Sauvola, M. Pietikäinen, "Adaptive document image binarization", Pattern Recognition 33,
    2000, https://doi.org/10.1016/S0031-3203(99)00055-2.
    """
    cv2 = optional("cv2", "baselines")
    values, window = page.astype(np.float32), (_SAUVOLA_SIDE, _SAUVOLA_SIDE)
    mean = cv2.blur(values, window)
    variance = cv2.sqrBoxFilter(values, cv2.CV_32F, window) - mean * mean
    spread = np.sqrt(np.maximum(variance, 0))
    is_paper = values > mean * (1 + _SAUVOLA_K * (spread / 128 - 1))
    return np.where(is_paper, 255, 0).astype(np.uint8)


def background_division(page: Page) -> Page:
    """The page over its paper, which is what closing and a wide median leave of it."""
    cv2 = optional("cv2", "baselines")
    closing = np.ones((_PAPER_CLOSING, _PAPER_CLOSING), np.uint8)
    closed = cv2.morphologyEx(page, cv2.MORPH_CLOSE, closing)
    paper = cv2.medianBlur(closed, _PAPER_MEDIAN).astype(np.float32)
    even: Page = np.clip(255 * (page / np.maximum(paper, 1)), 0, 255).astype(np.uint8)
    return even


def median_and_background(page: Page) -> Page:
    """Both, one after the other."""
    return background_division(median(page))


def unpaper(page: Page) -> Page:
    """The program of that name, told to clean and not to move anything."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.pgm"), Path(folder, "out.pgm")
        Image.fromarray(page).save(source)
        command = ["unpaper", "-q", "--layout", "none", "--no-border-align", "--no-mask-center"]
        command += ["--no-deskew", str(source), str(target)]
        subprocess.run(command, capture_output=True, check=False)
        if not target.exists():
            return page
        with Image.open(target) as image:
            return np.asarray(image.convert("L"))


PAGE_FILTERS: dict[str, Callable[[Page], Page]] = {
    "nlm": nlm,
    "median": median,
    "otsu": otsu,
    "sauvola": sauvola,
    "background": background_division,
    "median+background": median_and_background,
}


def at_hand() -> dict[str, Callable[[Page], Page]]:
    """All that this machine has; unpaper is a program of its own."""
    return PAGE_FILTERS | ({"unpaper": unpaper} if shutil.which("unpaper") else {})
