"""Black and white pages from a network, beside three thresholds: F-measure and PSNR.

    python benchmarks/binarizing.py document dibco -o binarizing.json

The folder holds NAME_source.png, a photographed or scanned page, and NAME_target.png, what its
ink is (black), as the DIBCO contests give them. Their measures: FM is the harmonic mean of the
shares of found ink that is ink and of ink that is found, in percent; PSNR is that of pictures of
0 and 1 (I. Pratikakis et al., "ICDAR 2011 Document Image Binarization Contest", ICDAR 2011,
https://doi.org/10.1109/ICDAR.2011.299). Means over pages. Needs the extra `baselines`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import parser, run, save, table

Page = NDArray[np.uint8]
SOURCE, TARGET = "_source", "_target"


def measures(found: NDArray[np.bool_], ink: NDArray[np.bool_]) -> tuple[float, float]:
    """FM in percent, and PSNR in dB."""
    both = float((found & ink).sum())
    fm = 200 * both / max(1.0, float(found.sum() + ink.sum()))
    wrong = float((found != ink).mean())
    return fm, float(-10 * np.log10(max(wrong, 1 / found.size)))


def pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """Name, page and truth of every pair."""
    from pellucid import images
    from pellucid.errors import DataError

    pages = [path for path in images.find(folder) if path.stem.endswith(SOURCE)]
    targets = [path.with_stem(path.stem.removesuffix(SOURCE) + TARGET) for path in pages]
    found = [
        (page.stem.removesuffix(SOURCE), page, target)
        for page, target in zip(pages, targets, strict=True)
        if target.is_file()
    ]
    if not found:
        raise DataError(f"{folder}: no NAME{SOURCE} with a NAME{TARGET} beside it")
    return found


def methods(model: str) -> dict[str, Callable[[Page], NDArray[np.bool_]]]:
    """From a page to where its ink is."""
    from pellucid.images import Picture
    from pellucid.report.page_filters import background_division, otsu, sauvola
    from pellucid.restore.bilevel import bilevel
    from pellucid.restore.denoise import restore_picture
    from pellucid.restore.twins import open_twins

    runner = open_twins(model)

    def network(page: Page) -> NDArray[np.bool_]:
        restored = restore_picture(Picture(page[..., None]), runner).samples
        return bilevel(restored)[..., 0] == 0

    return {
        model: network,
        "Otsu": lambda page: otsu(page) == 0,
        "Sauvola": lambda page: sauvola(page) == 0,
        "background division, then Otsu": lambda page: otsu(background_division(page)) == 0,
    }


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, score and save."""
    from pellucid.report.reading import grey_page

    read = parser(__doc__)
    read.add_argument("model", help="a model's name or file")
    read.add_argument("folder", type=Path, help="pages and what their ink is")
    given = read.parse_args(words)
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    chosen = methods(given.model)
    for name, source, target in pairs(given.folder):
        page, ink = grey_page(source)[0], grey_page(target)[0] < 128
        for method, binarized in chosen.items():
            began = time.perf_counter()
            fm, psnr = measures(binarized(page), ink)
            seconds = time.perf_counter() - began
            told[method].append({"page": name, "fm": fm, "psnr": psnr, "seconds": seconds})
    rows = [
        [method, *(f"{np.mean([one[key] for one in found]):.1f}" for key in ("fm", "psnr"))]
        for method, found in told.items()
    ]
    count = len(next(iter(told.values())))
    print(table([f"{count} pages", "FM", "PSNR"], rows))
    save(given.out, told)


if __name__ == "__main__":
    run(main)
