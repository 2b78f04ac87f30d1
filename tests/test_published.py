"""IDX and CIFAR files: read by their bytes, refused where they are cut, foreign or hostile."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import DataError
from pellucid.learn.published import (
    CIFAR_FILES,
    cifar_folder,
    idx_pair,
    read_cifar,
    read_idx,
    unpack_cifar,
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.tobytes()


PICTURES = np.random.default_rng(0).integers(0, 256, (7, 5, 4), np.uint8)
LABELS = np.arange(7, dtype=np.uint8)


def write_idx(folder: Path, packed: bool = True) -> None:
    for prefix in ("train", "t10k"):
        for kind, array in (("images-idx3", PICTURES), ("labels-idx1", LABELS)):
            content = idx_bytes(array)
            name = f"{prefix}-{kind}-ubyte" + (".gz" if packed else "")
            (folder / name).write_bytes(gzip.compress(content) if packed else content)


def write_cifar(folder: Path, count: int = 4) -> np.ndarray:
    records = np.random.default_rng(1).integers(0, 256, (count, 3073), np.uint8)
    records[:, 0] = np.arange(count) % 10
    folder.mkdir(parents=True, exist_ok=True)
    for name in CIFAR_FILES:
        (folder / name).write_bytes(records.tobytes())
    return records


@pytest.mark.parametrize("packed", [True, False])
def test_pictures_and_labels_come_back(tmp_path: Path, packed: bool) -> None:
    write_idx(tmp_path, packed)
    pictures, labels = idx_pair(tmp_path, "train")
    assert np.array_equal(pictures[..., 0], PICTURES)
    assert np.array_equal(labels, LABELS)
    assert pictures.flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x89PNG\r\n\x1a\n and so on",
        idx_bytes(PICTURES)[:-1],
        idx_bytes(PICTURES) + b"x",
        idx_bytes(PICTURES)[:10],
        struct.pack(">4I", 0x803, 2**31, 2**31, 2**31),
        gzip.compress(idx_bytes(PICTURES))[:-20],
        b"\x1f\x8b garbage",
        struct.pack(">2I", 0xD01, 1) + bytes(4),
    ],
)
def test_a_damaged_or_foreign_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match="train-images") as caught:
        read_idx(path)
    assert "\n" not in str(caught.value)


def test_labels_must_fit_the_pictures(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(LABELS[:3])))
    with pytest.raises(DataError, match="same N"):
        idx_pair(tmp_path, "train")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte\.gz"):
        idx_pair(tmp_path, "train")


def test_cifar_records_are_planar_red_green_blue(tmp_path: Path) -> None:
    records = write_cifar(tmp_path)
    pictures, labels = read_cifar(tmp_path / "test_batch.bin")
    assert pictures.shape == (4, 32, 32, 3)
    assert np.array_equal(labels, records[:, 0])
    assert pictures[2, 5, 7, 1] == records[2, 1 + 1024 + 5 * 32 + 7]


@pytest.mark.parametrize("content", [b"", bytes(3072), b"\x0b" + bytes(3072)])
def test_what_is_not_cifar_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.bin"):
        read_cifar(tmp_path / "x.bin")


def archive_of(folder: Path, path: Path, *, hostile: bool = False) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in CIFAR_FILES:
            archive.add(folder / name, f"cifar-10-batches-bin/{name}")
        if hostile:
            info = tarfile.TarInfo("../../escaped.txt")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"evil"))
            link = tarfile.TarInfo("batches.meta.txt")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
    return path


def test_the_archive_unpacks_the_six_files_and_nothing_else(tmp_path: Path) -> None:
    write_cifar(tmp_path / "from")
    archive = archive_of(tmp_path / "from", tmp_path / "c.tar.gz", hostile=True)
    unpack_cifar(archive, tmp_path / "a" / "b" / "to")
    place = tmp_path / "a" / "b" / "to"
    assert cifar_folder(place) == place
    assert sorted(path.name for path in place.iterdir()) == sorted(CIFAR_FILES)
    assert not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.parametrize("cut", [0, 100, -5000])
def test_a_damaged_archive_is_named(tmp_path: Path, cut: int) -> None:
    write_cifar(tmp_path / "from")
    archive = archive_of(tmp_path / "from", tmp_path / "c.tar.gz")
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"c\.tar\.gz"):
        unpack_cifar(archive, tmp_path / "to")


# MD5 of the unpacked files, as their authors published them.
MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.mark.data
@pytest.mark.parametrize("name", sorted(MNIST))
def test_real_mnist_is_what_was_published(real, name: str) -> None:
    array = read_idx(real("mnist") / f"{name}.gz")
    assert hashlib.md5(idx_bytes(array)).hexdigest() == MNIST[name]
