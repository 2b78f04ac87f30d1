"""TIFF: pages, codecs and tags come back; what tifffile and others write is read alike."""

from __future__ import annotations

import importlib.util
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pellucid import images
from pellucid.errors import ImageError
from pellucid.images import Picture

HAS_CODECS = importlib.util.find_spec("imagecodecs") is not None


def tiff(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    options.setdefault("metadata", None)
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def back(picture: Picture) -> tuple[Picture, tifffile.TiffPage]:
    file = io.BytesIO()
    images.write(file, picture, kind="tiff")
    file.seek(0)
    return images.read(file.getvalue()), tifffile.TiffFile(file).pages[0]


def images_bytes(picture: Picture) -> bytes:
    file = io.BytesIO()
    images.write(file, picture, kind="tiff")
    return file.getvalue()


def noise(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


CODECS = ["none", "deflate", "lzw", "packbits", "zstd", "lzma", "adobe_deflate"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("channels", [1, 3])
def test_codec_and_predictor_are_kept(dtype: str, codec: str, channels: int) -> None:
    array = noise(21, 33, channels, dtype=dtype)
    plain = codec in ("none", "packbits")
    given = tiff(
        array[..., 0] if channels == 1 else array,
        compression=codec,
        predictor=not plain,
        photometric="minisblack" if channels == 1 else "rgb",
    )
    picture = images.read(given)
    np.testing.assert_array_equal(picture.samples, array)
    again, page = back(picture)
    np.testing.assert_array_equal(again.samples, array)
    before = tifffile.TiffFile(io.BytesIO(given)).pages[0]
    assert {32946: 8}.get(int(before.compression), before.compression) == page.compression
    assert page.predictor == before.predictor


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["contig", "separate", "tiled", "strips", "big"])
def test_layouts_and_byte_orders_are_read(byteorder: str, dtype: str, layout: str) -> None:
    array = noise(37, 50, 3, dtype=dtype)
    options: dict[str, object] = {"photometric": "rgb", "byteorder": byteorder}
    if layout == "separate":
        options["planarconfig"] = "separate"
    if layout == "tiled":
        options |= {"tile": (16, 16), "compression": "deflate"}
    if layout == "strips":
        options |= {"rowsperstrip": 5, "compression": "lzw"}
    if layout == "big":
        options["bigtiff"] = True
    stored = np.moveaxis(array, -1, 0) if layout == "separate" else array
    picture = images.read(tiff(stored.astype(byteorder + array.dtype.str[1:]), **options))
    np.testing.assert_array_equal(picture.samples, array)
    assert picture.samples.dtype.isnative
    assert picture.samples.dtype == (array.dtype if array.dtype.kind == "u" else np.float32)
    again, page = back(picture)
    np.testing.assert_array_equal(again.samples, array)
    assert page.parent.byteorder == byteorder
    assert page.parent.is_bigtiff == (layout == "big")


@pytest.mark.parametrize("height", [1, 7, 64])
@pytest.mark.parametrize("width", [1, 8, 13, 100])
def test_one_bit_is_read_and_written_as_one_bit(height: int, width: int) -> None:
    array = noise(height, width) > 127
    for codec in ("none", "deflate", "packbits", "lzw"):
        for photometric in ("minisblack", "miniswhite"):
            picture = images.read(tiff(array, compression=codec, photometric=photometric))
            white = array if photometric == "minisblack" else ~array
            np.testing.assert_array_equal(picture.samples[..., 0] == 255, white)
            assert picture.bits == 1
            again, page = back(picture)
            assert page.bitspersample == 1
            np.testing.assert_array_equal(again.samples, picture.samples)


@pytest.mark.parametrize("codec", ["group3", "group4", "tiff_ccitt"])
def test_fax_pages_stay_fax_and_small(codec: str) -> None:
    array = np.ones((400, 300), bool)
    array[50:300:9, 20:280] = False
    file = io.BytesIO()
    Image.fromarray(array).save(file, "TIFF", compression=codec, dpi=(200, 200))
    picture = images.read(file.getvalue())
    assert picture.bits == 1
    assert picture.dpi == (200, 200)
    np.testing.assert_array_equal(picture.samples[..., 0] == 255, array)
    again, page = back(picture)
    np.testing.assert_array_equal(again.samples, picture.samples)
    assert page.compression == 4
    assert sum(page.databytecounts) <= len(file.getvalue())
    out = io.BytesIO()
    images.write(out, [picture, picture.with_samples(picture.samples ^ 255)], kind="tiff")
    with Image.open(out) as image:  # another reader
        np.testing.assert_array_equal(np.asarray(image), array)
        image.seek(1)
        np.testing.assert_array_equal(np.asarray(image), ~array)


def test_pages_come_one_by_one_and_go_one_by_one(tmp_path: Path) -> None:
    stack = noise(7, 20, 30, dtype="uint16")
    path = tmp_path / "stack.tif"
    path.write_bytes(tiff(stack, compression="deflate", photometric="minisblack"))
    assert images.count_pages(path) == 7
    assert images.read(path, page=3).page == (3, 7)
    np.testing.assert_array_equal(images.read(path, page=6).samples[..., 0], stack[6])
    with pytest.raises(ImageError, match="no page 7; the pages are 0 to 6"):
        images.read(path, page=7)
    order: list[str] = []

    def through() -> object:
        for picture in images.pages(path):
            order.append(f"{picture.page[0]}")
            yield picture

    images.write(tmp_path / "out.tif", through())  # type: ignore[arg-type]
    assert order == list("0123456")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), stack)


def test_pages_may_differ_in_size_depth_and_colour() -> None:
    made = [
        Picture(noise(5, 6, 1)),
        Picture(noise(9, 4, 3, dtype="uint16")),
        Picture(noise(3, 3, 1, dtype="float32"), noise(3, 3, dtype="float32")),
    ]
    file = io.BytesIO()
    images.write(file, made, kind="tiff")
    for given, read in zip(made, images.pages(file.getvalue()), strict=True):
        np.testing.assert_array_equal(given.samples, read.samples)
        assert given.samples.dtype == read.samples.dtype


def test_thumbnails_beside_the_page_are_not_pages() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(noise(40, 40), metadata=None)
        writer.write(noise(10, 10), metadata=None, subfiletype=1)
        writer.write(noise(30, 40), metadata=None)
    assert [p.height for p in images.pages(file.getvalue())] == [40, 30]


def test_descriptions_resolution_and_scientific_tags_survive() -> None:
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        noise(3, 20, 30, dtype="uint16"),
        imagej=True,
        resolution=(5.25, 5.25),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 2.0, "Labels": ["a", "b", "c"]},
    )
    out = io.BytesIO()
    images.write(out, images.pages(file.getvalue()), kind="tiff")
    file.seek(0)
    out.seek(0)
    with tifffile.TiffFile(file) as one, tifffile.TiffFile(out) as two:
        assert two.is_imagej
        assert two.imagej_metadata == one.imagej_metadata
        assert two.pages[0].tags["XResolution"].value == one.pages[0].tags["XResolution"].value
        assert two.pages[0].tags["ResolutionUnit"].value == 1
        np.testing.assert_array_equal(two.asarray(), one.asarray())


def test_ome_descriptions_survive() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, noise(2, 3, 16, 16, dtype="uint16"), ome=True, metadata={"axes": "TZYX"})
    out = io.BytesIO()
    images.write(out, images.pages(file.getvalue()), kind="tiff")
    file.seek(0)
    out.seek(0)
    with tifffile.TiffFile(file) as one, tifffile.TiffFile(out) as two:
        assert two.ome_metadata == one.ome_metadata
        np.testing.assert_array_equal(two.asarray(), one.asarray())


def test_palettes_become_colours_and_grey_ones_grey() -> None:
    index = noise(9, 9)
    colours = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16) * 257
    picture = images.read(tiff(index, photometric="palette", colormap=colours))
    np.testing.assert_array_equal(picture.samples, (colours >> 8).T.astype(np.uint8)[index])
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (3, 1))
    np.testing.assert_array_equal(
        images.read(tiff(index, photometric="palette", colormap=ramp)).samples[..., 0], index
    )


@pytest.mark.parametrize("codec", ["none", "deflate"])
def test_signed_samples_are_floats_and_come_back_signed(codec: str) -> None:
    array = noise(20, 30, dtype="int16")
    array[0, :4] = [-32768, -1024, 0, 32767]
    compressed = {"compression": codec, "predictor": codec == "deflate"}
    picture = images.read(tiff(array, **compressed))
    np.testing.assert_array_equal(picture.samples[..., 0], array)
    assert picture.samples.dtype == np.float32
    again, page = back(picture)
    assert page.dtype == np.int16
    np.testing.assert_array_equal(again.samples, picture.samples)
    changed, _ = back(picture.with_pixels(picture.samples * 1.5))
    expected = np.rint(array * 1.5).clip(-32768, 32767)
    np.testing.assert_array_equal(changed.samples[..., 0], expected)
    upside_down = images.read(tiff(array, photometric="miniswhite"))
    np.testing.assert_array_equal(upside_down.samples[..., 0], -1.0 - array)


def test_white_is_high_even_where_the_file_says_zero() -> None:
    for dtype in ("uint8", "uint16"):
        array = noise(5, 6, dtype=dtype)
        picture = images.read(tiff(array, photometric="miniswhite"))
        np.testing.assert_array_equal(picture.samples[..., 0], np.iinfo(dtype).max - array)


def test_jpeg_in_tiff_is_read_in_its_colours(scene: np.ndarray) -> None:
    picture = images.read(tiff(scene, compression="jpeg", photometric="rgb"))
    assert abs(picture.samples.astype(int) - scene).mean() < 12
    again, page = back(picture.redrawn(picture.samples))
    assert page.compression == 7
    assert abs(again.samples.astype(int) - picture.samples).mean() < 6


def test_cmyk_becomes_rgb() -> None:
    array = noise(8, 9, 4)
    picture = images.read(tiff(array, photometric="separated"))
    expected = np.asarray(Image.frombytes("CMYK", (9, 8), array.tobytes()).convert("RGB"))
    np.testing.assert_array_equal(picture.samples, expected)


def test_the_meaning_of_alpha_is_kept() -> None:
    array = noise(8, 9, 4)
    given = tiff(array, photometric="rgb", extrasamples=["assocalpha"])
    picture = images.read(given)
    np.testing.assert_array_equal(picture.alpha, array[..., 3])
    _, page = back(picture)
    assert page.extrasamples == (1,)
    with pytest.raises(ImageError, match="multiplied by alpha; write TIFF"):
        images.write(io.BytesIO(), picture, kind="png")


@pytest.mark.parametrize(
    ("array", "options", "says"),
    [
        (noise(4, 4, dtype="int32"), {}, "int32"),
        (noise(4, 4, dtype="uint32"), {}, "uint32"),
        (noise(4, 4, dtype="complex64"), {}, "complex64"),
        (noise(4, 4, 5), {"photometric": "minisblack", "planarconfig": "contig"}, "5 channels"),
        (noise(4, 4, 3), {"photometric": "cielab", "planarconfig": "contig"}, "CIELAB"),
        (noise(4, 4), {"photometric": "cfa"}, "camera raw"),
        (noise(4, 4, 4, dtype="uint16"), {"photometric": "separated"}, "CMYK is read with 8 bits"),
        (noise(3, 16, 16), {"photometric": "minisblack", "volumetric": True}, "volumes"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    array: np.ndarray, options: dict[str, object], says: str
) -> None:
    if options.get("volumetric"):
        options = {**options, "tile": (16, 16, 16)}
    with pytest.raises(ImageError, match=says):
        images.read(tiff(array, **options))


def test_a_page_cut_off_is_told_not_filled_with_zeros() -> None:
    whole = tiff(noise(64, 64), rowsperstrip=8)
    for length in range(300, len(whole), 97):
        with pytest.raises(ImageError, match="damaged or cut off"):
            images.read(whole[:length])


@pytest.mark.parametrize(("tag", "value"), [(257, 6400), (256, 64000), (278, 1), (322, 2**24)])
def test_a_page_that_claims_more_than_it_holds_is_told(tag: int, value: int) -> None:
    tile = {"tile": (16, 16)} if tag == 322 else {"rowsperstrip": 8}
    file = io.BytesIO(tiff(noise(64, 64), compression="lzw", **tile))
    with tifffile.TiffFile(file) as opened:
        opened.pages[0].tags[tag].overwrite(value)
    with pytest.raises(ImageError):
        images.read(file.getvalue())


def test_tags_of_the_wrong_shape_do_no_harm() -> None:
    extra = [(274, 3, 2, (6, 6), True), (34675, 3, 1, 7, True), (270, 3, 2, (1, 2), True)]
    picture = images.read(tiff(noise(8, 8), extratags=extra))
    assert (picture.orientation, picture.icc) == (1, None)
    back(picture)


def test_a_circle_of_pages_ends() -> None:
    whole = bytearray(tiff(np.stack([noise(8, 8)] * 3), photometric="minisblack"))
    with tifffile.TiffFile(io.BytesIO(bytes(whole))) as file:
        first = file.pages[0].offset
        last = file.pages[2]
        end = last.offset + 2 + 12 * len(last.tags)
    whole[end : end + 4] = first.to_bytes(4, "little")
    assert 1 <= images.count_pages(bytes(whole)) <= 3
    assert 1 <= len(list(images.pages(bytes(whole)))) <= 3


def test_a_bomb_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    with tifffile.TiffWriter(path) as writer:
        chunk = zlib.compress(bytes(64))
        writer.write(
            iter([chunk]),
            shape=(50_000, 50_000),
            dtype="uint8",
            compression="deflate",
            rowsperstrip=50_000,
        )
    with pytest.raises(ImageError, match=r"2,500,000,000 pixels"):
        images.read(path)
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            iter([chunk]),
            shape=(30_000, 30_000),
            dtype="uint8",
            compression="deflate",
            rowsperstrip=30_000,
        )
    with pytest.raises(ImageError, match="bomb"):
        images.read(path)


WITHOUT = """
import sys, io, resource
sys.modules["imagecodecs"] = None
import numpy as np
from pellucid import images
from pellucid.errors import MissingExtraError
a = (np.arange(20 * 30 * 3).reshape(20, 30, 3) % 251).astype(np.uint8)
for array in (a, a.astype(np.uint16) * 257, a.astype(np.float32) / 7, a[..., 0] > 90):
    file = io.BytesIO()
    images.write(file, array, kind="tiff")
    read = images.read(file.getvalue())
    assert np.array_equal(images.picture_of(array).samples, read.samples), array.dtype
read = images.read(sys.argv[2])
assert read.samples.shape == (300, 300, 1)
begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    images.read(sys.argv[3])
    raise SystemExit("the bomb went off")
except images.ImageError as error:
    assert "damaged" in str(error)
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begun < 60_000
images.read(sys.argv[1])
"""


def test_without_the_extra_the_usual_works_and_the_rest_names_it(tmp_path: Path) -> None:
    path, fine, bomb = (tmp_path / f"{name}.tif" for name in ("jpeg", "fine", "bomb"))
    path.write_bytes(tiff(noise(20, 20), compression="jpeg"))
    fine.write_bytes(tiff(noise(300, 300), compression="deflate", rowsperstrip=300))
    packed = zlib.compress(bytes(100_000_000))
    bomb.write_bytes(tiff(iter([packed]), shape=(16, 16), dtype="uint8", compression="deflate"))  # type: ignore[arg-type]
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(path), str(fine), str(bomb)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stderr.strip().endswith("pip install 'pellucid[tiff]'"), run.stderr
    assert "MissingExtraError" in run.stderr


@pytest.mark.data
def test_real_microscopy_stacks_come_back(real) -> None:  # type: ignore[no-untyped-def]
    for path in images.find(real("w2s"))[:6]:
        if path.suffix not in (".tif", ".tiff"):
            continue
        picture = images.read(path)
        np.testing.assert_array_equal(picture.samples.squeeze(), tifffile.imread(path).squeeze())
        again, _ = back(picture)
        np.testing.assert_array_equal(again.samples, picture.samples)


# What instruments, cameras and maps write


def packed(values: np.ndarray, bits: int, photometric: int) -> bytes:
    """A TIFF by hand whose samples are packed to any number of bits, row by row."""
    height, width = values.shape
    rows = ["".join(f"{int(value):0{bits}b}" for value in row) for row in values]
    data = b"".join(
        int(row.ljust(-(-len(row) // 8) * 8, "0"), 2).to_bytes(-(-len(row) // 8), "big")
        for row in rows
    )
    entries = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    entries += [(273, 8), (277, 1), (278, height), (279, len(data))]
    start = 8 + len(data) + len(data) % 2
    head = struct.pack("<2sHI", b"II", 42, start) + data + bytes(len(data) % 2)
    lines = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return head + struct.pack("<H", len(entries)) + lines + bytes(4)


@pytest.mark.skipif(not HAS_CODECS, reason="imagecodecs is not installed")
@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
@pytest.mark.parametrize("photometric", [0, 1])
def test_samples_of_odd_depths_reach_from_black_to_white(bits: int, photometric: int) -> None:
    full = 2**bits - 1
    values = np.linspace(0, full, 15).round().astype(int)[None].repeat(3, 0)
    picture = images.read(packed(values, bits, photometric))
    white = 255 if bits < 8 else 65535
    assert picture.bits == (8 if bits < 8 else 16)
    shown = np.rint(values * (white / full))
    shown = shown if photometric else white - shown
    assert np.abs(picture.samples[..., 0].astype(int) - shown).max() <= 1
    assert picture.samples.min() == 0
    assert picture.samples.max() == white


def test_a_stack_in_one_piece_is_refused_and_not_cut_to_its_first_plane() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, noise(6, 20, 30, dtype="uint16"), truncate=True, metadata={})
    with pytest.raises(ImageError, match="a stack of 6 images in one piece is not read"):
        images.read(file.getvalue())
    file = io.BytesIO()
    tifffile.imwrite(file, noise(6, 20, 30, dtype="uint16"), metadata={})
    assert images.count_pages(file.getvalue()) == 6


def test_the_thumbnail_of_a_raw_file_is_not_taken_for_the_picture() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(noise(40, 50, 3), photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        writer.write(noise(80, 100, dtype="uint16"), photometric=32803, metadata=None)
    with pytest.raises(ImageError, match="a camera raw file is not read; develop it"):
        images.read(file.getvalue())


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_what_a_map_calls_not_measured_stays_so(dtype: str) -> None:
    value = "-3.4028234663852886e+38" if dtype == "float32" else "-9999"
    array = noise(20, 30, dtype=dtype)
    array[3:9, 4:20] = np.float32(value) if dtype == "float32" else int(value)
    given = tiff(array, extratags=[(42113, "s", 0, value, True)])
    picture = images.read(given)
    assert np.array_equal(np.isnan(picture.samples[..., 0]), array == array[3, 4])
    changed = picture.with_samples(picture.samples + np.float32(1))
    again, page = back(changed)
    stored = page.asarray()
    assert stored.dtype == dtype
    assert (stored[3:9, 4:20] == array[3, 4]).all()
    assert np.array_equal(stored[10:], array[10:] + 1)
    assert page.tags[42113].value.strip("\0") == value
    assert np.isnan(again.samples[3, 4, 0])


def test_a_second_channel_that_is_no_transparency_is_refused() -> None:
    two = noise(20, 30, 2, dtype="uint16")
    options = {"photometric": "minisblack", "planarconfig": "contig"}
    with pytest.raises(ImageError, match="save each channel as a page"):
        images.read(tiff(two, extrasamples=["unspecified"], **options))
    assert images.read(tiff(two, extrasamples=["unassalpha"], **options)).alpha is not None
    four = tiff(noise(20, 30, 4), photometric="rgb", extrasamples=["unspecified"])
    again, _ = back(images.read(four))
    assert np.array_equal(again.alpha, noise(20, 30, 4)[..., 3])
    with pytest.raises(ImageError, match="not said to be transparency; write TIFF"):
        images.write(io.BytesIO(), images.read(four), kind="png")


@pytest.mark.skipif(not HAS_CODECS, reason="imagecodecs is not installed")
def test_a_page_as_jpeg_that_did_not_change_is_not_packed_once_more(scene: np.ndarray) -> None:
    given = images.read(tiff(scene, compression="jpeg", photometric="ycbcr"))
    assert given.lossy
    again, page = back(given)
    assert np.array_equal(again.samples, given.samples)
    assert int(page.compression) == 8
    _, page = back(given.redrawn(given.samples))
    assert int(page.compression) == 7


def test_a_palette_of_eight_bits_is_no_black_picture() -> None:
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    table = np.stack([np.arange(256), np.arange(256)[::-1], np.arange(256) // 2])
    given = tiff(index, photometric="palette", colormap=table.astype(np.uint16))
    assert np.array_equal(images.read(given).samples.reshape(-1, 3), table.T)


@pytest.mark.parametrize("tag", [34118, 34680, 34682, 51123])
def test_what_a_microscope_notes_is_kept(tag: int) -> None:
    given = tiff(noise(8, 9), extratags=[(tag, "s", 0, "AP_PIXEL_SIZE = 4.2 nm", True)])
    for data in (given, images_bytes(images.read(given))):
        assert b"AP_PIXEL_SIZE = 4.2 nm" in data
        assert tag in tifffile.TiffFile(io.BytesIO(data)).pages[0].tags
