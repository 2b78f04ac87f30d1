"""Pictures to small files and back, by a learned codec: `compress` and `decompress`.

The networks make whole numbers of a picture (`pellucid.restore.codec`), the range coder bytes of
those (`entropy`), and `plc` is the file around them. A reader needs that file, the codec of the
same name, ONNX Runtime and constriction; never torch. Read next: `packing`, for many files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError, ImageError, OptionError
from pellucid.images import Picture, count_pages, picture_of, read
from pellucid.images import exif as exif_block
from pellucid.images.picture import unscaled
from pellucid.restore import zoo
from pellucid.restore.codec import LARGEST_LATENT, Codec, Symbols
from pellucid.restore.codec_arrays import Rows
from pellucid.restore.exact import LARGEST_SYMBOL
from pellucid.uses.entropy import DAMAGED, Decoder, Encoder
from pellucid.uses.plc import MAGIC, Packed, pack, unpack


@dataclass(frozen=True)
class Compressed:
    """A picture in few bytes.

    Args:
        data: The whole file.
        quality: What it was coded with.
        pixels: Of the picture.
    """

    data: bytes
    quality: int
    pixels: int

    @property
    def bpp(self) -> float:
        """Bits of the whole file for each pixel."""
        return 8 * len(self.data) / self.pixels


def compress(
    image: str | Path | NDArray[Any] | Picture,
    *,
    quality: int | None = None,
    max_bpp: float | None = None,
    model: str | Path | Codec = zoo.CODEC,
    reduce: bool = False,
    threads: int | None = None,
) -> bytes:
    """The bytes of a ``.plc`` file for a picture.

    Args:
        image: A file, a `Picture`, or an array (H, W) or (H, W, C) as `images.picture_of` takes it;
            8 bits a sample.
        quality: 1 (smallest) to the number of qualities of the codec; the middle one unless given.
        max_bpp: The most bits for each pixel that the whole file may take; the highest quality that
            keeps to it is used.
        model: A codec in the box, a ``.codec.npz`` file, or one that is open.
        reduce: Round pictures of more than 8 bits, and floats in [0, 1], to 8 bits.
        threads: Processor threads; all that this process may use unless given.

    Raises:
        PellucidError: The picture or the codec cannot be opened, or an option is not possible.
        MissingExtraError: constriction is not installed.
    """
    check_options(quality, max_bpp)
    codec = opened_codec(model, threads=threads)
    made = compressed(picture_in(image), codec, quality=quality, max_bpp=max_bpp, reduce=reduce)
    return made.data


def decompress(
    source: str | Path | bytes,
    *,
    model: str | Path | Codec | None = None,
    threads: int | None = None,
) -> Picture:
    """The picture in a ``.plc`` file: its samples are uint8 (H, W, C), C 1 or 3.

    Alpha, EXIF with the orientation, ICC profile and resolution are with it as they were.

    Args:
        source: The file, or its bytes.
        model: The codec that it was made with, where that is not in the box.
        threads: Processor threads; all that this process may use unless given.

    Raises:
        PellucidError: The file is damaged, or made with another codec.
        MissingExtraError: constriction is not installed.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    packed = unpack(content(source), name)
    return unpacked(packed, fitting(packed, model, name, threads=threads), name)


def opened_codec(model: str | Path | Codec, *, threads: int | None = None) -> Codec:
    """The codec of a name or file, or the open one that was given."""
    if threads is not None and threads < 1:
        raise OptionError(f"threads is {threads}; it must be at least 1")
    return model if isinstance(model, Codec) else Codec.open(model, threads=threads)


def content(source: str | Path | bytes) -> bytes:
    """All of a ``.plc`` file; of another only its first bytes, which say so.

    Raises:
        ImageError: It cannot be read.
    """
    if isinstance(source, bytes):
        return source
    try:
        with open(source, "rb") as file:
            head = file.read(len(MAGIC))
            return head + file.read() if head == MAGIC else head
    except OSError as error:
        raise ImageError(f"{source}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the path
        raise ImageError(f"{source!r}: not a possible file name") from error


def picture_in(image: str | Path | bytes | NDArray[Any] | Picture) -> Picture:
    """The one picture of what was given, as it is stored."""
    if isinstance(image, Picture):
        return image
    if isinstance(image, np.ndarray):
        return picture_of(image)
    if (count := count_pages(image)) > 1:
        raise OptionError(
            f"{_called(image)} has {count} pages, and a .plc file holds one picture; take the "
            "pages apart"
        )
    picture = read(image)
    if picture.animated:
        raise OptionError(
            f"{_called(image)} is an animation, and a .plc file holds one picture; save its frames "
            "as pictures"
        )
    return picture


def check_options(quality: int | None, max_bpp: float | None) -> None:
    """Refuse what no picture can be compressed with.

    Raises:
        OptionError: Both are given, a quality that is no whole number, or a limit that is no
            number above 0.
    """
    if quality is not None and not isinstance(quality, int | np.integer):
        raise OptionError(f"quality is {quality!r}; give a whole number, from 1 for the smallest")
    if max_bpp is not None and not isinstance(max_bpp, int | float | np.number):
        raise OptionError(f"max_bpp is {max_bpp!r}; give a number above 0")
    if quality is not None and max_bpp is not None:
        raise OptionError("a quality and a limit of bits a pixel exclude each other; give one")
    if max_bpp is not None and not (math.isfinite(max_bpp) and max_bpp > 0):
        raise OptionError(f"at most {max_bpp} bits a pixel is not possible; give a number above 0")


def compressed(
    picture: Picture,
    codec: Codec,
    *,
    quality: int | None = None,
    max_bpp: float | None = None,
    reduce: bool = False,
) -> Compressed:
    """A picture in few bytes, with the quality it got; options as `compress` takes them."""
    picture = _eight_bits(picture, reduce)
    if max_bpp is None:
        middle = (codec.qualities + 1) // 2
        return _at(picture, codec, middle if quality is None else quality)
    smallest = math.inf
    # Not by halves: for some pictures a higher quality takes fewer bits.
    for tried in range(codec.qualities, 0, -1):
        made = _at(picture, codec, tried)
        if made.bpp <= max_bpp:
            return made
        smallest = min(smallest, made.bpp)
    raise OptionError(
        f"at most {max_bpp:g} bits a pixel cannot be kept: the smallest file for this picture of "
        f"{picture.width}x{picture.height} takes {math.ceil(smallest * 1e4) / 1e4:.4f}; allow that"
    )


def fitting(
    packed: Packed, model: str | Path | Codec | None, name: str, *, threads: int | None = None
) -> Codec:
    """The codec that a file was made with.

    Args:
        packed: What the file says.
        model: Where the codec is; None to find it in the box by its name.
        name: Of the file, for messages.
        threads: Processor threads.

    Raises:
        CheckpointError: It is not there, or has other weights.
    """
    if model is None and packed.model not in zoo.codecs():
        boxed = ", ".join(zoo.codecs()) or "none"
        raise CheckpointError(
            f"{name}: made with the codec '{packed.model}', which is not in the box ({boxed}); "
            f"give its file, --model {packed.model}{zoo.CODEC_SUFFIX}"
        )
    codec = opened_codec(packed.model if model is None else model, threads=threads)
    if codec.fingerprint != packed.fingerprint:
        raise CheckpointError(
            f"{name}: made with other weights (codec '{packed.model}', {packed.fingerprint.hex()}) "
            f"than those of '{codec.name}' here ({codec.fingerprint.hex()}); give the codec's file "
            "as --model, or install the pellucid that wrote it"
        )
    return codec


def unpacked(packed: Packed, codec: Codec, name: str) -> Picture:
    """The picture that a file holds, by the codec that it was made with."""
    if not 1 <= packed.quality <= codec.qualities or packed.channels > codec.channels:
        raise ImageError(f"{name}: the head of the file does not fit its codec; get the file again")
    try:
        symbols = _symbols(packed, codec)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    pixels = codec.decode(symbols, (packed.height, packed.width), packed.quality)
    if packed.channels < codec.channels:
        pixels = pixels.mean(axis=2, keepdims=True)
    return Picture(
        unscaled(pixels, np.dtype(np.uint8)),
        packed.alpha,
        icc=packed.icc,
        exif=packed.exif,
        dpi=packed.dpi,
        orientation=exif_block.orientation(packed.exif),
    )


def _at(picture: Picture, codec: Codec, quality: int) -> Compressed:
    """The picture at one quality."""
    samples = picture.samples
    if picture.channels > codec.channels:
        raise OptionError(
            f"codec '{codec.name}' is for grey pictures and this one has colours; give a codec for "
            "colour"
        )
    seen = np.broadcast_to(samples, (*samples.shape[:2], codec.channels))
    symbols = codec.encode(seen, quality)
    y_rows, z_rows = codec.tables(quality)
    coder = Encoder()
    if symbols.z is not None:
        coder.put(symbols.z, _channels(symbols.z.shape), z_rows)
    if symbols.rows is None:
        coder.put(symbols.y, _channels(symbols.y.shape), y_rows)
    else:
        # A stage at a time, as the reader must take them.
        for part in codec.stages:
            coder.put(symbols.y[part], symbols.rows[part], y_rows)
    coded, escapes = coder.finish()
    packed = Packed(
        model=codec.name,
        fingerprint=codec.fingerprint,
        quality=quality,
        width=picture.width,
        height=picture.height,
        channels=picture.channels,
        coded=coded,
        escapes=escapes,
        alpha=picture.alpha,
        exif=exif_block.with_orientation(picture.exif, picture.orientation),
        icc=picture.icc,
        dpi=picture.dpi,
    )
    return Compressed(pack(packed), quality, picture.height * picture.width)


def _symbols(packed: Packed, codec: Codec) -> Symbols:
    """The whole numbers in a file's streams."""
    y_shape, z_shape = codec.shapes(packed.height, packed.width)
    y_rows, z_rows = codec.tables(packed.quality)
    coder = Decoder(packed.coded, packed.escapes)

    def taken(rows: NDArray[Any], table: Rows, most: int) -> NDArray[np.int32]:
        values = coder.take(rows, table)
        # Not in int32, where the absolute of the least number is itself.
        if np.abs(values.astype(np.int64)).max() > most:
            raise ImageError(DAMAGED)
        return values

    if z_shape is None:
        found = Symbols(taken(_channels(y_shape), y_rows, LARGEST_LATENT))
    else:
        z = taken(_channels(z_shape), z_rows, LARGEST_SYMBOL)
        found = codec.walk(
            z,
            y_shape[1:],
            packed.quality,
            lambda _part, _mean, rows: taken(rows, y_rows, LARGEST_LATENT),
        )
    coder.finish()
    return found


def _channels(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """The number of its channel at every place of (C, h, w)."""
    numbers = np.arange(shape[0], dtype=np.uint16)
    return np.broadcast_to(numbers[:, None, None], shape)


def _eight_bits(picture: Picture, reduce: bool) -> Picture:
    """The picture with 8 bits a sample, if it has them or may be rounded."""
    if picture.storage.get("extrasample") == 1:
        raise OptionError("the colours are multiplied by alpha; save the picture as PNG first")
    samples = picture.samples
    if samples.dtype == np.uint8:
        return picture
    is_float = samples.dtype.kind == "f"
    what = "float" if is_float else "16-bit"
    if not reduce:
        raise OptionError(
            f"{what} samples would be rounded to 8 bits in a .plc file; allow it with --reduce "
            "(reduce=True), or keep TIFF or PNG"
        )
    if is_float and not (picture.finite and samples.min() >= 0 and samples.max() <= 1):
        raise OptionError(
            "float samples outside [0, 1] cannot be reduced to 8 bits; scale them to [0, 1] first"
        )
    kind = np.dtype(np.uint8)
    alpha = None if picture.alpha is None else unscaled(_unit(picture.alpha), kind)
    return replace(picture, samples=unscaled(_unit(samples), kind), alpha=alpha, bits=8)


def _unit(samples: NDArray[Any]) -> NDArray[Any]:
    return samples if samples.dtype.kind == "f" else samples / np.float32(65535)


def _called(image: object) -> str:
    return str(image) if isinstance(image, str | Path) else "the picture"
