"""The two binary formats that the classic small data sets are published in: IDX and CIFAR's.

Files are told by their bytes and not by their hash: the same pictures may lie re-compressed, cut
or unpacked in a folder of the user's. What was downloaded has had its hash checked before.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np

from pellucid.errors import DataError

_DEFLATE = 1040  # Deflate's best ratio is 1032.
_CHUNK = 1 << 20
# The fourth byte gives the number of axes; 8 is the code for unsigned bytes.
_IDX_MAGIC = b"\x00\x00\x08"
CIFAR_FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
CIFAR_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file, gzipped or not, as MNIST is published.

    Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998: big-endian
    magic (2051 for images, 2049 for labels), one length for each axis, then the bytes.

    Raises:
        DataError: Not such a file, or cut short.
    """
    try:
        with path.open("rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            magic = stream.read(4)
            if magic[:3] != _IDX_MAGIC or len(magic) < 4 or magic[3] not in (1, 3):
                raise DataError(f"{path} is not an IDX file of bytes; see the format of MNIST")
            lengths = struct.unpack(f">{magic[3]}I", stream.read(4 * magic[3]))
            # No file unpacks to more: a header that claims terabytes gets no memory.
            possible = path.stat().st_size * (_DEFLATE if packed else 1)
            content = np.empty(min(math.prod(lengths), possible), np.uint8)
            done = _fill(stream, content)
            more = stream.read(1)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error or 'it ends too early'}") from error
    if done != math.prod(lengths) or more:
        raise DataError(
            f"{path} holds {'more' if more else 'less'} than the {' x '.join(map(str, lengths))} "
            "bytes that its header says; it is damaged: fetch it again"
        )
    return content.reshape(lengths)


def _fill(stream: gzip.GzipFile | io.BufferedReader, buffer: np.ndarray) -> int:
    view, done = buffer.data, 0
    while count := stream.readinto(view[done : done + _CHUNK]):
        done += count
    return done


def idx_pair(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, 1) and labels (N,) of one part (``train`` or ``t10k``) of a folder."""
    images = read_idx(_idx_file(folder, f"{prefix}-images", 3))
    labels = read_idx(_idx_file(folder, f"{prefix}-labels", 1))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or not len(images):
        raise DataError(
            f"{folder}: {prefix} images are {images.shape} and labels {labels.shape}; they must be "
            "(N, height, width) and (N,) with the same N"
        )
    return images[..., None], labels


def _idx_file(folder: Path, stem: str, axes: int) -> Path:
    names = [f"{stem}{dash}idx{axes}-ubyte{end}" for dash in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataError(f"{folder} holds no {names[1]}; it needs MNIST's four files")


def cifar_folder(folder: Path) -> Path | None:
    """Where the six binary files of CIFAR-10 lie in or right under `folder`."""
    for place in (folder, folder / "cifar-10-batches-bin"):
        if all((place / name).is_file() for name in CIFAR_FILES):
            return place
    return None


def read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 and labels (N,) of one binary file of CIFAR-10.

    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009: records of a
    label and 3,072 bytes, planar red, green, blue.

    Raises:
        DataError: Not a whole number of records, or labels beyond 9.
    """
    content = np.fromfile(path, np.uint8)
    if content.size == 0 or content.size % 3073:
        raise DataError(
            f"{path} is {content.size} bytes long, not a multiple of CIFAR-10's 3,073-byte "
            "records; it is cut short or damaged: fetch it again"
        )
    records = content.reshape(-1, 3073)
    if records[:, 0].max() > 9:
        raise DataError(f"{path} holds labels beyond 9; it is not CIFAR-10's binary form")
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0].copy()


def unpack_cifar(archive: Path, folder: Path) -> None:
    """Unpack the six known files of CIFAR-10's archive into `folder`, each whole or absent.

    Members are picked by name and written under our own names, so a hostile archive cannot write
    anywhere else.

    Raises:
        DataError: The archive is damaged or lacks one of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = set(CIFAR_FILES)
    try:
        with tarfile.open(archive, "r:gz") as members:
            for member in members:
                name = member.name.rpartition("/")[2]
                stream = members.extractfile(member) if name in wanted else None
                if stream is None:
                    continue
                part = folder / f"{name}.part"
                part.write_bytes(stream.read())
                os.replace(part, folder / name)
                wanted.discard(name)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}; delete it, run again") from error
    if wanted:
        raise DataError(f"{archive} lacks {', '.join(sorted(wanted))}; delete it, run again")
