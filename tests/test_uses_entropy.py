"""Promises of uses/entropy.py: numbers come back, cost what they must, and bytes stay the same."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

import small_codecs as codecs
from pellucid.errors import ImageError, MissingExtraError
from pellucid.restore.codec_arrays import Rows
from pellucid.uses import entropy

pytest.importorskip("constriction")

from pellucid.uses.entropy import Decoder, Encoder


def table(*made: tuple[np.ndarray, int]) -> Rows:
    found = codecs.rows(list(made), (len(made),), "y")
    return Rows(*(found[f"y_{name}"].astype(np.int64) for name in ("freq", "offset", "size")))


STREAM = "b24144fef310e197"
ESCAPES = "1671e000088b80"

BELLS = table(*(codecs.bell(scale) for scale in (0.11, 0.5, 2, 9, 60)))


def coded(values: np.ndarray, rows: np.ndarray, used: Rows = BELLS) -> tuple[bytes, bytes]:
    coder = Encoder()
    coder.put(values, rows, used)
    return coder.finish()


def decoded(stream: bytes, escapes: bytes, rows: np.ndarray, used: Rows = BELLS) -> np.ndarray:
    coder = Decoder(stream, escapes)
    found = coder.take(rows, used)
    coder.finish()
    return found


def drawn(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    rows = chance.integers(0, 5, shape).astype(np.uint8)
    scales = np.array([0.11, 0.5, 2, 9, 60])[rows]
    return np.rint(chance.normal(0, scales)).astype(np.int32), rows


@pytest.mark.parametrize("shape", [(0,), (1,), (2, 3, 4), (4, 50, 30)])
def test_numbers_come_back_in_their_shape(shape: tuple[int, ...]) -> None:
    values, rows = drawn(shape)
    assert np.array_equal(decoded(*coded(values, rows), rows), values)


def test_several_tables_share_a_stream() -> None:
    first, second = drawn((5, 6)), drawn((40,), seed=1)
    other = table(codecs.bell(3), *(codecs.bell(60) for _ in range(4)))
    coder = Encoder()
    coder.put(*first, BELLS)
    coder.put(*second, other)
    reader = Decoder(*coder.finish())
    assert np.array_equal(reader.take(first[1], BELLS), first[0])
    assert np.array_equal(reader.take(second[1], other), second[0])
    reader.finish()


@pytest.mark.parametrize("seed", range(5))
def test_anything_outside_its_row_comes_back_too(seed: int) -> None:
    chance = np.random.default_rng(seed)
    values = np.concatenate(
        [chance.integers(-(2**20), 2**20, 50), [0, 1, -1, 2**31 - 1, -(2**31) + 1]]
    )
    rows = chance.integers(0, 5, len(values))
    assert np.array_equal(decoded(*coded(values, rows), rows), values)


def test_the_bytes_cost_what_the_probabilities_say() -> None:
    values, rows = drawn((60_000,))
    stream, escapes = coded(values, rows)
    places = values - BELLS.offset[rows]
    last = BELLS.size[rows] - 1
    places = np.where((places < 0) | (places >= last), last, places)
    ideal = -np.log2(BELLS.frequency[rows, places] / 2**16).sum()
    assert ideal <= 8 * len(stream) < ideal * 1.0005 + 64
    assert len(escapes) < 200


def test_the_coder_works_with_exactly_the_table() -> None:
    """A row at the limit of what 2**16 can say: one entry has all but one."""
    lopsided = table((np.array([65535, 1]), 0))
    many = np.zeros(200_000, np.int32)
    stream, _ = coded(many, np.zeros(len(many), np.uint8), lopsided)
    assert 8 * len(stream) <= len(many) * -math.log2(65535 / 65536) + 64
    import constriction

    for row in range(5):
        used = BELLS.frequency[row, : BELLS.size[row]]
        model = entropy._model(constriction.stream, BELLS, row)
        # One number narrows the whole range to its share of 2**24, and may then shift a word out.
        for place in (0, len(used) // 2, len(used) - 1):
            coder = constriction.stream.queue.RangeEncoder()
            coder.encode(place, model)
            _, (_, width) = coder.pos()
            narrowed = ((2**64 - 1) >> 24) * int(used[place]) * 2**8
            assert width in (narrowed, narrowed << 32), (row, place)


def test_old_files_are_still_read() -> None:
    """Fixed numbers and rows make fixed bytes: another constriction must not change them."""
    rows = np.array([0, 1, 2, 1, 0, 2, 2, 1, 2, 0, 2, 1], np.uint8)
    values = np.array([0, 1, -3, 0, 5, 2, 7, -1, 0, 0, -70000, 3], np.int32)
    fixed = table(
        (np.array([100, 65000, 400, 36]), -1),
        (np.array([9000, 40000, 12000, 4000, 536]), -1),
        (np.array([2000, 6000, 12000, 22000, 12536, 6000, 3000, 1500, 500]), -3),
    )
    stream, escapes = coded(values, rows, fixed)
    assert (stream.hex(), escapes.hex()) == (STREAM, ESCAPES)
    assert np.array_equal(decoded(stream, escapes, rows, fixed), values)


def test_threads_change_no_byte() -> None:
    from concurrent.futures import ThreadPoolExecutor

    values, rows = drawn((20_000,))
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: coded(values, rows), range(4)))
    assert len(set(made)) == 1


def test_cut_and_altered_bytes_never_hang_or_crash() -> None:
    values, rows = drawn((400,))
    values[::40] = 10**5
    stream, escapes = coded(values, rows)
    chance = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        parts = [bytearray(stream), bytearray(escapes)]
        part = parts[chance.integers(2)]
        if chance.integers(2):
            del part[chance.integers(len(part)) :]
        else:
            part[chance.integers(len(part))] ^= 1 << chance.integers(8)
        try:
            found = decoded(bytes(parts[0]), bytes(parts[1]), rows)
        except ImageError as error:
            refused += "damaged" in str(error)
        else:
            assert found.shape == values.shape
    assert refused > 75


def test_bytes_that_nothing_was_read_from_are_refused() -> None:
    values, rows = drawn((50,))
    stream, escapes = coded(values, rows)
    for more in ((stream + b"\1\2\3\4" * 4, escapes), (stream, escapes + b"\0"), (stream, b"\x80")):
        with pytest.raises(ImageError, match="damaged"):
            decoded(*more, rows)
    with pytest.raises(ImageError, match="damaged"):
        Decoder(stream + b"\0", escapes)


def test_without_constriction_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pellucid\[entropy\]'"):
        Encoder()
    with pytest.raises(MissingExtraError, match=r"pellucid\[entropy\]"):
        Decoder(b"", b"")
