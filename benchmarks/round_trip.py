"""What a DICOM file keeps when its pixels are changed and it is written again.

    python benchmarks/round_trip.py FOLDER

Every object of a folder is read and written twice: as it is, which must give the same pixel data
and the same object, and with all values moved by a hundredth of their range, as a derived object.
Read again, the derived pixels may differ from what was given by half a step of what can be stored;
where the values lie at the end of what can be stored they stay there. Of tags that changed those of
the palette and of the number format are left out where the colours were to change.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from tables import parser, run, save, table

from pellucid import images
from pellucid.errors import PellucidError
from pellucid.images.picture import Picture

ABOUT = {"PixelData", "SOPInstanceUID", "ImageType", "DerivationDescription", "SourceImageSequence"}
"""What is new by definition; the lengths of groups, long retired, are left out besides."""

FORMAT = {"SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"}
"""What a palette that becomes RGB changes."""


def moved(picture: Picture) -> Picture:
    """The picture a hundredth of its range brighter."""
    samples = picture.samples
    if samples.dtype.kind == "f":
        range_ = np.nanmax(samples) - np.nanmin(samples)
        return picture.with_samples(samples + np.float32(range_ / 100))
    return picture.with_samples(np.minimum(samples.astype(int) + 2, 250).astype(samples.dtype))


def trip(path: Path) -> dict[str, Any]:
    """What became of one file."""
    import pydicom

    try:
        pictures = list(images.pages(path))
    except PellucidError as error:
        return {"file": path.stem, "refused": str(error)}
    before = pydicom.dcmread(path)
    out = io.BytesIO()
    images.write(out, pictures, kind="dicom")
    same = pydicom.dcmread(io.BytesIO(out.getvalue()))
    out, given = io.BytesIO(), [moved(picture) for picture in pictures]
    images.write(out, given, kind="dicom")
    after = pydicom.dcmread(io.BytesIO(out.getvalue()))
    lost = [
        element.keyword or str(element.tag)
        for element in before
        if element.keyword not in ABOUT
        and element.tag.element
        and (element.tag not in after or after[element.tag] != element)
    ]
    if before.PhotometricInterpretation != after.PhotometricInterpretation:
        lost = [tag for tag in lost if tag not in FORMAT and "Palette" not in tag]
    first = pictures[0]
    return {
        "file": path.stem,
        "refused": None,
        "pixels": f"{len(pictures)} x {first.width}x{first.height}, {_kind(first)}",
        "padding": int(sum(np.isnan(p.samples).sum() for p in pictures if p.bits == 32)),
        "unchanged": same.PixelData == before.PixelData
        and same.get("SOPInstanceUID") == before.get("SOPInstanceUID"),
        "encoding": _arrow(*(data.file_meta.TransferSyntaxUID.name for data in (before, after))),
        "colours": _arrow(before.PhotometricInterpretation, after.PhotometricInterpretation),
        "steps": max(
            _steps(one, other, before)
            for one, other in zip(images.pages(out.getvalue()), given, strict=True)
        ),
        "other tags": lost,
    }


def _kind(picture: Picture) -> str:
    return "measured" if picture.bits == 32 else f"RGB {picture.bits}"


def _arrow(one: str, other: str) -> str:
    return one if one == other else f"{one} -> {other}"


def _steps(read: Picture, given: Picture, data: Any) -> float:
    """Largest difference in steps of what can be stored, but for values beyond what it can be."""
    scale = float(data.get("RescaleSlope") or 1) if read.bits == 32 else 1.0
    one, other = read.samples.astype(float), given.samples.astype(float)
    inside = (other <= np.nanmax(one)) & ~np.isnan(one)
    return float(np.abs(one - other)[inside].max() / scale)


def main(arguments: list[str] | None = None) -> None:
    read = parser(__doc__)
    read.add_argument("folder", type=Path, metavar="FOLDER", help="DICOM files")
    given = read.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [trip(path) for path in images.find(given.folder)]
    save(given.out, found)
    head = ["file", "frames and pixels", "padding", "as it was", "encoding", "colours", "steps"]
    rows = []
    for one in found:
        if one["refused"]:
            rows.append([one["file"], one["refused"], *[""] * 6])
            continue
        rows.append(
            [
                one["file"],
                one["pixels"],
                str(one["padding"]),
                "yes" if one["unchanged"] else "no",
                one["encoding"],
                one["colours"],
                f"{one['steps']:.2f}",
                ", ".join(one["other tags"]) or "-",
            ]
        )
    print(table([*head, "other tags that changed"], rows))


if __name__ == "__main__":
    run(main)
