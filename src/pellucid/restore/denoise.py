"""One picture made clean: the samples of the file in, the same kind of samples out.

Nothing but the pixels changes: bit depth, alpha, profile, orientation and range survive. Work goes
window by window on the file's own samples, so a picture of hundreds of megapixels never becomes
float as a whole. Read next: `files`, which does this to thousands of them.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pellucid import __version__
from pellucid.errors import CheckpointError, OptionError
from pellucid.images import Picture, read
from pellucid.images.picture import bands, scaled, unscaled
from pellucid.restore import tiles, zoo
from pellucid.restore.crisp import keep_clean
from pellucid.restore.drawn import LITTLE, looks_drawn
from pellucid.restore.even import even
from pellucid.restore.floats import prepared
from pellucid.restore.levels import keep_levels
from pellucid.restore.noise import difference, estimate_sigma
from pellucid.restore.runtime import Runner
from pellucid.restore.spare import spare
from pellucid.restore.twins import Twins, is_grey, open_twins

if TYPE_CHECKING:
    from pellucid.learn.models import Restorer

__all__ = ["STRENGTHS", "denoise", "estimate_sigma", "restore_picture", "strength_of"]

Pixels = NDArray[np.float32]

STRENGTHS = {"low": 0.5, "medium": 0.75, "high": 1.0}
"""Names for how much of what a model does is taken: half of the noise stays, a quarter, none."""

_TOGETHER = {"cpu": 2**18, "openvino": 2**18}
_TOGETHER_ELSEWHERE = 2**22
"""Pixels that go through the network at a time where a window is smaller: processors gain nothing
from more, and graphics cards do."""


def denoise(
    image: str | Path | NDArray[Any] | Picture,
    *,
    model: str | Path | Runner | Twins | Restorer | None = None,
    strength: float | str = 1.0,
    device: str = "auto",
    tile: int | None = None,
    threads: int | None = None,
    ensemble: bool = False,
) -> Pixels:
    """The restored picture as float32; integers come back on the [0, 1] scale.

    Args:
        image: A file, a `Picture`, or an array (H, W) or (H, W, C) of uint8, uint16 or float, C 1
            or 3. Floats far outside [0, 1] are scaled to it and back.
        model: A shipped model's name, a model file or run folder, or a model in memory. Of shipped
            models that are a pair, grey pictures take the one for grey and others that for colour.
            None takes what `zoo.default` says.
        strength: 0 gives the picture back, 1 is all that the model does; or a name of `STRENGTHS`.
        device: 'auto', 'cpu', 'cuda', 'mps' or 'openvino' (see `runtime.open_model`).
        tile: Side in pixels of the windows that a large picture is cut into.
        threads: Processor threads; all that this process may use unless given.
        ensemble: Take the mean over the eight mirrored and turned views of the picture: a little
            better, at eight times the work (`pellucid.restore.ensemble`).

    Returns:
        (H, W) for an array (H, W), else (H, W, C). A file comes upright, as a viewer shows it; its
        alpha is not part of the answer, nor are pages after its first (see `denoise_files`).

    Raises:
        PellucidError: The picture or the model cannot be opened, or an option is out of range.
    """
    share = strength_of(strength)
    check_tile(tile)
    flat = False
    if isinstance(image, Picture):
        picture = image
    elif isinstance(image, str | Path):
        picture = read(image)
    else:
        picture, flat = _from_array(np.asarray(image)), np.ndim(image) == 2
    chosen = zoo.default(picture.kind, picture.channels) if model is None else model
    runner = _runner(chosen, device, threads, ensemble)
    restored = np.empty(picture.samples.shape, np.float32)
    _restore(picture.samples, restored, runner, share, tile, _warn)
    if isinstance(image, str | Path) and picture.orientation != 1:
        restored = replace(picture, samples=restored, alpha=None, bits=32).upright().samples
    return restored[..., 0] if flat else restored


def restore_picture(
    picture: Picture,
    runner: Runner | Twins,
    strength: float | str = 1.0,
    *,
    tile: int | None = None,
    warn: Callable[[str], None] | None = None,
) -> Picture:
    """The picture with restored samples of the same dtype, and all else as it was.

    A one-bit page through a model for pages stays one, so that its file stays small; any other
    one-bit picture that has greys now comes back with 8 bits.

    Args:
        picture: Any picture; NaN stay where they are.
        runner: From `twins.open_twins` or `runtime.open_model`; without a twin, grey pictures run
            through colour models and the reverse.
        strength: 0 gives the picture back, 1 is all that the model does; or a name of `STRENGTHS`.
        tile: Side in pixels of the windows that a large picture is cut into.
        warn: Told of what a user should know; `warnings.warn` unless given.
    """
    strength = strength_of(strength)
    check_tile(tile)
    if strength == 0:
        return picture
    if isinstance(runner, Twins):
        runner = runner.suited(1 if is_grey(picture.samples) else 3)
    samples = np.empty(picture.samples.shape, picture.samples.dtype)
    _restore(picture.samples, samples, runner, strength, tile, warn or _warn)
    if picture.bits == 1 and strength == 1 and runner.metadata.get("ink"):
        for rows in bands(picture.height, picture.width):
            samples[rows] = np.where(samples[rows] < 128, np.uint8(0), np.uint8(255))
    how = f"Denoised by pellucid {__version__}, model {runner.name}"
    how += f", strength {strength:g}." if strength < 1 else "."
    return replace(picture.redrawn(samples), derivation=how)


def _restore(
    samples: NDArray[Any],
    out: NDArray[Any],
    runner: Runner | Twins,
    strength: float,
    tile: int | None,
    warn: Callable[[str], None],
) -> None:
    """Fill `out`, of the samples' dtype or float32, window by window."""
    height, width = samples.shape[:2]
    if strength == 0:
        for rows in bands(height, width):
            out[rows] = samples[rows] if samples.dtype == out.dtype else scaled(samples[rows])
        return
    came, grey = samples, is_grey(samples)
    if isinstance(runner, Twins):
        runner = runner.suited(1 if grey else 3)
    if getattr(runner, "fills_holes", False):
        raise OptionError(
            f"model '{runner.name}' fills holes and leaves all else as it is; "
            "use 'pellucid inpaint PICTURE --mask MASK', or another --model"
        )
    if grey and runner.channels == 1:
        samples = samples[..., :1]
    given, scale = prepared(samples, warn)

    def look(rows: slice, columns: slice) -> Pixels:
        pixels = scaled(given[rows, columns])
        return pixels if scale is None else (pixels - scale[0]) / (scale[1] - scale[0])

    def read_window(rows: slice, columns: slice) -> Pixels:
        pixels = look(rows, columns)
        return pixels if scale is None else np.clip(pixels, 0, 1)

    def write_window(rows: slice, columns: slice, restored: Pixels) -> None:
        if not np.isfinite(restored).all():
            raise CheckpointError(
                f"model '{runner.name}' answered with NaN or infinity; it is damaged, or was "
                "trained badly: train it again with a lower learning rate"
            )
        if strength < 1 or scale is not None:
            before = look(rows, columns)
            mixed = before + np.float32(strength) * (restored - before)
            # Outliers that were cut off for the network stay what they were.
            restored = np.where((before < 0) | (before > 1), before, mixed) if scale else mixed
        if scale is not None:
            if scale[0] == 0:  # what counts from zero has nothing below it
                restored = np.maximum(restored, 0)
            restored = restored * (scale[1] - scale[0]) + scale[0]
        if given is not samples:
            there = samples[rows, columns]
            restored = np.where(np.isfinite(there), restored, there)
        if samples.dtype.kind != "f":
            restored = np.clip(restored, 0, 1)
        out[rows, columns] = unscaled(restored, out.dtype)

    cut = tiles.plan(
        height,
        width,
        halo=runner.halo,
        multiple=runner.multiple_of,
        tile=tile,
        size=runner.image_size,
    )
    most = _TOGETHER.get(runner.device, _TOGETHER_ELSEWHERE)
    largest = max(span.stop - span.start for span in cut.rows) * max(
        span.stop - span.start for span in cut.columns
    )
    together = max(1, most // largest)

    def network(windows: Pixels) -> Pixels:
        return through(windows, runner, together)

    tiles.run(cut, network, read_window, write_window, together=together)
    unit = None if scale is None else float(scale[1] - scale[0])
    take_back(came, out, runner.metadata, strength=strength, unit=unit)
    if "ink" not in runner.metadata and looks_drawn(came) and difference(came, out) > LITTLE:
        warn(
            "this looks drawn or dithered, of few colours; single pixels that were meant may have "
            "been taken for noise: look at it, and give a lower --strength or leave it as it was "
            "(for pages of print there is --model document)"
        )


def take_back(
    before: NDArray[Any],
    after: NDArray[Any],
    card: Mapping[str, Any],
    *,
    strength: float = 1.0,
    unit: float | None = None,
) -> None:
    """Take back, in place, what a model's card says its network is not to be trusted with.

    Args:
        before: The picture as it came, (H, W, C).
        after: Restored, of the same shape; of the same dtype or float32. Changed in place.
        card: The model's.
        strength: The share of the change that `after` holds; above 0.
        unit: What the network took for the way from black to white, in samples that are floats;
            None where they are on the [0, 1] scale.

    Raises:
        CheckpointError: The card is damaged.
    """
    even(before, after, card)
    spare(before, after, card, strength=strength, unit=1.0 if unit is None else unit)
    if unit is None and not keep_clean(before, after, card, strength=strength):
        keep_levels(before, after, card, strength=strength)


def through(windows: Pixels, runner: Runner, together: int) -> Pixels:
    """Windows (B, H, W, C) through a network that may have another number of channels.

    `together` is how many planes of a colour picture a network for grey is given at a time.
    """
    channels = windows.shape[3]
    images = windows.transpose(0, 3, 1, 2)
    if channels == runner.channels:
        return runner(images).transpose(0, 2, 3, 1)
    if channels == 1:
        colour = runner(images.repeat(3, axis=1))
        grey: Pixels = colour.mean(axis=1, keepdims=True, dtype=np.float32)
        return grey.transpose(0, 2, 3, 1)
    planes = images.reshape(-1, 1, *images.shape[2:])
    parts = [runner(planes[i : i + together]) for i in range(0, len(planes), together)]
    return np.concatenate(parts).reshape(images.shape).transpose(0, 2, 3, 1)


def _from_array(array: NDArray[Any]) -> Picture:
    """An array as a picture."""
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        hint = "; leave alpha out" if array.ndim == 3 and array.shape[2] in (2, 4) else ""
        raise OptionError(
            f"an array of shape {array.shape} is not one picture; (H, W), (H, W, 1) and (H, W, 3) "
            f"are{hint}"
        )
    if array.dtype == bool:
        array = array.astype(np.uint8) * np.uint8(255)
    elif array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    if array.dtype.name not in ("uint8", "uint16", "float32"):
        raise OptionError(
            f"an array of {array.dtype.name} could mean any range; convert it to uint8, uint16 or "
            "float in [0, 1]"
        )
    return Picture(samples=array)


def strength_of(strength: float | str) -> float:
    """How much of what a model does is taken, from a number or a name of `STRENGTHS`.

    Raises:
        OptionError: Neither of them, or a number outside [0, 1].

    Example:
        >>> strength_of("medium"), strength_of("0.3")
        (0.75, 0.3)
    """
    try:
        share = float(STRENGTHS.get(str(strength), strength))
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        names = ", ".join(f"{name} ({number:g})" for name, number in STRENGTHS.items())
        raise OptionError(
            f"strength is {strength}; it goes from 0 (nothing) to 1 (everything), or is {names}"
        )
    return share


def check_tile(tile: int | None) -> None:
    """Refuse windows that no network could see anything in."""
    if tile is not None and tile < 16:
        raise OptionError(f"tile is {tile}; windows of at least 16 pixels are needed")


def _runner(
    model: str | Path | Runner | Twins | Restorer, device: str, threads: int | None, ensemble: bool
) -> Twins:
    """The opened model; the last few stay open, for calls in a loop."""
    if isinstance(model, str | Path):
        state = zoo.resolve(model).stat()
        model = _opened(model, device, threads, os.getcwd(), state.st_mtime_ns, state.st_size)
    return open_twins(model, device=device, threads=threads, ensemble=ensemble)


@lru_cache(maxsize=4)
def _opened(
    model: str | Path, device: str, threads: int | None, folder: str, changed: int, size: int
) -> Twins:
    return open_twins(model, device=device, threads=threads)


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=5)
