"""Promises of images/dicom.py, modality.py and derived.py: what was measured survives."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402 (after the skip)
from pydicom.pixels import apply_modality_lut, pixel_array  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    RLELossless,
    generate_uid,
)
from typer.testing import CliRunner  # noqa: E402

from networks import pointwise  # noqa: E402
from pellucid import images  # noqa: E402
from pellucid.cli import app  # noqa: E402
from pellucid.errors import ImageError, MissingExtraError  # noqa: E402
from pellucid.images.picture import Picture  # noqa: E402
from pellucid.restore.files import denoise_files  # noqa: E402

NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
PACKED = (RLELossless, JPEG2000Lossless)
RAMP = np.arange(40 * 36, dtype=np.int16).reshape(40, 36) - 300
"""From -300 to 1139."""


def data_set(stored: np.ndarray, *, frames: int | None = None, **tags: object) -> Dataset:
    """A made-up MR image of stored numbers, (H, W), (N, H, W), or with a last axis of RGB."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, generate_uid()
    data.PatientName, data.Modality = "Nobody^At all", "MR"
    data.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    data.WindowCenter, data.WindowWidth = 40, 400
    colour = stored.shape[-1] == 3
    rows, columns = stored.shape[-3:-1] if colour else stored.shape[-2:]
    data.Rows, data.Columns = rows, columns
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * stored.dtype.itemsize
    data.PixelRepresentation = int(stored.dtype.kind == "i")
    if colour:
        data.PlanarConfiguration = 0
    if frames:
        data.NumberOfFrames = frames
    for name, value in tags.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    data.PixelData = stored.tobytes()
    data["PixelData"].VR = "OW"
    data.private_block(0x0011, "PELLUCID TEST", create=True).add_new(1, "LO", "a private word")
    return data


def file(data: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    if syntax in PACKED:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.compress(syntax, generate_instance_uid=False)
    if syntax == ExplicitVRBigEndian:
        numbers = np.frombuffer(data.PixelData, f"<u{data.BitsAllocated // 8}")
        data.PixelData = numbers.byteswap().tobytes()
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def rewritten(source: bytes, change) -> tuple[Dataset, bytes]:
    """The file with every picture's samples changed, as pydicom sees it, and its bytes."""
    out = io.BytesIO()
    found = [picture.with_samples(change(picture.samples)) for picture in images.pages(source)]
    images.write(out, found, kind="dicom")
    return pydicom.dcmread(io.BytesIO(out.getvalue())), out.getvalue()


def test_the_network_for_medical_pictures_is_told(tmp_path):
    noisy = 500 + 100 * np.random.default_rng(0).standard_normal((24, 24))
    (tmp_path / "slice.dcm").write_bytes(file(data_set(noisy.astype(np.int16))))
    (told,) = denoise_files([tmp_path / "slice.dcm"], tmp_path / "clean.dcm")
    assert told.model == "medical"


@pytest.mark.parametrize("syntax", [*NATIVE, *PACKED], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize("signed", [True, False])
def test_a_picture_that_did_not_change_is_the_same_object(syntax, signed):
    stored = RAMP if signed else (RAMP + 300).astype(np.uint16)
    source = file(data_set(stored), syntax)
    before = pydicom.dcmread(io.BytesIO(source))
    after, _ = rewritten(source, lambda samples: samples)
    assert after == before
    assert after.file_meta.TransferSyntaxUID == syntax
    assert "DerivationDescription" not in after


@pytest.mark.parametrize("syntax", [*NATIVE, *PACKED], ids=lambda uid: uid.keyword)
def test_a_changed_picture_is_a_derived_object_with_all_else_as_it_was(syntax):
    source = file(data_set(RAMP, RescaleSlope=2, RescaleIntercept=-1024), syntax)
    before = pydicom.dcmread(io.BytesIO(source))
    after, written = rewritten(source, lambda samples: samples + np.float32(10.4))
    assert after.file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(pixel_array(after), RAMP + 5)
    read = images.read(written).samples
    np.testing.assert_array_equal(read[..., 0], (RAMP + 5) * 2.0 - 1024)
    assert after.SOPInstanceUID != before.SOPInstanceUID
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert list(after.ImageType) == ["DERIVED", "PRIMARY", "M"]
    assert "not for diagnosis" in after.DerivationDescription
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    about = {"SOPInstanceUID", "ImageType", "PixelData"}
    for element in before:
        if element.keyword not in about:
            assert after[element.tag] == element, element
    new = {element.keyword for element in after} - {element.keyword for element in before}
    assert new == {"DerivationDescription", "SourceImageSequence"}


def test_the_groups_of_an_enhanced_object_say_that_it_is_derived():
    group, kind = Dataset(), Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    group.MRImageFrameTypeSequence = [kind]
    source = file(data_set(RAMP, SharedFunctionalGroupsSequence=[group]))
    after, _ = rewritten(source, lambda samples: samples + np.float32(1))
    kinds = after.SharedFunctionalGroupsSequence[0].MRImageFrameTypeSequence[0].FrameType
    assert list(kinds) == ["DERIVED", "PRIMARY", "T1", "NONE"]


@pytest.mark.parametrize("wavelet", [0, 1])
def test_what_was_lossy_says_so_when_its_encoding_no_longer_does(wavelet):
    from pellucid.images.derived import _was_lossy

    data = pydicom.dcmread(io.BytesIO(file(data_set(RAMP), JPEG2000Lossless)))
    assert not _was_lossy(data)
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.91"
    assert not _was_lossy(data)  # the same codestream under the name of both kinds
    style = data.PixelData.find(b"\xff\x52")
    data.PixelData = data.PixelData[: style + 13] + bytes([wavelet]) + data.PixelData[style + 14 :]
    assert _was_lossy(data) == (wavelet == 0)


def test_a_second_change_names_both_sources():
    once, written = rewritten(file(data_set(RAMP)), lambda samples: samples + 1)
    twice, _ = rewritten(written, lambda samples: samples + 1)
    sources = [one.ReferencedSOPInstanceUID for one in twice.SourceImageSequence]
    assert sources[-1] == once.SOPInstanceUID
    assert len(sources) == 2
    assert len(twice.DerivationDescription) <= 1024


@settings(max_examples=60, deadline=None)
@given(
    slope=st.floats(1e-3, 1e3),
    intercept=st.floats(-2000, 2000),
    bits=st.integers(6, 16),
    signed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_number_that_can_be_stored_comes_back(slope, intercept, bits, signed, seed):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    stored = np.random.default_rng(seed).integers(low, high, (9, 8))
    stored = stored.astype(np.int16 if signed else np.uint16)
    scale = {"RescaleSlope": f"{slope:.6g}", "RescaleIntercept": f"{intercept:.6g}"}
    source = file(data_set(stored, BitsStored=bits, **scale))
    picture = images.read(source)
    data = picture.storage["dicom"].data
    expected = stored * np.float64(data.RescaleSlope) + np.float64(data.RescaleIntercept)
    np.testing.assert_allclose(picture.samples[..., 0], expected, rtol=1e-6, atol=1e-3)
    step = np.float32(data.RescaleSlope)
    moved, _ = rewritten(source, lambda samples: samples + np.float32(1.6) * step)
    wanted = (stored.astype(int) + 2).clip(low, high - 1)
    near = np.abs(expected).max() * 2.0**-22 > 0.1 * step  # float32 cannot tell neighbours apart
    assert np.abs(pixel_array(moved).astype(int) - wanted).max() <= (2 if near else 0)


def test_a_table_is_followed_there_and_back():
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [64, 10, 16], "US"
    table.add_new("LUTData", "US", [int(1000 + 40 * i**1.5) for i in range(64)])
    stored = np.arange(8 * 8, dtype=np.uint16).reshape(8, 8) + 10
    source = file(data_set(stored, BitsStored=12, ModalityLUTSequence=[table]))
    picture = images.read(source)
    assert picture.samples[3, 3, 0] == 1000 + int(40 * 27**1.5)
    # Numbers beyond the table mean what its ends do, and stay what they were.
    same, _ = rewritten(source, lambda samples: samples)
    np.testing.assert_array_equal(pixel_array(same), stored)
    moved, _ = rewritten(source, lambda samples: np.full_like(samples, 1000 + 40 * 27**1.5))
    assert (pixel_array(moved) == 10 + 27).all()


def test_padding_stays_padding_and_nothing_else_becomes_it():
    stored = RAMP.copy()
    stored[:3, :4] = -2000
    stored[-1, -1] = -1990
    tags = {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1990}
    source = file(data_set(stored, RescaleIntercept=-1024, RescaleSlope=1, **tags))
    samples = images.read(source).samples[..., 0]
    padded = stored <= -1990
    np.testing.assert_array_equal(np.isnan(samples), padded)
    after, _ = rewritten(source, lambda samples: samples * 0 - 3020)
    found = pixel_array(after)
    np.testing.assert_array_equal(found[padded], stored[padded])
    assert (found[~padded] == -2001).all() or (found[~padded] == -1989).all()


def test_frames_are_pages_each_with_its_own_scale():
    stored = np.stack([RAMP, RAMP + 7])
    groups = []
    for slope in (1, 3):
        scale, group = Dataset(), Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = slope, 5, "US"
        group.PixelValueTransformationSequence = [scale]
        groups.append(group)
    source = file(data_set(stored, frames=2, PerFrameFunctionalGroupsSequence=groups))
    first, second = images.pages(source)
    assert (first.page, second.page, images.count_pages(source)) == ((0, 2), (1, 2), 2)
    np.testing.assert_array_equal(first.samples[..., 0], RAMP + 5)
    np.testing.assert_array_equal(second.samples[..., 0], (RAMP + 7) * 3 + 5)
    np.testing.assert_array_equal(images.read(source, 1).samples, second.samples)
    after, _ = rewritten(source, lambda samples: samples + 6)
    np.testing.assert_array_equal(pixel_array(after), np.stack([RAMP + 6, RAMP + 7 + 2]))
    with pytest.raises(ImageError, match="pages are 0 to 1"):
        images.read(source, 2)
    for wrong in ([first], [second, first], [first, first], [first, images.read(source, 1)]):
        with pytest.raises(ImageError, match="frame"):
            images.write(io.BytesIO(), wrong, kind="dicom")


def test_inverted_grey_is_not_turned_round():
    source = file(data_set(RAMP, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(images.read(source).samples[..., 0], RAMP)
    after, _ = rewritten(source, lambda samples: samples + 1)
    assert after.PhotometricInterpretation == "MONOCHROME1"
    np.testing.assert_array_equal(pixel_array(after), RAMP + 1)


def test_the_recorded_ends_follow_the_pixels():
    tags = {"SmallestImagePixelValue": -300, "LargestImagePixelValue": 1139}
    after, _ = rewritten(file(data_set(RAMP, **tags)), lambda samples: samples - 4)
    assert (after.SmallestImagePixelValue, after.LargestImagePixelValue) == (-304, 1135)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_colour_is_rgb_of_its_own_depth(dtype, syntax):
    rgb = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (6, 8, 3)).astype(dtype)
    source = file(data_set(rgb), syntax)
    picture = images.read(source)
    assert (picture.samples.dtype, picture.bits) == (dtype, 8 * np.dtype(dtype).itemsize)
    np.testing.assert_array_equal(picture.samples, rgb)
    after, _ = rewritten(source, lambda samples: samples // 2)
    np.testing.assert_array_equal(pixel_array(after), rgb // 2)
    images.write(io.BytesIO(), picture, kind="png")


@pytest.mark.parametrize("colours", ["YBR_FULL", "YBR_FULL_422"])
def test_luminance_and_colour_apart_stay_apart(colours):
    ybr = np.full((6, 8, 3), (120, 140, 90), np.uint8)
    ybr[:, 4:] = (60, 128, 128)
    data = data_set(ybr, PhotometricInterpretation=colours)
    if colours == "YBR_FULL_422":
        light = ybr[..., 0].reshape(6, 4, 2)
        data.PixelData = np.concatenate([light, ybr[:, ::2, 1:]], axis=-1).tobytes()
    source = file(data)
    after, written = rewritten(source, lambda samples: samples + np.uint8(10))
    assert after.PhotometricInterpretation == colours
    assert len(after.PixelData) == len(data.PixelData)
    before, now = images.read(source).samples, images.read(written).samples
    assert np.abs(now.astype(int) - before - 10).max() <= 2


def test_a_palette_becomes_rgb():
    index = np.arange(36, dtype=np.uint8).reshape(6, 6) % 4
    data = data_set(index, PhotometricInterpretation="PALETTE COLOR")
    for name, values in (
        ("Red", (0, 255, 0, 9)),
        ("Green", (0, 0, 255, 9)),
        ("Blue", (7, 7, 7, 9)),
    ):
        setattr(data, f"{name}PaletteColorLookupTableDescriptor", [4, 0, 8])
        setattr(data, f"{name}PaletteColorLookupTableData", bytes(values))
    source = file(data)
    assert images.read(source).samples[0, 1].tolist() == [255, 0, 7]
    same, _ = rewritten(source, lambda samples: samples)
    assert same.PhotometricInterpretation == "PALETTE COLOR"
    after, written = rewritten(source, lambda samples: samples // 2)
    assert after.PhotometricInterpretation == "RGB"
    assert not any("Palette" in element.keyword for element in after)
    assert images.read(written).samples[0, 1].tolist() == [127, 0, 3]


def test_an_object_without_a_head_is_read():
    data = data_set(RAMP)
    data.file_meta = FileMetaDataset()
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        data.file_meta.TransferSyntaxUID = syntax
        whole = io.BytesIO()
        data.save_as(whole, enforce_file_format=True)
        found = pydicom.dcmread(io.BytesIO(whole.getvalue()))
        bare = io.BytesIO()
        pydicom.dcmwrite(
            bare, found, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True
        )
        start = bare.getvalue().index(b"\x08\x00\x08\x00")
        np.testing.assert_array_equal(images.read(bare.getvalue()[start:]).samples[..., 0], RAMP)


def altered(**tags: object) -> bytes:
    data = data_set(RAMP.astype(np.uint16))
    for name, value in tags.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return file(data)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (altered(PixelData=None), r"holds no pixels \(MR\)"),
        (altered(Rows=None), "does not say its Rows"),
        (altered(BitsAllocated=1, BitsStored=1, HighBit=0), "segmentation"),
        (altered(BitsAllocated=32, BitsStored=32, HighBit=31), "32 bits"),
        (altered(BitsStored=12), "do not begin at the lowest bit"),
        (altered(PhotometricInterpretation="CMYK"), "CMYK"),
        (altered(Rows=60000, Columns=60000), "pixels"),
        (altered(Rows=500), "cut off"),
        (file(data_set(RAMP))[:-100], "cut off"),
        (file(data_set(RAMP), RLELossless)[:-100], "cut off"),
        (file(data_set(RAMP), JPEG2000Lossless)[:-100], "cut off"),
    ],
)
def test_what_is_no_picture_or_not_whole_is_refused_in_a_line(source, says):
    with pytest.raises(ImageError, match=says) as caught:
        images.read(source)
    assert "\n" not in str(caught.value)


def complaint(source: bytes) -> str:
    try:
        images.read(source)
    except ImageError as error:
        return str(error)
    return ""


def test_an_object_that_would_fill_the_memory_is_refused_before_it_does(monkeypatch):
    data = data_set(RAMP)
    data.private_block(0x0011, "PELLUCID TEST", create=True).add_new(2, "OB", bytes(3_000_000))
    source = file(data, DeflatedExplicitVRLittleEndian)
    assert len(source) < 10_000
    for padded in (source, source + b"\0", source + b"\0\0"):
        assert images.read(padded).samples.shape == (*RAMP.shape, 1)
    monkeypatch.setattr("pellucid.images.dicom._HARMLESS", 2**20)
    with pytest.raises(ImageError, match="would unpack to more than 1 MB, as bombs do"):
        images.read(source)


def test_a_file_cut_off_or_changed_anywhere_gives_a_picture_or_a_line():
    for syntax in (ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless):
        whole = file(data_set(RAMP), syntax)
        random = np.random.default_rng(5)
        hurt = [whole[:length] for length in range(0, len(whole) - 1, 61)]
        for _ in range(40):
            changed = bytearray(whole)
            for place in random.integers(0, len(whole), 3):
                changed[place] = random.integers(0, 256)
            hurt.append(bytes(changed))
        assert not any("\n" in complaint(one) for one in hurt)


def test_other_pictures_do_not_become_dicom_and_measurements_no_png(tmp_path):
    with pytest.raises(ImageError, match="needs the object"):
        images.write(tmp_path / "a.dcm", np.zeros((3, 4), np.uint8))
    picture = images.read(file(data_set(RAMP)))
    with pytest.raises(ImageError, match="PNG cannot hold float samples; write TIFF"):
        images.write(tmp_path / "a.png", picture)
    images.write(tmp_path / "a.tif", picture)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif").samples, picture.samples)
    other = images.read(file(data_set(RAMP[:6])))
    with pytest.raises(ImageError, match="does not fit"):
        images.write(tmp_path / "a.dcm", picture.with_samples(other.samples))
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tif"]


def test_a_missing_decoder_or_pydicom_is_named(tmp_path, monkeypatch):
    from pydicom.pixels import decoders

    path = tmp_path / "a.dcm"
    path.write_bytes(file(data_set(RAMP), JPEG2000Lossless))
    decoder = decoders.JPEG2000LosslessDecoder
    monkeypatch.setattr(decoder, "_available", {})
    monkeypatch.setattr(decoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0",)})
    with pytest.raises(ImageError, match=r"no decoder for JPEG 2000.*pellucid\[dicom\]"):
        images.read(path)
    monkeypatch.undo()
    monkeypatch.setattr("pellucid.images.dicom._has_decoders", lambda: False)
    broken = file(data_set(RAMP), JPEG2000Lossless)
    at = broken.find(b"\xff\x4f\xff\x51")
    with pytest.raises(ImageError, match=r"decoder that is not installed.*pellucid\[dicom\]"):
        images.read(broken[:at] + b"\0" * 40 + broken[at + 40 :])
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[dicom\]"):
        images.read(path)


def test_denoising_works_on_what_was_measured_and_leaves_padding(tmp_path):
    """A network that halves: the range is the picture's own, so its lowest value stays."""
    model = pointwise(tmp_path / "half.onnx", "Mul", 0.5)
    stored = RAMP.copy()
    stored[:2] = -2000
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "PixelPaddingValue": -2000}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.dcm").write_bytes(file(data_set(stored, **tags)))
    out, told = tmp_path / "out", tmp_path / "told.json"
    done = CliRunner().invoke(
        app,
        [
            "denoise",
            str(tmp_path / "in"),
            "-o",
            str(out),
            "--model",
            str(model),
            "--json",
            str(told),
        ],
    )
    assert done.exit_code == 0, done.output
    after = pydicom.dcmread(out / "a.dcm")
    found = pixel_array(after).astype(int)
    np.testing.assert_array_equal(found[:2], stored[:2])
    low = stored[2:].min()
    np.testing.assert_allclose(found[2:], low + (stored[2:] - low) / 2, atol=0.51)
    assert "model half" in after.DerivationDescription
    assert json.loads(told.read_text())["files"][0]["error"] is None


def test_files_without_a_suffix_are_found_in_a_folder_by_what_they_are(tmp_path):
    for name in ("IM0001", "1.2.840.113619.2.55", "a.dcm"):
        (tmp_path / name).write_bytes(file(data_set(RAMP)))
    (tmp_path / "README").write_text("words")
    (tmp_path / "notes.1").write_text("words")
    (tmp_path / "b.bin").write_bytes(file(data_set(RAMP)))
    found = [path.name for path in images.find(tmp_path)]
    assert found == ["1.2.840.113619.2.55", "IM0001", "a.dcm"]


def test_noise_is_told_in_the_units_of_what_was_measured(tmp_path):
    model = pointwise(tmp_path / "half.onnx", "Mul", 0.5)
    noisy = np.random.default_rng(0).normal(500, 20, (64, 64)).astype(np.int16)
    (tmp_path / "a.dcm").write_bytes(file(data_set(noisy)))
    given = ["denoise", str(tmp_path / "a.dcm"), "-o", str(tmp_path / "b.dcm"), "--model"]
    done = CliRunner().invoke(app, [*given, str(model)])
    assert "/255" not in done.output
    said = float(done.output.partition("noise ")[2].partition(",")[0])
    assert 15 < said < 25


def test_pictures_come_without_torch_and_png_without_pydicom():
    code = (
        "import sys, pellucid.images as images; images.kind_of('a.dcm');"
        "print([m for m in ('torch', 'pydicom') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.data
def test_real_files_agree_with_pydicom_and_come_back(real):
    seen = 0
    for path in sorted(real("dicom").rglob("*.dcm")):
        data = pydicom.dcmread(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = pixel_array(data)
            if data.PhotometricInterpretation.startswith("MONOCHROME"):
                theirs = apply_modality_lut(theirs, data)
        pictures = list(images.pages(path))
        assert len(pictures) == int(data.get("NumberOfFrames") or 1)
        if data.PhotometricInterpretation != "PALETTE COLOR":
            ours = np.stack([picture.samples for picture in pictures]).reshape(theirs.shape)
            padded = np.isnan(ours) if ours.dtype.kind == "f" else np.zeros(ours.shape, bool)
            np.testing.assert_array_equal(ours[~padded], theirs[~padded].astype(ours.dtype))
            assert (theirs[padded] == theirs.min()).all()
        out = io.BytesIO()
        images.write(out, pictures, kind="dicom")
        again = pydicom.dcmread(io.BytesIO(out.getvalue()))
        assert again.PixelData == data.PixelData
        assert again.get("SOPInstanceUID") == data.get("SOPInstanceUID")
        halved = [p.with_samples((p.samples / 2).astype(p.samples.dtype)) for p in pictures]
        out = io.BytesIO()
        images.write(out, halved, kind="dicom")
        for one, other in zip(images.pages(out.getvalue()), halved, strict=True):
            assert isinstance(one, Picture)
            step = np.float32(getattr(data, "RescaleSlope", 1) or 1)
            if "ModalityLUTSequence" not in data:
                difference = np.nan_to_num(one.samples.astype(float) - other.samples)
                assert np.abs(difference).max() <= 0.501 * step + 2 * (one.channels == 3)
        seen += 1
    assert seen >= 26
