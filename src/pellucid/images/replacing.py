"""One picture in the place of a scan on a page of PDF, and whether the page then looks as it did.

Read next: `scans`, which finds what is replaced; `pdf` and `sheets`, which ask and do it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pellucid.errors import optional
from pellucid.images.painting import Matrix, glance, instructions_of, operands
from pellucid.images.picture import Array
from pellucid.images.scans import Scan

REPLACED = "/Pellucid"
"""What a page calls the picture in the place of its scan."""

_ALTERING = {"gs", "W", "W*", "BDC"}
"""What may show a picture otherwise than it is: transparency and masks, clipping, layers."""

_BLOCK, _SAME = 32, 6.0
"""Of 255: by no more do the means of blocks of two glances differ that show the same."""


def make_room(pdf: Any, page: Any, scan: Scan) -> None:
    """Let a page of the document paint a picture called `REPLACED` where it painted its scan."""
    pikepdf = optional("pikepdf", "pdf")
    wide, high = scan.high - scan.low
    place = np.array([[wide, 0, 0], [0, high, 0], [*scan.low, 1]])
    first, *others = scan.draws
    # What the page does to its units before the picture is undone, not taken out.
    back = place @ np.linalg.inv(first.matrix)
    body = [
        f"q {operands(back)} cm {REPLACED} Do Q".encode()
        if index == first.index
        else pikepdf.unparse_content_stream([one])
        for index, one in enumerate(instructions_of(page))
        if index not in {draw.index for draw in others}
    ]
    page.Contents = pdf.make_stream(b"\n".join(body))
    # Pages may share their resources, and the others keep what they had.
    resources = pikepdf.Dictionary(dict(page.get_resources().items()))
    resources.XObject = pikepdf.Dictionary(dict(resources.get("/XObject", {}).items()))
    page.Resources = resources


def stands(page: Any, instructions: Sequence[Any], scan: Scan, samples: Array) -> bool:
    """Whether the page would look as it does with these samples in the place of its scan.

    It would not where a picture is clipped, hidden in a layer, or painted through a mask or partly
    transparent, which the samples show and the page would do once more.
    """
    told = {str(one.operator) for one in instructions}
    if len(scan.draws) == 1 and not told & _ALTERING:
        return True
    pikepdf = optional("pikepdf", "pdf")
    alone = pikepdf.new()
    alone.pages.append(page)
    sheet = alone.pages[0]
    make_room(alone, sheet, scan)
    image = alone.make_stream(samples.tobytes())
    image.Type, image.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
    image.Height, image.Width, image.BitsPerComponent = *samples.shape[:2], 8
    grey = samples.shape[2] == 1
    image.ColorSpace = pikepdf.Name.DeviceGray if grey else pikepdf.Name.DeviceRGB
    sheet.Resources.XObject[REPLACED] = image
    before, after = glance(page, instructions), glance(sheet, instructions_of(sheet))
    return bool((np.abs(_blocks(before) - _blocks(after)) <= _SAME).all())


def _blocks(look: Array) -> Matrix:
    """Means of 32x32 pixels: how a picture is made smaller leaves them as they are."""
    high, wide = (side // _BLOCK * _BLOCK for side in look.shape)
    parts = look[:high, :wide].reshape(high // _BLOCK, _BLOCK, wide // _BLOCK, _BLOCK)
    means: Matrix = parts.mean(axis=(1, 3))
    return means
