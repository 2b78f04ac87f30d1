"""Data sets by name and path: in memory, split for good, offline unless asked by name."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid import images
from pellucid.errors import DataError, MissingExtraError, OptionError, PellucidError
from pellucid.learn import datasets, downloads
from pellucid.learn.datasets import DATASETS, Dataset, load, locate
from pellucid.learn.known import TEST_SETS
from test_folders import put, random
from test_published import write_cifar, write_idx

BUNDLED = ["digits", "photographs"]
REMOTE = sorted(name for name, entry in DATASETS.items() if "to download" in entry.about)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("the network was asked")

    monkeypatch.setattr(downloads.urllib.request, "urlopen", refuse)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PELLUCID_DATA", raising=False)


def digest(data: Dataset) -> str:
    total = hashlib.sha256()
    for part in ("train", "validation", "test"):
        total.update(data.split(part).pixels.numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_need_no_network_and_are_always_the_same(name: str) -> None:
    one, other = load(name), load(name)
    assert one.name == name
    assert one.licence
    assert one.about
    assert one.train.pixels.dtype == torch.uint8
    assert digest(one) == digest(other)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_entry_says_what_it_is_and_its_terms(name: str) -> None:
    entry = DATASETS[name]
    assert entry.about
    assert entry.licence
    assert entry.source.__doc__


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    data, theirs = load("digits"), load_digits()
    ours = torch.cat([data.train.pixels, data.validation.pixels, data.test.pixels])
    stack = ours.reshape(-1, 64).numpy()
    np.testing.assert_array_equal(stack, np.rint(theirs.data * 255 / 16))
    labels = torch.cat([data.train.labels, data.validation.labels, data.test.labels])
    np.testing.assert_array_equal(labels, theirs.target)


def test_china_is_the_test_and_nothing_else() -> None:
    data = load("photographs")
    assert data.test.paths == ("china.jpg",)
    others = (*data.train.paths, *data.validation.paths)
    assert "china.jpg" not in others
    assert "flower.jpg" in others
    assert len(set(others)) == len(others) >= 8
    assert data.train.channels == 3


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_set_without_its_package_names_the_extra(name: str, monkeypatch) -> None:
    monkeypatch.setattr(datasets, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pellucid\[train\]'"):
        load(name)


@pytest.mark.parametrize("name", REMOTE)
def test_a_remote_set_that_is_not_at_hand_asks_the_network(name: str) -> None:
    with pytest.raises(DataError, match="the network was asked") as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_a_remote_set_under_the_data_path_is_used(name, tmp_path, monkeypatch) -> None:
    place = tmp_path / "data" / "group" / name
    place.mkdir(parents=True)
    write_idx(place)
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path / "data"))
    data = load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == (6, 1, 7)
    assert len(data.test.class_names) == 10
    assert data.licence == DATASETS[name].licence
    # What is there, not what was published.
    assert "6 train" in data.about


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar_under_the_data_path_is_used(inside: str, tmp_path: Path, monkeypatch) -> None:
    write_cifar(tmp_path / "cifar10" / inside)
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    data = load("cifar10")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 2, 4)
    assert data.test.class_names[0] == "airplane"
    assert data.train.channels == 3


def test_a_downloaded_set_is_read_from_the_cache(tmp_path: Path, monkeypatch) -> None:
    calls = []

    def fetched(_: object, name: str) -> Path:
        calls.append(name)
        place = tmp_path / "cache" / name
        place.mkdir(parents=True, exist_ok=True)
        write_idx(place)
        return place

    monkeypatch.setattr(datasets.remotes, "fetched", fetched)
    assert load("mnist").name == "mnist"
    assert calls == ["mnist"]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"channels": 2}, "channels 2"), ({"size": 0}, "size 0"), ({"limit": 0}, "limit 0")],
)
def test_options_out_of_range_are_refused(options: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        load("digits", **options)


def test_channels_and_size_are_brought_to_what_is_asked(tmp_path: Path) -> None:
    put(tmp_path / "d", *(f"{i}.png" for i in range(5)), shape=(9, 14, 3))
    put(tmp_path / "d", *(f"grey{i}.png" for i in range(5)), shape=(20, 10))
    mixed = load(tmp_path / "d")
    assert mixed.train.channels == mixed.test.channels == 3
    assert not mixed.split("all").uniform
    fitted = load(tmp_path / "d", channels=1, size=8)
    assert fitted.split("all").uniform
    assert fitted.train.image(0).shape == (1, 1, 8, 8)


def test_a_limit_shrinks_all_splits_alike() -> None:
    data = load("digits", limit=144)
    assert (len(data.train), len(data.validation), len(data.test)) == (144, 18, 18)
    assert len(data.train.labels.unique()) == 10
    tiny = load("digits", limit=1)
    assert (len(tiny.train), len(tiny.validation), len(tiny.test)) == (1, 1, 1)


def test_a_limit_decodes_only_what_it_keeps(tmp_path: Path, monkeypatch) -> None:
    put(tmp_path, *(f"{i:03}.png" for i in range(60)))
    opened = []
    pages = images.pages
    monkeypatch.setattr(images, "pages", lambda p: (opened.append(p), pages(p))[1])
    load(tmp_path, limit=5)
    assert len(opened) <= 8


def test_all_holds_every_picture_once(tmp_path: Path) -> None:
    put(tmp_path, *(f"kind/{i:03}.png" for i in range(30)))
    data = load(tmp_path)
    everything = data.split("all")
    assert sorted(everything.paths) == [f"kind/{i:03}.png" for i in range(30)]
    assert len(everything.labels) == 30
    for index, path in enumerate(everything.paths):
        expected = np.asarray(Image.open(tmp_path / path)) / np.float32(255)
        np.testing.assert_allclose(everything.image(index)[0, 0].numpy(), expected)


@pytest.mark.parametrize("count", [1, 2])
def test_very_few_pictures_still_load_and_all_counts_them_once(tmp_path: Path, count: int) -> None:
    put(tmp_path, *(f"{i}.png" for i in range(count)))
    data = load(tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (1, 1, 1)
    assert len(data.split("all")) == count


def test_all_of_splits_that_differ_in_what_they_bring(tmp_path: Path) -> None:
    stack = random(6, 4, 4)
    only = {"train_images": stack, "test_images": stack}
    np.savez(tmp_path / "labels.npz", **only, train_labels=np.arange(6))
    assert load(tmp_path / "labels.npz").split("all").labels is None
    np.savez(tmp_path / "pairs.npz", **only, train_damaged=stack)
    with pytest.raises(DataError, match="partners for train, validation and none for test"):
        load(tmp_path / "pairs.npz")


def test_one_training_picture_is_its_own_validation(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", train_images=random(1, 4, 4), test_images=random(2, 4, 4))
    data = load(tmp_path / "x.npz")
    assert (len(data.train), len(data.validation), len(data.test)) == (1, 1, 2)


def test_all_of_different_depths_is_of_one_scale(tmp_path: Path) -> None:
    put(tmp_path / "train", "1.png", "2.png", "3.png")
    Image.fromarray(random(6, 5).astype(np.uint16) * 257).save(
        put(tmp_path, "test/x.png") / "test/x.png"
    )
    everything = load(tmp_path).split("all")
    assert everything.pixels.dtype == torch.float32
    assert float(everything.pixels.max()) <= 1


def test_pairs_come_with_their_damaged_partners(tmp_path: Path) -> None:
    put(tmp_path, *(f"{side}/{i}.png" for side in ("bad", "good") for i in range(12)))
    data = load(f"{tmp_path / 'bad'}:{tmp_path / 'good'}")
    for part in ("train", "validation", "test", "all"):
        pictures = data.split(part)
        for index, name in enumerate(pictures.paths):
            expected = np.asarray(Image.open(tmp_path / "bad" / name)) / np.float32(255)
            np.testing.assert_allclose(pictures.damaged_image(index)[0, 0].numpy(), expected)


def test_an_unknown_split_is_refused_with_those_there_are() -> None:
    with pytest.raises(OptionError, match="did you mean 'validation'"):
        load("digits").split("validatoin")


def test_a_published_test_set_is_whole_and_has_nothing_to_train_on(tmp_path, monkeypatch) -> None:
    put(tmp_path / "set12", *(f"{i:02}.png" for i in range(12)))
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    data = load("set12")
    assert data.test.paths == tuple(f"{i:02}.png" for i in range(12))
    assert len(data.split("all")) == 12
    assert len(load("set12", limit=4).test) == 4
    for use in (lambda: len(data.train), lambda: data.train.channels, lambda: data.split("train")):
        with pytest.raises(DataError, match="published test set and has no train pictures"):
            use()


def test_names_under_the_data_path_load_and_are_offered(tmp_path: Path, monkeypatch) -> None:
    put(tmp_path / "data" / "group" / "tiles", "1.png", "2.png", "3.png")
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path / "data"))
    assert load("tiles").name == "tiles"
    with pytest.raises(OptionError, match="did you mean 'tiles'") as caught:
        load("tilse")
    for name in DATASETS:
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mnits", "did you mean 'mnist'"),
        ("./nowhere/at/all", "does not exist"),
        ("a:b", "does not exist"),
        ("absent.npz", "does not exist"),
        ("", "unknown data set"),
        ("x" * 5000, "unknown data set"),
        ("zero\0inside", "unknown data set"),
        ("notes.txt", "is a file"),
        ("empty", "no pictures"),
    ],
)
def test_what_cannot_be_found_is_one_clear_line(name, said, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("notes.txt").write_text("notes")
    Path("empty").mkdir()
    with pytest.raises(PellucidError, match=said) as caught:
        load(name)
    assert "\n" not in str(caught.value)


def test_unreadable_pictures_are_named(tmp_path: Path) -> None:
    put(tmp_path, *(f"{i}.png" for i in range(8)))
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:40])
    (tmp_path / "5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"3\.png|5\.png"):
        load(tmp_path)


def test_a_name_of_the_table_wins_over_a_folder_of_that_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(put(tmp_path, "digits/1.png", "digits/2.png"))
    assert len(load("digits").split("all")) == 1797
    assert len(load("./digits").split("all")) == 2


def test_locating_decodes_nothing(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.png").write_bytes(b"no picture at all")
    assert locate(tmp_path / "d").splits["train"].paths == ("a.png",)


def shared(real, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("PELLUCID_DATA", str(real(name).parents[1]))


@pytest.mark.data
def test_real_mnist_has_its_counts_and_moments(real, monkeypatch) -> None:
    shared(real, monkeypatch, "mnist")
    data = load("mnist")
    assert (len(data.train), len(data.validation), len(data.test)) == (55000, 5000, 10000)
    pixels = data.split("all").pixels[: 60000 * 784].float() / 255
    assert float(pixels.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(pixels.std()) == pytest.approx(0.3081, abs=1e-4)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "counts", "channels"),
    [
        ("cifar10_lossless", (1800, 200, 1000), 3),
        ("pneumonia_28", (2428, 270, 468), 1),
        ("faces_orl", (210, 20, 70), 1),
        ("magnetic_tile", (162, 12, 220), 1),
    ],
)
def test_real_folders_load_by_name(real, monkeypatch, name, counts, channels) -> None:
    shared(real, monkeypatch, name)
    data = load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == counts
    assert data.test.channels == channels
    assert data.licence


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "count", "paired"),
    [("set12", 12, False), ("bsd68", 68, False), ("cbsd68", 68, False), ("w2s", 9, True)],
)
def test_real_test_sets_are_whole(real, monkeypatch, name, count, paired) -> None:
    assert name in TEST_SETS
    shared(real, monkeypatch, name)
    data = load(name)
    assert len(data.test) == count
    assert (data.test.damaged is not None) == paired


@pytest.mark.data
def test_a_real_folder_that_lacks_a_file_says_so(real, monkeypatch, tmp_path: Path) -> None:
    place = tmp_path / "mnist"
    place.mkdir()
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        shutil.copy(real("mnist") / name, place)
    monkeypatch.setenv("PELLUCID_DATA", str(tmp_path))
    with pytest.raises(DataError, match="no train-images"):
        load("mnist")
