"""A picture as a file holds it: samples, and all that must survive until it is written again.

Read next: ``standard`` and ``tiff``, which make pictures out of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pellucid.errors import ImageError
from pellucid.images import exif as exif_block
from pellucid.images.kinds import LOSSY

Array = NDArray[Any]

WHITE = {"uint8": 255, "uint16": 65535}

BAND_PIXELS = 2**20


def bands(height: int, width: int) -> Iterator[slice]:
    """Rows of the picture in turn, about a million pixels at a time."""
    step = max(1, BAND_PIXELS // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture, as stored: not rotated, not scaled.

    Args:
        samples: (H, W, C), C 1 (grey) or 3 (RGB); uint8, uint16 or float32. One-bit pictures come
            as uint8 0 and 255.
        alpha: (H, W) of the same dtype, or None.
        bits: Bits a sample in the file: 1, 8, 16 or 32 (float). Found from the samples if left 0.
        icc: ICC profile.
        exif: EXIF block, starting with its byte order mark.
        xmp: XMP packet: what Lightroom and its like keep of a picture, as XML.
        iptc: Record of IPTC: captions and keywords as agencies keep them; of JPEG and TIFF.
        dpi: Dots an inch, across and down.
        orientation: EXIF orientation, 1 to 8: how a viewer must turn the samples.
        kind: Format that it came from, a key of ``files.KINDS``; empty for an array.
        page: Index of this page and number of pages.
        animated: Whether this is the first of several frames; the others are not read.
        storage: How the file stored it (compression, tables), used when the same format is written.
        derivation: How the samples came about, for formats that must say so; empty as read.
        untouched: Why this picture should be left as it is (a typeset page of PDF); empty where
            there is no reason.
        error: Why this page could not be read; empty where it could. Such a page is one white pixel
            (`images.pages` with ``lenient=True``).
    """

    samples: Array
    alpha: Array | None = None
    bits: int = 0
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: tuple[float, float] | None = None
    orientation: int = 1
    kind: str = ""
    page: tuple[int, int] = (0, 1)
    animated: bool = False
    storage: Mapping[str, Any] = field(default_factory=dict)
    derivation: str = ""
    untouched: str = ""
    error: str = ""

    def __post_init__(self) -> None:
        samples = self.samples
        if samples.ndim != 3 or samples.shape[2] not in (1, 3) or 0 in samples.shape:
            raise ImageError(
                f"a picture of shape {samples.shape} is not possible; give (H, W, 1) or (H, W, 3)"
            )
        if samples.dtype.name not in ("uint8", "uint16", "float32"):
            raise ImageError(
                f"samples of {samples.dtype.name} are not possible; give uint8, uint16 or float32"
            )
        alpha = self.alpha
        if alpha is not None and (alpha.shape != samples.shape[:2] or alpha.dtype != samples.dtype):
            raise ImageError(
                f"alpha is {alpha.dtype.name} {alpha.shape} but the samples are "
                f"{samples.dtype.name} {samples.shape[:2]}; both must be alike"
            )
        if self.bits == 0:
            object.__setattr__(self, "bits", 8 * samples.dtype.itemsize)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.samples.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.samples.shape[1])

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return int(self.samples.shape[2])

    @property
    def lossy(self) -> bool:
        """Whether its file was packed so that it does not come back as it was."""
        return self.kind in LOSSY or (self.kind, self.storage.get("compression")) == ("tiff", 7)

    @property
    def finite(self) -> bool:
        """True where no sample is NaN or infinite."""
        if self.samples.dtype.kind != "f":
            return True
        rows = bands(self.height, self.width)
        return all(bool(np.isfinite(self.samples[band]).all()) for band in rows)

    @property
    def pixels(self) -> NDArray[np.float32]:
        """Float32 (H, W, C): integers scaled to [0, 1], floats as they are."""
        return scaled(self.samples)

    def with_pixels(self, pixels: ArrayLike) -> Picture:
        """This picture with other pixels, brought back to its own dtype.

        Args:
            pixels: (H, W, C) or (H, W), [0, 1]. Integers are clipped and rounded, halves to even;
                a float picture takes the values as they are.
        """
        return self.with_samples(unscaled(np.asarray(pixels), self.samples.dtype))

    def with_samples(self, samples: ArrayLike) -> Picture:
        """This picture with other samples, (H, W, C) or (H, W), uint8, uint16 or float32.

        A one-bit picture stays one only while all its samples are 0 or 255.
        """
        array = np.asarray(samples)
        array = array[..., None] if array.ndim == 2 else array
        bits = 8 * array.dtype.itemsize
        if self.bits == 1 and array.dtype == np.uint8 and is_bilevel(array):
            bits = 1
        same = array.shape[2:] == self.samples.shape[2:]
        return replace(self, samples=array, bits=bits, icc=self.icc if same else None)

    def redrawn(self, samples: ArrayLike) -> Picture:
        """As `with_samples`, for samples that owe nothing to how the file was compressed.

        A JPEG's own coarse steps would take away most of what a restoration has won.
        """
        made = self.with_samples(samples)
        return replace(made, storage={**made.storage, "redrawn": True})

    def upright(self) -> Picture:
        """This picture turned as its orientation asks, and the tag set to 1."""
        if self.orientation == 1:
            return self
        alpha = None if self.alpha is None else turned(self.alpha, self.orientation)
        swapped = self.orientation >= 5 and self.dpi is not None
        return replace(
            self,
            samples=turned(self.samples, self.orientation),
            alpha=alpha,
            dpi=(self.dpi[1], self.dpi[0]) if swapped and self.dpi else self.dpi,
            exif=exif_block.with_orientation(self.exif, 1),
            orientation=1,
        )


def turned(array: Array, orientation: int) -> Array:
    """The array as a viewer shows it, for an EXIF orientation of 1 to 8."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return np.ascontiguousarray(array)


def is_bilevel(samples: Array) -> bool:
    """True where every sample is 0 or 255."""
    rows = bands(samples.shape[0], samples.shape[1])
    return all(bool(((samples[band] + 1) & 0xFE == 0).all()) for band in rows)


def scaled(samples: Array) -> NDArray[np.float32]:
    """Float32 in [0, 1] of integer samples; floats unchanged."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    white = np.float32(WHITE[samples.dtype.name])
    return np.divide(samples, white, dtype=np.float32)


def unscaled(pixels: Array, dtype: np.dtype[Any]) -> Array:
    """Samples of `dtype` for pixels in [0, 1]: clipped and rounded, halves to even."""
    if dtype.kind == "f":
        return pixels.astype(dtype, copy=False)
    white = WHITE[dtype.name]
    samples = np.empty(pixels.shape, dtype)
    for band in bands(pixels.shape[0], pixels.shape[1] if pixels.ndim > 1 else 1):
        part = np.clip(pixels[band].astype(np.result_type(pixels, np.float32), copy=False), 0, 1)
        if np.isnan(part).any():
            raise ImageError(
                f"some pixels are NaN, which {dtype.name} cannot hold; "
                "replace them (numpy.nan_to_num) or write float TIFF"
            )
        samples[band] = np.rint(part * part.dtype.type(white))
    return samples
