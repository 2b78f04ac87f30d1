"""Reading and writing as a user does: what goes in comes out, what cannot is refused in a line."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pellucid import images
from pellucid.errors import ImageError, OptionError
from pellucid.images import KINDS, Picture

SETTINGS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LOSSLESS = ("png", "tiff", "bmp", "gif")
DTYPES = {1: np.uint8, 8: np.uint8, 16: np.uint16, 32: np.float32}

FREE = [name for name, kind in KINDS.items() if kind.free]
"""Formats that any picture can be written to; `test_dicom` has the other."""


def drawn(bits: int, height: int, width: int, channels: int, alpha: bool, seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    shape = (height, width, channels + alpha)
    if bits == 1:
        samples = rng.integers(0, 2, shape).astype(np.uint8) * np.uint8(255)
    elif bits == 32:
        samples = rng.normal(0.5, 3, shape).astype(np.float32)
    else:
        samples = rng.integers(0, 2**bits, shape).astype(DTYPES[bits])
    return Picture(
        np.ascontiguousarray(samples[..., :channels]),
        np.ascontiguousarray(samples[..., -1]) if alpha else None,
        bits=bits,
    )


def back(picture: Picture, kind: str, **options: int) -> Picture:
    file = io.BytesIO()
    images.write(file, picture, kind=kind, **options)
    return images.read(file.getvalue())


def complaint(data: bytes) -> str:
    try:
        images.read(data)
    except ImageError as error:
        return str(error)
    return ""


def same(one: Picture, other: Picture) -> None:
    assert one.samples.dtype == other.samples.dtype
    np.testing.assert_array_equal(one.samples, other.samples)
    assert one.bits == other.bits
    assert (one.alpha is None) == (other.alpha is None)
    if one.alpha is not None and other.alpha is not None:
        np.testing.assert_array_equal(one.alpha, other.alpha)


@SETTINGS
@given(
    kind=st.sampled_from(["png", "tiff"]),
    bits=st.sampled_from([1, 8, 16, 32]),
    channels=st.sampled_from([1, 3]),
    alpha=st.booleans(),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_png_and_tiff_give_back_every_sample(
    kind: str, bits: int, channels: int, alpha: bool, height: int, width: int, seed: int
) -> None:
    if bits == 1 and (alpha or channels == 3):
        alpha, channels = False, 1
    picture = drawn(bits, height, width, channels, alpha, seed)
    if bits == 32 and kind == "png":
        with pytest.raises(ImageError, match="PNG cannot hold float samples; write TIFF"):
            back(picture, kind)
        return
    same(picture, back(picture, kind))


@SETTINGS
@given(
    kind=st.sampled_from(["bmp", "gif"]),
    channels=st.sampled_from([1, 3]),
    height=st.integers(1, 15),
    width=st.integers(1, 17),
    seed=st.integers(0, 99),
)
def test_bmp_and_gif_give_back_every_sample(
    kind: str, channels: int, height: int, width: int, seed: int
) -> None:
    picture = drawn(8, height, width, channels, False, seed)
    read = back(picture, kind)
    if read.channels != channels:  # a GIF of grey colours only is grey
        read = read.with_samples(np.repeat(read.samples, 3, axis=2))
    same(picture, read)


@pytest.mark.parametrize("kind", ["jpeg", "webp", "avif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_stay_close(kind: str, channels: int, scene: np.ndarray) -> None:
    picture = images.picture_of(scene[..., :channels])
    read = back(picture, kind, quality=95)
    difference = read.pixels.mean(axis=-1) - picture.pixels.mean(axis=-1)
    assert np.sqrt((difference**2).mean()) < 0.02
    assert (read.height, read.width) == (48, 64)


@pytest.mark.parametrize("kind", FREE)
@pytest.mark.parametrize("size", [(1, 1), (3, 5000), (5000, 3)])
def test_any_size_survives(kind: str, size: tuple[int, int]) -> None:
    picture = Picture(np.full((*size, 1), 200, np.uint8))
    read = back(picture, kind)
    assert (read.height, read.width) == size
    assert abs(read.pixels - picture.pixels).max() < 0.02


@pytest.mark.parametrize("kind", FREE)
def test_a_format_holds_what_its_table_says(kind: str) -> None:
    for bits in (1, 8, 16, 32):
        for alpha in (False, True) if bits != 1 else (False,):
            picture = drawn(bits, 6, 7, 1, alpha, 1)
            fits = bits <= max(KINDS[kind].bits) and (KINDS[kind].alpha or not alpha)
            if fits:
                read = back(picture, kind)
                assert (read.alpha is not None) == alpha
            else:
                with pytest.raises(ImageError, match=f"{KINDS[kind].title} cannot hold"):
                    back(picture, kind)


def test_sixteen_bits_stay_sixteen_from_png_to_tiff_and_back(tmp_path: Path) -> None:
    picture = drawn(16, 20, 30, 3, True, 4)
    images.write(tmp_path / "a.png", picture)
    images.write(tmp_path / "b.tif", images.read(tmp_path / "a.png"))
    images.write(tmp_path / "c.png", images.read(tmp_path / "b.tif"))
    same(picture, images.read(tmp_path / "c.png"))


def test_dpi_icc_and_orientation_survive(tmp_path: Path) -> None:
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = Picture(drawn(8, 8, 9, 3, False, 0).samples, icc=icc, dpi=(300, 300), orientation=6)
    for kind, form in KINDS.items():
        if kind == "gif" or not form.free:
            continue
        read = back(picture, kind)
        if form.exif:
            assert read.orientation == 6, kind
            assert read.icc == icc, kind
        else:
            assert (read.height, read.width) == (9, 8), kind  # turned, as there is no place to say
        if kind in ("png", "jpeg", "tiff", "bmp"):
            assert read.dpi is not None
            assert read.dpi == pytest.approx((300, 300), abs=0.05), kind
        assert read.upright().orientation == 1
        again = back(read, kind)
        assert (again.orientation, again.icc) == (read.orientation, read.icc), kind


def test_others_see_the_orientation_that_we_wrote() -> None:
    picture = Picture(drawn(8, 8, 12, 3, False, 0).samples, orientation=8)
    for kind in ("png", "jpeg", "webp", "avif", "tiff"):
        file = io.BytesIO()
        images.write(file, picture, kind=kind)
        assert Image.open(file).getexif().get(0x0112) == 8, kind


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_agrees_with_pillow(orientation: int) -> None:
    from PIL import ImageOps

    picture = Picture(drawn(8, 5, 7, 3, False, 0).samples, orientation=orientation)
    file = io.BytesIO()
    images.write(file, picture, kind="png")
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(images.read(file.getvalue()).upright().samples, expected)


def test_float_arrays_are_rounded_for_png_and_kept_in_tiff(tmp_path: Path) -> None:
    array = np.array([[0.0, 0.5, 1.0, 1.5, -1.0]], np.float32)
    images.write(tmp_path / "a.png", array)
    assert images.read(tmp_path / "a.png").samples.ravel().tolist() == [0, 128, 255, 255, 0]
    images.write(tmp_path / "a.tif", array)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif").pixels[..., 0], array)


def test_float_tiff_keeps_what_is_outside_and_tells_of_nan() -> None:
    array = np.array([[-3.0, 0.0, 7.5], [np.nan, np.inf, 1.0]], np.float32)
    read = back(Picture(array[..., None]), "tiff")
    np.testing.assert_array_equal(read.pixels[..., 0], array)
    assert not read.finite
    assert back(Picture(np.ones((2, 2, 1), np.float32)), "tiff").finite


def test_nan_cannot_be_rounded() -> None:
    with pytest.raises(ImageError, match="NaN"):
        images.write(io.BytesIO(), np.full((2, 2), np.nan), kind="png")


def test_shapes_that_are_no_picture_are_refused() -> None:
    for shape in [(4,), (4, 4, 5), (2, 4, 4, 3), (0, 4), (4, 0, 3)]:
        with pytest.raises(ImageError):
            images.write(io.BytesIO(), np.zeros(shape, np.uint8), kind="png")
    with pytest.raises(ImageError, match="int64"):
        images.write(io.BytesIO(), np.zeros((4, 4), np.int64), kind="png")


def test_the_kind_comes_from_the_first_bytes_not_from_the_suffix(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", np.zeros((3, 3), np.uint8))
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert images.read(tmp_path / "a.jpg").kind == "png"


def test_streams_and_bytes_are_read_like_files(tmp_path: Path, scene: np.ndarray) -> None:
    path = tmp_path / "a.png"
    images.write(path, scene)
    with path.open("rb") as file:
        np.testing.assert_array_equal(images.read(file).samples, scene)
    np.testing.assert_array_equal(images.read(path.read_bytes()).samples, scene)
    piped = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from pellucid import images; p = images.read(sys.stdin.buffer);"
            "images.write(sys.stdout.buffer, p, kind='tiff')",
        ],
        stdin=path.open("rb"),
        stdout=subprocess.PIPE,
        check=True,
    )
    np.testing.assert_array_equal(images.read(piped.stdout).samples, scene)


def test_one_page_formats_have_page_zero_only(tmp_path: Path) -> None:
    images.write(tmp_path / "a.png", np.zeros((3, 3), np.uint8))
    assert images.count_pages(tmp_path / "a.png") == 1
    assert len(list(images.pages(tmp_path / "a.png"))) == 1
    with pytest.raises(ImageError, match="no page 1"):
        images.read(tmp_path / "a.png", page=1)
    two = [np.zeros((3, 3), np.uint8)] * 2
    with pytest.raises(ImageError, match="PNG holds one picture; write several as TIFF"):
        images.write(tmp_path / "b.png", two)  # type: ignore[arg-type]
    assert not (tmp_path / "b.png").exists()
    with pytest.raises(ImageError, match="no picture"):
        images.write(tmp_path / "b.tif", [])


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    flat = np.zeros((3, 3), np.uint8)
    for kind, quality in [("jpeg", 0), ("jpeg", 101), ("png", 50)]:
        with pytest.raises(OptionError, match="quality"):
            images.write(io.BytesIO(), flat, kind=kind, quality=quality)
    with pytest.raises(OptionError, match="did you mean 'jpeg'"):
        images.write(io.BytesIO(), flat, kind="jpg")
    with pytest.raises(OptionError, match="give kind="):
        images.write(io.BytesIO(), flat)
    with pytest.raises(ImageError, match=r"suffix '\.xyz'"):
        images.write(tmp_path / "a.xyz", flat)
    with pytest.raises(ImageError, match="WebP ends at 16383 pixels"):
        images.write(io.BytesIO(), np.zeros((1, 20000), np.uint8), kind="webp")


@pytest.mark.parametrize("kind", FREE)
def test_a_file_cut_off_anywhere_gives_one_line(kind: str, scene: np.ndarray) -> None:
    file = io.BytesIO()
    few = scene // 64 * 64
    images.write(file, few, kind=kind)
    whole = file.getvalue()
    allowed = {"png": 12, "jpeg": 2, "gif": 2}.get(kind, 0)  # the end marker alone may be missing
    for length in [*range(min(60, len(whole))), *range(60, len(whole) - allowed, 37)]:
        with pytest.raises(ImageError) as caught:
            images.read(whole[:length])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FREE)
def test_changed_bytes_never_escape_as_another_error(kind: str, scene: np.ndarray) -> None:
    file = io.BytesIO()
    images.write(file, scene // 64 * 64, kind=kind)
    whole = file.getvalue()
    rng = np.random.default_rng(7)
    for _ in range(150):
        hurt = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 600), rng.integers(1, 6)):
            hurt[place] = rng.integers(0, 256)
        assert "\n" not in complaint(bytes(hurt))


def test_importing_stays_light() -> None:
    code = (
        "import sys, pellucid.images; "
        "heavy = ('torch', 'matplotlib', 'tifffile', 'imagecodecs', 'pydicom', 'pikepdf'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.data
def test_real_pictures_agree_with_pillow_and_come_back(real, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for path in [
        *images.find(real("microscopy_misc")),
        *images.find(real("bsd68"))[:5],
        *images.find(real("photos_free"))[:2],
        *images.find(real("documents"))[::40][:25],
    ]:
        picture = images.read(path)
        with Image.open(path) as image:
            if picture.bits == 8 and image.mode in ("L", "RGB"):
                expected = np.asarray(image).reshape(picture.samples.shape)
                np.testing.assert_array_equal(picture.samples, expected)
        if picture.kind != "jpeg":
            same(picture, back(picture, picture.kind))
        else:
            images.write(tmp_path / "a.jpg", picture)
            ratio = (tmp_path / "a.jpg").stat().st_size / path.stat().st_size
            assert 0.5 < ratio < 1.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_a_hundred_megapixels_need_little_memory(kind: str, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    assert resource is not None
    code = (
        "import resource, sys, numpy as np; from pellucid import images;"
        "path, kind = sys.argv[1:];"
        "images.write(path, np.zeros((10_000, 10_000, 3), np.uint8), kind=kind);"
        "images.write(path, images.read(path), kind=kind);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a"), kind],
        capture_output=True,
        text=True,
        check=True,
    )
    kilobytes = int(run.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 1_200_000


@pytest.mark.parametrize("given", ["photo.png", b"bytes", 3, [[1, 2], [3, 4]], None])
def test_what_is_no_picture_is_not_written(given: object, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="give Pictures or NumPy arrays"):
        images.write(tmp_path / "a.png", given)
    assert not (tmp_path / "a.png").exists()
