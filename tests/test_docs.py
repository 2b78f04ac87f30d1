"""README, tutorial and CONTRIBUTING do what they say: their blocks run, as they are written."""

from __future__ import annotations

import ast
import gzip
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import pellucid
from pellucid import images

pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
PAGES += sorted(DOCS.glob("*.md"))


def script(name: str) -> ModuleType:
    """A file of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


blocks = script("blocks")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut every training to two epochs, of the photographs' to a few steps; all else as written.

    `make_pictures` runs the tutorial with nothing cut.
    """
    from pellucid.learn import recipes

    whole = recipes.build

    def build(told: dict[str, Any], source: str = "recipe") -> recipes.Recipe:
        recipe = whole(told, source)
        cut = {"epochs": min(2, recipe.train.epochs)}
        if recipe.train.steps:
            cut["steps"] = min(4, recipe.train.steps)
        return recipe.model_copy(update={"train": recipe.train.model_copy(update=cut)})

    monkeypatch.setattr(recipes, "build", build)


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few pictures in the files that MNIST is published in, where `find` looks."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    chance = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 8)):
        pictures = chance.integers(0, 256, (count, 28, 28), np.uint8)
        parts = {"images-idx3": pictures, "labels-idx1": np.arange(count, dtype=np.uint8) % 10}
        for kind, array in parts.items():
            head = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path / "data"))


def test_the_readme_does_what_it_says(
    tmp_path: Path, short: None, scene: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("noisy.png", "photos/one.jpg", "photos/two.png"):
        images.write(tmp_path / name, scene)
    blocks.run(ROOT / "README.md", tmp_path)
    for name in ("restored.png", "clean.png", "clean-again.png", "cleaned/one.jpg"):
        assert images.read(tmp_path / name).samples.shape == scene.shape, name


def test_the_tutorial_does_what_it_says(
    tmp_path: Path, short: None, small_mnist: None, capfd: pytest.CaptureFixture[str]
) -> None:
    blocks.run(DOCS / "tutorial.md", tmp_path)
    left = {path.name for path in (tmp_path / "runs" / "first").iterdir()}
    table = re.findall(r"^\| (`.+?) \|", DOCS.joinpath("tutorial.md").read_text(), re.M)
    told = {name for cell in table for name in re.findall(r"`([\w./]+\.\w+)`", cell)}
    assert {name for name in told if "/" not in name} <= left
    assert len(list((tmp_path / "restored").glob("*.png"))) == 180


def test_the_pictures_of_the_tutorial_are_what_it_leaves() -> None:
    pictures = script("make_pictures")
    shown = set(re.findall(r"\(images/([\w-]+\.png)\)", (DOCS / "tutorial.md").read_text()))
    assert shown == set(pictures.FROM_THE_TUTORIAL)


@pytest.mark.slow
def test_the_page_of_uses_does_what_it_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for needed in ("efficientnet_lite_pytorch", "skimage"):
        pytest.importorskip(needed)
    blocks.run(DOCS / "applications.md", tmp_path)
    calls = [line.rsplit(",", 1) for line in (tmp_path / "scores.csv").read_text().splitlines()]
    assert {(call[0].startswith("scratched"), call[1]) for call in calls[1:]} == {
        (True, "true"),
        (False, "false"),
    }


def test_the_pictures_of_the_page_of_uses_are_those_that_are_made() -> None:
    shown = set(re.findall(r"\(images/([\w-]+)\.png\)", (DOCS / "applications.md").read_text()))
    source = (DOCS / "make_application_pictures.py").read_text()
    assert shown == set(re.findall(r'"(use-\w+)":', source))
    assert {f"{name}.png" for name in shown} <= {path.name for path in (DOCS / "images").iterdir()}


TABLES = ("models", "checkpoints", "degrade", "datasets")
PLACES = re.compile(r"# (?:new file (?P<new>\S+)|in (?P<file>\S+), (?P<where>.+))\n")


def _add(root: Path, text: str) -> Path:
    """Do to the sources under `root` what a block of CONTRIBUTING says; the changed file."""
    match = PLACES.match(text)
    assert match is not None, f"a block must begin with its place: {text[:80]}"
    body = text[match.end() :]
    if match["new"]:
        path = root / match["new"]
        assert not path.exists()
        path.write_text(body, "utf-8")
        return path
    path, where = root / match["file"], match["where"]
    source = path.read_text("utf-8")
    if where == "with the imports":
        last = list(re.finditer(r"^from pellucid.*\n", source, re.M))[-1].start()
        source = source[:last] + body + source[last:]
    else:
        how, name = where.split()
        tree = ast.parse(source)
        (table,) = (
            node
            for node in tree.body
            if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name
        )
        lines = source.splitlines(keepends=True)
        assert table.end_lineno is not None
        line = table.end_lineno - 1 if how == "in" else table.lineno - 1
        lines.insert(line, body if how == "in" else f"{body}\n\n")
        source = "".join(lines)
    path.write_text(source, "utf-8")
    return path


def test_the_recipes_of_contributing_work_as_they_are_written(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    found = [b for b in blocks.blocks(ROOT / "CONTRIBUTING.md") if b.kind == "python"]
    changed = {_add(tmp_path, block.text) for block in found}
    assert len(found) == 7
    # The new code keeps the rules of the house: style, and examples that run.
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--ignore", "I001"]
    subprocess.run([*ruff, *changed], cwd=tmp_path, check=True)
    told = f"""
import doctest, sys
sys.path.insert(0, {str(DOCS)!r})
from pathlib import Path
import blocks, pellucid
from pellucid.learn import degrade
assert pellucid.__file__.startswith({str(tmp_path)!r})
found = doctest.DocTestFinder().find(degrade.stripes, globs=vars(degrade))
assert doctest.DocTestRunner().run(found[0]) == (0, 1)
page = Path({str(ROOT / "CONTRIBUTING.md")!r})
blocks.run(page, Path({str(tmp_path)!r}), kinds=("sh", "toml"))
import pytest
tests = [f"{ROOT}/tests/test_{{name}}.py" for name in {TABLES!r}]
sys.exit(pytest.main([*tests, "-p", "no:cacheprovider", "-k", "dilated or stripes or gratings"]))
"""
    path = os.pathsep.join([str(tmp_path / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", told],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The tests that read the tables took up what is new.
    assert (passed := re.search(r"(\d+) passed", done.stdout)), done.stdout
    assert int(passed[1]) >= 9
    assert (tmp_path / "pairs-blind" / "damaged" / "000.png").is_file()
    assert (tmp_path / "runs" / "gratings" / "model.safetensors").is_file()


def test_the_api_page_is_up_to_date() -> None:
    made = script("make_api").page()
    assert (DOCS / "api.md").read_text("utf-8") == made, "run: python docs/make_api.py"


def _all_pages() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES if page.name != "api.md")


def test_every_command_is_mentioned() -> None:
    from typer.main import get_command

    from pellucid.cli import app

    readme = (ROOT / "README.md").read_text("utf-8")
    names: Any = get_command(app)
    missing = [name for name in names.commands if f"pellucid {name}" not in readme]
    assert not missing


def test_every_recipe_model_degradation_and_data_set_is_mentioned() -> None:
    from pellucid.learn import recipes
    from pellucid.learn.datasets import DATASETS
    from pellucid.learn.degrade import DEGRADATIONS
    from pellucid.learn.models import MODELS

    readme = (ROOT / "README.md").read_text("utf-8")
    names = [*recipes.names(), *MODELS, *DEGRADATIONS, *DATASETS]
    assert not [name for name in names if f"`{name}`" not in readme]


def test_the_tutorial_tells_the_recipes_of_r1_as_they_are() -> None:
    from pellucid.learn import recipes

    words = {"max": "max-pooling", "transpose": "transposed convolution"}
    rows = re.findall(r"^\| `(r1-.+?)` \| (.+) \|$", (DOCS / "tutorial.md").read_text(), re.M)
    plain = [n for n in recipes.names() if recipes.read(n).model["name"] == "conv"]
    assert {name for name, _ in rows} == {n for n in plain if n.startswith("r1-")}
    for name, rest in rows:
        data, damage, down, up, loss = rest.split(" | ")
        recipe = recipes.read(name)
        kind, _, strength = recipe.damage.spec.partition(":")
        share = kind == "salt_pepper"
        told = f"salt and pepper {float(strength):.0%}" if share else f"Gaussian {strength}"
        assert damage.replace(" %", "%") == told
        assert data.lower().replace("-", "") == recipe.data.name.replace("_", "")
        assert [down, up] == [words.get(recipe.model[k], recipe.model[k]) for k in ("down", "up")]
        assert loss.lower() == recipe.model["loss"]


def test_every_public_name_is_mentioned() -> None:
    names = [name for name in pellucid.__all__ if not name.startswith("_")]
    assert not [name for name in names if name not in _all_pages()]


def test_blocks_that_are_not_run_say_why() -> None:
    for page in PAGES:
        for block in blocks.blocks(page):
            if block.kind == "sh" and not block.why:
                assert {words[0] for words in blocks.commands(block.text)} == {"pellucid"}


def test_every_make_target_that_is_named_exists() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    named = set(re.findall(r"`make ([\w-]+)`", _all_pages()))
    shell = [block.text for page in PAGES for block in blocks.blocks(page) if block.kind == "sh"]
    named |= set(re.findall(r"^make ([\w-]+)", "\n".join(shell), re.M))
    assert {"demo", "test"} <= named <= set(targets)


def test_every_extra_that_is_named_exists() -> None:
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
    named = {
        name
        for found in re.findall(r"(?:pellucid|\.)\[([\w,]+)\]", _all_pages())
        for name in found.split(",")
    }
    assert named
    assert named <= set(extras)


def _anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        assert place.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(place), f"{page.name}: {target}"


def typeset(text: str) -> np.ndarray:
    """A page with a line of print and grain, for the page about pages."""
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("L", (640, 240), 235)
    ImageDraw.Draw(sheet).text((40, 90), text, fill=30, font=ImageFont.load_default(44))
    noise = np.random.default_rng(0).normal(0, 12, (240, 640))
    return (np.asarray(sheet) + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture
def scanned(tmp_path: Path) -> Path:
    """A folder with what the page about pages works on."""
    pytest.importorskip("pikepdf")
    (tmp_path / "scans").mkdir()
    sheets = [typeset("Seven quick foxes"), typeset("jump over ten dogs")]
    for number, sheet in enumerate(sheets):
        images.write(tmp_path / "scans" / f"{number}.png", sheet)
    pages = [images.Picture(sheet[..., None], dpi=(200, 200)) for sheet in sheets]
    images.write(tmp_path / "scan.pdf", pages)
    return tmp_path


def test_the_page_about_pages_does_what_it_says(scanned: Path) -> None:
    blocks.run(DOCS / "pages.md", scanned)
    for name in ("clean.pdf", "forced.pdf"):
        for page in images.pages(scanned / name):
            assert np.median(page.samples) > 250
    assert len(list((scanned / "cleaned").glob("*.png"))) == 2


def test_the_page_about_medical_pictures_does_what_it_says(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    shutil.copy(str(get_testdata_file("MR_small.dcm", download=False)), tmp_path / "slice.dcm")
    rows, columns = np.mgrid[:96, :80]
    disc = 3000.0 * (np.hypot(rows - 48, columns - 40) < 30)
    chance = np.random.default_rng(0)
    stack = [np.hypot(*(disc * on + chance.normal(0, 150, disc.shape) for on in (1, 0)))] * 3
    images.write(tmp_path / "stack.tif", [images.Picture(np.float32(s)[..., None]) for s in stack])
    blocks.run(DOCS / "medical.md", tmp_path)
    made = [pydicom.dcmread(tmp_path / f"{name}.dcm") for name in ("slice", "clean", "careful")]
    assert "medical" in made[1].DerivationDescription
    assert len({str(one.SOPInstanceUID) for one in made}) == 3
    whole, part = (float(np.std(made[0].pixel_array - one.pixel_array * 1.0)) for one in made[1:])
    assert part == pytest.approx(whole / 2, rel=0.1)
    clean = [page.samples[..., 0] for page in images.pages(tmp_path / "clean.tif")]
    assert len(clean) == 3
    assert np.abs(clean[0] - disc).mean() < 0.3 * np.abs(stack[0] - disc).mean()
    assert images.read(tmp_path / "removed.tif").samples.dtype == np.float32
    (told,) = json.loads((tmp_path / "told.json").read_text())["files"]
    assert -1 <= told["structure"] <= 1


@pytest.mark.parametrize("program", ["ocrmypdf", "tesseract"])
def test_pages_are_cleaned_and_then_read_by_the_real_programs(program: str, scanned: Path) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    (block,) = [
        one
        for one in blocks.blocks(DOCS / "pages.md")
        if one.why and f"\n{program} " in one.text.replace("  ", "\n")
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(
        ["bash", "-e", "-c", block.text],
        cwd=scanned,
        env=os.environ | {"PATH": path},
        check=True,
        capture_output=True,
    )
    if program == "tesseract":
        read = " ".join(file.read_text() for file in sorted((scanned / "cleaned").glob("*.txt")))
    else:
        import pypdfium2

        document = pypdfium2.PdfDocument(scanned / "searchable.pdf")
        read = " ".join(page.get_textpage().get_text_bounded() for page in document)
    assert "quick foxes" in read
    assert "over ten dogs" in read
