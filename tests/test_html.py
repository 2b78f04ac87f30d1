"""Promises of report/html.py: one whole page, everything escaped, every link found."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from pellucid.errors import ImageError
from pellucid.report.html import Figure, Section, Table, index

EMPTY = {"img", "meta", "input"}


class Page(HTMLParser):
    """Counts tags, collects links, and checks that what opens closes."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        self.links += [value for key, value in attrs if key in ("href", "src")]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


@pytest.fixture
def folder(tmp_path):
    for name in ("one.png", "a #?%&\"'<b> é.png"):
        Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / name)
    (tmp_path / "epochs").mkdir()
    for epoch in range(3):
        Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "epochs" / f"{epoch}.png")
    return tmp_path


def read(path) -> Page:
    return Page(path.read_text("utf-8"))


def test_a_page_shows_its_sections_in_order(folder):
    page = read(
        index(
            folder,
            "Demo",
            [
                Section("First", "one\n\ntwo", figures=(Figure(("one.png",), "a picture"),)),
                Section("Second", command="pellucid demo"),
                Section("Third", tables=(Table(("", "PSNR"), (("noisy", "20.1"),), best=0),)),
            ],
            lead="What it is.",
            footer="version 1",
        )
    )
    parts = ["Demo", "What it is.", "First", "one", "two", "a picture"]
    parts += ["Second", "pellucid demo", "Third", "PSNR", "noisy", "20.1", "version 1"]
    places = [page.text.rindex(part) for part in parts]
    assert places == sorted(places)
    assert page.tags.count("section") == 3


def test_everything_given_is_escaped(folder):
    hostile = "<script>alert('x')</script> & \"quotes\""
    name = "a #?%&\"'<b> é.png"
    path = index(
        folder,
        hostile,
        [
            Section(
                hostile,
                hostile,
                figures=(
                    Figure((name,), hostile),
                    Figure((name, name), hostile, labels=(hostile, "b")),
                ),
                tables=(Table((hostile,), ((hostile,),)),),
                command=hostile,
                files=(name,),
            )
        ]
        * 3,
        lead=hostile,
        footer=hostile,
    )
    page = read(path)
    assert "alert('x')" in page.text
    assert page.tags.count("script") == 1  # our own, for the film
    assert "b" not in page.tags


def test_every_link_leads_to_a_file_beside_the_page(folder):
    name = "a #?%&\"'<b> é.png"
    absolute = (folder / "one.png").absolute()
    frames = tuple(f"epochs/{i}.png" for i in range(3))
    figures = (Figure((name,)), Figure((absolute,)), Figure(frames))
    page = read(index(folder, "t", [Section("s", figures=figures, files=(name,))]))
    links = [link for link in page.links if not link.startswith("#")]
    frame_lines = next(a["data-frames"] for a in page.attributes if "data-frames" in a)
    links += [line.split(" ")[0] for line in frame_lines.split("\n")]
    assert len(links) == 10
    for link in links:
        assert not link.startswith(("/", "http"))
        assert (folder / unquote(link)).is_file()


def test_a_film_starts_at_its_last_frame_and_names_each(folder):
    film = Figure(("epochs/0.png", "epochs/1.png", "epochs/2.png"), labels=("a", "b b", "c"))
    page = read(index(folder, "t", [Section("s", figures=(film,))]))
    attributes = {key: value for some in page.attributes for key, value in some.items()}
    assert attributes["data-frames"] == "epochs/0.png a\nepochs/1.png b b\nepochs/2.png c"
    assert (attributes["max"], attributes["value"]) == ("2", "2")


def test_a_page_without_film_has_no_script_and_never_asks_the_network(folder):
    text = index(folder, "t", [Section("s", figures=(Figure(("one.png",)),))]).read_text("utf-8")
    assert "<script" not in text
    assert "http" not in text


def test_numbers_are_aligned_to_the_right_and_words_are_not(folder):
    table = Table(("name", "PSNR", "note"), (("a", "20.1", "1 of 2"), ("b", "–", "x")))
    page = read(index(folder, "t", [Section("s", tables=(table,))]))
    classes = [a.get("class") for a, t in zip(page.attributes, page.tags, strict=True) if t == "td"]
    assert classes == [None, "number", None] * 2


def test_pictures_keep_their_place_while_they_load(folder):
    page = read(index(folder, "t", [Section("s", figures=(Figure(("one.png",)),))]))
    assert {"width": "6", "height": "4"}.items() <= page.attributes[page.tags.index("img")].items()


def test_a_missing_folder_is_told_in_one_line(tmp_path):
    with pytest.raises(ImageError, match=r"^[^\n]+$"):
        index(tmp_path / "none", "t", [])
