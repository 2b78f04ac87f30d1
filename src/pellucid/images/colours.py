"""Palettes and CMYK to grey and RGB.

A band of rows at a time, so that a large picture is not held twice.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from pellucid.images.picture import Array, bands


def is_rgb(icc: bytes | None) -> bool:
    """True for a profile of RGB colours."""
    return icc is not None and icc[16:20] == b"RGB "


def from_palette(image: Image.Image, *, coloured: bool) -> tuple[Array, Array | None, int]:
    """Colours looked up; grey if the palette is, one bit if it is black and white."""
    entries = np.array(image.getpalette("RGBA") or [], np.uint8).reshape(-1, 4)
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    table[: len(entries)] = entries[:256]
    key = image.info.get("transparency")
    if isinstance(key, bytes):
        table[: len(key), 3] = np.frombuffer(key, np.uint8)[:256]
    elif isinstance(key, int):
        table[key & 255, 3] = 0
    grey = not coloured and bool((table[:, :3] == table[:, :1]).all())
    colours = table[:, :1] if grey else table[:, :3]
    # Pillow keeps alpha beside the index in mode PA; no format read here gives it.
    transparent = key is not None or bool((entries[:, 3] != 255).any())
    shape = (image.height, image.width)
    samples = np.empty((*shape, colours.shape[1]), np.uint8)
    alpha = np.empty(shape, np.uint8) if transparent else None
    for rows in bands(*shape):
        index = np.asarray(image.crop((0, rows.start, image.width, rows.stop)).getchannel(0))
        samples[rows] = colours[index]
        if alpha is not None:
            alpha[rows] = table[index, 3]
    used = entries[: len(entries), :3]
    bilevel = grey and alpha is None and len(entries) <= 2 and bool(np.isin(used, (0, 255)).all())
    return samples, alpha, 1 if bilevel else 8


def from_cmyk(image: Image.Image, icc: bytes | None) -> tuple[Array, bytes | None]:
    """RGB samples of a CMYK image, and the profile they are in: sRGB if the image had one."""
    transform, profile = _to_srgb(icc) if icc else (None, None)
    samples = np.empty((image.height, image.width, 3), np.uint8)
    for rows in bands(image.height, image.width):
        part = image.crop((0, rows.start, image.width, rows.stop))
        if transform is not None:
            from PIL import ImageCms

            part = ImageCms.applyTransform(part, transform) or part
        else:
            part = part.convert("RGB")
        samples[rows] = np.asarray(part)
    return samples, profile


def _to_srgb(icc: bytes) -> tuple[Any, bytes | None]:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.buildTransform(source, target, "CMYK", "RGB")
        return transform, target.tobytes()
    except (ImageCms.PyCMSError, OSError):  # a damaged profile: the plain formula
        return None, None


def from_colormap(index: Array, colormap: Array) -> Array:
    """Colours of a palette (3, N) uint16, grey if every entry is."""
    values = np.asarray(colormap)
    # Some writers of old put 8 bits where 16 belong.
    table = (values >> 8 if values.max() > 255 else values).astype(np.uint8).T
    table = table[:, :1] if bool((table == table[:, :1]).all()) else table
    samples = np.empty((*index.shape, table.shape[1]), np.uint8)
    for rows in bands(*index.shape):
        samples[rows] = table[index[rows].astype(np.intp, copy=False)]
    return samples
