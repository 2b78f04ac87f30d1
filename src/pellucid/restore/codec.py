"""A codec for pictures: pixels to whole numbers that cost few bits, and back.

Two convolutional networks and a distribution for the numbers in between, all in one file (Ballé,
Minnen, Singh, Hwang, Johnston 2018, https://arxiv.org/abs/1802.01436; with means, Minnen, Ballé,
Toderici 2018, https://arxiv.org/abs/1809.02736; one network for all qualities, Cui et al. 2021,
https://arxiv.org/abs/2003.02012). Only the distribution must be the same on every machine, and so
it is computed in whole numbers (`exact`); the networks run in float32 like any other. Large
pictures go through them in windows. Read next: `pellucid.uses.compress`, which makes files of the
numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError, ImageError, OptionError
from pellucid.images.picture import scaled
from pellucid.restore import zoo
from pellucid.restore.cheaper import Costs
from pellucid.restore.codec_arrays import Contents, Rows, read
from pellucid.restore.exact import LARGEST_SYMBOL, Integers, SymbolsOf
from pellucid.restore.exported import first_line
from pellucid.restore.runtime import element, open_session
from pellucid.restore.tiles import Plan, Span, plan

Pixels = NDArray[np.float32]
Run = Callable[[dict[str, Any]], list[Any]]

STEP, HYPER_STEP = 16, 64
"""Pixels along a side that share a latent, and a hyper-latent."""

WHOLE_PIXELS = 2**22
"""Larger pictures are cut into windows, so that memory stays bounded."""

TILE = 1536

LARGEST_LATENT = 2**20
"""Of the latents' symbols on either side of 0; no picture comes near it."""


@dataclass(frozen=True, eq=False)
class Symbols:
    """What is coded of a picture.

    Args:
        y: (M, H/16, W/16), sides rounded up.
        z: (N, H/64, W/64), likewise; None for a factorised codec.
        mean: Of y in units of 2**-8; None until it is worked out from z.
        rows: Which row of the table each of y is coded with; likewise.
    """

    y: Integers
    z: Integers | None = None
    mean: Integers | None = None
    rows: NDArray[np.uint8] | None = None


class Codec:
    """A codec, open and ready to run.

    Args:
        contents: From `codec_arrays.read`.
        name: Of the file, for messages.
        device: 'auto', 'cpu' or 'cuda'.
        threads: Processor threads; all that this process may use unless given.
    """

    def __init__(
        self, contents: Contents, name: str, *, device: str = "auto", threads: int | None = None
    ) -> None:
        self.card, self._contents = contents.card, contents
        self.name = str(self.card["name"])
        self.qualities = int(self.card["qualities"])
        self.channels = int(self.card["image_channels"])
        self.latents = int(self.card["latents"])
        self.hyper_latents = int(self.card["hyper_latents"])
        self.multiple_of = int(self.card["multiple_of"])
        self.fingerprint = contents.fingerprint
        self.hyper = contents.prior is not None
        outputs = ("y", "z") if self.hyper else ("y",)
        how: dict[str, Any] = {"device": device, "threads": threads}
        self._encoder, self.device = _opened(
            contents.encoder, f"{name}, encoder", ("image", outputs), **how
        )
        self._decoder, _ = _opened(contents.decoder, f"{name}, decoder", ("y", ("image",)), **how)

    @classmethod
    def open(
        cls,
        name: str | Path = zoo.CODEC,
        *,
        device: str = "auto",
        threads: int | None = None,
    ) -> Codec:
        """The codec of a name in the box, or of a ``.codec.npz`` file.

        Raises:
            CheckpointError: There is none, or the file is damaged or hostile.
            OptionError: An unknown name or device.
        """
        path = zoo.resolve_codec(name)
        return cls(read(path), str(path), device=device, threads=threads)

    @property
    def stages(self) -> list[slice]:
        """Which of y are coded together, one after the other; none of a factorised codec's."""
        return self._contents.prior.parts if self._contents.prior else []

    def shapes(self, height: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
        """The shapes of y and z for a picture of this size."""
        z = (self.hyper_latents, *_steps(height, width, HYPER_STEP)) if self.hyper else None
        return (self.latents, *_steps(height, width, STEP)), z

    def tables(self, quality: int) -> tuple[Rows, Rows]:
        """The distributions that y and z are coded with; the same one of a factorised codec."""
        z = self._contents.z_rows[self._index(quality)]
        return self._contents.y_rows or z, z

    def encode(self, image: NDArray[Any], quality: int, *, tile: int | None = None) -> Symbols:
        """The whole numbers that stand for a picture, with the prior they are coded with.

        Args:
            image: (H, W, C), as many channels as the codec has; floats in [0, 1], or uint8.
            quality: 1 (smallest) to `qualities`.
            tile: Side in pixels of the windows of a large picture; chosen unless given.
        """
        index = self._index(quality)
        if image.ndim != 3 or image.shape[2] != self.channels or not image.size:
            raise ImageError(
                f"a picture of shape {image.shape} does not fit codec '{self.name}', which takes "
                f"(H, W, {self.channels})"
            )
        sides = image.shape[0], image.shape[1]
        high, wide = (count * self.multiple_of for count in _steps(*sides, self.multiple_of))
        # The last row and column again, which cost least, a window at a time.
        rows, columns = (
            np.pad(np.arange(side), (0, full - side), mode="edge")
            for side, full in zip(sides, (high, wide), strict=True)
        )
        y = np.empty((self.latents, high // STEP, wide // STEP), np.float32)
        y_shape, z_shape = self.shapes(*sides)
        z = None if z_shape is None else np.empty(z_shape, np.float32)
        cut = self._cut(high, wide, "encoder_halo", tile, self.multiple_of)
        for row in cut.rows:
            for column in cut.columns:
                seen = image[rows[row.start : row.stop]][:, columns[column.start : column.stop]]
                window = np.ascontiguousarray(scaled(seen).transpose(2, 0, 1)[None])
                made = self._run(self._encoder, index, image=window)
                for whole, part, step in zip((y, z), made, (STEP, HYPER_STEP), strict=False):
                    assert whole is not None
                    place = _part(row.first, row.last, step), _part(column.first, column.last, step)
                    whole[:, *place] = self._own(part, len(whole), row, column, step)
        # What lies beyond the picture altogether is not coded.
        y = y[:, : y_shape[1], : y_shape[2]]
        costs = Costs(self.tables(quality)[0])

        def rounded(part: slice, mean: Integers | None, rows: NDArray[Any]) -> Integers:
            symbols = np.empty((part.stop - part.start, *y.shape[1:]), np.int32)
            # One after the other, so that all of them are never held in float64.
            for channel, latent in enumerate(y[part]):
                away = latent if mean is None else latent - mean[channel] / 256.0
                within = np.clip(away, -LARGEST_LATENT, LARGEST_LATENT)
                symbols[channel] = costs.rounded(within, rows[channel])
            return symbols

        if z is None:
            channels = np.broadcast_to(np.arange(self.latents)[:, None, None], y.shape)
            return Symbols(rounded(slice(0, self.latents), None, channels))
        return self.walk(_whole(z, LARGEST_SYMBOL), y.shape[1:], quality, rounded)

    def walk(
        self, z: Integers, size: tuple[int, ...], quality: int, symbols_of: SymbolsOf
    ) -> Symbols:
        """All symbols, from those of the hyper-latents and what tells or reads those of y.

        Args:
            z: (N, H/64, W/64).
            size: Height and width of y.
            quality: As in `encode`.
            symbols_of: As `exact.Prior.walk` takes it.
        """
        prior = self._contents.prior
        assert prior is not None
        y, mean, rows = prior.walk(z, (size[0], size[1]), self._index(quality), symbols_of)
        return Symbols(y, z, mean, rows)

    def with_prior(self, symbols: Symbols, quality: int) -> Symbols:
        """The symbols, with the mean and the table's row of each y: exact on every machine."""
        if symbols.z is None or symbols.mean is not None:
            return symbols
        y = symbols.y
        return self.walk(symbols.z, y.shape[1:], quality, lambda part, *_: y[part])

    def decode(
        self, symbols: Symbols, size: tuple[int, int], quality: int, *, tile: int | None = None
    ) -> Pixels:
        """The picture that the symbols stand for, (H, W, C) float32 in [0, 1].

        Args:
            symbols: From `encode`, or read from a file.
            size: Height and width.
            quality: As it was encoded with.
            tile: Side in pixels of the windows of a large picture; chosen unless given.
        """
        index = self._index(quality)
        y_shape, z_shape = self.shapes(*size)
        given = symbols.y.shape, None if symbols.z is None else symbols.z.shape
        if given != (y_shape, z_shape):
            raise ImageError(
                f"symbols of {given} do not fit a picture of {size[1]}x{size[0]}, which has "
                f"{(y_shape, z_shape)}"
            )
        mean = self.with_prior(symbols, quality).mean
        high, wide = (count * STEP for count in y_shape[1:])
        image = np.empty((*size, self.channels), np.float32)
        cut = self._cut(high, wide, "decoder_halo", tile, STEP)
        for row in cut.rows:
            for column in cut.columns:
                place = _part(row.start, row.stop, STEP), _part(column.start, column.stop, STEP)
                y = symbols.y[:, *place].astype(np.float64)
                if mean is not None:
                    y += mean[:, *place] / 256.0
                made = self._run(self._decoder, index, y=y.astype(np.float32)[None])[0]
                pixels = self._own(made, self.channels, row, column, 1).transpose(1, 2, 0)
                part = image[row.first : row.last, column.first : column.last]
                np.clip(pixels[: part.shape[0], : part.shape[1]], 0, 1, out=part)
        return image

    def _index(self, quality: int) -> int:
        """The quality counted from 0."""
        if not 1 <= quality <= self.qualities:
            raise OptionError(
                f"quality {quality} is not possible with codec '{self.name}'; give 1 (smallest) "
                f"to {self.qualities}"
            )
        return int(quality) - 1

    def _cut(self, high: int, wide: int, halo: str, tile: int | None, multiple: int) -> Plan:
        if tile is not None and tile < 1:
            raise OptionError(f"a window of {tile} pixels is not possible; give at least 1")
        if tile is None:
            tile = TILE if high * wide > WHOLE_PIXELS else max(high, wide)
        return plan(high, wide, halo=int(self.card[halo]), multiple=multiple, tile=tile)

    def _run(self, network: Run, index: int, **given: NDArray[Any]) -> list[Any]:
        try:
            made = network(given | {"quality": np.array([index], np.int64)})
        except Exception as error:  # ONNX Runtime's own exceptions share no base class
            raise CheckpointError(
                f"codec '{self.name}' cannot run: {first_line(error)}; export it again"
            ) from error
        return made

    def _own(
        self, made: NDArray[Any], channels: int, row: Span, column: Span, step: int
    ) -> NDArray[Any]:
        """What a network made of a window, without what its neighbours know better."""
        high, wide = (row.stop - row.start) // step, (column.stop - column.start) // step
        if made.shape != (1, channels, high, wide):
            raise CheckpointError(
                f"codec '{self.name}' made {made.shape} where {(1, channels, high, wide)} is "
                "needed; export it again"
            )
        rows = _part(row.first - row.start, row.last - row.start, step)
        columns = _part(column.first - column.start, column.last - column.start, step)
        own: NDArray[Any] = made[0][:, rows, columns]
        if not np.isfinite(own).all():
            raise CheckpointError(
                f"codec '{self.name}' answered with what is no number; it is damaged"
            )
        return own


def _opened(
    graph: bytes, name: str, ports: tuple[str, tuple[str, ...]], **how: Any
) -> tuple[Run, str]:
    """What runs a graph, once its inputs and outputs are what they must be."""
    session, device = open_session(graph, name, **how)
    given = {port.name: (element(port), len(port.shape)) for port in session.get_inputs()}
    made = {port.name: element(port) for port in session.get_outputs()}
    main, outputs = ports
    if given != {main: ("float", 4), "quality": ("int64", 1)} or made != dict.fromkeys(
        outputs, "float"
    ):
        raise CheckpointError(
            f"{name}: it maps {given} to {made}; '{main}' (four sides, float) and 'quality' "
            f"(one, int64) to {', '.join(outputs)} is needed"
        )

    def run(fed: dict[str, Any]) -> list[Any]:
        found: list[Any] = session.run(list(outputs), fed)
        return found

    return run, device


def _steps(height: int, width: int, step: int) -> tuple[int, int]:
    """How many steps cover so many pixels."""
    return -(-height // step), -(-width // step)


def _part(start: int, stop: int, step: int) -> slice:
    """Where these pixels are in an array that has one entry for `step` of them."""
    return slice(start // step, stop // step)


def _whole(values: NDArray[Any], most: int) -> Integers:
    """The nearest whole numbers, halves to even, within `most` on either side of 0."""
    found: Integers = np.clip(np.rint(values), -most, most).astype(np.int32)
    return found
