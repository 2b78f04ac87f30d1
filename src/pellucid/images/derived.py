"""A DICOM object with other pixels, and said to be so.

A processed image is a derived one: it gets a name of its own, says how it came about and from
which image (PS3.3 C.7.6.1, https://dicom.nema.org/medical/dicom/current/output/html/part03.html),
and every other tag stays. Pixels that did not change make no new object.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

from pellucid.errors import ImageError
from pellucid.images.dicom import PALETTE, Source, told
from pellucid.images.picture import Array, Picture

RESEARCH = "For research, not for diagnosis."

SOURCE_IMAGE = ("121322", "DCM", "Source Image for Image Processing Operation")
"""Why the source is named: a code of PS3.16."""

LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
"""Transfer syntaxes that always lose something: JPEG, and JPEG-LS where it is near-lossless."""

JPEG_2000 = ("1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.203")
"""Those that lose something where their wavelet is the irreversible one."""

DESCRIPTION_CHARACTERS = 1024
"""As many as fit into a DICOM short text."""


def write(file: BinaryIO, pictures: Iterable[Picture], name: str) -> None:
    """All frames of one object.

    Args:
        file: Open and empty.
        pictures: As they were read from a DICOM file, in order, with other samples.
        name: For messages.

    Raises:
        ImageError: They are not the frames of one object, or have another size or kind.
    """
    source: Source | None = None
    frames: list[Array] = []
    changed, derivation = False, ""
    for picture in pictures:
        found = picture.storage.get("dicom")
        if not isinstance(found, Source):
            raise ImageError(
                f"{name}: a DICOM file needs the object that the picture was taken from; write PNG "
                "or TIFF"
            )
        if source is not None and found.data is not source.data:
            raise ImageError(f"{name}: these are frames of several DICOM objects; write each alone")
        if picture.page[0] != len(frames):
            raise ImageError(
                f"{name}: frame {picture.page[0]} comes where {len(frames)} should be; give all "
                f"{found.frames} frames in order"
            )
        source = found
        numbers, is_new = _numbers(picture, source, name)
        frames.append(numbers)
        changed |= is_new
        derivation = derivation or picture.derivation
    if source is None or len(frames) != source.frames:
        wanted = "no frame" if source is None else f"{len(frames)} of {source.frames} frames"
        raise ImageError(f"{name}: there is {wanted} to write; give all of them")
    with told(name, writing=True):
        data = _derived(source, frames, derivation) if changed else source.data
        data.save_as(file, enforce_file_format="MediaStorageSOPClassUID" in data.file_meta)


def _numbers(picture: Picture, source: Source, name: str) -> tuple[Array, bool]:
    """What is to be stored of a frame, and whether any of it is new."""
    frame = picture.page[0]
    original = source.stored(frame)
    samples = picture.samples[..., 0] if source.grey else picture.samples
    if samples.shape != original.shape or (not source.grey and samples.dtype != original.dtype):
        raise ImageError(
            f"{name}: a frame of {samples.dtype.name} {samples.shape} does not fit into the "
            f"object, whose frames are {original.dtype.name} {original.shape}"
        )
    if source.grey:
        values = samples.astype(np.float32, copy=False)
        numbers = source.modality(frame, original.dtype).stored(values, original)
    else:
        numbers = np.minimum(samples, max(2 ** int(source.data.BitsStored) - 1, original.max()))
    return numbers, bool((numbers != original).any())


def _derived(source: Source, frames: list[Array], derivation: str) -> Any:
    """The object of the new frames."""
    from pydicom.uid import generate_uid

    data = copy.deepcopy(source.data)
    _describe(data, derivation)
    data.SOPInstanceUID = generate_uid()
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if source.grey:
        ends = ("SmallestImagePixelValue", min), ("LargestImagePixelValue", max)
        for tag, end in ends:
            if tag in data:
                data[tag].value = int(end(getattr(frame, end.__name__)() for frame in frames))
    _put(data, frames)
    return data


def _describe(data: Any, derivation: str) -> None:
    """Say that the object is derived, how, and from which."""
    from pydicom.dataset import Dataset

    kinds = list(data.get("ImageType") or ["ORIGINAL", "PRIMARY"])
    data.ImageType = ["DERIVED", *kinds[1:]]
    for groups in _functional_groups(data):
        for tag in (name for name in groups.dir("FrameTypeSequence") if name in groups):
            for one in groups[tag].value:
                if "FrameType" in one:
                    one.FrameType = ["DERIVED", *list(one.FrameType)[1:]]
    if _was_lossy(data):
        # Once lossy, always lossy, and the new encoding does not say so (PS3.3 C.7.6.1.1.5).
        data.LossyImageCompression = "01"
    before = str(data.get("DerivationDescription") or "").strip()
    said = " ".join(
        part for part in (before, derivation or "Changed by pellucid.", RESEARCH) if part
    )
    data.DerivationDescription = said[-DESCRIPTION_CHARACTERS:]
    if "SOPInstanceUID" not in data:
        return
    purpose, image = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = SOURCE_IMAGE
    image.ReferencedSOPClassUID = data.get("SOPClassUID", "")
    image.ReferencedSOPInstanceUID = data.SOPInstanceUID
    image.PurposeOfReferenceCodeSequence = [purpose]
    data.SourceImageSequence = [*(data.get("SourceImageSequence") or []), image]


def _was_lossy(data: Any) -> bool:
    """Whether the encoding of the pixels lost something."""
    syntax = data.file_meta.TransferSyntaxUID
    if syntax not in JPEG_2000:
        return syntax in LOSSY
    # The wavelet is the last number of the coding style, behind marker FF52 of the codestream.
    start = data.PixelData.find(b"\xff\x4f\xff\x51")
    style = data.PixelData.find(b"\xff\x52", start)
    wavelet: bytes = data.PixelData[style + 13 : style + 14]
    return start >= 0 and style >= 0 and wavelet == b"\0"


def _functional_groups(data: Any) -> list[Any]:
    """The groups of an enhanced object, shared and of each frame."""
    names = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    return [groups for name in names for groups in data.get(name) or []]


def _put(data: Any, frames: list[Array]) -> None:
    """Set the pixels, in the object's own encoding where it is one that loses nothing."""
    from pydicom.pixels import get_encoder
    from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

    syntax = data.file_meta.TransferSyntaxUID
    stacked = np.stack(frames)
    if stacked.ndim == 4:
        stacked = _coloured(data, stacked)
    big = not syntax.is_compressed and not syntax.is_little_endian
    raw = stacked.astype(stacked.dtype.newbyteorder(">" if big else "<"), copy=False).tobytes()
    if syntax.is_compressed:
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    implicit = data.file_meta.TransferSyntaxUID.is_implicit_VR
    data["PixelData"].VR = "OW" if implicit or int(data.BitsAllocated) > 8 else "OB"
    data["PixelData"].is_undefined_length = False
    data.pop("ExtendedOffsetTable", None)
    data.pop("ExtendedOffsetTableLengths", None)
    # JPEG-LS and lossless JPEG have no encoder that every install of the extra brings.
    if syntax in (RLELossless, JPEG2000Lossless) and get_encoder(syntax).is_available:
        # OpenJPEG refuses very small pictures; those stay as they are.
        with suppress(RuntimeError):
            data.compress(syntax, generate_instance_uid=False)


def _coloured(data: Any, rgb: Array) -> Array:
    """Frames (N, H, W, 3) of RGB in the object's own colours where they can be stored unpacked."""
    from pydicom.pixels import convert_color_space

    colours = data.PhotometricInterpretation
    if colours == PALETTE:
        for tag in [element.tag for element in data if "PaletteColorLookup" in element.keyword]:
            del data[tag]
        data.BitsAllocated = data.BitsStored = 8 * rgb.dtype.itemsize
        data.HighBit = data.BitsStored - 1
    data.SamplesPerPixel, data.PlanarConfiguration = 3, 0
    packed = data.file_meta.TransferSyntaxUID.is_compressed
    if colours not in ("YBR_FULL", "YBR_FULL_422") or packed:
        data.PhotometricInterpretation = "RGB"
        return rgb
    ybr = np.stack([convert_color_space(frame, "RGB", "YBR_FULL") for frame in rgb])
    if colours == "YBR_FULL":
        return ybr
    # Two pixels share their colour: Y1 Y2 Cb Cr.
    light = ybr[..., 0].reshape(*ybr.shape[:2], -1, 2)
    shared = ybr[..., 1:].astype(np.float64).reshape(*ybr.shape[:2], -1, 2, 2).mean(axis=3)
    return np.concatenate([light, np.rint(shared).astype(ybr.dtype)], axis=-1)
