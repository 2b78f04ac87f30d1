"""Promises of images/pdf.py, scans.py and sheets.py: the scan changes, nothing else does."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

pikepdf = pytest.importorskip("pikepdf")
pytest.importorskip("pypdfium2")
from pikepdf import Array, Dictionary, Name, Pdf  # noqa: E402 (after the skip)
from typer.testing import CliRunner  # noqa: E402

from networks import pointwise  # noqa: E402
from pellucid import images  # noqa: E402
from pellucid.cli import app  # noqa: E402
from pellucid.errors import ImageError, MissingExtraError  # noqa: E402
from pellucid.images.picture import Picture  # noqa: E402

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (60, 40), np.uint8)
COLOUR = RNG.integers(0, 256, (60, 40, 3), np.uint8)
BILEVEL = (RNG.random((60, 40)) < 0.5).astype(np.uint8) * np.uint8(255)
WHOLE = "q 200 0 0 300 0 0 cm /A Do Q"


@dataclass
class Page:
    """A page of a made-up document: pictures by name, and what is done with them."""

    images: dict[str, np.ndarray] = field(default_factory=lambda: {"/A": GREY})
    content: str = WHOLE
    size: tuple[float, float] = (200, 300)
    image_tags: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, Any] = field(default_factory=dict)


def document(*given: Page) -> Pdf:
    pdf = pikepdf.new()
    for one in given:
        page = pdf.add_blank_page(page_size=one.size)
        streams = {name: stream(pdf, array, **one.image_tags) for name, array in one.images.items()}
        page.Resources.XObject = Dictionary(streams)
        font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
        page.Resources.Font = Dictionary({"/F": font})
        page.Contents = pdf.make_stream(one.content.encode())
        for name, value in one.tags.items():
            page[f"/{name}"] = value
    return pdf


def stream(pdf: Pdf, array: np.ndarray, **tags: Any) -> Any:
    """The array as an image that is not compressed."""
    one = pdf.make_stream(array.tobytes())
    one.Type, one.Subtype = Name.XObject, Name.Image
    one.Width, one.Height = array.shape[1], array.shape[0]
    one.BitsPerComponent = 8
    one.ColorSpace = Name.DeviceGray if array.ndim == 2 else Name.DeviceRGB
    for name, value in tags.items():
        one[f"/{name}"] = value
    return one


def packed(bilevel: np.ndarray) -> np.ndarray:
    return np.packbits(bilevel > 0, axis=1)


def saved(pdf: Pdf, **options: Any) -> bytes:
    file = io.BytesIO()
    pdf.save(file, **options)
    return file.getvalue()


def bytes_of(*given: Page) -> bytes:
    return saved(document(*given))


def changed(picture: Picture, samples: np.ndarray | None = None) -> Picture:
    """As a network would give it back."""
    if samples is None:
        samples = 255 - picture.samples
    return replace(picture.with_samples(samples), derivation="Inverted.")


def written(pictures: list[Picture]) -> bytes:
    file = io.BytesIO()
    images.write(file, pictures, kind="pdf")
    return file.getvalue()


def read_one(*given: Page) -> Picture:
    return images.read(bytes_of(*given))


# Reading


@pytest.mark.parametrize(("array", "channels"), [(GREY, 1), (COLOUR, 3)])
def test_a_scan_is_read_to_the_last_bit(array: np.ndarray, channels: int) -> None:
    picture = read_one(Page({"/A": array}))
    np.testing.assert_array_equal(picture.samples, array.reshape(60, 40, channels))
    assert picture.bits == 8
    assert picture.kind == "pdf"
    assert picture.dpi == (14.4, 14.4)
    assert not picture.untouched


def test_colour_without_colours_is_grey() -> None:
    picture = read_one(Page({"/A": np.repeat(GREY[..., None], 3, axis=2)}))
    np.testing.assert_array_equal(picture.samples[..., 0], GREY)
    assert picture.channels == 1


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    points=st.floats(20, 900),
    left=st.floats(-50, 300),
)
def test_any_size_at_any_place_is_read_exactly(
    height: int, width: int, points: float, left: float
) -> None:
    array = np.random.default_rng(height).integers(0, 256, (height, width), np.uint8)
    content = f"q {points:.6f} 0 0 {points:.6f} {left:.6f} {left / 3:.6f} cm /A Do Q"
    size = (left + points + 60, left / 3 + points + 60)
    picture = read_one(Page({"/A": array}, content, size=(max(size[0], 3), max(size[1], 3))))
    if picture.untouched:
        assert "too small" in picture.untouched or "no scan" in picture.untouched
    else:
        np.testing.assert_array_equal(picture.samples[..., 0], array)


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ("-200 0 0 300 200 0", lambda a: a[:, ::-1]),
        ("200 0 0 -300 0 300", lambda a: a[::-1]),
        ("0 300 -200 0 200 0", np.rot90),
        ("0 -300 200 0 0 300", lambda a: np.rot90(a, -1)),
    ],
)
def test_pictures_come_as_they_lie_on_the_page(matrix: str, turn: Any) -> None:
    picture = read_one(Page(content=f"q {matrix} cm /A Do Q"))
    np.testing.assert_array_equal(picture.samples[..., 0], turn(GREY))


@pytest.mark.parametrize(("turned", "orientation"), [(90, 6), (180, 3), (270, 8), (-90, 8)])
def test_a_turned_page_says_so(turned: int, orientation: int) -> None:
    picture = read_one(Page(tags={"Rotate": turned}))
    assert picture.orientation == orientation
    np.testing.assert_array_equal(picture.samples[..., 0], GREY)
    upright = picture.upright().samples[..., 0]
    np.testing.assert_array_equal(upright, np.rot90(GREY, -turned // 90))


def test_black_and_white_is_known_and_decoded() -> None:
    bits = {"BitsPerComponent": 1, "Width": 40}
    picture = read_one(Page({"/A": packed(BILEVEL)}, image_tags=bits))
    np.testing.assert_array_equal(picture.samples[..., 0], BILEVEL)
    assert picture.bits == 1
    other = read_one(Page({"/A": packed(BILEVEL)}, image_tags=bits | {"Decode": Array([1, 0])}))
    np.testing.assert_array_equal(other.samples[..., 0], 255 - BILEVEL)


def test_a_mask_has_the_colour_it_is_painted_in() -> None:
    tags = {"BitsPerComponent": 1, "Width": 40, "ImageMask": True}
    page = Page({"/A": packed(BILEVEL)}, f"0 0 1 rg {WHOLE}", image_tags=tags)
    pdf = document(page)
    del pdf.pages[0].Resources.XObject["/A"]["/ColorSpace"]
    picture = images.read(saved(pdf))
    inked = BILEVEL == 0
    assert (picture.samples[inked] == [0, 0, 255]).all()
    assert (picture.samples[~inked] == 255).all()


def test_strips_become_one_picture() -> None:
    strips = {f"/S{i}": GREY[20 * i : 20 * i + 20] for i in range(3)}
    content = " ".join(f"q 200 0 0 100 0 {200 - 100 * i} cm /S{i} Do Q" for i in range(3))
    picture = read_one(Page(strips, content))
    np.testing.assert_array_equal(picture.samples[..., 0], GREY)
    restored = images.read(written([changed(picture, np.full_like(picture.samples, 7))]))
    assert restored.samples.shape == picture.samples.shape
    assert abs(int(restored.samples.mean()) - 7) < 2


def test_background_and_mask_are_painted_together() -> None:
    tags = {"BitsPerComponent": 1, "Width": 40, "ImageMask": True}
    pdf = document(Page({"/B": np.full((30, 20), 200, np.uint8)}))
    page = pdf.pages[0]
    mask = stream(pdf, packed(BILEVEL), **tags)
    del mask["/ColorSpace"]
    page.Resources.XObject["/A"] = mask
    page.Contents = pdf.make_stream(b"q 200 0 0 300 0 0 cm /B Do Q " + WHOLE.encode())
    picture = images.read(saved(pdf))
    np.testing.assert_array_equal(picture.samples[..., 0], np.where(BILEVEL == 0, 0, 200))


def test_typeset_pages_are_known_and_seen() -> None:
    text = "BT /F 12 Tf 20 200 Td (%s) Tj ET"
    words = "A page of words and no scan. " * 10
    alone = read_one(Page({}, text % words))
    assert "no scan" in alone.untouched
    assert 0 < (alone.samples < 128).mean() < 0.2
    assert alone.samples.shape[:2] == (834, 556)
    over = read_one(Page(content=f"{WHOLE} {text % words}"))
    assert "typeset" in over.untouched
    small = read_one(Page(content="q 20 0 0 30 50 50 cm /A Do Q"))
    assert "too small" in small.untouched
    assert "no scan" in read_one(Page({}, "")).untouched


@pytest.mark.parametrize(
    "content",
    [
        f"BT 3 Tr /F 12 Tf 20 200 Td ({'hidden words ' * 40}) Tj ET {WHOLE}",
        f"{WHOLE} BT 3 Tr /F 12 Tf 20 200 Td [({'hidden ' * 40}) -20 (words)] TJ ET",
        f"BT /F 12 Tf 20 200 Td ({'under the scan ' * 40}) Tj ET {WHOLE}",
        f"{WHOLE} BT /F 12 Tf 20 200 Td (Exhibit 7, page 12) Tj ET",
    ],
)
def test_text_that_was_recognised_or_stamped_makes_no_typeset_page(content: str) -> None:
    picture = read_one(Page(content=content))
    assert not picture.untouched
    np.testing.assert_array_equal(picture.samples[..., 0], GREY)


LINES = f"BT /F 12 Tf 14 TL 10 280 Td {'(Words that nobody may lose.) Tj T* ' * 15}ET"
LOGOS = "q 15 0 0 15 5 5 cm /A Do Q q 15 0 0 15 180 280 cm /A Do Q"
PHOTO = "q 140 0 0 140 40 10 cm /A Do Q"


@pytest.mark.parametrize(
    "content",
    [
        f"{LINES} {LOGOS}",
        f"0 0 1 rg 20 100 100 100 re f {LOGOS}",
        f"q 15 0 0 15 5 5 cm /A Do Q {LINES[:90]}) Tj ET q 15 0 0 15 180 280 cm /A Do Q",
    ],
    ids=["text", "drawing", "between"],
)
def test_what_is_seen_beneath_or_between_pictures_is_never_painted_over(content: str) -> None:
    source = bytes_of(Page(content=content))
    picture = images.read(source)
    assert "between the pictures" in picture.untouched
    after = images.read(written([replace(picture, derivation="Changed.")]))
    np.testing.assert_array_equal(after.samples, picture.samples)


@pytest.mark.parametrize("content", [f"{LINES} {PHOTO}", f"{PHOTO} {LINES}"])
@pytest.mark.parametrize("as_form", [False, True])
def test_an_illustration_of_a_typeset_page_is_no_scan(content: str, as_form: bool) -> None:
    pdf = document(Page(content=content.replace(LINES, "/Form Do") if as_form else content))
    page = pdf.pages[0]
    form = pdf.make_stream(LINES.encode(), Type=Name.XObject, Subtype=Name.Form)
    form.BBox, form.Resources = Array([0, 0, 200, 300]), Dictionary(Font=page.Resources.Font)
    page.Resources.XObject["/Form"] = form
    assert "typeset" in images.read(saved(pdf)).untouched


@pytest.mark.parametrize(
    "content",
    [
        f"1 g 0 0 200 300 re f {WHOLE}",
        f"0 g 50 50 20 20 re f {WHOLE}",
        f"{WHOLE} 0 0 1 RG 5 w 10 10 180 280 re S",
        f"20 20 160 260 re W n {WHOLE}",
    ],
    ids=["white beneath", "hidden", "frame over it", "clipped"],
)
def test_what_is_hidden_beneath_or_stays_above_a_scan_is_no_matter(content: str) -> None:
    picture = read_one(Page(content=content))
    assert not picture.untouched
    np.testing.assert_array_equal(picture.samples[..., 0], GREY)


def two_scans(between: str, before: str = "") -> Page:
    """A scan, and above it a black picture that something keeps from being seen."""
    text = np.tile(np.where(np.arange(60) % 8 < 2, 40, 230).astype(np.uint8), (40, 1))
    content = f"{before} q 300 0 0 200 0 0 cm /A Do Q q {between} Q"
    return Page({"/A": text, "/B": text * 0}, content, size=(300, 200))


def test_a_picture_of_a_hidden_layer_is_no_part_of_the_scan() -> None:
    inside = "/OC /L BDC 300 0 0 200 0 0 cm /B Do EMC"
    pdf = document(two_scans(inside), two_scans("300 0 0 200 0 0 cm /B Do"))
    layer = pdf.make_indirect(Dictionary(Type=Name.OCG, Name="hidden"))
    pdf.Root.OCProperties = Dictionary(
        OCGs=pikepdf.Array([layer]), D=Dictionary(OFF=pikepdf.Array([layer]))
    )
    pdf.pages[0].Resources.Properties = Dictionary(L=layer)
    pdf.pages[1].Resources.XObject.B.OC = layer
    for picture in images.pages(io.BytesIO(saved(pdf))):
        assert not picture.untouched
        assert picture.samples.mean() > 150


@pytest.mark.parametrize(
    ("between", "before"),
    [("0 0 10 10 re W n 300 0 0 200 0 0 cm /B Do", ""), ("", "/Faint gs")],
)
def test_a_scan_that_could_not_be_put_back_as_it_is_seen_stays(between: str, before: str) -> None:
    pdf = document(two_scans(between, before))
    pdf.pages[0].Resources.ExtGState = Dictionary(Faint=Dictionary(ca=0.3))
    picture = images.read(saved(pdf))
    assert "clipped, masked, see-through or in layers" in picture.untouched


def test_a_mask_or_a_state_that_changes_nothing_keeps_no_scan_from_being_one() -> None:
    text = np.tile(np.where(np.arange(60) % 8 < 2, 40, 230).astype(np.uint8), (40, 1))
    content = "q 0 0 300 200 re W n /Plain gs 300 0 0 200 0 0 cm /A Do Q"
    pdf = document(Page({"/A": text}, content, size=(300, 200)))
    pdf.pages[0].Resources.ExtGState = Dictionary(Plain=Dictionary(ca=1))
    picture = images.read(saved(pdf))
    assert not picture.untouched
    np.testing.assert_array_equal(picture.samples[..., 0], text)


def in_groups(page: Page, matrix: str, depth: int = 1, **tags: Any) -> Pdf:
    """A document whose page paints another page, as a group within groups."""
    pdf = document(page)
    for _ in range(depth):
        inner = pdf.pages[-1].as_form_xobject()
        group = pdf.make_indirect(inner)
        for name, value in tags.items():
            group[f"/{name}"] = value
        outer = pdf.add_blank_page(page_size=page.size)
        outer.Resources.XObject = Dictionary({"/A": group})
        outer.Contents = pdf.make_stream(f"q {matrix} cm /A Do Q".encode())
        del pdf.pages[0]
    return pdf


@pytest.mark.parametrize("depth", [1, 3])
def test_a_scan_in_a_group_is_found_and_replaced(depth: int) -> None:
    content = f"{WHOLE} BT 3 Tr /F 9 Tf (what it says) Tj ET"
    whole = saved(in_groups(Page(content=content), "1 0 0 1 0 0", depth))
    picture = images.read(whole)
    assert not picture.untouched
    np.testing.assert_array_equal(picture.samples[..., 0], GREY)
    clean = GREY // 2
    after = written([changed(picture, clean)])
    np.testing.assert_allclose(
        images.read(after).samples[..., 0].astype(int), clean, atol=40
    )  # as JPEG
    with pikepdf.open(io.BytesIO(after)) as pdf:
        assert b"what it says" in pdf.pages[0].Contents.read_bytes()
    import pypdfium2

    with pypdfium2.PdfDocument(after) as seen:
        assert abs(seen[0].render(grayscale=True).to_numpy().mean() - clean.mean()) < 3


def test_a_group_may_be_moved_and_turned() -> None:
    picture = images.read(saved(in_groups(Page(), "0 1 -1 0 300 0")))  # a part is off the page
    np.testing.assert_array_equal(picture.samples[..., 0], np.rot90(GREY))
    page = Page(size=(200, 200), content="q 200 0 0 200 0 0 cm /A Do Q", images={"/A": GREY})
    picture = images.read(saved(in_groups(page, "0 1 -1 0 200 0")))
    np.testing.assert_array_equal(picture.samples[..., 0], np.rot90(GREY))


def test_a_group_that_may_be_hidden_or_does_not_close_stays() -> None:
    layer = Dictionary(Type=Name.OCG, Name=pikepdf.String("layer"))
    assert images.read(saved(in_groups(Page(), "1 0 0 1 0 0", OC=layer))).untouched
    assert images.read(saved(in_groups(Page(content=f"{WHOLE} Q"), "1 0 0 1 0 0"))).untouched


def test_groups_that_name_each_other_but_paint_nothing_take_no_time() -> None:
    pdf = document(Page(content=""))
    groups = [pdf.make_stream(b"", Type=Name.XObject, Subtype=Name.Form) for _ in range(60)]
    named = Dictionary({f"/X{number}": one for number, one in enumerate(groups)})
    for one in groups:
        one.BBox, one.Resources = Array([0, 0, 9, 9]), Dictionary(XObject=named)
    pdf.pages[0].Resources.XObject = named
    assert images.read(saved(pdf)).untouched


@pytest.mark.parametrize("count", [1, 3, 1000])
def test_groups_without_end_are_refused(count: int) -> None:
    pdf = in_groups(Page(), "1 0 0 1 0 0")
    group = pdf.pages[0].Resources.XObject["/A"]
    group.Resources.XObject["/Self"] = group
    group.write(b"/A Do " + b"/Self Do " * count)
    with pytest.raises(ImageError, match="holds itself"):
        images.read(saved(pdf))


def test_groups_that_multiply_are_refused() -> None:
    pdf = in_groups(Page(), "1 0 0 1 0 0", depth=12)
    group = pdf.pages[0].Resources.XObject["/A"]
    while "/A" in group.Resources.XObject and group.Resources.XObject["/A"].Subtype == "/Form":
        group.write(b"/A Do " * 10)
        group = group.Resources.XObject["/A"]
    with pytest.raises(ImageError, match="without end"):
        images.read(saved(pdf))


def test_a_typeset_page_with_pictures_in_groups_stays() -> None:
    pdf = in_groups(Page(content=f"q 60 0 0 90 0 0 cm /A Do Q {LINES}"), "1 0 0 1 0 0")
    assert images.read(saved(pdf)).untouched


def test_units_of_a_page_are_minded() -> None:
    assert read_one(Page(tags={"UserUnit": 2})).dpi == (7.2, 7.2)
    typeset = read_one(Page({}, "", tags={"UserUnit": 2}))
    assert typeset.samples.shape == (1667, 1112, 1)
    assert typeset.dpi == (200, 200)


def test_a_typeset_page_of_any_size_is_painted_in_bounded_memory() -> None:
    seen = read_one(Page({}, "", size=(14_400, 7_200)))
    assert seen.samples.size < 51e6
    assert seen.dpi == (seen.width / 200, seen.width / 200)


def test_pages_are_counted_and_read_by_number(tmp_path: Path) -> None:
    path = tmp_path / "two.pdf"
    path.write_bytes(bytes_of(Page(), Page({"/A": COLOUR})))
    assert images.count_pages(path) == 2
    assert images.read(path, page=1).page == (1, 2)
    with pytest.raises(ImageError, match="no page 2; the pages are 0 to 1"):
        images.read(path, page=2)
    assert [picture.channels for picture in images.pages(path)] == [1, 3]


# Writing


def test_pages_that_did_not_change_keep_their_bytes() -> None:
    given = bytes_of(Page(), Page({"/A": COLOUR}), Page({}, "0 0 m 9 9 l S"))
    came = list(images.pages(given))
    again = pikepdf.open(io.BytesIO(written([came[0], changed(came[1]), came[2]])))
    before = pikepdf.open(io.BytesIO(given))
    for index in (0, 2):
        old, new = before.pages[index], again.pages[index]
        assert old.Contents.read_bytes() == new.Contents.read_bytes()
        image = new.Resources.get("/XObject", {}).get("/A")
        assert image is None or image.read_bytes() == GREY.tobytes()
    assert "/A" not in again.pages[1].Resources.XObject
    assert len(list(images.pages(written(came)))) == 3


@pytest.mark.parametrize("matrix", ["200 0 0 300 0 0", "-100 0 0 150 150 9", "0 300 -200 0 200 0"])
def test_a_new_picture_lies_where_the_old_one_did(matrix: str) -> None:
    picture = read_one(
        Page(content=f"2 0 0 2 1 1 cm q .5 0 0 .5 -.5 -.5 cm q {matrix} cm /A Do Q Q")
    )
    rows = np.linspace(0, 255, picture.height).astype(np.uint8)
    ramp = np.broadcast_to(rows[:, None, None], picture.samples.shape)
    new = images.read(written([changed(picture, ramp)]))
    assert new.samples.shape == picture.samples.shape
    assert new.dpi == picture.dpi
    assert np.abs(new.samples.astype(int) - ramp).max() <= 6
    sheets = [p.storage["pdf"].scan for p in (picture, new)]
    np.testing.assert_allclose(sheets[0].low, sheets[1].low, atol=1e-5)
    np.testing.assert_allclose(sheets[0].high, sheets[1].high, atol=1e-5)


def test_all_but_the_scan_stays() -> None:
    pdf = document(Page(), Page({"/A": COLOUR}), Page(tags={"Rotate": 90}))
    with pdf.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("Second", 1))
    with pdf.open_metadata() as metadata:
        metadata["dc:title"] = "Scanned things"
    pdf.docinfo["/Author"] = "Nobody"
    pdf.Root.PageLabels = Dictionary(Nums=Array([0, Dictionary(S=Name.r)]))
    hidden = b" BT 3 Tr /F 12 Tf 20 200 Td (searchable) Tj ET"
    for page in pdf.pages:
        page.Contents = pdf.make_stream(page.Contents.read_bytes() + hidden)
    link = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=Array([0, 0, 9, 9]))
    pdf.pages[0].Annots = Array([pdf.make_indirect(link)])
    new = written([changed(picture) for picture in images.pages(saved(pdf))])
    again = pikepdf.open(io.BytesIO(new))
    with again.open_outline() as outline:
        assert [item.title for item in outline.root] == ["Second"]
        assert outline.root[0].destination[0].objgen == again.pages[1].objgen
    assert again.open_metadata()["dc:title"] == "Scanned things"
    assert str(again.docinfo["/Author"]) == "Nobody"
    assert str(again.Root.PageLabels.Nums[1].S) == "/r"
    assert len(again.pages[0].Annots) == 1
    assert again.pages[2].rotation == 90
    for page in again.pages:
        assert b"(searchable) Tj" in page.Contents.read_bytes()
    import pypdfium2

    reader = pypdfium2.PdfDocument(new)
    assert [page.get_textpage().get_text_bounded().strip() for page in reader] == ["searchable"] * 3


def test_black_and_white_stays_so_and_small() -> None:
    bilevel = np.full((600, 400), 255, np.uint8)
    bilevel[100:130, 50:350] = 0
    tags = {"BitsPerComponent": 1, "Width": 400}
    picture = read_one(Page({"/A": packed(bilevel)}, image_tags=tags))
    grey = np.where(picture.samples == 0, 60, 240).astype(np.uint8)
    file = written([changed(picture, grey)])
    again = images.read(file)
    assert again.bits == 1
    np.testing.assert_array_equal(again.samples[..., 0], bilevel)
    pdf = pikepdf.open(io.BytesIO(file))
    image = pdf.pages[0].Resources.XObject["/Pellucid"]
    assert image.Filter == Name.CCITTFaxDecode
    assert len(image.read_raw_bytes()) < 300


def test_a_cleaner_scan_takes_no_more_room() -> None:
    clean = np.full((900, 600), 250.0)
    clean[::30] = 20
    noisy = (clean + RNG.normal(0, 20, clean.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "PDF", quality=60)
    picture = images.read(file.getvalue())
    new = written([changed(picture, clean.astype(np.uint8))])
    assert len(new) < len(file.getvalue())
    hardly = written([changed(picture, np.maximum(picture.samples, 1))])
    assert len(hardly) < 1.05 * len(file.getvalue())


def shades() -> np.ndarray:
    """What a network leaves of a page: soft grey on even white."""
    lines = np.zeros((900, 600))
    lines[40:860:30, 40:560] = RNG.random((28, 520)) < 0.6
    soft = np.asarray(Image.fromarray(np.uint8(255 - 235 * lines)).resize((1200, 1800), 2))
    return np.ascontiguousarray(soft)


@pytest.mark.parametrize("archival", [False, True])
def test_a_scan_that_was_packed_tightly_does_not_grow(archival: bool) -> None:
    clean = shades()
    noisy = (clean + RNG.normal(0, 6, clean.shape)).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "PDF", quality=12)
    whole = file.getvalue()
    if archival:
        with pikepdf.open(io.BytesIO(whole)) as pdf:
            with pdf.open_metadata() as told:
                told["pdfaid:part"], told["pdfaid:conformance"] = "1", "B"
            whole = saved(pdf)
    after = written([changed(images.read(whole), clean)])
    picture = images.read(after)
    with pikepdf.open(io.BytesIO(after)) as pdf:
        stored = pdf.pages[0].Resources.XObject["/Pellucid"].Filter
        version = float(pdf.pdf_version)
    assert stored == (Name.DCTDecode if archival else Name.JPXDecode)
    assert archival or version >= 1.5
    if not archival:
        assert len(after) <= len(whole) + 1000  # the document has names that Pillow's lacks
    error = np.mean((picture.samples[..., 0].astype(float) - clean) ** 2)
    assert 10 * np.log10(255**2 / error) > 31.9


def test_metadata_that_are_none_do_no_harm_and_make_no_noise(tmp_path: Path) -> None:
    pdf = document(Page())
    pdf.Root.Metadata = pdf.make_stream(b"<x", Type=Name.Metadata, Subtype=Name.XML)
    pdf.save(tmp_path / "in.pdf")
    code = (
        "import sys; from dataclasses import replace; from pellucid import images\n"
        "page = images.read(sys.argv[1])\n"
        "page = replace(page.with_samples(255 - page.samples), derivation='x')\n"
        "images.write(sys.argv[2], page)"
    )
    names = [str(tmp_path / name) for name in ("in.pdf", "out.pdf")]
    run = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    assert images.count_pages(tmp_path / "out.pdf") == 1


def test_a_version_rises_only_for_jpeg_2000() -> None:
    old = saved(document(Page()), force_version="1.3")
    with pikepdf.open(io.BytesIO(written([changed(images.read(old))]))) as pdf:
        assert pdf.pages[0].Resources.XObject["/Pellucid"].Filter == Name.DCTDecode
        assert pdf.pdf_version == "1.3"


def test_a_scan_of_next_to_nothing_grows_rather_than_becoming_poor() -> None:
    file = io.BytesIO()
    Image.new("L", (1200, 1800), 255).save(file, "PDF", quality=5)
    page = shades()
    after = written([changed(images.read(file.getvalue()), page)])
    error = np.mean((images.read(after).samples[..., 0].astype(float) - page) ** 2)
    assert 10 * np.log10(255**2 / error) > 31.9


def test_the_same_pages_make_the_same_file() -> None:
    source = bytes_of(Page(), Page())
    one, other = (written([changed(page) for page in images.pages(source)]) for _ in range(2))
    assert one == other != source


def test_pages_that_share_a_picture_part_when_one_changes() -> None:
    pdf = document(Page(), Page())
    pdf.pages[1].Resources = pdf.pages[0].Resources = pdf.make_indirect(pdf.pages[0].Resources)
    came = list(images.pages(saved(pdf)))
    again = list(images.pages(written([came[0], changed(came[1])])))
    np.testing.assert_array_equal(again[0].samples, came[0].samples)
    assert np.abs(again[1].samples.astype(int) - (255 - came[0].samples)).mean() < 20


def test_what_a_page_inherits_is_found_and_the_old_picture_is_gone() -> None:
    pdf = document(Page({"/A": RNG.integers(0, 256, (500, 500), np.uint8)}))
    pdf.Root.Pages.Resources = pdf.pages[0].Resources
    del pdf.pages[0]["/Resources"]
    given = saved(pdf)
    picture = images.read(given)
    new = written([changed(picture, np.full_like(picture.samples, 255))])
    assert len(new) < len(given) / 10


def test_any_pictures_become_a_document(tmp_path: Path) -> None:
    path = tmp_path / "new.pdf"
    grey = Picture(np.full((150, 100, 1), 90, np.uint8), dpi=(150, 150))
    bilevel = Picture(BILEVEL[..., None], bits=1)
    turned = Picture(np.full((10, 30, 3), 90, np.uint8), orientation=6)
    images.write(path, [grey, bilevel, turned])
    again = list(images.pages(path))
    assert again[0].dpi == (150, 150)
    assert np.abs(again[0].samples.astype(int) - 90).max() <= 1
    np.testing.assert_array_equal(again[1].samples[..., 0], BILEVEL)
    assert again[1].dpi == (96, 96)
    assert again[2].samples.shape == (30, 10, 1)


def test_many_pages_go_through_the_disk() -> None:
    pages = [Picture(np.full((9, 9, 1), n, np.uint8)) for n in range(70)]
    again = list(images.pages(written(pages)))
    assert [int(picture.samples.mean().round()) for picture in again] == list(range(70))


def test_parts_of_documents_are_refused() -> None:
    first, second = images.pages(bytes_of(Page(), Page()))
    (other,) = images.pages(bytes_of(Page()))
    for wrong in ([second, first], [first, other], [first, Picture(GREY[..., None])]):
        with pytest.raises(ImageError, match="not the pages of one PDF in their order"):
            written(wrong)
    with pytest.raises(ImageError, match="1 of 2 pages; give all"):
        written([first])
    with pytest.raises(ImageError, match="cannot hold 16-bit"):
        written([Picture(np.zeros((3, 3, 1), np.uint16))])
    with pytest.raises(ImageError, match="replace one of 40x60"):
        written([changed(first, first.samples[:9]), second])


# Bad input


def test_bad_documents_are_refused_in_a_line(tmp_path: Path) -> None:
    whole = bytes_of(Page())
    locked = saved(document(Page()), encryption=pikepdf.Encryption(owner="a", user="b"))
    owned = saved(document(Page()), encryption=pikepdf.Encryption(owner="a", user=""))
    for data, said in (
        (locked, "encrypted"),
        (owned, "encrypted"),
        (saved(pikepdf.new()), "no page"),
        (b"%PDF-1.7\n", "damaged or cut off"),
        (b"%PDF-1.7\n%%EOF", "damaged or cut off"),
        (whole[:-30], "damaged or cut off"),
        (whole[:200], "damaged or cut off"),
    ):
        path = tmp_path / "bad.pdf"
        path.write_bytes(data)
        with pytest.raises(ImageError, match=said) as error:
            images.read(path)
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)


def test_a_picture_that_cannot_be_decoded_is_not_taken_for_white() -> None:
    pdf = document(Page())
    image = pdf.pages[0].Resources.XObject.A
    image.write(b"this is no JPEG", filter=Name.DCTDecode)
    with pytest.raises(ImageError, match="page 1: the file is damaged"):
        images.read(saved(pdf))


def jpeg(pdf: Pdf, array: np.ndarray, *, end: int | None = None) -> Any:
    """The array as a JPEG, whole or cut off."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "JPEG")
    one = stream(pdf, array)
    one.write(file.getvalue()[:end], filter=Name.DCTDecode)
    return one


def test_a_jpeg_that_is_cut_off_or_smaller_than_it_claims_is_refused() -> None:
    pdf = document(Page(), Page(), Page())
    for page, end in zip(pdf.pages, (None, -40, None), strict=True):
        page.Resources.XObject.A = jpeg(pdf, GREY, end=end)
    pdf.pages[2].Resources.XObject.A.Width = pdf.pages[2].Resources.XObject.A.Height = 25_000
    source = saved(pdf)
    assert images.read(source).samples.shape == (60, 40, 1)
    with pytest.raises(ImageError, match="page 2: the file is damaged or cut off"):
        images.read(source, page=1)
    with pytest.raises(ImageError, match=r"page 3: .*25000x25000.*bomb"):
        images.read(source, page=2)


def test_claims_of_size_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PELLUCID_MAX_PIXELS", "2000")
    with pytest.raises(ImageError, match="40x60 is 2,400 pixels"):
        read_one(Page())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_changed_bytes_never_escape_as_another_error(seed: int) -> None:
    rng = np.random.default_rng(seed)
    hurt = bytearray(bytes_of(Page({"/A": GREY[:5, :5]})))
    for place in rng.integers(0, len(hurt), rng.integers(1, 8)):
        hurt[place] = rng.integers(32, 127)
    try:
        written([changed(picture) for picture in images.pages(bytes(hurt))])
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most changes do no harm


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes_of(Page())
    monkeypatch.setitem(sys.modules, "pikepdf", None)
    with pytest.raises(MissingExtraError, match=r"pellucid\[pdf\]"):
        images.read(data)


# On the command line


def denoise(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["denoise", *arguments])


def test_a_document_is_cleaned_page_by_page(tmp_path: Path) -> None:
    halved = pointwise(tmp_path / "half.onnx", "Mul", 0.5)
    source, target, told = tmp_path / "in.pdf", tmp_path / "out.pdf", tmp_path / "told.json"
    grey = np.full((60, 40), 200, np.uint8)
    text = f"BT /F 12 Tf 20 200 Td ({'words ' * 60}) Tj ET"
    source.write_bytes(bytes_of(Page({"/A": grey}), Page({}, text), Page({"/A": grey * 0})))
    run = denoise(str(source), "-o", str(target), "--model", str(halved), "--json", str(told))
    assert run.exit_code == 0, run.output
    entries = json.loads(told.read_text())["files"]
    assert [bool(entry["warnings"]) for entry in entries] == [False, True, False]
    assert "page 2: there is no scan on this page; it stays as it is" in entries[1]["warnings"][0]
    first, second, third = images.pages(target)
    assert abs(int(first.samples.mean()) - 100) <= 1
    assert "no scan" in second.untouched
    assert not third.samples.any()
    before, after = (pikepdf.open(path) for path in (source, target))
    kept = [pdf.pages[2].Resources.XObject.A.read_bytes() for pdf in (before, after)]
    assert kept[0] == kept[1]


@pytest.mark.parametrize(("strength", "told"), [("1", True), ("0", False)])
def test_a_signature_that_a_change_breaks_is_told(
    strength: str, told: bool, tmp_path: Path
) -> None:
    halved = pointwise(tmp_path / "half.onnx", "Mul", 0.5)
    pdf = document(Page({"/A": GREY}), Page({"/A": GREY}))
    pdf.Root.AcroForm = Dictionary(SigFlags=3)
    source, out = tmp_path / "in.pdf", tmp_path / "out.pdf"
    source.write_bytes(saved(pdf))
    given = str(source), "-o", str(out), "--model", str(halved), "--strength", strength
    run = denoise(*given)
    assert run.exit_code == 0, run.output
    assert run.output.count("its signature does not hold") == told


def test_a_bad_page_stays_as_it_is_and_the_others_are_done(tmp_path: Path) -> None:
    halved = pointwise(tmp_path / "half.onnx", "Mul", 0.5)
    pdf = document(Page({"/A": GREY}), Page(), Page({"/A": GREY}))
    pdf.pages[1].Resources.XObject.A = jpeg(pdf, GREY, end=-40)
    source, target, told = tmp_path / "in.pdf", tmp_path / "out.pdf", tmp_path / "told.json"
    source.write_bytes(saved(pdf))
    run = denoise(str(source), "-o", str(target), "--model", str(halved), "--json", str(told))
    assert run.exit_code == 2
    assert "2 restored; 1 failed" in run.output
    bad = [entry["error"] for entry in json.loads(told.read_text())["files"]]
    assert [error is None for error in bad] == [True, False, True]
    assert "page 2: the file is damaged or cut off" in bad[1]
    assert "stays as it is" in bad[1]
    before, after = (pikepdf.open(path) for path in (source, target))
    kept = [pdf.pages[1].Resources.XObject.A.read_raw_bytes() for pdf in (before, after)]
    assert kept[0] == kept[1]
    assert images.read(target, page=2).samples.mean() < 0.6 * GREY.mean()
    alone = denoise(str(source), "-o", str(tmp_path / "out.tif"), "--model", str(halved))
    assert alone.exit_code == 2
    assert not (tmp_path / "out.tif").exists()


def test_pages_of_other_formats_become_pdf_and_the_reverse(tmp_path: Path) -> None:
    same = pointwise(tmp_path / "same.onnx", "Mul", 1.0)
    pages = [Picture(np.full((30, 20, 1), n, np.uint8), dpi=(75, 75)) for n in (40, 90)]
    images.write(tmp_path / "in.tif", pages)
    for first, made in (("in.tif", "a.pdf"), ("a.pdf", "b.tif")):
        where = str(tmp_path / made)
        run = denoise(str(tmp_path / first), "-o", where, "--model", str(same))
        assert run.exit_code == 0, run.output
    again = list(images.pages(tmp_path / "b.tif"))
    assert [int(picture.samples.mean().round()) for picture in again] == [40, 90]
    assert again[0].dpi == (75, 75)


def test_folders_of_documents_keep_going_past_a_bad_one(tmp_path: Path) -> None:
    same = pointwise(tmp_path / "same.onnx", "Mul", 1.0)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.pdf").write_bytes(bytes_of(Page()))
    (tmp_path / "in" / "b.pdf").write_bytes(b"%PDF-1.4 and no more")
    run = denoise(str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(same))
    assert run.exit_code == 2
    assert "b.pdf: the file is damaged" in run.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.pdf"]


@pytest.mark.skipif(not shutil.which("tesseract"), reason="tesseract is not installed")
def test_the_layer_of_text_that_tesseract_makes_survives(tmp_path: Path) -> None:
    from PIL import ImageDraw, ImageFont

    page = Image.new("L", (1000, 400), 255)
    draw = ImageDraw.Draw(page)
    draw.text((60, 150), "Seven quick foxes", fill=0, font=ImageFont.load_default(72))
    page.save(tmp_path / "page.png", dpi=(200, 200))
    subprocess.run(
        ["tesseract", "page.png", "page", "pdf"], cwd=tmp_path, check=True, capture_output=True
    )
    picture = images.read(tmp_path / "page.pdf")
    assert not picture.untouched
    assert picture.samples.shape[:2] == (400, 1000)
    new = written([changed(picture, np.minimum(picture.samples, 250))])
    import pypdfium2

    text = pypdfium2.PdfDocument(new)[0].get_textpage().get_text_bounded()
    assert "quick foxes" in text
