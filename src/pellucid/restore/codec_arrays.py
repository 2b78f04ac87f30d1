"""What a ``.codec.npz`` holds, read with nothing in it trusted.

One file has all that compressing needs: a card, two ONNX graphs, the integer tables of the entropy
coder and the fixed-point prior. Names, types, shapes, bounds and sums are checked before anything
is used, and no pickle is opened. Read next: `codec`, which runs it.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import CheckpointError
from pellucid.restore.exact import SCALES, Layer, Prior, Stage

Arrays = Mapping[str, NDArray[Any]]

TOTAL = 2**16
"""What the frequencies of a row sum to."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""What a codec may be called: its name is written into every picture."""

_FACTOR = {"hyperprior": 64, "factorized": 16}
_ALWAYS = ("card", "encoder", "decoder", "z_freq", "z_offset", "z_size")
_HYPER = ("y_freq", "y_offset", "y_size", "z_scale", "y_out", "y_back")
_LAYER = ("weight", "bias", "shuffle")
_MOST_LAYERS, _MOST_CHANNELS, _MOST_QUALITIES, _MOST_HALO = 16, 4096, 100, 4096
_FARTHEST_OFFSET = 2**20
_LARGEST_BYTES, _RATIO = 2**29, 20


@dataclass(frozen=True)
class Rows:
    """Integer distributions of the entropy coder; the last symbol of each stands for all others.

    Args:
        frequency: (K, W), of 2**16; a row's entries after its size are 0.
        offset: (K,), the value of each row's first symbol.
        size: (K,), used entries of each row, the escape among them.
    """

    frequency: NDArray[np.int64]
    offset: NDArray[np.int64]
    size: NDArray[np.int64]


@dataclass(frozen=True)
class Contents:
    """A codec's file, checked.

    Args:
        card: What it says about itself.
        encoder: An ONNX graph.
        decoder: Likewise.
        z_rows: A table for each quality, with a row for each channel.
        y_rows: With a row for each scale; None for a factorised codec, which codes y with z's.
        prior: None for a factorised codec.
        fingerprint: Four bytes that other weights do not have.
    """

    card: dict[str, Any]
    encoder: bytes
    decoder: bytes
    z_rows: tuple[Rows, ...]
    y_rows: Rows | None
    prior: Prior | None
    fingerprint: bytes


def read(path: Path) -> Contents:
    """The codec in a file.

    Raises:
        CheckpointError: It cannot be read, or is not what it must be.
    """
    try:
        arrays = _loaded(path)
        card = _card(arrays)
        return _checked(arrays, card)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (
        *(OSError, ValueError, TypeError, EOFError, MemoryError, RecursionError, KeyError),
        *(zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, OverflowError),
    ) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(
            f"{path} is no codec that can be read ({why}); copy or export it again"
        ) from error


def _loaded(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays, once it is known that they are no larger than they say and hold no pickle."""
    with zipfile.ZipFile(path) as members:
        listed = members.infolist()
        unpacked = sum(member.file_size for member in listed)
        if unpacked > _LARGEST_BYTES or unpacked > max(2**26, _RATIO * path.stat().st_size):
            raise ValueError(f"it would unpack to {unpacked / 1e6:.0f} MB, as bombs do")
        if len({member.filename for member in listed}) != len(listed):
            raise ValueError("it holds an array twice")
        found: dict[str, NDArray[Any]] = {}
        for member in listed:
            with members.open(member) as file:
                version = np.lib.format.read_magic(file)
                read_header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, is_fortran, dtype = read_header(file)
                if dtype.hasobject:
                    raise ValueError("it holds pickled objects, which are never loaded")
                # Never more than the member's own size, whatever its header says.
                content = np.frombuffer(file.read(), dtype)
                order = "F" if is_fortran else "C"
                name = member.filename.removesuffix(".npy")
                found[name] = content.reshape(shape, order=order)  # type: ignore[call-overload]
    return found


def _card(arrays: Arrays) -> dict[str, Any]:
    """The card, with what the reader goes by known to be possible."""
    if "card" not in arrays:
        raise CheckpointError("it is no codec: there is no card in it; export one")
    card = json.loads(_bytes(arrays, "card", 2**24).decode())
    if not isinstance(card, dict):
        raise CheckpointError("its card is no JSON object; export it again")
    model, name = card.get("model"), card.get("name")
    if not isinstance(model, str) or model not in _FACTOR:
        raise CheckpointError(
            f"it is a codec of the kind {model!r}; {' and '.join(_FACTOR)} can be run: install the "
            "pellucid that wrote it"
        )
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise CheckpointError(f"it is called {name!r}; letters, digits, '.', '_' and '-' can be")
    factor = _FACTOR[model]
    _number(card, "qualities", 1, _MOST_QUALITIES)
    _number(card, "latents", 1, _MOST_CHANNELS)
    _number(card, "hyper_latents", factor == 64, _MOST_CHANNELS if factor == 64 else 0)
    _number(card, "image_channels", 1, 3)
    _number(card, "multiple_of", factor, factor)
    for key in ("encoder_halo", "decoder_halo"):
        _number(card, key, 0, _MOST_HALO)
        if card[key] % factor:
            raise CheckpointError(f"its {key} is {card[key]}, no multiple of {factor}")
    if card["image_channels"] == 2:
        raise CheckpointError("its image_channels is 2; 1 and 3 are possible")
    return card


def _number(card: dict[str, Any], key: str, low: int, high: int) -> None:
    value = card.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise CheckpointError(f"its {key} is {value!r}; {int(low)} to {high} is possible")


def _checked(arrays: Arrays, card: dict[str, Any]) -> Contents:
    """All arrays and no others, each as it must be."""
    hyper = card["model"] == "hyperprior"
    wanted = {*_ALWAYS, *(_HYPER if hyper else ())}
    layers = _counted(arrays, "prior_{}_weight") if hyper else 0
    stages = _counted(arrays, "stage_{}_first_weight") if hyper else 0
    named = [f"prior_{number}" for number in range(layers)]
    named += [f"stage_{number}_{which}" for number in range(stages) for which in ("first", "last")]
    wanted |= {f"{name}_{part}" for name in named for part in _LAYER}
    if wrong := sorted(wanted ^ set(arrays)):
        state = "is missing" if wrong[0] in wanted else "does not belong there"
        raise CheckpointError(f"array '{wrong[0]}' {state}; export it again")
    qualities, latents, hidden = (card[k] for k in ("qualities", "latents", "hyper_latents"))
    channels = hidden if hyper else latents
    z_rows = tuple(
        _rows(arrays, "z", (qualities, channels), quality) for quality in range(qualities)
    )
    y_rows = _rows(arrays, "y", (SCALES,), None) if hyper else None
    prior = _prior(arrays, (layers, stages), qualities, hidden, latents) if hyper else None
    encoder, decoder = (_bytes(arrays, name, _LARGEST_BYTES) for name in ("encoder", "decoder"))
    return Contents(card, encoder, decoder, z_rows, y_rows, prior, _fingerprint(arrays))


def _bytes(arrays: Arrays, name: str, most: int) -> bytes:
    array = arrays[name]
    if array.dtype != np.uint8 or array.ndim != 1 or not 0 < array.size <= most:
        raise CheckpointError(f"array '{name}' is {_said(array)}; bytes are needed")
    return array.tobytes()


def _array(
    arrays: Arrays, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """An array of this type and shape, None for any length."""
    array = arrays[name]
    fits = len(array.shape) == len(shape) and all(
        want is None or want == side for want, side in zip(shape, array.shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        sides = ", ".join("any" if side is None else str(side) for side in shape)
        raise CheckpointError(
            f"array '{name}' is {_said(array)}; {np.dtype(dtype).name} ({sides}) is needed"
        )
    return array


def _said(array: NDArray[Any]) -> str:
    return f"{array.dtype.name} {array.shape}"


def _rows(arrays: Arrays, name: str, shape: tuple[int, ...], quality: int | None) -> Rows:
    """One table of distributions, all of them sound."""
    frequency = _array(arrays, f"{name}_freq", np.uint16, (*shape, None))
    offset = _array(arrays, f"{name}_offset", np.int32, shape)
    size = _array(arrays, f"{name}_size", np.int32, shape)
    if quality is not None:
        frequency, offset, size = frequency[quality], offset[quality], size[quality]
    frequency, offset, size = (a.astype(np.int64) for a in (frequency, offset, size))
    wide = frequency.shape[-1]
    used = np.arange(wide) < size[:, None]
    sound = bool(
        ((size >= 2) & (size <= wide)).all()
        and ((frequency > 0) == used).all()
        and (frequency.sum(axis=1) == TOTAL).all()
        and (np.abs(offset) <= _FARTHEST_OFFSET).all()
    )
    if not sound:
        raise CheckpointError(
            f"array '{name}_freq' holds rows that are no distributions: each must have 2 to {wide} "
            f"entries above 0 that sum to {TOTAL}; export it again"
        )
    return Rows(frequency, offset, size)


def _counted(arrays: Arrays, name: str) -> int:
    """How many arrays there are of a numbered name, without a gap."""
    return next((n for n in range(_MOST_LAYERS) if name.format(n) not in arrays), _MOST_LAYERS)


def _prior(
    arrays: Arrays, counts: tuple[int, int], qualities: int, hidden: int, latents: int
) -> Prior:
    """The fixed-point network, each layer fitting what comes before."""
    scale = _array(arrays, "z_scale", np.int32, (qualities, hidden))
    layers: list[Layer] = []
    channels, spread = hidden, 1
    for number in range(counts[0]):
        layer = _layer(arrays, f"prior_{number}", channels, qualities)
        channels, spread = len(layer.weight) // layer.shuffle**2, spread * layer.shuffle
        layers.append(layer)
    if spread != 4:
        raise CheckpointError(f"its prior ends at {spread} times the size; 4 times are needed")
    stages: list[Stage] = []
    told = 0
    for number in range(counts[1]):
        first = _layer(arrays, f"stage_{number}_first", channels + told, qualities, flat=True)
        last = _layer(arrays, f"stage_{number}_last", len(first.weight), qualities, flat=True)
        if len(last.weight) % 2:
            raise CheckpointError(f"stage {number} gives {len(last.weight)} numbers, not pairs")
        told += len(last.weight) // 2
        stages.append(Stage(first, last))
    if told != latents:
        raise CheckpointError(f"its stages tell {told} latents; {latents} are needed")
    out, back = (_array(arrays, f"y_{k}", np.int32, (qualities, latents)) for k in ("out", "back"))
    return Prior(
        scale.astype(np.float64),
        tuple(layers),
        tuple(stages),
        out.astype(np.int64),
        back.astype(np.int64),
    )


def _layer(
    arrays: Arrays, name: str, channels: int, qualities: int, *, flat: bool = False
) -> Layer:
    """One layer that takes so many channels; `flat` for those that may not be spread."""
    weight = _array(arrays, f"{name}_weight", np.int32, (None, channels, 3, 3))
    bias = _array(arrays, f"{name}_bias", np.int64, (qualities, len(weight)))
    shuffle = int(_array(arrays, f"{name}_shuffle", np.int32, ()))
    possible = (1,) if flat else (1, 2)
    if shuffle not in possible or len(weight) % shuffle**2 or not len(weight):
        raise CheckpointError(f"layer '{name}' of its prior cannot be spread by {shuffle}")
    return Layer(weight.astype(np.float64), bias.astype(np.float64), shuffle)


def _fingerprint(arrays: Arrays) -> bytes:
    """The first bytes of a hash of all that decides what a file means; the card does not."""
    told = hashlib.sha256()
    for name in sorted(set(arrays) - {"card"}):
        array = arrays[name]
        told.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        told.update(np.ascontiguousarray(array).tobytes())
    return told.digest()[:4]
