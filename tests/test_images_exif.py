"""The orientation changes; every other byte of the block stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pellucid import images
from pellucid.images.exif import (
    bare,
    orientation,
    resolution,
    with_orientation,
    with_resolution,
)
from pellucid.images.picture import Picture


def block(**tags: object) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker"
    for name, value in tags.items():
        exif[{"orientation": 0x0112, "software": 0x0131}[name]] = value
    data = bare(exif.tobytes())
    assert data is not None
    return data


@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_read_and_changed(value: int) -> None:
    data = block(orientation=value, software="x")
    assert orientation(data) == value
    changed = with_orientation(data, 9 - value)
    assert changed is not None
    assert orientation(changed) == 9 - value
    assert len(changed) == len(data)
    assert sum(a != b for a, b in zip(changed, data, strict=True)) <= 1


def test_a_block_without_the_tag_is_given_one_and_keeps_the_others() -> None:
    changed = with_orientation(block(), 6)
    exif = Image.Exif()
    exif.load(changed or b"")
    assert (exif[0x0112], exif[0x010F]) == (6, "a maker")


def test_no_block_stays_none_unless_there_is_something_to_say() -> None:
    assert with_orientation(None, 1) is None
    made = with_orientation(None, 3)
    assert orientation(made) == 3
    exif = Image.Exif()
    exif.load(made or b"")
    assert exif[0x0112] == 3


@pytest.mark.filterwarnings("error")
@given(st.binary(max_size=80), st.integers(1, 8))
def test_any_bytes_are_survived(data: bytes, value: int) -> None:
    for start in (b"", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert orientation(with_orientation(start + data, value)) == value


def made(**tags: object) -> bytes:
    """A block as Pillow writes it, without the prefix."""
    exif = Image.Exif()
    for name, value in tags.items():
        exif[{"make": 271, "orientation": 274, "across": 282, "down": 283, "unit": 296}[name]] = (
            value
        )
    return exif.tobytes().removeprefix(b"Exif\0\0")


@pytest.mark.parametrize(
    ("tags", "dpi"),
    [
        ({"across": 300.0, "down": 150.0, "unit": 2}, (300, 150)),
        ({"across": 100.0, "down": 100.0, "unit": 3}, (254, 254)),
        ({"across": 100.0, "down": 100.0, "unit": 1}, None),
        ({"across": 0.0, "down": 100.0, "unit": 2}, None),
        ({"make": "A"}, None),
        ({}, None),
    ],
)
def test_resolution_is_read_in_any_unit(tags, dpi) -> None:
    assert resolution(made(**tags)) == (None if dpi is None else pytest.approx(dpi))


@pytest.mark.parametrize("exif", [None, made(make="A maker", orientation=6), b"II*\0broken"])
def test_resolution_is_set_and_nothing_else_moves(exif: bytes | None) -> None:
    changed = with_resolution(exif, (150.0, 299.72))
    assert resolution(changed) == pytest.approx((150.0, 299.72))
    again = Image.Exif()
    again.load(changed)
    assert (again[282], again[283], again[296]) == pytest.approx((150.0, 299.72, 2))
    if exif and exif[4:] != b"broken":
        assert (again[271], again[274]) == ("A maker", 6)
    assert with_resolution(changed, (150.0, 299.72)) is changed


@pytest.mark.parametrize("kind", ["webp", "avif"])
def test_formats_without_a_resolution_of_their_own_keep_it(tmp_path, kind: str) -> None:
    given = Picture(np.zeros((9, 9, 3), np.uint8), dpi=(150.0, 200.0), orientation=6)
    images.write(tmp_path / f"a.{kind}", given)
    back = images.read(tmp_path / f"a.{kind}")
    assert back.dpi == pytest.approx((150, 200))
    assert back.orientation == 6
