"""Whole numbers to bytes and back, by their distributions: the one home of constriction.

A range coder (Martin 1979) writes each number in about as many bits as its probability says. The
tables hold whole numbers of 2**16, and the coder works with 24 bits, so that they mean the same
everywhere only if nothing is rounded on the way. constriction takes floats, and its quick way of
quantising (``Categorical(perfect=False)``) multiplies running sums by ``(2**24 - n) / sum`` for a
row of n entries, cuts to whole numbers, and adds 1 for each entry passed
(https://docs.rs/constriction/latest/src/constriction/stream/model/categorical.rs.html). Given
``frequency * 2**8 - 1`` the factor is exactly 1 and every sum a whole number below 2**24: what it
codes with is exactly ``frequency / 2**16``, on any machine. A test holds fixed bytes against it,
and so shows a constriction that would read old files otherwise.

What is not in its row's range is coded as the row's last symbol, and follows by itself in a
second stream: as Exp-Golomb bits (Teuhola 1978), odd for those below 0. Read next: `plc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ImageError, optional
from pellucid.restore.codec_arrays import Rows

DAMAGED = "the coded picture is damaged; get the file again"

_MOST_ZEROS = 32
_FINE = 2**8
"""The coder's 24 bits over the tables' 16."""


class Encoder:
    """Gathers numbers; `finish` gives the bytes.

    Raises:
        MissingExtraError: constriction is not installed.
    """

    def __init__(self) -> None:
        self._stream = _stream()
        self._coder: Any = self._stream.queue.RangeEncoder()
        self._escapes: list[str] = []

    def put(self, values: NDArray[np.integer[Any]], rows: NDArray[Any], table: Rows) -> None:
        """Code numbers, each by its row of the table.

        Args:
            values: Of any shape.
            rows: Likewise; the numbers of one row are coded together, in the order given.
            table: The distributions.
        """
        order, groups = _grouped(rows)
        ordered = values.reshape(-1)[order].astype(np.int64)
        for row, start, stop in groups:
            last = int(table.size[row]) - 1
            places = ordered[start:stop] - table.offset[row]
            outside = (places < 0) | (places >= last)
            places[outside] = last
            self._escapes += [_golomb(int(value)) for value in ordered[start:stop][outside]]
            self._coder.encode(places.astype(np.int32), _model(self._stream, table, row))

    def finish(self) -> tuple[bytes, bytes]:
        """The stream of the coder, and that of the numbers outside their rows."""
        bits = "".join(self._escapes)
        size_bytes = -(-len(bits) // 8)
        bits = bits.ljust(8 * size_bytes, "0")
        words = self._coder.get_compressed()
        return words.astype("<u4").tobytes(), int(bits or "0", 2).to_bytes(size_bytes, "big")


class Decoder:
    """Gives the numbers back, in the order in which they were put.

    Args:
        stream: From `Encoder.finish`.
        escapes: Likewise.

    Raises:
        ImageError: The bytes cannot be what an encoder wrote.
        MissingExtraError: constriction is not installed.
    """

    def __init__(self, stream: bytes, escapes: bytes) -> None:
        if len(stream) % 4:
            raise ImageError(DAMAGED)
        self._stream = _stream()
        words = np.frombuffer(stream, "<u4").astype(np.uint32)
        self._coder: Any = self._stream.queue.RangeDecoder(words)
        self._bits = "".join(f"{byte:08b}" for byte in escapes)
        self._place = 0

    def take(self, rows: NDArray[Any], table: Rows) -> NDArray[np.int32]:
        """The next numbers, in the shape of `rows`.

        Args:
            rows: Which row of the table each is coded with.
            table: The distributions.
        """
        order, groups = _grouped(rows)
        found = np.empty(len(order), np.int64)
        for row, start, stop in groups:
            model = _model(self._stream, table, row)
            try:
                places = self._coder.decode(model, stop - start).astype(np.int64)
            except (AssertionError, ValueError) as error:
                raise ImageError(DAMAGED) from error
            values = places + table.offset[row]
            for escaped in np.flatnonzero(places == table.size[row] - 1):
                values[escaped] = self._escaped()
            found[order[start:stop]] = values
        return found.reshape(rows.shape).astype(np.int32)

    def finish(self) -> None:
        """Refuse bytes that nothing was read from."""
        left = self._bits[self._place :]
        if not self._coder.maybe_exhausted() or len(left) > 7 or "1" in left:
            raise ImageError(DAMAGED)

    def _escaped(self) -> int:
        """The next number of the second stream."""
        one = self._bits.find("1", self._place, self._place + _MOST_ZEROS)
        stop = 2 * one - self._place + 1
        if one < 0 or stop > len(self._bits):
            raise ImageError(DAMAGED)
        folded = int(self._bits[one:stop], 2) - 1
        self._place = stop
        return -(folded + 1) // 2 if folded % 2 else folded // 2


def require() -> None:
    """Raise `MissingExtraError` where constriction is not installed."""
    _stream()


def _stream() -> Any:
    """The part of constriction that is used."""
    return optional("constriction", "entropy").stream


def _model(stream: Any, table: Rows, row: int) -> Any:
    """The distribution of one row, exact: see above."""
    used = table.frequency[row, : table.size[row]]
    return stream.model.Categorical((used * _FINE - 1).astype(np.float64), perfect=False)


def _grouped(rows: NDArray[Any]) -> tuple[NDArray[np.intp], list[tuple[int, int, int]]]:
    """An order in which the entries of each row are together, and where each row's are."""
    flat = rows.reshape(-1)
    order = np.argsort(flat, kind="stable")
    if not len(flat):
        return order, []
    ordered = flat[order]
    starts = [0, *(np.flatnonzero(np.diff(ordered)) + 1).tolist()]
    stops = [*starts[1:], len(flat)]
    return order, [
        (int(ordered[start]), start, stop) for start, stop in zip(starts, stops, strict=True)
    ]


def _golomb(value: int) -> str:
    """The bits of one number."""
    folded = 2 * value if value >= 0 else -2 * value - 1
    bits = f"{folded + 1:b}"
    return "0" * (len(bits) - 1) + bits
