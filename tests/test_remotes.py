"""Published files: what is known of them; the network is asked only for what is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pellucid.learn import remotes
from pellucid.learn.published import CIFAR_FILES, cifar_folder
from pellucid.learn.remotes import CIFAR10, FASHION_MNIST, MNIST, VGG16, Remote
from test_published import archive_of, write_cifar

EVERY = [*MNIST, *FASHION_MNIST, CIFAR10]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple]:
    """Stands in for the network; gives what was asked for."""
    calls: list[tuple] = []

    def fetch(urls, path, *, digest, size):
        calls.append((urls, path, digest, size))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == CIFAR10.name:
            write_cifar(tmp_path / "author")
            archive_of(tmp_path / "author", path)
        return path

    monkeypatch.setattr(remotes, "fetch", fetch)
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "cache"))
    return calls


@pytest.mark.parametrize("remote", EVERY, ids=lambda remote: remote.bases[0] + remote.name)
def test_every_file_has_two_mirrors_a_length_and_a_hash(remote: Remote) -> None:
    assert len(remote.bases) >= 2
    assert remote.bases[0].startswith("https://")
    assert all(re.fullmatch(r"https?://.*/", base) for base in remote.bases)
    assert re.fullmatch(r"[0-9a-f]{64}", remote.sha256)
    assert remote.size > 1000


def test_no_two_files_share_a_hash() -> None:
    assert len({remote.sha256 for remote in (*EVERY, VGG16)}) == len(EVERY) + 1


def test_the_weights_carry_the_beginning_of_their_hash_in_their_name() -> None:
    assert VGG16.name == f"vgg16-{VGG16.sha256[:8]}.pth"
    assert VGG16.bases == ("https://download.pytorch.org/models/",)
    assert re.fullmatch(r"[0-9a-f]{64}", VGG16.sha256)


def test_files_are_asked_for_with_mirrors_hash_and_length(asked: list[tuple], tmp_path) -> None:
    place = remotes.fetched(MNIST, "mnist")
    assert place == tmp_path / "cache" / "mnist"
    assert [call[1].name for call in asked] == [remote.name for remote in MNIST]
    urls, _, digest, size = asked[0]
    assert urls == [base + MNIST[0].name for base in MNIST[0].bases]
    assert digest == f"sha256:{MNIST[0].sha256}"
    assert size == MNIST[0].size


def test_cifar_is_downloaded_unpacked_and_its_archive_thrown_away(asked, tmp_path: Path) -> None:
    place = remotes.unpacked_cifar10(None)
    assert cifar_folder(place) == place
    assert sorted(path.name for path in place.iterdir()) == sorted(CIFAR_FILES)
    assert remotes.unpacked_cifar10(None) == place
    assert len(asked) == 1


def test_an_archive_of_the_users_is_unpacked_into_the_cache_and_kept(asked, tmp_path) -> None:
    write_cifar(tmp_path / "author")
    (tmp_path / "mine").mkdir()
    archive = archive_of(tmp_path / "author", tmp_path / "mine" / CIFAR10.name)
    assert remotes.unpacked_cifar10(tmp_path / "mine") == tmp_path / "cache" / "cifar10"
    assert archive.exists()
    assert asked == []


def test_files_of_the_users_are_used_where_they_lie(asked, tmp_path: Path) -> None:
    write_cifar(tmp_path / "mine" / "cifar-10-batches-bin")
    assert remotes.unpacked_cifar10(tmp_path / "mine") == tmp_path / "mine"
    assert asked == []
