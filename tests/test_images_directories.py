"""What goes with a picture survives on its way between TIFF and the other formats."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin
from PIL.TiffImagePlugin import IFDRational

from pellucid import images
from pellucid.images import directories
from pellucid.images import exif as exif_block
from pellucid.images.directories import EXPOSURE, GPS, INTEROPERABILITY, Entry
from pellucid.images.picture import Picture

ABOUT: dict[int, Any] = {0x010F: "a maker", 0x0110: "a model", 0x013B: "an author", 0x8298: "mine"}
TAKEN: dict[int, Any] = {
    0x829A: IFDRational(1, 125),
    0x829D: IFDRational(28, 10),
    0x8827: 800,
    0x9003: "2026:11:28 12:00:00",
    0x9204: IFDRational(-2, 3),
    0x927C: b"a maker's note \x00\x01\x02",
    0xA434: "a lens",
}
WHERE: dict[int, Any] = {
    1: "N",
    2: (IFDRational(52, 1), IFDRational(31, 1), IFDRational(1234, 100)),
    3: "E",
    4: (IFDRational(13, 1), IFDRational(24, 1), IFDRational(5, 1)),
    5: b"\x00",
}
SAMPLES = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def block(order: str = "II") -> bytes:
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif.update(ABOUT)
    exif[0x0112] = 6
    exif.get_ifd(EXPOSURE).update(TAKEN)
    exif.get_ifd(GPS).update(WHERE)
    exif.get_ifd(EXPOSURE)[INTEROPERABILITY] = {1: "R98"}
    data = exif_block.bare(exif.tobytes())
    assert data is not None
    return data


def told(exif: Image.Exif) -> None:
    """Pillow's reader finds all of it."""
    assert {tag: exif.get(tag) for tag in ABOUT} == ABOUT
    taken = dict(exif.get_ifd(EXPOSURE))
    rules = taken.pop(INTEROPERABILITY, None)
    assert taken == TAKEN
    assert dict(exif.get_ifd(GPS)) == WHERE
    assert rules == {1: "R98"} or dict(exif.get_ifd(INTEROPERABILITY)) == {1: "R98"}


def written(picture: Picture, kind: str) -> io.BytesIO:
    file = io.BytesIO()
    images.write(file, picture, kind=kind)
    file.seek(0)
    return file


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("big", [False, True], ids=["classic", "big"])
def test_exposure_and_place_go_into_tiff_and_out_again(
    order: str, byteorder: str, big: bool
) -> None:
    storage = {"byteorder": byteorder, "bigtiff": big}
    data = block(order)
    file = written(Picture(SAMPLES, exif=data, orientation=6, storage=storage), "tiff")
    back = images.read(file)
    assert back.orientation == 6
    again = written(back, "tiff")
    if not (big and byteorder == ">"):  # which Pillow takes for another format
        for one in (file, again):
            with Image.open(one) as image:
                exif = image.getexif()
                assert exif[0x0112] == 6
                told(exif)
    for kind in ("jpeg", "png", "webp", "avif"):
        with Image.open(written(back, kind)) as image:
            exif = image.getexif()
            assert exif[0x0112] == 6
            told(exif)
    np.testing.assert_array_equal(images.read(again).samples, SAMPLES)


def test_each_page_keeps_its_own_also_beside_fax() -> None:
    grey = np.zeros((40, 40, 1), np.uint8)
    fax = {"compression": 4}
    pages = [
        Picture(grey, exif=block(), bits=1, kind="tiff", storage=fax, page=(0, 3)),
        Picture(grey, page=(1, 3)),
        Picture(SAMPLES, exif=block("MM"), page=(2, 3)),
    ]
    file = io.BytesIO()
    images.write(file, iter(pages), kind="tiff")
    file.seek(0)
    first, second, third = images.pages(file)
    assert second.exif is None
    for page in (first, third):
        exif = Image.Exif()
        exif.load(page.exif or b"")
        told(exif)
    assert first.storage["compression"] == 4


def test_what_tifffile_reads_is_what_was_written() -> None:
    file = written(Picture(SAMPLES, exif=block("MM")), "tiff")
    with tifffile.TiffFile(file) as tiff:
        tags = tiff.pages[0].tags  # type: ignore[union-attr]
        assert tags[EXPOSURE].value["ExposureTime"] == (1, 125)
        assert tags[GPS].value["GPSLatitude"] == (52, 1, 31, 1, 617, 50)
        codes = [tag.code for tag in tags]
    assert codes == sorted(codes)


def test_a_packet_of_xmp_and_the_texts_of_a_png_are_kept() -> None:
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>\xc3\xa9</x:xmpmeta>"
    for kind in ("tiff", "png", "jpeg", "webp", "avif"):
        file = written(Picture(SAMPLES, xmp=packet), kind)
        assert images.read(file).xmp == packet, kind
        with Image.open(file) as image:
            found = image.tag_v2[700] if kind == "tiff" else image.info["xmp"]  # type: ignore[attr-defined]
        assert found in (packet, packet.decode()), kind
    for samples in (SAMPLES, SAMPLES.astype(np.uint16)):
        file = written(Picture(samples, xmp=packet), "png")
        texts = images.read(file)
        assert texts.xmp == packet
    info = Image.new("L", (3, 3))
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("Title", "A title")
    notes.add_text("Comment", "long " * 50, zip=True)
    notes.add_itxt("Author", "Łukasz")
    file = io.BytesIO()
    info.save(file, "PNG", pnginfo=notes)
    with Image.open(written(images.read(file), "png")) as image:
        image.load()
        assert image.text == {"Title": "A title", "Comment": "long " * 50, "Author": "Łukasz"}  # type: ignore[attr-defined]


IPTC = b"\x1c\x02\x19\x00\x05tower" + b"\x1c\x02\x78\x00\x09A caption"


def test_captions_go_between_jpeg_and_tiff() -> None:
    for kind, other in (("jpeg", "tiff"), ("tiff", "jpeg"), ("jpeg", "jpeg"), ("tiff", "tiff")):
        first = images.read(written(Picture(SAMPLES, exif=block(), xmp=b"<x/>", iptc=IPTC), kind))
        file = written(first, other)
        second = images.read(file)
        assert second.iptc == IPTC
        assert second.xmp == b"<x/>"
        with Image.open(file) as image:
            assert IptcImagePlugin.getiptcinfo(image) == {(2, 25): b"tower", (2, 120): b"A caption"}  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("order", ["<", ">"])
def test_captions_stored_as_whole_numbers_are_read(order: str) -> None:
    padded = IPTC + bytes(-len(IPTC) % 4)
    numbers = np.frombuffer(padded, order + "u4")
    file = io.BytesIO()
    tags = [(33723, 4, len(numbers), numbers.tolist(), True)]
    tifffile.imwrite(file, SAMPLES, extratags=tags, byteorder=order, metadata=None)  # type: ignore[call-overload]
    assert images.read(file).iptc == IPTC


def test_a_block_too_long_for_jpeg_leaves_the_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    exif.get_ifd(EXPOSURE)[0x927C] = bytes(70_000)
    data = exif_block.bare(exif.tobytes())
    picture = Picture(SAMPLES, exif=data, orientation=8, xmp=b"x" * 70_000)
    assert images.read(written(picture, "jpeg")).orientation == 8
    assert images.read(written(picture, "png")).exif == data
    upright = written(Picture(SAMPLES, exif=exif_block.with_orientation(data, 1)), "jpeg")
    assert images.read(upright).exif is None


@pytest.mark.filterwarnings("error")
@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=8))
def test_a_damaged_block_does_no_harm_to_a_tiff(changes: list[tuple[int, int]]) -> None:
    data = bytearray(block())
    for at, value in changes:
        data[at % len(data)] = value
    file = written(Picture(SAMPLES, exif=bytes(data)), "tiff")
    np.testing.assert_array_equal(images.read(file).samples, SAMPLES)


@pytest.mark.filterwarnings("error")
@given(st.binary(max_size=200), st.booleans(), st.sampled_from("<>"))
def test_no_bytes_raise(data: bytes, big: bool, order: str) -> None:
    directories.read(io.BytesIO(data), 0, order, big=big, tags=range(2**16), nested=(EXPOSURE, GPS))
    exif_block.entries(b"II*\0\x08\0\0\0" + data)


def test_a_hostile_block_cannot_ask_for_all_memory() -> None:
    # 4,000 entries that each point at the same megabyte.
    rows = [Entry(tag, 7, bytes(5)) for tag in range(1, 4001)]
    data = bytearray(directories.laid(rows, 8, "<"))
    for row in range(4000):
        data[2 + 12 * row + 4 : 2 + 12 * row + 8] = (2**20).to_bytes(4, "little")
    stream = io.BytesIO(b"II*\0\x08\0\0\0" + data + bytes(2**20))
    found = directories.read(stream, 8, "<", tags=range(2**16))
    assert sum(len(entry.raw) for entry in found) <= 2**26


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "avif"])
def test_an_animation_says_that_it_is_one(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    path = tmp_path / f"moving.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert images.read(path).animated
    frames[0].save(path)
    assert not images.read(path).animated
