"""Promises of examples/*.ipynb: stored without outputs, on public names alone, and they run."""

from __future__ import annotations

import ast
import importlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import pellucid
from pellucid.learn import datasets
from test_docs import script

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
VARIANTS = ("plain", "denoising", "sparse", "stacked", "variational")

LONGEST = 240
"""Seconds for a notebook on the slowest machine; on two free cores each takes less than 60."""

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[str]:
    told = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in told["cells"] if cell["cell_type"] == kind]


def imported(tree: ast.AST) -> list[tuple[str, str | None]]:
    """Modules of the package, with the name that is taken from each, or None."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found += [(node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
    return [pair for pair in found if pair[0].partition(".")[0] == "pellucid"]


def test_every_variant_has_its_notebook() -> None:
    assert tuple(path.stem.partition("-")[2] for path in NOTEBOOKS) == VARIANTS


@each
def test_a_notebook_is_valid(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat comes with pellucid[notebooks]")
    nbformat.validate(nbformat.read(path, as_version=nbformat.NO_CONVERT))


@each
def test_a_notebook_is_stored_as_nobody_ran_it(path: Path) -> None:
    told = json.loads(path.read_text(encoding="utf-8"))
    assert told["nbformat"] == 4
    assert told["metadata"]["kernelspec"]["name"] == "python3"
    for cell in told["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@each
def test_a_notebook_uses_public_names_alone(path: Path) -> None:
    tree = ast.parse("\n".join(cells(path, "code")))
    public = {module.__name__: module for module in script("make_api")._modules()}
    for module, name in imported(tree):
        if module == "pellucid" and name is None:
            continue
        whole = importlib.import_module(module)
        if isinstance(getattr(whole, name or "", None), type(pytest)):  # a module of a package
            assert f"{module}.{name}" in public
            continue
        assert name is not None, f"import {module}: take names from it"
        assert module in public, f"{module} is not on the API page"
        assert getattr(whole, name).__module__ == module, f"{name} comes from elsewhere"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), f"{node.attr} is private"
            if isinstance(node.value, ast.Name) and node.value.id == "pellucid":
                assert node.attr in pellucid.__all__


@each
def test_what_a_notebook_imports_it_uses(path: Path) -> None:
    tree = ast.parse("\n".join(cells(path, "code")))
    bound = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert bound <= used


@each
def test_a_notebook_tells_its_papers_and_how_to_take_mnist(path: Path) -> None:
    text = "\n".join(cells(path, "markdown"))
    assert text.count("https://") >= 2
    assert "$$" in text
    (line,) = [line for line in "\n".join(cells(path, "code")).splitlines() if "for MNIST" in line]
    # The comment is the line that stands in its place.
    changed = ast.parse(line.partition("# for MNIST: ")[2]).body[0]
    assert isinstance(changed, ast.Assign)
    kept = ast.parse(line).body[0]
    assert isinstance(kept, ast.Assign)
    assert ast.dump(changed.targets[0]) == ast.dump(kept.targets[0])
    names = {node.value for node in ast.walk(changed) if isinstance(node, ast.Constant)}
    assert "mnist" in names
    assert "mnist" in datasets.DATASETS


@each
@pytest.mark.slow
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in ("nbformat", "nbclient", "ipykernel"):
        pytest.importorskip(needed, reason=f"{needed} comes with pellucid[notebooks]")
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(EXAMPLES.parent / "src")]))
    monkeypatch.delenv("PELLUCID_DATA", raising=False)
    book: Any = nbformat.read(path, as_version=4)
    how = {"metadata": {"path": str(tmp_path)}}
    began = time.perf_counter()
    nbclient.NotebookClient(book, timeout=LONGEST, kernel_name="python3", resources=how).execute()
    assert time.perf_counter() - began < LONGEST
    pictures = 0
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            assert output.get("name") != "stderr", output.text
            pictures += "image/png" in output.get("data", {})
        if "pellucid.show" in cell.source.splitlines()[-1]:
            assert any("image/png" in output.get("data", {}) for output in cell.outputs)
    assert pictures >= 4
    assert not list(tmp_path.iterdir()), "a notebook leaves no files"
