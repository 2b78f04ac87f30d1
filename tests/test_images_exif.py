"""The orientation changes; every other byte of the block stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pellucid.images.exif import bare, orientation, with_orientation


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
