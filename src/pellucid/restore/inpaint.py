"""Fill what is missing from a picture: scratches, lettering, holes. Known pixels stay as they are.

A mask says what is missing: white, which is anything but black. The network is shown only windows
that hold some of it, and only missing pixels are written back. Read next: `denoise`, the same for
noise.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pellucid import __version__
from pellucid.errors import CheckpointError, OptionError
from pellucid.images import Picture, count_pages, picture_of, read, write
from pellucid.images.picture import scaled, unscaled
from pellucid.restore import tiles, zoo
from pellucid.restore.denoise import through
from pellucid.restore.floats import prepared
from pellucid.restore.membrane import membrane
from pellucid.restore.runtime import Runner
from pellucid.restore.twins import Twins, is_grey, open_twins

if TYPE_CHECKING:
    from pellucid.learn.models import Restorer

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]

DEEP = 4
"""How many squares of a network's grid a hole may be deep before a `membrane` covers its middle. Of
holes of 140 to 220 pixels in photographs the whole is nearer to the truth so by 0.4 to 0.9 dB."""


def inpaint(
    image: str | Path | NDArray[Any] | Picture,
    mask: str | Path | NDArray[Any] | Picture,
    *,
    model: str | Path | Runner | Twins | Restorer | None = None,
    device: str = "auto",
    ensemble: bool = False,
    tile: int | None = None,
    threads: int | None = None,
) -> Pixels:
    """The picture with its missing parts filled, as float32; integers come back in [0, 1].

    Args:
        image: A file, a `Picture`, or an array (H, W) or (H, W, C), C 1 or 3.
        mask: Of the same height and width; missing wherever any channel is not black (see
            `missing`).
        model: One that fills holes: a shipped name, a file or run folder, or a model in memory.
            None takes `zoo.INPAINT`.
        device: 'auto', 'cpu', 'cuda', 'mps' or 'openvino'.
        ensemble: Take the mean over the eight mirrored and turned views (`ensemble`): a little
            better, at eight times the work.
        tile: Side in pixels of the windows that a large picture is cut into.
        threads: Processor threads; all that this process may use unless given.

    Returns:
        (H, W, C), or (H, W) for an array (H, W); upright for a file.

    Raises:
        PellucidError: Picture, mask or model cannot be opened or do not fit together.
    """
    flat = isinstance(image, np.ndarray) and image.ndim == 2
    runner = open_twins(model or _default(), device=device, threads=threads, ensemble=ensemble)
    filled = fill(_picture(image), missing(mask), runner, tile=tile).pixels
    return filled[..., 0] if flat else filled


def inpaint_file(
    source: str | Path,
    mask: str | Path,
    target: str | Path,
    *,
    model: str | Path | None = None,
    device: str = "auto",
    ensemble: bool = False,
) -> float:
    """Fill a picture file and write it with all else as it was; upright.

    Returns:
        The share of its pixels that was missing.

    Raises:
        PellucidError: A file cannot be read or written, or they do not fit together.
    """
    for given in (source, mask):
        if Path(target).resolve() == Path(given).resolve():
            raise OptionError(f"{target} would be overwritten by the filled picture; name another")
    if (count := count_pages(source)) > 1:
        raise OptionError(
            f"{source} has {count} pages, and a mask is for one picture; take the pages apart"
        )
    lost = missing(mask)
    _look_at(mask, lost)
    runner = open_twins(model or _default(), device=device, ensemble=ensemble)
    picture = read(source)
    if picture.animated:
        raise OptionError(
            f"{source} is an animation, and a mask is for one picture; save its frames as pictures"
        )
    write(target, fill(picture, lost, runner))
    return float(lost.mean())


def missing(mask: str | Path | NDArray[Any] | Picture) -> Mask:
    """Where a mask is not black, (H, W).

    Black is 0; in formats that move it a little (JPEG, WebP, AVIF) up to a quarter of white.
    """
    picture = _picture(mask)
    black = 0.25 if picture.lossy else 0
    found: Mask = np.any(scaled(picture.samples) > black, axis=2)
    return found


def _look_at(mask: str | Path, lost: Mask) -> None:
    """Say where a mask is hardly what it was meant to be."""
    if not lost.any():
        warnings.warn(f"{mask} is all black, so nothing is missing", stacklevel=3)
        return
    picture = read(mask)
    shown = scaled(picture.samples).max(axis=2)[lost]
    if not picture.lossy and (shown < 1).mean() > 0.1:
        warnings.warn(
            f"{mask} is grey in places, and all that is not black is filled; make it black where "
            "the picture stays and white where it is missing",
            stacklevel=3,
        )


def fill(
    picture: Picture,
    lost: Mask,
    runner: Runner | Twins,
    *,
    tile: int | None = None,
    warn: Callable[[str], None] = lambda message: warnings.warn(message, stacklevel=3),
) -> Picture:
    """The picture, upright, with the pixels filled that are lost; all others bit for bit.

    Args:
        picture: Any picture; alpha stays as it is, and floats far outside [0, 1] are scaled to it
            and back by those that are known.
        lost: (H, W), True where a pixel is missing from the upright picture.
        runner: From `twins.open_twins` or `runtime.open_model`.
        tile: Side in pixels of the windows that a large picture is cut into.
        warn: Told where a hole is deeper than the network can fill.

    Raises:
        OptionError: Sizes differ, everything is missing, or the model fills no holes.
    """
    picture = picture.upright()
    samples = picture.samples
    if lost.shape != samples.shape[:2]:
        raise OptionError(
            f"the mask is {lost.shape[1]}x{lost.shape[0]} but the picture is "
            f"{picture.width}x{picture.height} (as it is viewed); make them equal"
        )
    if lost.all():
        raise OptionError(
            "the mask is white everywhere, so nothing of the picture is known; white is for what "
            "is missing, black for what is to stay"
        )
    known = samples.copy()
    known[lost] = 0  # a red scratch does not make a grey picture one of colours
    grey = is_grey(known)
    if isinstance(runner, Twins):
        runner = runner.suited(1 if grey else 3)
    if not getattr(runner, "fills_holes", False):
        raise OptionError(
            f"model '{runner.name}' fills no holes; train one with a recipe such as "
            "'inpaint' ([model] name = \"inpaint\")"
        )
    black, white = _levels(samples, lost)
    out = samples.copy()
    deep = _depth(lost) > DEEP * runner.multiple_of
    if deep.any():
        surface = membrane(samples, lost, deep)
        out[deep] = known[deep] = surface if samples.dtype.kind == "f" else surface.round()
        lost = lost & ~deep
    seen = known[..., :1] if grey and runner.channels == 1 else known

    def read_window(rows: slice, columns: slice) -> Pixels:
        pixels: Pixels = (scaled(seen[rows, columns]) - black) / (white - black)
        pixels = pixels.clip(0, 1)
        pixels[lost[rows, columns] | ~np.isfinite(pixels).all(axis=2)] = np.nan
        return pixels

    def write_window(rows: slice, columns: slice, made: Pixels) -> None:
        here = lost[rows, columns]
        if here.any():
            if not np.isfinite(made[here]).all():
                raise CheckpointError(f"model '{runner.name}' answered with NaN; it is damaged")
            filled = np.clip(made[here], 0, 1) * (white - black) + black
            out[rows, columns][here] = unscaled(filled, out.dtype)

    def network(windows: Pixels) -> Pixels:
        holes = np.isnan(windows).any(axis=(1, 2, 3))
        made = windows.copy()
        if holes.any():
            made[holes] = through(windows[holes], runner, len(windows))
        return made

    cut = tiles.plan(
        *lost.shape,
        halo=runner.halo,
        multiple=runner.multiple_of,
        tile=tile,
        size=runner.image_size,
    )
    tiles.run(cut, network, read_window, write_window)
    if deep.any():
        warn(
            f"a hole is deeper than the {DEEP * runner.multiple_of} pixels that model "
            f"'{runner.name}' fills well; what lies further in is only a smooth surface"
        )
    made = f"Holes filled by pellucid {__version__}, model {runner.name}."
    return replace(picture.with_samples(out), derivation=made)


def _levels(samples: NDArray[Any], lost: Mask) -> tuple[np.float32, np.float32]:
    """Which samples are black and white to the network, by the known ones."""
    if samples.dtype.kind != "f" or not np.isfinite(samples[~lost]).any():
        return np.float32(0), np.float32(1)
    _, scale = prepared(samples[~lost][:, None], lambda _: None)
    return scale or (np.float32(0), np.float32(1))


def _default() -> str:
    if zoo.INPAINT not in zoo.names():
        raise OptionError(
            "no model that fills holes is in the box; train one, 'pellucid train inpaint -o RUN', "
            "and give it as --model RUN"
        )
    return zoo.INPAINT


def _depth(lost: Mask) -> NDArray[np.int32]:
    """How far each missing pixel is from a known one, in steps along rows and columns."""
    far = np.where(lost, np.iinfo(np.int32).max // 2, 0).astype(np.int32)
    for axis in (0, 1):
        for direction in (1, -1):
            lines = np.moveaxis(far, axis, 0)[::direction]
            for before, line in pairwise(lines):
                np.minimum(line, before + 1, out=line)
    return far


def _picture(image: str | Path | NDArray[Any] | Picture) -> Picture:
    if isinstance(image, Picture):
        return image
    return read(image).upright() if isinstance(image, str | Path) else picture_of(image)
