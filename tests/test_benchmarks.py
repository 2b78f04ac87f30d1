"""Promises of benchmarks/: each script runs, on tiny networks and pictures, and counts right."""

from __future__ import annotations

import gzip
import importlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")

import networks
from pellucid import images
from pellucid.errors import DataError, OptionError
from pellucid.images import Picture

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"

Bench = Callable[[str], ModuleType]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A script as a module, found as Python finds it when it is run."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scene: np.ndarray) -> Path:
    """Small data sets of the names that the scripts ask for, where `find` looks."""
    root = tmp_path / "data"
    for name, channels in (("set12", 1), ("bsd68", 1), ("cbsd68", 3), ("photos", 3)):
        (root / name).mkdir(parents=True)
        for i in range(10 if name == "photos" else 3):
            picture = np.roll(scene, 9 * i, axis=1)
            picture = picture if channels == 3 else picture[..., 1:2]
            images.write(root / name / f"{i}.png", picture)
    (root / "polyu").mkdir()
    for i in range(2):
        worse = np.roll(scene, 2 + i, axis=0)
        images.write(root / "polyu" / f"cam_{i}_mean.JPG", scene)
        images.write(root / "polyu" / f"cam_{i}_real.JPG", worse)
    monkeypatch.setenv("PELLUCID_DATA", str(root))
    return root


def same(path: Path, channels: int) -> Path:
    """A network that gives back what it gets."""
    return networks.pointwise(path, "Mul", 1.0, channels=channels)


# tables and scenes


def test_a_table_is_markdown_and_lines_up(bench: Bench) -> None:
    tables = bench("tables")
    lines = tables.table(["a", "bcd"], [["1234", "5"], ["6", "7"]]).splitlines()
    assert lines == ["| a    | bcd |", "| ---- | --- |", "| 1234 | 5   |", "| 6    | 7   |"]
    assert tables.slashed([31.634, None, 26.0]) == "31.63 / - / 26.00"
    assert tables.slashed([]) == "-"
    assert [tables.times(x) for x in (4357.5, 12.4, 7.21, 0.0534)] == ["4358", "12", "7.2", "0.053"]
    assert tables.machine()["packages"]["numpy"] == np.__version__


def test_a_scene_of_any_size_has_no_edge_of_its_own(bench: Bench) -> None:
    scenes = bench("scenes")
    one = scenes.photograph(900, 1400)
    assert one.shape == (900, 1400, 3)
    assert np.array_equal(one[426], one[427])
    assert np.array_equal(one[:, 639], one[:, 640])
    grey = scenes.photograph(5, 7, 1)
    assert grey.shape == (5, 7, 1)
    noise = scenes.noisy(np.full((300, 200, 1), 128, np.uint8), 15).astype(float) - 128
    assert noise.std() == pytest.approx(15, rel=0.03)
    again = scenes.noisy(np.full((300, 200, 1), 128, np.uint8), 15).astype(float) - 128
    assert np.array_equal(noise, again)


def test_psnr_is_that_of_scikit_image(bench: Bench, scene: np.ndarray) -> None:
    from skimage.metrics import peak_signal_noise_ratio

    scenes = bench("scenes")
    damaged = scenes.noisy(scene, 10)
    expected = peak_signal_noise_ratio(scene, damaged)
    assert scenes.psnr(damaged, scene) == pytest.approx(expected)
    assert scenes.psnr(scene, scene) == np.inf


# denoisers


def test_a_quick_run_of_the_denoisers_has_every_figure(
    bench: Bench, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    denoisers = bench("denoisers")
    out = tmp_path / "d.json"
    model = networks.box(tmp_path / "box.onnx", radius=1)
    networks.box(tmp_path / "box-fast.onnx", radius=1)
    chosen = ["--only", "pellucid onnx float32", "pellucid fast", "OpenCV NLM", "TV-Chambolle"]
    given = [str(model), "--quick", "--data", "photos", "--sides", "64", "-o", str(out)]
    denoisers.main([*given, *chosen])
    told = json.loads(out.read_text())
    assert list(told["gray"]) == chosen[1:]
    assert "color" not in told
    for one in told["gray"].values():
        assert one["seconds_per_megapixel"]["64"] > 0
        assert 10e6 < one["peak"]["64"] < 1e9
        assert 15 < one["psnr"]["25"] < 40
    # No torch where none is needed: that alone takes more.
    assert told["gray"]["pellucid onnx float32"]["peak"]["64"] < 150e6
    for kind in ("float32", "bf16", "int8"):
        assert max(told["matrix_rates"][kind].values()) > 1e8
    shown = capsys.readouterr().out
    assert "gray" in shown
    assert "| TV-Chambolle" in shown


def test_ratios_and_shares_are_counted_right(bench: Bench) -> None:
    denoisers = bench("denoisers")

    def one(psnr: float, seconds: float, **more: Any) -> dict[str, Any]:
        told = {"psnr": {"15": psnr + 3, "25": psnr}, "seconds_per_megapixel": {"512": seconds}}
        return {**told, "peak": {"512": 2e8}, "products": None, "flops_per_pixel": None, **more}

    told = {
        "sides": [512],
        "matrix_rates": {"float32": {"numpy": 1e11, "torch": 2e11}},
        "gray": {
            "pellucid onnx float32": one(29.1, 0.5, products="float32", flops_per_pixel=5e4),
            "BM3D": one(28.5, 20.0),
            "OpenCV NLM": one(27.0, 0.25),
        },
    }
    ours, bm3d, opencv = denoisers.rows(told, "gray")
    assert ours == [
        *("pellucid onnx float32", "32.10 / 29.10", "0.5", "200"),
        *("40", "+0.60", "0.5", "+2.10", "50"),
    ]
    assert bm3d[4:] == ["-", "-", "0.013", "+1.50", "-"]
    assert opencv[4:8] == ["80", "-1.50", "-", "-"]


def test_the_arithmetic_of_a_network_is_told_by_its_card(bench: Bench, tmp_path: Path) -> None:
    from commands import untrained
    from pellucid.learn.models import create
    from pellucid.learn.models.summary import summary

    made = bench("anatomy").anatomy(untrained(tmp_path / "m.safetensors", image_channels=1))
    expected = summary(create("conv", channels=(4,), image_channels=1))
    assert made.flops_per_pixel == expected.flops_per_pixel
    assert bench("anatomy").anatomy(same(tmp_path / "m.onnx", 1)) is None


def test_two_networks_for_one_kind_are_refused(bench: Bench, tmp_path: Path) -> None:
    denoisers = bench("denoisers")
    models = [str(same(tmp_path / f"{i}.onnx", 1)) for i in range(2)]
    with pytest.raises(OptionError, match=r"second network for gray"):
        denoisers.main([*models, "--quick"])


# published


def test_the_published_table_has_our_rows_and_their_distances(
    bench: Bench, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = bench("published")
    out = tmp_path / "p.json"
    models = [str(same(tmp_path / f"{name}.onnx", c)) for name, c in (("grey", 1), ("rgb", 3))]
    published.main([*models, "--limit", "2", "-o", str(out)])
    grey, rgb = json.loads(out.read_text())
    assert list(grey["sets"]) == ["set12", "bsd68"]
    assert list(rgb["sets"]) == ["cbsd68"]
    # What does nothing has the score of the noise, but for its clipping at the end.
    assert grey["sets"]["set12"]["damaged"] == pytest.approx([24.6, 20.2, 14.2], abs=0.3)
    assert grey["sets"]["set12"]["psnr"][0] == pytest.approx(24.6, abs=0.8)
    shown = capsys.readouterr().out
    assert "not comparable" in shown
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in shown.splitlines()[2:]
            if line.startswith("|")}  # fmt: skip
    assert rows["FFDNet"][3].strip() == "31.63 / 29.19 / 26.29"
    assert "**grey**" in rows
    assert rows["over DRUNet"][2].strip() == "-"  # the last is for colour, on no grey set
    gap = grey["sets"]["bsd68"]["psnr"][1] - 29.19
    assert f"{gap:+.2f}" in shown


def test_an_ensemble_has_a_row_of_its_own(
    bench: Bench, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "p.json"
    model = str(same(tmp_path / "grey.onnx", 1))
    bench("published").main([model, "--limit", "1", "--ensemble", "-o", str(out)])
    alone, mean = json.loads(out.read_text())
    assert (alone["name"], mean["name"]) == ("grey", "grey --ensemble")
    assert mean["sets"]["bsd68"]["psnr"] == pytest.approx(alone["sets"]["bsd68"]["psnr"], abs=0.01)
    assert "**grey --ensemble**" in capsys.readouterr().out


def test_every_published_figure_has_a_source_and_falls_with_the_noise(bench: Bench) -> None:
    published = bench("published")
    assert set(published.BARS) < set(published.PUBLISHED)
    for method in published.PUBLISHED.values():
        assert "https://" in method.source
        assert set(method.psnr) <= set(published.SETS)
        for scores in method.psnr.values():
            assert len(scores) == len(published.SIGMAS)
            assert list(scores) == sorted(scores, reverse=True)


# real noise


def test_real_noise_is_scored_beside_the_input(
    bench: Bench,
    sets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_noise = bench("real_noise")
    assert "BM3D" in real_noise.CLASSICAL
    # Seconds for each picture, and of the same form as the other.
    monkeypatch.delitem(real_noise.CLASSICAL, "BM3D")
    out = tmp_path / "r.json"
    model = same(tmp_path / "m.onnx", 3)
    few = ["--limit", "1", "-o", str(out), "--levels", "10"]
    real_noise.main([str(model), *few, "--only", *list(real_noise.CASES)[:2]])
    found = json.loads(out.read_text())
    assert list(found) == list(real_noise.CASES)[:2]
    for methods in found.values():
        assert list(methods) == ["input", "m", "OpenCV NLM", "OpenCV NLM, told 10"]
        assert methods["m"]["psnr"] == pytest.approx(methods["input"]["psnr"], abs=0.05)
        assert methods["m"]["worst_gain"] == pytest.approx(0, abs=0.05)
        assert methods["input"]["n"] == 1
    assert "PolyU (1 pictures)" in capsys.readouterr().out
    # Again: the slow rows are taken from the file, the network's are not.
    found["PolyU"]["OpenCV NLM"]["psnr"] = found["PolyU"]["m"]["psnr"] = 1.0
    out.write_text(json.dumps(found))
    real_noise.main([str(model), *few, "--only", "PolyU"])
    again = json.loads(out.read_text())["PolyU"]
    assert again["OpenCV NLM"]["psnr"] == 1.0
    assert again["m"]["psnr"] == pytest.approx(again["input"]["psnr"], abs=0.05)


# no harm


def test_a_network_that_does_nothing_does_no_harm(
    bench: Bench, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_harm = bench("no_harm")
    out = tmp_path / "h.json"
    given = ["--data", "photos", "--split", "all", "--limit", "3", "-o", str(out)]
    no_harm.main([str(same(tmp_path / "m.onnx", 3)), *given, "--sigmas", "0", "5", "25"])
    told = json.loads(out.read_text())
    assert list(told["sigmas"]) == ["0", "5", "25"]
    assert [len(part) for part in told["sigmas"].values()] == [3, 3, 3]
    assert all(one["restored"] == 100 for one in told["sigmas"]["0"])
    shown = capsys.readouterr().out
    assert "clean pictures: mean 100.00 dB, worst 100.00 dB" in shown
    assert "worst gain of all: +0.00 dB" in shown


def test_the_worst_picture_is_named(
    bench: Bench, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_harm = bench("no_harm")
    blur = networks.box(tmp_path / "blur.onnx", channels=3, radius=1)
    given = ["--data", "photos", "--split", "all", "--sigmas", "1", "55"]
    no_harm.main([str(blur), *given])
    shown = capsys.readouterr().out.splitlines()
    light, heavy = (line.split("|")[1:-1] for line in shown[2:4])
    assert (int(light[6]), int(heavy[6])) == (10, 0)
    assert float(light[4]) < 0 < float(heavy[4])
    assert light[7].strip().endswith(".png")
    assert shown[-1] == f"worst gain of all: {light[5].strip()} dB"


# large


def test_a_large_picture_comes_back_without_a_seam_and_its_cost_is_told(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large = bench("large")
    out = tmp_path / "l.json"
    model = networks.box(tmp_path / "box.onnx", channels=3, radius=2)
    large.main([str(model), "--side", "700", "--region", "600", "-o", str(out)])
    told = json.loads(out.read_text())
    for found in told["region"].values():
        near, far = found["near borders"], found["elsewhere"]
        assert near["pixels"] > 5_000
        assert near["pixels"] + far["pixels"] == 600**2
        assert max(near["largest"], far["largest"]) <= 1
        assert max(near["differ"], far["differ"]) < 1e-3
    assert 20e6 < told["peak"] < 600e6
    assert told["seconds"] > 0
    assert "peak 0." in capsys.readouterr().out


def test_the_start_is_measured_in_processes_of_their_own(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "s.json"
    model = networks.box(tmp_path / "box.onnx", channels=3, radius=1)
    bench("starting").main(["--model", str(model), "--side", "64", "--rounds", "1", "-o", str(out)])
    help_, clean = json.loads(out.read_text())["commands"].values()
    assert 0 < help_["cpu"] < clean["cpu"]
    assert clean["peak"] > 20e6
    assert "pellucid --help" in capsys.readouterr().out


def test_a_seam_would_be_found(bench: Bench, tmp_path: Path) -> None:
    import pellucid
    from pellucid.restore.runtime import open_model

    large, scenes = bench("large"), bench("scenes")
    # Its card hides that it looks around.
    liar = open_model(networks.box(tmp_path / "box.onnx", radius=5))
    honest = liar.halo
    liar.halo = 0
    damaged = scenes.noisy(scenes.photograph(700, 700, 1), 15)
    restored = np.uint8(np.rint(pellucid.denoise(damaged, model=liar) * 255))
    down, across = large.borders(700, 700, liar)
    liar.halo = honest
    place = slice(40, 660)
    whole = large.in_one_piece(damaged, place, place, liar)
    near = down[place, None] | across[None, place]
    found = large.compared(restored[place, place], whole, near)
    assert found["near borders"]["largest"] > 10 * max(1, found["elsewhere"]["largest"])
    assert found["near borders"]["differ"] > 0.1
    assert found["elsewhere"]["differ"] < 1e-3


# round_trip


def test_the_round_trip_tells_what_is_kept_and_what_is_refused(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_dicom import RAMP, data_set, file

    folder, out = tmp_path / "objects", tmp_path / "told.json"
    folder.mkdir()
    ends = {"SmallestImagePixelValue": -300, "LargestImagePixelValue": 1139}
    (folder / "a.dcm").write_bytes(file(data_set(RAMP, **ends)))
    (folder / "b.dcm").write_bytes(file(data_set(RAMP))[:-50])
    bench("round_trip").main([str(folder), "-o", str(out)])
    kept, refused = json.loads(out.read_text())
    assert kept["unchanged"] is True
    assert 0 < kept["steps"] <= 0.5
    assert kept["other tags"] == ["SmallestImagePixelValue", "LargestImagePixelValue"]
    assert "cut off" in refused["refused"]
    assert "| yes " in capsys.readouterr().out


# reading


def test_pages_are_typeset_spoilt_and_read(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = bench("reading")
    pages = list(reading.typeset(3))
    assert [page.shape for _, page, _, _ in pages] == [(1240, 874), (1654, 1166), (1240, 874)]
    assert all(page.min() < 40 and np.median(page) == 255 for _, page, _, _ in pages)
    assert all(len(text) > 800 for _, _, text, _ in pages)
    assert len({text for _, _, text, _ in pages}) == 3
    _, page, _, _ = pages[0]
    for name, damage in reading.DAMAGES.items():
        spoilt = [damage(page, np.random.default_rng(0)) for _ in range(2)]
        assert np.array_equal(*spoilt)
        assert spoilt[0].shape == page.shape
        assert spoilt[0].dtype == np.uint8
        assert np.array_equal(spoilt[0], page) == (name == "none")
    faint = reading.DAMAGES["faded print"](page, np.random.default_rng(0)).astype(float)
    assert 30 < faint[page == 255].mean() - faint[page < 40].mean() < 70
    pytest.importorskip("rapidfuzz")
    if not shutil.which("tesseract"):
        pytest.skip("tesseract is not installed")
    network, out = same(tmp_path / "same.onnx", 1), tmp_path / "told.json"
    given = [str(network), "--count", "1", "--damages", "none", "Gaussian 0.3", "--only-model"]
    reading.main([*given, "-o", str(out)])
    told = json.loads(out.read_text())["cer_percent"]
    assert told["none"]["untouched"] == told["none"]["same"] < 5
    assert told["Gaussian 0.3"]["same"] > 50
    assert "| Gaussian 0.3 | " in capsys.readouterr().out


# many pages


def test_many_pages_are_timed_killed_and_begun_again(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], scene: np.ndarray
) -> None:
    pytest.importorskip("pikepdf")
    folder, out = tmp_path / "scans", tmp_path / "told.json"
    folder.mkdir()
    for index in range(2):
        images.write(folder / f"{index}.png", np.roll(scene, index))
    network = same(tmp_path / "same.onnx", 1)
    bench("many_pages").main(
        [str(network), str(folder), "--pages", "60", "--files", "8", "--side", "90", "-o", str(out)]
    )
    told = json.loads(out.read_text())
    assert told["pdf"]["pages"] == 60
    assert told["pdf"]["left_when_killed"] is False
    assert told["pdf"]["same_as_whole"] is True
    assert told["folder"]["pages"] == 8
    assert told["folder"]["readable"] is told["folder"]["kept"] is True
    assert told["folder"]["same_as_whole"] is True
    assert min(told[what]["peak"] for what in ("pdf", "folder")) > 10e6
    assert "| 8 pages, folder | " in capsys.readouterr().out


# medical


def test_a_network_stands_beside_what_is_told_the_noise(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("bm3d")
    rows, columns = np.mgrid[:64, :64]
    disc = np.where(np.hypot(rows - 32, columns - 32) < 20, 700.0, 0).astype(np.float32)
    (tmp_path / "t1w_head").mkdir()
    for index in range(3):
        images.write(tmp_path / "t1w_head" / f"{index}.tif", Picture(disc[..., None]))
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    images.write(tmp_path / "hand.png", (disc / 3).astype(np.uint8))
    network, out = same(tmp_path / "same.onnx", 1), tmp_path / "told.json"
    medical = bench("medical")
    monkeypatch.setattr(medical, "SIGMAS", (0.06,))
    monkeypatch.setattr(medical, "PEAKS", (30,))
    medical.main([str(network), "--xrays", str(tmp_path / "hand.png"), "-o", str(out)])
    told = json.loads(out.read_text())
    rician, photons = told["rician"]["0.06"], told["poisson"]["30"]
    came = rician["as it came"]
    assert rician[str(network)]["psnr"] == pytest.approx(came["psnr"], abs=1e-3)
    # Nothing but noise of mean 1.25 sigma is there in the dark.
    assert came["flat"] > 50
    assert rician["BM3D, bias removed"]["flat"] < 0.5 * rician["BM3D"]["flat"]
    assert rician["BM3D, bias removed"]["psnr"] > rician["BM3D"]["psnr"] > came["psnr"]
    assert photons["BM3D, stabilised"]["psnr"] > photons["as it came"]["psnr"] + 5
    assert "| 1 X-rays, photons at white 30 " in capsys.readouterr().out


def test_photons_come_back_unbiased(bench: Bench) -> None:
    medical = bench("medical")
    mean = medical.stabilised(lambda y, _: np.full_like(y, y.mean()))
    for level in (0.2, 0.7):
        counts = np.random.default_rng(0).poisson(20 * level, (200, 200)).astype(np.float32)
        assert mean(counts / 20, 20).mean() == pytest.approx(level, rel=0.01)


# pretraining


def test_starts_are_compared_on_as_many_steps_and_all_judged_alike(
    bench: Bench,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pretraining, out = bench("pretraining"), tmp_path / "told.json"
    starts = {"frozen": {"model.weights": "random"}, "from scratch": {"model.frozen": False}}
    starts["from scratch"] |= {"model.weights": "random"}
    monkeypatch.setattr(pretraining, "TRANSFER", starts)
    digits = ["--digits", "digits", "--photos", "digits", "--stacked", "60", "0"]
    short = ["--transfer", "50", "--epochs", "2", "--steps", "2", "--seeds", "1"]
    pretraining.main([*digits, *short, "-o", str(out)])
    told = json.loads(out.read_text())
    rows = [(row["pictures"], row["start"]) for row in told["stacked"]]
    assert rows == [(n, name) for n in (60, 1437) for name in ("level by level", "end to end")]
    assert [row["pictures"] for row in told["transfer"]] == [50, 50]
    for row in (*told["stacked"], *told["transfer"]):
        (one,) = row["runs"]
        assert len(one["validation"]) == 2
        assert 0 < one["test"] < 1
    # The first of two epochs teaches a level, and only the other may be the best.
    assert told["stacked"][0]["runs"][0]["best_epoch"] == 2
    assert "| 1,437    | end to end" in capsys.readouterr().out


def test_few_pictures_are_taken_from_all_over(bench: Bench) -> None:
    from pellucid.learn import datasets

    data = datasets.load("digits")
    part = bench("pretraining").few(data, 10)
    assert len(part.train) == 10
    assert np.array_equal(part.train.image(9), data.train.image(len(data.train) - 1))
    assert part.validation is data.validation
    assert part.test is data.test
    assert bench("pretraining").few(data, 0) is data


# features


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bright bars of four directions, in files of the form that MNIST is published in."""
    folder = tmp_path / "shelf" / "mnist"
    folder.mkdir(parents=True)
    chance = np.random.default_rng(0)
    for part, count in (("train", 120), ("t10k", 40)):
        labels = (np.arange(count) % 4).astype(np.uint8)
        pictures = chance.integers(0, 60, (count, 12, 12), np.uint8)
        for picture, label in zip(pictures, labels, strict=True):
            at = 3 * label
            picture[at : at + 3] = 220
        for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
            head = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            with gzip.open(folder / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + array.tobytes())
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path / "shelf"))
    return tmp_path


def test_features_score_recipes_and_models_beside_pca(
    bench: Bench, small_mnist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sklearn.decomposition import PCA

    from commands import untrained

    features = bench("features")
    out, runs = small_mnist / "f.json", small_mnist / "runs"
    given = ["--data", "mnist", "--sizes", "2", "3", "--recipe", "r3-code", "--runs", str(runs)]
    small = ["--set", "train.epochs=1", "--set", "model.channels=[2]"]
    model = untrained(small_mnist / "m.safetensors")
    features.main([*given, *small, "--model", str(model), "-o", str(out)])
    told = json.loads(out.read_text())["data"]["mnist"]
    assert set(told) == {"PCA 2", "PCA 3", "r3-code 2", "r3-code 3", str(model)}
    assert told["r3-code 3"]["numbers"] == 3
    assert told[str(model)]["numbers"] == 4 * 6 * 6
    assert all(set(row) == {"numbers", "mse", "knn", "probe"} for row in told.values())
    data = features.Known("mnist")
    assert (data.train.shape, data.test.shape) == ((120, 144), (40, 144))
    theirs = PCA(3).fit(data.train)
    rebuilt = theirs.inverse_transform(theirs.transform(data.test))
    assert told["PCA 3"]["mse"] == pytest.approx(np.square(rebuilt - data.test).mean(), rel=1e-3)
    assert told["PCA 3"]["knn"] == 1
    assert "| mnist | r3-code       | 3 " in capsys.readouterr().out


# compression


def test_codecs_are_compared_at_equal_bits_and_equal_decibels(
    bench: Bench, sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("constriction")
    import small_codecs

    codec = small_codecs.save(tmp_path / "tiny.codec.npz")
    out, plot = tmp_path / "told.json", tmp_path / "rates.png"
    compression = bench("compression")
    compression.main(["-m", str(codec), "--limit", "2", "-o", str(out), "--plot", str(plot)])
    told = json.loads(out.read_text())
    assert set(told["data"]) == {"cbsd68", "set12"}
    assert told["codec"]["name"] == "tiny"
    curves = told["data"]["cbsd68"]["curves"]
    assert set(curves) == {"pellucid", "JPEG", "WebP", "AVIF"}
    assert [point["setting"] for point in curves["pellucid"]] == [1, 2, 3]
    for points in curves.values():
        assert points[0]["bpp"] < points[-1]["bpp"]
        assert points[0]["psnr"] < points[-1]["psnr"]
        assert points[0]["ms_ssim"] is None
    assert images.read(plot).samples.shape[2] == 3
    said = capsys.readouterr().out
    assert "| PSNR, dB " in said
    assert "bits that pellucid saves" in said
    with pytest.raises(DataError, match="no folder 'nowhere'"):
        compression.main(["nowhere", "-m", str(codec)])


def test_savings_are_those_of_known_curves(bench: Bench) -> None:
    compression = bench("compression")

    def curve(factor: float, rates: tuple[float, ...]) -> list[Any]:
        """6 dB for each doubling of the rate, at a share of it."""
        return [
            compression.Point(i, factor * rate, 30 + 6 * np.log2(rate), 0.9, 0, 0)
            for i, rate in enumerate(rates)
        ]

    plain = curve(1, (0.1, 0.15, 0.3, 0.55, 1.3, 2.0))
    for share in (0.5, 0.8, 1.0, 1.25):
        other = curve(share, (0.12, 0.2, 0.4, 0.7, 1.1, 3.0))
        assert compression.saving(other, plain) == pytest.approx(1 - share)
    assert compression.at(plain, 0.5) == pytest.approx(24)
    assert compression.at(plain, 0.1) == pytest.approx(plain[0].psnr)
    assert compression.at(plain, 0.05) is None
    assert compression.at(plain, 2.5) is None
    higher = [compression.Point(i, 1 + i, 70 + i, None, 0, 0) for i in range(3)]
    assert compression.saving(higher, plain) is None
    assert compression.at(higher, 2, "ms_ssim") is None


def test_the_rivals_files_are_whole_files_of_theirs(bench: Bench, scene: np.ndarray) -> None:
    compression = bench("compression")
    for kind, magic in (("JPEG", b"\xff\xd8\xff"), ("WebP", b"RIFF"), ("AVIF", b"ftypavif")):
        encode, decode = compression.pillow(kind)
        data = encode(scene, 60)
        assert magic in data[:16]
        assert decode(data).shape == scene.shape
        bpp, psnr, similar, _, _ = compression.measured(scene[..., :1], 60, encode, decode)
        assert bpp == pytest.approx(8 * len(encode(scene[..., :1], 60)) / (48 * 64))
        assert psnr > 25
        assert similar is None
    large = np.tile(scene, (4, 4, 1))
    assert compression.ms_ssim(large, large) == pytest.approx(1)
    worse = np.clip(large.astype(int) + np.arange(large.size).reshape(large.shape) % 60, 0, 255)
    assert compression.ms_ssim(worse.astype(np.uint8), large) < 0.99
