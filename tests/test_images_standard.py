"""Pillow's formats: colours as other readers see them, settings kept, hostile files told."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from pellucid import images
from pellucid.errors import ImageError
from pellucid.images import Picture

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind.upper(), **options)
    return file.getvalue()


def written(picture: Picture | np.ndarray, kind: str, quality: int | None = None) -> bytes:
    file = io.BytesIO()
    images.write(file, picture, kind=kind, quality=quality)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif", "bmp", "gif"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_is_read_as_pillow_shows_it(kind: str, mode: str, scene: np.ndarray) -> None:
    image = Image.fromarray(scene).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(scene[..., 0]))
    try:
        data = saved(image, kind)
    except (OSError, ValueError):
        pytest.skip(f"Pillow does not write {mode} as {kind}")
    picture = images.read(data)
    with Image.open(io.BytesIO(data)) as again:
        transparent = again.has_transparency_data
        expected = np.asarray(again.convert("RGBA"))
    colours = np.broadcast_to(picture.samples, (*picture.samples.shape[:2], 3))
    np.testing.assert_array_equal(colours, expected[..., :3])
    if transparent:
        np.testing.assert_array_equal(picture.alpha, expected[..., 3])
    else:
        assert picture.alpha is None


def test_opencv_sees_the_same_jpeg(scene: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    data = written(scene, "jpeg")
    other = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert abs(images.read(data).samples.astype(int) - other).max() <= 3


def test_a_redrawn_jpeg_has_no_coarser_steps_than_our_own_quality(scene: np.ndarray) -> None:
    for quality, image in ((30, Image.fromarray(scene)), (97, Image.fromarray(scene[..., 0]))):
        picture = images.read(saved(image, "jpeg", quality=quality))
        redrawn = picture.redrawn(picture.samples)
        ours = written(replace(picture, storage={}), "jpeg")
        tables = [
            Image.open(io.BytesIO(data)).quantization
            for data in (written(picture, "jpeg"), ours, written(redrawn, "jpeg"))
        ]
        for number, steps in tables[2].items():
            pairs = zip(tables[0][number], tables[1][number], strict=True)
            assert steps == [min(pair) for pair in pairs]


def test_the_clear_grey_of_a_png_of_few_bits_is_found() -> None:
    for bits, key in ((1, 1), (2, 2), (4, 15), (8, 200)):
        steps = np.arange(2**bits, dtype=np.uint8)[None].repeat(2, axis=0)
        rows = b"".join(b"\0" + np.packbits(in_bits(row, bits)).tobytes() for row in steps)
        data = png_of(steps.shape[1], 2, bits, rows, key)
        assert (images.read(data).alpha == np.where(steps == key, 0, 255)).all()


def in_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """The values' bits one after the other, the highest first."""
    return (values[:, None] >> np.arange(bits)[::-1] & 1).ravel()


def png_of(width: int, height: int, bits: int, rows: bytes, key: int) -> bytes:
    """A grey PNG of the rows as they are stored, one of its greys clear."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)),
        (b"tRNS", struct.pack(">H", key)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


def test_jpeg_is_written_with_the_settings_that_it_had(scene: np.ndarray) -> None:
    for options in [
        {"quality": 60, "subsampling": 2},
        {"quality": 95, "subsampling": 0, "progressive": True},
        {"quality": 80, "subsampling": 1},
    ]:
        given = saved(Image.fromarray(scene), "jpeg", **options)
        with (
            Image.open(io.BytesIO(given)) as one,
            Image.open(io.BytesIO(written(images.read(given), "jpeg"))) as two,
        ):
            assert one.quantization == two.quantization
            assert one.layer == two.layer
            assert one.info.get("progressive") == two.info.get("progressive")
    grey = written(images.read(saved(Image.fromarray(scene[..., 0]), "jpeg")), "jpeg")
    assert images.read(grey).channels == 1


def test_quality_changes_the_size(scene: np.ndarray) -> None:
    for kind in ("jpeg", "webp", "avif"):
        assert len(written(scene, kind, 20)) < len(written(scene, kind, 95))
        picture = images.read(saved(Image.fromarray(scene), kind, quality=90))
        assert len(written(picture, kind, 5)) < len(written(picture, kind))


def test_lossless_webp_stays_lossless(scene: np.ndarray) -> None:
    rgba = np.dstack([scene, scene[..., :1]])
    for array in (scene, rgba):
        picture = images.read(saved(Image.fromarray(array), "webp", lossless=True, exact=True))
        np.testing.assert_array_equal(picture.samples, scene)
        np.testing.assert_array_equal(images.read(written(picture, "webp")).samples, scene)


def test_cmyk_goes_through_its_profile() -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 4)).astype(np.uint8)
    image = Image.frombytes("CMYK", (8, 8), values.tobytes())
    plain = images.read(saved(image, "jpeg", quality=100, subsampling=0))
    assert plain.channels == 3
    assert plain.icc is None
    # A damaged profile falls back on the plain formula.
    other = images.read(saved(image, "jpeg", quality=100, subsampling=0, icc_profile=b"no profile"))
    np.testing.assert_array_equal(plain.samples, other.samples)
    assert other.icc is None


def test_the_orientation_of_avif_survives_and_the_picture_is_not_changed(
    scene: np.ndarray,
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    given = saved(Image.fromarray(scene), "jpeg", exif=exif.tobytes())
    picture = images.read(given)
    before = picture.exif
    for _ in range(2):
        again = images.read(written(picture, "avif"))
        assert again.orientation == 6
    assert picture.exif == before
    assert again.exif is not None
    assert b"maker" in again.exif


def test_ten_bit_avif_is_refused_by_name() -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    try:
        data = imagecodecs.avif_encode(np.full((32, 32, 3), 700, np.uint16), bitspersample=10)
    except (AttributeError, ImportError, RuntimeError):
        pytest.skip("this build of imagecodecs writes no AVIF")
    with pytest.raises(ImageError, match="10 or 12 bits"):
        images.read(data)


@pytest.mark.parametrize("codes", [(9, 16), (12, 13), (1, 18), (1, 13), (2, 2), (6, 6)])
def test_avif_of_other_colours_without_a_profile_is_refused_by_name(
    codes: tuple[int, int], scene: np.ndarray
) -> None:
    usual = codes[0] not in (9, 12) and codes[1] < 16
    for more in ({}, {"icc_profile": SRGB}):
        given = saved(Image.fromarray(scene), "avif", **more)
        place = given.index(b"colrnclx") + 8
        given = given[:place] + struct.pack(">HH", *codes) + given[place + 4 :]
        if usual or more:
            assert images.read(given).samples.shape == scene.shape
        else:
            with pytest.raises(ImageError, match="of a wide gamut or range without an ICC"):
                images.read(given)


def test_only_the_first_frame_of_an_animation_is_read(scene: np.ndarray) -> None:
    frames = [Image.fromarray(scene // 64 * 64), Image.fromarray(255 - scene // 64 * 64)]
    for kind in ("gif", "png", "webp"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        picture = images.read(data)
        assert abs(picture.samples.astype(int) - np.asarray(frames[0])).mean() < 20
        assert picture.page == (0, 1)


def test_gif_with_more_than_256_colours_is_refused(scene: np.ndarray) -> None:
    with pytest.raises(ImageError, match="GIF holds 256 colours"):
        written(scene, "gif")


def test_a_jpeg_of_endless_scans_is_refused(scene: np.ndarray) -> None:
    data = saved(Image.fromarray(scene), "jpeg", progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageError, match="scans"):
        images.read(data[:last] + data[last:-2] * 2000 + b"\xff\xd9")


def test_grey_palettes_are_grey_and_black_and_white_ones_one_bit() -> None:
    index = np.random.default_rng(0).integers(0, 2, (9, 9)).astype(np.uint8)
    image = Image.fromarray(index)
    image.putpalette([255, 255, 255, 0, 0, 0])
    picture = images.read(saved(image, "png", bits=1))
    assert (picture.channels, picture.bits) == (1, 1)
    np.testing.assert_array_equal(picture.samples[..., 0] == 0, index == 1)
    image.putpalette([9, 9, 9, 200, 200, 200])
    picture = images.read(saved(image, "png"))
    assert (picture.channels, picture.bits) == (1, 8)
    coloured = images.read(saved(image, "png", icc_profile=SRGB))
    assert coloured.channels == 3  # a grey picture could not carry the profile


def test_a_lossless_webp_with_a_large_profile_stays_lossless() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for profile in (SRGB, SRGB + bytes(6000)):
        picture = images.read(
            saved(Image.fromarray(noise), "webp", lossless=True, icc_profile=profile)
        )
        assert np.array_equal(images.read(written(picture, "webp")).samples, noise)
    assert not images.read(saved(Image.fromarray(noise), "webp")).storage["lossless"]


def test_exif_that_just_fits_into_a_jpeg_is_kept() -> None:
    exif = Image.Exif()
    exif[270] = "x" * 65_400
    block = exif.tobytes()[6:]
    assert 65_400 < len(block) <= 65_527
    picture = replace(images.read(saved(Image.new("L", (8, 8)), "jpeg")), exif=block)
    assert images.read(written(picture, "jpeg")).exif == block
    larger = replace(picture, exif=block + bytes(200), xmp=b"<x/>")
    again = images.read(written(larger, "jpeg"))
    assert again.exif is None
    assert again.xmp == b"<x/>"


def test_a_jpeg_may_number_its_tables_as_it_likes() -> None:
    data = bytearray(saved(Image.effect_noise((32, 24), 40), "jpeg", quality=70))
    table, frame = data.index(b"\xff\xdb"), data.index(b"\xff\xc0")
    data[table + 4] = 1
    data[frame + 12] = 1
    picture = images.read(bytes(data))
    again = images.read(written(picture, "jpeg"))
    assert list(again.storage["qtables"].values()) == list(picture.storage["qtables"].values())


def test_colours_of_yes_and_no_stay_colours() -> None:
    red = np.zeros((4, 5, 3), bool)
    red[..., 0] = True
    for kind in ("png", "bmp", "tiff"):
        file = io.BytesIO()
        images.write(file, red, kind=kind)
        assert images.read(file.getvalue()).samples[0, 0].tolist() == [255, 0, 0]


def test_a_jpeg_of_twelve_bits_is_not_called_damaged() -> None:
    data = bytearray(saved(Image.new("L", (8, 8)), "jpeg"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(ImageError, match="JPEG of more than 8 bits is not read"):
        images.read(bytes(data))
