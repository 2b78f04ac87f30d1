"""Promises of restore/tiles.py: bounded windows, the numbers of one run over the whole picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.restore import tiles


def box(windows: np.ndarray, radius: int) -> np.ndarray:
    """A filter that sees `radius` pixels, with zeros outside the window as networks have."""
    side = 2 * radius + 1
    padded = np.pad(windows, ((0, 0), (radius, radius), (radius, radius), (0, 0)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    return views.mean(axis=(-2, -1)).astype(np.float32)


def pooled(windows: np.ndarray, multiple: int) -> np.ndarray:
    """Block means spread out again: right only where windows start on the network's grid."""
    batch, height, width, channels = windows.shape
    up = (-height % multiple, -width % multiple)
    padded = np.pad(windows, ((0, 0), (0, up[0]), (0, up[1]), (0, 0)), mode="edge")
    shape = (batch, padded.shape[1] // multiple, multiple, -1, multiple, channels)
    means = padded.reshape(shape).mean(axis=(2, 4))
    spread = means.repeat(multiple, axis=1).repeat(multiple, axis=2)
    return spread[:, :height, :width].astype(np.float32)


def restore(cut: tiles.Plan, picture: np.ndarray, network, together: int = 1):
    out = np.full_like(picture, np.nan)
    times = np.zeros(picture.shape[:2], int)
    shapes = []

    def watched(windows):
        shapes.append(windows.shape)
        return network(windows)

    def write(rows, columns, pixels):
        out[rows, columns] = pixels
        times[rows, columns] += 1

    tiles.run(cut, watched, lambda r, c: picture[r, c], write, together=together)
    assert (times == 1).all(), "every pixel is written once"
    return out, shapes


sides = st.integers(1, 150)


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(0, 6), st.sampled_from([1, 2, 4, 8]), st.integers(16, 64))
def test_tiled_equals_whole_for_any_size(height, width, halo, multiple, tile):
    picture = np.random.default_rng(height * 999 + width).random((height, width, 2), np.float32)

    def network(windows):
        seen = pooled(windows, multiple)
        return box(seen, halo) if halo else seen

    reach = halo + multiple - 1
    cut = tiles.plan(height, width, halo=reach, multiple=multiple, tile=tile)
    restored, _ = restore(cut, picture, network, together=3)
    assert cut.exact
    assert np.abs(restored - network(picture[None])[0]).max() < 1e-6


def test_windows_that_overlap_too_little_are_seen_by_the_test():
    picture = np.random.default_rng(0).random((90, 90, 1), np.float32)
    restored, _ = restore(
        tiles.plan(90, 90, halo=2, tile=32), picture, lambda windows: box(windows, 6)
    )
    assert np.abs(restored - box(picture[None], 6)[0]).max() > 1 / 255


@settings(max_examples=40, deadline=None)
@given(sides, sides, st.integers(1, 40), st.integers(1, 40))
def test_crossfaded_weights_add_up_to_one(height, width, tall, wide):
    picture = np.random.default_rng(height).random((height, width, 3), np.float32)
    cut = tiles.plan(height, width, halo=None, size=(tall, wide))
    restored, shapes = restore(cut, picture, lambda windows: windows, together=4)
    assert np.abs(restored - picture).max() < 1e-5
    assert {shape[1:3] for shape in shapes} == {(tall, wide)}


@pytest.mark.parametrize("shape", [(900, 30), (30, 900), (300, 310)])
def test_a_network_that_sees_everything_leaves_no_seam(shape):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    picture = ((x + y) / sum(shape))[..., None]
    # As a dense code does: each window comes back with its own mean moved a little.
    cut = tiles.plan(*shape, halo=None, size=(28, 28))
    restored, _ = restore(
        cut, picture, lambda w: 0.9 * w + 0.1 * w.mean(axis=(1, 2), keepdims=True), together=8
    )
    steps = (
        np.abs(np.diff(restored[..., 0], axis=0)).max(),
        np.abs(np.diff(picture[..., 0], axis=0)).max(),
    )
    assert steps[0] < 2 * steps[1]


@pytest.mark.parametrize("shape", [(5000, 40), (40, 5000)])
def test_an_overlap_beyond_what_windows_afford_is_capped_and_crossfaded(shape):
    cut = tiles.plan(*shape, halo=4000, multiple=16, tile=None)
    assert cut.whole
    cut = tiles.plan(shape[0] * 40, shape[1] * 40, halo=4000, multiple=16)
    assert not cut.exact
    assert max(span.stop - span.start for span in (*cut.rows, *cut.columns)) <= tiles.SIDES[1]


def test_a_tile_given_by_the_caller_grows_until_it_is_exact():
    cut = tiles.plan(3000, 3000, halo=200, multiple=8, tile=64)
    assert cut.exact
    assert max(span.stop - span.start for span in cut.rows) in range(700, 801)


def test_a_small_picture_is_one_window():
    assert tiles.plan(500, 500, halo=30).whole
    assert not tiles.plan(500, 700, halo=30).whole
    assert tiles.plan(900, 1100, halo=110).whole
    assert tiles.plan(3, 5000, halo=None).whole
    assert tiles.plan(1, 1, halo=300, multiple=16).whole


def test_windows_of_one_size_go_together_and_memory_is_bounded():
    picture = np.zeros((256, 256, 1), np.float32)
    _, shapes = restore(tiles.plan(256, 256, halo=4, tile=64), picture, lambda w: w, together=3)
    assert max(shape[0] for shape in shapes) == 3
    assert all(shape[1] <= 64 and shape[2] <= 64 for shape in shapes)
