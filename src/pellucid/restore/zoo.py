"""The models that come in the box, and what a model file says about itself.

A shipped model is two files in the package folder ``weights``: ``NAME.onnx`` to run and
``NAME.safetensors`` to train further. Both carry the same card; it is read here from the file's
own header, without opening the network. A codec for pictures is one file, ``NAME.codec.npz``. Read
next: `runtime`, which opens networks.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pellucid
from pellucid.errors import CheckpointError, OptionError, unknown

DEFAULT = "photo"
"""The model that `pellucid denoise` uses unless told otherwise."""

MEDICAL = "medical"
"""The same for grey DICOM pictures."""

WEIGHTS = Path(pellucid.__file__).parent / "weights"
SUFFIXES = (".onnx", ".safetensors")
KEY = "pellucid"
"""Where both file formats keep the card: safetensors' metadata, ONNX's metadata_props."""

INPAINT = "inpaint"
"""What `pellucid inpaint` uses."""

TWINS = {
    "photo": "photo-gray",
    "gaussian-color": "gaussian-gray",
    "inpaint": "inpaint-gray",
}
"""Models for colour, and the one for grey that was made beside each."""

FAST = "-fast"
"""Ends the name of a model's quicker form; twins are of one form."""

CODEC = "photo-codec"
"""What `pellucid compress` uses."""

CODEC_SUFFIX = ".codec.npz"

_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
_LARGEST_CARD_BYTES = 16 * 2**20


def names() -> list[str]:
    """The names of the models in the box that restore, sorted; empty where none are shipped."""
    if not WEIGHTS.is_dir():
        return []
    found = {path.stem for path in WEIGHTS.iterdir() if path.suffix in SUFFIXES}
    # A codec's checkpoint, to train it further, restores nothing.
    return sorted(found - set(codecs()))


def codecs() -> list[str]:
    """The names of the codecs in the box, sorted; empty where none are shipped."""
    if not WEIGHTS.is_dir():
        return []
    files = [path.name for path in WEIGHTS.iterdir()]
    return sorted(n.removesuffix(CODEC_SUFFIX) for n in files if n.endswith(CODEC_SUFFIX))


def resolve_codec(name: str | Path) -> Path:
    """The file of a codec in the box, or of a path.

    Raises:
        CheckpointError: The path is no codec, or none is in the box.
        OptionError: No such name.
    """
    given, path = str(name), Path(name).expanduser()
    looks_like_path = isinstance(name, Path) or "/" in given or os.sep in given
    available = codecs()
    if given in available and not looks_like_path:
        return WEIGHTS / f"{given}{CODEC_SUFFIX}"
    if looks_like_path or path.suffix or path.exists():
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            boxed = ", ".join(available) or "none"
            raise CheckpointError(
                f"{path} {what}; give a {CODEC_SUFFIX} file, or the name of a codec in the box "
                f"({boxed})"
            )
        if path.suffix.lower() != ".npz":
            raise CheckpointError(f"{path} is no codec; give a {CODEC_SUFFIX} file")
        return path
    if not available:
        raise CheckpointError(
            f"no codec '{given}': this version has none in the box; give a {CODEC_SUFFIX} file, "
            "which pellucid export makes of a run of the recipe photo-codec"
        )
    raise unknown("codec", given, available)


def default(kind: str, channels: int) -> str:
    """The model for a picture of this kind (a key of `images.KINDS`), where none is named."""
    is_medical = kind == "dicom" and channels == 1 and MEDICAL in names()
    return MEDICAL if is_medical else DEFAULT


def twin(name: str) -> str | None:
    """The shipped model for grey beside one for colour, or the reverse; None where there is none.

    Example:
        >>> twin("a/file.onnx") is None
        True
    """
    form = FAST if name.endswith(FAST) else ""
    grey = {of_grey: colour for colour, of_grey in TWINS.items()}
    other = (TWINS | grey).get(name.removesuffix(FAST))
    return f"{other}{form}" if other and {name, f"{other}{form}"} <= set(names()) else None


def card(name: str | Path) -> dict[str, Any]:
    """What a model says about itself: model, options, recipe, data, licence, scores, version.

    Empty for a file that somebody else made.
    """
    return metadata(resolve(name))


def resolve(name: str | Path, *, prefer: str = ".onnx") -> Path:
    """The file of a shipped model, of a path, or of a run folder.

    Args:
        name: A name from `names`, a path to an .onnx or .safetensors file, or a folder that
            `pellucid train` made.
        prefer: The suffix to take where a shipped model has both.

    Raises:
        CheckpointError: The path holds no model that can be opened.
        OptionError: No such name.
    """
    given = str(name)
    path = Path(name).expanduser()
    if path.is_dir() and (isinstance(name, Path) or os.sep in given or given not in names()):
        inside = path / "model.safetensors"
        if inside.is_file():
            return inside
        raise CheckpointError(
            f"{path} is a folder without model.safetensors; "
            "give a run folder of 'pellucid train', or a model file"
        )
    looks_like_path = isinstance(name, Path) or "/" in given or os.sep in given
    if looks_like_path or path.suffix.lower() in (*SUFFIXES, *_PICKLES) or path.is_file():
        return _checked(path)
    available = names()
    if given not in available:
        if not available:
            raise CheckpointError(
                f"no model '{given}': this version has no models in the box yet; "
                "give --model a file that 'pellucid train' or 'pellucid export' wrote"
            )
        if given in codecs():
            raise OptionError(
                f"'{given}' is a codec, for 'pellucid compress'; models: {', '.join(available)}"
            )
        raise unknown("model", given, available)
    ordered = sorted(SUFFIXES, key=lambda suffix: suffix != prefer)
    return next(path for suffix in ordered if (path := WEIGHTS / f"{given}{suffix}").is_file())


def metadata(path: Path) -> dict[str, Any]:
    """The card in a model file's header; empty where there is none.

    Raises:
        CheckpointError: The header is damaged, or is not what the suffix says.
    """
    try:
        with path.open("rb") as file:
            text = _safetensors_card(file) if path.suffix == ".safetensors" else _onnx_card(file)
        found = {} if text is None else json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"cannot read {path}: {error or type(error).__name__}; the file is damaged or is no "
            "model, copy or export it again"
        ) from error
    if not isinstance(found, dict):
        raise CheckpointError(f"cannot read {path}: its '{KEY}' metadata is no JSON object")
    return found


def _checked(path: Path) -> Path:
    """The path, if it may be opened."""
    if not path.is_file():
        hint = f"; models in the box: {', '.join(names())}" if names() else ""
        raise CheckpointError(f"no model file {path}{hint}")
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        beside = path.with_name("model.safetensors")
        better = f"; {beside} is beside it" if beside.is_file() else ""
        raise CheckpointError(
            f"{path} may hold a pickle, which can run any code, so it is not opened; "
            f"give an .onnx or .safetensors file{better}"
        )
    if path.name.endswith(CODEC_SUFFIX):
        raise CheckpointError(f"{path} is a codec and restores nothing; give it to compress")
    if suffix not in SUFFIXES:
        raise CheckpointError(f"{path} is no model file; .onnx and .safetensors can be opened")
    return path


def _safetensors_card(file: BinaryIO) -> str | None:
    """The card in the header, which is its length in 8 bytes and then JSON.

    https://huggingface.co/docs/safetensors
    """
    size = int.from_bytes(file.read(8), "little")
    if not 2 <= size <= _LARGEST_CARD_BYTES:
        raise ValueError("not a safetensors file")
    header = json.loads(file.read(size))
    if not isinstance(header, dict):
        raise ValueError("not a safetensors file")
    extra = header.get("__metadata__", {})
    text = extra.get(KEY) if isinstance(extra, dict) else None
    return text if isinstance(text, str) else None


def _onnx_card(file: BinaryIO) -> str | None:
    """Walk the outermost fields of a ModelProto, stepping over the graph, for metadata_props.

    The protobuf wire format needs no more than this, and a model of any size is read at once.
    https://protobuf.dev/programming-guides/encoding
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    found: str | None = None
    graph = False
    while file.tell() < end:
        tag = _varint(file)
        field, wire = tag >> 3, tag & 7
        if wire == 0:
            _varint(file)
        elif wire in (1, 5):
            file.seek(8 if wire == 1 else 4, os.SEEK_CUR)
        elif wire == 2:
            size = _varint(file)
            if file.tell() + size > end:
                raise ValueError("not a whole ONNX file")
            graph |= field == 7
            if field == 14 and size <= _LARGEST_CARD_BYTES:
                entry = dict(_strings(file.read(size)))
                if entry.get(1) == KEY.encode():
                    found = entry.get(2, b"").decode()
            else:
                file.seek(size, os.SEEK_CUR)
        else:
            raise ValueError("not an ONNX file")
    if not graph:
        raise ValueError("not an ONNX file")
    return found


def _strings(entry: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbered strings of a small protobuf message."""
    file = io.BytesIO(entry)
    while file.tell() < len(entry):
        tag = _varint(file)
        if tag & 7 != 2:
            raise ValueError("not an ONNX file")
        yield tag >> 3, file.read(_varint(file))


def _varint(file: BinaryIO) -> int:
    """Seven bits a byte, lowest first, the eighth says that more follow."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("not an ONNX file")
