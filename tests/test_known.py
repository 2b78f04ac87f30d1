"""What is known of published sets: what stays together, what is for judging, what is allowed."""

from __future__ import annotations

from pellucid.learn.datasets import DATASETS
from pellucid.learn.known import GROUPS, LICENCES, TEST_SETS


def test_exposures_of_one_tile_share_a_key() -> None:
    keys = GROUPS["magnetic_tile"]
    paths = [f"good/exp{i}_num_{n}.jpg" for i, n in enumerate([1000, 1400, 1900, 2500, 9000])]
    assert keys(paths) == ["1000", "1000", "1000", "2500", "9000"]
    assert keys(paths[::-1]) == keys(paths)[::-1]


def test_names_without_a_number_do_not_break_the_tiles() -> None:
    assert len(GROUPS["magnetic_tile"](["good/mine.jpg", "good/x_1.jpg"])) == 2


def test_pictures_of_one_person_share_a_key() -> None:
    assert GROUPS["faces_orl"](["s1/1.png", "s1/2.png", "s2/1.png"]) == ["s1", "s1", "s2"]


def test_nothing_known_hides_a_data_set_of_the_table() -> None:
    assert not (TEST_SETS | set(GROUPS) | set(LICENCES)) & set(DATASETS)
